"""The invariants, looked at while a run is under way and when it has ended; numbers are those of the design.

I1 one case a key · I2 CommCare as the mapping makes it · I3 silence · I4 nothing lost silently · I5 nobody gone
who was not missing twice · I6 no child before its parent · I7 the books name the right case · I8 nothing older
over newer · I9 courses do not hurt each other · I11 few requests · I12 one writer · I13 the log says of each case
what its row says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from adaptors.commcare.fake_project import FakeProject, Form
from flows.result import Result
from state.history import TAKEN
from tests.proofs.belongings import is_of
from tests.proofs.books import Memory
from tests.proofs.faults import FROZEN, OF_COURSE, Faults
from tests.proofs.wires import Breach

if TYPE_CHECKING:
    from tests.proofs.stories import School

LEFT = "left"
STATUSES = {"student": ("moodle_status",), "enrolment": ("enrolment_status",)}
COURSES = (2, 3)
READS = 3 + 3 * len(
    COURSES
)  # decision 24: the account, the courses, the profiles; ids, suspended ids, one page each
TRIES = 5


class Watch:
    """What is known of a run, and what must hold; raises Breach."""

    project: FakeProject

    def __init__(
        self, books: Memory, keys: frozenset[str], lacked: dict[str, int], written: dict[str, float]
    ) -> None:
        self._books = books
        self._keys = keys
        self.lacked = lacked
        """By key: reads in a row that lacked it."""
        self.written = written
        """By case: when the last write that took effect was sent."""
        self.faults = Faults()
        self.breach = ""
        """The first breach; kept, because what raises inside the engine may be caught there."""

    def begin(self, faults: Faults, school: School, run_id: str) -> None:
        """Begin a run, with what Moodle says."""
        self.faults, self.school, self.current = faults, school, run_id
        self.rows: Counter[str] = Counter()
        self._took_over: str = ""
        self._in_second = False
        self._reads = 1
        self._lacking = {key for key in self._keys if key not in school.cases}

    def move_on(self, school: School) -> None:
        """Let Moodle say something else from here on."""
        self.school = school
        self._lacking |= {key for key in self._keys if key not in school.cases}

    def _hold(self, holds: bool, text: str) -> None:
        if not holds:
            self.breach = self.breach or text
            raise Breach(text)

    # --- while a run is under way -------------------------------------------------------------------------

    def sending(self, rows: list[dict[str, Any]], batch: str) -> None:
        """Look at the rows of a request before it goes out."""
        if self._in_second and self._took_over == "":
            self._hold(False, f"I12: a second worker sends while the first one works ({batch})")
        self._hold(not self._took_over or self._in_second, "I12: a run that lost its lease goes on sending")
        for row in rows:
            key = row.get("external_id") or self.project.cases[row["case_id"]].external_id or ""
            self.rows[key] += 1
            if LEFT in row.get("properties", {}).values():
                missing = self.lacked.get(key, 0) + self._reads * (key in self._gone())
                self._hold(missing > 1, f"I5: {key} is marked as left after {missing} reads without it")
                self._hold(not self._asks(key), f"I5: {key} is marked as left and nobody was asked")
            for index in row.get("indices", {}).values():
                self._parent_is_known(key, index["case_id"])

    def _gone(self) -> set[str]:
        """Return the keys that this run may not have seen: nobody is there without an enrolment."""
        gone = self._lacking | self.faults.short
        people = {
            wanted["@parent"]
            for key, wanted in self.school.cases.items()
            if "@parent" in wanted
            if key not in gone
        }
        return gone | {key for key in self.school.cases if key.startswith("test-user-") and key not in people}

    def _asks(self, key: str) -> bool:
        """Say whether a person has to agree: nobody is left where this key was."""
        place = key.rpartition("-")[0]
        gone = self._gone()
        return not any(other.startswith(f"{place}-") and other not in gone for other in self._keys)

    def _parent_is_known(self, key: str, parent: str) -> None:
        known = self._books.rows(f"SELECT key FROM case_row WHERE case_id = '{parent}'")  # noqa: S608
        self._hold(bool(known), f"I6: {key} is sent before its parent is known")

    def sent(self) -> None:
        """Look at CommCare after a write."""
        self.look()

    def applied(self, form: Form) -> None:
        """Look at a write that took effect, now or late."""
        for row in form.rows:
            key = row.get("external_id") or self.project.cases[row["case_id"]].external_id or ""
            self._hold(
                self.written.get(key, 0.0) <= form.received_on, f"I8: {key} is overwritten by something older"
            )
            self.written[key] = form.received_on

    def look(self) -> None:
        """Look for doubles."""
        counts = Counter(case.external_id for case in self.project.cases.values())
        doubles = [key for key, count in counts.items() if count > 1]
        self._hold(not doubles, f"I1: two cases of {doubles}")

    @contextmanager
    def second_worker(self) -> Iterator[None]:
        """Let a second worker run; it may send only when the lease of the first one has run out.

        Where the first one holds none, it has yet to take it or has given it back: they come one after the other.
        What the first one has read by then, the second one reads a second time.
        """
        held = self._books.rows("SELECT expires_at FROM lease WHERE holder != ''")
        now = self.project.clock()
        self._in_second, self._is_held = True, bool(held)
        self._took_over = "maybe" if not held or held[0][0] <= now else ""
        again = any(point.what == "note_read" for point in self.faults.seen)
        self._reads += again
        try:
            yield
        finally:
            self._in_second = False
            self._reads -= again

    def second_ended(self, result: Result) -> None:
        """Note whether the second worker was let in."""
        let_in = result.state != "postponed"
        self._took_over = "yes" if let_in and self._is_held else ""
        self._reads += let_in

    # --- when it has ended ---------------------------------------------------------------------------------

    def ended(self, result: Result | None) -> None:
        """Look at the books when a run has ended, in whatever way."""
        if self.breach:
            raise Breach(self.breach)
        self._books_are_right()
        self._log_is_right()
        self._checkpoints_are_true()
        if result is not None:
            self._nothing_lost(result)
            self._others_unhurt(result)
        definite = sum(fault in ("429", "429 long", "refused") for _, fault in self.faults.fired)
        second = any(fault in ("second worker", *FROZEN) for _, fault in self.faults.fired)
        often = [key for key, count in self.rows.items() if count > 1 + definite + second]
        self._hold(not often, f"I11: {often} were sent too often")
        reads = sum(point.kind == "moodle" for point in self.faults.seen)
        struck = sum(point.kind == "moodle" for point, _ in self.faults.fired)
        self._hold(reads <= READS + TRIES * struck, f"I11: Moodle was asked {reads} times")
        self._count_lacked(result)

    def _count_lacked(self, result: Result | None) -> None:
        """Count the reads in a row that may have lacked a key; one complete run that had it ends the row."""
        complete = result is not None and result.state == "completed" and not self.faults.fired
        for key in self._keys:
            if key in self._gone():
                self.lacked[key] = min(2, self.lacked.get(key, 0) + self._reads)
            elif complete:
                self.lacked.pop(key, None)

    def _books_are_right(self) -> None:
        for key, case_id, generation in self._books.rows("SELECT key, case_id, generation FROM case_row"):
            if case_id:
                wanted = key if generation == 1 else f"{key}~{generation}"
                case = self.project.cases.get(case_id)
                there = case.external_id if case is not None else "no case"
                self._hold(wanted == there, f"I7: the books take {there} for {wanted}")

    def _log_is_right(self) -> None:
        """The last answer in the log of a case was taken in when its row was, and no row lacks its log."""
        logged = self._books.rows(
            "SELECT mapping, key, at FROM change JOIN occasion ON occasion.id = change.occasion "  # noqa: S608
            f"WHERE answer IN {TAKEN} ORDER BY occasion.id"
        )
        last = {(mapping, key): at for mapping, key, at in logged}
        rows = self._books.rows("SELECT mapping, key, pushed_at, case_id FROM case_row WHERE pushed_at > 0")
        for mapping, key, pushed_at, case_id in rows:
            at = last.pop((mapping, key), 0.0)
            self._hold(at == pushed_at, f"I13: the row of {key} was taken in at {pushed_at}, its log says {at}")
            self._hold(bool(case_id), f"I13: {key} was taken in, and has no case")
        self._hold(not last, f"I13: {sorted(last)} are in the log as taken in, and their rows do not say so")

    def _settled(self) -> tuple[set[str], set[str], set[str]]:
        """Return the keys that are acknowledged, in doubt, and listed as a problem."""
        acknowledged = {key for (key,) in self._books.rows("SELECT key FROM case_row WHERE digests IS NOT NULL")}
        doubtful = {key for (key,) in self._books.rows("SELECT key FROM intent")}
        problems = {key for (key,) in self._books.rows("SELECT key FROM problem")}
        return acknowledged, doubtful, problems

    def _same_school(self) -> bool:
        """Say whether Moodle told one story in this run, and told it whole."""
        kinds = {fault for _, fault in self.faults.fired}
        return not kinds & {"edit", "short", "short on", "second worker", *FROZEN}

    def _checkpoints_are_true(self) -> None:
        """A course that counts as read by this run has no row that is not settled (I4), also after a crash."""
        if not self._same_school():
            return
        for course, run_id in self._books.rows("SELECT course_id, run_id FROM course WHERE course_id > 0"):
            if run_id == self.current:
                for key in self.school.cases:
                    if key.startswith(f"test-enrol-{course}-"):
                        self._is_settled(key, f"course {course} is checked off and")

    def _is_settled(self, key: str, when: str) -> None:
        acknowledged, doubtful, problems = self._settled()
        parent = self.school.cases[key].get("@parent", "")
        waits = parent in doubtful or parent in problems
        wrong = "" if key in acknowledged else "its books hold nothing"
        if not wrong and key not in doubtful:
            wrong = self._differs_in_books(key)
        self._hold(not wrong or key in doubtful or key in problems or waits, f"I4: {when} {key} is lost: {wrong}")

    def _differs_in_books(self, key: str) -> str:
        mapping = "student" if key.startswith("test-user") else "enrolment"
        scope = 0 if mapping == "student" else int(key.split("-")[2])
        case = self._books.store.cases(mapping, scope, [key]).get(key)
        digests = (case.digests if case is not None else None) or {}
        wanted = {name: text for name, text in self.school.cases[key].items() if name != "@parent"}
        wrong = [
            name for name, text in wanted.items() if digests.get(name) != self._books.store.digest(key, name, text)
        ]
        return f"the books take other values of {wrong} for sent" if wrong else ""

    def _nothing_lost(self, result: Result) -> None:
        """After a run that calls itself completed each wanted row is sent, in doubt, or a problem."""
        if result.state == "completed" and self._same_school():
            for key in self.school.cases:
                self._is_settled(key, "the run completed and")

    def _others_unhurt(self, result: Result) -> None:
        """When requests for one course fail, the other courses are read and checked off (I9)."""
        faults = self.faults.fired
        if len(faults) != 1 or faults[0][0].kind != "moodle" or faults[0][1] not in OF_COURSE:
            return
        course = (*faults[0][0].what.split(), "")[1]
        checked = {
            number
            for number, run in self._books.rows("SELECT course_id, run_id FROM course")
            if run == self.current
        }
        others = {number for number in COURSES if str(number) != course}
        if course:
            self._hold(others <= checked, f"I9: {others - checked} was not read because course {course} failed")
            self._hold(str(result.state) in ("completed", "degraded"), f"I9: the run ended {result.state}")

    def compare(self, *, complete: bool) -> None:
        """Hold CommCare against the school (I2); `complete`: also those who are gone, after a second read."""
        cases = {case.external_id: case for case in self.project.cases.values()}
        for key, wanted in self.school.cases.items():
            case = cases.get(key)
            self._hold(case is not None, f"I2: there is no case {key}")
            held = case.properties | {"@name": case.case_name}
            held["@parent"] = (
                (self.project.cases[index["case_id"]].external_id or "")
                if (index := case.indices.get("student"))
                else ""
            )
            wrong = [name for name, text in wanted.items() if held.get(name) != text]
            self._hold(not wrong, f"I2: {key} differs in {wrong}")
            besides = [name for name in case.properties.keys() - wanted.keys() if case.properties[name]]
            self._hold(not besides, f"I2: {key} has {besides} besides")
            amiss = "it is closed" if case.closed else is_of(self.project, key, case)
            self._hold(not amiss, f"I2: {key}: {amiss}")
            away = [name for name in STATUSES[case.case_type] if held.get(name) == LEFT]
            self._hold(not away, f"I2: {key} is there and marked as left")
        for key in cases.keys() - self.school.cases.keys() if complete else ():
            case = cases[key]
            marked = [name for name in STATUSES[case.case_type] if case.properties.get(name) == LEFT]
            self._hold(bool(marked), f"I2: {key} is gone and not marked as left")
        doubtful = self._books.rows("SELECT key FROM intent")
        self._hold(not doubtful, f"I2: {doubtful} are still announced")
