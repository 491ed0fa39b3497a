"""What people who connect systems write again and again, each with the words of the mapping language for it.

Twenty-four idioms found in real integrations, in the order of their list. A few belong to a run and not to a
mapping (upsert, duplicates, cursors): there the mapping's part is shown. Two are mistakes (an invented address, an
invented birthday): there the safe way is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mappings.engine import (
    CompiledMapping,
    Draft,
    Excluded,
    HeldBack,
    IndexReference,
    OwnerReference,
    ValueProblem,
    check_project,
)
from tests.mappings.workbench import CATALOGUE, CONTEXT, HEAD, PERSON, drafted, folder, project_of, student

PROJECT = """
language: 1
site: demo
time_zone: Africa/Nairobi
country: KE
owner: {group: Field coaches}
code_lists:
  danger_sign: {fever: Fever, convulsions: Convulsions, bleeding: Bleeding}
  answer: {"yes": 1, sim: 1, oui: 1, "no": 2, não: 2, non: 2, otherwise: 3}
  one_or_nothing: {"yes": 1, "no": 0, "true": 1, "false": 0}
  sender: {KE: "40404", UG: "8008", otherwise: "none"}
lookups:
  facility: {file: lookups/facility.csv, key: district, value: site_code, otherwise: unknown-location}
"""
ENROLMENT = """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student}
indices:
  student:
    case_type: student
    external_id: "{site}-user-{user.id}"
    relationship: extension
    when_parent_unknown: skip
properties:
  sessions: {one_property_per: {each: items, key: item.id, name: "session_{key}", source: grade.percent}}
"""
GRADE = """
language: 1
case_type: session
source: grade_items
external_id: "{site}-grade-{item.id}-{user.id}"
case_name: "{item.name}"
owner: {same_as: enrolment}
indices:
  enrolment:
    case_type: enrolment
    external_id: "{site}-enrol-{course.id}-{user.id}"
    relationship: child
properties:
  course_name: course.fullname
  learner: {template: "{user.firstname} {user.lastname}", personal: true}
  score: grade.raw
"""
STUDENT = f"{HEAD}properties:\n  department: department\n"


def made(place: Path, properties: str, *, extra: str = "", **fields: Any) -> Draft:
    """Return the draft of one made-up person, for a mapping with these properties."""
    return drafted(mapped(place, properties, extra=extra).draft({**PERSON, **fields}, CONTEXT))


def mapped(place: Path, properties: str, *, extra: str = "") -> CompiledMapping:
    """Return a mapping of people with these properties, in a project with the code lists above."""
    lines = "".join(f"  {line}\n" for line in properties.splitlines())
    text = f"{HEAD}properties:\n{lines}{extra}"
    return project_of(place, {"student.yaml": text}, project=PROJECT).mappings[0]


def family(place: Path) -> Mapping[str, CompiledMapping]:
    """Return the mappings of people, enrolments and grades, by case type."""
    files = {"student.yaml": STUDENT, "enrolment.yaml": ENROLMENT, "session.yaml": GRADE}
    return {mapping.case_type: mapping for mapping in project_of(place, files, project=PROJECT).mappings}


def test_01_code_to_label(tmp_path: Path) -> None:
    """A map from choice values to labels, written once for all mappings: `code_list`."""
    draft = made(
        tmp_path, "sign: {source: profile.sign, transform: [{code_list: danger_sign}]}", profile={"sign": "fever"}
    )
    assert {"sign": "Fever"} == dict(draft.properties)


def test_02_choice_clean_up(tmp_path: Path) -> None:
    """A choice made readable, capitals and every `_` (not the first only) as a blank: `replace`, `title`."""
    definition = 'visit: {source: profile.visit, transform: [{replace: {find: "_", with: " "}}, title]}'
    draft = made(tmp_path, definition, profile={"visit": "second_antenatal_visit"})
    assert {"visit": "Second Antenatal Visit"} == dict(draft.properties)


@pytest.mark.parametrize(("expected", "by"), [("Fever;Bleeding", ";"), ("Fever Bleeding", " ")])
def test_03_multi_select(tmp_path: Path, expected: str, by: str) -> None:
    """Several answers in one text, each translated, put together in another way: `split`, `code_list`, `join`."""
    steps = f'[{{split: " "}}, {{code_list: danger_sign}}, {{join: "{by}"}}]'
    definition = f"signs: {{source: profile.signs, transform: {steps}}}"
    assert {"signs": expected} == dict(made(tmp_path, definition, profile={"signs": "fever  bleeding"}).properties)


@pytest.mark.parametrize(("expected", "given"), [("1", "Sim"), ("1", "YES"), ("2", "Não"), ("3", "talvez")])
def test_04_answers_in_many_languages(tmp_path: Path, expected: str, given: str) -> None:
    """Yes, no and unknown in several languages to one number: `lower`, then a code list with `otherwise`."""
    definition = "agrees: {source: profile.agrees, transform: [lower, {code_list: answer}]}"
    assert {"agrees": expected} == dict(made(tmp_path, definition, profile={"agrees": given}).properties)


def test_05_yes_and_no_to_1_and_0(tmp_path: Path) -> None:
    """The same list for texts and for Moodle's own flags; a value that is neither is listed, not guessed."""
    properties = """consent: {source: profile.consent, transform: [{code_list: one_or_nothing}]}
asleep: {source: suspended, transform: [{code_list: one_or_nothing}]}
other: {source: profile.other, transform: [{code_list: one_or_nothing}]}"""
    draft = made(tmp_path, properties, suspended=True, profile={"consent": "no", "other": "maybe"})
    assert {"consent": "0", "asleep": "1"} == dict(draft.properties)
    assert (ValueProblem("other", "unknown_code", "maybe"),) == draft.problems


def test_06_only_when_newer(tmp_path: Path) -> None:
    """Consent sent again only when it changed: a run compares values by itself, and a date alone is no reason.

    Comparing dates loses what changed while a clock was wrong; `ignore_changes` only sends the date along.
    """
    properties = "consent: profile.consent\nconsent_date: {source: profile.consent_date, transform: [date]}"
    draft = made(
        tmp_path,
        properties,
        extra="ignore_changes: [consent_date]\n",
        profile={"consent": "1", "consent_date": "1760000000"},
    )
    assert {"consent": "1", "consent_date": "2025-10-09"} == dict(draft.properties)
    assert {"consent_date"} == draft.ignored


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("graduate", {"department": "CHW", "suspended": True}),
        ("supervisor", {"department": "CHW", "suspended": False, "roles": ["teacher", "student"]}),
        ("learner", {"department": "CHW", "suspended": False, "roles": ["student"]}),
        ("visitor", {"department": "", "suspended": True, "roles": []}),
    ],
)
def test_07_nested_conditions(tmp_path: Path, expected: str, fields: dict[str, Any]) -> None:
    """Nested ifs as a flat list: the first case of which all conditions hold."""
    definition = """programme: {cases: [
      {when: [{source: department, is: CHW}, {source: suspended, is: true}], value: graduate},
      {when: [{source: department, is: CHW}, {source: roles, any_of: [teacher]}], value: supervisor},
      {when: {source: department, is_empty: false}, value: learner}], otherwise: visitor}"""
    assert {"programme": expected} == dict(made(tmp_path, definition.replace("\n", " "), **fields).properties)


def test_08_upsert_on_an_external_id(tmp_path: Path) -> None:
    """Create or update in one go: `external_id`, made of ids that never change, for every mapping."""
    mapping = mapped(tmp_path, "department: department")
    before, after = (mapping.draft({**PERSON, "lastname": name}, CONTEXT) for name in ("Otieno", "Otieno-Were"))
    assert ["demo-user-1042"] * 2 == [drafted(one).key for one in (before, after)]


def test_09_composite_key(tmp_path: Path) -> None:
    """A key of several parts; the checker wants every id that tells one record from another."""
    record = {"course": {"id": 7, "fullname": "Basics"}, "user": {"id": 1042}}
    assert "demo-enrol-7-1042" == drafted(family(tmp_path)["enrolment"].draft(record, CONTEXT)).key
    lacking = ENROLMENT.replace('-{user.id}"\ncase_name', '"\ncase_name')
    report = check_project(folder(tmp_path, {"enrolment.yaml": lacking}, project=PROJECT), CATALOGUE)
    assert "this key does not tell one enrolment from the others" in [
        problem.sentence for problem in report.problems
    ]


def test_10_parent_by_external_id(tmp_path: Path) -> None:
    """A parent found by its own key, and what happens while it is not there: `indices`, `when_parent_unknown`."""
    record = {"course": {"id": 7, "fullname": "Basics"}, "user": {"id": 1042}}
    draft = drafted(family(tmp_path)["enrolment"].draft(record, CONTEXT))
    assert (IndexReference("student", "student", "demo-user-1042", "extension", "skip"),) == draft.indices


@pytest.mark.parametrize(("expected", "district"), [("siaya-02", "Bondo"), ("unknown-location", "Rarieda")])
def test_11_reference_ids_with_a_default(tmp_path: Path, expected: str, district: str) -> None:
    """Ids from a table that is read once, with a value for the rest: `lookup`, `otherwise`."""
    definition = "facility: {source: profile.district, transform: [{lookup: facility}]}"
    assert {"facility": expected} == dict(made(tmp_path, definition, profile={"district": district}).properties)


def test_12_match_cascade(tmp_path: Path) -> None:
    """Legacy id, then name and e-mail, then phone: `match` does this once, before anything is written.

    The mapping's part: it stops at cases it does not know, and brings the fields to one form to be compared by.
    """
    properties = """legacy_id: {source: idnumber, transform: [trim, upper], personal: true}
email: {source: email, transform: [email], personal: true}
phone: {source: phone1, transform: [phone], personal: true}"""
    mapping = mapped(tmp_path, properties)
    record = {**PERSON, "idnumber": " ke-77 ", "email": " Amina@Example.org", "phone1": "0722 000 111"}
    assert "stop" == mapping.existing_cases
    wanted = {"legacy_id": "KE-77", "email": "amina@example.org", "phone": "+254722000111"}
    assert wanted == dict(drafted(mapping.draft(record, CONTEXT)).properties)


def test_13_one_case_for_one_key(tmp_path: Path) -> None:
    """Duplicates inside a batch: equal ids make equal keys, and a run writes one case for a key."""
    mapping = mapped(tmp_path, "department: department")
    twice = [drafted(mapping.draft({**PERSON, "department": "Ward"}, CONTEXT)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert {"demo-user-1042"} == {draft.key for draft in twice}


def test_14_two_people_with_one_address(tmp_path: Path) -> None:
    """The same e-mail twice is no reason to merge: ids tell people apart, the address only describes them."""
    mapping = mapped(tmp_path, "email: {source: email, transform: [email], personal: true}")
    drafts = [
        drafted(mapping.draft({**PERSON, "id": own_id, "email": "a@example.org"}, CONTEXT)) for own_id in (1, 2)
    ]
    assert ["demo-user-1", "demo-user-2"] == [draft.key for draft in drafts]
    assert [{"email": "a@example.org"}] * 2 == [dict(draft.properties) for draft in drafts]


def test_15_email_or_nothing(tmp_path: Path) -> None:
    """An address is checked; instead of an invented one, nothing is sent and a second property says so.

    Inventing `<id>@incomplete.com` is a mistake: the domain belongs to somebody, who then receives the mail.
    """
    properties = """email: {source: email, transform: [email], personal: true, when_invalid: clear}
has_email: {cases: [{when: {source: email, like: "*@*.*"}, value: given}], otherwise: missing}"""
    right = made(tmp_path, properties, email="Amina@Example.org ")
    wrong = made(tmp_path, properties, email="amina at example")
    assert {"email": "amina@example.org", "has_email": "given"} == dict(right.properties)
    assert {"email": "", "has_email": "missing"} == dict(wrong.properties)
    assert (ValueProblem("email", "invalid_email"),) == wrong.problems


@pytest.mark.parametrize(
    ("expected", "phone", "country"),
    [
        (("254722000111", "40404"), "0722 000 111", "KE"),
        (("256772000111", "8008"), "+256 772 000111", "UG"),
        (("254722000111", "none"), "00254722000111", "TZ"),
    ],
)
def test_16_phone_numbers(tmp_path: Path, expected: tuple[str, str], phone: str, country: str) -> None:
    """Country code added, trunk 0 dropped, foreign numbers kept, a sender by country: `phone`, `code_list`."""
    properties = """phone: {source: phone1, transform: [{phone: {format: digits}}], personal: true}
sender: {source: country, transform: [{code_list: sender}]}"""
    draft = made(tmp_path, properties, phone1=phone, country=country)
    assert expected == (draft.properties["phone"], draft.properties["sender"])


@pytest.mark.parametrize(
    ("expected", "given"), [("2024-03-05", "5/3/24"), ("2024-03-05", "05/03/2024"), ("1999-12-31", "31/12/99")]
)
def test_17_typed_dates(tmp_path: Path, expected: str, given: str) -> None:
    """Day, month and a year of two or four digits to one form: `parse_date` with `or`; 30/02 is refused."""
    definition = 'born: {source: profile.born, transform: [{parse_date: {format: "%d/%m/%Y", or: "%d/%m/%y"}}]}'
    assert {"born": expected} == dict(made(tmp_path, definition, profile={"born": given}).properties)
    refused = made(tmp_path, definition, profile={"born": "30/02/24"})
    assert (ValueProblem("born", "not_a_date"),) == refused.problems


def test_17_iso_date_times(tmp_path: Path) -> None:
    """A date and time in ISO form to its day, and Moodle's seconds to what CommCare stores."""
    properties = """visit: {source: profile.visit, transform: [{parse_date: "%Y-%m-%dT%H:%M:%SZ"}]}
seen: {source: lastaccess, transform: [date_time]}"""
    draft = made(tmp_path, properties, lastaccess=1760000000, profile={"visit": "2025-10-09T07:15:00Z"})
    assert {"visit": "2025-10-09", "seen": "2025-10-09T08:53:20.000000Z"} == dict(draft.properties)


def test_18_birth_year_stays_a_year(tmp_path: Path) -> None:
    """A birth year or an age is sent as the number it is; the language makes no date of birth of it.

    A made-up day and month look like facts for ever; the version found takes the weekday for the day of the month.
    CommCare can work out an age from a year, and a form can ask for the day.
    """
    definition = (
        "birth_year: {source: profile.birth_year, transform: [{number: {decimals: 0}}], data_type: number}"
    )
    assert {"birth_year": "1990"} == dict(made(tmp_path, definition, profile={"birth_year": " 1990 "}).properties)


def test_19_one_or_many(tmp_path: Path) -> None:
    """One value where a list was meant is a list of one, for owners, conditions and transforms alike."""
    properties = 'groups: {source: groups, transform: [{join: ", "}]}'
    head = HEAD.replace("{otherwise: project}", "{first_of: [{group: groups}]}")
    mapping = student(tmp_path, properties, head=f"{head}include: [{{source: roles, any_of: [student]}}]\n")
    drafts = [
        drafted(mapping.draft({**PERSON, "groups": groups, "roles": roles}, CONTEXT))
        for groups, roles in ((["Siaya"], ["student"]), ("Siaya", "student"))
    ]
    assert drafts[0] == drafts[1]
    assert ({"groups": "Siaya"}, (OwnerReference("group", "Siaya"),)) == (
        dict(drafts[0].properties),
        drafts[0].owner.candidates,
    )


def test_20_children_with_fields_of_their_parents(tmp_path: Path) -> None:
    """A list as cases of their own, each with what its parents know: a source of the elements, and `indices`."""
    record = {
        "item": {"id": 55, "name": "Quiz 1"},
        "course": {"id": 7, "fullname": "Basics"},
        "user": {"id": 1042, "firstname": "Amina", "lastname": "Otieno"},
        "grade": {"raw": 8},
    }
    mappings = family(tmp_path)
    draft = drafted(mappings["session"].draft(record, CONTEXT))
    assert {"course_name": "Basics", "learner": "Amina Otieno", "score": "8"} == dict(draft.properties)
    assert ("demo-grade-55-1042", "demo-enrol-7-1042") == (draft.key, draft.indices[0].key)
    assert ["student", "enrolment", "session"] == list(mappings)


def test_21_dynamic_property_names(tmp_path: Path) -> None:
    """A property for each session, named by the id that never changes: `one_property_per`."""
    items = [{"item": {"id": own_id}, "grade": {"percent": own_id + 20}} for own_id in (55, 56)]
    record = {"course": {"id": 7, "fullname": "Basics"}, "user": {"id": 1042}, "items": items}
    draft = drafted(family(tmp_path)["enrolment"].draft(record, CONTEXT))
    assert {"session_55": "75", "session_56": "76"} == dict(draft.properties)


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        (True, {"username": "test.amina", "email": "a@example.org", "department": "Ward"}),
        (True, {"username": "amina", "email": "a@test.example.org", "department": "Ward"}),
        (True, {"username": "amina", "email": "a@example.org", "department": "Demo clinic"}),
        (False, {"username": "amina", "email": "a@example.org", "department": "Ward"}),
    ],
)
def test_22_test_people_are_left_out(tmp_path: Path, expected: bool, fields: dict[str, str]) -> None:
    """Test accounts and clinics, by pattern or by name: `exclude`; they are counted, not lost in silence."""
    extra = """exclude:
  - {source: username, like: "test.*"}
  - {source: email, like: "*@test.example.org"}
  - {source: department, any_of: [Demo clinic, Training clinic]}
"""
    found = mapped(tmp_path, "department: department", extra=extra).draft({**PERSON, **fields}, CONTEXT)
    assert expected == isinstance(found, Excluded)


def test_23_cut_refuse_and_scrub(tmp_path: Path) -> None:
    """Trimmed and cut, or refused and listed when too long; without emojis and slashes; GPS in two properties."""
    properties = """zip: {source: profile.zip, transform: [trim, {shorten: {length: 10, longer: refuse}}]}
short: {source: profile.zip, transform: [trim, {shorten: 10}]}
note: {source: profile.note, transform: [plain_text, {replace: {find: "/", with: "-"}}]}
latitude: {source: profile.gps, transform: [{split: {by: " ", take: 1}}], data_type: number}
longitude: {source: profile.gps, transform: [{split: {by: " ", take: 2}}], data_type: number}"""
    profile = {"zip": " 00100 Nairobi ", "note": "Otieno 🎉 A/7", "gps": "-0.0917 34.7680 1131 5"}
    draft = made(tmp_path, properties, profile=profile)
    wanted = {"short": "00100 Nair", "note": "Otieno A-7", "latitude": "-0.0917", "longitude": "34.7680"}
    assert wanted == dict(draft.properties)
    assert (ValueProblem("zip", "over_length"),) == draft.problems


def test_24_no_cursor(tmp_path: Path) -> None:
    """No date of the last run in a mapping: equal records make equal drafts, so what was read twice is sent once.

    Paging, batches and pauses are the adaptors'; how often a stream is read is `intervals` in project.yaml.
    """
    project = f"{PROJECT}intervals: {{people: 1, grades: 24}}\n"
    loaded = project_of(tmp_path, {"student.yaml": STUDENT}, project=project)
    first, again = (loaded.mappings[0].draft({**PERSON, "department": "Ward"}, CONTEXT) for _ in range(2))
    assert first == again
    assert {"people": 1, "grades": 24} == loaded.intervals
    assert not isinstance(first, HeldBack)
