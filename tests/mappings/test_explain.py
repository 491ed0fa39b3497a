"""An explanation ends with what is sent, and names the stage and the rule that made it so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine import Draft
from mappings.engine.catalogue import find_field
from mappings.engine.explain import FRAME, Line, UnknownPart, explain
from mappings.engine.load import run_tests
from mappings.engine.texts import ABSENT
from tests.mappings.workbench import CATALOGUE, CONTEXT, HEAD, PERSON, mapping, shipped


def private(source: str) -> Any:
    """Return what says of a path of a source whether it is personal."""

    def personal(path: str) -> bool:
        found = find_field(CATALOGUE, source, path)
        return found is not None and found.personal

    return personal


def lines(place: Path, definition: str, fields: dict[str, Any], head: str = HEAD) -> list[Line]:
    """Return the explanation of a property `it`."""
    made = mapping(place, f"{head}properties:\n  it: {definition}\n")
    return explain(made, "it", {**PERSON, **fields}, CONTEXT, private("users"))


def test_each_explanation_ends_with_what_is_sent(tmp_path: Path) -> None:
    """For each part of each shipped mapping and each record of its tests, whatever becomes of the record."""
    looked_at = 0
    for file, examples in run_tests(shipped(tmp_path), CATALOGUE):
        assert file.spec is not None
        assert examples is not None
        for test in file.spec.tests:
            record = examples._record(("tests",), test.given, "")
            context = examples._context(test.today)
            made = examples.mapping.draft(record, context)
            for name in (*FRAME, *examples.mapping.notes, *examples.mapping.spec.indices):
                last = explain(examples.mapping, name, record, context, private(examples.mapping.source))[-1]
                looked_at += 1
                if isinstance(made, Draft) and name in made.properties:
                    assert (name, made.properties[name]) == (last.label[3:], last.value)
                elif name not in FRAME and not last.has_value:
                    assert last.note.startswith(("nothing", "no property", "left out", "held back")), (name, last)
    assert looked_at > 250


@pytest.mark.parametrize(
    ("definition", "fields", "rule", "sent"),
    [
        ("department", {}, "when_not_sent: keep", ABSENT),
        ("department", {"department": " "}, "when_blank: clear", ""),
        ("{source: department, when_blank: keep}", {"department": ""}, "when_blank: keep", ABSENT),
        ("{source: department, when_not_sent: clear}", {}, "when_not_sent: clear", ""),
        ("{source: department, default: none}", {"department": ""}, "default", "none"),
        ("{source: department, required: true}", {"department": ""}, "required: true", ABSENT),
        ("{source: department, transform: [number]}", {"department": "x"}, "when_invalid: keep", ABSENT),
        (
            "{source: department, transform: [number], when_invalid: clear}",
            {"department": "x"},
            "when_invalid: clear",
            "",
        ),
        (
            "{source: department, transform: [number], when_invalid: original}",
            {"department": "x"},
            "when_invalid: original",
            "x",
        ),
        (
            "{source: department, transform: [{split: {by: '-', take: 2}}]}",
            {"department": "a"},
            "when_blank: clear",
            "",
        ),
    ],
)
def test_the_rule_that_applied_is_named(
    tmp_path: Path, definition: str, fields: dict[str, Any], rule: str, sent: object
) -> None:
    """Where there is no value, the line before the last says which word of the mapping decided."""
    found = lines(tmp_path, definition, fields)
    assert (rule, sent) == (found[-2].label, found[-1].value)


def test_each_transform_has_its_result(tmp_path: Path) -> None:
    """The chain is shown up to the transform that refuses."""
    found = lines(tmp_path, "{source: department, transform: [trim, lower, number, text]}", {"department": " A "})
    assert [("department", " A "), ("trim", "A"), ("lower", "a")] == [
        (line.label.strip(), line.value) for line in found[:3]
    ]
    assert ("number", "is not a number") == (found[3].label.strip(), found[3].note)
    assert 6 == len(found)


def test_a_person_shows_as_personal(tmp_path: Path) -> None:
    """Fields that are personal, and everything made of them; not those that the mapping says are none."""
    found = lines(tmp_path, "{source: city, transform: [trim], personal: true}", {"city": "Bondo"})
    assert [True, True, True] == [line.personal for line in found]
    found = lines(tmp_path, "{source: city, transform: [trim], personal: false}", {"city": "Bondo"})
    assert [False, False, False] == [line.personal for line in found]


def test_what_keeps_a_record_out(tmp_path: Path) -> None:
    """The condition is said in words, at the property too."""
    head = HEAD + "include: [{source: roles, any_of: [student]}]\nexclude: [{source: city, is: Gem}]\n"
    last = lines(tmp_path, "department", {"roles": ["teacher"], "department": "x"}, head)[-1]
    assert "left out: roles has none of student" == last.note
    last = lines(tmp_path, "department", {"roles": ["student"], "city": "Gem", "department": "x"}, head)[-1]
    assert "left out: city is 'Gem'" == last.note


def test_what_holds_a_record_back(tmp_path: Path) -> None:
    """The reason is said without a value."""
    last = lines(tmp_path, "{source: department, required: true}", {"department": ""})[-1]
    assert "held back: it is required and blank" == last.note


def test_an_owner_through_a_lookup(tmp_path: Path) -> None:
    """The field, what the table makes of it, and who it is."""
    head = HEAD.replace(
        "owner: {otherwise: project}",
        "owner: {first_of: [{location: department, lookup: facility}, {group: groups}], otherwise: project}",
    )
    made = mapping(tmp_path, f"{head}properties: {{it: department}}\n")
    record = {**PERSON, "department": "Bondo", "groups": ["Siaya"]}
    found = explain(made, "owner", record, CONTEXT, private("users"))
    assert "siaya-02" == found[1].value
    assert "location:siaya-02 or else group:Siaya or else group:Field coaches" == found[-1].value


def test_an_unknown_part(tmp_path: Path) -> None:
    """What there is is said."""
    made = mapping(tmp_path, f"{HEAD}properties: {{city: department}}\n")
    with pytest.raises(UnknownPart, match="did you mean 'city'"):
        explain(made, "citty", PERSON, CONTEXT, private("users"))
