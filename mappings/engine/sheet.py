"""The specification sheet: what a mapping does, as rows that a client can read and a programmer can hold us to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mappings.engine.catalogue import Catalogue, find_field
from mappings.engine.codes import CodeTable
from mappings.engine.compile import CompiledMapping
from mappings.engine.draft import Departure
from mappings.engine.phrases import Phrases
from mappings.engine.project import Project
from mappings.engine.sheet_owner import owner_words, reference_words
from mappings.engine.sheet_property import PropertyWords, plain_template
from mappings.engine.sheet_values import condition_words
from mappings.engine.spec import StepSpec
from mappings.engine.steps import table_name

ROWS_SHOWN = 25
"""Rows of a lookup table that are worth a reader's time; the rest stands in its file."""


@dataclass(frozen=True)
class Table:
    """Rows of text under headings."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One mapping or lookup table: `facts` are pairs of a heading and a text; `marks` are words behind its name.

    `note` is "" unless it is switched off.
    """

    name: str
    case_type: str
    description: str
    note: str
    facts: tuple[tuple[str, str], ...]
    properties: Table
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Specification:
    """All that a client gets to read about a project, in one language."""

    phrases: Phrases
    title: str
    intro: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    tables: tuple[Table, ...]


def specification(project: Project, catalogue: Catalogue, phrases: Phrases) -> Specification:
    """Return the specification sheet of a project; lookup tables stand behind the mappings, what is off last."""
    off = (*project.switched_off, *project.tables_off)
    sections = [_section(one, project, catalogue, phrases, off=one in off) for one in project.everything]
    about_tables = [phrases.say("tables_note")] if project.tables or project.tables_off else []
    return Specification(
        phrases=phrases,
        title=phrases.say("title", site=project.site),
        intro=" ".join([phrases.say("intro"), *about_tables, phrases.say("not_sent_note")]),
        facts=tuple(_project_facts(project, phrases)),
        sections=tuple(sections),
        tables=(*_tables(project, phrases), _fields(project, catalogue, phrases)),
    )


def _project_facts(project: Project, phrases: Phrases) -> Iterator[tuple[str, str]]:
    yield phrases.say("courses"), _courses(project, phrases)
    yield phrases.say("time_zone"), str(project.time_zone)
    yield phrases.say("country"), project.country


def _courses(project: Project, phrases: Phrases) -> str:
    chosen, added, narrowed = project.courses, list[str](), list[str]()
    if chosen.ids:
        added.append(phrases.say("courses_ids", list=", ".join(map(str, chosen.ids))))
    if chosen.categories:
        added.append(phrases.say("courses_categories", list=", ".join(map(str, chosen.categories))))
    if chosen.shortname_like:
        added.append(phrases.say("courses_shortname", pattern=chosen.shortname_like))
    if chosen.custom_field:
        field, value = chosen.custom_field
        narrowed.append(phrases.say("courses_field", field=field, value=value))
    if chosen.only_running:
        narrowed.append(phrases.say("courses_running"))
    named = [phrases.any_of(added)] if added else []
    return "; ".join((*named, *narrowed)) or phrases.say("courses_none")


def _section(
    mapping: CompiledMapping, project: Project, catalogue: Catalogue, phrases: Phrases, *, off: bool = False
) -> Section:
    words = PropertyWords(mapping, catalogue, phrases)
    first = "table_field" if mapping.is_table else "property"
    names = (first, "label", "from_moodle", "changed", "nothing", "personal")
    headings = tuple(phrases.say(name) for name in names)
    rows = tuple(words.row(name) for name in mapping.spec.properties)
    facts = _facts(mapping, project, catalogue, phrases)
    if mapping.is_table:
        facts = _row_facts(mapping, catalogue, phrases)
    marks = (("lookup_table", mapping.is_table), ("off", off))
    return Section(
        name=mapping.name,
        case_type=mapping.case_type,
        description=mapping.description_in(phrases.language),
        note=phrases.say("off_note") if off else "",
        facts=tuple(facts),
        properties=Table(mapping.name, headings, rows),
        marks=tuple(phrases.say(word) for word, holds in marks if holds),
    )


def _facts(
    mapping: CompiledMapping, project: Project, catalogue: Catalogue, phrases: Phrases
) -> Iterator[tuple[str, str]]:
    spec = mapping.spec
    yield phrases.say("one_case_per"), _per(mapping.source, phrases)
    if not spec.include:
        yield phrases.say("included"), phrases.say("everybody")
    yield from _conditions(mapping, catalogue, phrases)
    yield phrases.say("key"), plain_template(spec.external_id)
    yield phrases.say("case_name"), plain_template(spec.case_name)
    yield phrases.say("owner"), owner_words(spec.owner, mapping.around, phrases)
    for name, index in spec.indices.items():
        key = plain_template(index.external_id)
        yield (
            phrases.say("parents"),
            f"{name}: {phrases.say(index.relationship, case_type=index.case_type, key=key)}",
        )
    yield phrases.say("leaves"), _departure(mapping.when_left, project, phrases)
    yield phrases.say("excluded"), _withdrawn(mapping, project, phrases)
    yield phrases.say("course_ends"), _departure(mapping.when_course_ends, project, phrases)
    if mapping.recheck_daily:
        yield phrases.say("rechecked"), phrases.say("rechecked_daily")


def _conditions(mapping: CompiledMapping, catalogue: Catalogue, phrases: Phrases) -> Iterator[tuple[str, str]]:
    spec, types = mapping.spec, catalogue.get(mapping.source, {})
    if spec.include:
        included = [condition_words(condition, types, phrases) for condition in spec.include]
        yield phrases.say("included"), phrases.all_of(included)
    if spec.exclude:
        excluded = [condition_words(condition, types, phrases) for condition in spec.exclude]
        yield phrases.say("left_out"), phrases.any_of(excluded)


def _row_facts(mapping: CompiledMapping, catalogue: Catalogue, phrases: Phrases) -> Iterator[tuple[str, str]]:
    """Yield what holds for a lookup table: a row has no name, no owner and no parents."""
    yield phrases.say("one_row_per"), _per(mapping.source, phrases)
    yield from _conditions(mapping, catalogue, phrases)
    yield phrases.say("row_key"), plain_template(mapping.spec.external_id)
    yield phrases.say("owner"), phrases.say("row_owner")
    yield phrases.say("row_leaves"), phrases.say("row_removed")


def _per(source: str, phrases: Phrases) -> str:
    phrase = "courses_source" if source == "courses" else source
    return phrases.say(phrase) if phrases.has(phrase) else source


def _departure(departure: Departure | None, project: Project, phrases: Phrases) -> str:
    return "; ".join(_consequences(departure, project, phrases)) or phrases.say("nothing_happens")


def _withdrawn(mapping: CompiledMapping, project: Project, phrases: Phrases) -> str:
    emptied = [phrases.say("personal_emptied")] if mapping.personal else []
    parts = [*emptied, *_consequences(mapping.when_excluded, project, phrases)]
    return "; ".join(parts) or phrases.say("nothing_happens")


def _consequences(departure: Departure | None, project: Project, phrases: Phrases) -> Iterator[str]:
    if departure is None:
        return
    for name, value in departure.set.items():
        yield phrases.say("set", property=name, value=value) if value else f"{name}: {phrases.say('emptied')}"
    if departure.park and project.parked_owner is not None:
        yield phrases.say("parked", owner=reference_words(project.parked_owner, phrases))
    if departure.close:
        yield phrases.say("closed")


def _tables(project: Project, phrases: Phrases) -> Iterator[Table]:
    """Yield the code lists and lookups that some mapping uses, each once, in the order of first use."""
    seen: dict[tuple[str, str], CodeTable] = {}
    for mapping in project.everything:
        for kind, name in _used(mapping):
            seen.setdefault((kind, name), mapping.around.tables(kind)[name])
    for (kind, name), table in seen.items():
        yield _table(kind, name, table, project.lookup_files, phrases)


def _fields(project: Project, catalogue: Catalogue, phrases: Phrases) -> Table:
    """Return the Moodle fields that the mappings look at, with what each means."""
    meanings: dict[str, str] = {}
    for mapping in project.everything:
        for path in sorted(mapping.reads):
            found = find_field(catalogue, mapping.source, path)
            if found is not None:
                meanings.setdefault(f"{mapping.source}: {path.replace('[].', ': ')}", found.meaning)
    headings = (phrases.say("from_moodle"), phrases.say("meaning"))
    return Table(phrases.say("fields"), headings, tuple(meanings.items()))


def _used(mapping: CompiledMapping) -> Iterator[tuple[str, str]]:
    for rule in mapping.spec.owner.first_of:
        if rule.lookup:
            yield "lookup", rule.lookup
    for step in _steps(mapping):
        if step.name in ("code_list", "lookup"):
            yield step.name.replace("_", " "), table_name(step)


def _steps(mapping: CompiledMapping) -> Iterator[StepSpec]:
    for found in mapping.spec.properties.values():
        yield from found.transform
        if found.one_property_per is not None:
            yield from (*found.one_property_per.key.transform, *found.one_property_per.transform)


def _table(kind: str, name: str, table: CodeTable, files: Mapping[str, str], phrases: Phrases) -> Table:
    title = phrases.say(kind.replace(" ", "_"), name=name)
    file = files.get(name, "") if kind == "lookup" else ""
    shown = list(table.values.items())[: ROWS_SHOWN if file else None]
    other = phrases.say("reported") if table.otherwise is None else table.otherwise
    more = len(table.values) - len(shown)
    rows = (*shown, (phrases.say("any_other"), other))
    note = phrases.say("more_rows", count=more, file=file) if more else ""
    note = note or (phrases.say("lookup_file", file=file) if file else "")
    return Table(title, (phrases.say("in_moodle"), phrases.say("in_commcare")), rows, note)
