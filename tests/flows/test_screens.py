"""The screens in the guides are what the commands print on the sandbox; `make docs` takes them anew."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.flows.terminal import Terminal
from tests.references import LOOKING
from tests.screens import looking_screens, screens, with_screens
from tests.tutorial import GUIDE


@pytest.mark.skipif(not shutil.which("git"), reason="mappings diff compares with git")
def test_screens_are_fresh(terminal: Terminal) -> None:
    """Each command that the guide shows prints what stands there; else: make docs."""
    text, shown = GUIDE.read_text("utf-8"), screens(terminal)
    assert with_screens(text, shown) == text
    assert set(shown) == set(re.findall(r"(?m)^\$ moodle-commcare (.*)$", text))


def test_screens_of_looking_back_are_fresh(terminal: Terminal) -> None:
    """Each command that looks back prints what docs/looking-back.md shows; else: make docs."""
    text, shown = LOOKING.read_text("utf-8"), looking_screens(terminal)
    assert with_screens(text, shown) == text
    assert set(shown) == set(re.findall(r"(?m)^\$ moodle-commcare (.*)$", text))


def test_a_stale_screen_is_noticed() -> None:
    """A screen that shows something else is replaced, all else stays."""
    text = "a\n```text\n$ moodle-commcare check\nold\n\nlines\n```\nb\n"
    assert "a\n```text\n$ moodle-commcare check\nnew\n```\nb\n" == with_screens(text, {"check": "new\n"})
