"""Labels of rows by kernel ridge regression on the labeled ones, averaged over neighbors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.data.dataset import ArrayDataset
from skganem.core.graph.knn import NeighborGraph

#: Labeled rows that take part at most: the time is that of their number's cube.
MAX_SAMPLES = 2500
#: The ridge, the weight of a sample's own noise beside its variance of 1.
RIDGE = 1.0
#: Rows that are predicted at once.
BLOCK = 4096


class KernelRidge:
    """Kernel ridge regression of one-hot labels (m,) on rows (m, d), with the kernel exp(-|x - x'|^2 / trace of covariance)."""

    def __init__(self, rows: Tensor, labels: Tensor, n_clusters: int) -> None:
        self.rows, target = rows.double(), F.one_hot(labels, n_clusters).double()
        self.mean = target.mean(dim=0)
        distance = torch.cdist(self.rows, self.rows).square()
        self.width = distance.mean().clamp_min(1e-300) / 2
        system = torch.exp(-distance / self.width) + RIDGE * torch.eye(len(rows), dtype=torch.float64, device="cpu")
        self.weights = torch.linalg.solve(system, target - self.mean)

    def predict(self, rows: Tensor) -> Tensor:
        """Return the shares of the classes (n, K) for rows (n, d): of negative values none."""
        kernel = torch.exp(-torch.cdist(rows.double(), self.rows).square() / self.width)
        return F.normalize((self.mean + kernel @ self.weights).clamp_min(0), p=1, dim=1)


def regression_responsibilities(
    graph: NeighborGraph, dataset: ArrayDataset, labeled_index: Tensor, labels: Tensor, n_clusters: int, wanted: Tensor
) -> Tensor:
    """Return w (m, K) of the rows at `wanted` (m,): the mean of their own shares of the classes and of their neighbors'.

    Propagation needs a path of neighbors to a label. Regression needs none, and where few rows of many classes have a label, it
    errs less; neighbors then correct single rows (predict, then propagate: Gasteiger et al. 2019). As in `label_propagation`,
    the shares are squared.
    """
    some = labeled_index[:MAX_SAMPLES]
    model = KernelRidge(dataset.get_batch(some).cpu(), labels[:MAX_SAMPLES], n_clusters)
    known = torch.full((len(dataset),), -1)
    known[labeled_index] = labels
    return torch.cat([_with_neighbors(model, graph, dataset, known, part) for part in wanted.split(BLOCK)])


def _with_neighbors(model: KernelRidge, graph: NeighborGraph, dataset: ArrayDataset, known: Tensor, wanted: Tensor) -> Tensor:
    """Return w (m, K) of the rows at `wanted` (m,), given each row's label or -1 (n,)."""
    neighbors = graph.neighbors[wanted]
    rows, where = torch.cat([wanted, neighbors.flatten()]).unique(return_inverse=True)
    shares = torch.cat([model.predict(dataset.get_batch(part).cpu()) for part in rows.split(BLOCK)])
    is_known = known[rows] >= 0
    shares[is_known] = F.one_hot(known[rows[is_known]], shares.shape[1]).double()
    own, others = where[: len(wanted)], where[len(wanted) :].view_as(neighbors)
    return F.normalize((shares[own] + shares[others].mean(dim=1)).square(), p=1, dim=1).float()
