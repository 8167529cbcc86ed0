"""How good generated images are, by the judgement of a classifier that was trained on other images.

    SKGANEM_DATA=/path/to/data python benchmarks/samples.py --data mnist-10k --seeds 2

The figures are the Fréchet distance between features of samples and of real images (0 for equal distributions); density and
coverage (Naeem et al. 2020): how many real images a sample is among, and the share of real images with a sample nearby; the
mean and least coverage over clusters; GAN-test, the share of samples that the judge takes for the class that their cluster
stands for; and GAN-train, the test error of a classifier that learns from samples alone. Beside them stand real images, the
same GAN with all labels, and samples of mixtures and densities. Labels serve for judging, and for nothing else.
"""

import time
import warnings

import numpy as np
import torch
from data import digits, mnist, optdigits
from report import append, machine, parsed, parser, read, table
from rivals import SupervisedNetwork
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, NearestNeighbors

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier
from skganem.core.data.dataset import ArrayDataset

#: Samples that are judged, and neighbors that density and coverage count, as Naeem et al. have them.
N_SAMPLES, N_NEIGHBORS = 10_000, 5


def mnist_10k():
    """Return the first 10,000 training images, the other 50,000, and the test images, each with classes."""
    data = mnist()
    X, y = data["x_train"], data["y_train"].astype(int)
    return (X[:10_000], y[:10_000]), (X[10_000:], y[10_000:]), (data["x_test"], data["y_test"].astype(int))


def digits_of_others():
    """Return scikit-learn's digits, and two parts of the digits of other writers."""
    X, y = optdigits(0)
    return digits(0), (X[:2823], y[:2823]), (X[2823:], y[2823:])


DATA = {"mnist-10k": mnist_10k, "digits": digits_of_others}


class Judge:
    """A network that was trained on images which no method saw: its features and its classes."""

    def __init__(self, X, y):
        self.network = SupervisedNetwork(seed=0).fit(X, y)

    @torch.no_grad()
    def features(self, X):
        """Return the features (n, m) of images."""
        network = self.network
        dataset = ArrayDataset(X.reshape(len(X), -1), network.shape_, network.scaler_, network.device_)
        parts = torch.arange(len(X)).split(1024)
        return torch.cat([network.net_.features(dataset.get_batch(part)) for part in parts]).cpu().double().numpy()

    def classes(self, X):
        """Return the classes (n,) of images."""
        return self.network.predict(X)


def frechet_distance(a, b):
    """Return the Fréchet distance between normal distributions with the moments of two sets of features."""
    mean = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the square root of a product of covariances is the sum of singular values of the roots' product.
    cross = np.linalg.svd(square_root(one) @ square_root(other), compute_uv=False).sum()
    return float(mean + np.trace(one) + np.trace(other) - 2 * cross)


def square_root(covariance):
    """Return the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def density_and_coverage(real, fake, k=N_NEIGHBORS):
    """Return how many of the real images' neighborhoods samples lie in, over k, and the share of these that have a sample."""
    k = min(k, len(real) - 1)
    radius = NearestNeighbors(n_neighbors=k + 1).fit(real).kneighbors(real)[0][:, -1]
    inside = np.zeros(len(real))
    for part in np.array_split(fake, max(1, len(fake) // 1000)):
        squared = np.square(real).sum(1)[:, None] - 2 * real @ part.T + np.square(part).sum(1)
        inside += (squared <= np.square(radius)[:, None]).sum(axis=1)
    return float(inside.sum() / (k * len(fake))), float((inside > 0).mean())


def class_of_clusters(labels, y):
    """Return the class that each cluster stands for, one each, and by the majority where clusters are more than classes."""
    table = np.zeros((labels.max() + 1, y.max() + 1))
    np.add.at(table, (labels, y), 1)
    classes = table.argmax(axis=1)
    clusters, matched = linear_sum_assignment(-table)
    classes[clusters] = matched
    return classes


def judge_samples(judge, fake, clusters, real, labels, classes):
    """Return the figures that need no training: of samples by themselves, and, if they have clusters, by these."""
    real_features, fake_features = judge.features(real), judge.features(fake)
    density, coverage = density_and_coverage(real_features, fake_features)
    figures = {"frechet": frechet_distance(real_features, fake_features), "density": density, "coverage": coverage}
    if clusters is not None:
        each = [
            density_and_coverage(real_features[labels == i], fake_features[clusters == i])[1]
            for i in np.unique(labels)
            if (labels == i).sum() > 1 and (clusters == i).any()
        ]
        figures |= {"cluster_coverage": float(np.mean(each)), "least_cluster_coverage": float(min(each))}
        figures["gan_test"] = float((judge.classes(fake) == classes[clusters]).mean())
    return figures


def gan_train_error(fake, classes, X_test, y_test, seed):
    """Return the test error of a network that learned from samples and the classes that they were drawn for."""
    return float((SupervisedNetwork(seed).fit(fake, classes).predict(X_test) != y_test).mean())


def sources(X, y, seed):
    """Yield a name, samples, their clusters or None, the clusters of real images, each cluster's class, and CPU seconds."""
    shape, n = X.shape[1:], N_SAMPLES
    rows = X.reshape(len(X), -1).astype(float)
    for name, fit in (
        ("GAN-EM", lambda: GANEMClustering(10, random_state=seed).fit(X)),
        ("GAN with true labels", lambda: GANEMSemiSupervisedClassifier(random_state=seed).fit(X, y)),
    ):
        start = time.process_time()
        model = fit()
        seconds = time.process_time() - start
        clusters = np.arange(n) % 10
        fake, _ = model.sample(n, y=clusters)
        labels = getattr(model, "labels_", y)
        yield name, fake, clusters, labels, class_of_clusters(labels, y), seconds
    pca = PCA(0.95, random_state=seed).fit(rows)
    for name, density in (
        ("GaussianMixture, 50", GaussianMixture(50, covariance_type="diag", random_state=seed)),
        ("KernelDensity", KernelDensity(bandwidth="scott")),
    ):
        start = time.process_time()
        density.fit(pca.transform(rows))
        drawn = density.sample(n, random_state=seed) if name == "KernelDensity" else density.sample(n)[0]
        fake = pca.inverse_transform(drawn).clip(rows.min(), rows.max()).reshape(n, *shape)
        yield name, fake, None, None, None, time.process_time() - start
    yield "training images", X, y, y, np.arange(10), 0.0


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "samples", seeds=1)
    asked.add_argument("--data", nargs="+", choices=DATA, default=["digits"])
    arguments = parsed(asked)
    for data in arguments.data:
        (X, y), others, (X_test, y_test) = DATA[data]()
        judge = Judge(*others)
        for seed in arguments.seeds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for name, fake, clusters, labels, classes, seconds in sources(X, y, seed):
                    # Training images are compared with test images, and all else with the training images.
                    real, own = (X_test, y_test) if name == "training images" else (X, labels)
                    figures = judge_samples(judge, fake, clusters, real, own, classes)
                    if clusters is not None:
                        figures["gan_train"] = gan_train_error(fake, classes[clusters], X_test, y_test, seed)
                    run = {"data": data, "method": name, "seed": seed, **figures, "seconds": seconds}
                    append(arguments.out, {**run, **machine()})
                    print(data, name, seed, {key: round(value, 4) for key, value in figures.items()}, flush=True)
    table(read(arguments.out), ("data", "method"), "frechet", percent=False)


if __name__ == "__main__":
    main()
