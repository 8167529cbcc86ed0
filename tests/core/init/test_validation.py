"""Whether the neighbor graph is used, by cross-validation of the labels."""

import numpy as np
import pytest
import torch

from skganem.core.init import validation
from skganem.core.init.label_propagation import label_propagation
from skganem.core.init.regression import KernelRidge
from skganem.core.init.responsibilities import LABEL_METHODS, propagated_responsibilities
from tests.conftest import dataset_of, directions, draw_labels, graph_of, rings


def graph_accuracy(X, index, labels, n_clusters, size=10_000):
    folds = validation.cross_validation_folds(labels)
    data = graph_of(X, size), dataset_of(X)
    w = validation.cross_val_predict(propagated_responsibilities, *data, index, labels, n_clusters, folds)
    return validation.chance_corrected_accuracy(w, torch.cat([labels[fold] for fold in folds]))


def method_of(X, index, labels, n_clusters, size=10_000):
    return validation.select_label_method(graph_of(X, size), dataset_of(X), index, labels, n_clusters)


def test_a_graph_that_predicts_held_out_labels_is_used():
    X, y = rings()
    labeled = (*draw_labels(y, 20), 2)
    assert graph_accuracy(X, *labeled) > 0.6
    assert method_of(X, *labeled) == "propagation"
    assert (label_propagation(graph_of(X), *labeled).argmax(1).numpy() == y).mean() > 0.95


@pytest.mark.parametrize("size", [10_000, 300])
def test_a_graph_whose_neighbors_are_of_other_classes_is_not_used(size):
    X, y = directions()
    labeled = (*draw_labels(y, 20), 2)
    assert -0.1 < graph_accuracy(X, *labeled, size) < 0.15
    assert method_of(X, *labeled, size) is None


def test_the_graph_of_rows_is_not_used_where_kernel_ridge_regression_predicts_more():
    """Points whose class is the sign of the first of four coordinates: neighbors are of it more often than not."""
    X = np.random.default_rng(0).normal(size=(600, 4))
    labeled = (*draw_labels((X[:, 0] > 0).astype(int), 200), 2)
    assert validation.MIN_ACCURACY < graph_accuracy(X, *labeled) < 0.5
    graph = graph_of(X)
    assert validation.select_label_method(graph, dataset_of(X), *labeled) in (None, "regression")
    graph.has_images = True
    assert validation.select_label_method(graph, dataset_of(X), *labeled) == "propagation"


def test_regression_is_chosen_where_it_predicts_more_than_propagation():
    """Two clouds that overlap, with few labels: a straight border is known from them, and paths of neighbors cross it."""
    X, y = np.random.default_rng(2).normal(size=(600, 20)), np.repeat([0, 1], 300)
    X[:, 0] += 3.2 * y
    labeled = (*draw_labels(y, 15), 2)
    assert method_of(X, *labeled) == "regression"
    errors = [
        (LABEL_METHODS[name](graph_of(X), dataset_of(X), *labeled, torch.arange(600)).argmax(1).numpy() != y).mean()
        for name in ("regression", "propagation")
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize(("n_missed", "used"), [(0, True), (1, True), (2, False)])
def test_one_label_more_that_is_predicted_without_the_graph_is_chance(n_missed, used, monkeypatch):
    def predicted(method, graph, dataset, index, labels, n_clusters, folds):
        w = torch.nn.functional.one_hot(torch.cat([labels[fold] for fold in folds])).float()
        w[:n_missed] = w[:n_missed].flip(1)
        return w

    X, y = rings()
    index, labels = draw_labels(y, 20)
    classes = torch.from_numpy(y)[index]
    monkeypatch.setattr(validation, "cross_val_predict", predicted)
    monkeypatch.setattr(KernelRidge, "predict", lambda self, rows: one_hot_of(rows, X, y))
    assert torch.equal(classes, labels)
    assert (method_of(X, index, labels, 2) is not None) == used


def one_hot_of(rows, X, y):
    """Return the classes of rows of a data set, scaled, by looking them up."""
    nearest = torch.cdist(rows, dataset_of(X).get_batch(slice(None))).argmin(dim=1)
    return torch.nn.functional.one_hot(torch.from_numpy(y)[nearest], 2).float()


def test_corrected_accuracy_is_zero_at_chance_for_any_number_of_classes():
    X = np.random.default_rng(0).normal(size=(600, 20))
    y = np.random.default_rng(1).permutation(np.arange(600) % 6)
    assert abs(graph_accuracy(X, *draw_labels(y, 20), 6)) < 0.1


@pytest.mark.parametrize(("per_class", "n_folds"), [(1, 0), (2, 2), (20, 5), (400, 4), (2000, 1)])
def test_folds_are_held_out_until_enough_labels_are_predicted(per_class, n_folds):
    labels = torch.arange(2 * per_class) % 2
    folds = validation.cross_validation_folds(labels)
    assert [int(fold.sum()) for fold in folds] == [max(2, 2 * per_class // 5)] * n_folds
    assert not folds or int(torch.stack(folds).sum(dim=0).max()) == 1


def test_of_rows_with_many_labels_some_are_validated(monkeypatch):
    X, y = rings()
    monkeypatch.setattr(validation, "MAX_SAMPLES", 50)
    counts, original = [], validation.cross_val_predict

    def spy(method, graph, dataset, index, labels, n_clusters, folds):
        counts.append(torch.bincount(labels).tolist())
        return original(method, graph, dataset, index, labels, n_clusters, folds)

    monkeypatch.setattr(validation, "cross_val_predict", spy)
    assert method_of(X, torch.arange(600), torch.from_numpy(y), 2)
    assert counts == [[25, 25]] * len(LABEL_METHODS)


def test_one_label_of_a_class_is_enough():
    X, y = rings()
    assert method_of(X, *draw_labels(y, 1), 2)


def test_without_labels_or_a_second_class_the_graph_is_used():
    X = directions()[0]
    none = torch.tensor([], dtype=torch.long)
    assert method_of(X, none, none, 2)
    assert method_of(X, torch.arange(9), torch.zeros(9, dtype=torch.long), 1)


def test_every_class_has_labels_in_a_small_graph():
    labels = torch.tensor([0] * 290 + [1] * 8 + [2] * 2)
    index = torch.arange(300) * 2
    for seed in range(5):
        ordered = validation.stratified_order(index, labels, torch.Generator().manual_seed(seed))
        assert sorted(ordered.tolist()) == index.tolist()
        first = labels[ordered[:12] // 2]
        assert torch.bincount(first).tolist() == [5, 5, 2]
