"""What a fit keeps in memory, which other fits find it there, and restarts side by side."""

import logging
import multiprocessing
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer, ImageWarp, Networks
from skganem.core import fit as core_fit
from skganem.core.networks.architectures import generator
from skganem.core.runtime.device import resolve_precision
from tests.conftest import CPU, count_calls, everything, fast_recipe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ALL = ["fit_encoder", "find_neighbors"]
#: Another one than "auto" is here.
AUTO = resolve_precision("auto", CPU, convolutional=True)
PRECISION = "float32" if AUTO == torch.bfloat16 else "bfloat16"


def small_features(shape, width):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), 7), torch.nn.LeakyReLU())


@pytest.fixture(scope="module")
def images(digits):
    return digits[0][:80]


@pytest.fixture
def calls(monkeypatch):
    return count_calls(monkeypatch, core_fit, *ALL)


def fast(n_clusters=3, **params):
    return GANEMClustering(n_clusters, **{"recipe": fast_recipe(), "random_state": 0, **params})


@pytest.mark.parametrize("kind", ["images", "rows"])
def test_results_are_the_same_with_and_without_memory(kind, images, blobs, tmp_path, calls):
    X = images if kind == "images" else blobs[0]
    expected = everything(fast().fit(X), X)
    assert everything(fast(memory=str(tmp_path)).fit(X), X) == expected
    calls.clear()
    assert everything(fast(memory=str(tmp_path)).fit(X), X) == expected
    assert calls == []


def test_without_memory_nothing_is_kept(images, tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    for memory in (None, None, joblib.Memory(None)):
        fast(memory=memory).fit(images)
    assert calls == 3 * ALL
    assert not list(tmp_path.iterdir())


def labels_of(digits):
    return np.where(np.arange(80) % 2 == 0, digits[1][:80], -1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fast(6),
        lambda: clone(fast()),
        lambda: pickle.loads(pickle.dumps(fast())),
        lambda: GANEMTransformer(4, n_clusters=5, recipe=fast_recipe(), random_state=0),
        lambda: GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0),
        lambda: GANEMTransformer(4, recipe=fast_recipe(), random_state=0),
        lambda: fast(max_iter=1, tol=0.5, batch_size=16, recipe=fast_recipe(min_e_steps=12, sharpening=1.5, init="uniform")),
        lambda: fast(init=np.eye(3)[np.arange(80) % 3]),
        lambda: fast(verbose=1),
        lambda: fast(n_init=1, random_state=np.random.RandomState(0)),
    ],
    ids=["n_clusters", "clone", "pickle", "transformer", "classifier", "with labels", "EM", "init", "verbose", "RandomState"],
)
def test_another_fit_finds_them(make, images, digits, tmp_path, calls):
    fast(memory=str(tmp_path)).fit(images)
    calls.clear()
    model = make()
    labels = () if isinstance(model, GANEMClustering) or getattr(model, "n_clusters", None) == 5 else (labels_of(digits),)
    found = model.set_params(memory=str(tmp_path)).fit(images, *labels)
    assert calls == []
    again = make().fit(images, *labels)
    assert found._posterior(images).tobytes() == again._posterior(images).tobytes()
    assert found.criterion_ == again.criterion_


def fit_without_learning(folder, X):
    torch.set_num_threads(1)
    core_fit.fit_encoder = core_fit.find_neighbors = None
    fast(5, memory=folder).fit(X)


@pytest.mark.parametrize(
    "n_folders",
    [1, 2],
)
def test_another_process_finds_them(images, tmp_path, n_folders):
    joblib.memory._FUNCTION_HASHES.clear()  # as in a new process
    for number in range(n_folders):
        fast(memory=str(tmp_path / str(number))).fit(images)
    folder = str(tmp_path / str(n_folders - 1))
    process = multiprocessing.get_context("spawn").Process(target=fit_without_learning, args=(folder, images))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("change", "learned"),
    [
        ({"random_state": 1}, ALL),
        ({"width": 4}, ALL),
        ({"precision": PRECISION}, ALL),
        ({"augmentation": ImageWarp(angle=0.1)}, ALL),
        ({"recipe": fast_recipe(encoder_steps=6)}, ALL),
        ({"recipe": fast_recipe(encoder_batch_size=16)}, ALL),
        ({"recipe": fast_recipe(encoder_learning_rate=1e-3)}, ALL),
        ({"recipe": fast_recipe(networks=Networks(generator, small_features, small_features))}, ALL),
        ({"recipe": fast_recipe(n_neighbors=5)}, ["find_neighbors"]),
        ({"recipe": fast_recipe(graph_size=40)}, ["find_neighbors"]),
        ({"augmentation": None}, ["find_neighbors"]),
        ({"init": "kmeans"}, []),  # needs none
    ],
    ids=lambda value: next(iter(value)) + str(next(iter(value.values()))) if isinstance(value, dict) else "",
)
def test_a_fit_with_other_settings_finds_only_what_does_not_depend_on_them(change, learned, images, tmp_path, calls):
    fast(memory=str(tmp_path)).fit(images)
    calls.clear()
    model = fast(**change, memory=str(tmp_path)).fit(images)
    assert calls == learned
    assert everything(model, images) == everything(fast(**change).fit(images), images)


@pytest.mark.parametrize(
    "change",
    [
        lambda X: np.where(np.arange(64).reshape(8, 8) == 9, X + 1e-9, X),
        lambda X: X.astype(np.float32),
        lambda X: X[::-1],
        lambda X: X[:79],
        lambda X: X[..., None].repeat(3, axis=3),
        lambda X: X.transpose(0, 2, 1),
    ],
    ids=["one pixel", "dtype", "order", "fewer", "color", "transposed"],
)
def test_other_data_find_nothing(change, images, tmp_path, calls):
    fast(memory=str(tmp_path)).fit(images)
    calls.clear()
    fast(memory=str(tmp_path)).fit(change(images))
    assert calls == ALL


def test_rows_have_neighbors_alone_and_other_shapes_of_the_same_values_others(images, blobs, tmp_path, calls):
    fast(memory=str(tmp_path)).fit(blobs[0])
    assert calls == ["find_neighbors"]
    fast(5, memory=str(tmp_path)).fit(blobs[0])
    assert calls == ["find_neighbors"]
    rows = images.reshape(80, 64)
    for shape in ((8, 8), (4, 16), (16, 4)):
        if min(shape) == 8:
            fast(image_shape=shape, memory=str(tmp_path)).fit(rows)
    fast(memory=str(tmp_path)).fit(images)  # are the same images
    assert calls == ["find_neighbors", *ALL]


def test_where_not_all_samples_are_nodes_neighbors_depend_on_which_are_labeled(images, digits, tmp_path, calls):
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(graph_size=40), random_state=0, memory=str(tmp_path))
    partial = labels_of(digits)
    model.fit(images, partial)
    calls.clear()
    clone(model).fit(images, partial)
    assert calls == []
    other = np.where(np.arange(80) % 2 == 1, digits[1][:80], -1)
    kept = clone(model).fit(images, other)
    assert calls == ["find_neighbors"]
    again = clone(model).set_params(memory=None).fit(images, other)
    assert kept.predict_proba(images).tobytes() == again.predict_proba(images).tobytes()


def test_each_start_has_its_own_and_the_first_is_that_of_a_single_one(images, tmp_path, calls):
    fast(memory=str(tmp_path)).fit(images)
    fast(n_init=2, memory=str(tmp_path)).fit(images)
    assert calls == 2 * ALL
    calls.clear()
    fast(4, n_init=2, memory=str(tmp_path)).fit(images)
    assert calls == []


def kept_in(folder):
    """Return what is kept, by the place of its file in a folder."""
    return {path.relative_to(folder).parent: joblib.load(path) for path in folder.rglob("output.pkl")}


def test_nothing_that_is_kept_depends_on_the_number_of_clusters(images, tmp_path):
    kept = []
    for n_clusters in (1, 2, 7):
        fast(n_clusters, memory=str(tmp_path / str(n_clusters))).fit(images)
        kept.append(kept_in(tmp_path / str(n_clusters)))
    assert kept[0] == {}  # one cluster needs no graph
    assert len(kept[1]) == 2
    assert kept[1].keys() == kept[2].keys()
    for place, arrays in kept[1].items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(kept[2][place][name], array)


@pytest.mark.parametrize("damage", [lambda old: b"garbage", lambda old: b"", lambda old: old[: len(old) // 2]])
def test_what_is_damaged_is_made_anew(damage, images, tmp_path, calls, caplog):
    expected = everything(fast(memory=str(tmp_path)).fit(images), images)
    for path in tmp_path.rglob("output.pkl"):
        path.write_bytes(damage(path.read_bytes()))
    calls.clear()
    with caplog.at_level(logging.WARNING), pytest.warns(UserWarning, match="could not be used, and was made anew") as caught:
        assert everything(fast(memory=str(tmp_path)).fit(images), images) == expected
    assert calls == ALL
    assert len(caught) == 2  # features and neighbors
    assert all(str(tmp_path) in str(warning.message) for warning in caught)
    assert sum("Exception while loading results" in record.getMessage() for record in caplog.records) == 2
    calls.clear()
    fast(memory=str(tmp_path)).fit(images)
    assert calls == []


def test_what_an_error_ended_is_not_kept(images, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(core_fit, "find_neighbors", lambda *args, **settings: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fast(memory=str(tmp_path)).fit(images)
    calls = count_calls(monkeypatch, core_fit, *ALL)
    model = fast(memory=str(tmp_path)).fit(images)
    assert calls == ["find_neighbors"]
    assert everything(model, images) == everything(fast().fit(images), images)


@pytest.mark.parametrize("kind", ["images", "rows"])
def test_a_memory_map_is_as_good(kind, images, blobs, tmp_path, calls):
    X = images if kind == "images" else blobs[0]
    memory = joblib.Memory(tmp_path, mmap_mode="r", verbose=0)
    fits = [everything(fast(memory=memory).fit(X), X) for _ in range(2)]  # a warning of torch's would be an error
    assert fits[0] == fits[1] == everything(fast().fit(X), X)
    assert len(calls) == (4 if kind == "images" else 2)


@pytest.mark.parametrize("kind", ["images", "rows"])
def test_a_pipeline_may_find_a_fitted_transformer_as_a_memory_map(kind, images, blobs, tmp_path):
    X, y = (images, np.arange(80) % 2) if kind == "images" else blobs
    transformer = GANEMTransformer(4, recipe=fast_recipe(), random_state=0)
    memory = joblib.Memory(tmp_path, mmap_mode="r", verbose=0)
    fits = [make_pipeline(transformer, GaussianNB(), memory=kept).fit(X, y) for kept in (None, memory, memory)]
    for pipeline in fits[1:]:
        np.testing.assert_array_equal(pipeline.predict_proba(X), fits[0].predict_proba(X))


def test_memory_without_a_seed(images, tmp_path, calls):
    for _ in range(2):
        fast(memory=str(tmp_path), random_state=None).fit(images)
    assert calls == 2 * ALL


def test_memory_is_a_folder_or_a_memory(images):
    for memory in (3, b"cache", object()):
        with pytest.raises(ValueError, match="'memory' parameter"):
            fast(memory=memory).fit(images)


def test_a_grid_search_side_by_side_shares_a_folder(images, tmp_path):
    search = GridSearchCV(fast(memory=str(tmp_path)), {"n_clusters": [2, 3]}, cv=2, n_jobs=2)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        search.fit(images)
    serial = GridSearchCV(fast(), {"n_clusters": [2, 3]}, cv=2).fit(images)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])
    assert len(kept_in(tmp_path)) == 2 * 3  # encoders and neighbors of two folds, and of all images


# Restarts side by side


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_restarts_side_by_side_are_those_one_after_the_other(backend, blobs):
    X, _ = blobs
    expected = fast(n_init=3).fit(X)
    with joblib.parallel_config(backend, **({"inner_max_num_threads": 1} if backend == "loky" else {})):
        found = fast(n_init=3, n_jobs=2).fit(X)
    assert found.criterion_ > fast().fit(X).criterion_
    assert everything(found, X) == everything(expected, X)
    np.testing.assert_array_equal(found.labels_, expected.labels_)


def test_restarts_side_by_side_share_the_memory_and_the_checkpoints(images, tmp_path, calls, monkeypatch):
    make = lambda **own: fast(n_init=2, memory=str(tmp_path / "memory"), **own)  # noqa: E731
    folder = tmp_path / "fit"
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        first = everything(make(n_jobs=2, checkpoint_dir=folder).fit(images), images)
    assert calls == []  # in this process
    assert everything(make().fit(images), images) == first
    assert calls == []
    monkeypatch.setattr("skganem.core.em.loop.e_step", None)
    assert everything(make(checkpoint_dir=folder).fit(images), images) == first


def test_what_cannot_be_fitted_side_by_side_says_so(blobs):
    X = np.full((60, 2), 1e308) * np.random.default_rng(0).uniform(-1, 1, (60, 2))
    with pytest.raises(ValueError, match="n_jobs"):
        fast(n_init=2, n_jobs=0).fit(blobs[0])
    with pytest.raises(ValueError, match="n_jobs"):
        fast(n_jobs="all").fit(X)
