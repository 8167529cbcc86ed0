import math

import numpy as np
import pytest
import torch

from skganem.core.graph.image_distortion import MAX_SHIFT, IDMGradients, idm_distance, pairwise_idm, resize, sobel_gradients
from tests.conftest import dataset_of, unscaled


def by_definition(a, b):
    """Compute what `idm_distance` does, pixel by pixel, of the gradients of two images (c, h, w)."""
    _, height, width = a.shape

    def at(image, y, x):
        return image[:, y, x] if 0 <= y < height and 0 <= x < width else np.zeros(len(image))

    shifts = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]

    def unlike(y, x, dy, dx):
        return sum(np.square(at(a, y + i, x + j) - at(b, y + dy + i, x + dx + j)).sum() for i, j in around)

    return sum(min(unlike(y, x, *shift) for shift in shifts) for y in range(height) for x in range(width))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_idm_distance_is_that_of_its_definition(channels):
    a, b = (torch.randn(2, 2 * channels, 5, 7, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    found = idm_distance(a, b)
    expected = [by_definition(one.double().numpy(), other.double().numpy()) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_sobel_gradients_of_a_slope():
    slope = torch.arange(6.0).expand(1, 1, 5, 6)
    down, across = sobel_gradients(slope)[0]
    assert (down == 0).all()
    assert (across[:, 1:-1] == 2).all()
    assert torch.equal(sobel_gradients(slope.transpose(2, 3))[0, 0], across.T)


def test_a_small_shift_costs_nothing_and_a_large_one_does():
    stroke = torch.zeros(1, 1, 30, 30)
    stroke[:, :, 12:18, 14:16] = 1
    own = sobel_gradients(stroke)

    def unlike(shift):
        return float(idm_distance(own, sobel_gradients(stroke.roll((shift, -shift), dims=(2, 3)))))

    assert unlike(0) == unlike(1) == unlike(MAX_SHIFT) == 0
    assert unlike(MAX_SHIFT + 2) > 10


@pytest.mark.parametrize(
    ("shape", "seen"), [((8, 8), (24, 24)), ((14, 20), (28, 40)), ((24, 24),) * 2, ((28, 28),) * 2, ((64, 130), (32, 65))]
)
def test_images_are_compared_at_one_size(shape, seen):
    assert resize(torch.randn(2, 3, *shape)).shape == (2, 3, *seen)


def test_a_distance_does_not_depend_on_the_other_pairs():
    X = np.random.default_rng(0).integers(0, 256, (300, 64)).astype(np.uint8)
    dataset = IDMGradients(dataset_of(X, (1, 8, 8)))
    i, j = torch.arange(300), torch.arange(300).flip(0)
    together = pairwise_idm(dataset, dataset, i, j)
    assert together.shape == (300,)
    alone = torch.cat([pairwise_idm(dataset, dataset, i[k : k + 1], j[k : k + 1]) for k in (0, 127, 128, 299)])
    torch.testing.assert_close(together[[0, 127, 128, 299]], alone)
    assert pairwise_idm(dataset, dataset, i, i).max() == 0


@pytest.mark.parametrize(("shape", "seen"), [((1, 64, 70), (32, 35)), ((3, 8, 10), (24, 30)), ((1, 28, 28), (28, 28))])
def test_gradients_are_those_of_resized_images_and_are_made_once(shape, seen, monkeypatch):
    X = np.random.default_rng(0).integers(256, size=(9, math.prod(shape)), dtype=np.uint8)
    dataset, i, j = dataset_of(X, shape), torch.arange(9), torch.arange(9).roll(2)
    resized = resize(dataset.get_batch(slice(None)))
    gradients = IDMGradients(dataset)
    assert gradients[i].shape == (9, 2 * shape[0], *seen)
    torch.testing.assert_close(gradients[j], sobel_gradients(resized)[j])
    monkeypatch.setattr(type(dataset), "get_batch", None)  # each image is in many pairs
    expected = idm_distance(sobel_gradients(resized[i]), sobel_gradients(resized[j]))
    torch.testing.assert_close(pairwise_idm(gradients, gradients, i, j), expected, rtol=1e-5, atol=0)


def test_pairs_may_be_of_two_data_sets():
    X = np.random.default_rng(0).uniform(-1, 1, (12, 64))
    both, first, second = (IDMGradients(unscaled(part, (1, 8, 8))) for part in (X, X[:5], X[5:]))
    i, j = torch.tensor([0, 4, 4, 2]), torch.tensor([6, 0, 3, 0])
    torch.testing.assert_close(pairwise_idm(first, second, i, j), pairwise_idm(both, both, i, j + 5))
