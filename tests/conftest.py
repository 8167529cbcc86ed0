import os

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs, make_moons

from skganem import Recipe
from skganem.core.data.dataset import Scaling, Source
from skganem.core.graph import spectral as graph

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests run side by side; torch's own threads would only get in each other's way."""
    torch.set_num_threads(1)


def fast_recipe(**changes):
    """Make a recipe that runs through all of the code in a few seconds at most."""
    small = {
        "max_iter": 2, "min_m_steps": 3, "max_m_steps": 5, "min_e_steps": 10, "e_epochs": 0, "e_rounds": 2, "width": 8,
        "n_unheard": 1, "representation_steps": 5, "batch_size": 32, "e_batch_size": 32, "representation_batch_size": 32,
        "n_neighbors": 6,
    }  # fmt: skip
    return Recipe().but(**{**small, **changes})


def source_of(X, shape=None):
    """Return the source of images or rows X as the estimators make it, on the CPU."""
    X = np.asarray(X).reshape(len(X), -1)
    shape = shape or (X.shape[1],)
    return Source(X, shape, Scaling.of(X, shape), torch.device("cpu"))


def links_of(X, n_neighbors):
    """Return the affinity matrix of the neighbour graph of X (n, d)."""
    points = torch.tensor(X, dtype=torch.float32)
    return graph.affinity(graph.neighbours(points, n_neighbors).numpy())


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
