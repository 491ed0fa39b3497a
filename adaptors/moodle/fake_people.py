"""People of the fake Moodle, and what of a person an account is shown: Moodle leaves keys out without a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

# The recorded service account lived three hours east of Greenwich; dates are displayed in its time zone.
_ACCOUNT_ZONE = timezone(timedelta(hours=3))
ROLES = {"manager": 1, "coursecreator": 2, "editingteacher": 3, "teacher": 4, "student": 5, "guest": 6, "user": 7}
HIDES = {
    "description": ("description", "descriptionformat"),
    "lastaccess": ("lastaccess", "lastcourseaccess"),
    "mycourses": ("enrolledcourses",),
    "groups": (),  # Moodle hides these on its pages only
}
"""What the site may hide of people under a name -> the keys of it; of others it is the key of that name."""
AUTH_PLUGINS = frozenset(
    {"", "cas", "db", "email", "ldap", "lti", "manual", "none", "nologin", "oauth2", "webservice"}
)
"""Login methods that are installed: no profile with another one is given."""
TAG = re.compile(r"<(?!\s)")
"""What PHP takes for a tag and takes away: then a value is not what was promised, and nothing is answered."""
WITHOUT_TAGS = ("address", "city", "department", "institution", "phone1", "phone2")
"""What may have no tags beside the names."""
PROFILE_KEYS = ("auth", "suspended", "confirmed", "lang", "theme", "timezone", "mailformat", "trackforums")
ROW_KEYS = frozenset({
    "id", "username", "fullname", "firstname", "lastname", "email", "address", "phone1", "phone2", "department",
    "institution", "interests", "firstaccess", "lastaccess", "auth", "suspended", "confirmed", "idnumber",
    "lang", "theme", "timezone", "mailformat", "description", "descriptionformat", "city", "country",
    "profileimageurlsmall", "profileimageurl", "customfields", "groups", "roles", "preferences",
    "enrolledcourses", "lastcourseaccess", "trackforums",
})  # fmt: skip


@dataclass(slots=True)
class User:
    """An account; `profile` holds what was saved of its custom profile fields, as text by short name."""

    id: int
    username: str
    firstname: str
    lastname: str
    email: str
    idnumber: str = ""
    phone1: str = ""
    phone2: str = ""
    address: str = ""
    city: str = ""
    country: str = ""
    department: str = ""
    institution: str = ""
    lang: str = "en"
    timezone: str = "99"
    auth: str = "manual"
    description: str = ""
    suspended: bool = False
    confirmed: bool = True
    deleted: bool = False
    maildisplay: int = 2  # 0 nobody, 1 everybody, 2 members of the same courses
    firstaccess: int = 0
    lastaccess: int = 0
    profile: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> User:
        """Build a user from a recorded profile; keys that Moodle drops when empty are empty."""
        plain = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**plain, profile={field["shortname"]: field["value"] for field in row.get("customfields", ())})

    @property
    def fullname(self) -> str:
        """Return the name as Moodle displays it."""
        return f"{self.firstname} {self.lastname}"

    def is_showable(self, *names: str) -> bool:
        """Tell whether the name and these fields are without anything like a tag, as functions promise."""
        return not any(TAG.search(getattr(self, name)) for name in {"firstname", "lastname", *names})

    @property
    def sort_key(self) -> tuple[str, str, int]:
        """Return what Moodle's site order sorts by: last name, first name, id, accents and case ignored."""
        return collate(self.lastname), collate(self.firstname), self.id


@dataclass(slots=True)
class ProfileField:
    """A custom profile field; `type` is text, menu, checkbox, datetime, textarea; hidden needs viewalldetails."""

    shortname: str
    name: str
    type: str = "text"
    hidden: bool = False
    default: str = ""

    def row(self, value: str, *, displayed: bool) -> dict[str, str]:
        """Return the field as an element of `customfields`; only profiles carry the displayed value."""
        row = {"type": self.type, "value": value, "name": self.name, "shortname": self.shortname}
        return row | {"displayvalue": self._display(value)} if displayed else row

    def _display(self, value: str) -> str:
        if self.type == "checkbox":
            return "Yes" if value == "1" else "No"
        if self.type == "datetime":
            when = datetime.fromtimestamp(int(value), _ACCOUNT_ZONE)
            return f"{when:%A}, {when.day} {when:%B} {when.year}, {when.hour % 12 or 12}:{when:%M %p}"
        if self.type == "textarea":
            return f'<div class="no-overflow">{value.replace("<br>", "<br />")}</div>'
        return value


@dataclass(slots=True)
class Member:
    """One person's enrolment in one course; `groups` are ids."""

    roles: tuple[str, ...] = ("student",)
    groups: tuple[int, ...] = ()
    suspended: bool = False
    lastcourseaccess: int = 0

    @property
    def is_graded(self) -> bool:
        """Tell whether the whole-course grade report lists this person."""
        return not self.suspended and "student" in self.roles


@dataclass(slots=True)
class Group:
    """A group of a course; `visibility` other than 0 hides its members, `format` 0 is Moodle's auto-format."""

    id: int
    courseid: int
    name: str
    description: str = ""
    idnumber: str = ""
    visibility: int = 0
    participation: bool = True
    format: int = 1

    @property
    def sort_key(self) -> str:
        """Return what Moodle sorts groups by: the name, accents and case ignored."""
        return collate(self.name)

    def member_row(self, name: str) -> dict[str, Any]:
        """Return the group as it stands in a person's row, with its name as it is displayed."""
        text = self.description
        if text and self.format == 0:
            text = f'<div class="text_to_html">{text}</div>'
        return {"id": self.id, "name": name, "description": text, "descriptionformat": self.format}


@dataclass(frozen=True)
class Shown:
    """What an account is shown of people: its capabilities, the site's showuseridentity and hiddenuserfields."""

    self_id: int
    capabilities: Collection[str]
    identity: Collection[str]
    profile_fields: Iterable[ProfileField]
    picture: str
    hidden: Collection[str] = ()

    def has(self, capability: str) -> bool:
        """Tell whether the account holds a capability."""
        return capability in self.capabilities

    def fields(self, user: User, *, has_role: bool, in_course: bool = False) -> dict[str, Any]:
        """Return the visible fields of a person, in Moodle's order, before the course's own are added."""
        row: dict[str, Any] = {"id": user.id}
        is_self = user.id == self.self_id
        all_details = is_self or self.has("moodle/user:viewalldetails")
        identity = self.identity if is_self or self.has("moodle/site:viewuseridentity") else ()
        identity = {*identity} - self.withheld(in_course=in_course)
        if all_details:
            row["username"] = user.username
        row |= {"firstname": user.firstname, "lastname": user.lastname, "fullname": user.fullname}
        if self._email_shown(user, "email" in identity or is_self, in_course):
            row["email"] = user.email
        filled = {"address": user.address, "city": user.city, "country": user.country}
        filled |= {name: getattr(user, name) for name in ("phone1", "phone2") if name in identity}
        if all_details or identity:
            filled |= {"institution": user.institution, "idnumber": user.idnumber}
            row["department"] = user.department
        row |= {name: value for name, value in filled.items() if value}
        row |= {"firstaccess": user.firstaccess, "lastaccess": user.lastaccess}
        if not in_course:
            row |= self._account_fields(user, all_details)
        if has_role:  # somebody without any role gets no description, not even an empty one
            row |= {"description": user.description, "descriptionformat": 1}
        row |= {"profileimageurlsmall": f"{self.picture}/f2", "profileimageurl": f"{self.picture}/f1"}
        if custom := self._custom_fields(user, all_details, displayed=not in_course):
            row["customfields"] = custom
        for name in self.withheld(in_course=in_course) - {"email"}:
            row.pop(name, None)
        return row

    def withheld(self, *, in_course: bool) -> frozenset[str]:
        """Return the keys that the site hides from the account: in profiles and in courses by a right each."""
        right = "moodle/course:viewhiddenuserfields" if in_course else "moodle/user:viewhiddendetails"
        if not self.hidden or self.has(right):
            return frozenset()
        return frozenset(key for name in self.hidden for key in HIDES.get(name, (name,)))

    def _email_shown(self, user: User, identity: bool, in_course: bool) -> bool:
        if identity or "email" in self.withheld(in_course=in_course):  # then it is no identity field either
            return identity
        return user.maildisplay == 1 or (in_course and self.has("moodle/course:useremail"))

    @staticmethod
    def _account_fields(user: User, all_details: bool) -> dict[str, Any]:
        values: dict[str, Any] = {"theme": "", "mailformat": 1, "trackforums": 0}
        shown = PROFILE_KEYS if all_details else ("suspended", "timezone")
        return {name: values[name] if name in values else getattr(user, name) for name in shown}

    def _custom_fields(self, user: User, all_details: bool, *, displayed: bool) -> list[dict[str, str]]:
        rows = []
        for custom in self.profile_fields:
            value = user.profile.get(custom.shortname, custom.default)
            if custom.type == "checkbox":
                value = value or "0"
            if value and (all_details or not custom.hidden) and (custom.type, value) != ("datetime", "0"):
                rows.append(custom.row(value, displayed=displayed))
        return rows


def role_rows(roles: Iterable[str]) -> list[dict[str, Any]]:
    """Return roles as they stand in a person's row, by role id; `name` is empty unless a site renames it."""
    ordered = sorted(roles, key=lambda role: ROLES[role])
    return [{"roleid": ROLES[role], "name": "", "shortname": role, "sortorder": 0} for role in ordered]


def collate(text: str) -> str:
    """Return a sort key close to the database's: accents and case do not count."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()
