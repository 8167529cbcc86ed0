"""The examples and the documentation's code run to their end (with less training)."""

import re
import runpy
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from skganem._base import BaseGANEM
from tests.conftest import fast_recipe

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", ["README.rst", "docs/index.rst", "docs/tour.rst", "docs/user_guide.rst"])
def test_code_of_the_documentation(page, monkeypatch, tmp_path):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        plt.imsave(tmp_path / "pictures" / f"{i}.png", np.eye(30 + i))
    blocks = re.findall(r"code-block:: python\n\n((?:    .*\n|\n)+)", (ROOT / page).read_text())
    code = "\n".join(map(textwrap.dedent, blocks))
    if "set_callbacks" in code:
        pytest.importorskip("sklearn.callback")
        pytest.importorskip("rich")
    monkeypatch.setattr(BaseGANEM, "_resolve_recipe", lambda self: fast_recipe())
    monkeypatch.setattr(sklearn.datasets, "load_digits", partial(sklearn.datasets.load_digits, n_class=3))
    assert blocks
    exec(compile(code, page, "exec"), {})
    plt.close("all")
