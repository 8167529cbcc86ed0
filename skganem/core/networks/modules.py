"""The forms of the networks: G(z, c), a classifier for D and E, and an encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
    """A network whose features, scaled to length 1, are the coordinates of images."""

    def __init__(self, body: nn.Module, n_features: int) -> None:
        super().__init__()
        self.body, self.n_features = body, n_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (n, n_features) of samples."""
        features: Tensor = self.body(x)
        return features


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
