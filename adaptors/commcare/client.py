"""The client of one CommCare project space: few requests, reads retried, writes never.

A write whose outcome is unknown is somebody else's to repeat: the caller keeps books of what was sent when, and
two requests with the same new external id make two cases.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from adaptors.commcare.answers import (
    UNKNOWN_PARAMETER,
    CaseCount,
    CaseObject,
    CasePage,
    FetchedCases,
    WrittenCases,
    error_text,
    in_doubt,
    is_no_such_case,
    match_replies,
    parse,
    write_error,
)
from adaptors.commcare.cases import (
    MAX_LENGTH,
    SYSTEM,
    CaseReply,
    CaseWrite,
    RowsRefused,
    check_rows,
    indexed_since,
    is_sendable,
    row_body,
    trimmed,
)
from adaptors.commcare.connection import CASES, MAKE_WORKER, PROBE, USER_AGENT, Connection
from adaptors.commcare.lookup_tables import LookupTables
from adaptors.commcare.owners import OwnerBook
from adaptors.commcare.workers import Workforce, read_workforce
from adaptors.errors import AdaptorError, NoAnswer, Refused, Retriable, Unexpected
from adaptors.http import Answer
from adaptors.pace import Attend

PAGE = 5000  # CommCare's largest page of cases
FETCHED = 500  # cases in one fetch: CommCare takes 5,000, and sends all their properties
STALE_PAGES = 3  # pages in a row without a new case: the listing goes in a circle
_FORM_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)  # what is kept of an answer has to look like an id


class CommCareClient:
    """Reads and writes the cases of the project space at the end of a connection.

    `owners` finds the owners of cases by name, `tables` keeps lookup tables.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._trims = True
        self.owners = OwnerBook(self._read_owners)
        self.tables = LookupTables(self._read_tables, partial(self._connection.change, "tables"))

    @property
    def requests(self) -> Counter[str]:
        """Return how many requests went out, by kind: write, list, get, owners, tables, probe."""
        return self._connection.requests

    @property
    def most_parts(self) -> int | None:
        """Return how many processes may share the limits; None: any number."""
        return self._connection.pace.most_parts

    def share(self, parts: int) -> None:
        """Keep to one of so many equal parts of the limits: as many processes ask at the same time."""
        self._connection.pace.share(parts)

    def attended_by(self, attend: Attend | None) -> Attend | None:
        """Have somebody told before each request; return who was before."""
        pace = self._connection.pace
        before, pace.attend = pace.attend, attend
        return before

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def write_cases(
        self,
        rows: Sequence[CaseWrite],
        *,
        batch: str,
        before_send: Attend | None = None,
        suspect: bool = False,
    ) -> list[CaseReply | None]:
        """Write 1 to 100 cases in one request, all or none, and return each row's case after it.

        `before_send` runs when a slot is free, immediately before the transmission: the place to note the time
        of sending, since waiting for a slot can take minutes. `suspect`: as in `Circuit`. Raises, nothing having
        been changed: RowsRefused, AccessDenied, Retriable (429, with `retry_after`, or not sent). Raises InDoubt
        when the outcome is unknown. Never repeats a request. Endpoint: POST case/v2/ with a list.
        """
        check_rows(rows)
        if not re.fullmatch(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*", batch):
            raise ValueError("A batch id goes into an HTTP header: visible ASCII characters only.")
        body = [row_body(row) for row in rows]
        async with self._connection.pace.slot():
            turn = self._connection.clock.monotonic()
            if before_send is not None:
                await before_send()
            agent = {"User-Agent": f"{USER_AGENT} batch={batch}"}
            answer = await self._transmit_write(body, headers=agent, turn=turn, suspect=suspect)
        if answer.status == 403 and not error_text(answer) and await self._is_let_in():
            raise RowsRefused({}, code="blocked", status=403)
        if answer.status not in (200, 201):
            raise write_error(answer, rows, now=self._connection.clock.now())
        return self._written(rows, answer)

    async def case_by_external_id(self, external_id: str) -> CaseReply | None:
        """Look up a case by external id, past any search lag; None when there is none.

        Raises Refused (duplicate_external_id) when several cases have it. Endpoint: GET case/v2/ext/<id>/.
        """
        if not external_id or len(external_id) > MAX_LENGTH or not is_sendable(external_id):
            return None  # CommCare cannot hold a case of this id
        path = f"{CASES}ext/{quote(external_id, safe='')}/"
        answer = await self._connection.read("get", "find a case by external id", path, passing=is_no_such_case)
        if answer.status == 404:
            return None
        case = parse(CaseObject, answer, "find a case by external id")
        if case.external_id != external_id:
            raise _unexpected("find a case by external id", "CommCare answered with another case.")
        return case.reply()

    async def cases_by_id(self, case_ids: Collection[str]) -> dict[str, CaseReply]:
        """Look up cases by CommCare's ids, 500 to a request; what is missing is not there (seconds behind writes).

        Endpoint: POST case/v2/bulk-fetch/.
        """
        wanted = set(case_ids)
        found = await self._fetched("case_ids", wanted)
        return {case.case_id: case for case in found if case.case_id in wanted}

    async def cases_by_external_id(self, external_ids: Collection[str]) -> dict[str, CaseReply]:
        """Look up cases by external id, 500 to a request, as `cases_by_id` does; of several with one id, any one.

        Endpoint: POST case/v2/bulk-fetch/.
        """
        wanted = {one for one in external_ids if 0 < len(one) <= MAX_LENGTH and is_sendable(one)}
        found = await self._fetched("external_ids", wanted)
        return {case.external_id: case for case in found if case.external_id in wanted}

    async def _fetched(self, kind: str, ids: Collection[str]) -> list[CaseReply]:
        """Fetch cases by ids of a kind, part by part."""
        wanted, found = sorted(ids), list[CaseReply]()
        for start in range(0, len(wanted), FETCHED):
            body = {kind: wanted[start : start + FETCHED]}
            answer = await self._connection.read("get", "fetch cases", f"{CASES}bulk-fetch/", body=body)
            found += parse(FetchedCases, answer, "fetch cases").found()
        return found

    async def count_cases(self, case_type: str) -> int:
        """Return how many cases of a type the project space has, closed ones included (seconds behind writes)."""
        return await self._count("count cases", {"case_type": case_type})

    async def list_cases(
        self,
        case_type: str,
        *,
        fields: Collection[str] = (),
        since: float | None = None,
        child_of: tuple[str, str] | None = None,
    ) -> AsyncIterator[CaseReply]:
        """List the cases of a type, closed ones included, each once (seconds behind writes).

        `fields` are names of properties: only these come in the replies, which is much quicker; none means all.
        `since` (epoch seconds) leaves out what CommCare has not indexed since then; `child_of` (the name of an
        index, a case id) leaves all but the children of that case.
        Raises Unexpected when the listing leads nowhere or in a circle, Retriable, after what came of it, when
        CommCare says that there are more cases than it gave. Endpoint: GET case/v2/.
        """
        wanted = {"case_type": case_type, **indexed_since(since)}
        if child_of is not None:
            wanted[f"indices.{child_of[0]}"] = child_of[1]
        answer = await self._list("list cases", {**wanted, "limit": PAGE}, trimmed(fields))
        seen, stale, named, most = set[str](), 0, {*fields}, 0
        while True:
            page = parse(CasePage, answer, "list cases")
            before, most = len(seen), max(most, page.matching_records)
            for case in page.cases:
                if case.case_id not in seen:
                    seen.add(case.case_id)
                    yield case.reply(named)
            stale = stale + 1 if len(seen) == before else 0
            if page.next is None:
                break
            if stale >= STALE_PAGES:
                raise _unexpected("list cases", "CommCare's list of cases does not come to an end.")
            answer = await self._connection.read(
                "list", "list cases", self._connection.following("list cases", CASES, page.following)
            )
        if len(seen) < most:  # or some were deleted meanwhile, or got another type: then there are fewer by now
            there = await self._count("list cases", wanted)
            if len(seen) < there:
                raise _short(case_type, len(seen), there)

    async def probe_upsert(self) -> bool:
        """Return whether CommCare can create or update in one request; older servers cannot. Writes nothing.

        Endpoint: POST case/v2/ with one row that new and old servers refuse with different texts.
        """
        answer = await self._connection.read(
            "probe", "probe upsert", CASES, body=PROBE, passing=lambda answer: answer.status == 400
        )
        text = error_text(answer)
        if "UPSERT" not in text and "'create' flag" not in text:
            raise _unexpected("probe upsert", "CommCare's answer does not tell whether it supports upserts.")
        return "UPSERT" in text

    async def _is_let_in(self) -> bool:
        """Return whether this account may write: then a firewall, which reads what is sent, stopped a write."""
        with suppress(AdaptorError):
            await self.probe_upsert()
            return True
        return False

    async def workforce(self) -> Workforce:
        """Return the mobile workers with their groups and locations, read anew; raises AccessDenied."""
        return await read_workforce(self._read_owners)

    async def create_worker(
        self, username: str, password: str, *, first_name: str, last_name: str, user_data: Mapping[str, str]
    ) -> None:
        """Make a mobile worker. Raises Refused (also for a user name that is taken), InDoubt, AccessDenied.

        Endpoint: POST user/v1.
        """
        body = {"username": username, "password": password, "first_name": first_name, "last_name": last_name}
        await self._connection.change(
            "owners", MAKE_WORKER, "POST", "user/v1", {**body, "user_data": {**user_data}}
        )

    async def _transmit_write(self, body: list[dict[str, Any]], **how: Any) -> Answer:
        """Send a bulk write; what went out and was not answered in full is in doubt."""
        try:
            return await self._connection.transmit("write", "write cases", "POST", CASES, json=body, **how)
        except NoAnswer as error:
            raise in_doubt(error.message.rstrip(".")) from None
        except Unexpected as error:
            raise in_doubt(error.message.rstrip("."), status=error.status) from None

    def _written(self, rows: Sequence[CaseWrite], answer: Answer) -> list[CaseReply | None]:
        """Read the answer to a write that CommCare says it did."""
        try:
            written = parse(WrittenCases, answer, "write cases")
        except Unexpected as error:
            raise in_doubt(error.message.rstrip("."), status=answer.status) from None
        replies = match_replies(rows, written.cases)
        missing = replies.count(None)
        if missing:
            raise in_doubt(f"CommCare's answer lacks {missing} of {len(rows)} rows", status=answer.status)
        form_id = written.form_id if written.form_id and _FORM_ID.fullmatch(written.form_id) else ""
        return [replace(reply, form_id=form_id) if reply is not None else None for reply in replies]

    async def _count(self, operation: str, wanted: Mapping[str, Any]) -> int:
        """Return how many cases a list has in all."""
        answer = await self._list(operation, {**wanted, "limit": 1}, {"fields": "case_id"})
        return parse(CaseCount, answer, operation).matching_records

    async def _list(self, operation: str, parameters: Mapping[str, Any], trimming: Mapping[str, str]) -> Answer:
        """Ask for a first page of cases cut short; a server from before March 2026 can only send whole ones."""
        if trimming and self._trims:
            try:
                return await self._connection.read("list", operation, CASES, {**parameters, **trimming})
            except Refused as error:
                if error.code != UNKNOWN_PARAMETER:
                    raise
                self._trims = False
        return await self._connection.read("list", operation, CASES, parameters)

    async def _read_owners(
        self, operation: str, resource: str, parameters: Mapping[str, Any], remedies: Mapping[int, str]
    ) -> Answer:
        return await self._connection.read("owners", operation, f"{resource}/", parameters, remedies=remedies)

    async def _read_tables(
        self, operation: str, resource: str, parameters: Mapping[str, Any], remedies: Mapping[int, str]
    ) -> Answer:
        return await self._connection.read("tables", operation, f"{resource}/", parameters, remedies=remedies)


def _unexpected(operation: str, message: str) -> Unexpected:
    return Unexpected(message, system=SYSTEM, operation=operation)


def _short(case_type: str, listed: int, there: int) -> Retriable:
    return Retriable(
        f"CommCare listed {listed:,} of {there:,} cases of type '{case_type}', and all are needed.",
        system=SYSTEM,
        operation="list cases",
    )
