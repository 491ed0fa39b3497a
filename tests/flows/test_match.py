"""People of Moodle against cases that are there: every class, what each decision does, and nothing doubles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adaptors.commcare.fake_project import Case
from adaptors.moodle.fake_site import FakeSite
from flows.decide import Decision
from flows.errors import UsageError
from flows.history import answer_of, past_of, past_of_run, what_happened
from flows.person import erase
from flows.result import RunState
from flows.steps.linked import Linked, Links, Look
from flows.steps.planned import Scope
from mappings.engine import CompiledMapping, Draft
from state import CaseRow, RowId
from tests.flows.match_lab import (
    BY_DNI,
    MAIL,
    by_hand,
    classes,
    counted,
    declare,
    link,
    link_all,
    matched,
    open_rows,
    refuse,
    say,
    sent,
    site_of,
)
from tests.flows.test_person import erased
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]


async def test_nobody_has_a_case(make_lab: MakeLab) -> None:
    """Without cases everybody is new, nothing is open, and a sync makes them."""
    site, _ = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    assert {"new": 2} == await classes(lab)
    assert [] == open_rows(lab)
    assert {"created": 2} == written(await sent(lab))
    assert {"linked": 2} == await classes(lab)


async def test_by_a_pair(make_lab: MakeLab) -> None:
    """A case with the same national id is a duplicate; linked, it is written to and keeps its own external id."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = lab.project.add_case(
        "student", "A. Otieno", external_id="CLINIC-9", properties={"national_id": "id-0001 "}
    )
    assert {"duplicate": 1, "new": 1} == await classes(lab)
    assert [(amina, case.case_id, "duplicate", "national_id", "")] == open_rows(lab)
    assert "Linked: 1 person." in link_all(lab, "duplicate", 1)
    assert {"created": 1, "updated": 1} == written(await sent(lab))
    assert ("CLINIC-9", f"test-user-{amina}", "Amina Otieno") == (
        case.external_id,
        case.properties["moodle_key"],
        case.case_name,
    )
    assert 2 == len(lab.project.cases)
    assert {} == written(await sent(lab))


async def test_by_rule(make_lab: MakeLab) -> None:
    """What `auto` names links by itself; who decided it is remembered."""
    site, _ = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab, "match: {by: [{moodle: profile.dni, commcare: national_id}], auto: [key, national_id]}")
    by_hand(lab, "Amina O", national_id="ID-0001")
    by_hand(lab, "Somebody", email="BRIAN@clinic.example.org")
    (found,) = (await matched(lab)).mappings
    assert ({"linked": 1, "unverified": 1}, 1) == (counted(found), found.linked_now)
    (row,) = lab.store.matches(decision="linked")
    assert ("rule", "national_id") == (row.decided_by, row.matched_by)


async def test_by_email(make_lab: MakeLab) -> None:
    """Addresses are compared without capitals, blanks, unseen signs and the width of letters."""
    site, _ = site_of("Amina", "Brian", "Chebet")
    lab = make_lab(site)
    for name, mail in (
        ("Amina Otieno", "  AMINA@Clinic.Example.ORG"),
        ("Brian Otieno", "brian\u200b@clinic.example.org"),
        ("Chebet Otieno", "\uff43hebet@clinic.example.org"),
    ):
        by_hand(lab, name, email=mail)
    assert {"duplicate": 3} == await classes(lab)


async def test_same_address_other_name(make_lab: MakeLab) -> None:
    """An address that a family shares is looked at; accents and the order of names make no other name."""
    site, (amina, brian) = site_of("Amina", "Brian")
    site.update_user(brian, firstname="Br\u00edan", lastname="\u00d3tieno")
    lab = make_lab(site)
    other = by_hand(lab, "Lucy Nyambura", email="amina@clinic.example.org")
    same = by_hand(lab, "OTIENO BRIAN", email="brian@clinic.example.org")
    await matched(lab)
    assert [
        (amina, other.case_id, "unverified", "email", "other_name"),
        (brian, same.case_id, "duplicate", "email", ""),
    ] == open_rows(lab)


@pytest.mark.parametrize(
    "mail", ["noreply@clinic.example.org", "amina@example.com", "none@none.org", "", "amina", "a@b@c"]
)
async def test_addresses_of_nobody(make_lab: MakeLab, mail: str) -> None:
    """A placeholder matches nobody, whoever has it in CommCare too."""
    site, (amina,) = site_of("Amina")
    site.update_user(amina, email=mail, profile={"dni": ""})
    lab = make_lab(site)
    by_hand(lab, "Somebody Else", email=mail)
    assert {"missing_email": 1} == await classes(lab)


async def test_addresses_of_several(make_lab: MakeLab) -> None:
    """An address that two people of Moodle have is neither's; one of the mapping's own patterns is nobody's."""
    site, (amina, brian, chebet) = site_of("Amina", "Brian", "Chebet")
    for person in (amina, brian):
        site.update_user(person, email="ward3@clinic.example.org", profile={"dni": ""})
    site.update_user(chebet, email="office@clinic.example.org", profile={"dni": ""})
    lab = make_lab(site)
    declare(lab, 'match: {ignore_emails: ["office@*"]}')
    by_hand(lab, "Ward Three", email="ward3@clinic.example.org")
    by_hand(lab, "The Office", email="office@clinic.example.org")
    assert {"missing_email": 3} == await classes(lab)
    assert ["shared_email", "shared_email", ""] == [row[4] for row in open_rows(lab)]


async def test_an_address_of_many_cases(make_lab: MakeLab) -> None:
    """An address that more cases have than anybody can look at tells nobody apart."""
    site, _ = site_of("Amina")
    lab = make_lab(site)
    for number in range(6):
        by_hand(lab, f"Somebody {number}", email="amina@clinic.example.org")
    assert {"new": 1} == await classes(lab)


async def test_likeness_alone(make_lab: MakeLab) -> None:
    """The same name, or the same phone, with another address is for a person to look at."""
    site, (amina, brian, _) = site_of("Amina", "Brian", "Chebet")
    lab = make_lab(site)
    name = by_hand(lab, "otieno  \u00c1mina", email="other@clinic.example.org")
    phone = by_hand(lab, "Somebody", contact_phone_number="254722000001")
    assert {"unverified": 2, "new": 1} == await classes(lab)
    assert [
        (amina, name.case_id, "unverified", "name", "same_name"),
        (brian, phone.case_id, "unverified", "phone", "same_phone"),
    ] == open_rows(lab)


async def test_likeness_of_a_case_that_is_somebodys(make_lab: MakeLab) -> None:
    """A case that is recognised as another person's is not offered because of its name."""
    site, (amina, other) = site_of("Amina", "Brian")
    site.update_user(other, firstname="Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina Otieno", national_id="ID-0001")
    assert {"duplicate": 1, "new": 1} == await classes(lab)
    assert [(amina, case.case_id)] == [row[:2] for row in open_rows(lab)]


async def test_two_candidates(make_lab: MakeLab) -> None:
    """Two cases that could be a person's wait for somebody; choosing one rejects the other."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    first, second = (by_hand(lab, f"Amina {n}", national_id="ID-0001") for n in (1, 2))
    assert {"unverified": 1} == await classes(lab)
    assert {"two_candidates"} == {row[4] for row in open_rows(lab)}
    link(lab, amina, second.case_id)
    assert {"updated": 1} == written(await sent(lab))
    assert ("", f"test-user-{amina}") == (first.properties.get("moodle_key", ""), second.properties["moodle_key"])
    assert {"linked": 1} == await classes(lab)
    assert [] == open_rows(lab)


async def test_identifiers_that_contradict(make_lab: MakeLab) -> None:
    """Pairs that name different cases, and an address of somebody with another identifier, are conflicts."""
    site, (amina, brian) = site_of("Amina", "Brian")
    site.update_user(amina, idnumber="S-1")
    lab = make_lab(site)
    pairs = "{moodle: profile.dni, commcare: national_id}, {moodle: idnumber, commcare: staff_no}"
    declare(lab, f"match: [{pairs}]")
    cases = [by_hand(lab, "A", national_id="ID-0001"), by_hand(lab, "B", staff_no="S-1")]
    by_hand(lab, "Brian Otieno", email="brian@clinic.example.org", national_id="ID-7777")
    assert {"conflict": 2} == await classes(lab)
    assert {"keys_disagree"} == {row[4] for row in open_rows(lab)}
    assert {case.case_id for case in cases} == {row[1] for row in open_rows(lab) if row[0] == amina}
    assert 1 == sum(row[0] == brian for row in open_rows(lab))


async def test_two_people_of_one_case(make_lab: MakeLab) -> None:
    """Two people whom one case could be are both asked about; one gets it, the other stays to be decided."""
    site, (amina, brian) = site_of("Amina", "Brian")
    site.update_user(brian, profile={"dni": "ID-0001"})
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    assert {"conflict": 2} == await classes(lab)
    with pytest.raises(UsageError, match=f"Two links name case {case.case_id}"):
        say(lab, *(Decision(person, case.case_id, True) for person in (amina, brian)))
    link(lab, amina, case.case_id)
    result = await sent(lab)
    assert ("waiting", {"updated": 1, "held_back": 1}) == (result.state, written(result))
    refuse(lab, brian, case.case_id)
    assert {"created": 1} == written(await sent(lab))


async def test_closed_cases(make_lab: MakeLab) -> None:
    """A closed case cannot be linked; rejected, a new one is made."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    lab.project.close_case(case.case_id)
    assert {"conflict": 1} == await classes(lab)
    with pytest.raises(UsageError, match=r"The case is closed.*match reject"):
        link(lab, amina, case.case_id)
    refuse(lab, amina, case.case_id)
    assert {"created": 1} == written(await sent(lab))
    assert {"linked": 1} == await classes(lab)


async def test_placeholders_of_identifiers(make_lab: MakeLab) -> None:
    """What is typed where there is no identifier matches nobody."""
    site, (amina, brian) = site_of("Amina", "Brian")
    for person, dni in ((amina, "0000"), (brian, "n/a")):
        site.update_user(person, profile={"dni": dni})
    lab = make_lab(site)
    declare(lab)
    by_hand(lab, "X", national_id="0000")
    by_hand(lab, "Y", national_id="N/A")
    assert {"new": 2} == await classes(lab)


async def test_external_ids_of_others(make_lab: MakeLab) -> None:
    """The external id that another system gave can be one half of a pair."""
    site, (amina,) = site_of("Amina")
    site.update_user(amina, idnumber="REG/77")
    lab = make_lab(site)
    declare(lab, "match: [{moodle: idnumber, commcare: external_id}]")
    lab.project.add_case("student", "Whoever", external_id="reg/77")
    assert {"duplicate": 1} == await classes(lab)


# --- the gate of a first run ---------------------------------------------------------------


async def test_the_gate(make_lab: MakeLab) -> None:
    """A first run names `match`, then those who wait, then goes on beside cases that are nobody's."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    by_hand(lab, "Somebody", national_id="X")
    result = await sent(lab)
    assert ("waiting", []) == (result.state, lab.project.forms)
    assert "2 cases of type 'student' that the books do not know" in result.messages[0]
    assert "`moodle-commcare match` finds out which of them are people of Moodle" in result.messages[0]
    await matched(lab)
    result = await sent(lab)
    assert ("waiting", []) == (result.state, lab.project.forms)
    assert "1 person waits for somebody to say whose they are" in result.messages[0]
    link(lab, amina, case.case_id)
    by_hand(lab, "New by hand")
    result = await sent(lab)
    assert "1 case came since they were matched" in result.messages[0]
    await matched(lab)
    assert {"created": 1, "updated": 1} == written(await sent(lab))


async def test_rejected_stays_rejected(make_lab: MakeLab) -> None:
    """What was rejected is never asked again, and the gate is open."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    refuse(lab, amina, case.case_id)
    assert {"new": 1} == await classes(lab)
    assert {"created": 1} == written(await sent(lab))
    assert {"linked": 1} == await classes(lab)


async def test_a_link_is_taken_back(make_lab: MakeLab) -> None:
    """A wrong link is rejected after all: its person gets a new case, and the one of the field is let alone."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    assert {"updated": 1} == written(await sent(lab))
    told = refuse(lab, amina, case.case_id)
    assert "Unlinked: 1 person. The next sync makes new cases; the old ones keep what was written to them." == told
    site.update_user(amina, city="Bondo")
    assert {"created": 1} == written(await sent(lab))
    assert "" == case.properties.get("city", "")
    assert f"test-user-{amina}~2" in {one.external_id for one in lab.project.of_type("student")}
    assert {"linked": 1} == await classes(lab)
    assert {} == written(await sent(lab))


async def test_a_link_of_who_has_left_stays(make_lab: MakeLab) -> None:
    """A person who gets no case now is not given a new one by a rejection."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    row = RowId("student", 0, f"test-user-{amina}")
    for status in ("left", "closed", "withdrawn", "erasing"):
        lab.store.settle({row: status})
        with pytest.raises(UsageError, match=rf"not active in student \(the case is marked: {status}\)"):
            refuse(lab, amina, case.case_id)
    assert case.case_id == lab.store.case_ids("student")[row.key]
    assert ["linked"] == [one.decision for one in lab.store.matches()]


async def test_enrolments_follow_when_a_link_is_taken_back(make_lab: MakeLab) -> None:
    """They hang under the new case afterwards, none under the one that was not the person's."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await lab.sync()
    parents = [one.indices["student"]["case_id"] for one in lab.project.of_type("enrolment")]
    assert [case.case_id] == parents
    refuse(lab, amina, case.case_id)
    await lab.sync()
    await lab.sync()
    (new,) = [one for one in lab.project.of_type("student") if one.case_id != case.case_id]
    assert [new.case_id] == [one.indices["student"]["case_id"] for one in lab.project.of_type("enrolment")]


async def test_a_link_under_way_is_not_taken_back(make_lab: MakeLab) -> None:
    """While nobody knows whether a write to the case arrived, the rejection has to wait."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    lab.commcare.drop_reply_after_commit()
    await sent(lab)
    assert "A write about 1 person is still waiting to be confirmed. Try again in half an hour." == refuse(
        lab, amina, case.case_id
    )
    assert case.case_id == lab.store.case_ids("student")[f"test-user-{amina}"]


async def test_a_match_is_told_in_the_history(make_lab: MakeLab) -> None:
    """By a rule in a match, by a person, taken back and rejected: the log of a key has it, without a value."""
    site, (amina, brian) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab, "match: {by: [{moodle: profile.dni, commcare: national_id}], auto: [national_id]}")
    case = by_hand(lab, "Amina", national_id="ID-0001")
    other = by_hand(lab, "Brian Otieno")
    found = await matched(lab)
    refuse(lab, brian, other.case_id)
    refuse(lab, amina, case.case_id)
    changes = past_of(lab.store, f"test-user-{amina}").changes
    assert [("linked by a rule", "has this case"), ("unlinked by a person", "")] == [
        (what_happened(one), answer_of(one)) for one in changes
    ]
    assert [found.run_id, ""] == [one.run for one in changes]
    (rejected,) = past_of(lab.store, f"test-user-{brian}").changes
    assert "case rejected by a person" == what_happened(rejected)
    assert 1 == past_of_run(lab.store, found.run_id, 10).total


async def test_a_preview_writes_nothing_down(make_lab: MakeLab) -> None:
    """Before and after linking, a preview leaves the books as they are and tells an update."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001", city="Bondo")
    await matched(lab)
    link(lab, amina, case.case_id)
    assert {"updated": 1} == written(await sent(lab, preview=True))
    assert {"test-user-" + str(amina): None} == lab.store.kept("student", [f"test-user-{amina}"])


async def test_later_people_wait_too(make_lab: MakeLab) -> None:
    """After a first run somebody new who has a case by hand is found by `match` and held back until decided."""
    site, _ = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    await sent(lab)
    late = site.add_user("Late", "Comer", profile={"dni": "L-1"})
    site.enrol(2, late)
    case = by_hand(lab, "Late", national_id="L-1")
    assert {"linked": 1, "duplicate": 1} == await classes(lab)
    result = await lab.sync()
    assert ("waiting", "match_undecided") == (result.state, *(r for r in result.reasons if r.startswith("match")))
    assert any("match list" in message for message in result.messages)
    link(lab, late, case.case_id)
    await lab.sync()
    assert (2, f"test-user-{late}") == (len(lab.project.of_type("student")), case.properties["moodle_key"])


# --- what the first write leaves alone ---------------------------------------------------------------


async def test_nothing_of_others_is_blanked(make_lab: MakeLab) -> None:
    """Blanks of Moodle empty nothing that was there, properties of others and an owner written once stay."""
    site, (amina,) = site_of("Amina")
    site.update_user(amina, phone1="", city="")
    site.enrol(2, site.add_user("Wit", "Ness", phone1="0722 000 999", city="Gem", phone2="0722 000 998"))
    lab = make_lab(site)
    declare(lab)
    case = by_hand(
        lab, "Amina", national_id="ID-0001", city="Bondo", contact_phone_number="254700000001", risk="high"
    )
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    kept = {"city": "Bondo", "contact_phone_number": "254700000001", "risk": "high", "national_id": "ID-0001"}
    assert kept == {name: case.properties[name] for name in kept}
    assert ("supervisor", "Amina") == (case.owner_id, case.properties["first_name"])
    assert {} == written(await sent(lab))
    site.update_user(amina, city="Gem")
    await sent(lab)
    site.update_user(amina, city="")
    await sent(lab)
    assert ("", "254700000001") == (case.properties["city"], case.properties["contact_phone_number"])


async def test_a_linked_case_that_the_search_lacks_is_not_blanked(make_lab: MakeLab) -> None:
    """What others wrote into it is not known just then: a blank of Moodle empties nothing, then or later."""
    site, (amina,) = site_of("Amina")
    site.update_user(amina, phone1="")
    site.enrol(2, site.add_user("Wit", "Ness", phone1="0722 000 999"))
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001", contact_phone_number="254700000001")
    await matched(lab)
    link(lab, amina, case.case_id)
    lab.project.search.remove(case.case_id)
    await sent(lab)
    assert ("Amina", "254700000001") == tuple(case.properties[n] for n in ("first_name", "contact_phone_number"))
    for _ in range(2):
        await sent(lab)
    assert "254700000001" == case.properties["contact_phone_number"]


async def test_a_row_in_doubt_blanks_nothing_either(make_lab: MakeLab) -> None:
    """Sent whole again after an answer that was lost, values of others are still there; ours are emptied."""
    site, (amina,) = site_of("Amina")
    site.update_user(amina, phone1="", city="Gem")
    site.enrol(2, site.add_user("Wit", "Ness", phone1="0722 000 999", city="Gem"))
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001", contact_phone_number="254700000001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    lab.commcare.drop_reply_after_commit()
    site.update_user(amina, lastname="Atieno")
    assert {"in_doubt": 1} == written(await sent(lab))
    site.update_user(amina, city="")
    await sent(lab)
    assert ("", "254700000001", "Atieno") == tuple(
        case.properties[name] for name in ("city", "contact_phone_number", "last_name")
    )


async def theirs(make_lab: MakeLab, *, is_sent: bool = True) -> tuple[Lab, int, Case]:
    """Give a lab with a linked case in which others wrote a city, and the person; consent decides who is sent."""
    site, (amina, *_) = site_of("Amina", "Brian", "Chebet", "David")
    site.add_profile_field("consent")
    site.update_user(amina, phone1="", city="", profile={"dni": "ID-0001", "consent": "yes"})
    site.enrol(2, site.add_user("Wit", "Ness", phone1="0722 000 999", city="Gem", phone2="0722 000 998"))
    lab = make_lab(site)
    declare(lab)
    roles = "  - {source: roles, any_of: [student]}\n"
    lab.edit("student", roles, f'{roles}  - {{source: profile.consent, is_not: "no"}}\n')
    lab.edit("student", (lab.mappings / "student.yaml").read_text().partition("\ntests:")[2], " []\n")
    case = by_hand(lab, "Amina", national_id="ID-0001", city="Bondo")
    await matched(lab)
    link(lab, amina, case.case_id)
    if is_sent:
        await sent(lab)
    return lab, amina, case


async def withheld(lab: Lab, person: int) -> None:
    """Let somebody take back the consent, and run."""
    lab.site.update_user(person, profile={"dni": "ID-0001", "consent": "no"})
    for _ in range(3):
        await sent(lab)


@pytest.mark.parametrize("way", ["withdrawn", "erased", "left"])
async def test_a_case_that_goes_away_after_a_restore_keeps_what_others_wrote(make_lab: MakeLab, way: str) -> None:
    """What others wrote is no less theirs when the books have lost what we sent."""
    lab, amina, case = await theirs(make_lab)
    lab.restore(lab.store.back_up(lab.clock.now()))
    if way == "withdrawn":
        await withheld(lab, amina)
    elif way == "erased":
        await lab.sync(later=100.0)
        assert RunState.COMPLETED == (await erased(lab, amina)).state
    else:
        lab.site.unenrol(2, amina)
        for _ in range(4):
            await lab.sync()
        assert "left" == case.properties["moodle_status"]
        lab.site.enrol(2, amina)
        for _ in range(2):
            await lab.sync()
    assert ({"left": "Amina"}.get(way, ""), "Bondo") == (case.properties["first_name"], case.properties["city"])


async def test_what_we_wrote_over_values_of_others_is_ours(make_lab: MakeLab) -> None:
    """Once Moodle had a city of its own, it is emptied like everything else of ours, also after a restore."""
    lab, amina, case = await theirs(make_lab)
    lab.site.update_user(amina, city="Gem")
    await sent(lab)
    assert "Gem" == case.properties["city"]
    lab.restore(lab.store.back_up(lab.clock.now()))
    await withheld(lab, amina)
    assert "" == case.properties["city"]


async def test_a_linked_case_that_nothing_was_sent_to_is_not_emptied(make_lab: MakeLab) -> None:
    """Kept out before the first write, somebody has nothing of ours in it; the name is not ours either."""
    lab, amina, case = await theirs(make_lab, is_sent=False)
    await withheld(lab, amina)
    assert "withdrawn" == lab.store.cases("student", 0)[f"test-user-{amina}"].status
    assert ("Bondo", "Amina") == (case.properties["city"], case.case_name)
    assert RunState.COMPLETED == (await erased(lab, amina)).state
    assert ("Bondo", "Amina") == (case.properties["city"], case.case_name)


async def test_write_once(make_lab: MakeLab) -> None:
    """Properties written once are kept where the case has a value, and filled where it has none."""
    site, (amina,) = site_of("Amina")
    site.update_user(amina, city="Gem")
    lab = make_lab(site)
    declare(lab)
    lab.edit("student", "city: {source: city,", "city: {source: city, write: once,")
    lab.edit("student", "country: {source: country,", "country: {source: country, write: once,")
    site.update_user(amina, country="KE")
    case = by_hand(lab, "Amina", national_id="ID-0001", city="Bondo")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    assert ("Bondo", "KE") == (case.properties["city"], case.properties["country"])


async def test_retired_and_departed_properties(make_lab: MakeLab) -> None:
    """A first write empties neither what was taken out of the mapping nor what only leaving sets."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    lab.edit("student", "when_left: {set: {moodle_status: left}}", "when_left: {set: {farewell: said}}")
    lab.edit("student", "  country: {source: country, personal: false}", "  country: {retire: clear}")
    case = by_hand(lab, "Amina", national_id="ID-0001", country="KE", farewell="theirs")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    assert ("KE", "theirs") == (case.properties["country"], case.properties["farewell"])


async def test_plans_at_once(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one plan has seen in a linked case is not lost when another plan looks at its own meanwhile."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    lab.edit("student", "  country: {source: country, personal: false}", "  country: {retire: clear}")
    case = by_hand(lab, "Amina", national_id="ID-0001", country="KE")
    await matched(lab)
    link(lab, amina, case.case_id)
    undecided = Links.undecided

    async def another_looks(links: Links, mapping: CompiledMapping) -> frozenset[str]:
        await links.look(Scope(mapping, 0), {})
        return await undecided(links, mapping)

    monkeypatch.setattr(Links, "undecided", another_looks)
    await sent(lab)
    assert ("KE", "Amina") == (case.properties["country"], case.properties["first_name"])


# --- deleted here, made anew there ---------------------------------------------------------------


async def test_a_person_made_anew_in_moodle(make_lab: MakeLab) -> None:
    """Deleted and made anew with another number, a person is offered the old case; the old number is done."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    lab.edit(
        "student",
        "properties:\n  first",
        "properties:\n  national_id: {source: profile.dni, personal: true}\n  first",
    )
    declare(lab)
    await lab.sync()
    case = lab.case(f"test-user-{amina}")
    site.delete_user(amina)
    again = site.add_user("Amina", "Otieno", email="amina@clinic.example.org", profile={"dni": "ID-0001"})
    site.enrol(2, again)
    assert {"duplicate": 1, "linked": 1} == await classes(lab)
    link(lab, again, case.case_id)
    for _ in range(3):
        assert "completed" == (await lab.sync()).state
    assert (f"test-user-{again}", f"test-user-{amina}", "never_logged_in") == (
        case.properties["moodle_key"],
        case.external_id,
        case.properties["moodle_status"],
    )
    assert 2 == len(lab.project.of_type("student"))
    assert 3 == len(lab.project.of_type("enrolment"))


async def test_the_old_number_comes_back(make_lab: MakeLab) -> None:
    """Somebody whose case was given to another number gets a case of their own, books lost or not."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    lab.edit(
        "student",
        "properties:\n  first",
        "properties:\n  national_id: {source: profile.dni, personal: true}\n  first",
    )
    declare(lab)
    await sent(lab)
    case = lab.case(f"test-user-{amina}")
    site.unenrol(2, amina)
    again = site.add_user("Amina", "Otieno", profile={"dni": "ID-0001"})
    site.enrol(2, again)
    await matched(lab)
    link(lab, again, case.case_id)
    await sent(lab)
    site.update_user(amina, profile={"dni": "ID-9999"}, firstname="Another")
    site.enrol(2, amina)
    await sent(lab)
    assert ("Another", "Amina") == (
        lab.case(f"test-user-{amina}~2").properties["first_name"],
        case.properties["first_name"],
    )
    lab.lose_books()
    lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    await sent(lab)
    assert (3, "Amina") == (len(lab.project.cases), case.properties["first_name"])


async def test_a_case_deleted_in_commcare(make_lab: MakeLab) -> None:
    """A person whose case was deleted is new again, once somebody has said so; no cleaning up is needed."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    lab.project.delete_case(case.case_id)
    (found,) = (await matched(lab)).mappings
    assert ({"new": 1, "linked": 1}, 1) == (counted(found), found.deleted)
    assert [(amina, "", "new", "", "deleted")] == open_rows(lab)
    assert "To get new cases: 1 person." in link_all(lab, "new", 1)
    assert {"created": 1} == written(await sent(lab))
    assert {"linked": 2} == await classes(lab)


async def test_a_deleted_case_and_another_one(make_lab: MakeLab) -> None:
    """When the case was deleted and another one made by hand, that one is offered."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    await sent(lab)
    lab.project.delete_case(lab.case(f"test-user-{amina}").case_id)
    other = by_hand(lab, "Amina", national_id="ID-0001")
    assert {"duplicate": 1} == await classes(lab)
    link(lab, amina, other.case_id)
    assert {"updated": 1} == written(await sent(lab))
    assert 1 == len(lab.project.cases)


async def test_many_deleted_cases_are_not_believed(make_lab: MakeLab) -> None:
    """When the search lacks many known cases nobody is taken for deleted."""
    names = [f"Person{n}" for n in range(12)]
    site, _ = site_of(*names)
    lab = make_lab(site)
    await sent(lab)
    for case in list(lab.project.cases.values())[:8]:
        lab.project.delete_case(case.case_id)
    found = await matched(lab)
    assert {"linked": 12} == counted(found.mappings[0])
    assert "8 of 12 known cases are not in CommCare's list" in found.messages[0]


# --- lost books and crashes ---------------------------------------------------------------


@pytest.mark.parametrize("way", ["match", "ignore"])
async def test_lost_books(make_lab: MakeLab, way: str) -> None:
    """With the books lost, linked cases are found again by our key in them, and nobody gets a second case."""
    site, people = site_of("Amina", "Brian", "Chebet")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001", city="Bondo")
    await matched(lab)
    link(lab, people[0], case.case_id)
    await sent(lab)
    lab.lose_books()
    declare(lab, "match: {}" if way == "match" else BY_DNI)
    if way == "ignore":
        lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    else:
        assert {"linked": 3} == await classes(lab)
    await sent(lab)
    assert (3, "Bondo") == (len(lab.project.cases), case.properties["city"])
    assert {"linked": 3} == await classes(lab)
    site.update_user(people[0], city="Gem")
    await sent(lab)
    assert "Gem" == case.properties["city"]


async def test_restored_books(make_lab: MakeLab) -> None:
    """Put back from before the link, the books find the linked case again by our key."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    site.unenrol(2, amina)
    await sent(lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    site.enrol(2, amina)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    assert backup is not None
    lab.restore(backup)
    for _ in range(2):
        await sent(lab)
    assert (2, f"test-user-{amina}") == (len(lab.project.cases), case.properties["moodle_key"])
    assert lab.store.cases("student", 0)[f"test-user-{amina}"].linked


async def test_a_stop_between_linking_and_sending(make_lab: MakeLab) -> None:
    """Linked and not sent yet, the case is written by whatever run comes next, through all that goes wrong."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001", city="Bondo")
    await matched(lab)
    link(lab, amina, case.case_id)
    lab.commcare.fail_next("503")
    await sent(lab)
    lab.commcare.late_write(60.0)
    await sent(lab)
    for _ in range(2):
        await sent(lab)
    assert (1, f"test-user-{amina}", "Bondo") == (
        len(lab.project.cases),
        case.properties["moodle_key"],
        case.properties["city"],
    )


async def test_matching_again_changes_nothing(make_lab: MakeLab) -> None:
    """A match takes nothing back that was decided, and a second one finds the same."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    before = lab.store.matches()
    for _ in range(2):
        assert {"linked": 1, "new": 1} == await classes(lab)
    assert before == lab.store.matches()


# --- what is not complete ---------------------------------------------------------------


async def test_an_incomplete_read_matches_nothing(make_lab: MakeLab) -> None:
    """When a course cannot be read nobody is matched, and nothing is written down."""
    site, _ = site_of("Amina")
    course = site.add_course("C1", "Course 1")
    lab = make_lab(site)
    by_hand(lab, "Amina Otieno")
    lab.denied = {course}
    found = await matched(lab)
    assert ("failed", [], []) == (found.state, found.mappings, open_rows(lab))
    assert "everybody has to be read" in found.messages[0]


async def test_people_last_seen_elsewhere_are_not_gone(make_lab: MakeLab) -> None:
    """The case of somebody in a course that is not read any more is offered to nobody."""
    site, (amina, _) = site_of("Amina", "Brian")
    other = site.add_course("C1", "Course 1")
    site.unenrol(2, amina)
    site.enrol(other, amina)
    lab = make_lab(site)
    lab.edit(
        "student",
        "properties:\n  first",
        "properties:\n  national_id: {source: profile.dni, personal: true}\n  first",
    )
    declare(lab)
    await lab.sync()
    lab.edit("project", 'shortname_like: "*"', "ids: [2]")
    again = site.add_user("Amina", "Otieno", profile={"dni": "ID-0001"})
    site.enrol(2, again)
    assert {"conflict": 1, "linked": 1} == await classes(lab)
    assert "two_people" == open_rows(lab)[0][4]


async def test_another_case_of_somebody_with_a_case(make_lab: MakeLab) -> None:
    """A second case of a person who has one is told, holds nobody up, and is told no more once rejected."""
    site, (amina,) = site_of("Amina")
    lab = make_lab(site)
    declare(lab)
    await sent(lab)
    other = by_hand(lab, "Amina", national_id="ID-0001")
    found = await matched(lab)
    assert ({"conflict": 1}, "completed") == (counted(found.mappings[0]), found.state)
    assert [(amina, other.case_id, "conflict", "national_id", "another_case")] == open_rows(lab)
    site.update_user(amina, city="Gem")
    assert {"updated": 1} == written(await sent(lab))
    refuse(lab, amina, other.case_id)
    assert {"linked": 1} == await classes(lab)


async def test_only_people_are_matched(make_lab: MakeLab) -> None:
    """A mapping of something else cannot be asked for."""
    lab = make_lab(site_of("Amina")[0])
    with pytest.raises(UsageError, match=r"enrolment\.yaml has no 'source: users'"):
        await matched(lab, mappings=("enrolment",))


async def test_counts_have_to_be_right(make_lab: MakeLab) -> None:
    """Approving a class needs the exact number of people, and only plain classes can be approved at once."""
    site, _ = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    with pytest.raises(UsageError, match=r"1 person is of the class 'duplicate', not 2\. Give the count 1 if"):
        link_all(lab, "duplicate", 2)
    with pytest.raises(UsageError, match="each one is looked at"):
        link_all(lab, "conflict", 1)
    with pytest.raises(UsageError, match="Nobody of the class 'new'"):
        link_all(lab, "new", 1)


async def test_an_erased_person(make_lab: MakeLab) -> None:
    """The linked case of a person who is erased is emptied, our key in it too, and found by its own id."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001", risk="high")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    world = lab.world()
    done = await erase(world, amina)
    assert ("completed", 1) == (done.state, done.outcomes["emptied"])
    assert ("", "", "high") == tuple(case.properties[name] for name in ("moodle_key", "first_name", "risk"))
    assert [] == lab.store.matches()


async def test_a_case_of_somebody_being_erased(make_lab: MakeLab) -> None:
    """While an erasure is pending nobody else is offered the case."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    lab.store.begin_erasure(amina, lab.clock.now())
    assert "erasing" == lab.store.cases("student", 0)[f"test-user-{amina}"].status
    site.enrol(2, other := site.add_user("Amina", "Otieno", profile={"dni": "ID-0001"}))
    await matched(lab)
    assert [(other, case.case_id, "conflict", "national_id", "two_people")] == open_rows(lab)
    with pytest.raises(UsageError, match=f"The erasure of person {amina} is not finished.*person erase {amina}"):
        link(lab, other, case.case_id)
    assert "erasing" == lab.store.cases("student", 0)[f"test-user-{amina}"].status


async def test_nobody_being_erased_gets_another_case(make_lab: MakeLab) -> None:
    """The books would forget the case that is to be emptied, which has no external id of ours to find it by."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    other = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    lab.commcare.refuse_row(case.case_id, "Error in row 1: Error with case property 'x'. Values must be strings")
    assert RunState.FAILED == (await erased(lab, amina)).state
    with pytest.raises(UsageError, match=f"The erasure of person {amina} is not finished"):
        link(lab, amina, other.case_id)
    lab.commcare.accept_rows()
    assert RunState.COMPLETED == (await erased(lab, amina)).state
    assert ("", "") == (case.properties["moodle_key"], case.properties["first_name"])


async def test_leaving_and_coming_back(make_lab: MakeLab) -> None:
    """A linked case is marked as left, and as there again, like any other."""
    site, (amina, *_) = site_of("Amina", "Brian", "Chebet", "David")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await lab.sync()
    site.unenrol(2, amina)
    for _ in range(2):
        await lab.sync()
    assert "left" == case.properties["moodle_status"]
    site.enrol(2, amina)
    await lab.sync()
    assert "left" != case.properties["moodle_status"]
    assert 4 == len(lab.project.of_type("student"))


CLOSED = "when_left: {set: {moodle_status: left}, close: true}"


async def closed_one(make_lab: MakeLab) -> tuple[Lab, int, str]:
    """Give a lab in which we closed the linked case of a person who left; also the person and the case's id."""
    site, (amina, *_) = site_of("Amina", "Brian", "Chebet", "David")
    lab = make_lab(site)
    declare(lab)
    lab.edit("student", "when_left: {set: {moodle_status: left}}", CLOSED)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await lab.sync()
    site.unenrol(2, amina)
    for _ in range(2):
        await lab.sync()
    assert case.closed
    site.enrol(2, amina)
    return lab, amina, case.case_id


async def test_a_closed_linked_case_is_followed_by_one_of_our_own(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back gets a case of our own; it is planned as such, not as a linked one without an id."""
    lab, amina, _ = await closed_one(make_lab)
    seen, real = list[CaseRow | None](), Links.of

    def watched(links: Links, draft: Draft, case: CaseRow | None, look: Look) -> Linked | None:
        seen.append(case)
        return real(links, draft, case, look)

    monkeypatch.setattr(Links, "of", watched)
    await lab.sync()
    own = lab.case(f"test-user-{amina}~2")
    assert (False, None) == (own.closed, own.properties.get("moodle_key"))
    assert [(False, 2)] == [(case.linked, case.generation) for case in seen if case and not case.case_id]


async def test_lost_books_find_the_case_after_a_closed_linked_one(make_lab: MakeLab) -> None:
    """The case of our own that lives is taken up again, not the closed one that others made."""
    lab, amina, closed = await closed_one(make_lab)
    await lab.sync()
    lab.lose_books()
    lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    lab.site.update_user(amina, city="Gem")
    await sent(lab)
    row, own = lab.store.cases("student", 0)[f"test-user-{amina}"], lab.case(f"test-user-{amina}~2")
    assert (own.case_id, 2, False, "active") == (row.case_id, row.generation, row.linked, row.status)
    assert ("Gem", False) == (own.properties["city"], own.closed)
    assert "Gem" != lab.project.cases[closed].properties.get("city")
    assert 5 == len(lab.project.of_type("student"))


async def test_lost_books_go_on_after_a_closed_linked_case(make_lab: MakeLab) -> None:
    """Where none followed yet, the next generation does: nobody can open the closed case again."""
    lab, amina, closed = await closed_one(make_lab)
    lab.lose_books()
    lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    await sent(lab)
    row, own = lab.store.cases("student", 0)[f"test-user-{amina}"], lab.case(f"test-user-{amina}~2")
    assert (own.case_id, 2, False) == (row.case_id, row.generation, row.linked)
    assert (True, False) == (lab.project.cases[closed].closed, own.closed)


@pytest.mark.parametrize("decided", ["linked", "rejected"])
async def test_lost_books_and_two_cases_with_a_key(make_lab: MakeLab, decided: str) -> None:
    """Two living cases say they are the same person's: nothing is written until somebody says which one is."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    double = by_hand(lab, "Amina", moodle_key=case.properties["moodle_key"], city="Gem")
    lab.lose_books()
    lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    before = len(lab.rows_sent())
    result = await lab.sync()
    assert ("waiting", 1) == (result.state, result.reasons["match_undecided"])
    rivals = sorted((case.case_id, double.case_id))
    assert [(amina, one, "conflict", "key", "keys_disagree") for one in rivals] == open_rows(lab)
    assert not {case.case_id, double.case_id} & {row.get("case_id") for row in lab.rows_sent(before)}
    assert 3 == result.requests["commcare"]["list"]  # a count for the type, one more for the gate, and one page
    assert 1 == (await lab.sync(preview=True)).reasons["match_undecided"]
    if decided == "linked":
        link(lab, amina, case.case_id)
    else:
        refuse(lab, amina, double.case_id)
        refuse(lab, amina, case.case_id)
    site.update_user(amina, city="Bondo")
    assert "completed" == (await sent(lab)).state
    assert ({"linked": "Bondo", "rejected": ""}[decided], "Gem") == (
        case.properties.get("city", ""),
        double.properties["city"],
    )
    assert {"linked": 3, "rejected": 4}[decided] == len(lab.project.of_type("student"))


async def test_lost_books_prefer_the_living_case(make_lab: MakeLab) -> None:
    """Of two cases with a person's key of which one is closed, the other one is meant, in whatever order."""
    site, (amina, brian) = site_of("Amina", "Brian")
    lab = make_lab(site)
    living = []
    for person, is_open in ((amina, False), (amina, True), (brian, True), (brian, False)):
        case = by_hand(lab, "Somebody", moodle_key=f"test-user-{person}")
        lab.clock.advance(60.0)
        if is_open:
            living.append(case.case_id)
        else:
            lab.project.close_case(case.case_id)
    lab.edit("student", "source: users", "source: users\nexisting_cases: ignore")
    await sent(lab)
    rows = lab.store.cases("student", 0)
    assert living == [rows[f"test-user-{person}"].case_id for person in (amina, brian)]


async def test_a_match_after_lost_books_knows_a_closed_linked_case(make_lab: MakeLab) -> None:
    """Found by our key in it, it is linked as closed: nothing is written to it, and the next case is our own."""
    lab, amina, closed = await closed_one(make_lab)
    lab.lose_books()
    assert {"linked": 4} == await classes(lab)
    row = lab.store.cases("student", 0)[f"test-user-{amina}"]
    assert (closed, "closed", True) == (row.case_id, row.status, row.linked)
    await sent(lab)
    row, own = lab.store.cases("student", 0)[f"test-user-{amina}"], lab.case(f"test-user-{amina}~2")
    assert (own.case_id, 2, False, "active") == (row.case_id, row.generation, row.linked, row.status)
    assert (True, False) == (lab.project.cases[closed].closed, own.closed)
    assert {"linked": 4} == await classes(lab)


async def test_many_people_and_cases(make_lab: MakeLab) -> None:
    """However many people and cases, CommCare is asked for a count and a page for each 5,000 cases."""
    site = FakeSite()
    course = site.add_course("C0", "Course 0")
    for n in range(300):
        site.enrol(course, site.add_user(f"F{n}", f"L{n}", email=MAIL.format(f"p{n}"), profile={"dni": f"ID-{n}"}))
    lab = make_lab(site)
    declare(lab)
    for n in range(500):
        properties = {"national_id": f"ID-{n}"} if n % 2 else {"email": MAIL.format(f"p{n}")}
        lab.project.add_case("student", f"Someone{n} Else", properties=properties)
    found = await matched(lab)
    assert {"duplicate": 150, "unverified": 150} == counted(found.mappings[0])
    assert 200 == found.mappings[0].others
    assert 2 == found.requests["commcare"]
    assert "Linked: 150 people." in link_all(lab, "duplicate", 150)


async def test_lost_books_after_a_linked_case_between_two_of_our_own(make_lab: MakeLab) -> None:
    """A case of our own, then one that was linked and closed, then the next of our own: that one is found."""
    site, (amina, _) = site_of("Amina", "Brian")
    (course,) = (number for number in site.courses if number != 1)
    lab = make_lab(site)
    declare(lab)
    left = "when_left: {set: {moodle_status: left}"
    lab.edit("student", left, f"{left}, close: true")
    await lab.sync()
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await lab.sync()
    site.unenrol(course, amina)
    for _ in range(2):
        await lab.sync()
    site.enrol(course, amina)
    await lab.sync()
    assert (True, False) == (case.closed, lab.case(f"test-user-{amina}~3").closed)
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    site.update_user(amina, city="Kisumu")
    for _ in range(2):
        await lab.sync()
    assert ("Kisumu", 4) == (
        lab.case(f"test-user-{amina}~3").properties["city"],
        len(lab.project.of_type("student")),
    )


@pytest.mark.parametrize("then", ["reject", "link"])
async def test_lost_books_after_a_link_was_taken_back(make_lab: MakeLab, then: str) -> None:
    """The case that was unlinked holds our key still: a person says which is meant, and then it is sent."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    theirs = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, theirs.case_id)
    await sent(lab)
    refuse(lab, amina, theirs.case_id)
    await sent(lab)
    ours = lab.case(f"test-user-{amina}~2")
    lab.lose_books()
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    site.update_user(amina, city="Kisumu")
    await sent(lab)
    assert [None, None] == [one.properties.get("city") for one in (theirs, ours)]
    assert {theirs.case_id, ours.case_id} == {case_id for _, case_id, *_ in open_rows(lab)}
    (refuse if then == "reject" else link)(lab, amina, theirs.case_id)
    for _ in range(2):
        await sent(lab)
    meant, other = (ours, theirs) if then == "reject" else (theirs, ours)
    assert ("Kisumu", None) == (meant.properties["city"], other.properties.get("city"))
    assert (3, {}) == (len(lab.project.of_type("student")), written(await sent(lab)))


async def test_an_erasure_after_lost_books_leaves_a_case_that_was_unlinked_alone(make_lab: MakeLab) -> None:
    """Amina is away, and two cases hold her key: our own is emptied, not the one that is somebody else's."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site)
    declare(lab)
    theirs = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, theirs.case_id)
    await sent(lab)
    refuse(lab, amina, theirs.case_id)
    await sent(lab)
    ours, before = lab.case(f"test-user-{amina}~2"), dict(theirs.properties)
    site.unenrol(max(site.courses), amina)
    lab.lose_books()
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    await sent(lab)
    done = await erased(lab, amina)
    assert ("completed", before) == (done.state, theirs.properties)
    assert (f"test-user-{amina}", "") == (ours.case_name, ours.properties["last_name"])
