"""The examples run to their end (with less training) and draw their figures."""

import runpy
from pathlib import Path

import pytest

from skganem._base import BaseGANEM

from .conftest import fast_recipe

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, monkeypatch, tmp_path, capsys):
    import matplotlib.pyplot as plt

    if "set_callbacks" in path.read_text() and not hasattr(BaseGANEM, "set_callbacks"):
        pytest.skip("needs scikit-learn's callbacks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(BaseGANEM, "_resolve_recipe", lambda self: fast_recipe())
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.get_fignums())))
    runpy.run_path(str(path), run_name="__main__")
    assert shown[-1] >= 1
    assert capsys.readouterr().out
    plt.close("all")
