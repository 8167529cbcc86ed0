import numpy as np
import pytest
import torch

from skganem.core.data.dataset import Scaler
from skganem.core.data.directions import N_COMPONENTS, Directions, project
from tests.conftest import dataset_of


def rows_of(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32) * np.linspace(3, 0.1, d, dtype=np.float32)


@pytest.mark.parametrize(("n", "d"), [(300, 7), (300, 200), (40, 200)])
def test_components_are_orthonormal_and_lead(n, d):
    rows = rows_of(n, d)
    found = Directions.fit(torch.from_numpy(rows))
    m = min(N_COMPONENTS, n, d)
    assert found.components.shape == (d, m)
    np.testing.assert_allclose(found.components.T @ found.components, np.eye(m), atol=1e-4)
    explained = np.square(rows @ found.components).sum()
    best = np.square(np.linalg.svd(rows, compute_uv=False)[:m]).sum()
    assert explained == pytest.approx(best, rel=1e-3)


def test_what_networks_see_has_one_length_and_the_angles_of_the_rows():
    X = rows_of(60, 9)
    scaler = Scaler.fit(X, (9,))
    seen = dataset_of(X, (9,), scaler.by_directions(X)).get_batch(slice(None)).numpy()
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 3, rtol=1e-5)
    centered = X - X.mean(axis=0)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    np.testing.assert_allclose(seen @ seen.T / 9, unit @ unit.T, atol=1e-4)


def test_generated_rows_have_the_mean_length_and_their_direction():
    X = rows_of(60, 9)
    scaler = Scaler.fit(X, (9,)).by_directions(X)
    seen = dataset_of(X, (9,), scaler).get_batch(slice(None))
    back = scaler.inverse_transform(seen) - X.mean(axis=0)
    centered = X - X.mean(axis=0)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), np.linalg.norm(centered, axis=1).mean(), rtol=1e-4)
    cosine = (back * centered).sum(axis=1) / np.linalg.norm(back, axis=1) / np.linalg.norm(centered, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-4)


def test_no_rows_directions_depend_on_the_others():
    rows = torch.from_numpy(rows_of(100, 200))
    found = Directions.fit(rows)
    components = torch.from_numpy(found.components)
    together = project(rows, components, found.radius)
    alone = torch.cat([project(row[None], components, found.radius) for row in rows])
    assert torch.equal(together, alone)


def test_a_row_at_the_mean_has_no_direction():
    assert not project(torch.zeros(1, 4), torch.eye(4), 2.0).any()
