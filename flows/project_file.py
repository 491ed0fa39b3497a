"""The text of a new project.yaml: what was answered, and beside it what an implementer may want to write next."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from flows.answers import CourseAnswer, Offer

PLAIN = re.compile(r"[A-Za-z][\w/.@-]*|https?://[\w./:\[\]-]+", re.ASCII)
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # NO is Norway, and false to YAML


@dataclass(frozen=True)
class Answers:
    """What `init` learned about the project; `owner_kind` is user, location, group or none."""

    site: str
    site_url: str
    time_zone: str
    country: str
    courses: CourseAnswer
    owner_kind: str
    owner: str


def project_text(answers: Answers, offer: Offer) -> str:
    """Return project.yaml; course and category names of the offer stand beside their ids."""
    return f"""\
# yaml-language-server: $schema=schema/project.schema.json
# What all mappings share. `moodle-commcare check` says what is missing.
language: 1

# Short name of this Moodle. It is part of every key in CommCare, so never change it.
site: {scalar(answers.site)}

# The address people know this Moodle by.
site_url: {scalar(answers.site_url)}

# For every date made from a Moodle time.
time_zone: {scalar(answers.time_zone)}

# For phone numbers written without a country code.
country: {scalar(answers.country)}

# Which courses are read. ids, categories (with their subcategories) and shortname_like add to each other;
# only_running leaves out those that have not begun. Courses that ended are never read.
courses:
{_courses(answers.courses, offer)}
{_owner(answers)}"""


def scalar(text: str) -> str:
    """Return a text as YAML, in quotes where it needs them."""
    if PLAIN.fullmatch(text) and text.lower() not in YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _courses(chosen: CourseAnswer, offer: Offer) -> str:
    """Return the lines under `courses:`."""
    lines = []
    if chosen.ids:
        names = {number: f"{short}: {full}" for number, (short, full) in offer.courses.items()}
        lines += ["  ids:", *(_item(number, names.get(number, "")) for number in chosen.ids)]
    if chosen.categories:
        lines += [
            "  categories:",
            *(_item(number, offer.categories.get(number, "")) for number in chosen.categories),
        ]
    if chosen.shortname_like:
        lines.append(f"  shortname_like: {json.dumps(chosen.shortname_like, ensure_ascii=False)}")
    if chosen.only_running:
        lines.append("  only_running: true")
    return "\n".join(lines) + "\n"


def _item(number: int, name: str) -> str:
    """Return one id, with the name it has in Moodle now."""
    shown = "".join(mark if mark.isprintable() else " " for mark in name).strip()
    return f"    - {number}  # {shown}" if shown else f"    - {number}"


def _owner(answers: Answers) -> str:
    """Return the part about the owner, as comments when there is none yet."""
    if answers.owner_kind != "none":
        return (
            "# Who gets the cases that no rule of a mapping gives to somebody: a mobile worker (user),\n"
            "# a location by its site code, or a case-sharing group by its name.\n"
            f"owner: {{{answers.owner_kind}: {scalar(answers.owner)}}}\n"
        )
    return (
        "# Who gets the cases that no rule of a mapping gives to somebody; without it such records wait.\n"
        "# owner: {user: amina}            # a mobile worker, by user name\n"
        "# owner: {location: siaya-02}     # a location, by site code\n"
        "# owner: {group: Siaya CHWs}      # a case-sharing group, by name\n"
    )
