import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score

from skganem import GANEMClustering, ImageWarp, Recipe, clustering_error, load, save
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.em import loop
from skganem.core.em.state import DivergenceError
from tests.conftest import embeddings, fast_recipe


def fast(n_clusters=3, **params):
    return GANEMClustering(n_clusters, **{"recipe": fast_recipe(), "random_state": 0, **params})


# What it is for


@pytest.mark.parametrize("seed", [0, 1])
def test_two_moons(moons, seed):
    X, y = moons
    model = GANEMClustering(2, max_iter=8, random_state=seed).fit(X)
    assert adjusted_rand_score(y, model.labels_) > 0.95
    assert adjusted_rand_score(y, model.predict(X + 0.01)) > 0.9


def test_digit_images(digits):
    """Three of the ten digits, 90 images: cheap, and far from what k-means can do by accident."""
    X, y = digits
    X, y = X[y < 3], y[y < 3]
    model = GANEMClustering(3, max_iter=7, recipe=Recipe().but(encoder_steps=60, width=16), random_state=0)
    assert clustering_error(y, model.fit_predict(X)) < 0.1


def test_fitted_attributes(blobs):
    X, _ = blobs
    model = fast().fit(X)
    assert model.labels_.shape == (150,)
    assert model.labels_.dtype == np.int64
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.labels_, fast().fit_predict(X))
    w = model.predict_proba(X)
    assert w.dtype == np.float32
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(model.weights_, w.mean(0), atol=1e-5)
    assert model.n_iter_ == 2
    assert model.n_features_in_ == 4
    for name in ("loss_g", "loss_d", "loss_e", "confidence", "label_change", "n_empty", "seconds"):
        assert model.history_[name].shape == (2,)
    assert model.history_["phi"].shape == (2, 3)


def test_sample(digits):
    X, _ = digits
    model = fast(4).fit(X)
    images, y = model.sample(50)
    assert images.shape == (50, 8, 8)
    assert images.dtype == X.dtype
    assert images.min() >= 0
    assert images.max() <= 16
    assert (np.diff(y) >= 0).all()
    assert set(model.sample(7, y=2)[1]) == {2}
    np.testing.assert_array_equal(model.sample(3, y=[3, 0, 1])[1], [3, 0, 1])
    a, b, c = (model.sample(5, random_state=s)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    with pytest.raises(ValueError, match=r"y contains \[9\]"):
        model.sample(1, y=9)
    with pytest.raises(ValueError, match="y must be one class, or have n_samples=3"):
        model.sample(3, y=[0, 1])
    model.weights_ = np.array([0.0, 0.9, 0.1, 0.0])
    counts = np.bincount(model.sample(1000, random_state=0)[1], minlength=4)
    np.testing.assert_allclose(counts / 1000, model.weights_, atol=0.03)


def test_sample_has_the_form_of_the_data(digits):
    X, _ = digits
    rows = X.reshape(300, 64).astype(np.uint8)
    images, _ = fast(2).fit(rows).sample(3)
    assert images.dtype == np.uint8
    assert images.shape == (3, 64)
    assert fast(2, image_shape=(8, 8)).fit(rows).sample(3)[0].shape == (3, 64)
    color, _ = fast(2).fit(np.repeat(X[..., None], 3, axis=3)).sample(3)
    assert color.shape == (3, 8, 8, 3)


def test_n_init_keeps_the_highest_criterion(blobs):
    X, _ = blobs
    model = fast(n_init=3).fit(X)
    # The first of the three is the fit with n_init=1, so the best can't be worse; for this seed it is better.
    assert model.criterion_ > fast().fit(X).criterion_


def test_own_initial_w(blobs):
    X, y = blobs
    w = np.eye(3)[y]
    model = fast(init=w, recipe=fast_recipe(min_e_steps=60)).fit(X)
    assert clustering_error(y, model.labels_) < 0.05
    assert (model.labels_ == y).mean() > 0.9  # not only up to a permutation
    seen = []
    fast(init=lambda X, k, rng: seen.append((X.shape, k)) or 0.8 * w + 0.2 * rng.dirichlet(np.ones(k), len(X))).fit(X)
    assert seen == [((150, 4), 3)]
    with pytest.raises(ValueError, match="column for each cluster"):
        fast(init=blobs[1]).fit(blobs[0])
    with pytest.raises(ValueError, match="init has shape"):
        fast(init=w[:, :2]).fit(X)
    with pytest.raises(ValueError, match="sum to 1"):
        fast(init=2 * w).fit(X)


def test_tol_ends_early(blobs):
    X, _ = blobs
    recipe = fast_recipe(max_iter=30, min_e_steps=40)
    stopped = fast(recipe=recipe, tol=1.0).fit(X)
    assert stopped.converged_
    assert stopped.n_iter_ == 2  # one iteration without the generator, and one with it
    assert not fast(recipe=recipe, tol=0, max_iter=4).fit(X).converged_


@pytest.mark.parametrize("tol", [1.0, 0.0])
def test_labels_that_stand_end_the_time_without_the_generator(blobs, tol):
    recipe = fast_recipe(max_iter=8, n_warmup_iter=5, min_e_steps=40)
    model = fast(recipe=recipe, tol=tol).fit(blobs[0])
    trained = np.isfinite(model.history_["loss_g"])
    np.testing.assert_array_equal(trained, np.isfinite(model.history_["loss_d"]))
    assert trained.tolist() == ([False] * 2 + [True] if tol else [False] * 5 + [True] * 3)
    assert model.converged_ == bool(tol)
    assert np.isfinite(model.history_["loss_e"]).all()


def test_samples_of_an_untrained_generator_come_with_a_warning(blobs):
    model = fast(recipe=fast_recipe(generated_weight=0.0)).fit(blobs[0])
    assert np.isnan(model.history_["loss_g"]).all()
    with pytest.warns(UserWarning, match="The generator is not trained") as caught:
        assert model.sample(3)[0].shape == (3, 4)
    assert [warning.filename for warning in caught] == [__file__]


def test_the_only_iteration_trains_the_generator(blobs):
    assert np.isfinite(fast(max_iter=1, recipe=fast_recipe(n_warmup_iter=5)).fit(blobs[0]).history_["loss_g"]).all()


def test_verbose_prints_and_silence_is_silent(blobs, capsys):
    fast().fit(blobs[0])
    assert capsys.readouterr().out == ""
    fast(verbose=1).fit(blobs[0])
    assert capsys.readouterr().out.count("iteration") == 2


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_how_far_a_fit_is_is_printed(digits, capsys, verbose):
    fast(verbose=verbose, recipe=fast_recipe(max_iter=3, tol=0.0)).fit(digits[0][:80])
    out = capsys.readouterr()
    assert out.err == ""
    losses = r"; labels changed [\d.]+%, L_E [\d.]+, L_G (nan|-?[\d.]+), L_D (nan|[\d.]+)" if verbose == 2 else ""
    texts = [
        "learning features", "looking for neighbors", "making initial labels", rf"EM iteration 1/3, about \d+ s left{losses}",
        rf"EM iteration 2/3, about \d+ s left{losses}", rf"EM iteration 3/3{losses}",
    ] if verbose else []  # fmt: skip
    lines = out.out.splitlines()
    assert len(lines) == len(texts)
    for line, text in zip(lines, texts, strict=True):
        assert re.fullmatch(rf"\[GANEMClustering\] init 1, \d+\.\d s: {text}", line), line


@pytest.mark.parametrize("images", [False, True])
def test_the_fast_recipe(blobs, digits, images):
    X, y = (digits[0][digits[1] < 3], digits[1][digits[1] < 3]) if images else blobs
    model = GANEMClustering(3, recipe="fast", width=8, random_state=0).fit(X)
    assert model.n_iter_ <= 2
    assert clustering_error(y, model.predict(X)) < 0.1
    assert model.sample(3)[0].shape == (3, *X.shape[1:])
    assert np.isfinite(model.history_["loss_g"][-1])


# Equivalent inputs


def test_kinds_of_input_are_equivalent(digits, tmp_path):
    X, _ = digits
    X = X.astype(np.float32)
    expected = fast(image_shape=(8, 8)).fit(X.reshape(300, 64)).predict_proba(X.reshape(300, 64))
    np.save(tmp_path / "x.npy", X)
    forms = {
        "images": X,
        "with a channel": X[..., None],
        "memory map": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "torch": torch.tensor(X),
        "list": X.tolist(),
        "Fortran order": np.asfortranarray(X),
    }
    for name, form in forms.items():
        model = fast().fit(form)
        np.testing.assert_allclose(model.predict_proba(form), expected, rtol=1e-3, atol=1e-4, err_msg=name)
    frame = pd.DataFrame(X.reshape(300, 64), columns=[f"p{i}" for i in range(64)])
    model = fast(image_shape=(8, 8)).fit(frame)
    assert list(model.feature_names_in_[:2]) == ["p0", "p1"]
    np.testing.assert_array_equal(model.predict_proba(frame), expected)


def test_integers_and_floats_agree(digits):
    noise = np.random.default_rng(0).integers(0, 15, (300, 64))
    rows = 15 * digits[0].reshape(300, 64) + noise  # without ties between distances, which rounding would decide
    probabilities = [
        fast().fit(rows.astype(t)).predict_proba(rows.astype(t)) for t in (np.float64, np.float32, np.uint8, np.int64)
    ]
    for other in probabilities[1:]:
        np.testing.assert_allclose(other, probabilities[0], atol=2e-2)


@pytest.mark.parametrize("form", ["rows", "images", "memory map"])
def test_uint8_is_not_copied(monkeypatch, tmp_path, form):
    X = np.repeat(np.array([[0], [120], [255]], dtype=np.uint8), 60, axis=0) + np.arange(80, dtype=np.uint8) % 7
    X = X if form == "rows" else X.reshape(180, 8, 10)
    if form == "memory map":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    arrays = []
    original = ArrayDataset.__init__
    monkeypatch.setattr(
        ArrayDataset, "__init__", lambda self, array, *rest: arrays.append(array) or original(self, array, *rest)
    )
    fast().fit(X)
    assert np.shares_memory(arrays[0], X)
    assert arrays[0].dtype == np.uint8


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "X",
    [
        np.c_[np.random.default_rng(0).normal(size=(60, 2)), np.full(60, 1e9)],
        np.repeat(np.random.default_rng(0).normal(size=(12, 3)), 5, axis=0),
        1e6 + 1e3 * np.random.default_rng(0).normal(size=(60, 3)),
        1e-12 * np.random.default_rng(0).normal(size=(60, 3)),
        np.random.default_rng(0).normal(size=(33, 3)),  # a last batch of one
    ],
    ids=["constant feature", "repeated rows", "far from 0", "tiny", "one more than a batch"],
)
def test_awkward_values_work(X):
    model = fast().fit(X)
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.sample(5)[0]).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("n", "k"), [(20, 1), (20, 2), (120, 50), (5, 5), (2, 1)])
def test_any_number_of_clusters(n, k):
    X = np.random.default_rng(0).normal(size=(n, 3))
    model = fast(k).fit(X)
    assert model.predict_proba(X).shape == (n, k)
    assert set(model.labels_) <= set(range(k))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_batch_has_a_single_row():
    X = np.random.default_rng(0).normal(size=(7, 3))
    assert fast(2, batch_size=2).fit(X).n_iter_ == 2


def test_values_far_from_zero_lose_nothing():
    stamps = np.c_[np.full(60, 1_700_000_063), np.arange(60) % 2]
    model = fast(2).fit(stamps)
    np.testing.assert_array_equal(model.predict(stamps), model.predict(stamps.astype(np.float64)))


def test_all_rows_equal_warns():
    with pytest.warns(ConvergenceWarning, match="clusters have a sample"):
        fast(3).fit(np.ones((20, 2)))


# Promises


def test_same_seed_same_model_and_no_global_state(digits):
    X, _ = digits
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    a, b, c = (fast(4, random_state=s).fit(X) for s in (0, 0, 1))
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    for name, value in a._model.to_numpy().items():
        np.testing.assert_array_equal(value, b._model.to_numpy()[name])
    assert not np.array_equal(a.predict_proba(X), c.predict_proba(X))


def test_prediction_does_not_depend_on_the_batch(digits):
    X, _ = digits
    model = fast(4).fit(X)
    whole = model.predict_proba(X)
    np.testing.assert_array_equal(whole[:1], model.predict_proba(X[:1]))
    np.testing.assert_array_equal(whole[257:], model.predict_proba(X[257:]))
    np.testing.assert_array_equal(whole[::-1], model.predict_proba(X[::-1]))


def test_pickle(digits):
    X, _ = digits
    model = fast(4).fit(X)
    revived = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X), revived.predict_proba(X))
    np.testing.assert_array_equal(model.sample(4)[0], revived.sample(4)[0])
    assert b"torch" not in pickle.dumps(model._model.to_numpy())


def test_moving_a_model(blobs):
    with pytest.raises(NotFittedError):
        fast().to("cpu")
    model = fast().fit(blobs[0])
    assert model.to("cpu") is model
    with pytest.raises(ValueError, match="not available"):
        model.to("cuda:99")
    assert model.device_ == "cpu"
    assert model.predict(blobs[0]).shape == (150,)


def test_a_fit_in_bfloat16_has_weights_and_answers_in_float32(digits):
    model = fast(precision="bfloat16").fit(digits[0])
    assert {array.dtype.name for array in model._model.to_numpy().values()} <= {"float32", "int64"}
    probabilities = model.predict_proba(digits[0])
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()
    assert not np.array_equal(probabilities, fast(precision="float32").fit(digits[0]).predict_proba(digits[0]))


def test_clone_and_params(blobs):
    model = fast(width=8)
    copy = clone(model.fit(blobs[0]))
    assert copy.get_params()["width"] == 8
    assert not hasattr(copy, "labels_")
    assert len(GANEMClustering().get_params()) <= 20


def test_recipes_by_name(blobs):
    assert GANEMClustering(recipe="paper")._resolve_recipe() == Recipe.paper()
    assert GANEMClustering(recipe="fast")._resolve_recipe() == Recipe.fast() != Recipe()
    assert GANEMClustering(recipe="released")._resolve_recipe() == Recipe.released()
    own = GANEMClustering(recipe="paper", max_iter=3, tol=0.1, batch_size=7, width=5, init="random", augmentation=None)
    changed = Recipe.paper().but(max_iter=3, tol=0.1, batch_size=7, width=5, init="random")
    assert own._resolve_recipe() == changed
    quick = Recipe.paper().but(max_iter=1, m_epochs=1, min_e_steps=3, width=4)
    assert fast(recipe=quick).fit(blobs[0]).n_iter_ == 1


def test_divergence_warns_and_keeps_the_last_sound_model(blobs):
    calls = []

    def loss(logits, c, calls):
        calls.append(1)
        return logits.sum() * (float("nan") if len(calls) > 8 else 1.0)

    with pytest.warns(ConvergenceWarning, match="Training diverged in EM iteration"):
        model = fast(recipe=fast_recipe(generator_loss=partial(loss, calls=calls), max_iter=9)).fit(blobs[0])
    assert np.isfinite(model.predict_proba(blobs[0])).all()


# Bad input


BAD = {
    "NaN": (lambda X: np.where(X > 14, np.nan, X), {}, "NaN"),
    "infinity": (lambda X: np.where(X > 14, np.inf, X), {}, "infinity"),
    "too few samples": (lambda X: X[:2], {}, r"n_samples=2 should be >= n_clusters=3"),
    "one sample": (lambda X: X[:1], {"n_clusters": 1}, "minimum of 2"),
    "no sample": (lambda X: X[:0].reshape(0, 64), {}, "0 sample"),
    "no cluster": (lambda X: X, {"n_clusters": 0}, "n_clusters"),
    "complex": (lambda X: X * 1j, {}, "Complex"),
    "words": (lambda X: np.array([["a", "b"]] * 20), {}, "bytes/strings"),
    "objects": (lambda X: np.array([[{}, {}]] * 20, dtype=object), {}, "float"),
    "sparse": (lambda X: sparse.csr_array(X.reshape(len(X), -1)), {}, "[Ss]parse"),
    "five axes": (lambda X: X[:, None, :, :, None], {}, "rows|images"),
    "one axis": (lambda X: X[:, 0, 0], {}, "1D array"),
    "wrong image_shape": (lambda X: X.reshape(len(X), 64), {"image_shape": (8, 9)}, "72 values, but X has 64"),
    "contradicting image_shape": (lambda X: X, {"image_shape": (4, 16)}, "contradicts"),
    "small images": (lambda X: X[:, :4, :4], {}, "too small for convolutions"),
    "no such device": (lambda X: X, {"device": "cuda:99"}, "not available"),
    "no device at all": (lambda X: X, {"device": "abacus"}, "not available"),
}


@pytest.fixture(scope="module")
def fitted(digits):
    return fast().fit(digits[0])


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(digits, fitted, case):
    change, params, message = BAD[case]
    X, _ = digits
    model = copy.copy(fitted)
    before = {**vars(model)}
    w = model.predict_proba(X)
    model.set_params(**params)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(change(X))
    model.set_params(**{name: before[name] for name in params})
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in before)
    np.testing.assert_array_equal(model.predict_proba(X), w)


@pytest.mark.parametrize(
    "params",
    [
        *({name: value} for name in ("n_clusters", "n_init", "checkpoint_every") for value in (True, np.True_, 3.0)),
        *({name: value} for name in ("max_iter", "width") for value in (True, np.True_, 3.0)),
        {"batch_size": 16.0}, {"tol": True}, {"n_clusters": "3"}, {"warm_start": 1}, {"random_state": 3.0}, {"device": 0},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_of_other_kinds_are_refused_by_name(blobs, params):
    name = next(iter(params))
    with pytest.raises(ValueError, match=f"The '{name}' parameter of GANEMClustering must be"):
        fast(**params).fit(blobs[0])


def test_the_class_of_an_augmentation_is_none(digits):
    with pytest.raises(
        ValueError, match=r"augmentation must be one of auto, got <class .*Pass an instance: ImageWarp\(\.\.\.\)"
    ):
        fast(augmentation=ImageWarp).fit(digits[0])


def test_numbers_of_numpy_are_as_good_as_pythons(blobs):
    X = blobs[0]
    plain = {"n_clusters": 3, "max_iter": 2, "tol": 0.5, "n_init": 1, "batch_size": 16, "width": 8, "random_state": 3}
    kinds = {int: np.int64, float: np.float32}
    numpys = {name: kinds[type(value)](value) for name, value in plain.items()}
    expected = fast(**plain).fit(X).predict_proba(X)
    found = fast(**numpys, warm_start=np.False_, verbose=np.int64(0), checkpoint_every=np.int8(1)).fit(X)
    np.testing.assert_array_equal(found.predict_proba(X), expected)


def test_bad_input_at_predict(digits):
    X, _ = digits
    model = fast().fit(X)
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.predict(X.reshape(300, 64)[:, :60])
    with pytest.raises(ValueError, match=r"images of shape \(4, 16\)"):
        model.predict(X.reshape(300, 4, 16))
    with pytest.raises(NotFittedError):
        fast().predict(X)
    np.testing.assert_array_equal(model.predict(X.reshape(300, 64)), model.predict(X))


def test_interrupt_keeps_the_last_iteration(blobs, monkeypatch):
    """Ctrl-C in the third iteration: the model is exactly that of two iterations."""
    X, _ = blobs
    steps = loop.m_step

    def press(state, w):
        if state.iteration == 2:
            steps(state, w)
            raise KeyboardInterrupt
        return steps(state, w)

    monkeypatch.setattr(loop, "m_step", press)
    # The learning rates' schedule ends with max_iter; a fixed factor makes both runs alike.
    recipe = fast_recipe(lr_decay=1.0, tol=0.0)
    with pytest.warns(UserWarning, match="interrupted; the model is that of EM iteration 2"):
        model = fast(recipe=recipe, max_iter=5).fit(X)
    monkeypatch.undo()
    whole = fast(recipe=recipe, max_iter=2).fit(X)
    assert model.n_iter_ == 2
    assert not model.converged_
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))
    np.testing.assert_allclose(model.weights_, model.predict_proba(X).mean(axis=0), atol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_are_those_of_the_model_that_is_kept(blobs, monkeypatch):
    """Training that diverges at once leaves a model that does not know the initial w."""
    X, _ = blobs
    w = np.tile([0.9, 0.05, 0.05], (len(X), 1))

    def diverge(state, w):
        raise DivergenceError

    monkeypatch.setattr(loop, "m_step", diverge)
    model = fast(3, init=w, recipe=fast_recipe(n_warmup_iter=0)).fit(X)
    np.testing.assert_allclose(model.weights_, model.predict_proba(X).mean(axis=0), atol=1e-5)
    assert np.abs(model.weights_ - w[0]).max() > 0.1
    assert model.history_["phi"].shape == (0, 3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_uniform_w_of_ones_own_is_as_good_as_the_recipes(blobs):
    X, _ = blobs
    own = fast(3, init=np.full((len(X), 3), 1 / 3)).fit(X)
    np.testing.assert_array_equal(own.predict_proba(X), fast(3, init="uniform").fit(X).predict_proba(X))


def test_values_too_far_apart_for_any_number_are_refused():
    X = 1.7e308 * np.random.default_rng(0).choice([-1, 1], size=(60, 3))
    with pytest.raises(ValueError, match="their spread is infinite"):
        fast().fit(X)


@pytest.mark.parametrize("kind", ["rows", "images"])
@pytest.mark.parametrize("exponent", [-1040, -665, -500, 500, 665, 1000])
def test_values_of_any_size_have_the_same_labels(blobs, digits, kind, exponent):
    """Powers of 2, from 1e-313 to 1e301, whatever NumPy does where a number underflows or overflows."""
    X = blobs[0] if kind == "rows" else digits[0][:60]
    expected, scaled = fast().fit(X), np.ldexp(X, exponent)
    with np.errstate(all="raise"):
        model = fast().fit(scaled)
        np.testing.assert_array_equal(model.labels_, expected.labels_)
        np.testing.assert_array_equal(model.predict(scaled), expected.labels_)
        assert model.score(scaled) == pytest.approx(expected.score(X))
        samples = model.sample(5, random_state=0)[0]
    np.testing.assert_allclose(np.ldexp(samples, -exponent), expected.sample(5, random_state=0)[0], atol=1e-2)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_samples_stay_in_the_range_of_the_dtype(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    high = float(np.finfo(dtype).max if dtype == "float16" else np.iinfo(dtype).max)
    model = fast(2).fit((rng.uniform(0.2, 0.8, (60, 3)) * high).astype(dtype))
    monkeypatch.setattr(Scaler, "inverse_transform", lambda self, samples: np.full((len(samples), 3), 2 * high))
    samples, _ = model.sample(5)
    assert samples.dtype == dtype
    assert np.isfinite(samples).all()
    assert (samples >= 0.99 * high).all()


def test_interrupt_before_the_first_iteration_ended(blobs, monkeypatch):
    X, _ = blobs
    model = fast(recipe=fast_recipe(n_warmup_iter=0)).fit(X)
    before = model.labels_

    def press(state, w):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "m_step", press)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:100])
    assert model.labels_ is before


def test_interrupt_after_the_last_iteration_keeps_it(blobs, monkeypatch):
    def press(state):
        raise KeyboardInterrupt

    X, _ = blobs
    whole = fast(random_state=0).fit(X)
    monkeypatch.setattr("skganem.core.fit.view_mutual_information", press)
    with pytest.warns(UserWarning, match=f"interrupted; the model is that of EM iteration {whole.n_iter_}") as caught:
        model = fast(random_state=0).fit(X)
    assert [warning.filename for warning in caught] == [__file__]
    assert np.isnan(model.criterion_)
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_interrupt_after_a_divergence_keeps_no_untrained_model(blobs, monkeypatch):
    def fail(error):
        raise error

    monkeypatch.setattr(loop, "m_step", lambda state, w: fail(DivergenceError))
    monkeypatch.setattr("skganem.core.fit.view_mutual_information", lambda state: fail(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fast().fit(blobs[0])


def test_interrupt_of_a_later_start_keeps_the_earlier_ones(blobs, monkeypatch):
    X, _ = blobs
    fast = partial(GANEMClustering, 3, recipe=fast_recipe(n_warmup_iter=0, tol=0.0))
    first, steps = fast(random_state=0).fit(X), loop.m_step

    def press(state, w):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return steps(state, w)

    calls = []
    monkeypatch.setattr(loop, "m_step", press)
    with pytest.warns(UserWarning, match="interrupted; the model is the best of the starts before"):
        model = fast(n_init=3, max_iter=2, random_state=0).fit(X)
    np.testing.assert_array_equal(model.predict_proba(X), first.predict_proba(X))


@pytest.mark.filterwarnings("ignore:Training was interrupted")
def test_that_training_diverged_is_told_though_a_later_start_was_interrupted(blobs, monkeypatch):
    ends = iter([DivergenceError, KeyboardInterrupt])

    def fail(state, w):
        raise next(ends)

    monkeypatch.setattr(loop, "m_step", fail)
    with pytest.warns(ConvergenceWarning, match="diverged in EM iteration 1; the model is not trained"):
        fast(n_init=2, recipe=fast_recipe(n_warmup_iter=0)).fit(blobs[0])


def test_fits_in_threads_leave_the_global_stream_alone(blobs):
    X, before = blobs[0], torch.get_rng_state()
    models = [fast(random_state=seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda model: model.fit(X), models))
    assert torch.equal(torch.get_rng_state(), before)
    for seed, model in enumerate(models):
        np.testing.assert_array_equal(model.predict_proba(X), fast(random_state=seed).fit(X).predict_proba(X))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("images", [False, True])
def test_what_torch_was_set_to_does_not_matter(blobs, digits, images, mode):
    X = digits[0] if images else blobs[0]
    expected = fast(random_state=0).fit(X)
    further = copy.deepcopy(expected).set_params(warm_start=True).fit(X)
    torch.set_default_dtype(torch.float64)
    try:
        with mode(), torch.device("meta"):
            model = pickle.loads(pickle.dumps(fast(random_state=0).fit(X)))
            assert torch.get_default_dtype() == torch.float64
            np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
            for mine, theirs in zip(model.sample(3, random_state=0), expected.sample(3, random_state=0), strict=True):
                np.testing.assert_array_equal(mine, theirs)
            assert model.score(X) == expected.score(X)
            model.set_params(warm_start=True).fit(X)
            np.testing.assert_array_equal(model.predict_proba(X), further.predict_proba(X))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_autocast_outside_changes_nothing(digits, precision):
    X = digits[0]
    expected = fast(random_state=0, precision=precision).fit(X)
    with torch.autocast("cpu", torch.bfloat16):
        model = fast(random_state=0, precision=precision).fit(X)
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
        np.testing.assert_array_equal(model.sample(3, random_state=0)[0], expected.sample(3, random_state=0)[0])
        assert model.score(X) == expected.score(X)


def test_equal_images_are_one_cluster():
    recipe = fast_recipe(width=32, encoder_steps=1, max_iter=1)  # as many features as in the default one
    with pytest.warns(UserWarning, match="Only 1 of 3") as caught:
        model = GANEMClustering(3, recipe=recipe, random_state=0).fit(np.full((40, 8, 8), 7.0))
    assert [warning.filename for warning in caught] == [__file__]
    assert len(np.unique(model.labels_)) == 1


@pytest.mark.parametrize("images", [False, True])
def test_one_cluster_has_all_samples_and_needs_no_partition(blobs, digits, images, monkeypatch):
    monkeypatch.setattr("skganem.core.init.responsibilities.init_from_partition", None)
    if images:  # rows have a graph for their augmentation
        monkeypatch.setattr("skganem.core.fit.neighbor_graph", None)
    X = digits[0] if images else blobs[0]
    model = GANEMClustering(1, recipe=fast_recipe(), random_state=0).fit(X)
    assert not model.labels_.any()
    np.testing.assert_array_equal(model.predict_proba(X), 1)


def test_an_encoder_that_diverges_is_refused(digits):
    with pytest.raises(ValueError, match="Learning features from the images diverged"):
        fast(10, recipe=fast_recipe(encoder_learning_rate=1e38)).fit(digits[0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("metric", "used"), [("auto", "cosine"), ("cosine", "cosine"), ("euclidean", "euclidean")])
def test_embeddings_are_compared_by_cosine_distance(metric, used, tmp_path):
    X, y = embeddings()
    recipe = fast_recipe(max_iter=1, n_neighbors=15, min_e_steps=40)
    model = GANEMClustering(5, metric=metric, recipe=recipe, random_state=0).fit(X)
    assert model.metric_ == used
    assert (clustering_error(y, model.labels_) < 0.05) == (used == "cosine")
    np.testing.assert_array_equal(model.predict(X[:7]), model.predict(X)[:7])
    save(model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "model.safetensors").predict_proba(X[:9]), model.predict_proba(X[:9]))
    assert model.sample(3)[0].shape == (3, 160)


def test_rows_of_a_table_are_compared_by_euclidean_distance(blobs):
    assert GANEMClustering(3, recipe=fast_recipe(max_iter=1), random_state=0).fit(blobs[0]).metric_ == "euclidean"
