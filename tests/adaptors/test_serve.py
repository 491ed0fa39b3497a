"""A fake on a real local port."""

import time

import httpx
import pytest

from adaptors.moodle.fake import TOKEN, FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.serve import LocalServer


def test_request_and_answer_go_through_unchanged() -> None:
    """Method, path, query, headers and body reach the handler; status, headers and bytes come back."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(418, headers={"Retry-After": "1.5", "X-Answer": "yes"}, content=b"\x00\xff")

    with LocalServer(handler) as server:
        answer = httpx.post(f"{server.url}/a%20b/c?x=1&y=%26", content=b"body", headers={"X-Asked": "1"})

    request = seen[0]
    assert ("POST", "/a%20b/c?x=1&y=%26", b"body", "1") == (
        request.method,
        request.url.raw_path.decode(),
        request.read(),
        request.headers["X-Asked"],
    )
    assert (418, b"\x00\xff") == (answer.status_code, answer.content)
    assert {"retry-after": "1.5", "x-answer": "yes", "content-length": "2"} == dict(answer.headers)


def test_empty_answer_keeps_its_status() -> None:
    """An empty 403, as Moodle gives with web services off, arrives as an empty 403."""
    with LocalServer(lambda _: httpx.Response(403)) as server:
        answer = httpx.get(server.url)
    assert (403, b"") == (answer.status_code, answer.content)


@pytest.mark.parametrize("error", [httpx.ReadTimeout("late"), httpx.ConnectError("refused")])
def test_transport_error_closes_the_connection(error: httpx.TransportError) -> None:
    """A handler that raises a transport error gives no answer at all, and the next request works again."""
    outcomes = [error]

    def handler(_: httpx.Request) -> httpx.Response:
        if outcomes:
            raise outcomes.pop()
        return httpx.Response(200)

    with LocalServer(handler) as server, httpx.Client() as client:
        with pytest.raises(httpx.TransportError):
            client.get(server.url)
        assert 200 == client.get(server.url).status_code


def test_delay_is_waited_for() -> None:
    """An answer with the extension `delay` comes that much later."""
    with LocalServer(lambda _: httpx.Response(200, extensions={"delay": 0.05})) as server:
        started = time.monotonic()
        httpx.get(server.url)
    assert time.monotonic() - started >= 0.05


def test_stopping_frees_the_port() -> None:
    """After the context the port refuses connections and can be taken again."""
    with LocalServer(lambda _: httpx.Response(200)) as server:
        address = server.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
    with LocalServer(lambda _: httpx.Response(201), port=int(address.rpartition(":")[2])) as again:
        assert (address, 201) == (again.url, httpx.get(again.url).status_code)


def test_fake_moodle_answers_on_a_port() -> None:
    """The same object that tests call in-process answers over a socket."""
    form = {"wstoken": TOKEN, "wsfunction": "core_webservice_get_site_info", "moodlewsrestformat": "json"}
    with LocalServer(FakeMoodle(FakeSite())) as server:
        answer = httpx.post(f"{server.url}/webservice/rest/server.php", data=form)
    assert "Example Moodle" == answer.json()["sitename"]
