"""Values of any dtype and size, as the networks see them."""

import numpy as np
import pytest
import torch

from skganem.core.data import dataset as data
from skganem.core.data.dataset import Scaler, row_hashes
from tests.conftest import dataset_of


def test_values_may_be_farther_apart_than_float32_reaches():
    dataset = dataset_of(np.array([[3e38], [3e38], [-3e38]], dtype=np.float32))
    np.testing.assert_allclose(dataset.get_batch(slice(None)).flatten(), [0.5**0.5, 0.5**0.5, -(2**0.5)], rtol=1e-5)


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)])
def test_the_scaler_is_measured_in_chunks(monkeypatch, shape):
    X = np.random.default_rng(0).normal(np.arange(500)[:, None], 1, (500, 64))
    whole = Scaler.fit(X, shape)
    monkeypatch.setattr(data, "CHUNK_BYTES", 8 * 64 * 7)
    in_chunks = Scaler.fit(X, shape)
    np.testing.assert_allclose(in_chunks.offset, whole.offset)
    assert in_chunks.scale == pytest.approx(whole.scale)


def test_the_scale_does_not_depend_on_the_mean():
    near = np.random.default_rng(0).normal(0, 100, (500, 2))
    assert Scaler.fit(near + 1e9, (2,)).scale == pytest.approx(Scaler.fit(near, (2,)).scale, rel=1e-6)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32", "int64", ">i2", ">f4"])
def test_dtypes_of_numbers_are_equivalent(digits, dtype):
    X = digits[0].reshape(300, 64)
    batch, expected = (dataset_of(array).get_batch(slice(3, 9)) for array in (X.astype(dtype), X))
    torch.testing.assert_close(batch, expected)


def test_features_that_vary_little_are_scaled():
    X = np.random.default_rng(0).normal(1e4, 0.01, (500, 3)).astype(np.float32)
    assert Scaler.fit(X, (3,)).scale == pytest.approx(X.std(dtype=np.float64), rel=0.05)
    assert Scaler.fit(np.full((500, 3), 0.1, np.float32), (3,)).scale == 1.0


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)])
@pytest.mark.parametrize("exponent", [-1000, -400, 600, 1010])
def test_the_scaler_is_proportional_to_the_values(exponent, shape):
    X = np.random.default_rng(0).normal(3, 1, (50, 64))
    scaler, scaled = Scaler.fit(X, shape), Scaler.fit(np.ldexp(X, exponent), shape)
    assert scaled.scale == np.ldexp(scaler.scale, exponent)
    np.testing.assert_array_equal(scaled.offset, np.ldexp(scaler.offset, exponent))


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)])
@pytest.mark.parametrize("value", [5e-324, 1.7e308])
def test_the_scaler_of_extreme_values_is_a_number_that_divides(value, shape):
    X = value * (np.arange(640).reshape(10, 64) % 3 == 0)
    scaler = Scaler.fit(X, shape)
    assert 0 < scaler.scale < np.inf
    assert np.isfinite(scaler.offset).all()


@pytest.mark.parametrize("value", [0.1, 0.7, 99.9, 1e300])
@pytest.mark.parametrize("n", [100, 20_000])
def test_a_constant_feature_does_not_affect_the_scale(value, n):
    x = np.random.default_rng(0).normal(size=n)
    X = np.column_stack([x, *[np.full(n, value)] * 9])
    assert Scaler.fit(X, (10,)).scale == pytest.approx(x.std())
    assert Scaler.fit(X[:, 1:], (9,)).scale == 1.0


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, ">f8"])
def test_equal_rows_have_equal_hashes(dtype):
    rows = np.tile(np.array([[0.1, -0.0], [0.1, 0.3], [0.1, 0.0]], dtype=dtype), (100, 1))
    hashes = [row_hash.tobytes() for row_hash in row_hashes(rows)]
    assert set(hashes[::3]) == set(hashes[2::3]) != set(hashes[1::3])
    assert len(set(hashes)) == 2
