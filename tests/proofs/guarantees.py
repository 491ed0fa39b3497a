"""Writes docs/guarantees.md from the figures of the proofs: `python -m tests.proofs.guarantees`, or `make soak`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.proofs.figures import FOLDER, Figures
from tests.proofs.mutants import MUTANTS

PAGE = Path(__file__).parent.parent.parent / "docs" / "guarantees.md"
TITLES = {
    "faults-single": "Fault explorer: every single fault",
    "faults-pairs": "Fault explorer: pairs of faults",
    "faults-random": "Fault explorer: random schedules of 3 to 8 faults",
    "machine": "State machine: random lives of a school",
    "kill-sqlite": "Real processes killed, SQLite",
    "kill-postgresql": "Real processes killed, PostgreSQL",
}
HEADER = "| proof | tried | faults fired | duplicates | lost | wrong | writes on an unchanged pass | minutes |"
TOP = """# What is guaranteed, and how that is known

*This page is made by `make soak` from what the proofs counted; no figure in it is written by hand.*

Whatever fails, wherever it fails: CommCare ends up as the mappings make it of Moodle, with at most one case for a key,
without a write when nothing changed, and without anybody marked as gone who is not gone. The proofs run the engine
itself, not a model of it, against a strict Moodle and a strict CommCare in the same machine, on a clock of their own.

## What the proofs counted
"""
MUTANTS_TOP = """
A proof that cannot fail proves nothing. So rules of the engine are broken on purpose, one by one, and the explorer
must notice each: {killed} of {all} mutants were noticed.

| broken rule | noticed |
|---|---|
"""
REST = """
## Proven: tried in all places, or in very many

A *fault* strikes at a request or at a commit of the books. Each request to Moodle and to CommCare and each
transaction of the books is such a point, in three runs after each other of a school with five cases, in three
stories: a first load followed by changes, a change that is taken back, and somebody who leaves and comes back.

| where | what strikes there |
|---|---|
| a write to CommCare | not applied, applied, or applied 30, 299 or 900 seconds later; and then no answer, a 503, a 504, a 500, half an answer, or the end of the process; or a 429 with a short or a long wait, a refused connection, the run stopped, a second worker, a worker that stood still for longer than its lease |
| a read from CommCare | 503, 429, no answer, out of order for the whole run, the end of the process, the run stopped |
| a read from Moodle | 503, no answer, an error for the whole run, a row left out without a word once or from then on, the school changing meanwhile, the end of the process, the run stopped, a second worker, a worker that stood still |
| a commit of the books | the end of the process just before or just after it, a full disk, the run stopped |

At every moment, and after the faults have stopped:

- at most one case has a key (I1); one clean run later CommCare is as the mapping makes it (I2), for those who are gone
  after a second one; the run after that sends nothing (I3);
- when a run calls itself completed, or a course is checked off, each wanted row is sent, in doubt or a problem (I4);
- nobody is marked as left who was not missing from two reads in a row, or whose whole course is gone without a
  person's word (I5);
- no child is sent before its parent is known (I6); the books never take one case for another (I7); nothing older
  overwrites something newer (I8); a course that fails changes nothing for the others (I9);
- no row is sent twice in a run unless CommCare said a certain no (I11); two workers never write at a time (I12).

Schedules that lead to the same books, the same CommCare and the same writes under way have the same future: it is
explored once, and all of them count as tried. A test goes the long way for some of them and compares.

## Argued, not proven

- A power cut: the books are on disk before a request goes out (SQLite with `synchronous=FULL`). Killing a process, as
  the proofs do, leaves what the operating system still holds in memory; a power cut does not.
- Two databases of one engine: the explorer works on SQLite in memory; the tests of the books and the killed processes
  run on files and, where its programs are on the machine, on PostgreSQL.
- Larger schools: five cases have parents, children and several requests under way. That what holds for them holds
  for five thousand is argued from the code, which knows batches and rows and no numbers of them.

## Assumed

- **Q.** CommCare has finished with a request, or given it up, within 20 minutes (`IN_DOUBT_REST_S`) of its being sent.
  Its own lock on a form holds for 15. A write that took effect later than that could make a second case; the weekly
  audit lists such cases.
- A worker that stands still *between* its last look at the lease and its request, for longer than Q, sends what it had
  in hand. CommCare takes no token that would stop it.
- Moodle's list of the ids in a course is complete whenever it comes without an error. One that is silently short counts
  as a read that lacks somebody; that is why it takes two in a row, and a person's word when many are gone.
"""


def page(figures: Iterable[Figures]) -> str:
    """Return the page; figures of proofs that were not run have no line."""
    by_name = {one.name: one for one in figures}
    lines = [HEADER, "|---|" + "---:|" * (HEADER.count("|") - 2)]
    lines += [_line(title, by_name[name]) for name, title in TITLES.items() if name in by_name]
    notes = [_note(title, by_name[name]) for name, title in TITLES.items() if name in by_name]
    rows = [f"| {mutant.name} | {_noticed(by_name, mutant.name)} |" for mutant in MUTANTS]
    killed = sum(row.endswith("| yes |") for row in rows)
    told = "\n".join(note for note in notes if note)
    top = f"{TOP}\n" + "\n".join(lines) + (f"\n\n{told}\n" if told else "\n")
    return top + MUTANTS_TOP.format(killed=killed, all=len(MUTANTS)) + "\n".join(rows) + "\n" + REST


def _line(title: str, one: Figures) -> str:
    counts = (one.tried, one.fired, one.duplicates, one.lost, one.wrong, one.writes_on_unchanged)
    minutes = f"{one.seconds / 60:.1f}" if one.seconds else "with the next"
    return f"| {title} | " + " | ".join(f"{count:,}" for count in counts) + f" | {minutes} |"


def _note(title: str, one: Figures) -> str:
    told = ", ".join(f"{name} {_number(value)}" for name, value in one.notes.items())
    return f"- {title}: {told}" if told else ""


def mutant_file(name: str) -> str:
    """Return the name under which the figures of a mutant are kept."""
    return f"mutants-{name.replace(' ', '-')}"


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _noticed(by_name: dict[str, Figures], name: str) -> str:
    one = by_name.get(mutant_file(name))
    return "not run" if one is None else "yes" if one.fired else "**no**"


def found(folder: Path = FOLDER) -> list[Figures]:
    """Read the figures of all proofs that were run."""
    return [Figures(**json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))]


def main() -> int:
    """Write the page; 1 when there are no figures to make it of."""
    figures = found()
    if not figures:
        sys.stderr.write("No proof was run yet: `make soak` runs them all.\n")
        return 1
    PAGE.write_text(page(figures), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
