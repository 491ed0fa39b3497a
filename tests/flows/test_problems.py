"""Rows that CommCare refuses: not sent again as they are, listed with what to do, retried or dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from flows.audit import audit
from flows.audited import Audit, Finding
from flows.errors import UsageError
from flows.problems import Listed, count_reasons, drop, list_problems, retry, show_problem
from flows.reasons import REASONS, REMEDIES, problem_words, remedy
from flows.result import CaseCounts, Result, RunState
from flows.show_books import show_audit, show_list
from flows.steps.there import FEW
from flows.steps.verdict import judge
from mappings.engine import CompiledMapping, Context, Draft, Excluded, Guards, HeldBack, Project
from state import RowId
from tests.flows.terminal import Terminal
from tests.flows.test_audit import STUDENT
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
ONE_OF_THEM = "Give one of them: the KEY of a record, --reason or --course (or both), or --all."
TEXT = "Error in row 1: Error with case property 'x'. Values must be strings, received '5'"


async def refused_lab(make_lab: MakeLab, people: int = 3, **values: Any) -> tuple[Lab, list[int], str]:
    """Return a world in which CommCare refused the changes of the first learner, and that learner's key."""
    site, _, learners = site_of(people)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site, **values)
    await lab.sync()
    site.update_user(learners[0], city="Bondo")
    key = f"test-user-{learners[0]}"
    lab.commcare.refuse_row(lab.case(key).case_id, TEXT)
    result = await lab.sync()
    assert (RunState.DEGRADED, 1) == (result.state, result.refused_rows)
    return lab, learners, key


async def test_a_refused_row_is_not_sent_again(make_lab: MakeLab) -> None:
    """Run after run it is a problem, with its first time, and CommCare is left in peace."""
    lab, _, key = await refused_lab(make_lab)
    for _ in range(3):
        result = await lab.sync()
        assert ({}, RunState.DEGRADED) == (result.requests["commcare"], result.state)
        assert (1, 1) == (result.of("student").problems, result.refused_rows)
    (found,) = list_problems(lab.store)
    assert (key, "wrong_type", 4, 1) == (found.row.key, found.reason, found.reads, found.attempts)
    assert 3 * 3600.0 == pytest.approx(found.last_at - found.first_at, abs=60)


async def test_who_left_without_a_case_is_no_problem_any_more(make_lab: MakeLab) -> None:
    """Nothing of that person is to be sent; whoever is still there stays on the list."""
    site, courses, learners = site_of(30)
    lab = make_lab(site)
    for learner in learners[:2]:
        lab.commcare.refuse_row(f"test-user-{learner}", TEXT)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    assert [f"test-user-{learners[1]}"] == [one.row.key for one in list_problems(lab.store) if one.attempts]


async def test_a_name_that_is_blank(make_lab: MakeLab) -> None:
    """It is said that it is the name of the case, and what to do in the mapping; so with a parent."""
    site, _, learners = site_of(2)
    site.update_user(learners[0], city="Bondo")
    lab = make_lab(site)
    lab.edit("student", 'case_name: "{firstname} {lastname}"', 'case_name: "{city}"')
    await lab.sync()
    (found,) = [one for one in list_problems(lab.store) if one.row.mapping == "student"]
    (shown,) = show_problem(lab.store, found.row.key)
    assert "the name of the case is required and blank" == shown.sentence
    assert "Fill the field in Moodle, or give `case_name` a part that is never blank." == shown.remedy
    assert "the external id of the parent case is required and blank" == problem_words("blank", "@index:student")


class Stumbling(CompiledMapping):
    """A mapping with a mistake: it breaks down over whoever lives in Bondo, and says of whom."""

    def draft(self, record: Mapping[str, Any], context: Context) -> Draft | Excluded | HeldBack:
        """Map a record as ever, unless it is that one."""
        if record.get("city") == "Bondo":
            raise AssertionError(f"Bondo is where {record['firstname']} lives")
        return super().draft(record, context)


def stumble(lab: Lab, name: str) -> None:
    """Put the mistake into a mapping."""
    loaded = lab.loaded

    def stumbling() -> Project:
        project, mappings = loaded(), list[CompiledMapping]()
        for one in project.mappings:
            values = {each.name: getattr(one, each.name) for each in fields(one)}
            mappings.append(Stumbling(**values) if one.name == name else one)
        return replace(project, mappings=tuple(mappings))

    lab.loaded = stumbling  # type: ignore[method-assign]


async def test_a_mistake_in_the_program_costs_one_record(make_lab: MakeLab) -> None:
    """It is held back with the kind of the mistake alone, nobody takes it for gone, and the run says so."""
    site, _, learners = site_of(20)
    lab = make_lab(site)
    await lab.sync()
    stumble(lab, "student")
    site.update_user(learners[0], city="Bondo")
    site.update_user(learners[1], city="Kisumu")
    assert {"updated": 1, "held_back": 1} == written(await lab.sync())
    for _ in range(3):
        result = await lab.sync()
        assert (RunState.DEGRADED, {"held_back": 1}) == (result.state, written(result))
    assert (
        "A mistake in this program (AssertionError) stops records of mapping 'student': each is held back, and "
        "its case stays as it is. Report it."
    ) == result.messages[0]
    (found,) = list_problems(lab.store)
    told = (found.row.key, found.name, found.reason, found.detail)
    assert (f"test-user-{learners[0]}", "", "mapping_stopped", "AssertionError") == told
    assert "active" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]


@pytest.mark.parametrize("how", ["unenrolled", "hidden"])
async def test_what_was_dropped_stays_dropped_while_nobody_is_there(make_lab: MakeLab, how: str) -> None:
    """A read without the person, and back with the same record: it is neither sent nor listed."""
    site, (course, _), learners = site_of(3, 3)
    lab = make_lab(site)
    key = f"test-user-{learners[0]}"
    lab.commcare.refuse_row(key, TEXT)
    await lab.sync()
    drop(lab.store, key, lab.clock.now())
    for is_there in (False, True):
        if how == "hidden":
            site.courses[course]["visible"] = int(is_there)
        else:
            (site.enrol if is_there else site.unenrol)(course, learners[0])
        result = await lab.sync()
    refused = [one for one in list_problems(lab.store) if one.attempts]
    assert (0, 0, []) == (result.requests["commcare"].get("write", 0), result.refused_rows, refused)


async def test_a_preview_tells_it_and_writes_nothing(make_lab: MakeLab) -> None:
    """The books are as they were."""
    lab, _, _ = await refused_lab(make_lab)
    before = lab.store.refusals()
    result = await lab.sync(preview=True)
    assert (1, before) == (result.of("student").problems, lab.store.refusals())


async def test_changed_content_is_sent_again(make_lab: MakeLab) -> None:
    """Refused once more it counts another attempt; accepted, it is no problem any more."""
    lab, learners, key = await refused_lab(make_lab)
    lab.site.update_user(learners[0], city="Siaya")
    await lab.sync()
    assert [2] == [found.attempts for found in list_problems(lab.store)]
    lab.commcare.accept_rows()
    assert {} == written(await lab.sync())
    lab.site.update_user(learners[0], city="Busia")
    assert {"updated": 1} == written(await lab.sync())
    assert ([], []) == (list_problems(lab.store), lab.store.refusals())
    assert "Busia" == lab.case(key).properties["city"]


async def test_an_edited_mapping_sends_it_again(make_lab: MakeLab) -> None:
    """Whatever was edited in it: nobody can know whether that was the cause."""
    lab, _, key = await refused_lab(make_lab, student=STUDENT)
    lab.commcare.accept_rows()
    lab.edit("student", "  notes: {source: address}\n", "  notes: {source: address, transform: [upper]}\n")
    assert {"updated": 1} == written(await lab.sync())
    assert "Bondo" == lab.case(key).properties["city"]


async def test_a_child_is_sent_though_its_parents_change_is_refused(make_lab: MakeLab) -> None:
    """Refused or set aside: the case to point to is there. Only a parent without a case holds it back."""
    site, (course,), learners = site_of(3)
    item = site.set_grade_item(course, "Quiz")
    lab = make_lab(site)
    await lab.sync()
    parent, child = f"test-user-{learners[0]}", f"test-enrol-{course}-{learners[0]}"
    site.update_user(learners[0], city="Bondo")
    lab.commcare.refuse_row(lab.case(parent).case_id, TEXT)
    for points in (50, 60):
        site.grade(item, learners[0], points)
        result = await lab.sync()
        assert ({"updated": 1}, 1) == (written(result), result.refused_rows)
        assert f"{points}" == lab.case(child).properties["grade_percent"]
    newcomer = site.add_user("New", "Comer", phone1="0722 000 999")
    site.enrol(course, newcomer)
    lab.commcare.refuse_row(f"test-user-{newcomer}", TEXT)
    assert 1 == (await lab.sync()).reasons["waits_for_parent"]
    assert [] == lab.project.by_external_id(f"test-enrol-{course}-{newcomer}")


async def test_what_flips_back_is_settled(make_lab: MakeLab) -> None:
    """CommCare holds what Moodle says again: nothing to send, nothing to list."""
    lab, learners, _ = await refused_lab(make_lab)
    lab.site.update_user(learners[0], city="Kisumu")
    result = await lab.sync()
    assert (RunState.COMPLETED, [], []) == (result.state, list_problems(lab.store), lab.store.refusals())


async def test_a_write_without_an_answer_settles_nothing(make_lab: MakeLab) -> None:
    """Nobody knows whether CommCare takes the row by now: it is listed until that is known."""
    lab, learners, key = await refused_lab(make_lab)
    lab.site.update_user(learners[0], city="Siaya")
    lab.commcare.accept_rows()
    lab.commcare.late_write(900.0)
    for later in (3600.0, 60.0):
        await lab.sync(later=later)
        assert key in [one.row.key for one in list_problems(lab.store)]
    await lab.sync()
    assert ([], "Siaya") == (list_problems(lab.store), lab.case(key).properties["city"])


async def test_retry_sends_the_row_whole(make_lab: MakeLab) -> None:
    """The next run writes everything of it that is not written once."""
    lab, _, key = await refused_lab(make_lab)
    lab.commcare.accept_rows()
    assert retry(lab.store, lab.clock.now(), key=key).startswith("1 record taken off the list")
    before = len(lab.project.forms)
    assert {"updated": 1} == written(await lab.sync())
    (row,) = lab.rows_sent(before)
    assert {"city", "moodle_status"} <= row["properties"].keys()
    assert {} == written(await lab.sync())


async def test_retry_while_the_cause_is_there(make_lab: MakeLab) -> None:
    """One attempt more, then peace again."""
    lab, _, _ = await refused_lab(make_lab)
    retry(lab.store, lab.clock.now(), reason="wrong_type")
    result = await lab.sync()
    assert (1, 1) == (result.requests["commcare"]["write"], result.refused_rows)
    assert {} == (await lab.sync()).requests["commcare"]


async def test_retry_does_not_wait_for_an_interval(make_lab: MakeLab) -> None:
    """A mapping that is read once a day is read by the next run."""
    lab, _, _ = await refused_lab(make_lab)
    project = lab.mappings / "project.yaml"
    project.write_text(f"{project.read_text()}intervals: {{people: 24, enrolments: 24}}\n")
    await lab.sync(full=True)
    lab.commcare.accept_rows()
    assert {} == written(await lab.sync())
    retry(lab.store, lab.clock.now())
    assert {"updated": 1} == written(await lab.sync())


async def test_drop_leaves_the_row_until_it_changes(make_lab: MakeLab) -> None:
    """Not sent, not listed, not degraded; a change is sent like any other."""
    lab, learners, key = await refused_lab(make_lab)
    lab.commcare.accept_rows()
    drop(lab.store, key, lab.clock.now())
    for _ in range(2):
        result = await lab.sync()
        assert (RunState.COMPLETED, {}, {"dropped": 1}) == (
            result.state,
            result.requests["commcare"],
            {name: count for name, count in result.reasons.items() if name == "dropped"},
        )
        assert [] == list_problems(lab.store)
    with pytest.raises(UsageError, match="was dropped already"):
        drop(lab.store, key, lab.clock.now())
    lab.site.update_user(learners[0], city="Siaya")
    assert {"updated": 1} == written(await lab.sync())
    assert [] == lab.store.refusals()


async def test_a_retry_of_all_passes_over_what_was_dropped(make_lab: MakeLab) -> None:
    """Beside it records are held back: they are read again, and the dropped one is retried by its key alone."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    key = f"test-user-{learners[0]}"
    lab.commcare.refuse_row(key, TEXT)
    await lab.sync()
    drop(lab.store, key, lab.clock.now())
    await lab.sync()
    assert [f"test-enrol-{courses[0]}-{learners[0]}"] == [one.row.key for one in list_problems(lab.store)]
    assert retry(lab.store, lab.clock.now()).startswith("1 record held back, not refused")
    with pytest.raises(UsageError, match=r"is listed\. Reasons of those that are: none at all"):
        retry(lab.store, lab.clock.now(), reason="wrong_type")
    assert retry(lab.store, lab.clock.now(), key=key).startswith("1 record taken off the list")


async def test_a_deleted_case_is_made_anew(make_lab: MakeLab) -> None:
    """Only when a person says so: under the next generation of its key, with the old one left deleted."""
    lab, learners, _ = await refused_lab(make_lab)
    lab.commcare.accept_rows()
    key = f"test-user-{learners[1]}"
    lab.project.delete_case(lab.case(key).case_id)
    lab.site.update_user(learners[1], city="Bondo")
    await lab.sync()
    with pytest.raises(UsageError, match="this one is 'wrong_type'"):
        retry(lab.store, lab.clock.now(), recreate=True)
    assert {} == written(await lab.sync())
    retry(lab.store, lab.clock.now(), key=key, recreate=True)
    await lab.sync()
    assert "Bondo" == lab.case(f"{key}~2").properties["city"]
    await lab.sync()
    assert {} == written(await lab.sync())


async def test_a_lost_parent_is_made_anew_by_the_audit(make_lab: MakeLab) -> None:
    """A retry that cannot help names the command that does, and what it names puts all right, once."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    await lab.sync()
    lab.project.delete_case(lab.case(f"test-user-{learners[0]}").case_id)
    site.enrol(courses[1], learners[0])
    key = f"test-enrol-{courses[1]}-{learners[0]}"
    await lab.sync()
    (found,) = [one for one in list_problems(lab.store) if one.row.key == key]
    assert ("unknown_parent", True) == (found.reason, "`moodle-commcare audit --recreate`" in found.remedy)
    with pytest.raises(UsageError, match=r"this one is 'unknown_parent'.*`moodle-commcare audit --recreate`"):
        retry(lab.store, lab.clock.now(), key=key, recreate=True)
    lab.clock.advance(3600)
    assert 1 == (await audit(lab.world(), recreate=True)).recreated
    retry(lab.store, lab.clock.now(), key=key)
    await lab.sync()
    await lab.sync()
    parent = lab.case(f"test-user-{learners[0]}~2")
    assert parent.case_id in {index["case_id"] for index in lab.case(key).indices.values()}
    assert ({}, []) == (written(await lab.sync()), list_problems(lab.store))


async def test_a_refused_goodbye_is_not_repeated(make_lab: MakeLab) -> None:
    """The rows that mark leavers are set aside like all others, and listed though no read shows their record."""
    lab, learners, _ = await refused_lab(make_lab, 30)
    lab.commcare.accept_rows()
    key = f"test-enrol-2-{learners[5]}"
    lab.project.delete_case(lab.case(key).case_id)
    lab.site.unenrol(2, learners[5])
    await lab.sync()
    await lab.sync()
    assert key in {one.row.key for one in list_problems(lab.store) if one.attempts}
    for _ in range(2):
        assert "write" not in (await lab.sync()).requests["commcare"]


async def test_the_list_names_values_and_refusals(make_lab: MakeLab) -> None:
    """Problems of a value stand beside refused rows, chosen by mapping or reason, and nothing is of a person."""
    lab, learners, key = await refused_lab(make_lab)
    lab.site.update_user(learners[1], phone1="12", phone2="12")
    await lab.sync()
    found = list_problems(lab.store)
    assert {"wrong_type": 1, "invalid_phone": 1} == {
        reason: count
        for reason, count in count_reasons(found).items()
        if reason in ("wrong_type", "invalid_phone")
    }
    assert [key] == [one.row.key for one in list_problems(lab.store, reason="wrong_type")]
    assert [] == list_problems(lab.store, mapping="enrolment")
    (phone,) = list_problems(lab.store, mapping="student", reason="invalid_phone")
    assert ("contact_phone_number is not a telephone number", False) == (
        phone.sentence,
        phone.as_json()["waits_for_retry"],
    )
    assert not any(word in str(one.as_json()) for one in found for word in ("Bondo", "First", "0722"))
    assert [phone] == show_problem(lab.store, phone.row.key)
    with pytest.raises(UsageError, match="CommCare refused none of these"):
        retry(lab.store, lab.clock.now(), key=phone.row.key)
    with pytest.raises(UsageError, match="No problem of 'nobody' is listed"):
        show_problem(lab.store, "nobody")
    with pytest.raises(UsageError, match="No refused record of 'nobody' is listed"):
        retry(lab.store, lab.clock.now(), key="nobody")


async def test_the_list_and_the_retry_of_a_course(make_lab: MakeLab) -> None:
    """Refused rows and those held back are of one course; nothing of another course is touched."""
    site, (first, second), learners = site_of(3, 3)
    lab = make_lab(site)
    refused = {course: f"test-enrol-{course}-{learners[0]}" for course in (first, second)}
    for course, learner in ((first, learners[0]), (second, learners[0])):
        site.enrol(course, learner)
        lab.commcare.refuse_row(refused[course], TEXT)
    await lab.sync()
    assert {*refused.values()} == {one.row.key for one in list_problems(lab.store, reason="wrong_type")}
    (found,) = list_problems(lab.store, "enrolment", "wrong_type", second)
    assert (refused[second], second) == (found.row.key, found.as_json()["course"])
    assert [] == list_problems(lab.store, "student", course=second)
    assert [] == list_problems(lab.store, reason="wrong_type", course=0)
    with pytest.raises(UsageError, match="No refused record of the site itself with the reason 'wrong_type' is"):
        retry(lab.store, lab.clock.now(), reason="wrong_type", course=0)
    with pytest.raises(UsageError, match=f"No refused record of course {second} with the reason 'poison' is"):
        retry(lab.store, lab.clock.now(), reason="poison", course=second)
    lab.commcare.accept_rows()
    assert "1 record taken off the list" in retry(lab.store, lab.clock.now(), course=second)
    assert {"created": 1} == {name: n for name, n in written(await lab.sync()).items() if name == "created"}
    assert [refused[first]] == [one.row.key for one in list_problems(lab.store)]
    assert lab.case(refused[second]).case_id


# --- what a run is called -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "refused", "held", "guards", "expected"),
    [
        (1000, 0, 0, Guards(), "completed"),
        (1000, 1, 0, Guards(), "degraded"),
        (1000, 0, 1, Guards(), "degraded"),
        (1000, 50, 0, Guards(), "degraded"),
        (1000, 51, 0, Guards(), "failed"),
        (440, 22, 0, Guards(), "degraded"),
        (440, 23, 0, Guards(), "failed"),
        (100, 20, 0, Guards(), "degraded"),
        (100, 21, 0, Guards(), "failed"),
        (100, 0, 90, Guards(), "degraded"),
        (1000, 3, 2, Guards(problems_degraded=5), "completed"),
        (1000, 3, 3, Guards(problems_degraded=5), "degraded"),
        (1000, 2, 0, Guards(problems_failed=1, problems_failed_percent=0), "failed"),
    ],
)
def test_what_a_run_is_called(records: int, refused: int, held: int, guards: Guards, expected: str) -> None:
    """Degraded above the one limit, failed when CommCare refused more than both others, of all records."""
    counts = CaseCounts(unchanged=records - refused - held, problems=refused, held_back=held)
    result = Result("x", cases={"student": counts}, refused_rows=refused, worrying=held)
    judge(result, guards)
    assert expected == result.state
    assert bool(refused or held) == bool(result.messages)


async def test_what_was_refused_is_of_the_records_of_a_run(make_lab: MakeLab) -> None:
    """One of four is a quarter of them, also where it has a value besides that cannot be used."""
    site, _, learners = site_of(4)
    site.update_user(learners[0], phone1="12", phone2="12")
    lab = make_lab(site)
    project = lab.mappings / "project.yaml"
    project.write_text(f"{project.read_text()}guards: {{problems_failed: 0, problems_failed_percent: 25}}\n")
    lab.commcare.refuse_row(f"test-user-{learners[0]}", TEXT)
    result = await lab.sync(mappings=("student",))
    assert (1, RunState.DEGRADED) == (result.refused_rows, result.state)


def test_every_reason_has_a_remedy() -> None:
    """A reason without a word about what to do is of no use."""
    assert REASONS.keys() == REMEDIES.keys()
    assert [] == [name for name in REASONS if not remedy(name).endswith(".")]


# --- the commands -------------------------------------------------------------------------------------------


def test_a_name_of_nothing_is_wrong_usage(terminal: Terminal) -> None:
    """Where a mapping or a reason is misspelt, "no problem" would be taken for good news."""
    assert 0 == terminal.run("sync", "--yes").code
    ended = terminal.run("problems", "list", "--mapping", "nosuch")
    assert (2, True) == (
        ended.code,
        "no mapping 'nosuch'. There are: course, engagement," in ended.text,
    )
    ended = terminal.run("problems", "list", "--reason", "target_delted", "--json")
    assert (2, "failed") == (ended.code, ended.json["state"])
    assert "There is no reason 'target_delted'. Did you mean 'target_deleted'? Reasons that are" in ended.text
    for words in ((), ("--mapping", "student"), ("--mapping", "grade_item"), ("--reason", "target_deleted")):
        assert 0 == terminal.run("problems", "list", *words).code, words
    assert "No problem is listed." in terminal.run("problems", "list", "--reason", "blank").text
    ended = terminal.run("problems", "list", "--course", "2", "--json")
    assert (0, {"counts": {}, "problems": []}) == (ended.code, ended.json)
    assert "No problem of course 2 is listed." in terminal.run("problems", "list", "--course", "2").text
    for command in ("list", "retry"):
        ended = terminal.run("problems", command, "--course", "999")
        assert (2, True) == (
            ended.code,
            "No run has met a course 999. Courses that runs have met: 2" in ended.text,
        )
    ended = terminal.run("match", "list", "--mapping", "nosuch")
    assert (2, True) == (ended.code, "There is no mapping 'nosuch'" in ended.text)
    terminal.edit("student.yaml", "source: firstname", "source: nothing")  # a mapping that is wrong has its name
    assert 0 == terminal.run("problems", "list", "--mapping", "student").code
    (terminal.mappings / "student.yaml").unlink()  # and so has one that is gone and whose cases are there
    assert 0 == terminal.run("problems", "list", "--mapping", "student").code


def test_commands(terminal: Terminal) -> None:
    """A refused row from list to retry, at a terminal and as JSON; then the audit says that it is too early."""
    assert 0 == terminal.run("sync", "--yes").code
    box = terminal.box
    (case,) = [case for case in box.project.of_type("student") if case.case_name.startswith("Chebet")]
    key = case.external_id or ""
    box.site.update_user(box.learners[2], city="Bondo")
    box.commcare.refuse_row(case.case_id, TEXT)
    assert 1 == terminal.run("sync").code
    listed = terminal.run("problems", "list")
    assert (0, True, True) == (listed.code, key in listed.text, REMEDIES["wrong_type"][:20] in listed.text)
    assert {"wrong_type": 1} == terminal.run("problems", "list", "--reason", "wrong_type", "--json").json["counts"]
    assert "sent 1 time" in terminal.run("problems", "show", key).text
    assert [key] == [one["key"] for one in terminal.run("problems", "show", key, "--json").json["problems"]]
    assert 2 == terminal.run("problems", "retry").code
    assert 2 == terminal.run("problems", "retry", "nobody").code
    box.commcare.accept_rows()
    assert "1 record dropped" in terminal.run("problems", "drop", key).text
    assert "1 record taken off the list" in terminal.run("problems", "retry", key).text
    assert 0 == terminal.run("sync").code
    audited = terminal.run("audit", "--json")
    assert (0, "completed", {}) == (audited.code, audited.json["state"], audited.json["counts"])
    told = terminal.run("audit").text
    assert (True, True) == ("none of them compared yet" in told, "36 cases not compared" in told)
    box.project.add_case("student", "x", external_id=key)
    doubled = terminal.run("audit")
    assert (1, True) == (doubled.code, "1 key used by more than one case" in doubled.text)


def test_commands_as_json(terminal: Terminal) -> None:
    """What `retry` and `drop` did, and why they did nothing, is one object on standard output."""
    assert 0 == terminal.run("sync", "--yes").code
    box = terminal.box
    (case,) = [case for case in box.project.of_type("student") if case.case_name.startswith("Chebet")]
    box.site.update_user(box.learners[2], city="Bondo")
    box.commcare.refuse_row(case.case_id, TEXT)
    assert 1 == terminal.run("sync").code
    dropped = terminal.run("problems", "drop", case.external_id or "", "--json")
    assert (0, "completed") == (dropped.code, dropped.json["state"])
    assert ["1 record dropped: not sent until the record or its mapping changes."] == dropped.json["messages"]
    box.commcare.accept_rows()
    retried = terminal.run("problems", "retry", case.external_id or "", "--json")
    assert (0, "completed") == (retried.code, retried.json["state"])
    assert ["1 record taken off the list: the next run sends them whole."] == retried.json["messages"]
    refused = terminal.run("problems", "retry", "--json")
    assert (2, "failed") == (refused.code, refused.json["state"])
    assert [ONE_OF_THEM] == refused.json["messages"]
    for more in (["--course", "2"], ["--all"]):
        assert 2 == terminal.run("problems", "retry", case.external_id or "", *more).code
    assert 2 == terminal.run("problems", "retry", "--all", "--course", "2").code


def test_the_list_cuts_nothing_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is what `show`, `retry` and `drop` want, also from a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    row = RowId("enrolment", 12, "kisumu-north-enrol-12345-1234567")
    show_list([Listed(row, "contact_phone_number", "waits_for_parent", "", 1.79e9, 1.79e9, 3, 0)])
    told = capsys.readouterr().out.split()
    assert {row.key, "waits_for_parent", "contact_phone_number", "2026-09-21"} < {*told}


def test_the_table_of_an_audit_cuts_no_key_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its key a case is found in CommCare."""
    monkeypatch.setenv("COLUMNS", "80")
    key, case = "kisumu-north-enrol-12345-1234567", "78793467-670b-54f7-b0a7-5e53a459108c"
    found = Audit("audit-1")
    found.tell(Finding("closed_by_hand", key, "enrolment", "enrolment", case))
    show_audit(found)
    told = capsys.readouterr().out
    assert (True, False) == (key in told.split(), "…" in told)


@pytest.mark.parametrize("size", [3, FEW + 10])
@pytest.mark.parametrize("for_good", [True, False])
async def test_lost_books_after_a_case_was_made_again(make_lab: MakeLab, size: int, for_good: bool) -> None:
    """CommCare finds a deleted case by its external id: the one that was made in its place is written."""
    site, _, learners = site_of(size)
    lab = make_lab(site)
    await lab.sync()
    key = f"test-user-{learners[0]}"
    lab.project.delete_case(lab.case(key).case_id)
    site.update_user(learners[0], city="Kisumu")
    await lab.sync()
    retry(lab.store, lab.clock.now(), key=key, recreate=True)
    await lab.sync()
    lab.project.hidden |= set[str]() if for_good else {*lab.project.deleted}
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    site.update_user(learners[0], city="Bondo")
    assert "completed" == (await lab.sync()).state
    assert ("Bondo", {}) == (lab.case(f"{key}~2").properties["city"], written(await lab.sync()))


@pytest.mark.parametrize("size", [2, FEW + 8])
async def test_lost_books_after_a_case_was_made_again_twice(make_lab: MakeLab, size: int) -> None:
    """Two numbers of the key are free, and the case of the third is found."""
    site, _, learners = site_of(size)
    lab = make_lab(site)
    await lab.sync()
    key = f"test-user-{learners[0]}"
    for name, city in ((key, "Kisumu"), (f"{key}~2", "Bondo")):
        lab.project.delete_case(lab.case(name).case_id)
        site.update_user(learners[0], city=city)
        await lab.sync()
        retry(lab.store, lab.clock.now(), key=key, recreate=True)
        await lab.sync()
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    site.update_user(learners[0], city="Siaya")
    assert "completed" == (await lab.sync()).state
    assert ("Siaya", {}) == (lab.case(f"{key}~3").properties["city"], written(await lab.sync()))
