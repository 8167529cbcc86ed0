"""The EM loop: Algorithm 1 of the paper."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from skganem.core.em.e_step import e_step
from skganem.core.em.m_step import m_step, update_phi
from skganem.core.em.state import DivergenceError, EMState, check_finite


def expectation_maximization(
    state: EMState,
    w: Tensor,
    on_iteration: Callable[[EMState, Tensor], bool] | None = None,
    on_begin: Callable[[EMState], None] | None = None,
) -> Tensor:
    """Algorithm 1: alternate M-step and E-step until the labels no longer change.

    Parameters
    ----------
    state : EMState
        Its model is trained in place, and its history is extended by one record an iteration.
    w : Tensor of shape (n, K)
        Initial responsibilities of all samples.
    on_iteration : callable (state, w) -> bool, optional
        Called after each iteration; True ends the training.
    on_begin : callable (state), optional
        Called before each iteration.

    Returns
    -------
    w : Tensor of shape (n, K)
        P(c|x) by the trained E-net.

    Raises
    ------
    DivergenceError, KeyboardInterrupt
        The model is then as it was after the last complete iteration.
    """
    model = state.model
    clamp_labels(w, state)
    while not state.should_stop:
        if state.history:
            w = reseed_empty_clusters(w)
        state.reset_optimizers()
        if on_begin:
            on_begin(state)
        update_phi(state, w)
        start, before = time.perf_counter(), model.to_numpy()
        try:
            # While nothing uses the generator, it is not trained: w still changes, and it would learn w as it was.
            loss_g, loss_d = m_step(state, w) if state.generated_weight else (math.nan, math.nan)
            loss_e = e_step(state, w)
            new_w = clamp_labels(check_finite(model.posterior(state.dataset)), state)
            check_finite(torch.stack([p.detach().sum() for net in model.networks() for p in net.parameters()]))
        except (DivergenceError, KeyboardInterrupt):
            model.from_numpy(before).to(model.device)  # which puts the networks into evaluation mode, too
            raise
        record, w = iteration_metrics(new_w, w), new_w
        state.iteration += 1
        record |= {"loss_g": loss_g, "loss_d": loss_d, "loss_e": loss_e, "seconds": time.perf_counter() - start}
        state.history.append({"iteration": state.iteration, "phi": model.phi.cpu().numpy(), **record})
        state.stop_requested = on_iteration(state, w) if on_iteration else False
    update_phi(state, w)
    return w


def clamp_labels(w: Tensor, state: EMState) -> Tensor:
    """Set w of the labeled samples to their labels, in place."""
    if len(state.labeled_index):
        w[state.labeled_index] = F.one_hot(state.labels, w.shape[1]).to(w.dtype)
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


def iteration_metrics(new_w: Tensor, w: Tensor) -> dict[str, float]:
    """Summarize an E-step: mean confidence, fraction of changed labels, number of empty clusters."""
    labels = new_w.argmax(dim=1)
    sizes = torch.bincount(labels, minlength=w.shape[1])
    return {
        "confidence": float(new_w.amax(dim=1).mean()),
        "label_change": float((labels != w.argmax(dim=1)).float().mean()),
        "n_empty": int((sizes == 0).sum()),
    }
