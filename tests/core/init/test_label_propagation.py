import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs, make_moons

from skganem.core.em.e_step import normalized_confidence
from skganem.core.init.label_propagation import label_propagation
from tests.conftest import graph_of


@pytest.mark.parametrize("n", [40, 80])
def test_labels_of_few_rows_propagate_along_shapes(n):
    X, y = make_moons(n, noise=0.05, random_state=0)
    index = torch.tensor([int(np.flatnonzero(y == i)[0]) for i in range(2)])
    w = label_propagation(graph_of(X, n_neighbors=15), index, torch.tensor([0, 1]), 2)
    assert (w.argmax(1).numpy() == y).all()


def test_classes_with_few_labels_have_as_much_mass_as_others():
    X, y = make_blobs([300, 300], centers=[[0, 0], [6, 0]], random_state=0)
    index = torch.from_numpy(np.r_[np.flatnonzero(y == 0)[:30], np.flatnonzero(y == 1)[:1]]).sort().values
    w = label_propagation(graph_of(X), index, torch.from_numpy(y)[index], 2)
    assert (w.argmax(1).numpy() == y).mean() > 0.98


def test_a_label_reaches_the_far_end_of_a_long_group():
    """Little of it arrives there, and nothing of the other one."""
    X = np.column_stack([np.tile(np.arange(500), 2), np.repeat([0, 50], 500)])
    w = label_propagation(graph_of(X), torch.tensor([0, 500]), torch.tensor([0, 1]), 2)
    assert (w.argmax(1).numpy() == np.repeat([0, 1], 500)).all()
    assert normalized_confidence(w).min() > 0.99
