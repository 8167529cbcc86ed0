import numpy as np
import pytest
import torch

from skganem.core.losses.self_supervised import vicreg_loss


def by_definition(z):
    """Compute Eq. 1 to 6 of the paper number by number, with views drawn to their mean."""
    n_views, n, m = z.shape
    total = 0.0
    for view in z:
        total += 25 * sum(np.square(view[i] - z[:, i].mean(axis=0)).sum() for i in range(n)) / (n_views * n * m)
        std = [np.sqrt(np.var(view[:, j], ddof=1) + 1e-4) for j in range(m)]
        total += 25 * sum(max(0.0, 1 - each) for each in std) / (n_views * m)
        covariance = np.atleast_2d(np.cov(view.T))
        total += sum(covariance[i, j] ** 2 for i in range(m) for j in range(m) if i != j) / m / n_views
    return total


def views(n_views, n, m, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=(n_views, n, m))


@pytest.mark.parametrize("n_views", [2, 4])
@pytest.mark.parametrize(("n", "m"), [(2, 3), (5, 1), (40, 7)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_vicreg(n_views, n, m, scale):
    z = views(n_views, n, m, scale)
    assert vicreg_loss(torch.tensor(z)).item() == pytest.approx(by_definition(z))


def test_vicreg_depends_on_the_order_of_neither_views_nor_samples():
    z = torch.tensor(views(1, 20, 5) + 0.1 * views(4, 20, 5))
    expected = vicreg_loss(z)
    torch.testing.assert_close(vicreg_loss(z[[2, 0, 3, 1]]), expected)
    torch.testing.assert_close(vicreg_loss(z[:, torch.randperm(20, generator=torch.Generator().manual_seed(0))]), expected)
    mixed = z.clone()
    mixed[0] = z[0].roll(1, dims=0)  # but on which sample a view is of
    assert vicreg_loss(mixed) > expected + 1


def test_equal_features_cost_their_missing_variance_alone():
    z = torch.full((4, 20, 5), 3.0, requires_grad=True)
    loss = vicreg_loss(z)
    assert loss.item() == pytest.approx(25 * (1 - 1e-4**0.5), rel=1e-5)
    loss.backward()
    assert z.grad.isfinite().all()


def test_equal_views_cost_no_invariance():
    one = 10 * views(1, 500, 4)
    one[0] -= one[0].mean(axis=0)
    one[0] = one[0] @ np.linalg.inv(np.linalg.cholesky(np.cov(one[0].T)).T)  # with a covariance of 1
    z = torch.tensor(np.repeat(1.01 * one, 4, axis=0))
    assert vicreg_loss(z).item() == pytest.approx(0, abs=1e-12)
    assert vicreg_loss(z + torch.tensor([0.0, 0.0, 0.1, -0.1])[:, None, None]).item() == pytest.approx(25 * 0.005)
