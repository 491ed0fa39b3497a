"""What learners have done: counted per person, few requests, absent where Moodle does not track."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adaptors.errors import AccessDenied, Refused, Unexpected
from adaptors.moodle.activity_answers import Module
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.completion import COMPLETION, CONTENTS, USERS_COURSES, Done
from adaptors.moodle.engagement import Engagement
from adaptors.moodle.fake import BATCH, FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.moodle.functions import BY_NAME
from adaptors.moodle.records import SOURCES
from adaptors.moodle.sizes import Sizes
from adaptors.moodle.streams import MoodleReader, Wanted
from tests.adaptors.moodle_world import recorded_site
from tests.clocks import VirtualClock

DAY = 86_400
VISITS = ({2: 0}, {2: None, 3: None}, {2: 100, 3: None})
COURSES = {number: {"id": number, "fullname": f"Course {number}"} for number in (2, 3, 4, 5)}


class World:
    """A fake Moodle, a reader, one course with learners and four tracked activities, one of them past due."""

    def __init__(self, people: int = 3, site: FakeSite | None = None) -> None:
        self.site = site or FakeSite()
        self.now = self.site.now
        self.course = self.site.add_course("C1", "Course")
        self.learners = [self.site.add_user(f"First{n}", "Last") for n in range(people)]
        for learner in self.learners:
            self.site.enrol(self.course, learner)
        self.activities = [
            self.site.activities.set(self.course, name, tracking=2, due=due and self.now + due * DAY)
            for name, due in (("Essay", -5), ("Report", 9), ("Talk", 4), ("Reading", 0))
        ]
        self.fake = FakeMoodle(self.site)
        client = MoodleClient(
            self.site.url,
            Login(self.fake.token),
            clock=VirtualClock(),
            transport=httpx.MockTransport(self.fake),
            attempts=1,
        )
        self.client = client
        self.reader = MoodleReader(client, Wanted(completion=True, due_dates=True), Sizes.fixed(grades=25))

    async def read(self, people: list[int] | None = None, *, dates: bool = True) -> dict[int, Done]:
        """Read the course as a run does."""
        await self.reader.site()
        asked = self.learners if people is None else people
        return await self.reader.completion.course(self.course, asked, dates=dates, now=self.now)

    def asked(self, function: str) -> int:
        """Return how many times a function was asked over HTTP."""
        return self.client.requests[function]


async def test_an_answer_with_warnings_is_no_complete_read() -> None:
    """Moodle leaves out what it warns of: the last activity of somebody would count as never there."""
    world = World()
    world.fake.fail_next(COMPLETION, "warnings", after=1)
    with pytest.raises(Unexpected, match="comes with warnings, so it is not complete"):
        await world.read()
    assert {4} == {one.done + one.left for one in (await world.read()).values()}


async def test_done_left_overdue_and_next_due() -> None:
    """Each learner's activities are counted; what is done is neither overdue nor due."""
    world = World()
    first, second, _ = world.learners
    world.site.activities.complete(world.activities[0], first, world.now)
    world.site.activities.complete(world.activities[2], first, world.now, state=2)
    found = await world.read()
    assert Done(done=2, left=2, overdue=0, next_due=world.now + 9 * DAY) == found[first]
    assert Done(done=0, left=4, overdue=1, next_due=world.now + 4 * DAY) == found[second]


@pytest.mark.parametrize(
    ("row", "due"),
    [
        ({"dates": [{"timestamp": 7, "dataid": "duedate"}, {"timestamp": 3, "dataid": "timeopen"}]}, 7),
        ({"dates": [{"timestamp": 9, "dataid": "timeclose"}], "customdata": '{"timeclose":5}'}, 9),
        ({"dates": [{"timestamp": 7, "label": "Due:"}], "customdata": '{"duedate":8,"cutoffdate":4}'}, 8),
        ({"dates": [{"timestamp": 3, "dataid": "timeopen"}], "customdata": '{"duedate":8}'}, 0),
        ({"customdata": '{"duedate":0}'}, 0),
        ({"customdata": '{"duedate":"8","timeclose":"0"}'}, 8),
        ({"customdata": '""'}, 0),
        ({"customdata": "no JSON"}, 0),
        ({"customdata": '{"duedate":"soon"}'}, 0),
        ({"customdata": None}, 0),
    ],
)
def test_due_date_of_an_activity(row: dict[str, Any], due: int) -> None:
    """The date by which it has to be done, named in the dates; on older sites in the custom data."""
    assert due == Module.model_validate({"id": 1, **row}).due()


async def test_failed_is_not_done() -> None:
    """An activity that was tried and failed is left, as Moodle's own overall state says."""
    world = World()
    world.site.activities.complete(world.activities[3], world.learners[0], world.now, state=3)
    assert 4 == (await world.read())[world.learners[0]].left


async def test_few_requests() -> None:
    """60 learners take one request for the dates and three of 25 for the rest, none of them alone."""
    world = World(60)
    assert 60 == len(await world.read())
    assert (1, 3, 0) == (world.asked(CONTENTS), world.asked(BATCH), world.asked(COMPLETION))


async def test_without_dates_the_contents_are_not_asked() -> None:
    """A mapping that only counts does not cost the call for the contents."""
    world = World()
    found = await world.read(dates=False)
    assert (0, Done(0, 4)) == (world.asked(CONTENTS), found[world.learners[0]])


async def test_singly_without_the_batch_function() -> None:
    """A service without tool_mobile_call_external_functions costs a request a learner, and gives the same."""
    world = World(30)
    world.fake.remove_function(BATCH)
    assert 30 == len(await world.read())
    assert (0, 30) == (world.asked(BATCH), world.asked(COMPLETION))


@pytest.mark.parametrize("batch", [True, False])
async def test_a_course_that_tracks_nothing_is_asked_once(batch: bool) -> None:
    """Nothing tracked is seen in the contents; without them, in the first answer."""
    world = World(60)
    for cmid in world.activities:
        world.site.activities.by_course[world.course][cmid].tracking = 0
    if not batch:
        world.fake.remove_function(BATCH)
    assert {} == await world.read()
    assert (1, 0, 0) == (world.asked(CONTENTS), world.asked(BATCH), world.asked(COMPLETION))
    assert {} == await world.read(dates=False)
    assert (1, 0) == ((world.asked(BATCH), world.asked(COMPLETION)) if batch else (1, 0))


async def test_who_is_not_tracked_is_left_out() -> None:
    """A teacher and somebody who just left have a grid of nothing done: it does not count."""
    world = World()
    teacher = world.site.add_user("Grace", "Wekesa")
    world.site.enrol(world.course, teacher, ("editingteacher",))
    world.site.unenrol(world.course, world.learners[1])
    found = await world.read([*world.learners, teacher])
    assert {world.learners[0], world.learners[2]} == found.keys()


async def test_nobody_is_asked_about_nobody() -> None:
    """A course without active learners costs nothing."""
    world = World(0)
    assert {} == await world.read()
    assert 1 == world.fake.requests  # the site's own


@pytest.mark.parametrize("batch", [True, False])
async def test_missing_right_is_named(batch: bool) -> None:
    """Without report/progress:view the course is refused, and the right is named."""
    world = World()
    world.fake.revoke("report/progress:view")
    if not batch:
        world.fake.remove_function(BATCH)
    with pytest.raises(AccessDenied) as caught:
        await world.read()
    assert "'report/progress:view'" in str(caught.value)


@pytest.mark.parametrize("function", [COMPLETION, CONTENTS])
async def test_missing_function_is_named(function: str) -> None:
    """A function that the service lacks is refused with its name."""
    world = World()
    world.fake.remove_function(function)
    with pytest.raises(AccessDenied) as caught:
        await world.read()
    assert function in str(caught.value)


@pytest.mark.parametrize("batch", [True, False])
async def test_course_that_is_gone_is_no_refused_person(batch: bool) -> None:
    """A course deleted meanwhile fails as a whole: nobody in it counts as somebody without activities."""
    world = World()
    if not batch:
        world.fake.remove_function(BATCH)
    await world.reader.site()
    with pytest.raises(Refused):
        await world.reader.completion.course(999, world.learners, dates=False, now=world.now)


@pytest.mark.parametrize(("kind", "found", "requests"), [("usernotenroled", 9, 2), ("dml", 10, 2)])
async def test_batch_goes_on_after_an_error(kind: str, found: int, requests: int) -> None:
    """Moodle ends a batch with its first error: whom it refuses is left out, and the rest is asked again."""
    world = World(10)
    world.fake.fail_next(COMPLETION, kind, after=3)
    assert found == len(await world.read())
    assert requests == world.asked(BATCH)


async def test_refused_person_asked_singly() -> None:
    """Whom Moodle refuses is left out without a batch as well."""
    world = World(10)
    world.fake.remove_function(BATCH)
    world.fake.fail_next(COMPLETION, "usernotenroled")
    assert 9 == len(await world.read())


async def test_completed_courses() -> None:
    """Courses with criteria are counted, and those completed; a course Moodle leaves out makes it unknown."""
    world = World()
    first, second, third = world.learners
    other = world.site.add_course("C2", "Another")
    world.site.enrol(other, first)
    world.site.enrol(other, second)
    world.site.activities.criteria |= {world.course, other}
    world.site.activities.completed_courses.add((other, first))
    world.site.suspend_enrolment(other, second)
    await world.reader.site()
    courses = {first: [world.course, other], second: [world.course, other], third: [world.course]}
    found = await world.reader.completion.completed(world.learners, courses)
    assert {first: (2, 1), third: (1, 0)} == found
    assert (1, 0) == (world.asked(BATCH), world.asked(USERS_COURSES))


# --- the record ---------------------------------------------------------------------------------------------


def record(*courses: tuple[int, int | None, Done | None], wanted: bool = True) -> dict[str, Any]:
    """Return the record of person 7 who is active in these courses: number, last visit, what is done."""
    engagement = Engagement(COURSES, completion=wanted, dates=wanted)
    for course_id, visited, done in courses:
        engagement.add(7, course_id, visited, done)
    made = engagement.record({"id": 7, "lastaccess": 5, "profile": {"cadre": "CHW"}, "roles": ["student"]})
    SOURCES["engagement"].model_validate(made)
    return made


def test_sums_over_courses() -> None:
    """Numbers add up, the earliest due date counts, the last visit is the latest."""
    made = record((2, 100, Done(3, 1, 0, 900)), (3, 200, Done(1, 3, 2, 800)), (4, 50, None))
    assert {"courses": 2, "done": 4, "left": 4, "overdue": 2} == made["activities"]
    assert (3, 200, 800, 50.0) == (
        made["courses_active"],
        made["lastcourseaccess"],
        made["next_due"],
        made["progress"],
    )
    assert ({"id": 7, "lastaccess": 5, "profile": {"cadre": "CHW"}}, {"cadre": "CHW"}, 5) == (
        made["user"],
        made["profile"],
        made["lastaccess"],
    )


@pytest.mark.parametrize(
    ("course", "courses"),
    [
        (3, [(2, 1, Done(0, 9, 1)), (3, 9, Done(0, 2, 2))]),  # most past due, though visited last
        (4, [(2, 9, Done(0, 1, 1)), (4, 3, Done(0, 1, 1))]),  # as many past due: not visited for longest
        (2, [(3, 3, Done(0, 1)), (2, 3, Done(0, 1))]),  # all alike: the lowest number
        (5, [(2, 3, Done(0, 1)), (5, 0, Done(0, 1))]),  # never visited is longest
        (3, [(2, 1, Done(4, 0)), (3, 9, Done(3, 1))]),  # what is done needs nothing
        (4, [(3, 9, Done(3, 1)), (4, 2, None)]),  # where nothing is tracked, the visit counts
    ],
)
@pytest.mark.parametrize("order", [list, lambda courses: courses[::-1]])
def test_which_course_needs_attention(
    course: int, courses: list[tuple[int, int, Done | None]], order: Callable[[list[Any]], list[Any]]
) -> None:
    """One rule, whatever the order in which courses were read."""
    assert COURSES[course] == record(*order(courses))["needs_attention"]["course"]


def test_nothing_to_attend_to() -> None:
    """When everything is done, the course to mention is blank and nothing is due."""
    made = record((2, 1, Done(4, 0)))
    assert (None, None, 100.0) == (made["needs_attention"], made["next_due"], made["progress"])


def test_no_tracking_is_absent_and_no_course_is_blank() -> None:
    """Where no course tracks anything only that is told; without an active course the numbers are blank."""
    untracked, nowhere = record((2, 1, None)), record()
    assert ({"courses": 0}, set()) == (untracked["activities"], {"progress", "next_due"} & untracked.keys())
    assert {"id": 2, "fullname": "Course 2"} == untracked["needs_attention"]["course"]
    assert not {"left", "overdue"} & untracked["needs_attention"].keys()
    assert (0, None, None, None) == (
        nowhere["courses_active"],
        nowhere["activities"],
        nowhere["next_due"],
        nowhere["needs_attention"],
    )


def test_a_visit_that_moodle_hides_is_absent_and_no_visit_is_blank() -> None:
    """Where one course hides it, nobody knows the latest of all; in another one it is known."""
    never, hidden, some = (record(*((n, at, None) for n, at in one.items())) for one in VISITS)
    assert (None, None) == (never["lastcourseaccess"], never["needs_attention"]["lastcourseaccess"])
    for made, number in ((hidden, 2), (some, 3)):
        assert "lastcourseaccess" not in made.keys() | made["needs_attention"].keys()
        assert COURSES[number] == made["needs_attention"]["course"]


def test_what_was_not_asked_is_absent() -> None:
    """A mapping that needs neither completion nor dates gets records without them."""
    made = record((2, 1, None), wanted=False)
    assert not {"activities", "progress", "next_due", "needs_attention", "completed"} & made.keys()


def test_completed_is_absent_when_moodle_does_not_tell() -> None:
    """A course that Moodle left out makes completion unknown; without criteria only the count is told."""
    engagement = Engagement(COURSES, completion=False, dates=False)
    for person in (7, 8, 9):
        engagement.add(person, 2, 0, None)
    engagement.completed = {7: (2, 2), 8: (0, 0)}
    told = [engagement.record({"id": person}) for person in (7, 8, 9)]
    assert [(2, True), (0, None), (None, None)] == [(r.get("courses_completed"), r.get("completed")) for r in told]
    assert ["completed" in r for r in told] == [True, False, False]


async def test_recorded_teachers_are_not_tracked() -> None:
    """The recorded answers are about teachers: a real grid of theirs counts for nobody."""
    world = World(0, recorded_site())
    await world.reader.site()
    assert {} == await world.reader.completion.course(2, [7, 8, 9], dates=True, now=world.now)


async def test_activities_with_conditions_need_a_right_of_their_own() -> None:
    """The account meets no condition under 'Restrict access', so that without the right they are not there."""
    world = World(people=1)
    world.site.activities.set(world.course, "After the talk", tracking=2, restricted=True)
    one = world.learners[0]
    assert 5 == (await world.read())[one].left
    world.fake.revoke("moodle/course:ignoreavailabilityrestrictions")
    assert 4 == (await world.read())[one].left
    for function in (COMPLETION, CONTENTS, "gradereport_user_get_grade_items"):
        assert "moodle/course:ignoreavailabilityrestrictions" in BY_NAME[function].capabilities


@pytest.mark.parametrize(
    ("module", "right"), [("page", "mod/page:view"), ("wiki", "mod/wiki:viewpage"), ("forum", "")]
)
async def test_activities_that_the_account_may_not_see_count_for_nothing(module: str, right: str) -> None:
    """Moodle leaves them out without a word, so the role has these rights; nobody is kept from forums."""
    world = World(people=1)
    world.site.activities.set(world.course, "More", module=module, tracking=2)
    seen = await world.read()
    if right:
        assert right in BY_NAME[COMPLETION].capabilities
        world.fake.revoke(right)
    world.fake.revoke("mod/choice:view")
    unseen = await world.read()
    one = world.learners[0]
    assert (5, 4 if right else 5) == (seen[one].left, unseen[one].left)
