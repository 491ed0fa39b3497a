"""What conditions make of each other: cases that an earlier one has settled, and ones that nothing can meet."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from mappings.engine.findings import Findings
from mappings.engine.problems import quoted
from mappings.engine.reading import Loc
from mappings.engine.spec import CaseSpec, ConditionSpec
from mappings.engine.texts import Invalid, to_number

Lists = frozenset[str]  # the fields that are lists: any one of their entries may meet a condition


def check_filters(findings: Findings) -> None:
    """Check that a record can meet `include`, and that `exclude` leaves some of those in."""
    lists = _lists(findings)
    spec = findings.spec
    _check_possible(findings, ("include",), spec.include, lists)
    for number, unwanted in enumerate(spec.exclude):
        wanted = next((each for each in spec.include if _implies(each, unwanted, lists)), None)
        if wanted is not None:
            sentence = f"this leaves out everybody whom 'include' lets in by {quoted(wanted.source)}"
            findings.tell(("exclude", number), sentence, "take one of the two out, or compare another value")


def check_cases(findings: Findings, loc: Loc, cases: Sequence[CaseSpec]) -> None:
    """Check that each entry of `cases` can be reached."""
    lists = _lists(findings)
    for number, case in enumerate(cases):
        at = (*loc, number, "when")
        if not _check_possible(findings, at, case.when, lists):
            continue
        before = next((n for n, other in enumerate(cases[:number]) if _covers(other, case, lists)), None)
        if before is not None:
            line = findings.document.mark((*loc, before, "when"), key=True).line
            remedy = f"the one on line {line} holds whenever this one does: put the narrower one first"
            findings.tell(at, "this case is never reached", remedy, key=True)


def _lists(findings: Findings) -> Lists:
    fields = findings.catalogue.get(findings.spec.source, {})
    return frozenset(path for path, found in fields.items() if found.type == "list")


def _covers(earlier: CaseSpec, later: CaseSpec, lists: Lists) -> bool:
    """Say whether an earlier case takes every record that a later one would."""
    return bool(earlier.when) and all(
        any(_implies(mine, theirs, lists) for mine in later.when) for theirs in earlier.when
    )


def _check_possible(findings: Findings, loc: Loc, conditions: Sequence[ConditionSpec], lists: Lists) -> bool:
    for number, one in enumerate(conditions):
        other = next((each for each in conditions[:number] if _exclude_each_other(each, one, lists)), None)
        if other is not None:
            sentence = f"no record can meet both conditions on {quoted(one.source)}"
            remedy = "all conditions of a list must hold; name several values in one, as in any_of: [a, b]"
            findings.tell((*loc, number), sentence, remedy)
            return False
    return True


def _implies(one: ConditionSpec, other: ConditionSpec, lists: Lists) -> bool:
    """Say whether every value that meets one condition meets another, as far as can be told from their words."""
    if one.source != other.source:
        return False
    if one == other:
        return True
    words = _words(one)
    if words is not None and (one.source not in lists or _is_positive(other)):
        return bool(words) and all(_meets(word, other) for word in words)
    refused, also = _refused(one), _refused(other)
    if refused is not None and also is not None:
        return set(also) <= set(refused)
    return _narrower(one, other)


def _narrower(one: ConditionSpec, other: ConditionSpec) -> bool:
    if one.at_least is not None and other.at_least is not None:
        return one.at_least >= other.at_least
    if one.below is not None and other.below is not None:
        return one.below <= other.below
    numbers_or_pattern = one.at_least is not None or one.below is not None or one.like is not None
    return other.is_empty is False and numbers_or_pattern


def _exclude_each_other(one: ConditionSpec, other: ConditionSpec, lists: Lists) -> bool:
    """Say whether no value meets both; of a list different entries may."""
    if one.source != other.source or one.source in lists:
        return False
    for first, second in ((one, other), (other, one)):
        words = _words(first)
        if words and not any(_meets(word, second) for word in words):
            return True
        if first.at_least is not None and second.below is not None and first.at_least >= second.below:
            return True
        if first.is_empty is True and (second.at_least is not None or second.below is not None or second.like):
            return True
    return one.is_empty is not None and other.is_empty is not None and one.is_empty != other.is_empty


def _words(spec: ConditionSpec) -> list[str] | None:
    """Return the texts that a condition asks for, None when it does not name them; blank is ""."""
    if spec.is_empty is True:
        return [""]
    if spec.is_ is not None:
        return [spec.is_.strip()]
    return [word.strip() for word in spec.any_of] if spec.any_of is not None else None


def _refused(spec: ConditionSpec) -> list[str] | None:
    """Return the texts that a condition does not want, None when it is of another kind."""
    if spec.is_not is not None:
        return [spec.is_not.strip()]
    return [word.strip() for word in spec.none_of] if spec.none_of is not None else None


def _is_positive(spec: ConditionSpec) -> bool:
    return spec.is_not is None and spec.none_of is None and spec.is_empty is None


def _meets(word: str, spec: ConditionSpec) -> bool:
    """Say whether a text meets a condition."""
    wanted = _words(spec)
    if wanted is not None:
        return word in wanted
    refused = _refused(spec)
    if refused is not None:
        return word not in refused
    if spec.is_empty is False:
        return bool(word)
    if spec.like is not None:
        return bool(word) and fnmatch.fnmatchcase(word, spec.like)
    try:
        number = float(to_number(word))
    except Invalid:
        return False
    return number >= spec.at_least if spec.at_least is not None else number < float(spec.below or 0)
