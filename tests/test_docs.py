"""The README is well formed."""

from pathlib import Path

import docutils.core

import skganem

ROOT = Path(__file__).parent.parent


def test_readme_is_well_formed():
    docutils.core.publish_string((ROOT / "README.rst").read_text(), settings_overrides={"report_level": 2, "halt_level": 2})


def test_the_citation_names_this_version():
    assert f"\nversion: {skganem.__version__}\n" in (ROOT / "CITATION.cff").read_text()
