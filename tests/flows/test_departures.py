"""Cases that are withdrawn, parked, closed or whose course is over, and how each of them comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adaptors.commcare.fake_project import Case, LocationType
from flows.confirm import confirm, confirm_withdrawn
from flows.errors import UsageError
from flows.problems import list_problems
from flows.withdrawn import list_withdrawn
from state import RowId
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written
from tests.voided import void

MakeLab = Callable[..., Lab]
CONSENT = '  - {source: roles, any_of: [student]}\n  - {source: profile.consent, is_not: "no"}\n'
PARKING = PROJECT + "parked_owner: {group: Parking}\n"
LEFT = "when_left: {set: {moodle_status: left}}"
ENROL_LEFT = "when_left: {set: {enrolment_status: left}}"


def withdrawn(result: Any) -> int:
    """Return how many cases a run withdrew."""
    return sum(counts.withdrawn for counts in result.cases.values())


async def consenting(make_lab: MakeLab, people: int = 10, extra: str = "") -> tuple[Lab, list[int]]:
    """Return a lab in which a custom field "consent" decides who is sent; everybody has said yes."""
    site, _, learners = site_of(people)
    site.add_profile_field("consent")
    for learner in learners:
        site.update_user(learner, city="Kisumu", profile={"consent": "yes"})
    lab = make_lab(site)
    lab.edit("student", "  - {source: roles, any_of: [student]}\n", CONSENT)
    text = (lab.mappings / "student.yaml").read_text()
    lab.edit("student", text[text.index("\ntests:") :], f"\n{extra}\n")
    await lab.sync()
    return lab, learners


async def test_what_leaving_said_before_an_edit_is_taken_back(make_lab: MakeLab) -> None:
    """Who is back is not called gone by a rule that the mapping has no more; what was taken out of it stays."""
    site, courses, learners = site_of(6)
    lab = make_lab(site)
    lab.edit("enrolment", ENROL_LEFT, "when_left: {set: {gone: 'yes'}}")
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "enrolment.yaml").write_text(text)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    for _ in range(2):
        await lab.sync()
    case = lab.case(f"test-enrol-{courses[0]}-{learners[0]}")
    assert "yes" == case.properties["gone"]
    lab.edit("enrolment", "when_left: {set: {gone: 'yes'}}", "")
    lab.edit("enrolment", "  course_shortname: course.shortname\n", "")
    await lab.sync()
    site.enrol(courses[0], learners[0])
    await lab.sync()
    assert ("", "C0") == (case.properties["gone"], case.properties["course_shortname"])
    assert {} == written(await lab.sync())


# --- withdrawn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("books", ["known", "dirty"])
@pytest.mark.parametrize("line", ["", "  city: {retire: clear}\n"])
async def test_what_is_taken_out_as_its_person_is_kept_out_is_emptied(
    make_lab: MakeLab, books: str, line: str
) -> None:
    """The same run sees both edits: nobody can say any more that the value is personal, and it goes."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", "  city: {source: city, transform: [trim], personal: true}\n", line)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    if books == "dirty":
        void(lab.store, [RowId("student", 0, f"test-user-{learners[0]}")], lab.clock.now())
    await lab.sync()
    assert "" == lab.case(f"test-user-{learners[0]}").properties["city"]
    assert {} == written(await lab.sync())


async def test_a_person_kept_out_is_withdrawn(make_lab: MakeLab) -> None:
    """All that is personal is emptied in one write, once; what is not stays, and it is counted."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: withdrawn}}")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    result = await lab.sync()
    assert (1, 1, "completed") == (
        result.of("student").withdrawn,
        result.of("enrolment").withdrawn,
        result.state,
    )
    key = f"test-user-{learners[0]}"
    case = lab.case(key)
    assert (key, "withdrawn", "en") == (
        case.case_name,
        case.properties["moodle_status"],
        case.properties["language"],
    )
    private = ("first_name", "last_name", "username", "email", "contact_phone_number", "city")
    assert [""] * len(private) == [case.properties[name] for name in private]
    sent = len(lab.project.forms)
    for _ in range(2):
        assert ({}, 0, sent) == (written(again := await lab.sync()), withdrawn(again), len(lab.project.forms))


async def test_who_is_withdrawn_is_listed(make_lab: MakeLab) -> None:
    """By key and number, also while CommCare has not answered, and no more once the person is let in again."""
    lab, learners = await consenting(make_lab)
    assert [] == list_withdrawn(lab.store)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.fail_next("timeout")
    for state in ("withdrawing", "withdrawn"):
        await lab.sync()
        found = [one.as_json() for one in list_withdrawn(lab.store)]
        assert [
            ("enrolment", f"test-enrol-2-{learners[0]}", "withdrawn", True),
            ("student", f"test-user-{learners[0]}", state, state == "withdrawn"),
        ] == [(one["mapping"], one["key"], one["state"], one["done"]) for one in found]
        assert {learners[0]} == {one["user_id"] for one in found}
    assert not any(word in str(one) for one in found for word in ("First0", "Last0", "Kisumu"))
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    await lab.sync()
    assert [] == list_withdrawn(lab.store)


async def test_a_withdrawn_person_comes_back_whole(make_lab: MakeLab) -> None:
    """Included again what was emptied is sent, also what is written only once, and leaving's words go."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {why: no consent}}")
    lab.edit("student", "  city: {source: city,", "  city: {source: city, write: once,")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    assert {"updated": 1} == written(await lab.sync())
    case = lab.case(f"test-user-{learners[0]}")
    assert ("First0 Last0", "First0", "Kisumu", "") == (
        case.case_name,
        *(case.properties[name] for name in ("first_name", "city", "why")),
    )
    assert {} == written(await lab.sync())


async def test_children_of_somebody_withdrawn_are_kept_out(make_lab: MakeLab) -> None:
    """Changes of an enrolment are not sent while its student is withdrawn, and nothing waits."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    lab.site.grade(lab.site.set_grade_item(2, "Quiz"), learners[0], 80)
    result = await lab.sync()
    assert ({}, {}) == (written(result), dict(result.reasons))
    assert {"updated": 0, "created": 0} == {
        kind: getattr((await lab.sync(mappings=("enrolment",))).of("enrolment"), kind)
        for kind in ("updated", "created")
    }


async def test_somebody_never_included_has_no_waiting_children(make_lab: MakeLab) -> None:
    """The enrolment of a person without a case is kept out, and not held back run after run."""
    lab, _ = await consenting(make_lab)
    new = lab.site.add_user("Neema", "New", profile={"consent": "no"})
    lab.site.enrol(2, new)
    result = await lab.sync()
    assert ({}, {}) == (written(result), dict(result.reasons))


async def test_a_condition_on_a_hidden_field_withdraws_nobody(make_lab: MakeLab) -> None:
    """When Moodle stops showing what decides, records are held back and no case is touched."""
    lab, _ = await consenting(make_lab)
    sent = len(lab.project.forms)
    for learner in lab.site.users.values():
        learner.profile.pop("consent", None)
    lab.site.profile_fields.clear()
    result = await lab.sync()
    assert (0, sent) == (withdrawn(result), len(lab.project.forms))


async def test_many_withdrawn_at_once_wait_for_a_person(make_lab: MakeLab) -> None:
    """An edit of include that would empty many people asks first; the exact count agrees, for one run."""
    lab, learners = await consenting(make_lab)
    for learner in learners[:4]:
        lab.site.update_user(learner, profile={"consent": "no"})
    result = await lab.sync()
    assert ("waiting", 0) == (result.state, withdrawn(result))
    assert any("confirm-withdrawn 0 --count 4" in message for message in result.messages)
    assert "Kisumu" == lab.case(f"test-user-{learners[0]}").properties["city"]
    with pytest.raises(UsageError, match="4 people kept out there, not 3"):
        await lab.books.do(confirm_withdrawn, lab.store, 0, 3)
    await lab.books.do(confirm_withdrawn, lab.store, 0, 4)
    result = await lab.sync()
    assert (4, 4, "completed") == (
        result.of("student").withdrawn,
        result.of("enrolment").withdrawn,
        result.state,
    )
    assert "" == lab.case(f"test-user-{learners[0]}").properties["city"]


async def test_a_preview_tells_who_would_be_withdrawn(make_lab: MakeLab) -> None:
    """It counts them, sends nothing, and the books are as they were."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    sent = len(lab.project.forms)
    assert 1 == (await lab.sync(preview=True)).of("student").withdrawn
    assert (sent, "active") == (
        len(lab.project.forms),
        lab.store.cases("student", 0)[f"test-user-{learners[0]}"].status,
    )


async def roles(make_lab: MakeLab) -> tuple[Lab, list[int], list[int]]:
    """Return a lab with a person who is a student in one course and a teacher in the other."""
    site, courses, learners = site_of(10, 10, shared=True)
    site.members_of(courses[1])[learners[0]].roles = ("teacher",)
    lab = make_lab(site)
    await lab.sync()
    return lab, courses, learners


async def test_a_course_that_is_not_read_withdraws_nobody(make_lab: MakeLab) -> None:
    """A teacher here who was last seen as a student in a hidden, failed or unasked course stays as she is."""
    lab, courses, _ = await roles(make_lab)
    sent = len(lab.project.forms)
    lab.denied = {courses[0]}
    assert 0 == withdrawn(await lab.sync())
    lab.denied = set()
    assert 0 == withdrawn(await lab.sync(courses=(courses[1],)))
    lab.site.courses[courses[0]]["visible"] = 0
    assert 0 == withdrawn(await lab.sync())
    assert sent == len(lab.project.forms)


async def test_a_student_who_became_a_teacher_is_withdrawn(make_lab: MakeLab) -> None:
    """After two complete reads of every course the roles decide: one may have come from a lost right."""
    lab, courses, learners = await roles(make_lab)
    lab.site.members_of(courses[0])[learners[0]].roles = ("teacher",)
    result = await lab.sync()
    assert (0, 1) == (result.of("student").withdrawn, result.of("enrolment").withdrawn)
    assert 1 == (await lab.sync()).of("student").withdrawn


async def test_a_person_missing_from_a_course_is_not_withdrawn(make_lab: MakeLab) -> None:
    """A teacher here who is missing where she was a student stays until she is marked as left there."""
    lab, courses, learners = await roles(make_lab)
    for learner in learners[:5]:
        lab.site.unenrol(courses[0], learner)
    for _ in range(3):
        result = await lab.sync()
        assert 0 == withdrawn(result)
    await lab.books.do(confirm, lab.store, courses[0], 5)
    result = await lab.sync()
    assert (5, 1) == (result.of("enrolment").marked_left, result.of("student").withdrawn)


async def test_consent_is_heard_whatever_courses_are_hidden(make_lab: MakeLab) -> None:
    """A condition that is not about courses needs none of them."""
    lab, learners = await consenting(make_lab)
    hidden = lab.site.add_course("H", "Hidden")
    lab.site.enrol(hidden, learners[0])
    await lab.sync()
    lab.site.courses[hidden]["visible"] = 0
    lab.site.update_user(learners[0], profile={"consent": "no"})
    assert 1 == (await lab.sync()).of("student").withdrawn


async def test_a_withdrawal_in_doubt_is_made_again(make_lab: MakeLab) -> None:
    """When the answer is lost the emptying rests and is written again, also when nothing of it had arrived."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.fail_next("timeout")
    await lab.sync()
    assert 1 == (await lab.sync()).of("student").withdrawn
    assert "" == lab.case(f"test-user-{learners[0]}").properties["city"]
    assert 0 == withdrawn(await lab.sync())


async def test_a_case_that_is_there_twice_is_told_and_not_emptied(make_lab: MakeLab) -> None:
    """The books know too little of it to empty it unasked: it is listed until somebody has settled it."""
    lab, learners = await consenting(make_lab)
    key = f"test-user-{learners[0]}"
    lab.site.update_user(learners[0], city="Bondo")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    double = lab.project.add_case("student", "Double", owner_id="supervisor", external_id=key)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    for reads in (1, 2):
        result = await lab.sync()
        assert ("degraded", {"duplicate_external_id": 1}) == (result.state, dict(result.reasons))
        (problem,) = list_problems(lab.store)
        assert (key, "duplicate_external_id", reads) == (problem.row.key, problem.reason, problem.reads)
        assert "several cases of this external id" in problem.sentence
    lab.project.set_external_id(double.case_id, "")
    result = await lab.sync()
    assert ("completed", [], "") == (result.state, list_problems(lab.store), lab.case(key).properties["city"])


async def test_who_is_let_in_again_is_no_problem_any_more(make_lab: MakeLab) -> None:
    """What could not be emptied needs not be, and goes from the list with the next run that lets somebody go."""
    lab, learners = await consenting(make_lab)
    void(lab.store, [RowId("student", 0, f"test-user-{learners[0]}")], lab.clock.now())
    lab.project.add_case("student", "Double", owner_id="supervisor", external_id=f"test-user-{learners[0]}")
    for answer, problems in (("no", 1), ("yes", 0)):
        lab.site.update_user(learners[0], profile={"consent": answer})
        await lab.sync()
        assert problems == len(list_problems(lab.store))


async def test_a_withdrawn_person_who_leaves_is_marked(make_lab: MakeLab) -> None:
    """Somebody withdrawn can still leave."""
    lab, learners = await consenting(make_lab, extra="")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    lab.site.delete_user(learners[0])
    await lab.sync()
    await lab.sync()
    assert "left" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]


# --- parked -----------------------------------------------------------------------------------------------


async def parking(make_lab: MakeLab, *, group: bool = True) -> tuple[Lab, int, str]:
    """Return a lab that parks students who left: lab, a learner who has left since two reads, the parked owner."""
    site, courses, learners = site_of(8)
    lab = make_lab(site, project=PARKING)
    owner = lab.project.add_group("Parking") if group else ""
    lab.edit("student", LEFT, "when_left: {set: {moodle_status: left}, park: true}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    return lab, learners[0], owner


async def test_somebody_who_left_is_parked(make_lab: MakeLab) -> None:
    """The case gets the owner of parked cases together with its words, in one write."""
    lab, learner, owner = await parking(make_lab)
    sent = len(lab.project.forms)
    assert {"marked_left": 2} == written(await lab.sync())
    case = lab.case(f"test-user-{learner}")
    assert (owner, "left", 1) == (case.owner_id, case.properties["moodle_status"], len(lab.project.forms) - sent)
    assert {} == written(await lab.sync())


async def test_parked_at_a_location_whose_level_shares_no_cases(make_lab: MakeLab) -> None:
    """Such a location may own no case that is at work, and is as good as any to park one."""
    site, courses, learners = site_of(8)
    lab = make_lab(site, project=PROJECT + "parked_owner: {location: archive}\n")
    level = LocationType("archive", shares_cases=False)
    archive = lab.project.add_location("Archive", "archive", kind=level)
    lab.edit("student", LEFT, "when_left: {set: {moodle_status: left}, park: true}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    await lab.sync()
    assert archive == lab.case(f"test-user-{learners[0]}").owner_id


async def test_a_parked_case_gets_its_owner_back(make_lab: MakeLab) -> None:
    """Also where the owner is written only once: the one it had, which a supervisor chose."""
    lab, learner, _ = await parking(make_lab)
    case = lab.case(f"test-user-{learner}")
    lab.project.move_owner(case.case_id, "supervisor-choice")
    lab.site.update_user(learner, city="Bondo")
    lab.site.enrol(2, learner)
    await lab.sync()
    lab.site.unenrol(2, learner)
    await lab.sync()
    await lab.sync()
    assert "supervisor-choice" != lab.project.cases[case.case_id].owner_id
    lab.site.enrol(2, learner)
    await lab.sync()
    assert "supervisor-choice" == lab.project.cases[case.case_id].owner_id
    assert {} == written(await lab.sync())


async def test_a_parked_case_that_was_given_away_is_left_there(make_lab: MakeLab) -> None:
    """Who was taken out of the parking by a supervisor is not moved again."""
    lab, learner, _ = await parking(make_lab)
    await lab.sync()
    case = lab.case(f"test-user-{learner}")
    lab.project.move_owner(case.case_id, "somebody-else")
    lab.site.enrol(2, learner)
    await lab.sync()
    assert ("somebody-else", "active") == (
        lab.project.cases[case.case_id].owner_id,
        lab.project.cases[case.case_id].properties["moodle_status"],
    )


async def test_many_are_parked_and_come_back_with_few_requests(make_lab: MakeLab) -> None:
    """Whose they are is asked of all at once, both ways; supervisors' choices count, also past the search."""
    site, courses, learners = site_of(50)
    lab = make_lab(site, project=PARKING)
    parked = lab.project.add_group("Parking")
    lab.edit("student", LEFT, "when_left: {set: {moodle_status: left}, park: true}")
    await lab.sync()
    cases = [lab.case(f"test-user-{learner}") for learner in learners]
    for number, case in enumerate(cases):
        lab.project.move_owner(case.case_id, f"choice-{number}")
    lab.project.search.remove(cases[1].case_id)
    gone, asked = learners[:20], list[int]()
    for learner in gone:
        site.unenrol(courses[0], learner)
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 20)  # of the site as well: they are in no other course
    asked.append((await lab.sync()).requests["commcare"].get("get", 0))
    assert ([1 + 1], {parked}) == (asked, {case.owner_id for case in cases[:20]})
    lab.project.move_owner(cases[2].case_id, "taken-out")
    lab.project.search.remove(cases[1].case_id)
    for learner in gone:
        site.enrol(courses[0], learner)
    result = await lab.sync()
    expected = [f"choice-{number}" if number != 2 else "taken-out" for number in range(20)]
    assert (1 + 1, expected) == (result.requests["commcare"]["get"], [case.owner_id for case in cases[:20]])
    assert {} == written(await lab.sync())


async def test_an_unknown_parked_owner_is_told(make_lab: MakeLab) -> None:
    """The run says whom CommCare does not know; the case is marked all the same and keeps its owner."""
    lab, learner, _ = await parking(make_lab, group=False)
    before = lab.case(f"test-user-{learner}").owner_id
    result = await lab.sync()
    assert ("degraded", {"marked_left": 2}) == (result.state, written(result))
    assert any("'Parking'" in message for message in result.messages)
    assert (before, "left") == (
        lab.case(f"test-user-{learner}").owner_id,
        lab.case(f"test-user-{learner}").properties["moodle_status"],
    )


async def test_parking_in_doubt_is_undone_for_who_came_back(make_lab: MakeLab) -> None:
    """When nobody knows whether a case was parked and its person returns, it has the owner it was given last."""
    lab, learner, owner = await parking(make_lab)
    before = "supervisor-choice"
    lab.project.move_owner(lab.case(f"test-user-{learner}").case_id, before)
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert owner == lab.case(f"test-user-{learner}").owner_id
    lab.site.enrol(2, learner)
    await lab.sync()
    await lab.sync()
    assert (before, {}) == (lab.case(f"test-user-{learner}").owner_id, written(await lab.sync()))


# --- closed -----------------------------------------------------------------------------------------------


async def closing(make_lab: MakeLab) -> tuple[Lab, int]:
    """Return a lab that closes the cases of those who left, and a learner whom one read lacked."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    lab.edit("student", LEFT, "when_left: {set: {moodle_status: left}, close: true}")
    lab.edit("enrolment", ENROL_LEFT, "when_left: {set: {enrolment_status: left}, close: true}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    return lab, learners[0]


async def test_somebody_who_left_is_closed(make_lab: MakeLab) -> None:
    """The case is closed with its words, in one write, once."""
    lab, learner = await closing(make_lab)
    result = await lab.sync()
    assert (2, 2) == (
        sum(c.closed for c in result.cases.values()),
        sum(c.marked_left for c in result.cases.values()),
    )
    case = lab.case(f"test-user-{learner}")
    assert (True, "left") == (case.closed, case.properties["moodle_status"])
    assert {} == written(await lab.sync())


async def test_who_returns_after_closing_has_a_new_case(make_lab: MakeLab) -> None:
    """A closed case stays closed: a new one is made under the key with a number, its children with it."""
    lab, learner = await closing(make_lab)
    await lab.sync()
    lab.site.enrol(2, learner)
    assert {"created": 2} == written(await lab.sync())
    new, child = lab.case(f"test-user-{learner}~2"), lab.case(f"test-enrol-2-{learner}~2")
    assert (False, "active", new.case_id) == (
        new.closed,
        new.properties["moodle_status"],
        child.indices["student"]["case_id"],
    )
    assert lab.case(f"test-user-{learner}").closed
    lab.site.update_user(learner, city="Bondo")
    assert {"updated": 1} == written(await lab.sync())
    assert ("Bondo", {}) == (lab.case(f"test-user-{learner}~2").properties["city"], written(await lab.sync()))


async def test_a_third_case(make_lab: MakeLab) -> None:
    """Leaving and coming back again counts on."""
    lab, learner = await closing(make_lab)
    for _ in range(2):
        await lab.sync()
        lab.site.enrol(2, learner)
        await lab.sync()
        lab.site.unenrol(2, learner)
        await lab.sync()
    lab.site.enrol(2, learner)
    await lab.sync()
    assert [f"test-user-{learner}", f"test-user-{learner}~2", f"test-user-{learner}~3"] == sorted(
        case.external_id
        for case in lab.project.of_type("student")
        if case.external_id.split("~")[0] == f"test-user-{learner}"
    )


@pytest.mark.parametrize("times", [1, 2])
async def test_lost_books_know_a_closed_case_as_closed(make_lab: MakeLab, times: int) -> None:
    """Who comes back after the books were lost gets the next case, as if they had not been lost."""
    lab, learner = await closing(make_lab)
    await lab.sync()
    if times == 2:
        lab.site.enrol(2, learner)
        await lab.sync()
        lab.site.unenrol(2, learner)
        for _ in range(2):
            await lab.sync()
    before = {case.case_id for case in lab.project.cases.values() if case.closed}
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    lab.site.enrol(2, learner)
    for _ in range(3):
        await lab.sync()
    new, child = lab.case(f"test-user-{learner}~{times + 1}"), lab.case(f"test-enrol-2-{learner}~{times + 1}")
    assert (False, "active", new.case_id) == (
        new.closed,
        new.properties["moodle_status"],
        child.indices["student"]["case_id"],
    )
    assert before == {case.case_id for case in lab.project.cases.values() if case.closed}
    assert (2 * times, 16 + 2 * times) == (len(before), len(lab.project.cases))
    row = lab.store.cases("student", 0)[f"test-user-{learner}"]
    assert (new.case_id, times + 1, "active") == (row.case_id, row.generation, row.status)


async def test_lost_books_leave_alone_what_a_person_closed(make_lab: MakeLab) -> None:
    """Where the mapping closes nothing, a person closed the case: it is taken up as it is, and none follows it."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    student = lab.case(f"test-user-{learners[0]}")
    student.closed = True
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    for _ in range(2):
        await lab.sync()
    row = lab.store.cases("student", 0)[student.external_id]
    assert (student.case_id, 1, "active", 6) == (row.case_id, row.generation, row.status, len(lab.project.cases))


@pytest.mark.parametrize("arrived", [True, False])
async def test_closing_in_doubt_and_back(make_lab: MakeLab, arrived: bool) -> None:
    """Nobody knows whether a case was closed, and its person is back: CommCare is asked, no case is doubled."""
    lab, learner = await closing(make_lab)
    (lab.commcare.drop_reply_after_commit if arrived else lambda: lab.commcare.fail_next("timeout"))()
    await lab.sync()
    lab.site.enrol(2, learner)
    for _ in range(3):
        await lab.sync()
    key = f"test-user-{learner}~2" if arrived else f"test-user-{learner}"
    assert (False, "active", 8 + arrived) == (
        lab.case(key).closed,
        lab.case(key).properties["moodle_status"],
        len(lab.project.of_type("student")),
    )
    assert {} == written(await lab.sync())


async def test_a_close_in_doubt_is_remembered(make_lab: MakeLab) -> None:
    """The close arrived, and neither it nor the row that followed was answered: who is back gets the next case."""
    lab, learner = await closing(make_lab)
    for _ in range(2):
        lab.commcare.drop_reply_after_commit()
        await lab.sync()
    lab.site.enrol(2, learner)
    for _ in range(3):
        await lab.sync()
    assert (False, "active", 9) == (
        lab.case(f"test-user-{learner}~2").closed,
        lab.case(f"test-user-{learner}~2").properties["moodle_status"],
        len(lab.project.of_type("student")),
    )
    assert {} == written(await lab.sync())


async def test_a_new_case_in_doubt_is_not_doubled(make_lab: MakeLab) -> None:
    """The first write of the new case is lost on its way back: it is found under its own external id."""
    lab, learner = await closing(make_lab)
    await lab.sync()
    lab.site.enrol(2, learner)
    lab.commcare.drop_reply_after_commit()
    for _ in range(3):
        await lab.sync()
    assert (9, {}) == (len(lab.project.of_type("student")), written(await lab.sync()))


async def test_a_case_that_a_person_closed_stays_closed(make_lab: MakeLab) -> None:
    """It takes updates, no other case is made, and the run says how many there are."""
    lab, _ = await closing(make_lab)
    student = lab.project.of_type("student")[-1]
    student.closed = True
    lab.site.update_user(int(student.external_id.split("-")[-1]), city="Bondo")
    result = await lab.sync()
    assert ({"closed_in_commcare": 1}, 8, True) == (
        dict(result.reasons),
        len(lab.project.of_type("student")),
        student.closed,
    )


def close_extensions(lab: Lab) -> None:
    """Have CommCare close what is an extension of a case that is closed, as some project spaces do."""

    def cascade(host: Case) -> None:
        for case in [*lab.project.cases.values()] if host.closed else ():
            below = (index["case_id"] for index in case.indices.values() if index["relationship"] == "extension")
            if not case.closed and host.case_id in below:
                lab.project.close_case(case.case_id)

    lab.project.watchers.append(cascade)


async def host_closed(make_lab: MakeLab) -> tuple[Lab, int]:
    """Return a lab in which a student's case was closed, and with it the enrolment's; the learner is back."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    lab.edit("student", LEFT, "when_left: {set: {moodle_status: left}, close: true}")
    close_extensions(lab)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    for _ in range(2):
        await lab.sync()
    assert lab.case(f"test-enrol-2-{learners[0]}").closed
    site.enrol(courses[0], learners[0])
    return lab, learners[0]


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
async def test_what_was_closed_with_its_host_follows_it(make_lab: MakeLab, lost: int) -> None:
    """Where CommCare closed the enrolment too, whoever comes back has a new one, whichever answer is lost."""
    lab, learner = await host_closed(make_lab)
    for number in range(1, 6):
        if number == lost:
            lab.commcare.drop_reply_after_commit()
        await lab.sync()
    host, child = lab.case(f"test-user-{learner}~2"), lab.case(f"test-enrol-2-{learner}~2")
    assert (False, False, host.case_id) == (host.closed, child.closed, child.indices["student"]["case_id"])
    result = await lab.sync()
    assert ({}, {}, 18) == (written(result), result.requests["commcare"], len(lab.project.cases))


async def test_a_second_answer_that_is_lost_follows_it_too(make_lab: MakeLab) -> None:
    """The answer that would have said that the enrolment is closed is lost itself."""
    lab, learner = await host_closed(make_lab)
    await lab.sync(mappings=("student",))
    lab.commcare.drop_reply_after_commit()
    for _ in range(4):
        await lab.sync()
    child = lab.case(f"test-enrol-2-{learner}~2")
    assert (False, "active", {}) == (child.closed, child.properties["enrolment_status"], written(await lab.sync()))


async def test_what_stays_open_goes_over_to_the_next_host(make_lab: MakeLab) -> None:
    """Where CommCare closes nothing by itself the enrolment goes on, with no question to CommCare."""
    lab, learner = await host_closed(make_lab)
    lab.case(f"test-enrol-2-{learner}").closed = False
    result = await lab.sync()
    child = lab.case(f"test-enrol-2-{learner}")
    assert (lab.case(f"test-user-{learner}~2").case_id, 0) == (
        child.indices["student"]["case_id"],
        result.requests["commcare"].get("get", 0),
    )
    assert ({}, 17) == (written(await lab.sync()), len(lab.project.cases))


async def test_a_child_that_a_person_closed_stays_closed(make_lab: MakeLab) -> None:
    """Its host lives on: nothing follows it."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    await lab.sync()
    item = site.set_grade_item(courses[0], "Quiz")
    lab.project.close_case(lab.case(f"test-enrol-2-{learners[0]}").case_id)
    site.grade(item, learners[0], 50)
    for _ in range(3):
        await lab.sync()
    assert ([], 16) == (lab.project.by_external_id(f"test-enrol-2-{learners[0]}~2"), len(lab.project.cases))


# --- courses that are over --------------------------------------------------------------------------------


async def over(make_lab: MakeLab, words: str) -> tuple[Lab, list[int], list[int]]:
    """Return a lab with two courses of which the first has just ended."""
    site, courses, learners = site_of(4, 4)
    lab = make_lab(site)
    lab.edit("enrolment", ENROL_LEFT, f"{ENROL_LEFT}\nwhen_course_ends: {words}")
    await lab.sync()
    site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    return lab, courses, learners


async def test_the_end_of_a_course_is_written_once(make_lab: MakeLab) -> None:
    """The enrolments of an ended course get their word, nobody is gone, and nothing more is read or sent."""
    lab, courses, learners = await over(make_lab, "{set: {enrolment_status: course over}}")
    result = await lab.sync()
    assert (4, 0, {courses[1]}) == (
        result.of("enrolment").ended,
        result.of("enrolment").marked_left,
        set(result.courses),
    )
    assert "course over" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]
    for _ in range(3):
        assert ({}, 0) == (written(again := await lab.sync()), again.of("enrolment").ended)


async def test_a_course_that_runs_again_brings_its_cases_back(make_lab: MakeLab) -> None:
    """With a later end date the enrolments are as before; who has gone meanwhile is marked as left."""
    lab, courses, learners = await over(make_lab, "{set: {enrolment_status: course over, shown: no}}")
    await lab.sync()
    lab.site.unenrol(courses[0], learners[0])
    lab.site.courses[courses[0]]["enddate"] = 0
    await lab.sync()
    kept = lab.case(f"test-enrol-{courses[0]}-{learners[1]}").properties
    assert ("active", "") == (kept["enrolment_status"], kept["shown"])
    await lab.sync()
    assert "left" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]
    assert {} == written(await lab.sync())


@pytest.mark.parametrize("kind", ["hidden", "deselected", "one course"])
async def test_not_read_is_not_over(make_lab: MakeLab, kind: str) -> None:
    """A course that is hidden or not chosen is not over, and a run for some courses ends none."""
    lab, courses, _ = await over(make_lab, "{set: {enrolment_status: course over}}")
    options: dict[str, Any] = {}
    if kind == "one course":
        options["courses"] = (courses[1],)
    else:
        lab.site.courses[courses[0]]["enddate"] = 0
    if kind == "hidden":
        lab.site.courses[courses[0]]["visible"] = 0
    if kind == "deselected":
        lab.edit("project", 'shortname_like: "*"', f"ids: [{courses[1]}]")
        lab.site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    for _ in range(3):
        assert 0 == (await lab.sync(**options)).of("enrolment").ended


async def test_a_course_that_ended_with_closing(make_lab: MakeLab) -> None:
    """Closed cases of an ended course live again as new ones when it runs again."""
    lab, courses, learners = await over(make_lab, "{close: true}")
    assert 4 == (await lab.sync()).of("enrolment").closed
    lab.site.courses[courses[0]]["enddate"] = 0
    assert {"created": 4} == written(await lab.sync())
    assert not lab.case(f"test-enrol-{courses[0]}-{learners[0]}~2").closed


async def test_cases_under_old_keys_hear_that_their_course_is_over(make_lab: MakeLab) -> None:
    """Nobody reads an ended course, so what other keys replaced there waits for no read; others are made anew."""
    lab, courses, learners = await over(make_lab, "{set: {enrolment_status: course over}}")
    lab.edit("enrolment", '"{site}-enrol-', '"{site}-member-')
    result = (await lab.sync(rekey=("enrolment",))).of("enrolment")
    assert (4, 4, 4) == (result.ended, result.created, result.marked_left)
    assert "course over" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]
    for _ in range(3):
        assert {} == written(await lab.sync())
    lab.site.courses[courses[0]]["enddate"] = 0
    assert {"created": 4} == written(await lab.sync())
    assert {"marked_left": 4} == written(await lab.sync())  # it is nobody's question: others stand in their place
    assert ("completed", {}) == ((again := await lab.sync()).state, written(again))


async def test_an_end_in_doubt_is_written_again(make_lab: MakeLab) -> None:
    """A lost answer rests like any other."""
    lab, courses, learners = await over(make_lab, "{set: {enrolment_status: course over}}")
    lab.commcare.fail_next("timeout")
    await lab.sync()
    assert 4 == (await lab.sync()).of("enrolment").ended
    assert "course over" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]
    assert 0 == (await lab.sync()).of("enrolment").ended


async def test_leavers_of_a_whole_course_are_still_asked_about(make_lab: MakeLab) -> None:
    """Closing and parking change nothing in the guard."""
    lab, _ = await closing(make_lab)
    for learner in list(lab.site.members_of(2)):
        lab.site.unenrol(2, learner)
    await lab.sync()
    result = await lab.sync()
    assert ("waiting", 0) == (result.state, sum(counts.closed for counts in result.cases.values()))
    with pytest.raises(UsageError):
        await lab.books.do(confirm, lab.store, 2, 1)


async def test_nobody_leaves_the_site_while_a_course_asks(make_lab: MakeLab) -> None:
    """All of a small course are gone, few for the whole site: still nobody is marked before a person agreed."""
    site, courses, learners = site_of(20, 2)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[20:]:
        site.unenrol(courses[1], learner)
    for _ in range(3):
        result = await lab.sync()
    statuses = {lab.case(f"test-user-{learner}").properties["moodle_status"] for learner in learners}
    assert ("waiting", {"active"}) == (result.state, statuses)
    confirm(lab.store, courses[1], 2)
    await lab.sync()
    assert ["left", "left"] == [lab.case(f"test-user-{n}").properties["moodle_status"] for n in learners[20:]]


@pytest.mark.parametrize("books", ["kept", "put back"])
async def test_another_parked_owner(make_lab: MakeLab, books: str) -> None:
    """Whoever was parked with the one before, and is back, is on a phone again, also with books put back since."""
    site, courses, learners = site_of(4)
    lab = make_lab(site, project=PROJECT + '\nparked_owner: {group: "Gone"}\n')
    lab.project.add_group("Gone")
    lab.project.add_group("Gone too")
    lab.edit(
        "student", "when_left: {set: {moodle_status: left}", "when_left: {set: {moodle_status: left}, park: true"
    )
    await lab.sync()
    case = lab.case(f"test-user-{learners[0]}")
    before = case.owner_id
    site.unenrol(courses[0], learners[0])
    for _ in range(3):
        await lab.sync()
    assert before != case.owner_id
    file = lab.mappings / "project.yaml"
    file.write_text(file.read_text().replace('"Gone"', '"Gone too"'))
    if books == "put back":
        lab.in_a_file()
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
    site.enrol(courses[0], learners[0])
    for _ in range(3):
        await lab.sync()
    assert ("active", before) == (case.properties["moodle_status"], case.owner_id)


@pytest.mark.parametrize("books", ["kept", "put back", "unheard"])
async def test_parking_is_taken_out_while_somebody_is_parked(make_lab: MakeLab, books: str) -> None:
    """Whoever is back is on a phone again, though neither mapping nor project.yaml says anything of parking."""
    site, courses, learners = site_of(4)
    lab = make_lab(site, project=PROJECT + '\nparked_owner: {group: "Gone"}\n')
    lab.project.add_group("Gone")
    left = "when_left: {set: {moodle_status: left}"
    lab.edit("student", left, f"{left}, park: true")
    await lab.sync()
    case = lab.case(f"test-user-{learners[0]}")
    before = case.owner_id
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    if books == "unheard":
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert before != case.owner_id
    lab.edit("student", f"{left}, park: true", left)
    (lab.mappings / "project.yaml").write_text(PROJECT)
    if books == "put back":
        lab.in_a_file()
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
    site.enrol(courses[0], learners[0])
    for _ in range(2):
        await lab.sync()
    assert ("active", before) == (case.properties["moodle_status"], case.owner_id)
    assert {} == written(await lab.sync())
