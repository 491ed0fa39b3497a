"""A word whose command died after any of its commits: said once more, the next run does it, whatever is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import Connection

from flows.audit import audit
from flows.decide import Decision, decide
from flows.errors import UsageError
from flows.merge import merge, unmerge
from flows.problems import retry
from state.database import Database
from tests.flows.explorer_lab import Killed
from tests.flows.match_lab import by_hand, declare, link, matched
from tests.flows.match_lab import site_of as people_of
from tests.flows.test_merge import says, twins
from tests.flows.test_problems import refused_lab
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

MakeLab = Callable[..., Lab]
Kill = Callable[[int], None]
SELDOM = "intervals: {people: 48, enrolments: 48, grades: 48}\n"
COMMITS = (1, 2, 3)


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Kill:
    """Give what lets this process die after its nth commit from now on, once; 0 for never."""
    write, left = Database.writing, 0

    @contextmanager
    def writing(books: Database) -> Iterator[Connection]:
        nonlocal left
        with write(books) as connection:
            yield connection
        left -= 1
        if left == 0:
            raise Killed

    def after(commits: int) -> None:
        nonlocal left
        left = commits

    monkeypatch.setattr(Database, "writing", writing)
    return after


def say(word: Callable[[], object]) -> None:
    """Say a word, and once more when the command died: then it may have been taken in."""
    try:
        word()
    except Killed:
        with suppress(UsageError):
            word()


@pytest.mark.parametrize("commits", COMMITS)
async def test_a_merge(make_lab: MakeLab, die: Kill, commits: int) -> None:
    """The old cases are marked; taken back, they live again."""
    lab, old, new = await twins(make_lab, PROJECT + SELDOM)
    assert {} == written(await lab.sync())
    for word, cases in ((merge, ("left", str(new))), (unmerge, ("active", ""))):
        die(commits)
        say(lambda word=word: word(lab.store, old, new, lab.clock.now()))
        die(0)
        await lab.sync()
        assert cases == says(lab, old)


@pytest.mark.parametrize("commits", COMMITS)
async def test_a_retry(make_lab: MakeLab, die: Kill, commits: int) -> None:
    """What was refused is sent."""
    lab, _, key = await refused_lab(make_lab)
    project = lab.mappings / "project.yaml"
    project.write_text(project.read_text() + SELDOM)
    await lab.sync()
    lab.commcare.accept_rows()
    die(commits)
    say(lambda: retry(lab.store, lab.clock.now(), key=key))
    die(0)
    assert {"updated": 1} == written(await lab.sync())


@pytest.mark.parametrize("commits", range(1, 6))
async def test_a_repair(make_lab: MakeLab, die: Kill, commits: int) -> None:
    """What somebody edited by hand is written again."""
    site, _, (person, *_) = site_of(3)
    site.update_user(person, city="Kisumu")
    lab = make_lab(site, project=PROJECT + SELDOM)
    await lab.sync()
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    lab.project.edit_case(case.case_id, city="Marsabit")
    die(commits)
    for _ in range(2):
        lab.clock.advance(3600.0)
        with suppress(Killed):
            await audit(lab.world(), repair=True)
    die(0)
    await lab.sync()
    assert "Kisumu" == lab.case(f"test-user-{person}").properties["city"]


@pytest.mark.parametrize("commits", range(1, 5))
async def test_a_table_of_matches(make_lab: MakeLab, die: Kill, commits: int) -> None:
    """One gets a new case, the other the one that is there: the same table goes on where it was."""
    site, (one, other) = people_of("Amina", "Baraka")
    lab = make_lab(site)
    declare(lab)
    lost, there = (by_hand(lab, f"{name} Otieno", national_id=f"ID-000{n}") for n, name in enumerate("AB", 1))
    await matched(lab)
    link(lab, one, lost.case_id)
    await lab.sync()
    lab.project.delete_case(lost.case_id)
    await matched(lab)
    die(commits)
    say(
        lambda: decide(lab.store, [Decision(one, "", True), Decision(other, there.case_id, True)], lab.clock.now())
    )
    die(0)
    known = lab.store.cases("student", 0)
    assert (2, "") == (known[f"test-user-{one}"].generation, known[f"test-user-{one}"].case_id)
    assert there.case_id == known[f"test-user-{other}"].case_id
