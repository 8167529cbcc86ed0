"""Data that are read when they are indexed: fits, predictions and errors are those of the array in memory."""

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import Subset, TensorDataset

from skganem import DatasetArray, GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer, ImageFiles
from skganem.core import fit as core_fit
from skganem.core.data import dataset as core_dataset
from skganem.core.runtime import fingerprint
from skganem.display import ClusterConfusionDisplay, FeatureMapDisplay, NumberOfClustersDisplay
from tests.conftest import count_calls, everything, fast_recipe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 120


class Source:
    """An array that notes how many samples it is asked for at once."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        found = self.values[key]
        self.most = max(self.most, len(found))
        return found


def hdf5(X, folder):
    h5py = pytest.importorskip("h5py")
    chunks = {"chunks": (min(7, len(X)), *X.shape[1:]), "compression": "gzip"} if X.size else {}
    return h5py.File(folder / "X.h5", "w").create_dataset("X", data=X, **chunks)


def zarr(X, folder):
    return pytest.importorskip("zarr").create_array(folder / "X.zarr", data=X, chunks=(7, *X.shape[1:]))


def dask(X, folder):
    return pytest.importorskip("dask.array").from_array(X, chunks=(50, *X.shape[1:]))


def memory_map(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def files(X, folder, cache=None):
    Image = pytest.importorskip("PIL.Image")
    for i, image in enumerate(X):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return ImageFiles(folder, X.shape[1:3], mode="L" if X.ndim == 3 else "RGB", cache=cache)


def cached_files(X, folder):
    return files(X, folder, cache=folder / "cache.npy")


def tensors(X, folder):
    return DatasetArray(TensorDataset(torch.tensor(X)))


def source(X, folder):
    return Source(X)


EXTERNAL = [hdf5, zarr, dask]
KINDS = [*EXTERNAL, memory_map, files, cached_files, tensors, source]


@pytest.fixture(scope="module")
def images(digits):
    return digits[0][:N].astype(np.uint8)


@pytest.fixture(scope="module")
def colors(images):
    return np.stack([images, images // 2, 16 - images], axis=3)


def fast(n_clusters=3, **params):
    return GANEMClustering(n_clusters, **{"recipe": fast_recipe(), "random_state": 0, **params})


@pytest.fixture(scope="module")
def fitted(images):
    return fast().fit(images)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_of_images_is_that_of_the_array(kind, images, fitted, tmp_path):
    X = kind(images, tmp_path)
    model = fast().fit(X)
    assert everything(model, X) == everything(fitted, images)
    np.testing.assert_array_equal(model.labels_, fitted.labels_)
    np.testing.assert_array_equal(model.predict(X), fitted.predict(images))
    assert model.score(X) == fitted.score(images)
    assert (model.image_shape_, model.n_features_in_) == ((8, 8), 64)
    assert model.sample(2)[0].dtype == np.uint8


@pytest.mark.parametrize("kind", [hdf5, files, source])
def test_a_fit_of_color_images_is_that_of_the_array(kind, colors, tmp_path):
    X = kind(colors, tmp_path)
    assert everything(fast().fit(X), X) == everything(fast().fit(colors), colors)


@pytest.mark.parametrize("kind", [*EXTERNAL, tensors, source])
@pytest.mark.parametrize("dtype", ["float64", ">f4", "int32"])
def test_a_fit_of_rows_is_that_of_the_array(kind, dtype, blobs, tmp_path):
    if kind is tensors and dtype == ">f4":
        pytest.skip("torch has no such dtype")
    rows = (100 * blobs[0]).astype(dtype)
    X = kind(rows, tmp_path)
    assert everything(fast().fit(X), X) == everything(fast().fit(rows), rows)


def test_rows_of_images_are_recognized(images, tmp_path):
    rows = images.reshape(N, 64)
    for model in (fast().fit(hdf5(rows, tmp_path)), fast(image_shape=(8, 8)).fit(Source(rows))):
        np.testing.assert_array_equal(model.labels_, fast().fit(images).labels_)


@pytest.mark.parametrize("kind", [hdf5, tensors])
def test_the_other_estimators(kind, digits, images, tmp_path):
    X, y = kind(images, tmp_path), np.where(np.arange(N) % 3 == 0, digits[1][:N], -1)
    for make in (GANEMSemiSupervisedClassifier, lambda **settings: GANEMTransformer(4, **settings)):
        lazy, whole = (make(recipe=fast_recipe(), random_state=0).fit(data, y) for data in (X, images))
        ask = "transform" if hasattr(lazy, "transform") else "predict_proba"
        np.testing.assert_array_equal(getattr(lazy, ask)(X), getattr(whole, ask)(images))
        np.testing.assert_array_equal(lazy.weights_, whole.weights_)


@pytest.mark.parametrize("n_labels", [10, N])
def test_a_fit_never_reads_the_whole(n_labels, digits, images, monkeypatch, tmp_path):
    """Nor does what is asked of the model, nor what is kept of the fit."""
    monkeypatch.setattr(core_dataset, "CHUNK_BYTES", 8 * 64 * 20)
    monkeypatch.setattr(core_dataset, "MAX_COPIED_BYTES", 64 * 20)
    monkeypatch.setattr(fingerprint, "HASH_BYTES", 64 * 20)
    blocks = ["graph.knn.ROW_BLOCK", "graph.knn.OUTSIDE_BLOCK", "em.e_step.MEASURE_BATCH", "em.criterion.BATCH"]
    for name in [*blocks, "data.batches.CPU_CHUNK", "data.batches.MIN_CHUNK"]:
        monkeypatch.setattr(f"skganem.core.{name}", 20)
    monkeypatch.setattr("skganem._clustering.MAX_SCORED", 20)
    recipe = fast_recipe(batch_size=20, e_batch_size=20, encoder_batch_size=20, graph_size=90)
    settings = {"recipe": recipe, "random_state": 0, "memory": str(tmp_path / "memory"), "checkpoint_dir": tmp_path / "fit"}
    y = np.where(np.arange(N) < n_labels, digits[1][:N] % 3, -1)
    X = Source(images)
    clustering = GANEMClustering(3, **{**settings, "checkpoint_dir": tmp_path / "clusters"}).fit(X)
    clustering.score(X)
    GANEMSemiSupervisedClassifier(**settings).fit(X, y).predict(X)
    assert X.most <= 30


def test_what_is_kept_of_the_array_is_found(images, monkeypatch, tmp_path):
    calls = count_calls(monkeypatch, core_fit, "fit_encoder", "find_neighbors")
    settings = {"memory": str(tmp_path / "memory"), "checkpoint_dir": tmp_path / "fit"}
    expected = everything(fast(**settings).fit(images), images)
    assert len(calls) == 2
    X = hdf5(images, tmp_path)
    fast(4, memory=settings["memory"]).fit(X)
    assert len(calls) == 2
    monkeypatch.setattr("skganem.core.em.loop.e_step", None)
    assert everything(fast(**settings).fit(X), X) == expected


def test_warm_start(images, tmp_path):
    X = hdf5(images, tmp_path)
    lazy, whole = (fast(warm_start=True).fit(first).fit(second) for first, second in ((X, X[:]), (images, images)))
    assert everything(lazy, X) == everything(whole, images)
    lazy, whole = (fast(warm_start=True).fit(images[:60]).fit(second) for second in (X, images))
    assert everything(lazy, X) == everything(whole, images)


def test_restarts_in_threads(images, tmp_path):
    X = hdf5(images, tmp_path)
    with parallel_config("threading"):
        assert everything(fast(n_init=2, n_jobs=2).fit(X), X) == everything(fast(n_init=2).fit(images), images)


def test_an_initialization_of_ones_own_gets_an_array(images, tmp_path):
    def init(X, n_clusters, random_state):
        return np.eye(n_clusters)[KMeans(n_clusters, random_state=random_state).fit_predict(X)]

    X = hdf5(images, tmp_path)
    assert everything(fast(init=init).fit(X), X) == everything(fast(init=init).fit(images), images)
    assert everything(fast(init="kmeans").fit(X), X) == everything(fast(init="kmeans").fit(images), images)


def test_displays(images, fitted, digits, tmp_path):
    X, y = hdf5(images, tmp_path), digits[1][:N]
    found = [
        (
            FeatureMapDisplay.from_estimator(fitted, data).points,
            ClusterConfusionDisplay.from_estimator(fitted, data, y).counts,
            NumberOfClustersDisplay.from_estimator(fast(), data, n_clusters=[2, 3]).scores,
        )
        for data in (X, images)
    ]
    for lazy, whole in zip(*found, strict=True):
        np.testing.assert_array_equal(lazy, whole)


# Errors


def with_value(value, place):
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    rows[place] = value
    return rows


BAD = {
    "nan": with_value(np.nan, (0, 2)),
    "late nan": with_value(np.nan, (49, 2)),
    "infinity": with_value(np.inf, (30, 0)),
    "one sample": np.zeros((1, 4)),
    "no sample": np.zeros((0, 4)),
    "no feature": np.zeros((5, 0)),
    "one dimension": np.zeros(9),
    "five dimensions": np.zeros((3, 2, 2, 2, 2)),
    "complex": np.zeros((5, 4), complex),
    "small images": np.zeros((5, 4, 4)),
    "channels first": np.zeros((5, 3, 8, 8)),
}


@pytest.mark.parametrize("kind", [hdf5, zarr, dask])
@pytest.mark.parametrize("name", BAD)
def test_errors_are_those_of_the_array(kind, name, tmp_path, monkeypatch):
    monkeypatch.setattr(core_dataset, "CHUNK_BYTES", 8 * 4 * 9)
    if kind is zarr and BAD[name].size == 0:
        pytest.skip("zarr has no chunks for it")
    X = kind(BAD[name], tmp_path)
    with pytest.raises(ValueError) as expected:
        fast().fit(BAD[name])
    with pytest.raises(ValueError) as found:
        fast().fit(X)
    message = str(found.value).replace("<f4", "float32").replace("numpy.asarray(X)", "X")
    assert message == str(expected.value)


def test_predictions_have_the_errors_of_the_array(blobs, fitted, images, tmp_path):
    model = fast().fit(blobs[0])
    for estimator, X in (
        (model, blobs[0][:, :3]),
        (model, with_value(np.nan, 40)),
        (fitted, images[:, :, :7]),
        (model, images),
    ):
        with pytest.raises(ValueError) as expected:
            estimator.predict(X)
        with pytest.raises(ValueError) as found:
            estimator.predict(Source(X))
        assert str(found.value) == str(expected.value)


class Endless:
    """A torch data set without an IndexError, which NumPy would read for ever."""

    def __len__(self):
        return 50

    def __getitem__(self, position):
        pytest.fail("read as a sequence")


@pytest.mark.parametrize("ask", ["fit", "predict", "score"])
@pytest.mark.parametrize("X", [Endless(), TensorDataset(torch.zeros(50, 4)), (row for row in np.zeros((50, 4)))])
def test_what_is_no_array_is_refused_at_once(ask, X, blobs):
    with pytest.raises(TypeError, match="DatasetArray"):
        getattr(fast() if ask == "fit" else fast(max_iter=1).fit(blobs[0]), ask)(X)


@pytest.mark.parametrize("make", [GANEMSemiSupervisedClassifier, GANEMTransformer])
def test_the_other_estimators_refuse_it_too(make):
    with pytest.raises(TypeError, match=r"DatasetArray\(X\)"):
        make().fit(Endless(), np.zeros(50))


def test_files_of_many_arrays_are_refused(images, tmp_path):
    for X in (hdf5(images, tmp_path).file, pytest.importorskip("zarr").create_group(tmp_path / "group.zarr")):
        with pytest.raises(TypeError, match=r"with the entries .*Pass one of them: X\[name\]"):
            fast().fit(X)


def test_an_unknown_length_is_an_error(images, tmp_path):
    X = dask(images, tmp_path)
    with pytest.raises(ValueError, match=r"unknown shape, \(nan, 8, 8\).*compute_chunk_sizes"):
        fast().fit(X[X[:, 4, 4] > 3])


def test_a_broken_image_stops_the_fit_with_its_name(images, tmp_path):
    X = files(images, tmp_path)
    (tmp_path / "100.png").write_bytes(b"no image")
    model = fast()
    with pytest.raises(OSError, match=r"100\.png can't be read as an image"):
        model.fit(X)
    assert not hasattr(model, "image_shape_")


# Folds


GRID = {"n_clusters": [2, 3]}
FOLDS = KFold(2, shuffle=True, random_state=0)


def scores(model, X, grid=GRID):
    return GridSearchCV(model, grid, cv=FOLDS, refit=False).fit(X).cv_results_["mean_test_score"]


@pytest.fixture(scope="module")
def expected(images):
    return scores(fast(), images)


@pytest.mark.parametrize("kind", [files, cached_files, tensors])
def test_folds_are_read_into_memory(kind, images, expected, tmp_path):
    np.testing.assert_array_equal(scores(fast(), kind(images, tmp_path)), expected)


def test_folds_of_paths_are_not_read(images, expected, tmp_path, monkeypatch):
    paths = files(images, tmp_path).paths
    seen = []
    monkeypatch.setattr(
        GANEMClustering, "fit", lambda self, X, y=None, fit=GANEMClustering.fit: seen.append(X) or fit(self, X, y)
    )
    model = make_pipeline(FunctionTransformer(lambda fold: ImageFiles(fold, (8, 8))), fast())
    np.testing.assert_array_equal(scores(model, paths, {"ganemclustering__n_clusters": [2, 3]}), expected)
    assert {type(X) for X in seen} == {ImageFiles}


@pytest.mark.parametrize("kind", [memory_map, hdf5])
def test_folds_of_positions_are_not_read(kind, images, expected, tmp_path, monkeypatch):
    X, seen = kind(images, tmp_path), []
    monkeypatch.setattr(
        GANEMClustering, "fit", lambda self, X, y=None, fit=GANEMClustering.fit: seen.append(X) or fit(self, X, y)
    )
    model = make_pipeline(FunctionTransformer(lambda fold: DatasetArray(Subset(X, fold))), fast())
    np.testing.assert_array_equal(scores(model, np.arange(N), {"ganemclustering__n_clusters": [2, 3]}), expected)
    assert {type(X) for X in seen} == {DatasetArray}


def test_cross_validation_of_labels(images, digits, tmp_path):
    X, y = files(images, tmp_path), digits[1][:N] % 3
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(max_iter=1), random_state=0)
    np.testing.assert_array_equal(cross_val_score(model, X, y, cv=2), cross_val_score(model, images, y, cv=2))
