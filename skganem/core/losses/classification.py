"""The E-net's objective: Eq. 5 of the paper, and its form for soft labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def e_net_loss(logits: Tensor, c: Tensor) -> Tensor:
    """Cross-entropy with hard classes c (n,), for labeled samples (Section 5.3)."""
    return F.cross_entropy(logits, c)


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Eq. 5 for soft targets (n, K): CE{softmax(logits), target} of each sample (n,).

    Of a generated sample, the target is the one-hot class c that was asked for.
    """
    return -(target * F.log_softmax(logits, dim=1)).sum(1)
