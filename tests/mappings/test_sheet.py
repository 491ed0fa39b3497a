"""The specification sheet says what the mapping does, in words that are not a programmer's."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from flows.catalogue import field_catalogue
from mappings.engine import Project, load_project
from mappings.engine.diagram import diagram
from mappings.engine.markdown import plain, specification_markdown
from mappings.engine.phrases import Phrases, phrase_languages, phrases
from mappings.engine.sheet import Section, Specification, specification
from mappings.engine.transform import TRANSFORMS
from tests.mappings.workbench import CATALOGUE, HEAD, PROJECT, folder, shipped

ENGLISH = phrases("en")


def sheet(place: Path, mapping: str, *, language: str = "en", project: str = PROJECT) -> Specification:
    """Return the sheet of a project with one mapping."""
    return specification(made(place, mapping, project=project), CATALOGUE, phrases(language))


def made(place: Path, mapping: str, *, project: str = PROJECT) -> Project:
    """Return a project with one mapping."""
    return load_project(folder(place, {"student.yaml": mapping}, project=project), CATALOGUE)


def row(place: Path, definition: str) -> tuple[str, ...]:
    """Return the row of a property `p`."""
    return sheet(place, f"{HEAD}properties:\n  p: {definition}\n").sections[0].properties.rows[0]


def fact(section: Section, name: str) -> list[str]:
    """Return what a section says under a heading."""
    return [text for heading, text in section.facts if heading == ENGLISH.say(name)]


# --- where from, changed how --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "origin", "changed"),
    [
        ("department", "department", "as it is"),
        ("{source: city, transform: [trim, upper], personal: true}", "city",
         "spaces at both ends removed; capital letters"),
        ("{first_of: [phone1, phone2], transform: [{phone: {format: digits}}], personal: true}",
         "first of phone1, phone2", "telephone number, digits only, with country code"),
        ('{template: "{site_url}/user/{id}"}', "id", "put together as {site_url}/user/{id}"),
        ("{value: chw}", "-", "always chw"),
        ("{value: field coach}", "-", 'always "field coach"'),
        ("{cases: [{when: {source: suspended, is: true}, value: suspended}], otherwise: active}", "suspended",
         "suspended when suspended is yes; otherwise active"),
        ("{cases: [{when: [{source: roles, any_of: [student, tutor]}, {source: lang, is_empty: false}], "
         "value: x}]}", "roles, lang", "x when roles has student or tutor and lang is not empty"),
        ("{source: lastaccess, transform: [{date: {format: '%d/%m/%Y'}}]}", "lastaccess",
         "date, as in 31/01/2026"),
        ("{source: department, transform: [{split: {by: '/', take: 1}}, {shorten: 5}]}", "department",
         'cut at "/", part 1 taken; first 5 characters'),
        ("{source: groups, transform: [{join: ', '}]}", "groups", 'put together with ", "'),
        ("{source: id, transform: [{bands: {low: 10, high: 20, otherwise: top}}]}", "id",
         "low up to 10; high up to 20; otherwise top"),
        ("{source: profile.sex, transform: [{code_list: gender}], personal: false}", "profile.sex",
         "translated with code list gender"),
        ("{source: profile.d, transform: [{lookup: facility}], personal: false}", "profile.d",
         "translated with table facility"),
        ("{source: department, write: once}", "department", "set when the case is made, then left alone"),
        ("{retire: clear}", "-", "no longer sent; emptied in CommCare"),
    ],
)  # fmt: skip
def test_where_from_and_changed_how(tmp_path: Path, definition: str, origin: str, changed: str) -> None:
    """Each way to take a value and each transform has its words."""
    assert (origin, changed) == row(tmp_path, definition)[2:4]


@pytest.mark.parametrize(
    ("definition", "nothing"),
    [
        ("department", "emptied"),
        ("{source: department, required: true}", "the record is held back"),
        ("{source: department, when_blank: keep}", "stays as it is"),
        ("{source: department, default: none}", '"none" is sent'),
        ("{source: department, default: none, when_blank: clear}",
         'emptied if blank; "none" is sent if Moodle does not send the field'),
        ("{source: phone1, transform: [phone], personal: true, when_invalid: original}",
         "emptied; sent as it stands in Moodle if the value cannot be used"),
        ("{source: profile.sex, transform: [{code_list: gender}], personal: false}",
         "emptied; stays as it is if the value cannot be used"),
        ("{source: profile.sex, transform: [{code_list: cadre}], personal: false}", "emptied"),
        ("{source: lastaccess, transform: [date]}", "emptied"),
        ("{source: phone1, transform: [phone], personal: true, when_invalid: clear}",
         "emptied, also if the value cannot be used"),
        ("{value: chw}", "-"),
        ("{cases: [{when: {source: suspended, is: true}, value: x}], otherwise: y}", "stays as it is"),
        ("{cases: [{when: {source: suspended, is: true}, value: x}]}", "emptied"),
        ("{retire: clear}", "-"),
    ],
)  # fmt: skip
def test_when_moodle_has_nothing(tmp_path: Path, definition: str, nothing: str) -> None:
    """The words follow the same order of rules as the values."""
    assert nothing == row(tmp_path, definition)[4]


def test_name_label_and_personal(tmp_path: Path) -> None:
    """A row begins with the name and what the mapping says about it, and ends with whether it is personal."""
    label = "label: {en: Town, fr: Ville}, description: Where they live."
    found = row(tmp_path, f"{{source: city, personal: true, {label}}}")
    assert ("p", "Town\nWhere they live.", "yes") == (*found[:2], found[5])


def test_one_property_per_element(tmp_path: Path) -> None:
    """A family of properties has one row that says how they are named."""
    section = specification(load_project(shipped(tmp_path), CATALOGUE), CATALOGUE, ENGLISH).sections[1]
    found = {row[0]: row for row in section.properties.rows}["grade_{item.id}"]
    assert ("items: grade.percent", "one property for each of items, named by item.id; whole number") == found[2:4]


# --- what a mapping says about itself -----------------------------------------------------------------------

WHOLE = """
language: 1
case_type: student
description: {en: One case per learner., fr: Un dossier par apprenant.}
source: users
include: [{source: roles, any_of: [student]}, {source: suspended, is: false}]
exclude: [{source: username, any_of: [guest, admin]}, {source: department, like: "Test*"}]
external_id: "{site}-user-{id}"
case_name: "{firstname} {lastname}"
owner:
  first_of:
    - {user: profile.chw}
    - {location: profile.district, lookup: facility}
  otherwise: project
  write: once
properties:
  status: {cases: [{when: {source: lastaccess, is_empty: true}, value: never}], otherwise: active}
  gender: {source: profile.sex, transform: [{code_list: gender}], personal: true}
when_left: {set: {status: left, gender: ""}, park: true}
when_excluded: {set: {status: withdrawn}}
"""
IN_COURSE = """# yaml-language-server: $schema=schema/mapping.schema.json
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {otherwise: project}
properties: {status: status}
"""
PARKED = f"{PROJECT}parked_owner: {{location: parked}}\n"


def test_facts_of_a_mapping(tmp_path: Path) -> None:
    """Who, key, owner and what happens at the end are each a sentence."""
    section = sheet(tmp_path, WHOLE, project=PARKED).sections[0]
    expected = {
        "one_case_per": "person in the chosen courses",
        "included": "roles has student and suspended is no",
        "left_out": 'username is guest or admin or department looks like "Test*"',
        "key": "{site}-user-{id}",
        "owner": "the first that exists of: the mobile worker named in profile.chw, the location named in "
        'profile.district, translated with table facility, the group "Field coaches"; otherwise the record is '
        "held back; set when the case is made, then left alone",
        "leaves": 'status becomes left; gender: emptied; the case goes to the location "parked", so no phone '
        "holds it",
        "excluded": "personal properties are emptied; status becomes withdrawn",
    }
    assert {name: [text] for name, text in expected.items()} == {name: fact(section, name) for name in expected}


def test_the_end_of_a_course_is_told(tmp_path: Path) -> None:
    """What happens to a case when its course is over is a sentence."""
    (section,) = sheet(tmp_path, f"{IN_COURSE}when_course_ends: {{close: true}}\n").sections
    assert ["the case is closed; this cannot be undone"] == fact(section, "course_ends")


def test_tables_that_are_used(tmp_path: Path) -> None:
    """Code lists and lookups that some property or owner uses are tables of their own; others are left out."""
    tables = {table.title: table for table in sheet(tmp_path, WHOLE, project=PARKED).tables}
    assert ["Table facility", "Code list gender", "Moodle fields used"] == list(tables)
    rows = (("F", "female"), ("M", "male"), ("any other value", "reported, not sent"))
    assert rows == tables["Code list gender"].rows
    assert "from the file lookups/facility.csv" == tables["Table facility"].note


def test_long_lookups_are_cut(tmp_path: Path) -> None:
    """Of a long lookup table the first rows are shown, and how many more there are."""
    place = folder(tmp_path, {"student.yaml": WHOLE}, project=PARKED)
    rows = "".join(f"D{number},site-{number}\n" for number in range(40))
    (place / "lookups" / "facility.csv").write_text(f"district,site_code\n{rows}", "utf-8")
    table = specification(load_project(place, CATALOGUE), CATALOGUE, ENGLISH).tables[0]
    assert (26, "and 15 more rows, in the file lookups/facility.csv") == (len(table.rows), table.note)


@pytest.mark.parametrize(
    ("courses", "said"),
    [
        ("{ids: [7, 9]}", "numbers 7, 9"),
        ("{categories: [3], shortname_like: CHW-*, only_running: true}",
         "categories 3, with their subcategories or short name like CHW-*; only running courses"),
        ("{only_running: true, custom_field: {region: Siaya}}",
         "custom field region is Siaya; only running courses"),
    ],
)  # fmt: skip
def test_which_courses(tmp_path: Path, courses: str, said: str) -> None:
    """Ways to choose courses add to each other; conditions narrow what was chosen."""
    project = PROJECT.replace("{ids: [7]}", courses)
    assert ("Courses", said) == sheet(tmp_path, f"{HEAD}properties: {{}}\n", project=project).facts[0]


def test_fields_that_are_used(tmp_path: Path) -> None:
    """Each Moodle field that a mapping looks at is listed with its meaning, those of elements too."""
    project = load_project(shipped(tmp_path), field_catalogue())
    rows = dict(specification(project, field_catalogue(), ENGLISH).tables[-1].rows)
    assert ("Mobile phone.", "Points between lowest and highest, from 0 to 100, not rounded.") == (
        rows["users: phone2"],
        rows["enrolments: items: grade.percent"],
    )
    assert "users: address" not in rows


def test_parents_and_switched_off_mappings(tmp_path: Path) -> None:
    """Parents are told with relationship and key; a mapping that is off stands last and says so."""
    sections = specification(load_project(shipped(tmp_path), CATALOGUE), CATALOGUE, ENGLISH).sections
    enrolment = next(section for section in sections if section.name == "enrolment")
    assert ["student: student, as its extension ({site}-user-{user.id})"] == fact(enrolment, "parents")
    assert ["the same as the owner of the student case"] == fact(enrolment, "owner")
    off = [section.name for section in sections if section.note]
    assert "grade_item" in off
    assert off == [section.name for section in sections[-len(off) :]]


# --- languages ----------------------------------------------------------------------------------------------


def test_in_the_clients_language(tmp_path: Path) -> None:
    """Fixed words and the mapping's own descriptions come in the language that was asked for."""
    found = sheet(tmp_path, WHOLE, language="fr", project=PARKED)
    assert "Ce que Moodle envoie à CommCare : demo" == found.title
    assert "Un dossier par apprenant." == found.sections[0].description
    assert "Propriété CommCare" == found.sections[0].properties.headings[0]


def test_main_language_and_english() -> None:
    """pt_br is said in Portuguese, a language without words of its own in English."""
    assert ["Do Moodle", "From Moodle"] == [phrases(code).say("from_moodle") for code in ("pt_br", "am")]


@pytest.mark.parametrize("language", phrase_languages())
def test_every_language_has_every_word(language: str) -> None:
    """No language lacks a phrase, and each fills in the same parts."""
    found = phrases(language)
    assert parts(ENGLISH.words) == parts(found.words)
    assert parts(ENGLISH.transforms) == parts(found.transforms)


def parts(words: dict[str, str]) -> dict[str, set[str | None]]:
    """Return the parts that each phrase fills in."""
    return {name: {part[1] for part in string.Formatter().parse(text)} - {None} for name, text in words.items()}


def test_every_source_has_words() -> None:
    """For each source the sheet can say what one case is made for."""
    names = {"courses_source" if source == "courses" else source for source in field_catalogue()}
    assert set() == names - ENGLISH.words.keys()


def test_every_transform_has_words() -> None:
    """Each transform of the language can be said; a plug-in is called an own transform."""
    said = {name.split("_")[0] for name in ENGLISH.transforms} | ENGLISH.transforms.keys()
    assert set() == TRANSFORMS.keys() - said


# --- as text ------------------------------------------------------------------------------------------------


def test_markdown_shows_every_text_as_it_is() -> None:
    """Bars, stars, brackets and line breaks of a mapping cannot break the table that they stand in."""
    assert r"a\|b \*c\* \<d\> first_name \_e\_<br>f" == plain("a|b *c* <d> first_name _e_\nf")


def test_markdown_of_the_sheet(tmp_path: Path) -> None:
    """The Markdown holds the diagram, each mapping with its table, and the tables used."""
    project = made(tmp_path, WHOLE, project=PARKED)
    text = specification_markdown(specification(project, CATALOGUE, ENGLISH), diagram(project, ENGLISH))
    for line in (
        "# What Moodle sends to CommCare: demo",
        '  case_student(["student"])',
        "- **Case name:** {firstname} {lastname}",
        "| status | | lastaccess | never when lastaccess is empty; otherwise active | stays as it is | |",
        "| F | female |",
    ):
        assert line in text.splitlines()


def test_diagram(tmp_path: Path) -> None:
    """Sources lead to cases, cases to their parents; what is off is dashed."""
    project = load_project(shipped(tmp_path), CATALOGUE)
    lines = diagram(project, ENGLISH).splitlines()
    for line in (
        '  from_enrolments[("Moodle: enrolments")]',
        "  from_enrolments --> case_enrolment",
        "  case_enrolment -. extension .-> case_student",
        '  case_grade_item(["grade_item, off"]):::off',
        "  case_grade_item -. child .-> case_enrolment",
    ):
        assert line in lines
    assert "flowchart LR" == lines[0]


def test_words_stay_whole() -> None:
    """What a mapping holds is filled in as it is, brackets included."""
    assert "always {x}" == Phrases("en", {"always": "always {value}"}, {}).say("always", value="{x}")
