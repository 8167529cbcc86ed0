"""The E-step (Section 3.2 of the paper): the E-net learns which cluster a sample is of."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from skganem.core.data.batches import endless_batches, shuffled_batches
from skganem.core.data.shapes import is_image
from skganem.core.em.state import EMState, check_finite, e_step_rate, gradient_step, steps_of_epochs
from skganem.core.losses.classification import e_net_loss, soft_cross_entropy
from skganem.core.losses.gan import gather_class
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import autocast, channels_last
from skganem.core.runtime.distributed import current

#: An E-step ends when the E-net disagrees with w on at most this share of real images, or rows. An E-net that stops early
#: on images corrects labels that do not fit. On rows, whose graph is that of the data themselves, it loses labels: with
#: 0.02, 4 wrong of 400 points on two moons became 12 in four iterations.
IMAGE_TOL, ROW_TOL = 0.02, 0.005
#: Samples on which that is measured: their share is then known to 0.3 points.
N_MEASURED = 2048
#: Samples that batch normalization's statistics are measured on. Fewer make them noisy, more take time.
N_BN_SAMPLES = 4096
#: Samples that the E-net sees at once in these two.
MEASURE_BATCH = 256


def e_step(state: EMState, w: Tensor) -> float:
    """Lines 10 to 13 of Algorithm 1: train the E-net on generated samples (Eq. 5). Returns the mean L_E.

    The E-net also sees real samples. A consistency loss trains its answer to a view of a sample towards the sample's
    sharpened w, weighted by w's confidence; uniform w, as Algorithm 1 starts with, has no weight. The E-step has up to
    `e_rounds` rounds, until the E-net agrees with w on real samples: w must not be forgotten before it is learned. If w is
    often wrong, they rarely agree. So `max_e_steps` bounds all rounds together; else the E-net would fit the errors.
    """
    recipe = state.recipe
    state.scale_learning_rate(2, e_step_rate(recipe, state.iteration))
    target, weight = sharpen(w, recipe.sharpening), recipe.consistency_weight * normalized_confidence(w)
    sharpens = state.generated_weight and recipe.consistency_weight and recipe.sharpening > 1
    state.previous_e_net = copy.deepcopy(state.model.e_net) if sharpens else None
    tol = IMAGE_TOL if is_image(state.dataset.shape) else ROW_TOL
    losses = []
    for _ in range(min(recipe.e_rounds, recipe.max_e_steps // n_e_steps(recipe, len(w)))):
        losses += e_round(state, target, weight)
        if len(state.labeled_index) and recipe.e_epsilon is not None:
            fit_labeled(state, recipe.e_epsilon)
        update_bn(state)
        if not recipe.consistency_weight or disagreement_rate(state, w) <= tol:
            break
    return float(check_finite(torch.stack(losses).mean()))


def n_e_steps(recipe: Recipe, n: int) -> int:
    """Return the number of batches in a round of the E-step over n samples."""
    return steps_of_epochs(recipe.e_epochs, n, recipe.e_batch_size, recipe.min_e_steps, recipe.max_e_steps)


def e_round(state: EMState, target: Tensor, weight: Tensor) -> list[Tensor]:
    """Train the E-net on a round's batches, then set it to the exponential moving average of its weights; returns the losses.

    The mean is nearer to the minimum than the last weights, which the last few batches have moved about (Polyak and
    Juditsky 1992). It begins anew in each round: weights from before would hold back what the E-net has yet to learn.
    """
    recipe, e_net = state.recipe, state.model.e_net
    parameters = [parameter.detach() for parameter in e_net.parameters()]
    mean = [parameter.clone() for parameter in parameters]
    losses = []
    e_net.train()
    n_steps = n_e_steps(recipe, len(target))
    for step, index in enumerate(endless_batches(len(target), recipe.e_batch_size, n_steps, state.rng)):
        losses.append(e_net_step(state, index, target[index], weight[index]))
        # The plain mean of the first steps, until it is as long as the decay says.
        get_ema_multi_avg_fn(min(recipe.e_ema_decay, step / (step + 1)))(mean, parameters, step)
    for parameter, averaged in zip(parameters, mean, strict=True):
        parameter.copy_(averaged)
    return losses


def e_net_step(state: EMState, index: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Train the E-net on one batch of generated, real and labeled samples; returns its loss."""
    recipe = state.recipe
    losses, real = [], []
    if state.generated_weight > 0:
        # Half as many as real ones, which teach the E-net more; a batch of them alone is whole.
        size = max(2, recipe.e_batch_size // 2) if recipe.consistency_weight else recipe.e_batch_size
        losses.append(e_loss(state, [generated_batch(state, size)]) * state.generated_weight)
    if recipe.consistency_weight:
        real.append(Batch(transform(state, state.dataset.get_batch(index), index), target, weight))
    if len(state.labeled_index) and recipe.e_epsilon is None and state.draws_labeled:
        real.append(labeled_batch(state, max(2, recipe.e_batch_size // 2)))
    if real:
        # Generated and real samples pass separately: batch normalization must not mix their statistics.
        losses.append(e_loss(state, real))
    loss = torch.stack(losses).sum()
    gradient_step(state.optimizers[2], loss)
    return loss.detach()


class Batch(NamedTuple):
    """Samples x (n, \\*shape), the soft labels wanted of them (n, K), and the weights of their terms (n,)."""

    x: Tensor
    target: Tensor
    weight: Tensor


@torch.no_grad()
def generated_batch(state: EMState, n: int) -> Batch:
    """Draw n samples G(z, c), c ~ phi, with c one-hot (Eq. 5) and a weight.

    While the generator is imperfect, Eq. 5 would teach the E-net its mistakes. With `discriminator_weighting`, a sample's
    weight has the factor 2 D_c(G(z, c)): close to 0 where the discriminator is sure that it does not belong to cluster c, and
    1 where it can't tell; when generated and real samples are alike, all are 1.

    On real samples, w is sharpened to the power beta. The factor w_c(G(z, c))^(beta - 1), by the E-net before this E-step,
    makes generated samples follow the same sharpened posterior: those of cluster c are then distributed as w_c^beta P_r.
    """
    model, recipe, rng = state.model, state.recipe, state.rng
    c = classes_by_prior(model.phi, n, rng)
    weight = torch.ones(n, device=model.device)
    with autocast(model.device, state.dtype):
        x = model.generator(model.noise(n, rng), c)
        if recipe.discriminator_weighting:
            weight *= 2 * torch.sigmoid(gather_class(model.discriminator(x).float(), c))
        if state.previous_e_net is not None:
            old_w = torch.softmax(state.previous_e_net(x).float(), dim=1)
            weight *= gather_class(old_w, c) ** (recipe.sharpening - 1)
    return Batch(transform(state, x.float(), None), F.one_hot(c, model.spec.n_clusters).float(), weight)


def classes_by_prior(phi: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw c ~ phi (n,) by systematic sampling: every class as often as phi says, up to one."""
    points = (torch.arange(n, device=phi.device) + torch.rand(1, generator=rng, device=rng.device)) / n
    return torch.searchsorted(phi.cumsum(0), points).clamp_(max=len(phi) - 1)


def labeled_batch(state: EMState, n: int) -> Batch:
    """Draw n labeled samples, their classes in the proportions phi, and transform them."""
    phi, labels = state.model.phi, state.labels
    probability = (phi / state.class_counts.clamp_min(1))[labels] + 1e-12
    picks = torch.multinomial(probability, n, replacement=True, generator=state.rng)
    index = state.labeled_index[picks]
    x = transform(state, state.dataset.get_batch(index), index)
    return Batch(x, F.one_hot(labels[picks], len(phi)).float(), torch.ones(n, device=x.device))


def transform(state: EMState, x: Tensor, index: Tensor | None) -> Tensor:
    """Apply the augmentation, if there is one."""
    return x if state.augment is None else state.augment(x, index, state.rng)


def e_loss(state: EMState, batches: list[Batch]) -> Tensor:
    """Sum the batches' mean weighted cross-entropies, from one forward pass of the E-net."""
    x = torch.cat([batch.x for batch in batches])
    with autocast(state.model.device, state.dtype):
        logits = state.model.e_net(channels_last(x)).float()
    each = zip(logits.split([len(batch.x) for batch in batches]), batches, strict=True)
    losses = [(batch.weight * soft_cross_entropy(own, batch.target)).mean() for own, batch in each]
    return torch.stack(losses).sum()


def fit_labeled(state: EMState, epsilon: float) -> None:
    """Section 5.3: train the E-net on the labeled samples until its error on them is at most `epsilon`.

    The error is measured after 1, 2, 4, 8... passes, since batch normalization is calibrated for it. There are no more batches
    than in a round of the E-step, or one pass: samples that are alike and have different labels are never learned.
    """
    model, index, labels, size = state.model, state.labeled_index, state.labels, state.recipe.e_batch_size
    if len(index) == 1:  # batch normalization needs two
        index, labels = index.repeat(2), labels.repeat(2)
    labeled = state.dataset.subset(index)
    n_passes = max(1, n_e_steps(state.recipe, len(state.dataset)) // math.ceil(len(index) / size))
    for n_done in range(1, n_passes + 1):
        model.e_net.train()
        for batch in shuffled_batches(len(index), size, state.rng):
            with autocast(model.device, state.dtype):
                logits = model.e_net(labeled.get_batch(batch)).float()
            gradient_step(state.optimizers[2], e_net_loss(logits, labels[batch]))
        if n_done & (n_done - 1):  # no power of 2
            continue
        update_bn(state)
        if float((model.posterior(labeled).argmax(dim=1) != labels).float().mean()) <= epsilon:
            break


@torch.no_grad()
def update_bn(state: EMState) -> None:
    """Measure the E-net's batch normalization statistics on real samples, which it is going to be asked about."""
    e_net = state.model.e_net
    norms = [layer for layer in e_net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
    e_net.train()
    n = len(state.dataset)
    try:
        for index in endless_batches(n, MEASURE_BATCH, -(-min(n, N_BN_SAMPLES) // MEASURE_BATCH), state.rng):
            e_net(state.dataset.get_batch(index))
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    e_net.eval()


@torch.no_grad()
def disagreement_rate(state: EMState, w: Tensor) -> float:
    """Return the share of samples whose class by the E-net is not that of w, weighted by w's confidence."""
    model, n = state.model, len(state.dataset)
    index = torch.randperm(n, generator=state.rng, device=state.rng.device)[:N_MEASURED]
    weight = normalized_confidence(w[index])
    labels = torch.cat([model.e_net(state.dataset.get_batch(part)).argmax(dim=1) for part in index.split(MEASURE_BATCH)])
    rate = (weight * (labels != w[index].argmax(dim=1))).sum() / weight.sum().clamp_min(1e-12)
    return current().on_first(float, rate)  # which processors might round otherwise, and end the E-step in some


def sharpen(w: Tensor, exponent: float) -> Tensor:
    """Raise soft labels to a power and normalize them: nearer to one-hot if the exponent exceeds 1."""
    return F.normalize(w**exponent, p=1, dim=1, eps=1e-30)


def normalized_confidence(w: Tensor) -> Tensor:
    """Return how far the w of each sample (n, K) is from uniform: 0 if uniform, 1 if one-hot."""
    n_clusters = w.shape[1]
    return (w.amax(dim=1) * n_clusters - 1) / max(n_clusters - 1, 1)
