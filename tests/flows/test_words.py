"""A person's word and a write that fails: it holds until CommCare has answered, and never for anybody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from flows.confirm import confirm, confirm_withdrawn
from flows.needs import ALLOWED_LEAVERS, ALLOWED_WITHDRAWN, needs
from flows.steps import push
from flows.steps.asked import LEAVERS
from tests.flows.test_departures import consenting
from tests.flows.test_person import erased
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]

TROUBLES: dict[str, Callable[[Lab], None]] = {
    "the answer was lost": lambda lab: lab.commcare.drop_reply_after_commit(),
    "the write was lost": lambda lab: lab.commcare.fail_next("timeout"),
    "two writes were lost": lambda lab: lab.commcare.fail_next("timeout", times=2),
    "the write came late": lambda lab: lab.commcare.late_write(300.0),
    "CommCare was down": lambda lab: lab.commcare.fail_next("refused", times=push.TRIES),
    "CommCare was down twice": lambda lab: lab.commcare.fail_next("refused", times=2 * push.TRIES),
}


async def leaving(make_lab: MakeLab, people: int = 5) -> tuple[Lab, int, list[int]]:
    """Return a lab, a course of twelve and its people; some are gone from it, and a person has agreed to that."""
    site, courses, learners = site_of(12, 12, shared=True)  # nobody leaves the site
    lab = make_lab(site)
    await lab.sync()
    go(lab, courses[0], learners[:people])
    for _ in range(2):
        await lab.sync()
    confirm(lab.store, courses[0], people)
    return lab, courses[0], learners


def go(lab: Lab, course: int, people: list[int]) -> None:
    """Let people leave a course."""
    for person in people:
        lab.site.unenrol(course, person)


def left(lab: Lab, course: int, people: list[int]) -> list[int]:
    """Return those who are marked as left."""
    found = {one: lab.case(f"test-enrol-{course}-{one}").properties["enrolment_status"] for one in people}
    return [one for one in people if found[one] == "left"]


def allowed(lab: Lab, name: str = ALLOWED_LEAVERS) -> Any:
    """Return what may be done and was not yet."""
    return json.loads(lab.store.get(name) or "{}")


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_leavers_are_asked_about_once(make_lab: MakeLab, trouble: str) -> None:
    """Those agreed to are marked, however long it takes; others who go meanwhile are asked about by themselves."""
    lab, course, learners = await leaving(make_lab)
    TROUBLES[trouble](lab)
    await lab.sync()
    assert {str(course)} == allowed(lab).keys()
    go(lab, course, learners[5:9])
    for _ in range(4):
        result = await lab.sync()
        assert not any("5 people are missing" in message for message in result.messages)
    assert ([*learners[:5]], {}) == (left(lab, course, learners), allowed(lab))
    assert [("leavers", course, 4)] == [(one.kind, one.course, one.count) for one in needs(lab.store)]


async def test_a_part_of_a_word_is_kept(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """CommCare took some and went down: the rest follows, and the number is of no use for others."""
    monkeypatch.setattr(push, "BATCH", 2)
    monkeypatch.setattr(push, "IN_FLIGHT", 1)
    lab, course, learners = await leaving(make_lab, 8)
    done = len(lab.project.forms) + 1

    def down_then(request: httpx.Request) -> httpx.Response:
        if len(lab.project.forms) == done:
            raise httpx.ConnectError("refused")
        return lab.commcare(request)

    monkeypatch.setattr(lab, "_to_commcare", down_then)
    assert "postponed" == (await lab.sync()).state
    marked = left(lab, course, learners)
    monkeypatch.undo()
    go(lab, course, learners[8:11])
    lab.site.enrol(course, next(one for one in learners[:8] if one not in marked))
    for _ in range(3):
        await lab.sync()
    assert (2, 7) == (len(marked), len(left(lab, course, learners)))
    assert [3] == [one.count for one in needs(lab.store)]


async def test_who_came_back_is_asked_about_anew(make_lab: MakeLab) -> None:
    """CommCare was down, and those who were agreed to are back: when they go again, it is another question."""
    lab, course, learners = await leaving(make_lab)
    TROUBLES["CommCare was down"](lab)
    await lab.sync()
    for person in learners[:5]:
        lab.site.enrol(course, person)
    await lab.sync()
    assert {} == allowed(lab)
    go(lab, course, learners[:5])
    for _ in range(2):
        await lab.sync()
    assert ([], [5]) == (left(lab, course, learners), [one.count for one in needs(lab.store)])


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_withdrawn_are_asked_about_once(make_lab: MakeLab, trouble: str) -> None:
    """With their enrolments, however long it takes; others who are kept out meanwhile wait for a word of their own."""
    lab, learners = await consenting(make_lab, 12)
    for person in learners[:4]:
        lab.site.update_user(person, profile={"consent": "no"})
    await lab.sync()
    confirm_withdrawn(lab.store, 0, 4)
    TROUBLES[trouble](lab)
    await lab.sync()
    assert {} != allowed(lab, ALLOWED_WITHDRAWN)
    for person in learners[4:8]:
        lab.site.update_user(person, profile={"consent": "no"})
    for _ in range(4):
        await lab.sync()
    cities = [lab.case(f"test-user-{person}").properties["city"] for person in learners]
    assert ([""] * 4 + ["Kisumu"] * 8, {}) == (cities, allowed(lab, ALLOWED_WITHDRAWN))
    assert [("withdrawn", 0, 4)] == [(one.kind, one.course, one.count) for one in needs(lab.store)]


async def test_a_word_in_the_middle_of_a_run(make_lab: MakeLab) -> None:
    """What somebody says while a run comes to its end is for the next one, and is not lost."""
    lab, course, learners = await leaving(make_lab)
    lab.store.put(LEAVERS.confirmed, "{}")
    do = lab.books.do

    async def said(method: Any, /, *args: Any, **more: Any) -> Any:
        found = await do(method, *args, **more)
        if method == lab.store.get and args == (LEAVERS.confirmed,):
            await do(confirm, lab.store, course, 5)
        return found

    lab.books.do = said  # type: ignore[method-assign]
    assert "waiting" == (await lab.sync()).state
    lab.books.do = do  # type: ignore[method-assign]
    assert {"marked_left": 5} == written(await lab.sync())


async def test_an_erased_person_is_in_no_list(make_lab: MakeLab) -> None:
    """Who may go and is erased first is not named any more."""
    lab, course, learners = await leaving(make_lab)
    TROUBLES["CommCare was down"](lab)
    await lab.sync()
    await erased(lab, learners[0])
    assert 4 == len(allowed(lab)[str(course)]["enrolment"])
