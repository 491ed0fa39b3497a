"""One question to a person: a sentence, the command that says yes, and a form of Prefect filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "first-run", "existing-cases", "leavers", "withdrawn", "blanks", "new-term", "rekey", "duplicates", "matches"
]

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
    everything: bool = False
    """Whether all questions of the kind are meant that wait, and the count is their sum."""
    shows_nobody: bool = False
    """Whether Moodle shows nobody any more there: it may be a lost right."""

    @property
    def form(self) -> dict[str, str | int]:
        """Return the parameters of the deployment that say yes; those left out stay as they are."""
        values: dict[str, str | int] = {
            "kind": self.kind,
            "everybody": self.everybody,
            "course": self.course,
            "mapping": self.mapping,
            "property": self.property_name,
            "everything": self.everything,
            "count": self.count,
        }
        asked = ("kind", "everything", "count") if self.everything else ASKS_FOR[self.kind]
        return {name: value for name, value in values.items() if name in asked and value != ""}

    @property
    def form_in_words(self) -> str:
        """Return how the form is filled in: kind leavers, course 3, count 5."""
        filled = [f"{name} on" if value is True else f"{name} {value}" for name, value in self.form.items()]
        return ", ".join(filled) or "a row for each person and case"

    @property
    def message(self) -> str:
        """Return the sentence with both ways to say yes, for the result of a run."""
        ways = f"{self.if_so}: `{self.command}`, or in Prefect `{self.deployment}`: {self.form_in_words}."
        return " ".join(part for part in (self.sentence, ways, self.or_else) if part)
