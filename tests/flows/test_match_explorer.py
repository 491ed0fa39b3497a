"""Random walks of matching, deciding and sending through faults: nobody gets a second case or an emptied one."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from adaptors.commcare.fake_project import Case
from flows.decide import Decision
from flows.errors import Overlap, UsageError
from flows.steps.linked import base_key
from state import MatchRow
from tests.flows.explorer_lab import Killed, WatchedLab
from tests.flows.match_lab import MAIL, declare, matched, say, site_of
from tests.flows.worlds import PROJECT

PHONE = "254700000001"
HOUR = 3600.0


class Walk:
    """One walk; everything follows from the seed, and `log` says what was done."""

    def __init__(self, folder: Path, seed: int, state_url: str = "sqlite://") -> None:
        self.chance = random.Random(seed)
        self.log: list[str] = []
        self.site, people = site_of(*(f"Person{n}" for n in range(8)))
        for person in people:  # those without a phone in Moodle have one in CommCare, put there by hand
            self.site.update_user(person, phone1="" if person % 2 else "0722 000 111")
        self.people = dict(zip(range(8), people, strict=True))
        project = f"{PROJECT}guards: {{run_cases: 10000}}\n"
        self.lab = WatchedLab(folder, self.site, seed, project=project, state_url=state_url)
        auto = self.chance.choice(("[key]", "[key, national_id]", "[]"))
        declare(self.lab, f"match: {{by: [{{moodle: profile.dni, commcare: national_id}}], auto: {auto}}}")
        self.by_hand = {number: self._case_of(number) for number in self.chance.sample(range(8), 5)}
        self.lab.project.add_case("student", "Nobody Known", external_id="H-nobody")
        self.made_anew: set[int] = set()
        self.lost = False

    def _case_of(self, number: int) -> Case:
        """Make the case of a person as somebody in the field would."""
        person = self.people[number]
        same = (
            {"national_id": f"ID-{number + 1:04}"}
            if self.chance.random() < 0.6
            else {"email": MAIL.format(f"person{number}")}
        )
        phone = {"contact_phone_number": PHONE} if person % 2 else {}
        return self.lab.project.add_case(
            "student", f"Person{number} Otieno", external_id=f"H-{number}", properties={**same, **phone}
        )

    async def go(self, rounds: int) -> None:
        """Go so many rounds, then let everything be decided and sent, and look at what came of it."""
        if self.chance.random() < 0.7:  # else the first syncs meet cases about which nobody has decided
            await self._match()
            await self._decide(all_of_them=True)
        for _ in range(rounds):
            self._fault()
            what = self.chance.choice(("match", "decide", "sync", "sync", "sync", "anew", "lose"))
            self.log.append(what)
            await getattr(self, f"_{what}")()
        self._calm()
        for _ in range(4):
            await self._match()
            await self._decide(all_of_them=True)
            await self._sync()
        self.look()

    def _fault(self) -> None:
        """Prepare something that goes wrong, or nothing."""
        fake, chance = self.lab.commcare, self.chance
        kind = chance.choice(("none", "none", "503", "504_html", "dropped", "late", "kill", "cancel", "full"))
        self.log.append(kind)
        if kind in ("503", "504_html"):
            fake.fail_next(kind)
        elif kind == "dropped":
            fake.drop_reply_after_commit()
        elif kind == "late":
            fake.late_write(chance.choice((30.0, 600.0)))
        elif kind == "kill":
            self.lab.at_request[chance.randrange(2, 14)] = lambda: setattr(self.lab.mortal, "dead", True)
        elif kind == "cancel":
            self.lab.at_request[chance.randrange(2, 14)] = lambda: self.lab.task and self.lab.task.cancel()
        elif kind == "full":
            self.lab.mortal.full_after = chance.randrange(30)

    def _calm(self) -> None:
        fake = self.lab.commcare
        for waiting in (fake.faults, fake.dropped, fake.late):
            waiting.clear()
        self.lab.at_request.clear()
        self.lab.mortal.full_after = None

    async def _run(self, work: Any) -> None:
        """Run something that may be killed in the middle."""
        self.lab.served = 0
        self.lab.task = asyncio.ensure_future(work)
        try:
            self.log.append(f"{(await self.lab.task).state}")
        except (asyncio.CancelledError, Killed) as end:
            self.log.append(f"ended by {type(end).__name__}")
        self.lab.mortal.dead, self.lab.mortal.full_after, self.lab.task = False, None, None
        self.lab.at_request.clear()

    async def _match(self) -> None:
        await self._run(matched(self.lab, self.chance.choice((60.0, HOUR)) if len(self.log) % 3 else HOUR))

    async def _sync(self) -> None:
        edited = self.chance.sample(range(8), 2)
        for number in edited:
            self.site.update_user(self.people[number], city=self.chance.choice(("Bondo", "Gem", "")))
        await self._run(self.lab.sync(self.chance.choice((60.0, 700.0, HOUR, HOUR)), mappings=("student",)))

    async def _decide(self, *, all_of_them: bool = False) -> None:
        """Approve what is plain, and of what is not the first that may be; some of it, or everything."""
        for row in self.lab.store.matches(decision=""):
            if not (all_of_them or self.chance.random() < 0.5):
                continue
            try:
                say(self.lab, Decision(row.user_id, row.case_id, self._is_right(row)))
            except UsageError as error:
                self.log.append(str(error))
            except Overlap:  # of a process that was killed
                self.lab.clock.advance(700.0)

    def _is_right(self, row: MatchRow) -> bool:
        """Say what somebody who knows the people would say."""
        return not row.case_id or row.reason not in ("another_case", "two_people", "closed")

    async def _anew(self) -> None:
        """Delete an account in Moodle and make it anew: the same person, another number."""
        number = self.chance.randrange(8)
        self.site.delete_user(self.people[number])
        self.people[number] = self.site.add_user(
            f"Person{number}",
            "Otieno",
            email=MAIL.format(f"person{number}"),
            profile={"dni": f"ID-{number + 1:04}"},
        )
        self.site.enrol(2, self.people[number])
        self.made_anew.add(number)
        await self._match()
        while self.log[-1] not in ("completed", "waiting"):  # a sync that knows of no match makes a second case
            await self._match()

    async def _lose(self) -> None:
        """Lose the books, once, after all that was sent is certain; the next match finds its cases again."""
        if self.lost or self.chance.random() < 0.5:
            return
        self.lost = True
        self._calm()
        self.lab.clock.advance(HOUR)
        self.lab.commcare.advance(HOUR)
        for name in ("case_row", "intent", "match_row", "meta"):
            with self.lab.store._database.writing() as connection:
                connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608
        self.lab.store.take_key()
        # What was linked and not sent yet is known to the books alone: then only a match helps.
        sent = all(case.properties.get("moodle_key") for case in self.by_hand.values())
        if sent and self.chance.random() < 0.5:
            self.lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
            self.lab._loaded = None
        else:
            await self._match()

    def look(self) -> None:
        """Hold CommCare against Moodle: one case each, those by hand still theirs, nothing of theirs emptied."""
        cases = defaultdict(list)
        for case in self.lab.project.of_type("student"):
            cases[case.properties.get("moodle_key") or base_key(case.external_id or "")].append(case)
        for number, person in self.people.items():
            mine = cases[f"test-user-{person}"]
            assert 1 == len(mine), (person, mine, self.log)
            assert f"Person{number}" == mine[0].properties["first_name"], self.log
            if number in self.by_hand and number not in self.made_anew and not self.lost:
                assert mine[0] is self.by_hand[number], (person, self.log)
        for number, case in self.by_hand.items():
            assert f"H-{number}" == case.external_id, self.log
            if case.properties.get("contact_phone_number") is not None and self.people[number] % 2:
                assert number in self.made_anew or PHONE == case.properties["contact_phone_number"], self.log
        assert not self.lab.store.intents(), self.log


@pytest.mark.parametrize("seed", range(8))
async def test_walks(tmp_path: Path, state_url: str, seed: int) -> None:
    """Through matches, decisions, faults, people made anew and lost books everybody has one case in the end."""
    walk = Walk(tmp_path, seed, state_url or "sqlite://")
    await walk.go(9)
    walk.lab.close()
