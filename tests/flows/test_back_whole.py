"""Who comes back gets back what was taken: a next case, the owner, values. What a case holds is not forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.audit import audit
from flows.merge import merge, unmerge
from state import StateError
from tests.flows.test_departures import ENROL_LEFT, LEFT, PARKING, consenting, parking
from tests.flows.test_person import erased
from tests.flows.test_sync import site_of
from tests.flows.test_unsure import come_back, courses_of, leave, run, status_of
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
OUT = "when_excluded: {set: {moodle_status: out}}"
LEFT_CLOSES = f"{LEFT[:-1]}, close: true}}"
OVER = "when_course_ends: {set: {enrolment_status: over}}"
CITY = "  city: {source: city, transform: [trim], personal: true}\n"
ONCE = ("  city: {source: city,", "  city: {source: city, write: once,")
PHONE = "  phone: {source: user.phone1, personal: true, when_blank: keep}\n"


def consent(lab: Lab, person: int, answer: str) -> None:
    """Let somebody say whether he or she is to be sent."""
    lab.site.update_user(person, profile={"consent": answer})


async def refused_for_now(lab: Lab) -> None:
    """Run while CommCare takes nothing, and says so."""
    lab.commcare.fail_next("429", times=8, where="write")
    await lab.sync()
    lab.commcare.faults.clear()


# --- closed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgotten", ["answer lost", "books put back"])
async def test_closed_then_kept_out_then_let_in(make_lab: MakeLab, forgotten: str) -> None:
    """A close that the books are not sure of outlives a withdrawal: there is a next case in the end."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", LEFT, f"{LEFT_CLOSES}\n{OUT}")
    await lab.sync()
    person, backup = learners[0], lab.store.back_up(lab.clock.now())
    leave(lab, person)
    await lab.sync()
    if forgotten == "answer lost":
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    come_back(lab, person)
    consent(lab, person, "no")
    if forgotten == "books put back":
        lab.restore(backup)
    await run(lab, 3)
    consent(lab, person, "yes")
    await run(lab, 3)
    assert "active" == status_of(lab, f"{person}~2")


async def test_closed_unheard_and_the_course_ends_and_goes_on(make_lab: MakeLab) -> None:
    """The same where the course is over in between."""
    site, courses, learners = site_of(8, 4)
    lab = make_lab(site)
    lab.edit("enrolment", ENROL_LEFT, f"{ENROL_LEFT[:-1]}, close: true}}\n{OVER}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    await run(lab, 2)
    site.courses[courses[0]]["enddate"] = 0
    site.enrol(courses[0], learners[0])
    await run(lab, 3)
    assert "active" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}~2").properties["enrolment_status"]


async def test_closed_unheard_merged_and_undone(make_lab: MakeLab) -> None:
    """The same where two people were said to be one in between."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}, close: true}")
    person = learners[0]
    consent(lab, person, "no")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    merge(lab.store, person, learners[1], lab.clock.now())
    await run(lab, 2)
    unmerge(lab.store, person, learners[1], lab.clock.now())
    consent(lab, person, "yes")
    await run(lab, 3)
    assert "active" == status_of(lab, f"{person}~2")


async def test_a_leaving_that_closes_outlives_its_course(make_lab: MakeLab) -> None:
    """It never arrived, and nobody reads the course any more: it is said again."""
    site, courses, learners = site_of(8, 8)
    lab = make_lab(site)
    lab.edit("enrolment", ENROL_LEFT, f"{ENROL_LEFT[:-1]}, close: true}}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    lab.commcare.fail_next("timeout", where="write")
    await lab.sync()
    site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    await run(lab, 4)
    case = lab.case(f"test-enrol-{courses[0]}-{learners[0]}")
    assert ("left", True) == (case.properties["enrolment_status"], case.closed)


@pytest.mark.parametrize("kind", ["429", "timeout"])
async def test_a_case_closed_by_hand_has_no_next_one(make_lab: MakeLab, kind: str) -> None:
    """Only leaving closes here, and nobody left: a case that a person closed takes updates and stays closed."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", LEFT, f"{LEFT_CLOSES}\n{OUT}")
    await lab.sync()
    person = learners[0]
    lab.project.close_case(lab.case(f"test-user-{person}").case_id)
    consent(lab, person, "no")
    lab.commcare.fail_next(kind, times=8 if kind == "429" else 1, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    consent(lab, person, "yes")
    await run(lab, 3)
    assert [] == lab.project.by_external_id(f"test-user-{person}~2")


async def test_the_child_of_a_closed_parent_stays_kept_out(make_lab: MakeLab) -> None:
    """Also in runs that do not read the people: it is not filled and emptied in turns."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}, close: true}")
    lab.edit("enrolment", "when_left:", "when_excluded: {set: {enrolment_status: withdrawn}}\nwhen_left:")
    project = lab.mappings / "project.yaml"
    project.write_text(project.read_text() + "intervals: {people: 24}\n")
    await lab.sync()
    consent(lab, learners[0], "no")
    await lab.sync(full=True)
    assert [{}] * 3 == [written(await lab.sync()) for _ in range(3)]
    status = lab.case(f"test-enrol-{courses_of(lab)[0]}-{learners[0]}").properties["enrolment_status"]
    assert "withdrawn" == status


# --- values -----------------------------------------------------------------------------------------------


async def test_what_is_written_once_comes_back_with_its_person(make_lab: MakeLab) -> None:
    """Emptied when withdrawn, then left, then back: it was not a person who emptied it."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", *ONCE)
    person = learners[0]
    consent(lab, person, "no")
    await run(lab, 1)
    leave(lab, person)
    await run(lab, 2)
    come_back(lab, person)
    consent(lab, person, "yes")
    await run(lab, 2)
    assert ("active", "Kisumu") == (status_of(lab, person), lab.case(f"test-user-{person}").properties["city"])


async def test_a_decision_that_was_never_sent_overwrites_nothing(make_lab: MakeLab) -> None:
    """What is written once, and edited by hand since, was not emptied, so it is not written again."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", *ONCE)
    await lab.sync()
    person = learners[0]
    lab.project.edit_case(lab.case(f"test-user-{person}").case_id, city="By hand")
    consent(lab, person, "no")
    await refused_for_now(lab)
    consent(lab, person, "yes")
    await run(lab, 2)
    assert "By hand" == lab.case(f"test-user-{person}").properties["city"]


async def test_leaving_is_taken_back_where_changes_are_ignored(make_lab: MakeLab) -> None:
    """A property of `ignore_changes` that leaving sets is set right when its person is back."""
    site, _, learners = site_of(8)
    lab = make_lab(site)
    lab.edit("student", "ignore_changes: [last_access]", "ignore_changes: [last_access, moodle_status]")
    await lab.sync()
    leave(lab, learners[0])
    await run(lab, 2)
    come_back(lab, learners[0])
    await run(lab, 2)
    assert "active" == status_of(lab, learners[0])


async def test_what_an_audit_doubts_is_written_where_changes_are_ignored(make_lab: MakeLab) -> None:
    """`audit --repair` is a word of a person about this property."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    await lab.sync()
    case = lab.case(f"test-user-{learners[0]}")
    before = case.properties["last_access"]
    case.properties["last_access"] = "1999-01-01"
    lab.project.save(case)
    lab.clock.advance(7200)
    assert 1 == (await audit(lab.world(), repair=True)).repaired
    await lab.sync()
    assert before == lab.case(f"test-user-{learners[0]}").properties["last_access"]


async def test_what_only_leaving_sets_goes_from_a_case_that_was_never_heard_of(make_lab: MakeLab) -> None:
    """Making it, and marking it as left, were never answered: its person is back, and so is the case."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    gone = 'when_left: {set: {enrolment_status: left, gone: "yes"}}'
    lab.edit("enrolment", ENROL_LEFT, gone)
    await lab.sync(mappings=("student",))
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert "yes" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["gone"]
    site.enrol(courses[0], learners[0])
    await run(lab, 3)
    case = lab.case(f"test-enrol-{courses[0]}-{learners[0]}")
    assert ("active", "") == (case.properties["enrolment_status"], case.properties["gone"])


# --- what a case holds is not forgotten -------------------------------------------------------------------


@pytest.mark.parametrize("then", ["withdrawn", "erased", "retired"])
@pytest.mark.parametrize("forgotten", ["answer lost", "books put back"])
async def test_what_is_written_once_is_emptied_as_well(make_lab: MakeLab, then: str, forgotten: str) -> None:
    """A whole row leaves it as it is, and the books know of it all the same."""
    lab, _ = await consenting(make_lab)
    born = "  born_in: {source: country, personal: true, write: once}\n"
    lab.edit("student", CITY, CITY + born)
    new = lab.site.add_user("New", "Comer", city="Kisumu", country="KE", profile={"consent": "yes"})
    lab.site.enrol(courses_of(lab)[0], new)
    await lab.sync()
    lab.site.update_user(new, city="Bondo")
    if forgotten == "answer lost":
        lab.commcare.drop_reply_after_commit()
        await lab.sync()
    else:
        lab.restore(lab.store.back_up(lab.clock.now()))
    await run(lab, 2)
    assert "KE" == lab.case(f"test-user-{new}").properties["born_in"]
    if then == "withdrawn":
        consent(lab, new, "no")
        await run(lab, 2)
    elif then == "erased":
        await erased(lab, new)
    else:
        lab.edit("student", born, "  born_in: {retire: clear}\n")
        await run(lab, 1)
    assert "" == lab.case(f"test-user-{new}").properties["born_in"]


@pytest.mark.parametrize("then", ["retired", "erased", "withdrawn"])
async def test_a_property_taken_out_of_the_mapping_is_emptied_later(make_lab: MakeLab, then: str) -> None:
    """The message about it says how, also when its case was sent whole in between."""
    lab, learners = await consenting(make_lab)
    person = learners[0]
    lab.edit("student", CITY, "")
    await lab.sync()
    lab.site.update_user(person, phone1="0722 000 111")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    await run(lab, 2)
    assert "Kisumu" == lab.case(f"test-user-{person}").properties["city"]
    if then == "retired":
        lab.edit("student", "\nproperties:\n", "\nproperties:\n  city: {retire: clear}\n")
        await run(lab, 1)
    elif then == "erased":
        await erased(lab, person)
    else:
        consent(lab, person, "no")
        await run(lab, 2)
    assert "" == lab.case(f"test-user-{person}").properties["city"]


@pytest.mark.parametrize("then", ["withdrawn", "erased"])
async def test_what_a_case_got_without_an_answer_is_emptied(make_lab: MakeLab, then: str) -> None:
    """The case was made with a phone number, nobody heard of it, and it is sent again without one."""
    lab, _ = await consenting(make_lab)
    course, person = courses_of(lab)[0], lab.site.add_user("New", "Comer", phone1="0722 000 111")
    consent(lab, person, "yes")
    lab.edit("enrolment", "\nproperties:\n", f"\nproperties:\n{PHONE}")
    lab.site.enrol(course, person)
    await lab.sync(mappings=("student",))
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.site.update_user(person, phone1="")
    await run(lab, 2)
    key = f"test-enrol-{course}-{person}"
    assert "0722 000 111" == lab.case(key).properties["phone"]
    if then == "withdrawn":
        consent(lab, person, "no")
        await run(lab, 2)
    else:
        await erased(lab, person)
    assert "" == lab.case(key).properties["phone"]


# --- owners -----------------------------------------------------------------------------------------------


async def owned(lab: Lab, person: int, departures: str) -> None:
    """Let mappings park, and give the case of a person to somebody."""
    (lab.mappings / "project.yaml").write_text(PARKING)
    lab.project.add_group("Parking")
    lab.edit("student", LEFT, departures)
    await lab.sync()
    lab.project.move_owner(lab.case(f"test-user-{person}").case_id, "supervisor-choice")


async def test_parked_when_kept_out_then_left(make_lab: MakeLab) -> None:
    """The second way to go leaves the owner alone, and the books remember who had the case."""
    lab, learners = await consenting(make_lab)
    await owned(lab, learners[0], f"when_excluded: {{park: true}}\n{LEFT}")
    consent(lab, learners[0], "no")
    await run(lab, 1)
    leave(lab, learners[0])
    await run(lab, 2)
    come_back(lab, learners[0])
    consent(lab, learners[0], "yes")
    await run(lab, 2)
    assert "supervisor-choice" == lab.case(f"test-user-{learners[0]}").owner_id


async def test_parked_when_left_then_kept_out(make_lab: MakeLab) -> None:
    """The same the other way round."""
    lab, learners = await consenting(make_lab)
    await owned(lab, learners[0], f"{OUT}\n{LEFT[:-1]}, park: true}}")
    leave(lab, learners[0])
    await run(lab, 2)
    come_back(lab, learners[0])
    consent(lab, learners[0], "no")
    await run(lab, 1)
    consent(lab, learners[0], "yes")
    await run(lab, 2)
    assert "supervisor-choice" == lab.case(f"test-user-{learners[0]}").owner_id


@pytest.mark.parametrize("edit", ["park taken out", "another parked owner"])
async def test_the_mapping_was_edited_while_parked(make_lab: MakeLab, edit: str) -> None:
    """What was parked is known by what was sent, and not by what the mappings say today."""
    lab, learner, parked = await parking(make_lab)
    before = lab.case(f"test-user-{learner}").owner_id
    await lab.sync()
    assert parked == lab.case(f"test-user-{learner}").owner_id
    if edit == "park taken out":
        lab.edit("student", ", park: true", "")
    else:
        lab.project.add_group("Parking 2")
        (lab.mappings / "project.yaml").write_text(PARKING.replace("Parking}", "Parking 2}"))
    lab.site.enrol(courses_of(lab)[0], learner)
    await run(lab, 2)
    assert before == lab.case(f"test-user-{learner}").owner_id


# --- counted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a stop before the read is noted", "a run of one course"])
async def test_who_is_back_is_missing_from_no_read(make_lab: MakeLab, how: str) -> None:
    """CommCare has taken that somebody is back: what reads lacked before counts no more."""
    site, courses, learners = site_of(8, 8, shared=True)
    lab = make_lab(site)
    if how == "a run of one course":  # of students only: no enrolment holds the person back
        for name in ("enrolment", "engagement", "grade_item"):
            (lab.mappings / f"{name}.yaml").unlink()
    await lab.sync()
    leave(lab, learners[0])
    await run(lab, 2)
    come_back(lab, learners[0])
    do = lab.books.do

    async def stopped(method: Any, /, *args: Any, **more: Any) -> Any:
        if method == lab.store.note_read:
            raise StateError("The disk is full.")
        return await do(method, *args, **more)

    if how == "a run of one course":
        await lab.sync(courses=(courses[0],))
    else:
        lab.books.do = stopped  # type: ignore[method-assign]
        await lab.sync()
        lab.books.do = do  # type: ignore[method-assign]
        await lab.sync(courses=(courses[0],))
    assert "active" == status_of(lab, learners[0])
    leave(lab, learners[0])
    await lab.sync()
    assert "active" == status_of(lab, learners[0])
