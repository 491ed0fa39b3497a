"""Checks the properties of a mapping: their names, where their values come from and what happens to them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mappings.engine.catalogue import CatalogueField, find_field
from mappings.engine.check_conditions import check_cases
from mappings.engine.elements import KEY_MARK
from mappings.engine.findings import Findings
from mappings.engine.names import RESERVED, legal_name, made_legal
from mappings.engine.problems import quoted
from mappings.engine.reading import Loc
from mappings.engine.reads import value_paths
from mappings.engine.spec import CaseSpec, ElementKeySpec, ElementsSpec, PropertySpec

VISITS = frozenset({"firstaccess", "lastaccess", "lastcourseaccess"})
"""Fields that are blank for who was never there, and missing for everybody while Moodle hides them."""


def check_properties(findings: Findings) -> None:
    """Check every property of a mapping."""
    names: dict[str, str] = {}
    for name, spec in findings.spec.properties.items():
        loc: Loc = ("properties", name)
        check_name(findings, loc, name)
        if spec.retire is not None:
            continue
        _check_nothing(findings, loc, spec)
        _check_value(findings, loc, spec)
        _check_personal(findings, loc, name, spec)
        if spec.one_property_per is not None:
            template = spec.one_property_per.name
            if template in names:
                sentence = f"{quoted(names[template])} makes the same names: {template}"
                findings.tell((*loc, "one_property_per", "name"), sentence, "give one of them another name")
            _check_collisions(findings, loc, spec.one_property_per)
            names.setdefault(template, name)


def _check_collisions(findings: Findings, loc: Loc, spec: ElementsSpec) -> None:
    """Warn about a property that an element could make as well."""
    start, _, end = (re.escape(part) for part in spec.name.partition(KEY_MARK))
    made = re.compile(f"{start}(?:{_keys(findings, spec.key)}){end}")
    for other in findings.spec.properties:
        if other != loc[-1] and KEY_MARK in spec.name and made.fullmatch(other):
            sentence = f"{quoted(other)} is a property of its own, and an element could make it too"
            remedy = f"give one of them another name; {spec.name} makes this one from the key of an element"
            findings.tell((*loc, "one_property_per", "name"), sentence, remedy, severity="warning")


def _keys(findings: Findings, key: ElementKeySpec) -> str:
    """Return what the key of an element can look like: a bare id is digits, a code list makes its own words."""
    if not key.transform:
        return "[0-9]+"
    last = key.transform[-1]
    words = findings.project.words if findings.project is not None and last.name == "code_list" else {}
    name = last.settings.get("name") if isinstance(last.settings, dict) else last.settings
    return "|".join(re.escape(made_legal(word)) for word in sorted(words.get(str(name), ()))) or ".+"


def check_name(findings: Findings, loc: Loc, name: str) -> bool:
    """Check that CommCare takes a property name and does not keep it for itself; say whether it is right."""
    ours = findings.project.moodle_key_property if findings.project else "moodle_key"
    if name in RESERVED:
        sentence = f"{quoted(name)} belongs to CommCare and cannot be a property"
        findings.tell(loc, sentence, RESERVED[name], key=True)
    elif name == ours:
        remedy = "choose another name, or change moodle_key_property in project.yaml"
        findings.tell(loc, f"{quoted(name)} is where we keep our own key", remedy, key=True)
    else:
        return findings.name(loc, "property", name, key=True)
    return False


def _check_nothing(findings: Findings, loc: Loc, spec: PropertySpec) -> None:
    """Check that only one thing is said about a value that is not there."""
    if spec.required:
        for other in ("default", "when_blank", "when_not_sent"):
            if getattr(spec, other) is not None:
                sentence = f"'required' holds the record back, so {quoted(other)} is never used"
                findings.tell((*loc, other), sentence, f"take out 'required' or {quoted(other)}", key=True)
    elif spec.default is not None and spec.when_blank is not None and spec.when_not_sent is not None:
        sentence = "'when_blank' and 'when_not_sent' leave nothing for 'default' to do"
        findings.tell((*loc, "default"), sentence, "take one of them out", key=True)
    elif spec.default is not None and spec.when_not_sent is None and _visit(spec):
        sentence = (
            f"while Moodle hides {quoted(_visit(spec))}, everybody gets this default, not only who never came"
        )
        remedy = "add when_not_sent: keep"
        findings.tell((*loc, "default"), sentence, remedy, key=True, severity="warning")


def _visit(spec: PropertySpec) -> str:
    """Return the field of a visit that a property is made of, "" when there is none."""
    paths = [spec.source] if spec.source is not None else spec.first_of or ()
    return next((path for path in paths if path.rpartition(".")[2] in VISITS), "")


def _check_value(findings: Findings, loc: Loc, spec: PropertySpec) -> None:
    if spec.one_property_per is not None:
        _check_elements(findings, (*loc, "one_property_per"), spec.one_property_per)
        return
    kind, subject = _start(findings, loc, spec)
    end = findings.steps((*loc, "transform"), spec.transform, kind, subject)
    _check_choices(findings, (*loc, "transform"), spec)
    way = spec.ways[0]
    if end == "list":
        subject = subject if kind == "list" else f"the result of {quoted(spec.transform[-1].name)}"
        remedy = 'end its transform with join, first or count, as in [{join: ", "}]'
        findings.tell((*loc, way), f"{subject} is a list, a property holds one text", remedy)
    elif end == "elements":
        findings.tell((*loc, way), f"{subject} is a list of elements", "use 'one_property_per' for it")
    elif end == "time" and not spec.transform:
        remedy = "add transform: [date], or [text] if the number is what you want"
        findings.tell((*loc, way), f"{subject} is a time, sent as a number of seconds", remedy, severity="warning")


def _check_choices(findings: Findings, loc: Loc, spec: PropertySpec) -> None:
    """Warn of choices with a blank inside: CommCare takes a blank for the end of a choice."""
    steps = list(enumerate(spec.transform))
    several = bool(steps) and steps[-1][1].name == "join" and steps[-1][1].settings in (" ", {"by": " "})
    if several:
        steps.pop()
    if not steps or not (several or spec.data_type == "select") or findings.project is None:
        return
    number, last = steps[-1]
    name = last.settings if last.name == "code_list" and isinstance(last.settings, str) else ""
    value = findings.project.spaced.get(name)
    if value:
        sentence = f"the choice {quoted(value)} of code list {quoted(name)} has a blank inside"
        remedy = "CommCare ends a choice at a blank: write it with _ in the code list, as in wound_care"
        findings.tell((*loc, number, "code_list"), sentence, remedy, severity="warning")


def _start(findings: Findings, loc: Loc, spec: PropertySpec) -> tuple[str, str]:
    """Check where a value is taken from; return its kind ("" after a finding) and how to call it."""
    if spec.source is not None:
        found = findings.field((*loc, "source"), spec.source)
        return (found.type if found else ""), quoted(spec.source)
    if spec.first_of is not None:
        return _first_of(findings, (*loc, "first_of"), spec.first_of), "the first of these"
    if spec.template is not None:
        findings.template((*loc, "template"), spec.template)
    if spec.cases is not None:
        _check_cases(findings, (*loc, "cases"), spec.cases)
    return "text", quoted(spec.ways[0])


def _first_of(findings: Findings, loc: Loc, paths: Sequence[str]) -> str:
    if not paths:
        findings.tell(loc, "'first_of' lists no field", "name at least one, as in [phone1, phone2]", key=True)
        return ""
    fields = [findings.field((*loc, number), path) for number, path in enumerate(paths)]
    kinds = {found.type for found in fields if found}
    if None in fields:
        return ""
    return (
        kinds.pop() if len(kinds) == 1 else next((kind for kind in ("elements", "list") if kind in kinds), "text")
    )


def _check_cases(findings: Findings, loc: Loc, cases: Sequence[CaseSpec]) -> None:
    if not cases:
        findings.tell(loc, "'cases' lists no case", "write {when: .., value: ..} for each", key=True)
    for number, case in enumerate(cases):
        at = (*loc, number, "when")
        if case.when:
            findings.conditions(at, case.when)
        else:
            findings.tell(at, "'when' names no condition", "write {source: .., is: ..}", key=True)
    check_cases(findings, loc, cases)


def _check_elements(findings: Findings, loc: Loc, spec: ElementsSpec) -> None:
    listed = findings.field((*loc, "each"), spec.each)
    if listed is not None and listed.type != "elements":
        remedy = "use 'source' and a transform for it"
        findings.tell((*loc, "each"), f"{quoted(spec.each)} is not a list of elements", remedy)
    elif listed is not None:
        key = findings.field((*loc, "key"), spec.key.source, each=spec.each)
        _check_one(findings, (*loc, "key"), spec.key, key)
        if key is not None and not spec.key.transform and spec.key.source.rpartition(".")[2] != "id":
            remedy = "use an id, through a code list if the name should be readable"
            findings.tell((*loc, "key"), f"{quoted(spec.key.source)} can change in Moodle", remedy)
        value = findings.field((*loc, "source"), spec.source, each=spec.each)
        _check_one(findings, loc, spec, value)
    sample = spec.name.replace(KEY_MARK, "x" if spec.key.transform else "0")  # a bare id is a number
    if spec.name.count(KEY_MARK) != 1 or not legal_name(sample):
        remedy = "start with a letter and write {key} once, as in grade_{key}"
        findings.tell((*loc, "name"), "this makes no property name that CommCare takes", remedy)


def _check_one(
    findings: Findings, loc: Loc, spec: ElementsSpec | ElementKeySpec, found: CatalogueField | None
) -> None:
    """Check that an element's key or value ends as one text."""
    end = findings.steps((*loc, "transform"), spec.transform, found.type if found else "", quoted(spec.source))
    if end == "list":
        remedy = 'end its transform with join, first or count, as in [{join: ", "}]'
        findings.tell((*loc, "transform"), "this ends as a list, a property holds one text", remedy, key=True)


def _check_personal(findings: Findings, loc: Loc, name: str, spec: PropertySpec) -> None:
    fields = [find_field(findings.catalogue, findings.spec.source, path) for path in value_paths(spec)]
    personal = [found.path for found in fields if found and found.personal]
    if personal and spec.personal is None:
        sentence = f"{quoted(name)} carries personal data ({', '.join(personal)}) and does not say so"
        remedy = "add 'personal: true' (kept out of logs) or 'personal: false'"
        findings.tell(loc, sentence, remedy, key=True, severity="warning")
