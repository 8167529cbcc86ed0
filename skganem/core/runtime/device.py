"""Where and how the networks run: device, precision, randomness."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from skganem.core.data.shapes import Shape, is_image


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn "auto" into CUDA, MPS or the CPU, in this order; check that a named device exists.

    Raises
    ------
    ValueError
        If the name is unknown or the device is not available.
    """
    if device == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device={str(device)!r} is not available here: {str(error).splitlines()[0]}") from error
    return chosen


def resolve_precision(precision: str, device: torch.device, shape: Shape) -> torch.dtype:
    """Turn "auto" into bfloat16 for convolutional networks on hardware that multiplies in it, else float32.

    A CPU does so in matrix units (AMX) or by vector instructions (AVX512-BF16); without them, bfloat16 is slower than float32.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if not is_image(shape):
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    multiplies = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if device.type == "cpu" and multiplies else torch.float32


#: Held while initial weights are drawn: fits in other threads draw from the same global stream.
DRAWING = threading.RLock()
#: The process-wide settings that fits have changed: how many fits, and what each was before the first of them.
BORROWED: dict[Hashable, tuple[int, Any]] = {}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU stream inside the block, and restore it after: for initial weights."""
    with DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def borrowed(key: Hashable, get: Callable[[], Any], put: Callable[[Any], None], value: Any) -> Iterator[None]:
    """Give a process-wide setting a value inside the block; the last of the fits in threads puts back what was before."""
    with DRAWING:
        borrowers, before = BORROWED.get(key) or (0, get())
        BORROWED[key] = borrowers + 1, before
        put(value)
    try:
        yield
    finally:
        with DRAWING:
            borrowers, before = BORROWED.pop(key)
            if borrowers > 1:
                BORROWED[key] = borrowers - 1, before
            else:
                put(before)


@contextmanager
def borrowed_streams(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global streams for a fit, since dropout has no other."""
    with ExitStack() as stack:
        for stream in streams(device):
            state = torch.Generator(stream).manual_seed(seed).get_state()
            stack.enter_context(borrowed(stream, partial(get_stream, stream), partial(set_stream, stream), state))
        yield


@contextmanager
def trainable() -> Iterator[None]:
    """Have torch make float32 tensors, on the CPU, and compute gradients in full precision, whatever it was set to outside."""
    own_dtype = borrowed("dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32)
    # The context slows all calls down, so there is none where it would change nothing.
    own_device = nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")
    with own_dtype, own_device, full_precision(), torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in the tensors' own dtypes inside the block, whatever `torch.autocast` says outside."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def streams(device: torch.device) -> list[torch.device]:
    """Return the devices whose global random streams a fit on a device may draw from."""
    return [torch.device("cpu"), *([device] if device.type == "cuda" else [])]


def get_stream(device: torch.device) -> Tensor:
    """Return the state of torch's global random stream of the CPU or of a CUDA device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_stream(device: torch.device, state: Tensor) -> None:
    """Set the state of torch's global random stream of the CPU or of a CUDA device."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def deterministic() -> AbstractContextManager[None]:
    """Have cuDNN choose, inside the block, among algorithms that always give the same bits."""
    return borrowed("cudnn", get_cudnn, set_cudnn, (True, False))


def get_cudnn() -> tuple[bool, bool]:
    """Tell whether cuDNN's algorithms must always give the same bits, and whether it may try which is the fastest."""
    return torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark


def set_cudnn(flags: tuple[bool, bool]) -> None:
    """Set what `get_cudnn` tells."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags


def packed(x: Tensor) -> Tensor:
    """Lay out a batch in the way that networks are faster with: channels last for images."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Run forward passes in `dtype` inside the block; weights, losses and optimisers stay float32.

    Without torch's cache of the weights' copies: all threads share it and empty it for each other, and where a copy is used
    twice, its gradients are added in `dtype`.
    """
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Compute no gradients of the module's parameters inside the block, while gradients still pass through it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put the module in evaluation mode, compute in full precision inside the block, and put it back into its mode after."""
    training = module.training
    module.eval()
    try:
        with full_precision():
            yield
    finally:
        module.train(training)
