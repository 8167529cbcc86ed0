import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine, make_blobs
from sklearn.preprocessing import scale

from skganem.core.graph.hubness import hubness, prefers_cosine
from tests.conftest import embeddings


def centered(X):
    X = np.asarray(X, np.float32)
    return torch.from_numpy(X - X.mean(axis=0))


def test_embeddings_have_hubs_by_euclidean_distance():
    X, _ = embeddings()
    assert prefers_cosine(centered(X))


def test_tables_have_none():
    for X in (make_blobs(400, centers=5, random_state=0)[0], scale(load_wine().data), load_digits().data):
        assert not prefers_cosine(centered(X))


def test_few_or_equal_rows_have_no_hubs():
    assert not prefers_cosine(torch.zeros(5, 3))
    assert not prefers_cosine(torch.ones(50, 3))


def test_a_point_that_is_a_neighbor_of_all_others_is_a_hub():
    sphere = torch.nn.functional.normalize(torch.randn(60, 200, generator=torch.Generator().manual_seed(0)), dim=1)
    assert hubness(torch.cat([sphere, torch.zeros(1, 200)])) > hubness(sphere) + 2
