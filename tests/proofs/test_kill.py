"""Real syncs, killed with SIGKILL while CommCare writes late and loses answers: nothing doubled, lost or wrong."""

from __future__ import annotations

import pytest

from tests.proofs.kill import soak

KILLS = 10
MOST = 40  # kills within which a weakened engine must have made a double


def test_kills(capsys: pytest.CaptureFixture[str]) -> None:
    """After ten kills, a rest and a pass, every key has one case, and it is as the mapping makes it."""
    with soak() as made:
        figures = made.go(KILLS).write()
    with capsys.disabled():
        print(f"\nkill -9: {figures}")  # noqa: T201
    found = figures.duplicates, figures.lost, figures.wrong, figures.writes_on_unchanged
    assert (0, 0, 0, 0) == found
    assert figures.tried >= KILLS
    assert int(figures.notes["cases"]) > 5 * KILLS, "too little was written for the kills to matter"


def test_writing_again_at_once_is_noticed() -> None:
    """Without the rest, a late write and its repetition make two cases, and the soak sees them."""
    with soak(rest=0.001) as made:
        assert made.go(MOST, until_double=True).duplicates


def test_unannounced_writes_are_noticed() -> None:
    """Without the announcement, the next process knows nothing of the write under way, and makes a second case."""
    with soak(seed=2, broken=("no-intent",)) as made:
        assert made.go(MOST, until_double=True).duplicates
