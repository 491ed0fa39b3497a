"""The main job on strict fakes: what is sent, what is not, and what one failure does to the rest."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.sizes import Sizes
from flows.confirm import confirm, confirm_blanks
from flows.errors import UsageError
from state import StateError
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written
from tests.postgres import both_books as state_url  # noqa: F401 - a fixture: these tests run on both

MakeLab = Callable[..., Lab]
NONE_RUNNING = "None of the courses that project.yaml chooses is visible and running, so nothing was read."
ENROLLED, PROFILES = "core_enrol_get_enrolled_users", "core_user_get_users_by_field"
BATCH, GRADES = "tool_mobile_call_external_functions", "gradereport_user_get_grade_items"


def site_of(*sizes: int, shared: bool = False) -> tuple[FakeSite, list[int], list[int]]:
    """Make a site with one course per number of learners; `shared` learners start at the same one each time."""
    site = FakeSite()
    learners = [
        site.add_user(f"First{n}", f"Last{n}", phone1=f"0722 000 {n:03}", lastaccess=site.now)
        for n in range(max(sizes) if shared else sum(sizes))
    ]
    courses, start = [], 0
    for number, size in enumerate(sizes):
        courses.append(site.add_course(f"C{number}", f"Course {number}"))
        for learner in learners[start : start + size]:
            site.enrol(courses[-1], learner)
        start += 0 if shared else size
    return site, courses, learners


async def test_first_second_and_changed(make_lab: MakeLab) -> None:
    """A first run creates, a second sends nothing, a third sends the one property that changed."""
    site, courses, learners = site_of(3, 2)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site)
    assert {"created": 5 + 5} == written(await lab.sync())
    result = await lab.sync()
    assert ({}, {}) == (written(result), result.requests["commcare"])
    site.grade(item, learners[0], 80)
    assert {"updated": 1} == written(await lab.sync())
    (row,) = lab.rows_sent(2)
    assert {"grade_percent", "result", f"grade_{item}"} == set(row["properties"])
    assert not {"case_name", "owner_id", "external_id"} & set(row)


async def test_requests_are_counted(make_lab: MakeLab) -> None:
    """Requests are courses + per course (id pages + suspended + field pages + grade calls) + profile batches."""
    site, courses, _ = site_of(30, 120, 250)
    for course in courses:
        site.set_grade_item(course, "Quiz")
    lab = make_lab(site)
    lab.sizes = lambda: Sizes.fixed(page=100, profiles=100, grades=25)
    result = await lab.sync()
    pages = [1, 2, 3]
    assert {
        "core_webservice_get_site_info": 1,
        "core_course_get_courses_by_field": 1,
        ENROLLED: sum(1 + 1 + page for page in pages),
        GRADES: 1,
        BATCH: 5 + 10,
        PROFILES: 4,
    } == result.requests["moodle"]


async def test_batches_are_filled_across_courses(make_lab: MakeLab) -> None:
    """Each level costs its rows divided by 100, whatever courses they come from."""
    site, _, _ = site_of(70, 70, 70, 20)
    result = await make_lab(site).sync()
    assert 3 + 3 == result.requests["commcare"]["write"]


async def test_each_profile_is_read_once(make_lab: MakeLab) -> None:
    """People in several courses are read and created once."""
    site, _, _ = site_of(10, 10, 10, shared=True)
    result = await make_lab(site).sync()
    assert (10, 30) == (result.of("student").created, result.of("enrolment").created)
    assert 1 == result.requests["moodle"][PROFILES]


async def test_children_follow_their_parents(make_lab: MakeLab) -> None:
    """An enrolment is sent in a later request than its student, and points to the student's case."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    student, enrolment = lab.case(f"test-user-{learners[0]}"), lab.case(f"test-enrol-2-{learners[0]}")
    assert student.case_id == enrolment.indices["student"]["case_id"]
    assert ["student", "enrolment"] == [form.rows[0]["case_type"] for form in lab.project.forms]


async def test_one_failed_course(make_lab: MakeLab) -> None:
    """A course that cannot be read is named; the others go on, and nothing in it is gone."""
    site, courses, _ = site_of(3, 3, 3)
    lab = make_lab(site)
    await lab.sync()
    site.grade(site.set_grade_item(courses[2], "Quiz"), max(site.members_of(courses[2])), 50)
    lab.denied = {courses[0]}
    for _ in range(3):
        result = await lab.sync()
    assert "degraded" == result.state
    assert "failed" == result.courses[courses[0]].state
    assert "completed" == result.courses[courses[1]].state
    assert 0 == sum(counts.marked_left for counts in result.cases.values())
    assert any(str(courses[0]) in message for message in result.messages)


@pytest.mark.parametrize("kind", ["web", "cli"])
async def test_maintenance(make_lab: MakeLab, kind: str) -> None:
    """A Moodle in maintenance postpones the run, and the next one catches up."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 50)
    site.maintenance = kind
    result = await lab.sync()
    assert ("postponed", 3, {}) == (result.state, result.state.exit_code, written(result))
    site.maintenance = ""
    assert {"updated": 1} == written(await lab.sync())


async def test_maintenance_in_the_middle(make_lab: MakeLab) -> None:
    """A Moodle that closes in mid-run postpones it; what was acknowledged stays acknowledged."""
    site, _, _ = site_of(3, 3)
    lab = make_lab(site)
    lab.moodle.fail_next(GRADES, "sitemaintenance", after=1)
    result = await lab.sync()
    assert "postponed" == result.state
    assert {"created": 6 + 3} == written(result)
    assert {"created": 3} == written(await lab.sync())


async def test_first_run_shows_its_plan(make_lab: MakeLab) -> None:
    """Without approval a first run sends nothing and says what it would create."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    result = await lab.sync(yes=False)
    assert ("waiting", 4) == (result.state, result.state.exit_code)
    assert {"student": 3, "enrolment": 3} == result.plan["creates"]
    assert 2 == result.plan["commcare_requests"]
    assert [] == lab.project.forms
    assert {"created": 6} == written(await lab.sync())
    assert {} == written(await lab.sync(yes=False))


async def test_mistyped_address_binds_nothing(make_lab: MakeLab) -> None:
    """New books belong to nothing until both systems have answered, so a mistyped address can be corrected."""
    other = ("https://typo.example.org", "https://commcare.example.org", "training")
    lab = make_lab(site_of(2)[0])
    lab.moodle.fail_next(None, "refused", times=50)
    assert "failed" == (await lab.sync()).state
    lab.store.check_target(*other)
    lab.use_site(lab.site)
    await lab.sync()
    with pytest.raises(StateError, match="MOODLE_URL"):
        lab.store.check_target(*other)


async def test_new_mapping_waits_alone(make_lab: MakeLab) -> None:
    """A mapping switched on later waits for a person; the approved ones go on meanwhile."""
    site, courses, learners = site_of(3)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site)
    await lab.sync()
    lab.edit("grade_item", "enabled: false", "enabled: true")
    site.grade(item, learners[0], 80)
    result = await lab.sync(yes=False)
    assert ("waiting", {"updated": 1}) == (result.state, written(result))
    assert "--mapping grade_item --yes" in result.messages[0]
    assert 3 == (await lab.sync(mappings=("grade_item",))).of("grade_item").created
    assert ("completed", {}) == ((again := await lab.sync(yes=False)).state, written(again))


async def test_existing_cases_stop_a_first_run(make_lab: MakeLab) -> None:
    """Cases of the type that the books do not know stop the run before anything is sent."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.project.add_case("student", "Somebody Else", owner_id="x")
    result = await lab.sync()
    assert ("waiting", []) == (result.state, lab.project.forms)
    assert "1 case of type 'student'" in result.messages[0]
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    assert {"created": 6} == written(await lab.sync())


async def test_lost_books(make_lab: MakeLab) -> None:
    """With the books lost the run stops first; told to go on it finds its own cases and makes no doubles."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    for file in (lab.folder / "var").glob("state.db*"):
        file.unlink()
    again = Lab(lab.folder, site)
    again.project, again.commcare = lab.project, lab.commcare
    assert "waiting" == (await again.sync()).state
    for name in ("student", "enrolment"):
        again.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await again.sync()
    assert 6 == len(lab.project.cases)
    again.close()


async def test_owner_unknown_holds_back(make_lab: MakeLab) -> None:
    """A learner whose owner does not exist is held back, its enrolment waits, and the reason is counted."""
    site, _, _ = site_of(3)
    lab = make_lab(site, project=PROJECT.replace("Field coaches", "Nobody"))
    result = await lab.sync()
    assert ({"held_back": 6}, "degraded") == (written(result), result.state)
    assert {"owner_unresolved": 3, "waits_for_parent": 3} == dict(result.reasons)
    lab.project.add_group("Nobody")
    assert {"created": 6} == written(await lab.sync())


async def test_owner_moved_by_supervisor_stays(make_lab: MakeLab) -> None:
    """An owner written once is left to supervisors; the children follow it in the same run it is seen."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    student, enrolment = lab.case(f"test-user-{learners[0]}"), lab.case(f"test-enrol-2-{learners[0]}")
    lab.project.move_owner(student.case_id, "somebody-else")
    site.update_user(learners[0], city="Bondo")
    await lab.sync()
    assert ("somebody-else", "somebody-else") == (
        lab.project.cases[student.case_id].owner_id,
        lab.project.cases[enrolment.case_id].owner_id,
    )


async def test_hidden_owner_field_moves_nobody(make_lab: MakeLab) -> None:
    """When Moodle stops showing the field that names the owner, the case stays with its owner."""
    site, _, learners = site_of(2)
    site.add_profile_field("coach", hidden=True)
    site.update_user(learners[0], profile={"coach": "amina"})
    lab = make_lab(site)
    amina = lab.project.add_user("amina")
    rules = "first_of: [{user: profile.coach}]\n  otherwise: project"
    lab.edit("student", "otherwise: project\n  write: once", rules)
    await lab.sync()
    assert amina == lab.case(f"test-user-{learners[0]}").owner_id
    lab.moodle.revoke("moodle/user:viewalldetails")
    await lab.sync()
    assert amina == lab.case(f"test-user-{learners[0]}").owner_id


async def test_two_complete_reads_before_left(make_lab: MakeLab) -> None:
    """Somebody is marked as left after two complete reads without him, once, and comes back as before."""
    site, courses, learners = site_of(8, 8, shared=True)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    assert {} == written(await lab.sync())
    assert {"marked_left": 1} == written(await lab.sync())
    assert {} == written(await lab.sync())
    key = f"test-enrol-{courses[0]}-{learners[0]}"
    assert "left" == lab.case(key).properties["enrolment_status"]
    site.enrol(courses[0], learners[0])
    assert {"updated": 1} == written(await lab.sync())
    assert "active" == lab.case(key).properties["enrolment_status"]
    assert {} == written(await lab.sync())


async def test_missing_once_is_forgotten(make_lab: MakeLab) -> None:
    """Somebody missing from one read and back in the next is never marked, also later."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    await lab.sync()
    for _ in range(3):
        site.unenrol(courses[0], learners[0])
        assert {} == written(await lab.sync())
        site.enrol(courses[0], learners[0])
        assert {} == written(await lab.sync())


async def test_too_many_leavers_wait_for_a_person(make_lab: MakeLab) -> None:
    """A course that loses more than a fifth of its people asks first; the others go on."""
    site, courses, learners = site_of(10, 30, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:4]:
        site.unenrol(courses[0], learner)
    site.unenrol(courses[1], learners[12])
    await lab.sync()
    result = await lab.sync()
    assert ("waiting", 4) == (result.state, result.state.exit_code)
    assert any(f"confirm-leavers {courses[0]} --count 4" in message for message in result.messages)
    assert 1 == result.of("enrolment").marked_left


@pytest.mark.parametrize(("people", "gone", "is_asked"), [(8, 2, False), (15, 3, False), (14, 3, True)])
async def test_the_guard_of_a_course_at_its_edges(
    make_lab: MakeLab, people: int, gone: int, is_asked: bool
) -> None:
    """Two of eight, a quarter, are few, and three of fifteen are no more than a fifth; three of fourteen are."""
    site, courses, learners = site_of(people, 40, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:gone]:
        site.unenrol(courses[0], learner)
    await lab.sync()
    result = await lab.sync()
    assert (0 if is_asked else gone) == result.of("enrolment").marked_left
    asked = [f"confirm-leavers {courses[0]} --count {gone}"] if is_asked else []
    assert asked == re.findall(r"confirm-leavers \d+ --count \d+", " ".join(result.messages))


@pytest.mark.parametrize(("gone", "is_asked"), [(6, False), (7, True)])
async def test_the_guard_of_a_run_at_its_edge(make_lab: MakeLab, gone: int, is_asked: bool) -> None:
    """Of 120 people who are in three courses 6 may go at once, one in twenty; of one more a person is asked."""
    site, courses, learners = site_of(40, 40, 40)
    lab = make_lab(site)
    await lab.sync()
    for number in range(gone):
        site.unenrol(courses[number % 3], learners[40 * (number % 3) + number])
    await lab.sync()
    result = await lab.sync()
    told = ({}, "waiting") if is_asked else ({"marked_left": 2 * gone}, "completed")
    assert told == (written(result), result.state)


async def test_confirmed_leavers_are_marked(make_lab: MakeLab) -> None:
    """What a person confirms with the exact count is marked in the next run."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:4]:
        site.unenrol(courses[0], learner)
    await lab.sync()
    await lab.sync()
    with pytest.raises(UsageError, match="4 people"):
        await lab.books.do(confirm, lab.store, courses[0], 3)
    await lab.books.do(confirm, lab.store, courses[0], 4)
    assert {"marked_left": 4} == written(await lab.sync())
    assert {} == written(await lab.sync())


async def test_empty_read_is_suspicious(make_lab: MakeLab) -> None:
    """A course that suddenly comes back empty marks nobody."""
    site, courses, learners = site_of(2, 8)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:2]:
        site.unenrol(courses[0], learner)
        site.enrol(courses[1], learner)
    for _ in range(2):
        result = await lab.sync()
    assert "waiting" == result.state
    assert 0 == result.of("enrolment").marked_left


async def test_shrunken_read_marks_nobody(make_lab: MakeLab) -> None:
    """A lost capability that silently shrinks the lists marks nobody as left, however often it is read."""
    site, _, _ = site_of(40)
    lab = make_lab(site)
    await lab.sync()
    lab.moodle.revoke("moodle/user:viewdetails")
    for _ in range(4):
        result = await lab.sync()
        assert 0 == sum(counts.marked_left for counts in result.cases.values())
    assert result.state in ("waiting", "degraded")


async def test_deselected_course_is_not_gone(make_lab: MakeLab) -> None:
    """A course that is not read any more, and the people only in it, stay as they are."""
    site, courses, _ = site_of(8, 2)
    lab = make_lab(site)
    await lab.sync()
    lab.edit("project", 'shortname_like: "*"', f"ids: [{courses[0]}]")
    for _ in range(3):
        assert {} == written(await lab.sync())


async def test_hidden_and_ended_courses_are_not_read(make_lab: MakeLab) -> None:
    """Hidden courses are read only when named, ended ones not at all; nobody in them is gone."""
    site, courses, _ = site_of(3, 3, 3)
    lab = make_lab(site)
    await lab.sync()
    site.courses[courses[1]]["visible"] = 0
    site.courses[courses[2]]["enddate"] = int(lab.clock.now()) + 60
    for _ in range(3):
        result = await lab.sync()
        assert ({courses[0]}, {}) == (set(result.courses), written(result))


async def test_no_course_left(make_lab: MakeLab) -> None:
    """When no chosen course is visible any more the run says so, and nobody is gone."""
    site, courses, _ = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.courses[courses[0]]["visible"] = 0
    for _ in range(3):
        result = await lab.sync()
        assert ("degraded", {}) == (result.state, written(result))


async def test_holidays_are_no_alarm(make_lab: MakeLab) -> None:
    """Courses that are over, or have not begun, are as they should be: hourly runs are completed and say so."""
    site, courses, _ = site_of(3, 3, 3)
    lab = make_lab(site)
    lab.edit("project", 'shortname_like: "*"', 'shortname_like: "*", only_running: true')
    site.courses[courses[2]]["startdate"] = (begins := int(lab.clock.now()) + 86_400)
    await lab.sync()
    for course in courses[:2]:
        site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    site.courses[courses[0]]["visible"] = 0
    for _ in range(2):
        result = await lab.sync()
        assert ("completed", {}, {}) == (result.state, result.courses, written(result))
        assert sum(NONE_RUNNING in text for text in result.messages) == 1
    lab.clock.advance(begins - lab.clock.now() + 1)
    assert ("completed", [courses[2]]) == ((result := await lab.sync()).state, [*result.courses])


@pytest.mark.parametrize("why", ["hidden", "deleted", "none fits"])
async def test_courses_that_cannot_be_seen_are_an_alarm(make_lab: MakeLab, why: str) -> None:
    """One that runs and is hidden, one that is not there, a choice without courses: not the end of a term."""
    site, courses, _ = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    if why == "hidden":
        site.courses[courses[1]]["visible"] = 0
    elif why == "deleted":
        lab.edit("project", 'shortname_like: "*"', f"ids: [{courses[0]}, 99]")
    else:
        lab.edit("project", 'shortname_like: "*"', 'shortname_like: "X*"')
    result = await lab.sync()
    assert ("degraded", True) == (result.state, any(NONE_RUNNING in text for text in result.messages))


async def test_course_filter(make_lab: MakeLab) -> None:
    """With --course only that course is read and written, and nobody is swept elsewhere."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    for course, learner in ((courses[0], learners[0]), (courses[1], learners[3])):
        site.grade(site.set_grade_item(course, "Quiz"), learner, 70)
    result = await lab.sync(courses=(courses[1],))
    assert ({courses[1]}, {"updated": 1}) == (set(result.courses), written(result))
    assert 3 == result.requests["moodle"][ENROLLED]


async def test_course_filter_keeps_roles_whole(make_lab: MakeLab) -> None:
    """With --course a person's roles are still a union over all courses he or she was last seen in."""
    site, courses, learners = site_of(3, 3, shared=True)
    site.enrol(courses[1], learners[0], roles=("teacher",))
    lab = make_lab(site)
    lab.edit("student", "{source: roles, any_of: [student]}", "{source: roles, any_of: [teacher]}")
    lab.edit("student", "roles: [student]}", "roles: [teacher]}")
    await lab.sync()
    site.update_user(learners[0], city="Bondo")
    assert 1 == (await lab.sync(courses=(courses[0],))).of("student").updated


async def test_wrong_names(make_lab: MakeLab) -> None:
    """An unknown course or mapping is wrong usage that says what there is."""
    lab = make_lab(site_of(2)[0])
    with pytest.raises(UsageError, match=r"Course 99 .* 2 \(C0\)"):
        await lab.sync(courses=(99,))
    with pytest.raises(UsageError, match=r"'nope'.*student, enrolment"):
        await lab.sync(mappings=("nope",))
    assert "completed" == (await lab.sync()).state


async def test_course_in_project_that_is_not_there(make_lab: MakeLab) -> None:
    """A course that project.yaml names and Moodle lacks is named; the others go on."""
    site, courses, _ = site_of(2)
    lab = make_lab(site, project=PROJECT.replace('shortname_like: "*"', f"ids: [{courses[0]}, 77]"))
    result = await lab.sync()
    assert ("degraded", "failed", "completed") == (
        result.state,
        result.courses[77].state,
        result.courses[courses[0]].state,
    )


async def test_preview_sends_nothing(make_lab: MakeLab) -> None:
    """A preview counts what would be sent, also children of cases that are not there yet, and leaves no trace."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    assert {"created": 6} == written(await lab.sync(preview=True))
    await lab.sync()
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 70)
    sent = len(lab.project.forms)
    before = lab.store.last_run()
    assert {"updated": 1} == written(await lab.sync(preview=True))
    assert (sent, before) == (len(lab.project.forms), lab.store.last_run())


async def test_grade_item_mapping(make_lab: MakeLab) -> None:
    """Three levels: grade items under enrolments under students, each after its parent."""
    site, courses, learners = site_of(60, 60)
    for course in courses:
        for name in ("Quiz", "Essay"):
            site.grade(site.set_grade_item(course, name), max(site.members_of(course)), 50)
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false", "enabled: true")
    result = await lab.sync()
    assert (120, 120, 240) == tuple(result.of(t).created for t in ("student", "enrolment", "grade_item"))
    assert 2 + 2 + 3 == result.requests["commcare"]["write"]
    assert {} == written(await lab.sync())
    item = next(case for case in lab.project.of_type("grade_item"))
    assert "enrolment" == lab.project.cases[next(iter(item.indices.values()))["case_id"]].case_type
    assert learners


async def test_edited_mapping_sends_only_that_property(make_lab: MakeLab) -> None:
    """An edit of one property sends that property of each case, and nothing else."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    lab.edit(
        "student",
        "email: {source: email, transform: [trim, lower]",
        "email: {source: email, transform: [trim, upper]",
    )
    lab.edit("student", "email: amina@example.org", "email: AMINA@EXAMPLE.ORG")
    assert {"updated": 3} == written(await lab.sync())
    assert [["email"]] * 3 == [sorted(row["properties"]) for row in lab.rows_sent(2)]


async def test_ignored_change_alone_is_not_sent(make_lab: MakeLab) -> None:
    """An ignored property is no reason to send, and goes along when there is another."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], lastaccess=site.now + 10 * 86_400)
    assert {} == written(await lab.sync())
    site.update_user(learners[0], city="Bondo")
    await lab.sync()
    (row,) = lab.rows_sent(2)
    assert {"city", "last_access"} == set(row["properties"])


async def test_hidden_phones_keep_their_value(make_lab: MakeLab) -> None:
    """When Moodle stops showing phones, CommCare keeps them; an emptied phone is emptied."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], phone1="")
    await lab.sync()
    assert "" == lab.case(f"test-user-{learners[0]}").properties["contact_phone_number"]
    lab.moodle.revoke("moodle/site:viewuseridentity")
    await lab.sync()
    assert "254722000001" == lab.case(f"test-user-{learners[1]}").properties["contact_phone_number"]


async def test_mass_blanking_asks_first(make_lab: MakeLab) -> None:
    """When many people lose the same personal value at once, nothing is emptied until a person agrees."""
    site, _, learners = site_of(20)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:10]:
        site.update_user(learner, city="")
    site.update_user(learners[0], country="KE")
    result = await lab.sync()
    assert ("waiting", {"updated": 1}) == (result.state, written(result))
    assert "10 people would lose their city" in result.messages[0]
    assert "Kisumu" == lab.case(f"test-user-{learners[0]}").properties["city"]
    await lab.books.do(confirm_blanks, lab.store, "student", "city", 10)
    assert {"updated": 10} == written(await lab.sync())
    assert {} == written(await lab.sync())


async def test_shipped_mappings_are_what_is_tested() -> None:
    """The worlds of these tests use the files that are shipped."""
    assert {"student.yaml", "enrolment.yaml", "grade_item.yaml"} <= {file.name for file in SHIPPED.glob("*.yaml")}
