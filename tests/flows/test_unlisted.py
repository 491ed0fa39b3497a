"""Courses that are not read any more, and those that Moodle does not even list: deleted, or out of sight."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from adaptors.moodle.unshowable import Budget
from flows.confirm import confirm
from flows.errors import UsageError
from flows.needs import needs
from flows.steps.select import NOT_ASKED, SELECTED
from flows.steps.unlisted import UNLISTED
from state import RowId
from tests.flows.test_deleted import beside
from tests.flows.test_departures import ENROL_LEFT
from tests.flows.test_sync import site_of
from tests.flows.test_tables import FILES, TAG, course_ids, names
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
DAY = 86_400.0


def status(lab: Lab, course: int, person: int) -> str:
    """Return what the enrolment of somebody says."""
    return str(lab.case(f"test-enrol-{course}-{person}").properties["enrolment_status"])


def remembered(lab: Lab) -> dict[str, dict[str, int]]:
    """Return the courses that the books know as not listed any more."""
    found: dict[str, dict[str, int]] = json.loads(lab.store.get(UNLISTED) or "{}")
    return found


def take_away(lab: Lab, *courses: int) -> dict[int, dict[str, object]]:
    """Let the account not see courses any more; the site goes on."""
    return {course: lab.site.courses.pop(course) for course in courses}


def question(course: int, people: int) -> str:
    """Return the question about a course that is not listed any more."""
    who = (
        "The one person who would be marked as left stays"
        if people == 1
        else f"The {people} people who would be marked as left stay"
    )
    return (
        f"Course {course} is not in Moodle's list any more: it was deleted, or the account may not see it. {who} "
        f"as before. If it was deleted: `moodle-commcare confirm-leavers {course} --count {people}`, or in "
        f"Prefect `approve`: kind leavers, course {course}, count {people}. If it is only hidden: give the "
        "account's role 'moodle/course:viewhiddencourses', or show it."
    )


# --- what is not read any more ----------------------------------------------------------------------------


async def test_courses_that_drop_out_are_named_once_and_why(make_lab: MakeLab) -> None:
    """Over, hidden, not chosen, not begun, not listed: one sentence when it changes, and none in the next hour."""
    site, courses, _ = site_of(*[2] * 12)
    lab = make_lab(site)
    lab.edit("project", 'shortname_like: "*"', 'shortname_like: "C*", only_running: true')
    assert [] == (await lab.sync()).messages
    over, hidden, moved, later, gone = courses[:5]
    site.courses[over]["enddate"] = int(lab.clock.now()) + 60
    for number in (hidden, courses[5]):
        site.courses[number]["visible"] = 0
    site.courses[moved]["shortname"] = "X1"
    site.courses[later]["startdate"] = int(lab.clock.now()) + 30 * 86_400
    take_away(lab, gone)
    result = await lab.sync()
    assert ("completed", {}) == (result.state, written(result))
    assert [
        f"Not read any more: courses {hidden}, {courses[5]} (hidden), course {later} (not begun yet), course "
        f"{moved} (not chosen any more), course {gone} (not in Moodle's list any more: deleted, or the account "
        f"may not see it), course {over} (over)."
    ] == beside(result)
    assert [question(gone, 2)] == (await lab.sync()).messages


async def test_a_run_for_some_courses_leaves_the_telling_to_the_next_one(make_lab: MakeLab) -> None:
    """Nobody looks at what a hint did."""
    site, courses, _ = site_of(2, 2, 2)
    lab = make_lab(site)
    await lab.sync()
    site.courses[courses[0]]["visible"] = 0
    assert [] == (await lab.sync(courses=(courses[1],), hinted=True)).messages
    assert {*courses} == {*json.loads(lab.store.get(SELECTED) or "[]")}
    assert [f"Not read any more: course {courses[0]} (hidden)."] == (await lab.sync(preview=True)).messages
    assert [f"Not read any more: course {courses[0]} (hidden)."] == beside(await lab.sync())
    assert courses[1:] == json.loads(lab.store.get(SELECTED) or "[]")


async def test_hidden_over_or_not_chosen_is_no_question(make_lab: MakeLab) -> None:
    """Only what the list lacks may have been deleted."""
    site, courses, _ = site_of(2, 2, 2, 2)
    lab = make_lab(site)
    lab.edit("project", 'shortname_like: "*"', 'shortname_like: "C*"')
    await lab.sync()
    site.courses[courses[0]]["visible"] = 0
    site.courses[courses[1]]["shortname"] = "X1"
    site.courses[courses[2]]["enddate"] = int(lab.clock.now()) + 60
    for _ in range(4):
        await lab.sync()
    assert ([], {}) == (needs(lab.store), remembered(lab))


# --- a course that the list lacks -------------------------------------------------------------------------


async def test_a_deleted_course_is_a_question_and_then_gone(make_lab: MakeLab) -> None:
    """From the second read on a person is asked; with the word enrolments say left, and its people are gone."""
    site, courses, learners = site_of(4, 20, 2, 2, 2, 2)
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    assert ("completed", []) == ((await lab.sync()).state, needs(lab.store))
    for _ in range(3):
        result = await lab.sync(DAY)
        assert ("waiting", [question(courses[0], 4)], {}) == (result.state, result.messages, written(result))
        assert {} == result.requests["commcare"]
    assert [question(courses[0], 4)] == [need.message for need in needs(lab.store)]
    with pytest.raises(UsageError):
        confirm(lab.store, courses[0], 3)
    confirm(lab.store, courses[0], 4)
    assert [] == needs(lab.store)
    assert {"marked_left": 4} == written(result := await lab.sync())
    assert ("completed", "left") == (result.state, status(lab, courses[0], learners[0]))
    assert (frozenset(), False) == (lab.store.member_ids(courses[0]), courses[0] in lab.store.courses())
    assert {"marked_left": 4} == written(await lab.sync())  # nothing protects them on the site any more
    assert "left" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    assert ("completed", [], {}, {}) == (
        (quiet := await lab.sync()).state,
        quiet.messages,
        quiet.requests["commcare"],
        remembered(lab),
    )


async def test_a_case_with_a_key_of_now_is_asked_about(make_lab: MakeLab) -> None:
    """Books of before may have set it aside, and then the old text was put back: it is a case like the others."""
    site, courses, learners = site_of(4, 20, 2, 2, 2, 2)
    lab = make_lab(site)
    await lab.sync()
    lab.store.settle({RowId("enrolment", courses[0], f"test-enrol-{courses[0]}-{learners[0]}"): "replaced"})
    site.delete_course(courses[0])
    for _ in range(3):
        result = await lab.sync(DAY)
    assert ([question(courses[0], 4)], "active") == (result.messages, status(lab, courses[0], learners[0]))
    confirm(lab.store, courses[0], 4)
    assert {"marked_left": 4} == written(await lab.sync())


async def test_one_person_alone_is_asked_about_as_well(make_lab: MakeLab) -> None:
    """However few they are, nobody goes by itself: nobody knows whether the course is not just out of sight."""
    site, courses, learners = site_of(1, *[40] * 5)
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    for _ in range(5):
        result = await lab.sync(DAY)
    assert ([question(courses[0], 1)], "active") == (result.messages, status(lab, courses[0], learners[0]))


async def test_the_count_is_of_those_who_are_marked(make_lab: MakeLab) -> None:
    """A teacher without a case and an account that was deleted are no part of it; who was just missing is."""
    site, courses, learners = site_of(5, 20, 2, 2, 2, 2)
    site.enrol(courses[0], site.add_user("Tea", "Cher"), ("editingteacher",))
    lab = make_lab(site)
    await lab.sync()
    site.unenrol(courses[0], learners[0])
    await lab.sync()
    away = take_away(lab, courses[0])
    for _ in range(2):
        result = await lab.sync()
    assert [question(courses[0], 5)] == result.messages
    site.courses.update(away)
    site.delete_user(learners[1])
    away = take_away(lab, courses[0])
    for _ in range(4):
        result = await lab.sync(DAY)
    assert ("left", [question(courses[0], 4)]) == (status(lab, courses[0], learners[1]), result.messages)
    with pytest.raises(UsageError):
        confirm(lab.store, courses[0], 5)
    confirm(lab.store, courses[0], 4)
    # The fifth is the case of the site of the one who was missing: he is in no other course.
    assert {"marked_left": 4 + 1} == written(await lab.sync())
    assert ({"left"}, []) == ({status(lab, courses[0], learner) for learner in learners[:5]}, needs(lab.store))


async def test_who_is_elsewhere_as_well_is_marked_only_here(make_lab: MakeLab) -> None:
    """Somebody with a case of the site alone counts where the course is all that keeps it, and not otherwise."""
    site, courses, learners = site_of(4, 20, 20, 2, 2, 2, 2, 2)
    site.enrol(courses[0], learners[4], ("editingteacher",))  # a learner of the second course who teaches here
    lab = make_lab(site)
    await lab.sync()
    for course in (courses[0], courses[2]):
        site.delete_course(course)
    for _ in range(2):
        await lab.sync()
    assert [(courses[0], 4), (courses[2], 20)] == [(need.course, need.count) for need in needs(lab.store)]
    confirm(lab.store, courses[0], 4)
    assert {"marked_left": 4} == written(await lab.sync())
    assert "active" == status(lab, courses[1], learners[4])


async def test_a_course_that_comes_back_takes_its_question_along(make_lab: MakeLab) -> None:
    """Before the word nothing has happened; who is missing then has been missing from no read of the course."""
    site, courses, learners = site_of(10, 10, 10, 10, 10, 10)
    lab = make_lab(site)
    await lab.sync()
    away = take_away(lab, courses[0])
    for _ in range(3):
        await lab.sync()
    site.courses.update(away)
    site.unenrol(courses[0], learners[0])
    result = await lab.sync()
    assert ("completed", [], {}, [], {}) == (
        result.state,
        result.messages,
        written(result),
        needs(lab.store),
        remembered(lab),
    )
    assert "active" == status(lab, courses[0], learners[0])
    await lab.sync()
    assert "left" == status(lab, courses[0], learners[0])


@pytest.mark.parametrize("visible", [1, 0])
async def test_a_word_is_void_when_the_course_is_back(make_lab: MakeLab, visible: int) -> None:
    """It was said of a course that was away: when it goes once more, somebody is asked once more."""
    site, courses, learners = site_of(4, 20)
    lab = make_lab(site)
    await lab.sync()
    away = take_away(lab, courses[0])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 4)
    away[courses[0]]["visible"] = visible
    site.courses.update(away)
    await lab.sync()
    assert ([], "active") == (needs(lab.store), status(lab, courses[0], learners[0]))
    take_away(lab, courses[0])
    for _ in range(2):
        result = await lab.sync()
    assert ([(courses[0], 4)], {}) == ([(need.course, need.count) for need in needs(lab.store)], written(result))


async def test_people_of_a_course_that_comes_back_after_the_word_return(make_lab: MakeLab) -> None:
    """As whoever returns."""
    site, courses, learners = site_of(4, 20)
    lab = make_lab(site)
    await lab.sync()
    away = take_away(lab, courses[0])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 4)
    for _ in range(2):
        await lab.sync()
    assert "left" == status(lab, courses[0], learners[0])
    site.courses.update(away)
    assert {"updated": 8} == written(await lab.sync())
    assert ("active", {}) == (status(lab, courses[0], learners[0]), remembered(lab))
    assert {} == written(await lab.sync())


@pytest.mark.parametrize("fault", ["timeout", "refused"])
async def test_a_word_holds_until_commcare_has_heard_it(make_lab: MakeLab, fault: str) -> None:
    """Nobody is asked twice when the answer is lost."""
    site, courses, learners = site_of(4, 20)
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 4)
    lab.commcare.fail_next(
        "429" if fault == "refused" else fault, times=8 if fault == "refused" else 1, where="write"
    )
    await lab.sync()
    lab.commcare.faults.clear()
    assert [] == needs(lab.store)
    for _ in range(2):
        assert courses[0] not in {need.course for need in needs(lab.store)}
        await lab.sync()
    assert ("left", {}) == (status(lab, courses[0], learners[0]), remembered(lab))


async def test_a_run_for_another_course_keeps_question_and_word(make_lab: MakeLab) -> None:
    """It has not looked at them."""
    site, courses, _ = site_of(4, 20, 20)
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    await lab.sync()
    await lab.sync(courses=(courses[1],), hinted=True)  # no read that counts
    assert [] == needs(lab.store)
    await lab.sync()
    await lab.sync(courses=(courses[1],), hinted=True)
    assert [(courses[0], 4)] == [(need.course, need.count) for need in needs(lab.store)]
    confirm(lab.store, courses[0], 4)
    await lab.sync(courses=(courses[1],), hinted=True)
    assert {"marked_left": 4} == written(await lab.sync())


async def test_a_course_that_was_over_when_it_was_deleted(make_lab: MakeLab) -> None:
    """Its enrolments go on saying that it is over; only its people are asked about, and forgotten."""
    site, courses, learners = site_of(4, 20)
    lab = make_lab(site)
    lab.edit("enrolment", ENROL_LEFT, f"{ENROL_LEFT}\nwhen_course_ends: {{set: {{enrolment_status: over}}}}")
    await lab.sync()
    site.courses[courses[0]]["enddate"] = int(lab.clock.now()) + 60
    await lab.sync()
    site.delete_course(courses[0])
    for _ in range(2):
        result = await lab.sync()
    assert [question(courses[0], 4)] == result.messages
    confirm(lab.store, courses[0], 4)
    assert ({}, "over") == (written(await lab.sync()), status(lab, courses[0], learners[0]))
    assert {"marked_left": 4} == written(await lab.sync())
    assert "left" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    assert "over" == status(lab, courses[0], learners[0])


async def test_a_project_of_people_only(make_lab: MakeLab) -> None:
    """No case is of a course there; a course that was deleted keeps its people only until somebody has said so."""
    site, courses, _ = site_of(4, 20)
    lab = make_lab(site, student=(SHIPPED / "student.yaml").read_text("utf-8"))
    await lab.sync()
    site.delete_course(courses[0])
    for _ in range(3):
        result = await lab.sync()
    assert [question(courses[0], 4)] == [text for text in result.messages if "confirm" in text]
    confirm(lab.store, courses[0], 4)
    assert {} == written(await lab.sync())
    assert {"marked_left": 4} == written(await lab.sync())


async def test_a_preview_asks_nothing_and_writes_nothing_down(make_lab: MakeLab) -> None:
    """Not even in its tenth time."""
    site, courses, _ = site_of(4, 20)
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    for _ in range(3):
        await lab.sync(preview=True)
    assert ([], {}) == (needs(lab.store), remembered(lab))


async def test_books_from_before_know_what_was_read(make_lab: MakeLab) -> None:
    """A course that was deleted long ago, when nobody asked, is asked about."""
    site, courses, _ = site_of(4, 20)
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    lab.store.put(SELECTED, json.dumps(courses[1:]))
    assert [] == beside(await lab.sync())
    assert [question(courses[0], 4)] == (await lab.sync()).messages


# --- many at once, and the lookup tables ------------------------------------------------------------------


def campus(make_lab: MakeLab, courses: int) -> Lab:
    """Return a world with so many courses, three learners in each, and the table of the courses."""
    site, _, _ = site_of(*[3] * courses)
    return make_lab(site, **FILES)


async def test_many_at_once_keep_their_rows(make_lab: MakeLab) -> None:
    """Seven of ten courses are not listed any more: the run is degraded and says why, and no row is taken away."""
    lab = campus(make_lab, 10)
    await lab.sync()
    away = take_away(lab, *course_ids(lab)[:7])
    first = await lab.sync()
    said = (
        f"7 of 10 courses are not in Moodle's list any more ({', '.join(map(str, sorted(away)))}): deleted, or "
        "the account may not see them ('moodle/course:viewhiddencourses'). No row of a lookup table is taken "
        "away until that is clear."
    )
    asks = " The next run asks about what was deleted."
    assert ("degraded", [said + asks], {}) == (first.state, beside(first), first.tables)
    for _ in range(3):
        result = await lab.sync()
        assert ("waiting", said, {}, 10) == (result.state, result.messages[0], result.tables, len(names(lab)))
        assert {} == result.requests["commcare"]
    assert {} == (await lab.sync(preview=True)).tables
    lab.site.courses.update(away)
    for _ in range(3):
        back = await lab.sync()
        assert ("completed", [], {}, 10) == (back.state, back.messages, back.tables, len(names(lab)))


async def test_rows_go_when_somebody_said_so(make_lab: MakeLab) -> None:
    """With the words about the courses the rows go as ever: after two reads."""
    lab = campus(make_lab, 10)
    await lab.sync()
    for course in course_ids(lab)[:7]:
        lab.site.delete_course(course)
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, None, 21)
    first, second = await lab.sync(), await lab.sync()
    assert ({}, {TAG: {"added": 0, "changed": 0, "removed": 7}}) == (first.tables, second.tables)
    assert ([], 3) == ([text for text in second.messages if "list any more" in text], len(names(lab)))


async def test_few_of_many_lose_their_rows_as_ever(make_lab: MakeLab) -> None:
    """One of ten is no alarm."""
    lab = campus(make_lab, 10)
    await lab.sync()
    lab.site.delete_course(course_ids(lab)[0])
    first, second = await lab.sync(), await lab.sync()
    assert ("completed", {}) == (first.state, first.tables)
    assert ("waiting", 9) == (second.state, len(names(lab)))


async def test_an_edit_of_project_yaml_takes_rows_away_however_many(make_lab: MakeLab) -> None:
    """A person chose so."""
    lab = campus(make_lab, 10)
    await lab.sync()
    lab.edit("project", 'shortname_like: "*"', 'shortname_like: "C1"')
    for _ in range(2):
        result = await lab.sync()
    assert ("completed", 1) == (result.state, len(names(lab)))


async def test_courses_without_people_are_asked_about_when_many_vanish(make_lab: MakeLab) -> None:
    """Nothing is decided about anybody then, but the rows of a table wait for it."""
    lab = campus(make_lab, 3)
    empty = [lab.site.add_course(f"E{number}", f"Empty {number}") for number in range(3)]
    await lab.sync()
    for course in empty:
        lab.site.delete_course(course)
    for _ in range(2):
        await lab.sync()
    assert [(course, 0) for course in empty] == [(need.course, need.count) for need in needs(lab.store)]
    assert "see it. Nobody would be marked as left. If it was deleted: " in needs(lab.store)[0].message
    confirm(lab.store, None, 0)
    for _ in range(2):
        result = await lab.sync()
    assert ("completed", 3, {}) == (result.state, len(names(lab)), remembered(lab))


@pytest.mark.parametrize("courses", [3, 9])
async def test_a_course_where_nobody_has_a_case_is_no_question(make_lab: MakeLab, courses: int) -> None:
    """Only a teacher was in it, be it one of few or of many: the run says once that it is not read any more."""
    site, numbers, learners = site_of(*[3] * courses)
    teacher, alone = site.add_user("Grace", "Wekesa"), site.add_course("T1", "Teachers only")
    site.enrol(alone, teacher, ("editingteacher",))
    lab = make_lab(site)
    await lab.sync()
    took = take_away(lab, alone)
    first = await lab.sync()
    assert any("not in Moodle's list any more" in message for message in first.messages)
    asks = "The next run asks about it, where somebody has a case."
    assert (courses == 3) == any(message.endswith(asks) for message in first.messages)
    for _ in range(3):
        result = await lab.sync()
        assert ("completed", [], [], {}) == (result.state, result.messages, needs(lab.store), written(result))
    assert frozenset({teacher}) == lab.store.member_ids(alone)
    # Where somebody with a case is left alone in it, a person is asked as ever.
    site.courses.update(took)
    site.enrol(alone, learners[0])
    lab.edit("enrolment", "language: 1\n", "language: 1\nenabled: false\n")
    await lab.sync()
    take_away(lab, alone)
    for _ in range(2):
        await lab.sync()
    assert [] == needs(lab.store)
    site.unenrol(numbers[0], learners[0])
    for _ in range(2):
        await lab.sync()
    assert [(alone, 1)] == [(need.course, need.count) for need in needs(lab.store)]


async def test_tables_alone_heed_the_list_as_well(make_lab: MakeLab) -> None:
    """Where intervals hold up everything else, a run that only keeps an edited table takes no row away either."""
    lab = campus(make_lab, 10)
    (lab.mappings / "project.yaml").write_text(PROJECT + "intervals: {people: 48}\n")
    await lab.sync()
    take_away(lab, *course_ids(lab)[:7])
    for name in ("source: shortname", "source: fullname", "source: shortname"):
        text = (lab.mappings / "courses.table.yaml").read_text().partition("\ntests:")[0]
        old = "source: fullname" if name.endswith("shortname") else "source: shortname"
        (lab.mappings / "courses.table.yaml").write_text(text.replace(old, name) + "\n")
        result = await lab.sync()
    assert (["student"], "degraded", 10) == (result.not_due, result.state, len(names(lab)))


# --- while Moodle refuses its list ------------------------------------------------------------------------


@pytest.mark.parametrize("agrees", [False, True])
async def test_a_deleted_course_that_is_not_asked_for(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    """Question and word stay where the search among the courses ends before it; the word counts after that."""
    site, courses, learners = site_of(2, 2, 2)
    teacher = site.add_user("T", "Trainer")
    site.enrol(courses[1], teacher, ("editingteacher",))
    lab = make_lab(site)
    await lab.sync()
    site.delete_course(courses[0])
    for _ in range(2):
        await lab.sync()
    before = [] if agrees else [("leavers", courses[0])]
    if agrees:
        confirm(lab.store, courses[0], 2)
    known = remembered(lab)
    site.update_user(teacher, lastname="<Trainer")
    monkeypatch.setattr("adaptors.moodle.streams.Budget", lambda: Budget(1))
    for _ in range(2):
        result = await lab.sync()
        assert ({}, NOT_ASKED) == (written(result), result.courses[courses[1]].reason)
        assert agrees is (question(courses[0], 2) not in result.messages)
        assert (before, known) == ([(need.kind, need.course) for need in needs(lab.store)], remembered(lab))
    monkeypatch.undo()
    site.update_user(teacher, lastname="Trainer")
    marked = [written(await lab.sync()).get("marked_left", 0) for _ in range(3)]
    assert ([2, 2, 0] if agrees else [0, 0, 0]) == marked
    assert before == [(need.kind, need.course) for need in needs(lab.store)]
    assert agrees is ("left" == status(lab, courses[0], learners[0]))


async def test_rows_of_courses_that_are_not_asked_for(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many are lacking at once, their rows of a lookup table wait for the answers all the same."""
    lab = campus(make_lab, 5)
    courses = sorted(lab.site.courses)[1:]
    lab.mappings.joinpath("project.yaml").write_text(PROJECT.replace('"*"', '"C*"'), "utf-8")
    teacher = lab.site.add_user("T", "Trainer")
    lab.site.enrol(lab.site.add_course("X1", "Of others"), teacher, ("editingteacher",))
    await lab.sync()
    before = names(lab)
    take_away(lab, *courses[:2])
    for _ in range(2):
        await lab.sync()
    lab.site.update_user(teacher, lastname="<Trainer")
    monkeypatch.setattr("adaptors.moodle.streams.Budget", lambda: Budget(3))
    for _ in range(3):
        result = await lab.sync(full=True)
        assert {} == {number: one for number, one in result.courses.items() if one.state == "failed"}
    assert before == names(lab)
    assert {*courses[:2]} == {need.course for need in needs(lab.store)}
