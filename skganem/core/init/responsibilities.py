"""The initial responsibilities w, line 1 of Algorithm 1, by the recipe's `init`.

With uniform w only the networks' random weights break the symmetry between the K clusters, and the seed decides what is
found. The default, "graph", starts from the data: a partition of the neighbor graph into K clusters, or labels that propagate
through it. Where cross-validation of the labels shows that the graph says little of the classes, w is uniform after all
(`core.init.validation`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from skganem.core.data.dataset import NO_INDEX, ArrayDataset
from skganem.core.data.images import to_rows
from skganem.core.graph.agglomeration import agglomerative_partition
from skganem.core.graph.kmeans import kmeans
from skganem.core.graph.knn import NeighborGraph, nearest_neighbors, subsample
from skganem.core.graph.partition import optimize_partition
from skganem.core.graph.spectral import within_cluster_rank
from skganem.core.init.label_propagation import label_propagation
from skganem.core.init.regression import regression_responsibilities
from skganem.core.runtime.distributed import current

#: Samples that are assigned to the nearest center at once, and read at full size at once.
ASSIGN_BLOCK, READ_BLOCK = 8192, 256
#: Runs of k-means in embeddings of the graph: too few end in poor minima, more take time. Not tuned.
N_INIT = 20


#: (graph, data set, labeled positions (m,), their labels (m,), K, wanted positions (l,)) -> w (l, K)
LabelMethod: TypeAlias = Callable[[NeighborGraph, ArrayDataset, Tensor, Tensor, int, Tensor], Tensor]


@dataclass(frozen=True)
class InitSpec:
    """What an initialization may use.

    Parameters
    ----------
    dataset : ArrayDataset
    n_clusters : int
    graph : NeighborGraph or None
        None where `init` needs none, or where it says little of the classes.
    max_samples : int
        Samples that are clustered at most.
    seed : int
    rng : torch.Generator
    labeled_index, labels : Tensor of shape (m,)
        Positions and classes of the labeled samples, if any.
    label_method : str
        By which of `LABEL_METHODS` labels reach the other samples.
    """

    dataset: ArrayDataset
    n_clusters: int
    graph: NeighborGraph | None
    max_samples: int
    seed: int
    rng: torch.Generator
    labeled_index: Tensor = NO_INDEX
    labels: Tensor = NO_INDEX
    label_method: str = "propagation"


def graph_responsibilities(spec: InitSpec) -> Tensor:
    """Labels that propagate through the graph, or a partition of it where there are none; uniform without a graph."""
    if spec.graph is None:
        return uniform_responsibilities(spec)
    if len(spec.labeled_index):
        wanted = torch.arange(len(spec.dataset))
        method = LABEL_METHODS[spec.label_method]
        return current().on_first(method, spec.graph, spec.dataset, spec.labeled_index, spec.labels, spec.n_clusters, wanted)
    return current().on_first(init_from_partition, spec.graph, spec.n_clusters, spec.seed, spec.dataset.has_directions)


def propagated_responsibilities(
    graph: NeighborGraph, dataset: ArrayDataset, labeled_index: Tensor, labels: Tensor, n_clusters: int, wanted: Tensor
) -> Tensor:
    """Return w (m, K) of the samples at `wanted` (m,) by label propagation."""
    return label_propagation(graph, labeled_index, labels, n_clusters)[wanted]


LABEL_METHODS: dict[str, LabelMethod] = {
    "propagation": propagated_responsibilities,
    "regression": regression_responsibilities,
}


def kmeans_responsibilities(spec: InitSpec) -> Tensor:
    """Hard labels by k-means on the scaled values; each class stands for the cluster that it agrees with most."""
    members = subsample(len(spec.dataset), spec.max_samples, spec.rng)
    points = pixels_of(spec.dataset, members)
    labels = torch.from_numpy(kmeans(points.numpy(), spec.n_clusters, spec.seed)[0])
    clusters = range(spec.n_clusters)
    centers = torch.stack([points[labels == i].mean(0) if (labels == i).any() else points[0] for i in clusters])
    parts = torch.arange(len(spec.dataset)).split(ASSIGN_BLOCK)
    nearest = torch.cat([nearest_neighbors(pixels_of(spec.dataset, part), centers, 1)[1] for part in parts])
    w = F.one_hot(nearest.squeeze(1), spec.n_clusters).float()
    return w[:, hungarian_matching(w[spec.labeled_index], spec.labels)]


def random_responsibilities(spec: InitSpec) -> Tensor:
    """Drawn uniformly from the simplex: breaks the symmetry of uniform w."""
    shape = len(spec.dataset), spec.n_clusters
    exponential = -torch.rand(*shape, generator=spec.rng, device=spec.rng.device).clamp_(min=1e-20).log()
    return exponential / exponential.sum(dim=1, keepdim=True)


def uniform_responsibilities(spec: InitSpec) -> Tensor:
    """Return 1 / K everywhere, as in Algorithm 1."""
    return torch.full((len(spec.dataset), spec.n_clusters), 1 / spec.n_clusters)


INITIALIZERS: dict[str, Callable[[InitSpec], Tensor]] = {
    "graph": graph_responsibilities,
    "kmeans": kmeans_responsibilities,
    "random": random_responsibilities,
    "uniform": uniform_responsibilities,
}


def init_from_partition(graph: NeighborGraph, n_clusters: int, seed: int, has_directions: bool = False) -> Tensor:
    """Initial w from the graph alone: a partition whose labels propagate, the more the nearer to a cluster's median.

    So a style far from the median of its cluster takes the label of another class that it has many edges to. It keeps its own
    label where it has edges to nothing else.
    """
    affinities, features = graph.partition_affinities, graph.node_features
    if graph.n_distinct < 2 * n_clusters:  # too few for edges
        by_kmeans = kmeans(features, n_clusters, seed)[0]
        found = by_kmeans, within_cluster_rank(features, by_kmeans)
    elif has_directions:
        points = np.hstack(graph.embeddings).astype(np.float64)
        by_kmeans = kmeans(points, n_clusters, seed, N_INIT)[0]
        found = by_kmeans, within_cluster_rank(points, by_kmeans)
    elif graph.is_hybrid:
        found = optimize_partition(affinities, n_clusters, seed, features)
    else:
        found = agglomerative_partition(affinities[0], n_clusters, seed, features)
    labels, rank = map(torch.from_numpy, found)
    placed = labels >= 0
    return label_propagation(graph, graph.nodes[placed], labels[placed], n_clusters, rank[placed])


def hungarian_matching(w: Tensor, labels: Tensor) -> Tensor:
    """Return the cluster (K,) that stands for each class, one for each: those that labeled samples agree with most.

    Parameters
    ----------
    w : Tensor of shape (m, K)
        Soft clusters of the labeled samples.
    labels : Tensor of shape (m,)
        Their classes.
    """
    agreement = torch.zeros(w.shape[1], w.shape[1], device="cpu").index_add_(0, labels, w.cpu())
    return torch.from_numpy(linear_sum_assignment(agreement.numpy(), maximize=True)[1])


def pixels_of(dataset: ArrayDataset, index: Tensor) -> Tensor:
    """Return the samples at `index` (m,) as rows (m, d) on the CPU; a few at a time are read at full size."""
    return torch.cat([to_rows(dataset.get_batch(part)).cpu() for part in index.split(READ_BLOCK)])
