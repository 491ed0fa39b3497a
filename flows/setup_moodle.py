"""`moodle-commcare setup moodle`: what a Moodle has to allow, screen by screen, for who administers it.

Made of what the mappings and the features in use need, and of nothing else: what is not needed is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from adaptors.moodle.functions import BY_NAME
from adaptors.moodle.rights import right_of
from adaptors.moodle.screens import (
    EXTERNAL_SERVICES,
    FEATURES,
    IDENTITY,
    NEW_ACCOUNT,
    PROTOCOLS,
    ROLES,
    SITE_ROLES,
    TOKENS,
    WEBHOOKS,
)
from flows.features import Uses, only_if
from flows.setup_role import NAME, SHORT_NAME
from flows.setup_steps import Checklist, Line, Step
from flows.words import listed

WEBHOOK_PAGE: Final = "docs/webhooks.md"


def moodle_checklist(uses: Uses, role_file: str = "") -> Checklist:
    """Return the checklist; `role_file` is the file of the role that was written, "" for none."""
    functions = [
        {"name": name, "for": BY_NAME[name].purpose, "needed_by": list(who)}
        for name, who in uses.functions.items()
    ]
    rights = [
        {
            "capability": name,
            "context": right_of(name).context,
            "for": right_of(name).gives,
            "needed_by": list(who),
        }
        for name, who in uses.rights.items()
    ]
    more = {
        "features": list(uses.features),
        "functions": functions,
        "rights": rights,
        "only_if": [{"capability": name, "when": right_of(name).only} for name in only_if(uses)],
        "download_files": uses.marking,
        "role_file": role_file or None,
    }
    return Checklist("Moodle", tuple(_found(uses)), tuple(_steps(uses, role_file)), more)


def _found(uses: Uses) -> Iterator[str]:
    if uses.shipped:
        yield "There is no project.yaml yet: this is what the shipped mappings need."
    else:
        yield f"For the mappings {listed([mapping.name for mapping in uses.project.mappings])}."
    beside = {
        "assignments": "reading and downloading assignments",
        "feedback": "giving feedback",
        "webhooks": "webhooks",
    }
    used = [text for name, text in beside.items() if name in uses.features]
    unused = [f"--{name}" for name in beside if name not in uses.features]
    if used:
        yield f"And for {listed(used)}."
    if unused:
        yield f"Not for what these options would add: {listed(unused)}."
    yield (
        "Everything but feedback only reads."
        if "feedback" in uses.features
        else "Nothing changes Moodle: it is only read."
    )


def _steps(uses: Uses, role_file: str) -> Iterator[Step]:
    yield Step("Web services are on", FEATURES, ("Tick 'Enable web services' and save.", *_completion(uses)))
    yield Step(
        "The REST protocol is on", PROTOCOLS, ("Open the eye of 'REST protocol'. No other protocol is needed.",)
    )
    yield from _account(uses)
    yield _role(uses, role_file)
    yield from _conditional(uses)
    yield Step(
        "The account has the role",
        SITE_ROLES,
        (
            f"Open the role '{NAME}' and add the account. There it holds in every course; the account is enrolled "
            "in none, and is neither a manager nor a site administrator.",
        ),
    )
    if uses.phones:
        yield _identity()
    yield from _service(uses)
    yield _credentials(uses)
    if "webhooks" in uses.features:
        yield _webhooks()
    yield Step("It works", "a terminal in the folder of this program", ("Run `moodle-commcare check`.",))


def _completion(uses: Uses) -> Iterator[str]:
    if uses.engagement:
        yield (
            "Tick 'Enable completion tracking' as well, and in each course Settings > Completion tracking, and in "
            "each activity its conditions: what nobody tracks cannot be told."
        )


def _account(uses: Uses) -> Iterator[Step]:
    how = (
        "Choose 'Manual accounts' and a long password: the account signs in by name."
        if uses.by_name
        else "Choose 'Manual accounts' and a long password that nobody needs to know; the token is what counts."
    )
    yield Step(
        "There is an account for this alone",
        NEW_ACCOUNT,
        (
            "Name it so that everybody sees what it is, as in svc_commcare.",
            f"{how} Leave 'Force password change' unticked.",
            "If the site has a policy to agree to, sign in once as this account and agree.",
        ),
    )


def _role(uses: Uses, role_file: str) -> Step:
    if role_file:
        do: tuple[str, ...] = (
            f"Add a new role. Under 'Use role preset' choose the file {role_file}, then Continue.",
            "Below 'Permissions' these are set to Allow; compare, then 'Create this role'. What this Moodle does "
            "not have, such as a kind of activity, it passes over.",
        )
    else:
        do = (
            "Add a new role without an archetype, then Continue. (With `moodle-commcare setup moodle --role FILE` "
            "there is a file for 'Use role preset' that fills in all of this.)",
            f"Short name {SHORT_NAME}, full name {NAME}; context types where it may be assigned: System.",
            "Type each of these into the filter below 'Permissions' and tick Allow, then 'Create this role'.",
        )
    return Step("There is a role for this alone", ROLES, do, tuple(_rights(uses.rights)))


def _rights(rights: Mapping[str, tuple[str, ...]]) -> Iterator[Line]:
    for name, who in rights.items():
        right = right_of(name)
        needed = f"; for {listed(who)}" if who else ""
        yield Line(name, f"{right.gives} ({right.context}{needed})")


def _conditional(uses: Uses) -> Iterator[Step]:
    names = only_if(uses)
    if names:
        lines = tuple(Line(name, f"{right_of(name).gives}: {right_of(name).only}") for name in names)
        yield Step("The role has no more than it needs", ROLES, ("These stay out of it, unless:",), lines)


def _identity() -> Step:
    return Step(
        "Telephone numbers are shown",
        IDENTITY,
        ("Tick 'Phone' and 'Mobile phone', which mappings read; else they are missing without a word.",),
    )


def _service(uses: Uses) -> Iterator[Step]:
    files = (
        "Tick 'Can download files' (under 'Show more...'), for the files that are handed in. 'Can upload files' "
        "is not needed."
        if uses.marking
        else "Leave 'Can download files' and 'Can upload files' unticked."
    )
    short = "; its short name goes into MOODLE_SERVICE" if uses.by_name else ""
    yield Step(
        "There is a service for this alone",
        EXTERNAL_SERVICES,
        (
            f"Add a service of its own{short}. Tick 'Enabled' and 'Authorised users only'. Leave 'Required "
            "capability' empty.",
            files,
        ),
    )
    lines = tuple(
        Line(name, f"{BY_NAME[name].purpose}{f' ({listed(who)})' if who else ''}")
        for name, who in uses.functions.items()
    )
    yield Step(
        "The service has these functions",
        f"{EXTERNAL_SERVICES} > Functions",
        ("Add functions, and no others:",),
        lines,
    )
    yield Step(
        "The account may use the service",
        f"{EXTERNAL_SERVICES} > Authorised users",
        (
            "Add the account. Below the lists, its name leads to 'IP restriction' (the address of the machine "
            "that runs this program; leave it empty when that changes) and 'Valid until'. What Moodle "
            "lists there as missing capabilities is missing in the role, or was left out on purpose.",
        ),
    )


def _credentials(uses: Uses) -> Step:
    if uses.by_name:
        return Step(
            "The account can sign in",
            TOKENS,
            (
                "Make a token for this account and this service once; signing in then finds it. (Else the role "
                "needs moodle/webservice:createtoken.)",
                "MOODLE_USERNAME, MOODLE_PASSWORD and MOODLE_SERVICE go into .env.",
            ),
        )
    return Step(
        "There is a token",
        TOKENS,
        (
            "Create token: this account, this service, 'IP restriction' as you like.",
            "'Valid until' is filled in with a day a month from now, after which every run fails: untick 'Enable' "
            "beside it for a token that never ends, or choose the day on which somebody will make a new one. "
            "Moodle tells nobody, and deletes an expired token at its first use.",
            "Copy it into .env as MOODLE_TOKEN, or give its file as MOODLE_TOKEN_FILE; its last day goes into "
            "MOODLE_TOKEN_EXPIRES (2027-01-31, or never): `check` and each run warn in the two weeks before. Send "
            "it by no e-mail.",
        ),
    )


def _webhooks() -> Step:
    return Step(
        "Moodle tells of changes at once",
        WEBHOOKS,
        (
            f"Install the plugin local_webhooks as {WEBHOOK_PAGE} says (as it comes it does not install), and add "
            "a service there: address, token and events stand on that page. The account needs nothing for it.",
        ),
    )
