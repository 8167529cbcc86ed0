"""The core's folders import in one direction, and nothing in it imports scikit-learn."""

import ast
from pathlib import Path

import pytest

import skganem

CORE = Path(skganem.__file__).parent / "core"
#: What each folder, and module beside the folders, may import besides itself.
ALLOWED = {
    "runtime": set(),
    "data": {"runtime"},
    "losses": set(),
    "networks": {"runtime", "data"},
    "recipe": {"runtime", "losses", "networks"},
    "features": {"runtime", "data", "losses", "networks", "recipe"},
    "graph": {"runtime", "data"},
    "init": {"runtime", "data", "graph"},
    "em": {"runtime", "data", "losses", "networks", "recipe"},
    "fit": {"runtime", "data", "losses", "networks", "recipe", "features", "graph", "init", "em"},
}


def imported(source):
    """Yield the full names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(place, source):
    """Return what a module of the core, at a place such as "em", imports against the rules."""
    found = set()
    for name in imported(source):
        parts = name.split(".")
        if parts[0] == "sklearn" or (parts[0] == "skganem" and parts[1:2] != ["core"]):
            found.add(name)
        elif parts[:2] == ["skganem", "core"] and len(parts) > 2 and parts[2] not in ALLOWED[place] | {place}:
            found.add(name)
    return found


MODULES = [path for path in sorted(CORE.rglob("*.py")) if path != CORE / "__init__.py"]


def place_of(path):
    return path.relative_to(CORE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_module_imports_what_its_folder_may(path):
    assert forbidden(place_of(path), path.read_text()) == set()


def test_the_rules_have_no_circle_and_name_what_exists():
    assert set(ALLOWED) == {place_of(path) for path in MODULES}
    done = set()
    while done != set(ALLOWED):
        ready = {name for name in set(ALLOWED) - done if ALLOWED[name] <= done}
        assert ready
        done |= ready


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("em", "from skganem.core.graph.knn import NeighborGraph"),
        ("em", "import skganem.core.init.responsibilities"),
        ("em", "def late():\n    from skganem.core import graph"),
        ("graph", "from skganem.core.networks.mixture import MixtureModel"),
        ("losses", "from sklearn.metrics import log_loss"),
        ("data", "from skganem._base import BaseGANEM"),
    ],
)
def test_an_import_against_the_rules_is_found(place, source):
    assert forbidden(place, source)


def test_no_function_is_longer_than_a_screen():
    """Of 50 lines below its docstring."""
    long = []
    for path in CORE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and node.end_lineno - body[0].lineno >= 50:
                    long.append(f"{path.name}: {node.name}")
    assert long == []
