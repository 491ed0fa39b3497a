"""How an edit of the mappings is told: what would be sent because of it, and what would not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.diff import Changes, shown_samples, told
from flows.masked import Eyes
from flows.show_live import show_heading, show_table, show_text
from flows.words import listed, numbered

HEADINGS = {"part": "property", "cases": "cases", "key": "for example", "old": "before", "new": "after"}
FATES = {
    "included": "would become {cases}; before the edit they are left out",
    "excluded": "would be left out; before the edit they are sent",
    "held_back": "would be held back; before the edit they are sent",
    "sent": "would be sent; before the edit they are held back",
}
ROW_HEADINGS = HEADINGS | {"part": "field", "cases": "rows"}


def show_diff(found: Sequence[Changes], notes: Sequence[str], eyes: Eyes) -> None:
    """Print each mapping that makes a difference, with samples, and name the others."""
    quiet = [changes for changes in found if changes.changes_nothing]
    for changes in found:
        if not changes.changes_nothing:
            _show_changes(changes, eyes)
    for changes in quiet:
        show_text(_nothing(changes))
        for sentence in _former(changes):
            show_text(sentence, first="- ", then="  ")
        for sentence in _removed(changes):
            show_text(sentence, first="- ", then="  ")
    for note in notes:
        show_text(note, first="- ", then="  ")


def _show_changes(changes: Changes, eyes: Eyes) -> None:
    looked_at = f"{numbered(changes.records, 'record')} read"
    if changes.new is None:
        what = "its table and the rows" if changes.is_table else "its cases"
        show_heading(f"{changes.name}.yaml is gone: {what} stay in CommCare as they are")
        return
    if changes.old is None and changes.renamed:
        show_heading(
            f"{changes.name}.yaml makes another table, {changes.new.case_type}: "
            f"{numbered(changes.cases, 'row')} ({looked_at}); {changes.renamed} stays in CommCare as it is"
        )
        return
    if changes.old is None:
        show_heading(f"{changes.name}.yaml is new: {numbered(changes.cases, _what(changes))} ({looked_at})")
        return
    show_heading(f"{changes.name}.yaml: {looked_at}, {_cases(changes)}")
    rows = list(_rows(changes, eyes))
    if rows:
        show_table(rows, ROW_HEADINGS if changes.is_table else HEADINGS, right=["cases"])
    for sentence in _sentences(changes):
        show_text(sentence, first="- ", then="  ")


def _what(changes: Changes) -> str:
    return "row" if changes.is_table else "case"


def _cases(changes: Changes) -> str:
    before, after = changes.cases_before, changes.cases_after
    told = numbered(before, _what(changes))
    return f"{told} before and after" if before == after else f"{told} before, {after:,} after"


def _rows(changes: Changes, eyes: Eyes) -> Iterator[dict[str, str]]:
    for name, count in changes.properties.most_common():
        for number, sample in enumerate(shown_samples(changes, name, eyes)):
            first = {"part": told(name), "cases": f"{count:,}"} if number == 0 else {"part": "", "cases": ""}
            example = f"{sample['key']} {sample.get('property', '')}".rstrip()
            yield first | sample | {"key": example}


def _sentences(changes: Changes) -> Iterator[str]:
    what = _what(changes)
    yield from _former(changes)
    for fate, count in changes.fates.items():
        yield f"{numbered(count, 'record')} {FATES[fate].format(cases=f'{what}s' if count > 1 else f'a {what}')}."
    if changes.is_table and changes.fates["excluded"]:
        yield "The row of a record that is left out is taken away once two reads in a row have not seen it."
    keys = changes.properties.get("@key")
    if keys and changes.is_table:
        yield (
            f"The key of {numbered(keys, 'row')} would be another one: a run adds them anew, and the rows under "
            "the old keys are taken away once two reads in a row have not seen them."
        )
    elif keys:
        yield (
            f"The external id of {numbered(keys, 'case')} would be another one: a run stops before it makes "
            "them a second time."
        )
    if "@owner" in changes.properties:
        yield "Whether CommCare has these owners is not looked at here: `moodle-commcare preview` does."
    if once := sorted(told(name) for name in changes.once):
        yield f"Written once: {listed(once)}; only new cases get this, those in CommCare keep what they have."
    for name in changes.retired:
        yield f"{name} is retired: it is emptied in the cases that hold a value."
    if names := sorted(changes.dropped):
        yield (
            f"No longer made: {listed(names)}. The second run after the edit empties them; when many cases lose "
            "theirs, it asks first."
        )
    yield from _removed(changes)


def _former(changes: Changes) -> Iterator[str]:
    """Yield that a file has another name by now."""
    if changes.former:
        yield (
            f"Its name was {changes.former}.yaml: the next run has it take over the cases of that one, and sends "
            "nothing for the name."
        )


def _removed(changes: Changes) -> Iterator[str]:
    """Yield what was taken out; what `one_property_per` made is retired property by property."""
    if changes.is_table:
        if changes.removed:
            yield (
                f"Taken out: {listed(changes.removed)}; the table and its rows in CommCare keep what they have "
                "there, until somebody deletes the field in CommCare."
            )
        return
    if names := [name for name in changes.removed if name not in changes.elements]:
        stay = "stays in CommCare as it is" if len(names) == 1 else "stay in CommCare as they are"
        yield f"Taken out: {listed(names)}; {stay}. To empty it, write {names[0]}: {{retire: clear}}."
    for name, made in changes.elements.items():
        names = sorted(made)
        yield (
            f"Taken out: {name}; what it made stays in CommCare as it is ({listed(names)}). To empty it, write "
            f"{names[0]}: {{retire: clear}}, and such a line for each."
        )


def _nothing(changes: Changes) -> str:
    if not changes.edited:
        return f"{changes.name}.yaml: no change in what is sent."
    edited = listed([told(name) for name in changes.edited])
    return (
        f"{changes.name}.yaml: {edited} edited, and not one of {numbered(changes.cases, _what(changes))} differs: "
        "nothing would be sent."
    )
