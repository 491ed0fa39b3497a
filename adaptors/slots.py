"""How many requests may be in flight: one more as long as one more gets more done, one less when it does not."""

from __future__ import annotations

import statistics
from collections import defaultdict, deque

WINDOW = 10  # answers looked at before the number changes
LOOK = 5  # answers that are enough to see how it goes with one slot less
SLOW = 2.5  # times the usual answer time: the server queues, whatever the reason
WORTH = 0.4  # the part of what one more slot could bring that it has to bring
PATIENCE, MOST_PATIENCE = 5, 40  # windows to wait, after a step down, before one more is tried again
ENOUGH = 3  # answers of a kind that can be compared

Kind = tuple[str, int]


class Slots:
    """A number of slots that follows the answers; `value` is the number.

    Latency is the signal, not errors: a small PHP site queues long before it fails. Answers are compared with
    answers of the same kind (function and about the same length) at one slot less: n slots whose answers take as
    many times longer get nothing more done, they only let others wait. A window whose median is over 2.5 times
    the usual (the 10th percentile of the last 100 of a kind), or a failure, halves the slots. A careful server
    is first asked how quick it is with one slot less; a strong one (`careful=False`) only when it slows down.
    """

    def __init__(self, *, start: int, ceiling: int, floor: int = 1, careful: bool = True) -> None:
        self.value = min(start, ceiling)
        self._floor, self._ceiling = floor, ceiling
        self._careful = careful
        self._history: dict[Kind, deque[float]] = defaultdict(lambda: deque(maxlen=100))
        self._at: dict[tuple[int, Kind], deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._window: list[tuple[Kind, float]] = []
        self._full = 0
        self._looking = False
        self._calm, self._patience = 0, PATIENCE
        self._old = 0

    def answered(self, kind: Kind, seconds: float, busy: int) -> None:
        """Learn from an answer after `seconds`, when `busy` requests were in flight."""
        history = self._history[kind]
        history.append(seconds)
        if self._old:  # sent when there was another number of slots
            self._old -= 1
            return
        usual = sorted(history)[len(history) // 10]
        self._window.append((kind, seconds / usual if usual > 0 else 1.0))
        if busy >= self.value:
            self._full += 1
            self._at[self.value, kind].append(seconds)
        if len(self._window) >= (LOOK if self._looking else WINDOW):
            self._judge(busy)

    def halve(self, busy: int = 0) -> None:
        """Learn from a failure, or a refusal for too many requests."""
        if self.value > self._floor:
            self._step_down(max(self._floor, self.value // 2), busy)
        self._window, self._full = [], 0

    def _judge(self, busy: int) -> None:
        """Go up, down or stay at the end of a window; one in which slots stood empty tells only of trouble."""
        kinds = [kind for kind, _ in self._window]
        slowness = statistics.median(slow for _, slow in self._window)
        full = self._full >= len(kinds) * 0.8
        self._window, self._full = [], 0
        if slowness > SLOW:
            self.halve(busy)
        elif self._looking:
            self._looking = False
            above = self._gain(self.value + 1, kinds) if full else None
            if above is None or above >= WORTH:
                self._move(self.value + 1, busy)
            else:
                self._wait_longer()
        elif full:
            self._climb(kinds, busy)

    def _climb(self, kinds: list[Kind], busy: int) -> None:
        gain = self._gain(self.value, kinds)
        if gain is not None and gain < WORTH:
            self._step_down(self.value - 1, busy)
        elif gain is None and self._careful and self.value > self._floor:
            self._move(self.value - 1, busy)
            self._looking = True
        elif self._calm:
            self._calm -= 1
        elif self.value < self._ceiling:
            if gain is not None:
                self._patience = PATIENCE
            self._move(self.value + 1, busy)

    def _gain(self, slots: int, kinds: list[Kind]) -> float | None:
        """Return what the last of so many slots brings: 1 as much as it could, 0 nothing; None when unknown."""
        ratios = [
            statistics.median(self._at[slots - 1, kind]) / max(statistics.median(self._at[slots, kind]), 1e-9)
            for kind in kinds
            if min(len(self._at[slots, kind]), len(self._at[slots - 1, kind])) >= ENOUGH
        ]
        if slots <= self._floor or len(ratios) * 2 < len(kinds):
            return None
        more = statistics.median(ratios) * slots / (slots - 1)
        return (more - 1) * (slots - 1)

    def _step_down(self, slots: int, busy: int) -> None:
        self._move(slots, busy)
        self._wait_longer()

    def _wait_longer(self) -> None:
        self._calm, self._patience = self._patience, min(self._patience * 2, MOST_PATIENCE)

    def _move(self, slots: int, busy: int) -> None:
        self.value, self._old = slots, max(busy - 1, 0)
        self._window, self._full, self._looking = [], 0, False
