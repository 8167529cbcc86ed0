"""What the processes of a data-parallel fit do together.

All processes run the same program on the same data, and draw the same random numbers. A network gets the whole batch in each of
them, computes its own rows of it, and gets the rows of the others (`Group.parallel`). So losses are those of whole batches, and
need not know of processes. Gradients are then averaged.

Code asks `current` for its group. Outside a data-parallel fit, that is a group of one, which does nothing.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

#: Seconds between two looks at whether the other processes live, while this one waits for them.
LOOK_EVERY = 1.0

T = TypeVar("T")


class PeerError(RuntimeError):
    """Another process of a data-parallel fit failed."""


class Group:
    """The processes of a fit. This one is alone, and all methods return what they are given.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        How many there are.
    """

    rank, size = 0, 1

    def parallel(self, *networks: nn.Module) -> AbstractContextManager[None]:
        """Have networks compute, inside the block, each process its own rows of a batch."""
        return nullcontext()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their means over the processes."""

    def all_true(self, value: bool) -> bool:
        """Tell whether a value is true in all processes."""
        return value

    def on_first(self, compute: Callable[..., T], *arguments: Any) -> T:
        """Return the result of `compute`, which the first process alone calls."""
        return compute(*arguments)

    def recall(self, lookup: Callable[[Callable[[], Any]], Any], compute: Callable[[], Any]) -> Any:
        """Return what `lookup(compute)` returns in the first process; if it calls `compute`, all processes do."""
        return lookup(compute)

    def map_rows(self, compute: Callable[[slice], T], n: int, block: int) -> T:
        """Return tensors (n, ...) of which each process computes the rows of one slice, in whole blocks."""
        return compute(slice(0, n))

    def check_equal(self, describe: Callable[[], dict[str, str]]) -> None:
        """Raise ValueError unless all processes describe themselves alike; the error names what differs."""


SINGLE = Group()
CURRENT: ContextVar[Group] = ContextVar("skganem_group", default=SINGLE)


def current() -> Group:
    """Return the group that computes together now."""
    return CURRENT.get()


@contextmanager
def sharing(group: Group) -> Iterator[None]:
    """Make a group the current one inside the block."""
    token = CURRENT.set(group)
    try:
        yield
    finally:
        CURRENT.reset(token)


def alone() -> AbstractContextManager[None]:
    """Have this process compute by itself inside the block: what the others do not do, or not at the same time."""
    return sharing(SINGLE)


class ProcessGroup(Group):
    """Several processes.

    Parameters
    ----------
    rank, size : int
    control, data : torch.distributed.ProcessGroup
        The channels of tensors on the CPU, and of those on the device.
    check : callable ()
        Raises `PeerError` if another process failed.
    """

    def __init__(self, rank: int, size: int, control: Any, data: Any, check: Callable[[], None]) -> None:
        self.rank, self.size, self._control, self._data, self._check = rank, size, control, data, check
        #: Seconds that this process spent in communication.
        self.seconds = 0.0

    @contextmanager
    def parallel(self, *networks: nn.Module) -> Iterator[None]:
        """Split the batches that networks get, and gather what they return."""
        handles = [network.register_forward_pre_hook(_split_inputs) for network in networks]
        handles += [network.register_forward_hook(_gather_output) for network in networks]
        try:
            with SynchronizedBatchNorm():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average them in one message."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            flat = self.sum(torch.cat([gradient.reshape(-1) for gradient in gradients])).div_(self.size)
            for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
                gradient.copy_(mean.view(gradient.shape))

    def all_true(self, value: bool) -> bool:
        """Count the processes in which it is."""
        return int(self.sum(torch.tensor(int(value), device="cpu"))) == self.size

    def on_first(self, compute: Callable[..., T], *arguments: Any) -> T:
        """Send what the first process has computed."""
        result = None
        if self.rank == 0:
            with alone():
                result = compute(*arguments)
        received: T = self._broadcast(result)
        return received

    def recall(self, lookup: Callable[[Callable[[], Any]], Any], compute: Callable[[], Any]) -> Any:
        """Compute as often as the first process asks for it, until it has its result."""
        if self.rank:
            while self._broadcast(None) == "compute":
                compute()
        else:
            found = lookup(lambda: (self._broadcast("compute"), compute())[1])
            self._broadcast("done")
        return self._broadcast(None if self.rank else found)

    def map_rows(self, compute: Callable[[slice], Any], n: int, block: int) -> Any:
        """Compute the own slice, and gather those of all."""
        n_blocks = -(-n // block)
        if n_blocks < self.size:  # too few to share
            with alone():
                return compute(slice(0, n))
        bounds = [min(n, n_blocks * rank // self.size * block) for rank in range(self.size + 1)]
        with alone():
            found = compute(slice(bounds[self.rank], bounds[self.rank + 1]))
        if isinstance(found, tuple):
            return tuple(self.gather(part, bounds) for part in found)
        return self.gather(found, bounds)

    def check_equal(self, describe: Callable[[], dict[str, str]]) -> None:
        """Compare with the first process."""
        values = describe()
        first = self.on_first(lambda: values)
        unequal = [name for name in first if values.get(name) != first[name]]
        everyone = [self._broadcast(unequal, root) for root in range(self.size)]
        if any(everyone):
            names = ", ".join(sorted({name for names in everyone for name in names}))
            ranks = ", ".join(str(rank) for rank, names in enumerate(everyone) if names)
            raise ValueError(
                f"The processes of a data-parallel fit must be alike, but process {ranks} differs from process 0 in: {names}."
            )

    def bounds(self, n: int) -> list[int]:
        """Return where each process's rows of a batch of n begin, and n."""
        return [n * rank // self.size for rank in range(self.size + 1)]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of tensors over all processes."""
        total = values.detach().clone()
        self._wait(self._channel(total).allreduce([total]))
        return total

    def gather(self, rows: Tensor, bounds: list[int]) -> Tensor:
        """Return the rows of all processes, one below the other, whose places are between the bounds."""
        sizes = [stop - start for start, stop in pairwise(bounds)]
        # In float32, since the channels lack dtypes, and padded, since all must have as many.
        own = torch.zeros(max(sizes), *rows.shape[1:], dtype=wide(rows.dtype), device=rows.device)
        own[: len(rows)] = rows.detach()
        found = [torch.empty_like(own) for _ in sizes]
        self._wait(self._channel(own).allgather([found], [own]))
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)]).to(rows.dtype)

    def _broadcast(self, value: Any, root: int = 0) -> Any:
        """Return the value of one of the processes."""
        content = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8).cpu()
        length = torch.tensor(len(content), device="cpu")
        self._wait(self._control.broadcast(length, root))
        content = content if self.rank == root else torch.empty(int(length), dtype=torch.uint8, device="cpu")
        self._wait(self._control.broadcast(content, root))
        return pickle.loads(content.numpy().tobytes())

    def _channel(self, values: Tensor) -> Any:
        return self._control if values.device.type == "cpu" else self._data

    def _wait(self, work: Any) -> None:
        """Wait for the other processes, as long as they live."""
        began = time.perf_counter()
        while not work.is_completed():
            try:
                work.wait(timedelta(seconds=LOOK_EVERY))
            except RuntimeError:
                if work.is_completed():
                    break
            self._check()
        try:
            work.wait()
        except RuntimeError as error:
            raise PeerError(str(error).splitlines()[0]) from error
        self.seconds += time.perf_counter() - began


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """Apply a function whose gradient has messages, too."""
    result: Tensor = function.apply(*arguments)
    return result


class Split(torch.autograd.Function):
    """The own rows of a batch (n, ...) that all processes have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        """Return the own rows."""
        ctx.group, ctx.n = group, len(x)
        bounds = group.bounds(len(x))
        return x[bounds[group.rank] : bounds[group.rank + 1]].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gather the gradients. Those of rows are `size` times as large as those of batches, so that their means are sums."""
        whole = apply(Gather, gradients[0], ctx.group, ctx.n)
        return whole / ctx.group.size, None


class Gather(torch.autograd.Function):
    """The whole batch (n, ...), of which each process has its rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, n: int) -> Tensor:
        """Return the rows of all."""
        ctx.group = group
        return group.gather(x, group.bounds(n))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the own rows of the gradient, which is the same in all processes."""
        own = apply(Split, gradients[0], ctx.group)
        return own * ctx.group.size, None, None


class AllSum(torch.autograd.Function):
    """The sum over all processes of what each has computed from its rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        """Return the sum."""
        ctx.group = group
        return group.sum(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Sum the gradients: each process uses the sum for its rows."""
        total = apply(AllSum, gradients[0], ctx.group)
        return total, None


#: How many rows the batch has that a network is computing its own ones of.
BATCH_ROWS: ContextVar[int] = ContextVar("skganem_batch_rows")


def _split_inputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    group = current()
    if not isinstance(group, ProcessGroup):
        return None
    BATCH_ROWS.set(len(inputs[0]))
    return tuple(apply(Split, values, group) for values in inputs)


def _gather_output(network: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    group = current()
    return apply(Gather, output, group, BATCH_ROWS.get()) if isinstance(group, ProcessGroup) else None


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return float32 instead of a shorter dtype of floats."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class SynchronizedBatchNorm(TorchFunctionMode):
    """Have batch normalization take its statistics from the rows of all processes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute a function of torch's, or its counterpart."""
        group, kwargs = current(), kwargs or {}
        if func is F.batch_norm and kwargs.get("training") and isinstance(group, ProcessGroup):
            return batch_norm(group, *args, **kwargs)
        return func(*args, **kwargs)


def batch_norm(
    group: ProcessGroup,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize the own rows x (n, c, ...) by the mean and the variance of all rows, as `torch.nn.functional.batch_norm`."""
    values = x.to(wide(x.dtype))
    rows = values.movedim(1, -1).flatten(0, -2)  # which of images with channels last is no copy
    n = max(len(rows), 1)
    own_mean = rows.sum(dim=0) / n
    own_var = (rows - own_mean).square().sum(dim=0) / n  # torch.var_mean takes nine times as long
    # A row for each process: its mean, variance, and number of values. The whole variance is that of the means, plus the mean
    # of the variances; sums of squares would lose digits.
    own = torch.cat([own_mean, own_var, own_mean.new_tensor([len(rows)])])
    each = apply(AllSum, F.pad(own[None], (0, 0, group.rank, group.size - group.rank - 1)), group)
    means, variances, counts = each[:, : len(own_mean)], each[:, len(own_mean) : -1], each[:, -1:].detach()
    share = counts / counts.sum()
    mean = (share * means).sum(dim=0)
    var = (share * (variances + (means - mean).square())).sum(dim=0)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            total = float(counts.sum())
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(var.detach() * (total / max(total - 1, 1)), momentum)
    scale = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    shift = -mean * scale if bias is None else bias - mean * scale
    along = (1, -1, *(1,) * (x.dim() - 2))
    return torch.addcmul(shift.view(along), values, scale.view(along)).to(x.dtype)
