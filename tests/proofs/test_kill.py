"""Real syncs, killed with SIGKILL while CommCare writes late and loses answers: nothing doubled, lost or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from tests.postgres import NoServer, Server
from tests.proofs import kills
from tests.proofs.figures import Figures
from tests.proofs.kill import HOUSE, Found, soak

KILLS = 10
MOST = 40  # kills within which a weakened engine must have made a double


def test_kills(capsys: pytest.CaptureFixture[str]) -> None:
    """After ten kills, a rest and a pass, every key has one case, and it is as the mapping makes it."""
    with soak(name="kill-sqlite-boxed") as made:
        hold(made.go(KILLS), KILLS, capsys)


def test_kills_on_postgresql(postgres: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The same holds with the books on a PostgreSQL server."""
    with postgres.database() as url, soak(seed=2, name="kill-postgresql-boxed", state_url=url) as made:
        hold(made.go(KILLS), KILLS, capsys)


def hold(found: Found, kills: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Write the figures down, say them, and hold them against what is promised."""
    figures = found.write()
    with capsys.disabled():
        print(f"\nkill -9: {figures}")  # noqa: T201
    assert (0, 0, 0, 0) == (found.duplicates, found.lost, found.wrong, found.writes_on_unchanged)
    assert found.kills >= kills
    assert found.entities > 5 * kills, "too little was written for the kills to matter"


@pytest.mark.e2e
def test_writing_again_at_once_is_noticed() -> None:
    """Without the rest, a late write and its repetition make two cases, and the soak sees them."""
    with soak(rest=0.001) as made:
        assert made.go(MOST, until_double=True).duplicates


@pytest.mark.e2e
def test_unannounced_writes_are_noticed() -> None:
    """Without the announcement, the next process knows nothing of the write under way, and makes a second case."""
    with soak(seed=2, broken=("no-intent",)) as made:
        assert made.go(MOST, until_double=True).duplicates


@contextmanager
def _no_server() -> Iterator[Server]:
    raise NoServer("PostgreSQL's initdb is not installed here.")
    yield


def test_no_server_is_said_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no PostgreSQL a soak goes on, and says what it did not do."""
    monkeypatch.setattr(kills, "serving", _no_server)
    assert 0 == kills.main(["--postgresql"])
    told = "NOT RUN: the kills on PostgreSQL. PostgreSQL's initdb is not installed here.\n"
    assert told == capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["duplicates", "lost", "wrong", "writes_on_unchanged"])
@pytest.mark.parametrize("option", [[], ["--postgresql"]])
def test_what_a_soak_finds_fails_it(wrong: str, option: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One double, loss, difference or needless write is a failure, on either kind of books; none is not."""
    found = [Figures("kill", 1000, 9), Figures("kill", 1000, 9, **{wrong: 1})]
    served: AbstractContextManager[Server] = nullcontext(Server(1))
    monkeypatch.setattr(kills, "serving", lambda: served)
    monkeypatch.setattr(kills, "kill_in_parts", lambda *_: found.pop(0))
    assert [0, 1] == [kills.main(option), kills.main(option)]


def test_make_soak_heeds_every_proof() -> None:
    """No line of `make soak` throws away how its proof ended."""
    lines = (HOUSE / "Makefile").read_text().partition("\nsoak:")[2].partition("\n\n")[0].splitlines()[1:]
    assert 7 == len(lines)
    assert ["\t@$(PY) -m "] * 7 == [line[:11] for line in lines]
