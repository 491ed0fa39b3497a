"""The connection to one CommCare project space: every request paced and counted, reads retried, writes never."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from adaptors.commcare.answers import cut_off, in_doubt, is_whole, read_error
from adaptors.commcare.cases import SYSTEM
from adaptors.commcare.owners import LIST_REMEDIES
from adaptors.errors import AccessDenied, AdaptorError, NoAnswer, NotSent, Refused, Unexpected
from adaptors.http import Answer, Http, retried, retry_after
from adaptors.limits import Limits
from adaptors.pace import Attend, Clock, Pace
from adaptors.slots import Slots

USER_AGENT = "moodle-commcare/0.1"
AT_FIRST, AT_ONCE = 2, 4  # requests in flight
CASES = "case/v2/"
PROBE = [{"create": None}]  # what new and old servers refuse with different texts
PAUSE = 1.0  # seconds after "too many requests" where CommCare does not say how long
MAKE_WORKER = "make a mobile worker"
REMEDIES = {MAKE_WORKER: LIST_REMEDIES["user"]}


@dataclass(frozen=True)
class Account:
    """A project space, and who asks it: a user name with an API key or a password."""

    url: str
    domain: str
    username: str
    api_key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def authorisation(self) -> str:
        """Return the Authorization header: an API key where there is one, else name and password.

        Raises AccessDenied, without the value, for what no HTTP header can carry.
        """
        name, key = self.username.strip(), self.api_key.strip()
        for setting, text in (("COMMCARE_USERNAME", name), ("COMMCARE_API_KEY", key)):
            if not re.fullmatch(r"[\x21-\x7e]*", text):
                told = f"{setting} holds a blank or a character outside ASCII; neither a user name nor a key does."
                again = f"Copy {setting} once more."
                raise AccessDenied(told, system=SYSTEM, operation="sign in", remedy=again)
        name = name.lower()  # as names of web users are kept
        if key:
            return f"ApiKey {name}:{key}"
        return "Basic " + b64encode(f"{name}:{self.password}".encode(errors="replace")).decode()


class Connection:
    """Sends requests to the project space of an account, a read `attempts` times.

    A resource is a path below its `api/`. `requests` counts each transmission by its kind: write, list, get,
    owners, tables, probe. Raises AccessDenied for a user name or a key that no HTTP header can carry.
    """

    def __init__(
        self,
        account: Account,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 180.0,
        attempts: int = 5,
        limits: Limits | None = None,
    ) -> None:
        self.clock = clock
        self.requests: Counter[str] = Counter()
        slots = Slots(start=AT_FIRST, ceiling=AT_ONCE, careful=False)
        self.pace = Pace(SYSTEM, clock, limits or Limits(), slots, easy=self._is_alive)
        self._api = f"/a/{quote(account.domain, safe='')}/api/"
        self._attempts = attempts
        self._http = Http(
            SYSTEM,
            account.url,
            clock=clock,
            transport=transport,
            timeout=timeout,
            headers={
                "Authorization": account.authorisation(),
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
            },
            setting="COMMCARE_URL",
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._http.close()

    async def transmit(
        self, kind: str, operation: str, method: str, resource: str, *, suspect: bool = False, **content: Any
    ) -> Answer:
        """Send one request, count it, and let the pace learn from it; `suspect` as in `Circuit`."""
        self.requests[kind] += 1
        try:
            answer = await self._http.send(operation, method, self._api + resource, **content)
        except (NoAnswer, NotSent):
            self.pace.failed(suspect=suspect)
            raise
        if answer.status == 429:
            self._rest(answer)
        elif answer.status >= 500:
            self.pace.failed(retry_after(answer.headers, now=self.clock.now()), suspect=suspect)
        else:
            self.pace.answered(operation, answer.seconds, len(answer.body))
        return answer

    async def _is_alive(self) -> bool:
        """Ask CommCare what no server fails at while it is in order, and what writes nothing.

        The pace learns nothing good from the answer: a CommCare may answer this, and break down at every write.
        An answer of somebody before it (one that leads elsewhere, or cannot be read) is none: no error ends a run
        for a question that no record needed.
        """
        self.requests["probe"] += 1
        try:
            answer = await self._http.send("probe upsert", "POST", f"{self._api}{CASES}", json=PROBE)
        except AdaptorError:
            return False
        if answer.status == 429:
            self._rest(answer)
        return answer.status < 500

    def _rest(self, answer: Answer) -> None:
        """Send nothing for as long as CommCare asked for with "too many requests"."""
        wait = retry_after(answer.headers, now=self.clock.now())
        self.pace.refused(PAUSE if wait is None else wait)

    async def read(
        self,
        kind: str,
        operation: str,
        resource: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | list[Any] | None = None,
        passing: Callable[[Answer], bool] = lambda answer: answer.status == 200,
        remedies: Mapping[int, str] | None = None,
    ) -> Answer:
        """Send a read until it is answered; an answer that is not `passing` raises what its status means.

        One with a `body` is a POST that only asks.
        """
        sent: dict[str, Any] = {"params": parameters} if body is None else {"json": body}

        async def once() -> Answer:
            async with self.pace.slot():
                answer = await self.transmit(kind, operation, "GET" if body is None else "POST", resource, **sent)
            if not passing(answer):
                raise read_error(answer, operation, now=self.clock.now(), remedies=remedies)
            if answer.status == 200 and not is_whole(answer.body):
                raise cut_off(operation)
            return answer

        return await retried(once, attempts=self._attempts, budget=self.pace.retries)

    async def change(
        self,
        kind: str,
        operation: str,
        method: str,
        resource: str,
        body: Mapping[str, Any] | None,
        before_send: Attend | None = None,
    ) -> Answer:
        """Send a change; only what certainly did nothing is sent again. Without a whole answer it is in doubt.

        `before_send` runs before each transmission, which then begins within a minute, or not at all.
        """
        content: dict[str, Any] = {} if body is None else {"json": body}
        gone = f"CommCare has no such table any more ({operation})."

        async def once() -> Answer:
            async with self.pace.slot():
                turn = self.clock.monotonic()
                if before_send is not None:
                    await before_send()
                try:
                    answer = await self.transmit(kind, operation, method, f"{resource}/", turn=turn, **content)
                except (NoAnswer, Unexpected) as error:
                    raise in_doubt(error.message.rstrip("."), status=error.status) from None
            if 200 <= answer.status < 300 or (method == "DELETE" and answer.status == 404):
                return answer
            if answer.status == 404 and kind == "tables":
                raise Refused(gone, system=SYSTEM, operation=operation, status=404, code="gone")
            if answer.status == 408 or answer.status >= 500:
                raise in_doubt(f"CommCare answered with status {answer.status}", status=answer.status)
            raise read_error(answer, operation, now=self.clock.now(), remedies=REMEDIES.get(operation))

        return await retried(once, attempts=self._attempts, budget=self.pace.retries)

    def following(self, operation: str, resource: str, address: str) -> str:
        """Return the next page of a resource: its place in the list is taken from the address, and nothing else.

        CommCare builds that address from its own name, which behind a proxy or a tunnel is not the one that was
        asked. What is asked next is our own address, so that the key is carried nowhere else.
        """
        try:
            place = urlsplit(address).query
        except ValueError:
            place = ""
        if not place:
            told = f"The next page ({operation}) has no place in the list."
            raise Unexpected(told, system=SYSTEM, operation=operation)
        return f"{resource}?{place}"
