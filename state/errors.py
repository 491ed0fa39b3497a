"""What can go wrong with the books; apart from the tables so that it costs nothing to import."""

from __future__ import annotations


class StateError(Exception):
    """The books cannot be used as they are: one or two sentences that name the thing and the remedy.

    Wrong target, newer schema, lost lease, damaged file, unreadable key, database that cannot be reached.
    """
