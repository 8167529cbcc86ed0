import numpy as np
import pytest
import torch

from skganem.core.data.dataset import Scaling, Source
from skganem.core.graph.image_distortion import REACH, distortion, distortions, gradients, resized


def by_definition(a, b):
    """Compute what `distortion` does, pixel by pixel, of the gradients of two images (c, h, w)."""
    _, height, width = a.shape

    def at(image, y, x):
        return image[:, y, x] if 0 <= y < height and 0 <= x < width else np.zeros(len(image))

    shifts = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]

    def unlike(y, x, dy, dx):
        return sum(np.square(at(a, y + i, x + j) - at(b, y + dy + i, x + dx + j)).sum() for i, j in around)

    return sum(min(unlike(y, x, *shift) for shift in shifts) for y in range(height) for x in range(width))


@pytest.mark.parametrize("channels", [1, 3])
def test_distortion_is_what_it_is_defined_to_be(channels):
    a, b = (torch.randn(2, 2 * channels, 5, 7, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    found = distortion(a, b)
    expected = [by_definition(one.double().numpy(), other.double().numpy()) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_gradients_are_those_of_sobel():
    slope = torch.arange(6.0).expand(1, 1, 5, 6)
    down, across = gradients(slope)[0]
    assert (down == 0).all()
    assert (across[:, 1:-1] == 2).all()
    assert torch.equal(gradients(slope.transpose(2, 3))[0, 0], across.T)


def test_a_small_shift_is_no_difference_and_a_large_one_is():
    stroke = torch.zeros(1, 1, 30, 30)
    stroke[:, :, 12:18, 14:16] = 1
    own = gradients(stroke)

    def unlike(shift):
        return float(distortion(own, gradients(stroke.roll((shift, -shift), dims=(2, 3)))))

    assert unlike(0) == unlike(1) == unlike(REACH) == 0
    assert unlike(REACH + 2) > 10


@pytest.mark.parametrize(
    ("shape", "seen"), [((8, 8), (24, 24)), ((14, 20), (28, 40)), ((24, 24),) * 2, ((28, 28),) * 2, ((64, 130), (32, 65))]
)
def test_images_are_compared_at_one_size(shape, seen):
    assert resized(torch.randn(2, 3, *shape)).shape == (2, 3, *seen)


def test_distances_do_not_depend_on_what_is_compared_beside():
    X = np.random.default_rng(0).integers(0, 256, (300, 64)).astype(np.uint8)
    source = Source(X, (1, 8, 8), Scaling.of(X, (1, 8, 8)), torch.device("cpu"))
    i, j = torch.arange(300), torch.arange(300).flip(0)
    together = distortions(source, source, i, j)
    assert together.shape == (300,)
    alone = torch.cat([distortions(source, source, i[k : k + 1], j[k : k + 1]) for k in (0, 127, 128, 299)])
    torch.testing.assert_close(together[[0, 127, 128, 299]], alone)
    assert distortions(source, source, i, i).max() == 0
