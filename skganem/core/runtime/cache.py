"""Results that another fit finds again: kept by `joblib.Memory` under a key of everything that they depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import joblib

Result = TypeVar("Result")


def remember(memory: joblib.Memory | None, name: str, key: str, compute: Callable[[], Result]) -> Result:
    """Return the result of `compute`, or what it was when it was last asked for with this name and key.

    Without a memory, it is computed each time. An entry that can't be read is computed anew, with a warning in joblib's log.
    """
    if memory is None or memory.location is None:
        return compute()
    result: Result = memory.cache(_recall, ignore=["compute"])(name, key, compute)
    return result


def _recall(name: str, key: str, compute: Callable[[], Any]) -> Any:
    """Compute: joblib keeps the result by `name` and `key`."""
    return compute()
