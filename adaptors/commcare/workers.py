"""Whose phone holds which cases: mobile workers with their case-sharing groups and locations, and who they are.

A phone syncs the open cases whose owner is the worker, a case-sharing group the worker is in, or a location whose
type shares cases: one that the worker is assigned to, and those below it where its type shows them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from adaptors.commcare.owners import Listed, Page, Read, read_pages
from adaptors.errors import AccessDenied
from adaptors.lists import ListOf

KINDS = {"worker": "mobile worker", "group": "case-sharing group", "location": "location"}


class _User(Listed):
    key: str = Field(min_length=1, alias="id")
    username: str
    groups: ListOf[str] = Field(default_factory=list)
    locations: ListOf[str] = Field(default_factory=list)


class _Users(Page):
    objects: ListOf[_User]


class _Group(Listed):
    key: str = Field(min_length=1, alias="id")
    name: str | None = None
    case_sharing: bool = False


class _Groups(Page):
    objects: ListOf[_Group]


class _Location(Listed):
    key: str = Field(min_length=1, alias="location_id")
    name: str | None = None
    location_type_code: str | None = None
    parent_location_id: str | None = None


class _Locations(Page):
    objects: ListOf[_Location]


class _Type(Listed):
    key: str = Field(min_length=1, alias="code")
    shares_cases: bool = False
    view_descendants: bool = False


class _Types(Page):
    objects: ListOf[_Type]


@dataclass(frozen=True)
class Holder:
    """Somebody or something that may own cases: `kind` is worker, group or location; `state` says what is odd.

    `state`: "" for those that phones sync; "deactivated", "not_sharing" or "no_worker" (nobody's phone syncs it).
    `name` is a username, and so personal, or the name of a group or location.
    """

    owner_id: str
    kind: str
    name: str = field(repr=False)
    state: str = ""


@dataclass(frozen=True)
class Workforce:
    """The mobile workers of a project space: who owns cases by `holders`, and whose phones sync whose cases.

    `reach` gives the owner ids that each active worker's phone syncs, the worker's own first; `notes` say which
    lists this account may not read, each with what to do.
    """

    holders: Mapping[str, Holder]
    reach: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


async def read_workforce(read: Read) -> Workforce:
    """Read workers, groups, locations and their types; lists that are denied are left out and noted.

    Raises AccessDenied when the workers themselves may not be listed. Endpoints: user/v1, group/v1, location/v2,
    location_type/v1.
    """
    notes: list[str] = []
    active = await read_pages(read, "user", "user/v1", {}, _Users)
    retired = await read_pages(read, "user", "user/v1", {"archived": "true"}, _Users)
    groups = await _allowed(read, "group", "group/v1", _Groups, notes)
    locations = await _allowed(read, "location", "location/v2", _Locations, notes)
    types = await _allowed(read, "location", "location_type/v1", _Types, notes) if locations else []
    sharing = {group.key for group in groups if group.case_sharing}
    seen = _Places(locations, {found.key: found for found in types})
    reach = {
        user.key: (user.key, *sorted(sharing & {*user.groups}), *sorted(seen.by(user.locations)))
        for user in active
    }
    synced = {owner for owners in reach.values() for owner in owners}
    holders = [Holder(user.key, "worker", user.username) for user in active]
    holders += [Holder(user.key, "worker", user.username, "deactivated") for user in retired]
    holders += [_holder(group, "group", shares=group.case_sharing, synced=synced) for group in groups]
    holders += [_holder(one, "location", shares=seen.shares(one.key), synced=synced) for one in locations]
    return Workforce({one.owner_id: one for one in holders}, reach, tuple(notes))


async def _allowed(read: Read, kind: str, resource: str, model: Any, notes: list[str]) -> list[Any]:
    """Read a list, or note why this account may not; what a plan does not have, nobody owns cases by."""
    parameters = {"format": "json"} if kind == "location" else {}
    try:
        return await read_pages(read, kind, resource, parameters, model)
    except AccessDenied as error:
        notes.append(str(error))
        return []


def _holder(found: _Group | _Location, kind: str, *, shares: bool, synced: set[str]) -> Holder:
    state = "not_sharing" if not shares else "" if found.key in synced else "no_worker"
    return Holder(found.key, kind, found.name or "", state)


class _Places:
    """The locations as a tree, with what their types share and show."""

    def __init__(self, locations: Iterable[_Location], types: Mapping[str, _Type]) -> None:
        self._types = {one.key: types.get(one.location_type_code or "") for one in locations}
        self._below: dict[str, list[str]] = defaultdict(list)
        for one in locations:
            self._below[one.parent_location_id or ""].append(one.key)

    def shares(self, place: str) -> bool:
        """Say whether cases of a location reach phones; taken for granted of a type that cannot be read."""
        kind = self._types[place]
        return kind is None or kind.shares_cases

    def by(self, assigned: Iterable[str]) -> set[str]:
        """Return the locations whose cases somebody has who is assigned to these."""
        found, to_see = set[str](), [place for place in assigned if place in self._types]
        while to_see:
            place = to_see.pop()
            if place in found:
                continue  # seen, or a circle
            found.add(place)
            kind = self._types[place]
            if kind is not None and kind.view_descendants:
                to_see += self._all_below(place, found)
        return {place for place in found if self.shares(place)}

    def _all_below(self, place: str, known: set[str]) -> list[str]:
        """Return what lies below a location, however deep."""
        found, to_see = dict[str, None](), [*self._below[place]]
        while to_see:
            below = to_see.pop()
            if below not in known and below not in found:
                found[below] = None
                to_see += self._below[below]
        return [*found]
