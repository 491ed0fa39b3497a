"""FakeCommCare: the protocol of a CommCare server over a project space, as strict as the real one.

One callable, `httpx.Request -> httpx.Response`, for tests without a port and for a real local port alike.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

import httpx

from adaptors.commcare import fake_tables, fake_writes
from adaptors.commcare.fake_faults import Misbehaviour, fail, html_page
from adaptors.commcare.fake_project import FIRST_MOMENT, Case, FakeProject, Form
from adaptors.commcare.fake_reads import LISTS, trimming
from adaptors.commcare.fake_requests import CASES, OWNERS, Call, credentials, json_body, kind_of
from adaptors.commcare.fake_rows import Crash, UserError
from adaptors.commcare.fake_search import TRIMMING, BadQuery, unfold
from adaptors.commcare.fake_tables import TABLES
from adaptors.commcare.fake_users import make_user
from adaptors.commcare.fake_writes import Change

_PERMISSIONS = {"user": "edit_mobile_workers", "group": "edit_mobile_workers", "location": "edit_locations"}
_PERMISSIONS["location_type"] = _PERMISSIONS["location"]


class FakeCommCare(Misbehaviour):
    """A CommCare server with one project space.

    `clock` gives epoch seconds; without one, time stands still until `advance`. `index_lag` is how many of these
    seconds the search is behind. `requests` counts requests by kind (write, list, get, owners, tables, probe,
    other), `calls` holds them. `throttle`, when set, is asked with the time for the seconds to wait, or None.
    """

    def __init__(
        self,
        project: FakeProject,
        *,
        domain: str,
        username: str,
        api_key: str,
        password: str = "",
        clock: Callable[[], float] | None = None,
        index_lag: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.project = project
        self.domain = domain
        self.requests: Counter[str] = Counter()
        self.calls: list[Call] = []
        self._credentials = {f"apikey {username.lower()}:{api_key}"} if api_key else set()
        if password:
            self._credentials.add(f"basic {username.lower()}:{password}")
        self._clock = clock or (lambda: FIRST_MOMENT)
        self.shelf = fake_tables.Shelf()
        self._offset = 0.0
        self._shuffler = random.Random(seed)  # noqa: S311 - the order of a set, not a secret
        self._unfinished: list[tuple[float, list[Change], Form]] = []
        project.clock = self.now
        project.search.lag = index_lag

    # --- time -------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the server's time in epoch seconds."""
        return self._clock() + self._offset

    def advance(self, seconds: float) -> None:
        """Let time pass; late writes that are due take effect."""
        self._offset += seconds
        self._finish()

    def _finish(self) -> None:
        """Apply the late writes that are due."""
        due = [entry for entry in self._unfinished if entry[0] <= self.now()]
        self._unfinished = [entry for entry in self._unfinished if entry[0] > self.now()]
        for _, changes, form in sorted(due, key=lambda entry: entry[0]):
            fake_writes.apply(self.project, changes)
            self.project.file(form)

    # --- requests ---------------------------------------------------------------------------------------

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or raise what a client sees of a lost one."""
        self._finish()
        target = request.url.raw_path.decode()
        kind = kind_of(request.method, target, request.content)
        self.requests[kind] += 1
        status = None
        try:
            response = self.failed(kind, request) or self._answer(request, target.partition("?")[0])
            status = response.status_code
            if self.latency:
                response.extensions["delay"] = self.latency  # for who serves this on a port
            return response
        finally:
            self.calls.append(Call(request.method, target, kind, status))

    def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        cases, owners, tables = CASES.fullmatch(path), OWNERS.fullmatch(path), TABLES.fullmatch(path)
        resource = next(filter(None, owners.groups()[1:]), "") if owners else "lookup_table" if tables else ""
        found = cases or owners or tables
        if any(text in request.content for text in self.forbidden):
            return html_page(403)
        if found is None:
            return html_page(404)
        refused = self._gate(request, unquote(found[1]), resource)
        if refused is not None:
            return refused
        if tables:
            return fake_tables.serve(self.shelf, self.project, request, tables)
        try:
            return self._owners(request, resource) if cases is None else self._cases(request, cases[2] or "")
        except Crash:
            return html_page(500)
        except (UserError, BadQuery) as error:
            form = {"form_id": self.project.new_id("form")} if getattr(error, "form", False) else {}
            return httpx.Response(400, json={"error": str(error), **form})

    def _gate(self, request: httpx.Request, domain: str, resource: str) -> httpx.Response | None:
        """Refuse in CommCare's order: sign-in, project space, permission, plan, throttle.

        A plan without locations comes before all of it, and with every list a refusal has no body.
        """
        if resource.startswith("location") and "locations" in self.revoked:
            return httpx.Response(403)
        if "api_key" in self.revoked or credentials(request) not in self._credentials:
            headers = {"WWW-Authenticate": 'Basic realm=""'}
            if resource:
                return httpx.Response(401, headers=headers, json={"error": "not authorized"})
            return httpx.Response(401, headers=headers)
        if domain != self.domain or "membership" in self.revoked:
            return httpx.Response(403)
        needed = {"api_access", _PERMISSIONS.get(resource, "edit_data")}
        if needed & self.revoked:
            return httpx.Response(403) if resource else html_page(403)
        if "plan" in self.revoked:
            told = {"error": "Your current subscription does not have access to this feature"}
            return httpx.Response(401, json=told) if resource else html_page(402)
        wait = self.throttle(self.now()) if self.throttle else None
        return None if wait is None else httpx.Response(429, headers={"Retry-After": repr(float(wait))})

    def _owners(self, request: httpx.Request, resource: str) -> httpx.Response:
        if resource == "user" and request.method == "POST":
            return make_user(self.project, request)
        if request.method != "GET":
            return httpx.Response(405)
        return LISTS[resource](self.project, self.domain, request.url.params)

    def _cases(self, request: httpx.Request, rest: str) -> httpx.Response:
        """Find the endpoint of the case API; the slash is optional except after ext/<id> and bulk-fetch."""
        if rest == "bulk-fetch/" and request.method == "POST":
            return self._bulk_fetch(request)
        extern = re.fullmatch(r"ext/(.+)/", rest)
        if extern:
            return self._by_external_id(request, unquote(extern[1]))
        case_id = unquote(rest.removesuffix("/"))
        if not re.fullmatch(r"[\w\-,]*", case_id):
            return html_page(404)
        if request.method == "GET":
            return self._get(request, case_id) if case_id else self._list(request)
        if request.method == "PUT" or (request.method == "POST" and not case_id):
            return self._write(request, case_id)
        return httpx.Response(405, json={"error": "Request method not allowed"})

    # --- reading ----------------------------------------------------------------------------------------

    def _json(self, request: httpx.Request, case: Case, *, indexed: bool) -> dict[str, Any]:
        indexed_on = self.project.search.indexed_on(case.case_id) if indexed else self.now()
        return trimming(request.url.params.multi_items())(case.to_json(self.domain, indexed_on))

    def _list(self, request: httpx.Request) -> httpx.Response:
        query = unfold(request.url.params.multi_items())
        unknown = next((name for name, _ in query if name.startswith(TRIMMING)), "")
        if unknown and not self.upserts:
            raise BadQuery(f"'{unknown}' is not a valid parameter.")
        cases, total, cursor = self.project.search.page(query)
        trim = trimming(query)
        index = self.project.search.indexed_on
        body: dict[str, Any] = {
            "matching_records": total,
            "cases": [trim(case.to_json(self.domain, index(case.case_id))) for case in cases],
        }
        if cursor:  # under the name that the server gives itself
            named = httpx.URL(self.own_name or request.url).copy_with(path=request.url.path, query=None)
            body["next"] = str(named.copy_with(params={"cursor": cursor}))
        return httpx.Response(200, json=self.as_sent(body, request.url))

    def _get(self, request: httpx.Request, case_id: str) -> httpx.Response:
        if "," in case_id:
            return self._stubs(request, [("case_id", one) for one in case_id.split(",")])
        case = self.project.search.get(case_id)
        if case is None:
            return httpx.Response(404, json={"error": f"Case '{case_id}' not found"})
        return httpx.Response(200, json=self._json(request, case, indexed=True))

    def _bulk_fetch(self, request: httpx.Request) -> httpx.Response:
        asked = json_body(request)
        if not isinstance(asked, dict):
            raise UserError("Payload must be a single JSON object")
        wanted = [("case_id", one) for one in asked.get("case_ids") or []]
        wanted += [("external_id", one) for one in asked.get("external_ids") or []]
        if not wanted:
            raise UserError("Payload must include 'case_ids' or 'external_ids' fields")
        if len(wanted) > 5000:
            raise UserError("You cannot request more than 5000 cases per request.")
        return self._stubs(request, wanted)

    def _stubs(self, request: httpx.Request, wanted: Sequence[tuple[str, str]]) -> httpx.Response:
        """Answer for several ids in their order, with a stub for each that the search does not find."""
        search = self.project.search
        found = [
            search.get(value) if kind == "case_id" else search.with_external_id(value) for kind, value in wanted
        ]
        cases = [
            self._json(request, case, indexed=True) if case else {kind: value, "error": "not found"}
            for (kind, value), case in zip(wanted, found, strict=True)
        ]
        missing = found.count(None)
        return httpx.Response(
            200, json={"matching_records": len(found) - missing, "missing_records": missing, "cases": cases}
        )

    def _by_external_id(self, request: httpx.Request, external_id: str) -> httpx.Response:
        """GET sees only cases that exist, PUT creates or updates, POST is a plain create (the id is ignored)."""
        if request.method == "POST":
            return self._write(request, "")
        if request.method not in ("GET", "PUT"):
            return httpx.Response(405, json={"error": "Request method not allowed"})
        found = self.project.by_external_id(external_id)
        if len(found) > 1:
            ids = ", ".join(case.case_id for case in found)
            raise UserError(f"Multiple cases found with external_id '{external_id}': {ids}")
        if request.method == "GET" and not found:
            return httpx.Response(404, json={"error": f"Case '{external_id}' not found"})
        if request.method == "GET":
            return httpx.Response(200, json=self._json(request, found[0], indexed=False))
        return self._put_external(request, external_id, found)

    # --- writing ----------------------------------------------------------------------------------------

    def _put_external(self, request: httpx.Request, external_id: str, found: Sequence[Case]) -> httpx.Response:
        data = json_body(request)
        if not isinstance(data, dict):
            raise UserError("Payload must be a single JSON object")
        if not found:
            changes = fake_writes.plan_single(self.project, {"external_id": external_id, **data}, "create")
        elif data.get("case_id", found[0].case_id) != found[0].case_id:
            raise UserError(
                'The given value of "case_id" does not match the existing value for the case identified by '
                f'external_id = "{external_id}". "case_id" is read-only and cannot be modified.'
            )
        else:
            changes = fake_writes.plan_single(self.project, {**data, "case_id": found[0].case_id}, "update")
        return self._commit(request, changes, [data], bulk=False)

    def _write(self, request: httpx.Request, case_id: str) -> httpx.Response:
        data = json_body(request)
        if isinstance(data, list):
            if case_id:
                raise Crash
            changes = fake_writes.plan_bulk(self.project, data, self.refused_rows(data), upserts=self.upserts)
            self.check_form(data)
            return self._commit(request, changes, data, bulk=True)
        if not isinstance(data, dict):
            raise Crash
        if request.method == "POST":
            changes = fake_writes.plan_single(self.project, data, "create")
        else:
            selected = {"case_id": case_id, **data} if case_id else data
            changes = fake_writes.plan_single(self.project, selected, "update")
        return self._commit(request, changes, [data], bulk=False)

    def _commit(
        self, request: httpx.Request, changes: list[Change], rows: Sequence[Any], *, bulk: bool
    ) -> httpx.Response:
        """Apply a form and answer, unless told to be late or to lose the answer."""
        agent = request.headers.get("User-Agent", "")
        form = Form(self.project.new_id("form"), agent, tuple(rows), self.now())
        if self.late:
            self._unfinished.append((self.now() + self.late.popleft(), changes, form))
            raise httpx.ReadTimeout("The answer did not come in time.", request=request)
        cases = fake_writes.apply(self.project, changes)
        self.project.file(form)
        if self.dropped:
            return fail(self.dropped.popleft(), request)
        trim = trimming(request.url.params.multi_items())
        written = [trim(case.to_json(self.domain, self.now())) for case in cases]
        self._shuffler.shuffle(written)
        answer = {"cases": written} if bulk else {"case": written[0]}
        return httpx.Response(200, json={"form_id": form.form_id, **answer})
