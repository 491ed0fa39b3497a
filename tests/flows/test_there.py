"""Many cases of which the books know too little are looked up at once: requests are scarce on CommCare's side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.steps.there import FEW
from tests.flows.test_edits import delete_item
from tests.flows.test_push import doubles
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
PEOPLE = FEW + 10
PARKED = '\nparked_owner: {group: "Gone"}\n'


async def many(make_lab: MakeLab) -> tuple[Lab, list[int], list[int]]:
    """Return a lab after its first run, learners, and grade items; cases of students who leave are parked."""
    site, courses, learners = site_of(PEOPLE)
    items = [site.set_grade_item(courses[0], name) for name in ("Quiz", "Essay")]
    for item in items:
        for learner in learners:
            site.grade(item, learner, 80)
    lab = make_lab(site, project=PROJECT + PARKED)
    lab.project.add_group("Gone")
    left = "when_left: {set: {moodle_status: left}"
    lab.edit("student", left, f"{left}, park: true")
    await lab.sync()
    supervised = lab.case(f"test-user-{learners[0]}")
    lab.project.move_owner(supervised.case_id, "somebody-else")
    return lab, learners, items


def forget(lab: Lab, how: str) -> None:
    """Have the books know less than they did."""
    if how == "lost":
        lab.lose_books()
        for name in ("student", "enrolment"):
            lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
        return
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    lab.restore(backup)


@pytest.mark.parametrize("how", ["lost", "put back"])
async def test_requests_do_not_grow_with_cases(make_lab: MakeLab, how: str) -> None:
    """After a restore, or with lost books, no case costs a request of its own, and nothing of others' is lost."""
    lab, learners, items = await many(make_lab)
    delete_item(lab, items[0])
    forget(lab, how)
    result = await lab.sync()
    assert "completed" == result.state
    assert result.requests["commcare"]["get"] <= 10
    for _ in range(3):
        await lab.sync()
    case = lab.case(f"test-enrol-2-{learners[1]}")
    assert ("", "80") == tuple(case.properties[f"grade_{item}"] for item in items)
    owners = {lab.case(f"test-user-{learner}").owner_id for learner in learners[:2]}
    assert (2, True, {}) == (len(owners), "somebody-else" in owners, written(await lab.sync()))
    assert 2 * PEOPLE == len(lab.project.cases)


@pytest.mark.parametrize("how", ["lost", "put back"])
async def test_requests_do_not_grow_with_courses_planned_at_once(make_lab: MakeLab, how: str) -> None:
    """Several courses are read at a time: what was looked up for one is not forgotten when another is planned."""
    site, courses, _ = site_of(*([2 * PEOPLE] * 4))
    for course in courses:
        item = site.set_grade_item(course, "Quiz")
        for learner in site.members_of(course):
            site.grade(item, learner, 80)
    lab = make_lab(site)
    await lab.sync()
    forget(lab, how)
    result = await lab.sync()
    assert "completed" == result.state
    assert result.requests["commcare"]["get"] <= 2 * (1 + len(courses))


@pytest.mark.parametrize("how", ["lost", "put back"])
async def test_a_case_that_the_search_lacks_is_asked_for(make_lab: MakeLab, how: str) -> None:
    """What somebody deleted is not found in the search, nor by its id: no other suffers."""
    lab, learners, _ = await many(make_lab)
    lab.project.delete_case(lab.case(f"test-enrol-2-{learners[2]}").case_id)
    forget(lab, how)
    for _ in range(2):
        result = await lab.sync()
    assert PEOPLE - 1 == len(lab.project.of_type("enrolment"))
    assert written(result).keys() <= {"held_back"}


async def test_what_the_search_lacks_keeps_its_owner(make_lab: MakeLab) -> None:
    """Many cases whose ids the books never heard, and a search behind: a supervisor's move is not undone."""
    site, _, learners = site_of(PEOPLE)
    lab = make_lab(site, project=PROJECT + PARKED)
    lab.project.add_group("Gone")
    left = "when_left: {set: {moodle_status: left}"
    lab.edit("student", left, f"{left}, park: true")
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    moved = lab.case(f"test-user-{learners[0]}")
    lab.project.move_owner(moved.case_id, "somebody-else")
    lab.project.search.remove(moved.case_id)
    for _ in range(3):
        await lab.sync()
    assert ("somebody-else", PEOPLE) == (moved.owner_id, len(lab.project.of_type("student")))


async def test_what_never_arrived_costs_a_question_for_each_request(make_lab: MakeLab) -> None:
    """Three requests that CommCare did not take: one case of each is asked for, and not all 250."""
    site, _, _ = site_of(250)
    lab = make_lab(site)
    lab.commcare.fail_next("503", times=3)
    await lab.sync(mappings=("student",))
    result = await lab.sync(mappings=("student",))
    assert (1 + 1 + 3, 250) == (result.requests["commcare"]["get"], result.of("student").created)
    assert ([], 250) == (doubles(lab), len(lab.project.of_type("student")))


@pytest.mark.parametrize("seen", [0, 1])
async def test_what_arrived_and_the_search_lacks_keeps_its_owner(make_lab: MakeLab, seen: int) -> None:
    """Of three requests one arrived, and the search shows none or one of it: no owner is set anew."""
    site, _, _ = site_of(250)
    lab = make_lab(site)
    lab.commcare.fail_next("503")
    lab.commcare.drop_reply_after_commit()
    lab.commcare.fail_next("503")
    await lab.sync(mappings=("student",))
    arrived = [*lab.project.cases.values()]
    for case in arrived:
        lab.project.move_owner(case.case_id, "somebody-else")
    for case in arrived[seen:]:
        lab.project.search.remove(case.case_id)
    result = await lab.sync(mappings=("student",))
    assert ({"somebody-else"}, []) == ({case.owner_id for case in arrived}, doubles(lab))
    assert (50, 250, True) == (
        len(arrived),
        len(lab.project.of_type("student")),
        result.requests["commcare"]["get"] <= 2 + 1 + 2 + 50,  # two looks of a first load
    )


@pytest.mark.parametrize(("page", "listed", "asked"), [(5000, 2, 1), (10, 1, 1 + 15)])
async def test_a_type_is_listed_where_that_takes_fewer_requests(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, page: int, listed: int, asked: int
) -> None:
    """Fifteen whose answer was lost: asked for one by one where their type has more pages than that."""
    lab, _, _ = await many(make_lab)
    monkeypatch.setattr("flows.steps.doubles.PAGE", page)
    for number in range(200):
        lab.project.add_case("student", f"Theirs {number}", owner_id="x", external_id=f"other-{number}")
    for number in range(15):
        lab.site.enrol(2, lab.site.add_user("New", f"Comer{number}"))
    lab.commcare.drop_reply_after_commit()
    await lab.sync(mappings=("student",))
    result = await lab.sync(mappings=("student",))
    found = result.requests["commcare"]
    asked += 1  # what they hold, before anything of them is emptied
    assert (listed, asked, []) == (found.get("list", 0), found["get"], doubles(lab))


async def test_a_few_newcomers_are_asked_for_one_by_one(make_lab: MakeLab) -> None:
    """Eight whose answer was lost: nothing is listed for them."""
    lab, _, _ = await many(make_lab)
    for number in range(8):
        lab.site.enrol(2, lab.site.add_user("New", f"Comer{number}"))
    lab.commcare.drop_reply_after_commit()
    await lab.sync(mappings=("student",))
    found = (await lab.sync(mappings=("student",))).requests["commcare"]
    assert (0, 8 + 1, []) == (found.get("list", 0), found["get"], doubles(lab))


@pytest.mark.parametrize("how", ["lost", "in doubt", "kept out"])
async def test_two_cases_with_one_key_among_many(make_lab: MakeLab, how: str) -> None:
    """A search shows any one of two cases with our key: neither is written to, be there few or many others."""
    site, courses, learners = site_of(PEOPLE)
    lab = make_lab(site)
    if how == "in doubt":
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.project.add_case("student", "Theirs", owner_id="x", external_id=f"test-user-{learners[0]}")
    mine, theirs = lab.project.by_external_id(f"test-user-{learners[0]}")
    lab.project.save(mine)  # the other one stands first in the search
    if how != "in doubt":
        forget(lab, "lost")
    if how == "kept out":
        site.enrol(courses[0], learners[0], roles=("editingteacher",))
    before = mine.copy(), theirs.copy()
    for _ in range(3):
        result = await lab.sync()
    assert 1 == result.reasons["duplicate_external_id"]
    assert [(one.case_name, one.owner_id, one.properties) for one in before] == [
        (one.case_name, one.owner_id, one.properties) for one in (mine, theirs)
    ]


@pytest.mark.parametrize("shown", ["theirs", "ours"])
@pytest.mark.parametrize("how", ["lost", "in doubt", "kept out"])
async def test_a_case_of_another_type_with_our_key_among_many(make_lab: MakeLab, how: str, shown: str) -> None:
    """A search may show that one in the place of ours: nobody writes to it."""
    site, courses, learners = site_of(PEOPLE)
    lab = make_lab(site)
    if how == "in doubt":
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    mine = lab.case(f"test-user-{learners[0]}")
    theirs = lab.project.add_case("clinic", "Theirs", owner_id="x", external_id=f"test-user-{learners[0]}")
    lab.project.save(mine if shown == "theirs" else theirs)  # the other one stands first in the search
    if how != "in doubt":
        forget(lab, "lost")
    if how == "kept out":
        site.enrol(courses[0], learners[0], roles=("editingteacher",))
    for _ in range(3):
        result = await lab.sync()
    assert ("clinic", "Theirs", "x", {}) == (
        theirs.case_type,
        theirs.case_name,
        theirs.owner_id,
        theirs.properties,
    )
    assert shown == "ours" or result.reasons["duplicate_external_id"]
