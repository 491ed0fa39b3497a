"""A preview counts what the next run does: of new terms, merged people, other owners, and other roles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.confirm import confirm_term
from flows.merge import merge
from flows.preview import Preview, preview
from flows.result import Result
from flows.steps.merged import unmarked
from flows.sync import Options
from flows.world import World
from tests.flows.test_departures import consenting
from tests.flows.test_person import on
from tests.flows.test_sync import site_of
from tests.flows.test_terms import reset, statuses
from tests.flows.test_unsure import courses_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]


async def seen(lab: Lab) -> Preview:
    """Return a preview, as a new process makes it."""

    async def look(world: World, limit: int) -> Preview:
        return await preview(world, Options(preview=True), limit)

    found: Preview = await on(lab, look, 5)
    return found


async def counted_alike(lab: Lab) -> Result:
    """Compare a preview with the run after it, which it has to leave to do everything; return the run's result."""
    forms = len(lab.project.forms)
    found = await seen(lab)
    assert forms == len(lab.project.forms)
    result = await lab.sync()
    assert {name: vars(counts) for name, counts in result.cases.items()} == {
        name: vars(counts) for name, counts in found.result.cases.items()
    }
    assert ({}, []) == (dict(+found.missing), found.stops)
    return result


@pytest.mark.parametrize("children", [False, True])
async def test_a_term_that_was_confirmed(make_lab: MakeLab, *, children: bool) -> None:
    """The cases of the old term are ended and those of the new one made, with what is under them."""
    lab, course, people = await reset(make_lab)
    if children:
        lab.edit("grade_item", "enabled: false\n", "")
        item = lab.site.set_grade_item(course, "Quiz")
        for person in (people[0], people[-1]):
            lab.site.grade(item, person, 70)
        lab.site.courses[course]["startdate"] -= 180 * 86_400
        await lab.sync()
        lab.site.courses[course]["startdate"] += 180 * 86_400
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    assert "active" in statuses(lab).values()
    assert "completed" == (await seen(lab)).result.courses[course].state
    result = await counted_alike(lab)
    assert (2, 2 * children) == (result.of("enrolment").created, result.of("grade_item").created)
    assert {} == written(await lab.sync())


async def test_somebody_who_was_merged(make_lab: MakeLab) -> None:
    """The cases of the old number are marked by the next run, so they are missing from nothing."""
    site, _, learners = site_of(4)
    lab = make_lab(site)
    await lab.sync()
    merge(lab.store, learners[0], learners[1], lab.clock.now())
    await seen(lab)
    assert {learners[0]} == unmarked(lab.store)
    assert {"marked_left": 2} == written(await counted_alike(lab))
    await counted_alike(lab)
    assert set() == unmarked(lab.store)


async def test_children_follow_an_owner(make_lab: MakeLab) -> None:
    """A rule gives somebody another owner: what is under the case moves along, and what is under that."""
    site, (course,), learners = site_of(3)
    site.add_profile_field("coach")
    item = site.set_grade_item(course, "Quiz")
    site.grade(item, learners[0], 70)
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false\n", "")
    lab.edit(
        "student", "otherwise: project\n  write: once", "first_of: [{user: profile.coach}]\n  otherwise: project"
    )
    await lab.sync()
    lab.project.add_user("amina")
    site.update_user(learners[0], profile={"coach": "amina"})
    result = await counted_alike(lab)
    assert [1, 1, 1] == [result.of(case_type).updated for case_type in ("student", "enrolment", "grade_item")]


async def test_another_role(make_lab: MakeLab) -> None:
    """Who is kept out by the courses only is counted, with a word that it takes two runs; others need one."""
    lab, learners = await consenting(make_lab)
    for course in courses_of(lab):
        lab.site.unenrol(course, learners[0])
        lab.site.enrol(course, learners[0], ("editingteacher",))
    lab.site.update_user(learners[1], profile={"consent": "no"})
    found = await seen(lab)
    results = [await lab.sync(), await lab.sync()]
    assert found.result.of("student").withdrawn == sum(one.of("student").withdrawn for one in results) == 2
    assert [sentence for sentence in found.result.messages if "1 person kept out only by roles" in sentence]
    assert not [sentence for one in results for sentence in one.messages if "only by roles" in sentence]


@pytest.mark.parametrize("how", ["taken out", "hidden", "suspended"])
async def test_nobody_is_missing_whom_no_run_marks(make_lab: MakeLab, how: str) -> None:
    """Who is in a course that is read no more, and a grade that a suspension hides, are not called missing."""
    site, (one, two), learners = site_of(3, 3)
    site.grade(site.set_grade_item(one, "Quiz"), learners[0], 50)
    lab = make_lab(site, project=PROJECT.replace('shortname_like: "*"', f"ids: [{one}], shortname_like: 'C*'"))
    lab.edit("grade_item", "enabled: false\n", "")
    await lab.sync()
    if how == "taken out":
        lab.edit("project", ", shortname_like: 'C*'", "")
    elif how == "hidden":
        site.courses[two]["visible"] = 0
    else:
        site.suspend_enrolment(one, learners[0])
    await counted_alike(lab)
    assert not any(counts.marked_left for counts in (await lab.sync()).cases.values())


async def test_nobody_is_missing_whose_profile_moodle_cannot_give(make_lab: MakeLab) -> None:
    """As with a run, which says whose they are and leaves their cases as they are; who left is missing."""
    site, (one,), learners = site_of(4)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:2]:
        site.update_user(learner, auth="gone")
    site.unenrol(one, learners[3])
    found = await seen(lab)
    said = (
        f"Moodle answers with an error when it is asked for the profiles of people {learners[0]}, {learners[1]};"
    )
    assert ["degraded"] == [found.result.state for message in found.result.messages if message.startswith(said)]
    assert {"student": 1, "enrolment": 1} == dict(+found.missing)
    assert found.result.messages == (await lab.sync()).messages
    assert 1 == (await lab.sync()).of("student").marked_left


async def test_who_left_is_missing(make_lab: MakeLab) -> None:
    """Who is in no course any more is missing, from the course and from the site."""
    site, (one, _), learners = site_of(6, 3)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(one, learners[0])
    assert {"student": 1, "enrolment": 1} == dict(+(await seen(lab)).missing)
