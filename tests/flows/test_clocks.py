"""Clocks that jump, books that are older than CommCare: nothing is sent too early, or overwritten unseen."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable

import pytest

from flows.clock import SystemClock, boot
from flows.open import open_store
from flows.settings import load_settings
from flows.steps.recover import recover_courses
from state.care import AFTER_OTHERS, BEGUN_AT, FIRST, NEW_BOOKS, RESTORED_AT
from tests.flows.terminal import Terminal
from tests.flows.test_push import doubles, settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written
from tests.postgres import Server

MakeLab = Callable[..., Lab]
MINUTE = 60.0


async def in_doubt(make_lab: MakeLab, late: float = 900.0) -> Lab:
    """Return a lab whose students were sent without an answer; CommCare writes them that much later."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.commcare.late_write(late)
    await lab.sync(mappings=("student",))
    return lab


def sent(lab: Lab) -> int:
    """Return how many write requests CommCare had."""
    return int(lab.commcare.requests["write"])


# --- clocks that jump ---------------------------------------------------------------------------------------


async def test_a_clock_set_forward_shortens_no_rest(make_lab: MakeLab) -> None:
    """Two minutes after a lost answer the clock is set an hour forward: the rows rest anew."""
    lab = await in_doubt(make_lab)
    lab.clock.step(3600.0)
    result = await lab.sync(later=2 * MINUTE, mappings=("student",))
    assert (3, 1) == (result.of("student").in_doubt, sent(lab))
    await lab.sync(later=10 * MINUTE, mappings=("student",))
    assert 1 == sent(lab)
    await lab.sync(later=11 * MINUTE, mappings=("student",))
    await settle(lab)
    assert (6, []) == (len(lab.project.cases), doubles(lab))


@pytest.mark.parametrize("started_anew", [False, True])
async def test_a_clock_set_back_ends_the_rest_all_the_same(make_lab: MakeLab, started_anew: bool) -> None:
    """A year back: rows would rest for a year, were they not made to rest from now."""
    lab = await in_doubt(make_lab)
    lab.clock.step(-365 * 86_400.0)
    if started_anew:
        lab.clock.restart()
    lab.commcare.advance(365 * 86_400.0)
    assert 3 == (await lab.sync(later=MINUTE, mappings=("student",))).of("student").in_doubt
    await lab.sync(later=21 * MINUTE, mappings=("student",))
    assert {} == lab.store.intents()
    assert (3, []) == (len(lab.project.of_type("student")), doubles(lab))


async def test_a_clock_that_is_set_right_a_little(make_lab: MakeLab) -> None:
    """Half a minute is nothing: the rest has two to spare."""
    lab = await in_doubt(make_lab)
    lab.clock.step(30.0)
    await lab.sync(later=20 * MINUTE, mappings=("student",))
    assert (2, {}) == (sent(lab), lab.store.intents())


async def test_a_start_of_the_machine_is_no_jump(make_lab: MakeLab) -> None:
    """On another start there is nothing to compare the wall clock with: it is believed, and the rest ends."""
    lab = await in_doubt(make_lab)
    lab.clock.restart()
    lab.boot = "another start"
    await lab.sync(later=21 * MINUTE, mappings=("student",))
    assert (2, {}) == (sent(lab), lab.store.intents())


async def test_machines_that_take_turns(make_lab: MakeLab) -> None:
    """Runs on several machines, each with a clock of its own that never jumps, come to an end."""
    lab = await in_doubt(make_lab)
    for number in range(2):
        lab.boot = f"machine {number}"
        lab.clock.restart()
        await lab.sync(later=15 * MINUTE, mappings=("student",))
    assert {} == lab.store.intents()


async def test_machines_whose_clocks_are_set_between_their_turns(make_lab: MakeLab) -> None:
    """Each machine is compared with itself, also when another one was at work meanwhile."""
    lab = await in_doubt(make_lab)
    lab.boot = "another"
    await lab.sync(later=5 * MINUTE, mappings=("student",))
    lab.boot = ""
    lab.clock.step(3600.0)
    result = await lab.sync(later=5 * MINUTE, mappings=("student",))
    assert (3, 1) == (result.of("student").in_doubt, sent(lab))


async def test_a_shard_that_is_begun_again_after_a_jump(make_lab: MakeLab) -> None:
    """What its first worker announced rests anew when the clock was set meanwhile."""
    lab = await in_doubt(make_lab)
    lab.clock.advance(30.0)
    lab.clock.step(1800.0)
    await recover_courses(lab.world(), [0])
    assert 3 == len(lab.store.intents())


def test_a_machine_whose_clock_differs_takes_no_part(
    terminal: Terminal, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes, in a plain run too, needs the time of the database: the rests and leases of all go by it."""
    with postgres.books() as url:
        terminal.env["STATE_URL"] = url
        real = SystemClock.now
        for seconds, words in ((90.0, "seconds ahead of"), (-90.0, "seconds behind")):
            monkeypatch.setattr(SystemClock, "now", lambda clock, by=seconds: real(clock) + by)
            ended = terminal.run("sync", "--yes")
            assert (2, 0, True) == (ended.code, terminal.cases, words in ended.text), ended.text
        monkeypatch.setattr(SystemClock, "now", real)
        assert 0 == terminal.run("sync", "--yes").code


async def test_an_unchanged_clock_is_not_written_again(make_lab: MakeLab) -> None:
    """The books remember how the clock goes once, not in each run."""
    lab = await in_doubt(make_lab)
    before = lab.store.get("clocks")
    await lab.sync()
    assert before is not None
    assert before == lab.store.get("clocks")


def test_the_real_clock() -> None:
    """The clock that never goes back goes on, and this start of the machine has the same name twice."""
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert boot() == boot()


# --- books that are older than CommCare ---------------------------------------------------------------------


async def test_a_jump_shortens_no_rest_after_a_restore(make_lab: MakeLab) -> None:
    """The rest of books that were put back begins anew as well."""
    lab = await in_doubt(make_lab)
    lab.clock.advance(3600.0)
    lab.store.mark_restored(lab.clock.now())
    lab.clock.step(3600.0)
    assert "postponed" == (await lab.sync(later=MINUTE)).state
    assert str(lab.clock.now()) == lab.store.get(RESTORED_AT)
    assert "completed" == (await lab.sync(later=21 * MINUTE)).state


@pytest.mark.parametrize("before", [0, 1])
async def test_new_books_in_the_place_of_others_rest(make_lab: MakeLab, before: int) -> None:
    """CommCare may be at work on what the lost ones sent, with cases that are there or without: no doubles."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    for _ in range(before):
        await lab.sync()
        learners.append(site.add_user("New", "Comer"))
        site.enrol(courses[0], learners[-1])
    lab.commcare.late_write(900.0)
    await lab.sync()
    lab.lose_books()
    for one in learners:
        site.update_user(one, city="Newer")
    result = await lab.sync(later=MINUTE)
    assert ("postponed", {}, True) == (result.state, written(result), "minutes" in result.messages[0])
    await lab.sync(later=20 * MINUTE)
    await settle(lab)
    assert [] == doubles(lab)
    assert {"Newer"} == {lab.case(f"test-user-{one}").properties["city"] for one in learners}


async def test_a_newcomer_is_not_made_to_wait(make_lab: MakeLab) -> None:
    """Nobody's books were here before, and the cases in CommCare are not ours: the first run sends at once."""
    lab = make_lab(site_of(3)[0])
    for name in ("by-hand-1", "test-west-user-5"):  # the second one is of a site whose name begins as ours does
        lab.project.add_case("student", "By Hand", external_id=name)
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    lab.store.put(BEGUN_AT, str(lab.clock.now()))
    lab.store.put(NEW_BOOKS, FIRST)
    assert {"created": 6} == written(await lab.sync(later=1.0))
    lab.site.enrol(max(lab.site.courses), lab.site.add_user("New", "Comer"))
    assert {"created": 2} == written(await lab.sync(later=MINUTE)), "its own cases are no sign"


async def test_cases_of_ours_tell_of_lost_books(make_lab: MakeLab) -> None:
    """With the key and the backups gone as well, what CommCare has is the sign."""
    lab = make_lab(site_of(3)[0])
    await lab.sync()
    lab.lose_books()
    lab.store.put(NEW_BOOKS, FIRST)
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    assert "postponed" == (await lab.sync(later=MINUTE)).state
    assert "postponed" == (await lab.sync(later=MINUTE)).state
    assert "completed" == (await lab.sync(later=19 * MINUTE)).state
    assert (6, []) == (len(lab.project.cases), doubles(lab))


@pytest.mark.parametrize(
    ("sign", "kind"),
    [("old key", AFTER_OTHERS), ("key just made", FIRST), ("old key elsewhere", FIRST)],
)
def test_what_tells_that_books_were_there(terminal: Terminal, sign: str, kind: str) -> None:
    """A key beside them that was there before; a container's secret comes from elsewhere."""
    assert 0 == terminal.run("sync", "--yes").code
    key = terminal.folder / "state.key"
    for file in terminal.folder.glob("state.db*"):
        file.unlink()
    shutil.rmtree(terminal.folder / "backups")
    if sign.startswith("old key"):
        os.utime(key, (1.0, 1.0))
    elsewhere = terminal.folder / "secrets"
    if sign.endswith("elsewhere"):
        elsewhere.mkdir()
        key = key.rename(elsewhere / "state.key")
    with open_store(load_settings({**terminal.env, "STATE_KEY_FILE": str(key)}, None)) as store:
        assert kind == store.get(NEW_BOOKS)


@pytest.mark.parametrize(
    "command", ["sync", "preview", "status", "metrics", "check", "audit", "history site-user-4", "state check"]
)
def test_books_that_are_gone_are_not_begun_anew_beside_their_backups(terminal: Terminal, command: str) -> None:
    """Nothing of it goes on as if it were the first time; put back they are as they were."""
    assert 0 == terminal.run("sync", "--yes").code
    for file in terminal.folder.glob("state.db*"):
        file.unlink()
    asked = terminal.run(*command.split())
    assert (True, []) == (asked.code > 0, [*terminal.folder.glob("state.db*")])
    (backup,) = (terminal.folder / "backups").iterdir()
    assert f"`moodle-commcare state restore {shlex.quote(str(backup))}`" in asked.text
    assert 0 == terminal.run("state", "restore", str(backup)).code
    assert terminal.run("status").code == 0


def test_an_empty_file_is_no_books(terminal: Terminal) -> None:
    """A full disk leaves one, or a file that is mounted alone: the backups count, and without any books begin."""
    assert 0 == terminal.run("sync", "--yes").code
    books = terminal.folder / "state.db"
    for file in terminal.folder.glob("state.db*"):
        file.unlink()
    books.touch()
    assert "state restore" in (asked := terminal.run("sync", "--yes")).text
    assert (True, 0) == (asked.code > 0, books.stat().st_size)
    (backup,) = (terminal.folder / "backups").iterdir()
    restored = terminal.run("state", "restore", str(backup))
    assert (0, False, True) == (restored.code, "kept as" in restored.text, "erase again" in restored.text)
    shutil.rmtree(backup.parent)
    books.write_bytes(b"")
    terminal.run("sync", "--yes")
    assert books.stat().st_size


def test_first_books_on_a_server_begin_as_in_a_file(terminal: Terminal, postgres: Server) -> None:
    """They are made while it is looked up whether others were made with a key that is not there."""
    with postgres.database() as url:
        env = {**terminal.env, "STATE_URL": url, "STATE_KEY_FILE": str(terminal.folder / "new" / "state.key")}
        with open_store(load_settings(env, None)) as store:
            assert (FIRST, True) == (store.get(NEW_BOOKS), store.get(BEGUN_AT) is not None)


async def moved(make_lab: MakeLab) -> tuple[Lab, str]:
    """Return a lab whose first student has been given to somebody else, and the id of that case."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    student = lab.case(f"test-user-{learners[0]}")
    lab.project.move_owner(student.case_id, "somebody-else")
    return lab, student.case_id


async def test_owners_survive_lost_books(make_lab: MakeLab) -> None:
    """With the books lost a supervisor's change of owner is not undone, and the children follow it."""
    lab, case_id = await moved(make_lab)
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await settle(lab)
    children = [case for case in lab.project.of_type("enrolment") if case.owner_id == "somebody-else"]
    assert ("somebody-else", 1, 6) == (lab.project.cases[case_id].owner_id, len(children), len(lab.project.cases))


async def test_owners_survive_older_books(make_lab: MakeLab) -> None:
    """A case made after the backup is looked for before anything of it is written."""
    site, courses, _ = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    newcomer = site.add_user("New", "Comer")
    site.enrol(courses[0], newcomer)
    await lab.sync()
    case = lab.case(f"test-user-{newcomer}")
    lab.project.move_owner(case.case_id, "somebody-else")
    assert backup is not None
    lab.restore(backup)
    await settle(lab)
    assert ("somebody-else", 6) == (lab.project.cases[case.case_id].owner_id, len(lab.project.cases))


async def test_after_that_new_cases_cost_nothing_more(make_lab: MakeLab) -> None:
    """Once a whole run has found what there is, new cases are not looked for any more."""
    lab, _ = await moved(make_lab)
    lab.store.mark_restored(lab.clock.now())
    await settle(lab)
    newcomer = lab.site.add_user("New", "Comer")
    lab.site.enrol(max(lab.site.courses), newcomer)
    assert "get" not in (await lab.sync()).requests["commcare"]


async def test_lost_books_find_the_living_generation(make_lab: MakeLab) -> None:
    """Of somebody whose first case was closed, the case that lives is found again."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    key = f"test-user-{learners[0]}"
    lab.project.close_case(lab.case(key).case_id)
    again = lab.project.add_case("student", "Second", external_id=f"{key}~2", owner_id="somebody-else")
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await settle(lab)
    assert ("First0 Last0", "somebody-else") == (again.case_name, again.owner_id)
    assert 2 == next(iter(lab.store.cases("student", 0, [key]).values())).generation
