"""Fits of several processes: the same as of one, and never a hang."""

import os
import pickle
import signal
import socket
import sys
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_moons

import skganem
from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer
from skganem.core.losses.gan import discriminator_own, generator_normalized_likelihood
from skganem.core.losses.lipschitz import r1_penalty
from skganem.core.losses.self_supervised import vicreg_loss
from skganem.core.networks.architectures import PAPER_NETWORKS, table_features
from skganem.core.networks.modules import Classifier
from skganem.core.runtime import launch
from skganem.core.runtime.distributed import sharing
from tests.conftest import everything, fast_recipe
from tests.processes import Processes

IMAGES, DIGITS = (part[:200] for part in load_digits(return_X_y=True))
IMAGES = IMAGES.reshape(-1, 8, 8)
MOONS = make_moons(200, noise=0.05, random_state=0)[0]


def recipe(**changes):
    """Return a recipe of few steps, whose networks have batch normalization; float32 rounds less."""
    return fast_recipe(encoder_steps=2, min_e_steps=4, e_rounds=1, **changes)


def clustering(**parameters):
    return GANEMClustering(2, **{"recipe": recipe(), "precision": "float32", "random_state": 0, **parameters})


def fitted(estimator, *data):
    """Fit, and return the estimator, which goes through pickle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*data)


@pytest.fixture(scope="module")
def pair():
    processes = Processes()
    yield processes
    processes.close()


def messages(errors):
    assert all(isinstance(error, BaseException) for error in errors), errors
    return [f"{type(error).__name__}: {error}" for error in errors]


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (GANEMClustering(10, recipe=recipe(), precision="float32", random_state=0), (IMAGES,)),
        (GANEMClustering(10, recipe=recipe(max_iter=1, networks=PAPER_NETWORKS), precision="float32", random_state=0), (IMAGES,)),
        (clustering(n_init=2), (MOONS,)),
        (GANEMTransformer(5, n_clusters=2, recipe=recipe(), random_state=0), (MOONS,)),
        (GANEMSemiSupervisedClassifier(recipe=recipe(e_epsilon=0.1), precision="float32", random_state=0), (IMAGES, np.where(np.arange(200) % 4, -1, DIGITS))),
    ],
    ids=["images", "paper's networks", "rows", "transformer", "semi-supervised"],
)  # fmt: skip
def test_two_processes_find_what_one_finds(pair, estimator, data):
    alone = fitted(estimator, *data)
    first, second = pair.run(fitted, estimator, *data)
    assert everything(first, data[0])[1:] == everything(second, data[0])[1:]
    np.testing.assert_allclose(first.history_["loss_e"], alone.history_["loss_e"], rtol=1e-4)
    np.testing.assert_allclose(first.history_["loss_g"], alone.history_["loss_g"], rtol=1e-3)
    answers = [model._posterior(data[0]) for model in (alone, first, second)]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-3)
    assert (answers[1] == answers[2]).all()

def step(seed, n):
    """Return the losses, gradients and statistics of a step of each network with batch normalization, in float64."""
    torch.manual_seed(seed)
    encoder, discriminator = (table_features((1, 8, 8), 4).double() for _ in range(2))
    discriminator = Classifier(discriminator, 64, 3).double()
    x, w, c = torch.rand(n, 1, 8, 8).double(), torch.rand(n, 2).double(), torch.arange(n) % 2
    with launch.join() as group, sharing(group), group.parallel(encoder, discriminator):
        real, fake = discriminator(x), discriminator(x.flip(0).requires_grad_())
        loss = discriminator_own(real, w, fake, c, torch.tensor([0.3, 0.7])) + generator_normalized_likelihood(fake, c)
        loss = loss + r1_penalty(discriminator, x, w, 0, 0.3) + vicreg_loss(encoder(x.repeat(4, 1, 1, 1)).view(4, n, -1))
        loss = loss + sum(parameter.square().sum() for parameter in encoder.parameters())
        loss.backward()
        parameters = [*encoder.parameters(), *discriminator.parameters()]
        group.average_gradients(parameters)
    buffers = [*encoder.buffers(), *discriminator.buffers()]
    return [value.detach().numpy() for value in (loss, *[parameter.grad for parameter in parameters], *buffers)]


@pytest.mark.parametrize("n", [9, 2])
def test_gradients_are_those_of_the_whole_batch(pair, n):
    alone = step(0, n)
    for found in pair.run(step, 0, n):
        for one, two in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_a_process_may_have_no_row_of_a_batch():
    three = Processes(3)
    alone = step(0, 2)
    for found in three.run(step, 0, 2):
        for one, two in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)
    three.close()


def refit(estimator, *data):
    """Fit twice in the same process; the second time, the port is the same."""
    return everything(fitted(estimator, *data), data[0]), everything(fitted(estimator, *data), data[0])


def test_a_process_fits_any_number_of_times(pair):
    for first, second in pair.run(refit, clustering(), MOONS):
        assert first == second


def test_without_random_state_the_seed_is_that_of_the_first(pair):
    first, second = pair.run(fitted, clustering(random_state=None), MOONS)
    assert everything(first, MOONS)[:3] == everything(second, MOONS)[:3]


def test_estimators_pickle_as_ever(pair):
    model = pair.run(fitted, clustering(), MOONS)[0]
    assert set(vars(model)) == set(vars(fitted(clustering(), MOONS)))
    assert (pickle.loads(pickle.dumps(model)).predict(MOONS) == model.labels_).all()


DIFFERENT = {
    "X": (clustering(), MOONS[::-1].copy()),
    "the parameters": (clustering(recipe=recipe(m_epochs=2)), MOONS),
    "random_state": (clustering(random_state=1), MOONS),
    "n_init": (clustering(n_init=2), MOONS),
    "the initial w": (clustering(init=np.eye(2)[np.arange(200) % 2]), MOONS),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_processes_that_differ_end_with_the_same_error(pair, what):
    for message in messages(pair.run_each(fitted, (clustering(), MOONS), DIFFERENT[what])):
        assert message.startswith("ValueError: The processes of a data-parallel fit must be alike")
        assert what in message


def with_version(version, *arguments):
    """Fit as if skganem had another version."""
    before, skganem.__version__ = skganem.__version__, version
    try:
        return fitted(*arguments)
    finally:
        skganem.__version__ = before


def test_processes_with_other_versions_end_with_the_same_error(pair):
    for message in messages(pair.run_each(with_version, ("1", clustering(), MOONS), ("2", clustering(), MOONS))):
        assert "the versions" in message


def test_fewer_rows_than_processes(pair):
    three = Processes(3)
    for message in messages(three.run(fitted, clustering(), MOONS[:2])):
        assert message == "ValueError: n_samples=2 should be >= the number of processes, 3."
    three.close()


class Fails:
    """An augmentation that raises an error in one process once it was called some times."""

    def __init__(self, error, rank=1, after=6):
        self.error, self.rank, self.after = error, rank, after

    def __call__(self, x, index, rng):
        self.after -= 1
        if self.after < 0 and os.environ["RANK"] == str(self.rank):
            raise self.error
        return x


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_error_in_one_process_ends_all(pair, error, rank):
    failing = clustering(augmentation=Fails(error, rank))
    found = messages(pair.run(fitted, failing, MOONS))
    assert found[rank].startswith(type(error).__name__)
    assert found[1 - rank].startswith(
        f"PeerError: The fit ended in all processes: process {rank} failed with {type(error).__name__}: {error}"
    )
    assert all(isinstance(model, GANEMClustering) for model in pair.run(fitted, clustering(), MOONS))  # and none is stuck


def test_an_invalid_value_in_one_process_ends_all(pair):
    broken = MOONS.copy()
    broken[3] = np.nan
    found = messages(pair.run_each(fitted, (clustering(), MOONS), (clustering(), broken)))
    assert "contains NaN" in found[1]
    assert found[0].startswith("PeerError")
    assert "contains NaN" in found[0]


class Infinite:
    """A loss that is infinite in one process alone."""

    def __call__(self, logits, c):
        loss = logits.mean()
        return loss * torch.inf if os.environ.get("RANK") == "1" else loss


def test_all_processes_stop_where_one_diverges(pair):
    diverging = clustering(recipe=recipe(generator_loss=Infinite(), n_warmup_iter=0))
    first, second = pair.run(fitted, diverging, MOONS)
    assert first.n_iter_ == second.n_iter_ == 0
    assert (first.labels_ == second.labels_).all()


def in_folder(folder, after, *data):
    """Fit with a checkpoint, and with an augmentation that kills the second process after some calls."""
    estimator = clustering(checkpoint_dir=folder, augmentation=Kills(after), recipe=recipe(max_iter=3, tol=0.0))
    return fitted(estimator, *data)


class Kills:
    """An augmentation that kills the second process; to the checkpoint, all are the same."""

    def __init__(self, after):
        self.after = after

    def __reduce__(self):
        return Kills, (self.after,)

    def __repr__(self):
        return "Kills()"

    def __call__(self, x, index, rng):
        self.after -= 1
        if self.after == 0 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return x
