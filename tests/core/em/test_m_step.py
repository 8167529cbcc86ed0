import numpy as np
import pytest
import torch

from skganem import Recipe
from skganem.core.em import m_step as m_step_module
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


@pytest.mark.parametrize(("shape", "factor"), [((1, 8, 8), 1), ((64,), 2)])
def test_an_m_step_is_longer_for_more_samples_and_for_rows(shape, factor):
    recipe = Recipe().but(min_m_steps=30, m_epochs=5, max_m_steps=100, batch_size=16)
    found = [m_step_module.n_m_steps(recipe, n, shape) for n in (1, 96, 160, 320, 10**6)]
    assert found == [factor * n_steps for n_steps in (30, 30, 50, 100, 100)]


def test_classes_are_drawn_uniformly():
    counts = torch.bincount(balanced_classes(65, 4, torch.Generator().manual_seed(0)), minlength=4)
    assert counts.max() - counts.min() <= 1


def test_names_of_losses():
    assert resolve_losses(Recipe.paper()) == (gan.generator_likelihood, gan.discriminator_all)
    assert resolve_losses(Recipe.released()) == (gan.generator_one_hot, gan.discriminator_released)
    assert resolve_losses(Recipe()) == (gan.generator_normalized_likelihood, gan.discriminator_own)
    assert resolve_losses(Recipe().but(generator_loss="non_saturating"))[0] is gan.generator_non_saturating


@pytest.mark.parametrize("loss", ["likelihood", "normalized_likelihood", "non_saturating", "one_hot"])
@pytest.mark.parametrize("discriminator_loss", ["all", "own"])
def test_losses_by_name(blobs, loss, discriminator_loss):
    result = fit_core(blobs[0], generator_loss=loss, discriminator_loss=discriminator_loss, n_warmup_iter=0)
    assert np.isfinite([record["loss_g"] for record in result.history]).all()


def test_own_losses(blobs):
    calls = []

    def loss_g(logits, c):
        calls.append("g")
        return -logits[:, -1].mean()

    def loss_d(real, w, fake, c, phi):
        calls.append("d")
        return (fake[:, -1] - real[:, -1]).relu().mean()

    fit_core(blobs[0], generator_loss=loss_g, discriminator_loss=loss_d, max_iter=1, n_warmup_iter=0)
    assert calls == ["d", "g"] * (len(calls) // 2)
    assert len(calls) >= 6


def test_clipping_bounds_the_discriminator(blobs):
    result = fit_core(blobs[0], lipschitz="clip", clip=0.03)
    matrices = [p for p in result.model.discriminator.parameters() if p.dim() > 1]
    assert max(float(p.detach().abs().max()) for p in matrices) <= 0.03 + 1e-9
    assert max(float(p.detach().abs().max()) for p in fit_core(blobs[0]).model.discriminator.parameters() if p.dim() > 1) > 0.03


@pytest.mark.parametrize("lipschitz", ["r1", lambda discriminator, x, w, step: 0.1 * discriminator(x).square().mean()])
def test_other_lipschitz_constraints(blobs, lipschitz):
    plain, constrained = fit_core(blobs[0], lipschitz=None), fit_core(blobs[0], lipschitz=lipschitz)
    assert not torch.equal(weights(plain.model.discriminator), weights(constrained.model.discriminator))


@pytest.mark.parametrize(
    ("lr_decay", "iteration", "expected"), [(None, 1, [1, 1, 1, 0.5]), (None, 3, [1, 1, 1, 0.5]), (0.5, 1, [0.5] * 4)]
)
def test_each_m_step_ends_with_small_learning_rates(blobs, monkeypatch, lr_decay, iteration, expected):
    monkeypatch.setattr(m_step_module, "n_m_steps", lambda *args: 4)
    state = state_of(blobs[0], learning_rates=(1e-3, 2e-3, 5e-3), lr_decay=lr_decay)
    state.iteration, seen, step = iteration, [], m_step_module.gradient_step

    def spy(optimizer, loss):
        seen.append((state.optimizers.index(optimizer), optimizer.param_groups[0]["lr"]))
        step(optimizer, loss)

    monkeypatch.setattr(m_step_module, "gradient_step", spy)
    m_step(state, one_hot(blobs[1], 3))
    assert [rate for network, rate in seen if network == 0] == pytest.approx([1e-3 * factor for factor in expected])
    assert [rate for network, rate in seen if network == 1] == pytest.approx([2e-3 * factor for factor in expected])
    assert state.optimizers[2].param_groups[0]["lr"] == 5e-3
