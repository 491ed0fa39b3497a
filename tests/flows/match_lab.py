"""A lab in which others have made cases already: people are matched, decided about, and sent."""

from __future__ import annotations

from typing import Any

from adaptors.commcare.fake_project import Case
from adaptors.moodle.fake_site import FakeSite
from flows.decide import Decision, alone, approve_class, decide
from flows.match import match
from flows.matched import MappingMatch, Matched
from flows.result import Result
from tests.flows.worlds import Lab

BY_DNI = "match: [{moodle: profile.dni, commcare: national_id}]"
MAIL = "{}@clinic.example.org"


def site_of(*people: str) -> tuple[FakeSite, list[int]]:
    """Make a site with one course and people of these first names; each has an address and an id of their own."""
    site = FakeSite()
    course = site.add_course("C0", "Course 0")
    numbers = []
    for number, name in enumerate(people):
        mail, dni = MAIL.format(name.lower()), f"ID-{number + 1:04}"
        numbers.append(
            site.add_user(name, "Otieno", email=mail, phone1=f"0722 000 {number:03}", profile={"dni": dni})
        )
        site.enrol(course, numbers[-1])
    return site, numbers


def declare(lab: Lab, text: str = BY_DNI) -> None:
    """Put a `match` block into the mapping of students, in the place of the one before."""
    file = lab.mappings / "student.yaml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("match:")]
    at = lines.index("source: users") + 1
    file.write_text("\n".join([*lines[:at], text, *lines[at:]]) + "\n")


async def matched(lab: Lab, later: float = 3600.0, **options: Any) -> Matched:
    """Match once, an hour after the last thing."""
    lab.clock.advance(later)
    world = lab.world()
    try:
        return await match(world, **options)
    finally:
        await world.moodle.close()
        await world.commcare.close()


async def classes(lab: Lab, later: float = 3600.0) -> dict[str, int]:
    """Match once and return how many people are of each class, without those that nobody is of."""
    (found,) = (await matched(lab, later)).mappings
    return counted(found)


def counted(found: MappingMatch) -> dict[str, int]:
    """Return the classes of people that somebody is of."""
    return {name: count for name, count in found.classes.items() if count}


def open_rows(lab: Lab) -> list[tuple[int, str, str, str, str]]:
    """Return what is open: person, case, class, by what, why."""
    rows = lab.store.matches(decision="")
    return [(row.user_id, row.case_id, row.kind, row.matched_by, row.reason) for row in rows]


def link(lab: Lab, person: int, case_id: str = "") -> str:
    """Approve one match."""
    return say(lab, Decision(person, case_id, True))


def refuse(lab: Lab, person: int, case_id: str) -> str:
    """Reject one match."""
    return say(lab, Decision(person, case_id, False))


def say(lab: Lab, *decisions: Decision) -> str:
    """Take in somebody's decisions."""
    with alone(lab.store, lab.clock.now(), 600.0):
        return decide(lab.store, decisions, lab.clock.now())


def link_all(lab: Lab, kind: str, count: int) -> str:
    """Approve everybody of a class."""
    return approve_class(lab.store, kind, count, lab.clock.now())


def by_hand(lab: Lab, name: str, *, owner: str = "supervisor", **properties: str) -> Case:
    """Make a case of a student as somebody in the field would."""
    return lab.project.add_case("student", name, owner_id=owner, properties=properties)


async def sent(lab: Lab, **options: Any) -> Result:
    """Run with mappings of students only."""
    return await lab.sync(mappings=("student",), **options)
