"""Transforms of a project's own: what they can do, what is told of them, and what is never loaded."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from mappings.engine import REASONS, MappingError, Project, ValueProblem, check_project, load_project
from mappings.engine.transform import TRANSFORMS
from tests.mappings.workbench import CATALOGUE, CONTEXT, HEAD, PERSON, PROJECT, ROOT, drafted, folder, messages

CODE = '''
from mappings.engine import transform

@transform(example=("KE-0042", "42"))
def facility_number(value: str, *, width: int = 0) -> str:
    """Give the digits of a facility code, without the country."""
    return value.split("-")[1].lstrip("0").zfill(width)

@transform(example=({"step": 5.0}, 12.0, 10.0))
def down_to(value: float, *, step: float) -> float:
    """Round down to a step."""
    return value // step * step

@transform(example=(["b", "a"], ["a", "b"]))
def in_order(value: list[str]) -> list[str] | None:
    """Sort the entries of a list."""
    return sorted(value) or None
'''
WITH_FILE = f"{PROJECT}transforms_file: transforms.py\n"
NUMBER = "x: {source: city, transform: [facility_number], personal: false}"
TESTED = """
tests:
  - name: somebody
    given: {id: 1, firstname: Amina, lastname: Otieno, city: KE-0042}
    expect: {case_name: Amina Otieno, properties: {x: "42"}}
"""


def written(place: Path, properties: str = NUMBER, *, code: str = CODE, project: str = WITH_FILE) -> Path:
    """Write a folder with a mapping and a file of transforms."""
    lines = "".join(f"  {line}\n" for line in properties.splitlines())
    folder(place, {"student.yaml": f"{HEAD}properties:\n{lines}{TESTED}"}, project=project)
    (place / "transforms.py").write_text(code, "utf-8")
    return place


def sent(project: Project, **fields: object) -> dict[str, str]:
    """Return the properties that a project makes of a person with these fields."""
    return dict(drafted(project.mappings[0].draft({**PERSON, **fields}, CONTEXT)).properties)


def test_a_plugin_is_used_like_any_other_transform(tmp_path: Path) -> None:
    """Values, settings and lists go in and out as the annotations say, between transforms of the language."""
    properties = """x: {source: city, transform: [trim, {facility_number: 4}], personal: false}
y: {source: profile.score, transform: [{down_to: 5}], data_type: number}
z: {source: groups, transform: [in_order, {join: " "}]}"""
    project = load_project(written(tmp_path, properties), CATALOGUE)
    made = sent(project, city=" KE-0042 ", profile={"score": "17"}, groups=["b", "", "a"])
    assert {"x": "0042", "y": "15", "z": "a b"} == made
    assert "" == messages(written(tmp_path))


def test_two_projects_do_not_share_plugins(tmp_path: Path) -> None:
    """What one folder defines is not known to another, nor to the language itself."""
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    other_code = CODE.replace('("KE-0042", "42")', '("KE-0042", "KE")').replace('split("-")[1]', 'split("-")[0]')
    projects = [load_project(written(one), CATALOGUE), load_project(written(other, code=other_code), CATALOGUE)]
    assert [{"x": "42"}, {"x": "KE"}] == [sent(project, city="KE-0042") for project in projects]
    with pytest.raises(MappingError, match="there is no transform 'facility_number'"):
        load_project(written(third, project=PROJECT), CATALOGUE)
    assert "facility_number" not in TRANSFORMS
    assert [] == [name for name in sys.modules if name.startswith("transforms_")]


def test_an_edit_of_a_plugin_is_an_edit_of_its_properties(tmp_path: Path) -> None:
    """Its source is part of the fingerprint of the properties that use it, and of the revision."""
    properties = f"{NUMBER}\ny: department"
    before = load_project(written(tmp_path, properties), CATALOGUE)
    after = load_project(written(tmp_path, properties, code=f"{CODE}\n# another year\n"), CATALOGUE)
    assert before.revision != after.revision
    prints = before.mappings[0].fingerprints, after.mappings[0].fingerprints
    assert {"x"} == {name for name in prints[0] if prints[0][name] != prints[1][name]}


@pytest.mark.parametrize("given", ["KE0042", "sys.exit"])
def test_a_plugin_that_stops_spoils_one_value_only(tmp_path: Path, given: str) -> None:
    """Whatever goes wrong inside is a problem of that value, without a word of it; the record goes on."""
    code = CODE.replace(
        "    return value.split", "    if value == 'sys.exit': raise SystemExit(3)\n    return value.split"
    )
    mapping = load_project(written(tmp_path, f"{NUMBER}\ny: department", code=code), CATALOGUE).mappings[0]
    made = drafted(mapping.draft({**PERSON, "city": given, "department": "Ward"}, CONTEXT))
    assert {"y": "Ward"} == dict(made.properties)
    assert (ValueProblem("x", "transform_failed", "facility_number"),) == made.problems
    assert "transform_failed" in REASONS


def test_a_plugin_that_returns_something_else(tmp_path: Path) -> None:
    """A result that is no text, number or list is unusable, whatever the annotation promises."""
    code = CODE.replace(
        "    return value.split", '    if value == "KE-1": return object()\n    return value.split'
    )
    mapping = load_project(written(tmp_path, code=code), CATALOGUE).mappings[0]
    made = drafted(mapping.draft({**PERSON, "city": "KE-1"}, CONTEXT))
    assert (ValueProblem("x", "transform_failed", "facility_number"),) == made.problems


HEADER = "from mappings.engine import transform\n\n@transform(example=('a', 'a'))\n"


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        ("transforms.py:2:1: this is not valid Python: '(' was never closed", "\nx = (\n"),
        ("transforms.py:3:1: it stops here while it is loaded: division by zero", "a = 1\n\nb = a / 0\n"),
        ("transforms.py:1:1: it needs the package 'pandass', which is not installed here", "import pandass\n"),
        ("transforms.py:1:1: it stops here while it is loaded", "raise SystemExit\n"),
        ("transforms.py:1:1: there is no transform in this file", "x = 1\n"),
        (
            "the example of 'facility_number' does not hold: it says '43', the function makes '42'",
            CODE.replace('"42"', '"43"'),
        ),
        (
            "transforms.py:4:1: the example of 'facility_number' stops: list index out of range",
            CODE.replace('"KE-0042"', '"KE"'),
        ),
        (
            "transforms.py:3:1: 'lower' is a transform of the language already: give yours another name",
            f'{HEADER}def lower(value: str) -> str:\n    "L."\n    return value\n',
        ),
        (
            "transforms.py:3:1: 'mine' does not say in a sentence what it does",
            f"{HEADER}def mine(value: str) -> str:\n    return value\n",
        ),
        (
            "transforms.py:3:1: the value that 'mine' takes must be a str, a float or a list[str]",
            f'{HEADER}def mine(value) -> str:\n    "M."\n    return value\n',
        ),
        (
            "transforms.py:3:1: what 'mine' returns must be a str, a number or a list[str], or None",
            f'{HEADER}def mine(value: str):\n    "M."\n    return value\n',
        ),
        (
            "transforms.py:3:1: 'mine' must take one value, and after a * its settings one by one",
            f'{HEADER}def mine(value: str, other: str) -> str:\n    "M."\n    return value\n',
        ),
        (
            "transforms.py:3:1: the setting 'by' of 'mine' must be a str, int, float or Literal of texts",
            f'{HEADER}def mine(value: str, *, by: bool) -> str:\n    "M."\n    return value\n',
        ),
        (
            "transforms.py:3:1: 'Mine' is no name for a transform: use small letters, digits and _",
            f'{HEADER}def Mine(value: str) -> str:\n    "M."\n    return value\n',
        ),
        (
            "transforms.py:3:1: the example of 'mine' is not (value, result)",
            f'{HEADER}def mine(value: str) -> str:\n    "M."\n    return value\n'.replace("('a', 'a')", "'a'"),
        ),
    ],
)
def test_mistakes_in_a_plugin(tmp_path: Path, expected: str, code: str) -> None:
    """What is wrong with a file of transforms is told with its line, once, and nothing of it is used."""
    written(tmp_path, code=code)
    said = messages(tmp_path)
    assert expected in said
    assert "Traceback" not in said
    assert 1 == len(check_project(tmp_path, CATALOGUE).errors)


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ("there is no file 'transform.py'", "transforms_file: transform.py"),
        ("did you mean 'transforms.py'?", "transforms_file: transform.py"),
        ("'../other.py' is not in this folder", "transforms_file: ../other.py"),
        ("no installed package offers transforms called 'county'", "plugins: [county]"),
    ],
)
def test_plugins_that_are_not_there(tmp_path: Path, expected: str, line: str) -> None:
    """A plug-in that cannot be found is told where project.yaml names it; a file also when it would not be run."""
    written(tmp_path, project=f"{PROJECT}{line}\n")
    assert expected in messages(tmp_path)
    for plugins in (True, "plugins" in line):
        with pytest.raises(MappingError):
            load_project(tmp_path, CATALOGUE, plugins=plugins)


def test_nothing_is_loaded_that_project_yaml_does_not_name(tmp_path: Path) -> None:
    """A file of transforms that only lies there is not run."""
    marker = tmp_path / "was_run"
    written(tmp_path, "x: department", code=f"open({str(marker)!r}, 'w').close()\n{CODE}", project=PROJECT)
    load_project(tmp_path, CATALOGUE)
    assert not marker.exists()


def test_checking_a_stranger_s_mapping_runs_no_code(tmp_path: Path) -> None:
    """Without plug-ins nothing of the file is run; what needs one is named, and its inline test is no failure."""
    marker = tmp_path / "was_run"
    written(tmp_path, code=f"open({str(marker)!r}, 'w').close()\n{CODE}")
    report = check_project(tmp_path, CATALOGUE, plugins=False)
    assert not marker.exists()
    assert ((), 1, 0) == (report.errors, report.tests_run, report.tests_failed)
    sentence = "'facility_number' is not looked at, because the plug-ins were not loaded"
    assert [("warning", sentence)] == [(problem.severity, problem.sentence) for problem in report.problems]
    mapping = load_project(tmp_path, CATALOGUE, plugins=False).mappings[0]
    made = drafted(mapping.draft({**PERSON, "city": "KE-0042"}, CONTEXT))
    assert ({}, (ValueProblem("x", "not_looked_at"),)) == (dict(made.properties), made.problems)


def test_a_slip_is_told_even_without_plugins(tmp_path: Path) -> None:
    """A misspelt transform of the language is still recognised when plug-ins are left out."""
    written(tmp_path, "x: {source: department, transform: [lwer]}")
    [problem, *_] = check_project(tmp_path, CATALOGUE, plugins=False).problems
    assert problem.remedy.startswith("did you mean 'lower'?")


def test_a_package_s_transforms_are_used_when_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package is found by its entry point, and only when project.yaml names it."""
    package = tmp_path / "site"
    (package / "county-1.0.dist-info").mkdir(parents=True)
    (package / "county-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: county\nVersion: 1.0\n"
    )
    points = package / "county-1.0.dist-info" / "entry_points.txt"
    points.write_text("[moodle_commcare.transforms]\ncounty = county_transforms\n")
    (package / "county_transforms.py").write_text(CODE, "utf-8")
    monkeypatch.syspath_prepend(str(package))
    importlib.invalidate_caches()
    place = tmp_path / "mappings"
    with pytest.raises(MappingError, match="there is no transform 'facility_number'"):
        load_project(written(place, project=PROJECT), CATALOGUE)
    assert "county_transforms" not in sys.modules
    project = load_project(written(place, project=f"{PROJECT}plugins: [county]\n"), CATALOGUE)
    assert {"x": "42"} == sent(project, city="KE-0042")
    both = written(place, project=f"{WITH_FILE}plugins: [county]\n")
    assert "there is a transform 'facility_number' already" in messages(both)
    sys.modules.pop("county_transforms")


def test_the_page_for_developers(tmp_path: Path) -> None:
    """What docs/plugins.md shows works as it stands there."""
    page = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    [code] = re.findall(r"(?ms)^```python\n(.*?)^```", page)
    named, properties, _ = re.findall(r"(?ms)^```yaml\n(.*?)^```", page)
    written(tmp_path, "x: department", code=code, project=PROJECT + named)
    (tmp_path / "student.yaml").write_text(HEAD + properties, "utf-8")
    made = sent(load_project(tmp_path, CATALOGUE), profile={"facility": " KE-0042 "})
    assert {"facility": "000042"} == made
