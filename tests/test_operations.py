"""The guide for whoever runs it is true: settings and variables exist, units are right, anchors lead somewhere.

That its commands exist is in tests/test_docs.py, which looks at all texts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
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


@pytest.fixture(scope="module")
def analyze() -> Callable[..., tuple[int, str]]:
    """Give a way to ask systemd-analyze, which returns its exit code and what it complains of."""
    if not (found := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed here")

    def ask(*words: str) -> tuple[int, str]:
        ran = subprocess.run([found, *words], capture_output=True, text=True, check=False)  # noqa: S603
        return ran.returncode, ran.stderr

    return ask


def as_if_installed(unit: str) -> str:
    """Return a unit whose program is one that is there."""
    return re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit)


def test_units_are_right(tmp_path: Path, analyze: Callable[..., tuple[int, str]]) -> None:
    """systemd takes them, once the program is where they say, also with all that is left to be switched on."""
    for unit in UNITS:
        text = as_if_installed(unit.read_text())
        (tmp_path / unit.name).write_text(text)
        (tmp_path / f"{unit.stem}-all{unit.suffix}").write_text(re.sub(r"(?m)^#(?=\w+=)", "", text))
    for file in sorted(tmp_path.iterdir()):
        assert (0, "") == analyze("verify", "--man=no", str(file)), file.name


def test_a_wrong_unit_is_found(tmp_path: Path, analyze: Callable[..., tuple[int, str]]) -> None:
    """Were systemd-analyze silent about everything, the test above would say nothing."""
    (tmp_path / "wrong.service").write_text(as_if_installed(UNITS[-1].read_text()).replace("UMask=", "UMsk="))
    assert "'UMsk' in section" in analyze("verify", "--man=no", str(tmp_path / "wrong.service"))[1]


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_units_are_shut(unit: Path, analyze: Callable[..., tuple[int, str]]) -> None:
    """systemd counts how much of the machine a service could reach, from 0 to 10; theirs are under 2."""
    code, complaint = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))
    if "unrecognized option" in complaint:
        pytest.skip("this systemd-analyze is too old to count")
    assert (0, "") == (code, complaint)


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
    for switched_off in ("", "#"):
        credentials = re.findall(rf"(?m)^{switched_off}LoadCredential=([\w-]+):", text)
        assert credentials == re.findall(rf"(?m)^{switched_off}Environment=\w+_FILE=%d/([\w-]+)$", text)


def test_by_hand_is_as_the_service() -> None:
    """The same account, folder, settings and secrets; a shell can read it."""
    script, unit = BY_HAND.read_text(), (BY_HAND.parent / "moodle-commcare.service").read_text()
    assert set(re.findall(r"_FILE=%d/([\w-]+)", unit)) == set(re.findall(r"(?m)^given ([\w-]+) ", script))
    for name in re.findall(r"(?m)^given [\w-]+ (\w+)$", script):
        assert name.removesuffix("_FILE") in SECRETS
    settings = re.findall(r"(?m)^Environment=((?:STATE|MAPPINGS)_\S+)$", unit)
    assert settings == re.findall(r"--setenv=((?:STATE|MAPPINGS)_\S+)", script)
    for line in ("StateDirectory=moodle-commcare", "StateDirectoryMode=0700", "UMask=0077"):
        assert (True, True) == (f"\n{line}\n" in unit, f"--property={line} " in script)
    (folder,) = re.findall(r"--working-directory=(\S+)", script)
    assert f"\nWorkingDirectory={folder}\n" in unit
    (file,) = re.findall(r"--setenv=SETTINGS=(\S+)", script)
    assert f" --env-file {file}\n" in unit
    assert BY_HAND.stat().st_mode & 0o111
    shell = shutil.which("sh") or "sh"
    subprocess.run([shell, "-n", str(BY_HAND)], check=True)  # noqa: S603 - only looked at, not run


def test_guide_has_commands() -> None:
    """The guide is about this program: were its blocks not found, nothing of it would be checked."""
    calls = [line for line in code_in(GUIDE) if "moodle-commcare " in line]
    assert len(calls) > 20
