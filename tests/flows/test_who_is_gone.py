"""Who is protected from being marked as gone, and who is not: one profile, or one course, holds up nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from adaptors.moodle.sizes import Sizes
from flows.confirm import confirm
from flows.needs import CONFIRMED_LEAVERS, needs
from flows.steps.failing import FAILING
from flows.steps.planned import SITE_SCOPE
from tests.flows.test_deleted import hide_profile
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
UNTIL = "nobody is marked as gone from the site"
FOR_LONG = "For more than a day"


def moodle_status(lab: Lab, learner: int) -> str:
    """Return what a person's case says."""
    return str(lab.case(f"test-user-{learner}").properties["moodle_status"])


def unenrol_all(lab: Lab, learners: list[int]) -> None:
    """Take people out of every course."""
    for learner in learners:
        for course in [*lab.site.members]:
            lab.site.unenrol(course, learner)


# --- profiles and courses that fail for good --------------------------------------------------------------


async def test_a_profile_that_moodle_does_not_give(make_lab: MakeLab) -> None:
    """It keeps its own person from leaving, and nobody else."""
    site, _, learners = site_of(20)
    lab = make_lab(site)
    await lab.sync()
    hide_profile(lab, learners[19])
    unenrol_all(lab, learners[:1])
    assert [{}, {"marked_left": 2}, {}] == [written(await lab.sync()) for _ in range(3)]
    result = await lab.sync()
    assert ("degraded", "active", "left") == (result.state, *(moodle_status(lab, learners[n]) for n in (19, 0)))
    assert result.messages[0].startswith(
        "Moodle did not give the profile of 1 person; their cases stay as before."
    )


async def test_an_account_that_moodle_cannot_give(make_lab: MakeLab) -> None:
    """Its login method was taken away: it is named, nothing is decided of it, and it holds up nobody else."""
    site, _, learners = site_of(60)
    lab = make_lab(site)
    await lab.sync()
    for number in (7, 8, 30):
        site.update_user(learners[number], auth="gone", phone1="0722 111 111")
    site.update_user(learners[3], phone1="0722 111 222")
    unenrol_all(lab, learners[9:10])
    assert [{"updated": 1}, {"marked_left": 2}, {}] == [written(await lab.sync()) for _ in range(3)]
    result = await lab.sync()
    assert ("degraded", "active", "left") == (result.state, *(moodle_status(lab, learners[n]) for n in (7, 9)))
    assert [
        f"Moodle answers with an error when it is asked for the profiles of people {learners[7]}, {learners[8]}, "
        f"{learners[30]}; their cases stay as before. What it has of each account is not valid, such as a '<' "
        "in the city, the country or a telephone number, capital letters in the login name, or a login method "
        "that was taken away: open the account in Moodle, correct it and save it."
    ] == result.messages
    assert lab.clock.now() - 60 < lab.store.courses()[SITE_SCOPE].complete_at
    for number in (7, 8, 30):
        site.update_user(learners[number], auth="manual")
    result = await lab.sync()
    assert ("completed", {"updated": 3}, []) == (result.state, written(result), result.messages)


async def test_accounts_side_by_side_that_moodle_cannot_give(make_lab: MakeLab) -> None:
    """They are of one day, and their courses go on."""
    site, courses, learners = site_of(60)
    lab = make_lab(site)
    lab.sizes = lambda: Sizes.fixed(page=100, profiles=10, grades=25)  # type: ignore[method-assign]
    for learner in learners[:20]:
        site.update_user(learner, auth="gone")
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[40], 80)
    result = await lab.sync()
    assert ("degraded", 40) == (result.state, len(lab.project.of_type("student")))
    assert "80" == lab.case(f"test-enrol-{courses[0]}-{learners[40]}").properties["grade_percent"]


async def test_a_word_in_spite_of_a_missing_profile(make_lab: MakeLab) -> None:
    """It is used once: nobody leaves later by a word that was about others."""
    site, courses, learners = site_of(12)
    lab = make_lab(site)
    await lab.sync()
    hide_profile(lab, learners[11])
    unenrol_all(lab, learners[:4])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 4)
    assert {"marked_left": 8} == written(await lab.sync())  # of the site as well: they were in no other course
    assert ([], {}) == (needs(lab.store), json.loads(lab.store.get(CONFIRMED_LEAVERS) or "{}"))


async def test_no_profile_at_all(make_lab: MakeLab) -> None:
    """Then nobody is looked for: it is no answer about anybody, and no question either."""
    site, _, learners = site_of(5)
    lab = make_lab(site)
    await lab.sync()
    unenrol_all(lab, learners[:1])
    real = lab.moodle

    def to_moodle(request: httpx.Request) -> httpx.Response:
        is_profiles = b"core_user_get_users_by_field" in request.content
        return httpx.Response(200, json=[]) if is_profiles else real(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]
    for _ in range(3):
        await lab.sync()
    assert ("active", []) == (moodle_status(lab, learners[0]), needs(lab.store))


async def test_a_course_that_fails_for_good(make_lab: MakeLab) -> None:
    """It is waited for a day; then it keeps its own people, and of others, who may be there, a person is asked."""
    site, courses, learners = site_of(5, 10)
    lab = make_lab(site)
    await lab.sync()
    lab.denied = {courses[0]}
    unenrol_all(lab, [learners[4], learners[5]])
    for _ in range(6):
        result = await lab.sync(4 * 3600.0)
        assert (True, False) == tuple(words in " ".join(result.messages) for words in (UNTIL, FOR_LONG))
    assert ["active"] * 2 == [moodle_status(lab, learners[n]) for n in (4, 5)]
    for _ in range(3):
        result = await lab.sync(4 * 3600.0)
        assert (False, True) == tuple(words in " ".join(result.messages) for words in (UNTIL, FOR_LONG))
    assert ["active"] * 2 == [moodle_status(lab, learners[n]) for n in (4, 5)]
    assert [("leavers", 0, 1)] == [(need.kind, need.course, need.count) for need in needs(lab.store)]
    confirm(lab.store, 0, 1)
    assert {"marked_left": 1} == written(await lab.sync())
    assert ["active", "left"] == [moodle_status(lab, learners[n]) for n in (4, 5)]
    lab.denied = set()
    assert [{}, {"marked_left": 2}] == [written(await lab.sync()) for _ in range(2)]
    assert {} == json.loads(lab.store.get(FAILING) or "")


async def test_an_account_that_moodle_cannot_show_in_a_course(make_lab: MakeLab) -> None:
    """A name with a '<' stops no course: the others go on, and nobody is missing there until it is mended."""
    site, courses, learners = site_of(12, 8)
    lab = make_lab(site)
    await lab.sync()
    for learner in (learners[3], learners[14]):
        site.update_user(learner, firstname="A<b")
    site.update_user(learners[5], phone1="0722 111 222")
    site.unenrol(courses[0], learners[4])
    site.enrol(courses[0], learners[13])
    for changed in ({"updated": 1, "created": 1}, {}, {}):
        result = await lab.sync()
        assert ("degraded", changed) == (result.state, written(result))
    assert (
        f"Moodle itself cannot show accounts of course {courses[0]} (1 account), course {courses[1]} (1 account), "
        "for a value in them. Everybody else there was read; until it can show them, nobody is marked as gone "
        "from there. Most often it is a '<' in the name of an account, which an import brought in. Look for it in "
        "Moodle under Site administration > Users > Accounts > Browse list of users: correct the name and save "
        "the account once."
    ) == result.messages[0]
    assert ["active"] * 2 == [moodle_status(lab, learners[n]) for n in (3, 4)]
    assert {learners[3], learners[4]} < lab.store.member_ids(courses[0])
    for learner in (learners[3], learners[14]):
        site.update_user(learner, firstname="Anna")
    assert [{"updated": 2}, {"marked_left": 2}, {}] == [written(await lab.sync()) for _ in range(3)]


async def test_an_account_that_moodle_cannot_show_for_long(make_lab: MakeLab) -> None:
    """After a day a person is asked about those of other courses; whoever was seen in its course stays."""
    site, _, learners = site_of(5, 10)
    lab = make_lab(site)
    await lab.sync()
    site.update_user(learners[2], firstname="<![CDATA[")
    unenrol_all(lab, [learners[4], learners[5]])
    for _ in range(9):
        result = await lab.sync(4 * 3600.0)
    assert "degraded" != result.state
    assert ["active"] * 3 == [moodle_status(lab, learners[n]) for n in (2, 4, 5)]
    assert [("leavers", 0, 1)] == [(need.kind, need.course, need.count) for need in needs(lab.store)]
    confirm(lab.store, 0, 1)
    assert {"marked_left": 1} == written(await lab.sync())
    assert ["active", "active", "left"] == [moodle_status(lab, learners[n]) for n in (2, 4, 5)]
    site.update_user(learners[2], firstname="Mended")
    assert [{"updated": 1}, {"marked_left": 2}] == [written(await lab.sync()) for _ in range(2)]


async def test_a_course_that_fails_now_and_then_is_waited_for(make_lab: MakeLab) -> None:
    """However long ago its grades were read: its people were, an hour ago, and some may be there since."""
    site, courses, learners = site_of(5, 10)
    lab = make_lab(site)
    await lab.sync()
    for hours in range(0, 60, 2):
        lab.denied = {courses[0]} if hours % 12 == 10 else set()
        if hours == 34:  # goes on in the other course, while that cannot be read
            site.unenrol(courses[1], learners[5])
            site.enrol(courses[0], learners[5])
        await lab.sync(2 * 3600.0)
        assert "active" == moodle_status(lab, learners[5])


async def test_a_new_course_that_fails_is_waited_for(make_lab: MakeLab) -> None:
    """It was never read, and somebody may have gone there."""
    site, courses, learners = site_of(10)
    lab = make_lab(site)
    await lab.sync(86_400.0)
    new = site.add_course("C9", "New")
    lab.denied = {new}
    site.unenrol(courses[0], learners[0])
    site.enrol(new, learners[0])
    for _ in range(11):
        await lab.sync(2 * 3600.0)
    assert "active" == moodle_status(lab, learners[0])


# --- the guard of a run counts people ---------------------------------------------------------------------


async def test_one_leaver_of_many_courses_asks_nothing(make_lab: MakeLab) -> None:
    """However many cases one person has, it is one person."""
    site, _, learners = site_of(*[8] * 7, shared=True)
    lab = make_lab(site)
    await lab.sync()
    site.delete_user(learners[0])
    assert [{}, {"marked_left": 8}] == [written(await lab.sync()) for _ in range(2)]
    assert [] == needs(lab.store)


@pytest.mark.parametrize(("leavers", "marked"), [(5, 15), (6, 0)])
async def test_the_guard_of_a_run_counts_people(make_lab: MakeLab, leavers: int, marked: int) -> None:
    """Of forty people in two courses: five may go at once, six are asked about, in each course and on the site."""
    site, courses, learners = site_of(40, 40, shared=True)
    lab = make_lab(site)
    await lab.sync()
    unenrol_all(lab, learners[:leavers])
    assert [0, marked] == [written(await lab.sync()).get("marked_left", 0) for _ in range(2)]
    asked = [] if marked else [(place, leavers) for place in (SITE_SCOPE, *courses)]
    assert asked == [(need.course, need.count) for need in needs(lab.store)]


async def test_the_parents_are_asked_for_once(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each course with leavers anew: it is a walk through all people of the site."""
    site, courses, learners = site_of(*[10] * 5, shared=True)
    lab = make_lab(site)
    await lab.sync()
    for course in courses:
        site.unenrol(course, learners[0])
    await lab.sync()
    asked, real = [], lab.store.gone_people

    def gone_people(mapping: str, scope: int, people: set[int]) -> set[int]:
        asked.append((mapping, scope))
        return real(mapping, scope, people)

    monkeypatch.setattr(lab.store, "gone_people", gone_people)
    assert {"marked_left": 6} == written(await lab.sync())
    assert [("student", SITE_SCOPE)] == asked


async def test_a_parent_that_is_back_takes_nobody_along(make_lab: MakeLab) -> None:
    """A child says before its parent that its person is back; then nobody is seen any more: a person is asked."""
    site, courses, learners = site_of(12)
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false", "enabled: true")
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 80)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    assert {"marked_left": 3} == [written(await lab.sync()) for _ in range(2)][1]
    site.enrol(courses[0], learners[0])
    lab.commcare.fail_next("timeout")  # the student's, so that the enrolment waits
    grade = next(key for key in lab.store.cases("grade_item", courses[0]) if key.endswith(f"-{learners[0]}"))
    await lab.sync(60.0)
    told = {"enrolment": "rejoining", "grade_item": "active"}
    assert told == {
        name: next(
            case.status for case in lab.store.cases(name, courses[0]).values() if case.user_id == learners[0]
        )
        for name in told
    }
    lab.moodle.revoke("moodle/user:viewdetails")
    for _ in range(3):
        assert "marked_left" not in written(await lab.sync(60.0))
    assert "left" != lab.case(grade).properties["grade_status"]


async def test_who_is_back_in_a_course_is_not_gone_from_the_site(make_lab: MakeLab) -> None:
    """Its enrolment was not told so yet, and the course looks empty by then: the person is asked about there."""
    site, courses, learners = site_of(6, 12)
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    assert {"marked_left": 2} == [written(await lab.sync()) for _ in range(2)][1]
    site.enrol(courses[0], learners[0])
    assert {"updated": 1} == written(await lab.sync(60.0, mappings=("student",)))
    lab.commcare.fail_next("timeout")
    assert {"in_doubt": 1} == written(await lab.sync(60.0))
    site.courses[courses[0]]["groupmode"] = 1
    lab.moodle.revoke("moodle/site:accessallgroups")
    for _ in range(3):
        assert "marked_left" not in written(await lab.sync(60.0))
    assert "left" != moodle_status(lab, learners[0])
