"""The screens in docs/matching.md are what the commands print; `make docs` takes them anew."""

from __future__ import annotations

import re

from tests.flows.terminal import Terminal
from tests.match_screens import PAGE, match_screens, with_screens


def test_screens_are_fresh(terminal: Terminal) -> None:
    """Each command that the page shows prints what stands there; else: make docs."""
    text, shown = PAGE.read_text("utf-8"), match_screens(terminal)
    assert with_screens(text, shown) == text
    assert set(shown) == set(re.findall(r"(?m)^\$ moodle-commcare (.*)$", text))
