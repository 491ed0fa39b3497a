"""First runs that nobody has approved: how often Moodle is read for their plan, and what has it read at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.confirm import confirm_existing, confirm_first_run
from flows.needs import needs
from flows.result import Result
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
HOUR = 3600.0
DAY = 24 * HOUR
DAILY = "{people: 24, enrolments: 24, grades: 24}"
BEGUN = "language: 1\n"


def new(make_lab: MakeLab, intervals: str = DAILY) -> Lab:
    """Return a lab with intervals whose first runs nobody has approved."""
    return make_lab(site_of(3)[0], project=f"{PROJECT}intervals: {intervals}\n")


async def scheduled(lab: Lab, later: float = HOUR, **options: Any) -> Result:
    """Run as the schedule does: nobody is there to say yes."""
    return await lab.sync(later=later, **{"yes": False, **options})


async def looks(lab: Lab, runs: int) -> list[bool]:
    """Run each hour; say of each run whether it read Moodle. Each of them waits, and names the commands."""
    found = []
    for _ in range(runs):
        result = await scheduled(lab)
        assert ("waiting", {}) == (result.state, written(result) if not result.plan else {})
        assert all(need.command in " ".join(result.messages) for need in needs(lab.store))
        found.append(bool(result.requests["moodle"]))
    return found


async def test_a_plan_is_made_once_in_its_interval(make_lab: MakeLab) -> None:
    """Each run says what waits and how it is approved; Moodle is read for it once a day."""
    lab = new(make_lab)
    assert [True] + [False] * 5 == await looks(lab, 6)
    lab.clock.advance(DAY - 6 * HOUR)
    assert [True, False] == await looks(lab, 2)
    assert {} == lab.project.cases


async def test_without_intervals_each_run_looks(make_lab: MakeLab) -> None:
    """Nobody asked for more rest than the schedule gives."""
    lab = make_lab(site_of(3)[0])
    assert [True, True] == await looks(lab, 2)


async def test_all_first_runs_are_looked_at_together(make_lab: MakeLab) -> None:
    """One of them has no interval: what its cases belong to is planned with it."""
    lab = new(make_lab, "{people: 24}")
    await looks(lab, 1)
    result = await scheduled(lab)
    assert {"student": 3, "enrolment": 3} == result.plan["new_cases"]


async def test_an_approval_is_heard_by_the_next_run(make_lab: MakeLab) -> None:
    """What was approved is looked at once more and sent; then the intervals count as ever."""
    lab = new(make_lab)
    await looks(lab, 3)
    confirm_first_run(lab.store, "", 6)
    assert {"created": 6} == written(await scheduled(lab))
    assert ["student", "enrolment"] == (await scheduled(lab)).not_due


async def test_what_has_grown_is_asked_about_again(make_lab: MakeLab) -> None:
    """Many came since the plan: nothing is sent, the new number waits, and is sent when that is approved."""
    lab = new(make_lab)
    await looks(lab, 2)
    confirm_first_run(lab.store, "", 6)
    for number in range(9):
        lab.site.enrol(2, lab.site.add_user(f"New{number}", "Comer"))
    assert [True, False] == await looks(lab, 2)
    assert {} == lab.project.cases
    confirm_first_run(lab.store, "", 24)
    assert {"created": 24} == written(await scheduled(lab))


@pytest.mark.parametrize("file", ["student", "project"])
async def test_an_edit_is_looked_at_at_once(make_lab: MakeLab, file: str) -> None:
    """Any file of the mappings: the plan that waits is that of the files as they are."""
    lab = new(make_lab)
    await looks(lab, 2)
    lab.edit(file, BEGUN, f"{BEGUN}# Looked through.\n")
    assert [True, False] == await looks(lab, 2)


@pytest.mark.parametrize("options", [{"full": True}, {"attended": True}])
async def test_who_asks_sees_the_plan(make_lab: MakeLab, options: dict[str, bool]) -> None:
    """With `--full`, and at a terminal, where the plan is shown and put to the vote."""
    lab = new(make_lab)
    await looks(lab, 2)
    result = await scheduled(lab, **options)
    assert ("waiting", {"student": 3, "enrolment": 3}) == (result.state, result.plan["new_cases"])


async def test_who_says_yes_is_not_put_off(make_lab: MakeLab) -> None:
    """`sync --yes` sends, however new the plan is."""
    lab = new(make_lab)
    await looks(lab, 2)
    assert {"created": 6} == written(await lab.sync())


async def in_the_way(make_lab: MakeLab) -> tuple[Lab, str]:
    """Return a lab whose first runs wait for a word about a case that is there: lab, that case."""
    lab = new(make_lab)
    case = lab.project.add_case("student", "Somebody", owner_id="supervisor")
    assert [True, False, False] == await looks(lab, 3)
    assert 2 == len(needs(lab.store))
    return lab, case.case_id


async def test_existing_cases_are_asked_about_in_between(make_lab: MakeLab) -> None:
    """They are told each hour without Moodle; both words together have the next run send."""
    lab, _ = await in_the_way(make_lab)
    confirm_existing(lab.store, "student", 1)
    confirm_first_run(lab.store, "", 6)
    assert {"created": 6} == written(await scheduled(lab))


async def test_existing_cases_that_are_taken_away(make_lab: MakeLab) -> None:
    """What is put right in CommCare is seen by the next run."""
    lab, case_id = await in_the_way(make_lab)
    lab.project.delete_case(case_id)
    assert (await scheduled(lab)).requests["moodle"]
    confirm_first_run(lab.store, "", 6)
    assert {"created": 6} == written(await scheduled(lab))


async def test_a_new_mapping_beside_others(make_lab: MakeLab) -> None:
    """It is planned once in its interval, also where the others rest; those go on in theirs."""
    lab = new(make_lab)
    lab.edit("enrolment", BEGUN, f"{BEGUN}enabled: false\n")
    await lab.sync()
    lab.edit("enrolment", f"{BEGUN}enabled: false\n", BEGUN)
    assert [True, False, False] == await looks(lab, 3)
    lab.site.update_user(next(iter(lab.site.members_of(2))), city="Bondo")
    result = await scheduled(lab, later=DAY)
    assert ("waiting", {"updated": 1}) == (result.state, written(result))
    confirm_first_run(lab.store, "enrolment", 3)
    assert {"created": 3} == written(await scheduled(lab))


async def test_a_plan_that_lacks_a_course_is_made_again(make_lab: MakeLab) -> None:
    """Three times at once, since the course may be there by then; not each hour for good."""
    site, courses, _ = site_of(3, 3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {DAILY}\n")
    lab.denied = {courses[0]}
    assert [True] * 4 + [False] * 2 == await looks(lab, 6)
    lab.denied = set()
    lab.clock.advance(DAY)
    assert [True, False] == await looks(lab, 2)
