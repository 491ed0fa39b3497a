"""The last one who has a value in an optional field empties it: Moodle shows it on nobody, as if it was hidden."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flows.confirm import confirm_blanks
from flows.needs import ALLOWED_BLANKS, CONFIRMED_BLANKS, REFUSED_BLANKS, UNSHOWN_BLANKS, needs
from flows.steps.witnesses import NOBODY, WITNESSES
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
FACTS = (REFUSED_BLANKS, CONFIRMED_BLANKS, ALLOWED_BLANKS, UNSHOWN_BLANKS)


async def alone(make_lab: MakeLab, *, phones: bool = False, **values: object) -> tuple[Lab, int]:
    """Return a lab that has sent twelve people, and the one of them who has these values."""
    site, _, learners = site_of(12)
    site.add_profile_field("badge")
    for learner in () if phones else learners:
        site.update_user(learner, phone1="")
    site.update_user(learners[0], **values)
    lab = make_lab(site)
    lab.edit("student", "  city: {", "  badge: {source: profile.badge, personal: true}\n  city: {")
    lab.edit("enrolment", "\nproperties:", "\nproperties:\n  town: {source: user.city, personal: true}")
    await lab.sync()
    return lab, learners[0]


def of_student(lab: Lab, person: int) -> dict[str, str]:
    """Return what a person's case holds."""
    held: dict[str, str] = lab.case(f"test-user-{person}").properties
    return held


def asked(lab: Lab) -> dict[str, int]:
    """Return what is asked, and about how many cases."""
    return {f"{one.mapping} {one.property_name}": one.count for one in needs(lab.store)}


@pytest.mark.parametrize(
    ("values", "empty", "name"),
    [
        ({"phone2": "0722 111 222"}, {"phone2": ""}, "contact_phone_number"),
        ({"profile": {"badge": "B7"}}, {"profile": {"badge": ""}}, "badge"),
    ],
)
async def test_the_last_one_is_asked_about(
    make_lab: MakeLab, values: dict[str, object], empty: dict[str, object], name: str
) -> None:
    """After two complete reads that show a field on nobody a person is asked, and then it is emptied."""
    lab, person = await alone(make_lab, **values)
    lab.site.update_user(person, **empty)
    before = of_student(lab, person)[name]
    first = await lab.sync()
    assert (before, "completed") == (of_student(lab, person)[name], first.state)
    for _ in range(2):
        result = await lab.sync()
        assert (before, "waiting", {}) == (of_student(lab, person)[name], result.state, written(result))
        assert [f"student {name}"] == [*asked(lab)]
    confirm_blanks(lab.store, "student", name, 1)
    assert {"updated": 1} == written(await lab.sync())
    assert "" == of_student(lab, person)[name]
    again = await lab.sync()
    assert ({}, {}) == (written(again), again.requests["commcare"])


async def test_what_is_asked_in_words(make_lab: MakeLab) -> None:
    """The question names the field, how many cases keep it, and both ways on; the answer ends it."""
    lab, person = await alone(make_lab, profile={"badge": "B7"})
    lab.site.update_user(person, profile={"badge": ""})
    for _ in range(2):
        result = await lab.sync()
    assert [
        "Nobody's profile shows profile.badge any more: emptied by all of them, or hidden from the account. "
        "1 case keeps its badge (mapping student). If it was emptied: `moodle-commcare confirm-blanks student "
        "badge --count 1`, or in Prefect `approve`: kind blanks, mapping student, property badge, count 1. If it "
        "is hidden: show it again (`moodle-commcare check` names it, and says how), or give the property "
        "`when_not_sent: keep`."
    ] == result.messages
    assert result.messages == [one.message for one in needs(lab.store)]
    confirm_blanks(lab.store, "student", "badge", 1)
    await lab.sync()
    await lab.sync()
    assert [{}, {}, {}, {}] == [json.loads(lab.store.get(name) or "{}") for name in FACTS]


async def test_who_says_keep_is_not_asked(make_lab: MakeLab) -> None:
    """A field that is hidden on purpose is no question any more once the mapping says so."""
    lab, person = await alone(make_lab, profile={"badge": "B7"})
    lab.site.update_user(person, profile={"badge": ""})
    for _ in range(2):
        result = await lab.sync()
    assert "waiting" == result.state
    lab.edit("student", "badge: {source: profile.badge,", "badge: {source: profile.badge, when_not_sent: keep,")
    result = await lab.sync()
    assert ("completed", {}, {}) == (result.state, written(result), asked(lab))
    assert "B7" == of_student(lab, person)["badge"]


async def test_a_lost_right_empties_nothing(make_lab: MakeLab) -> None:
    """Phones that are suddenly hidden are asked about and stay; the question ends when they are shown again."""
    lab, person = await alone(make_lab, phones=True)
    rights = set(lab.moodle.capabilities)
    lab.moodle.revoke("moodle/site:viewuseridentity")
    for _ in range(3):
        result = await lab.sync()
    assert ("waiting", {}) == (result.state, written(result))
    assert "12 cases keep their contact_phone_number" in result.messages[-1]
    lab.moodle.capabilities = rights
    result = await lab.sync()
    assert ("completed", {}, {}) == (result.state, written(result), asked(lab))
    assert of_student(lab, person)["contact_phone_number"]


async def test_a_field_that_comes_with_the_login_name(make_lab: MakeLab) -> None:
    """Who is shown with a login name and without an ID number has none: that needs no second holder."""
    lab, person = await alone(make_lab, idnumber="N1")
    lab.site.update_user(person, idnumber="")
    result = await lab.sync()
    assert ("completed", {"updated": 1}, "") == (
        result.state,
        written(result),
        of_student(lab, person)["id_number"],
    )


async def test_a_hidden_id_number_stays(make_lab: MakeLab) -> None:
    """Without the right to see all details an ID number is missing, and so is the login name."""
    lab, person = await alone(make_lab, idnumber="N1")
    lab.moodle.revoke("moodle/user:viewalldetails")
    lab.moodle.revoke("moodle/site:viewuseridentity")
    for _ in range(3):
        result = await lab.sync()
    assert ("N1", "waiting") == (of_student(lab, person)["id_number"], result.state)
    assert {"student id_number": 1} == asked(lab)


async def test_somebody_else_has_it_meanwhile(make_lab: MakeLab) -> None:
    """As soon as somebody shows the field again, the others have it blank: nobody is asked."""
    lab, person = await alone(make_lab, profile={"badge": "B7"})
    lab.site.update_user(person, profile={"badge": ""})
    await lab.sync()
    lab.site.update_user(person + 1, profile={"badge": "B8"})
    result = await lab.sync()
    assert ("completed", {"updated": 2}) == (result.state, written(result))
    assert ("", "B8") == (of_student(lab, person)["badge"], of_student(lab, person + 1)["badge"])


async def test_a_run_for_one_course_asks_nothing(make_lab: MakeLab) -> None:
    """What nobody shows is told by reads of everybody only; the question stays as it is."""
    lab, person = await alone(make_lab, profile={"badge": "B7"})
    (course,) = (number for number in lab.site.members if number != 1)
    lab.site.add_course("Other", "Another course")
    lab.site.update_user(person, profile={"badge": ""})
    for _ in range(3):
        assert ("completed", {}) == ((found := await lab.sync(courses=(course,))).state, asked(lab)), (
            found.messages
        )
    await lab.sync()
    await lab.sync()
    assert {"student badge": 1} == asked(lab)
    await lab.sync(courses=(course,))
    assert ({"student badge": 1}, "B7") == (asked(lab), of_student(lab, person)["badge"])


async def test_it_is_read_whatever_the_others_read(make_lab: MakeLab) -> None:
    """A run of other mappings in between forgets nothing of a field that it does not read."""
    lab, person = await alone(make_lab, profile={"badge": "B7"})
    lab.site.update_user(person, profile={"badge": ""})
    for _ in range(2):
        await lab.sync(mappings=("enrolment",))
        await lab.sync()
    assert {"student badge": 1} == asked(lab)


async def test_the_last_one_of_a_course(make_lab: MakeLab) -> None:
    """The same for a field in the rows of a course: the first read that shows it on nobody asks."""
    lab, person = await alone(make_lab, city="Bondo")
    (course,) = (number for number in lab.site.members if number != 1)
    lab.site.update_user(person, city="")
    result = await lab.sync()
    assert ("waiting", {"enrolment town": 1}) == (result.state, asked(lab))
    confirm_blanks(lab.store, "enrolment", "town", 1)
    assert {"updated": 1} == written(await lab.sync())
    assert "" == lab.case(f"test-enrol-{course}-{person}").properties["town"]


async def test_a_field_that_nobody_ever_had(make_lab: MakeLab) -> None:
    """It is noted once, costs nothing afterwards, and nobody is asked about it."""
    lab, _ = await alone(make_lab)
    noted = lab.store.get(WITNESSES)
    assert NOBODY == json.loads(noted or "{}")["profile.badge"]
    for _ in range(2):
        result = await lab.sync()
        assert ("completed", {}, {}) == (result.state, written(result), result.requests["commcare"])
    assert noted == lab.store.get(WITNESSES)


async def with_account_fields(make_lab: MakeLab) -> tuple[Lab, list[int]]:
    """Return a lab that has sent what everybody's account has and one ID number, and its people."""
    site, _, learners = site_of(4)
    for learner in learners:
        site.update_user(learner, lastaccess=site.now)
    site.update_user(learners[1], idnumber="N1")
    lab = make_lab(site)
    assert "completed" == (await lab.sync()).state
    return lab, learners


async def test_hidden_suspended_accounts_are_told(make_lab: MakeLab) -> None:
    """Who is suspended then stays active in CommCare: the run says so, and is degraded until it is shown again."""
    lab, learners = await with_account_fields(make_lab)
    lab.site.hiddenuserfields = ("suspended",)
    lab.moodle.revoke("moodle/user:viewhiddendetails")
    lab.site.update_user(learners[0], suspended=True)
    for _ in range(2):
        result = await lab.sync(full=True)
        (message,) = result.messages
        assert ("degraded", "active") == (result.state, of_student(lab, learners[0])["moodle_status"])
        assert message.startswith("Moodle does not show the account who is suspended (suspended): whoever is ")
        assert "Take them out of the list Site administration > Users > Permissions > User policies" in message
    lab.site.hiddenuserfields = ()
    result = await lab.sync()
    assert ("completed", [], {"updated": 1}) == (result.state, result.messages, written(result))


@pytest.mark.parametrize(
    ("hidden", "rights", "words"),
    [
        (("email",), ("moodle/user:viewhiddendetails",), ["e-mail addresses (email)", "Show user identity"]),
        ((), ("moodle/user:viewalldetails",), ["login names (username) and languages (lang)", "viewalldetails"]),
    ],
)
async def test_what_is_hidden_of_everybody_is_told(
    make_lab: MakeLab, hidden: tuple[str, ...], rights: tuple[str, ...], words: list[str]
) -> None:
    """The field is named with the right or the setting, as long as a mapping wants it; the values stay."""
    lab, learners = await with_account_fields(make_lab)
    before = of_student(lab, learners[1])
    lab.site.hiddenuserfields = hidden
    lab.moodle.revoke(*rights)
    result = await lab.sync(full=True)
    (message,) = [one for one in result.messages if "does not show the account any" in one]
    assert [] == [one for one in words if one not in message], message
    assert before == of_student(lab, learners[1])


async def test_hidden_on_purpose_is_not_told(make_lab: MakeLab) -> None:
    """Who says `when_not_sent: keep` knows it."""
    lab, _ = await with_account_fields(make_lab)
    lab.site.hiddenuserfields = ("lang",)
    lab.moodle.revoke("moodle/user:viewhiddendetails")
    lab.edit("student", "language: {source: lang,", "language: {source: lang, when_not_sent: keep,")
    result = await lab.sync()
    assert ("completed", []) == (result.state, result.messages)


async def test_a_hidden_login_name_explains_the_id_number(make_lab: MakeLab) -> None:
    """The lost right is named first, before the question whether ID numbers were emptied."""
    lab, learners = await with_account_fields(make_lab)
    lab.moodle.revoke("moodle/user:viewalldetails")
    lab.moodle.revoke("moodle/site:viewuseridentity")
    for _ in range(2):
        result = await lab.sync()
    assert "waiting" == result.state
    *causes, question = result.messages
    assert "confirm-blanks student id_number" in question
    (cause,) = [one for one in causes if "ID numbers (idnumber)" in one]
    assert "Give the role 'moodle/user:viewalldetails'" in cause
    assert "N1" == of_student(lab, learners[1])["id_number"]


async def test_what_is_hidden_in_courses_only_is_told(make_lab: MakeLab) -> None:
    """Another right shows the lists of the people of courses than profiles."""
    site, _, learners = site_of(4)
    for learner in learners:
        site.update_user(learner, lastaccess=site.now)
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:", "\nproperties:\n  visit: {source: user.lastaccess, transform: [date]}")
    assert [] == (await lab.sync()).messages
    lab.site.hiddenuserfields = ("lastaccess",)
    lab.moodle.revoke("moodle/course:viewhiddenuserfields")
    result = await lab.sync()
    (message,) = result.messages
    assert ("completed", {}) == (result.state, written(result))
    assert message.startswith("Moodle does not show the account any last visits (lastaccess) in the lists of the ")
    assert "'moodle/course:viewhiddenuserfields'" in message
