"""What may go wrong, and where: every request and every commit of a run is a point, counted as it comes by."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Plan = Mapping[int, str]
"""The number of a point in a run -> the fault that strikes there."""

EFFECTS = ("none", "now", "late 30", "late 299", "late 900")
REPLIES = ("timeout", "503", "crash")
KINDS: dict[str, tuple[str, ...]] = {
    "write": (
        *(f"{effect}, {reply}" for effect in EFFECTS for reply in REPLIES),
        "none, 504",
        "now, 504",
        "late 900, 504",
        "none, 500",
        "now, 500",
        "late 900, 500",
        "now, cut off",
        "429",
        "429 long",
        "refused",
        "cancel",
        "second worker",
        "frozen",
    ),
    "read": ("503", "429", "lost", "down", "crash", "cancel"),
    "moodle": ("503", "lost", "down", "short", "short on", "edit", "crash", "cancel", "second worker", "frozen"),
    "commit": ("crash before", "crash after", "disk full", "cancel", "frozen", "frozen, unanswered"),
}
"""By kind of point: what may happen there. A write is applied or not, now or late, and answered or not; half an
answer is one of CommCare itself, which has applied it by then.

Who is frozen at a commit stands still just before it, with all in hand that was worked out until then. Meanwhile
another worker does everything, or its first write is not answered, and takes effect late.
"""
UNANSWERED = "late 900, timeout"

FROZEN = ("frozen", "frozen, unanswered")
FREEZE = 700.0
"""Seconds for which a frozen worker stands still: longer than its lease, less than a row in doubt rests."""

ANY = "any"
"""In a plan: any fault that may happen there."""

OF_COURSE = frozenset({"503", "lost", "down"})
"""Faults of Moodle that concern one course when they strike one of its requests."""


class Killed(BaseException):
    """The process is gone: nothing that it still does reaches anybody."""


@dataclass(frozen=True)
class Point:
    """A place where something may go wrong: its kind, and what was under way there."""

    kind: str
    what: str


@dataclass
class Faults:
    """The faults of one run, and the points that came by; everything is repeatable."""

    plan: Plan = field(default_factory=dict)
    seen: list[Point] = field(default_factory=list)
    fired: list[tuple[Point, str]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    """What does not work any more in this run."""
    hidden: set[str] = field(default_factory=set)
    """What leaves out its last row, from now on, in this run."""
    short: set[str] = field(default_factory=set)
    """Keys that an answer of Moodle left out without a word."""
    dead: bool = False
    dies_next: bool = False
    cancel: Callable[[], Any] = lambda: None
    edit: Callable[[], None] = lambda: None
    another: Callable[[float], Awaitable[None]] = field(default=lambda _: asyncio.sleep(0))
    """Let a second worker run, after so many seconds in which this one stood still."""
    chance: random.Random = field(default_factory=random.Random)
    """Chooses where a plan says ANY."""
    quiet: bool = False
    """Set while a second worker runs: its points are not counted."""
    unanswered: bool = False
    """Whether the next write of a second worker is not answered."""

    def may_freeze(self) -> bool:
        """Say whether the process may stand still before the next point, should that be a commit."""
        return not self.quiet and self.plan.get(len(self.seen)) in (*FROZEN, ANY)

    async def stand_still(self, kind: str) -> None:
        """Stand still before the next point, which is of this kind, if that is what strikes there."""
        place = len(self.seen)
        if self.plan[place] == ANY:
            self.plan = {**self.plan, place: self.chance.choice(KINDS[kind])}
        await self.strike(self.plan[place] if self.plan[place] in FROZEN else "")

    def at(self, kind: str, what: str) -> str:
        """Count a point and return the fault that strikes there, "" for none."""
        self.live()
        if self.quiet:
            if not self.unanswered or kind != "write":
                return ""
            self.unanswered = False
            return UNANSWERED
        point, fault = Point(kind, what), self.plan.get(len(self.seen), "")
        self.seen.append(point)
        fault = self.chance.choice(KINDS[kind]) if fault == ANY else fault
        if fault:
            self.fired.append((point, fault))
        return fault

    @property
    def struck(self) -> list[tuple[int, str]]:
        """Return where faults struck, and which."""
        return [(self.seen.index(point), fault) for point, fault in self.fired]

    def strikes_within(self, points: int) -> bool:
        """Say whether a fault strikes at one of the next points."""
        return not self.quiet and any(len(self.seen) + n in self.plan for n in range(points))

    def live(self) -> None:
        """Let nothing happen any more once the process is dead."""
        if self.dies_next or self.dead:
            self.die()

    def die(self) -> None:
        """End the process."""
        self.dead = True
        raise Killed

    async def strike(self, fault: str) -> str:
        """Do what concerns the process and not the request; returns the fault that is left for the request."""
        if fault == "crash":
            self.die()
        elif fault == "cancel":
            self.cancel()
        elif fault == "second worker" or fault in FROZEN:
            self.unanswered = fault == FROZEN[1]
            await self.another(FREEZE if fault in FROZEN else 0.0)
            self.unanswered = False
        elif fault == "edit":
            self.edit()
        else:
            return fault
        return ""
