"""What the fake's lists look like: trimmed case objects, and the paged lists of users, groups and locations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from adaptors.commcare.fake_project import FakeProject
from adaptors.commcare.fake_rows import UserError

CaseJson = dict[str, Any]


def trimming(query: Sequence[tuple[str, str]]) -> Callable[[CaseJson], CaseJson]:
    """Return the function that keeps (`fields`) or drops (`exclude`) parts of case objects.

    `fields.properties=a,b` stands for `fields=properties.a,properties.b`.
    """
    keep, drop = _paths(query, "fields"), _paths(query, "exclude")
    if keep and drop:
        raise UserError("You cannot specify both 'fields' and 'exclude'")
    if not keep and not drop:
        return lambda case: case
    whole = {path for path in keep or drop if "." not in path}
    parts: dict[str, set[str]] = {}
    for name, _, part in (path.partition(".") for path in (keep or drop) - whole):
        # A further dot is a step into an object, which no property is.
        parts.setdefault(name, set()).update({part} if "." not in part else ())

    def trim(case: CaseJson) -> CaseJson:
        trimmed: CaseJson = {}
        for name, value in case.items():
            if name in whole:
                if keep:
                    trimmed[name] = value
            elif name in parts and isinstance(value, dict):
                named = parts[name]
                trimmed[name] = {part: held for part, held in value.items() if (part in named) == bool(keep)}
            elif drop:
                trimmed[name] = value
        return trimmed

    return trim


def _paths(query: Sequence[tuple[str, str]], word: str) -> set[str]:
    found: set[str] = set()
    for name, value in query:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if name == word:
            found.update(parts)
        elif name.startswith(f"{word}."):
            found.update(f"{name.removeprefix(f'{word}.')}.{part}" for part in parts)
    return found


def list_users(project: FakeProject, domain: str, params: httpx.QueryParams) -> httpx.Response:
    """Answer user/v1: mobile workers, either the active or the deactivated (archived=true) ones."""
    active = params.get("archived") != "true"
    users: list[dict[str, Any]] = [
        {
            "id": user.user_id,
            "username": user.username if "@" in user.username else f"{user.username}@{domain}.commcarehq.org",
            "first_name": "",
            "last_name": "",
            "email": user.email,
            "phone_numbers": [],
            "default_phone_number": None,
            "groups": [*user.groups],
            "locations": [*user.locations],
            "primary_location": next(iter(user.locations), None),
            "user_data": {"commcare_project": domain, **user.user_data},
        }
        for user in project.users.values()
        if user.active == active
    ]
    return page(users, params, max_limit=1000)


def list_groups(project: FakeProject, domain: str, params: httpx.QueryParams) -> httpx.Response:
    """Answer group/v1."""
    groups: list[dict[str, Any]] = [
        {
            "id": group.group_id,
            "domain": domain,
            "name": group.name,
            "case_sharing": group.case_sharing,
            "reporting": True,
            "users": [user.user_id for user in project.users.values() if group.group_id in user.groups],
            "path": [],
            "metadata": {},
        }
        for group in project.groups.values()
    ]
    return page(groups, params, max_limit=1000)


def list_locations(project: FakeProject, domain: str, params: httpx.QueryParams) -> httpx.Response:
    """Answer location/v2: XML unless JSON is asked for."""
    if params.get("format") != "json":
        return httpx.Response(200, text="<?xml version='1.0' encoding='utf-8'?><response/>")
    locations: list[dict[str, Any]] = [
        {
            "domain": domain,
            "location_id": location.location_id,
            "name": location.name,
            "site_code": location.site_code,
            "location_type_code": location.type_code,
            "location_type_name": location.type_code.title(),
            "parent_location_id": location.parent_id,
            "location_data": {},
        }
        for location in project.locations.values()
    ]
    wanted = [item for item in locations if params.get("site_code") in (None, item["site_code"])]
    return page(wanted, params, max_limit=5000)


def list_location_types(project: FakeProject, domain: str, params: httpx.QueryParams) -> httpx.Response:
    """Answer location_type/v1: what each level of the organisation shares and shows."""
    types: list[dict[str, Any]] = [
        {
            "administrative": not kind.shares_cases,
            "code": kind.code,
            "domain": domain,
            "id": number,
            "name": kind.code.title(),
            "parent": None,
            "resource_uri": f"/a/{domain}/api/location_type/v1/{number}/",
            "shares_cases": kind.shares_cases,
            "view_descendants": kind.view_descendants,
        }
        for number, kind in enumerate(project.location_types.values(), 1)
    ]
    return page(types, params, max_limit=1000)


def page(objects: Sequence[Mapping[str, Any]], params: httpx.QueryParams, *, max_limit: int) -> httpx.Response:
    """Return one page as tastypie does: a limit over the highest is lowered to it, and 0 means the highest."""
    try:
        limit, offset = int(params.get("limit", "20")), int(params.get("offset", "0"))
    except ValueError:
        return httpx.Response(400, json={"error": "Invalid limit or offset provided. Please provide an integer."})
    limit = min(limit, max_limit) or max_limit
    after = offset + limit

    def link(at: int) -> str:
        return "?" + str(params.set("limit", limit).set("offset", at))

    meta = {
        "limit": limit,
        "next": link(after) if after < len(objects) else None,
        "offset": offset,
        "previous": link(max(offset - limit, 0)) if offset else None,
        "total_count": len(objects),
    }
    return httpx.Response(200, json={"meta": meta, "objects": list(objects[offset:after])})


LISTS = {
    "user": list_users,
    "group": list_groups,
    "location": list_locations,
    "location_type": list_location_types,
}
"""Who answers for which list."""
