"""The partition of images into K parts that fits both their features and their graphs.

Links tell little where styles of a class lie apart, and distances little where classes differ in size. Together they tell what
a good partition is: one under little strain (`Parts`). It is looked for from the even parts of each graph on: nodes are moved
to where the strain falls, and a part is split while two others are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.cluster.vq import vq

from skganem.core.graph.spectral import (
    centrality,
    diffusion_map,
    kmeans,
    leading_eigenpairs,
    n_dimensions,
    spectral_parts,
)

#: Weight of the share of links that is cut, beside the logarithm of the scatter.
CUT = 90
#: Least number of principal components whose scatter is judged.
LEAST_COMPONENTS = 5
#: Part of an even share of the nodes that a part has at least which the search makes.
LEAST_SHARE = 0.05
#: Sweeps in which nodes are moved, at most; parts that are split, those first that promise most, until one helps; and by how
#: much the strain has to fall.
SWEEPS, SPLITS, LEAST_GAIN = 15, 10, 1e-6


@dataclass(frozen=True)
class Parts:
    r"""A partition of n nodes into k parts, none of them empty, and what its strain depends on.

    The strain is :math:`\log\det S + b\,c`, with S the covariance within the parts (Friedman and Rubin 1967), c the mean share
    of the graphs' links that are cut and b `CUT`. Styles of a class lie apart in ways in which other classes vary, too, and so
    in which the covariance is large; classes do not. And where classes differ in size, the links tell a class from half of a
    larger one.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        From 0 to k - 1.
    sizes : ndarray of shape (k,)
    means : ndarray of shape (k, m)
    scatter : ndarray of shape (m, m)
        S.
    ties : ndarray of shape (n, k)
        The share of all links that leads from a node to a part.
    strain : float
    """

    labels: np.ndarray
    sizes: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    ties: np.ndarray
    strain: float


class Fit:
    """How well partitions of the same nodes fit points and graphs, and what would fit better.

    Parameters
    ----------
    graphs : sequence of sparse arrays of shape (n, n)
    points : ndarray of shape (n, d)
    n_clusters : int
        K. The K - 1 leading principal components of the points are judged, as many as the centres of K parts span, or a few
        more where K is small.
    """

    def __init__(self, graphs: Sequence[sp.csr_array], points: np.ndarray, n_clusters: int) -> None:
        self.points = principal_components(points, max(n_clusters - 1, LEAST_COMPONENTS))
        self._links = sp.csr_array(sum(graph / graph.sum() for graph in graphs) / len(graphs))
        self._floor = 1e-6 * max(float(self.points.var(axis=0).mean()), 1e-12) * np.eye(self.points.shape[1])

    def parts(self, labels: np.ndarray) -> Parts:
        """Return the partition with these labels (n,); numbers that none has are left out."""
        _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        member = np.zeros((len(labels), len(sizes)))
        member[np.arange(len(labels)), labels] = 1
        means = member.T @ self.points / sizes[:, None]
        apart = self.points - means[labels]
        scatter = apart.T @ apart / len(labels) + self._floor
        ties = self._links @ member
        share_cut = 1 - float((ties * member).sum())
        return Parts(labels, sizes, means, scatter, ties, float(np.linalg.slogdet(scatter)[1]) + CUT * share_cut)

    def settled(self, parts: Parts) -> Parts:
        """Move each node to the part where the strain is least, all at once, as long as it falls.

        That is where :math:`d^2 - 2 b n l` is least, with d the distance from the part's mean in units of S and l the share of
        all links that leads from the node to it (iterated conditional modes, Besag 1986).
        """
        for _ in range(SWEEPS):
            to_units = whitening(parts)
            points, means = self.points @ to_units, parts.means @ to_units
            squared = np.square(means).sum(axis=1) - 2 * points @ means.T  # but for what is the same for all parts
            moved = self.parts((squared - 2 * CUT * len(points) * parts.ties).argmin(axis=1))
            if len(moved.sizes) < len(parts.sizes) or moved.strain >= parts.strain:
                break
            parts = moved
        return parts

    def split(self, parts: Parts, part: int, seed: int) -> Parts:
        """Return the partition in which k-means has halved a part; the same one if it can't."""
        inside = np.flatnonzero(parts.labels == part)
        labels = parts.labels.copy()
        halves = kmeans(self.points[inside] @ whitening(parts), 2, seed, n_init=3)[0]
        labels[inside[halves == 1]] = len(parts.sizes)
        return self.parts(labels)

    def merged(self, parts: Parts) -> Parts:
        """Return the partition in which those two parts are one for which the strain is least."""
        means = parts.means @ whitening(parts)
        squared = np.square(means[:, None] - means).sum(axis=2)
        sizes = parts.sizes / len(parts.labels)
        between = np.stack([parts.ties[parts.labels == part].sum(axis=0) for part in range(len(sizes))])
        change = np.log1p(squared / (1 / sizes[:, None] + 1 / sizes)) - 2 * CUT * between
        change[np.tril_indices(len(sizes))] = np.inf
        one, other = np.unravel_index(change.argmin(), change.shape)
        return self.parts(np.where(parts.labels == other, one, parts.labels))

    def searched(self, parts: Parts, least: float, seed: int) -> Parts:
        """Split a part and merge two, and move nodes after each, as long as the strain falls.

        So do Ueda et al. (2000) with the components of a mixture. A part that is made so has at least `least` nodes.
        """
        n_parts = len(parts.sizes)
        while True:
            halved = [half for half in (self.split(parts, i, seed) for i in range(n_parts)) if len(half.sizes) > n_parts]
            for half in sorted(halved, key=lambda half: half.strain)[:SPLITS]:
                found = self.settled(self.merged(self.settled(half)))
                if found.strain < parts.strain - LEAST_GAIN and found.sizes.min() >= least:
                    parts = found
                    break
            else:
                return parts


def partition(graphs: Sequence[sp.csr_array], n_clusters: int, seed: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a partition of nodes under little strain, looked for from the even parts of each graph on.

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
    centrality : ndarray of shape (n,)
        As `core.graph.partition` has it.
    """
    fit = Fit(graphs, points, n_clusters)
    maps = [diffusion_map(graph, n_dimensions(graph, n_clusters), seed) for graph in graphs]
    even = [everywhere(spectral_parts(embedding, n_clusters, seed, n_init=20), fit.points) for embedding in maps]
    starts = [fit.settled(fit.parts(labels)) for labels in even]
    embedding, start = min(zip(maps, starts, strict=True), key=lambda pair: pair[1].strain)
    labels = fit.searched(start, LEAST_SHARE * len(points) / n_clusters, seed).labels
    return labels, centrality(embedding, labels)


def whitening(parts: Parts) -> np.ndarray:
    """Return the matrix (m, m) that takes points (n, m) to coordinates in which S is the identity."""
    return np.linalg.cholesky(np.linalg.inv(parts.scatter))


def everywhere(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Give nodes that are in no part (n,), -1, to the one whose mean is nearest among the points (n, m)."""
    parts = np.unique(labels[labels >= 0])
    means = np.stack([points[labels == part].mean(axis=0) for part in parts])
    return np.where(labels < 0, parts[vq(points, means)[0]], labels)


def principal_components(points: np.ndarray, n_components: int) -> np.ndarray:
    """Return at most so many coordinates (n, m) of points (n, d): along the directions in which they vary most, those first."""
    centred = points - points.mean(axis=0)
    _, directions = leading_eigenpairs(sp.csr_array(centred.T @ centred), min(n_components, points.shape[1]), seed=0)
    return np.asarray(centred @ directions[:, ::-1])
