"""What the calls about assignments cost: fewer requests than people wherever one can ask for many."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flows.assignments import Desk
from tests.marking_guide import FILES, GUIDE, SIZES, counts, with_parts


@pytest.mark.parametrize("size", [SIZES[0], *(pytest.param(size, marks=pytest.mark.e2e) for size in SIZES[1:])])
def test_requests_do_not_grow_with_people_one_by_one(size: int) -> None:
    """Each number is what the sizes of pages and batches make of it."""
    pages, saves, reads = -(-(size + 1) // 500), -(-size // 50), -(-size // 50)
    found = counts(size)
    assert 2 + pages == found["people of a course"]
    assert 2 + 2 + pages == found["people of an assignment"]
    assert 2 + 2 + pages == found["submissions"]
    assert found["feedback for everybody"] <= 6 + 2 * saves + reads + 2
    assert found["the same feedback again"] <= 6 + reads + 2
    assert 4 + pages + FILES == found[f"download of {FILES} files"]
    assert 4 + pages == found[f"the same {FILES} files again"]


def test_the_guide_is_fresh() -> None:
    """Tables and shapes in docs/assignments.md are what they are in the code today; else: make docs."""
    text = GUIDE.read_text("utf-8")
    assert text == with_parts(text)


def test_the_example_of_the_guide_can_be_imported() -> None:
    """Everything that the guide's program imports and calls is there."""
    (program,) = re.findall(r"(?s)```python\n(.*?)```", GUIDE.read_text("utf-8"))
    imports = [line for line in program.splitlines() if line.startswith("from ")]
    names: dict[str, Any] = {}
    exec("\n".join(imports), names)  # noqa: S102 - lines of our own guide
    for method in re.findall(r"desk\.(\w+)\(", program):
        assert hasattr(Desk, method)
    assert {"open_desk", "Filter", "Caps", "Ways", "publish", "download", "entries"} <= names.keys()
