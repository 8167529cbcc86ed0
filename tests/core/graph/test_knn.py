"""Who is whose neighbour."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from skganem import clustering_error
from skganem.core.data.dataset import Scaling, Source
from skganem.core.graph import image_distortion as distortion
from skganem.core.graph import knn as neighbours
from skganem.core.graph import spectral as graph
from skganem.core.init import responsibilities as initial
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import Layout, Model

CPU = torch.device("cpu")


class Blind(torch.nn.Module):
    """Features (n, 2) that are the same for all images, but for what is needed to sort them."""

    def forward(self, x):
        angle = 1e-3 * x.flatten(1).sum(1)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def model_of(shape):
    return Model(Layout(shape, 2, 4, 4), DEFAULT_NETWORKS, 0, CPU)


def images_of(X, encoder):
    source = Source(X.reshape(len(X), -1), (1, *X.shape[1:]), Scaling(np.zeros(1), 1.0), CPU)
    model = model_of(source.shape)
    model.encoder = encoder
    return model, source


def strokes():
    """Upright strokes (160, 28, 28), some pixels to the left or right, without and with a small crossbar: classes 0 and 1."""
    rng, X, y = np.random.default_rng(0), np.zeros((160, 28, 28)), np.arange(160) % 2
    for image, label in zip(X, y, strict=True):
        a, b = rng.integers(12, 15), rng.integers(10, 18)
        image[8:20, b : b + 2] = 1
        image[a : a + 2, [b - 2, b - 1, b + 2, b + 3]] = label
    return X + rng.normal(0, 0.02, X.shape), y


@pytest.mark.parametrize("size", [500, 100])
def test_neighbours_are_those_that_a_small_deformation_makes_alike(size):
    X, y = strokes()
    model, source = images_of(X, Blind())
    found = neighbours.NeighbourGraph(model, source, 6, size, torch.Generator().manual_seed(0))
    assert found.of_all.shape == (160, 6)
    assert (y[found.of_all.numpy()] == y[:, None]).mean() > 0.97
    assert torch.isin(found.of_all, found.members).all()
    assert (found.of_all[found.members] != found.members[:, None]).all()
    by_pixels = graph.neighbours(torch.from_numpy(X.reshape(160, -1)), 6).numpy()
    assert (y[by_pixels] == y[:, None]).mean() < 0.9


def test_where_the_graph_is_cut_half_of_the_neighbours_are_by_features():
    X, _ = strokes()
    model, source = images_of(X, Blind())
    search = neighbours.Images(model, source, 6)
    both, by_features = search.of_both_kinds(3), graph.neighbours(search.features, 10)
    assert both.shape == (160, 6)
    assert torch.equal(both[:, :3], search.among(3))
    for row, near in zip(both.tolist(), by_features.tolist(), strict=True):
        assert len(set(row)) == 6
        assert row[3:] == [other for other in near if other not in row[:3]][:3]


@pytest.mark.parametrize(("n", "n_neighbors"), [(2, 1), (3, 1), (5, 1), (6, 2), (12, 3), (40, 4), (160, 6)])
def test_few_images_have_fewer_neighbours(n, n_neighbors):
    model, source = images_of(strokes()[0][:n], Blind())
    found = neighbours.NeighbourGraph(model, source, 6, 500, torch.Generator().manual_seed(0))
    assert found.of_all.shape == (n, n_neighbors)
    n_others = n_neighbors if n >= 4 else 0  # with fewer than two of a cluster, each is its own neighbour
    assert all(len({i, *row}) == n_others + 1 for i, row in enumerate(found.of_all.tolist()))
    assert all(links.shape == (n, n) and not links.diagonal().any() for links in found.affinities_to_cut)


@pytest.mark.parametrize(
    ("n", "n_clusters", "expected"),
    [(1, 2, 0), (3, 2, 0), (4, 2, 1), (8, 2, 3), (8, 1, 3), (39, 2, 3), (40, 2, 4), (149, 2, 14), (150, 2, 15), (9999, 2, 15)],
)
def test_neighbours_are_fewer_where_clusters_have_few_samples(n, n_clusters, expected):
    assert neighbours.n_links(n, n_clusters, 15) == expected


def test_large_images_are_shrunken_once_and_compared_as_before():
    X = np.random.default_rng(0).integers(256, size=(9, 64 * 70), dtype=np.uint8)
    model, source = model_of((1, 64, 70)), Source(X, (1, 64, 70), Scaling.of(X, (1, 64, 70)), CPU)
    i, j = torch.arange(9), torch.arange(9).roll(2)
    once = distortion.comparable(model, source)
    assert once.batch(i).shape == (9, 1, 32, 35)
    expected = distortion.distortions(source, source, i, j)
    torch.testing.assert_close(distortion.distortions(once, once, i, j), expected, rtol=1e-6, atol=0)


def test_copies_of_a_sample_do_not_cut_it_off_from_others():
    """Two groups of rounded rows, most of which have more copies than neighbours."""
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(0, 1, (2000, 2)) + np.repeat([[0, 0], [10, 0]], 1000, axis=0))
    source = Source(X, (2,), Scaling.of(X, (2,)), CPU)
    found = neighbours.NeighbourGraph(model_of((2,)), source, 15, 5000, torch.Generator().manual_seed(0))
    rows = X[found.members.numpy()]
    assert len(np.unique(rows, axis=0)) == len(rows) == len(np.unique(X, axis=0)) < 100
    assert (X[found.original.numpy()] == X).all()
    assert connected_components(found.affinity)[0] == 2
    assert not (X[found.of_all.numpy()] == X[:, None]).all(axis=2).any()
    w = initial.partitioned(found, 2, seed=0)
    assert clustering_error(np.repeat([0, 1], 1000), w.argmax(1).numpy()) == 0


def test_few_kinds_of_rows_keep_their_labels():
    """Each of the seven rows is the others' neighbour, but there are many of each."""
    X = np.repeat([[0.0, 0], [-0.0, 5], [5, 0], [5, 5], [9, 0], [9, 5], [0, 9]], 30, axis=0)
    source = Source(X, (2,), Scaling.of(X, (2,)), CPU)
    found = neighbours.NeighbourGraph(model_of((2,)), source, 5, 5000, torch.Generator().manual_seed(0))
    assert found.members.tolist() == list(range(0, 210, 30))
    w = found.spread(torch.eye(7))
    assert w.argmax(1).tolist() == np.repeat(range(7), 30).tolist()
    assert w.amax(1).min() > 0.8
    of_copies = initial.propagated(found, torch.tensor([4, 3, 40, 70]), torch.tensor([0, 0, 0, 1]), 2)
    weights = torch.tensor([2.0, 1.0, 1.0])
    of_originals = initial.propagated(found, torch.tensor([0, 30, 60]), torch.tensor([0, 0, 1]), 2, weights)
    torch.testing.assert_close(of_copies, of_originals)


def test_fewer_kinds_of_rows_than_neighbours_are_parts_of_their_own():
    X = np.repeat([[0.0, 0], [0, 5], [5, 0]], 30, axis=0)
    source = Source(X, (2,), Scaling.of(X, (2,)), CPU)
    found = neighbours.NeighbourGraph(model_of((2,)), source, 6, 5000, torch.Generator().manual_seed(0))
    assert connected_components(found.affinity)[0] == 3
    assert clustering_error(np.repeat([0, 1, 2], 30), initial.partitioned(found, 3, seed=0).argmax(1).numpy()) == 0


def test_a_candidate_is_taken_once():
    candidates = torch.tensor([[1, 2, 3, 2, 4, 1], [5, 6, 7, 7, 5, 6]])
    distances = torch.tensor([[0.1, 0.2, 0.9, 0.2, 0.3, 0.1], [3.0, 2.0, 1.0, 1.0, 3.0, 2.0]])
    assert neighbours.best(candidates, distances, 3).tolist() == [[1, 2, 4], [7, 6, 5]]
