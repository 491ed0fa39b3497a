"""Courses in which nobody is any more who has a case: said before anybody is asked, and in each question."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.confirm import confirm
from flows.needs import leavers, needs
from flows.summed import in_short
from tests.flows.terminal import Terminal
from tests.flows.test_sync import site_of
from tests.flows.test_words import go
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]

RIGHT = "moodle/user:viewdetails"
LOOK = "when they are in it, the account of the token has lost a right (`moodle-commcare check` says which)."


def said(messages: list[str]) -> list[str]:
    """Return the messages that say that nobody is there."""
    return [message for message in messages if message.startswith("Moodle shows nobody any more in ")]


async def test_a_lost_right_is_told_by_the_first_run(make_lab: MakeLab) -> None:
    """Degraded at once; then each question says to look before it names the command; nobody is marked unasked."""
    site, courses, _ = site_of(6, 6)
    for course in courses:
        site.enrol(course, site.add_user("Tina", "Teacher"), roles=("editingteacher",))
    lab = make_lab(site)
    await lab.sync()
    lab.moodle.revoke(RIGHT)
    first = await lab.sync()
    assert (
        "degraded",
        [
            f"Moodle shows nobody any more in courses {courses[0]}, {courses[1]} who has a case. Look at one of "
            f"them in Moodle: {LOOK} Nobody is marked as left unless a person says so."
        ],
    ) == (first.state, first.messages)
    for _ in range(3):
        result = await lab.sync()
        assert ("waiting", {}, []) == (result.state, written(result), said(result.messages))
    assert (
        f"6 people are missing from course {courses[0]}: Moodle shows nobody there any more who has a case of "
        f"enrolment. Nobody was marked as left. Look at the course in Moodle first: {LOOK} If they have left: "
        f"`moodle-commcare confirm-leavers {courses[0]} --count 6`, or in Prefect `approve`: kind leavers, course "
        f"{courses[0]}, count 6." == result.messages[0]
    )
    assert result.messages == [need.message for need in needs(lab.store)]
    lab.moodle.allow(RIGHT)
    assert ("completed", [], []) == ((again := await lab.sync()).state, again.messages, needs(lab.store))


@pytest.mark.parametrize(
    ("empty", "words"),
    [
        (1, "In course {0} Moodle shows nobody any more who has a case. Look at it in Moodle first: "),
        (
            4,
            "In 4 of them (course {0}, course {1}, course {2} and 1 more) Moodle shows nobody any more who has a ",
        ),
    ],
)
async def test_many_empty_courses_in_one_sentence(make_lab: MakeLab, empty: int, words: str) -> None:
    """It says in which of them nobody is, and to look there first."""
    site, courses, learners = site_of(*(10,) * 5, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for number, course in enumerate(courses):
        go(lab, course, learners[: 10 if number < empty else 4])
    for _ in range(2):
        result = await lab.sync()
    (message,) = result.messages
    assert f"; nobody was marked as left there. {words.format(*courses)}" in message
    (need,) = in_short(needs(lab.store))
    assert (10 * empty + 4 * (5 - empty), "If they have left", message) == (need.count, need.if_so, need.message)


async def test_one_empty_course_of_several_is_no_alarm(make_lab: MakeLab) -> None:
    """It is said, once, and the run is completed: a course may be over, and a question follows."""
    site, courses, learners = site_of(4, 8)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:4])
    first, second = await lab.sync(), await lab.sync()
    assert ("completed", 1) == (first.state, len(said(first.messages)))
    assert first.messages[0].startswith(
        f"Moodle shows nobody any more in course {courses[0]} who has a case. Look at the course in Moodle: "
    )
    assert ("waiting", []) == (second.state, said(second.messages))
    confirm(lab.store, courses[0], 4)
    assert ("completed", {"marked_left": 8}, []) == ((r := await lab.sync()).state, written(r), r.messages)
    assert ("completed", []) == ((r := await lab.sync()).state, r.messages)


async def test_the_only_course_is_an_alarm(make_lab: MakeLab) -> None:
    """There is nothing else by which to see that the account sees anybody."""
    site, courses, learners = site_of(1)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners)
    assert "degraded" == (await lab.sync()).state


async def test_a_course_that_was_always_empty(make_lab: MakeLab) -> None:
    """Nobody was there before: that is no news."""
    site, *_ = site_of(2, 0, 0)
    lab = make_lab(site)
    for _ in range(3):
        result = await lab.sync()
        assert ("completed", []) == (result.state, result.messages)


async def test_who_is_gone_but_not_all(make_lab: MakeLab) -> None:
    """Questions about a part of a course are as they were, and the first read says nothing."""
    site, courses, learners = site_of(10, 10)
    lab = make_lab(site)
    await lab.sync()
    for number in range(2):
        go(lab, courses[number], learners[10 * number : 10 * number + 9])
    assert ("completed", []) == ((r := await lab.sync()).state, r.messages)
    assert [leavers(course, 9).message for course in courses] == (await lab.sync()).messages


async def test_the_only_teacher_of_each_course(make_lab: MakeLab) -> None:
    """Who has a case of another mapping is there still: no alarm, and the question names the mapping."""
    site, courses, _ = site_of(6, 6)
    teachers = [site.add_user("Tina", "Teacher"), site.add_user("Tom", "Teacher")]
    for course, teacher in zip(courses, teachers, strict=True):
        site.enrol(course, teacher, roles=("editingteacher",))
    lab = make_lab(site)
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    text = text.replace("any_of: [student]", "any_of: [editingteacher]").replace("-enrol-", "-teaches-")
    (lab.mappings / "teaching.yaml").write_text(text.replace("case_type: enrolment", "case_type: teaching", 1))
    lab.edit("student", "any_of: [student]", "any_of: [student, editingteacher]")
    text = (lab.mappings / "student.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "student.yaml").write_text(text)
    assert "completed" == (await lab.sync()).state
    for course, teacher in zip(courses, teachers, strict=True):
        go(lab, course, [teacher])
    assert ("completed", []) == ((r := await lab.sync()).state, r.messages)
    (first, _) = (await lab.sync()).messages
    assert first.startswith(
        f"1 person is missing from course {courses[0]}: Moodle shows nobody there any more who "
    )
    assert "has a case of teaching. Nobody was marked as left." in first


async def test_grades_of_an_empty_course(make_lab: MakeLab) -> None:
    """Where only grades become cases, nobody in the course is nobody in the course."""
    site, courses, learners = site_of(4, 4)
    for number, course in enumerate(courses):
        item = site.set_grade_item(course, "Quiz")
        for learner in learners[4 * number : 4 * number + 4]:
            site.grade(item, learner, 80)
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false\n", "")
    await lab.sync()
    site.gradebooks[courses[0]].items.clear()
    go(lab, courses[1], learners[4:])
    result = await lab.sync()
    assert ("completed", [True]) == (
        result.state,
        [f"in course {courses[1]} who" in one for one in said(result.messages)],
    )


async def test_a_preview_says_it_too(make_lab: MakeLab) -> None:
    """It takes no note of who is missing, and sees that nobody is there."""
    site, courses, learners = site_of(6, 6)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:6])
    shown = await lab.sync(preview=True)
    assert ("completed", True) == (shown.state, f"in course {courses[0]} who" in said(shown.messages)[0])
    go(lab, courses[1], learners[6:])
    shown = await lab.sync(preview=True)
    assert ("degraded", said((await lab.sync()).messages)) == (shown.state, said(shown.messages))


async def test_a_mapping_that_says_nothing_about_leaving(make_lab: MakeLab) -> None:
    """Nobody will be asked about its cases, so that they are missing is said once."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    for name in ("student", "enrolment"):
        text = (lab.mappings / f"{name}.yaml").read_text().partition("\nwhen_left:")[0]
        (lab.mappings / f"{name}.yaml").write_text(text + "\n")
    await lab.sync()
    for number in range(2):
        go(lab, courses[number], learners[3 * number : 3 * number + 3])
    states = [(result := await lab.sync()).state for _ in range(3)]
    assert (["degraded", "completed", "completed"], []) == (states, result.messages)


@pytest.mark.parametrize("name", ["enrolled", "enrolment"])
async def test_a_mapping_with_another_name(make_lab: MakeLab, name: str) -> None:
    """What is known of an empty course goes along with the name of the file, as the question does."""
    site, courses, learners = site_of(4, 8)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:4])
    for _ in range(2):
        await lab.sync()
    file = lab.mappings / "enrolment.yaml"
    file.rename(lab.mappings / f"{name}.yaml")
    lab.denied = {courses[0]}
    await lab.sync()
    (need,) = needs(lab.store)
    assert (f"a case of {name}. Nobody" in need.sentence, 4) == (True, need.count)


def test_check_says_which_right(terminal: Terminal) -> None:
    """The command that the message names finds it."""
    terminal.run("sync", "--yes")
    terminal.box.moodle.revoke(RIGHT)
    ended = terminal.run("sync")
    assert (1, True) == (ended.code, "Nobody is marked as left unless a person says so." in ended.text)
    assert RIGHT in terminal.run("check").text
    terminal.run("sync")
    assert LOOK.split("(")[0] in terminal.run("status").text
