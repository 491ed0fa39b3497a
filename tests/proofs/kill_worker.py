"""Makes real processes that sync: one fork for each line of standard input, after everything is imported once.

The command is the product's own. Batches are smaller than CommCare's 100 rows, so that a small site makes many
requests; `--broken no-intent` is the engine without its announcements, which the proof must notice.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
from pathlib import Path

import flows.attended
import flows.cli
import flows.show
import flows.sync
from flows.steps import push
from state import Store

BATCH = 10


def main() -> None:
    """Say "ready", then for each order {env, output} a process id and, when it has ended, its exit code."""
    push.BATCH = BATCH
    if "no-intent" in sys.argv:
        Store.stamp = lambda *_: None  # type: ignore[method-assign]
    _say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if not process:
            _sync(order["env"], Path(order["output"]))
        _say(str(process))
        _say(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])))


def _sync(env: dict[str, str], output: Path) -> None:
    """Be the command `moodle-commcare sync --yes --json`; never returns."""
    code = 70
    try:
        os.environ |= env
        random.seed()
        for number, flags in (
            (1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ):
            place = os.open(output.with_suffix(".json" if number == 1 else ".log"), flags, 0o600)
            os.dup2(place, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        logging.shutdown()
        sys.argv = ["moodle-commcare", "sync", "--yes", "--json"]
        flows.cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
