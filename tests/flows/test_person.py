"""A person's data erased or given out, through whole runs, and with a stop at every step."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from flows.attended_person import write_export
from flows.confirm import confirm_term
from flows.needs import ALLOWED_BLANKS, ALLOWED_LEAVERS
from flows.open import open_store
from flows.person import Erasure, erase, export, told
from flows.problems import retry
from flows.result import RunState
from flows.settings import load_settings
from flows.steps.recover import expect_strangers
from flows.world import World
from state import Store
from state.tables import meta, metadata, occasion
from tests.flows.explorer_lab import Killed, MortalBooks, WatchedLab
from tests.flows.terminal import Terminal
from tests.flows.test_departures import consenting
from tests.flows.test_problems import TEXT
from tests.flows.test_sync import site_of
from tests.flows.test_terms import reset
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written
from tests.state.test_store_move import example
from tests.voided import void

MakeLab = Callable[..., Lab]
CANARY = "Kisumu Canary"


async def on(lab: Lab, work: Callable[[World, int], Any], person: int, later: float = 3600.0) -> Any:
    """Do something about a person as a new process would."""
    lab.clock.advance(later)
    world = lab.world()
    try:
        return await work(world, person)
    finally:
        await world.moodle.close()
        await world.commcare.close()


async def erased(lab: Lab, person: int, later: float = 3600.0) -> Erasure:
    """Erase a person as a new process would."""
    found: Erasure = await on(lab, erase, person, later)
    return found


def cases_of(lab: Lab, person: int) -> list[Any]:
    """Return the cases of a person, by the number at the end of their external ids."""
    return [case for case in lab.project.cases.values() if str(case.external_id).split("-")[-1] == str(person)]


def cases_of_key(lab: Lab, key: str) -> list[Any]:
    """Return the cases that a key has, and had before, the first one first."""
    found = [one for one in lab.project.cases.values() if str(one.external_id).split("~")[0] == key]
    return sorted(found, key=lambda one: str(one.external_id))


def held(lab: Lab, person: int) -> set[str]:
    """Return all values that CommCare holds of a person."""
    return {value for case in cases_of(lab, person) for value in case.properties.values()} - {""}


async def two_courses(make_lab: MakeLab, **values: Any) -> tuple[Lab, list[int]]:
    """Return a lab whose learners are in two courses, with a grade, after a first run."""
    site, courses, learners = site_of(5, 5, shared=True)
    for learner in learners:
        site.update_user(learner, city=CANARY)
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 80)
    lab = make_lab(site, **values)
    await lab.sync()
    return lab, learners


async def test_an_erased_person_is_emptied_and_stays_away(make_lab: MakeLab) -> None:
    """All cases are emptied in one request and forgotten here; the next reads bring nobody back or away."""
    lab, learners = await two_courses(make_lab)
    before, sent = held(lab, learners[1]), len(lab.project.forms)
    done = await erased(lab, learners[0])
    assert (RunState.COMPLETED, {"emptied": 3}) == (done.state, dict(done.outcomes))
    assert (set(), 1) == (held(lab, learners[0]), len(lab.project.forms) - sent)
    assert all(case.case_name == case.external_id for case in cases_of(lab, learners[0]))
    assert set() == lab.store.person(learners[0]).rows
    for _ in range(3):
        result = await lab.sync()
        assert (({}, "completed")) == (written(result), result.state), result.messages
    assert (set(), before) == (held(lab, learners[0]), held(lab, learners[1]))
    assert "form history" in done.messages[-1]


async def test_a_person_never_sent_is_left_out_too(make_lab: MakeLab) -> None:
    """Somebody without a case is not read from then on, and becomes no case."""
    lab, _ = await two_courses(make_lab)
    new = lab.site.add_user("New", "Person", phone1="0722 111 111")
    assert RunState.COMPLETED == (await erased(lab, new)).state
    lab.site.enrol(next(iter(lab.site.courses)), new)
    assert {} == written(await lab.sync())
    assert [] == cases_of(lab, new)


async def test_an_admitted_person_is_filled_again(make_lab: MakeLab) -> None:
    """The same cases get their values back; none is made twice."""
    lab, learners = await two_courses(make_lab)
    cases = len(lab.project.cases)
    await erased(lab, learners[0])
    assert lab.store.admit(learners[0], lab.clock.now())
    await lab.sync()
    assert (cases, True) == (len(lab.project.cases), CANARY in held(lab, learners[0]))


CLOSED_BY = {
    "left": ("moodle_status: left}}", "moodle_status: left}, close: true}"),
    "erased": ("\nwhen_left:", "\nwhen_excluded: {set: {moodle_status: out}, close: true}\nwhen_left:"),
}


@pytest.mark.parametrize("came_back", [False, True])
@pytest.mark.parametrize("by", ["left", "erased"])
async def test_an_admitted_person_goes_on_in_a_case_that_lives(
    make_lab: MakeLab, by: str, *, came_back: bool
) -> None:
    """What was closed before, or by the erasure, stays so and empty: the last case that lives, or a new one."""
    lab, (person, *_) = await two_courses(make_lab)
    lab.edit("student", *CLOSED_BY[by])
    await lab.sync()
    courses = [course for course in lab.site.courses if person in lab.site.members_of(course)]
    for course in courses:
        lab.site.unenrol(course, person)
    for _ in range(2):
        await lab.sync()
    if came_back:
        lab.site.enrol(courses[0], person)
        await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, person)).state
    assert lab.store.admit(person, lab.clock.now())
    lab.site.enrol(courses[0], person)
    for _ in range(2):
        result = await lab.sync()
    assert ("completed", {}) == (result.state, written(result))
    cases = cases_of_key(lab, f"test-user-{person}")
    assert [*[(True, "")] * (len(cases) - 1), (False, CANARY)] == [
        (one.closed, one.properties["city"]) for one in cases
    ]
    assert 2 == len(cases)


async def test_an_admitted_person_goes_on_in_the_case_of_this_term(make_lab: MakeLab) -> None:
    """The case of the old term is open as well, and stays empty."""
    lab, course, (person, *_) = await reset(make_lab)
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, person)).state
    assert lab.store.admit(person, lab.clock.now())
    await lab.sync()
    old, new = cases_of_key(lab, f"test-enrol-{course}-{person}")
    assert (set(), True) == ({*old.properties.values()} - {""}, "active" in new.properties.values())
    assert {} == written(await lab.sync())


async def test_an_admitted_person_gets_what_is_written_once(make_lab: MakeLab) -> None:
    """It was emptied with the rest, and is written once more; the owner in the field stays."""
    site, _, (person, *_) = site_of(3)
    site.update_user(person, city=CANARY)
    lab = make_lab(site)
    lab.edit(
        "student",
        "city: {source: city, transform: [trim], personal: true}",
        "city: {source: city, transform: [trim], personal: true, write: once}",
    )
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    lab.project.move_owner(case.case_id, "supervisor-x")
    await erased(lab, person)
    assert lab.store.admit(person, lab.clock.now())
    await lab.sync()
    assert (CANARY, "supervisor-x") == (case.properties["city"], case.owner_id)


@pytest.mark.parametrize("written_since", ["", "UG"])
@pytest.mark.parametrize("lost", [False, True])
async def test_an_admitted_person_gets_back_what_is_not_personal(
    make_lab: MakeLab, written_since: str, *, lost: bool
) -> None:
    """What is written once was emptied as well, and is there again, but for what others wrote since."""
    site, _, (person, *_) = site_of(3)
    site.update_user(person, country="KE")
    lab = make_lab(site)
    once = "country: {source: country, personal: false"
    lab.edit("student", f"{once}}}", f"{once}, write: once}}")
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    await erased(lab, person)
    assert "" == case.properties["country"]
    if written_since:
        lab.project.edit_case(case.case_id, country=written_since)
    assert lab.store.admit(person, lab.clock.now())
    if lost:
        lab.commcare.fail_next("timeout", where="write")
    for _ in range(3):
        await lab.sync()
    assert (written_since or "KE") == case.properties["country"]
    result = await lab.sync()
    assert ({}, {}) == (written(result), result.requests["commcare"])


async def test_an_admitted_person_gets_all_back_after_another_type(make_lab: MakeLab) -> None:
    """The write was not answered, and the course could not be read before the case took its new type."""
    site, courses, (person, *_) = site_of(3, 3, shared=True)
    lab = make_lab(site)
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    word = "\nproperties:\n  word: {source: user.lastname, personal: false, write: once}\n"
    (lab.mappings / "enrolment.yaml").write_text(text.replace("\nproperties:\n", word))
    await lab.sync()
    case = lab.case(f"test-enrol-{courses[1]}-{person}")
    before = case.properties["word"]
    await erased(lab, person)
    assert lab.store.admit(person, lab.clock.now())
    lab.commcare.fail_next("timeout", times=9, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    lab.denied.add(courses[1])
    lab.edit("enrolment", "case_type: enrolment", "case_type: membership")
    for _ in range(2):
        await lab.sync()
    assert ("membership", "") == (case.case_type, case.properties["word"])
    lab.denied.clear()
    for _ in range(2):
        await lab.sync()
    result = await lab.sync()
    assert (before, {}, {}) == (case.properties["word"], written(result), result.requests["commcare"])


async def test_who_was_only_kept_out_keeps_what_is_not_personal(make_lab: MakeLab) -> None:
    """Nothing emptied it but somebody in CommCare: what is written once is left as it is."""
    lab, (person, *_) = await consenting(make_lab)
    once = "country: {source: country, personal: false"
    lab.edit("student", f"{once}}}", f"{once}, write: once}}")
    lab.site.update_user(person, country="KE")
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    lab.site.update_user(person, profile={"consent": "no"})
    await lab.sync()
    lab.project.edit_case(case.case_id, country="")
    lab.site.update_user(person, profile={"consent": "yes"})
    await lab.sync()
    assert ("", True) == (case.properties["country"], bool(case.properties["city"]))


async def test_an_admitted_person_does_not_wait_for_an_interval(make_lab: MakeLab) -> None:
    """The next run reads the profiles, though they are read every other day."""
    lab, (person, *_) = await two_courses(make_lab, project=PROJECT + "intervals: {people: 48}\n")
    await lab.sync()
    await erased(lab, person)
    assert lab.store.admit(person, lab.clock.now())
    await lab.sync()
    assert CANARY in held(lab, person)


async def test_what_others_wrote_stays(make_lab: MakeLab) -> None:
    """A property that we never sent is not ours to empty, and the message says so."""
    lab, learners = await two_courses(make_lab)
    case = lab.case(f"test-user-{learners[0]}")
    lab.project.edit_case(case.case_id, visit_notes="seen")
    done = await erased(lab, learners[0])
    assert ({"seen"}, True) == (held(lab, learners[0]), "others than this program" in done.messages[-1])


async def test_dirty_rows_are_asked_for(make_lab: MakeLab) -> None:
    """Where the books do not know what was sent, CommCare tells what it holds."""
    lab, learners = await two_courses(make_lab)
    void(lab.store, [one.row for one in lab.store.person(learners[0]).cases], lab.clock.now())
    done = await erased(lab, learners[0])
    assert (RunState.COMPLETED, set()) == (done.state, held(lab, learners[0]))


async def test_a_mapping_that_is_gone_is_emptied_as_well(make_lab: MakeLab) -> None:
    """The cases of a mapping that was taken away still hold values."""
    lab, learners = await two_courses(make_lab)
    (lab.mappings / "enrolment.yaml").unlink()
    done = await erased(lab, learners[0])
    assert (RunState.COMPLETED, set()) == (done.state, held(lab, learners[0]))


async def test_what_the_mapping_says_of_people_kept_out_is_done(make_lab: MakeLab) -> None:
    """A mapping that parks them, sets something or closes does so here as well."""
    site, _, learners = site_of(3)
    lab = make_lab(site, project=PROJECT + "parked_owner: {group: Parking}\n")
    parking = lab.project.add_group("Parking")
    text = (lab.mappings / "student.yaml").read_text()
    lab.edit(
        "student", text[text.index("\ntests:") :], "\nwhen_excluded: {set: {moodle_status: gone}, park: true}\n"
    )
    await lab.sync()
    await erased(lab, learners[0])
    case = lab.case(f"test-user-{learners[0]}")
    assert ("gone", parking) == (case.properties["moodle_status"], case.owner_id)


async def test_a_case_that_is_empty_already_is_closed(make_lab: MakeLab) -> None:
    """The mapping said so only after the first try, which emptied this case and was refused another one."""
    lab, learners = await two_courses(make_lab)
    student = lab.case(f"test-user-{learners[0]}")
    lab.commcare.refuse_row(lambda row: row["case_id"] != student.case_id, "Error in row 1: nonsense")
    assert RunState.FAILED == (await erased(lab, learners[0])).state
    assert (set(), False) == ({*student.properties.values()} - {""}, student.closed)
    lab.edit("student", "\nwhen_left:", "\nwhen_excluded: {close: true}\nwhen_left:")
    lab.commcare.accept_rows()
    lab.store.retry([one.row for one in lab.store.refusals()], lab.clock.now())
    assert (RunState.COMPLETED, True) == ((await erased(lab, learners[0])).state, student.closed)


async def test_a_deleted_case_is_no_hindrance(make_lab: MakeLab) -> None:
    """A case that somebody deleted in CommCare cannot be emptied, and needs not be."""
    lab, learners = await two_courses(make_lab)
    lab.project.delete_case(lab.case(f"test-user-{learners[0]}").case_id)
    done = await erased(lab, learners[0])
    assert (RunState.COMPLETED, {"gone": 1, "emptied": 2}) == (done.state, dict(done.outcomes)), done.messages


async def test_a_refused_row_keeps_the_erasure_open(make_lab: MakeLab) -> None:
    """The person is not read meanwhile, every run says that it is not finished, and the next try finishes it."""
    lab, learners = await two_courses(make_lab)
    case = lab.case(f"test-user-{learners[0]}")
    lab.commcare.refuse_row(case.case_id, "Error in row 1: nonsense")
    done = await erased(lab, learners[0])
    assert (RunState.FAILED, 1) == (done.state, done.outcomes["refused"])
    result = await lab.sync()
    assert ({}, "degraded") == (written(result), result.state)
    assert f"person erase {learners[0]}" in result.messages[0]
    lab.commcare.accept_rows()
    assert RunState.COMPLETED == (await erased(lab, learners[0])).state
    assert set() == held(lab, learners[0])


@pytest.mark.parametrize("late", [False, True])
async def test_a_write_in_doubt_is_waited_for(make_lab: MakeLab, late: bool) -> None:
    """A write of values that arrives late must not come after the emptying: the erasure rests as a run does."""
    lab, learners = await two_courses(make_lab)
    lab.site.update_user(learners[0], city="Late Canary")
    if late:
        lab.commcare.late_write(1100.0)
    else:
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert RunState.POSTPONED == (await erased(lab, learners[0], later=60.0)).state
    assert RunState.POSTPONED == (await erased(lab, learners[0], later=60.0)).state
    assert RunState.COMPLETED == (await erased(lab, learners[0], later=1300.0)).state
    assert {} == written(await lab.sync())
    assert set() == held(lab, learners[0])
    assert [row for row in lab.rows_sent() if "Late Canary" in row.get("properties", {}).values()]


async def test_books_put_back_rest_before_an_erasure(make_lab: MakeLab) -> None:
    """What was under way when they were put back is in no books: the person is forgotten after the rest."""
    lab, learners = await two_courses(make_lab)
    backup = lab.store.back_up(lab.clock.now())
    lab.site.update_user(learners[0], city="Late Canary")
    lab.commcare.late_write(1100.0)
    await lab.sync()
    lab.restore(backup)
    assert RunState.POSTPONED == (await erased(lab, learners[0], later=60.0)).state
    assert RunState.COMPLETED == (await erased(lab, learners[0], later=1300.0)).state
    await lab.sync()
    assert set() == held(lab, learners[0])


async def test_an_erasure_in_doubt_is_finished_later(make_lab: MakeLab) -> None:
    """Without CommCare's answer the rows stay, and the same command goes on after the rest."""
    lab, learners = await two_courses(make_lab)
    lab.commcare.drop_reply_after_commit()
    done = await erased(lab, learners[0])
    assert (RunState.POSTPONED, {"in doubt": 3}) == (done.state, dict(done.outcomes))
    assert RunState.COMPLETED == (await erased(lab, learners[0])).state
    assert (set(), set()) == (held(lab, learners[0]), lab.store.person(learners[0]).rows)


async def test_a_run_at_work_is_not_disturbed(make_lab: MakeLab) -> None:
    """While somebody holds the lease nothing is erased."""
    lab, learners = await two_courses(make_lab)
    lab.store.take_lease("run", lab.clock.now() + 3600.0, 600.0)
    done = await erased(lab, learners[0])
    assert (RunState.POSTPONED, True) == (done.state, CANARY in held(lab, learners[0]))


class DyingBooks(MortalBooks):
    """Books of a process that dies at its nth call of the books, before it or after it."""

    def __init__(self, calls: int, after: bool) -> None:
        super().__init__()
        self.calls, self.after, self.armed = calls, after, False

    async def do(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Count, and die when it is time."""
        if self.armed and not self.after:
            self._count()
        found = await super().do(method, *args, **kwargs)
        if self.armed and self.after:
            self._count()
        return found

    def _count(self) -> None:
        self.calls -= 1
        if self.calls <= 0:
            self.dead = True
            raise Killed


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.e2e)])
async def test_a_stop_at_every_step_is_made_good(tmp_path: Path, after: bool) -> None:
    """Wherever the process dies, a run in between sends no value, and the same command finishes the work."""
    steps, student = 0, (SHIPPED / "student.yaml").read_text()
    while True:
        steps += 1
        site, _, learners = site_of(2)
        lab = WatchedLab(tmp_path / str(steps), site, seed=steps, student=student)
        books = lab.mortal = lab.books = DyingBooks(steps, after)
        for learner in learners:
            site.update_user(learner, city=CANARY)
        await lab.sync()
        books.armed = True
        with suppress(Killed):
            await erased(lab, learners[0])
        died, books.dead, books.armed = books.dead, False, False
        begun = learners[0] in lab.store.erased()
        site.update_user(learners[0], city="Fresh Canary")
        await lab.sync()
        assert not (begun and "Fresh Canary" in held(lab, learners[0])), f"a run after step {steps} sent a value"
        assert RunState.COMPLETED == (await erased(lab, learners[0])).state
        assert (set(), set()) == (held(lab, learners[0]), lab.store.person(learners[0]).rows), f"step {steps}"
        result = await lab.sync()
        assert ({}, "completed") == (written(result), result.state)
        assert CANARY in held(lab, learners[1])
        lab.close()
        if not died:
            break
    assert 12 < steps


async def test_an_older_backup_does_not_bring_a_person_back(make_lab: MakeLab) -> None:
    """The backup that an erasure ends with knows of it."""
    lab, learners = await two_courses(make_lab)
    lab.in_a_file()
    await erased(lab, learners[0])
    newest = max((lab.folder / "var" / "backups").iterdir())
    assert f"test-user-{learners[0]}".encode() not in newest.read_bytes()


def facts_about(lab: Lab, person: int) -> set[str]:
    """Return the facts that hold a key of a person."""
    with lab.store._database.reading() as connection:
        return {row.name for row in connection.execute(select(meta)) if f'-{person}"' in row.value}


async def test_no_fact_names_somebody_who_was_kept_out(make_lab: MakeLab) -> None:
    """Neither those of who is kept out nor of who was looked for, also where there never was a case."""
    lab, (person, other, *_) = await consenting(make_lab)
    lab.edit("grade_item", "enabled: false\n", "")  # enrolments have children, too
    lab.site.courses[hidden := lab.site.add_course("C1", "Course 1")]["visible"] = 0
    lab.site.enrol(2, never := lab.site.add_user("Neema", "Never"))
    for number in (person, other, never):
        lab.site.update_user(number, profile={"consent": "no"})
    await lab.sync()
    await expect_strangers(lab.world(), ["student", "enrolment"], [hidden])
    await lab.sync()
    facts = {"kept_out:student:0", "kept_out:enrolment:2", "looked_for:student", "looked_for:enrolment"}
    assert [facts] * 3 == [facts_about(lab, one) for one in (person, other, never)]
    assert RunState.COMPLETED == (await erased(lab, person)).state
    assert (set(), facts, facts) == tuple(facts_about(lab, one) for one in (person, other, never))
    lab.site.courses[hidden]["visible"] = 1
    await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, never)).state
    left = {"kept_out:student:0", "kept_out:enrolment:2"}
    assert (set(), left) == (facts_about(lab, never), facts_about(lab, other))


def mentions(lab: Lab, person: int) -> set[str]:
    """Return the tables that hold a key of a person, or a sentence about him or her."""
    about = re.compile(rf"test-(user|enrol-\d+)-{person}\b|person (erase )?{person}\b")
    with lab.store._database.reading() as connection:
        return {
            table.name
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
            if about.search(" ".join(map(str, row)))
        }


async def newcomer(make_lab: MakeLab, days: int = 0) -> tuple[Lab, int]:
    """Return a lab and somebody of whom CommCare has taken nothing, as the runs of so many days found."""
    site, courses, _ = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    new = site.add_user("Zora", "New", city=CANARY)
    site.enrol(courses[0], new)
    lab.commcare.refuse_row(f"test-user-{new}", TEXT)
    await lab.sync()
    for _ in range(0, days, 25):
        await lab.sync(25 * 86_400.0)
    return lab, new


@pytest.mark.parametrize("days", [0, 125])
async def test_who_was_never_taken_is_given_out_and_erased(make_lab: MakeLab, days: int) -> None:
    """Of such a person there is no row: the lists of what is wrong name the key, longer than the log does."""
    lab, new = await newcomer(make_lab, days)
    found = await on(lab, export, new)
    keys = [f"test-enrol-2-{new}", f"test-user-{new}"]
    assert (keys, keys[1:]) == (
        [one["key"] for one in found["problems"]],
        [one["key"] for one in found["refusals"]],
    )
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert set() == mentions(lab, new)


async def test_a_look_at_who_is_kept_out_is_forgotten(make_lab: MakeLab) -> None:
    """One read found somebody kept out by the role alone, and remembers the key until the next one."""
    site, courses, learners = site_of(12)
    lab = make_lab(site)
    await lab.sync()
    site.members[courses[0]][learners[0]].roles = ("editingteacher",)
    await lab.sync()
    assert "lacking" in mentions(lab, learners[0])
    assert RunState.COMPLETED == (await erased(lab, learners[0])).state
    assert set() == mentions(lab, learners[0])


async def test_no_run_goes_on_telling_of_the_erased(make_lab: MakeLab) -> None:
    """A run said that the erasure is not finished; once it is, the sentence goes, and those about others stay."""
    lab, (one, other, *_) = await two_courses(make_lab)
    for person in (one, other):
        lab.commcare.fail_next("timeout")
        assert RunState.POSTPONED == (await erased(lab, person, later=1.0)).state
    assert 2 == len([text for text in (await lab.sync()).messages if "not finished" in text])
    assert RunState.COMPLETED == (await erased(lab, one)).state
    assert (set(), True) == (mentions(lab, one), "run" in mentions(lab, other))


async def test_somebody_who_came_after_the_backup_is_found_first(make_lab: MakeLab) -> None:
    """Books put back do not know the case: it is not left full, and a run finds it before anybody is forgotten."""
    lab, _ = await two_courses(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    new = lab.site.add_user("Zora", "New", city=CANARY)
    lab.site.enrol(max(lab.site.courses), new)
    await lab.sync()
    lab.restore(backup)
    done = await erased(lab, new)
    assert (RunState.POSTPONED, 0) == (done.state, len(lab.store.erased()))
    assert "Run a sync first" in done.messages[0]
    await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert (2, set()) == (len(cases_of(lab, new)), held(lab, new))


async def test_somebody_nobody_knows_can_be_erased_once_all_is_known(make_lab: MakeLab) -> None:
    """After the run that found everything the command goes through: the person is to be left out."""
    lab, _ = await two_courses(make_lab)
    lab.in_a_file()
    lab.restore(lab.store.back_up(lab.clock.now()))
    new = lab.site.add_user("Zora", "New")
    assert RunState.POSTPONED == (await erased(lab, new)).state
    await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert new in lab.store.erased()


# --- giving out -------------------------------------------------------------------------------------------


async def test_an_export_holds_both_sides(make_lab: MakeLab) -> None:
    """What the books hold of a person, and CommCare's values as they are now."""
    lab, learners = await two_courses(make_lab)
    found = await on(lab, export, learners[0])
    assert (3, lab.site.courses.keys() - {1}, False) == (
        len(found["cases"]),
        set(found["courses"]),
        found["erased"],
    )
    student = next(case for case in found["cases"] if case["mapping"] == "student")
    assert CANARY == student["in_commcare"]["properties"]["city"]
    assert "city" in student["properties_sent"]
    lab.project.delete_case(student["case_id"])
    again = await on(lab, export, learners[0])
    assert "no case" in next(case for case in again["cases"] if case["mapping"] == "student")["in_commcare"]


async def test_an_export_says_what_is_kept_in_mind(make_lab: MakeLab) -> None:
    """Of somebody who was never sent the books know that a mapping keeps him or her out."""
    lab, (person, *_) = await consenting(make_lab)
    lab.site.enrol(2, never := lab.site.add_user("Neema", "Never"))
    lab.site.update_user(never, profile={"consent": "no"})
    await lab.sync()
    lab.store.put(ALLOWED_LEAVERS, json.dumps({"2": {"enrolment": [f"test-enrol-2-{never}"]}}))
    lab.store.put(ALLOWED_BLANKS, json.dumps({"student city": {"0": [f"test-user-{never}"]}}))
    found = await on(lab, export, never)
    assert [
        {"what": "kept_out", "mapping": "student", "course": 0},
        {"what": "may_leave", "mapping": "enrolment", "course": 2},
        {"what": "may_lose_a_value", "mapping": "student", "course": 0},
    ] == found["kept_in_mind"]
    assert [] == (await on(lab, export, person))["kept_in_mind"]


def test_the_commands(terminal: Terminal, tmp_path: Path) -> None:
    """Erasing asks or wants --yes; an export goes into a new file of ours and into no pipe."""
    assert 0 == terminal.run("sync", "--yes").code
    person = next(
        str(case.external_id).split("-")[-1]
        for case in terminal.box.project.cases.values()
        if "user" in case.external_id
    )
    refused = terminal.run("person", "export", person)
    assert (2, True) == (refused.code, "--to FILE" in refused.text)
    file = tmp_path / "person.json"
    assert 0 == terminal.run("person", "export", person, "--to", str(file)).code
    assert (0o600, True) == (file.stat().st_mode & 0o777, '"in_commcare"' in file.read_text())
    assert 2 == terminal.run("person", "export", person, "--to", str(file)).code
    assert 2 == terminal.run("person", "erase", person).code
    ended = terminal.run("person", "erase", person, "--yes")
    assert (0, True) == (ended.code, f"Person {person} is erased" in ended.text), ended.text
    assert 0 == terminal.run("person", "admit", person).code
    assert 2 == terminal.run("person", "admit", person).code


def test_a_number_that_nobody_has_is_told_as_such(terminal: Terminal, tmp_path: Path) -> None:
    """A slip of the finger looks like no success: nothing was emptied, nothing is known, and how it is undone."""
    assert 0 == terminal.run("sync", "--yes").code
    file = tmp_path / "nobody.json"
    ended = terminal.run("person", "export", "99999", "--to", str(file))
    assert (0, True) == (ended.code, "know nothing of person 99999" in ended.text)
    assert "personal data" not in ended.text
    ended = terminal.run("person", "erase", "99999", "--yes")
    assert (0, True, False) == (ended.code, "nothing was emptied" in ended.text, "What remains" in ended.text)
    assert "person admit 99999" in ended.text
    ended = terminal.run("person", "erase", "99999", "--yes")
    assert (True, True) == ("What remains" in ended.text, "in Prefect's history of runs" in ended.text)
    ended = terminal.run("person", "export", "99999", "--to", str(tmp_path / "again.json"))
    assert "was erased, and the books know nothing more" in ended.text


def test_who_says_no_has_changed_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question names how many cases, or that there are none; after a no there is nothing to go on with."""
    assert 0 == terminal.run("sync", "--yes").code
    monkeypatch.setattr("flows.cli_state.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    for person, asked in ((terminal.box.learners[0], "Empty 3 cases of person"), (99999, "Leave that number out")):
        ended = terminal.run("person", "erase", str(person), typed="n\n")
        assert (1, True, True) == (ended.code, asked in ended.text, "Nothing was changed." in ended.text)
    with open_store(load_settings(terminal.env, None)) as store:
        assert 0 == len(store.erased())


def test_who_stops_at_the_question_has_emptied_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the question is no erasure that goes on: nobody is to run the command again for that."""
    assert 0 == terminal.run("sync", "--yes").code
    monkeypatch.setattr("flows.cli_state.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    ended = terminal.run("person", "erase", str(terminal.box.learners[0]), typed="")
    assert (130, True) == (ended.code, "Stopped; nothing was emptied." in ended.text)
    assert "goes on" not in ended.text


def test_the_question_names_who_is_erased_as_well(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that were merged into a person go too: whoever says yes has to know."""
    assert 0 == terminal.run("sync", "--yes").code
    old, new = terminal.box.learners[:2]
    assert 0 == terminal.run("merge", str(old), str(new)).code
    monkeypatch.setattr("flows.cli_state.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    text = terminal.run("person", "erase", str(new), typed="n\n").text
    assert f"of person {new}, and of {old} merged into {new}, in CommCare?" in text


AGED = "older backups (those beside the books are gone after 6 more days on which a copy is made; from"


def test_what_remains_names_the_copies_of_the_books(terminal: Terminal) -> None:
    """Older backups, and books set aside, still hold the ids of who was erased."""
    assert 0 == terminal.run("sync", "--yes").code
    ended = terminal.run("person", "erase", str(terminal.box.learners[0]), "--yes")
    assert (0, True) == (ended.code, AGED in ended.text)


async def test_nothing_is_said_of_cases_before_anybody_looked(make_lab: MakeLab) -> None:
    """Stopped by a run at work, an erasure does not know of no case: it did not look."""
    lab, learners = await two_courses(make_lab)
    lab.store.take_lease("run", lab.clock.now() + 3600.0, 600.0)
    done = await erased(lab, learners[0])
    assert (RunState.POSTPONED, f"Person {learners[0]} is not erased yet.") == (done.state, told(done)[0])


def test_an_export_that_finds_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file of a person's data would stand in the way of the next try, and be forgotten."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("flows.attended_person.json.dump", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_export(tmp_path / "one.json", {})
    assert (str(tmp_path / "one.json"), []) == (raised.value.filename, list(tmp_path.iterdir()))


PERSONAL = [table for table in metadata.sorted_tables if "user_id" in table.c]


def known_of(store: Store, person: int) -> set[str]:
    """Return the tables that hold something of a person."""
    with store._database.reading() as connection:
        return {
            table.name
            for table in PERSONAL
            if connection.scalar(select(func.count()).select_from(table).where(table.c.user_id == person))
        }


async def test_no_table_of_people_is_left_out(make_lab: MakeLab) -> None:
    """Whatever table has a row of a person, also the only one: the export shows it, and the erasure deletes it."""
    site, _, _ = site_of(1)
    lab = make_lab(site)
    lab.store.take_key()
    person = 777
    with lab.store._database.writing() as connection:
        connection.execute(insert(occasion), {"id": 3, "at": 3.0, "run": "r", "batch": 0, "form_id": ""})
        for table in PERSONAL:
            row = {column.name: example(column) for column in table.columns}
            row |= {name: f"of {table.name}" for name, value in row.items() if isinstance(value, str)}
            row |= {"user_id": person, "done_at": None, "digests": None, "names": b"", "occasion": 3, "reason": ""}
            row |= {"op": 1, "answer": 1, "reason": 0} if table.name == "change" else {}
            connection.execute(insert(table), {column.name: row[column.name] for column in table.columns})
    assert {table.name for table in PERSONAL} == known_of(lab.store, person)
    shown = json.dumps(await on(lab, export, person))
    assert [] == [table.name for table in PERSONAL if f"of {table.name}" not in shown]
    lab.store.finish_erasure(person)
    assert set() == known_of(lab.store, person)


async def test_cases_past_free_numbers_are_emptied(make_lab: MakeLab) -> None:
    """Books that were put back know the first case of a key: those after it were deleted, but for the last one."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    lab.in_a_file()
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    key = f"test-user-{learners[0]}"
    for name, city in ((key, "Kisumu"), (f"{key}~2", "Bondo")):
        lab.project.delete_case(lab.case(name).case_id)
        site.update_user(learners[0], city=city)
        await lab.sync()
        retry(lab.store, lab.clock.now(), key=key, recreate=True)
        await lab.sync()
    lab.restore(backup)
    lab.clock.advance(3600.0)
    assert "completed" == (await erased(lab, learners[0])).state
    assert (key, "", "") == (
        lab.case(f"{key}~3").case_name,
        lab.case(f"{key}~3").properties["city"],
        lab.case(f"{key}~3").properties["last_name"],
    )


@pytest.mark.parametrize("back", [False, True])
async def test_an_erasure_after_a_file_got_another_name(make_lab: MakeLab, back: bool) -> None:
    """The books know the case under both names: it is emptied, and both rows are gone."""
    site, _, learners = site_of(4)
    lab = make_lab(site, student=(SHIPPED / "student.yaml").read_text("utf-8"))
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    await lab.sync()
    names = ["student.yaml", "learner.yaml", *(["student.yaml"] if back else [])]
    for before, now in pairwise(names):
        (lab.mappings / before).rename(lab.mappings / now)
        await lab.sync()
    done = await erased(lab, learners[0])
    case = lab.case(f"test-user-{learners[0]}")
    assert ("completed", "", case.external_id) == (done.state, case.properties["last_name"], case.case_name)
    assert ([], []) == (lab.store.unfinished_erasures(), [*lab.store.person(learners[0]).cases])
    assert {} == written(await lab.sync())


async def test_an_erasure_of_somebody_who_was_away_when_the_books_were_lost(make_lab: MakeLab) -> None:
    """No run has met him since, nor will one: CommCare's list shows his cases, and they are emptied."""
    site, (course,), learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(course, learners[0])
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await lab.sync()
    done = await erased(lab, learners[0])
    assert ("completed", {"emptied": 2}, set()) == (done.state, dict(done.outcomes), held(lab, learners[0]))


async def test_an_erasure_after_lost_books_reaches_keys_that_nothing_makes_any_more(make_lab: MakeLab) -> None:
    """The books that knew the keys of before an edit are lost; an enrolment belongs to its person in CommCare."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    lab.edit("enrolment", "{site}-enrol-", "{site}-member-")
    await lab.sync()
    done = await erased(lab, learners[0])
    assert ("completed", {"emptied": 3}, set()) == (done.state, dict(done.outcomes), held(lab, learners[0]))
    assert held(lab, learners[1])
    assert [] == [*lab.store.person(learners[0]).cases]


async def test_an_erasure_finds_what_is_younger_than_the_backup(make_lab: MakeLab) -> None:
    """The books know one course of a person; what was made of another one after the backup is emptied as well."""
    lab, (one, other, *_) = await two_courses(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    alone = lab.site.add_course("ALONE", "Alone")
    for person in (one, other):
        lab.site.enrol(alone, person)
    await lab.sync()
    lab.restore(backup)
    lab.clock.advance(3600.0)
    done = await erased(lab, one)
    assert ("completed", set(), True) == (done.state, held(lab, one), bool(held(lab, other)))
    assert [] == lab.store.unfinished_erasures()
