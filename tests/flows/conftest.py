"""Worlds that clean up behind themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adaptors.moodle.fake_site import FakeSite
from tests.flows.worlds import Lab, recorded_lab


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Lab]:
    """Give the recorded site, as it was before the changes."""
    lab = recorded_lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Give a maker of worlds on a site."""
    labs: list[Lab] = []

    def make(site: FakeSite, **values: Any) -> Lab:
        labs.append(Lab(tmp_path, site, **values))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()
