"""The trained networks, and everything they compute for data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skganem.core.data.dataset import Source
from skganem.core.data.shapes import Shape, reduction
from skganem.core.networks.architectures import Classifier, Encoder, Generator, Networks
from skganem.core.runtime.device import evaluating, packed, seeded, trainable

N_ENCODERS = 2
#: Samples that pass a network at once, on a CPU, and the rows of which any number is made: whole tiles of the kernels that
#: multiply matrices (6 rows with AVX2, 16 or 48 with AVX-512). Rows left over are summed in another order.
CPU_CHUNK, TILE = 192, 48
CHUNK_VALUES = 1 << 22


@dataclass(frozen=True)
class Layout:
    """What it takes to build the networks, apart from their weights."""

    shape: Shape
    n_clusters: int
    n_noise: int
    width: int
    n_components: int | None = None


class Model:
    """G, D, E and phi: theta of the paper, and eta.

    Parameters
    ----------
    layout : Layout
    networks : Networks
    seed : int
        Of the initial weights. Those of the E-net's features do not depend on the number of clusters.
    device : torch.device
    """

    def __init__(self, layout: Layout, networks: Networks, seed: int, device: torch.device) -> None:
        self.layout, self.device = layout, device
        self._networks, self._seed = networks, seed
        shape, n_clusters, width = layout.shape, layout.n_clusters, layout.width
        with seeded(seed), trainable():
            e_body = networks.e_net(shape, width)
            n_features = count_features(e_body, shape)
            self.e_net = Classifier(e_body, n_features, n_clusters, layout.n_components)
            d_body = networks.discriminator(shape, width)
            self.discriminator = Classifier(d_body, count_features(d_body, shape), n_clusters + 1)
            body = networks.generator(shape, layout.n_noise + n_clusters, width)
            self.generator = Generator(body, n_clusters, layout.n_noise)
            check_generator(self.generator, shape)
        self.encoder: nn.Module | None = None
        self.phi = torch.full((n_clusters,), 1 / n_clusters, dtype=torch.float32, device=device)
        self.to(device)

    def add_encoder(self) -> list[tuple[nn.Module, int]]:
        """Add what is to become the coordinates of images: twice the E-net's untrained features, of shrunken images.

        Returns
        -------
        list of (nn.Module, int)
            The two networks, and how many features each has.
        """
        channels, *sides = self.layout.shape
        shape = (channels, *(side // reduction(self.layout.shape) for side in sides))
        with seeded(self._seed), trainable():
            bodies = [self._networks.e_net(shape, self.layout.width) for _ in range(N_ENCODERS)]
            found = [(body, count_features(body, shape)) for body in bodies]
        self.encoder = Encoder(bodies)
        self.to(self.device)
        return found

    def parts(self) -> dict[str, nn.Module]:
        """Return all networks by name."""
        named: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator, "e_net": self.e_net}
        return named if self.encoder is None else {**named, "encoder": self.encoder}

    def modules(self) -> tuple[Generator, Classifier, Classifier]:
        """Return G, D and E."""
        return self.generator, self.discriminator, self.e_net

    def to(self, device: torch.device) -> Model:
        """Move to a device, in place."""
        self.device, self.phi = device, self.phi.to(device)
        for module in self.parts().values():
            module.to(device).eval()
            for parameter in module.parameters():
                # Channels-last convolutions are the faster ones on CPUs and GPUs alike. (Of one channel, `contiguous` would
                # leave the strides as they are, and other kernels would be used.)
                if parameter.dim() == 4:
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
        return self

    def noise(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw z (n, n_noise), uniform in [-1, 1]."""
        return torch.rand(n, self.layout.n_noise, generator=rng, dtype=torch.float32, device=rng.device) * 2 - 1

    @torch.no_grad()
    def sample(self, c: Tensor, rng: torch.Generator) -> Tensor:
        """Generate a sample (n, \\*shape) of each class in c (n,), in chunks."""
        with evaluating(self.generator):
            return torch.cat([self.generator(self.noise(len(part), rng), part) for part in c.split(1024)])

    def posterior(self, source: Source) -> Tensor:
        """Return w = P(c|x) (Eq. 4), float32 (n, K), for all samples of a source."""
        return self.collect(source, lambda x: torch.softmax(self.e_net(x), dim=1))

    def features(self, source: Source) -> Tensor:
        """Return the output of layer r (Section 5.4), float32 (n, n_components), for all samples of a source."""
        return self.collect(source, self.e_net.features)

    def coordinates(self, source: Source) -> Tensor:
        """Return the points (n, m) between which neighbours are sought.

        Rows are their own coordinates. Images have the encoder's features, of length 1, or their pixels where there are none.
        """
        encoder = self.encoder
        if encoder is None:
            return self.collect(source, as_points)
        return self.collect(source, lambda x: F.normalize(encoder(shrunk(x)), dim=1))

    @torch.no_grad()
    def collect(self, source: Source, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `compute`, which uses the E-net, to all samples of a source in chunks; the results, one below the other."""
        results, filled = torch.empty(0, 0, device=self.device), 0
        with evaluating(self.e_net):
            for x, n in self._chunks(source):
                computed = compute(x)[:n].float()
                if not filled:  # not a list of parts: to join them would take their memory twice
                    results = computed.new_empty(len(source), *computed.shape[1:])
                results[filled : filled + n] = computed
                filled += n
        return results

    def chunk_size(self) -> int:
        """Return the samples that pass a network at once when predicting: always as many, so that no answer depends on it."""
        fits = max(16, CHUNK_VALUES // math.prod(self.layout.shape) // TILE * TILE)
        return min(CPU_CHUNK if self.device.type == "cpu" else 4096, fits)

    def _chunks(self, source: Source) -> Iterator[tuple[Tensor, int]]:
        """Yield chunks of one size, the last one padded: kernels, and so the last digits, depend on the size."""
        size = self.chunk_size()
        for start in range(0, len(source), size):
            x = source.batch(slice(start, start + size))
            n = len(x)
            if n < size:
                x = torch.cat([x, x[:1].expand(size - n, *x.shape[1:])])
            yield packed(x), n

    def to_numpy(self) -> dict[str, np.ndarray]:
        """Return all weights and phi as NumPy arrays by name."""
        state = {"phi": self.phi.cpu().numpy().copy()}
        for prefix, module in self.parts().items():
            for name, value in module.state_dict().items():
                state[f"{prefix}.{name}"] = value.detach().cpu().contiguous().numpy().copy()
        return state

    def from_numpy(self, state: dict[str, np.ndarray]) -> Model:
        """Load what `to_numpy` returned; every name and shape must match."""
        self.phi = torch.from_numpy(np.array(state["phi"])).to(self.device)
        if self.encoder is None and any(name.startswith("encoder.") for name in state):
            self.add_encoder()
        for prefix, module in self.parts().items():
            part = {k.removeprefix(prefix + "."): v for k, v in state.items() if k.startswith(prefix + ".")}
            module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in part.items()})
        return self


def shrunk(x: Tensor) -> Tensor:
    """Shrink large images (n, c, h, w) by averaging squares of pixels: enough to compare them."""
    factor = reduction(x.shape[1:])
    return F.avg_pool2d(x, factor) if factor > 1 else x


def as_points(x: Tensor) -> Tensor:
    """Return samples as rows (n, m); images are shrunken first."""
    return shrunk(x).flatten(1) if x.dim() == 4 else x


def blurred(x: Tensor) -> Tensor:
    """Return images (n, c, h, w), shrunken and slightly blurred, as rows of mean 0 and length 1."""
    pixels = F.avg_pool2d(shrunk(x), 3, 1, 1, count_include_pad=False).flatten(1)
    return F.normalize(pixels - pixels.mean(dim=1, keepdim=True), dim=1)


def check_generator(generator: Generator, shape: Shape) -> None:
    """Raise ValueError unless a generator draws samples of a shape."""
    with evaluating(generator), torch.no_grad():
        out = generator(torch.zeros(1, generator.n_noise), torch.zeros(1, dtype=torch.long))
    if out.shape[1:] != shape:
        raise ValueError(f"a generator must return (n, {', '.join(map(str, shape))}), got {tuple(out.shape)}")


def count_features(body: nn.Module, shape: Shape) -> int:
    """Count the features that a network yields for samples of a shape."""
    with evaluating(body), torch.no_grad():
        out: Tensor = body(torch.zeros(1, *shape))
    if out.dim() != 2:
        raise ValueError(f"a feature network must map (n, {', '.join(map(str, shape))}) to (n, m), got {tuple(out.shape)}")
    return out.shape[1]
