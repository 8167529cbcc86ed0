import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.neighbors import NearestNeighbors

from skganem import clustering_error
from skganem.core.graph import spectral as graph
from skganem.core.graph.affinity import weighed_by_embeddings
from tests.conftest import links_of


def cut(X, k, n_neighbors=15, weighed=False):
    """Cut as images without an encoder are, or as rows are."""
    links = links_of(X, n_neighbors)
    return graph.partition(weighed_by_embeddings(links, seed=0) if weighed else links, k, seed=0, points=X)[0]


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize(("n_near", "n_clusters"), [(2, 2), (3, 2), (2, 4), (4, 3)])
def test_islands_that_are_more_than_clusters_are_joined_with_those_that_are_near(weighed, n_near, n_clusters):
    centres = [[60 * i, 6 * j] for i in range(n_clusters) for j in range(n_near)]
    X, island = make_blobs(60 * len(centres), centers=centres, cluster_std=0.5, random_state=0)
    assert connected_components(links_of(X, 15))[0] == len(centres)
    assert clustering_error(island // n_near, cut(X, n_clusters, weighed=weighed)) == 0


def test_where_each_run_of_kmeans_has_an_empty_cluster_groups_are_parted_nevertheless(monkeypatch):
    def settled(points, centres):
        raise ClusterError

    monkeypatch.setattr(graph, "settled", settled)
    points = np.repeat(np.eye(3), 40, axis=0)
    points[80:] += 1e-15 * np.random.default_rng(0).integers(-1, 2, (40, 3))  # most of those that differ are in one group
    first, second, third = (set(part) for part in np.split(graph.kmeans(points, 9, seed=0)[0], 3))
    assert first.isdisjoint(second | third)
    assert second.isdisjoint(third)


def test_neighbours_are_those_of_scikit_learn():
    X = np.random.default_rng(0).normal(size=(1500, 5)).astype(np.float32)
    mine = graph.neighbours(torch.tensor(X), 6).numpy()
    theirs = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(return_distance=False)
    assert (np.sort(mine, 1) == np.sort(theirs, 1)).mean() > 0.999


def test_a_repeated_point_is_not_its_own_neighbour():
    X = torch.zeros(30, 2)
    found = graph.neighbours(X, 5)
    assert found.shape == (30, 5)
    assert (found != torch.arange(30)[:, None]).all()


def test_kmeans_of_fewer_distinct_points_than_clusters_has_a_part_for_each():
    points = np.repeat(np.eye(4), [5, 1, 2, 9], axis=0)
    labels = graph.kmeans(points, 6, seed=0)[0]
    assert len(np.unique(labels)) == 4
    assert all(len(np.unique(labels[(points == point).all(axis=1)])) == 1 for point in np.eye(4))


def test_kmeans_leaves_the_warnings_filters_alone_and_has_no_more_labels_than_clusters(monkeypatch):
    """The filters belong to the process, and other threads may be changing them, too."""
    monkeypatch.setattr("warnings.catch_warnings", None)
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(2, 6)), 20, axis=0) + 1e-12 * rng.normal(size=(40, 6))
    labels = graph.kmeans(points, 3, seed=0)[0]
    assert labels.max() < 3
    assert len(np.unique(labels[:20])) + len(np.unique(labels[20:])) == len(np.unique(labels))


def test_kmeans_has_a_partition_of_each_run_the_best_first():
    points = np.random.default_rng(0).uniform(size=(300, 2))
    found = graph.kmeans(points, 7, seed=0, n_init=5)
    costs = [sum(((points[labels == i] - points[labels == i].mean(axis=0)) ** 2).sum() for i in range(7)) for labels in found]
    assert len(costs) == 5
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_kmeans_whose_runs_all_leave_a_cluster_empty(monkeypatch):
    def emptied(*args, **details):
        raise ClusterError

    monkeypatch.setattr(graph, "kmeans2", emptied)
    labels = graph.kmeans(np.random.default_rng(0).normal(size=(50, 2)), 4, seed=0)[0]
    assert np.unique(labels).tolist() == [0, 1, 2, 3]


def test_fewer_points_than_neighbours():
    assert graph.neighbours(torch.rand(4, 2), 15).shape == (4, 3)


@pytest.mark.parametrize("n", [300, 2500])  # dense and iterative eigensolver
@pytest.mark.parametrize("make", [make_moons, lambda n, noise, random_state: make_circles(n, noise=noise, factor=0.5)])
def test_shapes_of_rows_that_are_not_convex(make, n):
    X, y = make(n, noise=0.05, random_state=0)
    assert clustering_error(y, cut(X, 2, weighed=True)) < 0.01


@pytest.mark.parametrize("weighed", [False, True])
def test_a_fragment_does_not_take_a_cluster(weighed):
    """Three large groups and one of 20 points: with K = 3 the large ones are told apart, and none is merged."""
    X, y = make_blobs([300, 300, 300, 20], centers=[[0, 0], [4, 0], [0, 4], [30, 30]], cluster_std=0.8, random_state=0)
    labels = cut(X, 3, weighed=weighed)
    large = y < 3
    assert clustering_error(y[large], np.maximum(labels[large], 0)) < 0.05


@pytest.mark.parametrize("weighed", [False, True])
def test_clusters_of_uneven_size(weighed):
    """k-means alone cuts the large group in two and leaves the small ones together."""
    X, y = make_blobs([900, 60], centers=[[0, 0], [8, 0]], random_state=0)
    assert clustering_error(y, cut(X, 2, weighed=weighed)) < 0.01
    X, y = make_blobs([1000, 300, 100, 50], centers=[[0, 0], [5, 0], [0, 5], [8, 8]], random_state=0)
    assert clustering_error(y, cut(X, 4, weighed=weighed)) < 0.05


@pytest.mark.parametrize("weighed", [False, True])
def test_parts_without_any_link_are_joined_too(weighed):
    X, y = make_blobs([100] * 5, centers=[[0, 0], [50, 0], [0, 50], [50, 50], [99, 99]], random_state=0)
    labels = cut(X, 3, 10, weighed)
    assert set(np.unique(labels[labels >= 0])) == {0, 1, 2}
    assert all(len(np.unique(labels[y == i])) == 1 for i in range(5))


def test_more_components_than_clusters():
    X, _ = make_blobs([100, 100, 20, 20], centers=[[0, 0], [50, 0], [0, 50], [50, 50]], random_state=0)
    assert set(np.unique(cut(X, 2, 10))) <= {-1, 0, 1}


def test_affinity_is_what_two_nodes_share():
    X = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    found = graph.neighbours(X, 6).numpy()
    affinity = graph.affinity(found).toarray()
    within = [{i, *row} for i, row in enumerate(found.tolist())]
    expected = [
        [len(a & b) / len(a | b) if i != j and (i in b or j in a) else 0.0 for j, b in enumerate(within)]
        for i, a in enumerate(within)
    ]
    np.testing.assert_allclose(affinity, expected)


@pytest.mark.parametrize("weighed", [False, True])
def test_an_island_of_two_neighbourhoods_is_no_cluster(weighed):
    """Three groups that hardly touch, and 25 points far away: with 15 neighbours, chance makes such islands."""
    X, y = make_blobs([200, 200, 200, 25], centers=[[0, 0], [5, 0], [0, 5], [9, 9]], random_state=0)
    labels = cut(X, 3, weighed=weighed)
    assert clustering_error(y[y < 3], labels[y < 3]) < 0.03


def test_centrality_falls_evenly_from_the_median_of_each_part():
    embedding = np.array([[0.0], [1.0], [3.0], [2.0], [7.0], [9.0], [5.0]])
    labels = np.array([0, 0, 0, 0, 1, 1, -1])
    ranked = graph.centrality(embedding, labels)
    np.testing.assert_allclose(np.sort(ranked[:4]), [0.25, 0.5, 0.75, 1.0])
    assert set(ranked[[1, 3]]) == {0.75, 1.0}  # the median is 1.5
    assert set(ranked[4:6]) == {0.5, 1.0}
    assert ranked[6] == 0


def test_kmeans_that_stops_where_labels_stand_still_ends_as_all_iterations_would():
    points = np.random.default_rng(0).normal(size=(2000, 6))
    centres, labels = kmeans2(points, points[:12], minit="matrix", iter=100, missing="raise")
    found = graph.settled(points, points[:12])
    np.testing.assert_array_equal(found[0], centres)
    np.testing.assert_array_equal(found[1], labels)


@pytest.mark.skipif(not graph.SEEDED, reason="SciPy's ARPACK can't be told what to draw from")
def test_eigenvectors_of_equal_eigenvalues_are_the_same_each_time():
    """A star has three eigenvalues; those of 0 have no vectors of their own, and ARPACK begins anew at random."""
    star = sp.coo_array((np.full(1499, 1499**-0.5), (np.zeros(1499, dtype=int), np.arange(1, 1500))), shape=(1500, 1500))
    star = sp.csr_array(star + star.T)
    (_, first), (_, second) = (graph.leading_eigenpairs(star, 10, seed=0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
