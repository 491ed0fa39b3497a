"""A person's answers through the one form, and the runs that ask before and go on after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from flows.approve import TAKES, WRITES, Answer, AnswerKind, approve
from flows.errors import UsageError
from flows.need import Need
from flows.needs import APPROVED, CONFIRMED_BLANKS, EXISTING, FIRST_RUNS, REFUSED_LEAVERS, needs
from flows.result import RunState
from flows.sync import Options, sync
from state import Store
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]


def other_key(lab: Lab, old: str, new: str) -> None:
    """Let students have other keys, and enrolments name them."""
    for name in ("student", "enrolment"):
        lab.edit(name, f'"{{site}}-{old}-', f'"{{site}}-{new}-')


async def answered(lab: Lab, need: Need) -> str:
    """Fill in the form as a run said it."""
    form: dict[str, Any] = {**need.form}
    answer = Answer(form.pop("kind"), property_name=str(form.pop("property", "")), **form)
    return await lab.books.do(approve, lab.store, answer)


async def waiting(lab: Lab) -> list[Need]:
    """Return what waits for a person."""
    return await lab.books.do(needs, lab.store)


# --- first runs ---------------------------------------------------------------------------------------------


async def test_from_the_plan_to_the_first_load(make_lab: MakeLab) -> None:
    """A run shows its plan and waits; approved with its number, the next run makes the cases without --yes."""
    lab = make_lab(site_of(3)[0])
    result = await lab.sync(yes=False)
    assert ("waiting", {"student": 3, "enrolment": 3}) == (result.state, result.plan["new_cases"])
    (need,) = await waiting(lab)
    assert (need.message, {"kind": "first-run", "count": 6}) == (result.messages[0], need.form)
    told = await answered(lab, need)
    assert told.startswith("Approved: 6 new cases of enrolment, student. The next run makes them")
    assert [] == lab.project.forms
    result = await lab.sync(yes=False)
    assert ("completed", {"created": 6}) == (result.state, written(result))
    assert (None, {}) == (
        await lab.books.do(lab.store.get, "nothing"),
        json.loads(lab.store.get(APPROVED) or "{}"),
    )
    assert [] == await waiting(lab)


async def test_without_a_word_it_waits_for_ever(make_lab: MakeLab) -> None:
    """Each run shows the plan as it is by then, and sends nothing."""
    site, (course,), _ = site_of(3)
    lab = make_lab(site)
    await lab.sync(yes=False)
    site.enrol(course, site.add_user("Late", "Comer"))
    await lab.sync(yes=False)
    assert [{"kind": "first-run", "count": 8}] == [need.form for need in await waiting(lab)]
    assert [] == lab.project.forms


@pytest.mark.parametrize(("more", "state"), [(5, "completed"), (6, "waiting")])
async def test_a_plan_that_has_grown_is_asked_about_again(make_lab: MakeLab, more: int, state: str) -> None:
    """Up to 5 more cases of a mapping go through (the guard of a run); beyond that a person sees the number."""
    site, (course,), _ = site_of(3)
    lab = make_lab(site)
    await lab.sync(yes=False)
    (need,) = await waiting(lab)
    await answered(lab, need)
    for number in range(more):
        site.enrol(course, site.add_user(f"More{number}", "People"))
    result = await lab.sync(yes=False)
    assert state == result.state
    if state == "waiting":
        assert "student was approved with 3 new cases, and it would be 9 by now." in result.messages[0]
        assert [] == lab.project.forms
        assert [{"kind": "first-run", "count": 18}] == [need.form for need in await waiting(lab)]
        await answered(lab, (await waiting(lab))[0])
        assert {"created": 18} == written(await lab.sync(yes=False))


async def test_an_edit_after_the_approval_asks_again(make_lab: MakeLab) -> None:
    """What was approved is the mapping as it was: of another text of it nobody has seen the plan."""
    lab = make_lab(site_of(3)[0])
    await lab.sync(yes=False)
    await answered(lab, (await waiting(lab))[0])
    lab.edit("student", "city: {source: city, transform: [trim]", "city: {source: city, transform: [trim, upper]")
    result = await lab.sync(yes=False)
    assert "waiting" == result.state
    # enrolments were approved and not edited: they go on, and each of them waits for its parent
    assert ({}, [{"kind": "first-run", "mapping": "student", "count": 3}]) == (
        {kind: count for kind, count in written(result).items() if kind != "held_back"},
        [need.form for need in await waiting(lab)],
    )


async def test_one_mapping_may_be_approved_alone(make_lab: MakeLab) -> None:
    """The others of the plan go on waiting."""
    lab = make_lab(site_of(3)[0])
    await lab.sync(yes=False)
    await lab.books.do(approve, lab.store, Answer("first-run", mapping="student", count=3))
    result = await lab.sync(yes=False)
    assert ("waiting", {"created": 3}) == (result.state, written(result))
    assert [{"kind": "first-run", "mapping": "enrolment", "count": 3}] == [n.form for n in await waiting(lab)]


async def test_a_new_mapping_beside_others_is_planned_once(make_lab: MakeLab) -> None:
    """The others go on; the plan of the new one is read for once, told by each run, and can be approved."""
    site, (course,), learners = site_of(3)
    item = site.set_grade_item(course, "Quiz")
    site.grade(item, learners[0], 80)
    lab = make_lab(site)
    await lab.sync()
    lab.edit("grade_item", "enabled: false", "enabled: true")
    first = await lab.sync(yes=False, later=86_400)
    (need,) = await waiting(lab)
    assert ("waiting", need.message, "grade_item") == (first.state, first.messages[0], need.mapping)
    assert ({}, 12) == (first.plan, sum(vars(first.of("enrolment")).values()) * 4)
    again = await lab.sync(yes=False, later=86_400)
    assert need.message in again.messages
    assert sum(again.requests["moodle"].values()) < sum(first.requests["moodle"].values())
    await answered(lab, need)
    result = await lab.sync(yes=False, later=86_400)
    assert ("completed", need.count) == (result.state, written(result)["created"])


async def test_the_plan_of_some_courses_is_not_kept(make_lab: MakeLab) -> None:
    """A plan that was made for chosen courses says little about a whole run: it is shown, and that is all."""
    site, courses, _ = site_of(3, 2)
    lab = make_lab(site)
    result = await lab.sync(yes=False, courses=(courses[0],))
    assert ("waiting", {"student": 3, "enrolment": 3}) == (result.state, result.plan["new_cases"])
    assert "for the chosen courses only" in result.messages[0]
    assert [] == await waiting(lab)


async def test_yes_on_the_command_settles_the_question(make_lab: MakeLab) -> None:
    """Whoever approves with --yes leaves nothing behind that waits."""
    lab = make_lab(site_of(2)[0])
    await lab.sync(yes=False)
    await lab.sync()
    assert [] == await waiting(lab)


# --- existing cases, other keys -----------------------------------------------------------------------------


async def test_existing_cases_and_first_run_in_one_go(make_lab: MakeLab) -> None:
    """Both questions are asked at once; both answered, the run makes its cases beside the one there."""
    lab = make_lab(site_of(2)[0])
    lab.project.add_case("student", "Somebody")
    result = await lab.sync(yes=False)
    existing, first = await waiting(lab)
    assert {"kind": "existing-cases", "mapping": "student", "count": 1} == existing.form
    assert (True, first.message) == (f"{existing.command}`" in result.messages[0], result.messages[1])
    await answered(lab, first)
    assert ("waiting", []) == ((await lab.sync(yes=False)).state, lab.project.forms)
    (left,) = await waiting(lab)  # what was approved stays approved
    assert "existing-cases" == left.kind
    await answered(lab, left)
    result = await lab.sync(yes=False)
    assert ("completed", {"created": 4}) == (result.state, written(result))
    assert {} == json.loads(lab.store.get(EXISTING) or "{}")


async def test_more_existing_cases_than_confirmed_stop_again(make_lab: MakeLab) -> None:
    """The word was about so many cases: another one since is another question."""
    lab = make_lab(site_of(2)[0])
    lab.project.add_case("student", "Somebody")
    await lab.sync()
    await answered(lab, (await waiting(lab))[0])
    lab.project.add_case("student", "Somebody Else")
    result = await lab.sync()
    assert ("waiting", []) == (result.state, lab.project.forms)
    assert "CommCare already has 2 cases of type 'student' that the books do not know" in result.messages[0]


async def test_rekey_through_the_form(make_lab: MakeLab) -> None:
    """Changed keys stop the run, and their approval makes new cases and marks the old; another text asks again."""
    lab = make_lab(site_of(2)[0])
    await lab.sync()
    other_key(lab, "user", "learner")
    result = await lab.sync()
    (need,) = await waiting(lab)
    assert {"kind": "rekey", "mapping": "student", "count": 2} == need.form
    assert f"in Prefect `approve`: {need.form_in_words}." in result.messages[-1]
    await answered(lab, need)
    other_key(lab, "learner", "trainee")
    assert "waiting" == (await lab.sync()).state
    await answered(lab, (await waiting(lab))[0])
    result = await lab.sync()
    assert (2, 2) == (result.of("student").created, result.of("student").marked_left)
    assert [] == await waiting(lab)


async def test_the_old_key_put_back_waits_no_more(make_lab: MakeLab) -> None:
    """A question that has gone away is not listed for ever."""
    lab = make_lab(site_of(2)[0])
    await lab.sync()
    other_key(lab, "user", "learner")
    await lab.sync()
    other_key(lab, "learner", "user")
    await lab.sync()
    assert [] == await waiting(lab)


async def test_an_answer_given_while_a_run_is_under_way_counts(make_lab: MakeLab) -> None:
    """A run that still refuses does not sweep away what a person says meanwhile: the next one takes it in."""
    site, _, learners = site_of(12)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site)
    await lab.sync()
    for learner in learners[:10]:
        site.update_user(learner, city="")
    await lab.sync()
    (need,) = await waiting(lab)

    def answer_now(stage: str, *_: int) -> None:
        if stage == "courses":  # people were compared by then
            lab.store.put(CONFIRMED_BLANKS, json.dumps({"student city": {"0": need.count}}))

    lab.clock.advance(3600.0)
    assert RunState.WAITING == (await sync(lab.world(), Options(), answer_now)).state
    assert {"updated": 10} == written(await lab.sync())


# --- wrong input --------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Iterator[Store]:
    """Give books in which two first runs and the leavers of course 2 wait."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        first = {"case_type": "student", "creates": 12, "print": "a"}
        books.put(FIRST_RUNS, json.dumps({"student": first, "enrolment": {**first, "creates": 24}}))
        books.put(REFUSED_LEAVERS, json.dumps({"2": {"enrolment": 4}}))
        yield books


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("frist-run"), "There is no kind 'frist-run'. There are: first-run, existing-cases, leavers,"),
        (Answer("first-run", count=12), "The run found 36 cases, not 12. Give the count 36 if that is right."),
        (Answer("first-run", mapping="student", count=36), "The run found 12 cases, not 36."),
        (
            Answer("first-run", mapping="studnet", count=12),
            "No run has asked that about studnet. Waiting: enrolment (24 cases), student (12 cases).",
        ),
        (Answer("existing-cases", count=1), "No run has asked that. Waiting: nothing."),
        (Answer("rekey", mapping="student", count=1), "No run has asked that about student. Waiting: nothing."),
        (Answer("first-run", course=2, count=36), "The kind first-run takes mapping, count and nothing else."),
        (Answer("leavers", course=2, count=3), "The run found 4 people missing there, not 3. Give the count 4"),
        (Answer("leavers", course=2, everything=True, count=4), "Fill in the course, or everything, not both."),
        (Answer("leavers", count=4), "Nothing waits to be confirmed there. Waiting: 2 (4 people)."),
        (Answer("leavers", course=-2, count=4), "course and count are numbers from 0."),
        (Answer("blanks", mapping="student", count=4), "The kind blanks needs property, as the run named it."),
        (Answer("new-term"), "The kind new-term needs course, as the run named it."),
        (Answer("same-term", course=5), "Nobody has asked about a new term of course 5. Courses that wait: none."),
        (Answer("withdrawn", count=4), "Nothing waits to be confirmed there. Waiting: nothing at all."),
    ],
    ids=lambda value: value.kind if isinstance(value, Answer) else "",
)
def test_wrong_answers(store: Store, answer: Answer, words: str) -> None:
    """Each is one sentence that says what there is, and nothing is written down."""
    with pytest.raises(UsageError) as refused:
        approve(store, answer)
    assert str(refused.value).startswith(words)
    assert 2 == len(needs(store))


def test_spaces_around_a_word_are_forgiven(store: Store) -> None:
    """A name that was pasted with a space or a line break is the name."""
    assert approve(store, Answer("first-run", mapping=" student\n", count=12)).startswith("Approved: 12 new cases")


def test_every_kind_can_be_answered() -> None:
    """The form's list, the fields of each kind and what writes the answers are about the same kinds."""
    assert [*get_args(AnswerKind)] == [*TAKES] == [*WRITES]
