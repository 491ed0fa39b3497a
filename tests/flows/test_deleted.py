"""People whom no course that is read can show or miss: Moodle is asked whether their accounts are still there."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import PROFILES
from flows.confirm import confirm
from flows.needs import CONFIRMED_LEAVERS, needs
from flows.result import Result
from flows.steps.deleted import UNSEEN
from state import RowId
from state.facts import DELETED_ACCOUNTS
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
CHOSEN = PROJECT.replace('"*"', '"C*"')
UNREAD = "last seen only in courses that are not read"


def read_no_more(site: FakeSite, course: int, how: str, now: float = 0.0) -> None:
    """Let a course be read no more."""
    if how == "over":
        site.courses[course]["enddate"] = int(now) + 60
    elif how == "hidden":
        site.courses[course]["visible"] = 0
    else:
        site.courses[course]["shortname"] = "OLD"


async def hidden(make_lab: MakeLab, *sizes: int, how: str = "hidden") -> tuple[Lab, list[int], list[int]]:
    """Return a lab whose first course is read no more, with its courses and its people."""
    site, courses, learners = site_of(*sizes)
    lab = make_lab(site, project=CHOSEN)
    await lab.sync()
    read_no_more(site, courses[0], how, lab.clock.now())
    return lab, courses, learners


def statuses(lab: Lab, course: int, learner: int) -> tuple[str, str]:
    """Return what the cases of a learner say: the person's, and the enrolment's in a course."""
    student, enrolment = lab.case(f"test-user-{learner}"), lab.case(f"test-enrol-{course}-{learner}")
    return student.properties["moodle_status"], enrolment.properties["enrolment_status"]


def profile_calls(result: Result) -> int:
    """Return how often a run asked for profiles."""
    return int(result.requests["moodle"].get(PROFILES, 0))


def hide_profile(lab: Lab, person: int) -> None:
    """Let Moodle give no profile of a person, without a word."""

    def to_moodle(request: httpx.Request) -> httpx.Response:
        answer = lab.moodle(request)
        if parse_qs(request.content.decode())["wsfunction"] == [PROFILES]:
            return httpx.Response(200, json=[row for row in answer.json() if row["id"] != person])
        return answer

    lab._to_moodle = to_moodle  # type: ignore[method-assign]


@pytest.mark.parametrize("how", ["over", "hidden", "not chosen"])
async def test_a_deleted_account_is_gone(make_lab: MakeLab, how: str) -> None:
    """With its cases in courses that nobody reads; of the others in such a course nothing is said."""
    lab, courses, learners = await hidden(make_lab, 5, 5, how=how)
    lab.site.enrol(courses[1], learners[0])
    await lab.sync()
    lab.site.delete_user(learners[0])
    for _ in range(7):
        assert "completed" == (await lab.sync(4 * 3600.0)).state
    other = lab.case(f"test-enrol-{courses[1]}-{learners[0]}").properties["enrolment_status"]
    assert (("left", "left"), "left") == (statuses(lab, courses[0], learners[0]), other)
    assert "active" == statuses(lab, courses[0], learners[1])[0]
    for _ in range(7):
        result = await lab.sync(4 * 3600.0)
        assert ("completed", {}, {}, []) == (
            result.state,
            written(result),
            result.requests["commcare"],
            result.messages,
        )
    assert {} == json.loads(lab.store.get(DELETED_ACCOUNTS) or "")


async def test_two_reads_have_the_word_of_moodle(make_lab: MakeLab) -> None:
    """Nobody is marked after one answer, and whose account is back by the second one is not marked at all."""
    lab, courses, (learner, *_) = await hidden(make_lab, 5, 5)
    account = lab.site.users[learner]
    was = {name: getattr(account, name) for name in ("username", "email", "deleted")}
    lab.site.delete_user(learner)
    result = await lab.sync()
    assert ({}, 2) == (written(result), profile_calls(result))
    lab.site.update_user(learner, **was)
    result = await lab.sync()
    assert ({}, 2) == (written(result), profile_calls(result))
    for _ in range(3):
        assert ({}, 1) == (written(result := await lab.sync()), profile_calls(result))
    lab.site.delete_user(learner)
    assert [{}, {"marked_left": 2}, {}] == [written(await lab.sync(later)) for later in (86_400.0, 3600.0, 3600.0)]
    assert ("left", "left") == statuses(lab, courses[0], learner)


async def test_whom_moodle_does_not_give_stays(make_lab: MakeLab) -> None:
    """A right may be lacking."""
    lab, courses, (learner, *_) = await hidden(make_lab, 5, 5)
    hide_profile(lab, learner)
    for _ in range(4):
        assert ("completed", {}) == ((result := await lab.sync(86_400.0)).state, written(result))
    assert ("active", "active") == statuses(lab, courses[0], learner)


async def test_moodle_is_asked_once_a_day(make_lab: MakeLab) -> None:
    """A request a day for a hundred people, and none at all where nobody is in that position."""
    lab, courses, learners = await hidden(make_lab, 5, 5)
    assert [2, *[1] * 5] * 2 == [profile_calls(await lab.sync(4 * 3600.0)) for _ in range(12)]
    for learner in learners[:5]:
        lab.site.enrol(courses[1], learner)
    assert [1] * 12 == [profile_calls(await lab.sync(4 * 3600.0)) for _ in range(12)]


async def test_who_stays_is_told_when_there_are_more(make_lab: MakeLab) -> None:
    """Not in every run: once there are more of them than a day ago."""
    lab, courses, learners = await hidden(make_lab, 5, 5, 1)
    told = [UNREAD in " ".join((await lab.sync(4 * 3600.0)).messages) for _ in range(8)]
    assert [True, *[False] * 7] == told
    lab.site.enrol(courses[1], learners[0])
    assert [] == [text for _ in range(8) for text in (await lab.sync(4 * 3600.0)).messages]
    read_no_more(lab.site, courses[2], "hidden")
    lab.site.unenrol(courses[1], learners[0])
    told = [text for _ in range(7) for text in (await lab.sync(4 * 3600.0)).messages if UNREAD in text]
    assert [f"6 people were {UNREAD}; their cases are not marked as left"] == [
        text.partition(" (")[0] for text in told
    ]


def beside(result: Result) -> list[str]:
    """Return what a run says, but for who was last seen in courses that are not read."""
    return [text for text in result.messages if UNREAD not in text]


async def test_one_person_is_told_as_one(make_lab: MakeLab) -> None:
    """The sentence is right for one person."""
    lab, *_ = await hidden(make_lab, 1, 5)
    (text,) = (text for text in (await lab.sync()).messages if UNREAD in text)
    assert text.startswith(f"1 person was {UNREAD}; the case is not marked as left")


async def test_many_deleted_accounts_wait_for_a_person(make_lab: MakeLab) -> None:
    """The guard counts them among those of the site; their cases in unread courses go with the word about it."""
    lab, courses, learners = await hidden(make_lab, 8, 5)
    for learner in learners[:8]:
        lab.site.delete_user(learner)
    results = [await lab.sync(4 * 3600.0) for _ in range(8)]
    assert [{}] * 8 == [written(result) for result in results]
    assert ["completed", *["waiting"] * 7] == [str(result.state) for result in results]
    assert [2, 2, *[1] * 4, 2, 1] == [profile_calls(result) for result in results]
    assert [(0, 8)] == [(need.course, need.count) for need in needs(lab.store)]
    confirm(lab.store, 0, 8)
    assert {"marked_left": 16} == written(await lab.sync())
    assert ({}, {}) == (written(await lab.sync()), json.loads(lab.store.get(CONFIRMED_LEAVERS) or "{}"))
    assert {("left", "left")} == {statuses(lab, courses[0], learner) for learner in learners[:8]}


@pytest.mark.parametrize("landed", [False, True])
async def test_an_answer_of_commcare_is_lost(make_lab: MakeLab, *, landed: bool) -> None:
    """What may not have been marked is marked by a later run, in both places."""
    lab, courses, (learner, *_) = await hidden(make_lab, 5, 5)
    lab.site.delete_user(learner)
    await lab.sync()

    def to_commcare(request: httpx.Request) -> httpx.Response:
        answer = lab.commcare(request) if landed or request.method != "POST" else None
        return httpx.Response(504) if request.method == "POST" else answer or httpx.Response(500)

    lab._to_commcare = to_commcare  # type: ignore[method-assign]
    await lab.sync()
    lab._to_commcare = lab.commcare  # type: ignore[method-assign]
    for _ in range(4):
        await lab.sync()
    assert ("left", "left") == statuses(lab, courses[0], learner)
    assert ({}, "completed") == (written(result := await lab.sync()), result.state)


async def test_a_run_stopped_between_both(make_lab: MakeLab) -> None:
    """Whose own case went in an earlier run goes from the course as well."""
    lab, courses, (learner, *_) = await hidden(make_lab, 5, 5)
    lab.site.delete_user(learner)
    await lab.sync()
    lab.store.settle({RowId("student", 0, f"test-user-{learner}"): "left"})
    assert {"marked_left": 1} == written(await lab.sync())
    assert "left" == statuses(lab, courses[0], learner)[1]


async def test_moodle_does_not_answer_the_question(make_lab: MakeLab) -> None:
    """Everything else goes on, and the next day it is asked again."""
    lab, courses, learners = await hidden(make_lab, 300, 5)
    lab.site.delete_user(learners[0])
    real = lab._to_moodle

    def to_moodle(request: httpx.Request) -> httpx.Response:
        is_about = any(
            str(one) in parse_qs(request.content.decode()).get("values[0]", []) for one in learners[:300]
        )
        return httpx.Response(500) if is_about else real(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]
    lab.site.update_user(learners[-1], firstname="Another")
    result = await lab.sync()
    assert ("degraded", {"updated": 1}) == (result.state, written(result))
    assert any(text.startswith("Moodle did not say which accounts are deleted.") for text in result.messages)
    assert "completed" == (await lab.sync()).state
    lab._to_moodle = real  # type: ignore[method-assign]
    assert [{}, {"marked_left": 2}] == [written(await lab.sync(later)) for later in (86_400.0, 3600.0)]
    assert ("left", "left") == statuses(lab, courses[0], learners[0])


async def test_a_deleted_account_of_a_course_that_fails_for_good(make_lab: MakeLab) -> None:
    """Such a course is like one that is not read."""
    site, courses, learners = site_of(5, 5)
    lab = make_lab(site)
    await lab.sync()
    lab.denied = {courses[0]}
    site.delete_user(learners[0])
    assert [{}] * 6 == [written(await lab.sync(4 * 3600.0)) for _ in range(6)]
    assert [{}, {"marked_left": 2}] == [written(await lab.sync(4 * 3600.0)) for _ in range(2)]
    assert ("left", "left") == statuses(lab, courses[0], learners[0])
    assert "active" == statuses(lab, courses[0], learners[1])[0]


async def test_a_course_that_is_read_again(make_lab: MakeLab) -> None:
    """Whose course comes back is compared with it as ever; nothing is left of the questions."""
    lab, courses, learners = await hidden(make_lab, 5, 5)
    lab.site.delete_user(learners[0])
    await lab.sync()
    lab.site.courses[courses[0]]["visible"] = 1
    assert [{}, {"marked_left": 2}, {}] == [written(await lab.sync()) for _ in range(3)]
    assert [] == [text for _ in range(6) for text in (await lab.sync(4 * 3600.0)).messages]
    assert {} == json.loads(lab.store.get(DELETED_ACCOUNTS) or "")
    assert 0 == json.loads(lab.store.get(UNSEEN) or "")["people"]
