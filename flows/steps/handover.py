"""What crosses between the processes of a round, as JSON: ids, counts, codes, fields, never a person's value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from flows.errors import UsageError
from flows.result import CaseCounts, CourseResult, Result, RunState
from flows.steps.blanks import SharedBlankGuard
from flows.steps.due import Due
from flows.steps.planned import SITE_SCOPE
from flows.world import World
from mappings.engine import Context
from state import RowId

if TYPE_CHECKING:
    from flows.run import Run


PARTS = ("result", "sweep", "withdrawals", "blanks")
"""What a shard tells by name, each an object of its own."""


@dataclass(frozen=True)
class Handover:
    """What the opening of a round tells its shards.

    `course_fields` are the custom fields that any chosen course carries, `kept_out` the records of people whose
    children are kept out with them, `account` the Moodle id of the service account, `revision` that of the
    mappings.
    """

    mappings: tuple[str, ...]
    grades: bool
    revision: str
    today: str
    course_fields: tuple[str, ...]
    kept_out: tuple[tuple[str, str], ...]
    account: int

    @classmethod
    def of(cls, run: Run) -> Handover:
        """Take it from a run whose people are settled."""
        kept_out = sorted((row.mapping, row.key) for row in run.planner.withdrawals.rows if not row.scope)
        return cls(
            tuple(mapping.name for mapping in run.mappings),
            run.wanted.grades,
            run.world.project.revision,
            run.context.today.isoformat(),
            tuple(sorted(run.course_fields)),
            tuple(kept_out),
            run.user,
        )

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Handover:
        """Read it as the books keep it; raises UsageError when another version of this program wrote it."""
        if told.keys() != {each.name for each in fields(cls)}:
            raise UsageError(
                "Another version of this program opened this round. Install the same version on all machines; "
                "until then the others do the work of this one."
            )
        lists = {name: tuple(told[name]) for name in ("mappings", "course_fields")}
        return cls(**{**told, **lists, "kept_out": tuple(map(tuple, told["kept_out"]))})

    def due(self, world: World) -> Due:
        """Return what the shard reads for, as it was decided at the opening."""
        chosen = [mapping for mapping in world.project.mappings if mapping.name in self.mappings]
        return Due(chosen, grades=self.grades)

    def context(self, context: Context) -> Context:
        """Return the context with the day on which the round began."""
        return replace(context, today=date.fromisoformat(self.today))

    def prepare(self, run: Run) -> None:
        """Let a shard's run know what the opening found."""
        run.user, run.context = self.account, self.context(run.context)
        run.course_fields = frozenset(self.course_fields)
        run.planner.withdrawals.rows |= {RowId(name, SITE_SCOPE, key) for name, key in self.kept_out}
        run.planner.blanks = SharedBlankGuard(run.world, run.result)


def told(run: Run) -> dict[str, Any]:
    """Return what a shard's run has to tell at its end."""
    return {
        "result": _told(run.result),
        "sweep": run.sweep.told(),
        "withdrawals": run.planner.withdrawals.told(),
        "blanks": run.planner.blanks.told(),
        "unsettled": sorted(run.under_way),
        "partly": sorted(run.partly),
        "lost_profiles": bool(run.reader.unsure_profiles),
    }


def is_understood(run: Run, outcome: Mapping[str, Any]) -> bool:
    """Say whether a shard told all that a run has to take over: an older version may not know some of it.

    Nobody is marked as left, or emptied, on the word of one that could not say who stays.
    """
    wanted = told(run) | {"result": _told(Result(""))}  # what the result of any shard has
    if not wanted.keys() <= outcome.keys():
        return False
    return all(wanted[part].keys() <= outcome[part].keys() for part in PARTS)


def _told(result: Result) -> dict[str, Any]:
    """Return a shard's result with all that is added up at the end of the round."""
    return result.as_json() | {
        "courses": {str(number): vars(course) for number, course in result.courses.items()},
        "by_course": {str(number): dict(found) for number, found in result.by_course.items()},
        "refused_rows": result.refused_rows,
        "worrying": result.worrying,
        "undecided": result.undecided,
        "answered_writes": result.answered_writes,
        "unanswered_writes": result.unanswered_writes,
    }


async def take_over(run: Run, told: Mapping[str, Any], *, is_ours: bool) -> Result:
    """Add to a run what a shard has to tell; the requests of one that this process did are counted already."""
    result = read_result(told["result"])
    run.result.take_over(result)
    if not is_ours:
        run.result.add_requests(result.requests)
    await run.sweep.take_over(told["sweep"])
    await run.planner.withdrawals.take_over(told["withdrawals"])
    run.planner.blanks.take_over(told["blanks"])
    run.unsettled |= set(told["unsettled"])
    run.partly |= set(told["partly"])
    if told["lost_profiles"]:
        run.unread |= {mapping.name for mapping in run.mappings}
    return result


def read_result(told: Mapping[str, Any]) -> Result:
    """Read a result as a shard told it."""
    return Result(
        told["run_id"],
        RunState(told["state"]),
        courses={int(number): CourseResult(**course) for number, course in told["courses"].items()},
        cases={case_type: CaseCounts(**counts) for case_type, counts in told["cases"].items()},
        by_course={int(number): Counter(found) for number, found in told["by_course"].items()},
        requests=told["requests"],
        seconds=told["seconds"],
        reasons=Counter(told["reasons"]),
        messages=told["messages"],
        edits=told["edits"],
        refused_rows=told["refused_rows"],
        worrying=told["worrying"],
        undecided=told["undecided"],
        answered_writes=told["answered_writes"],
        unanswered_writes=told["unanswered_writes"],
    )
