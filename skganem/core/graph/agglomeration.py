"""The partition of rows into K clusters: more clusters by spectral clustering, merged where the graph is densest."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.spatial.distance import cdist

from skganem.core.graph.spectral import (
    diffusion_map,
    n_map_dimensions,
    spectral_clustering,
    undersized_below,
    within_cluster_rank,
)

#: Clusters that k-means makes, to be merged, for each one wanted. Two cut through groups (10.6 on groups apart), five break
#: them up (7.4); three gave 4.4. "Tabular samples" in docs/defaults.rst.
OVERCLUSTERING = 3
#: Runs of that k-means. Not tuned.
N_INIT = 5


def agglomerative_partition(
    graph: sp.csr_array, n_clusters: int, seed: int, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Partition a neighbor graph by spectral clustering and agglomeration.

    k-means in the diffusion map makes clusters of even size, which is wrong where groups differ in size. So it makes more
    clusters than wanted, and those with the largest affinity are merged.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
    n_clusters : int, 2 or more
    seed : int
    points : ndarray of shape (n, d)
        The nodes' coordinates.

    Returns
    -------
    labels : ndarray of shape (n,)
        From 0 to n_clusters - 1, or -1 for nodes of undersized components.
    rank : ndarray of shape (n,)
        1 for the node that is nearest to the median of its cluster, falling linearly to almost 0 for the farthest one.
    """
    embedding = diffusion_map(graph, n_map_dimensions(graph, n_clusters), seed)
    # No fewer than there are connected components.
    labels = spectral_clustering(embedding, max(OVERCLUSTERING * n_clusters, embedding.shape[1]), seed, N_INIT)
    labels = agglomerate(graph, labels, n_clusters, points)
    return labels, within_cluster_rank(embedding, labels)


def agglomerate(graph: sp.csr_array, labels: np.ndarray, n_clusters: int, points: np.ndarray) -> np.ndarray:
    """Merge clusters of a graph, two at a time, until `n_clusters` are left.

    These are the two with the largest affinity W / (n sqrt(n')), where n <= n' are their sizes. With n' to the power 0, a
    large cluster would absorb all around it where groups overlap. With the power 1 (average linkage), what is left would
    tend to be of even size. (Mean errors: power 0 4.8 %, 0.4 to 0.6 3.6, 1 7.6.) Where no edges are left, Ward's criterion
    decides (1963): the least increase of scatter.

    The smallest cluster is merged first if it is undersized (`min_cluster_size`): it may have few edges to others by chance.
    If it is undersized only because the data are small, the two merges compete by Ward's criterion.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
    labels : ndarray of shape (n,)
        Clusters from 0 on; -1 belongs to none.
    n_clusters : int
    points : ndarray of shape (n, d)
        The nodes' coordinates.
    """
    inside = np.flatnonzero(labels >= 0)
    clusters, codes, sizes = np.unique(labels[inside], return_inverse=True, return_counts=True)
    member = sp.csr_array((np.ones(len(inside)), (inside, codes)), shape=(len(labels), len(clusters)))
    weights, group, min_size = (
        (member.T @ graph @ member).toarray(),
        np.arange(len(clusters)),
        min_cluster_size(graph, n_clusters),
    )
    sums = member.T @ points
    while len(sizes) > n_clusters:
        affinity = weights / (np.minimum.outer(sizes, sizes) * np.sqrt(np.maximum.outer(sizes, sizes)))
        np.fill_diagonal(affinity, 0.0)
        smallest, pairs = sizes.argmin(), []
        if sizes[smallest] < min_size:
            pairs.append(best_merge(affinity, sizes, sums, np.array([smallest])))
        if sizes[smallest] >= undersized_below(graph, n_clusters):
            pairs.append(best_merge(affinity, sizes, sums, np.arange(len(sizes))))
        i, j = min(pairs, key=lambda pair: ward_increase(sizes[pair], sums[pair])[0, 1])
        for values in (weights, weights.T, sizes, sums):
            values[i] += values[j]
        weights, sizes, sums = np.delete(np.delete(weights, j, 0), j, 1), np.delete(sizes, j), np.delete(sums, j, 0)
        group = np.where(group == j, i, group - (group > j))
    merged = np.full(len(labels), -1)
    merged[inside] = group[codes]
    return merged


def best_merge(affinity: np.ndarray, sizes: np.ndarray, sums: np.ndarray, candidates: np.ndarray) -> list[int]:
    """Return the two clusters to merge, one of them a candidate: of largest affinity (k, k), or by Ward if none has edges."""
    values = affinity[candidates]
    if not values.any():
        values = -ward_increase(sizes, sums)[candidates]
        values[np.arange(len(candidates)), candidates] = -np.inf
    row, column = np.unravel_index(values.argmax(), values.shape)
    return sorted((int(candidates[row]), int(column)))


def ward_increase(sizes: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return by how much the scatter grows where two clusters are merged (k, k); `sums` of their points (k, d)."""
    means = sums / sizes[:, None]
    return np.asarray(np.outer(sizes, sizes) / np.add.outer(sizes, sizes) * cdist(means, means, "sqeuclidean"))


def min_cluster_size(graph: sp.csr_array, n_clusters: int) -> float:
    """Return the number of nodes below which a cluster is undersized.

    A tenth of an even share; and, up to half a share, twice the edges of a node: a node with a dozen neighbors can be in a
    component of its own by chance where that is not many times as large.
    """
    n = graph.shape[0]
    return float(max(undersized_below(graph, n_clusters), min(2 * graph.nnz / n, 0.5 * n / n_clusters)))
