"""A walk: forty things that happen to a small school one after the other, drawn from a seed, and how it must end.

It has what the random lives lack: hints and drains, new terms, edits of keys, erasures, lookup tables, engagement.
`tests.proofs.walks` does as many as one wants.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from pathlib import Path

from tests.flows.explorer_lab import Killed
from tests.proofs.machine_world import WAYS
from tests.proofs.overheard import overheard
from tests.proofs.walk_end import End
from tests.proofs.walk_events import Step
from tests.proofs.walk_mappings import HOURS, OUTS, Ways
from tests.proofs.walk_school import School
from tests.proofs.walk_witness import Witness
from tests.proofs.walk_work import Doings

STEPS, NUMBERS = 40, 30
WEIGHTS: dict[str, float] = {
    "enrol": 5, "unenrol": 4, "leave_all": 2, "grade": 3, "suspend": 2, "change_role": 3, "delete": 1, "rename": 3,
    "move": 3, "change_phone": 2, "visit": 2, "complete": 3, "rename_course": 3, "hide": 2, "end_or_go_on": 2,
    "begin_term": 3, "hear_or_not": 0.5, "hint_of_nothing": 1, "fill_the_inbox": 1, "edit_mapping": 1,
    "edit_keys": 0.3, "edit_by_hand": 2, "close_by_hand": 0.5, "delete_by_hand": 0.3,
    "fail_a_read": 3, "leave_out": 3, "fail_commcare": 3, "lose_answers": 3, "write_late": 2, "lose_rows": 3,
    "crash_at_a_request": 2, "crash_at_the_books": 2, "crash_at_a_write": 2, "come_in_pairs": 1,
    "run_later": 5, "run_hourly": 5, "run_next_day": 4, "run_for_a_while": 2, "run_in_full": 1,
    "run_for_a_course": 2, "run_for_a_mapping": 1, "drain": 8, "audit": 1,
    "erase": 3, "erase_again": 2, "admit": 3, "agree": 4, "answer": 3, "rotate": 2, "back_up": 2, "restore": 3,
}  # fmt: skip
"""How often each thing happens."""
THEMES: tuple[tuple[str, ...], ...] = (
    ("erase", "erase_again", "admit", "crash_at_a_write", "lose_answers"),
    ("back_up", "restore", "rotate", "erase", "admit"),
    ("begin_term", "answer", "end_or_go_on", "enrol", "unenrol"),
    ("edit_keys", "edit_keys", "edit_keys", "agree", "crash_at_the_books"),
    ("drain", "grade", "hear_or_not", "crash_at_a_request", "come_in_pairs"),
    ("rename_course", "lose_rows", "begin_term", "hide", "run_next_day"),
    ("visit", "complete", "change_phone", "run_for_a_mapping", "suspend"),
)
"""Of what each walk has more: of two themes."""
MORE = 3.0
NARROW: dict[str, float] = {
    "erase": 9, "erase_again": 6, "admit": 9, "back_up": 9, "restore": 7, "rotate": 3, "edit_keys": 1,
    "begin_term": 6, "answer": 7, "end_or_go_on": 3, "enrol": 7, "unenrol": 6, "change_role": 4,
    "lose_answers": 6, "write_late": 4, "crash_at_a_write": 5, "crash_at_the_books": 4,
    "run_hourly": 12, "drain": 8,
}  # fmt: skip
"""How often things happen in narrow walks: people who are erased, terms, and books put back; the rest is rare."""
RARE, FIRST_NARROW = 0.4, 10_000
"""How often the rest happens, and the seed from which on walks are narrow."""


@dataclass(frozen=True)
class Plan:
    """What a walk is made of."""

    ways: Ways
    steps: tuple[Step, ...]


@dataclass
class Walked:
    """How far a walk went, and what was wrong; "" when nothing was."""

    wrong: str = ""
    tally: Counter[str] = field(default_factory=Counter)
    """Walks, processes, faults that struck, hints, lines of logs; and how often each thing happened."""
    log: list[str] = field(default_factory=list)


def plan_of(seed: int, steps: int = STEPS) -> Plan:
    """Draw a walk."""
    chance = random.Random(seed)
    weights = {**dict.fromkeys(WEIGHTS, RARE), **NARROW} if seed >= FIRST_NARROW else _themed(chance)
    ways = Ways(chance.choice(WAYS), chance.choice(OUTS), chance.choice(HOURS))
    names = chance.choices([*weights], [*weights.values()], k=steps)
    first = [Step("run_hourly")] if chance.random() < 0.8 else []
    return Plan(ways, (*first, *(Step(name, *(chance.randrange(NUMBERS) for _ in range(3))) for name in names)))


def _themed(chance: random.Random) -> dict[str, float]:
    weights = dict(WEIGHTS)
    for name in (name for theme in chance.sample(THEMES, 2) for name in theme):
        weights[name] *= MORE
    return weights


def walk(plan: Plan) -> Walked:
    """Do a walk in a folder of its own; whatever is raised in it is what is wrong."""
    walked, folder = Walked(tally=Counter(walks=1)), Path(tempfile.mkdtemp(prefix="walk-"))
    try:
        with overheard() as log, asyncio.Runner() as runner:
            runner.run(_live(folder, plan, walked))
            walked.tally["logged"] = log.heard
            log.hold()
    except (Exception, Killed) as error:
        walked.wrong = f"{type(error).__name__}: {error} ({_place(error)})"
    finally:
        shutil.rmtree(folder)
    return walked


def _place(error: BaseException) -> str:
    """Return the file and the line that an error comes from."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""


async def _live(folder: Path, plan: Plan, walked: Walked) -> None:
    school = School(folder, plan.ways)
    doings = Doings(school, Witness(school))
    walked.log = doings.log
    try:
        for step in plan.steps:
            doings.log.append(str(step))
            happened = getattr(doings, step.name)(step)
            walked.tally[step.name] += bool(await happened if isawaitable(happened) else happened)
        doings.log.append("the end")
        await End(doings).come()
    finally:
        walked.tally.update(processes=school.processes, faults=school.faults, hints=school.told)
        walked.tally.update(doings.outcomes)
        walked.tally.update({f"rows: {kind}": count for kind, count in doings.witness.sent.items()})
        school.close()


def shortest(plan: Plan, seconds: float) -> Plan:
    """Return the shortest plan found in so many seconds that goes wrong in the same way."""
    ends, wrong, size = time.monotonic() + seconds, _kind(walk(plan).wrong), len(plan.steps) // 2
    while size and time.monotonic() < ends:
        for at in range(0, len(plan.steps), size):
            shorter = replace(plan, steps=plan.steps[:at] + plan.steps[at + size :])
            if time.monotonic() < ends and _kind(walk(shorter).wrong) == wrong:
                plan = shorter
                break
        else:
            size //= 2
    return plan


def _kind(wrong: str) -> str:
    """Return what went wrong without the numbers in it."""
    return re.sub(r"[\d'\"{}]+", "#", wrong)[:60]
