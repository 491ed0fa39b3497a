"""Matching as Prefect flows: `match` looks, `match-review` takes the word of somebody about a few.

No value of a person reaches Prefect: parameters are ids, the artifact holds counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import BaseModel, Field

from flows.clock import SystemClock
from flows.decide import Decision, alone, approve_class, decide
from flows.deployed import gentle_end, reason, settings_here
from flows.errors import Overlap, UsageError
from flows.match import match as match_once
from flows.matched import CLASSES, Matched
from flows.open import open_store, open_world
from flows.result import RunState
from flows.settings import Settings

MOST = 20  # rows of a form; for more there is a table
ARTIFACT = "people-and-cases"


class Reviewed(BaseModel):
    """One decision: the person's number in Moodle, the case's id in CommCare, and whether they belong together."""

    moodle_id: int = Field(ge=1, description="The person's number in Moodle.")
    case_id: str = Field(min_length=1, max_length=255, description="The case's id in CommCare.")
    decision: Literal["link", "reject"] = Field(description="link: the case is that person's. reject: it is not.")


@flow(name="match", persist_result=False, log_prints=False)
async def match(mappings: list[str] = []) -> State[None]:  # noqa: B006 - Prefect shows the default in its form
    """Compare people of Moodle with the cases in CommCare; nothing is written there.

    Args:
        mappings: Only these mappings, by file name without .yaml. Empty: all of people.
    """
    log = get_run_logger()
    try:
        with gentle_end():
            found = await _match(mappings)
        await acreate_table_artifact(table(found), key=ARTIFACT, description=found.summary)
    except Exception as error:
        log.error(reason(error))
        return Failed(message=reason(error))
    for message in found.messages:
        log.info(message)
    text = f"{found.summary} {' '.join(found.messages)}".strip()
    failed = found.state in (RunState.FAILED, RunState.DEGRADED)
    return (Failed if failed else Completed)(name=found.state.capitalize(), message=text)


@flow(name="match-review", persist_result=False, log_prints=False)
async def match_review(
    decisions: list[Reviewed] = [],  # noqa: B006
    everybody: Literal["", "duplicate", "new"] = "",
    mapping: str = "",
    count: int = 0,
) -> State[None]:
    """Say of people whether a case is theirs; the next sync writes to what was linked.

    Args:
        decisions: One row for each person and case. For many there is a table: moodle-commcare match --csv.
        everybody: In place of rows: duplicate links everybody of that class, new gives new cases for deleted ones.
        mapping: With everybody, only this mapping, as in student. Empty: all.
        count: With everybody, how many people these are, as the match named them. Another number is refused.
    """
    log = get_run_logger()
    try:
        sentence = review(settings_here(), decisions, Everybody(everybody, mapping.strip(), count))
    except Overlap as error:
        return Completed(name=RunState.POSTPONED.capitalize(), message=str(error))
    except Exception as error:
        log.error(reason(error))
        return Failed(message=reason(error))
    log.info(sentence)
    return Completed(message=sentence)


@dataclass(frozen=True)
class Everybody:
    """Everybody of a class of matches, as many people as a form says; "" for nobody."""

    kind: str = ""
    mapping: str = ""
    count: int = 0


def review(settings: Settings, decisions: list[Reviewed], everybody: Everybody | None = None) -> str:
    """Take in the rows of the form, all or none, and return a sentence; raises UsageError, Overlap."""
    whole, now = everybody or Everybody(), SystemClock().now()
    if whole.kind:
        if decisions:
            raise UsageError("Give rows, or everybody of a class, not both.")
        with open_store(settings) as store, alone(store, now, settings.lease_ttl_s):
            return approve_class(store, whole.kind, whole.count, now, whole.mapping)
    if whole.mapping or whole.count:
        raise UsageError(
            "mapping and count go with everybody: choose the class there, or leave both as they were."
        )
    if not 0 < len(decisions) <= MOST:
        raise UsageError(
            f"The form takes 1 to {MOST} decisions. For more: `moodle-commcare match --csv`, then the reviewed "
            "table with `moodle-commcare match approve --file`."
        )
    given = [Decision(one.moodle_id, one.case_id.strip(), one.decision == "link") for one in decisions]
    with open_store(settings) as store, alone(store, now, settings.lease_ttl_s):
        return decide(store, given, now)


def table(found: Matched) -> list[dict[str, str | int]]:
    """Return the counts of a match, a row for each mapping and class."""
    return [
        {"mapping": one.name, "class": name, "people": one.classes[name], "meaning": meaning}
        for one in found.mappings
        for name, meaning in CLASSES.items()
    ]


async def _match(mappings: list[str]) -> Matched:
    """Match with the settings of the worker; the books are let go whatever happens."""
    world = open_world(settings_here())
    try:
        return await match_once(world, tuple(mappings))
    finally:
        await world.close()
