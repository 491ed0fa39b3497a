"""The Prefect flow `drain`: over at once while nothing waits, and it says what it did."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.clock import SystemClock
from flows.deployed_drain import drain
from flows.open import open_store
from flows.settings import load_settings
from state import Hint
from tests.flows.test_deployed import Place, ended, marked, place  # noqa: F401 - a fixture

pytest_plugins = ["tests.prefect_server"]

HOUSE = Path(__file__).parent.parent.parent
(DEPLOYED,) = (
    one for one in yaml.safe_load((HOUSE / "prefect.yaml").read_text())["deployments"] if one["name"] == "drain"
)


def put(place: Place, course: int, mark: bytes) -> None:  # noqa: F811
    """Put a hint into the inbox that came a while ago."""
    with open_store(load_settings(place.env, None)) as store:
        store.inbox_add([Hint("moodle", "core.user_graded", mark, course_id=course)], SystemClock().now() - 400)


@marked
async def test_a_drain_in_a_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An empty inbox opens nothing; a hint is worked off; a wrong setting fails in one sentence."""
    await place.approve()
    with monkeypatch.context() as patch:
        patch.setattr("flows.attended_drain.open_world", None)
        assert ("COMPLETED", "Completed", "The inbox is empty.") == await ended(drain)
    course = place.sandbox.courses["CHW-101"]
    place.sandbox.site.grade(place.sandbox.items["Home visits"], place.sandbox.learners[1], 88)
    before = place.writes
    put(place, course, b"1" * 16)
    kind, name, message = await ended(drain)
    assert ("COMPLETED", "Completed") == (kind, name)
    assert message.startswith(
        f"1 hint worked off. Read in 1 run: course {course}. Cases: 1 updated, 11 unchanged."
    )
    assert before + 1 == place.writes
    monkeypatch.setenv("MOODLE_TOKN", "0123456789")
    assert ("FAILED", "Failed", "MOODLE_TOKN is not a setting; did you mean MOODLE_TOKEN?") == await ended(drain)


def test_it_fits_into_its_minute() -> None:
    """The schedule is every minute; what it looks for is over before the next begins."""
    (schedule,) = DEPLOYED["schedules"]
    assert "* * * * *" == schedule["cron"]
    assert 0 < DEPLOYED["parameters"]["seconds"] <= 45


def test_form_is_plain() -> None:
    """One number with a default and a description; nothing is kept."""
    shown: dict[str, Any] = drain.parameters.properties
    assert [("seconds", "integer", 40)] == [(name, one["type"], one["default"]) for name, one in shown.items()]
    assert all(re.search(r"\w", one["description"]) for one in shown.values())
    assert (False, False) == (drain.persist_result, drain.log_prints)
