import numpy as np
import pytest
import torch
from torch import nn

from skganem import Recipe
from skganem.core.em import e_step
from skganem.core.em.loop import expectation_maximization
from tests.conftest import SignClassifier, fit_core, one_hot, state_of, weights


@pytest.mark.parametrize(
    ("decay", "shares"),
    [(0.0, [0, 0, 0, 1]), (1.0, [1 / 4, 1 / 4, 1 / 4, 1 / 4]), (0.5, [1 / 8, 1 / 8, 1 / 4, 1 / 2])],
    ids=["last", "plain mean", "exponential mean"],
)
def test_the_e_net_gets_the_mean_of_its_weights_in_a_round(blobs, monkeypatch, decay, shares):
    state = state_of(blobs[0], e_ema_decay=decay, min_e_steps=4, e_rounds=1)
    seen, e_net_step = [], e_step.e_net_step

    def spy(*arguments):
        loss = e_net_step(*arguments)
        seen.append(weights(state.model.e_net))
        return loss

    monkeypatch.setattr(e_step, "e_net_step", spy)
    e_step.e_step(state, one_hot(blobs[1], 3))
    wanted = sum(share * each for share, each in zip(shares, seen, strict=True))
    torch.testing.assert_close(weights(state.model.e_net), wanted)
    assert not torch.allclose(seen[0], seen[3])


def test_the_e_net_learns_from_generated_samples_alone(blobs):
    """Eq. 5 by itself: with a perfect generator, E labels real samples without ever having seen one."""
    X, y = blobs
    changes = {"n_warmup_iter": 0, "consistency_weight": 0.0, "discriminator_weighting": False}
    state = state_of(X, **changes, min_e_steps=300, width=16)
    x = state.dataset.get_batch(slice(None))

    class Resample(nn.Module):
        def forward(self, zc):
            c = zc[:, -3:].argmax(1).numpy()
            pick = (zc[:, 0].numpy() + 1) / 2
            pools = [np.flatnonzero(y == i) for i in range(3)]
            return x[[pools[i][int(p * (len(pools[i]) - 1))] for i, p in zip(c, pick)]]

    state.model.generator.body = Resample()
    e_step.e_step(state, torch.full((len(X), 3), 1 / 3))
    assert (state.model.posterior(state.dataset).argmax(1).numpy() == y).mean() > 0.95


def test_generated_samples_count_from_the_start_where_nothing_else_teaches(blobs):
    assert fit_core(blobs[0], consistency_weight=0.0, n_warmup_iter=2).history[0]["loss_e"] > 0


@pytest.mark.parametrize("recipe", [Recipe.paper(), Recipe.released()])
def test_the_e_step_of_the_paper_is_equation_5(blobs, recipe, monkeypatch):
    """Its batches are generated samples alone, each with its class and with weight 1, whatever D and the last E-net say."""
    seen = []
    e_loss = e_step.e_loss
    monkeypatch.setattr(e_step, "e_loss", lambda state, batches: seen.extend(batches) or e_loss(state, batches))
    state = state_of(blobs[0], **vars(recipe.but(m_epochs=1, min_e_steps=3, width=4, max_iter=2)))
    expectation_maximization(state, torch.full((150, 3), 1 / 3))
    assert len(seen) == 6
    for x, target, weight in seen:
        assert len(x) == recipe.e_batch_size
        assert torch.equal(target.sort(dim=1).values, torch.tensor([0.0, 0.0, 1.0]).expand(len(x), 3))
        assert torch.equal(weight, torch.ones(len(x)))


@pytest.mark.parametrize(("consistency_weight", "sizes"), [(1.0, [15, 30]), (0.0, [30])])
def test_there_are_half_as_many_generated_samples_as_real_ones_and_a_whole_batch_of_them_alone(
    blobs, monkeypatch, consistency_weight, sizes
):
    seen, e_loss = [], e_step.e_loss
    monkeypatch.setattr(e_step, "e_loss", lambda state, batches: seen.append(batches) or e_loss(state, batches))
    changes = {"n_warmup_iter": 0, "e_rounds": 1, "min_e_steps": 3, "e_batch_size": 30}
    state = state_of(blobs[0], **changes, consistency_weight=consistency_weight)
    e_step.e_step(state, one_hot(blobs[1], 3))
    assert [[len(batch.x) for batch in batches] for batches in seen] == [[size] for size in sizes] * 3


def test_the_learning_rate_of_the_e_net_falls_with_the_iterations(blobs):
    state = state_of(blobs[0], max_iter=4, learning_rates=(1e-3, 1e-3, 2e-3), n_warmup_iter=0)
    rates = []
    for state.iteration in range(4):
        e_step.e_step(state, one_hot(blobs[1], 3))
        rates.append(state.optimizers[2].param_groups[0]["lr"])
    assert rates == pytest.approx([2e-3 * (0.5 + 0.5 * np.cos(np.pi * i / 4)) for i in range(4)])


def test_classes_are_drawn_by_phi():
    phi = torch.tensor([0.5, 0.3, 0.0, 0.2])
    counts = torch.bincount(e_step.classes_by_prior(phi, 1000, torch.Generator().manual_seed(0)), minlength=4)
    assert (counts - 1000 * phi).abs().max() <= 1


def test_confidence_is_0_where_w_is_uniform_and_1_where_it_is_one_hot():
    assert e_step.normalized_confidence(torch.full((2, 4), 0.25)).abs().max() == 0
    assert torch.equal(e_step.normalized_confidence(one_hot([0, 3], 4)), torch.ones(2))
    assert torch.equal(e_step.normalized_confidence(torch.ones(2, 1)), torch.zeros(2))


def test_generated_samples_weigh_one_when_the_discriminator_cannot_tell(blobs):
    state = state_of(blobs[0])
    for parameter in state.model.discriminator.output.parameters():
        parameter.data.zero_()
    assert torch.equal(e_step.generated_batch(state, 8).weight, torch.ones(8))
    state.model.discriminator.output.bias.data.fill_(-20)
    assert e_step.generated_batch(state, 8).weight.max() < 1e-6


def test_with_sharpening_generated_samples_weigh_as_much_as_the_last_e_net_believes_them(blobs):
    torch.testing.assert_close(e_step.sharpen(torch.tensor([[0.6, 0.4]]), 2), torch.tensor([[0.36, 0.16]]) / 0.52)
    state = state_of(blobs[0], n_clusters=2, sharpening=3.0)
    for parameter in state.model.discriminator.output.parameters():
        parameter.data.zero_()
    state.previous_e_net = SignClassifier(0.0)
    torch.testing.assert_close(e_step.generated_batch(state, 8).weight, torch.full((8,), 0.25))
    state.previous_e_net = SignClassifier()
    assert set(e_step.generated_batch(state, 64).weight.round().tolist()) == {0, 1}


@pytest.mark.parametrize(("images", "tol"), [(True, 0.02), (False, 0.005)])
@pytest.mark.parametrize(
    ("excess", "max_steps", "n_rounds"), [(-0.001, 40, 1), (0.001, 40, 4), (0.001, 39, 3), (0.001, 1000, 4)]
)
def test_an_e_step_has_rounds_until_the_e_net_agrees(blobs, digits, monkeypatch, images, tol, excess, max_steps, n_rounds):
    X, shape = (digits[0], (1, 8, 8)) if images else (blobs[0], None)
    state, rounds = state_of(X, shape=shape, e_rounds=4, min_e_steps=10, max_e_steps=max_steps), []
    monkeypatch.setattr(e_step, "disagreement_rate", lambda state, w: tol + excess)
    monkeypatch.setattr(e_step, "e_round", lambda *args: rounds.append(1) or [torch.zeros(())])
    e_step.e_step(state, torch.full((len(X), 3), 1 / 3))
    assert len(rounds) == n_rounds


def test_an_e_step_is_longer_for_more_samples():
    recipe = Recipe().but(min_e_steps=30, e_epochs=5, max_e_steps=100, e_batch_size=16)
    assert [e_step.n_e_steps(recipe, n) for n in (1, 96, 160, 320, 10**6)] == [30, 30, 50, 100, 100]
    with pytest.raises(ValueError, match="min_e_steps=200 is more than max_e_steps=100"):
        recipe.but(min_e_steps=200)


# Labels


def test_labeled_samples_are_in_every_batch_in_the_proportions_phi(blobs, monkeypatch):
    seen, e_loss = [], e_step.e_loss
    monkeypatch.setattr(e_step, "e_loss", lambda state, batches: seen.append(batches) or e_loss(state, batches))
    state = state_of(blobs[0], e_batch_size=128, min_e_steps=10, e_rounds=1)
    state.labeled_index, state.labels = torch.tensor([3, 5, 7]), torch.tensor([2, 0, 2])
    state.model.phi = torch.tensor([0.75, 0.0, 0.25])
    e_step.e_step(state, torch.full((150, 3), 1 / 3))
    assert [len(batches) for batches in seen] == [2] * 10  # real samples and labeled ones; none is generated at first
    labels = torch.cat([batches[1].target for batches in seen])
    assert len(labels) == 10 * 64
    torch.testing.assert_close(labels.mean(dim=0), state.model.phi, atol=0.07, rtol=0)


def test_the_paper_s_rule_trains_on_labels_until_the_error_is_small(blobs):
    X, y = blobs
    state = state_of(X, e_epsilon=0.05, min_e_steps=400, consistency_weight=0.0)
    state.labeled_index, state.labels = torch.arange(30), torch.as_tensor(y[:30])
    e_step.fit_labeled(state, 0.05)
    x = state.dataset.get_batch(slice(0, 30))
    state.model.e_net.eval()
    assert (state.model.e_net(x).argmax(1).numpy() == y[:30]).mean() >= 0.9


def test_labels_that_are_learned_at_once_are_not_trained_on_for_long(blobs, monkeypatch):
    state = state_of(blobs[0], e_epsilon=1.0, min_e_steps=1000, max_e_steps=1000, consistency_weight=0.0)
    state.labeled_index, state.labels = torch.arange(30), torch.as_tensor(blobs[1][:30])
    steps = []
    monkeypatch.setattr(e_step, "gradient_step", lambda optimizer, loss: steps.append(loss))
    e_step.fit_labeled(state, 1.0)
    assert len(steps) == 1


def test_labels_that_contradict_each_other_are_not_trained_on_for_ever(blobs, monkeypatch):
    state = state_of(blobs[0], e_epsilon=0.0, min_e_steps=30, consistency_weight=0.0)
    state.labeled_index, state.labels = torch.tensor([0, 0]), torch.tensor([0, 1])
    steps = []
    monkeypatch.setattr(e_step, "gradient_step", lambda optimizer, loss: steps.append(loss))
    e_step.fit_labeled(state, 0.0)
    assert len(steps) == 30


def test_an_interrupted_update_of_batch_norm_leaves_its_momentum_as_it_was(digits):
    state = state_of(digits[0], shape=(1, 8, 8))
    norms = [layer for layer in state.model.e_net.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    state.dataset.get_batch = lambda index: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        e_step.update_bn(state)
    assert momenta == [layer.momentum for layer in norms] != []
