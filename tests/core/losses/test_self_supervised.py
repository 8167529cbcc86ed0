import numpy as np
import pytest
import torch

from skganem.core.losses.self_supervised import nt_xent_loss


def test_nt_xent():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5))
    temperature = 0.4
    views = np.concatenate([a, b])
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    similarity = np.exp(views @ views.T / temperature)
    np.fill_diagonal(similarity, 0)
    partner = [3, 4, 5, 0, 1, 2]
    expected = -np.log(similarity[np.arange(6), partner] / similarity.sum(1)).mean()
    assert nt_xent_loss(torch.tensor(a), torch.tensor(b), temperature).item() == pytest.approx(expected)
