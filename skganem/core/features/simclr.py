"""Encoders that learn features of images without labels (SimCLR, Chen et al. 2020), for the neighbor graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from skganem.core.data.batches import endless_batches
from skganem.core.data.dataset import ArrayDataset
from skganem.core.data.images import downsample
from skganem.core.features.transforms import ImageWarp
from skganem.core.losses.self_supervised import nt_xent_loss
from skganem.core.networks.mixture import N_ENCODERS, MixtureModel
from skganem.core.recipe import Augmentation, Recipe
from skganem.core.runtime.device import autocast, channels_last
from skganem.core.runtime.rng import fork_rng

#: Dimensions of the projections that the loss compares; the features before the projection have more.
N_PROJECTED = 64
#: Temperature of NT-Xent. A lower one tells single images apart, a higher one merges classes (1.0: 3.5 % instead of 3.2).
TEMPERATURE = 0.5
#: Decay rates of Adam. The first is higher than the GAN's: this training has no opponent, and momentum helps.
BETAS = (0.9, 0.99)
#: Steps over which the learning rate rises: at once, the full rate would undo the initial weights.
WARMUP_STEPS = 50


def fit_encoders(
    model: MixtureModel,
    dataset: ArrayDataset,
    recipe: Recipe,
    augment: Augmentation,
    rng: torch.Generator,
    dtype: torch.dtype,
    log: Callable[[str], None] = lambda text: None,
) -> list[float]:
    """Train two encoders to tell which two views show the same image, and add them to the model.

    One sees images whose contrast is left alone, the other learns to overlook it (`view_transforms`). What misleads one of
    them seldom misleads the other. Large images are downsampled first, which saves most of the time. The E-net does not start
    from an encoder: it would inherit what that overlooks.

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
    for i, ((encoder, n_features), views) in enumerate(zip(model.add_encoder(), view_transforms(augment), strict=True)):
        head = projection_head(n_features, rng.initial_seed() + i).to(model.device)
        log(f"learning features, encoder {i + 1} of {N_ENCODERS}")
        losses += train_simclr(encoder, head, dataset, recipe, views, rng, dtype)
    return losses


def view_transforms(augment: Augmentation) -> tuple[Augmentation, Augmentation]:
    """Return the transforms of the views of each of the two encoders: an `ImageWarp` without contrast, and with it."""
    return replace(augment, contrast=0.0) if isinstance(augment, ImageWarp) else augment, augment


def train_simclr(
    encoder: nn.Module,
    head: nn.Module,
    dataset: ArrayDataset,
    recipe: Recipe,
    augment: Augmentation,
    rng: torch.Generator,
    dtype: torch.dtype,
) -> list[float]:
    """Train one encoder, and its projection head; return the loss of each step."""
    parameters, n_steps = [*encoder.parameters(), *head.parameters()], recipe.encoder_steps
    optimizer = torch.optim.Adam(parameters, lr=recipe.encoder_learning_rate, betas=BETAS, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, n_steps))
    losses = []
    encoder.train()
    for index in endless_batches(len(dataset), recipe.encoder_batch_size, n_steps, rng):
        x = downsample(dataset.get_batch(index))
        views = torch.cat([augment(x, index, rng), augment(x, index, rng)])
        with autocast(x.device, dtype):
            projected = head(encoder(channels_last(views)))
        a, b = projected.float().chunk(2)
        loss = nt_xent_loss(a, b, TEMPERATURE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    encoder.eval()
    if losses and not torch.isfinite(losses[-1]):
        raise ValueError(
            "Learning features from the images diverged. Try precision='float32', or a recipe with a smaller "
            "encoder_learning_rate."
        )
    return [float(loss) for loss in losses]


def projection_head(n_features: int, seed: int) -> nn.Sequential:
    """Build the layers between the features and the contrastive loss; they are dropped afterwards."""
    with fork_rng(seed):
        hidden = [nn.Linear(n_features, n_features), nn.BatchNorm1d(n_features), nn.LeakyReLU(0.2)]
        return nn.Sequential(*hidden, nn.Linear(n_features, N_PROJECTED))


def warmup_cosine(step: int, n_steps: int) -> float:
    """Return the factor of the learning rate at a step: a linear warm-up, then a cosine."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * min(step / max(n_steps, 1), 1.0)))
