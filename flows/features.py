"""What of Moodle a project uses: its mappings, and what is used beside them (assignments, feedback, webhooks)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from adaptors.moodle.functions import BY_NAME, FEEDBACK, MARKING
from adaptors.moodle.rights import EVERY_RUN, RIGHTS, right_of
from flows.catalogue import field_catalogue
from flows.docs import used_functions
from flows.sandbox import prepare
from flows.settings import read_file
from flows.steps.pull import wanted_by
from mappings.engine import Project, load_project

Feature = Literal["assignments", "feedback", "webhooks"]
FEATURES: Final[tuple[Feature, ...]] = ("assignments", "feedback", "webhooks")
_PHONES: Final = {"phone1", "phone2"}
_COMMANDS: Final = (("assignments", "assignments", MARKING), ("feedback", "assignments feedback", FEEDBACK))
_BY_NAME_LOGIN: Final = "moodle/webservice:createtoken"
_HIDDEN_GRADES: Final = "moodle/grade:viewhidden"
_HIDDEN_GROUPS: Final = "moodle/course:viewhiddengroups"


@dataclass(frozen=True)
class Uses:
    """What a project uses: functions of Moodle and rights, each with who needs it ("" for every run).

    `phones`, `engagement` and `grades` say what the mappings read; `shipped` that there is no project yet.
    """

    project: Project
    features: tuple[Feature, ...]
    functions: Mapping[str, tuple[str, ...]]
    rights: Mapping[str, tuple[str, ...]]
    phones: bool = False
    engagement: bool = False
    by_name: bool = False
    shipped: bool = False

    @property
    def marking(self) -> bool:
        """Return whether assignments are read or marked by command."""
        return bool({"assignments", "feedback"} & set(self.features))


def uses_of(
    project: Project, features: Collection[Feature], *, by_name: bool = False, shipped: bool = False
) -> Uses:
    """Return what a project uses beside these features; `by_name`: Moodle is signed in to with a password.

    A mapping that sends something back gives feedback, too.
    """
    functions: dict[str, tuple[str, ...]] = {
        name: tuple(mappings) for name, mappings in used_functions(project).items()
    }
    if any(mapping.spec.write_back for mapping in project.mappings):
        features = {*features, "feedback"}
    for feature, command, names in _COMMANDS:
        for name in names if feature in features else ():
            if functions.get(name, ("",)):  # not what every run calls anyway
                functions[name] = (*functions.get(name, ()), command)
    wanted = wanted_by(project.mappings)
    more = {_HIDDEN_GRADES: wanted.hidden_grades, _HIDDEN_GROUPS: wanted.groups, _BY_NAME_LOGIN: by_name}
    return Uses(
        project,
        tuple(feature for feature in FEATURES if feature in features),
        {name: functions[name] for name in BY_NAME if name in functions},
        _rights(functions, [name for name, is_wanted in more.items() if is_wanted]),
        phones=bool(_PHONES & (wanted.profile | wanted.user)),
        engagement=wanted.completion,
        by_name=by_name,
        shipped=shipped,
    )


def _rights(functions: Mapping[str, tuple[str, ...]], more: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the rights of functions, those that every run needs first; conditional ones only where named."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(EVERY_RUN, ())
    for name, who in functions.items():
        for capability in BY_NAME[name].capabilities:
            if capability not in EVERY_RUN and (not right_of(capability).only or capability in more):
                found[capability] = tuple(dict.fromkeys((*found.get(capability, ()), *who)))
    return found | {capability: () for capability in more if capability not in found}


def only_if(uses: Uses) -> list[str]:
    """Return the capabilities that are left out of the role until somebody wants what they give."""
    there = {capability for name in uses.functions for capability in BY_NAME[name].capabilities}
    return [name for name, right in RIGHTS.items() if right.only and name in there and name not in uses.rights]


def read_uses(mappings: Path, env_file: Path, asked: Iterable[Feature]) -> Uses:
    """Return what the project in a folder uses; before there is one, what the shipped mappings would use.

    Needs no setting: some are looked at where they are. Raises MappingError, SettingsError.
    """
    values = {**read_file(env_file), **os.environ}
    features = {*asked, *_features_of(values)}
    by_name = _given(values, "MOODLE_USERNAME") and not _given(values, "MOODLE_TOKEN", "MOODLE_TOKEN_FILE")
    project, shipped = project_or_shipped(mappings)
    return uses_of(project, features, by_name=by_name, shipped=shipped)


def project_or_shipped(mappings: Path) -> tuple[Project, bool]:
    """Return the project in a folder, or before there is one that of the demo and True; raises MappingError."""
    if (mappings / "project.yaml").exists():
        return load_project(mappings, field_catalogue()), False
    with TemporaryDirectory() as place:
        return load_project(prepare(Path(place)), field_catalogue()), True


def is_forwarding(env_file: Path) -> bool:
    """Return whether settings say that CommCare forwards changes to us."""
    values = {**read_file(env_file), **os.environ}
    return _given(values, *(f"FORWARDING_{name}" for name in ("TOKEN", "TOKEN_FILE", "USERNAME")))


def _features_of(values: Mapping[str, str]) -> Iterator[Feature]:
    """Yield the features that settings switch on."""
    if _given(values, "WEBHOOK_TOKEN", "WEBHOOK_TOKEN_FILE"):
        yield "webhooks"


def _given(values: Mapping[str, str], *names: str) -> bool:
    return any(values.get(name, "").strip() for name in names)


def features_seen(functions: Collection[str]) -> list[Feature]:
    """Return the features for which a service has functions that nothing else needs."""
    own_of_feedback = set(FEEDBACK) - set(MARKING) - {"gradereport_user_get_grade_items"}
    found: list[Feature] = []
    if own_of_feedback & set(functions):
        found.append("feedback")
    if {"mod_assign_list_participants", "mod_assign_get_user_mappings"} & set(functions):
        found.append("assignments")
    return found
