"""Weighing a neighbour graph's links by embeddings of it, to tell those inside a group from those between groups."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

N_EMBEDDINGS, N_DIMENSIONS = 4, 10
#: Pairs of nodes drawn for each node and step, to push apart; the links of a node together weigh 1 on average.
N_REPELLED = 5
N_STEPS, RATE, BETAS = 300, 0.5, (0.9, 0.99)


def weighed_by_embeddings(graph: sp.csr_array, seed: int) -> sp.csr_array:
    r"""Multiply the weight of each link by its mean closeness q in a few embeddings (`neighbour_embedding`).

    A node is pulled by all links of its group at once, which stretches those that lead out of the group. Embeddings tear
    evenly filled regions, too, but each elsewhere, so that these tears vanish in the mean. No link is added: parts of the
    graph that have none between them stay apart.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
        Symmetric.
    seed : int
        Of the embeddings.

    Returns
    -------
    sparse array of shape (n, n)
    """
    links = sp.coo_array(graph)
    rows, columns = links.coords
    closeness = np.zeros(len(rows))
    for states in np.random.SeedSequence(seed).spawn(N_EMBEDDINGS):
        y = neighbour_embedding(graph, N_DIMENSIONS, np.random.default_rng(states))
        closeness += 1.0 / (1.0 + squares(y[rows] - y[columns]))
    return sp.csr_array((links.data * closeness / N_EMBEDDINGS, (rows, columns)), shape=graph.shape)


def neighbour_embedding(graph: sp.csr_array, n_dimensions: int, rng: np.random.Generator) -> np.ndarray:
    r"""Place the nodes of a graph such that links are short and all other distances long.

    Minimises, over the places y of the nodes, the loss of UMAP (McInnes, Healy and Melville 2018, Section 3.2),

    .. math::

        -\sum_{ij} a_{ij} \log q_{ij} - \sum_{ij} \log(1 - q_{ij}), \quad q_{ij} = \frac{1}{1 + |y_i - y_j|^2},

    with a scaled to 1 a node on average, and the second sum over `N_REPELLED` random pairs a node, anew in each step. All nodes
    move at once, by Adam with a rate that falls along a cosine, so that the result depends on the first places and the pairs
    alone.

    Parameters
    ----------
    graph : sparse array of shape (n, n)
        Symmetric; weights a of the links.
    n_dimensions : int
    rng : numpy.random.Generator
        Draws the first places, and the pairs.

    Returns
    -------
    ndarray of shape (n, n_dimensions), float32
    """
    n = graph.shape[0]
    links = sp.csr_array(graph, dtype=np.float32) * np.float32(n / max(graph.sum(), 1e-12))
    rows, columns = sp.coo_array(links).coords
    y = rng.standard_normal((n, n_dimensions), dtype=np.float32)
    mean, square = np.zeros_like(y), np.zeros_like(y)
    for step in range(1, N_STEPS + 1):
        pull = sp.csr_array((links.data / (1 + squares(y[rows] - y[columns])), links.indices, links.indptr), shape=(n, n))
        gradient = y * pull.sum(axis=1)[:, None] - pull @ y
        for other in rng.integers(n, size=(N_REPELLED, n)):
            away = y - y[other]
            distance = squares(away)
            gradient -= away / ((distance + 1e-3) * (1 + distance))[:, None]
        mean += (1 - BETAS[0]) * (gradient - mean)
        square += (1 - BETAS[1]) * (gradient**2 - square)
        scale = np.sqrt(square / (1 - BETAS[1] ** step)) + 1e-8
        y -= RATE * (0.5 + 0.5 * math.cos(math.pi * step / N_STEPS)) / (1 - BETAS[0] ** step) * mean / scale
    return y


def squares(differences: np.ndarray) -> np.ndarray:
    """Return the squared lengths (n,) of the rows of an array (n, d)."""
    return np.asarray(np.einsum("ij,ij->i", differences, differences))
