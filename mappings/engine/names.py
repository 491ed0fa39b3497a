"""Names that CommCare takes for case types, properties and indices, and the ones it keeps for itself."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

RESERVED: Final = frozenset(
    (
        "case_id",
        "case_name",
        "case_type",
        "date_modified",
        "date_opened",
        "external_id",
        "hq_user_id",
        "location_id",
        "name",
        "owner_id",
        "user_id",
    )
)
"""Names that CommCare keeps for itself: refused there, lost, or with a meaning of their own."""

_LEGAL = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")


NAME_RULE: Final = "start with a letter (but not with xml), then letters, digits, _ and -"
"""How to write a name that `legal_name` takes."""


def legal_name(name: str) -> bool:
    """Say whether CommCare and its data dictionary take a text as a property name."""
    return bool(_LEGAL.fullmatch(name)) and not name.lower().startswith("xml") and len(name) <= 255


def made_legal(text: str) -> str:
    """Return a text with only letters, digits, _ and -: accents dropped, everything else as one _."""
    if text.isalnum() and text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text)
    return _ILLEGAL.sub("_", "".join(letter for letter in plain if not unicodedata.combining(letter))).strip("_")
