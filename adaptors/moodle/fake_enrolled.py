"""core_enrol_get_enrolled_users of the fake Moodle: the function with the most options and the most surprises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adaptors.moodle.fake_form import Fields, Value, invalid_parameter, invalid_response, moodle_error
from adaptors.moodle.fake_functions import Caller, Function, named_values
from adaptors.moodle.fake_people import PROFILE_KEYS, ROW_KEYS, WITHOUT_TAGS, Member, User, role_rows
from adaptors.moodle.fake_site import SITE_COURSE

HIDDEN = 3
"""Visibility of a group that nobody sees without 'moodle/course:viewhiddengroups'."""

_SORTS: dict[str, Callable[[User], Any]] = {
    "id": lambda user: user.id,
    "firstname": lambda user: user.sort_key[1],
    "lastname": lambda user: user.sort_key[0],
    "siteorder": lambda user: user.sort_key,
}


@dataclass(frozen=True)
class Options:
    """What was asked for; `limitnumber` 0 is no limit, no `userfields` is everything."""

    withcapability: str = ""
    groupid: int = 0
    onlyactive: bool = False
    onlysuspended: bool = False
    userfields: frozenset[str] = frozenset()
    limitfrom: int = 0
    limitnumber: int = 0
    sortby: str = "id"
    sortdirection: str = "ASC"

    @classmethod
    def read(cls, options: Iterable[Mapping[str, str]]) -> Options:
        """Read the options; names that Moodle does not know are ignored."""
        given: dict[str, Any] = {}
        for option in options:
            name, value = option["name"], option["value"]
            if name in {"onlyactive", "onlysuspended"}:
                given[name] = value not in {"", "0"}
            elif name in {"groupid", "limitfrom", "limitnumber"}:
                given[name] = int(value) if value.lstrip("-").isdigit() else 0
            elif name == "userfields":
                given[name] = frozenset(field.strip() for field in value.split(","))
            elif name in {"withcapability", "sortby", "sortdirection"}:
                given[name] = value.upper() if name == "sortdirection" else value
        read = cls(**given)
        if read.sortby not in _SORTS or read.sortdirection not in {"ASC", "DESC"}:
            raise invalid_parameter()
        return read


def enrolled_users(caller: Caller, courseid: int, options: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Answer core_enrol_get_enrolled_users. The page is cut first, invisible people drop out of it later."""
    asked = Options.read(options)
    course = caller.enter(courseid)
    if asked.withcapability:
        caller.need("moodle/role:review", "Review permissions for others")
    if asked.groupid:
        caller.need("moodle/site:accessallgroups", "Access all groups")
    if asked.onlyactive or asked.onlysuspended:
        caller.need("moodle/course:enrolreview", "Review course enrolments")
    if caller.shut_out(course):
        return []
    members = _members(caller, courseid)
    found = [caller.site.users[user] for user, member in members.items() if _wanted(member, asked)]
    found.sort(key=_SORTS["id"])  # equal names stay in the order of ids, whatever the direction
    found.sort(key=_SORTS[asked.sortby], reverse=asked.sortdirection == "DESC")
    start = max(asked.limitfrom, 0)
    page = found[start : start + asked.limitnumber if asked.limitnumber > 0 else None]
    return [_row(caller, user, members[user.id], asked) for user in page if caller.sees(user.id)]


def _members(caller: Caller, course: int) -> Mapping[int, Member]:
    """Return who is in a course; in the site course that is everybody, the guest included."""
    if course != SITE_COURSE:
        return caller.site.members_of(course)
    return {user.id: Member(roles=()) for user in caller.site.users.values() if not user.deleted}


def _wanted(member: Member, asked: Options) -> bool:
    if (asked.onlyactive and member.suspended) or (asked.onlysuspended and not member.suspended):
        return False
    if asked.withcapability and "student" not in member.roles:  # good enough for mod/assign:submit
        return False
    return not asked.groupid or asked.groupid in member.groups


def _row(caller: Caller, user: User, member: Member, asked: Options) -> dict[str, Any]:
    wanted = asked.userfields
    if unknown := sorted(wanted - ROW_KEYS):
        raise moodle_error("invaliduserfield", f"Invalid user field: {unknown[0]}")
    if not user.is_showable(*(name for name in WITHOUT_TAGS if not wanted or name in wanted)):
        raise invalid_response()  # of the whole page: the full name is in each row
    if wanted <= {"id", "fullname"} and wanted:  # the id lists are by far the longest: no need to build the rest
        return {"id": user.id, "fullname": user.fullname}
    row = caller.shown.fields(user, has_role=bool(member.roles), in_course=True)
    row["lastcourseaccess"] = member.lastcourseaccess
    row |= _groups(caller, member)
    row["roles"] = role_rows(member.roles)
    if (not wanted or "enrolledcourses" in wanted) and (courses := courses_of(caller, user.id)):
        row["enrolledcourses"] = courses
    for name in caller.shown.withheld(in_course=True) & {"lastcourseaccess", "enrolledcourses"}:
        row.pop(name, None)
    if not wanted:
        return row
    shown = (wanted | {"id", "fullname"}) - set(PROFILE_KEYS)
    return {key: value for key, value in row.items() if key in shown}


def _groups(caller: Caller, member: Member) -> dict[str, Any]:
    """Return `groups` as it stands in a row, if it does.

    Before 4.3 it is in every row, empty or not, for an account with accessallgroups in the course, and in none for
    another; hidden groups came with 4.3, and of these only the level "Hidden" is left out of a row.
    """
    is_old = caller.site.release < (4, 3)
    if is_old and not caller.may("moodle/site:accessallgroups"):
        return {}
    hidden_too = is_old or caller.may("moodle/course:viewhiddengroups")
    groups = [caller.site.groups[number] for number in member.groups]
    visible = sorted((g for g in groups if hidden_too or g.visibility != HIDDEN), key=lambda group: group.sort_key)
    rows = [group.member_row(caller.displayed(group.name)) for group in visible]
    return {"groups": rows} if rows or is_old else {}


def courses_of(caller: Caller, user: int) -> list[dict[str, Any]]:
    """Return the courses somebody is active in, in the order of the course list."""
    site = caller.site
    rows = [site.courses[id_] for id_ in site.courses_of(user) if not site.members[id_][user].suspended]
    may_hidden = caller.may("moodle/course:viewhiddencourses")
    return [
        {"id": row["id"], **{name: caller.displayed(row[name]) for name in ("fullname", "shortname")}}
        for row in sorted(rows, key=lambda row: row["sortorder"])
        if row["visible"] or may_hidden
    ]


ENROLLED_USERS = Function(Fields({"courseid": Value("int"), "options": named_values("name")}), enrolled_users)
