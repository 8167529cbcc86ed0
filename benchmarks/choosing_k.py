"""Which number of clusters ``GridSearchCV`` chooses by `GANEMClustering.score`, on data whose number is known.

    python benchmarks/choosing_k.py --data blobs-3 blobs-5 blobs-8 blobs-8-apart digits-rows --max-iter 2

Beside it, what else is customary: the least BIC of Gaussian mixtures, which know the form of the blobs, and the greatest
silhouette of k-means. Centres of blobs are drawn uniformly, so some lie on one another (two of the eight are 0.9 standard
deviations apart with seed 3): there, no method can count them. In "blobs-8-apart", no two are nearer than 4 deviations.
"""

import time
import warnings

import numpy as np
from report import append, machine, parsed, parser
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV

from skganem import GANEMClustering

STD = 0.6


def blobs(k, apart=0.0):
    """Return a loader of 1000 points in k round groups, whose centers are so many deviations apart, and the numbers to try."""

    def load(seed):
        rng, centers = np.random.default_rng(seed), k
        while apart and (isinstance(centers, int) or pdist(centers).min() < apart * STD):
            centers = rng.uniform(-10, 10, (k, 2))
        return make_blobs(1000, centers=centers, cluster_std=STD, random_state=seed)[0], list(range(2, 11))

    return load


def digits_rows(seed):
    """Return scikit-learn's digits as rows, and the numbers of clusters to try."""
    return load_digits().data, list(range(4, 17, 1))


DATA = {
    "blobs-3": blobs(3), "blobs-5": blobs(5), "blobs-8": blobs(8), "blobs-8-apart": blobs(8, apart=4.0),
    "digits-rows": digits_rows,
}  # fmt: skip


def by_score(X, numbers, seed, arguments):
    """Return the mean score of `GANEMClustering` on held-out samples for each number."""
    model = GANEMClustering(image_shape=None, max_iter=arguments.max_iter, random_state=seed)
    search = GridSearchCV(model, {"n_clusters": numbers}, cv=arguments.folds, refit=False).fit(X)
    return search.cv_results_["mean_test_score"]


def by_bic(X, numbers, seed, arguments):
    """Return the BIC of a Gaussian mixture, negated, for each number."""
    return [-GaussianMixture(k, n_init=5, random_state=seed).fit(X).bic(X) for k in numbers]


def by_silhouette(X, numbers, seed, arguments):
    """Return the silhouette of k-means for each number."""
    return [silhouette_score(X, KMeans(k, n_init=10, random_state=seed).fit_predict(X)) for k in numbers]


METHODS = {"GAN-EM": by_score, "GaussianMixture, BIC": by_bic, "KMeans, silhouette": by_silhouette}


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "choosing_k")
    asked.add_argument("--data", nargs="+", choices=DATA, default=["blobs-3", "blobs-5", "blobs-8"])
    asked.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    asked.add_argument("--folds", type=int, default=3)
    asked.add_argument("--max-iter", type=int, help="EM iterations of each fit; the recipe's unless it is given")
    arguments = parsed(asked)
    for data, method, seed in ((d, m, s) for d in arguments.data for m in arguments.methods for s in arguments.seeds):
        X, numbers = DATA[data](seed)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = list(map(float, METHODS[method](X, numbers, seed, arguments)))
        run = {"data": data, "method": method, "seed": seed, "numbers": numbers, "max_iter": arguments.max_iter}
        figures = {"chosen": numbers[int(np.argmax(scores))], "scores": scores}
        append(arguments.out, {**run, **figures, "seconds": time.perf_counter() - start, **machine()})
        print(f"{data} {method} {seed}: {figures['chosen']} clusters, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
