"""Writes that fail, or whose outcome nobody knows: nothing lost, nothing doubled, one bad row spoils no other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]


def doubles(lab: Lab) -> list[str | None]:
    """Return the external ids that more than one case has."""
    counts = Counter(case.external_id for case in lab.project.cases.values())
    return [key for key, count in counts.items() if count > 1]


async def settle(lab: Lab) -> None:
    """Run until nothing is left to say, at most five times."""
    for _ in range(5):
        if not written(await lab.sync()):
            return
    raise AssertionError("the runs do not come to rest")


async def test_429_is_waited_for(make_lab: MakeLab) -> None:
    """Too many requests: the batch waits as long as CommCare says and is sent again in the same run."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare.fail_next("429", times=2)
    lab.commcare.fail_next("429_no_header", times=1)
    assert {"created": 6} == written(await lab.sync())
    assert {} == lab.store.intents()


def let_others_try(lab: Lab) -> list[int]:
    """Have another run try for the lease after each wait and at each answer of Moodle; return its epochs."""
    taken, sleep, ask = list[int](), lab.clock.sleep, lab._to_moodle

    def try_now() -> None:
        if epoch := lab.store.take_lease("drain-1", lab.clock.now(), 600.0):
            taken.append(epoch)
            lab.store.release_lease("drain-1", epoch)

    async def slept(seconds: float) -> None:
        await sleep(seconds)
        try_now()

    def asked(request: httpx.Request) -> httpx.Response:
        try_now()
        return ask(request)

    lab.clock.sleep = slept  # type: ignore[method-assign]
    lab._to_moodle = asked  # type: ignore[method-assign]
    return taken


async def test_a_long_wait_does_not_cost_the_lease(make_lab: MakeLab) -> None:
    """CommCare may ask for a quarter of an hour of peace, and the lease holds for ten minutes."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    plain, waits = lab.commcare, ["900"]

    def busy(request: httpx.Request) -> httpx.Response:
        if waits and request.method == "POST" and request.url.path.endswith("/case/v2/"):
            return httpx.Response(429, headers={"Retry-After": waits.pop()})
        return plain(request)

    lab._to_commcare = busy  # type: ignore[method-assign]
    taken, before = let_others_try(lab), lab.clock.now()
    result = await lab.sync()
    assert ("completed", {"created": 6}, []) == (result.state, written(result), taken)
    assert lab.clock.now() - before >= 3600.0 + 900.0


async def test_a_long_course_does_not_cost_the_lease(make_lab: MakeLab) -> None:
    """A course may take longer to read than the lease holds: without the batch function, one call a person."""
    site, courses, learners = site_of(60)
    item = site.set_grade_item(courses[0], "Quiz")
    for learner in learners:
        site.grade(item, learner, 80)
    lab = make_lab(site)
    lab.moodle.remove_function("tool_mobile_call_external_functions")
    plain = lab._to_moodle

    def slow(request: httpx.Request) -> httpx.Response:
        lab.clock.advance(20.0)
        return plain(request)

    lab._to_moodle = slow  # type: ignore[method-assign]
    taken = let_others_try(lab)
    result = await lab.sync()
    assert ("completed", {"created": 120}, []) == (result.state, written(result), taken)


async def test_commcare_out_of_reach(make_lab: MakeLab) -> None:
    """A CommCare that cannot be reached postpones the run, and nothing counts as sent."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare.fail_next("refused", times=100)
    result = await lab.sync()
    assert ("postponed", 3) == (result.state, result.state.exit_code)
    lab.commcare.faults.clear()
    assert {} == lab.store.intents()
    assert {"created": 6} == written(await lab.sync())


@pytest.mark.parametrize("kind", ["timeout", "500_html", "503", "504_html"])
async def test_unknown_outcome_not_applied(make_lab: MakeLab, kind: str) -> None:
    """A write that was lost on the way rests, and is then made."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare.fail_next(kind)
    first = await lab.sync()
    assert (3, "completed") == (first.of("student").in_doubt, first.state)
    await settle(lab)
    assert (6, []) == (len(lab.project.cases), doubles(lab))


@pytest.mark.parametrize("answer", ["timeout", "504_html", "truncated_json"])
async def test_unknown_outcome_applied(make_lab: MakeLab, answer: str) -> None:
    """A write whose answer was lost is found again after the rest, not doubled."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare.drop_reply_after_commit(answer=answer)
    await lab.sync()
    await settle(lab)
    assert (6, []) == (len(lab.project.cases), doubles(lab))


async def test_rows_in_doubt_rest(make_lab: MakeLab) -> None:
    """Until the rest is over nothing of the row is sent again, and its children wait."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.rest = 2 * 3600.0
    lab.commcare.late_write(3000.0)
    await lab.sync()
    result = await lab.sync()
    assert ({"in_doubt": 3, "held_back": 3}, "completed") == (written(result), result.state)
    assert [] == lab.rows_sent()
    lab.commcare.advance(3000.0)
    await settle(lab)
    assert (6, []) == (len(lab.project.cases), doubles(lab))


async def test_value_that_flips_back_while_in_doubt(make_lab: MakeLab) -> None:
    """A value sent without an answer and then changed back is written again: CommCare may hold either."""
    site, _, learners = site_of(1)
    site.update_user(learners[0], city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], city="Bondo")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    site.update_user(learners[0], city="Kisumu")
    await settle(lab)
    assert "Kisumu" == lab.case(f"test-user-{learners[0]}").properties["city"]


async def test_owner_survives_a_write_in_doubt(make_lab: MakeLab) -> None:
    """A supervisor's change of owner, made while the first write was in doubt, is not undone."""
    site, _, learners = site_of(1)
    lab = make_lab(site)
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    student = lab.case(f"test-user-{learners[0]}")
    lab.project.move_owner(student.case_id, "somebody-else")
    await settle(lab)
    assert "somebody-else" == lab.case(f"test-user-{learners[0]}").owner_id


@pytest.mark.parametrize(
    ("told", "text", "writes"),
    [
        ("by number", "Error with case property 'x'. Values must be strings, received '5'", 2),
        ("by its id", "There are multiple cases with external_id {key}", 2),
        ("not at all", "CaseValueError: Error processing case update: Value exceeds allowed length: 255", 11),
    ],
)
async def test_one_bad_row(make_lab: MakeLab, told: str, text: str, writes: int) -> None:
    """A row that CommCare refuses is set aside, whether it says which or not; the others are sent.

    One that is named costs one request more; else it is looked for by halving.
    """
    site, _, learners = site_of(40)
    lab = make_lab(site)
    key = f"test-user-{learners[17]}"
    refuse = lab.commcare.refuse_row if told == "by number" else lab.commcare.refuse_form
    refuse(key, text.format(key=key))
    result = await lab.sync()
    assert (39, 1, 39) == (
        result.of("student").created,
        result.of("student").problems,
        result.of("enrolment").created,
    )
    assert writes + 1 == result.requests["commcare"]["write"]
    assert "degraded" == result.state
    assert [key] == [problem.row.key for problem in lab.store.problems("student") if not problem.property]
    lab.commcare.accept_rows()
    lab.store.retry([one.row for one in lab.store.refusals()], lab.clock.now())
    assert {"created": 2} == written(await lab.sync())


async def test_two_bad_rows_with_numbers(make_lab: MakeLab) -> None:
    """CommCare lists all of them at once: both are set aside, each for its own reason, and the rest is sent."""
    site, _, learners = site_of(40)
    lab = make_lab(site)
    keys = [f"test-user-{learners[number]}" for number in (0, 30)]
    lab.commcare.refuse_row(keys[0], "'x' is not a valid field.")
    lab.commcare.refuse_row(keys[1], "Values must be strings, received '5'")
    result = await lab.sync()
    assert (38, 2, 2 + 1) == (
        result.of("student").created,
        result.of("student").problems,
        result.requests["commcare"]["write"],
    )
    reasons = {one.row.key: one.reason for one in lab.store.refusals()}
    assert {keys[0]: "illegal_property_name", keys[1]: "wrong_type"} == reasons


async def test_denied_write_fails_the_run(make_lab: MakeLab) -> None:
    """A key that stops working in mid-run fails it with the remedy; the rows count as not sent."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.grade(site.set_grade_item(2, "Quiz"), max(site.members_of(2)), 50)
    lab.commcare.revoke("api_key")
    result = await lab.sync()
    assert ("failed", 1) == (result.state, result.state.exit_code)
    assert "COMMCARE_API_KEY" in " ".join(result.messages)
    lab.commcare.grant("api_key")
    assert {} == lab.store.intents()
    assert {"updated": 1} == written(await lab.sync())


async def test_second_run_is_postponed(make_lab: MakeLab) -> None:
    """Two runs at once: one works, the other is postponed, and nothing is doubled."""
    site, _, _ = site_of(30)
    lab = make_lab(site)
    results = await asyncio.gather(lab.sync(), lab.sync(later=1.0))
    assert {"completed", "postponed"} == {str(result.state) for result in results}
    assert (60, []) == (len(lab.project.cases), doubles(lab))


async def test_stopped_run_gives_the_lease_back(make_lab: MakeLab) -> None:
    """A run that is cancelled lets the next one start at once, and nothing is lost or doubled."""
    site, _, _ = site_of(30, 30)
    lab = make_lab(site)
    task = asyncio.create_task(lab.sync())
    while not lab.project.forms:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "failed" == (lab.store.last_run() or ("", "", 0))[1]
    await settle(lab)
    assert (120, []) == (len(lab.project.cases), doubles(lab))


async def test_stopped_while_taking_the_lease(make_lab: MakeLab) -> None:
    """A run that is cancelled at any of its first steps leaves no lease behind."""
    site, _, _ = site_of(2)
    lab = make_lab(site)
    for steps in range(1, 12):
        task = asyncio.create_task(lab.sync(later=1.0))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        lease = lab.store.take_lease("somebody", lab.clock.now(), 600.0)
        assert lease is not None
        lab.store.release_lease("somebody", lease)


async def test_who_freezes_before_the_announcement_sends_nothing(make_lab: MakeLab) -> None:
    """Eleven minutes between the look at the lease and the announcement: another run came by, this one ends."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    real, others = lab.books.do, []

    async def do(method: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        if getattr(method, "__name__", "") == "stamp" and not others:
            others.append(None)
            lab.clock.advance(660.0)
            site.update_user(learners[0], city="Newer")
            others[0] = await lab.sync(later=0.0)
            others.append(len(lab.project.forms))
        return await real(method, *args, **kwargs)

    lab.books.do = do  # type: ignore[method-assign, assignment]
    result = await lab.sync()
    assert ("completed", "failed", True) == (others[0].state, result.state, "lost" in " ".join(result.messages))
    assert others[1] == len(lab.project.forms)


async def test_who_freezes_over_an_answer_does_not_book_it(make_lab: MakeLab) -> None:
    """Another run wrote something newer meanwhile: what the old answer tells is not what CommCare holds."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    lab.site.update_user(learners[0], city="Old")
    real, others = lab.books.do, []

    async def do(method: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        if getattr(method, "__name__", "") == "acknowledge" and not others:
            others.append(None)
            lab.clock.advance(1300.0)
            site.update_user(learners[0], city="Newer")
            others[0] = await lab.sync(later=0.0)
        return await real(method, *args, **kwargs)

    lab.books.do = do  # type: ignore[method-assign, assignment]
    assert "failed" == (await lab.sync()).state
    assert "Newer" == lab.case(f"test-user-{learners[0]}").properties["city"]
    site.update_user(learners[0], city="Old")
    await settle(lab)
    assert "Old" == lab.case(f"test-user-{learners[0]}").properties["city"]


async def test_every_write_is_announced(make_lab: MakeLab) -> None:
    """When CommCare sees a request, the books already name each of its rows."""
    site, _, _ = site_of(30)
    lab = make_lab(site)
    real, seen = lab.commcare.__call__, []

    class Watching:
        def __call__(self, request: object) -> object:
            if getattr(request, "method", "") == "POST" and "bulk-fetch" not in str(getattr(request, "url", "")):
                seen.append(len(lab.store.intents()))
            return real(request)  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(real.__self__, name)  # type: ignore[attr-defined]

    lab.commcare = Watching()  # type: ignore[assignment]
    await lab.sync()
    assert [30, 30] == seen


async def test_user_agent_names_run_and_batch(make_lab: MakeLab) -> None:
    """CommCare keeps the batch id as the form's device id, so that every form can be traced."""
    site, _, _ = site_of(2)
    lab = make_lab(site)
    result = await lab.sync()
    assert [f"{result.run_id}-1", f"{result.run_id}-2"] == [
        form.user_agent.split("batch=")[1] for form in lab.project.forms
    ]


async def test_case_deleted_by_hand(make_lab: MakeLab) -> None:
    """A case deleted in CommCare is a problem that is listed, not a new case."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    lab.project.delete_case(lab.case(f"test-user-{learners[0]}").case_id)
    site.update_user(learners[0], city="Bondo")
    result = await lab.sync()
    assert ("degraded", 1) == (result.state, result.of("student").problems)
    assert 1 == len(lab.project.of_type("student"))
