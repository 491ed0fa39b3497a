"""The HTTP side of the fake Moodle's answers: JSON as PHP writes it, XML, and the pages of PHP and nginx."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import httpx

from adaptors.moodle.fake_form import Refusal, moodle_error

MAINTENANCE = "The site is undergoing maintenance and is currently not available"
UPGRADE = "Site is being upgraded, please retry later."  # from code, not measured
_NO_CACHE = {
    "Server": "nginx/1.22.1",
    "Cache-Control": "private, must-revalidate, pre-check=0, post-check=0, max-age=0",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": "no-cache",
    "Accept-Ranges": "none",
    "Access-Control-Allow-Origin": "*",
}
_LOGIN_ERRORS = {
    "enablewsdescription": "Web services must be enabled in Advanced features.",
    "invalidlogin": "Invalid login, please try again",
    "missingparam": "A required parameter ({}) was missing",
    "servicenotavailable": "Web service is not available. (It doesn't exist or might be disabled.)",
    "sitemaintenance": MAINTENANCE,
    "usernotallowed": "The user is not allowed for this service. First you need to allow this user on the {}'s"
    " allowed users administration page.",
}
_DATABASE_DOWN = (
    "<p>Error: Database connection failed</p>\r\n"
    "<p>It is possible that the database is overloaded or otherwise not running properly.</p>\r\n"
    "<p>The site administrator should also check that the database details have been correctly specified in"
    " config.php</p>"
)


def no_access() -> Refusal:
    """Return Moodle's one word for everything the account is not let at."""
    return Refusal("webservice_access_exception", "accessexception", "Access control exception")


def php_json(data: Any) -> str:
    """Write JSON as PHP does: compact, slashes and everything beyond ASCII escaped."""
    return json.dumps(data, separators=(",", ":")).replace("/", "\\/")


def json_answer(data: Any) -> httpx.Response:
    """Return data as a web-service answer."""
    headers = _NO_CACHE | {"Content-Type": "application/json"}
    return httpx.Response(200, headers=headers, content=php_json(data).encode())


def login_answer(data: Mapping[str, Any]) -> httpx.Response:
    """Return data as login/token.php does."""
    headers = _NO_CACHE | {"Content-Type": "application/json; charset=utf-8"}
    return httpx.Response(200, headers=headers, content=php_json(data).encode())


def xml_answer(data: Any) -> httpx.Response:
    """Return data as Moodle does when nobody asked for JSON."""
    headers = _NO_CACHE | {
        "Content-Type": "application/xml; charset=utf-8",
        "Content-Disposition": 'inline; filename="response.xml"',
    }
    if isinstance(data, dict) and "exception" in data:
        body = f'<EXCEPTION class="{data["exception"]}">\n'
        body += f"<ERRORCODE>{escape(data.get('errorcode', ''))}</ERRORCODE>\n"
        body += f"<MESSAGE>{escape(data['message'])}</MESSAGE>\n</EXCEPTION>\n"
    else:
        body = f"<RESPONSE>\n{_xml(data)}</RESPONSE>\n"
    return httpx.Response(
        200, headers=headers, content=f'<?xml version="1.0" encoding="UTF-8" ?>\n{body}'.encode()
    )


def _xml(data: Any) -> str:
    if isinstance(data, Mapping):
        return (
            "<SINGLE>\n" + "".join(f'<KEY name="{k}">{_xml(v)}</KEY>\n' for k, v in data.items()) + "</SINGLE>\n"
        )
    if isinstance(data, list):
        return "<MULTIPLE>\n" + "".join(map(_xml, data)) + "</MULTIPLE>\n"
    if data is None:
        return '<VALUE null="null"/>\n'
    return f"<VALUE>{escape(str(int(data) if isinstance(data, bool) else data))}</VALUE>\n"


def login_refusal(errorcode: str, about: str = "") -> httpx.Response:
    """Return an error of login/token.php, in its own words."""
    return login_error(errorcode, _LOGIN_ERRORS[errorcode].format(about))


def login_error(errorcode: str, message: str) -> httpx.Response:
    """Return an error in the shape of login/token.php."""
    error = {"error": message, "errorcode": errorcode}
    return login_answer(error | dict.fromkeys(("stacktrace", "debuginfo", "reproductionlink")))


def _page(status: int, title: str = "", **headers: str) -> Callable[[], httpx.Response]:
    """Return a maker of an HTML page like nginx's, or of an empty body like PHP's when there is no title."""
    body = ""
    if title:
        body = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        body += "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
    sent = {"Server": "nginx/1.22.1", "Content-Type": "text/html" if title else "text/html; charset=utf-8"}
    return lambda: httpx.Response(status, headers=sent | headers, content=body.encode())


FORBIDDEN = _page(403)
NOT_FOUND = _page(404, "404 Not Found")
MAINTENANCE_PAGE = _page(503, "Example Moodle under maintenance", **{"Retry-After": "300"})

# What `fail_next` can do: an answer instead of Moodle's, an exception of the transport, an error of Moodle's own,
# or (None) a change to the true answer.
FAILURES: dict[str, Callable[[], httpx.Response | Exception] | None] = {
    "403_empty": FORBIDDEN,
    "500_empty": _page(500),
    "502_html": _page(502, "502 Bad Gateway"),
    "503": MAINTENANCE_PAGE,
    "504_html": _page(504, "504 Gateway Time-out"),
    "timeout": lambda: httpx.ReadTimeout("no answer in time"),
    "refused": lambda: httpx.ConnectError("connection refused"),
    "dropped": lambda: httpx.RemoteProtocolError("server disconnected without sending a response"),
    "sitemaintenance": lambda: moodle_error("sitemaintenance", MAINTENANCE),
    "dml": lambda: Refusal("dml_read_exception", "dmlreadexception", "Error reading from database"),
    "database_down": lambda: Refusal("dml_connection_exception", "dbconnectionfailed", _DATABASE_DOWN),
    "accessexception": no_access,
    "site_policy": lambda: moodle_error(
        "sitepolicynotagreed", "Site policy not agreed"
    ),  # from code, not measured
    "truncated_json": None,
    "php_warning": None,
    "warnings": None,
    "usernotenroled": lambda: moodle_error("usernotenroled", "User is not enrolled in this course"),
    "200_html": _page(200, "We will be back soon"),
    "403_html": _page(403, "403 Forbidden"),
    "upgraderunning": lambda: moodle_error("upgraderunning", UPGRADE),
}


class Interrupted(Exception):
    """The web server or PHP answered instead of Moodle."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass
class _Failure:
    function: str | None
    kind: str
    after: int
    times: int


class Failures:
    """What is to go wrong next."""

    def __init__(self) -> None:
        self._due: list[_Failure] = []

    def add(self, function: str | None, kind: str, times: int, after: int) -> None:
        """Let calls of a function (None: of any) fail."""
        if kind not in FAILURES:
            raise ValueError(f"no failure {kind!r}; there are {', '.join(FAILURES)}")
        self._due.append(_Failure(function, kind, after, times))

    def strike(self, function: str) -> str:
        """Raise what is due for a call of this function, or return the change to make to its true answer."""
        due = next((failure for failure in self._due if failure.function in (None, function)), None)
        if due is None:
            return ""
        if due.after:
            due.after -= 1
            return ""
        due.times -= 1
        if not due.times:
            self._due.remove(due)
        failure = FAILURES[due.kind]
        if failure is None:
            return due.kind
        outcome = failure()
        raise outcome if isinstance(outcome, Exception) else Interrupted(outcome)


def with_a_warning(data: Any) -> Any:
    """Return a true answer as it is when Moodle warns: the last of each thing that it lists is left out.

    Where Moodle has no warnings, the answer stays whole.
    """
    if not isinstance(data, dict) or "warnings" not in data:
        return data
    lacking = {name: found[:-1] if isinstance(found, list) else found for name, found in data.items()}
    warning = {"item": "course", "itemid": 0, "warningcode": "1", "message": "Something is missing"}
    return lacking | {"warnings": [*data["warnings"], warning]}


def spoil(kind: str, response: httpx.Response) -> httpx.Response:
    """Return the true answer, or cut in half, or with a PHP warning printed before it."""
    if kind not in {"truncated_json", "php_warning"}:
        return response
    body = response.content
    changed = body[: len(body) // 2] if kind == "truncated_json" else b"<br />\n<b>Warning</b>: noise\n" + body
    return httpx.Response(
        response.status_code, headers=_NO_CACHE | {"Content-Type": "application/json"}, content=changed
    )
