"""Courses reset for a new term: asked about, then new cases, or the same; nothing happens before the answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.confirm import confirm_term
from flows.errors import UsageError
from flows.needs import needs
from flows.problems import retry
from flows.steps.there import FEW
from tests.flows.test_push import doubles, settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
DAY = 86_400
ENDS = "when_course_ends: {set: {enrolment_status: over}}"
OUT = "when_excluded: {set: {result: out}}"


async def reset(make_lab: MakeLab, days: int = 180) -> tuple[Lab, int, list[int]]:
    """Return a lab whose first course was reset: later start, one learner stayed, the others went, one is new."""
    site, courses, learners = site_of(4, 7, shared=True)
    for course in courses:
        site.courses[course]["startdate"] = int(site.now) - 30 * DAY
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:", f"\n{ENDS}\nproperties:")
    await lab.sync()
    site.courses[courses[0]]["startdate"] += days * DAY
    for learner in learners[1:4]:
        site.unenrol(courses[0], learner)
    newcomer = site.add_user("New", "Comer")
    site.enrol(courses[0], newcomer)
    return lab, courses[0], [*learners[:4], newcomer]


def statuses(lab: Lab) -> dict[str, str]:
    """Return what the cases of the first course say, by external id without what all share."""
    cases = [case for case in lab.project.of_type("enrolment") if case.external_id.startswith("test-enrol-2-")]
    return {case.external_id.removeprefix("test-enrol-2-"): case.properties["enrolment_status"] for case in cases}


async def test_a_new_start_is_asked_about(make_lab: MakeLab) -> None:
    """Nothing of the course is sent, nobody in it is missing; the others and the people go on."""
    lab, course, people = await reset(make_lab)
    before = statuses(lab)
    for _ in range(3):
        result = await lab.sync()
        assert ("waiting", 4, "waiting") == (result.state, result.state.exit_code, result.courses[course].state)
        assert any(f"confirm-term {course} --new" in text for text in result.messages)
    assert before == statuses(lab)
    assert f"test-user-{people[-1]}" in {case.external_id for case in lab.project.of_type("student")}
    assert (
        3 == sum(case.properties.get("enrolment_status") != "over" for case in lab.project.of_type("student")) - 5
    )


async def test_a_new_term_makes_new_cases(make_lab: MakeLab) -> None:
    """The old cases get what is said for the end of a course; who is there now has a new one."""
    lab, course, people = await reset(make_lab)
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    result = await lab.sync()
    assert "completed" == result.state
    assert {
        **{str(person): "over" for person in people[:4]},
        f"{people[0]}~2": "active",
        str(people[4]): "active",
    } == statuses(lab)
    for _ in range(3):
        assert {} == written(await lab.sync())
    assert [] == doubles(lab)


async def test_the_same_term_goes_on(make_lab: MakeLab) -> None:
    """Told that it is the same term, the run goes on as if nothing had moved: who is missing has left."""
    lab, course, people = await reset(make_lab)
    await lab.sync()
    confirm_term(lab.store, course, same=True)
    await settle(lab)
    assert f"{people[0]}~2" not in statuses(lab)
    assert "waiting" == (await lab.sync()).state  # three of four left: that is asked about, as ever


async def test_a_term_in_doubt_begins_later(make_lab: MakeLab) -> None:
    """Until it is known that the old cases are over, no new one is made."""
    lab, course, people = await reset(make_lab)
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    lab.commcare.drop_reply_after_commit(times=2)
    await lab.sync()
    assert f"{people[0]}~2" not in statuses(lab)
    await settle(lab)
    assert ("active", "over", []) == (statuses(lab)[f"{people[0]}~2"], statuses(lab)[str(people[0])], doubles(lab))


async def begun(make_lab: MakeLab, **edits: tuple[str, str]) -> tuple[Lab, int, list[int]]:
    """Return a lab before a reset: the first course with its four learners, all mappings edited and in step."""
    site, courses, learners = site_of(4, 7, shared=True)
    for course in courses:
        site.courses[course]["startdate"] = int(site.now) - 30 * DAY
    lab = make_lab(site)
    for old, new in edits.values():
        lab.edit("enrolment", old, new)
    await lab.sync()
    return lab, courses[0], learners


async def begin(lab: Lab, course: int) -> None:
    """Let the course begin a new term, and a person say so."""
    lab.site.courses[course]["startdate"] += 180 * DAY
    await lab.sync()
    confirm_term(lab.store, course, same=False)


@pytest.mark.parametrize("ends", [f"\n{ENDS}\nproperties:", "\nproperties:"])
async def test_a_case_in_doubt_is_one_of_the_old_term(make_lab: MakeLab, ends: str) -> None:
    """The case of the last newcomer was made, its answer lost: it is ended as well, and another one is made."""
    lab, course, learners = await begun(make_lab, ends=("\nproperties:", ends))
    lab.site.enrol(course, learners[4])
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    await begin(lab, course)
    for _ in range(2):
        await lab.sync()
    old, new = lab.case(f"test-enrol-{course}-{learners[4]}"), lab.case(f"test-enrol-{course}-{learners[4]}~2")
    assert ("over" if ENDS in ends else "active") == old.properties["enrolment_status"]
    assert ("active", {}, []) == (new.properties["enrolment_status"], written(await lab.sync()), doubles(lab))


async def test_a_case_that_was_never_made_begins_with_the_new_term(make_lab: MakeLab) -> None:
    """CommCare took nothing of the last newcomer: the first case is that of the new term."""
    lab, course, learners = await begun(make_lab, ends=("\nproperties:", f"\n{ENDS}\nproperties:"))
    lab.site.enrol(course, learners[4])
    lab.commcare.fail_next("timeout")
    await lab.sync()
    await begin(lab, course)
    for _ in range(2):
        await lab.sync()
    assert (str(learners[4]), "active") in statuses(lab).items()
    assert f"{learners[4]}~2" not in statuses(lab)


CLOSES = {
    "when_left": ("when_left: {set: {enrolment_status: left}}", "when_left: {close: true}"),
    "when_course_ends": ("\nproperties:", "\nwhen_course_ends: {close: true}\nproperties:"),
}


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("rule", CLOSES)
async def test_a_close_without_an_answer_is_said_again(make_lab: MakeLab, rule: str, arrived: bool) -> None:
    """Nobody knows whether a case of the old term was closed when the new one begins: in the end it is."""
    lab, course, learners = await begun(make_lab, closes=CLOSES[rule])
    if rule == "when_left":
        lab.site.unenrol(course, learners[0])
        await lab.sync()
    else:
        await begin(lab, course)
    (lab.commcare.drop_reply_after_commit if arrived else lambda: lab.commcare.fail_next("timeout"))()
    await lab.sync()
    if rule == "when_left":
        await begin(lab, course)
    for _ in range(3):
        await lab.sync()
    assert (True, {}) == (lab.case(f"test-enrol-{course}-{learners[0]}").closed, written(await lab.sync()))


TOWN = "  town: {source: user.city, personal: true}\n"


@pytest.mark.parametrize("stays", [True, False])
async def test_an_emptying_that_commcare_refused_is_not_forgotten(make_lab: MakeLab, stays: bool) -> None:
    """Somebody is kept out, and CommCare does not take it before the new term: later it is emptied."""
    lab, course, learners = await begun(make_lab, town=("\nproperties:\n", f"\nproperties:\n{TOWN}"))
    lab.site.update_user(learners[0], city="Kisumu")
    await lab.sync()
    case = lab.case(f"test-enrol-{course}-{learners[0]}")
    lab.site.enrol(course, learners[0], ("editingteacher",))
    lab.commcare.refuse_row(case.case_id, "Error in row 1: no")
    await lab.sync()
    if not stays:
        lab.site.unenrol(course, learners[0])
    await begin(lab, course)
    result = await lab.sync()
    assert ("degraded", "Kisumu") == (result.state, case.properties["town"])
    assert any(case.external_id in text and "new term has begun" in text for text in result.messages)
    lab.commcare.accept_rows()
    retry(lab.store, lab.clock.now())
    for _ in range(3):
        await lab.sync()
    assert "" == lab.case(case.external_id).properties["town"]
    assert f"{learners[0]}~2" not in statuses(lab)


async def test_who_is_kept_out_hears_of_the_end_of_the_term(make_lab: MakeLab) -> None:
    """Let in again, he has a case in the new term: the one of the old term says that it is over."""
    lab, course, learners = await begun(make_lab, out=("\nproperties:", f"\n{ENDS}\n{OUT}\nproperties:"))
    lab.site.enrol(course, learners[0], ("editingteacher",))
    await lab.sync()
    case = lab.case(f"test-enrol-{course}-{learners[0]}")
    assert ("out", "active") == (case.properties["result"], case.properties["enrolment_status"])
    await begin(lab, course)
    await lab.sync()
    assert "over" == statuses(lab)[str(learners[0])]
    lab.site.enrol(course, learners[0])
    await settle(lab)
    assert ("over", "active") == tuple(statuses(lab)[f"{learners[0]}{n}"] for n in ("", "~2"))


async def test_an_end_that_commcare_refused_is_told(make_lab: MakeLab) -> None:
    """The new term begins for everybody; of whom the end was refused is named, once."""
    lab, course, learners = await begun(make_lab, ends=("\nproperties:", f"\n{ENDS}\nproperties:"))
    key = f"test-enrol-{course}-{learners[0]}"
    lab.commcare.refuse_row(lab.case(key).case_id, "Error in row 1: no")
    await begin(lab, course)
    result = await lab.sync()
    assert ("degraded", 1) == (result.state, sum(key in text for text in result.messages))
    assert ["active", "over", "over", "over"] == [statuses(lab)[str(learner)] for learner in learners[:4]]
    assert ["active"] * 4 == [statuses(lab)[f"{learner}~2"] for learner in learners[:4]]
    assert ("completed", []) == ((again := await lab.sync()).state, again.messages)


@pytest.mark.parametrize("days", [-100, 7])
async def test_a_corrected_start_is_no_new_term(make_lab: MakeLab, days: int) -> None:
    """Teachers move the start by some days, or back: nobody is asked."""
    lab, course, _ = await reset(make_lab, days)
    assert "completed" == (await lab.sync()).courses[course].state


async def test_only_what_was_asked_is_answered(make_lab: MakeLab) -> None:
    """An answer nobody asked for is refused, with the courses that wait; an old one does not hold for later."""
    lab, course, _ = await reset(make_lab)
    with pytest.raises(UsageError, match="Courses that wait: none"):
        confirm_term(lab.store, course, same=True)
    await lab.sync()
    with pytest.raises(UsageError, match=f"Courses that wait: {course}"):
        confirm_term(lab.store, 99, same=True)
    confirm_term(lab.store, course, same=True)
    lab.site.courses[course]["startdate"] += 60 * DAY
    assert "waiting" == (await lab.sync()).courses[course].state


async def test_a_preview_asks_and_keeps_nothing(make_lab: MakeLab) -> None:
    """A preview says that the course waits, and the books are as before."""
    lab, course, _ = await reset(make_lab)
    assert "waiting" == (await lab.sync(preview=True)).courses[course].state
    assert "{}" == (lab.store.get("new_terms_asked") or "{}")


@pytest.mark.parametrize("then", ["hidden", "over", "deleted", "not chosen"])
async def test_a_course_that_is_read_no_more_is_not_asked_about(make_lab: MakeLab, then: str) -> None:
    """The question goes with the course, and comes back with it; a run for another course keeps it."""
    lab, course, _ = await reset(make_lab)
    await lab.sync()
    await lab.sync(courses=(3,))
    assert ["new-term"] == [need.kind for need in needs(lab.store)]
    before = dict(lab.site.courses[course])
    if then == "hidden":
        lab.site.courses[course]["visible"] = 0
    elif then == "over":
        lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    elif then == "deleted":
        del lab.site.courses[course]
    else:
        lab.site.courses[course]["shortname"] = "Other"
        project = lab.mappings / "project.yaml"
        project.write_text(project.read_text().replace('shortname_like: "*"', 'shortname_like: "C*"'))
    await lab.sync()
    assert [] == needs(lab.store)
    lab.site.courses[course] = before
    await lab.sync()
    assert ["new-term"] == [need.kind for need in needs(lab.store)]


@pytest.mark.parametrize("size", [3, FEW + 10])
async def test_lost_books_after_a_new_term(make_lab: MakeLab, size: int) -> None:
    """The cases of the old term are open as well: the new term's are found, and the old ones stay as they were."""
    site, (course,), learners = site_of(size)
    site.courses[course]["startdate"] = int(site.now) - 30 * DAY
    item = site.set_grade_item(course, "Quiz")
    lab = make_lab(site)
    await lab.sync()
    site.courses[course]["startdate"] += 180 * DAY
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    for learner in learners:
        site.grade(item, learner, 80)
    for _ in range(2):
        await lab.sync()
    for learner in learners:
        cases = (lab.case(f"test-enrol-{course}-{learner}{generation}") for generation in ("", "~2"))
        assert ["", "80"] == [case.properties["grade_percent"] for case in cases]
    assert 3 * size == len(lab.project.cases)


async def test_the_same_term_as_the_one_that_began_after_the_backup(make_lab: MakeLab) -> None:
    """Books that were put back know no cases of it; told that a later start is of that term, they go on in it."""
    lab, course, people = await reset(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    newest = statuses(lab)
    lab.site.courses[course]["startdate"] += 60 * DAY
    lab.restore(backup)
    for _ in range(2):
        await lab.sync()
    confirm_term(lab.store, course, same=True)
    await settle(lab)
    assert newest | {f"{people[0]}~2": "active"} == statuses(lab)
    assert {} == written(await lab.sync())


@pytest.mark.parametrize("size", [3, FEW + 10])
async def test_kept_out_after_a_new_term_and_lost_books(make_lab: MakeLab, size: int) -> None:
    """What is personal of who is kept out by then goes out of the cases of both terms."""
    site, (course,), learners = site_of(size)
    site.courses[course]["startdate"] = int(site.now) - 30 * DAY
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:\n", "\nproperties:\n  who: {source: user.firstname, personal: true}\n")
    await lab.sync()
    site.courses[course]["startdate"] += 180 * DAY
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    site.enrol(course, learners[0], roles=("editingteacher",))
    for _ in range(3):
        await lab.sync()
    cases = (lab.case(f"test-enrol-{course}-{learners[0]}{generation}") for generation in ("", "~2"))
    assert ["", ""] == [case.properties["who"] for case in cases]


@pytest.mark.parametrize("off", ["all of it", "one of two"])
async def test_a_term_that_begins_while_a_mapping_is_off(make_lab: MakeLab, off: str) -> None:
    """On again, its cases are those of the old term: they stay as they were until somebody says what they are."""
    site, (course,), learners = site_of(3)
    site.courses[course]["startdate"] = int(site.now) - 30 * DAY
    item = site.set_grade_item(course, "Quiz")
    for learner in learners:
        site.grade(item, learner, 40)
    lab = make_lab(site)
    name = "enrolment" if off == "all of it" else "grade_item"
    if name == "grade_item":
        lab.edit(name, "enabled: false", "enabled: true")
    else:
        lab.edit(name, "case_type: enrolment\n", "case_type: enrolment\nenabled: true\n")
    await lab.sync()
    lab.edit(name, "enabled: true", "enabled: false")
    site.courses[course]["startdate"] += 180 * DAY
    await lab.sync()
    if name == "grade_item":
        confirm_term(lab.store, course, same=False)
        await lab.sync()
    assert "completed" == (await lab.sync()).state
    lab.edit(name, "enabled: false", "enabled: true")
    for learner in learners:
        site.grade(item, learner, 80)
    await lab.sync()
    grades = [case.properties["grade_percent"] for case in lab.project.of_type(name)]
    assert ["40"] * 3 == grades
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    grades = sorted(case.properties["grade_percent"] for case in lab.project.of_type(name))
    assert (["40"] * 3 + ["80"] * 3, []) == (grades, needs(lab.store))
    assert (6, {}) == (len(lab.project.of_type("enrolment")), written(await lab.sync()))


@pytest.mark.parametrize("how", ["known", "put back"])
async def test_a_new_term_asks_for_no_case_that_was_never_made(make_lab: MakeLab, how: str) -> None:
    """Of a case that gets its number now CommCare has nothing: 200 questions before, none now."""
    site, courses, _ = site_of(100, 100, shared=True)
    for course in courses:
        site.courses[course]["startdate"] = int(site.now) - 30 * DAY
        item = site.set_grade_item(course, "Quiz")
        for learner in site.members_of(course):
            site.grade(item, learner, 80)
    lab = make_lab(site)
    await lab.sync()
    if how == "put back":
        lab.in_a_file()
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
    for course in courses:
        site.courses[course]["startdate"] += 180 * DAY
    await lab.sync()
    for course in courses:
        confirm_term(lab.store, course, same=False)
    result = await lab.sync()
    asked = result.requests["commcare"].get("get", 0)
    assert (how == "put back", {"created": 200}) == (asked > 0, written(result))
    assert ({}, 500, []) == (written(await lab.sync()), len(lab.project.cases), doubles(lab))
