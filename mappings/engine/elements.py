"""`one_property_per`: a property for each element of a list, named by an id of the element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mappings.engine.draft import Context, ValueProblem
from mappings.engine.names import RESERVED, legal_name, made_legal
from mappings.engine.paths import Record, getter
from mappings.engine.spec import ElementsSpec, PropertySpec
from mappings.engine.steps import Surroundings, compile_chain
from mappings.engine.texts import ABSENT, Absent, Invalid, to_text
from mappings.engine.values import Evaluate, compile_property

KEY_MARK: Final = "{key}"

_REMEMBERED = 10_000  # names kept by a family


@dataclass(frozen=True)
class _Made:
    name: str
    element: str  # the element's own id, for messages
    text: str | Absent


class Family:
    """The properties that one `one_property_per` makes; `taken` are the mapping's other names."""

    def __init__(
        self, name: str, spec: PropertySpec, around: Surroundings, *, personal: bool, taken: frozenset[str]
    ) -> None:
        elements = spec.one_property_per
        if elements is None:
            raise ValueError("a family needs one_property_per")
        self.name = name
        self.prefix, _, self.suffix = elements.name.partition(KEY_MARK)
        self._taken = taken
        self._names: dict[str, str] = {}
        self._last: frozenset[str] | None = None
        self._elements = getter(elements.each)
        self._is_numbered = elements.key.source.rpartition(".")[2] == "id" and not elements.key.transform
        self._key = getter(elements.key.source)
        self._key_chain = compile_chain(elements.key.transform, around)
        self._evaluate: Evaluate = compile_property(name, _as_property(spec, elements), around, personal=personal)

    def owns(self, name: str) -> bool:
        """Say whether a property's name could be one of this family."""
        inside = len(name) > len(self.prefix) + len(self.suffix)
        return inside and name.startswith(self.prefix) and name.endswith(self.suffix)

    def makes(self, name: str) -> bool:
        """Say whether a name is surely one of this family: its elements go by number, and so does the name."""
        key = name[len(self.prefix) : len(name) - len(self.suffix)]
        return self._is_numbered and self.owns(name) and key.isascii() and key.isdigit()

    def fill(
        self, record: Record, context: Context, properties: dict[str, str], problems: list[ValueProblem]
    ) -> tuple[list[str], frozenset[str] | None]:
        """Add the family's properties to a draft; return their names, and those of all elements.

        The second is None when the list was not sent, or when not every element has a name.
        """
        made: dict[str, list[_Made]] = {}
        before = len(problems)
        for one in self._made(record, context, problems):
            made.setdefault(one.name, []).append(one)
        elements = self._elements(record)
        whole = elements is None or (  # None: sent, and empty
            isinstance(elements, list | tuple) and all(isinstance(element, dict) for element in elements)
        )
        nameless = any(problem.property == self.name for problem in problems[before:])
        listed = frozenset(made) if whole and not nameless else None
        added = []
        for name, ones in made.items():
            if len(ones) > 1 or name in properties or name in self._taken:
                detail = " and ".join(one.element for one in ones)
                problems.append(ValueProblem(name, "name_collision", detail))
            elif not isinstance(ones[0].text, Absent):
                properties[name] = ones[0].text
                added.append(name)
        if listed == self._last:  # most people of a course have the same list: kept once, not once a person
            listed = self._last
        self._last = listed
        return added, listed

    def _made(self, record: Record, context: Context, problems: list[ValueProblem]) -> Iterator[_Made]:
        elements = self._elements(record)
        if not isinstance(elements, list | tuple):
            return
        for element in elements:
            if not isinstance(element, dict):
                continue
            named = self._named(self._key(element), context, problems)
            if named is not None:
                name, own_id = named
                found: list[ValueProblem] = []
                text = self._evaluate(element, context, found)
                problems += [ValueProblem(name, problem.reason, problem.detail) for problem in found]
                yield _Made(name, own_id, text)

    def _named(self, key: object, context: Context, problems: list[ValueProblem]) -> tuple[str, str] | None:
        """Return an element's property name and own id, or None with a problem noted."""
        if key is ABSENT or key is None:
            problems.append(ValueProblem(self.name, "missing_element_key"))
            return None
        try:
            own_id = to_text(key)
            word = to_text(self._key_chain(key, context)) if self._key_chain else own_id
        except Invalid as invalid:
            problems.append(ValueProblem(self.name, invalid.reason, invalid.detail))
            return None
        name = self._names.get(word) or self._name(word)
        if not name:
            problems.append(ValueProblem(self.name, "illegal_name", own_id))
            return None
        return name, own_id

    def _name(self, word: str) -> str:
        """Return the property name that a key makes, or ""; remembered, since all people share the keys."""
        part = made_legal(word)
        name = f"{self.prefix}{part}{self.suffix}"
        if not part or not legal_name(name) or name in RESERVED:
            return ""
        if len(self._names) < _REMEMBERED:
            self._names[word] = name
        return name


def _as_property(spec: PropertySpec, elements: ElementsSpec) -> PropertySpec:
    """Return what each element's property does, as an ordinary property of the element."""
    changes = {"one_property_per": None, "source": elements.source, "transform": elements.transform}
    return spec.model_copy(update=changes)
