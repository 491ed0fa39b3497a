"""Cases to be emptied that no read shows: of courses that are over or hidden, of who is suspended or has left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flows.test_back_whole import OUT, OVER, consent, refused_for_now
from tests.flows.test_departures import consenting
from tests.flows.test_unsure import courses_of, leave, private_of, run, status_of
from tests.flows.worlds import Lab

MakeLab = Callable[..., Lab]
ENROL_OUT = "when_excluded: {set: {enrolment_status: withdrawn}}"
GRADE_OUT = "when_excluded: {set: {grade_status: withdrawn}}"
NICK = "\nproperties:\n  nick: {source: user.firstname, personal: true}\n"


async def two_courses(make_lab: MakeLab) -> tuple[Lab, list[int], int]:
    """Return a lab whose learners are in two courses, with the learners and the first course."""
    lab, learners = await consenting(make_lab)
    other = lab.site.add_course("Other", "Other")
    for learner in learners:
        lab.site.enrol(other, learner)
    lab.edit("enrolment", "when_left:", f"{ENROL_OUT}\n{OVER}\nwhen_left:")
    await lab.sync()
    return lab, learners, courses_of(lab)[0]


async def graded(make_lab: MakeLab) -> tuple[Lab, int, str]:
    """Return a lab with cases of grades, a learner and the key of his or her grade."""
    lab, learners = await consenting(make_lab)
    lab.edit("grade_item", "enabled: false\n", "")
    lab.edit("grade_item", "when_left:", f"{GRADE_OUT}\nwhen_left:")
    item = lab.site.set_grade_item(courses_of(lab)[0], "Quiz")
    for one in learners:
        lab.site.grade(item, one, 80)
    await lab.sync()
    return lab, learners[0], f"test-grade-{item}-{learners[0]}"


def enrolment_status(lab: Lab, course: int, person: int) -> str:
    """Return what CommCare says of an enrolment."""
    text: str = lab.case(f"test-enrol-{course}-{person}").properties["enrolment_status"]
    return text


# --- decided, and never read again ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timeout", "429"])
@pytest.mark.parametrize("how", ["ended", "hidden"])
async def test_the_only_course_is_read_no_more(make_lab: MakeLab, how: str, kind: str) -> None:
    """It was decided to empty the case, nothing arrived, and nobody reads its person from then on."""
    lab, learners = await consenting(make_lab)
    other = lab.site.add_course("Other", "Other")
    for learner in learners[1:]:
        lab.site.enrol(other, learner)
    await lab.sync()
    course, person = courses_of(lab)[0], learners[0]
    consent(lab, person, "no")
    lab.commcare.fail_next(kind, times=8 if kind == "429" else 1, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    lab.site.courses[course] |= {"enddate": int(lab.clock.now()) - 60} if how == "ended" else {"visible": 0}
    await run(lab, 3)
    assert set() == private_of(lab, person)


async def test_the_grades_of_somebody_suspended_are_read_no_more(make_lab: MakeLab) -> None:
    """The same for a child whose record is absent from then on."""
    lab, person, key = await graded(make_lab)
    consent(lab, person, "no")
    await refused_for_now(lab)
    lab.site.members_of(courses_of(lab)[0])[person].suspended = True
    await run(lab, 4)
    assert "withdrawn" == lab.case(key).properties["grade_status"]


async def test_let_in_again_when_the_course_is_over(make_lab: MakeLab) -> None:
    """The decision was never sent and is taken back: for the enrolment the course is over, that is all."""
    lab, learners, course = await two_courses(make_lab)
    consent(lab, learners[0], "no")
    await refused_for_now(lab)
    consent(lab, learners[0], "yes")
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await run(lab, 3)
    assert ("active", "over") == (status_of(lab, learners[0]), enrolment_status(lab, course, learners[0]))


async def test_a_refused_withdrawal_keeps_nobody_from_leaving(make_lab: MakeLab) -> None:
    """CommCare refuses what the mapping says of who is kept out: who has gone is marked as left, and emptied."""
    lab, learners = await consenting(make_lab, extra=OUT)
    person = learners[0]
    case_id = lab.case(f"test-user-{person}").case_id
    lab.commcare.refuse_row(
        lambda row: row.get("case_id") == case_id and row["properties"].get("moodle_status") == "out",
        "Error in row 1: Error with case property 'x'.",
    )
    consent(lab, person, "no")
    await lab.sync()
    leave(lab, person)
    for _ in range(4):
        await lab.sync()
    assert ("left", set()) == (status_of(lab, person), private_of(lab, person))


# --- children ---------------------------------------------------------------------------------------------


async def test_the_enrolment_of_a_course_that_is_over(make_lab: MakeLab) -> None:
    """It goes the way of its person."""
    lab, learners, course = await two_courses(make_lab)
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await lab.sync()
    consent(lab, learners[0], "no")
    await run(lab, 3)
    assert "withdrawn" == enrolment_status(lab, course, learners[0])


@pytest.mark.parametrize("personal", [True, False])
async def test_the_enrolment_that_was_left(make_lab: MakeLab, *, personal: bool) -> None:
    """What is personal in it goes; it says that somebody left, and stays so when there is nothing personal."""
    lab, learners, course = await two_courses(make_lab)
    if personal:
        lab.edit("enrolment", "\nproperties:\n", NICK)
        await lab.sync()
    lab.site.unenrol(course, learners[0])
    await run(lab, 2)
    forms = len(lab.project.forms)
    consent(lab, learners[0], "no")
    await run(lab, 3)
    case = lab.case(f"test-enrol-{course}-{learners[0]}")
    assert ("", "left") == (case.properties.get("nick", ""), case.properties["enrolment_status"])
    written = [row for form in lab.project.forms[forms:] for row in form.rows if row["case_id"] == case.case_id]
    assert personal == bool(written)


async def test_the_grade_of_somebody_suspended(make_lab: MakeLab) -> None:
    """Nobody reads it, and it goes the way of its person."""
    lab, person, key = await graded(make_lab)
    lab.site.members_of(courses_of(lab)[0])[person].suspended = True
    await lab.sync()
    consent(lab, person, "no")
    await run(lab, 4)
    assert "withdrawn" == lab.case(key).properties["grade_status"]
