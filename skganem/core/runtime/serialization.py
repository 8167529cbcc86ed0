"""Arrays and plain values in one file, from which nothing is ever executed: safetensors, with JSON in its header."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch

#: Of files written now; a reader refuses files of a higher one.
VERSION = 1
#: Type codes of long floats, real and complex, which differ between machines.
LONG_FLOATS = "gG"
#: The dataclasses that a file may hold, by name; see `register_record`.
RECORDS: dict[str, type] = {}
#: Values that a file only names, since they hold functions; see `register_constant`.
CONSTANTS: dict[str, Any] = {}

Record = TypeVar("Record", bound=type)


def register_record(cls: Record) -> Record:
    """Let files hold instances of a dataclass: a decorator."""
    RECORDS[cls.__name__] = cls
    return cls


def register_constant(name: str, value: Any) -> None:
    """Let files hold a value, or one that equals it, by its name."""
    CONSTANTS[name] = value


class NotPlainError(TypeError):
    """A value can't be written without code."""


def write(path: str | os.PathLike[str], kind: str, value: Any) -> None:
    """Write a value to a file, which appears there whole or not at all.

    Parameters
    ----------
    path : path-like
    kind : str
        What it is; `read` asks for it.
    value : object
        Of dicts, lists, tuples, strings, paths, numbers, None, arrays, dtypes, devices and this package's records.

    Raises
    ------
    NotPlainError
        If the value has a part of another kind, such as a function.
    """
    save = safetensors("safetensors.numpy").save
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(encode(value, arrays))
    head = {"format": "skganem", "version": str(VERSION), "kind": kind, "value": text}
    data = save(arrays, {**head, "digest": digest(head, arrays)})
    with new_file(path) as file:
        file.write(data)


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write to, which appears at `path` whole at the end of the block, or not at all if that raises."""
    path = Path(path).resolve()  # a link stays one
    temporary = path.with_name(f"{uuid.uuid4().hex}.part")  # not by tempfile: only its owner could read it
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str], kind: str) -> Any:
    """Read what `write` wrote.

    Raises
    ------
    ValueError
        If the file is damaged, was written by something else, holds something else, or is of a newer version.
    """
    library = safetensors("safetensors")
    try:
        with library.safe_open(path, framework="np") as file:
            head = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (library.SafetensorError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is damaged, or no file of skganem's: {error}") from error
    if head.get("format") != "skganem":
        raise ValueError(f"{path} was not written by skganem.")
    version = head.get("version", "")
    if version.isdecimal() and int(version) > VERSION:
        raise ValueError(f"{path} was written by a newer version of skganem: its format is {version}, not {VERSION}.")
    stated = head.pop("digest", None)
    if stated != digest(head, arrays):
        raise ValueError(f"{path} is damaged: its contents are not those that were written.")
    if head["kind"] != kind:
        raise ValueError(f"{path} holds a {head['kind']}, not a {kind}.")
    try:
        return decode(json.loads(head["value"]), arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} was written by another version of skganem: {error}") from error


def safetensors(module: str) -> ModuleType:
    """Import a module of the package, or say how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            "Models in files and checkpoints need the package safetensors: python -m pip install safetensors."
        ) from error


def digest(head: dict[str, str], arrays: dict[str, np.ndarray]) -> str:
    """Return a checksum of everything in a file: safetensors itself has none."""
    total = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Turn a value into what JSON has, and put its arrays into `arrays`; what JSON lacks is tagged by ``"$"``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray)) and value.dtype.char in LONG_FLOATS:
        raise NotPlainError(f"{value!r} can't be written to a file: its numbers are longer than a file's.")
    if isinstance(value, np.generic):
        times = value.dtype.kind in "mM"  # whose items are of other types
        return {"$": "scalar", "array": encode(np.array(value), arrays)} if times else encode(value.item(), arrays)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, torch.Tensor):
        return {"$": "tensor", "array": encode(value.detach().cpu().contiguous().numpy(), arrays)}
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "mM":
            return {"$": "times", "dtype": value.dtype.str, "array": encode(value.astype(np.int64), arrays)}
        if value.dtype.kind not in "biuf":
            return {"$": "objects", "dtype": value.dtype.str, "items": encode(value.tolist(), arrays)}
        name = str(len(arrays))
        arrays[name] = np.array(value, order="C", dtype=value.dtype.newbyteorder("="))
        return {"$": "array", "name": name}
    if isinstance(value, (np.dtype, torch.device)):
        return {"$": "dtype" if isinstance(value, np.dtype) else "device", "name": str(value)}
    if isinstance(value, (list, tuple)):
        return {"$": "list" if isinstance(value, list) else "tuple", "items": [encode(item, arrays) for item in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"$": "dict", "items": {key: encode(item, arrays) for key, item in value.items()}}
    for name, constant in CONSTANTS.items():
        if type(value) is type(constant) and value == constant:
            return {"$": "constant", "name": name}
    if type(value) in RECORDS.values():
        items = {field.name: encode(getattr(value, field.name), arrays) for field in fields(value)}
        return {"$": type(value).__name__, "items": items}
    raise NotPlainError(f"{value!r} can't be written to a file without code.")


def decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Turn what `encode` made back into the value."""
    if not isinstance(value, dict):
        return value
    match value["$"]:
        case "tensor":
            return torch.from_numpy(decode(value["array"], arrays))
        case "array":
            return arrays[value["name"]]
        case "scalar":
            return decode(value["array"], arrays)[()]
        case "times":
            return decode(value["array"], arrays).astype(value["dtype"])
        case "objects":
            return np.array(decode(value["items"], arrays), dtype=np.dtype(value["dtype"]))
        case "dtype":
            return np.dtype(value["name"])
        case "device":
            return torch.device(value["name"])
        case "list":
            return [decode(item, arrays) for item in value["items"]]
        case "tuple":
            return tuple(decode(item, arrays) for item in value["items"])
        case "dict":
            return {key: decode(item, arrays) for key, item in value["items"].items()}
        case "constant":
            return CONSTANTS[value["name"]]
        case record:
            return RECORDS[record](**{key: decode(item, arrays) for key, item in value["items"].items()})
