import pytest
import torch
from torch import nn

from skganem.core.losses.lipschitz import gradient_norm
from tests.conftest import one_hot


def test_r1_is_the_squared_gradient():
    discriminator = nn.Linear(2, 3, bias=False)
    x, w = torch.randn(5, 2), one_hot([0, 1, 0, 1, 0], 2)
    weight = discriminator.weight.detach()
    gradient = w @ weight[:2] + weight[2]
    assert gradient_norm(discriminator, x, w).item() == pytest.approx(float(gradient.square().sum(1).mean()), rel=1e-5)
