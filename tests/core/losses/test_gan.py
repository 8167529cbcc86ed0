"""Each loss against the paper's equation, written out in NumPy on tiny tensors."""

import numpy as np
import pytest
import torch

from skganem.core.losses import gan

rng = np.random.default_rng(0)
REAL, FAKE = rng.normal(size=(5, 4)), rng.normal(size=(6, 4))  # K = 3 units and the real/fake unit
W = rng.dirichlet(np.ones(3), 5)
C = np.array([0, 1, 2, 0, 1, 2])
PHI = np.array([0.5, 0.3, 0.2])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def tensors(*arrays):
    return [torch.tensor(a) for a in arrays]


REAL_OR_FAKE = -np.log(sigmoid(REAL[:, 3])).mean() - np.log(1 - sigmoid(FAKE[:, 3])).mean()


def test_eq_1():
    d_c = sigmoid(FAKE[np.arange(6), C])
    inverse = np.log(d_c / (1 - d_c))  # sigma^-1
    expected = -0.5 * np.exp(inverse).mean() - 0.5 * np.exp(FAKE[:, 3]).mean()
    assert gan.generator_likelihood(*tensors(FAKE, C)).item() == pytest.approx(expected)


def test_eq_1_never_overflows():
    logits = torch.full((4, 3), 1e4, requires_grad=True)
    for loss in gan.GENERATOR_LOSSES.values():
        value = loss(logits, torch.zeros(4, dtype=torch.long))
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_normalized_likelihood_has_the_direction_of_eq_1():
    logits = torch.tensor(FAKE, requires_grad=True)
    c = torch.zeros(6, dtype=torch.long)
    (plain,) = torch.autograd.grad(gan.generator_likelihood(logits, c), logits)
    (normalized,) = torch.autograd.grad(gan.generator_normalized_likelihood(logits, c), logits)
    for unit in (0, 3):
        ratio = plain[:, unit] / normalized[:, unit]
        assert torch.allclose(ratio, ratio[0].expand(6))
        assert ratio[0] > 0


def test_eq_2():
    fake = np.log(1 - sigmoid(FAKE[:, :3])).sum(1).mean()
    real = (W * np.log(sigmoid(REAL[:, :3]))).sum(1).mean()
    value = gan.discriminator_all(*tensors(REAL, W, FAKE, C, PHI)).item()
    assert value == pytest.approx(-(fake + real) + REAL_OR_FAKE)


def test_eq_18():
    by_class = [np.log(1 - sigmoid(FAKE[i == C, i])).mean() for i in range(3)]
    real = (W * np.log(sigmoid(REAL[:, :3]))).sum(1).mean()
    value = gan.discriminator_own(*tensors(REAL, W, FAKE, C, PHI)).item()
    assert value == pytest.approx(-(PHI @ by_class + real) + REAL_OR_FAKE)


def test_the_optimum_of_eq_18_is_eq_15_for_any_phi():
    """Minimized over the logit at one point, D_i is P_ri / (P_ri + P_fi); here P_r = P_f, so 1/2, for a rare class, too."""
    phi = torch.tensor([0.9, 0.1])
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = gan.discriminator_own(logits, phi[None], logits.expand(2, 3), torch.tensor([0, 1]), phi)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.allclose(gradient, torch.zeros(1, 3), atol=1e-7)


def test_eq_2_and_eq_18_differ_in_the_other_classes_units_only():
    fake, uniform = torch.tensor(FAKE, requires_grad=True), torch.full((3,), 1 / 3)
    rest = *tensors(REAL, W), fake, torch.tensor(C), uniform
    (own_gradient,) = torch.autograd.grad(gan.discriminator_own(*rest), fake)
    (all_gradient,) = torch.autograd.grad(gan.discriminator_all(*rest), fake)
    own = torch.nn.functional.one_hot(torch.tensor(C), 4).bool()
    own[:, 3] = True
    assert torch.allclose(own_gradient[own], all_gradient[own])
    assert (own_gradient[~own] == 0).all()
    assert (all_gradient[~own] > 0).all()


def test_released_form_of_the_generator_loss():
    target = np.eye(4)[C]
    target[:, 3] = 1
    d = sigmoid(FAKE)
    expected = -(target * np.log(d) + (1 - target) * np.log(1 - d)).mean()
    assert gan.generator_one_hot(*tensors(FAKE, C)).item() == pytest.approx(expected)


def test_the_non_saturating_generator_loss():
    d = sigmoid(FAKE)
    expected = -np.log(d[np.arange(6), C]).mean() - np.log(d[:, 3]).mean()
    assert gan.generator_non_saturating(*tensors(FAKE, C)).item() == pytest.approx(expected)
