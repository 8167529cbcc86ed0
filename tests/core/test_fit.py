"""From data to a trained model, and every seam at which a part can be exchanged."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from skganem import Networks
from skganem.core.data.dataset import Scaler
from skganem.core.em import e_step, loop
from skganem.core.em.e_step import normalized_confidence
from skganem.core.features.transforms import ImageWarp
from skganem.core.fit import FitSpec, Seeds, augmentation, fit, initialize, neighbor_graph
from skganem.core.networks.mixture import MixtureModel
from skganem.core.runtime.progress import Progress
from tests.conftest import CPU, dataset_of, directions, draw_labels, fast_recipe, fit_core, rings


def image_spec(augment):
    return FitSpec(dataset_of(np.zeros((4, 64)), (1, 8, 8)), 2, fast_recipe(augmentation=augment), torch.float32)


# Initialization


@pytest.mark.parametrize("init", ["graph", "kmeans", "random", "uniform"])
def test_initial_w(blobs, init, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "m_step", lambda state, w: seen.append(w) or (0.0, 0.0))
    assert fit_core(blobs[0], init=init, max_iter=1, n_warmup_iter=0).w.shape == (150, 3)
    torch.testing.assert_close(seen[0].sum(dim=1), torch.ones(150))
    spread = float(seen[0].std(dim=0).min())
    assert spread == 0 if init == "uniform" else spread > 0.1


@pytest.mark.parametrize(("init", "generates"), [("uniform", True), ("random", True), ("kmeans", False), ("graph", False)])
def test_an_uninformative_initial_w_leaves_the_generator_to_teach_the_e_net(blobs, init, generates, monkeypatch):
    calls, generated_batch = [], e_step.generated_batch

    def note(state, n):
        calls.append(state.iteration)
        return generated_batch(state, n)

    monkeypatch.setattr(e_step, "generated_batch", note)
    fit_core(blobs[0], init=init, n_warmup_iter=2, max_iter=3, tol=0.0)
    assert set(calls) == ({0, 1, 2} if generates else {2})
    calls.clear()
    index = torch.arange(30)
    recipe = fast_recipe(init=init, n_warmup_iter=2, max_iter=3, tol=0.0)
    labels = torch.from_numpy(blobs[1])[index]
    fit(FitSpec(dataset_of(blobs[0]), 3, recipe, torch.float32, labeled_index=index, labels=labels), 0)
    assert set(calls) == {2}  # labels teach the E-net


def test_labeled_samples_are_in_a_small_graph(blobs):
    index = torch.tensor([5, 70, 140])
    recipe = fast_recipe(graph_size=20)
    spec = FitSpec(dataset_of(blobs[0]), 3, recipe, torch.float32, labeled_index=index, labels=torch.arange(3))
    for seed in range(3):
        model = MixtureModel(spec.networks, recipe.networks, 0, CPU)
        found = neighbor_graph(spec, model, Seeds.from_seed(seed), Progress(), None)
        assert torch.isin(index, found.nodes).all()
        assert len(found.nodes) == 20


@pytest.mark.parametrize(("make", "used"), [(rings, True), (directions, False)])
@pytest.mark.parametrize("per_class", [20, None])
def test_rows_are_mixed_with_neighbors_where_these_are_of_the_same_class(make, used, per_class):
    X, y = make()
    index, labels = (torch.arange(600), torch.from_numpy(y)) if per_class is None else draw_labels(y, per_class)
    dataset = dataset_of(X)
    spec = FitSpec(dataset, 2, fast_recipe(), torch.float32, labeled_index=index, labels=labels)
    model = MixtureModel(spec.networks, spec.recipe.networks, 0, dataset.device)
    progress, logged = Progress(), []
    progress.message = logged.append
    rng = torch.Generator().manual_seed(0)
    w, neighbors = initialize(spec, model, rng, Seeds.from_seed(0), progress, None)
    assert (augmentation(spec, neighbors) is not None) == used
    assert any("not used" in text for text in logged) != used
    assert (float(normalized_confidence(w).max()) > 0.5) == (used and per_class is not None)  # labels are clamped later


def test_each_part_of_a_fit_has_its_own_seed():
    seeds, other = Seeds.from_seed(0), Seeds.from_seed(1)
    assert seeds == Seeds.from_seed(0)
    assert len({*vars(seeds).values(), *vars(other).values()}) == 2 * len(vars(seeds))
    assert all(type(seed) is int for seed in vars(seeds).values())


def test_the_key_of_the_data_depends_on_what_the_networks_see():
    X = np.random.default_rng(0).normal(size=(6, 64))
    key = lambda *args, **settings: FitSpec(  # noqa: E731
        dataset_of(*args), settings.pop("n_clusters", 2), fast_recipe(**settings), torch.float32
    ).data_key()
    base = key(X, (1, 8, 8))
    assert base == key(X.copy(), (1, 8, 8)) == key(X, (1, 8, 8), n_clusters=5, width=3)
    scaler = Scaler(np.zeros(1), 1.0)
    others = [
        key(X),
        key(X, (1, 4, 16)),
        key(X + 1e-12, (1, 8, 8)),
        key(X.astype(np.float32), (1, 8, 8)),
        key(X, (1, 8, 8), scaler),
    ]
    assert len({base, *others}) == 6


@pytest.mark.parametrize(
    ("augment", "shape", "learns"),
    [("auto", (1, 8, 8), True), (None, (1, 8, 8), False), ("auto", (64,), False), (lambda x, i, r: x, (64,), False)],
)
def test_features_are_learned_of_images_that_have_an_augmentation(augment, shape, learns):
    spec = FitSpec(dataset_of(np.zeros((4, 64)), shape), 2, fast_recipe(augmentation=augment), torch.float32)
    assert spec.learns_features == learns


# Augmentation


@pytest.mark.parametrize("given", ["auto", ImageWarp()])
def test_the_e_step_warps_images_but_leaves_their_contrast(given):
    spec = image_spec(given)
    assert spec.transform == ImageWarp()
    assert augmentation(spec, None) == replace(ImageWarp(), contrast=0.0)


@dataclass(frozen=True)
class InvertingWarp(ImageWarp):
    """Also inverts images."""

    probability: float = 0.5

    def __call__(self, x, index, rng):
        return -super().__call__(x, index, rng)


def test_a_subclass_of_image_warp_stays_one_without_contrast():
    own = augmentation(image_spec(InvertingWarp(angle=0.2, probability=1.0)), None)
    assert isinstance(own, InvertingWarp)
    assert (own.angle, own.probability, own.contrast) == (0.2, 1.0, 0.0)


def test_own_augmentation(digits):
    calls = []

    def augment(x, index, rng):
        calls.append(index is None)
        return x + 0.1 * torch.randn(x.shape, generator=rng)

    fit_core(digits[0], shape=(1, 8, 8), augmentation=augment)
    assert True in calls
    assert False in calls


# Networks


def test_own_networks(digits):
    built = []

    def body(shape, width):
        built.append(shape)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.Tanh())

    def generator(shape, n_inputs, width):
        return nn.Sequential(nn.Linear(n_inputs, 64), nn.Tanh(), nn.Unflatten(1, shape))

    result = fit_core(digits[0], shape=(1, 8, 8), networks=Networks(generator, body, body))
    assert built == [(1, 8, 8)] * 3  # E, D, and the encoder of the features for the graph
    assert result.model.e_net.n_features == 7
    assert len(result.history) == 2


def test_own_networks_may_have_three_dimensional_convolutions(digits):
    def body(shape, width):
        return nn.Sequential(nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 2, (1, 3, 3)), nn.Flatten(), nn.Tanh())

    result = fit_core(digits[0], shape=(1, 8, 8), networks=Networks(e_net=body))
    assert result.model.e_net.n_features == 72
    assert len(result.history) == 2


# Labels


def test_the_smallest_batches_of_labeled_images(digits):
    X, y = digits
    recipe = fast_recipe(consistency_weight=0.0, e_batch_size=2, max_iter=1)
    labeled = {"labeled_index": torch.arange(30), "labels": torch.as_tensor(y[:30])}
    assert fit(FitSpec(dataset_of(X, (1, 8, 8)), 10, recipe, torch.float32, **labeled), 0).status == "exhausted"
