import numpy as np
import pytest

from skganem.core.em.criterion import view_mutual_information
from tests.conftest import SignClassifier, state_of


def test_the_criterion_is_mutual_information():
    state = state_of(np.linspace(-1, 1, 100)[:, None], n_clusters=2)
    state.model.e_net = SignClassifier()
    assert view_mutual_information(state) == pytest.approx(np.log(2), abs=1e-4)
    state.model.e_net = SignClassifier(0.0)
    assert view_mutual_information(state) == pytest.approx(0, abs=1e-4)
