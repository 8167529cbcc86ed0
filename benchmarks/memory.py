"""Peak memory and time of one fit on rows of uint8 values, beyond the data themselves.

python benchmarks/memory.py --samples 200000 --features 784 --clusters 10
"""

import argparse
import time

import numpy as np
from report import append, machine, peak_memory

from skganem import GANEMClustering


def rows(n_samples, n_features, n_clusters, rng):
    """Make uint8 rows around `n_clusters` random centers, a chunk at a time, so that making them takes no memory."""
    centers = rng.integers(0, 256, (n_clusters, n_features))
    X = np.empty((n_samples, n_features), dtype=np.uint8)
    for start in range(0, n_samples, 4096):
        part = X[start : start + 4096]
        noise = rng.normal(0, 40, part.shape)
        part[:] = np.clip(centers[rng.integers(0, n_clusters, len(part))] + noise, 0, 255)
    return X


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--out", default="benchmarks/results/memory.jsonl")
    arguments = parser.parse_args()
    X = rows(arguments.samples, arguments.features, arguments.clusters, np.random.default_rng(0))
    before, start = peak_memory(), time.perf_counter()
    model = GANEMClustering(arguments.clusters, random_state=0).fit(X)
    record = {
        "shape": list(X.shape), "clusters": arguments.clusters, "data_bytes": X.nbytes, "before_fit_bytes": before,
        "peak_bytes": peak_memory(), "beyond_data_bytes": peak_memory() - X.nbytes,
        "seconds": time.perf_counter() - start, "n_iter": model.n_iter_, **machine(),
    }  # fmt: skip
    append(arguments.out, record)
    print({name: record[name] for name in ("shape", "data_bytes", "peak_bytes", "beyond_data_bytes", "seconds", "n_iter")})


if __name__ == "__main__":
    main()
