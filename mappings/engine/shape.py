"""Turns what pydantic finds into sentences for the author of the file; names are checked later, in check.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mappings.engine.key_words import key_remedy, place_of
from mappings.engine.problems import Problem, nearest, quoted
from mappings.engine.reading import Document, Loc

Model = TypeVar("Model", bound=BaseModel)

NOT_YET: Final[Mapping[str, str]] = {}
"""Words of the language that this version refuses, with what to write for now."""

_EXAMPLES: Final[Mapping[str, str]] = {
    "language": "language: 1",
    "site": "site: demo",
    "time_zone": "time_zone: Africa/Nairobi",
    "country": "country: KE",
    "case_type": "case_type: student",
    "source": "source: users",
    "external_id": 'external_id: "{site}-user-{id}"',
    "case_name": 'case_name: "{firstname} {lastname}"',
    "owner": "owner: {otherwise: project}",
    "relationship": "relationship: child",
    "set": "set: {property: value}",
}
_EXAMPLES_OF_TABLES: Final[Mapping[str, str]] = {
    "lookup_table": "lookup_table: moodle_courses",
    "source": "source: courses",
    "external_id": 'external_id: "{site}-course-{id}"',
}

_EXAMPLES_INSIDE: Final[Mapping[str, str]] = {
    "each": "each: items",
    "expect": "expect: {properties: {name_of_property: value}}",
    "feedback": "feedback: coach_feedback",
    "file": "file: lookups/name_of_table.csv",
    "given": "given: {id: 1, firstname: Amina}",
    "key": "key: item.id",
    "name": "name: a_few_words",
    "source": "source: name_of_the_field",
    "value": "value: text_to_send",
    "when": "when: {source: suspended, is: true}",
}


def read_shape(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """Return the file as a model, or None and what is wrong with its shape."""
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        return None, [*problems, _no_keys(document)]
    spec: Model | None = None
    refused: list[tuple[Loc, Problem]] = []
    try:
        spec = model.model_validate(document.data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        refused = [_told(document, model, found) for found in errors if not _explained(found, errors)]
        odd = {(problem.line, problem.column) for problem in problems}  # told already, and the reason for the rest
        refused = [(loc, problem) for loc, problem in refused if (problem.line, problem.column) not in odd]
    empty = [_nothing_after(document, loc) for loc in document.empty if _must_say_something(loc, refused)]
    problems += empty + [problem for loc, problem in refused if document.known(loc) not in document.empty]
    is_wrong = any(problem.severity == "error" for problem in problems)
    return (None if is_wrong else spec), problems


def _no_keys(document: Document) -> Problem:
    """Return the finding for a file that holds no `key: value` line at its left margin."""
    if document.data is None:
        return document.problem(document.mark(()), "this file says nothing yet", "start with 'language: 1'")
    sentence = "this file does not begin with a key"
    return document.problem(
        document.mark(()), sentence, "write lines such as 'language: 1', without '- ' before them"
    )


def _explained(found: Any, errors: Sequence[Any]) -> bool:
    """Whether a key is missing only because it was misspelt, or because a word is not built yet."""
    if found["type"] != "missing":
        return False
    here = [e["loc"] for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == found["loc"][:-1]]
    return any(loc[-1] in NOT_YET or nearest(str(loc[-1]), [str(found["loc"][-1])]) for loc in here)


def _must_say_something(loc: Loc, refused: list[tuple[Loc, Problem]]) -> bool:
    """Whether an empty value is a finding of its own: not in a test's record, not inside a refused block."""
    if loc[:1] == ("tests",) and len(loc) > 3:
        return False
    return not any(loc != other and loc[: len(other)] == other for other, _ in refused if other)


def _nothing_after(document: Document, loc: Loc) -> Problem:
    name = _name(loc) or "this"
    remedy = 'give it a value, write "" for an empty text, or delete the line'
    return document.problem(document.mark(loc), f"nothing is written after {quoted(name)}", remedy)


def _told(document: Document, model: type[BaseModel], found: Any) -> tuple[Loc, Problem]:
    """Return where pydantic's finding is in the file, and the finding in our words."""
    loc: Loc = tuple(found["loc"])
    kind = found["type"]
    if kind == "told":
        context = found["ctx"]
        at = (*loc, context["at"]) if context["at"] else loc
        mark = document.mark(at, key=bool(context["at"]))
        return loc, document.problem(mark, context["sentence"], context["remedy"])
    if kind == "extra_forbidden":
        return loc, _unknown_key(document, model, loc)
    if kind == "missing":
        mark = document.mark(loc[:-1])
        name = str(loc[-1])
        outside = {**_EXAMPLES, **(_EXAMPLES_OF_TABLES if "lookup_table" in model.model_fields else {})}
        example = (_EXAMPLES_INSIDE if len(loc) > 1 else outside).get(name) or _EXAMPLES.get(name, f"{name}: ..")
        return loc, document.problem(mark, f"the key {quoted(name)} is missing", f"add {example}")
    sentence, remedy = _wrong_kind(_name(loc), kind, found)
    if loc == ("owner",) and "courses" in model.model_fields and isinstance(found["input"], str):
        remedy = f"write owner: {{group: {found['input']}}}"  # the project's owner is nobody's otherwise
    return loc, document.problem(document.mark(loc), sentence, remedy)


def _unknown_key(document: Document, model: type[BaseModel], loc: Loc) -> Problem:
    name = str(loc[-1])
    mark = document.mark(loc, key=True)
    if name in NOT_YET:
        return document.problem(mark, f"{quoted(name)} is not built yet in this version", NOT_YET[name])
    above = _empty_above(document, loc, mark.line)
    remedy = f"indent it by two spaces, so that it stands under {quoted(above)}" if above else ""
    known = keys_at(model, loc[:-1])
    return document.problem(mark, f"unknown key {quoted(name)}", remedy or key_remedy(name, known))


def _empty_above(document: Document, loc: Loc, line: int) -> str:
    """Return the key above with nothing behind it, under which an unknown key may have been meant to stand."""
    before = [each for each in document.empty if each[:-1] == loc[:-1] and document.mark(each).line < line]
    return str(before[-1][-1]) if before else ""


def _wrong_kind(name: str, kind: str, found: Any) -> tuple[str, str]:
    given = found["input"]
    if kind == "literal_error":
        if name == "language":
            return "this program speaks language 1 of mappings", "write 'language: 1'"
        word, expected = quoted(given) if isinstance(given, str) else "this", found["ctx"]["expected"]
        remedy = f"write {expected}" if " or " not in expected else f"write one of these words: {expected}"
        remedy += ", or leave the line out, which means always" if name == "write" else ""
        return f"{word} is not allowed here; use {expected}", remedy
    if kind == "tuple_type":
        if isinstance(given, str) and len(given) < 40:
            return f"{quoted(name)} is a list: write [{given}]", "several entries have commas between them: [a, b]"
        return f"{quoted(name)} is a list", "put '- ' before each entry, on a line of its own"
    if kind in ("dict_type", "model_type"):
        if found["loc"][:-1] == ("properties",) and place_of(name):
            return f"{quoted(name)} is taken for a property here", f"it belongs {place_of(name)}"
        if name == "owner" and isinstance(given, str):
            return "this does not say what kind of owner it is", f"write owner: {{otherwise: {{group: {given}}}}}"
        remedy = f"as in {_EXAMPLES[name]}" if name in _EXAMPLES else "indent them under it, or write {key: value}"
        return f"{quoted(name)} takes lines of 'key: value' here", remedy
    if isinstance(given, dict):
        is_template = name in ("external_id", "case_name", "template") or None in given.values()
        remedy = (
            'a text that starts with { needs quotes: "{firstname}"' if is_template else "write one text behind it"
        )
        return f"{quoted(name)} takes one text here", remedy
    remedy = "keep one of them, without brackets"
    if name == "source":
        remedy += "; for the first that is filled write first_of instead of source"
    elif name in ("case_name", "external_id"):
        remedy = f"write it as a text in quotes, as in {_EXAMPLES[name]}"
    return f"{quoted(name)} takes one value here, not a list", remedy


def _name(loc: Loc) -> str:
    return next((part for part in reversed(loc) if isinstance(part, str)), "")


def keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that a file may have at `loc`."""
    node: Any = model
    for part in loc:
        node = _inside(node, part)
    if not (isinstance(node, type) and issubclass(node, BaseModel)):
        return []
    return [field.alias or name for name, field in node.model_fields.items()]


def _inside(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return _plain(fields[part].annotation) if isinstance(part, str) and part in fields else None
    arguments = [inner for inner in get_args(annotation) if inner is not Ellipsis]
    return _plain(arguments[-1]) if arguments else None


def _plain(annotation: Any) -> Any:
    """Return an annotation without Annotated and without `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return _plain(next(inner for inner in get_args(annotation) if inner is not type(None)))
    return annotation
