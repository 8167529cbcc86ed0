"""Where the networks run, and in which precision and memory layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


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
        resolved = torch.device(device)
        torch.zeros(1, dtype=torch.float32, device=resolved).item()  # which fails on "meta", too, whose tensors have no values
    except (AssertionError, ImportError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]  # what follows is for torch's own developers
        raise ValueError(f"device={str(device)!r} is not available here: {reason}") from error
    return resolved


def resolve_precision(precision: str, device: torch.device, *, convolutional: bool) -> torch.dtype:
    """Turn "auto" into bfloat16 for convolutional networks on hardware that multiplies in it, else float32.

    A CPU does so in matrix units (AMX) or by vector instructions (AVX512-BF16). Without them, bfloat16 is slower than
    float32.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if not convolutional:
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    multiplies = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if device.type == "cpu" and multiplies else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Run forward passes in `dtype` inside the block; weights, losses and optimizers stay float32.

    Torch's cache of converted weights is off. All threads share it and empty it for each other. Where a cached copy is used
    twice, its gradients are also summed in `dtype`.
    """
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in the tensors' own dtypes inside the block, whatever `torch.autocast` says outside."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def channels_last(x: Tensor) -> Tensor:
    """Lay out a batch of images with channels last, which convolutions are faster with; leave other batches as they are."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)


@contextmanager
def freeze(module: nn.Module) -> Iterator[None]:
    """Compute no gradients of the module's parameters inside the block, while gradients still pass through it."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put the module in evaluation mode and compute in full precision inside the block; restore its mode after."""
    training = module.training
    module.eval()
    try:
        with full_precision():
            yield
    finally:
        module.train(training)
