"""What markers did in the fake Moodle: grades, comments, workflow, participant numbers, files."""

from __future__ import annotations

import hashlib
import mimetypes
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

WEB_FILES = "/webservice/pluginfile.php"
NO_GRADE = -1.0


@dataclass
class GradeRow:
    """A row of assign_grades: one attempt of one person."""

    id: int
    userid: int
    attemptnumber: int
    timecreated: int
    timemodified: int
    grader: int
    grade: float = NO_GRADE
    comment: str | None = None

    def row(self) -> dict[str, Any]:
        """Return it as it stands in `mod_assign_get_grades`."""
        names = ("id", "userid", "attemptnumber", "timecreated", "timemodified", "grader")
        return {name: getattr(self, name) for name in names} | {"grade": f"{self.grade:.5f}"}


@dataclass
class Marking:
    """Marks by assignment (instance) and person; `methods` (by cmid): rubrics; `scales`: how many words."""

    grades: defaultdict[int, dict[tuple[int, int], GradeRow]] = field(default_factory=lambda: defaultdict(dict))
    """By assignment: rows by person and attempt."""
    flags: defaultdict[int, dict[int, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    numbers: defaultdict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    earlier: defaultdict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """By assignment: rows of attempts that are not the latest."""
    methods: dict[int, str] = field(default_factory=dict)
    scales: dict[int, int] = field(default_factory=lambda: {3: 3})
    contents: dict[str, bytes] = field(default_factory=dict)
    """Files by their path behind `pluginfile.php`; what is listed and not here has bytes made of its name."""
    cut_after: int | None = None
    """The next file breaks off after so many bytes."""
    summaries: dict[tuple[int, ...], dict[str, Any]] = field(default_factory=dict)
    last_id: int = 0

    def take(self, answers: Mapping[str, list[tuple[Any, Any]]]) -> None:
        """Take the grades and participant numbers of a recording."""
        for _, listed in answers.get("mod_assign_get_grades", ()):
            for one in listed["assignments"]:
                for row in one["grades"]:
                    made = GradeRow(**(row | {"grade": float(row["grade"])}))
                    self.grades[one["assignmentid"]][row["userid"], row["attemptnumber"]] = made
                    self.last_id = max(self.last_id, row["id"])
        for _, listed in answers.get("mod_assign_get_user_mappings", ()):
            for one in listed["assignments"]:
                self.numbers[one["assignmentid"]] = {row["userid"]: row["id"] for row in one["mappings"]}

    def next_id(self) -> int:
        """Return the next id of a grade row, a flag or a participant number."""
        self.last_id += 1
        return self.last_id

    def grade_row(self, assignment: int, user: int, attempt: int, now: int, grader: int) -> GradeRow:
        """Return a person's row, making one without a grade when there is none."""
        rows = self.grades[assignment]
        if (user, attempt) not in rows:
            rows[user, attempt] = GradeRow(self.next_id(), user, attempt, now, now, grader)
        return rows[user, attempt]

    def number(self, assignment: int, user: int) -> int:
        """Return the participant number of a person, giving one when there is none."""
        return self.numbers[assignment].setdefault(user, 1000 + self.next_id())

    def state(self, assignment: int, user: int) -> str:
        """Return where somebody stands in the marking workflow."""
        return str(self.flags[assignment].get(user, {}).get("workflowstate", ""))

    def set_state(self, assignment: int, user: int, state: str) -> None:
        """Move somebody in the marking workflow."""
        blank = {"id": 0, "userid": user, "locked": 0, "mailed": 0, "extensionduedate": 0, "allocatedmarker": 0}
        flags = self.flags[assignment].setdefault(user, blank | {"id": self.next_id()})
        flags["workflowstate"] = state

    def add_files(self, context: int, submission: int, files: Mapping[str, bytes], now: int) -> list[Any]:
        """Store files (`/a/b.txt` or `b.txt`) and return them as a submission lists them."""
        rows = []
        for name, content in files.items():
            folder, _, short = f"/{name.lstrip('/')}".rpartition("/")
            path = f"/{context}/assignsubmission_file/submission_files/{submission}{folder}/{short}"
            self.contents[path] = content
            kind = mimetypes.guess_type(short)[0] or "document/unknown"
            rows.append(
                {
                    "filename": short,
                    "filepath": f"{folder}/",
                    "filesize": len(content),
                    "fileurl": f"{WEB_FILES}{quote(path)}",  # below the site, wherever it is served
                    "timemodified": now,
                    "mimetype": kind,
                    "isexternalfile": False,
                    "icon": "f/text",
                }
            )
        return rows


def plugins(files: Iterable[Mapping[str, Any]] = (), text: str = "") -> list[dict[str, Any]]:
    """Return what a submission holds, as Moodle lists it."""
    editor = {"name": "onlinetext", "description": "Online text submissions", "text": text, "format": 1}
    return [
        {
            "type": "onlinetext",
            "name": "Online text",
            "fileareas": [{"area": "submissions_onlinetext", "files": []}],
            "editorfields": [editor],
        },
        {
            "type": "file",
            "name": "File submissions",
            "fileareas": [{"area": "submission_files", "files": [dict(one) for one in files]}],
        },
        {"type": "comments", "name": "Submission comments"},
    ]


def feedback_plugins(comment: str | None) -> list[dict[str, Any]]:
    """Return what feedback holds, as Moodle lists it."""
    editor = {
        "name": "comments",
        "description": "Feedback comments",
        "text": comment or "",
        "format": 1 if comment is not None else 0,
    }
    return [
        {
            "type": "comments",
            "name": "Feedback comments",
            "fileareas": [{"area": "feedback", "files": []}],
            "editorfields": [editor],
        },
        {"type": "file", "name": "Feedback files", "fileareas": [{"area": "feedback_files", "files": []}]},
    ]


def made_content(path: str, size: int) -> bytes:
    """Return bytes for a file of which only the size is known."""
    seed = hashlib.sha1(path.encode(), usedforsecurity=False).digest()
    return (seed * (size // len(seed) + 1))[:size]


def with_addresses(row: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Return a submission with whole addresses of its files, as a site at this address gives them."""

    def whole(file: dict[str, Any]) -> dict[str, Any]:
        return file | ({"fileurl": f"{url}{file['fileurl']}"} if file["fileurl"].startswith("/") else {})

    found = [
        plugin
        | (
            {"fileareas": [area | {"files": [whole(f) for f in area["files"]]} for area in plugin["fileareas"]]}
            if "fileareas" in plugin
            else {}
        )
        for plugin in row["plugins"]
    ]
    return {**row, "plugins": found}
