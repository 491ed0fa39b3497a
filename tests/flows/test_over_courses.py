"""What a person is over all courses: the same in every run, and decided by no run that reads some of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.roster import Combinations, Roster
from flows.needs import needs
from flows.steps.failing import FAILING
from flows.steps.pull import People
from tests.flows.test_engagement import engaged
from tests.flows.test_engagement import site_of as engaged_site
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
INCLUDE = "  - {source: roles, any_of: [student]}\n"
NO_TEACHERS = f"{INCLUDE}exclude:\n  - {{source: roles, any_of: [editingteacher]}}\n"
LISTED = '  all_roles: {source: roles, transform: [{join: " "}]}\n  city: {source: city'


def two_courses() -> tuple[FakeSite, int, int, int]:
    """Make a site: two courses, and somebody who teaches in the first one and learns in the second one."""
    site = FakeSite()
    early, both = (site.add_user(name, "Otieno", lastaccess=site.now) for name in ("Early", "Both"))
    one, two = site.add_course("C1", "One"), site.add_course("C2", "Two")
    site.enrol(one, both, ("editingteacher",))
    site.enrol(two, both)
    site.enrol(two, early)
    return site, one, two, both


def newcomer(site: FakeSite, course: int) -> int:
    """Return somebody new, who learns in a course."""
    new = site.add_user("New", "Comer", lastaccess=site.now)
    site.enrol(course, new)
    return new


@pytest.mark.parametrize("first", [0, 1])
def test_the_order_is_that_of_the_alphabet(first: int) -> None:
    """Which course was read first, and whom else it has, makes no difference."""
    combinations, courses = Combinations(), [("student", "South"), ("editingteacher", "North")]
    rosters = []
    for number in (first, 1 - first):
        roster = Roster(number, combinations)
        role, group = courses[number]
        roster._ids.append(7)
        roster._pairs.append(combinations.number((role,), (group,)))
        rosters.append(roster)
    expected = {"id": 7, "roles": ["editingteacher", "student"], "groups": ["North", "South"]}
    assert expected == People(rosters).record({"id": 7})


async def test_others_change_no_order(make_lab: MakeLab) -> None:
    """Somebody else's enrolment, and a run for one course, write nothing about a person who is in two."""
    site, one, two, both = two_courses()
    lab = make_lab(site)
    lab.edit("student", "  city: {source: city", LISTED)
    await lab.sync()
    assert "editingteacher student" == lab.case(f"test-user-{both}").properties["all_roles"]
    site.enrol(one, min(site.members_of(two)))
    assert {"created": 1} == written(await lab.sync())
    assert [{}, {}, {}] == [written(await lab.sync(courses=courses)) for courses in ((two,), (), (one,))]


async def test_an_owner_by_groups_stays(make_lab: MakeLab) -> None:
    """Who is in groups of two courses belongs to the first in the order of the alphabet, whatever a run reads."""
    site, one, two, both = two_courses()
    for course, name in ((one, "South"), (two, "North")):
        site.set_group(course, both, name)
    lab = make_lab(site)
    groups = {name: lab.project.add_group(name) for name in ("North", "South")}
    lab.edit("student", "  # first_of:\n", "  first_of:\n    - {group: groups}\n")
    lab.edit("student", "  write: once ", "  #write: once ")
    owners = set()
    for courses in ((), (two,), (one,), ()):
        await lab.sync(courses=courses)
        owners.add(lab.case(f"test-user-{both}").owner_id)
    assert {groups["North"]} == owners


async def test_the_shipped_engagement_mapping_stays(make_lab: MakeLab) -> None:
    """A teacher without a case goes: of a person in both courses nothing changes."""
    site, courses, learners = engaged_site(3, 2)
    both = site.add_user("Both", "Roles", lastaccess=site.now)
    site.enrol(courses[0], both, ("editingteacher",))
    site.enrol(courses[1], both)
    lab = engaged(make_lab, site)
    await lab.sync(full=True)
    before = lab.case(f"test-engage-{both}").properties["roles"]
    teachers = [one for one in site.members_of(courses[0]) if one < min(learners)]
    for course in courses:
        site.unenrol(course, teachers[0])
    await lab.sync(full=True)
    assert ("teacher learner", "teacher learner") == (before, lab.case(f"test-engage-{both}").properties["roles"])


# --- newcomers in a run for some courses -------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["exclude", "include", "owner"])
async def test_a_newcomer_waits_for_all_courses(make_lab: MakeLab, rule: str) -> None:
    """Where a role or group in another course may decide otherwise, a run for one course makes no new case."""
    site, (one, two), _ = site_of(3, 3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{people: 48, enrolments: 48, grades: 48}}\n")
    if rule == "owner":
        lab.project.add_group("North")
        lab.edit("student", "  # first_of:\n", "  first_of:\n    - {group: groups}\n")
    elif rule == "exclude":
        lab.edit("student", INCLUDE, NO_TEACHERS)
    else:
        lab.edit("student", INCLUDE, f"{INCLUDE}  - {{source: roles, none_of: [editingteacher]}}\n")
    await lab.sync()
    new = newcomer(site, two)
    site.enrol(one, new, ("editingteacher",))
    result = await lab.sync(courses=(two,), mappings=("student", "enrolment"), hinted=True)
    assert ("completed", 1) == (result.state, result.reasons["other_courses_unread"])
    assert [] == lab.project.by_external_id(f"test-user-{new}")
    result = await lab.sync()  # whatever the intervals say
    assert {"student", "enrolment"}.isdisjoint(result.not_due)
    assert (rule == "owner") == bool(lab.project.by_external_id(f"test-user-{new}"))


async def test_a_newcomer_of_the_shipped_mapping_does_not_wait(make_lab: MakeLab) -> None:
    """Who has one of these roles in a course has it whatever he is elsewhere: a hint makes the case at once."""
    site, (one, two), _ = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    new = newcomer(site, two)
    site.enrol(one, new, ("editingteacher",))
    await lab.sync(courses=(two,), mappings=("student", "enrolment"), hinted=True)
    assert 1 == len(lab.project.by_external_id(f"test-user-{new}"))


async def test_nobody_waits_where_all_courses_were_read(make_lab: MakeLab) -> None:
    """Where the people of the course are in all others too, all are read, and a newcomer gets a case at once."""
    site, _, two, _ = two_courses()
    lab = make_lab(site)
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    new = newcomer(site, two)
    await lab.sync(courses=(two,), mappings=("student", "enrolment"), hinted=True)
    assert 1 == len(lab.project.by_external_id(f"test-user-{new}"))


async def test_who_has_a_case_does_not_wait(make_lab: MakeLab) -> None:
    """What a run for one course finds new about somebody with a case is sent."""
    site, (_, two), learners = site_of(3, 3)
    lab = make_lab(site)
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    site.update_user(learners[-1], city="Bondo")
    result = await lab.sync(courses=(two,))
    assert ({"updated": 1}, {}) == (written(result), dict(result.reasons))


@pytest.mark.parametrize("rule", ["exclude", "owner"])
async def test_a_newcomer_waits_for_a_course_that_fails(make_lab: MakeLab, rule: str) -> None:
    """Nor does a run of the whole site, one course of which could not be read, decide about somebody new."""
    site, one, two, _ = two_courses()
    lab = make_lab(site)
    north = lab.project.add_group("North")
    if rule == "owner":
        lab.edit("student", "  # first_of:\n", "  first_of:\n    - {group: groups}\n")
    else:
        lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    new = site.add_user("New", "Comer", lastaccess=site.now)
    site.enrol(one, new, ("student",) if rule == "owner" else ("editingteacher",), groups=("North",))
    site.enrol(two, new)
    lab.denied = {one}
    result = await lab.sync()
    assert ({"held_back": 2}, 1) == (written(result), result.reasons["other_courses_unread"])
    lab.denied = set()
    await lab.sync()
    owners = [case.owner_id for case in lab.project.by_external_id(f"test-user-{new}")]
    assert ([north] if rule == "owner" else []) == owners


async def test_nobody_waits_for_a_course_that_fails_for_good(make_lab: MakeLab) -> None:
    """A course that could not be read for a day holds up nobody in the others."""
    site, one, two, _ = two_courses()
    lab = make_lab(site)
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    newcomer(site, two)
    lab.denied = {one}
    assert {"held_back": 2} == written(await lab.sync())
    assert {"created": 2} == written(await lab.sync(24 * 3600.0))


async def test_a_day_of_waiting_is_counted_from_the_first_failure(make_lab: MakeLab) -> None:
    """Not from the last read, which intervals make old; nor from a moment that is still to come."""
    site, one, two, _ = two_courses()
    lab = make_lab(site)
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    newcomer(site, two)
    lab.denied = {one}
    lab.store.put(FAILING, json.dumps({str(one): lab.clock.now() + 900 * 3600.0}))  # the clock was ahead
    assert {"held_back": 2} == written(await lab.sync(48 * 3600.0))
    assert {"held_back": 2} == written(await lab.sync(23 * 3600.0))
    assert {"created": 2} == written(await lab.sync())


async def test_an_interval_makes_nobody_wait_for_longer(make_lab: MakeLab) -> None:
    """After the day the newcomers of a mapping that is read once a week are read at once, and then no more."""
    site, one, two, _ = two_courses()
    lab = make_lab(site, project=f"{PROJECT}intervals: {{people: 168, enrolments: 168, grades: 168}}\n")
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    newcomer(site, two)
    lab.denied = {one}
    assert {"held_back": 2} == written(await lab.sync(169 * 3600.0))
    results = [await lab.sync() for _ in range(48)]
    assert [0, 1, 2, 23] == [hour for hour, result in enumerate(results) if not result.not_due]
    assert {"created": 2} == written(results[23])


def with_a_new_course(make_lab: MakeLab, how: str) -> tuple[Lab, int, Callable[[], object]]:
    """Return a new lab that cannot read one of its two courses, who teaches there, and what mends it."""
    site, one, two, both = two_courses()
    site.courses[two]["contacts"] = []
    lab = make_lab(site, project=PROJECT.replace('{shortname_like: "*"}', f"{{ids: [{one}, {two}]}}"))
    lab.edit("student", INCLUDE, NO_TEACHERS)
    if how == "failing":
        lab.denied = {one}
        return lab, both, lab.denied.clear
    broken = site.add_user("T", "<Trainer")
    site.enrol(one, broken, ("editingteacher",))
    return lab, both, lambda: site.update_user(broken, lastname="Trainer")


@pytest.mark.parametrize("how", ["refused", "failing"])
async def test_a_newcomer_waits_for_a_course_that_was_never_read(make_lab: MakeLab, how: str) -> None:
    """A first run makes no case of somebody who teaches in the one course that it could not read."""
    lab, both, mend = with_a_new_course(make_lab, how)
    result = await lab.sync()
    assert ({"held_back": 4}, 2) == (written(result), result.reasons["other_courses_unread"])
    mend()
    assert 2 == written(await lab.sync())["created"]
    assert ([], {}) == (lab.project.by_external_id(f"test-user-{both}"), written(await lab.sync()))


@pytest.mark.parametrize("how", ["refused", "failing"])
async def test_a_first_run_beside_a_course_that_fails_for_good(make_lab: MakeLab, how: str) -> None:
    """Its plan is approved once, with all who may come; for a day they wait, and previews say so as well."""
    lab, _, _ = with_a_new_course(make_lab, how)
    plan = (await lab.sync(yes=False)).plan
    assert {"student": 2, "enrolment": 2} == plan["new_cases"]
    assert {"held_back": 4} == written(await lab.sync())
    for counts in ({"held_back": 4}, {"held_back": 4}, {"created": 4}):
        assert counts == written(await lab.sync(8 * 3600.0, preview=True))
        assert counts == written(await lab.sync(0.0))
    assert ([], {}) == (needs(lab.store), written(await lab.sync()))


async def test_a_preview_begins_no_waiting(make_lab: MakeLab) -> None:
    """It shows who would wait; the day is counted from the first run."""
    lab, _, _ = with_a_new_course(make_lab, "failing")
    for _ in range(2):
        assert {"held_back": 4} == written(await lab.sync(24 * 3600.0, preview=True))
    assert ("", {"held_back": 4}) == (lab.store.get(FAILING) or "", written(await lab.sync()))


async def test_what_others_carry_is_blank_in_a_run_for_one_course(make_lab: MakeLab) -> None:
    """A field that nobody in a small course has is visible all the same: a number goes, and no consent is none."""
    site, (_, two), learners = site_of(5, 2)
    site.add_profile_field("consent", type="menu")
    for one in learners[:-1]:
        site.update_user(one, profile={"consent": "Yes"})
    lab = make_lab(site)
    lab.edit("student", INCLUDE, f"{INCLUDE}  - {{source: profile.consent, is: 'Yes'}}\n")
    await lab.sync()
    site.update_user(learners[-2], profile={"consent": ""})
    result = await lab.sync(courses=(two,), mappings=("student", "enrolment"), hinted=True)
    assert ("completed", {}, 1) == (result.state, dict(result.reasons), result.of("student").withdrawn)


async def test_who_is_read_beside_others_has_no_case(make_lab: MakeLab) -> None:
    """A number that the last one of a small course deleted goes; people of other courses are not looked at."""
    site, (_, two), learners = site_of(5, 1)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[-1], phone1="", city="Bondo")
    site.update_user(learners[0], city="Bondo")
    result = await lab.sync(courses=(two,), mappings=("student", "enrolment"), hinted=True)
    assert {"updated": 1} == written(result)
    assert "" == lab.case(f"test-user-{learners[-1]}").properties["contact_phone_number"]


async def test_a_field_of_other_courses_is_blank_in_a_run_for_one(make_lab: MakeLab) -> None:
    """A course that another one's custom field keeps out is kept out in a run for it alone, not held back."""
    site, (one, two), _ = site_of(2, 2)
    site.courses[one]["customfields"] = {"zone": "A"}
    lab = make_lab(site)
    lab.edit("enrolment", "include:\n", "include:\n  - {source: course.profile.zone, is: A}\n")
    await lab.sync()
    result = await lab.sync(courses=(two,))
    assert ("completed", {}) == (result.state, dict(result.reasons))
