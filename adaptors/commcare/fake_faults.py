"""How the fake is told to misbehave, as networks and servers do: before the write, after it, or much later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from adaptors.commcare.fake_rows import Crash, UserError

Picks = Callable[[Mapping[str, Any]], bool]

_TITLES = {402: "Upgrade your plan", 403: "Permission denied", 404: "Not found", 500: "Server error"}
_ANSWERS: dict[str, Callable[[], httpx.Response]] = {
    "429": lambda: httpx.Response(429, headers={"Retry-After": "0.37"}),
    "429_no_header": lambda: httpx.Response(429),
    "503": lambda: html_page(503),
    "500_html": lambda: html_page(500),
    "504_html": lambda: html_page(504),
    "truncated_json": lambda: httpx.Response(200, content=b'{"matching_records": 3, "cases": [{"case_id": "8f1c'),
}


@dataclass
class Fault:
    """A failure to come, for so many requests of a kind."""

    kind: str
    where: str
    left: int


class Misbehaviour:
    """What goes wrong next.

    `throttle`, when set, is asked with the time for the seconds to wait, or None. `latency` is how many seconds
    each answer takes on a real port. Without `upserts` it is a server from before 2026,
    which has no `fields` either. `own_name` is its address as it has it, where that is not the one that is asked.
    """

    def __init__(self) -> None:
        self.throttle: Callable[[float], float | None] | None = None
        self.latency = 0.0
        self.revoked: set[str] = set()
        self.faults: deque[Fault] = deque()
        self.dropped: deque[str] = deque()
        self.late: deque[float] = deque()
        self.refusals: list[tuple[Picks, str]] = []
        self.refused_forms: list[tuple[Picks, str]] = []
        self.breakers: list[Picks] = []
        self.forbidden: list[bytes] = []
        self.unlisted: deque[str] = deque()
        self.hollow = 0
        self.upserts = True
        self.own_name = ""

    def fail_next(self, kind: str, times: int = 1, where: str = "write") -> None:
        """Fail the next requests, nothing being applied.

        `kind`: 429 (with a decimal Retry-After), 429_no_header, 503, 500_html, 504_html, truncated_json, timeout,
        refused.
        `where`: write, any, or another kind of request as in `requests`.
        """
        if kind not in (*_ANSWERS, "timeout", "refused"):
            raise ValueError(f"The fake does not know how to fail with {kind!r}.")
        self.faults.append(Fault(kind, where, times))

    def drop_reply_after_commit(self, times: int = 1, answer: str = "timeout") -> None:
        """Apply the next writes and lose their answers; `answer` 504_html and the like: say something else."""
        self.dropped.extend([answer] * times)

    def leave_out(self, case_id: str, times: int = 1) -> None:
        """Leave a case out of the next lists that would have it; their count of cases stays as it is."""
        self.unlisted.extend([case_id] * times)

    def empty_pages(self, times: int = 1) -> None:
        """Answer the next lists of cases with a page that is empty and names itself as the next one."""
        self.hollow += times

    def late_write(self, seconds: float, times: int = 1) -> None:
        """Let the next writes time out and take effect that much later, with ids looked up on arrival."""
        self.late.extend([seconds] * times)

    def refuse_row(self, which: str | Picks, text: str) -> None:
        """Refuse every bulk with a row of this external id or case id (or that the function picks) with a text."""
        self.refusals.append((_picks(which), text))

    def refuse_form(self, which: str | Picks, text: str) -> None:
        """Refuse every bulk with such a row in the processing of its form: the text does not say which row."""
        self.refused_forms.append((_picks(which), text))

    def break_over(self, which: str | Picks) -> None:
        """Answer every bulk with such a row with a 500."""
        self.breakers.append(_picks(which))

    def forbid(self, text: str) -> None:
        """Answer every request whose body holds a text with a 403, as the firewall before CommCare does."""
        self.forbidden.append(text.encode())

    def accept_rows(self) -> None:
        """Forget all `refuse_row`, `refuse_form`, `break_over` and `forbid`."""
        self.forbidden.clear()
        self.refusals.clear()
        self.refused_forms.clear()
        self.breakers.clear()

    def revoke(self, right: str) -> None:
        """Take something away: api_key, membership, plan, edit_data, api_access (or access_apis),
        edit_mobile_workers, edit_locations, or locations (the plan has none)."""
        self.revoked.add("api_access" if right == "access_apis" else right)

    def grant(self, right: str) -> None:
        """Give back what `revoke` took."""
        self.revoked.discard("api_access" if right == "access_apis" else right)

    def failed(self, kind: str, request: httpx.Request) -> httpx.Response | None:
        """Return or raise the failure that awaits a request of this kind, if any."""
        fault = next((fault for fault in self.faults if fault.where in ("any", kind)), None)
        if fault is None:
            return None
        fault.left -= 1
        if fault.left <= 0:
            self.faults.remove(fault)
        return fail(fault.kind, request)

    def as_sent(self, page: dict[str, Any], address: httpx.URL) -> dict[str, Any]:
        """Return a page of the list of cases as it goes out; one that is asked for to count them goes whole."""
        if address.params.get("limit") == "1":
            return page
        if self.hollow:
            self.hollow -= 1
            return page | {"cases": [], "next": str(address)}
        missing = {case.get("case_id") for case in page["cases"]}.intersection(self.unlisted)
        for case_id in missing:
            self.unlisted.remove(case_id)
        return page | {"cases": [case for case in page["cases"] if case.get("case_id") not in missing]}

    def check_form(self, rows: Sequence[Any]) -> None:
        """Raise what the processing of a form with these rows raises."""
        objects = [row for row in rows if isinstance(row, dict)]
        if any(picks(row) for picks in self.breakers for row in objects):
            raise Crash
        for picks, text in self.refused_forms:
            if any(map(picks, objects)):
                raise UserError(text, form=True)

    def refused_rows(self, rows: Sequence[Any]) -> dict[int, str]:
        """Return the texts with which rows of a bulk are refused, by their 0-based index."""
        objects = [(index, row) for index, row in enumerate(rows) if isinstance(row, dict)]
        return {index: text for picks, text in self.refusals for index, row in objects if picks(row)}


def _picks(which: str | Picks) -> Picks:
    """Return the function that finds rows by an external id or case id, or that is given."""
    if callable(which):
        return which
    return lambda row: which in (row.get("external_id"), row.get("case_id"))


def fail(kind: str, request: httpx.Request) -> httpx.Response:
    """Return the answer of a failure, or raise what a client sees of it."""
    if kind == "timeout":
        raise httpx.ReadTimeout("The answer did not come in time.", request=request)
    if kind == "refused":
        raise httpx.ConnectError("The connection was refused.", request=request)
    return _ANSWERS[kind]()


def html_page(status: int) -> httpx.Response:
    """Return a page for people, as CommCare sends with many errors."""
    title = _TITLES.get(status, "Service unavailable")
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body></body></html>"
    return httpx.Response(status, html=page)
