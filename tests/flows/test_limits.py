"""What people allow us to ask of both systems, from the settings to the end of a run."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from adaptors.limits import Limits, QuietHours
from flows.limits import commcare_limits, moodle_limits, quiet_hours
from flows.open import open_world
from flows.result import Result, RunState
from flows.settings import load_settings
from flows.sync import Options, sync
from tests.flows.worlds import API_KEY, DOMAIN, TOKEN, USERNAME, Lab, recorded_lab

ZONE = ZoneInfo("Africa/Nairobi")  # the project's; the clock of the tests starts there at 03:00


def env(lab: Lab, **limits: str) -> dict[str, str]:
    """Return the settings for a lab."""
    return {
        "MOODLE_URL": lab.site.url,
        "MOODLE_TOKEN": TOKEN,
        "COMMCARE_URL": "https://commcare.example.org",
        "COMMCARE_DOMAIN": DOMAIN,
        "COMMCARE_USERNAME": USERNAME,
        "COMMCARE_API_KEY": API_KEY,
        "STATE_URL": f"sqlite:///{lab.folder / 'other' / 'state.db'}",
        "STATE_KEY_FILE": str(lab.folder / "other" / "state.key"),
        "MAPPINGS_DIR": str(lab.mappings),
        **limits,
    }


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Give the recorded site and an empty project space."""
    return recorded_lab(tmp_path)


async def run(lab: Lab, **limits: str) -> Result:
    """Run once with the limits in the settings."""
    world = open_world(
        load_settings(env(lab, **limits), None),
        clock=lab.clock,
        moodle=httpx.MockTransport(lab.moodle),
        commcare=httpx.MockTransport(lab.commcare),
    )
    try:
        return await sync(world, Options(yes=True))
    finally:
        await world.close()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("08:00-17:00", "08:00-17:00"),
        (" 8:00 - 12:00, 13:00\N{EN DASH}17:30 ", "08:00-12:00,13:00-17:30"),
        ("22:00-6:00", "22:00-06:00"),
        ("20:00-24:00", "20:00-00:00"),
    ],
)
def test_quiet_hours_are_written_as_people_write_them(written: str, expected: str) -> None:
    """Several spans, over midnight, until midnight; read again they are the same."""
    assert expected == quiet_hours(written) == quiet_hours(expected)


def test_settings_become_limits(lab: Lab) -> None:
    """Each setting limits its own system; without a time zone no hours are quiet."""
    settings = load_settings(
        env(
            lab,
            MOODLE_MAX_CONCURRENCY="3",
            MOODLE_MAX_SHARE="0.5",
            MOODLE_QUIET_HOURS="08:00-17:00",
            COMMCARE_MAX_REQUESTS_PER_MINUTE="40",
            COMMCARE_QUIET_HOURS="22:00-06:00",
        ),
        None,
    )
    assert Limits(at_once=3, share=0.5, quiet=QuietHours(((480, 1020),), ZONE)) == moodle_limits(settings, ZONE)
    assert Limits(per_minute=40, quiet=QuietHours(((1320, 360),), ZONE)) == commcare_limits(settings, ZONE)
    assert (None, None) == (moodle_limits(settings).quiet, commcare_limits(settings).quiet)


def test_without_settings_there_is_a_share_only(lab: Lab) -> None:
    """Moodle belongs to its learners: a fifth of the time is never ours."""
    settings = load_settings(env(lab), None)
    assert (Limits(share=0.8), Limits()) == (moodle_limits(settings, ZONE), commcare_limits(settings, ZONE))


@pytest.mark.parametrize("system", ["MOODLE", "COMMCARE"])
async def test_a_run_in_quiet_hours_is_postponed(lab: Lab, system: str) -> None:
    """Nothing is asked of the system, nothing is sent, and one line says why and until when."""
    result = await run(lab, **{f"{system}_QUIET_HOURS": "02:00-04:30"})
    name = {"MOODLE": "Moodle", "COMMCARE": "CommCare"}[system]
    said = f"{name} has its quiet hours, 02:00 to 04:30 (Africa/Nairobi). The run is postponed; nothing is lost."
    assert (RunState.POSTPONED, [said]) == (result.state, result.messages)
    assert {} == result.requests[name.lower()]
    assert {} == lab.project.cases


async def test_a_run_that_comes_into_quiet_hours_stops_there(lab: Lab) -> None:
    """What was read goes to CommCare; the run at the end of the quiet hours does the rest."""
    answer = lab.moodle

    def slow(request: httpx.Request) -> httpx.Response:
        lab.clock.advance(300)
        return answer(request)

    lab.moodle = slow  # type: ignore[assignment]
    first = await run(lab, MOODLE_QUIET_HOURS="04:00-08:00")
    assert (RunState.POSTPONED, 12) == (first.state, sum(first.requests["moodle"].values()))
    lab.moodle = answer
    lab.clock.advance(4 * 3600)
    second = await run(lab, MOODLE_QUIET_HOURS="04:00-08:00")
    assert RunState.COMPLETED == second.state
    assert {"completed"} == {course.state for course in second.courses.values()}


async def test_a_moodle_that_dies_postpones_the_run(lab: Lab) -> None:
    """After eight failures in a row and a rest: one line, and not a request per course and person."""
    answer, asked = lab.moodle, 0

    def dying(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return answer(request) if asked <= 6 else httpx.Response(502)

    lab.moodle = dying  # type: ignore[assignment]
    result = await run(lab)
    said = (
        "Moodle gave no usable answer 8 times in a row, and again after a minute's rest. The run is postponed; "
        "nothing is lost."
    )
    assert (RunState.POSTPONED, [said]) == (result.state, result.messages)
    assert 6 + 8 + 2 == asked


async def test_a_commcare_that_dies_postpones_the_run(lab: Lab) -> None:
    """What could not be sent is sent by the next run, once."""
    lab.commcare.fail_next("refused", times=10_000)
    first = await run(lab)
    assert (RunState.POSTPONED, {}) == (first.state, lab.project.cases)
    lab.commcare.faults.clear()
    second = await run(lab)
    assert RunState.COMPLETED == second.state
    assert len(lab.project.cases) == len({case.external_id for case in lab.project.cases.values()}) > 0


class Throttle:
    """CommCare's limit: so many requests in ten seconds; `wait` is what it then asks for."""

    def __init__(self, requests: int, wait: float) -> None:
        self.requests, self.wait, self.refused = requests, wait, 0
        self.times: list[float] = []

    def __call__(self, now: float) -> float | None:
        self.times = [time for time in self.times if time > now - 10]
        if len(self.times) >= self.requests:
            self.refused += 1
            return self.wait
        self.times.append(now)
        return None


async def test_a_throttled_commcare_is_asked_no_more_than_it_allows(lab: Lab) -> None:
    """However tight its limit, each refusal is waited for by all: a first load makes few of them and no double."""
    throttle = lab.commcare.throttle = Throttle(2, 9.63)
    result = await run(lab)
    asked = sum(result.requests["commcare"].values())
    assert RunState.COMPLETED == result.state
    assert len(lab.project.cases) == len({case.external_id for case in lab.project.cases.values()}) > 0
    assert 0 < throttle.refused <= asked / 2


async def test_our_own_limit_stretches_the_run(lab: Lab) -> None:
    """With two requests a minute a run takes as many minutes as half of its requests."""
    result = await run(lab, COMMCARE_MAX_REQUESTS_PER_MINUTE="2")
    asked = sum(result.requests["commcare"].values())
    assert RunState.COMPLETED == result.state
    assert result.seconds >= 60 * (asked - 2) // 2 > 60
