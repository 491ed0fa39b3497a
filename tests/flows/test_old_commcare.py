"""A CommCare from before 2026, which cannot create or update in one request: the same cases, more requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adaptors.moodle.fake_site import FakeSite
from tests.flows.test_push import doubles, settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]


def old_lab(make_lab: MakeLab, site: FakeSite, **values: Any) -> Lab:
    """Make a world with an old CommCare."""
    lab = make_lab(site, **values)
    lab.commcare.upserts = False
    return lab


async def test_first_second_and_changed(make_lab: MakeLab) -> None:
    """New cases are looked for, then made; afterwards such a server costs nothing more."""
    site, courses, learners = site_of(3)
    lab = old_lab(make_lab, site)
    result = await lab.sync()
    assert ({"created": 6}, "completed") == (written(result), result.state)
    at_first_load = 2  # whether cases of other types have the external ids, many at once
    assert (1, 6 + at_first_load) == (result.requests["commcare"]["probe"], result.requests["commcare"]["get"])
    assert any("older than 2026" in text for text in result.messages)
    assert {} == (await lab.sync()).requests["commcare"]
    site.grade(site.set_grade_item(courses[0], "Quiz"), learners[0], 80)
    result = await lab.sync()
    assert ({"updated": 1}, {"write": 1}) == (written(result), result.requests["commcare"])


@pytest.mark.parametrize("trouble", ["lost", "lost answer", "late"])
async def test_unknown_outcomes(make_lab: MakeLab, trouble: str) -> None:
    """A create of unknown outcome rests, is looked for, and is made only when it is not there."""
    site, _, _ = site_of(3)
    lab = old_lab(make_lab, site)
    await lab.sync(mappings=("student",))
    site.enrol(max(site.courses), site.add_user("Late", "Comer"))
    if trouble == "lost":
        lab.commcare.fail_next("timeout", times=2)
    elif trouble == "late":
        lab.commcare.late_write(900.0)
    else:
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    lab.commcare.advance(900.0)
    await settle(lab)
    assert (8, [], {}) == (len(lab.project.cases), doubles(lab), lab.store.intents())


async def test_cases_that_are_there_are_updated(make_lab: MakeLab) -> None:
    """With the books lost, cases are found by their external id and not made a second time."""
    site, _, _ = site_of(3)
    lab = old_lab(make_lab, site)
    await lab.sync()
    lab.lose_books()
    for name in ("student", "enrolment"):
        lab.edit(name, "language: 1", "language: 1\nexisting_cases: ignore")
    await settle(lab)
    assert (6, []) == (len(lab.project.cases), doubles(lab))


async def test_two_cases_of_one_key(make_lab: MakeLab) -> None:
    """A key that two cases have is listed, and the others are made."""
    site, courses, _ = site_of(2)
    lab = old_lab(make_lab, site)
    await lab.sync()  # a first run would look for unknown cases before anything is sent
    news = [site.add_user(f"New{number}", "Comer") for number in range(3)]
    for person in news:
        site.enrol(courses[0], person)
    for _ in range(2):
        lab.project.add_case("student", "Double", external_id=f"test-user-{news[0]}")
    result = await lab.sync()
    assert (2, 1) == (result.of("student").created, result.of("student").problems)
    assert ["duplicate_external_id"] == [one.reason for one in lab.store.refusals()]


async def test_one_bad_row(make_lab: MakeLab) -> None:
    """A row that is refused for another reason is set aside there as well."""
    site, _, learners = site_of(5)
    lab = old_lab(make_lab, site)
    lab.commcare.refuse_row(f"test-user-{learners[2]}", "Values must be strings, received '5'")
    result = await lab.sync()
    assert (4, 1) == (result.of("student").created, result.of("student").problems)


async def test_a_server_that_is_updated(make_lab: MakeLab) -> None:
    """Once the server can do it nothing is looked for any more: every run takes that for granted first."""
    site, courses, _ = site_of(2)
    lab = old_lab(make_lab, site)
    await lab.sync()
    lab.commcare.upserts = True
    site.enrol(courses[0], site.add_user("New", "Comer"))
    result = await lab.sync()
    assert ({"created": 2}, {"write": 2, "owners": 1}) == (written(result), result.requests["commcare"])


async def test_a_request_that_is_refused_after_that_was_found_out(make_lab: MakeLab) -> None:
    """Several requests are under way when the first refusal comes: the rows of all of them are looked for."""
    site, _, _ = site_of(200)
    lab = old_lab(make_lab, site)
    plain, probed, writes = lab.commcare, asyncio.Event(), 0

    async def slowly(request: httpx.Request) -> httpx.Response:
        nonlocal writes
        response = plain(request)
        if request.content == b'[{"create":null}]':
            probed.set()
        elif request.method == "POST" and request.url.path.endswith("/case/v2/"):
            writes += 1
            if writes == 2:
                await asyncio.wait_for(probed.wait(), 5)
                for _ in range(60):
                    await asyncio.sleep(0)
        return response

    lab._to_commcare = slowly  # type: ignore[method-assign,assignment]
    result = await lab.sync(mappings=("student",))
    assert ({"created": 200}, [], 1) == (written(result), lab.store.refusals(), len(result.messages))
