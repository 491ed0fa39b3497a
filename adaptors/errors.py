"""What can go wrong between us and another system, in families by what the caller does about it.

AdaptorError
├── Retriable        nothing happened for certain, or it was only a read: try again, after `retry_after` if given
│   ├── NotSent      the request never reached the other system (refused connection, unknown host)
│   ├── NoAnswer     the request went out and no usable answer came back
│   │   └── WebPage  a web page came in its place, from a system that answered well before
│   ├── NotAsked     nothing was sent: the other system answers, but has not answered this for a while
│   └── Maintenance  the other system says it is closed for a while: postpone the run
│       ├── CircuitOpen  it gave no answer many times in a row, and is left in peace
│       └── QuietTime    a person has set quiet hours for it
├── InDoubt          a write whose outcome is unknown
├── AccessDenied     token, capability, service, permission: a person has to switch something on
├── Refused          the other system says no to this record or this question; the run goes on
└── Unexpected       an answer that is not understood; stops this course

A message never holds a token, a query string or a person's data: it is shown to people and written to logs.
"""

from __future__ import annotations


class AdaptorError(Exception):
    """The root of all errors of the two adaptors.

    `system` is "Moodle" or "CommCare"; `operation` is a function or endpoint name; `status` the HTTP status
    if there was one; `code` the other system's own word for the error; `remedy` one sentence on what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        system: str,
        operation: str,
        status: int | None = None,
        code: str = "",
        remedy: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.system = system
        self.operation = operation
        self.status = status
        self.code = code
        self.remedy = remedy
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class Retriable(AdaptorError):
    """Nothing happened for certain, or it was a read: the same request may be sent again."""


class NotSent(Retriable):
    """The request never reached the other system."""


class NoAnswer(Retriable):
    """The request went out, and no usable answer came back: for a write the outcome is unknown."""


class WebPage(NoAnswer):
    """A web page came in the place of an answer, from a system that is known to answer well: it may pass."""


class NotAsked(Retriable):
    """The other system answers, but gave no answer to this question many times in a row: it is left out."""


class Maintenance(Retriable):
    """The other system is closed for a while: the run is postponed, nothing is lost."""


class CircuitOpen(Maintenance):
    """The other system gave no usable answer many times in a row: nothing more is asked of it."""


class QuietTime(Maintenance):
    """The other system has quiet hours, set by a person: nothing is asked of it now."""


class InDoubt(AdaptorError):
    """A write whose outcome is unknown: it rests before it is sent again."""


class AccessDenied(AdaptorError):
    """Something has to be switched on or corrected by a person: token, capability, service, permission."""


class Refused(AdaptorError):
    """The other system says no to this record or question, and nothing was changed."""


class Unexpected(AdaptorError):
    """An answer that does not have the promised shape."""
