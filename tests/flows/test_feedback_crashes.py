"""A process that dies at any step while it gives feedback back: the next look makes it good, once and rightly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flows.problems import list_problems
from flows.result import RunState
from tests.flows.explorer_lab import Killed, WatchedLab
from tests.flows.feedback_world import Class, entry, make_class, texts_of
from tests.flows.marking_world import MarkingWorld
from tests.flows.test_person import DyingBooks
from tests.flows.worlds import Lab

MakeLab = Callable[..., Lab]


async def killed_while(folder: Path, steps: int, after: bool, url: str) -> tuple[Class, DyingBooks]:
    """Give a class with a second text under way whose process died at a step of the books."""
    marking = MarkingWorld(learners=2)
    files = Class.files(marking, entry(marking, "Essay", ", grade: coach_grade"))
    lab = WatchedLab(folder, marking.site, seed=steps, **files)
    books = lab.mortal = lab.books = DyingBooks(steps, after, url)
    room = Class(lab, marking)
    await lab.sync()
    room.writes(room.learners[0], coach_feedback="First", coach_grade="50")
    await room.sent()
    room.post(room.writes(room.learners[0], coach_feedback="Second", coach_grade="60"))
    books.armed = True
    return room, books


@pytest.mark.parametrize(("after", "changed"), [(False, True), pytest.param(True, False, marks=pytest.mark.e2e)])
async def test_a_stop_at_every_step_is_made_good(
    tmp_path: Path, new_books: Callable[[], str], after: bool, changed: bool
) -> None:
    """Whatever was under way is known as ours: no conflict with ourselves, no second save of the same."""
    steps, died = 0, True
    while died:
        steps += 1
        room, books = await killed_while(tmp_path / str(steps), steps, after, new_books())
        one = room.learners[0]
        with suppress(Killed):
            await room.drained()
        died, books.dead, books.armed = books.dead, False, False
        stored = room.saves
        if changed:
            room.post(room.writes(one, coach_feedback="Third", coach_grade="70"))
        room.lab.clock.advance(3600)
        done = await room.drained()
        wanted = (70.0, "<p>Third</p>") if changed else (60.0, "<p>Second</p>")
        where = f"step {steps}: {[(told.state, told.reason) for told in done.told]}"
        assert (wanted, [], 0) == (room.held(one), list_problems(room.lab.store), done.left), where
        assert len(room.saves) <= 2 + changed, where
        assert stored == room.saves[: len(stored)]
        before = room.saves
        assert (RunState.COMPLETED, {}, before) == (*(await quiet(room)), room.saves), where
        room.lab.close()
    assert steps > 8


async def quiet(room: Class) -> tuple[RunState, dict[str, int]]:
    """Look once more: nothing is left to do."""
    done = await room.sent()
    return done.state, done.counts


async def test_no_text_is_kept_or_told(make_lab: MakeLab, caplog: pytest.LogCaptureFixture) -> None:
    """Texts are in no book, log, answer or sentence, whether they arrive or not."""
    caplog.set_level(logging.DEBUG)
    room = await make_class(make_lab, approved=False)
    one, two, gone = room.learners[:3]
    room.marking.grade("Essay", two, 50, "<p>QanaryTeacher</p>")
    room.lab.site.unenrol(room.course, gone)
    posts = [room.writes(learner, coach_feedback=f"QanaryText{learner}") for learner in (one, two, gone)]
    shown: list[Any] = []
    for options in ({"dry_run": True}, {"yes": False}, {}):
        done = await room.sent(**options)
        shown += [done.as_json(), *done.lines(), repr(done)]
    room.post(*posts, room.writes(one, coach_feedback="QanaryAgain"))
    drained = await room.drained()
    shown += [drained.as_json(), *drained.lines(), repr(drained)]
    shown += [problem.as_json() for problem in list_problems(room.lab.store)]
    assert "QanaryAgain" in str(room.held(one))
    assert "Qanary" not in f"{shown}{caplog.text}"
    assert b"Qanary" not in texts_of(room.lab.folder / "var")
