"""The shape of one sample, and what the networks derive from it."""

from __future__ import annotations

import math
from typing import TypeAlias

#: ``(d,)`` for a row of d features, ``(channels, height, width)`` for an image.
Shape: TypeAlias = tuple[int, ...]

#: Images with a shorter side have too few pixels for two convolutions of stride 2.
MIN_IMAGE_SIDE = 8
#: Pixels a side for each channel, from which on square images seem to have their channels first. Images of half their width,
#: with just as many channels as columns, are rarer.
SQUARE_SIDE = 2
#: Images are compared at a shorter side of this many pixels, up to 1.5 times as many. Faces of 64x64 took 892 s at full size
#: instead of 188, for an error of 31.6 instead of 33.5.
COMPARED_SIDE = 32


def is_image(shape: Shape) -> bool:
    """Tell an image ``(channels, height, width)`` from a row ``(d,)``."""
    return len(shape) == 3


def has_channels_first(image_shape: Shape) -> bool:
    """Tell whether (a, b, c) looks like (channels, height, width): `a` is too small for a height, or b and c are a square."""
    if len(image_shape) != 3:
        return False
    channels, height, width = image_shape
    square = height == width >= SQUARE_SIDE * channels
    return min(height, width) >= MIN_IMAGE_SIDE and (channels < MIN_IMAGE_SIDE or square)


def downsampling_factor(shape: Shape) -> int:
    """Return the factor by which images are downsampled to be compared: 1 below a shorter side of 64 pixels."""
    return max(1, min(shape[1:]) // COMPARED_SIDE)


def n_halvings(side: int, until: int) -> int:
    """Count how often `side` is halved, rounding up, before it is at most `until`."""
    count = 0
    while side > until:
        side, count = math.ceil(side / 2), count + 1
    return count
