"""Models in files, checkpoints, and fits that go on."""

import copy
import io
import json
import multiprocessing
import os
import pickle
import signal
from contextlib import nullcontext
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.datasets import make_blobs
from torch import nn

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer, Networks, load, save
from skganem.core import fit as core_fit
from skganem.core.em import loop
from skganem.core.networks.architectures import generator
from skganem.core.runtime import serialization
from tests.conftest import count_calls, everything, fast_recipe


@pytest.fixture(scope="module")
def fitted():
    X, y = make_blobs(120, centers=3, n_features=4, random_state=0)
    names = np.array(["left", "right", "up"])[y]
    partial = np.where(np.arange(120) < 30, names, "?")
    return X, [
        GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(X),
        GANEMSemiSupervisedClassifier(unlabeled="?", recipe=fast_recipe(), random_state=0).fit(X, partial),
        GANEMTransformer(5, n_clusters=3, recipe="default", max_iter=1, width=4, random_state=0).fit(X),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_loaded_model_is_the_saved_one(fitted, tmp_path, which):
    X, models = fitted
    model, path = models[which], tmp_path / "model.safetensors"
    save(model, path)
    again = load(path)
    assert repr(again) == repr(model)
    assert set(vars(again)) == set(vars(model))
    assert again.weights_.tobytes() == model.weights_.tobytes()
    assert again._posterior(X).tobytes() == model._posterior(X).tobytes()
    assert again._generate([0, 1, 2], 0).tobytes() == model._generate([0, 1, 2], 0).tobytes()
    for name in ("labels_", "classes_", "transduction_", "label_distributions_"):
        if hasattr(model, name):
            kept, loaded = getattr(model, name), getattr(again, name)
            assert kept.dtype == loaded.dtype
            np.testing.assert_array_equal(kept, loaded)
    for name, values in model.history_.items():
        assert again.history_[name].tobytes() == values.tobytes()


def test_a_loaded_model_of_images_takes_images(tmp_path, digits):
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(digits[0][:80])
    save(model, tmp_path / "digits.safetensors")
    again = load(tmp_path / "digits.safetensors")
    assert again.sample(2, random_state=0)[0].shape == (2, 8, 8)
    np.testing.assert_array_equal(again.predict_proba(digits[0]), model.predict_proba(digits[0]))
    assert again.score(digits[0]) == model.score(digits[0])
    again.fit(digits[0][:80])
    np.testing.assert_array_equal(again.labels_, model.labels_)


def small_features(shape, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 7), nn.LeakyReLU())


def test_what_holds_functions_is_asked_for_at_load(tmp_path):
    X, _ = make_blobs(60, centers=2, random_state=0)
    recipe = fast_recipe(networks=Networks(generator, small_features, small_features))
    model = GANEMClustering(2, recipe=recipe, random_state=np.random.RandomState(0)).fit(X)
    with pytest.warns(UserWarning, match="load is to be given: recipe"):
        save(model, tmp_path / "own.safetensors")
    with pytest.raises(ValueError, match="does not hold the recipe"):
        load(tmp_path / "own.safetensors")
    again = load(tmp_path / "own.safetensors", recipe=recipe)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.random_state is None
    with pytest.warns(UserWarning, match="load is to be given: recipe"):  # though the networks of the next fit are plain
        save(model.set_params(recipe="default"), tmp_path / "own.safetensors")
    with pytest.raises(ValueError, match="does not hold the recipe"):
        load(tmp_path / "own.safetensors")


def test_parameters_and_classes_of_other_libraries(tmp_path):
    X, y = make_blobs(60, centers=2, random_state=0)
    path = tmp_path / "model.safetensors"
    model = GANEMClustering(2, init=pd.DataFrame(np.eye(2)[y]), recipe=fast_recipe(), random_state=0).fit(X)
    with pytest.warns(UserWarning, match="load is to be given: init"):
        save(model, path)
    with pytest.warns(UserWarning, match="alone, not init"):
        np.testing.assert_array_equal(load(path).predict_proba(X), model.predict_proba(X))
    days = np.array(["2026-01-05", "2026-01-06"], dtype="datetime64[ns]")
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0).fit(X, days[y])
    save(model, path)
    assert load(path).predict(X).dtype == days.dtype
    np.testing.assert_array_equal(load(path).predict(X), model.predict(X))


def test_only_fitted_estimators_of_ours_are_saved(tmp_path):
    from sklearn.cluster import KMeans
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        save(GANEMClustering(), tmp_path / "x")
    with pytest.raises(TypeError, match="got a KMeans"):
        save(KMeans(2, n_init=1).fit([[0.0], [1.0]]), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_metadata_requests_are_left_out_with_a_warning(fitted, tmp_path):
    model = fitted[1][1]
    assert isinstance(model, GANEMSemiSupervisedClassifier)
    with config_context(enable_metadata_routing=True):
        asking = copy.deepcopy(model).set_score_request(sample_weight=True)
        with pytest.warns(UserWarning, match="call set_score_request and its like again after load"):
            save(asking, tmp_path / "x")
    np.testing.assert_array_equal(load(tmp_path / "x").transduction_, model.transduction_)


def test_a_failed_writing_leaves_the_old_file(fitted, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save(fitted[1][0], path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(fitted[1][1], path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def mutations(data, rng):
    """Yield 100 damaged forms of a file's bytes."""
    header = 8 + int.from_bytes(data[:8], "little")
    for size in rng.integers(0, len(data), 20):
        yield data[:size]
    for low, high, n in ((0, 8, 15), (8, header, 30), (header, len(data), 25)):
        for position in rng.integers(low, high, n):
            changed = bytearray(data)
            changed[position] ^= 1 << rng.integers(8)
            yield bytes(changed)
    for size in rng.integers(1, 100, 10):
        yield data + rng.bytes(size)


def test_damaged_files_are_refused(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    save(fitted[1][0], path)
    data = path.read_bytes()
    damaged = list(mutations(data, np.random.default_rng(0)))
    assert len(damaged) == 100
    for number, mutation in enumerate(damaged):
        other = tmp_path / f"{number}.safetensors"
        other.write_bytes(mutation)
        with pytest.raises(ValueError, match=rf"{number}\.safetensors (is damaged|was not written|was written|holds)"):
            load(other)


def write_head(path, head):
    """Write a file whose checksum is right, whatever is in it."""
    with open(path, "wb") as file:
        file.writelines(serialization.pack(head, {}))


class Bomb:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("bomb",)


def test_foreign_files_are_refused(fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = fitted[1][0]
    save(model, "model.safetensors")
    serialization.write("checkpoint.safetensors", "checkpoint", {})
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), "bomb.pt")
    joblib.dump(model, "model.joblib")
    (tmp_path / "text.txt").write_text("hello")
    head = {"format": "skganem", "version": "2", "kind": "model", "value": json.dumps({"new": "things"})}
    write_head("future.safetensors", head)
    stale = {**head, "version": "1", "value": json.dumps({"$": "NoSuchRecord", "items": {}})}
    write_head("stale.safetensors", stale)
    for name, message in {
        "checkpoint.safetensors": "holds a checkpoint, not a model",
        "bomb.pkl": "no file of skganem's", "bomb.pt": "no file of skganem's", "model.joblib": "no file of skganem's",
        "text.txt": "no file of skganem's", "future.safetensors": "newer version", "stale.safetensors": "another version",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=message):
            load(name)
    assert not (tmp_path / "bomb").exists()
    with pytest.raises(FileNotFoundError):
        load("absent.safetensors")


def test_a_device_that_is_absent_becomes_the_cpu(fitted, tmp_path):
    X, models = fitted
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(X)
    model.device = "cuda:7"  # as if it had been fitted there
    save(model, tmp_path / "model.safetensors")
    for reading in (lambda: load(tmp_path / "model.safetensors"), lambda: pickle.loads(pickle.dumps(model))):
        with pytest.warns(UserWarning, match="put on the CPU"):
            again = reading()
        assert again.device_ == "cpu"
        np.testing.assert_array_equal(again.predict(X), models[0].predict(X))
    assert load(tmp_path / "model.safetensors", device="cpu").device_ == "cpu"


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("kind", ["rows", "images"])
def test_a_model_may_be_a_memory_map(tmp_path, blobs, digits, kind, mode):
    """Without a warning of torch's about arrays that can't be written."""
    X = blobs[0] if kind == "rows" else digits[0][:80]
    model = GANEMClustering(3, recipe=fast_recipe(), warm_start=True, random_state=0).fit(X)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode=mode)
    assert everything(mapped, X) == everything(model, X)
    assert mapped.score(X) == model.score(X)
    save(mapped, tmp_path / "saved")
    assert everything(load(tmp_path / "saved"), X) == everything(model, X)
    written = (tmp_path / "model").read_bytes()
    assert everything(mapped.fit(X), X) == everything(model.fit(X), X)
    assert (tmp_path / "model").read_bytes() == written


def test_skops_keeps_a_model(fitted, tmp_path):
    skops = pytest.importorskip("skops.io")
    X, models = fitted
    skops.dump(models[0], tmp_path / "model.skops")
    unknown = skops.get_untrusted_types(file=tmp_path / "model.skops")
    assert all(name == "numpy.dtype" or name.startswith("skganem.") for name in unknown)
    np.testing.assert_array_equal(skops.load(tmp_path / "model.skops", trusted=unknown).predict(X), models[0].predict(X))


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (io.BytesIO(), TypeError, "that of a file, a str or path-like, got a BytesIO"),
        (b"model", TypeError, "got a bytes"),
        (None, TypeError, "got a NoneType"),
        ("", ValueError, "got an empty string"),
        ("folder", IsADirectoryError, "'folder' is a folder"),
    ],
    ids=["file object", "bytes", "None", "empty", "folder"],
)
def test_what_is_no_path_of_a_file_is_refused(fitted, tmp_path, monkeypatch, path, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for use in (load, partial(save, fitted[1][0])):
        with pytest.raises(error, match=message):
            use(path)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_open_and_closed_files_are_no_paths(fitted, tmp_path):
    (tmp_path / "model").touch()
    with open(tmp_path / "model", "rb") as file:
        with pytest.raises(TypeError, match="got a BufferedReader"):
            load(file)
    with pytest.raises(TypeError, match="got a BufferedReader"):
        save(fitted[1][0], file)


def test_a_file_in_a_folder_that_does_not_exist_is_refused(fitted, tmp_path):
    (tmp_path / "file").touch()
    for folder in ("absent", "file"):
        with pytest.raises(FileNotFoundError, match=rf"model' can't be written: '.*{folder}' is no folder"):
            save(fitted[1][0], tmp_path / folder / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_tilde_is_the_home_directory(fitted, tmp_path, monkeypatch):
    X, models = fitted
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save(models[0], "~/model")
    assert load("~/model").n_iter_ == models[0].n_iter_
    GANEMClustering(3, recipe=fast_recipe(), memory="~/memory", checkpoint_dir="~/fit", random_state=0).fit(X)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "memory", "fit"}
    assert (tmp_path / "fit" / "init_1.safetensors").exists()


@pytest.mark.parametrize("name", ["memory", "checkpoint_dir"])
def test_what_is_no_folder_is_refused(name, blobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for path, error, message in (("", ValueError, "got an empty string"), ("file", NotADirectoryError, "'file' is a file")):
        with pytest.raises(error, match=f"{name} must be .*{message}"):
            GANEMClustering(3, recipe=fast_recipe(), **{name: path}).fit(blobs[0])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Checkpoints


def noisy_features(shape, width):
    """Draw from torch's global stream in training."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 8), nn.Dropout(0.2), nn.LeakyReLU())


CASES = {
    "rows": ({}, "rows"),
    "images": ({}, "images"),
    "rmsprop, clipping": ({"optimizer": "rmsprop", "lipschitz": "clip", "init": "random"}, "rows"),
    "dropout": ({"networks": Networks(generator, noisy_features, noisy_features)}, "rows"),
    "two starts": ({}, "rows"),
}


@pytest.fixture(params=CASES)
def case(request, digits):
    changes, form = CASES[request.param]
    X = digits[0][:100] if form == "images" else make_blobs(100, centers=3, n_features=4, random_state=0)[0]
    n_init = 2 if request.param == "two starts" else 1
    return X, lambda **own: GANEMClustering(
        3, recipe=fast_recipe(max_iter=4, tol=0.0, **changes), n_init=n_init, random_state=3, **own
    )


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_ended_process_goes_on_to_the_same_end(case, tmp_path, monkeypatch):
    """Whatever call of the M-step, the E-step or the writing a process dies in, the next one ends as if it had not."""
    X, make = case
    expected = everything(make().fit(X), X)
    for stage in ((loop, "m_step"), (loop, "e_step"), (serialization, "write"), (os, "fsync"), (os, "replace")):
        for call in (1, 3):
            folder = tmp_path / f"{stage[1]}-{call}"
            with monkeypatch.context() as patch:
                dies_in(patch, *stage, call)
                with pytest.raises(Killed):
                    make(checkpoint_dir=folder).fit(X)
            assert everything(make(checkpoint_dir=folder).fit(X), X) == expected


def dies_in(patch, module, name, call):
    """Have the n-th call of a function end the process."""
    original, calls = getattr(module, name), []

    def function(*arguments, **settings):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **settings)

    patch.setattr(module, name, function)


def fit_until_killed(folder, X, recipe, call):
    torch.set_num_threads(1)
    original, calls = serialization.write, []

    def write(path, kind, value):
        original(path, kind, value)
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)

    serialization.write = write
    GANEMClustering(3, recipe=recipe, random_state=0, checkpoint_dir=folder).fit(X)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process by a signal that this system lacks")
def test_a_killed_process_goes_on_to_the_same_end(tmp_path):
    X, recipe = make_blobs(100, centers=3, random_state=0)[0], fast_recipe(max_iter=3, tol=0.0)
    expected = everything(GANEMClustering(3, recipe=recipe, random_state=0).fit(X), X)
    process = multiprocessing.get_context("spawn").Process(target=fit_until_killed, args=(tmp_path, X, recipe, 3))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    model = GANEMClustering(3, recipe=recipe, random_state=0, checkpoint_dir=tmp_path)
    assert everything(model.fit(X), X) == expected


def test_a_finished_fit_is_not_done_again(tmp_path, blobs, monkeypatch):
    make = lambda: GANEMClustering(3, recipe=fast_recipe(), checkpoint_dir=tmp_path)  # noqa: E731
    first = make().fit(blobs[0])
    monkeypatch.setattr(loop, "m_step", None)
    assert everything(make().fit(blobs[0]), blobs[0]) == everything(first, blobs[0])


def test_an_initial_w_that_is_drawn_anew_does_not_make_another_fit(tmp_path, blobs, monkeypatch):
    (X, y), rng = blobs, np.random.default_rng(0)
    draw = lambda X, n_clusters, random_state: 0.8 * np.eye(3)[y] + 0.2 * rng.dirichlet(np.ones(3), len(X))  # noqa: E731
    make = lambda init: GANEMClustering(3, init=init, recipe=fast_recipe(), checkpoint_dir=tmp_path)  # noqa: E731
    first = make(draw).fit(X)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "m_step", None)
        assert everything(make(draw).fit(X), X) == everything(first, X)
    with pytest.raises(ValueError, match="belongs to a fit of other data or with other parameters"):
        make(lambda X, n_clusters, random_state: np.eye(n_clusters)[np.arange(len(X)) % n_clusters]).fit(X)


def test_a_finished_fit_may_be_read_with_a_memory_or_other_jobs(tmp_path, blobs, monkeypatch):
    """Neither changes the result."""
    make = lambda **own: GANEMClustering(3, recipe=fast_recipe(), random_state=0, checkpoint_dir=tmp_path / "fit", **own)  # noqa: E731
    first = make().fit(blobs[0])
    monkeypatch.setattr(loop, "e_step", None)
    for own in ({"memory": str(tmp_path / "memory")}, {"n_jobs": 2}, {"verbose": 2}):
        assert everything(make(**own).fit(blobs[0]), blobs[0]) == everything(first, blobs[0])


@pytest.mark.parametrize("change", ["data", "recipe", "seed", "n_clusters"])
def test_checkpoints_of_another_fit_are_refused(tmp_path, blobs, change):
    X, _ = blobs
    settings = {"recipe": fast_recipe(), "random_state": 0, "n_clusters": 3}
    GANEMClustering(**settings, checkpoint_dir=tmp_path).fit(X)
    X = X + 1e-9 if change == "data" else X
    settings |= {
        "data": {}, "recipe": {"recipe": fast_recipe(min_e_steps=11)}, "seed": {"random_state": 1},
        "n_clusters": {"n_clusters": 2},
    }[change]  # fmt: skip
    with pytest.raises(ValueError, match="belongs to a fit of other data or with other parameters"):
        GANEMClustering(**settings, checkpoint_dir=tmp_path).fit(X)


def test_checkpoints_of_other_labels_are_refused(tmp_path, blobs):
    X, y = blobs
    make = lambda: GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0, checkpoint_dir=tmp_path)  # noqa: E731
    make().fit(X, np.where(np.arange(150) < 30, y, -1))
    with pytest.raises(ValueError, match="belongs to a fit of other data or with other parameters"):
        make().fit(X, np.where(np.arange(150) < 29, y, -1))


def test_checkpoints_are_kept_every_few_iterations(tmp_path, blobs, monkeypatch):
    written = []
    original = serialization.write
    monkeypatch.setattr(serialization, "write", lambda path, kind, value: written.append(kind) or original(path, kind, value))
    recipe = fast_recipe(max_iter=5, tol=0.0)
    GANEMClustering(3, recipe=recipe, random_state=0, checkpoint_dir=tmp_path, checkpoint_every=3).fit(blobs[0])
    assert written == ["fit", "neighbors", "checkpoint", "checkpoint", "checkpoint"]  # begun, found, 0, 3, 5


LEARNED = ("fit_encoder", "find_neighbors")


@pytest.mark.parametrize("error", [Killed, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("kind", "stage", "anew"),
    [
        ("images", "fit_encoder", ["fit_encoder", "find_neighbors"]),
        ("images", "find_neighbors", ["find_neighbors"]),
        ("images", "select_label_method", []),
        ("rows", "find_neighbors", ["find_neighbors"]),
        ("rows", "select_label_method", []),
    ],
)
def test_what_comes_before_the_first_iteration_is_not_done_again(tmp_path, digits, kind, stage, anew, error, monkeypatch):
    """Ctrl-C among others, which then ends the fit: there is no model yet."""
    X = digits[0][:80] if kind == "images" else make_blobs(80, centers=3, n_features=4, random_state=0)[0]
    make = lambda **own: GANEMClustering(3, recipe=fast_recipe(), random_state=0, **own)  # noqa: E731
    expected = everything(make().fit(X), X)
    with monkeypatch.context() as patch:
        patch.setattr(core_fit, stage, lambda *args, **settings: (_ for _ in ()).throw(error))
        with pytest.raises(error):
            make(checkpoint_dir=tmp_path).fit(X)
    calls = count_calls(monkeypatch, core_fit, *LEARNED)
    assert everything(make(checkpoint_dir=tmp_path).fit(X), X) == expected
    assert calls == anew
    names = ["encoder", "neighbors"] if kind == "images" else ["neighbors"]
    assert [path.name for path in sorted(tmp_path.glob("init_1_*"))] == [f"init_1_{name}.safetensors" for name in names]


def test_each_start_keeps_its_own_features(tmp_path, digits, monkeypatch):
    X = digits[0][:80]
    make = lambda **own: GANEMClustering(3, recipe=fast_recipe(), n_init=2, random_state=0, **own)  # noqa: E731
    expected = everything(make().fit(X), X)
    with monkeypatch.context() as patch:
        dies_in(patch, core_fit, "select_label_method", 2)
        with pytest.raises(Killed):
            make(checkpoint_dir=tmp_path).fit(X)
    calls = count_calls(monkeypatch, core_fit, *LEARNED)
    assert everything(make(checkpoint_dir=tmp_path).fit(X), X) == expected
    assert calls == []


@pytest.mark.parametrize("name", ["encoder", "neighbors"])
def test_a_damaged_file_of_features_is_refused(tmp_path, digits, name, monkeypatch):
    X = digits[0][:80]
    make = lambda: GANEMClustering(3, recipe=fast_recipe(), random_state=0, checkpoint_dir=tmp_path)  # noqa: E731
    with monkeypatch.context() as patch:
        dies_in(patch, core_fit, "select_label_method", 1)
        with pytest.raises(Killed):
            make().fit(X)
    path = tmp_path / f"init_1_{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"init_1_{name}.safetensors is damaged"):
        make().fit(X)


def test_features_are_kept_in_the_memory_and_beside_the_checkpoint(tmp_path, digits, monkeypatch):
    X = digits[0][:80]
    make = lambda **own: GANEMClustering(3, recipe=fast_recipe(), random_state=0, **own)  # noqa: E731
    both = {"memory": str(tmp_path / "memory"), "checkpoint_dir": tmp_path / "fit"}
    with monkeypatch.context() as patch:
        dies_in(patch, core_fit, "select_label_method", 1)
        with pytest.raises(Killed):
            make(**both).fit(X)
    expected, calls = everything(make().fit(X), X), count_calls(monkeypatch, core_fit, *LEARNED)
    assert everything(make(**both).fit(X), X) == expected
    assert everything(make(memory=both["memory"]).fit(X), X) == expected
    assert calls == []


# warm_start


def test_warm_start_goes_on_from_the_last_fit(blobs):
    X, y = blobs
    moved = np.eye(3)[(y + 1) % 3]  # cluster numbers that no fresh start would find
    recipe = fast_recipe(min_e_steps=100, learning_rates=(1e-3, 1e-3, 5e-3))
    model = GANEMClustering(3, recipe=recipe, init=moved, warm_start=True, random_state=0).fit(X)
    np.testing.assert_array_equal(model.labels_, (y + 1) % 3)
    e_net = model._model.e_net
    before = {name: value.clone() for name, value in e_net.state_dict().items()}
    model.set_params(max_iter=1).fit(X[:100])
    np.testing.assert_array_equal(model.labels_, (y[:100] + 1) % 3)
    assert model.n_iter_ == 1
    assert not torch.equal(model._model.e_net.output.weight, e_net.output.weight)
    for name, value in e_net.state_dict().items():  # a model that was handed out is not changed
        assert torch.equal(value, before[name])


def test_warm_start_needs_the_same_form(blobs):
    X, y = blobs
    model = GANEMClustering(3, recipe=fast_recipe(), warm_start=True, random_state=0).fit(X)
    labels = model.labels_
    for changed, data in (({"n_clusters": 4}, X), ({"width": 5}, X), ({}, X[:, :3])):
        with pytest.raises(ValueError, match="warm_start"):
            model.set_params(**changed).fit(data)
        model.set_params(n_clusters=3, width=None)
        assert model.labels_ is labels
    classifier = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), warm_start=True, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="the classes of the last fit"):
        classifier.fit(X, np.where(y == 2, -1, y))


def test_warm_start_keeps_labels_known(blobs):
    X, y = blobs
    partial = np.where(np.arange(len(y)) < 30, y, -1)
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), warm_start=True, random_state=0).fit(X, partial)
    model.fit(X[:50], partial[:50])
    np.testing.assert_array_equal(model.transduction_[:30], y[:30])


# Files


def test_a_memory_is_saved_by_its_folder(tmp_path, blobs):
    X, _ = blobs
    model = GANEMClustering(3, recipe=fast_recipe(), memory=str(tmp_path / "memory"), n_jobs=2, random_state=0).fit(X)
    save(model, tmp_path / "model")
    assert load(tmp_path / "model").memory == str(tmp_path / "memory")
    assert load(tmp_path / "model").n_jobs == 2
    with pytest.warns(UserWarning, match="load is to be given: memory"):
        save(model.set_params(memory=joblib.Memory(tmp_path / "memory", verbose=0)), tmp_path / "model")
    with pytest.warns(UserWarning, match="memory"):
        np.testing.assert_array_equal(load(tmp_path / "model").predict(X), model.predict(X))


def test_others_may_read_a_file_as_any_other(fitted, tmp_path):
    (tmp_path / "any").touch()
    save(fitted[1][0], tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_link_stays_one_and_a_name_may_be_long(fitted, tmp_path):
    long = tmp_path / ("m" * 250)
    (tmp_path / "link").symlink_to(long)
    save(fitted[1][0], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(long).n_iter_ == fitted[1][0].n_iter_


def test_a_checkpoint_of_a_fit_that_went_on_from_another_model_is_refused(tmp_path, blobs):
    X = blobs[0]
    for first, refused in ((X, nullcontext()), (50 * X + 1000, pytest.raises(ValueError, match="belongs to a fit of other"))):
        model = GANEMClustering(1, recipe=fast_recipe(max_iter=1), random_state=0).fit(first)
        with refused:
            model.set_params(warm_start=True, checkpoint_dir=tmp_path).fit(X)


def test_a_checkpoint_folder_may_be_a_path(tmp_path, blobs, recwarn):
    model = GANEMClustering(3, recipe=fast_recipe(max_iter=1), checkpoint_dir=tmp_path / "fit", random_state=0).fit(blobs[0])
    save(model, tmp_path / "model")
    assert load(tmp_path / "model").checkpoint_dir == str(tmp_path / "fit")
    assert not recwarn
