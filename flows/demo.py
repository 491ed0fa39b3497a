"""The whole story on local fakes: a first sync, nothing to do, a few changes, somebody leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adaptors.commcare.fake_project import Case
from flows.endings import command
from flows.open import open_world
from flows.result import Result
from flows.sandbox import CHANGES, Sandbox, make_sandbox, serving
from flows.settings import load_settings
from flows.sync import Options, sync
from flows.words import numbered

EXAMPLE = 4  # the learner whose cases are shown
SHOWN = ("contact_phone_number", "moodle_status", "enrolment_status", "grade_percent", "result")
COUNTED = {"created": "created", "updated": "updated", "marked_left": "marked as left", "unchanged": "unchanged"}
ROWS = 10  # more rows than these are not shown one by one


class DemoFailed(Exception):
    """A sync of the demo did other than it says."""


async def run_demo(folder: Path, console: Console) -> None:
    """Tell the story; raises DemoFailed when a step does other than it says."""
    sandbox = make_sandbox()
    with serving(sandbox, folder) as env:
        teller = Teller(sandbox, env, console)
        courses, learners = len(sandbox.courses), len(sandbox.learners)
        console.print(f"A made-up Moodle with {courses} courses and {learners} learners, and an empty CommCare.")
        await _first(teller)
        await _nothing_to_do(teller)
        await _changes(teller)
        await _somebody_left(teller)
    name = command()
    console.print(f"\n[bold]Next:[/] {name} sandbox   to try it yourself")
    console.print(f"      {name} init      for your own site")


async def _first(teller: Teller) -> None:
    teller.title("1  The first sync: every learner and every enrolment becomes a case")
    result = await teller.sync()
    project = teller.sandbox.project
    expect((len(project.of_type("student")), len(project.of_type("enrolment"))) == (12, 24), result)
    teller.lines("Example", _example(teller.sandbox))


async def _nothing_to_do(teller: Teller) -> None:
    teller.title("2  Once more: nothing has changed in Moodle, so nothing is sent")
    result = await teller.sync()
    expect(not result.requests["commcare"], result)


async def _changes(teller: Teller) -> None:
    teller.title("3  Something happens in Moodle, and only that is sent")
    for _, make in CHANGES:
        make(teller.sandbox)
    teller.lines("Moodle", [Text(told) for told, _ in CHANGES])
    result = await teller.sync()
    students, enrolments = result.of("student"), result.of("enrolment")
    expect((students.updated, enrolments.created, enrolments.updated) == (1, 1, 1), result)
    teller.lines("Noted", [Text("Lucy is missing from one complete read; that is not yet believed")])


async def _somebody_left(teller: Teller) -> None:
    teller.title("4  Missing from a second complete read, Lucy has left; nothing else is sent")
    result = await teller.sync()
    both = [result.of("student"), result.of("enrolment")]
    expect([(c.created, c.updated, c.marked_left) for c in both] == [(0, 0, 1)] * 2, result)


def expect(promise: bool, result: Result) -> None:
    """Raise DemoFailed unless a promise was kept."""
    if not promise:
        raise DemoFailed(f"The demo did not do what it says; the run's result: {result.as_json()}")


class Teller:
    """Runs syncs as the command does, and shows what each of them sent."""

    def __init__(self, sandbox: Sandbox, env: Mapping[str, str], console: Console) -> None:
        self.sandbox = sandbox
        self._console = console
        self._settings = load_settings(env, None)

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._console.print(f"\n[bold cyan]{text}[/]")

    def lines(self, label: str, lines: Iterable[Text]) -> None:
        """Print lines beside a label."""
        table = Table.grid(padding=(0, 1))
        for number, line in enumerate(lines):
            table.add_row(Text(f"   {'' if number else label:<8}", "bold"), line)
        self._console.print(table)

    async def sync(self) -> Result:
        """Run one sync; show the rows that were sent, the counts and the requests."""
        before = len(self.sandbox.project.forms)
        world = open_world(self._settings)
        try:
            result = await sync(world, Options(yes=True))
        finally:
            await world.close()
        rows = [row for form in self.sandbox.project.forms[before:] for row in form.rows]
        if len(rows) <= ROWS:
            told = sorted((self._told(row) for row in rows), key=lambda line: line.plain, reverse=True)
            self.lines("Sent", told or [Text("nothing")])
        self.lines("Cases", [Text(_counts(result))])
        self.lines("Requests", [Text(_requests(result))])
        return result

    def _told(self, row: Mapping[str, Any]) -> Text:
        """Return what a row is about and what it changes, by the names of the properties."""
        project = self.sandbox.project
        found = (
            [project.cases[row["case_id"]]] if row.get("case_id") else project.by_external_id(row["external_id"])
        )
        case = found[0]
        about = case.case_name
        if case.case_type == "enrolment":
            about = f"{project.cases[case.indices['student']['case_id']].case_name}, {about}"
        changed = ["case_name"] * ("case_name" in row) + sorted(row.get("properties", {}))
        what = "new case" if row["create"] is None else ", ".join(changed)
        return Text.assemble(f"{case.case_type} {about}: ", (what, "green"))


def _counts(result: Result) -> str:
    parts = []
    for name, heading in COUNTED.items():
        numbers = {case_type: getattr(counts, name) for case_type, counts in result.cases.items()}
        found = [numbered(count, case_type) for case_type, count in numbers.items() if count]
        parts += [f"{' and '.join(found)} {heading}"] if found else []
    return "; ".join(parts)


def _requests(result: Result) -> str:
    moodle, commcare = (sum(result.requests[system].values()) for system in ("moodle", "commcare"))
    writes = result.requests["commcare"].get("write", 0)
    of_them = f" ({numbered(writes, 'write')})" if commcare else ""
    return f"{moodle} to Moodle, {commcare} to CommCare{of_them}; {result.seconds:.1f} s"


def _example(sandbox: Sandbox) -> Sequence[Text]:
    """Show the cases of one learner."""
    (student,) = sandbox.project.by_external_id(f"demo-user-{sandbox.learners[EXAMPLE]}")
    enrolments = [
        case
        for case in sandbox.project.of_type("enrolment")
        if case.indices["student"]["case_id"] == student.case_id
    ]
    return [_shown(student), *(_shown(case) for case in enrolments)]


def _shown(case: Case) -> Text:
    values = [f"{name} {case.properties[name]}" for name in SHOWN if case.properties.get(name)]
    return Text.assemble(f"{case.case_type} ", (case.case_name, "bold"), f": {', '.join(values)}")
