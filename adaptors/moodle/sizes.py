"""How much to ask for in one request: as much as Moodle answers in one to two seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

QUICK, SLOW = 1.0, 2.0  # seconds


@dataclass
class BatchSize:
    """A number of rows per request that follows the answer time; `fixed` keeps it where it starts."""

    value: int
    ceiling: int
    floor: int = 10
    fixed: bool = False

    def learn(self, rows: int, seconds: float) -> None:
        """Grow after a quick full answer, shrink after a slow one; `rows` are those that came."""
        if self.fixed:
            return
        if seconds > SLOW:
            self.shrink()
        elif seconds < QUICK and rows >= self.value:
            self.value = min(self.ceiling, self.value * 2)

    def shrink(self) -> None:
        """Halve after a slow answer or none at all."""
        if not self.fixed:
            self.value = max(self.floor, self.value // 2)


@dataclass
class Sizes:
    """The batch sizes of one run. Ceilings: PHP drops what is beyond 1,000 form fields without a word."""

    page: BatchSize = field(default_factory=lambda: BatchSize(100, ceiling=500))
    profiles: BatchSize = field(default_factory=lambda: BatchSize(100, ceiling=400))
    grades: BatchSize = field(default_factory=lambda: BatchSize(25, ceiling=50, floor=5))
    calls: BatchSize = field(default_factory=lambda: BatchSize(25, ceiling=50, floor=5))  # other calls per person
    submissions: int = 1000  # people times assignments in one call for what they handed in
    whole_course: int = 50  # up to so many people one call for all grades of the course
    kept_rows: int = 20_000  # rows with personal fields kept between reading people and reading grades

    @classmethod
    def fixed(cls, page: int = 100, profiles: int = 100, grades: int = 25) -> Sizes:
        """Return sizes that do not move: tests and benches count requests with them; `grades` is for all calls
        about one person.
        """
        return cls(
            page=BatchSize(page, ceiling=page, fixed=True),
            profiles=BatchSize(profiles, ceiling=profiles, fixed=True),
            grades=BatchSize(grades, ceiling=grades, fixed=True),
            calls=BatchSize(grades, ceiling=grades, fixed=True),
        )
