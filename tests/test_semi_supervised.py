import warnings
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
import torch

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


def test_markers_that_do_not_match_are_noticed(blobs):
    X, y = blobs
    names = np.array(["a", "b", "-1"])[y]
    with pytest.warns(UserWarning, match="counts as a class"):
        fast().fit(X, names)
    for hole in (None, np.nan):
        holed = np.array(["a", "b", hole], dtype=object)[y]
        with pytest.raises(ValueError, match="set `unlabeled` to it"):
            fast().fit(X, holed)
        assert list(fast(unlabeled=hole).fit(X, holed).classes_) == ["a", "b"]
    with pytest.raises(ValueError, match="set `unlabeled` to it"):
        fast().fit(X, np.where(y == 2, np.nan, y))


def test_dates_are_classes_and_nat_is_none():
    y = np.array(["2026-01-05", "NaT", "2026-01-06"], dtype="datetime64[ns]")
    for marker in (np.datetime64("NaT"), pd.NaT):
        known, codes, classes = split_labels(y, y, marker)
        assert (known.tolist(), codes.tolist()) == ([0, 2], [0, 1])
        np.testing.assert_array_equal(classes, y[[0, 2]])
    with pytest.raises(ValueError, match="set `unlabeled` to it"):
        split_labels(y, y, -1)
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
    np.testing.assert_array_equal(fast(unlabeled=pd.NA).fit(X, labels).classes_, [0, 1])
    with pytest.raises(ValueError, match="set `unlabeled` to it"):
        fast(unlabeled=None).fit(X, labels)
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
    with pytest.warns(UserWarning, match="1 is the only class in y, and 1 samples with -1 count as unlabeled"):
        split_labels(np.zeros((3, 1)), np.array([1, 1, -1]), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split_labels(np.zeros((3, 1)), np.array([1, 1, 1]), -1)
        split_labels(np.zeros((3, 1)), np.array([1, 0, -1]), -1)
