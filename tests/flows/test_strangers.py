"""Books that were put back do not know what was made since: such cases are expected until everything was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from flows.confirm import confirm, confirm_term, confirm_withdrawn
from flows.needs import needs
from flows.round import sync_round
from flows.steps.recover import STRANGERS, expect_strangers
from flows.sync import Options
from state import RowId
from state.facts import LOOKED_FOR
from tests.flows.match_lab import by_hand, declare, link, matched, sent, site_of
from tests.flows.test_back_whole import consent
from tests.flows.test_departures import CONSENT, consenting
from tests.flows.test_edits import rename_type
from tests.flows.test_sync import site_of as campus_of
from tests.flows.worlds import PROJECT, Lab, written
from tests.voided import void

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
AMINA_AND_BRIAN = 2
"""Cases of students: one of each."""


async def put_back(make_lab: MakeLab, more: str = "") -> tuple[Lab, int]:
    """Return a lab, and Amina: since the backup she came, and was linked with a case that others had made."""
    site, (amina, _) = site_of("Amina", "Brian")
    lab = make_lab(site, project=PROJECT + more)
    lab.in_a_file()
    declare(lab)
    site.unenrol(2, amina)
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    site.enrol(2, amina)
    case = by_hand(lab, "Amina", national_id="ID-0001")
    await matched(lab)
    link(lab, amina, case.case_id)
    await sent(lab)
    assert AMINA_AND_BRIAN == len(lab.project.of_type("student"))
    lab.restore(backup)
    return lab, amina


def is_expected(lab: Lab, name: str = "student") -> bool:
    """Say whether unknown cases of a mapping are expected."""
    return bool(lab.store.get(STRANGERS.format(name=name)))


@contextmanager
def switched_off(lab: Lab, *names: str) -> Iterator[None]:
    """Let mappings be switched off for a while."""
    for name in names:
        lab.edit(name, "language: 1\n", "language: 1\nenabled: false\n")
    yield
    for name in names:
        lab.edit(name, "enabled: false\n", "")


async def test_a_run_for_another_mapping(make_lab: MakeLab) -> None:
    """A run for enrolments alone looks for no student: linked cases are found by the run that does."""
    lab, _ = await put_back(make_lab)
    assert "completed" == (await lab.sync(mappings=("enrolment",))).state
    await lab.sync()
    assert (AMINA_AND_BRIAN, False) == (len(lab.project.of_type("student")), is_expected(lab))


async def test_switched_off_at_the_time(make_lab: MakeLab) -> None:
    """A mapping that is switched off during the first run finds its cases when it is on again."""
    lab, _ = await put_back(make_lab)
    with switched_off(lab, "student", "enrolment"):
        assert "completed" == (await lab.sync()).state
    await lab.sync()
    assert (AMINA_AND_BRIAN, False) == (len(lab.project.of_type("student")), is_expected(lab))


async def test_a_record_that_is_held_back(make_lab: MakeLab) -> None:
    """For the case of a record that is held back nobody has looked, be the run completed: a later one does."""
    lab, amina = await put_back(make_lab, "guards: {problems_degraded: 5}\n")
    lab.site.update_user(amina, lastname=" ")
    assert ("completed", True) == ((await lab.sync()).state, is_expected(lab))
    lab.site.update_user(amina, lastname="Otieno")
    await lab.sync()
    assert (AMINA_AND_BRIAN, False) == (len(lab.project.of_type("student")), is_expected(lab))


async def test_a_record_that_a_shard_holds_back(make_lab: MakeLab) -> None:
    """What is held back in a shard counts for the round."""
    lab, _ = await put_back(make_lab, "guards: {problems_degraded: 5}\n")
    lab.edit(
        "enrolment", "  enrolment_status:\n", "  place: {source: user.city, required: true}\n  enrolment_status:\n"
    )
    other = lab.site.add_course("C1", "Course 1")
    lab.site.enrol(other, lab.site.add_user("Zawadi", "Wanja", city="Kisumu"))
    lab.clock.advance(3600)
    result = await sync_round(lab.world(), Options(yes=True), 2)
    assert ("completed", 2) == (result.state, len(result.shards))
    assert (False, True) == (is_expected(lab), is_expected(lab, "enrolment"))


async def test_a_course_that_is_hidden(make_lab: MakeLab) -> None:
    """Who is only in a course that is hidden meanwhile is looked for when it is shown again."""
    lab, _ = await put_back(make_lab)
    other = lab.site.add_course("C1", "Course 1")
    lab.site.enrol(other, lab.site.add_user("Zawadi", "Wanja"))
    lab.site.courses[2]["visible"] = 0
    for _ in range(2):
        assert ("completed", True) == ((await lab.sync()).state, is_expected(lab))
    lab.site.courses[2]["visible"] = 1
    await lab.sync()
    assert (AMINA_AND_BRIAN + 1, False) == (len(lab.project.of_type("student")), is_expected(lab))


async def test_a_course_that_is_over(make_lab: MakeLab) -> None:
    """A course past its end date is read no more, and nobody waits for that."""
    lab, _ = await put_back(make_lab)
    other = lab.site.add_course("C1", "Course 1")
    lab.site.enrol(other, lab.site.add_user("Zawadi", "Wanja"))
    lab.site.courses[2]["enddate"] = lab.clock.now() - 60
    await lab.sync()
    assert not is_expected(lab)


async def test_books_from_before_know_no_courses(make_lab: MakeLab) -> None:
    """Books of an older version say only that cases are expected: a whole run ends it."""
    lab, _ = await put_back(make_lab)
    await lab.sync(mappings=("enrolment",))
    lab.store.put(STRANGERS.format(name="student"), "1")
    await lab.sync()
    assert (AMINA_AND_BRIAN, False) == (len(lab.project.of_type("student")), is_expected(lab))


async def test_an_owner_who_was_moved_stays(make_lab: MakeLab) -> None:
    """A webhook about a grade reads no people: the owner whom a supervisor chose since the backup stays."""
    site, courses, _ = campus_of(3)
    lab = make_lab(site)
    lab.in_a_file()
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    new = site.add_user("New", "Comer", lastaccess=site.now)
    site.enrol(courses[0], new)
    await lab.sync()
    lab.project.move_owner(lab.case(f"test-user-{new}").case_id, "somebody-else")
    lab.restore(backup)
    await lab.sync(courses=(courses[0],), mappings=("enrolment",), hinted=True)
    await lab.sync()
    assert "somebody-else" == lab.case(f"test-user-{new}").owner_id


@pytest.mark.parametrize("trouble", ["a case is missing", "nothing is there"])
async def test_a_list_that_is_not_all(make_lab: MakeLab, trouble: str) -> None:
    """By a list that is shorter than CommCare says no second case is made: the next run asks again."""
    lab, _ = await put_back(make_lab)
    (linked,) = [case for case in lab.project.of_type("student") if not case.external_id]
    if trouble == "nothing is there":
        lab.commcare.empty_pages()
    else:
        lab.commcare.leave_out(linked.case_id)
        result = await lab.sync()
        assert ("postponed", True) == (result.state, "listed 1 of 2 cases" in " ".join(result.messages))
    assert "completed" == (await lab.sync()).state
    assert AMINA_AND_BRIAN == len(lab.project.of_type("student"))


async def campus_put_back(make_lab: MakeLab, then: str) -> Lab:
    """Return a lab whose books were put back, and whose first course is hidden, deleted or not chosen since."""
    site, courses, _ = campus_of(4, 4)
    lab = make_lab(site)
    lab.in_a_file()
    site.enrol(courses[1], site.add_user("Tom", "Teacher"), ("editingteacher",))
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    lab.restore(backup)
    if then == "hidden":
        site.courses[courses[0]]["visible"] = 0
    elif then == "deleted":
        del site.courses[courses[0]], site.members[courses[0]]
    elif then == "not chosen":
        project = lab.mappings / "project.yaml"
        project.write_text(project.read_text().replace('shortname_like: "*"', 'shortname_like: "C1"'))
    return lab


@pytest.mark.parametrize("then", ["as it was", "hidden", "deleted", "not chosen"])
async def test_quiet_runs_ask_nothing(make_lab: MakeLab, then: str) -> None:
    """Whatever became of a course since the backup, a run that finds no difference asks CommCare nothing."""
    lab = await campus_put_back(make_lab, then)
    for _ in range(3):
        await lab.sync()
    if then == "deleted":  # as long as anything waits for a word, cases may be there that the books do not know
        (need,) = needs(lab.store)
        confirm(lab.store, need.course, need.count)
        for _ in range(4):
            await lab.sync()
    assert ({}, then == "hidden") == ((await lab.sync()).requests["commcare"], is_expected(lab))


async def test_a_newcomer_is_looked_for_while_a_course_is_hidden(make_lab: MakeLab) -> None:
    """Books that await a hidden course look for the linked case of whom they do not know, in whatever course."""
    lab, amina = await put_back(make_lab)
    other = lab.site.add_course("C1", "Course 1")
    lab.site.enrol(other, lab.site.add_user("Zawadi", "Wanja"))
    lab.site.courses[2]["visible"] = 0
    for _ in range(2):
        await lab.sync()
    lab.site.enrol(other, amina)
    await lab.sync()
    assert AMINA_AND_BRIAN + 1 == len(lab.project.of_type("student"))


async def test_a_course_made_since_the_backup_and_hidden(make_lab: MakeLab) -> None:
    """Who was in it alone, and was linked, is looked for when it is shown; until then nobody is."""
    lab, amina = await put_back(make_lab)
    lab.site.unenrol(2, amina)
    other = lab.site.add_course("C1", "Course 1")
    lab.site.enrol(other, amina)
    lab.site.courses[other]["visible"] = 0
    for _ in range(3):
        result = await lab.sync()
    assert ({}, True) == (result.requests["commcare"], is_expected(lab))
    lab.site.courses[other]["visible"] = 1
    await lab.sync()
    assert (AMINA_AND_BRIAN, False) == (len(lab.project.of_type("student")), is_expected(lab))


async def test_expected_anew_while_a_course_is_awaited(make_lab: MakeLab) -> None:
    """Cases that are expected for another reason meanwhile end no waiting for a course, and all are asked for."""
    lab = await campus_put_back(make_lab, "hidden")
    for _ in range(3):
        await lab.sync()
    await expect_strangers(lab.world(), ["student"])
    assert [2] == json.loads(lab.store.get(STRANGERS.format(name="student")) or "")["courses"]
    assert "" == lab.store.get(LOOKED_FOR.format(name="student"))


async def test_another_case_type_after_a_restore(make_lab: MakeLab) -> None:
    """A case that was linked since the backup is found under the type that it still has, and takes the new one."""
    lab, _ = await put_back(make_lab)
    rename_type(lab)
    await lab.sync()
    assert AMINA_AND_BRIAN == len(lab.project.of_type("pupil"))
    assert [] == lab.project.of_type("student")
    assert {} == written(await lab.sync())


# --- who is kept out ----------------------------------------------------------------------------------------


async def kept_out(lab: Lab, person: int) -> None:
    """Let a custom field keep a person out, and sync."""
    lab.site.add_profile_field("consent")
    lab.edit("student", "  - {source: roles, any_of: [student]}\n", CONSENT)
    lab.site.update_user(person, profile=lab.site.users[person].profile | {"consent": "no"})
    for _ in range(2):
        await lab.sync()


@pytest.mark.parametrize("books", ["put back", "lost"])
async def test_a_linked_case_of_somebody_who_is_kept_out(make_lab: MakeLab, books: str) -> None:
    """No draft finds it, as nothing of it is sent any more: our key in it does, and it is emptied."""
    lab, amina = await put_back(make_lab)
    (case,) = (one for one in lab.project.of_type("student") if not one.external_id)
    assert "Amina" == case.properties["first_name"]
    if books == "lost":
        lab.lose_books()
        for name, source in (("student", "users"), ("enrolment", "enrolments")):
            lab.edit(name, f"source: {source}", f"source: {source}\nexisting_cases: ignore")
    await kept_out(lab, amina)
    assert "" == case.properties["first_name"]


@pytest.mark.parametrize("loss", ["put back", "digests"])
async def test_who_was_withdrawn_and_closed_is_not_asked_about_again(make_lab: MakeLab, loss: str) -> None:
    """A person said so long ago; books that know the digests no more say nothing else, and runs are quiet then."""
    lab, learners = await consenting(make_lab, extra="when_excluded: {set: {moodle_status: out}, close: true}")
    lab.in_a_file()
    lab.edit(
        "enrolment", "when_left:", "when_excluded: {set: {enrolment_status: withdrawn}, close: true}\nwhen_left:"
    )
    for learner in learners[:6]:
        consent(lab, learner, "no")
    await lab.sync()
    confirm_withdrawn(lab.store, 0, 6)
    for _ in range(2):
        await lab.sync()
    if loss == "put back":
        backup = lab.store.back_up(lab.clock.now())
        assert backup is not None
        lab.restore(backup)
    else:
        void(lab.store, [RowId("student", 0, key) for key in lab.store.cases("student", 0)], lab.clock.now())
    for _ in range(3):
        await lab.sync()
    result = await lab.sync()
    assert ("completed", {}) == (result.state, result.requests["commcare"])


@pytest.mark.parametrize("then", ["gone", "there"])
@pytest.mark.parametrize("times", [1, 2])
async def test_lost_books_while_somebody_is_closed(make_lab: MakeLab, times: int, then: str) -> None:
    """Nobody looks for a case any more when its person is back: the one that we closed is not gone on with."""
    site, (course,), learners = campus_of(12)
    lab = make_lab(site)
    left = "when_left: {set: {moodle_status: left}"
    lab.edit("student", left, f"{left}, close: true")
    await lab.sync()
    for time in range(times):
        if time:
            site.enrol(course, learners[0])
            await lab.sync()
        site.unenrol(course, learners[0])
        for _ in range(2):
            await lab.sync()
    if then == "there":  # and lives again, in a case of which the books will know as little
        site.enrol(course, learners[0])
        await lab.sync()
        site.unenrol(course, learners[0])
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await lab.sync()
    assert not is_expected(lab)
    site.enrol(course, learners[0])
    for _ in range(3):
        result = await lab.sync()
    key = f"test-user-{learners[0]}"
    cases = [case for case in lab.project.of_type("student") if (case.external_id or "").startswith(key)]
    living = [case.external_id for case in cases if not case.closed]
    assert ("completed", {}, times + 1, [f"{key}~{times + 1}"]) == (
        result.state,
        written(result),
        len(cases),
        living,
    )
    child = lab.case(f"test-enrol-{course}-{learners[0]}")
    assert lab.case(living[0]).case_id == child.indices["student"]["case_id"]


@pytest.mark.parametrize("loss", ["lost", "put back"])
async def test_a_linked_case_of_somebody_who_is_away(make_lab: MakeLab, loss: str) -> None:
    """Gone when the books were lost, and back long after: the linked case goes on, with its owner's phone."""
    site, (amina, brian) = site_of("Amina", "Brian")
    (course,) = (number for number in site.courses if number != 1)
    lab = make_lab(site, project=PROJECT + '\nparked_owner: {group: "Gone"}\n')
    lab.project.add_group("Gone")
    declare(lab)
    left = "when_left: {set: {moodle_status: left}"
    lab.edit("student", left, f"{left}, park: true")
    backup = None
    if loss == "put back":
        lab.in_a_file()
        site.unenrol(course, amina)
        await lab.sync()
        backup = lab.store.back_up(lab.clock.now())
        site.enrol(course, amina)
    case = by_hand(lab, "Amina", national_id="ID-0001", city="theirs")
    await matched(lab)
    link(lab, amina, case.case_id)
    await lab.sync()
    site.unenrol(course, amina)
    for _ in range(2):
        await lab.sync()
    if backup is not None:
        lab.restore(backup)
    else:
        lab.lose_books()
        for name in ("student", "enrolment"):
            lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await lab.sync()
    assert not is_expected(lab)
    site.enrol(course, amina)
    for _ in range(2):
        result = await lab.sync()
    told = (case.properties["moodle_status"], case.properties["city"], case.owner_id)
    assert ("never_logged_in", "theirs", lab.case(f"test-user-{brian}").owner_id) == told
    assert (2, {}) == (len(lab.project.of_type("student")), written(result))


async def test_lost_books_while_somebody_of_a_new_term_is_away(make_lab: MakeLab) -> None:
    """The case of the old term is open: whoever is back goes on in the one of the new term."""
    site, (course,), learners = campus_of(3)
    site.courses[course]["startdate"] = int(site.now) - 30 * 86_400
    lab = make_lab(site)
    await lab.sync()
    site.courses[course]["startdate"] += 180 * 86_400
    await lab.sync()
    confirm_term(lab.store, course, same=False)
    await lab.sync()
    site.unenrol(course, learners[0])
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    await lab.sync()
    site.enrol(course, learners[0])
    site.set_group(course, learners[0], "Evening")
    result = await lab.sync()
    key = f"test-enrol-{course}-{learners[0]}"
    groups = [lab.case(f"{key}{number}").properties.get("group_name", "") for number in ("", "~2")]
    assert (["", "Evening"], 3) == (groups, result.requests["commcare"]["get"])
    newcomer = site.add_user("New", "Comer")
    site.enrol(course, newcomer)
    assert 2 == (await lab.sync()).requests["commcare"]["get"]
    assert {} == (await lab.sync()).requests["commcare"]


async def test_a_newcomer_beside_cases_of_others_is_not_looked_for(make_lab: MakeLab) -> None:
    """Where CommCare has no case of ours but those that the books know, a new one costs its write alone."""
    site, (course,), _ = campus_of(3)
    lab = make_lab(site)
    for number in range(3):
        lab.project.add_case("student", "Theirs", owner_id="x", external_id=f"C-{number}")
    lab.edit("student", "case_type: student", "case_type: student\nexisting_cases: ignore")
    await lab.sync()
    site.enrol(course, site.add_user("New", "Comer"))
    result = await lab.sync()
    assert ({"created": 2}, {"owners": 1, "write": 2}) == (written(result), result.requests["commcare"])


async def test_a_record_that_stays_held_back_is_looked_for_once(make_lab: MakeLab) -> None:
    """Nobody can own it for as long as a name is misspelt: no run lists or asks anew until it is to be sent."""
    site, _, learners = campus_of(9)
    for learner in learners:
        site.update_user(learner, city="typo" if learner == learners[0] else "east")
    lab = make_lab(site)
    owner = (lab.mappings / "student.yaml").read_text().partition("\nowner:")[2].partition("\n\n")[0]
    lab.edit("student", f"\nowner:{owner}\n\n", "\nowner:\n  first_of:\n    - {user: city}\n  write: once\n\n")
    lab.project.add_user("east")
    await lab.sync()
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, f"case_type: {name}", f"case_type: {name}\nexisting_cases: ignore")
    first = await lab.sync()
    assert (True, 1) == (first.requests["commcare"]["get"] > 0, first.worrying)
    for _ in range(2):
        result = await lab.sync()
        assert ({"held_back": 2}, {"owners"}) == (written(result), result.requests["commcare"].keys())
    assert is_expected(lab)
    lab.project.add_case("student", "Made since", external_id=f"test-user-{learners[0]}", owner_id="x")
    site.update_user(learners[0], city="east")
    result = await lab.sync()
    assert (1, "x") == (result.of("student").updated, lab.case(f"test-user-{learners[0]}").owner_id)
    for _ in range(2):
        await lab.sync()
    assert ({}, False) == ((await lab.sync()).requests["commcare"], is_expected(lab))
