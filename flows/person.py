"""One person's data: emptied in CommCare and gone from the books, or given out.

CommCare's API deletes nothing, so an erasure empties: every property that we ever sent, and the name. From its
first step on no run reads the person; a stop at any moment is made good by the same command.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adaptors.errors import AdaptorError, Refused, Retriable
from flows.errors import Overlap
from flows.history import change_json
from flows.person_json import case_json, feedback_json, match_json
from flows.problems import DELETED, moment
from flows.reasons import reason_words, remedy
from flows.result import Result, RunState
from flows.state_care import restored_at
from flows.steps.asked import LEAVERS, WITHDRAWN
from flows.steps.blanks import forget_rows
from flows.steps.clocks import heed_clock, rest_left
from flows.steps.earlier import find_earlier, send_each
from flows.steps.emptying import Emptying
from flows.steps.lease import Lease
from flows.steps.linked import case_there
from flows.steps.merged import forget as forget_merge
from flows.steps.merged import merged, who_became
from flows.steps.planned import Planned, external_id
from flows.steps.push import Pusher
from flows.steps.recover import recover, strangers
from flows.steps.renamed import take_over_names
from flows.steps.unfound import take_in_unfound
from flows.steps.whose import keys_of, noted_of
from flows.steps.witnesses import WITNESSES
from flows.words import listed, numbered
from flows.world import World
from state import Held, PersonRows, RowId, StateError
from state.backups import KEPT, UPGRADES_KEPT

REMAINS = (
    "What remains, and where: earlier versions of the cases in CommCare's form history (only CommCare can delete "
    "them); the cases themselves, without values, under their external ids; phones that have not synced since; "
    "properties that others than this program wrote; ids and times, without values, in older backups (those "
    f"beside the books are gone after {KEPT - 1} more days on which a copy is made; from before an upgrade the "
    f"newest {UPGRADES_KEPT} stay) and in books set aside, moved or copied elsewhere; the number, and keys with "
    "it, in log files and in Prefect's history of runs (30 days with `serve`); files that somebody downloaded; "
    "and what Moodle holds."
)

UNKNOWN = (
    "The books know no case of person {person}, and nobody of that number in a course, so nothing was emptied. No "
    "run reads that number from now on; if it was a slip: `moodle-commcare person admit {person}`."
)

STRANGER = (
    "The books were put back, or are new, and know no case of this person; CommCare may have one. Nothing was "
    "changed. Run a sync first, which finds it, then the same command again."
)


@dataclass
class Erasure:
    """How far an erasure came: `outcomes` counts the cases, `messages` say what a person has to know or do.

    `merged` are numbers that were merged into this one: they are the same person, and are erased with it.
    """

    person: int
    state: RunState = RunState.COMPLETED
    outcomes: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)
    merged: list[int] = field(default_factory=list)
    looked: bool = False
    """Whether the books were asked for the person's cases."""

    def stop(self, state: RunState, message: str) -> None:
        """Note why it is not finished."""
        self.state = state
        self.messages.append(message)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "person": self.person,
            "merged": self.merged,
            "state": str(self.state),
            "cases": dict(self.outcomes),
            "messages": self.messages,
        }


async def erase(world: World, person: int) -> Erasure:
    """Empty a person's cases in CommCare, then forget the person; never raises for what another try may mend."""
    done = Erasure(person)
    run_id = f"erase-{datetime.fromtimestamp(world.clock.now(), UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    lease = Lease(world, run_id)
    try:
        await lease.take()
        try:
            await _erase(world, done, lease, Result(run_id))
        finally:
            await asyncio.shield(lease.release())
    except (Overlap, Retriable) as error:
        done.stop(RunState.POSTPONED, f"{error} Run the same command again later.")
    except (AdaptorError, StateError) as error:
        done.stop(RunState.FAILED, str(error))
    return done


async def _erase(world: World, done: Erasure, lease: Lease, result: Result) -> None:
    """Do it step by step; each step may be the last one, and is done again the next time."""
    books, store = world.books, world.books.store
    await heed_clock(world, lease.held)
    done.messages += await take_over_names(world)
    await recover(world, lease.held)
    if await _is_stranger(world, done.person):
        done.stop(RunState.POSTPONED, STRANGER)
        return
    was_erased = done.person in await books.do(store.erased)
    await books.do(store.begin_erasure, done.person, world.clock.now())
    into = await books.do(merged, store)  # from here on nobody is merged with that person any more
    done.merged = who_became(into, done.person)
    for number in done.merged:
        await books.do(store.begin_erasure, number, world.clock.now())
    found, done.looked = await _all_of(world, (done.person, *done.merged)), True
    put_back = await books.do(restored_at, store)
    if found.unanswered or rest_left(put_back, world.in_doubt_rest, world.clock.now()):
        _wait(world, done)
        return
    await take_in_unfound(world, (done.person, *done.merged), found.rows, result.run_id)
    found = await _all_of(world, (done.person, *done.merged))
    outcomes = await _empty(world, found, lease, result, done)
    done.outcomes.update(outcomes)
    if outcomes["in doubt"]:
        _wait(world, done)
    elif outcomes["refused"]:
        done.state = RunState.FAILED
    else:
        await _forget(world, done, found)
        is_known = was_erased or found.rows or found.courses
        done.messages.append(REMAINS if is_known else UNKNOWN.format(person=done.person))
        _tell_merged(done, into)


async def _is_stranger(world: World, person: int) -> bool:
    """Say whether CommCare may hold cases of somebody of whom the books know none, and a run still finds them."""
    books, store = world.books, world.books.store
    if not await strangers(world) or person in await books.do(store.erased):
        return False
    return not (await books.do(store.person, person)).rows


async def _forget(world: World, done: Erasure, found: PersonRows) -> None:
    """Forget whose cases are empty; last of all the number that names the others, should it stop in between."""
    books, store = world.books, world.books.store
    for settle in (LEAVERS.settle, WITHDRAWN.settle, forget_rows):
        await settle(world, found.rows)
    for number in (*done.merged, done.person):
        await books.do(_forget_witness, store, number)
    for number in done.merged:
        await books.do(store.finish_erasure, number, keys_of(world.project, number))
    for number in (*done.merged, done.person):
        await books.do(forget_merge, store, number)
    await books.do(store.finish_erasure, done.person, keys_of(world.project, done.person))
    await books.do(store.back_up, world.clock.now())


def _tell_merged(done: Erasure, into: Mapping[int, int]) -> None:
    """Say which other numbers were erased too, and which one was not."""
    if done.merged:
        people = listed([str(number) for number in done.merged])
        done.messages.insert(0, f"Erased as well, because they were merged into {done.person}: person {people}.")
    if done.person in into:
        new = into[done.person]
        done.messages.insert(
            0,
            f"Person {done.person} went on as person {new}, who was not erased: if both are to be, "
            f"run: person erase {new}.",
        )


async def _all_of(world: World, people: Collection[int]) -> PersonRows:
    """Return what the books hold of one person who goes, or went, by several numbers."""
    books = world.books
    found = [await books.do(books.store.person, number) for number in people]
    return PersonRows(
        tuple(held for one in found for held in one.cases),
        tuple(row for one in found for row in one.unanswered),
        tuple(sorted({number for one in found for number in one.courses})),
    )


def _wait(world: World, done: Erasure) -> None:
    minutes = int(world.in_doubt_rest // 60) + 1
    done.stop(
        RunState.POSTPONED,
        f"A write about this person may be under way still. No run reads person {done.person} from now on; run "
        f"the same command again in {minutes} minutes to finish.",
    )


async def _empty(world: World, found: PersonRows, lease: Lease, result: Result, done: Erasure) -> Counter[str]:
    """Send what empties the cases, and return how many were emptied, empty or gone already, in doubt, refused.

    Of a file that was given another name the books have each case twice: those are sent one after the other.
    """
    outcomes, left, sent, store = Counter[str](), [*found.cases], 0, world.books.store
    await world.books.do(store.lift_refusals, sorted(found.rows))  # whoever says it again has mended the cause
    while left:
        first = {held.row.key: held for held in reversed(left)}
        pusher = Pusher(world, result, lease)
        pusher.numbered_from = sent
        outcomes += await _empty_each(world, [*first.values()], pusher, done)
        sent, left = sent + pusher.batches, [held for held in left if first[held.row.key] is not held]
    return outcomes


async def _empty_each(world: World, cases: Sequence[Held], pusher: Pusher, done: Erasure) -> Counter[str]:
    """Send what empties some cases, each of another key; return what became of them."""
    outcomes, emptying = Counter[str](), Emptying(world)

    async def settled(row: Planned, outcome: str) -> None:
        word = {"": "emptied", "in_doubt": "in doubt"}.get(outcome, "gone" if outcome in DELETED else "refused")
        outcomes[word] += 1
        if word == "refused":
            done.messages.append(f"CommCare refuses {row.write.key} ({outcome}); mend that, and run this again.")

    earlier = dict[RowId, Sequence[Planned]]()
    for held in cases:
        try:
            row = await emptying.row(held)
            earlier[held.row], unclear = await emptying.earlier(held)
        except Refused as error:  # two cases have its external id
            row, unclear = None, error.code or "refused"
        if unclear:
            outcomes["refused"] += 1
            done.messages.append(f"{held.row.key} cannot be emptied: {reason_words(unclear)}. {remedy(unclear)}")
        elif row is None:
            outcomes["empty"] += 1
        if row is not None:
            pusher.enqueue(0, [row], settled)
    try:
        await pusher.drain()
        await send_each(world, pusher, earlier, settled)
    except BaseException:
        await asyncio.shield(pusher.abandon())
        raise
    return outcomes


def _forget_witness(store: Any, person: int) -> None:
    """Forget that this person's profile showed which fields Moodle gives."""
    witnesses = json.loads(store.get(WITNESSES) or "{}")
    if person in witnesses.values():
        store.put(WITNESSES, json.dumps({name: one for name, one in witnesses.items() if one != person}))


async def export(world: World, person: int) -> dict[str, Any]:
    """Return what the books hold of a person, and what CommCare holds now, values whole.

    Numbers that were merged into this one are the same person: their cases are given out as well.
    """
    books, store = world.books, world.books.store
    into = await books.do(merged, store)
    before = who_became(into, person)
    people = (person, *before)
    found = await _all_of(world, people)
    rows, theirs = found.rows, [keys_of(world.project, number) for number in people]

    def is_about(row: RowId) -> bool:  # what was never sent has no row
        return row in rows or any(is_theirs(row.mapping, row.key) for is_theirs in theirs)

    problems = [one for one in await books.do(store.problems) if is_about(one.row)]
    refusals = [one for one in await books.do(store.refusals) if is_about(one.row)]
    hints = [one for number in people for one in await books.do(store.hints_about, number)]
    history = await books.do(store.history_of_person, person, rows)
    for number in before:  # what CommCare never took has no row
        history += [one for one in await books.do(store.history_of_person, number, ()) if one not in history]
    return {
        "person": person,
        "merged": before,
        "merged_into": into.get(person),
        "exported_at": moment(world.clock.now()),
        "erased": person in await books.do(store.erased),
        "courses": [number for number in found.courses if number],
        "cases": [await _exported(world, held) for held in found.cases],
        "writes_not_confirmed": [row._asdict() for row in found.unanswered],
        "problems": [
            {**one.row._asdict(), "property": one.property, "reason": one.reason, "since": moment(one.first_at)}
            for one in problems
        ],
        "history": [change_json(one) for one in history],
        "refusals": [
            {**one.row._asdict(), "reason": one.reason, "since": moment(one.first_at)} for one in refusals
        ],
        "hints_of_webhooks": [
            {"event": event, "course": course, "received_at": moment(at)} for event, course, at in hints
        ],
        "kept_in_mind": await noted_of(world, people),
        "matches": [match_json(one) for number in people for one in await books.do(store.matches_of, number)],
        "feedback_to_moodle": [
            feedback_json(one) for number in people for one in await books.do(store.feedback_of, number)
        ],
    }


def unknown_words(found: dict[str, Any]) -> str:
    """Return a sentence about an export that holds no case, no course and no note; "" for any other."""
    if any(value for value in found.values() if isinstance(value, list)):
        return ""
    person = found["person"]
    if found["erased"]:
        return f"Person {person} was erased, and the books know nothing more than that."
    return f"The books know nothing of person {person}, so CommCare was not asked. Is the number right?"


async def _exported(world: World, held: Held) -> dict[str, Any]:
    """Return one case, as the books know it and as CommCare has it."""
    case = held.case
    outside = external_id(held.row.key, case.generation)
    names = sorted(name for name in case.digests or {} if not name.startswith("@"))
    return {
        **held.row._asdict(),
        "external_id": outside,
        "case_id": case.case_id,
        "owner_id": case.owner_id,
        "status": case.status,
        "written_at": moment(held.pushed_at) if held.pushed_at else None,
        "properties_sent": names,
        "in_commcare": await _in_commcare(world, held),
        "cases_before": await _before(world, held),
    }


async def _before(world: World, held: Held) -> list[dict[str, Any] | str]:
    """Return the cases that the key had before this one, as CommCare has them."""
    key = held.row.key
    found = await find_earlier(world, held.row.mapping, {key: held.case})
    unclear = [f"CommCare does not tell: {reason}." for reason in found.unclear.values()]
    return [case_json(one.case) for one in found.cases.get(key, ())] + unclear


async def _in_commcare(world: World, held: Held) -> dict[str, Any] | str:
    try:
        there = await case_there(world, held.row.key, held.case)
    except Refused as error:
        return f"CommCare does not tell: {error.code or 'refused'}."
    if there is None:
        return "There is no such case." if held.case.linked else "There is no case with this external id."
    return case_json(there)


def told(done: Erasure) -> list[str]:
    """Return sentences about an erasure."""
    words = {
        "emptied": "emptied in CommCare",
        "empty": "held nothing (any more)",
        "gone": "were deleted in CommCare before",
        "in doubt": "waiting to confirm",
        "refused": "refused",
    }
    parts = [
        f"{numbered(done.outcomes[name], 'case')} {text}" for name, text in words.items() if done.outcomes[name]
    ]
    ended = done.state is RunState.COMPLETED
    how = listed(parts) or ("no case known" if ended and done.looked else "")
    first = f"Person {done.person} is {'erased' if ended else 'not erased yet'}{f': {how}' if how else ''}."
    return [first, *done.messages]
