"""The audit of cases that went away, of a list that lacks many, and of clocks that were ahead."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from state import Ack, RowId
from tests.flows.test_audit import CHILD, STUDENT, audited, found, small
from tests.flows.test_departures import consenting
from tests.flows.test_ends import end, running
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
YEAR = 365 * 86_400.0


async def gone(make_lab: MakeLab) -> tuple[Lab, int, str]:
    """Return a lab with a learner whose enrolment is marked as left, and the key of that."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    for _ in range(3):
        await lab.sync()
    key = f"test-enrol-{courses[0]}-{learners[0]}"
    assert "left" == lab.case(key).properties["enrolment_status"]
    return lab, learners[0], key


async def test_a_mark_that_was_typed_over_is_told_and_mended(make_lab: MakeLab) -> None:
    """Nobody reads who left; with `repair` the next run says once more what the mapping says of that, alone."""
    lab, _, key = await gone(make_lab)
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="active")
    result = await audited(lab)
    assert ([("drift", key, ("enrolment_status",))], "degraded") == (found(result), result.state)
    assert {} == written(await lab.sync())
    assert 1 == (await audited(lab, repair=True)).repaired
    before = len(lab.project.forms)
    assert {"marked_left": 1} == written(await lab.sync())
    assert [{"enrolment_status": "left"}] == [row["properties"] for row in lab.rows_sent(before)]
    assert {} == written(await lab.sync())
    assert ([], "completed") == (found(again := await audited(lab)), again.state)


async def test_other_values_of_who_left_are_told_and_left_to_people(make_lab: MakeLab) -> None:
    """No run knows them any more: it is said what to do, nothing is repaired, and it is no trouble."""
    lab, _, key = await gone(make_lab)
    lab.project.edit_case(lab.case(key).case_id, course_name="Typed")
    result = await audited(lab, repair=True)
    assert [("changed_when_gone", key, ("course_name",))] == found(result)
    assert ("completed", 0, {}) == (result.state, result.repaired, dict(result.names))
    assert "enrolment.course_name (1). No run writes those any more" in " ".join(result.messages)
    assert {} == written(await lab.sync())


async def test_a_person_who_is_back_is_not_marked_again(make_lab: MakeLab) -> None:
    """Who joins between the repair and the run has an enrolment like any other."""
    lab, learner, key = await gone(make_lab)
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="active")
    await audited(lab, repair=True)
    lab.site.enrol(2, learner)
    for _ in range(2):
        await lab.sync()
    assert ("active", []) == (lab.case(key).properties["enrolment_status"], found(await audited(lab)))


@pytest.mark.parametrize("status", ["left", "leaving"])
async def test_a_case_of_who_left_that_was_closed_or_deleted(make_lab: MakeLab, status: str) -> None:
    """Closed is a fact; deleted is trouble, since the mapping leaves it open: whoever comes back writes to it."""
    lab, learner, key = await gone(make_lab)
    case = lab.case(key)
    lab.project.close_case(case.case_id)
    result = await audited(lab, repair=True)
    assert ([("closed_by_hand", key, ())], "completed") == (found(result), result.state)
    lab.project.delete_case(case.case_id, for_good=False)
    lab.store.settle({RowId("enrolment", 2, key): status})
    result = await audited(lab, repair=True)
    assert ([("deleted", key, ())], "degraded", 0) == (found(result), result.state, result.repaired)
    assert 0 == (await audited(lab, recreate=True)).recreated
    assert ({}, []) == (written(await lab.sync()), found(await audited(lab)))
    lab.site.enrol(2, learner)
    assert 1 == written(await lab.sync())["created"]
    assert "active" == lab.case(f"{key}~2").properties["enrolment_status"]


async def test_a_case_that_we_closed_and_somebody_deleted_is_a_fact(make_lab: MakeLab) -> None:
    """Whoever comes back gets another one anyway."""
    site, courses, learners = site_of(8)
    lab = make_lab(site)
    lab.edit("enrolment", "{enrolment_status: left}}", "{enrolment_status: left}, close: true}")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    for _ in range(3):
        await lab.sync()
    key = f"test-enrol-{courses[0]}-{learners[0]}"
    lab.project.delete_case(lab.case(key).case_id, for_good=False)
    result = await audited(lab, recreate=True)
    assert ([("deleted_when_closed", key, ())], "completed") == (found(result), result.state)
    site.enrol(courses[0], learners[0])
    assert 1 == written(await lab.sync())["created"]


async def test_a_withdrawn_case_is_compared_and_emptied_again(make_lab: MakeLab) -> None:
    """What somebody typed into it goes once more, and so do the words about it."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}}")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    for _ in range(2):
        await lab.sync()
    key = f"test-user-{learners[0]}"
    lab.project.edit_case(lab.case(key).case_id, moodle_status="in", city="Kisumu", language="sw")
    result = await audited(lab, repair=True)
    assert [("changed_when_gone", key, ("language",)), ("drift", key, ("city", "moodle_status"))] == found(result)
    await lab.sync()
    held = lab.case(key).properties
    assert ("out", "", "sw") == (held["moodle_status"], held["city"], held["language"])
    assert ["changed_when_gone"] == [one.kind for one in (await audited(lab)).findings]


async def test_an_ended_case_is_compared_and_ended_again(make_lab: MakeLab) -> None:
    """Nobody reads a course that is over: what its end said is said once more."""
    lab, course, learners = await running(make_lab)
    end(lab, course, 60.0)
    await lab.sync()
    key = f"test-enrol-{course}-{learners[0]}"
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="active")
    result = await audited(lab, repair=True)
    assert [("drift", key, ("enrolment_status",))] == found(result)
    before = len(lab.project.forms)
    await lab.sync()
    assert [{"enrolment_status": "over"}] == [row["properties"] for row in lab.rows_sent(before)]
    assert ([], {}) == (found(await audited(lab)), written(await lab.sync()))


async def test_what_the_books_do_not_know_is_not_compared(make_lab: MakeLab) -> None:
    """A case that is to be written whole, and one of a mapping that is off: counted, each with its reason."""
    lab, keys = await small(make_lab)
    lab.store.void([RowId("student", 0, keys[0])], lab.clock.now())
    (lab.mappings / "enrolment.yaml").write_text(CHILD.replace("-enrol-", "-other-").replace("status:", "x:"))
    (lab.mappings / "enrolment.yaml").rename(lab.mappings / "other.yaml")
    result = await audited(lab)
    assert ([], 4, 3) == (found(result), result.not_compared, result.switched_off)
    assert "3 cases not compared: made by mappings that are switched off." in result.messages
    assert "2 of them compared" in result.summary


@pytest.mark.parametrize("listed", [True, False])
async def test_what_was_written_while_the_clock_was_ahead_is_compared(make_lab: MakeLab, listed: bool) -> None:
    """A time to come says nothing about the list: it was written in the past, whenever."""
    lab, keys = await small(make_lab)
    lab.clock.step(YEAR)
    lab.site.update_user(int(keys[0].rsplit("-", 1)[1]), city="Bondo")
    await lab.sync()
    lab.clock.step(-YEAR)
    if listed:
        lab.project.edit_case(lab.case(keys[0]).case_id, city="Marsabit")
    else:
        lab.project.delete_case(lab.case(keys[0]).case_id)
    expected = ("drift", keys[0], ("city",)) if listed else ("deleted", keys[0], ())
    assert ([expected], 0) == (found(result := await audited(lab)), result.not_compared)


async def test_another_site_whose_name_begins_alike(make_lab: MakeLab) -> None:
    """Its cases are neither orphans nor doubles of ours."""
    lab, _ = await small(make_lab)
    for _ in range(2):
        lab.project.add_case("student", "x", external_id="test-west-user-5")
    result = await audited(lab)
    assert ([], "completed") == (found(result), result.state)
    lab.project.add_case("student", "x", external_id="test-user-5555~2")
    assert [("orphan", "test-user-5555~2", ())] == found(await audited(lab))


@pytest.mark.parametrize("many", [18, 19, 240])
async def test_a_number_without_end_is_nobodys(make_lab: MakeLab, many: int) -> None:
    """An external id may hold any number of digits; those of Moodle are never so many."""
    lab, _ = await small(make_lab)
    lab.store.begin_erasure(777, 1.0)
    real = lab.commcare
    case = {"case_id": "c", "external_id": f"test-user-{'9' * many}", "case_type": "student", "case_name": "x"}
    case |= {"owner_id": "o", "closed": False, "properties": {}}
    listed = {"matching_records": 1, "cases": [case], "next": None}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=listed) if "student" in str(request.url) else real(request)

    lab.commcare = answer  # type: ignore[assignment]
    result = await audited(lab)
    assert (many == 18, "degraded") == ("orphan" in [one.kind for one in result.findings], result.state)


async def test_a_list_that_lacks_many_is_gone_through_in_pieces(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told once, however many there are; none of them is called deleted."""
    monkeypatch.setattr("flows.audit.AT_ONCE", 3)
    site, _, _ = site_of(1)
    lab = make_lab(site, student=STUDENT)
    await lab.sync()
    digests = {"@name": lab.store.digest("k", "@name", "v")}
    rows = [RowId("student", 0, f"test-user-{number}") for number in range(100, 110)]
    acks = [Ack(row, f"case-{row.key}", "owner", digests, "active", 1) for row in rows]
    lab.store.acknowledge(acks, 1.0)
    result = await audited(lab, repair=True, recreate=True)
    assert [row.key for row in rows] == [one.key for one in result.findings]
    assert ({"unlisted": 10}, 0, 0, "degraded") == (
        dict(+result.counts),
        result.repaired,
        result.recreated,
        result.state,
    )
    said = " ".join(result.messages)
    assert (True, False) == (
        "student: 10 of 11 known cases are not in CommCare's list." in said,
        "deleted by hand. " in said,
    )
