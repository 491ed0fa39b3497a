"""The state machine on the real engine: a fixed number of examples, and the engine broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import seed

import flows.sync
from adaptors.commcare import client
from flows.steps import sweep
from state import Store
from tests.flows.test_explorer import _by_position, _nothing
from tests.proofs.machine import Machine, prove, run_examples

EXAMPLES = 20
NOTICED = 4  # examples within which a broken rule must fall, for one seed or another
SEEDS = range(12)


def test_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happens in whatever order, what must hold holds, and in the end CommCare is as Moodle is."""
    figures = prove(EXAMPLES, derandomize=True, name="machine-boxed")
    with capsys.disabled():
        print(f"\nstate machine: {figures}")  # noqa: T201
    assert EXAMPLES <= figures.tried


MUTANTS: dict[str, tuple[Any, str, Callable[..., Any] | int, int]] = {
    "nothing is recovered": (flows.sync, "recover", _nothing, 15),
    "one read is enough to be gone": (sweep, "READS", 1, 9),
    "writes are not announced": (Store, "stamp", lambda *_: None, 25),
    "a write in doubt keeps its digests": (Store, "void", lambda books, rows, _now: books.release(rows), 6),
    "answers are matched by position": (client, "match_replies", _by_position, 0),
}
"""What is broken, how, and the seed that noticed it soonest when this was written."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_falls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine fails when one rule of the engine is broken."""
    owner, attribute, broken, first = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, broken)
    with pytest.raises(BaseException, match=r"\w") as fallen:
        _live(first, *SEEDS)
    assert isinstance(fallen.value, AssertionError | BaseExceptionGroup)


def _live(*seeds: int) -> None:
    """Run the examples of seeds, one seed after the other."""
    for number in seeds:
        machine = seed(number)(type("Seeded", (Machine,), {}))
        run_examples(machine, NOTICED, derandomize=False, shrink=False)
