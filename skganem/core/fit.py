"""From data to a trained model: the initial w, then the EM loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skganem.core.data.dataset import NONE, Source
from skganem.core.data.shapes import is_image
from skganem.core.em.checkpoint import Checkpoint, fingerprint, restore
from skganem.core.em.e_step import certainty, change
from skganem.core.em.loop import expectation_maximization, fix_known
from skganem.core.em.state import Divergence, Training
from skganem.core.features.simclr import learn_features
from skganem.core.features.transforms import Augmentation, ImageWarp, NeighbourMix
from skganem.core.graph.knn import NeighbourGraph
from skganem.core.init import responsibilities as initial
from skganem.core.networks.mixture import Layout, Model
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import borrowed_streams, deterministic, trainable


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
    model : Model or None
        A trained model to go on from, which is changed; None begins with a new one.
    """

    source: Source
    n_clusters: int
    recipe: Recipe
    dtype: torch.dtype
    n_components: int | None = None
    known: Tensor = NONE
    labels: Tensor = NONE
    w: Tensor | None = None
    model: Model | None = None

    @property
    def layout(self) -> Layout:
        """What the networks are built from."""
        return Layout(self.source.shape, self.n_clusters, self.recipe.n_noise, self.recipe.width, self.n_components)

    @property
    def from_graph(self) -> bool:
        """Whether the initial w comes from the neighbour graph. A single cluster, or labels that are all known, need none."""
        unknown = self.w is None and self.n_clusters > 1 and len(self.known) < len(self.source)
        return self.recipe.init == "graph" and unknown

    @property
    def mixes_rows(self) -> bool:
        """Whether the augmentation mixes rows with their neighbours, where labels say nothing against it."""
        return self.recipe.augmentation == "auto" and not is_image(self.source.shape)

    def informed_by(self, w: Tensor) -> bool:
        """Whether the initial w (n, K), or labels, say anything of the samples."""
        drawn = self.w is None and self.recipe.init == "random"
        return len(self.known) > 0 or (not drawn and bool((certainty(w) > 1e-3).any()))

    @property
    def change(self) -> Augmentation | None:
        """The changes of a sample that need no neighbours; of an image, encoders learn by them."""
        if isinstance(self.recipe.augmentation, str):
            return ImageWarp() if is_image(self.source.shape) else None
        return self.recipe.augmentation

    def fingerprint(self) -> str:
        """Return a checksum of everything that a fit depends on, apart from its seed."""
        labels = [self.known, self.labels, *([] if self.w is None else [self.w])]
        begun = [] if self.model is None else [self.model.to_numpy(), self.source.scaling]
        return fingerprint(self.source, self.layout, self.recipe, self.dtype, self.source.device.type, *labels, *begun)


@dataclass
class Solution:
    """A trained model and how it came about.

    Attributes
    ----------
    model : Model
    w : Tensor of shape (n, K)
        P(c|x) of every sample; of labelled ones, their label.
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


@trainable()
def fit(
    problem: Problem,
    seed: int,
    on_iteration: Callable[[Training, Tensor], bool] | None = None,
    checkpoint: Checkpoint | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Solution:
    """Fit one model from one seed, or go on from a checkpoint of the same fit; `tell` hears what comes before the EM loop.

    Raises
    ------
    KeyboardInterrupt
        If interrupted before the first EM iteration was complete; later, the model so far is returned.
    """
    source, recipe = problem.source, problem.recipe
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(4)]
    model = problem.model or Model(problem.layout, recipe.networks, seeds[0], source.device)
    rng = torch.Generator(source.device).manual_seed(seeds[1])
    state = checkpoint.read() if checkpoint else None
    with borrowed_streams(seeds[3], source.device), deterministic():
        w, neighbours = begin(problem, model, rng, seeds[2], tell) if state is None else (state["w"], state["neighbours"])
        augment = augmentation(problem, neighbours)
        known = (problem.known, problem.labels)
        training = Training(model, source, recipe, rng, problem.dtype, augment, *known)
        if state is None:
            w = w.to(source.device)
            training.informed = problem.informed_by(w)
        else:
            w = restore(training, state)

        def report(training: Training, w: Tensor) -> bool:
            training.stopped = on_iteration(training, w) if on_iteration else False  # for the checkpoint to know
            if checkpoint:
                checkpoint.after(training, w, neighbours)
            return training.stopped

        try:
            if checkpoint and state is None:
                checkpoint.after(training, w, neighbours)
            w = expectation_maximization(training, w, report)
            end = "converged" if training.settled else "exhausted"
        except (Divergence, KeyboardInterrupt) as stopped:
            if isinstance(stopped, KeyboardInterrupt) and not training.history:
                raise
            end = "interrupted" if isinstance(stopped, KeyboardInterrupt) else "diverged"
            w = fix_known(model.posterior(source), training)
            model.phi = w.mean(dim=0)
        try:
            criterion = agreement(training)
        except KeyboardInterrupt:
            if end == "diverged":
                raise
            end, criterion = "interrupted", math.nan
        return Solution(model, w, training.history, end, criterion)


def begin(
    problem: Problem, model: Model, rng: torch.Generator, seed: int, tell: Callable[[str], None]
) -> tuple[Tensor, Tensor | None]:
    """Make the initial w (Algorithm 1, line 1), and find each row's neighbours where the augmentation mixes it with them."""
    graph = neighbour_graph(problem, model, rng, tell) if problem.from_graph or problem.mixes_rows else None
    known = (problem.known, problem.labels)
    if graph is not None and not initial.tells_classes(graph, problem.source, *known, problem.n_clusters):
        tell("neighbours say little of the classes, and are not used")
        graph = None
    neighbours = graph.of_all if graph is not None and problem.mixes_rows else None
    return initial_w(problem, graph, rng, seed, tell) if problem.w is None else problem.w, neighbours


def neighbour_graph(problem: Problem, model: Model, rng: torch.Generator, tell: Callable[[str], None]) -> NeighbourGraph:
    """Find each sample's neighbours; of images, by features that are learned first."""
    source, recipe = problem.source, problem.recipe
    if is_image(source.shape) and problem.change is not None:
        learn_features(model, source, recipe, problem.change, rng, problem.dtype, tell)
    tell("looking for neighbours")
    first = initial.evenly(problem.known, problem.labels, rng) if len(source) > recipe.graph_size else problem.known
    return NeighbourGraph(model, source, recipe.n_neighbors, recipe.graph_size, rng, first)


def initial_w(
    problem: Problem, graph: NeighbourGraph | None, rng: torch.Generator, seed: int, tell: Callable[[str], None]
) -> Tensor:
    """Make the initial w by the recipe's `init`."""
    source, recipe, n_clusters = problem.source, problem.recipe, problem.n_clusters
    if graph is not None and problem.from_graph:
        tell("initial labels from the graph")
        if len(problem.known):
            return initial.propagated(graph, problem.known, problem.labels, n_clusters)
        return initial.partitioned(graph, n_clusters, seed)
    if recipe.init == "kmeans":
        w = initial.kmeans_w(source, n_clusters, recipe.graph_size, seed, rng)
        return w[:, initial.matching(w[problem.known], problem.labels)]
    if recipe.init == "random":
        return initial.random_w(len(source), n_clusters, rng)
    return torch.full((len(source), n_clusters), 1 / n_clusters)


def augmentation(problem: Problem, neighbours: Tensor | None) -> Augmentation | None:
    """Return the changes under which the E-net's answer must stay the same.

    Warps have `colour`, and no `contrast`: the E-net, unlike an encoder, is not tempted to know an image by it.
    """
    if neighbours is not None:
        return NeighbourMix(problem.source, neighbours)
    own = problem.change
    return replace(own.scaled(problem.recipe.e_strength), contrast=0.0) if isinstance(own, ImageWarp) else own


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
        changed = change(training, x, index)
        joint += torch.softmax(model.e_net(x), 1).T @ torch.softmax(model.e_net(changed), 1)
    joint = (joint + joint.T) / (2 * joint.sum())
    independent = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
    return float(torch.special.xlogy(joint, joint / independent.clamp_min(1e-30)).sum())
