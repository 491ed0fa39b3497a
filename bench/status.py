"""How long the status takes on books of 1,000 courses and 400,000 cases: `python -m bench.status`."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.metrics import metrics_text
from flows.page import page
from flows.status import Status, read_status
from flows.status_charts import runs_picture
from flows.status_json import status_json
from state import Ack, Intent, RowId, Store

HOUR = 3600.0
NOW = 1_790_000_000.0
REASONS = ("not_a_phone_number", "unknown_code", "owner_unresolved", "waits_for_parent", "value_too_long")
PROPERTIES = 12


def fill(store: Store, courses: int, cases: int) -> None:
    """Write books of so many courses and cases, with problems, writes in doubt, and runs."""
    chance = random.Random(7)
    store.start_run("first", NOW - 100 * HOUR, "r1")
    per_course = cases // (courses + 1)
    digests = {f"property_{number}": chance.randbytes(16) for number in range(PROPERTIES)}
    for course in range(courses + 1):
        mapping = "enrolment" if course else "student"
        rows = [RowId(mapping, course, f"bench-{mapping}-{course}-{number}") for number in range(per_course)]
        acks = [
            Ack(row, f"case-{course}-{number}", "owner", digests, "left" if number % 50 == 0 else "active", number)
            for number, row in enumerate(rows)
        ]
        store.acknowledge(acks, NOW - HOUR)
        found = [(row.key, "phone", chance.choice(REASONS), "") for row in rows[::100]]
        store.set_problems(mapping, course, found, NOW - HOUR)
        store.checkpoint(course, "first", NOW - chance.expovariate(1 / (5 * HOUR)), range(1, per_course + 1))
    store.stamp(
        "first-1", [Intent(RowId("enrolment", 1, f"doubt-{number}"), 1, "update") for number in range(40)], NOW
    )
    _runs(store, courses)


def _runs(store: Store, courses: int) -> None:
    chance = random.Random(8)
    ends = ["completed"] * 20 + ["degraded"] * 5 + ["waiting", "postponed", "failed"]
    for number in range(60):
        began = NOW - (60 - number) * HOUR
        store.start_run(f"run-{number}", began, "r1")
        of_courses = {
            str(course): {"state": "completed", "people": 40, "seconds": 1.0} for course in range(courses)
        }
        state = chance.choice(ends)
        if state == "degraded":
            of_courses["7"] |= {"state": "failed", "reason": "Moodle gave no answer."}
        counts: dict[str, Any] = {
            "courses": of_courses,
            "requests": {
                "moodle": {"core_enrol_get_enrolled_users": 3 * courses},
                "commcare": {"write": number % 9},
            },
            "cases": {
                "student": {"created": number % 3, "updated": chance.randrange(400), "held_back": number % 2}
            },
            "messages": [] if state == "completed" else ["Not read: course 7. Moodle gave no answer."],
        }
        store.finish_run(f"run-{number}", began + chance.uniform(200, 900), state, counts)


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do something, print how long it took, and return what came of it."""
    started = time.perf_counter()
    result = work()
    size = f", {len(result) / 1000:,.0f} kB" if isinstance(result, str) else ""
    print(f"{what:<28}{time.perf_counter() - started:8.3f} s{size}")
    return result


def main() -> None:
    """Fill books in a folder that is deleted again, or in one that stays, and measure."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--courses", type=int, default=1_000)
    words.add_argument("--cases", type=int, default=400_000)
    words.add_argument("--keep", type=Path, help="where to leave books and page")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        url = f"sqlite:///{folder / 'state.db'}"
        if not (folder / "state.db").exists():
            with Store.open(url, key=bytes(32)) as store:
                timed("filling", lambda: fill(store, given.courses, given.cases))
        store = timed("opening the books", lambda: Store.open(url, key=bytes(32)))
        about = ("https://moodle.example.org", "https://www.commcarehq.org", "bench")
        found: Status = timed("reading the status", lambda: read_status(store, None, NOW, about=about, url=url))
        made: str = timed("page, first time", lambda: page(found))
        timed("page", lambda: page(found))
        timed("picture of the runs", lambda: runs_picture(found))
        timed("metrics", lambda: metrics_text(found))
        timed("json", lambda: str(status_json(found)))
        if given.keep:
            (folder / "status.html").write_text(made, encoding="utf-8")
        store.close()


if __name__ == "__main__":
    main()
