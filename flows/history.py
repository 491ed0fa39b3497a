"""What happened to one case, or in one run: the log of the books, told with what is so now."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from flows.errors import UsageError
from flows.open import has_books, open_project, open_store
from flows.problems import moment
from flows.settings import Settings
from flows.words import listed
from mappings.engine import MappingError
from state import Change, Kind, Store

FRAME = {"@name": "case_name", "@owner": "owner", "@type": "case_type"}
WHAT = {
    "create": "new case",
    "update": "updated",
    "retype": "given another case type",
    "left": "marked as left",
    "withdrawn": "withdrawn",
    "ended": "course over",
    "closed": "closed",
    "erase": "emptied (erasure)",
    "adopt": "case looked up",
    "merge": "person merged",
    "unmerge": "merge taken back",
    "renew": "next case begun",
    "retry": "to be sent again",
    "recreate": "to be made anew",
    "drop": "problem dropped",
    "doubt": "audit: differs",
    "link": "linked",
    "unlink": "unlinked",
    "reject": "case rejected",
}
DECIDED = ("link", "unlink", "reject")  # about a match; the reason in the log is who said so
ANSWERS = {
    "taken": "taken",
    "closed": "taken; is closed",
    "unknown": "no answer",
    "found": "has this case",
    "noted": "",
}


@dataclass(frozen=True)
class Standing:
    """How a row is now: its status, "" when it has none yet; what is under way or refused (epoch, 0.0 for no)."""

    mapping: str
    course: int
    status: str = ""
    case_id: str = ""
    owner_id: str = ""
    generation: int = 1
    waits_since: float = 0.0
    refused: str = ""
    problems: int = 0


@dataclass(frozen=True)
class Past:
    """What the log has of a key, the newest last, and how its rows are now; `begins` is when the log does."""

    key: str
    changes: Sequence[Change]
    now: Sequence[Standing]
    begins: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        return {
            "key": self.key,
            "log_begins": None if self.begins is None else moment(self.begins),
            "now": [
                {**vars_of(one), "waits_since": moment(one.waits_since) if one.waits_since else None}
                for one in self.now
            ],
            "changes": [change_json(one) for one in self.changes],
        }


@dataclass(frozen=True)
class PastRun:
    """What one run did: how often each thing, and the first changes."""

    run_id: str
    counts: Counter[Kind]
    changes: Sequence[Change]

    @property
    def total(self) -> int:
        """Return how many changes there are in all."""
        return self.counts.total()

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        counts = [{**kind._asdict(), "changes": count} for kind, count in self.counts.most_common()]
        return {
            "run": self.run_id,
            "changes_in_all": self.total,
            "counts": counts,
            "changes": [change_json(one) for one in self.changes],
        }


def vars_of(one: Standing) -> dict[str, Any]:
    """Return the fields of a standing."""
    return {name: getattr(one, name) for name in Standing.__dataclass_fields__}


def change_json(one: Change) -> dict[str, Any]:
    """Return a change for `--json`."""
    return {
        "at": moment(one.at),
        "key": one.row.key,
        "mapping": one.row.mapping,
        "course": one.row.scope,
        "what": one.op,
        "answer": one.answer,
        "reason": one.reason,
        "properties": names_of(one),
        "generation": one.generation,
        "run": one.run,
        "request": one.batch,
        "form_id": one.form_id,
        "mappings": one.revision,
    }


def what_happened(one: Change) -> str:
    """Return in a few words what was meant; of a match also whether a rule or a person decided it."""
    by = f" by a {one.reason}" if one.op in DECIDED and one.reason else ""
    return f"{WHAT.get(one.op, one.op)}{by}"


def answer_of(one: Change) -> str:
    """Return in a few words what CommCare answered."""
    if one.answer == "refused":
        return f"refused: {one.reason}"
    form = f", form {one.form_id[:8]}" if one.form_id else ""
    return f"{ANSWERS.get(one.answer, one.answer)}{form}"


def names_of(one: Change) -> list[str]:
    """Return what a change was about, the frame of the case first, as people call it."""
    frame = [FRAME[name] for name in FRAME if name in one.names]
    indices = [f"index {name.removeprefix('@index:')}" for name in one.names if name.startswith("@index:")]
    return [*frame, *indices, *(name for name in one.names if not name.startswith("@"))]


# --- asking ---------------------------------------------------------------------------------------------------


def open_books(settings: Settings) -> Store:
    """Open the books for a look; UsageError where there are none, and none are made."""
    if not has_books(settings):
        raise UsageError("There are no books yet: the first run makes them.")
    return open_store(settings)


def zone_of(settings: Settings) -> tuple[tzinfo, str]:
    """Return the project's time zone and its name; UTC while the mappings cannot be read."""
    try:
        zone = open_project(settings).time_zone
    except MappingError:
        return UTC, "UTC"
    return zone, zone.key


def local(seconds: float, zone: tzinfo) -> str:
    """Return a time in a time zone, to the minute."""
    return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M}"


def past_of(store: Store, text: str) -> Past:
    """Return what is known of a key, or of the key of a CommCare case id; UsageError with near ones otherwise."""
    given = text.strip()
    for key in dict.fromkeys((given, given.partition("~")[0], store.key_of_case(given) or given)):
        changes, rows = store.history(key), store.rows_of_key(key)
        if changes or rows:
            return Past(key, changes, _standings(store, key), store.log_begins())
    raise UsageError(_unknown(store, given))


def past_of_run(store: Store, text: str, most: int) -> PastRun:
    """Return what a run did; its name may be cut short at the front. UsageError with the newest runs otherwise."""
    runs = store.runs_like(text.strip())
    if len(runs) > 1 and text.strip() in runs:
        runs = [text.strip()]
    if len(runs) != 1:
        there = listed(runs or store.runs_like(""), 5) or "none yet"
        word = "Several runs are called like that" if runs else "The log has nothing of such a run"
        raise UsageError(f"{word}; runs that changed something, the newest first: {there}.")
    changes, counts = store.history_of_run(runs[0], most)
    return PastRun(runs[0], counts, changes)


def _standings(store: Store, key: str) -> list[Standing]:
    """Return how the rows of a key are now."""
    intents, found = store.intents(), list[Standing]()
    refusals = {one.row: one for one in store.refusals() if one.row.key == key}
    problems = Counter(one.row for one in store.problems() if one.row.key == key)
    rows = {*store.rows_of_key(key), *refusals, *problems}
    for row in sorted(rows):
        case = store.cases(row.mapping, row.scope, [key]).get(key)
        found.append(
            Standing(
                row.mapping,
                row.scope,
                "" if case is None else case.status,
                "" if case is None else case.case_id,
                "" if case is None else case.owner_id,
                1 if case is None else case.generation,
                waits_since=intents[row].last_sent_at if row in intents else 0.0,
                refused=refusals[row].reason if row in refusals else "",
                problems=problems[row],
            )
        )
    return found


def _unknown(store: Store, given: str) -> str:
    """Say that a key is unknown, with those that are near, or the form that keys have."""
    near = store.keys_like(given, most=50) if given else []
    near = difflib.get_close_matches(given, near, n=5, cutoff=0.0)
    if near:
        return f"Nothing is known of '{given}'. Near it: {', '.join(near)}."
    examples = [f"{key} ({mapping})" for mapping, key in store.example_keys().items()]
    if not examples:
        return f"Nothing is known of '{given}': the books know no case yet."
    return f"Nothing is known of '{given}'. Keys are the cases' external ids, such as {listed(examples, 4)}."
