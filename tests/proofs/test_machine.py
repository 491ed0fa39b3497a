"""The state machine on the real engine: a fixed number of examples, and the engine broken on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import seed

import flows.sync
from adaptors.commcare import client
from flows.steps import sweep
from state import IntentRow, Store
from state.lease import Held
from tests.flows.test_explorer import _by_position, _nothing
from tests.proofs.campaign import column_of
from tests.proofs.figures import Figures
from tests.proofs.guarantees import mutant_file
from tests.proofs.machine import FEW, Machine, prove, run_examples
from tests.proofs.seldom import THEMES, Seldom
from tests.proofs.test_found import LIVES

EXAMPLES = 10
NOTICED = 4  # examples within which a broken rule must fall


def test_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happens in whatever order, what must hold holds, and in the end CommCare is as Moodle is."""
    figures = prove(EXAMPLES, derandomize=True, name="machine-boxed")
    with capsys.disabled():
        print(f"\nstate machine: {figures}")  # noqa: T201
    assert EXAMPLES <= figures.tried
    assert EXAMPLES <= figures.fired, "hardly anything went wrong"


TARGETED: dict[str, tuple[str, dict[str, Any]]] = {
    "change_break_flip_back": ("", {"who": 0, "later": 60.0}),
    "leave_return_and_leave": (", close: true", {"who": 1, "later": 60.0}),
    "keep_out_let_in_and_keep_out": (", close: true", {"who": 2, "later": 700.0}),
    "merge_by_word": (", park: true", {"old": 0, "new": 1, "ends": True, "later": 700.0}),
    "agree_and_break": (", park: true", {"where": 0, "kept_out": False}),
    "change_under_a_new_key": ("", {"who": 0, "restores": True, "later": 60.0}),
    "overwrite_and_repair": ("", {"who": 0, "later": 60.0}),
    "agree_to_keep_out_and_break": (", close: true", {"later": 60.0}),
}
"""Rules that go straight to one place, of which a few random lives may have none: way, and choices."""
UNBROKEN = "restore_and_blank"


@pytest.mark.parametrize("how", ["late", "crash after"])
@pytest.mark.parametrize("name", TARGETED)
def test_a_targeted_rule_strikes(name: str, how: str) -> None:
    """It breaks the write that it is about, and all comes right afterwards."""
    assert _struck(TARGETED[name][0], name, TARGETED[name][1], how), "its fault never struck"


@pytest.mark.parametrize("few", [0, 5])
def test_books_put_back_and_blanks(few: int) -> None:
    """Cases of which the books know too little are looked up one by one or all at once, with one end."""
    with _begun(", park: true", few) as machine:
        getattr(machine, UNBROKEN)(later=60.0)
        machine.join_and_break(how="lost", later=1260.0)
        machine.back_up_change_restore(who=0, how="crash after")


def test_no_targeted_rule_is_there_for_nothing() -> None:
    """Each of them happens in every run of the tests: here, or in a life that ended badly once."""
    rules = {name for name, found in vars(Seldom).items() if hasattr(found, "hypothesis_stateful_rule")}
    lived = {step for _, steps in LIVES.values() for step, _ in steps}
    assert {UNBROKEN, *TARGETED} | (rules & lived) == rules
    assert len(rules) >= len(THEMES)


def _struck(way: str, rule: str, choices: Mapping[str, Any], how: str) -> int:
    """Live a life of one targeted rule; return how many faults struck in it."""
    with _begun(way) as machine:
        getattr(machine, rule)(**choices, how=how)
        struck = machine.ground.faults
    return struck


def _released(books: Store, rested: Sequence[IntentRow], _now: float, _ours: Held | None) -> None:
    """Forget what was announced, and nothing else."""
    books.release([one.row for one in rested])


@contextmanager
def _begun(way: str, few: int = FEW) -> Iterator[Machine]:
    """Give a machine that has run once; in the end all must come right."""
    machine = Machine()
    try:
        machine.begin(way, out=way, few=few)
        machine.run_hourly()
        yield machine
    except BaseException:
        machine.close()
        raise
    machine.teardown()


MUTANTS: dict[str, tuple[Any, str, Callable[..., Any] | int, str]] = {
    "nothing is recovered": (flows.sync, "recover", _nothing, "change_break_flip_back"),
    "one read is enough to be gone": (sweep, "READS", 1, "leave_return_and_leave"),
    "writes are not announced": (Store, "stamp", lambda *_: None, "change_break_flip_back"),
    "a write in doubt keeps its digests": (Store, "void_rested", _released, "change_break_flip_back"),
    "answers are matched by position": (client, "match_replies", _by_position, "merge_by_word"),
}
"""What is broken, how, and the targeted rule that notices it."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_falls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a targeted rule finds whole on the engine as it is (above), it finds broken on a broken one."""
    owner, attribute, broken, rule = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, broken)
    way, choices = TARGETED[rule]
    began, is_noticed = time.process_time(), True
    with suppress(AssertionError):
        _struck(way, rule, choices, "crash after")
        is_noticed = False
    seconds = round(time.process_time() - began, 1)
    Figures(mutant_file(f"lives {name}"), tried=1, fired=is_noticed, seconds=seconds).write()
    assert is_noticed


def test_what_is_found_counts_in_its_column() -> None:
    """A case that is there twice, one that is not there, and anything else are told apart by what a life says."""

    def twice(machine: Machine) -> None:
        machine.ground.rest = 0.0
        machine.join_and_break(how="late", later=60.0)

    def nowhere(machine: Machine) -> None:
        machine.ground.project.delete_case(machine.ground.project.of_type("student")[0].case_id)

    def otherwise(machine: Machine) -> None:
        machine.ground.project.edit_case(machine.ground.project.of_type("student")[0].case_id, city="By hand")

    columns = []
    for spoil in (twice, nowhere, otherwise):
        with pytest.raises(AssertionError) as fallen, _begun("") as machine:
            spoil(machine)
        columns.append(column_of(str(fallen.value)))
    assert ["duplicates", "lost", "wrong"] == columns


@pytest.mark.parametrize("number", range(2))
def test_random_lives_notice_a_broken_rule(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So do lives that aim at nothing."""
    monkeypatch.setattr(client, "match_replies", _by_position)
    machine = seed(number)(type("Seeded", (Machine,), {}))
    with pytest.raises(BaseException, match=r"\w") as fallen:
        run_examples(machine, NOTICED, derandomize=False, shrink=False)
    assert isinstance(fallen.value, AssertionError | BaseExceptionGroup)
