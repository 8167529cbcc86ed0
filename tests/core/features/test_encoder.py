import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skganem import Recipe
from skganem.core.features.encoder import N_VIEWS, fit_encoder, views_of, warmup_cosine
from skganem.core.features.transforms import ImageWarp
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from tests.conftest import CPU, small_model, unscaled, weights


def rng():
    return torch.Generator().manual_seed(0)


def two_steps(model, dataset, augment, **changes):
    recipe = Recipe().but(**{"encoder_steps": 2, "encoder_batch_size": 8, **changes})
    return fit_encoder(model, dataset, recipe, augment, rng(), torch.float32)


def test_half_of_the_views_have_another_contrast(monkeypatch):
    contrasts = []
    monkeypatch.setattr(ImageWarp, "__call__", lambda warp, x, index, rng: contrasts.append(warp.contrast) or x)
    dataset = unscaled(np.random.default_rng(0).uniform(-1, 1, (12, 64)), (1, 8, 8))
    model = small_model((1, 8, 8))
    assert len(two_steps(model, dataset, ImageWarp(contrast=0.7))) == 2
    assert contrasts == [0.0, 0.7, 0.0, 0.7] * 2
    torch.testing.assert_close(model.embed(dataset).norm(dim=1), torch.ones(12))


def test_views_are_of_the_same_samples_one_below_the_other():
    x, index, seen = torch.randn(6, 1, 8, 8, generator=rng()), torch.tensor([3, 1, 4, 1, 5, 9]), []

    def augment(x, index, generator):
        seen.append(index)
        return x + torch.rand(len(x), 1, 1, 1, generator=generator)

    views = views_of(x, index, augment, rng())
    assert views.shape == (6 * N_VIEWS, 1, 8, 8)
    assert all(each is index for each in seen)
    shifts = (views.view(N_VIEWS, 6, 64) - x.view(6, 64)).permute(0, 1, 2)
    torch.testing.assert_close(shifts, shifts[:, :, :1].expand_as(shifts), atol=1e-5, rtol=0)
    assert len(shifts[:, :, 0].unique()) == 6 * N_VIEWS


@pytest.mark.parametrize(("shape", "seen"), [((3, 70, 100), (3, 35, 50)), ((1, 40, 40), (1, 40, 40))])
def test_the_encoder_sees_large_images_downsampled(shape, seen):
    shapes = []
    X = np.random.default_rng(0).uniform(-1, 1, (12, math.prod(shape)))
    dataset, model = unscaled(X, shape), small_model(shape)

    def flip(x, index, rng):
        shapes.append(tuple(x.shape[1:]))
        return x.flip(3)

    two_steps(model, dataset, flip)
    assert shapes == [seen] * 2 * N_VIEWS
    embedding = model.embed(dataset)
    assert embedding.shape == (12, model.encoder.n_features)
    again = MixtureModel(NetworkSpec(shape, 2, 4, 4), DEFAULT_NETWORKS, 1, CPU).from_numpy(model.to_numpy())
    torch.testing.assert_close(again.embed(dataset), embedding, rtol=0, atol=0)
    other = unscaled(X + np.tile([0.01, -0.01], X.shape[1] // 2), shape)
    changed = (model.embed(other) - embedding).abs().max()
    assert (changed < 1e-5) == (seen != shape)  # what averages out within a square is not seen


def patterns():
    """Return a data set of images: 3 patterns, with noise."""
    y, draws = np.arange(60) % 3, np.random.default_rng(0)
    return unscaled(draws.normal(size=(3, 64))[y] + 0.2 * draws.normal(size=(60, 64)), (1, 8, 8)), torch.from_numpy(y)


def test_the_loss_falls_and_images_that_are_alike_have_alike_features():
    dataset, y = patterns()
    model = small_model((1, 8, 8))
    losses = two_steps(model, dataset, ImageWarp(), encoder_steps=60, encoder_batch_size=32)
    assert np.mean(losses[-10:]) < losses[0] - 2
    features = model.embed(dataset)
    alike = features @ features.T
    same = y == y[:, None]
    assert alike[same].mean() > alike[~same].mean() + 0.3


def test_each_step_is_told_and_the_encoder_can_answer_afterwards():
    dataset, _ = patterns()
    model, told = small_model((1, 8, 8)), []
    e_net = weights(model.e_net)
    fit_encoder(model, dataset, Recipe().but(encoder_steps=3), ImageWarp(), rng(), torch.float32, lambda: told.append(1))
    assert len(told) == 3
    assert not any(module.training for module in model.encoder.modules())
    assert torch.equal(weights(model.e_net), e_net)  # which does not start from the encoder


def test_without_steps_the_encoder_is_untrained():
    dataset, _ = patterns()
    model, other = small_model((1, 8, 8)), small_model((1, 8, 8))
    assert two_steps(model, dataset, ImageWarp(), encoder_steps=0) == []
    other.add_encoder()
    assert torch.equal(weights(model.encoder), weights(other.encoder))


def test_the_encoder_does_not_depend_on_the_number_of_clusters():
    dataset, _ = patterns()
    trained = []
    for n_clusters in (2, 7):
        model = small_model((1, 8, 8), n_clusters)
        two_steps(model, dataset, ImageWarp())
        trained.append(weights(model.encoder))
    assert torch.equal(*trained)


def test_an_encoder_survives_the_way_through_numpy():
    dataset, _ = patterns()
    model, other = small_model((1, 8, 8)), small_model((1, 8, 8), n_clusters=5)
    two_steps(model, dataset, ImageWarp())
    assert other.encoder is None
    arrays = model.encoder_to_numpy()
    for value in arrays.values():
        value.setflags(write=False)  # as in a memory map, which torch would warn of
    other.load_encoder(arrays)
    assert torch.equal(other.embed(dataset), model.embed(dataset))
    x = dataset.get_batch(slice(None))
    torch.testing.assert_close(model.embed(dataset), F.normalize(model.encoder(x).detach(), dim=1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_steps", [1, 2, 8, 200, 1000])
def test_the_learning_rate_rises_and_falls(n_steps):
    factors = [warmup_cosine(step, n_steps) for step in range(n_steps)]
    warmup = min(50, max(1, n_steps // 4))
    assert all(0 < factor <= 1 for factor in factors)
    assert all(a < b for a, b in pairwise(factors[:warmup]))
    assert all(a > b for a, b in pairwise(factors[warmup:]))
    assert factors[0] == pytest.approx(1 / warmup)
    assert warmup_cosine(n_steps, n_steps) == pytest.approx(0)
