"""Feedback of coaches goes back to Moodle: once, for the right person, over nothing that others wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adaptors.moodle.assignment_marks import SAVE
from flows.drain import TROUBLE
from flows.errors import UsageError
from flows.fed_back import REASON_OF
from flows.feedback_reasons import FEEDBACK_REASONS, FEEDBACK_REMEDIES
from flows.problems import list_problems
from flows.result import RunState
from tests.flows.feedback_world import GRADE, WORK, entry, make_class, writing_back
from tests.flows.marking_world import MarkingWorld
from tests.flows.worlds import Lab, leave_shard

MakeLab = Callable[..., Lab]


def listed(lab: Lab) -> list[tuple[str, str]]:
    """Return key and reason of what is listed of feedback."""
    return [(one.row.key, one.reason) for one in list_problems(lab.store) if one.reason.startswith("feedback_")]


# --- the two ways ---------------------------------------------------------------------------------------------


async def test_a_forwarded_text_is_feedback(make_lab: MakeLab) -> None:
    """From the post to Moodle: escaped, for the person of the case, once however often it is told."""
    room = await make_class(make_lab)
    one, other = room.learners[:2]
    post = room.writes(one, coach_feedback="Well <done> & more\n\nNext: sources")
    room.post(post, post)
    done = await room.drained()
    assert (RunState.COMPLETED, {"feedback": 1}, 0) == (done.state, done.outcomes, done.left)
    html = "<p>Well &lt;done&gt; &amp; more</p><p>Next: sources</p>"
    assert ((-1.0, html), None, [one]) == (room.held(one), room.held(other), room.saves)
    assert ["published"] == [told.state for told in done.told]
    room.post(room.writes(one, coach_seen="yes"), post)
    again = await room.drained()
    assert (RunState.COMPLETED, [one], []) == (again.state, room.saves, again.told)
    assert 0 == sum("assign" in name for name, _ in room.lab.moodle.calls[-1:])


async def test_without_webhooks_the_listing_finds_it(make_lab: MakeLab) -> None:
    """What changed since the last time is listed; a second look finds nothing new and asks Moodle nothing."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.writes(one, coach_feedback="Good")
    done = await room.sent()
    assert (RunState.COMPLETED, {"published": 1}, 1) == (done.state, done.counts, done.cases)
    assert (-1.0, "<p>Good</p>") == room.held(one)
    again = await room.sent()
    assert ({}, [one], {}) == (again.counts, room.saves, again.requests["moodle"])
    later = await room.sent(later=86_400.0)
    assert (0, {"list": 1}) == (later.cases, later.requests["commcare"])


async def test_a_changed_text_is_published_again(make_lab: MakeLab) -> None:
    """What we told Moodle before is ours to write over; an emptied text takes nothing away."""
    room = await make_class(make_lab)
    one = room.learners[0]
    for text in ("First", "Second"):
        room.writes(one, coach_feedback=text)
        await room.sent()
        assert f"<p>{text}</p>" == (room.held(one) or (0, ""))[1]
    room.writes(one, coach_feedback=" ")
    done = await room.sent()
    assert ({}, "<p>Second</p>", [one, one]) == (done.counts, (room.held(one) or (0, ""))[1], room.saves)
    room.writes(one, coach_feedback="Second")
    assert ({}, [one, one]) == ((await room.sent()).counts, room.saves)


async def test_echoes_and_strangers_are_ignored(make_lab: MakeLab) -> None:
    """Our own writes come back, and posts about cases of nobody: no request is made for them."""
    room = await make_class(make_lab)
    one = room.learners[0]
    echo = room.writes(one, coach_feedback="Not from a phone")
    echo["xform_ids"] = [room.lab.project.forms[-1].form_id]
    room.post(echo, echo | {"case_id": "somebody-elses-case", "xform_ids": ["x"]})
    before = room.lab.moodle.requests
    done = await room.drained()
    assert ({"unused": 2}, None, before) == (done.outcomes, room.held(one), room.lab.moodle.requests)


async def test_a_forged_post_publishes_what_the_case_says(make_lab: MakeLab) -> None:
    """The text comes from CommCare's API and the person from the books, whatever a post holds."""
    room = await make_class(make_lab)
    one, other = room.learners[:2]
    post = room.writes(one, coach_feedback="True", moodle_id=str(other), external_id=f"test-enrol-2-{other}")
    post["properties"]["coach_feedback"] = "False"
    room.post(post)
    await room.drained()
    assert ((-1.0, "<p>True</p>"), None) == (room.held(one), room.held(other))


async def test_a_hint_waits_for_a_search_that_is_behind(make_lab: MakeLab) -> None:
    """What CommCare shows from before the change is not published in its place."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.lab.project.search.lag = 200.0
    room.post(room.writes(one, coach_feedback="New"), ago=6)
    done = await room.drained(later=10)
    assert ({}, 1, []) == ({k: v for k, v in done.outcomes.items() if v}, done.left, room.saves)
    done = await room.drained(later=250)
    assert ({"feedback": 1}, 0, "<p>New</p>") == (done.outcomes, done.left, (room.held(one) or (0, ""))[1])


async def test_a_hint_waits_for_a_case_that_is_not_shown(make_lab: MakeLab) -> None:
    """A case that the search lacks is not taken for read; ten minutes later its hint is given up by name."""
    room = await make_class(make_lab)
    post = room.writes(room.learners[0], coach_feedback="New")
    room.lab.project.search.remove(room.case(room.learners[0]).case_id)
    room.post(post, ago=6)
    done = await room.drained(later=10)
    assert ({}, 1) == ({k: v for k, v in done.outcomes.items() if v}, done.left)
    done = await room.drained(later=600)
    assert ({"not_shown": 1}, 0) == (done.outcomes, done.left)
    assert any("did not show" in line for line in done.lines())


async def test_a_case_that_is_shown_late_is_read(make_lab: MakeLab) -> None:
    """The hint that waited for its case brings the text."""
    room = await make_class(make_lab)
    one = room.learners[0]
    post = room.writes(one, coach_feedback="New")
    room.lab.project.search.remove(room.case(one).case_id)
    room.post(post, ago=6)
    await room.drained(later=10)
    room.lab.project.search.store(room.case(one))
    done = await room.drained(later=250)
    assert ({"feedback": 1}, "<p>New</p>") == (done.outcomes, (room.held(one) or (0, ""))[1])


# --- other people's words -------------------------------------------------------------------------------------


async def test_what_somebody_wrote_in_moodle_stays(make_lab: MakeLab) -> None:
    """Before ours or after it: a conflict is listed, nothing is written over, until a person says so."""
    room = await make_class(make_lab)
    early, late = room.learners[:2]
    room.marking.grade("Essay", early, 50, "<p>A teacher's</p>")
    room.writes(early, coach_feedback="A coach's")
    room.writes(late, coach_feedback="First")
    done = await room.sent()
    assert {"published": 1, "not_published": 1} == done.counts
    room.marking.grade("Essay", late, 60, "<p>Edited in Moodle</p>")
    assert {"not_published": 1} == (await room.sent()).counts  # only the other waits
    room.writes(late, coach_feedback="Second")
    done = await room.sent()
    key = f"test-enrol-{room.course}-{late}"
    both = [(f"test-enrol-{room.course}-{one}", "feedback_conflict") for one in (early, late)]
    assert ({"not_published": 2}, both, [late]) == (done.counts, listed(room.lab), room.saves)
    assert [(50, "<p>A teacher's</p>"), (60, "<p>Edited in Moodle</p>")] == [room.held(early), room.held(late)]
    done = await room.sent(overwrite=(key,))
    assert ((60, "<p>Second</p>"), both[:1]) == (room.held(late), listed(room.lab))
    room.writes(early, coach_feedback="")
    await room.sent()
    assert [] == listed(room.lab)


async def test_the_same_words_are_no_conflict(make_lab: MakeLab) -> None:
    """What Moodle holds already, however its tags are written, is not sent."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.marking.grade("Essay", one, 50, "<div>Good  work</div>")
    room.writes(one, coach_feedback="Good work")
    assert ({"there_already": 1}, []) == ((await room.sent()).counts, room.saves)


async def test_a_key_to_overwrite_has_to_wait(make_lab: MakeLab) -> None:
    """A key that is not listed is refused before anything is sent."""
    room = await make_class(make_lab)
    with pytest.raises(UsageError, match="No text of 'x' waits"):
        await room.sent(overwrite=("x",))


async def test_marks_before_their_release(make_lab: MakeLab) -> None:
    """Moodle tells nothing then: what another has saved stays, what we have saved is ours."""
    marking = MarkingWorld()
    room = await make_class(make_lab, entry(marking, "Workflow"))
    theirs, ours = room.learners[:2]
    room.marking.grade("Workflow", theirs, 40, "<p>Hidden</p>")
    for one in (theirs, ours):
        room.writes(one, coach_feedback="First")
    done = await room.sent()
    assert ({"published": 1, "not_published": 1}, [ours]) == (done.counts, room.saves)
    room.writes(ours, coach_feedback="Second")
    await room.sent()
    assert ([ours, ours], "<p>Second</p>") == (room.saves, (room.held(ours, "Workflow") or (0, ""))[1])
    assert (40, "<p>Hidden</p>") == room.held(theirs, "Workflow")


# --- grades ---------------------------------------------------------------------------------------------------


async def test_a_grade_goes_along_where_the_mapping_asks(make_lab: MakeLab) -> None:
    """Only then, only in range, and never over a grade that somebody gave in Moodle."""
    marking = MarkingWorld()
    room = await make_class(make_lab, entry(marking, "Essay", ", grade: coach_grade"))
    fine, high, taken, word = room.learners[:4]
    room.marking.grade("Essay", taken, 30)
    for one, grade in ((fine, "72.5"), (high, "101"), (taken, "90"), (word, "good")):
        room.writes(one, coach_feedback="Text", coach_grade=grade)
    done = await room.sent()
    reasons = {told.person: told.reason for told in done.told}
    wrong = "feedback_bad_grade"
    assert {fine: "", high: wrong, taken: "feedback_conflict", word: wrong} == reasons
    assert ((72.5, "<p>Text</p>"), [fine], 30) == (room.held(fine), room.saves, (room.held(taken) or (0,))[0])
    room.writes(fine, coach_grade="72.50")
    room.writes(high, coach_grade="100")
    await room.sent()
    assert ([fine, high], 100.0) == (room.saves, (room.held(high) or (0,))[0])
    room.writes(fine, coach_grade="80")
    await room.sent()
    assert 80.0 == (room.held(fine) or (0,))[0]


async def test_without_a_grade_in_the_mapping_none_changes(make_lab: MakeLab) -> None:
    """A property that only looks like a grade is left alone."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.marking.grade("Essay", one, 44)
    room.writes(one, coach_feedback="Text", coach_grade="99")
    await room.sent()
    assert (44, "<p>Text</p>") == room.held(one)


# --- who is left out ------------------------------------------------------------------------------------------


async def test_each_obstacle_has_its_reason(make_lab: MakeLab) -> None:
    """Left, gone, too long: listed with what to do, and tried again by the next look."""
    room = await make_class(make_lab)
    left, long, fine = room.learners[:3]
    for one in (left, fine):
        room.writes(one, coach_feedback="Text")
    room.writes(long, coach_feedback="x" * 20_001)
    room.lab.site.unenrol(room.course, left)
    done = await room.sent()
    assert {left: "feedback_person_left", long: "feedback_too_long", fine: ""} == {
        told.person: told.reason for told in done.told
    }
    assert RunState.COMPLETED == done.state
    found = {one.reason: one for one in list_problems(room.lab.store)}
    assert ("coach_feedback", True) == (found["feedback_too_long"].name, bool(found["feedback_too_long"].remedy))
    room.lab.site.enrol(room.course, left)
    room.writes(long, coach_feedback="short")
    assert {"published": 2} == (await room.sent()).counts
    assert [] == listed(room.lab)


async def test_somebody_whom_moodle_cannot_show(make_lab: MakeLab) -> None:
    """All others have their feedback; this text waits, and is published once the account is mended."""
    room = await make_class(make_lab)
    bad, fine = room.learners[:2]
    for one in (bad, fine):
        room.post(room.writes(one, coach_feedback="Text"))
    room.lab.site.update_user(bad, lastname="<Last0")
    done = await room.drained()
    assert {bad: "feedback_not_shown", fine: ""} == {told.person: told.reason for told in done.told}
    assert ([fine], ["feedback_not_shown"]) == (room.saves, [reason for _, reason in listed(room.lab)])
    for _ in range(2):
        again = await room.sent()
        assert (RunState.COMPLETED, {"not_published": 1}, [fine]) == (again.state, again.counts, room.saves)
        assert "cannot show 1 account of those who may submit to assignment" in again.messages[0]
    room.lab.site.update_user(bad, lastname="Last0")
    assert (RunState.COMPLETED, {"published": 1}) == ((done := await room.sent()).state, done.counts)
    assert ([fine, bad], []) == (room.saves, listed(room.lab))


async def test_too_many_whom_moodle_cannot_show(make_lab: MakeLab) -> None:
    """The texts for an assignment whose people cannot be read wait, and the look goes on."""
    room = await make_class(make_lab)
    one = room.learners[0]
    more = [room.lab.site.add_user(f"More{n}", f"<More{n}") for n in range(11)]
    room.writes(one, coach_feedback="Text")
    for learner in more:
        room.lab.site.enrol(room.course, learner)
    done = await room.sent()
    assert ([], ["feedback_not_shown"]) == (room.saves, [told.reason for told in done.told])
    assert (RunState.DEGRADED, True) == (done.state, "invalidresponse" in done.messages[0])
    for learner in more:
        room.lab.site.unenrol(room.course, learner)
    assert {"published": 1} == (await room.sent()).counts


async def test_an_assignment_that_is_gone(make_lab: MakeLab) -> None:
    """The course has none of this number: listed, and nothing is sent elsewhere."""
    room = await make_class(make_lab, "- {feedback: coach_feedback, assignment: 9999}")
    room.writes(room.learners[0], coach_feedback="Text")
    done = await room.sent()
    assert (["feedback_no_assignment"], []) == ([told.reason for told in done.told], room.saves)


@pytest.mark.parametrize("name", ["Blind", "Ungraded", "Team", "Scale"])
async def test_kinds_of_assignments(make_lab: MakeLab, name: str) -> None:
    """Each kind takes a text for its person; blind marking only of an account that may know who it is."""
    marking = MarkingWorld()
    room = await make_class(make_lab, entry(marking, name))
    one = room.learners[0]
    room.writes(one, coach_feedback="Text")
    done = await room.sent()
    assert ([("published", "")], [one]) == ([(told.state, told.reason) for told in done.told], room.saves)


async def test_cases_about_one_assignment(make_lab: MakeLab) -> None:
    """Work and grades have a case each: which assignment it is stands in the key that we made."""
    grades = GRADE.replace("\nwhen_left:", "\nwrite_back: [{feedback: coach_feedback}]\n\nwhen_left:")
    room = await make_class(make_lab, work=WORK, grade_item=grades)
    one, two = room.learners[:2]
    number = room.marking.instance("Scale")
    room.writes(one, case=room.case(one, "work", number), coach_feedback="On the scale")
    item = next(one for one in room.lab.site.gradebooks[room.course].items if one.name == "Graded")
    room.writes(two, case=room.case(two, "grade", item.id), coach_feedback="On the grade")
    done = await room.sent()
    assert {"published": 2} == done.counts
    assert "<p>On the scale</p>" == (room.held(one, "Scale") or (0, ""))[1]
    assert "<p>On the grade</p>" == (room.held(two, "Graded") or (0, ""))[1]


async def test_two_cases_that_say_different_things(make_lab: MakeLab) -> None:
    """Nobody chooses between them: both are listed; once they agree, it is told once."""
    room = await make_class(make_lab, work=WORK)
    one = room.learners[0]
    work = room.case(one, "work", room.marking.instance("Essay"))
    room.writes(one, coach_feedback="This")
    room.writes(one, case=work, coach_feedback="That")
    done = await room.sent()
    assert (["feedback_twice"] * 2, []) == ([told.reason for told in done.told], room.saves)
    room.writes(one, case=work, coach_feedback="This")
    done = await room.sent()
    assert ({"published": 2}, [one]) == (done.counts, room.saves)


# --- asking first ---------------------------------------------------------------------------------------------


async def test_the_first_time_a_person_is_asked(make_lab: MakeLab) -> None:
    """Counts come first, hints wait for the word and are not needed afterwards; an edit asks anew."""
    room = await make_class(make_lab, approved=False)
    one, two = room.learners[:2]
    post = room.writes(one, coach_feedback="Early")
    room.post(post)
    drained = await room.drained()
    assert (RunState.WAITING, []) == (drained.state, room.saves)
    assert "feedback send" in drained.messages[0]
    asked = await room.sent(yes=False)
    assert (RunState.WAITING, {"enrolment": 1}, []) == (asked.state, asked.asked, room.saves)
    done = await room.sent()
    assert ({"published": 1}, [one]) == (done.counts, room.saves)
    assert RunState.COMPLETED == (await room.sent(yes=False)).state
    room.lab.edit("enrolment", "feedback: coach_feedback", "feedback: coach_words")
    room.writes(two, coach_words="Other")
    assert {"enrolment": 1} == (await room.sent(yes=False)).asked


async def test_a_preview_writes_nothing(make_lab: MakeLab) -> None:
    """It tells what would be, without a save, a row in the books or a listing that counts."""
    room = await make_class(make_lab, approved=False)
    one = room.learners[0]
    room.writes(one, coach_feedback="Text")
    facts = room.lab.store.get("feedback:approved"), room.lab.store.feedback()
    for _ in range(2):
        done = await room.sent(yes=False, dry_run=True)
        assert ({"would_publish": 1}, []) == (done.counts, room.saves)
    assert facts == (room.lab.store.get("feedback:approved"), room.lab.store.feedback())
    assert "Nothing was sent. Texts of coaches, in 1 case: 1 would be published." == next(iter(done.lines()))


async def test_no_mapping_sends_back(make_lab: MakeLab) -> None:
    """The command says what to add; what was listed before is taken off."""
    room = await make_class(make_lab, "- {feedback: coach_feedback, assignment: 9999}")
    room.writes(room.learners[0], coach_feedback="Text")
    await room.sent()
    room.lab.edit("enrolment", "write_back:\n  - {feedback: coach_feedback, assignment: 9999}\n", "")
    with pytest.raises(UsageError, match="write_back"):
        await room.sent()
    assert [] == listed(room.lab)


# --- trouble --------------------------------------------------------------------------------------------------


async def test_moodle_is_down(make_lab: MakeLab) -> None:
    """The hint stays, drains look less and less often, and afterwards it is told once."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.post(room.writes(one, coach_feedback="Text"))
    moodle = room.lab.moodle
    room.lab.moodle = lambda _request: httpx.Response(503)  # type: ignore[assignment]
    done = await room.drained()
    assert (RunState.FAILED, 1) == (done.state, done.left)
    assert RunState.POSTPONED == (await room.drained(later=10)).state
    room.lab.moodle = moodle
    done = await room.drained()
    assert ({"feedback": 1}, [one], 0) == (done.outcomes, room.saves, done.left)


async def an_expired_token(lab: Lab) -> None:
    lab.moodle.expire_token()


async def a_suspended_account(lab: Lab) -> None:
    lab.site.users[lab.site.info["userid"]].suspended = True


async def web_services_that_are_off(lab: Lab) -> None:
    lab.site.web_services = False


@pytest.mark.parametrize(
    ("shut", "words"),
    [
        (an_expired_token, "Moodle does not accept the token."),
        (a_suspended_account, "The Moodle account of the token is suspended."),
        (web_services_that_are_off, "Moodle's web services or their REST protocol are off."),
    ],
)
async def test_an_account_that_is_shut_out(make_lab: MakeLab, shut: Any, words: str) -> None:
    """It is no course that may not be marked: the look fails, no text is listed, and the hint stays."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.post(room.writes(one, coach_feedback="Text"))
    account, site = room.lab.moodle.account, room.lab.site
    await shut(room.lab)
    await room.sent()  # the first use of an expired token says that the service may have been changed
    for done in (await room.drained(), await room.sent(), await room.sent(dry_run=True)):
        assert (RunState.FAILED, [], True) == (done.state, [*done.told], words in done.messages[0]), done.messages
    assert ([], 1) == (listed(room.lab), sum(room.lab.store.inbox_state(room.lab.clock.now()).waiting.values()))
    room.lab.moodle.account = type(account)(account.token, {})
    site.users[site.info["userid"]].suspended, site.web_services = False, True
    done = await room.drained()
    assert ({"feedback": 1}, [one], 0) == (done.outcomes, room.saves, done.left)


async def test_a_token_that_ends_on_the_way(make_lab: MakeLab) -> None:
    """It ends after the course was read: no text of an assignment is listed either."""
    room = await make_class(make_lab)
    room.writes(room.learners[0], coach_feedback="Text")
    room.lab.moodle.fail_next("mod_assign_list_participants", "accessexception")
    done = await room.sent()
    assert (RunState.FAILED, [], []) == (done.state, done.told, listed(room.lab))
    assert {"published": 1} == (await room.sent()).counts


async def test_a_function_that_one_assignment_needs(make_lab: MakeLab) -> None:
    """Moodle says of it what it says of an expired token: others are published, and what is missing is told."""
    marking = MarkingWorld()
    entries = f"{entry(marking, 'Workflow')}\n  {entry(marking, 'Essay').replace('coach', 'other')}"
    room = await make_class(make_lab, entries)
    one, function = room.learners[0], "mod_assign_get_user_flags"
    room.lab.moodle.remove_function(function)
    room.writes(one, coach_feedback="Text", other_feedback="Text")
    done = await room.sent()
    assert {"coach_feedback": "feedback_no_access", "other_feedback": ""} == {
        told.name: told.reason for told in done.told
    }
    assert (RunState.COMPLETED, True) == (done.state, f"Moodle refuses {function}" in done.messages[0])


async def test_a_course_that_may_not_be_marked(make_lab: MakeLab) -> None:
    """A right that is lacking there is an obstacle of its texts; nothing is wrong with the account."""
    room = await make_class(make_lab)
    room.writes(room.learners[0], coach_feedback="Text")
    room.lab.moodle.revoke("moodle/course:view")
    done = await room.sent()
    assert (RunState.COMPLETED, ["feedback_no_access"]) == (done.state, [told.reason for told in done.told])


@pytest.mark.parametrize("stored", [True, False])
async def test_a_save_without_an_answer(make_lab: MakeLab, stored: bool) -> None:
    """What Moodle holds decides: told once when it arrived, and again when it did not."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.post(room.writes(one, coach_feedback="Text"))
    moodle = room.lab.moodle

    def answer(request: httpx.Request) -> httpx.Response:
        if SAVE in request.content.decode():
            if stored:
                moodle(request)
            raise httpx.ReadTimeout("no answer", request=request)
        return moodle(request)

    room.lab.moodle = answer  # type: ignore[assignment]
    done = await room.drained()
    assert ([one] if stored else [], 0 if stored else 1) == ([*map(int, room_saves(moodle))], done.left)
    room.lab.moodle = moodle
    await room.drained()
    assert ([one], (-1.0, "<p>Text</p>")) == (room.saves, room.held(one))


def room_saves(moodle: Any) -> list[int]:
    """Return for whom something was saved."""
    return [one["userid"] for name, given in moodle.calls if name == SAVE for one in given["grades"]]


async def test_another_run_is_at_work(make_lab: MakeLab) -> None:
    """Nothing is sent beside it."""
    room = await make_class(make_lab)
    room.writes(room.learners[0], coach_feedback="Text")
    room.lab.store.take_lease("another", room.lab.clock.now(), 600.0)
    assert (RunState.POSTPONED, []) == ((await room.sent(later=1)).state, room.saves)


async def test_a_shard_at_work_is_no_trouble(make_lab: MakeLab) -> None:
    """The hint waits until the shard is done, and no rest follows."""
    room = await make_class(make_lab)
    room.post(room.writes(room.learners[0], coach_feedback="Well done"))
    before = room.lab.store.get(TROUBLE)
    leave_shard(room.lab)
    done = await room.drained(later=10)
    assert (RunState.POSTPONED, 1, before) == (done.state, done.left, room.lab.store.get(TROUBLE))
    assert {"feedback": 1} == (await room.drained(later=600)).outcomes


async def test_an_erased_person_gets_none(make_lab: MakeLab) -> None:
    """Whoever was erased is in nothing that goes back, and in none of its books."""
    room = await make_class(make_lab)
    one = room.learners[0]
    room.writes(one, coach_feedback="Text")
    await room.sent()
    room.lab.store.begin_erasure(one, room.lab.clock.now())
    room.writes(one, coach_feedback="More")
    assert ({}, [one]) == ((await room.sent()).counts, room.saves)
    room.lab.store.finish_erasure(one)
    assert {} == room.lab.store.feedback()


def test_every_reason_is_explained() -> None:
    """Each has words and a remedy."""
    assert set(REASON_OF.values()) == set(FEEDBACK_REASONS) == set(FEEDBACK_REMEDIES)


def test_the_mapping_of_these_tests() -> None:
    """It says what goes back, at the place where an implementer would."""
    assert "\nwrite_back:\n  - {feedback: coach_feedback, assignment: 10" in writing_back(MarkingWorld())
