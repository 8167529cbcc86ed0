"""The paper's MNIST tables and the throughput of the training, in one command for a machine with a GPU.

    SKGANEM_DATA=/path/to/data python benchmarks/gpu.py results/
    python benchmarks/gpu.py results/ --quick --device cpu

Clusters the 60,000 training images with K = 10, 20 and 30, learns from 100 and from 1000 labels and tests on the 10,000 test
images, and measures the throughput of each step. No network is needed. ``--quick`` goes through the same code with the digits
that scikit-learn ships and a few batches of training.
"""

import argparse
from pathlib import Path

import clustering
import semi_supervised
import throughput
import torch
from report import append, read, table

from skganem import Recipe

QUICK = Recipe().but(
    max_iter=2, min_m_steps=2, max_m_steps=2, min_e_steps=5, max_e_steps=5, width=8, n_warmup_iter=1,
    encoder_steps=10, encoder_batch_size=64,
)  # fmt: skip


def accuracy(out, quick, device, seeds):
    """Cluster and classify; a line in the folder `out` for each fit."""
    settings = {"device": device, **({"recipe": QUICK} if quick else {})}
    for seed in range(seeds):
        for k in (10, 20, 30):
            record = clustering.run("digits-few" if quick else "mnist-60k", "GAN-EM", seed, k, **settings)
            append(out / "clustering.jsonl", record)
            figures = f"one-to-one {record['error']:.4f}, many-to-one {record['many_to_one']:.4f}"
            print(f"K = {k}, seed {seed}: {figures}, {record['seconds']:.1f} s", flush=True)
        for data in ("digits",) if quick else ("mnist-60k-100", "mnist-60k-1000"):
            record = semi_supervised.run(data, "GAN-EM", seed, **settings)
            append(out / "semi_supervised.jsonl", record)
            print(f"{data}, seed {seed}: test error {record['error']:.4f}, {record['seconds']:.1f} s", flush=True)


def main(arguments=None):
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the results, as JSON lines")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small data and little training: to see that it works")
    arguments = parser.parse_args(arguments)
    quick = ["--quick"] if arguments.quick else ["--batch-sizes", "64", "256", "1024"]
    throughput.main([*quick, "--device", arguments.device, "--out", str(arguments.out / "throughput.jsonl")])
    accuracy(arguments.out, arguments.quick, arguments.device, arguments.seeds)
    table(read(arguments.out / "clustering.jsonl"), ("data", "k", "method"), "many_to_one")
    table(read(arguments.out / "semi_supervised.jsonl"), ("data", "method"), "error")
    if torch.cuda.is_available():
        print(f"largest memory on the GPU: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
