"""Fitted models predict in other processes, with the answers that they have here."""

import numpy as np
import pytest

from skganem import GANEMClustering
from tests.conftest import fast_recipe

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("dask.distributed")


def call(block, model, method):
    """Have a model answer for a block of samples."""
    return getattr(model, method)(block)


@pytest.fixture(scope="module")
def client():
    """Two processes of one thread."""
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def fitted(digits):
    return GANEMClustering(3, recipe=fast_recipe(max_iter=1), random_state=0).fit(digits[0][:120])


@pytest.mark.parametrize(("method", "width"), [("predict", None), ("predict_proba", 3)])
def test_dask_workers_give_the_same_bits(client, fitted, digits, method, width):
    X = np.asarray(digits[0])
    expected = getattr(fitted, method)(X)
    images = da.from_array(X, chunks=(70, 8, 8))
    wide = {} if width is None else {"new_axis": [1], "chunks": (images.chunks[0], (width,))}
    there = client.scatter(fitted, broadcast=True, hash=False)
    found = images.map_blocks(
        call, model=there, method=method, drop_axis=[1, 2], dtype=expected.dtype, meta=expected[:0], **wide
    ).compute()
    np.testing.assert_array_equal(found, expected)
    assert len(client.has_what()) == 2


def test_restarts_by_dask_are_those_of_one_process(client, digits):
    import joblib

    X = np.asarray(digits[0])[:80]

    def labels(n_jobs):
        model = GANEMClustering(3, recipe=fast_recipe(max_iter=1), n_init=2, n_jobs=n_jobs, random_state=0)
        return model.fit_predict(X)

    alone = labels(None)
    with joblib.parallel_config("dask"):
        np.testing.assert_array_equal(labels(2), alone)


def test_a_dask_array_is_read_when_needed(fitted, digits):
    X = np.asarray(digits[0])[:50]
    np.testing.assert_array_equal(fitted.predict(da.from_array(X, chunks=(20, 8, 8))), fitted.predict(X))
