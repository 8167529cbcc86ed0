"""The networks of Tables 4, 5 and 6 and their generalization to any sample shape.

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
from collections.abc import Callable
from dataclasses import dataclass, fields

from torch import Tensor, nn

from skganem.core.data.shapes import Shape, is_image, n_halvings
from skganem.core.runtime.serialization import register_constant

#: Slope of leaky ReLU below 0, as in Tables 4 to 6.
LEAKY_SLOPE = 0.2
#: Standard deviation of the initial weights before a normalization, as in DCGAN (Radford et al. 2016).
INIT_STD = 0.02
#: Units of the dense networks of rows for each filter of `width`: 256 by default.
DENSE_UNITS = 8


def conv_features(shape: Shape, width: int, norm: bool = True) -> nn.Sequential:
    """Convolutional features f of an image (Eq. 19; discriminator and E-net columns of Tables 4 to 6).

    Parameters
    ----------
    shape : tuple (channels, height, width)
    width : int
        Filters of the first layer: 64 in Tables 4 and 5, 128 in Table 6. Each further layer has twice as many.
    norm : bool, default=True
        Batch normalization after every layer, as in the tables.

    Returns
    -------
    nn.Sequential
        Maps (n, channels, height, width) to (n, 16 * width).
    """
    channels, height, side = shape
    layers: list[nn.Module] = []
    # An 8x8 image is halved once: a convolution at full resolution goes first, to see strokes before they are blurred.
    strides = [1] * (min(height, side) <= 8) + [2] * max(n_halvings(min(height, side), until=4), 1)
    for i, stride in enumerate(strides):
        filters = width * 2**i
        convolution = nn.Conv2d(channels, filters, 4 if stride == 2 else 3, stride, 1, bias=not norm)
        layers += layer_block(convolution, nn.BatchNorm2d(filters) if norm else None)
        channels, height, side = filters, height // stride, side // stride
    dense = nn.Linear(channels * height * side, 16 * width, bias=not norm)
    return nn.Sequential(*layers, nn.Flatten(), *layer_block(dense, nn.BatchNorm1d(16 * width) if norm else None))


def layer_block(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, norm: nn.Module | None) -> list[nn.Module]:
    """Return an initialized layer with its normalization, if any, and leaky ReLU.

    Weights before a normalization are drawn from N(0, 0.02), as DCGAN and the released code of GAN-EM do; without one
    they need the scale that preserves the variance (He et al. 2015).
    """
    if norm is None:
        nn.init.kaiming_normal_(layer.weight, LEAKY_SLOPE)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return [layer, nn.LeakyReLU(LEAKY_SLOPE)]
    nn.init.normal_(layer.weight, 0.0, INIT_STD)
    return [layer, norm, nn.LeakyReLU(LEAKY_SLOPE)]


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
    doublings = n_halvings(min(height, side), until=7)
    base = (math.ceil(height / 2**doublings), math.ceil(side / 2**doublings))
    # Tables 4 and 5 begin with twice the width, Table 6, one doubling deeper, with eight times.
    filters = 2 * width if doublings < 4 else 8 * width
    units = filters * base[0] * base[1]
    layers = layer_block(nn.Linear(n_inputs, units, bias=False), nn.BatchNorm1d(units))
    layers += [nn.Unflatten(1, (filters, *base))]
    for _ in range(doublings - 1):
        halved = max(filters // 2, 1)
        layers += layer_block(nn.ConvTranspose2d(filters, halved, 4, 2, 1, bias=False), nn.BatchNorm2d(halved))
        filters = halved
    last = nn.ConvTranspose2d(filters, channels, 4, 2, 1)
    nn.init.normal_(last.weight, 0.0, INIT_STD)
    return nn.Sequential(*layers, last, nn.Tanh(), CenterCrop(height, side))


class CenterCrop(nn.Module):
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
    units = DENSE_UNITS * width
    layers: list[nn.Module] = []
    for n_inputs in (shape[0], units):
        layers += layer_block(nn.Linear(n_inputs, units, bias=not norm), nn.BatchNorm1d(units) if norm else None)
    return nn.Sequential(*layers)


def dense_generator(shape: Shape, n_inputs: int, width: int) -> nn.Sequential:
    """Dense generator of rows: (n, n_inputs) to (n, d), unbounded."""
    units = DENSE_UNITS * width
    layers: list[nn.Module] = []
    for size in (n_inputs, units):
        layers += layer_block(nn.Linear(size, units, bias=False), nn.BatchNorm1d(units))
    return nn.Sequential(*layers, nn.Linear(units, shape[0]))


def generator(shape: Shape, n_inputs: int, width: int) -> nn.Sequential:
    """Generator, convolutional or dense by the sample's shape."""
    return conv_generator(shape, n_inputs, width) if is_image(shape) else dense_generator(shape, n_inputs, width)


class UnitRange(nn.Module):
    """Map values from [-1, 1], to which images are scaled, to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (x + 1) / 2, of any shape."""
        return (x + 1) / 2


def table_features(shape: Shape, width: int) -> nn.Sequential:
    """Features as in the tables, with batch normalization.

    They see gray images in [0, 1], as Appendix B.1 has it. A black background is then 0, like the padding around it; with
    [-1, 1], uniform w stay uniform. Images in color stay in [-1, 1], as Appendices B.2 and B.3 have it.
    """
    if not is_image(shape):
        return dense_features(shape, width)
    return nn.Sequential(*([UnitRange()] if shape[0] == 1 else []), *conv_features(shape, width))


def released_generator(shape: Shape, n_inputs: int, width: int) -> nn.Sequential:
    """The generator of the released code: another dense layer before that of the tables, and ReLU in place of leaky ReLU."""
    units = 16 * width
    first = layer_block(nn.Linear(n_inputs, units, bias=False), nn.BatchNorm1d(units))
    layers = [*first, *generator(shape, units, width)]
    return nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.LeakyReLU) else layer for layer in layers))


def e_net_features(shape: Shape, width: int) -> nn.Sequential:
    """Features of the default E-net: as in the tables for images, without normalization for rows.

    Normalizing a batch of rows takes from it the place and the spread that tell it from another batch.
    """
    return conv_features(shape, width) if is_image(shape) else dense_features(shape, width, norm=False)


def discriminator_features(shape: Shape, width: int) -> nn.Sequential:
    """Features of the default discriminator: without normalization.

    Batches of real and of generated samples are normalized each by their own statistics; whatever distinguishes these is
    hidden from a discriminator with batch normalization.
    """
    return conv_features(shape, width, norm=False) if is_image(shape) else dense_features(shape, width, norm=False)


@dataclass(frozen=True)
class Networks:
    """How to build the three networks: the seam at which one's own ``nn.Module`` goes in.

    Each is built by a function, or by a class of modules whose constructor has the same parameters.

    Parameters
    ----------
    generator : callable (shape, n_inputs, width) -> nn.Module
        Maps (n, n_inputs), noise beside the one-hot class, to (n, \\*shape).
    discriminator : callable (shape, width) -> nn.Module
        Maps (n, \\*shape) to features (n, m), any m; the layer of K + 1 output units is added to it (Eq. 19).
    e_net : callable (shape, width) -> nn.Module
        As `discriminator`; the layer of K output units is added. Features for the neighbor graph are learned by two
        networks of the same kind; where images are large, they are built for the shape of downsampled ones.
    """

    generator: Callable[[Shape, int, int], nn.Module] = generator
    discriminator: Callable[[Shape, int], nn.Module] = discriminator_features
    e_net: Callable[[Shape, int], nn.Module] = e_net_features

    def __post_init__(self) -> None:
        for field in fields(self):
            factory = getattr(self, field.name)
            if isinstance(factory, nn.Module) or not callable(factory):
                raise TypeError(
                    f"{field.name} must be a function or a class that builds a network, got an instance of "
                    f"{type(factory).__name__}: each fit builds its own, of the shape of its data."
                )


DEFAULT_NETWORKS = Networks()
#: The networks of the paper's tables.
PAPER_NETWORKS = Networks(generator, table_features, table_features)
#: Those of the authors' released code.
RELEASED_NETWORKS = Networks(released_generator, table_features, table_features)
#: Sets of networks by name.
NETWORKS = {"default": DEFAULT_NETWORKS, "paper": PAPER_NETWORKS, "released": RELEASED_NETWORKS}
for _name, _networks in NETWORKS.items():
    register_constant(f"networks {_name}", _networks)
