"""Feedback that coaches write in CommCare goes back to Moodle, once, and over nothing that others wrote.

`send` lists the cases that changed, `consume` takes those that data forwarding told of. Both read the text when it
is published, and what Moodle holds afterwards decides.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from adaptors.commcare.cases import CaseReply
from adaptors.errors import AdaptorError, Maintenance
from flows.errors import Overlap, UsageError
from flows.fed_back import FedBack
from flows.feedback_desk import Options, Publishing
from flows.feedback_texts import (
    APPROVED,
    changed_cases,
    hinted_ids,
    print_of,
    read_texts,
    remember_listing,
    writing_back,
)
from flows.feedback_texts import Found as Texts
from flows.result import RunState
from flows.steps.lease import Lease
from flows.steps.renamed import take_over_names, will_take_over
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping
from state import HintRow, StateError
from state.care import DRAIN
from state.inbox import UNUSED

LATE_S: Final = 600.0
"""How long CommCare's search may be behind a hint; afterwards the case counts as it is found, or as not there."""
LOOKED_AT: Final = "feedback"
"""Outcome of a hint whose case was looked at."""
NOT_SHOWN: Final = "not_shown"
"""Outcome of a hint whose case CommCare has not shown for `LATE_S`."""


class NothingGoesBack(UsageError):
    """No mapping sends anything back."""


class Consumed(NamedTuple):
    """What became of hints (outcome -> their numbers), what was told to Moodle, and what has to be tried again."""

    outcomes: Mapping[str, Sequence[int]]
    done: FedBack
    trouble: str = ""


async def send(world: World, options: Options, progress: Progress = silent) -> FedBack:
    """Publish what coaches wrote since the last time; what happened is returned.

    What was never approved is only looked at and counted, state waiting. Raises NothingGoesBack when no mapping
    sends anything back, and UsageError when a key to overwrite is not listed.
    """
    mappings = writing_back(world)
    if not mappings:
        await _forget_others(world)
        raise NothingGoesBack("No mapping sends anything back. Add 'write_back' to one: docs/feedback-back.md.")
    done = FedBack(options.dry_run)
    async with _outcome(world, done), _lease(world, needed=not options.dry_run) as lease:
        await world.begin()
        started = world.clock.now()
        new = await unapproved(world, mappings)
        asks = bool(new) and not options.yes and not options.dry_run
        work = Publishing(world, done, options, lease, dry_run=options.dry_run or asks)
        await work.begin(mappings)
        if not work.dry_run:
            await _forget_others(world)
        elif coming := await world.books.do(will_take_over, world.books.store, world.project):
            done.messages += [f"{sentence} Until then its texts are not looked at." for sentence in coming]
        if options.yes and not options.dry_run:
            await _approve(world, mappings)
        found = Texts()
        for mapping in new if asks else mappings:
            cases = await changed_cases(world, mapping, work.known(mapping))
            await read_texts(world, mapping, cases, work.known(mapping), found)
            found.let_go(work.known(mapping))
        await work.publish(found, progress)
        if asks:
            _ask(done, new)
        elif not options.dry_run:
            for mapping in mappings:
                await remember_listing(world, mapping, started)
    return done


async def consume(world: World, rows: Sequence[HintRow]) -> Consumed:
    """Work off hints about cases: those that no text can be in are unused, the others are looked at.

    A hint stays while CommCare's search has not caught up with it, and while Moodle gives no answer. One
    whose case is not shown for `LATE_S` is given up: once it is shown, the listing of `send` has it.
    """
    done = FedBack()
    wanted = await hinted_ids(world, {row.hint.case_id for row in rows})
    outcomes = {UNUSED: [row.number for row in rows if row.hint.case_id not in wanted]}
    hinted = [row for row in rows if row.hint.case_id in wanted]
    if not hinted:
        return Consumed(outcomes, done)
    async with _outcome(world, done), _lease(world, needed=True) as lease:
        await world.begin()
        cases = await world.commcare.cases_by_id(wanted)
        late = {row.number: row.hint.case_id for row in hinted if _is_behind(world, row, cases)}
        work = Publishing(world, done, Options(), lease)
        await work.begin(writing_back(world))
        current = [case for case_id, case in sorted(cases.items()) if case_id not in late.values()]
        await work.publish(await _approved_texts(world, work, current), silent)
        settled = [row for row in hinted if row.number not in late]
        outcomes[LOOKED_AT] = [row.number for row in settled if row.hint.case_id in cases]
        outcomes[NOT_SHOWN] = [row.number for row in settled if row.hint.case_id not in cases]
    failed = done.state in (RunState.FAILED, RunState.POSTPONED)
    trouble = " ".join(done.messages) if failed or done.trouble else ""
    return Consumed({UNUSED: outcomes[UNUSED]} if trouble else outcomes, done, trouble)


async def _approved_texts(world: World, work: Publishing, cases: Sequence[CaseReply]) -> Texts:
    """Return the texts in cases, as far as a person has said yes to what their mapping sends back."""
    found, mappings = Texts(), writing_back(world)
    new = await unapproved(world, mappings)
    for mapping in mappings:
        if mapping not in new:
            await read_texts(world, mapping, cases, work.known(mapping), found)
        elif any(case.case_type == mapping.case_type for case in cases):
            work.done.worse(
                RunState.WAITING,
                f"What coaches write in cases of {mapping.name} is not sent back yet: a person has to say yes "
                "with `moodle-commcare feedback send`.",
            )
    return found


def _is_behind(world: World, row: HintRow, cases: Mapping[str, CaseReply]) -> bool:
    """Say whether the search shows a case as it was before the change that a hint is about, or not yet."""
    case = cases.get(row.hint.case_id)
    modified_at = case.modified_at if case is not None else None
    behind = case is None or (modified_at is not None and row.hint.occurred_at > modified_at + 1)
    return behind and 0 <= world.clock.now() - row.received_at < LATE_S


async def unapproved(world: World, mappings: Sequence[CompiledMapping]) -> list[CompiledMapping]:
    """Return the mappings of which nobody has said yes to what they send back now."""
    given = await _given(world)
    return [mapping for mapping in mappings if given.get(mapping.name) != print_of(mapping)]


async def _approve(world: World, mappings: Sequence[CompiledMapping]) -> None:
    given = await _given(world)
    wanted = given | {mapping.name: print_of(mapping) for mapping in mappings}
    if wanted != given:
        await world.books.do(world.books.store.put, APPROVED, json.dumps(wanted, sort_keys=True))


async def _given(world: World) -> dict[str, str]:
    text = await world.books.do(world.books.store.get, APPROVED)
    found: dict[str, str] = json.loads(text or "{}")
    return found


def _ask(done: FedBack, new: Sequence[CompiledMapping]) -> None:
    """Tell how many texts of which mapping wait for a person's word."""
    counts = Counter(one.mapping for one in done.told if one.state == "would_publish")
    done.asked = {mapping.name: counts[mapping.name] for mapping in new}
    done.worse(RunState.WAITING, "")


@asynccontextmanager
async def _lease(world: World, *, needed: bool) -> AsyncIterator[Lease]:
    """Hold the lease: runs wait for its end, and it does not wait for theirs; a dry run needs none."""
    lease = Lease(world, f"{DRAIN}feedback-{secrets.token_hex(3)}")
    if needed:
        await lease.take()
    try:
        if needed:
            await world.books.do(world.books.store.take_key)
            await take_over_names(world)
        yield lease
    finally:
        await asyncio.shield(lease.release())


@asynccontextmanager
async def _outcome(world: World, done: FedBack) -> AsyncIterator[None]:
    """Turn what stops the work into its state, and count its requests."""
    clients = (("moodle", world.moodle), ("commcare", world.commcare))
    before = {system: client.requests.copy() for system, client in clients}
    try:
        yield
    except Overlap as error:
        done.overlapped = True
        done.worse(RunState.POSTPONED, str(error))
    except Maintenance as error:
        done.worse(RunState.POSTPONED, f"{error} Nothing is lost.")
    except (AdaptorError, StateError) as error:
        done.worse(RunState.FAILED, f"{error} Nothing is lost; the next look goes on.")
    finally:
        done.requests = {system: dict(client.requests - before[system]) for system, client in clients}


async def _forget_others(world: World) -> None:
    """Take what is in the way of texts off the list whose mapping sends nothing back any more."""
    store = world.books.store
    kept = {mapping.name for mapping in writing_back(world)}
    for name in {at[0].mapping for at in await world.books.do(store.feedback, open_only=True)} - kept:
        await world.books.do(store.forget_feedback, name, ())
