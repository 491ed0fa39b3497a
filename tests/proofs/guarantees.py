"""Writes docs/guarantees.md from the figures of the proofs, and from the words in guarantees.txt: `make soak`.

The figures themselves are kept beside the page, so that proofs of several days and machines come together in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from tests.proofs.figures import FOLDER, Figures, digest_here
from tests.proofs.mutants import MUTANTS

WORDS = Path(__file__).with_suffix(".txt")
PAGE = Path(__file__).parent.parent.parent / "docs" / "guarantees.md"
RECORD = PAGE.with_suffix(".json")
TITLES = {
    "faults-single": "Fault explorer: every single fault",
    "faults-pairs": "Fault explorer: pairs of faults",
    "faults-random": "Fault explorer: random schedules of 3 to 8 faults",
    "machine": "State machine: random lives of a school",
    "walks": "Random walks: hints, terms, erasures, other keys, tables",
    "kill-sqlite": "Real processes killed, SQLite",
    "kill-postgresql": "Real processes killed, PostgreSQL",
    "moments": "Clock set, worker overtaken, at each step of a run",
}
OTHERS = (
    "lives nothing is recovered",
    "lives one read is enough to be gone",
    "lives writes are not announced",
    "lives a write in doubt keeps its digests",
    "lives answers are matched by position",
    "walks a tombstone is not heeded",
    "walks a hint is dropped before it is read",
    "walks an answer about a term is taken for both courses",
    "walks rotated keys are not carried",
    "walks a row is added without looking",
    "kills no rest",
    "kills no announcement",
)
"""Rules that are broken beneath another proof than the explorer, behind the name of that one."""
NAMES = (*(mutant.name for mutant in MUTANTS), *OTHERS)
HEADER = (
    "| proof | tried | faults fired | duplicates | lost | wrong | writes on an unchanged pass | minutes | code |"
)


def page(figures: Iterable[Figures]) -> str:
    """Return the page; of a proof that was not run it says so."""
    by_name = {one.name: one for one in figures}
    lines = [HEADER, "|---|" + "---:|" * (HEADER.count("|") - 2)]
    lines += [_line(title, by_name.get(name)) for name, title in TITLES.items()]
    notes = [_note(title, by_name[name]) for name, title in TITLES.items() if name in by_name]
    rows = [_mutant_line(name, by_name.get(mutant_file(name))) for name in NAMES]
    places = {
        "counted": "\n".join(lines) + "".join(f"\n{note}" for note in ("", *filter(None, notes))),
        "mutants": "\n".join(rows),
        "killed": str(sum("| yes |" in row for row in rows)),
        "all": str(len(NAMES)),
    }
    text = WORDS.read_text("utf-8")
    for name, told in places.items():
        text = text.replace(f"@{name}@", told)
    return text


def _line(title: str, one: Figures | None) -> str:
    if one is None:
        return f"| {title} | not run |" + " |" * (HEADER.count("|") - 3)
    counts = (one.tried, one.fired, one.duplicates, one.lost, one.wrong, one.writes_on_unchanged)
    minutes = f"{one.seconds / 60:.1f}" if one.seconds else "with the next"
    return f"| {title} | " + " | ".join(f"{count:,}" for count in counts) + f" | {minutes} | {one.code} |"


def _mutant_line(name: str, one: Figures | None) -> str:
    if one is None:
        return f"| {name} | not run | | |"
    return f"| {name} | {'yes' if one.fired else '**no**'} | {one.seconds:.0f} | {one.code} |"


def _note(title: str, one: Figures) -> str:
    told = ", ".join(f"{name} {_number(value)}" for name, value in one.notes.items())
    return f"- {title}: {told}" if told else ""


def mutant_file(name: str) -> str:
    """Return the name under which the figures of a mutant are kept: of one that the page lists."""
    assert name in NAMES, f"the page has no line for the mutant {name!r}"
    return f"mutants-{name.replace(' ', '-')}"


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def found(folder: Path = FOLDER) -> list[Figures]:
    """Read the figures of all proofs that were run here."""
    return [Figures(**json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))]


def recorded(record: Path = RECORD) -> list[Figures]:
    """Read the figures that the page was last made of."""
    return [Figures(**one) for one in json.loads(record.read_text("utf-8"))] if record.exists() else []


def together(
    before: Iterable[Figures], now: Iterable[Figures], here: Callable[[str], str] = digest_here
) -> list[Figures]:
    """Return the figures of the page: of each proof those of this code, and of them those that tried most."""
    best = dict[str, Figures]()
    for one in (*before, *now):
        known = best.get(one.name)
        if known is None or (known.code == here(one.name), known.tried) <= (one.code == here(one.name), one.tried):
            best[one.name] = one
    shown = {*TITLES, *map(mutant_file, NAMES)}
    return [best[name] for name in sorted(best.keys() & shown)]


def main() -> int:
    """Write the page and its record; 1 when there are no figures to make them of."""
    figures = together(recorded(), found())
    if not figures:
        sys.stderr.write("No proof was run yet: `make soak` runs them all.\n")
        return 1
    told = ",\n".join(json.dumps(asdict(one), sort_keys=True) for one in figures)
    RECORD.write_text(f"[\n{told}\n]\n", "utf-8")
    PAGE.write_text(page(figures), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
