"""People made of words and numbers that stand nowhere else, and the search for what of them got anywhere."""

from __future__ import annotations

import logging
import re
import traceback
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from adaptors.errors import AdaptorError
from adaptors.moodle.fake_site import FakeSite
from flows.errors import Overlap, UsageError, Waiting
from flows.settings import SettingsError
from mappings.engine import MappingError
from state import StateError, Store
from state.tables import metadata
from tests.flows.worlds import API_KEY, TOKEN

OURS = (AdaptorError, MappingError, Overlap, SettingsError, StateError, UsageError, Waiting)
LEARNERS = 5
MAXIMUM, RAW, PERCENT = 1000, 813.79246, "81.3792"  # points, and the percentage as the mappings write it
WORDS = (
    "QanaryFirst0", "QanaryLast1", "qanaryuser2", "qanarymail3@example.org", "QanaryId4", "254722555001",
    "QanaryCity2", "QanaryNote3", "QanaryFeedback", PERCENT,
)  # fmt: skip
"""What of them goes to CommCare."""
CANARY = re.compile(rf"(?i)qanary\w*|{TOKEN}|{API_KEY}|722 ?555 ?\d+|813\.79246|81\.3792".encode())


def canary_site() -> FakeSite:
    """Return two courses of learners who are recognised by any of their values."""
    site = FakeSite()
    courses = [site.add_course("CHW-1", "Basics"), site.add_course("CHW-2", "Growth")]
    for number in range(LEARNERS):
        user = site.add_user(
            f"QanaryFirst{number}",
            f"QanaryLast{number}",
            username=f"qanaryuser{number}",
            email=f"qanarymail{number}@example.org",
            idnumber=f"QanaryId{number}",
            phone1=f"0722 555 00{number}",
            city=f"QanaryCity{number}",
            address=f"QanaryAddress{number}",
            department=f"QanaryDepartment{number}",
            description=f"QanaryDescription{number}",
            profile={"note": f"QanaryNote{number}", "worker": f"qanaryworker{number}"},
        )
        for course in courses:
            site.enrol(course, user)
    for course in courses:
        item = site.set_grade_item(course, "Home visits", maximum=MAXIMUM)
        for user in list(site.members[course]):
            site.grade(item, user, RAW, feedback=f"QanaryFeedback{user}")
    return site


def use_everything(mappings: Path) -> None:
    """Let the shipped mappings send more of a person: a profile field, exact grades, feedback, engagement."""
    engagement = mappings / "engagement.yaml"
    engagement.write_text(engagement.read_text().replace("enabled: false\n", ""))
    student, enrolment = mappings / "student.yaml", mappings / "enrolment.yaml"
    note = "  note: {source: profile.note, personal: true}\n  city:"
    student.write_text(student.read_text().replace("  city:", note, 1))
    text = enrolment.read_text()
    exact = "      source: grade.percent\n      transform: [{number: {decimals: 4}}]"
    text, changed = re.subn(r" +source: grade\.percent\n +transform: \[\{number: \{decimals: 0\}\}\]", exact, text)
    assert 1 == changed
    feedback = 'one_property_per: {each: items, key: item.id, name: "feedback_{key}", source: grade.feedback}'
    text = text.replace("  result:", f"  feedback:\n    {feedback}\n    personal: true\n  result:", 1)
    enrolment.write_text(re.sub(r"(?s)\ntests:.*", "\n", text))


def found_in(text: str | bytes) -> list[str]:
    """Return the canaries in a text."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return [hit.decode("utf-8", "replace") for hit in CANARY.findall(raw)]


def found_in_files(folder: Path) -> dict[str, list[str]]:
    """Return the canaries in all files of a folder, by the file's name; the files are read as they lie there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert files, f"nothing is in {folder}"
    hits = {path.name: found_in(path.read_bytes()) for path in files}
    return {name: found for name, found in hits.items() if found}


def unpacked(store: Store) -> Iterator[bytes]:
    """Yield what the books hold packed, where a search of their file is blind."""
    with store._database.reading() as connection:
        for table in metadata.sorted_tables:
            for row in connection.connection.cursor().execute(f"SELECT * FROM {table.name}"):  # noqa: S608
                for value in row:
                    if isinstance(value, bytes):
                        with suppress(zlib.error):
                            yield zlib.decompress(value)


def links(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it came from, also what `from None` only hides."""
    known, waiting = set[int](), [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in known:
            known.add(id(link))
            waiting += [link.__context__, link.__cause__]
            yield link


class Witness:
    """Remembers every log record as it is made, before any filter, and every error of our families.

    `alone`: the records go no further. It costs most of a test's time to write what nobody reads: twice for the
    report of a test that fails, and in colours for the terminal once any other test has loaded Prefect.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self.errors: list[BaseException] = []
        self._alone = alone
        self._records: list[str] = []
        self._make = logging.getLogRecordFactory()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Witness:
        logging.setLogRecordFactory(self._record)
        for family in OURS:
            self._watch(family)
        if self._alone:
            self._patch.setattr(logging.Logger, "callHandlers", lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()
        logging.setLogRecordFactory(self._make)

    def hits(self) -> list[str]:
        """Return what holds a canary: a log record, an error's text, its fields, the traceback it would show.

        Of an error also whatever it came from, shown or not: who holds the error can reach it.
        """
        seen = list(dict.fromkeys(self._records))  # a statement is logged a thousand times
        for error in self.errors:
            seen.append("".join(traceback.format_exception(error)))
            for link in links(error):
                seen += [str(link), repr(link), repr(vars(link))]
        assert seen
        return [text for text in seen if found_in(text)]

    def _record(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        self._records.append(f"{record.name}: {record.getMessage()} {record.args!r}")
        if record.exc_info:
            self._records.append("".join(traceback.format_exception(*record.exc_info)))
        return record

    def _watch(self, family: type[Exception]) -> None:
        """Let a family note each of its errors; they are as they always are."""
        make = family.__init__

        def note(error: Exception, *args: Any, **kwargs: Any) -> None:
            make(error, *args, **kwargs)
            self.errors.append(error)

        self._patch.setattr(family, "__init__", note)
