"""What a first run tells before anything is made: new cases, those there, owners, numbers, consent, how long."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from adaptors.moodle.streams import PROFILES
from flows.approve import Answer, approve
from flows.needs import FIRST_RUNS, NEW_COURSES, needs
from flows.show import show_plan
from flows.steps.select import NOT_WHOLE
from flows.sync import Options, sync
from tests.flows.test_first_looks import BEGUN
from tests.flows.test_sync import site_of
from tests.flows.test_unshowable import beside_a_broken_teacher
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
CONSENT = '\n  - {source: profile.consent, is: "yes"}'


async def test_the_whole_plan(make_lab: MakeLab) -> None:
    """Creates, existing cases, people without a usable number or consent, requests, minutes; nothing is sent."""
    site, courses, learners = site_of(6)
    for learner in learners:
        site.update_user(learner, profile={"consent": "no" if learner == learners[0] else "yes"})
    site.update_user(learners[1], phone1="")
    site.update_user(learners[2], phone1="12")
    site.enrol(courses[0], site.add_user("Tea", "Cher"), roles=["editingteacher"])
    lab = make_lab(site)
    text = (lab.mappings / "student.yaml").read_text()
    old = next(line for line in text.splitlines() if "any_of" in line or "source: roles" in line)
    lab.edit("student", old, old + CONSENT)
    lab.project.add_case("student", "Somebody")
    plan = (await lab.sync(yes=False)).plan
    assert {"student": 5, "enrolment": 5} == plan["creates"]
    assert {"student.contact_phone_number": 2} == plan["without_phone"]
    assert {"student": 2} == plan["kept_out"]  # the teacher has not agreed either
    assert {} == plan["unresolved_owners"]
    assert ({"student": 1, "enrolment": 0}, 2, 1) == (
        plan["existing_cases"],
        plan["commcare_requests"],
        plan["expected_minutes"],
    )
    assert 1 == len(plan["stops"])
    assert [] == lab.project.forms


async def test_owners_in_vain(make_lab: MakeLab) -> None:
    """Owners that CommCare does not have are counted by what is wrong with them, without their names."""
    site, _, _ = site_of(3)
    lab = make_lab(site, project=PROJECT.replace("Field coaches", "Nobody"))
    plan = (await lab.sync(yes=False)).plan
    assert {"group unknown": 3} == plan["unresolved_owners"]
    assert "Nobody" not in str(plan)
    assert 0 == plan["creates"].get("student", 0)
    assert {} == plan["without_phone"]


async def test_the_plan_in_words(make_lab: MakeLab, capsys: object) -> None:
    """A person reads it line by line."""
    site, _, learners = site_of(3)
    site.update_user(learners[1], phone1="")
    lab = make_lab(site)
    show_plan(await lab.sync(yes=False))
    told = capsys.readouterr().out  # type: ignore[attr-defined]
    assert "leave student.contact_phone_number blank in 1 case: no telephone number that can be used" in told


# --- what could not be read ---------------------------------------------------------------------------------

UNREAD = "1 course could not be read: its cases are not in that count."


@pytest.fixture
async def closed(make_lab: MakeLab) -> tuple[Lab, int]:
    """Give a site that was planned while Moodle did not let the account into one of its two courses."""
    site, courses, _ = site_of(3, 8)
    lab = make_lab(site)
    lab.denied = {courses[1]}
    await lab.sync(yes=False)
    return lab, courses[1]


async def approved(lab: Lab) -> str:
    """Approve the plan with the number that it showed, and return what is said to that."""
    (need,) = await lab.books.do(needs, lab.store)
    return await lab.books.do(approve, lab.store, Answer("first-run", count=need.count))


async def test_a_course_that_cannot_be_read_is_told(make_lab: MakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan, the question and the word to its answer say that its cases are not counted."""
    site, courses, _ = site_of(3, 8)
    lab = make_lab(site)
    lab.denied = {courses[1]}
    result = await lab.sync(yes=False)
    assert {"courses": [courses[1]], "people": 0, "new_courses": False} == result.plan["not_read"]
    assert {"student": 3, "enrolment": 3} == result.plan["new_cases"]
    show_plan(result)
    told = capsys.readouterr().out
    assert f"leave out course {courses[1]}, which could not be read: its cases are not in these counts" in told
    (need,) = await lab.books.do(needs, lab.store)
    assert need.sentence.endswith(f"and nothing was sent. {UNREAD}")
    assert UNREAD in result.messages[0]
    assert (await approved(lab)).endswith(UNREAD)


async def test_people_who_are_not_shown_are_told(make_lab: MakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    """A person whose profile Moodle does not give has no case in the plan either."""
    lab = make_lab(site_of(3)[0])
    lab.moodle.fail_next(PROFILES, "500_empty", times=5)
    result = await lab.sync(yes=False)
    assert {"courses": [], "people": 3, "new_courses": False} == result.plan["not_read"]
    show_plan(result)
    assert "leave out 3 people whom Moodle did not show: the cases are not in these" in capsys.readouterr().out
    (need,) = await lab.books.do(needs, lab.store)
    assert need.sentence.endswith("3 people could not be read: their cases are not in that count.")


async def test_a_plan_while_the_list_of_courses_is_refused(
    make_lab: MakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    """Courses that are new are in no count: the plan, the question, the run and the word to the answer say so."""
    lab, site, courses, learners, teacher = beside_a_broken_teacher(make_lab, '{shortname_like: "C*"}')
    lab.edit("enrolment", BEGUN, f"{BEGUN}enabled: false\n")
    await lab.sync()
    lab.edit("enrolment", f"{BEGUN}enabled: false\n", BEGUN)
    site.update_user(teacher, lastname="<Trainer")
    for learner in learners:
        site.enrol(site.add_course("C9", "New"), learner)
    some = await lab.sync(yes=False, mappings=("enrolment",), courses=(courses[0],))
    assert (False, False) == (some.plan["not_read"]["new_courses"], NOT_WHOLE in some.messages)
    result = await lab.sync(yes=False, mappings=("enrolment",))
    assert (True, True) == (result.plan["not_read"]["new_courses"], NOT_WHOLE in result.messages)
    show_plan(result)
    assert "leave out courses that are new to this program, since Moodle cannot" in capsys.readouterr().out
    (need,) = await lab.books.do(needs, lab.store)
    assert (4, True) == (need.count, need.sentence.endswith(f"and nothing was sent. {NEW_COURSES}"))
    assert (await approved(lab)).endswith(NEW_COURSES)


async def test_once_it_can_be_read_the_number_is_asked_again(closed: tuple[Lab, int]) -> None:
    """What was approved is the number without that course: with it, nothing is made until a person has seen it."""
    lab, _ = closed
    await approved(lab)
    lab.denied = set()
    result = await lab.sync(yes=False)
    assert ("waiting", []) == (result.state, lab.project.forms)
    assert "student was approved with 3 new cases, and it would be 11 by now." in result.messages[0]
    (need,) = await lab.books.do(needs, lab.store)
    assert (22, True) == (need.count, need.sentence.endswith("nothing was sent."))
    assert "courses" not in json.dumps(json.loads(lab.store.get(FIRST_RUNS) or "{}"))


async def test_not_more_is_made_than_was_approved(closed: tuple[Lab, int]) -> None:
    """A course that opens between the second look and the run waits for the next run; the others go on."""
    lab, course = closed
    await approved(lab)

    def open_after_the_look(stage: str, done: int, total: int) -> None:
        if stage == "people" and done == total:
            lab.denied = set()

    lab.clock.advance(3600.0)
    result = await sync(lab.world(), Options(), open_after_the_look)
    assert (set(), {"created": 6}) == (lab.denied, written(result))
    assert "failed" == result.courses[course].state
    assert {"created": 16} == written(await lab.sync(yes=False))
