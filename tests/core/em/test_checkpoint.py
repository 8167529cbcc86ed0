import numpy as np
import pytest
import torch

from skganem.core.em.checkpoint import Checkpoint, load_state_dict
from skganem.core.em.loop import expectation_maximization
from tests.conftest import one_hot, state_of


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_ended(blobs, tmp_path, optimizer):
    changes = {"max_iter": 3, "tol": 0.0, "optimizer": optimizer}
    checkpoint, neighbors = Checkpoint(tmp_path / "state", every=2), torch.arange(6).view(3, 2)
    assert checkpoint.read() is None

    def write(state, w):
        if state.iteration < 3:
            checkpoint.write_if_due(state, w, neighbors)

    whole = state_of(blobs[0], **changes)
    w = expectation_maximization(whole, one_hot(blobs[1], 3), write)
    saved = checkpoint.read()
    assert saved["iteration"] == 2
    assert torch.equal(saved["neighbors"], neighbors)
    again = state_of(blobs[0], **changes)
    assert torch.equal(expectation_maximization(again, load_state_dict(again, saved)), w)
    for name in ("loss_d", "loss_e"):
        np.testing.assert_array_equal(*([record[name] for record in state.history] for state in (again, whole)))
