"""Which samples are neighbors."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestNeighbors

from skganem import clustering_error
from skganem.core.graph import knn
from skganem.core.graph.affinity import jaccard_affinity
from skganem.core.graph.image_distortion import IDMGradients, idm_distance
from skganem.core.graph.knn import (
    HybridSearch,
    by_both,
    effective_n_neighbors,
    find_neighbors,
    k_nearest,
    neighbors_with_copies,
    topk_unique,
)
from skganem.core.init.label_propagation import label_propagation
from skganem.core.init.responsibilities import init_from_partition
from tests.conftest import dataset_of, graph_of, neighbor_graph_of, small_model, unscaled


def rng():
    return torch.Generator().manual_seed(0)


# Nearest points


def test_neighbors_are_those_of_scikit_learn():
    X = np.random.default_rng(0).normal(size=(1500, 5)).astype(np.float32)
    mine = k_nearest(torch.tensor(X), 6).numpy()
    theirs = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(return_distance=False)
    assert (np.sort(mine, 1) == np.sort(theirs, 1)).mean() > 0.999


def test_a_repeated_point_is_not_its_own_neighbor():
    X = torch.zeros(30, 2)
    found = k_nearest(X, 5)
    assert found.shape == (30, 5)
    assert (found != torch.arange(30)[:, None]).all()


def test_fewer_points_than_neighbors():
    assert k_nearest(torch.rand(4, 2), 15).shape == (4, 3)


@pytest.mark.parametrize(
    ("n", "n_clusters", "expected"),
    [(1, 2, 0), (3, 2, 0), (4, 2, 1), (8, 2, 3), (8, 1, 3), (39, 2, 3), (40, 2, 4), (149, 2, 14), (150, 2, 15), (9999, 2, 15)],
)
def test_neighbors_are_fewer_where_clusters_have_few_samples(n, n_clusters, expected):
    assert effective_n_neighbors(n, n_clusters, 15) == expected


def test_a_candidate_is_taken_once():
    candidates = torch.tensor([[1, 2, 3, 2, 4, 1], [5, 6, 7, 7, 5, 6]])
    distances = torch.tensor([[0.1, 0.2, 0.9, 0.2, 0.3, 0.1], [3.0, 2.0, 1.0, 1.0, 3.0, 2.0]])
    assert topk_unique(candidates, distances, 3).tolist() == [[1, 2, 4], [7, 6, 5]]


# Images


class UninformativeEncoder(torch.nn.Module):
    """Features (n, 2) that are almost the same for all images, and different only so that they can be sorted."""

    def forward(self, x):
        angle = 1e-3 * x.flatten(1).sum(1)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def strokes():
    """Upright strokes (160, 28, 28), some pixels to the left or right, without and with a small crossbar: classes 0 and 1."""
    rng, X, y = np.random.default_rng(0), np.zeros((160, 28, 28)), np.arange(160) % 2
    for image, label in zip(X, y, strict=True):
        a, b = rng.integers(12, 15), rng.integers(10, 18)
        image[8:20, b : b + 2] = 1
        image[a : a + 2, [b - 2, b - 1, b + 2, b + 3]] = label
    return X + rng.normal(0, 0.02, X.shape), y


def hybrid(X):
    """Return the data set of images X (n, h, w), and an embedding that says nothing of them."""
    shape = (1, *X.shape[1:])
    return unscaled(X, shape), small_model(shape, encoder=UninformativeEncoder()).embed


@pytest.mark.parametrize("size", [500, 100])
def test_neighbors_of_images_are_those_that_a_small_deformation_makes_alike(size):
    X, y = strokes()
    found = neighbor_graph_of(*hybrid(X), 2, 6, size, hybrid=True)
    assert found.neighbors.shape == (160, 6)
    assert (y[found.neighbors.numpy()] == y[:, None]).mean() > 0.96
    assert torch.isin(found.neighbors, found.nodes).all()
    assert (found.neighbors[found.nodes] != found.nodes[:, None]).all()
    by_pixels = k_nearest(torch.from_numpy(X.reshape(160, -1)), 6).numpy()
    assert (y[by_pixels] == y[:, None]).mean() < 0.9


def test_where_the_graph_is_partitioned_half_of_the_neighbors_are_by_features():
    X, _ = strokes()
    search = HybridSearch(*hybrid(X), 6)
    both, by_features = by_both(search.within(6), search.by_features, 3), k_nearest(search.features, 8)
    assert both.shape == (160, 6)
    assert torch.equal(both[:, :3], search.within(3))
    for row, near in zip(both.tolist(), by_features.tolist(), strict=True):
        assert len(set(row)) == 6
        assert row[3:] == [other for other in near if other not in row[:3]][:3]


def compared(X, monkeypatch):
    """Return a search of images X (n, h, w), the distances from the candidates, and the pairs (m, 2) that were compared."""
    pairs, pairwise_idm = [], knn.pairwise_idm

    def spy(first, second, i, j):
        pairs.extend(zip(i.tolist(), j.tolist(), strict=True))
        return pairwise_idm(first, second, i, j)

    monkeypatch.setattr(knn, "pairwise_idm", spy)
    return HybridSearch(*hybrid(X), 6), pairs


def test_each_pair_of_images_is_compared_once_and_is_as_far_from_either_side(monkeypatch):
    search, pairs = compared(strokes()[0], monkeypatch)
    assert all(i < j for i, j in pairs)
    candidates, distances = search._candidates.tolist(), search._distances.tolist()
    wanted = {(min(i, j), max(i, j)) for i, row in enumerate(candidates) for j in row}
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == wanted
    found = {(i, j): far for i, row in enumerate(candidates) for j, far in zip(row, distances[i], strict=True)}
    mutual = [(i, j) for i, j in found if i < j and (j, i) in found]
    assert len(mutual) > 100
    assert [found[pair] for pair in mutual] == pytest.approx([found[j, i] for i, j in mutual], rel=1e-5)


def test_neighbors_of_images_are_those_of_all_comparisons(monkeypatch):
    """Brute force: all pairs, from the lower number to the higher one, with the weight of the features on the candidates."""
    X, _ = strokes()
    search, _ = compared(X, monkeypatch)
    gradients = IDMGradients(hybrid(X)[0])
    i, j = torch.triu_indices(160, 160, 1)
    idm = torch.zeros(160, 160)
    idm[i, j] = torch.cat([idm_distance(gradients[a], gradients[b]) for a, b in zip(i.split(999), j.split(999), strict=True)])
    idm, squared = idm + idm.T, torch.cdist(search.features.double(), search.features.double()).square().float()
    on_candidates = [distance.gather(1, search._candidates) for distance in (idm, squared)]
    distance = idm + 0.05 * on_candidates[0].mean() / on_candidates[1].mean() * squared
    torch.testing.assert_close(search._distances, distance.gather(1, search._candidates), rtol=1e-3, atol=1e-3)
    near = search.within(6)
    for row, (own, candidates) in enumerate(zip(near.tolist(), search._candidates.tolist(), strict=True)):
        wanted = sorted(set(candidates), key=lambda other: float(distance[row, other]))[:6]
        np.testing.assert_allclose(distance[row, own], distance[row, wanted], rtol=1e-3)  # but for ties


def test_the_neighbors_of_images_outside_the_graph_are_compared_in_their_own_direction(monkeypatch):
    X, _ = strokes()
    search, pairs = compared(X[:100], monkeypatch)
    pairs.clear()
    inside, outside = (IDMGradients(hybrid(part)[0]) for part in (X[:100], X[100:]))
    found = search.query(hybrid(X[100:])[0], 3)
    i, j = torch.tensor(pairs).T
    assert (int(i.max()), int(j.max())) == (59, 99)
    idm = torch.full((60, 100), torch.inf)
    idm[i, j] = idm_distance(outside[i], inside[j])
    features = small_model((1, 28, 28), encoder=UninformativeEncoder()).embed(hybrid(X[100:])[0])
    distance = idm + search._weight * torch.cdist(features.double(), search.features.double()).square().float()
    np.testing.assert_allclose(distance.gather(1, found), distance.topk(3, largest=False).values, rtol=1e-3)


@pytest.mark.parametrize("kind", ["rows", "images"])
@pytest.mark.parametrize("size", [500, 100])
def test_neighbor_lists_survive_the_way_through_numpy(kind, size):
    X, _ = strokes()
    dataset, embed = hybrid(X) if kind == "images" else (dataset_of(X.reshape(160, -1)), small_model((784,)).embed)
    lists = find_neighbors(dataset, embed, 6, size, rng(), hybrid=kind == "images")
    arrays = lists.to_numpy()
    assert all(value is None or isinstance(value, np.ndarray) for value in arrays.values())
    for value in arrays.values():
        if value is not None:
            value.setflags(write=False)  # as in a memory map, which torch would warn of
    again = type(lists).from_numpy(arrays)
    for name, value in vars(lists).items():
        assert value is getattr(again, name) is None or torch.equal(value, getattr(again, name))
    assert (lists.by_features is None) == (kind == "rows")


def test_a_graph_of_other_clusters_is_that_of_the_same_neighbors():
    X, _ = make_blobs(60, centers=3, random_state=0)
    graph = graph_of(X, n_neighbors=10, n_clusters=12)
    for n_clusters in (1, 3, 12, 60):
        other, fresh = graph.with_clusters(n_clusters), graph_of(X, n_neighbors=10, n_clusters=n_clusters)
        assert torch.equal(other.neighbors, fresh.neighbors)
        assert torch.equal(other.node_neighbors, fresh.node_neighbors)
        np.testing.assert_array_equal(other.affinity.toarray(), fresh.affinity.toarray())
    assert graph.with_clusters(3).neighbors.shape == (60, 4)
    assert graph.neighbors.shape == (60, 3)


@pytest.mark.parametrize(("n", "n_neighbors"), [(2, 1), (3, 1), (5, 1), (6, 2), (12, 3), (40, 4), (160, 6)])
def test_few_images_have_fewer_neighbors(n, n_neighbors):
    found = neighbor_graph_of(*hybrid(strokes()[0][:n]), 2, 6, 500, hybrid=True)
    assert found.neighbors.shape == (n, n_neighbors)
    n_others = n_neighbors if n >= 4 else 0  # with fewer than two of a cluster, each is its own neighbor
    assert all(len({i, *row}) == n_others + 1 for i, row in enumerate(found.neighbors.tolist()))
    assert all(graph.shape == (n, n) and not graph.diagonal().any() for graph in found.partition_affinities)


# Rows


def test_edges_between_rows_are_reweighted_by_embeddings():
    X, y = make_blobs([100, 100], centers=[[0] * 10, [1.2] * 10], random_state=0)
    graph = graph_of(X)
    raw, reweighted = jaccard_affinity(graph.node_neighbors.numpy()), graph.affinity
    rows, columns = reweighted.tocoo().coords
    ratio, between = reweighted.data / raw.data, y[rows] != y[columns]
    assert ratio.max() <= 1
    assert ratio[between].mean() < 0.7 * ratio[~between].mean()


def graph_of_copies(X, n_neighbors):
    return neighbor_graph_of(dataset_of(X), small_model((2,)).embed, 2, n_neighbors, 5000)


def test_copies_of_a_sample_do_not_cut_it_off_from_others():
    """Two groups of rounded rows, most of which have more copies than neighbors."""
    generator = np.random.default_rng(0)
    X = np.round(generator.normal(0, 1, (2000, 2)) + np.repeat([[0, 0], [10, 0]], 1000, axis=0))
    found = graph_of_copies(X, 15)
    assert found.nodes.tolist() == list(range(2000))
    assert found.n_distinct == len(np.unique(X, axis=0)) < 100
    assert (found.neighbors != torch.arange(2000)[:, None]).all()
    assert connected_components(found.affinity)[0] == 2
    w = init_from_partition(found, 2, seed=0)
    assert clustering_error(np.repeat([0, 1], 1000), w.argmax(1).numpy()) == 0


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 10, 20])
@pytest.mark.parametrize("n_copies", [1, 3])
def test_copies_that_lie_apart_are_a_cluster(n_rows, n_copies):
    """A third of the samples are a few rows with many copies each, far from all others, which are repeated or not."""
    rng = np.random.default_rng(n_rows)
    X = np.vstack(
        [rng.normal(size=(200, 2)).repeat(n_copies, axis=0), rng.normal(30, 1, (n_rows, 2)).repeat(100 // n_rows, axis=0)]
    )
    y = X[:, 0] > 15
    w = init_from_partition(graph_of_copies(X, 15), 2, seed=0)
    assert clustering_error(y, w.argmax(1).numpy()) == 0


def test_copies_amid_others_are_no_cluster():
    """One sample of a group has 30 copies: the two groups are the clusters, not the copies."""
    X, y = make_blobs([200, 200], centers=[[0, 0], [6, 0]], random_state=0)
    X, y = np.vstack([X, X[:1].repeat(30, axis=0)]), np.r_[y, y[:1].repeat(30)]
    w = init_from_partition(graph_of_copies(X, 15), 2, seed=0)
    assert clustering_error(y, w.argmax(1).numpy()) < 0.02


def test_neighbors_of_copies():
    """Three copies of the first sample, and two of the last."""
    which = torch.tensor([0, 1, 2, 3, 0, 0, 3])  # of four distinct samples
    neighbors = torch.tensor([[1, 2, 3], [0, 2, 3], [1, 3, 0], [2, 1, 0]])
    found = neighbors_with_copies(neighbors, torch.tensor([3, 1, 1, 2]), which)
    assert found.tolist() == [[1, 2, 4], [0, 2, 4], [1, 3, 0], [2, 1, 0], [1, 2, 0], [1, 2, 0], [2, 1, 0]]


def test_few_distinct_rows_keep_their_labels():
    """Each of the seven rows is the others' neighbor, but there are many of each."""
    X = np.repeat([[0.0, 0], [-0.0, 5], [5, 0], [5, 5], [9, 0], [9, 5], [0, 9]], 30, axis=0)
    found = graph_of_copies(X, 5)
    w = found.extend(torch.eye(7).repeat_interleave(30, dim=0))
    assert w.argmax(1).tolist() == np.repeat(range(7), 30).tolist()
    assert w.amax(1).min() > 0.8
    w = label_propagation(found, torch.tensor([4, 3, 40, 70]), torch.tensor([0, 0, 0, 1]), 2)
    assert w.view(7, 30, 2).std(dim=1).max() == 0
    assert w.argmax(1).view(7, 30)[:3, 0].tolist() == [0, 0, 1]


def test_fewer_distinct_rows_than_neighbors_are_components_of_their_own():
    X = np.repeat([[0.0, 0], [0, 5], [5, 0]], 30, axis=0)
    found = graph_of_copies(X, 6)
    assert connected_components(found.affinity)[0] == 3
    assert clustering_error(np.repeat([0, 1, 2], 30), init_from_partition(found, 3, seed=0).argmax(1).numpy()) == 0
