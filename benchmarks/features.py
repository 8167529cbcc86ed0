"""Features learned without labels: a linear classifier on them, and the clusters of an E-net with few units.

    SKGANEM_DATA=/path/to/data python benchmarks/features.py --data mnist-10k --seeds 5
    SKGANEM_DATA=/path/to/data python benchmarks/features.py --data mnist-10k --methods "GAN-EM 2" --seeds 5

Every method sees the training images only. The test error is that of a logistic regression that is given all labels of the
training images and their features. For GAN-EM, the clustering error of the E-net on the training images stands beside it.
"""

import time
import warnings

import numpy as np
from report import append, machine, parsed, parser, peak_memory, read, table
from semi_supervised import halves, mnist_with
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skganem import GANEMTransformer, clustering_error


def umap(seed):
    """UMAP to 10 dimensions; needs the package umap-learn."""
    from umap import UMAP

    return UMAP(n_components=10, random_state=seed)


DATA = {"digits": lambda seed: halves(np.random.default_rng(seed)), "mnist-10k": mnist_with(None)}
METHODS = {
    "GAN-EM 2": lambda seed: GANEMTransformer(2, n_clusters=10, random_state=seed),
    "GAN-EM 100": lambda seed: GANEMTransformer(100, n_clusters=10, random_state=seed),
    "pixels": lambda seed: FunctionTransformer(),
    "PCA 2": lambda seed: PCA(2, random_state=seed),
    "PCA 100": lambda seed: PCA(100, random_state=seed),
    "UMAP 10": umap,
}


def run(data, method, seed):
    """Learn features and test them once; return the record."""
    X, y, X_test, y_test = DATA[data](seed)
    if not method.startswith("GAN-EM"):
        X, X_test = (part.reshape(len(part), -1).astype(np.float32) for part in (X, X_test))
    transformer, figures = METHODS[method](seed), {}
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = transformer.fit_transform(X)
        seconds = time.perf_counter() - start
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, y)
        error = 1 - classifier.score(transformer.transform(X_test), y_test)
    if method.startswith("GAN-EM"):
        figures["clustering_error"] = clustering_error(y, transformer._posterior(X).argmax(axis=1))
    run = {"data": data, "method": method, "seed": seed, "error": error, **figures, "seconds": seconds}
    return {**run, "peak_memory": peak_memory(), **machine()}


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "features")
    asked.add_argument("--data", nargs="+", choices=DATA, default=["digits"])
    asked.add_argument("--methods", nargs="+", choices=METHODS, default=["GAN-EM 2", "GAN-EM 100", "PCA 2", "PCA 100"])
    arguments = parsed(asked)
    for data in arguments.data:
        for method in arguments.methods:
            for seed in arguments.seeds:
                record = run(data, method, seed)
                append(arguments.out, record)
                clusters = f", clustering {record['clustering_error']:.4f}" if "clustering_error" in record else ""
                print(f"{data} {method} {seed}: {record['error']:.4f}{clusters}, {record['seconds']:.1f} s", flush=True)
    records = read(arguments.out)
    table(records, ("data", "method"), "error")
    table([record for record in records if "clustering_error" in record], ("data", "method"), "clustering_error")


if __name__ == "__main__":
    main()
