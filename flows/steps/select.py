"""Which courses a run reads: chosen in project.yaml, nothing by default."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from adaptors.moodle.answers import Category, Course, CourseField
from adaptors.moodle.errors import REPAIR_CONTACT
from adaptors.moodle.names import plain_text
from adaptors.moodle.normalise import course_value
from flows.errors import UsageError
from flows.result import Result, RunState
from flows.steps.planned import SITE_SCOPE
from flows.world import World
from mappings.engine import CourseChoice
from state import Store

SHOWN = 10  # courses listed in a message
UNTOLD = (
    "Moodle does not say of such a course whether it is hidden or over, so nothing is made of it. Give the role "
    "of the account 'moodle/course:view', or name the course under 'ids:' in project.yaml."
)
NOT_SHOWN = (
    f"Moodle cannot show such a course in its list, and no course that is new to this program. {REPAIR_CONTACT}"
)
NOT_ASKED = (
    "Such a course was not asked for alone this time: Moodle cannot show its list of courses, and a run takes a "
    f"bounded number of requests to look for those that it can show. {REPAIR_CONTACT}"
)
NOT_WHOLE = (
    "Moodle cannot show its list of courses, for one that is not read here. All that are read were asked for by "
    f"their ids; a course that is new to this program is not seen. {REPAIR_CONTACT}"
)
SELECTED = "courses_selected"  # fact in the books: ids of the courses that the last run was to read


@dataclass
class Selection:
    """The courses to read, those that are over, and those that project.yaml names but Moodle does not have.

    `coming` have not begun. `chosen` are all of them and the ones that are to be read when they are shown.
    `listed` are all courses that Moodle shows. Of the `untold` to read it shows only what everybody may see, as to
    an account that may not enter them: they may be hidden, or over. Of the `refused` among them it shows nothing.
    `unasked` were not asked for alone, be they chosen or not: nobody knows whether they are still there.
    `lacks_new`: courses that nobody knows yet may be chosen, and Moodle did not show its whole list.
    """

    courses: list[Course]
    unknown: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    coming: list[int] = field(default_factory=list)
    listed: frozenset[int] = frozenset()
    untold: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    unasked: frozenset[int] = frozenset()
    lacks_new: bool = False

    @property
    def is_out_of_term(self) -> bool:
        """Say whether all chosen courses are there, and each is over or has not begun: nothing is amiss then."""
        return bool(self.chosen) and not self.unknown and {*self.chosen} == {*self.ended, *self.coming}


def select_courses(
    courses: Sequence[Course],
    categories: Iterable[Category],
    choice: CourseChoice,
    now: float,
    going_on: Collection[int] = (),
) -> Selection:
    """Choose courses as project.yaml says.

    A course past its end date is not read, but for those `going_on`; a hidden one only when its id is named. What
    is not read is not gone.
    Raises UsageError when nothing is chosen at all.
    """
    if choice.is_empty:
        raise UsageError(
            f"No courses are chosen in project.yaml. Add 'courses:' with ids, categories or shortname_like. "
            f"{_available(courses)}"
        )
    inside = _with_subcategories(choice.categories, categories)
    meant = [course for course in courses if _fits(course, choice, inside)]
    coming = {course.id for course in meant if choice.only_running and (course.startdate or 0) > now}
    fitting = [course for course in meant if course.id not in coming]
    # Hidden or not: it is over.
    ended = [course.id for course in fitting if _ended(course, now) and course.id not in going_on]
    over = {*ended}
    chosen = [course for course in fitting if course.visible != 0 or course.id in choice.ids]
    known = frozenset(course.id for course in courses)
    untold = {course.id for course in chosen if course.visible is None} - {*choice.ids}
    return Selection(
        [course for course in chosen if course.id not in over],
        [number for number in choice.ids if number not in known],
        ended,
        [course.id for course in meant],
        sorted(coming),
        known,
        frozenset(untold - over),
    )


def with_refused(
    selection: Selection, refused: Mapping[int, bool], choice: CourseChoice, before: Collection[int]
) -> Selection:
    """Return a selection from a list that is not whole, with the courses that Moodle did not show.

    `refused` tells of each whether it was asked for alone. Those of them that are chosen are not read: the ones
    named by id, and those of the run `before` unless ids are all that project.yaml has.
    """
    by_ids = bool(choice.ids) and not (choice.categories or choice.shortname_like)
    ids = frozenset(refused).intersection(choice.ids if by_ids else {*before, *choice.ids})
    return replace(
        selection,
        courses=[*selection.courses, *(Course(id=number, shortname="", fullname="") for number in sorted(ids))],
        unknown=[number for number in selection.unknown if number not in refused],
        chosen=[*selection.chosen, *sorted(ids)],
        listed=selection.listed.union(refused),
        untold=selection.untold | ids,
        refused=ids,
        unasked=frozenset(number for number, is_asked in refused.items() if not is_asked),
        lacks_new=not by_ids,
    )


def why_untold(selection: Selection) -> dict[int, str]:
    """Return of each course that is not read for what Moodle does not say of it, why."""
    unshown = {number: why_unshown(is_asked=number not in selection.unasked) for number in selection.refused}
    return dict.fromkeys(selection.untold, UNTOLD) | unshown


def why_unshown(*, is_asked: bool) -> str:
    """Return why a course is not read that Moodle did not show for the name of a teacher."""
    return NOT_SHOWN if is_asked else NOT_ASKED


def tell_not_whole(result: Result, selection: Selection) -> None:
    """Say that new courses are not seen, where no course is named as not read for it."""
    if selection.lacks_new and not selection.refused:
        result.worse(RunState.DEGRADED, NOT_WHOLE)


async def chosen_before(world: World) -> set[int]:
    """Return the courses that the last run was to read."""
    return await world.books.do(chosen_in, world.books.store)


def chosen_in(store: Store) -> set[int]:
    """Return the courses that the last run was to read, as the books have them."""
    return {*json.loads(store.get(SELECTED) or "[]")}


def known_courses(store: Store, choice: CourseChoice) -> tuple[set[int], set[int]]:
    """Return the courses to ask for by id where Moodle refuses its list, and which of them in the end.

    Those are the ones that the last run was not to read: over, not chosen any more, or not listed.
    """
    first = chosen_in(store) | {*choice.ids}
    known = (store.courses().keys() | first) - {SITE_SCOPE}
    return known, known - first


async def remember_selection(world: World, before: Collection[int], now: Collection[int]) -> None:
    """Write down which courses are chosen, so that a status tells a course nobody reads from one that fails."""
    if {*now} != {*before}:
        await world.books.do(world.books.store.put, SELECTED, json.dumps(sorted(now)))


def fields_of(courses: Iterable[Course]) -> frozenset[str]:
    """Return the short names of the custom fields that any of some courses carries."""
    return frozenset(field.shortname for course in courses for field in course.customfields)


def only_these(selected: Sequence[Course], wanted: Collection[int]) -> list[Course]:
    """Narrow the selected courses to the ids of the command; raises UsageError for one that is not selected."""
    chosen = {course.id: course for course in selected}
    missing = sorted(set(wanted) - chosen.keys())
    if missing:
        raise UsageError(f"Course {missing[0]} is not among the selected courses. {_available(selected)}")
    return [chosen[number] for number in sorted(set(wanted))]


def _fits(course: Course, choice: CourseChoice, inside: Collection[int]) -> bool:
    """Ids, categories and the pattern each add courses; `custom_field` narrows them."""
    named = course.id in choice.ids or course.categoryid in inside
    named = named or bool(choice.shortname_like and fnmatchcase(course.shortname, choice.shortname_like))
    only_narrowed = not (choice.ids or choice.categories or choice.shortname_like)
    if not (named or only_narrowed):
        return False
    if choice.custom_field is None:
        return True
    name, value = choice.custom_field
    return any(field.shortname == name and value in _written(field) for field in course.customfields)


def _written(field: CourseField) -> tuple[str, str]:
    """Return a custom field as a mapping sees it, and as Moodle's page shows it."""
    return str(course_value(field)), plain_text(str(field.value))


def _ended(course: Course, now: float) -> bool:
    return bool(course.enddate) and (course.enddate or 0) < now


def _with_subcategories(chosen: Collection[int], categories: Iterable[Category]) -> set[int]:
    found = set(chosen)
    for category in categories:
        if found.intersection(int(part) for part in category.path.split("/") if part.isdigit()):
            found.add(category.id)
    return found


def _available(courses: Sequence[Course]) -> str:
    listed = ", ".join(f"{course.id} ({course.shortname})" for course in courses[:SHOWN])
    more = f" and {len(courses) - SHOWN} more" if len(courses) > SHOWN else ""
    return f"There are: {listed}{more}." if listed else "The Moodle account sees no courses at all."
