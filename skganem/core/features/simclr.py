"""Features of images without labels, for the neighbour graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from skganem.core.data.dataset import Source, endless_batches
from skganem.core.features.transforms import Augmentation, ImageWarp
from skganem.core.losses.gan import normalized_temperature_cross_entropy
from skganem.core.networks.mixture import N_ENCODERS, Model, shrunk
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import autocast, packed, seeded

N_PROJECTED = 64


def learn_features(
    model: Model,
    source: Source,
    recipe: Recipe,
    augment: Augmentation,
    rng: torch.Generator,
    dtype: torch.dtype,
    tell: Callable[[str], None] = lambda text: None,
) -> list[float]:
    """Train two encoders to tell which two changed images show the same original (SimCLR, Chen et al. 2020).

    One sees images whose contrast is left alone, the other learns to overlook it (`kinds_of_views`). What one of them is
    misled by, the other seldom is. They are added to the model. Large images are shrunken first, which saves most of the
    time. The E-net does not start from an encoder: it would inherit what that overlooks.

    Returns
    -------
    list of float
        The loss of each step, first those of one, then those of the other.

    Raises
    ------
    ValueError
        If training diverges.
    """
    losses: list[float] = []
    for i, ((encoder, n_features), views) in enumerate(zip(model.add_encoder(), kinds_of_views(augment), strict=True)):
        head = projection_head(n_features, rng.initial_seed() + i).to(model.device)
        tell(f"learning features, encoder {i + 1} of {N_ENCODERS}")
        losses += learn_to_recognize(encoder, head, source, recipe, views, rng, dtype)
    return losses


def kinds_of_views(augment: Augmentation) -> tuple[Augmentation, Augmentation]:
    """Return the changes by which each of the two encoders learns: those of an `ImageWarp` without contrast, and all."""
    return replace(augment, contrast=0.0) if isinstance(augment, ImageWarp) else augment, augment


def learn_to_recognize(
    encoder: nn.Module,
    head: nn.Module,
    source: Source,
    recipe: Recipe,
    augment: Augmentation,
    rng: torch.Generator,
    dtype: torch.dtype,
) -> list[float]:
    """Train one encoder, and its projection head; return the loss of each step."""
    parameters, n_steps = [*encoder.parameters(), *head.parameters()], recipe.representation_steps
    optimizer = torch.optim.Adam(parameters, lr=recipe.representation_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, n_steps))
    losses = []
    encoder.train()
    for index in endless_batches(len(source), recipe.representation_batch_size, n_steps, rng):
        x = shrunk(source.batch(index))
        views = torch.cat([augment(x, index, rng), augment(x, index, rng)])
        with autocast(x.device, dtype):
            projected = head(encoder(packed(views)))
        a, b = projected.float().chunk(2)
        loss = normalized_temperature_cross_entropy(a, b, recipe.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    encoder.eval()
    if losses and not torch.isfinite(losses[-1]):
        raise ValueError(
            "Learning features from the images diverged. Try precision='float32', or a recipe with a smaller "
            "representation_rate."
        )
    return [float(loss) for loss in losses]


def projection_head(n_features: int, seed: int) -> nn.Sequential:
    """Build the layers between the features and the contrastive loss; they are dropped afterwards."""
    with seeded(seed):
        hidden = [nn.Linear(n_features, n_features), nn.BatchNorm1d(n_features), nn.LeakyReLU(0.2)]
        return nn.Sequential(*hidden, nn.Linear(n_features, N_PROJECTED))


def warm_cosine(step: int, n_steps: int, warm: int = 50) -> float:
    """Return the factor of the learning rate at a step: up over `warm` steps, then down along a cosine."""
    return min(1.0, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * min(step / max(n_steps, 1), 1.0)))
