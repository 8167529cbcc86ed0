"""Features of images without labels, for the neighbour graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from skganem.core.augment import Augmentation
from skganem.core.data import Source, endless_batches
from skganem.core.losses import normalized_temperature_cross_entropy
from skganem.core.model import Model, shrunk
from skganem.core.recipe import Recipe
from skganem.core.runtime import autocast, seeded

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
    """Train an encoder to tell which two changed images show the same original (SimCLR, Chen et al. 2020).

    The encoder is added to the model. Large images are shrunken first, which saves most of the time. The E-net does not start
    from the encoder: it would inherit what the encoder overlooks.

    Returns
    -------
    list of float
        The loss of each step.

    Raises
    ------
    ValueError
        If training diverges.
    """
    (encoder, n_features), n_steps = model.add_encoder(), recipe.representation_steps
    head = projection_head(n_features, rng.initial_seed()).to(model.device)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=recipe.representation_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, n_steps))
    losses = []
    encoder.train()
    for step, index in enumerate(endless_batches(len(source), recipe.representation_batch_size, n_steps, rng)):
        if step % max(1, n_steps // 4) == 0:
            tell(f"learning features, batch {step} of {n_steps}")
        x = shrunk(source.batch(index))
        views = torch.cat([augment(x, index, rng), augment(x, index, rng)])
        with autocast(model.device, dtype):
            projected = head(encoder(views.contiguous(memory_format=torch.channels_last)))
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
