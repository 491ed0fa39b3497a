"""A mapping file that was given another name makes the same keys: its cases are those that the old name made.

Everything in the books goes over to the new name in one transaction, before a run looks at any of it; nothing is
sent for it. Where that cannot be, what is known under both names is doubted as ever (`holders`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flows.feedback_texts import APPROVED as FEEDBACK_APPROVED
from flows.feedback_texts import MADE_AS, SINCE
from flows.needs import (
    ALLOWED_BLANKS,
    ALLOWED_LEAVERS,
    ALLOWED_WITHDRAWN,
    APPROVED,
    CONFIRMED_BLANKS,
    CONFIRMED_KEYS,
    CONFIRMED_LEAVERS,
    CONFIRMED_WITHDRAWN,
    EMPTY_LISTS,
    EXISTING,
    FIRST_RUNS,
    OTHER_KEYS,
    REFUSED_BLANKS,
    REFUSED_LEAVERS,
    REFUSED_WITHDRAWN,
    STAY_BESIDE,
    UNSHOWN_BLANKS,
)
from flows.steps.approvals import WRITTEN
from flows.steps.blanks import SHARED_BLANKS
from flows.steps.due import CHOICE, HOURS, TRIED
from flows.steps.edits import PRINTS
from flows.steps.first_loads import FIRST_LOAD
from flows.steps.gate import MATCHED
from flows.steps.holders import HOLDER, form_of
from flows.steps.left_open import OWNERS
from flows.steps.lost import LOST
from flows.steps.recover import STRANGERS
from flows.steps.retype import TYPES
from flows.steps.terms import STARTS
from flows.steps.withdraw import LACKING
from flows.words import numbered
from flows.world import World
from mappings.engine import CompiledMapping, Project
from state import Store
from state.facts import KEYS_KEPT_OUT, LOOKED_FOR, READS, Objects
from state.renames import Named

OF_SCOPES = KEYS_KEPT_OUT.removesuffix(":{scope}")
FORMS = (
    *(WRITTEN, PRINTS, READS, CHOICE, TYPES, STRANGERS, LOOKED_FOR, LOST, MATCHED, SINCE),
    FIRST_LOAD,
    OF_SCOPES,
)
"""Facts about one mapping each, by their names."""
BY_MAPPING = (
    *(FIRST_RUNS, EXISTING, OTHER_KEYS, APPROVED, STAY_BESIDE, CONFIRMED_KEYS),
    *(TRIED, HOURS, OWNERS, FEEDBACK_APPROVED, MADE_AS),
)
"""Facts that are objects: mapping -> something."""
BY_COURSE = (
    *(REFUSED_LEAVERS, CONFIRMED_LEAVERS, ALLOWED_LEAVERS, EMPTY_LISTS),
    *(REFUSED_WITHDRAWN, CONFIRMED_WITHDRAWN, ALLOWED_WITHDRAWN),
)
"""Facts that are objects: course -> mapping -> something."""
BY_PROPERTY = (REFUSED_BLANKS, CONFIRMED_BLANKS, ALLOWED_BLANKS, SHARED_BLANKS, UNSHOWN_BLANKS)
"""Facts that are objects: "mapping property" -> something."""

log = logging.getLogger(__name__)


def _change(old: str, new: str, facts: Objects) -> None:
    """Put a mapping's new name into facts; what was asked about the new one before is over."""
    if old in facts[FEEDBACK_APPROVED]:
        facts[MADE_AS].setdefault(old, old)  # the fingerprints of texts are made with a name
    for name in BY_MAPPING:
        _rename(facts[name], old, new)
    for name in BY_COURSE:
        for found in facts[name].values():
            if isinstance(found, dict):  # in older books a number over all mappings
                _rename(found, old, new)
    for name in BY_PROPERTY:
        for what in [*facts[name]]:
            mapping, _, of_it = what.partition(" ")
            if mapping == old:
                facts[name][f"{new} {of_it}"] = facts[name].pop(what)
    for what in [*facts[STARTS]]:
        course, _, mapping = what.partition(" ")
        if mapping == old:
            facts[STARTS][f"{course} {new}"] = facts[STARTS].pop(what)


def _rename(found: dict[str, Any], old: str, new: str) -> None:
    found.pop(new, None)
    if old in found:
        found[new] = found.pop(old)


NAMED = Named(
    FORMS,
    (HOLDER.partition("{")[0],),
    (*BY_MAPPING, *BY_COURSE, *BY_PROPERTY, STARTS),
    _change,
    ("{name}", LACKING),
)
"""Where the books name mappings."""


def renamed(store: Store, project: Project) -> dict[str, str]:
    """Return the mappings that go by another name than when they wrote last: new name -> old name.

    That is one that was never allowed to write, whose keys one made last that is no file of the project any more.
    """
    return _find(store, *_made(project))


def _made(project: Project) -> tuple[dict[str, str], frozenset[str]]:
    """Return the form of the keys that each mapping makes, and the names of all files."""
    forms = {mapping.name: form_of(project, mapping) for mapping in project.mappings}
    return forms, frozenset(project.files | {mapping.name for mapping in project.everything})


def _find(store: Store, forms: Mapping[str, str], there: Collection[str]) -> dict[str, str]:
    """Find them for `renamed`."""
    written = _written(store, forms.keys())
    forms = {name: form for name, form in forms.items() if name not in written}
    if not forms:
        return {}
    holders = store.get_all([HOLDER.format(keys=form) for form in forms.values()])
    old_names = {name: holders.get(HOLDER.format(keys=form), name) for name, form in forms.items()}
    before = _written(store, old_names.values())
    return {
        name: old
        for name, old in old_names.items()
        if old not in there and before.get(old) == forms[name] and not store.has_begun(name)
    }


def _written(store: Store, names: Collection[str]) -> dict[str, str]:
    """Return by mapping the form of the keys that it was allowed to write."""
    facts = {WRITTEN.format(name=name): name for name in names}
    return {facts[fact]: form for fact, form in store.get_all([*facts]).items()}


async def take_over_names(world: World) -> list[str]:
    """Let mappings take over what the books know of them under an old name; return a sentence for each that did.

    Needs the lease: nobody else writes under the old name meanwhile.
    """
    store, said = world.books.store, list[str]()
    found = await world.books.do(_find, store, *_made(world.project))
    for new, old in sorted(found.items()):
        cases = await world.books.do(store.rename_mapping, old, new, NAMED)
        if cases is not None:
            what = f"the {numbered(cases, 'case')} of {old}.yaml" if cases else f"the place of {old}.yaml"
            said.append(f"{new}.yaml took over {what}: it makes the same keys, and {old}.yaml is there no more.")
            log.info("mapping %s took over %s cases of mapping %s", new, cases, old)
    return said


def will_take_over(store: Store, project: Project) -> list[str]:
    """Say which mappings the next run will know again under another name."""
    return [
        f"{new}.yaml makes the keys of {old}.yaml, which is there no more: with the next run it takes over "
        f"{numbered(store.count_known(old), 'case')}."
        for new, old in sorted(renamed(store, project).items())
    ]


def as_known(project: Project, old_names: Mapping[str, str]) -> Project:
    """Return a project with mappings under the names by which the books know them, for who may not write."""
    return replace(project, mappings=tuple(_as_known(mapping, old_names) for mapping in project.mappings))


def _as_known(mapping: CompiledMapping, old_names: Mapping[str, str]) -> CompiledMapping:
    parents = tuple(one._replace(mapping=old_names.get(one.mapping, one.mapping)) for one in mapping.parents)
    return replace(mapping, name=old_names.get(mapping.name, mapping.name), parents=parents)


def known_names(names: Sequence[str], old_names: Mapping[str, str]) -> tuple[str, ...]:
    """Return names that somebody gave as the books know them."""
    return tuple(old_names.get(name, name) for name in names)
