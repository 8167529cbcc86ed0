import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_score

from skganem.core.graph.spectral import EIGSH_TAKES_RNG, diffusion_embedding, leading_eigenpairs, within_cluster_rank


def test_ranks_fall_linearly_from_the_median_of_each_cluster():
    embedding = np.array([[0.0], [1.0], [3.0], [2.0], [7.0], [9.0], [5.0]])
    labels = np.array([0, 0, 0, 0, 1, 1, -1])
    ranked = within_cluster_rank(embedding, labels)
    np.testing.assert_allclose(np.sort(ranked[:4]), [0.25, 0.5, 0.75, 1.0])
    assert set(ranked[[1, 3]]) == {0.75, 1.0}  # the median is 1.5
    assert set(ranked[4:6]) == {0.5, 1.0}
    assert ranked[6] == 0


@pytest.mark.skipif(not EIGSH_TAKES_RNG, reason="SciPy's ARPACK can't be told what to draw from")
def test_eigenvectors_of_equal_eigenvalues_are_the_same_each_time():
    """A star has three eigenvalues; those of 0 have no vectors of their own, and ARPACK begins anew at random."""
    star = sp.coo_array((np.full(1499, 1499**-0.5), (np.zeros(1499, dtype=int), np.arange(1, 1500))), shape=(1500, 1500))
    star = sp.csr_array(star + star.T)
    (_, first), (_, second) = (leading_eigenpairs(star, 10, seed=0) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_diffusion_embedding_separates_many_groups():
    centers = 10.0 * np.array(np.meshgrid(range(5), range(5), range(2))).reshape(3, 50).T
    X, y = make_blobs(1500, centers=centers, random_state=0)
    embedding = diffusion_embedding(torch.tensor(X, dtype=torch.float32))
    assert silhouette_score(embedding, y) > 0.95


def test_the_diffusion_embedding_of_equal_points():
    assert not diffusion_embedding(torch.ones(20, 3)).any()


@pytest.mark.parametrize("copies", [2, 12])
def test_the_diffusion_embedding_does_not_depend_on_copies(blobs, copies):
    points = torch.tensor(blobs[0], dtype=torch.float32)
    repeated = torch.cat([points] * copies)[torch.randperm(copies * 150, generator=torch.Generator().manual_seed(0))]
    of_each = torch.cdist(repeated, points).argmin(dim=1).numpy()
    embedding, alone = diffusion_embedding(repeated), diffusion_embedding(points)
    np.testing.assert_allclose(embedding @ embedding.T, (alone @ alone.T)[np.ix_(of_each, of_each)], atol=1e-6)
