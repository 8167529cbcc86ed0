import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestNeighbors

from skganem.core.graph import affinity
from skganem.core.graph.affinity import jaccard_affinity, neighbor_embeddings, reweight_affinity
from skganem.core.graph.knn import k_nearest
from tests.conftest import affinity_of


def overlapping_groups():
    centers = np.zeros((3, 20))
    centers[1, 0] = centers[2, 1] = 4
    X, y = make_blobs([300, 300, 100], centers=centers, random_state=0)
    return affinity_of(X, 10), y


def test_edges_between_groups_lose_most_weight():
    graph, y = overlapping_groups()
    reweighted = reweight_affinity(graph, neighbor_embeddings(graph, seed=0))
    rows, columns = sp.coo_array(graph).coords
    ratio, between = reweighted[rows, columns] / graph[rows, columns], y[rows] != y[columns]
    assert 0.01 < between.mean() < 0.2
    assert ratio[between].mean() < 0.6 * ratio[~between].mean()


def test_no_edge_is_added_or_lost_and_weights_stay_symmetric():
    graph, _ = overlapping_groups()
    reweighted = reweight_affinity(graph, neighbor_embeddings(graph, seed=0))
    assert ((reweighted != 0) != (graph != 0)).nnz == 0
    assert abs(reweighted - reweighted.T).max() == 0
    assert reweighted.data.min() > 0
    assert (graph - reweighted).data.min() >= 0


def test_weights_follow_the_seed():
    graph, _ = overlapping_groups()
    first, again, other = (reweight_affinity(graph, neighbor_embeddings(graph, seed)) for seed in (0, 0, 1))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_neighbors_stay_neighbors_in_an_embedding():
    """Of points on a sheet that is rolled up, most are next to the same ones afterwards."""
    rng = np.random.default_rng(0)
    angle, height = rng.uniform(1.5 * np.pi, 4.5 * np.pi, 800), rng.uniform(0, 20, 800)
    graph = affinity_of(np.column_stack([angle * np.cos(angle), height, angle * np.sin(angle)]), 10)
    y = affinity.neighbor_embedding(graph, 10, rng)
    assert y.shape == (800, 10)
    assert np.isfinite(y).all()
    nearest = NearestNeighbors(n_neighbors=10).fit(y).kneighbors(return_distance=False)
    assert np.mean([(graph[[i] * 10, row] > 0).mean() for i, row in enumerate(nearest)]) > 0.5
    rows, columns = sp.coo_array(graph).coords
    near, far = affinity.squared_norms(y[rows] - y[columns]), affinity.squared_norms(y - y[rng.permutation(800)])
    assert near.mean() < 0.05 * far.mean()


def test_gaps_of_single_embeddings_average_out(monkeypatch):
    """Of two runs, the means over embeddings agree better than single embeddings do."""
    graph = affinity_of(np.random.default_rng(0).uniform(size=(500, 5)), 10)

    def correlation():
        first, other = (reweight_affinity(graph, neighbor_embeddings(graph, seed)).data / graph.data for seed in (0, 1))
        return np.corrcoef(first, other)[0, 1]

    of_means = correlation()
    monkeypatch.setattr(affinity, "N_EMBEDDINGS", 1)
    assert 1 - of_means < 0.5 * (1 - correlation())


@pytest.mark.parametrize("n", [2, 5])
def test_a_few_nodes(n):
    graph = affinity_of(np.random.default_rng(0).normal(size=(n, 3)), 10)
    reweighted = reweight_affinity(graph, neighbor_embeddings(graph, seed=0))
    assert reweighted.nnz == graph.nnz
    assert (reweighted.data > 0).all()
    assert (reweighted.data <= graph.data).all()


def test_a_node_without_edges():
    graph = sp.csr_array(sp.block_diag([affinity_of(np.random.default_rng(0).normal(size=(30, 3)), 10), sp.csr_array((1, 1))]))
    reweighted = reweight_affinity(graph, neighbor_embeddings(graph, seed=0))
    assert reweighted.shape == (31, 31)
    assert reweighted.nnz == graph.nnz
    assert (reweighted.data > 0).all()


def test_an_edge_weighs_the_share_of_neighbors_that_its_nodes_have_in_common():
    X = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    neighbors = k_nearest(X, 6).numpy()
    graph = jaccard_affinity(neighbors).toarray()
    within = [{i, *row} for i, row in enumerate(neighbors.tolist())]
    expected = [
        [len(a & b) / len(a | b) if i != j and (i in b or j in a) else 0.0 for j, b in enumerate(within)]
        for i, a in enumerate(within)
    ]
    np.testing.assert_allclose(graph, expected)
