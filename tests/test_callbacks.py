"""scikit-learn's callbacks see every EM iteration, and can end a fit."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer
from skganem.core import fit as core_fit
from skganem.core.em import loop
from tests.conftest import fast_recipe

pytest.importorskip("sklearn.callback")


class Recorder:
    """Keeps what it is told; ends the training after `last` EM iterations, or raises `error` there."""

    def __init__(self, last=None, error=None):
        self.last, self.error, self.seen, self.states = last, error, [], []

    def setup(self, estimator, context):
        self.seen.append("setup")

    def teardown(self, estimator, context):
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.seen.append(("end", context.task_name, context.task_id))
        if context.task_name != "EM iteration":
            return False
        self.states.append((fitted_estimator, X))
        if self.error and len(self.states) == self.last:
            raise self.error
        return len(self.states) == self.last


def test_each_iteration_of_each_start_is_a_task(blobs):
    recorder = Recorder()
    GANEMClustering(3, recipe=fast_recipe(), n_init=2, random_state=0).set_callbacks(recorder).fit(blobs[0])
    tasks = ["neighbors", "initial labels", "EM iteration", "EM iteration"]
    parts = [(when, name, i) for i, name in enumerate(tasks) for when in ("begin", "end")]
    starts = [[("begin", "init", i), *parts, ("end", "init", i)] for i in range(2)]
    assert recorder.seen == ["setup", ("begin", "fit", 0), *starts[0], *starts[1], ("end", "fit", 0), "teardown"]


@pytest.mark.parametrize(("n_steps", "n_batches"), [(0, 0), (9, 1), (10, 1), (25, 3)])
def test_the_encoders_batches_are_tasks_by_tens(digits, n_steps, n_batches):
    recorder = Recorder()
    recipe = fast_recipe(encoder_steps=n_steps, max_iter=1)
    GANEMClustering(3, recipe=recipe, random_state=0).set_callbacks(recorder).fit(digits[0][:80])
    batches = [(when, "batches", i) for i in range(n_batches) for when in ("begin", "end")]
    features = [("begin", "features", 0), *batches, ("end", "features", 0)]
    others = [(when, name, i) for i, name in ((1, "neighbors"), (2, "initial labels")) for when in ("begin", "end")]
    assert recorder.seen[3:-5] == [*features, *others]


def test_tasks_begin_and_end_when_what_they_name_does(digits, monkeypatch):
    recorder = Recorder()

    def noted(module, name):
        original = getattr(module, name)

        def function(*args, **settings):
            recorder.seen.append(name)
            result = original(*args, **settings)
            recorder.seen.append(f"{name} done")
            return result

        monkeypatch.setattr(module, name, function)

    for module, name in ((core_fit, "fit_encoder"), (core_fit, "find_neighbors"), (loop, "m_step"), (loop, "e_step")):
        noted(module, name)
    recipe = fast_recipe(tol=0.0)
    GANEMClustering(3, recipe=recipe, random_state=0).set_callbacks(recorder).fit(digits[0][:80])
    seen = [entry if isinstance(entry, str) else " ".join(entry[:2]) for entry in recorder.seen]
    assert seen[2:-2] == [
        "begin init",
        "begin features", "fit_encoder", "begin batches", "end batches", "fit_encoder done", "end features",
        "begin neighbors", "find_neighbors", "find_neighbors done", "end neighbors",
        "begin initial labels", "end initial labels",
        "begin EM iteration", "e_step", "e_step done", "end EM iteration",
        "begin EM iteration", "m_step", "m_step done", "e_step", "e_step done", "end EM iteration",
        "end init",
    ]  # fmt: skip


def test_what_is_found_in_memory_is_no_task(digits, tmp_path):
    seen = []
    for _ in range(2):
        recorder = Recorder()
        model = GANEMClustering(3, recipe=fast_recipe(), memory=str(tmp_path), random_state=0)
        model.set_callbacks(recorder).fit(digits[0][:80])
        seen.append({entry[1] for entry in recorder.seen if isinstance(entry, tuple)})
    assert seen[0] - seen[1] == {"features", "batches", "neighbors"}
    assert seen[1] == {"fit", "init", "initial labels", "EM iteration"}


def test_restarts_side_by_side_are_told_when_all_are_made(blobs):
    recorder = Recorder()
    model = GANEMClustering(3, recipe=fast_recipe(), n_init=2, n_jobs=2, random_state=0).set_callbacks(recorder)
    with joblib.parallel_config("threading"):
        model.fit(blobs[0])
    starts = [(when, "init", i) for i in range(2) for when in ("begin", "end")]
    assert recorder.seen == ["setup", ("begin", "fit", 0), *starts, ("end", "fit", 0), "teardown"]


@pytest.mark.parametrize(
    "estimator",
    [GANEMClustering(3), GANEMSemiSupervisedClassifier(), GANEMTransformer(4, n_clusters=3)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_estimator_so_far_is_what_a_shorter_fit_gives(blobs, estimator):
    X, y = blobs
    recorder = Recorder()
    recipe = fast_recipe(max_iter=3, tol=0.0, lr_decay=1.0)  # lr_decay: the rates do not depend on max_iter
    estimator = clone(estimator).set_params(recipe=recipe, random_state=0)
    estimator.set_callbacks(recorder).fit(X, y)
    shorter = clone(estimator).set_callbacks().set_params(max_iter=2).fit(X, y)
    so_far, seen_X = recorder.states[1]
    assert so_far.n_iter_ == 2
    assert seen_X.shape == X.shape
    method = "transform" if hasattr(estimator, "transform") else "predict_proba"
    np.testing.assert_array_equal(getattr(so_far, method)(X), getattr(shorter, method)(X))
    np.testing.assert_allclose(so_far.weights_, shorter.weights_, rtol=1e-5)
    assert estimator.n_iter_ == 3


def test_a_callback_ends_the_training(blobs):
    model = GANEMClustering(3, recipe=fast_recipe(max_iter=4, tol=0.0), random_state=0).set_callbacks(Recorder(last=2))
    assert model.fit(blobs[0]).n_iter_ == 2
    assert not model.converged_


def test_an_end_by_callback_outlives_the_process(blobs, tmp_path):
    make = lambda: GANEMClustering(3, recipe=fast_recipe(max_iter=4, tol=0.0), random_state=0, checkpoint_dir=tmp_path)  # noqa: E731
    first = make().set_callbacks(Recorder(last=2)).fit(blobs[0])
    again = make().fit(blobs[0])
    assert again.n_iter_ == 2
    np.testing.assert_array_equal(again.predict_proba(blobs[0]), first.predict_proba(blobs[0]))


def test_callbacks_are_torn_down_after_an_error(blobs):
    X, _ = blobs
    model = GANEMClustering(3, recipe=fast_recipe(), random_state=0).fit(X)
    before = dict(vars(model))
    recorder = Recorder(last=1, error=RuntimeError("mine"))
    with pytest.raises(RuntimeError, match="mine"):
        model.set_callbacks(recorder).fit(X)
    assert recorder.seen[-1] == "teardown"
    model.set_callbacks()
    assert vars(model) == before


def test_callbacks_in_a_pipeline_and_a_clone(blobs):
    recorder = Recorder()
    model = clone(GANEMClustering(3, recipe=fast_recipe(), random_state=0).set_callbacks(recorder))
    make_pipeline(StandardScaler(), model).fit(blobs[0])
    assert ("end", "EM iteration", 3) in recorder.seen


@pytest.mark.parametrize("n_known", [30, 90])
def test_a_score_is_monitored_on_the_labeled_samples(blobs, n_known):
    from sklearn.callback import ScoringMonitor

    X, y = blobs
    X, y = X[:90], np.array(["a", "b", "c"], dtype=object)[y[:90]]
    partial, monitor = np.where(np.arange(90) < n_known, y, -1), ScoringMonitor(scoring="accuracy")
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0).set_callbacks(monitor).fit(X, partial)
    scores = [entry["accuracy"] for entry in monitor.get_logs().data if entry["task_name"] == "EM iteration"]
    assert len(scores) == model.n_iter_
    assert scores[-1] == model.score(X[:n_known], y[:n_known])


def test_progress_bar(blobs, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    GANEMClustering(3, recipe=fast_recipe(), random_state=0).set_callbacks(ProgressBar()).fit(blobs[0])
    out = capsys.readouterr().out
    assert "GANEMClustering - init" in out
    assert "100%" in out
