"""What was edited in the mappings since the last finished run: an edit is read for, whatever the intervals say."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.result import Result, RunState
from flows.words import listed
from flows.world import World
from mappings.engine import CompiledMapping
from mappings.engine.elements import KEY_MARK

PRINTS = "prints:{name}"
"""Fact in the books: {"prints": {name: hash}, "removed": [names], "families": {name: pattern of its elements}}."""
INDEX = "indices."
IN_WORDS = {
    "@name": "case_name",
    "@type": "case_type",
    "@owner": "owner",
    "@key": "external_id",
    "@include": "include, exclude",
}


@dataclass(frozen=True)
class Edit:
    """The names that were edited, added, removed or retired; `taken_out` are all that were ever removed.

    `elements`: by `one_property_per` that was taken out, or names its properties otherwise, what it made.
    """

    edited: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    taken_out: frozenset[str] = frozenset()
    elements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_any(self) -> bool:
        """Whether anything was edited at all."""
        return bool(self.edited or self.added or self.removed or self.retired)


async def find_edits(world: World, mappings: Sequence[CompiledMapping]) -> dict[str, Edit]:
    """Compare the mappings with their fingerprints at the last finished run; without one nothing is edited."""
    found, store = {}, world.books.store
    prints = await _prints(world, mappings)
    for mapping in mappings:
        if (text := prints.get(PRINTS.format(name=mapping.name))) is not None:
            known = json.loads(text)
            old = known.get("families", {}).items() - _families(mapping).items()
            sent = await world.books.do(store.property_names) if old else set[str]()
            made = {name: _made(mapping, pattern, sent) for name, pattern in sorted(old)}
            found[mapping.name] = _edit(mapping, known, {name: names for name, names in made.items() if names})
    return found


async def _prints(world: World, mappings: Sequence[CompiledMapping]) -> dict[str, str]:
    """Return what the books say of mappings, by the names of the facts."""
    names = [PRINTS.format(name=mapping.name) for mapping in mappings]
    return await world.books.do(world.books.store.get_all, names)


def _families(mapping: CompiledMapping) -> dict[str, str]:
    """Return how each `one_property_per` names its properties."""
    properties = mapping.spec.properties.items()
    return {name: spec.one_property_per.name for name, spec in properties if spec.one_property_per is not None}


def _made(mapping: CompiledMapping, pattern: str, sent: Collection[str]) -> tuple[str, ...]:
    """Return what was sent and made by elements that were named so, and is made by nothing any more."""
    start, _, end = pattern.partition(KEY_MARK)
    fitting = (name for name in sent if name.startswith(start) and name.endswith(end))
    return tuple(sorted(name for name in fitting if not mapping.definition_of(name)))


def _edit(mapping: CompiledMapping, known: Mapping[str, Any], elements: Mapping[str, tuple[str, ...]]) -> Edit:
    before, now = known["prints"], mapping.fingerprints
    new = [name for name in now if name not in before and name != "@type"]  # older books do not have it
    removed = [name for name in before if name not in now]
    changed = [name for name in now if name in before and now[name] != before[name]]
    retired = [name for name in (*new, *changed) if name in mapping.retired]
    return Edit(
        edited=_words(name for name in changed if name not in retired),
        added=_words(name for name in new if name not in retired),
        removed=_words(removed),
        retired=tuple(retired),
        taken_out=frozenset({*known["removed"], *removed}.union(*elements.values()) - now.keys()),
        elements=elements,
    )


def _words(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(IN_WORDS.get(name, name.replace("@index:", INDEX)) for name in names)


def tell_edits(result: Result, edits: Mapping[str, Edit]) -> None:
    """Put the edits into the result; a property that was removed is named, with what can be done about it."""
    for mapping, edit in edits.items():
        if not edit.is_any:
            continue
        told = {"edited": edit.edited, "added": edit.added, "removed": edit.removed}
        result.edits[mapping] = {word: list(names) for word, names in told.items()}
        result.edits[mapping]["retired"] = dict.fromkeys(edit.retired, 0)
        if "case_type" in edit.edited:
            result.worse(
                RunState.COMPLETED,
                f"The case type of {mapping}.yaml was edited: all its cases get the new one. Apps and reports in "
                "CommCare that name the old one show them no more.",
            )
        for sentence in _told_removed(mapping, edit):
            result.worse(RunState.COMPLETED, sentence)


def _told_removed(mapping: str, edit: Edit) -> Iterator[str]:
    """Yield a sentence for each thing that was taken out; what `one_property_per` made is retired one by one."""
    for name in edit.removed:
        if name.startswith(INDEX):
            yield (
                f"{name} is no longer in {mapping}.yaml, and the cases that have this index keep it in CommCare: "
                "they go on belonging to that case as well."
            )
        elif name not in edit.elements:
            yield (
                f"{name} is no longer in {mapping}.yaml and stays in CommCare as it is; write "
                f"'{name}: {{retire: clear}}' there to empty it."
            )
    for name, made in edit.elements.items():
        yield (
            f"{name} in {mapping}.yaml was taken out, or names its properties otherwise; what it made stays in "
            f"CommCare as it is ({listed(made)}). To empty it, write '{made[0]}: {{retire: clear}}' there, and "
            "such a line for each."
        )


async def remember_prints(world: World, mappings: Sequence[CompiledMapping], edits: Mapping[str, Edit]) -> None:
    """Write down what the mappings are now, when a run of them is finished."""
    known, facts = await _prints(world, mappings), dict[str, str]()
    for mapping in mappings:
        taken_out = sorted(edits.get(mapping.name, Edit()).taken_out)
        now = {"prints": dict(mapping.fingerprints), "removed": taken_out, "families": _families(mapping)}
        facts[PRINTS.format(name=mapping.name)] = json.dumps(now, sort_keys=True)
    if differing := {name: fact for name, fact in facts.items() if fact != known.get(name)}:
        await world.books.do(world.books.store.put_all, differing)
