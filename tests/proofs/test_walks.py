"""A few walks on the real engine, and the engine broken on purpose: the walks must notice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import state.rotation
from flows.drain import _Work
from flows.steps import rosters, tables, terms
from tests.proofs import walk as walking
from tests.proofs import walks
from tests.proofs.figures import Figures
from tests.proofs.guarantees import mutant_file
from tests.proofs.walk import THEMES, WEIGHTS, Plan, Walked, plan_of, shortest, walk
from tests.proofs.walk_events import Step
from tests.proofs.walk_mappings import Ways
from tests.proofs.walk_work import Doings
from tests.proofs.walks import Part, added_up, walk_part

SEEDS = (3018, 3041, 3051, 3057, 3068, 3105, 3118)
"""Walks in which, together, everything happens."""
ENOUGH = {
    "faults": 20, "hints": 50, "drain": 6, "visit": 4, "new terms": 2, "lose_rows": 2, "rename_course": 2,
    "rows: user": 40, "rows: engage": 45, "rows: enrol": 80, "rows: member": 7,
    "erase": 5, "erasure completed": 6, "admit": 2,
}  # fmt: skip
"""What happens at least in a few walks, and how often."""


def test_some_walks(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happens, what must hold holds; and everything that may happen does happen in these walks."""
    part = Part()
    for seed in SEEDS:
        part.take(seed)
    figures = added_up([part], "walks-boxed", "1 of 1")
    with capsys.disabled():
        print(f"\nwalks: {figures}")  # noqa: T201
    assert {} == part.wrong
    assert set() == {name for name in WEIGHTS if not part.tally[name]}, "it never happened"
    few = {name: part.tally[name] for name, count in ENOUGH.items() if part.tally[name] < count}
    assert not few, f"too seldom: {few}"


def test_nothing_is_drawn_that_cannot_happen() -> None:
    """Each thing that is drawn has a method, and each method is drawn."""
    inner = {"sync", "erase_person", "waiting"}
    assert WEIGHTS.keys() == {name for name in dir(Doings) if not name.startswith("_")} - inner
    assert {name for theme in THEMES for name in theme} <= WEIGHTS.keys()
    assert plan_of(7) == plan_of(7) != plan_of(8)


# --- the engine, broken on purpose --------------------------------------------------------------------------


async def _nobody(_run: Any) -> frozenset[int]:
    """Leave nobody out of a read."""
    return frozenset()


async def _dropped(work: Any, mappings: Any) -> None:
    """Say that hints are read, and then read."""
    rows = work._of_moodle
    await work.finish({"read": [row.number for row in rows]})
    work.open |= {row.number: row for row in rows}
    await READ_COURSES(work, mappings)


async def _both(run: Any, _course: int, *more: Any) -> bool:
    """Begin the new term of every course when one has begun."""
    courses = await run.world.books.do(run.world.books.store.courses)
    return all([await BEGIN(run, course, *more) for course in sorted(courses)])


def _unseen(*_: Any) -> tuple[dict[str, Any], list[str]]:
    """See no row in a lookup table."""
    return {}, []


READ_COURSES, BEGIN = _Work._read_courses, terms._begin
RUN, AGREE = Step("run_hourly"), Step("agree")
MUTANTS: dict[str, tuple[Any, str, Callable[..., Any], tuple[Step, ...]]] = {
    "a tombstone is not heeded": (rosters, "left_out", _nobody, (RUN, Step("erase", 1), Step("grade", 1), RUN)),
    "a hint is dropped before it is read": (
        _Work, "_read_courses", _dropped,
        (RUN, Step("grade", 1, 0, 1), Step("crash_at_a_request", 0), Step("drain", how=2)),
    ),
    "an answer about a term is taken for both courses": (
        terms, "_begin", _both, (RUN, Step("begin_term"), RUN, Step("answer", how=1), RUN),
    ),
    "rotated keys are not carried": (
        state.rotation, "_carry_over", lambda *_: None,
        (RUN, Step("erase", 1), Step("rotate", how=1), RUN),
    ),
    "a row is added without looking": (
        tables, "_by_key", _unseen, (RUN, Step("lose_rows"), Step("rename_course", how=3), RUN),
    ),
}  # fmt: skip
"""What is broken, how, and a walk straight to where it matters."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that comes to a good end on the engine as it is goes wrong on a broken one."""
    owner, attribute, broken, steps = MUTANTS[name]
    plan = Plan(Ways(hours=2), steps)
    whole = walk(plan)
    happened = [whole.tally[step.name] for step in steps if step.name not in ("run_hourly", "drain")]
    assert ("", 1) == (whole.wrong, min(happened))
    monkeypatch.setattr(owner, attribute, broken)
    began, wrong = time.process_time(), walk(plan).wrong
    is_noticed, seconds = "AssertionError" in wrong, round(time.process_time() - began, 1)
    Figures(mutant_file(f"walks {name}"), tried=1, fired=is_noticed, seconds=seconds).write()
    assert is_noticed, wrong


# --- looking into a walk that goes wrong --------------------------------------------------------------------


def _goes_wrong(plan: Plan) -> Walked:
    """Go wrong when somebody is erased after the books were copied."""
    names = [step.name for step in plan.steps]
    late = "back_up" in names and "erase" in names[names.index("back_up") :]
    return Walked("AssertionError: person 7 is there" if late else "")


def test_a_walk_that_goes_wrong_is_made_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has nothing to do with it is left out."""
    monkeypatch.setattr(walking, "walk", _goes_wrong)
    steps = (RUN, Step("erase", 3), Step("back_up"), RUN, AGREE, Step("erase", 2), RUN)
    assert (Step("back_up"), Step("erase", 2)) == shortest(Plan(Ways(), steps), 60.0).steps


def test_what_walks_find_fails_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One walk that goes wrong is told with its seed, and is a failure; none is not."""
    monkeypatch.setattr(
        walks, "walk", lambda plan: Walked("lost" if plan == plan_of(10_051) else "", Counter(walks=1))
    )
    monkeypatch.setattr(walks, "_hurry", lambda: None)
    assert ({}, {10_051: "lost"}) == (walk_part(0).wrong, walk_part(1).wrong)
    monkeypatch.setattr(walks, "walk_on", lambda parts, cores: Figures("walks", parts, wrong=cores - 2))
    assert [0, 1] == [walks.main(["--cores", cores]) for cores in "23"]
    assert 0 == walks.main(["--seed", "50"])
    assert "Walk 50 comes to a good end.\n" == capsys.readouterr().err
