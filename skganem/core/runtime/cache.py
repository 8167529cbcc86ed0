"""Results that another fit finds again: kept by `joblib.Memory` under a key of everything that they depend on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, TypeAlias

import joblib

#: (name, key, compute) -> the result of `compute`, or what it was before with the same name and key
Keep: TypeAlias = Callable[[str, str, Callable[[], Any]], Any]


def remember(memory: joblib.Memory | None, keep: Keep | None, name: str, key: str, compute: Callable[[], Any]) -> Any:
    """Return the result of `compute`, or what it was when it was last asked for with this name and key.

    It is looked for in memory first, then where `keep` has it; without either, it is computed each time. An entry of the
    memory that can't be read is computed anew, with a warning; joblib logs why.
    """
    if keep is not None:
        compute = partial(keep, name, key, compute)
    if memory is None or memory.location is None:
        return compute()
    # joblib keeps the function's code beside the results, and remembers by the function's object that it wrote it, whatever
    # the folder. A new object has it looked for in this one.
    recall = FunctionType(_recall.__code__, globals(), _recall.__name__)
    cached, calls = memory.cache(recall, ignore=["compute"]), []

    def noted() -> Any:
        calls.append(name)
        return compute()

    was_kept = cached.check_call_in_cache(name, key, noted)
    result = cached(name, key, noted)
    if was_kept and calls:
        text = f"An entry of the memory in {memory.location} could not be used, and was made anew."
        warnings.warn(text, UserWarning, stacklevel=2)
    return result


def _recall(name: str, key: str, compute: Callable[[], Any]) -> Any:
    """Compute: joblib keeps the result by `name` and `key`."""
    return compute()
