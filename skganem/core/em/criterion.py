"""The criterion by which restarts are compared."""

from __future__ import annotations

import torch

from skganem.core.em.e_step import transform
from skganem.core.em.state import EMState

#: Samples that the criterion is measured on, and how many at once. Fewer make it noisy, more take time.
N_SAMPLES, BATCH = 8192, 256


@torch.no_grad()
def view_mutual_information(state: EMState) -> float:
    r"""Mutual information, in nats, between the classes of two views of a sample: as it is, and transformed.

    High if the classes are many and even, and the E-net is sure of each sample and of its view alike; a cluster that cuts
    through a continuum, as well as an empty one, lowers it. It needs no labels (the objective of IIC, Ji et al. 2019, Eq. 3).
    """
    dataset, model = state.dataset, state.model
    joint = torch.zeros(model.spec.n_clusters, model.spec.n_clusters, device=model.device)
    order = torch.randperm(len(dataset), generator=state.rng, device=dataset.device)
    for index in order[:N_SAMPLES].split(BATCH):
        x = dataset.get_batch(index)
        view = transform(state, x, index)
        joint += torch.softmax(model.e_net(x), 1).T @ torch.softmax(model.e_net(view), 1)
    joint = (joint + joint.T) / (2 * joint.sum())
    independent = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
    return float(torch.special.xlogy(joint, joint / independent.clamp_min(1e-30)).sum())
