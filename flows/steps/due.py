"""Which mappings a run reads for: each stream of Moodle has its own interval, and not every run asks for all."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from flows.result import Result, RunState
from flows.steps.edits import Edit
from flows.world import World
from mappings.engine import CompiledMapping
from mappings.engine.reads import value_paths
from mappings.engine.spec import PropertySpec
from mappings.engine.templates import template_paths
from state.facts import NEVER_READ, READS

GRADES = "grades"
STREAMS = {
    "users": "people",
    "enrolments": "enrolments",
    "grade_items": GRADES,
    "courses": "courses",
    "engagement": "engagement",
    "assignments": "assignments",
}
USUAL_HOURS = {"engagement": 24.0}
NEARLY = 0.95  # of an interval: a schedule that comes round a little early must not skip every other run
HOUR = 3600.0
TRIES = 3
"""Runs in a row that read again at once what could not all be read; from then on its interval counts again."""
TRIED = "unread_runs"  # fact in the books: mapping -> runs in a row in which not all of it could be read
CHOICE = "courses_chosen:{name}"  # fact in the books: what `courses:` said when a mapping was read last


@dataclass
class Due:
    """The mappings to read for, those that wait for their interval, and whether grades are read."""

    mappings: list[CompiledMapping] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    grades: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    """What the books said at the beginning of when the mappings were read, and of what was chosen then."""


async def find_due(
    world: World, mappings: Sequence[CompiledMapping], edits: Mapping[str, Edit], unsettled: Collection[str]
) -> Due:
    """Choose the mappings whose streams are due; for those in `unsettled`, and edited ones, no interval counts.

    Another choice of courses is an edit of all mappings.
    """
    names = [fact.format(name=mapping.name) for mapping in mappings for fact in (READS, CHOICE)]
    due = Due(facts=await world.books.do(world.books.store.get_all, names))
    for mapping in mappings:
        streams = set(streams_of(mapping))
        others = due.facts.get(CHOICE.format(name=mapping.name)) not in (None, _choice(world))
        edited = others or (mapping.name in edits and edits[mapping.name].is_any)
        if mapping.name not in unsettled and not edited:
            last = due.facts.get(READS.format(name=mapping.name), NEVER_READ)
            streams = _due_streams(world, mapping, streams, json.loads(last))
        if streams:
            due.mappings.append(mapping)
            due.grades = due.grades or GRADES in streams or needs_grades(mapping)
        else:
            due.waiting.append(mapping.name)
    return due


def _choice(world: World) -> str:
    """Return what `courses:` of project.yaml says now."""
    return json.dumps(asdict(world.project.courses), sort_keys=True)


def _due_streams(
    world: World, mapping: CompiledMapping, streams: Collection[str], last: Mapping[str, float]
) -> set[str]:
    """Return the streams of a mapping whose last complete read is an interval ago, or was on another day."""
    now, zone = world.clock.now(), world.project.time_zone
    today = datetime.fromtimestamp(now, zone).date()
    found = set()
    for stream in streams:
        hours = world.project.intervals.get(stream, USUAL_HOURS.get(stream, 0.0))
        read = last.get(stream)
        recent = read is not None and 0 <= now - read < hours * HOUR * NEARLY
        if not recent or (mapping.recheck_daily and today != datetime.fromtimestamp(read or now, zone).date()):
            found.add(stream)
    return found


def tell_waiting(result: Result, due: Due) -> None:
    """Name what is not read in this run."""
    result.not_due = due.waiting
    if due.waiting:
        names = ", ".join(due.waiting)
        result.worse(
            RunState.COMPLETED,
            f"Read a short while ago, and not again yet (intervals in project.yaml): {names}. "
            "`moodle-commcare sync --full` reads everything.",
        )


async def remember_reads(world: World, due: Due, started: float, unsettled: Collection[str]) -> None:
    """Write down what a run read completely; of those in `unsettled` nothing: the next run reads again.

    Neither of those for which somebody asked meanwhile, by a word about what waits, that they be read.
    """
    now = dict[str, str]()
    for mapping in due.mappings:
        name = READS.format(name=mapping.name)
        known: dict[str, float] = json.loads(due.facts.get(name, NEVER_READ))
        streams = {stream for stream in streams_of(mapping) if stream != GRADES or due.grades}
        read = {} if mapping.name in unsettled else known | dict.fromkeys(streams, started)
        now[name] = json.dumps(read, sort_keys=True)
        now[CHOICE.format(name=mapping.name)] = _choice(world)
    before = {name: due.facts.get(name) for name in now}
    if differing := {name: text for name, text in now.items() if text != (before[name] or NEVER_READ)}:
        await world.books.do(world.books.store.put_where_unchanged, before, differing)


async def read_again(world: World, read: Iterable[CompiledMapping], unread: Collection[str]) -> set[str]:
    """Count the runs in which mappings could not all be read; return those that the next run reads again at once.

    What fails for good (a course that lost its rights) must not have Moodle asked each hour for what is daily.
    """
    store = world.books.store
    text = await world.books.do(store.get, TRIED)
    known: dict[str, int] = json.loads(text or "{}")
    counts = {name: tries for name, tries in known.items() if name not in {mapping.name for mapping in read}}
    counts |= {name: known.get(name, 0) + 1 for name in unread}
    if counts != known:
        await world.books.do(store.put, TRIED, json.dumps(counts, sort_keys=True))
    return {name for name in unread if counts[name] <= TRIES}


def streams_of(mapping: CompiledMapping) -> Iterator[str]:
    """Yield the streams that a mapping lives on: that of its source, and grades where it reads any."""
    stream = STREAMS[mapping.source]
    yield stream
    if stream != GRADES and any(map(is_grade, mapping.reads)):
        yield GRADES


def is_grade(path: str) -> bool:
    """Say whether a field is one of those that cost calls for grades."""
    return path.startswith(("grade.", "items"))


def needs_grades(mapping: CompiledMapping) -> bool:
    """Say whether a record without grades would be another one, and not just leave them as they are."""
    spec = mapping.spec
    deciding = [condition.source for condition in (*spec.include, *spec.exclude)]
    deciding += [*template_paths(spec.case_name), *template_paths(spec.external_id)]
    deciding += [rule.source for rule in spec.owner.first_of]
    return any(map(is_grade, deciding)) or any(map(_speaks_without, spec.properties.values()))


def _speaks_without(spec: PropertySpec) -> bool:
    """Say whether a property says something else when its grades were not read."""
    paths: Iterable[str] = value_paths(spec) if spec.retire is None else ()
    conditions = [condition.source for case in spec.cases or () for condition in case.when]
    if not any(map(is_grade, (*paths, *conditions))):
        return False
    says = spec.when_not_sent not in (None, "keep") or spec.default is not None
    return says or spec.required or spec.first_of is not None
