"""Loads the plug-ins that project.yaml names, when they are wanted, and tells what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mappings.engine.plugins import PluginError, PluginFault, from_file, from_package, plugin_file
from mappings.engine.problems import MappingError, quoted
from mappings.engine.reading import Document, Loc, Mark, read_text
from mappings.engine.transform import Transform, TransformList

if TYPE_CHECKING:
    from mappings.engine.check_project import ProjectFindings

Load = Callable[[], list[Transform]]


def check_plugins(findings: ProjectFindings, *, load: bool) -> TransformList:
    """Return the transforms that the mappings of a project may use; `load` off leaves plug-ins alone."""
    spec = findings.spec
    if not spec.transforms_file and not spec.plugins:
        return TransformList()
    if not load:
        _only_look(findings)
        return TransformList(unseen=True)
    wanted: list[tuple[Loc, Load]] = []
    if spec.transforms_file:
        wanted.append((("transforms_file",), partial(from_file, findings.folder, spec.transforms_file)))
    wanted += [(("plugins", number), partial(from_package, name)) for number, name in enumerate(spec.plugins)]
    before = len(findings.problems)
    made: dict[str, Transform] = {}
    for loc, loading in wanted:
        _load(findings, loc, loading, made)
    return TransformList(made, unseen=len(findings.problems) > before)


def _only_look(findings: ProjectFindings) -> None:
    """Check that the file of transforms is there, without running it."""
    name = findings.spec.transforms_file
    try:
        if name:
            plugin_file(findings.folder, name)
    except PluginError as error:
        for fault in error.faults:
            _tell(findings, ("transforms_file",), fault)


def _load(findings: ProjectFindings, loc: Loc, loading: Load, made: dict[str, Transform]) -> None:
    try:
        found = loading()
    except PluginError as error:
        for fault in error.faults:
            _tell(findings, loc, fault)
        return
    for transform in found:
        if transform.name in made:
            findings.tell(loc, f"there is a transform {quoted(transform.name)} already", "rename one of them")
        made[transform.name] = transform


def _tell(findings: ProjectFindings, loc: Loc, fault: PluginFault) -> None:
    if fault.file is None:
        findings.tell(loc, fault.sentence, fault.remedy)
        return
    try:
        lines = read_text(fault.file).splitlines()
    except MappingError:
        lines = []
    document = Document(str(fault.file), lines or [""])
    length = len(lines[fault.line - 1].strip()) if 0 < fault.line <= len(lines) else 1
    indent = len(lines[fault.line - 1]) - len(lines[fault.line - 1].lstrip()) if length > 1 else 0
    mark = Mark(fault.line, indent + 1, max(1, length))
    findings.problems.append(document.problem(mark, fault.sentence, fault.remedy))
