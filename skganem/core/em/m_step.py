"""The M-step (Section 3.1 of the paper): one conditional GAN learns the data, weighted by soft labels."""

from __future__ import annotations

import torch
from torch import Tensor

from skganem.core.data.batches import endless_batches
from skganem.core.data.shapes import Shape, is_image
from skganem.core.em.state import EMState, check_finite, gradient_step, m_step_rate, steps_of_epochs
from skganem.core.losses.gan import DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, DiscriminatorLoss, GeneratorLoss
from skganem.core.losses.lipschitz import clip_weights, r1_penalty
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import autocast, freeze

#: Batches of rows for each one of images, which costs several times as much. With as many, samples of two rings lay 5.7
#: times as far from the nearest point as these from each other, and with twice as many 1.3 times.
ROW_STEPS = 2


def m_step(state: EMState, w: Tensor) -> tuple[float, float]:
    """Lines 4 to 9 of Algorithm 1: train D and G in turn, w fixed. Returns the mean L_G and L_D.

    D takes the first step of each pair, unlike in Algorithm 1: an untrained D has nothing to teach G.
    """
    model, recipe, rng = state.model, state.recipe, state.rng
    generator, discriminator, _ = model.networks()
    optimizer_g, optimizer_d, _ = state.optimizers
    generator_loss, discriminator_loss = resolve_losses(recipe)
    total = torch.zeros(2, device=model.device)
    n_steps = n_m_steps(recipe, len(w), state.dataset.shape)
    generator.train(), discriminator.train()
    for step, index in enumerate(endless_batches(len(w), recipe.batch_size, n_steps, rng)):
        for network in (0, 1):
            state.scale_learning_rate(network, m_step_rate(recipe, state.iteration, step / n_steps))
        x, x_w = state.dataset.get_batch(index), w[index]
        c = balanced_classes(len(x), model.spec.n_clusters, rng)
        with autocast(model.device, state.dtype):
            fake = generator(model.noise(len(x), rng), c)
            real_logits, fake_logits = discriminator(x), discriminator(fake.detach())
        loss_d = discriminator_loss(real_logits.float(), x_w, fake_logits.float(), c, model.phi)
        gradient_step(optimizer_d, loss_d + lipschitz_penalty(state, x, x_w, step))
        if recipe.lipschitz == "clip":
            clip_weights(discriminator, recipe.clip)

        with freeze(discriminator), autocast(model.device, state.dtype):
            fake_logits = discriminator(fake)
        loss_g = generator_loss(fake_logits.float(), c)
        gradient_step(optimizer_g, loss_g)
        total += torch.stack([loss_g.detach(), loss_d.detach()])
    generator.eval(), discriminator.eval()
    loss_g, loss_d = check_finite(total / n_steps).tolist()
    return loss_g, loss_d


def update_phi(state: EMState, w: Tensor) -> None:
    """Line 3 of Algorithm 1: phi_i = N_i / N, with N_i the sum of w_i over all samples."""
    state.model.phi = w.mean(dim=0)


def n_m_steps(recipe: Recipe, n: int, shape: Shape) -> int:
    """Return the number of batches in an M-step over n samples: those of the recipe for images, more for rows."""
    n_steps = steps_of_epochs(recipe.m_epochs, n, recipe.batch_size, recipe.min_m_steps, recipe.max_m_steps)
    return n_steps if is_image(shape) else ROW_STEPS * n_steps


def resolve_losses(recipe: Recipe) -> tuple[GeneratorLoss, DiscriminatorLoss]:
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


def lipschitz_penalty(state: EMState, x: Tensor, w: Tensor, step: int) -> Tensor | float:
    """Return what the recipe's Lipschitz constraint adds to L_D."""
    constraint, discriminator = state.recipe.lipschitz, state.model.discriminator
    if constraint == "r1":
        return r1_penalty(discriminator, x, w, step, state.recipe.r1_gamma)
    return constraint(discriminator, x, w, step) if callable(constraint) else 0.0
