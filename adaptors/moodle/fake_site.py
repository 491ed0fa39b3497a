"""The site behind the fake Moodle as plain data: tests and the demo edit it, the web service reads it."""

from __future__ import annotations

import hashlib
import html
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from adaptors.moodle.fake_activities import Activities
from adaptors.moodle.fake_gradebook import Grade, Gradebook, Item
from adaptors.moodle.fake_marking import Marking
from adaptors.moodle.fake_people import ROLES, Group, Member, ProfileField, User
from adaptors.moodle.fake_templates import EDITOR_COURSE_KEYS, SITE_INFO, category_row, course_row

SITE_COURSE = 1
_ITEM_FIELDS = {f.name for f in fields(Item)} - {"id"}


@dataclass
class FakeSite:
    """Courses, people, enrolments, groups and gradebooks; `now` (epoch seconds) stamps every edit.

    `maintenance` is "", "web" or "cli"; `showuseridentity` the fields shown to accounts with viewuseridentity.
    `hiddenuserfields` are hidden from accounts without the right to see them.
    """

    url: str = "https://moodle.example.org"
    now: int = 1_795_300_000
    maintenance: str = ""
    web_services: bool = True
    showuseridentity: tuple[str, ...] = ("email", "phone1", "phone2")
    hiddenuserfields: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=lambda: dict(SITE_INFO))
    categories: dict[int, dict[str, Any]] = field(default_factory=dict)
    courses: dict[int, dict[str, Any]] = field(default_factory=dict)
    users: dict[int, User] = field(default_factory=dict)
    members: dict[int, dict[int, Member]] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    gradebooks: defaultdict[int, Gradebook] = field(default_factory=lambda: defaultdict(Gradebook))
    profile_fields: dict[str, ProfileField] = field(default_factory=dict)
    activities: Activities = field(default_factory=Activities)
    marking: Marking = field(default_factory=Marking)
    _last: Counter[str] = field(default_factory=Counter, repr=False)
    _course_of_item: dict[int, int] = field(default_factory=dict, repr=False)
    _courses_of: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set), repr=False)

    def __post_init__(self) -> None:
        self.info["siteurl"] = self.url
        me = User(self.info["userid"], self.info["username"], self.info["firstname"], self.info["lastname"], "")
        guest, admin = User(1, "guest", "Guest user", " ", ""), User(2, "admin", "Admin", "User", "")
        for user in (guest, admin, me):
            user.email = f"{user.username}@example.org"
            self.users.setdefault(user.id, user)
        if SITE_COURSE not in self.courses:
            front = course_row(
                SITE_COURSE, self.url, shortname="site", fullname=self.info["sitename"], format="site"
            )
            self.courses[SITE_COURSE] = front | {"categoryid": 0, "categoryname": "", "sortorder": 1}
        self.members.setdefault(SITE_COURSE, {})
        if not self.categories:
            self.add_category("Category 1")
        self._last += Counter(user=max(self.users), course=max(self.courses))

    @property
    def release(self) -> tuple[int, int]:
        """Return major and minor of the release that it says it is; set `info["release"]` for an older one."""
        major, minor = self.info["release"].split(".")[:2]
        return int(major), int(minor)

    @classmethod
    def from_recording(cls, calls: Sequence[Mapping[str, Any]]) -> FakeSite:
        """Build a site from recorded calls, a list of {function, params, status, response}."""
        answers: dict[str, list[tuple[Any, Any]]] = {}
        for call in calls:
            answers.setdefault(call["function"], []).append((call["params"], call["response"]))
        (_, info), *_ = answers["core_webservice_get_site_info"]
        (_, listing), *_ = answers["core_course_get_courses_by_field"]
        (_, categories), *_ = answers["core_course_get_categories"]
        site = cls(
            url=info["siteurl"],
            info=dict(info),
            categories={row["id"]: row | {"name": html.unescape(row["name"])} for row in categories},
            courses={row["id"]: _stored(row) for row in listing["courses"]},
        )
        for _, people in answers["core_user_get_users_by_field"]:
            site._take_profiles(people)
        for params, groups in answers["core_group_get_course_groups"]:
            for row in groups:
                site.groups[row["id"]] = Group(
                    format=0, **{name: row[name] for name in Group.__slots__ if name in row}
                )
            site.members[params["courseid"]] = {}
        for params, rows in answers["core_enrol_get_enrolled_users"]:
            site._take_members(params, rows)
        for params, report in answers["gradereport_user_get_grade_items"]:
            site._take_grades(params["courseid"], report["usergrades"])
        for _, listed in answers.get("mod_assign_get_assignments", ()):
            site.activities.take_assignments(listed["courses"])
            for row in listed["courses"]:
                site.courses[row["id"]]["timemodified"] = row["timemodified"]
        for _, listed in answers.get("mod_assign_get_submissions", ()):
            site.activities.take_submissions(listed["assignments"])
        site.marking.take(answers)
        for params, report in answers.get("core_completion_get_activities_completion_status", ()):
            site.activities.take_statuses(params, report["statuses"])
        site._last |= Counter(
            user=max(site.users), group=max(site.groups, default=0), category=max(site.categories)
        )
        return site

    def _take_profiles(self, people: Iterable[Mapping[str, Any]]) -> None:
        for row in people:
            self.users[row["id"]] = User.from_row(row)
            order, at = list(self.profile_fields), 0
            for custom in row.get("customfields", ()):
                name = custom["shortname"]
                if name not in self.profile_fields:
                    self.profile_fields[name] = ProfileField(name, custom["name"], custom["type"])
                    order.insert(at, name)
                at = order.index(name) + 1
            self.profile_fields = {name: self.profile_fields[name] for name in order}

    def _take_members(self, params: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        course = self.members[params["courseid"]]
        only_suspended = any(option["name"] == "onlysuspended" for option in params["options"])
        for row in rows:
            member = course.setdefault(row["id"], Member())
            self._courses_of[row["id"]].add(params["courseid"])
            member.suspended |= only_suspended
            member.roles = tuple(role["shortname"] for role in row.get("roles", ())) or member.roles
            member.groups = tuple(group["id"] for group in row.get("groups", ())) or member.groups
            member.lastcourseaccess = row.get("lastcourseaccess", member.lastcourseaccess)

    def _take_grades(self, course: int, usergrades: list[dict[str, Any]]) -> None:
        self.gradebooks[course] = Gradebook.from_report(usergrades)
        if usergrades:
            self.courses[course]["idnumber"] = usergrades[0]["courseidnumber"]
        self._last["item"] = max(
            self._last["item"], *(row["id"] for u in usergrades for row in u["gradeitems"]), 0
        )

    def members_of(self, course: int) -> dict[int, Member]:
        """Return who is in a course; LookupError for a course of a recording whose people were not recorded."""
        if course not in self.members:
            raise LookupError(f"the recording has no people for course {course}")
        return self.members[course]

    def courses_of(self, user: int) -> Collection[int]:
        """Return the courses somebody is in."""
        return self._courses_of.get(user, ())

    def is_contact(self, user: int) -> bool:
        """Tell whether somebody is named as a contact (an editing teacher) of any course."""
        return any("editingteacher" in self.members[course][user].roles for course in self.courses_of(user))

    # Editing

    def next_id(self, kind: str) -> int:
        """Return the next id of a kind: user, course, category, group, item."""
        self._last[kind] += 1
        return self._last[kind]

    def add_category(self, name: str, parent: int = 0) -> int:
        """Add a course category, inside `parent` unless that is 0."""
        number = self.next_id("category")
        self.categories[number] = category_row(number, name, self.categories.get(parent))
        return number

    def add_course(self, shortname: str, fullname: str, **values: Any) -> int:
        """Add a course; `values` are keys of its row, and `customfields` as {short name: text}.

        Of another type than text it is {short name: {type, value, valueraw}}, the value as it is displayed.
        """
        number = self.next_id("course")
        row = course_row(number, self.url, shortname=shortname, fullname=fullname, now=self.now) | _known(values)
        row["categoryname"] = self.categories[row["categoryid"]]["name"]
        self.courses[number] = row
        self.members[number] = {}
        category = self.next_id("grade_category")
        total = Item(self.next_id("item"), type="course", instance=category, idnumber=None)
        self.gradebooks[number] = Gradebook([total])
        self._course_of_item[total.id] = number
        return number

    def rename(self, course: int, fullname: str) -> None:
        """Give a course another full name."""
        self.courses[course] |= {"fullname": fullname, "displayname": fullname, "timemodified": self.now}

    def add_profile_field(self, shortname: str, name: str = "", **values: Any) -> None:
        """Add a custom profile field: type, hidden, default."""
        self.profile_fields[shortname] = ProfileField(shortname, name or shortname.capitalize(), **values)

    def add_user(self, firstname: str, lastname: str, **values: Any) -> int:
        """Add an account; `values` are fields of User. Unknown custom fields in `profile` become text fields."""
        number = self.next_id("user")
        username = values.pop("username", f"user{number}")
        user = User(number, username, firstname, lastname, values.pop("email", f"{username}@example.org"))
        self.users[number] = user
        self.update_user(number, **values)
        return number

    def update_user(self, user: int, **values: Any) -> None:
        """Change fields of an account; `profile` is merged into what is there."""
        account = self.users[user]
        for shortname, value in values.pop("profile", {}).items():
            if shortname not in self.profile_fields:
                self.add_profile_field(shortname)
            account.profile[shortname] = value
        for name, value in values.items():
            setattr(account, name, value)

    def delete_user(self, user: int) -> None:
        """Delete an account as Moodle does: out of all courses, its names turned into rubbish, its row kept."""
        for course in self.members:
            self.unenrol(course, user)
        account = self.users[user]
        digest = hashlib.md5(account.username.encode(), usedforsecurity=False).hexdigest()
        account.username, account.email = f"{account.email.lower()}.{self.now}", digest
        account.idnumber, account.profile, account.deleted = "", {}, True

    def delete_course(self, course: int) -> None:
        """Delete a course as Moodle does: with all enrolments in it."""
        for user in [*self.members.get(course, ())]:
            self.unenrol(course, user)
        self.members.pop(course, None)
        del self.courses[course]

    def enrol(
        self, course: int, user: int, roles: Sequence[str] = ("student",), groups: Collection[int | str] = ()
    ) -> None:
        """Put somebody into a course; `groups` are ids, or names that are made when they are new."""
        if unknown := set(roles) - ROLES.keys():
            raise ValueError(f"no role {', '.join(unknown)}; there are {', '.join(ROLES)}")
        self.members.setdefault(course, {})[self.users[user].id] = Member(tuple(roles))
        self._courses_of[user].add(course)
        for group in groups:
            self.set_group(course, user, group)

    def unenrol(self, course: int, user: int) -> None:
        """Take somebody out of a course; their grades go with them."""
        self.members[course].pop(user, None)
        self._courses_of[user].discard(course)
        self.gradebooks[course].drop(user)

    def suspend_enrolment(self, course: int, user: int, *, suspended: bool = True) -> None:
        """Suspend an enrolment, or make it active again."""
        self.members[course][user].suspended = suspended

    def add_group(self, course: int, name: str, **values: Any) -> int:
        """Add a group to a course; `values` are fields of Group."""
        number = self.next_id("group")
        self.groups[number] = Group(number, course, name, **values)
        return number

    def set_group(self, course: int, user: int, group: int | str) -> None:
        """Put a member into a group, given by id or by name; a new name makes a new group."""
        if isinstance(group, str):
            found = [g.id for g in self.groups.values() if (g.courseid, g.name) == (course, group)]
            group = found[0] if found else self.add_group(course, group)
        member = self.members[course][user]
        member.groups = tuple(dict.fromkeys((*member.groups, group)))

    def set_grade_item(self, course: int, name: str, **values: Any) -> int:
        """Add a grade item, or change the one of that name; `values` are fields of Item."""
        book = self.gradebooks[course]
        if unknown := values.keys() - _ITEM_FIELDS:
            raise ValueError(f"a grade item has no {', '.join(sorted(unknown))}")
        item = next((item for item in book.items if item.name == name), None)
        if item is None:
            item = self._new_item(course, name, values.pop("type", "mod"))
        for key, value in values.items():
            setattr(item, key, value)
        self.activities.follow(course, item)
        return item.id

    def _new_item(self, course: int, name: str, kind: str) -> Item:
        book = self.gradebooks[course]
        item = Item(self.next_id("item"), name, kind, categoryid=book.items[-1].instance)
        if kind == "category":  # a total has no name of its own in the report
            item.name, item.idnumber, item.categoryid = None, None, None
            item.instance = self.next_id("grade_category")
        if kind == "mod":
            item.module, item.cmid = "assign", self.activities.next_cmid()
            item.instance = item.cmid
        book.put_last(item)
        self._course_of_item[item.id] = course
        return item

    def grade(self, item: int, user: int, raw: float | None, **values: Any) -> None:
        """Grade somebody; None clears the grade and stamps its date, as Moodle does. `values`: fields of Grade."""
        book = self.gradebooks[self._course_of_item[item]]
        book.grade(item, user, Grade(raw, values.pop("dategraded", self.now), **values))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse course fields that Moodle's row does not have: a typo would otherwise go unseen."""
    if unknown := values.keys() - course_row(0, "", shortname="", fullname="").keys():
        raise ValueError(f"a course has no {', '.join(sorted(unknown))}")
    return dict(values)


def _stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a recorded course row into what the database holds: the recording has names with &amp; in them."""
    unseen = course_row(row["id"], "", shortname="", fullname="")
    names = {name: html.unescape(row[name]) for name in ("fullname", "displayname", "shortname", "categoryname")}
    return {name: unseen[name] for name in EDITOR_COURSE_KEYS} | dict(row) | names
