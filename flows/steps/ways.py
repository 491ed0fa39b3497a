"""What a mapping says of cases that go away, and what it leaves to others: questions that need nothing but it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from adaptors.commcare.cases import CaseReply
from mappings.engine import CompiledMapping, Departure


def departures_of(mapping: CompiledMapping) -> list[Departure]:
    """Return what a mapping says of cases that go away, in whatever way."""
    departures = (mapping.when_left, mapping.when_excluded, mapping.when_course_ends)
    return [departure for departure in departures if departure is not None]


def set_by_departures(mapping: CompiledMapping) -> Iterable[str]:
    """Yield the properties that a mapping sets when a case goes away, in whatever way."""
    for departure in departures_of(mapping):
        yield from departure.set


def owned_like(mappings: Iterable[CompiledMapping], parents: Collection[str]) -> set[str]:
    """Return the mappings whose cases have their owners from those of these, also by way of others."""
    following = [mapping for mapping in mappings if mapping.spec.owner.same_as]
    found, level = set[str](), {*parents}
    while level:
        level = {one.name for one in following if any(rule.mapping in level for rule in one.parents)} - found
        found |= level
    return found


def below(mappings: Iterable[CompiledMapping], parents: Collection[str]) -> set[str]:
    """Return the mappings whose cases belong to those of these."""
    return {one.name for one in mappings if any(rule.mapping in parents for rule in one.parents)}


def parks(mapping: CompiledMapping) -> bool:
    """Say whether a mapping ever gives a case to the owner of parked cases."""
    return any(departure.park for departure in departures_of(mapping))


def closes(mapping: CompiledMapping) -> bool:
    """Say whether a mapping ever closes a case."""
    return any(departure.close for departure in departures_of(mapping))


def closed_by_us(mapping: CompiledMapping, case: CaseReply) -> bool:
    """Say whether a case is closed, and says what the mapping says of cases that it closes."""
    held = case.properties.items()
    return case.closed and any(one.close and one.set.items() <= held for one in departures_of(mapping))


def keeps(mapping: CompiledMapping) -> bool:
    """Say whether a mapping leaves the owner, or any property, to the people in the field once it is written."""
    written = (mapping.spec.owner.write, *(one.write for one in mapping.spec.properties.values()))
    return "once" in written


def holds_personal(mapping: CompiledMapping) -> bool:
    """Say whether cases of a mapping hold anything personal."""
    return bool(mapping.personal) or mapping.name_is_personal
