"""The objective of an encoder that learns without labels: views of the same sample have alike features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Weights of the three terms, as in the paper.
INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0
#: Added to the variance, whose root has no gradient at 0.
EPS = 1e-4


def vicreg_loss(z: Tensor) -> Tensor:
    """VICReg (Bardes, Ponce and LeCun 2022, Eq. 1 to 6) of several views of each sample.

    Views are drawn to their mean (invariance). Within each view, every feature has a standard deviation of 1 or more
    (variance), and features are uncorrelated (covariance), so that they can't all become the same.

    Parameters
    ----------
    z : Tensor of shape (v, n, m)
        Projections of v views of the same n samples.
    """
    n, m = z.shape[1:]
    invariance = (z - z.mean(dim=0)).square().mean()
    centered = z - z.mean(dim=1, keepdim=True)
    std = (centered.square().sum(dim=1) / (n - 1) + EPS).sqrt()
    covariance = torch.einsum("vni,vnj->vij", centered, centered) / (n - 1)
    off_diagonal = covariance.square().sum(dim=(1, 2)) - covariance.diagonal(dim1=1, dim2=2).square().sum(dim=1)
    return INVARIANCE * invariance + VARIANCE * F.relu(1 - std).mean() + COVARIANCE * (off_diagonal / m).mean()
