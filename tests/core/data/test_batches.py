"""Batches to train on, and chunks to predict on."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from skganem.core.data.batches import chunk_size, endless_batches, shuffled_batches
from tests.conftest import CPU, small_model, unscaled


@pytest.mark.parametrize(("n", "size"), [(2, 2), (3, 2), (7, 2), (33, 32), (100, 32), (5, 64)])
def test_batches_have_each_sample_once_and_never_a_single_one(n, size):
    batches = shuffled_batches(n, size, torch.Generator().manual_seed(0))
    assert torch.cat(batches).sort().values.tolist() == list(range(n))
    lengths = [len(batch) for batch in batches]
    assert min(lengths) >= 2
    assert max(lengths) - min(lengths) <= 1


def test_endless_batches_begin_a_new_epoch_in_another_order():
    batches = list(endless_batches(20, 10, 5, torch.Generator().manual_seed(0)))
    assert len(batches) == 5
    first, second = torch.cat(batches[:2]), torch.cat(batches[2:4])
    assert torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((64,), 192), ((10_000,), 192), ((1, 28, 28), 192), ((3, 32, 32), 48), ((3, 64, 64), 16), ((3, 512, 512), 16)],
)
def test_a_single_large_image_is_padded_to_a_small_chunk(shape, size):
    assert chunk_size(shape, CPU) == size


@pytest.mark.parametrize("shape", [(5,), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_a_sample_has_the_same_answer_alone_and_among_others(shape):
    X, model = np.random.default_rng(0).normal(size=(200, *shape)), small_model(shape)
    whole = model.posterior(unscaled(X, shape))
    for part in (slice(0, 1), slice(7, 9), slice(3, 20), slice(150, 200)):
        assert torch.equal(model.posterior(unscaled(X[part], shape)), whole[part])


PREDICT_EQUAL_ROWS = """
import numpy as np, torch
from skganem import Recipe
from skganem.core.data.batches import chunk_size
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.networks.mixture import MixtureModel, NetworkSpec

cpu, recipe = torch.device("cpu"), Recipe()
for shape, n_components in (((2,), None), ((64,), 2), ((20,), 100), ((1, 8, 8), None), ((1, 28, 28), 100), ((3, 64, 64), None)):
    model = MixtureModel(NetworkSpec(shape, 10, recipe.n_noise, recipe.width, n_components), recipe.networks, 0, cpu)
    row = np.random.default_rng(0).normal(size=(1, int(np.prod(shape))))
    dataset = ArrayDataset(np.repeat(row, 2 * chunk_size(shape, cpu) + 1, axis=0), shape, Scaler(np.zeros(()), 1.0), cpu)
    for n_threads in (1, 2, 3, 4):
        torch.set_num_threads(n_threads)
        for computed in (model.posterior(dataset), model.features(dataset)):
            assert (computed == computed[0]).all(), (shape, n_threads)
"""


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512"])
def test_prediction_does_not_depend_on_the_place_in_a_chunk(instructions):
    """Whatever instructions and threads multiply matrices; processors that lack the former use what they have."""
    library = {"MKL_ENABLE_INSTRUCTIONS": instructions, "ONEDNN_MAX_CPU_ISA": {"AVX2": "AVX2", "AVX512": "ALL"}[instructions]}
    subprocess.run([sys.executable, "-c", PREDICT_EQUAL_ROWS], env=os.environ | library, check=True, timeout=120)
