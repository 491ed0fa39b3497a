"""The web-service functions of the fake Moodle, each strict about parameters and silent about what it hides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from adaptors.moodle.fake_form import (
    Each,
    Fields,
    Refusal,
    Value,
    invalid_parameter,
    invalid_response,
    missing_record,
    moodle_error,
)
from adaptors.moodle.fake_gradebook import readable
from adaptors.moodle.fake_names import Wording
from adaptors.moodle.fake_people import AUTH_PLUGINS, TAG, WITHOUT_TAGS, Group, Shown
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.fake_templates import EDITOR_COURSE_KEYS, PUBLIC_COURSE_KEYS, display

SEPARATE_GROUPS = 1
_CLOSED = "Course or activity not accessible."
_COURSE_FIELDS = frozenset({"", "id", "ids", "shortname", "idnumber", "category"})


@dataclass(frozen=True)
class Caller:
    """Who asks: the service account, what it may, which functions its service has, and how it wants names."""

    site: FakeSite
    capabilities: Collection[str]
    functions: Sequence[str]
    wording: Wording = field(default=Wording())

    @property
    def id(self) -> int:
        """Return the id of the service account."""
        return int(self.site.info["userid"])

    def may(self, capability: str) -> bool:
        """Tell whether the account holds a capability."""
        return capability in self.capabilities

    def need(self, capability: str, title: str) -> None:
        """Refuse unless the account holds a capability; Moodle's message has its title."""
        if not self.may(capability):
            message = f"Sorry, but you do not currently have permissions to do that ({title})."
            raise Refusal("core\\exception\\required_capability_exception", "nopermissions", message)

    def enter(self, course: int, *, report: bool = False) -> dict[str, Any]:
        """Return a course the account may be in; functions of reports word their refusal differently."""
        if course not in self.site.courses:
            raise missing_record("course")
        row = self.site.courses[course]
        if self.may("moodle/course:view") and (row["visible"] or self.may("moodle/course:viewhiddencourses")):
            return row
        if report:
            raise Refusal("core\\exception\\require_login_exception", "requireloginerror", _CLOSED)
        where = f"You cannot execute functions in the course context (course id:{course})."
        raise moodle_error("errorcoursecontextnotvalid", f"{where} The context error message was: {_CLOSED}")

    def name(self, text: str) -> str:
        """Return a name as this caller wants it: raw, or as Moodle displays it."""
        return self.wording.of(text, self.site.info["lang"])

    def displayed(self, text: str) -> str:
        """Return a name that Moodle displays whatever the caller wants: those within the row of a person."""
        return replace(self.wording, raw=False).of(text, self.site.info["lang"])

    def shut_out(self, course: Mapping[str, Any]) -> bool:
        """Tell whether separate groups keep the account, which is in none, from seeing people."""
        return course["groupmode"] == SEPARATE_GROUPS and not self.may("moodle/site:accessallgroups")

    @cached_property
    def shown(self) -> Shown:
        """Return the rules by which people are shown to this account."""
        site = self.site
        picture = site.info["userpictureurl"].rpartition("/")[0]
        fields = site.profile_fields.values()
        return Shown(self.id, self.capabilities, site.showuseridentity, fields, picture, site.hiddenuserfields)

    def need_person(self, user: int) -> None:
        """Refuse a person about whom nothing is told: nobody, deleted, or an account that is not confirmed."""
        account = self.site.users.get(user)
        if account is None:
            raise Refusal("dml_missing_record_exception", "invaliduser", "Invalid user")
        if account.deleted:
            raise moodle_error("userdeleted", "error/userdeleted")
        if not account.confirmed:
            raise moodle_error("usernotconfirmed", "User not confirmed")

    def sees(self, user: int) -> bool:
        """Tell whether the account may see somebody: without viewdetails only itself and course contacts."""
        return user == self.id or self.may("moodle/user:viewdetails") or self.site.is_contact(user)


def site_info(caller: Caller) -> dict[str, Any]:
    """Answer core_webservice_get_site_info."""
    info = caller.site.info
    versions = {function["name"]: function["version"] for function in info["functions"]}
    functions = [
        {"name": name, "version": versions.get(name, "2024100706" if name.startswith("core_") else "2024100700")}
        for name in caller.functions
    ]
    return info | {"functions": functions}


def courses_by_field(caller: Caller, field: str, value: str) -> dict[str, Any]:
    """Answer core_course_get_courses_by_field; the site itself, course 1, is in the list."""
    if field not in _COURSE_FIELDS:
        raise invalid_parameter()
    rows = caller.site.courses.values()
    if field == "ids":
        wanted = [Value("int").clean(part) for part in value.split(",")]
        if not set(wanted) <= caller.site.courses.keys():
            raise Refusal("Error", "", 'Attempt to assign property "contextvalidated" on null')
        found = [row for row in rows if row["id"] in wanted]
    elif field:
        key = "categoryid" if field == "category" else field
        found = [row for row in rows if str(row.get(key, "")) == value]
    else:
        found = list(rows)
    hidden_too = caller.may("moodle/course:viewhiddencourses")
    shown = [_course(caller, row) for row in found if row["visible"] or hidden_too]
    if any(TAG.search(one["fullname"]) for row in shown for one in row["contacts"]):
        raise invalid_response()
    return {"courses": shown, "warnings": []}


def _course(caller: Caller, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a course with the keys this caller is shown."""
    shown = {key: value for key, value in row.items() if key not in EDITOR_COURSE_KEYS}
    if not caller.may("moodle/course:view"):
        shown = {key: value for key, value in row.items() if key in PUBLIC_COURSE_KEYS}
    elif caller.may("moodle/course:update"):
        shown = dict(row)
    for key in ("fullname", "displayname", "shortname", "categoryname"):
        shown[key] = caller.name(row[key])
    if row["contacts"] is None:
        shown["contacts"] = _contacts(caller.site, row["id"])
    custom = shown.pop("customfields", None)
    if custom:
        shown["customfields"] = [_course_field(name, held) for name, held in custom.items()]
    return shown


def _course_field(name: str, held: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a custom field of a course: what is shown of it is escaped whatever the call asks for."""
    row = {"type": "text", "value": held, "valueraw": held} if isinstance(held, str) else dict(held)
    shown = display(row["value"]) if row["type"] in ("text", "select") else row["value"]
    return {**row, "value": shown, "name": name.capitalize(), "shortname": name}


def _contacts(site: FakeSite, course: int) -> list[dict[str, Any]]:
    members = site.members.get(course, {})
    teachers = [site.users[user] for user, member in members.items() if "editingteacher" in member.roles]
    return [{"id": t.id, "fullname": t.fullname} for t in sorted(teachers, key=lambda teacher: teacher.sort_key)]


def categories(caller: Caller, criteria: list[dict[str, str]], addsubcategories: bool) -> list[dict[str, Any]]:
    """Answer core_course_get_categories."""
    found = list(caller.site.categories.values())
    for criterion in criteria:
        if criterion["key"] not in {"id", "ids", "name", "parent"}:
            raise moodle_error("criteriaerror", "Missing permissions to search on a criterion.")
        key, wanted = criterion["key"].rstrip("s"), criterion["value"].split(",")
        found = [row for row in found if str(row[key]) in wanted]
    if criteria and addsubcategories:
        tops = {row["path"] for row in found}
        every = caller.site.categories.values()
        found = [row for row in every if any(f"{row['path']}/".startswith(f"{top}/") for top in tops)]
    in_category = [course["categoryid"] for course in caller.site.courses.values()]
    return [row | {"name": caller.name(row["name"]), "coursecount": in_category.count(row["id"])} for row in found]


def users_by_field(caller: Caller, field: str, values: list[str]) -> list[dict[str, Any]]:
    """Answer core_user_get_users_by_field: by id, duplicates collapsed, unknown and invisible people left out."""
    if field not in {"id", "idnumber", "username", "email"}:
        raise invalid_parameter()
    if field == "id":
        numbers = {Value("int").clean(value) for value in values}
        found = [caller.site.users[number] for number in sorted(numbers & caller.site.users.keys())]
    else:
        if field == "username" and any(value != value.lower() for value in values):
            raise invalid_parameter()
        wanted = {value.casefold() for value in values}
        found = [u for _, u in sorted(caller.site.users.items()) if str(getattr(u, field)).casefold() in wanted]
    site = caller.site
    rows = [caller.shown.fields(u, has_role=bool(site.courses_of(u.id))) for u in found if caller.sees(u.id)]
    if any(
        row.get("auth", "") not in AUTH_PLUGINS
        or not site.users[row["id"]].is_showable(*(name for name in WITHOUT_TAGS if name in row))
        for row in rows
    ):
        raise invalid_response()  # of all people together, and without a name
    # Somebody found by a field that the account is not shown is not returned.
    return [row for row in rows if row.get(field)]


def grade_items(caller: Caller, courseid: int, userid: int, groupid: int) -> dict[str, Any]:
    """Answer gradereport_user_get_grade_items, for one person or (userid 0) for all who are graded."""
    course = caller.enter(courseid, report=True)
    caller.need("gradereport/user:view", "View user report")
    if userid:
        caller.need_person(userid)
    if not caller.may("moodle/grade:viewall"):
        raise moodle_error("nopermissiontoviewgrades", "Cannot view grades.")
    if caller.shut_out(course):
        raise moodle_error("notingroup", "error/notingroup")
    members = caller.site.members_of(courseid)
    people = [userid] if userid else [user for user, member in members.items() if member.is_graded]
    if groupid:
        people = [user for user in people if user in members and groupid in members[user].groups]
    people.sort(key=lambda user: caller.site.users[user].sort_key)
    return {"usergrades": [_report(caller, course, user) for user in people], "warnings": []}


def _report(caller: Caller, course: Mapping[str, Any], number: int) -> dict[str, Any]:
    site, user = caller.site, caller.site.users[number]
    if not user.is_showable():
        raise invalid_response()
    book = site.gradebooks[course["id"]]
    rows = readable(
        book.rows(number, enrolled=number in site.members_of(course["id"])),
        caller.capabilities,
        shows_totals=book.shows_totals,
    )
    if not caller.may("moodle/course:ignoreavailabilityrestrictions"):
        activities = site.activities.by_course[course["id"]].values()
        closed = {one.cmid for one in activities if one.restricted}
        rows = [row for row in rows if row.get("cmid") not in closed]
    for row in rows:
        if row["itemname"] is not None:
            row["itemname"] = caller.name(row["itemname"])
    return {
        "courseid": course["id"],
        "courseidnumber": course.get("idnumber", ""),
        "userid": number,
        "userfullname": user.fullname,
        "useridnumber": user.idnumber,
        "maxdepth": book.depth,
        "gradeitems": rows,
    }


def course_groups(caller: Caller, courseid: int) -> list[dict[str, Any]]:
    """Answer core_group_get_course_groups."""
    caller.enter(courseid)
    caller.need("moodle/course:managegroups", "Manage groups")
    groups = [g for g in caller.site.groups.values() if g.courseid == courseid and _group_shown(caller, g)]
    return [
        {
            "id": group.id,
            "courseid": group.courseid,
            "name": caller.name(group.name),
            "description": group.description,
            "descriptionformat": 1,
            "enrolmentkey": None,
            "idnumber": group.idnumber,
            "visibility": group.visibility,
            "participation": group.participation,
        }
        for group in sorted(groups, key=lambda group: group.sort_key)
    ]


def group_members(caller: Caller, groupids: list[int]) -> list[dict[str, Any]]:
    """Answer core_group_get_group_members; one unknown group fails all."""
    answer = []
    for number in groupids:
        group = caller.site.groups.get(number)
        if group is None:
            raise missing_record("groups")
        caller.enter(group.courseid)
        caller.need("moodle/course:managegroups", "Manage groups")
        members = caller.site.members_of(group.courseid) if _group_shown(caller, group) else {}
        answer.append({"groupid": number, "userids": [u for u, m in members.items() if number in m.groups]})
    return answer


def _group_shown(caller: Caller, group: Group) -> bool:
    return group.visibility == 0 or caller.may("moodle/course:viewhiddengroups")


@dataclass(frozen=True)
class Function:
    """A web-service function: what it takes and what answers it."""

    takes: Fields
    answer: Callable[..., Any]


def named_values(name: str) -> Each:
    """Return the parameter type of lists of name (or key) and value."""
    return Each(Fields({name: Value("text"), "value": Value("text")}), default=[])


FUNCTIONS: dict[str, Function] = {
    "core_webservice_get_site_info": Function(Fields({}), site_info),
    "core_course_get_courses_by_field": Function(
        Fields({"field": Value("text", ""), "value": Value("text", "")}), courses_by_field
    ),
    "core_course_get_categories": Function(
        Fields({"criteria": named_values("key"), "addsubcategories": Value("bool", True)}), categories
    ),
    "core_user_get_users_by_field": Function(
        Fields({"field": Value("text"), "values": Each(Value("text"))}), users_by_field
    ),
    "gradereport_user_get_grade_items": Function(
        Fields({"courseid": Value("int"), "userid": Value("int", 0), "groupid": Value("int", 0)}), grade_items
    ),
    "core_group_get_course_groups": Function(Fields({"courseid": Value("int")}), course_groups),
    "core_group_get_group_members": Function(Fields({"groupids": Each(Value("int"))}), group_members),
}
