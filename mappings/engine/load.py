"""Reads a folder of mappings: everything wrong with it at once, or the project ready to run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from mappings.engine.catalogue import Catalogue, find_field
from mappings.engine.check_frame import check_frame, check_source
from mappings.engine.check_plugins import check_plugins
from mappings.engine.check_project import CodeListFile, ProjectFindings, project_names, surroundings
from mappings.engine.check_properties import check_properties
from mappings.engine.compile import CompiledMapping, Place, compile_mapping
from mappings.engine.costs import Cost, costs_of
from mappings.engine.examples import Examples
from mappings.engine.findings import Findings, ProjectNames
from mappings.engine.graph import MappingFile, places
from mappings.engine.odd_texts import is_table, no_schema_line
from mappings.engine.problems import MappingError, Problem, in_file_order
from mappings.engine.project import Guards, NamesChoice, Project, course_choice, intervals
from mappings.engine.project_spec import CodeListsSpec, ProjectSpec
from mappings.engine.reading import Document, read_document
from mappings.engine.shape import read_shape
from mappings.engine.spec import MappingSpec
from mappings.engine.steps import Surroundings
from mappings.engine.tables import read_tables
from mappings.engine.transform import TransformList

PROJECT_FILE = "project.yaml"
CODE_LISTS_FILE = "code_lists.yaml"


def mapping_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold a mapping each, by name."""
    others = (PROJECT_FILE, CODE_LISTS_FILE)
    return [file for file in sorted(folder.glob("*.yaml")) if file.name not in others and not is_table(file.name)]


@dataclass(frozen=True)
class CheckReport:
    """What `check` found: `problems` in file order, warnings too, and how the inline tests went.

    `mappings` counts the mappings that are on and right; `switched_off` names the files with `enabled: false`,
    whose findings are warnings only; `costs` is what costly fields of the mappings that are on add to a run.
    `tables` and `tables_off` name the lookup table files that are right and on, and those that are off.
    """

    problems: tuple[Problem, ...]
    tests_run: int
    tests_failed: int
    mappings: int
    switched_off: tuple[str, ...]
    costs: tuple[Cost, ...] = ()
    tables: tuple[str, ...] = ()
    tables_off: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The findings that keep the mappings from being used."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to do: no mistake, and no failed test of a mapping that is on."""
        return all(problem.severity == "warning" for problem in self.problems)


def load_project(folder: Path, catalogue: Catalogue, *, plugins: bool = True) -> Project:
    """Return the project in a folder, checked and compiled; MappingError with all errors, in file order.

    Without `plugins` no code of the project is run: what needs a plug-in is then a value problem.
    """
    reading = _read(folder, catalogue, plugins=plugins)
    errors = [problem for problem in reading.problems() if problem.severity == "error"]
    if errors or reading.spec is None or reading.around is None:
        raise MappingError(errors)
    enabled = [file for file in reading.files if file.enabled]
    off = [file for file in reading.files if not file.enabled and file.is_right]
    project = _project(reading, _compiled(reading, enabled, catalogue), _compiled(reading, off, catalogue))
    tables = _compiled(reading, [file for file in reading.tables if file.enabled], catalogue)
    tables_off = [file for file in reading.tables if not file.enabled and file.is_right]
    return replace(project, tables=tables, tables_off=_compiled(reading, tables_off, catalogue))


def check_project(folder: Path, catalogue: Catalogue, *, plugins: bool = True) -> CheckReport:
    """Return everything that is wrong or doubtful in a folder, inline tests included; never raises for it.

    Without `plugins` no code of the project is run: what needs a plug-in is reported as not looked at.
    """
    try:
        reading = _read(folder, catalogue, plugins=plugins)
    except MappingError as error:
        return CheckReport(tuple(error.problems), 0, 0, 0, ())
    mappings = _compiled(reading, [file for file in reading.files if file.is_right], catalogue)
    tables = _compiled(reading, [file for file in reading.tables if file.is_right], catalogue)
    run = failed = 0
    by_name = {file.name: file for file in (*reading.files, *reading.tables)}
    for mapping in (*mappings, *tables):
        examples = _run_examples(reading, by_name[mapping.name], mapping, catalogue)
        run, failed = run + examples.run, failed + examples.failed
    off = tuple(file.name for file in reading.files if not file.enabled)
    on = [mapping for mapping in mappings if mapping.name not in off]
    costs = tuple(cost for mapping in on for cost in costs_of(mapping, catalogue))
    tables_off = tuple(file.name for file in reading.tables if not file.enabled)
    tables_on = tuple(table.name for table in tables if table.name not in tables_off)
    problems = tuple(reading.problems())
    return CheckReport(problems, run, failed, len(on), off, costs, tables_on, tables_off)


def run_tests(
    folder: Path, catalogue: Catalogue, *, plugins: bool = True
) -> list[tuple[MappingFile, Examples | None]]:
    """Return each mapping file with its tests run, None for a file that is not right; MappingError for none."""
    reading = _read(folder, catalogue, plugins=plugins)
    if reading.around is None:
        raise MappingError(reading.problems())
    found: list[tuple[MappingFile, Examples | None]] = []
    for file in (*reading.files, *reading.tables):
        compiled = _compiled(reading, [file], catalogue) if file.is_right else ()
        found.append((file, _run_examples(reading, file, compiled[0], catalogue) if compiled else None))
    return found


@dataclass
class _Reading:
    """A folder as far as it could be read."""

    folder: Path
    spec: ProjectSpec | None = None
    around: Surroundings | None = None
    project_problems: list[Problem] = field(default_factory=list)
    files: list[MappingFile] = field(default_factory=list)
    tables: list[MappingFile] = field(default_factory=list)
    places: Mapping[str, Place] = field(default_factory=dict)

    def problems(self) -> list[Problem]:
        """Return all findings in file order; those of a switched-off mapping stop nothing."""
        found = list(self.project_problems)
        for file in (*self.files, *self.tables):
            found += file.problems if file.enabled else [replace(p, severity="warning") for p in file.problems]
        return in_file_order(found)


def _read(folder: Path, catalogue: Catalogue, *, plugins: bool) -> _Reading:
    project_file = folder / PROJECT_FILE
    if not project_file.is_file():
        sentence, remedy = "there is no such file", "`moodle-commcare init` asks a few questions and writes it"
        raise MappingError([Problem(str(project_file), 1, 1, 1, sentence, remedy, "")])
    reading = _Reading(folder)
    names = _read_project(reading, project_file, plugins=plugins)
    for file in sorted(folder.glob("*.yml")):
        sentence, remedy = (
            "this file is not read, because its name ends in .yml",
            "rename it to .yaml, or delete it",
        )
        reading.project_problems.append(Problem(str(file), 1, 1, 1, sentence, remedy, ""))
    reading.files = [_read_mapping(file) for file in mapping_files(folder)]
    if not reading.files:
        sentence, remedy = "there is no mapping in this folder", "copy student.yaml and enrolment.yaml here"
        reading.project_problems.append(Problem(str(project_file), 1, 1, 1, sentence, remedy, ""))
    for read in reading.files:
        if read.spec is not None:
            read.problems += _check_names(read.document, read.spec, catalogue, names)
    reading.tables = read_tables(folder, catalogue, names)
    reading.places = {**places(reading.files), **{file.name: Place(0, ()) for file in reading.tables}}
    return reading


def _read_project(reading: _Reading, file: Path, *, plugins: bool) -> ProjectNames | None:
    lists = _read_code_lists(reading.folder / CODE_LISTS_FILE)
    try:
        document = read_document(file)
        reading.spec, reading.project_problems = read_shape(document, ProjectSpec)
    except MappingError as error:
        reading.project_problems = list(error.problems)
    if reading.spec is None:
        reading.project_problems += lists.problems if lists is not None else ()
        return None
    findings = ProjectFindings(document, reading.spec, reading.folder, lists)
    findings.transforms = check_plugins(findings, load=plugins)
    reading.around = surroundings(findings)
    reading.project_problems += findings.problems
    return project_names(findings)


def _read_code_lists(file: Path) -> CodeListFile | None:
    if not file.is_file():
        return None
    try:
        document = read_document(file)
    except MappingError as error:
        return CodeListFile(Document(str(file), []), None, tuple(error.problems))
    spec, problems = read_shape(document, CodeListsSpec)
    return CodeListFile(document, spec, tuple(problems))


def _read_mapping(file: Path) -> MappingFile:
    try:
        document = read_document(file)
    except MappingError as error:
        return MappingFile(file.stem, Document(str(file), []), None, error.problems)
    spec, problems = read_shape(document, MappingSpec)
    problems += no_schema_line(document)
    return MappingFile(file.stem, document, spec, problems)


def _check_names(
    document: Document, spec: MappingSpec, catalogue: Catalogue, names: ProjectNames | None
) -> list[Problem]:
    findings = Findings(document, spec, catalogue, names)
    if check_source(findings):
        check_frame(findings)
        check_properties(findings)
    return findings.problems


def _compiled(
    reading: _Reading, files: Sequence[MappingFile], catalogue: Catalogue
) -> tuple[CompiledMapping, ...]:
    """Return the given right mappings compiled, parents first."""
    if reading.around is None:
        return ()
    made = []
    for file in files:
        if file.spec is not None:
            personal = _privacy(catalogue, file.spec.source)
            made.append(compile_mapping(file.name, file.spec, reading.around, reading.places[file.name], personal))
    return tuple(sorted(made, key=lambda mapping: (mapping.level, mapping.name)))


def _privacy(catalogue: Catalogue, source: str) -> Callable[[str], bool]:
    """Return a function that says of a path of one source whether it is personal."""

    def personal(path: str) -> bool:
        found = find_field(catalogue, source, path)
        return found is not None and found.personal

    return personal


def _run_examples(
    reading: _Reading, file: MappingFile, mapping: CompiledMapping, catalogue: Catalogue
) -> Examples:
    spec = reading.spec
    site, site_url = (spec.site, spec.site_url) if spec else ("", "")
    examples = Examples(file.document, mapping, catalogue, site, site_url)
    examples.run_all(file.spec.tests if file.spec else ())
    file.problems += examples.problems
    return examples


def _project(
    reading: _Reading, mappings: tuple[CompiledMapping, ...], switched_off: tuple[CompiledMapping, ...]
) -> Project:
    spec, around = reading.spec, reading.around
    if spec is None or around is None:
        raise MappingError(reading.problems())
    return Project(
        site=spec.site,
        site_url=spec.site_url,
        time_zone=ZoneInfo(spec.time_zone),
        country=spec.country,
        courses=course_choice(spec.courses),
        mappings=mappings,
        revision=_revision(reading.folder, spec, around.transforms),
        owner=around.owner,
        guards=Guards(**spec.guards.model_dump()),
        intervals=intervals(spec.intervals),
        moodle_key_property=spec.moodle_key_property,
        parked_owner=around.parked_owner,
        names=NamesChoice(spec.names.filters, spec.names.language),
        switched_off=switched_off,
        lookup_files={name: lookup.file for name, lookup in spec.lookups.items()},
        files=frozenset(file.name for file in (*reading.files, *reading.tables)),
    )


def _revision(folder: Path, spec: ProjectSpec, transforms: TransformList) -> str:
    """Return a short hash over the names and bytes of all files that a project is made of."""
    files = {*folder.glob("*.yaml"), *(folder / lookup.file for lookup in spec.lookups.values())}
    if spec.transforms_file:
        files.add(folder / spec.transforms_file)
    content = hashlib.sha256()
    for file in sorted(files):
        content.update(f"{file.name}\0".encode())
        content.update(hashlib.sha256(file.read_bytes()).digest())
    for plugin in sorted(transforms.plugins.values(), key=lambda each: each.name):
        content.update(plugin.digest.encode())
    return content.hexdigest()[:12]
