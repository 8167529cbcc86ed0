"""What the EM loop begins with."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs, make_circles, make_moons

from skganem import Recipe, clustering_error
from skganem.core.data.dataset import Scaling, Source
from skganem.core.em.e_step import certainty
from skganem.core.features.simclr import learn_features
from skganem.core.features.transforms import ImageWarp
from skganem.core.fit import Problem, augmentation, begin
from skganem.core.graph import knn as neighbours
from skganem.core.graph.spectral import affinity
from skganem.core.init import responsibilities as initial
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import Layout, Model, blurred
from tests.conftest import fast_recipe, source_of

CPU = torch.device("cpu")


def graph_of(X, size=10_000, n_neighbors=10):
    source = source_of(np.asarray(X, dtype=np.float32))
    model = Model(Layout(source.shape, 3, 4, 4), DEFAULT_NETWORKS, 0, CPU)
    return neighbours.NeighbourGraph(model, source, n_neighbors, size, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [10_000, 300])
def test_partition_is_right_and_less_sure_between_clusters(size):
    X, y = make_blobs([200, 200, 200], centers=[[0, 0], [4, 0], [0, 4]], cluster_std=1.0, random_state=0)
    w = initial.partitioned(graph_of(X, size), 3, seed=0)
    assert w.shape == (600, 3)
    torch.testing.assert_close(w.sum(1), torch.ones(600))
    wrong = clustering_error(y, w.argmax(1).numpy())
    assert wrong < 0.06
    gap = np.sort(np.linalg.norm(X[:, None] - np.array([[0, 0], [4, 0], [0, 4]]), axis=2), axis=1)
    between = torch.from_numpy(gap[:, 1] - gap[:, 0] < 1)
    assert certainty(w)[between].mean() < 0.9 * certainty(w)[~between].mean()


CORNERS = np.array([[0, 0], [12, 0], [0, 12]])


@pytest.mark.parametrize("copies", [1, 20])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (15, 15, 15), (8, 8, 60), (15, 30, 100)])
def test_few_rows_that_differ(sizes, copies):
    """Fewer of each cluster than a row has neighbours in large data."""
    X, y = make_blobs(sizes, centers=CORNERS, random_state=0)
    X, y = X.repeat(copies, axis=0), y.repeat(copies)
    w = initial.partitioned(graph_of(X, n_neighbors=15), 3, seed=0)
    assert clustering_error(y, w.argmax(1).numpy()) == 0
    assert float(w.amax(1).min()) > 0.6


@pytest.mark.parametrize("n", [40, 80])
def test_labels_of_few_rows_spread_along_shapes(n):
    X, y = make_moons(n, noise=0.05, random_state=0)
    known = torch.tensor([int(np.flatnonzero(y == i)[0]) for i in range(2)])
    w = initial.propagated(graph_of(X, n_neighbors=15), known, torch.tensor([0, 1]), 2)
    assert (w.argmax(1).numpy() == y).all()


@pytest.mark.parametrize(("place", "expected"), [([0, 60], 1), ([0, 2.5], 0)])
def test_a_style_far_from_the_centre_of_its_part_is_what_it_is_linked_to(monkeypatch, place, expected):
    """One of three groups is far from the centre of the part it was put in: it stays if alone, and leaves if near the other."""
    X, group = make_blobs([150, 150, 40], centers=[[0, 0], [9, 0], place], random_state=0)
    labels, centrality = np.where(group == 2, 1, group), np.where(group == 2, 0.1, 0.8)
    monkeypatch.setattr(initial.graph, "partition", lambda *args: (labels, centrality))
    found = initial.partitioned(graph_of(X), 2, seed=0).argmax(1).numpy()
    assert (found[group < 2] == group[group < 2]).mean() > 0.98
    assert (found[group == 2] == expected).mean() > 0.9


def test_a_large_cluster_is_not_taken_over_by_a_small_one():
    X, y = make_blobs([600, 200], centers=[[0, 0], [6, 0]], random_state=0)
    w = initial.partitioned(graph_of(X), 2, seed=0)
    assert abs(float(w.mean(0).min()) - 200 / 800) < 0.05
    assert clustering_error(y, w.argmax(1).numpy()) < 0.03


def test_few_labels_spread_with_equal_mass():
    X, y = make_blobs([300, 300], centers=[[0, 0], [6, 0]], random_state=0)
    known = torch.from_numpy(np.r_[np.flatnonzero(y == 0)[:30], np.flatnonzero(y == 1)[:1]]).sort().values
    w = initial.propagated(graph_of(X), known, torch.from_numpy(y)[known], 2)
    assert (w.argmax(1).numpy() == y).mean() > 0.98


def test_a_label_reaches_the_far_end_of_a_long_group():
    """Little of it arrives there, and nothing of the other one."""
    X = np.column_stack([np.tile(np.arange(500), 2), np.repeat([0, 50], 500)])
    w = initial.propagated(graph_of(X), torch.tensor([0, 500]), torch.tensor([0, 1]), 2)
    assert (w.argmax(1).numpy() == np.repeat([0, 1], 500)).all()
    assert certainty(w).min() > 0.99


def a_few(y, per_class, seed=0):
    rng = np.random.default_rng(seed)
    known = [rng.choice(np.flatnonzero(y == label), per_class, replace=False) for label in np.unique(y)]
    known = torch.from_numpy(np.sort(np.concatenate(known)))
    return known, torch.from_numpy(y)[known]


def directions():
    """Points whose class is a direction in which they hardly differ: neighbours are as often of another class."""
    X = np.random.default_rng(0).normal(size=(600, 20))
    return X, (X[:, :4].sum(1) > 0).astype(int)


def rings():
    X, y = make_circles(600, factor=0.5, noise=0.03, random_state=0)
    return X, y


def skill(X, known, labels, n_clusters, size=10_000):
    graph = graph_of(X, size)
    return initial.skill(*initial.foretold(graph, known, labels, n_clusters, initial.held_out(labels)))


def tells_classes(X, known, labels, n_clusters, size=10_000):
    return initial.tells_classes(graph_of(X, size), source_of(X), known, labels, n_clusters)


def test_labels_spread_where_they_foretell_those_held_out():
    X, y = rings()
    problem = (*a_few(y, 20), 2)
    assert skill(X, *problem) > 0.6
    assert tells_classes(X, *problem)
    assert (initial.propagated(graph_of(X), *problem).argmax(1).numpy() == y).mean() > 0.95


@pytest.mark.parametrize("size", [10_000, 300])
def test_labels_do_not_spread_where_neighbours_are_of_another_class(size):
    X, y = directions()
    problem = (*a_few(y, 20), 2)
    assert -0.1 < skill(X, *problem, size) < 0.15
    assert not tells_classes(X, *problem, size)


@pytest.mark.parametrize("of_images", [False, True])
def test_labels_of_rows_do_not_spread_where_they_foretell_more_without_the_graph(of_images):
    """Points whose class is the sign of the first of four coordinates: neighbours are of it more often than not."""
    X = np.random.default_rng(0).normal(size=(600, 4))
    problem = (*a_few((X[:, 0] > 0).astype(int), 200), 2)
    assert initial.SKILL < skill(X, *problem) < 0.5
    graph = graph_of(X)
    graph.of_images = of_images
    assert initial.tells_classes(graph, source_of(X), *problem) == of_images


@pytest.mark.parametrize(("missed", "used"), [(0, True), (1, True), (2, False)])
def test_one_label_more_that_is_foretold_without_the_graph_is_chance(missed, used, monkeypatch):
    def found(graph, known, labels, n_clusters, parts):
        true = torch.cat([labels[part] for part in parts])
        w = torch.nn.functional.one_hot(true).float()
        w[:missed] = w[:missed].flip(1)
        return w, true

    monkeypatch.setattr(initial, "foretold", found)
    monkeypatch.setattr(initial, "by_kernel", lambda kernel, labels, held: labels[held])
    X, y = rings()
    assert tells_classes(X, *a_few(y, 20), 2) == used


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_kernel_foretells_a_curved_border_at_any_scale(scale):
    X = np.random.default_rng(0).normal(size=(600, 2))
    y = torch.from_numpy(np.where(np.square(X).sum(1) < 1, 0, np.where(X[:, 0] > 0, 1, 2)))
    held = torch.arange(600) % 3 == 0
    found = initial.by_kernel(initial.gaussian_kernel(torch.from_numpy(X * scale)), y, held)
    assert (found == y[held]).float().mean() > 0.9


def test_a_kernel_foretells_the_most_frequent_class_of_rows_that_are_all_alike():
    labels = torch.tensor([0, 1, 1, 0, 1])
    held = torch.tensor([True, True, False, False, False])
    assert initial.by_kernel(initial.gaussian_kernel(torch.ones(5, 2)), labels, held).tolist() == [1, 1]


def test_skill_is_zero_at_chance_for_any_number_of_classes():
    X = np.random.default_rng(0).normal(size=(600, 20))
    y = np.random.default_rng(1).permutation(np.arange(600) % 6)
    assert abs(skill(X, *a_few(y, 20), 6)) < 0.1


@pytest.mark.parametrize(("per_class", "parts"), [(1, 0), (2, 2), (20, 5), (400, 4), (2000, 1)])
def test_parts_of_the_labels_are_held_out_until_enough_is_known(per_class, parts):
    labels = torch.arange(2 * per_class) % 2
    held = initial.held_out(labels)
    assert [int(part.sum()) for part in held] == [max(2, 2 * per_class // 5)] * parts
    assert not held or int(torch.stack(held).sum(dim=0).max()) == 1


def test_of_rows_with_many_labels_some_are_asked(monkeypatch):
    X, y = rings()
    monkeypatch.setattr(initial, "MOST", 50)
    asked, by_kernel = [], initial.by_kernel
    monkeypatch.setattr(initial, "by_kernel", lambda *a: asked.append(torch.bincount(a[1]).tolist()) or by_kernel(*a))
    assert tells_classes(X, torch.arange(600), torch.from_numpy(y), 2)
    assert asked == [[25, 25]] * 5


def test_one_label_of_a_class_is_enough():
    X, y = rings()
    assert tells_classes(X, *a_few(y, 1), 2)


def test_without_labels_or_a_second_class_the_graph_is_used():
    X = directions()[0]
    none = torch.tensor([], dtype=torch.long)
    assert tells_classes(X, none, none, 2)
    assert tells_classes(X, torch.arange(9), torch.zeros(9, dtype=torch.long), 1)


@pytest.mark.parametrize(("make", "used"), [(rings, True), (directions, False)])
@pytest.mark.parametrize("per_class", [20, None])
def test_rows_are_mixed_with_neighbours_where_these_are_of_the_same_class(make, used, per_class):
    X, y = make()
    known, labels = (torch.arange(600), torch.from_numpy(y)) if per_class is None else a_few(y, per_class)
    source = source_of(X)
    problem = Problem(source, 2, fast_recipe(), torch.float32, known=known, labels=labels)
    model = Model(problem.layout, problem.recipe.networks, 0, source.device)
    told = []
    w, near = begin(problem, model, torch.Generator().manual_seed(0), 0, told.append)
    assert (augmentation(problem, near) is not None) == used
    assert any("not used" in text for text in told) != used
    assert (float(certainty(w).max()) > 0.5) == (used and per_class is not None)  # known labels are put in later


def test_links_between_rows_are_weighed_by_embeddings():
    X, y = make_blobs([100, 100], centers=[[0] * 10, [1.2] * 10], random_state=0)
    graph = graph_of(X)
    raw, weighed = affinity(graph.among_members.numpy()), graph.affinity
    rows, columns = weighed.tocoo().coords
    ratio, between = weighed.data / raw.data, y[rows] != y[columns]
    assert ratio.max() <= 1
    assert ratio[between].mean() < 0.7 * ratio[~between].mean()


def test_images_are_parted_by_two_graphs_and_the_members_features(monkeypatch):
    """But by one graph alone where there is no encoder, or there are fewer than two for each cluster; and so are rows."""
    asked = []

    def partition(graphs, n_clusters, seed, points):
        asked.append((graphs, points))
        return np.arange(len(points)) % n_clusters, np.ones(len(points))

    monkeypatch.setattr(initial.graph, "partition", partition)
    monkeypatch.setattr(initial.strain, "partition", partition)
    images = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    cases = ((64,), None, 2), ((1, 8, 8), None, 2), ((1, 8, 8), Brightness(), 31), ((1, 8, 8), Brightness(), 2)
    for shape, encoder, n_clusters in cases:
        source, layout = source_of(images, shape), Layout(shape, n_clusters, 4, 4)
        model = Model(layout, DEFAULT_NETWORKS, 0, CPU)
        model.encoder = encoder
        graph = neighbours.NeighbourGraph(model, source, 10, 60, torch.Generator().manual_seed(0))
        initial.partitioned(graph, n_clusters, seed=0)
    assert [len(graphs) if isinstance(graphs, list) else None for graphs, _ in asked] == [None, None, None, 2]
    for _, points in asked[2:]:
        np.testing.assert_allclose(points, model.coordinates(source)[graph.members].numpy(), rtol=1e-5)


class Brightness(torch.nn.Module):
    """Features (n, 2) that depend on the mean of an image alone."""

    def forward(self, x):
        angle = x.mean(dim=(1, 2, 3))
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_images_are_parted_by_features_and_not_by_pixels():
    """Two classes by brightness, each in two styles, between which the pixels differ far more than the features."""
    rng = np.random.default_rng(0)
    y, style = np.repeat([0, 1], 100), np.tile([0, 1], 100)
    pattern = np.where(np.indices((8, 8)).sum(0) < 8, 1.0, -1.0)
    X = np.where(style == 0, 0.5, -0.5)[:, None, None] * pattern + rng.normal(0, 0.1, (200, 8, 8))
    X += (0.3 * y + rng.normal(0, 0.03, 200))[:, None, None] - X.mean((1, 2), keepdims=True)
    source = Source(X.reshape(200, 64), (1, 8, 8), Scaling(np.zeros(1), 1.0), CPU)
    model = Model(Layout((1, 8, 8), 2, 4, 4), DEFAULT_NETWORKS, 0, CPU)
    model.encoder = Brightness()
    graph = neighbours.NeighbourGraph(model, source, 10, 500, torch.Generator().manual_seed(0))
    assert clustering_error(y, initial.partitioned(graph, 2, 0).argmax(1).numpy()) < 0.05
    np.testing.assert_array_equal(graph.affinity.data, affinity(graph.among_members.numpy()).data)  # links are not weighed
    # The neighbours between which labels spread are of the same style.
    assert (style[graph.among_members.numpy()] == style[:, None]).mean() > 0.95


def test_clusters_are_matched_with_classes():
    w = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.2, 0.8], [0.0, 0.3, 0.7], [0.9, 0.1, 0.0]])
    assert initial.matching(w, torch.tensor([0, 1, 1, 2])).tolist() == [1, 2, 0]
    assert initial.matching(w[:1], torch.tensor([2])).tolist()[2] == 1
    assert initial.matching(w[:0], torch.tensor([], dtype=torch.long)).tolist() == [0, 1, 2]


def test_every_class_has_labels_in_a_small_graph():
    labels = torch.tensor([0] * 290 + [1] * 8 + [2] * 2)
    known = torch.arange(300) * 2
    for seed in range(5):
        first = initial.evenly(known, labels, torch.Generator().manual_seed(seed))
        assert sorted(first.tolist()) == known.tolist()
        chosen = labels[first[:12] // 2]
        assert torch.bincount(chosen).tolist() == [5, 5, 2]


def test_kmeans_sees_large_images_shrunken():
    X = np.zeros((20, 64, 64), dtype=np.float32)
    X[:, ::2, ::2], X[:10, 5] = np.random.default_rng(0).normal(size=(20, 1, 1)), 9.0  # a line parts them
    source = Source(X.reshape(20, -1), (1, 64, 64), Scaling(np.zeros(1), 1.0), CPU)
    assert initial.pixels(source, torch.arange(20)).shape == (20, 32 * 32)
    w = initial.kmeans_w(source, 2, 15, 0, torch.Generator().manual_seed(0))
    assert clustering_error(np.arange(20) < 10, w.argmax(1).numpy()) == 0


def test_large_images_are_compared_by_some_32_pixels_a_side():
    assert blurred(torch.randn(2, 3, 130, 97)).shape == (2, 3 * 43 * 32)
    assert blurred(torch.randn(2, 1, 28, 28)).shape == (2, 784)


def test_one_encoder_sees_images_of_one_contrast_and_the_other_of_many(monkeypatch):
    contrasts = []
    monkeypatch.setattr(ImageWarp, "__call__", lambda warp, x, index, rng: contrasts.append(warp.contrast) or x)
    X = np.random.default_rng(0).uniform(-1, 1, (12, 64))
    source = Source(X, (1, 8, 8), Scaling(np.zeros(1), 1.0), CPU)
    model = Model(Layout((1, 8, 8), 2, 4, 4), DEFAULT_NETWORKS, 0, CPU)
    rng = torch.Generator().manual_seed(0)
    losses = learn_features(model, source, Recipe().but(representation_steps=2), ImageWarp(contrast=0.7), rng, torch.float32)
    assert contrasts == [0.0] * 4 + [0.7] * 4
    assert len(losses) == 4
    halves = model.coordinates(source).chunk(2, dim=1)
    for half in halves:
        torch.testing.assert_close(half.norm(dim=1), torch.full((12,), 0.5**0.5))  # each counts as much as the other
    assert not torch.allclose(*halves, atol=0.1)


@pytest.mark.parametrize(("shape", "seen"), [((3, 70, 100), (3, 35, 50)), ((1, 40, 40), (1, 40, 40))])
def test_both_encoders_see_large_images_shrunken(shape, seen):
    rng, shapes = torch.Generator().manual_seed(0), []
    X = np.random.default_rng(0).uniform(-1, 1, (12, math.prod(shape)))
    source = Source(X, shape, Scaling(np.zeros(1), 1.0), CPU)
    model = Model(Layout(shape, 2, 4, 4), DEFAULT_NETWORKS, 0, CPU)

    def flip(x, index, rng):
        shapes.append(tuple(x.shape[1:]))
        return x.flip(3)

    learn_features(model, source, Recipe().but(representation_steps=2), flip, rng, torch.float32)
    assert shapes == [seen] * 8  # two encoders, of which each sees two views of two batches
    coordinates = model.coordinates(source)
    assert coordinates.shape == (12, 128)
    again = Model(Layout(shape, 2, 4, 4), DEFAULT_NETWORKS, 1, CPU).from_numpy(model.to_numpy())
    torch.testing.assert_close(again.coordinates(source), coordinates, rtol=0, atol=0)
    other = Source(X + np.tile([0.01, -0.01], X.shape[1] // 2), shape, Scaling(np.zeros(1), 1.0), CPU)
    changed = (model.coordinates(other) - coordinates).abs().max()
    assert (changed < 1e-5) == (seen != shape)  # what averages out within a square is not seen
