"""What phones hold: counted from the books by owners, as CommCare hands cases to phones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from adaptors.commcare.fake_project import LocationType
from flows.masked import Eyes
from flows.phones import CASES_ADVISED, CHANGES_ADVISED, Load, Phones, phones
from flows.show_phones import csv_rows
from flows.world import World
from state import Ack, RowId
from tests.flows.terminal import Terminal
from tests.flows.test_sync import site_of
from tests.flows.worlds import OWNER, PROJECT, Lab

MakeLab = Callable[..., Lab]


async def on(lab: Lab) -> Phones:
    """Count as a new process would."""
    world: World = lab.world()
    try:
        return await phones(world)
    finally:
        await world.moodle.close()
        await world.commcare.close()


def coach(lab: Lab, name: str = "joseph") -> str:
    """Add a mobile worker to the group that owns everything, and return the id."""
    user = lab.project.add_user(name)
    group = next(group for group in lab.project.groups.values() if group.name == OWNER)
    lab.project.place_user(name, groups=[group.group_id])
    return user


async def test_a_phone_holds_what_its_group_owns(make_lab: MakeLab) -> None:
    """Cases by type, and every write of the last days; a second coach has the same cases."""
    site, _, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[0], city="Bondo")
    await lab.sync(later=20 * 86_400.0)
    users = {coach(lab, "joseph"), coach(lab, "mercy")}
    found = await on(lab)
    assert users == {one.holder.owner_id for one in found.phones}
    (one, other) = found.phones
    assert (Counter(student=3, enrolment=3), {"group": 6}) == (one.load.cases, one.by_kind)
    assert (1, 7, one.load.cases) == (one.load.week, one.load.month, other.load.cases)
    (owned,) = found.owners
    assert (2, 6, []) == (owned.phones, owned.load.cases.total(), found.unsynced)


async def test_nothing_is_written_and_few_requests_are_made(make_lab: MakeLab) -> None:
    """Four lists and the deactivated workers; no case is looked at, and CommCare has no write of it."""
    lab = make_lab(site_of(3)[0])
    await lab.sync()
    forms, asked = len(lab.project.forms), len(lab.commcare.calls)
    await on(lab)
    assert (0, 4) == (len(lab.project.forms) - forms, len(lab.commcare.calls) - asked)


async def test_cases_on_nobodys_phone_are_told(make_lab: MakeLab) -> None:
    """A group without workers, somebody deactivated, an owner that CommCare does not list."""
    lab = make_lab(site_of(3)[0])
    await lab.sync()
    lab.project.add_user("gone", active=False)
    gone = lab.project.users["gone"].user_id
    rows = [RowId("student", 0, f"test-user-90{number}") for number in range(2)]
    owners = [gone, "web-user"]
    acks = [Ack(row, f"c-{row.key}", owner, {}, "active", 0) for row, owner in zip(rows, owners, strict=True)]
    lab.store.acknowledge(acks, lab.clock.now())
    found = {one.owner_id: one for one in (await on(lab)).unsynced}
    states = {owner: one.holder.state if one.holder else None for owner, one in found.items()}
    group = next(iter(lab.project.groups))
    assert {group: "no_worker", gone: "deactivated", "web-user": None} == states


async def test_closed_and_parked_cases_are_on_no_phone(make_lab: MakeLab) -> None:
    """What we closed is not synced; what is parked is with the owner that no phone syncs."""
    site, courses, learners = site_of(30)
    lab = make_lab(site, project=f"{PROJECT}parked_owner: {{group: Parking}}\n")
    parking = lab.project.add_group("Parking", case_sharing=True)
    coach(lab)
    for name, status, further in (("student", "moodle", "park"), ("enrolment", "enrolment", "close")):
        left = f"when_left: {{set: {{{status}_status: left}}"
        lab.edit(name, left, f"{left}, {further}: true")
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    await lab.sync()
    assert parking == lab.case(f"test-user-{learners[0]}").owner_id
    found = await on(lab)
    (phone,) = found.phones
    assert {"student": 29, "enrolment": 29} == phone.load.cases
    assert {parking: Counter(student=1)} == {one.owner_id: one.load.cases for one in found.unsynced}
    site.enrol(courses[0], learners[0])
    await lab.sync(mappings=("enrolment",))  # the student is known to be back, and CommCare was not told yet
    assert parking == lab.case(f"test-user-{learners[0]}").owner_id
    assert {parking: Counter(student=1)} == {one.owner_id: one.load.cases for one in (await on(lab)).unsynced}


async def test_locations_are_counted_apart(make_lab: MakeLab) -> None:
    """A worker who sees the places below has their cases too."""
    site, _, _ = site_of(2)
    lab = make_lab(site, project=PROJECT.replace('{group: "Field coaches"}', "{location: bondo}"))
    top = lab.project.add_location("Siaya", "siaya", kind=LocationType("district", False, True))
    lab.project.add_location("Bondo", "bondo", parent_id=top)
    lab.project.add_user("chief")
    lab.project.place_user("chief", locations=[top])
    await lab.sync()
    (phone,) = (await on(lab)).phones
    assert {"location": 4} == phone.by_kind


@pytest.mark.parametrize(
    ("cases", "week", "verdict"),
    [
        ({"a": CASES_ADVISED * 0.8 - 1}, 0, ""),
        ({"a": CASES_ADVISED * 0.8}, 0, "near"),
        ({"a": CASES_ADVISED, "b": CASES_ADVISED}, 0, "near"),
        ({"a": CASES_ADVISED + 1}, 0, "over"),
        ({}, CHANGES_ADVISED * 7 + 1, "over"),
    ],
)
def test_the_advice_is_held_against_each_phone(cases: dict[str, Any], week: int, verdict: str) -> None:
    """By the case type with most cases, and by the changes of a day."""
    assert verdict == Load(Counter({name: int(count) for name, count in cases.items()}), week, week).verdict


async def test_usernames_are_masked(make_lab: MakeLab) -> None:
    """In JSON and in tables; the names of groups are none of a person."""
    lab = make_lab(site_of(1)[0])
    await lab.sync()
    coach(lab, "joseph.kariuki")
    found = await on(lab)
    eyes = Eyes()
    assert ("jo***", OWNER) == (found.as_json(eyes)["phones"][0]["name"], found.as_json(eyes)["owners"][0]["name"])
    assert "kariuki" not in f"{found!r} {found.as_json(eyes)} {list(csv_rows(found, eyes))}"
    eyes.sees_values = True
    assert "joseph.kariuki" == next(iter(csv_rows(found, eyes)))[2]


def test_commands(terminal: Terminal) -> None:
    """At a terminal, as JSON and as a table that is for one person alone."""
    ended = terminal.run("phones")
    assert (2, True) == (ended.code, "no books yet" in ended.text)
    terminal.run("sync", "--yes")
    shown = terminal.run("phones")
    assert (0, True, True) == (shown.code, "jo***" in shown.text, "Case Loads on CommCare" in shown.text)
    assert [36, 36] == [one["cases"] for one in terminal.run("phones", "--json").json["phones"]]
    file = terminal.folder / "phones.csv"
    assert 0 == terminal.run("phones", "--csv", str(file)).code
    assert (0o600, 4) == (file.stat().st_mode & 0o777, len(file.read_text().splitlines()))
    again = terminal.run("phones", "--csv", str(file))
    assert (2, True) == (again.code, "exists already" in again.text)
    assert 2 == terminal.run("phones", "--show-values").code
