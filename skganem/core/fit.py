"""From data to a trained model: the initial w, the EM loop, and the best of several restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skganem.core import initial
from skganem.core.augment import Augmentation, ImageWarp, NeighbourMix
from skganem.core.data import NONE, Source
from skganem.core.em import Divergence, Training, expectation_maximization
from skganem.core.model import Layout, Model
from skganem.core.recipe import Recipe
from skganem.core.representation import learn_features
from skganem.core.runtime import seeded
from skganem.core.shapes import is_image


@dataclass(frozen=True)
class Problem:
    """What is to be fitted.

    Parameters
    ----------
    source : Source
    n_clusters : int
    recipe : Recipe
    dtype : torch.dtype
        Of the forward passes in training.
    n_components : int or None
        Units of the E-net's layer r.
    known, labels : Tensor of shape (m,)
        Positions and classes of the labelled samples, if any.
    w : Tensor of shape (n, K) or None
        Initial soft labels; None leaves them to the recipe's `init`.
    """

    source: Source
    n_clusters: int
    recipe: Recipe
    dtype: torch.dtype
    n_components: int | None = None
    known: Tensor = NONE
    labels: Tensor = NONE
    w: Tensor | None = None


@dataclass
class Solution:
    """A trained model and how it came about.

    Attributes
    ----------
    model : Model
    w : Tensor of shape (n, K)
        P(c|x) of every sample.
    history : list of dict
        One record an EM iteration.
    end : {"converged", "exhausted", "diverged", "interrupted"}
        Why training ended: labels stood still; `max_iter` was reached; it became numerically unstable, or the user
        interrupted it, and the model is that of the last complete iteration.
    criterion : float
        The agreement by which restarts are compared, see `agreement`.
    """

    model: Model
    w: Tensor
    history: list[dict[str, Any]]
    end: str
    criterion: float


def fit(problem: Problem, seed: int, on_iteration: Callable[[Training, Tensor], bool] | None = None) -> Solution:
    """Fit one model from one seed.

    Raises
    ------
    KeyboardInterrupt
        If interrupted before the first EM iteration was complete; later, the model so far is returned.
    """
    source, recipe = problem.source, problem.recipe
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(4)]
    layout = Layout(source.shape, problem.n_clusters, recipe.n_noise, recipe.width, problem.n_components)
    model = Model(layout, recipe.networks, seeds[0], source.device)
    rng = torch.Generator(source.device).manual_seed(seeds[1])
    w, augment = begin(problem, model, rng, seeds[2])
    training = Training(model, source, recipe, rng, problem.dtype, augment, problem.known, problem.labels)
    try:
        with seeded(seeds[3]):
            _, converged = expectation_maximization(training, w.to(source.device), on_iteration)
        end = "converged" if converged else "exhausted"
    except Divergence:
        end = "diverged"
    except KeyboardInterrupt:
        if not training.history:
            raise
        end = "interrupted"
    return Solution(model, model.posterior(source), training.history, end, agreement(training))


def begin(problem: Problem, model: Model, rng: torch.Generator, seed: int) -> tuple[Tensor, Augmentation | None]:
    """Make the initial w (Algorithm 1, line 1) and the augmentation."""
    source, recipe, n_clusters = problem.source, problem.recipe, problem.n_clusters
    augment = None if isinstance(recipe.augmentation, str) else recipe.augmentation
    automatic, use_graph = recipe.augmentation == "auto", recipe.init == "graph" and problem.w is None
    if automatic and is_image(source.shape):
        augment = ImageWarp()
    if use_graph and augment is not None and is_image(source.shape):
        learn_features(model, source, recipe, augment, rng, problem.dtype)
    if automatic and isinstance(augment, ImageWarp):
        augment = augment.scaled(recipe.e_strength)
    graph = None
    if use_graph or (automatic and not is_image(source.shape)):
        graph = initial.NeighbourGraph(model, source, recipe.n_neighbors, recipe.graph_size, rng, problem.known)
    if automatic and graph is not None and not is_image(source.shape):
        augment = NeighbourMix(source, graph.of_all)
    if problem.w is not None:
        return problem.w, augment
    if graph is not None and use_graph:
        if len(problem.known):
            return initial.propagated(graph, problem.known, problem.labels, n_clusters), augment
        return initial.partitioned(graph, n_clusters, seed, recipe.core), augment
    if recipe.init == "kmeans":
        return initial.kmeans_w(source, n_clusters, recipe.graph_size, seed, rng), augment
    if recipe.init == "random":
        return initial.random_w(len(source), n_clusters, rng), augment
    return torch.full((len(source), n_clusters), 1 / n_clusters), augment


@torch.no_grad()
def agreement(training: Training, n_samples: int = 8192) -> float:
    r"""Mutual information, in nats, between the classes of a sample before and after a small change.

    High if the classes are many and even, and the E-net is sure of each sample and of its changed copy alike; a cluster
    that cuts through a continuum, as well as an empty one, lowers it. It needs no labels (the objective of IIC, Ji et al.
    2019, Eq. 3).
    """
    source, model = training.source, training.model
    joint = torch.zeros(model.layout.n_clusters, model.layout.n_clusters, device=model.device)
    order = torch.randperm(len(source), generator=training.rng, device=source.device)
    for index in order[:n_samples].split(256):
        x = source.batch(index)
        changed = x if training.augment is None else training.augment(x, index, training.rng)
        joint += torch.softmax(model.e_net(x), 1).T @ torch.softmax(model.e_net(changed), 1)
    joint = (joint + joint.T) / (2 * joint.sum())
    independent = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
    return float(torch.special.xlogy(joint, joint / independent.clamp_min(1e-30)).sum())
