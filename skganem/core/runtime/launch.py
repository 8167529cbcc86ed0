"""How a fit finds the other processes of its launcher, such as torchrun, and learns when one of them fails.

A fit joins if the process has a group of `torch.distributed`, or if its environment has RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT, as launchers set them. It opens channels of its own, and closes these alone.
"""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from skganem.core.runtime.distributed import SINGLE, Group, PeerError, ProcessGroup

#: Set to 0, it keeps a process from joining, such as a child that inherited the launcher's variables.
SWITCH = "SKGANEM_DISTRIBUTED"
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Seconds until the first process, which all others connect to, must have begun its fit.
CONNECT_TIMEOUT = 45.0
#: Seconds until all have begun it. Some may read their data longer than others.
JOIN_TIMEOUT = 300.0
#: Seconds between two signs of life, and without one after which a process is taken for dead. Long computations may hold
#: Python's lock for some seconds.
SIGN_EVERY, SILENCE = 1.0, 30.0
#: Seconds for which a process that ends stays, so that the others hear why.
LEAVE_TIMEOUT = 5.0
#: Seconds between two looks at what others have left in the store.
POLL_EVERY = 0.02
#: Bounds the time of one operation: others may wait as long for what the first process alone does, and know that it lives.
OPERATION_TIMEOUT = timedelta(days=7)

#: The group that a fit has joined; None outside a fit.
JOINED: ContextVar[Group | None] = ContextVar("skganem_joined", default=None)
#: Numbers the fits of this process, so that none finds what the last one has left in the store.
FITS = itertools.count()
#: The store that the launcher's variables name, by these: there is one for all fits of the process.
STORES: dict[tuple[str, ...], Any] = {}


#: The number of this process, if it was forked from one of the launcher's.
FORKED: set[int] = set()


def has_launcher() -> bool:
    """Tell whether this process has a group of `torch.distributed`, or a launcher's variables."""
    return dist.is_available() and (dist.is_initialized() or all(name in os.environ for name in VARIABLES))


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=lambda: FORKED.update({os.getpid()} if has_launcher() else ()))


def joined() -> Group:
    """Return the group that the fit of this thread has joined."""
    return JOINED.get() or SINGLE


def should_join() -> bool:
    """Tell whether this process is one of several that a launcher has started.

    Its children, such as the workers of joblib, inherit the variables, and are not. Nor are threads: several of them would mix
    their messages.
    """
    if os.environ.get(SWITCH, "") == "0" or not has_launcher() or os.getpid() in FORKED:
        return False
    if threading.current_thread() is not threading.main_thread() or JOINED.get() is not None:
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    is_child = multiprocessing.parent_process() is not None or "LokyProcess" in multiprocessing.current_process().name
    return not is_child and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def join() -> Iterator[Group]:
    """Join the launcher's other processes for a fit inside the block, if there are any.

    Raises
    ------
    PeerError
        If another process fails, or does not come.
    """
    with Session(*open_store()) if should_join() else nullcontext(SINGLE) as group:
        token = JOINED.set(group)
        try:
            yield group
        finally:
            JOINED.reset(token)


def open_store() -> tuple[Any, int, int]:
    """Return a store that all processes share, the number of this process, and how many there are."""
    number = next(FITS)
    if dist.is_initialized():
        store, rank, size = dist.distributed_c10d._get_default_store(), dist.get_rank(), dist.get_world_size()
    else:
        key = tuple(os.environ[name] for name in VARIABLES)
        rank, size, port = int(key[0]), int(key[1]), int(key[3])
        if key not in STORES:
            STORES[key] = connect(key[2], port, rank)
        store = STORES[key]
    return PrefixStore(f"skganem/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{number}", store), rank, size


def connect(host: str, port: int, rank: int) -> Any:
    """Connect to the launcher's store or, without one, to the first process, which opens it."""
    by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    serves = rank == 0 and not by_launcher
    timeout = timedelta(seconds=CONNECT_TIMEOUT)
    opened: Future[Any] = Future()

    def open_in_thread() -> None:
        try:
            opened.set_result(TCPStore(host, port, None, serves, timeout, wait_for_workers=False))
        except (RuntimeError, ValueError) as error:
            opened.set_exception(error)

    # In a thread, since something else at the port, which never answers, would be waited for without end.
    threading.Thread(target=open_in_thread, daemon=True).start()
    try:
        return opened.result(CONNECT_TIMEOUT + 1)
    except (RuntimeError, ValueError, TimeoutError) as error:
        what = "can't open" if serves else "can't connect to"
        advice = "The port may be in use: take another one." if serves else "Process 0 may not have begun its fit."
        raise PeerError(
            f"Process {rank} of a data-parallel fit {what} MASTER_ADDR={host}, MASTER_PORT={port}. {advice} "
            f"To fit in each process by itself, set {SWITCH}=0."
        ) from error


class Session:
    """The channels of one fit, and a thread that gives signs of life and watches the next process for them.

    Parameters
    ----------
    store : torch.distributed.Store
    rank, size : int
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self._failure = ""
        self._closing = threading.Event()
        self._channels: list[Any] = []
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcessGroup:
        try:
            return self._open()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if isinstance(error, PeerError):
                raise PeerError(f"The fit ended in all processes: {self._reason(error)}") from error
            if error is not None:
                self._report(f"process {self.rank} failed with {type(error).__name__}: {error}")
        finally:
            self._close(error is not None)

    def _open(self) -> ProcessGroup:
        """Wait until all processes are there, and open the channels."""
        if self.store.add(f"joined/{self.rank}", 1) > 1:
            raise PeerError(
                f"two processes want to be process {self.rank}. One may be a child of the other: set {SWITCH}=0 in it."
            )
        self._until("joined", JOIN_TIMEOUT)
        control = dist.ProcessGroupGloo(PrefixStore("cpu", self.store), self.rank, self.size, OPERATION_TIMEOUT)
        data: Any = control
        if torch.cuda.is_available():
            torch.cuda.set_device(local_device())
            data = dist.ProcessGroupNCCL(PrefixStore("cuda", self.store), self.rank, self.size, dist.ProcessGroupNCCL.Options())
        self._channels = [control, data]
        self._watcher.start()
        return ProcessGroup(self.rank, self.size, control, data, self._check)

    def _report(self, reason: str) -> None:
        """Tell the other processes that this one has failed."""
        with suppress(RuntimeError):  # where the store's process is gone
            self.store.compare_set("failed", "", reason)

    def _reason(self, error: PeerError) -> str:
        """Return why the fit ended."""
        deadline = time.monotonic() + LEAVE_TIMEOUT / 2
        while not self._failure and time.monotonic() < deadline:
            self._look()
            time.sleep(POLL_EVERY)
        own = f"process {self.rank} lost another process, which may have been killed ({error})"
        if not self._failure:
            self._report(own if self._channels else str(error))
        return self._failure or (own if self._channels else str(error))

    def _close(self, failed: bool) -> None:
        """Close the channels, once the other processes have heard how the fit ended."""
        self._closing.set()
        with suppress(RuntimeError):
            self.store.add(f"left/{self.rank}", 1)
            self._until("left", LEAVE_TIMEOUT)
        if self._watcher.is_alive():
            self._watcher.join()
        if failed:
            for channel in self._channels:  # to delete one would wait for its operations, and so for a process that is gone
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(channel))
        self._channels.clear()

    def _until(self, event: str, timeout: float) -> None:
        """Wait until all processes have come to an event."""
        deadline = time.monotonic() + timeout
        waiting = set(range(self.size))
        while waiting := {rank for rank in waiting if not self.store.check([f"{event}/{rank}"])}:
            if event == "joined":
                self._look()
                self._check()
            if time.monotonic() > deadline:
                raise PeerError(f"process {min(waiting)} did not call fit within {timeout:.0f} s, as process {self.rank} did.")
            time.sleep(POLL_EVERY)

    def _check(self) -> None:
        if self._failure:
            raise PeerError(self._failure)

    def _look(self) -> None:
        """Look for a failure that another process has reported."""
        with suppress(RuntimeError):
            if self.store.check(["failed"]):
                self._failure = self.store.get("failed").decode()

    def _watch(self) -> None:
        """Give signs of life; look for those of the next process, and for failures, until the fit ends."""
        next_rank = (self.rank + 1) % self.size
        last, heard, count = b"", time.monotonic(), 0
        while not self._failure and not self._closing.wait(SIGN_EVERY):
            count += 1
            try:
                self.store.set(f"alive/{self.rank}", str(count))
                if self.store.check([f"alive/{next_rank}"]) and (sign := self.store.get(f"alive/{next_rank}")) != last:
                    last, heard = sign, time.monotonic()
                self._look()
            except RuntimeError as error:
                self._failure = f"process {self.rank} lost the first process or its launcher ({str(error).splitlines()[0]})"
            if not self._failure and time.monotonic() - heard > SILENCE:
                self._failure = f"process {next_rank} gave no sign of life for {SILENCE:.0f} s"
                self._report(self._failure)
        if self._failure and self._channels and self._channels[1] is not self._channels[0]:
            self._channels[1].abort()  # NCCL's operations do not end by themselves


def local_device() -> int:
    """Return the number of this process's GPU."""
    return int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()


def process_device(device: str | torch.device) -> str | torch.device:
    """Return the device of this process: where "auto" or "cuda" leave it open, each process has a GPU of its own."""
    if joined().size > 1 and torch.cuda.is_available() and str(device) in ("auto", "cuda"):
        return f"cuda:{local_device()}"
    return device
