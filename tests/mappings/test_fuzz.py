"""No edit of a file makes the checker fall over or speak Python: 3,000 of them, the same ones every time."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from mappings.engine import MappingError, check_project, load_project
from mappings.engine.load import mapping_files
from tests.mappings.fuzz import PYTHON, edited
from tests.mappings.workbench import CATALOGUE, HEAD, SHIPPED, folder

EDITS = 600
PROJECT = """\
# yaml-language-server: $schema=schema/project.schema.json
language: 1
site: fuzz
site_url: https://moodle.example.org
time_zone: Africa/Nairobi
country: KE
courses: {ids: [2, 4], categories: [3], shortname_like: "CHW-*", only_running: true}
owner: {group: Field coaches}
parked_owner: {location: parked}
names: {filters: true, language: sw}
code_lists:
  gender: {F: female, M: male, otherwise: unknown}
lookups:
  facility: {file: lookups/facility.csv, key: district, value: site_code}
guards: {leavers_percent: 25, run_cases: 9}
intervals: {people: 1, grades: 2.5}
"""
TABLE = "district,site_code\nBondo,siaya-02\nGem,siaya-03\nUgenya,siaya-04\n"
EXTRA = """\
  gender: {source: profile.gender, transform: [{code_list: gender}], personal: false}
  site_code: {source: profile.district, transform: [trim, {lookup: facility}], personal: false}
  old_name: {retire: clear}
  greeting: {template: "Dear {firstname} {lastname}", personal: true, when_not_sent: clear}
"""


STUDENT = f"{HEAD}properties: {{x: department}}\n"
ENROLMENT = """\
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student}
indices: {student: {case_type: student, external_id: "{site}-user-{user.id}", relationship: extension}}
properties: {x: status}
"""


def folders(place: Path) -> dict[Path, str]:
    """Make a folder for each shipped mapping, alone with its parents, so that one check takes a few ms.

    Returns the files that are edited, with their texts: the mappings, and what all of them share.
    """
    texts = {}
    for file in mapping_files(SHIPPED):
        made = folder(place / file.stem, {}, project=PROJECT)
        (made / "lookups" / "facility.csv").write_text(TABLE, "utf-8")
        shutil.copy(SHIPPED / "code_lists.yaml", made)
        parents = {"enrolment": {"student": STUDENT}, "grade_item": {"student": STUDENT, "enrolment": ENROLMENT}}
        for name, text in parents.get(
            file.stem, {"student": STUDENT} if file.stem == "engagement" else {}
        ).items():
            (made / f"{name}.yaml").write_text(text, "utf-8")
        texts[made / file.name] = file.read_text("utf-8").replace("enabled: false\n", "", 1)
    student = place / "student" / "student.yaml"
    texts[student] = texts[student].replace("\nproperties:\n", f"\nproperties:\n{EXTRA}", 1)
    for file, text in texts.items():
        file.write_text(text, "utf-8")
    shared = [student.parent / name for name in ("project.yaml", "code_lists.yaml", "lookups/facility.csv")]
    return texts | {file: file.read_text("utf-8") for file in shared}


def test_no_edit_makes_the_checker_fall_over(tmp_path: Path) -> None:
    """Each edited file is checked in plain words, and loads or ends in MappingError as the checker said."""
    chance = random.Random(20261122)
    texts = folders(tmp_path)
    places = {file: tmp_path / file.relative_to(tmp_path).parts[0] for file in texts}
    assert [] == [
        problem.render() for place in places.values() for problem in check_project(place, CATALOGUE).errors
    ]
    right = 0
    for number in range(EDITS):
        file = chance.choice(list(texts))
        file.write_text(edited(texts[file], chance), "utf-8", newline="")
        report = check_project(places[file], CATALOGUE)
        right += not report.errors
        for problem in report.problems:
            said = f"{problem.sentence} {problem.remedy}"
            assert problem.sentence
            assert not PYTHON.search(said), said
        if number % 10 == 0 and not report.tests_failed:
            assert bool(report.errors) is bool(errors_of_loading(places[file]))
        file.write_text(texts[file], "utf-8")
    assert EDITS // 5 < right < EDITS // 2  # the rest is found only by tests in the files, and by looking


def errors_of_loading(place: Path) -> str:
    """Return what stops a folder from being loaded, "" when nothing does."""
    try:
        load_project(place, CATALOGUE)
    except MappingError as error:
        return str(error)
    return ""
