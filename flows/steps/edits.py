"""What was edited in the mappings since the last finished run: an edit is read for, whatever the intervals say.

What a run that was not finished may have sent counts as well, also when the text was put back since.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from flows.result import Result, RunState
from flows.words import listed
from flows.world import World
from mappings.engine import CompiledMapping
from mappings.engine.elements import KEY_MARK

PRINTS = "prints:{name}"
"""Fact in the books: what `Known` says of a mapping, as JSON."""
ALWAYS = ("prints", "families", "removed")
"""What the fact holds even where it is empty."""
INDEX = "indices."
IN_WORDS = {
    "@name": "case_name",
    "@type": "case_type",
    "@owner": "owner",
    "@key": "external_id",
    "@include": "include, exclude",
}


@dataclass(frozen=True)
class Known:
    """What the books know of a mapping's text.

    `prints` are the hashes at the last finished run, none before the first one; `families` how each
    `one_property_per` named its properties then. `removed` are properties that were taken out, `elements` what a
    pattern made that no `one_property_per` has any more. `tried` are the names, and `patterns` the families, by
    which a run differed that began to send since: where it was not finished, cases may have it so.
    """

    prints: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    removed: Sequence[str] = ()
    elements: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tried: Sequence[str] = ()
    patterns: Sequence[Sequence[str]] = ()

    @classmethod
    def read(cls, text: str | None) -> Known:
        """Read the fact; in older books names in `removed` may be those of elements."""
        return cls(**json.loads(text or "{}"))

    def as_text(self) -> str:
        """Return it as the fact holds it."""
        found = {name: what for name, what in asdict(self).items() if what or name in ALWAYS}
        return json.dumps(found, sort_keys=True)


@dataclass(frozen=True)
class Edit:
    """The names that were edited, added, removed or retired; `taken_out` are all that were ever removed.

    `elements`: by `one_property_per` that was taken out, or names its properties otherwise, what it made.
    `begun` is what the books are to know before anything is sent ("": they do), `finished` what they are to know
    when the run is finished.
    """

    edited: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    taken_out: frozenset[str] = frozenset()
    elements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    begun: str = ""
    finished: str = ""

    @property
    def is_any(self) -> bool:
        """Whether anything was edited at all."""
        return bool(self.edited or self.added or self.removed or self.retired)


async def find_edits(world: World, mappings: Sequence[CompiledMapping]) -> dict[str, Edit]:
    """Compare mappings with what the books know; before a first finished run they can only lack something."""
    found, store = {}, world.books.store
    texts = await _prints(world, mappings)
    for mapping in mappings:
        known = Known.read(texts.get(PRINTS.format(name=mapping.name)))
        families = {*known.families.items(), *((name, pattern) for name, pattern in known.patterns)}
        families -= _families(mapping).items()
        sent = await world.books.do(store.property_names) if families else set[str]()
        made = {one: names for one in sorted(families) if (names := _made(mapping, one[1], sent))}
        found[mapping.name] = _edit(mapping, known, made)
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


def _edit(mapping: CompiledMapping, known: Known, made: Mapping[tuple[str, str], tuple[str, ...]]) -> Edit:
    """Return what differs; `made`: by name and pattern of families that are no more, what they made."""
    before, now = known.prints, mapping.fingerprints
    differing = _differing(before, now)
    new = [name for name in differing if name in now and name not in before and before]
    removed = [name for name in dict.fromkeys((*before, *known.tried)) if name not in now]
    changed = [name for name in now if name in before and (name in differing or name in known.tried)]
    retired = [name for name in (*new, *changed) if name in mapping.retired]
    finished = _finished(mapping, known, removed, made)
    elements = dict[str, tuple[str, ...]]()
    for (name, _), names in made.items():
        elements[name] = (*elements.get(name, ()), *names)
    return Edit(
        edited=_words(name for name in changed if name not in retired),
        added=_words(name for name in new if name not in retired),
        removed=_words(removed),
        retired=tuple(retired),
        taken_out=frozenset(finished.removed).union(*finished.elements.values()),
        elements=elements,
        begun=_begun(mapping, known, differing),
        finished=finished.as_text(),
    )


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what is not as it was; older books do not have the case type."""
    names = dict.fromkeys((*now, *before))
    return [name for name in names if before.get(name) != now.get(name) and (name in before or name != "@type")]


def _begun(mapping: CompiledMapping, known: Known, differing: Collection[str]) -> str:
    """Return what the books are to know before a run sends anything, "" when that is nothing new."""
    tried = sorted({*known.tried, *differing})
    patterns = {*_families(mapping).items()} - {*known.families.items()}
    patterns |= {(name, pattern) for name, pattern in known.patterns}
    begun = replace(known, tried=tried, patterns=sorted(map(list, patterns))).as_text()
    return begun if begun != known.as_text() else ""


def _finished(
    mapping: CompiledMapping, known: Known, removed: Sequence[str], made: Mapping[tuple[str, str], tuple[str, ...]]
) -> Known:
    """Return what the books are to know when a run is finished.

    Elements whose pattern is there again are elements again, and vanish with their activity.
    """
    now, families = mapping.fingerprints, _families(mapping)
    elements = {pattern: {*names} for pattern, names in known.elements.items()}
    for (_, pattern), names in made.items():
        elements[pattern] = {*elements.get(pattern, ()), *names}
    kept = {pattern: sorted(names - now.keys()) for pattern, names in elements.items()}
    return Known(
        dict(now),
        families,
        sorted({*known.removed, *removed} - now.keys()),
        {pattern: names for pattern, names in kept.items() if names and pattern not in families.values()},
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


async def remember_begun(world: World, mappings: Sequence[CompiledMapping], edits: Mapping[str, Edit]) -> None:
    """Write down, before anything is sent, by what this run differs: it may be stopped, and the text put back."""
    begun = {PRINTS.format(name=mapping.name): edits[mapping.name].begun for mapping in mappings}
    if news := {name: fact for name, fact in begun.items() if fact}:
        await world.books.do(world.books.store.put_all, news)


async def remember_prints(world: World, mappings: Sequence[CompiledMapping], edits: Mapping[str, Edit]) -> None:
    """Write down what the mappings are now, when a run of them is finished."""
    known = await _prints(world, mappings)
    facts = {PRINTS.format(name=mapping.name): edits[mapping.name].finished for mapping in mappings}
    if differing := {name: fact for name, fact in facts.items() if fact != known.get(name)}:
        await world.books.do(world.books.store.put_all, differing)
