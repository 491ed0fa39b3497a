"""Publishing feedback: grades kept, each person read back, safe to repeat, a reason for whoever is left out."""

from __future__ import annotations

import httpx
import pytest

from adaptors.errors import AccessDenied
from adaptors.moodle.assignment_marks import DEFINITIONS, GRADES, SAVE
from adaptors.moodle.assignment_work import STATUS
from adaptors.moodle.client import BATCH_FUNCTION, Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from flows.assignments import Desk
from flows.assignments_feedback import publish, told
from flows.assignments_list import Entry
from flows.assignments_plan import Ways
from flows.result import RunState
from tests.adaptors.moodle_world import recorded_site
from tests.clocks import VirtualClock
from tests.flows.marking_world import MarkingWorld, by_id, states


async def test_text_is_stored_and_the_grade_kept() -> None:
    """With a grade or without one, with a submission or without, only the text changes."""
    world = MarkingWorld()
    graded, handed, nothing = world.learners[:3]
    world.grade("Essay", graded, 72.5, "<p>old</p>")
    world.hand_in("Essay", handed)
    rows = [{"extId": one, "text": "Well <done> & more\nnext line\n\nsecond"} for one in (graded, handed, nothing)]
    done = await world.publish("Essay", rows)
    text = "<p>Well &lt;done&gt; &amp; more<br />next line</p><p>second</p>"
    assert (RunState.COMPLETED, {"stored"}) == (done.state, {one.state for one in done.outcomes})
    assert [(72.5, text), (-1.0, text), (-1.0, text)] == [
        world.held("Essay", one) for one in (graded, handed, nothing)
    ]


async def test_a_second_time_nothing_is_sent() -> None:
    """What Moodle holds is not sent again; what changed in the list is."""
    world = MarkingWorld()
    rows = [{"extId": one, "text": f"for {one}"} for one in world.learners]
    await world.publish("Essay", rows)
    assert 1 == world.called(SAVE)
    again = await world.publish("Essay", rows)
    assert (1, {"unchanged"}) == (world.called(SAVE), {one.state for one in again.outcomes})
    rows[1]["text"] = "another"
    third = await world.publish("Essay", rows)
    assert (2, "stored") == (world.called(SAVE), by_id(third)[str(world.learners[1])].state)
    saved = [call for call in world.fake.calls if call[0] == SAVE][-1][1]["grades"]
    assert [world.learners[1]] == [one["userid"] for one in saved]


async def test_grades_of_the_list() -> None:
    """A grade is stored when the list gives one, 0 too; one that is there already is not sent again."""
    world = MarkingWorld()
    one, two, three = world.learners[:3]
    world.grade("Essay", one, 50)
    rows = [{"extId": one, "text": "a", "grade": 61.5}, {"extId": two, "text": "b", "grade": "0"}]
    rows.append({"extId": three, "text": "c", "grade": ""})
    done = await world.publish("Essay", rows)
    assert {"stored"} == {one.state for one in done.outcomes}
    assert [61.5, 0, -1] == [(world.held("Essay", who) or (None,))[0] for who in (one, two, three)]
    assert {"unchanged"} == {one.state for one in (await world.publish("Essay", rows)).outcomes}


async def test_everybody_left_out_has_a_reason() -> None:
    """Nobody is dropped silently, and nobody but the one who may is sent."""
    world = MarkingWorld()
    fine, twice, blank, high, word = world.learners
    suspended = world.site.add_user("Sus", "Pended", suspended=True)
    world.site.enrol(world.course, suspended)
    rows = [
        {"extId": fine, "text": "fine"},
        {"extId": twice, "text": "one"},
        {"extId": twice, "text": "two"},
        {"extId": blank, "text": "  \n "},
        {"extId": high, "text": "x", "grade": 100.5},
        {"extId": word, "text": "x", "grade": "good"},
        {"extId": world.teacher, "text": "x"},
        {"extId": suspended, "text": "x"},
        {"extId": 9999, "text": "x"},
        {"extId": "QanaryFirst", "text": "x"},
    ]
    done = await world.publish("Essay", rows)
    assert {
        str(fine): ("stored", ""),
        str(twice): ("refused", "duplicate"),
        str(blank): ("refused", "blank_text"),
        str(high): ("refused", "grade_out_of_range"),
        str(word): ("refused", "bad_grade"),
        str(world.teacher): ("refused", "may_not_submit"),
        str(suspended): ("refused", "may_not_submit"),
        "9999": ("refused", "unknown_person"),
        "QanaryFirst": ("refused", "no_number"),
    } == states(done)
    assert (RunState.DEGRADED, 1) == (done.state, done.state.exit_code)
    assert [fine] == [one["userid"] for call in world.fake.calls if call[0] == SAVE for one in call[1]["grades"]]
    assert "Qanary" not in str(done.as_json()["people"]).replace("Qa***", "")


async def test_somebody_whom_moodle_cannot_show() -> None:
    """All others have their feedback; who is not shown is not sent and not called unknown, until it is mended."""
    world = MarkingWorld()
    bad, *others = world.learners
    world.site.update_user(bad, lastname="<Last0")
    rows = [{"extId": one, "text": "Good"} for one in (*world.learners, world.teacher)]
    done = await world.publish("Essay", rows)
    left_out = {str(one): ("refused", "not_shown") for one in (bad, world.teacher)}
    assert {**left_out, **{str(one): ("stored", "") for one in others}} == states(done)
    assert (RunState.DEGRADED, None) == (done.state, world.held("Essay", bad))
    assert "cannot show 1 account of those who may submit to assignment" in told(done)[-1]
    assert "for a value in it. An account like that gets no feedback. Most often" in told(done)[-1]
    again = await world.publish("Essay", rows[1:-1])
    assert (RunState.COMPLETED, []) == (again.state, again.notes)
    world.site.update_user(bad, lastname="Last0")
    mended = states(await world.publish("Essay", rows))
    assert ("stored", "may_not_submit") == (mended[str(bad)][0], mended[str(world.teacher)][1])


async def test_a_participant_whom_moodle_cannot_show() -> None:
    """By the numbers of blind marking nobody gets what is for somebody else, and no id is told."""
    world = MarkingWorld()
    world.fake.revoke("mod/assign:revealidentities")
    numbers = [world.site.marking.number(world.instance("Blind"), one) for one in world.learners]
    world.site.update_user(world.learners[1], lastname="<Last1")
    rows = [{"extId": one, "text": f"for {one}"} for one in numbers]
    done = await world.publish("Blind", rows, ids="participants")
    assert [("refused", "not_shown")] == [state for one, state in states(done).items() if one == str(numbers[1])]
    assert {None} == {one.person for one in done.outcomes}
    assert [None if number == numbers[1] else (-1.0, f"<p>for {number}</p>") for number in numbers] == [
        world.held("Blind", one) for one in world.learners
    ]


async def test_a_group_with_somebody_whom_moodle_cannot_show() -> None:
    """The others of the group have it; that one may be missing is said, and it is not done."""
    world = MarkingWorld()
    one, _, bad, _, _ = world.learners  # the first and the third are North
    north = next(iter(world.site.members_of(world.course)[one].groups))
    world.site.update_user(bad, lastname="<Last2")
    done = await world.publish("Team", [{"extId": f"group:{north}", "text": "Good"}])
    assert {str(one): ("stored", "")} == states(done)
    (note,) = done.notes
    assert (RunState.DEGRADED, None) == (done.state, world.held("Team", bad))
    assert "gets no feedback, also where the others of its group do. Most often" in note
    assert "Everybody else" not in note
    world.site.update_user(one, lastname="<Last0")
    done = await world.publish("Team", [{"extId": f"group:{who}", "text": "Good"} for who in (north, 4711)])
    assert {"not_shown"} == {one.reason for one in done.outcomes}
    whole = await world.publish("Team", [{"extId": world.learners[1], "text": "Good"}], whole_groups=True)
    assert (RunState.DEGRADED, {"stored"}) == (whole.state, {one.state for one in whole.outcomes})


async def test_twice_the_same_is_once() -> None:
    """Entries for one person that say the same count as one."""
    world = MarkingWorld()
    row = {"extId": world.learners[0], "text": "same"}
    done = await world.publish("Essay", [row, dict(row)])
    assert [("stored", "")] == list(states(done).values())


@pytest.mark.parametrize(
    ("name", "grade", "reason"),
    [
        ("Scale", "2", ""),
        ("Scale", "2.5", "grade_not_on_scale"),
        ("Scale", "0", "grade_not_on_scale"),
        ("Ungraded", "2", "not_graded"),
        ("Ungraded", "", ""),
        ("Essay", "-1", "grade_out_of_range"),
        ("Essay", "100", ""),
        ("Essay", "72,5", "bad_grade"),
        ("Essay", "nan", "bad_grade"),
        ("Essay", "1e2", "bad_grade"),
    ],
)
async def test_ranges(name: str, grade: str, reason: str) -> None:
    """Points, scales and assignments without grades each take their own."""
    world = MarkingWorld()
    done = await world.publish(name, [{"extId": world.learners[0], "text": "x", "grade": grade}])
    assert [reason] == [one.reason for one in done.outcomes]


async def test_a_grade_that_moodle_drops_is_told() -> None:
    """A word that the scale does not have is dropped by Moodle without a word; the text stays, and is told."""
    world = MarkingWorld()
    done = await world.publish("Scale", [{"extId": world.learners[0], "text": "x", "grade": "9"}])
    assert [("partly", "grade_not_stored")] == list(states(done).values())
    assert (-1.0, "<p>x</p>") == world.held("Scale", world.learners[0])


async def test_a_grade_frozen_in_the_gradebook() -> None:
    """Overridden or locked: the text is stored, the grade is not, and the reason says where to look."""
    world = MarkingWorld()
    one, two = world.learners[:2]
    item = world.site.set_grade_item(world.course, "Essay item")
    book = world.site.gradebooks[world.course]
    next(i for i in book.items if i.id == item).cmid = world.cmid["Essay"]
    world.site.grade(item, one, 99, overridden=True)
    rows = [{"extId": who, "text": "x", "grade": 50} for who in (one, two)]
    done = await world.publish("Essay", rows)
    assert {str(one): ("partly", "frozen_grade"), str(two): ("stored", "")} == states(done)
    assert ((-1.0, "<p>x</p>"), (50, "<p>x</p>")) == (world.held("Essay", one), world.held("Essay", two))


async def test_latest_attempt() -> None:
    """Feedback goes to the attempt that was begun last; earlier grades stay where they are."""
    world = MarkingWorld()
    learner = world.learners[0]
    world.hand_in("Essay", learner, attemptnumber=1)
    world.grade("Essay", learner, 40, "<p>first</p>", attempt=0)
    await world.publish("Essay", [{"extId": learner, "text": "second"}])
    assert (40, "<p>first</p>") == world.held("Essay", learner, 0)
    assert (-1.0, "<p>second</p>") == world.held("Essay", learner, 1)


async def test_a_grade_of_an_earlier_attempt_is_told() -> None:
    """Moodle's gradebook follows the latest attempt: without a grade it shows none, and that is said."""
    world = MarkingWorld()
    learner = world.learners[0]
    row = world.hand_in("Essay", learner, attemptnumber=1)
    world.grade("Essay", learner, 40, "<p>first</p>", attempt=0)
    world.site.marking.earlier[world.instance("Essay")].append({**row, "attemptnumber": 0})
    done = await world.publish("Essay", [{"extId": learner, "text": "second"}])
    assert ("stored", "earlier_grade") == (done.outcomes[0].state, done.outcomes[0].note)
    assert any("an earlier one has" in line for line in told(done))
    (graded,) = (await world.publish("Essay", [{"extId": learner, "text": "second", "grade": 60}])).outcomes
    assert ("stored", "") == (graded.state, graded.note)


async def test_marking_workflow() -> None:
    """The state stays as it was, and before the release the row that we saved is what proves it."""
    world = MarkingWorld()
    hidden, shown = world.learners[:2]
    marking, number = world.site.marking, world.instance("Workflow")
    for learner, state in ((hidden, "inmarking"), (shown, "released")):
        world.grade("Workflow", learner, 30, "<p>old</p>")
        marking.set_state(number, learner, state)
    done = await world.publish("Workflow", [{"extId": one, "text": "new"} for one in (hidden, shown)])
    assert [("stored", "not_released"), ("stored", "")] == [(one.state, one.note) for one in done.outcomes]
    assert ["inmarking", "released"] == [marking.state(number, one) for one in (hidden, shown)]
    assert [(30, "<p>new</p>")] * 2 == [world.held("Workflow", one) for one in (hidden, shown)]


async def test_blind_marking() -> None:
    """Participant numbers are taken, user ids only from who may reveal identities."""
    world = MarkingWorld()
    people = await world.desk.people(await world.find("Blind"))
    first = people[0]
    assert first.person is not None
    row = {"extId": first.participant, "text": "x"}
    assert [("stored", "")] == list(states(await world.publish("Blind", [row], ids="participants")).values())
    assert (-1.0, "<p>x</p>") == world.held("Blind", first.person.id)
    assert [("unchanged", "")] == list(
        states(await world.publish("Blind", [{"extId": first.person.id, "text": "x"}])).values()
    )
    world.fake.revoke("mod/assign:revealidentities")
    refused = await world.publish("Blind", [{"extId": first.person.id, "text": "x"}])
    assert [("refused", "blind_marking", None)] == [(o.state, o.reason, o.person) for o in refused.outcomes]
    again = await world.publish("Blind", [{**row, "text": "y"}], ids="participants")
    assert [("stored", None)] == [(one.state, one.person) for one in again.outcomes]
    wrong = await world.publish("Essay", [row], ids="participants")
    assert ["no_participants"] == [one.reason for one in wrong.outcomes]
    nobody = await world.publish("Blind", [{"extId": 77, "text": "x"}], ids="participants")
    assert ["unknown_participant"] == [one.reason for one in nobody.outcomes]


async def test_groups() -> None:
    """An entry counts for its person, or with whole_groups for the group; each member's own grade is kept."""
    world = MarkingWorld()
    one, other, mate = world.learners[:3]  # the first and the third are in North
    world.grade("Team", mate, 55)
    await world.publish("Team", [{"extId": one, "text": "alone"}])
    assert ((-1.0, "<p>alone</p>"), (55, None)) == (world.held("Team", one), world.held("Team", mate))
    done = await world.publish("Team", [{"extId": one, "text": "all"}], whole_groups=True)
    assert {str(one): ("stored", ""), str(mate): ("stored", "")} == states(done)
    assert ((-1.0, "<p>all</p>"), (55, "<p>all</p>")) == (world.held("Team", one), world.held("Team", mate))
    assert world.held("Team", other) is None
    rows = [{"extId": one, "text": "a"}, {"extId": mate, "text": "b"}]
    refused = await world.publish("Team", rows, whole_groups=True)
    assert {"group_conflict"} == {outcome.reason for outcome in refused.outcomes}


async def test_an_entry_for_a_member_is_for_that_member() -> None:
    """Moodle is never told to apply it to the team: one row is sent, and the mates have nothing."""
    world = MarkingWorld()
    one, _, mate, *_ = world.learners
    assert ["stored"] == [
        outcome.state
        for outcome in (await world.publish("Team", [{"extId": one, "text": "alone", "grade": 60}])).outcomes
    ]
    (saved,) = [call[1] for call in world.fake.calls if call[0] == SAVE]
    assert (False, [one]) == (saved["applytoall"], [row["userid"] for row in saved["grades"]])
    assert ((60, "<p>alone</p>"), None) == (world.held("Team", one), world.held("Team", mate))


async def test_an_entry_for_a_group() -> None:
    """`group:7` is an entry for each member: each is read back under the own number, each keeps the own grade."""
    world = MarkingWorld()
    one, other, mate, *_ = world.learners
    north = world.site.members[world.course][one].groups[0]
    world.grade("Team", mate, 55)
    done = await world.publish("Team", [{"extId": f"group:{north}", "text": "all"}, {"extId": other, "text": "x"}])
    assert {str(one): ("stored", ""), str(mate): ("stored", ""), str(other): ("stored", "")} == states(done)
    assert ((-1.0, "<p>all</p>"), (55, "<p>all</p>")) == (world.held("Team", one), world.held("Team", mate))
    again = await world.publish("Team", [{"extId": f"group:{north}", "text": "all"}])
    assert {"unchanged": 2} == again.as_json()["counts"]
    graded = await world.publish("Team", [{"extId": f"group:{north}", "text": "all", "grade": 70}])
    assert ({"stored": 2}, 70, 70) == (
        graded.as_json()["counts"],
        *((world.held("Team", who) or (None,))[0] for who in (one, mate)),
    )


async def test_a_member_named_twice() -> None:
    """By the group and alone, with different texts, a member gets neither; the others get the group's."""
    world = MarkingWorld()
    one, _, mate, *_ = world.learners
    north = world.site.members[world.course][one].groups[0]
    rows = [{"extId": f"group:{north}", "text": "all"}, {"extId": one, "text": "alone"}]
    done = await world.publish("Team", rows)
    assert {str(one): ("refused", "duplicate"), str(mate): ("stored", "")} == states(done)


@pytest.mark.parametrize(
    ("name", "ext_id", "ways", "reason"),
    [
        ("Essay", "group:1", {}, "no_groups"),
        ("Team", "group:0", {}, "unknown_group"),
        ("Team", "group:999", {}, "unknown_group"),
        ("Team", "group:999", {"ids": "participants"}, "no_participants"),
        ("Team", "group:North", {}, "no_number"),
    ],
)
async def test_groups_that_cannot_be(name: str, ext_id: str, ways: dict[str, str], reason: str) -> None:
    """A group that is none, or in an assignment without groups, is told; nothing is sent."""
    world = MarkingWorld()
    done = await world.publish(name, [{"extId": ext_id, "text": "x"}], **ways)
    assert [("refused", reason)] == [(one.state, one.reason) for one in done.outcomes]
    assert 0 == world.called(SAVE)
    shown = done.outcomes[0].shown_id
    assert (ext_id == shown) == (reason != "no_number")


@pytest.mark.parametrize("ids", ["users", "participants"])
async def test_a_group_that_is_marked_blindly(ids: str) -> None:
    """Where the account may not know people, members are told by participant numbers, or not at all."""
    world = MarkingWorld()
    world.fake.revoke("mod/assign:revealidentities")
    world.cmid["Both"] = world.site.activities.set(world.course, "Both", teamsubmission=1, blindmarking=1)
    one, _, mate, *_ = world.learners
    north = world.site.members[world.course][one].groups[0]
    done = await world.publish("Both", [{"extId": f"group:{north}", "text": "all"}], ids=ids)
    if ids == "users":
        assert {f"group:{north}": ("refused", "blind_marking")} == states(done)
        return
    numbers = [str(world.site.marking.number(world.instance("Both"), who)) for who in (one, mate)]
    assert dict.fromkeys(numbers, ("stored", "")) == states(done)
    assert {None} == {outcome.person for outcome in done.outcomes}


async def test_grades_of_group_members_that_moodle_hides() -> None:
    """Where Moodle tells neither grade nor text of a member, nothing is sent that could wipe the grade."""
    world = MarkingWorld()
    world.site.activities.by_course[world.course][world.cmid["Team"]].settings["markingworkflow"] = 1
    learner = world.learners[0]
    row = world.site.marking.grade_row(world.instance("Team"), learner, 0, world.site.now, world.teacher)
    row.grade = 66
    done = await world.publish("Team", [{"extId": learner, "text": "x"}])
    assert ["grade_unreadable"] == [one.reason for one in done.outcomes]
    assert (66, None) == world.held("Team", learner)
    given = await world.publish("Team", [{"extId": learner, "text": "x", "grade": 70}])
    assert (70, "<p>x</p>") == world.held("Team", learner)
    assert ["not_confirmed"] == [one.reason for one in given.outcomes]  # Moodle tells nothing of it before release


async def test_rubrics_are_left_to_moodle() -> None:
    """Saving from outside would lose the marks of a rubric, so nothing is sent, also when it cannot be told."""
    world = MarkingWorld()
    learner = world.learners[0]
    world.grade("Essay", learner, 80)
    world.site.marking.methods[world.cmid["Essay"]] = "rubric"
    rows = [{"extId": learner, "text": "x"}]
    assert ["advanced_grading"] == [one.reason for one in (await world.publish("Essay", rows)).outcomes]
    world.desk = world.new_desk()
    world.fake.remove_function(DEFINITIONS)
    assert ["method_unknown"] == [one.reason for one in (await world.publish("Essay", rows)).outcomes]
    world.site.marking.methods.clear()
    done = await world.publish("Essay", rows, plain_points=True)
    assert ["stored"] == [one.state for one in done.outcomes]
    assert (80, "<p>x</p>") == world.held("Essay", learner)


async def test_text_feedback_switched_off() -> None:
    """Without feedback comments Moodle would drop the text silently."""
    world = MarkingWorld()
    world.site.activities.by_course[world.course][world.cmid["Essay"]].settings["configs"] = []
    done = await world.publish("Essay", [{"extId": world.learners[0], "text": "x"}])
    assert (["no_comments"], 0) == ([one.reason for one in done.outcomes], world.called(SAVE))


async def test_dry_run() -> None:
    """It tells who would get what, and sends nothing."""
    world = MarkingWorld()
    there, new = world.learners[:2]
    world.grade("Essay", there, 10, "<p>x</p>")
    done = await world.publish("Essay", [{"extId": one, "text": "x"} for one in (there, new)], dry_run=True)
    assert ["unchanged", "would_store"] == [one.state for one in done.outcomes]
    assert (0, RunState.COMPLETED) == (world.called(SAVE), done.state)


@pytest.mark.parametrize("kind", ["timeout", "dropped", "504_html", "500_empty", "dml"])
async def test_a_save_without_an_answer_is_read_back(kind: str) -> None:
    """It is not repeated: what Moodle holds decides, and what it does not hold is told; another run sends it."""
    world = MarkingWorld()
    rows = [{"extId": one, "text": "x"} for one in world.learners]
    world.fake.fail_next(SAVE, kind)
    done = await world.publish("Essay", rows)
    assert ({("not_stored", "no_answer")}, 1) == (set(states(done).values()), world.called(SAVE))
    world.desk = world.new_desk()
    assert {("stored", "")} == set(states(await world.publish("Essay", rows)).values())


async def test_a_save_that_went_through_without_an_answer() -> None:
    """Moodle stored it and the answer was lost: read back, everybody is done."""
    world = MarkingWorld()

    def lossy(request: httpx.Request) -> httpx.Response:
        answer = world.fake(request)
        if b"wsfunction=mod_assign_save_grades" in request.content:
            raise httpx.ReadTimeout("too late")
        return answer

    transport = httpx.MockTransport(lossy)
    world.desk = Desk(
        MoodleClient(world.site.url, Login(world.fake.token), clock=world.clock, transport=transport)
    )
    done = await world.publish("Essay", [{"extId": one, "text": "x"} for one in world.learners])
    assert ({("stored", "")}, 1) == (set(states(done).values()), world.called(SAVE))


async def test_a_half_saved_batch() -> None:
    """Moodle stops in the middle of a batch: who was stored is told apart from who was not."""
    world = MarkingWorld()

    def half(request: httpx.Request) -> httpx.Response:
        if b"wsfunction=mod_assign_save_grades" not in request.content:
            return world.fake(request)
        form = dict(httpx.QueryParams(request.content.decode()))
        kept = {
            key: value
            for key, value in form.items()
            if not key.startswith(("grades[2]", "grades[3]", "grades[4]"))
        }
        world.fake(httpx.Request("POST", request.url, data=kept))
        return httpx.Response(504)

    transport = httpx.MockTransport(half)
    world.desk = Desk(
        MoodleClient(world.site.url, Login(world.fake.token), clock=world.clock, transport=transport)
    )
    done = await world.publish("Essay", [{"extId": one, "text": "x"} for one in world.learners])
    assert ["stored"] * 2 + ["not_stored"] * 3 == [one.state for one in done.outcomes]
    assert {"no_answer"} == {one.reason for one in done.outcomes if one.reason}


async def test_moodle_gives_out_in_the_middle() -> None:
    """Who was stored is told, who was not sent is told, and the message says why."""
    world = MarkingWorld(learners=120)
    world.fake.fail_next(SAVE, "sitemaintenance", times=9, after=1)
    done = await world.publish("Essay", [{"extId": one, "text": "x"} for one in world.learners])
    assert {"stored": 50, "not_stored": 70} == done.as_json()["counts"]
    assert ({"not_sent", ""}, ["Moodle is in maintenance."]) == ({o.reason for o in done.outcomes}, done.messages)
    assert RunState.POSTPONED == done.state


async def test_reading_back_fails() -> None:
    """What was sent and cannot be read back is not called stored."""
    world = MarkingWorld()
    world.fake.fail_next(GRADES, "accessexception", after=1)
    done = await world.publish("Essay", [{"extId": world.learners[0], "text": "x"}])
    assert [("not_stored", "not_confirmed")] == list(states(done).values())


async def test_without_the_right_to_grade() -> None:
    """An account that may not grade is told so before anything is sent."""
    world = MarkingWorld()
    world.fake.revoke("mod/assign:grade", "mod/assign:viewgrades")
    with pytest.raises(AccessDenied, match="mod/assign:grade"):
        await world.publish("Essay", [{"extId": world.learners[0], "text": "x"}])


async def test_without_batches() -> None:
    """A service without tool_mobile reads people back one by one."""
    world = MarkingWorld()
    world.fake.remove_function(BATCH_FUNCTION)
    done = await world.publish("Essay", [{"extId": one, "text": "x"} for one in world.learners])
    assert ({"stored"}, 5) == ({one.state for one in done.outcomes}, world.called(STATUS))


async def test_somebody_else_grades_meanwhile() -> None:
    """Grades are read again before each batch: one that a teacher gave during the run is kept."""
    world = MarkingWorld(learners=60)
    late = world.learners[-1]

    def busy(request: httpx.Request) -> httpx.Response:
        if b"wsfunction=mod_assign_save_grades" in request.content and world.held("Essay", late) is None:
            world.grade("Essay", late, 91)
            world.site.marking.grades[world.instance("Essay")][late, 0].timemodified = world.site.now
        return world.fake(request)

    transport = httpx.MockTransport(busy)
    world.desk = Desk(
        MoodleClient(world.site.url, Login(world.fake.token), clock=world.clock, transport=transport)
    )
    await world.publish("Essay", [{"extId": one, "text": "x"} for one in world.learners])
    assert (91, "<p>x</p>") == world.held("Essay", late)


async def test_html() -> None:
    """Texts that are said to be HTML are sent as they are."""
    world = MarkingWorld()
    await world.publish("Essay", [{"extId": world.learners[0], "text": "<b>bold</b>"}], is_html=True)
    assert (-1.0, "<b>bold</b>") == world.held("Essay", world.learners[0])


async def test_at_the_recorded_site() -> None:
    """On the recorded course grades stay as recorded, -1 for none, and who is not in the course is refused."""
    fake = FakeMoodle(recorded_site())
    client = MoodleClient(
        fake.site.url, Login(fake.token), clock=VirtualClock(), transport=httpx.MockTransport(fake)
    )
    desk = Desk(client)
    rows = [Entry("16", "a"), Entry("206", "b"), Entry("306", "c"), Entry("20", "d", "51")]
    done = await publish(desk, await desk.find(2, "cmid:1"), rows, Ways(plain_points=True))
    assert {
        "16": ("stored", ""),
        "206": ("stored", ""),
        "306": ("refused", "unknown_person"),
        "20": ("partly", "frozen_grade"),
    } == states(done)
    grades = fake.site.marking.grades[1]
    assert (70.5, -1.0, -1.0) == (grades[16, 0].grade, grades[206, 0].grade, grades[20, 0].grade)
