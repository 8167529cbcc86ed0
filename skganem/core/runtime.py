"""Where and how the networks run: device, precision, randomness."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from skganem.core.shapes import Shape, is_image


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
#: The global streams in use by fits: how many use each, and its state before the first of them.
BORROWED: dict[torch.device, tuple[int, Tensor]] = {}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU stream inside the block, and restore it after: for initial weights."""
    with DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def borrowed_streams(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global streams for a fit, since dropout has no other; the last of the fits in threads restores them."""
    with DRAWING:
        for stream in streams(device):
            borrowers, before = BORROWED.get(stream, (0, get_stream(stream)))
            BORROWED[stream] = borrowers + 1, before
            set_stream(stream, torch.Generator(stream).manual_seed(seed).get_state())
    try:
        yield
    finally:
        with DRAWING:
            for stream in streams(device):
                borrowers, before = BORROWED.pop(stream)
                if borrowers > 1:
                    BORROWED[stream] = borrowers - 1, before
                else:
                    set_stream(stream, before)


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


@contextmanager
def deterministic() -> Iterator[None]:
    """Have cuDNN choose, inside the block, among algorithms that always give the same bits."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which forward passes run in `dtype`; weights, losses and optimisers stay float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


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
    """Put the module in evaluation mode inside the block, and back into its mode after."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
