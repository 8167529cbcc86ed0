"""Whether the neighbor graph says enough of the classes to be used: cross-validation of the labels through it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.dataset import ArrayDataset
from skganem.core.graph.knn import NeighborGraph
from skganem.core.init.label_propagation import label_propagation
from skganem.core.init.responsibilities import pixels_of

#: Folds of the cross-validation, as scikit-learn has by default.
N_FOLDS = 5
#: No further fold is predicted once so many labels were: the chance-corrected accuracy is then known to 0.02 or better.
MAX_VALIDATION_LABELS = 500
#: Least chance-corrected accuracy of the graph for it to be used: less keeps graphs that mislead, more drops good ones. "Few
#: labels" in docs/defaults.rst.
MIN_ACCURACY = 0.2
#: Labeled rows that take part at most: kernel ridge regression takes time of their number's cube.
MAX_KERNEL_SAMPLES = 2500
#: Its ridge, the weight of a sample's own noise beside its variance of 1.
RIDGE = 1.0


def graph_is_informative(
    graph: NeighborGraph, dataset: ArrayDataset, labeled_index: Tensor, labels: Tensor, n_clusters: int
) -> bool:
    """Whether labels that are held out are predicted well through the graph; true where there are too few to tell.

    Where samples of a class are not each other's neighbors, as faces with glasses are not, propagated labels are wrong more
    often than not. The E-net unlearns them more slowly than it learns from the labeled samples alone. For rows, the graph
    must also predict as many labels as kernel ridge regression does from the labeled rows alone, less one.

    Parameters
    ----------
    graph, labeled_index, labels, n_clusters
        As `label_propagation` has them.
    dataset : ArrayDataset
        The samples.
    """
    if not graph.has_images:
        some = cumcount(labels).argsort(stable=True)[:MAX_KERNEL_SAMPLES]
        labeled_index, labels = labeled_index[some], labels[some]
    folds = cross_validation_folds(labels) if n_clusters > 1 else []
    if not folds:
        return True
    w, true = cross_val_predict(graph, labeled_index, labels, n_clusters, folds)
    if chance_corrected_accuracy(w, true) < MIN_ACCURACY:
        return False
    if graph.has_images:
        return True
    kernel = gaussian_kernel(pixels_of(dataset, labeled_index))
    without_graph = torch.cat([kernel_ridge_predict(kernel, labels, fold) for fold in folds])
    return bool((w.argmax(dim=1) == true).sum() >= (without_graph == true).sum() - 1)  # one label is chance


def stratified_order(labeled_index: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Order labeled samples at random, but such that each class comes as early and as often as the others."""
    order = torch.randperm(len(labeled_index), generator=rng, device=rng.device).cpu()
    return labeled_index[order[cumcount(labels[order]).argsort(stable=True)]]


def cumcount(labels: Tensor) -> Tensor:
    """Count for each label (m,) how many of the same came before it."""
    ordered, order = labels.sort(stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(labels)) - torch.searchsorted(ordered, ordered))


def cross_validation_folds(labels: Tensor) -> list[Tensor]:
    """Return which labels (m,) each fold holds out; no fold has the only label of a class."""
    fold = cumcount(labels) % N_FOLDS
    fold[torch.bincount(labels)[labels] == 1] = -1
    folds = [fold == i for i in range(N_FOLDS) if (fold == i).any()]
    n_predicted = np.cumsum([int(held_out.sum()) for held_out in folds])
    return folds[: 1 + int(np.searchsorted(n_predicted, MAX_VALIDATION_LABELS))]


def cross_val_predict(
    graph: NeighborGraph, labeled_index: Tensor, labels: Tensor, n_clusters: int, folds: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return w (m, K) of the labels that are held out, by the others and the graph, and what they are (m,)."""
    w = [label_propagation(graph, labeled_index[~fold], labels[~fold], n_clusters)[labeled_index[fold]] for fold in folds]
    return torch.cat(w), torch.cat([labels[fold] for fold in folds])


def chance_corrected_accuracy(w: Tensor, labels: Tensor) -> float:
    """Return the mean w (m, K) of the true labels (m,), on a scale where 0 is chance and 1 certain and right."""
    n_clusters = w.shape[1]
    return (float(w.gather(1, labels[:, None]).mean()) - 1 / n_clusters) / (1 - 1 / n_clusters)


def gaussian_kernel(rows: Tensor) -> Tensor:
    """Return exp(-|x - x'|^2 / the trace of the covariance) for each pair of rows (m, d)."""
    distance = torch.cdist(rows.double(), rows.double()).square()
    return torch.exp(-2 * distance / distance.mean().clamp_min(1e-300))


def kernel_ridge_predict(kernel: Tensor, labels: Tensor, held_out: Tensor) -> Tensor:
    """Predict those labels (m,) that are held out from the others, by kernel ridge regression with a kernel (m, m)."""
    target = F.one_hot(labels[~held_out]).double()
    mean = target.mean(dim=0)
    system = kernel[~held_out][:, ~held_out] + RIDGE * torch.eye(len(target), dtype=torch.float64, device="cpu")
    values: Tensor = mean + kernel[held_out][:, ~held_out] @ torch.linalg.solve(system, target - mean)
    return values.argmax(dim=1)
