"""A small field catalogue and mapping folders for the tests of the mapping engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from mappings.engine import (
    CatalogueField,
    CompiledMapping,
    Context,
    Draft,
    Excluded,
    HeldBack,
    Project,
    check_project,
    load_project,
)

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "mappings"
CONTEXT = Context("demo", "https://moodle.example.org", date(2025, 10, 19))

PROJECT = """
language: 1
site: demo
time_zone: Africa/Nairobi
country: KE
courses: {ids: [7]}
owner: {group: Field coaches}
code_lists:
  gender: {F: female, M: male}
  cadre: {CHW: community, otherwise: other}
  item_names: {"55": quiz, "56": quiz, "57": "Rapport d'été"}
lookups:
  facility: {file: lookups/facility.csv, key: district, value: site_code}
"""
FACILITY = "district,site_code\nBondo,siaya-02\nGem,siaya-03\n"

HEAD = """# yaml-language-server: $schema=schema/mapping.schema.json
language: 1
case_type: student
source: users
external_id: "{site}-user-{id}"
case_name: "{firstname} {lastname}"
owner: {otherwise: project}
"""
PERSON: Mapping[str, Any] = {"id": 1042, "firstname": "Amina", "lastname": "Otieno"}

_PERSON = (
    "id:number username:text! firstname:text! lastname:text! fullname:text! email:text! idnumber:text! "
    "phone1:text! phone2:text! city:text! country:text address:text! department:text institution:text "
    "lang:text timezone:text "
    "auth:text suspended:flag confirmed:flag firstaccess:time lastaccess:time profile.*:text"
)
_COURSE = (
    "id:number shortname:text fullname:text idnumber:text summary:text category:text categoryid:number "
    "startdate:time enddate:time visible:flag lang:text format:text profile.*:text"
)
_GRADE = (
    "raw:number min:number max:number percent:number feedback:text! dategraded:time datesubmitted:time "
    "hidden:flag overridden:flag"
)
_ITEM = "id:number name:text type:text module:text idnumber:text cmid:number categoryid:number"
_ASSIGNMENT = (
    "id:number cmid:number name:text duedate:time cutoffdate:time gradingduedate:time "
    "allowsubmissionsfromdate:time grademax:number maxattempts:number nosubmissions:flag teamsubmission:flag "
    "blindmarking:flag"
)
_SUBMISSION = "id:number status:text gradingstatus:text attemptnumber:number timecreated:time timemodified:time"
_ENROLLED = "roles:list groups:list teachers:list! status:text lastcourseaccess:time"


def _within(block: str, fields: str) -> str:
    return " ".join(f"{block}{name}" for name in fields.split())


_SOURCES = {
    "users": f"{_PERSON} roles:list groups:list",
    "enrolments": " ".join(
        (
            _within("course.", _COURSE),
            _within("user.", _PERSON),
            _ENROLLED,
            _within("grade.", _GRADE),
            "items:elements",
            _within("items[].item.", _ITEM),
            _within("items[].grade.", _GRADE),
        )
    ),
    "grade_items": " ".join(
        (
            _within("item.", _ITEM),
            _within("course.", _COURSE),
            _within("user.", _PERSON),
            _ENROLLED,
            _within("grade.", _GRADE),
        )
    ),
    "courses": _COURSE,
    "engagement": " ".join(
        (
            _within("user.", _PERSON),
            "profile.*:text! roles:list groups:list lastaccess:time lastcourseaccess:time courses_active:number",
            "activities.courses:number activities.done:number activities.left:number activities.overdue:number",
            "progress:number next_due:time courses_completed:number completed:flag",
            _within("needs_attention.course.", _COURSE),
            "needs_attention.lastcourseaccess:time needs_attention.left:number needs_attention.overdue:number",
        )
    ),
    "assignments": " ".join(
        (
            _within("assignment.", _ASSIGNMENT),
            _within("submission.", _SUBMISSION),
            _within("course.", _COURSE),
            _within("user.", _PERSON),
            _ENROLLED,
            _within("grade.", _GRADE),
        )
    ),
}


def _fields(words: str) -> Iterator[tuple[str, CatalogueField]]:
    for word in words.split():
        path, kind = word.rstrip("!").split(":")
        yield path, CatalogueField(path, kind, "", word.endswith("!"), "")


CATALOGUE = {source: dict(_fields(words)) for source, words in _SOURCES.items()}
"""The fields of the Moodle adaptor's records, personal ones as they are there (custom fields apart)."""


def folder(place: Path, files: Mapping[str, str], *, project: str = PROJECT) -> Path:
    """Write a mappings folder: project.yaml, its lookup table, and the given files."""
    (place / "lookups").mkdir(parents=True, exist_ok=True)
    (place / "lookups" / "facility.csv").write_text(FACILITY, "utf-8")
    (place / "project.yaml").write_text(project, "utf-8")
    for name, text in files.items():
        (place / name).write_text(text, "utf-8")
    return place


def shipped(place: Path, project: str = "") -> Path:
    """Copy the shipped mappings and the demo's project, as `demo` does, into a folder."""
    for file in SHIPPED.glob("*.yaml"):
        if file.name != "project.yaml":
            shutil.copy(file, place)
    shutil.copy(SHIPPED / "demo" / "project.yaml", place)
    if project:
        (place / "project.yaml").write_text(project, "utf-8")
    return place


def offline(place: Path) -> Path:
    """Copy the mappings for students' own phones and the demo's project into a folder."""
    for file in SHIPPED.glob("offline/*.yaml"):
        shutil.copy(file, place)
    shutil.copy(SHIPPED / "demo" / "project.yaml", place)
    return place


def project_of(place: Path, files: Mapping[str, str], *, project: str = PROJECT) -> Project:
    """Load a folder with the given mapping files."""
    return load_project(folder(place, files, project=project), CATALOGUE)


def mapping(place: Path, text: str, *, project: str = PROJECT) -> CompiledMapping:
    """Load one mapping file."""
    return project_of(place, {"student.yaml": text}, project=project).mappings[0]


def student(place: Path, properties: str, *, extra: str = "", head: str = HEAD) -> CompiledMapping:
    """Load a mapping of `users` with these lines under `properties` and further keys."""
    lines = "".join(f"  {line}\n" for line in properties.strip().splitlines())
    return mapping(place, f"{head}properties:\n{lines}{extra}")


def drafted(made: Draft | Excluded | HeldBack) -> Draft:
    """Return a draft, or fail the test."""
    assert isinstance(made, Draft), made
    return made


def value(place: Path, definition: str, **fields: Any) -> str | None:
    """Return what a property `x` of a person with these fields is sent as; None when it is not sent."""
    made = student(place, f"x: {definition}").draft({**PERSON, **fields}, CONTEXT)
    return drafted(made).properties.get("x")


def messages(place: Path) -> str:
    """Return everything the checker says about a folder, with paths relative to it."""
    report = check_project(place, CATALOGUE)
    return "\n\n".join(problem.render() for problem in report.problems).replace(f"{place}/", "")
