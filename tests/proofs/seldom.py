"""What a random walk seldom finds: rules that go straight to where an engine may go wrong.

A life has one or two of them, its *themes*, so that each may happen more than once and a life costs no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from adaptors.commcare.fake import FakeCommCare
from adaptors.moodle.fake_site import FakeSite
from tests.proofs.machine_world import MANY, Ground

THEMES = (
    "flip back",
    "return",
    "join",
    "restore",
    "over",
    "gone again",
    "kept out again",
    "kept out and gone",
    "away then",
    "merged",
    "word",
    "blank",
    "new key",
    "audit",
)
BREAKS = ("lost", "late", "crash before", "crash after")
"""What may happen to a write whose outcome nobody knows then."""
ENDED = 200_000.0  # seconds since the end of a course: more than any clock is wrong
SOON = (60.0, 700.0, 1260.0)
"""Seconds to the next run: while a row in doubt rests, and just after."""
person = st.integers(0, 30)
course = st.integers(0, 1)
breaks = st.sampled_from(BREAKS)
soon = st.sampled_from(SOON)


def of(theme: str) -> Callable[[Any], Any]:
    """Let a rule happen only in lives of a theme."""
    return precondition(lambda machine: theme in machine.themes)


class Seldom(RuleBasedStateMachine):
    """Rules of several runs each; what they leave undone, the end of the life puts right or finds wrong."""

    ground: Ground
    site: FakeSite
    commcare: FakeCommCare
    loop: asyncio.Runner
    themes: frozenset[str] = frozenset()

    # --- whom and what it is about ------------------------------------------------------------------------

    def _person(self, number: int) -> int:
        return self.ground.people[number % len(self.ground.people)]

    def _lives(self, number: int) -> bool:
        return not self.site.users[self._person(number)].deleted

    def _newcomer(self) -> int:
        number = len(self.ground.people)
        self.ground.people.append(self.site.add_user(f"QanaryFirst{number}", f"QanaryLast{number}", city="Bondo"))
        return self.ground.people[-1]

    def _members(self, number: int) -> list[int]:
        return sorted(self.site.members[self.ground.courses[number]])

    def _somebody(self, who: int) -> tuple[int, list[int]]:
        """Return a person who is in a course, and the courses; none when nobody is."""
        number = self._person(who)
        return number, [place for place in self.ground.courses if number in self.site.members[place]]

    def _go(self, someone: int, places: list[int]) -> None:
        for place in places:
            self.site.unenrol(place, someone)

    def _come(self, someone: int, places: list[int], role: str = "student") -> None:
        for place in places if not self.site.users[someone].deleted else ():
            self.site.enrol(place, someone, [role])

    def _run_until_decided(self) -> None:
        """Run twice, so that who is gone counts as gone, and agree when somebody has to."""
        self._run()
        self._run()
        if self.ground.agree():
            self._run()

    def _end_or_go_on(self, number: int) -> bool:
        """Let a course come to its end, or go on; False when it would be the last one that goes on."""
        rows = [self.site.courses[place] for place in self.ground.courses]
        ends = not rows[number]["enddate"]
        if ends and any(row["enddate"] for row in rows):
            return False
        rows[number]["enddate"] = int(self.ground.clock.true() - ENDED) if ends else 0
        if ends:  # a date that was moved into the past counts when it has stood there for a day
            self._run()
            self.ground.clock.advance(86_400.0)
        return True

    def _run(self, later: float = 3600.0) -> None:
        self.loop.run(self.ground.run(later))

    def _break_the_next_write(self, how: str) -> None:
        if how == "lost":
            self.commcare.drop_reply_after_commit(3)
        elif how == "late":
            self.commcare.late_write(900.0, 3)
        elif how in ("503", "429"):
            self.commcare.fail_next(how, times=8, where="write")
        else:
            self.ground.on_write = how

    # --- rules --------------------------------------------------------------------------------------------

    @of("flip back")
    @rule(who=person, how=breaks, later=soon)
    def change_break_flip_back(self, who: int, how: str, later: float) -> None:
        """Change a value, lose sight of its write, change it back, run."""
        before = self.site.users[self._person(who)].city
        self.site.update_user(self._person(who), city="Elsewhere")
        self._break_the_next_write(how)
        self._run()
        self.site.update_user(self._person(who), city=before)
        self._run(later)

    @of("return")
    @rule(where=course, who=person, how=st.sampled_from(("", *BREAKS)), agrees=st.booleans())
    def leave_and_return(self, where: int, who: int, how: str, agrees: bool) -> None:
        """Take a member out until the case is marked as left, lose sight of that write, and let him return."""
        place, members = self.ground.courses[where], self._members(where)
        if not members:
            return
        someone = members[who % len(members)]
        self.site.unenrol(place, someone)
        self._run()
        if how:
            self._break_the_next_write(how)
        self._run()
        if agrees and self.ground.agree():
            self._run()
        if not self.site.users[someone].deleted:
            self.site.enrol(place, someone)
        self._run(700.0)

    @of("join")
    @rule(how=breaks, later=st.sampled_from((1.0, 60.0, 700.0, 1260.0)))
    def join_and_break(self, how: str, later: float) -> None:
        """Let somebody new come, lose sight of the first write of his case, and run again."""
        self.site.enrol(self.ground.courses[0], self._newcomer())
        self._break_the_next_write(how)
        self._run()
        self._run(later)

    @of("restore")
    @rule(who=person, how=breaks)
    def back_up_change_restore(self, who: int, how: str) -> None:
        """Copy the books, send a change, put the copy back, change the value back."""
        before = self.site.users[self._person(who)].city
        self.ground.back_up()
        self.site.update_user(self._person(who), city="Elsewhere")
        self._break_the_next_write(how)
        self._run()
        self.ground.restore()
        self.site.update_user(self._person(who), city=before)
        self._run(60.0)

    @of("over")
    @rule(where=course, how=breaks, later=soon)
    def end_go_on_and_end(self, where: int, how: str, later: float) -> None:
        """Let a course end, go on, lose sight of the write that says so, and let it end again."""
        if not self._end_or_go_on(where):
            return
        self._run()
        self._end_or_go_on(where)
        self._break_the_next_write(how)
        self._run()
        if self._end_or_go_on(where):
            self._run(later)

    @of("gone again")
    @rule(who=person, how=breaks, later=soon)
    def leave_return_and_leave(self, who: int, how: str, later: float) -> None:
        """Let somebody leave, come back, lose sight of the write that says so, and let him leave again."""
        someone, places = self._somebody(who)
        self._go(someone, places)
        self._run_until_decided()
        self._come(someone, places)
        self._break_the_next_write(how)
        self._run()
        self._go(someone, places)
        self._run(later)

    @of("kept out again")
    @rule(who=person, how=breaks, later=soon)
    def keep_out_let_in_and_keep_out(self, who: int, how: str, later: float) -> None:
        """Keep somebody out, let him in, lose sight of the write that says so, and keep him out again."""
        someone, places = self._somebody(who)
        self._come(someone, places, "teacher")
        self._run_until_decided()
        self._come(someone, places)
        self._break_the_next_write(how)
        self._run()
        self._come(someone, places, "teacher")
        self._run(later)

    @of("kept out and gone")
    @rule(who=person, how=st.sampled_from((*BREAKS, "503", "429")), later=soon)
    def keep_out_and_leave(self, who: int, how: str, later: float) -> None:
        """Keep somebody out, lose sight of the write that empties the case, and let the person leave."""
        someone, places = self._somebody(who)
        self._come(someone, places, "teacher")
        self._run()
        self._break_the_next_write(how)
        self._run()
        self._go(someone, places)
        self._run(later)

    @of("kept out and gone")
    @rule(who=person, how=breaks)
    def change_break_leave_and_keep_out(self, who: int, how: str) -> None:
        """Lose sight of a change, let the person leave, and let him return as somebody who is kept out."""
        someone, places = self._somebody(who)
        self.site.update_user(someone, city="Elsewhere")
        self._break_the_next_write(how)
        self._run()
        self._go(someone, places)
        self._run_until_decided()
        self._come(someone, places, "teacher")
        self._run()

    @of("away then")
    @rule(who=person, kept_out=st.booleans(), later=soon)
    def restore_what_was_while_away(self, who: int, kept_out: bool, later: float) -> None:
        """Copy the books while somebody has left or is kept out, let him return and go, and put the copy back."""
        someone, places = self._somebody(who)
        away = (lambda: self._come(someone, places, "teacher")) if kept_out else lambda: self._go(someone, places)
        away()
        self._run_until_decided()
        self.ground.back_up()
        self._come(someone, places)
        self._run()
        away()
        self.ground.restore()
        self._run(later)

    @of("merged")
    @rule(old=person, new=person, how=st.sampled_from(("", *BREAKS)), ends=st.booleans(), later=soon)
    def merge_by_word(self, old: int, new: int, how: str, ends: bool, later: float) -> None:
        """Let an operator say that two people are one, maybe in the hour in which a course ends."""
        self._run()
        if not self.ground.merge(self._person(old), self._person(new)):
            return
        if ends:
            self._end_or_go_on(0)
        if how:
            self._break_the_next_write(how)
        self._run()
        self._run(later)

    @of("word")
    @rule(where=course, how=breaks, kept_out=st.booleans())
    def agree_and_break(self, where: int, how: str, kept_out: bool) -> None:
        """Agree that a whole course has gone, or is kept out, and lose sight of the write: one word is enough."""
        place, members = self.ground.courses[where], self._members(where)
        if len(members) < MANY or self.site.courses[place]["enddate"] or not self.site.courses[place]["visible"]:
            return
        for someone in members:
            (self._come(someone, [place], "teacher") if kept_out else self._go(someone, [place]))
        self._run()
        self._run()
        asked = self.ground.asked()
        if not self.ground.agree():
            return
        self._break_the_next_write(how)
        self._run()
        result = self.loop.run(self.ground.run(1260.0))
        if result is None or result.state != "waiting":
            return
        again = {what for what, people in self.ground.asked().items() if asked.get(what) == people}
        assert not again, f"asked twice: {again}"

    @of("word")
    @rule(how=breaks, later=soon)
    def agree_to_keep_out_and_break(self, how: str, later: float) -> None:
        """Keep most people out everywhere, agree, and lose sight of the write that empties their cases."""
        people = [self._somebody(number) for number in range(len(self.ground.people))]
        for someone, places in [one for one in people if one[1]][:-1]:
            self._come(someone, places, "teacher")
        self._run()
        self._run()
        if self.ground.agree():
            self._break_the_next_write(how)
        self._run()
        self._run(later)

    @of("new key")
    @rule(who=person, how=breaks, restores=st.booleans(), later=soon)
    def change_under_a_new_key(self, who: int, how: str, restores: bool, later: float) -> None:
        """Rotate the key, lose sight of a change, and put a copy back that knows the old key alone."""
        before = self.site.users[self._person(who)].city
        self.ground.back_up()
        self.ground.rotate_key()
        self.site.update_user(self._person(who), city="Elsewhere")
        self._break_the_next_write(how)
        self._run()
        if restores:
            self.ground.restore()
        self.site.update_user(self._person(who), city=before)
        self._run(later)

    @of("audit")
    @rule(who=person, how=st.sampled_from(("", *BREAKS)), later=soon)
    def overwrite_and_repair(self, who: int, how: str, later: float) -> None:
        """Overwrite somebody's city by hand, let an audit find it, and lose sight of the write that repairs it."""
        key = f"test-user-{self._person(who)}"
        cases = [case for case in self.ground.project.of_type("student") if case.external_id.split("~")[0] == key]
        for case in cases:
            self.ground.project.edit_case(case.case_id, city="By hand")
            self.ground.by_hand.setdefault(case.case_id, set()).add("city")
        self.loop.run(self.ground.audit())
        if how:
            self._break_the_next_write(how)
        self._run()
        self._run(later)

    @of("blank")
    @rule(later=soon)
    def restore_and_blank(self, later: float) -> None:
        """Put books back, and let most people lose a value at once: somebody has to be asked."""
        self.ground.back_up()
        self._run()
        self.ground.restore()
        for number in self.ground.people[1:]:
            self.site.update_user(number, city="")
        self._run(later)
        self._run()
