"""The world of the state machine: a small site, a project space, books that can be copied, and what must hold.

What is expected is worked out from the site's own data with the mapping engine, never with the code that reads.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from adaptors.moodle.fake_site import FakeSite
from flows.audit import audit
from flows.catalogue import field_catalogue
from flows.confirm import confirm, confirm_blanks, confirm_withdrawn
from flows.errors import UsageError
from flows.merge import merge
from flows.needs import REFUSED_BLANKS, people_asked
from flows.result import Result
from flows.steps.aside import retried_at
from flows.steps.asked import LEAVERS, WITHDRAWN
from flows.steps.planned import external_id
from flows.steps.suspects import POISON
from mappings.engine import Project, load_project
from state.digest import Names
from state.key import Keys
from state.rotation import key_mark, known_keys
from tests.canaries import found_in
from tests.clocks import VirtualClock
from tests.flows.expected import LEFT, OVER, PARKING, Expected, base, number_of
from tests.flows.expected import WITHDRAWN as KEPT_OUT
from tests.flows.explorer_lab import Killed, MortalBooks, WatchedLab
from tests.flows.explorer_troubles import RIGHTS
from tests.flows.worlds import PROJECT, mappings_folder, written
from tests.proofs.belongings import Departed, fill_in, is_of, overwritten, place_of, row_is_of

REST, LEASE, HOUR = 1200.0, 600.0, 3600.0
WAYS = ("", ", park: true", ", close: true")
"""What `when_left` and `when_course_ends`, or `when_excluded`, do beyond setting a property."""
EDITIONS = ("[trim]", "[trim, upper]", "[trim, lower]")
"""How the mapping of people writes the city, edition by edition."""
COURSES, PEOPLE = 2, 5
KEYS = (bytes(32),)
MANY, SHARE = 3, 0.2
"""So many people, and such a part of all, may not leave or lose a value together without a person's word."""
QUESTIONS = (LEAVERS.refused, REFUSED_BLANKS, WITHDRAWN.refused)
"""Facts of the books in which runs leave what they ask."""


@cache
def project_of(way: str, out: str, edition: int) -> Project:
    """Load the mappings in one of their editions, once for all worlds; `out` is the way of who is kept out."""
    folder = Path(tempfile.mkdtemp(prefix="machine-"))
    try:
        guards = "guards: {run_cases: 8}\n"
        mappings = mappings_folder(folder, f"{PROJECT}{guards}parked_owner: {{group: {PARKING}}}\n")
        student, enrolment = mappings / "student.yaml", mappings / "enrolment.yaml"
        text = student.read_text().replace(
            "when_left: {set: {moodle_status: left}}",
            f"when_left: {{set: {{moodle_status: left}}{way}}}\n"
            f"when_excluded: {{set: {{moodle_status: {KEPT_OUT}}}{out}}}",
        )
        city = "city: {source: city, transform: [trim]"
        assert city in text
        text = text.replace(city, f"city: {{source: city, transform: {EDITIONS[edition]}")
        ignore = "\nexisting_cases: ignore\n"  # restored books may be older than the first run
        student.write_text(text.partition("\ntests:")[0] + ignore)
        over = f"\nwhen_course_ends: {{set: {{enrolment_status: {OVER}}}{way}}}"
        text = enrolment.read_text().replace("enrolment_status: left}}", f"enrolment_status: left}}{way}}}{over}")
        enrolment.write_text(text.partition("\ntests:")[0] + ignore)
        return load_project(mappings, field_catalogue())
    finally:
        shutil.rmtree(folder)


class SkewedClock(VirtualClock):
    """The clock of the machine that syncs: its wall time may be set wrong, its monotonic time never is."""

    def __init__(self) -> None:
        super().__init__()
        self.skew = 0.0

    def now(self) -> float:
        """Return what the wall clock shows."""
        return super().now() + self.skew

    def true(self) -> float:
        """Return what it should show: CommCare's time."""
        return super().now()


class CopiedBooks(MortalBooks):
    """Books whose file can be copied and put back; their process may die before or after any use of them."""

    def __init__(self, url: str = "sqlite://", keys: Keys = KEYS) -> None:
        super().__init__(url, keys)
        self.dies_at: tuple[int, bool] | None = None
        """After how many more uses the process dies, and whether that use is still done."""

    async def do(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Use the books, or die."""
        if self.dies_at is None:
            return await super().do(method, *args, **kwargs)
        left, done = self.dies_at
        self.dies_at = (left - 1, done) if left else None
        if not left and not done:
            self.dead = True
        found = await super().do(method, *args, **kwargs)
        self.dead = self.dead or not left
        return found

    @property
    def _connection(self) -> sqlite3.Connection:
        raw = self.store._database.engine.raw_connection().driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw

    def copy(self) -> bytes:
        """Return the file as it is."""
        return self._connection.serialize()

    def put_back(self, copied: bytes) -> None:
        """Let the file be as it was."""
        self._connection.deserialize(copied)
        self.store._names = Names(self.store._database)
        with self.store._database.reading() as connection:  # as whoever opens them finds out
            self.store._keys = known_keys(key_mark(connection), self.store._given) or self.store._given


class Ground(WatchedLab):
    """The world of one example; every operation takes plain numbers, which are brought into range here."""

    books_of_all: CopiedBooks | None = None
    fresh = b""

    def __init__(self, folder: Path, way: str, out: str = "") -> None:
        self.way, self.out, self.edition = way, out, 0
        site = FakeSite()
        self.people = [site.add_user(f"QanaryFirst{n}", f"QanaryLast{n}", city="Bondo") for n in range(PEOPLE)]
        self.courses = [site.add_course(f"C{n}", f"Course {n}") for n in range(COURSES)]
        self.items = [site.set_grade_item(course, "Quiz") for course in self.courses]
        super().__init__(folder, site, 1)
        self.mortal.close()
        self.books = self.mortal = self.copied = self._books()
        self.clock = SkewedClock()
        self.commcare._clock = self.clock.true
        self.rest = REST
        self.project.add_group(PARKING)
        for course in self.courses:
            for person in self.people[:4]:
                site.enrol(course, person)
        self.backup: bytes | None = None
        self.unseen: set[int] = set()
        """People whom Moodle silently leaves out in the next run."""
        self.twice = False
        """Whether two workers make the next run at the same time."""
        self.by_hand: dict[str, set[str]] = {}
        """Cases that somebody edited in CommCare, and which properties."""
        self.closed, self.deleted = set[str](), set[str]()
        """Keys of cases that somebody closed or deleted in CommCare."""
        self.orphans: set[str] = set()
        """External ids that restored books do not know: of people who are gone only the audit finds them."""
        self.lacked: Counter[str] = Counter()
        """In how many runs in a row a case's person was not there, or not to be seen."""
        self.seen: dict[int, set[int]] = {course: set() for course in self.courses}
        """Who was in a course at the time of any run that read it."""
        self.kept_out = set[str]()
        """Keys that the mappings kept out in the last run that read their course, as the books know it."""
        self.kept_out_then = set[str]()
        self.agreed = 0
        """How many people may lose their city, as was agreed to last."""
        self.merged: dict[int, int] = {}
        """Who was merged into whom, by an operator's word."""
        self.merged_then = self.merged
        """Who was when the books were copied."""
        self.parting = set[str]()
        """External ids of cases of which a run tried to say that their person left: that is decided only once."""
        self.emptied = set[str]()
        """External ids of cases whose personal values the engine wanted emptied, of people not let in since."""
        self.gone, self.withdrawn = Departed(MANY, SHARE), Departed(MANY, SHARE)
        self.moment: Expected | None = None
        self.on_write = ""
        """Whether the process dies before or after the next write that reaches CommCare."""
        self.runs = self.faults = 0
        """How many runs there were, and how many faults struck in them; what is armed and never met counts not."""
        self._skew = 0.0
        """What the clock was wrong by in the last run."""
        self.crashed = False

    @classmethod
    def _books(cls) -> CopiedBooks:
        """Return empty books; they are made once, since that takes longer than a run."""
        if Ground.books_of_all is None:
            Ground.books_of_all = CopiedBooks()
            Ground.fresh = Ground.books_of_all.copy()
        books = Ground.books_of_all
        books.store._given = KEYS
        books.put_back(Ground.fresh)
        books.dead, books.dies_at, books.full_after = False, None, None
        return books

    def close(self) -> None:
        """Leave the books to the next world."""

    def loaded(self) -> Project:
        """Return the mappings as they are edited now."""
        return project_of(self.way, self.out, self.edition)

    def _watched(self, request: Any) -> Any:
        if self.moment is not None and request.method == "POST":
            self._note_going(self.moment, request)
        is_write, how = request.method == "POST" and bool(self.on_write), self.on_write
        if is_write:
            self.on_write = ""
        if is_write and how == "crash before":
            self.mortal.dead = True
            raise Killed
        try:
            return super()._watched(request)
        finally:
            self.mortal.dead = self.mortal.dead or is_write

    def _note_going(self, moment: Expected, request: Any) -> None:
        """Note who is to be marked as left, and whose personal values are on their way out.

        The latter must come to be, whatever becomes of the write.
        """
        rows = json.loads(request.content)
        for row in rows if isinstance(rows, list) else ():
            name = self._name_of(row)
            if base(name) in moment.excluded:
                self.emptied.add(name)
            if LEFT in row.get("properties", {}).values():
                self.parting.add(name)

    # --- a run --------------------------------------------------------------------------------------------

    async def run(self, later: float = HOUR, **options: Any) -> Result | None:
        """Run once, or two workers at once; hold everything that was sent against the truth of this moment."""
        self.clock.advance(later)
        self.commcare.advance(0.0)  # a late write that is due is there before anybody looks
        forms, started, self.served = len(self.project.forms), self.clock.true(), 0
        self.runs += 1
        self.faults += (self.clock.skew != self._skew) + self.twice + self._hides_somebody()
        self._skew = self.clock.skew
        with self._looking_away():
            self.moment = moment = Expected(self, self.merged)
            self.emptied = {name for name in self.emptied if base(name) not in moment.drafts}
            self.parting = {name for name in self.parting if base(name) not in moment.drafts}
            before, agreed, left = self._cities(moment), self.agreed, self._left() | self.parting
            named, living = self._named() - self.emptied, self._living(left)
            ends = await self._ends(options)
            self._remember(moment)
            self._count_lacked(moment, complete=_is_complete(ends, options))
            sent = [form for form in self.project.forms[forms:] if form.received_on >= started]
            self._look_at(moment, sent)
            self._look_at_blanks(sent, before, agreed)
            self._look_at_departed(moment, sent, (left, named, living))
        self._look_at_books()
        fill_in(self.project)
        return ends[0] if isinstance(ends[0], Result) else None

    async def _ends(self, options: dict[str, Any]) -> Sequence[Result | BaseException]:
        """Return how each worker's run ended; a dead process holds no task and no lock."""
        others, armed = asyncio.all_tasks(), self._armed()
        workers = [asyncio.ensure_future(self.sync(0.0, **options)) for _ in range(2 if self.twice else 1)]
        ends = await asyncio.gather(*workers, return_exceptions=True)
        self.faults += armed - self._armed()
        self.crashed = self.mortal.dead
        self.mortal.dead, self.mortal.full_after, self.twice = False, None, False
        self.copied.dies_at, self.on_write = None, ""
        self.at_request.clear()
        assert asyncio.all_tasks() <= others, "something is still at work after the run"
        for end in ends:
            assert isinstance(end, Result | Killed | UsageError), repr(end)
        results = [end for end in ends if isinstance(end, Result)]
        assert len(results) < 2 or any(result.state == "postponed" for result in results), "two ran at once"
        return sorted(ends, key=lambda end: isinstance(end, Result) and end.state == "postponed")

    def _armed(self) -> int:
        """Return how many faults wait to strike."""
        commcare, moodle = self.commcare, self.moodle._failures._due
        waiting = len(commcare.dropped) + len(commcare.late) + len(self.at_request) + bool(self.on_write)
        waiting += sum(fault.left for fault in commcare.faults) + sum(failure.times for failure in moodle)
        return waiting + (self.copied.dies_at is not None)

    def _hides_somebody(self) -> bool:
        return any(self.unseen & members.keys() for members in self.site.members.values())

    @contextmanager
    def _looking_away(self) -> Iterator[None]:
        """Let Moodle leave people out of its answers, without a word, as long as this lasts."""
        whole = {course: dict(members) for course, members in self.site.members.items()}
        for members in self.site.members.values():
            for person in self.unseen & members.keys():
                del members[person]
        yield
        self.site.members.update(whole)
        self.unseen = set()

    def _keys(self) -> Iterator[str]:
        for person in self.people:
            yield f"test-user-{person}"
            yield from (f"test-enrol-{course}-{person}" for course in self.courses)

    def _remember(self, moment: Expected) -> None:
        """Remember who is where, for the time when a course is over and nothing of it is read."""
        for course, members in moment.members.items():
            self.seen[course] |= members.keys()
        there = {key for key in self._keys() if moment.is_there(key)}
        self.kept_out = (self.kept_out - there) | (there & moment.excluded)

    def _count_lacked(self, moment: Expected, *, complete: bool) -> None:
        for key in self._keys():
            there = moment.is_there(key) and moment.sees_everybody
            self.lacked[key] += 0 if there else 1
            if there and complete:
                del self.lacked[key]

    # --- what must hold -----------------------------------------------------------------------------------

    def _look_at(self, moment: Expected, sent: Sequence[Any]) -> None:
        """Hold each row that was sent against the truth: never an untrue value, never gone after one read."""
        for row in (row for form in sent for row in form.rows):
            key = base(self._name_of(row))
            wrong = "" if self._goes_on(moment, key, row) else moment.sent_wrongly(key, row)
            wrong = wrong or row_is_of(self.project, key, row)
            assert not wrong, f"{key}: {wrong}"
            said = row.get("properties", {}).values()
            is_left, is_away = LEFT in said, not {LEFT, OVER, KEPT_OUT}.isdisjoint(said)
            is_sure = self.lacked[key] > 1 or self._is_merged(key)
            assert not is_left or is_sure, f"{key}: marked as left after one read"
            assert is_away or not row.get("close"), f"{key}: closed, and neither left, kept out nor over"

    def _goes_on(self, moment: Expected, key: str, row: Any) -> bool:
        """Say whether a row does what was begun: it empties somebody gone since, or tells of a merge alone."""
        properties = row.get("properties", {})
        begun = key in self.kept_out or self._name_of(row) in self.emptied
        empties = begun and not moment.withdrawn_wrongly(key, row)
        return empties or (self._is_merged(key) and {"merged_into"} == properties.keys())

    def _cities(self, moment: Expected) -> dict[str, str]:
        """Return where CommCare takes people to live who are there, and whose case nobody edited."""
        cases = [
            case for case in self.project.of_type("student") if "city" not in self.by_hand.get(case.case_id, ())
        ]
        return {
            one.case_id: one.properties.get("city", "") for one in cases if base(one.external_id) in moment.drafts
        }

    def _look_at_blanks(self, sent: Sequence[Any], before: dict[str, str], agreed: int) -> None:
        """Hold a run against its guard: many people lose a value only when somebody agreed to it."""
        emptied = [row for form in sent for row in form.rows if row.get("properties", {}).get("city") == ""]
        lost = len({row["case_id"] for row in emptied if before.get(row.get("case_id", ""))})
        many = lost >= MANY and lost > len(before) * SHARE
        assert not many or agreed >= lost, f"{lost} of {len(before)} people lost their city, and nobody was asked"

    def _left(self) -> set[str]:
        """Return the external ids of cases that say, or may say soon, that their person has left."""
        late = [row for _, _, form in self.commcare._unfinished for row in form.rows]
        said = {self._name_of(row) for row in late if LEFT in row.get("properties", {}).values()}
        cases = (*self.project.cases.values(), *self.project.deleted.values())
        return said | {case.external_id or "" for case in cases if LEFT in case.properties.values()}

    def _named(self) -> set[str]:
        """Return the external ids of cases that hold somebody's first name."""
        return {case.external_id for case in self.project.of_type("student") if case.properties.get("first_name")}

    def _living(self, left: Collection[str]) -> Counter[str]:
        """Return how many people have a case that does not say they left, by the place that their keys name."""
        there = {base(one.external_id) for one in self.project.cases.values() if one.external_id not in left}
        return Counter(place_of(key) for key in there)

    def _look_at_departed(
        self, moment: Expected, sent: Sequence[Any], before: tuple[set[str], set[str], Counter[str]]
    ) -> None:
        """Hold a run against its guards: many people leave, or are emptied, only when somebody agreed to it."""
        left, named, living = before
        rows = [row for form in sent for row in form.rows]
        marked = {self._name_of(row) for row in rows if LEFT in row.get("properties", {}).values()} - {*left}
        held = {base(name) for name in named}
        # Whose own case was emptied by somebody's word is in no question about a course.
        emptied_by_word = {who for who in self.withdrawn.agreed if f"test-user-{who}" not in held}
        by_word = {*self.merged, *emptied_by_word}
        self.gone.look_at({base(name) for name in marked}, "marked as left", by_word, living)
        emptied = {self._name_of(row) for row in rows if row.get("properties", {}).get("first_name") == ""}
        keys = {base(name) for name in emptied.intersection(named)} & moment.excluded
        self.withdrawn.look_at(keys, "emptied", self.merged.keys(), living)

    def _look_at_books(self) -> None:
        """Hold the books against CommCare: a case id always names the case with that external id."""
        if self.orphans:
            self.orphans = self._unknown(self.orphans)
        for mapping, scope in self._scopes():
            for key, row in self.store.cases(mapping, scope).items():
                if row.case_id:
                    found = self._any_case(row.case_id).external_id
                    assert external_id(key, row.generation) == found, f"the books are wrong: {key}"

    def _scopes(self) -> Iterator[tuple[str, int]]:
        for mapping in self.loaded().mappings:
            yield from ((mapping.name, scope) for scope in ((0,) if mapping.source == "users" else self.courses))

    def _name_of(self, row: Any) -> str:
        """Return the external id of the case that a row which was sent is about."""
        return row.get("external_id") or self._any_case(row["case_id"]).external_id or ""

    def _any_case(self, case_id: str) -> Any:
        return self.project.cases.get(case_id) or self.project.deleted[case_id]

    # --- the end ------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Let all faults stop, come to rest and compare; then a further run must be silent."""
        self.heal()
        await self.run(24 * HOUR)  # once a day Moodle is asked about those whom no course shows
        await self.come_to_rest()
        self.compare()
        assert [] == found_in(self.copied.copy()), "values of people are in the books"
        assert {} == overwritten(self.project), "what an app wrote was touched"
        forms = len(self.project.forms)
        result = await self.run()
        assert result is not None
        assert [] == found_in(json.dumps(result.as_json())), "values of people are in a result"
        assert forms == len(self.project.forms), "a run without changes writes"
        assert self.deleted or ({}, 0) == (written(result), result.requests["commcare"].get("write", 0))

    def heal(self) -> None:
        """Let both systems work as they should."""
        self.site.maintenance, self.unseen, self.clock.skew, self.twice = "", set(), 0.0, False
        self.copied.dies_at, self.on_write = None, ""
        self.at_request.clear()
        self.moodle.allow(*RIGHTS)
        for course in self.courses:
            self.site.courses[course]["visible"] = 1
        self.moodle._failures._due.clear()
        for waiting in (self.commcare.faults, self.commcare.dropped, self.commcare.late):
            waiting.clear()

    async def come_to_rest(self) -> None:
        """Run until two runs in a row sent nothing, agreeing to what waits for a person."""
        silent = 0
        for _ in range(14):
            forms, blamed = len(self.project.forms), self._blamed_until()
            result = await self.run(max(HOUR, blamed - self.clock.now()))
            assert result is not None
            fine = ("completed", "waiting", *(["degraded"] if self.deleted or blamed else []))
            if silent == 0 and self.backup is not None:
                fine += ("postponed",)  # restored books rest anew when the clock is set right
            assert result.state in fine, (result.state, result.messages)
            assert [] == found_in(json.dumps(result.as_json())), "values of people are in a result"
            waits = self.agree()
            rests = forms == len(self.project.forms) and result.state not in ("waiting", "postponed")
            rests = rests and not waits and not self._blamed_until()
            silent = silent + 1 if rests else 0
            if silent == 2:
                return
        raise AssertionError("the runs do not come to rest")

    def _blamed_until(self) -> float:
        """Return when the last of the rows that an outage put the blame on is tried again; 0.0 without any.

        A case that was to be made for somebody who is in no course that is read is tried when he or she is again.
        """
        wanted, blamed = Expected(self, self.merged).drafts, [0.0]
        for one in self.store.refusals():
            is_due = one.op != "create" or one.row.key in wanted
            blamed += [retried_at(one)] if one.reason == POISON and is_due else []
        return max(blamed)

    def rotate_key(self) -> None:
        """Add a key to the key file, as the command does."""
        given = self.store._given
        self.store.add_keys((*given, bytes([len(given)]) * 32))

    async def audit(self) -> None:
        """Compare CommCare with the books, and have the next run repair what drifted."""
        self.clock.advance(HOUR)
        world, armed, self.served = self.world(), self._armed(), 0
        try:
            await audit(world, repair=True)
        except Killed:
            self.mortal.dead = False
        finally:
            self.faults += armed - self._armed()
            await world.moodle.close()
            await world.commcare.close()

    def back_up(self) -> None:
        """Copy the books."""
        self.backup, self.merged_then = self.copied.copy(), self.merged
        self.kept_out_then = self.kept_out | {base(name) for name in self.emptied}

    def restore(self) -> None:
        """Put the backup back, as the command does: what was sent since may still be under way."""
        assert self.backup is not None
        self.faults += 1
        self.emptied.clear()  # unless they are kept out still, these books know nothing of it
        self.kept_out |= self.kept_out_then  # and nothing of who was let in since
        self.merged = self.merged_then
        self.copied.put_back(self.backup)
        self.store.mark_restored(self.clock.now())
        late = [row.get("external_id") for _, _, form in self.commcare._unfinished for row in form.rows]
        made = {case.external_id for case in self.project.cases.values()}
        self.orphans = self._unknown({name for name in (*made, *late) if name})

    def _unknown(self, names: Collection[str]) -> set[str]:
        """Return those of some external ids that the books know nothing of: nothing at all, or not that number."""
        known = {
            key: row.generation
            for mapping, scope in self._scopes()
            for key, row in self.store.cases(mapping, scope).items()
        }
        return {name for name in names if known.get(base(name), 0) < number_of(name)}

    def _is_unknown(self, case: Any) -> bool:
        return case.external_id in self.orphans

    def merge(self, old: int, new: int) -> bool:
        """Say that two people are one, as the command does; False when the books know too little of them."""
        try:
            merge(self.store, old, new, self.clock.now())
        except UsageError:
            return False
        self.merged = self.merged | {old: new}
        return True

    def _is_merged(self, key: str) -> bool:
        return int(key.rsplit("-", 1)[1]) in self.merged

    def asked(self) -> dict[str, int]:
        """Return about how many people the last run asked, by kind and place."""
        found = {name: people_asked(self.store, name) for name in QUESTIONS}
        return {f"{name} {place}": people for name, one in found.items() for place, people in one.items()}

    def agree(self) -> bool:
        """Confirm everything that waits for a person; returns whether something did."""
        leavers, blanks, kept_out = (people_asked(self.store, name) for name in QUESTIONS)
        self.agreed = int(blanks.get("student city", self.agreed))
        if leavers:
            confirm(self.store, None, sum(leavers.values()))
            self.gone.agree(int(key.rsplit("-", 1)[1]) for key, count in self.lacked.items() if count)
        for what, people in blanks.items():
            confirm_blanks(self.store, *what.split(" "), people)
        if kept_out:
            confirm_withdrawn(self.store, None, sum(kept_out.values()))
            self.withdrawn.agree(int(key.rsplit("-", 1)[1]) for key in self.kept_out)
        return bool(leavers or blanks or kept_out)

    def compare(self) -> None:
        """Hold CommCare against Moodle: every record has its case, no case is wrong, nothing is in doubt."""
        expected = Expected(self, self.merged)
        cases = expected.cases()
        lost = {key for key in expected.drafts.keys() - cases.keys() if not self._is_orphaned(key)}
        assert not lost, f"somebody has no case: {lost}"
        wrong = {key: fault for key, case in cases.items() if (fault := self._differs(expected, key, case))}
        assert not wrong, wrong
        held = self._earlier_that_hold(expected, cases)
        assert not held, f"kept out, and what came before holds something personal: {held}"
        assert not self.store.intents(), "writes are still announced"

    def _earlier_that_hold(self, expected: Expected, newest: dict[str, Any]) -> list[str]:
        """Return the cases that came before the newest one of somebody kept out, and hold something personal."""
        held = []
        for case in self.project.cases.values():
            key = base(case.external_id or "")
            if key not in expected.excluded or case is newest[key] or self._is_orphaned(key):
                continue
            if self._is_merged(key) or self._is_unknown(newest[key]) or self._stays(expected, key):
                continue
            if not self._is_emptied(expected, key, case, self.by_hand.get(case.case_id, set())):
                held.append(case.external_id or "")
        return held

    def _is_orphaned(self, key: str) -> bool:
        """Say whether somebody deleted this case, or the case it belongs to."""
        return key in self.deleted or f"test-user-{key.rsplit('-', 1)[1]}" in self.deleted

    def _differs(self, expected: Expected, key: str, case: Any) -> str:
        """Return how a case differs from what it should be, beyond what people did to it in CommCare."""
        if self._is_orphaned(key):
            return ""
        edited = self.by_hand.get(case.case_id, set())
        if self._is_merged(key) and not self._is_unknown(case):
            return self._merged_wrongly(expected, key, case, edited)
        if key.startswith("test-enrol-") and int(key.split("-")[2]) in expected.ended:
            return "" if self._is_unknown(case) else self._ends_wrongly(key, case, edited)
        if self._stays(expected, key):
            return ""
        written = {name for name in edited if case.properties.get(name) == "By hand"}
        fault = expected.differs(key, case, written)
        if not fault and key in expected.drafts and expected.is_there(key) and not case.closed:
            fault = is_of(self.project, key, case)
        if case.external_id in self.emptied and not self._is_emptied(expected, key, case, edited):
            return f"{fault}, and what is personal was not emptied"
        gone = fault == "gone, and not marked as left"
        if gone and (self._is_unknown(case) or self._was_marked(expected, key, case, edited)):
            return ""
        if key in self.closed and case.closed and fault == "closed, and its person is there":
            return ""
        kept_out = fault.startswith("kept out, and has")
        if kept_out and self._is_emptied(expected, key, case, edited):
            return ""
        return fault

    def _merged_wrongly(self, expected: Expected, key: str, case: Any, edited: set[str]) -> str:
        """Return what is wrong with a case of somebody who goes on under another number."""
        if case.closed:  # what was closed before stays as it was
            return ""
        whom = str(self.merged[int(key.rsplit("-", 1)[1])])
        told = case.properties.get("merged_into") == whom and self._was_marked(expected, key, case, edited)
        return "" if told else f"merged into {whom}, and does not say so"

    def _stays(self, expected: Expected, key: str) -> bool:
        """Say whether a person is neither gone nor kept out for certain: he or she was in a course that is over.

        Such a course is not read, and what is not read is not gone; but for a deleted account.
        """
        number = int(key.rsplit("-", 1)[1])
        if self.site.users[number].deleted:
            return False
        unknown = not expected.is_there(key) or key in expected.excluded
        return key.startswith("test-user-") and unknown and any(number in self.seen[n] for n in expected.ended)

    def _ends_wrongly(self, key: str, case: Any, edited: set[str]) -> str:
        """Return what is wrong with an enrolment whose course is over: who was in it is told so."""
        status = case.properties.get("enrolment_status")
        told = status in (OVER, LEFT) or (status == "By hand" and "enrolment_status" in edited)
        return "" if told or key in self.kept_out else f"its course is over, and its status is {status}"

    @staticmethod
    def _is_emptied(expected: Expected, key: str, case: Any, edited: set[str]) -> bool:
        """Say whether a case holds nothing personal but for what people wrote into it in CommCare."""
        mapping = expected.mapping_of(key)
        personal = {name: case.properties.get(name, "") for name in mapping.personal}
        if mapping.name_is_personal and case.case_name != key:
            return False
        return all(not value or (name in edited and value == "By hand") for name, value in personal.items())

    @staticmethod
    def _was_marked(expected: Expected, key: str, case: Any, edited: set[str]) -> bool:
        """Say whether a case is marked as left but for what people overwrote in CommCare."""
        marks = expected.mapping_of(key).when_left.set.items()
        told = {name: case.properties.get(name) for name, _ in marks}
        return all(told[name] == mark or (name in edited and told[name] == "By hand") for name, mark in marks)


def _is_complete(ends: Sequence[Result | BaseException], options: dict[str, Any]) -> bool:
    """Say whether a run read everything, and was asked to."""
    return isinstance(ends[0], Result) and ends[0].state == "completed" and not options
