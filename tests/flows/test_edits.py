"""Edits of mappings are safe: what is said, what is sent, and what a person is asked before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from adaptors.commcare.fake_project import Case
from flows.confirm import confirm_blanks, confirm_existing, confirm_withdrawn
from flows.errors import UsageError
from flows.needs import needs
from flows.preview import preview
from flows.problems import drop, retry
from flows.run import Run
from flows.steps.holders import keys_of
from flows.sync import Options
from state import RowId, Store
from tests.flows.explorer_lab import Killed
from tests.flows.test_audit import audited
from tests.flows.test_departures import LEFT, PARKING, consenting
from tests.flows.test_sync import site_of
from tests.flows.test_unsure import run
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written
from tests.voided import void

MakeLab = Callable[..., Lab]
ROLES = "  - {source: roles, any_of: [student]}\n"
CITY = "  city: {source: city, transform: [trim], personal: true}\n"


async def synced(make_lab: MakeLab, people: int = 3) -> tuple[Lab, list[int]]:
    """Return a lab that has run twice, with the ids of its learners, who live in Kisumu."""
    site, _, learners = site_of(people)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    await lab.sync()
    return lab, learners


async def test_an_edit_is_told_once(make_lab: MakeLab) -> None:
    """The run after an edit names the property, sends what differs, and the next one is silent about it."""
    lab, _ = await synced(make_lab)
    lab.edit("student", "city: {source: city, transform: [trim]", "city: {source: city, transform: [trim, upper]")
    result = await lab.sync()
    assert {"edited": ["city"], "added": [], "removed": [], "retired": {}} == result.edits["student"]
    assert {"updated": 3} == written(result)
    assert ({}, {}) == ((again := await lab.sync()).edits, written(again))


async def test_a_description_is_no_edit(make_lab: MakeLab) -> None:
    """Words for people change nothing and are not told."""
    lab, _ = await synced(make_lab)
    lab.edit("student", "description: One case per learner", "description: A case for each learner")
    lab.edit("student", "description: The number that", "description: A number that")
    result = await lab.sync()
    assert ({}, {}) == (result.edits, written(result))


async def test_an_added_property_is_told_and_sent(make_lab: MakeLab) -> None:
    """A new property goes to every case, alone."""
    lab, _ = await synced(make_lab)
    lab.edit("student", CITY, CITY + "  town: {source: city, personal: true}\n")
    result = await lab.sync()
    assert (["town"], {"updated": 3}) == (result.edits["student"]["added"], written(result))
    assert [{"town"}] * 3 == [set(row["properties"]) for row in lab.rows_sent(2)]


async def test_a_removed_property_stays_and_is_told_once(make_lab: MakeLab) -> None:
    """What is taken out of the mapping stays in CommCare; the run says so, and how to empty it."""
    lab, learners = await synced(make_lab)
    lab.edit("student", CITY, "")
    lab.edit("student", "        city: Bondo\n", "")
    lab.edit("student", "[contact_phone_number, email, city]", "[contact_phone_number, email]")
    result = await lab.sync()
    assert (["city"], {}, "completed") == (result.edits["student"]["removed"], written(result), result.state)
    assert "city is no longer in student.yaml" in result.messages[0]
    assert "city: {retire: clear}" in result.messages[0]
    for _ in range(2):
        assert ({}, {}, []) == ((again := await lab.sync()).edits, written(again), again.messages)
    assert "Kisumu" == lab.case(f"test-user-{learners[0]}").properties["city"]


async def test_an_edit_of_a_run_that_failed_is_told_again(make_lab: MakeLab) -> None:
    """Only a finished run has dealt with an edit."""
    lab, _ = await synced(make_lab)
    lab.edit("student", "city: {source: city, transform: [trim]", "city: {source: city, transform: [trim, upper]")
    lab.site.maintenance = "web"
    assert "postponed" == (await lab.sync()).state
    lab.site.maintenance = ""
    assert ["city"] == (await lab.sync()).edits["student"]["edited"]


def retire_city(lab: Lab) -> None:
    """Retire a property on purpose."""
    lab.edit("student", CITY, "  city: {retire: clear}\n")
    lab.edit("student", "        city: Bondo\n", "")
    lab.edit("student", "[contact_phone_number, email, city]", "[contact_phone_number, email]")


async def test_a_retired_property_is_emptied_once(make_lab: MakeLab) -> None:
    """Cases that hold it lose it, however many they are; they are counted, and new cases never get it."""
    lab, learners = await synced(make_lab, 8)
    retire_city(lab)
    result = await lab.sync()
    assert ({"city": 8}, {"updated": 8}) == (result.edits["student"]["retired"], written(result))
    assert [{"city": ""}] * 8 == [row["properties"] for row in lab.rows_sent(2)]
    new = lab.site.add_user("Neema", "New", city="Bondo")
    lab.site.enrol(2, new)
    assert {"created": 2} == written(await lab.sync())
    assert "city" not in lab.case(f"test-user-{new}").properties
    assert {} == written(await lab.sync())
    assert "" == lab.case(f"test-user-{learners[0]}").properties["city"]


async def test_a_property_that_holds_nothing_is_not_emptied(make_lab: MakeLab) -> None:
    """Retiring sends nothing to cases that hold a blank already."""
    site, _, learners = site_of(3)
    site.update_user(learners[0], city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    retire_city(lab)
    assert {"updated": 1} == written(await lab.sync())


async def test_retiring_survives_a_lost_answer(make_lab: MakeLab) -> None:
    """When the answer to the emptying is lost, it is written again after the rest, and then never more."""
    lab, learners = await synced(make_lab)
    retire_city(lab)
    lab.commcare.drop_reply_after_commit()
    assert {"in_doubt": 3, "held_back": 3} == written(await lab.sync())
    assert {"updated": 3} == written(await lab.sync())
    assert ({}, "") == (written(await lab.sync()), lab.case(f"test-user-{learners[0]}").properties["city"])


# --- what a run sent that was not finished ----------------------------------------------------------------

NICK = "  nick: {source: institution, personal: true}\n"
PARTLY = ["one course", "a hint", "stopped"]


def of_two_courses(make_lab: MakeLab, intervals: str = "{}") -> tuple[Lab, list[int]]:
    """Return a lab with two courses, and the learners of the first; whoever says no is kept out."""
    site, _, learners = site_of(3, 6)
    site.add_profile_field("consent")
    for learner in learners:
        site.update_user(learner, city="Kisumu", institution="A clinic", profile={"consent": "yes"})
    lab = make_lab(site)
    (lab.mappings / "project.yaml").write_text(f"{PROJECT}intervals: {intervals}\n")
    lab.edit("student", ROLES, f'{ROLES}  - {{source: profile.consent, is_not: "no"}}\n')
    return lab, learners[:3]


async def run_partly(lab: Lab, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send everything in a run that is not one of the whole site, or that is stopped when it has sent it all."""
    if how != "stopped":
        await lab.sync(courses=(2,), hinted=how == "a hint")
        return

    async def stop(_: Run) -> set[str]:
        """Stop the run before it is finished."""
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("flows.sync._unsettled", stop)
        with pytest.raises(Killed):
            await lab.sync()


@pytest.mark.parametrize("how", [*PARTLY, "first run"])
async def test_what_only_an_unfinished_run_sent_is_taken_out(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It is told as what was removed, once, and is emptied with everything personal of who is kept out."""
    lab, learners = of_two_courses(make_lab)
    if how != "first run":
        await lab.sync()
    lab.edit("student", CITY, CITY + NICK)
    await run_partly(lab, "stopped" if how == "first run" else how, monkeypatch)
    case = lab.case(f"test-user-{learners[0]}")
    assert "A clinic" == case.properties["nick"]
    lab.edit("student", NICK, "")
    result = await lab.sync()
    assert (["nick"], [], []) == tuple(result.edits["student"][name] for name in ("removed", "added", "edited"))
    assert any("nick is no longer in student.yaml" in message for message in result.messages)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    assert {} == (await lab.sync()).edits
    await quiet(lab)
    assert "" == case.properties["nick"]


@pytest.mark.parametrize("how", PARTLY)
async def test_an_edit_of_an_unfinished_run_is_taken_back(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Taking it back is an edit as well: nobody waits for an interval, and then it is over."""
    lab, learners = of_two_courses(make_lab, "{people: 168, enrolments: 168, grades: 168}")
    await lab.sync()
    old, new = "city: {source: city, transform: [trim]", "city: {source: city, transform: [trim, upper]"
    lab.edit("student", old, new)
    await run_partly(lab, how, monkeypatch)
    assert "KISUMU" == lab.case(f"test-user-{learners[0]}").properties["city"]
    lab.edit("student", new, old)
    result = await lab.sync()
    assert (["city"], {"updated": 9 if how == "stopped" else 3}) == (
        result.edits["student"]["edited"],
        written(result),
    )
    assert ({}, {"student", "enrolment"}) == ((again := await lab.sync()).edits, {*again.not_due})


async def test_what_runs_tried_is_written_once(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without an edit writes nothing about texts, nor does one that tries the same edit again."""
    lab, _ = of_two_courses(make_lab)
    await lab.sync()
    before = lab.store.get("prints:student")
    wrote = list[str]()
    real = Store.put_all

    def put_all(store: Store, facts: Mapping[str, str]) -> None:
        """Note what is written about texts."""
        wrote.extend(name for name in facts if name.startswith("prints:"))
        real(store, facts)

    monkeypatch.setattr(Store, "put_all", put_all)
    for _ in range(2):
        await lab.sync()
        await lab.sync(courses=(2,))
    assert ([], before) == (wrote, lab.store.get("prints:student"))
    lab.edit("student", CITY, CITY + NICK)
    for _ in range(2):
        await lab.sync(courses=(2,))
    assert ["prints:student"] == wrote
    await lab.sync()
    assert ["prints:student"] * 2 == wrote
    assert {"families", "prints", "removed"} == json.loads(lab.store.get("prints:student") or "").keys()


# --- keys -------------------------------------------------------------------------------------------------


def other_keys(lab: Lab) -> None:
    """Let students and their enrolments have other keys."""
    for name in ("student", "enrolment"):
        lab.edit(name, '"{site}-user-', '"{site}-person-')


async def test_other_keys_stop_the_run_with_its_plan(make_lab: MakeLab) -> None:
    """The run says how many cases it would make anew, sends nothing, and taking the edit back goes on."""
    lab, _ = await synced(make_lab)
    other_keys(lab)
    sent = len(lab.project.forms)
    result = await lab.sync()
    assert ("waiting", sent) == (result.state, len(lab.project.forms))
    message = next(text for text in result.messages if "keys" in text)
    for part in ("student.yaml has 3 cases under the old keys", "marked as left", "sync --rekey student"):
        assert part in message
    for name in ("student", "enrolment"):
        lab.edit(name, '"{site}-person-', '"{site}-user-')
    assert ("completed", {}) == ((again := await lab.sync()).state, written(again))


async def test_other_keys_of_one_mapping_hold_up_no_others(make_lab: MakeLab) -> None:
    """Those below it wait with it; once the old text is back, what was missed meanwhile is caught up."""
    site, courses, learners = site_of(3)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false\n", "")
    await lab.sync()
    old, new = "{site}-enrol-{course.id}-{user.id}", "{site}-e-{course.id}-{user.id}"
    for name in ("enrolment", "grade_item"):
        lab.edit(name, old, new)
    site.update_user(learners[0], firstname="Changed")
    site.grade(item, learners[0], 80)
    site.enrol(courses[0], site.add_user("New", "Comer"))
    for number in range(2):
        result = await lab.sync()
        assert ("waiting", 1 - number, {"student"}) == (
            result.state,
            result.of("student").created,
            {*result.cases},
        )
    assert "Changed" == lab.case(f"test-user-{learners[0]}").properties["first_name"]
    (told,) = result.messages
    assert "enrolment.yaml has 3 cases under the old keys" in told
    assert "Nothing of enrolment, grade_item was sent. Put the old text back; or, if that is meant, " in told
    assert (
        "`moodle-commcare sync --rekey enrolment`, or in Prefect `approve`: kind rekey, mapping enrolment" in told
    )
    for name in ("enrolment", "grade_item"):
        lab.edit(name, new, old)
    result = await lab.sync()
    assert ("completed", 1) == (result.state, result.of("enrolment").created)
    assert "80" == lab.case(f"test-grade-{item}-{learners[0]}").properties["grade_percent"]
    assert {} == written(await lab.sync())


async def test_who_leaves_while_it_is_asked_about_other_keys(make_lab: MakeLab) -> None:
    """Nobody has left the site whose course nobody looks at; once it is answered all is marked, once."""
    lab, learners = await synced(make_lab, 8)
    lab.edit("enrolment", "{site}-enrol-{course.id}-{user.id}", "{site}-e-{course.id}-{user.id}")
    lab.site.unenrol(2, learners[0])
    for _ in range(3):
        assert "waiting" == (await lab.sync()).state
    assert "active" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    await lab.sync(rekey=("enrolment",))
    for _ in range(2):
        await lab.sync()
    assert "left" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    there = {case.external_id: case.properties["enrolment_status"] for case in lab.project.of_type("enrolment")}
    expected = {f"test-enrol-2-{one}": "left" for one in learners}
    assert expected | {f"test-e-2-{one}": "active" for one in learners[1:]} == there
    assert {} == written(await lab.sync())


async def test_rekey_makes_new_cases_and_marks_the_old(make_lab: MakeLab) -> None:
    """New cases for everybody, the old ones marked as left in the same run, children under the new ones; once."""
    lab, learners = await synced(make_lab)
    other_keys(lab)
    result = await lab.sync(rekey=("student",))
    assert (3, 3, 3) == (
        result.of("student").created,
        result.of("student").marked_left,
        result.of("enrolment").updated,
    )
    old, new = lab.case(f"test-user-{learners[0]}"), lab.case(f"test-person-{learners[0]}")
    assert ("left", "active") == (old.properties["moodle_status"], new.properties["moodle_status"])
    assert new.case_id == lab.case(f"test-enrol-2-{learners[0]}").indices["student"]["case_id"]
    for _ in range(3):
        assert ("completed", {}) == ((again := await lab.sync()).state, written(again))


async def test_a_site_that_is_renamed_is_a_rekey(make_lab: MakeLab) -> None:
    """Another short name of the site concerns every mapping, and each has to be named."""
    lab, _ = await synced(make_lab)
    lab.edit("project", "site: test", "site: other")
    result = await lab.sync(rekey=("student",))
    assert ("waiting", {}) == (result.state, written(result))
    assert any("--rekey student --rekey enrolment" in message for message in result.messages)
    assert {"created": 6, "marked_left": 6} == written(await lab.sync(rekey=("student", "enrolment")))
    assert {} == written(await lab.sync())


async def test_keys_written_otherwise_and_the_same(make_lab: MakeLab) -> None:
    """A template that is written in another way and makes the same keys makes nobody leave, now or later."""
    lab, _ = await synced(make_lab)
    lab.edit("project", "site: test", "site: test-user")
    for name in ("student", "enrolment"):
        lab.edit(name, '"{site}-user-', '"{site}-')
    result = await lab.sync(rekey=("student", "enrolment"))
    assert (3, {"created": 3, "marked_left": 3}) == (result.of("student").unchanged, written(result))
    for _ in range(3):
        assert {} == written(await lab.sync())
    assert 3 == lab.store.count_active("student")


async def test_rekey_of_keys_that_are_as_they_were(make_lab: MakeLab) -> None:
    """There is nothing to make anew, and the command says so."""
    lab, _ = await synced(make_lab)
    with pytest.raises(UsageError, match="student makes the keys that its cases have"):
        await lab.sync(rekey=("student",))
    with pytest.raises(UsageError, match="no enabled mapping 'studnet'"):
        await lab.sync(rekey=("studnet",))


async def test_rekey_is_said_again_after_a_stop(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run died when it had taken in half of the word: the same command goes on, once."""
    lab, _ = await synced(make_lab)
    lab.edit("project", "site: test", "site: other")
    real, both = Store.replace_keys, ("student", "enrolment")

    def last(store: Store, *given: Any) -> int:
        """Take the word about one mapping in, and die."""
        real(store, *given)
        raise Killed

    monkeypatch.setattr(Store, "replace_keys", last)
    with pytest.raises(Killed):
        await lab.sync(rekey=both)
    monkeypatch.undo()
    assert {"created": 6, "marked_left": 6} == written(await lab.sync(rekey=both))
    with pytest.raises(UsageError, match="nothing to make anew"):
        await lab.sync(rekey=both)


async def test_rekey_waits_for_writes_in_doubt(make_lab: MakeLab) -> None:
    """While the first write of a case is unknown nobody can say which old cases there are."""
    site, _, _ = site_of(3)
    lab = make_lab(site)
    lab.rest = 3 * 3600.0
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    other_keys(lab)
    result = await lab.sync(rekey=("student",))
    assert ("waiting", {}) == (result.state, written(result))
    assert "still waiting to be confirmed" in result.messages[-1]


async def test_a_run_killed_while_rekeying_is_caught_up(make_lab: MakeLab) -> None:
    """The word of a person stands once it is in the books: the next ordinary run makes the rest."""
    lab, _ = await synced(make_lab)
    other_keys(lab)
    lab.commcare.fail_next("refused", times=100)
    assert "postponed" == (await lab.sync(rekey=("student",))).state
    lab.commcare.faults.clear()
    result = await lab.sync()
    assert (3, 3) == (result.of("student").created, result.of("student").marked_left)
    assert {} == written(await lab.sync())


@pytest.mark.parametrize("how", ["stopped and taken back", "the same keys", "books of before"])
async def test_who_has_a_key_of_now_does_not_leave_by_one_read(make_lab: MakeLab, how: str) -> None:
    """Their course was not read when keys were changed: it takes two reads, and many are asked about."""
    site, courses, learners = site_of(8, 8)
    lab = make_lab(site)
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0] + "\n"
    (lab.mappings / "enrolment.yaml").write_text(text)
    await lab.sync()
    lab.denied.add(courses[1])
    if how == "the same keys":
        lab.edit("project", "site: test", "site: te")
        for file in lab.mappings.glob("*.yaml"):
            file.write_text(file.read_text().replace("{site}-", "{site}st-"))
        await lab.sync(rekey=("student", "enrolment"))
    else:
        lab.edit("enrolment", "{site}-enrol-", "{site}-member-")
        lab.commcare.fail_next("refused", times=100)
        await lab.sync(rekey=("enrolment",))
        lab.commcare.faults.clear()
        lab.edit("enrolment", "{site}-member-", "{site}-enrol-")
    await lab.sync()
    if how == "books of before":
        rows = {
            RowId("enrolment", courses[1], key): "replaced" for key in lab.store.cases("enrolment", courses[1])
        }
        lab.store.settle(rows)
    lab.denied.clear()
    for learner in learners[8:15]:
        site.unenrol(courses[1], learner)
    await lab.sync()
    assert {"active"} == {case.properties["enrolment_status"] for case in enrolments_in(lab, courses[1])}
    assert "waiting" == (await lab.sync()).state
    assert {"active"} == {case.properties["enrolment_status"] for case in enrolments_in(lab, courses[1])}


async def test_the_old_keys_are_back_after_a_stopped_rekey(make_lab: MakeLab) -> None:
    """Nothing was made under the new ones: nobody is asked, nothing is sent, and cases are what they were."""
    lab, _ = await synced(make_lab)
    lab.edit("enrolment", "{site}-enrol-", "{site}-member-")
    lab.commcare.fail_next("refused", times=100)
    await lab.sync(rekey=("enrolment",))
    lab.commcare.faults.clear()
    lab.edit("enrolment", "{site}-member-", "{site}-enrol-")
    assert [] == (await preview(lab.world(), Options(preview=True), 5)).stops
    result = await lab.sync()
    assert ("completed", {}, []) == (result.state, written(result), needs(lab.store))
    assert {"active"} == {case.status for case in lab.store.cases("enrolment", 2).values()}
    await quiet(lab, 1)


def swap_ids(lab: Lab) -> None:
    """Let the ids in the keys of enrolments change places."""
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0] + "\n"
    text = text.replace("{site}-enrol-{course.id}-{user.id}", "{site}-enrol-{user.id}-{course.id}")
    (lab.mappings / "enrolment.yaml").write_text(text)


@pytest.mark.parametrize("rekey", [(), ("enrolment",)])
async def test_ids_that_change_places_in_a_key_are_no_rekey(make_lab: MakeLab, rekey: tuple[str, ...]) -> None:
    """Old and new keys have one form: the case of one could be taken for that of another, whatever is said."""
    lab, _ = await in_two_courses(make_lab)
    swap_ids(lab)
    (stop,) = (await preview(lab.world(), Options(preview=True), 5)).stops
    assert "new keys of enrolment look like the old ones" in stop
    result = await lab.sync(rekey=rekey)
    assert ("waiting", {}, []) == (result.state, written(result), needs(lab.store))
    assert "put another word into the external_id" in result.messages[-1]
    lab.edit("enrolment", "{site}-enrol-", "{site}-enrolled-")
    assert "has 6 cases under the old keys" in (await lab.sync()).messages[-1]
    result = await lab.sync(rekey=("enrolment",))
    assert {"created": 6, "marked_left": 6} == written(result)


async def test_cases_under_swapped_ids_that_were_made_leave(make_lab: MakeLab) -> None:
    """Books of before took the old keys for new ones: two reads lack those, and nobody is asked."""
    lab, _ = await in_two_courses(make_lab)
    swap_ids(lab)
    world = lab.world()
    (mapping,) = (one for one in world.project.mappings if one.name == "enrolment")
    lab.store.put("written:enrolment", keys_of(world, mapping))
    assert {"created": 6} == written(await lab.sync())
    assert {"marked_left": 6} == written(await lab.sync())
    await quiet(lab, 2)


@pytest.mark.parametrize("then", ["no", "yes"])
async def test_who_was_kept_out_before_a_stopped_rekey_is_so_after_it(make_lab: MakeLab, then: str) -> None:
    """Nobody is asked about them once more, and whoever is let in gets all that is written once."""
    lab, learners = await consenting(make_lab, 20)
    lab.edit("student", "city: {source: city,", "city: {source: city, write: once,")
    await lab.sync()
    for learner in learners[:8]:
        lab.site.update_user(learner, profile={"consent": "no"})
    await lab.sync()
    confirm_withdrawn(lab.store, 0, 8)
    await run(lab, 2)
    case = lab.case(f"test-user-{learners[0]}")
    assert not case.properties["city"]
    for name in ("student", "enrolment"):
        lab.edit(name, '"{site}-user-', '"{site}-person-')
    lab.commcare.fail_next("refused", times=100)
    await lab.sync(rekey=("student",))
    lab.commcare.faults.clear()
    for name in ("student", "enrolment"):
        lab.edit(name, '"{site}-person-', '"{site}-user-')
    if then == "yes":
        lab.site.update_user(learners[0], profile={"consent": "yes"})
    result = await lab.sync()
    assert ("completed", []) == (result.state, needs(lab.store))
    assert bool(case.properties["city"]) == (then == "yes")
    await quiet(lab, 1)


async def test_cases_of_courses_that_are_over_are_not_made_anew(make_lab: MakeLab) -> None:
    """They have old keys like the others, and the question tells both numbers."""
    site, courses, _ = site_of(3, 2)
    lab = make_lab(site)
    lab.edit("enrolment", "when_left:", "when_course_ends: {set: {enrolment_status: ended}}\nwhen_left:")
    await lab.sync()
    site.courses[courses[1]]["enddate"] = int(lab.clock.now()) + 1800
    await lab.sync()
    lab.edit("enrolment", "{site}-enrol-", "{site}-member-")
    (told,) = (await lab.sync()).messages
    assert "has 5 cases under the old keys: 3, all but those of courses that are over, would be made" in told


def enrolments_in(lab: Lab, course: int) -> list[Case]:
    """Return the enrolments of a course."""
    return [case for case in lab.project.of_type("enrolment") if f"-{course}-" in (case.external_id or "")]


# --- case types -------------------------------------------------------------------------------------------


def rename_type(lab: Lab, old: str = "student", new: str = "pupil") -> None:
    """Give people another case type, and say so in the mappings of their children."""
    for name in ("student", "enrolment", "engagement"):
        text = (lab.mappings / f"{name}.yaml").read_text()
        for word in ("case_type", "same_as"):
            text = text.replace(f"{word}: {old}", f"{word}: {new}")
        (lab.mappings / f"{name}.yaml").write_text(text)


def types_of(lab: Lab) -> set[tuple[str, str]]:
    """Return the case types of people, and what their enrolments say of it."""
    cases = lab.project.cases.values()
    students = {case.case_type for case in cases if (case.external_id or "").startswith("test-user-")}
    parents = {case.indices["student"]["case_type"] for case in lab.project.of_type("enrolment")}
    return {(one, other) for one in students for other in parents}


async def test_another_case_type_goes_to_every_case(make_lab: MakeLab) -> None:
    """It is told, each case is sent its type alone and each child its index, and then nothing more."""
    lab, _ = await synced(make_lab)
    rename_type(lab)
    before = len(lab.project.forms)
    result = await lab.sync()
    assert ("completed", {"updated": 6}) == (result.state, written(result))
    assert ["case_type"] == result.edits["student"]["edited"]
    assert any("The case type of student.yaml was edited" in text for text in result.messages)
    assert {("pupil", "pupil")} == types_of(lab)
    sent = [(row["case_type"], "properties" in row, "indices" in row) for row in lab.rows_sent(before)]
    assert sorted([("pupil", False, False)] * 3 + [("enrolment", False, True)] * 3) == sorted(sent)
    for _ in range(2):
        assert ("completed", {}, {}) == ((again := await lab.sync()).state, written(again), again.edits)
    rename_type(lab, "pupil", "student")
    await quiet(lab)
    assert {("student", "student")} == types_of(lab)


async def test_a_preview_of_another_case_type(make_lab: MakeLab) -> None:
    """It counts the cases that would be changed, and writes nothing down."""
    lab, learners = await synced(make_lab, 8)
    lab.site.unenrol(2, learners[0])
    for _ in range(2):
        await lab.sync()
    rename_type(lab)
    world = lab.world()
    seen = await preview(world, Options(preview=True), 20)
    assert {("student", "case_type"): 8, ("enrolment", "student"): 7} == dict(seen.properties)
    assert ["student"] == [name for name, told in seen.result.edits.items() if "case_type" in told["edited"]]
    assert [] == seen.stops
    result = await lab.sync()
    assert {"updated": 8 + 7} == written(result)


async def test_who_is_read_no_more_takes_the_new_type_as_well(make_lab: MakeLab) -> None:
    """Who left, who is kept out, and who was closed: only the type is sent, once, and they stay what they are."""
    lab, learners = await consenting(make_lab)
    lab.edit(
        "student",
        "when_left: {set: {moodle_status: left}}",
        "when_left: {set: {moodle_status: left}, close: true}",
    )
    lab.site.unenrol(2, learners[0])
    lab.site.update_user(learners[1], profile={"consent": "no"})
    await quiet(lab)
    statuses = {key: case.status for key, case in lab.store.cases("student", 0).items()}
    rename_type(lab)
    before = len(lab.project.forms)
    assert {"updated": 10 + 8} == written(await lab.sync())
    assert all("properties" not in row for row in lab.rows_sent(before))
    await quiet(lab)
    assert {"pupil": 10} == Counter(c.case_type for c in lab.project.cases.values() if c.case_type != "enrolment")
    assert statuses == {key: case.status for key, case in lab.store.cases("student", 0).items()}
    assert lab.case(f"test-user-{learners[0]}").closed
    assert [] == (await audited(lab)).findings


@pytest.mark.parametrize("arrived", [True, False])
async def test_another_case_type_without_an_answer(make_lab: MakeLab, arrived: bool) -> None:
    """The answers about the type are lost: it is sent again, and who had left has left."""
    lab, learners = await synced(make_lab, 8)
    lab.site.unenrol(2, learners[0])
    await quiet(lab)
    rename_type(lab)
    (lab.commcare.drop_reply_after_commit if arrived else lambda times: lab.commcare.fail_next("timeout", times))(
        times=3
    )
    await quiet(lab, 6)
    assert {("pupil", "pupil")} == types_of(lab) - {("pupil", "student")}
    left = lab.case(f"test-user-{learners[0]}")
    assert ("left", "left") == (
        left.properties["moodle_status"],
        lab.store.cases("student", 0)[left.external_id].status,
    )


async def test_a_mark_without_an_answer_rests_before_the_new_type(make_lab: MakeLab) -> None:
    """Who was to be marked as left, and may not be yet, is sent nothing before the rest, not the type either."""
    lab, learners = await synced(make_lab, 8)
    key = f"test-user-{learners[0]}"
    lab.site.unenrol(2, learners[0])
    await lab.sync()
    lab.commcare.late_write(900.0)
    await lab.sync()
    rename_type(lab)
    before = len(lab.project.forms)
    await lab.sync(later=60.0)
    case = lab.case(key)
    assert [] == [row for row in lab.rows_sent(before) if case.case_id in (row.get("case_id"), key)]
    await quiet(lab)
    assert ("left", "pupil") == (lab.case(key).properties["moodle_status"], lab.case(key).case_type)


async def test_a_run_killed_while_types_change_is_caught_up(make_lab: MakeLab) -> None:
    """CommCare takes nothing that day: meanwhile an audit calls nobody deleted, and the next run goes on."""
    lab, _ = await synced(make_lab)
    rename_type(lab)
    lab.commcare.fail_next("refused", times=100)
    assert "postponed" == (await lab.sync()).state
    lab.commcare.faults.clear()
    assert {} == dict(+(await audited(lab)).counts)
    await quiet(lab)
    assert {("pupil", "pupil")} == types_of(lab)


@pytest.mark.parametrize("how", ["in doubt", "refused", "refused and taken back"])
async def test_who_could_not_take_the_new_type_takes_it_later(make_lab: MakeLab, how: str) -> None:
    """Who left, and whose last write is in doubt or was refused, is waited for: then the edit is done."""
    lab, learners = await synced(make_lab, 8)
    case = lab.case(f"test-user-{learners[0]}")
    lab.site.unenrol(2, learners[0])
    await quiet(lab)
    rename_type(lab)
    if how == "in doubt":
        lab.commcare.fail_next("timeout", times=3)
        await lab.sync()
        await lab.sync(later=300.0)
    else:
        lab.commcare.refuse_row(case.case_id, "Error in row 1: nonsense")
        await quiet(lab, 2)
        assert is_open(lab)
        lab.commcare.accept_rows()
        if how == "refused":
            retry(lab.store, lab.clock.now())
        else:
            rename_type(lab, "pupil", "student")
    await quiet(lab)
    assert ("student" if how == "refused and taken back" else "pupil") == lab.case(case.external_id).case_type
    assert not is_open(lab)


async def test_a_type_that_was_given_up_ends_the_edit(make_lab: MakeLab) -> None:
    """A person dropped the case that CommCare refuses: nobody looks for it any more."""
    lab, learners = await synced(make_lab, 8)
    lab.site.unenrol(2, learners[0])
    await quiet(lab)
    rename_type(lab)
    lab.commcare.refuse_row(lab.case(f"test-user-{learners[0]}").case_id, "Error in row 1: nonsense")
    await quiet(lab, 2)
    drop(lab.store, f"test-user-{learners[0]}", lab.clock.now())
    await quiet(lab, 2)
    assert not is_open(lab)


def is_open(lab: Lab) -> bool:
    """Say whether some students may be of another type still."""
    return bool(json.loads(lab.store.get("case_types:student") or "")["open"])


@pytest.mark.parametrize("close", ["", ", close: true"])
@pytest.mark.parametrize("books", ["lost an answer", "put back"])
async def test_the_new_type_goes_to_whom_the_books_know_little_of(
    make_lab: MakeLab, books: str, close: str
) -> None:
    """An answer about who left was lost, or the books were put back, long before the case type is edited."""
    lab, learners = await synced(make_lab, 8)
    lab.in_a_file()
    lab.edit("student", "{moodle_status: left}", f"{{moodle_status: left}}{close}")
    lab.site.unenrol(2, learners[0])
    await lab.sync()
    if books == "lost an answer":
        lab.commcare.drop_reply_after_commit()
    await quiet(lab)
    if books == "put back":
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
        await quiet(lab)
    rename_type(lab)
    await quiet(lab)
    assert "pupil" == lab.case(f"test-user-{learners[0]}").case_type
    assert {} == written(await lab.sync())
    lab.site.enrol(2, learners[0])
    await quiet(lab, 2)
    back = lab.case(f"test-user-{learners[0]}{'~2' if close else ''}")
    assert ("active", "pupil", False) == (back.properties["moodle_status"], back.case_type, back.closed)


async def in_two_courses(make_lab: MakeLab, project: str = PROJECT) -> tuple[Lab, list[int]]:
    """Return a lab that has run twice, whose three learners of each course have enrolments, and the courses."""
    site, courses, _ = site_of(3, 3)
    lab = make_lab(site, project=project)
    await lab.sync()
    await lab.sync()
    return lab, courses


def rename_enrolments(lab: Lab) -> None:
    """Give enrolments another case type."""
    text = (lab.mappings / "enrolment.yaml").read_text()
    (lab.mappings / "enrolment.yaml").write_text(text.replace("case_type: enrolment", "case_type: membership"))


async def test_the_new_type_goes_to_dirty_cases_of_a_course_that_nobody_reads(make_lab: MakeLab) -> None:
    """The course was taken out of project.yaml, and the books were put back: its active cases get the type."""
    lab, _ = await in_two_courses(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    lab.edit("project", 'shortname_like: "*"', 'shortname_like: "C0"')
    await lab.sync()
    lab.restore(backup)
    await quiet(lab)
    rename_enrolments(lab)
    await quiet(lab)
    assert {"membership", "student"} == {case.case_type for case in lab.project.cases.values()}
    assert not json.loads(lab.store.get("case_types:enrolment") or "")["open"]


@pytest.mark.parametrize("how", ["hidden", "held back"])
async def test_who_was_parked_after_the_backup_gets_the_case_back_after_another_type(
    make_lab: MakeLab, how: str
) -> None:
    """Known by its type alone, a case may have any owner: whoever is read again is looked at like one back."""
    site, courses, (person, *_) = site_of(3, 3)
    lab = make_lab(site, project=PARKING)
    lab.in_a_file()
    parked = lab.project.add_group("Parking")
    lab.edit("student", LEFT, f"{LEFT[:-1]}, park: true}}")
    await lab.sync()
    case = lab.case(f"test-user-{person}")
    owner, backup = case.owner_id, lab.store.back_up(lab.clock.now())
    assert backup is not None
    site.unenrol(courses[0], person)
    await run(lab, 2)
    assert (parked, "left") == (case.owner_id, case.properties["moodle_status"])
    lab.restore(backup)
    site.enrol(courses[0], person)
    if how == "hidden":
        site.courses[courses[0]]["visible"] = 0
    else:
        site.update_user(person, lastname="")
    await lab.sync()
    rename_type(lab)
    for _ in range(2):
        await lab.sync()
    assert ("pupil", parked) == (case.case_type, case.owner_id)
    site.courses[courses[0]]["visible"] = 1
    site.update_user(person, lastname="Last0")
    await run(lab, 2)
    assert (owner, "active") == (case.owner_id, case.properties["moodle_status"])
    assert {} == written(await lab.sync())


async def test_a_preview_counts_types_in_a_course_that_is_over(make_lab: MakeLab) -> None:
    """Nobody reads the cases there, and the run sends them their type."""
    lab, courses = await in_two_courses(make_lab)
    lab.site.courses[courses[1]]["enddate"] = int(lab.clock.now()) + 60
    await lab.sync()
    rename_enrolments(lab)
    seen = await preview(lab.world(), Options(preview=True), 20)
    assert 6 == seen.result.of("membership").updated == (await lab.sync()).of("membership").updated
    await quiet(lab)


async def test_a_preview_counts_each_case_once_that_takes_a_type(make_lab: MakeLab) -> None:
    """Whoever is back, whose case is dirty, and who is missing from the read: as the run does it."""
    lab, courses = await in_two_courses(make_lab)
    for person in (away := [*lab.site.members_of(courses[0])][:2]):
        lab.site.unenrol(courses[0], person)
    await quiet(lab)
    for person in away:
        lab.site.enrol(courses[0], person)
    lab.site.unenrol(courses[1], (missing := [*lab.site.members_of(courses[1])])[0])
    void(lab.store, [RowId("enrolment", courses[1], f"test-enrol-{courses[1]}-{missing[1]}")], lab.clock.now())
    rename_enrolments(lab)
    seen = await preview(lab.world(), Options(preview=True), 20)
    assert 6 == seen.result.of("membership").updated == (await lab.sync()).of("membership").updated
    await quiet(lab)


@pytest.mark.parametrize("others", [0, 2])
async def test_the_books_are_older_than_the_new_type(make_lab: MakeLab, others: int) -> None:
    """Books put back from before the edit take no case of ours for one of others; those are asked about."""
    lab, _ = await synced(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    rename_type(lab)
    await quiet(lab, 2)
    for number in range(others):
        lab.project.add_case("pupil", f"Theirs {number}")
    lab.restore(backup)
    assert ("waiting" if others else "completed") == (await lab.sync()).state
    assert 3 + others == len(lab.project.of_type("pupil"))
    assert [] == lab.project.of_type("student")


async def test_cases_that_have_the_new_type_are_asked_about(make_lab: MakeLab) -> None:
    """Others made cases of that type: nothing is sent before a person agrees that ours stand beside them."""
    lab, _ = await synced(make_lab)
    for number in range(2):
        lab.project.add_case("pupil", f"Theirs {number}")
    rename_type(lab)
    world = lab.world()
    assert 1 == len((await preview(world, Options(preview=True), 5)).stops)
    result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))
    assert any("confirm-existing student --count 2" in text for text in result.messages)
    assert [("existing-cases", 2)] == [(need.kind, need.count) for need in needs(lab.store)]
    confirm_existing(lab.store, "student", 2)
    assert ("completed", {"updated": 6}) == ((result := await lab.sync()).state, written(result))
    assert (5, []) == (len(lab.project.of_type("pupil")), needs(lab.store))
    await quiet(lab)


# --- who is kept out, and other keys ----------------------------------------------------------------------


PRIVATE = ("first_name", "last_name", "city")


def pupils(lab: Lab) -> None:
    """Let people have other keys, and their children point to those."""
    lab.edit("student", "{site}-user-{id}", "{site}-pupil-{id}")
    for name in ("enrolment", "engagement"):
        lab.edit(name, "{site}-user-{user.id}", "{site}-pupil-{user.id}")


def private_of(lab: Lab, key: str) -> list[str]:
    """Return what the case of a key says of its person."""
    return [lab.case(key).properties[name] for name in PRIVATE]


async def quiet(lab: Lab, times: int = 4) -> None:
    """Run some times; the last run has nothing to say."""
    for _ in range(times):
        result = await lab.sync()
    assert ("completed", {}) == (result.state, written(result))


@pytest.mark.parametrize("gone", [False, True])
async def test_who_is_to_be_emptied_is_so_under_the_old_key(make_lab: MakeLab, gone: bool) -> None:
    """CommCare took nothing of a withdrawal, and then the keys become others: the old case is emptied."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    lab.commcare.fail_next("503", times=100)
    await lab.sync()
    lab.commcare.faults.clear()
    if gone:
        lab.site.unenrol(2, learners[0])
    pupils(lab)
    assert 9 == (await lab.sync(rekey=("student",))).of("student").created
    await quiet(lab, 6)
    assert ["", "", ""] == private_of(lab, f"test-user-{learners[0]}")
    assert [] == lab.project.by_external_id(f"test-pupil-{learners[0]}")


@pytest.mark.parametrize("lost", [False, True])
async def test_who_says_no_in_the_hour_of_other_keys_is_emptied(make_lab: MakeLab, lost: bool) -> None:
    """There is no case under the new key to be emptied: the old one is, not only marked as left."""
    lab, learners = await consenting(make_lab)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    pupils(lab)
    if lost:
        lab.commcare.fail_next("503", times=100)
        await lab.sync(rekey=("student",))
        lab.commcare.faults.clear()
    await lab.sync(**({} if lost else {"rekey": ("student",)}))
    await quiet(lab)
    assert ["", "", ""] == private_of(lab, f"test-user-{learners[0]}")
    assert "left" == lab.case(f"test-user-{learners[1]}").properties["moodle_status"]
    assert "Kisumu" == lab.case(f"test-user-{learners[1]}").properties["city"]


async def test_who_says_no_after_other_keys_is_emptied_under_both(make_lab: MakeLab) -> None:
    """The case under the old key was marked as left when the keys changed: it holds the same values."""
    lab, learners = await consenting(make_lab)
    pupils(lab)
    await lab.sync(rekey=("student",))
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await quiet(lab)
    for key in (f"test-user-{learners[0]}", f"test-pupil-{learners[0]}"):
        assert ["", "", ""] == private_of(lab, key)
    assert "Kisumu" == lab.case(f"test-user-{learners[1]}").properties["city"]


async def test_many_who_say_no_with_other_keys_are_asked_about(make_lab: MakeLab) -> None:
    """To make other keys is no word to empty: their old cases stay as they are until there is one."""
    lab, learners = await consenting(make_lab)
    for learner in learners[:6]:
        lab.site.update_user(learner, profile={"consent": "no"})
    pupils(lab)
    for number in range(3):
        result = await lab.sync(**({} if number else {"rekey": ("student",)}))
        assert "waiting" == result.state
    case = lab.case(f"test-user-{learners[0]}")
    assert ("active", "Kisumu") == (case.properties["moodle_status"], case.properties["city"])
    for place in (0, 2):
        confirm_withdrawn(lab.store, place, 6)
    await quiet(lab)
    assert [["", "", ""]] * 6 == [private_of(lab, f"test-user-{learner}") for learner in learners[:6]]


# --- elements ---------------------------------------------------------------------------------------------


async def graded(make_lab: MakeLab, **values: str) -> tuple[Lab, list[int], list[int]]:
    """Return a lab with two graded activities of one course: lab, learners, grade items."""
    site, courses, learners = site_of(3)
    items = [site.set_grade_item(courses[0], name) for name in ("Quiz", "Essay")]
    for item in items:
        for learner in learners:
            site.grade(item, learner, 80)
    lab = make_lab(site, **values)
    await lab.sync()
    return lab, learners, items


def delete_item(lab: Lab, item: int) -> None:
    """Delete a graded activity in Moodle."""
    for book in lab.site.gradebooks.values():
        book.items[:] = [found for found in book.items if found.id != item]


async def test_a_vanished_activity_is_emptied_after_two_reads(make_lab: MakeLab) -> None:
    """The property of a deleted activity is emptied by the second run that lacks it, once; others stay."""
    lab, learners, items = await graded(make_lab)
    delete_item(lab, items[0])
    await lab.sync()
    key = f"test-enrol-2-{learners[0]}"
    assert "80" == lab.case(key).properties[f"grade_{items[0]}"]
    assert {"updated": 3} == written(await lab.sync())
    assert ("", "80") == tuple(lab.case(key).properties[f"grade_{item}"] for item in items)
    assert {} == written(await lab.sync())


async def test_what_is_written_once_stays_when_its_activity_vanishes(make_lab: MakeLab) -> None:
    """A grade that is sent once belongs to CommCare from then on: it is not emptied."""
    lab, learners, items = await graded(make_lab)
    lab.edit("enrolment", "  grades:\n", "  grades:\n    write: once\n")
    await lab.sync()
    delete_item(lab, items[0])
    assert [{}] * 3 == [written(await lab.sync()) for _ in range(3)]
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties[f"grade_{items[0]}"]


async def test_activities_that_vanish_together_are_asked_about(make_lab: MakeLab) -> None:
    """A lost right hides all assignments at once: nothing is emptied before a person agreed."""
    lab, learners, items = await graded(make_lab)
    lab.moodle.revoke("mod/assign:view")
    for _ in range(3):
        result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))
    assert any(f"confirm-blanks enrolment grade_{items[0]} --count 3" in message for message in result.messages)
    lab.moodle.allow("mod/assign:view")
    assert ("completed", {}) == ((again := await lab.sync()).state, written(again))
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties[f"grade_{items[0]}"]


@pytest.mark.parametrize(("sizes", "module"), [((2,) * 6, "assign"), ((5, 5, 5), "quiz"), ((6, 6), "quiz")])
async def test_activities_that_vanish_in_many_courses_are_asked_about(
    make_lab: MakeLab, sizes: tuple[int, ...], module: str
) -> None:
    """A lost right hides them in all courses: however few learn there, however little goes, a person is asked."""
    site, courses, _ = site_of(*sizes)
    grades = []
    for course in courses:
        item = site.set_grade_item(course, "One", module=module)
        if module == "quiz":
            site.set_grade_item(course, "Other")
        for learner in site.members_of(course):
            site.grade(item, learner, 70)
            grades.append((f"test-enrol-{course}-{learner}", f"grade_{item}"))
    lab = make_lab(site)
    await lab.sync()
    lab.moodle.revoke(f"mod/{module}:view")
    for _ in range(3):
        result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))
    assert {"70"} == {lab.case(key).properties[name] for key, name in grades}
    for name in {name for _, name in grades}:
        count = sum(one == name for _, one in grades)
        await lab.books.do(confirm_blanks, lab.store, "enrolment", name, count)
    assert {"updated": len(grades)} == written(await lab.sync())
    assert {""} == {lab.case(key).properties[name] for key, name in grades}


@pytest.mark.parametrize("gone", [1, 2])
async def test_of_a_large_course_one_activity_is_a_deletion(make_lab: MakeLab, gone: int) -> None:
    """With two it may be a right that was lost, also where there is only one course and others of it stay."""
    site, courses, learners = site_of(12)
    items = [site.set_grade_item(courses[0], name) for name in ("Quiz", "Essay", "Test")]
    for item in items:
        for learner in learners:
            site.grade(item, learner, 80)
    lab = make_lab(site)
    await lab.sync()
    for item in items[:gone]:
        delete_item(lab, item)
    await lab.sync()
    result = await lab.sync()
    expected = ("completed", {"updated": 12}) if gone == 1 else ("waiting", {})
    assert expected == (result.state, written(result))


async def test_grades_that_are_not_sent_do_not_vanish(make_lab: MakeLab) -> None:
    """Somebody suspended has no list at all: nothing of it is emptied, however often it is read."""
    lab, learners, items = await graded(make_lab)
    lab.site.suspend_enrolment(2, learners[0], suspended=True)
    for _ in range(4):
        await lab.sync()
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties[f"grade_{items[0]}"]


async def test_a_property_that_only_looks_like_an_element_is_kept(make_lab: MakeLab) -> None:
    """One that was taken out of the mapping stays, also when its name could be an element's."""
    lab, learners, _ = await graded(make_lab)
    text = (lab.mappings / "enrolment.yaml").read_text()
    start, end = text.index("  grade_percent:"), text.index("  result:")
    lab.edit("enrolment", text[start:end], "")
    text = (lab.mappings / "enrolment.yaml").read_text()
    lab.edit("enrolment", text[text.index("\ntests:") :], "\n")
    for _ in range(4):
        assert {} == written(await lab.sync())
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties["grade_percent"]


@pytest.mark.parametrize("edit", ["taken out", "named otherwise"])
async def test_elements_that_are_made_no_more_are_emptied_with_their_person(make_lab: MakeLab, edit: str) -> None:
    """What `one_property_per` made stays and is told by its names; it is remembered as what may be personal."""
    lab, learners, items = await graded(make_lab)
    lab.site.add_profile_field("consent")
    consent = '  - {source: profile.consent, is_not: "no"}\n'
    lab.edit("student", ROLES, f"{ROLES}{consent}")
    for learner in learners:
        lab.site.update_user(learner, profile={"consent": "yes"})
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    start, end = text.index("  grades:"), text.index("when_left:")
    old = text[start:end]
    new = "" if edit == "taken out" else old.replace('"grade_{key}"', '"score_{key}"')
    (lab.mappings / "enrolment.yaml").write_text(text.replace(old, new) + "\n")
    result = await lab.sync()
    assert any(f"'grade_{items[0]}: {{retire: clear}}'" in message for message in result.messages)
    assert not any("grades: {retire" in message for message in result.messages)
    case = lab.case(f"test-enrol-2-{learners[0]}")
    assert ([], "80") == ((await lab.sync()).messages, case.properties[f"grade_{items[0]}"])
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    assert [""] * 2 == [case.properties[f"grade_{item}"] for item in items]
    assert {} == written(await lab.sync())


async def test_elements_that_are_named_as_before_vanish_as_before(make_lab: MakeLab) -> None:
    """The pattern was edited and put back: a deleted activity is emptied, and what the other one made stays."""
    lab, learners, items = await graded(make_lab)
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0] + "\n"
    other = text.replace('"grade_{key}"', '"mark_{key}"')
    for one in (text, other, text):
        (lab.mappings / "enrolment.yaml").write_text(one)
        await lab.sync()
    delete_item(lab, items[0])
    await quiet(lab)
    case = lab.case(f"test-enrol-2-{learners[0]}")
    assert ["", "80", "80"] == [
        case.properties[name] for name in (f"grade_{items[0]}", f"grade_{items[1]}", f"mark_{items[0]}")
    ]
    known = json.loads(lab.store.get("prints:enrolment") or "")
    assert ([], {"mark_{key}": [f"mark_{one}" for one in items]}) == (known["removed"], known["elements"])


async def test_elements_in_books_of_before_stay_taken_out(make_lab: MakeLab) -> None:
    """Older books do not say by which pattern names were made: they are read, and remembered as they are."""
    lab, learners, items = await graded(make_lab)
    fact, name = "prints:enrolment", f"grade_{items[0]}"
    lab.store.put(fact, json.dumps(json.loads(lab.store.get(fact) or "") | {"removed": [name]}))
    delete_item(lab, items[0])
    await quiet(lab)
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties[name]
    assert [name] == json.loads(lab.store.get(fact) or "")["removed"]


async def test_an_index_that_is_taken_out_is_told(make_lab: MakeLab) -> None:
    """CommCare keeps an index under another name, and with it the case that the others belong to."""
    lab, _ = await synced(make_lab)
    lab.edit("enrolment", "indices:\n  student:", "indices:\n  learner:")
    result = await lab.sync()
    assert ["indices.student"] == result.edits["enrolment"]["removed"]
    assert any("indices.student is no longer in enrolment.yaml" in message for message in result.messages)
    assert [] == (await lab.sync()).messages


@pytest.mark.parametrize("how", ["in doubt", "put back"])
async def test_elements_of_who_is_suspended_while_sent_whole_are_not_forgotten(
    make_lab: MakeLab, how: str
) -> None:
    """A row sent whole without its list leaves the elements in the case, and the books know: they go with it."""
    lab, learners, items = await graded(make_lab)
    if how == "put back":
        lab.restore(lab.store.back_up(lab.clock.now()))
    lab.site.suspend_enrolment(2, learners[0], suspended=True)
    if how == "in doubt":
        lab.commcare.fail_next("timeout", times=1)
    for _ in range(3):
        await lab.sync()
    case = lab.case(f"test-enrol-2-{learners[0]}")
    assert ("80", {}) == (case.properties[f"grade_{items[0]}"], written(await lab.sync()))
    delete_item(lab, items[0])
    lab.site.suspend_enrolment(2, learners[0], suspended=False)
    for _ in range(3):
        await lab.sync()
    assert ("", {}) == (case.properties[f"grade_{items[0]}"], written(await lab.sync()))


async def test_what_an_app_wrote_is_no_element(make_lab: MakeLab) -> None:
    """A name that fits the pattern is an element's only where we sent it: else it stays, also of a dirty row."""
    lab, learners, items = await graded(make_lab)
    case = lab.case(f"test-enrol-2-{learners[0]}")
    case.properties["grade_level"] = "6"
    lab.site.grade(items[0], learners[0], 90)
    lab.commcare.fail_next("timeout", times=1)
    for _ in range(6):
        await lab.sync()
    assert ("6", "90") == (case.properties["grade_level"], case.properties[f"grade_{items[0]}"])


async def test_another_name_for_a_file_while_its_creates_are_in_doubt(make_lab: MakeLab) -> None:
    """CommCare is at work on what the mapping sent under its old name: nothing is made twice, and all is made."""
    site, _, _ = site_of(3)
    lab = make_lab(site, student=(SHIPPED / "student.yaml").read_text("utf-8"))
    (lab.mappings / "project.yaml").write_text(f"{PROJECT}intervals: {{people: 48}}\n")
    lab.commcare.late_write(900.0)
    await lab.sync()
    (lab.mappings / "student.yaml").rename(lab.mappings / "learner.yaml")
    assert {"in_doubt": 3} == written(await lab.sync(60.0))
    lab.commcare.advance(0.0)
    await lab.sync()
    lab.commcare.advance(0.0)
    assert (3, 3) == (len(lab.project.cases), lab.store.count_known("learner"))
    assert {} == written(await lab.sync(full=True))


@pytest.mark.parametrize("what", ["value", "left and back", "nothing"])
async def test_a_file_gets_its_old_name_again(make_lab: MakeLab, what: str) -> None:
    """What was written under the other name between is known: the books of the first one are not believed."""
    site, courses, learners = site_of(3)
    lab = make_lab(site, student=(SHIPPED / "student.yaml").read_text("utf-8"))
    (lab.mappings / "project.yaml").write_text(f"{PROJECT}intervals: {{people: 48}}\n")
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    site.update_user(learners[0], city="Kisumu")
    await lab.sync()
    (lab.mappings / "student.yaml").rename(lab.mappings / "learner.yaml")
    if what == "value":
        site.update_user(learners[0], city="Bondo")
    await lab.sync(full=True)
    case = lab.case(f"test-user-{learners[0]}")
    if what == "left and back":
        site.unenrol(courses[0], learners[0])
        for _ in range(3):
            await lab.sync(full=True)
        assert "left" == case.properties["moodle_status"]
        site.enrol(courses[0], learners[0])
    (lab.mappings / "learner.yaml").rename(lab.mappings / "student.yaml")
    site.update_user(learners[0], city="Kisumu")
    await lab.sync(full=True)  # the name alone has nothing read before its time
    assert ("Kisumu", "active") == (case.properties["city"], case.properties["moodle_status"])
    assert (3, {}) == (len(lab.project.cases), written(await lab.sync(full=True)))
