"""What the role of the service account needs in Moodle: each capability, where Moodle asks for it, what it gives.

What happens without one was measured on Moodle 4.5 by taking them away one at a time, unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Right:
    """One capability; `context` is where Moodle asks for it (site, course, activity, person).

    `only` says when it is needed, "" for always when one of its functions is called: what is needed sometimes only
    stays out of the role until somebody wants it.
    """

    capability: str
    context: str
    gives: str
    without: str
    only: str = ""


RIGHTS: Final = {
    right.capability: right
    for right in (
        Right("webservice/rest:use", "site", "call the web service at all", "every call is refused"),
        Right(
            "moodle/course:view",
            "course",
            "enter courses without being enrolled",
            "nearly everything is refused",
        ),
        Right(
            "moodle/course:viewparticipants",
            "course",
            "see who is in a course",
            "Moodle 4.5 let it pass, since other rights cover it; it is the right that is meant for this",
        ),
        Right(
            "moodle/user:viewdetails",
            "person",
            "see people and their profiles",
            "lists of people get shorter without a word (4 of 295)",
        ),
        Right(
            "moodle/user:viewalldetails",
            "person",
            "see login name, language and hidden custom profile fields",
            "these fields are missing without a word",
        ),
        Right(
            "moodle/site:viewuseridentity",
            "course",
            "see telephone numbers and e-mail addresses that people hide",
            "telephone numbers are missing without a word",
        ),
        Right(
            "moodle/course:enrolreview",
            "course",
            "tell active enrolments from suspended ones",
            "lists of people are refused",
        ),
        Right(
            "moodle/site:accessallgroups",
            "course",
            "see all groups of a course that keeps its groups apart",
            "such courses look empty; before Moodle 4.3 no groups are shown in any course",
        ),
        Right(
            "moodle/course:viewhiddencourses",
            "course",
            "tell hidden courses from deleted ones; they are read only where project.yaml names their id",
            "a course that is hidden looks deleted, and a person is asked which it is",
        ),
        Right(
            "moodle/course:viewhiddengroups",
            "course",
            "see groups whose visibility is 'Hidden'; Moodle has them, and this right, from 4.3 on",
            "who is only in such a group looks like somebody in none, without a word",
            "when a mapping reads groups",
        ),
        Right("moodle/grade:viewall", "course", "see everybody's grades", "grades are refused"),
        Right("gradereport/user:view", "course", "open the grade report of people", "grades are refused"),
        Right(
            "moodle/grade:viewhidden",
            "course",
            "see hidden grades, too",
            "hidden grades are left out, which is as it should be",
            "when a mapping reads grade.hidden; without it hidden grades never leave Moodle",
        ),
        Right(
            "report/progress:view",
            "course",
            "see which activities people have done",
            "what people have done is refused",
        ),
        Right(
            "mod/assign:view",
            "activity",
            "see assignments",
            "assignments, and their grades, are missing without a word",
        ),
        Right(
            "mod/assign:viewgrades",
            "activity",
            "see what was handed in, and its grades",
            "submissions are refused",
        ),
        Right("mod/assign:grade", "activity", "give feedback and grades", "feedback is refused"),
        Right(
            "mod/assign:revealidentities",
            "activity",
            "know whose work it is in blind marking",
            "there are participant numbers in place of people",
            "when the list of feedback for a blindly marked assignment names people",
        ),
        Right(
            "moodle/course:viewhiddenactivities",
            "activity",
            "see hidden activities",
            "hidden activities, and their grades, are missing without a word",
            "when activities that are hidden from learners count as well",
        ),
        Right(
            "moodle/course:ignoreavailabilityrestrictions",
            "activity",
            "see activities in spite of their 'Restrict access'",
            "activities whose conditions the account itself does not meet (a date, a group, another one done) are "
            "missing without a word, with their grades and with who has done them",
        ),
        Right(
            "moodle/category:viewhiddencategories",
            "site",
            "see hidden course categories",
            "hidden categories are not found",
            "when project.yaml chooses a hidden category",
        ),
        Right(
            "moodle/user:viewhiddendetails",
            "person",
            "see in profiles the fields that the site hides from learners",
            "these fields are missing without a word",
            "when 'Hide user fields' under Users > Permissions > User policies names one that a mapping reads",
        ),
        Right(
            "moodle/course:viewhiddenuserfields",
            "course",
            "see these fields in the lists of who is in a course, too",
            "they are missing there without a word",
            "when 'Hide user fields' names one that a mapping reads in a course, such as `user.city`",
        ),
        Right(
            "moodle/webservice:createtoken",
            "site",
            "make its own first token when it signs in by name and password",
            "sign-in by name and password works only where a token was made by hand",
            "when MOODLE_USERNAME and MOODLE_PASSWORD are used and nobody makes a token",
        ),
    )
}
"""Capability -> what there is to say about it, in the order in which a role is best filled in."""

GRADED_ACTIVITIES: Final = (
    "mod/assign:view",
    "mod/data:view",
    "mod/glossary:view",
    "mod/h5pactivity:view",
    "mod/lesson:view",
    "mod/lti:view",
    "mod/quiz:view",
    "mod/workshop:view",
)
"""The view rights of the kinds of activity that can be graded. Forums and SCORM packages have none."""

TRACKED_ACTIVITIES: Final = (
    *GRADED_ACTIVITIES,
    "mod/bigbluebuttonbn:view",
    "mod/chat:view",
    "mod/choice:view",
    "mod/feedback:view",
    "mod/folder:view",
    "mod/imscp:view",
    "mod/label:view",
    "mod/page:view",
    "mod/resource:view",
    "mod/url:view",
    "mod/wiki:viewpage",
)
"""The view rights of the kinds whose completion can be tracked; books, forums, SCORM packages, surveys have none.

Many of them every account has, unless a site took them from the role of authenticated users. Moodle passes over
the right of a kind that it does not have (chat, from 5.0 on).
"""

EVERY_RUN: Final = (
    "webservice/rest:use",
    "moodle/course:view",
    "moodle/course:viewparticipants",
    "moodle/user:viewdetails",
    "moodle/user:viewalldetails",
    "moodle/site:viewuseridentity",
    "moodle/course:enrolreview",
    "moodle/site:accessallgroups",
    "moodle/course:viewhiddencourses",
)
"""What the role needs whatever is read."""


def right_of(capability: str) -> Right:
    """Return what there is to say about a capability; the view rights of activities are all alike."""
    if capability in RIGHTS:
        return RIGHTS[capability]
    kind = capability.split(":")[0].removeprefix("mod/")
    return Right(
        capability,
        "activity",
        f"see activities of the kind '{kind}'",
        "they are missing without a word, with their grades and with who has done them",
    )
