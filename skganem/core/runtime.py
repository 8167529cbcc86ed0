"""Where and how the networks run: device, precision, randomness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

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
    """Turn "auto" into bfloat16 for convolutional networks on hardware with matrix units for it, else float32.

    A CPU that has only vector instructions for bfloat16 (AVX-512) is slower with it than in float32; one with AMX is not.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if not is_image(shape):
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU stream inside the block, and restore it after: for initial weights, and for dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def deterministic() -> Iterator[None]:
    """Have cuDNN choose, inside the block, among algorithms that always give the same bits."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


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
