"""Questions and words about people: only a run that looked at a mapping, and there, ends what is about it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flows.confirm import confirm, confirm_blanks, confirm_withdrawn
from flows.needs import CONFIRMED_BLANKS, CONFIRMED_LEAVERS, CONFIRMED_WITHDRAWN, REFUSED_LEAVERS, needs
from tests.flows.test_departures import consenting, withdrawn
from tests.flows.test_sync import site_of
from tests.flows.test_unsure import courses_of
from tests.flows.test_words import go, in_kisumu, left, lose, without
from tests.flows.worlds import PROJECT, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
DAY = 24 * 3600.0


def asked(lab: Lab) -> list[tuple[str, int, int]]:
    """Return what waits for a person: kind, course and people."""
    return [(one.kind, one.course, one.count) for one in needs(lab.store)]


def refuse(lab: Lab, people: list[int]) -> None:
    """Let people take their consent back."""
    for person in people:
        lab.site.update_user(person, profile={"consent": "no"})


def agree(lab: Lab, fact: str, place: int, mapping: str, people: int) -> None:
    """Write a person's word down, and nothing else: the command has the next run read everything besides."""
    lab.store.put(fact, json.dumps({str(place): {mapping: people}}))


def cities(lab: Lab, people: list[int]) -> list[str]:
    """Return the cities in the cases of people."""
    return [lab.case(f"test-user-{person}").properties["city"] for person in people]


# --- a run that looks elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize("said_before", [True, False])
async def test_a_hint_about_another_course_ends_no_question_about_values(
    make_lab: MakeLab, said_before: bool
) -> None:
    """Nine lose their city; a run for a course that none of them is in changes neither question nor word."""
    site, courses, learners = site_of(10, 3)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    lose(lab, learners[:9])
    await lab.sync()
    if said_before:
        confirm_blanks(lab.store, "student", "city", 9)
    hinted = await lab.sync(courses=(courses[1],), mappings=("student", "enrolment"), hinted=True)
    if not said_before:
        confirm_blanks(lab.store, "student", "city", 9)
    result = await lab.sync()
    assert ("completed", "completed", [*learners[:9]]) == (hinted.state, result.state, without(lab, learners))


async def test_a_word_about_values_is_of_the_course_in_which_they_are_lost(make_lab: MakeLab) -> None:
    """Of a mapping of enrolments as well: the run for another course leaves it, that for the course uses it."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:\n", "\nproperties:\n  city: {source: user.city, personal: true}\n")
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    await lab.sync()
    lose(lab, learners[:9])
    await lab.sync(mappings=("enrolment",))
    confirm_blanks(lab.store, "enrolment", "city", 18)
    for course, more in ((courses[0], [str(courses[1])]), (courses[1], [])):
        result = await lab.sync(courses=(course,), mappings=("enrolment",))
        word = json.loads(lab.store.get(CONFIRMED_BLANKS) or "{}").get("enrolment city", {})
        assert ({"updated": 9}, more) == (written(result), [*word])


@pytest.mark.parametrize("said_before", [True, False])
async def test_another_mapping_of_the_course_ends_no_question_about_leavers(
    make_lab: MakeLab, said_before: bool
) -> None:
    """A run for the graded activities does not look at the enrolments that are missing."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    lab.edit("grade_item", "\nenabled: false\n", "\n")
    await lab.sync()
    go(lab, courses[0], learners[:5])
    for _ in range(2):
        await lab.sync()
    if said_before:
        confirm(lab.store, courses[0], 5)
    await lab.sync(mappings=("grade_item",))
    if not said_before:
        confirm(lab.store, courses[0], 5)
    assert {"marked_left": 5} == written(await lab.sync())
    assert ([*learners[:5]], []) == (left(lab, courses[0], learners), asked(lab))


async def test_a_run_of_an_interval_ends_no_question_about_who_is_kept_out(make_lab: MakeLab) -> None:
    """The run of the hour reads the list of courses only, and the people come once a day."""
    lab, learners = await consenting(make_lab)
    lab.edit("course", "\nenabled: false\n", "\n")
    project = lab.mappings / "project.yaml"
    project.write_text(f"{PROJECT}intervals: {{people: 20, enrolments: 20, grades: 20}}\n")
    await lab.sync(full=True)
    refuse(lab, learners[:5])
    await lab.sync(full=True)
    agree(lab, CONFIRMED_WITHDRAWN, 0, "student", 5)
    hourly = await lab.sync()
    assert ("completed", ["enrolment", "student"]) == (hourly.state, sorted(hourly.not_due))
    result = await lab.sync(later=DAY)
    assert ("completed", [""] * 5) == (result.state, cities(lab, learners[:5]))


async def test_a_run_for_a_course_asks_no_other_number_about_the_site(make_lab: MakeLab) -> None:
    """It sees some of those who are kept out: the number that was asked about stays the one to give."""
    lab, learners = await consenting(make_lab)
    course = lab.site.add_course("Other", "Other")
    for learner in learners[:4]:
        lab.site.enrol(course, learner)
    await lab.sync()
    refuse(lab, learners[:6])
    await lab.sync()
    result = await lab.sync(courses=(course,))
    assert ("waiting", [("withdrawn", 0, 6)]) == (result.state, asked(lab))
    assert any("--count 6" in message for message in result.messages)
    confirm_withdrawn(lab.store, 0, 6)
    result = await lab.sync(courses=(course,))  # it cannot say whether they are six, and leaves the word
    assert ("completed", 0, []) == (result.state, withdrawn(result), asked(lab))
    result = await lab.sync()
    assert ("completed", [""] * 6) == (result.state, cities(lab, learners[:6]))


# --- what nobody has to answer any more -------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        ("project", 'shortname_like: "*"', 'shortname_like: "C1"'),
        ("enrolment", "source: enrolments\n", "source: enrolments\nenabled: false\n"),
    ],
)
async def test_what_is_read_no_more_waits_for_nobody(make_lab: MakeLab, edit: tuple[str, str, str]) -> None:
    """What was asked goes when its course is left out of the selection, or its mapping is switched off."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:5])
    for _ in range(2):
        await lab.sync()
    assert [("leavers", courses[0], 5)] == asked(lab)
    lab.edit(*edit)
    await lab.sync()
    assert [] == asked(lab)


@pytest.mark.parametrize("hidden", [1, 2])
async def test_a_word_holds_until_its_course_is_read(make_lab: MakeLab, hidden: int) -> None:
    """Moodle hides the course, or all of them, for an hour: the word counts when it is there again."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:5])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], 5)
    for visible in (0, 1):
        for course in courses[:hidden]:
            site.courses[course]["visible"] = visible
        result = await lab.sync()
    assert ({"marked_left": 5}, []) == (written(result), asked(lab))


async def test_a_word_about_the_site_holds_through_the_holidays(make_lab: MakeLab) -> None:
    """While all courses are over nobody is read: the question stays, and its answer counts when one runs again."""
    lab, learners = await consenting(make_lab)
    (course,) = courses_of(lab)
    refuse(lab, learners[:6])
    await lab.sync()
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await lab.sync()
    assert [("withdrawn", 0, 6)] == asked(lab)
    confirm_withdrawn(lab.store, 0, 6)
    await lab.sync()
    lab.site.courses[course]["enddate"] = 0
    result = await lab.sync()
    assert (6, "completed", []) == (result.of("student").withdrawn, result.state, asked(lab))


# --- nobody is asked twice ---------------------------------------------------------------------------------


async def test_the_children_of_the_withdrawn_in_a_later_run(make_lab: MakeLab) -> None:
    """Engagement is read once a day: the word about the people was about their engagement as well."""
    lab, learners = await consenting(make_lab)
    lab.edit("engagement", "enabled: false\n", "")
    await lab.sync()
    refuse(lab, learners[:4])
    await lab.sync()
    agree(lab, CONFIRMED_WITHDRAWN, 0, "student", 4)
    results = [await lab.sync(), await lab.sync(later=DAY)]
    assert (4, "completed", 4) == (
        results[0].of("student").withdrawn,
        results[1].state,
        sum(one.of("engagement").withdrawn for one in results),
    )


async def test_the_children_of_the_withdrawn_in_another_course(make_lab: MakeLab) -> None:
    """People were withdrawn by a run for one course: those of the others follow with their enrolments."""
    lab, learners = await consenting(make_lab)
    other = lab.site.add_course("Other", "Other")
    for learner in learners:
        lab.site.enrol(other, learner)
    lab.edit("enrolment", "when_left:", "when_excluded: {set: {enrolment_status: withdrawn}}\nwhen_left:")
    await lab.sync()
    refuse(lab, learners[:4])
    await lab.sync()
    confirm_withdrawn(lab.store, 0, 4)
    first = next(number for number in lab.site.courses if number != other and lab.site.members_of(number))
    results = [await lab.sync(courses=(first,)), await lab.sync()]
    assert (4, "completed", 8) == (
        results[0].of("student").withdrawn,
        results[1].state,
        sum(one.of("enrolment").withdrawn for one in results),
    )


async def test_the_children_of_those_who_left(make_lab: MakeLab) -> None:
    """Engagement is missed a day later: its people have left by then, with a person's word."""
    site, courses, learners = site_of(10)
    lab = make_lab(site)
    lab.edit("engagement", "enabled: false\n", "")
    await lab.sync()
    go(lab, courses[0], learners[:5])
    for _ in range(2):
        await lab.sync()
    for place, mapping in ((courses[0], "enrolment"), (0, "student")):
        agree(lab, CONFIRMED_LEAVERS, place, mapping, 5)
        await lab.sync()
    results = [await lab.sync(later=DAY) for _ in range(2)]
    assert (["completed"] * 2, 5) == ([one.state for one in results], results[1].of("engagement").marked_left)


async def test_a_word_about_the_parents_is_about_their_children(make_lab: MakeLab) -> None:
    """Where both are missed in one run and the word names the people only, their engagement goes along."""
    site, courses, learners = site_of(10)
    lab = make_lab(site)
    lab.edit("engagement", "enabled: false\n", "")
    lab.edit("enrolment", "source: enrolments\n", "source: enrolments\nenabled: false\n")
    await lab.sync()
    go(lab, courses[0], learners[:5])
    for _ in range(2):
        await lab.sync(full=True)
    assert [("leavers", 0, 5)] == asked(lab)
    agree(lab, CONFIRMED_LEAVERS, 0, "student", 5)
    result = await lab.sync(full=True)
    assert (5, 5, []) == (result.of("student").marked_left, result.of("engagement").marked_left, asked(lab))


# --- a word is used once -----------------------------------------------------------------------------------


async def test_a_word_that_a_run_for_a_course_used_is_of_no_use_for_others(make_lab: MakeLab) -> None:
    """Four are withdrawn by a run for their course; four others wait for a word of their own."""
    lab, learners = await consenting(make_lab)
    course = next(number for number in lab.site.courses if lab.site.members_of(number))
    refuse(lab, learners[:4])
    await lab.sync()
    confirm_withdrawn(lab.store, 0, 4)
    lab.site.enrol(lab.site.add_course("Other", "Other"), learners[9])
    assert 4 == (await lab.sync(courses=(course,))).of("student").withdrawn
    assert ({}, []) == (json.loads(lab.store.get(CONFIRMED_WITHDRAWN) or "{}"), asked(lab))
    refuse(lab, learners[4:8])
    result = await lab.sync()
    assert ("waiting", 0, [("withdrawn", 0, 4)]) == (result.state, withdrawn(result), asked(lab))


# --- books of an older version -----------------------------------------------------------------------------


async def test_a_question_of_an_older_version_is_answered_and_used(make_lab: MakeLab) -> None:
    """One number for a course without its mappings: the answer holds all the same, once."""
    site, courses, learners = site_of(10, 10, shared=True)
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:5])
    for _ in range(2):
        await lab.sync()
    lab.store.put(REFUSED_LEAVERS, json.dumps({str(courses[0]): 5}))
    assert [("leavers", courses[0], 5)] == asked(lab)
    confirm(lab.store, courses[0], 5)
    assert {"marked_left": 5} == written(await lab.sync())
    assert ({}, []) == (json.loads(lab.store.get(CONFIRMED_LEAVERS) or "{}"), asked(lab))


async def test_a_word_about_values_of_an_older_version(make_lab: MakeLab) -> None:
    """One number without its courses: it is used up, and what is left of it ends with the run."""
    lab, learners = await in_kisumu(make_lab, 20)
    lose(lab, learners[:10])
    lab.store.put(CONFIRMED_BLANKS, json.dumps({"student city": 12}))
    await lab.sync()
    assert ([*learners[:10]], {}) == (
        without(lab, learners),
        json.loads(lab.store.get(CONFIRMED_BLANKS) or "{}"),
    )
