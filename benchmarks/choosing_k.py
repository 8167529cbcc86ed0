"""Which number of clusters ``GridSearchCV`` chooses by `GANEMClustering.score`, on data whose number is known.

python benchmarks/choosing_k.py --data blobs-3 blobs-5 blobs-8 digits-rows --seeds 5
"""

import argparse
import time
import warnings

import torch
from report import append, machine
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import GridSearchCV

from skganem import GANEMClustering


def blobs(k):
    """Return a loader of 1000 points in k groups of standard deviation 0.6, and the numbers of clusters to try."""

    def load(seed):
        return make_blobs(1000, centers=k, cluster_std=0.6, random_state=seed)[0], list(range(2, 11))

    return load


def digits_rows(seed):
    """Return scikit-learn's digits as rows, and the numbers of clusters to try."""
    return load_digits().data, list(range(4, 17, 1))


DATA = {"blobs-3": blobs(3), "blobs-5": blobs(5), "blobs-8": blobs(8), "digits-rows": digits_rows}


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=["blobs-3", "blobs-5", "blobs-8"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--max-iter", type=int, help="EM iterations of each fit; the recipe's unless it is given")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", default="benchmarks/results/choosing_k.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for data in arguments.data:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            X, numbers = DATA[data](seed)
            model = GANEMClustering(max_iter=arguments.max_iter, random_state=seed)
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                search = GridSearchCV(model, {"n_clusters": numbers}, cv=arguments.folds, refit=False).fit(X)
            results = search.cv_results_
            chosen = numbers[results["rank_test_score"].argmin()]
            run = {"data": data, "seed": seed, "chosen": chosen, "numbers": numbers, "max_iter": arguments.max_iter}
            figures = {"scores": results["mean_test_score"].tolist(), "std": results["std_test_score"].tolist()}
            append(arguments.out, {**run, **figures, "seconds": time.perf_counter() - start, **machine()})
            print(f"{data} {seed}: {chosen} clusters, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
