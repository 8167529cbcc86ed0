"""From data to a trained model: the initial w, then the EM loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from skganem.core.data.dataset import NO_INDEX, ArrayDataset
from skganem.core.data.shapes import is_image
from skganem.core.em.checkpoint import Checkpoint, load_state_dict
from skganem.core.em.criterion import view_mutual_information
from skganem.core.em.e_step import normalized_confidence
from skganem.core.em.loop import clamp_labels, expectation_maximization
from skganem.core.em.m_step import update_phi
from skganem.core.em.state import DivergenceError, EMState
from skganem.core.features.encoder import fit_encoder
from skganem.core.features.transforms import ImageWarp, NeighborMixup
from skganem.core.graph.knn import NeighborGraph, NeighborLists, find_neighbors
from skganem.core.init.responsibilities import INITIALIZERS, InitSpec, init_from_partition
from skganem.core.init.validation import select_label_method, stratified_order
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from skganem.core.recipe import Augmentation, Recipe
from skganem.core.runtime.cache import Keep, remember
from skganem.core.runtime.distributed import current, sharing
from skganem.core.runtime.fingerprint import fingerprint, hash_array
from skganem.core.runtime.launch import joined
from skganem.core.runtime.progress import Progress
from skganem.core.runtime.rng import deterministic_cudnn, float32_with_grad, seed_global_rng


@dataclass(frozen=True)
class Seeds:
    """A seed for each part of a fit, so that none depends on how many numbers another one draws."""

    networks: int
    em: int
    init: int
    global_streams: int
    encoder: int
    graph: int
    embeddings: int

    @classmethod
    def from_seed(cls, seed: int) -> Seeds:
        """Derive them from one seed."""
        return cls(*(int(state) for state in np.random.SeedSequence(seed).generate_state(7)))


#: Of what is kept in memory: to be raised where a change of the code makes other features or neighbors of the same data.
VERSION = 1
#: Part of the components of an embedding that the E-net does not see, where labels are known: each says a little of the class,
#: and few rows must not be learned by heart. Of photographs with ten labels a class, 42.0 % were wrong, and 43.0 without it.
EMBEDDING_DROPOUT = 0.5
#: Confidence of w below which it is uninformative: more than rounding makes of uniform w.
MIN_CONFIDENCE = 1e-3
#: Rows by which processes compare their data.
N_COMPARED = 64


@dataclass(frozen=True)
class FitSpec:
    """What is to be fitted.

    Parameters
    ----------
    dataset : ArrayDataset
    n_clusters : int
    recipe : Recipe
    dtype : torch.dtype
        Of the forward passes in training.
    n_components : int or None
        Units of the E-net's layer r.
    labeled_index, labels : Tensor of shape (m,)
        Positions and classes of the labeled samples, if any.
    w : Tensor of shape (n, K) or None
        Initial responsibilities; None leaves them to the recipe's `init`.
    model : MixtureModel or None
        A trained model to go on from, which is changed; None begins with a new one.
    memory : joblib.Memory or None
        Where features and neighbors are kept, which depend neither on the number of clusters nor on w.
    """

    dataset: ArrayDataset
    n_clusters: int
    recipe: Recipe
    dtype: torch.dtype
    n_components: int | None = None
    labeled_index: Tensor = NO_INDEX
    labels: Tensor = NO_INDEX
    w: Tensor | None = None
    model: MixtureModel | None = None
    memory: joblib.Memory | None = None

    @property
    def networks(self) -> NetworkSpec:
        """What the networks are built from."""
        return NetworkSpec(self.dataset.shape, self.n_clusters, self.recipe.n_noise, self.recipe.width, self.n_components)

    @property
    def needs_graph_init(self) -> bool:
        """Whether w comes from the neighbor graph. A single cluster, or labels of all samples, need none."""
        unknown = self.w is None and self.n_clusters > 1 and len(self.labeled_index) < len(self.dataset)
        return self.recipe.init == "graph" and unknown

    @property
    def needs_neighbors(self) -> bool:
        """Whether the augmentation interpolates rows with their neighbors, unless `select_label_method` rules that out."""
        return self.recipe.augmentation == "auto" and not is_image(self.dataset.shape)

    @property
    def transform(self) -> Augmentation | None:
        """The random transform of a sample that needs no neighbors; of images, encoders learn by it."""
        if isinstance(self.recipe.augmentation, str):
            return ImageWarp() if is_image(self.dataset.shape) else None
        return self.recipe.augmentation

    @property
    def learns_features(self) -> bool:
        """Whether neighbors are found by features that are learned first."""
        return is_image(self.dataset.shape) and self.transform is not None

    def has_informative_init(self, w: Tensor) -> bool:
        """Whether the initial w (n, K), or labels, are informative."""
        random = self.w is None and self.recipe.init == "random"
        return len(self.labeled_index) > 0 or (not random and bool((normalized_confidence(w) > MIN_CONFIDENCE).any()))

    def checksums(self) -> dict[str, str]:
        """Return checksums, by name, of what must be the same in all processes of a data-parallel fit.

        Of X, there are some rows in it, and the scale.
        """
        dataset, n = self.dataset, len(self.dataset)
        some = np.linspace(0, n - 1, min(n, N_COMPARED)).astype(int)
        rows = np.asarray(dataset.array[some])
        return {
            "X": fingerprint(n, dataset.shape, dataset.array.dtype, f"{dataset.scaler.scale:.6g}", rows),
            "the labels": fingerprint(self.labeled_index, self.labels),
            "the initial w": fingerprint(*([] if self.w is None else [self.w])),
            "the parameters": fingerprint(self.networks, self.recipe, self.dtype, dataset.device.type),
            "the last fit's model": fingerprint(*([] if self.model is None else [self.model.to_numpy()])),
        }

    def data_key(self) -> str:
        """Return a checksum of the data as the networks see them, of the device and of the package's version."""
        dataset = self.dataset
        return fingerprint(hash_array(dataset.array), dataset.shape, dataset.scaler, dataset.device.type, VERSION)

    def fingerprint(self) -> str:
        """Return a checksum of everything that a fit depends on, apart from its seed."""
        labels = [self.labeled_index, self.labels, *([] if self.w is None else [self.w])]
        start = [] if self.model is None else [self.model.to_numpy()]
        return fingerprint(self.data_key(), self.networks, self.recipe, self.dtype, *labels, *start)


@dataclass
class FitResult:
    """A trained model and how it came about.

    Attributes
    ----------
    model : MixtureModel
    w : Tensor of shape (n, K)
        P(c|x) of every sample; of labeled ones, their label.
    history : list of dict
        One record an EM iteration.
    status : {"converged", "exhausted", "diverged", "interrupted"}
        Why training ended: labels no longer changed; `max_iter` was reached, or a callback stopped it; it became numerically
        unstable, or the user interrupted it, and the model is that of the last complete iteration.
    criterion : float
        By which restarts are compared, see `view_mutual_information`.
    """

    model: MixtureModel
    w: Tensor
    history: list[dict[str, Any]]
    status: str
    criterion: float


@float32_with_grad()
def fit(
    spec: FitSpec,
    seed: int,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> FitResult:
    """Fit one model from one seed, or go on from a checkpoint of the same fit.

    Raises
    ------
    KeyboardInterrupt
        If interrupted before the first EM iteration was complete; later, the model so far is returned.
    """
    dataset, recipe, progress = spec.dataset, spec.recipe, progress or Progress()
    seeds = Seeds.from_seed(seed)
    model = spec.model or MixtureModel(spec.networks, recipe.networks, seeds.networks, dataset.device)
    rng = torch.Generator(dataset.device).manual_seed(seeds.em)
    streams = seed_global_rng(seeds.global_streams, dataset.device)
    with sharing(joined()), current().parallel(*model.networks()), streams, deterministic_cudnn():
        saved = current().on_first(checkpoint.read) if checkpoint else None
        if saved:
            w, neighbors = saved["w"], saved["neighbors"]
        else:
            w, neighbors = initialize(spec, model, rng, seeds, progress, checkpoint)
        augment = augmentation(spec, neighbors)
        state = EMState(model, dataset, recipe, rng, spec.dtype, augment, spec.labeled_index, spec.labels)
        # Rows whose neighbors have told w of the labels need not see these again: the E-net would learn few rows by heart.
        state.draws_labeled = neighbors is None
        if saved is None:
            w = w.to(dataset.device)
            state.has_informative_init = spec.has_informative_init(w)
        else:
            w = load_state_dict(state, saved)

        def report(state: EMState, w: Tensor) -> bool:
            # For the checkpoint to know. All processes go on, or none does.
            state.stop_requested = not current().all_true(not progress.end_iteration(state, w))
            if checkpoint:
                checkpoint.write_if_due(state, w, neighbors)
            return state.stop_requested

        try:
            if checkpoint and saved is None:
                checkpoint.write_if_due(state, w, neighbors)
            w = expectation_maximization(state, w, report, progress.begin_iteration)
            status = "converged" if state.converged else "exhausted"
        except (DivergenceError, KeyboardInterrupt) as error:
            # Of several processes, others wait for this one: all have to end.
            if isinstance(error, KeyboardInterrupt) and (not state.history or current().size > 1):
                raise
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "diverged"
            w = clamp_labels(model.posterior(dataset), state)
            update_phi(state, w)
        try:
            criterion = view_mutual_information(state)
        except KeyboardInterrupt:
            if status == "diverged" or current().size > 1:
                raise
            status, criterion = "interrupted", math.nan
        current().check_equal(lambda: {"the weights at the end": fingerprint(model.to_numpy(), w)})
        return FitResult(model, w, state.history, status, criterion)


def initialize(
    spec: FitSpec, model: MixtureModel, rng: torch.Generator, seeds: Seeds, progress: Progress, checkpoint: Checkpoint | None
) -> tuple[Tensor, Tensor | None]:
    """Make the initial w (Algorithm 1, line 1), and find each row's neighbors where the augmentation needs them."""
    dataset, labeled = spec.dataset, (spec.labeled_index, spec.labels)
    graph = neighbor_graph(spec, model, seeds, progress, checkpoint) if spec.needs_graph_init or spec.needs_neighbors else None
    method = current().on_first(select_label_method, graph, dataset, *labeled, spec.n_clusters) if graph is not None else None
    if graph is not None and method is None:
        progress.message("neighbors say little of the classes, and are not used")
        graph = None
    neighbors = graph.neighbors if graph is not None and spec.needs_neighbors else None
    if spec.w is not None:
        return spec.w, neighbors
    usable = graph if spec.needs_graph_init else None
    init = InitSpec(
        dataset, spec.n_clusters, usable, spec.recipe.graph_size, seeds.init, rng, *labeled, method or "propagation"
    )
    with progress.task("initial labels"):
        return INITIALIZERS[spec.recipe.init](init), neighbors


def neighbor_graph(
    spec: FitSpec, model: MixtureModel, seeds: Seeds, progress: Progress, checkpoint: Checkpoint | None
) -> NeighborGraph:
    """Find each sample's neighbors; of images, by features that are learned first."""
    data = spec.data_key() if spec.memory else ""
    own_keep = checkpoint.keep if checkpoint else None

    def keep(name: str, key: str, compute: Callable[[], Any]) -> Any:
        return current().recall(partial(remember, spec.memory, own_keep, name, key), compute)

    features = learn_features(spec, model, seeds, data, progress, keep) if spec.learns_features else ""
    lists = neighbor_lists(spec, model, seeds, data + features, progress, keep)
    return NeighborGraph(lists, spec.n_clusters, spec.recipe.n_neighbors, is_image(spec.dataset.shape), seeds.embeddings)


@float32_with_grad()
def partition_for_each(spec: FitSpec, numbers: Sequence[int], seed: int, progress: Progress) -> tuple[Tensor, list[np.ndarray]]:
    """Partition the neighbor graph into each number of clusters; return all samples' features (n, m) and labels (n,).

    The features and neighbors are those that `fit` would have, with any number of clusters.
    """
    seeds = Seeds.from_seed(seed)
    model = MixtureModel(spec.networks, spec.recipe.networks, seeds.networks, spec.dataset.device)
    with seed_global_rng(seeds.global_streams, spec.dataset.device), deterministic_cudnn():
        graph = neighbor_graph(spec, model, seeds, progress, None)
        labels = [
            init_from_partition(graph.with_clusters(number), number, seeds.init, spec.dataset.has_directions)
            .argmax(dim=1)
            .numpy()
            for number in numbers
        ]
        return model.embed(spec.dataset).cpu(), labels


def learn_features(spec: FitSpec, model: MixtureModel, seeds: Seeds, data: str, progress: Progress, keep: Keep) -> str:
    """Train the model's encoder, or find it in memory; return the key of what it depends on."""
    recipe, transform = spec.recipe, spec.transform
    assert transform is not None
    settings = [recipe.encoder_steps, recipe.encoder_batch_size, recipe.encoder_learning_rate, recipe.width]
    key = fingerprint(data, settings, recipe.networks.e_net, transform, spec.dtype, seeds.networks, seeds.encoder)

    def compute() -> dict[str, np.ndarray]:
        rng = torch.Generator(spec.dataset.device).manual_seed(seeds.encoder)
        with progress.task("features", recipe.encoder_steps) as advance:
            fit_encoder(model, spec.dataset, recipe, transform, rng, spec.dtype, advance)
        return model.encoder_to_numpy()

    model.load_encoder(keep("encoder", key, compute))
    return key


def neighbor_lists(
    spec: FitSpec, model: MixtureModel, seeds: Seeds, features: str, progress: Progress, keep: Keep
) -> NeighborLists:
    """Find the nearest neighbors, or find them in memory."""
    dataset, recipe, index = spec.dataset, spec.recipe, spec.labeled_index
    rng = torch.Generator(dataset.device).manual_seed(seeds.graph)
    # Where not all samples are in the graph, labeled ones come first: the neighbors then depend on which these are.
    priority = stratified_order(index, spec.labels, rng) if len(dataset) > recipe.graph_size else NO_INDEX
    sizes, hybrid = (recipe.n_neighbors, recipe.graph_size), model.encoder is not None

    def compute() -> dict[str, np.ndarray | None]:
        with progress.task("neighbors"):
            return find_neighbors(dataset, model.embed, *sizes, rng, hybrid=hybrid, priority=priority).to_numpy()

    key = fingerprint(features, sizes, hybrid, priority, seeds.graph)
    return NeighborLists.from_numpy(keep("neighbors", key, compute))


def augmentation(spec: FitSpec, neighbors: Tensor | None) -> Augmentation | None:
    """Return the transforms under which the E-net's answer must stay the same.

    Warps change `color`, but not `contrast`: the E-net, unlike an encoder, is not tempted to recognize an image by it.
    """
    if neighbors is not None:
        few_labels = spec.dataset.has_directions and len(spec.labeled_index) > 0
        return NeighborMixup(spec.dataset, neighbors, dropout=EMBEDDING_DROPOUT if few_labels else 0.0)
    own = spec.transform
    return replace(own, contrast=0.0) if isinstance(own, ImageWarp) else own
