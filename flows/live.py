"""One look at the live Moodle by the path of a run: records go to watchers instead of to CommCare.

A watcher stands in the place of a mapping, so whatever source a run can read can be looked at, with the same
readers, batches and limits. The books are in memory and empty; nothing is written anywhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from adaptors.moodle.streams import MoodleReader
from flows.attended import stoppable
from flows.errors import NotRead, UsageError
from flows.open import open_project, open_without_books
from flows.outcome import outcome
from flows.progress import shown_progress
from flows.result import Result, RunState
from flows.run import context_of
from flows.settings import Settings
from flows.steps.pull import Enough, wanted_by
from flows.steps.select import only_these, select_courses
from flows.steps.tables import records_of
from flows.steps.witnesses import WITNESSES
from flows.sync import Options, sync
from flows.world import Progress, World, silent
from mappings.engine import CompiledMapping, Context, Draft, Excluded, HeldBack, Project
from mappings.engine.catalogue import Catalogue

See = Callable[[Mapping[str, Any], Context], None]
TABLE = ".table"  # the name of a lookup table's file ends so
Wants = Callable[[Mapping[str, Any]], bool]


def _everybody(_: Mapping[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class Watcher(CompiledMapping):
    """Stands in the place of a mapping and shows each record to `see`; makes no case of any.

    `wants` says of a record without its costly parts whether they are worth reading.
    """

    see: See = field(kw_only=True, repr=False, compare=False)
    wants: Wants = field(default=_everybody, kw_only=True, repr=False, compare=False)

    def draft(self, record: Mapping[str, Any], context: Context) -> Draft | Excluded | HeldBack:
        """Show the record; raises Enough when the watcher has seen what it wanted."""
        self.see(record, context)
        return Excluded("", "watched")

    def excludes(self, record: Mapping[str, Any]) -> bool:
        """Say whether the costly parts of a record need not be read."""
        return not self.wants(record)


def watch(mapping: CompiledMapping, see: See, *, reads: Iterable[str] = (), wants: Wants | None = None) -> Watcher:
    """Return a watcher of a mapping's source that also has other fields read."""
    values = {each.name: getattr(mapping, each.name) for each in fields(CompiledMapping)}
    values |= {"reads": mapping.reads | frozenset(reads), "parents": (), "level": 0}
    return Watcher(**values, see=see, wants=wants or (lambda record: not mapping.excludes(record)))


def watch_source(project: Project, source: str, see: See, *, reads: Iterable[str]) -> Watcher:
    """Return a watcher of a source that may have no mapping."""
    if not project.mappings:
        raise UsageError("No mapping is switched on in this folder.")
    stand_in = replace(project.mappings[0], name=f"={source}", source=source, reads=frozenset())
    return watch(stand_in, see, reads=reads, wants=_everybody)


def paths_of(catalogue: Catalogue, source: str) -> list[str]:
    """Return the paths of a source; raises UsageError for a source that there is not."""
    if source not in catalogue:
        raise UsageError(f"There is no source '{source}'. There are: {', '.join(sorted(catalogue))}.")
    return list(catalogue[source])


async def look(
    world: World,
    watchers: Sequence[CompiledMapping],
    *,
    courses: Sequence[int] = (),
    first: int = 0,
    progress: Progress = silent,
) -> Result:
    """Read once and show the records to the watchers; `first` is the person to read before the others.

    Returns what a preview would, degraded when a course could not be read. Raises NotRead when Moodle does not
    answer, UsageError for a course that is not selected.
    """
    tables = [watcher for watcher in watchers if watcher.is_table]
    cases = tuple(watcher for watcher in watchers if not watcher.is_table)
    world.project = replace(world.project, mappings=cases, tables=())
    if first:
        await world.books.do(world.books.store.put, WITNESSES, json.dumps({"id": first}))
    result = Result("", preview=True)
    try:
        if tables:
            async with outcome(world, result):
                await _show_courses(world, tables, courses)
        if cases and result.state is RunState.COMPLETED:
            result = await sync(world, Options(tuple(courses), preview=True, full=True), progress)
    except Enough:
        return Result("", preview=True)
    if result.state in (RunState.FAILED, RunState.POSTPONED):
        raise NotRead(" ".join(result.messages), result.state.exit_code)
    return result


async def _show_courses(world: World, tables: Sequence[CompiledMapping], chosen: Sequence[int]) -> None:
    """Show the watchers of lookup tables the chosen courses, which is all that a table is made of."""
    reader, choice = MoodleReader(world.moodle, wanted_by(()), world.sizes()), world.project.courses
    await reader.site()
    categories = await reader.categories() if choice.categories else ()
    courses = select_courses(await reader.courses(), categories, choice, world.clock.now()).courses
    courses = only_these(courses, set(chosen)) if chosen else courses
    context = context_of(world.project, world.site_url, world.clock.now())
    for record in records_of(courses):
        for table in tables:
            table.draft(record, context)


def look_at(
    settings: Settings,
    make: Callable[[Project], Sequence[CompiledMapping]],
    *,
    courses: Sequence[int] = (),
    first: int = 0,
) -> tuple[Project, Result]:
    """Do the same from a command: `make` turns the project into watchers; progress goes to standard error."""

    async def run() -> tuple[Project, Result]:
        with stoppable(asyncio.current_task(), "Stopping."):
            project = open_project(settings)
            watchers = make(project)
            world = open_without_books(settings, project)
            try:
                with shown_progress() as progress:
                    return project, await look(world, watchers, courses=courses, first=first, progress=progress)
            finally:
                await world.close()

    return asyncio.run(run())


def person_in(record: Mapping[str, Any], source: str) -> int:
    """Return the id that `--id` means in a record: the person's, in the source of courses the course's."""
    found = record.get("id") if source in ("users", "courses") else (record.get("user") or {}).get("id")
    return found if isinstance(found, int) else 0


def course_in(record: Mapping[str, Any]) -> str:
    """Return the course of a record in words, "" when it belongs to none."""
    course = record.get("course")
    if not isinstance(course, Mapping):
        return ""
    item = record.get("item")
    name = f"course {course.get('id')} {course.get('shortname') or ''}".strip()
    return f"{name}, {item.get('name') or 'item'} ({item.get('id')})" if isinstance(item, Mapping) else name


def not_found(number: int, source: str, result: Result, where: str) -> str:
    """Say why a look has seen no record of a person (or a course, by the source); `where` says where it looked."""
    if source == "courses":
        return f"Moodle shows no chosen course with the id {number}. The id stands in the course's address."
    if number in result.lost_people:
        return " ".join([f"Moodle did not give the profile of person {number}.", *result.messages])
    nobody = (
        f"Moodle shows nobody with the id {number} in {where}. The id stands in the address of a profile page."
    )
    return " ".join([nobody, *result.messages])


def mapping_named(project: Project, name: str) -> CompiledMapping:
    """Return the mapping of a name, on or off, or the only one of a source; raises UsageError with the names.

    A lookup table goes by its file, with or without `.table`, or by its ID.
    """
    everything = project.everything
    named = [mapping for mapping in everything if mapping.name == name.removesuffix(".yaml")]
    tables = [one for one in everything if one.is_table]
    named = named or [one for one in tables if name in (one.name.removesuffix(TABLE), one.case_type)]
    found = named or [mapping for mapping in (*project.mappings, *project.tables) if mapping.source == name]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(mapping.name for mapping in found)
        raise UsageError(f"Several mappings read the source '{name}': name one of {names}.")
    there = ", ".join(mapping.name for mapping in everything) or "none"
    raise UsageError(f"There is no mapping '{name}'. There are: {there}.")
