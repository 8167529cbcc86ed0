import math

import numpy as np
import pytest
import torch

from skganem import Recipe
from skganem.core.features.simclr import fit_encoders
from skganem.core.features.transforms import ImageWarp
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from tests.conftest import CPU, small_model, unscaled


def test_one_encoder_sees_images_of_one_contrast_and_the_other_of_many(monkeypatch):
    contrasts = []
    monkeypatch.setattr(ImageWarp, "__call__", lambda warp, x, index, rng: contrasts.append(warp.contrast) or x)
    dataset = unscaled(np.random.default_rng(0).uniform(-1, 1, (12, 64)), (1, 8, 8))
    model, rng = small_model((1, 8, 8)), torch.Generator().manual_seed(0)
    losses = fit_encoders(model, dataset, Recipe().but(encoder_steps=2), ImageWarp(contrast=0.7), rng, torch.float32)
    assert contrasts == [0.0] * 4 + [0.7] * 4
    assert len(losses) == 4
    halves = model.embed(dataset).chunk(2, dim=1)
    for half in halves:
        torch.testing.assert_close(half.norm(dim=1), torch.full((12,), 0.5**0.5))  # each counts as much as the other
    assert not torch.allclose(*halves, atol=0.1)


@pytest.mark.parametrize(("shape", "seen"), [((3, 70, 100), (3, 35, 50)), ((1, 40, 40), (1, 40, 40))])
def test_both_encoders_see_large_images_downsampled(shape, seen):
    rng, shapes = torch.Generator().manual_seed(0), []
    X = np.random.default_rng(0).uniform(-1, 1, (12, math.prod(shape)))
    dataset, model = unscaled(X, shape), small_model(shape)

    def flip(x, index, rng):
        shapes.append(tuple(x.shape[1:]))
        return x.flip(3)

    fit_encoders(model, dataset, Recipe().but(encoder_steps=2), flip, rng, torch.float32)
    assert shapes == [seen] * 8  # two encoders, of which each sees two views of two batches
    embedding = model.embed(dataset)
    assert embedding.shape == (12, 128)
    again = MixtureModel(NetworkSpec(shape, 2, 4, 4), DEFAULT_NETWORKS, 1, CPU).from_numpy(model.to_numpy())
    torch.testing.assert_close(again.embed(dataset), embedding, rtol=0, atol=0)
    other = unscaled(X + np.tile([0.01, -0.01], X.shape[1] // 2), shape)
    changed = (model.embed(other) - embedding).abs().max()
    assert (changed < 1e-5) == (seen != shape)  # what averages out within a square is not seen
