"""Course totals that Moodle keeps back because a hidden grade counts in them: told, never sent as not graded."""

from __future__ import annotations

from collections.abc import Callable

from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]


async def test_a_total_that_is_withheld_stays_and_is_told(make_lab: MakeLab) -> None:
    """A grade that is hidden afterwards neither empties the total nor says 'not graded'; shown again, it moves."""
    site, courses, (graded, _) = site_of(2)
    quiz, secret = (site.set_grade_item(courses[0], name) for name in ("Quiz", "Secret"))
    site.grade(quiz, graded, 80)
    lab = make_lab(site)
    lab.moodle.revoke("moodle/grade:viewhidden")
    first = await lab.sync()
    assert not any("course totals" in message for message in first.messages)
    case = lab.case(f"test-enrol-{courses[0]}-{graded}")
    next(one for one in site.gradebooks[courses[0]].items if one.id == secret).hidden = True
    site.grade(quiz, graded, 40)
    result = await lab.sync()
    assert ("80", "pass", "40") == tuple(case.properties[n] for n in ("grade_percent", "result", f"grade_{quiz}"))
    (message,) = [message for message in result.messages if "course totals" in message]
    assert message.startswith(f"Moodle does not show the course totals of course {courses[0]}: ")
    assert "completed" == result.state
    site.gradebooks[courses[0]].shows_totals = True
    assert {"updated": 1} == written(await lab.sync())
    assert ("40", "fail") == (case.properties["grade_percent"], case.properties["result"])


async def test_an_error_in_the_gradebook_empties_nothing(make_lab: MakeLab) -> None:
    """A formula that Moodle cannot work out blanks a grade and the total: both stay, and it is told."""
    site, courses, (graded, _) = site_of(2)
    quiz, visit = (site.set_grade_item(courses[0], name) for name in ("Quiz", "Visit"))
    for item, points in ((quiz, 80), (visit, 60)):
        site.grade(item, graded, points)
    lab = make_lab(site)
    await lab.sync()
    case = lab.case(f"test-enrol-{courses[0]}-{graded}")
    before = dict(case.properties)
    site.set_grade_item(courses[0], "Quiz", broken=True)
    site.grade(visit, graded, 70)
    for _ in range(3):
        result = await lab.sync(full=True)
    assert {**before, f"grade_{visit}": "70"} == case.properties
    assert ("80", "70") == (before["grade_" + str(quiz)], before["grade_percent"])
    assert any("the gradebook has an error" in message for message in result.messages)


async def test_a_new_enrolment_is_not_called_ungraded(make_lab: MakeLab) -> None:
    """What is not known is not said: a first case has no total; who really has no grade is 'not_graded'."""
    site, courses, (graded, ungraded) = site_of(2)
    site.grade(site.set_grade_item(courses[0], "Quiz"), graded, 80)
    site.set_grade_item(courses[0], "Secret", hidden=True)
    lab = make_lab(site)
    lab.moodle.revoke("moodle/grade:viewhidden")
    await lab.sync()
    found = [lab.case(f"test-enrol-{courses[0]}-{one}").properties.get("result") for one in (graded, ungraded)]
    assert [None, "not_graded"] == found
