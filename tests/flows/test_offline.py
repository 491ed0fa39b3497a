"""Students with phones of their own: each holds the own profile, enrolments and grades, and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.phones import phones
from tests.flows.worlds import PROJECT, SHIPPED, Lab, written
from tests.phone_rules import on_phone

MakeLab = Callable[..., Lab]
NAMES = ("amina", "baraka", "neema")


def offline_files() -> dict[str, str]:
    """Return the set of mappings for students, by name."""
    return {file.stem: file.read_text("utf-8") for file in (SHIPPED / "offline").glob("*.yaml")}


class Campus:
    """Two courses: three students in the first, one of them in the second as well; a teacher, a coach, grades."""

    def __init__(self, make_lab: MakeLab, names: Sequence[str] = NAMES, **files: str) -> None:
        self.site = FakeSite()
        self.courses = [self.site.add_course(f"C{number}", f"Course {number}") for number in (1, 2)]
        self.people = {
            name: self.site.add_user(name.title(), "Otieno", username=name, lastaccess=self.site.now)
            for name in names
        }
        teacher = self.site.add_user("Grace", "Wekesa", username="grace")
        self.site.enrol(self.courses[0], teacher, ("editingteacher",))
        for person in self.people.values():
            self.site.enrol(self.courses[0], person)
        self.site.enrol(self.courses[1], self.people[names[0]])
        self.quiz = self.site.set_grade_item(self.courses[0], "Quiz")
        self.secret = self.site.set_grade_item(self.courses[0], "Secret", hidden=True)
        for score, person in enumerate(self.people.values()):
            self.site.grade(self.quiz, person, 60 + score)
            self.site.grade(self.secret, person, 90 + score)
        self.lab = make_lab(self.site, **{**offline_files(), **files})
        for name in (*names, "grace"):
            self.lab.project.add_user(name)

    def held(self, name: str) -> list[str]:
        """Return the external ids of the cases on somebody's phone."""
        return sorted(case.external_id or "" for case in on_phone(self.lab.project, name))

    def own(self, name: str) -> list[str]:
        """Return what somebody's phone has to hold, and no more."""
        person, courses = self.people[name], self.courses[: 2 if name == NAMES[0] else 1]
        enrolments = [f"test-enrol-{course}-{person}" for course in courses]
        return sorted([f"test-user-{person}", *enrolments])


async def test_each_phone_holds_its_own(make_lab: MakeLab) -> None:
    """The own profile, enrolments and visible grades, each owned by the student; teachers hold nothing."""
    campus = Campus(make_lab)
    assert "completed" == (await campus.lab.sync()).state
    assert {name: campus.own(name) for name in NAMES} == {name: campus.held(name) for name in NAMES}
    assert [] == campus.held("grace")
    users = campus.lab.project.users
    for name in NAMES:
        owners = {case.owner_id for case in on_phone(campus.lab.project, name)}
        assert {users[name].user_id} == owners
    counted = {
        one.holder.owner_id: one.load.cases for one in (await _counted(campus.lab)).phones if one.load.cases
    }
    assert {users[name].user_id: _by_type(campus.lab, name) for name in NAMES} == counted


async def _counted(lab: Lab) -> Any:
    world = lab.world()
    try:
        return await phones(world)
    finally:
        await world.moodle.close()
        await world.commcare.close()


def _by_type(lab: Lab, name: str) -> Counter[str]:
    return Counter(case.case_type for case in on_phone(lab.project, name))


@pytest.mark.parametrize("may_see", [True, False])
async def test_hidden_grades_never_leave_moodle(make_lab: MakeLab, may_see: bool) -> None:
    """A hidden activity is in no case, whether the service account may see it or not."""
    campus = Campus(make_lab)
    if not may_see:
        campus.lab.moodle.revoke("moodle/grade:viewhidden")
    await campus.lab.sync()
    texts = [str(value) for case in campus.lab.project.cases.values() for value in case.properties.values()]
    assert not {"90", "91", "92", "Secret"} & {*texts}
    assert {"60", "61", "62", "Quiz"} <= {*texts}


async def test_a_grade_that_is_hidden_later_is_emptied(make_lab: MakeLab) -> None:
    """What two reads in a row have not shown loses its numbers on the phone; the others keep theirs."""
    campus = Campus(make_lab, names=NAMES[:2])
    visit = campus.site.set_grade_item(campus.courses[0], "Visit")
    campus.site.grade(visit, campus.people["amina"], 70)
    await campus.lab.sync()
    (case,) = [one for one in on_phone(campus.lab.project, "baraka") if one.case_type == "enrolment"]
    quiz = (f"grade_{campus.quiz}", f"grade_name_{campus.quiz}")
    assert ("61", "Quiz") == tuple(case.properties[name] for name in quiz)
    next(one for one in campus.site.gradebooks[campus.courses[0]].items if one.id == campus.quiz).hidden = True
    for _ in range(2):
        await campus.lab.sync(full=True)
    assert ("", "") == tuple(case.properties[name] for name in quiz)
    enrolment = campus.lab.case(f"test-enrol-{campus.courses[0]}-{campus.people['amina']}")
    assert "70" == enrolment.properties[f"grade_{visit}"]


async def test_single_grades_as_cases(make_lab: MakeLab) -> None:
    """Switched on, each graded activity is a case of the student's own as well; hidden ones are not."""
    grade_item = offline_files()["grade_item"].replace("enabled: false\n", "")
    campus = Campus(make_lab, grade_item=grade_item)
    await campus.lab.sync()
    person = campus.people["baraka"]
    assert sorted([*campus.own("baraka"), f"test-grade-{campus.quiz}-{person}"]) == campus.held("baraka")


async def test_a_student_without_a_mobile_worker_is_nobodys(make_lab: MakeLab) -> None:
    """He or she is held back and listed, with all cases below; with a mobile worker, all of them come."""
    campus = Campus(make_lab)
    campus.lab.project.users.pop("neema")
    result = await campus.lab.sync()
    neema = campus.people["neema"]
    assert not [key for key in map(str, campus.lab.project._by_external_id) if key.endswith(f"-{neema}")]
    assert 1 <= written(result)["held_back"]
    assert ["owner_unresolved"] == [one.reason for one in campus.lab.store.problems("student")]
    campus.lab.project.add_user("neema")
    await campus.lab.sync()
    assert campus.own("neema") == campus.held("neema")


async def test_a_new_mobile_worker_takes_everything_along(make_lab: MakeLab) -> None:
    """Another username moves the student's cases, all of them, and the old phone holds nothing any more."""
    campus = Campus(make_lab)
    await campus.lab.sync()
    campus.lab.project.add_user("neema.otieno")
    campus.site.update_user(campus.people["neema"], username="neema.otieno")
    await campus.lab.sync(full=True)
    await campus.lab.sync(full=True)
    assert ([], campus.own("neema")) == (campus.held("neema"), campus.held("neema.otieno"))


async def test_cases_without_an_owner_of_their_own_would_not_come(make_lab: MakeLab) -> None:
    """Children that belong to a group are not on the student's phone: that is why each has an owner of its own."""
    enrolment = offline_files()["enrolment"].replace("owner: {same_as: student}", "owner: {otherwise: project}")
    campus = Campus(make_lab, enrolment=enrolment, project=PROJECT)
    await campus.lab.sync()
    assert [f"test-user-{campus.people['neema']}"] == campus.held("neema")
