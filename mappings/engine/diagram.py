"""The data-flow diagram: which Moodle records become which cases and rows, and which case belongs to which."""

from __future__ import annotations

from collections.abc import Iterator

from mappings.engine.compile import CompiledMapping
from mappings.engine.phrases import Phrases
from mappings.engine.project import Project


def diagram(project: Project, phrases: Phrases) -> str:
    """Return the diagram as mermaid text; switched-off mappings are dashed and say so."""
    return "\n".join(_lines(project, phrases))


def _lines(project: Project, phrases: Phrases) -> Iterator[str]:
    mappings = project.everything
    makers = {mapping.name: mapping for mapping in mappings}
    yield "flowchart LR"
    for source in dict.fromkeys(mapping.source for mapping in mappings):
        yield f'  from_{source}[("Moodle: {source}")]'
    for mapping in mappings:
        off = mapping in (*project.switched_off, *project.tables_off)
        left, right = ("[(", ")]") if mapping.is_table else ("([", "])")
        yield f'  {_node(mapping)}{left}"{_title(mapping, phrases, off=off)}"{right}{":::off" if off else ""}'
    for mapping in mappings:
        yield f"  from_{mapping.source} --> {_node(mapping)}"
        for parent in mapping.parents:
            if parent.mapping in makers:
                yield f"  {_node(mapping)} -. {parent.relationship} .-> {_node(makers[parent.mapping])}"
    if project.switched_off or project.tables_off:
        yield "  classDef off stroke-dasharray: 4 4"


def _node(mapping: CompiledMapping) -> str:
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in mapping.name)
    return f"row_{name}" if mapping.is_table else f"case_{name}"


def _title(mapping: CompiledMapping, phrases: Phrases, *, off: bool) -> str:
    name = mapping.case_type if mapping.case_type == mapping.name else f"{mapping.case_type} ({mapping.name})"
    name = f"{mapping.case_type}, {phrases.say('lookup_table')}" if mapping.is_table else name
    return f"{name}, {phrases.say('off')}" if off else name
