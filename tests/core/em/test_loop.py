"""The EM loop: what its steps change, and how it ends."""

import importlib

import numpy as np
import pytest
import torch

from skganem.core.em import loop
from skganem.core.em.e_step import e_step
from skganem.core.em.m_step import m_step
from skganem.core.em.state import DivergenceError
from tests.conftest import count_calls, dataset_of, fit_core, one_hot, state_of, weights


def test_each_step_trains_its_own_networks_only(blobs):
    state = state_of(blobs[0], n_warmup_iter=0)
    w = one_hot(blobs[1], 3)
    before = [weights(m) for m in state.model.networks()]
    m_step(state, w)
    after_m = [weights(m) for m in state.model.networks()]
    assert not torch.equal(before[0], after_m[0])
    assert not torch.equal(before[1], after_m[1])
    assert torch.equal(before[2], after_m[2])
    e_step(state, w)
    after_e = [weights(m) for m in state.model.networks()]
    assert torch.equal(after_m[0], after_e[0])
    assert torch.equal(after_m[1], after_e[1])
    assert not torch.equal(after_m[2], after_e[2])


def test_nothing_generates_while_w_still_changes(blobs, monkeypatch):
    calls = count_calls(monkeypatch, loop, "m_step", "e_step")
    generated = count_calls(monkeypatch, importlib.import_module("skganem.core.em.e_step"), "generated_batch")
    state = state_of(blobs[0], max_iter=4, n_warmup_iter=2, tol=0.0)
    before = [weights(network) for network in state.model.networks()[:2]]
    seen = []

    def note(state, w):
        seen.append((list(calls), bool(generated), [weights(network) for network in state.model.networks()[:2]]))
        calls.clear(), generated.clear()

    loop.expectation_maximization(state, one_hot(blobs[1], 3), note)
    assert [each[:2] for each in seen] == [(["e_step"], False)] * 2 + [(["m_step", "e_step"], True)] * 2
    for network in (0, 1):
        assert torch.equal(before[network], seen[0][2][network])
        assert torch.equal(before[network], seen[1][2][network])
        assert not torch.equal(before[network], seen[2][2][network])
    assert np.isnan([[record["loss_g"], record["loss_d"]] for record in state.history[:2]]).all()
    assert np.isfinite([[record["loss_g"], record["loss_d"]] for record in state.history[2:]]).all()


def test_labels_that_stand_end_the_time_without_the_generator(blobs, monkeypatch):
    """Then follows one iteration with it, which ends the training."""
    calls = count_calls(monkeypatch, loop, "m_step")
    state = state_of(blobs[0], max_iter=30, n_warmup_iter=20, tol=0.1, min_e_steps=60)
    loop.expectation_maximization(state, one_hot(blobs[1], 3))
    assert state.converged
    assert calls == ["m_step"]
    assert state.iteration < 6
    assert np.isnan([record["loss_g"] for record in state.history]).tolist() == [True] * (state.iteration - 1) + [False]


def test_each_iteration_is_told_when_it_begins_and_when_it_ends(blobs):
    told, state = [], state_of(blobs[0], max_iter=2, tol=0.0)

    def begin(state):
        told.append(("begin", state.iteration))

    loop.expectation_maximization(state, one_hot(blobs[1], 3), lambda state, w: told.append(("end", state.iteration)), begin)
    assert told == [("begin", 0), ("end", 1), ("begin", 1), ("end", 2)]


def test_phi_is_the_share_of_each_cluster(blobs):
    state = state_of(blobs[0], max_iter=1)
    w = torch.rand(len(blobs[0]), 3)
    w /= w.sum(1, keepdim=True)
    loop.expectation_maximization(state, w.clone())
    np.testing.assert_allclose(state.history[0]["phi"], w.mean(0).numpy(), rtol=1e-6)


def test_phi_is_that_of_w_where_a_cluster_ends_empty():
    """A cluster that the last E-step left empty is not reseeded: the generator has not learned what it would hold."""
    result = fit_core(np.ones((20, 2)), n_clusters=3, max_iter=3, tol=0.0)
    assert result.history[-1]["n_empty"] > 0
    torch.testing.assert_close(result.model.phi, result.w.mean(dim=0))
    torch.testing.assert_close(result.w, result.model.posterior(dataset_of(np.ones((20, 2)))))


def test_the_metrics_of_an_iteration():
    new_w = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    record = loop.iteration_metrics(new_w, one_hot([0, 1, 1, 2], 3))
    assert record == {"confidence": pytest.approx(0.75), "label_change": 0.5, "n_empty": 1}


def test_an_empty_cluster_gets_the_uncertain_half_of_the_largest():
    w = torch.zeros(10, 3)
    w[:7, 0] = torch.linspace(0.6, 0.9, 7)
    w[:7, 1] = 1 - w[:7, 0]
    w[7:, 1] = 1.0
    w = loop.reseed_empty_clusters(w)
    labels = w.argmax(1).tolist()
    assert labels == [2, 2, 2, 0, 0, 0, 0, 1, 1, 1]


def test_w_of_labeled_samples_stays_one_hot(blobs):
    X, _ = blobs
    state = state_of(X, max_iter=2)
    state.labeled_index, state.labels = torch.tensor([3, 5]), torch.tensor([2, 0])
    seen = []
    loop.expectation_maximization(state, torch.full((len(X), 3), 1 / 3), lambda _, w: seen.append(w[[3, 5]].clone()))
    for w in seen:
        assert torch.equal(w, one_hot([2, 0], 3))


def test_divergence_keeps_the_last_good_model(blobs):
    X, y = blobs
    state = state_of(X, max_iter=5, tol=0.0)
    models = []

    def poison(state, w):
        models.append(state.model.to_numpy())
        if state.iteration == 2:
            state.recipe = state.recipe.but(generator_loss=lambda logits, c: logits.sum() * float("nan"))
        return False

    with pytest.raises(DivergenceError):
        loop.expectation_maximization(state, one_hot(y, 3), poison)
    assert len(state.history) == 2
    assert not any(module.training for network in state.model.networks() for module in network.modules())
    for name, value in state.model.to_numpy().items():
        if name != "phi":  # which belongs to the next iteration, and to the E-net as it is kept
            np.testing.assert_array_equal(value, models[-1][name])
    np.testing.assert_allclose(state.model.phi, state.model.posterior(state.dataset).mean(0), atol=1e-5)


def test_a_step_that_ruins_the_weights_counts_as_divergence(blobs):
    """The losses are those before the last update: it alone can bring NaN."""
    X, y = blobs
    state = state_of(X, max_iter=3)

    def poison(state):
        if not state.history:
            return
        step = state.optimizers[2].step

        def ruin(*args, **kwargs):
            step(*args, **kwargs)
            state.model.e_net.output.bias.data.fill_(float("nan"))

        state.optimizers[2].step = ruin

    with pytest.raises(DivergenceError):
        loop.expectation_maximization(state, one_hot(y, 3), on_begin=poison)
    assert len(state.history) == 1
    assert torch.isfinite(state.model.posterior(state.dataset)).all()


def test_every_iteration_has_new_optimizers(blobs):
    X, y = blobs
    remembered = []
    state = state_of(X, max_iter=3, n_warmup_iter=0, tol=0)
    loop.expectation_maximization(
        state,
        one_hot(y, 3),
        on_iteration=lambda state, w: remembered.append([len(o.state) > 0 for o in state.optimizers]) or False,
        on_begin=lambda state: remembered.append([len(o.state) > 0 for o in state.optimizers]),
    )
    assert remembered == [[False] * 3, [True] * 3] * 3
