"""A checked mapping as closures: a record in, a draft out, nothing looked up by name any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from mappings.engine.conditions import all_of, any_of, not_sent
from mappings.engine.draft import (
    NAME_LIMIT,
    Context,
    Departure,
    Draft,
    Excluded,
    HeldBack,
    IndexReference,
    ValueProblem,
)
from mappings.engine.elements import Family
from mappings.engine.fingerprint import fingerprints
from mappings.engine.odd_texts import is_table
from mappings.engine.owners import Own, compile_owner
from mappings.engine.paths import Record
from mappings.engine.reads import excluded, included, reads, value_paths
from mappings.engine.spec import DepartureSpec, MappingSpec, PropertySpec
from mappings.engine.steps import Step, Surroundings, listed_values, plain_steps
from mappings.engine.templates import Render, compile_template, ids_in, is_key_of, key_form, template_paths
from mappings.engine.texts import ABSENT, Absent, Invalid
from mappings.engine.values import Evaluate, Rejected, compile_property
from mappings.engine.words import in_language


class IndexRule(NamedTuple):
    """A parent of a mapping's cases; `mapping` is the file that makes them."""

    name: str
    case_type: str
    relationship: str
    when_parent_unknown: str
    mapping: str


@dataclass(frozen=True)
class PropertyNote:
    """What a property says about itself for people and for CommCare's data dictionary.

    `values` are the texts it can have when the mapping lists them itself (a code list, `cases`, `value`), else ();
    for a multi-select they are the single choices. Words are by language, "" being the one of the mapping.
    """

    descriptions: Mapping[str, str]
    labels: Mapping[str, str]
    group: str
    data_type: str
    values: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Return the description in the mapping's own language."""
        return in_language(self.descriptions)

    @property
    def label(self) -> str:
        """Return the label in the mapping's own language."""
        return in_language(self.labels)

    def description_in(self, language: str) -> str:
        """Return the description in a language, else in the mapping's own, else in English or any; "" for none."""
        return in_language(self.descriptions, language)

    def label_in(self, language: str) -> str:
        """Return the label in a language, found as descriptions are."""
        return in_language(self.labels, language)


@dataclass(frozen=True)
class _Parts:
    """The closures of a mapping."""

    key: Render
    name: Render
    owner: Own
    properties: tuple[Planned, ...]
    families: tuple[Family, ...]
    indices: tuple[tuple[IndexRule, Render], ...]
    once: frozenset[str]
    ignored: frozenset[str]
    excluded_by: Callable[[Record], tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class CompiledMapping:
    """One mapping, ready to use.

    `level` is 0 without parents, else one more than the highest parent's; `reads` are catalogue paths;
    `included` and `excluded` are the words that they ask for, by path ({"roles": {"student"}});
    `when_left`, `when_excluded` and `when_course_ends` are None when not given; `personal` holds names under
    `properties` (ask `is_personal` about a draft's names); `fingerprints` also has "@name", "@type", "@owner",
    "@key", "@include" and "@index:<name>"; `retired` are properties that no draft holds and whose value in
    CommCare is to be emptied; `spec` and `around` are what it was made of, for tools that explain it.
    """

    name: str
    case_type: str
    source: str
    description: str
    level: int
    reads: frozenset[str]
    included: Mapping[str, frozenset[str]]
    excluded: Mapping[str, frozenset[str]]
    parents: tuple[IndexRule, ...]
    when_left: Departure | None
    when_excluded: Departure | None
    when_course_ends: Departure | None
    existing_cases: str
    recheck_daily: bool
    personal: frozenset[str]
    name_is_personal: bool
    retired: frozenset[str]
    notes: Mapping[str, PropertyNote]
    fingerprints: Mapping[str, str]
    spec: MappingSpec = field(repr=False, compare=False)
    around: Surroundings = field(repr=False, compare=False)
    _parts: _Parts = field(repr=False, compare=False)

    @property
    def is_table(self) -> bool:
        """Whether it makes rows of a lookup table in the place of cases; `case_type` is the table's ID then."""
        return is_table(f"{self.name}.yaml")

    def draft(self, record: Mapping[str, Any], context: Context) -> Draft | Excluded | HeldBack:
        """Return what this mapping makes of one record; never raises for what a record holds."""
        parts = self._parts
        held: list[ValueProblem] = []
        problems: list[ValueProblem] = []
        key = _filled(parts.key, record, context, "@key", held)
        reason, unknown = parts.excluded_by(record)
        if reason:
            return Excluded(key, reason)
        if unknown:
            held[:0] = [ValueProblem("@include", "not_sent", path) for path in unknown]
        name = _filled(parts.name, record, context, "@name", held)
        indices = tuple(_references(parts.indices, record, context, held)) if parts.indices else ()
        properties = _evaluate(parts.properties, record, context, (problems, held))
        once, ignored = parts.once, parts.ignored
        listed: dict[str, frozenset[str]] = {}
        if parts.families:
            once, ignored, listed = self._fill(record, context, properties, (problems, held))
        owner = parts.owner(record, problems)
        if held:
            return HeldBack(key, (*held, *problems))
        told = tuple(problems or ())
        return Draft(self.case_type, key, name, owner, properties, once, ignored, indices, told, listed)

    def key_of(self, record: Mapping[str, Any], context: Context) -> str:
        """Return the key of a record alone, "" when none can be made."""
        return _filled(self._parts.key, record, context, "@key", [])

    def makes_key(self, key: str, site: str) -> bool:
        """Say whether a key has the form of those that this mapping makes on a site, and is not another site's."""
        return key_form(self.spec.external_id, site).fullmatch(key) is not None

    def makes_on(self, site: str) -> Callable[[int, str, int], bool]:
        """Return what says of a course, a key and a person whether this mapping makes that key of them."""
        return partial(is_key_of, self.spec.external_id, site, "id" if self.source == "users" else "user.id")

    def person_of(self, key: str, site: str) -> int | None:
        """Return whose key this is (Moodle's number), 0 for nobody's, None for one that is not ours."""
        ids = ids_in(self.spec.external_id, site, key)
        return None if ids is None else ids.get("id" if self.source == "users" else "user.id", 0)

    def excludes(self, record: Mapping[str, Any]) -> bool:
        """Say whether `include` and `exclude` alone keep a record out, without making anything of it."""
        return bool(self._parts.excluded_by(record)[0])

    def description_in(self, language: str) -> str:
        """Return the description in a language, else in the mapping's own, else in English or any; "" for none."""
        return in_language(self.spec.description, language)

    def definition_of(self, name: str) -> str:
        """Return the key under `properties` that makes a draft's property: "grades" for "grade_55"; "" if none."""
        if name in self.notes and not any(family.name == name for family in self._parts.families):
            return name
        return next((family.name for family in self._parts.families if family.owns(name)), "")

    @property
    def has_elements(self) -> bool:
        """Whether it makes properties of the elements of lists."""
        return bool(self._parts.families)

    def makes(self, name: str) -> bool:
        """Say whether a property is surely made of an element of a list: "grade_55", and not "grade_level"."""
        return any(family.makes(name) for family in self._parts.families)

    def is_personal(self, name: str) -> bool:
        """Say whether a draft's property holds personal data."""
        return self.definition_of(name) in self.personal

    def _fill(
        self,
        record: Record,
        context: Context,
        properties: dict[str, str],
        troubles: tuple[list[ValueProblem], list[ValueProblem]],
    ) -> tuple[frozenset[str], frozenset[str], dict[str, frozenset[str]]]:
        """Add the families' properties.

        Returns the names sent once, those that alone are no reason to send, and what each whole list stands for.
        """
        once, ignored = self._parts.once, self._parts.ignored
        listed: dict[str, frozenset[str]] = {}
        for family in self._parts.families:
            try:
                added, names = family.fill(record, context, properties, troubles[0])
            except Rejected as rejected:
                troubles[1].append(rejected.problem)
                continue
            listed |= {} if names is None else {family.name: names}
            once = once.union(added) if family.name in once else once
            ignored = ignored.union(added) if family.name in ignored else ignored
        return once, ignored, listed


def _filled(render: Render, record: Record, context: Context, part: str, held: list[ValueProblem]) -> str:
    """Return a key or name, or "" with the reason noted."""
    try:
        text = render(record, context)
    except Invalid as invalid:
        text, reason = None, invalid.reason
    else:
        if isinstance(text, str) and len(text) <= NAME_LIMIT:
            return text
        reason = "too_long" if isinstance(text, str) else "blank" if text is None else "not_sent"
    held.append(ValueProblem(part, reason))
    return ""


class Planned(NamedTuple):
    """A property of the mapping; `steps` are for a value of just this `kind` in the record's own `field`."""

    name: str
    field: str
    kind: type[Any]
    keeps_blanks: bool  # white space alone would come through the steps
    steps: Sequence[Step]
    evaluate: Evaluate


def _planned(name: str, spec: PropertySpec, around: Surroundings, *, personal: bool) -> Planned:
    plain = plain_steps(spec.transform, around)
    evaluate = compile_property(name, spec, around, personal=personal)
    field_name = spec.source or (spec.first_of[0] if spec.first_of else "")  # a text in the first one is the value
    if plain is None or not field_name or "." in field_name:
        return Planned(name, "", Absent, False, (), evaluate)
    keeps_blanks = plain.kind is str and plain.steps[:1] != [str.strip]
    return Planned(name, field_name, plain.kind, keeps_blanks, plain.steps, evaluate)


def _evaluate(
    plan: tuple[Planned, ...],
    record: Record,
    context: Context,
    troubles: tuple[list[ValueProblem], list[ValueProblem]],
) -> dict[str, str]:
    """Return the properties: plain ones, which are most, are made here to save calls, others by `evaluate`."""
    properties: dict[str, str] = {}
    problems, held = troubles
    for name, field_name, kind, keeps_blanks, steps, evaluate in plan:
        value: Any = record.get(field_name)
        try:
            if value.__class__ is kind and value and not (keeps_blanks and value.isspace()):
                for step in steps:
                    value = step(value)
                    if not value or value.__class__ is not str:
                        break
                if value.__class__ is str and value and value.isprintable():
                    properties[name] = value
                    continue
        except Invalid:  # told by `evaluate`, which knows what to do about it
            pass
        try:
            text = evaluate(record, context, problems)
        except Rejected as rejected:
            held.append(rejected.problem)
            continue
        if text is not ABSENT:
            properties[name] = text
    return properties


def _references(
    plan: tuple[tuple[IndexRule, Render], ...], record: Record, context: Context, held: list[ValueProblem]
) -> Iterator[IndexReference]:
    for rule, render in plan:
        found: list[ValueProblem] = []
        key = _filled(render, record, context, f"@index:{rule.name}", found)
        if key:
            yield IndexReference(rule.name, rule.case_type, key, rule.relationship, rule.when_parent_unknown)
        elif rule.when_parent_unknown != "skip":
            held += found


class Place(NamedTuple):
    """Where a mapping stands among the others: its parents and its level."""

    level: int
    parents: tuple[IndexRule, ...]


def compile_mapping(
    name: str, spec: MappingSpec, around: Surroundings, place: Place, personal: Callable[[str], bool]
) -> CompiledMapping:
    """Return a checked mapping as closures; `personal` says of a path of its source whether it is personal."""
    private = {key: _is_personal(found, personal) for key, found in spec.properties.items()}
    return CompiledMapping(
        name=name,
        case_type=spec.case_type,
        source=spec.source,
        description=in_language(spec.description),
        level=place.level,
        reads=frozenset(reads(spec)),
        included=included(spec),
        excluded=excluded(spec),
        parents=place.parents,
        when_left=_departure(spec.when_left),
        when_excluded=_departure(spec.when_excluded),
        when_course_ends=_departure(spec.when_course_ends),
        existing_cases=spec.existing_cases,
        recheck_daily=spec.recheck_daily,
        personal=frozenset(key for key, is_private in private.items() if is_private),
        name_is_personal=any(personal(path) for path in template_paths(spec.case_name)),
        retired=frozenset(key for key, found in spec.properties.items() if found.retire is not None),
        notes={key: _note(found, around) for key, found in spec.properties.items()},
        fingerprints=fingerprints(spec, around),
        spec=spec,
        around=around,
        _parts=_parts(spec, around, place, (personal, private)),
    )


def _parts(
    spec: MappingSpec,
    around: Surroundings,
    place: Place,
    privacy: tuple[Callable[[str], bool], Mapping[str, bool]],
) -> _Parts:
    personal, private = privacy
    sent = {key: found for key, found in spec.properties.items() if found.retire is None}
    single = {key: found for key, found in sent.items() if found.one_property_per is None}
    taken = frozenset(spec.properties) - (sent.keys() - single.keys())
    return _Parts(
        key=compile_template(spec.external_id),
        name=compile_template(spec.case_name),
        owner=compile_owner(spec.owner, around, personal),
        properties=tuple(_planned(key, found, around, personal=private[key]) for key, found in single.items()),
        families=tuple(
            Family(key, found, around, personal=private[key], taken=taken)
            for key, found in sent.items()
            if key not in single
        ),
        indices=tuple((rule, compile_template(spec.indices[rule.name].external_id)) for rule in place.parents),
        once=frozenset(key for key, found in spec.properties.items() if found.write == "once"),
        ignored=frozenset(spec.ignore_changes),
        excluded_by=_excluded_by(spec),
    )


def _excluded_by(spec: MappingSpec) -> Callable[[Record], tuple[str, Sequence[str]]]:
    """Return a function giving the word that keeps a record out, and the fields it would need to be sure."""
    include, exclude = all_of(spec.include), any_of(spec.exclude)

    def excluded_by(record: Record) -> tuple[str, Sequence[str]]:
        included, excluded = include(record), exclude(record)
        if included and excluded is False:
            return "", ()
        if included is False:
            return "include", ()
        return ("exclude", ()) if excluded else ("", not_sent([*spec.include, *spec.exclude], record))

    return excluded_by


def _departure(spec: DepartureSpec | None) -> Departure | None:
    return Departure(dict(spec.set), spec.park, spec.close) if spec is not None else None


def _note(spec: PropertySpec, around: Surroundings) -> PropertyNote:
    return PropertyNote(
        spec.description, spec.label, spec.group, spec.data_type or "", listed_values(spec, around)
    )


def _is_personal(spec: PropertySpec, personal: Callable[[str], bool]) -> bool:
    return any(personal(path) for path in value_paths(spec)) if spec.personal is None else spec.personal
