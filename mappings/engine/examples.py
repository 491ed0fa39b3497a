"""Inline tests: a made-up record in the mapping file, and what the mapping must make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from mappings.engine.catalogue import Catalogue, field_remedy, find_field
from mappings.engine.compile import CompiledMapping
from mappings.engine.draft import REASONS, Context, Draft, Excluded, HeldBack, OwnerRule, ValueProblem
from mappings.engine.problems import Problem, nearest, quoted
from mappings.engine.reading import Document, Loc
from mappings.engine.spec import ExpectSpec, TestSpec

_SITE_URL: Final = "https://moodle.example.org"
_SOME_DAY: Final = date(2026, 1, 31)
_TAKE_OUT: Final = "`moodle-commcare mappings test --update` takes it out of this test too"


@dataclass
class Examples:
    """The tests of one mapping file being run."""

    document: Document
    mapping: CompiledMapping
    catalogue: Catalogue
    site: str
    site_url: str
    run: int = 0
    failed: int = 0
    problems: list[Problem] = field(default_factory=list)
    made: dict[int, Draft | Excluded | HeldBack] = field(default_factory=dict)
    """What the mapping made of each test's record, by the test's number; a record with a mistake has none."""

    @property
    def _kind(self) -> str:
        return "lookup table" if self.mapping.is_table else "mapping"

    def run_all(self, tests: Sequence[TestSpec]) -> None:
        """Run every test; each finding stands at the expectation that was not met."""
        for number, test in enumerate(tests):
            before = len(self.problems)
            self._run(("tests", number), test)
            self.run += 1
            self.failed += len(self.problems) > before

    def tell(self, loc: Loc, sentence: str, remedy: str, *, key: bool = False) -> None:
        """Note a finding."""
        mark = self.document.mark(loc, key=key)
        self.problems.append(self.document.problem(mark, sentence, remedy, severity="test"))

    def _run(self, loc: Loc, test: TestSpec) -> None:
        if self.mapping.recheck_daily and test.today is None:
            self.tell((*loc, "name"), f"{test.name}: which day is it?", "add 'today: 2026-01-31' to this test")
            return
        before = len(self.problems)
        record = self._record((*loc, "given"), test.given, "")
        if len(self.problems) > before:
            return
        made = self.made[int(loc[1])] = self.mapping.draft(record, self._context(test.today))
        self._compare((*loc, "expect"), test, made)

    def outcome(self, given: Mapping[str, Any], today: date | None) -> Draft | Excluded | HeldBack:
        """Return what the mapping makes of a record as a test writes it."""
        return self.mapping.draft(self._record(("tests",), given, ""), self._context(today))

    def _context(self, today: date | None) -> Context:
        return Context(self.site, self.site_url or _SITE_URL, today or _SOME_DAY)

    def _record(self, loc: Loc, given: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        """Return a record as the Moodle adaptor would build it: numbers, flags and times by the catalogue."""
        record: dict[str, Any] = {}
        for name, written in given.items():
            at, path = (*loc, name), f"{prefix}{name}"
            found = find_field(self.catalogue, self.mapping.source, path)
            if found is not None and found.type == "elements":
                entries = written if isinstance(written, list) else []
                record[name] = [
                    self._record((*at, number), entry, f"{path}[].")
                    for number, entry in enumerate(entries)
                    if isinstance(entry, dict)
                ]
            elif found is not None:
                record[name] = self._typed(at, found.type, written)
            elif self._is_block(path):
                record[name] = self._record(at, written, f"{path}.") if isinstance(written, dict) else None
            else:
                self._unknown(at, path)
        return record

    def _is_block(self, path: str) -> bool:
        return any(known.startswith(f"{path}.") for known in self.catalogue[self.mapping.source])

    def _unknown(self, loc: Loc, path: str) -> None:
        source = self.mapping.source
        sentence = f"source {quoted(source)} has no field {quoted(path)}"
        self.tell(loc, sentence, field_remedy(self.catalogue, source, path), key=True)

    def _typed(self, loc: Loc, kind: str, written: Any) -> object:
        if kind == "list":
            return written if isinstance(written, list) else [written] if written else []
        if not isinstance(written, str | None):
            self.tell(loc, "this field holds one value", "write it without brackets")
            return None
        if kind == "text" or written is None or written in ("", "null", "~"):
            return None if written is None else written if kind == "text" else None
        if kind == "flag":
            return self._flag(loc, written)
        return self._number(loc, written, is_time=kind == "time")

    def _flag(self, loc: Loc, written: str) -> bool | None:
        known = {"true": True, "1": True, "false": False, "0": False}
        if written not in known:
            self.tell(loc, f"{quoted(written)} is neither true nor false", "write true or false")
        return known.get(written)

    def _number(self, loc: Loc, written: str, *, is_time: bool) -> int | float | None:
        digits = written.removeprefix("-").replace(".", "", 1)
        if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            self.tell(loc, f"{quoted(written)} is not a number", "write digits, times as seconds since 1970")
            return None
        number = float(written) if "." in written else int(written)
        return None if is_time and number == 0 else number

    def _compare(self, loc: Loc, test: TestSpec, made: Draft | Excluded | HeldBack) -> None:
        expect = test.expect
        unseen = _unseen(made)
        if unseen and (expect.held_back or isinstance(made, HeldBack)):
            return  # a plug-in that was not loaded decides
        if expect.excluded or expect.held_back:
            wanted, words = (Excluded, "left out") if expect.excluded else (HeldBack, "held back")
            if not isinstance(made, wanted):
                self.tell(loc, f"{test.name}: the record is not {words}", f"the mapping made {_in_words(made)}")
            return
        if not isinstance(made, Draft):
            what = "row" if self.mapping.is_table else "case"
            self.tell(loc, f"{test.name}: there is no {what}", f"the mapping made {_in_words(made)}")
            return
        self._compare_frame(loc, test.name, expect, made)
        for name, text in expect.properties.items():
            if {name, self.mapping.definition_of(name)} & unseen:
                continue
            self._compare_property((*loc, "properties", name), f"{test.name}: {name}", text, made)
        for number, name in enumerate(expect.not_sent):
            if name in made.properties:
                self.tell((*loc, "not_sent", number), f"{test.name}: {name}", "the mapping sends something for it")
            elif not (name in self.mapping.notes or self.mapping.definition_of(name)):
                sentence = f"{test.name}: the mapping has no property {quoted(name)}"
                self.tell((*loc, "not_sent", number), sentence, self._gone(name))

    def _compare_frame(self, loc: Loc, name: str, expect: ExpectSpec, made: Draft) -> None:
        keys = {index.name: index.key for index in made.indices}
        unread = self.mapping.spec.indices.keys() - {rule.name for rule in self.mapping.parents}
        wanted = [
            (("external_id",), expect.external_id, made.key),
            (("case_name",), expect.case_name, made.name),
            (("owner",), expect.owner, owner_text(made.owner)),
        ]
        # A parent whose file cannot be read is told there; it makes no second mistake here.
        there = {index: key for index, key in expect.indices.items() if index not in unread}
        wanted += [(("indices", index), key, keys.get(index, "")) for index, key in there.items()]  # type: ignore[misc]
        for at, text, found in wanted:
            if text is not None and text.replace("{site}", self.site) != found:
                is_name = at == ("case_name",)
                self.tell((*loc, *at), f"{name}: {at[-1]}", _difference(text, found, masked=is_name))

    def _gone(self, name: str) -> str:
        """Return what to do about a property that is tested and not made: misspelt here, or taken out there."""
        near = nearest(name, self.mapping.notes)
        asked = f"did you mean '{near}'? " if near else ""
        return f"{asked}if it was taken out of the {self._kind}, {_TAKE_OUT}"

    def _compare_property(self, loc: Loc, title: str, text: str, made: Draft) -> None:
        name = str(loc[-1])
        if not self.mapping.definition_of(name):
            sentence = f"this {self._kind} has no property {quoted(name)}"
            self.tell(loc, sentence, self._gone(name), key=True)
        elif name not in made.properties:
            why = "".join(f": it {REASONS[p.reason]}" for p in made.problems if p.property == name)
            self.tell(loc, title, f"the mapping sends nothing for it{why}")
        elif made.properties[name] != text:
            masked = self.mapping.is_personal(name)
            self.tell(loc, title, _difference(text, made.properties[name], masked=masked))


def _unseen(made: Draft | Excluded | HeldBack) -> frozenset[str]:
    """Return the properties that need a plug-in which was not loaded."""
    problems = () if isinstance(made, Excluded) else made.problems
    return frozenset(problem.property for problem in problems if problem.reason == "not_looked_at")


def _in_words(made: Draft | Excluded | HeldBack) -> str:
    if isinstance(made, Excluded):
        return f"nothing: {quoted(made.reason)} leaves the record out"
    if isinstance(made, HeldBack):
        return f"nothing: {'; '.join(_reason(problem) for problem in made.problems)}"
    return "a case"


def _reason(problem: ValueProblem) -> str:
    detail = f" ({problem.detail})" if problem.detail else ""
    return f"{problem.property.lstrip('@')}{detail} {REASONS[problem.reason]}"


def owner_text(owner: OwnerRule) -> str:
    """Return the first owner of a rule as tests write it: group:Field coaches, same_as:student."""
    if owner.same_as:
        return f"same_as:{owner.same_as}"
    return f"{owner.candidates[0].kind}:{owner.candidates[0].value}" if owner.candidates else ""


def _difference(expected: str, made: str, *, masked: bool) -> str:
    """Return both texts for a message; personal ones only by their beginnings and where they part."""
    if not masked:
        return f"expected {quoted(expected)}, the mapping made {quoted(made)}"
    same = next(
        (at for at, (a, b) in enumerate(zip(expected, made, strict=False)) if a != b),
        min(len(expected), len(made)),
    )
    return f"expected '{expected[:2]}***', the mapping made '{made[:2]}***'; they part at character {same + 1}"
