"""One listed case against what the books know of it: what a person changed, and what may be put right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from adaptors.commcare.cases import CaseReply
from flows.steps.compare import Digest
from flows.steps.kept import still_holds
from flows.steps.leaving import holds_any, private_names, withdrawn
from flows.steps.ways import departures_of, set_by_departures
from mappings.engine import CompiledMapping, Departure
from state import Held

AWAY = frozenset({"withdrawn", "ended", "left", "closed"})
"""What a case is that CommCare is known to have been told of its going; the others that are not active are not."""


@dataclass(frozen=True)
class Differences:
    """What a case holds otherwise than we sent it, by names; `unclear` are times that nobody can compare."""

    drifted: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    owner_moved: bool = False
    owner_is_ours: bool = False
    """Whether the mapping goes on deciding about the owner."""
    marks: tuple[str, ...] = ()
    """What the mapping sets of a case that went away, and what it holds otherwise."""
    private: tuple[str, ...] = ()
    """What is personal, was emptied, and is there again."""
    past: tuple[str, ...] = ()
    """What else drifted in a case that went away: no run writes to such a case."""


@dataclass(frozen=True)
class Comparer:
    """Compares by digests; `asked` are the properties that the listing has, None for all."""

    mappings: Mapping[str, CompiledMapping]
    digest: Digest
    zone: tzinfo
    asked: frozenset[str] | None

    def can_compare(self, held: Held) -> bool:
        """Say whether the books know what a case holds; of dirty ones, and of those under way, nobody knows."""
        status = held.case.status
        return held.row.mapping in self.mappings and bool(held.case.digests) and status in AWAY | {"active"}

    def differences(self, reply: CaseReply, held: Held) -> Differences:
        """Return what differs in a case that can be compared.

        Nothing is said of the owner of one that went away: it may be parked, or a supervisor's by now.
        """
        mapping = self.mappings[held.row.mapping]
        if held.case.status in AWAY:
            return self._when_away(mapping, reply, held)
        drifted, unclear = self._compared(reply, held, self._comparable(mapping, held, ()))
        ours = mapping.spec.owner.write != "once" and "@owner" in (held.case.digests or {})
        moved = reply.owner_id != held.case.owner_id or (ours and not self._same(held, "@owner", reply.owner_id))
        return Differences(drifted, unclear, bool(reply.owner_id) and moved, ours)

    def private(self, reply: CaseReply, held: Held) -> tuple[str, ...]:
        """Return what is personal in a case that was emptied: typed into it since."""
        mapping = self.mappings[held.row.mapping]
        drifted, _ = self._compared(reply, held, self._emptied(mapping, reply, held))
        return tuple(name for name in drifted if _value(reply, name))

    def _when_away(self, mapping: CompiledMapping, reply: CaseReply, held: Held) -> Differences:
        """Return what differs in a case that went away: no run writes any of it again."""
        said, private = _said(mapping, held), self.private(reply, held)
        names = self._comparable(mapping, held, set_by_departures(mapping))
        drifted, unclear = self._compared(reply, held, names)
        rest = [name for name in drifted if name not in private]
        marks = tuple(name for name in rest if name in said)
        past = tuple(name for name in rest if name not in said)
        unclear = tuple(name for name in unclear if name not in private)
        return Differences((), unclear, marks=marks, private=private, past=past)

    def _emptied(self, mapping: CompiledMapping, reply: CaseReply, held: Held) -> set[str]:
        """Return what is personal and was emptied; of who left, or was closed, when the books say so of all of it.

        Nobody knows who wrote what we never sent into a case that was there before us.
        """
        one, status = withdrawn(mapping, held.row, held.case), held.case.status
        names = {*private_names(one)} | ({"@name"} if mapping.name_is_personal else set())
        sent = names & (held.case.digests or {}).keys()
        was = status in ("left", "closed") and bool(sent) and not holds_any(one, self.digest)
        if status != "withdrawn" and not was:
            return set()
        return sent if held.case.linked else sent | personal_in(mapping, reply)

    def _compared(
        self, reply: CaseReply, held: Held, names: Iterable[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which of some properties differ, and of which nobody can tell."""
        same = {name: self._same(held, name, _value(reply, name)) for name in sorted({*names})}
        drifted = tuple(name for name, is_same in same.items() if is_same is False)
        return drifted, tuple(name for name, is_same in same.items() if is_same is None)

    def _comparable(self, mapping: CompiledMapping, held: Held, said: Iterable[str]) -> Iterator[str]:
        """Yield what the mapping still writes, and writes more than once, or what is `said` of cases."""
        said = {*said}
        for name in held.case.digests or {}:
            definition = mapping.definition_of(name)
            if name == "@name":
                yield name
            elif self.asked is not None and name not in self.asked:
                continue
            elif name in said:
                yield name
            elif definition and definition not in mapping.retired:
                spec = mapping.spec.properties.get(definition)
                if spec is not None and spec.write != "once":
                    yield name

    def _same(self, held: Held, name: str, value: str) -> bool | None:
        sent = (held.case.digests or {}).get(name)
        if sent is None:
            return False
        if sent == self.digest(held.row.key, name, ""):  # of no value CommCare makes a time
            return not value
        return still_holds(value, sent, lambda text: self.digest(held.row.key, name, text), self.zone)


def personal_in(mapping: CompiledMapping, reply: CaseReply) -> set[str]:
    """Return the properties of a listed case that hold something personal, but for what leaving sets."""
    said = {*set_by_departures(mapping)}
    return {n for n, text in reply.properties.items() if text and mapping.is_personal(n) and n not in said}


def _value(reply: CaseReply, name: str) -> str:
    return reply.name if name == "@name" else reply.properties.get(name, "")


def _said(mapping: CompiledMapping, held: Held) -> set[str]:
    """Return what the mapping sets of a case that went as this one did.

    One that left may have been over before, and say so; of one that we closed nobody knows which way it went.
    """
    closing = [one for one in departures_of(mapping) if one.close]
    ways: dict[str, list[Departure | None]] = {
        "left": [mapping.when_left, mapping.when_course_ends],
        "ended": [mapping.when_course_ends],
        "withdrawn": [mapping.when_excluded],
        "closed": [*closing],
    }
    return {name for one in ways[held.case.status] if one is not None for name in one.set}
