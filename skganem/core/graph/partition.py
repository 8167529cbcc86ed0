"""The partition of images into K clusters that fits both their features and their neighbor graphs.

Edges tell little where styles of a class lie apart, and distances tell little where classes differ in size. The objective has
a term for each (`PartitionObjective`). The search starts from a balanced spectral clustering of each graph. It moves single
nodes (`refine`), and splits one cluster while it merges two others (`split_merge_search`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.cluster.vq import vq

from skganem.core.graph.kmeans import kmeans
from skganem.core.graph.spectral import (
    diffusion_map,
    leading_eigenpairs,
    n_map_dimensions,
    spectral_clustering,
    within_cluster_rank,
)

#: Weight b of the cut beside the log-determinant of the covariance. Too small lets clusters cut dense regions (45: 5.67 %
#: wrong), too large ignores the features (150: 4.84; 90: 4.54). "Partition into K clusters" in docs/defaults.rst.
CUT_WEIGHT = 90
#: Principal components whose covariance counts, at least: with few clusters, K - 1 miss directions that separate classes (5.65
#: instead of 5.17 on average).
MIN_COMPONENTS = 5
#: Least size of a cluster that the search makes, as a fraction of n / K. Less admits clusters of single images,
#: more forbids rare classes (0.1: 10.7 on uneven sets).
MIN_CLUSTER_FRACTION = 0.05
#: Sweeps of a refinement at most; it usually stops earlier. Not tuned.
MAX_SWEEPS = 15
#: Splits that are tried in a step of the search, the most promising first. All of 30 took 139 s instead of 15.
MAX_SPLITS = 10
#: By how much the objective must fall for a step to count: more than rounding errors.
MIN_DECREASE = 1e-6
#: Runs of k-means for the starts and for a split: too few end in poor minima, more take time. Not tuned.
N_INIT, N_INIT_SPLIT = 20, 3
#: Added to the covariance's diagonal, as a share of the mean variance, so that it can be inverted where points coincide.
COVARIANCE_FLOOR = 1e-6


@dataclass(frozen=True)
class Partition:
    """A partition of n nodes into k clusters, none of them empty, with what its objective depends on.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        From 0 to k - 1.
    sizes : ndarray of shape (k,)
    means : ndarray of shape (k, m)
    covariance : ndarray of shape (m, m)
        S, the covariance within clusters.
    edge_shares : ndarray of shape (n, k)
        The share of all edges' weight that leads from a node to a cluster.
    objective : float
    """

    labels: np.ndarray
    sizes: np.ndarray
    means: np.ndarray
    covariance: np.ndarray
    edge_shares: np.ndarray
    objective: float


class PartitionObjective:
    r"""How badly partitions of the same nodes fit their points and their graphs: lower is better.

    The objective is :math:`\log\det S + b\,c`, with S the covariance within clusters (Friedman and Rubin 1967), c the mean
    share of the graphs' edges that are cut, and b `CUT_WEIGHT`. Styles of a class lie apart in directions in which other
    classes vary, too: there S is large, and the first term ignores them. Where classes differ in size, the cut tells a class
    from half of a larger one.

    Parameters
    ----------
    graphs : sequence of sparse arrays of shape (n, n)
    points : ndarray of shape (n, d)
    n_clusters : int
        K. The K - 1 leading principal components count, as many as the means of K clusters span.
    """

    def __init__(self, graphs: Sequence[sp.csr_array], points: np.ndarray, n_clusters: int) -> None:
        self.points = principal_components(points, max(n_clusters - 1, MIN_COMPONENTS))
        self._edges = sp.csr_array(sum(graph / graph.sum() for graph in graphs) / len(graphs))
        self._floor = COVARIANCE_FLOOR * max(float(self.points.var(axis=0).mean()), 1e-12) * np.eye(self.points.shape[1])

    def evaluate(self, labels: np.ndarray) -> Partition:
        """Return the partition with these labels (n,); numbers that no node has are left out."""
        _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        member = np.zeros((len(labels), len(sizes)))
        member[np.arange(len(labels)), labels] = 1
        means = member.T @ self.points / sizes[:, None]
        residuals = self.points - means[labels]
        covariance = residuals.T @ residuals / len(labels) + self._floor
        edge_shares = self._edges @ member
        cut = 1 - float((edge_shares * member).sum())
        objective = float(np.linalg.slogdet(covariance)[1]) + CUT_WEIGHT * cut
        return Partition(labels, sizes, means, covariance, edge_shares, objective)

    def refine(self, partition: Partition) -> Partition:
        """Move each node to the cluster that fits it best, all at once, as long as the objective falls.

        That is where :math:`d^2 - 2 b n a` is least, with d the distance from the cluster's mean in units of S and a the
        node's share of edges to the cluster (a synchronous variant of iterated conditional modes, Besag 1986).
        """
        for _ in range(MAX_SWEEPS):
            whiten = whitening(partition)
            points, means = self.points @ whiten, partition.means @ whiten
            squared = np.square(means).sum(axis=1) - 2 * points @ means.T  # up to what is the same for all clusters
            moved = self.evaluate((squared - 2 * CUT_WEIGHT * len(points) * partition.edge_shares).argmin(axis=1))
            if len(moved.sizes) < len(partition.sizes) or moved.objective >= partition.objective:
                break
            partition = moved
        return partition

    def split_cluster(self, partition: Partition, cluster: int, seed: int) -> Partition:
        """Return the partition in which k-means has halved a cluster; the same one if it can't."""
        inside = np.flatnonzero(partition.labels == cluster)
        labels = partition.labels.copy()
        halves = kmeans(self.points[inside] @ whitening(partition), 2, seed, N_INIT_SPLIT)[0]
        labels[inside[halves == 1]] = len(partition.sizes)
        return self.evaluate(labels)

    def merge_best_pair(self, partition: Partition) -> Partition:
        """Return the partition in which the two clusters are merged for which the objective is least."""
        means = partition.means @ whitening(partition)
        squared = np.square(means[:, None] - means).sum(axis=2)
        sizes = partition.sizes / len(partition.labels)
        between = np.stack([partition.edge_shares[partition.labels == i].sum(axis=0) for i in range(len(sizes))])
        change = np.log1p(squared / (1 / sizes[:, None] + 1 / sizes)) - 2 * CUT_WEIGHT * between
        change[np.tril_indices(len(sizes))] = np.inf
        one, other = np.unravel_index(change.argmin(), change.shape)
        return self.evaluate(np.where(partition.labels == other, one, partition.labels))

    def split_merge_search(self, partition: Partition, min_size: float, seed: int) -> Partition:
        """Split a cluster and merge two, and refine after each, as long as the objective falls.

        Ueda et al. (2000) search mixtures in this way (SMEM). A partition with a cluster of fewer than `min_size` nodes is not
        taken.
        """
        n_clusters = len(partition.sizes)
        while True:
            splits = [self.split_cluster(partition, i, seed) for i in range(n_clusters)]
            splits = [split for split in splits if len(split.sizes) > n_clusters]
            for split in sorted(splits, key=lambda split: split.objective)[:MAX_SPLITS]:
                candidate = self.refine(self.merge_best_pair(self.refine(split)))
                if candidate.objective < partition.objective - MIN_DECREASE and candidate.sizes.min() >= min_size:
                    partition = candidate
                    break
            else:
                return partition


def optimize_partition(
    graphs: Sequence[sp.csr_array], n_clusters: int, seed: int, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Search for the partition of least objective, from a balanced spectral clustering of each graph.

    Parameters
    ----------
    graphs : sequence of sparse arrays of shape (n, n)
        Of the same nodes.
    n_clusters : int, 2 or more
    seed : int
    points : ndarray of shape (n, d)
        The nodes' features.

    Returns
    -------
    labels : ndarray of shape (n,)
        From 0 to n_clusters - 1.
    rank : ndarray of shape (n,)
        As `agglomerative_partition` has it.
    """
    objective = PartitionObjective(graphs, points, n_clusters)
    maps = [diffusion_map(graph, n_map_dimensions(graph, n_clusters), seed) for graph in graphs]
    balanced = [spectral_clustering(embedding, n_clusters, seed, N_INIT) for embedding in maps]
    starts = [objective.refine(objective.evaluate(assign_to_nearest(labels, objective.points))) for labels in balanced]
    embedding, start = min(zip(maps, starts, strict=True), key=lambda pair: pair[1].objective)
    min_size = MIN_CLUSTER_FRACTION * len(points) / n_clusters
    labels = objective.split_merge_search(start, min_size, seed).labels
    return labels, within_cluster_rank(embedding, labels)


def whitening(partition: Partition) -> np.ndarray:
    """Return the matrix (m, m) that takes points (n, m) to coordinates in which S is the identity."""
    return np.linalg.cholesky(np.linalg.inv(partition.covariance))


def assign_to_nearest(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Give nodes without a cluster (n,), -1, to the cluster whose mean is nearest among the points (n, m)."""
    clusters = np.unique(labels[labels >= 0])
    means = np.stack([points[labels == cluster].mean(axis=0) for cluster in clusters])
    return np.where(labels < 0, clusters[vq(points, means)[0]], labels)


def principal_components(points: np.ndarray, n_components: int) -> np.ndarray:
    """Return the leading principal components (n, m) of points (n, d), at most d."""
    centered = points - points.mean(axis=0)
    _, directions = leading_eigenpairs(sp.csr_array(centered.T @ centered), min(n_components, points.shape[1]), seed=0)
    return np.asarray(centered @ directions[:, ::-1])
