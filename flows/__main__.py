"""Where the command begins, as `moodle-commcare` and as `python -m flows`: a Ctrl-C while it loads is no error."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Load the command and run it."""
    try:
        from flows.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
