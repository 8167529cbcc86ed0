"""The initial w from a partition of the graph, from k-means, and at random."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from skganem import clustering_error
from skganem.core.em.e_step import normalized_confidence
from skganem.core.graph.affinity import jaccard_affinity
from skganem.core.init import responsibilities
from skganem.core.init.responsibilities import InitSpec, hungarian_matching, init_from_partition
from tests.conftest import dataset_of, graph_of, neighbor_graph_of, small_model, unscaled


@pytest.mark.parametrize("size", [10_000, 300])
def test_a_partition_is_right_and_less_confident_between_clusters(size):
    X, y = make_blobs([200, 200, 200], centers=[[0, 0], [4, 0], [0, 4]], cluster_std=1.0, random_state=0)
    w = init_from_partition(graph_of(X, size), 3, seed=0)
    assert w.shape == (600, 3)
    torch.testing.assert_close(w.sum(1), torch.ones(600))
    wrong = clustering_error(y, w.argmax(1).numpy())
    assert wrong < 0.06
    gap = np.sort(np.linalg.norm(X[:, None] - np.array([[0, 0], [4, 0], [0, 4]]), axis=2), axis=1)
    between = torch.from_numpy(gap[:, 1] - gap[:, 0] < 1)
    assert normalized_confidence(w)[between].mean() < 0.9 * normalized_confidence(w)[~between].mean()


CORNERS = np.array([[0, 0], [12, 0], [0, 12]])


@pytest.mark.parametrize("copies", [1, 20])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (15, 15, 15), (8, 8, 60), (15, 30, 100)])
def test_few_rows_that_differ(sizes, copies):
    """Fewer of each cluster than a row has neighbors in large data."""
    X, y = make_blobs(sizes, centers=CORNERS, random_state=0)
    X, y = X.repeat(copies, axis=0), y.repeat(copies)
    w = init_from_partition(graph_of(X, n_neighbors=15), 3, seed=0)
    assert clustering_error(y, w.argmax(1).numpy()) == 0
    assert float(w.amax(1).min()) > 0.6


@pytest.mark.parametrize(("place", "expected"), [([0, 60], 1), ([0, 2.5], 0)])
def test_a_style_far_from_the_median_of_its_cluster_takes_the_label_of_its_neighbors(monkeypatch, place, expected):
    """One of three groups is far from the median of its cluster: it stays if it has edges to no other, and leaves if it has."""
    X, group = make_blobs([150, 150, 40], centers=[[0, 0], [9, 0], place], random_state=0)
    labels, rank = np.where(group == 2, 1, group), np.where(group == 2, 0.1, 0.8)
    monkeypatch.setattr(responsibilities, "agglomerative_partition", lambda *args: (labels, rank))
    found = init_from_partition(graph_of(X), 2, seed=0).argmax(1).numpy()
    assert (found[group < 2] == group[group < 2]).mean() > 0.98
    assert (found[group == 2] == expected).mean() > 0.9


def test_a_large_cluster_is_not_taken_over_by_a_small_one():
    X, y = make_blobs([600, 200], centers=[[0, 0], [6, 0]], random_state=0)
    w = init_from_partition(graph_of(X), 2, seed=0)
    assert abs(float(w.mean(0).min()) - 200 / 800) < 0.05
    assert clustering_error(y, w.argmax(1).numpy()) < 0.03


class MeanBrightness(torch.nn.Module):
    """Features (n, 2) that depend on the mean of an image alone."""

    def forward(self, x):
        angle = x.mean(dim=(1, 2, 3))
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def image_graph(dataset, n_clusters, encoder, graph_size):
    """Return the neighbor graph of images, hybrid where there is an encoder, and their embedding."""
    embed = small_model(dataset.shape, n_clusters, encoder).embed
    return neighbor_graph_of(dataset, embed, n_clusters, 10, graph_size, hybrid=encoder is not None), embed


def test_images_are_partitioned_by_two_graphs_and_the_nodes_features(monkeypatch):
    """But by one graph alone where there is no encoder; and so are rows. Fewer than two for each cluster need no graph."""
    calls = []

    def partition(graphs, n_clusters, seed, points):
        calls.append((graphs, points))
        return np.arange(len(points)) % n_clusters, np.ones(len(points))

    monkeypatch.setattr(responsibilities, "agglomerative_partition", partition)
    monkeypatch.setattr(responsibilities, "optimize_partition", partition)
    images = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    cases = ((64,), None, 2), ((1, 8, 8), None, 2), ((1, 8, 8), MeanBrightness(), 31), ((1, 8, 8), MeanBrightness(), 2)
    for shape, encoder, n_clusters in cases:
        dataset = dataset_of(images, shape)
        graph, embed = image_graph(dataset, n_clusters, encoder, 60)
        init_from_partition(graph, n_clusters, seed=0)
    assert [len(graphs) if isinstance(graphs, list) else None for graphs, _ in calls] == [None, None, 2]
    for _, points in calls[2:]:
        np.testing.assert_allclose(points, embed(dataset)[graph.nodes].numpy(), rtol=1e-5)


def test_images_are_partitioned_by_features_and_not_by_pixels():
    """Two classes by brightness, each in two styles, between which the pixels differ far more than the features."""
    rng = np.random.default_rng(0)
    y, style = np.repeat([0, 1], 100), np.tile([0, 1], 100)
    pattern = np.where(np.indices((8, 8)).sum(0) < 8, 1.0, -1.0)
    X = np.where(style == 0, 0.5, -0.5)[:, None, None] * pattern + rng.normal(0, 0.1, (200, 8, 8))
    X += (0.3 * y + rng.normal(0, 0.03, 200))[:, None, None] - X.mean((1, 2), keepdims=True)
    graph, _ = image_graph(unscaled(X, (1, 8, 8)), 2, MeanBrightness(), 500)
    assert clustering_error(y, init_from_partition(graph, 2, 0).argmax(1).numpy()) < 0.05
    # Edges are not reweighted.
    np.testing.assert_array_equal(graph.affinity.data, jaccard_affinity(graph.node_neighbors.numpy()).data)
    # The neighbors between which labels propagate are of the same style.
    assert (style[graph.node_neighbors.numpy()] == style[:, None]).mean() > 0.95


def test_clusters_are_matched_with_classes():
    w = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.2, 0.8], [0.0, 0.3, 0.7], [0.9, 0.1, 0.0]])
    assert hungarian_matching(w, torch.tensor([0, 1, 1, 2])).tolist() == [1, 2, 0]
    assert hungarian_matching(w[:1], torch.tensor([2])).tolist()[2] == 1
    assert hungarian_matching(w[:0], torch.tensor([], dtype=torch.long)).tolist() == [0, 1, 2]


def test_kmeans_sees_large_images_downsampled():
    X = np.zeros((20, 64, 64), dtype=np.float32)
    X[:, ::2, ::2], X[:10, 5] = np.random.default_rng(0).normal(0, 0.1, (20, 1, 1)), 0.9  # a line separates them
    dataset = unscaled(X, (1, 64, 64))
    assert responsibilities.pixels_of(dataset, torch.arange(20)).shape == (20, 32 * 32)
    w = responsibilities.kmeans_responsibilities(InitSpec(dataset, 2, None, 15, 0, torch.Generator().manual_seed(0)))
    assert clustering_error(np.arange(20) < 10, w.argmax(1).numpy()) == 0


def test_random_w_is_uniform_on_the_simplex():
    dataset = unscaled(np.zeros((4000, 1)))
    spec = InitSpec(dataset, 3, None, 4000, 0, torch.Generator().manual_seed(0))
    w = responsibilities.random_responsibilities(spec)
    torch.testing.assert_close(w.mean(dim=0), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    torch.testing.assert_close(w.var(dim=0), torch.full((3,), 1 / 18), atol=0.005, rtol=0)
