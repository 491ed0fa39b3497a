"""How many requests may be in flight: one more as long as one more gets more done, one less when it does not."""

from __future__ import annotations

import statistics
from collections import defaultdict, deque
from dataclasses import dataclass
from math import exp, log, sqrt

WINDOW = 10  # answers between two looks at them
LOOK = 5  # answers that are enough to see how it goes with one slot less
SLOW = 2.5  # times the usual answer time: the server queues, whatever the reason
WORTH = 0.4  # the part of what one more slot could bring that it has to bring
PATIENCE, MOST_PATIENCE = 5, 40  # windows to wait, after a step down, before one more is tried again
MEMORY = 300  # answers of a kind that tell what is usual: long enough for a busy hour not to become it
ENOUGH, MANY = 3, 15  # answers of a kind that can be compared; pairs of answers that settle it

Kind = tuple[str, int]


@dataclass(frozen=True)
class Gain:
    """What the last slot brings: 1 as much as it could, 0 nothing; and how sure that is."""

    mean: float
    error: float
    pairs: float

    @property
    def is_worth_it(self) -> bool:
        """Whether the slot earns its place, as far as can be told."""
        return self.mean - self.error >= WORTH or (self.pairs >= MANY and self.mean >= WORTH)

    @property
    def is_in_vain(self) -> bool:
        """Whether the slot only lets others wait."""
        return self.mean + self.error < WORTH or (self.pairs >= MANY and self.mean < WORTH)


class Slots:
    """A number of slots that follows the answers; `value` is the number.

    Latency is the signal, not errors: a small PHP site queues long before it fails. Answers are compared with
    answers of the same kind (function and about the same length) at one slot less: n slots whose answers take as
    many times longer get nothing more done, they only let others wait. A window whose median is over 2.5 times
    the usual (the lower quartile of the last 300 of a kind), or a failure, halves the slots. A careful server is
    first asked how quick it is with one slot less; a strong one (`careful=False`) only when it slows down.
    """

    def __init__(self, *, start: int, ceiling: int, floor: int = 1, careful: bool = True) -> None:
        self.value = min(start, ceiling)
        self._floor, self._ceiling, self._most = floor, ceiling, ceiling
        self._careful = careful
        self._history: dict[Kind, deque[float]] = defaultdict(lambda: deque(maxlen=MEMORY))
        self._at: dict[int, dict[Kind, deque[float]]] = defaultdict(lambda: defaultdict(lambda: deque(maxlen=40)))
        self._window: list[float] = []
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
        usual = sorted(history)[len(history) // 4]
        self._window.append(seconds / usual if usual > 0 else 1.0)
        if busy >= self.value:
            self._full += 1
            self._at[self.value][kind].append(log(max(seconds, 1e-6)))
        if len(self._window) >= (LOOK if self._looking else WINDOW):
            self._judge(busy)

    def halve(self, busy: int = 0) -> None:
        """Learn from a failure, or a refusal for too many requests."""
        if self.value > self._floor:
            self._step_down(max(self._floor, self.value // 2), busy)
        self._window, self._full = [], 0

    def share(self, parts: int) -> None:
        """Keep to one of so many equal parts of what may be in flight; others have the other parts."""
        self._ceiling = max(self._floor, self._most // parts)
        if self.value > self._ceiling:
            self._move(self._ceiling, 0)

    def _judge(self, busy: int) -> None:
        """Go up, down or stay at the end of a window; one in which slots stood empty tells only of trouble."""
        slow = statistics.median(self._window) > SLOW
        full = self._full >= len(self._window) * 0.8
        self._window, self._full = [], 0
        if slow:
            self.halve(busy)
        elif self._looking:
            self._look(busy)
        elif full:
            self._climb(busy)

    def _look(self, busy: int) -> None:
        """Compare with one slot more, where we come from, and go back there unless it is not ours any more."""
        gain = self._gain(self.value + 1)
        if gain is None or gain.is_worth_it:
            self._move(min(self.value + 1, self._ceiling), busy)
        elif gain.is_in_vain:
            self._looking = False
            self._wait_longer()

    def _climb(self, busy: int) -> None:
        """Compare with one slot less, and try one more when this one has earned its place."""
        gain = self._gain(self.value)
        if gain is None and self._careful and self.value > self._floor:
            self._move(self.value - 1, busy)
            self._looking = True
        elif gain is not None and gain.is_in_vain:
            self._step_down(self.value - 1, busy)
        elif self._calm:
            self._calm -= 1
        elif self.value < self._ceiling and (gain is None or gain.is_worth_it):
            if gain is not None:
                self._patience = PATIENCE
            self._move(self.value + 1, busy)

    def _gain(self, slots: int) -> Gain | None:
        """Compare the answers with so many slots and with one less; None when too few are alike."""
        if slots <= self._floor:
            return None
        here, below = self._at[slots], self._at[slots - 1]
        pairs = [(below[kind], seen) for kind, seen in here.items() if min(len(seen), len(below[kind])) >= ENOUGH]
        if sum(len(seen) for _, seen in pairs) * 2 < sum(map(len, here.values())) or not pairs:
            return None
        weights = [len(one) * len(other) / (len(one) + len(other)) for one, other in pairs]
        quicker = [statistics.fmean(one) - statistics.fmean(other) for one, other in pairs]
        spread = sum(statistics.variance(part) * (len(part) - 1) for pair in pairs for part in pair)
        spread /= sum(len(part) - 1 for pair in pairs for part in pair)
        ratio = sum(map(float.__mul__, weights, quicker)) / sum(weights)
        more = slots / (slots - 1) * exp(ratio)
        error = more * (slots - 1) * sqrt(spread / sum(weights))
        return Gain((more - 1) * (slots - 1), error, sum(weights))

    def _step_down(self, slots: int, busy: int) -> None:
        self._move(slots, busy)
        self._wait_longer()

    def _wait_longer(self) -> None:
        self._calm, self._patience = self._patience, min(self._patience * 2, MOST_PATIENCE)

    def _move(self, slots: int, busy: int) -> None:
        self.value, self._old = slots, max(busy - 1, 0)
        self._window, self._full, self._looking = [], 0, False
