"""Nearest-neighbour graphs and their partition into K parts."""

from __future__ import annotations

import inspect

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from scipy.cluster.vq import ClusterError, kmeans2, vq
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from scipy.spatial.distance import cdist
from torch import Tensor

from skganem.core.data.dataset import keys_of
from skganem.core.runtime.device import full_precision

BLOCK = 1024
#: Whether ARPACK can be told what to draw from where a matrix has few distinct eigenvalues (SciPy 1.17 and newer).
SEEDED = "rng" in inspect.signature(eigsh).parameters
TIME = 24
#: Parts that k-means makes of a graph, for each cluster, which are joined.
SEGMENTS = 3
#: The part of an even share of the nodes below which a part is a fragment, in data of any size.
FRAGMENT = 0.1
#: Neighbours and eigenvectors in the map of `spread_out`, which tells no more groups apart than it has eigenvectors.
N_SCORE_NEIGHBORS, N_SCORE_VECTORS = 10, 128


def nearest(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest `points` (m, d) of each of `queries` (n, d) by Euclidean distance.

    Returns
    -------
    distances, indices : Tensor of shape (n, k)
        Nearest first.
    """
    squares = points.square().sum(1)
    found = []
    for block in queries.split(BLOCK):
        distances = torch.addmm(squares, block, points.T, beta=1.0, alpha=-2.0).add_(block.square().sum(1, keepdim=True))
        found.append(distances.topk(k, dim=1, largest=False))
    return torch.cat([f.values for f in found]).clamp_(min=0).sqrt_(), torch.cat([f.indices for f in found])


def neighbours(points: Tensor, k: int) -> Tensor:
    """Return the k nearest other points of each of `points` (n, d): indices (n, k); fewer where n <= k."""
    k = min(k, len(points) - 1)
    _, found = nearest(points, points, k + 1)
    # A point is its own nearest neighbour, but not always the first one where rows are repeated.
    own = found == torch.arange(len(points), device=found.device)[:, None]
    own[:, -1] |= ~own.any(dim=1)
    return found[~own].view(len(points), k)


def affinity(found: np.ndarray) -> sp.csr_array:
    """Make the symmetric affinity matrix (n, n) of a graph given by neighbours (n, k).

    Two nodes are linked if one is a neighbour of the other; one that is its own neighbour has no link by that. A link's weight
    is the Jaccard index of the neighbourhoods, each with its own node: those inside a group share most neighbours, those on
    either side of a gap few.
    """
    n, k = found.shape
    one_sided = sp.csr_array((np.ones(n * k), found.ravel(), k * np.arange(n + 1)), shape=(n, n))
    rows, columns = (one_sided + one_sided.T).nonzero()
    rows, columns = rows[rows != columns], columns[rows != columns]
    within = sp.csr_array(one_sided + sp.eye_array(n))
    pieces = zip(np.array_split(rows, 64), np.array_split(columns, 64), strict=True)  # all at once take much memory
    shared = np.concatenate([within[one].multiply(within[other]).sum(axis=1) for one, other in pieces])
    return sp.csr_array((shared / (2 * (k + 1) - shared), (rows, columns)), shape=(n, n))


def diffusion_map(graph: sp.csr_array, n_vectors: int, seed: int) -> np.ndarray:
    """Embed the nodes by the leading eigenvectors of D^-1/2 A D^-1/2, weighted by the power `TIME` of their eigenvalues.

    Rows are scaled to length 1, as Ng, Jordan and Weiss (2002) do for spectral clustering; the weights are those of a
    diffusion of that many steps (Coifman and Lafon 2006). With more vectors than clusters, k-means finds the K largest parts
    of the graph; with K vectors alone, a fragment of a few nodes takes one of them for itself, and two large parts merge.

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
        embedding[members, column] = vector * max(value, 0.0) ** TIME
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return np.asarray(embedding / np.maximum(lengths, 1e-12))


@full_precision()
def spread_out(points: Tensor) -> np.ndarray:
    """Return the diffusion map of points (n, d), in which parts of their neighbour graph are far apart: (n, m).

    Equal points are one node: with more copies than neighbours, each would be linked to nothing else.
    """
    _, first, which = np.unique(keys_of(points.numpy()), return_index=True, return_inverse=True)
    if len(first) == 1:
        return np.zeros((len(points), 1))
    graph = affinity(neighbours(points[torch.from_numpy(first)], N_SCORE_NEIGHBORS).numpy())
    return diffusion_map(graph, min(N_SCORE_VECTORS, max(1, len(first) // 2)), seed=0)[which]


def leading_eigenpairs(matrix: sp.csr_array, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues (k,) of a symmetric matrix (n, n) and their eigenvectors (n, k)."""
    n = matrix.shape[0]
    if n <= max(1000, 4 * k) or not matrix.count_nonzero():
        values, vectors = scipy.linalg.eigh(matrix.toarray(), subset_by_index=(n - k, n - 1))
        return values, vectors
    start = np.random.default_rng(seed).uniform(0.5, 1.5, n)
    try:
        drawn = {"rng": seed} if SEEDED else {}
        values, vectors = eigsh(matrix, k=k, which="LA", v0=start, tol=1e-7, ncv=max(4 * k, 60), **drawn)
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    return values, vectors


def partition(graph: sp.csr_array, n_clusters: int, seed: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a neighbour graph into parts by spectral clustering.

    k-means in the diffusion map makes parts of even size, which is wrong where clusters differ in size. So it is asked for
    more parts than wanted, which are joined where the graph is thickest.

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
        From 0 to n_clusters - 1, or -1 for small fragments.
    centrality : ndarray of shape (n,)
        1 for the node that is nearest to the median of its part, falling evenly with the rank to almost 0 for the one that
        is farthest from it.
    """
    if len(points) < 2 * n_clusters:  # too few for links
        labels = kmeans(points, n_clusters, seed)[0]
        return labels, centrality(points, labels)
    embedding = diffusion_map(graph, n_dimensions(graph, n_clusters), seed)
    # No fewer than there are islands.
    segments = spectral_parts(embedding, max(SEGMENTS * n_clusters, embedding.shape[1]), seed, n_init=5)
    labels = joined(graph, segments, n_clusters, points)
    return labels, centrality(embedding, labels)


def centrality(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rank nodes (n,) by their distance in a diffusion map (n, m) from the median of their part: 1 for the nearest one."""
    ranked = np.zeros(len(labels))
    for part in (np.flatnonzero(labels == i) for i in np.unique(labels[labels >= 0])):
        distance = np.linalg.norm(embedding[part] - np.median(embedding[part], axis=0), axis=1)
        ranked[part[np.argsort(distance, kind="stable")]] = 1 - np.arange(len(part)) / len(part)
    return ranked


def spectral_parts(embedding: np.ndarray, n_parts: int, seed: int, n_init: int) -> np.ndarray:
    """Return the parts (n,) that k-means makes of a diffusion map (n, m); -1 where a row of it is 0."""
    placed = embedding.any(axis=1)
    labels = np.full(len(embedding), -1)
    labels[placed] = kmeans(embedding[placed], min(n_parts, int(placed.sum())), seed, n_init)[0]
    return labels


def n_dimensions(graph: sp.csr_array, n_clusters: int) -> int:
    """Return the dimensions of the diffusion map to cut: two for each cluster, or one for each island if these are more.

    Islands that are fragments in any data do not count (`smallest`).
    """
    sizes = np.bincount(connected_components(graph, directed=False)[1])
    n_islands = np.count_nonzero(sizes >= least_share(graph, n_clusters))
    return int(min(max(2 * n_clusters, n_islands), sizes.sum()))


def joined(graph: sp.csr_array, labels: np.ndarray, n_clusters: int, points: np.ndarray) -> np.ndarray:
    """Join the parts of a graph, two at a time, until `n_clusters` are left.

    The two are those with the largest affinity W / (n sqrt(n')), where n <= n' are their sizes. With n' to the power 0, a
    large part would take in everything around it where groups overlap; with the power 1 (average linkage), what is left would
    tend to be of even size. Where no links are left, the two are joined whose points are then scattered least (Ward 1963).

    The least part is joined first if it is a fragment: thin as its cut may be, it is not one of the clusters (`smallest`).
    Unless it is one in small data alone, and its points are then scattered more than those of the two that are closest.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
    labels : ndarray of shape (n,)
        Parts from 0 on; -1 belongs to none.
    n_clusters : int
    points : ndarray of shape (n, d)
        The nodes' coordinates.
    """
    inside = np.flatnonzero(labels >= 0)
    parts, codes, sizes = np.unique(labels[inside], return_inverse=True, return_counts=True)
    member = sp.csr_array((np.ones(len(inside)), (inside, codes)), shape=(len(labels), len(parts)))
    between, group, fragment = (member.T @ graph @ member).toarray(), np.arange(len(parts)), smallest(graph, n_clusters)
    sums = member.T @ points
    while len(sizes) > n_clusters:
        closeness = between / (np.minimum.outer(sizes, sizes) * np.sqrt(np.maximum.outer(sizes, sizes)))
        np.fill_diagonal(closeness, 0.0)
        least, pairs = sizes.argmin(), []
        if sizes[least] < fragment:
            pairs.append(closest(closeness, sizes, sums, np.array([least])))
        if sizes[least] >= least_share(graph, n_clusters):
            pairs.append(closest(closeness, sizes, sums, np.arange(len(sizes))))
        i, j = min(pairs, key=lambda pair: scatter(sizes[pair], sums[pair])[0, 1])
        for values in (between, between.T, sizes, sums):
            values[i] += values[j]
        between, sizes, sums = np.delete(np.delete(between, j, 0), j, 1), np.delete(sizes, j), np.delete(sums, j, 0)
        group = np.where(group == j, i, group - (group > j))
    found = np.full(len(labels), -1)
    found[inside] = group[codes]
    return found


def closest(closeness: np.ndarray, sizes: np.ndarray, sums: np.ndarray, asked: np.ndarray) -> list[int]:
    """Return which two of k parts are closest (k, k), or if none are linked scattered least as one; one of those `asked`."""
    values = closeness[asked]
    if not values.any():
        values = -scatter(sizes, sums)[asked]
        values[np.arange(len(asked)), asked] = -np.inf
    row, column = np.unravel_index(values.argmax(), values.shape)
    return sorted((int(asked[row]), int(column)))


def scatter(sizes: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return by how much squared distances from parts' means grow where two are one (k, k); `sums` of their points (k, d)."""
    means = sums / sizes[:, None]
    return np.asarray(np.outer(sizes, sizes) / np.add.outer(sizes, sizes) * cdist(means, means, "sqeuclidean"))


def smallest(graph: sp.csr_array, n_clusters: int) -> float:
    """Return how many nodes a part must have to be no fragment.

    A tenth of an even share; and, up to half of it, twice the links of a node: nodes that are linked to a dozen others each can
    be an island by chance if they are not many more.
    """
    n = graph.shape[0]
    return float(max(least_share(graph, n_clusters), min(2 * graph.nnz / n, 0.5 * n / n_clusters)))


def least_share(graph: sp.csr_array, n_clusters: int) -> float:
    """Return below how many nodes a part is a fragment in data of any size."""
    return float(FRAGMENT * graph.shape[0] / n_clusters)


def kmeans(points: np.ndarray, n_clusters: int, seed: int, n_init: int = 10) -> list[np.ndarray]:
    """Return the labels (n,) by runs of k-means from k-means++, the best first; a run with an empty cluster is none."""
    _, first, which = np.unique(keys_of(points), return_index=True, return_inverse=True)
    if len(first) <= n_clusters:
        return [which]
    rng, found = np.random.default_rng(seed), []
    for _ in range(n_init):
        try:
            centres, labels = settled(points, first_centres(points, n_clusters, rng))
        except ClusterError:
            continue
        found.append((float(np.square(points - centres[labels]).sum()), labels.astype(np.int64)))
    if not found:  # few points differ by more than rounding
        return [vq(points, first_centres(points, n_clusters, rng))[0].astype(np.int64)]
    return [labels for _, labels in sorted(found, key=lambda run: run[0])]


def settled(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the centres (k, d) of k-means until the labels (n,) stand still, a few iterations at a time, 100 at most."""
    labels = np.empty(0)
    for _ in range(25):
        before = labels
        centres, labels = kmeans2(points, centres, minit="matrix", iter=4, missing="raise")
        if np.array_equal(labels, before):
            break
    return centres, labels


def first_centres(points: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Draw first centres (k, d) for k-means from points (n, d) by k-means++ (Arthur and Vassilvitskii 2007).

    The time is that of one distance for each point and centre; SciPy, whose draws these are, measures k / 2 times as many.
    """
    chosen, nearest = [int(rng.integers(len(points)))], np.full(len(points), np.inf)
    while len(chosen) < n_clusters:
        nearest = np.minimum(nearest, cdist(points[chosen[-1:]], points, "sqeuclidean")[0])
        drawn = np.searchsorted((nearest / nearest.sum()).cumsum(), rng.uniform())
        chosen.append(min(int(drawn), len(points) - 1))  # a rounded sum may end below 1
    return points[chosen]
