"""What SECURITY.md promises, line by line: secrets stay where they are, and hostile answers do no harm.

That no value of a person leaks either is tests/test_canary.py; modes of files are tests/state.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
import traceback
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from adaptors.commcare.answers import CaseCount, CasePage, parse
from adaptors.commcare.cases import is_sendable
from adaptors.commcare.forwarding import Ourselves, read_forwarded
from adaptors.errors import AccessDenied, AdaptorError, InDoubt, NoAnswer, NotSent, Unexpected
from adaptors.http import BODY_CAP, LONGEST, SLOWEST, Answer, Http, network, tls
from adaptors.moodle.answers import PEOPLE, checked
from adaptors.moodle.client import Login, MoodleClient, _entry
from adaptors.moodle.events import read_event
from adaptors.moodle.pluginfile import open_file
from adaptors.posted import NotUnderstood, read_object
from adaptors.serve import LocalServer
from flows.open import open_moodle
from flows.redact import install
from flows.settings import load_settings
from tests.adaptors.commcare_world import API_KEY, client_of, row
from tests.canaries import found_in, links
from tests.clocks import VirtualClock
from tests.virtual_loop import run_virtually

TOKEN = "c4n4ry0t0k3n"
Handler = Callable[[httpx.Request], httpx.Response]


def moodle(handler: Any) -> MoodleClient:
    """Return a client of Moodle whose requests a handler answers."""
    transport = httpx.MockTransport(handler)
    return MoodleClient("https://moodle.example.org", Login(TOKEN), clock=VirtualClock(), transport=transport)


def http(handler: Any) -> Http:
    """Return the client below both, on a handler."""
    return Http(
        "Moodle", "https://moodle.example.org", clock=VirtualClock(), transport=httpx.MockTransport(handler)
    )


async def ask_moodle(handler: Any) -> Any:
    """Ask Moodle a question."""
    return await moodle(handler).call("core_webservice_get_site_info")


async def read_commcare(handler: Any) -> Any:
    """Ask CommCare a question."""
    return await client_of(handler).count_cases("student")


async def write_commcare(handler: Any) -> Any:
    """Write a case to CommCare."""
    return await client_of(handler).write_cases([row()], batch="b1")


ASKING = pytest.mark.parametrize("ask", [ask_moodle, read_commcare, write_commcare])
Ask = Callable[[Any], Awaitable[Any]]

# --- secrets ------------------------------------------------------------------------------------------------

FAILURES = [
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ReadTimeout,
    httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError,
    httpx.LocalProtocolError, httpx.ProxyError, httpx.DecodingError, httpx.TooManyRedirects,
]  # fmt: skip


@ASKING
@pytest.mark.parametrize("failure", FAILURES)
async def test_an_error_holds_nothing_of_the_request(ask: Ask, failure: type[httpx.RequestError]) -> None:
    """Neither its text, its fields nor anything it was raised from: the HTTP client's errors hold the request."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise failure(f"failed: {request.content!r} {request.headers!r}", request=request)

    with pytest.raises(AdaptorError) as caught:
        await ask(fail)
    found = list(links(caught.value))
    shown = "".join(f"{link!r} {vars(link)}" for link in found) + "".join(traceback.format_exception(caught.value))
    assert [] == [link for link in found if isinstance(link, httpx.HTTPError)]
    assert (False, False) == (TOKEN in shown, API_KEY in shown)


PERSON = "QanaryFirst0"
OF_A_PERSON: dict[str, Callable[[], Any]] = {
    "moodle": lambda: checked(PEOPLE, "x", [{"id": PERSON}]),
    "batch": lambda: _entry("x", {"error": False, "data": f"{PERSON} and no JSON"}),
    "commcare": lambda: parse(CaseCount, Answer(200, httpx.Headers(), f'["{PERSON}"]'.encode()), "x"),
    "event": lambda: read_event({"eventname": PERSON, "timecreated": PERSON}),
    "case": lambda: read_forwarded({"domain": PERSON, "case_id": [PERSON]}, Ourselves("d", "u")),
    "post": lambda: read_object(f"{PERSON} and no JSON".encode()),
}


@pytest.mark.parametrize("name", OF_A_PERSON)
def test_an_error_holds_nothing_of_the_answer(name: str) -> None:
    """What the validation says quotes it: that hangs on no error of ours, not even where nobody is shown it."""
    with pytest.raises((AdaptorError, NotUnderstood)) as caught:
        OF_A_PERSON[name]()
    found = list(links(caught.value))
    assert [] == found_in("".join(f"{link!r} {vars(link)}" for link in found))
    assert [] == [link for link in found if isinstance(link, ValidationError)]  # which may hide what it quotes


@ASKING
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(ask: Ask, status: int) -> None:
    """The request, with what it holds, would go to whoever the answer names; a person corrects the address."""
    hosts = []

    def moved(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(status, headers={"Location": "https://elsewhere.example.org/"})

    with pytest.raises(AccessDenied, match=r"sends .* on to another address"):
        await ask(moved)
    assert (1, False) == (len(hosts), "elsewhere.example.org" in hosts)


@ASKING
async def test_secrets_are_never_in_an_address(ask: Ask) -> None:
    """Addresses end up in the logs of every server and proxy on the way."""
    addresses = []

    def remember(request: httpx.Request) -> httpx.Response:
        addresses.append(str(request.url))
        return httpx.Response(404)

    with pytest.raises(AdaptorError):
        await ask(remember)
    assert [] == [address for address in addresses if TOKEN in address or API_KEY in address]
    assert addresses


async def test_the_http_client_logs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for somebody who turns every logger on: the levels of the HTTP client are put back."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    for name in ("httpx", "httpcore"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    install([TOKEN])
    await ask_moodle(lambda _: httpx.Response(200, json={}))
    assert "" == stream.getvalue()


async def test_a_token_that_was_fetched_is_a_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in no setting, so that the filter hears of it when it comes, and one installed later as well."""
    monkeypatch.setattr("flows.redact.LEARNED", set())
    stream = StringIO()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(stream)])
    account = {"MOODLE_URL": "https://moodle.example.org", "MOODLE_USERNAME": "u", "MOODLE_PASSWORD": "passw0rd"}
    commcare = {"COMMCARE_DOMAIN": "d", "COMMCARE_USERNAME": "u@example.org", "COMMCARE_API_KEY": API_KEY}
    settings = load_settings({**account, "MOODLE_SERVICE": "s", **commcare}, None)
    install(settings.secrets())
    answer = httpx.Response(200, json={"token": TOKEN})
    await open_moodle(settings, VirtualClock(), httpx.MockTransport(lambda _: answer)).call("x")
    logging.getLogger("library").warning("sent %s", TOKEN)
    install(settings.secrets())
    logging.getLogger("library").warning("sent %s", {"form": TOKEN})
    assert "sent ***\nsent {'form': '***'}\n" == stream.getvalue()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
async def test_the_environment_sends_nothing_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that somebody set for a browser gets no token."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with LocalServer(lambda _: httpx.Response(200, content=b"here")) as server:
        client = Http("Moodle", server.url, clock=VirtualClock())
        answer = await client.send("x", "GET", "/")
        await client.close()
    assert b"here" == answer.body


def test_connections_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS 1.2 or later, and a certificate that is checked, for the name that was asked for; always."""
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    context = tls()
    assert (ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED, True) == (
        context.minimum_version,
        context.verify_mode,
        context.check_hostname,
    )
    assert context.cert_store_stats()["x509_ca"] > 20


def test_a_file_of_authorities_replaces_the_usual_ones(tmp_path: Path) -> None:
    """With a ministry's own authority only that is trusted; a file that holds none is an error."""
    one = ssl.DER_cert_to_PEM_cert(tls().get_ca_certs(binary_form=True)[0])
    (tmp_path / "own.pem").write_text(one)
    (tmp_path / "none.pem").write_text("nothing")
    context = tls(tmp_path / "own.pem")
    assert (1, ssl.CERT_REQUIRED) == (context.cert_store_stats()["x509_ca"], context.verify_mode)
    for name in ("none.pem", "missing.pem"):
        with pytest.raises((ssl.SSLError, FileNotFoundError)):
            network(tmp_path / name)


async def test_a_certificate_that_is_not_trusted_is_told_as_such() -> None:
    """With the setting for a private authority, not as a network that is down."""

    def untrusted(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    with pytest.raises(NotSent, match=r"is not one that this computer trusts. .* in MOODLE_CA_FILE\."):
        await ask_moodle(untrusted)


# --- hostile answers ----------------------------------------------------------------------------------------


class Endless(httpx.AsyncByteStream):
    """A body that never ends; `sent` counts what was asked of it."""

    def __init__(self) -> None:
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 2**20
            yield bytes(2**20)


async def test_a_body_without_end_is_cut_off() -> None:
    """Reading stops at the cap, not when the memory is full."""
    body = Endless()
    with pytest.raises(Unexpected, match="larger than 64 MB"):
        await http(lambda _: httpx.Response(200, stream=body)).send("x", "GET", "/")
    assert BODY_CAP < body.sent <= BODY_CAP + 2**21


@pytest.mark.parametrize(("packing", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_the_cap_holds_for_what_is_unpacked(packing: str, pack: Callable[[bytes], bytes]) -> None:
    """A hundred kilobytes may hide a hundred megabytes."""
    packed = pack(bytes(BODY_CAP + 2**20))
    assert len(packed) < 2**20
    with pytest.raises(Unexpected, match="larger than 64 MB"):
        await http(
            lambda _: httpx.Response(200, headers={"Content-Encoding": packing}, stream=Piecewise(packed))
        ).send("x", "GET", "/")


class Piecewise(httpx.AsyncByteStream):
    """A body in the pieces that a network makes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 65536):
            yield self._body[start : start + 65536]


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd", "gzip,deflate"])
async def test_only_what_was_asked_for_is_unpacked(packing: str) -> None:
    """Packed twice, a few bytes make gigabytes in one step, before anything can be counted."""
    answer = httpx.Response(200, headers={"Content-Encoding": packing}, stream=Endless())
    with pytest.raises(Unexpected, match="packed in a way that was not asked for"):
        await http(lambda _: answer).send("x", "GET", "/")


@pytest.mark.parametrize("status", [200, 403, 404])
async def test_nor_is_it_in_the_place_of_a_file(status: int) -> None:
    """The error that may stand there is read before anybody knows that it is none."""
    head = {"Content-Type": "application/json", "Content-Encoding": "gzip, gzip"}
    client = moodle(lambda _: httpx.Response(status, headers=head, stream=Endless()))
    with pytest.raises(Unexpected, match="packed in a way that was not asked for"):
        async with open_file(client, f"{client.url}/webservice/pluginfile.php/1/a.txt", now=0.0):
            pass


async def test_a_write_with_such_an_answer_is_in_doubt() -> None:
    """CommCare may have written: a hostile answer is no proof that it did not."""
    with pytest.raises(InDoubt):
        await write_commcare(lambda _: httpx.Response(200, stream=Endless()))


class Drip(httpx.AsyncByteStream):
    """A body of so many bytes, some of them every minute: never so slow that reading times out."""

    def __init__(self, size: int, a_minute: int) -> None:
        self._size, self._a_minute = size, a_minute

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(0, self._size, self._a_minute):
            await asyncio.sleep(60)
            yield bytes(self._a_minute)


async def seconds_of(work: Awaitable[Any], error: type[AdaptorError] | None) -> float:
    """Return how long something takes in the loop's time, which ends with an error or without."""
    with pytest.raises(error, match="too slow to be waited for") if error else nullcontext():
        await work
    return asyncio.get_running_loop().time()


async def never(_: httpx.Request) -> httpx.Response:
    """Give no answer, and keep the line open."""
    await asyncio.sleep(10**6)
    raise AssertionError


def drips(_: httpx.Request) -> httpx.Response:
    """Answer a byte a minute, for two years."""
    return httpx.Response(200, stream=Drip(2**20, 1))


@pytest.mark.parametrize("answer", [never, drips])
def test_no_answer_may_take_for_ever(answer: Any) -> None:
    """Each byte begins the time limit of reading anew; a request has one that nothing begins anew."""
    sent = http(answer).send("x", "GET", "/")
    assert LONGEST * 120 == run_virtually(seconds_of(sent, NoAnswer))
    assert LONGEST * 180 == run_virtually(seconds_of(write_commcare(answer), InDoubt))


@pytest.mark.parametrize(
    ("a_minute", "expected", "seconds"), [(60, NoAnswer, LONGEST * 180), (60 * SLOWEST, None, 16 * 60)]
)
def test_a_file_may_take_longer_the_more_of_it_comes(
    a_minute: int, expected: type[AdaptorError] | None, seconds: float
) -> None:
    """A large one over a slow line arrives, one that drips does not."""
    head = {"Content-Disposition": "attachment"}
    client = moodle(lambda _: httpx.Response(200, headers=head, stream=Drip(16 * 60 * SLOWEST, a_minute)))

    async def fetch() -> None:
        async with open_file(client, f"{client.url}/webservice/pluginfile.php/1/a.txt", now=0.0) as file:
            async for _ in file.chunks:
                pass

    took = run_virtually(seconds_of(fetch(), expected))
    assert (True, True) == (seconds <= took, took < seconds + 60)


def shapes() -> Iterator[tuple[str, Any]]:
    """Yield whatever an answer or a post is validated against, by its name."""
    for file in sorted((Path(__file__).parent.parent / "adaptors").rglob("*.py")):
        if file.stem.startswith("fake") or file.stem in ("__init__", "records"):  # records are our own
            continue
        module = import_module(".".join(file.relative_to(Path(__file__).parent.parent).with_suffix("").parts))
        for name, found in vars(module).items():
            if isinstance(found, TypeAdapter):
                yield name, found.core_schema
            elif isinstance(found, type) and issubclass(found, BaseModel) and found is not BaseModel:
                yield name, found.__pydantic_core_schema__


def unbounded(schema: Any) -> Iterator[str]:
    """Yield the lists in a schema that go on after a wrong element."""
    if isinstance(schema, dict):
        inside = schema.get("items_schema") or schema.get("values_schema") or {"type": "any"}
        wrong = [one for one in (inside if isinstance(inside, list) else [inside]) if one["type"] != "any"]
        if schema.get("type") in ("list", "tuple", "set", "frozenset", "dict") and wrong:
            yield from () if schema.get("fail_fast") else (str(schema["type"]),)
        for part in schema.values():
            yield from unbounded(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from unbounded(part)


def test_no_list_costs_more_than_one_error() -> None:
    """An error takes some hundred bytes: one for each of a megabyte of zeros would fill the memory."""
    found = list(shapes())
    assert {"CasePage", "PEOPLE", "_Items", "_Short", "WorkList"} <= {name for name, _ in found}
    assert {} == {name: lists for name, schema in found if (lists := list(unbounded(schema)))}
    with pytest.raises(ValidationError) as caught:
        CasePage.model_validate_json(b'{"matching_records": 1, "cases": [' + b"0," * 1000 + b"0]}")
    assert 1 == caught.value.error_count()


def test_what_xml_cannot_hold_is_found() -> None:
    """One such character fails a whole batch in CommCare: all of them, and no other."""
    legal = {0x9, 0xA, 0xD, *range(0x20, 0xD800), *range(0xE000, 0xFFFE), 0x10000, 0x10FFFF}
    tried = [*range(0x10000), 0x10000, 0x10FFFF]
    assert [] == [hex(code) for code in tried if is_sendable(f"a{chr(code)}b") != (code in legal)]
