import numpy as np
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


def test_more_clusters_than_classes():
    y, c = [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 2]
    assert clustering_error(y, c) == pytest.approx(1 / 6)
    assert clustering_error(y, c, mapping="many-to-one") == 0


@pytest.mark.parametrize(("y", "c", "mapping"), [([0, 1], [0], "one-to-one"), ([], [], "one-to-one"), ([0], [0], "best")])
def test_bad_input(y, c, mapping):
    with pytest.raises(ValueError):
        clustering_error(y, c, mapping=mapping)
