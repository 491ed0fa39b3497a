"""One listed case against what the books know of it: what a person changed, and what may be put right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from adaptors.commcare.cases import CaseReply
from flows.steps.compare import Digest
from flows.steps.kept import still_holds
from mappings.engine import CompiledMapping
from state import Held


@dataclass(frozen=True)
class Differences:
    """What a case holds otherwise than we sent it, by names; `unclear` are times that nobody can compare."""

    drifted: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    owner_moved: bool = False
    owner_is_ours: bool = False
    """Whether the mapping goes on deciding about the owner."""


@dataclass(frozen=True)
class Comparer:
    """Compares by digests; `asked` are the properties that the listing has, None for all."""

    mappings: Mapping[str, CompiledMapping]
    digest: Digest
    zone: tzinfo
    asked: frozenset[str] | None

    def differences(self, reply: CaseReply, held: Held) -> Differences:
        """Return what differs; nothing is said of dirty cases (they are written anyway) and of those who left."""
        mapping, digests = self.mappings.get(held.row.mapping), held.case.digests
        if mapping is None or not digests or held.case.status != "active":
            return Differences()
        drifted, unclear = list[str](), list[str]()
        for name in sorted(self._comparable(mapping, digests)):
            value = reply.name if name == "@name" else reply.properties.get(name, "")
            same = self._same(held, name, value)
            if same is None:
                unclear.append(name)
            elif not same:
                drifted.append(name)
        ours = mapping.spec.owner.write != "once" and "@owner" in digests
        moved = reply.owner_id != held.case.owner_id or (ours and not self._same(held, "@owner", reply.owner_id))
        return Differences(tuple(drifted), tuple(unclear), bool(reply.owner_id) and moved, ours)

    def _comparable(self, mapping: CompiledMapping, digests: Mapping[str, bytes]) -> Iterator[str]:
        """Yield the names of what the mapping still writes, and writes more than once."""
        for name in digests:
            definition = mapping.definition_of(name)
            if name == "@name":
                yield name
            elif definition and definition not in mapping.retired and (self.asked is None or name in self.asked):
                spec = mapping.spec.properties.get(definition)
                if spec is not None and spec.write != "once":
                    yield name

    def _same(self, held: Held, name: str, value: str) -> bool | None:
        sent = (held.case.digests or {}).get(name)
        if sent is None:
            return False
        return still_holds(value, sent, lambda text: self.digest(held.row.key, name, text), self.zone)
