"""What is logged while the engine is under proof is heard: a name in a traceback fails each kind of proof."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import flows.sync
from tests.proofs.explore import Explorer
from tests.proofs.machine import Machine
from tests.proofs.overheard import overheard
from tests.proofs.stories import STORIES
from tests.proofs.walk import Plan, walk
from tests.proofs.walk_events import Step
from tests.proofs.walk_mappings import Ways
from tests.proofs.wires import Breach


@pytest.fixture
def _leaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine log an error with a name in it whenever a run ends."""

    def leak(*_: Any) -> None:
        try:
            raise ValueError("QanaryFirst0")
        except ValueError:
            logging.getLogger("flows").warning("It failed.", exc_info=True)

    monkeypatch.setattr(flows.sync.log, "info", leak)


@pytest.mark.usefixtures("_leaky")
def test_a_life_hears_it() -> None:
    """A life whose runs log a name fails in its end."""
    machine = Machine()
    machine.begin("")
    machine.run_hourly()
    with pytest.raises(AssertionError, match="are in the log"):
        machine.teardown()


@pytest.mark.usefixtures("_leaky")
def test_a_walk_hears_it() -> None:
    """So does a walk."""
    assert "are in the log" in walk(Plan(Ways(), (Step("run_hourly"),))).wrong


@pytest.mark.usefixtures("_leaky")
def test_the_explorer_hears_it() -> None:
    """The explorer notices in the very run."""
    explorer = Explorer(STORIES[0])
    with pytest.raises(Breach, match="I10: the log holds"):
        explorer.first_jobs()
    explorer.close()


def test_nobody_listens_afterwards() -> None:
    """All loggers are as they were; an argument that is not shown is heard as well, and few lines are kept."""
    root, before = logging.getLogger(), (logging.getLogger().level, [*logging.getLogger().handlers])
    with overheard() as ear:
        for number in range(9):
            root.info("%.0s", f"qanaryuser{number}")
        root.debug("qanaryuser")
    assert (9, 5) == (ear.heard, len(ear.hits))
    assert before == (root.level, root.handlers)
