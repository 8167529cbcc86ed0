import numpy as np
import pandas as pd
import polars as pl
import pytest

from skganem import clustering_error


def brute_force(y, c, k):
    from itertools import permutations

    return 1 - max(np.mean(np.array(p)[c] == y) for p in permutations(range(k)))


@pytest.mark.parametrize("seed", range(5))
def test_one_to_one_is_the_best_of_all_mappings(seed):
    rng = np.random.default_rng(seed)
    y, c = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    assert clustering_error(y, c) == pytest.approx(brute_force(y, c, 4))


def test_renaming_clusters_changes_nothing():
    y = np.array(["a", "b", "b", "c", "c", "c"])
    assert clustering_error(y, np.array([7, 2, 2, 5, 5, 5])) == 0
    assert clustering_error(y, np.array([7, 2, 2, 5, 5, 5]), mapping="many-to-one") == 0


def test_a_collapsed_clustering_is_not_rewarded():
    y = np.repeat(np.arange(10), 10)
    for mapping in ("one-to-one", "many-to-one"):
        assert clustering_error(y, np.zeros(100), mapping=mapping) == pytest.approx(0.9)


@pytest.mark.parametrize("mapping", ["one-to-one", "many-to-one"])
@pytest.mark.parametrize(
    ("y", "unlabeled"),
    [
        (["a", "a", "b", "b", "b", -1, None], -1),
        (np.array([0, 0, 1, 1, 1, -1, -1]), -1),
        (np.array([0, 0, 1, 1, 1, np.nan, -1]), -1),
        (pd.Series([-1, -1, 1, 1, 1, None, None], dtype="Int64"), None),
        (pd.Series(["a", "a", "b", "b", "b", None, None], dtype="category"), -1),
        (pl.Series(["a", "a", "b", "b", "b", None, None]), -1),
        (np.array(["a", "a", "b", "b", "b", "?", "?"]), "?"),
    ],
)
def test_samples_without_a_class_are_left_out(y, unlabeled, mapping):
    for clusters in ([1, 1, 0, 0, 1, 0, 2], ["x", "x", -1, -1, "x", -1, "y"]):
        assert clustering_error(y, clusters, mapping=mapping, unlabeled=unlabeled) == pytest.approx(1 / 5)


def test_minus_one_is_a_cluster():
    assert clustering_error([0, 0, 1, 1], [-1, -1, 0, 0]) == 0
    assert clustering_error([0, 0, 1, 1], [-1, -1, -1, 0]) == pytest.approx(1 / 4)


def test_minus_one_beside_one_other_class_is_doubted():
    with pytest.warns(UserWarning, match="1 is the only class in y.*If -1 is a class, set another `unlabeled`"):
        clustering_error([-1, 1, 1], [0, 1, 1])
    assert clustering_error([-1, 1, 1], [0, 0, 0], unlabeled=None) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("y", "c", "message"),
    [
        ([-1, None], [0, 1], "No sample has a known class"),
        ([0, 1], [0, np.nan], "1 samples have no cluster"),
        (["a", "b"], ["a", None], "1 samples have no cluster"),
        (["a", "-1"], [0, 1], "'-1' is among the labels"),
        (["a", "?", None], [0, 1, 1], "1 labels are missing"),
    ],
)
def test_labels_without_meaning_are_refused(y, c, message):
    with pytest.raises(ValueError, match=message):
        clustering_error(y, c, unlabeled="?" if "?" in y else -1)


def test_more_clusters_than_classes():
    y, c = [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 2]
    assert clustering_error(y, c) == pytest.approx(1 / 6)
    assert clustering_error(y, c, mapping="many-to-one") == 0


@pytest.mark.parametrize(("y", "c", "mapping"), [([0, 1], [0], "one-to-one"), ([], [], "one-to-one"), ([0], [0], "best")])
def test_bad_input(y, c, mapping):
    with pytest.raises(ValueError):
        clustering_error(y, c, mapping=mapping)
