"""The M-step (Section 3.1 of the paper): one conditional GAN learns the data, weighted by soft labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skganem.core.data.dataset import endless_batches
from skganem.core.em.state import Training, finite, passes, update
from skganem.core.losses.gan import DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, DiscriminatorLoss, GeneratorLoss
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import autocast, frozen

R1_INTERVAL = 8


def m_step(training: Training, w: Tensor) -> tuple[float, float]:
    """Lines 5 to 8 of Algorithm 1: train D and G in turn, w fixed. Returns the mean L_G and L_D."""
    model, recipe, rng = training.model, training.recipe, training.rng
    generator, discriminator, _ = model.modules()
    optimizer_g, optimizer_d, _ = training.optimizers
    generator_loss, discriminator_loss = objectives(recipe)
    total = torch.zeros(2, device=model.device)
    n_steps = m_steps(recipe, len(w))
    generator.train(), discriminator.train()
    for step, index in enumerate(endless_batches(len(w), recipe.batch_size, n_steps, rng)):
        x, x_w = training.source.batch(index), w[index]
        c = balanced_classes(len(x), model.layout.n_clusters, rng)
        with autocast(model.device, training.dtype):
            fake = generator(model.noise(len(x), rng), c)
            real_logits, fake_logits = discriminator(x), discriminator(fake.detach())
        loss_d = discriminator_loss(real_logits.float(), x_w, fake_logits.float(), c, model.phi)
        update(optimizer_d, loss_d + lipschitz_penalty(training, x, x_w, step))

        with frozen(discriminator), autocast(model.device, training.dtype):
            fake_logits = discriminator(fake)
        loss_g = generator_loss(fake_logits.float(), c)
        update(optimizer_g, loss_g)
        if recipe.lipschitz == "clip":
            clip_weights(generator, recipe.clip)
        total += torch.stack([loss_g.detach(), loss_d.detach()])
    generator.eval(), discriminator.eval()
    loss_g, loss_d = finite(total / n_steps).tolist()
    return loss_g, loss_d


def m_steps(recipe: Recipe, n: int) -> int:
    """Return the number of batches in an M-step over n samples."""
    return passes(recipe.m_epochs, n, recipe.batch_size, recipe.min_m_steps, recipe.max_m_steps)


def objectives(recipe: Recipe) -> tuple[GeneratorLoss, DiscriminatorLoss]:
    """Look up L_G and L_D."""
    generator, discriminator = recipe.generator_loss, recipe.discriminator_loss
    return (
        GENERATOR_LOSSES[generator] if isinstance(generator, str) else generator,
        DISCRIMINATOR_LOSSES[discriminator] if isinstance(discriminator, str) else discriminator,
    )


def balanced_classes(n: int, n_clusters: int, rng: torch.Generator) -> Tensor:
    """Draw c ~ U (n,), every class equally often up to one, so that no batch lacks a class."""
    order = torch.randperm(n_clusters, generator=rng, device=rng.device)
    return order.repeat(-(-n // n_clusters))[:n]


def lipschitz_penalty(training: Training, x: Tensor, w: Tensor, step: int) -> Tensor | float:
    """Return what the recipe's Lipschitz constraint adds to L_D."""
    constraint, discriminator = training.recipe.lipschitz, training.model.discriminator
    if constraint == "r1":
        if step % R1_INTERVAL:
            return 0.0
        return training.recipe.r1_gamma / 2 * R1_INTERVAL * gradient_penalty(discriminator, x, w)
    return constraint(discriminator, x, w, step) if callable(constraint) else 0.0


def gradient_penalty(discriminator: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): mean squared gradient at real samples, of each sample's own units."""
    x = x.detach().requires_grad_(True)
    logits = discriminator(x)
    own = (w * logits[:, :-1]).sum() + logits[:, -1].sum()
    (gradient,) = torch.autograd.grad(own, x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


@torch.no_grad()
def clip_weights(generator: nn.Module, bound: float) -> None:
    """Section 4.4: bound the generator's weights, so that it is Lipschitz."""
    for parameter in generator.parameters():
        if parameter.dim() > 1:
            parameter.clamp_(-bound, bound)
