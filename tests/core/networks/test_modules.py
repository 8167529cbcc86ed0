import torch

from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from tests.conftest import CPU


def test_layer_r_is_right_before_the_output():
    model = MixtureModel(NetworkSpec((6,), 3, 5, 4, n_components=2), DEFAULT_NETWORKS, 0, CPU)
    x = torch.randn(7, 6)
    assert model.e_net.features(x).shape == (7, 2)
    assert torch.allclose(model.e_net(x), model.e_net.output(model.e_net.features(x)))
    assert model.e_net.output.in_features == 2
