"""A mapping file that is given another name: its cases stay what they are, and nothing is sent because of it."""

from __future__ import annotations

import random
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows.confirm import confirm, confirm_blanks
from flows.needs import needs
from flows.problems import list_problems
from flows.status import read_status
from flows.steps.renamed import FORMS, NAMED
from tests.flows.feedback_world import make_class
from tests.flows.match_lab import matched
from tests.flows.test_audit import audited
from tests.flows.test_person import erased
from tests.flows.test_preview_counts import counted_alike, seen
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
STUDENT, ENROLMENT = ((SHIPPED / f"{name}.yaml").read_text("utf-8") for name in ("student", "enrolment"))
SAME = "makes the same keys, and pupil.yaml is there no more"
COMING = (
    "learner.yaml makes the keys of pupil.yaml, which is there no more: with the next run it takes over 3 cases."
)
SEEDS = 3
HOUSE = Path(__file__).parent.parent.parent


def rename(lab: Lab, old: str = "pupil", new: str = "learner") -> None:
    """Give a mapping file another name."""
    (lab.mappings / f"{old}.yaml").rename(lab.mappings / f"{new}.yaml")


async def pupils(make_lab: MakeLab, people: int = 3, **values: Any) -> tuple[Lab, list[int], list[int]]:
    """Return a lab that has run twice with people and enrolments: lab, courses, learners."""
    site, courses, learners = site_of(people)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site, **{"pupil": STUDENT, "enrolment": ENROLMENT, **values})
    await lab.sync()
    await lab.sync()
    return lab, courses, learners


def words_of_books(lab: Lab) -> str:
    """Return all texts that are in the books, but for what past runs said."""
    lab.in_a_file()
    books = sqlite3.connect(lab.folder / "var" / "state.db")
    try:
        return "\n".join(line for line in books.iterdump() if not re.match(r'INSERT INTO "?run"? ', line))
    finally:
        books.close()


async def test_the_name_alone_is_no_edit(make_lab: MakeLab) -> None:
    """Nothing is sent or asked, one sentence tells it, and nothing of the old name is left in the books."""
    lab, _, _ = await pupils(make_lab)
    sent = len(lab.project.forms)
    assert "pupil" in words_of_books(lab)
    rename(lab)
    result = await lab.sync(yes=False)
    assert ("completed", {}, {}, sent) == (result.state, written(result), result.edits, len(lab.project.forms))
    assert [f"learner.yaml took over the 3 cases of pupil.yaml: it {SAME}."] == result.messages
    assert "pupil" not in words_of_books(lab)
    again = await lab.sync(yes=False)
    assert ("completed", {}, []) == (again.state, written(again), again.messages)


async def test_an_interval_goes_on(make_lab: MakeLab) -> None:
    """What was read a short while ago under the old name is not read again for the new one."""
    lab, _, _ = await pupils(make_lab, project=f"{PROJECT}intervals: {{people: 48}}\n")
    rename(lab)
    result = await lab.sync(yes=False)
    assert (["learner"], {}) == (result.not_due, written(result))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_who_leaves_around_it_is_marked(make_lab: MakeLab, when: str) -> None:
    """Whether Moodle has shown him gone once before the new name, or only since."""
    lab, courses, learners = await pupils(make_lab)
    lab.site.unenrol(courses[0], learners[0])
    if when == "before":
        assert {} == written(await lab.sync())
    rename(lab)
    for _ in range(1 if when == "before" else 2):
        await lab.sync()
    assert "left" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]
    assert {} == written(await lab.sync(full=True))
    lab.site.enrol(courses[0], learners[0])
    await lab.sync()
    assert "active" == lab.case(f"test-user-{learners[0]}").properties["moodle_status"]


@pytest.mark.parametrize("what", ["create", "update"])
async def test_writes_in_doubt_rest_on(make_lab: MakeLab, what: str) -> None:
    """What CommCare is at work on rests under the new name, and is settled as ever."""
    lab, courses, learners = await pupils(make_lab)
    if what == "create":
        lab.site.enrol(courses[0], lab.site.add_user("Neema", "New", city="Bondo"))
    else:
        lab.site.update_user(learners[0], city="Bondo")
    lab.commcare.fail_next("timeout", times=1)
    assert 1 == written(await lab.sync())["in_doubt"]
    rename(lab)
    assert {"in_doubt"} == written(await lab.sync(60.0)).keys() - {"held_back"}
    for _ in range(2):
        await lab.sync()
    assert (4 if what == "create" else 3) == len(cases(lab))
    assert {} == written(await lab.sync(full=True))
    assert {"learner", "enrolment"} == lab.store.mappings_with_cases()


def cases(lab: Lab, case_type: str = "student") -> list[Any]:
    """Return the cases of a type."""
    return [case for case in lab.project.cases.values() if case.case_type == case_type]


@pytest.mark.parametrize("answered", [False, True])
async def test_a_question_about_values(make_lab: MakeLab, answered: bool) -> None:
    """It is asked of the new name; a word that was given about the old one counts, once."""
    lab, _, learners = await pupils(make_lab, 12)
    for learner in learners[:9]:
        lab.site.update_user(learner, city="")
    await lab.sync()
    if answered:
        confirm_blanks(lab.store, "pupil", "city", 9)
    rename(lab)
    await lab.sync()
    asked = [(need.mapping, need.count) for need in needs(lab.store)]
    towns = Counter(case.properties["city"] for case in cases(lab))
    assert (([], 9) if answered else ([("learner", 9)], 0)) == (asked, towns[""])
    if not answered:
        confirm_blanks(lab.store, "learner", "city", 9)
        await lab.sync()
        assert ([], 9) == (needs(lab.store), Counter(case.properties["city"] for case in cases(lab))[""])


async def test_a_question_about_leavers(make_lab: MakeLab) -> None:
    """A word about people of a course holds for the mapping under its new name."""
    lab, courses, learners = await pupils(make_lab, 12)
    for learner in learners[:9]:
        lab.site.unenrol(courses[0], learner)
    for _ in range(2):
        await lab.sync()
    (asked,) = needs(lab.store)
    confirm(lab.store, asked.course, 9)
    rename(lab, "enrolment", "attendance")
    rename(lab)
    result = await lab.sync()
    left = [case for case in cases(lab, "enrolment") if case.properties["enrolment_status"] == "left"]
    assert (9, 9) == (len(left), result.of("enrolment").marked_left)


async def test_who_is_kept_out_since_one_read(make_lab: MakeLab) -> None:
    """What one read found under the old name counts with what the next one finds under the new one."""
    lab, courses, learners = await pupils(make_lab)
    lab.site.unenrol(courses[0], learners[0])
    lab.site.enrol(courses[0], learners[0], ("editingteacher",))
    assert 0 == (await lab.sync()).of("student").withdrawn
    rename(lab)
    assert 1 == (await lab.sync()).of("student").withdrawn


async def test_problems_and_refusals_go_along(make_lab: MakeLab) -> None:
    """They are listed under the new name alone, and end when what is behind them does."""
    lab, _, learners = await pupils(make_lab)
    lab.site.update_user(learners[0], phone1="12")
    lab.commcare.forbid(f"test-user-{learners[1]}")
    lab.site.update_user(learners[1], city="Bondo")
    await lab.sync()
    assert {"pupil"} == {one.row.mapping for one in list_problems(lab.store)}
    rename(lab)
    await lab.sync()
    assert {"learner"} == {one.row.mapping for one in list_problems(lab.store)}
    lab.site.update_user(learners[0], phone1="")
    lab.site.update_user(learners[1], city="Kisumu")
    await lab.sync()
    assert [] == [*list_problems(lab.store)]


async def test_a_field_that_nobody_shows_under_another_name(make_lab: MakeLab) -> None:
    """What was asked about it is asked about the new name, with the field, and the old name is forgotten."""
    lab, _, learners = await pupils(make_lab)
    for learner in learners:
        lab.site.update_user(learner, city="")
    for _ in range(2):
        await lab.sync()
    rename(lab)
    await lab.sync(courses=(2,))
    (need,) = needs(lab.store)
    assert ("learner", "city") == (need.mapping, need.property_name)
    assert "Nobody's profile shows city any more" in need.sentence
    assert "pupil" not in words_of_books(lab)


async def test_renamed_and_edited(make_lab: MakeLab) -> None:
    """What was edited with the name is told and sent as any other edit; the rest is not."""
    lab, _, _ = await pupils(make_lab)
    rename(lab)
    lab.edit("learner", "city: {source: city, transform: [trim]", "city: {source: city, transform: [trim, upper]")
    result = await lab.sync(yes=False)
    assert ({"learner": ["city"]}, {"updated": 3}) == (
        {name: edit["edited"] for name, edit in result.edits.items()},
        written(result),
    )


async def test_renamed_with_another_case_type(make_lab: MakeLab) -> None:
    """The new type reaches the cases that are there; no second ones are made."""
    lab, _, _ = await pupils(make_lab)
    rename(lab)
    for name, word in (("learner", "case_type"), ("enrolment", "case_type"), ("enrolment", "same_as")):
        lab.edit(name, f"{word}: student", f"{word}: scholar")
    assert ("completed", 3) == ((await lab.sync(yes=False)).state, len(cases(lab, "scholar")))
    assert [] == cases(lab)
    assert {} == written(await lab.sync())


async def test_a_parent_and_a_child_at_once(make_lab: MakeLab) -> None:
    """Both take over, whatever the order; the child's index leads to the same case."""
    lab, courses, _ = await pupils(make_lab)
    rename(lab)
    rename(lab, "enrolment", "attendance")
    result = await lab.sync(yes=False)
    assert ("completed", {}, 2) == (result.state, written(result), len(result.messages))
    new = lab.site.add_user("Neema", "New", city="Bondo")
    lab.site.enrol(courses[0], new)
    assert {"created": 2} == written(await lab.sync())
    parent = lab.case(f"test-user-{new}").case_id
    (index,) = lab.case(f"test-enrol-{courses[0]}-{new}").indices.values()
    assert parent == index["case_id"]


@pytest.mark.parametrize("names", [("pupil", "learner", "pupil"), ("pupil", "learner", "scholar", "learner")])
async def test_one_name_after_the_other(make_lab: MakeLab, names: tuple[str, ...]) -> None:
    """Also back to a name that was there before; each is silent, and what happened meanwhile is known."""
    lab, _, learners = await pupils(make_lab)
    for number, (old, new) in enumerate(pairwise(names)):
        rename(lab, old, new)
        lab.site.update_user(learners[0], city=f"Town {number}")
        assert {"updated": 1} == written(await lab.sync(yes=False))
        assert {new, "enrolment"} == lab.store.mappings_with_cases()
    assert {} == written(await lab.sync(full=True))


async def test_a_copy_beside_it_that_is_off(make_lab: MakeLab) -> None:
    """As long as the old file is there, if only switched off and not right, its cases are its own."""
    lab, _, _ = await pupils(make_lab)
    rename(lab)
    lab.mappings.joinpath("pupil.yaml").write_text("enabled: false\nlanguage: 1\n")
    result = await lab.sync(yes=False)
    assert ("waiting", "pupil") == (result.state, *lab.store.mappings_with_cases() - {"enrolment"})
    lab.mappings.joinpath("pupil.yaml").unlink()
    result = await lab.sync(yes=False)
    assert ("completed", {}) == (result.state, written(result))
    assert [] == needs(lab.store)


async def test_two_files_that_change_names(make_lab: MakeLab) -> None:
    """Names that are both in use are no other names: nothing is taken over, a run stops before it does harm."""
    lab, _, _ = await pupils(make_lab)
    rename(lab, "pupil", "x")
    rename(lab, "enrolment", "pupil")
    rename(lab, "x", "enrolment")
    sent = len(lab.project.forms)
    result = await lab.sync(yes=False)
    assert ("waiting", sent) == (result.state, len(lab.project.forms))
    assert {"pupil", "enrolment"} == lab.store.mappings_with_cases()


async def test_another_form_of_keys_is_another_mapping(make_lab: MakeLab) -> None:
    """A file with another name that makes other keys is new, and its first run is asked about."""
    lab, _, _ = await pupils(make_lab)
    rename(lab)
    lab.edit("learner", '"{site}-user-{id}"', '"{site}-learner-{id}"')
    lab.edit("enrolment", '"{site}-user-{user.id}"', '"{site}-learner-{user.id}"')
    assert "waiting" == (await lab.sync(yes=False)).state
    assert {"pupil", "enrolment"} == lab.store.mappings_with_cases()


async def test_a_preview_shows_it_and_writes_nothing(make_lab: MakeLab) -> None:
    """It counts what the run does, says what comes, and the books are as they were."""
    lab, courses, learners = await pupils(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    lab.site.enrol(courses[0], lab.site.add_user("Neema", "New", city="Bondo"))
    rename(lab)
    before = words_of_books(lab)
    found = await seen(lab)
    assert ([], before) == (found.first, words_of_books(lab))
    assert f"{COMING} Here it goes by the old name." == found.result.messages[-1]
    await counted_alike(lab)


async def test_the_status_says_what_is_coming(make_lab: MakeLab) -> None:
    """Until a run has taken the cases over they are told by their case type, and that they will be."""
    lab, _, _ = await pupils(make_lab)
    rename(lab)
    status = read_status(lab.store, lab.loaded(), lab.clock.now())
    assert (COMING, 3) == (status.note, sum(status.cases["student"].values()))
    await lab.sync()
    assert "" == read_status(lab.store, lab.loaded(), lab.clock.now()).note


async def test_an_audit_and_an_erasure_do_it_as_well(make_lab: MakeLab) -> None:
    """Whoever writes with the books, or compares with them, knows the cases under the new name first."""
    lab, _, learners = await pupils(make_lab)
    rename(lab)
    lab.project.cases[lab.case(f"test-user-{learners[2]}").case_id].properties["last_name"] = "Changed"
    lab.clock.advance(7200.0)
    found = await audited(lab)
    assert ({"drift": 1}, {"learner", "enrolment"}) == (dict(+found.counts), lab.store.mappings_with_cases())
    rename(lab, "learner", "scholar")
    done = await erased(lab, learners[0])
    assert ("completed", "") == (done.state, lab.case(f"test-user-{learners[0]}").properties["last_name"])
    assert "scholar.yaml took over the 3 cases of learner.yaml" in done.messages[0]


async def test_books_from_before_the_name(make_lab: MakeLab) -> None:
    """Put back, they know the old name: its cases are taken over once more, and nothing is asked or doubled."""
    lab, courses, learners = await pupils(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    rename(lab)
    lab.site.update_user(learners[0], city="Bondo")
    lab.site.enrol(courses[0], lab.site.add_user("Neema", "New", city="Bondo"))
    await lab.sync()
    lab.restore(backup)
    lab.site.update_user(learners[0], city="Siaya")
    result = await lab.sync(yes=False)
    assert ("completed", 4, 4) == (result.state, len(cases(lab)), lab.store.count_known("learner"))
    assert "Siaya" == lab.case(f"test-user-{learners[0]}").properties["city"]
    assert {} == written(await lab.sync())


async def test_a_match_knows_them(make_lab: MakeLab) -> None:
    """People whose cases the old name made are not taken for ones without a case."""
    lab, _, _ = await pupils(make_lab)
    rename(lab)
    before = {kind: count for one in (await matched(lab)).mappings for kind, count in one.classes.items()}
    assert ({"learner", "enrolment"}, 0) == (lab.store.mappings_with_cases(), before.get("new", 0))


async def test_feedback_that_went_back_is_known(make_lab: MakeLab) -> None:
    """A text that we sent is ours under the new name too: the next one goes over it without a conflict."""
    made = await make_class(make_lab)
    learner = made.learners[0]
    made.writes(learner, coach_feedback="Well done")
    await made.sent()
    rename(made.lab, "enrolment", "attendance")
    made.writes(learner, coach_feedback="Very well done")
    (coming,) = (await made.sent(yes=False, dry_run=True)).messages
    assert (True, 1) == (coming.endswith("Until then its texts are not looked at."), len(made.saves))
    done = await made.sent(yes=False)
    assert ("completed", 2) == (done.state, len(made.saves))
    assert "Very well done" in str(made.held(learner))


def lab_of(folder: Path, state_url: str) -> Lab:
    """Return a lab of nine people in two courses."""
    site, _, learners = site_of(9)
    site.add_course("C9", "Course 9")
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    return Lab(folder, site, state_url=state_url, pupil=STUDENT, enrolment=ENROLMENT)


def happen(lab: Lab, chance: random.Random) -> None:
    """Let something happen in Moodle or on the way to CommCare."""
    site = lab.site
    person, course = chance.choice(sorted(site.users)), chance.choice(sorted(site.courses))
    what = chance.randrange(8)
    if what in (0, 1):
        site.update_user(person, city=chance.choice(["Bondo", "Siaya", "", "Kisumu"]))
    elif what in (2, 3):
        site.unenrol(course, person)
    elif what in (4, 5):
        site.enrol(course, person, (chance.choice(["student", "student", "editingteacher"]),))
    elif what == 6:
        lab.commcare.fail_next("timeout", times=1)
    else:
        lab.commcare.drop_reply_after_commit()


def what_is_there(lab: Lab) -> list[tuple[Any, ...]]:
    """Return all cases of CommCare, without ids that are made by chance."""
    return sorted(
        (str(one.external_id), one.case_type, one.closed, one.properties) for one in lab.project.cases.values()
    )


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_with_and_without_new_names(tmp_path: Path, new_books: Callable[[], str], seed: int) -> None:
    """Whatever happens, CommCare gets the same requests whether files get other names on the way or not."""
    chance, names = random.Random(seed), ["pupil", "enrolment"]
    labs = [lab_of(tmp_path / name, new_books()) for name in ("as it is", "renamed")]
    for step in range(12):
        kind, now = chance.randrange(10**9), chance.choice([60.0, 3600.0])
        for lab in labs:
            happen(lab, random.Random(kind))
        for number in (0, 1):
            if step and chance.random() < 0.3:
                rename(labs[1], names[number], f"m{step}{number}")
                names[number] = f"m{step}{number}"
        results = [await lab.sync(now) for lab in labs]
        assert what_is_there(labs[0]) == what_is_there(labs[1])
        assert [form.rows for form in labs[0].project.forms] == [form.rows for form in labs[1].project.forms]
        assert written(results[0]) == written(results[1])
    for lab in labs:
        lab.close()


def test_all_facts_are_named() -> None:
    """Each fact of the code whose name carries a mapping's is one that goes along."""
    found = set[str]()
    for file in (*(HOUSE / "flows").rglob("*.py"), *(HOUSE / "state").glob("*.py")):
        found |= set(re.findall(r'^[A-Z_]+(?:: Final)? = "([a-z_:]+:\{name\})', file.read_text("utf-8"), re.M))
    assert found == {*FORMS}
    assert NAMED.valued == ("holder:",)
