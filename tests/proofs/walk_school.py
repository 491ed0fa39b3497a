"""The world of a walk: a small site that tells of what happens in it, a project space, and books in a file."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
from sqlalchemy import select

from adaptors.moodle.events import read_event
from adaptors.moodle.fake_hooks import HookedSite
from flows.errors import UsageError
from flows.result import Result, RunState
from flows.state_care import leased
from flows.world import World
from mappings.engine import Project
from state import Hint, StateError
from state.key import Keys
from state.restore import restore
from state.tables import inbox
from tests.clocks import VirtualClock
from tests.flows.expected import PARKING, number_of
from tests.flows.explorer_lab import Killed, WatchedLab
from tests.flows.worlds import DOMAIN
from tests.proofs.machine_world import KEYS, LEASE, CopiedBooks
from tests.proofs.walk_deeds import Deeds
from tests.proofs.walk_mappings import Ways, project_of
from tests.proofs.walk_truth import Truth

DAY, HOUR = 86_400, 3600.0
PEOPLE, COURSES = 5, 2
ROSTER = "core_enrol_get_enrolled_users"
Work = Callable[[World], Awaitable[Any]]
"""What a process does: a run, a drain, an erasure, an audit."""


class School(WatchedLab):
    """Both systems and the books; each piece of work is a process of its own, which may die."""

    def __init__(self, folder: Path, ways: Ways) -> None:
        self.ways, self.edition, self.deeds = ways, 0, Deeds()
        self.keys: Keys = KEYS
        self.url = f"sqlite:///{folder / 'var' / 'state.db'}"
        (folder / "var").mkdir()
        self._open_site()
        super().__init__(folder, self.hooked, 1, state_url="sqlite://")
        self.mortal.close()
        self.books = self.mortal = self.copied = CopiedBooks(self.url, self.keys)
        self.project.add_group(PARKING)
        self.unseen: set[int] = set()
        """People whom Moodle silently leaves out in the next process."""
        self.twice = False
        """Whether the next work is done by two processes at the same time."""
        self.on_write = ""
        """Whether the process dies before or after the next write that reaches CommCare."""
        self.lost_rows = 0
        """How many more changes of lookup tables have their answers lost."""
        self.backup: Path | None = None
        self.processes = self.faults = self.told = 0
        """How many processes there were, faults that struck in them, and hints that came in."""
        self.read = Counter[int]()
        """How often Moodle has told who is in a course."""
        for course in self.courses:
            for person in self.people[:4]:
                self.hooked.enrol(course, person)
        self.hears = True
        """Whether Moodle tells of what happens."""
        self.hooked.post = self._hear

    def _open_site(self) -> None:
        site, now = HookedSite(), int(VirtualClock().now())
        self.hooked, self.people = site, list[int]()
        for _ in range(PEOPLE):
            self.newcomer()
        begun = now - 2000 * DAY
        self.courses = [site.add_course(f"C{n}", f"Course {n}", startdate=begun) for n in range(COURSES)]
        self.items = [site.set_grade_item(course, "Quiz") for course in self.courses]
        self.tasks = [
            site.activities.set(course, name, tracking=2, due=now + days * DAY)
            for course in self.courses
            for name, days in (("Essay", -1), ("Report", 400))
        ]

    def newcomer(self) -> int:
        """Make an account."""
        number = len(self.people)
        names = {"city": "QanaryCity", "phone1": f"0722 555 {number:03}"}
        self.people.append(self.hooked.add_user(f"QanaryFirst{number}", f"QanaryLast{number}", **names))
        return self.people[-1]

    def _hear(self, event: dict[str, Any]) -> None:
        posted = read_event(event) if self.hears else None
        if posted is None:
            return
        self.told += 1
        what, where = (posted.source, posted.event), (posted.course_id, posted.user_id)
        self.store.inbox_add([Hint(*what, posted.mark, posted.occurred_at, *where)], self.clock.now())

    def hints(self) -> dict[int, tuple[int, str]]:
        """Return the course and the outcome of every hint by its number; "" for those that wait."""
        with self.store._database.reading() as connection:
            rows = connection.execute(select(inbox.c.id, inbox.c.course_id, inbox.c.outcome)).all()
        return {number: (course, outcome) for number, course, outcome in rows}

    def _to_moodle(self, request: httpx.Request) -> Any:
        return self._noted(request, super()._to_moodle(request))

    async def _noted(self, request: httpx.Request, answering: Any) -> httpx.Response:
        """Note that Moodle has told who is in a course."""
        answer: httpx.Response = await answering
        asked = parse_qs(request.content.decode())
        if ROSTER in asked.get("wsfunction", []) and _is_list(answer):
            self.read[int(asked["courseid"][0])] += 1
        return answer

    def loaded(self) -> Project:
        """Return the mappings as they are edited now."""
        return project_of(self.ways, self.edition, self.deeds.word)

    def truth(self) -> Truth:
        """Return what should be, as Moodle is now."""
        return Truth(self, self.deeds)

    # --- processes ----------------------------------------------------------------------------------------

    async def do(self, work: Work) -> Any:
        """Let a process do some work, or two of them at once; returns what it came to.

        That is an exception when it was killed, or was asked for what cannot be.
        """
        self.served, armed = 0, self._armed()
        self.processes += 1
        others, worlds = asyncio.all_tasks(), [self.world() for _ in range(2 if self.twice else 1)]
        jobs = [asyncio.ensure_future(work(world)) for world in worlds]
        ends = await asyncio.gather(*jobs, return_exceptions=True)
        for world in worlds:
            await world.moodle.close()
            await world.commcare.close()
        assert asyncio.all_tasks() <= others, "something is still at work afterwards"
        self.faults += armed - self._armed() + self.twice
        self._bury()
        return _first(ends)

    def _bury(self) -> None:
        """Let a dead process be gone, and forget what was meant for the one that ended."""
        died = self.mortal.dead
        self.twice, self.on_write, self.copied.dies_at = False, "", None
        self.at_request.clear()
        if died:
            self.open_books()

    def _armed(self) -> int:
        """Return how many faults wait to strike."""
        commcare, moodle = self.commcare, self.moodle._failures._due
        waiting = len(commcare.dropped) + len(commcare.late) + len(self.at_request) + bool(self.on_write)
        waiting += sum(fault.left for fault in commcare.faults) + sum(failure.times for failure in moodle)
        return waiting + (self.copied.dies_at is not None) + self.lost_rows + bool(self.unseen)

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Let Moodle leave people out of its answers, without a word, as long as this lasts."""
        whole = {course: dict(members) for course, members in self.site.members.items()}
        for members in self.site.members.values():
            for person in self.unseen & members.keys():
                del members[person]
        try:
            yield
        finally:
            self.site.members.update(whole)
            self.unseen = set()

    def _watched(self, request: httpx.Request) -> httpx.Response:
        is_write = request.method != "GET"
        if is_write and self.lost_rows and "lookup_table" in str(request.url):
            self.lost_rows -= 1
            self.commcare(request)
            raise httpx.ReadTimeout("The answer is lost.", request=request)
        dies, how = is_write and bool(self.on_write), self.on_write
        if dies:
            self.on_write = ""
        if dies and how == "crash before":
            self.mortal.dead = True
            raise Killed
        try:
            return super()._watched(request)
        finally:
            self.mortal.dead = self.mortal.dead or dies

    def heal(self) -> None:
        """Let both systems work as they should."""
        self.unseen, self.twice, self.on_write, self.lost_rows = set(), False, "", 0
        self.copied.dies_at = None
        self.at_request.clear()
        for course in self.courses:
            self.site.courses[course]["visible"] = 1
        self.moodle._failures._due.clear()
        for waiting in (self.commcare.faults, self.commcare.dropped, self.commcare.late):
            waiting.clear()

    # --- the books ----------------------------------------------------------------------------------------

    def open_books(self) -> None:
        """Open the books, as a new process does."""
        self.copied.close()
        self.books = self.mortal = self.copied = CopiedBooks(self.url, self.keys)

    def close(self) -> None:
        """Close the books."""
        self.copied.close()

    def back_up(self) -> None:
        """Copy the books, as the command does; what is put back later is kept apart."""
        made = self.store.back_up(self.clock.now())
        assert made is not None
        self.backup = self.folder / "kept.db"
        shutil.copyfile(made, self.backup)

    def put_back(self) -> None:
        """Put the copy back, as the command does; who was erased since must stay so.

        StateError when the books do not let themselves be put back.
        """
        assert self.backup is not None
        before = self.marked()
        target = (self.site.url, "https://commcare.example.org", DOMAIN)
        self.copied.close()
        try:
            done = restore(self.url, self.backup, self.keys, target, self.clock.now())
        finally:
            self.open_books()
        self.faults += 1
        assert before == self.marked(), f"{before} were erased, and after a restore {self.marked()}"
        self.deeds.unfinished |= {*done.erased}
        self.deeds.orphans |= {name for name in (*self.external_ids(), *self._on_their_way()) if name}

    def marked(self) -> set[int]:
        """Return the people of whom the books know that they were erased."""
        marks = self.store.erased()
        return {person for person in self.people if person in marks}

    def external_ids(self) -> list[str]:
        """Return the external ids of all cases, older ones first."""
        return sorted((case.external_id or "" for case in self.project.cases.values()), key=number_of)

    def _on_their_way(self) -> list[str]:
        """Return the external ids of rows that CommCare has not written yet."""
        return [row.get("external_id") or "" for _, _, form in self.commcare._unfinished for row in form.rows]

    def rotate_key(self, *, beside: bool) -> bool:
        """Add a key to the key file; False when a run was at work.

        `beside`: only the file is edited, and the next process finds the new key.
        """
        new = (*self.keys, bytes([len(self.keys)]) * 32)
        if beside:
            self.keys = new
            self.open_books()
            return True
        try:
            with leased(self.store, self.clock.now(), LEASE):
                self.store.take_key()
                self.keys = new
                self.store.add_keys(new)
        except StateError:
            return False
        return True


def _first(ends: Sequence[Any]) -> Any:
    """Return what the process came to that was not in another's way; what nobody foresees is raised."""
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, Killed | UsageError):
            raise end
    at_work = [end for end in ends if isinstance(end, Result) and end.state != RunState.POSTPONED]
    assert len(at_work) < 2, "two ran at once"
    return min(ends, key=lambda end: getattr(end, "state", "") == RunState.POSTPONED)


def _is_list(answer: httpx.Response) -> bool:
    """Say whether Moodle has answered, and not with an error."""
    try:
        return isinstance(answer.json(), list)
    except ValueError:
        return False
