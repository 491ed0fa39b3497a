"""The last day of tokens and keys: said by people, checked, and told by each run that comes near it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from flows.expiry import check_expiry, ending_soon, expiries
from flows.settings import Settings, SettingsError, load_settings
from tests.flows.terminal import Terminal
from tests.flows.test_check import findings, not_well
from tests.flows.test_settings import changed
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab

TODAY = date(2026, 11, 29)


def settings(**more: str | None) -> Settings:
    """Return the usual settings with some changed."""
    return load_settings(changed(**more), None)


def levels(**more: str | None) -> list[tuple[str, str]]:
    """Return level and text of what the check finds."""
    return [(one.level, one.what) for one in check_expiry(settings(**more), TODAY)]


def test_nobody_has_said() -> None:
    """Neither system tells, so people are asked, with the screen that shows it."""
    expected = [
        ("note", "nobody has said when MOODLE_TOKEN stops working"),
        ("note", "nobody has said when COMMCARE_API_KEY stops working"),
    ]
    assert expected == levels()
    (moodle, _) = check_expiry(settings(), TODAY)
    assert "Manage tokens" in moodle.remedy
    assert "MOODLE_TOKEN_EXPIRES" in moodle.remedy


@pytest.mark.parametrize(
    ("said", "level", "what"),
    [
        ("never", "ok", "MOODLE_TOKEN never ends"),
        ("2027-06-30", "ok", "MOODLE_TOKEN works until 2027-06-30"),
        ("2026-12-14", "ok", "MOODLE_TOKEN works until 2026-12-14"),
        ("2026-12-13", "note", "MOODLE_TOKEN stops working on 2026-12-13, in 14 days"),
        ("2026-11-30", "note", "MOODLE_TOKEN stops working on 2026-11-30, in 1 day"),
        ("2026-11-29", "note", "MOODLE_TOKEN stops working on 2026-11-29, today"),
        ("2026-11-01", "note", "MOODLE_TOKEN should have stopped working on 2026-11-01"),
    ],
)
def test_what_was_said(said: str, level: str, what: str) -> None:
    """A fortnight before, the check begins to speak of it."""
    assert (level, what) == levels(MOODLE_TOKEN_EXPIRES=said)[0]


def test_how_long_before_is_a_setting() -> None:
    """Who needs a month to get a token is told a month before."""
    assert "ok" == levels(COMMCARE_API_KEY_EXPIRES="2026-12-29")[1][0]
    assert "note" == levels(COMMCARE_API_KEY_EXPIRES="2026-12-29", NUDGE_EXPIRY_DAYS="30")[1][0]


def test_passwords_have_no_last_day() -> None:
    """A login by password makes its own token, and nobody is asked."""
    assert [] == levels(
        MOODLE_TOKEN=None,
        MOODLE_USERNAME="service",
        MOODLE_PASSWORD="canary-word",
        MOODLE_SERVICE="commcare",
        COMMCARE_API_KEY=None,
        COMMCARE_PASSWORD="canary-word",
    )


@pytest.mark.parametrize("said", ["soon", "31.01.2027", "2027-02-30", "2027"])
def test_no_date(said: str) -> None:
    """What is no date is refused with an example."""
    with pytest.raises(SettingsError, match="MOODLE_TOKEN_EXPIRES must be a date like 2027-01-31, or never"):
        settings(MOODLE_TOKEN_EXPIRES=said)


async def test_a_run_says_it(make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is completed all the same; before that time it says nothing."""
    lab = make_lab(site_of(2)[0])
    day = datetime.fromtimestamp(lab.clock.now() + 10 * 86_400, UTC).date()
    world_of = lab.world

    def world() -> Any:
        found = world_of()
        found.expiries = expiries(settings(MOODLE_TOKEN_EXPIRES=str(day)))
        return found

    monkeypatch.setattr(lab, "world", world)
    result = await lab.sync()
    assert "completed" == result.state
    assert [one for one in result.messages if one.startswith(f"MOODLE_TOKEN stops working on {day}, in ")]
    found = expiries(settings(MOODLE_TOKEN_EXPIRES=str(day)))
    assert () == tuple(ending_soon(found, date.fromordinal(day.toordinal() - 15), 14))


def test_the_check_shows_it(terminal: Terminal) -> None:
    """In the list, with the level of a note."""
    terminal.env |= {"MOODLE_TOKEN_EXPIRES": "2020-01-31"}
    assert ["note Settings MOODLE_TOKEN should have stopped working on 2020-01-31"] == not_well(terminal)
    assert "ok Settings COMMCARE_API_KEY never ends" in findings(terminal)
