"""Nudges that did not arrive: Prefect tries a few times at once, and then no more. No Prefect here.

Whoever looks finds them among Prefect's events (flows/nudge_events.py). They are remembered in the books, for the
status, and told once more after each run until that arrives.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flows.words import DAY, listed, numbered
from state import Store

FACT = "nudges_undelivered"  # {"since": epoch, "nudges": {name: how many}, "places": [where to]}
UNDELIVERED = "moodle-commcare.undelivered"
AGAIN = "undelivered"
"""The nudge that tells of others; it is sent to the place alone where they did not arrive."""
UNTOLD = frozenset({AGAIN, "test"})
UNDER_WAY_S = 120.0
"""So long Prefect may be at a nudge: one that is younger may still arrive."""
BETWEEN_S = 30.0
"""So long it may take from the look at what did not arrive until Prefect sets out to tell it."""
LOOK_BACK_S = 7 * DAY
"""So long `serve` keeps events."""
COMMAND = "moodle-commcare automations test"


@dataclass(frozen=True)
class Fired:
    """A nudge that Prefect set out to send: the id of that event, its name, when (epoch), to which blocks."""

    event: str
    nudge: str
    at: float
    places: Sequence[str]


@dataclass(frozen=True)
class Undelivered:
    """Nudges that did not arrive: the first one's time (epoch), how many of each, and where to."""

    since: float
    nudges: Mapping[str, int]
    places: Sequence[str] = field(default=())

    @property
    def count(self) -> int:
        """Return how many there are."""
        return sum(self.nudges.values())

    @property
    def which(self) -> str:
        """Return them by name, those of which there are most first: 3 × failed, 1 × waiting."""
        return listed([f"{count} × {name}" for name, count in Counter(self.nudges).most_common()])

    def sentence(self, since: str) -> str:
        """Return what happened; `since` is the moment in words."""
        where = f" to {listed(self.places)}" if self.places else ""
        return (
            f"{numbered(self.count, 'nudge')}{where} could not be delivered since {since} ({self.which}). "
            "Each run tells of them once more, until that arrives."
        )


def lost(fired: Sequence[Fired], sent: Collection[tuple[str, str]], place: str, now: float) -> Sequence[Fired]:
    """Return what did not arrive at a place and was not told there since; `sent` are pairs of event and place.

    Of what was under way while it was told, nobody knows whether it was told: it counts again.
    """
    told = (one.at for one in fired if one.nudge == AGAIN and (one.event, place) in sent)
    after = max(told, default=0.0) - UNDER_WAY_S - BETWEEN_S
    return [
        one
        for one in fired
        if one.nudge not in UNTOLD
        and place in one.places
        and (one.event, place) not in sent
        and after < one.at <= now - UNDER_WAY_S
    ]


def summed(found: Sequence[tuple[str, Sequence[Fired]]]) -> Undelivered | None:
    """Return what did not arrive somewhere, as pairs of a place's name and nudges; None when all did.

    What arrived at none of several places counts once.
    """
    events = {one.event: one for _, some in found for one in some}
    if not events:
        return None
    names = Counter(one.nudge for one in events.values())
    first = min(one.at for one in events.values())
    return Undelivered(first, dict(names), [place for place, some in found if some])


def remember(store: Store, found: Undelivered | None) -> None:
    """Write down what did not arrive, or that all did."""
    text = json.dumps(vars(found)) if found else ""
    if text != (store.get(FACT) or ""):
        store.put(FACT, text)


def undelivered(store: Store, now: float) -> Undelivered | None:
    """Return what the last run found, unless no run on Prefect has looked for so long that it tells nothing."""
    text = store.get(FACT)
    found = Undelivered(**json.loads(text)) if text else None
    return found if found and found.since > now - LOOK_BACK_S - DAY else None
