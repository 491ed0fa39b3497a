"""The Moodle client: the form it posts, and which of Moodle's errors it makes of which answer."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
import respx

from adaptors.errors import AccessDenied, Maintenance, NotSent, Refused, Retriable, Unexpected
from adaptors.moodle.client import Login, MoodleClient, flatten
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from tests.clocks import VirtualClock

URL = "https://moodle.example.org"
TOKEN = "canary0token0canary0token0canary"
INFO = "core_webservice_get_site_info"


def client_of(fake: Any, login: Login | None = None, attempts: int = 5) -> MoodleClient:
    """Return a client whose requests `fake` answers."""
    transport = httpx.MockTransport(fake)
    return MoodleClient(URL, login or Login(TOKEN), clock=VirtualClock(), transport=transport, attempts=attempts)


def moodle(**values: Any) -> FakeMoodle:
    """Return an empty Moodle that knows the token."""
    return FakeMoodle(FakeSite(), token=TOKEN, **values)


async def test_form() -> None:
    """A call is a form post with the token first and arrays as PHP reads them."""
    with respx.mock:
        route = respx.post(f"{URL}/webservice/rest/server.php").respond(json=[])
        client = MoodleClient(URL, Login(TOKEN), clock=VirtualClock())
        await client.call("f", options=[{"name": "userfields", "value": "id"}], flag=True, nothing=None)
        await client.close()
    body = route.calls.last.request.content.decode()
    expected = (
        f"wstoken={TOKEN}&wsfunction=f&moodlewsrestformat=json&moodlewssettingraw=1"
        "&options%5B0%5D%5Bname%5D=userfields&options%5B0%5D%5Bvalue%5D=id&flag=1"
    )
    assert expected == body
    assert "" == route.calls.last.request.url.query.decode()


def test_flatten() -> None:
    """Nested parameters become bracketed names."""
    assert {"values[0]": "7", "a[b][0]": "x", "c": "0"} == flatten({"values": [7], "a": {"b": ["x"]}, "c": False})


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("sitemaintenance", Maintenance),
        ("upgraderunning", Maintenance),
        ("503", Retriable),
        ("500_empty", Retriable),
        ("502_html", Retriable),
        ("timeout", Retriable),
        ("refused", NotSent),
        ("dml", Retriable),
        ("truncated_json", Retriable),
    ],
)
async def test_lasting_trouble(kind: str, family: type[Exception]) -> None:
    """Trouble that does not pass ends in its family of errors."""
    fake = moodle()
    fake.fail_next(None, kind, times=50)
    with pytest.raises(family):
        await client_of(fake).call(INFO)


@pytest.mark.parametrize("kind", ["500_empty", "502_html", "timeout", "refused", "dml", "truncated_json"])
async def test_passing_trouble(kind: str) -> None:
    """A read is tried again until it succeeds."""
    fake = moodle()
    fake.fail_next(None, kind, times=3)
    client = client_of(fake)
    assert fake.site.url == (await client.call(INFO))["siteurl"]
    assert 4 == client.requests[INFO]


async def test_maintenance_is_not_retried() -> None:
    """A closed Moodle is asked once: it is for the next run."""
    fake = moodle()
    fake.site.maintenance = "cli"
    client = client_of(fake)
    with pytest.raises(Maintenance) as caught:
        await client.call(INFO)
    assert 300.0 == caught.value.retry_after
    assert 1 == client.requests[INFO]


@pytest.mark.parametrize(
    ("spoil", "function", "words"),
    [
        (lambda fake: fake.expire_token(), INFO, "expired"),
        (
            lambda fake: fake.remove_function("core_course_get_categories"),
            "core_course_get_categories",
            "External",
        ),
        (lambda fake: setattr(fake.site, "web_services", False), INFO, "switched off|are off"),
        (lambda _: None, "core_nope_nope", "does not know core_nope_nope"),
    ],
)
async def test_denied(spoil: Any, function: str, words: str) -> None:
    """What a person has to switch on is said with the screen to open."""
    fake = moodle()
    spoil(fake)
    with pytest.raises(AccessDenied, match=words):
        await client_of(fake).call(function)


async def test_wrong_token() -> None:
    """A wrong token names the setting and never shows itself."""
    with pytest.raises(AccessDenied, match="MOODLE_TOKEN") as caught:
        await client_of(moodle(), Login("wrong0token0wrong")).call(INFO)
    assert "wrong0token0wrong" not in str(caught.value) + repr(caught.value)


async def test_unknown_course() -> None:
    """An unknown course is refused, and the run may go on."""
    with pytest.raises(Refused):
        await client_of(moodle()).call("core_enrol_get_enrolled_users", courseid=999)


async def test_password_login() -> None:
    """Name and password are exchanged for a token once."""
    fake = moodle(passwords={"svc_commcare": "secret"})
    client = client_of(fake, Login(username="svc_commcare", password="secret", service="commcare_sync"))
    await client.call(INFO)
    await client.call(INFO)
    assert {"login/token.php": 1, INFO: 2} == dict(client.requests)


async def test_wrong_password() -> None:
    """A wrong password names the settings."""
    fake = moodle(passwords={"svc_commcare": "secret"})
    login = Login(username="svc_commcare", password="not-it", service="commcare_sync")
    with pytest.raises(AccessDenied, match="MOODLE_PASSWORD") as caught:
        await client_of(fake, login).call(INFO)
    assert "not-it" not in str(caught.value)


async def test_web_page() -> None:
    """A web page where Moodle should be is a wrong address, said at once."""
    requests = []

    def page(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, html="<!DOCTYPE html><title>Welcome</title>")

    with pytest.raises(Unexpected, match="MOODLE_URL"):
        await client_of(page).call(INFO)
    assert 1 == len(requests)


async def test_redirect() -> None:
    """A redirect is not followed: the token would go along."""
    seen = []

    def moved(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(307, headers={"Location": "https://elsewhere.example.org/"})

    with pytest.raises(AccessDenied, match="MOODLE_URL"):
        await client_of(moved).call(INFO)
    assert ["moodle.example.org"] == seen


async def test_batch_stops_at_an_error() -> None:
    """A batch gives results up to the first error, which comes last."""
    client = client_of(moodle())
    calls = [("core_course_get_categories", {}), ("core_enrol_get_enrolled_users", {"courseid": 999})]
    results, _ = await client.batch([*calls, ("core_course_get_categories", {})])
    assert 2 == len(results)
    assert isinstance(results[0], list)
    assert isinstance(results[1], Refused)


async def test_no_token_in_logs_and_errors(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, the token stays out of logs, errors and their causes."""
    caplog.set_level(logging.DEBUG)
    for kind in ("500_empty", "timeout", "refused", "truncated_json", "sitemaintenance"):
        fake = moodle()
        fake.fail_next(None, kind, times=50)
        with pytest.raises(Retriable) as caught:
            await client_of(fake).call(INFO)
        chain = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {vars(caught.value)}"
        assert TOKEN not in chain + caplog.text
