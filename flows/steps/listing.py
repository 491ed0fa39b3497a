"""One listed case against what the books know of it: what a person changed, and what may be put right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from adaptors.commcare.cases import CaseReply
from flows.steps.compare import Digest
from flows.steps.kept import still_holds
from flows.steps.leaving import Leaving, private_names, withdrawn
from flows.steps.ways import set_by_departures
from mappings.engine import CompiledMapping
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
    past: tuple[str, ...] = ()
    """What drifted in a case that went away, and what no run writes to such a case."""


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
        mapping, digests, is_away = self.mappings[held.row.mapping], held.case.digests or {}, _is_away(held)
        names = self._comparable(mapping, digests, {*set_by_departures(mapping)} if is_away else ())
        drifted, unclear = list[str](), list[str]()
        for name in sorted({*names}):
            value = reply.name if name == "@name" else reply.properties.get(name, "")
            same = self._same(held, name, value)
            if same is None:
                unclear.append(name)
            elif not same:
                drifted.append(name)
        if is_away:
            said = _said_again(mapping, held)
            past = tuple(name for name in drifted if name not in said)
            return Differences(tuple(name for name in drifted if name in said), tuple(unclear), past=past)
        ours = mapping.spec.owner.write != "once" and "@owner" in digests
        moved = reply.owner_id != held.case.owner_id or (ours and not self._same(held, "@owner", reply.owner_id))
        return Differences(tuple(drifted), tuple(unclear), bool(reply.owner_id) and moved, ours)

    def _comparable(
        self, mapping: CompiledMapping, digests: Mapping[str, bytes], said: Collection[str]
    ) -> Iterator[str]:
        """Yield the names of what the mapping still writes, and writes more than once, or has `said` of a case."""
        for name in digests:
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
        return still_holds(value, sent, lambda text: self.digest(held.row.key, name, text), self.zone)


def _is_away(held: Held) -> bool:
    return held.case.status in AWAY


def _said_again(mapping: CompiledMapping, held: Held) -> set[str]:
    """Return what a run says once more of a case that went away, when the books doubt that it did.

    Of one that we closed nothing is said any more, and its person is read no more either.
    """
    row, case = held.row, held.case
    ways = {
        "left": Leaving(mapping, row, case, mapping.when_left, "left"),
        "ended": Leaving(mapping, row, case, mapping.when_course_ends, "ended"),
        "withdrawn": withdrawn(mapping, row, case),
    }
    one = ways.get(case.status)
    if one is None or (one.departure is None and not one.private):
        return set()
    name = {"@name"} if one.private and mapping.name_is_personal else set()
    return {*private_names(one), *(one.departure.set if one.departure else ()), *name}
