"""The whole story on local fakes: first sync, nothing to do, a few changes, somebody leaves."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from adaptors.commcare.fake_project import Case
from flows.open import open_world
from flows.result import Result
from flows.sandbox import Sandbox, make_sandbox, serving
from flows.settings import load_settings
from flows.sync import Options, sync


class DemoFailed(Exception):
    """A sync of the demo did not do what it promises."""


async def run_demo(folder: Path, console: Console) -> None:
    """Tell the story, and raise DemoFailed when a step does other than it says."""
    sandbox = make_sandbox()
    with serving(sandbox, folder) as env:
        console.print(f"A made-up Moodle at {env['MOODLE_URL']}, a made-up CommCare at {env['COMMCARE_URL']}.\n")
        await _first(sandbox, env, console)
        await _nothing_to_do(sandbox, env, console)
        await _changes(sandbox, env, console)
        await _somebody_left(sandbox, env, console)
    console.print(
        "[bold]Next:[/] moodle-commcare sandbox (to try it yourself), moodle-commcare init (for your own site)"
    )


async def _first(sandbox: Sandbox, env: dict[str, str], console: Console) -> None:
    result = await _sync(env, console, "1. First sync: every learner and every enrolment becomes a case")
    students, enrolments = sandbox.project.of_type("student"), sandbox.project.of_type("enrolment")
    _expect((len(students), len(enrolments)) == (12, 24), result)
    console.print(_tree(sandbox, students[0]), "")


async def _nothing_to_do(sandbox: Sandbox, env: dict[str, str], console: Console) -> None:
    written = sandbox.commcare.requests["write"]
    result = await _sync(env, console, "2. Again: nothing changed in Moodle, so nothing is sent")
    _expect(sandbox.commcare.requests["write"] == written, result)


async def _changes(sandbox: Sandbox, env: dict[str, str], console: Console) -> None:
    site, learners, basics = sandbox.site, sandbox.learners, sandbox.courses["CHW-101"]
    site.grade(sandbox.items["Home visits"], learners[1], 88)
    site.update_user(learners[2], lastname="Kiplagat-Rono")
    site.enrol(sandbox.courses["CHW-201"], learners[0])
    site.unenrol(basics, learners[11])
    console.print("In Moodle: one grade given, one learner renamed, one new enrolment, one learner taken out.")
    result = await _sync(env, console, "3. Only the rows that changed are sent; who is missing is only noted")
    counts = result.cases
    _expect(
        (counts["student"].updated, counts["enrolment"].created, counts["enrolment"].updated) == (1, 1, 1), result
    )


async def _somebody_left(sandbox: Sandbox, env: dict[str, str], console: Console) -> None:
    result = await _sync(
        env, console, "4. Missing from a second complete read: now marked as left, and nothing else"
    )
    status = ("enrolment_status", "moodle_status")
    left = [case for case in sandbox.project.cases.values() if "left" in map(case.properties.get, status)]
    marked = sum(counts.marked_left for counts in result.cases.values())
    _expect(marked == len(left) > 0 and not any(c.created or c.updated for c in result.cases.values()), result)


async def _sync(env: dict[str, str], console: Console, title: str) -> Result:
    """Run one sync as the command does, and show what it did."""
    world = open_world(load_settings(env, None))
    try:
        result = await sync(world, Options(yes=True))
    finally:
        await world.close()
    console.print(table(result, title), "")
    return result


def table(result: Result, title: str) -> Table:
    """Draw the counts of a run as a table."""
    found = Table(title=title, title_justify="left", title_style="bold")
    columns = ("created", "updated", "unchanged", "marked_left", "held_back", "problems")
    found.add_column("case type")
    for column in columns:
        found.add_column(column.replace("_", " "), justify="right")
    for case_type, counts in result.cases.items():
        found.add_row(case_type, *(str(getattr(counts, column) or "·") for column in columns))
    moodle, commcare = (sum(result.requests.get(system, {}).values()) for system in ("moodle", "commcare"))
    writes = result.requests.get("commcare", {}).get("write", 0)
    found.caption = (
        f"{moodle} requests to Moodle, {commcare} to CommCare ({writes} writes), {result.seconds:.1f} s"
    )
    return found


def _tree(sandbox: Sandbox, student: Case) -> Tree:
    """Draw one made-up learner's cases."""
    tree = Tree(f"In CommCare now, for example: [bold]{student.case_name}[/] (student)")
    for case in sandbox.project.of_type("enrolment"):
        if case.indices["student"]["case_id"] == student.case_id:
            shown = ", ".join(
                f"{name} {value}" for name, value in sorted(case.properties.items())
                if name in ("enrolment_status", "grade_percent", "result") and value
            )  # fmt: skip
            tree.add(f"{case.case_name} (enrolment): {shown}")
    return tree


def _expect(promise: bool, result: Result) -> None:
    if not promise:
        raise DemoFailed(f"The demo did not do what it says: {result.as_json()}")
