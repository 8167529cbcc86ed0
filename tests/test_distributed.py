"""Fits of several processes: the same as of one, and never a hang."""

import os
import pickle
import signal
import socket
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


@pytest.fixture(scope="module")
def three():
    processes = Processes(3)
    yield processes
    processes.close()


def messages(errors):
    assert all(isinstance(error, BaseException) for error in errors), errors
    return [f"{type(error).__name__}: {error}" for error in errors]


FEW_LABELS = np.where(np.arange(200) % 4, -1, DIGITS)
ON_IMAGES = {"recipe": recipe(), "precision": "float32", "random_state": 0}
FITS = {
    "images": (GANEMClustering(10, **ON_IMAGES), IMAGES),
    "the paper's networks": (
        GANEMClustering(10, **{**ON_IMAGES, "recipe": recipe(max_iter=1, networks=PAPER_NETWORKS)}), IMAGES,
    ),
    "rows": (clustering(n_init=2), MOONS),
    "rows without neighbors": (clustering(augmentation=None), MOONS),
    "features": (GANEMTransformer(5, n_clusters=10, **ON_IMAGES), IMAGES),
    "few labels": (
        GANEMSemiSupervisedClassifier(**{**ON_IMAGES, "recipe": recipe(e_epsilon=0.1)}), IMAGES, FEW_LABELS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", FITS)
def test_two_processes_find_what_one_finds(pair, which):
    estimator, *data = FITS[which]
    alone = fitted(estimator, *data)
    first, second = pair.run(fitted, estimator, *data)
    for name in ("loss_e", "loss_g"):
        np.testing.assert_allclose(first.history_[name], alone.history_[name], rtol=2e-3, atol=2e-3)
    answers = [model._posterior(data[0]) for model in (alone, first, second)]
    # Rounded otherwise, some samples have another neighbor. Another seed makes a difference of 0.02 and more.
    assert np.abs(answers[1] - answers[0]).mean() < 5e-3
    assert (answers[1] == answers[2]).all()
    assert first.criterion_ == second.criterion_ == pytest.approx(alone.criterion_, abs=5e-3)


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


def test_a_process_may_have_no_row_of_a_batch(three):
    alone = step(0, 2)
    for found in three.run(step, 0, 2):
        for one, two in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


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


def test_fewer_rows_than_processes(three):
    for message in messages(three.run(fitted, clustering(), MOONS[:2])):
        assert message == "ValueError: n_samples=2 should be >= the number of processes, 3."


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


#: In how many calls `killing` kills the second process.
CALLS_LEFT = [0]


def killing(x, index, rng):
    """Change nothing, and kill the second process once."""
    CALLS_LEFT[0] -= 1
    if CALLS_LEFT[0] == 0 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def in_folder(folder, after, *data):
    """Fit with a checkpoint; the second process is killed after some calls of the augmentation."""
    CALLS_LEFT[0] = after
    return fitted(clustering(checkpoint_dir=folder, augmentation=killing, recipe=recipe(max_iter=3, tol=0.0)), *data)


def test_a_killed_process_ends_all_and_the_checkpoint_goes_on(pair, tmp_path):
    processes = Processes()
    error, killed = processes.run(in_folder, tmp_path / "killed", 6, MOONS)
    processes.close()
    assert killed is None
    assert "PeerError: The fit ended in all processes: process 0 lost" in messages([error])[0]
    assert (tmp_path / "killed" / "init_1.safetensors").exists()
    resumed, second = pair.run(in_folder, tmp_path / "killed", 10**9, MOONS)
    whole, _ = pair.run(in_folder, tmp_path / "whole", 10**9, MOONS)
    assert everything(resumed, MOONS)[:3] == everything(second, MOONS)[:3] == everything(whole, MOONS)[:3]
    assert resumed.n_iter_ == 3


def stopped(seconds):
    """Fit; the second process is stopped on the way, as if its machine had lost its power."""
    launch.SILENCE = seconds
    return fitted(clustering(augmentation=Stops()), MOONS)


class Stops:
    """An augmentation that stops the second process."""

    def __call__(self, x, index, rng):
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGSTOP)
        return x


def test_a_process_that_gives_no_sign_of_life_ends_all():
    processes = Processes()
    processes.send(stopped, (3.0,), (3.0,))
    error = processes.answers(1)[0]
    processes.close()
    assert "process 1 gave no sign of life for 3 s" in str(error)


def test_a_port_in_use():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        processes = Processes(MASTER_PORT=busy.getsockname()[1])
        found = messages(processes.run(short_of_time, clustering(), MOONS))
        processes.close()
    assert "can't open MASTER_ADDR=127.0.0.1" in found[0]
    assert "can't connect to MASTER_ADDR=127.0.0.1" in found[1]


def short_of_time(*arguments):
    """Fit, and wait for less time than users do."""
    launch.CONNECT_TIMEOUT = launch.JOIN_TIMEOUT = 3.0
    return fitted(*arguments)


def only_first(*arguments):
    """Fit in the first process alone."""
    return short_of_time(*arguments) if os.environ["RANK"] == "0" else None


def test_a_process_that_does_not_fit():
    processes = Processes()
    error, nothing = processes.run(only_first, clustering(), MOONS)
    processes.close()
    assert nothing is None
    assert "process 1 did not call fit within 3 s" in str(error)


def in_worker(backend, *arguments):
    """Fit in a worker of joblib in each process."""
    return joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(fitted)(*arguments) for _ in range(1))[0]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_a_process_fit_alone(pair, backend):
    """The first process makes one fit more than the second: had its worker joined, it would wait for it."""
    alone = fitted(clustering(), MOONS)
    found, nothing = pair.run_each(worker_of_first, (backend, clustering(), MOONS), (backend, clustering(), MOONS))
    assert nothing is None
    assert everything(found, MOONS) == everything(alone, MOONS)


def worker_of_first(backend, *arguments):
    return in_worker(backend, *arguments) if os.environ["RANK"] == "0" else None


def with_group(*arguments):
    """Fit in a process that has a group of torch.distributed, which is left as it was, and in a fork of the first."""
    torch.distributed.init_process_group("gloo", rank=int(os.environ["RANK"]), world_size=2)
    worker_of_first("multiprocessing", *arguments)
    found = fitted(*arguments)
    assert torch.distributed.is_initialized()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return found


def test_a_group_that_exists_is_joined_and_kept():
    processes = Processes()
    first, second = processes.run(with_group, clustering(), MOONS)
    processes.close()
    assert everything(first, MOONS)[:3] == everything(second, MOONS)[:3]


def test_the_switch_keeps_processes_from_joining(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launch.should_join()
    monkeypatch.setenv(launch.SWITCH, "0")
    assert not launch.should_join()


def test_one_process_has_nobody_to_join(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert not launch.should_join()
