import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from skganem import ImageWarp, Recipe
from skganem.core.networks.architectures import PAPER_NETWORKS
from skganem.core.runtime import serialization


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


ARRAYS = [
    *(np.arange(6).reshape(2, 3).astype(dtype) for dtype in serialization.DTYPES.values()),
    np.arange(6, dtype=">f8"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(6)[::-2],
    np.array(2.5),
    np.empty((0, 3), np.float32),
    np.array([np.nan, -0.0, np.inf]),
]


def test_arrays_survive_a_file(tmp_path):
    serialization.write(tmp_path / "x", "value", ARRAYS)
    for array, kept in zip(ARRAYS, serialization.read(tmp_path / "x", "value"), strict=True):
        assert kept.dtype == array.dtype.newbyteorder("=")
        assert kept.flags.writeable
        assert kept.flags.aligned
        np.testing.assert_array_equal(kept, array)
        assert kept.tobytes() == array.astype(kept.dtype).tobytes()  # of -0, too


def test_the_package_safetensors_reads_a_file(tmp_path):
    serialization.write(tmp_path / "x", "value", ARRAYS)
    arrays = load_file(tmp_path / "x")
    assert len(arrays) == len(ARRAYS)
    for number, array in enumerate(ARRAYS):
        np.testing.assert_array_equal(arrays[str(number)], array)


def test_a_file_of_the_package_safetensors_is_another_ones(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file({"x": np.zeros(3)}, tmp_path / "x", metadata)
        with pytest.raises(ValueError, match="was not written by skganem"):
            serialization.read(tmp_path / "x", "value")


PLACE = {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}
HEAD = {"format": "skganem", "version": "1", "kind": "value", "value": '{"$": "array", "name": "a"}'}
FORGED = {
    "no place": {"a": {}},
    "no array": {},
    "another shape": {"a": {**PLACE, "shape": [3]}},
    "a negative shape": {"a": {**PLACE, "shape": [-1, -2]}},
    "another dtype": {"a": {**PLACE, "dtype": "O"}},
    "beyond the end": {"a": {**PLACE, "data_offsets": [0, 1 << 40]}},
    "before the beginning": {"a": {**PLACE, "data_offsets": [-16, 16]}},
    "one place twice": {"a": PLACE, "b": PLACE},
    "words": {"a": {**PLACE, "data_offsets": ["0", "16"]}},
    "a list": {"a": [1, 2]},
}
FORGED_VALUES = {
    "deep": "[" * 100_000,
    "no JSON": "value",
    "no such record": '{"$": "Bomb", "items": {}}',
    "a field that no record has": '{"$": "ImageWarp", "items": {"command": 1}}',
    "a list for a tag": '{"$": [1]}',
    "no tag": "{}",
    "no items": '{"$": "dict", "items": 3}',
    "a number for times": '{"$": "times", "dtype": "M8[s]", "array": 3}',
    "no device": '{"$": "device", "name": "abacus"}',
}


@pytest.mark.parametrize("case", [*FORGED, *FORGED_VALUES])
def test_a_forged_file_is_refused(tmp_path, case):
    """Its checksum is right: whoever forges a file can make one."""
    head = {**HEAD, "value": FORGED_VALUES.get(case, HEAD["value"])}
    header, body = {serialization.METADATA: head, **FORGED.get(case, {"a": PLACE})}, bytes(16)
    header[serialization.METADATA] = {**head, "digest": serialization.digest(header, [body])}
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + body)
    with pytest.raises(ValueError, match="was written by another version"):
        serialization.read(tmp_path / "x", "value")


@pytest.mark.parametrize(
    "header", [b"3", b"[]", b'"a"', b"{", b'{"__metadata__": 3}', b'{"__metadata__": {"format": 1}}', b"[" * 100_000]
)
def test_a_header_that_is_none_is_refused(tmp_path, header):
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="is damaged, or no file of skganem's"):
        serialization.read(tmp_path / "x", "value")
