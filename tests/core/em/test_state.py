from itertools import pairwise

import pytest

from skganem import Recipe
from skganem.core.em.state import learning_rate_factor
from tests.conftest import state_of


@pytest.mark.parametrize(
    ("records", "converged"),
    [
        ([(0, 0), (0.1, 0)], True),
        ([(0.2, 0), (0, 0)], False),
        ([(0, 0), (0.2, 0)], False),
        ([(0, 0), (0, 1)], False),
        ([(0, 0)], False),
    ],
)
def test_training_converges_when_labels_do_not_change_twice_and_no_cluster_is_empty(blobs, records, converged):
    state = state_of(blobs[0], tol=0.1, n_warmup_iter=1)
    state.history = [{"label_change": change, "n_empty": n_empty} for change, n_empty in [(0, 0), *records]]
    assert state.converged == converged


def test_learning_rates_decay_as_the_recipe_says(blobs):
    paper = Recipe.paper()
    assert learning_rate_factor(paper, 3) == pytest.approx(0.98**3)
    default = Recipe()
    factors = [learning_rate_factor(default, i) for i in range(default.max_iter)]
    assert factors[0] == 1
    assert all(a > b > 0 for a, b in pairwise(factors))
    state = state_of(blobs[0], lr_decay=0.5, learning_rates=(1e-3, 2e-3, 3e-3))
    state.iteration = 1
    state.update_learning_rates()
    assert [o.param_groups[0]["lr"] for o in state.optimizers] == [5e-4, 1e-3, 1.5e-3]
