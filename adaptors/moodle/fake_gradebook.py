"""The gradebook of one course in the fake Moodle: grade items, grades, and the rows of the user report.

Grades are kept as small as possible and rows are made when asked for, so that benches of hundreds of courses fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adaptors.moodle.fake_templates import may_view

_ITEM_KEYS = (
    "id", "itemname", "itemtype", "itemmodule", "iteminstance", "itemnumber", "idnumber", "categoryid",
    "outcomeid", "scaleid", "locked", "cmid", "grademin", "grademax", "rangeformatted",
)  # fmt: skip
OUTCOMES = 1000  # the number of an activity's first outcome, among its grade items


@dataclass(slots=True)
class Item:
    """A grade item; `type` is mod, manual, category or course (a total: no name, no module)."""

    id: int
    name: str | None = None
    type: str = "mod"
    module: str | None = None
    instance: int | None = None
    cmid: int | None = None
    idnumber: str | None = ""
    categoryid: int | None = None
    minimum: float = 0
    maximum: float = 100
    hidden: bool = False
    locked: bool = False
    outcomeid: int | None = None
    """The outcome that is graded, beside an activity of the same cmid."""
    broken: bool = False
    """Whether its formula cannot be worked out: Moodle shows 'Error', also in the course total."""

    @property
    def is_total(self) -> bool:
        """Tell totals from items that people are graded in."""
        return self.type in ("category", "course")


@dataclass(slots=True)
class Grade:
    """One person's grade in one item; `raw` is None for feedback only, or a grade that was cleared."""

    raw: float | None
    dategraded: int | None
    feedback: str = ""
    datesubmitted: int | None = None
    overridden: bool = False


@dataclass
class Gradebook:
    """Items in the order of the report (the course total last), and grades by item and person.

    `recorded` holds whole reports of a real site by person; those are given back as they are. `shows_totals` is
    the course's setting 'Hide totals if they contain hidden items': False, as in a new course, hides them.
    """

    items: list[Item] = field(default_factory=list)
    grades: dict[int, dict[int, Grade]] = field(default_factory=dict)
    recorded: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    blank: list[dict[str, Any]] = field(default_factory=list)
    depth: int = 2
    shows_totals: bool = False

    @classmethod
    def from_report(cls, usergrades: list[dict[str, Any]]) -> Gradebook:
        """Build the gradebook of a course from its recorded answer for everybody."""
        reports = {user["userid"]: user["gradeitems"] for user in usergrades}
        # Highest points of a total depend on what a person was graded in: take somebody with nothing at all.
        untouched = [rows for rows in reports.values() if all(row["graderaw"] is None for row in rows)]
        model: list[dict[str, Any]] = min(
            untouched or reports.values(), key=lambda rows: sum("status" in row for row in rows), default=[]
        )
        depth = max((user["maxdepth"] for user in usergrades), default=2)
        return cls(recorded=reports, blank=[_emptied(row) for row in model], depth=depth)

    def rows(self, user: int, *, enrolled: bool) -> list[dict[str, Any]]:
        """Return the report of one person, not to be changed; who is not graded gets a grid of empty items."""
        if user in self.recorded or self.blank:
            return self.recorded.get(user, self.blank)
        mine = {item: grades[user] for item, grades in self.grades.items() if user in grades} if enrolled else {}
        graded = {
            item.id: item.maximum for item in self.items if item.id in mine and mine[item.id].raw is not None
        }
        return [self._item_row(item, mine, graded) for item in self.items]

    def grade(self, item: int, user: int, grade: Grade) -> None:
        """Put a grade in; a recorded gradebook stays as it was recorded."""
        if self.recorded:
            raise ValueError("the grades of this course are a recording and cannot be changed")
        self.grades.setdefault(item, {})[user] = grade

    def put_last(self, item: Item) -> None:
        """Add an item in front of the course total, which closes the report."""
        at = len(self.items) - (1 if self.items and self.items[-1].type == "course" else 0)
        self.items.insert(at, item)

    def drop(self, user: int) -> None:
        """Forget the grades of somebody who left."""
        for grades in self.grades.values():
            grades.pop(user, None)
        self.recorded.pop(user, None)

    def _item_row(self, item: Item, mine: Mapping[int, Grade], graded: Mapping[int, float]) -> dict[str, Any]:
        """Build one row; `graded` has the highest points of each item the person is graded in."""
        grade, highest, counts = mine.get(item.id), item.maximum, item.id in graded
        if item.is_total:
            # Natural aggregation: points over the highest points of what the person was graded in.
            parts = [part for part in self.items if _counts_in(part, item)]
            counted = [part for part in parts if part.id in graded]
            highest, counts = sum(part.maximum for part in counted or parts), bool(counted)
            if counted:
                latest = max(mine[part.id].dategraded or 0 for part in counted)
                grade = Grade(sum(mine[part.id].raw or 0 for part in counted), latest or None)
        share = None
        if graded and item.type != "course":
            share = highest / (sum(graded.values()) or 1) if counts else 0.0
        row = _row(item, grade, share, highest)
        broken = item.broken or (item.type == "course" and any(part.broken for part in self.items))
        return row | {"gradeneedsupdate": True} | _NOT_SHOWN | _ERROR if broken else row


def _statuses(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum("status" in row for row in rows)


def _counts_in(part: Item, total: Item) -> bool:
    return not part.is_total and (total.type == "course" or part.categoryid == total.instance)


def number(value: float) -> float:
    """Write a number as PHP's JSON does: without a fraction where there is none."""
    return int(value) if value == int(value) else value


def _row(item: Item, grade: Grade | None, share: float | None, highest: float) -> dict[str, Any]:
    """Build one row; `share` is the part of the course total, None when nothing is aggregated for the person."""
    low, high = number(item.minimum), number(highest)
    raw = None if grade is None or grade.raw is None else number(round(grade.raw, 5))
    feedback = grade.feedback if grade else ""
    row = {
        "id": item.id,
        "itemname": item.name,
        "itemtype": item.type,
        "itemmodule": item.module,
        "iteminstance": item.instance,
        "itemnumber": None if item.is_total else 0 if item.outcomeid is None else OUTCOMES,
        "idnumber": item.idnumber,
        "categoryid": item.categoryid,
        "outcomeid": item.outcomeid,
        "scaleid": None,
        "locked": item.locked,
        "graderaw": raw,
        "gradedatesubmitted": grade.datesubmitted if grade else None,
        "gradedategraded": grade.dategraded if grade else None,
        "gradehiddenbydate": False,
        "gradeneedsupdate": False,
        "gradeishidden": item.hidden,
        "gradeislocked": item.locked,
        "gradeisoverridden": grade is not None and grade.overridden,
        "gradeformatted": "-" if raw is None else f"{raw:.2f}",
        "grademin": low,
        "grademax": high,
        "rangeformatted": f"{low}&ndash;{high}",
        "percentageformatted": _percentage(raw, low, high),
        "feedback": feedback,
        "feedbackformat": 1 if feedback or raw is not None else 0 if share is None else 2,
    }
    if item.cmid is not None:
        row["cmid"] = item.cmid
    if share is not None:
        row["weightraw"], row["weightformatted"] = number(round(share, 5)), f"{share * 100:.2f} %"
        if raw is None:
            row["status"] = "novalue"
    return row


def _percentage(raw: float | None, minimum: float, maximum: float) -> str:
    if raw is None or maximum <= minimum:
        return "-"
    return f"{(raw - minimum) / (maximum - minimum) * 100:.2f} %"


def _emptied(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a recorded row into the one Moodle shows for somebody who was never graded."""
    shows_grades = row["rangeformatted"] != "&ndash;"
    return {key: row[key] for key in _ITEM_KEYS if key in row} | {
        "graderaw": None,
        "gradedatesubmitted": None,
        "gradedategraded": None,
        "gradehiddenbydate": False,
        "gradeneedsupdate": False,
        "gradeishidden": row["gradeishidden"],
        "gradeislocked": row["locked"],
        "gradeisoverridden": False,
        "gradeformatted": "-" if shows_grades else "",
        "percentageformatted": "-" if shows_grades else "",
        "feedback": "",
        "feedbackformat": 0,
    }


def readable(
    rows: Iterable[Mapping[str, Any]], capabilities: Iterable[str], *, shows_totals: bool = True
) -> list[dict[str, Any]]:
    """Leave out, without a word, the rows an account may not see: hidden items, modules it may not view.

    Unless the course `shows_totals`, it is not shown either what hidden items count in, graded or not; the date
    of such a total stays.
    """
    held, report = frozenset(capabilities), list(rows)
    if "moodle/grade:viewhidden" not in held:
        hidden = [row for row in report if row["gradeishidden"]]
        blank = [] if shows_totals else [row["id"] for row in report if any(_depends(row, one) for one in hidden)]
        report = [
            {**row, **_NOT_SHOWN} if row["id"] in blank else row for row in report if not row["gradeishidden"]
        ]
    return [dict(row) for row in report if row["itemmodule"] is None or may_view(row["itemmodule"], held)]


_NOT_SHOWN = {"graderaw": None, "gradeformatted": "-", "percentageformatted": "-"}
_ERROR = {"gradeformatted": "Error", "percentageformatted": "Error"}


def _depends(total: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    kind = total["itemtype"]
    return bool(kind == "course" or (kind == "category" and part["categoryid"] == total["iteminstance"]))
