"""The student mapping as a programmer would write it: what compiled mappings are measured against."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers

from mappings.engine import Context, Draft, Excluded, HeldBack, OwnerReference, OwnerRule, ValueProblem

ZONE = ZoneInfo("Africa/Nairobi")
GENDERS = {"F": "female", "M": "male"}
ILLEGAL = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


OWNER = OwnerRule((OwnerReference("group", "Field coaches"),), "", write_once=True)
IGNORED = frozenset({"last_access"})


def student(record: Mapping[str, Any], context: Context) -> Draft | Excluded | HeldBack:
    """Return what becomes of a learner.

    A field that Moodle did not send makes no property, a blank one an empty text.
    """
    key = f"{context.site}-user-{record['id']}"
    if "student" not in record["roles"]:
        return Excluded(key, "include")
    first, last = _text(record, "firstname"), _text(record, "lastname")
    if not first or not last:
        return HeldBack(key, (ValueProblem("@name", "blank"),))
    properties: dict[str, str] = {}
    problems: list[ValueProblem] = []
    if "profile" in record:
        gender = record["profile"]["gender"]
        properties["gender"] = GENDERS.get(gender.strip(), "unknown") if gender else ""
    properties["moodle_link"] = f"{context.site_url}/user/profile.php?id={record['id']}"
    properties["first_name"] = first
    properties["last_name"] = last
    for name in ("username", "email"):
        text = _text(record, name)
        if text is not None:
            properties[name] = text.lower()
    id_number = _text(record, "idnumber")
    if id_number is not None:
        properties["id_number"] = id_number
    phone = _phone(record, problems)
    if phone is not None:
        properties["contact_phone_number"] = phone
    for name in ("city", "country"):
        text = _text(record, name)
        if text is not None:
            properties[name] = text
    language = _text(record, "lang")
    if language is not None:
        properties["language"] = language.split("_")[0].lower()
    if "lastaccess" in record:
        seconds = record["lastaccess"]
        properties["last_access"] = datetime.fromtimestamp(seconds, ZONE).date().isoformat() if seconds else ""
    if record["suspended"]:
        properties["moodle_status"] = "suspended"
    elif "lastaccess" in record:
        properties["moodle_status"] = "active" if record["lastaccess"] else "never_logged_in"
    name = " ".join(f"{first} {last}".split())
    return Draft("student", key, name, OWNER, properties, frozenset(), IGNORED, (), tuple(problems))


def _text(record: Mapping[str, Any], field: str) -> str | None:
    """Return a field without white space around it and without what XML forbids; None when it was not sent."""
    if field not in record:
        return None
    text: str = (record[field] or "").strip()
    return text if text.isprintable() else ILLEGAL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _phone(record: Mapping[str, Any], problems: list[ValueProblem]) -> str | None:
    """Return the first number that is there, "" when it is none, None when no field was sent."""
    found = None
    for field in ("phone1", "phone2"):
        if field in record:
            if record[field] and not record[field].isspace():
                digits = _digits(record[field].strip())
                if not digits:
                    problems.append(ValueProblem("contact_phone_number", "invalid_phone"))
                return digits
            found = ""
    return found


@lru_cache(maxsize=2000)
def _digits(text: str) -> str:
    for typed in (text, f"+{text[2:]}") if text.startswith("00") else (text,):
        try:
            number = phonenumbers.parse(typed, "KE")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).lstrip("+")
    return ""
