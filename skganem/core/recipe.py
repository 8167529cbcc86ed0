"""Every setting of training, as one record: what the paper fixes, and what it leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor

from skganem.core.losses.gan import DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, DiscriminatorLoss, GeneratorLoss
from skganem.core.losses.lipschitz import LIPSCHITZ, LipschitzPenalty
from skganem.core.networks.architectures import DEFAULT_NETWORKS, PAPER_NETWORKS, RELEASED_NETWORKS, Networks
from skganem.core.runtime.serialization import register_record

#: (x (b, \\*shape), positions in the data set (b,) or None for generated samples, rng) -> x', transformed
Augmentation: TypeAlias = Callable[[Tensor, Tensor | None, torch.Generator], Tensor]

CHOICES = {
    "generator_loss": set(GENERATOR_LOSSES),
    "discriminator_loss": set(DISCRIMINATOR_LOSSES),
    "lipschitz": set(LIPSCHITZ),
    "optimizer": {"rmsprop", "adam"},
    "init": {"graph", "kmeans", "random", "uniform"},
    "augmentation": {"auto"},
}

#: The least value of each int.
MINIMA = {
    "n_noise": 1, "width": 1, "encoder_steps": 0, "encoder_batch_size": 2, "n_neighbors": 1, "graph_size": 2,
    "batch_size": 2, "m_epochs": 1, "min_m_steps": 1, "max_m_steps": 1, "e_batch_size": 2, "e_epochs": 0, "min_e_steps": 1,
    "max_e_steps": 1, "e_rounds": 1, "n_warmup_iter": 0, "max_iter": 1,
}  # fmt: skip
POSITIVE, INF = 1e-12, math.inf
#: The least and the greatest value of each number, both allowed.
RANGES = {
    "encoder_learning_rate": (POSITIVE, INF), "clip": (POSITIVE, INF), "r1_gamma": (0, INF), "consistency_weight": (0, INF),
    "sharpening": (POSITIVE, 16), "generated_weight": (0, INF), "e_ema_decay": (0, 1), "e_epsilon": (0, 1), "tol": (0, 1),
    "lr_decay": (POSITIVE, INF),
}  # fmt: skip
OPTIONAL = ("lr_decay", "e_epsilon", "lipschitz", "augmentation")
#: Choices that are a name, and never a function.
NAME_ONLY = ("optimizer", "init")


@register_record
@dataclass(frozen=True, repr=False)
class Recipe:
    """All settings of training that do not depend on the data.

    The fields' defaults are the recipe "default". `Recipe.paper` gives the paper's own settings. Any field can be
    changed with `but`, for example ``Recipe().but(width=64, lipschitz="r1")``. The fields come in the order in which
    they act: networks, augmentation and encoders, graph and initial w, M-step, E-step, schedule.

    Parameters
    ----------
    networks : Networks
        The factories of the networks.
    width : int
        Filters of the networks' first layer; the others are multiples of it.
    n_noise : int
        Length of the generator's noise z, uniform in [-1, 1].
    augmentation : {"auto", None} or callable (x, index, rng) -> x'
        The random transforms that leave the class of a sample as it is. "auto" warps images and interpolates rows with
        their neighbors, unless labels show that these are of other classes. None has none.
    encoder_steps : int
        Batches that the encoder learns from. It gives the graph its features, of images only, and only with an augmentation
        and ``init="graph"``.
    encoder_batch_size : int
        Images in such a batch, each in four views.
    encoder_learning_rate : float
        Its largest learning rate.
    n_neighbors : int
        Neighbors of a sample in the graph. Data of fewer than ``5 * n_neighbors`` samples a cluster have fewer.
    graph_size : int
        Samples in the graph at most; the others take w from their neighbors in it.
    init : {"graph", "kmeans", "random", "uniform"}
        The initial w (line 1 of Algorithm 1, which has "uniform"). With "graph", labels propagate through it, or it is
        partitioned where there are none. It is not used where cross-validation shows that it predicts the labels badly.
    generator_loss : str or callable (logits, c) -> scalar
        L_G: "likelihood" (Eq. 1), "normalized_likelihood", "non_saturating" or "one_hot" (the released code).
    discriminator_loss : str or callable (real logits, w, generated logits, c, phi) -> scalar
        L_D: "all" (Eq. 2), "own" (Eq. 18) or "released" (Eq. 2 as the released code has it).
    lipschitz : {"clip", "r1", None} or callable (discriminator, x, w, step) -> scalar
        What keeps the GAN smooth (Section 4.4). "clip" clips the discriminator's weights to [-clip, clip]. "r1" penalizes the
        discriminator's gradient at real samples (Mescheder et al. 2018). A callable's value is added to L_D.
    clip : float
        The bound of "clip".
    r1_gamma : float
        The weight of "r1".
    batch_size : int
        Real samples, and as many generated ones, in a batch of the M-step.
    m_epochs : int
        Passes over the data in an M-step (p in Algorithm 1).
    min_m_steps, max_m_steps : int
        The least and largest number of batches that these may come to. Rows take twice as many.
    consistency_weight : float
        Weight of the E-step's term on real samples, CE{E(x'), w(x)}, with x' a view of x and w that of the last E-step.
    sharpening : float
        The power to which w is raised in that term; 1 leaves w as it is. Generated samples then weigh w_c to the power
        ``sharpening - 1``, by the E-net before the E-step.
    generated_weight : float
        Weight of the E-step's term on generated samples (Eq. 5).
    discriminator_weighting : bool
        Whether each generated sample of that term also weighs 2 D_c (importance weighting by the discriminator).
    n_warmup_iter : int
        EM iterations at the start without generated samples in the E-step, and without an M-step, while w still changes; fewer
        if it no longer does, and one less than `max_iter` at most. There are none if nothing else trains the E-net: with
        ``consistency_weight=0``, or with an uninformative initial w and no labels.
    e_batch_size : int
        Real samples in a batch of the E-step; beside them, there are half as many generated ones, or as many alone.
    e_epochs : int
        Passes over the data in a round of an E-step.
    min_e_steps : int
        The least number of batches in a round.
    max_e_steps : int
        The largest number of batches in a whole E-step (q in Algorithm 1, which has one round).
    e_rounds : int
        Rounds of an E-step at most; it ends when the E-net agrees with w on real samples. Without `consistency_weight`, it
        has one.
    e_ema_decay : float
        Decay of the exponential moving average (EMA) of the E-net's weights, to which it is set at the end of each round; 0
        keeps the last weights.
    e_epsilon : float or None
        Instead of labels in every batch: at the end of an E-step, train the E-net on the labeled samples until its error
        on them is at most this (Section 5.3). None mixes labeled samples into every batch.
    optimizer : {"rmsprop", "adam"}
        Of G, D and E.
    learning_rates : tuple of 3 floats
        Of G, D and E.
    lr_decay : float or None
        Learning rates are multiplied by it after every EM iteration. None lowers that of E along a cosine over `max_iter`
        iterations, and those of G and D in the second half of each M-step.
    max_iter : int
        EM iterations at most (n in Algorithm 1).
    tol : float
        The labels have converged when at most this share of the samples has changed its most probable class in each of the
        last two EM iterations, and no cluster is empty. Training then ends, after one iteration with the generator. 0 never
        ends it early.
    """

    # The sections named below are those of docs/defaults.rst, which has the comparisons behind these numbers.

    # Networks ("Schedule, network size and precision").
    networks: Networks = DEFAULT_NETWORKS
    # Too narrow cannot separate classes (an encoder of width 16: 17.0 % wrong instead of 3.2); 48 takes 1.6 times as long.
    width: int = 32
    # The paper's number. Too short limits the variety of samples; not tuned.
    n_noise: int = 62

    # Augmentation and encoders ("Features").
    augmentation: str | Augmentation | None = "auto"
    # 100 leave 5.6 % of the neighbors in another class, 200 3.7, 400 2.9; after EM, 200 and 400 are alike.
    encoder_steps: int = 200
    # For as many forward passes, four views of 128 images learn faster than two of 256.
    encoder_batch_size: int = 128
    # After 200 batches, 2e-3 left 4.4 % of the neighbors in another class, 4e-3 3.8, and 6e-3 and 8e-3 3.7.
    encoder_learning_rate: float = 6e-3

    # Graph and initial w ("Neighbor graph and distances").
    # Too few break clusters apart, too many connect different classes.
    n_neighbors: int = 15
    # More samples take memory and time. With all of 30,000 images in the graph, one fit ended at 1.38 instead of 1.50.
    graph_size: int = 20_000
    init: str = "graph"

    # M-step ("M-step and GAN").
    generator_loss: str | GeneratorLoss = "normalized_likelihood"
    discriminator_loss: str | DiscriminatorLoss = "own"
    # Without it, samples take twice the batches: after 1000, a Fréchet distance of 30 instead of 91 (gamma 0.1: 36, 1: 40).
    lipschitz: str | LipschitzPenalty | None = "r1"
    # The paper leaves it open. From uniform w, 39.7 % of MNIST were wrong after five iterations with 0.02, 45.6 with 0.03.
    clip: float = 0.02
    r1_gamma: float = 0.3
    # The paper's number. Larger batches take longer on a CPU, smaller ones make noisier gradients; not tuned.
    batch_size: int = 64
    # Labels need no more; samples become sharper with more (Fréchet distance 72 after 700 batches, 30 after 1000).
    m_epochs: int = 5
    min_m_steps: int = 400
    max_m_steps: int = 750

    # E-step ("E-step" and "Generated samples").
    consistency_weight: float = 1.0
    # 1 keeps uncertain targets, a large power makes errors certain (1.5 and 3 are within chance of 2).
    sharpening: float = 2.0
    # A larger weight would teach more of the generator's errors.
    generated_weight: float = 1.0
    discriminator_weighting: bool = True
    # Fewer teach the E-net the samples of an untrained generator (from the first iteration on: 4.0 to 5.3 % wrong).
    n_warmup_iter: int = 6
    # Smaller batches make noisier gradients; 200 batches of 256 were no better than 400 of 128.
    e_batch_size: int = 128
    # Five passes gain a tenth of a point or two on 10,000 images, in twice the time.
    e_epochs: int = 3
    # Fewer leave small data unlearned (100 batches: 1.33, 2.52, 1.67 instead of 1.27, 2.16, 1.54 with 200).
    min_e_steps: int = 150
    # More teach the errors in w (house numbers: 14.1 instead of 13.2).
    max_e_steps: int = 600
    # Too few leave w unlearned, more take time (house numbers: 13.7 with two in 1185 s, 12.8 with five in 1359 s).
    e_rounds: int = 3
    # Averages over the last hundred or so batches: less keeps their noise, more keeps the first weights of the round.
    e_ema_decay: float = 0.99
    e_epsilon: float | None = None

    # Schedule ("Schedule, network size and precision").
    optimizer: str = "adam"
    # That of E from 3e-4 to 2e-3 gives the same; those of G and D are not tuned.
    learning_rates: tuple[float, float, float] = (2e-3, 2e-3, 2e-3)
    lr_decay: float | None = None
    # Fewer stop before the E-net has corrected the start (three: 1.8, four: 1.44, six: 1.33); more take time.
    max_iter: int = 7
    # Larger ends before late iterations correct labels, smaller never ends early. Not tuned.
    tol: float = 1e-3

    def __post_init__(self) -> None:
        for name, names in CHOICES.items():
            value = getattr(self, name)
            function = callable(value) and not isinstance(value, type) and name not in NAME_ONLY
            allowed = value in names if isinstance(value, str) else function or (value is None and name in OPTIONAL)
            if not allowed:
                advice = f" Pass an instance: {value.__name__}(...)." if isinstance(value, type) else ""
                raise ValueError(f"{name} must be one of {', '.join(sorted(names))}, got {value!r}.{advice}")
        for name, least in MINIMA.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an int of {least} or more, got {value!r}.")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not (value is None and name in OPTIONAL) and not (is_real(value) and low <= float(value) <= high):
                raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}.")
        if not (self.generated_weight or self.consistency_weight):
            raise ValueError("generated_weight and consistency_weight are both 0: nothing would teach the E-net.")
        for step in "me":
            least, most = getattr(self, f"min_{step}_steps"), getattr(self, f"max_{step}_steps")
            if least > most:
                raise ValueError(f"min_{step}_steps={least} is more than max_{step}_steps={most}.")
        rates = self.learning_rates
        if not isinstance(rates, Sequence) or len(rates) != 3 or not all(is_real(rate) and float(rate) >= 0 for rate in rates):
            raise ValueError(f"learning_rates must be three numbers, of G, D and E, got {rates!r}.")
        if not isinstance(self.discriminator_weighting, (bool, np.bool_)):
            raise ValueError(f"discriminator_weighting must be True or False, got {self.discriminator_weighting!r}.")
        if not isinstance(self.networks, Networks):
            raise ValueError(f"networks must be a Networks, got {self.networks!r}.")
        # As plain numbers: NumPy's, of which grids are made, are not shown alike, and torch does not take them everywhere.
        for name in MINIMA:
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in RANGES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "learning_rates", tuple(float(rate) for rate in rates))
        object.__setattr__(self, "discriminator_weighting", bool(self.discriminator_weighting))

    @classmethod
    def fast(cls) -> Recipe:
        """Return the settings for a first look: two short EM iterations, fewer neighbors, and a GAN that is hardly trained.

        Labels are nearly those of the default. Samples are rough.
        """
        return cls(
            n_neighbors=10, m_epochs=1, min_m_steps=50, max_m_steps=100, e_epochs=2, min_e_steps=150, e_rounds=1,
            n_warmup_iter=1, max_iter=2,
        )  # fmt: skip

    @classmethod
    def paper(cls) -> Recipe:
        """Return the settings of Section 5.1 and Appendix B.1: uniform w, RMSprop, clipping, 5 epochs, 1000 E steps.

        With labels, the E-net is trained until it makes no error on them (Appendix B.1; Section 5.3 has 5 or 10 %).

        One setting differs: G learns at three times the rate of D and E, as in the authors' released code, and not at the same.
        Among what the paper leaves open, this reading separates digits: the discriminator's weights are clipped, to
        [-0.02, 0.02]; squared gradients are smoothed by 0.9; optimizers begin anew in each iteration; batches are of 64
        (Section 5.1; Appendix B.1 has 70); there are 20 iterations ("converges within 20", the paper's slides).
        """
        return cls(
            max_iter=20, tol=0.0, m_epochs=5, min_m_steps=1, max_m_steps=10**9, e_epochs=0, min_e_steps=1000,
            max_e_steps=1000, batch_size=64, e_batch_size=256, width=64, generator_loss="likelihood",
            discriminator_loss="all", lipschitz="clip", optimizer="rmsprop", learning_rates=(6e-4, 2e-4, 2e-4), lr_decay=0.98,
            init="uniform", augmentation=None,
            discriminator_weighting=False, n_warmup_iter=0, consistency_weight=0.0, sharpening=1.0, e_epsilon=0.0,
            e_ema_decay=0.0, networks=PAPER_NETWORKS,
        )  # fmt: skip

    @classmethod
    def released(cls) -> Recipe:
        """Return the settings of the authors' released code where it differs from the paper.

        Adam with rates 6e-4, 2e-4 and 6e-5, the cross-entropy of all K + 1 units as L_G, a real/fake unit that weighs twice on
        real samples, another dense layer in the generator, no clipping, batches of 70 and 200.
        """
        return cls.paper().but(
            networks=RELEASED_NETWORKS, generator_loss="one_hot", discriminator_loss="released", lipschitz=None,
            optimizer="adam", learning_rates=(6e-4, 2e-4, 6e-5), batch_size=70, e_batch_size=200,
        )  # fmt: skip

    def __repr__(self) -> str:
        """Show the fields that differ from the default recipe."""
        changed = [f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Recipe({', '.join(changed)})"

    def but(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : object
            New values by the fields' names.

        Returns
        -------
        recipe : Recipe
            The copy.

        Raises
        ------
        ValueError
            If there is no field of a name, or a value is not valid.

        Examples
        --------
        >>> from skganem import Recipe
        >>> Recipe.paper().but(width=32).width
        32
        """
        known = {field.name for field in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"a recipe has no {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
        return replace(self, **changes)


def is_real(value: Any) -> TypeGuard[Real]:
    """Tell whether a value is a number, which True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """Show functions by their names, which unlike their addresses are the same in every process."""
    if isinstance(value, Networks):
        return f"Networks({', '.join(_short(getattr(value, f.name)) for f in fields(value))})"
    return str(getattr(value, "__qualname__", None) or repr(value))


RECIPES: dict[str, Callable[[], Recipe]] = {
    "default": Recipe,
    "fast": Recipe.fast,
    "paper": Recipe.paper,
    "released": Recipe.released,
}
