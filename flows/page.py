"""The status as a page of its own: nothing from elsewhere, no script, readable on a phone, light or dark."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from flows.charts import Chart, drawn, legend_columns
from flows.page_style import PAGE_STYLE
from flows.status import Status
from flows.status_charts import age_chart, case_chart, length_chart, problem_chart, sent_chart
from flows.status_words import (
    BROKEN_MAPPINGS,
    RUN_HEADINGS,
    SIGNS,
    care_lines,
    case_table,
    doubt_lines,
    freshness,
    headline,
    last_messages,
    moment,
    next_lines,
    problem_words,
    run_cells,
    short_moment,
    table_lines,
    table_table,
    undelivered_words,
    unread,
)
from flows.undelivered import COMMAND
from flows.words import duration
from state.folders import make_folder

WIDE, NARROW = 720, 340  # units of a chart on a screen, and on a phone
COURSES = 500  # lines of the table; the chart counts all
OPEN = 12  # lines that are shown without being asked for
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(status: Status) -> str:
    """Return the page."""
    space = status.about[2] if status.about else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="robots" content="noindex">\n'
        f"<title>{escape(f'Status of {space}' if space else 'Status')}</title>\n<style>{PAGE_STYLE}</style>\n"
        f"</head>\n<body>\n<main>\n{''.join(_parts(status))}</main>\n</body>\n</html>\n"
    )


def write_page(file: Path, status: Status) -> None:
    """Write the page in one go, readable for its owner alone (0600); raises OSError."""
    write_alone(file, page(status), 0o600)


def write_alone(file: Path, text: str, mode: int) -> None:
    """Put a text in the place of a file at once: whoever reads meanwhile has the old one or the new one whole.

    Raises OSError, which names the file; of a text for which there is no room nothing stays.
    """
    make_folder(file.parent)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
        ) as written:
            written.write(text)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from None


def _parts(status: Status) -> Iterator[str]:
    yield from _head(status)
    if status.books:
        yield _needs(status)
        yield _section("Courses", _courses(status))
        yield _section("Cases", _cases(status))
        if status.tables:
            yield _section("Lookup tables", _tables(status))
        yield _section("Problems", _problems(status))
        yield _section("Last runs", _runs(status))
    yield _section("Next runs", [_list(next_lines(status))])
    if status.books:
        yield _section("Books", [_list([f"They are in {status.place}.", *care_lines(status)])])


def _head(status: Status) -> Iterator[str]:
    moodle, commcare, space = status.about or ("", "", "")
    yield f"<header><h1>Where things stand</h1>\n<p>{escape(moodle)} → {escape(space)} on {escape(commcare)}</p>\n"
    zone = f" ({status.zone})" if status.books else " (UTC)"
    yield f"<p class=dim>Made on {escape(moment(status.now, status) + zone)}. Ages are as of then.</p></header>\n"
    state = status.runs[0].state if status.runs else ""
    sign = f"<span class=sign aria-hidden=true>{SIGNS.get(state, '?')}</span> " if state else ""
    told = last_messages(status)
    messages = _list(told) if told else ""
    note = f"<p>{_text(status.note)}</p>" if status.note else ""
    kind = escape(state.replace(" ", "-"))
    yield f'<section class="card {kind}"><p class=lead>{sign}{_text(headline(status))}</p>'
    yield f"{note}{messages}</section>\n"


def _needs(status: Status) -> str:
    lines = [
        f"<li><p>{_text(need.sentence)}</p><p>{_text(need.if_so)}: on the command line "
        f"<code>{escape(need.command)}</code>, or in Prefect the form <code>{need.deployment}</code> with "
        f"{escape(need.form_in_words)}.</p>{f'<p>{_text(need.or_else)}</p>' if need.or_else else ''}</li>"
        for need in status.needs
    ]
    if not status.mappings_right:
        lines.insert(0, f"<li><p>{_text(BROKEN_MAPPINGS)}</p></li>")
    if told := undelivered_words(status):
        how = f"On the command line <code>{COMMAND}</code> tells whether it would arrive now."
        lines.append(f"<li><p>{escape(told)}</p><p>{how}</p></li>")
    body = f"<ol>{''.join(lines)}</ol>" if lines else "<p>Nothing.</p>"
    return _section("Needs a person", [body], "needs" if lines else "")


def _courses(status: Status) -> Iterator[str]:
    yield f"<p>{escape(freshness(status))}</p>"
    courses = status.chosen
    if courses:
        yield _figure(age_chart(status), "age", 210)
        rows = [
            [
                f"{one.course}",
                f"{one.people:,}",
                short_moment(one.complete_at, status),
                _age(one.complete_at, status),
                f"{one.failures or '·'}",
            ]
            for one in courses[:COURSES]
        ]
        some = "Those read longest ago" if len(courses) > COURSES else "All courses, those read longest ago first"
        title = f"{some} ({len(rows):,})"
        yield _table(title, ("course", "people", "last complete read", "age", "failed since"), rows)
    yield f"<p>{escape(unread(status))}</p>" if unread(status) else ""


def _cases(status: Status) -> Iterator[str]:
    headings, rows = case_table(status.cases)
    if not rows:
        yield "<p>None yet.</p>"
        return
    yield _table("Cases by case type and state", headings, rows)
    chart = case_chart(status)
    if chart.series:
        yield _figure(chart, "cases", 60 + 40 * len(chart.labels))
    yield _list(f"Waiting to confirm: {line}." for line in doubt_lines(status)) if status.in_doubt else ""


def _tables(status: Status) -> Iterator[str]:
    headings, rows = table_table(status)
    yield _table("Rows by table", headings, rows)
    lines = [*table_lines(status)]
    yield _list(lines) if lines else ""


def _problems(status: Status) -> Iterator[str]:
    if not status.problems:
        yield "<p>None is listed.</p>"
        return
    chart = problem_chart(status)
    yield _figure(chart, "problems", 40 + 26 * len(chart.labels))
    lines = [
        f"<li><p>{_text(problem_words(one))}</p>{f'<p>→ {_text(one.remedy)}</p>' if one.remedy else ''}</li>"
        for one in status.problems
    ]
    yield f"<ul>{''.join(lines[:OPEN])}</ul>"
    if lines[OPEN:]:
        yield f"<details><summary>{len(lines) - OPEN} more</summary><ul>{''.join(lines[OPEN:])}</ul></details>"


def _runs(status: Status) -> Iterator[str]:
    if not status.runs:
        yield "<p>None yet.</p>"
        return
    yield _figure(length_chart(status), "length", 230)
    yield _figure(sent_chart(status), "sent", 200)
    rows = [run_cells(run, status) for run in status.runs]
    yield _table("Run by run", RUN_HEADINGS, rows, left=2)


def _section(title: str, body: Iterable[str], kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<section{named}><h2>{title}</h2>\n{''.join(body)}\n</section>\n"


def _figure(chart: Chart, name: str, height: int) -> str:
    """Return a chart twice, for a screen and for a phone: letters stay as large as the text around them."""
    rows = max(1, -(-len(chart.series) // legend_columns(chart, NARROW)))
    wide = drawn(chart, WIDE, height, name=f"{name}-w")
    narrow = drawn(chart, NARROW, height + 20 * rows, name=f"{name}-n")
    return (
        f"<figure><div class=wide>{wide}</div><div class=narrow>{narrow}</div>"
        f"<figcaption>{escape(chart.title)}</figcaption></figure>\n"
    )


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table that scrolls by itself when it is wider than the screen, folded when it is long."""
    head = "".join(f"<th scope=col{_side(n, left)}>{escape(text)}</th>" for n, text in enumerate(headings))
    lines = "".join(f"<tr>{''.join(_cell(n, text, left) for n, text in enumerate(row))}</tr>\n" for row in rows)
    table = (
        f'<div class=scroll tabindex=0 role=region aria-label="{escape(title)}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>\n"
    )
    opened = " open" if len(rows) <= OPEN else ""
    return f"<details{opened}><summary>{escape(title)}</summary>{table}</details>\n"


def _cell(number: int, text: str, left: int) -> str:
    tag = "th scope=row" if not number else "td"
    return f"<{tag}{_side(number, left)}>{escape(text)}</{tag.split()[0]}>"


def _side(number: int, left: int) -> str:
    return "" if number < left else " class=n"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _text(text: str) -> str:
    """Return a text with what stands in backticks as code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _age(at: float, status: Status) -> str:
    return duration(status.now - at) if at else "never"
