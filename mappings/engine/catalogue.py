"""What Moodle can give: the fields of each source, and the words people use for them by mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mappings.engine.problems import nearest, suggestion


@dataclass(frozen=True)
class CatalogueField:
    """One field of a source.

    `type` is text, number, flag, time (epoch seconds), list (of text) or elements (for one_property_per);
    `function` the Moodle function that supplies it, `cost` what it adds to a run ("" or "one call a person").
    """

    path: str
    type: str
    meaning: str
    personal: bool
    function: str
    cost: str = ""


Catalogue = Mapping[str, Mapping[str, CatalogueField]]

IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("id",),
    "enrolments": ("course.id", "user.id"),
    "grade_items": ("item.id", "user.id"),
    "courses": ("id",),
    "engagement": ("user.id",),
    "assignments": ("assignment.id", "user.id"),
}
"""The ids that together tell one record of a source from all others."""

PROJECT_FIELDS: Final = ("site", "site_url")
"""Names that templates may use beside the record's fields."""

_OWN_RECORD: Final = {"users": "user", "courses": "course"}

_SYNONYMS: Final[Mapping[str, str]] = {
    "mobile": "phone2",
    "mobile_phone": "phone2",
    "cell": "phone2",
    "phone": "phone1",
    "telephone": "phone1",
    "phone_number": "phone1",
    "surname": "lastname",
    "last_name": "lastname",
    "family_name": "lastname",
    "forename": "firstname",
    "first_name": "firstname",
    "given_name": "firstname",
    "name": "fullname",
    "full_name": "fullname",
    "last_login": "lastaccess",
    "lastlogin": "lastaccess",
    "last_access": "lastaccess",
    "first_access": "firstaccess",
    "mail": "email",
    "e_mail": "email",
    "email_address": "email",
    "login": "username",
    "user_name": "username",
    "language": "lang",
    "town": "city",
    "organisation": "institution",
    "id_number": "idnumber",
    "short_name": "shortname",
    "course_name": "course.fullname",
    "score": "grade.raw",
    "percentage": "grade.percent",
    "max_grade": "grade.max",
}

_NOT_GIVEN: Final = {
    "timestart": "enrolment dates",
    "timeend": "enrolment dates",
    "timecreated": "when a record was made",
    "timemodified": "when a record was changed",
    "deleted": "deleted people",
    "letter": "grade letters",
    "progress": "course progress",
    "completed": "course completion",
    "password": "passwords",
}


def find_field(catalogue: Catalogue, source: str, path: str) -> CatalogueField | None:
    """Return the field at `path`; custom fields answer to their wildcard (`profile.*`)."""
    fields = catalogue.get(source, {})
    if path in fields and not path.endswith("*"):
        return fields[path]
    block, dot, shortname = path.rpartition(".")
    return fields.get(f"{block}.*") if dot and _is_shortname(shortname) else None


def _is_shortname(text: str) -> bool:
    return text.replace("_", "x").isalnum() and text.isascii()


def field_remedy(catalogue: Catalogue, source: str, path: str) -> str:
    """Return what to write instead of a path that the source does not have."""
    inside = next((known for known in catalogue.get(source, {}) if f".{known}".endswith(f".{path}.*")), "")
    if inside:
        return f"write the short name of a field behind it, as in '{inside[:-1]}gender'"
    paths = [known for known in catalogue.get(source, {}) if not known.endswith("*")]
    word = path.lower().replace(" ", "_").replace("-", "_")
    meant = _SYNONYMS.get(word) or _SYNONYMS.get(word.rpartition(".")[2], "")
    found = next((known for known in _ending(paths, meant)), "") if meant else ""
    if found:
        return f"Moodle calls it '{found}'"
    same = sorted(_ending(paths, path.rpartition(".")[2]), key=len)
    if same:
        return f"did you mean '{same[0]}'?"
    if path.rpartition(".")[2] in _NOT_GIVEN:
        return f"Moodle's web services do not tell {_NOT_GIVEN[path.rpartition('.')[2]]} here"
    near = nearest(path, paths)
    return f"did you mean '{near}'?" if near else _custom_remedy(catalogue, source, path, paths)


def _ending(paths: list[str], name: str) -> Iterator[str]:
    return (known for known in paths if known == name or known.endswith(f".{name}"))


def _custom_remedy(catalogue: Catalogue, source: str, path: str, paths: list[str]) -> str:
    wildcards = [known for known in catalogue.get(source, {}) if known.endswith(".*")]
    if any(path.startswith(known[:-1]) for known in wildcards):
        return "a custom field has the shortname it has in Moodle: letters, digits and _"
    if wildcards and _is_shortname(path):
        return f"a custom field is written with its shortname, as in '{wildcards[0][:-1]}{path}'"
    return suggestion(path, paths, none="look the field up in the documentation of this source")


def absolute(source: str, path: str) -> str:
    """Return a path as other sources write it: `id` of users is `user.id`."""
    owner = _OWN_RECORD.get(source)
    own = owner is not None and "." not in path and path not in PROJECT_FIELDS
    return f"{owner}.{path}" if own else path
