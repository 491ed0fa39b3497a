"""A whole world for tests: both fakes in this process, books in memory, a clock that the test moves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FakeProject
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.sizes import Sizes
from flows.catalogue import field_catalogue
from flows.result import Result
from flows.sync import Options, sync
from flows.world import Books, World
from mappings.engine import Project, load_project
from state import Store
from state.care import AFTER_OTHERS, BEGUN_AT, NEW_BOOKS
from state.restore import restore
from tests.adaptors.moodle_world import recorded_site
from tests.clocks import VirtualClock
from tests.postgres import forget

P = ParamSpec("P")
T = TypeVar("T")
SHIPPED = Path(__file__).parent.parent.parent / "mappings"
PROJECTS = Path(__file__).parent.parent / "projects"
OWNER = "Field coaches"
DOMAIN, USERNAME, API_KEY = "training", "sync@example.org", "canary-api-key-0815"
TOKEN = "canary0moodle0token0canary0token"

PROJECT = """
language: 1
site: test
time_zone: Africa/Nairobi
country: KE
courses: {shortname_like: "*"}
owner: {group: "Field coaches"}
"""

LOADED: dict[tuple[tuple[str, bytes], ...], Project] = {}
"""The projects of this process by what is in their files: nothing ever changes one."""


def mappings_folder(folder: Path, project: str = PROJECT, **files: str) -> Path:
    """Write a mappings folder: the shipped mappings, or with `files` (name: text) those instead."""
    target = folder / "mappings"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "project.yaml").write_text(project)
    for shipped in () if files else SHIPPED.glob("*.yaml"):
        if shipped.name != "project.yaml":
            shutil.copyfile(shipped, target / shipped.name)
    for name, text in files.items():
        (target / f"{name}.yaml").write_text(text)
    return target


class PlainBooks(Books):
    """Books without a thread of their own: a test waits for nothing else, and each step of a thread costs time."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self.store = open_store()

    async def do(self, method: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store; others are let in before, as when a thread does it."""
        await asyncio.sleep(0)
        return method(*args, **kwargs)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class Line(httpx.MockTransport):
    """A line that says, as the real one does, when a request begins to be sent and when it is on its way."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand a request over."""
        told = request.extensions.get("trace")
        for event in ("send_request_headers.started", "send_request_body.complete") if told else ():
            await told(f"http11.{event}", {})
        return await super().handle_async_request(request)


class Lab:
    """Two fakes and the books; each `sync` is a new run with new clients, as a new process would make."""

    def __init__(
        self, folder: Path, site: FakeSite, *, project: str = PROJECT, state_url: str = "", **files: str
    ) -> None:
        self.clock = VirtualClock()
        self.folder = folder
        self.mappings = mappings_folder(folder, project, **files)
        self.site = site
        self.moodle = FakeMoodle(site, token=TOKEN)
        self.project = FakeProject()
        self.project.add_group(OWNER)
        self.commcare = FakeCommCare(
            self.project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, clock=self.clock.now
        )
        self.state_url = state_url or f"sqlite:///{folder / 'var' / 'state.db'}"
        self.begun = dict[str, str]()
        self.books = self._open()
        self.sizes: Any = Sizes.fixed
        self.rest = 1200.0
        self.boot = ""
        self.denied: set[int] = set()
        """Courses that Moodle does not let the account into."""

    def _open(self) -> Books:
        return PlainBooks(lambda: Store.open(self.state_url, key=bytes(32), begun=self.begun))

    @property
    def store(self) -> Store:
        """Return the books."""
        return self.books.store

    def lose_books(self) -> None:
        """Begin with empty books, as after the loss of their file: the key is still there."""
        self.books.close()
        if self.is_on_a_server:
            forget(self.state_url)
        for file in (self.folder / "var").glob("state.db*"):
            file.unlink()
        self.begun = {BEGUN_AT: str(self.clock.now()), NEW_BOOKS: AFTER_OTHERS}
        self.books = self._open()

    def restore(self, backup: Path) -> None:
        """Put a backup in the place of the books, as the command does; a server has tools of its own for that."""
        self.in_a_file()
        self.books.close()
        target = (self.site.url, "https://commcare.example.org", DOMAIN)
        restore(self.state_url, backup, (bytes(32),), target, self.clock.now())
        self.books = self._open()

    @property
    def is_on_a_server(self) -> bool:
        """Whether the books are in a PostgreSQL database and not in a file."""
        return self.state_url.startswith("postgresql")

    def in_a_file(self) -> None:
        """Skip a test about the file of the books where there is none."""
        if self.is_on_a_server:
            pytest.skip("It is about the file of SQLite, and the books of this test are on a PostgreSQL server.")

    def use_site(self, site: FakeSite) -> None:
        """Let Moodle have another content."""
        self.site = site
        self.moodle = FakeMoodle(site, token=TOKEN)

    def edit(self, name: str, old: str, new: str) -> None:
        """Edit a mapping file."""
        file = self.mappings / f"{name}.yaml"
        text = file.read_text()
        assert old in text, f"{old!r} is not in {file.name}"
        file.write_text(text.replace(old, new))

    def loaded(self) -> Project:
        """Return what the mapping files say now."""
        files = sorted(file for file in self.mappings.rglob("*") if file.is_file())
        text = tuple((str(file.relative_to(self.mappings)), file.read_bytes()) for file in files)
        if text not in LOADED:
            LOADED[text] = load_project(self.mappings, field_catalogue())
        return LOADED[text]

    def world(self) -> World:
        """Open a world on the fakes and the books."""
        return World(
            moodle=MoodleClient(
                self.site.url, Login(TOKEN), clock=self.clock, transport=httpx.MockTransport(self._to_moodle)
            ),
            commcare=CommCareClient(
                Connection(
                    Account("https://commcare.example.org", DOMAIN, USERNAME, API_KEY),
                    clock=self.clock,
                    transport=Line(self._to_commcare),
                )
            ),
            books=self.books,
            project=self.loaded(),
            clock=self.clock,
            target=(self.site.url, "https://commcare.example.org", DOMAIN),
            site_url=self.site.url,
            in_doubt_rest=self.rest,
            sizes=self.sizes,
            boot=self.boot,
        )

    async def sync(self, later: float = 3600.0, **options: Any) -> Result:
        """Run once, approved unless told otherwise, an hour after the last time."""
        self.clock.advance(later)
        world = self.world()
        try:
            return await sync(world, Options(**{"yes": True, **options}))
        finally:
            await world.moodle.close()
            await world.commcare.close()

    def _to_moodle(self, request: httpx.Request) -> httpx.Response:
        course = parse_qs(request.content.decode()).get("courseid", ["0"])[0]
        if int(course) in self.denied:
            return httpx.Response(200, json={"exception": "x", "errorcode": "errorcoursecontextnotvalid"})
        return self.moodle(request)

    def _to_commcare(self, request: httpx.Request) -> httpx.Response:
        return self.commcare(request)

    def rows_sent(self, since: int = 0) -> list[Mapping[str, Any]]:
        """Return the rows of all write requests after the first `since` ones."""
        return [row for form in self.project.forms[since:] for row in form.rows]

    def case(self, external_id: str) -> Any:
        """Return the one case of a key."""
        (found,) = self.project.by_external_id(external_id)
        return found

    def close(self) -> None:
        """Close the books."""
        self.books.close()


def recorded_lab(folder: Path, name: str = "before", *, state_url: str = "") -> Lab:
    """Return the recorded site with the tests' own project."""
    project = (PROJECTS / "recorded.yaml").read_text()
    return Lab(folder, recorded_site(name), project=project, state_url=state_url)


def written(result: Result) -> dict[str, int]:
    """Return what a run wrote or could not write, by kind, over all case types."""
    kinds = ("created", "updated", "marked_left", "held_back", "in_doubt")
    counts = {kind: sum(getattr(found, kind) for found in result.cases.values()) for kind in kinds}
    return {kind: count for kind, count in counts.items() if count}


def leave_shard(lab: Lab) -> None:
    """Leave a shard at work for ten minutes whose opener is dead from the next second on."""
    store, now = lab.store, lab.clock.now()
    epoch = store.take_lease("20261129T100000-abc", now - 599.5, 600.0)
    assert epoch
    store.open_round("20261129T100000-abc", epoch, {1: [1], 2: [2]}, {})
    assert store.take_shard("20261129T100000-abc", 2, "someone", now, 600.0).epoch
