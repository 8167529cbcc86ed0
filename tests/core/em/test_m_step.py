import numpy as np
import pytest
import torch

from skganem import Recipe
from skganem.core.em.m_step import balanced_classes, m_step, resolve_losses
from skganem.core.losses import gan
from tests.conftest import fit_core, one_hot, state_of, weights


def test_the_generator_learns_the_clusters(blobs):
    """After M-steps with known w, the samples of each class lie where that class lies."""
    X, y = blobs
    state = state_of(X, min_m_steps=400, max_m_steps=400, width=16)
    m_step(state, one_hot(y, 3))
    x = state.dataset.get_batch(slice(None))
    centers = torch.stack([x[torch.as_tensor(y == i)].mean(0) for i in range(3)])
    generated = state.model.sample(torch.arange(3).repeat_interleave(200), torch.Generator().manual_seed(1))
    nearest = torch.cdist(generated, centers).argmin(1)
    assert (nearest == torch.arange(3).repeat_interleave(200)).float().mean() > 0.9


def test_classes_are_drawn_uniformly():
    counts = torch.bincount(balanced_classes(65, 4, torch.Generator().manual_seed(0)), minlength=4)
    assert counts.max() - counts.min() <= 1


def test_names_of_losses():
    assert resolve_losses(Recipe.paper()) == (gan.generator_likelihood, gan.discriminator_all)
    assert resolve_losses(Recipe.released()) == (gan.generator_one_hot, gan.discriminator_all)
    assert resolve_losses(Recipe()) == (gan.generator_normalized_likelihood, gan.discriminator_own)
    assert resolve_losses(Recipe().but(generator_loss="non_saturating"))[0] is gan.generator_non_saturating


@pytest.mark.parametrize("loss", ["likelihood", "normalized_likelihood", "non_saturating", "one_hot"])
@pytest.mark.parametrize("discriminator_loss", ["all", "own"])
def test_losses_by_name(blobs, loss, discriminator_loss):
    result = fit_core(blobs[0], generator_loss=loss, discriminator_loss=discriminator_loss)
    assert np.isfinite([record["loss_g"] for record in result.history]).all()


def test_own_losses(blobs):
    calls = []

    def loss_g(logits, c):
        calls.append("g")
        return -logits[:, -1].mean()

    def loss_d(real, w, fake, c, phi):
        calls.append("d")
        return (fake[:, -1] - real[:, -1]).relu().mean()

    fit_core(blobs[0], generator_loss=loss_g, discriminator_loss=loss_d, max_iter=1)
    assert calls == ["d", "g"] * (len(calls) // 2)
    assert len(calls) >= 6


def test_clipping_bounds_the_generator(blobs):
    result = fit_core(blobs[0], lipschitz="clip", clip=0.03)
    matrices = [p for p in result.model.generator.parameters() if p.dim() > 1]
    assert max(float(p.detach().abs().max()) for p in matrices) <= 0.03 + 1e-9
    assert max(float(p.detach().abs().max()) for p in fit_core(blobs[0]).model.generator.parameters() if p.dim() > 1) > 0.03


@pytest.mark.parametrize("lipschitz", ["r1", lambda discriminator, x, w, step: 0.1 * discriminator(x).square().mean()])
def test_other_lipschitz_constraints(blobs, lipschitz):
    plain, constrained = fit_core(blobs[0]), fit_core(blobs[0], lipschitz=lipschitz)
    assert not torch.equal(weights(plain.model.discriminator), weights(constrained.model.discriminator))
