"""How fast mappings are: compiled against written by hand, and `mappings check` against an empty Python start.

Both are ratios within one run, so they mean the same on any machine: `python -m bench.mapping`, or `--json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import process_time
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.by_hand import student
from bench.fakes import PROJECT, SHIPPED
from flows.catalogue import field_catalogue
from mappings.engine import CompiledMapping, Context, load_project

HOUSE = Path(__file__).parent.parent
CONTEXT = Context("bench", "https://moodle.example.org", date(2026, 11, 22))
Make = Callable[[Mapping[str, Any], Context], object]

CODES = "code_lists: {gender: {F: female, M: male, otherwise: unknown}}\n"
MORE = (
    "properties:\n"
    "  gender: {source: profile.gender, transform: [{code_list: gender}], personal: false}\n"
    "  moodle_link: {template: '{site_url}/user/profile.php?id={id}'}\n"
)
SLOWEST_SHARE = 0.5  # of the speed of hand-written Python
MOST_STARTS = 12.0  # empty Python starts that a check may take

FIRST = ("Amina", "Baraka", "Chebet", "Zawadi", "Étienne", "  Neema", "Ngũgĩ", "Owen ")
LAST = ("Otieno", "Mwangi", "Kiplagat", "Achieng ", "Njoroge", "O'Kello", "d'Souza")
PHONES = (
    *("0722 000 1{:02}", "+2547220001{:02}", "0722-000-1{:02}", "00254 722 0002{:02}"),
    *("0722000 3{:02}", "254722000{:02}4", "+254 722 000 5{:02}", "", "", "12"),
)


def records(count: int) -> list[dict[str, Any]]:
    """Return made-up learners, some with fields that are blank, not sent or wrong."""
    chance = random.Random(7)
    return [_record(number, chance) for number in range(1, count + 1)]


def _record(number: int, chance: random.Random) -> dict[str, Any]:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    record: dict[str, Any] = {
        "id": number,
        "username": f"{first.strip()}.{last.strip()}.{number}",
        "firstname": first,
        "lastname": last,
        "email": f" {first.strip()}.{last.strip()}{number}@Example.org",
        "idnumber": f"CHW-{number:05}" if number % 3 else "",
        "phone1": chance.choice(PHONES).format(number % 90 + 10),
        "phone2": chance.choice(PHONES).format(number % 80 + 10),
        "city": chance.choice(("Bondo", "Kisumu\x0b", "Siaya", " ")),
        "country": "KE",
        "lang": chance.choice(("en", "sw_ke", "fr")),
        "suspended": number % 20 == 0,
        "lastaccess": None if number % 10 == 0 else 1760000000 + 977 * number,
        "roles": ["student"] if number % 25 else ["editingteacher"],
        "profile": {"gender": chance.choice(("F", "M", "x", ""))},
    }
    for name in chance.choices(list(record), k=2) if number % 10 == 0 else ():
        record.pop(name, None)
    if number % 50 == 0:
        record[chance.choice(("firstname", "lastname", "id", "lang"))] = None
    return record


def compiled(folder: Path) -> CompiledMapping:
    """Return the shipped student mapping with two properties more, compiled."""
    text = (SHIPPED / "student.yaml").read_text("utf-8").replace("properties:\n", MORE, 1)
    (folder / "student.yaml").write_text(text, "utf-8")
    (folder / "project.yaml").write_text(PROJECT + CODES, "utf-8")
    return load_project(folder, field_catalogue()).mappings[0]


def compare(rounds: int, people: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return records a second of both, best of some rounds taken in turns, after one to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        mapping = compiled(Path(folder))
        for person in people:
            assert student(person, CONTEXT) == mapping.draft(person, CONTEXT), person
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(_seconds(mapping.draft, people))
            theirs.append(_seconds(student, people))
    return {
        "properties": float(len(mapping.notes)),
        "compiled": len(people) / min(ours),
        "by_hand": len(people) / min(theirs),
        "share": min(theirs) / min(ours),
    }


def _seconds(make: Make, people: Sequence[Mapping[str, Any]]) -> float:
    started = process_time()
    for person in people:
        make(person, CONTEXT)
    return process_time() - started


def starts(rounds: int) -> dict[str, float]:
    """Return the CPU seconds of `mappings check` over the shipped files and of an empty Python, best of some."""
    with tempfile.TemporaryDirectory() as folder:
        for file in SHIPPED.glob("*.yaml"):
            shutil.copyfile(file, Path(folder) / file.name)
        (Path(folder) / "project.yaml").write_text(PROJECT, "utf-8")
        check, empty = [], []
        for _ in range(rounds):
            check.append(_process("-m", "flows", "mappings", "check", folder))
            empty.append(_process("-c", ""))
    return {"check": min(check), "empty": min(empty), "starts": min(check) / min(empty)}


def _process(*words: str) -> float:
    """Run Python to its end and return the seconds it took the processor."""
    before = getrusage(RUSAGE_CHILDREN)
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(HOUSE)}
    subprocess.run([sys.executable, *words], check=True, cwd=HOUSE, env=environment, capture_output=True)  # noqa: S603
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(speed: Mapping[str, float], start: Mapping[str, float]) -> Table:
    """Draw both comparisons."""
    drawn = Table("", "mapping", "compared with", "ratio", "wanted")
    drawn.add_row(
        f"student, {speed['properties']:.0f} properties, records/s",
        f"{speed['compiled']:,.0f}",
        f"{speed['by_hand']:,.0f} by hand",
        f"{speed['share']:.2f}",
        f"at least {SLOWEST_SHARE}",
    )
    drawn.add_row(
        "mappings check, whole process, CPU s",
        f"{start['check']:.3f}",
        f"{start['empty']:.3f} empty Python",
        f"{start['starts']:.1f}",
        f"at most {MOST_STARTS:.0f}",
    )
    return drawn


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print; exit code 1 when a ratio is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=5000, help="records to map")
    parser.add_argument("--rounds", type=int, default=7, help="the best of so many counts")
    parser.add_argument("--json", action="store_true", help="print the figures as one object")
    options = parser.parse_args(given)
    speed, start = compare(options.rounds, records(options.people)), starts(options.rounds)
    if options.json:
        print(json.dumps({"mapping": speed, "check": start, "at": datetime.now(UTC).isoformat()}))
    else:
        Console().print(table(speed, start))
    if speed["share"] < SLOWEST_SHARE or start["starts"] > MOST_STARTS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
