"""Descriptions of values, by which one fit is told from another."""

from functools import cache, partial

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import nn

from skganem import Networks, Recipe
from skganem.core.runtime.fingerprint import stable_repr


def softer(x, index, rng, by=1):
    return x / by


class Softer:
    """A change that is an object."""

    def __init__(self, by):
        self.by = by

    def __call__(self, x, index, rng):
        return x / self.by


class Shown(Softer):
    """One that is shown by a name."""

    def __repr__(self):
        return "Shown()"


def test_functions_are_told_apart_by_what_they_do():
    def dividing(by):
        return lambda x, index, rng: x / by

    def body(by):
        return lambda shape, width: nn.Sequential(nn.Flatten(), nn.Dropout(by))

    def keyword(by):
        def change(x, index, rng, *, by=by):
            return x / by

        return change

    def unset():
        change = lambda x, index, rng: x / by  # noqa: E731
        if False:
            by = 2
        return change

    class Change(nn.Module):
        def __init__(self, by):
            super().__init__()
            self._by = by

    long = np.arange(5000)
    kinds = [
        softer, partial(softer, by=2), partial(softer, by=3), Softer(2), Softer(3), Softer(2).__call__, dividing(2),
        Shown(2), Shown(3), dividing(3), lambda x, index, rng: x - 2,
        lambda x, index, rng: x in {"a", "b"}, Recipe(), Recipe(augmentation=dividing(2)),
        Recipe(networks=Networks(e_net=lambda shape, width: nn.Sequential(nn.Flatten(), nn.Dropout(0.1)))),
        Recipe(networks=Networks(e_net=lambda shape, width: nn.Sequential(nn.Flatten(), nn.Dropout(0.9)))),
        Recipe(networks=Networks(e_net=body(0.1))), Recipe(networks=Networks(e_net=body(0.9))), keyword(2), keyword(3),
        dividing(long), dividing(np.where(long == 2500, 0, long)), dividing(np.array([2, None])), dividing(np.array([3, None])),
        dividing(torch.tensor(long)), dividing(torch.ones((), dtype=torch.bfloat16)), dividing(torch.zeros(())),
        unset(), Change(2), Change(3), nn.Dropout(0.1), nn.Dropout(0.2), torch.relu, torch.tanh, np.sin, np.cos,
        np.random.default_rng(0), np.random.PCG64(0), "a at 0x1", "a at 0x2", cache(dividing(2)), cache(dividing(3)),
        {0: 1}.get, {0: 2}.get, sp.csr_array(np.eye(3)),
        sp.csr_array(2 * np.eye(3)), pd.DataFrame({"a": long}), pd.DataFrame({"a": np.where(long == 2500, 0, long)}),
    ]  # fmt: skip
    assert len({stable_repr(kind) for kind in kinds}) == len(kinds)
    assert stable_repr(dividing(2)) == stable_repr(dividing(2))
    assert stable_repr(unset()) == stable_repr(unset())
    assert stable_repr(Softer(2)) == stable_repr(Softer(2))
    assert not any("0x" in stable_repr(kind) for kind in [*kinds, object(), (i for i in "a")] if not isinstance(kind, str))
    assert list({0, 8}) != list({8, 0})  # nor does the order of a set matter, which is another one in another process
    assert stable_repr({0, 8}) == stable_repr({8, 0})
    drawn = np.random.default_rng(0)
    before = stable_repr(dividing(drawn))
    drawn.random()
    assert stable_repr(dividing(drawn)) == before
