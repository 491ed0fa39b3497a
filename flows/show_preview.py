"""How a preview looks: what would happen to how many cases, the first ones masked, reasons and codes in words."""

from __future__ import annotations

from collections.abc import Iterator

from flows.masked import Eyes
from flows.preview import Preview, Shown, ShownRow
from flows.reasons import reason_words
from flows.result import CaseCounts, RunState
from flows.show import STYLES, requests_line
from flows.show_live import screen, show_codes, show_heading, show_table, show_text
from flows.words import listed, numbered
from mappings.engine.check_table import KEY

COUNTS = {
    "created": "create",
    "updated": "update",
    "unchanged": "unchanged",
    "marked_left": "mark as left",
    "closed": "close",
    "withdrawn": "withdraw",
    "ended": "course ended",
    "held_back": "held back",
    "problems": "problems",
    "in_doubt": "waiting to confirm",
}
ROW_COUNTS = {
    "added": "add",
    "changed": "change",
    "removed": "take away",
    "unchanged": "unchanged",
    "missing": "missing",
    "held_back": "held back",
    "left_out": "left out",
}
MOST_VALUES = 6  # of one record in the table


def show_preview(preview: Preview, eyes: Eyes) -> None:
    """Print a preview for a person at a terminal."""
    result = preview.result
    screen().print(f"[bold]Preview, nothing was sent:[/] [{STYLES.get(result.state, 'yellow')}]{result.state}[/]")
    rows = list(_counts(preview))
    if rows:
        headings = {"case_type": "case type"} | COUNTS | {"left_out": "left out", "missing": "missing"}
        show_table(rows, headings, right=[*COUNTS, "left_out", "missing"])
    show_text(requests_line(result))
    _show_changes(preview)
    _show_samples(preview, eyes)
    _show_tables(preview, eyes)
    if codes := list(preview.unknown_codes()):
        show_codes(codes)
    for sentence in _sentences(preview):
        show_text(sentence, first="- ", then="  ")


def _counts(preview: Preview) -> Iterator[dict[str, str]]:
    """Yield a row for each case type, with a dot for none."""
    cases = preview.result.cases
    for case_type in dict.fromkeys([*cases, *preview.left_out]):
        counts = vars(cases.get(case_type, CaseCounts()))
        used = {name: counts.get(name, 0) for name in COUNTS}
        columns = {name for name in COUNTS if any(getattr(each, name) for each in cases.values())}
        shown = {name: f"{count:,}" if count else "·" for name, count in used.items() if name in columns}
        left_out = {"left_out": f"{preview.left_out[case_type] or '·'}"} if preview.left_out else {}
        missing = {"missing": f"{preview.missing[case_type] or '·'}"} if preview.missing.total() else {}
        yield {"case_type": case_type} | shown | left_out | missing


def _show_changes(preview: Preview) -> None:
    """Print per property how many cases in CommCare would change."""
    if not preview.properties:
        return
    show_heading("\nWhat would change in cases that are there")
    rows = [
        {"mapping": mapping, "property": name, "cases": f"{count:,}"}
        for (mapping, name), count in preview.properties.most_common()
    ]
    show_table(rows, {"mapping": "mapping", "property": "property", "cases": "cases"}, right=["cases"])


def _show_samples(preview: Preview, eyes: Eyes) -> None:
    if not preview.samples:
        return
    counts = preview.result.cases.values()
    every = sum(each.created + each.updated + each.marked_left for each in counts)
    shown = len(preview.samples)
    which = f"first {shown} of {numbered(every, 'record')}" if every > shown else numbered(shown, "record")
    show_heading(f"\nThe {which} that would be sent")
    rows = [{"key": each.key, "what": each.op, "values": _values(preview, each, eyes)} for each in preview.samples]
    show_table(rows, {"key": "key", "what": "what", "values": "property→value"})


def _show_tables(preview: Preview, eyes: Eyes) -> None:
    """Print how many rows of each lookup table would be written, and the first of them."""
    if not preview.tables:
        return
    show_heading("\nRows of lookup tables")
    used = {name for plan in preview.tables for name, count in plan.counts.items() if count}
    headings = {"table": "table"} | {name: heading for name, heading in ROW_COUNTS.items() if name in used}
    counts = [
        {"table": plan.table} | {name: f"{count:,}" if count else "·" for name, count in plan.counts.items()}
        for plan in preview.tables
    ]
    show_table(counts, headings, right=[*ROW_COUNTS])
    shown = [{"key": row.key, "what": row.op, "values": _fields(row, eyes)} for row in preview.table_rows()]
    if shown:
        every = sum(len(plan.added) + len(plan.changed) + len(plan.removed) for plan in preview.tables)
        which = f"first {len(shown)} of {numbered(every, 'row')}" if every > len(shown) else numbered(every, "row")
        show_heading(f"\nThe {which} that would be written")
        show_table(shown, {"key": "key", "what": "what", "values": "field→value"})


def _fields(row: ShownRow, eyes: Eyes) -> str:
    """Return the fields of a row that hold something, apart from its key."""
    filled = {name: text for name, text in row.fields.items() if text and name != KEY}
    shown = [
        f"{name}→{eyes.see(text, personal=row.mapping.is_personal(name))}"
        for name, text in list(filled.items())[:MOST_VALUES]
    ]
    more = len(filled) - MOST_VALUES
    return ", ".join([*shown, f"and {more} more"] if more > 0 else shown)


def _values(preview: Preview, sample: Shown, eyes: Eyes) -> str:
    """Return the values of a record: of a new case those that hold something, of others also what was there."""
    is_new = sample.op == "create"
    names = [name for name, text in sample.values.items() if text or not is_new]
    parts = []
    for name in names[:MOST_VALUES]:
        text = sample.values[name]
        value = eyes.see(text, personal=preview.is_personal(sample, name)) if text else "emptied"
        was = "" if is_new or not text else " (another before)" if _had(sample, name) else " (new)"
        parts.append(f"{name}→{value}{was}")
    more = len(names) - MOST_VALUES
    return (", " if is_new else "\n").join([*parts, f"and {more} more"] if more > 0 else parts)


def _had(sample: Shown, name: str) -> bool:
    frame = {"case_name": "@name", "case_type": "@type", "owner": "@owner"}
    return frame.get(name, name) in sample.known or f"@index:{name}" in sample.known


def _approval(preview: Preview) -> str:
    """Return how the first run of mappings is approved: at its plan, or by name beside others that went before."""
    if set(preview.first) >= preview.mappings.keys():
        return "The first run shows its plan and waits for a yes (`moodle-commcare sync`), or is given --yes."
    chosen = " ".join(f"--mapping {name}" for name in preview.first)
    return f"Until it is approved, runs leave it out: `moodle-commcare sync {chosen} --yes`."


def _sentences(preview: Preview) -> Iterator[str]:
    """Yield the reasons and what a person has to know."""
    result = preview.result
    yield from (f"{count:,} × {reason_words(reason)}" for reason, count in result.reasons.most_common())
    yield from result.messages
    if result.not_due:
        yield f"Not looked at, as their interval is not over: {listed(result.not_due)}; --full looks at all."
    for stop in preview.stops:
        yield f"A run would stop before it sends anything. {stop}"
    if preview.first and not preview.stops:
        yield f"Never sent before: {listed(preview.first)}. {_approval(preview)}"
    if preview.tables_passed_over:
        names = listed(preview.tables_passed_over)
        yield f"Lookup tables are looked at only with all courses, so not here: {names}."
    for plan in preview.tables:
        if plan.rests:
            yield (
                f"Lookup table {plan.table}: CommCare did not answer a write, so the table rests; a later run "
                "looks what came of it, and does then what is told here."
            )
        if plan.missing:
            yield (
                f"Lookup table {plan.table}: {numbered(plan.missing, 'row')} of a course that is left out, not "
                "chosen or not there any more; taken away when the next complete read lacks it too."
            )
    if preview.missing.total():
        yield (
            f"Missing: {numbered(preview.missing.total(), 'case')} without a record in Moodle. A run marks them "
            "as left when a second complete read lacks them too."
        )
    if result.state is RunState.COMPLETED and result.courses:
        for case_type, counts in result.cases.items():
            if not any(vars(counts).values()):
                yield f"No record became a case of type '{case_type}'; `moodle-commcare check` says why."
