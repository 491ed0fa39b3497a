"""Where the main job went wrong once: each test is the smallest story that showed it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from adaptors.commcare.cases import CaseWrite
from adaptors.moodle.streams import GRADES, PROFILES
from flows.confirm import confirm, confirm_blanks
from flows.errors import UsageError
from flows.result import Result
from flows.steps.blanks import CONFIRMED_BLANKS
from flows.steps.lease import Lease
from flows.steps.planned import Planned
from flows.steps.push import Pusher
from flows.world import Books
from state import RowId, StateError, Store
from tests.flows.test_push import settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
SERVICE_ACCOUNT = 3


async def test_guarded_course_keeps_its_people(make_lab: MakeLab) -> None:
    """People whose course came back empty are not marked as left on the site while their course waits."""
    site, courses, learners = site_of(40, 4)
    lab = make_lab(site)
    await lab.sync()
    site.courses[courses[1]]["groupmode"] = 1
    lab.moodle.revoke("moodle/site:accessallgroups")
    for _ in range(3):
        result = await lab.sync()
    assert "waiting" == result.state
    assert "left" != lab.case(f"test-user-{learners[-1]}").properties["moodle_status"]


async def test_people_follow_their_confirmed_course(make_lab: MakeLab) -> None:
    """Once a person has confirmed who left a course, those who are in no other are marked in the same run."""
    site, courses, learners = site_of(40, 4)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[-4:]:
        site.unenrol(courses[1], learner)
    for _ in range(2):
        assert {} == written(await lab.sync())
    await lab.books.do(confirm, lab.store, courses[1], 4)
    assert {"marked_left": 4 + 4} == written(await lab.sync())


async def test_learners_hidden_behind_their_teacher(make_lab: MakeLab) -> None:
    """Without viewdetails Moodle goes on showing teachers: learners who vanish that way wait for a person."""
    site, courses, learners = site_of(2)
    site.enrol(courses[0], site.add_user("Tizita", "Bekele"), ["editingteacher"])
    lab = make_lab(site)
    await lab.sync()
    lab.moodle.revoke("moodle/user:viewdetails")
    for _ in range(3):
        result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))
    assert "left" != lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]


async def test_suspended_enrolment_keeps_its_grade_cases(make_lab: MakeLab) -> None:
    """A suspended enrolment has no grades in the read, and its grade cases are not marked as left for that."""
    site, courses, learners = site_of(12)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false", "enabled: true")
    await lab.sync()
    site.suspend_enrolment(courses[0], learners[0])
    for _ in range(3):
        await lab.sync()
    assert "left" != lab.case(f"test-grade-{item}-{learners[0]}").properties["grade_status"]


async def test_empty_gradebook_is_no_empty_course(make_lab: MakeLab) -> None:
    """When no activity is shown any more, somebody who leaves is marked, grades and all, without asking."""
    site, courses, learners = site_of(12)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false", "enabled: true")
    await lab.sync()
    site.set_grade_item(courses[0], "Quiz", hidden=True)
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    assert {"marked_left": 3} == written(await lab.sync())
    assert "left" == lab.case(f"test-grade-{item}-{learners[0]}").properties["grade_status"]


async def test_somebody_who_left_before_the_first_answer(make_lab: MakeLab) -> None:
    """A case whose first write was never answered is looked for and marked, when its person has left by then."""
    site, courses, _ = site_of(8, 8, shared=True)
    lab = make_lab(site)
    await lab.sync()
    new = site.add_user("New", "Comer")
    site.enrol(courses[0], new)
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    site.unenrol(courses[0], new)
    for _ in range(3):
        await lab.sync()
    assert "left" == lab.case(f"test-user-{new}").properties["moodle_status"]
    assert {} == written(await lab.sync())


async def test_somebody_who_left_and_was_never_written(make_lab: MakeLab) -> None:
    """A first write that never arrived leaves nothing to mark, and nothing is asked for twice."""
    site, courses, _ = site_of(8, 8, shared=True)
    lab = make_lab(site)
    await lab.sync()
    new = site.add_user("New", "Comer")
    site.enrol(courses[0], new)
    lab.commcare.fail_next("timeout")
    await lab.sync()
    site.unenrol(courses[0], new)
    for _ in range(3):
        await lab.sync()
    result = await lab.sync()
    assert ({}, {}) == (written(result), result.requests["commcare"])


async def test_back_before_leaving_was_answered(make_lab: MakeLab) -> None:
    """What is only ever set on leaving is emptied also when nobody knows whether it was set."""
    site, courses, learners = site_of(8, 8, shared=True)
    lab = make_lab(site)
    lab.edit("enrolment", "set: {enrolment_status: left}", "set: {enrolment_status: left, gone: 'yes'}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    site.enrol(courses[0], learners[0])
    await settle(lab)
    case = lab.case(f"test-enrol-{courses[0]}-{learners[0]}")
    assert ("active", "") == (case.properties["enrolment_status"], case.properties["gone"])


async def test_protected_reads_do_not_count(make_lab: MakeLab) -> None:
    """While somebody's last course is not read, no reads without him or her are counted."""
    site, courses, learners = site_of(30, 2)
    lab = make_lab(site)
    await lab.sync()
    lab.edit("project", 'shortname_like: "*"', f"ids: [{courses[0]}]")
    for _ in range(3):
        await lab.sync()
    lab.edit("project", f"ids: [{courses[0]}]", 'shortname_like: "*"')
    site.unenrol(courses[1], learners[-1])
    assert {} == written(await lab.sync())
    assert {"marked_left": 2} == written(await lab.sync())


async def test_refusal_that_is_over(make_lab: MakeLab) -> None:
    """When the missing are back nothing waits to be confirmed any more."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:4]:
        site.unenrol(courses[0], learner)
    for _ in range(2):
        await lab.sync()
    for learner in learners[:4]:
        site.enrol(courses[0], learner)
    await lab.sync()
    with pytest.raises(UsageError, match="nothing at all"):
        await lab.books.do(confirm, lab.store, courses[0], 4)


async def test_run_for_one_course_leaves_what_waits_elsewhere(make_lab: MakeLab) -> None:
    """What waits for a person in one course still waits after a run for another one."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:4]:
        site.unenrol(courses[0], learner)
    for _ in range(2):
        await lab.sync()
    await lab.sync(courses=(courses[1],))
    await lab.books.do(confirm, lab.store, courses[0], 4)
    await lab.sync(courses=(courses[1],))
    assert {"marked_left": 4} == written(await lab.sync())


async def test_agreed_blanks_hold_for_one_run(make_lab: MakeLab) -> None:
    """An agreement to empty a value ends with the next run, used or not: a later mass blanking asks again."""
    site, _, learners = site_of(20)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:10]:
        site.update_user(learner, city="")
    await lab.sync()
    await lab.books.do(confirm_blanks, lab.store, "student", "city", 10)
    for learner in learners[:10]:
        site.update_user(learner, city="Kisumu")
    await lab.sync()
    assert {} == json.loads(lab.store.get(CONFIRMED_BLANKS) or "{}")
    for learner in learners[:10]:
        site.update_user(learner, city="")
    result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))


async def test_own_account_is_no_witness(make_lab: MakeLab) -> None:
    """The service account sees its own phone always: that does not make the others' hidden phones blank."""
    site, courses, learners = site_of(20)
    for learner in learners[3:]:
        site.update_user(learner, phone1="")
    site.update_user(SERVICE_ACCOUNT, phone1="0722 999 999")
    site.enrol(courses[0], SERVICE_ACCOUNT)
    lab = make_lab(site)
    await lab.sync()
    lab.moodle.revoke("moodle/site:viewuseridentity")
    await lab.sync()
    assert "254722000001" == lab.case(f"test-user-{learners[1]}").properties["contact_phone_number"]


async def test_hidden_email_is_not_blank(make_lab: MakeLab) -> None:
    """An e-mail address that only some people show to everybody is hidden, not blank, where it is missing."""
    site, _, learners = site_of(20)
    for learner in learners[3:]:
        site.update_user(learner, maildisplay=1)
    lab = make_lab(site)
    await lab.sync()
    lab.moodle.revoke("moodle/site:viewuseridentity")
    assert {} == written(await lab.sync())
    assert lab.case(f"test-user-{learners[1]}").properties["email"]


async def test_lost_profiles_cost_no_course(make_lab: MakeLab) -> None:
    """When Moodle cannot give the profiles, the courses still go on, and the run says what is missing."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 70)
    lab.moodle.fail_next(PROFILES, "500_empty", times=5)
    result = await lab.sync()
    assert ("degraded", {"updated": 1}) == (result.state, written(result))
    assert "the profiles of 3 people" in result.messages[0]


async def test_two_cases_of_one_key(make_lab: MakeLab) -> None:
    """Two cases with one external id hold back that person, not the whole run."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.project.add_case("student", "Double", external_id=f"test-user-{learners[0]}")
    for _ in range(2):
        result = await lab.sync()
    assert ("degraded", 2) == (result.state, len(lab.project.of_type("enrolment")))
    assert 1 == result.reasons["duplicate_external_id"]


async def test_one_key_for_two_rows(make_lab: MakeLab) -> None:
    """Of rows that lay claim to one key, in one batch or in two, CommCare gets one; the others are named."""
    lab = make_lab(site_of(1)[0])
    world, result, settled = lab.world(), Result("run"), list[str]()
    pusher = Pusher(world, result, Lease(world, "run"))

    async def note(_: Planned, outcome: str) -> None:
        settled.append(outcome)

    for mapping in ("student", "learner", "pupil"):
        write = CaseWrite("test-user-4", "", mapping, "Amina", "owner", {})
        pusher.enqueue(0, [Planned(RowId(mapping, 0, write.key), mapping, 4, write, {}, "create")], note)
        if mapping != "student":
            await pusher.drain()
    await world.moodle.close()
    await world.commcare.close()
    assert (["", "same_key_twice", "same_key_twice"], 1) == (settled, len(lab.project.cases))


async def test_books_that_cannot_be_closed(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot write down how it ended says so, and gives the lease back all the same."""
    site, _, _ = site_of(2)
    lab = make_lab(site)

    def full(*_: object) -> None:
        raise StateError("The disk is full.")

    monkeypatch.setattr(lab.store, "finish_run", full)
    result = await lab.sync()
    assert ("failed", ["The disk is full."]) == (result.state, result.messages)
    assert lab.store.take_lease("another", lab.clock.now(), 600) is not None


def slow(lab: Lab, event: Callable[[], object] = lambda: None) -> None:
    """Let each write of a lab take many turns of the loop, with something happening when the first one arrives."""
    answer, events = lab._to_commcare, [event]

    async def answering(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            while events:
                events.pop()()
            for _ in range(2000):
                await asyncio.sleep(0)
        return answer(request)

    lab._to_commcare = answering  # type: ignore[assignment,method-assign]


async def test_nothing_under_way_after_a_failure(make_lab: MakeLab) -> None:
    """When CommCare fails while Moodle closes, the writes that are still under way are waited for."""
    site, courses, _ = site_of(40, 40, 40)
    for course in courses:
        for number in range(12):
            site.set_grade_item(course, f"Quiz {number}")
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false", "enabled: true")
    lab.moodle.fail_next(GRADES, "sitemaintenance", after=2)

    def ends_access(row: Mapping[str, Any]) -> bool:
        if row["case_type"] == "grade_item":
            lab.commcare.revoke("edit_data")
        return False

    lab.commcare.refuse_row(ends_access, "")
    slow(lab)
    others = asyncio.all_tasks()
    assert "failed" == (await lab.sync()).state
    assert asyncio.all_tasks() <= others


async def test_nothing_under_way_after_a_stop(make_lab: MakeLab) -> None:
    """A run that is stopped while people are marked as left waits for the answer."""
    site, courses, learners = site_of(8, 8, shared=True)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    slow(lab, lambda: task.cancel())
    others = asyncio.all_tasks()
    task = asyncio.create_task(lab.sync())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (set(), {}) == (asyncio.all_tasks() - others, lab.store.intents())


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("project", "site: test", "site: tset"), ("student", '"{site}-user-{id}"', '"{site}-learner-{id}"')],
)
async def test_other_keys_wait_for_a_person(make_lab: MakeLab, name: str, old: str, new: str) -> None:
    """A changed key would make every case a second time: nothing is sent until the old one is back."""
    site, _, _ = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    for file in ("student", "enrolment") if name == "student" else (name,):
        text = (lab.mappings / f"{file}.yaml").read_text()
        (lab.mappings / f"{file}.yaml").write_text(
            text.replace(old, new).replace("{site}-user-{user", "{site}-learner-{user")
        )
    result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))
    assert "student.yaml has 2 cases under the old keys" in result.messages[0]


async def test_lost_key_sends_everything_once(make_lab: MakeLab) -> None:
    """With a new key every case is sent once more, and nobody is asked about values that were blank all along."""
    site, _, learners = site_of(20)
    for learner in learners[:12]:
        site.update_user(learner, city="Bondo")
    lab = make_lab(site)
    await lab.sync()
    lab.books.close()
    lab.books = Books(lambda: Store.open(lab.state_url, key=bytes(31) + b"k"))
    result = await lab.sync()
    assert ("completed", {"updated": 40}) == (result.state, written(result))
    assert {} == written(await lab.sync())
