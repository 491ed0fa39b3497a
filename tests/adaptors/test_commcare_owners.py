"""Owners of cases: found by the names people use, and never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stamina

from adaptors.commcare.fake_project import LocationType
from adaptors.commcare.owners import Owner
from adaptors.errors import AccessDenied, Unexpected
from tests.adaptors.commcare_world import DOMAIN, client_of, new_world


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Let reads be tried again at once."""
    with stamina.set_testing(True, attempts=5):
        yield


def page(*objects: Any, **meta: Any) -> httpx.Response:
    """Return one page of a list."""
    return httpx.Response(
        200, json={"meta": {"next": None, "total_count": len(objects), **meta}, "objects": objects}
    )


@pytest.mark.parametrize(
    "name",
    [
        "ama.owusu",
        "AMA.Owusu",
        " ama.owusu ",
        f"ama.owusu@{DOMAIN}.commcarehq.org",
        f"Ama.Owusu@{DOMAIN}.CommCareHQ.org",
    ],
)
async def test_a_mobile_worker_is_found_by_username(name: str) -> None:
    """With or without the part that names the project space, in any case."""
    world = new_world()
    user_id = world.project.add_user("ama.owusu")
    assert Owner(user_id, "ok") == await world.client.owners.resolve("user", name)


@pytest.mark.parametrize("name", ["nobody", "", "  ", "ama.owusu@example.org", "ama.owusu@other.commcarehq.org"])
async def test_an_unknown_name_is_unknown(name: str) -> None:
    """A web user's e-mail address or another space's worker is not one of ours."""
    world = new_world()
    world.project.add_user("ama.owusu")
    assert Owner("", "unknown") == await world.client.owners.resolve("user", name)


async def test_a_deactivated_worker_is_known_as_such() -> None:
    """The list of the deactivated is read only when a name is not among the active."""
    world = new_world()
    world.project.add_user("ama")
    world.project.add_user("kofi")
    world.project.deactivate_user("kofi")
    assert "ok" == (await world.client.owners.resolve("user", "ama")).state
    assert 1 == world.client.requests["owners"]
    assert Owner("", "deactivated") == await world.client.owners.resolve("user", "Kofi")
    assert 2 == world.client.requests["owners"]


async def test_a_location_is_found_by_site_code() -> None:
    """Site codes may be written in any case; names are not site codes."""
    world = new_world()
    location_id = world.project.add_location("Kumasi Central", "kumasi_central")
    assert Owner(location_id, "ok") == await world.client.owners.resolve("location", "Kumasi_Central")
    assert "unknown" == (await world.client.owners.resolve("location", "Kumasi Central")).state


async def test_a_location_must_share_cases() -> None:
    """A location of a level whose cases reach no phone is said to be so; cases can be parked there."""
    world = new_world()
    district = world.project.add_location("District", "district", kind=LocationType("level", shares_cases=False))
    clinic = world.project.add_location("Clinic", "clinic")
    assert Owner(district, "not_sharing") == await world.client.owners.resolve("location", "District")
    assert Owner(clinic, "ok") == await world.client.owners.resolve("location", "clinic")
    assert 2 == world.client.requests["owners"]


@pytest.mark.parametrize("status", [403, 404, 405, 200])
async def test_levels_that_cannot_be_read(status: int) -> None:
    """What is not known of a location's level does not keep its cases back."""
    world = new_world()
    district = world.project.add_location("District", "district", kind=LocationType("x", shares_cases=False))

    def answer(request: httpx.Request) -> httpx.Response:
        is_level = "location_type" in request.url.path
        return httpx.Response(status, json={}) if is_level else world.fake(request)

    assert Owner(district, "ok") == await client_of(answer).owners.resolve("location", "district")


async def test_a_group_must_share_cases() -> None:
    """A group of the right name that does not share cases is said to be so; a sharing namesake wins."""
    world = new_world()
    world.project.add_group("Reports only", case_sharing=False)
    world.project.add_group("Nurses", case_sharing=False)
    nurses = world.project.add_group("Nurses")
    assert Owner("", "not_sharing") == await world.client.owners.resolve("group", "Reports only")
    assert Owner(nurses, "ok") == await world.client.owners.resolve("group", " Nurses ")
    assert "unknown" == (await world.client.owners.resolve("group", "nurses")).state


async def test_two_sharing_groups_of_one_name_are_nobody() -> None:
    """Which of them is meant cannot be known, so neither becomes an owner."""
    world = new_world()
    world.project.add_group("Nurses")
    world.project.add_group("Nurses")
    assert Owner("", "unknown") == await world.client.owners.resolve("group", "Nurses")


async def test_another_kind_is_an_error_of_ours() -> None:
    """Only users, locations and groups own cases."""
    with pytest.raises(ValueError, match="user, location or group"):
        await new_world().client.owners.resolve("web user", "x")


async def test_what_changes_in_a_list_shows_in_its_content() -> None:
    """Who is made, deactivated, or shares cases from now on: the text is another one, and else the same."""
    world = new_world()
    world.project.add_user("ama")
    texts = []
    for change in (
        lambda: None,
        lambda: None,
        lambda: world.project.add_user("kofi"),
        lambda: world.project.deactivate_user("ama"),
    ):
        change()
        texts.append(await client_of(world.fake).owners.content("user"))
    assert (texts[0], 3) == (texts[1], len({*texts}))


async def test_each_list_is_read_once() -> None:
    """Many names at the same time cost one reading of a list."""
    world = new_world()
    world.project.add_user("ama")
    owners = world.client.owners
    await asyncio.gather(*(owners.resolve("user", "ama") for _ in range(20)))
    assert 1 == world.client.requests["owners"]


async def test_long_lists_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of several pages is reached."""
    monkeypatch.setattr("adaptors.commcare.owners.PAGE", 10)
    world = new_world()
    ids = [world.project.add_user(f"worker-{number}") for number in range(25)]
    assert Owner(ids[-1], "ok") == await world.client.owners.resolve("user", "worker-24")
    assert 3 == world.client.requests["owners"]


async def test_a_list_that_is_shorter_on_its_second_page_is_read_anew() -> None:
    """Somebody was taken out of the first page meanwhile: who moved onto it is not unknown for that."""
    workers = [{"id": f"w{number}", "username": f"worker{number}"} for number in range(3)]
    pages = [
        page(*workers[:2], next="?offset=2", total_count=3),
        page(next=None, total_count=2),
        page(workers[0], workers[2], next=None, total_count=2),
    ]
    client = client_of(lambda _: pages.pop(0))
    assert Owner("w2", "ok") == await client.owners.resolve("user", "worker2")
    assert [] == pages


async def test_a_server_may_send_shorter_pages_than_asked_for() -> None:
    """The offset follows what came, not what was asked for."""
    users = [{"id": str(number), "username": f"u{number}@x.commcarehq.org"} for number in range(7)]

    def short(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        return page(*users[offset : offset + 3], total_count=7, next="?more" if offset + 3 < 7 else None)

    assert Owner("6", "ok") == await client_of(short).owners.resolve("user", "u6")


async def test_a_server_that_repeats_its_page_does_not_hold_us_up() -> None:
    """A list that pays no heed to the offset ends when nothing new comes."""
    client = client_of(lambda _request: page({"id": "1", "username": "ama"}, next="?more"))
    assert "ok" == (await client.owners.resolve("user", "ama")).state
    assert 2 == client.requests["owners"]


@pytest.mark.parametrize(
    ("kind", "right", "words"),
    [
        ("user", "edit_mobile_workers", ["Edit Mobile Workers", "COMMCARE_USERNAME", "list users"]),
        ("location", "edit_locations", ["Edit Locations", "COMMCARE_USERNAME", "list locations"]),
        ("location", "locations", ["plan", "COMMCARE_DOMAIN", "list locations"]),
        ("location", "plan", ["plan", "does not include the API"]),
        ("group", "edit_mobile_workers", ["Edit Mobile Workers", "COMMCARE_USERNAME", "list groups"]),
        ("user", "plan", ["plan", "COMMCARE_DOMAIN"]),
        ("user", "api_key", ["COMMCARE_API_KEY"]),
    ],
)
async def test_a_list_that_may_not_be_read_says_what_is_missing(kind: str, right: str, words: list[str]) -> None:
    """The permission or plan is named, and CommCare is asked only once."""
    world = new_world()
    world.fake.revoke(right)
    for _ in range(2):
        with pytest.raises(AccessDenied) as caught:
            await world.client.owners.resolve(kind, "x")
        assert [] == [word for word in words if word not in str(caught.value)]
    assert 1 == world.client.requests["owners"]


async def test_pages_for_people_are_understood_by_their_status() -> None:
    """An HTML page instead of a list is a refusal, not a crash."""
    client = client_of(lambda _request: httpx.Response(403, html="<html>"))
    with pytest.raises(AccessDenied, match="list locations"):
        await client.owners.resolve("location", "x")


@pytest.mark.parametrize("body", [{}, {"meta": {}, "objects": [{"id": 5}]}, [], {"meta": None, "objects": []}])
async def test_a_list_of_another_shape_is_not_understood(body: Any) -> None:
    """A wrong shape is no empty list."""
    client = client_of(lambda _request: httpx.Response(200, json=body))
    with pytest.raises(Unexpected):
        await client.owners.resolve("user", "x")


async def test_a_list_that_failed_is_read_again() -> None:
    """Only refusals are remembered; trouble is not."""
    world = new_world()
    world.project.add_user("ama")
    world.fake.fail_next("503", times=5, where="owners")
    with pytest.raises(Exception, match="503"):
        await world.client.owners.resolve("user", "ama")
    assert "ok" == (await world.client.owners.resolve("user", "ama")).state
