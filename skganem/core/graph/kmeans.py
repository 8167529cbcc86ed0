"""k-means with a defined order of runs, reproducible in threads, and without a warning where clusters are empty."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2, vq
from scipy.spatial.distance import cdist

from skganem.core.data.dataset import row_hashes

#: Iterations of k-means at most, and after how many the labels are compared: SciPy's function does not compare them.
MAX_ITER, CHECK_EVERY = 100, 4


def kmeans(points: np.ndarray, n_clusters: int, seed: int, n_init: int = 10) -> list[np.ndarray]:
    """Return the labels (n,) by runs of k-means from k-means++, the best first; runs with an empty cluster are left out."""
    _, first, which = np.unique(row_hashes(points), return_index=True, return_inverse=True)
    if len(first) <= n_clusters:
        return [which]
    rng, found = np.random.default_rng(seed), []
    for _ in range(n_init):
        try:
            centers, labels = lloyd(points, kmeans_plusplus(points, n_clusters, rng))
        except ClusterError:
            continue
        found.append((float(np.square(points - centers[labels]).sum()), labels.astype(np.int64)))
    if not found:  # few points differ by more than rounding
        return [vq(points, kmeans_plusplus(points, n_clusters, rng))[0].astype(np.int64)]
    return [labels for _, labels in sorted(found, key=lambda run: run[0])]


def lloyd(points: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm from centers (k, d) until the labels (n,) no longer change."""
    labels = np.empty(0)
    for _ in range(MAX_ITER // CHECK_EVERY):
        before = labels
        centers, labels = kmeans2(points, centers, minit="matrix", iter=CHECK_EVERY, missing="raise")
        if np.array_equal(labels, before):
            break
    return centers, labels


def kmeans_plusplus(points: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Draw initial centers (k, d) for k-means from points (n, d) by k-means++ (Arthur and Vassilvitskii 2007).

    The time is that of one distance for each point and center; SciPy, whose draws these are, measures k / 2 times as many.
    """
    chosen, nearest = [int(rng.integers(len(points)))], np.full(len(points), np.inf)
    while len(chosen) < n_clusters:
        nearest = np.minimum(nearest, cdist(points[chosen[-1:]], points, "sqeuclidean")[0])
        drawn = np.searchsorted((nearest / nearest.sum()).cumsum(), rng.uniform())
        chosen.append(min(int(drawn), len(points) - 1))  # a rounded sum may end below 1
    return points[chosen]
