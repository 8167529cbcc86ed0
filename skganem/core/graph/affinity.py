"""Affinities between neighbors: Jaccard indices, and their reweighting by embeddings of the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

#: Pieces in which the edges' weights are computed, one after another, to save memory.
N_PIECES = 64
#: Embeddings whose closeness is averaged: one has gaps of its own (groups apart: 6.2 instead of 4.4), eight take twice as
#: long. And their dimensions: two crowd groups (29.3 instead of 24.3). "Tabular samples" in docs/defaults.rst.
N_EMBEDDINGS, N_DIMENSIONS = 4, 10
#: Random pairs a node and step that are pushed apart (negative samples), as in UMAP; the edges of a node together weigh 1.
N_NEGATIVE_SAMPLES = 5
#: Steps, learning rate and decay rates of Adam. 200 steps leave groups mixed (12.8 instead of 9.1), 600 change nothing. The
#: second decay is 0.99 since there are few steps; not tuned.
N_STEPS, LEARNING_RATE, BETAS = 300, 0.5, (0.9, 0.99)
#: Added to squared distances between negative samples: the gradient of UMAP's loss has a pole at 0.
REPULSION_EPS = 1e-3


def jaccard_affinity(neighbors: np.ndarray) -> sp.csr_array:
    """Make the symmetric affinity matrix (n, n) of a graph given by neighbors (n, k).

    Two nodes have an edge if one is a neighbor of the other; a node that is its own neighbor gets no edge by that. An edge's
    weight is the Jaccard index of the neighborhoods, each with its own node (shared nearest neighbors, Jarvis and Patrick
    1973). Nodes inside a group share most neighbors, those on either side of a gap few.
    """
    n, k = neighbors.shape
    one_sided = sp.csr_array((np.ones(n * k), neighbors.ravel(), k * np.arange(n + 1)), shape=(n, n))
    rows, columns = (one_sided + one_sided.T).nonzero()
    rows, columns = rows[rows != columns], columns[rows != columns]
    within = sp.csr_array(one_sided + sp.eye_array(n))
    pieces = zip(np.array_split(rows, N_PIECES), np.array_split(columns, N_PIECES), strict=True)  # all at once take much memory
    shared = np.concatenate([within[one].multiply(within[other]).sum(axis=1) for one, other in pieces])
    return sp.csr_array((shared / (2 * (k + 1) - shared), (rows, columns)), shape=(n, n))


def neighbor_embeddings(graph: sp.csr_array, seed: int) -> list[np.ndarray]:
    """Return a few embeddings (n, m) of the nodes by `neighbor_embedding`, which differ by chance."""
    states = np.random.SeedSequence(seed).spawn(N_EMBEDDINGS)
    return [neighbor_embedding(graph, N_DIMENSIONS, np.random.default_rng(state)) for state in states]


def reweight_affinity(graph: sp.csr_array, embeddings: Sequence[np.ndarray]) -> sp.csr_array:
    r"""Multiply the weight of each edge by its mean closeness q in a few embeddings of the nodes.

    All edges of a node's group pull at it together, which stretches those that lead out of the group. Embeddings also split
    uniformly filled regions, but each at another place, so that these splits average out. No edge is added: connected
    components stay apart.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
        Symmetric.
    embeddings : sequence of ndarray of shape (n, m)

    Returns
    -------
    sparse array of shape (n, n)
    """
    edges = sp.coo_array(graph)
    rows, columns = edges.coords
    closeness = np.zeros(len(rows))
    for y in embeddings:
        closeness += 1.0 / (1.0 + squared_norms(y[rows] - y[columns]))
    return sp.csr_array((edges.data * closeness / len(embeddings), (rows, columns)), shape=graph.shape)


def neighbor_embedding(graph: sp.csr_array, n_dimensions: int, rng: np.random.Generator) -> np.ndarray:
    r"""Embed the nodes of a graph such that edges are short and all other distances long.

    Minimizes, over the places y of the nodes, the loss of UMAP (McInnes, Healy and Melville 2018, Section 3.2),

    .. math::

        -\sum_{ij} a_{ij} \log q_{ij} - \sum_{ij} \log(1 - q_{ij}), \quad q_{ij} = \frac{1}{1 + |y_i - y_j|^2},

    with a scaled to 1 a node on average, and the second sum over `N_NEGATIVE_SAMPLES` random pairs a node, anew in each step.
    All nodes move at once, by Adam with a rate that falls along a cosine. So the result depends on the first places and
    the pairs alone.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
        Symmetric; weights a of the edges.
    n_dimensions : int
    rng : numpy.random.Generator
        Draws the first places, and the pairs.

    Returns
    -------
    ndarray of shape (n, n_dimensions), float32
    """
    n = graph.shape[0]
    edges = sp.csr_array(graph, dtype=np.float32) * np.float32(n / max(graph.sum(), 1e-12))
    rows, columns = sp.coo_array(edges).coords
    y = rng.standard_normal((n, n_dimensions), dtype=np.float32)
    mean, square = np.zeros_like(y), np.zeros_like(y)
    for step in range(1, N_STEPS + 1):
        pull = sp.csr_array((edges.data / (1 + squared_norms(y[rows] - y[columns])), edges.indices, edges.indptr), shape=(n, n))
        gradient = y * pull.sum(axis=1)[:, None] - pull @ y
        for other in rng.integers(n, size=(N_NEGATIVE_SAMPLES, n)):
            away = y - y[other]
            distance = squared_norms(away)
            gradient -= away / ((distance + REPULSION_EPS) * (1 + distance))[:, None]
        mean += (1 - BETAS[0]) * (gradient - mean)
        square += (1 - BETAS[1]) * (gradient**2 - square)
        scale = np.sqrt(square / (1 - BETAS[1] ** step)) + 1e-8
        y -= LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * step / N_STEPS)) / (1 - BETAS[0] ** step) * mean / scale
    return y


def squared_norms(differences: np.ndarray) -> np.ndarray:
    """Return the squared lengths (n,) of the rows of an array (n, d)."""
    return np.asarray(np.einsum("ij,ij->i", differences, differences))
