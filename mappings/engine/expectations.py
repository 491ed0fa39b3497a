"""Bringing the `expect` of inline tests up to date: what differs is replaced where it stands, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mappings.engine.compile import CompiledMapping
from mappings.engine.draft import Draft, Excluded, HeldBack
from mappings.engine.examples import Examples, owner_text
from mappings.engine.reading import Loc
from mappings.engine.spec import ExpectSpec, TestSpec
from mappings.engine.yaml_text import Edit, Span, block, edited, flow, scalar, spans

Outcome = Draft | Excluded | HeldBack


@dataclass(frozen=True)
class Change:
    """One expectation that is brought up to date: of which test, and its text before and after.

    For a whole block, `gone` and `come` are the parts that it looks at no more, or now, and `differ` those of
    which it expects something else.
    """

    test: str
    what: str
    old: str
    new: str
    personal: bool
    edit: Edit
    gone: tuple[str, ...] = ()
    come: tuple[str, ...] = ()
    differ: tuple[str, ...] = ()


def changes(text: str, examples: Examples, tests: tuple[TestSpec, ...]) -> list[Change]:
    """Return what has to be written into a mapping file's text for its tests to pass; none of it is written."""
    places = spans(text)
    found: list[Change] = []
    for number, made in examples.made.items():
        found += _Test(text, places, examples, (tests[number], number)).changes(made)
    return found


def updated(text: str, found: list[Change]) -> str:
    """Return the text with all changes made."""
    return edited(text, [change.edit for change in found])


class _Test:
    """One test whose expectations are looked at."""

    def __init__(
        self, text: str, places: Mapping[Loc, Span], examples: Examples, test: tuple[TestSpec, int]
    ) -> None:
        self._text = text
        self._places = places
        self._mapping = examples.mapping
        self._site = examples.site
        self._test = test[0]
        self._loc: Loc = ("tests", test[1], "expect")

    def changes(self, made: Outcome) -> Iterator[Change]:
        """Yield the changes; the whole block when another kind of outcome is expected or keys come and go."""
        expect = self._test.expect
        if isinstance(made, Draft) and not (expect.excluded or expect.held_back):
            if self._keys_stay(made):
                yield from self._values(made)
                return
            yield self._whole(_same_keys(expect, made, self._site, self._mapping))
        elif isinstance(made, Draft):
            yield self._whole(full_expectation(made, self._site, self._mapping))
        elif not (expect.excluded if isinstance(made, Excluded) else expect.held_back):
            yield self._whole({"excluded" if isinstance(made, Excluded) else "held_back": True})

    def _keys_stay(self, made: Draft) -> bool:
        expect = self._test.expect
        indices = {index.name for index in made.indices}
        return (
            made.properties.keys() >= expect.properties.keys()
            and not made.properties.keys() & set(expect.not_sent)
            and all(_is_tried(name, self._mapping) for name in expect.not_sent)
            and indices >= expect.indices.keys()
        )

    def _values(self, made: Draft) -> Iterator[Change]:
        expect = self._test.expect
        keys = {index.name: index.key for index in made.indices}
        wanted: list[tuple[Loc, str | None, str, bool]] = [
            (("external_id",), expect.external_id, made.key, False),
            (("case_name",), expect.case_name, made.name, True),
            (("owner",), expect.owner, owner_text(made.owner), False),
        ]
        wanted += [(("indices", name), key, keys[name], False) for name, key in expect.indices.items()]
        for name, text in expect.properties.items():
            wanted.append((("properties", name), text, made.properties[name], self._mapping.is_personal(name)))
        for at, old, new, personal in wanted:
            if old is not None and old.replace("{site}", self._site) != new:
                yield self._value(at, old, _with_site(new, self._site) if "{site}" in old else new, personal)

    def _value(self, at: Loc, old: str, new: str, personal: bool) -> Change:
        span = self._places[(*self._loc, *at)]
        text = scalar(new, self._text[span.start : span.end])
        return Change(self._test.name, str(at[-1]), old, new, personal, Edit(span, text))

    def _whole(self, expect: Mapping[str, Any]) -> Change:
        span = self._places[self._loc]
        indent = span.start - (self._text.rfind("\n", 0, span.start) + 1)
        text = flow(expect) if span.is_flow else "\n".join(block(expect, indent)).lstrip()
        before = self._text[span.start : span.end]
        old, new = _parts(self._test.expect.model_dump(exclude_defaults=True)), _parts(expect)
        gone, come = (tuple(part for part in one if part not in other) for one, other in ((old, new), (new, old)))
        differ = tuple(part for part in old if part in new and old[part] != new[part])
        return Change(self._test.name, "expect", before, text, True, Edit(span, text), gone, come, differ)


def _parts(expect: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an expectation looks at, by a name for each."""
    lists = ("indices", "properties", "not_sent")
    parts = {name: value for name, value in expect.items() if name not in lists}
    parts |= {**expect.get("indices", {}), **expect.get("properties", {})}
    return parts | {f"{name} not sent": True for name in expect.get("not_sent", ())}


def full_expectation(made: Draft, site: str, mapping: CompiledMapping) -> dict[str, Any]:
    """Return all that a test can look at of a case, or of a row of a lookup table."""
    expect: dict[str, Any] = {"external_id": _with_site(made.key, site)}
    if mapping.is_table:
        return expect | {"properties": dict(made.properties)}
    expect["case_name"] = made.name
    if owner := owner_text(made.owner):
        expect["owner"] = owner
    if made.indices:
        expect["indices"] = {index.name: _with_site(index.key, site) for index in made.indices}
    return expect | {"properties": dict(made.properties)}


def _same_keys(expect: ExpectSpec, made: Draft, site: str, mapping: CompiledMapping) -> dict[str, Any]:
    """Return the outcome in the keys that the test looks at; a property that comes or goes changes its list."""
    full = full_expectation(made, site, mapping)
    kept = {
        name: full[name] for name in ("external_id", "case_name", "owner") if getattr(expect, name) is not None
    }
    if indices := {name: key for name, key in full.get("indices", {}).items() if name in expect.indices}:
        kept["indices"] = indices
    names = [name for name in [*expect.properties, *expect.not_sent] if name in made.properties]
    if names:
        kept["properties"] = {name: made.properties[name] for name in names}
    gone = [name for name in expect.properties if name not in made.properties and mapping.definition_of(name)]
    gone += [name for name in expect.not_sent if name not in made.properties and _is_tried(name, mapping)]
    return kept | ({"not_sent": gone} if gone else {})


def _is_tried(name: str, mapping: CompiledMapping) -> bool:
    """Say whether `not_sent` tries anything with a name: what the mapping no longer knows cannot be tested."""
    return name in mapping.notes or bool(mapping.definition_of(name))


def _with_site(key: str, site: str) -> str:
    """Return a key as a test writes it, with the site's short name left open."""
    return "{site}" + key.removeprefix(site) if site and key.startswith(f"{site}-") else key
