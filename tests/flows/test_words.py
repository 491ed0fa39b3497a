"""A person's word and a write that fails: it holds until CommCare has answered, and never for anybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from flows.confirm import confirm, confirm_blanks, confirm_withdrawn
from flows.needs import ALLOWED_BLANKS, ALLOWED_LEAVERS, ALLOWED_WITHDRAWN, CONFIRMED_BLANKS, needs
from flows.result import Result
from flows.steps import push
from flows.steps.asked import LEAVERS
from flows.steps.blanks import SHARED_BLANKS, BlankGuard, SharedBlankGuard
from flows.steps.planned import Scope
from flows.world import Books
from state import Store
from state.tables import meta
from tests.flows.test_departures import consenting
from tests.flows.test_edits import graded
from tests.flows.test_person import erased
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

pytestmark = pytest.mark.story

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
    """With their enrolments, however long it takes; others who are kept out meanwhile wait for their own word."""
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
    lab, course, _ = await leaving(make_lab)
    lab.store.put(LEAVERS.confirmed, "{}")
    do = lab.books.do

    async def said(method: Any, /, *args: Any, **more: Any) -> Any:
        found = await do(method, *args, **more)
        if method == lab.store.get_all and LEAVERS.allowed in args[0]:
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


# --- values that many lose ------------------------------------------------------------------------------


async def in_kisumu(make_lab: MakeLab, people: int) -> tuple[Lab, list[int]]:
    """Return a lab and its people, whose cases all have a city."""
    site, _, learners = site_of(people)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    return lab, learners


async def losing(make_lab: MakeLab) -> tuple[Lab, list[int]]:
    """Return a lab and its people; ten of twenty have lost their city, and a person has agreed to that."""
    lab, learners = await in_kisumu(make_lab, 20)
    lose(lab, learners[:10])
    await lab.sync()
    confirm_blanks(lab.store, "student", "city", 10)
    return lab, learners


def lose(lab: Lab, people: list[int]) -> None:
    """Let people lose their city."""
    for person in people:
        lab.site.update_user(person, city="")


def without(lab: Lab, people: list[int]) -> list[int]:
    """Return those whose case has no city."""
    return [one for one in people if not lab.case(f"test-user-{one}").properties["city"]]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_losers_are_asked_about_once(make_lab: MakeLab, trouble: str) -> None:
    """Those agreed to are emptied, however long it takes; others who lose theirs meanwhile wait for a word."""
    lab, learners = await losing(make_lab)
    TROUBLES[trouble](lab)
    await lab.sync()
    assert 10 == len(allowed(lab, ALLOWED_BLANKS)["student city"]["0"])
    assert {} == allowed(lab, CONFIRMED_BLANKS)
    lose(lab, learners[10:16])
    for _ in range(4):
        await lab.sync()
    assert ([*learners[:10]], {}) == (without(lab, learners), allowed(lab, ALLOWED_BLANKS))
    assert [("blanks", "city", 6)] == [(one.kind, one.property_name, one.count) for one in needs(lab.store)]


async def test_a_value_that_is_back_ends_the_word(make_lab: MakeLab) -> None:
    """CommCare was down, and the values are back: when they are lost again, it is another question."""
    lab, learners = await losing(make_lab)
    TROUBLES["CommCare was down"](lab)
    await lab.sync()
    for person in learners[:10]:
        lab.site.update_user(person, city="Kisumu")
    await lab.sync()
    assert {} == allowed(lab, ALLOWED_BLANKS)
    lose(lab, learners[:10])
    await lab.sync()
    assert ([], [10]) == (without(lab, learners), [one.count for one in needs(lab.store)])


async def test_elements_in_doubt_are_asked_about_once(make_lab: MakeLab) -> None:
    """Elements that vanished together are emptied once a person agreed, though the answer was lost."""
    lab, learners, items = await graded(make_lab)
    lab.moodle.revoke("mod/assign:view")
    for _ in range(2):
        await lab.sync()
    for item in items:
        confirm_blanks(lab.store, "enrolment", f"grade_{item}", 3)
    lab.commcare.fail_next("timeout")
    await lab.sync()
    for _ in range(5):
        assert "completed" == (await lab.sync()).state
    case = lab.case(f"test-enrol-2-{learners[0]}")
    assert (["", ""], {}) == (
        [case.properties[f"grade_{item}"] for item in items],
        allowed(lab, ALLOWED_BLANKS),
    )


async def test_a_new_word_in_the_middle_of_a_run(make_lab: MakeLab) -> None:
    """What was left of a word ends with its run; what somebody says meanwhile is for the next one."""
    lab, learners = await losing(make_lab)
    for person in learners[:4]:
        lab.site.update_user(person, city="Bondo")
    lose(lab, learners[10:18])
    commcare = lab._to_commcare

    def said(request: httpx.Request) -> httpx.Response:
        if b'"city"' in request.content:
            lab.store.change_entries(CONFIRMED_BLANKS, {"student city": {"0": 14}})
        return commcare(request)

    lab._to_commcare = said  # type: ignore[method-assign]
    assert "waiting" == (await lab.sync()).state
    assert {"student city": {"0": 14}} == allowed(lab, CONFIRMED_BLANKS)
    lab._to_commcare = commcare  # type: ignore[method-assign]
    assert "completed" == (await lab.sync()).state
    assert ([*learners[4:18]], {}) == (without(lab, learners), allowed(lab, CONFIRMED_BLANKS))


async def test_two_who_ask_at_once_share_a_word(make_lab: MakeLab) -> None:
    """What is left of a word is one number, whoever reads it first."""
    lab, _ = await losing(make_lab)
    guard = BlankGuard(lab.world(), Result("r"))
    one, other = await asyncio.gather(guard.agreed(), guard.agreed())
    assert ({"student city": {"0": 10}}, True) == (one, one is other)


async def test_shards_use_up_the_word_as_well(make_lab: MakeLab) -> None:
    """What a shard takes of what was agreed is not there for a later run either, should the round not end."""
    lab, _ = await losing(make_lab)
    guard, scope = SharedBlankGuard(lab.world(), Result("r")), Scope(lab.loaded().mappings[0], 0)
    name = f"{scope.mapping.name} city"
    for fact in (SHARED_BLANKS, CONFIRMED_BLANKS):
        lab.store.put(fact, json.dumps({name: {"0": 3}}))
    answers = [await guard._may_empty(scope, "city", keys) for keys in ({"a", "b"}, {"c", "d"}, {"c"})]
    assert ([True, False, True], {}, {}) == (
        answers,
        *(allowed(lab, f) for f in (SHARED_BLANKS, CONFIRMED_BLANKS)),
    )
    assert {name: {"0": ["a", "b", "c"]}} == allowed(lab, ALLOWED_BLANKS)


# --- values of cases of which nobody knows what they hold -----------------------------------------------


def doubt(lab: Lab) -> None:
    """Have all cases be sent whole the next time, as after a key that was lost."""
    lab.books.close()
    lab.books = Books(lambda: Store.open(lab.state_url, key=bytes(31) + b"k"))


async def test_values_of_unknown_cases_are_asked_about(make_lab: MakeLab) -> None:
    """Many lose a value and nobody knows what their cases hold: CommCare does, and a person is asked."""
    lab, learners = await in_kisumu(make_lab, 10)
    doubt(lab)
    lose(lab, learners[:8])
    lab.site.update_user(learners[9], firstname="Zawadi")
    for updated in (20, 0):
        result = await lab.sync()
        assert ("waiting", updated) == (result.state, written(result).get("updated", 0))
        assert any("8 people would lose their city" in message for message in result.messages)
    assert ([], "Zawadi") == (
        without(lab, learners),
        lab.case(f"test-user-{learners[9]}").properties["first_name"],
    )
    confirm_blanks(lab.store, "student", "city", 8)
    assert {"updated": 8} == written(await lab.sync())
    assert ([*learners[:8]], {}) == (without(lab, learners), written(await lab.sync()))


async def test_an_answer_that_was_lost_hides_nobody(make_lab: MakeLab) -> None:
    """The same for people of whom one write is in doubt, together with those of whom all is known."""
    lab, learners = await in_kisumu(make_lab, 10)
    for learner in learners[:2]:
        lab.site.update_user(learner, firstname="Zawadi")
    lab.commcare.drop_reply_after_commit()
    assert 2 == (await lab.sync()).of("student").in_doubt
    lose(lab, learners[:4])
    result = await lab.sync()
    assert ("waiting", []) == (result.state, without(lab, learners))
    assert [4] == [one.count for one in needs(lab.store)]


@pytest.mark.parametrize(("people", "asked"), [(2, None), (8, 1)])
async def test_what_a_look_costs(make_lab: MakeLab, people: int, asked: int | None) -> None:
    """A few blanks cost nothing, and many one request; who never had a value loses none."""
    site, _, learners = site_of(20)
    for learner in learners:
        site.update_user(learner, idnumber=f"N{learner}")
    for learner in learners[people:]:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    doubt(lab)
    result = await lab.sync(mappings=("student",))
    assert ("completed", {"updated": 20}) == (result.state, written(result))
    assert asked == result.requests["commcare"].get("get")


async def test_those_who_come_back_lose_nothing(make_lab: MakeLab) -> None:
    """Who was withdrawn and never had a city is included again, and nobody is asked about the city."""
    lab, learners = await consenting(make_lab)
    lose(lab, learners[:2])
    await lab.sync()
    lose(lab, learners[2:4])
    await lab.sync()
    for answer in ("no", "yes"):
        for person in learners[:4]:
            lab.site.update_user(person, profile={"consent": answer})
        await lab.sync()
        if needs(lab.store):
            confirm_withdrawn(lab.store, 0, 4)
            await lab.sync()
    assert ([], "First0") == (needs(lab.store), lab.case(f"test-user-{learners[0]}").properties["first_name"])


# --- cases that a create meets ---------------------------------------------------------------------------


PHONE = "\nproperties:\n  phone: {source: user.phone1, personal: true}\n"
IGNORE = "source: enrolments\nexisting_cases: ignore\n"


async def unknown(make_lab: MakeLab, way: str) -> tuple[Lab, list[str]]:
    """Return a lab whose books do not know the ten enrolments that CommCare has, and their keys."""
    site, (course,), learners = site_of(10)
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:\n", PHONE)
    lab.edit("enrolment", "source: enrolments\n", IGNORE)
    lab.edit("student", "source: users\n", "source: users\nexisting_cases: ignore\n")
    await lab.sync(mappings=("student",))
    if way == "in doubt":
        lab.commcare.drop_reply_after_commit()
    await lab.sync()
    if way == "books lost":
        lab.lose_books()
        await lab.sync(mappings=("student",))
    for learner in learners[:9]:
        site.update_user(learner, phone1="")
    return lab, [f"test-enrol-{course}-{one}" for one in learners]


def phones(lab: Lab, keys: list[str]) -> list[str]:
    """Return the numbers in cases."""
    return [lab.case(key).properties["phone"] for key in keys]


@pytest.mark.parametrize(("way", "how"), [("in doubt", "created"), ("books lost", "updated")])
async def test_a_create_that_meets_a_case_empties_nothing_unasked(make_lab: MakeLab, way: str, how: str) -> None:
    """Nine of ten would lose a number, and the books know of no case: a person is asked, and is heard."""
    lab, keys = await unknown(make_lab, way)
    before = phones(lab, keys)
    for sent in ({how: 10}, {}):
        result = await lab.sync(mappings=("enrolment",))
        assert ("waiting", sent, before) == (result.state, written(result), phones(lab, keys))
        assert any("9 people would lose their phone" in message for message in result.messages)
    confirm_blanks(lab.store, "enrolment", "phone", 9)
    assert {"updated": 9} == written(await lab.sync(mappings=("enrolment",)))
    assert [""] * 9 + before[9:] == phones(lab, keys)


@pytest.mark.parametrize(("way", "how"), [("in doubt", "created"), ("books lost", "updated")])
async def test_a_word_about_cases_that_a_create_meets(make_lab: MakeLab, way: str, how: str) -> None:
    """A person agreed, and CommCare was down: who may be emptied still may, though the books have no case."""
    lab, keys = await unknown(make_lab, way)
    lab.store.put(CONFIRMED_BLANKS, json.dumps({"enrolment phone": {"2": 9}}))
    lab.commcare.fail_next("429", times=8)
    result = await lab.sync(mappings=("enrolment",))
    lab.commcare.faults.clear()
    assert ("postponed", {}) == (result.state, allowed(lab, CONFIRMED_BLANKS))
    assert {how: 10} == written(await lab.sync(mappings=("enrolment",)))
    assert ([""] * 9, []) == (phones(lab, keys[:9]), needs(lab.store))
    await lab.sync()
    assert {} == allowed(lab, ALLOWED_BLANKS)


async def test_a_new_case_is_not_looked_for(make_lab: MakeLab) -> None:
    """Of a case that was never sent nothing can be lost: a first load costs its own two looks, and asks nobody."""
    site, _, learners = site_of(10)
    for learner in learners[:9]:
        site.update_user(learner, phone1="")
    lab = make_lab(site)
    lab.edit("enrolment", "\nproperties:\n", PHONE)
    result = await lab.sync()
    assert ("completed", 2) == (result.state, result.requests["commcare"]["get"])


async def test_nothing_of_a_word_names_the_erased(make_lab: MakeLab) -> None:
    """A value was emptied upon a word, and before the next run its person is erased: the others stay named."""
    lab, learners = await losing(make_lab)
    await lab.sync()
    assert "completed" == (await erased(lab, learners[0])).state
    key = f"test-user-{learners[0]}"
    assert 9 == len(allowed(lab, ALLOWED_BLANKS)["student city"]["0"])
    with lab.store._database.reading() as connection:
        assert [] == [row.name for row in connection.execute(select(meta)) if key in row.value]
    await lab.sync()
    assert {} == allowed(lab, ALLOWED_BLANKS)
