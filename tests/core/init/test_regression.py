import numpy as np
import pytest
import torch

from skganem.core.init.regression import KernelRidge, regression_responsibilities
from tests.conftest import dataset_of, draw_labels, graph_of


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_kernel_ridge_regression_predicts_a_curved_border_at_any_scale(scale):
    X = np.random.default_rng(0).normal(size=(600, 2))
    y = torch.from_numpy(np.where(np.square(X).sum(1) < 1, 0, np.where(X[:, 0] > 0, 1, 2)))
    held_out, rows = torch.arange(600) % 3 == 0, torch.from_numpy(X * scale)
    predicted = KernelRidge(rows[~held_out], y[~held_out], 3).predict(rows[held_out])
    assert (predicted.argmax(dim=1) == y[held_out]).float().mean() > 0.9
    torch.testing.assert_close(predicted.sum(dim=1), torch.ones(200, dtype=torch.float64))


def test_kernel_ridge_regression_predicts_the_most_frequent_class_of_equal_rows():
    predicted = KernelRidge(torch.ones(3, 2), torch.tensor([1, 0, 1]), 2).predict(torch.ones(2, 2))
    assert predicted.argmax(dim=1).tolist() == [1, 1]


def test_neighbors_correct_single_rows():
    """Two clouds, a few of whose labels are wrong: those rows keep them, and the others have their cloud's."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 2)) + np.repeat([[-2, 0], [2, 0]], 100, axis=0)
    y = np.repeat([0, 1], 100)
    index, labels = draw_labels(y, 10)
    data = graph_of(X), dataset_of(X)
    w = regression_responsibilities(*data, index, labels, 2, torch.arange(200))
    assert w.shape == (200, 2)
    torch.testing.assert_close(w.sum(dim=1), torch.ones(200))
    alone = KernelRidge(data[1].get_batch(index), labels, 2).predict(data[1].get_batch(slice(None)))
    errors = [(found.argmax(dim=1).numpy() != y).mean() for found in (w, alone)]
    assert errors[0] <= errors[1] < 0.1
    wanted = torch.tensor([150, 3])
    torch.testing.assert_close(regression_responsibilities(*data, index, labels, 2, wanted), w[wanted])
