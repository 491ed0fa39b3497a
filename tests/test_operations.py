"""The guide for whoever runs it is true: settings and variables exist, units are right, anchors lead somewhere.

That its commands exist is in tests/test_docs.py, which looks at all texts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prefect import settings as prefect_settings

from flows.nudges import DEAD_AFTER, nudges
from flows.settings import KNOWN, NOT_OURS, SECRETS, load_settings
from tests.test_docs import HOUSE, code_in, wrong_commands

GUIDE = (HOUSE / "docs" / "operations.md").read_text()
FILES = sorted((HOUSE / "docs" / "systemd").iterdir())
UNITS = [file for file in FILES if file.suffix in (".service", ".timer")]
BY_HAND = HOUSE / "docs" / "systemd" / "moodle-commcare-by-hand"
TEXTS = {"operations.md": GUIDE, **{file.name: file.read_text() for file in FILES}}


@pytest.mark.parametrize("name", TEXTS)
def test_settings_exist(name: str) -> None:
    """Each setting that is named is one, and each of Prefect's as well."""
    named = set(re.findall(r"\b(?:MOODLE|COMMCARE|STATE|NUDGE|LEASE|IN_DOUBT|MAPPINGS)_[A-Z_]+\b", TEXTS[name]))
    assert named or name.endswith(".timer")
    assert set() == named - KNOWN - NOT_OURS
    theirs = set(re.findall(r"\bPREFECT_[A-Z_]+\b", TEXTS[name]))
    assert [] == [one for one in theirs if not hasattr(prefect_settings, one)]


def test_secrets_are_all_listed() -> None:
    """Each setting that may come from a file is in the table of secrets."""
    table = GUIDE.split("## Secrets")[1].split("## ")[0]
    assert [] == [name for name in SECRETS if f"`{name}`" not in table]


def test_nudges_are_all_listed() -> None:
    """Each nudge has a line that says when it comes and what to do, with the limits that are usual."""
    env = {"MOODLE_URL": "https://moodle.example.org", "MOODLE_TOKEN": "t", "COMMCARE_DOMAIN": "d"}
    settings = load_settings({**env, "COMMCARE_USERNAME": "u@example.org", "COMMCARE_API_KEY": "k"}, None)
    table = GUIDE.split("| nudge |")[1].split("\n\n")[0]
    assert {nudge.name for nudge in nudges(settings)} == set(re.findall(r"(?m)^\| (\w+) \|", table))
    for name in ("nudge_silent_hours", "nudge_problems", "nudge_expiry_days", "nudge_repeat_hours"):
        assert re.search(rf"`{name.upper()}` \({getattr(settings, name):g}[;)]", GUIDE), name
    assert f"no sign of life for {DEAD_AFTER / 60:g} minutes" in GUIDE


def test_anchors_lead_somewhere() -> None:
    """Each link inside the guide is a heading of it."""
    headings = {
        re.sub(r"[^\w -]", "", found).lower().replace(" ", "-") for found in re.findall(r"(?m)^## (.*)$", GUIDE)
    }
    assert set() == set(re.findall(r"\]\(#([^)]*)\)", GUIDE)) - headings


def test_units_are_right(tmp_path: Path) -> None:
    """systemd takes them, once the program is where they say."""
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed here")
    for unit in UNITS:
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    for unit in UNITS:
        command = [analyze, "verify", "--man=no", str(tmp_path / unit.name)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a tool of the system
        assert (0, "") == (ran.returncode, ran.stderr), unit.name


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_units_are_careful(unit: Path) -> None:
    """Nobody is root, what hangs is killed, the disk is closed but for one folder, and no secret stands there."""
    text = unit.read_text()
    (program,) = re.findall(r"(?m)^ExecStart=\S+/(moodle-commcare .*)$", text)
    assert [] == wrong_commands(program)
    for line in (
        *("User=moodle-commcare", "NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077"),
        *("StateDirectory=moodle-commcare", "StateDirectoryMode=0700"),
    ):
        assert f"\n{line}\n" in text
    assert re.search(r"\nTimeoutStopSec=\d+\n", text)
    assert [] == [name for name in SECRETS if re.search(rf"{name}=(?!sqlite)", text)]
    credentials = set(re.findall(r"(?m)^LoadCredential=([\w-]+):", text))
    assert credentials == set(re.findall(r"_FILE=%d/([\w-]+)", text))


def test_guide_has_commands() -> None:
    """The guide is about this program: were its blocks not found, nothing of it would be checked."""
    calls = [line for line in code_in(GUIDE) if "moodle-commcare " in line]
    assert len(calls) > 20
