"""docs/endpoints.md, made of what the adaptors say about each call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adaptors.commcare.endpoints import ENDPOINTS, Endpoint
from adaptors.moodle.functions import (
    ALWAYS,
    CATEGORIES,
    FEEDBACK,
    FUNCTIONS,
    MARKING,
    PAGES,
    TOGETHER,
    MoodleFunction,
)
from adaptors.moodle.streams import Wanted
from flows.steps.gate import needed_functions
from mappings.engine.markdown import table_lines

PAGE = Path(__file__).parents[1] / "docs" / "endpoints.md"

HEAD = """# Every call

What is asked of Moodle and CommCare, by which command, how often, and what has to be allowed for it. Nothing else
is ever called. `moodle-commcare setup moodle` and `moodle-commcare setup commcare` tell what of it *your* mappings
need, `moodle-commcare check` what of that is missing. Sample answers are made up and cut short.

## Moodle

Functions of a web service of your own, by POST to `<site>/webservice/rest/server.php` with `wstoken`, `wsfunction`
and `moodlewsrestformat=json`; names are asked for as stored (`moodlewssettingraw=1`). Two requests at once in the
beginning, six at most. All but one function only read.
"""
COMMCARE = """
## CommCare

Below `https://www.commcarehq.org/a/<project space>/api/`, with `Authorization: ApiKey <web user>:<key>`. Each
request counts once against the limits of the project space, however many cases it carries. `write` changes
cases, `make_worker` adds mobile workers, the last five change lookup tables; all others only read.
"""
RECEIVED = """
## What comes in

Only with `moodle-commcare receiver`; usually behind a proxy, as `https://sync.example.org/hooks/moodle`.

| call | from | what for | proof | kept of it |
|---|---|---|---|---|
| `POST /moodle` | the plugin local_webhooks | a course has changed | `token` in the body | ids and times |
| `POST /commcare` | CommCare's data forwarding | a case was changed there | Basic or a token | ids and times |
| `GET /commcare` | CommCare's *Test Connection* | the proof is right | Basic or a token | nothing |

[webhooks.md](webhooks.md) shows both.
"""
_COSTLY = {
    "grades": "mappings that read grades",
    "completion": "mappings of what learners have done",
    "due_dates": "mappings of due dates",
    "completed_courses": "mappings of completed courses",
    "assignments": "mappings of assignments",
    "submissions": "mappings of submissions",
}


def called_by(name: str) -> list[str]:
    """Return who calls a function of Moodle."""
    found = ["every run"] if name in ALWAYS else []
    if name == CATEGORIES:
        found.append("runs that choose courses by category")
    if name == TOGETHER:
        found.append("runs that read something person by person")
    for part, words in _COSTLY.items():
        if name not in ALWAYS and name in needed_functions(Wanted(**{part: True})):  # type: ignore[arg-type]
            found.append(words)
    if name in MARKING:
        found.append("`assignments`")
    elif name in FEEDBACK:
        found.append("`assignments feedback`")
    return found


def endpoints_page() -> str:
    """Return the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    rows = [(f"[`{one.name}`](#{_anchor(one.name)})", one.purpose, _who(one), one.calls) for one in _moodle()]
    yield from table_lines(("call", "what for", "called by", "how often"), rows)
    for function in _moodle():
        yield from _function(function)
    yield COMMCARE
    listed = [(f"[`{_call(one)}`](#{one.name})", one.purpose, one.calls, _allowed(one)) for one in ENDPOINTS]
    yield from table_lines(("call", "what for", "how often", "permissions"), listed)
    for endpoint in ENDPOINTS:
        yield from ("", f"### {endpoint.name}", "", f"`{_call(endpoint)}`: {endpoint.purpose}.", "")
        yield from (f"- How often: {endpoint.calls}.", f"- Parameters: {endpoint.parameters}.")
        yield from (f"- Needs: {_allowed(endpoint)}.", "")
        yield from ("```json", endpoint.sample, "```") if endpoint.sample else ("The answer is empty.",)
    yield RECEIVED.rstrip()


def _moodle() -> tuple[MoodleFunction, ...]:
    return (*FUNCTIONS, *PAGES)


def _function(one: MoodleFunction) -> Iterator[str]:
    yield from ("", f"### {one.name}", "", f"{one.purpose[0].upper()}{one.purpose[1:]}.", "")
    yield from (f"- Called by: {_who(one)}.", f"- How often: {one.calls}.", f"- Parameters: {one.parameters}.")
    yield (
        f"- Rights: {', '.join(f'`{right}`' for right in one.capabilities)}."
        if one.capabilities
        else "- Rights: none."
    )
    if one.lost:
        yield f"- Without it: {one.lost}."
    what = "The file itself; a refusal is" if one.name.endswith("pluginfile.php") else "Answer"
    yield from ("", f"{what}:", "", "```json", one.sample, "```")


def _who(one: MoodleFunction) -> str:
    return ", ".join(called_by(one.name)) or ("sign-in" if "login" in one.name else "`assignments download`")


def _call(one: Endpoint) -> str:
    return f"{one.method} {one.path}"


def _allowed(one: Endpoint) -> str:
    return ", ".join(f"*{permission}*" for permission in one.permissions)


def _anchor(name: str) -> str:
    return name.replace("/", "").replace(".", "")
