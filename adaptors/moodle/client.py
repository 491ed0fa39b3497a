"""Moodle's web-service protocol: form posts in, JSON or one of Moodle's many ways of saying no out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx
from pydantic_core import from_json

from adaptors.errors import AdaptorError, Maintenance, NoAnswer, NotSent, Retriable, Unexpected, WebPage
from adaptors.http import Answer, Http, Streamed, retried
from adaptors.limits import Limits
from adaptors.moodle.errors import answer_error, exception_error, login_error, page_of_one, web_page
from adaptors.moodle.names import Names
from adaptors.moodle.silent import Silent, Unrepeated
from adaptors.pace import Attend, Clock, Pace
from adaptors.slots import Slots

REST = "/webservice/rest/server.php"
BATCH_FUNCTION = "tool_mobile_call_external_functions"
EASY_FUNCTION = "core_webservice_get_site_info"
AT_FIRST, AT_ONCE = 2, 6  # requests in flight: Moodle usually is a small PHP server
PAUSE = 5.0  # seconds without requests after one that failed
WHEN_MOVED = "If runs were made with this address, run `moodle-commcare state moved-moodle` then."

T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """How the service account proves itself: a token, or a name and password for `login/token.php`.

    `fetched` is told the token that these are exchanged for: a secret from then on, which nobody else knows of.
    """

    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    service: str = ""
    fetched: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)


@dataclass(frozen=True)
class Reply:
    """One decoded answer and the seconds it took; batch sizes follow the seconds."""

    data: Any
    seconds: float


class MoodleClient:
    """Calls web-service functions of the Moodle at `url`; `requests` counts each transmission by function.

    `is_known` says that this Moodle answered well before, in this process or an earlier one: a web page in the
    place of an answer then is trouble that may pass, and no wrong address.
    """

    def __init__(
        self,
        url: str,
        login: Login,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 180.0,
        attempts: int = 5,
        names: Names | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.names = names or Names()
        self.requests: Counter[str] = Counter()
        self.is_known = False
        self._login = login
        self._token = login.token
        self._clock = clock
        self._attempts = attempts
        self._silent = Silent()
        limits = limits or Limits()
        at_once = limits.at_once or AT_ONCE
        limits, slots = replace(limits, at_once=at_once), Slots(start=AT_FIRST, ceiling=at_once)
        self._pace = Pace("Moodle", clock, limits, slots, pause=PAUSE, alive=self._is_alive)
        self._http = Http(
            "Moodle",
            url,
            clock=clock,
            transport=transport,
            timeout=timeout,
            setting="MOODLE_URL",
            when_moved=WHEN_MOVED,
        )

    @property
    def most_parts(self) -> int | None:
        """Return how many processes may share the limits; None: any number."""
        return self._pace.most_parts

    def share(self, parts: int) -> None:
        """Keep to one of so many equal parts of the limits: as many processes ask at the same time."""
        self._pace.share(parts)

    def attended_by(self, attend: Attend | None) -> Attend | None:
        """Have somebody told before each request; return who was before."""
        before, self._pace.attend = self._pace.attend, attend
        return before

    def begin(self, *, known: bool) -> None:
        """Begin a run: what gave no answer in an earlier one is asked again; `known` as in `is_known`."""
        self.is_known = self.is_known or known
        self._silent.forget()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def call(self, function: str, /, **params: Any) -> Any:
        """Call a function, trying again while that can help, and return the decoded JSON.

        Raises the families of `adaptors.errors`; see `adaptors.moodle.errors` for which code is which.
        """
        return (await self.retried(lambda: self.once(function, params), function)).data

    async def retried(self, read: Callable[[], Awaitable[T]], function: str = "") -> T:
        """Run a read, made of calls to `once` or `batch`, until it succeeds or trying again cannot help.

        `function` is what it is about. Raises NotAsked for one that gave no answer many times in a row, and
        Maintenance where Moodle has web pages for everything.
        """
        if function and self._silent.is_given_up(function):
            raise self._silent.error(function)
        heard_of = self._silent.heard_of
        try:
            repeats = Unrepeated(self._silent, function, self._pace.retries)
            found = await retried(read, attempts=self._attempts, budget=repeats)
        except WebPage as error:
            await self._came_to_nothing(function, error, heard_of)
            raise await self._of_pages(function, error) from None
        except Retriable as error:
            await self._came_to_nothing(function, error, heard_of)
            raise
        except AdaptorError:
            self._silent.answered(function)
            raise
        self._silent.answered(function)
        return found

    async def _came_to_nothing(self, function: str, error: Retriable, heard_of: int) -> None:
        """Note a read without an answer; raises CircuitOpen when that is so of all others as well."""
        self._silent.failed(function, error, heard_of)
        if function and self._silent.is_given_up(function):
            await self._pace.open()

    async def _of_pages(self, function: str, error: WebPage) -> Retriable:
        """Return what a page is: of this function alone, or of an easy question as well: then Moodle is closed."""
        try:
            if function != EASY_FUNCTION:
                await self.once(EASY_FUNCTION, {})
                return page_of_one(function or error.operation, error.status)
        except Maintenance as closed:
            return closed
        except WebPage:
            pass
        except AdaptorError:
            return error
        about: dict[str, Any] = {"system": error.system, "operation": error.operation, "status": error.status}
        return Maintenance(error.message, remedy=error.remedy, **about)

    async def once(self, function: str, params: Mapping[str, Any]) -> Reply:
        """Call a function exactly once."""
        if not self._token:
            self._token = await self._fetch_token()
        form = self._form(function) | self.names.settings() | flatten(params)
        answer, data = await self._paced(function, REST, form)
        if isinstance(data, dict) and "exception" in data:
            raise exception_error(function, data)
        return Reply(self.names.plain(function, data), answer.seconds)

    def _form(self, function: str) -> dict[str, str]:
        # The token goes first: PHP cuts a form off at max_input_vars, and what is cut must not be the token.
        return {"wstoken": self._token, "wsfunction": function, "moodlewsrestformat": "json"}

    async def batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[Any], float]:
        """Run several calls in one request through `tool_mobile_call_external_functions`.

        Returns the results in order and the seconds. Moodle stops at the first error: the list then is shorter
        than `calls` and its last element is the AdaptorError of that call; ask again for the rest.
        """
        requests = [
            {"function": function, "arguments": json.dumps(dict(arguments)), **self.names.batch_settings()}
            for function, arguments in calls
        ]
        reply = await self.once(BATCH_FUNCTION, {"requests": requests})
        responses = reply.data.get("responses") if isinstance(reply.data, dict) else None
        if not isinstance(responses, list) or not 0 < len(responses) <= len(calls):
            raise _misshapen(BATCH_FUNCTION, "no list of responses")
        results = [
            self.names.plain(function, _entry(function, response))
            for (function, _), response in zip(calls, responses, strict=False)
        ]
        if len(results) < len(calls) and not isinstance(results[-1], AdaptorError):
            raise _misshapen(BATCH_FUNCTION, "fewer responses than requests")
        return results, reply.seconds

    @asynccontextmanager
    async def stream(self, function: str, path: str, headers: Mapping[str, str]) -> AsyncIterator[Streamed]:
        """Post the token to a path of this Moodle and hand out the answer, whatever its status, as it comes.

        Holds a slot until the body is read; once, without trying again. Trouble is told to the pace once, also
        when its body breaks off.
        """
        if not self._token:
            self._token = await self._fetch_token()
        self.requests[function] += 1
        is_told = False
        async with self._pace.slot():
            try:
                form = {"token": self._token}
                async with self._http.stream(function, path, data=form, headers=headers) as answer:
                    head = Answer(answer.status, answer.headers, b"")
                    trouble = answer_error(function, head, now=self._clock.now())
                    if isinstance(trouble, Retriable):
                        self._learn(trouble)
                        is_told = True
                    else:
                        self._pace.answered(function, answer.seconds)
                    yield answer
            except (NotSent, NoAnswer) as error:
                if not is_told:
                    self._learn(error)
                raise

    async def _paced(self, function: str, path: str, form: Mapping[str, str]) -> tuple[Answer, Any]:
        """Send when it is our turn, and let the pace learn from what comes back."""
        async with self._pace.slot():
            try:
                answer, data = await self._sent(function, path, form)
            except Retriable as error:
                self._learn(error)
                raise
            self._pace.answered(function, answer.seconds, len(answer.body))
            return answer, data

    def _learn(self, error: Retriable) -> None:
        """Let the pace learn from a request without a usable answer; a Moodle that is closed tells it nothing."""
        if isinstance(error, Maintenance):
            return
        if error.status in (408, 429):
            self._pace.refused(PAUSE if error.retry_after is None else error.retry_after)
        else:  # what was never sent is no burden on anybody
            wait = 0.0 if isinstance(error, NotSent) else error.retry_after
            self._pace.failed(wait, str(error) if isinstance(error, WebPage) else "")

    async def _sent(self, function: str, path: str, form: Mapping[str, str]) -> tuple[Answer, Any]:
        """Send and decode; raises what the status tells, and Moodle's own trouble, which may pass."""
        self.requests[function] += 1
        answer = await self._http.send(function, "POST", path, data=form)
        error = answer_error(function, answer, now=self._clock.now(), known=self.is_known)
        if error is not None:
            raise error
        data = self._decode(function, answer)
        if isinstance(data, dict) and "exception" in data:
            error = exception_error(function, data)
            if isinstance(error, Retriable):
                raise error
        else:
            self.is_known = True
        self._silent.heard(function)
        return answer, data

    async def _is_alive(self) -> bool:
        """Ask Moodle an easy question; any answer but trouble will do. Raises Maintenance."""
        try:
            await self._sent(EASY_FUNCTION, REST, self._form(EASY_FUNCTION))
        except Maintenance:
            raise
        except Retriable:
            return False
        except AdaptorError:
            return True
        return True

    def _decode(self, function: str, answer: Answer) -> Any:
        try:
            return parsed(answer.body)
        except (ValueError, RecursionError):
            pass
        # Of a Moodle that nobody knows yet a web page is a wrong address; anything else (half an answer) may pass.
        is_page = answer.body.lstrip()[:1] == b"<"
        if is_page and self.is_known:  # maintenance, a firewall, a login page, a PHP warning before the JSON
            raise web_page(function, answer.status)
        if is_page:
            raise Unexpected(
                "Moodle's address answers with a web page instead of web-service data.",
                system="Moodle",
                operation=function,
                status=answer.status,
                remedy="Check that MOODLE_URL is the address of Moodle's front page, without anything behind it.",
            )
        raise NoAnswer(
            f"Moodle's answer to {function} is cut off or not JSON.",
            system="Moodle",
            operation=function,
            status=answer.status,
        )

    async def _fetch_token(self) -> str:
        """Exchange name and password for a token at `login/token.php`."""
        login = self._login
        form = {"username": login.username, "password": login.password, "service": login.service}
        _, data = await self._paced("login/token.php", "/login/token.php", form)
        token = data.get("token") if isinstance(data, dict) else None
        if isinstance(token, str) and token:
            login.fetched(token)
            return token
        raise login_error(data.get("errorcode", "") if isinstance(data, dict) else "")


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Write nested parameters the way PHP reads them: `values[0]`, `options[0][name]`; None is left out."""
    form: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}[{key}]" if prefix else str(key)
        if isinstance(value, Mapping):
            form |= flatten(value, name)
        elif isinstance(value, list | tuple):
            form |= flatten(dict(enumerate(value)), name)  # type: ignore[arg-type]
        elif isinstance(value, bool):
            form[name] = str(int(value))
        elif value is not None:
            form[name] = str(value)
    return form


def options(**values: int | str) -> list[dict[str, Any]]:
    """Return options as Moodle's functions take them: a list of names and values."""
    return [{"name": name, "value": value} for name, value in values.items()]


def parsed(text: bytes | str) -> Any:
    """Decode JSON, of which gradebooks send a great deal; raises ValueError."""
    try:
        return from_json(text, cache_strings="keys")
    except ValueError:
        return json.loads(text)  # half as quick, but a byte-order mark or half a character does not stop it


def _entry(function: str, response: Any) -> Any:
    """Decode one entry of a batch; its data and its error are JSON inside a JSON string."""
    if not isinstance(response, dict):
        raise _misshapen(function, "an entry is no object")
    try:
        if not response.get("error"):
            return parsed(response["data"])
        error = parsed(response["exception"])
    except (KeyError, TypeError, ValueError, RecursionError):
        pass  # the text of the entry hangs on what was caught: it is dropped with it
    else:
        return exception_error(function, error if isinstance(error, dict) else {})
    raise _misshapen(function, "an entry holds no JSON")


def _misshapen(function: str, what: str) -> Unexpected:
    return Unexpected(f"Moodle's answer to {function} has {what}.", system="Moodle", operation=function)
