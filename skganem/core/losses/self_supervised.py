"""Objectives of encoders that learn without labels: views of the same sample have alike features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent_loss(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020, SimCLR, Eq. 1): each view must find its partner among all other views.

    Parameters
    ----------
    a, b : Tensor of shape (n, m)
        Projections of two views of the same n samples; row i of `a` and row i of `b` belong together.
    temperature : float
        Divides the cosine similarities.
    """
    views = F.normalize(torch.cat([a, b]), dim=1)
    similarity = views @ views.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), -torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(a))
    return F.cross_entropy(similarity, partner)
