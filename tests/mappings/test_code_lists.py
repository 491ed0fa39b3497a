"""code_lists.yaml beside project.yaml, and answers of which several may be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.engine import MappingError, Project, ValueProblem, check_project, load_project
from tests.mappings.workbench import (
    CATALOGUE,
    CONTEXT,
    HEAD,
    PERSON,
    PROJECT,
    drafted,
    folder,
    messages,
    student,
    value,
)

LISTS = """
language: 1
code_lists:
  skills: {wound: wound_care, anc: antenatal, "007": triage}
"""
SKILLED = f"{HEAD}properties:\n  x: {{source: profile.skills, transform: [{{code_list: skills}}]}}\n"
MANY = '{source: city, transform: [{split: {by: ","}}, {code_list: cadre}, {join: " "}], personal: false}'


def loaded(place: Path, lists: str = LISTS, *, project: str = PROJECT) -> Project:
    """Load a folder with code lists of its own."""
    folder(place, {"student.yaml": SKILLED, "code_lists.yaml": lists}, project=project)
    return load_project(place, CATALOGUE)


def test_code_lists_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    """Its lists are used like those of project.yaml, and it is read as no mapping."""
    project = loaded(tmp_path)
    assert ["student"] == [mapping.name for mapping in project.mappings]
    made = drafted(project.mappings[0].draft({**PERSON, "profile": {"skills": "007"}}, CONTEXT))
    assert {"x": "triage"} == dict(made.properties)
    assert {"skills", "gender", "cadre", "item_names"} == set(project.mappings[0].around.code_lists)


def test_an_edit_of_the_lists_is_an_edit(tmp_path: Path) -> None:
    """A changed list changes the project's revision and the fingerprint of the property that uses it."""
    before = loaded(tmp_path)
    after = loaded(tmp_path, LISTS.replace("triage", "first_aid"))
    assert before.revision != after.revision
    prints = before.mappings[0].fingerprints, after.mappings[0].fingerprints
    assert {"x"} == {name for name in prints[0] if prints[0][name] != prints[1][name]}


def test_the_same_name_in_both_files(tmp_path: Path) -> None:
    """A list that stands in both files is refused, with both places."""
    lists = LISTS.replace("skills:", "gender: {F: woman}\n  skills:")
    with pytest.raises(MappingError) as caught:
        loaded(tmp_path, lists)
    [problem] = caught.value.problems
    assert ("code_lists.yaml", 4) == (Path(problem.path).name, problem.line)
    assert "code list 'gender' also stands in project.yaml" == problem.sentence
    assert "keep one of them: the other is on line 9 of project.yaml" == problem.remedy


@pytest.mark.parametrize(
    ("expected", "lists"),
    [
        ("code_lists.yaml:3:16: a bracket that was opened", "language: 1\ncode_lists:\n  skills: {a: b: c}\n"),
        ("code_lists.yaml:1:1: unknown key 'lists'", "lists: {}\n"),
        (
            "code_lists.yaml:3:3: code list 'skills' has no entry",
            "language: 1\ncode_lists:\n  skills: {otherwise: x}\n",
        ),
        ("code_lists.yaml:3:12: 'a' takes one value here", "language: 1\ncode_lists:\n  skills: {a: [x]}\n"),
        ("code_lists.yaml:1:1: this file says nothing yet", ""),
        ("there is no code list 'skills'", "language: 1\ncode_lists: {others: {a: b}}\n"),
    ],
)
def test_mistakes_in_the_lists(tmp_path: Path, expected: str, lists: str) -> None:
    """A slip in code_lists.yaml is told there, and no mapping is blamed for a list that could not be read."""
    folder(tmp_path, {"student.yaml": SKILLED, "code_lists.yaml": lists})
    said = messages(tmp_path)
    assert expected in said
    assert ("there is no code list" in expected) == ("there is no code list" in said)
    assert 0 == check_project(tmp_path, CATALOGUE).tests_run


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("community", "CHW"),
        ("community other", "CHW, nurse"),
        ("community other", "CHW,,nurse , CHW, cook"),
        ("", " , "),
        ("", ""),
    ],
)
def test_several_answers(tmp_path: Path, expected: str, given: str) -> None:
    """A text of several answers is cut, each is translated once, and they go out separated by blanks."""
    assert expected == value(tmp_path, MANY, city=given)


def test_a_list_is_translated_entry_by_entry(tmp_path: Path) -> None:
    """Code lists and lookups take Moodle's lists as they are; blank entries are passed over."""
    definition = '{source: groups, transform: [{lookup: facility}, {join: " "}]}'
    assert "siaya-03 siaya-02" == value(tmp_path, definition, groups=["Gem", "", "Bondo"])
    assert "2" == value(
        tmp_path, "{source: groups, transform: [{lookup: facility}, count]}", groups=["Gem", "Bondo"]
    )


def test_one_unknown_answer_is_named(tmp_path: Path) -> None:
    """One answer that no list has makes the whole value unusable, and is named."""
    definition = 'x: {source: groups, transform: [{lookup: facility}, {join: " "}]}'
    made = drafted(student(tmp_path, definition).draft({**PERSON, "groups": ["Gem", "Rarieda"]}, CONTEXT))
    assert {} == dict(made.properties)
    assert (ValueProblem("x", "unknown_code", "Rarieda"),) == made.problems


@pytest.mark.parametrize(
    ("expected", "definition"),
    [
        (
            "the result of 'split' is a list, a property holds one text",
            '{source: lang, transform: [{split: {by: "_"}}]}',
        ),
        ("'groups' is a list, a property holds one text", "{source: groups, transform: [{lookup: facility}]}"),
        (
            "'lower' cannot work on a list, and that is what the result of 'split' is",
            '{source: lang, transform: [{split: {by: "_"}}, lower]}',
        ),
        (
            "'join' cannot work on a text, and that is what the result of 'code_list' is",
            '{source: lang, transform: [{code_list: cadre}, {join: " "}]}',
        ),
    ],
)
def test_lists_and_texts_are_told_apart(tmp_path: Path, expected: str, definition: str) -> None:
    """The checker knows what is a list after each transform, whatever its settings."""
    with pytest.raises(MappingError) as caught:
        student(tmp_path, f"x: {definition}")
    assert [expected] == [problem.sentence for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("warned", "definition"),
    [
        (True, '{source: city, transform: [{split: ","}, {code_list: wards}, {join: " "}], personal: false}'),
        (True, "{source: city, transform: [{code_list: wards}], data_type: select, personal: false}"),
        (False, '{source: city, transform: [{split: ","}, {code_list: wards}, {join: "; "}], personal: false}'),
        (False, '{source: city, transform: [{split: ","}, {code_list: cadre}, {join: " "}], personal: false}'),
        (False, "{source: city, transform: [{code_list: wards}], personal: false}"),
    ],
)
def test_a_choice_has_no_blank_inside(tmp_path: Path, warned: bool, definition: str) -> None:
    """Where CommCare separates choices by blanks, a choice with a blank is warned of."""
    lists = "language: 1\ncode_lists:\n  wards: {m: Maternity ward, s: Surgery}\n"
    files = {"student.yaml": f"{HEAD}properties:\n  x: {definition}\n", "code_lists.yaml": lists}
    said = messages(folder(tmp_path, files))
    assert warned == ("the choice 'Maternity ward' of code list 'wards' has a blank inside" in said)
    assert () == check_project(tmp_path, CATALOGUE).errors
