"""What a person at a terminal sees of a run: how it ended, counts, reasons in words, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.endings import command
from flows.reasons import reason_words
from flows.result import CaseCounts, Result, RunState
from flows.show_problems import laid_out, problem_lines
from flows.words import courses_named, numbered

if TYPE_CHECKING:
    from flows.check_live import LiveReport
    from flows.probe import Finding

HEADINGS = {
    "created": "created",
    "updated": "updated",
    "unchanged": "unchanged",
    "marked_left": "marked as left",
    "held_back": "held back",
    "problems": "problems",
    "in_doubt": "waiting to confirm",
    "closed": "closed",
    "withdrawn": "withdrawn",
    "ended": "course over",
}
STYLES = {
    RunState.COMPLETED: "green",
    RunState.FAILED: "red",
    "ok": "green",
    "note": "yellow",
    "later": "yellow",
    "fail": "bold red",
}
INDENT = " " * 16


def show_result(result: Result) -> None:
    """Print a run: one line, the counts, the reasons, and what a person has to do."""
    if result.plan:
        show_plan(result)
    console = _console()
    what = "Preview, nothing was sent" if result.preview and not result.plan else f"Run {result.run_id}".strip()
    console.print(Text.assemble((f"{what}: ", "bold"), (str(result.state), STYLES.get(result.state, "yellow"))))
    if not result.plan and any(_total(counts) for counts in result.cases.values()):
        console.print(counts_table(result.cases))
    console.print(requests_line(result))
    for shard in result.shards:
        console.print(Text(shard_line(shard)))
    for line in _notes(result):
        console.print(Text(laid_out(line, first="- ", then="  ")))


def show_plan(result: Result) -> None:
    """Print what a first run would do, for a person to approve."""
    console = _console()
    console.print(Text("This is the first run of these mappings. It would", "bold"))
    for line in plan_lines(result.plan):
        console.print(Text(laid_out(line, first="- ", then="  ")))


def show_finding(finding: Finding) -> None:
    """Print one line of the check, and below it what to do."""
    console = _console()
    mark = "FAIL" if finding.level == "fail" else finding.level
    text = laid_out(f"{mark:<6}{finding.area:<10}{finding.what}", then=INDENT)
    console.print(Text.assemble((text[:6], STYLES[finding.level]), text[6:]))
    if finding.remedy:
        console.print(Text(laid_out(f"→ {finding.remedy}", first=INDENT, then=f"{INDENT}  ")))


def show_verdict(levels: Sequence[str]) -> None:
    """Print the last line of the check."""
    bad, notes = levels.count("fail"), levels.count("note")
    if bad:
        text, style = f"{numbered(bad, 'thing')} to put right", "bold red"
    elif "later" in levels:
        text, style = "Not everything could be looked at", "yellow"
    elif notes:
        text, style = "Nothing has to be put right", "green"
    else:
        text, style = "Nothing is in the way of a run", "green"
    more = f", {numbered(notes, 'note')} to read" if notes else ""
    _console().print(Text(f"{text}{more}.", style))
    if style == "green":
        _console().print(Text(f"{command()} preview shows what it would send."))


def finding_json(finding: Finding) -> dict[str, str]:
    """Return a finding for `--json`."""
    return dict(vars(finding))


def show_live(report: LiveReport | None) -> None:
    """Print what the two systems say about the mappings; None when they were not asked."""
    if report is None:
        _console().print(Text(laid_out("The two systems were not looked at: put this right first.")))
        return
    for finding in report.findings:
        show_finding(finding)
    for problem in report.problems:
        _console().print(Text("\n" + "\n".join(problem_lines(problem))))
    errors = sum(problem.severity == "error" for problem in report.problems)
    bad = errors + sum(finding.level == "fail" for finding in report.findings)
    doubtful = len(report.problems) - errors
    if bad or doubtful:
        text = f"Live: {numbered(bad, 'thing')} to put right, {numbered(doubtful, 'warning')}."
    else:
        text = "Live: both systems know every name in the mappings."
    _console().print(Text(text))


def counts_table(cases: Mapping[str, CaseCounts]) -> Table:
    """Draw the counts that are not all 0."""
    used = [name for name in HEADINGS if any(getattr(counts, name) for counts in cases.values())]
    table = Table(
        "case type", *(HEADINGS[name] for name in used), box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for case_type, counts in cases.items():
        table.add_row(case_type, *(f"{getattr(counts, name) or '·'}" for name in used))
    return table


def shard_line(shard: Mapping[str, Any]) -> str:
    """Return a line about one part of a run that several workers shared."""
    if "courses" not in shard:
        return f"Shard {shard['number']}: done here."
    begun = f", begun {shard['begun']} times" if shard["begun"] > 1 else ""
    courses = numbered(shard["courses"], "course")
    return f"Shard {shard['number']}: {courses}, {shard['state']} in {shard['seconds']:.1f} s{begun}."


def requests_line(result: Result) -> str:
    """Return how many courses and requests it took."""
    moodle, commcare = (sum(result.requests.get(system, {}).values()) for system in ("moodle", "commcare"))
    writes = result.requests.get("commcare", {}).get("write", 0)
    of_them = f" ({numbered(writes, 'write')})" if commcare else ""
    courses = numbered(len(result.courses), "course")
    asked = f"{numbered(moodle, 'request')} to Moodle, {commcare} to CommCare{of_them}"
    return f"{courses}, {asked}, {result.seconds:.1f} s"


def _notes(result: Result) -> Iterator[str]:
    if not result.plan:
        yield from (f"{count} × {reason_words(reason)}" for reason, count in result.reasons.most_common())
    yield from result.messages
    if result.state is RunState.COMPLETED and result.courses:
        for case_type, counts in result.cases.items():
            if not _total(counts):
                yield f"No record became a case of type '{case_type}'; `moodle-commcare check` says why."


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a first run would do, each the end of a sentence that begins with "It would"."""
    for case_type, count in plan["creates"].items():
        cases = numbered(count, f"'{case_type}' case")
        yield f"create {cases}"
    courses, people = plan["not_read"]["courses"], plan["not_read"]["people"]
    if courses:
        its = "its" if len(courses) == 1 else "their"
        yield f"leave out {courses_named(courses)}, which could not be read: {its} cases are not in these counts"
    if people:
        whom = numbered(people, "person", "people")
        yield f"leave out {whom} whom Moodle did not show: the cases are not in these counts"
    if plan["not_read"]["new_courses"]:
        yield (
            "leave out courses that are new to this program, since Moodle cannot show its list of courses: their "
            "cases are not in these counts"
        )
    for reason, count in plan["held_back"].items():
        yield f"leave {count} incomplete or unsent: {reason_words(reason)}"
    for case_type, count in plan["existing_cases"].items():
        if count:
            cases = numbered(count, f"'{case_type}' case")
            what = "and stop; see below" if plan["stops"] else "of which those that are nobody's stay as they are"
            yield f"find {cases} in CommCare already, {what}"
    for problem, count in plan["unresolved_owners"].items():
        yield f"find no owner for {numbered(count, 'record')}: {problem.replace('_', ' ')}"
    for name, count in plan["without_phone"].items():
        yield f"leave {name} blank in {numbered(count, 'case')}: no telephone number that can be used"
    for name, count in plan["kept_out"].items():
        people = "1 person" if count == 1 else f"{count:,} people"
        yield f"keep out {people} by the conditions of {name}.yaml (a consent, for one), whatever their roles"
    requests = numbered(plan["commcare_requests"], "request")
    minutes = numbered(plan["expected_minutes"], "minute")
    yield f"take {requests} to CommCare, about {minutes}" if plan["commcare_requests"] else "send nothing"


def _total(counts: CaseCounts) -> int:
    return sum(vars(counts).values())


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
