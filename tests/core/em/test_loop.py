"""The EM loop, its two steps, and every seam at which a part can be exchanged."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from skganem import GANEMClustering, Networks, Recipe
from skganem.core.em import e_step, m_step
from skganem.core.em import loop as em
from skganem.core.em.state import Divergence, Training, rate_factor
from skganem.core.features.transforms import ImageWarp
from skganem.core.fit import Problem, agreement, augmentation, fit, neighbour_graph
from skganem.core.init import responsibilities as initial
from skganem.core.losses import gan as losses
from skganem.core.networks.mixture import Layout, Model
from skganem.core.runtime.device import autocast, frozen, resolve_precision
from tests.conftest import fast_recipe, source_of

CPU = torch.device("cpu")


def training_of(X, n_clusters=3, shape=None, **changes):
    source, recipe = source_of(X, shape), fast_recipe(**changes)
    model = Model(Layout(source.shape, n_clusters, recipe.n_noise, recipe.width), recipe.networks, 0, CPU)
    return Training(model, source, recipe, torch.Generator().manual_seed(0), torch.float32)


def weights(module):
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def one_hot(y, n_clusters):
    return torch.nn.functional.one_hot(torch.as_tensor(y), n_clusters).float()


def test_each_step_trains_its_own_networks_only(blobs):
    training = training_of(blobs[0], n_unheard=0)
    w = one_hot(blobs[1], 3)
    before = [weights(m) for m in training.model.modules()]
    m_step.m_step(training, w)
    after_m = [weights(m) for m in training.model.modules()]
    assert not torch.equal(before[0], after_m[0])
    assert not torch.equal(before[1], after_m[1])
    assert torch.equal(before[2], after_m[2])
    e_step.e_step(training, w)
    after_e = [weights(m) for m in training.model.modules()]
    assert torch.equal(after_m[0], after_e[0])
    assert torch.equal(after_m[1], after_e[1])
    assert not torch.equal(after_m[2], after_e[2])


def test_the_generator_learns_the_clusters(blobs):
    """After M-steps with known w, the samples of each class lie where that class lies."""
    X, y = blobs
    training = training_of(X, min_m_steps=400, max_m_steps=400, width=16)
    m_step.m_step(training, one_hot(y, 3))
    x = training.source.batch(slice(None))
    centres = torch.stack([x[torch.as_tensor(y == i)].mean(0) for i in range(3)])
    generated = training.model.sample(torch.arange(3).repeat_interleave(200), torch.Generator().manual_seed(1))
    nearest = torch.cdist(generated, centres).argmin(1)
    assert (nearest == torch.arange(3).repeat_interleave(200)).float().mean() > 0.9


@pytest.mark.parametrize("given", ["auto", ImageWarp()])
def test_an_e_step_can_warp_images_less_than_the_encoder_and_leaves_their_contrast(given):
    recipe = fast_recipe(augmentation=given, e_strength=0.5)
    problem = Problem(source_of(np.zeros((4, 64)), (1, 8, 8)), 2, recipe, torch.float32)
    assert problem.change == ImageWarp()
    assert augmentation(problem, None) == replace(ImageWarp().scaled(0.5), contrast=0.0)


@pytest.mark.parametrize(
    ("decay", "shares"),
    [(0.0, [0, 0, 0, 1]), (1.0, [1 / 4, 1 / 4, 1 / 4, 1 / 4]), (0.5, [1 / 8, 1 / 8, 1 / 4, 1 / 2])],
    ids=["last", "plain mean", "running mean"],
)
def test_the_e_net_gets_the_mean_of_its_weights_in_a_round(blobs, monkeypatch, decay, shares):
    training = training_of(blobs[0], e_averaging=decay, min_e_steps=4, e_rounds=1)
    seen, e_batch = [], e_step.e_batch

    def spy(*arguments):
        loss = e_batch(*arguments)
        seen.append(weights(training.model.e_net))
        return loss

    monkeypatch.setattr(e_step, "e_batch", spy)
    e_step.e_step(training, one_hot(blobs[1], 3))
    wanted = sum(share * each for share, each in zip(shares, seen, strict=True))
    torch.testing.assert_close(weights(training.model.e_net), wanted)
    assert not torch.allclose(seen[0], seen[3])


def test_the_e_net_learns_from_generated_samples_alone(blobs):
    """Eq. 5 by itself: with a perfect generator, E labels real samples without ever having seen one."""
    X, y = blobs
    training = training_of(X, n_unheard=0, consistency=0.0, weigh_generated=False, min_e_steps=300, width=16)
    x = training.source.batch(slice(None))

    class Resample(nn.Module):
        def forward(self, zc):
            c = zc[:, -3:].argmax(1).numpy()
            pick = (zc[:, 0].numpy() + 1) / 2
            pools = [np.flatnonzero(y == i) for i in range(3)]
            return x[[pools[i][int(p * (len(pools[i]) - 1))] for i, p in zip(c, pick)]]

    training.model.generator.body = Resample()
    e_step.e_step(training, torch.full((len(X), 3), 1 / 3))
    assert (training.model.posterior(training.source).argmax(1).numpy() == y).mean() > 0.95


def test_phi_is_the_share_of_each_cluster(blobs):
    training = training_of(blobs[0], max_iter=1)
    w = torch.rand(len(blobs[0]), 3)
    w /= w.sum(1, keepdim=True)
    em.expectation_maximization(training, w.clone())
    np.testing.assert_allclose(training.history[0]["phi"], w.mean(0).numpy(), rtol=1e-6)


def test_classes_are_drawn_by_phi_and_uniformly():
    rng = torch.Generator().manual_seed(0)
    phi = torch.tensor([0.5, 0.3, 0.0, 0.2])
    counts = torch.bincount(e_step.classes_by_prior(phi, 1000, rng), minlength=4)
    assert (counts - 1000 * phi).abs().max() <= 1
    counts = torch.bincount(m_step.balanced_classes(65, 4, rng), minlength=4)
    assert counts.max() - counts.min() <= 1


def test_uniform_w_is_not_taught_to_the_e_net(blobs):
    assert e_step.certainty(torch.full((2, 4), 0.25)).abs().max() == 0
    assert torch.equal(e_step.certainty(one_hot([0, 3], 4)), torch.ones(2))
    assert torch.equal(e_step.certainty(torch.ones(2, 1)), torch.zeros(2))


def test_generated_samples_weigh_one_when_the_discriminator_cannot_tell(blobs):
    training = training_of(blobs[0])
    for parameter in training.model.discriminator.output.parameters():
        parameter.data.zero_()
    _, _, weight = e_step.generated_batch(training, 8)
    assert torch.equal(weight, torch.ones(8))
    training.model.discriminator.output.bias.data.fill_(-20)
    assert e_step.generated_batch(training, 8)[2].max() < 1e-6


class Certain(nn.Module):
    """Logits (n, 2) that are sure of a sample's class: whether its first value is positive."""

    def __init__(self, scale=40.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * one_hot((x.flatten(1)[:, 0] > 0).long(), 2)


def test_with_sharpening_generated_samples_weigh_as_much_as_the_last_e_net_believes_them(blobs):
    torch.testing.assert_close(e_step.sharpen(torch.tensor([[0.6, 0.4]]), 2), torch.tensor([[0.36, 0.16]]) / 0.52)
    training = training_of(blobs[0], n_clusters=2, sharpening=3.0)
    for parameter in training.model.discriminator.output.parameters():
        parameter.data.zero_()
    training.previous_e_net = Certain(0.0)
    torch.testing.assert_close(e_step.generated_batch(training, 8)[2], torch.full((8,), 0.25))
    training.previous_e_net = Certain()
    assert set(e_step.generated_batch(training, 64)[2].round().tolist()) == {0, 1}


@pytest.mark.parametrize(("images", "tolerance"), [(True, 0.02), (False, 0.005)])
@pytest.mark.parametrize(("apart", "most", "number"), [(-0.001, 40, 1), (0.001, 40, 4), (0.001, 39, 3), (0.001, 1000, 4)])
def test_an_e_step_has_rounds_until_the_e_net_agrees(blobs, digits, monkeypatch, images, tolerance, apart, most, number):
    X, shape = (digits[0], (1, 8, 8)) if images else (blobs[0], None)
    training, rounds = training_of(X, shape=shape, e_rounds=4, min_e_steps=10, max_e_steps=most), []
    monkeypatch.setattr(e_step, "disagreement", lambda training, w: tolerance + apart)
    monkeypatch.setattr(e_step, "e_round", lambda *args: rounds.append(1) or [torch.zeros(())])
    e_step.e_step(training, torch.full((len(X), 3), 1 / 3))
    assert len(rounds) == number


def test_labelled_samples_are_in_every_batch_in_the_proportions_phi(blobs, monkeypatch):
    seen, e_loss = [], e_step.e_loss
    monkeypatch.setattr(e_step, "e_loss", lambda training, parts: seen.append(parts) or e_loss(training, parts))
    training = training_of(blobs[0], e_batch_size=128, min_e_steps=10, e_rounds=1)
    training.known, training.labels = torch.tensor([3, 5, 7]), torch.tensor([2, 0, 2])
    training.model.phi = torch.tensor([0.75, 0.0, 0.25])
    e_step.e_step(training, torch.full((150, 3), 1 / 3))
    assert [len(parts) for parts in seen] == [2] * 10  # real samples and labelled ones; none is generated at first
    labels = torch.cat([parts[1][1] for parts in seen])
    assert len(labels) == 10 * 64
    torch.testing.assert_close(labels.mean(dim=0), training.model.phi, atol=0.07, rtol=0)


def test_labelled_samples_are_in_a_small_graph(blobs):
    known = torch.tensor([5, 70, 140])
    recipe = fast_recipe(graph_size=20)
    problem = Problem(source_of(blobs[0]), 3, recipe, torch.float32, known=known, labels=torch.arange(3))
    for seed in range(3):
        model = Model(problem.layout, recipe.networks, 0, CPU)
        found = neighbour_graph(problem, model, torch.Generator().manual_seed(seed), lambda text: None)
        assert torch.isin(known, found.members).all()
        assert len(found.members) == 20


@pytest.mark.parametrize(
    ("records", "settled"),
    [
        ([(0, 0), (0.1, 0)], True),
        ([(0.2, 0), (0, 0)], False),
        ([(0, 0), (0.2, 0)], False),
        ([(0, 0), (0, 1)], False),
        ([(0, 0)], False),
    ],
)
def test_training_has_settled_when_labels_stand_still_twice_and_no_cluster_is_empty(blobs, records, settled):
    training = training_of(blobs[0], tol=0.1, n_unheard=1)
    training.history = [{"change": change, "n_empty": n_empty} for change, n_empty in [(0, 0), *records]]
    assert training.settled == settled


def test_the_record_of_an_iteration():
    new_w = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0]])
    record = em.describe(new_w, one_hot([0, 1, 1, 2], 3))
    assert record == {"confidence": pytest.approx(0.75), "change": 0.5, "n_empty": 1}


def test_the_criterion_is_mutual_information():
    training = training_of(np.linspace(-1, 1, 100)[:, None], n_clusters=2)
    training.model.e_net = Certain()
    assert agreement(training) == pytest.approx(np.log(2), abs=1e-4)
    training.model.e_net = Certain(0.0)
    assert agreement(training) == pytest.approx(0, abs=1e-4)


def test_an_empty_cluster_gets_the_uncertain_half_of_the_largest():
    w = torch.zeros(10, 3)
    w[:7, 0] = torch.linspace(0.6, 0.9, 7)
    w[:7, 1] = 1 - w[:7, 0]
    w[7:, 1] = 1.0
    w = em.reseed_empty_clusters(w)
    labels = w.argmax(1).tolist()
    assert labels == [2, 2, 2, 0, 0, 0, 0, 1, 1, 1]


def test_known_labels_stay_one_hot(blobs):
    X, _ = blobs
    training = training_of(X, max_iter=2)
    training.known, training.labels = torch.tensor([3, 5]), torch.tensor([2, 0])
    seen = []
    em.expectation_maximization(training, torch.full((len(X), 3), 1 / 3), lambda t, w: seen.append(w[[3, 5]].clone()))
    for w in seen:
        assert torch.equal(w, one_hot([2, 0], 3))


def test_the_paper_s_rule_trains_on_labels_until_the_error_is_small(blobs):
    X, y = blobs
    training = training_of(X, e_epsilon=0.05, min_e_steps=400, consistency=0.0)
    training.known, training.labels = torch.arange(30), torch.as_tensor(y[:30])
    e_step.fit_labelled(training, 0.05)
    x = training.source.batch(slice(0, 30))
    training.model.e_net.eval()
    assert (training.model.e_net(x).argmax(1).numpy() == y[:30]).mean() >= 0.9


def test_labels_that_are_learned_at_once_are_not_trained_on_for_long(blobs, monkeypatch):
    training = training_of(blobs[0], e_epsilon=1.0, min_e_steps=1000, max_e_steps=1000, consistency=0.0)
    training.known, training.labels = torch.arange(30), torch.as_tensor(blobs[1][:30])
    steps = []
    monkeypatch.setattr(e_step, "update", lambda optimizer, loss: steps.append(loss))
    e_step.fit_labelled(training, 1.0)
    assert len(steps) == 1


def test_labels_that_contradict_each_other_are_not_learned_for_ever(blobs, monkeypatch):
    training = training_of(blobs[0], e_epsilon=0.0, min_e_steps=30, consistency=0.0)
    training.known, training.labels = torch.tensor([0, 0]), torch.tensor([0, 1])
    steps = []
    monkeypatch.setattr(e_step, "update", lambda optimizer, loss: steps.append(loss))
    e_step.fit_labelled(training, 0.0)
    assert len(steps) == 30


def test_an_interrupted_recalibration_leaves_batch_norm_as_it_was(digits):
    training = training_of(digits[0], shape=(1, 8, 8))
    norms = [layer for layer in training.model.e_net.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    training.source.batch = lambda index: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        e_step.recalibrate(training)
    assert momenta == [layer.momentum for layer in norms] != []


def test_phi_is_that_of_the_labels_where_a_cluster_ends_empty():
    """A cluster that the last E-step left empty is not filled again: the generator has not learned what it would hold."""
    solution = solve(np.ones((20, 2)), n_clusters=3, max_iter=3, tol=0.0)
    assert solution.history[-1]["n_empty"] > 0
    torch.testing.assert_close(solution.model.phi, solution.w.mean(dim=0))
    torch.testing.assert_close(solution.w, solution.model.posterior(source_of(np.ones((20, 2)))))


@pytest.mark.parametrize(("init", "heard"), [("uniform", True), ("random", True), ("kmeans", False), ("graph", False)])
def test_a_beginning_that_says_nothing_leaves_the_generator_to_teach(blobs, init, heard, monkeypatch):
    calls, generated_batch = [], e_step.generated_batch
    monkeypatch.setattr(e_step, "generated_batch", lambda *arguments: calls.append(1) or generated_batch(*arguments))
    solve(blobs[0], init=init, n_unheard=2, max_iter=2)
    assert bool(calls) == heard
    calls.clear()
    known = torch.arange(30)
    recipe = fast_recipe(init=init, n_unheard=2, max_iter=2)
    fit(Problem(source_of(blobs[0]), 3, recipe, torch.float32, known=known, labels=torch.from_numpy(blobs[1])[known]), 0)
    assert not calls  # labels teach the E-net


def test_divergence_keeps_the_last_good_state(blobs):
    X, y = blobs
    training = training_of(X, max_iter=5)
    states = []

    def poison(t, w):
        states.append(t.model.to_numpy())
        if t.iteration == 2:
            t.recipe = t.recipe.but(generator_loss=lambda logits, c: logits.sum() * float("nan"))
        return False

    with pytest.raises(Divergence):
        em.expectation_maximization(training, one_hot(y, 3), poison)
    assert len(training.history) == 2
    assert not any(module.training for network in training.model.modules() for module in network.modules())
    for name, value in training.model.to_numpy().items():
        if name != "phi":  # which belongs to the next iteration, and to the E-net as it is kept
            np.testing.assert_array_equal(value, states[-1][name])
    np.testing.assert_allclose(training.model.phi, training.model.posterior(training.source).mean(0), atol=1e-5)


@pytest.mark.parametrize(("matrices", "vectors"), [(True, True), (False, True), (False, False)])
def test_images_are_computed_in_bfloat16_where_the_processor_multiplies_in_it(monkeypatch, matrices, vectors):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    fast = torch.bfloat16 if vectors else torch.float32
    assert resolve_precision("auto", CPU, (1, 8, 8)) == fast
    assert resolve_precision("auto", CPU, (64,)) == torch.float32
    assert resolve_precision("float32", CPU, (1, 8, 8)) == torch.float32


def test_gradients_do_not_depend_on_the_autocast_of_other_threads():
    torch.manual_seed(0)
    net, x, y = nn.Linear(64, 64), torch.rand(32, 64), torch.rand(32, 64)

    def gradient(meanwhile):
        with autocast(CPU, torch.bfloat16):
            first = net(x)
            meanwhile()
            loss = (first.float().square() + net(y).float().square()).mean()
        return torch.autograd.grad(loss, net.weight)[0]

    assert torch.equal(gradient(lambda: None), gradient(torch.clear_autocast_cache))


def test_the_smallest_batches_of_labelled_images(digits):
    X, y = digits
    known = torch.arange(30)
    recipe = fast_recipe(consistency=0.0, e_batch_size=2, max_iter=1)
    problem = Problem(source_of(X, (1, 8, 8)), 10, recipe, torch.float32, known=known, labels=torch.as_tensor(y[:30]))
    assert fit(problem, 0).end == "exhausted"


def test_rates_fall_as_the_recipe_says(blobs):
    paper = Recipe.paper()
    assert rate_factor(paper, 3) == pytest.approx(0.98**3)
    default = Recipe()
    factors = [rate_factor(default, i) for i in range(default.max_iter)]
    assert factors[0] == 1
    assert all(a > b > 0 for a, b in pairwise(factors))
    training = training_of(blobs[0], decay=0.5, learning_rates=(1e-3, 2e-3, 3e-3))
    training.iteration = 1
    training.set_rates()
    assert [o.param_groups[0]["lr"] for o in training.optimizers] == [5e-4, 1e-3, 1.5e-3]


def test_paper_recipe():
    """Section 5.1 and Appendix B.1, number by number."""
    paper = Recipe.paper()
    assert paper.init == "uniform"
    assert paper.optimizer == "rmsprop"
    assert paper.learning_rates == (2e-4, 2e-4, 2e-4)
    assert paper.decay == 0.98
    assert (paper.m_epochs, paper.batch_size, m_step.m_steps(paper, 64 * 100)) == (5, 64, 500)
    assert (e_step.e_steps(paper, 1), e_step.e_steps(paper, 10**6), paper.e_batch_size) == (1000, 1000, 256)
    assert paper.lipschitz == "clip"
    assert (paper.generator_loss, paper.discriminator_loss) == ("likelihood", "all")
    assert paper.augmentation is None
    assert paper.consistency == 0
    assert (paper.width, paper.n_noise) == (64, 62)
    assert (paper.max_iter, paper.tol, paper.e_averaging, paper.sharpening, paper.e_epsilon) == (20, 0, 0, 1, 0)


def test_released_recipe():
    released = Recipe.released()
    assert (released.optimizer, released.learning_rates, released.lipschitz) == ("adam", (6e-4, 2e-4, 6e-5), None)
    assert (released.batch_size, released.e_batch_size, released.init) == (70, 200, "uniform")


def test_names_of_objectives():
    assert m_step.objectives(Recipe.paper()) == (losses.generator_likelihood, losses.discriminator_all)
    assert m_step.objectives(Recipe.released()) == (losses.generator_one_hot, losses.discriminator_all)
    assert m_step.objectives(Recipe()) == (losses.generator_normalized_likelihood, losses.discriminator_own)
    assert m_step.objectives(Recipe().but(generator_loss="non_saturating"))[0] is losses.generator_non_saturating


@pytest.mark.parametrize("recipe", [Recipe.paper(), Recipe.released()])
def test_the_e_step_of_the_paper_is_equation_5(blobs, recipe, monkeypatch):
    """Its batches are generated samples alone, each with its class and with weight 1, whatever D and the last E-net say."""
    seen = []
    e_loss = e_step.e_loss
    monkeypatch.setattr(e_step, "e_loss", lambda training, parts: seen.extend(parts) or e_loss(training, parts))
    training = training_of(blobs[0], **vars(recipe.but(m_epochs=1, min_e_steps=3, width=4, max_iter=2)))
    em.expectation_maximization(training, torch.full((150, 3), 1 / 3))
    assert len(seen) == 6
    for x, target, weight in seen:
        assert len(x) == recipe.e_batch_size
        assert torch.equal(target.sort(dim=1).values, torch.tensor([0.0, 0.0, 1.0]).expand(len(x), 3))
        assert torch.equal(weight, torch.ones(len(x)))


# The seams


def solve(X, n_clusters=3, shape=None, **changes):
    source = source_of(X, shape)
    return fit(Problem(source, n_clusters, fast_recipe(**changes), torch.float32), 0)


def test_own_networks(digits):
    built = []

    def body(shape, width):
        built.append(shape)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.Tanh())

    def generator(shape, n_inputs, width):
        return nn.Sequential(nn.Linear(n_inputs, 64), nn.Tanh(), nn.Unflatten(1, shape))

    solution = solve(digits[0], shape=(1, 8, 8), networks=Networks(generator, body, body))
    assert built == [(1, 8, 8)] * 4  # E, D, and the encoders of the features for the graph
    assert solution.model.e_net.n_features == 7
    assert len(solution.history) == 2


def test_own_networks_may_have_layers_of_three_dimensions(digits):
    def body(shape, width):
        return nn.Sequential(nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 2, (1, 3, 3)), nn.Flatten(), nn.Tanh())

    solution = solve(digits[0], shape=(1, 8, 8), networks=Networks(e_net=body))
    assert solution.model.e_net.n_features == 72
    assert len(solution.history) == 2


@pytest.mark.parametrize("loss", ["likelihood", "normalized_likelihood", "non_saturating", "one_hot"])
@pytest.mark.parametrize("discriminator_loss", ["all", "own"])
def test_named_objectives(blobs, loss, discriminator_loss):
    solution = solve(blobs[0], generator_loss=loss, discriminator_loss=discriminator_loss)
    assert np.isfinite([record["loss_g"] for record in solution.history]).all()


def test_own_objectives(blobs):
    calls = []

    def loss_g(logits, c):
        calls.append("g")
        return -logits[:, -1].mean()

    def loss_d(real, w, fake, c, phi):
        calls.append("d")
        return (fake[:, -1] - real[:, -1]).relu().mean()

    solve(blobs[0], generator_loss=loss_g, discriminator_loss=loss_d, max_iter=1)
    assert calls == ["d", "g"] * (len(calls) // 2)
    assert len(calls) >= 6


def test_clipping_bounds_the_generator(blobs):
    solution = solve(blobs[0], lipschitz="clip", clip=0.03)
    matrices = [p for p in solution.model.generator.parameters() if p.dim() > 1]
    assert max(float(p.detach().abs().max()) for p in matrices) <= 0.03 + 1e-9
    assert max(float(p.detach().abs().max()) for p in solve(blobs[0]).model.generator.parameters() if p.dim() > 1) > 0.03


def test_r1_is_the_squared_gradient():
    discriminator = nn.Linear(2, 3, bias=False)
    x, w = torch.randn(5, 2), one_hot([0, 1, 0, 1, 0], 2)
    weight = discriminator.weight.detach()
    gradient = w @ weight[:2] + weight[2]
    assert m_step.gradient_penalty(discriminator, x, w).item() == pytest.approx(
        float(gradient.square().sum(1).mean()), rel=1e-5
    )


@pytest.mark.parametrize("lipschitz", ["r1", lambda discriminator, x, w, step: 0.1 * discriminator(x).square().mean()])
def test_other_constraints(blobs, lipschitz):
    plain, constrained = solve(blobs[0]), solve(blobs[0], lipschitz=lipschitz)
    assert not torch.equal(weights(plain.model.discriminator), weights(constrained.model.discriminator))


@pytest.mark.parametrize("init", ["graph", "kmeans", "random", "uniform"])
def test_initial_w(blobs, init, monkeypatch):
    seen = []
    monkeypatch.setattr(em, "m_step", lambda training, w: seen.append(w) or (0.0, 0.0))
    assert solve(blobs[0], init=init, max_iter=1).w.shape == (150, 3)
    torch.testing.assert_close(seen[0].sum(dim=1), torch.ones(150))
    spread = float(seen[0].std(dim=0).min())
    assert spread == 0 if init == "uniform" else spread > 0.1


def test_random_w_is_uniform_on_the_simplex():
    w = initial.random_w(4000, 3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(w.mean(dim=0), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    torch.testing.assert_close(w.var(dim=0), torch.full((3,), 1 / 18), atol=0.005, rtol=0)


def test_own_augmentation(digits):
    calls = []

    def augment(x, index, rng):
        calls.append(index is None)
        return x + 0.1 * torch.randn(x.shape, generator=rng)

    solve(digits[0], shape=(1, 8, 8), augmentation=augment)
    assert True in calls
    assert False in calls


def test_image_warp_keeps_form_and_draws_from_its_generator():
    x = torch.rand(6, 3, 16, 20) * 2 - 1
    a, b, c = (ImageWarp()(x, None, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert a.shape == x.shape
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    still = ImageWarp(angle=0, shear=0, stretch=0, shift=0, elastic=0, contrast=0, colour=0)
    assert torch.allclose(still(x, None, torch.Generator()), x, atol=1e-5)
    assert torch.allclose(still(x[:, :1], None, torch.Generator()), x[:, :1], atol=1e-5)


def test_image_warp_follows_torchs_default_dtype():
    """Whichever it was when images of this size were first warped."""
    x = torch.rand(2, 1, 9, 11)
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            assert ImageWarp()(x.to(dtype), None, torch.Generator().manual_seed(0)).dtype == dtype
        finally:
            torch.set_default_dtype(torch.float32)


def test_another_contrast_scales_what_differs_from_the_border():
    """By another factor for each image."""
    x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).repeat(20, 1, 1, 1)
    x[:, :, [0, -1]] = x[:, :, :, [0, -1]] = -0.5
    changed = ImageWarp(angle=0, shear=0, stretch=0, shift=0, elastic=0)(x, None, torch.Generator().manual_seed(0))
    factors = (changed + 0.5)[:, 0, 4, 4] / (x + 0.5)[:, 0, 4, 4]
    torch.testing.assert_close(changed, (x + 0.5) * factors[:, None, None, None] - 0.5)
    assert len(factors.unique()) == 20
    assert 0.36 < factors.min() < 0.6
    assert 1.7 < factors.max() < 2.72


@dataclass(frozen=True)
class Negatives(ImageWarp):
    """Also inverts images."""

    often: float = 0.5

    def __call__(self, x, index, rng):
        return -super().__call__(x, index, rng)


def test_a_warp_of_ones_own_stays_one_when_it_is_scaled():
    own = Negatives(angle=0.2, often=1.0).scaled(0.5)
    assert isinstance(own, Negatives)
    assert (own.angle, own.often) == (0.1, 1.0)
    problem = Problem(source_of(np.zeros((4, 64)), (1, 8, 8)), 2, fast_recipe(augmentation=Negatives()), torch.float32)
    assert isinstance(augmentation(problem, None), Negatives)


def test_a_step_that_ruins_the_weights_is_noticed(blobs):
    """The losses are those before the last update: it alone can bring NaN."""
    X, y = blobs
    training = training_of(X, max_iter=3)

    def poison(t, w):
        step = t.optimizers[2].step

        def ruin(*args, **kwargs):
            step(*args, **kwargs)
            t.model.e_net.output.bias.data.fill_(float("nan"))

        t.optimizers[2].step = ruin
        return False

    with pytest.raises(Divergence):
        em.expectation_maximization(training, one_hot(y, 3), poison)
    assert torch.isfinite(training.model.posterior(training.source)).all()


def test_frozen_parameters_of_ones_own_networks_stay_frozen():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


def test_generated_samples_are_heard_where_nothing_else_teaches(blobs):
    assert solve(blobs[0], consistency=0.0, n_unheard=2).history[0]["loss_e"] > 0


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match="init must be one of graph, kmeans, random, uniform, got 'kmean'"):
        Recipe().but(init="kmean")


def test_an_e_step_is_longer_for_more_samples():
    recipe = Recipe().but(min_e_steps=30, e_epochs=5, max_e_steps=100, e_batch_size=16)
    assert [e_step.e_steps(recipe, n) for n in (1, 96, 160, 320, 10**6)] == [30, 30, 50, 100, 100]
    with pytest.raises(ValueError, match="min_e_steps=200 is more than max_e_steps=100"):
        recipe.but(min_e_steps=200)


def test_unknown_recipe_field_is_named():
    with pytest.raises(ValueError, match="a recipe has no learning_rate;"):
        Recipe().but(learning_rate=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_e_steps": -5}, "min_e_steps must be an int of 1 or more"),
        ({"width": "a"}, "width must be an int of 1 or more"),
        ({"batch_size": 1}, "batch_size must be an int of 2 or more"),
        ({"n_noise": True}, "n_noise must be an int"),
        ({"tol": 5}, "tol must be a number from 0 to 1"),
        ({"sharpening": 0}, "sharpening must be a number from 1e-12 to 16"),
        ({"temperature": float("nan")}, "temperature must be a number"),
        ({"sharpening": None}, "sharpening must be a number"),
        ({"learning_rates": 1e-3}, "learning_rates must be three numbers"),
        ({"learning_rates": (1e-3, 1e-3)}, "learning_rates must be three numbers"),
        ({"networks": len}, "networks must be a Networks"),
        ({"init": "spectral"}, "init must be one of"),
    ],
)
def test_a_recipe_refuses_what_would_not_work(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe().but(**change)


def test_numbers_of_a_grid_are_as_good_as_others(digits):
    """Of NumPy's, a checkpoint would be refused, and torch takes them for no shape of an image."""
    drawn = {"width": np.int64(4), "batch_size": np.int16(16), "tol": np.float64(0.5), "learning_rates": [np.float64(1)] * 3}
    plain = {"width": 4, "batch_size": 16, "tol": 0.5, "learning_rates": (1.0, 1.0, 1.0)}
    assert repr(Recipe().but(**drawn)) == repr(Recipe().but(**plain))
    recipe = fast_recipe(max_iter=1, representation_steps=1)
    model = GANEMClustering(np.int64(2), recipe=recipe, width=np.int64(4)).fit(digits[0])
    assert type(model._model.layout.n_clusters) is int


def test_a_rotation_is_one_of_pixels():
    """Also of images that are not square: what it does to the pixels' places keeps lengths and angles."""
    matrices = ImageWarp(shear=0, stretch=0)._matrices(5, 64 / 16, torch.Generator().manual_seed(0))[:, :, :2]
    side = torch.diag(torch.tensor([32.0, 8.0]))
    of_pixels = side @ matrices @ side.inverse()
    torch.testing.assert_close(of_pixels @ of_pixels.mT, torch.eye(2).expand(5, 2, 2))
    assert (of_pixels[:, 0, 1].abs() > 0.01).any()
