"""Spectral methods on neighbor graphs: diffusion maps, and the clusters that k-means finds in them."""

from __future__ import annotations

import inspect

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from torch import Tensor

from skganem.core.data.dataset import row_hashes
from skganem.core.graph.affinity import jaccard_affinity
from skganem.core.graph.kmeans import kmeans
from skganem.core.graph.knn import k_nearest
from skganem.core.runtime.device import full_precision

#: Whether ARPACK can be told what to draw from where a matrix has few distinct eigenvalues (SciPy 1.17 and newer).
EIGSH_TAKES_RNG = "rng" in inspect.signature(eigsh).parameters
#: Steps t of the diffusion: the power of the eigenvalues. Few keep spurious directions, many leave one per cluster.
#: "Partition into K clusters" in docs/defaults.rst.
DIFFUSION_TIME = 24
#: Eigenvectors for each cluster. With K alone, an undersized cluster takes one for itself, and two large ones
#: merge (17.6 instead of 3.9).
VECTORS_PER_CLUSTER = 2
#: The part of an even share of the nodes below which a cluster is undersized, in data of any size: less keeps
#: fragments, more dissolves rare classes. Not tuned.
MIN_CLUSTER_FRACTION = 0.1
#: Neighbors and eigenvectors of the diffusion map for scores. It tells no more groups apart than it has eigenvectors (with
#: 32, 36 to 38 of 40 were found).
N_SCORE_NEIGHBORS, N_SCORE_VECTORS = 10, 128
#: Up to so many nodes, all eigenvectors are computed: it takes less time than ARPACK, and always converges.
MAX_DENSE_NODES = 1000


def diffusion_map(graph: sp.csr_array, n_vectors: int, seed: int) -> np.ndarray:
    """Embed the nodes by the leading eigenvectors of D^-1/2 A D^-1/2, each times its eigenvalue to the power `DIFFUSION_TIME`.

    Rows are scaled to length 1, as Ng, Jordan and Weiss (2002) do for spectral clustering; the weights are those of a
    diffusion of that many steps (Coifman and Lafon 2006). With more vectors than clusters, k-means finds the K largest
    clusters of the graph.

    Each connected component is solved by itself: together, their equal eigenvalues would mix their eigenvectors. A row of a
    component that has none of the leading eigenvectors is 0.
    """
    scale = sp.diags_array(1.0 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-12)))
    normalized = sp.csr_array(scale @ graph @ scale)
    n_components, component = connected_components(normalized, directed=False)
    pairs = []
    for i in range(n_components):
        members = np.flatnonzero(component == i)
        values, vectors = leading_eigenpairs(normalized[members][:, members], min(n_vectors, len(members)), seed)
        # Among equal eigenvalues, the larger component comes first.
        pairs += [(round(value, 9), len(members), members, vector) for value, vector in zip(values, vectors.T, strict=True)]
    pairs.sort(key=lambda pair: pair[:2], reverse=True)
    embedding = np.zeros((graph.shape[0], n_vectors))
    for column, (value, _, members, vector) in enumerate(pairs[:n_vectors]):
        embedding[members, column] = vector * max(value, 0.0) ** DIFFUSION_TIME
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return np.asarray(embedding / np.maximum(lengths, 1e-12))


@full_precision()
def diffusion_embedding(points: Tensor) -> np.ndarray:
    """Return the diffusion map (n, m) of points (n, d), in which clusters of their neighbor graph are far apart.

    Equal points are one node: with more copies than neighbors, each would have edges to nothing else.
    """
    _, first, which = np.unique(row_hashes(points.numpy()), return_index=True, return_inverse=True)
    if len(first) == 1:
        return np.zeros((len(points), 1))
    graph = jaccard_affinity(k_nearest(points[torch.from_numpy(first)], N_SCORE_NEIGHBORS).numpy())
    return diffusion_map(graph, min(N_SCORE_VECTORS, max(1, len(first) // 2)), seed=0)[which]


def leading_eigenpairs(matrix: sp.csr_array, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues (k,) of a symmetric matrix (n, n) and their eigenvectors (n, k)."""
    n = matrix.shape[0]
    if n <= max(MAX_DENSE_NODES, 4 * k) or not matrix.count_nonzero():
        values, vectors = scipy.linalg.eigh(matrix.toarray(), subset_by_index=(n - k, n - 1))
        return values, vectors
    start = np.random.default_rng(seed).uniform(0.5, 1.5, n)
    try:
        rng = {"rng": seed} if EIGSH_TAKES_RNG else {}
        values, vectors = eigsh(matrix, k=k, which="LA", v0=start, tol=1e-7, ncv=max(4 * k, 60), **rng)
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    return values, vectors


def spectral_clustering(embedding: np.ndarray, n_clusters: int, seed: int, n_init: int) -> np.ndarray:
    """Return the labels (n,) by k-means on a diffusion map (n, m); -1 where a row of it is 0."""
    placed = embedding.any(axis=1)
    labels = np.full(len(embedding), -1)
    labels[placed] = kmeans(embedding[placed], min(n_clusters, int(placed.sum())), seed, n_init)[0]
    return labels


def n_map_dimensions(graph: sp.csr_array, n_clusters: int) -> int:
    """Return the dimensions of the diffusion map: two for each cluster, or one for each connected component if these are more.

    Undersized components do not count.
    """
    sizes = np.bincount(connected_components(graph, directed=False)[1])
    n_components = np.count_nonzero(sizes >= undersized_below(graph, n_clusters))
    return int(min(max(VECTORS_PER_CLUSTER * n_clusters, n_components), sizes.sum()))


def undersized_below(graph: sp.csr_array, n_clusters: int) -> float:
    """Return the number of nodes below which a cluster is undersized in data of any size."""
    return float(MIN_CLUSTER_FRACTION * graph.shape[0] / n_clusters)


def within_cluster_rank(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rank nodes (n,) by their distance in a diffusion map (n, m) from the median of their cluster: 1 for the nearest one."""
    ranked = np.zeros(len(labels))
    for cluster in (np.flatnonzero(labels == i) for i in np.unique(labels[labels >= 0])):
        distance = np.linalg.norm(embedding[cluster] - np.median(embedding[cluster], axis=0), axis=1)
        ranked[cluster[np.argsort(distance, kind="stable")]] = 1 - np.arange(len(cluster)) / len(cluster)
    return ranked
