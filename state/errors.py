"""What can go wrong with the books; apart from the tables so that it costs nothing to import."""

from __future__ import annotations


class StateError(Exception):
    """The books cannot be used as they are: one or two sentences that name the thing and the remedy.

    Wrong target, newer schema, lost lease, damaged file, unreadable key, database that cannot be reached.
    """


class DamagedError(StateError):
    """The file of the books is damaged, or no database at all: only a backup helps."""


class NewerError(StateError):
    """The books were written by a newer version: the way back is a backup from before it."""
