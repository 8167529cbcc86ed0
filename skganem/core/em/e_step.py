"""The E-step (Section 3.2 of the paper): the E-net learns which cluster a sample is of."""

from __future__ import annotations

import copy
import math
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from skganem.core.data.dataset import batches, endless_batches
from skganem.core.data.shapes import is_image
from skganem.core.em.state import Training, finite, passes, update
from skganem.core.losses.gan import e_net_loss, of_class, soft_cross_entropy
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import autocast, packed


def e_step(training: Training, w: Tensor) -> float:
    """Lines 9 to 13 of Algorithm 1: train the E-net on generated samples. Returns the mean L_E.

    Beyond Eq. 5, the E-net sees real samples: its answer to a changed sample is drawn to the sample's sharpened w, as far
    as w is sure of it. Uniform w, as Algorithm 1 starts with, says nothing, and has no effect. The E-step has up to
    `e_rounds` rounds, until the E-net agrees with w on real samples: w must not be forgotten before it is learned. Where w is
    often wrong, it hardly does, so the longer rounds are, the fewer: else it learned the errors, too.
    """
    recipe = training.recipe
    target, weight = sharpen(w, recipe.sharpening), recipe.consistency * certainty(w)
    sharpened = training.heard and recipe.consistency and recipe.sharpening > 1
    training.previous_e_net = copy.deepcopy(training.model.e_net) if sharpened else None
    tolerance = recipe.e_tol if is_image(training.source.shape) else recipe.e_tol_rows
    losses = []
    for _ in range(min(recipe.e_rounds, recipe.max_e_steps // e_steps(recipe, len(w)))):
        losses += e_round(training, target, weight)
        if len(training.known) and recipe.e_epsilon is not None:
            fit_labelled(training, recipe.e_epsilon)
        recalibrate(training)
        if not recipe.consistency or disagreement(training, w) <= tolerance:
            break
    return float(finite(torch.stack(losses).mean()))


def e_steps(recipe: Recipe, n: int) -> int:
    """Return the number of batches in a round of the E-step over n samples."""
    return passes(recipe.e_epochs, n, recipe.e_batch_size, recipe.min_e_steps, recipe.max_e_steps)


def e_round(training: Training, target: Tensor, weight: Tensor) -> list[Tensor]:
    """Train the E-net on a round's batches, and give it the running mean of its weights; returns the losses.

    The mean is nearer to the minimum than the last weights, which the last few batches have moved about (Polyak and
    Juditsky 1992). It begins anew in each round: weights from before would hold back what the E-net has yet to learn.
    """
    recipe, e_net = training.recipe, training.model.e_net
    parameters = [parameter.detach() for parameter in e_net.parameters()]
    mean = [parameter.clone() for parameter in parameters]
    losses = []
    e_net.train()
    n_steps = e_steps(recipe, len(target))
    for step, index in enumerate(endless_batches(len(target), recipe.e_batch_size, n_steps, training.rng)):
        losses.append(e_batch(training, index, target[index], weight[index]))
        # The plain mean of the first steps, until it is as long as the decay says.
        get_ema_multi_avg_fn(min(recipe.e_averaging, step / (step + 1)))(mean, parameters, step)
    for parameter, averaged in zip(parameters, mean, strict=True):
        parameter.copy_(averaged)
    return losses


def e_batch(training: Training, index: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Train the E-net on one batch of generated, real and labelled samples; returns its loss."""
    recipe = training.recipe
    losses, real = [], []
    if training.heard > 0:
        losses.append(e_loss(training, [generated_batch(training, recipe.e_batch_size)]) * training.heard)
    if recipe.consistency:
        real.append((change(training, training.source.batch(index), index), target, weight))
    if len(training.known) and recipe.e_epsilon is None:
        real.append(labelled_batch(training, max(2, recipe.e_batch_size // 2)))
    if real:
        # Generated and real samples pass separately: batch normalisation must not mix their statistics.
        losses.append(e_loss(training, real))
    loss = torch.stack(losses).sum()
    update(training.optimizers[2], loss)
    return loss.detach()


#: Samples (n, \*shape), the soft labels wanted of them (n, K), and the weights of their terms (n,).
Part: TypeAlias = tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def generated_batch(training: Training, n: int) -> Part:
    """Draw n samples G(z, c), c ~ phi, with c one-hot (Eq. 5) and a weight.

    While the generator is imperfect, Eq. 5 would teach the E-net its mistakes. With `weigh_generated`, a sample's weight has
    the factor 2 D_c(G(z, c)): close to 0 where the discriminator is sure that it does not belong to cluster c, and 1 where
    it can't tell; when generated and real samples are alike, all are 1.

    With w raised to the power beta on real samples, the factor w_c(G(z, c))^(beta - 1), by the E-net before this E-step, has
    generated samples say the same: those of cluster c are then spread as w_c^beta P_r.
    """
    model, recipe, rng = training.model, training.recipe, training.rng
    c = classes_by_prior(model.phi, n, rng)
    weight = torch.ones(n, device=model.device)
    with autocast(model.device, training.dtype):
        x = model.generator(model.noise(n, rng), c)
        if recipe.weigh_generated:
            weight *= 2 * torch.sigmoid(of_class(model.discriminator(x).float(), c))
        if training.previous_e_net is not None:
            old_w = torch.softmax(training.previous_e_net(x).float(), dim=1)
            weight *= of_class(old_w, c) ** (recipe.sharpening - 1)
    return change(training, x.float(), None), F.one_hot(c, model.layout.n_clusters).float(), weight


def classes_by_prior(phi: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw c ~ phi (n,) by systematic sampling: every class as often as phi says, up to one."""
    points = (torch.arange(n, device=phi.device) + torch.rand(1, generator=rng, device=rng.device)) / n
    return torch.searchsorted(phi.cumsum(0), points).clamp_(max=len(phi) - 1)


def labelled_batch(training: Training, n: int) -> Part:
    """Draw n labelled samples, their classes in the proportions phi, and change them."""
    phi, labels = training.model.phi, training.labels
    probability = (phi / training.counts.clamp_min(1))[labels] + 1e-12
    picks = torch.multinomial(probability, n, replacement=True, generator=training.rng)
    index = training.known[picks]
    x = change(training, training.source.batch(index), index)
    return x, F.one_hot(labels[picks], len(phi)).float(), torch.ones(n, device=x.device)


def change(training: Training, x: Tensor, index: Tensor | None) -> Tensor:
    """Apply the augmentation, if there is one."""
    return x if training.augment is None else training.augment(x, index, training.rng)


def e_loss(training: Training, parts: list[Part]) -> Tensor:
    """Sum the parts' mean weighted cross-entropies, from one forward pass of the E-net."""
    x = torch.cat([part[0] for part in parts])
    with autocast(training.model.device, training.dtype):
        logits = training.model.e_net(packed(x)).float()
    each = zip(logits.split([len(part[0]) for part in parts]), parts, strict=True)
    losses = [(weight * soft_cross_entropy(part, target)).mean() for part, (_, target, weight) in each]
    return torch.stack(losses).sum()


def fit_labelled(training: Training, epsilon: float) -> None:
    """Section 5.3: train the E-net on the labelled samples until its error on them is at most `epsilon`.

    The error is measured after 1, 2, 4, 8... passes, since batch normalisation is calibrated for it. There are no more batches
    than in a round of the E-step, or one pass: samples that are alike and have different labels are never learned.
    """
    model, known, labels, size = training.model, training.known, training.labels, training.recipe.e_batch_size
    if len(known) == 1:  # batch normalisation needs two
        known, labels = known.repeat(2), labels.repeat(2)
    labelled = training.source.subset(known)
    n_passes = max(1, e_steps(training.recipe, len(training.source)) // math.ceil(len(known) / size))
    for n_done in range(1, n_passes + 1):
        model.e_net.train()
        for batch in batches(len(known), size, training.rng):
            with autocast(model.device, training.dtype):
                logits = model.e_net(labelled.batch(batch)).float()
            update(training.optimizers[2], e_net_loss(logits, labels[batch]))
        if n_done & (n_done - 1):  # no power of 2
            continue
        recalibrate(training)
        if float((model.posterior(labelled).argmax(dim=1) != labels).float().mean()) <= epsilon:
            break


@torch.no_grad()
def recalibrate(training: Training, n_samples: int = 4096) -> None:
    """Measure the E-net's BatchNorm statistics on real samples, which it is going to be asked about."""
    e_net = training.model.e_net
    norms = [layer for layer in e_net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
    e_net.train()
    n = len(training.source)
    try:
        for index in endless_batches(n, 256, -(-min(n, n_samples) // 256), training.rng):
            e_net(training.source.batch(index))
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    e_net.eval()


@torch.no_grad()
def disagreement(training: Training, w: Tensor, n_samples: int = 2048) -> float:
    """Return the share of samples whose class by the E-net is not that of w, weighted by w's certainty."""
    model, n = training.model, len(training.source)
    index = torch.randperm(n, generator=training.rng, device=training.rng.device)[:n_samples]
    weight = certainty(w[index])
    labels = torch.cat([model.e_net(training.source.batch(part)).argmax(dim=1) for part in index.split(256)])
    return float((weight * (labels != w[index].argmax(dim=1))).sum() / weight.sum().clamp_min(1e-12))


def sharpen(w: Tensor, exponent: float) -> Tensor:
    """Raise soft labels to a power and normalise them: nearer to one-hot if the exponent exceeds 1."""
    return F.normalize(w**exponent, p=1, dim=1, eps=1e-30)


def certainty(w: Tensor) -> Tensor:
    """Tell how far each row of w (n, K) is from uniform: 0 if uniform, 1 if one-hot."""
    n_clusters = w.shape[1]
    return (w.amax(dim=1) * n_clusters - 1) / max(n_clusters - 1, 1)
