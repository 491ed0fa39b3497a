"""Trouble with a Moodle that answered well before: web pages, and functions that give no answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import pairwise

import httpx
import pytest

from adaptors.circuit import AT_LEAST, FAILURES
from adaptors.errors import AccessDenied, AdaptorError, CircuitOpen, Maintenance, NotAsked, Retriable, WebPage
from adaptors.moodle.client import PAUSE, Login, MoodleClient
from adaptors.moodle.errors import file_error, login_error
from adaptors.moodle.pluginfile import open_file
from adaptors.moodle.silent import GIVEN_UP
from tests.adaptors.test_moodle_client import INFO, TOKEN, client_of, moodle
from tests.clocks import VirtualClock

COURSES = "core_course_get_courses_by_field"
CATEGORIES = "core_course_get_categories"
EVER = 1000
ASKED = 5 + 4 + GIVEN_UP - 2
"""Requests until a function is given up: the second read ends when the easy question was answered."""


@pytest.mark.parametrize("kind", ["200_html", "403_html", "php_warning"])
@pytest.mark.parametrize("by_books", [True, False])
async def test_a_page_may_pass(kind: str, by_books: bool) -> None:
    """From a Moodle that answered well before, in this process or by the books, a page is asked about again."""
    fake = moodle()
    client = client_of(fake)
    if by_books:
        client.begin(known=True)
    else:
        await client.call(INFO)
    fake.fail_next(CATEGORIES, kind, times=3)
    assert isinstance(await client.call(CATEGORIES), list)
    assert 4 == client.requests[CATEGORIES]


async def test_repeats_come_out_of_one_budget() -> None:
    """Three answers of four are lost: forty reads send eleven again, and not more than a hundred."""
    fake, sent = moodle(), 0

    def every_fourth(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        if sent % 4:
            raise httpx.ReadTimeout("too late", request=request)
        return fake(request)

    client, answered = client_of(every_fourth), 0
    for _ in range(40):
        with suppress(Retriable):
            await client.call(CATEGORIES)
            answered += 1
    assert (40 + int(AT_LEAST) + 1, 12) == (sent, answered)


@pytest.mark.parametrize("kind", ["200_html", "403_html"])
@pytest.mark.parametrize("function", [INFO, CATEGORIES])
async def test_pages_for_everything(kind: str, function: str, caplog: pytest.LogCaptureFixture) -> None:
    """Then Moodle is closed for now; nothing of what the page says is told."""
    caplog.set_level(logging.DEBUG)
    fake = moodle()
    fake.fail_next(None, kind, times=EVER)
    client = client_of(fake)
    client.begin(known=True)
    with pytest.raises(Maintenance, match=r"web page at the moment .* check MOODLE_URL") as caught:
        await client.call(function)
    assert 5 <= client.requests.total() <= 10
    told = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caplog.text}"
    assert not [word for word in ("back soon", "<h1>", "nginx", TOKEN) if word in told]


async def test_many_pages_in_a_row_say_why() -> None:
    """Where the circuit ends it, the sentence names the page."""
    fake = moodle()
    fake.fail_next(None, "200_html", times=EVER)
    client = client_of(fake)
    client.begin(known=True)
    with pytest.raises(CircuitOpen, match=r"8 times in a row.* web page at the moment"):
        await asyncio.gather(*(client.call(name) for name in (CATEGORIES, COURSES)))


async def test_a_page_of_one_function() -> None:
    """Where an easy question is answered, it is about that function, and no address is doubted."""
    fake = moodle()
    fake.fail_next(CATEGORIES, "200_html", times=EVER)
    client = client_of(fake)
    client.begin(known=True)
    with pytest.raises(WebPage, match=CATEGORIES) as caught:
        await client.call(CATEGORIES)
    assert "MOODLE_URL" not in str(caught.value)
    assert {CATEGORIES: 5, INFO: 1} == dict(client.requests)


@pytest.mark.parametrize(
    ("kind", "known", "words"), [("403_html", False, "are off"), ("403_empty", True, "are off")]
)
async def test_moodles_own_403(kind: str, known: bool, words: str) -> None:
    """An empty one is Moodle's own, and on a first contact nobody can tell: web services are off."""
    fake = moodle()
    fake.fail_next(None, kind)
    client = client_of(fake)
    client.begin(known=known)
    with pytest.raises(AccessDenied, match=words):
        await client.call(INFO)
    assert 1 == client.requests[INFO]


async def test_a_page_at_the_login() -> None:
    """A login page of somebody before Moodle is met where the token is fetched."""
    client = client_of(lambda _: httpx.Response(200, html="<html>Sign in"), Login(username="a", password="b"))
    client.begin(known=True)
    with pytest.raises(Maintenance, match="web page"):
        await client.call(INFO)


@pytest.mark.parametrize("error", [login_error, lambda code: file_error("webservice/pluginfile.php", 200, code)])
@pytest.mark.parametrize("code", ["sitemaintenance", "upgraderunning"])
def test_closed_at_the_other_doors(error: Callable[[str], AdaptorError], code: str) -> None:
    """The login and the files say so in a shape of their own."""
    assert isinstance(error(code), Maintenance)


@pytest.mark.parametrize(("known", "body", "family"), [(True, "<html>", WebPage), (False, "<html>", AccessDenied)])
async def test_a_firewall_before_a_file(known: bool, body: str, family: type[Exception]) -> None:
    """Its page is trouble that may pass."""
    client = client_of(lambda _: httpx.Response(403, html=body))
    client.begin(known=known)
    with pytest.raises(family):
        async with open_file(client, f"{client.url}/webservice/pluginfile.php/1/a.pdf", now=0.0):
            pass


def files_that(*, fail: httpx.Response) -> tuple[MoodleClient, list[float], Callable[[], Awaitable[None]]]:
    """Return a client whose files all fail alike, when each was asked for, and what asks for one."""
    clock, asked = VirtualClock(), list[float]()

    def handle(_: httpx.Request) -> httpx.Response:
        asked.append(clock.monotonic())
        return httpx.Response(fail.status_code, headers=fail.headers)

    client = MoodleClient("https://a.org", Login(TOKEN), clock=clock, transport=httpx.MockTransport(handle))

    async def ask() -> None:
        async with open_file(client, f"{client.url}/webservice/pluginfile.php/1/a.pdf", now=clock.now()):
            pass

    return client, asked, ask


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_files_of_a_moodle_that_is_down(status: int) -> None:
    """A status that tells of trouble is no answer: pauses, and the end after eight in a row, as with functions."""
    _, asked, ask = files_that(fail=httpx.Response(status))
    names = await failing(ask, FAILURES + 1)
    assert [*["Retriable"] * FAILURES, "CircuitOpen"] == names
    assert PAUSE <= min(later - one for one, later in pairwise(asked[:FAILURES]))


@pytest.mark.parametrize(
    ("status", "headers", "pause"),
    [
        (429, {"Retry-After": "300"}, 300.0),
        (429, {}, PAUSE),
        (408, {}, PAUSE),
        (500, {"Retry-After": "30"}, 30.0),
        (404, {}, 0.0),
    ],
)
async def test_files_wait_as_long_as_moodle_asks(status: int, headers: dict[str, str], pause: float) -> None:
    """The next request waits, whatever it is for."""
    client, asked, ask = files_that(fail=httpx.Response(status, headers=headers))
    await failing(ask, 1)
    await failing(lambda: client.once(INFO, {}), 1)
    assert pause == asked[1] - asked[0]


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
async def test_a_file_whose_error_breaks_off(kind: str) -> None:
    """It is one failure, however much of it is read: the circuit opens after eight of them, and not after four."""

    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"err'
            raise httpx.ReadError("reset")

    client = client_of(lambda _: httpx.Response(500, headers={"Content-Type": kind}, stream=Broken()))

    async def ask() -> None:
        async with open_file(client, f"{client.url}/webservice/pluginfile.php/1/a.pdf", now=0.0):
            pass

    names = await failing(ask, FAILURES + 1)
    assert (["CircuitOpen"], False) == (names[FAILURES:], "CircuitOpen" in names[:FAILURES])


@pytest.mark.parametrize(("status", "family"), [(429, "Retriable"), (404, "AccessDenied")])
async def test_files_that_are_refused(status: int, family: str) -> None:
    """Moodle is there, however often it says no."""
    _, _, ask = files_that(fail=httpx.Response(status))
    assert [family] * 2 * FAILURES == await failing(ask, 2 * FAILURES)


async def failing(client_calls: Callable[[], object], times: int) -> list[str]:
    """Call so many times and return the names of the errors."""
    found = []
    for _ in range(times):
        with pytest.raises(AdaptorError) as caught:
            await client_calls()  # type: ignore[misc]
        found.append(type(caught.value).__name__)
    return found


@pytest.mark.parametrize("kind", ["timeout", "500_empty", "504_html", "dml"])
async def test_a_function_that_gives_no_answer(kind: str) -> None:
    """After eight reads in a row it is not asked any more, and the later ones of them were not repeated."""
    fake = moodle()
    fake.fail_next(CATEGORIES, kind, times=EVER)
    client = client_of(fake)
    await client.call(COURSES)
    names = await failing(lambda: client.call(CATEGORIES), GIVEN_UP + 3)
    assert ["NotAsked"] * 3 == names[GIVEN_UP:]
    assert "NotAsked" not in names[:GIVEN_UP]
    assert client.requests[CATEGORIES] <= ASKED
    assert client.requests[INFO] <= 2
    with pytest.raises(NotAsked, match=f"Moodle answers, but not {CATEGORIES}: after 8 reads"):
        await client.call(CATEGORIES)
    assert await client.call(COURSES)


async def test_the_next_run_asks_again() -> None:
    """What was given up in one run is not given up in the next."""
    fake = moodle()
    fake.fail_next(CATEGORIES, "timeout", times=ASKED)
    client = client_of(fake)
    await client.call(COURSES)
    await failing(lambda: client.call(CATEGORIES), GIVEN_UP + 1)
    client.begin(known=True)
    assert isinstance(await client.call(CATEGORIES), list)


async def test_an_answer_in_between_begins_anew() -> None:
    """Seven without, one with, seven without: it is still asked, and read as often as ever."""
    fake = moodle()
    client = client_of(fake)
    for _ in range(2):
        fake.fail_next(CATEGORIES, "timeout", times=ASKED - 1)
        await failing(lambda: client.call(CATEGORIES), GIVEN_UP - 1)
        for _ in range(50):
            await client.call(COURSES)  # earns the repeats anew
        assert isinstance(await client.call(CATEGORIES), list)


@pytest.mark.parametrize("kind", ["timeout", "500_empty", "database_down", "200_html"])
async def test_a_short_outage_costs_no_repeats(kind: str) -> None:
    """While nothing is answered no function is doubted: reads are repeated until the rest has helped."""
    fake = moodle()
    client = client_of(fake)
    client.begin(known=True)
    fake.fail_next(None, kind, times=9)  # a read of five, three more (or the easy question), and the easy question
    with pytest.raises(Retriable):
        await client.call(CATEGORIES)
    assert isinstance(await client.call(CATEGORIES), list)


async def test_a_refusal_is_an_answer() -> None:
    """A function that the account may not use is refused each time, and nobody takes that for silence."""
    fake = moodle()
    client = client_of(fake)
    await client.call(INFO)
    fake.remove_function(CATEGORIES)
    assert ["AccessDenied"] * 10 == await failing(lambda: client.call(CATEGORIES), 10)


async def test_an_outage_is_not_the_silence_of_a_function() -> None:
    """Where the easy question has no answer either, the run is postponed."""
    fake = moodle()
    fake.fail_next(None, "timeout", times=EVER)
    client = client_of(fake)
    names = await failing(lambda: client.call(CATEGORIES), GIVEN_UP)
    assert "CircuitOpen" == names[-1]
    assert not {"NotAsked", "AccessDenied"} & {*names}
