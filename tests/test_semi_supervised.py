import re
import warnings
from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import DataConversionWarning

from skganem import GANEMSemiSupervisedClassifier, GANEMTransformer, Recipe
from skganem._labels import is_unlabeled, split_labels
from tests.conftest import fast_recipe


def fast(**params):
    return GANEMSemiSupervisedClassifier(**{"recipe": fast_recipe(min_e_steps=60), "random_state": 0, **params})


def hide(y, keep, marker=-1):
    """Keep the first `keep` labels of each class."""
    known = np.array([np.sum(y[:i] == label) < keep for i, label in enumerate(y)])
    out = y.astype(object) if not isinstance(marker, (int, np.integer)) or y.dtype.kind in "US" else y.copy()
    out[~known] = marker
    return out, known


@pytest.mark.parametrize("keep", [1, 3, 1000])
def test_few_labels(moons, keep):
    X, y = moons
    partial, _ = hide(y, keep)
    model = GANEMSemiSupervisedClassifier(max_iter=8, random_state=0).fit(X, partial)
    assert model.score(X, y) > 0.95


def test_labels_decide_which_class_is_which(blobs):
    X, y = blobs
    renamed = np.array([2, 0, 1])[y]
    assert fast().fit(X, hide(renamed, 3)[0]).score(X, renamed) > 0.95


@pytest.mark.parametrize(
    ("names", "marker"),
    [
        (np.array([0, 1, 2]), -1),
        (np.array([-1, 0, 5]), -999),
        (np.array(["a", "b", "c"]), -1),
        (np.array(["a", "b", "c"]), "?"),
        (np.array(["a", "b", "c"]), None),
        (np.array([0.0, 1.0, 2.0]), np.nan),
        (np.array([-1, 0, 1]), None),
    ],
)
def test_kinds_of_labels(blobs, names, marker):
    X, y = blobs
    labels = names[y]
    partial, known = hide(labels, 4, marker)
    if isinstance(marker, float):
        partial = partial.astype(float)
    model = fast(unlabeled=marker).fit(X, partial)
    np.testing.assert_array_equal(model.classes_, names)
    assert model.score(X, labels) > 0.9
    assert set(model.predict(X)) <= set(names)
    np.testing.assert_array_equal(model.transduction_[known], labels[known])
    np.testing.assert_array_equal(model.label_distributions_[known], np.eye(3)[y[known]])
    np.testing.assert_allclose(model.label_distributions_.sum(1), 1, atol=1e-5)


def test_string_labels_are_all_known(blobs):
    X, y = blobs
    model = fast().fit(X, np.array(["a", "b", "c"])[y])
    np.testing.assert_array_equal(model.transduction_, np.array(["a", "b", "c"])[y])


def test_imbalanced_labels(blobs):
    X, y = blobs
    partial = np.full_like(y, -1)
    for label, count in ((0, 40), (1, 1), (2, 3)):
        partial[np.flatnonzero(y == label)[:count]] = label
    assert fast().fit(X, partial).score(X, y) > 0.9


def test_one_class_is_enough(blobs):
    X, y = blobs
    with pytest.warns(UserWarning, match="7 is the only class in y"):
        model = fast().fit(X, np.where(y == 0, 7, -1))
    assert set(model.predict(X)) == {7}


def test_the_paper_s_rule(blobs):
    X, y = blobs
    recipe = Recipe.paper().but(max_iter=2, m_epochs=1, min_e_steps=60, width=8, learning_rates=(1e-3,) * 3)
    model = fast(recipe=recipe).fit(X, y)
    assert model.score(X, y) > 0.8


def test_sample_of_a_class(blobs):
    X, y = blobs
    model = fast().fit(X, np.array(["a", "b", "c"])[y])
    samples, classes = model.sample(6, y="b")
    assert samples.shape == (6, 4)
    assert set(classes) == {"b"}
    assert set(model.sample(40)[1]) == {"a", "b", "c"}
    with pytest.raises(ValueError, match="y contains"):
        model.sample(1, y="z")
    for hole in (None, np.nan, pd.NA, -1):
        with pytest.raises(ValueError, match=re.escape(f"y contains [{hole!r}], which are not among ['a', 'b', 'c']")):
            model.sample(2, y=["a", hole])
    np.testing.assert_array_equal(model.sample(2, y=pl.Series(["c", "a"]))[1], ["c", "a"])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: np.full_like(y, -1), "no labeled sample.*class"),
        (lambda y: y + 0.5, "continuous"),
        (lambda y: None, "requires y"),
        (lambda y: np.c_[y, y], "1d array"),
    ],
)
def test_bad_y_is_refused_and_changes_nothing(blobs, y, message):
    X, good = blobs
    model = fast().fit(X, good)
    before = {**vars(model)}
    with pytest.raises(ValueError, match=message):
        model.fit(X, y(good))
    assert vars(model) == before


TWO_CLASSES = {
    "list of ints": ([1, 0, -1, None, 0], [0, 1]),
    "list of strings": (["b", "a", -1, None, "a"], ["a", "b"]),
    "list with NaN": (["b", "a", -1, np.nan, "a"], ["a", "b"]),
    "tuple of bools": ((True, False, -1, pd.NA, False), [False, True]),
    "tensors": ([torch.tensor(label) for label in (1, 0, -1, -1, 0)], [0, 1]),
    "objects": (np.array(["b", "a", pd.NaT, pd.NA, "a"], dtype=object), ["a", "b"]),
    "floats": (np.array([1.0, 0.0, -1.0, np.nan, 0.0]), [0.0, 1.0]),
    "strings with None": (np.array(["b", "a", None, None, "a"], np.dtypes.StringDType(na_object=None)), ["a", "b"]),
    "pandas float64": (pd.Series([1, 0, -1, None, 0]), [0.0, 1.0]),
    "pandas Int64": (pd.Series([1, 0, -1, None, 0], dtype="Int64"), [0, 1]),
    "pandas string": (pd.Series(["b", "a", None, None, "a"], dtype="string"), ["a", "b"]),
    "pandas strings": (pd.Series(["b", "a", None, np.nan, "a"]), ["a", "b"]),
    "pandas objects": (pd.Series(["b", "a", -1, None, "a"], dtype=object), ["a", "b"]),
    "pandas category": (pd.Series(["b", "a", None, None, "a"], dtype="category"), ["a", "b"]),
    "pandas category of ints": (pd.Series([1, 0, -1, None, 0], dtype="Int64").astype("category"), [0, 1]),
    "pandas boolean": (pd.Series([True, False, None, None, False], dtype="boolean"), [False, True]),
    "pandas index": (pd.Index([1, 0, -1, None, 0], dtype="Int64"), [0, 1]),
    "polars ints": (pl.Series([1, 0, -1, None, 0]), [0, 1]),
    "polars floats": (pl.Series([1.0, 0.0, float("nan"), None, 0.0]), [0.0, 1.0]),
    "polars strings": (pl.Series(["b", "a", None, None, "a"]), ["a", "b"]),
    "polars categories": (pl.Series(["b", "a", None, None, "a"], dtype=pl.Categorical), ["a", "b"]),
    "polars bools": (pl.Series([True, False, None, None, False]), [False, True]),
    "polars objects": (pl.Series(["b", "a", -1, None, "a"], dtype=pl.Object), ["a", "b"]),
}


@pytest.mark.parametrize("kind", TWO_CLASSES)
def test_minus_one_and_missing_values_are_unlabeled_and_classes_keep_their_type(kind):
    y, expected = TWO_CLASSES[kind]
    known, codes, classes = split_labels(np.zeros((5, 1)), y, -1)
    assert known.tolist() == [0, 1, 4]
    assert codes.tolist() == [1, 0, 0]
    assert classes.tolist() == expected
    assert list(map(type, classes.tolist())) == list(map(type, expected))


@pytest.mark.parametrize("kind", ["list of strings", "pandas Int64", "polars strings"])
def test_fit_is_the_same_for_all_kinds_of_unknown_labels(blobs, kind):
    X, y = blobs[0][:60], np.where(np.arange(60) < 20, blobs[1][:60], -1)
    expected = fast().fit(X, y)
    names, unknown = ["a", "b", "c"], y < 0
    holed = {
        "list of strings": lambda: [(-1 if i % 2 else None) if label < 0 else names[label] for i, label in enumerate(y)],
        "pandas Int64": lambda: pd.Series(y, dtype="Int64").mask(unknown & (X[:, 0] > 0)),
        "polars strings": lambda: pl.Series([None if label < 0 else names[label] for label in y]),
    }[kind]()
    model = fast().fit(X, holed)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    assert model.classes_.tolist() == ([0, 1, 2] if kind == "pandas Int64" else names)
    assert model.score(X, holed) == expected.score(X, y)


@pytest.mark.parametrize("unlabeled", [None, np.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, pd.NaT])
def test_a_missing_value_as_marker_stands_for_each_of_them_and_not_for_minus_one(unlabeled, hole):
    known, codes, classes = split_labels(np.zeros((4, 1)), [-1, hole, 1, -1], unlabeled)
    assert (known.tolist(), codes.tolist(), classes.tolist()) == ([0, 2, 3], [0, 1, 0], [-1, 1])
    assert split_labels(np.zeros((4, 1)), pd.Series(["a", hole, "b", "a"]), unlabeled)[0].tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("y", "unlabeled", "message"),
    [
        (["a", None, "?", np.nan], "?", "2 labels are missing (None, nan), but unlabeled='?' is set. Replace them by '?'"),
        (pd.Series([0, 1, -9, None], dtype="Int64"), -9, "1 labels are missing (<NA>)"),
        (np.array([0, np.nan, 1, 9]), 9, "1 labels are missing (nan)"),
        (np.array(["2026-01-05", "NaT"], dtype="M8[ns]"), "?", "1 labels are missing (NaT)"),
        (["a", -1, None], None, "strings such as 'a' beside other labels such as -1"),
        (["a", 1, -1], -1, "strings such as 'a' beside other labels such as 1"),
        ([0.5, np.nan, 1.2], -1, "continuous"),
        (pl.Series([0.5, None, 1.2]), -1, "continuous"),
        ([[0, 1], [1, None]], -1, "1d array"),
        (pd.DataFrame({"a": [0, 1], "b": [0, 1]}), -1, "1d array"),
        (pl.DataFrame({"a": [0, None], "b": [0, 1]}), -1, "1d array"),
        ([None, np.nan, -1], -1, "no labeled sample"),
    ],
)
def test_labels_without_meaning_are_refused(y, unlabeled, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        split_labels(np.zeros((len(y), 1)), y, unlabeled)


@pytest.mark.parametrize(
    ("y", "unlabeled", "doubtful"),
    [
        (np.array(["a", "b", "-1"]), -1, "'-1'"),
        (["a", -1, "b", "-1"], -1, "'-1'"),
        (pl.Series(["a", -1, "b"], strict=False), -1, "'-1'"),
        (np.array(["a", "b", np.nan]), -1, "'nan'"),
        (np.array(["a", "b", np.nan]), None, "'nan'"),
        (pd.Series(["a", "None"]), None, "'None'"),
        (np.array([0, 1, -1]), "-1", "-1"),
    ],
)
def test_labels_written_as_the_marker_are_doubted(y, unlabeled, doubtful):
    with pytest.raises(ValueError, match=f"{doubtful} is among the labels.*set unlabeled={doubtful}"):
        split_labels(np.zeros((len(y), 1)), y, unlabeled)


def test_a_marker_that_an_array_of_letters_has_cut_short_is_doubted():
    y = np.array(list("abca"))
    y[2] = -1
    with pytest.raises(ValueError, match="'-' is among the labels"):
        split_labels(y, y, -1)
    assert split_labels(y, y, "-")[0].tolist() == [0, 1, 3]
    for certain, unlabeled in ((y, None), (y.astype(object), -1)):
        assert split_labels(y, certain, unlabeled)[2].tolist() == ["-", "a", "b"]


def test_a_class_of_one_character_is_scored_as_it_was_fitted(moons):
    X, y = moons[0][:60], np.array(["+", "-"])[moons[1][:60]]
    model = fast().fit(X, y)
    assert model.score(X, y) == np.mean(model.predict(X) == y)


@pytest.mark.parametrize("y", [pd.DataFrame({"y": [1, 0, None]}), pl.DataFrame({"y": [1, 0, None]}), [[1], [0], [None]]])
def test_a_column_of_labels_is_taken_as_scikit_learn_does(y):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        known, codes, classes = split_labels(np.zeros((3, 1)), y, -1)
    assert (known.tolist(), codes.tolist(), classes.tolist()) == ([0, 1], [1, 0], [0, 1])


def test_unlabeled_samples_are_left_out_of_the_score(blobs):
    X, y = blobs
    known, weight = np.arange(150) < 40, np.linspace(0, 1, 150)
    model = fast(recipe=fast_recipe(min_e_steps=5)).fit(X, y)
    true = y.copy()
    true[:7] = (true[:7] + 1) % 3
    right, by_weight = model.score(X[known], true[known]), model.score(X[known], true[known], weight[known])
    assert right != by_weight < 1
    partial = np.where(known, true, -1)
    for holed in (partial, partial[:, np.newaxis], pd.Series(partial).mask(~known), pl.Series(partial).replace(-1, None)):
        assert model.score(X, holed) == right
        assert model.score(X, holed, sample_weight=pd.Series(weight)) == by_weight
    with pytest.raises(ValueError, match="no labeled sample, so there is no class to compare"):
        model.score(X, np.full(150, -1))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.score(X, partial[1:])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.score(X, partial, weight[1:])


def test_dates_are_classes_and_nat_is_none():
    y = np.array(["2026-01-05", "NaT", "2026-01-06"], dtype="datetime64[ns]")
    for marker in (np.datetime64("NaT"), pd.NaT):
        known, codes, classes = split_labels(y, y, marker)
        assert (known.tolist(), codes.tolist()) == ([0, 2], [0, 1])
        np.testing.assert_array_equal(classes, y[[0, 2]])
    assert split_labels(y, y, -1)[0].tolist() == [0, 2]
    assert split_labels(y, y - y[0], np.timedelta64("NaT"))[0].tolist() == [0, 2]
    assert is_unlabeled(np.array([-1, 6], dtype="m8[ns]"), -1).tolist() == [False, False]
    assert is_unlabeled(np.array([1, np.nan]), np.float32("nan")).tolist() == [False, True]


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
@pytest.mark.parametrize("marker", [date(1970, 1, 1), datetime(1970, 1, 1), np.datetime64("1970-01-01")])
def test_a_date_may_be_the_marker(unit, marker):
    y = np.array(["2026-01-05", "1970-01-01"], dtype=f"datetime64[{unit}]")
    assert is_unlabeled(y, marker).tolist() == [False, True]


@pytest.mark.parametrize("classes", [[0, 1, 2], ["a", "b", "c"], [True, "a"]])
def test_false_may_be_the_marker_and_is_no_zero(classes):
    y = np.array([False, *classes, False], dtype=object)
    assert is_unlabeled(y, False).tolist() == [True] + [False] * len(classes) + [True]
    assert not is_unlabeled(np.array([False, True]), 0).any()
    assert not is_unlabeled(np.array([0, 1]), False).any()
    assert is_unlabeled(np.array([False, True]), False).tolist() == [True, False]


def test_one_label_of_each_of_many_classes_is_no_regression(recwarn):
    y = np.array([*"abcdefghijklmnopqrstuvwxyz", *["?"] * 50])
    assert len(split_labels(y, y, "?")[2]) == 26
    assert not recwarn


def test_pandas_missing_labels(blobs):
    X, y = blobs
    labels = pd.Series(y, dtype="Int64").where(y != 2, pd.NA)
    for marker in (pd.NA, None, -1):
        np.testing.assert_array_equal(fast(unlabeled=marker).fit(X, labels).classes_, [0, 1])
    assert list(fast(unlabeled=pd.NA).fit(X, y).classes_) == [0, 1, 2]


def test_labels_may_be_a_tensor_as_samples_may(blobs):
    X, y = torch.tensor(blobs[0]), torch.tensor(blobs[1], dtype=torch.float32, requires_grad=True)
    known, codes, classes = split_labels(X, torch.where(torch.arange(len(y)) < 60, y, -1), -1)
    np.testing.assert_array_equal(known, np.arange(60))
    np.testing.assert_array_equal(classes[codes], blobs[1][:60])


def test_clusters_by_k_means_are_matched_with_the_labels(blobs):
    X, y = blobs
    partial = np.where(np.arange(150) < 15, (y + 1) % 3, -1)
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(init="kmeans", max_iter=1), random_state=0).fit(X, partial)
    assert model.score(X, (y + 1) % 3) > 0.9


def test_a_class_seen_only_in_validation_counts_as_missed(blobs):
    X, y = blobs
    model = fast().fit(X[y != 2], y[y != 2])
    assert model.predict_proba(X).shape == (150, 2)
    assert set(model.predict(X)) == {0, 1}
    known = y != 2
    assert model.score(X, y) == pytest.approx(model.score(X[known], y[known]) * known.mean())


def test_known_labels_need_no_graph(digits):
    """Where every label is known, no features are learned for a graph that none would come from."""
    X, y = digits
    model = GANEMSemiSupervisedClassifier(recipe=fast_recipe(min_e_steps=50), random_state=0).fit(X, y)
    assert model._model.encoder is None
    np.testing.assert_array_equal(model.transduction_, y)
    y = np.where(np.arange(300) == 0, -1, y)
    assert GANEMSemiSupervisedClassifier(recipe=fast_recipe(), random_state=0).fit(X, y)._model.encoder is not None


@pytest.mark.parametrize("estimator", [GANEMSemiSupervisedClassifier(), GANEMTransformer(4)], ids=["classifier", "transformer"])
def test_a_marker_that_unsigned_labels_have_turned_into_a_class_is_refused(moons, estimator):
    X, y = moons
    partial = np.where(np.arange(len(y)) < 20, y.astype(np.uint8), -1).astype(np.uint8)
    assert set(partial) == {0, 1, 255}
    with pytest.raises(ValueError, match="in which unlabeled=-1 is 255"):
        estimator.set_params(recipe=fast_recipe()).fit(X, partial)


def test_255_is_a_class_of_whole_numbers():
    known, _, classes = split_labels(np.zeros((4, 1)), np.array([0, 255, -1, 255]), -1)
    np.testing.assert_array_equal(known, [0, 1, 3])
    np.testing.assert_array_equal(classes, [0, 255])


def test_minus_one_beside_one_other_class_is_doubted():
    with pytest.warns(UserWarning, match="1 is the only class in y, and 1 samples count as unlabeled. If -1 is a class"):
        split_labels(np.zeros((3, 1)), np.array([1, 1, -1]), -1)
    with pytest.warns(UserWarning, match="1 is the only class in y, and 1 samples count as unlabeled.$"):
        split_labels(np.zeros((3, 1)), [1, 1, None], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split_labels(np.zeros((3, 1)), np.array([1, 1, 1]), -1)
        split_labels(np.zeros((3, 1)), np.array([1, 0, -1]), -1)
