"""The EM loop: Algorithm 1 of the paper."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.em.e_step import e_step
from skganem.core.em.m_step import m_step
from skganem.core.em.state import Divergence, Training, finite


def expectation_maximization(
    training: Training, w: Tensor, on_iteration: Callable[[Training, Tensor], bool] | None = None
) -> Tensor:
    """Algorithm 1: alternate M-step and E-step until the labels stand still.

    Parameters
    ----------
    training : Training
        Its model is trained in place, and its history is extended by one record an iteration.
    w : Tensor of shape (n, K)
        Initial soft labels of all samples.
    on_iteration : callable (training, w) -> bool, optional
        Called after each iteration; True ends the training.

    Returns
    -------
    w : Tensor of shape (n, K)
        P(c|x) by the trained E-net.

    Raises
    ------
    Divergence, KeyboardInterrupt
        The model is then as it was after the last complete iteration.
    """
    model = training.model
    fix_known(w, training)
    while not training.ended:
        if training.history:
            w = reseed_empty_clusters(w)
        training.set_rates()
        model.phi = w.mean(dim=0)
        start, before = time.perf_counter(), model.to_numpy()
        try:
            loss_g, loss_d = m_step(training, w)
            loss_e = e_step(training, w)
            new_w = fix_known(finite(model.posterior(training.source)), training)
            finite(torch.stack([p.detach().sum() for net in model.modules() for p in net.parameters()]))
        except (Divergence, KeyboardInterrupt):
            model.from_numpy(before).to(model.device)  # which puts the networks into evaluation mode, too
            raise
        record, w = describe(new_w, w), new_w
        training.iteration += 1
        record |= {"loss_g": loss_g, "loss_d": loss_d, "loss_e": loss_e, "seconds": time.perf_counter() - start}
        training.history.append({"iteration": training.iteration, "phi": model.phi.cpu().numpy(), **record})
        training.stopped = on_iteration(training, w) if on_iteration else False
    model.phi = w.mean(dim=0)
    return w


def fix_known(w: Tensor, training: Training) -> Tensor:
    """Set w of the labelled samples to their labels, in place."""
    if len(training.known):
        w[training.known] = F.one_hot(training.labels, w.shape[1]).to(w.dtype)
    return w


def reseed_empty_clusters(w: Tensor) -> Tensor:
    """Give each cluster that no sample prefers half of the largest one: the half that the E-net is less sure of."""
    w, counts = w.clone(), torch.bincount(w.argmax(dim=1), minlength=w.shape[1])
    for empty in (counts == 0).nonzero().flatten().tolist():
        largest = int(counts.argmax())
        members = (w.argmax(dim=1) == largest).nonzero().flatten()
        if len(members) < 2:
            break
        half = members[w[members, largest].argsort()[: len(members) // 2]]
        w[half] = 0.0
        w[half, empty] = 1.0
        counts = torch.bincount(w.argmax(dim=1), minlength=w.shape[1])
    return w


def describe(new_w: Tensor, w: Tensor) -> dict[str, float]:
    """Summarise an E-step: mean confidence, share of changed labels, empty clusters."""
    labels = new_w.argmax(dim=1)
    sizes = torch.bincount(labels, minlength=w.shape[1])
    return {
        "confidence": float(new_w.amax(dim=1).mean()),
        "change": float((labels != w.argmax(dim=1)).float().mean()),
        "n_empty": int((sizes == 0).sum()),
    }
