"""Which number of clusters ``GridSearchCV`` chooses by `GANEMClustering.score`, on data whose number is known.

python benchmarks/choosing_k.py --data blobs-3 blobs-5 blobs-8 digits-rows --seeds 5
"""

import time
import warnings

from report import append, machine, parsed, parser
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
    asked = parser(__doc__, "choosing_k")
    asked.add_argument("--data", nargs="+", choices=DATA, default=["blobs-3", "blobs-5", "blobs-8"])
    asked.add_argument("--folds", type=int, default=3)
    asked.add_argument("--max-iter", type=int, help="EM iterations of each fit; the recipe's unless it is given")
    arguments = parsed(asked)
    for data in arguments.data:
        for seed in arguments.seeds:
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
