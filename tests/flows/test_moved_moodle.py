"""A Moodle that got another address: the books go on with it, and with no other one."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest

from adaptors.moodle.errors import REPAIR_CONTACT
from flows.open import open_store
from flows.settings import load_settings
from tests.flows.terminal import Terminal
from tests.flows.test_sync import site_of

MOVED = ("state", "moved-moodle")


@pytest.fixture
def moved(terminal: Terminal) -> Terminal:
    """Give a terminal after a first run, whose Moodle has another address by now, also in the settings."""
    assert 0 == terminal.run("sync", "--yes").code
    move(terminal)
    return terminal


def move(terminal: Terminal) -> None:
    """Let Moodle have another name."""
    there = terminal.env["MOODLE_URL"].replace("127.0.0.1", "localhost")
    terminal.env["MOODLE_URL"] = terminal.box.site.url = terminal.box.site.info["siteurl"] = there


def bound(terminal: Terminal) -> str | None:
    """Return the address in the books."""
    with open_store(load_settings(terminal.env, None), any_moodle=True) as store:
        return store.get("@moodle_url")


def test_the_books_go_along(moved: Terminal) -> None:
    """What a run says names the command; after it the next run sends nothing again, and asks nothing."""
    ended = moved.run("sync")
    assert (1, True) == (ended.code, "moodle-commcare state moved-moodle" in ended.text)
    cases, forms = moved.cases, len(moved.box.project.forms)
    ended = moved.run(*MOVED, "--yes")
    there = moved.env["MOODLE_URL"]
    assert (0, there) == (ended.code, bound(moved))
    assert (
        f"{there} answers as the site 'Example Moodle'. It has 3 of the 3 courses that the books know"
        in ended.text
    )
    assert f"The books are about {there} now" in ended.text
    assert 0 == moved.run("sync", "--full").code
    assert (cases, forms) == (moved.cases, len(moved.box.project.forms))


def test_as_one_object(moved: Terminal) -> None:
    """Scripts learn what was compared; a second time there is nothing to be done."""
    ended = moved.run(*MOVED, "--yes", "--json")
    found = ended.json
    assert (0, "completed", moved.env["MOODLE_URL"]) == (ended.code, found["state"], found["new"])
    assert (3, 3) == (found["courses"], found["courses_there"])
    assert 0 < found["people"] == found["people_there"]
    again = moved.run(*MOVED, "--json")
    assert (0, True) == (again.code, "nothing is to be done" in again.json["messages"][0])


def test_it_takes_a_word(moved: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but a person can tell a site from its copy; a no changes nothing."""
    old = bound(moved)
    ended = moved.run(*MOVED)
    assert (2, True, old) == (
        ended.code,
        "Give --yes when it is the Moodle that was at" in ended.text,
        bound(moved),
    )
    monkeypatch.setattr("flows.cli_state.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    ended = moved.run(*MOVED, typed="n\n")
    assert (1, True, old) == (ended.code, "Nothing was changed." in ended.text, bound(moved))
    assert "and no copy of it?" in ended.text
    assert (0, moved.env["MOODLE_URL"]) == (moved.run(*MOVED, typed="y\n").code, bound(moved))


def test_another_moodle_is_refused(moved: Terminal) -> None:
    """One whose courses have the same numbers, and other people in them."""
    old, known = bound(moved), sorted(moved.box.courses.values())
    other, _, _ = site_of(*([4] * len(known)))
    other.info |= {"userid": moved.box.site.info["userid"]}
    moved.box.moodle.site = other
    ended = moved.run(*MOVED, "--yes")
    assert (2, old) == (ended.code, bound(moved)), ended.text
    assert "So it is not the Moodle that was at" in ended.text


def test_a_moodle_without_these_courses_is_refused(moved: Terminal) -> None:
    """Or one whose account does not see them any more."""
    old = bound(moved)
    for number in moved.box.courses.values():
        del moved.box.site.courses[number]
    ended = moved.run(*MOVED, "--yes")
    assert (2, old, True) == (ended.code, bound(moved), "It has 0 of the 3 courses" in ended.text)


def test_another_project_space_is_refused(moved: Terminal) -> None:
    """Only Moodle's address may differ."""
    old = bound(moved)
    domain = moved.env["COMMCARE_DOMAIN"]
    moved.env["COMMCARE_DOMAIN"] = "elsewhere"
    ended = moved.run(*MOVED, "--yes")
    assert (1, True) == (ended.code, "COMMCARE_DOMAIN is elsewhere" in ended.text)
    assert "moved-moodle" not in ended.text
    moved.env["COMMCARE_DOMAIN"] = domain
    assert old == bound(moved)


def test_not_while_a_run_is_at_work(moved: Terminal) -> None:
    """It may still be reading at the old address."""
    from flows.clock import SystemClock

    old = bound(moved)
    with open_store(load_settings(moved.env, None), any_moodle=True) as store:
        assert store.take_lease("run", SystemClock().now(), 600.0)
    ended = moved.run(*MOVED, "--yes")
    assert (1, True, old) == (ended.code, "A run is at work" in ended.text, bound(moved))


def test_without_books_there_is_nothing_to_move(terminal: Terminal) -> None:
    """The first run takes the address as it is."""
    ended = terminal.run(*MOVED, "--yes")
    assert (2, True) == (ended.code, "There are no books yet" in ended.text)


def test_a_moodle_that_does_not_answer(moved: Terminal) -> None:
    """Nothing is changed before the new address has answered."""
    old = bound(moved)
    moved.ports.answer["moodle"] = lambda _: httpx.Response(200, html="<html>Parked</html>")
    ended = moved.run(*MOVED, "--yes")
    assert (1, old, True) == (ended.code, bound(moved), "Check that MOODLE_URL" in ended.text)


def test_what_was_said_before_leads_here(terminal: Terminal) -> None:
    """A redirect names the setting, and what comes after it."""
    assert 0 == terminal.run("sync", "--yes").code
    terminal.ports.answer["moodle"] = lambda _: httpx.Response(
        301, headers={"Location": "https://www.example.org"}
    )
    text = terminal.run("sync").text
    assert "Put the final address, usually with https://, into MOODLE_URL. If runs were made with this" in text
    assert "state moved-moodle" in text


def test_the_address_in_the_project_file_is_named(terminal: Terminal) -> None:
    """Templates take links from there: nobody else would tell."""
    file = terminal.mappings / "project.yaml"
    with file.open("a") as text:
        text.write(f"\nsite_url: {terminal.env['MOODLE_URL']}\n")
    assert 0 == terminal.run("sync", "--yes").code
    move(terminal)
    assert "still has the old address as `site_url`" in terminal.run(*MOVED, "--yes").text


def test_a_backup_from_before_says_the_way(terminal: Terminal) -> None:
    """It is about the old address: restored with that one, it is moved again."""
    assert 0 == terminal.run("sync", "--yes").code
    backup = terminal.run("state", "backup", "--json").json["file"]
    old = terminal.env["MOODLE_URL"]
    move(terminal)
    new = terminal.env["MOODLE_URL"]
    assert 0 == terminal.run(*MOVED, "--yes").code
    ended = terminal.run("state", "restore", backup)
    assert (1, True) == (ended.code, "put it into MOODLE_URL, restore, put the present one back" in ended.text)
    terminal.env["MOODLE_URL"] = old
    assert 0 == terminal.run("state", "restore", backup).code
    terminal.env["MOODLE_URL"] = new
    assert (0, new) == (terminal.run(*MOVED, "--yes").code, bound(terminal))


def test_a_course_that_moodle_cannot_show(moved: Terminal) -> None:
    """It is there, as its refusal tells; the others are looked into, and what to mend is said."""
    first = min(moved.box.courses.values())
    moved.box.site.courses[first]["contacts"] = [{"id": 3, "fullname": "Grace <Wekesa"}]
    ended = moved.run(*MOVED, "--yes")
    assert (0, moved.env["MOODLE_URL"]) == (ended.code, bound(moved)), ended.text
    assert "It has 3 of the 3 courses that the books know" in ended.text
    assert f"Moodle cannot show 1 course in its list. {REPAIR_CONTACT}" in ended.text
