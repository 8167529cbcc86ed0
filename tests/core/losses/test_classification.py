import numpy as np
import pytest
import torch

from skganem.core.losses.classification import e_net_loss, soft_cross_entropy


def test_eq_5():
    logits, c = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(probability[np.arange(6), c]).mean()
    assert e_net_loss(torch.tensor(logits), torch.tensor(c)).item() == pytest.approx(expected)
    one_hot = torch.tensor(np.eye(3)[c])
    assert soft_cross_entropy(torch.tensor(logits), one_hot).mean().item() == pytest.approx(expected)
