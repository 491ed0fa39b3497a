"""A person's word about what a run asked: who is gone, what is emptied, what is made first or anew.

The next run reads what a word is about, whatever the intervals say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flows.errors import UsageError
from flows.needs import (
    ANSWERED_TERMS,
    APPROVED,
    CONFIRMED_BLANKS,
    CONFIRMED_KEYS,
    EXISTING,
    FIRST_RUNS,
    NEW_TERMS,
    OTHER_KEYS,
    REFUSED_BLANKS,
    STAY_BESIDE,
    asked_about,
    not_counted,
    people_in,
)
from flows.questions import Questions, unanswered
from flows.steps.asked import LEAVERS, WITHDRAWN, Asked
from flows.steps.planned import SITE_SCOPE
from flows.steps.terms import NEW, SAME
from flows.words import listed, numbered
from state import Store


def confirm(store: Store, course: int | None, count: int) -> str:
    """Confirm the leavers of a course (0: of the site, None: of all that wait) and return a sentence.

    Raises UsageError when nothing waits there, or when `count` is not the number that the run found.
    """
    words = "missing there, not {count}. Give the count {people} if they left"
    people = _confirmed(store, course, count, LEAVERS, words)
    who = numbered(people, "person", "people")
    return f"Confirmed: {who}. The next run marks who left, if it still misses the same number."


def confirm_withdrawn(store: Store, course: int | None, count: int) -> str:
    """Confirm that so many people of a course are kept out rightly, as `confirm` does for leavers."""
    words = "kept out there, not {count}. Give the count {people} if that is right"
    people = _confirmed(store, course, count, WITHDRAWN, words)
    who = numbered(people, "person", "people")
    return f"Confirmed: {who}. The next run empties what is personal, if it still finds that number."


def confirm_term(store: Store, course: int, same: bool) -> str:
    """Say whether a course is in a new term or still in the same, and return a sentence.

    Raises UsageError when nobody asked that about the course.
    """
    asked = json.loads(store.get(NEW_TERMS) or "{}")
    if str(course) not in asked:
        there = ", ".join(sorted(asked, key=int)) or "none"
        raise UsageError(f"Nobody has asked about a new term of course {course}. Courses that wait: {there}.")
    store.change_entries(ANSWERED_TERMS, {str(course): [asked[str(course)], SAME if same else NEW]})
    store.read_anew(store.mappings_in([course]))
    what = (
        "goes on with the cases there are"
        if same
        else "makes new cases, and does with the old ones what `when_course_ends` of their mapping says (without "
        "it they stay as they are)"
    )
    return f"Confirmed. In course {course} the next run {what}."


def _confirmed(store: Store, course: int | None, count: int, asked: Asked, words: str) -> int:
    """Write down a person's word about one place or all, and return how many people it is about."""
    questions = asked_about(store, asked.refused)  # once: a run may ask another one at any moment
    waiting = {int(number): people_in(asked.refused, found) for number, found in questions.items()}
    if course is None:
        left = _unanswered(store, asked.confirmed, questions, sum(waiting.values()), count)
        chosen = {number: people for number, people in waiting.items() if str(number) in left}
    else:
        chosen = {number: waiting[number] for number in [course] if number in waiting}
    if not chosen:
        there = ", ".join(f"{number} ({people} people)" for number, people in sorted(waiting.items()))
        raise UsageError(f"Nothing waits to be confirmed there. Waiting: {there or 'nothing at all'}.")
    people = sum(chosen.values())
    if people != count:
        raise UsageError(f"The run found {people} people {words.format(count=count, people=people)}.")
    store.change_entries(asked.confirmed, {str(number): questions[str(number)] for number in chosen})
    # Of the site everything: whose case goes, or is emptied, takes those in the courses along.
    of_courses = set[str]() if SITE_SCOPE in chosen else store.mappings_in(chosen)
    store.read_anew(of_courses or store.mappings_with_cases())
    return people


def _unanswered(store: Store, confirmed: str, questions: Questions, everybody: int, count: int) -> Questions:
    """Return the questions that `--all` is about: those that nobody has answered.

    All of them when the count says so: somebody may have answered one since the run told their sum.
    """
    left = unanswered(questions, asked_about(store, confirmed))
    return questions if not left or count == everybody else left


def confirm_blanks(store: Store, mapping: str, name: str, count: int) -> str:
    """Confirm that so many people really lost a property, and return a sentence; raises UsageError as above."""
    questions = asked_about(store, REFUSED_BLANKS)
    waiting = {name: people_in(REFUSED_BLANKS, found) for name, found in questions.items()}
    what = f"{mapping} {name}"
    if what not in waiting:
        raise UsageError(_no_blanks(waiting))
    if waiting[what] != count:
        raise UsageError(
            f"The run found {waiting[what]} people, not {count}. Give the count {waiting[what]} if that is right."
        )
    store.change_entries(CONFIRMED_BLANKS, {what: questions[what]})
    store.read_anew([mapping])
    return f"Confirmed: {numbered(count, 'person', 'people')}. The next run empties {name} in CommCare."


def confirm_all_blanks(store: Store, count: int) -> str:
    """Confirm that so many values are lost, of all properties that wait, as `confirm_blanks` does for one."""
    questions = asked_about(store, REFUSED_BLANKS)
    waiting = {name: people_in(REFUSED_BLANKS, found) for name, found in questions.items()}
    chosen = _unanswered(store, CONFIRMED_BLANKS, questions, sum(waiting.values()), count)
    if not chosen:
        raise UsageError(_no_blanks(waiting))
    values = sum(waiting[what] for what in chosen)
    if values != count:
        raise UsageError(
            f"The run found {numbered(values, 'value')} that would be lost, not {count}. "
            f"Give the count {values} if that is right."
        )
    store.change_entries(CONFIRMED_BLANKS, chosen)
    store.read_anew({what.split(" ", 1)[0] for what in chosen})
    return f"Confirmed: {numbered(values, 'value')}. The next run empties them in CommCare."


def _no_blanks(waiting: Mapping[str, int]) -> str:
    """Return the refusal of a word about what nobody asked."""
    there = ", ".join(f"{found} ({people} people)" for found, people in sorted(waiting.items()))
    return f"Nothing waits to be emptied there. Waiting: {there or 'nothing at all'}."


def confirm_existing(store: Store, mapping: str, count: int) -> str:
    """Confirm that a first run may set new cases beside those there; a sentence, or UsageError as above."""
    asked = _asked(store, EXISTING, mapping, "cases", count)
    store.change_entries(STAY_BESIDE, {name: one["cases"] for name, one in asked.items()})
    store.read_anew(asked)
    if any(one.keys() & {"others", "known_as"} for one in asked.values()):
        return f"Confirmed. The first run of {listed(sorted(asked))} does with them what was said."
    return f"Confirmed. The first run of {listed(sorted(asked))} makes its cases beside those that are there."


def confirm_first_run(store: Store, mapping: str, count: int) -> str:
    """Approve the first run of a mapping ("": of all that wait); a sentence, or UsageError as above."""
    asked = _asked(store, FIRST_RUNS, mapping, "creates", count)
    store.change_entries(APPROVED, asked)
    store.read_anew(asked)
    approved = (
        f"Approved: {numbered(count, 'new case')} of {listed(sorted(asked))}. The next run makes them, unless the "
        "plan has grown by then or a mapping was edited."
    )
    return " ".join([approved, *not_counted(asked)])


def confirm_rekey(store: Store, mapping: str, count: int) -> str:
    """Confirm that a mapping ("": all that wait) makes its cases anew; a sentence, or UsageError as above."""
    asked = _asked(store, OTHER_KEYS, mapping, "cases", count)
    store.change_entries(CONFIRMED_KEYS, {name: one["keys"] for name, one in asked.items()})
    store.read_anew(asked)
    return f"Confirmed. The next run makes the cases of {listed(sorted(asked))} anew, under the other keys."


def _asked(store: Store, fact: str, mapping: str, what: str, count: int) -> dict[str, dict[str, Any]]:
    """Return what a run asked about a mapping, or about all ("") when that is so many cases in all."""
    waiting: dict[str, dict[str, Any]] = json.loads(store.get(fact) or "{}")
    chosen = {name: one for name, one in waiting.items() if mapping in ("", name)}
    if not chosen:
        there = listed([f"{name} ({numbered(int(one[what]), 'case')})" for name, one in sorted(waiting.items())])
        raise UsageError(
            f"No run has asked that{f' about {mapping}' if mapping else ''}. Waiting: {there or 'nothing'}."
        )
    cases = sum(int(one[what]) for one in chosen.values())
    if cases != count:
        raise UsageError(
            f"The run found {numbered(cases, 'case')}, not {count}. Give the count {cases} if that is right."
        )
    return chosen
