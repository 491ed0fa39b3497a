"""Where Moodle and CommCare tell that something happened: who may post, how much, and what is answered.

Nothing that is posted is believed: a post becomes a hint to read something soon, of ids and times. It is answered
202 once the hint is on disk, and nothing slower than that happens while the other system waits.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adaptors.commcare.forwarding import Ourselves, read_forwarded
from adaptors.moodle.events import read_event
from adaptors.posted import NotUnderstood, Posted, read_object
from flows.receive_inbox import Intake, NoRoom
from flows.receive_tally import Tally
from flows.settings import Settings, SettingsError
from state import Hint

EVENT_CAP = 256 * 1024
"""Bytes of an event: the recorded ones have half a thousand, but one may hold a text that was handed in."""
FORWARDED_CAP = 2 * 1024 * 1024
FORWARDED_AT_ONCE = 8
"""Forwarded cases and forms held in memory at the same time: 16 MB at most."""
BODY_S = 10.0
"""Seconds in which a body has to be here."""


class Refused(Exception):
    """A post that is not taken in; `line` is for the administrator of the other system."""

    def __init__(self, status: int, line: str, **headers: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Receiver:
    """The posts of both systems: proves who posts, reads what it says, hands it to the inbox."""

    def __init__(self, settings: Settings, intake: Intake, tally: Tally) -> None:
        require_secrets(settings)
        self._intake = intake
        self._tally = tally
        self._token = settings.webhook_token.get_secret_value()
        self._bearer = settings.forwarding_token.get_secret_value()
        self._basic = ""
        if password := settings.forwarding_password.get_secret_value():
            self._basic = f"{settings.forwarding_username}:{password}"
        ignored = frozenset(filter(None, settings.forwarding_ignore_users.split(",")))
        self._us = Ourselves(settings.commcare_domain, settings.commcare_username, ignored)
        self._few = asyncio.Semaphore(FORWARDED_AT_ONCE)

    def app(self) -> Starlette:
        """Return the application; the inbox is open while it runs."""
        routes = [Route("/healthz", self._health, methods=["GET"])]
        if self._token:
            routes.append(Route("/moodle", self._answering("Moodle", self._moodle), methods=["POST"]))
        if self._basic or self._bearer:
            forwarded = self._answering("CommCare", self._commcare)
            routes.append(Route("/commcare", forwarded, methods=["GET", "POST", "PUT"]))

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with self._intake, self._tally:
                yield

        return Starlette(routes=routes, lifespan=lifespan)

    def _answering(
        self, system: str, take: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler of a path: what is refused is answered in a line, and counted."""

        async def answer(request: Request) -> Response:
            try:
                return await take(request)
            except Refused as refused:
                self._tally.refused(system, refused.status, refused.line)
                return PlainTextResponse(f"{refused.line}\n", refused.status, refused.headers)
            except Exception as error:  # what it says may be a value of what was posted
                self._tally.refused(system, 500, f"A mistake in this program: {type(error).__name__}.")
                return PlainTextResponse("A mistake in this program; the next run reads everything.\n", 500)

        return answer

    async def _moodle(self, request: Request) -> Response:
        """Take an event of the plugin local_webhooks; its token is in the body."""
        _require_json(request)
        try:
            body = read_object(await _body(request, EVENT_CAP))
            token = body.get("token")
            if not isinstance(token, str) or not _same(token, self._token):
                raise Refused(401, "The token in the body is not that of WEBHOOK_TOKEN.")
            event = read_event(body)
        except NotUnderstood as error:
            raise Refused(400, str(error)) from None
        if event is None:
            self._tally.ignored("Moodle")
            return PlainTextResponse("Nothing has to be read for this event.\n", 200)
        return await self._take("Moodle", [event])

    async def _commcare(self, request: Request) -> Response:
        """Take a forwarded case or form; 422 because CommCare would repeat one that was answered 400.

        A GET is its button Test Connection, which wants to know whether the proof is right.
        """
        self._require_forwarder(request)
        if request.method in ("GET", "HEAD"):
            return PlainTextResponse("CommCare may forward to this address.\n", 200)
        _require_json(request)
        async with self._few:
            try:
                told = read_forwarded(read_object(await _body(request, FORWARDED_CAP)), self._us)
            except NotUnderstood as error:
                raise Refused(422, str(error)) from None
        if not told:
            self._tally.ignored("CommCare")
            return PlainTextResponse("Nothing has to be read for this.\n", 200)
        return await self._take("CommCare", told)

    async def _take(self, system: str, told: Sequence[Posted]) -> Response:
        """Put hints into the inbox and answer when they are on disk."""
        hints = [_hint(one) for one in told]
        try:
            await self._intake.put(hints)
        except NoRoom as error:
            raise Refused(503, str(error), Retry_After="60") from None
        self._tally.taken(system, [hint.course_id for hint in hints])
        return PlainTextResponse("Taken in.\n", 202)

    async def _health(self, _: Request) -> Response:
        """Say whether the inbox can be read; asked by a proxy or a watchdog, so it tells nothing else."""
        well = await self._intake.is_well()
        return PlainTextResponse("ok\n" if well else "The books cannot be read.\n", 200 if well else 503)

    def _require_forwarder(self, request: Request) -> None:
        """Raise Refused unless the header proves that CommCare forwards to us.

        CommCare's type API Key sends what was entered, with or without "Bearer" before it.
        """
        header = request.headers.get("authorization", "").strip()
        scheme, _, given = header.partition(" ")
        token = given.strip() if scheme.lower() == "bearer" else header
        if self._bearer and _same(token, self._bearer):
            return
        if scheme.lower() == "basic" and self._basic and _same(_decoded(given.strip()), self._basic):
            return
        way = "Bearer" if self._bearer else 'Basic realm="moodle-commcare"'
        wanted = "the token of FORWARDING_TOKEN" if self._bearer else "FORWARDING_USERNAME and FORWARDING_PASSWORD"
        raise Refused(401, f"The Authorization header does not hold {wanted}.", WWW_Authenticate=way)


def require_secrets(settings: Settings) -> None:
    """Raise SettingsError when nobody could post, since no secret is set."""
    if not settings.may_be_posted_to:
        raise SettingsError(
            "Nobody may post yet. Set WEBHOOK_TOKEN for Moodle's webhooks; for CommCare's data forwarding "
            "FORWARDING_USERNAME and FORWARDING_PASSWORD, or FORWARDING_TOKEN."
        )


def _require_json(request: Request) -> None:
    """Raise Refused unless the body says that it is JSON, and is not packed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "Post JSON: Content-Type application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "The body may not be packed (Content-Encoding).")


async def _body(request: Request, cap: int) -> bytes:
    """Return the body, of which no more than `cap` bytes are ever held; raises Refused."""
    too_large = Refused(413, f"The body is larger than {cap // 1024} KB.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 12 or int(length) > cap):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                if len(body) + len(chunk) > cap:
                    raise too_large
                body += chunk
    except TimeoutError:
        raise Refused(408, f"The body was not here after {BODY_S:.0f} seconds.") from None
    except ClientDisconnect:
        raise Refused(400, "The connection broke off in the middle of the body.") from None
    return bytes(body)


def _same(given: str, secret: str) -> bool:
    """Compare with a secret in a time that says neither where they differ nor how long the secret is."""
    ours, theirs = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (secret, given))
    return hmac.compare_digest(ours, theirs)


def _decoded(given: str) -> str:
    """Return what Basic authentication holds, "" when it is none."""
    try:
        return base64.b64decode(given, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def _hint(told: Posted) -> Hint:
    return Hint(
        told.source,
        told.event,
        told.mark,
        told.occurred_at,
        course_id=told.course_id,
        user_id=told.user_id,
        case_id=told.case_id,
        form_id=told.form_id,
    )
