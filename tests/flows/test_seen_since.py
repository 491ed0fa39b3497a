"""Whoever was seen since is not gone by what the books said, or allowed, before: that is asked about anew."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from flows.confirm import confirm
from flows.needs import ALLOWED_LEAVERS, needs
from flows.round import sync_round
from flows.steps.planned import SITE_SCOPE
from flows.sync import Options
from tests.flows.test_sync import site_of
from tests.flows.test_who_is_gone import moodle_status, unenrol_all
from tests.flows.worlds import PROJECT, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
DAY = 86_400.0
GROUPS = "moodle/site:accessallgroups"


async def a_leaver(make_lab: MakeLab, project: str = "", *, closes: bool = False) -> tuple[Lab, int, int]:
    """Return a lab with courses of six and twelve, the first of them, and somebody whom one read of it lacked."""
    site, courses, learners = site_of(6, 12)
    site.courses[courses[0]]["groupmode"] = 1
    lab = make_lab(site, project=f"{PROJECT}{project}")
    if closes:
        lab.edit("student", "{moodle_status: left}", "{moodle_status: left}, close: true")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync(DAY)
    return lab, courses[0], learners[0]


async def come_back(lab: Lab, course: int, person: int, **options: object) -> None:
    """Let somebody come back, and run an hour later."""
    lab.site.enrol(course, person)
    await lab.sync(**options)


async def go_blind(lab: Lab) -> None:
    """Hide the people of the first course from the account, and run three times."""
    lab.moodle.revoke(GROUPS)
    for _ in range(3):
        await lab.sync()


async def gone_again(lab: Lab, course: int, person: int) -> list[str]:
    """Take somebody out of a course, and return what the case says after each of two runs."""
    lab.site.unenrol(course, person)
    told = []
    for _ in range(2):
        await lab.sync()
        told.append(moodle_status(lab, person))
    return told


def book_status(lab: Lab, mapping: str, course: int, person: int) -> tuple[str, int]:
    """Return what the books say of somebody's case, and how many reads lacked it."""
    cases = lab.store.cases(mapping, course).values()
    return next((case.status, case.missing_count) for case in cases if case.user_id == person)


def enrolment_status(lab: Lab, course: int, person: int) -> str:
    """Return what somebody's enrolment says."""
    return str(lab.case(f"test-enrol-{course}-{person}").properties["enrolment_status"])


def asked(lab: Lab) -> list[tuple[int, int]]:
    """Return about how many people somebody is asked, by course (0: the site)."""
    return [(need.course, need.count) for need in needs(lab.store)]


# --- a parent, or another case, that says left by now wrongly -----------------------------------------------


@pytest.mark.parametrize("why", ["an interval", "a run for enrolments", "held back"])
async def test_a_parent_that_was_not_told_takes_nobody_along(make_lab: MakeLab, why: str) -> None:
    """A record that is there says that its person is, whenever, and whatever, the parent is told."""
    lab, course, person = await a_leaver(make_lab, "intervals: {people: 24}\n" if why == "an interval" else "")
    await lab.sync(DAY)
    if why == "held back":
        lab.site.users[person].lastname = ""
    await come_back(lab, course, person, mappings=("enrolment",) if why == "a run for enrolments" else ())
    assert (("rejoining", 0), "active") == (
        book_status(lab, "student", SITE_SCOPE, person),
        enrolment_status(lab, course, person),
    )
    await go_blind(lab)
    assert ("active", [(course, 6)]) == (enrolment_status(lab, course, person), asked(lab))


async def test_in_a_round_as_well(make_lab: MakeLab) -> None:
    """A shard sees the record, and the parent is the opener's: the books know of it all the same."""
    lab, course, person = await a_leaver(make_lab, "intervals: {people: 24}\n")
    await lab.sync(DAY)
    lab.site.enrol(course, person)
    for _ in range(4):
        lab.clock.advance(3600.0)
        world = lab.world()
        assert 2 == len((await sync_round(world, Options(yes=True), 2)).shards)
        await world.moodle.close()
        await world.commcare.close()
        lab.moodle.revoke(GROUPS)
    assert ("active", [(course, 6)]) == (enrolment_status(lab, course, person), asked(lab))


async def test_whoever_is_gone_again_is_marked_once_the_parent_is_read(make_lab: MakeLab) -> None:
    """The return was never told to the parent, and the second leaving is known after two reads like any other."""
    lab, course, person = await a_leaver(make_lab, "intervals: {people: 24}\n")
    await lab.sync(DAY)
    await come_back(lab, course, person)
    lab.site.unenrol(course, person)
    for _ in range(3):
        await lab.sync(DAY)
    assert ("left", "left", []) == (moodle_status(lab, person), enrolment_status(lab, course, person), asked(lab))
    assert "left" == book_status(lab, "student", SITE_SCOPE, person)[0]


async def test_an_enrolment_that_is_held_back_keeps_its_person(make_lab: MakeLab) -> None:
    """It was read, and cannot be written: its person is in the course like the others, when that looks empty."""
    lab, course, person = await a_leaver(make_lab)
    await lab.sync(DAY)
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    text = text.replace("source: groups\n", "source: groups\n    required: true\n")
    (lab.mappings / "enrolment.yaml").write_text(text)
    await come_back(lab, course, person)
    assert "rejoining" == book_status(lab, "enrolment", course, person)[0]
    await go_blind(lab)
    assert "active" == moodle_status(lab, person)


@pytest.mark.parametrize("why", ["an interval", "grades that fail"])
async def test_an_enrolment_that_is_not_read_keeps_its_person(make_lab: MakeLab, why: str) -> None:
    """The list of people says that he is in the course again; only his enrolment was not read since."""
    interval = "intervals: {enrolments: 24, grades: 24}\n" if why == "an interval" else ""
    lab, course, person = await a_leaver(make_lab, interval)
    await lab.sync(DAY)
    real = lab.moodle

    def without_grades(request: httpx.Request) -> httpx.Response:
        is_grades = why != "an interval" and b"gradereport" in request.content
        return httpx.Response(200, json={"exception": "x", "errorcode": "x"}) if is_grades else real(request)

    lab._to_moodle = without_grades  # type: ignore[method-assign]
    await come_back(lab, course, person)
    assert "left" == enrolment_status(lab, course, person)
    await go_blind(lab)
    assert "active" == moodle_status(lab, person)


async def test_an_enrolment_that_was_never_answered_keeps_its_person(make_lab: MakeLab) -> None:
    """Nobody heard whether CommCare has it; its person was seen in the course all the same."""
    lab, course, _ = await a_leaver(make_lab)
    new = lab.site.add_user("New", "Learner", lastaccess=lab.site.now)
    await come_back(lab, course, new, mappings=("student",))
    lab.commcare.fail_next("timeout")
    assert 1 == (await lab.sync()).of("enrolment").in_doubt
    await go_blind(lab)
    assert "active" == moodle_status(lab, new)


async def test_who_is_back_is_gone_after_two_reads_only(make_lab: MakeLab) -> None:
    """Those that lacked him before he came back do not count, be it that CommCare's answer was lost."""
    lab, course, person = await a_leaver(make_lab)
    (lab.mappings / "enrolment.yaml").unlink()
    (lab.mappings / "grade_item.yaml").unlink()
    await lab.sync()
    assert "left" == moodle_status(lab, person)
    lab.commcare.drop_reply_after_commit()
    await come_back(lab, course, person, courses=(course,))  # people of the site are not compared in such a run
    assert ["active", "left"] == await gone_again(lab, course, person)


# --- what was allowed, or sent, before ----------------------------------------------------------------------


async def test_a_close_in_doubt_does_not_close_who_was_seen_since(make_lab: MakeLab) -> None:
    """His record is held back, so that the books do not know whether he is closed: no reason to close him anew."""
    lab, course, person = await a_leaver(make_lab, closes=True)
    real = lab.commcare

    def lost(request: httpx.Request) -> httpx.Response:
        if b'"close": true' in request.content or b'"close":true' in request.content:
            raise httpx.ReadTimeout("no answer", request=request)
        return real(request)

    lab._to_commcare = lost  # type: ignore[method-assign]
    assert 1 == (await lab.sync()).of("student").in_doubt
    lab._to_commcare = real  # type: ignore[method-assign]
    lab.site.users[person].lastname = ""
    await come_back(lab, course, person)
    assert ("closing", 0) == book_status(lab, "student", SITE_SCOPE, person)
    await go_blind(lab)
    assert (False, "active") == (
        lab.case(f"test-user-{person}").closed,
        enrolment_status(lab, course, person),
    )


async def test_a_mark_that_was_refused_is_not_tried_of_who_was_seen_since(make_lab: MakeLab) -> None:
    """What CommCare refused was said of another absence, and would be taken by now: nobody agreed to this one."""
    lab, course, person = await a_leaver(make_lab)
    lab.commcare.refuse_row(lab.case(f"test-user-{person}").case_id, "It cannot be.")
    assert 1 == (await lab.sync()).refused_rows
    lab.site.users[person].lastname = ""
    await come_back(lab, course, person)
    lab.commcare.accept_rows()
    lab.edit("student", "{moodle_status: left}", "{moodle_status: gone}")
    await go_blind(lab)
    assert ("active", []) == (moodle_status(lab, person), lab.store.refusals())


async def test_a_word_is_over_for_who_is_back_whatever_is_read(make_lab: MakeLab) -> None:
    """Grades are read once a day: until then the word about the enrolments was to be theirs too."""
    site, courses, learners = site_of(12)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{grades: 24}}\n")
    lab.edit("grade_item", "enabled: false", "enabled: true")
    item = site.set_grade_item(courses[0], "Quiz")
    for learner in learners:
        site.grade(item, learner, 80)
    await lab.sync()
    unenrol_all(lab, learners[:4])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 4)
    await lab.sync()
    await come_back(lab, courses[0], learners[0])
    allowed = json.loads(lab.store.get(ALLOWED_LEAVERS) or "{}")
    assert {str(courses[0]): {"grade_item": [f"test-grade-{item}-{one}" for one in learners[1:4]]}} == allowed
    lab.moodle.revoke("moodle/user:viewdetails")
    for _ in range(3):
        await lab.sync(DAY)
    told = [lab.case(f"test-grade-{item}-{one}").properties["grade_status"] for one in learners[:4]]
    assert ["graded", "left", "left", "left"] == told


async def test_a_word_about_a_course_is_none_about_one_that_fails(make_lab: MakeLab) -> None:
    """They went on in a course that cannot be read: after a day somebody is asked about the site first."""
    site, courses, learners = site_of(10, 5)
    lab = make_lab(site)
    await lab.sync()
    lab.denied = {courses[1]}
    for learner in learners[:4]:
        site.unenrol(courses[0], learner)
        site.enrol(courses[1], learner)
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 4)
    for _ in range(9):
        await lab.sync(4 * 3600.0)
    assert (["active"] * 4, [(SITE_SCOPE, 4)]) == ([moodle_status(lab, one) for one in learners[:4]], asked(lab))
    lab.denied = set()
    for _ in range(3):
        assert "marked_left" not in written(await lab.sync())
    assert [] == asked(lab)


async def test_books_put_back_mark_nobody_whose_course_is_asked_about(make_lab: MakeLab) -> None:
    """He came back after the backup; the account does not see the course any more by then."""
    lab, course, person = await a_leaver(make_lab)
    lab.in_a_file()
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    await come_back(lab, course, person)
    lab.restore(backup)
    await go_blind(lab)
    assert ("active", "active") == (moodle_status(lab, person), enrolment_status(lab, course, person))


@pytest.mark.parametrize("how", ["for one course", "while another fails"])
async def test_who_was_seen_in_between_is_not_missing_twice_in_a_row(make_lab: MakeLab, how: str) -> None:
    """Such a run compares nobody of the site, and shows all the same who is there."""
    lab, course, person = await a_leaver(make_lab)
    (lab.mappings / "enrolment.yaml").unlink()
    (lab.mappings / "grade_item.yaml").unlink()
    other = next(number for number in lab.site.courses if number > course)
    lab.denied = {other} if how == "while another fails" else set()
    await come_back(lab, course, person, courses=(course,) if how == "for one course" else ())
    lab.denied = set()
    assert ["active", "left"] == await gone_again(lab, course, person)
