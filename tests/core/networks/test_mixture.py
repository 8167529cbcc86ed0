import math

import numpy as np
import pytest
import torch
from torch import nn

from skganem import GANEMClustering, Networks
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec, infer_n_features
from tests.conftest import CPU, fast_recipe


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


class Features(nn.Sequential):
    """A class that is a factory: its constructor takes a shape and a width."""

    def __init__(self, shape, width):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(shape), width), nn.LeakyReLU())


class Images(nn.Sequential):
    """A generator."""

    def __init__(self, shape, n_inputs, width):
        super().__init__(nn.Linear(n_inputs, math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_classes_of_modules_are_factories(digits):
    own = Networks(generator=Images, discriminator=Features, e_net=Features)
    functions = Networks(*(lambda *args, make=make: make(*args) for make in (Images, Features, Features)))
    fits = [
        GANEMClustering(3, recipe=fast_recipe(networks=n), n_init=2, random_state=0).fit(digits[0][:60])
        for n in (own, functions)
    ]
    assert isinstance(fits[0]._model.e_net.body, Features)
    assert isinstance(fits[0]._model.encoder.body, Features)
    np.testing.assert_array_equal(*(model.predict_proba(digits[0]) for model in fits))


@pytest.mark.parametrize("factory", [nn.Linear(2, 2), 3, None, "default"], ids=["module", "number", "None", "name"])
@pytest.mark.parametrize("name", ["generator", "discriminator", "e_net"])
def test_what_is_no_factory_is_refused(name, factory):
    kind = type(factory).__name__
    with pytest.raises(
        TypeError, match=f"{name} must be a function or a class that builds a network, got an instance of {kind}: "
    ):
        Networks(**{name: factory})


@pytest.mark.parametrize("name", ["generator", "discriminator", "e_net"])
def test_a_factory_must_return_a_module(name):
    networks = Networks(**{name: lambda *arguments: torch.relu})
    with pytest.raises(TypeError, match=f"the factory {name} of the networks must return an nn.Module, got a builtin_function"):
        MixtureModel(NetworkSpec((4,), 2, 5, 4), networks, 0, CPU)


def test_a_factory_must_not_return_a_network_again(digits):
    """It would be trained as the encoder and as the E-net, and by each fit."""
    body = Features((1, 8, 8), 4)
    with pytest.raises(ValueError, match="the factory e_net of the networks must build a new"):
        GANEMClustering(3, recipe=fast_recipe(networks=Networks(e_net=lambda shape, width: body))).fit(digits[0])


def test_a_network_that_learns_nothing_may_be_returned_again():
    flatten = nn.Flatten()
    networks = Networks(e_net=lambda shape, width: flatten, discriminator=lambda shape, width: flatten)
    for _ in range(2):
        assert MixtureModel(NetworkSpec((4,), 2, 5, 4), networks, 0, CPU).e_net.n_features == 4
