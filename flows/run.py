"""What one run carries from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from adaptors.moodle.roster import Roster
from adaptors.moodle.streams import MoodleReader, Wanted
from flows.errors import UsageError
from flows.questions import COURSE
from flows.result import CourseResult, Result
from flows.steps.depart import Departures
from flows.steps.due import Due
from flows.steps.earlier import EarlierCases
from flows.steps.lease import Lease
from flows.steps.left_open import left_open
from flows.steps.plan import Planner
from flows.steps.planned import Planned, Scope
from flows.steps.pull import People, tell_mistakes, wanted_by
from flows.steps.push import DryPusher, Pusher
from flows.steps.reach import Reach
from flows.steps.sweep import Sweep
from flows.steps.unlisted import Unlisted
from flows.steps.ways import below, owned_like
from flows.world import Progress, World
from mappings.engine import CompiledMapping, Context, Project
from state import RowId


@dataclass
class Run:
    """One run: the tools of its steps, and what it has read so far."""

    world: World
    result: Result
    lease: Lease
    mappings: Sequence[CompiledMapping]
    wanted: Wanted
    reader: MoodleReader
    planner: Planner
    pusher: Pusher
    sweep: Sweep
    earlier: EarlierCases
    context: Context
    progress: Progress
    preview: bool
    user: int = 0
    whole_site: bool = True
    lists_all: bool = True
    """Whether every course that project.yaml may choose was in Moodle's list, or asked for by its id."""
    every_course: bool = True
    """Whether the people of every selected course were read, be it for the roles of others only."""
    read: set[int] = field(default_factory=set)
    """The courses that this run reads, or fails to read."""
    chosen: set[int] = field(default_factory=set)
    """The courses that project.yaml chooses and Moodle has, be they hidden, over, or not begun."""
    starts: Mapping[int, int] = field(default_factory=dict)
    """When each course begins that Moodle lists, chosen or not (epoch, 0 for one without a start)."""
    course_fields: frozenset[str] = frozenset()
    """The custom fields that any course carries which project.yaml chooses: one without them has them blank."""
    between_terms: set[int] = field(default_factory=set)
    """Courses of which nothing is sent until a person has said whether a new term began."""
    asked_terms: set[int] = field(default_factory=set)
    """Those of them of which a person is asked, and has not answered."""
    unlisted: Unlisted = field(default_factory=Unlisted)
    """The courses that were read before and that Moodle does not list any more."""
    withheld: set[int] = field(default_factory=set)
    """Courses whose totals Moodle does not show."""
    untold: Mapping[int, str] = field(default_factory=dict)
    """Courses of which Moodle does not say whether they are hidden or over: nothing is made of them."""
    assignments: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Courses whose assignments were read -> how many Moodle shows the account, and how many more there are."""
    unseen: frozenset[int] = frozenset()
    """Courses that the plan of a first run could not look at: what they hold nobody has approved in this run."""
    rosters: dict[int, Roster] = field(default_factory=dict)
    person_ids: list[int] = field(default_factory=list)
    people: People = field(default_factory=lambda: People(()))
    went: set[RowId] = field(default_factory=set)
    """Cases of which CommCare has taken in that they go away."""
    typed: set[int] = field(default_factory=set)
    """In a preview: hashes of the rows whose cases would have the type of their mapping by what it sends."""

    ended: set[int] = field(default_factory=set)
    """Courses past their end date, which no run reads any more."""
    partly: set[str] = field(default_factory=set)
    """Mappings of which records were held back: whether CommCare has cases of those nobody has looked."""
    unread: set[str] = field(default_factory=set)
    """Mappings of which not all could be read, though every course was."""
    open: set[RowId] = field(default_factory=set)
    """Records that were held back, and not for values of their own: for a parent, an owner, a person's word."""
    unsettled: set[str] = field(default_factory=set)
    """Mappings of which something is under way: their next read waits for no interval."""

    @classmethod
    def begin(
        cls,
        world: World,
        result: Result,
        lease: Lease,
        due: Due,
        *,
        preview: bool,
        progress: Progress,
    ) -> Run:
        """Put the tools of a run together."""
        mappings = due.mappings
        wanted = wanted_by(mappings)
        if not due.grades:
            wanted = replace(wanted, grades=False)
        planner = Planner(world, result, {mapping.name: mapping for mapping in world.project.mappings})
        run = cls(
            world=world,
            result=result,
            lease=lease,
            mappings=mappings,
            wanted=wanted,
            reader=MoodleReader(world.moodle, wanted, world.sizes()),
            planner=planner,
            pusher=Pusher(world, result, lease),
            sweep=Sweep(world, result),
            earlier=EarlierCases(world),
            context=context_of(world.project, world.site_url, world.clock.now()),
            progress=progress,
            preview=preview,
        )
        if preview:
            run.pusher = DryPusher(world, result, lease, run.would_send)
        return run

    @property
    def reach(self) -> Reach:
        """Return how far this run reached with what it has read by now."""
        whole = self.whole_site and not self.reader.unsure_profiles and self.read <= self.whole and self.lists_all
        courses = frozenset(self.read) if self.whole_site and self.read else None
        return Reach(frozenset({COURSE, *(one.name for one in self.world.project.mappings)}), courses, whole)

    @property
    def whole(self) -> set[int]:
        """Return the courses of which everybody was read: of the others nobody knows who is missing."""
        return {number for number, roster in self.rosters.items() if roster.is_whole}

    @property
    def departures(self) -> Departures:
        """Return what builds the rows of cases that go away."""
        return Departures(self.world, self.result, self.earlier, self.planner.removed)

    def would_send(self, row: Planned) -> None:
        """Note what a preview would send, so that children find their parent."""
        if row.op == "create":
            self.planner.assumed[row.row] = row.write.owner_id or ""
            if self.planner.look is not None:
                self.planner.look.creates[row.row.mapping] += 1
        elif row.write.owner_id:
            self.planner.moved[row.row] = row.write.owner_id
        if row.is_retyped or (row.whole and row.op != "create"):
            self.typed.add(hash(row.row))
        self.world.watch(row)

    def course_failed(self, course_id: int, reason: str, seconds: float = 0.0) -> None:
        """Name a failed course in the result."""
        self.result.courses[course_id] = CourseResult("failed", 0, seconds, reason)

    def tell(self, scope: Scope) -> None:
        """Add what happened to a scope's records to the result."""
        self.open |= left_open(scope)
        tell_mistakes(self.result, scope)
        if scope.held_back:
            self.partly.add(scope.mapping.name)
        of_values = sum(1 for problem in scope.problems if problem.property and not problem.holds)
        self.result.count(scope.mapping.case_type, scope.number, "held_back", scope.held_back)
        self.result.count(scope.mapping.case_type, scope.number, "problems", of_values)
        self.result.worrying += scope.held_back - scope.waiting
        self.result.reasons.update(problem.reason for problem in scope.problems)

    @property
    def under_way(self) -> set[str]:
        """Return the mappings of which something is under way: the next run of the whole site is to read them.

        Also those whose cases follow the owner of others that were moved, or belong to others that were made
        anew, where this run did not read all of them.
        """
        mappings = self.world.project.mappings
        read = {mapping.name for mapping in self.mappings} if self.whole_site else set[str]()
        following = owned_like(mappings, self.pusher.moved) | below(mappings, self.pusher.succeeded)
        return self.unsettled | self.pusher.unsorted | self.planner.held_up | following - read

    async def swept(self, row: Planned, outcome: str) -> None:
        """Take note of a row of the sweep; the pusher has counted it."""
        if not outcome:
            self.went.add(row.row)


def choose_mappings(world: World, names: Sequence[str]) -> list[CompiledMapping]:
    """Return the enabled mappings, or those named; raises UsageError for a name that is not enabled."""
    by_name = {mapping.name: mapping for mapping in world.project.mappings}
    for name in names:
        if name not in by_name:
            raise UsageError(f"There is no enabled mapping '{name}'. There are: {', '.join(by_name)}.")
    return [mapping for mapping in world.project.mappings if not names or mapping.name in names]


def context_of(project: Project, site_url: str, now: float) -> Context:
    """Return what a mapping may know beside its record: the site, and today's date in the project's time zone."""
    today = datetime.fromtimestamp(now, project.time_zone).date()
    return Context(site=project.site, site_url=site_url, today=today)
