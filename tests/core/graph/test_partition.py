import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA

from skganem import clustering_error
from skganem.core.graph import partition as strain
from tests.conftest import links_of

STYLE = np.repeat(range(4), 100)
BY_CLASS, BY_STYLE = np.array([0, 0, 1, 2])[STYLE], np.array([0, 1, 2, 2])[STYLE]


def styles():
    """Return points: styles of a class are apart in a dimension in which the other classes vary; these touch in the other."""
    means, spread = np.array([[4, 0], [-4, 0], [0, 8], [0, 13]]), np.array([[1, 1], [1, 1], [4, 1], [4, 1]])
    return means[STYLE] + spread[STYLE] * np.random.default_rng(0).normal(size=(400, 2))


def cross():
    """Return a large cluster (n, 2), a small one beside its middle, and which is which; the large one is long."""
    rng = np.random.default_rng(0)
    X = np.r_[np.c_[rng.normal(0, 3, 640), rng.normal(size=640)], np.c_[rng.normal(0, 1, 30), rng.normal(4, 0.5, 30)]]
    return X, np.repeat([0, 1], [640, 30])


def share_cut(links, labels):
    dense = links.toarray()
    return dense[labels[:, None] != labels].sum() / dense.sum()


def test_strain_is_the_scatter_within_parts_and_the_mean_share_of_links_that_are_cut():
    X, y = make_blobs([60, 30, 10], centers=[[0, 0], [4, 0], [0, 4]], random_state=0)
    links, further = links_of(X, 10), links_of(X, 15)
    fit = strain.Fit([links, further], X, 3)
    for labels in (y, np.where(X[:, 0] > X[:, 0].mean(), 0, 2 * y)):  # some numbers left out
        parts = [X[labels == i] for i in np.unique(labels)]
        scatter = sum(len(part) * np.cov(part.T, bias=True) for part in parts) / len(X)
        expected = np.log(np.linalg.det(scatter)) + strain.CUT * (share_cut(links, labels) + share_cut(further, labels)) / 2
        assert fit.parts(labels).strain == pytest.approx(expected, abs=1e-4)
        assert fit.parts(labels).sizes.tolist() == [len(part) for part in parts]


def test_graphs_count_alike_however_many_links_they_have():
    X, y = make_blobs([60, 40], random_state=0)
    few, many = links_of(X, 5), 100 * links_of(X, 20)
    cut = [strain.Fit([graph], X, 2).parts(y).strain for graph in (few, many)]
    assert strain.Fit([few, many], X, 2).parts(y).strain == pytest.approx(np.mean(cut))


def test_styles_that_lie_apart_are_no_clusters_even_if_to_part_them_cuts_less():
    links = links_of(styles(), 10)
    fit = strain.Fit([links], styles(), 3)
    assert share_cut(links, BY_STYLE) < 0.5 * share_cut(links, BY_CLASS)
    assert fit.parts(BY_CLASS).strain < fit.parts(BY_STYLE).strain


def test_halves_of_a_large_cluster_are_no_clusters_even_if_they_leave_less_scatter(monkeypatch):
    X, y = cross()
    fit, halves = strain.Fit([links_of(X, 10)], X, 2), (X[:, 0] > 0).astype(int)
    assert fit.parts(y).strain < fit.parts(halves).strain
    monkeypatch.setattr(strain, "CUT", 0)
    assert fit.parts(y).strain > fit.parts(halves).strain


def test_nodes_move_to_where_the_strain_is_least():
    """A tenth of them are in a wrong part; one move of any single node from where they settle makes it greater."""
    X, y = make_blobs([80, 60, 40], centers=[[0, 0], [5, 0], [0, 5]], random_state=0)
    fit, rng = strain.Fit([links_of(X, 10)], X, 3), np.random.default_rng(0)
    wrong = np.where(rng.uniform(size=180) < 0.1, rng.integers(0, 3, 180), y)
    settled = fit.settled(fit.parts(wrong))
    assert clustering_error(y, settled.labels) < 0.02 < clustering_error(y, wrong)
    for i in rng.choice(180, 40, replace=False):
        for part in range(3):
            moved = settled.labels.copy()
            moved[i] = part
            assert fit.parts(moved).strain >= settled.strain - 1e-9


def test_moving_nodes_never_adds_strain_or_empties_a_part():
    """Moved all at once, they may: from a start at random, and with a part of one node among those of another."""
    X, y = cross()
    fit = strain.Fit([links_of(X, 10)], X, 4)
    single = np.where(np.arange(len(X)) == 5, 2, y)
    for labels in (np.random.default_rng(0).integers(0, 4, len(X)), single):
        settled = fit.settled(fit.parts(labels))
        assert settled.strain <= fit.parts(labels).strain
        assert len(settled.sizes) == len(np.unique(labels))


def test_those_two_parts_are_merged_for_which_the_strain_is_least():
    X, y = make_blobs([70, 50, 30, 20], centers=4 * np.eye(3, 4).T, cluster_std=2, random_state=1)
    fit = strain.Fit([links_of(X, 10)], X, 4)
    merged = fit.merged(fit.parts(y))
    pairs = [fit.parts(np.where(y == other, one, y)).strain for one in range(4) for other in range(one)]
    assert merged.strain == pytest.approx(min(pairs))
    assert len(merged.sizes) == 3


def test_a_part_is_halved_in_units_of_the_scatter_and_a_part_of_equal_points_is_not():
    """Parts are thin and long; two of them lie side by side."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) * [20, 1] + np.repeat([[0, 0], [0, 8], [100, 4]], 100, axis=0)
    y = np.repeat([0, 0, 1], 100)
    fit = strain.Fit([links_of(X, 10)], X, 2)
    halved = fit.split(fit.parts(np.repeat([0, 1, 2], 100)), 2, seed=0)
    assert sorted(halved.sizes)[-2:] == [100, 100]
    X[200:] = [100, 4]
    fit = strain.Fit([links_of(X, 10)], X, 2)
    assert len(fit.split(fit.parts(y), 1, seed=0).sizes) == 2
    assert len(fit.split(fit.parts(y), 0, seed=0).sizes) == 3


def test_a_cluster_that_is_halved_is_made_whole_and_two_that_share_a_part_are_parted(monkeypatch):
    """No node alone is better off elsewhere, however wrong the parts."""
    X, y = make_blobs([80] * 4, centers=np.eye(6)[:4] * 8, random_state=0)
    wrong = np.where(y == 1, 0, y) + (y == 2) * (np.arange(320) % 2 - 1)
    fit = strain.Fit([links_of(X, 10)], X, 4)
    start = fit.parts(np.where(y == 1, 0, np.where((y == 2) & (X[:, 4] > 0), 1, y)))
    assert clustering_error(y, fit.settled(start).labels) > 0.1
    assert clustering_error(y, fit.searched(start, least=1, seed=0).labels) == 0
    monkeypatch.setattr(strain, "spectral_parts", lambda *args, **settings: wrong)
    labels, centrality = strain.partition([links_of(X, 10)], 4, seed=0, points=X)
    assert clustering_error(y, labels) == 0
    assert centrality.max() == 1
    assert centrality.min() > 0


def test_the_search_makes_no_fragments():
    """Three points that are like no other would be one, and two groups would share a part."""
    X, y = make_blobs([300, 300, 30, 3], centers=[[0, 0, 0], [5, 0, 0], [0, 0, 9], [0, 45, 0]], random_state=0)
    fit, right = strain.Fit([links_of(X, 10)], X, 3), y % 3
    start = fit.parts(right)
    assert fit.searched(start, least=1, seed=0).sizes.min() == 3
    assert clustering_error(right, fit.searched(start, least=10, seed=0).labels) < 0.02


def test_only_the_most_promising_splits_are_tried(monkeypatch):
    X, y = make_blobs([40] * 12, centers=9 * np.eye(12), random_state=0)
    fit, tried = strain.Fit([links_of(X, 10)], X, 12), []
    settled = strain.Fit.settled
    monkeypatch.setattr(strain.Fit, "settled", lambda self, parts: tried.append(len(parts.sizes)) or settled(self, parts))
    assert fit.searched(fit.parts(y), least=1, seed=0).strain == fit.parts(y).strain  # nothing is better
    assert tried.count(13) == strain.SPLITS


def test_the_search_goes_on_from_the_better_start_and_nodes_are_ranked_in_its_map(monkeypatch):
    X, maps = styles(), [styles() + 100, styles()]
    given = iter(maps)
    monkeypatch.setattr(strain, "diffusion_map", lambda *args: next(given))
    monkeypatch.setattr(
        strain, "spectral_parts", lambda embedding, *args, **kwargs: BY_CLASS if embedding is maps[1] else BY_STYLE
    )
    monkeypatch.setattr(strain, "centrality", lambda embedding, labels: (embedding, labels))
    bounds = []
    monkeypatch.setattr(strain.Fit, "searched", lambda self, parts, least, seed: bounds.append(least) or parts)
    labels, (embedding, ranked) = strain.partition([links_of(X, 10), links_of(X, 15)], 3, seed=0, points=X)
    assert clustering_error(BY_CLASS, labels) < 0.02
    assert embedding is maps[1]
    assert ranked is labels
    assert bounds == [pytest.approx(strain.LEAST_SHARE * 400 / 3)]


@pytest.mark.parametrize(("n_clusters", "n_components"), [(8, 7), (2, 5)])
def test_as_many_leading_components_are_judged_as_centres_span(n_clusters, n_components):
    """But five at least."""
    X = np.random.default_rng(0).normal(size=(100, 20)) * np.arange(1, 21)
    points = strain.Fit([links_of(X, 10)], X, n_clusters).points
    np.testing.assert_allclose(np.abs(points), np.abs(PCA(n_components).fit_transform(X)), atol=1e-6)


def test_nodes_in_no_part_go_to_the_nearest_mean():
    X = np.array([[0.0, 0], [1, 0], [9, 9], [8, 8], [2, 2]])
    np.testing.assert_array_equal(strain.everywhere(np.array([0, 0, 2, -1, -1]), X), [0, 0, 2, 2, 0])


def test_principal_components_are_where_points_vary_most():
    X = (
        np.random.default_rng(0).normal(size=(500, 5))
        * [5, 0.1, 3, 0.2, 0.3]
        @ np.linalg.qr(np.arange(25).reshape(5, 5) ** 0.5)[0]
    )
    found = strain.principal_components(X + 7, 2)
    np.testing.assert_allclose(np.abs(found), np.abs(PCA(2).fit_transform(X)), atol=1e-6)
    assert strain.principal_components(X, 9).shape == (500, 5)
    assert strain.principal_components(X[:3], 4).shape == (3, 4)
