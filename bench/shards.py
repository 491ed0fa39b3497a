"""One process against several that share a run: seconds of a first load and of a run without changes.

Run as `python -m bench.shards`; Moodle takes its time as a server with `--cores` does; all are on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from bench.fakes import Fakes, serving
from bench.site import Load


def measured(fakes: Fakes, shards: int) -> dict[str, Any]:
    """Run once and return what it took, as the one that opened the run tells it."""
    helpers = [_start(fakes, "shard", "--wait", "60") for _ in range(shards - 1)]
    opener = _start(fakes, "sync", "--yes", "--full", *(("--shards", str(shards)) if shards > 1 else ()))
    result = json.loads(opener.communicate(timeout=600)[0])
    for helper in helpers:
        helper.communicate(timeout=60)
    assert result["state"] == "completed", result["messages"]
    begun = [row["begun"] for row in result.get("shards", [])]
    moodle = sum(result["requests"]["moodle"].values())
    return {"shards": shards, "seconds": result["seconds"], "moodle": moodle, "begun": begun}


def _start(fakes: Fakes, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows", *words, "--json"]
    env = os.environ | fakes.settings
    return subprocess.Popen(  # noqa: S603 - ourselves
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def main(given: list[str] | None = None) -> None:
    """Measure as the command asks, and print a line of JSON for each run."""
    parser = argparse.ArgumentParser(prog="python -m bench.shards", description=__doc__)
    for name, usual in (("courses", 40), ("people", 100), ("grades", 5), ("cores", 8)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args(given)
    for shards in asked.shards:
        with serving(Load(asked.courses, asked.people, asked.grades), slow=True, cores=asked.cores) as fakes:
            for run in ("first load", "no change"):
                print(json.dumps({"run": run, **measured(fakes, shards)}), flush=True)


if __name__ == "__main__":
    main()
