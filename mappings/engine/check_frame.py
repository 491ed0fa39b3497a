"""Checks everything of a mapping that is not a property: key, name, filters, owner, parents, departures."""

from __future__ import annotations

from typing import Final

from mappings.engine.catalogue import IDENTITY, PROJECT_FIELDS, find_field
from mappings.engine.check_conditions import check_filters
from mappings.engine.check_match import check_match
from mappings.engine.check_properties import check_name
from mappings.engine.check_words import check_words
from mappings.engine.check_write_back import check_write_back
from mappings.engine.findings import Findings
from mappings.engine.problems import one_of, quoted, suggestion
from mappings.engine.reading import Loc
from mappings.engine.spec import DepartureSpec
from mappings.engine.templates import skeleton

_IN_COURSE: Final = ("enrolments", "grade_items", "assignments")
_CASE_TYPES_OF_COMMCARE: Final = frozenset(("commcare-user", "commcare-case-claim", "user-owner-mapping-case"))
_NOUNS: Final = {
    "users": "one person",
    "enrolments": "one enrolment",
    "grade_items": "one grade",
    "courses": "one course",
    "engagement": "one learner",
    "assignments": "one piece of work",
}


def check_source(findings: Findings) -> bool:
    """Check that the source exists; without it no field can be looked up."""
    source = findings.spec.source
    if source in findings.catalogue:
        return True
    findings.tell(("source",), f"there is no source {quoted(source)}", suggestion(source, findings.catalogue))
    return False


def check_frame(findings: Findings) -> None:
    """Check a mapping's own parts apart from its properties."""
    spec = findings.spec
    if spec.case_type in _CASE_TYPES_OF_COMMCARE:
        findings.tell(("case_type",), f"{quoted(spec.case_type)} belongs to CommCare", "choose another case type")
    else:
        findings.name(("case_type",), "case type", spec.case_type)
    findings.conditions(("include",), spec.include)
    findings.conditions(("exclude",), spec.exclude)
    check_filters(findings)
    check_words(findings)
    _check_key(findings)
    findings.template(("case_name",), spec.case_name)
    _check_owner(findings)
    _check_indices(findings)
    _check_ignored(findings)
    for word in ("when_left", "when_excluded", "when_course_ends"):
        _check_departure(findings, (word,), getattr(spec, word))
    _check_course_end(findings)
    _check_recheck(findings)
    check_match(findings)
    check_write_back(findings)
    if not spec.tests:
        remedy = "add 'tests:' with a made-up record and what should come out"
        findings.tell((), "this mapping has no test", remedy, severity="warning")


def _check_key(findings: Findings) -> None:
    loc: Loc = ("external_id",)
    pieces = findings.template(loc, findings.spec.external_id)
    source = findings.spec.source
    needed = IDENTITY.get(source, ())
    unknown = {piece.path for piece in pieces if piece.path and not _is_field(findings, piece.path)}
    for piece in pieces:
        if piece.path not in ("", "site", "id", *unknown) and not piece.path.endswith(".id"):
            sentence = f"{quoted(piece.path)} can change in Moodle, a key never may"
            findings.tell_within(loc, piece, sentence, f"use ids, as in {{{(*needed, 'user.id')[0]}}}")
    paths = [piece.path for piece in pieces if piece.path]
    if not pieces:
        return
    if "site" not in paths:
        remedy = "add {site}, so that two Moodle sites never share a key"
        findings.tell(loc, "this key does not name the site", remedy)
    if not unknown and not set(needed) <= set(paths):  # a misspelt id is told as such
        remedy = f"it needs {' and '.join('{' + path + '}' for path in needed)}"
        findings.tell(loc, f"this key does not tell {_NOUNS.get(source, 'one record')} from the others", remedy)
    if any(not literal for literal, path in skeleton(findings.spec.external_id)[1:] if path):
        findings.tell(loc, "two ids touch each other in this key", "put a - between them")
    if "~" in findings.spec.external_id:
        findings.tell(loc, "a key has no '~'", "it marks the second life of a case, as in ~2")


def _is_field(findings: Findings, path: str) -> bool:
    return path in PROJECT_FIELDS or find_field(findings.catalogue, findings.spec.source, path) is not None


def _check_owner(findings: Findings) -> None:
    owner = findings.spec.owner
    for number, rule in enumerate(owner.first_of):
        loc: Loc = ("owner", "first_of", number)
        found = findings.field((*loc, rule.kind), rule.source)
        if found is not None and found.type not in ("text", "list"):
            findings.tell((*loc, rule.kind), f"{quoted(rule.source)} does not hold names", "use a text or a list")
        if rule.lookup is not None:
            findings.table((*loc, "lookup"), "lookup", rule.lookup)
    last = owner.otherwise
    if last is not None and last.project and findings.project is not None and not findings.project.has_owner:
        remedy = "add 'owner: {group: its name in CommCare}' to project.yaml; an owner is never invented"
        findings.tell(("owner", "otherwise"), "project.yaml names no owner", remedy)
    if last is not None and not last.project and not str(getattr(last, last.kind)).strip():
        findings.tell(("owner", "otherwise", last.kind), "this owner has no name", "write its name in CommCare")
    parents = {index.case_type for index in findings.spec.indices.values()}
    if owner.same_as is not None and owner.same_as not in parents:
        remedy = suggestion(owner.same_as, parents, none="add it under 'indices'")
        findings.tell(("owner", "same_as"), f"{quoted(owner.same_as)} is not a parent of this case", remedy)


def _check_indices(findings: Findings) -> None:
    for name, index in findings.spec.indices.items():
        loc: Loc = ("indices", name)
        findings.name(loc, "index", name, key=True)
        findings.template((*loc, "external_id"), index.external_id)


def _check_ignored(findings: Findings) -> None:
    for number, name in enumerate(findings.spec.ignore_changes):
        if name not in findings.spec.properties:
            remedy = suggestion(name, findings.spec.properties)
            findings.tell(("ignore_changes", number), f"this mapping has no property {quoted(name)}", remedy)
        elif findings.spec.properties[name].retire is not None:
            findings.tell(("ignore_changes", number), f"{quoted(name)} is retired", "take it out of this list")


def _check_course_end(findings: Findings) -> None:
    spec = findings.spec
    if spec.when_course_ends is not None and spec.source not in _IN_COURSE:
        sentence = f"records of {quoted(spec.source)} do not end with a course"
        remedy = f"take it out, or put it into a mapping of {one_of(_IN_COURSE)}"
        findings.tell(("when_course_ends",), sentence, remedy, key=True)
    if spec.when_left is not None and spec.source == "courses":
        sentence = "no course is ever marked as left: one that is not read may be there still"
        findings.tell(("when_left",), sentence, "take 'when_left' out", key=True, severity="warning")


def _check_departure(findings: Findings, loc: Loc, spec: DepartureSpec | None) -> None:
    if spec is None:
        return
    if spec.park and findings.project is not None and not findings.project.has_parked_owner:
        remedy = "add 'parked_owner: {location: its site code}' there: an owner whose cases no phone syncs"
        findings.tell((*loc, "park"), "project.yaml does not say who owns a parked case", remedy, key=True)
    for name in spec.set:
        at = (*loc, "set", name)
        if not check_name(findings, at, name):
            continue
        known = findings.spec.properties.get(name)
        if known is not None and known.retire is not None:
            remedy = "take it out here, or keep the property"
            findings.tell(at, f"{quoted(name)} is retired, and here it is set", remedy, key=True)
        if known is None:
            remedy = suggestion(name, findings.spec.properties)
            sentence = (
                f"{quoted(name)} is no property of this mapping, so nothing sets it back when somebody returns"
            )
            findings.tell(at, sentence, remedy, key=True, severity="warning")


def _check_recheck(findings: Findings) -> None:
    used = False
    for name, spec in findings.spec.properties.items():
        elements = spec.one_property_per
        places: list[tuple[Loc, list[str]]] = [(("transform",), [step.name for step in spec.transform])]
        if elements is not None:
            places.append((("one_property_per", "transform"), [step.name for step in elements.transform]))
            places.append(
                (("one_property_per", "key", "transform"), [step.name for step in elements.key.transform])
            )
        for inner, steps in places:
            for number, step in enumerate(steps):
                known = findings.transforms.find(step)
                if known is None or "today" not in known.needs:
                    continue
                used = True
                loc: Loc = ("properties", name, *inner, number)
                if not findings.spec.recheck_daily:
                    remedy = "add 'recheck_daily: true' at the top, so that records are looked at again every day"
                    findings.tell(loc, f"{step} depends on today's date", remedy)
    if findings.spec.recheck_daily and not used:
        sentence = "nothing in this mapping depends on today's date"
        findings.tell(("recheck_daily",), sentence, "take 'recheck_daily' out", key=True, severity="warning")
