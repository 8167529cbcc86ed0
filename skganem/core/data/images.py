"""Images as they are compared: downsampled, smoothed, or as rows of pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.shapes import downsampling_factor


def downsample(x: Tensor) -> Tensor:
    """Downsample large images (n, c, h, w) by averaging squares of pixels; small ones stay as they are."""
    factor = downsampling_factor(x.shape[1:])
    return F.avg_pool2d(x, factor) if factor > 1 else x


def to_rows(x: Tensor) -> Tensor:
    """Return samples as rows (n, d); images are downsampled first."""
    return downsample(x).flatten(1) if x.dim() == 4 else x


def smoothed_pixels(x: Tensor) -> Tensor:
    """Return images (n, c, h, w), downsampled and averaged over 3x3 pixels, as rows of mean 0 and length 1.

    Smoothing makes the distance forgive a shift by one pixel; the scaling makes it ignore brightness and contrast.
    """
    pixels = F.avg_pool2d(downsample(x), 3, 1, 1, count_include_pad=False).flatten(1)
    return F.normalize(pixels - pixels.mean(dim=1, keepdim=True), dim=1)
