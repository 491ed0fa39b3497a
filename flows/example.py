"""`mappings example`: a live record becomes a test in the mapping file, with nobody's data in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from flows.errors import UsageError
from flows.live import course_in, look_at, mapping_named, not_found, person_in, watch
from flows.mapping_tests import Tested, run, write_text
from flows.settings import Settings
from flows.steps.pull import Enough
from mappings.engine import CompiledMapping, Context, Draft, Excluded, Project
from mappings.engine.examples import Examples
from mappings.engine.expectations import full_expectation
from mappings.engine.pseudonyms import Pseudonyms
from mappings.engine.reading import read_text
from mappings.engine.yaml_text import block, scalar, spans


@dataclass(frozen=True)
class Written:
    """What was written: into which file, under which name, what the test expects in a word, and its lines."""

    path: Path
    name: str
    outcome: str
    lines: Sequence[str]


def run_example(settings: Settings, stream: str, number: int, courses: Sequence[int]) -> Written:
    """Read the record of a person (or course) and append a test to its mapping; raises UsageError."""
    records: list[tuple[dict[str, Any], date, str]] = []
    found: list[CompiledMapping] = []

    def make(project: Project) -> list[CompiledMapping]:
        mapping = mapping_named(project, stream)
        found.append(mapping)

        def see(record: Mapping[str, Any], context: Context) -> None:
            if person_in(record, mapping.source) == number:
                records.append((dict(record), context.today, course_in(record)))
                if mapping.source == "users" or mapping.is_table:
                    raise Enough

        return [watch(mapping, see, wants=lambda record: person_in(record, mapping.source) == number)]

    _, result = look_at(settings, make, courses=courses, first=number)
    if not records:
        where = "this course" if courses else "the courses that project.yaml chooses"
        raise UsageError(not_found(number, found[0].source, result, where))
    if len(records) > 1 and len({where for *_, where in records}) > 1 and not courses:
        places = "; ".join(where for *_, where in records[:8])
        raise UsageError(f"There are several records of {number}: {places}. Choose one with --course.")
    record, today, _ = records[0]
    (tested,) = run(Path(settings.mappings_dir), found[0].name)
    return add_test(tested, record, today)


def add_test(tested: Tested, record: Mapping[str, Any], today: date) -> Written:
    """Append a test made of a record to a mapping file; raises UsageError when the file cannot take one."""
    examples, spec = tested.examples, tested.file.spec
    if examples is None or spec is None:
        raise UsageError(f"{tested.path} has mistakes; put them right first.")
    pseudonyms = Pseudonyms(examples.mapping, examples.catalogue, len(spec.tests))
    given = pseudonyms.record(record)
    day = today if examples.mapping.recheck_daily else None
    name = _name(today, {test.name for test in spec.tests})
    expect = expectation(examples, given, day)
    test: dict[str, Any] = (
        {"name": name} | ({"today": str(day)} if day else {}) | {"given": given, "expect": expect}
    )
    text = read_text(tested.path)
    after, lines = _appended(tested.path, text, test)
    write_text(tested.path, after)
    made = "a row" if examples.mapping.is_table else "a case"
    return Written(tested.path, name, next(iter(expect)) if len(expect) == 1 else made, lines)


def expectation(examples: Examples, given: Mapping[str, Any], today: date | None) -> dict[str, Any]:
    """Return what the mapping makes of a test's record now, as `expect` says it."""
    made = examples.outcome(given, today)
    if not isinstance(made, Draft):
        return {"excluded" if isinstance(made, Excluded) else "held_back": True}
    sent = {examples.mapping.definition_of(name) for name in made.properties}
    spec = examples.mapping.spec
    silent = [
        name for name, each in spec.properties.items()
        if name not in sent and each.one_property_per is None and each.retire is None
    ]  # fmt: skip
    return full_expectation(made, examples.site, examples.mapping) | ({"not_sent": silent} if silent else {})


def _name(today: date, taken: set[str]) -> str:
    name = f"a live record of {today:%Y-%m-%d}, made anonymous"
    number = 2
    while name in taken:
        name, number = f"a live record of {today:%Y-%m-%d}, made anonymous, {number}", number + 1
    return name


def _appended(path: Path, text: str, test: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the text with a test after the last one, and the lines that are new."""
    places = spans(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    if ("tests",) not in places:
        lines = ["tests:", *_item(test, 2)]
        start = text.rstrip("\r\n ") + newline * 2
        return start + newline.join(lines) + newline, lines
    tests = places["tests",]
    if tests.is_flow:
        raise UsageError(f"{path}: write the tests as a list with dashes, one below the other, to have one added.")
    indent = tests.start - (text.rfind("\n", 0, tests.start) + 1)
    lines = _item(test, indent)
    at = text.find("\n", tests.end)
    at = len(text) if at < 0 else at + 1
    before = text[:at] if text[:at].endswith("\n") else text[:at] + newline
    return before + newline.join(lines) + newline + text[at:], lines


def _item(test: Mapping[str, Any], indent: int) -> list[str]:
    """Return a test as an entry of the list."""
    lines = [f"{' ' * indent}- name: {scalar(test['name'])}"]
    for part in ("today", "given", "expect"):
        if part in test:
            value = test[part]
            lines += block({part: value}, indent + 2)
    return lines
