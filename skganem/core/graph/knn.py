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
from functools import cached_property
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from skganem.core.data.batches import map_batches
from skganem.core.data.dataset import NO_INDEX, ArrayDataset, row_hashes
from skganem.core.data.images import smoothed_pixels
from skganem.core.data.shapes import is_image
from skganem.core.graph.affinity import jaccard_affinity, reweight_affinity
from skganem.core.graph.image_distortion import IDMInput, as_idm_input, pairwise_idm

#: (data set of n samples) -> their coordinates (n, m)
FeatureMap: TypeAlias = Callable[[ArrayDataset], Tensor]

#: Candidates by features, and as many by pixels, for each neighbor of an image: fewer miss near images, more take time.
#: "Neighbor graph and distances" in docs/defaults.rst.
CANDIDATES_PER_NEIGHBOR = 5 / 3
#: Weight of the squared distance between features beside the IDM distance, both as shares of their means. Too small confuses
#: fours with nines of small images, too large crossed sevens with twos.
FEATURE_WEIGHT = 0.05
#: Small data have fewer neighbors: a fifth of an even share of the samples, but 3 at least. With more, small clusters are
#: connected to others (a quarter: 9.3 on groups of 4, 10 and 40); with fewer, they break apart.
SAMPLES_PER_NEIGHBOR, MIN_NEIGHBORS = 5, 3
#: Queries at once in a search by distance, and rows at once in other comparisons: what fits into a CPU's cache.
QUERY_BLOCK, ROW_BLOCK = 1024, 256
#: Samples outside the graph whose neighbors are sought at once.
OUTSIDE_BLOCK = 8192


def nearest_neighbors(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest `points` (m, d) of each of `queries` (n, d) by Euclidean distance.

    Returns
    -------
    distances, indices : Tensor of shape (n, k)
        Nearest first.
    """
    squares = points.square().sum(1)
    found = []
    for block in queries.split(QUERY_BLOCK):
        distances = torch.addmm(squares, block, points.T, beta=1.0, alpha=-2.0).add_(block.square().sum(1, keepdim=True))
        found.append(distances.topk(k, dim=1, largest=False))
    return torch.cat([f.values for f in found]).clamp_(min=0).sqrt_(), torch.cat([f.indices for f in found])


def k_nearest(points: Tensor, k: int) -> Tensor:
    """Return the k nearest other points of each of `points` (n, d): indices (n, k); fewer where n <= k."""
    k = min(k, len(points) - 1)
    _, found = nearest_neighbors(points, points, k + 1)
    # A point is its own nearest neighbor, but not always the first one where rows are repeated.
    own = found == torch.arange(len(points), device=found.device)[:, None]
    own[:, -1] |= ~own.any(dim=1)
    return found[~own].view(len(points), k)


class NeighborGraph:
    """The nearest neighbors of every sample among the nodes, at most `graph_size` samples.

    Of equal samples, only the first is a node: with more copies than neighbors, each would have edges to copies alone. Where
    few samples differ, each has fewer neighbors (`effective_n_neighbors`); where it has none, it is its own.

    Parameters
    ----------
    dataset : ArrayDataset
    embed : callable
        Gives the coordinates of samples.
    n_clusters, n_neighbors, graph_size : int
    rng : torch.Generator
        Draws the nodes where not all samples are, and seeds the embeddings that reweight the edges of rows.
    hybrid : bool
        Whether images have features, so that neighbors are found by these, by pixels and by IDM distance.
    priority : Tensor of int
        Samples that are drawn first, in this order: up to half of the nodes.

    Attributes
    ----------
    nodes : Tensor of shape (m,)
        Positions in the data set of the samples that are nodes, ascending.
    first_copy : Tensor of shape (n,)
        The node that each sample is a copy of, as a position in the data set; or the sample itself.
    has_images : bool
        Whether the samples are images.
    node_neighbors : Tensor of shape (m, k)
        Each node's neighbors, as positions in `nodes`.
    neighbors : Tensor of shape (n, k)
        Each sample's neighbors, as positions in the data set.
    """

    def __init__(
        self,
        dataset: ArrayDataset,
        embed: FeatureMap,
        n_clusters: int,
        n_neighbors: int,
        graph_size: int,
        rng: torch.Generator,
        *,
        hybrid: bool = False,
        priority: Tensor = NO_INDEX,
    ) -> None:
        n = len(dataset)
        drawn = subsample(n, graph_size, rng, priority)
        self.nodes, self.first_copy, self._copies = deduplicate(dataset, drawn)
        n_neighbors = effective_n_neighbors(len(self.nodes), n_clusters, n_neighbors)
        self.has_images = is_image(dataset.shape)
        self._seed = 0 if self.has_images else int(torch.randint(2**31, (), generator=rng, device=rng.device))
        inside = dataset.subset(self.nodes) if len(self.nodes) < n else dataset
        self._search = HybridSearch(inside, embed, n_neighbors) if hybrid else FeatureSearch(inside, embed)
        self.node_neighbors = self._search.within(n_neighbors) if n_neighbors else torch.arange(len(self.nodes))[:, None]
        self.neighbors = self.nodes[self.node_neighbors]
        if len(self.nodes) < n:
            self.neighbors = self._neighbors_of_all(dataset, drawn)

    def _neighbors_of_all(self, dataset: ArrayDataset, drawn: Tensor) -> Tensor:
        """Find the neighbors among the nodes of the samples that were not drawn, too; copies have those of the first one."""
        n, k = len(dataset), self.neighbors.shape[1]
        found, outside = torch.empty(n, k, dtype=torch.long), torch.ones(n, dtype=torch.bool)
        outside[drawn] = False
        for part in outside.nonzero().squeeze(1).split(OUTSIDE_BLOCK) if outside.any() else ():
            found[part] = self.nodes[self._search.query(dataset.subset(part), k)]
        found[self.nodes] = self.neighbors
        return found[self.first_copy]

    @cached_property
    def affinity(self) -> sp.csr_array:
        """The symmetric affinity matrix (m, m) of the nodes, through which labels propagate; that of rows is reweighted."""
        affinity = jaccard_affinity(self.node_neighbors.numpy())
        return affinity if self.has_images else reweight_affinity(affinity, self._seed)

    @property
    def partition_affinities(self) -> list[sp.csr_array]:
        """The affinity matrices (m, m) to be partitioned: of images, by features, and by both kinds of neighbors."""
        if not isinstance(self._search, HybridSearch):
            return [self.affinity]
        k = self.node_neighbors.shape[1]
        neighbors = self._search.by_features(k), self._search.by_both(k // 2)
        return [jaccard_affinity(found.numpy()) for found in neighbors]

    @property
    def node_features(self) -> np.ndarray:
        """The coordinates (m, d) of the nodes, float64."""
        return self._search.features.cpu().double().numpy()

    @property
    def is_hybrid(self) -> bool:
        """Whether the coordinates are an encoder's features."""
        return isinstance(self._search, HybridSearch)

    def extend(self, node_w: Tensor) -> Tensor:
        """Extend w from the nodes (m, K) to all samples (n, K): the mean over neighbors and, of nodes, their copies."""
        w = torch.zeros(len(self.neighbors), node_w.shape[1])
        w[self.nodes] = node_w
        total = w.clone()
        total[self.nodes] *= self._copies[:, None]
        for column in self.neighbors.T:  # one neighbor at a time: all at once would be n_neighbors times as large
            total += w[column]
        return (total / total.sum(dim=1, keepdim=True).clamp_(min=1e-12))[self.first_copy]


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
        self._images, self.features = as_idm_input(dataset), embed(dataset)
        self._pixels = map_batches(dataset, smoothed_pixels)
        self._by_features, by_pixels = (k_nearest(points, self._n_candidates) for points in (self.features, self._pixels))
        self._candidates = torch.cat([self._by_features, by_pixels], dim=1)
        idm, squared = self._compare(self._images, self.features, self._candidates)
        self._weight = FEATURE_WEIGHT * float(idm.mean() / squared.mean().clamp_min(1e-12))
        self._distances = idm + self._weight * squared

    def within(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples."""
        return topk_unique(self._candidates, self._distances, min(k, self._by_features.shape[1])).cpu()

    def query(self, dataset: ArrayDataset, k: int) -> Tensor:
        """Return the k nearest samples of each of another data set."""
        features, pixels = self._embed(dataset), map_batches(dataset, smoothed_pixels)
        n = min(self._n_candidates, len(self.features))
        spaces = ((features, self.features), (pixels, self._pixels))
        candidates = torch.cat([nearest_neighbors(queries, points, n)[1] for queries, points in spaces], dim=1)
        idm, squared = self._compare(as_idm_input(dataset), features, candidates)
        return topk_unique(candidates, idm + self._weight * squared, k).cpu()

    def by_features(self, k: int) -> Tensor:
        """Return the k nearest others of each of the samples by features alone."""
        return self._by_features[:, :k].cpu()

    def by_both(self, k: int) -> Tensor:
        """Return the k nearest others, at least 1, of each of the samples, and of those left the k nearest by features."""
        near = self.within(max(1, k)).to(self._by_features.device)
        rank = torch.arange(self._by_features.shape[1], device=near.device).repeat(len(near), 1)
        rank[isin_rows(self._by_features, near)] = rank.shape[1]
        left = min(near.shape[1], rank.shape[1] - near.shape[1])
        others = self._by_features.gather(1, rank.topk(left, dim=1, largest=False).indices)
        return torch.cat([near, others], dim=1).cpu()

    def _compare(self, images: IDMInput, features: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the IDM distance and the squared distance of features between images and their candidates: (n, m) each."""
        i = torch.arange(len(candidates), device=candidates.device).repeat_interleave(candidates.shape[1])
        idm = pairwise_idm(images, self._images, i, candidates.flatten()).view(candidates.shape)
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
