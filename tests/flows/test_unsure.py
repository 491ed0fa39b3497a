"""Cases of which the books are not sure whether they went away: an answer was lost, or the books were put back."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from flows.confirm import confirm
from flows.result import RunState
from tests.flows.test_departures import LEFT, consenting, over
from tests.flows.test_person import CANARY, erased, held, two_courses
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
PRIVATE = ("first_name", "last_name", "username", "email", "contact_phone_number", "city")


def courses_of(lab: Lab) -> list[int]:
    """Return the courses but for the front page."""
    return [number for number in lab.site.courses if number != 1]


def leave(lab: Lab, *people: int) -> None:
    """Take people out of all courses."""
    for course in courses_of(lab):
        for person in people:
            lab.site.unenrol(course, person)


def come_back(lab: Lab, person: int) -> None:
    """Enrol somebody everywhere."""
    for course in courses_of(lab):
        lab.site.enrol(course, person)


async def run(lab: Lab, times: int) -> None:
    """Run so often, and once more without a write."""
    for _ in range(times):
        await lab.sync()
    assert {} == written(await lab.sync())


def status_of(lab: Lab, person: int | str) -> str:
    """Return what CommCare says of a person."""
    text: str = lab.case(f"test-user-{person}").properties["moodle_status"]
    return text


def private_of(lab: Lab, person: int) -> Collection[str]:
    """Return the personal values that CommCare holds of a person."""
    properties = lab.case(f"test-user-{person}").properties
    return {properties[name] for name in PRIVATE} - {""}


# --- left -------------------------------------------------------------------------------------------------


async def test_back_without_an_answer_and_gone_again(make_lab: MakeLab) -> None:
    """CommCare took that somebody is back, and nobody heard of it: gone again, he is marked again."""
    lab, learners = await two_courses(make_lab)
    leave(lab, learners[0])
    await run(lab, 2)
    come_back(lab, learners[0])
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert "active" == status_of(lab, learners[0])
    leave(lab, learners[0])
    await run(lab, 4)
    assert "left" == status_of(lab, learners[0])


async def test_back_after_the_backup_and_gone_again(make_lab: MakeLab) -> None:
    """Books put back say that somebody left, and do not know that he was back in between."""
    lab, learners = await two_courses(make_lab)
    leave(lab, learners[0])
    await run(lab, 2)
    backup = lab.store.back_up(lab.clock.now())
    come_back(lab, learners[0])
    await lab.sync()
    leave(lab, learners[0])
    lab.restore(backup)
    await run(lab, 4)
    assert "left" == status_of(lab, learners[0])


async def test_old_leavers_are_no_question_after_a_restore(make_lab: MakeLab) -> None:
    """They are said to have left once more, all in one request, and weigh nothing with the guards."""
    site, courses, learners = site_of(12)
    lab = make_lab(site, project=f"{PROJECT}guards: {{leavers_people: 2, leavers_percent: 30}}\n")
    await lab.sync()
    for group in (learners[:4], learners[4:8]):
        leave(lab, *group)
        await lab.sync()
        await lab.sync()
        confirm(lab.store, courses[0], 4)
        await lab.sync()
    lab.restore(lab.store.back_up(lab.clock.now()))
    ends = [await lab.sync() for _ in range(4)]
    assert ["completed"] * 4 == [str(end.state) for end in ends], ends[-1].messages
    assert 16 == sum(written(end).get("marked_left", 0) for end in ends)
    assert {} == written(ends[-1])
    lab.restore(lab.store.back_up(lab.clock.now()))
    leave(lab, learners[8], learners[9])  # of four who are there: with the old leavers it would be two of twelve
    ends = [await lab.sync() for _ in range(4)]
    assert (RunState.WAITING, "active") == (ends[-1].state, status_of(lab, learners[8]))


async def test_who_was_allowed_to_leave_is_not_asked_about_again(make_lab: MakeLab) -> None:
    """Confirmed, sent, and never answered: it is sent again without another question."""
    site, courses, learners = site_of(10)
    lab = make_lab(site)
    await lab.sync()
    leave(lab, *learners[:5])
    await lab.sync()
    await lab.sync()
    confirm(lab.store, courses[0], 5)
    lab.commcare.drop_reply_after_commit()
    assert {"in_doubt": 5 + 5} == written(await lab.sync())
    result = await lab.sync()
    assert ({"marked_left": 5 + 5}, []) == (written(result), result.messages)


# --- withdrawn --------------------------------------------------------------------------------------------


async def test_consent_given_without_an_answer_and_withdrawn_again(make_lab: MakeLab) -> None:
    """The values may have got there, so they are emptied again."""
    lab, learners = await consenting(make_lab)
    for answer, lost in (("no", False), ("yes", True), ("no", False)):
        lab.site.update_user(learners[0], profile={"consent": answer})
        if lost:
            lab.commcare.drop_reply_after_commit()
        await lab.sync()
    await run(lab, 2)
    assert set() == private_of(lab, learners[0])


async def test_consent_given_after_the_backup_and_withdrawn_again(make_lab: MakeLab) -> None:
    """Books put back say that somebody is emptied, and do not know what was sent in between."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    await lab.sync()
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.restore(backup)
    await run(lab, 3)
    assert set() == private_of(lab, learners[0])


@pytest.mark.parametrize("kind", ["timeout", "429", "503"])
async def test_a_withdrawal_that_never_arrived_outlives_its_person(make_lab: MakeLab, kind: str) -> None:
    """Nobody reads somebody who is gone, and what was to be emptied is emptied all the same."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.fail_next(kind, times=8, where="write")
    await lab.sync()
    lab.commcare.faults.clear()
    leave(lab, learners[0])
    await run(lab, 5)
    assert (set(), "left") == (private_of(lab, learners[0]), status_of(lab, learners[0]))


@pytest.mark.parametrize("reply_only", [False, True])
@pytest.mark.parametrize("whose", ["open", "closed"])
async def test_a_withdrawal_that_closes_outlives_its_person(
    make_lab: MakeLab, whose: str, *, reply_only: bool
) -> None:
    """Also where cases are closed: the one of somebody kept out, or of somebody who had left before."""
    lab, learners = await consenting(make_lab)
    lab.edit(
        "student", LEFT, f"{LEFT[:-1]}, close: true}}\nwhen_excluded: {{set: {{moodle_status: out}}, close: true}}"
    )
    person = learners[0]
    if whose == "closed":
        leave(lab, person)
        await run(lab, 2)
        assert lab.case(f"test-user-{person}").closed
        come_back(lab, person)
    lab.site.update_user(person, profile={"consent": "no"})
    (lab.commcare.drop_reply_after_commit if reply_only else lambda: lab.commcare.fail_next("timeout"))()
    await lab.sync()
    leave(lab, person)
    await run(lab, 5)
    assert (set(), True) == (private_of(lab, person), lab.case(f"test-user-{person}").closed)


async def test_consent_given_after_a_withdrawal_that_closed_without_an_answer(make_lab: MakeLab) -> None:
    """CommCare knows whether it closed the case; if it did, there is a next one."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}, close: true}")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    await run(lab, 2)
    assert lab.case(f"test-user-{learners[0]}").closed
    assert "active" == status_of(lab, f"{learners[0]}~2")


async def test_a_withdrawal_that_never_arrived_outlives_its_course(make_lab: MakeLab) -> None:
    """The same for the case of a course that is over, which nobody reads any more."""
    lab, learners = await consenting(make_lab)
    lab.edit("enrolment", "when_left:", "when_excluded: {set: {enrolment_status: withdrawn}}\nwhen_left:")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.fail_next("timeout")
    await lab.sync()
    course = courses_of(lab)[0]
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await run(lab, 3)
    assert "withdrawn" == lab.case(f"test-enrol-{course}-{learners[0]}").properties["enrolment_status"]


async def test_let_in_and_gone_before_the_withdrawal_was_answered(make_lab: MakeLab) -> None:
    """Who was let in again has left, that is all: nothing is emptied, nothing says that he is kept out."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: withdrawn}}")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.fail_next("timeout")
    await lab.sync()
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    assert 1 == written(await lab.sync(60.0))["in_doubt"]
    leave(lab, learners[0])
    await run(lab, 4)
    assert "left" == status_of(lab, learners[0])
    assert "Kisumu" in private_of(lab, learners[0])


async def test_let_in_after_a_withdrawal_without_an_answer_is_sent_whole(make_lab: MakeLab) -> None:
    """Also what is written once: it was emptied."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", "city: {source: city,", "city: {source: city, write: once,")
    await lab.sync()
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert set() == private_of(lab, learners[0])
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    await lab.sync(60.0)
    await run(lab, 2)
    assert "Kisumu" in private_of(lab, learners[0])


# --- over -------------------------------------------------------------------------------------------------


async def test_seen_again_before_the_course_is_over(make_lab: MakeLab) -> None:
    """Marked as left without an answer, and there in the last read: for him the course is over."""
    lab, courses, learners = await over(make_lab, "{set: {enrolment_status: course over}}")
    course, person = courses[0], learners[0]
    lab.site.courses[course]["enddate"] = 0
    lab.site.unenrol(course, person)
    await lab.sync()
    lab.commcare.drop_reply_after_commit()
    assert "in_doubt" in written(await lab.sync())
    lab.site.enrol(course, person)
    await lab.sync(60.0)
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await run(lab, 3)
    assert "course over" == lab.case(f"test-enrol-{course}-{person}").properties["enrolment_status"]


async def test_a_course_that_went_on_without_an_answer_and_is_over(make_lab: MakeLab) -> None:
    """Its cases may say that it runs, so they are told again that it does not."""
    lab, courses, learners = await over(make_lab, "{set: {enrolment_status: course over}}")
    await lab.sync()
    lab.site.courses[courses[0]]["enddate"] = 0
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    await run(lab, 3)
    assert "course over" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]


# --- what is not known of a case is emptied with it -----------------------------------------------------------


@pytest.mark.parametrize("ends", ["erased", "withdrawn"])
async def test_nothing_stays_of_who_left_without_an_answer(make_lab: MakeLab, ends: str) -> None:
    """The last write before the leaving was never answered; erasing, or withdrawing, empties everything."""
    lab, learners = await (two_courses(make_lab) if ends == "erased" else consenting(make_lab))
    lab.site.update_user(learners[0], city=f"{CANARY} B")
    lab.commcare.drop_reply_after_commit()
    assert 1 == written(await lab.sync())["in_doubt"]
    leave(lab, learners[0])
    await run(lab, 4)
    assert "left" == status_of(lab, learners[0])
    if ends == "erased":
        done = await erased(lab, learners[0])
        assert (RunState.COMPLETED, set()) == (done.state, held(lab, learners[0]))
        return
    lab.site.update_user(learners[0], profile={"consent": "no"})
    come_back(lab, learners[0])
    await run(lab, 2)
    assert set() == private_of(lab, learners[0])


async def test_only_what_is_personal_is_written_a_second_time(make_lab: MakeLab) -> None:
    """A withdrawal without an answer may have emptied what is personal: what is not, and is sent once, stays."""
    lab, learners = await consenting(make_lab)
    person = learners[0]
    lab.site.update_user(person, country="KE")
    country = "  country: {source: country, personal: false}"
    lab.edit("student", country, country.replace("false", "false, write: once"))
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    case.properties["country"] = "of the field"
    lab.project.save(case)
    lab.site.update_user(person, profile={"consent": "no"})
    lab.commcare.fail_next("timeout", where="write")
    assert {"in_doubt": 1} == written(await lab.sync())
    lab.site.update_user(person, profile={"consent": "yes"})
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    assert ("of the field", "First0") == (case.properties["country"], case.properties["first_name"])


async def test_what_leaving_set_goes_from_a_case_that_was_unknown(make_lab: MakeLab) -> None:
    """A create that meets the case of somebody who had left has the next run empty what leaving alone set."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    lab.in_a_file()
    for name, source in (("student", "users"), ("enrolment", "enrolments")):
        lab.edit(name, f"source: {source}", f"source: {source}\nexisting_cases: ignore")
    lab.edit("enrolment", "{set: {enrolment_status: left}}", '{set: {enrolment_status: left, gone: "yes"}}')
    await lab.sync()
    key = f"test-enrol-{courses[0]}-{learners[0]}"
    site.unenrol(courses[0], learners[0])
    for _ in range(2):
        await lab.sync()
    assert "yes" == lab.case(key).properties["gone"]
    lab.lose_books()
    site.enrol(courses[0], learners[0])
    for _ in range(2):
        await lab.sync()
    assert ("active", "") == (lab.case(key).properties["enrolment_status"], lab.case(key).properties["gone"])
    assert {} == written(await lab.sync())


@pytest.mark.parametrize("runs", [(), (3,)])
@pytest.mark.parametrize("way", ["left", "kept out"])
async def test_closing_is_taken_out_of_the_mapping_before_it_is_known(
    make_lab: MakeLab, way: str, runs: tuple[int, ...]
) -> None:
    """The case was closed, and nobody heard of it: who comes back goes on in the next one, whenever that is."""
    lab, (person, *_) = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}, close: true}")
    lab.edit("student", LEFT, f"{LEFT[:-1]}, close: true}}")
    if way == "left":
        leave(lab, person)
        await lab.sync()
    else:
        lab.site.update_user(person, profile={"consent": "no"})
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert lab.case(f"test-user-{person}").closed
    mapping = lab.mappings / "student.yaml"
    mapping.write_text(mapping.read_text().replace(", close: true", ""))
    for times in runs:
        await run(lab, times)
    come_back(lab, person)
    lab.site.update_user(person, profile={"consent": "yes"})
    await run(lab, 2)
    assert "active" == status_of(lab, f"{person}~2")


async def test_what_a_person_closed_goes_on_where_no_mapping_closes(make_lab: MakeLab) -> None:
    """Emptied without an answer, and closed by a supervisor: who is let in goes on in that case, as ever."""
    lab, (person, *_) = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}}")
    lab.site.update_user(person, profile={"consent": "no"})
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.project.close_case(lab.case(f"test-user-{person}").case_id)
    lab.site.update_user(person, profile={"consent": "yes"})
    await run(lab, 2)
    assert ("active", True) == (status_of(lab, person), lab.case(f"test-user-{person}").closed)
