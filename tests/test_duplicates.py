"""Equal samples are found without a model, and copies with small changes with one."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer, find_duplicates
from skganem.core.data.dataset import ArrayDataset
from skganem.core.graph import duplicates
from tests.conftest import fast_recipe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def as_lists(groups):
    return [group.tolist() for group in groups]


def fitted(X, estimator=GANEMClustering, **changes):
    """Fit to some of X, briefly: candidates need no better features."""
    recipe = fast_recipe(encoder_steps=20, encoder_batch_size=64, max_iter=1, generated_weight=0, graph_size=300, **changes)
    model = estimator(recipe=recipe, random_state=0)
    return model.fit(X[:300], np.arange(300) % 8) if estimator is GANEMSemiSupervisedClassifier else model.fit(X[:300])


def planted(X, copies):
    """Return X (n, h, w) with changed copies below it, and the position of the original of each image."""
    rng = np.random.default_rng(0)
    source = rng.choice(len(X), (len(copies), 50), replace=False)
    changed = [change(X[chosen], rng) for change, chosen in zip(copies.values(), source, strict=True)]
    return np.concatenate([X, *changed]), np.r_[np.arange(len(X)), source.ravel()]


def count_found(groups, origin, names):
    """Return how many copies of each kind are in a group with their original, and how many pairs are no copies."""
    which = np.arange(len(origin))
    for number, group in enumerate(groups):
        which[group] = -1 - number
    n_originals = len(origin) - 50 * len(names)
    found = (which == which[origin])[n_originals:].reshape(len(names), 50).sum(axis=1)
    pairs = [(a, b) for group in groups for a in group for b in group if a < b]
    return dict(zip(names, found, strict=True)), sum(origin[a] != origin[b] for a, b in pairs)


COPIES = {
    "equal": lambda X, rng: X,
    "brighter": lambda X, rng: np.minimum(X + 1, 16),
    "noisy": lambda X, rng: np.clip(X + rng.integers(-1, 2, X.shape), 0, 16),
    "shifted": lambda X, rng: np.roll(X, 1, axis=2),
}


@pytest.fixture(scope="module")
def images():
    return load_digits().images


@pytest.fixture(scope="module")
def model(images):
    return fitted(images)


# Without a model


@pytest.mark.parametrize("form", [np.array, list, pd.DataFrame, torch.tensor])
def test_groups_of_equal_rows(form):
    X = [[1, 2], [3, 4], [5, 6], [3, 4], [7, 8], [1, 2], [3, 4], [0, 0], [0, 0]]
    assert as_lists(find_duplicates(form(X))) == [[1, 3, 6], [0, 5], [7, 8]]


def test_equal_images_in_a_memory_map(images, tmp_path):
    X = np.concatenate([images, images[5:7], images[5:6]]).astype(np.uint8)
    np.save(tmp_path / "X.npy", X)
    n = len(images)
    expected = [[5, n, n + 2], [6, n + 1]]
    assert as_lists(find_duplicates(X)) == expected
    assert as_lists(find_duplicates(np.load(tmp_path / "X.npy", mmap_mode="r"))) == expected


def test_where_all_differ_there_are_no_groups(images, blobs):
    assert find_duplicates(images) == []
    assert find_duplicates(blobs[0]) == []
    assert find_duplicates(images[:1]) == []


def test_values_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        find_duplicates([[1.0, np.nan], [1.0, np.nan]])


# With a model


def test_copies_of_digits_are_found(images, model):
    X, origin = planted(images, COPIES)
    found, n_wrong = count_found(find_duplicates(X, model), origin, list(COPIES))
    assert found["equal"] == found["brighter"] == 50
    assert found["noisy"] >= 30
    assert n_wrong <= 2
    without, n_wrong = count_found(find_duplicates(X), origin, list(COPIES))
    assert without == {"equal": 50, "brighter": 0, "noisy": 0, "shifted": 0}
    assert n_wrong == 0


def test_shifted_copies_are_found_in_larger_images(images):
    X, origin = planted(images.repeat(3, axis=1).repeat(3, axis=2), COPIES)
    found, n_wrong = count_found(find_duplicates(X, fitted(X)), origin, list(COPIES))
    assert found["equal"] == found["brighter"] == 50
    assert min(found["noisy"], found["shifted"]) >= 40
    assert n_wrong <= 2


def test_the_threshold_decides(images, model):
    X, origin = planted(images, COPIES)
    numbers = [count_found(find_duplicates(X, model, threshold=each), origin, list(COPIES)) for each in (0, 0.2, 0.35, 0.7)]
    noisy, n_wrong = [found["noisy"] for found, _ in numbers], [wrong for _, wrong in numbers]
    assert noisy == sorted(noisy)
    assert noisy[0] == n_wrong[0] == 0
    assert numbers[0][0]["equal"] == 50
    assert noisy[-1] == 50
    assert n_wrong[-1] > 20


def test_more_copies_than_candidates_are_one_group(images, model):
    noise = np.random.default_rng(0).normal(0, 0.1, (40, 8, 8))
    X = np.concatenate([images[:600], images[7] + noise])
    assert as_lists(find_duplicates(X, model)) == [[7, *range(600, 640)]]


def test_the_largest_group_comes_first(images, model):
    X = np.concatenate([images[:300], images[[10, 3, 3]], images[[200, 10]] + 0.1])
    assert as_lists(find_duplicates(X, model)) == [[3, 301, 302], [10, 300, 304], [200, 303]]


def test_color_images(images):
    X = np.stack([images, images[:, ::-1], images[:, :, ::-1]], axis=3)
    A = np.concatenate([X[:400], X[:5] + 0.3])
    assert as_lists(find_duplicates(A, fitted(X))) == [[i, 400 + i] for i in range(5)]


@pytest.mark.parametrize("estimator", [GANEMClustering, GANEMTransformer, GANEMSemiSupervisedClassifier])
def test_nearly_equal_rows(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    model = fitted(X, estimator)
    A = np.concatenate([X, X[[4, 9, 4]] + rng.normal(0, 1e-3, (3, 5)), X[:1] + 0.5])
    assert as_lists(find_duplicates(A, model)) == [[4, 400, 402], [9, 401]]
    assert as_lists(find_duplicates(A, FrozenEstimator(model))) == [[4, 400, 402], [9, 401]]


def test_images_without_features(images):
    recipe = fast_recipe(augmentation=None, max_iter=1)
    model = GANEMClustering(4, recipe=recipe, random_state=0).fit(images[:100])
    assert as_lists(find_duplicates(np.concatenate([images[:100], images[:2] + 0.1]), model)) == [[0, 100], [1, 101]]


def test_a_memory_map_is_read_in_parts(images, model, tmp_path, monkeypatch):
    X = np.concatenate([images, images[:20], images[30:40] + 1])
    np.save(tmp_path / "X.npy", X)
    expected = as_lists(find_duplicates(X, model))
    sizes, whole = [], ArrayDataset.subset
    monkeypatch.setattr(duplicates, "PAIR_BLOCK", 100)
    monkeypatch.setattr(ArrayDataset, "subset", lambda self, index: sizes.append(len(index)) or whole(self, index))
    assert as_lists(find_duplicates(np.load(tmp_path / "X.npy", mmap_mode="r"), model)) == expected
    assert len(expected) >= 30
    assert max(sizes) <= 200


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples(images, model, n):
    assert find_duplicates(images[:n], model) == []
    assert as_lists(find_duplicates(np.repeat(images[:1], n + 1, axis=0), model)) == [list(range(n + 1))]


def test_bad_arguments_are_refused(images, model):
    with pytest.raises(TypeError, match="find_duplicates is for skganem's estimators, got a KMeans"):
        find_duplicates(images, KMeans())
    with pytest.raises(TypeError, match="of a pipeline, give the step"):
        find_duplicates(images, make_pipeline(model))
    with pytest.raises(NotFittedError):
        find_duplicates(images, GANEMClustering())
    with pytest.raises(ValueError, match="threshold"):
        find_duplicates(images, model, threshold=-0.1)
    with pytest.raises(ValueError, match="48 features"):
        find_duplicates(images[:, :, :6], model)
    with pytest.warns(UserWarning, match="not scaled as in fit"):
        find_duplicates(images * 1e39, model)


def test_groups_do_not_depend_on_settings_of_torch(images, model):
    X, _ = planted(images, COPIES)
    expected = as_lists(find_duplicates(X, model))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            assert as_lists(find_duplicates(X, model)) == expected
    finally:
        torch.set_default_dtype(torch.float32)
