"""The books in memory and in a file, for the tests of the state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from state import Store

KEY = bytes(range(32))


@pytest.fixture
def store() -> Iterator[Store]:
    """Give new books in memory."""
    with Store.open("sqlite://", key=KEY) as books:
        yield books


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name a state file that does not exist yet, in a folder that does not exist yet."""
    return tmp_path / "var of ours" / "state.db"


@pytest.fixture
def url(file: Path) -> str:
    """Name the same file as a URL."""
    return f"sqlite:///{file}"
