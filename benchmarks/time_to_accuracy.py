"""Error and time of clusterings: what each second buys, and where GAN-EM spends it.

    python benchmarks/time_to_accuracy.py --data digits --seeds 5
    SKGANEM_DATA=/path/to/data python benchmarks/time_to_accuracy.py --data mnist-10k --methods GAN-EM "GAN-EM fast" EVoC

Every run is a process of its own with one thread (or ``--threads``), so that CPU seconds are those of the method alone; numba
compiles UMAP and EVoC in a run on a few samples before. Of GAN-EM, the seconds of each phase stand beside them.
"""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import torch
from clustering import METHODS, run
from data import CLUSTERING
from report import append, parsed, parser, read

ASKED = ["GAN-EM", "GAN-EM fast", "UMAP + GMM", "UMAP + HDBSCAN", "EVoC", "SimCLR + KMeans"]


def warm_up(data, method, seed):
    """Cluster a few samples by a method of the packages that numba compiles."""
    load, k = CLUSTERING[data]
    X, _ = load(seed)
    if not method.startswith(("GAN-EM", "SimCLR")):
        METHODS[method](k, seed).fit_predict(X[:500].reshape(min(500, len(X)), -1).astype(np.float32))


def report(records):
    """Print the mean and worst error of each method, and its mean seconds."""
    print(f"{'data / method':40s} {'seeds':>5s} {'mean %':>7s} {'worst':>7s} {'CPU s':>7s} {'wall s':>7s}  phases, CPU s")
    for key in dict.fromkeys((r["data"], r["method"], r["threads"]) for r in records):
        runs = [r for r in records if (r["data"], r["method"], r["threads"]) == key]
        error, cpu, wall = (np.array([r[name] for r in runs]) for name in ("error", "cpu_seconds", "seconds"))
        parts = {name: np.mean([r["phases"].get(name, 0.0) for r in runs]) for r in runs for name in r["phases"]}
        shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
        name = f"{key[0]} / {key[1]}" + (f" ({key[2]} threads)" if key[2] > 1 else "")
        figures = f"{100 * error.mean():7.2f} {100 * error.max():7.2f} {cpu.mean():7.1f} {wall.mean():7.1f}"
        print(f"{name:40s} {len(runs):5d} {figures}  {shown}")


def main():
    """Run what the command line asks for, each run in a process of its own."""
    asked = parser(__doc__, "time_to_accuracy")
    asked.set_defaults(threads=1)
    asked.add_argument("--data", nargs="+", choices=CLUSTERING, default=["digits"])
    asked.add_argument("--methods", nargs="+", choices=METHODS, default=ASKED)
    asked.add_argument("--one", action="store_true", help="a single run, in this process; prints its record")
    asked.add_argument("--table", action="store_true", help="only print the table of the file")
    arguments = parsed(asked)
    if arguments.one:
        torch.set_num_threads(arguments.threads)
        one = arguments.data[0], arguments.methods[0], arguments.seeds[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warm_up(*one)
        print(json.dumps(run(*one)))
        return
    # BLAS libraries have threads of their own, whose waiting would count as CPU seconds.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(arguments.threads))
    for data in () if arguments.table else arguments.data:
        for seed in arguments.seeds:
            for method in arguments.methods:
                own = ["--data", data, "--methods", method, "--first-seed", seed, "--seeds", 1, "--threads", arguments.threads]
                command = [sys.executable, __file__, "--one", *map(str, own)]
                done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads})
                if done.returncode:
                    print(data, method, seed, done.stderr.strip().splitlines()[-1:], flush=True)
                    continue
                record = json.loads(done.stdout.strip().splitlines()[-1])
                append(arguments.out, record)
                print(f"{data}, {method}, seed {seed}: {record['error']:.4f}, {record['cpu_seconds']:.1f} CPU s", flush=True)
    report(read(arguments.out))


if __name__ == "__main__":
    main()
