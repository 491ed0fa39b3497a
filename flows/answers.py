"""What people may answer to `init`: each check returns the answer in its normal form or says what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar
from zoneinfo import available_timezones

from mappings.engine.phones import country_refusal

T = TypeVar("T")
OWNERS = ("user", "location", "group", "none")


class Ask(Protocol):
    """How a question reaches a person: the answer as typed, "" or the default when nothing was."""

    def __call__(self, question: str, default: str, secret: bool) -> str:
        """Ask one question; `secret` answers are not shown while they are typed."""
        ...


@dataclass(frozen=True)
class Offer:
    """What a Moodle site has to choose from: category names by id, and (shortname, full name) of courses by id.

    `lacking` says in sentences why there are no courses, though Moodle answers.
    """

    categories: Mapping[int, str] = field(default_factory=dict)
    courses: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    lacking: str = ""


@dataclass
class CourseAnswer:
    """Which courses were chosen; all parts add to each other, `only_running` narrows them."""

    ids: list[int] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    shortname_like: str = ""
    only_running: bool = False


def settled(ask: Ask, question: str, check: Callable[[str], T], *, default: str = "", secret: bool = False) -> T:
    """Ask until the answer passes its check; what was wrong is said in one sentence before the question.

    A default that does not pass is not offered: it may be an address with a password in it.
    """
    sentence, default = "", _passing(default, check)
    while True:
        answer = ask(f"{sentence}{question}", default, secret)
        try:
            return check((answer if secret else answer.strip()) or default)
        except ValueError as error:
            sentence = f"That {error}" + ("\n" if str(error).endswith("?") else ".\n")


def _passing(text: str, check: Callable[[str], object]) -> str:
    """Return a text that passes a check, else none."""
    try:
        check(text)
    except ValueError:
        return ""
    return text


def yes(text: str) -> bool:
    """Return whether the answer is yes."""
    if text.lower() not in ("y", "yes", "n", "no"):
        raise ValueError("is neither yes nor no: answer y or n")
    return text.lower().startswith("y")


def one_of(*words: str) -> Callable[[str], str]:
    """Return the check for a choice between words."""

    def check(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"is none of the choices: answer {', '.join(words[:-1])} or {words[-1]}")
        return text.lower()

    return check


def way_to_sign_in(text: str) -> str:
    """Return `token` or `login`, or a token of Moodle (32 hexadecimal digits) that was pasted in their place."""
    return text if re.fullmatch(r"[0-9a-fA-F]{32}", text) else one_of("token", "login")(text)


def something(text: str) -> str:
    """Return an answer that is not blank."""
    if not text.strip():
        raise ValueError("is blank, and this is needed")
    return text


def site_name(text: str) -> str:
    """Return the short name of a site, fit to be part of every key."""
    if not re.fullmatch(r"[a-z0-9-]{1,20}", text):
        raise ValueError("is no short name: small letters, digits and -, at most 20 of them, as in chw-kenya")
    return text


def time_zone(text: str) -> str:
    """Return the name of a time zone."""
    known = {name.lower(): name for name in available_timezones()}
    if text.lower() in known:
        return known[text.lower()]
    cities = {lower.rsplit("/", 1)[-1]: name for lower, name in sorted(known.items())}
    near = difflib.get_close_matches(text.lower().replace(" ", "_"), [*known, *cities], n=1)
    if not near:
        raise ValueError("is not the name of a time zone; write it as in Africa/Nairobi")
    raise ValueError(f"is not the name of a time zone; did you mean {known.get(near[0]) or cities[near[0]]}?")


def country(text: str) -> str:
    """Return a country's two letters."""
    refusal = country_refusal(text.upper())
    if refusal:
        raise ValueError(f"is no country: {refusal}")
    return text.upper()


def courses(text: str, offer: Offer) -> CourseAnswer:
    """Read a choice of courses: `2, 5`, `category 3`, `CHW-*`, `running`, `all`, and these together.

    What the site is known not to have is refused, when the site is known at all.
    """
    found, kind = CourseAnswer(), "course"
    for part in filter(None, (part.strip() for part in text.split(","))):
        said = re.fullmatch(r"(?:(course|categor)(?:s|y|ies)?\s+)?(\d+)", part, re.IGNORECASE)
        if said:
            kind = (said[1] or kind).lower()
            numbers, number = found.ids if kind == "course" else found.categories, int(said[2])
            numbers += [number] if number not in numbers else []
        elif part.lower() == "running":
            found.only_running = True
        elif found.shortname_like:
            raise ValueError("has two patterns, and there can be one: choose ids or categories for the rest")
        else:
            found.shortname_like = "*" if part.lower() == "all" else part
    if 1 in found.ids:
        raise ValueError("names course 1, which is the site's front page")
    if found == CourseAnswer():
        raise ValueError("chooses no course, and nothing is read without a choice")
    _exist(found, offer)
    return found


def _exist(found: CourseAnswer, offer: Offer) -> None:
    """Refuse what the site does not have."""
    if not offer.courses:
        return
    for number in found.ids:
        if number not in offer.courses:
            raise ValueError(f"names course {number}, which this account does not see on the site")
    for number in found.categories:
        if offer.categories and number not in offer.categories:
            raise ValueError(f"names category {number}, which this account does not see on the site")
    shortnames = [shortname for shortname, _ in offer.courses.values()]
    pattern = found.shortname_like
    if pattern and not any(fnmatchcase(shortname, pattern) for shortname in shortnames):
        near = difflib.get_close_matches(pattern, shortnames, n=1)
        hint = f"; there is {near[0]}" if near else ""
        raise ValueError(f"fits the short name of no course{hint}")
