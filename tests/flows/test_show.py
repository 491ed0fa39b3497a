"""What somebody at a terminal sees: commands that can be copied, and which settings count."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from flows.endings import command
from flows.options import unused
from flows.show import shard_line
from flows.show_problems import laid_out


class Screen(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        """Say that somebody looks at it."""
        return True


def shown(text: str, monkeypatch: pytest.MonkeyPatch, first: str = "") -> list[str]:
    """Lay a text out for a terminal of 80 columns and return its lines."""
    monkeypatch.setenv("COLUMNS", "80")
    with monkeypatch.context() as here:
        here.setattr(sys, "stdout", Screen())
        return laid_out(text, first=first).split("\n")


@pytest.mark.parametrize("words", ["sync --mapping grade_item --yes", "preview"])
def test_a_command_stays_in_one_piece_and_works_from_here(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far to the right it begins, it is one line that can be copied, without quotes around it."""
    for before in range(60):
        lines = shown(f"{'x' * before} approve with `moodle-commcare {words}`, or wait.", monkeypatch, first="- ")
        assert 1 == sum(f" {command()} {words}, " in f" {line} " for line in lines), lines


def test_a_confirmation_is_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number at its end belongs to it."""
    text = f"{'word ' * 10}If that is right: moodle-commcare confirm-leavers 2 --count 12"
    assert f"{command()} confirm-leavers 2 --count 12" == shown(text, monkeypatch)[-1]


def test_in_a_pipe_a_line_stays_as_it_is() -> None:
    """Logs are searched and not copied."""
    line = f"{'word ' * 30}`moodle-commcare check`"
    assert f"- {line}" == laid_out(line, first="- ")


def test_settings_that_the_environment_outvotes_are_named(tmp_path: Path) -> None:
    """Only ours, and only where the environment has another value."""
    file = tmp_path / "site.env"
    file.write_text(
        "MOODLE_URL=https://moodle.example.org\nCOMMCARE_DOMAIN=chw\nSTATE_URL=sqlite:///x.db\nHOME=/x\n"
    )
    env = {"MOODLE_URL": "http://127.0.0.1:1", "COMMCARE_DOMAIN": "chw", "STATE_URL": " ", "HOME": "/y"}
    assert ["MOODLE_URL"] == unused(file, env)


def test_shards_in_words() -> None:
    """Each part of a shared run has a line: how many courses, how it ended, and whether it was begun again."""
    done = {"number": 1, "courses": 4, "begun": 1, "state": "completed", "seconds": 1.26}
    again = {"number": 2, "courses": 1, "begun": 2, "state": "degraded", "seconds": 70.0}
    assert [
        "Shard 1: 4 courses, completed in 1.3 s.",
        "Shard 2: 1 course, degraded in 70.0 s, begun 2 times.",
        "Shard 3: done here.",
    ] == [shard_line(one) for one in (done, again, {"number": 3})]
