"""Hubs: points that are among the nearest neighbors of many others, which long rows of few directions have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.graph.knn import k_nearest

#: Neighbors that are counted, as in Radovanovic et al. (2010).
N_NEIGHBORS = 10
#: Least skewness by Euclidean distance for cosine distance to be preferred, and how many times less it must be by this one.
#: Features of photographs have 5.5 and 1.4. Of 38 tables, the only one above 2.6 has as much by cosine distance.
MIN_SKEWNESS, MIN_RATIO = 3.0, 2.0


def prefers_cosine(rows: Tensor) -> bool:
    """Tell whether rows (n, d), centered, have hubs by Euclidean distance that they do not have by cosine distance."""
    if len(rows) <= N_NEIGHBORS or not rows.isfinite().all():
        return False
    euclidean = hubness(rows)
    return euclidean > MIN_SKEWNESS and euclidean > MIN_RATIO * hubness(F.normalize(rows, dim=1))


def hubness(points: Tensor) -> float:
    """Return the skewness of how many points each of `points` (n, d) is a neighbor of."""
    counts = torch.bincount(k_nearest(points, N_NEIGHBORS).flatten(), minlength=len(points)).double()
    deviations = counts - counts.mean()
    return float(deviations.pow(3).mean() / deviations.square().mean().clamp_min(1e-12).pow(1.5))
