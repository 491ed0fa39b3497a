"""Care of the books through whole runs: copies, the way back, rotation, and the commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flows.open
from flows.clock import SystemClock
from flows.open import open_store
from flows.settings import load_settings
from flows.state_care import condition_lines, take_over_words
from flows.status import RUNS
from flows.steps.merged import merged, unmarked
from flows.world import Books
from state import Store
from state.care import WHOLE_RUNS
from state.restore import restore
from tests.flows.match_lab import by_hand, declare, link, matched, refuse
from tests.flows.match_lab import site_of as people_of
from tests.flows.terminal import Terminal
from tests.flows.test_person import erased, held
from tests.flows.test_sync import site_of
from tests.flows.worlds import DOMAIN, Lab, written
from tests.state.test_store_upgrades import old_books

MakeLab = Callable[..., Lab]
KEYS = (bytes(32),)


def url(lab: Lab) -> str:
    """Return where the books of a lab are."""
    return lab.state_url


def reopen(lab: Lab, *keys: bytes) -> None:
    """Open the books again, as a new process does."""
    lab.books = Books(lambda: Store.open(url(lab), key=keys or KEYS))


def put_back(lab: Lab, backup: Path) -> Any:
    """Restore a backup, as the command does."""
    lab.in_a_file()
    lab.books.close()
    target = (lab.site.url, "https://commcare.example.org", DOMAIN)
    done = restore(url(lab), backup, KEYS, target, lab.clock.now(), carry=take_over_words)
    reopen(lab)
    return done


def backups(lab: Lab) -> list[Path]:
    """Return the backups, oldest first."""
    lab.in_a_file()
    return sorted((lab.folder / "var" / "backups").iterdir())


async def test_each_run_begins_with_a_copy(make_lab: MakeLab) -> None:
    """Seven of them are kept; a preview makes none."""
    lab = make_lab(site_of(2)[0])
    for runs in range(1, 10):
        await lab.sync()
        await lab.sync(preview=True)
        assert min(runs, 7) == len(backups(lab))


async def test_a_copy_that_fails_is_told_and_stops_nothing(make_lab: MakeLab) -> None:
    """Without room for a copy the run goes on, degraded."""
    lab = make_lab(site_of(2)[0])
    lab.in_a_file()
    (lab.folder / "var" / "backups").write_text("in the way")
    result = await lab.sync()
    assert ("degraded", {"created": 4}) == (result.state, written(result))
    assert "No backup could be written" in result.messages[0]


async def test_restored_books_find_their_cases_again(make_lab: MakeLab) -> None:
    """Nobody is made twice and nothing stays old, though the backup knows neither new people nor new values."""
    site, courses, learners = site_of(5)
    lab = make_lab(site)
    await lab.sync()
    new = site.add_user("New", "Person", phone1="0722 111 111")
    site.enrol(courses[0], new)
    site.update_user(learners[0], firstname="Renamed")
    await lab.sync()
    site.update_user(learners[0], firstname="First0")
    put_back(lab, backups(lab)[1])  # made when the second run began: it knows what the first one sent
    result = await lab.sync(later=600.0)
    assert ("postponed", {}) == (result.state, written(result))
    assert "put back" in result.messages[0]
    result = await lab.sync(later=700.0)
    assert "completed" == result.state
    assert "First0 Last0" == lab.case(f"test-user-{learners[0]}").case_name
    assert 12 == len({case.external_id for case in lab.project.cases.values()}) == len(lab.project.cases)
    assert {} == written(await lab.sync())


async def test_a_write_under_way_when_the_books_were_lost_makes_no_double(make_lab: MakeLab) -> None:
    """A create that CommCare finishes after the restore is found, because the first run rests."""
    site, courses, _ = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.enrol(courses[0], site.add_user("New", "Person", phone1="0722 111 111"))
    lab.commcare.late_write(900.0)
    await lab.sync()
    put_back(lab, backups(lab)[1])
    for later in (60.0, 700.0, 600.0, 1300.0):
        await lab.sync(later=later, full=True)
        lab.commcare.advance(0.0)  # what is late takes effect, also when nobody asks CommCare anything
    assert 8 == len({case.external_id for case in lab.project.cases.values()}) == len(lab.project.cases)


async def test_an_erased_person_stays_away_from_restored_books(make_lab: MakeLab) -> None:
    """A backup from before an erasure has rows of the person: no run uses them, and the erasure is done again."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    await lab.sync()
    await erased(lab, learners[0])
    assert (learners[0],) == put_back(lab, backups(lab)[1]).erased
    result = await lab.sync()
    assert (set(), "degraded") == (held(lab, learners[0]), result.state)
    assert f"person erase {learners[0]}" in result.messages[0]
    assert "completed" == (await erased(lab, learners[0])).state
    assert ({}, "completed") == (written(result := await lab.sync()), result.state)


@pytest.mark.parametrize("answered", [True, False])
async def test_an_erasure_that_was_begun_is_finished_by_older_books(make_lab: MakeLab, answered: bool) -> None:
    """They learn of cases made since the backup, which no read would show them, and empty them."""
    site, courses, _ = site_of(3)
    lab = make_lab(site)
    lab.in_a_file()
    await lab.sync()
    person = site.add_user("New", "Comer", phone1="0722 999 111")
    backup = lab.store.back_up(lab.clock.now() + 1.0)
    assert backup
    site.enrol(courses[0], person)
    lab.commcare.drop_reply_after_commit(0 if answered else 1)
    await lab.sync()
    lab.commcare.drop_reply_after_commit(1 if answered else 0)
    assert "postponed" == (await erased(lab, person, later=60.0)).state
    assert (person,) == put_back(lab, backup).erased
    assert "completed" == (await erased(lab, person)).state
    assert set() == held(lab, person)
    await lab.sync()
    assert ({}, "completed") == (written(result := await lab.sync()), result.state)


@pytest.mark.parametrize("finished", [True, False])
async def test_who_was_admitted_is_not_erased_by_restored_books(make_lab: MakeLab, finished: bool) -> None:
    """A backup from between the erasure and the word that ended it forgets neither: the same cases go on."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    lab.in_a_file()
    await lab.sync()
    before = lab.store.back_up(lab.clock.now() + 1.0)
    assert before
    await erased(lab, learners[0])
    if finished:
        backup = lab.store.back_up(lab.clock.now() + 2.0)
    else:  # from its first step
        put_back(lab, before)
        await lab.sync()
        backup = lab.store.back_up(lab.clock.now() + 3.0)
        await erased(lab, learners[0])
    assert backup
    assert lab.store.admit(learners[0], lab.clock.now())
    await lab.sync()
    assert () == put_back(lab, backup).erased
    await lab.sync()
    site.update_user(learners[0], city="Siaya")
    await lab.sync()
    assert ("Siaya", 6) == (lab.case(f"test-user-{learners[0]}").properties["city"], len(lab.project.cases))
    assert ({}, "completed") == (written(result := await lab.sync()), result.state)


async def test_rotation_sends_nothing(make_lab: MakeLab) -> None:
    """With a new key behind the old one the next run finds everything unchanged, and real changes as before."""
    site, _, learners = site_of(5)
    lab = make_lab(site)
    await lab.sync()
    lab.books.close()
    with Store.open(url(lab), key=KEYS) as store:
        store.take_key()
        store.add_keys((*KEYS, b"n" * 32))
    reopen(lab, *KEYS, b"n" * 32)
    result = await lab.sync()
    assert ({}, {}, 10) == (
        written(result),
        result.requests["commcare"],
        sum(counts.unchanged for counts in result.cases.values()),
    )
    site.update_user(learners[0], city="Bondo")
    assert {"updated": 1} == written(await lab.sync())


async def test_rotation_cut_off_is_finished_by_the_next_run(make_lab: MakeLab) -> None:
    """The key file has the new key and the books do not: a preview sees no change, and a run carries over."""
    lab = make_lab(site_of(5)[0])
    await lab.sync()
    lab.books.close()
    reopen(lab, *KEYS, b"n" * 32)
    assert {} == written(await lab.sync(preview=True))
    result = await lab.sync()
    assert ({}, {}, False) == (written(result), result.requests["commcare"], lab.store.is_rotating)


async def test_a_backup_from_before_a_rotation_fits(make_lab: MakeLab) -> None:
    """The key file knows the older keys too: what was made with them is carried over when it is put back."""
    lab = make_lab(site_of(3)[0])
    await lab.sync()
    await lab.sync()
    with Store.open(f"sqlite:///{backups(lab)[1]}", key=(*KEYS, b"n" * 32)) as store:
        assert (True, True) == (store.has_known_key, store.is_rotating)
        assert None not in [case.digests for case in store.cases("student", 0).values()]
        store.take_key()
        assert None not in [case.digests for case in store.cases("student", 0).values()]


# --- the commands -----------------------------------------------------------------------------------------


@pytest.fixture
def synced(terminal: Terminal) -> Terminal:
    """Give a terminal after a first run."""
    assert 0 == terminal.run("sync", "--yes").code
    return terminal


def test_backup_and_check(synced: Terminal) -> None:
    """A copy is named; the check counts and is content."""
    assert (0, True) == ((ended := synced.run("state", "backup")).code, "Written:" in ended.text)
    ended = synced.run("state", "check", "--json")
    assert (0, True, 2) == (ended.code, ended.json["ok"], len(ended.json["backups"]))
    assert synced.cases == sum(ended.json["cases"].values())
    assert 3 == ended.json["counts"]["courses"]
    assert (0, True) == ((ended := synced.run("state", "check")).code, "are sound" in ended.text)


def test_check_refuses_what_others_may_read(synced: Terminal) -> None:
    """The sentence is the command that closes it; after it the check is content."""
    folder = synced.folder / "backups"
    folder.chmod(0o755)
    (synced.folder / "state.db").chmod(0o644)
    ended = synced.run("state", "check")
    assert (1, True) == (ended.code, f"chmod 600 {synced.folder / 'state.db'}, chmod 700 {folder}" in ended.text)
    folder.chmod(0o700)
    (synced.folder / "state.db").chmod(0o600)
    assert 0 == synced.run("state", "check").code


def test_a_run_says_that_it_closed_the_books_to_others(synced: Terminal, caplog: pytest.LogCaptureFixture) -> None:
    """Once, and it goes on: whoever could read them may have done so. The check refuses them before that."""
    (synced.folder / "state.db").chmod(0o640)
    assert (1, []) == (synced.run("state", "check").code, _narrowed(caplog))
    assert [0, 0] == [synced.run("sync").code for _ in range(2)]
    assert [f"{synced.folder / 'state.db'}: its rights were narrowed from 640 to 600."] == _narrowed(caplog)


def _narrowed(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    return [text.partition("change ")[2] for text in told if "narrowed" in text]


def test_check_tells_of_a_folder_that_others_may_use(synced: Terminal) -> None:
    """Into which they may write: it is refused, and not closed, since it may be shared; else it is said."""
    synced.folder.chmod(0o777)
    ended = synced.run("state", "check")
    assert (1, True) == (ended.code, f"may write into the folder {synced.folder}," in ended.text)
    assert 0o777 == synced.folder.stat().st_mode & 0o777
    synced.folder.chmod(0o755)
    ended = synced.run("state", "check")
    assert (0, True) == (ended.code, f"see which files are in the folder {synced.folder}." in ended.text)
    synced.folder.chmod(0o700)
    assert "Others" not in synced.run("state", "check").text


def test_check_finds_damage(synced: Terminal) -> None:
    """A lost page ends every command with the way back."""
    with (synced.folder / "state.db").open("r+b") as handle:
        handle.seek(4096)
        handle.write(bytes(4096))
    for command in (("state", "check"), ("sync",)):
        ended = synced.run(*command)
        assert (1, True) == (ended.code, "moodle-commcare state restore" in ended.text), ended.text


def test_restore_and_the_first_run(synced: Terminal) -> None:
    """Without a file that is there the newest is named; restored books rest, then send all onto the same cases."""
    synced.env |= {"IN_DOUBT_REST_S": "0.01"}
    cases = synced.cases
    assert 0 == synced.run("state", "backup").code
    newest = max((synced.folder / "backups").iterdir())
    ended = synced.run("state", "restore")
    assert (2, True) == (ended.code, str(newest) in ended.text)
    missing = synced.run("state", "restore", "no-such-file")
    assert (2, True) == (missing.code, "There is no file no-such-file." in missing.text)
    assert str(newest) in missing.text
    assert 0 == synced.run("state", "restore", str(newest)).code
    assert (0, cases) == (synced.run("sync").code, synced.cases)
    assert 0 == synced.run("state", "restored").code


def test_a_restore_waits_for_a_run_that_holds_the_lease_for_long(synced: Terminal) -> None:
    """The setting that says how long leases hold counts here too: a longer one is no sign of a wrong clock."""
    synced.env["LEASE_TTL_S"] = "7200"
    (newest,) = (synced.folder / "backups").iterdir()
    with open_store(load_settings(synced.env, None)) as store:
        assert store.take_lease("run", SystemClock().now(), 7200.0)
    ended = synced.run("state", "restore", str(newest))
    assert (1, True) == (ended.code, "A run is at work on these books" in ended.text), ended.text


def test_rotate_key(synced: Terminal) -> None:
    """The key file has a line more, and the next run sends nothing."""
    forms = len(synced.box.project.forms)
    for lines in (2, 3):
        assert 0 == synced.run("state", "rotate-key").code
        assert lines == len((synced.folder / "state.key").read_text().split())
    assert (0, forms) == (synced.run("sync", "--full").code, len(synced.box.project.forms))


def test_a_key_that_is_rotated_while_books_are_opened(synced: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who read the key file just before it got another key, and opens the books just after, reads it again."""
    settings, real = load_settings(synced.env, None), flows.open.read_or_make_keys
    old = [real(settings.state_key_file)]
    assert 0 == synced.run("state", "rotate-key").code
    monkeypatch.setattr(flows.open, "read_or_make_keys", lambda path: old.pop() if old else real(path))
    with open_store(settings) as store:
        assert (True, False) == (store.has_known_key, store.is_rotating)


def test_a_lost_key_needs_a_word(synced: Terminal) -> None:
    """With people erased a new key file is not enough: they would come back without anybody knowing."""
    assert 0 == synced.run("person", "erase", "99999", "--yes").code
    (synced.folder / "state.key").unlink()
    ended = synced.run("sync")
    assert (1, True) == (ended.code, "rotate-key --lost" in ended.text)
    ended = synced.run("state", "rotate-key", "--lost")
    assert (0, True) == (ended.code, "1 erased person forgotten" in ended.text)
    assert 0 == synced.run("sync").code


def test_a_key_that_is_gone_is_not_replaced_in_silence(synced: Terminal) -> None:
    """Everything would be sent once more: that takes a word, and nothing makes a new key before it."""
    file = synced.folder / "state.key"
    old = file.read_text()
    file.unlink()
    for words in (("sync",), ("check",), ("preview",), ("status",), ("state", "check")):
        ended = synced.run(*words)
        assert (1, True) == (ended.code, "state.key is not there, and the books were made with it" in ended.text)
        assert not file.exists(), words
    file.write_text(old)
    file.chmod(0o600)
    ended = synced.run("sync", "--json")
    assert (0, set()) == (ended.code, {one["updated"] for one in ended.json["cases"].values()} - {0})
    file.unlink()
    assert 0 == synced.run("state", "rotate-key", "--lost").code
    ended = synced.run("sync", "--json")
    assert (0, False) == (ended.code, 0 in {one["updated"] for one in ended.json["cases"].values()})


def test_another_key_is_found_by_the_check(synced: Terminal) -> None:
    """The books look whole with it, and no run works, or every case is sent once more."""
    assert 0 == synced.run("person", "erase", "99999", "--yes").code
    file = synced.folder / "state.key"
    old = file.read_text()
    file.write_text(f"{'0f' * 32}\n")
    export = ("person", "export", "99999", "--to", str(synced.folder / "one.json"))
    for command in (("state", "check"), ("person", "admit", "99999"), export):
        ended = synced.run(*command)
        assert (1, True) == (ended.code, "is not that of the books. Put the old key file back" in ended.text)
        assert "rotate-key --lost" in ended.text
    assert not (synced.folder / "one.json").exists()  # it would say that the person was not erased
    file.write_text(old)
    assert (0, True) == (synced.run(*export).code, '"erased": true' in (synced.folder / "one.json").read_text())
    assert (0, 0) == (synced.run("state", "check").code, synced.run("person", "admit", "99999").code)
    file.write_text(f"{'0f' * 32}\n")
    assert "sends every case once more" in synced.run("state", "check").text


def test_a_key_that_is_there_is_not_lost(synced: Terminal) -> None:
    """Nothing would be sent once more, and no new key made: neither is said."""
    key = (synced.folder / "state.key").read_text()
    ended = synced.run("state", "rotate-key", "--lost")
    assert (2, True) == (ended.code, "it is not lost" in ended.text)
    assert key == (synced.folder / "state.key").read_text()


def test_of_a_server_only_what_was_looked_at_is_said() -> None:
    """Nobody looked who may read a database on a server, or whether it has backups."""
    with Store.open("sqlite://", key=KEYS) as store:
        found = replace(store.condition(), on_server=True)
    text = " ".join(condition_lines(found))
    assert (False, False) == ("nobody else may read" in text, "Backups:" in text)


def test_runs_that_are_shown_are_whole() -> None:
    """What the status shows of each of the last runs is still in the books."""
    assert RUNS <= WHOLE_RUNS


def test_a_copy_from_before_an_upgrade_is_named(terminal: Terminal) -> None:
    """The check names it beside the backups, and a restore without a file names the newest of all."""
    old_books(terminal.env["STATE_URL"], "0009")
    found = terminal.run("state", "check", "--json").json
    (copy,) = found["upgrade_copies"]
    assert ([], True) == (found["backups"], copy.endswith("-schema-0009.db"))
    text = terminal.run("state", "check").text
    assert f"Backups: 0. Copies from before an upgrade: 1, the newest {copy}." in text
    assert f"The newest one is {copy}." in terminal.run("state", "restore").text
    assert 0 == terminal.run("state", "restore", copy).code


@pytest.mark.parametrize("links", [True, False])
async def test_whose_a_case_is_was_said_since_the_backup(make_lab: MakeLab, links: bool) -> None:
    """What somebody approved or rejected since holds: nobody writes to a case of which a person said no."""
    site, (amina, _) = people_of("Amina", "Baraka")
    lab = make_lab(site)
    lab.in_a_file()
    declare(lab)
    case = by_hand(lab, "Amina Otieno", national_id="ID-0001")
    await matched(lab)
    if not links:
        link(lab, amina, case.case_id)
        await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup
    (link if links else refuse)(lab, amina, case.case_id)
    if not links:
        await lab.sync()
    put_back(lab, backup)
    sent = len(lab.project.forms)
    site.update_user(amina, city="Bondo")
    for _ in range(2):
        assert "completed" == (await lab.sync()).state
    assert links == (case.case_id in {row.get("case_id") for row in lab.rows_sent(sent)})
    assert ("Bondo" == case.properties.get("city")) == links
    cases = [one for one in lab.project.of_type("student") if one.properties.get("city") == "Bondo"]
    assert 1 == len(cases)


def test_who_was_merged_since_the_backup_is_so_still(synced: Terminal) -> None:
    """The word is taken over from the books that give way; without those it is to be said again."""
    old, new = synced.box.learners[:2]
    backup = synced.run("state", "backup", "--json").json["file"]
    assert 0 == synced.run("merge", str(old), str(new)).code
    assert 0 == synced.run("state", "restore", backup).code
    with open_store(load_settings(synced.env, None)) as store:
        assert ({old: new}, {old}) == (merged(store), unmarked(store))
    for file in synced.folder.glob("state.db*"):
        file.unlink()
    ended = synced.run("state", "restore", backup)
    assert (0, True) == (ended.code, "Merge again whoever was merged." in ended.text)
