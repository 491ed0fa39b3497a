"""Many questions of one kind in one sentence, whose command and form are taken as they are printed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator

import pytest

from flows.confirm import confirm, confirm_all_blanks
from flows.errors import UsageError
from flows.need import Need
from flows.needs import (
    CONFIRMED_BLANKS,
    CONFIRMED_LEAVERS,
    MAYBE_LOST,
    REFUSED_BLANKS,
    REFUSED_LEAVERS,
    REFUSED_WITHDRAWN,
    leavers,
    needs,
)
from flows.result import Result
from flows.summed import MOST, in_short
from state import Store
from tests.flows.terminal import Terminal
from tests.flows.test_approve import answered
from tests.flows.test_edits import graded
from tests.flows.test_sync import site_of
from tests.flows.test_words import go
from tests.flows.worlds import Lab
from tests.test_docs import wrong_commands

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]

MANY = {
    REFUSED_LEAVERS: {"0": {"student": 1200}, "2": {"enrolment": 4, "grade_item": 3}, "3": {"enrolment": 5}}
    | {str(course): {"enrolment": 1} for course in (10, 11)},
    REFUSED_WITHDRAWN: {str(course): {"enrolment": 2, "grade_item": 1} for course in (2, 3, 4, 5)},
    REFUSED_BLANKS: {f"enrolment grade_{item}": {"2": 3, "3": 2} for item in (4, 5, 6)}
    | {"student city": {"0": 9}},
}
COMMAND = re.compile(r"`moodle-commcare (confirm-[^`]*)`")


@pytest.fixture
def store() -> Iterator[Store]:
    """Give books in which more of each kind wait than are told one by one."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        for fact, asked in MANY.items():
            books.put(fact, json.dumps(asked))
        yield books


def command_in(text: str) -> list[str]:
    """Return the command that a message says to type, in words."""
    (found,) = COMMAND.findall(text)
    return shlex.split(found)


def about(result: Result, kind: str) -> list[str]:
    """Return the messages of a run that ask a kind of question."""
    return [message for message in result.messages if f"confirm-{kind}" in message]


# --- sentences ----------------------------------------------------------------------------------------------


def test_up_to_three_are_told_each() -> None:
    """They are what they were."""
    few = [leavers(course, 5) for course in range(2, 2 + MOST)]
    assert few == in_short(few)


def test_each_kind_is_one_sentence(store: Store) -> None:
    """It says how many, where the first ones are, and who lists the others; the number is their sum."""
    gone, kept_out, blank = in_short(needs(store))
    assert (
        "1,211 people, counted in each course, are missing from 4 courses and the people of the site, more than "
        "is usual (the site: 1,200, course 2: 4, course 3: 5 and 2 others: `moodle-commcare status` lists them); "
        "nobody was marked as left there. If that is right: `moodle-commcare confirm-leavers --all --count "
        "1211`, or in Prefect `approve`: kind leavers, everything on, count 1211." == gone.message
    )
    assert (
        "12 people with a case, counted in each course, are kept out of 4 courses by the mappings now, more than "
        "is usual (course 2: 3, course 3: 3, course 4: 3 and 1 other: `moodle-commcare status` lists them); "
        "nothing of theirs was emptied." == kept_out.sentence
    )
    assert (
        f"{MAYBE_LOST} 24 values of 4 properties would be lost, more than is usual (grade_4 of enrolment: 5, "
        "grade_5 of enrolment: 5, grade_6 of enrolment: 5 and 1 other: `moodle-commcare status` lists them); "
        "nothing was emptied. If that is right: `moodle-commcare confirm-blanks --all --count 24`, or in Prefect "
        "`approve`: kind blanks, everything on, count 24." == blank.message
    )
    assert [] == [wrong for one in (gone, kept_out, blank) for wrong in wrong_commands(one.command)]


def test_what_waits_is_listed_one_by_one(store: Store) -> None:
    """`status`, its JSON and Prefect's page have each question with its own command."""
    commands = [need.command for need in needs(store)]
    assert (5 + 4 + 4, True) == (len(commands), "moodle-commcare confirm-leavers 10 --count 1" in commands)
    assert not any("--all" in command for command in commands)


async def test_the_form_is_taken_as_it_is_said(store: Store) -> None:
    """In Prefect as on the command line; then nothing waits."""

    class Books:
        """Stands for those of a lab."""

        def __init__(self) -> None:
            self.store, self.books = store, self

        async def do(self, method: Callable[..., str], *values: object) -> str:
            """Do it at once."""
            return method(*values)

    told = [await answered(Books(), need) for need in in_short(needs(store))]  # type: ignore[arg-type]
    assert (3, []) == (len(told), needs(store))


# --- numbers ------------------------------------------------------------------------------------------------


def test_the_number_of_those_that_are_left(store: Store) -> None:
    """Somebody answered a question since the run told their sum: the sum is taken, and so is that of the rest."""
    for count in (1211, 1207):
        store.put(CONFIRMED_LEAVERS, "{}")
        confirm(store, 2, 4)
        left = [need for need in in_short(needs(store)) if need.kind == "leavers"]
        assert ([1207], True) == ([need.count for need in left], left[0].everything)
        confirm(store, None, count)
        assert MANY[REFUSED_LEAVERS] == json.loads(store.get(CONFIRMED_LEAVERS) or "")
    with pytest.raises(UsageError, match="The run found 1211 people missing there, not 5"):
        confirm(store, None, 5)


def test_all_blanks_take_their_sum(store: Store) -> None:
    """Another number is refused, with the right one; without a question there is nothing to say."""
    with pytest.raises(UsageError, match=r"The run found 24 values that would be lost, not 23. Give the count 24"):
        confirm_all_blanks(store, 23)
    assert store.get(CONFIRMED_BLANKS) is None
    assert "Confirmed: 24 values. The next run empties them in CommCare." == confirm_all_blanks(store, 24)
    assert MANY[REFUSED_BLANKS] == json.loads(store.get(CONFIRMED_BLANKS) or "")
    store.put(REFUSED_BLANKS, "{}")
    with pytest.raises(UsageError, match=r"Nothing waits to be emptied there. Waiting: nothing at all."):
        confirm_all_blanks(store, 24)


# --- runs ---------------------------------------------------------------------------------------------------


async def asked_in_five_courses(make_lab: MakeLab) -> tuple[Lab, list[int]]:
    """Return a lab in which five courses lost four of ten people each, and the last run asked about it."""
    site, courses, learners = site_of(*(10,) * 5, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for course in courses:
        go(lab, course, learners[:4])
    await lab.sync()
    return lab, courses


async def test_a_run_asks_once_about_five_courses(make_lab: MakeLab) -> None:
    """Each run says so in one sentence; once somebody has answered two, the other three are told each."""
    lab, courses = await asked_in_five_courses(make_lab)
    for _ in range(2):
        (message,) = about(await lab.sync(), "leavers")
        assert message.startswith(
            "20 people, counted in each course, are missing from 5 courses, more than is usual"
        )
        assert ["confirm-leavers", "--all", "--count", "20"] == command_in(message)
    for course in courses[:2]:
        confirm(lab.store, course, 4)
    result = await lab.sync()
    assert (3, 8) == (len(about(result, "leavers")), result.of("enrolment").marked_left)


async def test_a_run_for_one_course_asks_about_that(make_lab: MakeLab) -> None:
    """The others wait, and are not its business."""
    lab, courses = await asked_in_five_courses(make_lab)
    await lab.sync()
    (message,) = about(await lab.sync(courses=(courses[0],)), "leavers")
    assert ["confirm-leavers", str(courses[0]), "--count", "4"] == command_in(message)


async def test_a_run_for_some_courses_says_the_number_of_all(make_lab: MakeLab) -> None:
    """The command takes all that waits, so what it tells is that."""
    lab, courses = await asked_in_five_courses(make_lab)
    await lab.sync()
    (message,) = about(await lab.sync(courses=tuple(courses[:4])), "leavers")
    assert ["confirm-leavers", "--all", "--count", "20"] == command_in(message)
    confirm(lab.store, None, 20)
    assert 20 == (await lab.sync()).of("enrolment").marked_left


async def test_many_vanished_activities_are_one_question(make_lab: MakeLab) -> None:
    """They are emptied after one word."""
    lab, learners, _ = await graded(make_lab)
    for number in range(3):
        item = lab.site.set_grade_item(2, f"More {number}", module="assign")
        for learner in learners:
            lab.site.grade(item, learner, 70)
    lab.site.set_grade_item(2, "Stays", module="quiz")
    await lab.sync()
    lab.moodle.revoke("mod/assign:view")
    for _ in range(3):
        result = await lab.sync()
    (message,) = about(result, "blanks")
    confirm_all_blanks(lab.store, int(command_in(message)[-1]))
    result = await lab.sync()
    assert ("completed", 3) == (result.state, result.of("enrolment").updated)


async def test_a_preview_says_the_same(make_lab: MakeLab) -> None:
    """Values that many people lose at once are summed there as well."""
    site, _, learners = site_of(10)
    known = {"phone1": "0722 111 222", "city": "Bondo", "address": "Market", "institution": "Clinic"}
    for learner in learners:
        site.update_user(learner, **known)
    lab = make_lab(site)
    more = "".join(f"  {name}: {{source: {name}, personal: true}}\n" for name in ("address", "institution"))
    lab.edit("student", "properties:\n", f"properties:\n{more}")
    text = (lab.mappings / "student.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "student.yaml").write_text(text)
    await lab.sync()
    for learner in learners[1:]:
        site.update_user(learner, **dict.fromkeys(known, ""))
    (shown,) = about(await lab.sync(preview=True), "blanks")
    (message,) = about(await lab.sync(), "blanks")
    assert (message, True) == (shown, shown.startswith(f"{MAYBE_LOST} 36 values of 4 properties would be lost, "))


def test_the_command_is_taken_as_it_is_printed(terminal: Terminal) -> None:
    """From the run that asks about four courses, and about five properties, to the run that does it."""
    site, learners = terminal.box.site, terminal.box.learners
    courses = [site.add_course(f"CHW-3{number}", f"More {number}") for number in range(4)]
    for course in courses:
        for learner in learners[:10]:
            site.enrol(course, learner)
    items = [site.set_grade_item(courses[0], f"Work {number}", module="assign") for number in range(5)]
    site.set_grade_item(courses[0], "Quiz", module="quiz")
    for item in items:
        for learner in learners[:10]:
            site.grade(item, learner, 60)
    assert 0 == terminal.run("sync", "--yes").code
    for course in courses:
        for learner in learners[:4]:
            site.unenrol(course, learner)
    terminal.box.moodle.revoke("mod/assign:view")
    terminal.run("sync")
    waits = terminal.run("sync", "--json")
    assert 4 == waits.code
    for kind in ("leavers", "blanks"):
        (message,) = [one for one in waits.json["messages"] if f"confirm-{kind}" in one]
        command = command_in(message)
        assert "--all" in command
        assert 0 == terminal.run(*command).code
    waiting = terminal.run("status", "--json").json["needs"]
    assert [] == waiting
    done = terminal.run("sync", "--json")
    assert (0, 16) == (done.code, done.json["cases"]["enrolment"]["marked_left"])


def test_one_of_many_forms(store: Store) -> None:
    """A sum is a form of its own: no course, no mapping."""
    assert [{"kind", "everything", "count"}] * 3 == [{*need.form} for need in in_short(needs(store))]
    assert isinstance(in_short(needs(store))[0], Need)
