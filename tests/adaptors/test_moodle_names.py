"""Names as they are stored, or through Moodle's filters in one language, their entities undone once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adaptors.moodle.client import BATCH_FUNCTION, Login, MoodleClient
from adaptors.moodle.course_list import COURSES
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.names import Names, plain_text
from adaptors.moodle.normalise import course_record
from adaptors.moodle.sizes import Sizes
from adaptors.moodle.streams import CATEGORY_LIST, GRADES, MoodleReader, Wanted
from tests.clocks import VirtualClock

STORED = (
    '<span lang="en" class="multilang">Health & hope</span> <span lang="es" class="multilang">Salud y más</span>'
    " <C1>"
)


def client_of(site: FakeSite, names: Names | None) -> tuple[MoodleClient, list[dict[str, str]]]:
    """Return a client of a fake that asks for names like this, and what was posted."""
    fake, posted = FakeMoodle(site), list[dict[str, str]]()

    def serve(request: httpx.Request) -> httpx.Response:
        posted.append(dict(httpx.QueryParams(request.content.decode())))
        return fake(request)

    transport = httpx.MockTransport(serve)
    client = MoodleClient(site.url, Login(fake.token), clock=VirtualClock(), transport=transport, names=names)
    return client, posted


def made_site() -> FakeSite:
    """Make a site whose category, course and activity have the stored name."""
    site = FakeSite()
    course = site.add_course("C1", STORED, categoryid=site.add_category(STORED), summary="<p>R &amp; D</p>")
    learner = site.add_user("Abeba", "R&amp;D")
    site.enrol(course, learner, groups=["North"])
    site.set_grade_item(course, STORED)
    return site


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (None, STORED),
        (Names(), STORED),
        (Names(filters=True), "Health & hope "),
        (Names(filters=True, language="es"), "Salud y más "),
        (Names(filters=True, language="es_mx"), "Salud y más "),
        (Names(filters=True, language="fr"), "Health & hope "),
    ],
)
async def test_course_category_and_activity(names: Names | None, name: str) -> None:
    """One language of the name comes back as text, alone or in a batch; what is HTML by nature stays HTML."""
    client, _ = client_of(made_site(), names)
    reader = MoodleReader(client, Wanted(), Sizes.fixed())
    (course,) = await reader.courses()
    record = course_record(course)
    categories = [category.name for category in await reader.categories()]
    assert (name, name, "<p>R &amp; D</p>") == (record["fullname"], record["category"], record["summary"])
    assert name in categories
    ((alone, _), *_) = [await client.batch([(GRADES, {"courseid": course.id, "userid": 0})])]
    report = await client.call(GRADES, courseid=course.id, userid=0)
    for answer in (alone[0], report):
        rows: list[dict[str, Any]] = answer["usergrades"][0]["gradeitems"]
        assert name == rows[0]["itemname"]


async def test_names_of_people_are_theirs() -> None:
    """What a person typed as a name is nobody's HTML: nothing is undone in it."""
    client, _ = client_of(made_site(), Names(filters=True))
    (person,) = await client.call("core_enrol_get_enrolled_users", courseid=2)
    assert ("Abeba R&amp;D", "North") == (person["fullname"], person["groups"][0]["name"])


@pytest.mark.parametrize("names", [None, Names(), Names(filters=True)])
async def test_groups_of_people_are_displayed_always(names: Names | None) -> None:
    """Even when raw names are asked for, Moodle writes a person's groups for a web page: that is undone."""
    site = made_site()
    site.enrol(2, site.add_user("Amina", "R&amp;D & Otieno"), groups=["Evening & night", "R &lt; D"])
    client, _ = client_of(site, names)
    _, person = await client.call("core_enrol_get_enrolled_users", courseid=2)
    assert ["Evening & night", "R < D"] == [group["name"] for group in person["groups"]]
    assert "Amina R&amp;D & Otieno" == person["fullname"]


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (Names(), {"moodlewssettingraw": "1"}),
        (Names(filters=True), {"moodlewssettingfilter": "1"}),
        (Names(filters=True, language="sw"), {"moodlewssettingfilter": "1", "moodlewssettinglang": "sw"}),
    ],
)
async def test_what_is_asked(names: Names, asked: dict[str, str]) -> None:
    """Filters and raw names exclude each other: raw would win."""
    client, posted = client_of(made_site(), names)
    await client.call(COURSES)
    await client.batch([(CATEGORY_LIST, {})])
    assert asked == {name: value for name, value in posted[0].items() if name.startswith("moodlewssetting")}
    inner = {f"requests[0][setting{name.removeprefix('moodlewssetting')}]": value for name, value in asked.items()}
    assert inner == {name: value for name, value in posted[1].items() if "[setting" in name}
    assert BATCH_FUNCTION == posted[1]["wsfunction"]


def test_entities_are_undone_once() -> None:
    """Somebody who wrote about entities keeps one; what is no entity stays."""
    assert "&lt; & < é R&D &copy; &" == plain_text("&amp;lt; &amp; &lt; &#233; R&D &copy; &")
