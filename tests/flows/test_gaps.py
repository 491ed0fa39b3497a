"""What people in Moodle lack and the mappings need, by course, with nothing sent and no name kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.csv_file import safe, write_csv
from flows.errors import UsageError
from flows.gaps import Gaps, gaps, needs_of
from flows.masked import Eyes
from flows.person import erase
from flows.show_gaps import csv_headings, csv_rows
from tests.flows.terminal import Terminal
from tests.flows.test_person import on
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab

MakeLab = Callable[..., Lab]


async def looked(lab: Lab, courses: tuple[int, ...] = (), *, eyes: Eyes | None = None, **options: Any) -> Gaps:
    """Look as a new process would."""
    world = lab.world()
    try:
        return await gaps(world, courses, eyes=eyes or Eyes(), **options)
    finally:
        await world.moodle.close()
        await world.commcare.close()


def missing(found: Gaps) -> dict[int, list[str]]:
    """Return what each person lacks."""
    return {number: person.missing() for number, person in found.incomplete()}


async def test_blank_and_unusable_fields_are_gaps(make_lab: MakeLab) -> None:
    """No number, a number that is none, and no address; who has either of two numbers lacks nothing."""
    site, _, learners = site_of(5)
    site.update_user(learners[0], phone1="", phone2="")
    site.update_user(learners[1], phone1="12", phone2="")
    site.update_user(learners[2], phone1="", phone2="0722 000 111")
    site.update_user(learners[3], email="")
    lab = make_lab(site)
    found = await looked(lab)
    assert {learners[0]: ["phone"], learners[1]: ["phone"], learners[3]: ["e-mail"]} == {
        number: [kind for kind in kinds if kind != "group"]
        for number, kinds in missing(found).items()
        if kinds != ["group"]
    }


async def test_groups_are_missing_course_by_course(make_lab: MakeLab) -> None:
    """Somebody in a group in one course and in none in the other is incomplete in the other."""
    site, courses, learners = site_of(2, 2, shared=True)
    site.enrol(courses[0], learners[0], groups=("North",))
    lab = make_lab(site)
    counts = {course: (people, dict(found)) for course, people, found in (await looked(lab)).by_course()}
    assert {courses[0]: (2, {"group": 1}), courses[1]: (2, {"group": 2})} == counts


async def test_owners_are_looked_up(make_lab: MakeLab) -> None:
    """A rule that comes to nobody is a gap; one that falls back on the project's owner is none."""
    site, _, learners = site_of(3)
    site.update_user(learners[0], city="ama")
    site.update_user(learners[1], city="nobody")
    lab = make_lab(site)
    lab.project.add_user("ama")
    lab.edit("student", "\n  otherwise: project", "\n  first_of: [{user: city}]")
    found = await looked(lab)
    assert {learners[1], learners[2]} == {number for number, kinds in missing(found).items() if "owner" in kinds}


async def test_people_that_the_mappings_keep_out_are_not_asked_after(make_lab: MakeLab) -> None:
    """Teachers have no case, so they lack nothing; the erased are not read at all."""
    site, courses, learners = site_of(3)
    teacher = site.add_user("T", "T")
    site.enrol(courses[0], teacher, ["editingteacher"])
    for learner in learners:
        site.update_user(learner, phone1="")
    lab = make_lab(site)
    await lab.sync()
    await on(lab, erase, learners[0])
    assert {*learners[1:]} == set(missing(await looked(lab)))


async def test_engagement_needs_a_number_too(make_lab: MakeLab) -> None:
    """What its reminders need is looked for on the profile, without a call a person."""
    site, courses, learners = site_of(2)
    site.enrol(courses[0], site.add_user("T", "T"), ["editingteacher"])
    site.update_user(learners[0], phone1="")
    lab = make_lab(site)
    lab.edit("engagement", "enabled: false", "enabled: true")
    lab.edit("student", "first_of: [phone1, phone2]", "source: phone1")
    found = await looked(lab)
    assert ({learners[0], learners[1]}, ["phone"]) == (set(found.people), missing(found)[learners[0]][:1])
    assert [] == [name for name, _ in lab.moodle.calls if "completion" in name or "contents" in name]


async def test_nothing_is_sent_and_grades_are_not_read(make_lab: MakeLab) -> None:
    """The books stay as they are, and Moodle is asked for people only."""
    site, courses, learners = site_of(3)
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 80)
    lab = make_lab(site)
    await lab.sync()
    forms, counts = len(lab.project.forms), lab.store.condition().counts
    world = lab.world()
    before = world.moodle.requests.copy()
    await gaps(world, eyes=Eyes())
    asked = world.moodle.requests - before
    await world.moodle.close()
    await world.commcare.close()
    assert (forms, counts) == (len(lab.project.forms), lab.store.condition().counts)
    assert [] == [name for name in asked if "grade" in name]


async def test_other_blank_fields_only_when_asked_for(make_lab: MakeLab) -> None:
    """The mappings read the city too; few sites have it filled."""
    lab = make_lab(site_of(1)[0])
    (plain,), (whole,) = missing(await looked(lab)).values(), missing(await looked(lab, everything=True)).values()
    assert (False, True) == ("city" in plain, "city" in whole)


async def test_names_only_for_those_who_may_see_them(make_lab: MakeLab) -> None:
    """Without the right to values no name is kept, shown or written."""
    site, _, learners = site_of(1)
    site.update_user(learners[0], phone1="", firstname="=Qanary")
    lab = make_lab(site)
    eyes = Eyes()
    found = await looked(lab, eyes=eyes)
    rows = [*csv_rows(found, eyes)]
    assert (4, str(learners[0])) == (len(csv_headings(eyes)), str(rows[0][0]))
    assert f"{site.url}/user/profile.php?id={learners[0]}" == rows[0][-1]
    assert "Qanary" not in f"{found!r} {found.people} {found.as_json()} {rows}"
    eyes.sees_values = True
    seen = await looked(lab, eyes=eyes)
    assert "=Qanary Last0" == next(iter(csv_rows(seen, eyes)))[1]


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    """What a spreadsheet would calculate gets an apostrophe; the file is ours alone and never overwritten."""
    assert ["'=1", "'+1", "'-1", "'@a", "'\ta", "'\ra", "a=1", "1"] == [
        safe(cell) for cell in ("=1", "+1", "-1", "@a", "\ta", "\ra", "a=1", 1)
    ]
    file = tmp_path / "a.csv"
    write_csv(file, ("a", "b"), [("=1", "x,y")])
    assert '\ufeffa,b\r\n\'=1,"x,y"\r\n' == file.read_bytes().decode()
    with pytest.raises(UsageError, match="exists already"):
        write_csv(file, (), ())


def test_what_a_mapping_needs(make_lab: MakeLab) -> None:
    """Telephone and address of the person's record, groups of the enrolment, and no field that nobody enters."""
    lab = make_lab(site_of(1)[0], project=PROJECT)
    needs = {mapping.name: {need.kind for need in needs_of(mapping)} for mapping in lab.loaded().mappings}
    assert {"student": {"phone", "e-mail"}, "enrolment": {"group"}} == needs


def test_commands(terminal: Terminal) -> None:
    """Counts at a terminal, numbers as JSON, a table for the admin; books are not made for it."""
    shown = terminal.run("gaps")
    assert (0, True, True) == (shown.code, "2 lack something" in shown.text, "nothing was sent" in shown.text)
    assert not (terminal.folder / "state.db").exists()
    found = terminal.run("gaps", "--json", "--course", "2").json
    assert [["phone"], ["phone"]] == [one["missing"] for one in found["incomplete"]]
    file = terminal.folder / "gaps.csv"
    assert 0 == terminal.run("gaps", "--csv", str(file)).code
    assert 3 == len(file.read_text("utf-8-sig").splitlines())
    again = terminal.run("gaps", "--csv", str(file))
    assert (2, True, False) == (again.code, "exists already" in again.text, "Reading" in again.text)
    assert 2 == terminal.run("gaps", "--course", "99").code
