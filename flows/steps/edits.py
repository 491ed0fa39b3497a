"""What was edited in the mappings since the last finished run: an edit is read for, whatever the intervals say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flows.result import Result, RunState
from flows.world import World
from mappings.engine import CompiledMapping

PRINTS = "prints:{name}"  # fact in the books: {"prints": {name: hash}, "removed": [names]}
IN_WORDS = {
    "@name": "case_name",
    "@type": "case_type",
    "@owner": "owner",
    "@key": "external_id",
    "@include": "include, exclude",
}


@dataclass(frozen=True)
class Edit:
    """The names that were edited, added, removed or retired; `taken_out` are all that were ever removed."""

    edited: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    taken_out: frozenset[str] = frozenset()

    @property
    def is_any(self) -> bool:
        """Whether anything was edited at all."""
        return bool(self.edited or self.added or self.removed or self.retired)


async def find_edits(world: World, mappings: Iterable[CompiledMapping]) -> dict[str, Edit]:
    """Compare the mappings with their fingerprints at the last finished run; without one nothing is edited."""
    found = {}
    for mapping in mappings:
        text = await world.books.do(world.books.store.get, PRINTS.format(name=mapping.name))
        if text is not None:
            known = json.loads(text)
            found[mapping.name] = _edit(mapping, known["prints"], known["removed"])
    return found


def _edit(mapping: CompiledMapping, before: Mapping[str, str], taken_out: Iterable[str]) -> Edit:
    now = mapping.fingerprints
    new = [name for name in now if name not in before and name != "@type"]  # older books do not have it
    removed = [name for name in before if name not in now]
    changed = [name for name in now if name in before and now[name] != before[name]]
    retired = [name for name in (*new, *changed) if name in mapping.retired]
    return Edit(
        edited=_words(name for name in changed if name not in retired),
        added=_words(name for name in new if name not in retired),
        removed=_words(removed),
        retired=tuple(retired),
        taken_out=frozenset({*taken_out, *removed} - now.keys()),
    )


def _words(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(IN_WORDS.get(name, name.replace("@index:", "indices.")) for name in names)


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
        for name in edit.removed:
            if not name.startswith("indices."):
                result.worse(
                    RunState.COMPLETED,
                    f"{name} is no longer in {mapping}.yaml and stays in CommCare as it is; write "
                    f"'{name}: {{retire: clear}}' there to empty it.",
                )


async def remember_prints(world: World, mappings: Iterable[CompiledMapping], edits: Mapping[str, Edit]) -> None:
    """Write down what the mappings are now, when a run of them is finished."""
    store = world.books.store
    for mapping in mappings:
        taken_out = sorted(edits.get(mapping.name, Edit()).taken_out)
        fact = json.dumps({"prints": dict(mapping.fingerprints), "removed": taken_out}, sort_keys=True)
        if fact != await world.books.do(store.get, PRINTS.format(name=mapping.name)):
            await world.books.do(store.put, PRINTS.format(name=mapping.name), fact)
