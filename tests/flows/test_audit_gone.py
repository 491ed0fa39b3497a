"""The audit of cases that went away, of a list that lacks many, and of clocks that were ahead."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from flows.confirm import confirm
from state import Ack, RowId
from tests.flows.test_audit import CHILD, STUDENT, audited, found, small
from tests.flows.test_departures import consenting
from tests.flows.test_ends import end, running
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written
from tests.voided import void

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


def choose_others(lab: Lab, course: int) -> None:
    """Read all courses but this one from now on."""
    others = sorted(number for number in lab.site.courses if number not in (course, 1))
    project = lab.mappings / "project.yaml"
    project.write_text(
        project.read_text().replace('courses: {shortname_like: "*"}', f"courses: {{ids: {others}}}")
    )


async def untouched(lab: Lab, key: str, expected: list[tuple[str, str, tuple[str, ...]]]) -> None:
    """Assert that an audit tells this with and without `repair`, in each of them, and that no run writes it."""
    before, status = len(lab.project.forms), lab.store.cases("enrolment", 2)[key].status
    for repair in (False, True, False):
        result = await audited(lab, repair=repair)
        assert (expected, 0) == (found(result), result.repaired)
        assert not [message for message in result.messages if message.startswith("The next run")]
        for _ in range(2):
            await lab.sync()
    assert (before, status) == (len(lab.project.forms), lab.store.cases("enrolment", 2)[key].status)


@pytest.mark.parametrize("visible", [0, 1])
async def test_a_mark_that_was_typed_over_is_trouble_and_stays(make_lab: MakeLab, visible: int) -> None:
    """Nobody reads who left, and maybe not even the course: it is said what to do by hand, each time."""
    lab, _, key = await gone(make_lab)
    lab.site.courses[2]["visible"] = visible
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="active")
    await untouched(lab, key, [("mark_changed", key, ("enrolment_status",))])
    result = await audited(lab)
    assert "degraded" == result.state
    assert "enrolment.enrolment_status (1) changed by hand. Nothing writes these again" in " ".join(
        result.messages
    )
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="left")
    assert ([], "completed") == (found(again := await audited(lab)), again.state)


async def test_other_values_of_who_left_are_told_and_left_to_people(make_lab: MakeLab) -> None:
    """No run knows them any more: it is said what to do, nothing is repaired, and it is no trouble."""
    lab, _, key = await gone(make_lab)
    lab.project.edit_case(lab.case(key).case_id, course_name="Typed")
    result = await audited(lab, repair=True)
    assert [("changed_when_gone", key, ("course_name",))] == found(result)
    assert ("completed", 0) == (result.state, result.repaired)
    told = result.as_json()
    assert ({}, {"changed_when_gone": {"enrolment.course_name": 1}}) == (
        told["properties"],
        told["properties_by_kind"],
    )
    assert "enrolment.course_name (1). No run writes those any more" in " ".join(result.messages)
    assert {} == written(await lab.sync())


async def test_a_person_who_is_back_has_no_mark(make_lab: MakeLab) -> None:
    """Who joins between the audit and the run has an enrolment like any other."""
    lab, learner, key = await gone(make_lab)
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="active")
    await audited(lab, repair=True)
    lab.site.enrol(2, learner)
    for _ in range(2):
        await lab.sync()
    assert ("active", []) == (lab.case(key).properties["enrolment_status"], found(await audited(lab)))


@pytest.mark.parametrize("status", ["left", "leaving"])
async def test_a_case_of_who_left_that_was_closed_or_deleted(make_lab: MakeLab, status: str) -> None:
    """Both are facts; when it is deleted and asked for, whoever comes back gets a new one."""
    lab, learner, key = await gone(make_lab)
    case = lab.case(key)
    lab.project.close_case(case.case_id)
    result = await audited(lab, repair=True)
    assert ([("closed_by_hand", key, ())], "completed") == (found(result), result.state)
    lab.project.delete_case(case.case_id, for_good=False)
    lab.store.settle({RowId("enrolment", 2, key): status})
    result = await audited(lab, repair=True)
    assert ([("deleted_when_left", key, ())], "completed", 0) == (found(result), result.state, result.repaired)
    assert 0 == (await audited(lab, recreate=True)).recreated
    assert ({}, []) == (written(await lab.sync()), found(await audited(lab)))
    lab.site.enrol(2, learner)
    assert 1 == written(await lab.sync())["created"]
    assert "active" == lab.case(f"{key}~2").properties["enrolment_status"]


async def test_a_deleted_case_of_who_is_back_is_trouble(make_lab: MakeLab) -> None:
    """CommCare takes what is written to it, and nobody sees it."""
    lab, learner, key = await gone(make_lab)
    lab.project.delete_case(lab.case(key).case_id, for_good=False)
    assert "completed" == (await audited(lab)).state
    lab.site.enrol(2, learner)
    await lab.sync()
    assert ([("deleted", key, ())], "degraded") == (found(result := await audited(lab)), result.state)


@pytest.mark.parametrize(("living", "told"), [(0, "deleted_when_left"), (1, "deleted_when_left"), (6, "unlisted")])
async def test_many_deleted_cases_of_leavers_say_nothing_about_the_search(
    make_lab: MakeLab, living: int, told: str
) -> None:
    """Somebody tidied up; that CommCare's search is broken is said when as many living ones are missing too."""
    lab, keys = await small(make_lab, 8)
    rows = [RowId("student", 0, f"test-user-{number}") for number in range(900, 920)]
    digests = {"@name": lab.store.digest("k", "@name", "v")}
    lab.store.acknowledge([Ack(row, f"case-{row.key}", "owner", digests, "left", 1) for row in rows], 1.0)
    for key in keys[:living]:
        lab.project.delete_case(lab.case(key).case_id, for_good=False)
    result = await audited(lab)
    counts = {told: 20 + (living if told == "unlisted" else 0)} | ({"deleted": 1} if living == 1 else {})
    assert (counts, "degraded" if living else "completed") == (dict(+result.counts), result.state)
    said = " ".join(result.messages)
    assert (told == "unlisted") is ("student: 6 of 8 known cases are not in CommCare's list." in said)


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


@pytest.mark.parametrize("closed", [False, True])
async def test_what_is_typed_into_a_withdrawn_case_is_trouble(make_lab: MakeLab, *, closed: bool) -> None:
    """What is personal is looked at also when somebody closed it, also what is written once or was never sent."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}}")
    lab.edit(
        "student", "  city: {source: city,", "  village: {source: address, personal: true}\n  city: {source: city,"
    )
    lab.edit("student", "  city: {source: city,", "  city: {source: city, write: once,")
    lab.site.update_user(learners[0], profile={"consent": "no"})
    for _ in range(2):
        await lab.sync()
    key = f"test-user-{learners[0]}"
    case = lab.case(key)
    lab.project.edit_case(case.case_id, moodle_status="in", city="Kisumu", language="sw", village="Bondo")
    case.case_name = "Amina"
    lab.project.save(case)
    if closed:
        lab.project.close_case(case.case_id)
    private = ("personal_again", key, ("@name", "city", "village"))
    rest = [("changed_when_gone", key, ("language",)), ("mark_changed", key, ("moodle_status",)), private]
    before = len(lab.project.forms)
    for _ in range(2):
        result = await audited(lab, repair=True)
        expected = [("closed_by_hand", key, ()), private] if closed else rest
        assert (expected, "degraded", 0) == (found(result), result.state, result.repaired)
        await lab.sync()
    assert before == len(lab.project.forms)
    assert "student.city (1), student.village (1). Nothing empties these again" in " ".join(result.messages)
    assert "Kisumu" not in f"{result.as_json()} {result.summary}"


@pytest.mark.parametrize("status", ["closed", "left"])
async def test_a_case_that_was_emptied_stays_so_whatever_became_of_it(make_lab: MakeLab, status: str) -> None:
    """We closed it, or its person left since: what is personal in it is trouble all the same."""
    out = f"when_excluded: {{set: {{moodle_status: out}}, close: {str(status == 'closed').lower()}}}"
    lab, learners = await consenting(make_lab, extra=out)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    key = f"test-user-{learners[0]}"
    lab.store.settle({RowId("student", 0, key): status})
    assert [] == found(await audited(lab))
    lab.project.edit_case(lab.case(key).case_id, city="Kisumu")
    result = await audited(lab)
    assert ([("personal_again", key, ("city",))], "degraded") == (found(result), result.state)


async def test_a_case_that_left_full_may_hold_what_it_likes(make_lab: MakeLab) -> None:
    """Nobody emptied it: a personal value in it that was blank is a fact like any other."""
    lab, learners = await consenting(make_lab)
    key = f"test-user-{learners[0]}"
    lab.store.settle({RowId("student", 0, key): "left"})
    lab.project.edit_case(lab.case(key).case_id, id_number="7")
    result = await audited(lab)
    assert ([("changed_when_gone", key, ("id_number",))], "completed") == (found(result), result.state)


async def test_no_case_is_made_in_a_course_that_is_over(make_lab: MakeLab) -> None:
    """Its deleted case is let go, and none is promised for the next run; one comes when its date is moved."""
    lab, course, learners = await running(make_lab)
    end(lab, course, 60.0)
    for _ in range(2):
        await lab.sync()
    key = f"test-enrol-{course}-{learners[0]}"
    lab.project.delete_case(lab.case(key).case_id, for_good=False)
    result = await audited(lab, recreate=True)
    assert (0, False) == (result.recreated, "new case." in " ".join(result.messages))
    assert {} == written(await lab.sync())
    lab.site.courses[course]["enddate"] = 0
    assert 1 == written(await lab.sync())["created"]


@pytest.mark.parametrize("course", ["over", "not chosen", "gone", "confirmed"])
async def test_an_ended_case_stays_ended(make_lab: MakeLab, course: str) -> None:
    """What its end said is told when it was typed over, and no repair makes of it one that left."""
    lab, number, learners = await running(make_lab)
    end(lab, number, 60.0)
    for _ in range(2):
        await lab.sync()
    key = f"test-enrol-{number}-{learners[0]}"
    if course == "not chosen":
        choose_others(lab, number)
    elif course != "over":
        lab.site.courses.pop(number)
        for _ in range(3):
            await lab.sync()
    if course == "confirmed":
        confirm(lab.store, number, 4)
        for _ in range(3):
            await lab.sync()
    lab.project.edit_case(lab.case(key).case_id, enrolment_status="active")
    await untouched(lab, key, [("mark_changed", key, ("enrolment_status",))])


async def test_what_the_books_do_not_know_is_not_compared(make_lab: MakeLab) -> None:
    """A case that is to be written whole, and one of a mapping that is off: counted, each with its reason."""
    lab, keys = await small(make_lab)
    void(lab.store, [RowId("student", 0, keys[0])], lab.clock.now())
    (lab.mappings / "enrolment.yaml").write_text(CHILD.replace("-enrol-", "-other-").replace("status:", "x:"))
    (lab.mappings / "enrolment.yaml").rename(lab.mappings / "other.yaml")
    result = await audited(lab)
    assert ([], 4, 3) == (found(result), result.not_compared, result.switched_off)
    said = " ".join(result.messages)
    assert (True, False) == ("1 case not compared: the books do not know" in said, "The next audit" in said)
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
