"""Why a coach's text is not in Moodle: in words, and with what a person can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adaptors.moodle.errors import REPAIR

FEEDBACK_REASONS: Final[Mapping[str, str]] = {
    "feedback_conflict": "with a text that is not in Moodle: somebody else has written feedback or a grade there",
    "feedback_person_left": "with a text that is not in Moodle: the person may not hand in there (any more)",
    "feedback_not_shown": "with a text that is not in Moodle: it cannot show the person, who may also have left",
    "feedback_no_assignment": "with a text that is not in Moodle: the case's course has no such assignment",
    "feedback_no_access": "with a text that is not in Moodle: the account may not mark in that course",
    "feedback_twice": "with a text that is not in Moodle: two cases of the person say different things",
    "feedback_too_long": "with a text that is not in Moodle: it is longer than 20,000 letters, or only marks",
    "feedback_bad_grade": "with a text that is not in Moodle: the grade beside it is none that the assignment has",
    "feedback_switched_off": "with a text that is not in Moodle: text feedback is switched off in the assignment",
    "feedback_rubric": "with a text that is not in Moodle: the marks of a rubric or guide would be lost",
    "feedback_method_unknown": "with a text that is not in Moodle: there may be a rubric, whose marks get lost",
    "feedback_blind": "with a text that is not in Moodle: the assignment is marked blindly",
    "feedback_unreleased": "with a text that is not in Moodle: the present grade is not released and may get lost",
    "feedback_grade_not_stored": "whose text is in Moodle without the grade: it is locked or overridden there",
    "feedback_not_stored": "with a text that Moodle took and holds otherwise",
    "feedback_unfinished": "with a text of which Moodle has not said yet whether it holds it",
}
"""The end of a sentence that begins with the number of records."""

_AGAIN: Final = "then `moodle-commcare feedback send`"
_NEXT: Final = "The next `moodle-commcare feedback send` tries again; Prefect does it each night."
FEEDBACK_REMEDIES: Final[Mapping[str, str]] = {
    "feedback_conflict": "Look at both. If the coach's is right: `moodle-commcare feedback send --overwrite KEY`; "
    "else empty it in the case.",
    "feedback_person_left": "Nothing, if that is so; a teacher can enrol the person again.",
    "feedback_not_shown": f"{REPAIR} {_NEXT}",
    "feedback_no_assignment": f"Correct `assignment` in the mapping, or empty the text in the case, {_AGAIN}.",
    "feedback_no_access": (
        "Give the account's role `mod/assign:grade` in that course, and `moodle/course:viewhiddenactivities` if "
        f"the assignment is hidden, {_AGAIN}. If it has both, log in once as that account: it may have to change "
        "its password."
    ),
    "feedback_twice": f"Empty one of the two texts in CommCare, {_AGAIN}.",
    "feedback_too_long": f"Shorten it in the case, {_AGAIN}.",
    "feedback_bad_grade": "Correct the grade in the case: a number like 72.5 from 0 to the highest; on a scale "
    "its first word is 1; none where the assignment is not graded.",
    "feedback_switched_off": f"Tick 'Feedback comments' in the settings of the assignment, {_AGAIN}.",
    "feedback_rubric": "Mark it in Moodle, and empty the text in the case.",
    "feedback_method_unknown": f"Add `core_grading_get_definitions` to the web service, {_AGAIN}.",
    "feedback_blind": "Reveal identities in Moodle, or give the account `mod/assign:revealidentities`.",
    "feedback_unreleased": f"Release the grade in Moodle, {_AGAIN}.",
    "feedback_grade_not_stored": "Unlock the grade in Moodle's gradebook, or leave the grade to Moodle.",
    "feedback_not_stored": "Look at the feedback in Moodle: a filter of the site may have changed the text.",
    "feedback_unfinished": "Nothing: the next look reads it back (the drain, or `moodle-commcare feedback send`).",
}
