"""The nearest-neighbor graph of the samples, which the initial w comes from.

The neighbors of a row are the nearest rows. Of images, neither features nor pixels alone tell what they have in common.
Features overlook what the transforms change, and so mix styles of different classes that pixels tell apart; pixels mix classes
that features tell apart. So the nearest by features and by pixels are candidates, and the IDM distance decides
(`core.graph.image_distortion`), with a small weight on features. Where the graph is partitioned, half of the neighbors or all
are the nearest by features alone. Without these edges, styles of a class that no small deformation turns into one another
would be clusters of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from skganem.core.data.batches import map_batches
from skganem.core.data.dataset import NO_INDEX, ArrayDataset, row_hashes
from skganem.core.data.images import smoothed_pixels
from skganem.core.graph.affinity import jaccard_affinity, neighbor_embeddings, reweight_affinity
from skganem.core.graph.image_distortion import IDMGradients, pairwise_idm
from skganem.core.runtime.distributed import current

#: (data set of n samples) -> their coordinates (n, m)
FeatureMap: TypeAlias = Callable[[ArrayDataset], Tensor]

#: Candidates by features, and as many by pixels, for each neighbor of an image: fewer miss near images, more take time.
#: "Neighbor graph and distances" in docs/defaults.rst.
CANDIDATES_PER_NEIGHBOR = 4 / 3
#: Weight of the squared distance between features beside the IDM distance, both as shares of their means. Too small confuses
#: fours with nines of small images, too large crossed sevens with twos.
FEATURE_WEIGHT = 0.05
#: Small data have fewer neighbors: a fifth of an even share of the samples, but 3 at least. With more, small clusters are
#: connected to others (a quarter: 9.3 on groups of 4, 10 and 40); with fewer, they break apart.
SAMPLES_PER_NEIGHBOR, MIN_NEIGHBORS = 5, 3
#: Queries at once in a search by distance, and rows at once in other comparisons: what fits into a CPU's cache.
QUERY_BLOCK, ROW_BLOCK = 1024, 256
#: Distances at once: 256 MiB of float32. With more than 65,536 points, there are fewer queries at once.
MAX_DISTANCES = 1 << 26
#: Samples outside the graph whose neighbors are sought at once.
OUTSIDE_BLOCK = 8192
#: How many times as many as the farther neighbors a sample's copies and nearer neighbors must be for it to have no edges to the
#: farther ones. Less breaks data of many copies apart; with 4, 40 equal rows far from 300 others were no cluster.
COPY_DOMINANCE = 2


def nearest_neighbors(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest `points` (m, d) of each of `queries` (n, d) by Euclidean distance.

    Returns
    -------
    distances, indices : Tensor of shape (n, k)
        Nearest first.
    """
    squares, block_size = points.square().sum(1), min(QUERY_BLOCK, max(1, MAX_DISTANCES // len(points)))

    def search(rows: slice) -> tuple[Tensor, Tensor]:
        found = []
        for block in queries[rows].split(block_size):
            distances = torch.addmm(squares, block, points.T, beta=1.0, alpha=-2.0).add_(block.square().sum(1, keepdim=True))
            found.append(distances.topk(k, dim=1, largest=False))
        return torch.cat([f.values for f in found]).clamp_(min=0).sqrt_(), torch.cat([f.indices for f in found])

    return current().map_rows(search, len(queries), block_size)


def k_nearest(points: Tensor, k: int) -> Tensor:
    """Return the k nearest other points of each of `points` (n, d): indices (n, k); fewer where n <= k."""
    k = min(k, len(points) - 1)
    _, found = nearest_neighbors(points, points, k + 1)
    # A point is its own nearest neighbor, but not always the first one where rows are repeated.
    own = found == torch.arange(len(points), device=found.device)[:, None]
    own[:, -1] |= ~own.any(dim=1)
    return found[~own].view(len(points), k)


@dataclass(frozen=True)
class NeighborLists:
    """The nearest neighbors of all samples, whatever the number of clusters.

    Of equal samples, only the first has a list, of samples that differ from it and from each other.

    Attributes
    ----------
    distinct : Tensor of shape (m,)
        Positions in the data set of the samples that have a list, ascending.
    first_copy : Tensor of shape (n,)
        The one of these that each sample is a copy of, as a position in the data set; of samples outside the graph, themselves.
    copies : Tensor of shape (m,)
        How many samples each of them stands for.
    features : Tensor of shape (m, d)
        Their coordinates.
    near : Tensor of shape (m, k)
        Their neighbors, nearest first, as positions in `distinct`; of images with features, by IDM distance.
    by_features : Tensor of shape (m, k') or None
        Those of images by features alone, where `near` are others.
    of_all : Tensor of shape (n, k)
        Each sample's neighbors, as positions in the data set.
    """

    distinct: Tensor
    first_copy: Tensor
    copies: Tensor
    features: Tensor
    near: Tensor
    by_features: Tensor | None
    of_all: Tensor

    def to_numpy(self) -> dict[str, np.ndarray | None]:
        """Return the tensors as arrays by name."""
        return {name: None if value is None else value.numpy() for name, value in vars(self).items()}

    @classmethod
    def from_numpy(cls, arrays: dict[str, np.ndarray | None]) -> NeighborLists:
        """Return what `to_numpy` was called on; arrays that are read-only, as those of a memory map, are copied."""
        tensors: dict[str, Any] = {
            name: torch.from_numpy(np.array(value)) for name, value in arrays.items() if value is not None
        }
        return cls(**{"by_features": None, **tensors})


def find_neighbors(
    dataset: ArrayDataset,
    embed: FeatureMap,
    n_neighbors: int,
    graph_size: int,
    rng: torch.Generator,
    *,
    hybrid: bool = False,
    priority: Tensor = NO_INDEX,
) -> NeighborLists:
    """Find the nearest neighbors of all samples among at most `graph_size` nodes.

    Parameters
    ----------
    dataset : ArrayDataset
    embed : callable
        Gives the coordinates of samples.
    n_neighbors, graph_size : int
    rng : torch.Generator
        Draws the nodes where not all samples are.
    hybrid : bool
        Whether images have features, so that neighbors are found by these, by pixels and by IDM distance.
    priority : Tensor of int
        Samples that are drawn first, in this order: up to half of the nodes.
    """
    n = len(dataset)
    drawn = subsample(n, graph_size, rng, priority)
    distinct, first_copy, copies = deduplicate(dataset, drawn)
    inside = dataset.subset(distinct) if len(distinct) < n else dataset
    search = HybridSearch(inside, embed, n_neighbors) if hybrid else FeatureSearch(inside, embed)
    near = search.within(n_neighbors)
    of_all = distinct[near]
    if len(distinct) < n:
        found, outside = torch.empty(n, near.shape[1], dtype=torch.long), torch.ones(n, dtype=torch.bool)
        outside[drawn] = False
        for part in outside.nonzero().squeeze(1).split(OUTSIDE_BLOCK) if outside.any() else ():
            found[part] = distinct[search.query(dataset.subset(part), near.shape[1])]
        found[distinct] = of_all
        of_all = found[first_copy]
    by_features = search.by_features if isinstance(search, HybridSearch) else None
    return NeighborLists(distinct, first_copy, copies, search.features.cpu(), near, by_features, of_all)


class NeighborGraph:
    """The graph of the nearest neighbors for a number of clusters.

    Where few samples differ, each has fewer neighbors than were found (`effective_n_neighbors`); where it would have none, its
    neighbor is its first copy, or itself. Copies are nodes, too: many of them can be a cluster (`neighbors_with_copies`).

    Parameters
    ----------
    lists : NeighborLists
    n_clusters, n_neighbors : int
    has_images : bool
        Whether the samples are images.
    seed : int
        Of the embeddings that reweight the edges of rows.

    Attributes
    ----------
    nodes : Tensor of shape (m,)
        Positions in the data set of the samples that are nodes, ascending.
    n_distinct : int
        How many of them differ.
    node_neighbors : Tensor of shape (m, k)
        Each node's neighbors, as positions in `nodes`.
    neighbors : Tensor of shape (n, k)
        Each sample's neighbors, as positions in the data set.
    """

    def __init__(self, lists: NeighborLists, n_clusters: int, n_neighbors: int, has_images: bool, seed: int) -> None:
        self.has_images, self.n_distinct = has_images, len(lists.distinct)
        self._lists, self._seed, self._n_neighbors = lists, seed, n_neighbors
        self.nodes = torch.isin(lists.first_copy, lists.distinct).nonzero().squeeze(1)
        # Which of the distinct samples each node is a copy of.
        self._which = torch.searchsorted(lists.distinct, lists.first_copy[self.nodes])
        self._k = effective_n_neighbors(self.n_distinct, n_clusters, n_neighbors)
        self.node_neighbors = self._among_nodes(lists.near[:, : self._k])
        if self._k:
            self.neighbors = lists.of_all[:, : self._k].clone()
            self.neighbors[self.nodes] = self.nodes[self.node_neighbors]
        else:
            self.neighbors = lists.first_copy[:, None]

    def _among_nodes(self, neighbors: Tensor) -> Tensor:
        """Return the neighbors of all nodes, given those of the distinct samples among each other."""
        if not self._k:
            return torch.searchsorted(self.nodes, self._lists.first_copy[self.nodes])[:, None]
        if len(self.nodes) == self.n_distinct:
            return neighbors
        return neighbors_with_copies(neighbors, self._lists.copies, self._which)

    def with_clusters(self, n_clusters: int) -> NeighborGraph:
        """Return the graph of the same neighbors for another number of clusters."""
        return NeighborGraph(self._lists, n_clusters, self._n_neighbors, self.has_images, self._seed)

    @cached_property
    def affinity(self) -> sp.csr_array:
        """The symmetric affinity matrix (m, m) of the nodes, through which labels propagate; that of rows is reweighted."""
        return self._jaccard if self.has_images else reweight_affinity(self._jaccard, self.embeddings)

    @cached_property
    def _jaccard(self) -> sp.csr_array:
        return jaccard_affinity(self.node_neighbors.numpy())

    @cached_property
    def embeddings(self) -> list[np.ndarray]:
        """Embeddings of the nodes in which the clusters of their graph are apart: (m, d) each."""
        return neighbor_embeddings(self._jaccard, self._seed)

    @property
    def is_hybrid(self) -> bool:
        """Whether the coordinates are an encoder's features."""
        return self._lists.by_features is not None

    @property
    def partition_affinities(self) -> list[sp.csr_array]:
        """The affinity matrices (m, m) to be partitioned: of images, by features, and by both kinds of neighbors."""
        by_features = self._lists.by_features
        if by_features is None:
            return [self.affinity]
        neighbors = by_features[:, : self._k], by_both(self._lists.near, by_features, self._k // 2)
        return [jaccard_affinity(self._among_nodes(found).numpy()) for found in neighbors]

    @property
    def node_features(self) -> np.ndarray:
        """The coordinates (m, d) of the nodes, float64."""
        return self._lists.features[self._which].double().numpy()

    def extend(self, node_w: Tensor) -> Tensor:
        """Extend w from the nodes (m, K) to all samples (n, K): the mean over neighbors and, of nodes, their copies."""
        own = torch.zeros(self.n_distinct, node_w.shape[1]).index_add_(0, self._which, node_w) / self._lists.copies[:, None]
        w = torch.zeros(len(self.neighbors), node_w.shape[1])
        w[self.nodes] = own[self._which]
        total = w.clone()
        total[self.nodes] *= self._lists.copies[self._which, None]
        for column in self.neighbors.T:  # one neighbor at a time: all at once would be n_neighbors times as large
            total += w[column]
        return (total / total.sum(dim=1, keepdim=True).clamp_(min=1e-12))[self._lists.first_copy]


def neighbors_with_copies(neighbors: Tensor, copies: Tensor, which: Tensor) -> Tensor:
    """Return the neighbors of all samples, copies included.

    Many copies far from all else are a group; few copies, or copies amid others, are as one sample. To tell, a list is cut
    where the sample and its nearer neighbors, with all copies, are more than the list has places, and `COPY_DOMINANCE` times
    as many as the farther ones. Copies of the sample, then those of its neighbors, take the places that become free.

    Parameters
    ----------
    neighbors : Tensor of shape (m, k)
        Those of the distinct samples among each other, nearest first.
    copies : Tensor of shape (m,)
        How many of each there are.
    which : Tensor of shape (n,)
        Which of the distinct samples each sample is.

    Returns
    -------
    Tensor of shape (n, k)
        No sample is its own neighbor.
    """
    k = neighbors.shape[1]
    start = copies.cumsum(0) - copies  # in the order of `which`, where the copies of a sample follow each other
    mass = torch.cat([copies[:, None], copies[neighbors]], dim=1).cumsum(dim=1)
    dominates = (mass > k) & (mass >= COPY_DOMINANCE * (mass[:, -1:] - mass))
    n_kept = dominates.int().argmax(dim=1)  # the last place dominates in any case
    lists = torch.cat([start[neighbors], start[:, None]], dim=1)
    for i in (mass[:, -1] > k + 1).nonzero().squeeze(1).tolist():
        kept = neighbors[i, : n_kept[i]]
        further = [torch.arange(int(start[j]) + (j != i), int(start[j] + copies[j]))[: k + 1] for j in [i, *kept.tolist()]]
        lists[i] = torch.cat([start[kept], *further])[: k + 1]
    order = which.argsort(stable=True)
    found = order[lists[which]]
    own = found == torch.arange(len(which))[:, None]
    own[:, -1] |= ~own.any(dim=1)
    return found[~own].view(len(which), k)


def by_both(near: Tensor, by_features: Tensor, k: int) -> Tensor:
    """Return of each node the k nearest (m, k), at least 1, and of those left the k nearest by features."""
    near = near[:, : max(1, k)]
    rank = torch.arange(by_features.shape[1]).repeat(len(near), 1)
    rank[isin_rows(by_features, near)] = rank.shape[1]
    left = min(near.shape[1], rank.shape[1] - near.shape[1])
    others = by_features.gather(1, rank.topk(left, dim=1, largest=False).indices)
    return torch.cat([near, others], dim=1)


class FeatureSearch:
    """The nearest by Euclidean distance between features."""

    def __init__(self, dataset: ArrayDataset, embed: FeatureMap) -> None:
        self._embed, self.features = embed, embed(dataset)

    def within(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples."""
        return k_nearest(self.features, k).cpu()

    def query(self, dataset: ArrayDataset, k: int) -> Tensor:
        """Return the k nearest samples of each of another data set."""
        return nearest_neighbors(self._embed(dataset), self.features, k)[1].cpu()


class HybridSearch:
    """The nearest by IDM distance and features, among the nearest by features and the nearest by pixels."""

    def __init__(self, dataset: ArrayDataset, embed: FeatureMap, n_neighbors: int) -> None:
        self._embed, self._n_candidates = embed, max(1, math.ceil(CANDIDATES_PER_NEIGHBOR * n_neighbors))
        self._images, self.features = IDMGradients(dataset), embed(dataset)
        self._pixels = map_batches(dataset, smoothed_pixels)
        by_features, by_pixels = (k_nearest(points, self._n_candidates) for points in (self.features, self._pixels))
        self._candidates = torch.cat([by_features, by_pixels], dim=1)
        idm, squared = self._compare(self._images, self.features, self._candidates, symmetric=True)
        self._weight = FEATURE_WEIGHT * float(idm.mean() / squared.mean().clamp_min(1e-12))
        self._distances, self.by_features = idm + self._weight * squared, by_features.cpu()

    def within(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples."""
        return topk_unique(self._candidates, self._distances, min(k, self.by_features.shape[1])).cpu()

    def query(self, dataset: ArrayDataset, k: int) -> Tensor:
        """Return the k nearest samples of each of another data set."""
        features, pixels = self._embed(dataset), map_batches(dataset, smoothed_pixels)
        n = min(self._n_candidates, len(self.features))
        spaces = ((features, self.features), (pixels, self._pixels))
        candidates = torch.cat([nearest_neighbors(queries, points, n)[1] for queries, points in spaces], dim=1)
        idm, squared = self._compare(IDMGradients(dataset), features, candidates)
        return topk_unique(candidates, idm + self._weight * squared, k).cpu()

    def _compare(
        self, images: IDMGradients, features: Tensor, candidates: Tensor, *, symmetric: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the IDM distance and the squared distance of features between images and their candidates: (n, m) each.

        Each pair is compared once, and where both are of the same data set (`symmetric`), in one direction alone.
        """
        n = max(len(candidates), len(self.features))
        i = torch.arange(len(candidates), device=candidates.device).repeat_interleave(candidates.shape[1])
        j = candidates.flatten()
        pairs = torch.minimum(i, j) * n + torch.maximum(i, j) if symmetric else i * n + j
        pairs, which = pairs.unique(return_inverse=True)
        idm = pairwise_idm(images, self._images, pairs // n, pairs % n)[which].view(candidates.shape)
        blocks = zip(features.split(ROW_BLOCK), candidates.split(ROW_BLOCK), strict=True)
        squared = [(own[:, None] - self.features[others]).square().sum(dim=2) for own, others in blocks]
        return idm, torch.cat(squared)


def topk_unique(candidates: Tensor, distances: Tensor, k: int) -> Tensor:
    """Return the k nearest candidates (n, k), each one once: the second half of them may repeat the first."""
    first, second = candidates.chunk(2, dim=1)
    repeated = torch.cat([torch.zeros_like(first, dtype=torch.bool), isin_rows(second, first)], dim=1)
    nearest = distances.masked_fill(repeated, torch.inf).topk(k, dim=1, largest=False).indices
    return candidates.gather(1, nearest)


def isin_rows(elements: Tensor, test_elements: Tensor) -> Tensor:
    """Tell which elements (n, m) are in the same row of `test_elements` (n, k): (n, m)."""
    blocks = zip(test_elements.split(ROW_BLOCK), elements.split(ROW_BLOCK), strict=True)
    return torch.cat([(own[:, :, None] == others[:, None]).any(dim=2) for others, own in blocks])


def subsample(n: int, size: int, rng: torch.Generator, priority: Tensor = NO_INDEX) -> Tensor:
    """Draw `size` of n positions, ascending, all if there are no more; those of `priority` first, up to half of them."""
    if n <= size:
        return torch.arange(n)
    order, first = torch.randperm(n, generator=rng, device=rng.device).cpu(), priority[: size // 2]
    return torch.cat([first, order[~torch.isin(order, first)]])[:size].sort().values


def effective_n_neighbors(n: int, n_clusters: int, n_neighbors: int) -> int:
    """Return how many neighbors each of n samples has: fewer than wanted where a cluster has few samples.

    A fifth of an even share of the samples, or three if that is less; but no more than the others in the share: with more,
    each would have edges to other clusters, wherever they lie.
    """
    share = n // n_clusters
    return max(0, min(n_neighbors, max(MIN_NEIGHBORS, share // SAMPLES_PER_NEIGHBOR), share - 1))


def deduplicate(dataset: ArrayDataset, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find which of the `drawn` samples, ascending, are equal.

    Returns
    -------
    nodes : Tensor of shape (m,)
        The first of each, ascending.
    first_copy : Tensor of shape (n,)
        For each drawn sample the node that it equals; for the others, themselves.
    copies : Tensor of shape (m,)
        How often each node was drawn.
    """
    hashes = np.concatenate([row_hashes(dataset.array[part.numpy()]) for part in drawn.split(ROW_BLOCK)])
    _, first, which, copies = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    first_copy, order = torch.arange(len(dataset)), first.argsort()
    first_copy[drawn] = drawn[torch.from_numpy(first[which])]
    return drawn[torch.from_numpy(first[order])], first_copy, torch.from_numpy(copies[order])
