"""A CommCare project space as plain data, with what people do to it by hand: the world behind the fake."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from adaptors.commcare.fake_search import SearchIndex

FIRST_MOMENT = 1_795_219_200.0  # 2026-11-21, when a fake has no clock of its own
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Case:
    """A case; times are epoch seconds, `indices` holds case_id, case_type and relationship by name."""

    case_id: str
    case_type: str
    case_name: str
    owner_id: str
    external_id: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    indices: dict[str, dict[str, str]] = field(default_factory=dict)
    closed: bool = False
    date_opened: float = FIRST_MOMENT
    last_modified: float = FIRST_MOMENT
    date_closed: float | None = None

    def copy(self) -> Case:
        """Return a copy that later changes do not reach."""
        indices = {name: dict(index) for name, index in self.indices.items()}
        return replace(self, properties=dict(self.properties), indices=indices)

    def to_json(self, domain: str, indexed_on: float) -> dict[str, Any]:
        """Return the case object of the case API."""
        return {
            "domain": domain,
            "case_id": self.case_id,
            "case_type": self.case_type,
            "case_name": self.case_name,
            "external_id": self.external_id,
            "owner_id": self.owner_id,
            "date_opened": moment(self.date_opened),
            "last_modified": moment(self.last_modified),
            "server_last_modified": moment(self.last_modified),
            "indexed_on": moment(indexed_on),
            "closed": self.closed,
            "date_closed": None if self.date_closed is None else moment(self.date_closed),
            "properties": self.properties,
            "indices": self.indices,
        }


@dataclass(frozen=True)
class Form:
    """One write request that took effect: who sent it, and its rows as they came."""

    form_id: str
    user_agent: str
    rows: tuple[Mapping[str, Any], ...]
    received_on: float


@dataclass
class User:
    """A mobile worker; `username` without the part that names the project space."""

    user_id: str
    username: str
    active: bool = True
    email: str = ""
    user_data: Mapping[str, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """A group of mobile workers; its cases reach them only when it shares cases."""

    group_id: str
    name: str
    case_sharing: bool


@dataclass(frozen=True)
class LocationType:
    """A level of the organisation: do its locations share cases, and do their workers see those below?"""

    code: str
    shares_cases: bool = True
    view_descendants: bool = False


@dataclass(frozen=True)
class Location:
    """A location; its site code is in lower case and unique, `parent_id` is "" at the top."""

    location_id: str
    name: str
    site_code: str
    type_code: str = "clinic"
    parent_id: str = ""


@lru_cache(maxsize=10_000)
def moment(seconds: float) -> str:
    """Return epoch seconds as CommCare writes times."""
    return (_EPOCH + timedelta(microseconds=round(seconds * 1e6))).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class FakeProject:
    """Cases, forms, mobile workers, groups and locations of one project space.

    `cases` are those that exist, `deleted` those deleted by hand, `hidden` those of them that take updates.
    `keep_forms=False` forgets the rows of forms, for loads that should not fill the memory. `watchers` are told of
    each case that was saved, as CommCare's rules are.
    """

    def __init__(self, *, keep_forms: bool = True) -> None:
        self._numbers = itertools.count(1)
        self.clock: Callable[[], float] = lambda: FIRST_MOMENT
        self.cases: dict[str, Case] = {}
        self.deleted: dict[str, Case] = {}
        self.hidden: set[str] = set()
        self.forms: list[Form] = []
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self.locations: dict[str, Location] = {}
        self.location_types = {"clinic": LocationType("clinic")}
        self.watchers: list[Callable[[Case], None]] = []
        self.search = SearchIndex(lambda: self.clock())
        self.api_user_id = self.new_id("web user").replace("-", "")
        self._keep_forms = keep_forms
        self._by_external_id: dict[str, dict[str, Case]] = {}

    # --- looking ----------------------------------------------------------------------------------------

    def by_external_id(self, external_id: str, *, deleted: bool = False) -> list[Case]:
        """Return the cases with an external id, oldest first; `deleted` adds those deleted by hand."""
        found = self._by_external_id.get(external_id, {})
        return [case for case_id, case in found.items() if deleted or case_id in self.cases]

    def of_type(self, case_type: str) -> list[Case]:
        """Return the cases of a type, in the order of their creation."""
        return [case for case in self.cases.values() if case.case_type == case_type]

    # --- what people do by hand -------------------------------------------------------------------------

    def add_user(
        self, username: str, *, active: bool = True, email: str = "", user_data: Mapping[str, str] | None = None
    ) -> str:
        """Add a mobile worker and return the user id."""
        number = self.new_id("user").replace("-", "")
        user = User(number, username.lower(), active, email, dict(user_data or {}))
        self.users[user.username] = user
        return user.user_id

    def deactivate_user(self, username: str) -> None:
        """Deactivate a mobile worker."""
        self.users[username.lower()].active = False

    def add_group(self, name: str, *, case_sharing: bool = True) -> str:
        """Add a group and return its id."""
        group = Group(self.new_id("group").replace("-", ""), name, case_sharing)
        self.groups[group.group_id] = group
        return group.group_id

    def add_location(
        self, name: str, site_code: str, *, kind: LocationType | None = None, parent_id: str = ""
    ) -> str:
        """Add a location, of a type that shares cases unless told otherwise, and return its id."""
        kind = kind or self.location_types["clinic"]
        self.location_types[kind.code] = kind
        location_id = self.new_id("location").replace("-", "")
        self.locations[location_id] = Location(location_id, name, site_code.lower(), kind.code, parent_id)
        return location_id

    def place_user(self, username: str, *, groups: Sequence[str] = (), locations: Sequence[str] = ()) -> None:
        """Put a mobile worker into groups and at locations, by their ids."""
        user = self.users[username.lower()]
        user.groups += groups
        user.locations += locations

    def add_case(
        self,
        case_type: str,
        case_name: str,
        *,
        owner_id: str = "",
        external_id: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Case:
        """Add a case, as a form on a phone would, and return it; the same external id may be given twice."""
        now = self.clock()
        case = Case(
            self.new_id("case"),
            case_type,
            case_name,
            owner_id or self.api_user_id,
            external_id,
            dict(properties or {}),
            date_opened=now,
            last_modified=now,
        )
        self.save(case)
        return case

    def edit_case(self, case_id: str, **properties: str) -> None:
        """Set properties of a case."""
        case = self.cases[case_id]
        case.properties.update(properties)
        self.save(case)

    def close_case(self, case_id: str) -> None:
        """Close a case."""
        case = self.cases[case_id]
        case.closed, case.date_closed = True, self.clock()
        self.save(case)

    def move_owner(self, case_id: str, owner_id: str) -> None:
        """Give a case to another owner."""
        self.cases[case_id].owner_id = owner_id
        self.save(self.cases[case_id])

    def set_external_id(self, case_id: str, external_id: str) -> None:
        """Change a case's external id, as a form or the importer can."""
        self.rename_external_id(self.cases[case_id], external_id)
        self.save(self.cases[case_id])

    def delete_case(self, case_id: str, *, for_good: bool = True) -> None:
        """Delete a case by hand: it is invisible, and bulk look-ups by external id still find it.

        In its first 90 days (not `for_good`) it also takes updates by its id, without a word, and links to it.
        """
        self.deleted[case_id] = self.cases.pop(case_id)
        if not for_good:
            self.hidden.add(case_id)
        self.search.remove(case_id)

    # --- what the fake does -----------------------------------------------------------------------------

    def new_id(self, kind: str) -> str:
        """Return an id that no other thing has."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {next(self._numbers)}"))

    def save(self, case: Case) -> None:
        """Store a new or changed case: at once in the database, with a lag in the search."""
        case.last_modified = self.clock()
        if case.case_id not in self.deleted:
            self.cases[case.case_id] = case
            self.search.store(case)
        if case.external_id:
            self._by_external_id.setdefault(case.external_id, {})[case.case_id] = case
        for watch in self.watchers:
            watch(case)

    def rename_external_id(self, case: Case, external_id: str) -> None:
        """Give a case that is about to be saved another external id."""
        if case.external_id:
            self._by_external_id.get(case.external_id, {}).pop(case.case_id, None)
        case.external_id = external_id

    def file(self, form: Form) -> None:
        """Keep a form."""
        self.forms.append(form if self._keep_forms else replace(form, rows=()))
