"""The neighbour graph of the samples, which the initial w comes from.

Rows are near each other as they are. What images have in common, neither an encoder's features nor their pixels tell alone:
features overlook what augmentation changes, and so join styles of different classes that pixels tell apart; pixels join
classes that features tell apart. So the nearest by features and the nearest by pixels are candidates, among which the
deformation that makes one like the other decides (`core.distortion`), and features a little. Where the graph is cut into
clusters, the neighbours, or half of them, are the nearest by features alone: without these links, styles of a class that no
small deformation turns into one another would be clusters of their own.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from skganem.core.data.dataset import NONE, Source, keys_of
from skganem.core.data.shapes import is_image
from skganem.core.graph import spectral as graph
from skganem.core.graph.affinity import weighed_by_embeddings
from skganem.core.graph.image_distortion import Comparable, comparable, distortions
from skganem.core.networks.mixture import Model, blurred

#: Candidates by features, and as many by pixels, for each neighbour of an image that is wanted.
CANDIDATES = 5 / 3
#: Weight of the squared distance between features beside the distortion, both as shares of their means.
FEATURES = 0.05
#: Where samples are few: samples in an even share for each neighbour, and the least number of neighbours.
PER_NEIGHBOR, LEAST_NEIGHBORS = 5, 3
BLOCK = 256


class NeighbourGraph:
    """The nearest neighbours of every sample among at most `graph_size` of them.

    Of equal samples, only the first is in the graph: with more copies than neighbours, each would be linked to nothing else.
    And where few samples differ, each has fewer neighbours (`n_links`); where it has none, it is its own.

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
    original : Tensor of shape (n,)
        The member that each sample is a copy of, as a position in the source; or the sample itself.
    of_images : bool
        Whether the samples are images.
    among_members : Tensor of shape (m, k)
        Each member's neighbours, as positions in `members`.
    of_all : Tensor of shape (n, k)
        Each sample's neighbours, as positions in the source.
    """

    def __init__(
        self, model: Model, source: Source, n_neighbors: int, graph_size: int, rng: torch.Generator, keep: Tensor = NONE
    ) -> None:
        n = len(source)
        chosen = choose(n, graph_size, rng, keep)
        self.members, self.original, self._copies = distinct(source, chosen)
        n_neighbors = n_links(len(self.members), model.layout.n_clusters, n_neighbors)
        self.of_images = is_image(source.shape)
        self._seed = 0 if self.of_images else int(torch.randint(2**31, (), generator=rng, device=rng.device))
        inside = source.subset(self.members) if len(self.members) < n else source
        self._search = Points(model, inside) if model.encoder is None else Images(model, inside, n_neighbors)
        self.among_members = self._search.among(n_neighbors) if n_neighbors else torch.arange(len(self.members))[:, None]
        self.of_all = self.members[self.among_members]
        if len(self.members) < n:
            found, others = torch.empty(n, self.of_all.shape[1], dtype=torch.long), torch.ones(n, dtype=torch.bool)
            others[chosen] = False
            for part in others.nonzero().squeeze(1).split(8192) if others.any() else ():
                found[part] = self.members[self._search.of(source.subset(part), found.shape[1])]
            found[self.members] = self.of_all
            self.of_all = found[self.original]

    @cached_property
    def affinity(self) -> sp.csr_array:
        """The symmetric affinity matrix (m, m) of the members, through which labels spread; rows' links are weighed."""
        affinity = graph.affinity(self.among_members.numpy())
        return affinity if self.of_images else weighed_by_embeddings(affinity, self._seed)

    @property
    def affinities_to_cut(self) -> list[sp.csr_array]:
        """The affinity matrices (m, m) to be cut into clusters: of images, by features, and by both kinds of neighbours."""
        if not isinstance(self._search, Images):
            return [self.affinity]
        k = self.among_members.shape[1]
        return [graph.affinity(found.numpy()) for found in (self._search.by_features(k), self._search.of_both_kinds(k // 2))]

    @property
    def points(self) -> np.ndarray:
        """The coordinates (m, d) of the members, float64."""
        return self._search.features.cpu().double().numpy()

    @property
    def learned(self) -> bool:
        """Whether these are an encoder's features, by which partitions are judged."""
        return isinstance(self._search, Images)

    def spread(self, member_w: Tensor) -> Tensor:
        """Give each sample the mean w (n, K) of its neighbours and, where it has one, its own (m, K), once for each copy."""
        w = torch.zeros(len(self.of_all), member_w.shape[1])
        w[self.members] = member_w
        total = w.clone()
        total[self.members] *= self._copies[:, None]
        for column in self.of_all.T:  # one neighbour at a time: all at once would be n_neighbors times as large
            total += w[column]
        return (total / total.sum(dim=1, keepdim=True).clamp_(min=1e-12))[self.original]


class Points:
    """The nearest by Euclidean distance."""

    def __init__(self, model: Model, source: Source) -> None:
        self._model, self.features = model, model.coordinates(source)

    def among(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples."""
        return graph.neighbours(self.features, k).cpu()

    def of(self, source: Source, k: int) -> Tensor:
        """Return the k nearest samples of each of a source."""
        return graph.nearest(self._model.coordinates(source), self.features, k)[1].cpu()


class Images:
    """The nearest by distortion and features, of the nearest by features and of the nearest by pixels."""

    def __init__(self, model: Model, source: Source, n_neighbors: int) -> None:
        self._model, self._source, self._n = model, comparable(model, source), max(1, math.ceil(CANDIDATES * n_neighbors))
        self.features, self._pixels = model.coordinates(source), model.collect(source, blurred)
        self._by_features, by_pixels = (graph.neighbours(points, self._n) for points in (self.features, self._pixels))
        self._candidates = torch.cat([self._by_features, by_pixels], dim=1)
        distorted, apart = self._compared(self._source, self.features, self._candidates)
        self._weight = FEATURES * float(distorted.mean() / apart.mean().clamp_min(1e-12))
        self._distances = distorted + self._weight * apart

    def among(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples."""
        return best(self._candidates, self._distances, min(k, self._by_features.shape[1])).cpu()

    def of(self, source: Source, k: int) -> Tensor:
        """Return the k nearest samples of each of a source."""
        features, pixels = self._model.coordinates(source), self._model.collect(source, blurred)
        n = min(self._n, len(self.features))
        places = ((features, self.features), (pixels, self._pixels))
        candidates = torch.cat([graph.nearest(queries, points, n)[1] for queries, points in places], dim=1)
        distorted, apart = self._compared(comparable(self._model, source), features, candidates)
        return best(candidates, distorted + self._weight * apart, k).cpu()

    def by_features(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples by features alone."""
        return self._by_features[:, :k].cpu()

    def of_both_kinds(self, k: int) -> Tensor:
        """Return the k nearest others, at least 1, of each of the samples, and of those left the k nearest by features."""
        near = self.among(max(1, k)).to(self._by_features.device)
        rank = torch.arange(self._by_features.shape[1], device=near.device).repeat(len(near), 1)
        rank[contains(near, self._by_features)] = rank.shape[1]
        left = min(near.shape[1], rank.shape[1] - near.shape[1])
        others = self._by_features.gather(1, rank.topk(left, dim=1, largest=False).indices)
        return torch.cat([near, others], dim=1).cpu()

    def _compared(self, source: Comparable, features: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distortion and the squared distance of features between images and their candidates: (n, m) each."""
        i = torch.arange(len(candidates), device=candidates.device).repeat_interleave(candidates.shape[1])
        distorted = distortions(source, self._source, i, candidates.flatten()).view(candidates.shape)
        blocks = zip(features.split(BLOCK), candidates.split(BLOCK), strict=True)
        apart = [(own[:, None] - self.features[others]).square().sum(dim=2) for own, others in blocks]
        return distorted, torch.cat(apart)


def best(candidates: Tensor, distances: Tensor, k: int) -> Tensor:
    """Return the k nearest candidates (n, k), each one once: the second half of them may repeat the first."""
    first, second = candidates.chunk(2, dim=1)
    repeated = torch.cat([torch.zeros_like(first, dtype=torch.bool), contains(first, second)], dim=1)
    nearest = distances.masked_fill(repeated, torch.inf).topk(k, dim=1, largest=False).indices
    return candidates.gather(1, nearest)


def contains(sets: Tensor, members: Tensor) -> Tensor:
    """Tell which of `members` (n, m) are in the row of `sets` (n, k) with the same number: (n, m)."""
    blocks = zip(sets.split(BLOCK), members.split(BLOCK), strict=True)
    return torch.cat([(own[:, :, None] == others[:, None]).any(dim=2) for others, own in blocks])


def choose(n: int, size: int, rng: torch.Generator, keep: Tensor = NONE) -> Tensor:
    """Choose `size` of n positions, ascending, all if there are no more; `keep` first, up to half of them."""
    if n <= size:
        return torch.arange(n)
    order, first = torch.randperm(n, generator=rng, device=rng.device).cpu(), keep[: size // 2]
    return torch.cat([first, order[~torch.isin(order, first)]])[:size].sort().values


def n_links(n: int, n_clusters: int, n_neighbors: int) -> int:
    """Return how many neighbours each of n samples has: fewer than wanted where a cluster has few samples.

    A fifth of an even share of the samples, or three if that is less; but no more than the others in the share: with more, each
    would be linked to other clusters, wherever they lie.
    """
    share = n // n_clusters
    return max(0, min(n_neighbors, max(LEAST_NEIGHBORS, share // PER_NEIGHBOR), share - 1))


def distinct(source: Source, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find which of the `chosen` samples, ascending, are equal.

    Returns
    -------
    members : Tensor of shape (m,)
        The first of each, ascending.
    original : Tensor of shape (n,)
        For each chosen sample the member that it equals; for the others, themselves.
    copies : Tensor of shape (m,)
        How often each member was chosen.
    """
    keys = np.concatenate([keys_of(source.array[part.numpy()]) for part in chosen.split(BLOCK)])
    _, first, which, copies = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    original, order = torch.arange(len(source)), first.argsort()
    original[chosen] = chosen[torch.from_numpy(first[which])]
    return chosen[torch.from_numpy(first[order])], original, torch.from_numpy(copies[order])
