"""Assignments, their people and submissions: complete, absent-safe, and blind where marking is blind."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adaptors.errors import AccessDenied, Refused, Unexpected
from adaptors.moodle.assignment_people import LIST_PARTICIPANTS, read_strangers
from adaptors.moodle.assignment_work import Filter
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.streams import ENROLLED, PROFILES
from flows.assignments import Desk, checked_statuses
from flows.errors import UsageError
from tests.adaptors.moodle_world import recorded_site
from tests.clocks import VirtualClock
from tests.flows.marking_world import MarkingWorld


def recorded_desk() -> tuple[Desk, FakeMoodle]:
    """Return a desk at the recorded site."""
    fake = FakeMoodle(recorded_site())
    transport = httpx.MockTransport(fake)
    return Desk(MoodleClient(fake.site.url, Login(fake.token), clock=VirtualClock(), transport=transport)), fake


async def test_people_of_a_recorded_course() -> None:
    """Everybody is there with roles; suspended enrolments say so; the requests do not grow with the people."""
    desk, _ = recorded_desk()
    people = await desk.course_people(2)
    assert (295, 3) == (len(people), sum(desk.client.requests.values()))
    assert {"student", "teacher", "editingteacher"} <= {role for one in people for role in one.roles}
    assert {"active", "suspended"} == {one.status for one in people}
    assert all(one.username and one.firstname and one.email for one in people)


async def test_what_moodle_hides_is_absent() -> None:
    """Without the rights to see names and addresses they are None, and nobody is dropped."""
    desk, fake = recorded_desk()
    fake.revoke("moodle/user:viewalldetails", "moodle/site:viewuseridentity", "moodle/course:useremail")
    people = await desk.course_people(2)
    assert 295 == len(people)
    assert {None} == {one.username for one in people if one.id != 3}
    assert any(one.email is None for one in people)


async def test_recorded_participants() -> None:
    """All 284 who may submit are there, 229 of them before their first submission."""
    desk, _ = recorded_desk()
    people = await desk.people(await desk.find(2, "cmid:1"))
    assert 284 == len(people)
    assert 227 == sum(one.submission == "" for one in people)
    assert {(None, None)} == {(one.participant, one.group) for one in people}
    assert all(one.person is not None and one.person.email for one in people)


@pytest.mark.parametrize("known", [True, False])
async def test_blind_marking_hides_people(known: bool) -> None:
    """There are numbers and no names, and ids only for who may reveal identities."""
    desk, fake = recorded_desk()
    if not known:
        fake.revoke("mod/assign:revealidentities")
    found = await desk.find(2, "cmid:2")
    people, handed = await desk.people(found), await desk.submissions(found)
    assert (284, 24) == (len(people), len(handed))
    assert all(one.participant and one.participant > 0 for one in (*people, *handed))
    persons = [one.person for one in (*people, *handed)]
    if known:
        assert {(None, None, None)} == {(p.fullname, p.email, p.username) for p in persons if p is not None}
        assert 308 == sum(p is not None and p.id > 0 for p in persons)
    else:
        assert {None} == set(persons)


async def test_group_work_belongs_to_its_members() -> None:
    """The work hangs on the group, with its members; rows of members without work of their own are left out."""
    desk, _ = recorded_desk()
    found = await desk.find(2, "cmid:5")
    people, handed = await desk.people(found), await desk.submissions(found)
    assert [(1, "submitted"), (0, "new")] == [(one.group, one.status) for one in handed]
    north = handed[0]
    assert (None, ["team.txt"], "<p>team</p>") == (north.person, [file.name for file in north.files], north.text)
    members = {one.person.id for one in people if one.person and one.group == 1}
    assert members == {member.id for member in north.members}
    assert "submitted" in {member.status for member in north.members}


async def test_recorded_submissions() -> None:
    """Files come with name, size, type and time, texts as they were typed, attempts counted from one."""
    desk, _ = recorded_desk()
    handed = await desk.submissions(await desk.find(2, "cmid:1"))
    by_person = {one.person.id: one for one in handed if one.person}
    picture = by_person[18].files[0]
    assert (57, "draft", 1) == (len(handed), by_person[18].status, by_person[18].attempt)
    assert ("foto ñ  (1).png", "/", 70, "image/png", 1795297674) == (
        picture.name, picture.path, picture.size, picture.type, picture.time,
    )  # fmt: skip
    assert (2, "<p>2nd</p>") == (by_person[19].attempt, by_person[19].text)


async def test_filters() -> None:
    """State and times choose; a state that Moodle does not have is an error."""
    world = MarkingWorld()
    one, two, three = world.learners[:3]
    world.hand_in("Essay", one)
    world.site.now += 100
    world.hand_in("Essay", two, status="draft")
    world.site.now += 100
    world.hand_in("Essay", three)
    found = await world.find("Essay")

    async def ids(**wanted: Any) -> list[int | None]:
        handed = await world.desk.submissions(found, Filter(**wanted))
        return [one.person.id if one.person else None for one in handed]

    assert [one, two, three] == await ids()
    assert [two] == await ids(statuses=frozenset({"draft"}))
    assert [one, two] == await ids(before=world.site.now - 100)
    assert [two, three] == await ids(since=world.site.now - 100)
    assert [three] == await ids(since=world.site.now - 100, statuses=frozenset({"submitted", "new"}))
    with pytest.raises(UsageError, match="no status finished; there are new, draft, submitted, reopened"):
        checked_statuses(["finished"])


async def test_earlier_attempts() -> None:
    """On request earlier attempts follow the latest one, asked for only where there are any."""
    world = MarkingWorld()
    learner = world.learners[0]
    row = world.hand_in("Essay", learner, {"second.txt": b"2"}, attemptnumber=1, status="draft")
    first = {**row, "id": 900, "attemptnumber": 0, "status": "submitted", "plugins": []}
    world.site.marking.earlier[world.instance("Essay")] = [first]
    world.hand_in("Essay", world.learners[1])
    handed = await world.desk.submissions(await world.find("Essay"), Filter(attempts=True))
    assert [(2, True), (1, False), (1, True)] == [(one.attempt, one.latest) for one in handed]
    assert [learner, learner] == [one.person.id for one in handed[:2] if one.person]
    status = [call for call in world.fake.calls if "requests" in call[1]]
    assert 1 == len(status[0][1]["requests"])
    only = Filter(statuses=frozenset({"submitted"}), attempts=True)
    assert [(900, 1), (2, 1)] == [
        (one.id, one.attempt) for one in await world.desk.submissions(await world.find("Essay"), only)
    ]


async def test_who_has_left_is_kept() -> None:
    """What Moodle lists of somebody who has left the course stays, marked, with the name if it is told."""
    world = MarkingWorld()
    gone, deleted = world.learners[0], world.learners[1]
    for learner in (gone, deleted):
        world.hand_in("Team", learner, {"mine.txt": b"x"})
    world.site.unenrol(world.course, gone)
    world.site.delete_user(deleted)
    handed = await world.desk.submissions(await world.find("Team"))
    people = {one.person.id: one.person for one in handed if one.person}
    assert ("not enrolled", "First0") == (people[gone].status, people[gone].firstname)
    assert ("not enrolled", None) == (people[deleted].status, people[deleted].firstname)


async def test_somebody_whom_moodle_cannot_show() -> None:
    """All others of the course are read, and that somebody is missing is said until it is mended."""
    world = MarkingWorld()
    bad = world.learners[2]
    world.site.update_user(bad, lastname="<Last2")
    people = await world.desk.course_people(world.course)
    assert sorted({world.teacher, *world.learners} - {bad}) == [one.id for one in people]
    (sentence,) = world.desk.messages
    assert f"cannot show accounts of course {world.course} (1 account), for a value in them" in sentence
    assert "Browse list of users" in sentence
    world.site.update_user(bad, lastname="Last2")
    assert 6 == len(await world.desk.course_people(world.course))
    assert [] == world.desk.messages


async def test_work_of_somebody_whom_moodle_cannot_show() -> None:
    """It is there by number, nobody says that the person has left, and all others have their names."""
    world = MarkingWorld()
    for learner in world.learners[:3]:
        world.hand_in("Essay", learner)
    bad = world.learners[1]
    world.site.update_user(bad, lastname="<Last1")
    handed = await world.desk.submissions(await world.find("Essay"))
    people = {one.person.id: one.person for one in handed if one.person}
    assert ["First0", None, "First2"] == [people[one].firstname for one in world.learners[:3]]
    assert ["active", "", "active"] == [people[one].status for one in world.learners[:3]]
    (sentence,) = world.desk.messages
    assert f"cannot show the name of person {bad}, for a value" in sentence
    assert "Browse list of users" in sentence
    some = await world.desk.submissions(await world.find("Essay"), Filter(people=frozenset({bad})))
    assert [bad] == [one.person.id for one in some if one.person]


async def test_somebody_who_has_left_and_whom_moodle_cannot_show() -> None:
    """Where the whole course was read, who is not in it has left."""
    world = MarkingWorld()
    bad, gone, *_ = world.learners
    for learner in (bad, gone):
        world.hand_in("Team", learner, {"mine.txt": b"x"})
        world.site.unenrol(world.course, learner)
    world.site.update_user(bad, lastname="<Last0")
    handed = await world.desk.submissions(await world.find("Team"))
    found = {one.person.id: (one.person.status, one.person.firstname) for one in handed if one.person}
    assert {bad: ("not enrolled", None), gone: ("not enrolled", "First1")} == found
    assert 1 == len(world.desk.messages)


async def test_many_strangers_whom_moodle_cannot_show() -> None:
    """They are looked for in halves; where there are very many, whole batches go without names, in time."""
    world = MarkingWorld(learners=400)
    bad = world.learners[40:44]
    for learner in bad:
        world.site.update_user(learner, lastname=f"<{learner}")
    people, refused = await read_strangers(world.desk.client, world.learners, is_whole=False)
    assert (bad, 396) == (refused, sum(one.firstname is not None for one in people.values()))
    assert world.called(PROFILES) <= 4 + 20
    for learner in world.learners:
        world.site.update_user(learner, lastname=f"<{learner}")
    people, refused = await read_strangers(world.new_desk().client, world.learners, is_whole=True)
    assert (world.learners, {"not enrolled"}) == (refused, {one.status for one in people.values()})
    world.desk = world.new_desk()
    await read_strangers(world.desk.client, world.learners, is_whole=True)
    assert world.called(PROFILES) <= 4 + 200


async def test_participants_whom_moodle_cannot_show() -> None:
    """Everybody else is listed and how many are missing is said; a teacher is not among them."""
    world = MarkingWorld()
    bad = world.learners[2]
    others = sorted({*world.learners} - {bad})
    world.site.update_user(bad, lastname="<Last2")
    people = await world.desk.people(await world.find("Essay"))
    assert [(one, f"First{one - others[0]}") for one in others] == [
        (one.person.id, one.person.firstname) for one in people if one.person
    ]
    (sentence,) = world.desk.messages
    where = f"cannot show 1 account of those who may submit to assignment {world.cmid['Essay']}"
    assert (True, True) == (where in sentence, "Browse list of users" in sentence)
    blind = await world.desk.people(await world.find("Blind"))  # names stand beside the numbers
    assert [(one, None) for one in others] == [(one.person.id, one.person.fullname) for one in blind if one.person]
    world.fake.revoke("mod/assign:viewblinddetails")
    assert 5 == len(await world.desk.people(await world.find("Blind")))
    assert [] == world.desk.messages
    world.site.update_user(bad, lastname="Last2")
    world.site.update_user(world.teacher, lastname="<Wekesa")
    before = world.called(LIST_PARTICIPANTS)
    assert 5 == len(await world.desk.people(await world.find("Essay")))
    assert ([], before + 1) == (world.desk.messages, world.called(LIST_PARTICIPANTS))


async def test_too_many_participants_whom_moodle_cannot_show() -> None:
    """Then the list is refused as a whole, and what is to be done is said."""
    world = MarkingWorld(learners=30)
    for learner in world.learners[:11]:
        world.site.update_user(learner, lastname=f"<{learner}")
    with pytest.raises(Unexpected, match=r"invalidresponse.*Browse list of users"):
        await world.desk.people(await world.find("Essay"))
    world.desk.budget.left = 0
    world.site.update_user(world.learners[0], lastname="Last0")
    before = world.called(LIST_PARTICIPANTS)
    with pytest.raises(Unexpected, match="invalidresponse"):
        await world.desk.people(await world.find("Essay"))
    assert before + 1 == world.called(LIST_PARTICIPANTS)


async def test_work_of_a_group_with_somebody_whom_moodle_cannot_show() -> None:
    """The group's work is there with its other members, and that somebody may be missing is said."""
    world = MarkingWorld()
    one, _, bad, _, _ = world.learners  # the first and the third are North
    group = next(iter(world.site.members_of(world.course)[one].groups))
    world.hand_in("Team", 0, {"ours.txt": b"x"}, groupid=group)
    world.site.update_user(bad, lastname="<Last2")
    found = await world.find("Team")
    (handed,) = await world.desk.submissions(found)
    assert (group, [one]) == (handed.group, [member.id for member in handed.members])
    (sentence,) = world.desk.messages
    assert "1 account of those who may submit" in sentence
    assert sentence.endswith("It may also be the name of a group.")
    wanted = Filter(people=frozenset({bad}))
    handed_by_bad = await world.desk.submissions(found, wanted)
    told = await world.desk.without_work(found, wanted, handed_by_bad)
    assert ([], [f"Of number {bad} nothing was found"]) == (handed_by_bad, [one.split(":")[0] for one in told])
    assert [sentence] == world.desk.messages


@pytest.mark.parametrize("known", [True, False])
async def test_blind_work_of_somebody_whom_moodle_cannot_show(known: bool) -> None:
    """It is nobody else's: it has no participant number, and no id where identities are kept."""
    world = MarkingWorld()
    if not known:
        world.fake.revoke("mod/assign:revealidentities")
    bad, other, *_ = world.learners
    numbers = {learner: world.site.marking.number(world.instance("Blind"), learner) for learner in world.learners}
    for learner in (bad, other):
        world.hand_in("Blind", learner)
    world.site.update_user(bad, lastname="<Last0")
    found = await world.find("Blind")
    handed = await world.desk.submissions(found)
    assert [(bad if known else None, None), (other if known else None, numbers[other])] == [
        (one.person.id if one.person else None, one.participant) for one in handed
    ]
    assert 1 == len(world.desk.messages)
    wanted = Filter(participants=frozenset({numbers[bad], numbers[other]}))
    some = await world.desk.submissions(found, wanted)
    assert [numbers[other]] == [one.participant for one in some]
    (sentence,) = await world.desk.without_work(found, wanted, some)
    assert f"Of number {numbers[bad]} nothing was found" in sentence


async def test_without_work_and_not_shown() -> None:
    """A number that is in no list may be that of somebody whom Moodle cannot show: it is not called wrong."""
    world = MarkingWorld()
    one, bad = world.learners[:2]
    world.site.update_user(bad, lastname="<Last1")
    found, wanted = await world.find("Essay"), Filter(people=frozenset({one, bad}))
    told = await world.desk.without_work(found, wanted, await world.desk.submissions(found, wanted))
    assert f"Person {one} has handed in nothing." == told[0]
    assert told[1].startswith(f"Of number {bad} nothing was found: Moodle cannot show the account, or nobody")
    assert (2, 1) == (len(told), len(world.desk.messages))


async def test_a_member_of_a_group_whom_moodle_cannot_show() -> None:
    """The own row of a member is empty: no name is looked up for it, and none is said to be missing."""
    world = MarkingWorld()
    bad, mate = world.learners[0], world.learners[2]
    group = next(iter(world.site.members_of(world.course)[bad].groups))
    world.hand_in("Team", 0, {"ours.txt": b"x"}, groupid=group)
    for one in (bad, mate):
        world.hand_in("Team", one)
    world.site.update_user(bad, lastname="<Last0")
    found, wanted = await world.find("Team"), Filter(people=frozenset({bad}))
    handed = await world.desk.submissions(found, wanted)
    told = await world.desk.without_work(found, wanted, handed)
    assert [] == handed
    assert [True] == ["cannot show 1 account of those who may submit" in one for one in world.desk.messages]
    assert f"Of number {bad} nothing was found" in told[0]
    (ours,) = await world.desk.submissions(found)
    assert ([mate], (0, 0)) == ([one.id for one in ours.members], (world.called(PROFILES), world.called(ENROLLED)))


async def test_numbers_of_assignments() -> None:
    """A number is a cmid or an id and the answer says which; one that is both is asked about."""
    world = MarkingWorld()
    cmid = world.cmid["Essay"]
    desk, course = world.desk, world.course
    page = f"{world.site.url}/mod/assign/view.php?id={cmid}"
    for text, way in ((str(cmid), "cmid"), ("1", "id"), (page, "cmid"), (f"cmid:{cmid}", "cmid"), ("id:1", "id")):
        found = await desk.find(f"{world.site.url}/course/view.php?id={course}", text)
        assert (1, way) == (found.assignment.id, found.taken_as), text
    assert "taken as the number in the address of its page (cmid)" in (await desk.find(course, cmid)).sentence
    world.site.activities.by_course[course][world.cmid["Blind"]].instance = cmid
    with pytest.raises(UsageError, match=f"{cmid} is the cmid of 'Essay' and the id of 'Blind'"):
        await desk.find(course, cmid)
    assert "Blind" == (await desk.find(course, f"id:{cmid}")).assignment.name


async def test_wrong_numbers() -> None:
    """What is no number, not there, or of another site is said, with what there is."""
    world = MarkingWorld()
    with pytest.raises(UsageError, match=r"no assignment 77. By cmid there are: 101 \('Essay'\)"):
        await world.desk.find(world.course, 77)
    with pytest.raises(UsageError, match=r"no address of assignment pages of https://moodle\.example\.org"):
        await world.desk.find(world.course, "https://elsewhere.example.org/mod/assign/view.php?id=101")
    with pytest.raises(UsageError, match="'Essay' is no assignment"):
        await world.desk.find(world.course, "Essay")
    with pytest.raises(AccessDenied):
        await world.desk.find(4711, 1)
    world.fake.revoke("mod/assign:grade", "mod/assign:viewgrades")
    with pytest.raises(AccessDenied, match="'mod/assign:view' and 'mod/assign:grade'"):
        await world.desk.submissions(await world.find("Essay"))


async def test_both_numbers_equal() -> None:
    """Where cmid and id are the same number of the same assignment there is nothing to ask."""
    desk, _ = recorded_desk()
    assert ("both", 1) == ((found := await desk.find(2, 1)).taken_as, found.assignment.cmid)
    assert "both its cmid and its id" in found.sentence
    with pytest.raises((Refused, AccessDenied)):
        await desk.course(1 << 40)
