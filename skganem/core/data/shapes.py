"""The shape of one sample, and what the networks derive from it."""

from __future__ import annotations

import math
from typing import TypeAlias

#: ``(d,)`` for a row of d features, ``(channels, height, width)`` for an image.
Shape: TypeAlias = tuple[int, ...]

SMALLEST_SIDE = 8


def is_image(shape: Shape) -> bool:
    """Tell an image ``(channels, height, width)`` from a row ``(d,)``."""
    return len(shape) == 3


def reduction(shape: Shape) -> int:
    """Return the factor by which images are shrunk to be compared: to a shorter side of 32 to 47 pixels from 64 on."""
    return max(1, min(shape[1:]) // 32)


def halvings(side: int, until: int) -> int:
    """Count how often `side` is halved, rounding up, before it is at most `until`."""
    count = 0
    while side > until:
        side, count = math.ceil(side / 2), count + 1
    return count
