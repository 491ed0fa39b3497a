"""Chains: an answer lost, or books put back, and then an edit, a word or another write before that is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.merge import merge
from state import RowId
from tests.flows.match_lab import by_hand, declare, link, matched, sent
from tests.flows.match_lab import site_of as people_of
from tests.flows.test_back_whole import LEFT_CLOSES, ONCE, OUT, consent, refused_for_now
from tests.flows.test_departures import (
    CONSENT,
    ENROL_LEFT,
    LEFT,
    PARKING,
    close_extensions,
    closing,
    consenting,
    parking,
)
from tests.flows.test_earlier import lose_write
from tests.flows.test_edits import pupils, rename_type
from tests.flows.test_sync import site_of
from tests.flows.test_unsure import come_back, leave, private_of, run, status_of
from tests.flows.worlds import Lab, written
from tests.voided import void

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
PARK = ", park: true"


async def test_a_type_in_doubt_is_taken_back(make_lab: MakeLab) -> None:
    """CommCare took the new type of somebody who left, nobody heard of it, and the old one is put back."""
    site, _, learners = site_of(8)
    lab = make_lab(site)
    await lab.sync()
    leave(lab, learners[0])
    await run(lab, 2)
    rename_type(lab)
    lab.commcare.drop_reply_after_commit(times=3)
    await lab.sync()
    assert "pupil" == lab.case(f"test-user-{learners[0]}").case_type
    rename_type(lab, "pupil", "student")
    await run(lab, 3)
    assert ("student", "left") == (lab.case(f"test-user-{learners[0]}").case_type, status_of(lab, learners[0]))


# --- closed, as a later answer said -----------------------------------------------------------------------


async def closed_since(make_lab: MakeLab) -> tuple[Lab, int, Path]:
    """Return a lab, a learner whose case was closed, and a backup from before."""
    lab, learner = await closing(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    await lab.sync()
    assert lab.case(f"test-user-{learner}").closed
    return lab, learner, backup


async def test_closed_as_the_answer_said_and_gone_where_nothing_closes(make_lab: MakeLab) -> None:
    """Books put back hear from CommCare that a case is closed: that outlives an edit, and there is a next one."""
    lab, learner, backup = await closed_since(make_lab)
    lab.restore(backup)
    come_back(lab, learner)
    await lab.sync()
    leave(lab, learner)
    for name in ("student", "enrolment"):
        lab.edit(name, ", close: true", "")
    await run(lab, 3)
    come_back(lab, learner)
    await run(lab, 3)
    assert "active" == status_of(lab, f"{learner}~2")


async def test_closed_as_the_answer_said_and_gone_from_the_next_case(make_lab: MakeLab) -> None:
    """Who was back after the backup has a next case, and leaves again before a run has looked for it."""
    lab, learner, backup = await closed_since(make_lab)
    come_back(lab, learner)
    await run(lab, 2)
    assert "active" == status_of(lab, f"{learner}~2")
    lab.restore(backup)
    await lab.sync()
    leave(lab, learner)
    await run(lab, 4)
    assert ("left", True) == (status_of(lab, f"{learner}~2"), lab.case(f"test-user-{learner}~2").closed)


@pytest.mark.parametrize("lost", [False, True])
async def test_closed_as_the_answer_said_and_kept_out(make_lab: MakeLab, *, lost: bool) -> None:
    """The same of somebody who is kept out, and let in again; the answer to emptying the case may be lost."""
    lab, (person, *_) = await consenting(make_lab)
    lab.in_a_file()
    lab.edit("student", LEFT, f"{LEFT_CLOSES}\n{OUT}")
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    leave(lab, person)
    await run(lab, 2)
    come_back(lab, person)
    lab.restore(backup)
    await lab.sync()
    consent(lab, person, "no")
    if lost:
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    await run(lab, 3)
    assert (True, set()) == (lab.case(f"test-user-{person}").closed, private_of(lab, person))
    consent(lab, person, "yes")
    await run(lab, 3)
    assert "active" == status_of(lab, f"{person}~2")


@pytest.mark.parametrize("closes", [True, False])
async def test_closed_unheard_under_old_keys_that_are_made_again(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, *, closes: bool
) -> None:
    """Cases under the keys of before were closed, and nobody heard of it: with those keys there are next ones."""
    site, _, (person, *_) = site_of(3)
    lab = make_lab(site)
    for name in ("student", "enrolment"):
        text = (lab.mappings / f"{name}.yaml").read_text()
        (lab.mappings / f"{name}.yaml").write_text(text.partition("\ntests:")[0] + "\n")
    lab.edit("student", LEFT, LEFT_CLOSES)
    await lab.sync()
    pupils(lab)
    with monkeypatch.context() as patch:
        lose_write(patch, lab, 2, arrives=True)
        await lab.sync(rekey=("student",))
    assert (True, "replaced") == (
        lab.case(f"test-user-{person}").closed,
        lab.store.cases("student", 0)[f"test-user-{person}"].status,
    )
    for name in ("student", "enrolment", "engagement"):
        lab.edit(name, "{site}-pupil-{", "{site}-user-{")
    if not closes:
        lab.edit("student", ", close: true", "")
    await lab.sync(rekey=("student",))
    await run(lab, 3)
    assert ("active", False) == (status_of(lab, f"{person}~2"), lab.case(f"test-user-{person}~2").closed)


@pytest.mark.parametrize("lost", [0, 1])
async def test_closed_with_its_host_while_kept_out_and_let_in_unheard(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """CommCare closed the enrolment of somebody whose case we closed: there is a next one, whatever is lost."""
    lab, (person, *_) = await consenting(make_lab, extra=f"{OUT[:-1]}, close: true}}")
    close_extensions(lab)
    consent(lab, person, "no")
    await run(lab, 1)
    assert lab.case(f"test-enrol-2-{person}").closed
    consent(lab, person, "yes")
    with monkeypatch.context() as patch:
        lose_write(patch, lab, lost, arrives=True)
        await lab.sync()
    await run(lab, 4)
    host, child = lab.case(f"test-user-{person}~2"), lab.case(f"test-enrol-2-{person}~2")
    assert (False, False, host.case_id) == (host.closed, child.closed, child.indices["student"]["case_id"])


@pytest.mark.parametrize("lost", [None, 0, 1])
async def test_closed_with_its_host_unheard(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, lost: int | None
) -> None:
    """The same where nobody heard that both had left; an answer is lost to who comes back as well."""
    site, (course,), (person, *_) = site_of(8)
    lab = make_lab(site)
    lab.edit("student", LEFT, LEFT_CLOSES)
    close_extensions(lab)
    await lab.sync()
    site.unenrol(course, person)
    await lab.sync()
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert lab.case(f"test-enrol-{course}-{person}").closed
    site.enrol(course, person)
    with monkeypatch.context() as patch:
        if lost is not None:
            lose_write(patch, lab, lost, arrives=True)
        await lab.sync()
    await run(lab, 4)
    host, child = lab.case(f"test-user-{person}~2"), lab.case(f"test-enrol-{course}-{person}~2")
    assert (False, False, host.case_id) == (host.closed, child.closed, child.indices["student"]["case_id"])


# --- values -----------------------------------------------------------------------------------------------


async def emptied_and_back(lab: Lab, person: int) -> None:
    """Have somebody's case emptied, who leaves then; let him or her be back, and no run know of it yet."""
    lab.edit("student", *ONCE)
    await lab.sync()
    consent(lab, person, "no")
    await run(lab, 1)
    leave(lab, person)
    await run(lab, 2)
    consent(lab, person, "yes")
    come_back(lab, person)


@pytest.mark.parametrize("then", ["arrived", "never arrived", "books put back"])
async def test_emptied_and_left_and_back_unheard(make_lab: MakeLab, then: str) -> None:
    """What is written once comes back also where the books do not know any more that it was emptied."""
    lab, (person, *_) = await consenting(make_lab)
    lab.in_a_file()
    await emptied_and_back(lab, person)
    if then == "books put back":
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
    elif then == "arrived":
        lab.commcare.drop_reply_after_commit()
    else:
        lab.commcare.fail_next("timeout")
    await lab.sync()
    await run(lab, 3)
    assert ("Kisumu", "active") == (lab.case(f"test-user-{person}").properties["city"], status_of(lab, person))


async def test_emptied_and_back_unheard_where_the_key_is_there_twice(make_lab: MakeLab) -> None:
    """Nobody can say what the case holds: the record is held back, and the run goes on with the others."""
    lab, (person, other, *_) = await consenting(make_lab)
    await emptied_and_back(lab, person)
    lab.commcare.fail_next("timeout")
    await lab.sync()
    lab.project.add_case("student", "Twin", external_id=f"test-user-{person}")
    lab.site.update_user(other, country="KE")
    result = await lab.sync()
    assert (1, "KE") == (
        result.reasons["duplicate_external_id"],
        lab.case(f"test-user-{other}").properties["country"],
    )


async def test_what_is_called_personal_after_it_was_emptied(make_lab: MakeLab) -> None:
    """Of who is kept out that goes as well, once, and nobody is asked again about people who were agreed to."""
    lab, learners = await consenting(make_lab)
    for person in learners:
        lab.site.update_user(person, country="KE")
    await lab.sync()
    consent(lab, learners[0], "no")
    await run(lab, 1)
    lab.edit(
        "student", "country: {source: country, personal: false}", "country: {source: country, personal: true}"
    )
    await run(lab, 1)
    assert ["", "KE"] == [lab.case(f"test-user-{person}").properties["country"] for person in learners[:2]]
    sent = len(lab.project.forms)
    result = await lab.sync()
    assert ("completed", {}, {}, sent) == (
        result.state, written(result), result.requests["commcare"], len(lab.project.forms),
    )  # fmt: skip


async def test_emptied_and_let_in_unheard_and_left(make_lab: MakeLab) -> None:
    """Let in while CommCare took nothing, and marked as left: what is written once is missing, and comes back."""
    lab, (person, *_) = await consenting(make_lab)
    lab.edit("student", *ONCE)
    await lab.sync()
    consent(lab, person, "no")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert set() == private_of(lab, person)
    consent(lab, person, "yes")
    await refused_for_now(lab)
    leave(lab, person)
    await run(lab, 3)
    assert "left" == status_of(lab, person)
    come_back(lab, person)
    await run(lab, 3)
    assert "Kisumu" == lab.case(f"test-user-{person}").properties["city"]


@pytest.mark.parametrize("arrived", [True, False])
async def test_to_be_emptied_after_leaving_and_merged(make_lab: MakeLab, *, arrived: bool) -> None:
    """The case of a course that somebody left is emptied with its person, also when that becomes somebody else."""
    site, courses, (person, other, *_) = site_of(8, 8, shared=True)
    site.add_profile_field("consent")
    for one in (person, other):
        site.update_user(one, city="Kisumu", profile={"consent": "yes"})
    lab = make_lab(site)
    for name in ("student", "enrolment"):
        text = (lab.mappings / f"{name}.yaml").read_text()
        (lab.mappings / f"{name}.yaml").write_text(text.partition("\ntests:")[0] + "\n")
    lab.edit("student", "  - {source: roles, any_of: [student]}\n", CONSENT)
    town = "  town: {source: user.city, personal: true}\n"
    lab.edit("enrolment", "  enrolment_status:\n", f"{town}  enrolment_status:\n")
    await lab.sync()
    key = f"test-enrol-{courses[0]}-{person}"
    site.unenrol(courses[0], person)
    await run(lab, 2)
    assert ("left", "Kisumu") == tuple(lab.case(key).properties[name] for name in ("enrolment_status", "town"))
    consent(lab, person, "no")
    (lab.commcare.drop_reply_after_commit if arrived else lambda: lab.commcare.fail_next("429", times=8))()
    await lab.sync()
    lab.commcare.faults.clear()
    merge(lab.store, person, other, lab.clock.now())
    await run(lab, 4)
    assert ("", set()) == (lab.case(key).properties["town"], private_of(lab, person))


@pytest.mark.parametrize("heard", [True, False])
async def test_linked_after_a_case_was_made_unheard_and_kept_out(make_lab: MakeLab, *, heard: bool) -> None:
    """Who has a case of ours and is linked to one of others is emptied in both, also if we heard of one only."""
    site, (amina, *_) = people_of("Amina", "Brian", "Chebet", "David")
    site.add_profile_field("consent")
    yes, no = ({"dni": "ID-0001", "consent": answer} for answer in ("yes", "no"))
    site.update_user(amina, city="Gem", profile=yes)
    lab = make_lab(site)
    declare(lab)
    lab.edit("student", "  - {source: roles, any_of: [student]}\n", CONSENT)
    text = (lab.mappings / "student.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "student.yaml").write_text(text)
    await matched(lab)
    if not heard:
        lab.commcare.drop_reply_after_commit()
    await sent(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    if not heard:
        lab.commcare.fail_next("429", times=8)
        await sent(lab)
        lab.commcare.faults.clear()
    await matched(lab)
    link(lab, amina, case.case_id)
    for _ in range(2):
        await sent(lab)
    own = lab.case(f"test-user-{amina}")
    assert ("Amina", "Amina") == (case.properties["first_name"], own.properties["first_name"])
    site.update_user(amina, profile=no)
    for _ in range(2):
        await sent(lab)
    assert ("", "") == (case.properties["first_name"], lab.case(own.external_id).properties["first_name"])


# --- owners -----------------------------------------------------------------------------------------------


async def parked(make_lab: MakeLab, *, heard: bool = True) -> tuple[Lab, int, str]:
    """Return a lab in which a learner's case was parked, maybe without an answer, and the owner it had."""
    lab, learner, parking_lot = await parking(make_lab)
    before: str = lab.case(f"test-user-{learner}").owner_id
    if not heard:
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert parking_lot == lab.case(f"test-user-{learner}").owner_id
    return lab, learner, before


async def test_parked_and_sent_a_new_type_while_the_books_know_little(make_lab: MakeLab) -> None:
    """Nothing but the type is known of the case after that, and who comes back has the owner of before."""
    lab, learner, before = await parked(make_lab)
    void(lab.store, [RowId("student", 0, f"test-user-{learner}")], lab.clock.now())
    rename_type(lab)
    await run(lab, 1)
    come_back(lab, learner)
    await run(lab, 3)
    assert before == lab.case(f"test-user-{learner}").owner_id


async def test_parked_and_back_where_the_key_is_there_twice(make_lab: MakeLab) -> None:
    """Nobody can say who has the case: the record is held back, and the run goes on with the others."""
    lab, learner, _ = await parked(make_lab)
    lab.project.add_case("student", "Twin", external_id=f"test-user-{learner}")
    come_back(lab, learner)
    keys = {case.external_id for case in lab.project.cases.values()}
    other = next(one for one in lab.site.users if one != learner and f"test-user-{one}" in keys)
    lab.site.update_user(other, country="KE")
    result = await lab.sync()
    assert (1, "KE") == (
        result.reasons["duplicate_external_id"],
        lab.case(f"test-user-{other}").properties["country"],
    )


@pytest.mark.parametrize("heard", [True, False])
async def test_parked_and_back_unheard_where_nothing_parks(make_lab: MakeLab, *, heard: bool) -> None:
    """Two answers are lost, of parking and of what gave the case back, and then the mapping parks no more."""
    lab, learner, before = await parked(make_lab, heard=heard)
    come_back(lab, learner)
    lab.commcare.fail_next("timeout")
    await lab.sync()
    lab.edit("student", PARK, "")
    await run(lab, 3)
    assert before == lab.case(f"test-user-{learner}").owner_id


async def test_parked_unheard_and_seen_where_nothing_parks(make_lab: MakeLab) -> None:
    """The learner is seen while the write that parked the case rests."""
    lab, learner, before = await parked(make_lab, heard=False)
    come_back(lab, learner)
    await lab.sync(60.0)
    lab.edit("student", PARK, "")
    await run(lab, 3)
    assert before == lab.case(f"test-user-{learner}").owner_id


@pytest.mark.parametrize("how", ["over unheard", "back unheard", "books put back"])
async def test_parked_with_its_course_where_nothing_parks(make_lab: MakeLab, how: str) -> None:
    """A course goes on whose cases were parked, and its mapping parks no more."""
    site, courses, learners = site_of(8, 8, shared=True)
    lab = make_lab(site, project=PARKING)
    lab.in_a_file()
    parking_lot = lab.project.add_group("Parking")
    lab.edit("enrolment", ENROL_LEFT, f"{ENROL_LEFT}\nwhen_course_ends: {{set: {{enrolment_status: over}}{PARK}}}")
    lab.edit("enrolment", "owner: {same_as: student}", "owner: {otherwise: project, write: once}")
    text = (lab.mappings / "enrolment.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "enrolment.yaml").write_text(text)
    await lab.sync()
    key = f"test-enrol-{courses[0]}-{learners[0]}"
    before = lab.case(key).owner_id
    site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    if how == "over unheard":
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    assert parking_lot == lab.case(key).owner_id
    site.courses[courses[0]]["enddate"] = 0
    if how == "back unheard":
        lab.commcare.fail_next("timeout")
        await lab.sync()
    elif how == "books put back":
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
    lab.edit("enrolment", PARK, "")
    await run(lab, 3)
    assert ("active", before) == (lab.case(key).properties["enrolment_status"], lab.case(key).owner_id)
