"""How mappings hang together: which file makes a parent's cases, in which order they run, and no circles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mappings.engine.catalogue import absolute
from mappings.engine.compile import IndexRule, Place
from mappings.engine.problems import Problem, quoted, suggestion
from mappings.engine.reading import Document, Loc
from mappings.engine.spec import IndexSpec, MappingSpec
from mappings.engine.templates import TemplateError, skeleton


@dataclass
class MappingFile:
    """One file: its text, and its shape when that is right."""

    name: str
    document: Document
    spec: MappingSpec | None
    problems: list[Problem] = field(default_factory=list)

    @property
    def case_type(self) -> str:
        """The case type it makes, as far as it can be read."""
        data = self.document.data
        found = data.get("case_type") if isinstance(data, dict) else None
        return found if isinstance(found, str) else ""

    @property
    def enabled(self) -> bool:
        """Whether the mapping is on; a file that cannot be read counts as on."""
        data = self.document.data
        return not (isinstance(data, dict) and data.get("enabled") == "false")

    @property
    def is_right(self) -> bool:
        """Whether nothing but warnings was found."""
        return self.spec is not None and all(problem.severity == "warning" for problem in self.problems)

    def tell(self, loc: Loc, sentence: str, remedy: str, *, key: bool = False) -> None:
        """Note a finding at a place of this file."""
        self.problems.append(self.document.problem(self.document.mark(loc, key=key), sentence, remedy))


def places(files: Sequence[MappingFile]) -> dict[str, Place]:
    """Find every mapping's parents and level; what does not fit together is noted in the files."""
    parents = {file.name: _parents(file, files) for file in files if file.spec is not None}
    _check_keys(files)
    levels: dict[str, int] = {}
    for file in files:
        if file.spec is not None and _circle(file.name, parents):
            index = parents[file.name][0]
            sentence = f"the parents of {quoted(file.name)} lead back to itself"
            file.tell(("indices", index.name), sentence, "a case cannot be above and below another", key=True)
            parents[file.name] = ()
    for name in parents:
        _level(name, parents, levels)
    return {name: Place(levels[name], rules) for name, rules in parents.items()}


def _parents(file: MappingFile, files: Sequence[MappingFile]) -> tuple[IndexRule, ...]:
    """Return the index rules of one mapping, each with the file that makes the parent."""
    rules = []
    for name, index in (file.spec.indices if file.spec else {}).items():
        maker = _maker(file, ("indices", name), index, files)
        if maker is not None:
            rules.append(
                IndexRule(name, index.case_type, index.relationship, index.when_parent_unknown, maker.name)
            )
    return tuple(rules)


def _maker(file: MappingFile, loc: Loc, index: IndexSpec, files: Sequence[MappingFile]) -> MappingFile | None:
    makers = [other for other in files if other.case_type == index.case_type and other.name != file.name]
    if not makers and index.case_type == file.case_type:
        file.tell((*loc, "case_type"), "a case cannot be above itself", "name the case type of the parent")
        return None
    if not makers:
        remedy = suggestion(index.case_type, {other.case_type for other in files} - {"", file.case_type})
        file.tell((*loc, "case_type"), f"no mapping makes cases of type {quoted(index.case_type)}", remedy)
        return None
    if file.enabled and not any(other.enabled for other in makers):
        remedy = f"take 'enabled: false' out of {makers[0].name}.yaml"
        file.tell((*loc, "case_type"), f"the mapping for {quoted(index.case_type)} is switched off", remedy)
        return None
    if file.spec is None or any(other.spec is None for other in makers):
        return makers[0]
    wanted = _shape(file.spec.source, index.external_id)
    for other in makers:
        if other.spec is not None and wanted == _shape(other.spec.source, other.spec.external_id):
            return other
    theirs = makers[0].spec.external_id if makers[0].spec else ""
    file.tell(
        (*loc, "external_id"), f"no {index.case_type} has such a key", f"{makers[0].name}.yaml makes {theirs}"
    )
    return None


def _shape(source: str, template: str) -> object:
    """Return a key template with its paths as every source would write them."""
    try:
        return tuple((literal, absolute(source, path)) for literal, path in skeleton(template))
    except TemplateError:
        return template


def _check_keys(files: Sequence[MappingFile]) -> None:
    """Check that no two files can make the same key."""
    seen: dict[object, MappingFile] = {}
    for file in files:
        if file.spec is None:
            continue
        shape = (file.spec.case_type, *_literals(file.spec.external_id))
        first = seen.setdefault(shape, file)
        if first is not file:
            sentence = f"{first.name}.yaml makes keys of the same form for {quoted(file.case_type)}"
            file.tell(("external_id",), sentence, "add a word to one of them, as in {site}-tutor-{id}")


def _literals(template: str) -> list[str]:
    try:
        return [literal for literal, _ in skeleton(template)]
    except TemplateError:
        return [template]


def _circle(start: str, parents: Mapping[str, tuple[IndexRule, ...]]) -> bool:
    """Say whether a mapping is its own ancestor."""
    seen: set[str] = set()
    waiting = [rule.mapping for rule in parents[start]]
    while waiting:
        name = waiting.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            waiting += [rule.mapping for rule in parents.get(name, ())]
    return False


def _level(name: str, parents: Mapping[str, tuple[IndexRule, ...]], levels: dict[str, int]) -> int:
    """Return a mapping's level, working upwards; circles are gone by now."""
    if name not in levels:
        above = [_level(rule.mapping, parents, levels) for rule in parents.get(name, ())]
        levels[name] = 1 + max(above) if above else 0
    return levels[name]
