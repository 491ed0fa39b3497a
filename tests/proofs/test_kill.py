"""Real syncs, killed with SIGKILL while CommCare writes late and loses answers: nothing doubled, lost or wrong."""

from __future__ import annotations

import pytest

from tests.postgres import Server
from tests.proofs.kill import Found, soak

KILLS = 10
FEW = 4
MOST = 40  # kills within which a weakened engine must have made a double


def test_kills(capsys: pytest.CaptureFixture[str]) -> None:
    """After ten kills, a rest and a pass, every key has one case, and it is as the mapping makes it."""
    with soak(name="kill-sqlite-boxed") as made:
        hold(made.go(KILLS), KILLS, capsys)


def test_kills_on_postgresql(postgres: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The same holds with the books on a PostgreSQL server."""
    with postgres.database() as url, soak(seed=2, name="kill-postgresql-boxed", state_url=url) as made:
        hold(made.go(FEW), FEW, capsys)


def hold(found: Found, kills: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Write the figures down, say them, and hold them against what is promised."""
    figures = found.write()
    with capsys.disabled():
        print(f"\nkill -9: {figures}")  # noqa: T201
    assert (0, 0, 0, 0) == (found.duplicates, found.lost, found.wrong, found.writes_on_unchanged)
    assert found.kills >= kills
    assert found.entities > 5 * kills, "too little was written for the kills to matter"


def test_writing_again_at_once_is_noticed() -> None:
    """Without the rest, a late write and its repetition make two cases, and the soak sees them."""
    with soak(rest=0.001) as made:
        assert made.go(MOST, until_double=True).duplicates


def test_unannounced_writes_are_noticed() -> None:
    """Without the announcement, the next process knows nothing of the write under way, and makes a second case."""
    with soak(seed=2, broken=("no-intent",)) as made:
        assert made.go(MOST, until_double=True).duplicates
