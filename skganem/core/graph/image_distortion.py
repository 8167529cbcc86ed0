"""The image distortion model (IDM): how unlike two images are once one of them may be deformed a little.

Keysers, Deselaers, Gollan and Ney 2007, "Deformation models for image recognition": each pixel of one image looks for its
counterpart in the other, a few pixels away at most, whose context has the most similar gradients. What is left of the
differences is the distance. Like the transforms by which an encoder learns, it ignores a small deformation; unlike an encoder,
it overlooks nothing else.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.batches import map_batches
from skganem.core.data.dataset import ArrayDataset
from skganem.core.data.images import downsample
from skganem.core.runtime.distributed import current

#: How far away a pixel's counterpart may be, along each axis: 1 misses shifted strokes (1.37 instead of 0.92), 3 takes twice
#: the time. And the radius of the context that is compared, as in the literature.
MAX_SHIFT, CONTEXT_RADIUS = 2, 1
#: Smaller images are enlarged to a shorter side of this many pixels or more, up to `MAX_ENLARGEMENT` times: of fewer, two
#: are far apart. The evidence is weak: 6.6 and 5.5 for 8x8 enlarged to 24x24, 6.1 and 5.6 as they are, 8.1 and 6.7 at 32x32.
MIN_SIDE, MAX_ENLARGEMENT = 24, 3
#: Pairs compared at once: on a CPU, as many as its cache holds.
CPU_PAIRS, GPU_PAIRS = 128, 4096


class IDMGradients:
    """The gradients of images, resized to be compared, held in memory: each image is in many pairs."""

    def __init__(self, dataset: ArrayDataset) -> None:
        self.gradients = map_batches(dataset, lambda x: sobel_gradients(resize(x)))

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return some of them (n, 2c, h, w)."""
        return self.gradients[index]


def resize(x: Tensor) -> Tensor:
    """Downsample or enlarge images (n, c, h, w) to a shorter side of 24 to 63 pixels, if they have 8 or more."""
    factor = min(math.ceil(MIN_SIDE / min(x.shape[2:])), MAX_ENLARGEMENT)
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False) if factor > 1 else downsample(x)


def sobel_gradients(x: Tensor) -> Tensor:
    """Return the Sobel gradients (n, 2c, h, w) of images (n, c, h, w), down and across."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=x.device) / 4
    kernels = torch.stack([across.T, across])[:, None].repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels, groups=x.shape[1])


@torch.no_grad()
def pairwise_idm(first: IDMGradients, second: IDMGradients, i: Tensor, j: Tensor) -> Tensor:
    """Return the distances (m,) of the images at i (m,) in one data set from those at j (m,) in another."""
    size = CPU_PAIRS if i.device.type == "cpu" else GPU_PAIRS

    def compare(rows: slice) -> Tensor:
        pairs = zip(i[rows].split(size), j[rows].split(size), strict=True)
        return torch.cat([idm_distance(first[a], second[b]) for a, b in pairs])

    return current().map_rows(compare, len(i), size)


def idm_distance(a: Tensor, b: Tensor) -> Tensor:
    r"""Return the distances (n,) between images of which a and b (n, c, h, w) are the gradients.

    :math:`\sum_p \min_s \sum_r \lVert a(p + r) - b(p + s + r) \rVert^2`, with p over all pixels, s over the shifts of up to
    `MAX_SHIFT` and r over the context of radius `CONTEXT_RADIUS`; beyond the border, gradients are 0.
    """
    height, width = a.shape[2:]
    margins = CONTEXT_RADIUS, CONTEXT_RADIUS + MAX_SHIFT
    # Pairs go last: all that follows is done on contiguous runs of them.
    a, b = (F.pad(x, [margin] * 4).permute(1, 2, 3, 0).contiguous() for x, margin in zip((a, b), margins, strict=True))
    least = torch.full((height, width, a.shape[3]), torch.inf, device=a.device)
    difference = torch.empty_like(a[0])
    for down in range(2 * MAX_SHIFT + 1):
        for across in range(2 * MAX_SHIFT + 1):
            window = b[:, down : down + a.shape[1], across : across + a.shape[2]]
            total = torch.zeros_like(difference)
            for own, other in zip(a, window, strict=True):
                torch.sub(own, other, out=difference)
                total.addcmul_(difference, difference)
            torch.minimum(least, window_sum(window_sum(total, 0, height), 1, width), out=least)
    return least.sum(dim=(0, 1))


def window_sum(x: Tensor, dim: int, size: int) -> Tensor:
    """Sum what is up to `CONTEXT_RADIUS` away along a dimension, at the `size` places that have all that."""
    total = x.narrow(dim, 0, size) + x.narrow(dim, 1, size)
    for start in range(2, 2 * CONTEXT_RADIUS + 1):
        total += x.narrow(dim, start, size)
    return total
