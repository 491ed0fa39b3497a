"""`python -m tests.proofs.kills`: a thousand killed syncs, in parts; each part is a school of its own.

It may be stopped at any time: the next start goes on with the parts that are still to be done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from tests.postgres import NoServer, serving
from tests.proofs.figures import Figures
from tests.proofs.kept import Kept
from tests.proofs.kill import Found, soak

PART = 50  # kills of one part


def kill_in_parts(kills: int, name: str, books: Callable[[], AbstractContextManager[str]]) -> Figures:
    """Kill so many syncs, the parts kept of an earlier time included; `books` gives each part empty ones."""
    kept, total = Kept(name), Found(name)
    for number in range(-(-kills // PART)):
        found = kept.get(str(number), Found)
        if found is None:
            with books() as url, soak(seed=number + 1, name=name, state_url=url) as made:
                found = made.go(PART)
            kept.put(str(number), found)
        total.add(found)
        print(total.write(), file=sys.stderr, flush=True)  # noqa: T201
    return total.write()


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill as often as the command asks for; 1 when something is wrong, and 0 where there is no server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--postgresql", action="store_true", help="books on a private PostgreSQL server")
    asked = parser.parse_args(arguments)
    with ExitStack() as stack:
        if not asked.postgresql:
            return _verdict(kill_in_parts(asked.kills, "kill-sqlite", lambda: nullcontext("")))
        try:
            server = stack.enter_context(serving())
        except NoServer as error:
            print(f"NOT RUN: the kills on PostgreSQL. {error}", file=sys.stderr)  # noqa: T201
            return 0
        return _verdict(kill_in_parts(asked.kills, "kill-postgresql", server.database))


def _verdict(figures: Figures) -> int:
    return int(any((figures.duplicates, figures.lost, figures.wrong, figures.writes_on_unchanged)))


if __name__ == "__main__":
    sys.exit(main())
