"""The E-net's objective: Eq. 5 of the paper, and its form for soft labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def e_net_loss(logits: Tensor, c: Tensor) -> Tensor:
    """Eq. 5: cross-entropy of E(G(z, c)) with the class c that was asked for."""
    return F.cross_entropy(logits, c)


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """CE{softmax(logits), target} of each row, for soft targets (n, K): (n,)."""
    return -(target * F.log_softmax(logits, dim=1)).sum(1)
