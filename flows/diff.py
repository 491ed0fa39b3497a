"""`mappings diff`: what an edit of the mappings changes, over one fresh read of Moodle and without sending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.catalogue import field_catalogue
from flows.live import look_at, watch
from flows.masked import Eyes
from flows.revision import old_folder
from flows.settings import Settings
from flows.steps.holders import form_of
from flows.steps.pull import Enough
from mappings.engine import (
    CompiledMapping,
    Context,
    Draft,
    Excluded,
    HeldBack,
    MappingError,
    Project,
    load_project,
)
from mappings.engine.catalogue import find_field

SAMPLES = 3
OTHER_COURSES = (
    "project.yaml chooses its courses in another way than then. What is counted here is about those that it "
    "chooses now. Cases of courses that are left out stay as they are, and are not kept up any more; the next run "
    "names them."
)
Outcome = Draft | Excluded | HeldBack
FRAME = {"@name": "case_name", "@type": "case_type", "@owner": "owner", "@key": "external_id"}


@dataclass(frozen=True)
class Sample:
    """One case's value of a property before and after; None: nothing is sent for it."""

    key: str
    name: str
    old: str | None
    new: str | None


@dataclass
class Changes:
    """What an edit changes in the cases of one mapping."""

    name: str
    old: CompiledMapping | None
    new: CompiledMapping | None
    records: int = 0
    cases: int = 0
    properties: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)
    """Records whose fate is another one: "included", "excluded", "held_back", "sent"."""
    dropped: set[str] = field(default_factory=set)
    """Properties of elements that are in a list of the same case no more."""
    elements: dict[str, set[str]] = field(default_factory=dict)
    """By the name of a `one_property_per` that was taken out: the properties it made."""
    once: set[str] = field(default_factory=set)
    """What differs and is written once only: cases that are there keep theirs."""
    renamed: str = ""
    """The ID that a lookup table had before the edit, when it has another one now."""
    former: str = ""
    """The name that the file of a mapping had before the edit, when it has another one now."""

    @property
    def is_table(self) -> bool:
        """Whether it is about the rows of a lookup table in the place of cases."""
        return any(version is not None and version.is_table for version in (self.old, self.new))

    def take(self, record: Mapping[str, Any], context: tuple[Context, Context]) -> None:
        """Compare what both versions make of one record."""
        self.records += 1
        if self.old is None or self.new is None:
            self.cases += self.new is not None and isinstance(self.new.draft(record, context[1]), Draft)
            return
        old, new = self.old.draft(record, context[0]), self.new.draft(record, context[1])
        if isinstance(old, Draft) and isinstance(new, Draft):
            self.cases += 1
            self._compare(old, new)
        elif isinstance(new, Draft):
            self.fates["included" if isinstance(old, Excluded) else "sent"] += 1
        elif isinstance(old, Draft):
            self.fates["excluded" if isinstance(new, Excluded) else "held_back"] += 1

    def _compare(self, old: Draft, new: Draft) -> None:
        values_of = _fields if self.is_table else _values
        before, after, removed = values_of(old), values_of(new), set(self.removed)
        after |= dict.fromkeys(before.keys() & set(self.retired), "")
        differ = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
        for name in differ:
            if (family := self.definition_of(name)) in removed and family != name:
                self.elements.setdefault(family, set()).add(name)
        differ = [name for name in differ if self.definition_of(name) not in removed]
        self.properties.update(dict.fromkeys((self.definition_of(name) for name in differ), 1))
        once = new.once | ({"@owner"} if new.owner.write_once else set())
        self.once.update(self.definition_of(name) for name in differ if name in once)
        for name in differ:
            family = self.definition_of(name)
            if name not in after and name not in new.listed.get(family, {name}):
                self.dropped.add(name)
            kept = self.samples.setdefault(family, [])
            if len(kept) < SAMPLES:
                kept.append(Sample(new.key, name, before.get(name), after.get(name)))

    def definition_of(self, name: str) -> str:
        """Return the key under `properties` that makes a property, in the new or the old version."""
        versions = [mapping for mapping in (self.new, self.old) if mapping is not None]
        return (
            name if name.startswith("@") else next(filter(None, (m.definition_of(name) for m in versions)), name)
        )

    def is_personal(self, name: str) -> bool:
        """Say whether the values of a property are masked: when either version calls it personal."""
        versions = [version for version in (self.old, self.new) if version is not None]
        if name == "@owner":
            return any(map(_owner_is_personal, versions))
        return name == "@name" or any(name in version.personal for version in versions)

    @property
    def cases_before(self) -> int:
        """The cases that were sent before the edit."""
        return self.cases + self.fates["excluded"] + self.fates["held_back"]

    @property
    def cases_after(self) -> int:
        """The cases that would be sent after it."""
        return self.cases + self.fates["included"] + self.fates["sent"]

    @property
    def removed(self) -> list[str]:
        """The properties that are no longer in the mapping and are not retired."""
        if self.old is None or self.new is None:
            return []
        return [name for name in self.old.notes if name not in self.new.notes]

    @property
    def retired(self) -> list[str]:
        """The properties that are newly retired: they are emptied in CommCare."""
        if self.old is None or self.new is None:
            return []
        return sorted(self.new.retired - self.old.retired)

    @property
    def edited(self) -> list[str]:
        """The parts whose definition is another one, whether or not any case differs."""
        if self.old is None or self.new is None:
            return []
        before, after = self.old.fingerprints, self.new.fingerprints
        return sorted(name for name in after if before.get(name) != after[name])

    @property
    def changes_nothing(self) -> bool:
        """Whether no case differs."""
        return not (self.properties or self.fates or self.retired) and None not in (self.old, self.new)


def run_diff(
    settings: Settings, since: str, courses: Sequence[int], limit: int
) -> tuple[list[Changes], list[str]]:
    """Compare the mappings of a revision with those in the folder; returns the changes and what to note.

    At most `limit` records of each mapping are looked at, 0 for all of them. Raises UsageError for what git does
    not have, MappingError for a version that is not right.
    """
    found: dict[str, Changes] = {}
    with old_folder(Path(settings.mappings_dir), since) as folder:
        before = _load_old(folder, since)

    notes = list[str]()

    def make(project: Project) -> list[CompiledMapping]:
        if project.courses != before.courses:
            notes.append(OTHER_COURSES)
        found.update((changes.name, changes) for changes in pairs(before, project))
        return [_watcher(changes, before, found, limit) for changes in found.values() if changes.new]

    _, result = look_at(settings, make, courses=courses)
    return list(found.values()), [*notes, *result.messages]


def pairs(old: Project, new: Project) -> Iterator[Changes]:
    """Yield the mappings and lookup tables of two versions side by side.

    A mapping that reads another source is a new one, and so is a table with another ID. One that is new and makes
    the keys of a file that is there no more is that one under another name.
    """
    used = ((*project.mappings, *project.tables) for project in (old, new))
    before, after = ({mapping.name: mapping for mapping in mappings} for mappings in used)
    former = _former_names(old, new)
    for name in dict.fromkeys([*after, *(name for name in before if name not in former.values())]):
        one, other, renamed = before.get(former.get(name, name)), after.get(name), ""
        if one is not None and other is not None and other.is_table and one.case_type != other.case_type:
            renamed = one.case_type
            one = None
        if one is not None and other is not None and one.source != other.source:
            one = None
        yield Changes(name, one, other, renamed=renamed, former=former.get(name, ""))


def _former_names(old: Project, new: Project) -> dict[str, str]:
    """Return the old names of mappings whose file got another name, by the new ones: a run has them go on."""
    gone = {form_of(old, one): one.name for one in old.mappings if one.name not in new.files}
    news = [one for one in new.mappings if one.name not in old.files]
    return {one.name: gone[form_of(new, one)] for one in news if form_of(new, one) in gone}


def _load_old(folder: Path, since: str) -> Project:
    try:
        return load_project(folder, field_catalogue())
    except MappingError as error:
        found = [replace(each, path=f"{since}:{Path(each.path).name}") for each in error.problems]
        then = (
            f"this is how it was in {since}: commit what is right now, or compare with another version (--since)"
        )
        found[-1] = replace(found[-1], remedy="; ".join(filter(None, (found[-1].remedy, then))))
        raise MappingError(found) from None


def _watcher(changes: Changes, before: Project, everything: Mapping[str, Changes], limit: int) -> CompiledMapping:
    new, old = changes.new, changes.old
    if new is None:
        raise ValueError("only a mapping that there is can be watched")

    def see(record: Mapping[str, Any], context: Context) -> None:
        if not limit or changes.records < limit:
            old_site = Context(before.site, before.site_url or context.site_url, context.today)
            changes.take(record, (old_site, context))
        of_cases = [each for each in everything.values() if each.new and not each.is_table]
        if limit and not changes.is_table and all(each.records >= limit for each in of_cases):
            raise Enough  # tables are made of the courses alone, and are looked at first

    def wants(record: Mapping[str, Any]) -> bool:
        return not new.excludes(record) or (old is not None and not old.excludes(record))

    return watch(new, see, reads=old.reads if old else (), wants=wants)


def _values(draft: Draft) -> dict[str, str]:
    """Return all that a draft sends, by name; what is not a property begins with '@'."""
    owner = f"same as {draft.owner.same_as}" if draft.owner.same_as else ""
    named = dict.fromkeys(f"{each.kind}:{each.value}" for each in draft.owner.candidates)
    owner = owner or " or else ".join(named)
    frame = {"@key": draft.key, "@type": draft.case_type, "@name": draft.name, "@owner": owner}
    for index in draft.indices:
        frame[f"@index:{index.name}"] = f"{index.relationship} of {index.case_type} {index.key}"
    return {**draft.properties, **frame}


def _fields(draft: Draft) -> dict[str, str]:
    """Return all that a row of a lookup table holds."""
    return {**draft.properties, "@key": draft.key}


def _owner_is_personal(mapping: CompiledMapping) -> bool:
    """Say whether a rule for the owner reads a personal field."""
    catalogue, rules = field_catalogue(), mapping.spec.owner.first_of
    fields = (find_field(catalogue, mapping.source, rule.source) for rule in rules)
    return any(found is not None and found.personal for found in fields)


def as_json(found: Sequence[Changes], notes: Sequence[str], eyes: Eyes) -> dict[str, Any]:
    """Return the changes for `--json`, people's values masked."""
    return {"mappings": [_changes_json(each, eyes) for each in found], "messages": list(notes)}


def _changes_json(changes: Changes, eyes: Eyes) -> dict[str, Any]:
    state = "new" if changes.old is None else "removed" if changes.new is None else "changed"
    return {
        "mapping": changes.name,
        **({"lookup_table": changes.new.case_type} if changes.is_table and changes.new else {}),
        "state": "unchanged" if changes.changes_nothing else state,
        **({"former_name": changes.former} if changes.former else {}),
        "records": changes.records,
        "cases": changes.cases,
        "cases_before": changes.cases_before,
        "cases_after": changes.cases_after,
        "properties": {
            told(name): {"cases": count, "samples": list(shown_samples(changes, name, eyes))}
            for name, count in changes.properties.most_common()
        },
        "records_with_another_fate": dict(changes.fates),
        "removed": changes.removed,
        "retired": changes.retired,
        "dropped": sorted(changes.dropped),
        "edited": [told(name) for name in changes.edited],
    }


def shown_samples(changes: Changes, name: str, eyes: Eyes) -> Iterator[dict[str, str]]:
    """Yield the samples of a property as they may be shown."""
    personal, retired = changes.is_personal(name), set(changes.retired)
    for sample in changes.samples.get(name, ()):
        old, new = (
            "not sent" if text is None else eyes.see(text, personal=personal) for text in (sample.old, sample.new)
        )
        if personal and old == new and old not in ("not sent", "blank"):
            new = f"{new} (another from character {_parting(sample.old or '', sample.new or '')} on)"
        element = {} if sample.name == name else {"property": sample.name}
        yield {"key": sample.key} | element | {"old": old, "new": "emptied" if sample.name in retired else new}


def _parting(old: str, new: str) -> int:
    """Return the first character, counted from 1, in which two texts differ."""
    pairs_of = zip(old, new, strict=False)
    return next((at for at, (one, other) in enumerate(pairs_of, 1) if one != other), min(len(old), len(new)) + 1)


def told(name: str) -> str:
    """Return a part as an implementer writes it: case_name for @name."""
    return FRAME.get(name, name.removeprefix("@index:"))
