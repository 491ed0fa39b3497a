"""The audit: doubles, orphans, deletions, drift, closings and moves, each told once and without a value."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from bench.audit import PAGE, measure, pages
from flows.audit import audit
from flows.audited import Audit
from flows.confirm import confirm_term
from flows.steps.kept import still_holds
from flows.world import Books
from state import Store
from tests.flows.test_departures import closing
from tests.flows.test_sync import site_of
from tests.flows.test_terms import reset
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written

MakeLab = Callable[..., Lab]
NAIROBI = timezone(timedelta(hours=3))

STUDENT = """
language: 1
source: users
case_type: student
external_id: "{site}-user-{id}"
case_name: "{firstname}"
owner: {otherwise: project, write: once}
properties:
  city: {source: city}
  notes: {source: address}
  nickname: {source: lastname, write: once}
"""
CHILD = """
language: 1
source: enrolments
case_type: enrolment
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.shortname}"
owner: {same_as: student}
indices: {parent: {case_type: student, relationship: child, external_id: "{site}-user-{user.id}"}}
properties:
  status: {source: status}
"""


async def audited(lab: Lab, later: float = 3600.0, *, repair: bool = False, recreate: bool = False) -> Audit:
    """Audit some time after whatever was done last."""
    lab.clock.advance(later)
    world = lab.world()
    try:
        return await audit(world, repair=repair, recreate=recreate)
    finally:
        await world.moodle.close()
        await world.commcare.close()


def found(result: Audit) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return what was found: kind, key, properties."""
    return sorted((one.kind, one.key, one.names) for one in result.findings)


async def small(make_lab: MakeLab, people: int = 3) -> tuple[Lab, list[str]]:
    """Return a world whose students and enrolments are all in CommCare, and the students' keys."""
    site, _, learners = site_of(people)
    for learner in learners:
        site.update_user(learner, city="Kisumu", address="Main road")
    lab = make_lab(site, student=STUDENT, enrolment=CHILD)
    await lab.sync()
    assert {} == written(await lab.sync())
    return lab, [f"test-user-{learner}" for learner in learners]


async def test_nothing_is_found_where_all_is_as_it_was_sent(make_lab: MakeLab) -> None:
    """One request a case type; shipped mappings, elements and departures included."""
    site, _, learners = site_of(6)
    item = site.set_grade_item(2, "Quiz")
    site.grade(item, learners[0], 70)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(2, learners[5])
    for _ in range(3):
        await lab.sync()
    result = await audited(lab)
    assert ("completed", {}, []) == (result.state, dict(+result.counts), result.messages)
    assert {"student": 6, "enrolment": 6} == {name: result.cases[name] for name in ("student", "enrolment")}
    assert len(result.cases) == result.requests


async def test_drift_is_told_by_property(make_lab: MakeLab) -> None:
    """What a person typed over is named, and nothing is put right without being asked."""
    lab, keys = await small(make_lab)
    lab.project.edit_case(lab.case(keys[1]).case_id, city="Marsabit", nickname="Chui", visits="3")
    lab.project.edit_case(lab.case(keys[0]).case_id, notes="pasted")
    result = await audited(lab)
    assert [("drift", keys[0], ("notes",)), ("drift", keys[1], ("city",))] == found(result)
    assert ("degraded", {"student.notes": 1, "student.city": 1}) == (result.state, dict(result.names["drift"]))
    assert {} == written(await lab.sync())
    assert "Marsabit" not in f"{result.as_json()} {result.summary}"


async def test_repair_writes_only_what_drifted(make_lab: MakeLab) -> None:
    """The next run writes those properties and no others; what is written once stays with the people."""
    lab, keys = await small(make_lab)
    lab.project.edit_case(lab.case(keys[1]).case_id, city="Marsabit", nickname="Chui")
    result = await audited(lab, repair=True)
    before = len(lab.project.forms)
    assert (1, {"updated": 1}) == (result.repaired, written(await lab.sync()))
    (row,) = lab.rows_sent(before)
    assert {"city"} == set(row["properties"])
    case = lab.case(keys[1])
    assert ("Kisumu", "Chui") == (case.properties["city"], case.properties["nickname"])
    assert [] == found(await audited(lab))


async def test_repair_reads_whatever_the_intervals_say(make_lab: MakeLab) -> None:
    """A mapping that is read once a day is read by the run after the repair."""
    site, _, learners = site_of(1)
    site.update_user(learners[0], city="Kisumu")
    project = f"{PROJECT}intervals: {{people: 24}}\n"
    lab = make_lab(site, project=project, student=STUDENT)
    await lab.sync()
    await lab.sync(full=True)
    lab.project.edit_case(lab.case(f"test-user-{learners[0]}").case_id, city="Marsabit")
    assert {} == written(await lab.sync())
    await audited(lab, repair=True)
    assert {"updated": 1} == written(await lab.sync())


async def test_children_follow_whatever_the_intervals_say(make_lab: MakeLab) -> None:
    """Of a case with another owner the children, and theirs, are moved by the run after the audit."""
    site, courses, learners = site_of(1)
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 80)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 72, grades: 72}}\n")
    lab.edit("grade_item", "enabled: false", "enabled: true")
    await lab.sync()
    lab.project.move_owner(lab.case(f"test-user-{learners[0]}").case_id, "coach-2")
    await audited(lab)
    for _ in range(2):
        result = await lab.sync()
    children = [case.owner_id for name in ("enrolment", "grade_item") for case in lab.project.of_type(name)]
    assert (["coach-2"] * 2, {"enrolment", "grade_item"}) == (children, {*result.not_due} - {"course"})


async def test_a_list_that_lacks_a_case_is_no_audit(make_lab: MakeLab) -> None:
    """When fewer cases come than CommCare says there are, none counts as deleted."""
    lab, keys = await small(make_lab)
    lab.commcare.leave_out(lab.case(keys[0]).case_id)
    result = await audited(lab, recreate=True)
    assert ("postponed", [], 0) == (result.state, found(result), result.recreated)
    assert "listed 2 of 3 cases" in " ".join(result.messages)


async def test_a_renamed_case_drifts(make_lab: MakeLab) -> None:
    """The case's name is called case_name."""
    lab, keys = await small(make_lab)
    case = lab.case(keys[0])
    case.case_name = "Somebody"
    lab.project.save(case)
    result = await audited(lab, repair=True)
    assert ("drift", "case_name") == (result.findings[0].kind, result.findings[0].what)
    assert {"updated": 1} == written(await lab.sync())
    assert "First0" == lab.case(keys[0]).case_name


async def test_duplicates_are_told_once(make_lab: MakeLab) -> None:
    """A key of two cases is one finding, whichever of them the books know, and not an orphan as well."""
    lab, keys = await small(make_lab)
    for _ in range(2):
        lab.project.add_case("student", "A double", external_id=keys[2])
    lab.project.add_case("student", "theirs", external_id="0722000000")
    lab.project.add_case("student", "theirs", external_id="0722000000")
    result = await audited(lab)
    assert ([("duplicate", keys[2], ())], {"duplicate": 1}) == (found(result), dict(+result.counts))
    assert "0722000000" not in str(result.as_json())


async def test_orphans_have_a_key_of_ours(make_lab: MakeLab) -> None:
    """A case with our prefix that the books do not know; cases without, or with another one, are not ours."""
    lab, _ = await small(make_lab)
    lab.project.add_case("student", "x", external_id="test-user-999")
    lab.project.add_case("student", "x", external_id="other-user-999")
    lab.project.add_case("student", "x")
    result = await audited(lab)
    assert [("orphan", "test-user-999", ())] == found(result)


async def test_erased_people_are_not_named(make_lab: MakeLab) -> None:
    """What is left of them in CommCare has our key and is in no book: it is counted, and never listed."""
    lab, _ = await small(make_lab)
    lab.project.add_case("student", "test-user-777", external_id="test-user-777")
    lab.store.begin_erasure(777, 1.0)
    result = await audited(lab)
    assert ([], {"erased": 1}, "completed") == (found(result), dict(+result.counts), result.state)
    assert "777" not in f"{result.as_json()}".replace(result.run_id, "")


async def test_what_is_typed_into_the_case_of_somebody_erased_is_trouble(make_lab: MakeLab) -> None:
    """It is told by the case's id and the properties: the key has the number of the person."""
    lab, _ = await small(make_lab)
    lab.project.add_case("student", "Amina", external_id="test-user-777")
    case = lab.case("test-user-777")
    lab.project.edit_case(case.case_id, city="Kisumu", visits="3")
    lab.store.begin_erasure(777, 1.0)
    result = await audited(lab)
    assert [("personal_when_erased", "", ("@name", "city"))] == found(result)
    assert (case.case_id, "degraded") == (result.findings[0].case_id, result.state)
    assert "student.case_name (1), student.city (1). The books know no more" in " ".join(result.messages)
    text = f"{result.as_json()} {result.summary}".replace(result.run_id, "").replace(case.case_id, "")
    assert [] == [word for word in ("777", "Amina", "Kisumu") if word in text]


async def test_a_course_is_not_taken_for_somebody_erased(make_lab: MakeLab) -> None:
    """The number of a course may be that of an erased person: an orphan there is told all the same."""
    lab, _ = await small(make_lab)
    for key in ("test-enrol-777-5", "test-gone-777-5"):  # no mapping makes the second one: it is not ours
        lab.project.add_case("enrolment", "x", external_id=key)
    lab.store.begin_erasure(777, 1.0)
    result = await audited(lab)
    assert ([("orphan", "test-enrol-777-5", ())], 0) == (found(result), result.counts["erased"])


async def test_the_case_before_one_that_we_closed_is_no_orphan(make_lab: MakeLab) -> None:
    """Somebody left, was closed and is back: nothing is told of the old case; of one after the new one it is."""
    lab, learner = await closing(make_lab)
    await lab.sync()
    lab.site.enrol(2, learner)
    await lab.sync()
    result = await audited(lab)
    assert ([], {}, "completed") == (found(result), dict(+result.counts), result.state)
    lab.project.add_case("student", "x", external_id=f"test-user-{learner}~3")
    assert [("orphan", f"test-user-{learner}~3", ())] == found(await audited(lab))


async def test_cases_of_an_old_term_are_counted_and_no_orphans(make_lab: MakeLab) -> None:
    """They stay open in CommCare and are ours: a number, and no word about any of them."""
    lab, course, _ = await reset(make_lab)
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    result = await audited(lab)
    assert ([], {"earlier_term": 1}, "completed") == (found(result), dict(+result.counts), result.state)
    assert ["1 case of an earlier term: the books write to the one that followed, under the same key."] == (
        result.messages
    )


async def test_cases_of_a_mapping_that_is_off_are_no_orphans(make_lab: MakeLab) -> None:
    """The books know them, whatever the mapping is called now."""
    lab, _ = await small(make_lab)
    (lab.mappings / "enrolment.yaml").unlink()
    (lab.mappings / "learner.yaml").write_text(STUDENT)
    (lab.mappings / "student.yaml").unlink()
    assert [] == found(await audited(lab))


async def test_deleted_by_hand(make_lab: MakeLab) -> None:
    """A known case that is not listed is told; with repair the next run writes to it and lists the refusal."""
    lab, keys = await small(make_lab)
    lab.project.delete_case(lab.case(keys[0]).case_id)
    assert [("deleted", keys[0], ())] == found(await audited(lab))
    await audited(lab, repair=True)
    result = await lab.sync()
    assert ("degraded", [keys[0]]) == (result.state, [one.row.key for one in lab.store.refusals()])


async def test_what_was_deleted_is_made_anew(make_lab: MakeLab) -> None:
    """CommCare takes what is written to a deleted case without a word: an audit finds it, and a person says."""
    lab, keys = await small(make_lab)
    gone = lab.case(keys[0])
    lab.project.delete_case(gone.case_id, for_good=False)
    await audited(lab, repair=True)
    result = await lab.sync()
    assert ({"updated": 1}, []) == (written(result), lab.store.refusals())
    result = await audited(lab, recreate=True)
    assert ([("deleted", keys[0], ())], 1) == (found(result), result.recreated)
    assert "The next run that reads their people and courses makes 1 new case." in result.messages
    assert 1 == written(await lab.sync())["created"]
    again = lab.case(f"{keys[0]}~2")
    children = [one for one in lab.project.cases.values() if again.case_id in str(one.indices)]
    assert 1 == len(children)
    result = await audited(lab, recreate=True)
    assert ([], 0) == (found(result), result.recreated)


async def test_what_the_search_only_lacks_is_not_made_anew(make_lab: MakeLab) -> None:
    """Past its search CommCare has the case, or several: nothing becomes of it."""
    lab, keys = await small(make_lab)
    for key in keys[:2]:
        lab.project.search.remove(lab.case(key).case_id)
    lab.project.add_case("other", "Double", external_id=keys[1])
    result = await audited(lab, recreate=True)
    assert (2, 0) == (result.counts["deleted"], result.recreated)
    assert {} == written(await lab.sync())


async def test_a_list_that_lacks_everything_repairs_nothing(make_lab: MakeLab) -> None:
    """CommCare's search may be broken: so many cases are never written to because of what it does not show."""
    lab, _ = await small(make_lab, 8)
    for case in lab.project.of_type("student"):
        lab.project.search.remove(case.case_id)
    result = await audited(lab, repair=True)
    assert ({"unlisted": 8}, 0) == (dict(+result.counts), result.repaired)
    assert 0 == (await audited(lab, recreate=True)).recreated
    said = " ".join(result.messages)
    assert ("student: 8 of 8 known cases are not in CommCare's list." in said) > ("deleted by hand. " in said)


async def test_closed_by_hand_is_told_and_no_fault(make_lab: MakeLab) -> None:
    """A person may close a case; what it holds is not compared any more."""
    lab, keys = await small(make_lab)
    lab.project.edit_case(lab.case(keys[0]).case_id, city="Marsabit")
    lab.project.close_case(lab.case(keys[0]).case_id)
    result = await audited(lab)
    assert ([("closed_by_hand", keys[0], ())], "completed") == (found(result), result.state)


async def test_moved_owner_is_noted_and_children_follow(make_lab: MakeLab) -> None:
    """The parent stays where the supervisor put it, back and forth, and the next run moves its children."""
    lab, keys = await small(make_lab, 1)
    first = lab.case(keys[0]).owner_id
    child = next(case for case in lab.project.cases.values() if case.case_type == "enrolment")
    for owner in ("coach-2", first):
        lab.project.move_owner(lab.case(keys[0]).case_id, owner)
        result = await audited(lab)
        assert ([("owner_moved", keys[0], ())], "completed") == (found(result), result.state)
        assert {"updated": 1} == written(await lab.sync())
        assert (owner, owner) == (lab.case(keys[0]).owner_id, lab.project.cases[child.case_id].owner_id)
        assert [] == found(await audited(lab))


async def test_repair_moves_back_what_the_mapping_decides(make_lab: MakeLab) -> None:
    """A child's owner is that of its parent: told as often as it is looked at, moved back when asked."""
    lab, _ = await small(make_lab, 1)
    child = next(case for case in lab.project.cases.values() if case.case_type == "enrolment")
    before = child.owner_id
    lab.project.move_owner(child.case_id, "coach-2")
    for _ in range(2):
        assert ["owner_moved"] == [one.kind for one in (await audited(lab)).findings]
    await audited(lab, repair=True)
    assert {"updated": 1} == written(await lab.sync())
    assert before == lab.project.cases[child.case_id].owner_id


async def test_what_was_written_lately_is_no_drift(make_lab: MakeLab) -> None:
    """CommCare's search is behind: a case that a run wrote a minute ago is left for the next audit."""
    lab, _ = await small(make_lab)
    lab.project.search.lag = 600.0
    user = next(iter(lab.site.members_of(2)))
    lab.site.update_user(user, city="Bondo")
    new = lab.site.add_user("Late", "Comer", lastaccess=lab.site.now)
    lab.site.enrol(2, new)
    assert {"created": 2, "updated": 1} == written(await lab.sync())
    soon = await audited(lab, later=60.0)
    assert ([], 1, True) == (found(soon), soon.not_compared, "1 case not compared" in soon.messages[0])
    assert soon.summary.endswith("6 cases listed in 2 requests: 5 of them compared, all as it was sent.")
    assert [] == found(later := await audited(lab))
    assert (0, True) == (later.not_compared, "all as it was sent" in later.summary)


async def test_rows_in_doubt_are_left_alone(make_lab: MakeLab) -> None:
    """Nobody knows what CommCare holds of a row whose answer was lost."""
    lab, keys = await small(make_lab)
    lab.rest = 10 * 3600.0
    lab.site.update_user(int(keys[0].rsplit("-", 1)[1]), city="Bondo")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert 1 == len(lab.store.intents())
    assert [] == found(await audited(lab))


async def test_what_commcare_rewrites_is_no_drift(make_lab: MakeLab) -> None:
    """Line ends and texts that look like a time come back otherwise than they were sent."""
    site, _, learners = site_of(4)
    texts = ("one\r\ntwo", "2026-01-15 10:00", "2026-01-15T10:00:00+03:00", "2026-01-15T07:00:00Z")
    for learner, text in zip(learners, texts, strict=True):
        site.update_user(learner, address=text)
    lab = make_lab(site, student=STUDENT.replace("notes:", "notes_of:"))
    await lab.sync()
    held = {case.properties["notes_of"] for case in lab.project.of_type("student")}
    assert len(held & set(texts)) == 0
    assert [] == found(await audited(lab))
    lab.project.edit_case(lab.case(f"test-user-{learners[0]}").case_id, notes_of="one\nthree")
    assert ["drift"] == [one.kind for one in (await audited(lab)).findings]


@pytest.mark.parametrize(
    ("sent", "value", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a\r\nb", "a\nb", True),
        ("a\rb", "a\nb", True),
        ("2026-01-15 10:00:30", "2026-01-15T10:00:30.000000Z", True),
        ("2026-01-15T10:00+03:00", "2026-01-15T07:00:00.000000Z", True),
        ("2026-01-15 10:00:00+0300", "2026-01-15T07:00:00.000000Z", True),
        ("2026-01-15T10:00:00.500Z", "2026-01-15T10:00:00.500000Z", True),
        ("2026-01-15T10:00:00+05:30", "2026-01-15T04:30:00.000000Z", None),
        ("2026-01-15", "2026-01-16", False),
    ],
)
def test_the_same_value_in_other_words(sent: str, value: str, expected: bool | None) -> None:
    """What CommCare may have made of a text is the same; a time from another zone cannot be told."""
    assert expected is still_holds(value, sent.encode(), lambda text: text.encode(), NAIROBI)
    assert still_holds(value, value.encode(), lambda text: text.encode(), UTC)


async def test_an_audit_beside_a_run_is_postponed(make_lab: MakeLab) -> None:
    """What a run writes meanwhile would look like changes by hand."""
    lab, _ = await small(make_lab)
    lab.store.take_lease("somebody", lab.clock.now() + 3600.0, 600.0)
    result = await audited(lab)
    assert ("postponed", 3) == (result.state, result.state.exit_code)
    assert "as it was sent" not in result.summary


async def test_an_audit_that_breaks_off_gives_the_lease_back(make_lab: MakeLab) -> None:
    """CommCare is out of reach: postponed, and the next run works."""
    lab, _ = await small(make_lab)
    lab.commcare.fail_next("refused", times=100, where="any")
    assert "postponed" == (await audited(lab)).state
    lab.commcare.faults.clear()
    assert "completed" == (await lab.sync()).state


async def test_books_with_another_key_find_no_drift(make_lab: MakeLab) -> None:
    """Digests of a lost key tell nothing: they are void, as in a run."""
    lab, _ = await small(make_lab)
    lab.close()
    lab.books = Books(lambda: Store.open(lab.state_url, key=b"another key" * 3))
    assert [] == found(await audited(lab))


@pytest.mark.parametrize(("many", "trimmed"), [(5, True), (150, False)])
async def test_only_what_was_sent_is_listed(make_lab: MakeLab, many: int, trimmed: bool) -> None:
    """The list is asked for our properties; for all of them where the address would be too long."""
    site, _, learners = site_of(2)
    site.update_user(learners[0], city="Kisumu")
    more = "".join(f"  a_rather_long_name_{number}: {{source: city}}\n" for number in range(many))
    lab = make_lab(site, student=STUDENT + more)
    await lab.sync()
    since = len(lab.commcare.calls)
    assert [] == found(await audited(lab))
    (url,) = [call.target for call in lab.commcare.calls[since:]]
    assert (trimmed, True) == ("fields.properties" in url, len(url) < 3_000)
    lab.project.edit_case(lab.case(f"test-user-{learners[0]}").case_id, a_rather_long_name_3="x")
    assert [("a_rather_long_name_3",)] == [one.names for one in (await audited(lab)).findings]


def test_the_memory_of_an_audit_is_bounded() -> None:
    """Thousands of findings of a kind are counted, and the first thousand listed."""
    from flows.audited import KEPT, Finding

    result = Audit("x")
    for number in range(KEPT + 500):
        result.tell(Finding("orphan", str(number), "", "student", ""))
    assert (KEPT + 500, KEPT) == (result.count, len(result.findings))


async def test_many_cases_take_few_requests(make_lab: MakeLab) -> None:
    """5,000 cases a request: 12,001 take three, and pages change under our hands."""
    site, _, _ = site_of(1)
    lab = make_lab(site, student=STUDENT)
    await lab.sync()
    for number in range(12_000):
        lab.project.add_case("student", "x", external_id=f"test-user-{10_000 + number}")
    real, seen = lab.commcare, []

    def meanwhile(request: object) -> object:
        answer = real(request)  # type: ignore[arg-type]
        if "case/v2" in str(getattr(request, "url", "")) and len(seen) < 2:
            seen.append(1)
            lab.project.edit_case(lab.case(f"test-user-{10_000 + len(seen)}").case_id, visits="1")
        return answer

    lab.commcare = meanwhile  # type: ignore[assignment]
    result = await audited(lab)
    assert (3, 12_001) == (result.requests, result.cases["student"])
    assert {"orphan": 12_000} == dict(+result.counts)


async def test_a_file_that_got_another_name(make_lab: MakeLab) -> None:
    """The books know each case under both names: compared is what the mapping of now sent."""
    site, _, learners = site_of(4)
    lab = make_lab(site, student=(SHIPPED / "student.yaml").read_text("utf-8"))
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    await lab.sync()
    for name in ("learner", "pupil"):
        (file,) = (file for file in lab.mappings.glob("*.yaml") if file.name != "project.yaml")
        file.rename(lab.mappings / f"{name}.yaml")
        await lab.sync()
    lab.clock.advance(7200.0)
    assert not (await audited(lab)).counts.total()
    lab.project.move_owner(lab.case(f"test-user-{learners[1]}").case_id, "elsewhere")
    lab.project.cases[lab.case(f"test-user-{learners[2]}").case_id].properties["last_name"] = "Changed"
    lab.clock.advance(7200.0)
    assert {"owner_moved": 1, "drift": 1} == dict(+(await audited(lab)).counts)


async def test_an_audit_keeps_a_few_bytes_of_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is that of one page: of ten thousand more only two numbers and the id of each are left.

    Python counts its blocks of memory; a case takes more than six.
    """
    blocks = list[int]()

    def watched(cases: int, drifted: int) -> httpx.MockTransport:
        def answer(request: httpx.Request) -> httpx.Response:
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            return httpx.Response(200, content=listing.handle_request(request).content)

        listing = pages(cases, drifted)
        return httpx.MockTransport(answer)

    monkeypatch.setattr("bench.audit.pages", watched)
    figures = await measure(tmp_path, 3 * PAGE)
    assert (15_000, 4, 15) == tuple(figures[name] for name in ("cases", "requests", "drift"))
    _, first, _, last = blocks
    assert (last - first) / (2 * PAGE) < 5
