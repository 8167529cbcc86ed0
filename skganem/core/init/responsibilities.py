"""The initial soft labels w, line 1 of Algorithm 1, and what better beginnings there are.

With uniform w only the networks' random weights break the symmetry between the K clusters, and the seed decides what is
found. The default, "graph", starts from the data instead: samples and their nearest neighbours form a graph
(`core.neighbours`), which is cut into K parts (of images, such as fit their features, too), or through which
known labels spread (`propagated`). Where known labels show that the graph says hardly anything of the classes, or less than
they do without it, it is not used: w is uniform after all, and a row's neighbours are no copies of it (`tells_classes`).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import cg
from torch import Tensor

from skganem.core.data.dataset import Source
from skganem.core.graph import partition as strain
from skganem.core.graph import spectral as graph
from skganem.core.graph.knn import NeighbourGraph, choose
from skganem.core.losses.gan import of_class
from skganem.core.networks.mixture import as_points

#: Parts into which known labels are divided to tell how well the others foretell them.
FOLDS = 5
#: No further part is foretold once there are as many labels: the mean w of their classes is known to 0.02 or better.
ENOUGH = 500
#: Least `skill` of the graph for it to be used.
SKILL = 0.2
#: Most labelled rows that are asked, since foretelling classes without the graph takes time of their number's cube; and how
#: much their kernel's diagonal is raised.
MOST, RIDGE = 2500, 1.0


def evenly(known: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Order labelled samples at random, but such that each class comes as early and as often as the others."""
    order = torch.randperm(len(known), generator=rng, device=rng.device).cpu()
    return known[order[occurrence(labels[order]).argsort(stable=True)]]


def occurrence(labels: Tensor) -> Tensor:
    """Count for each label (m,) how many of the same came before it."""
    ordered, order = labels.sort(stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(labels)) - torch.searchsorted(ordered, ordered))


def matching(w: Tensor, labels: Tensor) -> Tensor:
    """Return the cluster (K,) that stands for each class, one for each: those that labelled samples agree with most.

    Parameters
    ----------
    w : Tensor of shape (m, K)
        Soft clusters of the labelled samples.
    labels : Tensor of shape (m,)
        Their classes.
    """
    agreement = torch.zeros(w.shape[1], w.shape[1], device="cpu").index_add_(0, labels, w.cpu())
    return torch.from_numpy(linear_sum_assignment(agreement.numpy(), maximize=True)[1])


def partitioned(neighbour_graph: NeighbourGraph, n_clusters: int, seed: int) -> Tensor:
    """Initial w from the graph alone: a partition whose labels spread, the more the nearer to a part's centre.

    So a style far from the centre of its part takes the label of another class that it is linked to well, and keeps its own
    where it is linked to nothing else (`propagated`).
    """
    graphs, points = neighbour_graph.affinities_to_cut, neighbour_graph.points
    if neighbour_graph.learned and len(points) >= 2 * n_clusters:
        found = strain.partition(graphs, n_clusters, seed, points)
    else:
        found = graph.partition(graphs[0], n_clusters, seed, points)
    labels, centrality = map(torch.from_numpy, found)
    placed = labels >= 0
    return propagated(neighbour_graph, neighbour_graph.members[placed], labels[placed], n_clusters, centrality[placed])


def tells_classes(neighbour_graph: NeighbourGraph, source: Source, known: Tensor, labels: Tensor, n_clusters: int) -> bool:
    """Whether the graph says enough of the classes to be used; without labels, or a second class, there is no telling.

    Where samples of a class are not each other's neighbours, as faces with glasses are not, labels that spread are wrong more
    often than not, and the E-net unlearns them more slowly than it learns from the labelled samples alone. Nor is what lies
    between a row and its neighbour of the row's class. So labels that are held out have to be foretold through the graph, and
    of rows, as often as from the labelled rows without it, but for one.

    Parameters
    ----------
    neighbour_graph, known, labels, n_clusters
        As `propagated` has them.
    source : Source
        The samples.
    """
    if not neighbour_graph.of_images:
        some = occurrence(labels).argsort(stable=True)[:MOST]
        known, labels = known[some], labels[some]
    parts = held_out(labels) if n_clusters > 1 else []
    if not parts:
        return True
    w, true = foretold(neighbour_graph, known, labels, n_clusters, parts)
    if skill(w, true) < SKILL:
        return False
    if neighbour_graph.of_images:
        return True
    kernel = gaussian_kernel(pixels(source, known))
    without = torch.cat([by_kernel(kernel, labels, part) for part in parts])
    return bool((w.argmax(dim=1) == true).sum() >= (without == true).sum() - 1)  # one label is chance


def held_out(labels: Tensor) -> list[Tensor]:
    """Which labels (m,) are held out at a time, `ENOUGH` of them in all; never the only one of its class."""
    fold = occurrence(labels) % FOLDS
    fold[torch.bincount(labels)[labels] == 1] = -1
    parts = [fold == i for i in range(FOLDS) if (fold == i).any()]
    return parts[: 1 + int(np.searchsorted(np.cumsum([int(part.sum()) for part in parts]), ENOUGH))]


def foretold(
    neighbour_graph: NeighbourGraph, known: Tensor, labels: Tensor, n_clusters: int, parts: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return w (m, K) of the labels that are held out, by the others of them and the graph, and what they are (m,)."""
    w = [propagated(neighbour_graph, known[~part], labels[~part], n_clusters)[known[part]] for part in parts]
    return torch.cat(w), torch.cat([labels[part] for part in parts])


def skill(w: Tensor, labels: Tensor) -> float:
    """How well w (m, K) foretells labels (m,): their mean w on a scale where 0 is chance, and 1 certain and right."""
    n_clusters = w.shape[1]
    return (float(of_class(w, labels).mean()) - 1 / n_clusters) / (1 - 1 / n_clusters)


def gaussian_kernel(rows: Tensor) -> Tensor:
    """Return exp(-|x - x'|^2 / the trace of the covariance) for each pair of rows (m, d)."""
    distance = torch.cdist(rows.double(), rows.double()).square()
    return torch.exp(-2 * distance / distance.mean().clamp_min(1e-300))


def by_kernel(kernel: Tensor, labels: Tensor, held: Tensor) -> Tensor:
    """Foretell those labels (m,) that are held out from the others, by regression with a kernel (m, m)."""
    wanted = F.one_hot(labels[~held]).double()
    mean = wanted.mean(dim=0)
    system = kernel[~held][:, ~held] + RIDGE * torch.eye(len(wanted), dtype=torch.float64, device="cpu")
    values: Tensor = mean + kernel[held][:, ~held] @ torch.linalg.solve(system, wanted - mean)
    return values.argmax(dim=1)


def propagated(
    neighbour_graph: NeighbourGraph, known: Tensor, labels: Tensor, n_clusters: int, weights: Tensor | None = None
) -> Tensor:
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
    weights : Tensor of shape (m,) or None
        What share of its class's mass each has; None gives them equal ones.
    """
    alpha = 0.99
    adjacency = neighbour_graph.affinity
    degree = np.maximum(adjacency.sum(axis=1), 1e-12)
    scale = sp.diags_array(degree**-0.5)
    system = sp.eye_array(len(degree)) - alpha * (scale @ adjacency @ scale)
    known = neighbour_graph.original[known]
    inside = torch.isin(known, neighbour_graph.members)
    position = torch.searchsorted(neighbour_graph.members, known[inside]).numpy()
    classes, shares = labels[inside].numpy(), np.ones(len(position)) if weights is None else weights[inside].numpy()
    mass = np.zeros((len(degree), n_clusters))
    np.add.at(mass, (position, classes), shares / np.bincount(classes, shares, minlength=n_clusters)[classes])
    # The mass falls off by orders of magnitude along a group that is long, and still tells of which class its end is.
    spread = np.column_stack([cg(system, column, rtol=1e-12, maxiter=1000)[0] for column in mass.T])
    spread = np.maximum(spread, 0.0) + 1e-16
    w = neighbour_graph.spread(torch.from_numpy(spread / spread.sum(axis=1, keepdims=True)).float())
    return F.normalize(w.square(), p=1, dim=1)


def random_w(n: int, n_clusters: int, rng: torch.Generator) -> Tensor:
    """Initial w drawn uniformly from the simplex: breaks the symmetry of uniform w."""
    exponential = -torch.rand(n, n_clusters, generator=rng, device=rng.device).clamp_(min=1e-20).log()
    return exponential / exponential.sum(dim=1, keepdim=True)


def kmeans_w(source: Source, n_clusters: int, graph_size: int, seed: int, rng: torch.Generator) -> Tensor:
    """Initial w from k-means on the scaled values, run on at most `graph_size` samples: hard labels."""
    members = choose(len(source), graph_size, rng)
    points = pixels(source, members)
    labels = torch.from_numpy(graph.kmeans(points.numpy(), n_clusters, seed)[0])
    centres = torch.stack([points[labels == i].mean(0) if (labels == i).any() else points[0] for i in range(n_clusters)])
    near = [graph.nearest(pixels(source, part), centres, 1)[1] for part in torch.arange(len(source)).split(8192)]
    return F.one_hot(torch.cat(near).squeeze(1), n_clusters).float()


def pixels(source: Source, index: Tensor) -> Tensor:
    """Return the samples at `index` (m,) as rows (m, d) on the CPU; a few at a time are read at full size."""
    return torch.cat([as_points(source.batch(part)).cpu() for part in index.split(256)])
