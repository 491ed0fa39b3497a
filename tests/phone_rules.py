"""Which cases CommCare puts on whose phone, by its own rules, read off the project space and nothing of ours.

A mobile worker's phone syncs the open cases owned by the worker, by a case-sharing group the worker is in, or by a
location the worker is at whose type shares cases. With them come the cases that those point at (parents and hosts,
and theirs), and the open extensions of every host that is there. Children do not follow a parent.
"""

from __future__ import annotations

from collections.abc import Iterator

from adaptors.commcare.fake_project import Case, FakeProject, User


def on_phone(project: FakeProject, username: str) -> list[Case]:
    """Return the cases on the phone of a mobile worker, in the order of their creation."""
    user = project.users[username.lower()]
    if not user.active:
        return []
    owners = set(_owners(project, user))
    held = {case.case_id for case in project.cases.values() if not case.closed and case.owner_id in owners}
    while more := {*_pointed_at(project, held), *_extensions(project, held)} - held:
        held |= more
    return [case for case in project.cases.values() if case.case_id in held]


def _owners(project: FakeProject, user: User) -> Iterator[str]:
    yield user.user_id
    yield from (number for number in user.groups if project.groups[number].case_sharing)
    for number in user.locations:
        if project.location_types[project.locations[number].type_code].shares_cases:
            yield number


def _pointed_at(project: FakeProject, held: set[str]) -> Iterator[str]:
    for case_id in held:
        for index in project.cases[case_id].indices.values():
            if index["case_id"] in project.cases:
                yield index["case_id"]


def _extensions(project: FakeProject, held: set[str]) -> Iterator[str]:
    for case in project.cases.values():
        hosts = (index for index in case.indices.values() if index["relationship"] == "extension")
        if not case.closed and any(index["case_id"] in held for index in hosts):
            yield case.case_id
