"""Engagement and assignments in a whole run: few requests, nobody wronged by a course that could not be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adaptors.moodle.assignments import ASSIGNMENTS, SUBMISSIONS
from adaptors.moodle.completion import COMPLETION, CONTENTS, USERS_COURSES
from adaptors.moodle.fake import BATCH
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import ENROLLED, GRADES, PROFILES
from flows.result import Result
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
DAY = 86_400
COSTLY = {COMPLETION, CONTENTS, USERS_COURSES, ASSIGNMENTS, SUBMISSIONS, BATCH}

ASSIGNMENT = """
language: 1
case_type: assignment
source: assignments
include: [{source: roles, any_of: [student]}]
external_id: "{site}-assign-{assignment.id}-{user.id}"
case_name: "{assignment.name}"
owner: {same_as: enrolment}
indices:
  enrolment: {case_type: enrolment, external_id: "{site}-enrol-{course.id}-{user.id}", relationship: child}
properties:
  due_on: {source: assignment.duedate, transform: [date]}
  submission: {source: submission.status}
  points: {source: grade.raw}
when_left: {set: {submission: left}}
"""


def site_of(people: int, courses: int = 3) -> tuple[FakeSite, list[int], list[int]]:
    """Make a site of learners who are all in all courses, with a teacher and two tracked activities each."""
    site = FakeSite()
    teacher = site.add_user("Grace", "Wekesa")
    learners = [site.add_user(f"First{n}", f"Last{n}", lastaccess=site.now) for n in range(people)]
    numbers = [site.add_course(f"C{n}", f"Course {n}") for n in range(courses)]
    for number in numbers:
        site.enrol(number, teacher, ("editingteacher",))
        for learner in learners:
            site.enrol(number, learner)
        site.activities.set(number, "Essay", tracking=2, due=site.now - DAY)
        site.activities.set(number, "Report", tracking=2, due=site.now + 40 * DAY)
    return site, numbers, learners


def engaged(make_lab: MakeLab, site: FakeSite, **values: Any) -> Lab:
    """Return a world with the shipped mappings, engagement switched on."""
    lab = make_lab(site, **values)
    lab.edit("engagement", "enabled: false\n", "")
    return lab


def costly(result: Result) -> dict[str, int]:
    """Return a run's requests for what single learners did."""
    return {name: count for name, count in result.requests["moodle"].items() if name in COSTLY}


def properties(lab: Lab, learner: int) -> dict[str, str]:
    """Return the properties of somebody's engagement case."""
    found: dict[str, str] = lab.case(f"test-engage-{learner}").properties
    return found


async def test_one_case_a_learner_under_the_student(make_lab: MakeLab) -> None:
    """Each learner gets a case over all courses, child of his or her own; a first load starts no reminders."""
    site, courses, (first, second) = site_of(2)
    site.activities.complete(min(site.activities.by_course[courses[0]]), first, site.now)
    lab = engaged(make_lab, site)
    assert {"created": 2 + 6 + 2} == written(await lab.sync())
    case = lab.case(f"test-engage-{first}")
    (index,) = case.indices.values()
    assert lab.case(f"test-user-{first}").case_id == index["case_id"]
    assert ("student", "child") == (index["case_type"], index["relationship"])
    assert ("1", "5", "2", "Course 1", "no") == tuple(
        properties(lab, first)[name]
        for name in ("activities_done", "activities_left", "activities_overdue", "course_to_mention", "sms_live")
    )
    assert ("Course 0", "learner") == tuple(
        properties(lab, second)[name] for name in ("course_to_mention", "roles")
    )


async def test_cost_of_100_learners_in_3_courses(make_lab: MakeLab) -> None:
    """Engagement adds a call a course and a request for each 25 learners of a course; profiles are read once."""
    site, _, _ = site_of(100)
    lab = make_lab(site)
    before = (await lab.sync()).requests["moodle"]
    assert (3 * (1 + 1 + 2), 2, 3 * 4) == (before[ENROLLED], before[PROFILES], before[BATCH])  # batches of grades
    lab.edit("engagement", "enabled: false\n", "")
    result = await lab.sync(full=True)
    assert before | {CONTENTS: 3, BATCH: before[BATCH] + 3 * 4} == result.requests["moodle"]


async def test_nothing_costly_without_the_mapping(make_lab: MakeLab) -> None:
    """The mappings that are on by themselves ask nothing about what single learners did."""
    assert {} == costly(await make_lab(site_of(5)[0]).sync())


async def test_teachers_and_suspended_cost_nothing(make_lab: MakeLab) -> None:
    """Only active learners are asked about; a suspended enrolment is no active course."""
    site, courses, (first, second) = site_of(2, courses=2)
    site.suspend_enrolment(courses[0], first)
    site.suspend_enrolment(courses[1], first)
    lab = engaged(make_lab, site)
    lab.moodle.remove_function(BATCH)
    assert {CONTENTS: 2, COMPLETION: 2} == costly(await lab.sync())
    assert ("0", "no", "2") == (
        properties(lab, first)["courses_active"],
        properties(lab, first)["send_sms"],
        properties(lab, second)["courses_active"],
    )


async def test_nothing_is_sent_when_nothing_changed(make_lab: MakeLab) -> None:
    """A second full run sends nothing; what a learner did is one row with what follows from it."""
    site, courses, (first, _) = site_of(2)
    lab = engaged(make_lab, site)
    await lab.sync()
    sent = len(lab.project.forms)
    assert {} == written(await lab.sync(full=True))
    site.activities.complete(min(site.activities.by_course[courses[0]]), first, site.now)
    assert {"updated": 1} == written(await lab.sync(full=True))
    (row,) = lab.rows_sent(sent)
    names = {"activities_done", "activities_left", "activities_overdue", "course_to_mention"}
    assert names == set(row["properties"])


async def test_once_a_day(make_lab: MakeLab) -> None:
    """Engagement is read once a day, though the others are read each hour."""
    lab = engaged(make_lab, site_of(2)[0])
    first, second = await lab.sync(), await lab.sync()
    assert (True, {}) == (bool(costly(first)), costly(second))
    assert costly(await lab.sync(later=DAY))


async def test_a_student_who_is_held_back_does_not_cost_a_read_each_hour(make_lab: MakeLab) -> None:
    """A learner without a last name has no case to be under: that can wait until the next day's read."""
    site, _, (first, _) = site_of(2)
    site.update_user(first, lastname="")
    lab = engaged(make_lab, site)
    await lab.sync()
    site.update_user(first, lastname="Otieno")
    assert {} == costly(await lab.sync())
    assert {"created": 1} == written(await lab.sync(later=DAY))


@pytest.mark.parametrize("batch", [True, False])
async def test_course_that_cannot_be_read_leaves_its_people_alone(make_lab: MakeLab, batch: bool) -> None:
    """Nothing of the people of such a course is sent, though they did something; the others go on."""
    site, courses, learners = site_of(3)
    elsewhere = site.add_user("Only", "There")
    site.enrol(courses[0], elsewhere)
    lab = engaged(make_lab, site)
    if not batch:
        lab.moodle.remove_function(BATCH)
    await lab.sync()
    for person in (*learners, elsewhere):
        site.activities.complete(min(site.activities.by_course[courses[0]]), person, site.now)
    site.unenrol(courses[1], learners[0])
    _refuse_contents(lab, courses[1])
    sent = len(lab.project.forms)
    result = await lab.sync(full=True)
    assert "degraded" == result.state
    assert any(f"course {courses[1]} could not be read" in message for message in result.messages)
    # Who left that course is not among its people any more, and what he or she did elsewhere is known.
    changed = {f"test-engage-{person}" for person in (learners[0], elsewhere)}
    assert changed == {_key(lab, row) for row in lab.rows_sent(sent)}
    assert all(course.state == "completed" for course in result.courses.values())


def _refuse_contents(lab: Lab, course: int) -> None:
    """Let Moodle refuse the contents of one course."""
    answer = lab.moodle

    def serve(request: httpx.Request) -> httpx.Response:
        form = dict(httpx.QueryParams(request.content.decode()))
        if form["wsfunction"] == CONTENTS and form["courseid"] == str(course):
            return httpx.Response(200, json={"exception": "x", "errorcode": "requireloginerror"})
        return answer(request)

    lab.moodle = serve  # type: ignore[assignment]


def _key(lab: Lab, row: Any) -> str:
    """Return the external id of the case that a row is about."""
    return next(case.external_id for case in lab.project.cases.values() if case.case_id == row["case_id"])


async def test_nobody_is_gone_while_a_course_cannot_be_read(make_lab: MakeLab) -> None:
    """People who left everything are marked after two complete reads, and incomplete ones do not count."""
    site, courses, learners = site_of(12, courses=2)
    lab = engaged(make_lab, site)
    await lab.sync()
    for course in courses:
        site.unenrol(course, learners[0])
    serving = lab.moodle
    _refuse_contents(lab, courses[0])
    for _ in range(3):
        await lab.sync(full=True)
    assert "yes" == properties(lab, learners[0])["send_sms"]
    lab.moodle = serving
    for _ in range(2):
        await lab.sync(full=True)
    assert ["no", "yes"] == [properties(lab, learner)["send_sms"] for learner in learners[:2]]


async def test_people_of_a_course_without_roster_are_left_alone(make_lab: MakeLab) -> None:
    """A course that does not tell its people: whoever was last seen there keeps what stands in CommCare."""
    site, courses, (first, second) = site_of(2, courses=2)
    site.unenrol(courses[1], second)
    lab = engaged(make_lab, site)
    await lab.sync()
    lab.denied.add(courses[1])
    for person in (first, second):
        site.activities.complete(min(site.activities.by_course[courses[0]]), person, site.now)
    await lab.sync(full=True)
    assert ["0", "1"] == [properties(lab, person)["activities_done"] for person in (first, second)]


async def test_what_moodle_hides_makes_nobody_a_newcomer(make_lab: MakeLab) -> None:
    """Hidden last visits and suspended accounts: bands stay, new cases have none, and nothing is sent to these."""
    site, courses, (quiet, newcomer) = site_of(2)
    site.update_user(newcomer, lastaccess=0)
    lab = engaged(make_lab, site)
    await lab.sync()
    bands = ("active", "never_started")
    assert bands == tuple(properties(lab, person)["activity_band"] for person in (quiet, newcomer))
    site.hiddenuserfields = ("lastaccess", "suspended")
    lab.moodle.revoke("moodle/user:viewhiddendetails")
    late = site.add_user("Zawadi", "Kamau", lastaccess=site.now, suspended=True)
    site.enrol(courses[0], late)
    await lab.sync(full=True)
    assert bands == tuple(properties(lab, person)["activity_band"] for person in (quiet, newcomer))
    assert "yes" == properties(lab, quiet)["send_sms"]
    assert "1" == properties(lab, late)["courses_active"]
    assert not {"activity_band", "send_sms"} & properties(lab, late).keys()
    site.hiddenuserfields = ()
    await lab.sync(full=True)
    assert ("active", "no") == tuple(properties(lab, late)[name] for name in ("activity_band", "send_sms"))


async def test_missing_right_is_told_once(make_lab: MakeLab) -> None:
    """Without report/progress:view no engagement is sent, everything else is, and one sentence says why."""
    lab = engaged(make_lab, site_of(2)[0])
    lab.moodle.revoke("report/progress:view")
    result = await lab.sync()
    assert {"created": 2 + 6} == written(result)
    (message,) = [text for text in result.messages if "could not be read" in text]
    assert "courses 2, 3, 4" in message
    assert "'report/progress:view'" in message


async def test_missing_function_is_named(make_lab: MakeLab) -> None:
    """A function that the service lacks stops the run before anything is read."""
    lab = engaged(make_lab, site_of(2)[0])
    lab.moodle.remove_function(CONTENTS)
    result = await lab.sync()
    assert ("failed", True) == (result.state, CONTENTS in result.messages[0])
    assert not lab.project.forms


async def test_some_courses_only_leave_engagement_alone(make_lab: MakeLab) -> None:
    """A run for one course cannot tell what somebody did over all of them."""
    site, courses, _ = site_of(2)
    result = await engaged(make_lab, site).sync(courses=(courses[0],))
    assert ({"created": 2 + 2}, {}) == (written(result), costly(result))
    assert any("all selected courses" in message for message in result.messages)


async def test_completed_courses(make_lab: MakeLab) -> None:
    """Completed courses cost a call a learner, and only where a mapping wants them."""
    site, courses, (first, second) = site_of(2)
    site.activities.criteria |= set(courses[:2])
    site.activities.completed_courses |= {(courses[0], first), (courses[1], first), (courses[0], second)}
    lab = engaged(make_lab, site)
    line = "  activities_done: {source: "
    lab.edit("engagement", line, f"  done: completed\n  certificates: courses_completed\n{line}")
    assert {CONTENTS: 3, BATCH: 3 + 1} == costly(await lab.sync())
    assert [("true", "2"), ("false", "1")] == [
        (properties(lab, person)["done"], properties(lab, person)["certificates"]) for person in (first, second)
    ]


ENGLISH, SWAHILI = (
    f'<span lang="{lang}" class="multilang">{word} &amp; Co</span>'
    for lang, word in (("en", "Health"), ("sw", "Afya"))
)
STORED = f"{ENGLISH} {SWAHILI}"


@pytest.mark.parametrize(
    ("names", "name"), [("", STORED), ("names: {filters: true, language: sw}\n", "Afya & Co")]
)
async def test_names_in_one_language(make_lab: MakeLab, names: str, name: str) -> None:
    """With `names` in project.yaml Moodle's filters choose the language; else names come as they are stored."""
    site, courses, (learner,) = site_of(1, courses=1)
    site.rename(courses[0], STORED)
    lab = make_lab(site, project=PROJECT + names)
    await lab.sync()
    assert name == lab.case(f"test-enrol-{courses[0]}-{learner}").case_name


# --- assignments --------------------------------------------------------------------------------------------


def with_assignments(make_lab: MakeLab, site: FakeSite) -> Lab:
    """Return a world with a mapping of assignments under the enrolments."""
    lab = make_lab(site)
    (lab.mappings / "assignment.yaml").write_text(ASSIGNMENT)
    return lab


async def test_assignments_under_the_enrolment(make_lab: MakeLab) -> None:
    """One case per learner and assignment, with its state and its grade from the gradebook; two calls a course."""
    site, courses, (first, second) = site_of(2, courses=1)
    essay, report = sorted(site.activities.by_course[courses[0]])
    graded = site.set_grade_item(courses[0], "Plan")
    site.grade(graded, first, 71)
    plan = max(site.activities.by_course[courses[0]])
    site.activities.submit(plan, first, site.now, gradingstatus="graded")
    lab = with_assignments(make_lab, site)
    result = await lab.sync()
    assert {"created": 2 + 2 + 2 * 3} == written(result)
    assert {ASSIGNMENTS: 1, SUBMISSIONS: 1} == costly(result)
    assert 1 == result.requests["moodle"][GRADES]
    case = lab.case(f"test-assign-{plan}-{first}")
    assert ("submitted", "71") == (case.properties["submission"], case.properties["points"])
    other = lab.case(f"test-assign-{essay}-{second}").properties
    assert ("", False) == (other.get("submission", ""), bool(other.get("points")))
    assert {} == written(await lab.sync(full=True))
    site.activities.submit(report, second, site.now, status="draft")
    assert {"updated": 1} == written(await lab.sync(full=True))


async def test_assignments_that_are_hidden_are_not_gone(make_lab: MakeLab) -> None:
    """A right that is lost makes assignments invisible: nobody is marked as left, and the right is named."""
    site, _, learners = site_of(2, courses=1)
    lab = with_assignments(make_lab, site)
    await lab.sync()
    lab.moodle.revoke("mod/assign:view")
    for _ in range(3):
        result = await lab.sync(full=True)
    assert ("completed", {}) == (result.state, written(result))
    assert "none of the 2 assignments of course 2 is shown to the account. Give the role" in result.messages[0]
    assert "'mod/assign:view'" in result.messages[0]
    assert learners
