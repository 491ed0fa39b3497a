"""What a property sends when Moodle says a value, something unusable, nothing, or does not say anything at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine import HeldBack, ValueProblem, check_project
from tests.mappings.workbench import CATALOGUE, CONTEXT, HEAD, PERSON, drafted, folder, student, value

MISSING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("expected", "definition", "fields"),
    [
        # a value
        ("Nurse", "department", {"department": "Nurse"}),
        ("80", "{source: lastaccess, transform: [text]}", {"lastaccess": 80.0}),
        ("true", "{source: suspended}", {"suspended": True}),
        ("0", "{source: lastaccess, transform: [text]}", {"lastaccess": 0}),
        ("NURSE", "{source: department, transform: [trim, upper], default: none}", {"department": " Nurse "}),
        ("Nurse", "{source: department, write: once}", {"department": "Nurse"}),
        # blank
        ("", "department", {"department": ""}),
        ("", "department", {"department": None}),
        ("", "department", {"department": " \t"}),
        ("", "{source: lastaccess, transform: [date]}", {"lastaccess": None}),
        ("", "{source: profile.visit, transform: [date]}", {"profile": {"visit": "0"}}),
        ("never", "{source: lastaccess, transform: [date], default: never}", {"lastaccess": None}),
        ("None Given", "{source: department, transform: [lower], default: None Given}", {"department": ""}),
        ("", "{source: department, default: none, when_blank: clear}", {"department": ""}),
        ("", "{value: ''}", MISSING),
        ("none", "{value: '', default: none}", MISSING),
        ("", '{source: groups, transform: [{join: ", "}]}', {"groups": []}),
        (None, "{source: department, when_blank: keep}", {"department": ""}),
        ("", "{source: department, when_blank: clear}", {"department": ""}),
        ("none", "{source: department, default: none}", {"department": ""}),
        (None, "{source: department, default: none, when_blank: keep}", {"department": ""}),
        ("none", "{source: department, default: none, when_not_sent: keep}", {"department": ""}),
        (
            "none",
            "{source: department, transform: [{split: {by: _, take: 9}}], default: none}",
            {"department": "a"},
        ),
        # not sent
        (None, "department", MISSING),
        (None, "{source: department, when_not_sent: keep}", MISSING),
        ("", "{source: department, when_not_sent: clear}", MISSING),
        ("none", "{source: department, default: none}", MISSING),
        (None, "{source: department, default: none, when_not_sent: keep}", MISSING),
        ("", "{source: department, default: none, when_not_sent: clear}", MISSING),
        (None, "{source: department, when_blank: clear}", MISSING),
        (None, "{source: department, transform: [{code_list: gender}], when_invalid: clear}", MISSING),
        ("none", "{template: '{city} town', default: none, personal: true}", MISSING),
        ("", "{template: '{city} town', when_not_sent: clear, personal: true}", MISSING),
        (None, "{template: '{city} town', when_blank: keep, personal: true}", {"city": ""}),
        ("none", "{cases: [{when: {source: suspended, is: true}, value: off}], default: none}", MISSING),
        (None, "profile.gender", MISSING),
        (None, "profile.gender", {"profile": {}}),
        ("", "profile.gender", {"profile": {"gender": ""}}),
        ("", "profile.gender", {"profile": None}),
        # a value that a transform rejects
        (None, "{source: profile.gender, transform: [{code_list: gender}]}", {"profile": {"gender": "X"}}),
        (
            None,
            "{source: profile.gender, transform: [{code_list: gender}], when_invalid: keep, default: none}",
            {"profile": {"gender": "X"}},
        ),
        (
            "",
            "{source: profile.gender, transform: [{code_list: gender}], when_invalid: clear}",
            {"profile": {"gender": "X"}},
        ),
        (
            " x ",
            "{source: profile.gender, transform: [upper, {code_list: gender}], when_invalid: original}",
            {"profile": {"gender": " x "}},
        ),
        (
            "1760000000000000000000",
            "{source: lastaccess, transform: [date], when_invalid: original}",
            {"lastaccess": 1760000000000000000000},
        ),
        (None, "{source: email, transform: [email], personal: true}", {"email": "none"}),
        ("community", "{source: profile.cadre, transform: [{code_list: cadre}]}", {"profile": {"cadre": "CHW"}}),
        ("other", "{source: profile.cadre, transform: [{code_list: cadre}]}", {"profile": {"cadre": "?"}}),
        ("siaya-02", "{source: profile.d, transform: [{lookup: facility}]}", {"profile": {"d": "Bondo"}}),
    ],
)
def test_table_of_meanings(tmp_path: Path, expected: str | None, definition: str, fields: dict[str, Any]) -> None:
    """Each row of the table: a value, blank, not sent, not usable, with and without an override."""
    assert expected == value(tmp_path, definition, **fields)


@pytest.mark.parametrize(
    ("reason", "definition", "fields"),
    [
        ("blank", "{source: department, required: true}", {"department": ""}),
        ("not_sent", "{source: department, required: true}", MISSING),
        ("blank", "{source: department, when_blank: reject}", {"department": ""}),
        ("not_sent", "{source: department, when_not_sent: reject}", MISSING),
        ("not_a_number", "{source: department, transform: [number], when_invalid: reject}", {"department": "x"}),
    ],
)
def test_held_back(tmp_path: Path, reason: str, definition: str, fields: dict[str, Any]) -> None:
    """A record that must not go without a value is held back with the reason, under its key."""
    made = student(tmp_path, f"x: {definition}").draft({**PERSON, **fields}, CONTEXT)
    assert HeldBack("demo-user-1042", (ValueProblem("x", reason),)) == made


def test_all_reasons_are_given_at_once(tmp_path: Path) -> None:
    """A held-back record says everything that is wrong with it."""
    properties = "x: {source: department, required: true}\ny: {source: city, required: true}"
    made = student(tmp_path, properties).draft({"id": 1, "department": "", "lastname": "Otieno"}, CONTEXT)
    assert isinstance(made, HeldBack)
    assert {("@name", "not_sent"), ("x", "blank"), ("y", "not_sent")} == {
        (p.property, p.reason) for p in made.problems
    }


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("0722", {"phone1": "0722", "phone2": "0733"}),
        ("0733", {"phone1": "", "phone2": "0733"}),
        ("0733", {"phone2": "0733"}),
        ("", {"phone1": "", "phone2": " "}),
        ("", {"phone1": ""}),
        (None, MISSING),
    ],
)
def test_first_of(tmp_path: Path, expected: str | None, fields: dict[str, Any]) -> None:
    """The first value is taken; without one it is blank when any field was sent, absent when none was."""
    assert expected == value(tmp_path, "{first_of: [phone1, phone2], personal: true}", **fields)


@pytest.mark.parametrize(
    ("expected", "template", "fields"),
    [
        ("Amina Otieno (Bondo)", "{firstname}  {lastname} ({city})", {"city": " Bondo "}),
        ("", "{firstname} of {city}", {"city": ""}),
        (None, "{firstname} of {city}", MISSING),
        (None, "{department} of {city}", {"department": ""}),
        ("{Amina}", "{{{firstname}}}", MISSING),
        ("https://moodle.example.org/user/profile.php?id=1042", "{site_url}/user/profile.php?id={id}", MISSING),
        ("demo", "{site}", MISSING),
    ],
)
def test_template(tmp_path: Path, expected: str | None, template: str, fields: dict[str, Any]) -> None:
    """White space is squeezed, one blank makes all blank, one field that was not sent makes all not sent."""
    assert expected == value(tmp_path, f'{{template: "{template}", personal: true}}', **fields)


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("suspended", {"suspended": True, "lastaccess": None}),
        ("suspended", {"suspended": True}),
        ("never", {"suspended": False, "lastaccess": None}),
        ("active", {"suspended": False, "lastaccess": 1760000000}),
        (None, {"suspended": False}),
        (None, {"lastaccess": None}),
    ],
)
def test_cases(tmp_path: Path, expected: str | None, fields: dict[str, Any]) -> None:
    """The first case that holds wins; a field that was not sent leaves the property alone."""
    definition = """{cases: [
      {when: {source: suspended, is: true}, value: suspended},
      {when: {source: lastaccess, is_empty: true}, value: never}], otherwise: active}"""
    assert expected == value(tmp_path, definition.replace("\n", " "), **fields)


def test_cases_without_otherwise_are_blank(tmp_path: Path) -> None:
    """When no case holds there is nothing."""
    definition = "{cases: [{when: {source: suspended, is: true}, value: suspended}], default: fine}"
    assert "fine" == value(tmp_path, definition, suspended=False)


def test_constant(tmp_path: Path) -> None:
    """A fixed value is sent as it is typed, whatever YAML would make of it elsewhere."""
    assert "no" == value(tmp_path, "{value: no}")
    assert "007" == value(tmp_path, "{value: 007}")


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("line\nline", "line\r\nline"),
        ("ab", "a\x00b"),
        ("ab", "a\ud800b"),
        ("a\tb", "a\tb"),
        ("", "\x01"),
        ("Ñusta السيد 🌍", "Ñusta السيد 🌍"),
        ("2024-01-15 10:00", "2024-01-15 10:00"),
    ],
)
def test_characters(tmp_path: Path, expected: str, given: str) -> None:
    """One odd character never fails a batch: what XML forbids is taken out, all else is left alone."""
    assert expected == value(tmp_path, "department", department=given)


def test_problems_name_codes_but_no_person(tmp_path: Path) -> None:
    """A code that no list has is named, unless the property is personal."""
    properties = """
open: {source: profile.gender, transform: [{code_list: gender}], personal: false}
private: {source: profile.gender, transform: [{code_list: gender}], personal: true}
unsaid: {source: firstname, transform: [{code_list: gender}]}
"""
    made = student(tmp_path, properties).draft({**PERSON, "profile": {"gender": "X"}}, CONTEXT)
    assert (
        ValueProblem("open", "unknown_code", "X"),
        ValueProblem("private", "unknown_code", ""),
        ValueProblem("unsaid", "unknown_code", ""),
    ) == drafted(made).problems


def test_odd_shapes_are_problems_not_crashes(tmp_path: Path) -> None:
    """Lists, blocks and non-numbers where a text should be are listed; the record goes on."""
    properties = "a: department\nb: institution\nc: country\nd: {source: lang, transform: [lower]}"
    fields = {"department": ["x"], "institution": {"x": 1}, "country": float("nan"), "lang": ["en"]}
    made = drafted(student(tmp_path, properties).draft({**PERSON, **fields}, CONTEXT))
    assert {} == dict(made.properties)
    assert [
        ("a", "unexpected_list"),
        ("b", "unexpected_value"),
        ("c", "not_a_number"),
        ("d", "unexpected_list"),
    ] == [(problem.property, problem.reason) for problem in made.problems]


@pytest.mark.parametrize(
    ("expected", "word", "value_word"),
    [
        (True, "when_blank", "keep"),
        (True, "when_blank", "clear"),
        (True, "when_blank", "reject"),
        (False, "when_blank", "original"),
        (True, "when_not_sent", "keep"),
        (True, "when_not_sent", "clear"),
        (True, "when_not_sent", "reject"),
        (False, "when_not_sent", "original"),
        (True, "when_invalid", "keep"),
        (True, "when_invalid", "clear"),
        (True, "when_invalid", "original"),
        (True, "when_invalid", "reject"),
        (False, "when_invalid", "ignore"),
        (True, "write", "once"),
        (False, "write", "always"),
        (True, "retire", "clear"),
        (False, "validate", "true"),
    ],
)
def test_the_words_of_a_property(tmp_path: Path, expected: bool, word: str, value_word: str) -> None:
    """The words that decide about nothing, about wrong values and about old ones, and no others."""
    start = "" if word == "retire" else "source: department, "
    folder(tmp_path, {"student.yaml": f"{HEAD}properties:\n  x: {{{start}{word}: {value_word}}}\n"})
    assert expected == (not check_project(tmp_path, CATALOGUE).errors)
