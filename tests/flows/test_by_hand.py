"""What people do by hand on either side: cases deleted in CommCare, accounts deleted or suspended in Moodle."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from adaptors.moodle.streams import PROFILES
from flows.problems import retry
from tests.flows.test_audit import audited
from tests.flows.test_departures import consenting
from tests.flows.test_push import doubles, settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]


@pytest.mark.parametrize("text", ["No case found with ID '{id}'", "Case [{id}] is deleted"])
async def test_a_deleted_case_is_named_and_not_made_anew(make_lab: MakeLab, text: str) -> None:
    """Whichever words CommCare has for it: this one is listed, the others are sent, in two requests."""
    site, _, learners = site_of(5)
    lab = make_lab(site)
    await lab.sync()
    case_id = lab.case(f"test-user-{learners[2]}").case_id
    for learner in learners:
        site.update_user(learner, city="Bondo")
    lab.commcare.refuse_form(case_id, text.format(id=case_id))
    result = await lab.sync()
    assert (4, 1, 2) == (
        result.of("student").updated,
        result.of("student").problems,
        result.requests["commcare"]["write"],
    )
    assert ["target_deleted"] == [one.reason for one in lab.store.refusals()]
    assert 5 == len(lab.project.of_type("student"))


async def test_children_follow_a_parent_that_was_made_anew(make_lab: MakeLab) -> None:
    """When a person has the deleted parent made anew, its children link to the new case in the same run."""
    site, _, learners = site_of(2)
    lab = make_lab(site)
    await lab.sync()
    key = f"test-user-{learners[0]}"
    lab.project.delete_case(lab.case(key).case_id)
    site.update_user(learners[0], city="Bondo")
    await lab.sync()
    retry(lab.store, lab.clock.now(), key=key, recreate=True)
    await lab.sync()
    again, child = lab.case(f"{key}~2"), lab.case(f"test-enrol-2-{learners[0]}")
    assert [again.case_id] == [index["case_id"] for index in child.indices.values()]
    await settle(lab)
    assert [] == doubles(lab)


@pytest.mark.parametrize("way", ["problems", "audit"])
@pytest.mark.parametrize("close", [True, False])
async def test_who_is_kept_out_gets_no_case_made_anew(make_lab: MakeLab, way: str, *, close: bool) -> None:
    """CommCare is asked once whether it has a case, and not in each run; who is let in gets one."""
    out = f"when_excluded: {{set: {{moodle_status: out}}, close: {str(close).lower()}}}"
    lab, learners = await consenting(make_lab, extra=out)
    key = f"test-user-{learners[0]}"
    lab.project.delete_case(lab.case(key).case_id)
    lab.site.update_user(learners[0], profile={"consent": "no"})
    await lab.sync()
    if way == "problems":
        assert "a new case of each whose person" in retry(lab.store, lab.clock.now(), key=key, recreate=True)
    else:
        assert 0 == (await audited(lab, recreate=True)).recreated
    await lab.sync()
    result = await lab.sync()
    assert ("completed", {}, {}) == (result.state, written(result), result.requests["commcare"])
    lab.site.update_user(learners[0], profile={"consent": "yes"})
    await lab.sync()
    assert "Kisumu" == lab.case(f"{key}~2").properties["city"]


async def test_a_deleted_account_is_never_mapped(make_lab: MakeLab) -> None:
    """Moodle gives deleted people back under a mangled name: none of it reaches CommCare; they left.

    The account goes after its course has listed the person, and before the profile is read.
    """
    site, _, learners = site_of(8)
    lab = make_lab(site)
    await lab.sync()
    case, plain = lab.case(f"test-user-{learners[0]}"), lab._to_moodle
    before = case.case_name, dict(case.properties)

    def deleting(request: httpx.Request) -> httpx.Response:
        if PROFILES in request.content.decode() and not site.users[learners[0]].deleted:
            site.delete_user(learners[0])
            site.update_user(learners[0], city="Bondo")
        return plain(request)

    lab._to_moodle = deleting  # type: ignore[method-assign]
    result = await lab.sync()
    assert site.users[learners[0]].deleted
    assert ({}, before) == (written(result), (case.case_name, dict(case.properties)))
    for _ in range(2):
        await lab.sync()
    assert (before[0], before[1] | {"moodle_status": "left"}) == (case.case_name, dict(case.properties))


async def test_suspended_is_not_gone(make_lab: MakeLab) -> None:
    """A suspended enrolment is a status; nobody is marked as left, however many reads there are."""
    site, courses, learners = site_of(3)
    lab = make_lab(site)
    await lab.sync()
    site.suspend_enrolment(courses[0], learners[0], suspended=True)
    results = [await lab.sync() for _ in range(3)]
    assert [{"updated": 1}, {}, {}] == [written(result) for result in results]
    assert "suspended" == lab.case(f"test-enrol-{courses[0]}-{learners[0]}").properties["enrolment_status"]
