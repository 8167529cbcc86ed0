import numpy as np
import pytest

from skganem import ImageWarp, Recipe
from skganem.core.networks.architectures import PAPER_NETWORKS
from skganem.core.runtime import serialization

pytest.importorskip("safetensors.numpy")


@pytest.mark.parametrize("value", [np.longdouble(0.1), np.array([0.1], dtype=np.longdouble), np.clongdouble(1)])
def test_longer_floats_than_a_file_has_are_refused_by_name(tmp_path, value):
    with pytest.raises(serialization.NotPlainError, match="its numbers are longer"):
        serialization.write(tmp_path / "x", "value", [value])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    [Recipe.paper(), Recipe(augmentation=ImageWarp(angle=0.1)), {"networks": PAPER_NETWORKS, "tuple": (1, [None, "a"], 0.5)}],
    ids=["recipe", "record in a record", "constant"],
)
def test_plain_values_survive_a_file(tmp_path, value):
    serialization.write(tmp_path / "x", "value", value)
    assert serialization.read(tmp_path / "x", "value") == value


def test_functions_are_refused(tmp_path):
    with pytest.raises(serialization.NotPlainError, match="without code"):
        serialization.write(tmp_path / "x", "value", Recipe(augmentation=lambda x, index, rng: x))
    assert not list(tmp_path.iterdir())
