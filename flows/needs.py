"""What waits for a person: each question with its sentence, its command, and a form of Prefect filled in.

The questions stand in the books, where runs and matches write them; so reports, commands and forms ask the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flows.questions import COURSE, Parts, Total, parted, unanswered
from flows.words import listed, numbered
from state import BLOCKING, OpenCount, Store

Kind = Literal[
    "first-run", "existing-cases", "leavers", "withdrawn", "blanks", "new-term", "rekey", "duplicates", "matches"
]

# Facts in the books: what runs ask,
FIRST_RUNS = "first_runs_asked"  # mapping -> {"case_type": word, "creates": cases, "print": text, "unread": those}
EXISTING = "existing_cases_asked"  # mapping -> {"case_type": word, "cases": of which the books do not know}
OTHER_KEYS = "other_keys_asked"  # mapping -> {"cases": under the old keys, "then": word, "keys": the new ones}
REFUSED_LEAVERS = "refused_leavers"  # course (0: the site) -> mapping -> people
REFUSED_WITHDRAWN = "refused_withdrawn"  # course (0: the site) -> mapping -> people
REFUSED_BLANKS = "refused_blanks"  # "mapping property" -> course (0: the site) -> people
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

ASKS_FOR: dict[Kind, tuple[str, ...]] = {
    "first-run": ("kind", "mapping", "count"),
    "existing-cases": ("kind", "mapping", "count"),
    "leavers": ("kind", "course", "count"),
    "withdrawn": ("kind", "course", "count"),
    "blanks": ("kind", "mapping", "property", "count"),
    "new-term": ("kind", "course"),
    "rekey": ("kind", "mapping", "count"),
    "duplicates": ("everybody", "mapping", "count"),
    "matches": (),
}
"""Kind -> the fields of the form that its answer needs."""

THEN = {
    "left": "be marked as left",
    "closed": "be closed",
    "stay": "stay as they are, beside the new ones, because the mapping says nothing about leaving",
}
"""What becomes of cases under old keys -> in words."""


@dataclass(frozen=True)
class Need:
    """One question to a person; `count` is the number that the answer has to repeat, 0 where none is asked for.

    `course` 0 with the kinds leavers and withdrawn means the people of the site. `mapping` "" with the kind
    first-run means all mappings whose first run waits. Matches are decided with another deployment, which takes
    everybody of a class at once, or a row for each of a few people.
    """

    kind: Kind
    sentence: str
    """What was found and what was not done; ends with a full stop, holds ids and counts only."""
    command: str
    """The command that says yes, to be copied."""
    mapping: str = ""
    course: int = 0
    property_name: str = ""
    count: int = 0
    if_so: str = "If that is right"
    """The words before the ways to say yes."""
    or_else: str = ""
    """The other answer, where there is one: whole sentences."""
    deployment: str = "approve"
    """The deployment of Prefect whose form takes the answer."""
    everybody: str = ""
    """Of which class everybody is meant, where matches are decided all at once."""

    @property
    def form(self) -> dict[str, str | int]:
        """Return the parameters of the deployment that say yes; those left out stay as they are."""
        values: dict[str, str | int] = {
            "kind": self.kind,
            "everybody": self.everybody,
            "course": self.course,
            "mapping": self.mapping,
            "property": self.property_name,
            "count": self.count,
        }
        return {name: value for name, value in values.items() if name in ASKS_FOR[self.kind] and value != ""}

    @property
    def form_in_words(self) -> str:
        """Return how the form is filled in: kind leavers, course 3, count 5."""
        return (
            ", ".join(f"{name} {value}" for name, value in self.form.items()) or "a row for each person and case"
        )

    @property
    def message(self) -> str:
        """Return the sentence with both ways to say yes, for the result of a run."""
        ways = f"{self.if_so}: `{self.command}`, or in Prefect `{self.deployment}`: {self.form_in_words}."
        return " ".join(part for part in (self.sentence, ways, self.or_else) if part)


def needs(store: Store, mappings: Collection[str] | None = None) -> list[Need]:
    """Return what waits for a person, as the last runs asked and nobody has answered; nothing is written.

    Of people to be matched only those of the named mappings are told, where some are named.
    """
    firsts = _unanswered(store, FIRST_RUNS, APPROVED)
    existing = _unanswered(store, EXISTING, STAY_BESIDE, lambda asked: asked["cases"])
    keys = _unanswered(store, OTHER_KEYS, CONFIRMED_KEYS, lambda asked: asked["keys"])
    terms = _fact(store, NEW_TERMS)
    answered = {course: answer[0] for course, answer in _fact(store, ANSWERED_TERMS).items()}
    return [
        *(existing_cases(name, one["case_type"], one["cases"]) for name, one in sorted(existing.items())),
        *_open_matches(store.count_open(), mappings),
        *([first_run(firsts)] if firsts else []),
        *(other_keys(name, one) for name, one in sorted(keys.items())),
        *(new_term(int(course)) for course in sorted(terms, key=int) if answered.get(course) != terms[course]),
        *_leavers(store),
        *(withdrawn(*one) for one in _places(_of_people(store, REFUSED_WITHDRAWN, CONFIRMED_WITHDRAWN))),
        *(blanks(*one) for one in sorted(_of_people(store, REFUSED_BLANKS, CONFIRMED_BLANKS).items())),
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
    """Return the sentence that a plan was made without what could not be read, none when all of it was."""
    unread = [one.get("unread", {}) for one in asked.values()]
    courses, people = (max((one.get(what, 0) for one in unread), default=0) for what in ("courses", "people"))
    parts = [numbered(courses, "course")] if courses else []
    parts += [numbered(people, "person", "people")] if people else []
    their = "its" if (courses, people) == (1, 0) else "their"
    return [f"{' and '.join(parts)} could not be read: {their} cases are not in that count."] if parts else []


def existing_cases(mapping: str, case_type: str, cases: int, advice: str = "") -> Need:
    """Return the question about cases that stood in CommCare before the first run of a mapping."""
    there = f"{numbered(cases, 'case')} of type '{case_type}' that the books do not know"
    return Need(
        "existing-cases",
        f"CommCare already has {there}; the first run of {mapping} would set new ones beside them."
        + (f" {advice}" if advice else ""),
        f"moodle-commcare confirm-existing {mapping} --count {cases}",
        mapping=mapping,
        count=cases,
        if_so="If new cases may stand beside them",
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
    cases = int(asked["cases"])
    return Need(
        "rekey",
        f"{mapping}.yaml has {numbered(cases, 'case')} under the old keys: as many would be made anew, and the "
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


def leavers(course: int, people: int) -> Need:
    """Return the question whether people who are missing have left."""
    where = f"course {course}" if course else "the people of the site"
    are = "is" if people == 1 else "are"
    return Need(
        "leavers",
        f"{numbered(people, 'person', 'people')} {are} missing from {where}, more than is usual; "
        "nobody was marked as left there.",
        f"moodle-commcare confirm-leavers {course} --count {people}",
        course=course,
        count=people,
    )


def unlisted(course: int, people: int) -> Need:
    """Return the question whether a course was deleted that Moodle does not list any more."""
    whose = {0: "", 1: " The one person who was last seen in it stays as before."}
    return Need(
        "leavers",
        f"Course {course} is not in Moodle's list any more: it was deleted, or the account may not see it."
        + whose.get(people, f" The {people:,} people who were last seen in it stay as before."),
        f"moodle-commcare confirm-leavers {course} --count {people}",
        course=course,
        count=people,
        if_so="If it was deleted",
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


def blanks(what: str, people: int) -> Need:
    """Return the question whether many people really lost a property; `what` is "mapping property"."""
    mapping, _, name = what.partition(" ")
    return Need(
        "blanks",
        f"{numbered(people, 'person', 'people')} would lose their {name} (mapping {mapping}), more than is usual; "
        "nothing was emptied.",
        f"moodle-commcare confirm-blanks {mapping} {name} --count {people}",
        mapping=mapping,
        property_name=name,
        count=people,
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


def _leavers(store: Store) -> Iterator[Need]:
    """Yield the questions about people who are missing, and about courses that are."""
    asked = asked_about(store, REFUSED_LEAVERS)
    for course, people in _places(_of_people(store, REFUSED_LEAVERS, CONFIRMED_LEAVERS)):
        yield (unlisted if COURSE in asked[str(course)] else leavers)(course, people)


def _of_people(store: Store, asked: str, answered: str) -> dict[str, int]:
    """Return the questions about people that nobody has answered, with their number."""
    left = unanswered(asked_about(store, asked), asked_about(store, answered))
    return {name: people_in(asked, found) for name, found in left.items()}


def _places(asked: Mapping[str, int]) -> list[tuple[int, int]]:
    """Return course (0: the site) and people, in order."""
    return sorted((int(course), int(people)) for course, people in asked.items())
