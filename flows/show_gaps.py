"""How gaps look at a terminal and in a table for spreadsheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.gaps import KINDS
from flows.masked import Eyes
from flows.show_live import show_heading, show_table, show_text
from flows.words import numbered

if TYPE_CHECKING:
    from flows.gaps import Gaps


def show_gaps(found: Gaps) -> None:
    """Print, by course, how many people lack what the mappings need."""
    kinds = found.kinds()
    lacking = list(found.incomplete())
    people = numbered(len(found.people), "person", "people")
    show_heading(f"{people} in {numbered(len(found.courses), 'course')}; {len(lacking):,} lack something")
    main = [kind for kind in kinds if kind in KINDS]
    if main and found.courses:
        rows = [
            {"course": f"{course} {found.courses[course]}", "people": f"{count:,}"}
            | {kind: f"{counts[kind]:,}" if counts[kind] else "·" for kind in main}
            for course, count, counts in found.by_course()
        ]
        headings = {"course": "course", "people": "people", **{kind: f"no {kind}" for kind in main}}
        show_table(rows, headings, right=["people", *main])
    others = Counter(kind for _, one in lacking for kind in one.missing() if kind not in KINDS)
    if others:
        show_text("")
        fields = [{"field": kind, "people": f"{count:,}"} for kind, count in others.most_common()]
        show_table(fields, {"field": "other field", "people": "people without"}, right=["people"])
    if not kinds:
        show_text("The mappings need no telephone, e-mail address, group or owner of anybody.")
    elif lacking:
        show_text("Who they are: `moodle-commcare gaps --csv FILE`, for whoever cares for the people in Moodle.")
    show_text(f"{numbered(found.requests, 'request')} to Moodle; nothing was sent.")
    for note in found.notes:
        show_text(note, first="- ", then="  ")


def csv_headings(eyes: Eyes) -> tuple[str, ...]:
    """Return the headings; there is a name only for those who may see values."""
    return ("user_id", *(["name"] if eyes.sees_values else []), "courses", "missing", "page")


def csv_rows(found: Gaps, eyes: Eyes) -> Iterator[tuple[object, ...]]:
    """Yield a row for each person who lacks something."""
    for number, person in found.incomplete():
        name = [person.name] if eyes.sees_values else []
        courses = " ".join(map(str, sorted(person.courses)))
        yield (number, *name, courses, ", ".join(person.missing()), found.address(number))
