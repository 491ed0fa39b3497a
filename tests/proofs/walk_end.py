"""How a walk must end: all faults stop, all comes to rest, CommCare is as Moodle is, and nothing more is sent."""

from __future__ import annotations

import json

from flows.steps.aside import retried_at
from flows.steps.suspects import POISON
from tests.canaries import found_in
from tests.proofs.belongings import overwritten
from tests.proofs.walk_events import Step
from tests.proofs.walk_school import DAY, HOUR
from tests.proofs.walk_work import Doings

ROUNDS = 18
"""Runs within which all must come to rest."""
TIRELESS = 4
"""Rounds after which no erasure may be unfinished."""
AWAY_DAYS = 100
"""Since when nobody was there: a case that counts quiet days says the same from then on."""
FINE = ("completed", "waiting", "postponed", "degraded")


class End:
    """The end of a walk."""

    def __init__(self, doings: Doings) -> None:
        self.doings, self.school = doings, doings.school

    async def come(self) -> None:
        """Heal both systems, come to rest, compare; a further run, a full one and drains must be silent."""
        self.school.heal()
        self._let_be_quiet()
        await self.doings.sync(DAY)  # once a day Moodle is asked about those whom no course shows
        await self._come_to_rest()
        self.doings.witness.compare()
        await self._stay_silent()
        self.doings.witness.compare()
        assert {} == overwritten(self.school.project), "what an app wrote was touched"
        self._look_at_books()

    def _let_be_quiet(self) -> None:
        """Let those who visited have done so long ago: how long changes nothing more."""
        now = int(self.school.clock.now())
        for person in self.school.people:
            if self.school.site.users[person].lastaccess:
                self.school.site.users[person].lastaccess = now - AWAY_DAYS * DAY

    async def _come_to_rest(self) -> None:
        """Run until two runs in a row sent nothing, agreeing to what waits for a person."""
        silent, deeds = 0, self.doings.deeds
        for number in range(ROUNDS):
            for person in sorted(deeds.unfinished | {*self.school.store.unfinished_erasures()}):
                await self.doings.erase_person(person, 1300.0)
            assert number < TIRELESS or not deeds.unfinished, f"erasures do not finish: {deeds.unfinished}"
            silent = silent + 1 if await self._rests() else 0
            if silent == 2:
                return
        raise AssertionError("the runs do not come to rest")

    async def _rests(self) -> bool:
        """Run when everything is due; says whether nothing was sent and nothing waits."""
        forms = len(self.school.project.forms)
        due = (self.school.ways.hours + 1) * HOUR
        result = await self.doings.sync(max(due, self._blamed_until() - self.school.clock.now()))
        assert result is not None
        assert result.state in FINE, (result.state, result.messages)
        assert [] == found_in(json.dumps(result.as_json())), "values of people are in a result"
        waits = self.doings.agree(Step("agree", how=1))
        rests = result.state == "completed" or (result.state == "degraded" and bool(self.doings.deeds.deleted))
        return rests and not waits and forms == len(self.school.project.forms) and not self._blamed_until()

    def _blamed_until(self) -> float:
        """Return when the last of the rows that an outage put the blame on is tried again; 0.0 without any."""
        wanted, blamed = self.school.truth().drafts, [0.0]
        for one in self.school.store.refusals():
            is_due = one.op != "create" or one.row.key in wanted
            blamed += [retried_at(one)] if one.reason == POISON and is_due else []
        return max(blamed)

    async def _stay_silent(self) -> None:
        """Run once more, then in full, then work off every hint: nothing is written, no table is asked for."""
        forms, tables = len(self.school.project.forms), self.school.commcare.requests["tables"]
        result = await self.doings.sync(60.0)
        assert result is not None
        writes = result.requests["commcare"].get("write", 0)
        assert (0, tables) == (writes, self.school.commcare.requests["tables"]), "a further run asks CommCare"
        await self.doings.drain(Step("drain", how=1))
        full = await self.doings.sync(full=True)
        assert full is not None
        assert full.state == "completed" or self.doings.deeds.deleted, (full.state, full.messages)
        for _ in range(3):
            if self.doings.waiting():
                await self.doings.drain(Step("drain", how=2))
        assert not self.doings.waiting(), "hints wait for ever"
        assert forms == len(self.school.project.forms), "runs and drains without changes write"

    def _look_at_books(self) -> None:
        """Look for people in the books: none by value, and of those who were erased no row either."""
        assert [] == found_in(self.school.copied.copy()), "values of people are in the books"
        known = [person for person in self.doings.deeds.erased if self.school.store.person(person).rows]
        assert not known, f"erased, and in the books: {known}"
