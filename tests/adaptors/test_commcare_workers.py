"""Whose phones sync whose cases: own, of case-sharing groups, of locations and those below them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import stamina

from adaptors.commcare.fake_project import LocationType
from adaptors.commcare.workers import Holder
from adaptors.errors import AccessDenied, Unexpected
from tests.adaptors.commcare_world import client_of, new_world

DISTRICT = LocationType("district", shares_cases=False, view_descendants=True)
WARD = LocationType("ward", shares_cases=True)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Let reads be tried again at once."""
    with stamina.set_testing(True, attempts=5):
        yield


async def test_a_phone_syncs_its_own_and_what_groups_share() -> None:
    """A group that does not share cases gives none, whoever is in it."""
    world = new_world()
    project = world.project
    user = project.add_user("ama")
    sharing, silent = project.add_group("Coaches"), project.add_group("Reports", case_sharing=False)
    empty = project.add_group("Nobody")
    project.place_user("ama", groups=[silent, sharing])
    found = await world.client.workforce()
    assert {user: (user, sharing)} == found.reach
    assert ["", "", "not_sharing", "no_worker"] == [
        found.holders[owner].state for owner in (user, sharing, silent, empty)
    ]


async def test_a_phone_syncs_its_locations_and_those_below() -> None:
    """What is below comes along where the type of the worker's place shows it; only places that share count."""
    world = new_world()
    project = world.project
    district = project.add_location("Siaya", "siaya", kind=DISTRICT)
    ward = project.add_location("Bondo", "bondo", kind=WARD, parent_id=district)
    village = project.add_location("Usenge", "usenge", kind=WARD, parent_id=ward)
    elsewhere = project.add_location("Kisumu", "kisumu", kind=WARD)
    nurse, chief = project.add_user("nurse"), project.add_user("chief")
    project.place_user("nurse", locations=[ward])
    project.place_user("chief", locations=[district])
    found = await world.client.workforce()
    assert {nurse: (nurse, ward), chief: (chief, *sorted((ward, village)))} == found.reach
    assert ["not_sharing", "", "", "no_worker"] == [
        found.holders[owner].state for owner in (district, ward, village, elsewhere)
    ]


async def test_deactivated_workers_have_no_phone() -> None:
    """They may own cases, and are known as what they are."""
    world = new_world()
    user = world.project.add_user("ama", active=False)
    found = await world.client.workforce()
    assert ({}, "deactivated") == (found.reach, found.holders[user].state)
    assert "ama" not in repr(found), "a username is personal"


@pytest.mark.parametrize(
    ("right", "words"), [("locations", "has to include locations"), ("edit_locations", "Edit Locations")]
)
async def test_a_list_that_is_denied_is_noted(right: str, words: str) -> None:
    """What a plan or a role does not show is left out, with what to do; the rest counts."""
    world = new_world()
    user = world.project.add_user("ama")
    world.fake.revoke(right)
    found = await world.client.workforce()
    assert {user: (user,)} == found.reach
    assert any(words in note for note in found.notes), found.notes


async def test_workers_that_may_not_be_listed_are_an_error() -> None:
    """Without them there is nothing to tell; the permission is named."""
    world = new_world()
    world.fake.revoke("edit_mobile_workers")
    with pytest.raises(AccessDenied, match="Edit Mobile Workers"):
        await world.client.workforce()


async def test_places_in_a_circle_come_to_an_end() -> None:
    """Two places that are each below the other are each read once."""
    both = LocationType("both", shares_cases=True, view_descendants=True)
    world = new_world()
    one = world.project.add_location("One", "one", kind=both)
    other = world.project.add_location("Other", "other", kind=both, parent_id=one)
    place = world.project.locations[one]
    world.project.locations[one] = type(place)(one, "One", "one", "both", other)
    user = world.project.add_user("ama")
    world.project.place_user("ama", locations=[one, "unknown"])
    found = await world.client.workforce()
    assert (user, *sorted((one, other))) == found.reach[user]


async def test_a_list_of_another_shape_is_not_understood() -> None:
    """Groups that are no list of ids are no answer."""
    odd = {"meta": {"next": None, "total_count": 1}, "objects": [{"id": "u", "username": "ama", "groups": "x"}]}
    client = client_of(lambda _: httpx.Response(200, json=odd))
    with pytest.raises(Unexpected, match="promised shape"):
        await client.workforce()


def test_a_holder_does_not_show_its_name() -> None:
    """Names stay out of logs and errors."""
    assert "ama" not in repr(Holder("id", "worker", "ama"))
