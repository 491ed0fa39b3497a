"""What must hold of a case besides its mapping's values: whose it is, what it hangs on, what others wrote.

None of it is worked out with the mapping engine: it is said here once more, in plain words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from adaptors.commcare.fake_project import Case, FakeProject
from tests.flows.expected import BY_AN_APP, LEFT, PARKING, base
from tests.flows.worlds import OWNER

OTHERS = {"student": "visits", "enrolment": "grade_level"}
"""By case type: a property that an app fills in; the second one looks like one of a graded activity."""
TYPES = {"user": "student", "enrol": "enrolment", "member": "enrolment", "engage": "engagement"}
"""The second word of a key, and the type of its case."""
PARENTS = {"enrolment": ("student", "extension"), "engagement": ("parent", "child")}
"""By case type: what its index to a student is called, and how it hangs on it."""


def fill_in(project: FakeProject) -> None:
    """Let the app write into every case that is open and new to it."""
    for case in project.cases.values():
        name = OTHERS.get(case.case_type)
        if name and not case.closed and name not in case.properties:
            project.edit_case(case.case_id, **{name: BY_AN_APP})


def overwritten(project: FakeProject) -> dict[str, str]:
    """Return the cases in which something of the app's is another than it wrote, with that."""
    held = {
        case.external_id or "": case.properties[name]
        for case in project.cases.values()
        if (name := OTHERS.get(case.case_type, "")) in case.properties
    }
    return {key: value for key, value in held.items() if value != BY_AN_APP}


def owner_named(project: FakeProject, name: str) -> str:
    """Return the id of a group."""
    return next(group_id for group_id, group in project.groups.items() if group.name == name)


def is_of(project: FakeProject, key: str, case: Case) -> str:
    """Return what is wrong with the owner and the parent of a case whose person is there, "" when nothing is."""
    if case.owner_id != owner_named(project, OWNER):
        return f"its owner is {case.owner_id}"
    if case.case_type != key_type(key):
        return f"it is a {case.case_type}"
    return _hangs_wrongly(project, key, case.indices)


def row_is_of(project: FakeProject, key: str, row: Mapping[str, Any]) -> str:
    """Return what is wrong with the owner and the parent that a row gives its case, "" when nothing is."""
    said = row.get("properties", {}).values()
    owners = {owner_named(project, OWNER), owner_named(project, PARKING)}
    if row.get("owner_id") and row["owner_id"] not in owners:
        return f"it is given to {row['owner_id']}"
    if row.get("owner_id") == owner_named(project, OWNER) and LEFT in said:
        return "it is marked as left and given to somebody"
    return _hangs_wrongly(project, key, row["indices"]) if row.get("indices") else ""


def key_type(key: str) -> str:
    """Return the case type of a key."""
    return TYPES[key.split("-")[1]]


def _hangs_wrongly(project: FakeProject, key: str, indices: Mapping[str, Mapping[str, str]]) -> str:
    wanted, relationship = PARENTS.get(key_type(key), ("", ""))
    if [*filter(None, [wanted])] != [*indices]:
        return f"its indices are {sorted(indices)}"
    for name, index in indices.items():
        if (index["case_type"], index["relationship"]) != ("student", relationship):
            return f"{name} is {dict(index)}"
        parent = project.cases.get(index["case_id"]) or project.deleted[index["case_id"]]
        if base(parent.external_id or "") != f"test-user-{key.rsplit('-', 1)[1]}":
            return f"{name} leads to {parent.external_id}"
    return ""


def place_of(key: str) -> str:
    """Return a key without its person: all that are alike count together."""
    return key.rpartition("-")[0]


class Departed:
    """Who was marked as left, or emptied, in one run, against the number of people that nobody has to be asked of.

    Whom a person has agreed to let go may go, whenever that is.
    """

    def __init__(self, many: int, share: float) -> None:
        self._many, self._share = many, share
        self.agreed: set[int] = set()

    def agree(self, people: Iterable[int]) -> None:
        """Take in whom a person let go."""
        self.agreed.update(people)

    def look_at(self, keys: Collection[str], said: str, but: Collection[int], living: Mapping[str, int]) -> None:
        """Hold the keys of what one run did against the guard.

        `but` are people who went by another word; `living`: how many there were before, by place.
        """
        places = defaultdict[str, set[int]](set)
        for key in keys:
            places[place_of(key)].add(int(key.rpartition("-")[2]))
        for place, people in places.items():
            unasked = people - self.agreed - {*but}
            many = len(unasked) >= self._many and len(unasked) > living[place] * self._share
            assert not many, f"{len(unasked)} of {living[place]} of {place} were {said}, and nobody was asked"
