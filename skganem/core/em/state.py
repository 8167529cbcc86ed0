"""What the two steps of the EM loop share: its state, and how a network takes a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from skganem.core.data.dataset import NONE, Source
from skganem.core.features.transforms import Augmentation
from skganem.core.networks.architectures import Classifier
from skganem.core.networks.mixture import Model
from skganem.core.recipe import Recipe

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
        Whether the initial w, or labels, say anything of the samples.
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
        # Without real samples, or where neither w nor labels say anything of them at first, nothing else would teach the E-net.
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


def rate_factor(recipe: Recipe, iteration: int) -> float:
    """Return the factor of the learning rates in an EM iteration, counted from 0."""
    if recipe.decay is not None:
        return recipe.decay**iteration
    return 0.5 + 0.5 * math.cos(math.pi * min(iteration / recipe.max_iter, 1.0))


def passes(number: int, n: int, batch_size: int, least: int, most: int) -> int:
    """Return the number of batches that some passes over n samples come to, from `least` to `most`."""
    return min(max(number * max(1, round(n / batch_size)), least), most)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def finite(values: Tensor) -> Tensor:
    """Return the values; raise `Divergence` if one is infinite or NaN."""
    if not torch.isfinite(values).all():
        raise Divergence("a value became infinite or NaN")
    return values
