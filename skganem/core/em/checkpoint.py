"""The state of the EM loop in a file, from which it goes on as if it had never been interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from skganem.core.em.state import EMState
from skganem.core.runtime import serialization
from skganem.core.runtime.distributed import current
from skganem.core.runtime.rng import get_rng_state, rng_devices, set_rng_state

KIND = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often the state of a fit is saved.

    Parameters
    ----------
    path : Path
        The file.
    every : int
        EM iterations from one writing to the next.
    """

    path: Path
    every: int = 1

    def write_if_due(self, state: EMState, w: Tensor, neighbors: Tensor | None) -> None:
        """Write the state if it is time to: at the beginning, after every few iterations, and at the end."""
        if state.iteration % self.every == 0 or state.should_stop:
            current().on_first(lambda: serialization.write(self.path, KIND, state_dict(state, w, neighbors)))

    def keep(self, name: str, key: str, compute: Callable[[], Any]) -> Any:
        """Return the result of `compute`, or what it was in this fit before the process died; `key` must be the same."""
        path = self.path.with_name(f"{self.path.stem}_{name}.safetensors")
        kept = serialization.read(path, name) if path.exists() else {}
        if kept.get("key") != key:
            kept = {"key": key, "value": compute()}
            serialization.write(path, name, kept)
        return kept["value"]

    def read(self) -> dict[str, Any] | None:
        """Return the state that was written last, if one was.

        Raises
        ------
        ValueError
            If the file is damaged, or no checkpoint.
        """
        state: dict[str, Any] | None = serialization.read(self.path, KIND) if self.path.exists() else None
        return state


def state_dict(state: EMState, w: Tensor, neighbors: Tensor | None) -> dict[str, Any]:
    """Return everything on which the rest of the training depends, besides the data and the recipe."""
    return {
        "model": state.model.to_numpy(),
        "rng": state.rng.get_state(),
        "streams": {stream.type: get_rng_state(stream) for stream in rng_devices(state.model.device)},
        "iteration": state.iteration,
        "history": state.history,
        "stop_requested": state.stop_requested,
        "has_informative_init": state.has_informative_init,
        "w": w,
        "neighbors": neighbors,
    }


def load_state_dict(state: EMState, saved: dict[str, Any]) -> Tensor:
    """Put a saved state into one that was made for the same data and recipe; returns its w."""
    state.model.from_numpy(saved["model"])
    state.rng.set_state(saved["rng"])
    for stream in rng_devices(state.model.device):
        set_rng_state(stream, saved["streams"][stream.type])
    for name in ("iteration", "history", "stop_requested", "has_informative_init"):
        setattr(state, name, saved[name])
    w: Tensor = saved["w"].to(state.model.device)
    return w
