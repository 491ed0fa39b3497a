"""A Moodle to test and play against: one callable, `httpx.Request` in and `httpx.Response` out.

As strict as the real one (measured on 4.5): errors as HTTP 200, fields beyond max_input_vars dropped, missing
capabilities that make lists shorter without a word. What it serves stands in a `FakeSite`, which may be edited.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import httpx

from adaptors.moodle.fake_account import Account
from adaptors.moodle.fake_answers import (
    FORBIDDEN,
    MAINTENANCE_PAGE,
    NOT_FOUND,
    Failures,
    Interrupted,
    json_answer,
    login_error,
    no_access,
    php_json,
    spoil,
    with_a_warning,
    xml_answer,
)
from adaptors.moodle.fake_assignments import ASSIGNMENT_FUNCTIONS
from adaptors.moodle.fake_completion import COMPLETION_FUNCTIONS
from adaptors.moodle.fake_enrolled import ENROLLED_USERS
from adaptors.moodle.fake_files import PLAIN_FILES, file_error, serve_file
from adaptors.moodle.fake_form import (
    Each,
    Fields,
    Refusal,
    Value,
    invalid_parameter,
    missing_record,
    read_form,
)
from adaptors.moodle.fake_functions import FUNCTIONS, Caller, Function
from adaptors.moodle.fake_marking import WEB_FILES
from adaptors.moodle.fake_marks import MARKING_FUNCTIONS
from adaptors.moodle.fake_names import Wording
from adaptors.moodle.fake_saves import SAVING_FUNCTIONS
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.fake_templates import CAPABILITIES

__all__ = ["TOKEN", "FakeMoodle", "FakeSite"]

TOKEN = "0123456789abcdef" * 2
REST, LOGIN = "/webservice/rest/server.php", "/login/token.php"
BATCH = "tool_mobile_call_external_functions"
_BATCH_TAKES = Fields(
    {
        "requests": Each(
            Fields(
                {
                    "function": Value("text"),
                    "arguments": Value("text", "{}"),
                    "settingraw": Value("bool", False),
                    "settingfilter": Value("bool", False),
                    "settingfileurl": Value("bool", True),
                    "settinglang": Value("text", ""),
                }
            )
        )
    }
)
_FUNCTIONS = {
    **FUNCTIONS,
    "core_enrol_get_enrolled_users": ENROLLED_USERS,
    **COMPLETION_FUNCTIONS,
    **ASSIGNMENT_FUNCTIONS,
    **MARKING_FUNCTIONS,
    **SAVING_FUNCTIONS,
}
SERVED = (*_FUNCTIONS, BATCH)
# Names that Moodle knows although no service here has them.
_ELSEWHERE = frozenset({"core_user_create_users", "core_user_delete_users", "enrol_manual_enrol_users"})


class MovableClock(Protocol):
    """A virtual clock that latency can move."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...


class FakeMoodle:
    """Serves a site. `calls` lists function and parameters of each call (never a token), `requests` counts HTTP.

    `functions` are the service's (default: those the site recorded, else all that are served), `passwords` the
    accounts that `login/token.php` lets in. `latency` says how many seconds a function takes: a clock given is
    moved, and the answer carries the extension `delay`, which the local server waits for.
    """

    def __init__(
        self,
        site: FakeSite,
        *,
        token: str = TOKEN,
        passwords: Mapping[str, str] | None = None,
        functions: Iterable[str] | None = None,
        capabilities: Iterable[str] = CAPABILITIES - {"moodle/course:update"},
        clock: MovableClock | None = None,
    ) -> None:
        self.site = site
        self.account = Account(token, passwords or {})
        self.max_input_vars = 1000
        self.post_max_size = 8 * 2**20
        self.latency: Callable[[str], float] | None = None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.requests = 0
        recorded = [function["name"] for function in site.info["functions"]]
        self.functions = list(functions if functions is not None else recorded or SERVED)
        self.capabilities = set(capabilities)
        self._clock = clock
        self._failures = Failures()
        self._spoiled = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one HTTP request."""
        self.requests += 1
        if self.site.maintenance == "cli":
            return MAINTENANCE_PAGE()
        path = request.url.path.removeprefix(httpx.URL(self.site.url).path.rstrip("/"))
        try:
            if path == LOGIN:
                return self._login(self._parameters(request))
            if path.startswith((f"{WEB_FILES}/", f"{PLAIN_FILES}/")):
                return self._file(path, request)
            if path != REST:
                return NOT_FOUND()
            return self._serve(self._parameters(request)) if self.site.web_services else FORBIDDEN()
        except Interrupted as interruption:
            return interruption.response

    @property
    def token(self) -> str:
        """Return the token that is right now."""
        return self.account.token

    # Misbehaviour

    def fail_next(self, function: str | None, kind: str, times: int = 1, after: int = 0) -> None:
        """Let the next `times` calls of a function (None: of any) fail, letting `after` of them through first.

        Kinds: see `FAILURES` in fake_answers. A function inside a batch fails the way it would alone.
        """
        self._failures.add(function, kind, times, after)

    def revoke(self, *capabilities: str) -> None:
        """Take capabilities from the service account."""
        if unknown := set(capabilities) - CAPABILITIES:
            raise ValueError(f"no capability {', '.join(sorted(unknown))}")
        self.capabilities -= set(capabilities)

    def allow(self, *capabilities: str) -> None:
        """Give capabilities to the service account."""
        self.capabilities |= set(capabilities)

    def remove_function(self, name: str) -> None:
        """Take a function out of the service."""
        self.functions.remove(name)

    def expire_token(self) -> None:
        """Let the token expire: the next use says so, and every later one no longer knows it."""
        self.account.expire()

    # The protocol

    def _parameters(self, request: httpx.Request) -> dict[str, Any]:
        """Read query and form as PHP does: JSON bodies and oversized ones count for nothing."""
        query = read_form(request.url.query.decode(), self.max_input_vars)
        body = request.read()
        is_form = request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        if request.method != "POST" or not is_form or len(body) > self.post_max_size:
            return query
        # PHP adds a field to the array before it counts, so one more than the limit gets through.
        return query | read_form(body.decode(), self.max_input_vars + 1)

    def _login(self, form: dict[str, Any]) -> httpx.Response:
        self.calls.append((LOGIN, {name: value for name, value in form.items() if name != "password"}))
        try:
            self._strike(LOGIN)
            return self.account.login(self.site, form)
        except Refusal as refusal:
            return login_error(refusal.errorcode, refusal.message)

    def _file(self, path: str, request: httpx.Request) -> httpx.Response:
        self.calls.append((WEB_FILES, {"path": path, "range": request.headers.get("Range", "")}))
        try:
            self._strike(WEB_FILES)
        except Refusal as refusal:
            return file_error(refusal.errorcode, refusal.message)
        response = serve_file(self.site, self.account, path, self._parameters(request), request)
        return self._delayed(WEB_FILES, response)

    def _serve(self, parameters: dict[str, Any]) -> httpx.Response:
        answer = json_answer if parameters.pop("moodlewsrestformat", "") == "json" else xml_answer
        wording = Wording(
            raw=parameters.pop("moodlewssettingraw", "") == "1",
            filtered=parameters.pop("moodlewssettingfilter", "") == "1",
            language=str(parameters.pop("moodlewssettinglang", "")),
        )
        name = str(parameters.pop("wsfunction", ""))
        self._spoiled = ""
        try:
            self.account.check(self.site, str(parameters.pop("wstoken", "")))
            parameters.pop("moodlewssettingfileurl", None)
            self._check_function(name)
            response = answer(self._execute(name, parameters, wording))
        except Refusal as refusal:
            response = answer(refusal.row())
        return self._delayed(name, spoil(self._spoiled, response))

    def _delayed(self, name: str, response: httpx.Response) -> httpx.Response:
        seconds = self.latency(name) if self.latency else 0.0
        if seconds:
            response.extensions["delay"] = seconds
            if self._clock:
                self._clock.advance(seconds)
        return response

    def _check_function(self, name: str) -> None:
        if not name:
            raise invalid_parameter()
        if name in self.functions:
            return
        known = {function["name"] for function in self.site.info["functions"]} | {*SERVED, *_ELSEWHERE}
        raise no_access() if name in known else missing_record("external_functions")

    def _execute(self, name: str, parameters: dict[str, Any], wording: Wording) -> Any:
        """Run a function of the service and log it; functions inside a batch are not logged again."""
        self.calls.append((name, parameters))
        if name == BATCH:
            self._strike(name)
            cleaned = _BATCH_TAKES.clean(parameters)
            self.calls[-1] = (name, cleaned)
            return {"responses": self._batch(cleaned["requests"])}
        return self._run(name, parameters, wording)

    def _run(self, name: str, parameters: Any, wording: Wording) -> Any:
        warns = self._strike(name) == "warnings"
        if name not in _FUNCTIONS:
            raise NotImplementedError(f"the fake Moodle does not serve {name}")
        function: Function = _FUNCTIONS[name]
        arguments = function.takes.clean(parameters)
        if self.calls[-1][1] is parameters:
            self.calls[-1] = (name, arguments)
        caller = Caller(self.site, frozenset(self.capabilities), self.functions, wording)
        data = function.answer(caller, **arguments)
        return with_a_warning(data) if warns else data

    def _strike(self, name: str) -> str:
        """Let the call fail if it is its turn; returns a change to be made to the true answer."""
        change = self._failures.strike(name)
        self._spoiled = change or self._spoiled
        return change

    def _batch(self, requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Run the requests of a batch up to and including the first that fails."""
        responses: list[dict[str, Any]] = []
        for request in requests:
            try:
                if request["function"] not in self.functions:
                    raise no_access()
                arguments = _json(request["arguments"])
                wording = Wording(request["settingraw"], request["settingfilter"], request["settinglang"])
                data = self._run(request["function"], arguments, wording)
            except Refusal as refusal:
                responses.append({"error": True, "exception": php_json(self._inner_error(refusal))})
                break
            responses.append({"error": False, "data": php_json(data)})
        return responses

    def _inner_error(self, refusal: Refusal) -> dict[str, str]:
        if refusal.errorcode == "accessexception":
            return {"errorcode": "accessexception", "module": "webservice"}
        more = f"https://docs.moodle.org/405/en/error/moodle/{refusal.errorcode}"
        texts = {"message": refusal.message, "errorcode": refusal.errorcode}
        return texts | {"link": f"{self.site.url}/", "moreinfourl": more}


def _json(text: str) -> Any:
    """Decode the arguments of a batch entry; what is no object has no parameters."""
    try:
        decoded = json.loads(text)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
