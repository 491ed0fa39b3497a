"""One draft against what CommCare is known to hold of its case: the row to send, or None."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from adaptors.commcare.cases import CaseWrite, IndexWrite
from flows.steps.linked import Linked
from flows.steps.planned import Planned, external_id
from flows.steps.ways import set_by_departures
from mappings.engine import CompiledMapping, Draft
from state import NO_VALUE, CaseRow, RowId
from state.statuses import AWAY, EMPTIED

MERGED_INTO = "merged_into"
"""The property that names the Moodle number of the person whose cases go on after a merge."""

Digest = Callable[[str, str, str], bytes]


@dataclass(frozen=True)
class Ready:
    """A draft whose parents and owner are known; `owner` "" leaves the owner as it is.

    `vanished` are properties whose elements two complete reads lacked; `kept` are those of a dirty row that no
    element has now, with the value that CommCare holds: not sent, but the books know of them again.
    """

    indices: tuple[IndexWrite, ...]
    owner: str
    vanished: frozenset[str] = field(default=frozenset())
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    linked: Linked | None = None
    """Of a case that somebody else made."""
    removed: frozenset[str] = frozenset()
    """Properties that were taken out of the mapping: cases may hold them still."""
    elements: frozenset[str] = frozenset()
    """Properties that a dirty case holds for elements, but for those in `kept`."""
    unshown: frozenset[str] = frozenset()
    """Properties that the case holds a value in, though nobody's profile shows their field any more."""
    emptied: frozenset[str] = frozenset()
    """What is written once, and blank in a case that was away, or erased: it lost its value, maybe."""
    parted: bool = False
    """Whether somebody took back that its person was merged: the case may say so, also where the books forgot."""


@dataclass(frozen=True)
class Comparison:
    """Everything there is to know about one row."""

    mapping: CompiledMapping
    row: RowId
    user_id: int
    draft: Draft
    known: CaseRow | None
    ready: Ready
    digest: Digest

    def planned(self) -> Planned | None:
        """Build the write for the row, or None when CommCare already holds all of it."""
        draft, known = self.draft, self.known
        properties = self._properties()
        values = self._values(properties)
        digests = {name: self.digest(draft.key, name, value) for name, value in values.items()}
        kept = {name: self.digest(draft.key, name, value) for name, value in self.ready.kept.items()}
        if known is None or not known.case_id:
            generation = 1 if known is None else known.generation
            key = external_id(draft.key, generation)
            write = CaseWrite(
                key, "", draft.case_type, draft.name, self.ready.owner, properties, self.ready.indices
            )
            sent, unsent = kept | digests, self._unsent(digests)
            return Planned(
                self.row, draft.case_type, self.user_id, write, sent, "create", whole=True, unsent=unsent
            )
        changed = self._changed(digests, known)
        reasons = frozenset(changed - self._ignored(changed) - _never_filled(values, known))
        if not reasons:
            return None
        write = CaseWrite(
            external_id(draft.key, known.generation),
            known.case_id,
            draft.case_type,
            draft.name if "@name" in changed else None,
            self.ready.owner if "@owner" in changed else None,
            {name: value for name, value in properties.items() if name in changed},
            tuple(index for index in self.ready.indices if f"@index:{index.name}" in changed),
        )
        blank = frozenset(name for name in changed - self.mapping.retired if not values[name])
        held = known.digests or {}
        emptied = frozenset(name for name in blank & held.keys() if held[name] != digests[name])
        doubtful, vanished = emptied & self._doubtful(), emptied & self.ready.vanished
        unshown = emptied & self.ready.unshown
        sent = kept | {name: digests[name] for name in changed}
        owner = known.owner_id
        row = Planned(self.row, draft.case_type, self.user_id, write, sent, "update", owner_held=owner)
        if known.digests is None:
            row = replace(row, whole=True, blank=blank, unsent=self._unsent(changed))
        row = replace(row, reasons=reasons, emptied=emptied, doubtful=doubtful, vanished=vanished)
        return replace(row, unshown=unshown)

    def _properties(self) -> dict[str, str]:
        """Return the properties that a case is to have; what others wrote into theirs is not emptied."""
        properties = {**self.draft.properties, **dict.fromkeys(self._lapsed(), "")}
        linked = self.ready.linked
        if linked is None or self.known is None or not self.known.case_id:
            return properties
        properties = {name: value for name, value in properties.items() if value or name not in linked.spared}
        return properties | {linked.name: self.draft.key}

    def _unsent(self, sent: Container[str]) -> frozenset[str]:
        """Return what a row leaves as it is, and its case may hold of ours: later it may have to be emptied."""
        linked = self.ready.linked
        if linked is not None and linked.first:
            return frozenset()
        spared = linked.spared if linked is not None else frozenset[str]()
        ours = self.mapping.spec.properties.keys() | self.draft.once | self.ready.removed
        ours |= {MERGED_INTO, *set_by_departures(self.mapping)} | self.ready.elements
        return frozenset(name for name in ours - spared if name not in sent)

    def _doubtful(self) -> set[str]:
        """Return vanished elements of lists that lost several at once, or all: one alone was deleted."""
        families: dict[str, set[str]] = {}
        for name in self.ready.vanished:
            families.setdefault(self.mapping.definition_of(name), set()).add(name)
        listed = self.draft.listed
        many = (names for family, names in families.items() if len(names) > 1 or not listed.get(family))
        return set().union(*many)

    def _lapsed(self) -> set[str]:
        """Return what a known case may hold and the draft has no more: all of it is emptied."""
        known, properties = self.known, self.draft.properties
        if known is None or (self.ready.linked is not None and self.ready.linked.first):
            return set()
        if not known.case_id and known.status not in AWAY:
            return set()
        lapsed = set(self.mapping.retired)
        if known.status in AWAY or known.digests is None:
            # Somebody came back (for a dirty row that is not certain): what only leaving sets is emptied again.
            lapsed |= set(set_by_departures(self.mapping))
            lapsed |= {MERGED_INTO} & (known.digests or {}).keys()
            lapsed |= self._said_before()
        elif known.digests is not None:
            # The case was there and nobody knew of it when it was made: it may say that its person is gone.
            lapsed |= {name for name in set_by_departures(self.mapping) if known.digests.get(name) == NO_VALUE}
        if known.digests is not None:
            lapsed &= known.digests.keys()
        if self.ready.parted and (known.status in AWAY or known.digests is None):
            lapsed |= {MERGED_INTO}
        return (lapsed | self.ready.vanished | self.ready.unshown) - properties.keys()

    def _said_before(self) -> set[str]:
        """Return what a case holds of ours that no property makes or made: the mapping set it on leaving, once."""
        known = self.known.digests or {} if self.known is not None else {}
        made = {name for name in known if name.startswith("@") or self.mapping.definition_of(name)}
        return known.keys() - made - self.ready.removed

    def _values(self, properties: Mapping[str, str]) -> dict[str, str]:
        """Return everything that is compared, by name; what is not a property starts with '@'."""
        values = {**properties, "@name": self.draft.name, "@type": self.draft.case_type}
        if self.ready.owner:
            values["@owner"] = self.ready.owner
        for index in self.ready.indices:
            values[f"@index:{index.name}"] = f"{index.relationship} {index.case_type} {index.case_id}"
        return values

    def _changed(self, digests: Mapping[str, bytes], known: CaseRow) -> set[str]:
        """Return the names that differ.

        A dirty row differs in everything that is not written once. What we emptied is written once more.
        """
        held = known.digests or {}
        once = {name for name in self.draft.once if not self._was_emptied(name, known)}
        once -= self.ready.linked.filled if self.ready.linked is not None else frozenset()
        return {name for name, digest in digests.items() if held.get(name) != digest and name not in once}

    def _was_emptied(self, name: str, known: CaseRow) -> bool:
        """Say whether a property lost its value with its person; of a dirty row that may be so.

        One that is not personal is emptied by an erasure only.
        """
        if name in self.ready.emptied:
            return True
        if not self.mapping.is_personal(name):
            return False
        if known.digests is None:
            return known.status in EMPTIED
        return known.status in AWAY and known.digests.get(name) == self.digest(self.draft.key, name, "")

    def _ignored(self, changed: Iterable[str]) -> frozenset[str]:
        """Return what alone is no reason to send; what going away set is one, and what an audit doubts."""
        known = self.known
        told = set(set_by_departures(self.mapping)) if known is not None and known.status in AWAY else set[str]()
        doubted = {name for name, held in ((known and known.digests) or {}).items() if held == NO_VALUE}
        return (self.draft.ignored - told - doubted) | self._ignored_elements(changed)

    def _ignored_elements(self, changed: Iterable[str]) -> set[str]:
        """Return vanished elements whose family alone is no reason to send."""
        ignored = frozenset(self.mapping.spec.ignore_changes)
        vanished = self.ready.vanished.intersection(changed)
        return {name for name in vanished if self.mapping.definition_of(name) in ignored}


def _never_filled(values: Mapping[str, str], known: CaseRow) -> set[str]:
    """Return what is blank and was never sent: there is nothing to empty, so alone it is no reason to send."""
    return set() if known.digests is None else {n for n, v in values.items() if not v and n not in known.digests}
