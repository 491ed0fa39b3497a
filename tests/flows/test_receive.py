"""Who may post, what is answered, and that a 202 means: it is on disk, as ids and times only."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from flows.clock import SystemClock
from flows.receive import EVENT_CAP, FORWARDED_CAP, Receiver
from flows.receive_inbox import Intake
from flows.receive_tally import Tally
from flows.settings import Settings, SettingsError, load_settings
from state import Hint, StateError, Store
from state.move import move
from tests.canaries import found_in_files
from tests.clocks import VirtualClock
from tests.flows.test_settings import ENV
from tests.forwarded import CASE, FORWARDER
from tests.postgres import Server

RECORDED = Path(__file__).parent.parent / "recordings" / "moodle-4.5-webhooks"
GRADED = json.loads((RECORDED / "local_webhooks__core.event.user_graded.json").read_text())
TOKEN, BEARER, PASSWORD = "sharedsecret-123", "canary-bearer-token-0815", "canary password 0815"
BASIC = {"FORWARDING_USERNAME": "hq", "FORWARDING_PASSWORD": PASSWORD}


def settings(folder: Path, **values: str) -> Settings:
    """Return settings with Moodle's secret, and books in a folder of the test."""
    books = {
        "STATE_URL": f"sqlite:///{folder / 'var' / 'state.db'}",
        "STATE_KEY_FILE": str(folder / "var" / "key"),
    }
    return load_settings({**ENV, "WEBHOOK_TOKEN": TOKEN, **books, **values}, None)


class Desk:
    """A receiver without a port: `post` and what is in the books."""

    def __init__(self, settings: Settings) -> None:
        self.clock = VirtualClock()
        self.url = settings.state_url
        self.keys = (bytes(32),)
        self.intake = Intake(self.open, self.clock)
        self.tally = Tally(SystemClock())  # speaks at the end; a virtual clock would let it speak all the time
        self.app = Receiver(settings, self.intake, self.tally).app()
        transport = httpx.ASGITransport(self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4201")

    def open(self) -> Store:
        """Open the books."""
        return Store.open(self.url, key=self.keys)

    async def moodle(self, body: Any = None, **headers: str) -> httpx.Response:
        """Post to /moodle, the recorded grade unless told otherwise."""
        content = GRADED["body_raw"] if body is None else body
        content = content if isinstance(content, str | bytes) else json.dumps(content)
        usual = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.client.post("/moodle", content=content, headers=usual)

    async def commcare(self, authorization: str, body: Any = CASE) -> httpx.Response:
        """Post to /commcare."""
        headers = {**FORWARDER, "server-modified-on": CASE["server_date_modified"], "Authorization": authorization}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post("/commcare", content=content, headers=headers)

    def hints(self) -> list[Hint]:
        """Return what is on disk, as another process sees it."""
        with self.open() as store:
            return [row.hint for row in store.inbox_claim("test", 1e12, 1e12)]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Desk]:
    """Give a receiver at work."""
    desk = Desk(settings)
    async with desk.app.router.lifespan_context(desk.app), desk.client:
        yield desk


def basic(user: str, password: str) -> str:
    """Return a header of Basic authentication."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


async def test_a_recorded_post_is_a_hint(tmp_path: Path) -> None:
    """The bytes that a real Moodle sent, with its headers; the same again is the same hint."""
    async with running(settings(tmp_path)) as desk:
        answer = await desk.moodle(User_Agent=GRADED["headers"]["User-Agent"])
        assert (202, "Taken in.\n") == (answer.status_code, answer.text)
        (hint,) = desk.hints()
        assert ("core.user_graded", 2, 76, 1795298876.0) == (
            hint.event,
            hint.course_id,
            hint.user_id,
            hint.occurred_at,
        )
        assert 202 == (await desk.moodle()).status_code
        assert 1 == len(desk.hints())


async def test_an_event_that_needs_no_read(tmp_path: Path) -> None:
    """It is answered, and nothing is kept."""
    async with running(settings(tmp_path)) as desk:
        answer = await desk.moodle({**GRADED["body"], "eventname": "\\core\\event\\course_viewed"})
        assert (200, []) == (answer.status_code, desk.hints())


@pytest.mark.parametrize(
    ("change", "status", "line"),
    [
        ({"body": {**GRADED["body"], "token": "sharedsecret-124"}}, 401, "WEBHOOK_TOKEN"),
        ({"body": {**GRADED["body"], "token": None}}, 401, "WEBHOOK_TOKEN"),
        ({"body": {**GRADED["body"], "token": ["sharedsecret-123"]}}, 401, "WEBHOOK_TOKEN"),
        ({"body": {**GRADED["body"], "token": ""}}, 401, "WEBHOOK_TOKEN"),
        ({"body": {**GRADED["body"], "token": "\ud800"}}, 400, "not JSON"),
        ({"body": {"eventname": "x"}}, 401, "WEBHOOK_TOKEN"),
        ({"body": {**GRADED["body"], "courseid": "QanaryCity2"}}, 400, "courseid"),
        ({"body": "{"}, 400, "not JSON"),
        ({"body": "[" * 20_000}, 400, "not JSON"),
        ({"body": "[]"}, 400, "no object"),
        ({"body": ""}, 400, "not JSON"),
        ({"body": b"x" * (EVENT_CAP + 1)}, 413, "256 KB"),
        ({"Content_Length": "999999999999999999999999"}, 413, "256 KB"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ({"Content_Encoding": "gzip"}, 415, "Content-Encoding"),
    ],
)
async def test_what_is_refused(tmp_path: Path, change: dict[str, Any], status: int, line: str) -> None:
    """Each with a line for Moodle's administrator that repeats nothing; and nothing is kept."""
    async with running(settings(tmp_path)) as desk:
        answer = await desk.moodle(**{"body": None, **change})
        assert (status, True) == (answer.status_code, line in answer.text)
        assert "anary" not in answer.text
        assert [] == desk.hints()


async def test_a_body_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    """Without a length, reading stops at the cap."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield bytes(65536)

    async with running(settings(tmp_path)) as desk:
        answer = await desk.client.post("/moodle", content=endless(), headers={"Content-Type": "application/json"})
        assert (413, True) == (answer.status_code, sent <= EVENT_CAP + 2 * 65536)


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens many connections and says nothing holds none of them for long."""
    monkeypatch.setattr("flows.receive.BODY_S", 0.01)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async with running(settings(tmp_path)) as desk:
        answer = await desk.client.post("/moodle", content=stuck(), headers={"Content-Type": "application/json"})
        assert 408 == answer.status_code


async def test_only_doors_with_a_key_are_there(tmp_path: Path) -> None:
    """Without a secret a path does not exist, and without any there is no receiver."""
    async with running(settings(tmp_path)) as desk:
        statuses = [(await desk.commcare("Bearer x")).status_code, (await desk.client.get("/moodle")).status_code]
        assert [404, 405] == statuses
        assert 404 == (await desk.client.post("/")).status_code
    async with running(settings(tmp_path, WEBHOOK_TOKEN="", FORWARDING_TOKEN=BEARER)) as desk:
        assert [404, 202] == [
            (await desk.moodle()).status_code,
            (await desk.commcare(f"bearer {BEARER}")).status_code,
        ]
    with pytest.raises(SettingsError, match="Nobody may post yet"):
        Desk(settings(tmp_path, WEBHOOK_TOKEN=""))


@pytest.mark.parametrize(
    ("secrets", "given", "status"),
    [
        (BASIC, basic("hq", PASSWORD), 202),
        (BASIC, basic("hq", "x"), 401),
        (BASIC, basic("HQ", PASSWORD), 401),
        (BASIC, "Basic not-base-64!", 401),
        (BASIC, f"Basic {base64.b64encode(bytes([255])).decode()}", 401),
        (BASIC, f"Bearer {PASSWORD}", 401),
        (BASIC, "", 401),
        ({"FORWARDING_TOKEN": BEARER}, f"Bearer {BEARER}", 202),
        ({"FORWARDING_TOKEN": BEARER}, BEARER, 202),
        ({"FORWARDING_TOKEN": BEARER}, f"Bearer {BEARER}x", 401),
        ({"FORWARDING_TOKEN": BEARER}, f"Token {BEARER}", 401),
        ({"FORWARDING_TOKEN": BEARER}, "Bearer ", 401),
        ({"FORWARDING_TOKEN": BEARER}, basic("", BEARER), 401),
    ],
)
async def test_commcare_proves_itself_by_a_header(
    tmp_path: Path, secrets: dict[str, str], given: str, status: int
) -> None:
    """Basic or a token, as the connection in CommCare is set up; a 401 says which is wanted."""
    async with running(settings(tmp_path, **secrets)) as desk:
        answer = await desk.commcare(given)
        assert status == answer.status_code
        if status == 401:
            assert answer.headers["WWW-Authenticate"].split()[0] in ("Bearer", "Basic")
            assert "anary" not in answer.text
        assert [("c-1", "f-1")] * (status == 202) == [(hint.case_id, hint.form_id) for hint in desk.hints()]


@pytest.mark.parametrize(("given", "status"), [(basic("hq", PASSWORD), 200), (basic("hq", "x"), 401), ("", 401)])
async def test_the_button_test_connection(tmp_path: Path, given: str, status: int) -> None:
    """It is a GET without a body: 200 says that forwarding will work, and nothing is kept of it."""
    async with running(settings(tmp_path, **BASIC)) as desk:
        answer = await desk.client.get("/commcare", headers={"Accept": "application/json", "Authorization": given})
        assert (status, []) == (answer.status_code, desk.hints())
        assert "anary" not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        ({**CASE, "domain": "other"}, 422),
        ({**CASE, "case_id": None}, 422),
        (b"x" * (FORWARDED_CAP + 1), 413),
        ({**CASE, "user_id": "ours"}, 200),
    ],
)
async def test_what_commcare_must_not_repeat(tmp_path: Path, body: Any, status: int) -> None:
    """It repeats for five days what is answered 400; and what we wrote ourselves is nothing."""
    secrets = {"FORWARDING_TOKEN": BEARER, "FORWARDING_IGNORE_USERS": "ours, other"}
    async with running(settings(tmp_path, **secrets)) as desk:
        assert status == (await desk.commcare(f"Bearer {BEARER}", body)).status_code
        assert [] == desk.hints()


async def test_nothing_but_ids_is_kept_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No name, no value and no token: not in the books, not in the log."""
    caplog.set_level(logging.DEBUG)
    other = {"other": {"content": "QanaryNote3", "finalgrade": 813.79246}, "extra": "QanaryId4"}
    async with running(settings(tmp_path, FORWARDING_TOKEN=BEARER)) as desk:
        await desk.moodle({**GRADED["body"], **other})
        await desk.moodle({**GRADED["body"], "token": "QanaryFirst0"})
        await desk.moodle({**GRADED["body"], "relateduserid": "QanaryLast1"})
        await desk.commcare(f"Bearer {BEARER}")
        assert 2 == len(desk.hints())
    texts = " ".join(record.getMessage() for record in caplog.records)
    assert [] == [word for word in ("anary", "813.79", TOKEN, BEARER) if word in texts]
    assert {} == found_in_files(tmp_path / "var")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "var").iterdir())
    assert [] == [word for word in (TOKEN, BEARER, "203.0.113.7") if word.encode() in kept]


async def test_the_log_says_what_came(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line for what was taken in, one for each kind of refusal, with counts and courses."""
    caplog.set_level(logging.INFO, "flows.receive")
    async with running(settings(tmp_path)) as desk:
        for number in range(3):
            await desk.moodle({**GRADED["body"], "objectid": number})
        await desk.moodle({**GRADED["body"], "token": "wrong"})
        await desk.moodle({**GRADED["body"], "eventname": "\\core\\event\\course_viewed"})
    assert [
        "Moodle: 1 post ignored; Moodle: 3 posts taken in; course 2",
        "Moodle: 1 post refused (401). The token in the body is not that of WEBHOOK_TOKEN.",
    ] == [record.getMessage() for record in caplog.records if record.name == "flows.receive"]


async def test_posts_that_come_together_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once are a few transactions, and each is answered after its own."""
    sizes: list[int] = []
    add = Store.inbox_add

    def counted(store: Store, hints: Any, *rest: Any) -> int:
        sizes.append(len(hints))
        return add(store, hints, *rest)

    monkeypatch.setattr(Store, "inbox_add", counted)
    async with running(settings(tmp_path)) as desk:
        bodies = [{**GRADED["body"], "objectid": number} for number in range(100)]
        answers = await asyncio.gather(*map(desk.moodle, bodies))
        assert {202} == {answer.status_code for answer in answers}
        assert 100 == len(desk.hints())
    assert (100, True) == (sum(sizes), len(sizes) <= 10)


async def test_a_full_inbox_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the hint about the whole site is there instead."""
    monkeypatch.setattr(Store.inbox_add, "__defaults__", (2,))
    async with running(settings(tmp_path)) as desk:
        bodies = [{**GRADED["body"], "objectid": number} for number in range(4)]
        statuses = [(await desk.moodle(body)).status_code for body in bodies]
        assert [202, 202, 503, 503] == statuses
        assert ["core.user_graded", "core.user_graded", "whole_site"] == [hint.event for hint in desk.hints()]


async def test_books_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, the receiver goes on, and the next post is taken; a server that was restarted is asked twice."""
    failures = [StateError("no disk"), StateError("no disk"), StateError("restarted")]
    add = Store.inbox_add

    def failing(store: Store, *rest: Any) -> int:
        if failures:
            raise failures.pop(0)
        return add(store, *rest)

    monkeypatch.setattr(Store, "inbox_add", failing)
    async with running(settings(tmp_path)) as desk:
        answers = [await desk.moodle() for _ in range(3)]
        assert [503, 202, 202] == [answer.status_code for answer in answers]
        assert "60" == answers[0].headers["Retry-After"]


async def test_a_mistake_does_not_end_the_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw costs the posts of one write, is told by its class alone, and is no health."""
    failures = [KeyError("QanaryFirst0"), KeyError("QanaryFirst0")]
    follow = Store.is_in_place

    def failing(store: Store) -> bool:
        if failures:
            raise failures.pop(0)
        return bool(follow.__get__(store))

    monkeypatch.setattr(Store, "is_in_place", property(failing))
    async with running(settings(tmp_path)) as desk:
        assert [503, 503] == [(await desk.moodle()).status_code, (await desk.client.get("/healthz")).status_code]
        desk.clock.advance(2)
        assert [202, 200] == [(await desk.moodle()).status_code, (await desk.client.get("/healthz")).status_code]
    assert (True, False) == ("KeyError" in caplog.text, "Qanary" in caplog.text)


async def test_a_server_that_was_restarted_costs_no_post(tmp_path: Path, postgres: Server) -> None:
    """The first post after it finds the connections gone, and is taken with a new one."""
    with postgres.books() as url:
        async with running(settings(tmp_path, STATE_URL=url)) as desk:
            assert 202 == (await desk.moodle()).status_code
            postgres.cut_off(url)
            assert 202 == (await desk.moodle({**GRADED["body"], "objectid": 5})).status_code
            assert 2 == len(desk.hints())


async def test_books_that_are_put_back_on_a_server(tmp_path: Path, postgres: Server) -> None:
    """While its tables are gone posts are turned away, and taken again when they are back."""
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as other:
        async with running(settings(tmp_path, STATE_URL=url)) as desk:
            other.execute("ALTER TABLE inbox RENAME TO inbox_gone")
            assert 503 == (await desk.moodle()).status_code
            other.execute("ALTER TABLE inbox_gone RENAME TO inbox")
            assert 202 == (await desk.moodle()).status_code


async def test_a_slow_disk_does_not_keep_moodle_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sits and waits with Moodle: after a while the post is turned away, and so are too many at once."""
    monkeypatch.setattr("flows.receive_inbox.PATIENCE_S", 0.02)
    monkeypatch.setattr("flows.receive_inbox.WAITING", 3)
    gate = threading.Event()  # none of the loop, which stands still while the end waits for the thread
    add = Store.inbox_add

    def slow(store: Store, *rest: Any) -> int:
        gate.wait()
        return add(store, *rest)

    monkeypatch.setattr(Store, "inbox_add", slow)
    async with running(settings(tmp_path)) as desk:
        bodies = [{**GRADED["body"], "objectid": number} for number in range(8)]
        try:
            answers = await asyncio.gather(*map(desk.moodle, bodies))
        finally:
            gate.set()
        assert {503} == {answer.status_code for answer in answers}
        assert {True} == {"slow" in answer.text or "Too many" in answer.text for answer in answers}


async def test_books_that_were_put_back_are_followed(tmp_path: Path) -> None:
    """After a restore the file is another one: hints go into that, and while there is none into nothing."""
    async with running(settings(tmp_path)) as desk:
        await desk.moodle()
        file = tmp_path / "var" / "state.db"
        for path in (file, file.with_name("state.db-wal"), file.with_name("state.db-shm")):
            path.rename(path.with_name(f"aside-{path.name}"))
        assert 503 == (await desk.moodle()).status_code
        assert not file.exists()
        desk.open().close()
        assert 202 == (await desk.moodle()).status_code
        assert 1 == len(desk.hints())


async def test_nobody_who_was_erased_comes_back_after_a_rotation(tmp_path: Path) -> None:
    """The receiver goes on while the key is rotated: it knows who was erased all the same."""
    async with running(settings(tmp_path)) as desk:
        with desk.open() as store:
            store.take_key()
            store.begin_erasure(GRADED["body"]["relateduserid"], 1.0)
        assert 202 == (await desk.moodle()).status_code
        with desk.open() as store:
            desk.keys = (*desk.keys, b"2" * 32)
            store.add_keys(desk.keys)
        assert 202 == (await desk.moodle({**GRADED["body"], "objectid": 5})).status_code
        assert [0] == [hint.user_id for hint in desk.hints()]  # both are the same, of nobody


async def test_books_that_moved_away_turn_posts_away(tmp_path: Path) -> None:
    """A receiver that goes on after a move answers 503: Moodle's hint would lie where nobody looks."""
    async with running(settings(tmp_path)) as desk:
        assert 202 == (await desk.moodle()).status_code
        move(desk.url, f"sqlite:///{tmp_path / 'elsewhere.db'}", lambda: None)
        assert 503 == (await desk.moodle()).status_code
        assert 503 == (await desk.client.get("/healthz")).status_code


async def test_a_mistake_of_ours_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw may hold what was posted: only its class is said."""

    def broken(_: Any) -> None:
        raise KeyError("QanaryFirst0")

    monkeypatch.setattr("flows.receive.read_event", broken)
    async with running(settings(tmp_path)) as desk:
        answer = await desk.moodle()
        assert (500, False) == (answer.status_code, "Qanary" in answer.text)
    assert (True, False) == ("KeyError" in caplog.text, "Qanary" in caplog.text)


async def test_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 while the books can be read, else 503; they are not asked for each question."""
    asked: list[str] = []
    get = Store.get

    def counted(store: Store, name: str) -> str | None:
        asked.append(name)
        if len(asked) > 1:
            raise StateError("gone")
        return get(store, name)

    monkeypatch.setattr(Store, "get", counted)
    async with running(settings(tmp_path)) as desk:
        answers = [await desk.client.get("/healthz") for _ in range(20)]
        assert ({200}, 1) == ({answer.status_code for answer in answers}, len(asked))
        desk.clock.advance(2)
        assert 503 == (await desk.client.get("/healthz")).status_code


def test_the_secrets_are_settings(tmp_path: Path) -> None:
    """Too short, half given or given twice is said; from files too; none is ever shown."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    found = load_settings({**ENV, "WEBHOOK_TOKEN_FILE": str(token), **BASIC}, None)
    assert (TOKEN, 4201) == (found.webhook_token.get_secret_value(), found.receiver_port)
    assert {TOKEN, PASSWORD, f"hq:{PASSWORD}"} <= set(found.secrets())
    assert TOKEN not in repr(found)
    wrong: Callable[..., str] = lambda **values: _refused({**ENV, **values})  # noqa: E731
    assert "WEBHOOK_TOKEN is too short: make up at least 16 characters." == wrong(WEBHOOK_TOKEN="canary")
    assert "may hold ASCII letters" in wrong(FORWARDING_TOKEN="canary canary canary")
    assert "Missing: FORWARDING_USERNAME." in wrong(FORWARDING_PASSWORD=PASSWORD)
    assert "both given" in wrong(**BASIC, FORWARDING_TOKEN=BEARER)
    assert "did you mean FORWARDING_TOKEN?" in wrong(FORWARDING_TOKN=BEARER)
    assert "RECEIVER_PORT must be a whole number from 1 to 65535." == wrong(RECEIVER_PORT="0")
    assert "ids of CommCare users" in wrong(FORWARDING_IGNORE_USERS="a b")


def _refused(env: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(env, None)
    assert "canary" not in str(caught.value)
    return str(caught.value)
