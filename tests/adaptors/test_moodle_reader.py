"""Reading the sources completely: id lists as the truth, short pages, absent and blank, requests counted."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import httpx
import pytest

from adaptors.errors import AccessDenied, Unexpected
from adaptors.moodle.answers import GradeRow
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.course_list import COURSES
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.grades import is_withheld
from adaptors.moodle.normalise import course_record, grade_item_records, grade_record
from adaptors.moodle.records import SOURCES
from adaptors.moodle.sizes import BatchSize, Sizes
from adaptors.moodle.streams import ENROLLED, GRADES, PROFILES, MoodleReader, Wanted
from tests.adaptors.moodle_world import recorded_site, recording_of
from tests.clocks import VirtualClock

BATCH = "tool_mobile_call_external_functions"
EVERYTHING = Wanted(
    profile=frozenset({"phone1", "phone2", "city", "profile.national_id"}),
    user=frozenset({"firstname", "phone1", "profile.national_id", "lang"}),
    teachers=True,
    grades=True,
)


class World:
    """A fake Moodle and a reader of it."""

    def __init__(self, site: FakeSite, wanted: Wanted = EVERYTHING, sizes: Sizes | None = None) -> None:
        self.fake = FakeMoodle(site)
        clock = VirtualClock()
        login = Login(self.fake.token)
        self.client = MoodleClient(site.url, login, clock=clock, transport=httpx.MockTransport(self.fake))
        self.reader = MoodleReader(self.client, wanted, sizes or Sizes.fixed())

    async def enrolments(self, course_id: int) -> list[dict[str, Any]]:
        """Read one course as a run does."""
        await self.reader.site()
        course = next(course for course in await self.reader.courses() if course.id == course_id)
        roster = await self.reader.roster(course_id)
        return await self.reader.enrolments(course_record(course), roster, lambda _: True)

    async def profiles(self, ids: list[int], first: tuple[int, ...] = ()) -> list[dict[str, Any]]:
        """Read profiles, all batches together."""
        return [record async for batch in self.reader.profiles(ids, first) for record in batch]


def small_site(people: int = 3, **fields: str) -> tuple[FakeSite, int, list[int]]:
    """Make a site with one course and some learners, the first of whom has the given fields."""
    site = FakeSite()
    course = site.add_course("C1", "Course")
    learners = [site.add_user(f"First{n}", "Last", **(fields if n == 0 else {})) for n in range(people)]
    for learner in learners:
        site.enrol(course, learner)
    return site, course, learners


async def test_courses_without_the_site() -> None:
    """All courses are read, hidden ones too, but not the site itself."""
    courses = await World(recorded_site()).reader.courses()
    assert list(range(2, 14)) == [course.id for course in courses]


@pytest.mark.parametrize("whole_course", [50, 0], ids=["whole course", "person by person"])
@pytest.mark.parametrize("function", [COURSES, GRADES])
async def test_an_answer_with_warnings_is_no_complete_read(function: str, whole_course: int) -> None:
    """Moodle leaves out what it warns of: the last course, or the grades of somebody."""
    site, course, learners = small_site()
    site.grade(site.set_grade_item(course, "Quiz"), learners[-1], 80)
    world = World(site, sizes=replace(Sizes.fixed(), whole_course=whole_course))
    world.fake.fail_next(function, "warnings")
    with pytest.raises(Unexpected, match=f"answer to {function} comes with warnings, so it is not complete"):
        await world.enrolments(course)
    assert 3 == len(await world.enrolments(course))


async def test_records_fit_the_catalogue() -> None:
    """Every record of a real site validates as the record class of its source."""
    world = World(recorded_site())
    enrolments = await world.enrolments(2)
    items = [item for enrolment in enrolments for item in grade_item_records(enrolment)]
    people = await world.profiles([enrolment["user"]["id"] for enrolment in enrolments])
    courses = [course_record(course) for course in await world.reader.courses()]
    for source, records in (("enrolments", enrolments), ("grade_items", items), ("courses", courses)):
        for record in records:
            SOURCES[source].model_validate(record)
    for person in people:
        SOURCES["users"].model_validate({**person, "roles": [], "groups": []})
    assert (295, 295) == (len(enrolments), len(people))


async def test_status_roles_and_groups() -> None:
    """Status comes from the two lists, roles and groups are ordered by id."""
    records = {record["user"]["id"]: record for record in await World(recorded_site("after")).enrolments(2)}
    assert "suspended" == records[39]["status"]
    assert "active" == records[42]["status"]
    assert ["teacher", "student"] == records[48]["roles"]
    assert ["North", "South"] == records[47]["groups"]
    assert ["u0001", "u0002"] == records[42]["teachers"][:2]


async def test_course_total_and_items() -> None:
    """The course total is `grade`; items are activities and manual grades, without hidden ones and totals."""
    records = {record["user"]["id"]: record for record in await World(recorded_site()).enrolments(2)}
    person = records[42]
    assert pytest.approx(72.78, abs=0.01) == person["grade"]["percent"]
    names = [element["item"]["name"] for element in person["items"]]
    assert "Field score" in names
    assert not {"Hidden item", "Hidden until", None} & set(names)
    field_score = next(e["grade"] for e in person["items"] if e["item"]["name"] == "Field score")
    assert (15, 75.0) == (field_score["raw"], field_score["percent"])


async def test_percent_follows_lowest_points() -> None:
    """Percent counts from the lowest points: 22 between 10 and 50 is 30 percent."""
    site, course, (learner, *_) = small_site()
    item = site.set_grade_item(course, "Practical", minimum=10, maximum=50)
    site.grade(item, learner, 22)
    record = (await World(site).enrolments(course))[0]
    assert 30.0 == record["items"][0]["grade"]["percent"]


async def test_suspended_enrolment_has_no_grades() -> None:
    """A suspended enrolment's grades are absent, not blank, in small courses and large."""
    for people in (3, 60):
        site, course, learners = small_site(people)
        site.suspend_enrolment(course, learners[1])
        records = {record["user"]["id"]: record for record in await World(site).enrolments(course)}
        assert "grade" not in records[learners[1]]
        assert "items" not in records[learners[1]]
        assert "items" in records[learners[0]]


async def test_hidden_grades_only_when_wanted() -> None:
    """A hidden grade is sent along only when a mapping asks for it by name."""
    site, course, (learner, *_) = small_site()
    site.grade(site.set_grade_item(course, "Secret", hidden=True), learner, 50)
    plain = (await World(site).enrolments(course))[0]
    asked = (await World(site, Wanted(grades=True, hidden_grades=True)).enrolments(course))[0]
    assert [] == plain["items"]
    assert [True] == [element["grade"]["hidden"] for element in asked["items"]]


async def test_a_total_that_moodle_withholds_is_not_sent() -> None:
    """A hidden activity blanks the total of everybody; that is not the same as nothing graded yet."""
    site, course, (graded, ungraded, *_) = small_site()
    site.grade(site.set_grade_item(course, "Quiz"), graded, 50)
    world = World(site)
    world.fake.revoke("moodle/grade:viewhidden")
    totals = {one["user"]["id"]: one.get("grade") for one in await world.enrolments(course)}
    assert (50, None) == (totals[graded]["percent"], totals[ungraded]["percent"])
    site.set_grade_item(course, "Secret", hidden=True)
    withheld = {one["user"]["id"]: one for one in await world.enrolments(course)}
    assert "grade" not in withheld[graded]
    assert [50] == [element["grade"]["percent"] for element in withheld[graded]["items"]]
    assert {"percent": None, "dategraded": None}.items() <= withheld[ungraded]["grade"].items()
    site.gradebooks[course].shows_totals = True
    shown = {one["user"]["id"]: one for one in await world.enrolments(course)}
    assert 50 == shown[graded]["grade"]["raw"]


@pytest.mark.parametrize(("raw", "highest"), [(14.5, 100), (28.5, 100), (57.5, 100), (7.25, 50)])
def test_percent_of_a_half_is_exact(raw: float, highest: float) -> None:
    """A half stays a half, so that it is rounded up as people do."""
    row = GradeRow(id=1, itemtype="mod", graderaw=raw, grademin=0, grademax=highest)
    assert Fraction(raw) * 100 / Fraction(highest) == grade_record(row)["percent"]


def test_a_recorded_total_that_is_withheld() -> None:
    """A real Moodle blanks the total and keeps its date; of somebody without grades it has neither."""

    def total(name: str) -> GradeRow:
        (user,) = recording_of(f"{GRADES}__{name}")["response"]["usergrades"]
        rows = user["gradeitems"]
        rows = rows["items"] if isinstance(rows, dict) else rows
        return GradeRow.model_validate(next(row for row in rows if row["itemtype"] == "course"))

    withheld, blank = total("total_withheld"), total("user_no_grades")
    assert (None, True) == (withheld.graderaw, is_withheld(withheld))
    assert (None, False) == (blank.graderaw, is_withheld(blank))


async def test_grades_of_an_activity_with_conditions() -> None:
    """Without the right to see it in spite of them, it is not there; the role has it therefore."""
    site, course, (learner, *_) = small_site()
    site.grade(site.set_grade_item(course, "Quiz"), learner, 50)
    site.activities.set(course, "Quiz", restricted=True)
    world = World(site)
    assert ["Quiz"] == [part["item"]["name"] for part in (await world.enrolments(course))[0]["items"]]
    world.fake.revoke("moodle/course:ignoreavailabilityrestrictions")
    assert [] == (await world.enrolments(course))[0]["items"]


async def test_whole_and_single_grades_agree() -> None:
    """One call for the course and batches of single calls give the same grades."""
    whole = Sizes.fixed()
    whole.whole_course = 1000
    one = await World(recorded_site(), sizes=whole).enrolments(4)
    many = await World(recorded_site()).enrolments(4)
    keep = [record for record in many if "grade" in record and "student" in record["roles"]]
    assert keep == [record for record in one if "grade" in record and "student" in record["roles"]]


async def test_blank_is_not_absent() -> None:
    """A field that somebody in the read has is blank for the others; one that nobody has is absent."""
    site, _course, learners = small_site(3, phone1="0722 000 111")
    people = {record["id"]: record for record in await World(site).profiles(learners)}
    assert ("0722 000 111", None) == (people[learners[0]]["phone1"], people[learners[1]]["phone1"])
    assert "phone2" not in people[learners[1]]


async def test_the_login_name_tells_who_has_no_id_number() -> None:
    """Where it is shown, an ID number and an institution would be as well; a field of its own right is absent."""
    wanted = Wanted(profile=frozenset({"idnumber", "institution", "city"}))
    for right, blank in (("moodle/user:viewdetails", {"idnumber", "institution"}), ("", set[str]())):
        site, _, learners = small_site()
        world = World(site, wanted)
        if not right:
            world.fake.revoke("moodle/user:viewalldetails")
        assert [blank] * 3 == [
            {"idnumber", "institution", "city"} & one.keys() for one in await world.profiles(learners)
        ]
        assert {"idnumber", "institution", "city"} == world.reader.unshown


@pytest.mark.parametrize(
    ("release", "shown", "hidden"),
    [("4.1.2 (Build: 20230313)", [["North"], []], True), ("4.3", [["North"], []], False)],
)
async def test_groups_by_release(release: str, shown: list[list[str]], hidden: bool) -> None:
    """Before 4.3 groups need a right and are listed when there are none; later both are otherwise."""
    site, course, learners = small_site(2)
    site.info["release"] = release
    site.set_group(course, learners[0], "North")
    world = World(site)
    assert shown == [record["groups"] for record in await world.enrolments(course)]
    world.fake.revoke("moodle/site:accessallgroups")
    records = await world.enrolments(course)
    assert ([None, None] if hidden else shown) == [record.get("groups") for record in records]
    assert hidden == (await world.reader.roster(course)).hides_groups


async def test_hidden_phones_are_absent() -> None:
    """Without the capability phones are absent for everybody, never blank."""
    site, _, learners = small_site(3, phone1="0722 000 111")
    world = World(site)
    world.fake.revoke("moodle/site:viewuseridentity")
    assert not [record for record in await world.profiles(learners) if "phone1" in record]


async def test_a_hidden_visit_to_a_course_is_absent() -> None:
    """Whoever never was there has a blank; where Moodle hides it, nobody has anything."""
    site, course, _ = small_site()
    world = World(site)
    assert [None] * 3 == [record["lastcourseaccess"] for record in await world.enrolments(course)]
    site.hiddenuserfields = ("lastaccess",)
    world.fake.revoke("moodle/course:viewhiddenuserfields")
    assert not any("lastcourseaccess" in record for record in await world.enrolments(course))


async def test_late_witness_counts_for_early_batches() -> None:
    """A field first seen in the last batch makes it blank, not absent, in the first one."""
    site, _, learners = small_site(30)
    site.update_user(learners[-1], phone2="0722 000 112")
    people = await World(site, sizes=Sizes.fixed(profiles=10)).profiles(learners)
    assert [None] * 29 + ["0722 000 112"] == [record["phone2"] for record in people]


async def test_witnesses_go_first() -> None:
    """People known to have the wanted fields are read first, so nothing has to wait."""
    site, _, learners = small_site(30)
    site.update_user(learners[-1], phone1="1", phone2="2", city="Kisumu", profile={"national_id": "x"})
    world = World(site, sizes=Sizes.fixed(profiles=10))
    batches = [len(batch) async for batch in world.reader.profiles(learners, (learners[-1],))]
    assert [10, 10, 10] == batches
    assert {learners[-1]} == set(world.reader.witnesses.values())


async def test_paging_survives_short_and_empty_pages() -> None:
    """Short and empty pages are not the end while people of the id list are missing."""
    world = World(recorded_site(), sizes=Sizes.fixed(page=7))
    real = world.fake.__call__
    calls = []

    def hiding(request: httpx.Request) -> httpx.Response:
        response = real(request)
        if b"limitnumber" in request.content:
            calls.append(1)
            if len(calls) in (3, 4):  # two pages come back empty, their people follow on a later page
                return httpx.Response(200, json=[])
        return response

    client = MoodleClient(
        world.fake.site.url, Login(world.fake.token), clock=VirtualClock(), transport=httpx.MockTransport(hiding)
    )
    reader = MoodleReader(client, Wanted(), Sizes.fixed(page=7))
    with pytest.raises(Unexpected, match="not complete"):
        await reader.roster(4)  # what the empty pages held never came: refused, not taken for gone


async def test_missing_people_make_a_read_incomplete() -> None:
    """People of the id list that never appear make the read fail after three barren pages."""
    world = World(recorded_site(), sizes=Sizes.fixed(page=20))
    real = world.fake.__call__
    lost = max(world.fake.site.members_of(4))

    def losing(request: httpx.Request) -> httpx.Response:
        response = real(request)
        if b"limitnumber" in request.content:
            return httpx.Response(200, json=[row for row in response.json() if row["id"] != lost])
        return response

    client = MoodleClient(
        world.fake.site.url, Login(world.fake.token), clock=VirtualClock(), transport=httpx.MockTransport(losing)
    )
    with pytest.raises(Unexpected, match="1 people of the id list"):
        await MoodleReader(client, Wanted(), Sizes.fixed(page=20)).roster(4)


async def test_lost_profiles_are_noted() -> None:
    """A person whose profile does not come, or who is deleted by now, is noted and not mapped."""
    site, _, learners = small_site(3)
    site.delete_user(learners[1])
    world = World(site)
    assert [learners[0], learners[2]] == [record["id"] for record in await world.profiles(learners)]
    assert {learners[1]} == world.reader.lost_profiles


async def test_deleted_accounts_are_told_from_others() -> None:
    """In batches; whom Moodle does not know is not among them, and nobody counts as lost."""
    site, _, learners = small_site(7)
    for learner in learners[2:4]:
        site.delete_user(learner)
    world = World(site, sizes=Sizes.fixed(profiles=3))
    await world.reader.site()
    assert {*learners[2:4]} == await world.reader.deleted([*learners, 9_999, learners[0]])
    assert set() == world.reader.lost_profiles
    assert 3 == [name for name, _ in world.fake.calls].count("core_user_get_users_by_field")


async def test_unenrolled_between_is_absent() -> None:
    """Somebody who leaves between the id list and the grades has no grades, not blank ones."""
    site, course, learners = small_site(60)
    item = site.set_grade_item(course, "Quiz")
    site.grade(item, learners[5], 80)
    world = World(site)
    await world.reader.site()
    roster = await world.reader.roster(course)
    site.unenrol(course, learners[5])
    records = {r["user"]["id"]: r for r in await world.reader.enrolments({"id": course}, roster, lambda _: True)}
    assert "items" not in records[learners[5]]


async def test_requests_of_a_course() -> None:
    """A course costs its id lists, its pages and its grade batches, and no more."""
    world = World(recorded_site(), Wanted(grades=True), Sizes.fixed(page=100, grades=25))
    records = await world.enrolments(2)
    graded = sum(1 for record in records if record["status"] == "active")
    assert {
        "core_webservice_get_site_info": 1,
        "core_course_get_courses_by_field": 1,
        ENROLLED: 2 + 3,
        BATCH: -(-graded // 25),
    } == dict(world.client.requests)


async def test_grades_without_batching() -> None:
    """Without the batch function grades come one person at a time."""
    site, course, _learners = small_site(60)
    world = World(site, Wanted(grades=True))
    world.fake.remove_function(BATCH)
    records = await world.enrolments(course)
    assert 60 == world.client.requests[GRADES] == sum("items" in record for record in records)


async def test_profile_fields_in_a_course() -> None:
    """A field that only profiles carry is read for the course, and counted."""
    site, course, learners = small_site(3)
    site.update_user(learners[0], lang="es")
    world = World(site)
    records = await world.enrolments(course)
    assert ["es", "en", "en"] == [record["user"]["lang"] for record in records]
    assert 1 == world.client.requests[PROFILES]


async def test_rows_are_read_again_when_not_kept() -> None:
    """Beyond the room for rows a course's people are read a second time, and nothing is lost."""
    site, course, _learners = small_site(3)
    sizes = Sizes.fixed()
    sizes.kept_rows = 2
    world = World(site, Wanted(user=frozenset({"firstname"})), sizes)
    records = await world.enrolments(course)
    assert ["First0", "First1", "First2"] == [record["user"]["firstname"] for record in records]
    assert 4 == world.client.requests[ENROLLED]


async def test_missing_capability_names_itself() -> None:
    """Without 'moodle/course:enrolreview' the suspended list is refused, and the remedy names it."""
    world = World(recorded_site())
    world.fake.revoke("moodle/course:enrolreview")
    with pytest.raises(AccessDenied, match="moodle/course:enrolreview"):
        await world.reader.roster(2)


def test_batch_size_follows_the_answer_time() -> None:
    """Quick full answers double a batch, slow ones halve it, half-full ones leave it."""
    size = BatchSize(100, ceiling=500)
    size.learn(100, 0.4)
    size.learn(50, 0.1)
    assert 200 == size.value
    size.learn(200, 2.5)
    assert 100 == size.value


async def test_custom_fields_of_a_course() -> None:
    """They come as profile fields do, though Moodle writes them for a page, and in a language."""
    site = FakeSite()
    site.add_course(
        "C1",
        "Course",
        customfields={
            "region": "Nyanza & Coast",
            "offered": {"type": "checkbox", "value": "Ndiyo", "valueraw": 1},
            "closed": {"type": "checkbox", "value": "Hapana", "valueraw": 0},
            "opens": {"type": "date", "value": "Ijumaa, 1 Januari 2027", "valueraw": 1798761600},
            "ends": {"type": "date", "value": None, "valueraw": 0},
            "level": {"type": "select", "value": "Tutors & nurses", "valueraw": 2},
            "about": {"type": "textarea", "value": "<p>A &amp; B</p>", "valueraw": "<p>A &amp; B</p>"},
        },
    )
    (course,) = await World(site).reader.courses()
    assert {
        "region": "Nyanza & Coast",
        "offered": "1",
        "closed": "0",
        "opens": 1798761600,
        "ends": None,
        "level": "Tutors & nurses",
        "about": "<p>A &amp; B</p>",
    } == course_record(course)["profile"]
