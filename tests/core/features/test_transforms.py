import numpy as np
import pytest
import torch

from skganem.core.features.transforms import ImageWarp, NeighborMixup
from tests.conftest import unscaled


def test_image_warp_keeps_the_shape_and_draws_from_its_generator():
    x = torch.rand(6, 3, 16, 20) * 2 - 1
    a, b, c = (ImageWarp()(x, None, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert a.shape == x.shape
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    still = ImageWarp(angle=0, shear=0, stretch=0, shift=0, elastic=0, contrast=0, color=0)
    assert torch.allclose(still(x, None, torch.Generator()), x, atol=1e-5)
    assert torch.allclose(still(x[:, :1], None, torch.Generator()), x[:, :1], atol=1e-5)


@pytest.mark.parametrize("value", ["a", None, True, -0.1, float("nan"), float("inf"), 1j])
@pytest.mark.parametrize("name", ["angle", "elastic", "color"])
def test_a_warp_by_no_number_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a number of 0 or more, got {value!r}"):
        ImageWarp(**{name: value})


def test_image_warps_by_numpys_numbers_are_those_by_pythons():
    assert repr(ImageWarp(angle=np.float64(0.5), shear=np.int64(0))) == repr(ImageWarp(angle=0.5, shear=0.0))


def test_image_warp_follows_torchs_default_dtype():
    """Whichever it was when images of this size were first warped."""
    x = torch.rand(2, 1, 9, 11)
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            assert ImageWarp()(x.to(dtype), None, torch.Generator().manual_seed(0)).dtype == dtype
        finally:
            torch.set_default_dtype(torch.float32)


def test_contrast_scales_the_difference_from_the_border():
    """By another factor for each image."""
    x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).repeat(20, 1, 1, 1)
    x[:, :, [0, -1]] = x[:, :, :, [0, -1]] = -0.5
    changed = ImageWarp(angle=0, shear=0, stretch=0, shift=0, elastic=0)(x, None, torch.Generator().manual_seed(0))
    factors = (changed + 0.5)[:, 0, 4, 4] / (x + 0.5)[:, 0, 4, 4]
    torch.testing.assert_close(changed, (x + 0.5) * factors[:, None, None, None] - 0.5)
    assert len(factors.unique()) == 20
    assert 0.36 < factors.min() < 0.6
    assert 1.7 < factors.max() < 2.72


def test_a_rotation_keeps_lengths_and_angles_of_pixels():
    """Also in images that are not square."""
    matrices = ImageWarp(shear=0, stretch=0)._matrices(5, 64 / 16, torch.Generator().manual_seed(0))[:, :, :2]
    side = torch.diag(torch.tensor([32.0, 8.0]))
    of_pixels = side @ matrices @ side.inverse()
    torch.testing.assert_close(of_pixels @ of_pixels.mT, torch.eye(2).expand(5, 2, 2))
    assert (of_pixels[:, 0, 1].abs() > 0.01).any()


def test_mixup_lies_between_a_row_and_one_of_its_neighbors():
    dataset = unscaled(np.arange(10, dtype=np.float32)[:, None])
    neighbors = (torch.arange(10)[:, None] + torch.tensor([1, 2])) % 10
    index = torch.arange(8)
    mixed = NeighborMixup(dataset, neighbors)(dataset.get_batch(index), index, torch.Generator().manual_seed(0))
    way = mixed.squeeze(1) - index
    assert (way >= 0).all()
    assert (way <= 2).all()
    assert (way > 1).any()
