"""Cases below people who were kept out before, where an edit of the mappings gives them something to lose.

A mapping was off when its person said no, got its parent only then, or calls something personal only now: what is
read says so of itself, and of courses that nobody reads the books are asked, once after such an edit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from flows.steps.compare import Digest
from flows.steps.leaving import Leaving, emptied, holds_any, private_names, to_be_emptied
from flows.steps.planned import SITE_SCOPE
from flows.steps.reach import Place
from flows.steps.unread import Seat, below, seat
from flows.steps.ways import holds_personal
from flows.world import World
from mappings.engine import CompiledMapping
from state import RowId
from state.facts import KEYS_KEPT_OUT
from state.statuses import KEPT_OUT, LIVING, TO_BE_EMPTIED

LOOKED = "looked_below_kept_out"
"""Fact in the books: a hash of what mappings call personal, and of their parents, at the last look."""
IN = frozenset(LIVING) - KEPT_OUT
UNDER_WAY = TO_BE_EMPTIED | {"erasing"}


@dataclass
class Look:
    """What a run knows of who is kept out, for a look at the others.

    `decided` are the rows about which the run decided already, `passed` those whose people it does not keep out,
    whatever the books say, `out` those that it does; `read` is where it planned which mapping.
    """

    world: World
    decided: Set[RowId]
    passed: Set[RowId]
    out: Set[RowId]
    read: Set[Place]
    is_done: bool = True
    """Whether nothing is left to be looked at."""

    async def left_behind(self, *, whole: bool, preview: bool) -> list[Leaving]:
        """Return what else is to be emptied, after an edit; but for a preview the books say so from now on.

        `whole`: the run is of the whole site. Any other leaves the look to the next that is.
        """
        books, now = self.world.books, _told(self.world.project.mappings)
        before = await books.do(books.store.get, LOOKED)
        if before == now:
            return []
        rows = await self._rows() if whole else []
        if not preview:
            await books.do(books.store.settle, to_be_emptied(rows))
            after = now if whole and self.is_done else ""  # the edit may be taken back before anybody looks
            if after != before:
                await books.do(books.store.put, LOOKED, after)
        return rows

    async def _rows(self) -> list[Leaving]:
        """Return what holds anything personal of people, or below people, whom the books call kept out."""
        mappings, digest = self.world.project.mappings, self.world.books.store.digest
        parents = {rule.mapping for mapping in mappings for rule in mapping.parents}
        out, rows = set[Seat](), list[Leaving]()
        for mapping in sorted(mappings, key=lambda mapping: mapping.level):
            if mapping.name not in parents and not holds_personal(mapping):
                continue
            out |= await self._kept_out(mapping)
            async for row, case in below(self.world, mapping, out, own=True):
                if case.status in UNDER_WAY:
                    continue
                out.add(seat(row, case))
                one = emptied(mapping, row, case)
                holds = holds_value(one, digest) if case.status == "withdrawn" else holds_any(one, digest)
                if holds and row not in self.decided:
                    rows.append(one)
        return rows

    async def _kept_out(self, mapping: CompiledMapping) -> set[Seat]:
        """Return where people are kept out: a case of theirs says so, and none says anything else."""
        books, store = self.world.books, self.world.books.store
        out = await books.do(store.people_with, mapping.name, KEPT_OUT) | await self._closed(mapping)
        let_in = await books.do(store.people_with, mapping.name, IN, set(out.values())) if out else {}
        let_in |= {row: person for row, person in out.items() if row in self.passed}
        return _seats(out) - _seats(let_in)

    async def _closed(self, mapping: CompiledMapping) -> dict[RowId, int]:
        """Return the closed cases whose records are kept out, or were when they were last read, with their person.

        They may have been closed as they left: those hold what is personal, and a person may be asked about them.
        """
        books, store, name = self.world.books, self.world.books.store, mapping.name
        closed = await books.do(store.people_with, name, ["closed"])
        scopes = {row.scope for row in closed}
        self.is_done &= SITE_SCOPE not in scopes or (name, SITE_SCOPE) in self.read
        facts = {scope: KEYS_KEPT_OUT.format(name=name, scope=scope) for scope in scopes}
        texts = await books.do(store.get_all, [*facts.values()]) if facts else {}
        found = dict[RowId, int]()
        for scope, fact in facts.items():
            said = {*json.loads(texts.get(fact, "[]"))}
            wanted = [row.key for row in closed if row.scope == scope and (row.key in said or row in self.out)]
            for key, case in (await books.do(store.cases, name, scope, wanted)).items():
                row = RowId(name, scope, key)
                if not holds_any(emptied(mapping, row, case), store.digest):
                    found[row] = case.user_id
        return found


def holds_value(one: Leaving, digest: Digest) -> bool:
    """Say whether a case that was emptied is known to hold what its mapping calls personal only now."""
    held = one.case.digests or {}
    names = private_names(one) if held else []
    return any(held.get(name) not in (None, digest(one.row.key, name, "")) for name in names)


def _seats(rows: Mapping[RowId, int]) -> set[Seat]:
    return {(row.mapping, row.scope, person) for row, person in rows.items()}


def _told(mappings: Sequence[CompiledMapping]) -> str:
    """Return a short hash of what makes a case one to be emptied with its person."""
    told = {
        mapping.name: [
            sorted(rule.mapping for rule in mapping.parents),
            sorted(mapping.personal),
            sorted(mapping.retired),
            mapping.name_is_personal,
        ]
        for mapping in mappings
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
