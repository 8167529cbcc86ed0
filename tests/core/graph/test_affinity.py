import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestNeighbors

from skganem.core.graph import affinity as embedding
from tests.conftest import links_of


def overlapping_groups():
    centers = np.zeros((3, 20))
    centers[1, 0] = centers[2, 1] = 4
    X, y = make_blobs([300, 300, 100], centers=centers, random_state=0)
    return links_of(X, 10), y


def test_links_between_groups_lose_most_weight():
    links, y = overlapping_groups()
    weighed = embedding.weighed_by_embeddings(links, seed=0)
    rows, columns = sp.coo_array(links).coords
    ratio, between = weighed[rows, columns] / links[rows, columns], y[rows] != y[columns]
    assert 0.01 < between.mean() < 0.2
    assert ratio[between].mean() < 0.6 * ratio[~between].mean()


def test_no_link_is_added_or_lost_and_weights_stay_symmetric():
    links, _ = overlapping_groups()
    weighed = embedding.weighed_by_embeddings(links, seed=0)
    assert ((weighed != 0) != (links != 0)).nnz == 0
    assert abs(weighed - weighed.T).max() == 0
    assert weighed.data.min() > 0
    assert (links - weighed).data.min() >= 0


def test_the_seed_decides():
    links, _ = overlapping_groups()
    first, again, other = (embedding.weighed_by_embeddings(links, seed) for seed in (0, 0, 1))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_neighbours_stay_neighbours():
    """Of points on a sheet that is rolled up, most are next to the same ones afterwards."""
    rng = np.random.default_rng(0)
    angle, height = rng.uniform(1.5 * np.pi, 4.5 * np.pi, 800), rng.uniform(0, 20, 800)
    links = links_of(np.column_stack([angle * np.cos(angle), height, angle * np.sin(angle)]), 10)
    y = embedding.neighbour_embedding(links, 10, rng)
    assert y.shape == (800, 10)
    assert np.isfinite(y).all()
    nearest = NearestNeighbors(n_neighbors=10).fit(y).kneighbors(return_distance=False)
    assert np.mean([(links[[i] * 10, near] > 0).mean() for i, near in enumerate(nearest)]) > 0.5
    rows, columns = sp.coo_array(links).coords
    linked, others = embedding.squares(y[rows] - y[columns]), embedding.squares(y - y[rng.permutation(800)])
    assert linked.mean() < 0.05 * others.mean()


def test_tears_vanish_in_the_mean(monkeypatch):
    """Of two runs, the means over embeddings agree better than single embeddings do."""
    links = links_of(np.random.default_rng(0).uniform(size=(500, 5)), 10)

    def agreement():
        first, other = (embedding.weighed_by_embeddings(links, seed).data / links.data for seed in (0, 1))
        return np.corrcoef(first, other)[0, 1]

    of_means = agreement()
    monkeypatch.setattr(embedding, "N_EMBEDDINGS", 1)
    assert 1 - of_means < 0.5 * (1 - agreement())


@pytest.mark.parametrize("n", [2, 5])
def test_a_few_nodes(n):
    links = links_of(np.random.default_rng(0).normal(size=(n, 3)), 10)
    weighed = embedding.weighed_by_embeddings(links, seed=0)
    assert weighed.nnz == links.nnz
    assert (weighed.data > 0).all()
    assert (weighed.data <= links.data).all()


def test_a_node_without_links():
    links = sp.csr_array(sp.block_diag([links_of(np.random.default_rng(0).normal(size=(30, 3)), 10), sp.csr_array((1, 1))]))
    weighed = embedding.weighed_by_embeddings(links, seed=0)
    assert weighed.shape == (31, 31)
    assert weighed.nnz == links.nnz
    assert (weighed.data > 0).all()
