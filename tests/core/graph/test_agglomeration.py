import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import make_blobs, make_circles, make_moons

from skganem import clustering_error
from skganem.core.graph.affinity import neighbor_embeddings, reweight_affinity
from skganem.core.graph.agglomeration import agglomerative_partition
from tests.conftest import affinity_of


def partition(X, k, n_neighbors=15, reweighted=False):
    """Partition images without an encoder, or rows, whose edges are reweighted."""
    graph = affinity_of(X, n_neighbors)
    return agglomerative_partition(
        reweight_affinity(graph, neighbor_embeddings(graph, seed=0)) if reweighted else graph, k, seed=0, points=X
    )[0]


@pytest.mark.parametrize("reweighted", [False, True])
@pytest.mark.parametrize(("n_near", "n_clusters"), [(2, 2), (3, 2), (2, 4), (4, 3)])
def test_connected_components_beyond_the_clusters_are_merged_with_near_ones(reweighted, n_near, n_clusters):
    centers = [[60 * i, 6 * j] for i in range(n_clusters) for j in range(n_near)]
    X, component = make_blobs(60 * len(centers), centers=centers, cluster_std=0.5, random_state=0)
    assert connected_components(affinity_of(X, 15))[0] == len(centers)
    assert clustering_error(component // n_near, partition(X, n_clusters, reweighted=reweighted)) == 0


@pytest.mark.parametrize("n", [300, 2500])  # dense and iterative eigensolver
@pytest.mark.parametrize("make", [make_moons, lambda n, noise, random_state: make_circles(n, noise=noise, factor=0.5)])
def test_groups_of_rows_that_are_not_convex(make, n):
    X, y = make(n, noise=0.05, random_state=0)
    assert clustering_error(y, partition(X, 2, reweighted=True)) < 0.01


@pytest.mark.parametrize("reweighted", [False, True])
def test_an_undersized_component_does_not_take_a_cluster(reweighted):
    """Three large groups and one of 20 points: with K = 3 the large ones are separated, and none is merged."""
    X, y = make_blobs([300, 300, 300, 20], centers=[[0, 0], [4, 0], [0, 4], [30, 30]], cluster_std=0.8, random_state=0)
    labels = partition(X, 3, reweighted=reweighted)
    large = y < 3
    assert clustering_error(y[large], np.maximum(labels[large], 0)) < 0.05


@pytest.mark.parametrize("reweighted", [False, True])
def test_clusters_of_uneven_size(reweighted):
    """k-means alone splits the large group in two and leaves the small ones together."""
    X, y = make_blobs([900, 60], centers=[[0, 0], [8, 0]], random_state=0)
    assert clustering_error(y, partition(X, 2, reweighted=reweighted)) < 0.01
    X, y = make_blobs([1000, 300, 100, 50], centers=[[0, 0], [5, 0], [0, 5], [8, 8]], random_state=0)
    assert clustering_error(y, partition(X, 4, reweighted=reweighted)) < 0.05


@pytest.mark.parametrize("reweighted", [False, True])
def test_clusters_without_any_edge_between_them_are_merged_too(reweighted):
    X, y = make_blobs([100] * 5, centers=[[0, 0], [50, 0], [0, 50], [50, 50], [99, 99]], random_state=0)
    labels = partition(X, 3, 10, reweighted)
    assert set(np.unique(labels[labels >= 0])) == {0, 1, 2}
    assert all(len(np.unique(labels[y == i])) == 1 for i in range(5))


def test_more_components_than_clusters():
    X, _ = make_blobs([100, 100, 20, 20], centers=[[0, 0], [50, 0], [0, 50], [50, 50]], random_state=0)
    assert set(np.unique(partition(X, 2, 10))) <= {-1, 0, 1}


@pytest.mark.parametrize("reweighted", [False, True])
def test_a_component_of_two_neighborhoods_is_no_cluster(reweighted):
    """Three groups that hardly touch, and 25 points far away: with 15 neighbors, chance makes such components."""
    X, y = make_blobs([200, 200, 200, 25], centers=[[0, 0], [5, 0], [0, 5], [9, 9]], random_state=0)
    labels = partition(X, 3, reweighted=reweighted)
    assert clustering_error(y[y < 3], labels[y < 3]) < 0.03
