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

#: Values of broken pixels, and how many of these there are: one, or a share of all.
BROKEN = [(-9999.0, 0), (-9999.0, 0.001), (-9999.0, 0.01), (65535.0, 0), (65535.0, 0.001), (65535.0, 0.01)]
CENTERS = np.array([[0, 0], [10, 0], [0, 10]])


def broken(X, value, share, rng):
    """Return a copy of X in which some pixels have another value."""
    X = X.copy()
    X.flat[rng.choice(X.size, max(1, round(share * X.size)), replace=False)] = value
    return X


def errors_with(change, seed):
    """Return the errors of the clustering and of the classifier on digits that are changed before fit."""
    X, y = load_digits(return_X_y=True)
    labels = GANEMClustering(10, random_state=seed).fit_predict(change(X, seed))
    X, y_train, X_test, y_test = halves(np.random.default_rng(seed))
    classifier = GANEMSemiSupervisedClassifier(random_state=seed)
    classifier.fit(change(X, seed), hide(y_train, 5, np.random.default_rng(seed)))
    return clustering_error(y, labels), 1 - classifier.score(X_test, y_test)


def scores_with(make, sizes, init, seed):
    """Return adjusted Rand indices: of all clusters, of the equal samples against all others, and of k-means."""
    X, y, n_clusters = make(*sizes, seed)
    labels = GANEMClustering(n_clusters, init=init, random_state=seed).fit_predict(X)
    last = y == y.max()
    apart = adjusted_rand_score(last, labels == np.bincount(labels[last]).argmax())
    rival = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(X)
    return adjusted_rand_score(y, labels), apart, adjusted_rand_score(y, rival)


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
    """Print the figures of each case."""
    asked = parser(__doc__, "robustness")
    asked.add_argument("--only", choices=["broken", "equal"], help="one kind of data")
    arguments = parsed(asked)
    warnings.simplefilter("ignore")
    changes = {"no broken pixel": lambda X, seed: X}
    for value, share in BROKEN:
        name = f"{share:.1%} of the pixels" if share else "one pixel"
        changes[f"{name} {value:g}"] = lambda X, seed, v=value, s=share: broken(X, v, s, np.random.default_rng(seed))
    for name, change in changes.items() if arguments.only != "equal" else ():
        clustering, classifier = 100 * np.mean([errors_with(change, seed) for seed in arguments.seeds], axis=0)
        print(f"{name}: clustering {clustering:.2f} %, classifier {classifier:.2f} % wrong", flush=True)
    cases = {f"{groups} groups, {n} rows apart": (equal_rows, groups, n) for groups in (1, 3) for n in (1, 2, 3, 5, 10, 20)}
    cases |= {"300 digits, 100 blanks": (blank_tiles, 300, 100), "1797 digits, 300 blanks": (blank_tiles, 1797, 300)}
    for name, (make, *sizes) in cases.items() if arguments.only != "broken" else ():
        for init in ("graph", "kmeans") if make is equal_rows else ("graph",):
            scores = np.array([scores_with(make, sizes, init, seed) for seed in arguments.seeds])
            (ours, apart, rival), worst = scores.mean(axis=0), scores.min(axis=0)
            print(
                f"{name}, {init}: ARI {ours:.3f}, worst {worst[0]:.3f}; the equal ones against all others {apart:.3f}, worst "
                f"{worst[1]:.3f}; KMeans {rival:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
