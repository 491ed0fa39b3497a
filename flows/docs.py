"""What a client gets: the mappings as a specification sheet, the data dictionary, what Moodle has to allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptors.moodle.functions import ALWAYS, CATEGORIES, FUNCTIONS, PERSON_BY_PERSON, TOGETHER
from flows.catalogue import field_catalogue
from flows.errors import UsageError
from flows.steps.gate import needed_functions
from flows.steps.pull import wanted_by
from flows.workbook import dictionary_workbook, same_workbook, specification_workbook
from mappings.engine import Project, load_project
from mappings.engine.diagram import diagram
from mappings.engine.dictionary import dictionary
from mappings.engine.markdown import code, plain, specification_markdown, table_lines
from mappings.engine.phrases import phrase_languages, phrases
from mappings.engine.sheet import specification
from mappings.engine.words import LANGUAGE

USUAL_LANGUAGE = "en"


@dataclass(frozen=True)
class Documents:
    """The documents by file name; `notes` say what they could not hold."""

    files: dict[str, bytes]
    notes: tuple[str, ...]


def documents(folder: Path, language: str = USUAL_LANGUAGE) -> Documents:
    """Make all documents of a mappings folder; raises MappingError, and UsageError for an unknown language."""
    catalogue = field_catalogue()
    project = load_project(folder, catalogue)
    _refuse_unknown(language, project)
    words = phrases(language)
    sheet = specification(project, catalogue, words)
    properties = dictionary(project.mappings, language)
    mark = "" if language == USUAL_LANGUAGE else f".{language}"
    files = {
        f"specification{mark}.md": specification_markdown(sheet, diagram(project, words)).encode(),
        f"specification{mark}.xlsx": specification_workbook(sheet),
        "moodle-functions.md": moodle_functions(project).encode(),
    }
    if properties.sheets:
        files[f"data-dictionary{mark}.xlsx"] = dictionary_workbook(properties)
    return Documents(files, (*properties.left_out, *_tables_left_out(project)))


def _tables_left_out(project: Project) -> Iterator[str]:
    for table in project.tables:
        yield (
            f"{table.name}: the data dictionary has no room for it, because CommCare's knows case types only; its "
            "fields are in the specification"
        )


def write_documents(made: Documents, folder: Path) -> list[Path]:
    """Write the documents that differ from those in a folder, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    stale = [folder / name for name in stale_documents(made, folder)]
    for path in stale:
        path.write_bytes(made.files[path.name])
    return stale


def stale_documents(made: Documents, folder: Path) -> list[str]:
    """Return the names of the documents that are missing in a folder or say something else there."""
    return [name for name, raw in made.files.items() if not _same(folder / name, raw)]


def _same(file: Path, raw: bytes) -> bool:
    if not file.is_file():
        return False
    there = file.read_bytes()
    return there == raw or (file.suffix == ".xlsx" and same_workbook(there, raw))


def _refuse_unknown(language: str, project: Project) -> None:
    """Refuse a language in which neither the fixed words nor any label would be."""
    known = set(phrase_languages())
    for mapping in project.everything:
        known.update(mapping.spec.description)
        for note in mapping.notes.values():
            known.update(note.labels, note.descriptions)
    if not LANGUAGE.fullmatch(language) or not known & {language, re.split("[_-]", language)[0]}:
        listed = ", ".join(sorted(known - {""}))
        raise UsageError(f"There are no words in the language '{language}'. There are: {listed}.")


def moodle_functions(project: Project) -> str:
    """Return the list of the Moodle functions that a run of this project calls, as Markdown."""
    return "\n".join(_function_lines(project)) + "\n"


def used_functions(project: Project) -> dict[str, list[str]]:
    """Return the functions that a run calls, each with the mappings that need it; [] for what every run calls."""
    used: dict[str, list[str]] = {name: [] for name in ALWAYS}
    if project.courses.categories:
        used[CATEGORIES] = []
    for mapping in (*project.mappings, *project.tables):
        for name in needed_functions(wanted_by([mapping])):
            if name not in ALWAYS:
                used.setdefault(name, []).append(mapping.name)
    together = [name for name in used if name in PERSON_BY_PERSON]
    if together:
        used[TOGETHER] = list(dict.fromkeys(mapping for name in together for mapping in used[name]))
    return used


def _function_lines(project: Project) -> Iterator[str]:
    used = used_functions(project)
    called = [function for function in FUNCTIONS if function.name in used]
    yield from ("# What Moodle has to allow", "")
    yield "For whoever looks after the Moodle site. The service account calls these functions, and only to read."
    yield ""
    rows = [
        (
            code(one.name),
            plain(one.purpose),
            plain(one.calls),
            _needed_by(used[one.name]),
            _rights(one.rights),
        )
        for one in called
    ]
    yield from table_lines(("Function", "What for", "How often", "Needed by", "What the role needs"), rows)
    yield from ("", "## Sample answers", "", "Made-up people, cut short.")
    for one in called:
        yield from ("", f"### {one.name}", "", "```json", one.sample, "```")


def _needed_by(mappings: Sequence[str]) -> str:
    return ", ".join(map(code, mappings)) or "every run"


def _rights(rights: Sequence[str]) -> str:
    return "<br>".join(map(plain, rights))
