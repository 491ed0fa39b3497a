"""The books in memory, in a file and on a server, for the tests of the state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from state import Store
from tests.postgres import Server

KEY = bytes(range(32))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give new books, in memory and on a server."""
    if request.param == "sqlite":
        with Store.open("sqlite://", key=KEY) as books:
            yield books
        return
    server: Server = request.getfixturevalue("postgres")
    with server.books() as url, Store.open(url, key=KEY) as books:
        yield books


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name a state file that does not exist yet, in a folder that does not exist yet."""
    return tmp_path / "var of ours" / "state.db"


@pytest.fixture
def url(file: Path) -> str:
    """Name the same file as a URL."""
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name books that do not exist yet, in a file and on a server."""
    if request.param == "sqlite":
        yield request.getfixturevalue("url")
        return
    server: Server = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url
