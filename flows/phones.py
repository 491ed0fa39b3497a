"""What each mobile worker's phone holds, and how much of it changed lately: the books, by CommCare's owners.

CommCare's own advice is on its wiki, "Case Loads on CommCare": up to 10,000 cases of one case type on a phone,
under 1,000 changed cases in one sync, and a second of sync for every 25 cases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptors.commcare.workers import Holder, Workforce
from flows.masked import Eyes, masked
from flows.steps.owners import find_parked
from flows.world import World
from mappings.engine import CompiledMapping, Project
from state import Share, Store
from state.care import DAY
from state.statuses import CLOSED

CASES_ADVISED = 10_000  # of one case type
CHANGES_ADVISED = 1_000  # in one sync
CASES_A_SECOND = 25  # that a phone takes in
ADVICE = (
    f"CommCare advises up to {CASES_ADVISED:,} cases of one case type on a phone, fewer than {CHANGES_ADVISED:,} "
    f"changed cases in one sync, and to count on a second for every {CASES_A_SECOND} cases (its wiki, "
    '"Case Loads on CommCare"). Cases of other applications come on top.'
)
NEAR = 0.8  # of what is advised: worth a look
WEEK, MONTH = 7, 30


@dataclass
class Load:
    """Open cases by case type, and how often cases were written in the last 7 and 30 days."""

    cases: Counter[str] = field(default_factory=Counter)
    week: int = 0
    month: int = 0

    def add(self, other: Load) -> None:
        """Take in another load."""
        self.cases += other.cases
        self.week += other.week
        self.month += other.month

    @property
    def largest(self) -> tuple[str, int]:
        """Return the case type with most cases, and how many."""
        return max(self.cases.items(), key=lambda item: (item[1], item[0]), default=("", 0))

    @property
    def verdict(self) -> str:
        """Return what CommCare's advice says of it: "over", "near" or ""."""
        share = max(self.largest[1] / CASES_ADVISED, self.week / WEEK / CHANGES_ADVISED)
        return "over" if share > 1 else "near" if share >= NEAR else ""


@dataclass(frozen=True)
class Phone:
    """A mobile worker's phone: what it holds, and how much of that by the worker, by groups and by locations."""

    holder: Holder
    load: Load
    by_kind: Mapping[str, int]


@dataclass(frozen=True)
class Owned:
    """What one owner has, and on how many phones; `holder` is None for an owner that CommCare does not list."""

    owner_id: str
    holder: Holder | None
    load: Load
    phones: int


@dataclass(frozen=True)
class Phones:
    """The phones and the owners, the fullest first; `begins`: how far the log of changes goes back (epoch)."""

    phones: Sequence[Phone]
    owners: Sequence[Owned]
    notes: Sequence[str]
    begins: float | None

    @property
    def unsynced(self) -> list[Owned]:
        """Return the owners whose cases are on nobody's phone."""
        return [one for one in self.owners if not one.phones and one.load.cases.total()]

    def as_json(self, eyes: Eyes) -> dict[str, Any]:
        """Return the object of `--json`, usernames masked."""
        return {
            "advice": {"cases_of_one_type": CASES_ADVISED, "changes_in_one_sync": CHANGES_ADVISED},
            "phones": [
                {**_holder_json(one.holder, eyes), **_load_json(one.load), "owned_by": dict(one.by_kind)}
                for one in self.phones
            ],
            "owners": [
                {"owner_id": one.owner_id, **_holder_json(one.holder, eyes), **_load_json(one.load)}
                | {"phones": one.phones}
                for one in self.owners
            ],
            "messages": [*self.notes],
        }


def _holder_json(holder: Holder | None, eyes: Eyes) -> dict[str, Any]:
    if holder is None:
        return {"kind": "unknown", "name": "", "state": "unknown"}
    return {"owner_id": holder.owner_id, "kind": holder.kind, "name": name_of(holder, eyes), "state": holder.state}


def _load_json(load: Load) -> dict[str, Any]:
    return {
        "cases": load.cases.total(),
        "cases_by_type": dict(load.cases),
        "changes_7_days": load.week,
        "changes_30_days": load.month,
        "verdict": load.verdict,
    }


def name_of(holder: Holder, eyes: Eyes) -> str:
    """Return the name of an owner as it may be shown: a worker's is personal; without what all of them end in."""
    if holder.kind != "worker":
        return holder.name
    name = holder.name.partition("@")[0]
    return name if eyes.sees_values else masked(name)


async def phones(world: World) -> Phones:
    """Count what each phone holds; raises AccessDenied when the workers may not be listed. Nothing is sent."""
    workforce = await world.commcare.workforce()
    parked = await find_parked(world)
    books, store = world.books, world.books.store
    loads = await books.do(_loads, store, world.project, parked.owner_id if parked else "", world.clock.now())
    begins = await books.do(store.log_begins)
    notes = [*workforce.notes, *_untold(world.project)]
    return Phones(_phones(workforce, loads), _owned(workforce, loads), notes, begins)


def _loads(store: Store, project: Project, parked: str, now: float) -> dict[str, Load]:
    """Return what each owner has: open cases and changes; parked cases are those of the parking place."""
    mappings = {mapping.name: mapping for mapping in project.mappings}
    mappings |= {mapping.name: mapping for mapping in project.switched_off}
    loads: dict[str, Load] = {}

    def of(share: Share) -> Load:
        owner = parked if parked and _is_parked(mappings.get(share.mapping), share.status) else share.owner_id
        return loads.setdefault(owner, Load())

    for share, count in store.carried().items():
        if share.status not in CLOSED:
            mapping = mappings.get(share.mapping)
            of(share).cases[mapping.case_type if mapping is not None else share.mapping] += count
    for share, count in store.written_since(now - WEEK * DAY).items():
        of(share).week += count
    for share, count in store.written_since(now - MONTH * DAY).items():
        of(share).month += count
    return loads


def _is_parked(mapping: CompiledMapping | None, status: str) -> bool:
    """Say whether cases of a status are with the owner whose cases no phone syncs."""
    if mapping is None:
        return False
    departures = {
        **dict.fromkeys(("left", "leaving", "clearing", "rejoining"), mapping.when_left),
        "ended": mapping.when_course_ends,
        **dict.fromkeys(("withdrawn", "withdrawing", "erasing"), mapping.when_excluded),
    }
    departure = departures.get(status)
    return departure is not None and departure.park


def _untold(project: Project) -> Iterable[str]:
    """Yield what these counts leave out."""
    apart = sorted(one.name for one in project.mappings if one.parents and not one.spec.owner.same_as)
    if apart:
        yield (
            f"Cases of {', '.join(apart)} may belong to somebody else than their parents do. A phone also holds "
            "the parents of its cases; those of other owners are not counted here."
        )


def _phones(workforce: Workforce, loads: Mapping[str, Load]) -> list[Phone]:
    found = []
    for worker, owners in workforce.reach.items():
        load, kinds = Load(), Counter[str]()
        for owner in owners:
            if owner in loads:
                load.add(loads[owner])
                kinds[workforce.holders[owner].kind] += loads[owner].cases.total()
        found.append(Phone(workforce.holders[worker], load, kinds))
    return sorted(found, key=lambda one: (-one.load.cases.total(), -one.load.month, one.holder.owner_id))


def _owned(workforce: Workforce, loads: Mapping[str, Load]) -> list[Owned]:
    phones = Counter(owner for owners in workforce.reach.values() for owner in owners)
    found = [Owned(owner, workforce.holders.get(owner), load, phones[owner]) for owner, load in loads.items()]
    return sorted(found, key=lambda one: (-one.load.cases.total(), one.owner_id))
