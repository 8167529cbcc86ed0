"""Process-wide settings that a fit changes while it runs, above all random streams, and puts back as they were.

Fits may run side by side in threads, but these settings belong to the process. The first fit remembers what was before,
and the last one puts it back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from skganem.core.runtime.device import full_precision

#: Held while initial weights are drawn: fits in other threads draw from the same global stream.
RNG_LOCK = threading.RLock()
#: By setting: how many fits override it, and what it was before the first of them.
OVERRIDES: dict[Hashable, tuple[int, Any]] = {}


@contextmanager
def fork_rng(seed: int) -> Iterator[None]:
    """Seed torch's global CPU stream inside the block, and restore it after: for initial weights."""
    with RNG_LOCK, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def override_global(key: Hashable, get: Callable[[], Any], put: Callable[[Any], None], value: Any) -> Iterator[None]:
    """Give a process-wide setting a value inside the block; the last of the fits in threads restores what was before."""
    with RNG_LOCK:
        n_fits, before = OVERRIDES.get(key) or (0, get())
        OVERRIDES[key] = n_fits + 1, before
        put(value)
    try:
        yield
    finally:
        with RNG_LOCK:
            n_fits, before = OVERRIDES.pop(key)
            if n_fits > 1:
                OVERRIDES[key] = n_fits - 1, before
            else:
                put(before)


@contextmanager
def seed_global_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global streams for a fit, since dropout has no other."""
    with ExitStack() as stack:
        for stream in rng_devices(device):
            state = torch.Generator(stream).manual_seed(seed).get_state()
            get, put = partial(get_rng_state, stream), partial(set_rng_state, stream)
            stack.enter_context(override_global(stream, get, put, state))
        yield


@contextmanager
def float32_with_grad() -> Iterator[None]:
    """Make float32 tensors on the CPU and compute gradients in full precision, whatever torch was set to outside."""
    default_dtype = override_global("dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32)
    # The context slows all calls down, so there is none where it would change nothing.
    default_device = nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")
    with default_dtype, default_device, full_precision(), torch.inference_mode(False), torch.enable_grad():
        yield


def rng_devices(device: torch.device) -> list[torch.device]:
    """Return the devices whose global random streams a fit on a device may draw from."""
    return [torch.device("cpu"), *([device] if device.type == "cuda" else [])]


def get_rng_state(device: torch.device) -> Tensor:
    """Return the state of torch's global random stream of the CPU or of a CUDA device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_rng_state(device: torch.device, state: Tensor) -> None:
    """Set the state of torch's global random stream of the CPU or of a CUDA device."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def deterministic_cudnn() -> AbstractContextManager[None]:
    """Have cuDNN use, inside the block, only algorithms that always give the same bits."""
    return override_global("cudnn", get_cudnn_flags, set_cudnn_flags, (True, False))


def get_cudnn_flags() -> tuple[bool, bool]:
    """Return cuDNN's flags: whether its algorithms must be deterministic, and whether it may benchmark them."""
    return torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark


def set_cudnn_flags(flags: tuple[bool, bool]) -> None:
    """Set what `get_cudnn_flags` returns."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
