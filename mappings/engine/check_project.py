"""Checks project.yaml's own words and reads its tables."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from mappings.engine.codes import CodeTable, TableError, code_list, read_lookup
from mappings.engine.findings import ProjectNames
from mappings.engine.names import RESERVED, legal_name, name_refusal
from mappings.engine.phones import country_refusal
from mappings.engine.problems import Problem, quoted, suggestion
from mappings.engine.project import fixed_owner
from mappings.engine.project_spec import CodeListsSpec, ProjectSpec
from mappings.engine.reading import Document, Loc, Mark
from mappings.engine.steps import Surroundings
from mappings.engine.transform import OURS, TransformList
from mappings.engine.words import LANGUAGE

_SITE: Final = re.compile(r"[a-z0-9-]{1,20}")
_ADDRESS: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


@dataclass(frozen=True)
class CodeListFile:
    """code_lists.yaml as far as it could be read; `spec` is None when its shape is wrong."""

    document: Document
    spec: CodeListsSpec | None
    problems: tuple[Problem, ...] = ()


@dataclass
class ProjectFindings:
    """project.yaml under examination, and the tables that could be read; `lists` is code_lists.yaml."""

    document: Document
    spec: ProjectSpec
    folder: Path
    lists: CodeListFile | None = None
    transforms: TransformList = OURS
    problems: list[Problem] = field(default_factory=list)
    lookups: dict[str, CodeTable] = field(default_factory=dict)

    def tell(self, loc: Loc, sentence: str, remedy: str = "") -> None:
        """Note a finding at a place of project.yaml."""
        self.problems.append(self.document.problem(self.document.mark(loc), sentence, remedy))

    @property
    def code_lists(self) -> Mapping[str, Mapping[str, str]]:
        """Return the code lists of both files."""
        more = self.lists.spec.code_lists if self.lists and self.lists.spec else {}
        return {**more, **self.spec.code_lists}


def project_names(findings: ProjectFindings) -> ProjectNames:
    """Return the names that mappings may use."""
    spec, lists = findings.spec, findings.lists
    return ProjectNames(
        None if lists is not None and lists.spec is None else frozenset(findings.code_lists),
        frozenset(spec.lookups),
        spec.owner is not None,
        spec.moodle_key_property,
        spec.parked_owner is not None,
        findings.transforms,
        {name: value for name, entries in findings.code_lists.items() for value in _spaced(entries)},
        {name: frozenset(entries.values()) for name, entries in findings.code_lists.items()},
    )


def _spaced(entries: Mapping[str, str]) -> list[str]:
    """Return a value of a code list that has a blank inside, if there is one."""
    return [value for value in entries.values() if " " in value.strip()][:1]


def surroundings(findings: ProjectFindings) -> Surroundings | None:
    """Check project.yaml and return what it gives to mappings; None after a finding."""
    spec = findings.spec
    if findings.lists is not None:
        findings.problems += findings.lists.problems
    for check in (
        _check_place,
        _check_courses,
        _check_code_lists,
        _check_lookups,
        _check_owner,
        _check_language,
        _check_limits,
    ):
        check(findings)
    if findings.problems:
        return None
    lists = {name: code_list(name, entries) for name, entries in findings.code_lists.items()}
    owners = fixed_owner(spec.owner), fixed_owner(spec.parked_owner)
    return Surroundings(
        ZoneInfo(spec.time_zone), spec.country, lists, findings.lookups, *owners, findings.transforms
    )


def _check_place(findings: ProjectFindings) -> None:
    spec = findings.spec
    if not _SITE.fullmatch(spec.site):
        remedy = "small letters, digits and -, at most 20; it is part of every key and can never change"
        findings.tell(("site",), f"{quoted(spec.site)} cannot be a site's short name", remedy)
    if spec.site_url and not _ADDRESS.fullmatch(spec.site_url):
        findings.tell(
            ("site_url",), f"{quoted(spec.site_url)} is not an address", "write https://moodle.example.org"
        )
    if not _is_zone(spec.time_zone):
        none = "look it up in the list of IANA time zones, as in Africa/Nairobi"
        remedy = suggestion(spec.time_zone, zoneinfo.available_timezones(), none=none)
        findings.tell(("time_zone",), f"there is no time zone {quoted(spec.time_zone)}", remedy)
    refusal = country_refusal(spec.country)
    if refusal:
        findings.tell(("country",), f"there is no country {quoted(spec.country)}", refusal)


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _check_courses(findings: ProjectFindings) -> None:
    for word in ("ids", "categories"):
        found = getattr(findings.spec.courses, word)
        if len(found) != len(set(found)):
            findings.tell(("courses", word), f"{quoted(word)} names one number twice", "keep one of them")
    if 1 in findings.spec.courses.ids:
        findings.tell(
            ("courses", "ids"), "course 1 is the site's front page", "choose the courses people learn in"
        )


def _check_code_lists(findings: ProjectFindings) -> None:
    project, lists = findings.document, findings.lists
    told = findings.problems
    told += _empty_lists(project, findings.spec.code_lists)
    if lists is None or lists.spec is None:
        return
    told += _empty_lists(lists.document, lists.spec.code_lists)
    for name in lists.spec.code_lists:
        if name in findings.spec.code_lists:
            loc: Loc = ("code_lists", name)
            sentence = f"code list {quoted(name)} also stands in project.yaml"
            remedy = f"keep one of them: the other is on line {project.mark(loc, key=True).line} of project.yaml"
            told.append(lists.document.problem(lists.document.mark(loc, key=True), sentence, remedy))


def _empty_lists(document: Document, code_lists: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    for name, entries in code_lists.items():
        if not [code for code in entries if code != "otherwise"]:
            mark = document.mark(("code_lists", name))
            yield document.problem(mark, f"code list {quoted(name)} has no entry", "write 'code: value' lines")


def _check_lookups(findings: ProjectFindings) -> None:
    for name, lookup in findings.spec.lookups.items():
        try:
            findings.lookups[name] = read_lookup(findings.folder, name, lookup)
        except TableError as error:
            for fault in error.faults:
                if fault.line == 0:
                    findings.tell(("lookups", name, fault.key), fault.sentence, fault.remedy)
                    continue
                table = Document(str(findings.folder / lookup.file), [])
                mark = Mark(fault.line, 1, 1)
                findings.problems.append(table.problem(mark, fault.sentence, fault.remedy))


def _check_owner(findings: ProjectFindings) -> None:
    for word in ("owner", "parked_owner"):
        owner = getattr(findings.spec, word)
        if owner is not None and owner.project:
            sentence = f"'project' names nobody here: this is where {quoted(word)} is said"
            findings.tell((word,), sentence, "write {group: its name in CommCare}")
        elif owner is not None and not str(getattr(owner, owner.kind)).strip():
            findings.tell((word, owner.kind), "this owner has no name", "write its name in CommCare")
    if findings.spec.owner is not None and findings.spec.owner == findings.spec.parked_owner:
        remedy = "name one whose cases no phone syncs, as a location without mobile workers"
        findings.tell(("parked_owner",), "cases would be parked with the owner they have already", remedy)


def _check_language(findings: ProjectFindings) -> None:
    language = findings.spec.names.language
    if language and not LANGUAGE.fullmatch(language):
        remedy = "write the code of a language pack of this Moodle, as in sw or pt_br"
        findings.tell(("names", "language"), f"{quoted(language)} is not the code of a language", remedy)


def _check_limits(findings: ProjectFindings) -> None:
    spec = findings.spec
    name = spec.moodle_key_property
    if name in RESERVED:
        sentence = f"{quoted(name)} belongs to CommCare and cannot be a property"
        findings.tell(("moodle_key_property",), sentence, "choose another name, as in moodle_key")
    elif not legal_name(name):
        findings.tell(("moodle_key_property",), *name_refusal("property", name))
    for word in ("leavers_percent", "run_percent", "problems_failed_percent"):
        _check(findings, ("guards", word), getattr(spec.guards, word), lambda share: 0 <= share <= 100, "0 to 100")
    for word, hours in spec.intervals.model_dump().items():
        if hours is not None:
            _check(findings, ("intervals", word), hours, lambda value: value > 0, "hours, more than 0")


def _check(
    findings: ProjectFindings, loc: Loc, value: float, holds: Callable[[float], bool], range_words: str
) -> None:
    if not holds(value):
        findings.tell(loc, f"{quoted(str(loc[-1]))} is out of range", f"it takes {range_words}")
