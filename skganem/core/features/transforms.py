"""Random transforms of a sample that leave its class alone: views to learn from.

An augmentation is a callable ``(x, index, rng) -> x'`` with `x` the batch (b, \\*shape), `index` (b,) the samples' positions
in the data set, or None for generated ones, and `rng` the generator that all randomness is drawn from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.dataset import ArrayDataset
from skganem.core.runtime.serialization import register_record

#: Nodes along each side of the grid of displacements: more would bend a stroke several times. Not tuned.
N_NODES = 5
#: Rows that the length of `NeighborMixup`'s noise is measured on.
N_MEASURED = 512


def _uniform(n: int, reach: float, rng: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=rng, device=rng.device) * 2 - 1) * reach


@cache
def cubic_weights(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix (size, N_NODES) that interpolates values at equally spaced nodes with cubic polynomials."""
    each = torch.eye(N_NODES, device=device, dtype=dtype).view(1, N_NODES, N_NODES, 1)
    return F.interpolate(each, size=(size, 1), mode="bicubic", align_corners=True).view(N_NODES, size).T


@cache
def last_centers(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the places (2,) of the centers of the last pixels, across and down, where the image's edges are at 1."""
    return 1 - 1 / torch.tensor([width, height], device=device, dtype=dtype)


@register_record
@dataclass(frozen=True)
class ImageWarp:
    """Random affine map and smooth displacement of each image, and another contrast, or other colors.

    In torchvision's terms: RandomAffine, ElasticTransform and ColorJitter. Contrast and color change since an encoder would
    otherwise recognize an image by its brightness, which often says little of its class.

    Parameters
    ----------
    angle : float
        Largest rotation, in radians.
    shear, stretch, shift : float
        Largest shear; largest logarithm of the stretch along each axis; largest shift, as a part of half the image.
    elastic : float
        Standard deviation of the displacement at the nodes of a 5x5 grid, as a part of half the image.
    contrast : float
        Largest logarithm of the factor by which contrast to the border is multiplied; of images that have not 3 channels, and
        while features are learned, in half of the views.
    color : float
        Largest change of brightness, and of the logarithm of contrast, of images with 3 channels.

    Examples
    --------
    >>> from skganem import GANEMClustering, ImageWarp
    >>> upright = GANEMClustering(n_clusters=10, augmentation=ImageWarp(angle=0.1, shear=0.1))
    """

    # Too small values keep a sample's pose and style in the features, too large ones confuse classes ("Features" in
    # docs/defaults.rst): about 0.7 times the first ones tried, and `elastic` of 0.15 merged classes (4.3 instead of 3.2).
    angle: float = 0.25
    shear: float = 0.25
    stretch: float = 0.14
    shift: float = 0.1
    elastic: float = 0.06
    # Without it, clothes are grouped by brightness; in all views, gray tones would be lost.
    contrast: float = 1.0
    # As much as hides a photograph's tint; not tuned.
    color: float = 0.28

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{field.name} must be a number of 0 or more, got {value!r}.")
            object.__setattr__(self, field.name, float(value))  # NumPy's are not shown alike, as fingerprints need

    def __call__(self, x: Tensor, index: Tensor | None, rng: torch.Generator) -> Tensor:
        """Return a changed copy of images x (b, c, h, w) in [-1, 1]; what comes into sight is the border's color."""
        matrices = self._matrices(len(x), x.shape[3] / x.shape[2], rng)
        grid = F.affine_grid(matrices, list(x.shape), align_corners=False)
        if self.elastic:
            grid = grid + self._displacements(len(x), x.shape[2], x.shape[3], rng)
        # Places beyond the border are taken from it; clamping does what padding_mode="border" does, on every device.
        edge = last_centers(x.shape[2], x.shape[3], grid.device, grid.dtype)
        x = F.grid_sample(x, grid.clamp(-edge, edge), align_corners=False)
        if x.shape[1] == 3:
            return self._jitter_color(x, rng) if self.color else x
        return self._scale_contrast(x, rng) if self.contrast else x

    def _matrices(self, n: int, aspect: float, rng: torch.Generator) -> Tensor:
        """Draw n affine maps (n, 2, 3): a rotation of a stretch with shear, then a shift.

        Of pixels, that is: coordinates go from -1 to 1 along both sides, whose ratio is `aspect`, width to height.
        """
        angle, shear = _uniform(n, self.angle, rng), _uniform(n, self.shear, rng)
        wide, high = _uniform(n, self.stretch, rng).exp(), _uniform(n, self.stretch, rng).exp()
        shift_x, shift_y = _uniform(n, self.shift, rng), _uniform(n, self.shift, rng)
        cos, sin = angle.cos(), angle.sin()
        top = torch.stack([cos * wide, (cos * wide * shear - sin * high) / aspect, shift_x], dim=1)
        bottom = torch.stack([sin * wide * aspect, sin * wide * shear + cos * high, shift_y], dim=1)
        return torch.stack([top, bottom], dim=1)

    def _displacements(self, n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
        """Draw n smooth vector fields (n, height, width, 2): bicubic interpolation of random vectors at 5x5 nodes."""
        nodes = torch.randn(n, N_NODES, N_NODES, 2, generator=rng, device=rng.device) * self.elastic
        down, across = (cubic_weights(side, nodes.device, nodes.dtype) for side in (height, width))
        # Two matrix products are several times as fast as F.interpolate of the whole batch.
        lines = torch.matmul(down, nodes.view(n, N_NODES, 2 * N_NODES)).view(n, height, N_NODES, 2)
        return torch.matmul(across, lines)

    def _scale_contrast(self, x: Tensor, rng: torch.Generator) -> Tensor:
        contrast = _uniform(len(x), self.contrast, rng).exp()[:, None, None, None]
        sides = [x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]]
        border = torch.cat(sides, dim=2).mean(dim=(1, 2))[:, None, None, None]
        return (x - border) * contrast + border

    def _jitter_color(self, x: Tensor, rng: torch.Generator) -> Tensor:
        contrast = _uniform(len(x), self.color, rng).exp()[:, None, None, None]
        tint = _uniform(3 * len(x), self.color, rng).view(-1, 3, 1, 1)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return (x - mean) * contrast + mean + tint


class NeighborMixup:
    """Interpolate between a row and one of its nearest neighbors (as SMOTE does): needs no domain knowledge.

    Generated rows, which have no neighbors on record, get Gaussian noise instead, half as long as the median way to the
    farthest neighbor.

    Parameters
    ----------
    dataset : ArrayDataset
    neighbors : Tensor of shape (n, k)
        Positions of each row's nearest neighbors in `dataset`.
    reach : float, default=1.0
        The part of the way is uniform in [0, reach].
    dropout : float, default=0.0
        The part of a row's values that are set to 0; the others are made larger by as much.
    """

    def __init__(self, dataset: ArrayDataset, neighbors: Tensor, reach: float = 1.0, dropout: float = 0.0) -> None:
        self.dataset, self.neighbors, self.reach, self.dropout = dataset, neighbors.to(dataset.device), reach, dropout
        some = torch.linspace(0, len(dataset) - 1, min(len(dataset), N_MEASURED), dtype=torch.float64).long().unique()
        gaps = dataset.get_batch(neighbors[some, -1]) - dataset.get_batch(some)
        self.noise = float(gaps.norm(dim=1).median()) / math.sqrt(gaps.shape[1]) / 2

    def __call__(self, x: Tensor, index: Tensor | None, rng: torch.Generator) -> Tensor:
        """Return a changed copy of rows x (b, d)."""
        moved = self._move(x, index, rng)
        if not self.dropout:
            return moved
        kept = torch.rand(x.shape, generator=rng, device=rng.device) >= self.dropout
        return moved * kept / (1 - self.dropout)

    def _move(self, x: Tensor, index: Tensor | None, rng: torch.Generator) -> Tensor:
        if index is None:
            return x + self.noise * torch.randn(x.shape, generator=rng, device=rng.device)
        picks = torch.randint(self.neighbors.shape[1], (len(x),), generator=rng, device=rng.device)
        partner = self.dataset.get_batch(self.neighbors[index, picks])
        part = torch.rand(len(x), 1, generator=rng, device=rng.device) * self.reach
        return torch.lerp(x, partner, part)
