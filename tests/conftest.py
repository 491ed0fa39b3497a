"""What all tests share: no waiting between retries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stamina


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Let retries happen at once, as often as in real life."""
    stamina.set_testing(True, attempts=5)
    yield
    stamina.set_testing(False)
