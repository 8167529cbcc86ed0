import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA

from skganem import clustering_error
from skganem.core.graph import partition
from skganem.core.graph.partition import PartitionObjective, optimize_partition
from tests.conftest import affinity_of

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


def share_cut(graph, labels):
    dense = graph.toarray()
    return dense[labels[:, None] != labels].sum() / dense.sum()


def test_the_objective_is_the_scatter_within_clusters_and_the_mean_share_of_edges_that_are_cut():
    X, y = make_blobs([60, 30, 10], centers=[[0, 0], [4, 0], [0, 4]], random_state=0)
    graphs = [affinity_of(X, 10), affinity_of(X, 15)]
    objective = PartitionObjective(graphs, X, 3)
    for labels in (y, np.where(X[:, 0] > X[:, 0].mean(), 0, 2 * y)):  # some numbers left out
        clusters = [X[labels == i] for i in np.unique(labels)]
        scatter = sum(len(cluster) * np.cov(cluster.T, bias=True) for cluster in clusters) / len(X)
        cut = (share_cut(graphs[0], labels) + share_cut(graphs[1], labels)) / 2
        expected = np.log(np.linalg.det(scatter)) + partition.CUT_WEIGHT * cut
        assert objective.evaluate(labels).objective == pytest.approx(expected, abs=1e-4)
        assert objective.evaluate(labels).sizes.tolist() == [len(cluster) for cluster in clusters]


def test_graphs_count_alike_however_many_edges_they_have():
    X, y = make_blobs([60, 40], random_state=0)
    few, many = affinity_of(X, 5), 100 * affinity_of(X, 20)
    cut = [PartitionObjective([graph], X, 2).evaluate(y).objective for graph in (few, many)]
    assert PartitionObjective([few, many], X, 2).evaluate(y).objective == pytest.approx(np.mean(cut))


def test_styles_that_lie_apart_are_no_clusters_even_if_separating_them_cuts_less():
    graph = affinity_of(styles(), 10)
    objective = PartitionObjective([graph], styles(), 3)
    assert share_cut(graph, BY_STYLE) < 0.5 * share_cut(graph, BY_CLASS)
    assert objective.evaluate(BY_CLASS).objective < objective.evaluate(BY_STYLE).objective


def test_halves_of_a_large_cluster_are_no_clusters_even_if_they_leave_less_scatter(monkeypatch):
    X, y = cross()
    objective, halves = PartitionObjective([affinity_of(X, 10)], X, 2), (X[:, 0] > 0).astype(int)
    assert objective.evaluate(y).objective < objective.evaluate(halves).objective
    monkeypatch.setattr(partition, "CUT_WEIGHT", 0)
    assert objective.evaluate(y).objective > objective.evaluate(halves).objective


def test_refinement_moves_nodes_to_where_the_objective_is_least():
    """A tenth of them are in a wrong cluster; afterwards, a move of any single node makes the objective greater."""
    X, y = make_blobs([80, 60, 40], centers=[[0, 0], [5, 0], [0, 5]], random_state=0)
    objective, rng = PartitionObjective([affinity_of(X, 10)], X, 3), np.random.default_rng(0)
    wrong = np.where(rng.uniform(size=180) < 0.1, rng.integers(0, 3, 180), y)
    refined = objective.refine(objective.evaluate(wrong))
    assert clustering_error(y, refined.labels) < 0.02 < clustering_error(y, wrong)
    for i in rng.choice(180, 40, replace=False):
        for cluster in range(3):
            moved = refined.labels.copy()
            moved[i] = cluster
            assert objective.evaluate(moved).objective >= refined.objective - 1e-9


def test_refinement_never_raises_the_objective_or_empties_a_cluster():
    """Moved all at once, they may: from random labels, and with a cluster of one node among those of another."""
    X, y = cross()
    objective = PartitionObjective([affinity_of(X, 10)], X, 4)
    single = np.where(np.arange(len(X)) == 5, 2, y)
    for labels in (np.random.default_rng(0).integers(0, 4, len(X)), single):
        refined = objective.refine(objective.evaluate(labels))
        assert refined.objective <= objective.evaluate(labels).objective
        assert len(refined.sizes) == len(np.unique(labels))


def test_the_two_clusters_are_merged_for_which_the_objective_is_least():
    X, y = make_blobs([70, 50, 30, 20], centers=4 * np.eye(3, 4).T, cluster_std=2, random_state=1)
    objective = PartitionObjective([affinity_of(X, 10)], X, 4)
    merged = objective.merge_best_pair(objective.evaluate(y))
    pairs = [objective.evaluate(np.where(y == other, one, y)).objective for one in range(4) for other in range(one)]
    assert merged.objective == pytest.approx(min(pairs))
    assert len(merged.sizes) == 3


def test_a_cluster_is_split_in_units_of_the_scatter_and_one_of_equal_points_is_not():
    """Clusters are thin and long; two of them lie side by side."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) * [20, 1] + np.repeat([[0, 0], [0, 8], [100, 4]], 100, axis=0)
    y = np.repeat([0, 0, 1], 100)
    objective = PartitionObjective([affinity_of(X, 10)], X, 2)
    halved = objective.split_cluster(objective.evaluate(np.repeat([0, 1, 2], 100)), 2, seed=0)
    assert sorted(halved.sizes)[-2:] == [100, 100]
    X[200:] = [100, 4]
    objective = PartitionObjective([affinity_of(X, 10)], X, 2)
    assert len(objective.split_cluster(objective.evaluate(y), 1, seed=0).sizes) == 2
    assert len(objective.split_cluster(objective.evaluate(y), 0, seed=0).sizes) == 3


def test_the_search_merges_halves_of_a_group_and_splits_a_cluster_of_two_groups(monkeypatch):
    """No node alone is better off elsewhere, however wrong the clusters."""
    X, y = make_blobs([80] * 4, centers=np.eye(6)[:4] * 8, random_state=0)
    wrong = np.where(y == 1, 0, y) + (y == 2) * (np.arange(320) % 2 - 1)
    objective = PartitionObjective([affinity_of(X, 10)], X, 4)
    start = objective.evaluate(np.where(y == 1, 0, np.where((y == 2) & (X[:, 4] > 0), 1, y)))
    assert clustering_error(y, objective.refine(start).labels) > 0.1
    assert clustering_error(y, objective.split_merge_search(start, min_size=1, seed=0).labels) == 0
    monkeypatch.setattr(partition, "spectral_clustering", lambda *args, **settings: wrong)
    labels, rank = optimize_partition([affinity_of(X, 10)], 4, seed=0, points=X)
    assert clustering_error(y, labels) == 0
    assert rank.max() == 1
    assert rank.min() > 0


def test_the_search_makes_no_undersized_clusters():
    """Three points that are like no other would be one, and two groups would share a cluster."""
    X, y = make_blobs([300, 300, 30, 3], centers=[[0, 0, 0], [5, 0, 0], [0, 0, 9], [0, 45, 0]], random_state=0)
    objective, right = PartitionObjective([affinity_of(X, 10)], X, 3), y % 3
    start = objective.evaluate(right)
    assert objective.split_merge_search(start, min_size=1, seed=0).sizes.min() == 3
    assert clustering_error(right, objective.split_merge_search(start, min_size=10, seed=0).labels) < 0.02


def test_only_the_most_promising_splits_are_tried(monkeypatch):
    X, y = make_blobs([40] * 12, centers=9 * np.eye(12), random_state=0)
    objective, tried = PartitionObjective([affinity_of(X, 10)], X, 12), []
    refine, start = PartitionObjective.refine, objective.evaluate(y)
    monkeypatch.setattr(PartitionObjective, "refine", lambda self, found: tried.append(len(found.sizes)) or refine(self, found))
    assert objective.split_merge_search(start, min_size=1, seed=0).objective == start.objective  # nothing is better
    assert tried.count(13) == partition.MAX_SPLITS


def test_the_search_begins_at_the_better_start_and_nodes_are_ranked_in_its_map(monkeypatch):
    X, maps = styles(), [styles() + 100, styles()]
    given = iter(maps)
    monkeypatch.setattr(partition, "diffusion_map", lambda *args: next(given))
    monkeypatch.setattr(
        partition, "spectral_clustering", lambda embedding, *args, **kwargs: BY_CLASS if embedding is maps[1] else BY_STYLE
    )
    monkeypatch.setattr(partition, "within_cluster_rank", lambda embedding, labels: (embedding, labels))
    bounds = []

    def search(self, start, min_size, seed):
        bounds.append(min_size)
        return start

    monkeypatch.setattr(PartitionObjective, "split_merge_search", search)
    labels, (embedding, ranked) = optimize_partition([affinity_of(X, 10), affinity_of(X, 15)], 3, seed=0, points=X)
    assert clustering_error(BY_CLASS, labels) < 0.02
    assert embedding is maps[1]
    assert ranked is labels
    assert bounds == [pytest.approx(partition.MIN_CLUSTER_FRACTION * 400 / 3)]


@pytest.mark.parametrize(("n_clusters", "n_components"), [(8, 7), (2, 5)])
def test_as_many_principal_components_count_as_means_span(n_clusters, n_components):
    """But five at least."""
    X = np.random.default_rng(0).normal(size=(100, 20)) * np.arange(1, 21)
    points = PartitionObjective([affinity_of(X, 10)], X, n_clusters).points
    np.testing.assert_allclose(np.abs(points), np.abs(PCA(n_components).fit_transform(X)), atol=1e-6)


def test_nodes_without_a_cluster_go_to_the_nearest_mean():
    X = np.array([[0.0, 0], [1, 0], [9, 9], [8, 8], [2, 2]])
    np.testing.assert_array_equal(partition.assign_to_nearest(np.array([0, 0, 2, -1, -1]), X), [0, 0, 2, 2, 0])


def test_principal_components_are_where_points_vary_most():
    X = (
        np.random.default_rng(0).normal(size=(500, 5))
        * [5, 0.1, 3, 0.2, 0.3]
        @ np.linalg.qr(np.arange(25).reshape(5, 5) ** 0.5)[0]
    )
    found = partition.principal_components(X + 7, 2)
    np.testing.assert_allclose(np.abs(found), np.abs(PCA(2).fit_transform(X)), atol=1e-6)
    assert partition.principal_components(X, 9).shape == (500, 5)
    assert partition.principal_components(X[:3], 4).shape == (3, 4)
