"""The error after each EM iteration, for example with the paper's own settings.

    SKGANEM_DATA=/path/to/data python benchmarks/curve.py --data mnist-10k --recipe paper --max-iter 8

The labels are looked at only to write the error down. A line is written after each iteration.
"""

import argparse
import time

import torch
from clustering import CLUSTERING
from report import append, machine

from skganem import GANEMClustering, clustering_error


class Watched(GANEMClustering):
    """GANEMClustering that calls ``watch(iteration, w)`` after each EM iteration."""

    def _reporter(self, start):
        def report(training, w):
            self.watch(training.iteration, w.cpu().numpy())
            return False

        return report


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=CLUSTERING, default="digits")
    parser.add_argument("--recipe", choices=["default", "paper", "released"], default="paper")
    parser.add_argument("--max-iter", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", default="benchmarks/results/curve.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load, k = CLUSTERING[arguments.data]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        X, y = load(seed)
        start = time.perf_counter()
        model = Watched(k, recipe=arguments.recipe, max_iter=arguments.max_iter, random_state=seed)

        def watch(iteration, w, y=y, seed=seed, start=start):
            labels = w.argmax(axis=1)
            figures = {"error": clustering_error(y, labels), "many_to_one": clustering_error(y, labels, mapping="many-to-one")}
            run = {"data": arguments.data, "recipe": arguments.recipe, "seed": seed, "iteration": iteration}
            seconds = time.perf_counter() - start
            append(arguments.out, {**run, **figures, "confidence": float(w.max(1).mean()), "seconds": seconds, **machine()})
            print(f"seed {seed}, iteration {iteration}: error {figures['error']:.4f}, {seconds:.0f} s", flush=True)

        model.watch = watch
        model.fit(X)


if __name__ == "__main__":
    main()
