"""Who may own a case: mobile workers, locations and case-sharing groups, by the names that people use.

A case owned by somebody who cannot sync it is a case that nobody sees, and CommCare accepts any text as an owner.
So names are looked up here, and what is unknown, deactivated or not shared is said to be so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from adaptors.commcare.answers import parse
from adaptors.commcare.cases import SYSTEM
from adaptors.errors import AccessDenied, Refused, Retriable, Unexpected
from adaptors.http import Answer
from adaptors.lists import ListOf

PAGE = 1000
READS = 3  # times that a list which changes meanwhile is read

Read = Callable[[str, str, Mapping[str, Any], Mapping[int, str]], Awaitable[Answer]]
"""Read one page: operation, resource, parameters, remedies by status."""


@dataclass(frozen=True)
class Owner:
    """A resolved owner: `state` is ok, unknown, deactivated or not_sharing.

    `owner_id` is "" unless ok; a location that is not_sharing has it too, since cases can be parked there.
    """

    owner_id: str
    state: str


UNKNOWN = Owner("", "unknown")


@dataclass(frozen=True)
class Worker:
    """A mobile worker: `username` without the project space, what people entered in `user_data`."""

    user_id: str
    username: str = field(repr=False)
    email: str = field(repr=False)
    name: str = field(repr=False)
    user_data: Mapping[str, str] = field(repr=False)
    active: bool = True


class Listed(BaseModel):
    """An entry of a list."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Meta(Listed):
    next: str | None = None
    total_count: int | None = None


class Page(Listed):
    """One page of a list; `objects` are of the list's own kind."""

    meta: _Meta
    objects: list[Any]


class _User(Listed):
    key: str = Field(min_length=1, alias="id")
    username: str


class _Users(Page):
    objects: ListOf[_User]


class _Worker(_User):
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    user_data: dict[str, Any] = Field(default_factory=dict)

    def worker(self, *, active: bool) -> Worker:
        """Return it as the rest of the program sees it; of user data only what is a text."""
        data = {name: value for name, value in self.user_data.items() if isinstance(value, str)}
        name = f"{self.first_name or ''} {self.last_name or ''}".strip()
        return Worker(self.key, self.username.partition("@")[0], self.email or "", name, data, active)


class _Workers(Page):
    objects: ListOf[_Worker]


class _Location(Listed):
    key: str = Field(min_length=1, alias="location_id")
    site_code: str | None = None
    location_type_code: str | None = None


class _Locations(Page):
    objects: ListOf[_Location]


class _Level(Listed):
    key: str = Field(min_length=1, alias="code")
    shares_cases: bool | None = None


class _Levels(Page):
    objects: ListOf[_Level]


class _Group(Listed):
    key: str = Field(min_length=1, alias="id")
    name: str | None = None
    case_sharing: bool = False


class _Groups(Page):
    objects: ListOf[_Group]


_ROLE = "the role of the web user in COMMCARE_USERNAME needs"
_WHERE = "(CommCare HQ > Users > Roles & Permissions)"
LIST_REMEDIES: Mapping[str, Mapping[int, str]] = {
    "user": {403: f"To look up mobile workers {_ROLE} Edit Mobile Workers {_WHERE}."},
    "location": {  # a plan without locations is refused as a missing permission is
        403: f"To look up locations {_ROLE} Edit Locations {_WHERE}, and the plan of the project space in "
        "COMMCARE_DOMAIN has to include locations; or name users or groups as owners.",
    },
    "lookup table": {403: f"To keep lookup tables {_ROLE} Edit Data {_WHERE}."},
    "lookup table row": {403: f"To keep lookup tables {_ROLE} Edit Data {_WHERE}."},
    # CommCare asks for the same permission as with users; the one called Edit Groups is not enough.
    "group": {403: f"To look up groups {_ROLE} Edit Mobile Workers {_WHERE}; or name locations as owners."},
}


class OwnerBook:
    """Owners of one project space, read list by list when first asked for and then remembered."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._lists: dict[str, dict[str, Owner]] = {}
        self._denied: dict[str, AccessDenied] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def resolve(self, kind: str, value: str) -> Owner:
        """Find an owner: a `user` by username, a `location` by site code, a `group` by name.

        Usernames, with or without the @... part, and site codes may be in any case; group names are as written.
        A location is not_sharing when its level is. Two sharing groups of one name are unknown: nobody can say
        which is meant. Raises AccessDenied, naming the permission, when the account may not read the list;
        ValueError for another kind.
        """
        if kind not in LIST_REMEDIES:
            raise ValueError(f"There is no kind of owner called {kind!r}: user, location or group.")
        name = value.strip() if kind == "group" else value.strip().casefold()
        if not name:
            return UNKNOWN
        found = (await self._known(kind)).get(name)
        if found is None and kind == "user":
            found = (await self._known("deactivated user")).get(name)
        return found or UNKNOWN

    async def content(self, kind: str) -> str:
        """Return all that `resolve` goes by for one kind, as one text: whoever compares it sees that it changed.

        Raises AccessDenied as `resolve` does.
        """
        kinds = (kind, "deactivated user") if kind == "user" else (kind,)
        listed = [{name: vars(owner) for name, owner in (await self._known(each)).items()} for each in kinds]
        return json.dumps(listed, sort_keys=True)

    async def workers(self) -> list[Worker]:
        """Return all mobile workers, deactivated ones included, in lists of 1,000; raises AccessDenied."""
        found = list[Worker]()
        for active in (True, False):
            parameters = {} if active else {"archived": "true"}
            listed: list[_Worker] = await read_pages(self._read, "user", "user/v1", parameters, _Workers)
            found += [one.worker(active=active) for one in listed]
        return found

    async def _known(self, kind: str) -> dict[str, Owner]:
        """Return the list of one kind, read once; a refusal is remembered too, to be asked for only once."""
        async with self._reading.setdefault(kind, asyncio.Lock()):
            if kind in self._denied:
                raise self._denied[kind].with_traceback(None)
            if kind not in self._lists:
                try:
                    self._lists[kind] = await self._list(kind)
                except AccessDenied as error:
                    self._denied[kind] = error
                    raise
            return self._lists[kind]

    async def _list(self, kind: str) -> dict[str, Owner]:
        if kind == "location":
            return await self._locations()
        if kind == "group":
            return await self._groups()
        return await self._users(deactivated=kind == "deactivated user")

    async def _users(self, *, deactivated: bool) -> dict[str, Owner]:
        """Read mobile workers (web users are not in this list: a case of theirs reaches no phone)."""
        parameters = {"archived": "true"} if deactivated else {}
        known: dict[str, Owner] = {}
        for user in await read_pages(self._read, "user", "user/v1", parameters, _Users):
            owner = Owner("", "deactivated") if deactivated else Owner(user.key, "ok")
            username = user.username.casefold()
            known[username] = owner
            known.setdefault(username.rpartition("@")[0] or username, owner)
        return known

    async def _locations(self) -> dict[str, Owner]:
        # Without format=json this list comes as XML.
        listed = await read_pages(self._read, "location", "location/v2", {"format": "json"}, _Locations)
        unshared = await self._levels_without_cases() if listed else set()
        return {
            item.site_code.casefold(): Owner(
                item.key, "not_sharing" if item.location_type_code in unshared else "ok"
            )
            for item in listed
            if item.site_code
        }

    async def _levels_without_cases(self) -> set[str]:
        """Return the levels of the organisation whose cases reach no phone; none where that cannot be read."""
        try:
            levels = await read_pages(self._read, "location", "location_type/v1", {"format": "json"}, _Levels)
        except (AccessDenied, Refused, Unexpected):
            return set()
        return {level.key for level in levels if level.shares_cases is False}

    async def _groups(self) -> dict[str, Owner]:
        sharing: dict[str, set[str]] = {}
        for group in await read_pages(self._read, "group", "group/v1", {}, _Groups):
            ids = sharing.setdefault((group.name or "").strip(), set())
            if group.case_sharing:
                ids.add(group.key)
        return {name: _group_owner(ids) for name, ids in sharing.items()}


async def read_pages(
    read: Read,
    kind: str,
    resource: str,
    parameters: Mapping[str, Any],
    model: type[Page],
    *,
    whole: bool = False,
) -> list[Any]:
    """Read a list page by page until it is at its end; a server may send fewer than asked for.

    One that has another length from page to page is read anew, a few times: what is taken out moves all that comes
    after it, and the page to come lacks one. Raises AccessDenied, naming the permission that a list of this kind
    (user, group, location) needs; and Retriable where the `whole` list is needed, and its pages hold fewer entries
    than it has, or it goes on changing.
    """
    operation = f"list {kind}s"

    async def page_at(offset: int) -> Page:
        asked = {**parameters, "limit": PAGE, "offset": offset}
        return parse(model, await read(operation, resource, asked, LIST_REMEDIES[kind]), operation)

    for _ in range(READS):
        found, lengths = await _all_pages(page_at)
        if len(lengths) == 1:
            break
    if whole and (len(lengths) > 1 or len(found) < max(lengths)):
        raise Retriable(
            f"CommCare's list changed while it was read ({operation}).", system=SYSTEM, operation=operation
        )
    return list(found.values())


async def _all_pages(page_at: Callable[[int], Awaitable[Page]]) -> tuple[dict[str, Any], set[int]]:
    """Return the entries of a list by key, and how many it had by each of its pages."""
    found: dict[str, Any] = {}
    offset, lengths = 0, set[int]()
    while True:
        page = await page_at(offset)
        lengths.add(page.meta.total_count or 0)
        before = len(found)
        found.update((item.key, item) for item in page.objects)
        offset += len(page.objects)
        ended = page.meta.next is None and offset >= (page.meta.total_count or 0)
        if not ended and len(found) > before:
            continue
        return found, lengths  # at its end; or a server that pays no heed to the offset


def _group_owner(sharing_ids: set[str]) -> Owner:
    if not sharing_ids:
        return Owner("", "not_sharing")
    return Owner(next(iter(sharing_ids)), "ok") if len(sharing_ids) == 1 else UNKNOWN
