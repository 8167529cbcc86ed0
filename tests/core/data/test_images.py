import torch

from skganem.core.data.images import smoothed_pixels


def test_large_images_are_compared_by_some_32_pixels_a_side():
    assert smoothed_pixels(torch.randn(2, 3, 130, 97)).shape == (2, 3 * 43 * 32)
    assert smoothed_pixels(torch.randn(2, 1, 28, 28)).shape == (2, 784)
