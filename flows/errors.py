"""Stops that only the flows know: a person has to decide, or the command was used wrongly."""

from __future__ import annotations


class UsageError(Exception):
    """The command or the project asks for something that is not there; says what there is."""


class Waiting(Exception):
    """The run stops before writing, since a person has to decide something first: a message for each question."""


class Resting(Exception):
    """What was sent by books that are lost may be under way still: this run is postponed."""


class Overlap(Exception):
    """Another run holds the lease: this one is postponed."""


class Unfinished(Exception):
    """Part of a run that several machines share did not end well; `state` says how serious that is."""

    def __init__(self, sentence: str, state: str) -> None:
        super().__init__(sentence)
        self.state = state


class NotRead(Exception):
    """A look at Moodle came to nothing; `code` is the exit code that the command ends with."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code
