"""An encoder that learns features of images without labels, for the neighbor graph (VICReg, Bardes et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from skganem.core.data.batches import endless_batches
from skganem.core.data.dataset import ArrayDataset
from skganem.core.data.images import downsample
from skganem.core.features.transforms import ImageWarp
from skganem.core.losses.self_supervised import vicreg_loss
from skganem.core.networks.mixture import MixtureModel
from skganem.core.recipe import Augmentation, Recipe
from skganem.core.runtime.device import autocast, channels_last
from skganem.core.runtime.distributed import current
from skganem.core.runtime.rng import fork_rng

#: Views of an image in a batch. For the same number of forward passes, four of 128 images learn faster than two of 256
#: ("Features" in docs/defaults.rst).
N_VIEWS = 4
#: Dimensions of the projections that the loss compares; the features before the projection have more. Not tuned.
N_PROJECTED = 64
#: Decay rates of Adam. The first is higher than the GAN's: this training has no opponent, and momentum helps. Not tuned.
BETAS = (0.9, 0.99)
#: Steps over which the learning rate rises: at once, the full rate would undo the initial weights. Not tuned.
WARMUP_STEPS = 50


def fit_encoder(
    model: MixtureModel,
    dataset: ArrayDataset,
    recipe: Recipe,
    augment: Augmentation,
    rng: torch.Generator,
    dtype: torch.dtype,
    advance: Callable[[], None] = lambda: None,
) -> list[float]:
    """Train an encoder whose features are alike for views of the same image, and add it to the model.

    Large images are downsampled first, which saves most of the time. The E-net does not start from the encoder: it would
    inherit what that overlooks. `advance` is called after each step.

    Returns
    -------
    list of float
        The loss of each step.

    Raises
    ------
    ValueError
        If training diverges.
    """
    encoder = model.add_encoder()
    head = projection_head(encoder.n_features, rng.initial_seed()).to(model.device)
    projector, n_steps = nn.Sequential(encoder, head), recipe.encoder_steps
    parameters = list(projector.parameters())
    optimizer = torch.optim.Adam(parameters, lr=recipe.encoder_learning_rate, betas=BETAS, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, n_steps))
    losses = []
    encoder.train()
    for index in endless_batches(len(dataset), recipe.encoder_batch_size, n_steps, rng):
        views = views_of(downsample(dataset.get_batch(index)), index, augment, rng)
        with current().parallel(projector), autocast(model.device, dtype):
            projected = projector(channels_last(views))
        loss = vicreg_loss(projected.float().view(N_VIEWS, len(index), -1))
        optimizer.zero_grad()
        loss.backward()
        current().average_gradients(parameters)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        advance()
    encoder.eval()
    if losses and not current().all_true(bool(torch.isfinite(losses[-1]))):
        raise ValueError(
            "Learning features from the images diverged. Try precision='float32', or a recipe with a smaller "
            "encoder_learning_rate."
        )
    return [float(loss) for loss in losses]


def views_of(x: Tensor, index: Tensor, augment: Augmentation, rng: torch.Generator) -> Tensor:
    """Return the views of a batch (n, c, h, w), one below the other: (N_VIEWS * n, c, h, w).

    An `ImageWarp` changes the contrast in half of them. So the encoder overlooks contrast where it must, and still sees it.
    """
    plain = replace(augment, contrast=0.0) if isinstance(augment, ImageWarp) else augment
    return torch.cat([(augment if view % 2 else plain)(x, index, rng) for view in range(N_VIEWS)])


def projection_head(n_features: int, seed: int) -> nn.Sequential:
    """Build the layers between the features and the loss; they are dropped afterwards."""
    with fork_rng(seed):
        hidden = [nn.Linear(n_features, n_features), nn.BatchNorm1d(n_features), nn.LeakyReLU(0.2)]
        return nn.Sequential(*hidden, nn.Linear(n_features, N_PROJECTED))


def warmup_cosine(step: int, n_steps: int) -> float:
    """Return the factor of the learning rate at a step: a linear warm-up, a quarter of the steps at most, then a cosine."""
    warmup = min(WARMUP_STEPS, max(1, n_steps // 4))
    return min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * min(step / max(n_steps, 1), 1.0)))
