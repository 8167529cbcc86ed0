"""Whether the neighbor graph is used, by cross-validation of the labels."""

import numpy as np
import pytest
import torch

from skganem.core.init import validation
from skganem.core.init.label_propagation import label_propagation
from tests.conftest import dataset_of, directions, draw_labels, graph_of, rings


def graph_accuracy(X, index, labels, n_clusters, size=10_000):
    folds = validation.cross_validation_folds(labels)
    return validation.chance_corrected_accuracy(
        *validation.cross_val_predict(graph_of(X, size), index, labels, n_clusters, folds)
    )


def graph_is_informative(X, index, labels, n_clusters, size=10_000):
    return validation.graph_is_informative(graph_of(X, size), dataset_of(X), index, labels, n_clusters)


def test_a_graph_that_predicts_held_out_labels_is_used():
    X, y = rings()
    labeled = (*draw_labels(y, 20), 2)
    assert graph_accuracy(X, *labeled) > 0.6
    assert graph_is_informative(X, *labeled)
    assert (label_propagation(graph_of(X), *labeled).argmax(1).numpy() == y).mean() > 0.95


@pytest.mark.parametrize("size", [10_000, 300])
def test_a_graph_whose_neighbors_are_of_other_classes_is_not_used(size):
    X, y = directions()
    labeled = (*draw_labels(y, 20), 2)
    assert -0.1 < graph_accuracy(X, *labeled, size) < 0.15
    assert not graph_is_informative(X, *labeled, size)


@pytest.mark.parametrize("has_images", [False, True])
def test_the_graph_of_rows_is_not_used_where_kernel_ridge_regression_predicts_more(has_images):
    """Points whose class is the sign of the first of four coordinates: neighbors are of it more often than not."""
    X = np.random.default_rng(0).normal(size=(600, 4))
    labeled = (*draw_labels((X[:, 0] > 0).astype(int), 200), 2)
    assert validation.MIN_ACCURACY < graph_accuracy(X, *labeled) < 0.5
    graph = graph_of(X)
    graph.has_images = has_images
    assert validation.graph_is_informative(graph, dataset_of(X), *labeled) == has_images


@pytest.mark.parametrize(("n_missed", "used"), [(0, True), (1, True), (2, False)])
def test_one_label_more_that_is_predicted_without_the_graph_is_chance(n_missed, used, monkeypatch):
    def predicted(graph, index, labels, n_clusters, folds):
        true = torch.cat([labels[fold] for fold in folds])
        w = torch.nn.functional.one_hot(true).float()
        w[:n_missed] = w[:n_missed].flip(1)
        return w, true

    monkeypatch.setattr(validation, "cross_val_predict", predicted)
    monkeypatch.setattr(validation, "kernel_ridge_predict", lambda kernel, labels, held_out: labels[held_out])
    X, y = rings()
    assert graph_is_informative(X, *draw_labels(y, 20), 2) == used


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_kernel_ridge_regression_predicts_a_curved_border_at_any_scale(scale):
    X = np.random.default_rng(0).normal(size=(600, 2))
    y = torch.from_numpy(np.where(np.square(X).sum(1) < 1, 0, np.where(X[:, 0] > 0, 1, 2)))
    held_out = torch.arange(600) % 3 == 0
    predicted = validation.kernel_ridge_predict(validation.gaussian_kernel(torch.from_numpy(X * scale)), y, held_out)
    assert (predicted == y[held_out]).float().mean() > 0.9


def test_kernel_ridge_regression_predicts_the_most_frequent_class_of_equal_rows():
    labels = torch.tensor([0, 1, 1, 0, 1])
    held_out = torch.tensor([True, True, False, False, False])
    kernel = validation.gaussian_kernel(torch.ones(5, 2))
    assert validation.kernel_ridge_predict(kernel, labels, held_out).tolist() == [1, 1]


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
    monkeypatch.setattr(validation, "MAX_KERNEL_SAMPLES", 50)
    counts, predict = [], validation.kernel_ridge_predict

    def spy(kernel, labels, held_out):
        counts.append(torch.bincount(labels).tolist())
        return predict(kernel, labels, held_out)

    monkeypatch.setattr(validation, "kernel_ridge_predict", spy)
    assert graph_is_informative(X, torch.arange(600), torch.from_numpy(y), 2)
    assert counts == [[25, 25]] * 5


def test_one_label_of_a_class_is_enough():
    X, y = rings()
    assert graph_is_informative(X, *draw_labels(y, 1), 2)


def test_without_labels_or_a_second_class_the_graph_is_used():
    X = directions()[0]
    none = torch.tensor([], dtype=torch.long)
    assert graph_is_informative(X, none, none, 2)
    assert graph_is_informative(X, torch.arange(9), torch.zeros(9, dtype=torch.long), 1)


def test_every_class_has_labels_in_a_small_graph():
    labels = torch.tensor([0] * 290 + [1] * 8 + [2] * 2)
    index = torch.arange(300) * 2
    for seed in range(5):
        ordered = validation.stratified_order(index, labels, torch.Generator().manual_seed(seed))
        assert sorted(ordered.tolist()) == index.tolist()
        first = labels[ordered[:12] // 2]
        assert torch.bincount(first).tolist() == [5, 5, 2]
