"""Reading Moodle and mapping what was read; whatever fails here fails for one course only."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from adaptors.moodle.assignments import CourseAssignments
from adaptors.moodle.normalise import grade_item_records
from adaptors.moodle.roster import Combinations, Roster
from adaptors.moodle.streams import Wanted
from flows.result import Result, RunState
from flows.steps.groups import hidden_owner
from flows.steps.planned import Problem, Scope
from flows.steps.unshown import Unshown
from flows.words import listed
from mappings.engine import CompiledMapping, Context, Excluded, HeldBack

IN_COURSE = ("enrolments", "grade_items", "assignments")
MISTAKE = "mapping_stopped"
OVER_COURSES = ("roles", "groups")
"""Fields of a person that are a union over courses."""
_PROFILE_PATHS = ("user.", "profile.", "lastaccess")
_DUE_PATHS = ("next_due", "needs_attention", "activities.overdue")
_COMPLETION_PATHS = (*_DUE_PATHS, "activities", "progress")
_PAIR_BITS = 24  # room for the number of a pair of roles and groups beside a person's id


class Enough(Exception):
    """Who only looks at records has seen what was looked for: the rest need not be read."""


def wanted_by(mappings: Iterable[CompiledMapping]) -> Wanted:
    """Tell the reader which fields, groups and grades the mappings read."""
    reads: defaultdict[str, set[str]] = defaultdict(set)
    for mapping in mappings:
        reads[mapping.source] |= mapping.reads
    course = set[str]().union(*(reads[source] for source in IN_COURSE))
    learner = reads["engagement"]
    profile = reads["users"] | {path.removeprefix("user.") for path in learner if path.startswith(_PROFILE_PATHS)}
    return Wanted(
        profile=frozenset(profile - {"roles", "groups", "id"}),
        user=frozenset(path.removeprefix("user.") for path in course if path.startswith("user.")),
        teachers="teachers" in course,
        groups="groups" in course | profile | learner,
        grades=bool(reads["grade_items"]) or any(path.startswith(("grade.", "items", "item.")) for path in course),
        hidden_grades=any(path.endswith("grade.hidden") for path in course),
        completion=any(path.startswith(_COMPLETION_PATHS) for path in learner),
        due_dates=any(path.startswith(_DUE_PATHS) for path in learner),
        completed_courses=any(path in ("completed", "courses_completed") for path in learner),
        assignments=bool(reads["assignments"]),
        submissions=any(path.startswith("submission.") for path in reads["assignments"]),
    )


def map_records(
    mapping: CompiledMapping,
    number: int,
    records: Iterable[Mapping[str, Any]],
    context: Context,
    unshown: Collection[str] = (),
) -> Scope:
    """Map the records of one scope; a record with the key of another one is held back, never sent twice.

    `unshown` are fields of people that nobody shows any more, though Moodle leaves them out where they are empty.
    """
    scope = Scope(mapping, number, unshown=Unshown(mapping, unshown, context) if unshown else None)
    for record in records:
        try:
            outcome = mapping.draft(record, context)
        except Enough:
            raise
        except Exception as error:  # a mistake of ours costs one record; what it says may be a value
            key = mapping.key_of(record, context)
            scope.seen |= {key} - {""}
            scope.hold_back(Problem(key, "", MISTAKE, type(error).__name__))
            continue
        if outcome.key:
            scope.seen.add(outcome.key)
        if isinstance(outcome, Excluded):
            if outcome.key:
                scope.excluded[outcome.key] = is_firm(mapping, record)
                scope.users.setdefault(outcome.key, user_id(mapping.source, record))
            continue
        # Without the detail: it may quote a code, and a code is a person's value.
        found = [Problem(outcome.key, problem.property, problem.reason) for problem in outcome.problems]
        if isinstance(outcome, HeldBack):
            scope.hold_back(*found)
        elif outcome.key in scope.drafts:
            scope.hold_back(Problem(outcome.key, "@key", "same_key_twice"))
        else:
            scope.problems += found
            scope.drafts[outcome.key] = outcome
            scope.users[outcome.key] = user_id(mapping.source, record)
            if scope.unshown is not None:
                scope.unshown.note(outcome, record)
            if outcome.owner.certain is not None and (reason := hidden_owner(mapping, record)):
                scope.owner_hidden[outcome.key] = reason
    return scope


def tell_mistakes(result: Result, scope: Scope) -> None:
    """Say that a record could not be mapped: a run that lives on must not hide it."""
    if kinds := {problem.detail for problem in scope.problems if problem.reason == MISTAKE}:
        result.worse(
            RunState.DEGRADED,
            f"A mistake in this program ({listed(sorted(kinds))}) stops records of mapping "
            f"'{scope.mapping.name}': each is held back, and its case stays as it is. Report it.",
        )


def is_firm(mapping: CompiledMapping, record: Mapping[str, Any]) -> bool:
    """Say whether a record is kept out whatever other courses its person is in."""
    if mapping.source == "engagement":
        return False
    over_courses = OVER_COURSES if mapping.source == "users" else ()
    return mapping.excludes({name: value for name, value in record.items() if name not in over_courses})


def needs_all_courses(mapping: CompiledMapping) -> bool:
    """Say whether a role or a group in one more course may keep a person out, or give the case another owner."""
    spec = mapping.spec
    # Who has one of these roles somewhere has it whatever he is elsewhere; and so with who has none of those.
    deciding = [one.source for one in spec.include if one.is_ is None and one.any_of is None]
    deciding += [one.source for one in spec.exclude if one.is_not is None and one.none_of is None]
    deciding += [rule.source for rule in spec.owner.first_of]
    return mapping.source == "users" and not {*deciding}.isdisjoint(OVER_COURSES)


def user_id(source: str, record: Mapping[str, Any]) -> int:
    """Return the Moodle id of the person a record is about, 0 when it is about none."""
    if source == "users":
        return int(record["id"])
    return int(record["user"]["id"]) if "user" in record else 0


def course_records(
    source: str, enrolments: Sequence[Mapping[str, Any]], assignments: CourseAssignments | None = None
) -> Iterable[Mapping[str, Any]]:
    """Return the records of a course source, made from the course's enrolments (and its assignments)."""
    if source == "enrolments":
        return enrolments
    if source == "assignments":
        return (assignments or CourseAssignments()).records(enrolments)
    return (record for enrolment in enrolments for record in grade_item_records(enrolment))


class People:
    """Everybody in the courses read, and what each is there: eight bytes per person per course."""

    def __init__(self, rosters: Iterable[Roster]) -> None:
        self._combinations: Combinations | None = None
        keys = array("q")
        for roster in rosters:
            self._combinations = roster.combinations
            keys.extend((person << _PAIR_BITS) | pair for person, pair in roster.pairs())
        self._keys = array("q", sorted(keys))

    def record(self, profile: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of source `users`: the profile, with roles and groups over all courses read.

        Groups are absent where Moodle keeps those of one course back.
        In the order of the alphabet: that of the courses depends on which ones a run reads, and on others in them.
        """
        person = int(profile["id"])
        start, end = (bisect_left(self._keys, number << _PAIR_BITS) for number in (person, person + 1))
        mask = (1 << _PAIR_BITS) - 1
        pairs = (
            [self._combinations.pair(key & mask) for key in self._keys[start:end]] if self._combinations else []
        )
        record = {**profile, "roles": sorted({role for roles, _ in pairs for role in roles})}
        groups = {group for _, groups in pairs for group in groups or ()}
        is_shown = all(groups is not None for _, groups in pairs)
        return record | ({"groups": sorted(groups)} if is_shown else {})
