"""The initial soft labels w, line 1 of Algorithm 1, and what better beginnings there are.

With uniform w only the networks' random weights break the symmetry between the K clusters, and the seed decides what is
found. The default, "graph", starts from the data instead: samples and their nearest neighbours form a graph, which is cut
into K parts where it is thinnest (spectral clustering), or through which known labels spread. Between images, distances
are taken in features learned from the images themselves; where labels spread, beside their pixels: features overlook what
augmentation changes, and so join styles of different classes that pixels tell apart, while parts that are cut by pixels, too,
are sometimes not classes but styles. Between rows, whose groups no encoder draws apart, a link weighs
less the longer it is in embeddings of the graph (`core.embedding`). Where known labels show that the graph says hardly
anything of the classes, w is uniform after all (`from_labels`).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import cg
from torch import Tensor

from skganem.core import graph
from skganem.core.data import NONE, Source
from skganem.core.embedding import weighed_by_embeddings
from skganem.core.model import Model, blurred
from skganem.core.shapes import is_image

#: Weight of an image's pixels beside its features where labels spread.
PIXELS = 0.7
#: Parts into which known labels are divided to tell how well the others foretell them.
FOLDS = 5
#: Least `skill` of the graph for labels to spread through it.
SKILL = 0.2


class NeighbourGraph:
    """The nearest neighbours of every sample among at most `graph_size` of them.

    Parameters
    ----------
    model : Model
        Gives the coordinates of the samples.
    source : Source
    n_neighbors, graph_size : int
    rng : torch.Generator
        Picks the samples that are in the graph where not all are, and seeds the embeddings that weigh rows' links.
    keep : Tensor of int
        Samples that come first into the graph, in this order: up to half of it.

    Attributes
    ----------
    members : Tensor of shape (m,)
        Positions in the source of the samples in the graph, ascending.
    of_images : bool
        Whether the samples are images.
    features : Tensor of shape (m, d)
        Their coordinates, without an image's pixels.
    among_members : Tensor of shape (m, k)
        Each member's neighbours, as positions in `members`.
    of_all : Tensor of shape (n, k)
        Each sample's neighbours, as positions in the source.
    """

    def __init__(
        self, model: Model, source: Source, n_neighbors: int, graph_size: int, rng: torch.Generator, keep: Tensor = NONE
    ) -> None:
        n = len(source)
        self.members = _choose(n, graph_size, rng, keep)
        self.features, points = _coordinates(model, source.subset(self.members) if len(self.members) < n else source)
        self.of_images, self._with_pixels = is_image(source.shape), points is not self.features
        self._seed = 0 if self.of_images else int(torch.randint(2**31, (), generator=rng, device=rng.device))
        self.among_members = graph.neighbours(points, n_neighbors).cpu()
        self.of_all = self.members[self.among_members]
        if len(self.members) < n:
            found = torch.empty(n, self.of_all.shape[1], dtype=torch.long)
            for part in torch.arange(n).split(8192):
                queries = _coordinates(model, source.subset(part))[1]
                found[part] = self.members[graph.nearest(queries, points, found.shape[1])[1].cpu()]
            found[self.members] = self.of_all
            self.of_all = found

    @cached_property
    def affinity(self) -> sp.csr_array:
        """The symmetric affinity matrix (m, m) of the members; rows' links are weighed by embeddings."""
        affinity = graph.affinity(self.among_members.numpy())
        return affinity if self.of_images else weighed_by_embeddings(affinity, self._seed)

    @property
    def affinity_by_features(self) -> sp.csr_array:
        """The affinity matrix (m, m) of the members' neighbours by features alone: that of rows is the same."""
        if not self._with_pixels:
            return self.affinity
        return graph.affinity(graph.neighbours(self.features, self.among_members.shape[1]).cpu().numpy())

    def spread(self, member_w: Tensor) -> Tensor:
        """Give every sample the mean w of its neighbours and, where it has one, its own: (m, K) to (n, K)."""
        w = torch.zeros(len(self.of_all), member_w.shape[1])
        w[self.members] = member_w
        total = w.clone()
        for column in self.of_all.T:  # one neighbour at a time: all at once would be n_neighbors times as large
            total += w[column]
        return total / total.sum(dim=1, keepdim=True).clamp_(min=1e-12)


def _coordinates(model: Model, source: Source) -> tuple[Tensor, Tensor]:
    """Return samples' features, and the points between which labels spread: the same, but of images with pixels beside them."""
    features = model.coordinates(source)
    if model.encoder is None:
        return features, features
    return features, torch.cat([features, PIXELS * model.collect(source, blurred)], dim=1)


def _choose(n: int, size: int, rng: torch.Generator, keep: Tensor = NONE) -> Tensor:
    if n <= size:
        return torch.arange(n)
    order = torch.randperm(n, generator=rng, device=rng.device).cpu()
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.cat([keep[: size // 2], order])[:size]] = True
    return chosen.nonzero().squeeze(1)


def evenly(known: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Order labelled samples at random, but such that each class comes as early and as often as the others."""
    order = torch.randperm(len(known), generator=rng, device=rng.device).cpu()
    return known[order[occurrence(labels[order]).argsort(stable=True)]]


def occurrence(labels: Tensor) -> Tensor:
    """Count for each label (m,) how many of the same came before it."""
    turn = torch.empty(len(labels), dtype=torch.long)
    for label in labels.unique():
        of_label = (labels == label).nonzero().squeeze(1)
        turn[of_label] = torch.arange(len(of_label))
    return turn


def matching(w: Tensor, labels: Tensor) -> Tensor:
    """Return the cluster (K,) that stands for each class, one for each: those that labelled samples agree with most.

    Parameters
    ----------
    w : Tensor of shape (m, K)
        Soft clusters of the labelled samples.
    labels : Tensor of shape (m,)
        Their classes.
    """
    agreement = torch.zeros(w.shape[1], w.shape[1]).index_add_(0, labels, w.cpu())
    return torch.from_numpy(linear_sum_assignment(agreement.numpy(), maximize=True)[1])


def partitioned(neighbour_graph: NeighbourGraph, n_clusters: int, seed: int, core: float) -> Tensor:
    """Initial w from the graph alone: a spectral clustering whose parts' cores count as labelled.

    The graph is cut by features alone. The part `core` of each cluster that is nearest to its centre keeps its label; the
    others take theirs from the cores through the graph, and are the less certain the farther they lie from one (`propagated`).
    """
    if n_clusters == 1:
        return torch.ones(len(neighbour_graph.of_all), 1)
    judged = neighbour_graph.features if neighbour_graph.of_images else None
    labels, eccentricity = graph.partition(neighbour_graph.affinity_by_features, n_clusters, seed, judged)
    central = np.flatnonzero((labels >= 0) & (eccentricity < core))
    known, codes = neighbour_graph.members[torch.from_numpy(central)], torch.from_numpy(labels[central])
    return propagated(neighbour_graph, known, codes, n_clusters)


def from_labels(neighbour_graph: NeighbourGraph, known: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Initial w from known labels: spread through the graph, or uniform where the graph says hardly anything of the classes.

    Where samples of a class are not each other's neighbours, as faces with glasses are not, what spreads is wrong more often
    than not, and the E-net unlearns it more slowly than it learns from the labelled samples alone.

    Parameters
    ----------
    neighbour_graph, known, labels, n_clusters
        As `propagated` has them.
    """
    if skill(neighbour_graph, known, labels, n_clusters) < SKILL:
        return torch.full((len(neighbour_graph.of_all), n_clusters), 1 / n_clusters)
    return propagated(neighbour_graph, known, labels, n_clusters)


def skill(neighbour_graph: NeighbourGraph, known: Tensor, labels: Tensor, n_clusters: int) -> float:
    """How well labels that spread through the graph foretell those held out: 0 at chance, 1 if each is certain and right.

    It is the mean w of the classes of labels that are held out, a part at a time, on a scale where 1/K is 0. It is 1, too, if
    there are none to hold out, as with one label of each class.

    Parameters
    ----------
    neighbour_graph, known, labels, n_clusters
        As `propagated` has them.
    """
    fold = occurrence(labels) % FOLDS
    fold[torch.bincount(labels, minlength=n_clusters)[labels] == 1] = -1  # the only one of its class is not held out
    foretold = []
    for held in (fold == i for i in range(FOLDS) if (fold == i).any()):
        w = propagated(neighbour_graph, known[~held], labels[~held], n_clusters)
        foretold.append(w[known[held], labels[held]])
    if not foretold or n_clusters == 1:
        return 1.0
    return (float(torch.cat(foretold).mean()) - 1 / n_clusters) / (1 - 1 / n_clusters)


def propagated(neighbour_graph: NeighbourGraph, known: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Initial w from known labels that spread through the graph.

    Each class is a unit of mass at its labelled samples, which diffuses to their neighbours; a sample's w is its share of
    each class (Zhou et al. 2004, with alpha 0.99). The shares are squared: far from all mass they are nearly even, and the
    E-net would hardly learn from these samples what the graph says of them.

    Parameters
    ----------
    neighbour_graph : NeighbourGraph
    known : Tensor of shape (m,)
        Positions of the labelled samples in the source.
    labels : Tensor of shape (m,)
        Their classes, from 0 to n_clusters - 1.
    n_clusters : int
    """
    alpha = 0.99
    adjacency = neighbour_graph.affinity
    degree = np.maximum(adjacency.sum(axis=1), 1e-12)
    scale = sp.diags_array(degree**-0.5)
    system = sp.eye_array(len(degree)) - alpha * (scale @ adjacency @ scale)
    inside = torch.isin(known, neighbour_graph.members)
    position = torch.searchsorted(neighbour_graph.members, known[inside]).numpy()
    classes = labels[inside].numpy()
    mass = np.zeros((len(degree), n_clusters))
    mass[position, classes] = 1.0 / np.bincount(classes, minlength=n_clusters)[classes]
    spread = np.column_stack([cg(system, column, rtol=1e-5, maxiter=300)[0] for column in mass.T])
    w = neighbour_graph.spread(F.normalize(torch.from_numpy(np.maximum(spread, 0.0) + 1e-12).float(), p=1, dim=1))
    return F.normalize(w.square(), p=1, dim=1)


def random_w(n: int, n_clusters: int, rng: torch.Generator) -> Tensor:
    """Initial w drawn uniformly from the simplex: breaks the symmetry of uniform w."""
    exponential = -torch.rand(n, n_clusters, generator=rng, device=rng.device).clamp_(min=1e-20).log()
    return exponential / exponential.sum(dim=1, keepdim=True)


def kmeans_w(source: Source, n_clusters: int, graph_size: int, seed: int, rng: torch.Generator) -> Tensor:
    """Initial w from k-means on the scaled values, run on at most `graph_size` samples: hard labels."""
    members = _choose(len(source), graph_size, rng)
    points = source.subset(members).batch(slice(None)).flatten(1).cpu()
    labels = torch.from_numpy(graph.kmeans(points.numpy(), n_clusters, seed))
    centres = torch.stack([points[labels == i].mean(0) if (labels == i).any() else points[0] for i in range(n_clusters)])
    parts = torch.arange(len(source)).split(8192)
    near = [graph.nearest(source.subset(part).batch(slice(None)).flatten(1).cpu(), centres, 1)[1] for part in parts]
    return F.one_hot(torch.cat(near).squeeze(1), n_clusters).float()
