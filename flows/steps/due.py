"""Which mappings a run reads for: each stream of Moodle has its own interval, and not every run asks for all."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from flows.result import Result, RunState
from flows.steps.edits import Edit
from flows.steps.left_open import TRIES, put_right
from flows.world import World
from mappings.engine import CompiledMapping, Project
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
HOUR, DAY = 3600.0, 86_400.0
SLACK, LONGEST_SLACK_S = 0.05, 600.0
"""How much of an interval a run may come too early: a schedule is never quite on time."""
HOURS = "read_since"
"""Fact in the books: mapping -> {stream: what its intervals count from, one after the other}: the first read, or
that of a run with `full`. So what is read once a day keeps its hour, whatever is read late, or in between."""
TRIED = "unread_runs"
"""Fact in the books: mapping -> {course (0: the site): runs in a row in which it could not be read for it}."""
CHOICE = "courses_chosen:{name}"  # fact in the books: what `courses:` said when a mapping was read last


@dataclass
class Due:
    """The mappings to read for, those that wait for their interval, and whether grades are read."""

    mappings: list[CompiledMapping] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    grades: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    """What the books said at the beginning of when the mappings were read, and of what was chosen then."""

    def reads(self, name: str) -> dict[str, float]:
        """Return when the streams of a mapping were read completely."""
        found: dict[str, float] = json.loads(self.facts.get(READS.format(name=name), NEVER_READ))
        return found

    @property
    def hours(self) -> dict[str, dict[str, float]]:
        """Return what the intervals of the streams count from, by mapping."""
        found: dict[str, dict[str, float]] = json.loads(self.facts.get(HOURS, "{}"))
        return found

    def read_at(self, name: str) -> float:
        """Return when the last complete read began for a mapping, for whichever of its streams."""
        return max(self.reads(name).values(), default=0.0)


async def find_due(
    world: World, mappings: Sequence[CompiledMapping], edits: Mapping[str, Edit], unsettled: Collection[str]
) -> Due:
    """Choose the mappings whose streams are due; for those in `unsettled`, and edited ones, no interval counts.

    Another choice of courses is an edit of all mappings.
    """
    names = [HOURS, *(fact.format(name=mapping.name) for mapping in mappings for fact in (READS, CHOICE))]
    due, streams = Due(facts=await world.books.do(world.books.store.get_all, names)), dict[str, set[str]]()
    for mapping in mappings:
        others = due.facts.get(CHOICE.format(name=mapping.name)) not in (None, _choice(world))
        edited = others or (mapping.name in edits and edits[mapping.name].is_any)
        if mapping.name not in unsettled and not edited:
            streams[mapping.name] = due_streams(
                world, mapping, due.reads(mapping.name), due.hours.get(mapping.name, {})
            )
        else:
            streams[mapping.name] = {*streams_of(mapping)}
    resting = [mapping for mapping in mappings if not streams[mapping.name]]
    at_once = await put_right(world, resting, due.read_at)
    for mapping in mappings:
        found = {*streams_of(mapping)} if mapping.name in at_once else streams[mapping.name]
        if found:
            due.mappings.append(mapping)
            due.grades = due.grades or GRADES in found or needs_grades(mapping)
        else:
            due.waiting.append(mapping.name)
    return due


def _choice(world: World) -> str:
    """Return what `courses:` of project.yaml says now."""
    return json.dumps(asdict(world.project.courses), sort_keys=True)


def due_streams(
    world: World, mapping: CompiledMapping, last: Mapping[str, float], since: Mapping[str, float]
) -> set[str]:
    """Return the streams of a mapping whose last complete read is an interval ago, or was on another day.

    `last` is when each was read, `since` what its intervals count from, where that is another moment.
    """
    now, zone = world.clock.now(), world.project.time_zone
    today = datetime.fromtimestamp(now, zone).date()
    found = set()
    for stream in streams_of(mapping):
        read = last.get(stream)
        begun = since.get(stream, read) if not mapping.recheck_daily else read  # its days begin at midnight
        recent = read is not None and begun is not None and not _is_over(world, stream, read, begun)
        if not recent or (mapping.recheck_daily and today != datetime.fromtimestamp(read or now, zone).date()):
            found.add(stream)
    return found


def hours_of(project: Project, stream: str) -> float:
    """Return the hours between two reads of a stream, 0.0 for each run."""
    return project.intervals.get(stream, USUAL_HOURS.get(stream, 0.0))


def may_wait(project: Project, mapping: CompiledMapping) -> bool:
    """Say whether a run may leave a mapping unread, since each of its streams has an interval."""
    return all(hours_of(project, stream) > 0 for stream in streams_of(mapping))


def _is_over(world: World, stream: str, read: float, since: float) -> bool:
    """Say whether an interval of a stream has ended after a read.

    Days are counted as the clock on the wall shows them: in spring one of them has 23 hours.
    """
    interval, now = hours_of(world.project, stream) * HOUR, world.clock.now()
    if not interval or read > now:
        return True
    slack = slack_of(interval)
    ahead = _ahead(world, since) if interval >= DAY else 0.0
    elapsed = [at - since + (_ahead(world, at) - ahead if interval >= DAY else 0.0) for at in (now, read)]
    return elapsed[1] + slack < (elapsed[0] + slack) // interval * interval


def slack_of(interval: float) -> float:
    """Return how many seconds before the end of an interval a run counts as one at its end."""
    return min(interval * SLACK, LONGEST_SLACK_S)


def _ahead(world: World, now: float) -> float:
    """Return by how many seconds the project's clocks are ahead of UTC."""
    ahead = datetime.fromtimestamp(now, world.project.time_zone).utcoffset()
    return ahead.total_seconds() if ahead is not None else 0.0


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


async def remember_reads(
    world: World, due: Due, started: float, unsettled: Collection[str], *, anew: bool = False
) -> None:
    """Write down what a run read completely; of those in `unsettled` nothing: the next run reads again.

    Neither of those for which somebody asked meanwhile, by a word about what waits, that they be read. With `anew`
    all intervals count from this read on.
    """
    now, hours = dict[str, str](), due.hours
    for mapping in due.mappings:
        known, since = due.reads(mapping.name), hours.get(mapping.name, {})
        streams = {stream for stream in streams_of(mapping) if stream != GRADES or due.grades}
        read = {} if mapping.name in unsettled else known | dict.fromkeys(streams, started)
        now[READS.format(name=mapping.name)] = json.dumps(read, sort_keys=True)
        now[CHOICE.format(name=mapping.name)] = _choice(world)
        begun = {stream for stream in streams if anew or stream not in since}
        hours[mapping.name] = since | {one: started if anew else known.get(one, started) for one in begun}
    now[HOURS] = json.dumps(hours, sort_keys=True)
    before = {name: due.facts.get(name) for name in now}
    if differing := {name: text for name, text in now.items() if text != (before[name] or NEVER_READ)}:
        await world.books.do(world.books.store.put_where_unchanged, before, differing)


@dataclass(frozen=True)
class Unread:
    """Which courses (0: the site) a run could not read for which mappings, of those that it was to read for them.

    `looked_at` are the courses that it was to read, None for all there are.
    """

    mappings: Collection[str]
    courses: Mapping[str, Collection[int]]
    looked_at: Collection[int] | None


async def read_again(world: World, unread: Unread) -> set[str]:
    """Count the runs in which a course could not be read; return the mappings that the next run reads at once.

    What fails for good (a course that lost its rights) must not have Moodle asked each hour for what is daily.
    """
    store = world.books.store
    text = await world.books.do(store.get, TRIED)
    known = {name: tries for name, tries in json.loads(text or "{}").items() if isinstance(tries, dict)}
    counts, again = {**known}, set[str]()
    for name in unread.mappings:
        failed = {str(course) for course in unread.courses.get(name, ())}
        before: dict[str, int] = known.get(name, {})
        looked_at = before.keys() if unread.looked_at is None else {str(course) for course in unread.looked_at}
        now = {course: tries for course, tries in before.items() if course not in looked_at or course in failed}
        now |= {course: before.get(course, 0) + 1 for course in failed}
        counts[name] = now
        if any(now[course] <= TRIES for course in failed):
            again.add(name)
    counts = {name: tries for name, tries in counts.items() if tries}
    if counts != known:
        await world.books.do(store.put, TRIED, json.dumps(counts, sort_keys=True))
    return again


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
