"""The EM loop: Algorithm 1 of the paper, its M-step (Section 3.1) and its E-step (Section 3.2)."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from skganem.core.augment import Augmentation
from skganem.core.data import NONE, Source, batches, endless_batches
from skganem.core.losses import (
    DISCRIMINATOR_LOSSES,
    GENERATOR_LOSSES,
    DiscriminatorLoss,
    GeneratorLoss,
    e_net_loss,
    of_class,
    soft_cross_entropy,
)
from skganem.core.model import Model
from skganem.core.networks import Classifier
from skganem.core.recipe import Recipe
from skganem.core.runtime import autocast, frozen
from skganem.core.shapes import is_image

R1_INTERVAL = 8
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, betas=(0.5, 0.999), fused=True),
    "rmsprop": torch.optim.RMSprop,
}


@dataclass
class Training:
    """Everything the EM loop needs besides the model: the data, the settings, the optimisers and the randomness.

    Parameters
    ----------
    model : Model
    source : Source
    recipe : Recipe
    rng : torch.Generator
        On the model's device; every random number of the loop comes from it.
    dtype : torch.dtype
        Of the forward passes.
    augment : callable or None
        The changes of a sample that leave its class alone.
    known, labels : Tensor of shape (m,)
        Positions and classes of the labelled samples, if any.
    informed : bool
        Whether the initial w says anything of the samples.
    previous_e_net : Classifier or None
        The E-net as it was before the current E-step, where that is needed.
    iteration : int
        EM iterations done.
    history : list of dict
        One record for each of them.
    stopped : bool
        Whether `on_iteration` of `expectation_maximization` ended the training.
    """

    model: Model
    source: Source
    recipe: Recipe
    rng: torch.Generator
    dtype: torch.dtype
    augment: Augmentation | None = None
    known: Tensor = NONE
    labels: Tensor = NONE
    informed: bool = True
    previous_e_net: Classifier | None = None
    iteration: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    def __post_init__(self) -> None:
        make = OPTIMIZERS[self.recipe.optimizer]
        rates = self.recipe.learning_rates
        self.optimizers = [make(net.parameters(), lr=lr) for net, lr in zip(self.model.modules(), rates, strict=True)]
        self.known, self.labels = self.known.to(self.model.device), self.labels.to(self.model.device)

    @cached_property
    def counts(self) -> Tensor:
        """How many labels each class has (K,)."""
        return torch.bincount(self.labels, minlength=self.model.layout.n_clusters)

    def set_rates(self) -> None:
        """Set the learning rates of this EM iteration."""
        factor = rate_factor(self.recipe, self.iteration)
        for optimizer, rate in zip(self.optimizers, self.recipe.learning_rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    @property
    def heard(self) -> float:
        """Weight of the generated samples in this E-step: the recipe's, once the generator has learned for a while."""
        # Without real samples, or where w says nothing of them at first, nothing else would teach the E-net.
        alone = self.recipe.consistency == 0 or not self.informed
        return self.recipe.generated if alone or self.iteration >= self.recipe.n_unheard else 0.0

    @property
    def settled(self) -> bool:
        """Whether the last two iterations, the generator heard, changed no more labels than the recipe's tol."""
        last = self.history[self.recipe.n_unheard :][-2:]
        tol = self.recipe.tol
        return tol > 0 and len(last) == 2 and all(r["change"] <= tol and r["n_empty"] == 0 for r in last)

    @property
    def ended(self) -> bool:
        """Whether there is to be no further iteration."""
        return self.stopped or self.settled or self.iteration >= self.recipe.max_iter


class Divergence(ArithmeticError):
    """A loss, a weight or an answer became infinite or NaN."""


def expectation_maximization(
    training: Training, w: Tensor, on_iteration: Callable[[Training, Tensor], bool] | None = None
) -> Tensor:
    """Algorithm 1: alternate M-step and E-step until the labels stand still.

    Parameters
    ----------
    training : Training
        Its model is trained in place, and its history is extended by one record an iteration.
    w : Tensor of shape (n, K)
        Initial soft labels of all samples.
    on_iteration : callable (training, w) -> bool, optional
        Called after each iteration; True ends the training.

    Returns
    -------
    w : Tensor of shape (n, K)
        P(c|x) by the trained E-net.

    Raises
    ------
    Divergence, KeyboardInterrupt
        The model is then as it was after the last complete iteration.
    """
    model = training.model
    fix_known(w, training)
    while not training.ended:
        if training.history:
            w = reseed_empty_clusters(w)
        training.set_rates()
        model.phi = w.mean(dim=0)
        start, before = time.perf_counter(), model.to_numpy()
        try:
            loss_g, loss_d = m_step(training, w)
            loss_e = e_step(training, w)
            new_w = fix_known(finite(model.posterior(training.source)), training)
            finite(torch.stack([p.detach().sum() for net in model.modules() for p in net.parameters()]))
        except (Divergence, KeyboardInterrupt):
            model.from_numpy(before).to(model.device)  # which puts the networks into evaluation mode, too
            raise
        record, w = describe(new_w, w), new_w
        training.iteration += 1
        record |= {"loss_g": loss_g, "loss_d": loss_d, "loss_e": loss_e, "seconds": time.perf_counter() - start}
        training.history.append({"iteration": training.iteration, "phi": model.phi.cpu().numpy(), **record})
        training.stopped = on_iteration(training, w) if on_iteration else False
    model.phi = w.mean(dim=0)
    return w


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


#: Samples (n, \*shape), the soft labels wanted of them (n, K), and the weights of their terms (n,).
Part: TypeAlias = tuple[Tensor, Tensor, Tensor]


def e_loss(training: Training, parts: list[Part]) -> Tensor:
    """Sum the parts' mean weighted cross-entropies, from one forward pass of the E-net."""
    x = torch.cat([part[0] for part in parts])
    with autocast(training.model.device, training.dtype):
        logits = training.model.e_net(x.contiguous(memory_format=memory_format(x))).float()
    each = zip(logits.split([len(part[0]) for part in parts]), parts, strict=True)
    losses = [(weight * soft_cross_entropy(part, target)).mean() for part, (_, target, weight) in each]
    return torch.stack(losses).sum()


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


def labelled_batch(training: Training, n: int) -> Part:
    """Draw n labelled samples, their classes in the proportions phi, and change them."""
    phi, labels = training.model.phi, training.labels
    probability = (phi / training.counts.clamp_min(1))[labels] + 1e-12
    picks = torch.multinomial(probability, n, replacement=True, generator=training.rng)
    index = training.known[picks]
    x = change(training, training.source.batch(index), index)
    return x, F.one_hot(labels[picks], len(phi)).float(), torch.ones(n, device=x.device)


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


def objectives(recipe: Recipe) -> tuple[GeneratorLoss, DiscriminatorLoss]:
    """Look up L_G and L_D."""
    generator, discriminator = recipe.generator_loss, recipe.discriminator_loss
    return (
        GENERATOR_LOSSES[generator] if isinstance(generator, str) else generator,
        DISCRIMINATOR_LOSSES[discriminator] if isinstance(discriminator, str) else discriminator,
    )


def rate_factor(recipe: Recipe, iteration: int) -> float:
    """Return the factor of the learning rates in an EM iteration, counted from 0."""
    if recipe.decay is not None:
        return recipe.decay**iteration
    return 0.5 + 0.5 * math.cos(math.pi * min(iteration / recipe.max_iter, 1.0))


def m_steps(recipe: Recipe, n: int) -> int:
    """Return the number of batches in an M-step over n samples."""
    return passes(recipe.m_epochs, n, recipe.batch_size, recipe.min_m_steps, recipe.max_m_steps)


def e_steps(recipe: Recipe, n: int) -> int:
    """Return the number of batches in a round of the E-step over n samples."""
    return passes(recipe.e_epochs, n, recipe.e_batch_size, recipe.min_e_steps, recipe.max_e_steps)


def passes(number: int, n: int, batch_size: int, least: int, most: int) -> int:
    """Return the number of batches that some passes over n samples come to, from `least` to `most`."""
    return min(max(number * max(1, round(n / batch_size)), least), most)


def change(training: Training, x: Tensor, index: Tensor | None) -> Tensor:
    """Apply the augmentation, if there is one."""
    return x if training.augment is None else training.augment(x, index, training.rng)


def certainty(w: Tensor) -> Tensor:
    """Tell how far each row of w (n, K) is from uniform: 0 if uniform, 1 if one-hot."""
    n_clusters = w.shape[1]
    return (w.amax(dim=1) * n_clusters - 1) / max(n_clusters - 1, 1)


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the faster memory format for a batch: channels last for images."""
    return torch.channels_last if x.dim() == 4 else torch.contiguous_format


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


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


def balanced_classes(n: int, n_clusters: int, rng: torch.Generator) -> Tensor:
    """Draw c ~ U (n,), every class equally often up to one, so that no batch lacks a class."""
    order = torch.randperm(n_clusters, generator=rng, device=rng.device)
    return order.repeat(-(-n // n_clusters))[:n]


def classes_by_prior(phi: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw c ~ phi (n,) by systematic sampling: every class as often as phi says, up to one."""
    points = (torch.arange(n, device=phi.device) + torch.rand(1, generator=rng, device=rng.device)) / n
    return torch.searchsorted(phi.cumsum(0), points).clamp_(max=len(phi) - 1)


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


def fix_known(w: Tensor, training: Training) -> Tensor:
    """Set w of the labelled samples to their labels, in place."""
    if len(training.known):
        w[training.known] = F.one_hot(training.labels, w.shape[1]).to(w.dtype)
    return w


def reseed_empty_clusters(w: Tensor) -> Tensor:
    """Give each cluster that no sample prefers half of the largest one: the half that the E-net is less sure of."""
    w, counts = w.clone(), torch.bincount(w.argmax(dim=1), minlength=w.shape[1])
    for empty in (counts == 0).nonzero().flatten().tolist():
        largest = int(counts.argmax())
        members = (w.argmax(dim=1) == largest).nonzero().flatten()
        if len(members) < 2:
            break
        half = members[w[members, largest].argsort()[: len(members) // 2]]
        w[half] = 0.0
        w[half, empty] = 1.0
        counts = torch.bincount(w.argmax(dim=1), minlength=w.shape[1])
    return w


def describe(new_w: Tensor, w: Tensor) -> dict[str, float]:
    """Summarise an E-step: mean confidence, share of changed labels, empty clusters."""
    labels = new_w.argmax(dim=1)
    sizes = torch.bincount(labels, minlength=w.shape[1])
    return {
        "confidence": float(new_w.amax(dim=1).mean()),
        "change": float((labels != w.argmax(dim=1)).float().mean()),
        "n_empty": int((sizes == 0).sum()),
    }


def finite(values: Tensor) -> Tensor:
    """Return the values; raise `Divergence` if one is infinite or NaN."""
    if not torch.isfinite(values).all():
        raise Divergence("a value became infinite or NaN")
    return values
