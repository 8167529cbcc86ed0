"""Which samples are compared, and by what distance."""

import numpy as np
import torch

from skganem.core.graph import duplicates
from skganem.core.graph.duplicates import near_pairs, neighbor_pairs, pair_distances, reduce_dimensions
from skganem.core.graph.image_distortion import IDMGradients, idm_distance
from tests.conftest import unscaled


def test_a_pair_is_compared_once():
    first, second = neighbor_pairs(torch.tensor([[1, 2], [0, 2], [3, 1], [2, 0]]))
    assert torch.stack([first, second], dim=1).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]


def test_distances_are_the_same_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    i, j = torch.from_numpy(rng.integers(0, 20, (2, 50)))
    rows, images = unscaled(rng.normal(size=(20, 5))), unscaled(rng.normal(size=(20, 8, 10)), (1, 8, 10))
    gradients = IDMGradients(images)
    expected = [
        np.linalg.norm(rows.array[i] - rows.array[j], axis=1),
        idm_distance(gradients[i], gradients[j]).sqrt().numpy(),
    ]
    for size in (1024, 7):
        monkeypatch.setattr(duplicates, "PAIR_BLOCK", size)
        for dataset, distances in zip((rows, images), expected, strict=True):
            np.testing.assert_allclose(pair_distances(dataset, i, j), distances, rtol=1e-5, atol=1e-5)


def test_reduced_dimensions_keep_what_varies():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(np.pad(rng.normal(size=(300, 40)), [(0, 0), (0, 100)]) + 5).float()
    reduced = reduce_dimensions(points)
    assert reduced.shape == (300, duplicates.MAX_DIMENSIONS)
    torch.testing.assert_close(torch.pdist(reduced), torch.pdist(points), rtol=1e-3, atol=1e-3)
    state = torch.get_rng_state()
    assert torch.equal(reduce_dimensions(points), reduced)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(reduce_dimensions(points[:, :10]), points[:, :10])


def test_only_nodes_are_compared():
    dataset = unscaled([[0.0, 0], [0, 0.01], [9, 9], [9, 9.01], [4, 4], [20, 1], [30, 5], [1, 40]])
    embed = lambda data: torch.from_numpy(data.array).float()  # noqa: E731
    everything = torch.arange(8)
    assert near_pairs(dataset, everything, embed, 0.1).tolist() == [[0, 1], [2, 3]]
    assert near_pairs(dataset, everything[1:], embed, 0.1).tolist() == [[2, 3]]
    assert near_pairs(dataset, everything[:1], embed, 0.1).tolist() == []
