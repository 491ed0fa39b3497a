"""One live look: the records a run would read, whatever the source, and nothing written for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.catalogue import field_catalogue
from flows.errors import NotRead
from flows.fields import Filling, plain_paths
from flows.live import look, mapping_named, watch, watch_source
from flows.masked import Eyes, masked
from flows.result import RunState
from flows.steps.pull import Enough
from mappings.engine import Context
from tests.flows.worlds import Lab, recorded_lab

Record = Mapping[str, Any]


class Kept:
    """What a watcher saw."""

    def __init__(self, most: int = 0) -> None:
        self.records: list[Record] = []
        self._most = most

    def __call__(self, record: Record, _: Context) -> None:
        self.records.append(record)
        if len(self.records) == self._most:
            raise Enough


@pytest.mark.parametrize("source", ["users", "enrolments", "grade_items", "courses"])
async def test_a_look_shows_each_record_of_a_source(tmp_path: Path, source: str) -> None:
    """The watcher needs no mapping of that source, and the books stay empty."""
    lab = recorded_lab(tmp_path)
    seen, world = Kept(), lab.world()
    result = await look(world, [watch_source(world.project, source, seen, reads=["id"])])
    assert RunState.COMPLETED is result.state
    assert len(seen.records) > 1
    assert ({}, 0) == (lab.store.courses(), len(lab.project.forms))
    lab.close()


async def test_a_course_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The others are shown all the same, and the look is degraded."""
    lab = recorded_lab(tmp_path)
    whole, part, world = Kept(), Kept(), lab.world()
    await look(world, [watch_source(world.project, "enrolments", whole, reads=["user.id"])])
    course = whole.records[0]["course"]["id"]
    lab.denied.add(course)
    world = lab.world()
    result = await look(world, [watch_source(world.project, "enrolments", part, reads=["user.id"])])
    assert (RunState.DEGRADED, True) == (result.state, f"Not read: course {course}." in " ".join(result.messages))
    assert [each["user"]["id"] for each in whole.records if each["course"]["id"] != course] == [
        each["user"]["id"] for each in part.records
    ]
    lab.close()


async def test_enough_ends_a_look(tmp_path: Path) -> None:
    """What was looked for has been seen: nothing more is read."""
    lab = recorded_lab(tmp_path)
    seen, world = Kept(most=1), lab.world()
    result = await look(world, [watch_source(world.project, "users", seen, reads=["id"])])
    assert (1, RunState.COMPLETED) == (len(seen.records), result.state)
    lab.close()


async def test_a_moodle_that_refuses_is_an_error(tmp_path: Path) -> None:
    """The sentence of the run, and its exit code."""
    lab = recorded_lab(tmp_path)
    lab.moodle.expire_token()
    world = lab.world()
    with pytest.raises(NotRead, match=r"(?i)token") as caught:
        await look(world, [watch_source(world.project, "users", Kept(), reads=["id"])])
    assert 1 == caught.value.code
    lab.close()


async def test_grades_of_people_nobody_asks_for_are_not_read(tmp_path: Path) -> None:
    """`wants` keeps the costly calls to what is looked at."""
    lab = recorded_lab(tmp_path)
    world = lab.world()
    enrolment = mapping_named(world.project, "enrolment")
    result = await look(world, [watch(enrolment, Kept(), wants=lambda _: False)])
    assert 0 == result.requests["moodle"].get("gradereport_user_get_grade_items", 0)
    lab.close()


async def test_a_source_is_filled_by_share(make_lab: Any) -> None:
    """How many of the records have a value; custom fields by their short names; never sent is a dash."""
    site = FakeSite()
    course = site.add_course("A", "Health")
    for number in range(4):
        profile = {"gender": "F"} if number else {}
        person = site.add_user("Amina", f"N{number}", city="Bondo" if number == 1 else "", profile=profile)
        site.enrol(course, person)
    lab: Lab = make_lab(site)
    world = lab.world()
    catalogue = field_catalogue()
    filling = Filling("users", catalogue)
    watcher = watch_source(
        world.project, "users", lambda record, _: filling.take(record), reads=catalogue["users"]
    )
    await look(world, [watcher])
    shares = [filling.share(path) for path in ("firstname", "city", "profile.gender", "phone2")]
    assert (4, ["100%", "25%", "75%", "-"]) == (filling.records, shares)
    assert "profile.gender" not in plain_paths(catalogue, "users")


@pytest.mark.parametrize(
    ("text", "shown"), [("Amina", "Am***"), ("Ng'a", "***"), ("F", "***"), ("", ""), ("0722000111", "07***")]
)
def test_a_masked_value_tells_at_most_two_letters(text: str, shown: str) -> None:
    """A short one is not shown at all."""
    assert shown == masked(text)


def test_what_a_value_looks_like() -> None:
    """Lists, blanks, blocks and long texts in a few words; personal ones masked inside lists as well."""
    eyes = Eyes()
    assert "Si***, Ev***" == eyes.see(["Siaya North", "Evening"], personal=True)
    assert ("blank", "blank", "2 entries", "a block") == tuple(
        eyes.see(value, personal=False) for value in (None, [], [{"a": 1}, {"b": 2}], {"a": 1})
    )
    assert 48 == len(eyes.see("x" * 400, personal=False))
    assert "' x'" == eyes.see(" x", personal=False)
