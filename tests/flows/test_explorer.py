"""Random walks through edits, faults and runs: CommCare ends up as Moodle is, and no case is there twice.

The second half breaks the engine on purpose, one rule at a time, and sees that the walks notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import flows.sync
from adaptors.commcare import client
from adaptors.commcare.answers import CaseObject
from adaptors.commcare.cases import CaseReply
from adaptors.moodle import normalise
from flows.steps import depart, owners, plan, push, select, sweep, vanished
from state import IntentRow, Store, outcomes
from tests.flows.explorer import Explorer
from tests.postgres import Server

ROUNDS = 8
WALKS = 5
BATCHES = (100, 5, 3)  # rows in a write request: one batch a level, or many under way at a time

Walk = Callable[..., list[str]]


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Walk:
    """Give a function that goes the walk of a seed and returns its log."""

    def go(seed: int, *, rest: float = 1200.0, state_url: str = "sqlite://") -> list[str]:
        monkeypatch.setattr(push, "BATCH", BATCHES[seed % len(BATCHES)])
        explorer = Explorer(tmp_path / str(seed), seed, state_url)
        explorer.lab.rest = rest
        try:
            asyncio.run(explorer.walk(ROUNDS))
        finally:
            explorer.lab.close()
        return explorer.log

    return go


def test_walks(walk: Walk, capsys: pytest.CaptureFixture[str]) -> None:
    """Every walk comes to rest with each case as its mapping makes it, and says how far it went."""
    logs = [walk(seed) for seed in range(WALKS)]
    runs = sum(line.startswith("run ") for log in logs for line in log)
    with capsys.disabled():
        print(f"\nexplorer: {WALKS} walks, {sum(map(len, logs))} steps, {runs} runs")  # noqa: T201
    assert runs >= WALKS * ROUNDS


@pytest.mark.e2e
def test_walks_repeat(walk: Walk) -> None:
    """The same seed goes the same way, so that what it finds can be looked at."""
    assert walk(1) == walk(1)


@pytest.mark.e2e
@pytest.mark.parametrize("seed", range(2))
def test_walks_are_the_same_on_a_server(walk: Walk, postgres: Server, seed: int) -> None:
    """With the books in PostgreSQL every step and every run ends as it does with SQLite."""
    with postgres.books() as url:
        assert walk(seed) == walk(seed, state_url=url)


async def _nothing(*_: object) -> None:
    """Do nothing."""


def _by_position(rows: Sequence[Any], cases: Sequence[CaseObject]) -> list[CaseReply | None]:
    return [case.reply() for case in cases] + [None] * (len(rows) - len(cases))


def _released(books: Store, rested: Sequence[IntentRow], *_: object) -> None:
    books.release([one.row for one in rested])


async def _as_it_was(_: object, _reading: object, _row: object, case: Any) -> Any:
    return case


async def _none_vanished(*_: object) -> dict[str, frozenset[str]]:
    return {}


async def _nobody(*_: object) -> str:
    return ""


def _over_or_hidden(course: Any, now: float) -> bool:
    return not course.visible or _ENDED(course, now)


async def _as_known(_: object, leaving: Any) -> Any:
    return leaving


def _everything_seen(self: normalise.Visible, people: Any, _me: int) -> None:
    _LEARN(self, people, -1)


_ENDED = select._ended
_LEARN = normalise.Visible.learn
MUTANTS: dict[str, tuple[Any, str, Any, int]] = {
    "nothing is recovered": (flows.sync, "recover", _nothing, 0),
    "one read is enough to be gone": (sweep, "READS", 1, 1),
    "writes are not announced": (Store, "stamp", lambda *_: None, 1),
    "a write in doubt keeps its digests": (Store, "void_rested", _released, 4),
    "nobody is ever asked": (sweep.Gone, "is_suspicious", lambda *_: False, 12),
    "answers are matched by position": (client, "match_replies", _by_position, 1),
    "a first write in doubt is not looked for": (depart.Departures, "_known", _as_known, 1),
    "the account's own row counts": (normalise.Visible, "learn", _everything_seen, 13),
    "who is kept out keeps what is personal": (depart, "private_names", lambda *_: [], 13),
    "a closed case lives again": (plan.Planner, "_alive", _as_it_was, 1),
    "a close in doubt is forgotten": (outcomes, "MARK", {}, 1),
    "who comes back stays parked": (owners.Owners, "_before", _nobody, 1),
    "elements that vanished stay": (vanished.Vanished, "of", _none_vanished, 1),
    "a hidden course is over": (select, "_ended", _over_or_hidden, 1),
    "a missing e-mail address is blank": (normalise, "MAYBE_EMPTY", normalise.MAYBE_EMPTY | {"email"}, 13),
}
"""What is broken, how, and the seed that noticed it first when this was written."""


def _is_noticed(walk: Walk, first: int, **changes: float) -> bool:
    for seed in (first, *range(WALKS)):
        try:
            walk(seed, **changes)
        except AssertionError:
            return True
    return False


@pytest.mark.e2e
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str, walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk fails when one rule of the engine is broken; with all rules whole these walks pass."""
    owner, attribute, broken, first = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, broken)
    assert _is_noticed(walk, first)


@pytest.mark.e2e
def test_writing_again_at_once_is_noticed(walk: Walk) -> None:
    """A walk fails when rows in doubt do not rest: the late write and the second one make two cases."""
    assert _is_noticed(walk, 15, rest=0.0)
