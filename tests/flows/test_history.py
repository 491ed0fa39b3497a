"""What happened to a record and in a run, told from the log."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flows.errors import UsageError
from flows.history import Past, past_of, past_of_run
from flows.merge import merge, unmerge
from flows.person import erase, export
from flows.problems import retry
from state import Store
from tests.flows.terminal import Terminal
from tests.flows.test_person import on
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab

MakeLab = Callable[..., Lab]


def told(past: Past) -> list[tuple[str, str]]:
    """Return what was meant and what came of it, the newest last."""
    return [(one.op, one.answer) for one in past.changes]


async def test_the_life_of_a_case(make_lab: MakeLab) -> None:
    """From its creation over a change and a refusal to its end, each with run, request, form and properties."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    key = f"test-user-{learners[0]}"
    first = await lab.sync()
    site.update_user(learners[0], city="Bondo")
    second = await lab.sync()
    lab.commcare.refuse_row(lab.case(key).case_id, "Values must be strings")
    site.update_user(learners[0], city="Siaya")
    third = await lab.sync()
    lab.commcare.accept_rows()
    retry(lab.store, lab.clock.now(), key=key)
    await lab.sync()
    past = past_of(lab.store, key)
    assert [("create", "taken"), ("update", "taken"), ("update", "refused"), ("retry", "noted")] == told(past)[:-1]
    assert ("update", "taken") == told(past)[-1]
    created, updated, refused, word, _ = past.changes
    assert [first.run_id, second.run_id, third.run_id, ""] == [
        one.run for one in (created, updated, refused, word)
    ]
    assert {"@name", "@owner", "email"} <= set(created.names)
    assert (("city",), ("city",), "wrong_type") == (updated.names, refused.names, refused.reason)
    assert lab.project.forms[0].form_id == created.form_id
    assert {lab.loaded().revision} == {one.revision for one in (created, updated, refused)}
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    await lab.sync()
    assert ("left", "taken") == told(past_of(lab.store, key))[-1]


async def test_a_write_without_an_answer(make_lab: MakeLab) -> None:
    """While it rests it is told as waiting; given up it is logged, then the write onto the case that was found."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    key = f"test-user-{learners[0]}"
    resting = past_of(lab.store, key)
    assert ([], True) == (told(resting), resting.now[0].waits_since > 0)
    await lab.sync()
    assert [("create", "unknown"), ("update", "taken")] == told(past_of(lab.store, key))


async def test_a_closed_case_and_its_successor(make_lab: MakeLab) -> None:
    """Closing is told as such, and a case that lives again is one of the next generation."""
    site, courses, learners = site_of(30)
    lab = make_lab(site, project=PROJECT)
    left = "when_left: {set: {enrolment_status: left}"
    lab.edit("enrolment", left, f"{left}, close: true")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    await lab.sync()
    site.enrol(courses[0], learners[0])
    await lab.sync()
    past = past_of(lab.store, f"test-enrol-{courses[0]}-{learners[0]}~2")
    assert [("create", "taken"), ("closed", "closed"), ("renew", "noted"), ("create", "taken")] == told(past)
    assert [1, 1, 2, 2] == [one.generation for one in past.changes]


async def test_a_merge_is_told(make_lab: MakeLab) -> None:
    """The word, its withdrawal, and the write that followed from it."""
    site, _, (old, new) = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    merge(lab.store, old, new, lab.clock.now())
    unmerge(lab.store, old, new, lab.clock.now())
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    assert ["create", "merge", "unmerge", "merge", "left"] == [
        one.op for one in past_of(lab.store, f"test-user-{old}").changes
    ]


async def test_what_a_run_did(make_lab: MakeLab) -> None:
    """All of it is counted, and the first changes are shown; its name may be cut short."""
    site, _, _ = site_of(3, 2)
    lab = make_lab(site)
    run_id = (await lab.sync()).run_id
    past = past_of_run(lab.store, run_id[-6:], 4)
    assert (run_id, 10, 4) == (past.run_id, past.total, len(past.changes))
    assert {("student", 5), ("enrolment", 5)} == {(kind.mapping, count) for kind, count in past.counts.items()}
    with pytest.raises(UsageError, match=f"newest first: {run_id}"):
        past_of_run(lab.store, "nothing", 4)
    await lab.sync()
    assert run_id == past_of_run(lab.store, "", 4).run_id, "a run without changes is not in the log"


async def test_unknown_keys_have_hints(make_lab: MakeLab) -> None:
    """Near keys, keys of a person's number, or what keys look like; a case id of CommCare is as good as a key."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    with pytest.raises(UsageError, match="the books know no case yet"):
        past_of(lab.store, "test-user-1")
    await lab.sync()
    key = f"test-user-{learners[0]}"
    assert key == past_of(lab.store, lab.case(key).case_id).key
    for given in (str(learners[0]), f"user-{learners[0]}", key[:-1]):
        with pytest.raises(UsageError, match=rf"Near it: .*{key}"):
            past_of(lab.store, given)
    with pytest.raises(UsageError, match=r"external ids, such as test-enrol-.* \(enrolment\), test-user-"):
        past_of(lab.store, "nobody")


async def test_an_erased_person_has_no_past(make_lab: MakeLab) -> None:
    """Export gives the log of a person out; after the erasure it is gone, that of others stays."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    given = await on(lab, export, learners[0])
    assert [("create", "taken")] * 2 == [(one["what"], one["answer"]) for one in given["history"]]
    assert ["case_name", "owner"] == given["history"][0]["properties"][:2]
    await on(lab, erase, learners[0])
    assert [] == lab.store.history(f"test-user-{learners[0]}")
    assert 4 == lab.store.condition().counts["in the log"]


async def test_the_log_holds_no_values(make_lab: MakeLab) -> None:
    """Names of properties, ids and codes: of a person's values nothing."""
    site, _, learners = site_of(1)
    site.update_user(learners[0], city="Qanarytown")
    lab = make_lab(site)
    await lab.sync()
    past = past_of(lab.store, f"test-user-{learners[0]}")
    assert "city" in past.changes[0].names
    assert not any(word in json.dumps(past.as_json()) for word in ("Qanary", "First0", "0722"))


async def test_the_log_is_cut_by_the_setting(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run forgets what is older than STATE_HISTORY_DAYS says."""
    seen: list[float] = []
    monkeypatch.setattr(Store, "forget_old", lambda _store, _now, kept: seen.append(kept))
    lab = make_lab(site_of(1)[0])
    await lab.sync()
    assert [90 * 86_400.0] == seen


def test_commands(terminal: Terminal) -> None:
    """At a terminal and as JSON, by key and by run; wrong usage is told."""
    terminal.env["STATE_HISTORY_DAYS"] = "30"
    ended = terminal.run("history", "x")
    assert (2, True, False) == (
        ended.code,
        "There are no books yet" in ended.text,
        (terminal.folder / "state.db").exists(),
    )
    assert 0 == terminal.run("sync", "--yes").code
    key = next(case.external_id for case in terminal.box.project.of_type("student"))
    shown = terminal.run("history", key)
    assert (0, True, True) == (shown.code, "new case" in shown.text, "Africa/Nairobi" in shown.text)
    found = terminal.run("history", key, "--json").json
    assert ["create"] == [one["what"] for one in found["changes"]]
    run = found["changes"][0]["run"]
    assert 36 == terminal.run("history", "--run", run, "--json").json["changes_in_all"]
    assert "and 35 more" in terminal.run("history", "--run", run, "--limit", "1").text
    for words in (("history",), ("history", key, "--run", run), ("history", "nobody")):
        assert 2 == terminal.run(*words).code
    terminal.edit("student.yaml", "case_type: student", "case_type: [")
    assert "times in UTC" in terminal.run("history", key).text
    terminal.env["STATE_HISTORY_DAYS"] = "0"
    assert "STATE_HISTORY_DAYS must be a whole number of days" in terminal.run("history", key).text
