"""Cases to be emptied that no read shows: of courses that are over or hidden, of who is suspended or has left."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from flows.confirm import confirm, confirm_withdrawn
from tests.flows.test_back_whole import OUT, OVER, consent, refused_for_now
from tests.flows.test_departures import consenting
from tests.flows.test_preview_counts import seen
from tests.flows.test_unsure import courses_of, leave, private_of, run, status_of
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
ENROL_OUT = "when_excluded: {set: {enrolment_status: withdrawn}}"
GRADE_OUT = "when_excluded: {set: {grade_status: withdrawn}}"
INDEX = (
    'indices: {student: {case_type: student, external_id: "{site}-user-{user.id}", relationship: extension, '
    "when_parent_unknown: wait}}"
)
NICK = "\nproperties:\n  nick: {source: user.firstname, personal: true}\n"


async def two_courses(make_lab: MakeLab) -> tuple[Lab, list[int], int]:
    """Return a lab whose learners are in two courses, with the learners and the first course."""
    lab, learners = await consenting(make_lab)
    others_elsewhere(lab, learners)
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


def others_elsewhere(lab: Lab, learners: Sequence[int]) -> None:
    """Have people in a second course as well."""
    other = lab.site.add_course("Other", "Other")
    for learner in learners:
        lab.site.enrol(other, learner)


# --- decided, and never read again ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timeout", "429"])
@pytest.mark.parametrize("how", ["ended", "hidden"])
async def test_the_only_course_is_read_no_more(make_lab: MakeLab, how: str, kind: str) -> None:
    """It was decided to empty the case, nothing arrived, and nobody reads its person from then on."""
    lab, learners = await consenting(make_lab)
    others_elsewhere(lab, learners[1:])
    await lab.sync()
    course, person = courses_of(lab)[0], learners[0]
    consent(lab, person, "no")
    lab.commcare.fail_next(kind, times=8 if kind == "429" else 1, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    lab.site.courses[course] |= {"enddate": int(lab.clock.now()) + 60} if how == "ended" else {"visible": 0}
    await run(lab, 3)
    assert set() == private_of(lab, person)


@pytest.mark.parametrize("broken", [0, 1])
async def test_beside_an_account_that_moodle_cannot_give(make_lab: MakeLab, broken: int) -> None:
    """Another one holds up nobody; whose own it is may have been let in again, and stays as he is."""
    lab, learners = await consenting(make_lab)
    others_elsewhere(lab, learners[1:])
    await lab.sync()
    course, person = courses_of(lab)[0], learners[0]
    consent(lab, person, "no")
    await refused_for_now(lab)
    held = private_of(lab, person)
    lab.site.update_user(learners[broken], auth="gone")
    if broken:
        lab.site.courses[course]["visible"] = 0
    await run(lab, 3)
    assert (set() if broken else held) == private_of(lab, person)


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


# --- children that left, of people who are kept out -------------------------------------------------------


async def left_a_course(make_lab: MakeLab) -> tuple[Lab, int, int]:
    """Return a lab in which a learner left one of two courses, of which the case holds a name; and the course."""
    lab, learners, course = await two_courses(make_lab)
    lab.edit("enrolment", "\nproperties:\n", NICK)
    await lab.sync()
    lab.site.unenrol(course, learners[0])
    await run(lab, 2)
    return lab, learners[0], course


def written_to(lab: Lab, case_id: str, forms: int) -> list[dict[str, object]]:
    """Return the rows about a case that were sent since so many forms."""
    return [row for row in lab.rows_sent(forms) if row.get("case_id") == case_id]


async def test_a_child_that_left_is_emptied_once(make_lab: MakeLab) -> None:
    """CommCare refuses to empty its parent, run after run: it stays left, and is not written again."""
    lab, person, course = await left_a_course(make_lab)
    lab.commcare.refuse_row(lab.case(f"test-user-{person}").case_id, "Error in row 1: nonsense")
    forms = len(lab.project.forms)
    consent(lab, person, "no")
    await run(lab, 6)
    case = lab.case(f"test-enrol-{course}-{person}")
    assert 1 == len(written_to(lab, case.case_id, forms))
    assert ("", "left") == (case.properties["nick"], case.properties["enrolment_status"])


async def test_a_child_that_left_is_not_emptied_twice(make_lab: MakeLab) -> None:
    """Its person is let in, and says no a second time: nothing is in it by then."""
    lab, person, course = await left_a_course(make_lab)
    for word in ("no", "yes"):
        consent(lab, person, word)
        await run(lab, 3)
    forms = len(lab.project.forms)
    consent(lab, person, "no")
    await run(lab, 3)
    assert [] == written_to(lab, lab.case(f"test-enrol-{course}-{person}").case_id, forms)


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("kind", ["timeout", "429"])
async def test_a_child_that_left_and_no_answer(make_lab: MakeLab, kind: str, *, closes: bool) -> None:
    """It was decided to empty it, and nothing arrived: that is done later, and nobody is asked about it."""
    lab, person, course = await left_a_course(make_lab)
    if closes:
        lab.edit(
            "enrolment",
            "when_left: {set: {enrolment_status: left}",
            "when_left: {close: true, set: {enrolment_status: left}",
        )
        await lab.sync()
    consent(lab, person, "no")
    lab.commcare.fail_next(kind, times=8 if kind == "429" else 1, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    await run(lab, 3)
    result = await lab.sync()
    case = lab.case(f"test-enrol-{course}-{person}")
    assert ("", "left") == (case.properties["nick"], case.properties["enrolment_status"])
    assert ("completed", {}) == (result.state, result.requests["commcare"])


async def test_a_child_that_left_and_its_person_let_in(make_lab: MakeLab) -> None:
    """The decision was never sent and is taken back: the case has left, and that is all."""
    lab, person, course = await left_a_course(make_lab)
    consent(lab, person, "no")
    await refused_for_now(lab)
    consent(lab, person, "yes")
    lab.site.courses[course]["visible"] = 0
    await run(lab, 3)
    (row,) = (one for key, one in lab.store.cases("enrolment", course).items() if key.endswith(f"-{person}"))
    assert "left" == row.status
    assert "left" == enrolment_status(lab, course, person)


async def test_a_child_that_left_and_is_there_again(make_lab: MakeLab) -> None:
    """Nothing of the decision arrived; its person is let in, and in the course again: the case holds all."""
    lab, person, course = await left_a_course(make_lab)
    consent(lab, person, "no")
    await refused_for_now(lab)
    consent(lab, person, "yes")
    lab.site.enrol(course, person)
    await run(lab, 3)
    case = lab.case(f"test-enrol-{course}-{person}")
    assert ("active", True) == (case.properties["enrolment_status"], bool(case.properties["nick"]))


@pytest.mark.parametrize("people", [1, 6])
async def test_leavers_are_asked_about_once(make_lab: MakeLab, people: int) -> None:
    """Who left a course, with the word of a person, and says no then: that is no news about the course."""
    lab, learners, course = await two_courses(make_lab)
    lab.edit("enrolment", "\nproperties:\n", NICK)
    await lab.sync()
    gone = learners[:people] if people > 1 else learners
    for learner in gone:
        lab.site.unenrol(course, learner)
    await run(lab, 2)
    confirm(lab.store, course, len(gone))
    await lab.sync()
    for learner in learners[:people]:
        consent(lab, learner, "no")
    await lab.sync()
    if people > 1:
        confirm_withdrawn(lab.store, 0, people)
    await run(lab, 3)
    result = await lab.sync()
    assert ("completed", "left") == (result.state, enrolment_status(lab, course, gone[0]))


# --- below who was kept out before an edit ----------------------------------------------------------------


async def over_and_out(make_lab: MakeLab, how: str, extra: str = "") -> tuple[Lab, int, int]:
    """Return a lab whose enrolments hold a name, a learner, and the one of two courses that is over.

    "off": enrolments are switched off by now; "no parent": they have none; "not personal": that is not said.
    """
    lab, learners, course = await two_courses(make_lab)
    lab.edit("student", "\nproperties:\n", f"\n{extra}\nproperties:\n")
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    text = text.replace("\nproperties:\n", NICK)
    if how == "no parent":
        text = re.sub(r"indices:.*?(?=properties:)", "", text, flags=re.DOTALL).replace(
            "{same_as: student}", "{otherwise: project}"
        )
    if how == "not personal":
        text = text.replace(NICK, NICK.replace("true", "false"))
    (lab.mappings / "enrolment.yaml").write_text(text)
    await lab.sync()
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await lab.sync()
    if how == "off":
        lab.edit("enrolment", "language: 1\n", "language: 1\nenabled: false\n")
    return lab, learners[0], course


def put_right(lab: Lab, how: str) -> None:
    """Make the edit that gives enrolments something to lose with their person."""
    if how == "off":
        lab.edit("enrolment", "enabled: false\n", "")
    elif how == "no parent":
        lab.edit("enrolment", "\nproperties:\n", f"\n{INDEX}\nproperties:\n")
    else:
        lab.edit("enrolment", "personal: false", "personal: true")


@pytest.mark.parametrize("how", ["off", "no parent", "not personal"])
@pytest.mark.parametrize("close", ["", "when_excluded: {set: {moodle_status: out}, close: true}"])
async def test_an_edit_after_somebody_was_kept_out(make_lab: MakeLab, how: str, close: str) -> None:
    """Nobody reads the course any more: what is personal in it goes once the mapping says that it is."""
    lab, person, course = await over_and_out(make_lab, how, close)
    consent(lab, person, "no")
    await run(lab, 3)
    assert lab.case(f"test-enrol-{course}-{person}").properties["nick"]
    put_right(lab, how)
    looked = (await seen(lab)).result
    result = await lab.sync()
    assert looked.of("enrolment").withdrawn == result.of("enrolment").withdrawn > 0
    assert {} == written(await lab.sync())
    nicks = {one: lab.case(f"test-enrol-{one}-{person}").properties["nick"] for one in courses_of(lab)}
    assert dict.fromkeys(nicks, "") == nicks


async def test_an_edit_while_people_are_not_read(make_lab: MakeLab) -> None:
    """Whether a closed case was closed as its person was kept out, the next run says that reads people."""
    lab, person, course = await over_and_out(
        make_lab, "off", "when_excluded: {set: {moodle_status: out}, close: true}"
    )
    consent(lab, person, "no")
    await run(lab, 3)
    weekly = "site: test\nintervals: {people: 168, enrolments: 0.01}\n"
    lab.edit("project", "site: test\n", weekly)
    await run(lab, 1)
    put_right(lab, "off")
    for _ in range(2):
        assert {"held_back": 1} == written(await lab.sync())
    lab.edit("project", weekly, "site: test\n")
    await run(lab, 2)
    assert "" == lab.case(f"test-enrol-{course}-{person}").properties["nick"]


async def test_an_edit_after_somebody_was_let_in_again(make_lab: MakeLab) -> None:
    """Who said no while the mapping was off, and yes before it was on again, loses nothing."""
    lab, person, course = await over_and_out(make_lab, "off")
    for word in ("no", "yes"):
        consent(lab, person, word)
        await run(lab, 3)
    put_right(lab, "off")
    await run(lab, 2)
    case = lab.case(f"test-enrol-{course}-{person}")
    assert ("over", True) == (case.properties["enrolment_status"], bool(case.properties["nick"]))


async def test_an_edit_that_lets_somebody_in_again(make_lab: MakeLab) -> None:
    """The word comes with the edit: the run, and a preview before it, take nothing away."""
    lab, person, course = await over_and_out(make_lab, "off")
    consent(lab, person, "no")
    await run(lab, 3)
    consent(lab, person, "yes")
    put_right(lab, "off")
    assert 0 == (await seen(lab)).result.by_course.get(course, {}).get("withdrawn", 0)
    await run(lab, 2)
    assert lab.case(f"test-enrol-{course}-{person}").properties["nick"]


async def test_an_edit_that_only_a_run_of_one_course_saw(make_lab: MakeLab) -> None:
    """Somebody is kept out by such a run while the mapping is off: the next one of the site looks all the same."""
    lab, person, course = await over_and_out(make_lab, "off")
    consent(lab, person, "no")
    other = next(one for one in courses_of(lab) if one != course)
    await lab.sync(courses=(other,))
    assert set() == private_of(lab, person)
    put_right(lab, "off")
    await run(lab, 2)
    assert "" == lab.case(f"test-enrol-{course}-{person}").properties["nick"]


@pytest.mark.parametrize("kind", ["timeout", "429"])
async def test_an_edit_and_no_answer(make_lab: MakeLab, kind: str) -> None:
    """What the run decided is done later, though nobody looks a second time."""
    lab, person, course = await over_and_out(make_lab, "off")
    consent(lab, person, "no")
    await run(lab, 3)
    put_right(lab, "off")
    lab.commcare.fail_next(kind, times=8 if kind == "429" else 2, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    await run(lab, 3)
    assert "" == lab.case(f"test-enrol-{course}-{person}").properties["nick"]


# --- under old keys, and held back ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ended", "hidden"])
async def test_a_child_under_an_old_key(make_lab: MakeLab, how: str) -> None:
    """Its course is over or hidden, and the keys were changed after that: it goes the way of its person."""
    lab, learners, course = await two_courses(make_lab)
    lab.edit("enrolment", "\nproperties:\n", NICK)
    await lab.sync()
    lab.site.courses[course] |= {"enddate": int(lab.clock.now()) + 60} if how == "ended" else {"visible": 0}
    await lab.sync()
    lab.edit("enrolment", "{site}-enrol-{course.id}", "{site}-enr-{course.id}")
    await lab.sync(rekey=("enrolment",))
    consent(lab, learners[0], "no")
    await run(lab, 4)
    assert "" == lab.case(f"test-enrol-{course}-{learners[0]}").properties["nick"]


async def test_nobody_is_asked_about_old_keys(make_lab: MakeLab) -> None:
    """The keys of people were changed, and several say no then: what stands under the old keys is no leaver."""
    lab, learners = await consenting(make_lab)
    for name in ("enrolment", "engagement", "grade_item", "assignment"):
        (lab.mappings / f"{name}.yaml").unlink(missing_ok=True)
    await lab.sync()
    lab.edit("student", "{site}-user-{id}", "{site}-u-{id}")
    await lab.sync(rekey=("student",))
    await run(lab, 2)
    for learner in learners[:6]:
        consent(lab, learner, "no")
    await lab.sync()
    confirm_withdrawn(lab.store, 0, 6)
    await run(lab, 3)
    result = await lab.sync()
    assert ("completed", set()) == (result.state, private_of(lab, learners[0]))


@pytest.mark.parametrize("close", ["", ", close: true"])
async def test_let_in_again_and_held_back(make_lab: MakeLab, close: str) -> None:
    """Nothing of the decision arrived and it is taken back, but a required value is missing: the case stays."""
    lab, learners = await consenting(make_lab, extra=f"when_excluded: {{set: {{moodle_status: out}}{close}}}")
    person = learners[0]
    consent(lab, person, "no")
    await refused_for_now(lab)
    lab.site.update_user(person, lastname=" ", profile={"consent": "yes"})
    for _ in range(2):
        await lab.sync()
    assert ("active", "Kisumu") == (status_of(lab, person), lab.case(f"test-user-{person}").properties["city"])
    lab.site.update_user(person, lastname="Last0")
    await run(lab, 2)
    assert ("active", 1) == (status_of(lab, person), len(lab.project.by_external_id(f"test-user-{person}")))
