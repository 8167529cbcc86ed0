"""What one would use instead of GAN-EM: the methods that stand beside it in the tables."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, ClusterMixin, TransformerMixin
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from skganem.core.data.batches import endless_batches
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.data.images import downsample
from skganem.core.features.encoder import projection_head, warmup_cosine
from skganem.core.features.transforms import ImageWarp
from skganem.core.losses.classification import e_net_loss
from skganem.core.networks.architectures import e_net_features
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from skganem.core.networks.modules import Classifier
from skganem.core.recipe import Recipe
from skganem.core.runtime.device import autocast, channels_last, resolve_device, resolve_precision
from skganem.core.runtime.rng import fork_rng


def umap(n_components, seed, metric="euclidean"):
    """UMAP with the settings that its documentation recommends for clustering; needs the package umap-learn."""
    from umap import UMAP

    return UMAP(n_neighbors=30, min_dist=0.0, n_components=n_components, metric=metric, random_state=seed)


class UMAPHDBSCAN(ClusterMixin, BaseEstimator):
    """UMAP to 2 dimensions, then HDBSCAN, as UMAP's documentation clusters MNIST: the number of clusters is found."""

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X, y=None):
        """Find the clusters; the smallest one has one part in 140 of the samples, as 500 of 70,000 digits."""
        clusterer = HDBSCAN(min_samples=10, min_cluster_size=max(5, len(X) // 140), copy=True)
        self.labels_ = clusterer.fit_predict(umap(2, self.seed).fit_transform(X))
        return self


class EVoCClustering(ClusterMixin, BaseEstimator):
    """EVoC, told the number of clusters; what it takes for noise joins the majority of its 15 nearest neighbors."""

    def __init__(self, n_clusters, seed):
        self.n_clusters, self.seed = n_clusters, seed

    def fit(self, X, y=None):
        """Find the clusters of rows; needs the package evoc."""
        from evoc import EVoC

        labels = EVoC(noise_level=0.0, approx_n_clusters=self.n_clusters, random_state=self.seed).fit_predict(X)
        found = labels >= 0
        if not found.all():
            labels[~found] = KNeighborsClassifier(15).fit(X[found], labels[found]).predict(X[~found])
        self.labels_ = labels
        return self


class SimCLR(TransformerMixin, BaseEstimator):
    """Features of images by SimCLR (Chen et al. 2020), with GAN-EM's encoder and warps, for others to cluster."""

    def __init__(self, seed, n_steps=400, batch_size=256, rate=4e-3, temperature=0.5):
        self.seed, self.n_steps, self.batch_size, self.rate, self.temperature = seed, n_steps, batch_size, rate, temperature

    def fit(self, X, y=None):
        """Learn from images (n, h, w) or (n, h, w, c)."""
        device, recipe, shape = resolve_device("auto"), Recipe(), image_shape(X)
        self.scaler_ = Scaler.fit(X.reshape(len(X), -1), shape)
        self.model_ = MixtureModel(NetworkSpec(shape, 1, recipe.n_noise, recipe.width), recipe.networks, self.seed, device)
        rng, dtype = torch.Generator(device).manual_seed(self.seed), resolve_precision("auto", device, convolutional=True)
        dataset, encoder, warp = self._dataset(X), self.model_.add_encoder().train(), ImageWarp(contrast=0.0)
        head = projection_head(encoder.n_features, self.seed).to(device)
        optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=self.rate, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, self.n_steps))
        for index in endless_batches(len(X), self.batch_size, self.n_steps, rng):
            x = downsample(dataset.get_batch(index))
            with autocast(device, dtype):
                views = head(encoder(channels_last(torch.cat([warp(x, index, rng), warp(x, index, rng)]))))
            loss = nt_xent_loss(*views.float().chunk(2), self.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        encoder.eval()
        return self

    def transform(self, X):
        """Return the features (n, m) of images, of length 1."""
        return self.model_.embed(self._dataset(X)).cpu().numpy()

    def _dataset(self, X):
        return ArrayDataset(X.reshape(len(X), -1), self.model_.spec.shape, self.scaler_, self.model_.device)


def nt_xent_loss(a, b, temperature):
    """NT-Xent (SimCLR, Eq. 1) of projections of two views (n, m): each view must find its partner among all others."""
    views = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
    similarity = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(similarity, torch.arange(len(views), device=views.device).roll(len(a)))


def image_shape(X):
    """Return (channels, height, width) of images (n, h, w) or (n, h, w, c)."""
    return (1 if X.ndim == 3 else X.shape[3], *X.shape[1:3])


def clustpy(name, k, seed):
    """Return a deep clustering of the package ClustPy, with its defaults, on values from 0 to 1."""
    from clustpy import deep

    return make_pipeline(FunctionTransformer(from_0_to_1), getattr(deep, name)(k, random_state=seed))


def from_0_to_1(X):
    """Scale all features by one common range."""
    return (X - X.min()) / np.ptp(X)


CLUSTERERS = {
    "KMeans": lambda k, seed: KMeans(k, n_init=10, random_state=seed),
    "GaussianMixture": lambda k, seed: GaussianMixture(k, covariance_type="diag", random_state=seed),
    "PCA + GMM": lambda k, seed: make_pipeline(PCA(0.9, random_state=seed), GaussianMixture(k, random_state=seed)),
    "SpectralClustering": lambda k, seed: SpectralClustering(k, affinity="nearest_neighbors", random_state=seed),
    "UMAP + GMM": lambda k, seed: make_pipeline(umap(10, seed), GaussianMixture(k, random_state=seed)),
    "UMAP cosine + KMeans": lambda k, seed: make_pipeline(umap(10, seed, "cosine"), KMeans(k, n_init=10, random_state=seed)),
    "UMAP cosine + GMM": lambda k, seed: make_pipeline(umap(10, seed, "cosine"), GaussianMixture(k, random_state=seed)),
    "UMAP + HDBSCAN": lambda k, seed: UMAPHDBSCAN(seed),
    "EVoC": lambda k, seed: EVoCClustering(k, seed),
    "SimCLR + KMeans": lambda k, seed: make_pipeline(SimCLR(seed), KMeans(k, n_init=10, random_state=seed)),
    "SimCLR + UMAP + GMM": lambda k, seed: make_pipeline(SimCLR(seed), umap(10, seed), GaussianMixture(k, random_state=seed)),
    "SimCLR + UMAP + HDBSCAN": lambda k, seed: make_pipeline(SimCLR(seed), UMAPHDBSCAN(seed)),
    "ClustPy DEC": lambda k, seed: clustpy("DEC", k, seed),
    "ClustPy VaDE": lambda k, seed: clustpy("VaDE", k, seed),
}


class SupervisedNetwork(ClassifierMixin, BaseEstimator):
    """The E-net's layers and warps, trained in the usual way on the labeled images alone."""

    def __init__(self, seed, n_steps=2000, batch_size=128, width=32, rate=1e-3, device="auto"):
        self.seed, self.n_steps, self.batch_size, self.width, self.rate = seed, n_steps, batch_size, width, rate
        self.device = device

    def fit(self, X, y):
        """Learn from the images (n, h, w) or (n, h, w, c) whose y is not -1."""
        known = y != -1
        self.classes_, codes = np.unique(y[known], return_inverse=True)
        self.device_ = resolve_device(self.device)
        self.shape_ = image_shape(X)
        labels = torch.from_numpy(codes).to(self.device_)
        rows = X[known].reshape(known.sum(), -1)
        self.scaler_ = Scaler.fit(rows, self.shape_)
        dataset = ArrayDataset(rows, self.shape_, self.scaler_, self.device_)
        rng = torch.Generator(self.device_).manual_seed(self.seed)
        with fork_rng(self.seed):
            net = Classifier(e_net_features(self.shape_, self.width), 16 * self.width, len(self.classes_)).to(self.device_)
        optimizer, warp = torch.optim.Adam(net.parameters(), lr=self.rate), ImageWarp(contrast=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, self.n_steps))
        for index in endless_batches(len(rows), min(self.batch_size, len(rows)), self.n_steps, rng):
            with autocast(self.device_, resolve_precision("auto", self.device_, convolutional=True)):
                logits = net(warp(dataset.get_batch(index), index, rng)).float()
            loss = e_net_loss(logits, labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self.net_ = net.eval()
        return self

    @torch.no_grad()
    def predict(self, X):
        """Return the classes of images."""
        dataset = ArrayDataset(X.reshape(len(X), -1), self.shape_, self.scaler_, self.device_)
        logits = [self.net_(dataset.get_batch(part)) for part in torch.arange(len(X)).split(1024)]
        return self.classes_[torch.cat(logits).argmax(1).cpu().numpy()]


def self_training(seed):
    """Self-training of scikit-learn's support vector classifier, whose probabilities it needs."""
    return SelfTrainingClassifier(SVC(gamma="scale", probability=True, random_state=seed))


def spreading(seed):
    """Label spreading over a graph of nearest neighbors: a dense kernel of 10,000 rows would take 800 MB."""
    return LabelSpreading(kernel="knn", n_neighbors=7)


class LabeledOnly(ClassifierMixin, BaseEstimator):
    """A classifier that learns from the labeled samples alone."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        """Learn from the rows whose y is not -1."""
        self.classifier.fit(X[y != -1], y[y != -1])
        self.classes_ = self.classifier.classes_
        return self

    def predict(self, X):
        """Return the classes of rows."""
        return self.classifier.predict(X)


CLASSIFIERS = {
    "LogisticRegression": lambda seed: LabeledOnly(LogisticRegression(max_iter=1000)),
    "SVC": lambda seed: LabeledOnly(SVC()),
    "LabelSpreading": spreading,
    "SelfTraining(SVC)": self_training,
    "PCA + LabelSpreading": lambda seed: make_pipeline(PCA(100, random_state=seed), spreading(seed)),
    "PCA + SelfTraining(SVC)": lambda seed: make_pipeline(PCA(100, random_state=seed), self_training(seed)),
    "supervised network": SupervisedNetwork,
}
#: These take images; the others take rows.
TAKES_IMAGES = (
    "GAN-EM",
    "GAN-EM fast",
    "GAN-EM paper",
    "supervised network",
    *(name for name in CLUSTERERS if name.startswith("SimCLR")),
)
