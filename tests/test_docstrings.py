"""The documentation of the public API is complete, and its examples run."""

import doctest
import inspect

import pytest
from numpydoc.validate import validate

import skganem
import skganem.display

# Style rules of numpydoc that scikit-learn does not follow either.
IGNORED = {"EX01", "SA01", "ES01", "RT02", "GL01", "GL02", "GL08", "PR02", "YD01", "SA04"}
NAMES = {f"skganem.{name}": getattr(skganem, name) for name in skganem.__all__}
NAMES |= {f"skganem.display.{name}": getattr(skganem.display, name) for name in skganem.display.__all__}
PUBLIC = list(NAMES.values())


def documented():
    for path, thing in NAMES.items():
        yield path
        if inspect.isclass(thing):
            for name, member in inspect.getmembers(thing, callable):
                own = str(getattr(member, "__module__", "")).startswith("skganem")
                if own and not name.startswith("_") and "." in getattr(member, "__qualname__", ""):
                    yield f"{path}.{name}"


@pytest.mark.parametrize("name", list(documented()))
def test_numpydoc(name):
    problems = [f"{code}: {text}" for code, text in validate(name)["errors"] if code not in IGNORED]
    assert problems == []


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_examples_in_docstrings(thing):
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner()
    for test in finder.find(thing, globs={}):
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("estimator", [thing for thing in PUBLIC if hasattr(thing, "get_params")])
def test_every_parameter_and_attribute_is_documented(estimator):
    doc = estimator.__doc__
    for name in inspect.signature(estimator).parameters:
        assert f"\n    {name} : " in doc, name
    for name in ("weights_", "n_iter_", "converged_", "criterion_", "history_", "image_shape_", "device_", "n_features_in_"):
        assert f"\n    {name} : " in doc, name
