"""A person's word about matches: this case is that person's, or it is not. The next sync sends what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from flows.errors import Overlap, UsageError
from flows.matched import REASONS
from flows.steps.linked import linked_by
from flows.steps.planned import SITE_SCOPE
from flows.words import listed
from state import CaseRow, Link, MatchRow, RowId, Store
from state.matches import IN_DOUBT

BY_CLASS = ("duplicate", "new")
"""Classes that may be approved all at once; of the others each is looked at."""
PERSON = "person"
LATER = "A write about {people} is still waiting to be confirmed. Try again in half an hour."


@dataclass(frozen=True)
class Decision:
    """What somebody said about one match; `where` is its line in a file, for the message."""

    moodle_id: int
    case_id: str
    links: bool
    mapping: str = ""
    where: str = ""


@contextmanager
def alone(store: Store, now: float, ttl: float) -> Iterator[None]:
    """Keep runs away while decisions are written down; raises Overlap when one is at work.

    `ttl` is the one that runs have: a lease that lasts longer is taken for one of a clock that was ahead.
    """
    holder = f"match-decision-{now:.3f}"
    epoch = store.take_lease(holder, now, ttl)
    if epoch is None:
        raise Overlap("A run is at work on the same books. Nothing was decided; try again when it is done.")
    try:
        yield
    finally:
        store.release_lease(holder, epoch)


def take_over(before: Store, store: Store) -> None:
    """Take over what persons decided in the books that give way to older ones, which do not know it.

    Else a run would write to a case of which somebody said since that it is another person's.
    """
    known = {(one.mapping, one.key, one.case_id): one.decision for one in store.matches()}
    said = [one for one in before.matches() if one.case_id and one.decided_by == PERSON]
    news = [one for one in said if known.get((one.mapping, one.key, one.case_id)) != one.decision]
    if news:
        store.add_matches([replace(one, decision="", decided_by="", decided_at=0.0) for one in news])
        now = max(one.decided_at for one in news)
        store.reject([one for one in news if one.decision == "rejected"], PERSON, now)
        store.link([_link(one, now) for one in news if one.decision == "linked"])


def open_matches(store: Store, *, mapping: str = "", kind: str = "") -> list[MatchRow]:
    """Return the matches that nobody has decided yet."""
    return store.matches(mapping, kind, "")


def decide(store: Store, decisions: Sequence[Decision], now: float) -> str:
    """Take in decisions, all or none, and return a sentence; raises UsageError naming the first that is wrong."""
    there = _by_person(store.matches())
    rows = [(one, _named(there, one)) for one in decisions]
    links = [row for one, row in rows if one.links]
    _check_links(links)
    rejected = [row for one, row in rows if not one.links and row.decision != "rejected"]
    _check_unlinks(store, rejected)
    return _carry_out(store, links, rejected, now)


def approve_class(store: Store, kind: str, count: int, now: float, mapping: str = "") -> str:
    """Approve everybody of a class, if they are as many as said; raises UsageError."""
    if kind not in BY_CLASS:
        raise UsageError(
            f"Of the class '{kind}' each one is looked at: give MOODLE_ID and CASE_ID, or a reviewed table with "
            "--file. All at once: duplicate, or new."
        )
    rows = _counted(open_matches(store, mapping=mapping, kind=kind), kind, count)
    return _carry_out(store, rows, [], now)


def reject_class(store: Store, kind: str, count: int, now: float, mapping: str = "") -> str:
    """Reject everything that is open about everybody of a class; raises UsageError."""
    rows = _counted([one for one in open_matches(store, mapping=mapping, kind=kind) if one.case_id], kind, count)
    return _carry_out(store, [], rows, now)


def all_of(store: Store, moodle_id: int, mapping: str = "") -> list[Decision]:
    """Return the rejection of every open case of a person; raises UsageError when there is none."""
    found = [one for one in open_matches(store, mapping=mapping) if one.user_id == moodle_id and one.case_id]
    if not found:
        raise UsageError(f"Nothing waits about person {moodle_id}. `moodle-commcare match list` shows who does.")
    return [Decision(moodle_id, one.case_id, False, one.mapping) for one in found]


def _counted(rows: Sequence[MatchRow], kind: str, count: int) -> list[MatchRow]:
    people = len({(one.mapping, one.key) for one in rows})
    if people == 0:
        raise UsageError(f"Nobody of the class '{kind}' waits. `moodle-commcare match list` shows who does.")
    if people != count:
        are = "is" if people == 1 else "are"
        raise UsageError(
            f"{_people(people)} {are} of the class '{kind}', not {count:,}. Give the count {people} if that is "
            "right."
        )
    return list(rows)


def _by_person(rows: Iterable[MatchRow]) -> dict[int, list[MatchRow]]:
    found: dict[int, list[MatchRow]] = {}
    for one in rows:
        found.setdefault(one.user_id, []).append(one)
    return found


def _named(there: dict[int, list[MatchRow]], one: Decision) -> MatchRow:
    """Return the match that a decision is about."""
    mine = [row for row in there.get(one.moodle_id, ()) if one.mapping in ("", row.mapping)]
    found = [row for row in mine if row.case_id == one.case_id]
    if not found:
        cases = listed([row.case_id for row in mine if row.case_id]) or "none"
        what = f"case {one.case_id}" if one.case_id else "a new case"
        raise UsageError(
            f"{one.where}Nothing was found about person {one.moodle_id} and {what}. Cases that could be theirs: "
            f"{cases}. `moodle-commcare match` looks anew."
        )
    if len(found) > 1:
        names = listed(sorted(row.mapping for row in found))
        raise UsageError(
            f"{one.where}Person {one.moodle_id} is in several mappings ({names}): choose with --mapping."
        )
    return found[0]


def _check_links(rows: Sequence[MatchRow]) -> None:
    """Refuse links that cannot be: to a closed case, of one case to two people, of two cases to one person."""
    for row in rows:
        if row.reason == "closed":
            raise UsageError(
                f"{REASONS['closed'].capitalize()}: case {row.case_id}. Have it opened in CommCare (archive the "
                f"form that closed it) and run `moodle-commcare match`; or let a new case be made: "
                f"`moodle-commcare match reject {row.user_id}`."
            )
    for name, noun in (("case_id", "case"), ("user_id", "person")):
        counts = Counter((row.mapping, getattr(row, name)) for row in rows if row.case_id)
        twice = [each for (_, each), count in counts.items() if count > 1]
        if twice:
            raise UsageError(
                f"Two links name {noun} {twice[0]}: a person has one case, and a case is one person's."
            )


def _check_unlinks(store: Store, rows: Sequence[MatchRow]) -> None:
    """Refuse to take back links of people who get no new case now: gone, kept out, or being erased."""
    for row in rows:
        case = store.cases(row.mapping, SITE_SCOPE, [row.key]).get(row.key) if row.decision == "linked" else None
        if case is not None and case.case_id == row.case_id and case.status != "active":
            raise UsageError(
                f"Person {row.user_id} is not active in {row.mapping} (the case is marked: {case.status}), so the "
                "link stays as it is. It can be taken back once the person is active again."
            )


def _check_erased(store: Store, rows: Sequence[MatchRow]) -> None:
    """Refuse decisions about people whose erasure is not finished, and about cases that are to be emptied yet.

    The books would forget which case that is.
    """
    held = store.by_case_ids(sorted({row.mapping for row in rows}), [row.case_id for row in rows if row.case_id])
    erased, unfinished = store.erased(), store.unfinished_erasures()
    people = {row.user_id for row in rows if row.user_id in erased}
    people |= {one.case.user_id for one in held.values()}.intersection(unfinished)
    if people:
        raise UsageError(
            f"The erasure of person {min(people)} is not finished, so nothing was decided. Finish it first: "
            f"`moodle-commcare person erase {min(people)}`."
        )


def _carry_out(store: Store, links: Sequence[MatchRow], rejected: Sequence[MatchRow], now: float) -> str:
    """Write decisions down and return a sentence about them.

    New cases come last: what asked for them is gone then, and after a stop the same is said once more.
    """
    _check_erased(store, [*links, *rejected])
    anew = [RowId(row.mapping, SITE_SCOPE, row.key) for row in links if not row.case_id]
    if anew and store.intents().keys() & set(anew):
        raise UsageError(LATER.format(people="one of these people"))
    # By the next run, whatever the intervals say; first, so that a stop in between costs no more than a read.
    store.read_anew({row.mapping for row in (*links, *rejected)})
    cases = [_link(row, now) for row in links if row.case_id and row.decision != "linked"]
    waiting = store.link(cases) if cases else []
    refused = store.reject(rejected, PERSON, now)
    left = [row for row in rejected if row not in refused.waiting and row not in refused.unlinked]
    if anew and store.make_anew(anew, now) == IN_DOUBT:
        raise UsageError(LATER.format(people="one of these people"))
    done = len(cases) - len(waiting)
    said = [f"Linked: {_people(done)}. The next sync writes to their cases."] if done else []
    said += [f"To get new cases: {_people(len(anew))}."] if anew else []
    said += [f"Rejected: {_rejections(left)}."] if left else []
    if refused.unlinked:
        people = _people(len(refused.unlinked))
        said.append(
            f"Unlinked: {people}. The next sync makes new cases; the old ones keep what was written to them."
        )
    later = len(waiting) + len(refused.waiting)
    said += [LATER.format(people=_people(later))] if later else []
    return " ".join(said) or "All of that was decided before."


def _link(row: MatchRow, now: float) -> Link:
    case = CaseRow(row.key, row.case_id, "", None, "active", 0, row.user_id, linked=True)
    return Link(RowId(row.mapping, SITE_SCOPE, row.key), linked_by(replace(row), PERSON, now), case)


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _rejections(rows: Sequence[MatchRow]) -> str:
    cases = "1 case" if len(rows) == 1 else f"{len(rows):,} cases"
    return f"{cases} of {_people(len({row.user_id for row in rows}))}"
