"""Configuration of the documentation: ``python -m sphinx -W -b html docs docs/_build/html``."""

import os
import sys
from pathlib import Path

from sphinx_gallery.sorting import FileNameSortKey

import skganem

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import tables  # noqa: E402

tables.write(ROOT / "docs" / "generated" / "tables")

project = "skganem"
author = "the skganem developers"
copyright = f"2026, {author}"
version = release = skganem.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx-mathjax-offline",  # formulas need no network
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "inherited-members": True}
#: What scikit-learn's base classes bring is documented there.
FOREIGN = ("sklearn",)


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out members that come from scikit-learn."""
    module = getattr(obj, "__module__", None) or ""
    return True if module.split(".")[0] in FOREIGN else None


def setup(app):
    """Connect the above."""
    app.connect("autodoc-skip-member", skip_foreign)


numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": FileNameSortKey,
    "image_scrapers": ("matplotlib",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": os.environ.get("SKGANEM_GALLERY", "1") == "1",
}

html_theme = "pydata_sphinx_theme"
html_title = "skganem"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
}
#: Pages without pages below them have nothing to show in a sidebar.
html_sidebars = {
    name: [] for name in ("index", "tour", "user_guide", "troubleshooting", "benchmarks", "defaults", "contributing")
}
html_show_sourcelink = False
