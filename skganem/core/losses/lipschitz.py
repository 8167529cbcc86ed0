"""What keeps the GAN Lipschitz (Section 4.4): weight clipping as in the paper, or a penalty added to L_D."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

#: (discriminator, real batch, its w, step) -> penalty added to L_D
LipschitzPenalty: TypeAlias = Callable[[nn.Module, Tensor, Tensor, int], Tensor]

#: Names of the constraints that are built in.
LIPSCHITZ = ("clip", "r1")

#: Steps from one R1 penalty to the next, which then weighs as many times as much (lazy regularization, Karras et al. 2020).
#: Each costs a second backward pass, about as much as two further steps.
R1_INTERVAL = 8


def r1_penalty(discriminator: nn.Module, x: Tensor, w: Tensor, step: int, gamma: float) -> Tensor | float:
    """Lazy R1 penalty with weight `gamma` (Mescheder et al. 2018, Eq. 9): 0 in all but every eighth step."""
    if step % R1_INTERVAL:
        return 0.0
    return gamma / 2 * R1_INTERVAL * gradient_norm(discriminator, x, w)


def gradient_norm(discriminator: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """Return the mean squared gradient of D at real samples x, of each sample's own units as w (n, K) has them."""
    x = x.detach().requires_grad_(True)
    logits = discriminator(x)
    own = (w * logits[:, :-1]).sum() + logits[:, -1].sum()
    (gradient,) = torch.autograd.grad(own, x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


@torch.no_grad()
def clip_weights(discriminator: nn.Module, bound: float) -> None:
    """Section 4.4: clip the discriminator's weights to [-bound, bound], in place, as WGAN does (Arjovsky et al. 2017)."""
    for parameter in discriminator.parameters():
        if parameter.dim() > 1:
            parameter.clamp_(-bound, bound)
