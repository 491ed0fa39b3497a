"""From hints to reads: which courses a hint is about, and which mappings it may change.

A hint about a person alone means all courses in which he or she was last seen, for there is no read of one person:
what the cases of a course say about people comes with the course. Only the person's own case can be had from one
course, and the smallest one is chosen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adaptors.moodle.events import EVENTS, Touch
from flows.steps.due import GRADES, streams_of
from flows.steps.engagement import ENGAGEMENT
from mappings.engine import CompiledMapping
from state import CourseRow, HintRow
from state.care import DRAIN

REST_S = 60.0
"""A course that was read for hints less than this ago rests: hints cost at most a read a minute."""
OVERDUE_S = 300.0
"""A hint that has waited so long waits no more for a course to rest."""


@dataclass
class Known:
    """What the books know: when courses were read and how large they are, and who is where."""

    courses: Mapping[int, CourseRow]
    courses_of: Mapping[int, Collection[int]]
    not_selected: Collection[int]
    now: float


@dataclass
class Scope:
    """What to read: course -> names of mappings; what hints need no read, by outcome; and those that wait."""

    needs: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    courses_by_hint: dict[int, frozenset[int]] = field(default_factory=dict)
    settled: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    resting: list[int] = field(default_factory=list)

    def groups(self) -> Iterator[tuple[tuple[int, ...], tuple[str, ...]]]:
        """Yield courses and mappings of one run each: courses for which the same has to be read go together."""
        together: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for course, names in sorted(self.needs.items()):
            together[tuple(sorted(names))].append(course)
        for mappings, courses in together.items():
            yield tuple(courses), mappings


def find_scope(rows: Iterable[HintRow], mappings: Sequence[CompiledMapping], known: Known) -> Scope:
    """Reduce hints to what has to be read for them."""
    scope = Scope()
    for row in rows:
        touched = [mapping for mapping in mappings if concerns(mapping, EVENTS.get(row.hint.event, frozenset()))]
        needs = _needs(row, touched, known)
        if not touched:
            scope.settled["no_mapping"].append(row.number)
        elif not needs:
            scope.settled["unknown_person"].append(row.number)
        elif needs.keys() <= set(known.not_selected):
            scope.settled["not_selected"].append(row.number)
        elif _rests(row, needs, known):
            scope.resting.append(row.number)
        else:
            scope.courses_by_hint[row.number] = frozenset(needs)
            for course, names in needs.items():
                scope.needs[course] |= names
    return scope


def concerns(mapping: CompiledMapping, touches: Collection[Touch]) -> bool:
    """Say whether what happened may change what a mapping sends.

    Engagement never: it is made of all courses and costs a call a person, so it has its own time.
    """
    if mapping.source == ENGAGEMENT:
        return False
    return any(_concerns(mapping, touch) for touch in touches)


def _concerns(mapping: CompiledMapping, touch: Touch) -> bool:
    match touch:
        case Touch.ENROLMENT:
            return mapping.source != "courses"
        case Touch.GRADE:
            return GRADES in streams_of(mapping)
        case Touch.SUBMISSION:
            return mapping.source == "assignments"
        case Touch.PERSON:
            return mapping.source == "users" or any(path.startswith("user.") for path in mapping.reads)
        case Touch.COURSE:
            return mapping.source == "courses" or any(path.startswith("course.") for path in mapping.reads)


def _needs(row: HintRow, touched: Sequence[CompiledMapping], known: Known) -> dict[int, set[str]]:
    """Return the courses to read for a hint, each with the mappings to read it for."""
    names = {mapping.name for mapping in touched}
    if row.hint.course_id:
        return {row.hint.course_id: names} if names else {}
    courses = known.courses_of.get(row.hint.user_id, ())
    about_courses = {mapping.name for mapping in touched if mapping.source != "users"}
    needs = {course: set(about_courses) for course in courses if about_courses}
    if courses and names - about_courses:
        smallest = min(courses, key=lambda course: (_people(course, known), course))
        needs[smallest] = names
    return needs


def _people(course: int, known: Known) -> int:
    found = known.courses.get(course)
    return found.people if found else 0


def _rests(row: HintRow, courses: Collection[int], known: Known) -> bool:
    """Say whether a hint waits because one of its courses was read for hints a moment ago; a sync counts not."""
    if not 0 <= known.now - row.received_at < OVERDUE_S:
        return False
    read = (known.courses[course] for course in courses if course in known.courses)
    return any(row.run_id.startswith(DRAIN) and 0 <= known.now - row.complete_at < REST_S for row in read)
