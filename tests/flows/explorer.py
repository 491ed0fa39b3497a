"""A small explorer: random edits, faults and runs on the fakes, and what must hold at every moment and in the end.

Everything follows from the seed. What is expected is worked out from the fake site's own data with the mapping
engine, never with the code that reads Moodle.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.sizes import Sizes
from flows.confirm import confirm, confirm_blanks, confirm_withdrawn
from flows.errors import UsageError
from flows.needs import REFUSED_BLANKS, people_asked
from flows.result import Result
from flows.steps.asked import LEAVERS
from flows.steps.asked import WITHDRAWN as WITHDRAWN_ASKED
from flows.steps.planned import external_id
from tests.flows.expected import LEFT, OVER, PARKING, WITHDRAWN, Expected, base
from tests.flows.explorer_lab import Killed, WatchedLab
from tests.flows.explorer_troubles import Edits, Faults
from tests.flows.worlds import PROJECT, written

STUDENT_LEFT = "when_left: {set: {moodle_status: left}}"
ENROLMENT_LEFT = "when_left: {set: {enrolment_status: left}}"
LOOSE = "guards: {run_cases: 10000}\n"
HOUR = 3600.0


class Explorer:
    """One walk; `log` says what was done, in order: edits, faults, runs and how they ended."""

    def __init__(self, folder: Path, seed: int, state_url: str = "sqlite://") -> None:
        self.chance = random.Random(seed)
        self.log: list[str] = []
        site, people = _site(self.chance)
        guards = self.chance.choice(("", LOOSE))
        project = f"{PROJECT}{guards}parked_owner: {{group: {PARKING}}}\n"
        self.lab = WatchedLab(folder, site, seed, project=project, state_url=state_url)
        self.lab.project.add_group(PARKING)
        self._choose_words()
        if self.chance.random() < 0.5:
            self.lab.edit("grade_item", "enabled: false", "enabled: true")
        self.sizes = Sizes.fixed(page=3, profiles=4, grades=2)
        self.sizes.whole_course = self.chance.choice((2, 50))
        self.sizes.kept_rows = self.chance.choice((0, 5, 1000))
        self.lab.sizes = lambda: self.sizes
        self.edits = Edits(site, self.lab, self.chance, people)
        self.faults = Faults(self.edits, self._edit_under_way)
        self.moments: list[Expected] = []
        """What was true at the start of the run, and after the one edit that was made while it ran."""
        self.lacked: Counter[str] = Counter()
        """Cases whose person was not there, or not to be seen: in how many runs in a row by now."""
        self.told_left: set[str] = set()
        self.told_kept_out: set[str] = set()
        """Cases of which CommCare was told so last: without an answer it is told again, whatever is seen then."""

    def _choose_words(self) -> None:
        """Let cases that go away be marked, parked or closed, and courses that are over be told or not."""
        further = self.chance.choice(("", ", park: true", ", close: true"))
        excluded = f"when_excluded: {{set: {{moodle_status: {WITHDRAWN}}}}}"
        self.lab.edit("student", STUDENT_LEFT, f"{STUDENT_LEFT[:-1]}{further}}}\n{excluded}")
        further = self.chance.choice(("", "", ", close: true"))
        ended = self.chance.choice(("", "}", ", close: true}"))
        over = f"\nwhen_course_ends: {{set: {{enrolment_status: {OVER}}}{ended}" if ended else ""
        self.lab.edit("enrolment", ENROLMENT_LEFT, f"{ENROLMENT_LEFT[:-1]}{further}}}{over}")

    async def walk(self, rounds: int) -> None:
        """Go so many rounds of edits, faults and a run, then come to rest and compare."""
        self.log += [self.faults.fault()] if self.chance.random() < 0.5 else []
        await self.run({})
        self.log += [self.faults.leaves_and_returns()]
        for _ in range(rounds):
            self.log += [self.edits.edit() for _ in range(self.chance.randrange(4))]
            self.log += [self.faults.fault() for _ in range(self.chance.choice((0, 0, 1, 1, 2)))]
            await self.run(self._options())
            due, self.faults.afterwards = self.faults.afterwards, []
            for event in due:
                event()
        self.faults.end()
        await self.come_to_rest()
        await self.compare()

    def _options(self) -> dict[str, Any]:
        kind = self.chance.randrange(12)
        if kind == 0:
            return {"courses": (self.chance.choice(self.edits.courses),)}
        if kind == 1:
            return {"mappings": (self.chance.choice(("student", "enrolment")),)}
        return {"preview": True} if kind == 2 else {}

    def _edit_under_way(self) -> None:
        if len(self.moments) == 1:  # with more edits there is no moment that a row has to be true of
            self.log.append(self.edits.edit())
            self.moments.append(Expected(self.lab))

    async def run(self, options: dict[str, Any], later: float = 0.0) -> Result | None:
        """Run once; look at what was sent, and that nothing of the run stays behind."""
        lab, forms = self.lab, len(self.lab.project.forms)
        later = later or (60.0 if self.faults.soon else self.chance.choice((60.0, 700.0, HOUR, HOUR)))
        self.log.append(f"run {options or ''} after {later}")
        self.moments, lab.served, self.faults.soon = [Expected(lab)], 0, bool(lab.commcare.late)
        started, others = lab.clock.now() + later, asyncio.all_tasks()
        lab.task = asyncio.ensure_future(lab.sync(later, **options))
        result = None
        try:
            result = await lab.task
            json.dumps(result.as_json())
            self.log.append(f"{result.state} {written(result)} {result.messages}")
        except (asyncio.CancelledError, Killed, UsageError) as end:
            self.log.append(f"ended by {type(end).__name__}")
        lab.mortal.dead, lab.mortal.full_after, lab.task = False, None, None
        lab.at_request.clear()
        assert asyncio.all_tasks() <= others, "something is still at work after the run"
        self._count_lacked(complete=bool(result and result.state == "completed" and not options))
        self._look_at([form for form in lab.project.forms[forms:] if form.received_on >= started])
        self._look_at_announced()
        return result

    def _count_lacked(self, *, complete: bool) -> None:
        """Count for each case the reads that may have lacked its person; a complete one that shows him ends it."""
        for key in self._keys():
            there = all(moment.is_there(key) and moment.sees_everybody for moment in self.moments)
            self.lacked[key] += 0 if there else 1
            if there and complete:
                del self.lacked[key]

    def _keys(self) -> Iterator[str]:
        """Yield every key there may be, of a case that is still on its way too."""
        for person in self.edits.people:
            yield f"test-user-{person}"
            yield from (f"test-enrol-{course}-{person}" for course in self.edits.courses)
            yield from (f"test-grade-{item}-{person}" for item in self.lab.site._course_of_item)

    def _look_at(self, sent: list[Any]) -> None:
        """Hold the rows of a run against its moments."""
        for row in (row for form in sent for row in form.rows):
            key = base(row.get("external_id") or self.lab.project.cases[row["case_id"]].external_id or "")
            wrong = [self._sent_wrongly(moment, key, row) for moment in self.moments]
            assert not all(wrong), f"{key}: {wrong}"
            assert not _is_left(row) or self.lacked[key] > 1, f"{key}: marked as left after one read"
            (self.told_left.add if _is_left(row) else self.told_left.discard)(key)
            (self.told_kept_out.add if _is_kept_out(row) else self.told_kept_out.discard)(key)

    def _look_at_announced(self) -> None:
        """Hold what was decided, and did not arrive, against the moments as well: it goes on without an answer."""
        ways = {row: one.op for row, one in self.lab.store.intents().items() if one.op in ("left", "closed")}
        for key, op in ((row.key, op) for row, op in ways.items() if row.key not in self.told_left):
            if op == "closed" and any(moment.is_over(key) for moment in self.moments):
                continue
            assert self.lacked[key] > 1, f"{key}: to be marked as left after one read"
            assert not all(moment.is_there(key) for moment in self.moments), f"{key}: to be marked as left"
            self.told_left.add(key)

    def _sent_wrongly(self, moment: Expected, key: str, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a row; what somebody out of sight has become nobody knows."""
        if _is_left(row) and key in self.told_left and not moment.sees_everybody:
            return ""
        if _is_kept_out(row) and key in self.told_kept_out and key not in moment.drafts:
            return moment.withdrawn_wrongly(key, row)
        return moment.sent_wrongly(key, row)

    async def come_to_rest(self) -> None:
        """Run until two runs in a row sent nothing, agreeing to what waits for a person."""
        silent = 0
        for _ in range(12):
            forms = len(self.lab.project.forms)
            result = await self.run({}, later=HOUR)
            assert result is not None
            assert result.state in ("completed", "waiting"), result.messages
            waits = self._agree()
            rests = result.state == "completed" and forms == len(self.lab.project.forms) and not written(result)
            silent = silent + 1 if rests and not waits else 0
            if silent == 2:
                return
        raise AssertionError("the runs do not come to rest")

    def _agree(self) -> bool:
        """Confirm everything that waits for a person."""
        store = self.lab.store
        leavers = people_asked(store, LEAVERS.refused)
        blanks = people_asked(store, REFUSED_BLANKS)
        if leavers:
            confirm(store, None, sum(leavers.values()))
        for what, people in blanks.items():
            confirm_blanks(store, *what.split(" "), people)
        withdrawn = people_asked(store, WITHDRAWN_ASKED.refused)
        if withdrawn:
            confirm_withdrawn(store, None, sum(withdrawn.values()))
        return bool(leavers or blanks or withdrawn)

    async def compare(self) -> None:
        """Hold CommCare against Moodle, the books against CommCare, and see that a further run is silent."""
        expected, there = Expected(self.lab), self.lab.project.cases
        cases = expected.cases()
        wrong = {key: fault for key, case in cases.items() if (fault := expected.differs(key, case))}
        assert not wrong, wrong
        assert not expected.drafts.keys() - cases.keys(), "somebody has no case"
        assert not self.lab.store.intents(), "writes are still announced"
        for case_id, owner in self.edits.moved.items():
            parked = there[case_id].owner_id == expected.parked
            assert parked or owner == there[case_id].owner_id, "a supervisor's move was undone"
        for mapping, scope in expected.scopes():
            for key, row in self.lab.store.cases(mapping, scope).items():
                wanted = external_id(key, row.generation)
                assert not row.case_id or wanted == there[row.case_id].external_id, f"the books are wrong: {key}"
        await self._silent_run(expected)

    async def _silent_run(self, expected: Expected) -> None:
        result = await self.run({}, later=HOUR)
        assert result is not None
        assert ({}, {}) == (written(result), result.requests["commcare"]), "a run without changes writes"
        unchanged = sum(counts.unchanged for counts in result.cases.values())
        assert len(expected.drafts) == unchanged, "unchanged records are miscounted"
        assert expected.requests(self.sizes) == sum(result.requests["moodle"].values()), "too many requests"


def _site(chance: random.Random) -> tuple[FakeSite, list[int]]:
    """Make three courses of a dozen people, with teachers, groups, grades and the service account itself."""
    site = FakeSite()
    people = [
        site.add_user(
            f"First{n}",
            f"Last{n}",
            phone1=f"0722 000 {n:03}" if n % 3 else "",
            maildisplay=chance.choice((1, 2)),
            city="Bondo",
        )
        for n in range(12)
    ]
    site.update_user(site.info["userid"], phone1="0722 999 999", city="Nairobi")
    for number in range(3):
        course = site.add_course(f"C{number}", f"Course {number}")
        site.enrol(course, people[0], ["editingteacher"])
        site.enrol(course, site.info["userid"], ["teacher"])
        for person in chance.sample(people[1:], 7):
            site.enrol(course, person, groups=chance.choice(((), ("North",))))
        for name in ("Quiz", "Essay"):
            item = site.set_grade_item(course, name)
            for person in sorted(site.members_of(course).keys() - {people[0], site.info["userid"]}):
                site.grade(item, person, chance.choice((None, 50, 70)))
    return site, people


def _is_left(row: Mapping[str, Any]) -> bool:
    return LEFT in row.get("properties", {}).values()


def _is_kept_out(row: Mapping[str, Any]) -> bool:
    return WITHDRAWN in row.get("properties", {}).values()
