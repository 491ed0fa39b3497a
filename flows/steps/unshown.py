"""Values that cases keep although nobody's profile shows the field any more: all emptied it, or it is hidden.

Moodle leaves out a field that is empty and one that the account may not see. While somebody shows it the others
have it blank; when the last one empties his, nothing tells that from a right that was lost: a person is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flows.words import listed
from mappings.engine import CompiledMapping, Context, Draft
from mappings.engine.paths import getter
from mappings.engine.reads import value_paths
from mappings.engine.texts import ABSENT
from state import CaseRow
from state.statuses import AWAY

Record = Mapping[str, Any]


class Unshown:
    """The records of a scope that lack a field which nobody shows; they are kept until the scope is planned."""

    def __init__(self, mapping: CompiledMapping, fields: Collection[str], context: Context) -> None:
        self._mapping = mapping
        self._fields = frozenset(fields)
        self._context = context
        # Who says `when_not_sent: keep` has answered already.
        asked = {name: spec for name, spec in mapping.spec.properties.items() if spec.when_not_sent is None}
        reads = {name: value_paths(spec) for name, spec in asked.items()}
        self._paths = {name: paths for name, paths in reads.items() if self._fields & {*_of_person(paths)}}
        self._records: dict[str, Record] = {}

    def note(self, draft: Draft, record: Record) -> None:
        """Keep the record of a draft that leaves a property as it is which reads such a field."""
        if not self._paths.keys() <= draft.properties.keys() | draft.once:
            self._records[draft.key] = record

    def forget(self) -> None:
        """Let go of the records, by far the largest part of what was read."""
        self._records.clear()

    def kept(self, draft: Draft, case: CaseRow | None, digest: Callable[[str, str, str], bytes]) -> frozenset[str]:
        """Return the properties that a case has a value in, and would have none if all had emptied the fields."""
        record = self._records.get(draft.key)
        if record is None or case is None or not case.case_id or case.digests is None or case.status in AWAY:
            return frozenset()
        held = {name for name in self._paths if case.digests.get(name) not in (None, digest(draft.key, name, ""))}
        lacking = {name: self._lacking(name, record) for name in held - draft.properties.keys() - draft.once}
        # What is read from another field as well, which Moodle hides of this person, is nothing to ask about.
        lacking = {name: paths for name, paths in lacking.items() if self._fields.issuperset(_of_person(paths))}
        if not lacking:
            return frozenset()
        for path in {path for paths in lacking.values() for path in paths}:
            record = _blanked(record, path)
        emptied = self._mapping.draft(record, self._context)
        if not isinstance(emptied, Draft):
            return frozenset()
        return frozenset(name for name in lacking if emptied.properties.get(name) == "")

    def fields_of(self, name: str) -> str:
        """Return the fields that a property reads and nobody shows, in words."""
        return listed(sorted(self._fields.intersection(_of_person(self._paths.get(name, ())))))

    def _lacking(self, name: str, record: Record) -> list[str]:
        """Return the paths of a property that a record does not have."""
        return [path for path in self._paths[name] if getter(path)(record) is ABSENT]


def _of_person(paths: Collection[str]) -> list[str]:
    """Return the fields of a person that paths of a source are about."""
    return [path.removeprefix("user.") for path in paths]


def _blanked(record: Record, path: str) -> Record:
    """Return a record with a field blank that it does not have."""
    name, _, rest = path.partition(".")
    if not rest:
        return {name: None, **record}
    inner = record.get(name)
    return {**record, name: _blanked(inner if isinstance(inner, Mapping) else {}, rest)}
