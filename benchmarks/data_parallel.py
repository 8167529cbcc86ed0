"""How fast several processes train together, and whether they find what one finds.

    python benchmarks/data_parallel.py --processes 1 2 --labels moons digits mnist-dev-3000 --out data_parallel.jsonl

Each process has one thread. Rates are images of 28x28 per second with the default recipe's networks and batches: of the
encoder, images (each in four views); of the M-step, real and generated ones; of the E-step, real ones. Communication is the
share of the time that process 0 spends in messages; that includes waiting for the others. CPU time is that of one process:
where other jobs take turns on the cores, it tells more than the rates. `--silent` measures process 0 by itself, without the
others and without messages, and counts these. `--labels` fits data sets, and counts the samples whose
cluster is another one than that of one process, after the clusters were matched.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext

import numpy as np
import torch
from data import CLUSTERING
from report import append, machine
from throughput import soft_labels, training

from skganem import GANEMClustering, Recipe, clustering_error
from skganem.core.em.e_step import e_step
from skganem.core.em.m_step import m_step
from skganem.core.features.encoder import fit_encoder
from skganem.core.features.transforms import ImageWarp
from skganem.core.runtime import launch
from skganem.core.runtime.distributed import SINGLE, ProcessGroup, sharing

#: Images of the data set that the rates are measured on.
N_IMAGES = 2000


class Silence:
    """A channel without other processes, which counts the messages."""

    def __init__(self, size):
        self.size, self.n_messages, self.n_bytes = size, 0, 0

    def count(self, tensor, times):
        """Count a message."""
        self.n_messages += 1
        self.n_bytes += times * tensor.numel() * tensor.element_size()
        return self

    def allreduce(self, tensors):
        """Sum tensors of equal processes."""
        tensors[0].mul_(self.size if tensors[0].numel() == 1 else 1)  # votes are of one number
        return self.count(tensors[0], 1)

    def allgather(self, outputs, tensors):
        """Gather the tensors of equal processes."""
        for output in outputs[0]:
            output.copy_(tensors[0])
        return self.count(tensors[0], self.size)

    def broadcast(self, tensor, root):
        """Send nothing."""
        return self.count(tensor, 1)

    def is_completed(self):
        """Tell that nothing is to be waited for."""
        return True

    def wait(self):
        """Wait for nothing."""


def silent_rates(size, n_steps, precision):
    """Measure process 0 of some without messages: yield a record of each part of the training."""
    channel = Silence(size)
    group = ProcessGroup(0, size, channel, channel, lambda: None) if size > 1 else SINGLE
    done = 0, 0
    for record in rates(nullcontext(group), n_steps, precision):
        messages, size_in_bytes = channel.n_messages - done[0], channel.n_bytes - done[1]
        done = channel.n_messages, channel.n_bytes
        # Each part runs twice, the first time to warm up.
        yield {
            "what": f"{record['what']} without messages",
            **{name: record[name] for name in ("precision", "processes", "cpu_milliseconds_per_step")},
            "messages_per_step": messages / (2 * n_steps),
            "megabytes_per_step": size_in_bytes / (2e6 * n_steps),
        }


def rates(joining, n_steps, precision):
    """Measure each part of the training in the group of a context: yield a record each."""
    recipe = Recipe().but(
        encoder_steps=n_steps, m_epochs=1, min_m_steps=n_steps, max_m_steps=n_steps, e_epochs=0, min_e_steps=n_steps,
        max_e_steps=n_steps, e_rounds=1,
    )  # fmt: skip
    state = training(N_IMAGES, 10, recipe, torch.device("cpu"), precision)
    state.augment, w = ImageWarp(), soft_labels(N_IMAGES, 10)
    work = {
        "encoder": (
            recipe.encoder_batch_size,
            lambda: fit_encoder(state.model, state.dataset, recipe, ImageWarp(), state.rng, state.dtype),
        ),
        "M-step": (2 * recipe.batch_size, lambda: m_step(state, w)),
        "E-step": (recipe.e_batch_size, lambda: e_step(state, w)),
    }
    with joining as group, sharing(group), group.parallel(*state.model.networks()):
        for name, (batch_size, run) in work.items():
            run()  # to warm up
            before, start, cpu = getattr(group, "seconds", 0.0), time.perf_counter(), time.process_time()
            run()
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            yield {
                "what": name,
                "precision": str(state.dtype).split(".")[1],
                "processes": group.size,
                "images_per_second": batch_size * n_steps / seconds,
                "milliseconds_per_step": 1000 * seconds / n_steps,
                "cpu_milliseconds_per_step": 1000 * cpu / n_steps,
                "communication": (getattr(group, "seconds", 0.0) - before) / seconds,
            }


def labels(name, precision):
    """Fit a data set: return a record with the labels."""
    make, n_clusters = CLUSTERING[name]
    X = make(0)[0]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GANEMClustering(n_clusters, random_state=0, precision=precision).fit(X)
    return {
        "what": f"labels of {name}",
        "processes": int(os.environ["WORLD_SIZE"]),
        "seconds": time.perf_counter() - start,
        "labels": model.labels_.tolist(),
    }


def launched(size, arguments):
    """Run this script in some processes; return the records of the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    command = [sys.executable, __file__, *(sys.argv[1:] if arguments is None else arguments)]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **{name: str(value) for name, value in launcher.items()}, "RANK": str(rank)},
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(size)
    ]
    text = started[0].communicate()[0]
    if any(process.wait() for process in started):
        raise SystemExit("A process failed.")
    return [json.loads(line) for line in text.splitlines()]


def main(arguments=None):
    """Measure, and print one line a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--labels", nargs="*", default=[])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    if "WORLD_SIZE" in os.environ:
        torch.set_num_threads(1)
        for record in rates(launch.join(), options.steps, options.precision):
            print(json.dumps(record), flush=True)
        for name in options.labels:
            print(json.dumps(labels(name, options.precision)), flush=True)
        return
    torch.set_num_threads(1)
    alone = {}
    for size in options.processes:
        measured = silent_rates(size, options.steps, options.precision) if options.silent else launched(size, arguments)
        for record in measured:
            if "labels" in record:
                found = np.array(record.pop("labels"))
                different = clustering_error(alone.setdefault(record["what"], found), found) * len(found)
                record |= {"n": len(found), "n_different": round(different)}
            print(json.dumps(record), flush=True)
            if options.out:
                append(options.out, {**record, **machine()})


if __name__ == "__main__":
    main()
