"""Names that CommCare takes for case types, properties and indices, and the ones it keeps for itself.

CommCare makes an XML element of each name, so its judge, an XML parser, is asked here as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from xml.parsers import expat

from mappings.engine.problems import quoted

_ITS_OWN: Final = "CommCare writes this one itself; choose another name, as in moodle_{name}"

RESERVED: Final[Mapping[str, str]] = {
    "case_id": "CommCare gives every case its id itself",
    "case_name": "the name of the case has its own key at the top of this file, 'case_name'",
    "case_type": "the case type has its own key at the top of this file, 'case_type'",
    "date_modified": _ITS_OWN.format(name="date_modified"),
    "date_opened": _ITS_OWN.format(name="date_opened"),
    "external_id": "our key has its own key at the top of this file, 'external_id'",
    "hq_user_id": "it would overwrite our key; choose another name, as in moodle_user_id",
    "location_id": _ITS_OWN.format(name="location_id"),
    "name": "the name of the case has its own key at the top of this file, 'case_name'",
    "owner_id": "the owner has its own key at the top of this file, 'owner'",
    "user_id": "it would change who is said to have sent the form; choose another name, as in moodle_user_id",
}
"""Names that CommCare refuses, loses or gives a meaning of their own, each with what to do instead."""

NAME_RULE: Final = "start with a letter (but not with xml), then letters, digits, _ and -; as in first_name"
"""How to write a name that `legal_name` and the data dictionary take."""

_FOR_DICTIONARY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")
_NEVER = re.compile(r"[\s<>/=&'\":]")
_LONGEST = 255


@lru_cache(maxsize=10_000)
def legal_name(name: str) -> bool:
    """Say whether CommCare keeps a case type, property or index of this name."""
    if not name or len(name) > _LONGEST or name[0] == "_" or name[:3].lower() == "xml" or _NEVER.search(name):
        return False
    try:
        expat.ParserCreate().Parse(f"<{name}/>", True)
    except (expat.ExpatError, UnicodeEncodeError):
        return False
    return True


def in_dictionary(name: str) -> bool:
    """Say whether CommCare's data dictionary takes a legal name as well; it knows plain letters only."""
    return bool(_FOR_DICTIONARY.fullmatch(name))


def name_refusal(kind: str, name: str) -> tuple[str, str]:
    """Return the sentence and the remedy for a name that `legal_name` does not take; `kind` is "property"."""
    proposal = made_legal(name).strip("_-").lstrip("0123456789_-")
    near = f"{NAME_RULE.split(';')[0]}; as in {proposal}" if legal_name(proposal) else NAME_RULE
    if name.startswith("_"):
        return f"CommCare loses a {kind} whose name starts with _", f"write {proposal or 'it without'}"
    if len(name) > _LONGEST:
        return f"the name of this {kind} is longer than {_LONGEST} characters", "choose a shorter one"
    return f"CommCare takes no {kind} called {quoted(name)}", near


def made_legal(text: str) -> str:
    """Return a text with only letters, digits, _ and -: accents dropped, everything else as one _."""
    if text.isalnum() and text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text)
    return _ILLEGAL.sub("_", "".join(letter for letter in plain if not unicodedata.combining(letter))).strip("_")
