"""What the checker finds out beyond the shape: names, parents, conditions that settle each other, costs."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from adaptors.commcare.cases import is_property_name
from mappings.engine import check_project
from mappings.engine.names import RESERVED, in_dictionary, legal_name
from tests.mappings.workbench import CATALOGUE, HEAD, folder, messages, shipped

STUDENT = (
    f"{HEAD}properties: {{x: department}}\ntests: [{{name: a, given: {{id: 1}}, expect: {{held_back: true}}}}]\n"
)
CODED = "{source: item.id, transform: [{code_list: item_names}]}"
OFF = STUDENT.replace("language: 1", "language: 1\nenabled: false")
CHILD = """
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student}
indices:
  student: {case_type: student, external_id: "{site}-user-{user.id}", relationship: extension}
properties: {x: status}
tests: [{name: a, given: {user: {id: 1}}, expect: {held_back: true}}]
"""


def told(place: Path, **files: str) -> list[str]:
    """Return the first lines of what is told about mapping files, but not about a missing $schema line."""
    lines = messages(folder(place, {f"{name}.yaml": text for name, text in files.items()})).splitlines()
    return [line for line in lines if ".yaml:" in line and "$schema" not in line]


def test_only_records_of_a_course_end_with_it(tmp_path: Path) -> None:
    """A mapping of people is refused what nobody would act on; one of enrolments is not."""
    words = "when_course_ends: {set: {x: over}}\n"
    found = told(tmp_path, student=f"{STUDENT}{words}", enrolment=f"{CHILD}{words}")
    assert ["records of 'users' do not end with a course"] == [line.split(": ", 1)[1] for line in found]


def test_no_course_leaves(tmp_path: Path) -> None:
    """A mapping of courses is told that nothing ever does what it says of leaving; one of people is not."""
    words = "when_left: {set: {x: gone}}\n"
    course = STUDENT.replace("source: users", "source: courses").replace("case_type: student", "case_type: course")
    found = told(tmp_path, student=f"{STUDENT}{words}", course=f"{course}{words}")
    assert 1 == sum("no course is ever marked as left" in line for line in found)


# --- names --------------------------------------------------------------------------------------------------


def test_names_are_judged_as_the_sender_judges_them() -> None:
    """Of 3,000 odd names the checker takes exactly those that the CommCare adaptor would send."""
    chance = random.Random(20261122)
    pool = [*map(chr, range(1, 256)), *map(chr, chance.sample(range(0x100, 0xFFFF), 2000))]
    names = ["".join(chance.choices(pool, k=chance.randint(1, 3))) for _ in range(3000)]
    odd = [":", "a:b", "xml", "XMLx", "_a", "é", "a.b", "-", "1", "a b", "", "a\n", *RESERVED]
    for name in [*names, *(f"a{name}" for name in names[:1000]), *odd]:
        assert is_property_name(name) == (legal_name(name) and name not in RESERVED), name


@pytest.mark.parametrize("name", ["prénom", "a.b", "地址"])
def test_the_data_dictionary_is_narrower(name: str) -> None:
    """Letters of other scripts and dots are stored, but cannot be described."""
    assert (True, False) == (legal_name(name), in_dictionary(name))


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("CommCare loses a property whose name starts with _", "_x"),
        ("CommCare takes no property called 'a:b'", '"a:b"'),
        ("'hq_user_id' belongs to CommCare and cannot be a property", "hq_user_id"),
        ("'name' belongs to CommCare and cannot be a property", "name"),
        (
            "warning student.yaml:8:14: CommCare's data dictionary and forms may not take the property 'prénom'",
            "prénom",
        ),
        ("the name of this property is longer than 255 characters", "x" * 256),
    ],
)
def test_names_that_are_lost_or_refused(tmp_path: Path, expected: str, name: str) -> None:
    """A property that would not arrive is told before anything is sent."""
    assert any(expected in line for line in told(tmp_path, student=STUDENT.replace("{x: dep", f"{{{name}: dep")))


@pytest.mark.parametrize(
    ("expected", "name", "key"),
    [
        (1, "g_55", "item.id"),
        (0, "g_total", "item.id"),
        (0, "h_5", "item.id"),
        (1, "g_quiz", CODED),
        (1, "g_Rapport_d_ete", CODED),
        (0, "g_x", CODED),
        (1, "g_x", "{source: item.name, transform: [lower]}"),
    ],
)
def test_names_that_elements_could_make_too(tmp_path: Path, expected: int, name: str, key: str) -> None:
    """A property beside `one_property_per` whose name an element could make is doubtful."""
    family = f'{{each: items, key: {key}, name: "g_{{key}}", source: grade.raw}}'
    lines = f"  {name}: status\n  g: {{one_property_per: {family}}}"
    child = CHILD.replace("properties: {x: status}", f"properties:\n{lines}")
    found = told(tmp_path, student=STUDENT, enrolment=child)
    assert expected == len([line for line in found if "an element could make it too" in line])


# --- parents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "host", "child", "relationship"),
    [
        (1, "close: true", "close: false", "extension"),
        (1, "close: true", "", "extension"),
        (0, "close: true", "close: true", "extension"),
        (0, "close: true", "", "child"),
        (0, "park: true", "", "extension"),
    ],
)
def test_what_is_closed_with_its_host(
    tmp_path: Path, expected: int, host: str, child: str, relationship: str
) -> None:
    """Some project spaces close extensions with the case above them: whoever closes that is warned."""
    left = "when_left: {{set: {{x: left}}{}}}\n"
    below = CHILD.replace("relationship: extension", f"relationship: {relationship}")
    found = told(
        tmp_path,
        student=STUDENT + left.format(f", {host}"),
        enrolment=below + left.format(f", {child}" if child else ""),
    )
    warned = [line for line in found if "CommCare may close the cases of enrolment.yaml with these" in line]
    assert (expected, True) == (len(warned), all(line.startswith("warning student.yaml:") for line in warned))


def test_a_slip_in_one_file_is_told_once(tmp_path: Path) -> None:
    """A mapping is not blamed for a parent whose file cannot be read."""
    assert 1 == len(told(tmp_path, student=STUDENT.replace("{x: department}", "{x: department"), enrolment=CHILD))
    assert 1 == len(told(tmp_path, student=STUDENT.replace("case_type", "case_tpye"), enrolment=CHILD))


def test_a_parent_that_is_on_is_preferred(tmp_path: Path) -> None:
    """Of two mappings for the parent's case type, one of them off, the other makes the parent."""
    assert [] == told(tmp_path, a_old=OFF, student=STUDENT, enrolment=CHILD)
    older = STUDENT.replace("-user-", "-person-")
    assert ["enrolment.yaml:9:46: no student has such a key"] == told(
        tmp_path, a_old=OFF, student=older, enrolment=CHILD
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("source: users", "source: user", "student.yaml:4:9: there is no source 'user'"),
        ("user-{id}", "user-{idd}", "student.yaml:5:28: source 'users' has no field 'idd'"),
    ],
)
def test_a_mistake_in_a_parent_s_key_is_told_once(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Nothing is said of the keys of its children before the key of the parent can be read."""
    assert [expected] == told(tmp_path, student=STUDENT.replace(old, new), enrolment=CHILD)


def test_a_mistake_in_a_child_s_source_is_told_once(tmp_path: Path) -> None:
    """The fields of its links are not held against the parent's key."""
    child = CHILD.replace("source: enrolments", "source: enrolment")
    assert ["enrolment.yaml:4:9: there is no source 'enrolment'"] == told(
        tmp_path, student=STUDENT, enrolment=child
    )


def test_other_mistakes_in_a_parent_hide_no_wrong_key(tmp_path: Path) -> None:
    """All mistakes come at once where they have nothing to do with each other."""
    student = STUDENT.replace("x: department", "x: departmnt")
    child = CHILD.replace("user-{user.id}", "learner-{user.id}")
    assert [
        "enrolment.yaml:9:46: no student has such a key",
        "student.yaml:8:17: source 'users' has no field 'departmnt'",
    ] == told(tmp_path, student=student, enrolment=child)


def test_the_parents_key_is_told_in_the_childs_words(tmp_path: Path) -> None:
    """The remedy can be copied: {id} of a person is {user.id} here."""
    wrong = CHILD.replace("{site}-user-", "{site}-learner-")
    assert "here that is {site}-user-{user.id}" in messages(
        folder(tmp_path, {"student.yaml": STUDENT, "enrolment.yaml": wrong})
    )


# --- conditions ---------------------------------------------------------------------------------------------

UNREACHED = "this case is never reached"
IMPOSSIBLE = "no record can meet both conditions on"


@pytest.mark.parametrize(
    ("expected", "cases"),
    [
        (UNREACHED, "{source: id, at_least: 50} | {source: id, at_least: 80}"),
        ("", "{source: id, at_least: 80} | {source: id, at_least: 50}"),
        (UNREACHED, "{source: id, below: 80} | {source: id, below: 50}"),
        (UNREACHED, "{source: city, any_of: [a, b]} | {source: city, is: b}"),
        ("", "{source: city, is: b} | {source: city, any_of: [a, b]}"),
        (UNREACHED, "{source: city, is_not: a} | {source: city, is: b}"),
        (UNREACHED, "{source: city, is_not: a} | {source: city, none_of: [a, b]}"),
        ("", "{source: city, none_of: [a, b]} | {source: city, is_not: a}"),
        (UNREACHED, "{source: city, is_empty: false} | {source: city, like: 'B*'}"),
        (UNREACHED, "{source: city, is_empty: false} | {source: city, is: Bondo}"),
        (UNREACHED, "{source: city, like: 'B*'} | {source: city, is: Bondo}"),
        ("", "{source: city, like: 'B*'} | {source: city, is: Gem}"),
        (UNREACHED, "{source: city, is: a} | [{source: id, below: 7}, {source: city, is: a}]"),
        ("", "[{source: id, below: 7}, {source: city, is: a}] | {source: city, is: a}"),
        (UNREACHED, "{source: roles, any_of: [a, b]} | {source: roles, is: b}"),
        ("", "{source: roles, is_not: a} | {source: roles, is: b}"),
        ("", "{source: city, is: a} | {source: country, is: a}"),
        (IMPOSSIBLE, "[{source: city, is: a}, {source: city, is: b}] | {source: id, below: 1}"),
        (IMPOSSIBLE, "[{source: id, at_least: 5}, {source: id, below: 5}] | {source: id, below: 1}"),
        (IMPOSSIBLE, "[{source: id, is_empty: true}, {source: id, below: 5}] | {source: id, below: 1}"),
        (IMPOSSIBLE, "[{source: city, is: a}, {source: city, is_not: a}] | {source: id, below: 1}"),
        (IMPOSSIBLE, "[{source: city, is_empty: true}, {source: city, is_empty: false}] | {source: id, below: 1}"),
        ("", "[{source: roles, is: a}, {source: roles, is: b}] | {source: id, below: 1}"),
        ("", "[{source: id, at_least: 5}, {source: id, below: 6}] | {source: id, below: 1}"),
    ],
)
def test_each_case_can_be_reached(tmp_path: Path, expected: str, cases: str) -> None:
    """An entry of `cases` that another has settled, or that nothing meets, is a mistake; others are not."""
    first, second = cases.split(" | ")
    lines = f"properties:\n  x: {{cases: [{{when: {first}, value: a}}, {{when: {second}, value: b}}]}}\n"
    found = told(tmp_path, student=STUDENT.replace("properties: {x: department}\n", lines))
    assert ([expected] if expected else []) == [line.split(": ", 1)[1][: len(expected)] for line in found]


@pytest.mark.parametrize(
    ("expected", "filters"),
    [
        (IMPOSSIBLE, "include: [{source: city, is: a}, {source: city, is: b}]"),
        ("", "include: [{source: roles, is: a}, {source: roles, is: b}]"),
        (
            "this leaves out everybody",
            "include: [{source: roles, is: a}]\nexclude: [{source: roles, any_of: [a, b]}]",
        ),
        ("", "include: [{source: roles, any_of: [a, b]}]\nexclude: [{source: roles, is: a}]"),
    ],
)
def test_filters_leave_somebody(tmp_path: Path, expected: str, filters: str) -> None:
    """`include` and `exclude` that nobody passes are a mistake."""
    found = told(tmp_path, student=f"{STUDENT}{filters}\n")
    assert ([expected] if expected else []) == [line.split(": ", 1)[1][: len(expected)] for line in found]


# --- costs --------------------------------------------------------------------------------------------------


def test_costs(tmp_path: Path) -> None:
    """What costly fields of the mappings that are on add to a run is told once for each kind."""
    paid = {
        path: replace(found, cost="one read of the grades of each course")
        if path.startswith(("grade.", "items"))
        else found
        for path, found in CATALOGUE["enrolments"].items()
    }
    report = check_project(shipped(tmp_path), {**CATALOGUE, "enrolments": paid})
    assert ["enrolment: grade.*, items: one read of the grades of each course"] == [
        cost.sentence for cost in report.costs
    ]


def test_nothing_costs_nothing(tmp_path: Path) -> None:
    """Without costly fields there is nothing to tell."""
    assert () == check_project(folder(tmp_path, {"student.yaml": STUDENT}), CATALOGUE).costs
