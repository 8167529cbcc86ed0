"""Errors on data with broken pixels, and on data in which many samples are equal.

    python benchmarks/robustness.py --seeds 5

Broken are pixels of the digits; equal samples are rows far from groups of points, and blank images among digits.
"""

import warnings

import numpy as np
from report import parsed, parser
from semi_supervised import halves, hide
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import adjusted_rand_score

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier
from skganem.metrics import clustering_error

#: Shares of the pixels that are broken; 0 stands for a single one.
BROKEN = {"clean": None, "one wild pixel": 0, "0.1 % wild": 0.001, "1 % wild": 0.01}
CENTERS = np.array([[0, 0], [10, 0], [0, 10]])


def broken(X, share, value, rng):
    """Return a copy of X in which some pixels have another value."""
    X = X.copy()
    places = rng.choice(X.size, max(1, round(share * X.size)), replace=False) if share is not None else []
    X.flat[places] = value
    return X


def equal_rows(n_groups, n_rows, seed):
    """Return 300 points in groups, and 100 rows far from them of which only some differ; what each is of."""
    rng = np.random.default_rng(seed)
    X, y = make_blobs(300, centers=CENTERS[:n_groups], random_state=seed)
    rows = (40 / np.sqrt(2) + rng.normal(size=(n_rows, 2))).repeat(100 // n_rows, axis=0)
    return np.vstack([X, rows]), np.r_[y, np.full(len(rows), n_groups)], n_groups + 1


def blank_tiles(n_digits, n_blank, seed):
    """Return images of digits and blank ones."""
    X, y = load_digits(return_X_y=True)
    some = np.random.default_rng(seed).choice(len(X), n_digits, replace=False)
    return np.vstack([X[some], np.zeros((n_blank, 64))]), np.r_[y[some], np.full(n_blank, 10)], 11


def main():
    """Print the figures of each seed, and their means."""
    seeds = parsed(parser(__doc__, "robustness")).seeds
    warnings.simplefilter("ignore")
    for value in (-9999.0, 65535.0):
        for name, share in BROKEN.items():
            errors = []
            for seed in seeds:
                X, y = load_digits(return_X_y=True)
                X = broken(X, share, value, np.random.default_rng(seed))
                labels = GANEMClustering(10, random_state=seed).fit_predict(X)
                X, y_train, X_test, y_test = halves(np.random.default_rng(seed))
                X = broken(X, share, value, np.random.default_rng(seed))
                classifier = GANEMSemiSupervisedClassifier(random_state=seed)
                classifier.fit(X, hide(y_train, 5, np.random.default_rng(seed)))
                errors.append((clustering_error(y, labels), 1 - classifier.score(X_test, y_test)))
                print(f"{name} ({value:g}), seed {seed}: {errors[-1][0]:.4f}, {errors[-1][1]:.4f}", flush=True)
            mean = 100 * np.mean(errors, axis=0)
            print(f"{name} ({value:g}): clustering {mean[0]:.2f} %, classifier {mean[1]:.2f} % wrong", flush=True)
    cases = {f"{groups} groups, {n} rows apart": (equal_rows, groups, n) for groups in (1, 3) for n in (1, 2, 3, 5, 10, 20)}
    cases |= {"300 digits, 100 blanks": (blank_tiles, 300, 100), "1797 digits, 300 blanks": (blank_tiles, 1797, 300)}
    for name, (make, *sizes) in cases.items():
        for init in ("graph", "kmeans") if make is equal_rows else ("graph",):
            scores = []
            for seed in seeds:
                X, y, n_clusters = make(*sizes, seed)
                labels = GANEMClustering(n_clusters, init=init, random_state=seed).fit_predict(X)
                rival = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(X)
                last = y == y.max()
                apart = adjusted_rand_score(last, labels == np.bincount(labels[last]).argmax())
                scores.append((adjusted_rand_score(y, labels), apart, adjusted_rand_score(y, rival)))
            ours, apart, theirs = zip(*scores, strict=True)
            print(
                f"{name}, {init}: ARI {np.mean(ours):.3f}, worst {min(ours):.3f}; the equal ones against all others "
                f"{np.mean(apart):.3f}, worst {min(apart):.3f}; KMeans {np.mean(theirs):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
