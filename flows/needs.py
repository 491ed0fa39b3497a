"""What waits for a person: each question with its sentence, its command, and the form `approve` filled in.

The questions stand as facts in the books, where runs write them; so a report, a command and a form ask the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flows.words import listed, numbered
from state import Store

Kind = Literal["first-run", "existing-cases", "leavers", "withdrawn", "blanks", "new-term", "rekey"]

# Facts in the books.
FIRST_RUNS = "first_runs_asked"  # mapping -> {"case_type": word, "creates": cases, "print": what was planned}
EXISTING = "existing_cases_asked"  # mapping -> {"case_type": word, "cases": of which the books do not know}
OTHER_KEYS = "other_keys_asked"  # mapping -> {"cases": under the old keys, "then": word, "keys": the new ones}
REFUSED_LEAVERS = "refused_leavers"  # course (0: the site) -> people
REFUSED_WITHDRAWN = "refused_withdrawn"  # course (0: the site) -> people
REFUSED_BLANKS = "refused_blanks"  # "mapping property" -> people
NEW_TERMS = "new_terms_asked"  # course -> its new start

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
    first-run means all mappings whose first run waits.
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

    @property
    def form(self) -> dict[str, str | int]:
        """Return the parameters of the deployment `approve` that say yes; those left out stay as they are."""
        values: dict[str, str | int] = {"kind": self.kind}
        if self.kind in ("leavers", "withdrawn", "new-term"):
            values["course"] = self.course
        if self.mapping:
            values["mapping"] = self.mapping
        if self.property_name:
            values["property"] = self.property_name
        if self.count:
            values["count"] = self.count
        return values

    @property
    def form_in_words(self) -> str:
        """Return how the form is filled in: kind leavers, course 3, count 5."""
        return ", ".join(f"{name} {value}" for name, value in self.form.items())

    @property
    def message(self) -> str:
        """Return the sentence with both ways to say yes, for the result of a run."""
        return (
            f"{self.sentence} If that is right: `{self.command}`, or in Prefect `approve`: {self.form_in_words}."
        )


def needs(store: Store) -> list[Need]:
    """Return what waits for a person, as the books know it since the last runs; nothing is written."""
    return [
        *_existing_cases(_fact(store, EXISTING)),
        *_first_run(_fact(store, FIRST_RUNS)),
        *(other_keys(name, asked) for name, asked in sorted(_fact(store, OTHER_KEYS).items())),
        *(new_term(course) for course in sorted(map(int, _fact(store, NEW_TERMS)))),
        *(leavers(*one) for one in _places(_fact(store, REFUSED_LEAVERS))),
        *(withdrawn(*one) for one in _places(_fact(store, REFUSED_WITHDRAWN))),
        *(blanks(what, people) for what, people in sorted(_fact(store, REFUSED_BLANKS).items())),
    ]


def first_run(asked: Mapping[str, Mapping[str, Any]]) -> Need:
    """Return the question about the first run of one or more mappings: what it would make, over all of them."""
    names = sorted(asked)
    count = sum(int(one["creates"]) for one in asked.values())
    made = listed([numbered(int(asked[name]["creates"]), f"case of {name}", f"cases of {name}") for name in names])
    chosen = f" --mapping {names[0]}" if len(names) == 1 else ""
    return Need(
        "first-run",
        f"First run of {listed(names)}: it would make {made}, and nothing was sent.",
        f"moodle-commcare sync{chosen} --yes",
        mapping=names[0] if len(names) == 1 else "",
        count=count,
    )


def existing_cases(mapping: str, case_type: str, cases: int) -> Need:
    """Return the question about cases that stood in CommCare before the first run of a mapping."""
    there = f"{numbered(cases, 'case')} of type '{case_type}' that the books do not know"
    return Need(
        "existing-cases",
        f"CommCare already has {there}; the first run of {mapping} would set new ones beside them.",
        f"moodle-commcare confirm-existing {mapping} --count {cases}",
        mapping=mapping,
        count=cases,
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
    )


def new_term(course: int) -> Need:
    """Return the question whether a course was reset for a new term."""
    return Need(
        "new-term",
        f"Course {course} has a new start date, as after a reset for a new term; nothing of it was sent.",
        f"moodle-commcare confirm-term {course} --new",
        course=course,
    )


def leavers(course: int, people: int) -> Need:
    """Return the question whether people who are missing have left."""
    where = f"course {course}" if course else "the people of the site"
    return Need(
        "leavers",
        f"{people} people are missing from {where}, more than is usual; nobody was marked as left there.",
        f"moodle-commcare confirm-leavers {course} --count {people}",
        course=course,
        count=people,
    )


def withdrawn(course: int, people: int) -> Need:
    """Return the question whether people with a case are rightly kept out now."""
    where = f" of course {course}" if course else ""
    return Need(
        "withdrawn",
        f"{people} people{where} have a case and are kept out by the mappings now, more than is usual; nothing of "
        "theirs was emptied.",
        f"moodle-commcare confirm-withdrawn {course} --count {people}",
        course=course,
        count=people,
    )


def blanks(what: str, people: int) -> Need:
    """Return the question whether many people really lost a property; `what` is "mapping property"."""
    mapping, _, name = what.partition(" ")
    return Need(
        "blanks",
        f"{people} people would lose their {name} (mapping {mapping}), more than is usual; nothing was emptied.",
        f"moodle-commcare confirm-blanks {mapping} {name} --count {people}",
        mapping=mapping,
        property_name=name,
        count=people,
    )


def _fact(store: Store, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(name) or "{}")
    return found


def _places(asked: Mapping[str, int]) -> list[tuple[int, int]]:
    """Return course (0: the site) and people, in order."""
    return sorted((int(course), int(people)) for course, people in asked.items())


def _first_run(asked: Mapping[str, Mapping[str, Any]]) -> Iterator[Need]:
    if asked:
        yield first_run(asked)


def _existing_cases(asked: Mapping[str, Mapping[str, Any]]) -> Iterator[Need]:
    for name, one in sorted(asked.items()):
        yield existing_cases(name, str(one["case_type"]), int(one["cases"]))
