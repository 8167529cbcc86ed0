"""How unlike two images are once one of them may be deformed a little: distances for the neighbour graph.

The image distortion model (Keysers, Deselaers, Gollan and Ney 2007, "Deformation models for image recognition"): each pixel
of one image looks for its counterpart in the other, a few pixels away at most, whose surroundings have the most similar
gradients; what is left of the differences is the distance. Like the changes by which an encoder learns, it says that a small
deformation leaves the class alone; unlike an encoder, it overlooks nothing else.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.dataset import Source
from skganem.core.data.shapes import reduction
from skganem.core.networks.mixture import Model, shrunk

#: How far away a pixel's counterpart may be, along each axis, and the radius of the surroundings that are compared.
REACH, RADIUS = 2, 1
#: Smaller images are enlarged to a shorter side of this many pixels or more, up to `MOST` times: of fewer, two are far apart.
LEAST_SIDE, MOST = 24, 3
#: Pairs compared at once: on a CPU, as many as its cache holds.
PAIRS, PAIRS_GPU = 128, 4096


class Shrunken:
    """Images as they are once shrunken, held in memory."""

    def __init__(self, model: Model, source: Source) -> None:
        self.images, self.device = model.collect(source, shrunk), source.device

    def batch(self, index: Tensor) -> Tensor:
        """Return some of them (n, c, h, w)."""
        return self.images[index]


Comparable: TypeAlias = Source | Shrunken


def comparable(model: Model, source: Source) -> Comparable:
    """Return images to be compared in many pairs: large ones are shrunken once, not anew for each pair."""
    return Shrunken(model, source) if reduction(source.shape) > 1 else source


def resized(x: Tensor) -> Tensor:
    """Shrink or enlarge images (n, c, h, w) to a shorter side of 24 to 63 pixels, if they have 8 or more."""
    factor = min(math.ceil(LEAST_SIDE / min(x.shape[2:])), MOST)
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False) if factor > 1 else shrunk(x)


def gradients(x: Tensor) -> Tensor:
    """Return the Sobel gradients (n, 2c, h, w) of images (n, c, h, w), down and across."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=x.device) / 4
    kernels = torch.stack([across.T, across])[:, None].repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels, groups=x.shape[1])


@torch.no_grad()
def distortions(first: Comparable, second: Comparable, i: Tensor, j: Tensor) -> Tensor:
    """Return the distances (m,) of the images at i (m,) in one source from those at j (m,) in another."""
    size = PAIRS if first.device.type == "cpu" else PAIRS_GPU
    pairs = zip(i.split(size), j.split(size), strict=True)
    found = [distortion(*(gradients(resized(x)) for x in (first.batch(a), second.batch(b)))) for a, b in pairs]
    return torch.cat(found)


def distortion(a: Tensor, b: Tensor) -> Tensor:
    r"""Return the distances (n,) between images of which a and b (n, c, h, w) are the gradients.

    :math:`\sum_p \min_s \sum_r \lVert a(p + r) - b(p + s + r) \rVert^2`, with p over all pixels, s over the shifts of up to
    `REACH` and r over the surroundings of radius `RADIUS`; beyond the border, gradients are 0.
    """
    height, width = a.shape[2:]
    # Pairs go last: all that follows is done on contiguous runs of them.
    a, b = (F.pad(x, [margin] * 4).permute(1, 2, 3, 0).contiguous() for x, margin in ((a, RADIUS), (b, RADIUS + REACH)))
    least = torch.full((height, width, a.shape[3]), torch.inf, device=a.device)
    difference = torch.empty_like(a[0])
    for down in range(2 * REACH + 1):
        for across in range(2 * REACH + 1):
            window = b[:, down : down + a.shape[1], across : across + a.shape[2]]
            total = torch.zeros_like(difference)
            for own, other in zip(a, window, strict=True):
                torch.sub(own, other, out=difference)
                total.addcmul_(difference, difference)
            torch.minimum(least, summed(summed(total, 0, height), 1, width), out=least)
    return least.sum(dim=(0, 1))


def summed(x: Tensor, dim: int, size: int) -> Tensor:
    """Sum what is up to `RADIUS` away along a dimension, of which `size` places have all that."""
    total = x.narrow(dim, 0, size) + x.narrow(dim, 1, size)
    for start in range(2, 2 * RADIUS + 1):
        total += x.narrow(dim, start, size)
    return total
