"""Rows that spoil their request: found with few requests after a no, with patience when CommCare breaks down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from adaptors.errors import InDoubt
from flows.steps.aside import retried_at
from flows.steps.suspects import FEW, POISON, SUSPECTS, Suspects
from state import RefusalRow, RowId
from tests.flows.test_push import doubles
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
FORM = "CaseValueError: Error processing case update: Field: name, Error: Value exceeds allowed length: 255"


def students(lab: Lab) -> int:
    """Return how many students CommCare has."""
    return len(lab.project.of_type("student"))


def writes(result: Any) -> int:
    """Return how many write requests a run made."""
    return int(result.requests["commcare"].get("write", 0))


# --- refused, and CommCare does not say which row -----------------------------------------------------------


@pytest.mark.parametrize("place", [0, 17, 99])
async def test_one_row_is_found_by_halving(make_lab: MakeLab, place: int) -> None:
    """One row of a hundred is found with at most two requests for each halving, and the others are sent."""
    site, _, learners = site_of(100)
    lab = make_lab(site)
    lab.commcare.refuse_form(f"test-user-{learners[place]}", FORM)
    result = await lab.sync(mappings=("student",))
    assert (99, 1, "degraded") == (students(lab), result.of("student").problems, result.state)
    assert ["value_too_long"] == [one.reason for one in lab.store.refusals()]
    assert 15 >= writes(result)


async def test_a_text_that_a_firewall_stops(make_lab: MakeLab) -> None:
    """One person's text that a firewall before CommCare takes for an attack stops nobody else."""
    site, _, _ = site_of(20)
    lab = make_lab(site)
    lab.commcare.forbid("First3 Last3")
    result = await lab.sync(mappings=("student",))
    assert (19, 1, "degraded") == (students(lab), result.of("student").problems, result.state)
    assert ["blocked"] == [one.reason for one in lab.store.refusals()]


@pytest.mark.parametrize("count", [2, 3, 8, 100])
async def test_all_rows_for_one_reason(make_lab: MakeLab, count: int) -> None:
    """When every row is refused for one reason a few are tried, all are listed, and the run says so."""
    site, _, _ = site_of(count)
    lab = make_lab(site)
    lab.commcare.refuse_form(lambda _: True, "Not all owner_ids are real owner_ids")
    result = await lab.sync(mappings=("student",))
    assert (count, 0) == (result.of("student").problems, students(lab))
    assert 1 + 2 + 5 >= writes(result)
    assert {"unknown_owner"} == {one.reason for one in lab.store.refusals()}
    assert {} == lab.store.intents()
    assert 0 == writes(await lab.sync(mappings=("student",)))


async def test_the_reason_of_all_is_told(make_lab: MakeLab) -> None:
    """The result names the reason that a whole request was refused for, and how to try again."""
    site, _, _ = site_of(50)
    lab = make_lab(site)
    lab.commcare.refuse_form(lambda _: True, "Not all owner_ids are real owner_ids")
    (told,) = [text for text in (await lab.sync()).messages if "one reason" in text]
    assert "refused all 50 records" in told
    assert "problems retry --reason unknown_owner" in told
    lab.commcare.accept_rows()
    lab.store.retry([one.row for one in lab.store.refusals()], lab.clock.now())
    assert {"created": 100} == written(await lab.sync())


async def test_alike_but_not_all(make_lab: MakeLab) -> None:
    """Many rows refused alike are no reason to give up the others: what is good arrives."""
    site, _, learners = site_of(100)
    lab = make_lab(site)
    bad = {f"test-user-{learner}" for learner in learners[::10]}
    lab.commcare.refuse_form(lambda row: row.get("external_id") in bad, FORM)
    for _ in range(3):
        result = await lab.sync(mappings=("student",))
        assert 45 >= writes(result)
    assert (90, bad) == (students(lab), {one.row.key for one in lab.store.refusals()})


async def test_what_costs_too_much_is_for_the_next_run(make_lab: MakeLab) -> None:
    """Every other row at fault: each run tries a bounded number of requests, and the next one goes on."""
    site, _, learners = site_of(100)
    lab = make_lab(site, project=PROJECT + "intervals: {people: 24}\n")
    bad = {f"test-user-{learner}" for learner in learners[::2]}
    lab.commcare.refuse_form(lambda row: row.get("external_id") in bad, FORM)
    first = await lab.sync(mappings=("student",))
    assert (41, "degraded") == (writes(first), first.state)
    assert 0 < first.reasons["not_sorted_out"] == first.of("student").held_back
    for _ in range(9):
        await lab.sync()
    assert (50, bad) == (students(lab), {one.row.key for one in lab.store.refusals()})


# --- CommCare breaks down over a row ------------------------------------------------------------------------


async def test_a_poisonous_row_is_found(make_lab: MakeLab) -> None:
    """A row that CommCare breaks down over is sent with ever fewer others, and then not any more."""
    site, _, learners = site_of(12)
    lab = make_lab(site)
    key = f"test-user-{learners[5]}"
    lab.commcare.break_over(key)
    for _ in range(12):
        await lab.sync()
    assert [(key, "poison")] == [(one.row.key, one.reason) for one in lab.store.refusals()]
    assert (11, 22) == (students(lab), len(lab.project.cases))
    before = lab.commcare.requests["write"]
    result = await lab.sync()
    assert (before, 1, "degraded") == (
        lab.commcare.requests["write"],
        result.of("student").problems,
        result.state,
    )


async def test_halves_rest_as_well(make_lab: MakeLab) -> None:
    """Each half is in doubt and rests; nothing of it is sent before that."""
    site, _, learners = site_of(4)
    lab = make_lab(site)
    lab.commcare.break_over(f"test-user-{learners[0]}")
    await lab.sync()
    await lab.sync()
    await lab.sync()
    assert (2, 2) == (students(lab), len(lab.store.intents()))
    before = lab.commcare.requests["write"]
    assert 2 == (await lab.sync(later=60.0, mappings=("student",))).of("student").in_doubt
    assert before == lab.commcare.requests["write"]


async def test_poison_that_changes_is_sent_again(make_lab: MakeLab) -> None:
    """A row that was poison is sent again when its content changes, and arrives when that helps."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    lab.commcare.break_over(f"test-user-{learners[1]}")
    for _ in range(8):
        await lab.sync()
    assert ["poison"] == [one.reason for one in lab.store.refusals()]
    lab.commcare.accept_rows()
    assert 0 == writes(await lab.sync())
    site.update_user(learners[1], city="Bondo")
    await lab.sync()
    assert "Bondo" == lab.case(f"test-user-{learners[1]}").properties["city"]
    assert [] == lab.store.refusals()


async def test_poison_is_tried_again_ever_more_rarely(make_lab: MakeLab) -> None:
    """A row that is blamed is tried after 1, 3 and 7 days; it arrives when CommCare takes it by then."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    key = f"test-user-{learners[1]}"
    lab.commcare.break_over(key)
    for _ in range(8):
        await lab.sync()
    (blamed,) = lab.store.refusals()
    tried = []
    for day in range(1, 8):
        before = lab.commcare.requests["write"]
        await lab.sync(later=blamed.first_at + day * 86_400.0 - lab.clock.now())
        tried += [day] if before < lab.commcare.requests["write"] else []
    assert [1, 3, 7] == tried
    lab.commcare.accept_rows()
    assert 0 == writes(await lab.sync())
    await lab.sync(later=8 * 86_400.0)
    assert ([], key) == (lab.store.refusals(), lab.case(key).external_id)


async def test_poison_that_changed_often_is_tried_again_as_any_other(make_lab: MakeLab) -> None:
    """The days until then count from its last change on, and not from all the times that it was sent."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    lab.commcare.break_over(f"test-user-{learners[1]}")
    for hour in range(20):
        site.update_user(learners[1], city=f"Town {hour}")
        await lab.sync()
    assert ["poison"] == [one.reason for one in lab.store.refusals()]
    lab.commcare.accept_rows()
    assert 0 == writes(await lab.sync())
    await lab.sync(later=86_400.0)
    assert "Town 19" == lab.case(f"test-user-{learners[1]}").properties["city"]


def test_the_days_between_two_tries_stay_below_a_month() -> None:
    """However often a row was sent in vain."""
    row = RefusalRow(RowId("student", 0, "test-user-1"), "update", POISON, b"c", 0.0, 0.0, 1, dropped=False)
    days = [retried_at(replace(row, attempts=attempts)) / 86_400.0 for attempts in (1, 2, 3, 4, 5, 6, 7, 5_000)]
    assert [1, 3, 7, 15, 31, 59, 87, 31 + 4_995 * 28] == days


@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.e2e)])
async def test_many_rows_that_break_commcare_each_hour_hold_up_nobody(make_lab: MakeLab, count: int) -> None:
    """Grades arrive, leavers are marked, and the run is about these rows; one question more for eight of them."""
    site, courses, learners = site_of(2 * count)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site)
    await lab.sync()
    bad = {lab.case(f"test-user-{learner}").case_id for learner in learners[:count]}
    lab.commcare.break_over(lambda row: row.get("case_id") in bad)
    for hour in range(12):
        for learner in learners[:count]:
            site.update_user(learner, city=f"Town {hour}")
        site.grade(item, learners[-2], hour + 1)
        if hour == 9:
            site.unenrol(courses[0], learners[-1])
        result = await lab.sync()
        assert hour + 1 == float(lab.case(f"test-enrol-{courses[0]}-{learners[-2]}").properties[f"grade_{item}"])
    assert "left" == lab.case(f"test-enrol-{courses[0]}-{learners[-1]}").properties["enrolment_status"]
    assert (count, count) == (result.of("student").problems, len(lab.store.refusals()))
    assert not any("no usable answer" in text for text in result.messages)
    assert (count + 1, count // 8) == (writes(result), result.requests["commcare"]["probe"])


@pytest.mark.parametrize("probe", [200, 500])
async def test_an_outage_beside_rows_that_break_commcare_costs_few_requests(make_lab: MakeLab, probe: int) -> None:
    """Whether CommCare answers something easy or nothing: postponed, and nobody else is blamed."""
    site, _, learners = site_of(30)
    lab = make_lab(site)
    await lab.sync()
    known = [f"test-user-{learner}" for learner in learners[:10]]
    bad = {lab.case(key).case_id for key in known}
    lab.commcare.break_over(lambda row: row.get("case_id") in bad)
    take, is_out = lab._to_commcare, False

    def answer(request: httpx.Request) -> httpx.Response:
        is_write = request.method == "POST" and b"create" not in request.content
        return httpx.Response(500) if is_out and (is_write or probe == 500) else take(request)

    lab._to_commcare = answer  # type: ignore[method-assign]
    for hour in range(20):
        is_out = hour >= 10
        for learner in learners[: 30 if is_out else 11]:
            site.update_user(learner, city=f"Town {hour}")
        result = await lab.sync()
        if is_out:
            assert 9 + len(bad) >= writes(result)
            assert 2 >= result.requests["commcare"].get("probe", 0)
    assert "postponed" == result.state


async def test_an_outage_in_the_middle_of_a_run_costs_few_requests(make_lab: MakeLab) -> None:
    """What an earlier outage set apart says as much of CommCare as any others, be the easy question answered."""
    site, courses, learners = site_of(150)
    lab = make_lab(site)
    await lab.sync()
    for learner in learners:
        site.update_user(learner, city="Bondo")
    allowed = 0

    def is_out(rows: list[dict[str, Any]]) -> bool:
        nonlocal allowed
        if rows[0].get("create", 0) is None:  # a new case, or the easy question
            return False
        allowed -= 1
        return allowed < 0

    unanswered(lab, is_out, "gateway")
    for _ in range(7):
        assert 10 >= writes(await lab.sync())
    allowed = 1
    site.enrol(courses[0], site.add_user("New", "One"))
    result = await lab.sync()
    assert (10, "postponed") == (writes(result), result.state)


async def test_an_outage_blames_nobody(make_lab: MakeLab) -> None:
    """When everything ends in a 500 nothing is learned about the rows: after the outage all of them arrive."""
    site, _, _ = site_of(6)
    lab = make_lab(site)
    lab.commcare.break_over(lambda _: True)
    for _ in range(4):
        await lab.sync()
    assert ([], 0) == (lab.store.refusals(), students(lab))
    lab.commcare.accept_rows()
    for _ in range(2):
        await lab.sync()
    assert (12, {}) == (len(lab.project.cases), lab.store.intents())


async def test_a_row_with_nobody_beside_it(make_lab: MakeLab) -> None:
    """The only row there is to send is blamed in the end, though no other write shows that CommCare works."""
    site, _, learners = site_of(1)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], city="Bondo")
    lab.commcare.break_over(lambda _: True)
    for _ in range(4):
        await lab.sync()
    assert [] == lab.store.refusals()
    await lab.sync()
    assert ["poison"] == [one.reason for one in lab.store.refusals()]


async def test_timeouts_are_no_poison(make_lab: MakeLab) -> None:
    """In an outage lost connections, gateways and time-outs say nothing about the rows, however many they are."""
    site, _, _ = site_of(FEW)
    lab = make_lab(site)
    for kind in 8 * ("timeout", "504_html", "503"):
        lab.commcare.fail_next(kind, times=2)
        await lab.sync(mappings=("student",))
    lab.commcare.faults.clear()
    assert [] == lab.store.refusals()
    before = lab.commcare.requests["write"]
    await lab.sync(mappings=("student",))
    assert (2, FEW) == (lab.commcare.requests["write"] - before, students(lab))


def key_of(lab: Lab, row: dict[str, Any]) -> str | None:
    """Return the external id of the case that a row of a request is about."""
    return row["external_id"] if "external_id" in row else lab.project.cases[row["case_id"]].external_id


def unanswered(lab: Lab, is_bad: Callable[[list[dict[str, Any]]], bool], how: str) -> list[int]:
    """Let writes of some rows never be answered; return how large the requests are, which grows.

    `how`: "slow" does what was asked and answers too late, "reset" and "gateway" do nothing.
    """
    take, sizes = lab._to_commcare, list[int]()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/case/v2/"):
            rows = json.loads(request.content)
            sizes.append(len(rows))
            if is_bad(rows) and how == "gateway":
                return httpx.Response(502, text="<html>Bad gateway</html>")
            if is_bad(rows) and how == "reset":
                raise httpx.WriteError("reset", request=request)
            if is_bad(rows):
                take(request)
                raise httpx.ReadTimeout("slow", request=request)
        return take(request)

    lab._to_commcare = answer  # type: ignore[method-assign]
    return sizes


@pytest.mark.parametrize("how", ["slow", "reset", "gateway"])
@pytest.mark.parametrize("people", [120, pytest.param(200, marks=pytest.mark.e2e)])
async def test_requests_that_are_too_large_for_commcare_get_smaller(
    make_lab: MakeLab, how: str, people: int
) -> None:
    """A server that answers no more than 50 rows in time is filled all the same, and nobody is blamed."""
    site, _, _ = site_of(people)
    lab = make_lab(site)
    sizes = unanswered(lab, lambda rows: len(rows) > 50, how)
    for _ in range(12):
        await lab.sync()
    assert (people, people) == (students(lab), len(lab.project.cases) - students(lab))
    assert ([], {}, []) == (lab.store.refusals(), lab.store.intents(), doubles(lab))
    assert len(sizes) < 40


@pytest.mark.parametrize("how", ["slow", "reset", "gateway"])
async def test_a_row_that_is_never_answered_is_found(make_lab: MakeLab, how: str) -> None:
    """All others arrive; it is listed, once it was sent alone again and again while CommCare took others."""
    site, _, learners = site_of(40)
    lab = make_lab(site)
    key = f"test-user-{learners[7]}"
    sizes = unanswered(lab, lambda rows: any(key_of(lab, row) == key for row in rows), how)
    for _ in range(16):
        await lab.sync()
    assert [(key, "poison")] == [(one.row.key, one.reason) for one in lab.store.refusals()]
    assert (40 - (how != "slow"), []) == (students(lab), doubles(lab))
    assert len(sizes) < 60


@pytest.mark.parametrize("filled", [False, True])
async def test_a_row_that_is_never_answered_holds_up_nobody_in_a_small_school(
    make_lab: MakeLab, filled: bool
) -> None:
    """Also where there are a few rows only, and no others by which to learn whether CommCare takes anything."""
    site, courses, learners = site_of(6)
    lab = make_lab(site)
    if filled:
        await lab.sync()
        for learner in learners:
            site.update_user(learner, city="Bondo")
    key = f"test-user-{learners[3]}"
    sizes = unanswered(lab, lambda rows: any(key_of(lab, row) == key for row in rows), "gateway")
    for day in range(12):
        if day == 4:
            site.enrol(courses[0], site.add_user("New", "One", city="Bondo"))
        await lab.sync()
    arrived = [case.properties.get("city") for case in lab.project.of_type("student")]
    assert (6, [(key, "poison")]) == (
        arrived.count("Bondo") if filled else students(lab),
        [(one.row.key, one.reason) for one in lab.store.refusals()],
    )
    assert len(sizes) < 30


@pytest.mark.parametrize("bad", [(0, 3), (1, 2, 5)])
async def test_rows_that_are_never_answered_hold_up_nobody_in_a_first_load(
    make_lab: MakeLab, bad: tuple[int, ...]
) -> None:
    """Several of a few rows: another one goes ahead each time, until one is taken."""
    site, _, learners = site_of(6)
    lab = make_lab(site)
    keys = {f"test-user-{learners[number]}" for number in bad}
    sizes = unanswered(lab, lambda rows: any(key_of(lab, row) in keys for row in rows), "gateway")
    for _ in range(20):
        await lab.sync()
    assert (6 - len(bad), keys) == (students(lab), {one.row.key for one in lab.store.refusals()})
    assert len(sizes) < 60


@pytest.mark.parametrize("hours", [3, pytest.param(37, marks=pytest.mark.e2e)])
async def test_rows_that_nobody_sends_any_more_keep_no_turn(make_lab: MakeLab, hours: int) -> None:
    """A course is hidden after an outage: among the records that are sent another one goes ahead all the same."""
    site, courses, learners = site_of(6, 6)
    lab = make_lab(site)
    await lab.sync()
    item, is_out, bad = site.set_grade_item(courses[0], "Quiz"), True, f"test-user-{learners[6]}"
    for learner in learners[:3]:
        site.grade(item, learner, 50)
    unanswered(lab, lambda rows: is_out or any(key_of(lab, row) == bad for row in rows), "gateway")
    for _ in range(hours):
        await lab.sync()
    site.courses[courses[0]]["visible"], is_out = 0, False
    for learner in learners[6:]:
        site.update_user(learner, city="Bondo")
    for _ in range(15):
        await lab.sync()
    arrived = [case.properties.get("city") for case in lab.project.of_type("student")]
    assert 5 == arrived.count("Bondo")


async def test_a_500_after_silences_throws_nobody_back(make_lab: MakeLab) -> None:
    """A row that was parted from the others goes alone, whatever the next answer is."""
    lab = make_lab(site_of(1)[0])
    part = [RowId("student", 0, f"test-user-{number}") for number in range(100)]
    suspects = Suspects(lab.world())
    await suspects.load()
    suspects.took_others = True
    silent, broken = (
        InDoubt("Lost.", system="CommCare", operation="write cases", status=status) for status in (None, 500)
    )
    for _ in range(3):
        assert not await suspects.note(part, silent)
    while len(part) > 4:
        part = [row for row in part if suspects.group(row) == suspects.group(part[0])]
        await suspects.note(part, broken if len(part) == 4 else silent)
    assert "" not in {suspects.group(row) for row in part}


async def test_an_outage_counts_for_no_blame(make_lab: MakeLab) -> None:
    """Nobody is to blame for what was not answered when nothing was, nor by a clock that was ahead."""
    lab = make_lab(site_of(1)[0])
    row, other = RowId("student", 0, "test-user-1"), RowId("student", 0, "test-user-2")
    lab.store.change_entries(SUSPECTS, {"": [0, "", lab.clock.now() + 1e8, 0, 0]})
    lost, blamed = InDoubt("Lost.", system="CommCare", operation="write cases"), []
    for takes_others in [False] * 6 + [True] * 3:
        suspects = Suspects(lab.world())
        await suspects.load()
        suspects.took_others = takes_others
        blamed.append(await suspects.note([row], lost))
        if takes_others:
            await suspects.clear([other])
        lab.clock.advance(3600.0)
    assert [False] * 8 + [True] == blamed


async def test_books_hold_no_keys_of_suspects(make_lab: MakeLab) -> None:
    """What is remembered of suspects is a keyed mark: neither a key nor a person's number."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    lab.commcare.break_over(f"test-user-{learners[0]}")
    await lab.sync()
    assert "test-user" not in (lab.store.get(SUSPECTS) or "test-user")
