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
from mappings.engine.draft import NAME_LIMIT

ZONE = ZoneInfo("Africa/Nairobi")
GENDERS = {"F": "female", "M": "male"}
ILLEGAL = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


OWNER = OwnerRule((OwnerReference("group", "Field coaches"),), "", write_once=True)
IGNORED = frozenset({"last_access"})


def student(record: Mapping[str, Any], context: Context) -> Draft | Excluded | HeldBack:
    """Return what becomes of a learner.

    A field that Moodle did not send makes no property, a blank one an empty text; without key, name or roles the
    learner is held back, with every reason.
    """
    held: list[ValueProblem] = []
    key = _key(record, context, held)
    if "roles" not in record:
        held.insert(0, ValueProblem("@include", "not_sent", "roles"))
    elif "student" not in [role.strip() for role in record["roles"] or ()]:
        return Excluded(key, "include")
    first, last = _text(record, "firstname"), _text(record, "lastname")
    name = _name(first, last, held)
    problems: list[ValueProblem] = []
    properties = _properties(record, context, problems)
    for part, text in (("first_name", first), ("last_name", last)):
        if text:
            properties[part] = text
        else:
            held.append(ValueProblem(part, "not_sent" if text is None else "blank"))
    if held:
        return HeldBack(key, (*held, *problems))
    return Draft("student", key, name, OWNER, properties, frozenset(), IGNORED, (), tuple(problems))


def _key(record: Mapping[str, Any], context: Context, held: list[ValueProblem]) -> str:
    number = record.get("id")
    if number is None:
        held.append(ValueProblem("@key", "blank" if "id" in record else "not_sent"))
        return ""
    return f"{context.site}-user-{number}"


def _name(first: str | None, last: str | None, held: list[ValueProblem]) -> str:
    if first is None or last is None:
        held.append(ValueProblem("@name", "not_sent"))
        return ""
    name = " ".join(f"{first} {last}".split()) if first and last else ""
    if not name or len(name) > NAME_LIMIT:
        held.append(ValueProblem("@name", "too_long" if name else "blank"))
    return name


def _properties(record: Mapping[str, Any], context: Context, problems: list[ValueProblem]) -> dict[str, str]:
    properties: dict[str, str] = {}
    gender = record["profile"].get("gender") if "profile" in record else None
    if gender is not None:
        properties["gender"] = GENDERS.get(gender.strip(), "unknown") if gender.strip() else ""
    if record.get("id") is not None:
        properties["moodle_link"] = f"{context.site_url.rstrip('/')}/user/profile.php?id={record['id']}"
    for name, field in (("id_number", "idnumber"), ("city", "city"), ("country", "country")):
        text = _text(record, field)
        if text is not None:
            properties[name] = text
    for name in ("username", "email"):
        text = _text(record, name)
        if text is not None:
            properties[name] = text.lower()
    phone = _phone(record, problems)
    if phone is not None:
        properties["contact_phone_number"] = phone
    language = _text(record, "lang")
    if language is not None:
        properties["language"] = language.split("_")[0].lower()
    if "lastaccess" in record:
        seconds = record["lastaccess"]
        properties["last_access"] = datetime.fromtimestamp(seconds, ZONE).date().isoformat() if seconds else ""
    status = _status(record)
    if status:
        properties["moodle_status"] = status
    return properties


def _status(record: Mapping[str, Any]) -> str:
    if "suspended" not in record:
        return ""
    if record["suspended"]:
        return "suspended"
    if "lastaccess" not in record:
        return ""
    return "active" if record["lastaccess"] else "never_logged_in"


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
                digits = _digits(record[field].strip()) if len(record[field]) <= 60 else ""
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
