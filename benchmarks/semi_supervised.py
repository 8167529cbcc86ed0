"""Test error with few labels: GAN-EM and scikit-learn's semi-supervised classifiers, over draws of the labels.

    python benchmarks/semi_supervised.py --data digits --seeds 5
    SKGANEM_DATA=/path/to/data python benchmarks/semi_supervised.py --data mnist-100 --seeds 5
    SKGANEM_DATA=/path/to/data python benchmarks/semi_supervised.py --data svhn-dev-1000 --set generated_weight=0

In each draw, the same labels are known to all methods. Data with "dev" in their names are training images alone, a part of them
held out: what defaults may be chosen on.
"""

import time
import warnings

import numpy as np
from data import ATTRIBUTES, faces, fashion, mnist, named, photo_features, svhn, typefaces
from report import add_changes, append, changes, machine, over_attributes, parsed, parser, peak_memory, read, table
from rivals import CLASSIFIERS, TAKES_IMAGES
from sklearn.datasets import load_digits

from skganem import GANEMSemiSupervisedClassifier, Recipe


def hide(y, per_class, rng):
    """Keep `per_class` labels of each class, and put -1 for the others."""
    partial = np.full_like(y, -1)
    for label in np.unique(y):
        known = rng.choice(np.flatnonzero(y == label), per_class, replace=False)
        partial[known] = label
    return partial


def halves(rng):
    """Return half of the digits to learn from, and the other half to test on."""
    X, y = load_digits(return_X_y=True)
    order = rng.permutation(len(X))
    train, test = order[: len(X) // 2], order[len(X) // 2 :]
    X = X.reshape(-1, 8, 8)
    return X[train], y[train], X[test], y[test]


def digits(draw):
    """Return half of the digits with 5 labels a class, and the other half to test on."""
    rng = np.random.default_rng(draw)
    X, y, X_test, y_test = halves(rng)
    return X, hide(y, 5, rng), X_test, y_test


def mnist_with(per_class, n=10_000):
    """Return a loader of the first n training images with some labels a class, and the 10,000 test images."""

    def load(draw):
        data = mnist()
        y = data["y_train"][:n].astype(int)
        partial = y if per_class is None else hide(y, per_class, np.random.default_rng(draw))
        return data["x_train"][:n], partial, data["x_test"], data["y_test"].astype(int)

    return load


def fashion_100(draw):
    """Return 10,000 images of clothes with 10 labels of each kind, and 10,000 others to test on."""
    (X, y), (X_test, y_test) = fashion(0), fashion(1)
    return X, hide(y, 10, np.random.default_rng(draw)), X_test, y_test


def letters_100(draw):
    """Return the letters A to J in 1000 typefaces with 10 labels of each, and those in all others to test on."""
    X, y = typefaces()
    return X[:10_000], hide(y[:10_000], 10, np.random.default_rng(draw)), X[10_000:], y[10_000:]


def photo_features_100(draw):
    """Return half of the photographs' ImageNet features with 10 labels a class, and the other half to test on."""
    rng = np.random.default_rng(draw)
    X, y = photo_features(draw)
    return development(X, y, len(y) // 2, 10, rng)


def svhn_1000(draw):
    """Return the house numbers' digits with 100 labels of each, and those of other photographs to test on."""
    data = svhn()
    y, y_test = data["y_train"].astype(int), data["y_test"].astype(int)
    return data["x_train"], hide(y, 100, np.random.default_rng(draw)), data["x_test"], y_test


def celeba_100(attribute, side):
    """Return a loader of faces, half of them with the attribute (Appendix B.3), with 50 labels each."""

    def load(draw):
        rng = np.random.default_rng(draw)
        (X, y), (X_test, y_test) = faces(attribute, side, rng)
        return X, hide(y, 50, rng), X_test, y_test

    return load


def svhn_dev_1000(draw):
    """Return 6500 of the house numbers to learn from, with 100 labels of each, and the other 1501 to test on."""
    rng, data = np.random.default_rng(1000 + draw), svhn()
    return development(data["x_train"], data["y_train"].astype(int), 1501, 100, rng)


def celeba_dev_100(attribute, side):
    """Return a loader of those faces that others learn from, a fifth of them to test on, the others with 50 labels each."""

    def load(draw):
        rng = np.random.default_rng(1000 + draw)
        (X, y), _ = faces(attribute, side, rng)
        return development(X, y, len(X) // 5, 50, rng)

    return load


def development(X, y, n_test, per_class, rng):
    """Hold out some samples to test on; return the others with a few labels, and those."""
    order = rng.permutation(len(X))
    train, test = order[n_test:], order[:n_test]
    return X[train], hide(y[train], per_class, rng), X[test], y[test]


DATA = {
    "digits": digits,
    "mnist-100": mnist_with(10),
    "mnist-1000": mnist_with(100),
    "mnist-all": mnist_with(None),
    "fashion-100": fashion_100,
    "mnist-60k-100": mnist_with(10, 60_000),
    "mnist-60k-1000": mnist_with(100, 60_000),
    "letters-100": letters_100,
    "photo-features-100": photo_features_100,
    "svhn-1000": svhn_1000,
    **{f"celeba-100/{attribute}": celeba_100(attribute, 64) for attribute in ATTRIBUTES},
    **{f"celeba-32-100/{attribute}": celeba_100(attribute, 32) for attribute in ATTRIBUTES},
    "svhn-dev-1000": svhn_dev_1000,
    **{f"celeba-32-dev-100/{attribute}": celeba_dev_100(attribute, 32) for attribute in ATTRIBUTES},
}
METHODS = {"GAN-EM": lambda seed, **settings: GANEMSemiSupervisedClassifier(random_state=seed, **settings), **CLASSIFIERS}


def run(data, method, draw, **settings):
    """Train and test once; return the record. Settings are the estimator's (GAN-EM only)."""
    X, y, X_test, y_test = DATA[data](draw)
    if method not in TAKES_IMAGES:
        X, X_test = (part.reshape(len(part), -1).astype(np.float32) for part in (X, X_test))
    estimator = METHODS[method](draw, **settings)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, y)
    seconds = time.perf_counter() - start
    figures = {"error": 1 - estimator.score(X_test, y_test), "seconds": seconds, "peak_memory": peak_memory()}
    return {"data": data, "method": method, "seed": draw, **figures, **machine()}


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "semi_supervised")
    families = sorted({name.split("/")[0] for name in DATA if "/" in name})
    plain = [name for name in DATA if "/" not in name]
    told = f"{', '.join(plain)}, and for faces {', '.join(families)}, or one attribute of these, as in celeba-100/Male"
    asked.add_argument("--data", nargs="+", choices=[*DATA, *families], metavar="NAME", default=["digits"], help=told)
    asked.add_argument("--methods", nargs="+", choices=METHODS, default=["GAN-EM", "LabelSpreading", "SelfTraining(SVC)"])
    add_changes(asked)
    asked.add_argument("--table", action="store_true", help="only print the table of the file")
    arguments = parsed(asked)
    if not arguments.table:
        for data in named(arguments.data, DATA):
            for draw in arguments.seeds:
                for method in arguments.methods:
                    settings = {"recipe": Recipe().but(**changes(arguments.set))} if method == "GAN-EM" else {}
                    record = run(data, method, draw, **settings)
                    if settings and arguments.set:
                        record["method"] = " ".join((method, *arguments.set))
                    append(arguments.out, record)
                    print(data, method, draw, f"{record['error']:.4f}", f"{record['seconds']:.1f} s", flush=True)
    table(over_attributes(read(arguments.out), ("data", "method")), ("data", "method"), "error")


if __name__ == "__main__":
    main()
