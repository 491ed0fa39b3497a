"""A checklist for somebody who administers a system and does not program: steps, each with the screen to open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """Something to tick or to type, and why it is needed."""

    name: str
    why: str


@dataclass(frozen=True)
class Step:
    """One step: the screen as its menus name it, what to do there, and what to tick or type."""

    title: str
    screen: str
    do: tuple[str, ...]
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Checklist:
    """What a system has to allow; `found` says in sentences what it was made for."""

    system: str
    found: tuple[str, ...]
    steps: Sequence[Step]
    more: dict[str, Any] = field(default_factory=dict)
    """What `--json` has beside the steps."""

    def as_json(self) -> dict[str, Any]:
        """Return the checklist for `--json`."""
        steps = [
            {"title": one.title, "screen": one.screen, "do": one.do, "lines": [vars(line) for line in one.lines]}
            for one in self.steps
        ]
        return {"system": self.system, "found": self.found, **self.more, "steps": steps}
