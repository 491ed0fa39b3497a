"""Cases of another type with our external ids: a first load sees them, and never makes them ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from adaptors.commcare.client import FETCHED
from flows.approve import Answer, approve
from flows.need import Need
from flows.needs import needs
from flows.problems import list_problems
from flows.round import sync_round
from flows.steps.first_loads import FIRST_LOAD
from flows.steps.there import FEW
from flows.sync import Options
from tests.flows.test_sync import site_of
from tests.flows.worlds import Lab, written

MakeLab = Callable[..., Lab]
PEOPLE = 8
IGNORE = ("case_type: student\n", "case_type: student\nexisting_cases: ignore\n")
ASKED = (
    "3 cases of type 'learner' have external ids that student makes: they are left as they are, and their records "
    "are held back. To go on in them, write `case_type: learner` in student.yaml first."
)


def pilot(make_lab: MakeLab, cases: int = 3, people: int = PEOPLE) -> tuple[Lab, list[int]]:
    """Return a lab whose project space has cases of a pilot: of another type, for the first learners."""
    site, _, learners = site_of(people)
    lab = make_lab(site)
    for learner in learners[:cases]:
        lab.project.add_case("learner", "Pilot", owner_id="mine", external_id=f"test-user-{learner}")
    lab.clock.advance(3600.0)
    return lab, learners


def types(lab: Lab) -> dict[str, int]:
    """Return how many cases of each type there are."""
    return dict(Counter(case.case_type for case in lab.project.cases.values()))


def is_untouched(lab: Lab, key: str) -> bool:
    """Say whether a case is as the pilot left it."""
    case = lab.case(key)
    return (case.case_type, case.case_name, case.owner_id, case.properties) == ("learner", "Pilot", "mine", {})


async def asked(lab: Lab) -> dict[str, Need]:
    """Return what waits for a person, by kind."""
    return {need.kind: need for need in await lab.books.do(needs, lab.store)}


@pytest.mark.parametrize("word", ["", "ignore"])
async def test_they_are_held_back_and_listed(make_lab: MakeLab, word: str) -> None:
    """With or without a word about existing cases nothing is written to them, and the others are sent."""
    lab, learners = pilot(make_lab)
    if word:
        lab.edit("student", *IGNORE)
    for _ in range(3):
        result = await lab.sync()
        assert ("degraded", 3) == (result.state, result.reasons["other_case_type"])
        assert {"learner": 3, "student": 5, "enrolment": 5} == types(lab)
    assert all(is_untouched(lab, f"test-user-{learner}") for learner in learners[:3])
    found = [(one.row.key, one.reason, one.detail) for one in list_problems(lab.store, "student")]
    assert [
        (f"test-user-{learner}", "other_case_type", "type learner") for learner in sorted(learners[:3])
    ] == found
    assert {"get": 1, "owners": 1} == {k: v for k, v in result.requests["commcare"].items() if v}


async def test_the_first_plan_asks(make_lab: MakeLab) -> None:
    """It names them, counts them among nothing that it would make, and waits for a word about them."""
    lab, learners = pilot(make_lab)
    result = await lab.sync(yes=False)
    assert {"student": 5, "enrolment": 5} == result.plan["new_cases"]
    assert ASKED in result.messages[0]
    (stop,) = result.plan["stops"]
    assert (True, False) == (stop.startswith(ASKED), "found again" in stop)
    need = (await asked(lab))["existing-cases"]
    assert (3, "If the others may be sent") == (need.count, need.if_so)
    await lab.books.do(approve, lab.store, Answer("first-run", count=10))
    assert ("waiting", []) == ((await lab.sync(yes=False)).state, lab.project.forms)
    said = await lab.books.do(approve, lab.store, Answer("existing-cases", mapping="student", count=3))
    assert "Confirmed. The first run of student does with them what was said." == said
    result = await lab.sync(yes=False)
    assert ({"created": 10, "held_back": 6}, 3) == (written(result), result.reasons["other_case_type"])
    assert all(is_untouched(lab, f"test-user-{learner}") for learner in learners[:3])


async def test_one_question_with_those_of_our_type(make_lab: MakeLab) -> None:
    """The number that is repeated counts both, and each has its sentence."""
    lab, _ = pilot(make_lab)
    lab.project.add_case("student", "Somebody", external_id="C-1")
    lab.clock.advance(3600.0)
    await lab.sync(yes=False)
    need = (await asked(lab))["existing-cases"]
    assert (4, "If new cases may stand beside them") == (need.count, need.if_so)
    assert need.sentence.startswith("CommCare already has 1 case of type 'student' that the books do not know")
    assert ASKED in need.sentence


async def test_one_of_them_is_told_in_the_singular(make_lab: MakeLab) -> None:
    """A sentence about one case."""
    lab, _ = pilot(make_lab, 1)
    await lab.sync(yes=False)
    sentence = (await asked(lab))["existing-cases"].sentence
    assert (
        "1 case of type 'learner' has an external id that student makes: it is left as it is, and its" in sentence
    )


async def test_the_preview_tells_it(make_lab: MakeLab) -> None:
    """What a run would stop for, before it does."""
    lab, _ = pilot(make_lab)
    result = await lab.sync(preview=True)
    assert ({"learner": 3}, 3) == (dict(result.other_types["student"]), result.reasons["other_case_type"])


@pytest.mark.parametrize("ways", ["another external id", "its type first"])
async def test_both_ways_out(make_lab: MakeLab, ways: str) -> None:
    """Whoever frees the external ids gets new cases; whoever takes their type goes on in them; owners stay."""
    lab, learners = pilot(make_lab)
    await lab.sync()
    if ways == "another external id":
        for case in [one for one in lab.project.cases.values() if one.case_type == "learner"]:
            lab.project.rename_external_id(case, f"old-{case.external_id}")
        lab.clock.advance(3600.0)
        assert {"created": 6} == written(await lab.sync())
        assert {"learner": 3, "student": 8, "enrolment": 8} == types(lab)
    else:
        for name in ("student", "enrolment"):
            text = (lab.mappings / f"{name}.yaml").read_text()
            text = text.replace(
                "case_type: student", "case_type: learner\nexisting_cases: ignore", name == "student"
            )
            text = text.replace("case_type: student", "case_type: learner").replace(
                "same_as: student", "same_as: learner"
            )
            (lab.mappings / f"{name}.yaml").write_text(text)
        await lab.sync()
        assert {"learner": 8, "enrolment": 8} == types(lab)
        taken = lab.case(f"test-user-{learners[0]}")
        assert ("First0 Last0", "mine") == (taken.case_name, taken.owner_id)
    result = await lab.sync()
    assert ("completed", {}) == (result.state, written(result))
    assert {} == {kind: n for kind, n in (await lab.sync()).requests["commcare"].items() if kind != "owners" and n}


@pytest.mark.parametrize("others", [FEW, FEW + 1])
async def test_beside_cases_of_ours_that_the_books_do_not_know(make_lab: MakeLab, others: int) -> None:
    """Where cases are looked for anyway, those of another type are not taken for ours; no request for each."""
    lab, learners = pilot(make_lab, others, people=FEW + 3)
    lab.project.add_case("student", "Ours", owner_id="x", external_id=f"test-user-{learners[-1]}")
    lab.edit("student", *IGNORE)
    lab.clock.advance(3600.0)
    for _ in range(2):
        result = await lab.sync()
    assert others == result.reasons["other_case_type"]
    assert all(is_untouched(lab, f"test-user-{learner}") for learner in learners[:others])
    assert ("student", "x") == (
        lab.case(f"test-user-{learners[-1]}").case_type,
        lab.case(f"test-user-{learners[-1]}").owner_id,
    )
    if others > FEW:
        assert result.requests["commcare"]["get"] <= 2


@pytest.mark.parametrize("others", [FEW, FEW + 1])
async def test_of_somebody_who_is_kept_out(make_lab: MakeLab, others: int) -> None:
    """Nothing of such a case is emptied, and it is listed while cases of ours are looked for."""
    lab, learners = pilot(make_lab, others, people=FEW + 3)
    lab.project.add_case("student", "Ours", owner_id="x", external_id=f"test-user-{learners[-1]}")
    for learner in learners[:others]:
        lab.site.enrol(2, learner, roles=("editingteacher",))
    lab.edit("student", *IGNORE)
    lab.clock.advance(3600.0)
    for _ in range(2):
        result = await lab.sync()
    assert others == result.reasons["other_case_type"]
    assert all(is_untouched(lab, f"test-user-{learner}") for learner in learners[:others])


async def test_so_many_keys_are_looked_up_in_one_request(make_lab: MakeLab) -> None:
    """Of all courses together; and none any more once all was loaded, also for a newcomer."""
    lab, _ = pilot(make_lab, 0, people=FETCHED + 1)
    result = await lab.sync()
    assert (2 * FETCHED + 2, 4) == (written(result)["created"], result.requests["commcare"]["get"])
    lab.site.enrol(2, lab.site.add_user("New", "Comer"))
    result = await lab.sync()
    assert ({"created": 2}, None) == (written(result), result.requests["commcare"].get("get"))
    assert ["", ""] == [lab.store.get(FIRST_LOAD.format(name=name)) for name in ("student", "enrolment")]


async def test_an_approved_plan_is_not_looked_up_twice(make_lab: MakeLab) -> None:
    """The look of the run that goes on has asked about the same keys."""
    lab, _ = pilot(make_lab, 0)
    await lab.sync(yes=False)
    await lab.books.do(approve, lab.store, Answer("first-run", count=2 * PEOPLE))
    result = await lab.sync(yes=False)
    assert ({"created": 2 * PEOPLE}, 2) == (written(result), result.requests["commcare"]["get"])


async def test_a_load_that_was_not_finished_goes_on_looking(make_lab: MakeLab) -> None:
    """A course that could not be read is loaded later: what would be created then is looked up as well."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    lab.denied = {courses[1]}
    lab.project.add_case("old", "Pilot", owner_id="mine", external_id=f"test-enrol-{courses[1]}-{learners[-1]}")
    await lab.sync()
    assert "open" == lab.store.get(FIRST_LOAD.format(name="enrolment"))
    lab.denied = set()
    result = await lab.sync()
    assert 1 == result.reasons["other_case_type"]
    assert "old" == lab.case(f"test-enrol-{courses[1]}-{learners[-1]}").case_type


async def test_books_of_an_older_version_ask_nothing(make_lab: MakeLab) -> None:
    """Who wrote before this was known has no fact, and no request more."""
    lab, _ = pilot(make_lab, 0)
    await lab.sync()
    for name in ("student", "enrolment"):
        lab.store.put(FIRST_LOAD.format(name=name), "")
    lab.site.enrol(2, lab.site.add_user("New", "Comer"))
    assert "get" not in {kind for kind, n in (await lab.sync()).requests["commcare"].items() if n}


async def test_in_shards(make_lab: MakeLab) -> None:
    """Each worker looks up what it would create, and the end of the round knows what was found."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site)
    key = f"test-enrol-{courses[1]}-{learners[-1]}"
    lab.project.add_case("old", "Pilot", owner_id="mine", external_id=key)
    for _ in range(2):
        lab.clock.advance(3600.0)
        result = await sync_round(lab.world(), Options(yes=True), 2)
        assert (1, "old") == (result.reasons["other_case_type"], lab.case(key).case_type)
    assert "open" == lab.store.get(FIRST_LOAD.format(name="enrolment"))


async def test_commcare_fails_while_it_is_asked(make_lab: MakeLab) -> None:
    """Nothing is written without an answer; the next run looks again."""
    lab, _ = pilot(make_lab)
    real, broken = lab.commcare.__call__, [True]

    def fail(request: httpx.Request) -> httpx.Response:
        if broken and "bulk-fetch" in request.url.path:
            return httpx.Response(500)
        return real(request)

    lab._to_commcare = fail  # type: ignore[method-assign]
    result = await lab.sync()
    assert (True, []) == (result.state != "completed", lab.project.forms)
    broken.clear()
    assert {"created": 10, "held_back": 6} == written(await lab.sync())


async def test_new_keys_are_looked_up_too(make_lab: MakeLab) -> None:
    """A mapping that makes all its cases anew may meet those of others as at its first run."""
    lab, learners = pilot(make_lab, 0)
    await lab.sync()
    lab.project.add_case("learner", "Pilot", owner_id="mine", external_id=f"test-person-{learners[0]}")
    lab.clock.advance(3600.0)
    for name in ("student", "enrolment"):
        lab.edit(name, "{site}-user-", "{site}-person-")
    result = await lab.sync(rekey=("student",))
    assert (1, True) == (result.reasons["other_case_type"], is_untouched(lab, f"test-person-{learners[0]}"))


# --- a mapping rewritten beside the old one -----------------------------------------------------------------


async def rewritten(make_lab: MakeLab, old: str = "", new: str = "") -> Lab:
    """Return a lab in which student.yaml is switched off, and learner.yaml beside it makes the same keys."""
    lab, _ = pilot(make_lab, 0)
    await lab.sync()
    text = (lab.mappings / "student.yaml").read_text().replace(old, new)
    (lab.mappings / "learner.yaml").write_text(text)
    lab.edit("student", "language: 1\n", "language: 1\nenabled: false\n")
    return lab


async def test_cases_known_under_another_name_are_told_so(make_lab: MakeLab) -> None:
    """They are found again, which is what is asked; nobody has to match them."""
    lab = await rewritten(make_lab)
    result = await lab.sync()
    told = (
        "8 cases of type 'student' are known under student.yaml, which makes the same keys and is switched off: "
        "the first run of learner finds them again, and makes none anew. If learner is to go on in them: "
        "`moodle-commcare confirm-existing learner --count 8`"
    )
    assert ("waiting", True, False) == (
        result.state,
        result.messages[0].startswith(told),
        "match" in result.messages[0],
    )
    await lab.books.do(approve, lab.store, Answer("existing-cases", mapping="learner", count=8))
    assert ("completed", {"student": 8, "enrolment": 8}) == ((await lab.sync()).state, types(lab))


async def test_with_cases_that_nobody_knows_beside_them(make_lab: MakeLab) -> None:
    """Those are asked about as ever."""
    lab = await rewritten(make_lab)
    lab.project.add_case("student", "Somebody", external_id="C-1")
    lab.clock.advance(3600.0)
    await lab.sync()
    need = (await asked(lab))["existing-cases"]
    assert need.sentence.startswith("8 cases of type 'student' are known under student.yaml")
    assert "CommCare already has 1 case of type 'student' that the books do not know" in need.sentence


async def test_those_of_another_type_are_ours_still(make_lab: MakeLab) -> None:
    """Rewritten beside with another case type, the mapping goes on in the cases that the old one made."""
    lab = await rewritten(make_lab)
    for name in ("learner", "enrolment"):
        text = (lab.mappings / f"{name}.yaml").read_text()
        (lab.mappings / f"{name}.yaml").write_text(
            text.replace("case_type: student", "case_type: learner").replace(
                "same_as: student", "same_as: learner"
            )
        )
    plan = (await lab.sync(yes=False, mappings=("learner",))).plan
    assert ([], 8) == (plan["stops"], plan["new_cases"]["learner"])
    for _ in range(2):
        result = await lab.sync()
    assert ("completed", {"learner": 8, "enrolment": 8}) == (result.state, types(lab))
