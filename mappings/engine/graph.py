"""How mappings hang together: which file makes a parent's cases, in which order they run, and no circles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mappings.engine.catalogue import absolute
from mappings.engine.compile import IndexRule, Place
from mappings.engine.names import legal_name
from mappings.engine.problems import Problem, Severity, quoted, suggestion
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
        """Whether no mistake was found; failed tests are none."""
        return self.spec is not None and all(problem.severity != "error" for problem in self.problems)

    def is_wrong_at(self, *places: Loc) -> bool:
        """Say whether a mistake was found within what stands at one of these places."""
        errors = [problem for problem in self.problems if problem.severity == "error"]
        marks = [self.document.mark(loc) for loc in places]
        return any(
            (error.line, True) == (mark.line, 0 <= error.column - mark.column < mark.length)
            for error in errors
            for mark in marks
        )

    def tell(
        self, loc: Loc, sentence: str, remedy: str, *, key: bool = False, severity: Severity = "error"
    ) -> None:
        """Note a finding at a place of this file."""
        mark = self.document.mark(loc, key=key)
        self.problems.append(self.document.problem(mark, sentence, remedy, severity=severity))

    @property
    def closes_who_left(self) -> bool:
        """Whether it closes the cases of people who left."""
        return self.spec is not None and self.spec.when_left is not None and self.spec.when_left.close


def places(files: Sequence[MappingFile]) -> dict[str, Place]:
    """Find every mapping's parents and level; what does not fit together is noted in the files."""
    parents = {file.name: _parents(file, files) for file in files if file.spec is not None}
    _check_keys(files)
    levels: dict[str, int] = {}
    for file in files:
        way = _way_back(file.name, parents) if file.spec is not None else []
        if way:
            index = next(rule for rule in parents[file.name] if rule.mapping == way[1])
            sentence = f"the parents of {quoted(file.name)} lead back to itself: {', '.join(way)}"
            remedy = "a case cannot be above and below another: take the index out of one of these mappings"
            file.tell(("indices", index.name), sentence, remedy, key=True)
            parents[file.name] = ()
    _check_hosts(files, parents)
    for name in parents:
        _level(name, parents, levels)
    return {name: Place(levels[name], rules) for name, rules in parents.items()}


def _check_hosts(files: Sequence[MappingFile], parents: Mapping[str, tuple[IndexRule, ...]]) -> None:
    """Warn of mappings that close cases above extensions which do not: some project spaces close these as well."""
    by_name = {file.name: file for file in files}
    for child in files:
        for rule in parents.get(child.name, ()):
            host = by_name[rule.mapping]
            both_on = host.enabled and child.enabled
            if both_on and rule.relationship == "extension" and host.closes_who_left > child.closes_who_left:
                sentence = f"CommCare may close the cases of {child.name}.yaml with these, as they are extensions"
                remedy = f"write 'close: true' in 'when_left' of {child.name}.yaml too, or take it out here"
                host.tell(("when_left", "close"), sentence, remedy, key=True, severity="warning")


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
    if not makers:
        _tell_no_maker(file, (*loc, "case_type"), index, files)
        return None
    used = [other for other in makers if other.enabled] if file.enabled else makers
    if not used:
        remedy = f"take 'enabled: false' out of {makers[0].name}.yaml, or switch this mapping off as well"
        file.tell((*loc, "case_type"), f"the mapping for {quoted(index.case_type)} is switched off", remedy)
        return None
    if file.spec is None or any(other.spec is None for other in used):
        return used[0]
    if file.is_wrong_at(("source",), (*loc, "external_id")) or any(
        other.is_wrong_at(("source",), ("external_id",)) for other in used
    ):
        return used[0]  # keys cannot be compared before that is put right, which is told there
    wanted = _shape(file.spec.source, index.external_id)
    for other in used:
        if other.spec is not None and wanted == _shape(other.spec.source, other.spec.external_id):
            return other
    _tell_other_key(file, (*loc, "external_id"), index, used[0])
    return None


def _tell_no_maker(file: MappingFile, loc: Loc, index: IndexSpec, files: Sequence[MappingFile]) -> None:
    """Say that nothing makes the parent, unless a file whose case type is not right may do so."""
    if index.case_type == file.case_type:
        file.tell(loc, "a case cannot be above itself", "name the case type of the parent")
        return
    if all(legal_name(other.case_type) for other in files):
        none = "add a mapping with this case_type, or take the index out"
        remedy = suggestion(index.case_type, {other.case_type for other in files} - {file.case_type}, none=none)
        file.tell(loc, f"no mapping makes cases of type {quoted(index.case_type)}", remedy)


def _tell_other_key(file: MappingFile, loc: Loc, index: IndexSpec, maker: MappingFile) -> None:
    """Say how the parent's keys look, in the fields of this mapping where it has another source."""
    theirs, source = (maker.spec.external_id, maker.spec.source) if maker.spec else ("", "")
    try:
        wanted = "".join(
            f"{literal}{{{absolute(source, path)}}}" if path else literal for literal, path in skeleton(theirs)
        )
    except TemplateError:
        wanted = theirs
    remedy = f"{maker.name}.yaml makes {theirs}; here that is {wanted}" if wanted != theirs else ""
    file.tell(loc, f"no {index.case_type} has such a key", remedy or f"{maker.name}.yaml makes {theirs}")


def _shape(source: str, template: str) -> object:
    """Return a key template with its paths as every source would write them."""
    try:
        return tuple((literal, absolute(source, path)) for literal, path in skeleton(template))
    except TemplateError:
        return template


def _check_keys(files: Sequence[MappingFile]) -> None:
    """Check that no two files can make the same key; one that is switched off makes none.

    CommCare finds a case by its key whatever its type: two types with one key would be one case that changes.
    """
    seen: dict[object, MappingFile] = {}
    for file in files:
        if file.spec is None or not file.enabled:
            continue
        shape = tuple(_literals(file.spec.external_id))
        first = seen.setdefault(shape, file)
        if first is not file:
            sentence = f"{first.name}.yaml makes keys of the same form for {quoted(first.case_type)}"
            remedy = "add a word to one of them, as in {site}-tutor-{id}, or delete the file that is not needed"
            file.tell(("external_id",), sentence, remedy)


def _literals(template: str) -> list[str]:
    try:
        return [literal for literal, _ in skeleton(template)]
    except TemplateError:
        return [template]


def _way_back(start: str, parents: Mapping[str, tuple[IndexRule, ...]]) -> list[str]:
    """Return the mappings through which one is its own ancestor, itself first and last; none when it is not."""
    ways = [[start, rule.mapping] for rule in parents[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == start:
            return way
        if way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, rule.mapping] for rule in parents.get(way[-1], ())]
    return []


def _level(name: str, parents: Mapping[str, tuple[IndexRule, ...]], levels: dict[str, int]) -> int:
    """Return a mapping's level, working upwards; circles are gone by now."""
    if name not in levels:
        above = [_level(rule.mapping, parents, levels) for rule in parents.get(name, ())]
        levels[name] = 1 + max(above) if above else 0
    return levels[name]
