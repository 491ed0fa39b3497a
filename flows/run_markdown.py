"""What a run or an audit leaves in Prefect, as Markdown: counts, reasons in words, and what a person has to do."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import quote

from flows.audited import Audit
from flows.need import Need
from flows.reasons import reason_words, remedy
from flows.result import CaseCounts, CourseResult, Result
from flows.show import HEADINGS, plan_lines
from flows.status import RUN_STATES, Status
from flows.status_charts import length_chart, runs_picture
from flows.status_words import RUN_HEADINGS, SIGNS, run_cells
from flows.undelivered import COMMAND
from flows.words import duration, listed, numbered
from mappings.engine.markdown import code, table_lines

ALWAYS = ("created", "updated", "unchanged", "held_back", "problems", "in_doubt", "marked_left")
SYSTEMS = {"moodle": "Moodle", "commcare": "CommCare"}
COURSES, FINDINGS = 50, 100  # lines of a table
IN_PARTS = re.compile(r"(`[^`\n]*`)")
NO_FORMS = MappingProxyType(dict[str, str]())
SPECIAL = re.compile(r"([\\|*<>\[\]#~!])")


def run_markdown(result: Result) -> str:
    """Return what one run (or preview) did."""
    return _document(_run(result))


def needs_markdown(needs: Sequence[Need], undelivered: str = "", forms: Mapping[str, str] = NO_FORMS) -> str:
    """Return what waits for a person, each with the command and the form that say yes, and lost nudges.

    `forms` has the addresses of Prefect's forms, by deployment; where there is one, it is opened filled in.
    """
    return _document([*(_needs(needs, forms) if needs or not undelivered else ()), *_undelivered(undelivered)])


def runs_markdown(status: Status) -> str:
    """Return the last runs, as a picture and as a table."""
    return _document(_runs(status))


def audit_markdown(found: Audit) -> str:
    """Return what an audit found: counts, what each kind means, and the first findings."""
    return _document(_audit(found))


def run_line(result: Result) -> str:
    """Return a run in a line, for the list of artifacts."""
    counts = [vars(one) for one in result.cases.values()]
    written = ("created", "updated", "marked_left", "withdrawn", "ended")
    sent = sum(one[name] for one in counts for name in written)
    held = sum(one[name] for one in counts for name in ("held_back", "problems", "in_doubt"))
    would = "to send" if result.preview else "sent"
    rest = f", {held:,} held back or in question" if held else ""
    return f"{result.state.capitalize()}: {numbered(sent, 'record')} {would}{rest}."


def runs_line(status: Status) -> str:
    """Return how the last runs ended, for the list of artifacts: 24 completed, 1 degraded."""
    counts = Counter(run.state for run in status.runs)
    return listed([f"{counts[state]} {state}" for state in RUN_STATES if counts[state]]) or "No run yet."


def marked(text: str) -> str:
    """Return a sentence so that Markdown shows it as it is, with what stands in backticks as code."""
    parts = IN_PARTS.split(text.replace("\n", " "))
    return "".join(part if part.startswith("`") else SPECIAL.sub(r"\\\1", part) for part in parts)


def _run(result: Result) -> Iterator[str]:
    what = "Preview: nothing was sent" if result.preview and not result.plan else result.state.capitalize()
    yield f"# {SIGNS.get(str(result.state), '')} {what}"
    yield f"Run {result.run_id}, {_took(result.seconds)}."
    yield _bullets(map(marked, result.messages))
    if result.plan:
        yield "## What the first run would do"
        yield _bullets(f"It would {marked(line)}." for line in plan_lines(result.plan))
    elif result.cases:
        yield "## Cases"
        yield _cases(result.cases)
    if not result.plan:
        yield from _courses(result)
        if result.reasons:
            yield "## Why"
            yield _bullets(_reasons(result))
    if result.not_due:
        yield f"Read a short while ago and not again yet: {marked(', '.join(result.not_due))}."
    yield "## Requests"
    yield _requests(result.requests)


def _cases(cases: Mapping[str, CaseCounts]) -> str:
    """Return the counts by case type; rare kinds have a column only when there are any."""
    used = [name for name in HEADINGS if name in ALWAYS or any(getattr(one, name) for one in cases.values())]
    rows = ([f"`{name}`", *(_n(getattr(counts, kind)) for kind in used)] for name, counts in cases.items())
    return _table(["case type", *(HEADINGS[kind] for kind in used)], rows)


def _courses(result: Result) -> Iterator[str]:
    """Yield the courses that failed, wait, or in which something happened; the others are counted."""
    told = {number: course for number, course in result.courses.items() if _is_told(result, number, course)}
    if not result.courses:
        return
    yield "## Courses"
    quiet = len(result.courses) - len(told)
    if quiet:
        yield f"{numbered(quiet, 'course')} read completely, with nothing to send."
    order = sorted(told, key=lambda number: (told[number].state == "completed", number))
    rows = (
        [
            f"{number}",
            told[number].state,
            _n(told[number].people),
            _happened(result, number),
            marked(told[number].reason),
        ]
        for number in order[:COURSES]
    )
    if told:
        yield _table(["course", "state", "people", "records", "why"], rows, left={1, 3, 4})
    if len(told) > COURSES:
        yield f"... and {numbered(len(told) - COURSES, 'course')} more in which something happened."


def _is_told(result: Result, number: int, course: CourseResult) -> bool:
    return course.state != "completed" or bool(result.by_course.get(number))


def _happened(result: Result, number: int) -> str:
    counts = result.by_course.get(number, Counter[str]())
    return ", ".join(f"{counts[kind]:,} {HEADINGS[kind]}" for kind in HEADINGS if counts.get(kind))


def _reasons(result: Result) -> Iterator[str]:
    for reason, count in result.reasons.most_common():
        todo = remedy(reason)
        yield f"{count:,} × {marked(reason_words(reason))}{f' → {marked(todo)}' if todo else ''}"


def _requests(requests: Mapping[str, Mapping[str, int]]) -> str:
    rows = []
    for system, kinds in requests.items():
        told = ", ".join(
            f"{count:,}\u00a0`{kind}`" for kind, count in sorted(kinds.items(), key=lambda one: -one[1])
        )
        rows.append([SYSTEMS.get(system, system), _n(sum(kinds.values())), told or "none"])
    return _table(["system", "requests", "of them"], rows, left={2})


def _needs(needs: Sequence[Need], forms: Mapping[str, str]) -> Iterator[str]:
    if not needs:
        yield "# ✓ Nothing needs a person"
        return
    yield f"# ? {numbered(len(needs), 'question')} for a person"
    if all(need.deployment in forms for need in needs):
        by = "by the form that the link opens; *Submit* there is the yes"
    else:
        by = "*Deployments*, the one named below, *Custom run*, these values"
    yield f"Answer by the command, or in Prefect: {by}."
    for number, need in enumerate(needs, 1):
        yield f"## {number}. {need.kind.replace('-', ' ')}"
        yield marked(need.sentence)
        yield f"{marked(need.if_so)}:"
        yield f"```sh\n{need.command}\n```"
        rows = [[f"`{name}`", f"`{value}`"] for name, value in need.form.items()]
        yield _table([need.deployment, "value"], rows or [["`decisions`", need.form_in_words]], {1})
        if address := forms.get(need.deployment):
            yield _form_link(need, address)
        yield marked(need.or_else)


def _form_link(need: Need, address: str) -> str:
    """Return the link to a form; Prefect's page takes its fields out of the address."""
    if not need.form:
        return f"[Open the form]({address})"
    filled = quote(json.dumps(need.form, separators=(",", ":")), safe="")
    return f"[Open the form, filled in]({address}?parameters={filled})"


def _undelivered(sentence: str) -> Iterator[str]:
    if sentence:
        yield "# ! Nudges did not arrive"
        yield f"{marked(sentence)} Whether one would arrive now:"
        yield f"```sh\n{COMMAND}\n```"


def _runs(status: Status) -> Iterator[str]:
    yield f"# The last {numbered(len(status.runs), 'run')}"
    if status.runs:
        picture = base64.b64encode(runs_picture(status).encode()).decode()
        title = length_chart(status).title
        yield f"![{marked(title)}](data:image/svg+xml;base64,{picture})"
        yield f"{marked(title)}."
        rows = ([cell.replace(" ", "\u00a0") for cell in run_cells(run, status)] for run in status.runs)
        yield _table(RUN_HEADINGS, rows, left={1})  # cells that do not break: Prefect's column is narrow


def _audit(found: Audit) -> Iterator[str]:
    yield f"# {SIGNS.get(str(found.state), '')} Audit: {found.state}"
    yield marked(f"{found.run_id}, {_took(found.seconds)}. {found.summary.capitalize()}")
    yield _bullets(map(marked, found.messages))
    if found.cases:
        yield "## Listed in CommCare"
        yield _table(["case type", "cases"], ([f"`{name}`", _n(count)] for name, count in found.cases.items()))
    counts = +found.counts
    if counts:
        yield "## Found"
        yield _table(["what", "how many"], ([kind.replace("_", " "), _n(n)] for kind, n in counts.items()))
        rows = (
            [one.kind.replace("_", " "), *map(_code, (one.key, one.mapping, one.case_id)), marked(one.what)]
            for one in found.findings[:FINDINGS]
        )
        yield _table(["finding", "record", "mapping", "case", "properties"], rows, left={1, 2, 3, 4})
        if found.count > FINDINGS:
            yield f"... and {found.count - FINDINGS:,} more: `moodle-commcare audit --json` lists them."


def _document(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = ()) -> str:
    """Return a table of which all columns but the first one and those of `left` hold numbers."""
    head, _, *lines = table_lines(headings, rows)
    texts = {0, *left}
    rule = "|".join(":--" if number in texts else "--:" for number in range(len(headings)))
    return "\n".join([head, f"|{rule}|", *lines])


def _code(text: str) -> str:
    """Return an id in the type of code; one with a backtick or a bar, which none of ours has, as text."""
    return marked(text) if "`" in text or "|" in text else code(text)


def _n(count: int) -> str:
    return f"{count:,}" if count else "·"


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
