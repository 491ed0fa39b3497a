"""What the engine logs while it is under proof: each record is searched for people, tokens and keys."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flows.redact import NOISY
from tests.canaries import found_in

KEPT = 5  # lines that hold somebody's value; more of them tell nothing new
QUIET = (*NOISY, "sqlalchemy")
"""The product quietens the first ones; what statements hold ends in the books, which are searched."""


class Overheard(logging.Handler):
    """Hears every record from INFO on, its arguments and traceback too; keeps lines that tell too much."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.heard = 0
        self.hits: list[str] = []
        """The first lines that hold a mark; must stay empty."""

    def emit(self, record: logging.LogRecord) -> None:
        """Search a record."""
        self.heard += 1
        text = f"{record.name}: {self.format(record)} {record.args!r}"
        if len(self.hits) < KEPT and found_in(text):
            self.hits.append(text)

    def hold(self) -> None:
        """See that nothing personal and no secret was logged."""
        assert [] == self.hits, f"values of people, or a token, are in the log: {self.hits}"


@contextmanager
def overheard() -> Iterator[Overheard]:
    """Listen to all that is logged, and to nothing of it afterwards; in a process of its own nobody else does."""
    ear, root = Overheard(), logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in QUIET} | {"": root.level}
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    root.setLevel(logging.INFO)
    root.addHandler(ear)
    try:
        yield ear
    finally:
        root.removeHandler(ear)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
