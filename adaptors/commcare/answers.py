"""CommCare's answers, hostile until validated: case objects, refusals, and which error each status means.

The texts of its errors echo what was sent, people's values among it, so none is kept: a text becomes a reason
code and those ids of ours that it names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adaptors.commcare.cases import MAX_LENGTH, SYSTEM, CaseReply, CaseWrite, RowsRefused
from adaptors.commcare.screens import API_KEYS
from adaptors.errors import AccessDenied, AdaptorError, InDoubt, NoAnswer, Refused, Retriable, Unexpected
from adaptors.http import Answer, retry_after
from adaptors.lists import ListOf


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class CaseObject(_Checked):
    """A case in an answer of the case API."""

    case_id: str = Field(min_length=1, max_length=MAX_LENGTH)
    external_id: str | None = Field(max_length=MAX_LENGTH)
    case_type: str
    case_name: str | None
    owner_id: str | None
    closed: bool
    properties: dict[str, Any] = Field(default_factory=dict)
    """Texts; a form of somebody's that nests elements leaves an object, which must not spoil the whole answer."""
    server_last_modified: str | None = None

    def reply(self, names: Collection[str] = ()) -> CaseReply:
        """Return it as the rest of the program sees it, with the properties of these names; none means all."""
        return CaseReply(
            case_id=self.case_id,
            external_id=self.external_id,
            case_type=self.case_type,
            name=self.case_name or "",
            owner_id=self.owner_id or "",
            closed=self.closed,
            properties={
                name: _text(value) for name, value in self.properties.items() if not names or name in names
            },
            modified_at=_epoch(self.server_last_modified),
        )


def _text(value: Any) -> str:
    """Return the value of a property as a text, as CommCare's own search does with one that is none."""
    return value if isinstance(value, str) else "" if value is None else str(value)


def _epoch(text: str | None) -> float | None:
    """Return a time of CommCare in epoch seconds; None for one that cannot be read."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class WrittenCases(_Checked):
    """The answer to a bulk write: the state of every changed case after it."""

    cases: ListOf[CaseObject]
    form_id: str | None = None


class CaseCount(_Checked):
    """How many cases a list has in all, whatever its pages hold."""

    matching_records: int = Field(ge=0)


class Place(_Checked):
    """A place in the list of cases."""

    cursor: str


class CasePage(CaseCount):
    """One page of the list of cases; `next` is an absolute address, or as CommCare's own description has it."""

    cases: ListOf[CaseObject]
    next: str | Place | None = None

    @property
    def following(self) -> str:
        """Return the address of the next page, or as much of it as there is."""
        if isinstance(self.next, Place):
            return "?" + urlencode({"cursor": self.next.cursor})
        return self.next or ""


class _NoCase(_Checked):
    """What stands in the place of a case that the search does not find."""

    error: str


class FetchedCases(_Checked):
    """The answer to a fetch of several cases."""

    cases: ListOf[CaseObject | _NoCase]

    def found(self) -> list[CaseReply]:
        """Return the cases that there are."""
        return [case.reply() for case in self.cases if isinstance(case, CaseObject)]


class _ErrorText(_Checked):
    error: str


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], answer: Answer, operation: str) -> M:
    """Validate the body of an answer; raises Unexpected, which holds nothing of the body."""
    try:
        return model.model_validate_json(answer.body)
    except ValidationError:
        pass  # its text holds values, and as the context of an error it would be kept
    raise Unexpected(
        f"CommCare's answer to {operation} does not have the promised shape.",
        system=SYSTEM,
        operation=operation,
        status=answer.status,
    )


def is_whole(body: bytes) -> bool:
    """Return whether a body ends as it begins: half an answer may pass, a web page is for others to judge."""
    first, last = body[:64].lstrip()[:1], body[-64:].rstrip()[-1:]
    return first == b"<" or (first, last) in ((b"{", b"}"), (b"[", b"]"))


def cut_off(operation: str) -> NoAnswer:
    """Return the error of a read that was answered by half."""
    message = f"CommCare's answer to {operation} is cut off or not JSON."
    return NoAnswer(message, system=SYSTEM, operation=operation, status=200)


def error_text(answer: Answer) -> str:
    """Return the text of a JSON error, or "" for the empty and HTML bodies that CommCare also sends."""
    try:
        return _ErrorText.model_validate_json(answer.body).error
    except ValidationError:
        return ""


def is_no_such_case(answer: Answer) -> bool:
    """Return whether an answer is a case or says that there is none; another 404 is that of a wrong address."""
    return answer.status == 200 or (answer.status == 404 and error_text(answer).startswith("Case "))


def match_replies(rows: Sequence[CaseWrite], cases: Sequence[CaseObject]) -> list[CaseReply | None]:
    """Find each row's case by case id where one was sent, else by external id; never by position.

    CommCare answers in no certain order, and rows that hit the same case get one entry. None stands for a row
    that no entry, or more than one, belongs to.
    """
    by_case_id = {case.case_id: case for case in cases}
    by_external_id: dict[str, list[CaseObject]] = {}
    for case in by_case_id.values():
        if case.external_id:
            by_external_id.setdefault(case.external_id, []).append(case)

    def find(row: CaseWrite) -> CaseReply | None:
        if row.case_id:
            case = by_case_id.get(row.case_id)
            return case.reply() if case else None
        found = by_external_id.get(row.key, [])
        return found[0].reply() if len(found) == 1 else None

    return [find(row) for row in rows]


# --- refusals -----------------------------------------------------------------------------------------------

UNKNOWN_PARAMETER = "unknown_parameter"
"""The code of a list that a server refuses since it does not know one of its parameters."""
_ROW = re.compile(r"(?:^|; )Error in row (\d+): ")
_REASONS = tuple(
    (re.compile(pattern, re.DOTALL), code)
    for pattern, code in (
        (r"No case found with ID '(?P<id>.*)'", "target_deleted"),
        (r"Case \[(?P<id>[^\]]*)\] is deleted", "target_deleted"),
        (r"Could not find a case with external_id '(?P<id>.*)'", "unknown_parent"),
        (r"There are multiple cases with external_id (?P<id>.+)", "duplicate_external_id"),
        (r"Multiple cases found with external_id '(?P<id>.*)':", "duplicate_external_id"),
        (r"InvalidCaseIndex: Case '(?P<child>.*)' references non-existent case '(?P<id>.*)'", "unknown_parent"),
        (r"InvalidCaseIndex", "unknown_parent"),
        (r"A 'create' flag is required", "no_upsert"),
        (r"Not all owner_ids are real owner_ids", "unknown_owner"),
        (r"exceeds allowed length", "value_too_long"),
        (
            r"must be valid XML identifiers|specified at the top level|is not a valid field",
            "illegal_property_name",
        ),
        (r"Values must be strings|not of type", "wrong_type"),
        (r"is not a valid parameter", UNKNOWN_PARAMETER),
    )
)


def reason(text: str) -> tuple[str, str]:
    """Return the reason code of an error text and the id it names, or ""; "refused" when it is not known."""
    for pattern, code in _REASONS:
        if found := pattern.search(text):
            return code, found.groupdict().get("id") or ""
    return "refused", ""


def rows_refused(text: str, rows: Sequence[CaseWrite], *, status: int) -> RowsRefused:
    """Turn the text of a refused bulk write into the rows at fault.

    Bad rows are listed by CommCare as `Error in row N: ...` (1-based), all of them; a failed look-up names one
    id, and then every row of ours that uses this id is at fault; other texts name neither.
    """
    marks = list(_ROW.finditer(text))
    if marks:
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        listed = {
            int(mark[1]) - 1: reason(text[mark.end() : end])[0]
            for mark, end in zip(marks, ends, strict=True)
            if len(mark[1]) < 4 and 1 <= int(mark[1]) <= len(rows)
        }
        return RowsRefused(listed, status=status)
    code, named = reason(text)
    at_fault = {index: code for index, row in enumerate(rows) if named and _uses(row, named, code)}
    return RowsRefused(at_fault, code=code, named=(named,) if at_fault else (), status=status)


def _uses(row: CaseWrite, named: str, code: str) -> bool:
    """Return whether the id in a refusal is one that this row was looked up by, or links to."""
    if code == "target_deleted":
        return row.case_id == named
    if code == "duplicate_external_id":
        return not row.case_id and row.key == named
    return any(index.case_id == named for index in row.indices)


# --- which error a status means -----------------------------------------------------------------------------

_KEYS = f"under {API_KEYS}"
_DENIALS: Mapping[int, tuple[str, str]] = {
    401: (
        "CommCare does not accept the user name or the API key: one of them is wrong, or the key has expired.",
        "Check COMMCARE_USERNAME (the e-mail address of the web user) and COMMCARE_API_KEY (or COMMCARE_PASSWORD);"
        f" a new key is made {_KEYS}.",
    ),
    402: (
        "The plan of this CommCare project space does not include the API.",
        "COMMCARE_DOMAIN must name a project space whose plan has API access (Pro or higher): CommCare HQ >"
        " Project Settings > Current Subscription.",
    ),
    403: (
        "The CommCare account may not use the API of this project space, or there is none of this name.",
        "Check COMMCARE_DOMAIN (the name that follows /a/ in the address of the project space). The web user in"
        " COMMCARE_USERNAME must be a member of it, with a role that has Edit Data and Access APIs:"
        " CommCare HQ > Users > Web Users, and Roles & Permissions.",
    ),
    404: (
        "There is no such CommCare project space at this address.",
        "Check COMMCARE_DOMAIN (the name that follows /a/ in the address of the project space) and COMMCARE_URL"
        " (such as https://www.commcarehq.org; accounts and project spaces differ from server to server).",
    ),
}
_TOLD: Mapping[str, tuple[str, str]] = {
    "OTP": (
        "CommCare asks for a two-factor code, which a password cannot give.",
        f"Put an API key, made {_KEYS}, into COMMCARE_API_KEY and leave COMMCARE_PASSWORD out.",
    ),
    "maximum password": (
        "CommCare has locked the account after too many wrong passwords.",
        f"Wait or have it unlocked; then put an API key, made {_KEYS}, into COMMCARE_API_KEY.",
    ),
    "temporarily cut off": (
        "CommCare has cut the API off for this project space because of too many requests.",
        "Write to the support of the server in COMMCARE_URL, naming the project space in COMMCARE_DOMAIN.",
    ),
    "ermission": (
        "The CommCare account is restricted to some locations and may not reach all cases.",
        "Give the role of the web user in COMMCARE_USERNAME Full Organization Access:"
        " CommCare HQ > Users > Roles & Permissions.",
    ),
}


def access_denied(answer: Answer, operation: str, *, remedies: Mapping[int, str] | None = None) -> AccessDenied:
    """Return what a person has to switch on, for the statuses 401 to 404.

    `remedies` holds what an operation needs beyond the case API, by status.
    """
    text = error_text(answer)
    status = 402 if "current subscription" in text else answer.status
    message, remedy = _DENIALS[status]
    if remedies and status in remedies:
        message, remedy = f"CommCare does not let this account {operation}.", remedies[status]
    else:
        message, remedy = next((told for word, told in _TOLD.items() if word in text), (message, remedy))
    return AccessDenied(message, system=SYSTEM, operation=operation, status=answer.status, remedy=remedy)


def too_many(answer: Answer, operation: str, *, now: float) -> Retriable:
    """Return the error of a 429: certainly nothing was done; without a Retry-After one second is the rule."""
    wait = retry_after(answer.headers, now=now)
    return Retriable(
        f"CommCare asks for fewer requests ({operation}).",
        system=SYSTEM,
        operation=operation,
        status=429,
        code="too_many_requests",
        retry_after=1.0 if wait is None else wait,
    )


def read_error(
    answer: Answer, operation: str, *, now: float, remedies: Mapping[int, str] | None = None
) -> AdaptorError:
    """Return the error that the status of a read means."""
    if answer.status == 429:
        return too_many(answer, operation, now=now)
    if answer.status in _DENIALS:
        return access_denied(answer, operation, remedies=remedies)
    if answer.status in (400, 413, 422):
        message, code = f"CommCare refuses {operation}", reason(error_text(answer))[0]
        return Refused(f"{message} ({code}).", system=SYSTEM, operation=operation, status=answer.status, code=code)
    message = f"CommCare answered {operation} with status {answer.status}."
    if answer.status == 408 or answer.status >= 500:
        wait = retry_after(answer.headers, now=now)
        return NoAnswer(message, system=SYSTEM, operation=operation, status=answer.status, retry_after=wait)
    return Unexpected(message, system=SYSTEM, operation=operation, status=answer.status)


def write_error(answer: Answer, rows: Sequence[CaseWrite], *, now: float) -> AdaptorError:
    """Return the error that the status of a bulk write means; what is not certainly refused is in doubt."""
    operation = "write cases"
    if answer.status == 429:
        return too_many(answer, operation, now=now)
    if answer.status in _DENIALS:
        return access_denied(answer, operation)
    if answer.status == 413:
        return RowsRefused({}, code="request_too_large", status=413)
    if answer.status in (400, 422):
        return rows_refused(error_text(answer), rows, status=answer.status)
    return in_doubt(f"CommCare answered a write with status {answer.status}", status=answer.status)


def in_doubt(what: str, *, status: int | None = None) -> InDoubt:
    """Return the error of a write whose outcome is unknown."""
    return InDoubt(
        f"{what}: whether it took effect is not known.",
        system=SYSTEM,
        operation="write cases",
        status=status,
        remedy="The rows rest before they are sent again.",
    )
