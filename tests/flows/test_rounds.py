"""A round of several workers does what one process does; no worker's end loses or doubles anything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.confirm import confirm, confirm_blanks
from flows.errors import UsageError
from flows.needs import REFUSED_BLANKS, people_asked
from flows.result import Result
from flows.round import share_out, sync_round
from flows.run import Run
from flows.shard import PER_TRY, TRIES, numbered_from, sync_shard
from flows.steps.asked import LEAVERS
from flows.steps.handover import Handover, told
from flows.steps.select import NOT_SHOWN
from flows.sync import Options
from mappings.engine import Context
from state.log import origin
from tests.flows.expected import PARKING, Expected
from tests.flows.rounds import Shop, books, cases, counted
from tests.flows.worlds import PROJECT, written
from tests.virtual_loop import run_virtually

SITE_INFO, COURSES = "core_webservice_get_site_info", "core_course_get_courses_by_field"
ENROLLED = "core_enrol_get_enrolled_users"
ROLES = "  - {source: roles, any_of: [student]}\n"

Found = TypeVar("Found")
Open = Callable[..., Shop]
Story = Callable[[Shop, int], Awaitable[list[Result | None]]]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Open]:
    """Give a maker of shops on a school of six courses."""
    shops: list[Shop] = []

    def make(name: str = "round", seed: int = 0, **values: Any) -> Shop:
        (tmp_path / name).mkdir(exist_ok=True)
        shops.append(Shop(tmp_path / name, school(), seed, **values))
        return shops[-1]

    yield make
    for made in shops:
        made.close()


def school() -> FakeSite:
    """Make a school of six courses of very different sizes, with shared people, teachers and grades."""
    site = FakeSite()
    people = [site.add_user(f"First{n}", f"Last{n}", phone1=f"0722 000 {n:03}", city="Bondo") for n in range(30)]
    for number, size in enumerate((12, 3, 9, 5, 7, 4)):
        course = site.add_course(f"C{number}", f"Course {number}")
        site.enrol(course, people[number], ["editingteacher"])
        item = site.set_grade_item(course, "Quiz")
        for person in people[6 + number : 6 + number + size]:
            site.enrol(course, person)
            site.grade(item, person, 50 + number)
    return site


async def run(shop: Shop, shards: int, **options: Any) -> Result | None:
    """Run once, by one process or by several workers."""
    return await (shop.round(shards, **options) if shards else shop.once(**options))


async def until(happens: Callable[[], Found]) -> Found:
    """Wait for something, in virtual time."""
    for _ in range(2000):
        if found := happens():
            return found
        await asyncio.sleep(0.5)
    raise AssertionError("it does not happen")


def courses_of(shop: Shop) -> list[int]:
    """Return the ids of the courses."""
    return sorted(shop.lab.site.courses.keys() - {1})


def same(shop: Open, story: Story, shards: int = 3, **values: Any) -> list[Result]:
    """Tell a story to one process and to several workers, compare, and return the results of the latter."""
    alone, together = shop("alone", **values), shop("together", **values)
    expected = run_virtually(story(alone, 0))
    found = run_virtually(story(together, shards))
    assert [counted(one) for one in expected] == [counted(one) for one in found]
    assert cases(alone) == cases(together)
    assert books(alone) == books(together)
    return [one for one in found if one is not None]


# --- the same as one process ------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [2, 6])
def test_load_and_changes(shop: Open, shards: int) -> None:
    """First load, no change, and changes of people, grades and enrolments lead to the same everywhere."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards), await run(shop, shards)]
        site, courses = shop.lab.site, courses_of(shop)
        someone, new = max(site.members_of(courses[2])), site.add_user("Firstnew", "Lastnew")
        site.update_user(someone, city="Kisumu")
        site.enrol(courses[0], new)
        site.enrol(courses[5], new)
        site.suspend_enrolment(courses[1], max(site.members_of(courses[1])))
        return [*results, await run(shop, shards), await run(shop, shards)]

    first, second, third, fourth = same(shop, story, shards)
    assert written(first)["created"] > 40
    assert ({}, {}) == (written(second), written(fourth))
    assert {"created": 3, "updated": 2} == written(third)
    assert [(number, 1, "completed") for number in range(1, shards + 1)] == [
        (one["number"], one["begun"], one["state"]) for one in first.shards
    ]


def test_a_course_list_that_moodle_cannot_show(shop: Open) -> None:
    """One of them is not read, and nobody is missing there; it is looked for once, not in each shard."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        site, courses = shop.lab.site, courses_of(shop)
        teacher = min(site.members_of(courses[1]))
        site.update_user(teacher, lastname="<Trainer")
        site.update_user(max(site.members_of(courses[0])), city="Kisumu")
        site.unenrol(courses[2], max(site.members_of(courses[2])))
        results += [await run(shop, shards), await run(shop, shards)]
        site.update_user(teacher, lastname="Trainer")
        return [*results, *[await run(shop, shards) for _ in range(3)]]

    _, second, third, *_, last = same(shop, story)
    assert ["degraded", "degraded", "completed"] == [one.state for one in (second, third, last)]
    assert [8 + 3, 8 + 3, 1 + 3] == [one.requests["moodle"][COURSES] for one in (second, third, last)]
    assert [3] == [number for number, one in second.courses.items() if one.state == "failed"]
    assert ({}, []) == (written(last), last.messages)


def test_a_teacher_whose_name_breaks_during_a_round(shop: Open) -> None:
    """The course counts as not read in its shard, and says why; the others of the shard go on."""
    made = shop()
    run_virtually(made.round(2))
    course = courses_of(made)[0]

    async def story() -> Result | None:
        opening = asyncio.create_task(made.round(2, helpers=False))
        await until(made.store.round_under_way)
        made.lab.site.update_user(min(made.lab.site.members_of(course)), lastname="<Trainer")
        return await opening

    result = run_virtually(story())
    assert result is not None
    assert {course: NOT_SHOWN} == {n: one.reason for n, one in result.courses.items() if one.state == "failed"}


def test_a_custom_field_of_a_course_in_another_shard(shop: Open) -> None:
    """A course without it has it blank there as well: it is kept out, not held back."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        shop.lab.site.courses[courses_of(shop)[0]]["customfields"] = {"zone": "A"}
        shop.lab.edit("enrolment", "include:\n", "include:\n  - {source: course.profile.zone, is: A}\n")
        return [await run(shop, shards), await run(shop, shards)]

    assert [("completed", {})] * 2 == [(one.state, dict(one.reasons)) for one in same(shop, story, 6)]


def test_an_account_that_moodle_cannot_show(shop: Open) -> None:
    """Its courses go on in their shards, nobody is missing there, and it is told as one process tells it."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        site, courses = shop.lab.site, courses_of(shop)
        somebody, leaver = sorted(site.members_of(courses[0]))[2:4]
        site.update_user(somebody, firstname="A<b")
        site.update_user(max(site.members_of(courses[0])), city="Kisumu")
        site.unenrol(courses[0], leaver)
        results += [await run(shop, shards), await run(shop, shards)]
        site.update_user(somebody, firstname="First")
        return [*results, await run(shop, shards), await run(shop, shards)]

    results = same(shop, story)
    assert ["completed", "degraded", "degraded", "completed", "completed"] == [str(one.state) for one in results]
    assert [0, 0, 0, 0] == [written(one).get("marked_left", 0) for one in results[:4]]
    assert written(results[4])["marked_left"]


@pytest.mark.parametrize("deadly", [{}, {2: 9}])
def test_no_two_requests_have_one_number(shop: Open, deadly: dict[int, int]) -> None:
    """Run and number name one request, in CommCare's log as in ours, also of a shard that was begun twice."""
    made = shop("together")
    made.deadly = deadly
    run_virtually(made.round(3))
    told = [form.user_agent.split("batch=")[1] for form in made.lab.project.forms if "batch=" in form.user_agent]
    assert len(told) > 3
    assert len(told) == len(set(told))
    assert {number // (TRIES * PER_TRY) for number in (origin(name).batch for name in told)} >= {0, 1, 2, 3}
    assert numbered_from(100, 99) + PER_TRY < 2**31


def test_each_course_is_read_in_one_shard() -> None:
    """The shards of a round have each course once, in shares of about as many people."""
    found = share_out({2: 12, 3: 3, 4: 9, 5: 5, 6: 7, 7: 4}, 3)
    assert [2, 3, 4, 5, 6, 7] == sorted(course for courses in found.values() for course in courses)
    assert {1: [2, 3], 2: [4, 7], 3: [5, 6]} == found
    assert {1: [2], 2: [3]} == share_out({2: 1, 3: 1}, 9)
    assert {} == share_out({}, 2)


LOOSE = f"{PROJECT}guards: {{leavers_people: 3, run_cases: 4, run_percent: 1}}\n"


def test_guards_count_over_all_shards(shop: Open) -> None:
    """Leavers that are few in each course and many together are asked about, confirmed once, and then marked."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        for course in courses_of(shop):
            shop.lab.site.unenrol(course, max(shop.lab.site.members_of(course)))
        results += [await run(shop, shards), await run(shop, shards)]
        waiting = people_asked(shop.store, LEAVERS.refused)
        confirm(shop.store, None, sum(waiting.values()))
        return [*results, await run(shop, shards), await run(shop, shards)]

    results = same(shop, story, project=LOOSE)
    assert ["completed", "completed", "waiting", "completed", "completed"] == [str(one.state) for one in results]
    assert [0, 0, 0, 6 + 1, 0] == [written(one).get("marked_left", 0) for one in results]


def test_empty_courses_of_several_shards(shop: Open) -> None:
    """Nobody is in two courses any more, each of another shard: it is told once, and asked about as ever."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        for course in courses_of(shop)[:2]:
            for person in [*shop.lab.site.members_of(course)]:
                shop.lab.site.unenrol(course, person)
        return [*results, await run(shop, shards), await run(shop, shards)]

    alone, together = run_virtually(story(shop("one"), 0)), same(shop, story, shards=6)
    messages = [one.messages for one in alone if one is not None]
    assert ["completed", "degraded", "waiting"] == [str(one.state) for one in together]
    assert (messages, [0, 1, 2]) == ([one.messages for one in together], [len(told) for told in messages])
    assert all("Moodle shows nobody there any more" in message for message in messages[2])


def test_a_few_leavers_of_one_course(shop: Open) -> None:
    """Who left one course and is in another stays a person; who left all of them does not."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        site, courses = shop.lab.site, courses_of(shop)
        for course in (courses[0], courses[5]):  # whose last one is in no other course, and in others
            site.unenrol(course, max(site.members_of(course)))
        return [*results, *[await run(shop, shards) for _ in range(3)]]

    results = same(shop, story)
    assert [0, 0, 2 + 1, 0] == [written(one).get("marked_left", 0) for one in results]


def test_a_course_that_fails(shop: Open) -> None:
    """A course that Moodle does not give is named, and changes nothing for the others."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        courses = courses_of(shop)
        shop.lab.denied = {courses[3]}
        shop.lab.site.unenrol(courses[0], max(shop.lab.site.members_of(courses[0])))
        results += [await run(shop, shards) for _ in range(3)]
        shop.lab.denied = set()
        return [*results, await run(shop, shards), await run(shop, shards)]

    results = same(shop, story)
    assert ["completed", *["degraded"] * 3, *["completed"] * 2] == [str(one.state) for one in results]


def test_a_deleted_account_of_a_hidden_course(shop: Open) -> None:
    """Who opens the round asks Moodle about those whom no course shows: they are marked, there as well."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        site, hidden = shop.lab.site, courses_of(shop)[0]
        person = max(site.members_of(hidden))
        site.courses[hidden]["visible"] = 0
        site.delete_user(person)
        return [*results, *[await run(shop, shards) for _ in range(3)]]

    results = same(shop, story)
    assert [0, 0, 2, 0] == [written(one).get("marked_left", 0) for one in results]


def test_people_kept_out(shop: Open) -> None:
    """Who is kept out is withdrawn, with the children in all shards, and comes back whole."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        shop.lab.site.add_profile_field("consent")
        for person in list(shop.lab.site.users):
            shop.lab.site.update_user(person, profile={"consent": "yes"})
        shop.lab.edit("student", ROLES, f'{ROLES}  - {{source: profile.consent, is_not: "no"}}\n')
        text = (shop.lab.mappings / "student.yaml").read_text()
        shop.lab.edit("student", text[text.index("\ntests:") :], "\n")
        shop.lab.edit("grade_item", "enabled: false", "enabled: true")
        results = [await run(shop, shards)]
        people = sorted(shop.lab.site.members_of(courses_of(shop)[0]))[2:4]
        for answer in ("no", "yes"):
            for person in people:
                shop.lab.site.update_user(person, profile={"consent": answer})
            results += [await run(shop, shards), await run(shop, shards)]
        return results

    results = same(shop, story)
    assert results[1].of("student").withdrawn == 2
    assert results[1].of("enrolment").withdrawn > 2
    assert [0, 0] == [results[number].of("student").withdrawn for number in (2, 4)]


def test_what_is_agreed_to_is_shared(shop: Open) -> None:
    """People agree that so many lose a value: all shards together take no more than that."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        city = "  city: {source: user.city, personal: true}\n"
        shop.lab.edit("enrolment", "\nproperties:\n", f"\nproperties:\n{city}")
        results = [await run(shop, shards)]
        for person in list(shop.lab.site.users)[10:]:
            shop.lab.site.update_user(person, city="")
        results += [await run(shop, shards)]
        refused = people_asked(shop.store, REFUSED_BLANKS)
        for what, people in refused.items():
            confirm_blanks(shop.store, *what.split(" "), people)
        return [*results, await run(shop, shards), await run(shop, shards)]

    results = same(shop, story)
    assert ["completed", "waiting", "completed", "completed"] == [str(one.state) for one in results]


def test_a_field_that_nobody_shows_is_one_question(shop: Open) -> None:
    """What was asked about in several shards is asked once, names the field, and is emptied after one word."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        city = "  town: {source: user.city, personal: true}\n"
        shop.lab.edit("enrolment", "\nproperties:\n", f"\nproperties:\n{city}")
        results = [await run(shop, shards)]
        for person in list(shop.lab.site.users):
            shop.lab.site.update_user(person, city="")
        for _ in range(2):
            results.append(await run(shop, shards))
            for what, people in people_asked(shop.store, REFUSED_BLANKS).items():
                confirm_blanks(shop.store, *what.split(" "), people)
        return [*results, await run(shop, shards), await run(shop, shards)]

    results = same(shop, story)
    assert ["completed", "waiting", "waiting", "completed", "completed"] == [str(one.state) for one in results]
    for result, name in ((results[1], "town (mapping enrolment)"), (results[2], "city (mapping student)")):
        (message,) = result.messages
        assert "Nobody's profile shows city any more" in message
        assert name in message


def test_edits_and_intervals(shop: Open) -> None:
    """An edit is told once and read for; what was read a short while ago is not read again."""

    async def story(shop: Shop, shards: int) -> list[Result | None]:
        results = [await run(shop, shards)]
        shop.lab.edit("enrolment", "\nproperties:\n", '\nproperties:\n  campaign: {value: "autumn"}\n')
        return [*results, await run(shop, shards), await run(shop, shards), await run(shop, shards, full=True)]

    results = same(shop, story, project=f"{PROJECT}intervals: {{people: 24, enrolments: 24, grades: 24}}\n")
    assert [False, True, False, False] == [bool(one.edits) for one in results]
    assert ["enrolment", "student"] == sorted(results[2].not_due)


def test_a_first_run_waits_for_approval(shop: Open) -> None:
    """The plan of a first run is shown, nothing is sent, and no round is opened."""
    made = shop()
    result = run_virtually(made.round(yes=False))
    assert result is not None
    assert ("waiting", 0, []) == (result.state, len(made.lab.project.cases), made.ended)


def test_requests_of_a_round(shop: Open) -> None:
    """A round costs what one run costs, and per other worker two more and its rosters once again."""
    alone, together = shop("alone"), shop("together")
    one, many = run_virtually(alone.once()), run_virtually(together.round(2))
    assert one is not None
    assert many is not None
    assert (1 + 2, 1 + 2) == tuple(many.requests["moodle"][name] for name in (SITE_INFO, COURSES))
    names = ("gradereport_user_get_grade_items", "core_user_get_users_by_field")
    assert [one.requests["moodle"][name] for name in names] == [many.requests["moodle"][name] for name in names]
    theirs = next(row["courses"] for row in many.shards if row["number"] == 2)
    assert one.requests["moodle"][ENROLLED] + 3 * theirs == many.requests["moodle"][ENROLLED]


# --- what cannot be shared --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [Options(courses=(2,)), Options(preview=True)])
def test_what_cannot_be_shared(shop: Open, options: Options) -> None:
    """A run for some courses and a preview are for one process."""
    worker = shop().worker(0)
    with pytest.raises(UsageError, match="not shared"):
        run_virtually(sync_round(worker.world, options, 2))


def test_no_more_shards_than_the_limits_allow(shop: Open) -> None:
    """Six requests in flight cannot be shared by seven workers."""
    worker = shop().worker(0)
    with pytest.raises(UsageError, match=r"7 shards are too many: .* shared by 6"):
        run_virtually(sync_round(worker.world, Options(), 7))


def test_the_limits_are_shared(shop: Open) -> None:
    """Each worker of a round has its part of what may be in flight, and the opener all of it at the end."""
    made, slots = shop(), dict[str, int]()

    def look() -> None:
        for worker in made.workers:
            slots[worker.name] = max(worker.world.moodle._pace._slots._ceiling, slots.get(worker.name, 0))
        assert sum(worker.busy for worker in made.workers) <= 6 + 4

    made.looks.append(look)
    run_virtually(made.round(3))
    assert {"worker 0": 6, "worker 2": 2, "worker 3": 2} == slots
    assert 6 == made.workers[0].world.moodle._pace._slots._ceiling


# --- one shard, several workers ---------------------------------------------------------------------------


def test_two_workers_take_one_shard(shop: Open) -> None:
    """The second one leaves it alone while the first is at work, and finds it done afterwards."""
    made, results = shop(), list[Result | None]()

    async def story() -> None:
        opening = asyncio.create_task(made.round(2))
        round_id = await until(made.store.round_under_way)
        for wait in (2.0, 0.0):
            await asyncio.sleep(wait)
            results.append(await made.work(2, round_id))
        await opening
        results.append(await made.work(2, round_id))

    run_virtually(story())
    assert ["postponed"] * 3 == [str(one.state) for one in results if one]
    assert "Another worker is at work on shard 2" in " ".join(results[0].messages if results[0] else ())
    assert "round is over" in " ".join(results[2].messages if results[2] else ())
    assert [(2, "completed")] == [(number, str(one.state)) for number, one in made.ended if one]


def test_who_opens_does_what_nobody_does(shop: Open) -> None:
    """Without other workers all shards are done by one process, each once, and late workers find nothing."""
    made = shop()
    result = run_virtually(made.round(3, helpers=False))
    assert result is not None
    assert [(1, 1), (2, 1), (3, 1)] == [(row["number"], row["begun"]) for row in result.shards]
    late = shop("late")
    late.late = 3000.0
    result = run_virtually(late.round(3))
    assert ["postponed", "postponed"] == [str(one.state) for _, one in late.ended if one]
    assert result is not None
    assert ("completed", [1, 1, 1]) == (result.state, [row["begun"] for row in result.shards])


def test_others_are_waited_for(shop: Open) -> None:
    """Workers that take a while to start find their shards free, those that take too long do not."""
    made = shop()
    made.late = 90.0
    for patience, expected in ((120.0, "completed"), (30.0, "postponed")):
        result = run_virtually(made.round(2, patience=patience))
        assert result is not None
        assert ("completed", [1, 1]) == (result.state, [row["begun"] for row in result.shards])
        assert expected == str(made.ended[-1][1].state if made.ended[-1][1] else "")


def test_a_worker_that_dies(shop: Open) -> None:
    """Its shard is taken over when its lease has run out, and the next run finishes what was in doubt."""
    alone, made = shop("alone"), shop("together")
    made.deadly = {2: 9}
    first = run_virtually(made.round(2))
    assert first is not None
    assert [(1, 1, "completed"), (2, 2, "completed")] == [
        (row["number"], row["begun"], row["state"]) for row in first.shards
    ]
    assert 1 == made.deaths
    run_virtually(made.round(2))
    run_virtually(alone.once())
    run_virtually(alone.once())
    assert cases(alone) == cases(made)
    assert books(alone) == books(made)


def test_what_goes_wrong_on_one_machine(shop: Open) -> None:
    """A worker that does not get to Moodle puts its shard back, and the one that opened the round does it."""
    made = shop()
    made.cut_off = "worker 2"
    result = run_virtually(made.round(2))
    assert result is not None
    assert ("completed", 2) == (result.state, result.shards[1]["begun"])
    assert [(2, "postponed")] == [(number, str(one.state)) for number, one in made.ended if one]


def test_who_opened_dies(shop: Open) -> None:
    """The shards at work go on to their end; nobody else begins before that, and then the next run does it all."""
    alone, made = shop("alone"), shop("together")
    results = list[Result | None]()

    async def story() -> None:
        opening = asyncio.create_task(made.round(2))
        await until(lambda: made.store.round_under_way() and len(made.workers) > 1)
        made.workers[0].dies_at = made.workers[0].served + 2  # in its own shard
        await until(lambda: made.deaths)
        results.append(await made.once(apart=0.0))
        await opening
        results.append(await made.once())

    run_virtually(story())
    for _ in range(2):
        run_virtually(alone.once())
    run_virtually(made.once())
    assert ["postponed", "completed"] == [str(one.state) for one in results if one]
    assert cases(alone) == cases(made)


def test_a_worker_that_froze_writes_nothing(shop: Open) -> None:
    """A worker whose lease ran out while it was frozen sends nothing, checks nothing off, and says so."""
    made = shop()
    made.frozen = {2: (9, 4000.0)}
    first = run_virtually(made.round(2))
    assert first is not None
    assert ("completed", 2) == (first.state, first.shards[1]["begun"])
    ((number, late),) = made.ended
    assert late is not None
    assert (2, "failed") == (number, late.state)
    assert "lease was lost" in " ".join(late.messages)
    assert [] == [worker for worker, at in made.wrote if worker == "worker 2" and at > made.thawed]


def test_moodle_closes_in_the_middle(shop: Open) -> None:
    """The round is postponed, shards that were not begun are not, and the next run catches up."""
    made, alone = shop(), shop("alone")

    def close_it() -> None:
        is_on = bool(made.store.round_under_way()) and len(made.lab.project.forms) > 1
        made.lab.site.maintenance = "web" if is_on else ""

    made.looks.append(close_it)
    result = run_virtually(made.round(3))
    assert result is not None
    assert ("postponed", 0) == (result.state, written(result).get("marked_left", 0))
    made.looks.clear()
    made.lab.site.maintenance = ""
    for _ in range(2):
        run_virtually(made.round(3))
        run_virtually(alone.once())
    assert cases(alone) == cases(made)


def test_the_mappings_must_be_the_same(shop: Open) -> None:
    """A machine with other mappings takes no shard; the others do its work."""
    made = shop()

    async def story() -> Result | None:
        opening = asyncio.create_task(made.round(2, helpers=False))
        round_id = await until(made.store.round_under_way)
        worker = made.worker(2)
        worker.world.project = replace(worker.world.project, revision="another")
        with pytest.raises(UsageError, match="not those of the round"):
            await sync_shard(worker.world, round_id, 2)
        return await opening

    result = run_virtually(story())
    assert result is not None
    assert ("completed", [1, 1]) == (result.state, [row["begun"] for row in result.shards])


@pytest.mark.parametrize(("part", "name"), [("sweep", "lacked"), ("withdrawals", "held_back"), ("", "partly")])
def test_a_worker_of_an_older_version(shop: Open, monkeypatch: pytest.MonkeyPatch, part: str, name: str) -> None:
    """What it tells lacks something: nobody is gone because of it, and the next run of one version catches up."""
    made = shop()
    run_virtually(made.round(2))
    (course, *_) = courses_of(made)
    made.lab.site.unenrol(course, [*made.lab.site.members_of(course)][-1])
    run_virtually(made.round(2))

    def tell(run: Run) -> dict[str, Any]:
        found = told(run)
        del (found[part] if part else found)[name]
        return found

    with monkeypatch.context() as older:
        older.setattr("flows.shard.told", tell)
        result = run_virtually(made.round(2))
    assert result is not None
    assert ("degraded", 0) == (result.state, written(result).get("marked_left", 0))
    assert "another version" in " ".join(result.messages)
    result = run_virtually(made.round(2))
    assert result is not None
    assert ("completed", 2) == (
        result.state,
        written(result)["marked_left"],
    )  # the course was the person's only one


def test_a_round_of_another_version_is_left_alone(shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is not told all it has to know takes no shard; the others do its work."""
    made = shop()

    async def story() -> Result | None:
        opening = asyncio.create_task(made.round(2, helpers=False))
        round_id = await until(made.store.round_under_way)
        worker = made.worker(2)
        opened = dict(made.store.handover(round_id) or {})
        del opened["account"]
        with monkeypatch.context() as older:
            older.setattr(worker.world.books.store, "handover", lambda _: opened)
            with pytest.raises(UsageError, match="Another version"):
                await sync_shard(worker.world, round_id, 2)
        return await opening

    result = run_virtually(story())
    assert result is not None
    assert ("completed", [1, 1]) == (result.state, [row["begun"] for row in result.shards])


def test_nothing_of_a_round_stays(shop: Open) -> None:
    """The books hold a round only while it lasts, and never a value of a person."""
    made, seen = shop(), list[str]()

    def look() -> None:
        handover = made.store.handover(made.store.round_under_way())
        shards = made.store.shards(made.store.round_under_way(), made.clock.now(), made.ttl)
        seen.append(f"{handover} {[row.outcome for row in shards]}")

    made.looks.append(look)
    run_virtually(made.round(2))
    assert any("'well': True" in text for text in seen)
    assert not [text for text in seen if "First" in text or "Last" in text or "0722" in text or "Bondo" in text]
    assert ("", None) == (made.store.round_under_way(), made.store.handover("x"))


# --- chance -----------------------------------------------------------------------------------------------

SEEDS = int(os.environ.get("ROUND_WALKS", "6"))  # a few hundred find what there is to find


def test_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever dies, freezes and changes: in the end CommCare is as Moodle is, nothing doubled or lost."""
    deaths = rounds = 0
    for seed in range(SEEDS):
        made = Shop(tmp_path / str(seed), small_school(), seed, project=FREE)
        try:
            rounds += run_virtually(walk(made))
        finally:
            made.close()
        deaths += made.deaths
    with capsys.disabled():
        print(f"\nrounds: {SEEDS} walks, {rounds} rounds, {deaths} deaths")  # noqa: T201
    assert deaths > SEEDS / 2


FREE = f"{PROJECT}guards: {{leavers_people: 1000, run_cases: 1000}}\n"


def small_school() -> FakeSite:
    """Make three courses of a few people."""
    site = FakeSite()
    people = [site.add_user(f"First{n}", f"Last{n}", city="Bondo") for n in range(8)]
    for number in range(3):
        course = site.add_course(f"C{number}", f"Course {number}")
        for person in people[number : number + 4]:
            site.enrol(course, person)
    return site


async def walk(shop: Shop) -> int:
    """Change Moodle and let workers die for a few rounds, then come to rest and compare; returns the rounds."""
    chance, rounds = shop.chance, 0
    for _ in range(3):
        for _ in range(chance.randrange(4)):
            change(shop)
        shop.deadly = {n: chance.randrange(1, 25) for n in range(3) if chance.random() < 0.5}
        freezes = {2: (chance.randrange(1, 12), chance.choice((100.0, 2000.0)))}
        shop.frozen = freezes if chance.random() < 0.2 else {}
        shop.late = chance.choice((0.0, 5.0, 60.0))
        apart = chance.choice((700.0, 3600.0))
        await run(shop, chance.choice((0, 2, 2, 3)), apart=apart)
        rounds += 1
    shop.deadly, shop.frozen, silent = {}, {}, 0
    for _ in range(10):
        result = await shop.round(chance.choice((2, 3)))
        rounds += 1
        assert result is not None
        assert "completed" == result.state, result.messages
        silent = silent + 1 if not written(result) and "write" not in result.requests["commcare"] else 0
        if silent == 2:
            break
    assert silent == 2, "the rounds do not come to rest"
    shop.lab.project.add_group(PARKING)
    expected = Expected(shop.lab)
    there = expected.cases()
    assert {} == {key: fault for key, case in there.items() if (fault := expected.differs(key, case))}
    assert not expected.drafts.keys() - there.keys()
    assert not shop.store.intents()
    return rounds


def change(shop: Shop) -> None:
    """Change something in Moodle."""
    chance, site = shop.chance, shop.lab.site
    course = chance.choice(courses_of(shop))
    members = sorted(site.members_of(course))
    people = [number for number, user in sorted(site.users.items()) if user.firstname.startswith("First")]
    kind = chance.randrange(4)
    if kind == 0 and len(members) > 1:
        site.unenrol(course, chance.choice(members))
    elif kind == 1:
        site.enrol(course, chance.choice([person for person in people if person not in members] or people))
    elif kind == 2:
        site.update_user(chance.choice(members), city=f"Town {chance.randrange(9)}")
    else:
        site.suspend_enrolment(course, chance.choice(members), suspended=chance.random() < 0.5)


def test_a_round_is_of_the_day_on_which_it_began() -> None:
    """A shard that is begun after midnight makes of a date what the others made of it."""
    opened, later = (Context("test", "https://moodle.example.org", today=date(2026, 11, day)) for day in (29, 30))
    handover = Handover(("student",), True, "r", "2026-11-29", (), (), account=2)
    assert opened == handover.context(later)
