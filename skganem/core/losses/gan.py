"""The GAN's objectives L_G and L_D: Eq. 1, 2 and 18 of the paper, and variants, as pure functions of tensors.

Each returns a scalar to be minimised. D is given by its logits: ``D_i(x) = sigmoid(logits[:, i])``, so that
``sigma^{-1}[D_i(x)]`` is the logit itself. The discriminator has K + 1 units; the last tells real from generated
(Section 4.3.2, "an extra output unit").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

#: (logits of generated samples (n, K + 1), their classes (n,)) -> scalar
GeneratorLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
#: (real logits (n, K + 1), w (n, K), generated logits (m, K + 1), their classes (m,), phi (K,)) -> scalar
DiscriminatorLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]

#: Largest logit whose exponential Eq. 1 takes: exp(10) is 22,026. Without a bound, a few samples that the discriminator is
#: sure of outweigh all others of a batch, and float32 overflows at 88.
LOGIT_BOUND = 10.0


def gather_class(logits: Tensor, c: Tensor) -> Tensor:
    """Gather each sample's value of its own class c: (n, K), (n,) to (n,)."""
    return logits.gather(1, c[:, None]).squeeze(1)


def generator_likelihood(logits: Tensor, c: Tensor) -> Tensor:
    r"""Eq. 1, :math:`-\frac12 E \exp\{\sigma^{-1}[D_c(G(z, c))]\}`, and the same for the real/fake unit.

    With an optimal D its gradient is that of the Kullback-Leibler divergence. Logits are bounded at `LOGIT_BOUND`: the
    exponential can't overflow, and a sample whose logit is above the bound exerts no force.
    """
    units = torch.stack([gather_class(logits, c), logits[:, -1]]).clamp(max=LOGIT_BOUND)
    return -0.5 * units.exp().mean(dim=1).sum()


def generator_normalized_likelihood(logits: Tensor, c: Tensor) -> Tensor:
    r"""Eq. 1 in logarithmic form, :math:`-\log E \exp\{\sigma^{-1}[D_c(G(z, c))]\}`.

    For each of the two units, the gradient is that of Eq. 1 divided by the expectation itself: the same direction, a scale
    that neither overflows nor vanishes, whatever the discriminator's confidence (self-normalized importance weights).
    """
    return 2 * math.log(len(c)) - torch.stack([gather_class(logits, c), logits[:, -1]]).logsumexp(dim=1).sum()


def generator_non_saturating(logits: Tensor, c: Tensor) -> Tensor:
    """-log D_c(G(z, c)), and the same for the real/fake unit: the usual objective of GANs."""
    return F.softplus(-gather_class(logits, c)).mean() + F.softplus(-logits[:, -1]).mean()


def generator_one_hot(logits: Tensor, c: Tensor) -> Tensor:
    """The released code's form: cross-entropy of all K + 1 units with the one-hot class (real/fake unit: real)."""
    target = F.one_hot(c, logits.shape[1]).to(logits.dtype)
    target[:, -1] = 1.0
    return F.binary_cross_entropy_with_logits(logits, target)


def _real_or_fake(real: Tensor, fake: Tensor, real_weight: float = 1.0) -> Tensor:
    """Cross-entropy of the real/fake unit."""
    return real_weight * F.softplus(-real[:, -1]).mean() + F.softplus(fake[:, -1]).mean()


def discriminator_all(real: Tensor, w: Tensor, fake: Tensor, c: Tensor, phi: Tensor) -> Tensor:
    r"""Eq. 2 (negated): every unit sees the generated samples of every class.

    :math:`E_{c,z} \sum_i \log(1 - D_i(G(z, c))) + E_x \sum_i w_i \log D_i(x)`.
    """
    return _all_classes(real, w, fake) + _real_or_fake(real, fake)


def discriminator_released(real: Tensor, w: Tensor, fake: Tensor, c: Tensor, phi: Tensor) -> Tensor:
    """Eq. 2 as the released code has it: the real/fake unit weighs twice on real samples.

    The released code takes the mean over the K + 1 units, which Adam's and RMSprop's steps do not depend on.
    """
    return _all_classes(real, w, fake) + _real_or_fake(real, fake, real_weight=2.0)


def _all_classes(real: Tensor, w: Tensor, fake: Tensor) -> Tensor:
    """Cross-entropy of the K units of the classes in Eq. 2."""
    return F.softplus(fake[:, :-1]).sum(1).mean() + (w * F.softplus(-real[:, :-1])).sum(1).mean()


def discriminator_own(real: Tensor, w: Tensor, fake: Tensor, c: Tensor, phi: Tensor) -> Tensor:
    r"""Eq. 18 (negated): unit i sees the generated samples of class i only. This is the objective that is proved.

    :math:`\sum_i E_x w_i \log D_i(x) + \phi_i E_{P_{f_i}} \log(1 - D_i(x))`. As printed, the second expectation has weight
    1; with phi_i, which is the mass of w_i, the optimal D_i is that of Eq. 15, :math:`P_{r_i} / (P_{r_i} + P_{f_i})`, however
    small a cluster is. Classes in `c` are taken to be equally frequent.
    """
    return (
        (len(phi) * phi[c] * F.softplus(gather_class(fake, c))).mean()
        + (w * F.softplus(-real[:, :-1])).sum(1).mean()
        + _real_or_fake(real, fake)
    )


GENERATOR_LOSSES: dict[str, GeneratorLoss] = {
    "likelihood": generator_likelihood,
    "normalized_likelihood": generator_normalized_likelihood,
    "non_saturating": generator_non_saturating,
    "one_hot": generator_one_hot,
}
DISCRIMINATOR_LOSSES: dict[str, DiscriminatorLoss] = {
    "all": discriminator_all,
    "own": discriminator_own,
    "released": discriminator_released,
}
