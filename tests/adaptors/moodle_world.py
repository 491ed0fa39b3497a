"""Recorded and made-up Moodle sites, and plain requests to the fake, for the tests of the fake Moodle."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite

RECORDINGS = Path(__file__).parent.parent / "recordings"
REST = "/webservice/rest/server.php"
ENROLLED = "core_enrol_get_enrolled_users"
GRADES = "gradereport_user_get_grade_items"
PROFILES = "core_user_get_users_by_field"
COURSES = "core_course_get_courses_by_field"
INFO = "core_webservice_get_site_info"


@cache
def recorded_calls(name: str) -> list[dict[str, Any]]:
    """Return the calls of `before` or `after`, read once; not to be changed."""
    packed = (RECORDINGS / "moodle-4.5-site" / f"{name}.json.gz").read_bytes()
    calls: list[dict[str, Any]] = json.loads(gzip.decompress(packed))
    return calls


def recorded_site(name: str = "before") -> FakeSite:
    """Return the recorded site, with the two profile fields marked that only viewalldetails shows."""
    site = FakeSite.from_recording(recorded_calls(name))
    for hidden in ("secret_code", "own_only"):
        site.profile_fields[hidden].hidden = True
    return site


def form_fields(parameters: Any, name: str = "") -> dict[str, str]:
    """Write parameters as a PHP form: `options[0][name]`."""
    if isinstance(parameters, dict | list):
        pairs = parameters.items() if isinstance(parameters, dict) else enumerate(parameters)
        fields: dict[str, str] = {}
        for key, value in pairs:
            fields |= form_fields(value, f"{name}[{key}]" if name else str(key))
        return fields
    return {name: str(parameters)}


def request(form: dict[str, str], path: str = REST) -> httpx.Request:
    """Return a form post."""
    return httpx.Request("POST", f"https://moodle.example.org{path}", data=form)


def post(fake: FakeMoodle, function: str, **parameters: Any) -> httpx.Response:
    """Call a function as a client would."""
    form = {"wstoken": fake.token, "wsfunction": function, "moodlewsrestformat": "json"}
    return fake(request(form | form_fields(parameters)))


def ask(fake: FakeMoodle, function: str, **parameters: Any) -> Any:
    """Call a function and return the decoded answer."""
    return post(fake, function, **parameters).json()


def options(**values: object) -> list[dict[str, str]]:
    """Write the options of core_enrol_get_enrolled_users."""
    return [{"name": name, "value": str(value)} for name, value in values.items()]


class World:
    """A small site: one course, a teacher, two students of whom the second has no phone; quiz and essay graded."""

    def __init__(self) -> None:
        site = self.site = FakeSite()
        self.course = site.add_course("CHW1", "Health & <b>Hope</b>")
        self.teacher = site.add_user("Tizita", "Bekele", username="tizita")
        self.abeba = site.add_user("Abeba", "Çelik", phone1="+251911000001", profile={"cadre": "CHW"})
        self.bruno = site.add_user("Bruno", "Abate", city="Cusco", idnumber="E-2")
        site.enrol(self.course, self.teacher, ["editingteacher"])
        site.enrol(self.course, self.abeba, groups=["North"])
        site.enrol(self.course, self.bruno)
        self.quiz = site.set_grade_item(self.course, "Quiz", module="quiz", maximum=10)
        self.essay = site.set_grade_item(self.course, "Essay", maximum=30, hidden=True)
        site.grade(self.quiz, self.abeba, 8)
        self.fake = FakeMoodle(site)

    def people(self, **chosen: object) -> list[dict[str, Any]]:
        """Return the rows of the course's people."""
        rows: list[dict[str, Any]] = ask(self.fake, ENROLLED, courseid=self.course, options=options(**chosen))
        return rows

    def grades(self, user: int) -> dict[int, dict[str, Any]]:
        """Return a person's grade rows by item."""
        (report,) = ask(self.fake, GRADES, courseid=self.course, userid=user)["usergrades"]
        return {row["id"]: row for row in report["gradeitems"]}


def recording_of(name: str) -> dict[str, Any]:
    """Return a single recorded answer and its question."""
    recording: dict[str, Any] = json.loads(
        (RECORDINGS / "moodle-4.5" / f"{name}.json").read_text(encoding="utf-8")
    )
    return recording
