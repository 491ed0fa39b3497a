"""The field catalogue held against a real Moodle 4.5: each field is a key of a recorded answer, with that type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from adaptors.moodle.catalogue import FieldInfo, catalogue
from tests.adaptors.moodle_world import RECORDINGS, recorded_calls, recording_of

FIELDS = {(source, path): info for source, fields in catalogue().items() for path, info in fields.items()}

MADE = {
    "percent": "made of graderaw, grademin and grademax",
    "=status": "made of the list of everybody and that of the suspended",
    "teachers": "the user names of people with a teacher's role",
    "items": "the rows of type mod and manual",
    "groups": "names of the groups; told as a list of objects",
    "roles": "short names of the roles; told as a list of objects",
    "courses_active": "counted: rosters without suspended enrolments",
    "activities.courses": "counted: courses with statuses of the person",
    "activities.done": "counted: statuses with isoverallcomplete",
    "activities.left": "counted: statuses without isoverallcomplete",
    "activities.overdue": "counted: statuses not complete whose activity has a duedate that has passed",
    "progress": "made of activities done and left",
    "next_due": "the earliest duedate among the activities left",
    "needs_attention.left": "counted in one course",
    "needs_attention.overdue": "counted in one course",
    "courses_completed": "counted: rows with completed",
    "profile.*": "a custom field under its short name; told as a list of objects",
}
"""What no single key of Moodle's holds, and what it is made of."""
MADE_OF = {
    "percent": ("graderaw", "grademin", "grademax"),
    "teachers": ("username", "roles.shortname"),
    "items": ("itemtype",),
    "groups": ("groups.name", "groups.id"),
    "roles": ("roles.shortname", "roles.roleid"),
    "activities.courses": ("tracking", "istrackeduser"),
    "activities.done": ("isoverallcomplete", "tracking", "istrackeduser"),
    "activities.left": ("isoverallcomplete", "tracking", "istrackeduser"),
    "activities.overdue": ("dates.timestamp", "dates.dataid", "completion"),
    "next_due": ("dates.timestamp", "dates.dataid", "completion"),
    "progress": ("isoverallcomplete",),
    "courses_completed": ("completed", "completionhascriteria"),
    "profile.*": ("customfields.shortname", "customfields.value", "customfields.type"),
}
NOT_RECORDED = {
    "course.profile.*": "the recorded site has no custom course fields",
    "item.outcomeid": "the recorded site has no outcomes: there the key is always null",
}
RENAMED = {
    "category": "categoryname",
    "raw": "graderaw",
    "min": "grademin",
    "max": "grademax",
    "datesubmitted": "gradedatesubmitted",
    "dategraded": "gradedategraded",
    "hidden": "gradeishidden",
    "overridden": "gradeisoverridden",
    "item.name": "itemname",
    "item.type": "itemtype",
    "item.module": "itemmodule",
    "grademax": "grade",
}
"""Our shorter name for a key of Moodle's, by the end of the path."""
WHERE = {
    "core_course_get_courses_by_field": "courses",
    "gradereport_user_get_grade_items": "usergrades.gradeitems",
    "core_completion_get_activities_completion_status": "statuses",
    "core_course_get_contents": "modules",
    "mod_assign_get_assignments": "courses.assignments",
    "mod_assign_get_submissions": "assignments.submissions",
}
"""Where a function's answer keeps the rows."""
TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "flag": (bool, int),
    "time": (int,),
}


@cache
def recorded() -> Mapping[str, Mapping[str, frozenset[type]]]:
    """Return by function the paths of all recorded answers, and the types that stood there."""
    found: defaultdict[str, defaultdict[str, set[type]]] = defaultdict(lambda: defaultdict(set))
    calls = [*recorded_calls("before"), *recorded_calls("after")]
    for file in (RECORDINGS / "moodle-4.5").glob("*.json"):
        if not file.stem.startswith("error__"):
            calls.append(recording_of(file.stem))
    for call in calls:
        for path, kind in _walk(call["response"]):
            found[call["function"]][path].add(kind)
    return {
        function: {path: frozenset(types) for path, types in paths.items()} for function, paths in found.items()
    }


def _walk(data: Any, path: str = "") -> Iterator[tuple[str, type]]:
    if isinstance(data, dict) and "_trimmed_from" in data:
        data = data["items"]
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _walk(value, f"{path}.{key}" if path else key)
    elif isinstance(data, list):
        for value in data:
            yield from _walk(value, path)
    elif data is not None:
        yield path, type(data)


def types_of(info: FieldInfo, key: str) -> frozenset[type]:
    """Return the types that a key of the function's rows was recorded with."""
    base = WHERE.get(info.function, "")
    return recorded()[info.function].get(f"{base}.{key}" if base else key, frozenset())


def _reason(path: str, table: Mapping[str, Any]) -> str:
    """Return the entry of a table that the end of a path (with "=" all of it) answers to, "" when none does."""
    plain = path.replace("[]", "")
    if f"={plain}" in table:
        return f"={plain}"
    return max((end for end in table if plain == end or plain.endswith(f".{end}")), key=len, default="")


@pytest.mark.parametrize(("source", "path"), [key for key in FIELDS if not _reason(key[1], MADE | NOT_RECORDED)])
def test_field_is_a_key_of_moodle(source: str, path: str) -> None:
    """A field that is handed through stands in its function's recorded answer, with its type."""
    info = FIELDS[source, path]
    renamed = _reason(path, RENAMED)
    key = RENAMED[renamed] if renamed else path.rpartition(".")[2]
    types = types_of(info, key)
    assert types, f"{info.function} has no {key}"
    assert types <= set(TYPES[info.type])


@pytest.mark.parametrize(("source", "path"), [key for key in FIELDS if _reason(key[1], MADE_OF)])
def test_made_field_has_its_parts(source: str, path: str) -> None:
    """What a made field is made of stands in its function's recorded answer."""
    info = FIELDS[source, path]
    if _reason(path, NOT_RECORDED) or (source == "courses" and path == "profile.*"):
        return
    for part in MADE_OF[_reason(path, MADE_OF)]:
        assert types_of(info, part), f"{info.function} has no {part}"


def test_reasons_are_needed() -> None:
    """Each reason and each other name belongs to a field that is there."""
    paths = [path for _, path in FIELDS]
    used = {_reason(path, MADE) for path in paths} | {_reason(path, NOT_RECORDED) for path in paths}
    assert set() == MADE.keys() - used
    assert set() == RENAMED.keys() - {_reason(path, RENAMED) for path in paths}
    assert set() == MADE_OF.keys() - MADE.keys()


def test_every_field_says_where_it_comes_from() -> None:
    """Each field has a meaning, a type of the language and the Moodle function that supplies it."""
    for (source, path), info in FIELDS.items():
        assert info.meaning.endswith("."), (source, path)
        assert info.function in recorded(), (source, path)
        assert info.type in {*TYPES, "list", "elements"}, (source, path)
