"""Who watches a walk: each row sent is held against the truth of that moment, and the end against Moodle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from adaptors.commcare.fake_project import Case
from flows.result import Result
from flows.steps.planned import external_id
from tests.flows.expected import LEFT, OVER, base
from tests.proofs.belongings import TYPES, fill_in, is_of, row_is_of
from tests.proofs.walk_deeds import BY_HAND
from tests.proofs.walk_mappings import NEW, OLD
from tests.proofs.walk_school import School, Work
from tests.proofs.walk_truth import TABLE, Truth, course_of, person_of

GONE = {"send_sms": "no"}
"""What a case of engagement says of somebody who left or is kept out."""
MARKS = {"student": "moodle_status", "enrolment": "enrolment_status", "engagement": "send_sms"}
"""Which property tells that somebody left."""


class Witness:
    """Holds what processes send against the truth, and CommCare against Moodle when all has come to rest."""

    def __init__(self, school: School) -> None:
        self.school, self.deeds = school, school.deeds
        self.lacked: Counter[str] = Counter()
        """In how many processes a case's person was not there, or not to be seen, since the last whole read."""
        self.sent: Counter[str] = Counter()
        """How many rows were sent by kind of case."""

    async def watch(self, work: Work, later: float, *, whole: bool = False) -> Any:
        """Let a process do some work a while later; returns what it came to.

        `whole`: it is a run that is to read everything.
        """
        school = self.school
        school.clock.advance(later)
        forms, started = len(school.project.forms), school.commcare.now()
        with school.looking_away():
            moment = school.truth()
            self.deeds.kept_out |= moment.excluded
            end = await school.do(work)
            self._count_lacked(moment, complete=whole and isinstance(end, Result) and end.state == "completed")
            for form in school.project.forms[forms:]:
                for row in form.rows if form.received_on >= started else ():
                    self._look_at_row(moment, row)
        self._look_at_books()
        fill_in(school.project)
        return end

    def _keys(self) -> Iterator[str]:
        for person in self.school.people:
            yield from (f"test-user-{person}", f"test-engage-{person}")
            for course in self.school.courses:
                yield from (f"test-enrol-{course}-{person}", f"test-member-{course}-{person}")

    def _count_lacked(self, moment: Truth, *, complete: bool) -> None:
        for key in self._keys():
            there = moment.is_there(key)
            self.lacked[key] += 0 if there else 1
            if there and complete:
                del self.lacked[key]

    # --- what is sent -------------------------------------------------------------------------------------

    def _look_at_row(self, moment: Truth, row: Mapping[str, Any]) -> None:
        school = self.school
        key = base(row.get("external_id") or self._any_case(row["case_id"]).external_id or "")
        self.sent[key.split("-")[1]] += 1
        wrong = self._sent_wrongly(moment, key, row) or row_is_of(school.project, key, row)
        assert not wrong, f"{key}: {wrong}"

    def _any_case(self, case_id: str) -> Case:
        return self.school.project.cases.get(case_id) or self.school.project.deleted[case_id]

    def _sent_wrongly(self, moment: Truth, key: str, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a row, "" when it is right at this moment."""
        said: Mapping[str, str] = row.get("properties", {})
        told = {name: value for name, value in said.items() if value not in moment.harmless()}
        if person_of(key) in self.deeds.erased | self.deeds.unfinished:
            named = row.get("case_name", key) != key
            return f"erased, and sent {sorted(told)}" if told or named else ""
        if self._is_replaced(key):
            return f"replaced, and sent {sorted(told)}" if told else ""
        if {LEFT, OVER} & {*said.values()} or (said == GONE and not moment.is_there(key)):
            return self._away_wrongly(moment, key, said)
        if not told and self._was_kept_out(key):  # emptying that was begun goes on, also of somebody who left then
            return ""
        return moment.sent_wrongly(key, row)

    def _away_wrongly(self, moment: Truth, key: str, said: Mapping[str, str]) -> str:
        """Return what is wrong with telling a case that its person is gone, or its course."""
        if course_of(key) in self.deeds.new_terms:
            return ""
        if OVER in said.values():
            return "" if course_of(key) in moment.ended else "told that its course is over, and it is not"
        if moment.is_there(key):
            return "marked as left, and is there"
        return "" if self.lacked[key] > 1 else f"marked as left after {self.lacked[key]} reads"

    def _was_kept_out(self, key: str) -> bool:
        """Say whether a person was kept out; a record that is names its new key, whatever the case's own is."""
        new = key.replace(f"-{OLD}-", f"-{NEW}-")
        return not self.deeds.kept_out.isdisjoint({key, new, f"test-user-{person_of(key)}"})

    def _is_replaced(self, key: str) -> bool:
        """Say whether the keys of enrolments are others now."""
        return key.split("-")[1] == OLD != self.deeds.word

    def _look_at_books(self) -> None:
        """Hold the books against CommCare: a case id always names the case with that external id."""
        store = self.school.store
        for mapping in self.school.loaded().mappings:
            for scope in self.school.courses if mapping.source == "enrolments" else (0,):
                for key, row in store.cases(mapping.name, scope).items():
                    found = self._any_case(row.case_id).external_id if row.case_id else ""
                    is_it = not row.case_id or external_id(key, row.generation) == found
                    assert is_it, f"the books are wrong: {key} {row.generation} is {found}"

    # --- the end ------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Hold CommCare against Moodle: every record has its case and its row, no case is wrong."""
        truth = self.school.truth()
        cases = truth.cases()
        lost = {key for key in truth.drafts.keys() - cases.keys() if not self._is_orphaned(key)}
        assert not lost, f"somebody has no case: {lost}"
        wrong = {
            case.external_id: fault for key, case in cases.items() if (fault := self._differs(truth, key, case))
        }
        assert not wrong, wrong
        held = {case.external_id for case in self.school.project.cases.values() if self._holds(truth, case)}
        assert not held, f"erased, and something is left in {sorted(held, key=str)}"
        assert not self.school.store.intents(), "writes are still announced"
        self._compare_table(truth)

    def _compare_table(self, truth: Truth) -> None:
        rows = self.school.commcare.shelf.contents(TABLE)
        found = Counter(row["key"] for row in rows)
        assert {1} >= {*found.values()}, f"a row stands twice: {found}"
        told = {row["key"]: (row["shortname"], row["course_name"], row["starts_on"]) for row in rows}
        assert truth.table() == told

    def _holds(self, truth: Truth, case: Case) -> bool:
        """Say whether a case of somebody who was erased holds anything that came from Moodle."""
        key = base(case.external_id or "")
        if person_of(key) not in self.deeds.erased:
            return False
        edited = self._edited(case)
        kept = {value for name, value in case.properties.items() if name not in edited} - truth.harmless()
        return bool(kept) or case.case_name != key

    def _edited(self, case: Case) -> set[str]:
        """Return the properties that somebody overwrote, and that say so still."""
        edited = self.deeds.by_hand.get(case.case_id, ())
        return {name for name in edited if case.properties.get(name) == BY_HAND}

    def _is_orphaned(self, key: str) -> bool:
        """Say whether somebody deleted this case, or the case it belongs to."""
        return not self.deeds.deleted.isdisjoint({key, f"test-user-{person_of(key)}"})

    def _differs(self, truth: Truth, key: str, case: Case) -> str:
        """Return how a case differs from what it should be, beyond what people did to it in CommCare."""
        if self._is_orphaned(key) or person_of(key) in self.deeds.erased:
            return ""
        if self._is_replaced(key) or course_of(key) in truth.ended:
            is_told = self._is_told(case, LEFT, OVER) or self._is_let_go(truth, key, case)
            is_shut = case.closed and self._is_replaced(key)
            return "" if is_told or is_shut else f"replaced or over {self._mark(key, case)}"
        if self._stays(truth, key):
            return ""
        fault = truth.differs(key, case, self._edited(case))
        if not fault and key in truth.drafts and not case.closed:
            fault = is_of(self.school.project, key, case)
        return "" if self._is_excused(truth, key, case, fault) else f"{fault} {self._mark(key, case)}"

    def _is_excused(self, truth: Truth, key: str, case: Case, fault: str) -> bool:
        """Say whether a difference is none, or what somebody's hand or word explains."""
        if fault == "gone, and not marked as left":
            is_over = course_of(key) in self.deeds.new_terms and self._is_told(case, OVER)
            return is_over or self._is_let_go(truth, key, case)
        if fault.startswith("kept out, and has"):
            return bool(self._edited(case))
        is_closed = fault.startswith("closed, and its person is there")
        return not fault or (is_closed and case.closed and key in self.deeds.closed)

    def _is_let_go(self, truth: Truth, key: str, case: Case) -> bool:
        """Say whether nobody tells a case any more that its person is gone."""
        is_emptied = truth.is_blank(case, self._edited(case)) or (course_of(key) != 0 and self._was_kept_out(key))
        return is_emptied or case.external_id in self.deeds.orphans or _mark_of(key) in self._edited(case)

    def _is_told(self, case: Case, *words: str) -> bool:
        return case.properties.get("enrolment_status") in words

    def _mark(self, key: str, case: Case) -> str:
        return f"({_mark_of(key)}: {case.properties.get(_mark_of(key))}, closed: {case.closed})"

    def _stays(self, truth: Truth, key: str) -> bool:
        """Say whether a person is neither gone nor kept out for certain: a course that is over is not read.

        Of a deleted account that is certain all the same.
        """
        is_away = not truth.is_there(key) or key in truth.excluded
        if self.school.site.users[person_of(key)].deleted:
            return False
        return not course_of(key) and bool(truth.ended) and is_away


def _mark_of(key: str) -> str:
    """Return the property that tells that the person of a key has left."""
    return MARKS[TYPES[key.split("-")[1]]]
