"""The cases that a key had before its present one: erasing and withdrawing reach all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx
import pytest

from flows.confirm import confirm_term
from flows.problems import drop, list_problems, retry
from flows.result import Result, RunState
from tests.flows.match_lab import link, sent
from tests.flows.match_lab import site_of as people_of
from tests.flows.test_back_whole import consent
from tests.flows.test_departures import LEFT, consenting
from tests.flows.test_match import classes, closed_one, declare
from tests.flows.test_person import erased, export, on
from tests.flows.test_terms import reset
from tests.flows.test_unsure import PRIVATE, come_back, leave, run
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
LEFT_CLOSES = f"{LEFT[:-1]}, close: true}}"
OUT = "when_excluded: {set: {moodle_status: out}}"


async def returned(make_lab: MakeLab, times: int = 2) -> tuple[Lab, int]:
    """Return a lab with somebody who left and came back so often: as many closed cases, and one that lives."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", LEFT, f"{LEFT_CLOSES}\n{OUT}")
    for _ in range(times):
        leave(lab, learners[0])
        await run(lab, 2)
        come_back(lab, learners[0])
        await run(lab, 1)
    assert times + 1 == len(private_of_each(lab, learners[0]))
    return lab, learners[0]


def private_of_each(lab: Lab, person: int) -> dict[str, set[str]]:
    """Return the personal values in each case of a person, by external id, also as its name."""
    key, found = f"test-user-{person}", dict[str, set[str]]()
    for case in lab.project.of_type("student"):
        if case.external_id and case.external_id.split("~")[0] == key:
            values = {case.properties.get(name, "") for name in PRIVATE}
            found[case.external_id] = (values | {case.case_name}) - {"", key, case.external_id}
    return found


def nothing_left(lab: Lab, person: int, cases: int = 3) -> bool:
    """Say whether so many cases of a person hold nothing personal."""
    return [set[str]()] * cases == [*private_of_each(lab, person).values()]


def status(lab: Lab, person: int) -> str:
    """Return what the books say of a person's case."""
    return lab.store.cases("student", 0)[f"test-user-{person}"].status


def kept_backup(lab: Lab) -> Path:
    """Return a backup of the books in a place of its own: there it does not give way to later ones."""
    made = lab.store.back_up(lab.clock.now())
    assert made is not None
    return Path(shutil.copyfile(made, lab.folder / made.name))


async def put_back(make_lab: MakeLab, state: str, more: int) -> tuple[Lab, int]:
    """Return a lab with books of when a case was "active" or "closed" put back; so many came after it."""
    lab, person = await returned(make_lab, 0)
    lab.in_a_file()
    backup = kept_backup(lab) if state == "active" else None
    for _ in range(more):
        leave(lab, person)
        await run(lab, 2)
        backup = backup or kept_backup(lab)
        come_back(lab, person)
        await run(lab, 1)
    assert backup is not None
    lab.restore(backup)
    return lab, person


def lose_write(monkeypatch: pytest.MonkeyPatch, lab: Lab, number: int, *, arrives: bool) -> None:
    """Lose one of the next writes, or only the answer to it."""
    answer, writes = lab._to_commcare, count()

    def lossy(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/case/v2/") or request.method != "POST" or next(writes) != number:
            return answer(request)
        if arrives:
            answer(request)
        raise httpx.ReadTimeout("No answer.", request=request)

    monkeypatch.setattr(lab, "_to_commcare", lossy)


async def kept_out(lab: Lab, person: int, answer: str = "no") -> Result:
    """Run after somebody's consent has changed."""
    lab.site.update_user(person, profile={"consent": answer})
    return await lab.sync()


# --- withdrawing ------------------------------------------------------------------------------------------


async def test_who_is_kept_out_is_emptied_in_every_case(make_lab: MakeLab) -> None:
    """The closed ones take it and stay closed; it is one person, and nothing is sent a second time."""
    lab, person = await returned(make_lab)
    assert 1 == (await kept_out(lab, person)).of("student").withdrawn
    assert (True, "withdrawn") == (nothing_left(lab, person), status(lab, person))
    key = f"test-user-{person}"
    assert [True, True, False] == [lab.case(f"{key}{end}").closed for end in ("", "~2", "~3")]
    assert ["left", "left", "out"] == [
        lab.case(f"{key}{end}").properties["moodle_status"] for end in ("", "~2", "~3")
    ]
    sent = len(lab.project.forms)
    assert ({}, 0) == (written(await lab.sync()), len(lab.project.forms) - sent)


async def two_returned(make_lab: MakeLab) -> tuple[Lab, list[int]]:
    """Return a lab with two people who left and came back."""
    lab, learners = await consenting(make_lab)
    lab.edit("student", LEFT, f"{LEFT_CLOSES}\n{OUT}")
    leave(lab, *learners[:2])
    await run(lab, 2)
    for person in learners[:2]:
        come_back(lab, person)
    await run(lab, 1)
    return lab, learners[:2]


async def test_earlier_cases_of_many_are_one_question(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """CommCare is asked for them all at once, and then only for those that hold something."""
    monkeypatch.setattr("flows.steps.earlier.FEW", 1)
    lab, people = await two_returned(make_lab)
    for answer, asked in (("no", (1 + 2, 2)), ("yes", (0, 1)), ("no", (1, 1))):
        lab.site.update_user(people[1], profile={"consent": answer})
        requests = (await kept_out(lab, people[0], answer)).requests["commcare"]
        assert asked == (requests.get("get", 0), requests["write"])
    assert all(nothing_left(lab, person, 2) for person in people)


@pytest.mark.parametrize("holds", [{"city": "Theirs"}, {"notes": "Theirs"}])
async def test_of_two_earlier_cases_the_search_shows_any(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, holds: dict[str, str]
) -> None:
    """It shows the one that somebody made by hand: that one is left alone, and ours is not taken for empty."""
    monkeypatch.setattr("flows.steps.earlier.FEW", 0)
    lab, person = await returned(make_lab, 1)
    key = f"test-user-{person}"
    ours = lab.case(key)
    double = lab.project.add_case("student", "Double", owner_id="s", external_id=key, properties=holds)
    lab.project.cases = {double.case_id: double} | lab.project.cases
    for _ in range(2):
        result = await kept_out(lab, person)
        assert ("degraded", {"duplicate_external_id": 1}) == (result.state, dict(result.reasons))
    assert ("withdrawing", "Double") == (status(lab, person), double.case_name)
    assert holds.items() <= double.properties.items()
    lab.project.set_external_id(double.case_id, "")
    await lab.sync()
    assert ("withdrawn", "") == (status(lab, person), ours.properties["city"])


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_lost_write_of_a_withdrawal_is_made_good(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, number: int, *, arrives: bool
) -> None:
    """Whichever of them it is, the row is one to be emptied until CommCare has taken all, also of who is gone."""
    lab, person = await returned(make_lab)
    lose_write(monkeypatch, lab, number, arrives=arrives)
    assert 1 == written(await kept_out(lab, person))["in_doubt"]
    assert "withdrawing" == status(lab, person)
    leave(lab, person)
    await run(lab, 4)
    assert (True, "closed") == (nothing_left(lab, person), status(lab, person))


@pytest.mark.parametrize("line", ["", "  city: {retire: clear}\n"])
async def test_what_is_in_the_mapping_no_more_is_emptied_in_earlier_cases(make_lab: MakeLab, line: str) -> None:
    """They got it before it was taken out or retired; what others wrote there themselves stays."""
    lab, person = await returned(make_lab, 1)
    lab.edit("student", "  city: {source: city, transform: [trim], personal: true}\n", line)
    await run(lab, 2)
    first = lab.case(f"test-user-{person}")
    lab.project.edit_case(first.case_id, visit_notes="seen")
    assert "Kisumu" == first.properties["city"]
    await kept_out(lab, person)
    await run(lab, 1)
    assert (True, "withdrawn", "seen") == (
        nothing_left(lab, person, 2),
        status(lab, person),
        first.properties["visit_notes"],
    )


async def test_a_refused_earlier_case_keeps_the_withdrawal_open(make_lab: MakeLab) -> None:
    """The others are emptied, the run says so, and once CommCare takes it all is done without a question."""
    lab, person = await returned(make_lab)
    first = lab.case(f"test-user-{person}").case_id
    lab.commcare.refuse_row(first, "Error in row 1: nonsense")
    result = await kept_out(lab, person)
    assert ("degraded", "withdrawing") == (result.state, status(lab, person))
    assert [False, True, True] == [not found for found in private_of_each(lab, person).values()]
    lab.commcare.accept_rows()
    retry(lab.store, lab.clock.now())
    await lab.sync()
    assert (True, "withdrawn") == (nothing_left(lab, person), status(lab, person))


@pytest.mark.parametrize("refused", [("", "~2"), ("~2", "~3"), ("", "~2", "~3")])
async def test_several_refused_cases_of_a_key_are_not_sent_again(
    make_lab: MakeLab, refused: tuple[str, ...]
) -> None:
    """They are one problem, which a person has tried again, or gives up, as a whole."""
    lab, person = await returned(make_lab)
    ids = {lab.case(f"test-user-{person}{end}").case_id for end in refused}
    lab.commcare.refuse_row(lambda row: row.get("case_id") in ids, "Error in row 1: nonsense")
    await kept_out(lab, person)
    for _ in range(2):
        result = await lab.sync()
        assert ("degraded", 0) == (result.state, result.requests["commcare"].get("write", 0))
    retry(lab.store, lab.clock.now())
    assert len(ids) <= (await lab.sync()).requests["commcare"]["write"]
    drop(lab.store, f"test-user-{person}", lab.clock.now())
    for _ in range(2):
        result = await lab.sync()
        assert ("completed", 0) == (result.state, result.requests["commcare"].get("write", 0))


async def test_a_next_case_that_was_never_made_leaves_the_last_one_to_be_emptied(make_lab: MakeLab) -> None:
    """Closed and kept out, let in, kept out again, and CommCare took nothing of it: there is one case still."""
    lab, learners = await consenting(make_lab)
    person = learners[0]
    lab.edit("student", LEFT, f"{LEFT_CLOSES}\n{OUT}")
    leave(lab, person)
    await run(lab, 2)
    come_back(lab, person)
    for answer in ("no", "yes"):
        lab.commcare.fail_next("429", times=8)
        await kept_out(lab, person, answer)
        lab.commcare.faults.clear()
    await kept_out(lab, person)
    assert (True, "withdrawn") == (nothing_left(lab, person, 1), status(lab, person))


async def test_who_is_let_in_again_keeps_the_last_case(make_lab: MakeLab) -> None:
    """It is filled as a whole; the ones before it stay empty."""
    lab, person = await returned(make_lab)
    await kept_out(lab, person)
    await kept_out(lab, person, "yes")
    assert [True, True, False] == [not found for found in private_of_each(lab, person).values()]
    assert "active" == status(lab, person)


async def test_an_earlier_case_that_is_there_twice_is_told(make_lab: MakeLab) -> None:
    """Nobody can say which of them is ours: it is listed until somebody has settled it, and then emptied."""
    lab, person = await returned(make_lab, 1)
    key = f"test-user-{person}"
    double = lab.project.add_case("student", "Double", owner_id="supervisor", external_id=key)
    for _ in range(2):
        result = await kept_out(lab, person)
        assert ("degraded", {"duplicate_external_id": 1}) == (result.state, dict(result.reasons))
    (problem,) = list_problems(lab.store)
    assert (key, "duplicate_external_id", 2) == (problem.row.key, problem.reason, problem.reads)
    assert "withdrawing" == status(lab, person)
    lab.project.set_external_id(double.case_id, "")
    assert "completed" == (await lab.sync()).state
    assert (True, [], "withdrawn") == (nothing_left(lab, person, 2), list_problems(lab.store), status(lab, person))


# --- erasing ----------------------------------------------------------------------------------------------


async def test_an_erasure_empties_every_case_of_a_key(make_lab: MakeLab) -> None:
    """Also those that were closed long ago; of somebody else nothing is touched."""
    lab, person = await returned(make_lab)
    others = {case.case_id: dict(case.properties) for case in lab.project.cases.values()}
    done = await erased(lab, person)
    assert (RunState.COMPLETED, {"emptied": 4}) == (done.state, dict(done.outcomes))  # an enrolment among them
    assert nothing_left(lab, person)
    changed = {case for case, properties in others.items() if lab.project.cases[case].properties != properties}
    assert 4 == len(changed)
    assert ({}, "completed") == (written(result := await lab.sync()), result.state)


async def test_an_erasure_empties_the_cases_of_old_terms(make_lab: MakeLab) -> None:
    """They are open in CommCare, so what the mapping says of people kept out is done with them as well."""
    lab, course, people = await reset(make_lab)
    lab.edit("enrolment", "when_left:", "when_excluded: {set: {enrolment_status: out}, close: true}\nwhen_left:")
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    for _ in range(2):
        await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, people[0])).state
    for end in ("", "~2"):
        case = lab.case(f"test-enrol-{course}-{people[0]}{end}")
        assert ({"out"}, True) == ({*case.properties.values()} - {""}, case.closed)


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_lost_write_of_an_erasure_is_made_good(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, number: int, *, arrives: bool
) -> None:
    """The person stays unfinished until CommCare has confirmed every case, and nothing is forgotten before."""
    lab, person = await returned(make_lab)
    lose_write(monkeypatch, lab, number, arrives=arrives)
    assert RunState.POSTPONED == (await erased(lab, person)).state
    assert [person] == lab.store.unfinished_erasures()
    assert "degraded" == (await lab.sync()).state
    assert RunState.COMPLETED == (await erased(lab, person)).state
    assert (True, set()) == (nothing_left(lab, person), lab.store.person(person).rows)


async def test_a_refused_earlier_case_keeps_the_erasure_open(make_lab: MakeLab) -> None:
    """What else there is is emptied, and the next try finishes it."""
    lab, person = await returned(make_lab, 1)
    lab.commcare.refuse_row(lab.case(f"test-user-{person}").case_id, "Error in row 1: nonsense")
    done = await erased(lab, person)
    assert (RunState.FAILED, 1) == (done.state, done.outcomes["refused"])
    assert [False, True] == [not found for found in private_of_each(lab, person).values()]
    lab.commcare.accept_rows()
    lab.store.retry([one.row for one in lab.store.person(person).cases], lab.clock.now())
    assert RunState.COMPLETED == (await erased(lab, person)).state
    assert nothing_left(lab, person, 2)


@pytest.mark.parametrize("theirs", [False, True])
async def test_an_erasure_and_a_case_that_is_younger_than_the_books(make_lab: MakeLab, theirs: bool) -> None:
    """Books put back know the closed case, and not the one that followed it after the backup.

    That one is spared where it was matched with another account since: our key of that account stands in it.
    """
    lab, person = await returned(make_lab, 0)
    leave(lab, person)
    await run(lab, 2)
    backup = lab.store.back_up(lab.clock.now())
    come_back(lab, person)
    await run(lab, 1)
    case = lab.case(f"test-user-{person}~2")
    if theirs:
        lab.project.edit_case(case.case_id, **{lab.loaded().moodle_key_property: "test-user-4711"})
    lab.restore(backup)
    before = dict(case.properties)
    assert RunState.COMPLETED == (await erased(lab, person)).state
    assert (theirs, not theirs) == (before == case.properties, nothing_left(lab, person, 2))
    assert set() == private_of_each(lab, person)[f"test-user-{person}"]


async def test_an_export_has_the_earlier_cases(make_lab: MakeLab) -> None:
    """They hold something of the person, so they are given out as well."""
    lab, person = await returned(make_lab)
    found = await on(lab, export, person)
    (student,) = [case for case in found["cases"] if case["mapping"] == "student"]
    assert (["Kisumu"] * 2, [True] * 2) == (
        [case["properties"]["city"] for case in student["cases_before"]],
        [case["closed"] for case in student["cases_before"]],
    )


# --- cases that were matched ------------------------------------------------------------------------------


@pytest.mark.parametrize("books", ["kept", "lost"])
async def test_an_erasure_reaches_a_matched_case_that_was_closed(make_lab: MakeLab, books: str) -> None:
    """It has an external id of its own, or none: the books know it, also those that found it by our key."""
    lab, person, first = await closed_one(make_lab)
    lab.project.edit_case(first, risk="high")
    await lab.sync()
    if books == "lost":
        lab.lose_books()
        lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
        await sent(lab)
    assert RunState.COMPLETED == (await erased(lab, person)).state
    case = lab.project.cases[first]
    found = {one.properties.get(name, "") for one in (case, lab.case(f"test-user-{person}~2")) for name in PRIVATE}
    assert ({""}, "high", True) == (found, case.properties["risk"], case.closed)


async def test_others_values_in_a_matched_case_stay_when_the_books_are_lost(make_lab: MakeLab) -> None:
    """What our draft does not fill others may have written: an erasure spares it in the closed case."""
    lab, person, first = await closed_one(make_lab)
    lab.project.edit_case(first, city="Theirs")
    await lab.sync()
    lab.lose_books()
    lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    for _ in range(2):
        await sent(lab)
    assert RunState.COMPLETED == (await erased(lab, person)).state
    case = lab.project.cases[first]
    assert ("Theirs", "") == (case.properties["city"], case.properties["first_name"])


async def test_what_was_retired_stays_in_a_matched_case(make_lab: MakeLab) -> None:
    """Nobody can say that it is ours: others had it in their case before, and it was never said to be personal."""
    lab, person, first = await closed_one(make_lab)
    lab.project.edit_case(first, visits="twelve")
    await lab.sync()
    lab.edit("student", "  country: {source: country, personal: false}", "  visits: {retire: clear}")
    lab.edit("student", "any_of: [student]}\n", "any_of: [student]}\n  - {source: city, is_not: Nowhere}\n")
    await lab.sync()
    lab.site.update_user(person, city="Nowhere")
    for _ in range(2):
        await lab.sync()
    case = lab.project.cases[first]
    found = [case.properties.get(name, "") for name in PRIVATE]
    now = lab.store.cases("student", 0)[f"test-user-{person}"]
    assert ({""}, "twelve", 2) == ({*found}, case.properties["visits"], now.generation)


async def test_a_case_that_is_somebody_elses_by_now_is_left_alone(make_lab: MakeLab) -> None:
    """Made anew in Moodle, a person took over the case of the old number, whose external id it keeps."""
    site, (old, *_) = people_of("Amina", "Brian")
    lab = make_lab(site)
    dni = "properties:\n  national_id: {source: profile.dni, personal: true}\n  first"
    lab.edit("student", "properties:\n  first", dni)
    declare(lab)
    await lab.sync()
    case = lab.case(f"test-user-{old}")
    site.delete_user(old)
    new = site.add_user("Amina", "Otieno", email="amina@clinic.example.org", profile={"dni": "ID-0001"})
    site.enrol(2, new)
    await classes(lab)
    link(lab, new, case.case_id)
    for _ in range(3):
        await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, old)).state
    assert ("Amina", "Amina Otieno") == (case.properties["first_name"], case.case_name)
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert "" == case.properties["first_name"]


# --- books that were put back -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["active", "closed"])
@pytest.mark.parametrize("more", [1, 2])
async def test_who_is_kept_out_after_a_restore_is_emptied(make_lab: MakeLab, more: int, state: str) -> None:
    """All cases of a person that came after the backup are emptied, and those before."""
    lab, person = await put_back(make_lab, state, more)
    consent(lab, person, "no")
    for _ in range(4):
        await lab.sync()
    assert nothing_left(lab, person, more + 1)


@pytest.mark.parametrize("state", ["active", "closed"])
@pytest.mark.parametrize("more", [1, 2])
async def test_who_left_after_a_restore_has_left(make_lab: MakeLab, more: int, state: str) -> None:
    """The newest case says so and is closed, though the books knew nothing of it."""
    lab, person = await put_back(make_lab, state, more)
    leave(lab, person)
    for _ in range(5):
        await lab.sync()
    (newest,) = lab.project.by_external_id(f"test-user-{person}~{more + 1}")
    assert ("left", True) == (newest.properties["moodle_status"], newest.closed)
