"""Labels that propagate through the neighbor graph (Zhou et al. 2004)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import cg
from torch import Tensor

from skganem.core.graph.knn import NeighborGraph

#: Share of the mass that moves on to neighbors in each step, as in Zhou et al.: labels reach far, and fade slowly.
ALPHA = 0.99
#: Tolerance and iterations of the linear solver. Mass falls off by orders of magnitude along a long group, and still tells
#: its class: with 1e-5, 17.4 % of two long groups were wrong instead of none.
RTOL, MAX_ITER = 1e-12, 1000
#: Added to each class's mass, so that samples that none reaches have uniform w.
MASS_FLOOR = 1e-16


def label_propagation(
    graph: NeighborGraph, labeled_index: Tensor, labels: Tensor, n_clusters: int, weights: Tensor | None = None
) -> Tensor:
    """Initial w (n, K) from labels that propagate through the graph.

    Each class is a unit of mass at its labeled samples, which diffuses to their neighbors; a sample's w is its share of each
    class. The shares are squared: far from all mass they are nearly even, and the E-net would hardly learn from these samples
    what the graph says of them.

    Parameters
    ----------
    graph : NeighborGraph
    labeled_index : Tensor of shape (m,)
        Positions of the labeled samples in the data set.
    labels : Tensor of shape (m,)
        Their classes, from 0 to n_clusters - 1.
    n_clusters : int
    weights : Tensor of shape (m,) or None
        What share of its class's mass each has; None gives them equal ones.
    """
    adjacency = graph.affinity
    degree = np.maximum(adjacency.sum(axis=1), 1e-12)
    scale = sp.diags_array(degree**-0.5)
    system = sp.eye_array(len(degree)) - ALPHA * (scale @ adjacency @ scale)
    inside = torch.isin(labeled_index, graph.nodes)
    position = torch.searchsorted(graph.nodes, labeled_index[inside]).numpy()
    classes, shares = labels[inside].numpy(), np.ones(len(position)) if weights is None else weights[inside].numpy()
    mass = np.zeros((len(degree), n_clusters))
    np.add.at(mass, (position, classes), shares / np.bincount(classes, shares, minlength=n_clusters)[classes])
    diffused = np.column_stack([cg(system, column, rtol=RTOL, maxiter=MAX_ITER)[0] for column in mass.T])
    diffused = np.maximum(diffused, 0.0) + MASS_FLOOR
    w = graph.extend(torch.from_numpy(diffused / diffused.sum(axis=1, keepdims=True)).float())
    return F.normalize(w.square(), p=1, dim=1)
