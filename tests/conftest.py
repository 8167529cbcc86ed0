import os

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs, make_circles, make_moons

from skganem import Recipe
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.em.state import EMState
from skganem.core.fit import FitSpec, fit
from skganem.core.graph.affinity import jaccard_affinity
from skganem.core.graph.knn import NeighborGraph, find_neighbors, k_nearest
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec

os.environ.setdefault("MPLBACKEND", "Agg")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests run side by side; torch's own threads would only get in each other's way."""
    torch.set_num_threads(1)


def fast_recipe(**changes):
    """Make a recipe that runs through all of the code in a few seconds at most."""
    small = {
        "max_iter": 2, "min_m_steps": 3, "max_m_steps": 5, "min_e_steps": 10, "e_epochs": 0, "e_rounds": 2, "width": 8,
        "n_warmup_iter": 1, "encoder_steps": 5, "batch_size": 32, "e_batch_size": 32, "encoder_batch_size": 32,
        "n_neighbors": 6,
    }  # fmt: skip
    return Recipe().but(**{**small, **changes})


def dataset_of(X, shape=None, scaler=None):
    """Return the data set of images or rows X as the estimators make it, on the CPU."""
    X = np.asarray(X).reshape(len(X), -1)
    shape = shape or (X.shape[1],)
    return ArrayDataset(X, shape, scaler or Scaler.fit(X, shape), CPU)


def unscaled(X, shape=None):
    """Return the data set of images or rows X whose values are left as they are."""
    return dataset_of(X, shape, Scaler(np.zeros(1), 1.0))


def small_model(shape, n_clusters=2, encoder=None):
    """Return an untrained model of narrow networks."""
    model = MixtureModel(NetworkSpec(shape, n_clusters, 4, 4), DEFAULT_NETWORKS, 0, CPU)
    model.encoder = encoder
    return model


def affinity_of(X, n_neighbors):
    """Return the affinity matrix of the neighbor graph of X (n, d)."""
    points = torch.tensor(X, dtype=torch.float32)
    return jaccard_affinity(k_nearest(points, n_neighbors).numpy())


def graph_of(X, size=10_000, n_neighbors=10, n_clusters=3):
    """Return the neighbor graph of rows X."""
    dataset = dataset_of(np.asarray(X, dtype=np.float32))
    return neighbor_graph_of(dataset, small_model(dataset.shape, n_clusters).embed, n_clusters, n_neighbors, size)


def neighbor_graph_of(dataset, embed, n_clusters, n_neighbors, size, hybrid=False):
    """Return the neighbor graph of a data set."""
    lists = find_neighbors(dataset, embed, n_neighbors, size, torch.Generator().manual_seed(0), hybrid=hybrid)
    return NeighborGraph(lists, n_clusters, n_neighbors, len(dataset.shape) == 3, 0)


def embeddings(n=400, n_classes=5, seed=0):
    """Return rows as a network's embeddings are: of directions by class, and of any length; and the classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    directions = rng.normal(size=(n_classes, 160))[y] + 2 * rng.normal(size=(n, 160))
    return (directions * rng.lognormal(0, 0.6, size=(n, 1)) + 1).astype(np.float32), y


def count_calls(monkeypatch, module, *names):
    """Have some functions of a module noted in a list, by their names, whenever they are called; return the list."""
    calls = []

    def noting(name, original):
        return lambda *args, **settings: calls.append(name) or original(*args, **settings)

    for name in names:
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    return calls


def state_of(X, n_clusters=3, shape=None, **changes):
    """Return the state of the EM loop before its first iteration."""
    dataset, recipe = dataset_of(X, shape), fast_recipe(**changes)
    spec = NetworkSpec(dataset.shape, n_clusters, recipe.n_noise, recipe.width)
    return EMState(
        MixtureModel(spec, recipe.networks, 0, CPU), dataset, recipe, torch.Generator().manual_seed(0), torch.float32
    )


def fit_core(X, n_clusters=3, shape=None, **changes):
    """Fit the core to X, with changes to the fast recipe."""
    return fit(FitSpec(dataset_of(X, shape), n_clusters, fast_recipe(**changes), torch.float32), 0)


def one_hot(y, n_clusters):
    return torch.nn.functional.one_hot(torch.as_tensor(y), n_clusters).float()


def everything(model, X):
    """Return all that a fit has found, apart from how long it took."""
    history = [values.tobytes() for name, values in model.history_.items() if name != "seconds"]
    samples = model.sample(5, random_state=0)[0]
    return model.predict_proba(X).tobytes(), model.weights_.tobytes(), model.criterion_, samples.tobytes(), history


def weights(module):
    """Return all parameters of a network in one vector."""
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def draw_labels(y, per_class, seed=0):
    """Return the positions and the classes of a few samples of each class, drawn at random."""
    rng = np.random.default_rng(seed)
    index = [rng.choice(np.flatnonzero(y == label), per_class, replace=False) for label in np.unique(y)]
    index = torch.from_numpy(np.sort(np.concatenate(index)))
    return index, torch.from_numpy(y)[index]


def rings():
    """Return two classes of rows (n, 2) whose neighbors are of the same class."""
    return make_circles(600, factor=0.5, noise=0.03, random_state=0)


def directions():
    """Return two classes of rows, told apart in a direction in which they hardly differ: neighbors say nothing of them."""
    X = np.random.default_rng(0).normal(size=(600, 20))
    return X, (X[:, :4].sum(1) > 0).astype(int)


class SignClassifier(torch.nn.Module):
    """Logits (n, 2) that are sure of a sample's class: whether its first value is positive."""

    def __init__(self, scale=40.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * one_hot((x.flatten(1)[:, 0] > 0).long(), 2)


@pytest.fixture
def fast():
    return fast_recipe()


@pytest.fixture(scope="session")
def blobs():
    return make_blobs(150, centers=3, n_features=4, cluster_std=0.8, random_state=0)


@pytest.fixture(scope="session")
def moons():
    return make_moons(400, noise=0.05, random_state=0)


@pytest.fixture(scope="session")
def digits():
    """300 images (300, 8, 8), values 0 to 16, and their classes."""
    X, y = load_digits(return_X_y=True)
    return X[:300].reshape(-1, 8, 8), y[:300]
