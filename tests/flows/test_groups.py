"""Groups that Moodle does not show (before 4.3, without a right of their own), and login names of teachers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
RIGHT = "moodle/site:accessallgroups"
DETAILS = "moodle/user:viewalldetails"
OLD = "4.1.2 (Build: 20230313)"
RULE = "first_of: [{group: groups}]\n  otherwise: project"


def in_groups(make_lab: MakeLab, release: str = OLD) -> tuple[Lab, int, list[int]]:
    """Return a lab on a Moodle of a release, its course, and ten learners of it in two groups."""
    site, (course,), learners = site_of(10)
    site.info["release"] = release
    for number, learner in enumerate(learners):
        site.set_group(course, learner, "Siaya" if number % 2 else "Bondo")
    lab = make_lab(site)
    for name in ("Siaya", "Bondo"):
        lab.project.add_group(name)
    return lab, course, learners


def held(lab: Lab) -> dict[str, tuple[str, str]]:
    """Return owner and group of each case."""
    cases = lab.project.cases.values()
    return {case.external_id: (case.owner_id, case.properties.get("group_name", "")) for case in cases}


async def test_groups_that_are_not_shown_stay(make_lab: MakeLab) -> None:
    """Without the right nothing that comes from groups is sent, the run says so, and with it all goes on."""
    lab, course, learners = in_groups(make_lab)
    lab.edit("student", "otherwise: project\n  write: once", RULE)
    await lab.sync()
    before, rights = held(lab), set(lab.moodle.capabilities)
    lab.moodle.revoke(RIGHT)
    for _ in range(2):
        result = await lab.sync()
        assert ("completed", {}, before) == (result.state, written(result), held(lab))
    assert [
        f"Moodle does not show the groups of course {course}: what comes from them stays as it is in CommCare. "
        f"Give the role of the account '{RIGHT}' (`moodle-commcare check`)."
    ] == result.messages
    lab.site.update_user(learners[0], firstname="Zawadi")
    assert {"updated": 1} == written(await lab.sync())
    assert before == held(lab)
    lab.moodle.capabilities = rights
    result = await lab.sync()
    assert ({}, []) == (written(result), result.messages)


async def test_nobody_new_gets_an_owner_without_groups(make_lab: MakeLab) -> None:
    """Whose owner goes by groups waits until they are shown; the default owner is for who is in none."""
    lab, course, _ = in_groups(make_lab)
    lab.edit("student", "otherwise: project\n  write: once", RULE)
    await lab.sync()
    lab.moodle.revoke(RIGHT)
    person = lab.site.add_user("New", "Comer")
    lab.site.enrol(course, person)
    result = await lab.sync()
    assert {"held_back": 2} == written(result)
    assert {"groups_not_shown": 1, "waits_for_parent": 1} == dict(result.reasons)
    lab.moodle.capabilities = {*lab.moodle.capabilities, RIGHT}
    assert {"created": 2} == written(await lab.sync())


async def test_an_empty_list_is_no_group(make_lab: MakeLab) -> None:
    """With the right an old Moodle says of everybody which groups; none is none, also when nobody is in any."""
    lab, course, learners = in_groups(make_lab)
    await lab.sync()
    for learner in learners:
        lab.site.members[course][learner].groups = ()
    assert {"updated": 10} == written(await lab.sync())
    assert {""} == {group for _, group in held(lab).values()}


async def test_no_groups_at_all_in_a_newer_moodle(make_lab: MakeLab) -> None:
    """From 4.3 on who is in no group has no key: a course without groups is ordinary, whatever the right."""
    lab, course, learners = in_groups(make_lab, "4.5.6 (Build: 20250811)")
    await lab.sync()
    for learner in learners:
        lab.site.members[course][learner].groups = ()
    lab.moodle.revoke(RIGHT)
    result = await lab.sync()
    assert ("completed", {"updated": 10}, []) == (result.state, written(result), result.messages)
    assert {""} == {group for _, group in held(lab).values()}


async def test_mappings_that_need_no_groups(make_lab: MakeLab) -> None:
    """Nobody is told of groups that no mapping reads: they are not asked for."""
    lab, _, _ = in_groups(make_lab)
    lab.moodle.revoke(RIGHT)
    assert [] == (await lab.sync(mappings=("student",))).messages


async def test_teachers_that_are_not_shown_stay(make_lab: MakeLab) -> None:
    """Without the right to login names what comes from them stays, owners too, and the run says so."""
    site, (course,), (learner,) = site_of(1)
    site.enrol(course, site.add_user("T", "Trainer", username="trainer1"), ("editingteacher",))
    lab = make_lab(site)
    worker = lab.project.add_user("trainer1@training.commcarehq.org")
    mapping = lab.mappings / "enrolment.yaml"
    text, _, _ = mapping.read_text("utf-8").partition("\ntests:")
    text = text.replace("owner: {same_as: student}", "owner: {first_of: [{user: teachers}], otherwise: project}")
    listed = "trainers: {source: teachers, transform: [{join: ' '}], personal: true}"
    mapping.write_text(text.replace("\nproperties:", f"\nproperties:\n  {listed}"), "utf-8")
    await lab.sync()
    case = lab.case(f"test-enrol-{course}-{learner}")
    before = (case.owner_id, case.properties["trainers"])
    assert (worker, "trainer1") == before
    lab.moodle.revoke(DETAILS)
    for _ in range(2):
        result = await lab.sync()
        assert ("completed", {}) == (result.state, written(result))
        assert before == (case.owner_id, case.properties["trainers"])
    told, of_profiles = result.messages
    assert (
        f"Moodle does not show the login names of the teachers of course {course}: what comes from them stays as "
        f"it is in CommCare. Give the role of the account '{DETAILS}' (`moodle-commcare check`)."
    ) == told
    assert of_profiles.startswith(
        "Moodle does not show the account any login names (username) and languages (lang)"
    )


async def test_nobody_new_gets_an_owner_for_good_without_login_names(make_lab: MakeLab) -> None:
    """Whose owner is written once waits until Moodle shows the login names; those who have one keep it."""
    lab, course, worker = await owned_by_login(make_lab, "otherwise: project\n  write: once")
    before = held(lab)
    lab.moodle.revoke(DETAILS)
    person = lab.site.add_user("New", "Comer", username="newcomer")
    lab.site.enrol(course, person)
    for _ in range(2):
        result = await lab.sync()
        assert {"held_back": 2} == written(result)
        assert {"owner_not_shown": 1, "waits_for_parent": 1} == dict(result.reasons)
    assert before == held(lab)
    lab.moodle.allow(DETAILS)
    newcomer = lab.project.add_user("newcomer@training.commcarehq.org")
    assert {"created": 2} == written(await lab.sync())
    assert [worker, newcomer] == [case.owner_id for case in lab.project.of_type("student")]


@pytest.mark.parametrize(
    ("rest", "expected"), [("\n  write: once", {"created": 2, "held_back": 2}), ("", {"created": 4})]
)
async def test_a_name_that_commcare_does_not_know_goes_before_one_that_is_hidden(
    make_lab: MakeLab, rest: str, expected: dict[str, int]
) -> None:
    """The default owner is for who has none: not for whose first is unknown, and whose second is not shown."""
    site, (course,), (learner,) = site_of(1)
    site.update_user(learner, username="amina", institution="Siaya")
    lab = make_lab(site)
    worker = lab.project.add_user("amina@training.commcarehq.org")
    rules = f"first_of: [{{group: institution}}, {{user: username}}]\n  otherwise: project{rest}"
    lab.edit("student", "otherwise: project\n  write: once", rules)
    assert {"created": 2} == written(await lab.sync())
    group = lab.project.add_group("Bondo")
    lab.moodle.revoke(DETAILS)
    for name in ("Bondo", "Gem"):
        site.enrol(course, site.add_user("New", "Comer", username=f"in_{name.lower()}", institution=name))
    assert expected == written(await lab.sync())
    assert worker == lab.case(f"test-user-{learner}").owner_id
    assert group in {case.owner_id for case in lab.project.of_type("student")}


async def test_an_owner_that_is_written_again_moves_once_login_names_are_shown(make_lab: MakeLab) -> None:
    """Without `write: once` a new case has the default owner for as long as its own cannot be told."""
    lab, course, worker = await owned_by_login(make_lab, "otherwise: project")
    lab.moodle.revoke(DETAILS)
    lab.site.enrol(course, lab.site.add_user("New", "Comer", username="newcomer"))
    newcomer = lab.project.add_user("newcomer@training.commcarehq.org")
    assert {"created": 2} == written(await lab.sync())
    lab.moodle.allow(DETAILS)
    await lab.sync()
    assert [worker, newcomer] == [case.owner_id for case in lab.project.of_type("student")]


async def test_a_profile_field_that_nobody_has_is_not_hidden(make_lab: MakeLab) -> None:
    """Where login names are shown, a field that nobody fills in yet leaves the case to the default owner."""
    site, _, _ = site_of(1)
    lab = make_lab(site)
    lab.edit("student", "otherwise: project", "first_of: [{user: profile.chw}]\n  otherwise: project")
    assert {"created": 2} == written(await lab.sync())


async def owned_by_login(make_lab: MakeLab, rest: str) -> tuple[Lab, int, str]:
    """Return a lab whose one learner is a mobile worker, synced; its course and the id of the worker."""
    site, (course,), (learner,) = site_of(1)
    site.update_user(learner, username="amina")
    lab = make_lab(site)
    worker = lab.project.add_user("amina@training.commcarehq.org")
    lab.edit("student", "otherwise: project\n  write: once", f"first_of: [{{user: username}}]\n  {rest}")
    assert {"created": 2} == written(await lab.sync())
    return lab, course, worker


async def test_a_course_without_a_teacher(make_lab: MakeLab) -> None:
    """Where nobody has a teacher's role there is none, whatever is shown."""
    site, _, _ = site_of(1)
    lab = make_lab(site)
    lab.moodle.revoke(DETAILS)
    lab.edit("enrolment", "\nproperties:", "\nproperties:\n  trainers: {source: teachers, transform: [count]}")
    result = await lab.sync()
    assert [""] == [case.properties["trainers"] for case in lab.project.of_type("enrolment")]
    assert not any("teachers" in message for message in result.messages)
