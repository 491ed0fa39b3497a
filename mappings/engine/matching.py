"""What two systems write differently about one person, brought to one form: to compare, never to send."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from mappings.engine.paths import getter
from mappings.engine.spec import MappingSpec
from mappings.engine.spec_match import MatchSpec
from mappings.engine.texts import Invalid, to_text

MATCHED_SOURCE: Final = "users"
KEY: Final = "key"
MAIL: Final = "email"
EXTERNAL_ID: Final = "external_id"
NAME_FIELDS: Final = ("firstname", "lastname")
PHONE_FIELDS: Final = ("phone1", "phone2")
PLACEHOLDERS: Final = (
    *("noreply@*", "no-reply@*", "donotreply@*", "none@*", "no@*", "na@*", "nobody@*", "noemail@*", "no-email@*"),
    *("nomail@*", "unknown@*", "test@*", "dummy@*", "example@*", "xxx@*", "sinemail@*", "sincorreo@*", "sans@*"),
    *("*@example.com", "*@example.net", "*@example.org", "*.example", "*.invalid", "*.test", "*.localhost"),
    *("*@localhost", "*@noemail.*", "*@nomail.*", "*@none.*"),
)
"""Addresses that are typed where there is none."""

_NO_ID: Final = frozenset(("na", "nil", "no", "none", "null", "unknown", "x", "xx", "xxx", "sn", "nd"))
_UNCOMPOSED: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"}
)
_SHORTEST_PHONE, _COMPARED_DIGITS = 7, 9  # what is compared leaves out country codes and trunk zeros


@dataclass(frozen=True)
class MatchRules:
    """How one mapping's people are recognised.

    `pairs` are (case property, function from a record to its comparable text); `email` and `phone` are case
    properties, "" when there is none; `auto` what links without a person's word; `reads` the paths looked at.
    """

    pairs: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...]
    email: str
    phone: str
    auto: frozenset[str]
    ignored: tuple[str, ...]
    reads: frozenset[str]

    @property
    def properties(self) -> frozenset[str]:
        """Return the case properties that are compared."""
        named = {name for name, _ in self.pairs if name != EXTERNAL_ID} | {self.email, self.phone}
        return frozenset(named - {""})

    def address(self, text: object) -> str:
        """Return an e-mail address to compare, "" for one that is nobody's own."""
        found = comparable(text).replace(" ", "")
        local, at, domain = found.partition("@")
        if not (local and at and domain) or "@" in domain:
            return ""
        return "" if any(fnmatchcase(found, pattern) for pattern in self.ignored) else found


def match_rules(spec: MappingSpec) -> MatchRules:
    """Return the rules of a mapping of people; without `match` those that follow from its properties."""
    rules = spec.match or MatchSpec.model_construct()
    pairs = tuple((pair.commcare, _identifier_at(pair.moodle)) for pair in rules.by)
    paths = {pair.moodle for pair in rules.by} | {MAIL, *NAME_FIELDS, *PHONE_FIELDS}
    ignored = (*PLACEHOLDERS, *(comparable(pattern) for pattern in rules.ignore_emails))
    email = rules.email or made_of(spec, (MAIL,))
    phone = rules.phone or made_of(spec, PHONE_FIELDS)
    return MatchRules(pairs, email, phone, frozenset(rules.auto), ignored, frozenset(paths))


def matches_email(spec: MappingSpec) -> bool:
    """Say whether it is known which case property holds the e-mail address."""
    return bool((spec.match and spec.match.email) or made_of(spec, (MAIL,)))


def made_of(spec: MappingSpec, fields: tuple[str, ...]) -> str:
    """Return the first property that is made of one of these fields, "" when there is none."""
    for name, found in spec.properties.items():
        if found.retire is None and {found.source, *(found.first_of or ())} & set(fields):
            return name
    return ""


def comparable(value: object) -> str:
    """Return a value as one text: unseen signs gone, compatible letters as one, no capitals, single blanks."""
    try:
        text = "" if value is None else to_text(value)
    except Invalid:
        return ""
    if not isinstance(text, str):
        return ""
    plain = "".join(" " if letter.isspace() else letter for letter in text if unicodedata.category(letter) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", plain).casefold())
    return " ".join(folded.split())


def identifier(value: object) -> str:
    """Return an id to compare, "" for what is typed where there is none: 0000, n/a, a dash."""
    text = comparable(value)
    bare = "".join(letter for letter in text if letter.isalnum())
    return "" if not bare or set(bare) == {"0"} or bare in _NO_ID else text


def name_words(*parts: object) -> list[str]:
    """Return the words of a name in the order of the alphabet, without accents."""
    text = " ".join(comparable(part) for part in parts).translate(_UNCOMPOSED)
    bare = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return sorted(re.findall(r"\w+", re.sub(r"['’ʼ`]", "", bare)))


def phone_digits(value: object) -> str:
    """Return the digits of a phone number that do not depend on how it is dialled, "" when there are too few."""
    digits = "".join(str(unicodedata.digit(letter)) for letter in comparable(value) if letter.isdigit())
    digits = digits.lstrip("0")
    return digits[-_COMPARED_DIGITS:] if len(digits) >= _SHORTEST_PHONE and len(set(digits)) > 1 else ""


def _identifier_at(path: str) -> Callable[[Mapping[str, Any]], str]:
    at = getter(path)
    return lambda record: identifier(at(record))
