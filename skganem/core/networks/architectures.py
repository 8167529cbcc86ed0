"""The networks of Tables 4, 5 and 6 and their generalisation to any sample shape.

The paper gives three sets of networks, for 28x28, 32x32 and 64x64 images. Two rules produce all three, and networks for
any other image side of 8 or more:

* the discriminator and the E-net halve the image with 4x4 convolutions of stride 2 while its side exceeds 4;
* the generator starts from the image's side halved until it is at most 7, and doubles it back with 4x4 transposed
  convolutions of stride 2.

Two errors in the tables are corrected. Table 5 prints an input of 28x28 for SVHN, whose images are 32x32; Table 6 prints
stride 1 without padding for the generator's transposed convolutions, which yields 16x16 images instead of 64x64. Both are
built with stride 2 and padding 1, the setting of Table 4. The 3-filter convolution and the 3-unit layer with which
Table 6 ends its discriminator would pass all evidence through 3 numbers; features of 16 times the width take their place,
as in Tables 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skganem.core.data.shapes import Shape, halvings, is_image

SLOPE = 0.2


def conv_features(shape: Shape, width: int, norm: bool = True) -> nn.Sequential:
    """Convolutional features f of an image (Eq. 19; discriminator and E-net columns of Tables 4 to 6).

    Parameters
    ----------
    shape : tuple (channels, height, width)
    width : int
        Filters of the first layer: 64 in Tables 4 and 5, 128 in Table 6. Each further layer has twice as many.
    norm : bool, default=True
        Batch normalisation after every layer, as in the tables.

    Returns
    -------
    nn.Sequential
        Maps (n, channels, height, width) to (n, 16 * width).
    """
    channels, height, side = shape
    layers: list[nn.Module] = []
    # An 8x8 image is halved once: a convolution at full resolution goes first, to see strokes before they are blurred.
    strides = [1] * (min(height, side) <= 8) + [2] * max(halvings(min(height, side), until=4), 1)
    for i, stride in enumerate(strides):
        filters = width * 2**i
        convolution = nn.Conv2d(channels, filters, 4 if stride == 2 else 3, stride, 1, bias=not norm)
        layers += activated(convolution, nn.BatchNorm2d(filters) if norm else None)
        channels, height, side = filters, height // stride, side // stride
    dense = nn.Linear(channels * height * side, 16 * width, bias=not norm)
    return nn.Sequential(*layers, nn.Flatten(), *activated(dense, nn.BatchNorm1d(16 * width) if norm else None))


def activated(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, norm: nn.Module | None) -> list[nn.Module]:
    """Return an initialised layer with its normalisation, if any, and leaky ReLU.

    Weights before a normalisation are drawn from N(0, 0.02), as DCGAN and the released code of GAN-EM do; without one
    they need the scale that preserves the variance (He et al. 2015).
    """
    if norm is None:
        nn.init.kaiming_normal_(layer.weight, SLOPE)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return [layer, nn.LeakyReLU(SLOPE)]
    nn.init.normal_(layer.weight, 0.0, 0.02)
    return [layer, norm, nn.LeakyReLU(SLOPE)]


def conv_generator(shape: Shape, n_inputs: int, width: int) -> nn.Sequential:
    """Convolutional generator (left column of Tables 4 to 6).

    Parameters
    ----------
    shape : tuple (channels, height, width)
    n_inputs : int
        Length of the concatenated noise and one-hot class.
    width : int
        Filters of the first transposed convolution: 64 in Tables 4 and 5.

    Returns
    -------
    nn.Sequential
        Maps (n, n_inputs) to (n, channels, height, width), in [-1, 1].
    """
    channels, height, side = shape
    doublings = halvings(min(height, side), until=7)
    base = (math.ceil(height / 2**doublings), math.ceil(side / 2**doublings))
    # Tables 4 and 5 begin with twice the width, Table 6, one doubling deeper, with eight times.
    filters = 2 * width if doublings < 4 else 8 * width
    units = filters * base[0] * base[1]
    layers = activated(nn.Linear(n_inputs, units, bias=False), nn.BatchNorm1d(units))
    layers += [nn.Unflatten(1, (filters, *base))]
    for _ in range(doublings - 1):
        halved = max(filters // 2, 1)
        layers += activated(nn.ConvTranspose2d(filters, halved, 4, 2, 1, bias=False), nn.BatchNorm2d(halved))
        filters = halved
    last = nn.ConvTranspose2d(filters, channels, 4, 2, 1)
    nn.init.normal_(last.weight, 0.0, 0.02)
    return nn.Sequential(*layers, last, nn.Tanh(), CentreCrop(height, side))


class CentreCrop(nn.Module):
    """Cut images to a size that repeated doubling overshoots, such as 45 from 48."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, >= height, >= width) to (n, c, height, width)."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        return x[:, :, top : top + self.height, left : left + self.width]


def dense_features(shape: Shape, width: int, norm: bool = True) -> nn.Sequential:
    """Dense features f of a row, the counterpart of `conv_features`: (n, d) to (n, 8 * width)."""
    units = 8 * width
    layers: list[nn.Module] = []
    for n_inputs in (shape[0], units):
        layers += activated(nn.Linear(n_inputs, units, bias=not norm), nn.BatchNorm1d(units) if norm else None)
    return nn.Sequential(*layers)


def dense_generator(shape: Shape, n_inputs: int, width: int) -> nn.Sequential:
    """Dense generator of rows: (n, n_inputs) to (n, d), unbounded."""
    units = 8 * width
    layers: list[nn.Module] = []
    for size in (n_inputs, units):
        layers += activated(nn.Linear(size, units, bias=False), nn.BatchNorm1d(units))
    return nn.Sequential(*layers, nn.Linear(units, shape[0]))


def generator(shape: Shape, n_inputs: int, width: int) -> nn.Sequential:
    """Generator, convolutional or dense by the sample's shape."""
    return conv_generator(shape, n_inputs, width) if is_image(shape) else dense_generator(shape, n_inputs, width)


def table_features(shape: Shape, width: int) -> nn.Sequential:
    """Features as in the tables, with batch normalisation."""
    return conv_features(shape, width) if is_image(shape) else dense_features(shape, width)


def e_net_features(shape: Shape, width: int) -> nn.Sequential:
    """Features of the default E-net: as in the tables for images, without normalisation for rows.

    Normalising a batch of rows takes from it the place and the spread that tell it from another batch.
    """
    return conv_features(shape, width) if is_image(shape) else dense_features(shape, width, norm=False)


def critic_features(shape: Shape, width: int) -> nn.Sequential:
    """Features of the default discriminator: without normalisation.

    Batches of real and of generated samples are normalised each by their own statistics; whatever distinguishes these is
    hidden from a discriminator with batch normalisation.
    """
    return conv_features(shape, width, norm=False) if is_image(shape) else dense_features(shape, width, norm=False)


@dataclass(frozen=True)
class Networks:
    """How to build the three networks: the seam at which one's own ``nn.Module`` goes in.

    Parameters
    ----------
    generator : callable (shape, n_inputs, width) -> nn.Module
        Maps (n, n_inputs), noise beside the one-hot class, to (n, \\*shape).
    discriminator : callable (shape, width) -> nn.Module
        Maps (n, \\*shape) to features (n, m), any m; the layer of K + 1 output units is added to it (Eq. 19).
    e_net : callable (shape, width) -> nn.Module
        As `discriminator`; the layer of K output units is added. Features for the neighbour graph are learned by two
        networks of the same kind; where images are large, they are built for the shape of shrunken ones.
    """

    generator: Callable[[Shape, int, int], nn.Module] = generator
    discriminator: Callable[[Shape, int], nn.Module] = critic_features
    e_net: Callable[[Shape, int], nn.Module] = e_net_features


DEFAULT_NETWORKS = Networks()
#: The networks of the paper's tables.
PAPER_NETWORKS = Networks(generator, table_features, table_features)


class Generator(nn.Module):
    """G(z, c): one generator that acts as K (Section 4.3.1)."""

    def __init__(self, body: nn.Module, n_clusters: int, n_noise: int) -> None:
        super().__init__()
        self.body, self.n_clusters, self.n_noise = body, n_clusters, n_noise

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Generate a sample of class c (n,) from noise z (n, n_noise)."""
        one_hot: Tensor = nn.functional.one_hot(c, self.n_clusters).to(z.dtype)
        generated: Tensor = self.body(torch.cat([z, one_hot], dim=1))
        return generated


class Encoder(nn.Module):
    """Networks whose features stand side by side, those of each of length 1."""

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (n, m) of samples."""
        return torch.cat([nn.functional.normalize(body(x), dim=1) for body in self.bodies], dim=1)


class Classifier(nn.Module):
    """Features f, an optional layer r, and the output units: the form of both D (Eq. 19) and E.

    Parameters
    ----------
    body : nn.Module
        The features f: (n, \\*shape) to (n, n_features).
    n_features : int
        Features that `body` yields.
    n_outputs : int
        K + 1 for the discriminator, K for the E-net.
    n_components : int or None, default=None
        Units of layer r right before the output layer (Section 5.4); None leaves it out.
    """

    def __init__(self, body: nn.Module, n_features: int, n_outputs: int, n_components: int | None = None) -> None:
        super().__init__()
        self.body, self.n_features = body, n_features
        self.r = nn.Identity() if n_components is None else nn.Linear(n_features, n_components)
        self.output = nn.Linear(n_components or n_features, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Return the output of layer r, or of f where there is none: (n, n_components or n_features)."""
        extracted: Tensor = self.r(self.body(x))
        return extracted

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, n_outputs)."""
        logits: Tensor = self.output(self.features(x))
        return logits
