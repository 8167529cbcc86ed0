"""Results that are kept."""

import joblib
import numpy as np
import pytest

from skganem.core.em.checkpoint import Checkpoint
from skganem.core.runtime.cache import remember


@pytest.fixture
def compute():
    def compute():
        compute.n_calls += 1
        return {"a": np.arange(3), "b": None}

    compute.n_calls = 0
    return compute


@pytest.mark.parametrize("memory", [None, joblib.Memory(None)])
def test_without_memory_each_is_computed(memory, compute):
    for _ in range(2):
        remember(memory, None, "name", "key", compute)
    assert compute.n_calls == 2


def test_a_result_is_found_by_its_name_and_its_key(tmp_path, compute):
    memory = joblib.Memory(tmp_path, verbose=0)
    for name, key in (("a", "1"), ("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")):
        found = remember(memory, None, name, key, compute)
        assert found["a"].tolist() == [0, 1, 2]
        assert found["b"] is None
    assert compute.n_calls == 3
    assert remember(memory, None, "a", "1", None)["a"].tolist() == [0, 1, 2]  # whatever would compute it


def test_what_cannot_be_read_is_made_anew_with_a_warning(tmp_path, compute):
    memory = joblib.Memory(tmp_path / "kept", verbose=0)
    remember(memory, None, "a", "1", compute)
    for path in tmp_path.rglob("output.pkl"):
        path.write_bytes(b"garbage")
    with pytest.warns(UserWarning, match=r"memory in .*kept could not be used") as caught:
        assert remember(memory, None, "a", "1", compute)["b"] is None
    assert len(caught) == 1
    assert compute.n_calls == 2
    for _ in range(2):
        remember(memory, None, "a", "1", compute)
    assert compute.n_calls == 2


def test_what_is_no_longer_there_is_made_without_a_warning(tmp_path, compute):
    memory = joblib.Memory(tmp_path, verbose=0)
    for n_calls in (1, 2):
        remember(memory, None, "a", "1", compute)
        assert compute.n_calls == n_calls
        for path in tmp_path.rglob("output.pkl"):
            path.unlink()


def test_memory_comes_before_what_else_keeps(tmp_path, compute):
    asked, memory = [], joblib.Memory(tmp_path, verbose=0)

    def keep(name, key, compute):
        asked.append((name, key))
        return compute()

    for _ in range(2):
        remember(memory, keep, "a", "1", compute)
    assert (asked, compute.n_calls) == ([("a", "1")], 1)
    remember(None, keep, "a", "1", compute)
    assert (asked, compute.n_calls) == ([("a", "1")] * 2, 2)


def test_a_checkpoint_keeps_the_result_of_one_key(tmp_path, compute):
    checkpoint = Checkpoint(tmp_path / "init_1.safetensors")
    for key, n_calls in (("1", 1), ("1", 1), ("2", 2), ("1", 3)):
        found = checkpoint.keep("neighbors", key, compute)
        np.testing.assert_array_equal(found["a"], np.arange(3))
        assert found["b"] is None
        assert compute.n_calls == n_calls
    checkpoint.keep("encoder", "1", compute)
    assert compute.n_calls == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["init_1_encoder.safetensors", "init_1_neighbors.safetensors"]
    assert checkpoint.read() is None
