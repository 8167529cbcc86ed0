import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2

from skganem.core.graph import kmeans


def test_fewer_distinct_points_than_clusters_have_a_cluster_each():
    points = np.repeat(np.eye(4), [5, 1, 2, 9], axis=0)
    labels = kmeans.kmeans(points, 6, seed=0)[0]
    assert len(np.unique(labels)) == 4
    assert all(len(np.unique(labels[(points == point).all(axis=1)])) == 1 for point in np.eye(4))


def test_kmeans_leaves_the_warnings_filters_alone_and_has_no_more_labels_than_clusters(monkeypatch):
    """The filters belong to the process, and other threads may be changing them, too."""
    monkeypatch.setattr("warnings.catch_warnings", None)
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(2, 6)), 20, axis=0) + 1e-12 * rng.normal(size=(40, 6))
    labels = kmeans.kmeans(points, 3, seed=0)[0]
    assert labels.max() < 3
    assert len(np.unique(labels[:20])) + len(np.unique(labels[20:])) == len(np.unique(labels))


def test_kmeans_returns_the_labels_of_each_run_the_best_first():
    points = np.random.default_rng(0).uniform(size=(300, 2))
    found = kmeans.kmeans(points, 7, seed=0, n_init=5)
    costs = [sum(((points[labels == i] - points[labels == i].mean(axis=0)) ** 2).sum() for i in range(7)) for labels in found]
    assert len(costs) == 5
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_labels_are_found_where_each_run_leaves_a_cluster_empty(monkeypatch):
    def fail(*args, **details):
        raise ClusterError

    monkeypatch.setattr(kmeans, "kmeans2", fail)
    labels = kmeans.kmeans(np.random.default_rng(0).normal(size=(50, 2)), 4, seed=0)[0]
    assert np.unique(labels).tolist() == [0, 1, 2, 3]


def test_groups_are_separated_where_each_run_leaves_a_cluster_empty(monkeypatch):
    def fail(points, centers):
        raise ClusterError

    monkeypatch.setattr(kmeans, "lloyd", fail)
    points = np.repeat(np.eye(3), 40, axis=0)
    points[80:] += 1e-15 * np.random.default_rng(0).integers(-1, 2, (40, 3))  # most of those that differ are in one group
    first, second, third = (set(labels) for labels in np.split(kmeans.kmeans(points, 9, seed=0)[0], 3))
    assert first.isdisjoint(second | third)
    assert second.isdisjoint(third)


def test_stopping_when_labels_no_longer_change_gives_what_all_iterations_give():
    points = np.random.default_rng(0).normal(size=(2000, 6))
    centers, labels = kmeans2(points, points[:12], minit="matrix", iter=100, missing="raise")
    found = kmeans.lloyd(points, points[:12])
    np.testing.assert_array_equal(found[0], centers)
    np.testing.assert_array_equal(found[1], labels)
