"""What CommCare should hold, worked out from the fake site's own data with the mapping engine alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterator, Mapping
from math import ceil
from typing import Any

from adaptors.commcare.fake_project import Case
from adaptors.commcare.fake_writes import stored
from adaptors.moodle.fake_people import Member, User
from adaptors.moodle.sizes import Sizes
from flows.run import context_of
from flows.steps.ends import ENDS
from flows.steps.recover import TAKEN_IN
from mappings.engine import CompiledMapping, Draft, Excluded
from mappings.engine.reads import value_paths
from state.care import RESTORED_AT
from tests.flows.worlds import Lab

PARKING = "Parking"
DAY = 86_400.0
LEFT, OVER, WITHDRAWN = "left", "course over", "withdrawn"
BY_AN_APP = "by an app"
"""Stands in properties of others, which are not for us to empty, whatever they are called."""
TEXTS = ("username", "firstname", "lastname", "email", "country", "lang", "timezone", "auth", "fullname")
WITH_LOGIN_NAME = ("idnumber", "institution")
MAYBE_BLANK = ("idnumber", "phone1", "phone2", "city", "address", "institution")


class Expected:
    """The truth of one moment: who is where in Moodle, and the case that each mapping makes of it.

    `merged`: numbers of people who go on under another one, by an operator's word; of them nothing is read.
    """

    def __init__(self, lab: Lab, merged: Container[int] = ()) -> None:
        self._lab = lab
        self._project = project = lab.loaded()
        self._rights = frozenset(lab.moodle.capabilities)
        self._context = context_of(project, lab.site.url, lab.clock.now())
        self._mappings = {mapping.name: mapping for mapping in project.mappings}
        rows = lab.site.courses
        past = {n for n in lab.site.members if n != 1 and rows[n]["enddate"]}
        self.ended = past - self._going_on(past)
        self.read = [n for n in lab.site.members if n != 1 and rows[n]["visible"] and n not in self.ended]
        self.members = {
            course: {
                person: member for person, member in lab.site.members_of(course).items() if person not in merged
            }
            for course in self.read
        }
        self._blank_or_not = self._visible()
        self.drafts: dict[str, Draft] = {}
        self.excluded: set[str] = set()
        """Keys that a mapping keeps out, itself or by keeping out their parent."""
        for mapping in project.mappings:
            for record in self._records(mapping.source):
                draft = mapping.draft(record, self._context)
                if isinstance(draft, Excluded):
                    self.excluded.add(draft.key)
                elif isinstance(draft, Draft):
                    kept_out = any(index.key in self.excluded for index in draft.indices)
                    self.excluded |= {draft.key} if kept_out else set()
                    self.drafts |= {} if kept_out else {draft.key: draft}

    def _going_on(self, past: Collection[int]) -> set[int]:
        """Return those of the courses with an end in the past whose end was moved there, less than a day ago."""
        if not past:
            return set()
        known = self._known_ends()
        last_read = max((row.complete_at for row in self._lab.store.courses().values()), default=0.0)
        return {
            number
            for number in past
            if str(number) in known and self._is_moved(number, *known[str(number)], last_read)
        }

    def _known_ends(self) -> dict[str, list[int]]:
        """Return the end dates that the next run compares with: of books that were put back, those that wait."""
        facts = self._lab.store.get_all((ENDS, RESTORED_AT, TAKEN_IN))
        known: dict[str, list[int]] = json.loads(facts.get(ENDS, "{}"))
        is_restored = facts.get(RESTORED_AT, "") != facts.get(TAKEN_IN, "")
        return {number: one for number, one in known.items() if one[1] or not is_restored}

    def _is_moved(self, number: int, end: int, since: int, last_read: float) -> bool:
        """Say whether an end date that a run knows as `end`, moved into the past then, is to be waited for."""
        now, present = self._lab.clock.now(), self._lab.site.courses[number]["enddate"]
        if since:
            return now - since < DAY
        was_over = end == present or 0 < end < now
        return not was_over and not 0 < last_read < present

    # --- records, as the catalogue describes them ---------------------------------------------------------

    def _visible(self) -> set[str]:
        """Return the fields that are blank where they are empty: somebody has them, or a login name tells."""
        people = {person for members in self.members.values() for person in members}
        shown = {name for name in MAYBE_BLANK if any(getattr(self._lab.site.users[p], name) for p in people)}
        return shown | (set(WITH_LOGIN_NAME) if "moodle/user:viewalldetails" in self._rights else set())

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
            percent = None if raw is None or high <= low else (raw - low) * 100 / (high - low)
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

    def is_over(self, key: str) -> bool:
        """Say whether the course of a key is over; the people of the site are in none."""
        return key.split("-")[1] != "user" and self._course(key) in self.ended

    def _course(self, key: str) -> int:
        kind, number = key.split("-")[1], int(key.split("-")[2])
        return self._lab.site._course_of_item[number] if kind == "grade" else number

    def sent_wrongly(self, key: str, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a row that was sent, "" when it is right at this moment."""
        key = base(key)
        properties: Mapping[str, str] = row.get("properties", {})
        if LEFT in properties.values():
            return "marked as left" if self.is_there(key) else ""
        if OVER in properties.values():
            return "" if self._course(key) in self.ended else "the course is not over"
        if key in self.excluded:
            return self.withdrawn_wrongly(key, row)
        draft = self.drafts.get(key)
        if draft is None:
            return "nobody wants this case"
        for name, value in properties.items():
            lapsed = value == "" and (self._may_lapse(draft, name) or self._is_unshown(draft, name))
            if value != draft.properties.get(name) and not lapsed:
                return f"{name} was sent as {value!r}, it is {draft.properties.get(name)!r}"
        return "" if row.get("case_name", draft.name) == draft.name else "the name is another"

    def withdrawn_wrongly(self, key: str, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a row of somebody who is kept out, "" when it is right."""
        mapping = self.mapping_of(key)
        said = mapping.when_excluded.set if mapping.when_excluded is not None else {}
        for name, value in row.get("properties", {}).items():
            if value != ("" if mapping.is_personal(name) else said.get(name)):
                return f"{name} was sent as {value!r} and its person is kept out"
        name = row.get("case_name", key)
        return "" if name == key else "the name of somebody kept out was sent"

    def _is_unshown(self, draft: Draft, name: str) -> bool:
        """Say whether a property comes from fields that nobody has: a person may have said that it is emptied."""
        spec = self.mapping_of(draft.key).spec.properties.get(name)
        paths = {path.removeprefix("user.") for path in value_paths(spec)} if spec is not None else set[str]()
        return bool(paths) and name not in draft.properties and paths <= {*MAYBE_BLANK} - self._blank_or_not

    def _may_lapse(self, draft: Draft, name: str) -> bool:
        """Say whether a property may be emptied that the draft has no more: of a deleted activity, say."""
        family = self.mapping_of(draft.key).definition_of(name)
        hidden = "mod/assign:view" not in self._rights  # few people's elements may vanish without a question
        return family in draft.listed and (hidden or name not in draft.listed[family])

    def differs(self, key: str, case: Case, by_hand: Collection[str] = ()) -> str:
        """Return how a case differs from what it should be, "" when it does not.

        `by_hand`: properties that somebody overwrote in CommCare, where they say so still.
        """
        mapping = self.mapping_of(key)
        if not self.is_there(key):
            departure = mapping.when_left
            left = departure.set if departure is not None else {}
            said = case.properties.values()
            if case.closed and (OVER in said or WITHDRAWN in said):  # closed before it was gone: that is all
                return ""
            opened = departure is not None and departure.close and not case.closed
            fitting = left.items() <= case.properties.items() and not opened
            return "" if fitting else "gone, and not marked as left"
        if key in self.excluded:
            held = [name for name, value in case.properties.items() if value and mapping.is_personal(name)]
            held = [name for name in held if case.properties[name] != BY_AN_APP]
            held += ["@name"] if mapping.name_is_personal and case.case_name != key else []
            return f"kept out, and has {held}" if held else ""
        draft = self.drafts.get(key)
        if draft is None:  # graded no more, or without a name: left as it was
            return ""
        if case.closed:
            return "closed, and its person is there"
        for name in draft.properties.keys() - draft.ignored - {*by_hand}:
            if case.properties.get(name, "") != stored(draft.properties[name]):
                return f"{name} is {case.properties.get(name)!r} and should be {draft.properties[name]!r}"
        others = {name for name, value in case.properties.items() if value == BY_AN_APP}
        held = {name for name, value in case.properties.items() if value} - others
        lapsed = sorted(name for name in held if self._may_lapse(draft, name))
        if lapsed:
            return f"{lapsed} are of no activity any more"
        if case.owner_id == self.parked:
            return "parked, and its person is there"
        for index in draft.indices:
            if case.indices[index.name]["case_id"] != self.cases()[index.key].case_id:
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

    def mapping_of(self, key: str) -> CompiledMapping:
        kinds = {"user": "users", "enrol": "enrolments", "grade": "grade_items"}
        return next(m for m in self._project.mappings if m.source == kinds[key.split("-")[1]])

    @property
    def parked(self) -> str:
        """Return the owner of parked cases."""
        return next(group_id for group_id, group in self._lab.project.groups.items() if group.name == PARKING)

    def cases(self) -> dict[str, Case]:
        """Return the newest case of each key; an older one must be closed."""
        found: dict[str, Case] = {}
        for case in sorted(self._lab.project.cases.values(), key=lambda case: number_of(case.external_id or "")):
            before = found.get(base(case.external_id or ""))
            assert before is None or before.closed, f"{case.external_id} was made while the one before is open"
            found[base(case.external_id or "")] = case
        return found

    def scopes(self) -> Iterator[tuple[str, int]]:
        """Return the mappings with their scopes."""
        for mapping in self._project.mappings:
            for scope in (0,) if mapping.source == "users" else self.read:
                yield mapping.name, scope


def base(external_id: str) -> str:
    """Return the key of a case of any generation."""
    return external_id.split("~")[0]


def number_of(external_id: str) -> int:
    """Return the generation of a case."""
    return int(external_id.partition("~")[2] or 1)
