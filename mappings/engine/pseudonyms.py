"""A live record made anonymous and still alive: what tells a person is replaced, the form of each value stays.

Phones keep their country and length, e-mail addresses go to example.org, names come from a short list, free texts
and unknown codes keep only their shape. A code that a list of the project has, and a word that a condition
compares with, are the project's own words and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mappings.engine.catalogue import Catalogue, find_field
from mappings.engine.compile import CompiledMapping
from mappings.engine.coverage import tables_of
from mappings.engine.reads import value_paths
from mappings.engine.spec import ConditionSpec
from mappings.engine.texts import Invalid, to_text
from mappings.engine.yaml_text import Bare

FIRST_NAMES: Final = ("Amina", "Baraka", "Neema", "Joseph", "Zawadi", "Grace", "Musa", "Esther")
LAST_NAMES: Final = ("Abdi", "Mwangi", "Achieng", "Kamau", "Wanjiru", "Otieno", "Njoroge", "Chebet")
PLACE: Final = "Bondo"
FIRST_ID: Final = 1001
DAY: Final = 86_400
SOME_DAY: Final = 946_684_800  # the first of January 2000
MOST_ELEMENTS: Final = 3  # of a list that go into a test

_KEPT: Final = frozenset(("roles", "status", "item.type", "item.module", "lang", "country", "auth", "timezone"))
_DATE: Final = re.compile(
    r"(?P<year>(?:19|20)\d\d)(?P<mark>[-/.])\d\d?(?P=mark)\d\d?|\d\d?(?P<between>[-/.])\d\d?(?P=between)(?:19|20)\d\d"
)
_NAMES: Final = {"firstname": 0, "lastname": 1, "fullname": 2}


@dataclass
class Pseudonyms:
    """Replaces the values of one record; ids are replaced the same way wherever they come up.

    `number` tells this record's person from those of other tests in the file.
    """

    mapping: CompiledMapping
    catalogue: Catalogue
    number: int = 0
    _ids: dict[tuple[str, int], int] = field(default_factory=dict)
    _words: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._words = known_words(self.mapping)

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a record that the mapping reads, as a test writes them, nobody's any more."""
        reads = {path.partition("[]")[0] if "[]." not in path else path for path in self.mapping.reads}
        return self._block(record, "", reads)

    def _block(self, block: Mapping[str, Any], prefix: str, reads: set[str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in block.items():
            path = f"{prefix}{name}"
            below = any(each.startswith(f"{path}.") for each in reads)
            if isinstance(value, Mapping) and below:
                made[name] = self._block(value, f"{path}.", reads)
            elif isinstance(value, list) and any(each.startswith(f"{path}[].") for each in reads):
                elements = [each for each in value if isinstance(each, Mapping)][:MOST_ELEMENTS]
                made[name] = [self._block(each, f"{path}[].", reads) for each in elements]
            elif path in reads:
                made[name] = self._value(path, value)
        return made

    def _value(self, path: str, value: Any) -> Any:
        found = find_field(self.catalogue, self.mapping.source, path)
        kind = found.type if found is not None else "text"
        if value is None or value == "":
            return ""
        if isinstance(value, list | tuple):
            return [self._entry(path, str(entry), at) for at, entry in enumerate(value)]
        if kind == "flag" or isinstance(value, bool):
            return Bare("true" if value else "false")
        if kind == "number":
            return self._number(path, value)
        if kind == "time":
            return Bare(int(value) // DAY * DAY)
        if isinstance(value, int) and "profile." in path:
            return Bare(SOME_DAY)  # a date of a custom field may be a birthday
        return self._text(path, _text(value), personal=found is None or found.personal)

    def _number(self, path: str, value: Any) -> Bare:
        """Replace an id; a grade or a count tells nobody."""
        name = path.rpartition(".")[2]
        is_known = _text(value) in self._words.get(path, ())
        if isinstance(value, int) and name.endswith(("id", "cmid")) and not is_known:
            thing = path.removeprefix("items[].")
            return Bare(self._ids.setdefault((thing, value), FIRST_ID + self.number * 100 + len(self._ids)))
        return Bare(_text(round(value, 6) if isinstance(value, float) else value))

    def _entry(self, path: str, text: str, at: int) -> str:
        if path in _KEPT or text.strip() in self._words.get(path, ()):
            return text
        if path == "teachers":
            return f"teacher.{_letters(at)}".lower()
        return f"Group {_letters(at)}" if path == "groups" else shaped(text)

    def _text(self, path: str, text: str, *, personal: bool) -> str:
        name = path.rpartition(".")[2]
        if path in _KEPT or name in ("lang", "country") or text.strip() in self._words.get(path, ()):
            return text
        if name in _NAMES and personal:
            return _like(text, self._name(_NAMES[name]))
        if name in ("username", "email"):
            login = f"{self._name(0)}.{self._name(1)}".lower()
            return _like(text, f"{login}@example.org" if "@" in text else login)
        if name in ("phone1", "phone2") or _is_phone(text):
            return phone_like(text)
        if _DATE.fullmatch(text.strip()):
            return _DATE.sub(_some_date, text)
        if name == "city":
            return _like(text, PLACE)
        is_custom = "profile." in path
        return shaped(text) if personal or is_custom or name in ("department", "institution") else text

    def _name(self, part: int) -> str:
        first, last = (names[self.number % len(names)] for names in (FIRST_NAMES, LAST_NAMES))
        return (first, last, f"{first} {last}")[part]


def known_words(mapping: CompiledMapping) -> dict[str, frozenset[str]]:
    """Return by path the words that stay: codes of the lists a field goes through, and what conditions name."""
    words: dict[str, set[str]] = {}
    spec, around = mapping.spec, mapping.around
    for name, found in spec.properties.items():
        paths = value_paths(found)
        if found.one_property_per is not None:
            paths = [*paths, f"{found.one_property_per.each}[].{found.one_property_per.key.source}"]
        for table, kind in tables_of(mapping, name).items():
            for path in paths:
                words.setdefault(path, set()).update(around.tables(kind)[table].values)
    for rule in spec.owner.first_of:
        if rule.lookup:
            words.setdefault(rule.source, set()).update(around.lookups[rule.lookup].values)
    for condition in _conditions(mapping):
        compared = [condition.is_, condition.is_not, *(condition.any_of or ()), *(condition.none_of or ())]
        words.setdefault(condition.source, set()).update(word.strip() for word in compared if word)
    return {path: frozenset(found) for path, found in words.items()}


def _conditions(mapping: CompiledMapping) -> Iterator[ConditionSpec]:
    yield from (*mapping.spec.include, *mapping.spec.exclude)
    for found in mapping.spec.properties.values():
        yield from (condition for case in found.cases or () for condition in case.when)


def phone_like(text: str) -> str:
    """Return a made-up number of the same country, kind and length: its first digits stay, the others are counted.

    With a country code five digits stay, without one three: what tells the network, and nobody in it.
    """
    digits = sum(letter.isdigit() for letter in text)
    kept = 5 if text.strip().startswith(("+", "00")) else 3
    kept = min(kept + 2 * text.strip().startswith("00"), digits // 2)
    made, seen = [], 0
    for letter in text:
        if not letter.isdigit():
            made.append(letter)
            continue
        seen += 1
        made.append(letter if seen <= kept else "0" if seen < digits - 2 else str(seen - (digits - 3)))
    return "".join(made)


def shaped(text: str) -> str:
    """Return a text of the same shape: other letters of the same case, other digits, all else as it is."""
    return "".join(_other(letter, at) for at, letter in enumerate(text))


def _other(letter: str, at: int) -> str:
    if letter.isdigit():
        return str((at + 1) % 10)
    if not letter.isalpha():
        return letter
    return chr(ord("A" if letter.isupper() else "a") + at % 26)


def _like(text: str, made: str) -> str:
    """Return a made-up word written as the text is: blanks around it, all capitals, all small."""
    inner = text.strip()
    made = made.upper() if inner.isupper() and len(inner) > 1 else made.lower() if inner.islower() else made
    start = text[: len(text) - len(text.lstrip())]
    end = text[len(text.rstrip()) :]
    return f"{start}{made}{end}" if inner else text


def _is_phone(text: str) -> bool:
    return bool(re.fullmatch(r"\s*(\+|0)[\d\s()./-]{7,20}", text)) and not _DATE.fullmatch(text.strip())


def _some_date(found: re.Match[str]) -> str:
    """Return the first of January 2000, written as the date that was found."""
    if found["year"]:
        return f"2000{found['mark']}01{found['mark']}01"
    return f"01{found['between']}01{found['between']}2000"


def _letters(at: int) -> str:
    return chr(ord("A") + at % 26)


def _text(value: object) -> str:
    try:
        return to_text(value)
    except Invalid:
        return ""
