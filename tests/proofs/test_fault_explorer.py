"""Every single fault, and pairs of them, at every request and every commit of the real engine; nothing breaks."""

from __future__ import annotations

import random
import time

import pytest

from tests.proofs.campaign import boxed_parts, explored, figures
from tests.proofs.explore import Explorer
from tests.proofs.faults import KINDS
from tests.proofs.small_world import Moment
from tests.proofs.stories import PASSES, STORIES

PAIRS = 40  # of the pairs that `make soak` tries all of


def test_single_faults_and_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """All single faults of three stories, and as many pairs as are asked for, leave all invariants whole."""
    started = time.monotonic()
    done = sorted(explored(boxed_parts(PAIRS)), key=lambda one: one[0].story)
    found = [result for _, result in done]
    seconds = time.monotonic() - started
    singles = figures("faults-single-boxed", (one.singles for one in found), seconds)
    possible = sum(one.possible for one in found)
    pairs = figures("faults-pairs-boxed", (one.pairs for one in found), seconds, possible=possible)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nfault explorer: {singles.tried} single faults (all of three stories), "
            f"{pairs.tried} of {possible} pairs, "
            f"{singles.fired + pairs.fired} faults fired, {sum(one.runs for one in found)} runs, {seconds:.0f} s"
        )
    for figure in (singles, pairs):
        figure.write()
    assert [] == [breach for one in found for breach in (*one.singles.breaches, *one.pairs.breaches)]
    assert singles.tried >= 1500, "there are fewer points than there were: look at what is not struck any more"
    assert pairs.tried >= PAIRS, "fewer pairs were tried than were asked for"


def test_every_kind_of_fault_strikes_somewhere() -> None:
    """Each kind of point comes by in a first load, so that none of the faults is there for nothing."""
    explorer = Explorer(STORIES[0])
    job = explorer.first_jobs()[0]
    explorer.close()
    assert set(KINDS) == {point.kind for point in job.seen}


def test_a_worker_frozen_at_a_commit_is_overtaken() -> None:
    """While one stands still before a commit another one runs to its end, and the first one goes on after that."""
    explorer = Explorer(STORIES[1])
    job = explorer.first_jobs()[0]
    place = next(n for n, point in enumerate(job.seen) if point.what == "finish_run")
    ran = explorer.world.run(job.moment, job.number, {place: "frozen"})
    ended = explorer.world.books.rows("SELECT count(*) FROM run WHERE finished_at > 0")
    explorer.close()
    assert ([(place, "frozen")], [(3,)]) == (ran.faults.struck, ended)  # the load before it all was the first


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.e2e)])
def test_moments_that_are_alike_have_one_future(seed: int) -> None:
    """Moments counted as the same lead to the same end when each goes its own way to it."""
    explorer, chance = Explorer(STORIES[1]), random.Random(seed)
    job = explorer.first_jobs()[0]
    same: dict[bytes, list[Moment]] = {}
    for plan in chance.sample(list(job.plans()), 60):
        moment = explorer.world.run(job.moment, job.number, plan).moment
        same.setdefault(moment.key, []).append(moment)
    alike = [moments for moments in same.values() if len(moments) > 1][:4]
    ends = [{_end(explorer, moment) for moment in moments[:3]} for moments in alike]
    explorer.close()
    assert ends
    assert [1] * len(ends) == [len(keys) for keys in ends]


def _end(explorer: Explorer, moment: Moment) -> bytes:
    """Go from a moment to the last pass without using what is known of others."""
    for number in range(2, PASSES + 1):
        moment = explorer.world.run(moment, number).moment
    return moment.key


def test_runs_repeat() -> None:
    """The same schedule of random faults does the same each time, so that what it finds can be looked at."""
    explorer = Explorer(STORIES[2])
    job, plan = explorer.first_jobs()[0], {5: "any", 20: "any"}
    keys = {explorer.world.run(job.moment, job.number, plan, 7).moment.key for _ in range(2)}
    explorer.close()
    assert 1 == len(keys)
