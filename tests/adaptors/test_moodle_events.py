"""What Moodle's webhooks tell, read from real posts: whom it is about, what twice the same is, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from adaptors.moodle.events import EVENTS, Touch, read_event
from adaptors.moodle.fake_hooks import HookedSite
from adaptors.posted import NotUnderstood, read_object

RECORDINGS = Path(__file__).parent.parent / "recordings" / "moodle-4.5-webhooks"
RECORDED = {path.stem.split("__")[1]: json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))}
GRADED = RECORDED["core.event.user_graded"]["body"]


def posted(**changes: Any) -> dict[str, Any]:
    """Return a real grade event with some of it changed."""
    return {**GRADED, **changes}


@pytest.mark.parametrize(
    ("name", "event", "course", "person"),
    [
        ("core.event.user_enrolment_created", "core.user_enrolment_created", 2, 306),
        ("core.event.user_enrolment_updated", "core.user_enrolment_updated", 2, 306),
        ("core.event.user_enrolment_deleted", "core.user_enrolment_deleted", 2, 306),
        ("core.event.role_assigned", "core.role_assigned", 2, 306),
        ("core.event.user_graded", "core.user_graded", 2, 76),
        ("core.event.user_updated", "core.user_updated", 0, 18),
        ("mod_assign.event.submission_graded", "mod_assign.submission_graded", 2, 23),
        ("mod_assign.event.assessable_submitted", "mod_assign.assessable_submitted", 2, 47),
        ("assignsubmission_file.event.assessable_uploaded", "assignsubmission_file.assessable_uploaded", 2, 47),
        (
            "assignsubmission_onlinetext.event.submission_created",
            "assignsubmission_onlinetext.submission_created",
            2,
            47,
        ),
    ],
)
def test_recorded_events(name: str, event: str, course: int, person: int) -> None:
    """Each recorded event is read from the bytes that Moodle sent: course and person, never who acted."""
    recorded = RECORDED[name]
    found = read_event(read_object(recorded["body_raw"].encode()))
    assert found is not None
    assert (event, course, person) == (found.event, found.course_id, found.user_id)
    assert float(recorded["body"]["timecreated"]) == found.occurred_at
    assert recorded["event"].replace("\\event\\", ".").lstrip("\\") == event


def test_what_needs_no_read() -> None:
    """What somebody completed is in no record but that of engagement; a name that nobody knows is no mistake."""
    assert None is read_event(RECORDED["core.event.course_module_completion_updated"]["body"])
    assert None is read_event(posted(eventname="\\local_shop\\event\\cart_emptied"))


def test_every_recorded_event_is_tested() -> None:
    """A recording that is added is not forgotten."""
    assert 11 == len(RECORDED)
    assert {"course_module_completion_updated"} == {
        name.rsplit(".", 1)[1] for name in RECORDED if name.replace(".event.", ".") not in EVENTS
    }


def test_numbers_as_text_are_numbers() -> None:
    """Moodle sends either, at random; nothing else changes by that."""
    names = ("objectid", "contextid", "courseid", "userid", "relateduserid", "timecreated")
    texts = read_event(posted(**{name: str(GRADED[name]) for name in names}))
    numbers = read_event(posted(**{name: int(GRADED[name]) for name in names}))
    assert texts == numbers


def test_twice_the_same_has_one_mark() -> None:
    """The token, the host and what is in `other` make no difference; each id and the time do."""
    mark = getattr(read_event(GRADED), "mark", b"")
    assert mark == getattr(read_event(posted(other=None, host="198.51.100.1", token="x")), "mark", b"")
    for name in ("objectid", "contextid", "courseid", "userid", "relateduserid", "timecreated"):
        assert mark != getattr(read_event(posted(**{name: 4711})), "mark", b""), name


def test_one_role_for_two_people_is_two_events() -> None:
    """Of a role given to a class within a second only the person differs: nobody may be lost."""
    role = RECORDED["core.event.role_assigned"]["body"]
    marks = {getattr(read_event({**role, "relateduserid": str(number)}), "mark", b"") for number in range(30)}
    assert 30 == len(marks)


@pytest.mark.parametrize(
    "change",
    [
        {"eventname": "user_graded"},
        {"eventname": "\\core\\event\\user graded"},
        {"eventname": "\\core\\event\\" + "x" * 300},
        {"eventname": 7},
        {"eventname": None},
        {"timecreated": None},
        {"timecreated": "yesterday"},
        {"courseid": "2; DROP TABLE"},
        {"courseid": -2},
        {"courseid": 10**30},
        {"relateduserid": {"id": 5}},
        {"relateduserid": "Qanary"},
        {"objectid": 1.5},
    ],
)
def test_what_is_no_event_is_refused(change: dict[str, Any]) -> None:
    """The sentence names the field and repeats nothing of what was posted."""
    with pytest.raises(NotUnderstood) as caught:
        read_event(posted(**change))
    assert next(iter(change)) in str(caught.value)
    assert not re.search("Qanary|DROP|yesterday|xxx", str(caught.value))
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b"nan"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """Also what would be nested without end."""
    with pytest.raises(NotUnderstood):
        read_object(body)


def test_every_event_says_what_it_touches() -> None:
    """The table has no empty line, and an assignment's grade is a grade and a state of the submission."""
    assert [] == [name for name, touches in EVENTS.items() if not touches]
    assert {Touch.GRADE, Touch.SUBMISSION} == EVENTS["mod_assign.submission_graded"]


def test_the_guide_names_every_event() -> None:
    """Who sets up Moodle finds each event of the table in docs/webhooks.md, and none that is in no table."""
    guide = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    tables = "\n".join(line for line in guide.splitlines() if line.startswith("| `") and " | " in line)
    names = {name.split(".")[1] for name in EVENTS}
    told = set(re.findall(r"`(?:\\\w+\\event\\)?([a-z]+(?:_[a-z]+)+)`", tables))
    assert set() == names - told
    components = {name.split(".")[0] for name in EVENTS} - {"core"}
    assert set() == {name for name in components if f"\\{name}\\event\\" not in tables}


# --- the made-up plugin -------------------------------------------------------------------------------------


def told() -> dict[str, list[dict[str, Any]]]:
    """Let everything happen in a made-up Moodle, and return what it tells by event."""
    site, events = HookedSite(), list[dict[str, Any]]()
    course = site.add_course("C1", "Course 1")
    person = site.add_user("First", "Last")
    item = site.set_grade_item(course, "Quiz")
    site.post = events.append
    site.enrol(course, person)
    site.grade(item, person, 8.5)
    site.suspend_enrolment(course, person)
    site.update_user(person, city="Bondo")
    site.unenrol(course, person)
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event["eventname"], []).append(event)
    return found


def test_the_made_up_plugin_posts_as_the_real_one() -> None:
    """The same keys in the same order, numbers and texts where they are recorded, the same fixed words."""
    for name, events in told().items():
        recorded = RECORDED[name.replace("\\", ".").lstrip(".")]["body"]
        keys = [key for key in recorded if key not in ("host", "token", "extra")]
        fixed = ("component", "action", "target", "objecttable", "crud", "edulevel", "contextlevel", "anonymous")
        for event in events:
            assert keys == list(event), name
            assert {key: type(recorded[key]) for key in keys} == {key: type(event[key]) for key in keys}, name
            assert {key: recorded[key] for key in fixed} == {key: event[key] for key in fixed}, name


def test_the_made_up_plugin_tells_as_often_as_the_real_one() -> None:
    """A grade three times, an enrolment with its role; and each is understood."""
    found = told()
    counts = {name.rsplit("\\", 1)[1]: len(events) for name, events in found.items()}
    expected = {"user_enrolment_created": 1, "role_assigned": 1, "user_graded": 3}
    assert {**expected, "user_enrolment_updated": 1, "user_updated": 1, "user_enrolment_deleted": 1} == counts
    marks = {getattr(read_event(event), "mark", None) for events in found.values() for event in events}
    assert 8 == len(marks - {None})
