"""What waits for a person: each question with its sentence, its command, and a form of Prefect filled in.

The questions stand in the books, where runs and matches write them; so reports, commands and forms ask the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from flows.need import Need
from flows.questions import COURSE, Parts, Questions, Total, parted, unanswered
from flows.words import listed, numbered
from state import BLOCKING, OpenCount, Store

# Facts in the books: what runs ask,
FIRST_RUNS = "first_runs_asked"  # mapping -> {"case_type": word, "creates": cases, "print": text, "unread": those}
EXISTING = "existing_cases_asked"  # mapping -> {"case_type": word, "cases": all that are meant,
# "others": those that are of other types and have keys of ours, by type, "known_as": {mapping: cases of it}}
OTHER_KEYS = (
    "other_keys_asked"  # mapping -> {"cases": under the old keys, "over": of them, "then": word, "keys": new ones}
)
REFUSED_LEAVERS = "refused_leavers"  # course (0: the site) -> mapping -> people
REFUSED_WITHDRAWN = "refused_withdrawn"  # course (0: the site) -> mapping -> people
REFUSED_BLANKS = "refused_blanks"  # "mapping property" -> course (0: the site) -> people
UNSHOWN_BLANKS = "unshown_blanks"  # "mapping property" -> the fields that nobody's profile shows any more
EMPTY_LISTS = "refused_leavers_empty"  # of leavers those who are all with a case of their mapping in that course
NEW_TERMS = "new_terms_asked"  # course -> its new start
# and what a person answered, until a run has taken it in.
APPROVED = "approved_first_runs"  # mapping -> what was asked
STAY_BESIDE = "confirmed_existing_cases"  # mapping -> cases
CONFIRMED_KEYS = "confirmed_keys"  # mapping -> the new keys
CONFIRMED_LEAVERS = "confirmed_leavers"  # course (0: the site) -> mapping -> people
CONFIRMED_WITHDRAWN = "confirmed_withdrawn"  # course (0: the site) -> mapping -> people
CONFIRMED_BLANKS = "confirmed_blanks"  # "mapping property" -> course (0: the site) -> people
ANSWERED_TERMS = "new_terms_answered"  # course -> [its new start, "new" or "same"]
# What may be done since a person, or a guard, allowed it, until CommCare has answered: by keys, not by numbers.
ALLOWED_LEAVERS = "allowed_leavers"  # course (0: the site) -> mapping -> keys
ALLOWED_WITHDRAWN = "allowed_withdrawn"  # course (0: the site) -> mapping -> keys
ALLOWED_BLANKS = "allowed_blanks"  # "mapping property" -> course (0: the site) -> keys

COUNTED: dict[str, Total] = {REFUSED_LEAVERS: max, REFUSED_WITHDRAWN: sum, REFUSED_BLANKS: sum}
"""How the parts of a question are the one number that a person reads and repeats."""

NEW_COURSES = (
    "Moodle cannot show its list of courses: cases of courses that are new to this program are not in that count."
)
HIDDEN = (
    "If it is hidden: show it again (`moodle-commcare check` names it, and says how), or give the property "
    "`when_not_sent: keep`."
)
MAYBE_LOST = (
    "The account of the token may have lost a right in Moodle, such as 'mod/assign:view' where assignments are "
    "missing: look with `moodle-commcare check` first."
)
"""What is said before a person is asked whether values are gone."""
LOST_RIGHT = "when they are in it, the account of the token has lost a right (`moodle-commcare check` says which)."
"""What it means when Moodle shows nobody in a course that is full of people."""

THEN = {
    "left": "be marked as left",
    "closed": "be closed",
    "stay": "stay as they are, beside the new ones, because the mapping says nothing about leaving",
}
"""What becomes of cases under old keys -> in words."""


def needs(store: Store, mappings: Collection[str] | None = None) -> list[Need]:
    """Return what waits for a person, as the last runs asked and nobody has answered; nothing is written.

    Of people to be matched only those of the named mappings are told, where some are named.
    """
    firsts = _unanswered(store, FIRST_RUNS, APPROVED)
    existing = _unanswered(store, EXISTING, STAY_BESIDE, lambda asked: asked["cases"])
    keys = _unanswered(store, OTHER_KEYS, CONFIRMED_KEYS, lambda asked: asked["keys"])
    terms, fields = _fact(store, NEW_TERMS), _fact(store, UNSHOWN_BLANKS)
    answered = {course: answer[0] for course, answer in _fact(store, ANSWERED_TERMS).items()}
    return [
        *(existing_cases(name, one) for name, one in sorted(existing.items())),
        *_open_matches(store.count_open(), mappings),
        *([first_run(firsts)] if firsts else []),
        *(other_keys(name, one) for name, one in sorted(keys.items())),
        *(new_term(int(course)) for course in sorted(terms, key=int) if answered.get(course) != terms[course]),
        *all_leavers(_of_people(store, REFUSED_LEAVERS, CONFIRMED_LEAVERS), asked_about(store, EMPTY_LISTS)),
        *all_withdrawn(_of_people(store, REFUSED_WITHDRAWN, CONFIRMED_WITHDRAWN)),
        *all_blanks(_of_people(store, REFUSED_BLANKS, CONFIRMED_BLANKS), fields),
    ]


def first_run(asked: Mapping[str, Mapping[str, Any]]) -> Need:
    """Return the question about the first run of one or more mappings: what it would make, over all of them."""
    names = sorted(asked)
    count = sum(int(one["creates"]) for one in asked.values())
    made = listed([numbered(int(asked[name]["creates"]), f"case of {name}", f"cases of {name}") for name in names])
    alone = names[0] if len(names) == 1 else ""
    return Need(
        "first-run",
        " ".join(
            [f"First run of {listed(names)}: it would make {made}, and nothing was sent.", *not_counted(asked)]
        ),
        f"moodle-commcare sync --mapping {alone} --yes" if alone else "moodle-commcare sync --yes",
        mapping=alone,
        count=count,
        if_so="Approve the plan",
    )


def not_counted(asked: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sentences that a plan was made without what could not be read, none when all of it was."""
    unread = [one.get("unread", {}) for one in asked.values()]
    courses, people = (max((one.get(what, 0) for one in unread), default=0) for what in ("courses", "people"))
    parts = [numbered(courses, "course")] if courses else []
    parts += [numbered(people, "person", "people")] if people else []
    their = "its" if (courses, people) == (1, 0) else "their"
    told = [f"{' and '.join(parts)} could not be read: {their} cases are not in that count."] if parts else []
    return told + [NEW_COURSES] * any(one.get("new_courses", False) for one in unread)


def existing_cases(mapping: str, asked: Mapping[str, Any], advice: str = "") -> Need:
    """Return the question about cases that stood there before a mapping's first run; `asked` as in EXISTING."""
    others, known = asked.get("others", {}), asked.get("known_as", {})
    found = sum(known.values())
    new = asked["cases"] - sum(others.values()) - found
    said = [_known_as(mapping, asked["case_type"], *one) for one in known.items()]
    if new:
        there = f"{numbered(new, 'case')} of type '{asked['case_type']}' that the books do not know"
        said.append(f"CommCare already has {there}; the first run of {mapping} would set new ones beside them.")
    said += [_of_another_type(mapping, *one) for one in sorted(others.items())]
    if_so = (
        f"If {mapping} is to go on in {'it' if found == 1 else 'them'}" if found else "If the others may be sent"
    )
    return Need(
        "existing-cases",
        " ".join([*said, advice] if advice else said),
        f"moodle-commcare confirm-existing {mapping} --count {asked['cases']}",
        mapping=mapping,
        count=asked["cases"],
        if_so="If new cases may stand beside them" if new else if_so,
    )


def _known_as(mapping: str, case_type: str, other: str, cases: int) -> str:
    """Say what becomes of cases that another mapping with the same keys made, which is switched off."""
    are, them = ("is", "it") if cases == 1 else ("are", "them")
    return (
        f"{numbered(cases, 'case')} of type '{case_type}' {are} known under {other}.yaml, which makes the same "
        f"keys and is switched off: the first run of {mapping} finds {them} again, and makes none anew."
    )


def _of_another_type(mapping: str, case_type: str, cases: int) -> str:
    """Say what becomes of cases of another type that have external ids which a mapping makes."""
    one = cases == 1
    have = "has an external id" if one else "have external ids"
    left = "it is left as it is, and its record is" if one else "they are left as they are, and their records are"
    return (
        f"{numbered(cases, 'case')} of type '{case_type}' {have} that {mapping} makes: {left} held back. To go on "
        f"in {'it' if one else 'them'}, write `case_type: {case_type}` in {mapping}.yaml first."
    )


def duplicates(mapping: str, people: int) -> Need:
    """Return the question whether people are those whose case is there already."""
    who = numbered(people, "person", "people")
    return Need(
        "duplicates",
        f"{who} of {mapping} {'has' if people == 1 else 'have'} a case in CommCare that is not linked yet; "
        "nothing is written until somebody decides.",
        f"moodle-commcare match approve --class duplicate --count {people} --mapping {mapping}",
        mapping=mapping,
        count=people,
        if_so="When you have looked (`moodle-commcare match list`)",
        or_else="Whose case it is not: `moodle-commcare match reject`.",
        deployment="match-review",
        everybody="duplicate",
    )


def matches(mapping: str, people: int) -> Need:
    """Return the question about people whom only a look at each can tell from the cases that are there."""
    return Need(
        "matches",
        f"{numbered(people, 'person', 'people')} of {mapping} may have a case in CommCare already; nothing is "
        "written until somebody has looked.",
        f"moodle-commcare match list --mapping {mapping}",
        mapping=mapping,
        count=people,
        if_so="Look at each, then `moodle-commcare match approve` or `moodle-commcare match reject`",
        deployment="match-review",
    )


def other_keys(mapping: str, asked: Mapping[str, Any]) -> Need:
    """Return the question about a mapping that would make its cases anew, under other keys."""
    cases, over = int(asked["cases"]), int(asked.get("over", 0))
    anew = "as many" if not over else f"{cases - over:,}, all but those of courses that are over,"
    return Need(
        "rekey",
        f"{mapping}.yaml has {numbered(cases, 'case')} under the old keys: {anew} would be made anew, and the "
        f"old ones would {THEN[asked['then']]}.",
        f"moodle-commcare sync --rekey {mapping}",
        mapping=mapping,
        count=cases,
        if_so="If that is meant",
    )


def new_term(course: int) -> Need:
    """Return the question whether a course was reset for a new term."""
    return Need(
        "new-term",
        f"Course {course} has a new start date, as after a reset for a new term; nothing of it was sent.",
        f"moodle-commcare confirm-term {course} --new",
        course=course,
        if_so="New cases for the new term",
        or_else=f"It is the same term: `moodle-commcare confirm-term {course} --same`, or kind same-term.",
    )


def all_leavers(asked: Questions, empty: Questions) -> list[Need]:
    """Return the questions about people, or courses, that are missing; of `empty` nobody is left in Moodle."""
    found = list[Need]()
    for place, parts in sorted(asked.items(), key=lambda one: int(one[0])):
        people = people_in(REFUSED_LEAVERS, parts)
        is_listed = COURSE not in parts
        found.append(
            leavers(int(place), people, {*empty.get(place, ())}) if is_listed else unlisted(int(place), people)
        )
    return found


def all_withdrawn(asked: Questions, _: Questions | None = None) -> list[Need]:
    """Return the questions about people who are kept out: Moodle shows them."""
    found = ((int(place), people_in(REFUSED_WITHDRAWN, parts)) for place, parts in asked.items())
    return [withdrawn(place, people) for place, people in sorted(found)]


def all_blanks(asked: Questions, fields: Mapping[str, str]) -> list[Need]:
    """Return the questions about values that would be emptied; `fields` are those that nobody's profile shows."""
    found = ((what, people_in(REFUSED_BLANKS, parts)) for what, parts in sorted(asked.items()))
    return [blanks(what, people, fields.get(what, "")) for what, people in found]


def leavers(course: int, people: int, empty: Collection[str] = ()) -> Need:
    """Return the question whether people who are missing have left; of `empty` mappings nobody is there."""
    where = f"course {course}" if course else "the people of the site"
    are = "is" if people == 1 else "are"
    missing = f"{numbered(people, 'person', 'people')} {are} missing from {where}"
    if empty:
        first = f"Look at {'the' if course else 'a'} course in Moodle first: {LOST_RIGHT}"
        cases = f"Moodle shows nobody there any more who has a case of {listed(sorted(empty))}"
        sentence = f"{missing}: {cases}. Nobody was marked as left. {first}"
    else:
        sentence = f"{missing}, more than is usual; nobody was marked as left there."
    return Need(
        "leavers",
        sentence,
        f"moodle-commcare confirm-leavers {course} --count {people}",
        course=course,
        count=people,
        if_so="If they have left" if empty else "If that is right",
        shows_nobody=bool(empty),
    )


def unlisted(course: int, people: int) -> Need:
    """Return the question whether a course was deleted that Moodle does not list any more."""
    whose = {
        0: " Nobody would be marked as left.",
        1: " The one person who would be marked as left stays as before.",
    }
    return Need(
        "leavers",
        f"Course {course} is not in Moodle's list any more: it was deleted, or the account may not see it."
        + whose.get(people, f" The {people:,} people who would be marked as left stay as before."),
        f"moodle-commcare confirm-leavers {course} --count {people}",
        course=course,
        count=people,
        if_so="If it was deleted",
        or_else="If it is only hidden: give the account's role 'moodle/course:viewhiddencourses', or show it.",
        shows_nobody=True,
    )


def withdrawn(course: int, people: int) -> Need:
    """Return the question whether people with a case are rightly kept out now."""
    where = f" of course {course}" if course else ""
    have = "has a case and is" if people == 1 else "have a case and are"
    return Need(
        "withdrawn",
        f"{numbered(people, 'person', 'people')}{where} {have} kept out by the mappings now, more than is "
        "usual; nothing of theirs was emptied.",
        f"moodle-commcare confirm-withdrawn {course} --count {people}",
        course=course,
        count=people,
    )


def blanks(what: str, people: int, unshown: str = "") -> Need:
    """Return the question whether people really lost a property; `what` is "mapping property".

    It is about many people, or about a field that nobody's profile shows any more: `unshown` is its name.
    """
    mapping, _, name = what.partition(" ")
    sentence = (
        f"{MAYBE_LOST} {numbered(people, 'person', 'people')} would lose their {name} (mapping {mapping}), more "
        "than is usual; nothing was emptied."
    )
    if unshown:
        keep = "keeps its" if people == 1 else "keep their"
        sentence = (
            f"Nobody's profile shows {unshown} any more: emptied by all of them, or hidden from the account. "
            f"{numbered(people, 'case')} {keep} {name} (mapping {mapping})."
        )
    return Need(
        "blanks",
        sentence,
        f"moodle-commcare confirm-blanks {mapping} {name} --count {people}",
        mapping=mapping,
        property_name=name,
        count=people,
        if_so="If it was emptied" if unshown else "If that is right",
        or_else=HIDDEN if unshown else "",
    )


def _open_matches(counts: Iterable[OpenCount], mappings: Collection[str] | None) -> Iterator[Need]:
    """Yield the questions about people who have no case, by mapping: one for duplicates, one for all others."""
    found: dict[str, list[OpenCount]] = {}
    for one in counts:
        if one.kind in BLOCKING and (mappings is None or one.mapping in mappings):
            found.setdefault(one.mapping, []).append(one)
    for mapping, rows in sorted(found.items()):
        alike = [one for one in rows if one.kind == "duplicate"]
        if any(not one.has_case for one in alike):  # the command takes everybody of the class
            yield duplicates(mapping, sum(one.people for one in alike))
        if others := sum(one.people for one in rows if one.kind != "duplicate" and not one.has_case):
            yield matches(mapping, others)


def _fact(store: Store, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(name) or "{}")
    return found


def _unanswered(
    store: Store, asked: str, answered: str, part: Callable[[Any], Any] = lambda asked: asked
) -> dict[str, Any]:
    """Return what was asked and whose answer is not about the same; an answer repeats `part` of the question."""
    answers = _fact(store, answered)
    return {name: one for name, one in _fact(store, asked).items() if answers.get(name) != part(one)}


def asked_about(store: Store, fact: str) -> dict[str, Parts]:
    """Return the questions about people that a fact holds, answered ones as well, with their parts."""
    return parted(_fact(store, fact))


def people_in(fact: str, question: Parts) -> int:
    """Return the number of people that a question of a fact names."""
    return COUNTED[fact](question.values())


def people_asked(store: Store, fact: str) -> dict[str, int]:
    """Return the questions about people that a fact holds, answered ones as well, with their number."""
    return {name: people_in(fact, found) for name, found in asked_about(store, fact).items()}


def _of_people(store: Store, asked: str, answered: str) -> Questions:
    """Return the questions about people that nobody has answered, with their parts."""
    return unanswered(asked_about(store, asked), asked_about(store, answered))
