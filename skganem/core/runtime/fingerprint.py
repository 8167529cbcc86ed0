"""Fingerprints of values, by which one fit is told from another across processes."""

from __future__ import annotations

import hashlib
import math
from dataclasses import is_dataclass
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

#: Bytes that are read at once to be hashed.
HASH_BYTES = 1 << 24


def fingerprint(*values: Any) -> str:
    """Return a checksum of values, the same in each process."""
    total = hashlib.sha256()
    for value in values:
        total.update(value.cpu().numpy().tobytes() if isinstance(value, Tensor) else stable_repr(value).encode())
    return total.hexdigest()


def hash_array(array: Any) -> str:
    """Return a checksum of an array, or of what is read as one, in blocks."""
    total = hashlib.sha256(repr((str(array.dtype), array.shape)).encode())
    rows = max(1, HASH_BYTES // max(1, array.dtype.itemsize * math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        total.update(np.ascontiguousarray(array[start : start + rows]).data)
    return total.hexdigest()


def stable_repr(value: Any, within: tuple[int, ...] = ()) -> str:
    """Describe a value such that another process gives the same description, and another function another one.

    What a function uses without holding it, such as globals and other functions, is only named.
    `within` has the ids of the values that this one is a part of: a value that contains itself is only named there.
    """
    inner = partial(stable_repr, within=(*within, id(value)))
    kind = type(value)
    if id(value) in within or isinstance(value, type):
        named = value if isinstance(value, type) else kind
        return f"{named.__module__}.{named.__qualname__}"
    match value:
        case FunctionType():
            enclosed = [cell_contents(cell) for cell in value.__closure__ or ()]
            parts = [value.__code__, value.__defaults__, value.__kwdefaults__, enclosed]
            return f"{value.__module__}.{value.__qualname__}{inner(parts)}"
        case np.ndarray():
            content = inner(value.tolist()) if value.dtype.hasobject else hashlib.sha256(value.tobytes()).hexdigest()
            return f"{kind.__name__}{value.dtype}{value.shape}{content}"
        case Tensor():
            values = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            return f"{kind.__name__}{value.dtype}{tuple(value.shape)}{inner(values.numpy())}"
        case nn.Module():
            inherited = vars(nn.Module())
            own = {name: part for name, part in vars(value).items() if name not in inherited}
            weights = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
            return inner([kind, own, weights, list(value.named_children())])
        case CodeType():
            return inner([value.co_code.hex(), value.co_names, value.co_consts])
        case MethodType():
            return inner([value.__func__, value.__self__])
        case BuiltinFunctionType():
            return inner([kind, value.__qualname__, value.__self__])
        case ModuleType():
            return value.__name__
        case partial():
            return inner([value.func, value.args, value.keywords])
        case list() | tuple():
            return f"{kind.__name__}[{', '.join(map(inner, value))}]"
        case set() | frozenset():
            return f"{kind.__name__}[{', '.join(sorted(map(inner, value)))}]"
        case dict():
            return f"{kind.__name__}[{', '.join(f'{inner(key)}: {inner(item)}' for key, item in value.items())}]"
    if sp.issparse(value):
        return inner([kind, value.shape, *sp.find(value)])
    if hasattr(value, "to_numpy"):  # a data frame, whose repr is cut short
        return inner([kind, value.to_numpy()])
    shown, held = repr(value), getattr(value, "__dict__", {})
    address = " at 0x" in shown and not isinstance(value, (str, bytes))  # which is another one in another process
    return inner([kind, held]) if address or is_dataclass(value) or (held and callable(value)) else shown


def cell_contents(cell: CellType) -> Any:
    """Return what an enclosed variable of a function is, or this function where it is not yet anything."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell_contents
