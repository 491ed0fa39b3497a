"""`moodle-commcare setup commcare`: what a project space has to allow, screen by screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from adaptors.commcare.screens import (
    API_KEYS,
    CONNECTIONS,
    DICTIONARY,
    FORWARDING,
    GROUPS,
    LEVELS,
    LOCATIONS,
    MOBILE_WORKERS,
    ROLES,
    SUBSCRIPTION,
    WEB_USERS,
)
from flows.setup_steps import Checklist, Line, Step
from flows.steps.linked import is_matched
from flows.words import listed
from mappings.engine import OwnerReference, Project

_OWNERS: Final = {
    "user": ("Edit Mobile Workers", MOBILE_WORKERS, "mobile workers"),
    "group": ("Edit Mobile Workers", GROUPS, "case-sharing groups"),
    "location": ("Edit Locations", LOCATIONS, "locations"),
}
_WITHOUT_OWNERS: Final = {
    "Edit Mobile Workers": "only for `phones`, `match --workers` and `workers create`, where somebody uses them",
    "Edit Locations": "for `phones` only, and where there are locations",
}
_SHARES: Final = {
    "user": "They are active.",
    "group": "'Case Sharing' is ticked in each, and the mobile workers are in it.",
    "location": f"Their level shares cases ({LEVELS}), and the mobile workers are assigned to them.",
}


def commcare_checklist(project: Project, mappings: Path, *, forwarding: bool, shipped: bool) -> Checklist:
    """Return the checklist of a project whose mappings are in a folder."""
    kinds = owner_kinds(project)
    permissions = dict(_permissions(kinds, project))
    more = {
        "permissions": [{"permission": name, "for": why} for name, why in permissions.items()],
        "plan": [vars(line) for line in _plan(kinds, forwarding=forwarding)],
        "owners": kinds,
        "forwarding": forwarding,
        "data_dictionary": str(_dictionary(mappings)),
    }
    steps = (
        Step(
            "The plan is enough",
            SUBSCRIPTION,
            ("It has to have:",),
            tuple(_plan(kinds, forwarding=forwarding)),
        ),
        _role(permissions),
        *_access(),
        *_owners(() if shipped else (project.owner, project.parked_owner), kinds),
        _descriptions(mappings),
        *_matching(project),
        *(_forwarding() if forwarding else ()),
        Step("It works", "a terminal in the folder of this program", ("Run `moodle-commcare check`.",)),
    )
    return Checklist("CommCare", tuple(_found(project, forwarding=forwarding, shipped=shipped)), steps, more)


def owner_kinds(project: Project) -> list[str]:
    """Return which kinds of owners the project and its mappings name: user, group, location."""
    found = {owner.kind for owner in (project.owner, project.parked_owner) if owner is not None}
    for mapping in project.mappings:
        found |= {rule.kind for rule in mapping.spec.owner.first_of}
        last = mapping.spec.owner.otherwise
        if last is not None and not last.project:
            found.add(last.kind)
    return [kind for kind in _OWNERS if kind in found]


def _found(project: Project, *, forwarding: bool, shipped: bool) -> Iterator[str]:
    if shipped:
        yield "There is no project.yaml yet: this is what the shipped mappings need, with the owner of the demo."
    else:
        types = dict.fromkeys(mapping.case_type for mapping in project.mappings)
        yield f"For the case types {listed(list(types))}."
    yield "Changes in CommCare are told to this program." if forwarding else "Not for what --forwarding would add."


def _plan(kinds: list[str], *, forwarding: bool) -> Iterator[Line]:
    yield Line("API access", "Pro or higher; every call needs it")
    yield Line("roles of your own", "Standard or higher; the account should have no more than it needs")
    if "location" in kinds:
        yield Line("locations", "owners are locations; without them name mobile workers or groups")
    if forwarding:
        yield Line("data forwarding", "Pro or higher; changes are told at once")


def _permissions(kinds: list[str], project: Project) -> Iterator[tuple[str, str]]:
    yield "Access APIs", "every call"
    tables = ", and the rows of lookup tables" if project.tables else ""
    kept = "no case is ever deleted" if tables else "nothing is ever deleted"
    yield "Edit Data", f"reading, creating and updating cases{tables}; {kept}"
    for permission in dict.fromkeys(permission for permission, _, _ in _OWNERS.values()):
        owning = [what for kind, (one, _, what) in _OWNERS.items() if one == permission and kind in kinds]
        why = f"to look up {listed(owning)}, who own cases (nothing of them is changed)"
        yield permission, why if owning else _WITHOUT_OWNERS[permission]


def _role(permissions: dict[str, str]) -> Step:
    return Step(
        "There is a role for this alone",
        ROLES,
        (
            "Add a role. Leave 'Full Organization Access' ticked: an account restricted to locations cannot "
            "use the API as it has to. Then tick:",
        ),
        tuple(Line(name, why) for name, why in permissions.items()),
    )


def _access() -> Iterator[Step]:
    yield Step(
        "There is a web user for this alone",
        WEB_USERS,
        (
            "Invite an address that somebody reads, with this role, and accept the invitation. A web user, not a "
            "mobile worker. Its e-mail address goes into COMMCARE_USERNAME, the project space (the "
            "word after /a/ in the addresses) into COMMCARE_DOMAIN.",
        ),
    )
    yield Step(
        "There is an API key",
        API_KEYS,
        (
            "Signed in as this user: add a key for this project space; an expiry date and a list of allowed "
            "addresses are yours to choose. It is shown once. With a key no two-factor code is asked for.",
            "Copy it into .env as COMMCARE_API_KEY, or give its file as COMMCARE_API_KEY_FILE; its last day goes "
            "into COMMCARE_API_KEY_EXPIRES (2027-01-31, or never), so that somebody is told in time.",
        ),
    )


def _owners(owners: Sequence[OwnerReference | None], kinds: list[str]) -> Iterator[Step]:
    for kind in kinds:
        _, screen, what = _OWNERS[kind]
        named = [f"'{owner.value}'" for owner in owners if owner and owner.kind == kind]
        names = f" project.yaml names {listed(named)}." if named else ""
        yield Step(
            f"The {what} that own cases are there",
            screen,
            (f"They have the names that the mappings give.{names} {_SHARES[kind]}", "Web users own no cases."),
        )


def _dictionary(mappings: Path) -> Path:
    return mappings / "docs" / "data-dictionary.xlsx"


def _descriptions(mappings: Path) -> Step:
    return Step(
        "CommCare knows what the properties mean",
        DICTIONARY,
        (
            f"Run `moodle-commcare mappings docs`, then upload {_dictionary(mappings)} there (who does it needs "
            "the permission to edit the data dictionary; the service account does not). Nothing depends on it: "
            "forms, reports and exports then show labels and descriptions.",
            "Case types need not be made before: the first case makes them. In the app, use the same names.",
        ),
    )


def _matching(project: Project) -> Iterator[Step]:
    if any(is_matched(mapping) for mapping in project.mappings):
        yield Step(
            "Cases that are there already are matched",
            "a terminal in the folder of this program",
            ("Run `moodle-commcare match` before the first run, so that nobody gets a second case.",),
        )


def _forwarding() -> Iterator[Step]:
    yield Step(
        "There is a connection to the receiver",
        CONNECTIONS,
        (
            "Add: the https address under which `moodle-commcare receiver` is reached, /hooks/commcare behind "
            "it; the type HTTP Basic with FORWARDING_USERNAME and FORWARDING_PASSWORD. With FORWARDING_TOKEN it "
            "is API Key: the header Authorization, and the key 'Bearer', a blank and the token. (The type Bearer "
            "Token asks an address for a token, and there is none.) Test Connection has to say that it works.",
        ),
    )
    yield Step(
        "Changed cases are forwarded",
        FORWARDING,
        (
            "Forward Cases > Add: this connection, format JSON, the case types that people edit, and among the "
            "users not to forward the web user above: what we write would come back. Put the id of that "
            "user into FORWARDING_IGNORE_USERS as well (it ends the address of the user's page).",
        ),
    )
