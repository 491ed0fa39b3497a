"""Where reading Moodle went wrong once: each test is the smallest story that showed it."""

from __future__ import annotations

import asyncio

import pytest
import stamina

from adaptors.errors import Maintenance, Retriable, Unexpected
from adaptors.http import retried
from adaptors.moodle.answers import Person
from adaptors.moodle.assignment_marks import read_told
from adaptors.moodle.assignment_people import read_marked_course
from adaptors.moodle.fake import BATCH
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.normalise import looks_deleted
from adaptors.moodle.sizes import BatchSize, Sizes
from adaptors.moodle.streams import ENROLLED, GRADES, PROFILES, Wanted
from adaptors.moodle.unshowable import PER_RUN
from tests.adaptors.test_moodle_engagement import World as Activities
from tests.adaptors.test_moodle_reader import World, small_site


@pytest.mark.parametrize("function", [GRADES, ENROLLED])
async def test_trouble_inside_a_batch_passes(function: str) -> None:
    """A database that stumbles over one entry of a batch does not cost the course: the batch is asked again."""
    site, course, learners = small_site(60)
    site.grade(site.set_grade_item(course, "Quiz"), learners[59], 80)
    world = World(site)
    before = 0 if function == GRADES else 3  # id list, suspended, fields: the next one rides in the batch
    world.fake.fail_next(function, "dml", after=before)
    records = await world.enrolments(course)
    assert 60 == sum(1 for record in records if "grade" in record)


async def test_maintenance_inside_a_batch() -> None:
    """Moodle closing between two entries of a batch is maintenance, also for the id list that rides along."""
    site, course, _ = small_site(60)
    world = World(site)
    world.fake.fail_next(ENROLLED, "sitemaintenance", after=3)
    with pytest.raises(Maintenance):
        await world.enrolments(course)


async def test_one_bad_batch_of_profiles() -> None:
    """Profiles that Moodle cannot give, however often it is asked, are lost for this run; the others are read."""
    site, _course, learners = small_site(40)
    world = World(site, sizes=Sizes.fixed(profiles=10))
    world.fake.fail_next(PROFILES, "500_empty", times=5, after=1)
    people = await world.profiles(learners)
    assert (30, set(learners[10:20])) == (len(people), world.reader.lost_profiles)


def broken(site: FakeSite, *people: int) -> None:
    """Give accounts a login method that is not installed any more: Moodle refuses every list they are in."""
    for person in people:
        site.update_user(person, auth="gone")


@pytest.mark.parametrize("bad", [[7], [99], [0, 1, 2, 3], [7, 8, 9, 10, 11, 12], [3, 30, 60, 90]])
async def test_accounts_that_moodle_cannot_give_cost_nobody_else(bad: list[int]) -> None:
    """Each is found in halves of its batch, two requests for each of seven, and is asked for once in a run."""
    site, _course, learners = small_site(100)
    world = World(site, sizes=Sizes.fixed(profiles=100))
    lost = {learners[number] for number in bad}
    broken(site, *lost)
    await world.reader.site()
    people = await world.profiles(learners)
    assert (100 - len(bad), lost) == (len(people), world.reader.lost_profiles)
    assert (lost, set()) == (world.reader.refused_profiles, world.reader.unsure_profiles)
    assert world.client.requests[PROFILES] <= 1 + 2 * 7 * len(bad)
    before = world.client.requests[PROFILES]
    assert (100 - len(bad), 1) == (
        len(await world.profiles(learners)),
        world.client.requests[PROFILES] - before,
    )
    assert set() == await world.reader.deleted(learners)


async def test_a_function_that_refuses_everybody_is_soon_out_of_order() -> None:
    """It is found out with few requests, and nobody is named for it."""
    site, _course, learners = small_site(400)
    world = World(site, sizes=Sizes.fixed(profiles=100))
    broken(site, *learners)
    with pytest.raises(Unexpected, match="invalidresponse"):
        await world.profiles(learners)
    assert set() == world.reader.refused_profiles
    assert world.client.requests[PROFILES] <= 25


async def test_what_begins_to_refuse_everybody_is_soon_out_of_order() -> None:
    """Also when it gave people before; those who were asked for alone are the only ones that may be named."""
    site, _course, learners = small_site(600)
    world = World(site, sizes=Sizes.fixed(profiles=100))
    broken(site, *learners[100:])
    with pytest.raises(Unexpected, match="invalidresponse"):
        await world.profiles(learners)
    assert world.client.requests[PROFILES] <= 45


async def test_the_only_one_of_a_batch() -> None:
    """Nobody else was in the last batch: the others were given before, so it is this account."""
    site, _course, learners = small_site(11)
    world = World(site, sizes=Sizes.fixed(profiles=10))
    broken(site, learners[10])
    assert (10, {learners[10]}) == (len(await world.profiles(learners)), world.reader.refused_profiles)


@pytest.mark.parametrize(
    ("deleted", "username", "email"),
    [
        (True, "amina@example.org.1795300000", "0123456789abcdef" * 2),
        (True, None, "0123456789abcdef" * 2),
        (True, "amina@example.org.1795300000", None),
        (False, "amina.254722000111", None),
        (False, "amina.254722000111", "amina@example.org"),
        (False, None, None),
    ],
)
def test_deleted_accounts(deleted: bool, username: str | None, email: str | None) -> None:
    """A deleted account is recognised by what is left of its name or its e-mail, whichever is shown."""
    assert deleted == looks_deleted(Person(id=7, username=username, email=email))


@pytest.mark.parametrize(("said", "expected"), [(0.0, [1.0, 2.0, 4.0, 8.0]), (900.0, [60.0] * 4)])
async def test_what_a_server_says_is_a_floor_of_a_minute_at_most(
    monkeypatch: pytest.MonkeyPatch, said: float, expected: list[float]
) -> None:
    """One that says "again in 0 seconds" is asked more and more slowly; a quarter of an hour is for the pace.

    The pace waits before the next request, and the lease is renewed meanwhile.
    """
    waits: list[float] = []
    ours, really = asyncio.current_task(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        if asyncio.current_task() is ours:
            waits.append(seconds)
        else:  # another thread may have a loop of its own
            await really(seconds)

    async def refuse() -> None:
        raise Retriable("Too many.", system="Moodle", operation="x", retry_after=said)

    monkeypatch.setattr("asyncio.sleep", sleep)
    stamina.set_testing(False)
    with pytest.raises(Retriable):
        await retried(refuse)
    assert expected == waits


@pytest.mark.parametrize("batching", [True, False])
async def test_an_account_that_is_not_confirmed_costs_nobody_else(batching: bool) -> None:
    """Moodle tells no grades of somebody whose account is not confirmed; those of the course's others are read."""
    site, course, learners = small_site(60)
    item = site.set_grade_item(course, "Quiz")
    for learner in learners:
        site.grade(item, learner, 80)
    site.update_user(learners[7], confirmed=False)
    world = World(site)
    if not batching:
        world.fake.remove_function(BATCH)
    records = await world.enrolments(course)
    assert 60 == len(records)
    assert [learners[7]] == [record["user"]["id"] for record in records if "grade" not in record]


@pytest.mark.parametrize("gone", ["confirmed", "deleted"])
async def test_activities_of_an_account_that_is_not_confirmed(gone: str) -> None:
    """What the others have done is read, though Moodle refuses one of them."""
    world = Activities()
    world.site.update_user(world.learners[1], **{gone: gone == "deleted"})
    assert {world.learners[0], world.learners[2]} == set(await world.read())


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("left", ["suspended", "unenrolled"])
async def test_whose_work_may_not_be_seen_any_more(left: str, batching: bool) -> None:
    """Moodle refuses to tell of who was suspended or unenrolled meanwhile; the others' feedback is read."""
    site, course, learners = small_site(3)
    site.activities.set(course, "Essay")
    world = World(site)
    (assignment,) = (await read_marked_course(world.client, course)).assignments
    if left == "suspended":
        site.suspend_enrolment(course, learners[1])
    else:
        site.unenrol(course, learners[1])
    told = await read_told(world.client, assignment, learners, BatchSize(25, ceiling=25), batching=batching)
    assert {learners[0], learners[2]} == set(told)


def bad_names(site: FakeSite, *people: int) -> None:
    """Give accounts names that an import left in the database: Moodle refuses every list they are in."""
    for person in people:
        site.update_user(person, firstname="A<b")


@pytest.mark.parametrize("bad", [[0], [7], [99], [0, 1, 2], [98, 99], [3, 30, 60, 90]])
@pytest.mark.parametrize("page", [7, 100])
async def test_bad_names_cost_nobody_else_of_a_course(bad: list[int], page: int) -> None:
    """Each is found in parts of the list, some twenty requests for each; the roster says how many it lacks."""
    site, course, learners = small_site(100)
    site.grade(site.set_grade_item(course, "Quiz"), learners[50], 80)
    world = World(site, sizes=Sizes.fixed(page=page))
    bad_names(site, *(learners[number] for number in bad))
    roster = await world.reader.roster(course)
    assert (100 - len(bad), len(bad)) == (len(roster), len(roster.places))
    assert world.client.requests[ENROLLED] <= 4 + 100 // page + len(bad) * 17
    records = await world.enrolments(course)
    assert 100 - len(bad) == sum(1 for record in records if "grade" in record)


async def test_a_bad_name_in_a_small_course_with_grades() -> None:
    """The report of all is refused, so the grades of the others are read one by one."""
    site, course, learners = small_site(12)
    site.grade(site.set_grade_item(course, "Quiz"), learners[5], 80)
    bad_names(site, learners[3])
    records = await World(site).enrolments(course)
    assert (11, 11) == (len(records), sum(1 for record in records if "grade" in record))


async def test_a_bad_value_in_a_row_of_a_course() -> None:
    """A city that Moodle does not send stops only the rows: the id list says who it is, and that is not enough."""
    site, course, learners = small_site(60)
    site.update_user(learners[40], city="<Kisumu")
    world = World(site, Wanted(user=frozenset({"city"})))
    roster = await world.reader.roster(course)
    assert (59, 1, False) == (len(roster), len(roster.places), roster.is_whole)


async def test_suspended_with_a_bad_name() -> None:
    """The list of the suspended is read around the same person."""
    site, course, learners = small_site(20)
    for person in learners[3:6]:
        site.suspend_enrolment(course, person)
    bad_names(site, learners[4])
    roster = await World(site).reader.roster(course)
    assert ({learners[3], learners[5]}, 1) == (roster.suspended, len(roster.places))


async def test_too_many_bad_names() -> None:
    """Beyond ten in a course it is not read, and what is to be done is said."""
    site, course, learners = small_site(30)
    world = World(site)
    bad_names(site, *learners[:11])
    with pytest.raises(Unexpected, match=r"invalidresponse.*Browse list of users"):
        await world.reader.roster(course)
    assert world.client.requests[ENROLLED] <= 200


async def test_one_bad_name_in_many_courses() -> None:
    """It is looked for in each: what is bounded is how many requests that takes."""
    site = FakeSite()
    bad, good = site.add_user("Bad", "Name"), site.add_user("Good", "Name")
    courses = [site.add_course(f"C{n}", f"C {n}") for n in range(60)]
    for course in courses:
        site.enrol(course, bad, ("editingteacher",))
        site.enrol(course, good)
    world = World(site)
    bad_names(site, bad)
    assert {1} == {len((await world.reader.roster(course)).places) for course in courses}


async def test_a_server_that_refuses_every_list() -> None:
    """No account is to blame: the search ends with its budget, and then each course costs one request."""
    site = FakeSite()
    people = [site.add_user(f"F{n}", "L") for n in range(30)]
    courses = [site.add_course(f"C{n}", f"C {n}") for n in range(40)]
    for course in courses:
        for person in people:
            site.enrol(course, person)
    world = World(site)
    bad_names(site, *people)
    for course in courses:
        with pytest.raises(Unexpected):
            await world.reader.roster(course)
    assert PER_RUN < world.client.requests[ENROLLED] <= PER_RUN + len(courses)


async def test_rows_that_are_read_again_are_not_searched_again() -> None:
    """Without room to keep rows each course is read twice: its places are known the second time."""
    site, course, learners = small_site(60)
    sizes = Sizes.fixed(page=100)
    sizes.kept_rows = 0
    world = World(site, Wanted(user=frozenset({"city"})), sizes=sizes)
    bad_names(site, *learners[:10])
    roster = await world.reader.roster(course)
    before = world.client.requests[ENROLLED]
    assert 50 == len(await world.reader.enrolments({"id": course}, roster, lambda _: False))
    assert 1 == world.client.requests[ENROLLED] - before
