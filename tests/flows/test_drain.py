"""Hints become reads: few runs, of the courses they are about, and no hint is done before its read ended well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from adaptors.moodle.events import read_event
from adaptors.moodle.fake_hooks import HookedSite
from adaptors.moodle.fake_site import FakeSite
from flows import drain as draining
from flows.attended_drain import drain_for
from flows.drain import TROUBLE, consumers, drain
from flows.drained import Drained
from flows.fed_back import FedBack
from flows.feedback import Consumed
from flows.problems import list_problems
from flows.result import RunState
from flows.world import World
from state import Hint, HintRow
from state.backups import backups
from state.database import file_of
from tests.flows.test_terms import reset
from tests.flows.worlds import Lab, leave_shard

MakeLab = Callable[..., Lab]
GRADED, ENROLLED, UPDATED = "core.user_graded", "core.user_enrolment_created", "core.user_updated"


def class_of(*sizes: int) -> tuple[HookedSite, list[int], list[int]]:
    """Make a site with one course per size; the first person is in all of them."""
    site = HookedSite()
    people = [site.add_user(f"First{n}", f"Last{n}", phone1=f"0722 000 {n:03}") for n in range(sum(sizes))]
    courses, start = [], 0
    for number, size in enumerate(sizes):
        courses.append(site.add_course(f"C{number}", f"Course {number}"))
        for person in {people[0], *people[start : start + size]}:
            site.enrol(courses[-1], person)
        site.set_grade_item(courses[-1], f"Quiz {number}")
        start += size
    return site, courses, people


def hint(event: str, course: int, person: int = 0, *, source: str = "moodle", number: int = 0) -> Hint:
    """Return a hint with a mark of its own, or the one of this number."""
    hint.made = getattr(hint, "made", 0) + 1  # type: ignore[attr-defined]
    mark = (number or 10_000 + hint.made).to_bytes(16, "big")  # type: ignore[attr-defined]
    return Hint(source, event, mark, 0.0, course_id=course, user_id=person)


def put(lab: Lab, *hints: Hint, ago: float = 30.0) -> None:
    """Put hints into the inbox that came a while ago."""
    lab.store.inbox_add(hints, lab.clock.now() - ago)


async def drained(lab: Lab, later: float = 3600.0) -> Drained:
    """Drain once, with new clients, an hour after the last time."""
    lab.clock.advance(later)
    world = lab.world()
    try:
        return await drain(world)
    finally:
        await world.moodle.close()
        await world.commcare.close()


async def ready(make_lab: MakeLab, *sizes: int, **values: Any) -> tuple[Lab, list[int], list[int]]:
    """Give a world whose first run is over."""
    site, courses, people = class_of(*sizes)
    lab = make_lab(site, **values)
    assert RunState.COMPLETED == (await lab.sync()).state
    return lab, courses, people


def waiting(lab: Lab) -> int:
    """Return how many hints wait."""
    return sum(lab.store.inbox_state(lab.clock.now()).waiting.values())


async def test_an_empty_inbox_costs_nothing(make_lab: MakeLab) -> None:
    """Nothing is asked of anybody, no run is noted, nothing waits."""
    lab, _, _ = await ready(make_lab, 2)
    before = lab.store.condition().counts["runs"], lab.moodle.requests
    found = await drained(lab)
    assert (RunState.COMPLETED, [], 0) == (found.state, found.runs, found.left)
    assert before == (lab.store.condition().counts["runs"], lab.moodle.requests)
    assert ["The inbox is empty."] == list(found.lines())


async def test_a_grade_is_in_the_case(make_lab: MakeLab) -> None:
    """One run, of the course of the hint only, sends what differs."""
    lab, courses, people = await ready(make_lab, 3, 2)
    for number in (0, 1):
        item = lab.site.gradebooks[courses[number]].items[-1].id
        lab.site.grade(item, people[0], 80)
    put(lab, hint(GRADED, courses[0], people[0]))
    found = await drained(lab)
    assert (RunState.COMPLETED, {courses[0]}, 1) == (found.state, found.courses, len(found.runs))
    assert ({"read": 1}, 0, 1) == (found.outcomes, found.left, found.cases["updated"])
    assert {"updated": 1} == {name: count for name, count in found.cases.items() if name == "updated"}


async def test_many_hints_are_few_runs(make_lab: MakeLab) -> None:
    """Five thousand hints about three courses are one run of each kind of read."""
    lab, courses, people = await ready(make_lab, 3, 2, 2)
    kinds = (GRADED, ENROLLED)
    put(lab, *(hint(kinds[n % 7 == 0], courses[n % 3], people[n % 7]) for n in range(5_000)))
    found = await drained(lab)
    assert (set(courses), {"read": 5_000}, 0) == (found.courses, found.outcomes, found.left)
    assert 1 == len(found.runs)


async def test_courses_for_which_the_same_is_read_go_together(make_lab: MakeLab) -> None:
    """Grades alone are read with the grade mappings, and for those no other course has to be looked at."""
    lab, courses, people = await ready(make_lab, 3, 2, 2)
    put(lab, hint(GRADED, courses[0]), hint(GRADED, courses[1]), hint(ENROLLED, courses[2], people[0]))
    found = await drained(lab)
    assert (2, set(courses)) == (len(found.runs), found.courses)


async def test_a_hint_about_grades_reads_one_course(make_lab: MakeLab) -> None:
    """The first person is in three courses, but of grades nothing is made of the others: none is asked about."""
    lab, courses, _ = await ready(make_lab, 3, 2, 2)
    asked: list[str] = []
    moodle = lab.moodle

    def listen(request: Any) -> Any:
        asked.append(request.content.decode())
        return moodle(request)

    lab.moodle = listen  # type: ignore[assignment]
    put(lab, hint(GRADED, courses[0]))
    await drained(lab)
    enrolled = [text for text in asked if "get_enrolled_users" in text]
    assert {f"courseid={courses[0]}"} == {
        part for text in enrolled for part in text.split("&") if part.startswith("courseid=")
    }
    assert [] == [text for text in asked if "get_users_by_field" in text]


async def test_a_new_person_gets_both_cases(make_lab: MakeLab) -> None:
    """An enrolment reads the course with all mappings: the person is pushed first, then the enrolment."""
    lab, courses, _ = await ready(make_lab, 2)
    new = lab.site.add_user("New", "Person")
    lab.site.enrol(courses[0], new)
    put(lab, hint(ENROLLED, courses[0], new), hint("core.role_assigned", courses[0], new))
    found = await drained(lab)
    assert (2, {"read": 2}) == (found.cases["created"], found.outcomes)
    assert lab.case(f"test-user-{new}").case_type == "student"


async def test_a_person_is_read_through_his_courses(make_lab: MakeLab) -> None:
    """A profile alone has no course: those in which the person was last seen are read."""
    lab, courses, people = await ready(make_lab, 3, 2)
    lab.site.update_user(people[0], lastname="Kiplagat-Rono")
    put(lab, hint(UPDATED, 0, people[0]))
    found = await drained(lab)
    assert ({"read": 1}, set(courses)) == (found.outcomes, found.courses)
    assert "Kiplagat-Rono" in lab.case(f"test-user-{people[0]}").properties["last_name"]


async def test_one_course_is_enough_for_the_person_alone(make_lab: MakeLab) -> None:
    """Where no case of a course shows anything of the profile, only the smallest course is read."""
    files = {
        "student": """
language: 1
source: users
case_type: student
external_id: "{site}-user-{id}"
case_name: "{lastname}"
owner: {otherwise: project}
properties: {city: city}
"""
    }
    lab, courses, people = await ready(make_lab, 5, 2, 4, **files)
    lab.site.update_user(people[0], city="Bondo")
    put(lab, hint(UPDATED, 0, people[0]))
    found = await drained(lab)
    assert ({courses[1]}, 1) == (found.courses, found.cases["updated"])


async def test_what_is_not_ours_is_dropped(make_lab: MakeLab) -> None:
    """Unknown courses, people of no course, events that no mapping sends: each counted, none tried again."""
    lab, courses, _ = await ready(make_lab, 2)
    put(
        lab,
        hint(GRADED, 999),
        hint(UPDATED, 0, 4711),
        hint("mod_assign.assessable_submitted", courses[0], 5),
        hint("core.role_assigned", 0, 0),
    )
    found = await drained(lab)
    assert {"not_selected": 1, "unknown_person": 2, "no_mapping": 1} == dict(found.outcomes)
    assert (RunState.COMPLETED, 0) == (found.state, waiting(lab))


async def test_a_course_of_which_a_person_is_asked_something(make_lab: MakeLab) -> None:
    """Nobody is told that project.yaml does not select it; the run after the answer reads it."""
    lab, course, people = await reset(make_lab)
    put(lab, hint(ENROLLED, course, people[-1]))
    found = await drained(lab)
    assert ("waiting", {"asked": 1}) == (found.state, dict(found.outcomes))
    assert "a person is asked something first" in " ".join(found.lines())


async def test_a_course_that_is_not_selected_is_asked_about_once_an_hour(make_lab: MakeLab) -> None:
    """A busy site tells of all its courses; an edit of the mappings is reason to ask again at once."""
    lab, _, _ = await ready(make_lab, 2)
    runs = []
    for later in (3600.0, 60.0, 60.0, 3600.0):
        put(lab, hint(GRADED, 999), ago=0)
        runs.append(len((await drained(lab, later)).runs))
        if len(runs) == 2:
            lab.edit("project", "country: KE", "country: KE  # edited")
    assert [1, 0, 1, 1] == runs


async def test_a_hint_that_reads_nothing_counts_for_nothing(make_lab: MakeLab) -> None:
    """When no course is left to be read, no mapping counts as read: neither its interval nor an edit."""
    lab, _, _ = await ready(make_lab, 2)
    names = [f"{fact}:{name}" for fact in ("reads", "prints") for name in ("student", "enrolment")]
    before = [lab.store.get(name) for name in names]
    put(lab, hint(GRADED, 999))
    assert 1 == len((await drained(lab)).runs)
    assert before == [lab.store.get(name) for name in names]
    assert all(before)


async def test_a_run_at_work_is_left_alone(make_lab: MakeLab) -> None:
    """While another run holds the lease nothing is begun, and the hints stay as they are."""
    lab, courses, _ = await ready(make_lab, 2)
    lab.clock.advance(3600)
    put(lab, hint(GRADED, courses[0]))
    lab.store.take_lease("20261129T100000-abc", lab.clock.now(), 600.0)
    found = await drained(lab, 0)
    assert (RunState.POSTPONED, 3, 1, []) == (found.state, found.state.exit_code, found.left, found.runs)
    found = await drained(lab, 601)
    assert ({"read": 1}, 0) == (found.outcomes, found.left)


async def test_a_shard_at_work_is_no_trouble(make_lab: MakeLab) -> None:
    """A shard whose opener died keeps runs away as long as it works, and no rest follows."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))
    lab.clock.advance(3600)
    leave_shard(lab)
    for later in (1, 300):
        found = await drained(lab, later)
        assert (RunState.POSTPONED, 1, None) == (found.state, found.left, lab.store.get(TROUBLE))
    assert {"read": 1} == (await drained(lab, 300)).outcomes


async def test_a_full_run_waits_for_a_drain(make_lab: MakeLab) -> None:
    """The hourly run is not put off by one that hints asked for, nor by one of these that died."""
    lab, _, _ = await ready(make_lab, 2)
    lab.store.take_lease("drain-20261129T100000-abc", lab.clock.now() + 3600, 600.0)
    before = lab.clock.now()
    assert RunState.COMPLETED == (await lab.sync()).state
    assert 600 <= lab.clock.now() - before - 3600 < 660
    lab.store.take_lease("20261129T100000-abc", lab.clock.now() + 3600, 600.0)
    assert RunState.POSTPONED == (await lab.sync()).state


async def test_a_read_that_fails_keeps_its_hint(make_lab: MakeLab) -> None:
    """The other course is done; five tries later the hint is given up, and the full run has the course."""
    lab, courses, _ = await ready(make_lab, 2, 2)
    lab.denied = {courses[0]}
    put(lab, hint(GRADED, courses[0]), hint(GRADED, courses[1]))
    found = await drained(lab)
    assert (RunState.DEGRADED, {"read": 1}, 1) == (found.state, found.outcomes, found.left)
    ends = [dict((await drained(lab)).outcomes) for _ in range(5)]
    assert [{}, {}, {}, {"given_up": 1}, {}] == ends


async def test_a_moodle_that_is_down_is_asked_less_and_less(make_lab: MakeLab) -> None:
    """No try is counted against the hints; after a minute, two, four the next is made, and then all is done."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))
    lab.site.maintenance = "web"
    assert RunState.POSTPONED == (await drained(lab)).state
    tries = []
    for _ in range(40):
        before = lab.moodle.requests
        assert 1 == (await drained(lab, 60)).left
        tries.append(lab.moodle.requests > before)
    assert [1, 3, 7, 15] == [number + 1 for number, tried in enumerate(tries) if tried][:4]
    lab.site.maintenance = ""
    assert {"read": 1} == (await drained(lab, 1801)).outcomes
    assert '"failures": 0' in (lab.store.get(TROUBLE) or "")


async def test_a_crash_in_the_middle_loses_nothing(make_lab: MakeLab) -> None:
    """A drain that dies over its run leaves its hints; the next one reads again."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))
    lab.store.inbox_claim("drain-dead", lab.clock.now(), lab.clock.now())
    assert {"read": 1} == (await drained(lab)).outcomes


async def test_hints_over_which_drains_die_are_given_up(make_lab: MakeLab) -> None:
    """After five deaths they are set aside before anything else is done."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))
    for _ in range(5):
        lab.store.inbox_claim("drain-dead", lab.clock.now(), lab.clock.now())
    found = await drained(lab)
    assert ({"given_up": 1}, []) == (found.outcomes, found.runs)


async def test_a_mistake_of_ours_counts_as_a_try(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised, and the same hints are not begun for ever."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(draining, "sync", broken)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await drained(lab)
    assert {"given_up": 1} == (await drained(lab)).outcomes


async def test_a_stopped_drain_lets_go(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's Ctrl-C is no try, and the hints are there for the next."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))

    async def stopped(*_: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(draining, "sync", stopped)
        for _ in range(9):
            with pytest.raises(asyncio.CancelledError):
                await drained(lab)
    assert {"read": 1} == (await drained(lab)).outcomes


async def test_a_course_is_read_once_a_minute(make_lab: MakeLab) -> None:
    """A hint soon after a read waits, and one that has waited for five minutes does not."""
    lab, courses, _ = await ready(make_lab, 2)
    put(lab, hint(GRADED, courses[0]))
    assert 1 == len((await drained(lab)).runs)
    put(lab, hint(GRADED, courses[0]), ago=10)
    found = await drained(lab, 20)
    assert (RunState.COMPLETED, [], 1) == (found.state, found.runs, found.left)
    assert {"read": 1} == (await drained(lab, 45)).outcomes
    put(lab, hint(GRADED, courses[0]), ago=400)
    assert {"read": 1} == (await drained(lab, 5)).outcomes


async def test_an_ordinary_run_makes_no_hint_wait(make_lab: MakeLab) -> None:
    """What happens right after the hourly run is read at once."""
    lab, courses, _ = await ready(make_lab, 2)
    await lab.sync()
    put(lab, hint(GRADED, courses[0]), ago=0)
    assert 1 == len((await drained(lab, 6.0)).runs)


async def test_a_hint_is_left_until_moodle_has_written(make_lab: MakeLab) -> None:
    """Moodle tells before it has written: a drain waits five seconds for the first hint, not for a later one."""
    lab, courses, _ = await ready(make_lab, 2, 2)
    lab.clock.advance(3600)
    put(lab, hint(GRADED, courses[0]), ago=0)
    before = lab.clock.now()
    assert {"read": 1} == (await drained(lab, 0)).outcomes
    assert 5.0 <= lab.clock.now() - before < 7.0
    lab.clock.advance(3600)
    put(lab, hint(GRADED, courses[0]), ago=20)
    put(lab, hint(GRADED, courses[1]), ago=1)
    found = await drained(lab, 0)
    assert ({courses[0]}, 1) == (found.courses, found.left)


async def test_a_full_inbox_is_one_run_of_everything(make_lab: MakeLab) -> None:
    """The hints that found no room are not known, so all courses are read, and all hints are done."""
    lab, courses, _ = await ready(make_lab, 2, 2)
    lab.clock.advance(3600)
    assert 1 == lab.store.inbox_add([hint(GRADED, courses[0]), hint(GRADED, 99)], lab.clock.now() - 30, room=1)
    found = await drained(lab, 0)
    assert (set(courses), {"read": 2}, True, 0) == (found.courses, found.outcomes, found.whole_site, found.left)


async def test_of_a_full_inbox_what_could_not_be_read_stays(make_lab: MakeLab) -> None:
    """The hint about the other course is done; the one for all that found no room may be about the failed one."""
    lab, courses, _ = await ready(make_lab, 2, 2)
    lab.clock.advance(3600)
    lab.denied = {courses[0]}
    lab.store.inbox_add([hint(GRADED, courses[1]), hint(GRADED, 99)], lab.clock.now() - 30, room=1)
    found = await drained(lab, 0)
    seen = (found.state, found.outcomes, found.whole_site, found.left)
    assert (RunState.DEGRADED, {"read": 1}, True, 1) == seen
    lab.denied = set()
    again = await drained(lab)
    assert (set(courses), {"read": 1}, 0) == (again.courses, again.outcomes, again.left)


async def test_of_a_full_inbox_a_course_that_fails_for_good_is_given_up(make_lab: MakeLab) -> None:
    """Nothing is read over and over for it: hints are given up after the fifth try, as of one course."""
    lab, courses, _ = await ready(make_lab, 2, 2)
    lab.clock.advance(3600)
    lab.denied = {courses[0]}
    lab.store.inbox_add([hint(GRADED, courses[0]), hint(GRADED, 99)], lab.clock.now() - 30, room=1)
    ends = [dict((await drained(lab)).outcomes) for _ in range(6)]
    assert [{}, {}, {}, {}, {"given_up": 2}, {}] == ends


async def test_before_the_first_run_nothing_is_sent(make_lab: MakeLab) -> None:
    """Hints approve nothing: they wait until a person has said yes, and Moodle is not asked."""
    site, courses, _ = class_of(2)
    lab = make_lab(site)
    put(lab, hint(GRADED, courses[0]))
    found = await drained(lab)
    assert (RunState.WAITING, 4, 1, 0) == (found.state, found.state.exit_code, found.left, lab.moodle.requests)
    await lab.sync()
    assert {"read": 1} == (await drained(lab)).outcomes


async def test_no_copy_of_the_books_is_made(make_lab: MakeLab, state_url: str) -> None:
    """One a minute would soon leave none of an hour ago; its runs have a name of their own."""
    lab, courses, _ = await ready(make_lab, 2)
    lab.in_a_file()
    file = file_of(lab.state_url)
    assert file is not None
    before = backups(file)
    put(lab, hint(GRADED, courses[0]))
    found = await drained(lab)
    assert (before, True) == (backups(file), found.runs[0].startswith("drain-"))
    assert state_url == ""


async def test_somebody_who_left_is_found_in_two_reads(make_lab: MakeLab) -> None:
    """A hint's read of a course counts like any other: the second one marks who is gone."""
    lab, courses, people = await ready(make_lab, 4)
    lab.site.unenrol(courses[0], people[1])
    marked = []
    for _ in range(2):
        put(lab, hint("core.user_enrolment_deleted", courses[0], people[1]))
        marked.append((await drained(lab)).cases["marked_left"])
    assert marked[0] == 0
    assert marked[1] >= 1


async def test_a_consumer_works_off_what_commcare_forwards(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what became of each; without one they are dropped, and neither is a reason to ask Moodle."""
    lab, _, _ = await ready(make_lab, 2)
    before = lab.moodle.requests
    put(lab, hint("case", 0, source="commcare"), hint("case", 0, source="commcare"))
    seen: list[int] = []

    async def consume(_: World, rows: Sequence[HintRow]) -> Consumed:
        seen.extend(row.number for row in rows)
        return Consumed({"read": [rows[0].number]}, FedBack())

    monkeypatch.setitem(consumers, "commcare", consume)
    found = await drained(lab)
    assert ({"read": 1}, 1, 2) == (found.outcomes, found.left, len(seen))
    form = lab.project.forms[0].form_id
    echo = Hint("commcare", "case", b"echo" * 4, 0.0, case_id="c", form_id=form)
    put(lab, echo)
    found = await drained(lab)
    assert ({"unused": 1, "read": 1}, 0, 3) == (found.outcomes, found.left, len(seen))
    put(lab, hint("case", 0, source="commcare"))
    monkeypatch.delitem(consumers, "commcare")
    found = await drained(lab)
    assert ({"unused": 1}, 0) == (found.outcomes, found.left)
    assert before == lab.moodle.requests


async def test_everything_at_once_ends_in_the_same_cases(make_lab: MakeLab) -> None:
    """What the made-up plugin tells of a day is enough to bring CommCare to where a full run would bring it."""
    site, courses, people = class_of(4, 3)
    lab = make_lab(site)
    await lab.sync()
    told: list[dict[str, Any]] = []
    site.post = told.append
    new = site.add_user("New", "Person")
    site.enrol(courses[1], new)
    site.grade(site.gradebooks[courses[0]].items[-1].id, people[1], 77)
    site.update_user(people[2], lastname="Other")
    events = [found for found in map(read_event, told) if found]
    put(lab, *(Hint("moodle", one.event, one.mark, 0.0, one.course_id, one.user_id) for one in events))
    found = await drained(lab)
    assert (RunState.COMPLETED, 0) == (found.state, found.left)
    after = await lab.sync()
    assert {} == {name: one for name, one in after.requests["commcare"].items() if name == "write"}


async def test_again_and_again_for_a_while(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """For forty seconds the inbox is looked at every two, and after a drain there is a pause for others."""
    lab, _, _ = await ready(make_lab, 2)
    looks: list[float] = []
    start = lab.clock.now()

    def look(_: str) -> bool:
        looks.append(round(lab.clock.now() - start))
        return 2 in (len(looks), len(looks) - 3)

    async def once(*_: Any) -> Drained:
        return Drained(left=len(looks))

    monkeypatch.setattr("flows.attended_drain.hints_wait", look)
    monkeypatch.setattr("flows.attended_drain._drain_once", once)
    settings: Any = type("Settings", (), {"state_url": lab.state_url})
    found = await drain_for(settings, 30.0, lab.clock, lambda *_: None)
    assert [0, 2, 12, 14, 16, 26, 28, 30] == looks
    assert 5 == found.left
    assert 0 == (await drain_for(settings, 0.0, lab.clock, lambda *_: None)).left


def test_in_words_and_as_json() -> None:
    """What happened in sentences, with numbers and ids only."""
    found = Drained(left=1, courses={2, 3}, runs=["drain-1"])
    found.outcomes.update({"read": 3, "not_selected": 1})
    found.cases.update({"updated": 2, "unchanged": 10})
    expected = [
        "3 hints worked off.",
        "1 hint about courses that project.yaml does not select.",
        "Read in 1 run: courses 2, 3. Cases: 2 updated, 10 unchanged.",
        "1 hint left for the next drain.",
    ]
    assert expected == list(found.lines())
    assert {"read": 3, "not_selected": 1, "left": 1} == found.as_json()["hints"]
    assert "whole site" in " ".join(Drained(runs=["r"], whole_site=True).lines())


def test_a_site_without_hooks_is_a_site() -> None:
    """The made-up plugin is off unless somebody listens."""
    assert isinstance(class_of(1)[0], FakeSite)


async def test_a_grade_of_somebody_who_is_kept_out(make_lab: MakeLab) -> None:
    """A hint about a grade has no people read; still nothing of somebody without consent waits."""
    site, courses, people = class_of(3)
    site.add_profile_field("consent")
    for person in people:
        site.update_user(person, profile={"consent": "yes"})
    lab = make_lab(site)
    text = (lab.mappings / "student.yaml").read_text()
    lab.edit("student", text[text.index("\ntests:") :], "\n")
    roles = "  - {source: roles, any_of: [student]}\n"
    lab.edit("student", roles, f'{roles}  - {{source: profile.consent, is_not: "no"}}\n')
    await lab.sync()
    new = site.add_user("Neema", "New", profile={"consent": "no"})
    site.enrol(courses[0], new)
    for event in (ENROLLED, GRADED):
        put(lab, hint(event, courses[0], new))
        found = await drained(lab)
        assert ("completed", []) == (found.state, list_problems(lab.store)), event
