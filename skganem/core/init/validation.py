"""Whether the neighbor graph says enough of the classes to be used: cross-validation of the labels through it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skganem.core.data.dataset import ArrayDataset
from skganem.core.graph.knn import NeighborGraph
from skganem.core.init.regression import MAX_SAMPLES, KernelRidge
from skganem.core.init.responsibilities import LABEL_METHODS, LabelMethod

#: Folds of the cross-validation, as scikit-learn has by default.
N_FOLDS = 5
#: No further fold is predicted once so many labels were: the chance-corrected accuracy is then known to 0.02 or better.
MAX_VALIDATION_LABELS = 500
#: Least chance-corrected accuracy of the graph for it to be used: less keeps graphs that mislead, more drops good ones. "Few
#: labels" in docs/defaults.rst.
MIN_ACCURACY = 0.2


def select_label_method(
    graph: NeighborGraph, dataset: ArrayDataset, labeled_index: Tensor, labels: Tensor, n_clusters: int
) -> str | None:
    """Return by which of `LABEL_METHODS` labels are to reach other samples, as cross-validation has it.

    None if the graph misleads. Labels that are held out are then predicted badly by propagation: where samples of a class are
    not each other's neighbors, as faces with glasses are not, propagated labels are wrong more often than not. The E-net
    unlearns them more slowly than it learns from the labeled samples alone.

    Images have propagation alone. Rows have regression, unless propagation predicts as many labels more as their difference's
    standard error. The better one must also predict as many labels as kernel ridge regression does without the graph, less one.

    Parameters
    ----------
    graph, labeled_index, labels, n_clusters
        As `label_propagation` has them.
    dataset : ArrayDataset
        The samples.
    """
    if not graph.has_images:
        some = cumcount(labels).argsort(stable=True)[:MAX_SAMPLES]
        labeled_index, labels = labeled_index[some], labels[some]
    folds = cross_validation_folds(labels) if n_clusters > 1 else []
    if not folds:
        return "propagation"
    true, right = torch.cat([labels[fold] for fold in folds]), {}
    for name, method in LABEL_METHODS.items():
        w = cross_val_predict(method, graph, dataset, labeled_index, labels, n_clusters, folds)
        if name == "propagation" and chance_corrected_accuracy(w, true) < MIN_ACCURACY:
            return None
        if graph.has_images:
            return "propagation"
        right[name] = (w.argmax(dim=1) == true).int()
    gain = right["propagation"] - right["regression"]
    best = "propagation" if gain.sum() >= gain.abs().sum().sqrt() else "regression"
    rows = dataset.get_batch(labeled_index).cpu()
    without_graph = torch.cat([KernelRidge(rows[~f], labels[~f], n_clusters).predict(rows[f]).argmax(dim=1) for f in folds])
    return best if right[best].sum() >= (without_graph == true).sum() - 1 else None  # one label is chance


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
    method: LabelMethod,
    graph: NeighborGraph,
    dataset: ArrayDataset,
    labeled_index: Tensor,
    labels: Tensor,
    n_clusters: int,
    folds: list[Tensor],
) -> Tensor:
    """Return w (m, K) of the labels that each fold holds out, by the others."""
    return torch.cat(
        [method(graph, dataset, labeled_index[~fold], labels[~fold], n_clusters, labeled_index[fold]) for fold in folds]
    )


def chance_corrected_accuracy(w: Tensor, labels: Tensor) -> float:
    """Return the mean w (m, K) of the true labels (m,), on a scale where 0 is chance and 1 certain and right."""
    n_clusters = w.shape[1]
    return (float(w.gather(1, labels[:, None]).mean()) - 1 / n_clusters) / (1 - 1 / n_clusters)
