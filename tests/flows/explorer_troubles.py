"""What an explorer does to the world: edits in Moodle, and everything that goes wrong with either system."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from adaptors.moodle.fake_site import FakeSite
from tests.flows.explorer_lab import WatchedLab

RIGHTS = (
    "moodle/site:viewuseridentity",
    "moodle/user:viewalldetails",
    "moodle/user:viewdetails",
    "moodle/course:viewhiddencourses",
    "moodle/site:accessallgroups",
    "moodle/course:enrolreview",
    "moodle/grade:viewall",
    "mod/assign:view",
)
MOODLE_FAULTS = ("500_empty", "502_html", "503", "timeout", "dropped", "dml", "truncated_json", "403_empty")
MOODLE_FAULTS += ("200_html", "403_html", "upgraderunning")
COMMCARE_FAULTS = ("429", "429_no_header", "503", "500_html", "504_html", "timeout", "refused")
REFUSALS = ("There are multiple cases with external_id {}", "no idea {}", "{} 5 not of type")


class Edits:
    """Changes that people make in Moodle, and one that supervisors make in CommCare."""

    def __init__(self, site: FakeSite, lab: WatchedLab, chance: random.Random, people: list[int]) -> None:
        self.site = site
        self.lab = lab
        self.chance = chance
        self.me = int(site.info["userid"])
        self.courses = [course for course in site.members if course != 1]
        self.people = people
        self.items = [item for item, course in site._course_of_item.items() if self._has_name(course, item)]
        self.moved: dict[str, str] = {}
        """Cases that a supervisor moved, and to whom."""
        self.edits: list[Callable[[], str]] = [self.enrol, self._leave, self._leave, self._grade, self._grade]
        self.edits += [self._suspend, self._rename, self._phone, self.city, self._role, self._account]
        self.edits += [self._right, self._right, self._course, self._maintenance, self._supervisor]
        self.edits += [self._delete_activity, self._delete_activity]

    def _has_name(self, course: int, item: int) -> bool:
        return any(found.id == item and found.name for found in self.site.gradebooks[course].items)

    def edit(self) -> str:
        """Change something and say what."""
        return self.chance.choice(self.edits)()

    def _member(self) -> tuple[int, int]:
        """Return a course and somebody in it, 0 when there is nobody."""
        course = self.chance.choice(self.courses)
        return course, self.chance.choice(sorted(self.site.members_of(course).keys() - {self.me}) or [0])

    def _living(self) -> int:
        return self.chance.choice([person for person in self.people if not self.site.users[person].deleted])

    def enrol(self, *, new: bool = False) -> str:
        """Put somebody into a course."""
        course, person = self.chance.choice(self.courses), self._living()
        if new or self.chance.random() < 0.3:
            number = len(self.people)
            person = self.site.add_user(f"First{number}", f"Last{number}", phone1=f"0722 000 {number:03}")
            self.people.append(person)
        if person not in self.site.members_of(course):
            self.site.enrol(course, person)
        return f"enrol {person} in {course}"

    def _leave(self) -> str:
        course, person = self._member()
        if person and self.chance.random() < 0.15:
            self.site.delete_user(person)
            return f"delete {person}"
        if person:
            self.site.unenrol(course, person)
        return f"unenrol {person} from {course}"

    def _grade(self) -> str:
        item = self.chance.choice(self.items)
        person = self.chance.choice(sorted(self.site.members_of(self.site._course_of_item[item])) or [0])
        if person:
            self.site.grade(item, person, self.chance.choice((None, 20, 55, 80)))
        return f"grade {item} of {person}"

    def _suspend(self) -> str:
        course, person = self._member()
        if person:
            now = self.site.members_of(course)[person].suspended
            self.site.suspend_enrolment(course, person, suspended=not now)
        return f"suspend or not {person} in {course}"

    def _rename(self) -> str:
        person = self._living()
        self.site.update_user(person, firstname=f"Name{self.chance.randrange(99)}")
        return f"rename {person}"

    def _phone(self) -> str:
        person, field = self._living(), self.chance.choice(("phone1", "phone2"))
        value = self.chance.choice(("", f"0733 000 {self.chance.randrange(999):03}"))
        self.site.update_user(person, **{field: value})
        return f"{field} of {person}: {value!r}"

    def city(self) -> str:
        """Move somebody to a city, or to none."""
        person, value = self._living(), self.chance.choice(("", "Bondo", "Kisumu"))
        self.site.update_user(person, city=value)
        return f"city of {person}: {value!r}"

    def _role(self) -> str:
        course, person = self._member()
        if person:
            roles = self.chance.choice((("student",), ("teacher",), ("student", "teacher")))
            self.site.members_of(course)[person].roles = roles
        return f"role of {person} in {course}"

    def _account(self) -> str:
        person = self._living()
        self.site.update_user(person, suspended=not self.site.users[person].suspended)
        return f"account of {person} suspended or not"

    def _right(self) -> str:
        right = self.chance.choice(RIGHTS)
        held = right in self.lab.moodle.capabilities
        (self.lab.moodle.revoke if held else self.lab.moodle.allow)(right)
        return f"{'revoke' if held else 'allow'} {right}"

    def _course(self) -> str:
        course, kind = self.chance.choice(self.courses), self.chance.randrange(4)
        row = self.site.courses[course]
        if kind == 0:
            self.site.rename(course, f"Course {self.chance.randrange(99)}")
        elif kind == 1:
            row["visible"] = 1 - row["visible"]
        elif kind == 2:
            row["groupmode"] = 1 - row["groupmode"]
        else:
            row["enddate"] = 0 if row["enddate"] else int(self.lab.clock.now()) - 1
        return f"course {course} change {kind}"

    def _delete_activity(self) -> str:
        if len(self.items) < 4:
            return "too few activities to delete one"
        item = max(self.items, key=lambda item: self._graded(item))
        self.items.remove(item)
        book = self.site.gradebooks[self.site._course_of_item[item]]
        book.items[:] = [found for found in book.items if found.id != item]
        return f"delete activity {item}"

    def _graded(self, item: int) -> int:
        return len(self.site.gradebooks[self.site._course_of_item[item]].grades.get(item, {}))

    def _maintenance(self) -> str:
        self.site.maintenance = "" if self.site.maintenance else self.chance.choice(("web", "cli"))
        return f"maintenance {self.site.maintenance!r}"

    def _supervisor(self) -> str:
        cases = self.lab.project.of_type("student")
        if not cases:
            return "no case to move"
        case = self.chance.choice(cases)
        self.moved[case.case_id] = f"worker-{self.chance.randrange(9)}"
        self.lab.project.move_owner(case.case_id, self.moved[case.case_id])
        return f"move {case.external_id} in CommCare"


class Faults:
    """What goes wrong in the next run; `soon` asks for it to be followed by another at once."""

    def __init__(self, edits: Edits, under_way: Callable[[], None]) -> None:
        self.lab = edits.lab
        self.chance = edits.chance
        self.edits = edits
        self.soon = False
        self.afterwards: list[Callable[[], Any]] = []
        """Edits to make when the run is over."""
        self._under_way = under_way
        self._kinds = [self._moodle_fails, self._commcare_fails, self._reply_lost, self._late, self._refused]
        self._kinds += [self.leaves_and_returns, self.leaves_and_returns]
        self._kinds += [self._cancelled, self._killed, self._disk_full, self._edit_under_way, self._blinded]

    def fault(self) -> str:
        """Let something go wrong and say what."""
        return self.chance.choice(self._kinds)()

    def end(self) -> None:
        """Let everything work again, and make every course readable."""
        self.lab.site.maintenance = ""
        self.lab.moodle.allow(*RIGHTS)
        self.lab.moodle._failures._due.clear()
        for waiting in (self.lab.commcare.faults, self.lab.commcare.dropped, self.lab.commcare.late):
            waiting.clear()
        self._accept_rows()
        for course in self.edits.courses:
            self.lab.site.courses[course] |= {"visible": 1, "groupmode": 0, "enddate": 0}

    def _moodle_fails(self) -> str:
        name = self.chance.choice(sorted({None, *(name for name, _ in self.lab.moodle.calls)}, key=str))
        kind, times = self.chance.choice(MOODLE_FAULTS), self.chance.choice((1, 2, 6))
        self.lab.moodle.fail_next(name, kind, times=times, after=self.chance.randrange(12))
        return f"Moodle fails {name} {kind} {times}"

    def _commcare_fails(self) -> str:
        kind, times = self.chance.choice(COMMCARE_FAULTS), self.chance.choice((1, 1, 3, 8))
        where = self.chance.choice(("write", "write", "any"))
        self.lab.commcare.fail_next(kind, times=times, where=where)
        return f"CommCare fails {kind} {times} {where}"

    def _reply_lost(self) -> str:
        """Lose the answer to a change that is taken back afterwards: CommCare holds what the books do not know."""
        person = self.edits._living()
        before = self.lab.site.users[person].city
        self.lab.site.update_user(person, city="Elsewhere")
        self.afterwards.append(lambda: self.lab.site.update_user(person, city=before))
        times, answer = self.chance.choice((1, 3)), self.chance.choice(("timeout", "504_html"))
        self.lab.commcare.drop_reply_after_commit(times, answer)
        return f"{person} moves away and back, reply lost {times}"

    def _late(self) -> str:
        """Let somebody's first write come in late, and run again meanwhile; maybe he has left by then."""
        what = self.edits.enrol(new=True)
        if self.chance.random() < 0.5:
            self.afterwards.append(lambda person=self.edits.people[-1]: self.lab.site.delete_user(person))
        self.soon = True
        self.lab.commcare.late_write(self.chance.choice((30.0, 700.0)), self.chance.choice((1, 2)))
        return f"{what}, late write"

    def leaves_and_returns(self) -> str:
        """Let somebody leave everything, lose the answer to what marks the case, and let him or her come back."""
        site, person = self.lab.site, self.edits._living()
        courses = [course for course in self.edits.courses if person in site.members_of(course)]
        for course in courses:
            site.unenrol(course, person)

        def watch() -> None:
            key = f"test-user-{person}"
            row = self.lab.store.cases("student", 0).get(key)
            in_doubt = any(row.key == key for row in self.lab.store.intents())
            if row is None or row.status != "active" or in_doubt:  # marked, or maybe: now he or she comes back
                for course in courses:
                    if person not in site.members_of(course) and not site.users[person].deleted:
                        site.enrol(course, person)
                return
            if row.missing_count == 1 and self.chance.random() < 0.7:
                self.lab.commcare.drop_reply_after_commit(self.chance.choice((1, 3)))
            self.afterwards.append(watch)

        self.afterwards.append(watch)
        return f"{person} leaves {courses} and comes back when that is noticed"

    def _accept_rows(self) -> None:
        """Let CommCare take every row again, and say so as a person has to."""
        self.lab.commcare.accept_rows()
        self.lab.store.retry([one.row for one in self.lab.store.refusals()], self.lab.clock.now())

    def _refused(self) -> str:
        if self.lab.commcare.refusals:
            self._accept_rows()
            return "rows accepted"
        key = f"test-user-{self.chance.choice(self.edits.people)}"
        self.lab.commcare.refuse_row(key, self.chance.choice(REFUSALS).format(key))
        return f"refuse {key}"

    def _blinded(self) -> str:
        """Take the right to see people for two runs: Moodle then shows a few of them and says nothing."""
        self.lab.moodle.revoke("moodle/user:viewdetails")
        allow = lambda: self.lab.moodle.allow("moodle/user:viewdetails")  # noqa: E731
        self.afterwards.append(lambda: self.afterwards.append(allow))
        return "blinded for two runs"

    def _at(self, event: Callable[[], Any]) -> int:
        at = self.chance.randrange(1, 40)
        self.lab.at_request[at] = event
        return at

    def _cancelled(self) -> str:
        return f"cancel at request {self._at(lambda: self.lab.task and self.lab.task.cancel())}"

    def _killed(self) -> str:
        return f"kill at request {self._at(lambda: setattr(self.lab.mortal, 'dead', True))}"

    def _disk_full(self) -> str:
        self.lab.mortal.full_after = self.chance.randrange(60)
        return f"disk full after {self.lab.mortal.full_after}"

    def _edit_under_way(self) -> str:
        return f"edit at request {self._at(self._under_way)}"
