"""Collects what is wrong with the names in one mapping: fields, templates, conditions, transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mappings.engine.catalogue import (
    PROJECT_FIELDS,
    Catalogue,
    CatalogueField,
    field_remedy,
    find_field,
)
from mappings.engine.names import in_dictionary, legal_name, name_refusal
from mappings.engine.problems import Problem, Severity, nearest, quoted, suggestion
from mappings.engine.reading import Document, Loc
from mappings.engine.spec import ConditionSpec, MappingSpec, StepSpec
from mappings.engine.steps import StepError, bind_settings
from mappings.engine.templates import Piece, TemplateError, parse_template
from mappings.engine.transform import OURS, UNSEEN, Transform, TransformList

_ACCEPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("text", "number", "flag", "time"),
    "number": ("text", "number"),
    "moment": ("text", "number", "time"),
    "list": ("list",),
    "each": ("text", "number", "flag", "time", "list"),
}
_KINDS: Final[Mapping[str, str]] = {
    "text": "a text",
    "number": "a number",
    "flag": "true or false",
    "time": "a time",
    "list": "a list",
    "elements": "a list of elements",
}


class ProjectNames(NamedTuple):
    """The names that project.yaml defines, whether or not what they name is right.

    `code_lists` is None when a part of them could not be read, so that no name is known to be wrong; `spaced` has
    a value with a blank inside for each code list that holds one, `words` all values of each code list.
    """

    code_lists: frozenset[str] | None = frozenset()
    lookups: frozenset[str] = frozenset()
    has_owner: bool = False
    moodle_key_property: str = "moodle_key"
    has_parked_owner: bool = False
    transforms: TransformList = OURS
    spaced: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def tables(self, kind: str) -> frozenset[str] | None:
        """Return the names of a kind of table, "code list" or "lookup"; None when not all are known."""
        return self.code_lists if kind == "code list" else self.lookups


@dataclass
class Findings:
    """One mapping under examination; `project` is None when project.yaml itself could not be read."""

    document: Document
    spec: MappingSpec
    catalogue: Catalogue
    project: ProjectNames | None
    problems: list[Problem] = field(default_factory=list)

    def tell(
        self, loc: Loc, sentence: str, remedy: str = "", *, key: bool = False, severity: Severity = "error"
    ) -> None:
        """Note a finding at a place of the file."""
        mark = self.document.mark(loc, key=key)
        self.problems.append(self.document.problem(mark, sentence, remedy, severity=severity))

    def name(self, loc: Loc, kind: str, name: str, *, key: bool = False) -> bool:
        """Check that CommCare takes a name for a case type, property or index; say whether it does."""
        if not legal_name(name):
            self.tell(loc, *name_refusal(kind, name), key=key)
            return False
        if not in_dictionary(name):
            sentence = f"CommCare's data dictionary and forms may not take the {kind} {quoted(name)}"
            self.tell(loc, sentence, name_refusal(kind, name)[1], key=key, severity="warning")
        return True

    def field(self, loc: Loc, path: str, *, each: str = "") -> CatalogueField | None:
        """Return the field that a path names, inside an element of `each` if given; None with a finding."""
        found = find_field(self.catalogue, self.spec.source, f"{each}[].{path}" if each else path)
        if found is None:
            self.tell(loc, *self._no_field(path, each))
        return found

    def _no_field(self, path: str, each: str) -> tuple[str, str]:
        source = self.spec.source
        if "{" in path:
            bare = path.replace("{", "").replace("}", "").strip()
            remedy = f"write {bare} without brackets, or 'template' instead of 'source' to put fields into a text"
            return f"{quoted(path)} is not the name of a field", remedy
        if "," in path:
            remedy = f"for the first that is filled write first_of: [{path}]; to join them write a template"
            return f"{quoted(path)} names several fields", remedy
        if each:
            start = f"{each}[]."
            inside = {p.removeprefix(start): f for p, f in self.catalogue[source].items() if p.startswith(start)}
            return f"an element of {quoted(each)} has no field {quoted(path)}", field_remedy(
                {source: inside}, source, path
            )
        return f"source {quoted(source)} has no field {quoted(path)}", field_remedy(self.catalogue, source, path)

    def template(self, loc: Loc, text: str) -> tuple[Piece, ...]:
        """Check a template and return its pieces; none when it cannot be read."""
        try:
            pieces = parse_template(text)
        except TemplateError as error:
            self.tell_within(loc, Piece("", "?", error.offset), error.sentence, error.remedy)
            return ()
        for piece in pieces:
            if piece.path and piece.path not in PROJECT_FIELDS:
                self._template_path(loc, piece)
        if not any(piece.path or piece.text.strip() for piece in pieces):
            self.tell(loc, "this template is empty", "write the fields, as in {firstname} {lastname}")
        return pieces

    def tell_within(self, loc: Loc, piece: Piece, sentence: str, remedy: str) -> None:
        """Note a finding at a piece of a template."""
        mark = self.document.within(loc, piece.offset, len(piece.path))
        self.problems.append(self.document.problem(mark, sentence, remedy))

    def _template_path(self, loc: Loc, piece: Piece) -> None:
        found = find_field(self.catalogue, self.spec.source, piece.path)
        if found is None:
            self.tell_within(loc, piece, *self._no_field(piece.path, ""))
        elif found.type in ("list", "elements"):
            sentence = f"{quoted(piece.path)} is {_KINDS[found.type]} and cannot stand in a template"
            self.tell_within(loc, piece, sentence, 'give it a property of its own with {join: ", "}')

    def conditions(self, loc: Loc, specs: Sequence[ConditionSpec]) -> None:
        """Check the conditions of a list."""
        for number, spec in enumerate(specs):
            found = self.field((*loc, number, "source"), spec.source)
            if found is not None:
                self._comparison((*loc, number), spec, found)

    def _comparison(self, loc: Loc, spec: ConditionSpec, found: CatalogueField) -> None:
        operator = spec.operators[0]
        words = {"is": [spec.is_], "is_not": [spec.is_not], "any_of": spec.any_of, "none_of": spec.none_of}
        operands = words.get(operator) or []
        if operator in words and not operands:
            self.tell(
                (*loc, operator), f"{quoted(operator)} lists nothing to compare with", "name at least one value"
            )
        if found.type == "elements":
            self.tell((*loc, "source"), f"{quoted(found.path)} is a list of elements", "compare another field")
        if found.type == "flag" and any(word not in ("true", "false") for word in operands):
            self.tell((*loc, operator), f"{quoted(spec.source)} is true or false", "compare it with true or false")
        if operator in ("at_least", "below") and found.type not in ("number", "text"):
            kind = _KINDS[found.type]
            remedy = (
                "use is_empty, or a property with days_ago and bands"
                if found.type == "time"
                else "use is or any_of"
            )
            sentence = f"{quoted(spec.source)} is {kind}; {quoted(operator)} compares numbers"
            self.tell((*loc, operator), sentence, remedy)

    def steps(self, loc: Loc, steps: Sequence[StepSpec], kind: str, subject: str) -> str:
        """Check a list of transforms on a kind of value and return the kind it ends with; "" after a finding."""
        for number, step in enumerate(steps):
            at = (*loc, number)
            try:
                known, settings = bind_settings(step, self.transforms)
            except StepError as error:
                for fault in error.faults:
                    self.tell((*at, *fault.loc), fault.sentence, fault.remedy, key=fault.key)
                kind = ""
                continue
            if known.takes == UNSEEN:
                self._not_looked_at(at, known)
                kind = ""
                continue
            self._table(at, known, str(settings.get("name", "")))
            if kind and kind not in _ACCEPTS[known.takes]:
                self._misfit(at, known, kind, subject)
                return ""
            if kind:
                kind, subject = known.result(kind, settings), f"the result of {quoted(known.name)}"
        return kind

    def _not_looked_at(self, loc: Loc, known: Transform) -> None:
        near = nearest(known.name, self.transforms.names)
        remedy = f"did you mean '{near}'? " if near else ""
        sentence = f"{quoted(known.name)} is not looked at, because the plug-ins were not loaded"
        remedy += "if it is a plug-in's, check again with them once they are reviewed and right"
        self.tell((*loc, known.name), sentence, remedy, key=True, severity="warning")

    @property
    def transforms(self) -> TransformList:
        """The transforms that this mapping may use."""
        return self.project.transforms if self.project is not None else TransformList(unseen=True)

    def _misfit(self, loc: Loc, known: Transform, kind: str, subject: str) -> None:
        sentence = f"{quoted(known.name)} cannot work on {_KINDS[kind]}, and that is what {subject} is"
        remedy = "leave it out"
        if kind == "list":
            remedy = "put join, first or count before it"
        elif kind == "time":
            remedy = "put date or days_ago before it"
        self.tell((*loc, known.name), sentence, remedy, key=True)

    def _table(self, loc: Loc, known: Transform, name: str) -> None:
        if known.table and self.project is not None:
            self.table((*loc, known.name), known.table, name)

    def table(self, loc: Loc, kind: str, name: str) -> None:
        """Check that there is a code list or lookup of this name."""
        known = self.project.tables(kind) if self.project is not None else None
        if known is None or name in known:
            return
        none = "add it to code_lists.yaml" if kind == "code list" else "add it to project.yaml under lookups"
        self.tell(loc, f"there is no {kind} {quoted(name)}", suggestion(name, known, none=none))
