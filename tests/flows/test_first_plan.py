"""What a first run tells before anything is made: new cases, those there, owners, numbers, consent, how long."""

from __future__ import annotations

from collections.abc import Callable

from flows.show import show_plan
from tests.flows.test_sync import site_of
from tests.flows.worlds import PROJECT, Lab

MakeLab = Callable[..., Lab]
CONSENT = '\n  - {source: profile.consent, is: "yes"}'


async def test_the_whole_plan(make_lab: MakeLab) -> None:
    """Creates, existing cases, people without a usable number or consent, requests, minutes; nothing is sent."""
    site, courses, learners = site_of(6)
    for learner in learners:
        site.update_user(learner, profile={"consent": "no" if learner == learners[0] else "yes"})
    site.update_user(learners[1], phone1="")
    site.update_user(learners[2], phone1="12")
    site.enrol(courses[0], site.add_user("Tea", "Cher"), roles=["editingteacher"])
    lab = make_lab(site)
    text = (lab.mappings / "student.yaml").read_text()
    old = next(line for line in text.splitlines() if "any_of" in line or "source: roles" in line)
    lab.edit("student", old, old + CONSENT)
    lab.project.add_case("student", "Somebody")
    plan = (await lab.sync(yes=False)).plan
    assert {"student": 5, "enrolment": 5} == plan["creates"]
    assert {"student.contact_phone_number": 2} == plan["without_phone"]
    assert {"student": 2} == plan["kept_out"]  # the teacher has not agreed either
    assert {} == plan["unresolved_owners"]
    assert ({"student": 1, "enrolment": 0}, 2, 1) == (
        plan["existing_cases"],
        plan["commcare_requests"],
        plan["expected_minutes"],
    )
    assert 1 == len(plan["stops"])
    assert [] == lab.project.forms


async def test_owners_in_vain(make_lab: MakeLab) -> None:
    """Owners that CommCare does not have are counted by what is wrong with them, without their names."""
    site, _, _ = site_of(3)
    lab = make_lab(site, project=PROJECT.replace("Field coaches", "Nobody"))
    plan = (await lab.sync(yes=False)).plan
    assert {"group unknown": 3} == plan["unresolved_owners"]
    assert "Nobody" not in str(plan)
    assert 0 == plan["creates"].get("student", 0)
    assert {} == plan["without_phone"]


async def test_the_plan_in_words(make_lab: MakeLab, capsys: object) -> None:
    """A person reads it line by line."""
    site, _, learners = site_of(3)
    site.update_user(learners[1], phone1="")
    lab = make_lab(site)
    show_plan(await lab.sync(yes=False))
    told = capsys.readouterr().out  # type: ignore[attr-defined]
    assert "leave student.contact_phone_number blank in 1 case: no telephone number that can be used" in told
