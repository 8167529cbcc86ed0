"""The state of the EM loop in a file, from which it goes on as if it had never been interrupted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from skganem.core.data.dataset import Source
from skganem.core.em.state import Training
from skganem.core.runtime import serialization as storage
from skganem.core.runtime.device import get_stream, set_stream, streams

KIND = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often the state of a fit is kept.

    Parameters
    ----------
    path : Path
        The file.
    every : int
        EM iterations from one writing to the next.
    """

    path: Path
    every: int = 1

    def after(self, training: Training, w: Tensor, neighbours: Tensor | None) -> None:
        """Write the state if it is time to: at the beginning, after every few iterations, and at the end."""
        if training.iteration % self.every == 0 or training.ended:
            storage.write(self.path, KIND, state_of(training, w, neighbours))

    def read(self) -> dict[str, Any] | None:
        """Return the state that was written last, if one was.

        Raises
        ------
        ValueError
            If the file is damaged, or no checkpoint.
        """
        state: dict[str, Any] | None = storage.read(self.path, KIND) if self.path.exists() else None
        return state


def state_of(training: Training, w: Tensor, neighbours: Tensor | None) -> dict[str, Any]:
    """Return everything on which the rest of a training depends, besides the data and the recipe."""
    return {
        "model": training.model.to_numpy(),
        "optimizers": [moments(optimizer) for optimizer in training.optimizers],
        "rng": training.rng.get_state(),
        "streams": {stream.type: get_stream(stream) for stream in streams(training.model.device)},
        "iteration": training.iteration,
        "history": training.history,
        "stopped": training.stopped,
        "informed": training.informed,
        "w": w,
        "neighbours": neighbours,
    }


def restore(training: Training, state: dict[str, Any]) -> Tensor:
    """Put a state into a training that was made for the same data and recipe; returns its w."""
    training.model.from_numpy(state["model"])
    for optimizer, kept in zip(training.optimizers, state["optimizers"], strict=True):
        set_moments(optimizer, kept)
    training.rng.set_state(state["rng"])
    for stream in streams(training.model.device):
        set_stream(stream, state["streams"][stream.type])
    for name in ("iteration", "history", "stopped", "informed"):
        setattr(training, name, state[name])
    w: Tensor = state["w"].to(training.model.device)
    return w


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return an optimiser's parameters in order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def moments(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return what an optimiser remembers of each parameter."""
    return [dict(optimizer.state.get(parameter, {})) for parameter in parameters(optimizer)]


def set_moments(optimizer: torch.optim.Optimizer, kept: list[dict[str, Any]]) -> None:
    """Make an optimiser remember what `moments` returned, each tensor laid out in memory as its parameter is."""
    for parameter, state in zip(parameters(optimizer), kept, strict=True):
        if state:
            optimizer.state[parameter] = {name: _like(parameter, value) for name, value in state.items()}


def _like(parameter: Tensor, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.to(parameter.device)


def fingerprint(source: Source, *others: Any) -> str:
    """Return a checksum of the data and of whatever else tells one fit from another."""
    total = hashlib.sha256(repr((source.shape, str(source.array.dtype), source.array.shape)).encode())
    for start in range(0, len(source), 4096):
        total.update(np.ascontiguousarray(source.array[start : start + 4096]).data)
    for other in others:
        total.update(other.cpu().numpy().tobytes() if isinstance(other, Tensor) else identity(other).encode())
    return total.hexdigest()


def identity(value: Any, within: tuple[int, ...] = ()) -> str:
    """Describe a value such that another process gives the same description, and another function another one.

    What a function uses without holding it, such as globals and other functions, is only named.
    `within` has the ids of the values that this one is a part of: a value that contains itself is only named there.
    """
    inner = partial(identity, within=(*within, id(value)))
    kind = type(value)
    if id(value) in within or isinstance(value, type):
        named = value if isinstance(value, type) else kind
        return f"{named.__module__}.{named.__qualname__}"
    match value:
        case FunctionType():
            enclosed = [contents(cell) for cell in value.__closure__ or ()]
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


def contents(cell: CellType) -> Any:
    """Return what an enclosed variable of a function is, or this function where it is not yet anything."""
    try:
        return cell.cell_contents
    except ValueError:
        return contents
