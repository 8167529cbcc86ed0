import pytest
import torch
from torch import nn

from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec, infer_n_features
from tests.conftest import CPU


def test_initial_features_do_not_depend_on_the_number_of_clusters():
    bodies = [MixtureModel(NetworkSpec((1, 8, 8), k, 5, 4), DEFAULT_NETWORKS, 3, CPU).e_net.body for k in (2, 7)]
    for a, b in zip(bodies[0].parameters(), bodies[1].parameters()):
        assert torch.equal(a, b)


def test_a_feature_network_with_output_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="must map"):
        infer_n_features(nn.Identity(), (1, 8, 8))


def test_weights_survive_the_way_through_numpy():
    a, b = (MixtureModel(NetworkSpec((1, 8, 8), 2, 5, 4), DEFAULT_NETWORKS, seed, CPU) for seed in (0, 1))
    x = torch.randn(3, 1, 8, 8)
    assert not torch.allclose(a.e_net(x), b.e_net(x))
    b.from_numpy(a.to_numpy())
    assert torch.equal(a.e_net(x), b.e_net(x))
