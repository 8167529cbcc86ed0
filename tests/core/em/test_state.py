import math
from itertools import pairwise

import pytest

from skganem import Recipe
from skganem.core.em.state import e_step_rate, m_step_rate
from tests.conftest import state_of


@pytest.mark.parametrize(
    ("records", "converged"),
    [
        ([(0, 0), (0.1, 0)], True),
        ([(1, 1), (0, 0), (0.1, 0)], True),
        ([(0, 0), (0.2, 0), (0, 0)], False),
        ([(0, 0), (0, 0), (0.2, 0)], False),
        ([(0, 0), (0, 0), (0, 1)], False),
        ([(0, 0), (0, 1), (0, 0)], False),
        ([(0, 0)], False),
        ([], False),
    ],
)
def test_training_converges_when_labels_do_not_change_twice_and_no_cluster_is_empty(blobs, records, converged):
    state = state_of(blobs[0], tol=0.1, n_warmup_iter=1)
    state.history = [{"label_change": change, "n_empty": n_empty, "loss_g": 1.0} for change, n_empty in records]
    assert state.labels_converged == state.converged == converged


@pytest.mark.parametrize("generated_weight", [0.0, 1.0])
def test_training_ends_after_an_iteration_with_the_generator_if_there_is_any_use_for_it(blobs, generated_weight):
    state = state_of(blobs[0], tol=0.1, n_warmup_iter=9, max_iter=10, generated_weight=generated_weight)
    state.history, state.iteration = [{"label_change": 0, "n_empty": 0, "loss_g": math.nan}] * 2, 2
    assert state.labels_converged
    assert state.converged == state.should_stop == (generated_weight == 0)
    assert state.generated_weight == generated_weight  # so the generator is trained in the next one
    state.history = [*state.history, {"label_change": 0, "n_empty": 0, "loss_g": 0.7}]
    assert state.converged


def test_without_a_tolerance_labels_never_converge(blobs):
    state = state_of(blobs[0], tol=0.0, n_warmup_iter=9)
    state.history = [{"label_change": 0, "n_empty": 0, "loss_g": math.nan}] * 3
    assert not state.labels_converged
    assert state.generated_weight == 0


@pytest.mark.parametrize(
    ("changes", "informative", "weights"),
    [
        ({}, True, [0, 0, 1]),
        ({}, False, [1, 1, 1]),
        ({"consistency_weight": 0.0}, True, [1, 1, 1]),
        ({"n_warmup_iter": 0}, True, [1, 1, 1]),
        ({"generated_weight": 0.5}, True, [0, 0, 0.5]),
        ({"n_warmup_iter": 9}, True, [0, 0, 1]),  # the last one trains the generator in any case
    ],
)
def test_the_generator_waits_for_w_where_something_else_teaches_the_e_net(blobs, changes, informative, weights):
    state = state_of(blobs[0], **{"n_warmup_iter": 2, "max_iter": 3, **changes})
    state.has_informative_init = informative
    seen = []
    for state.iteration in range(3):
        seen.append(state.generated_weight)
    assert seen == weights


def test_learning_rates_decay_as_the_recipe_says(blobs):
    paper, default = Recipe.paper(), Recipe()
    assert e_step_rate(paper, 3) == m_step_rate(paper, 3, 0.9) == pytest.approx(0.98**3)
    factors = [e_step_rate(default, i) for i in range(default.max_iter)]
    assert factors[0] == 1
    assert all(a > b > 0 for a, b in pairwise(factors))
    assert e_step_rate(default, default.max_iter) == pytest.approx(0)
    assert [m_step_rate(default, i, part) for i in (0, 5) for part in (0, 0.25, 0.5)] == [1] * 6
    falling = [m_step_rate(default, 0, part) for part in (0.5, 0.6, 0.9, 0.99)]
    assert all(a > b > 0 for a, b in pairwise(falling))
    assert m_step_rate(default, 0, 0.75) == pytest.approx(0.5)
    assert m_step_rate(default, 0, 1.0) == pytest.approx(0)


def test_a_learning_rate_is_a_part_of_the_recipes(blobs):
    state = state_of(blobs[0], learning_rates=(1e-3, 2e-3, 3e-3))
    for network, factor in ((0, 0.5), (2, 0.1), (2, 0.2)):
        state.scale_learning_rate(network, factor)
    assert [o.param_groups[0]["lr"] for o in state.optimizers] == pytest.approx([5e-4, 2e-3, 6e-4])
