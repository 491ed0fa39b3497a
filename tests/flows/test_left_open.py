"""What a read leaves open voids an interval a few times only, and is read for at once when it can be put right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.confirm import confirm_term
from flows.errors import UsageError
from flows.problems import list_problems, retry
from flows.steps.due import TRIED
from flows.steps.left_open import OWNERS
from tests.flows.rounds import Shop
from tests.flows.test_sync import site_of
from tests.flows.test_there import forget
from tests.flows.worlds import PROJECT, Lab, written
from tests.virtual_loop import run_virtually

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
HOUR = 3600.0
DAY = 24 * HOUR
ALL = "{people: 24, enrolments: 24, grades: 24}"
CHILDREN = "{enrolments: 24, grades: 24}"
BY_CITY = "  # first_of:\n", "  first_of:\n    - {user: city}\n"
"""Has the owner of a learner go by the city, with no other owner."""


async def synced(make_lab: MakeLab, intervals: str = ALL, courses: int = 1) -> tuple[Lab, list[int], list[int]]:
    """Return a lab with intervals that has run once: lab, courses, learners."""
    site, numbers, learners = site_of(*[3] * courses)
    lab = make_lab(site, project=f"{PROJECT}intervals: {intervals}\n")
    await lab.sync()
    return lab, numbers, learners


async def reads(lab: Lab, runs: int, name: str = "enrolment") -> list[bool]:
    """Run each hour and say of each run whether it read for a mapping."""
    found = []
    for _ in range(runs):
        result = await lab.sync()
        found.append(name not in result.not_due)
    return found


def newcomer(lab: Lab, course: int, **fields: str) -> int:
    """Have somebody new in a course."""
    person: int = lab.site.add_user("Neema", fields.pop("lastname", "New"), **fields)
    lab.site.enrol(course, person)
    return person


# --- for how long ---------------------------------------------------------------------------------------------


async def test_a_record_that_can_never_be_made(make_lab: MakeLab) -> None:
    """An enrolment waits for a learner without a last name: four reads, then one in its interval, at its hour."""
    lab, (course,), _ = await synced(make_lab, "{enrolments: 6, grades: 6}")
    newcomer(lab, course, lastname="")
    assert 1 == (await lab.sync(later=6 * HOUR)).reasons["waits_for_parent"]
    assert [True] * 3 + [False] * 2 + [True] + [False] * 2 == await reads(lab, 8)


async def test_somebody_new_is_waited_for_all_the_same(make_lab: MakeLab) -> None:
    """What is given up is one record: another one that waits has the next runs read again."""
    lab, (course,), _ = await synced(make_lab, CHILDREN)
    newcomer(lab, course, lastname="")
    await lab.sync(later=DAY)
    await reads(lab, 6)
    newcomer(lab, course)
    lab.commcare.fail_next("503")
    await lab.sync(courses=(course,), mappings=("student", "enrolment"), hinted=True)
    assert [True, False] == await reads(lab, 2)
    assert 4 == len(lab.project.of_type("enrolment"))


async def test_an_unanswered_new_term(make_lab: MakeLab) -> None:
    """The course is read again three times; the answer is heard by the next run."""
    lab, courses, _ = await synced(make_lab, ALL, 2)
    lab.site.courses[courses[0]]["startdate"] = int(lab.clock.now()) - 100 * 86_400
    await lab.sync(full=True)
    lab.site.courses[courses[0]]["startdate"] += 90 * 86_400
    assert "waiting" == (await lab.sync(later=DAY)).state
    assert [True] * 3 + [False] * 4 == await reads(lab, 7)
    confirm_term(lab.store, courses[0], same=True)
    result = await lab.sync()
    assert ("completed", "completed") == (result.state, result.courses[courses[0]].state)
    assert [False] == await reads(lab, 1)


async def test_other_courses_have_their_own_tries(make_lab: MakeLab) -> None:
    """One course fails for good: another one that fails once is read again at once."""
    lab, courses, learners = await synced(make_lab, ALL, 2)
    lab.denied = {courses[0]}
    await lab.sync(later=DAY)
    assert [True] * 3 + [False] * 2 == await reads(lab, 5)
    lab.denied = {*courses}
    lab.site.unenrol(courses[1], learners[-1])
    await lab.sync(later=DAY)
    lab.denied = {courses[0]}
    assert [True, False] == await reads(lab, 2)


async def test_tries_of_older_books_are_forgotten(make_lab: MakeLab) -> None:
    """They were counted by mapping: the course that fails has its three tries anew."""
    lab, (course,), _ = await synced(make_lab)
    lab.store.put(TRIED, '{"enrolment": 9}')
    lab.denied = {course}
    await lab.sync(later=DAY)
    assert [True] * 3 + [False] == await reads(lab, 4)


@pytest.mark.parametrize("trouble", ["a course that fails", "a record that waits"])
async def test_hints_void_no_more_than_runs_do(make_lab: MakeLab, trouble: str) -> None:
    """An hourly hint about a course that fails, or holds somebody back, has the site read a few times only."""
    lab, courses, _ = await synced(make_lab, ALL, 2)
    if trouble == "a course that fails":
        lab.denied = {courses[0]}
    else:
        newcomer(lab, courses[0], lastname="")
    found = []
    for _ in range(12):
        await lab.sync(later=HOUR / 2, courses=(courses[0],), hinted=True)
        found.append("enrolment" not in (await lab.sync(later=HOUR / 2)).not_due)
    assert [True] * 2 + [False] * 10 == found


async def test_a_hint_about_a_course_that_can_be_read_again(make_lab: MakeLab) -> None:
    """It begins the tries of that course anew, and of no other one."""
    lab, courses, _ = await synced(make_lab, ALL, 2)
    lab.denied = {*courses}
    await lab.sync(later=DAY)
    await reads(lab, 4)
    lab.denied = {courses[1]}
    await lab.sync(courses=(courses[0],), hinted=True)
    lab.denied = {*courses}
    await lab.sync(courses=(courses[1],), hinted=True)
    assert [False] == await reads(lab, 1)
    await lab.sync(courses=(courses[0],), hinted=True)
    assert [True] == await reads(lab, 1)


def test_in_a_round_too(tmp_path: object) -> None:
    """Shards count with the run that shared the courses out."""
    site, courses, _ = site_of(3, 3)
    shop = Shop(tmp_path, site, 0, project=f"{PROJECT}intervals: {CHILDREN}\n")  # type: ignore[arg-type]
    run_virtually(shop.round(2))
    site.enrol(courses[0], site.add_user("Neema", ""))
    shop.clock.more += DAY
    found = []
    for _ in range(6):
        result = run_virtually(shop.round(2))
        assert result is not None
        found.append("enrolment" not in result.not_due)
        shop.clock.more += HOUR
    shop.close()
    assert [True] * 4 + [False] * 2 == found


# --- put right ------------------------------------------------------------------------------------------------


async def test_a_parent_that_comes_late(make_lab: MakeLab) -> None:
    """The learner gets a last name after half a day: the enrolment follows with the run after, not a day later."""
    lab, (course,), _ = await synced(make_lab, CHILDREN)
    person = newcomer(lab, course, lastname="")
    await lab.sync(later=DAY)
    await reads(lab, 8)
    lab.site.update_user(person, lastname="Otieno")
    assert [1, 1, 0] == [written(await lab.sync()).get("created", 0) for _ in range(3)]
    assert [False] == await reads(lab, 1)


async def test_a_parent_of_a_course_that_is_over_by_now(make_lab: MakeLab) -> None:
    """What was listed there is not read for, though the parent came: only what the last read showed counts."""
    lab, courses, _ = await synced(make_lab, CHILDREN, 2)
    person = newcomer(lab, courses[0], lastname="")
    await lab.sync(later=DAY)
    await reads(lab, 5)
    lab.site.enrol(courses[1], person)
    lab.site.courses[courses[0]]["enddate"] = int(lab.clock.now())
    await lab.sync(later=DAY)
    await reads(lab, 5)
    lab.site.update_user(person, lastname="Otieno")
    assert [False, True, False, False] == await reads(lab, 4)


async def without_owner(make_lab: MakeLab) -> tuple[Lab, int]:
    """Return a lab where nobody can own the case of somebody new, and the intervals count again: lab, person."""
    site, (course,), learners = site_of(3)
    for learner in learners:
        site.update_user(learner, city="East")
    lab = make_lab(site, project=f"{PROJECT}intervals: {ALL}\n")
    lab.project.add_user("east")
    lab.edit("student", *BY_CITY)
    lab.edit("student", "  otherwise: project", "")
    await lab.sync()
    person = newcomer(lab, course, city="Nowhere")
    await lab.sync(later=DAY)
    assert [True] * 3 + [False] == await reads(lab, 4)
    return lab, person


async def test_an_owner_that_is_made(make_lab: MakeLab) -> None:
    """CommCare lists an owner after half a day: the case, and the one below it, are made by the next run."""
    lab, _ = await without_owner(make_lab)
    quiet = [await lab.sync() for _ in range(6)]
    assert [({}, {"owners": 2})] * 6 == [(one.requests["moodle"], one.requests["commcare"]) for one in quiet]
    lab.project.add_user("nowhere")
    assert {"created": 2} == written(await lab.sync())
    result = await lab.sync()
    assert ({}, {}) == (result.requests["moodle"], result.requests["commcare"])


async def test_an_owner_that_is_none_of_ours(make_lab: MakeLab) -> None:
    """Another worker may be the one that was missing: one read tells that he is not."""
    lab, _ = await without_owner(make_lab)
    lab.project.add_user("elsewhere")
    assert [True, False, False] == await reads(lab, 3, "student")
    assert "elsewhere" not in (lab.store.get(OWNERS) or "")


async def test_owners_that_cannot_be_looked_up(make_lab: MakeLab) -> None:
    """CommCare does not answer: the run that has nothing to read goes on, and the next one asks again."""
    lab, _ = await without_owner(make_lab)
    lab.project.add_user("nowhere")
    lab.commcare.fail_next("503", times=50, where="owners")
    result = await lab.sync()
    assert ("completed", ["student", "enrolment"]) == (result.state, result.not_due)
    lab.commcare.faults.clear()
    assert {"created": 2} == written(await lab.sync())


async def test_a_retry_reads_again_what_is_held_back(make_lab: MakeLab) -> None:
    """A city was put right in Moodle, and nobody wants to wait for the interval: the next run makes the case."""
    lab, person = await without_owner(make_lab)
    lab.site.update_user(person, city="East")
    told = retry(lab.store, lab.clock.now(), key=f"test-user-{person}")
    assert told == (
        "1 record held back, not refused: the next run reads Moodle for student again, whatever the intervals say."
    )
    assert [1, 1, 0] == [written(await lab.sync()).get("created", 0) for _ in range(3)]
    with pytest.raises(UsageError, match="No refused record"):
        retry(lab.store, lab.clock.now(), reason="owner_unresolved")


async def test_an_edit_is_read_for_whatever_was_given_up(make_lab: MakeLab) -> None:
    """The mapping gets another owner: the next run makes the case."""
    lab, _ = await without_owner(make_lab)
    lab.edit("student", "  first_of:\n", "  otherwise: project\n  first_of:\n")
    assert [1, 1, 0] == [written(await lab.sync()).get("created", 0) for _ in range(3)]


@pytest.mark.parametrize("people", [1, 7])
async def test_two_cases_with_one_key(make_lab: MakeLab, people: int) -> None:
    """Somebody takes the second case away after half a day: the next run goes on with the first one."""
    site, _, learners = site_of(10)
    lab = make_lab(site, project=f"{PROJECT}intervals: {ALL}\n")
    await lab.sync()
    twice = [
        lab.project.add_case("student", "Theirs", owner_id="x", external_id=f"test-user-{one}")
        for one in learners[:people]
    ]
    forget(lab, "lost")
    await lab.sync(later=DAY)
    assert [True] * 3 + [False] * 3 == await reads(lab, 6, "student")
    for case in twice:
        lab.project.delete_case(case.case_id)
    assert [True, False] == await reads(lab, 2, "student")
    assert [] == list_problems(lab.store)


@pytest.mark.parametrize("people", [1, 7])
async def test_a_key_that_is_somebody_elses(make_lab: MakeLab, people: int) -> None:
    """A case of another type with our key stays: that voids no interval for ever either."""
    site, _, learners = site_of(10)
    lab = make_lab(site, project=f"{PROJECT}intervals: {ALL}\n")
    await lab.sync()
    for one in learners[:people]:
        mine = lab.case(f"test-user-{one}")
        lab.project.add_case("clinic", "Theirs", owner_id="x", external_id=mine.external_id)
        lab.project.save(mine)  # the other one stands first in the search
    forget(lab, "lost")
    await lab.sync(later=DAY)
    assert [True] * 3 + [False] * 3 == await reads(lab, 6, "student")
