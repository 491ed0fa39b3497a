"""The metrics: what Prometheus reads of them, by its own parser."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.metrics import PREFIX, metrics_text
from flows.status import Status, read_status
from state import Store
from tests.flows.status_world import HOUR, MINUTE, NOW, fill, made_status
from tests.flows.terminal import Terminal

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def store() -> Iterator[Store]:
    """Give new books in memory."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        yield books


def samples(text: str) -> Samples:
    """Return each value by the name without our prefix and its labels' values."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert ("gauge", True) == (family.type, bool(family.documentation)), family.name
        for one in family.samples:
            place = one.name.removeprefix(f"{PREFIX}_"), tuple(one.labels.values())
            assert place not in found
            found[place] = one.value
    return found


def test_counts_and_times(store: Store) -> None:
    """Each number of the status, times in seconds since 1970."""
    found = samples(metrics_text(made_status(store)))
    expected: Samples = {
        ("books", ()): 1.0,
        ("status_timestamp_seconds", ()): NOW,
        ("courses", ()): 4.0,
        ("courses_failing", ()): 1.0,
        ("courses_never_read", ()): 2.0,
        ("courses_oldest_read_timestamp_seconds", ()): NOW - 5 * HOUR,
        ("people_read_timestamp_seconds", ()): NOW - 6 * MINUTE,
        ("course_read_timestamp_seconds", ("7",)): 0.0,
        ("course_failures", ("7",)): 2.0,
        ("cases", ("student", "left")): 1.0,
        ("in_doubt", ("enrolment",)): 1.0,
        ("in_doubt_oldest_timestamp_seconds", ("enrolment",)): NOW - 15 * MINUTE,
        ("problems", ("student", "invalid_phone")): 2.0,
        ("needs_person", ("leavers",)): 1.0,
        ("needs_person_about", ("leavers",)): 12.0,
        ("last_run_state", ("stopped",)): 1.0,
        ("last_run_state", ("completed",)): 0.0,
        ("last_run_state", ("at_work",)): 0.0,
        ("last_completed_run_timestamp_seconds", ()): NOW - 2 * HOUR - 7 * MINUTE,
        ("lease_held", ()): 0.0,
    }
    assert expected == {place: found.get(place) for place in expected}


def test_what_the_last_run_did(store: Store) -> None:
    """Records by what happened to them, requests by system, seconds."""
    fill(store)
    counts = {"cases": {"student": {"created": 4}}, "requests": {"moodle": {"a": 2, "b": 3}, "commcare": {}}}
    store.finish_run("run-3", NOW - 7 * MINUTE + 30.0, "completed", counts)
    found = samples(metrics_text(read_status(store, None, NOW)))
    assert (4.0, 5.0, 0.0, 30.0) == (
        found["last_run_records", ("student", "created")],
        found["last_run_requests", ("moodle",)],
        found["last_run_requests", ("commcare",)],
        found["last_run_duration_seconds", ()],
    )


def test_few_courses_have_lines_of_their_own(store: Store) -> None:
    """Those read longest ago; all are counted."""
    status = made_status(store)
    for most, courses in ((100, {"2", "3", "7", "8"}), (2, {"7", "8"}), (0, set[str]())):
        found = samples(metrics_text(status, most))
        assert courses == {labels[0] for name, labels in found if name == "course_read_timestamp_seconds"}
        assert 4.0 == found["courses", ()]


def test_without_books() -> None:
    """Before the first run there is only that, and whether one can be made."""
    expected = {("books", ()): 0.0, ("status_timestamp_seconds", ()): NOW, ("mappings_right", ()): 1.0}
    assert expected == samples(metrics_text(Status(NOW)))


def test_the_command(terminal: Terminal, tmp_path: Path) -> None:
    """It prints them, or puts them in the place of a file at once, for others to read."""
    terminal.run("sync", "--yes")
    printed = terminal.run("metrics")
    assert 24.0 == samples(printed.out)["cases", ("enrolment", "in_commcare")]
    file = tmp_path / "metrics" / "moodle_commcare.prom"
    ended = terminal.run("metrics", "--file", str(file), "--courses", "1")
    assert (0, "") == (ended.code, ended.out)
    assert 1 == sum(name == "course_failures" for name, _ in samples(file.read_text()))
    assert 0o644 == stat.S_IMODE(file.stat().st_mode) | (0o044 & ~os.umask(os.umask(0o022)) ^ 0o044)
    assert [file] == list(file.parent.iterdir())


def test_a_file_that_cannot_be_written(terminal: Terminal, tmp_path: Path) -> None:
    """It is said, and nothing is half there."""
    (tmp_path / "taken").write_text("")
    ended = terminal.run("metrics", "--file", str(tmp_path / "taken" / "x.prom"))
    assert 1 == ended.code
    assert "taken" in ended.err


def test_lookup_tables(store: Store) -> None:
    """Rows by table, when they were written last, and since when a write has no answer."""
    found = samples(metrics_text(made_status(store)))
    assert (3.0, 0.0) == (found["lookup_rows", ("moodle_courses",)], found["lookup_rows", ("places",)])
    assert NOW - 2 * HOUR == found["lookup_written_timestamp_seconds", ("moodle_courses",)]
    assert NOW - 10 * MINUTE == found["lookup_in_doubt_timestamp_seconds", ("places",)]
