"""Processes that fit together, as a launcher starts them, for tests/test_distributed.py."""

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback

import torch

#: Seconds after which a fit that failed in one process must have ended in all.
LIMIT = 60


def serve():
    """Run what the tests send, one call after the other, and send back the results or the errors."""
    answers, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    torch.set_num_threads(1)
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        began = time.monotonic()
        try:
            answer = function(*arguments)
        except BaseException as error:
            answer = error.with_traceback(None)
            answer.__cause__ = answer.__context__ = None
            traceback.print_exc(limit=1, file=sys.stderr)
        pickle.dump((answer, time.monotonic() - began), answers)
        answers.flush()


class Processes:
    """Two or more processes with the variables of a launcher."""

    def __init__(self, size=2, **variables):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1, **variables}
        launcher = {name: str(value) for name, value in launcher.items()}
        self.started = [
            subprocess.Popen(
                [sys.executable, "-c", "from tests.processes import serve; serve()"],
                env={
                    **os.environ,
                    **{name: str(value) for name, value in {**launcher, "RANK": rank, "LOCAL_RANK": rank}.items()},
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(size)
        ]

    def run(self, function, *arguments):
        """Call a function with the same arguments in all processes; return the results or errors."""
        return self.run_each(function, *[arguments] * len(self.started))

    def run_each(self, function, *arguments):
        """Call a function in each process with its own arguments."""
        self.send(function, *arguments)
        return self.answers(len(self.started))

    def send(self, function, *arguments):
        """Have each process call a function with its own arguments."""
        for process, own in zip(self.started, arguments, strict=True):
            pickle.dump((function, own), process.stdin)
            process.stdin.flush()

    def answers(self, n):
        """Return what the first n processes answer; None for those that were killed."""
        found, readers = {}, []

        def read(rank):
            try:
                found[rank], seconds = pickle.load(self.started[rank].stdout)
            except (EOFError, pickle.UnpicklingError):
                found[rank], seconds = None, 0
            assert seconds < LIMIT

        for rank in range(n):
            readers.append(threading.Thread(target=read, args=(rank,), daemon=True))
            readers[-1].start()
        deadline = time.monotonic() + 2 * LIMIT
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        assert len(found) == n, f"only {sorted(found)} of {n} processes answered: the others hang"
        return [found[rank] for rank in range(n)]

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
