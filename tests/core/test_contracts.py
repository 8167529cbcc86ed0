"""What every member of a family that can be exchanged promises; a new member is tested by adding its name to its registry."""

import numpy as np
import pytest
import torch

from skganem.core.em.m_step import m_step
from skganem.core.em.state import EMState
from skganem.core.features.transforms import ImageWarp, NeighborMixup
from skganem.core.init.responsibilities import INITIALIZERS, InitSpec
from skganem.core.losses.gan import DISCRIMINATOR_LOSSES, GENERATOR_LOSSES
from skganem.core.losses.lipschitz import LIPSCHITZ
from skganem.core.networks.architectures import NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from skganem.core.recipe import CHOICES
from tests.conftest import dataset_of, fast_recipe, neighbor_graph_of

CPU = torch.device("cpu")
ROWS, GRAY, COLOR = (4,), (1, 10, 12), (3, 16, 16)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def logits_of(n, k, scale=1.0, seed=0):
    return (scale * torch.randn(n, k + 1, generator=rng(seed))).requires_grad_(True)


# Generator losses: (logits of generated samples (n, K + 1), their classes) -> scalar


@pytest.mark.parametrize("name", GENERATOR_LOSSES)
def test_a_generator_loss_is_a_finite_scalar_whatever_the_logits(name):
    c = torch.arange(12) % 3
    for scale in (0.0, 1.0, 100.0, 1e4):
        logits = logits_of(12, 3, scale)
        loss = GENERATOR_LOSSES[name](logits, c)
        loss.backward()
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", GENERATOR_LOSSES)
def test_a_generator_loss_falls_as_samples_pass_for_real_ones_of_their_class(name):
    logits, c = logits_of(12, 3), torch.arange(12) % 3
    GENERATOR_LOSSES[name](logits, c).backward()
    assert (logits.grad.gather(1, c[:, None]) < 0).all()
    assert (logits.grad[:, -1] < 0).all()


@pytest.mark.parametrize("name", GENERATOR_LOSSES)
def test_a_generator_loss_does_not_depend_on_the_order_of_samples(name):
    logits, c, order = logits_of(12, 3).detach(), torch.arange(12) % 3, torch.randperm(12, generator=rng())
    loss = GENERATOR_LOSSES[name]
    torch.testing.assert_close(loss(logits, c), loss(logits[order], c[order]))


# Discriminator losses: (real logits, w, generated logits, their classes, phi) -> scalar


@pytest.mark.parametrize("name", DISCRIMINATOR_LOSSES)
def test_a_discriminator_loss_tells_real_samples_of_a_class_from_generated_ones(name):
    real, fake = logits_of(12, 3, seed=0), logits_of(12, 3, seed=1)
    w, c = torch.softmax(torch.randn(12, 3, generator=rng(2)), dim=1), torch.arange(12) % 3
    loss = DISCRIMINATOR_LOSSES[name](real, w, fake, c, w.mean(dim=0))
    loss.backward()
    assert loss.shape == ()
    assert (real.grad < 0).all()
    assert (fake.grad.gather(1, c[:, None]) > 0).all()
    assert (fake.grad[:, -1] > 0).all()


@pytest.mark.parametrize("name", DISCRIMINATOR_LOSSES)
def test_a_discriminator_loss_ignores_units_of_classes_that_a_real_sample_is_not_of(name):
    real, fake, c = logits_of(12, 3, seed=0), logits_of(12, 3, seed=1), torch.arange(12) % 3
    w = torch.nn.functional.one_hot(c, 3).float()
    DISCRIMINATOR_LOSSES[name](real, w, fake, c, w.mean(dim=0)).backward()
    assert (real.grad[:, :-1][w == 0] == 0).all()


@pytest.mark.parametrize("name", DISCRIMINATOR_LOSSES)
def test_a_discriminator_loss_is_finite_whatever_the_logits(name):
    c, w = torch.arange(12) % 3, torch.full((12, 3), 1 / 3)
    for scale in (0.0, 100.0, 1e4):
        real, fake = logits_of(12, 3, scale, seed=0), logits_of(12, 3, scale, seed=1)
        DISCRIMINATOR_LOSSES[name](real, w, fake, c, w[0]).backward()
        assert torch.isfinite(real.grad).all()
        assert torch.isfinite(fake.grad).all()


# Lipschitz terms: a name, or a function of (discriminator, real batch, its w, step)


def squared_logits(discriminator, x, w, step):
    return discriminator(x).square().mean()


@pytest.mark.parametrize("lipschitz", [*LIPSCHITZ, squared_logits])
@pytest.mark.parametrize("shape", [ROWS, GRAY])
def test_a_lipschitz_term_leaves_the_m_step_finite_and_is_not_idle(lipschitz, shape):
    X = np.random.default_rng(0).normal(size=(40, *shape))
    trained = []
    for constraint in (None, lipschitz):
        recipe = fast_recipe(lipschitz=constraint, clip=0.01)
        dataset = dataset_of(X, shape)
        model = MixtureModel(NetworkSpec(shape, 3, recipe.n_noise, recipe.width), recipe.networks, 0, CPU)
        losses = m_step(EMState(model, dataset, recipe, rng(), torch.float32), torch.full((40, 3), 1 / 3))
        assert np.isfinite(losses).all()
        trained.append(torch.cat([p.detach().flatten() for net in model.networks() for p in net.parameters()]))
    assert torch.isfinite(trained[1]).all()
    assert not torch.equal(*trained)


def test_recipes_know_the_lipschitz_terms():
    assert CHOICES["lipschitz"] == set(LIPSCHITZ)


# Initializations: InitSpec -> w (n, K)


def initial(name, seed=0, labeled=False):
    X = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 20, axis=0) + np.random.default_rng(0).normal(size=(60, 2))
    dataset, generator = dataset_of(X), rng(seed)
    graph = neighbor_graph_of(dataset, lambda data: data.get_batch(slice(None)), 3, 6, 100)
    known = (torch.tensor([0, 20, 40]), torch.tensor([2, 0, 1])) if labeled else ()
    return INITIALIZERS[name](InitSpec(dataset, 3, graph, 100, seed, generator, *known))


@pytest.mark.parametrize("labeled", [False, True])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_an_initialization_gives_each_sample_a_distribution_and_follows_the_seed(name, labeled):
    w = initial(name, labeled=labeled)
    assert w.shape == (60, 3)
    assert w.dtype == torch.float32
    assert (w >= 0).all()
    torch.testing.assert_close(w.sum(dim=1), torch.ones(60))
    assert torch.equal(w, initial(name, labeled=labeled))


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"random", "uniform"}))
def test_an_initialization_that_looks_at_the_data_finds_groups_and_their_labels(name):
    labels = initial(name).argmax(dim=1).view(3, 20)
    assert (labels == labels[:, :1]).all()
    assert len(set(labels[:, 0].tolist())) == 3
    assert initial(name, labeled=True).argmax(dim=1).view(3, 20)[:, 0].tolist() == [2, 0, 1]


def test_recipes_know_the_initializations():
    assert CHOICES["init"] == set(INITIALIZERS)


# Augmentations: (x, positions or None, rng) -> x'


def augmentations():
    yield "warp of gray images", ImageWarp(), GRAY
    yield "warp of color images", ImageWarp(), COLOR
    rows = dataset_of(np.random.default_rng(0).normal(size=(30, *ROWS)))
    neighbors = (torch.arange(30)[:, None] + torch.arange(1, 4)) % 30
    yield "mixup of rows", NeighborMixup(rows, neighbors), ROWS
    yield "mixup of rows, some values dropped", NeighborMixup(rows, neighbors, dropout=0.5), ROWS


@pytest.mark.parametrize(("augment", "shape"), [a[1:] for a in augmentations()], ids=[a[0] for a in augmentations()])
@pytest.mark.parametrize("generated", [False, True])
def test_an_augmentation_changes_a_batch_by_its_own_random_numbers_alone(augment, shape, generated):
    x, index = torch.rand(8, *shape, generator=rng()) * 2 - 1, None if generated else torch.arange(8)
    before, state = x.clone(), torch.get_rng_state()
    first, again, other = (augment(x, index, rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, x)


# Networks: factories of (shape, width), or (shape, n_inputs, width)


@pytest.mark.parametrize("shape", [ROWS, GRAY, COLOR, (1, 28, 28)])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_fit_any_shape_and_can_be_trained(name, shape):
    factories = NETWORKS[name]
    for width in (2, 5):
        generated = factories.generator(shape, 7, width)(torch.randn(6, 7, generator=rng()))
        assert generated.shape == (6, *shape)
        if len(shape) == 3:
            assert generated.abs().max() <= 1
        for factory in (factories.discriminator, factories.e_net):
            body = factory(shape, width)
            features = body(generated.detach())
            assert features.shape[0] == 6
            assert features.dim() == 2
            features.square().sum().backward()
            assert all(parameter.grad.isfinite().all() for parameter in body.parameters())
