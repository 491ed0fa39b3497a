"""What CommCare should hold, worked out from the fake site's own data with the mapping engine alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from adaptors.commcare.fake_project import Case
from adaptors.commcare.fake_writes import stored
from adaptors.moodle.fake_people import Member, User
from adaptors.moodle.sizes import Sizes
from flows.run import context_of
from mappings.engine import CompiledMapping, Draft
from tests.flows.worlds import Lab

LEFT = "left"
TEXTS = ("username", "firstname", "lastname", "email", "country", "lang", "timezone", "auth", "fullname")
MAYBE_BLANK = ("idnumber", "phone1", "phone2", "city", "address", "institution")


class Expected:
    """The truth of one moment: who is where in Moodle, and the case that each mapping makes of it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._project = project = lab.loaded()
        self._rights = frozenset(lab.moodle.capabilities)
        self._context = context_of(project, lab.site.url, lab.clock.now())
        self._mappings = {mapping.name: mapping for mapping in project.mappings}
        rows = lab.site.courses
        self.read = [n for n in lab.site.members if n != 1 and rows[n]["visible"] and not rows[n]["enddate"]]
        self.members = {course: dict(lab.site.members_of(course)) for course in self.read}
        self._blank_or_not = self._visible()
        self.drafts: dict[str, Draft] = {}
        for mapping in project.mappings:
            for record in self._records(mapping.source):
                draft = mapping.draft(record, self._context)
                if isinstance(draft, Draft):
                    self.drafts[draft.key] = draft

    # --- records, as the catalogue describes them ---------------------------------------------------------

    def _visible(self) -> set[str]:
        people = {person for members in self.members.values() for person in members}
        return {name for name in MAYBE_BLANK if any(getattr(self._lab.site.users[p], name) for p in people)}

    def _records(self, source: str) -> Iterator[dict[str, Any]]:
        if source == "users":
            for person in sorted({person for members in self.members.values() for person in members}):
                yield self._person(self._lab.site.users[person])
        else:
            for course, members in self.members.items():
                for person, member in members.items():
                    yield from self._in_course(source, course, person, member)

    def _person(self, user: User) -> dict[str, Any]:
        record: dict[str, Any] = {name: getattr(user, name) for name in TEXTS} | {"id": user.id, "profile": {}}
        record |= {name: getattr(user, name) or None for name in self._blank_or_not}
        record |= {"suspended": user.suspended, "lastaccess": user.lastaccess or None}
        roles = [
            role for members in self.members.values() if user.id in members for role in members[user.id].roles
        ]
        return record | {"roles": roles}

    def _in_course(self, source: str, course: int, person: int, member: Member) -> Iterator[dict[str, Any]]:
        site = self._lab.site
        row = {name: site.courses[course][name] for name in ("id", "shortname", "fullname")}
        record: dict[str, Any] = {"course": row, "user": {"id": person}, "roles": list(member.roles)}
        record["groups"] = [site.groups[group].name for group in member.groups]
        record["status"] = "suspended" if member.suspended else "active"
        grades = list(self._grades(course, person)) if member.is_graded else []
        items = [grade for kind, grade in grades if kind == "mod"]
        if source == "grade_items":
            yield from (record | item for item in items)
            return
        if grades:
            record |= {"items": items} | next(grade for kind, grade in grades if kind == "course")
        yield record

    def _grades(self, course: int, person: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in self._lab.site.gradebooks[course].rows(person, enrolled=True):
            raw, low, high = row["graderaw"], row["grademin"], row["grademax"]
            percent = None if raw is None or high <= low else (raw - low) / (high - low) * 100
            grade = {"raw": raw, "min": low, "max": high, "percent": percent, "dategraded": row["gradedategraded"]}
            item = {"id": row["id"], "name": row["itemname"], "type": row["itemtype"], "module": row["itemmodule"]}
            yield row["itemtype"], {"grade": grade, "item": item} if row["itemtype"] == "mod" else {"grade": grade}

    # --- comparing ----------------------------------------------------------------------------------------

    @property
    def sees_everybody(self) -> bool:
        """Say whether the account may see all people of all courses."""
        return {"moodle/user:viewdetails", "moodle/site:accessallgroups"} <= self._rights

    def is_there(self, key: str) -> bool:
        """Say whether the person of a key is in its course, or in any course for a person's own key."""
        kind, person = key.split("-")[1], int(key.rsplit("-", 1)[1])
        if kind == "user":
            return any(person in members for members in self.members.values())
        course = self._course(key)
        return course in self.members and person in self.members[course]

    def _course(self, key: str) -> int:
        kind, number = key.split("-")[1], int(key.split("-")[2])
        return self._lab.site._course_of_item[number] if kind == "grade" else number

    def sent_wrongly(self, key: str, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a row that was sent, "" when it is right at this moment."""
        properties: Mapping[str, str] = row.get("properties", {})
        if LEFT in properties.values():
            return "marked as left" if self.is_there(key) else ""
        draft = self.drafts.get(key)
        if draft is None:
            return "nobody wants this case"
        for name, value in properties.items():
            if value != draft.properties.get(name):
                return f"{name} was sent as {value!r}, it is {draft.properties.get(name)!r}"
        return "" if row.get("case_name", draft.name) == draft.name else "the name is another"

    def differs(self, key: str, case: Case) -> str:
        """Return how a case differs from what it should be, "" when it does not."""
        if not self.is_there(key):
            departure = self._mapping(case).when_left
            left = departure.set if departure is not None else {}
            return "" if left.items() <= case.properties.items() else "gone, and not marked as left"
        draft = self.drafts.get(key)
        if draft is None:  # here in another role now, or graded no more: left as it was
            return ""
        for name in draft.properties.keys() - draft.ignored:
            if case.properties.get(name, "") != stored(draft.properties[name]):
                return f"{name} is {case.properties.get(name)!r} and should be {draft.properties[name]!r}"
        for index in draft.indices:
            parent = self._lab.case(index.key).case_id
            if case.indices[index.name]["case_id"] != parent:
                return f"{index.name} leads to another case"
        return "" if case.case_name == draft.name else "the name is another"

    def requests(self, sizes: Sizes) -> int:
        """Return how many requests a run without trouble makes of Moodle: decision 24."""
        count = 1 + 1 + ceil(len({p for members in self.members.values() for p in members}) / sizes.profiles.value)
        every = any(mapping.source == "grade_items" for mapping in self._project.mappings)
        for members in self.members.values():
            count += 1 + (1 + ceil(len(members) / sizes.page.value) if members else 0)
            active = [member for member in members.values() if not member.suspended]
            graded = [member for member in active if every or "student" in member.roles]
            whole = len(members) <= sizes.whole_course
            count += min(1, len(graded)) if whole else ceil(len(graded) / sizes.grades.value)
        return count

    def _mapping(self, case: Case) -> CompiledMapping:
        return next(m for m in self._project.mappings if m.case_type == case.case_type)

    def cases(self) -> dict[str, Case]:
        """Return the cases that CommCare has, by their key."""
        return {case.external_id or "": case for case in self._lab.project.cases.values()}

    def scopes(self) -> Iterator[tuple[str, int]]:
        """Return the mappings with their scopes."""
        for mapping in self._project.mappings:
            for scope in (0,) if mapping.source == "users" else self.read:
                yield mapping.name, scope
