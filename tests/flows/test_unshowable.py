"""Accounts that Moodle cannot show, and what changes while a list is read around them: nobody else pays for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.moodle.errors import REPAIR_CONTACT
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.streams import ENROLLED
from flows.errors import UsageError
from flows.needs import needs
from flows.steps.select import NOT_SHOWN, NOT_WHOLE
from flows.sync import NOT_SEEN
from tests.flows.test_preview_counts import seen
from tests.flows.test_select import LIST
from tests.flows.test_sync import site_of
from tests.flows.test_tables import FILES as TABLE
from tests.flows.test_tables import names
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
INCLUDE = "  - {source: roles, any_of: [student]}\n"
NO_TEACHERS = f"{INCLUDE}exclude:\n  - {{source: roles, any_of: [editingteacher]}}\n"
ALL_ROLES = '  all_roles: {source: roles, transform: [{join: " "}]}\n'


def at_request(lab: Lab, course: int, options: dict[str, str], then: Callable[[], object]) -> None:
    """Do something when the people of a course are asked for in a certain way for the first time."""
    plain, done = lab._to_moodle, list[object]()

    def to_moodle(request: httpx.Request) -> httpx.Response:
        form = {name: value for name, (value,) in parse_qs(request.content.decode()).items()}
        if not done and form.get("wsfunction") == ENROLLED and form["courseid"] == str(course):
            names = [name for name in form if name.startswith("options[") and name.endswith("[name]")]
            asked = {form[name]: form[name.replace("[name]", "[value]")] for name in names}
            if options.items() <= asked.items() and ("onlysuspended" in options) == ("onlysuspended" in asked):
                done.append(then())
        return plain(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]


def small_school(
    make_lab: MakeLab, role: str = "editingteacher"
) -> tuple[Lab, FakeSite, int, int, dict[str, int]]:
    """Return a lab of two courses: Quin is in both, with a role of its own in the first."""
    site = FakeSite()
    people = {name: site.add_user(name, "Otieno", lastaccess=site.now) for name in ("Ann", "Ben", "Quin", "Bad")}
    one, two = site.add_course("C1", "One"), site.add_course("C2", "Two")
    for name, person in people.items():
        site.enrol(one, person, (role,) if name == "Quin" else ("student",))
    site.enrol(two, people["Quin"])
    for course in (one, two):
        site.courses[course]["contacts"] = []  # as with an empty setting 'Course contacts'
    lab = make_lab(site)
    lab.edit("student", "  city: {source: city", f"{ALL_ROLES}  city: {{source: city")
    return lab, site, one, two, people


async def test_an_account_that_is_mended_between_two_courses(make_lab: MakeLab) -> None:
    """Who was not shown in one course and is shown in the next is left alone: half of what he is would be sent."""
    lab, site, _, two, people = small_school(make_lab)
    await lab.sync()
    case = lab.case(f"test-user-{people['Quin']}")
    assert "editingteacher student" == case.properties["all_roles"]
    site.update_user(people["Quin"], firstname="Q<uin")
    assert {} == written(await lab.sync())
    for person in people.values():
        if person != people["Quin"]:
            site.enrol(two, person)
    at_request(lab, two, {"userfields": "id"}, lambda: site.update_user(people["Quin"], firstname="Quin"))
    await lab.sync()
    assert "editingteacher student" == case.properties["all_roles"]


async def test_a_newcomer_of_a_course_that_lacks_people(make_lab: MakeLab) -> None:
    """Whom a role in such a course would keep out gets no case for another course: CommCare deletes none."""
    lab, site, one, two, _ = small_school(make_lab)
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    new = site.add_user("N<ew", "Comer", lastaccess=site.now)
    site.enrol(one, new, ("editingteacher",))
    site.enrol(two, new)
    at_request(lab, two, {"userfields": "id"}, lambda: site.update_user(new, firstname="New"))
    await lab.sync()
    assert [] == list(lab.project.by_external_id(f"test-user-{new}"))
    await lab.sync()
    assert [] == list(lab.project.by_external_id(f"test-user-{new}"))


async def test_somebody_else_leaves_while_a_list_is_read_in_parts(make_lab: MakeLab) -> None:
    """The rows behind shift, and one person is in no part: the course counts as not read then."""
    lab, site, one, _, people = small_school(make_lab)
    await lab.sync()
    site.update_user(people["Bad"], firstname="B<ad")
    assert {} == written(await lab.sync())
    before = dict(lab.case(f"test-user-{people['Quin']}").properties)
    at_request(lab, one, {"limitfrom": "2", "limitnumber": "1"}, lambda: site.unenrol(one, people["Ann"]))
    result = await lab.sync()
    assert "failed" == result.courses[one].state
    assert before == lab.case(f"test-user-{people['Quin']}").properties
    site.update_user(people["Bad"], firstname="Mended")
    assert [{"updated": 1}, {"marked_left": 2}, {}] == [written(await lab.sync()) for _ in range(3)]


async def test_a_suspension_ends_while_the_suspended_are_read_in_parts(make_lab: MakeLab) -> None:
    """Whoever is suspended all the time stays suspended in CommCare, where messages hang on it."""
    lab, site, one, _, people = small_school(make_lab, "student")
    for person in people.values():
        site.suspend_enrolment(one, person)
    await lab.sync()
    site.update_user(people["Bad"], firstname="B<ad")
    await lab.sync()
    part = {"onlysuspended": "1", "limitfrom": "2", "limitnumber": "1"}
    at_request(lab, one, part, lambda: site.suspend_enrolment(one, people["Ann"], suspended=False))
    await lab.sync()
    status = {name: status_of(lab, one, person) for name, person in people.items()}
    assert {*people} == {name for name, told in status.items() if told == "suspended"}
    await lab.sync()
    assert "active" == status_of(lab, one, people["Ann"])


def status_of(lab: Lab, course: int, person: int) -> str:
    """Return the status of somebody's enrolment in CommCare, "" without a case."""
    cases: list[Any] = [*lab.project.by_external_id(f"test-enrol-{course}-{person}")]
    return str(cases[0].properties["enrolment_status"]) if cases else ""


async def test_a_course_with_nobody_but_the_account(make_lab: MakeLab) -> None:
    """It shows nothing of anybody: what all the other courses hide is told all the same."""
    site, _, learners = site_of(4)
    for learner in learners:
        site.update_user(learner, lastaccess=site.now)
    site.enrol(site.add_course("New", "New one"), site.info["userid"], ("editingteacher",))
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:", "\nproperties:\n  visit: {source: user.lastaccess, transform: [date]}")
    assert [] == (await lab.sync()).messages
    site.hiddenuserfields = ("lastaccess",)
    lab.moodle.revoke("moodle/course:viewhiddenuserfields")
    assert any("last visits (lastaccess)" in message for message in (await lab.sync()).messages)


@pytest.mark.parametrize("once", ["", ", write: once"])
async def test_a_teacher_whom_moodle_cannot_show(make_lab: MakeLab, once: str) -> None:
    """He is not gone: owners and values that come from teachers stay, and a new case waits for its owner."""
    lab, site, one, _, people = small_school(make_lab)
    teacher = site.add_user("T", "Trainer", username="trainer1")
    site.enrol(one, teacher, ("editingteacher",))
    worker = lab.project.add_user("trainer1@training.commcarehq.org")
    mapping = lab.mappings / "enrolment.yaml"
    text, _, _ = mapping.read_text("utf-8").partition("\ntests:")
    rules = f"owner: {{first_of: [{{user: teachers}}], otherwise: project{once}}}"
    listed = "trainers: {source: teachers, transform: [{join: ' '}], personal: true}"
    text = text.replace("owner: {same_as: student}", rules).replace("\nproperties:", f"\nproperties:\n  {listed}")
    mapping.write_text(text, "utf-8")
    await lab.sync()
    case = lab.case(f"test-enrol-{one}-{people['Ann']}")
    before = dict(case.properties)
    assert (worker, True) == (case.owner_id, "trainer1" in case.properties["trainers"])
    site.update_user(teacher, lastname="<Trainer")
    new = site.add_user("New", "Comer", lastaccess=site.now)
    site.enrol(one, new)
    for _ in range(2):
        result = await lab.sync()
        assert (worker, before) == (case.owner_id, case.properties)
    told, *_ = result.messages
    assert "What comes from the teachers there stays as it is: one may be among them." in told
    assert ({"owner_not_shown": 1} if once else {}) == dict(result.reasons)
    site.update_user(teacher, lastname="Trainer")
    await lab.sync()
    assert worker == lab.case(f"test-enrol-{one}-{new}").owner_id
    assert {} == written(await lab.sync())


async def test_a_preview_of_a_course_that_lacks_people(make_lab: MakeLab) -> None:
    """It misses none of their cases: no run marks them."""
    lab, site, one, _, people = small_school(make_lab)
    await lab.sync()
    site.update_user(people["Bad"], firstname="B<ad")
    assert {} == +(await seen(lab)).missing
    site.update_user(people["Bad"], firstname="Bad")
    site.unenrol(one, people["Bad"])
    assert {"student": 1, "enrolment": 1} == +(await seen(lab)).missing


def with_a_broken_teacher(make_lab: MakeLab) -> tuple[Lab, FakeSite, list[int], list[int], int]:
    """Return a lab of three courses of two learners each; in the second is a teacher whose name can be broken."""
    site, courses, learners = site_of(2, 2, 2)
    teacher = site.add_user("T", "Trainer")
    site.enrol(courses[1], teacher, ("editingteacher",))
    return make_lab(site), site, courses, learners, teacher


@pytest.mark.parametrize("choice", ['{shortname_like: "*"}', "{ids: [2, 3, 4]}"])
async def test_a_course_list_that_moodle_cannot_show(make_lab: MakeLab, choice: str) -> None:
    """It holds the names of teachers: the courses that are known are asked for without it, and one is not read."""
    lab, site, courses, learners, teacher = with_a_broken_teacher(make_lab)
    lab.mappings.joinpath("project.yaml").write_text(PROJECT.replace('{shortname_like: "*"}', choice), "utf-8")
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    site.update_user(learners[0], firstname="Zawadi")
    site.unenrol(courses[2], learners[4])
    site.enrol(courses[2], learners[5])
    for changed in ({"updated": 1}, {"marked_left": 1}, {}):
        result = await lab.sync()
        assert ("degraded", changed) == (result.state, written(result))
        assert ["failed"] == [one.state for number, one in result.courses.items() if number == courses[1]]
    assert any(f"Not read: course {courses[1]}. {NOT_SHOWN}" in message for message in result.messages)
    assert not any("not in Moodle" in message or "any more" in message for message in result.messages)
    assert [] == needs(lab.store)
    site.update_user(teacher, lastname="Trainer")
    assert [{}, {"marked_left": 1}, {}] == [written(await lab.sync()) for _ in range(3)]
    assert ("completed", []) == ((result := await lab.sync()).state, result.messages)


async def test_a_first_run_without_a_course_list(make_lab: MakeLab) -> None:
    """Nobody knows what to ask for: the run fails, and says what to do."""
    lab, site, _, _, teacher = with_a_broken_teacher(make_lab)
    site.update_user(teacher, lastname="<Trainer")
    result = await lab.sync()
    assert ("failed", {}) == (result.state, written(result))
    assert any(REPAIR_CONTACT in message for message in result.messages)


async def test_a_course_list_for_one_course(make_lab: MakeLab) -> None:
    """A run for a course that is shown is as ever; one for the course that is not reads nothing."""
    lab, site, courses, learners, teacher = with_a_broken_teacher(make_lab)
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    for learner in (learners[0], learners[2]):
        site.update_user(learner, firstname="Zawadi")
    assert {"updated": 1} == written(await lab.sync(courses=(courses[0],)))
    result = await lab.sync(courses=(courses[1],))
    assert ("degraded", {}) == (result.state, written(result))


async def test_one_course_that_nobody_knows_yet(make_lab: MakeLab) -> None:
    """Nobody can say whether it is chosen; of one that is known and not chosen it is said as ever."""
    lab, site, courses, _, teacher = with_a_broken_teacher(make_lab)
    await lab.sync()
    lab.edit("project", 'shortname_like: "*"', 'shortname_like: "C[01]"')
    site.update_user(teacher, lastname="<Trainer")
    with pytest.raises(UsageError, match=f"Course {courses[2]} is not among the selected courses"):
        await lab.sync(courses=(courses[2],))
    new = site.add_course("C0", "New")
    with pytest.raises(UsageError) as caught:
        await lab.sync(courses=(courses[0], new))
    assert NOT_SEEN.format(new) == str(caught.value)


async def test_a_course_that_goes_while_the_list_is_refused(make_lab: MakeLab) -> None:
    """It is missed as ever: of the others nobody is asked."""
    lab, site, courses, _, teacher = with_a_broken_teacher(make_lab)
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    site.delete_course(courses[2])
    for _ in range(3):
        await lab.sync()
    assert [("leavers", courses[2])] == [(need.kind, need.course) for need in needs(lab.store)]


async def test_what_is_made_of_a_course_that_is_not_shown(make_lab: MakeLab) -> None:
    """Its own case and its row of a lookup table stay, those of others go on; a preview says so as well."""
    site, courses, _ = site_of(2, 2, 2)
    teacher = site.add_user("T", "Trainer")
    site.enrol(courses[1], teacher, ("editingteacher",))
    lab = make_lab(site, **TABLE, **LIST)
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    for number in courses[1:]:
        site.rename(number, f"Nutrition {number}")
    preview = await lab.sync(full=True, preview=True)
    assert ("degraded", ["Course 0", "Course 1", "Course 2"]) == (preview.state, names(lab))
    assert any(f"Not read: course {courses[1]}. {NOT_SHOWN}" in message for message in preview.messages)
    for changed in ({"updated": 1}, {}, {}):
        assert changed == written(await lab.sync(full=True))
        assert ["Course 0", "Course 1", f"Nutrition {courses[2]}"] == names(lab)
    site.update_user(teacher, lastname="Trainer")
    assert [{"updated": 1}, {}] == [written(await lab.sync(full=True)) for _ in range(2)]
    assert ["Course 0", *(f"Nutrition {number}" for number in courses[1:])] == names(lab)


def beside_a_broken_teacher(make_lab: MakeLab, choice: str) -> tuple[Lab, FakeSite, list[int], list[int], int]:
    """Return a lab that reads two courses of two learners each; the teacher is in one that it does not read."""
    site, courses, learners = site_of(2, 2)
    teacher = site.add_user("T", "Trainer")
    site.enrol(site.add_course("X1", "Of others"), teacher, ("editingteacher",))
    return (
        make_lab(site, project=PROJECT.replace('{shortname_like: "*"}', choice)),
        site,
        courses,
        learners,
        teacher,
    )


async def test_a_broken_teacher_of_a_course_that_is_not_read(make_lab: MakeLab) -> None:
    """All courses are read but new ones: whoever moved into one of these is not gone from the site."""
    lab, site, courses, learners, teacher = beside_a_broken_teacher(make_lab, '{shortname_like: "C*"}')
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    new = site.add_course("C9", "New")
    site.unenrol(courses[0], learners[0])
    site.enrol(new, learners[0])
    assert {"enrolment": 1} == +(await seen(lab)).missing
    for changed in ({}, {"marked_left": 1}, {}):  # the enrolment
        result = await lab.sync()
        assert ("degraded", changed) == (result.state, written(result))
        assert NOT_WHOLE in result.messages
    assert any("Moodle's list of courses can be read completely" in message for message in result.messages)
    assert "active" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    for _ in range(3):
        await lab.sync(later=40_000)
    assert [("leavers", 0)] == [(need.kind, need.course) for need in needs(lab.store)]
    site.update_user(teacher, lastname="Trainer")
    assert ("completed", {"created": 1}) == ((result := await lab.sync()).state, written(result))
    assert ([], {}) == (needs(lab.store), written(await lab.sync()))


async def test_where_courses_are_chosen_by_their_ids_alone(make_lab: MakeLab) -> None:
    """No course can be new then: nothing is lacked, and who left is marked as ever."""
    lab, site, courses, learners, teacher = beside_a_broken_teacher(make_lab, "{ids: [2, 3]}")
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    site.unenrol(courses[0], learners[0])
    results = [await lab.sync() for _ in range(3)]
    assert [("completed", {}), ("completed", {"marked_left": 2}), ("completed", {})] == [
        (result.state, written(result)) for result in results
    ]


async def test_a_course_that_is_taken_out_of_project_yaml(make_lab: MakeLab) -> None:
    """One that is not shown is not read any more where ids alone choose: somebody took it out for that."""
    lab, site, courses, _, teacher = with_a_broken_teacher(make_lab)
    settings = lab.mappings / "project.yaml"
    settings.write_text(PROJECT.replace('{shortname_like: "*"}', "{ids: [2, 3, 4]}"), "utf-8")
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    settings.write_text(PROJECT.replace('{shortname_like: "*"}', "{ids: [2, 4]}"), "utf-8")
    assert "completed" == (result := await lab.sync()).state
    assert f"Not read any more: course {courses[1]} (not chosen any more)." in result.messages


async def test_hints_while_the_course_list_is_refused(make_lab: MakeLab) -> None:
    """A webhook's course is read; of one that is not shown nothing is made, and its hint is not passed over."""
    lab, site, courses, learners, teacher = with_a_broken_teacher(make_lab)
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    for learner in (learners[0], learners[2]):
        site.update_user(learner, firstname="Zawadi")
    result = await lab.sync(courses=(courses[0],), hinted=True)
    assert ("completed", {"updated": 1}, []) == (result.state, written(result), result.passed_over)
    result = await lab.sync(courses=(courses[1],), hinted=True)
    assert ("degraded", {}, []) == (result.state, written(result), result.passed_over)


async def test_nobody_is_kept_out_for_a_course_that_is_not_seen(make_lab: MakeLab) -> None:
    """A learner who teaches in a course now, and learns in one that is new, is withdrawn by no half of a list."""
    lab, site, courses, learners, teacher = beside_a_broken_teacher(make_lab, '{shortname_like: "C*"}')
    lab.edit("student", "\nowner:", "\nwhen_excluded: {set: {moodle_status: out}}\nowner:")
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    new = site.add_course("C9", "New")
    site.unenrol(courses[0], learners[0])
    site.enrol(courses[0], learners[0], ("teacher",))
    site.enrol(new, learners[0])
    for _ in range(3):
        await lab.sync()
    assert "out" != lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    site.update_user(teacher, lastname="Trainer")
    await lab.sync()
    assert "out" != lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    assert lab.case(f"test-enrol-{new}-{learners[0]}")


# --- newcomers, tables and intervals while the list is refused ------------------------------------------------


@pytest.mark.parametrize("rule", ["exclude", "owner"])
async def test_a_newcomer_who_may_be_in_a_course_that_is_not_seen(make_lab: MakeLab, rule: str) -> None:
    """What he is there may keep him out, or decide who owns his case, once and for all: he waits."""
    lab, site, courses, _, teacher = beside_a_broken_teacher(make_lab, '{shortname_like: "C*"}')
    kisumu = lab.project.add_group("Kisumu")
    if rule == "exclude":
        lab.edit("student", INCLUDE, NO_TEACHERS)
    else:
        lab.edit("student", "  # first_of:\n", "  first_of:\n    - {group: groups}\n")
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    new = site.add_user("New", "Comer", lastaccess=site.now)
    site.enrol(courses[0], new)
    unseen = site.add_course("C9", "New")
    site.enrol(unseen, new, ("editingteacher",) if rule == "exclude" else ("student",), groups=("Kisumu",))
    for _ in range(2):
        result = await lab.sync()
        assert ({"held_back": 2}, 1) == (written(result), result.reasons["other_courses_unread"])
    site.update_user(teacher, lastname="Trainer")
    await lab.sync()
    owners = [case.owner_id for case in lab.project.by_external_id(f"test-user-{new}")]
    assert ([kisumu] if rule == "owner" else []) == owners


async def test_nobody_waits_for_a_list_that_is_refused_for_good(make_lab: MakeLab) -> None:
    """For a day who is new waits; from then on nobody does, until the list was whole once."""
    lab, site, courses, _, teacher = beside_a_broken_teacher(make_lab, '{shortname_like: "C*"}')
    lab.edit("student", INCLUDE, NO_TEACHERS)
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    site.enrol(courses[0], site.add_user("New", "Comer", lastaccess=site.now))
    for _ in range(24):
        assert {"held_back": 2} == written(await lab.sync())
    assert {"created": 2} == written(await lab.sync())
    site.enrol(courses[0], site.add_user("Late", "Comer", lastaccess=site.now))
    assert {"created": 2} == written(await lab.sync())
    site.update_user(teacher, lastname="Trainer")
    await lab.sync()
    site.update_user(teacher, lastname="<Trainer")
    site.enrol(courses[0], site.add_user("Last", "Comer", lastaccess=site.now))
    assert {"held_back": 2} == written(await lab.sync())


def with_a_table(make_lab: MakeLab, intervals: str = "") -> tuple[Lab, FakeSite, list[int], int]:
    """Return a lab with a lookup table of two courses, beside one that is not read and has the teacher."""
    site, courses, _ = site_of(2, 2)
    teacher = site.add_user("T", "Trainer")
    site.enrol(site.add_course("X1", "Of others"), teacher, ("editingteacher",))
    project = PROJECT.replace('{shortname_like: "*"}', '{shortname_like: "C*"}')
    return make_lab(site, project=f"{project}{intervals}", **TABLE), site, courses, teacher


async def test_rows_of_courses_that_books_put_back_do_not_know(make_lab: MakeLab) -> None:
    """A list that is refused lacks no course: rows go when it is whole and lacks theirs, twice."""
    lab, site, courses, teacher = with_a_table(make_lab)
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    new = site.add_course("C9", "Ninth")
    for _ in range(2):
        await lab.sync()
    assert "Ninth" in names(lab)
    lab.restore(backup)
    site.update_user(teacher, lastname="<Trainer")
    for number in range(4):
        site.rename(courses[0], f"Renamed {number}")  # so that the rows are listed, and the stray one is found
        await lab.sync(full=True)
    assert ["Course 1", "Ninth", "Renamed 3"] == sorted(names(lab))
    site.update_user(teacher, lastname="Trainer")
    site.delete_course(new)
    rows = []
    for _ in range(3):
        await lab.sync(full=True)
        rows.append(len(names(lab)))
    assert [3, 2, 2] == rows


async def test_rows_of_a_course_that_a_run_for_tables_alone_saw(make_lab: MakeLab) -> None:
    """Nothing but its row is known of the course; the table is kept with the list refused, and without it."""
    lab, site, _, teacher = with_a_table(make_lab, "intervals: {people: 48}\n")
    for _ in range(2):
        await lab.sync()
    site.add_course("C9", "Ninth")
    lab.edit("courses.table", "{shorten: 500}", "{shorten: 400}")
    assert ["student"] == (await lab.sync()).not_due
    site.update_user(teacher, lastname="<Trainer")
    lab.edit("courses.table", "{shorten: 400}", "{shorten: 500}")
    for later in (3600.0, 49 * 3600.0, 49 * 3600.0, 49 * 3600.0):
        await lab.sync(later=later)
        assert "Ninth" in names(lab)


async def read_until_there(lab: Lab, person: int) -> int:
    """Run each hour until somebody has a case; return how many runs it took, 60 at most."""
    for number in range(1, 60):
        await lab.sync()
        if lab.project.by_external_id(f"test-user-{person}"):
            return number
    return 60


@pytest.mark.parametrize("how", ["list", "people"])
async def test_what_was_not_read_whole_starts_no_interval(make_lab: MakeLab, how: str) -> None:
    """Once it is mended the next run reads it; what stays broken has Moodle read no more often than before."""
    lab, site, courses, _, teacher = beside_a_broken_teacher(make_lab, '{shortname_like: "C*"}')
    lab.edit("project", "site: test\n", "site: test\nintervals: {people: 48, enrolments: 48, grades: 48}\n")
    await lab.sync()
    new = site.add_user("New", "Comer", lastaccess=site.now)
    broken = teacher if how == "list" else new

    def name(lastname: str) -> None:
        site.update_user(broken, lastname=lastname)

    site.enrol(site.add_course("C9", "New") if how == "list" else courses[0], new)
    name("<Comer")
    assert "degraded" == (await lab.sync(later=49 * 3600.0)).state
    name("Comer")
    assert 1 == await read_until_there(lab, new)
    name("<Comer")
    for _ in range(45):  # until the next read is due
        await lab.sync()
    hours = [number for number in range(200) if not (await lab.sync()).not_due]
    assert [0, 1, 2, 3, 48, 96, 144, 192] == hours
