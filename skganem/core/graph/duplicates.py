"""Pairs of samples that are nearly equal: copies with a little noise, another brightness, or a small shift.

Nearest by features are candidates. Features alone do not decide: they are learned to be alike for all images of a kind, and two
handwritten ones of different people can be nearer than a digit and its shifted copy. The IDM distance tells these apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skganem.core.data.batches import map_batches
from skganem.core.data.dataset import ArrayDataset
from skganem.core.data.images import to_rows
from skganem.core.data.shapes import is_image
from skganem.core.graph.image_distortion import IDMGradients, pairwise_idm
from skganem.core.graph.knn import FeatureMap, k_nearest
from skganem.core.runtime.rng import fork_rng

#: Neighbors that may be copies. Of 60,000 digits, they hold 83 % of the copies shifted by one pixel, and 5 hold 79 %.
N_CANDIDATES = 10
#: Dimensions in which candidates are sought: in all 512 of the features, the search takes three times as long. For digits, 64
#: hold 98 % of the variance, and the candidates hold as many copies.
MAX_DIMENSIONS = 64
#: Points whose principal components are taken for those of all: many more than dimensions.
MAX_MEASURED = 5000
#: The least typical distance of a sample's neighbors, as a share of the median: with more copies than candidates, a sample has
#: copies alone as neighbors. Half is below nearly all samples without copies.
MIN_TYPICAL = 0.5
#: Pairs compared at once. Their images are read and prepared for it, so that those of the whole data set need no memory.
PAIR_BLOCK = 1024


def near_pairs(dataset: ArrayDataset, nodes: Tensor, embed: FeatureMap, threshold: float) -> Tensor:
    """Find pairs of samples that are nearer to each other than samples around them typically are.

    Two samples are compared if one is among the other's nearest by features. They are a pair if their distance is at most
    `threshold` times the typical one: the geometric mean of both samples' distances from their last candidate.

    Parameters
    ----------
    dataset : ArrayDataset
    nodes : Tensor of shape (m,)
        Positions of samples that all differ.
    embed : callable
        Gives the coordinates of samples.
    threshold : float

    Returns
    -------
    Tensor of shape (n_pairs, 2)
        Positions in the data set.
    """
    if len(nodes) < 2:
        return torch.empty(0, 2, dtype=torch.long)
    near = k_nearest(reduce_dimensions(embed(dataset)[nodes.to(dataset.device)]), N_CANDIDATES).cpu()
    typical = pair_distances(dataset, nodes, nodes[near[:, -1]])
    typical.clamp_(min=MIN_TYPICAL * float(typical.median()))
    first, second = neighbor_pairs(near)
    distances = pair_distances(dataset, nodes[first], nodes[second])
    close = distances <= threshold * (typical[first] * typical[second]).sqrt()
    return torch.stack([nodes[first[close]], nodes[second[close]]], dim=1)


def reduce_dimensions(points: Tensor) -> Tensor:
    """Project points (n, d) onto their principal components, up to 64 of them."""
    if min(points.shape) <= MAX_DIMENSIONS:
        return points
    some = points[:: -(-len(points) // MAX_MEASURED)].cpu()  # where its random numbers can be seeded
    with fork_rng(0):
        axes = torch.pca_lowrank(some, MAX_DIMENSIONS)[2]
    return points @ axes.to(points.device)


def neighbor_pairs(near: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs i < j, each (m,), of which one is among the other's neighbors `near` (n, k)."""
    n, k = near.shape
    own, others = torch.arange(n).repeat_interleave(k), near.flatten()
    pairs = (torch.minimum(own, others) * n + torch.maximum(own, others)).unique()
    return pairs // n, pairs % n


def pair_distances(dataset: ArrayDataset, i: Tensor, j: Tensor) -> Tensor:
    """Return the distances (m,) of the samples at i (m,) from those at j (m,): Euclidean, of images the root of IDM."""
    squares = [torch.empty(0, device="cpu")]
    for first, second in zip(i.split(PAIR_BLOCK), j.split(PAIR_BLOCK), strict=True):
        involved, places = torch.cat([first, second]).unique(return_inverse=True)
        block, (a, b) = dataset.subset(involved), places.to(dataset.device).chunk(2)
        if is_image(dataset.shape):
            gradients = IDMGradients(block)
            squares.append(pairwise_idm(gradients, gradients, a, b).cpu())
        else:
            rows = map_batches(block, to_rows)
            squares.append((rows[a] - rows[b]).square().sum(dim=1).cpu())
    return torch.cat(squares).sqrt()
