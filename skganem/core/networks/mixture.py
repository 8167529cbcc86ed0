"""The trained networks, and everything they compute for data."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skganem.core.data.batches import map_batches
from skganem.core.data.dataset import ArrayDataset
from skganem.core.data.images import downsample, to_rows
from skganem.core.data.shapes import Shape, downsampling_factor
from skganem.core.networks.architectures import Networks
from skganem.core.networks.modules import Classifier, Encoder, Generator
from skganem.core.runtime.device import eval_mode
from skganem.core.runtime.rng import float32_with_grad, fork_rng
from skganem.core.runtime.serialization import register_record

#: Samples that are generated at once.
SAMPLE_CHUNK = 1024
#: The networks that factories have built, to tell when one returns the same again.
BUILT: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@register_record
@dataclass(frozen=True)
class NetworkSpec:
    """What it takes to build the networks, apart from their weights."""

    shape: Shape
    n_clusters: int
    n_noise: int
    width: int
    n_components: int | None = None


class MixtureModel:
    """G, D, E and phi: theta of the paper, and eta.

    Parameters
    ----------
    spec : NetworkSpec
    factories : Networks
    seed : int
        Of the initial weights. Those of the E-net's features do not depend on the number of clusters.
    device : torch.device
    """

    def __init__(self, spec: NetworkSpec, factories: Networks, seed: int, device: torch.device) -> None:
        self.spec, self.device = spec, device
        self._factories, self._seed = factories, seed
        shape, n_clusters, width = spec.shape, spec.n_clusters, spec.width
        with fork_rng(seed), float32_with_grad():
            e_body = build_network(factories, "e_net", shape, width)
            n_features = infer_n_features(e_body, shape)
            self.e_net = Classifier(e_body, n_features, n_clusters, spec.n_components)
            d_body = build_network(factories, "discriminator", shape, width)
            self.discriminator = Classifier(d_body, infer_n_features(d_body, shape), n_clusters + 1)
            body = build_network(factories, "generator", shape, spec.n_noise + n_clusters, width)
            self.generator = Generator(body, n_clusters, spec.n_noise)
            check_generator(self.generator, shape)
        self.encoder: Encoder | None = None
        self.phi = torch.full((n_clusters,), 1 / n_clusters, dtype=torch.float32, device=device)
        self.to(device)

    def add_encoder(self) -> Encoder:
        """Add, and return, the network whose features are to be the coordinates of downsampled images; untrained."""
        channels, *sides = self.spec.shape
        shape = (channels, *(side // downsampling_factor(self.spec.shape) for side in sides))
        with fork_rng(self._seed), float32_with_grad():
            body = build_network(self._factories, "e_net", shape, self.spec.width)
            self.encoder = Encoder(body, infer_n_features(body, shape))
        self.to(self.device)
        return self.encoder

    def encoder_to_numpy(self) -> dict[str, np.ndarray]:
        """Return the encoder's weights as NumPy arrays by name."""
        assert self.encoder is not None
        return {name: value.detach().cpu().contiguous().numpy().copy() for name, value in self.encoder.state_dict().items()}

    def load_encoder(self, weights: dict[str, np.ndarray]) -> None:
        """Load what `encoder_to_numpy` returned."""
        encoder = self.encoder or self.add_encoder()
        encoder.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})

    def named_networks(self) -> dict[str, nn.Module]:
        """Return all networks by name."""
        named: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator, "e_net": self.e_net}
        return named if self.encoder is None else {**named, "encoder": self.encoder}

    def networks(self) -> tuple[Generator, Classifier, Classifier]:
        """Return G, D and E."""
        return self.generator, self.discriminator, self.e_net

    def to(self, device: torch.device) -> MixtureModel:
        """Move to a device, in place."""
        self.device, self.phi = device, self.phi.to(device)
        for module in self.named_networks().values():
            module.to(device).eval()
            for parameter in module.parameters():
                # Channels-last convolutions are the faster ones on CPUs and GPUs alike. (Of one channel, `contiguous` would
                # leave the strides as they are, and other kernels would be used.)
                if parameter.dim() == 4:
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
        return self

    def noise(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw z (n, n_noise), uniform in [-1, 1]."""
        return torch.rand(n, self.spec.n_noise, generator=rng, dtype=torch.float32, device=rng.device) * 2 - 1

    @torch.no_grad()
    def sample(self, c: Tensor, rng: torch.Generator) -> Tensor:
        """Generate a sample (n, \\*shape) of each class in c (n,), in chunks."""
        with eval_mode(self.generator):
            return torch.cat([self.generator(self.noise(len(part), rng), part) for part in c.split(SAMPLE_CHUNK)])

    def posterior(self, dataset: ArrayDataset) -> Tensor:
        """Return w = P(c|x) (Eq. 4), float32 (n, K), for all samples of a data set."""
        return self.map(dataset, lambda x: torch.softmax(self.e_net(x), dim=1))

    def features(self, dataset: ArrayDataset) -> Tensor:
        """Return the output of layer r (Section 5.4), float32 (n, n_components), for all samples of a data set."""
        return self.map(dataset, self.e_net.features)

    def embed(self, dataset: ArrayDataset) -> Tensor:
        """Return the points (n, m) between which neighbors are sought.

        Rows are their own coordinates. Images have the encoder's features, of length 1, or their pixels where there are none.
        """
        encoder = self.encoder
        if encoder is None:
            return self.map(dataset, to_rows)
        return self.map(dataset, lambda x: F.normalize(encoder(downsample(x)), dim=1))

    def map(self, dataset: ArrayDataset, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `compute`, which uses the E-net, to all samples of a data set, in evaluation mode."""
        with eval_mode(self.e_net):
            return map_batches(dataset, compute)

    def to_numpy(self) -> dict[str, np.ndarray]:
        """Return all weights and phi as NumPy arrays by name."""
        state = {"phi": self.phi.cpu().numpy().copy()}
        for prefix, module in self.named_networks().items():
            for name, value in module.state_dict().items():
                state[f"{prefix}.{name}"] = value.detach().cpu().contiguous().numpy().copy()
        return state

    def from_numpy(self, state: dict[str, np.ndarray]) -> MixtureModel:
        """Load what `to_numpy` returned; every name and shape must match."""
        self.phi = torch.from_numpy(np.array(state["phi"])).to(self.device)
        if self.encoder is None and any(name.startswith("encoder.") for name in state):
            self.add_encoder()
        for prefix, module in self.named_networks().items():
            part = {k.removeprefix(prefix + "."): v for k, v in state.items() if k.startswith(prefix + ".")}
            module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in part.items()})
        return self


def build_network(factories: Networks, name: str, *arguments: Any) -> nn.Module:
    """Have a factory build a network, which must be a new one: fits and restarts that shared one would train each other's."""
    network = getattr(factories, name)(*arguments)
    if not isinstance(network, nn.Module):
        raise TypeError(f"the factory {name} of the networks must return an nn.Module, got a {type(network).__name__}.")
    if network in BUILT:
        raise ValueError(f"the factory {name} of the networks must build a new nn.Module in each call, but returned one again.")
    if next(network.parameters(), None) is not None:
        BUILT.add(network)
    return network


def check_generator(generator: Generator, shape: Shape) -> None:
    """Raise ValueError unless a generator draws samples of a shape."""
    with eval_mode(generator), torch.no_grad():
        out = generator(torch.zeros(1, generator.n_noise), torch.zeros(1, dtype=torch.long))
    if out.shape[1:] != shape:
        raise ValueError(f"a generator must return (n, {', '.join(map(str, shape))}), got {tuple(out.shape)}")


def infer_n_features(body: nn.Module, shape: Shape) -> int:
    """Count the features that a network yields for samples of a shape."""
    with eval_mode(body), torch.no_grad():
        out: Tensor = body(torch.zeros(1, *shape))
    if out.dim() != 2:
        raise ValueError(f"a feature network must map (n, {', '.join(map(str, shape))}) to (n, m), got {tuple(out.shape)}")
    return out.shape[1]
