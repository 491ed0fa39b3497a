"""Where the command begins, as `moodle-commcare` and as `python -m flows`: a Ctrl-C while it loads is no error."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import NoReturn

INTERRUPTED = 130
SHORT = (["mappings", "check"], ["mappings", "test"])
"""Commands that are over before garbage could pile up."""


def main() -> NoReturn:
    """Load the command and run it."""
    _start_fast()
    try:
        from flows.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _start_fast() -> None:
    """Spare what a short command has no use for: a third of the time that `mappings check` would take.

    What is loaded stays, so looking for garbage in it is in vain, at the end and, where little else follows, while
    it is loaded; and nobody's extension of pydantic is looked for among all installed packages, nor shown what is
    validated.
    """
    if sys.argv[1:3] in SHORT:
        gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


if __name__ == "__main__":
    main()
