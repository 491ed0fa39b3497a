"""Reads the lookup table files of a folder, checked like the mappings that they are apart from having no case."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mappings.engine.catalogue import Catalogue
from mappings.engine.check_frame import check_frame
from mappings.engine.check_properties import check_properties
from mappings.engine.check_table import check_table
from mappings.engine.findings import Findings, ProjectNames
from mappings.engine.graph import MappingFile
from mappings.engine.odd_texts import is_table, no_schema_line
from mappings.engine.problems import MappingError
from mappings.engine.reading import Document, read_document
from mappings.engine.shape import read_shape
from mappings.engine.spec_table import TableSpec


def table_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold a lookup table each, by name: they end in .table.yaml."""
    return sorted(file for file in folder.glob("*.yaml") if is_table(file.name))


def read_tables(folder: Path, catalogue: Catalogue, names: ProjectNames | None) -> list[MappingFile]:
    """Read the lookup table files with all that is wrong in them."""
    tables = [_read_table(file) for file in table_files(folder)]
    tags = Counter(file.spec.case_type for file in tables if file.spec is not None)
    for read in tables:
        if read.spec is not None:
            findings = Findings(read.document, read.spec, catalogue, names)
            check_frame(findings)
            check_properties(findings)
            check_table(findings, [tag for tag, count in tags.items() if count > 1])
            read.problems += findings.problems
    return tables


def _read_table(file: Path) -> MappingFile:
    try:
        document = read_document(file)
    except MappingError as error:
        return MappingFile(file.stem, Document(str(file), []), None, error.problems)
    spec, problems = read_shape(document, TableSpec)
    problems += no_schema_line(document)
    return MappingFile(file.stem, document, spec.mapping() if spec is not None else None, problems)
