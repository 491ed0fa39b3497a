"""A case that is there and whose owner nobody finds any more: it keeps the owner it has, and the rest is sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.problems import list_problems
from flows.steps.owners import Owners
from flows.steps.planned import Scope
from flows.steps.there import There
from mappings.engine import Draft, OwnerRule
from state import CaseRow
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
BY_CITY = "first_of: [{user: city}]"


async def east_and_west(make_lab: MakeLab, project: str = PROJECT, park: str = "") -> tuple[Lab, list[int]]:
    """Return a lab that has run once: three learners, owned by the mobile worker whom their city names."""
    site, _, learners = site_of(3)
    for learner, city in zip(learners, ("west", "east", "east"), strict=True):
        site.update_user(learner, city=city)
    lab = make_lab(site, project=project)
    for name in ("east", "west"):
        lab.project.add_user(name)
    text = (lab.mappings / "student.yaml").read_text()
    lab.edit("student", text[text.index("\ntests:") :], "\n")
    lab.edit("student", "otherwise: project\n  write: once", BY_CITY)
    lab.edit("student", "{set: {moodle_status: left}}", f"{{set: {{moodle_status: left}}{park}}}")
    assert {"created": 6} == written(await lab.sync())
    return lab, learners


def user(lab: Lab, name: str) -> str:
    """Return the id of a mobile worker."""
    return next(one.user_id for one in lab.project.users.values() if one.username == name)


def reasons(lab: Lab) -> list[tuple[str, str, str]]:
    """Return what is listed of students."""
    return [(one.row.key, one.reason, one.detail) for one in list_problems(lab.store, "student")]


async def test_the_rest_is_sent_and_the_owner_stays(make_lab: MakeLab) -> None:
    """Nothing is sent for the owner; that is told as long as it lasts, and unchanged runs write nothing."""
    lab, (learner, *_) = await east_and_west(make_lab)
    west, key = user(lab, "west"), f"test-user-{learner}"
    lab.project.deactivate_user("west")
    result = await lab.sync()
    assert ({}, "degraded") == (written(result), result.state)
    lab.site.update_user(learner, firstname="Changed")
    forms = len(lab.project.forms)
    result = await lab.sync()
    assert ("Changed", west) == (lab.case(key).properties["first_name"], lab.case(key).owner_id)
    assert [] == [row for row in lab.rows_sent(forms) if row.get("owner_id")]
    assert [(key, "owner_stays", "user deactivated")] == reasons(lab)
    told = "1 case keeps its owner, since nobody who could own it by the mapping was found; all else was sent."
    assert told in " ".join(result.messages)
    for _ in range(2):
        assert {} == written(await lab.sync())
    assert [(key, "owner_stays", "user deactivated")] == reasons(lab)


async def test_once_found_the_owner_is_written_if_it_is_another(make_lab: MakeLab) -> None:
    """The worker back again is who owns the case anyway; another one gets it, with the enrolment."""
    lab, (learner, *_) = await east_and_west(make_lab)
    lab.project.deactivate_user("west")
    await lab.sync()
    lab.project.users["west"].active = True
    result = await lab.sync()
    assert ({}, "completed", []) == (written(result), result.state, reasons(lab))
    lab.project.deactivate_user("west")
    await lab.sync()
    lab.site.update_user(learner, city="east")
    assert {"updated": 2} == written(await lab.sync())
    for key in (f"test-user-{learner}", f"test-enrol-2-{learner}"):
        assert user(lab, "east") == lab.case(key).owner_id


async def test_a_new_case_is_held_back(make_lab: MakeLab) -> None:
    """No owner is invented for who has no case yet."""
    lab, _ = await east_and_west(make_lab)
    new = lab.site.add_user("Neema", "New", city="west")
    lab.site.enrol(2, new)
    lab.project.deactivate_user("west")
    result = await lab.sync()
    assert {"held_back": 2} == written(result)
    assert {"owner_unresolved": 1, "owner_stays": 1, "waits_for_parent": 1} == dict(result.reasons)
    assert [] == lab.project.by_external_id(f"test-user-{new}")


async def test_a_case_of_which_nobody_knows_what_it_holds(make_lab: MakeLab) -> None:
    """It is sent whole, but for the owner, and only once; a rule that finds one again writes it."""
    lab, (learner, *_) = await east_and_west(make_lab)
    west = user(lab, "west")
    lab.project.deactivate_user("west")
    lab.store.doubt("student")
    assert {"updated": 3} == written(await lab.sync())
    assert {} == written(await lab.sync())
    assert west == lab.case(f"test-user-{learner}").owner_id
    lab.site.update_user(learner, city="east")
    await lab.sync()
    assert (user(lab, "east"), {}) == (lab.case(f"test-user-{learner}").owner_id, written(await lab.sync()))


@pytest.mark.parametrize(("case_id", "then"), [("there", ""), ("", None)])
async def test_a_child_of_which_nobody_knows_the_parent(make_lab: MakeLab, case_id: str, then: str | None) -> None:
    """With `same_as` and no parent (`when_parent_unknown: skip`) a child that is there keeps its owner."""
    lab = make_lab(site_of(1)[0])
    world, key = lab.world(), "test-enrol-2-5"
    mapping = next(one for one in world.project.mappings if one.name == "enrolment")
    scope, rule = Scope(mapping, 2), OwnerRule((), "student", write_once=False)
    draft = Draft("enrolment", key, "Course", rule, {}, frozenset(), frozenset(), (), ())
    known = CaseRow(key, case_id, "west", {}, "active", 0, 5, 1)
    assert then == await Owners(world, There(world)).of(scope, draft, known, {})
    (problem,) = scope.problems
    reason = "owner_unknown" if then is None else "owner_stays"
    assert (reason, "same_as student", then is None) == (problem.reason, problem.detail, problem.holds)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_parked_case_is_held_back(make_lab: MakeLab, is_known: bool) -> None:
    """It has an owner that no phone shows: who comes back waits for one that can be found."""
    project = PROJECT + "parked_owner: {group: Parking}\n"
    lab, (learner, *_) = await east_and_west(make_lab, project, ", park: true")
    lab.project.add_group("Parking")
    lab.site.unenrol(2, learner)
    for _ in range(3):
        await lab.sync()
    if not is_known:
        lab.store.doubt("student")
    lab.project.deactivate_user("west")
    lab.site.enrol(2, learner)
    result = await lab.sync()
    assert 1 == result.reasons["owner_unresolved"]
    assert "left" == lab.case(f"test-user-{learner}").properties["moodle_status"]
    lab.site.update_user(learner, city="east")
    await lab.sync()
    assert user(lab, "east") == lab.case(f"test-user-{learner}").owner_id
