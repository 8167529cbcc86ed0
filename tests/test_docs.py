"""The README is well formed."""

from pathlib import Path

import docutils.core

ROOT = Path(__file__).parent.parent


def test_readme_is_well_formed():
    docutils.core.publish_string((ROOT / "README.rst").read_text(), settings_overrides={"report_level": 2, "halt_level": 2})
