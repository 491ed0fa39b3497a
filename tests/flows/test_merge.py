"""Two people of Moodle who are one: the old cases say so and rest, the new ones go on, nobody has two."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from flows.errors import UsageError
from flows.merge import merge, unmerge
from flows.result import RunState
from flows.steps.merged import forget, merged, parted, take_over, unmarked, who_became
from state import Store
from state.restore import restore
from tests.flows.terminal import Terminal
from tests.flows.test_departures import consenting, over
from tests.flows.test_person import erased, export, held, on, two_courses
from tests.flows.test_push import settle
from tests.flows.test_sync import site_of
from tests.flows.worlds import DOMAIN, PROJECT, Lab, written

MakeLab = Callable[..., Lab]


async def twins(make_lab: MakeLab, project: str = PROJECT) -> tuple[Lab, int, int]:
    """Return a lab with learners of whom the first two are one person."""
    site, _, learners = site_of(4)
    lab = make_lab(site, project=project)
    await lab.sync()
    return lab, learners[0], learners[1]


def says(lab: Lab, person: int, course: int = 2) -> tuple[str, str]:
    """Return what an enrolment case says: its status, and into whom the person was merged."""
    properties = lab.case(f"test-enrol-{course}-{person}").properties
    return properties["enrolment_status"], properties.get("merged_into", "")


async def test_the_old_cases_are_marked(make_lab: MakeLab) -> None:
    """All cases of the old number say so at once; the new ones are not touched, and then there is rest."""
    lab, old, new = await twins(make_lab)
    assert "marks the 2 cases of person" in merge(lab.store, old, new, lab.clock.now())
    result = await lab.sync()
    assert ({"marked_left": 2}, "completed") == (written(result), result.state)
    assert ((("left", str(new))), ("active", "")) == (says(lab, old), says(lab, new))
    assert str(new) == lab.case(f"test-user-{old}").properties["merged_into"]
    await lab.sync()
    assert ({}, "[]") == ((await lab.sync()).requests["commcare"], lab.store.get("merged_unmarked"))


async def test_the_old_number_is_read_no_more(make_lab: MakeLab) -> None:
    """Even while Moodle still shows the old account in the course, nothing of it is sent, and no case is made."""
    lab, old, new = await twins(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    lab.site.update_user(old, city="Bondo")
    lab.site.enrol(lab.site.add_course("C9", "Another"), old)
    before = len(lab.project.cases)
    for _ in range(3):
        assert {} == written(await lab.sync())
    assert before == len(lab.project.cases)


async def test_somebody_who_left_before_is_marked_too(make_lab: MakeLab) -> None:
    """Moodle had taken the old account out already: the cases that are left say into whom they went."""
    lab, old, new = await twins(make_lab)
    lab.site.unenrol(2, old)
    await lab.sync()
    await lab.sync()
    assert ("left", "") == says(lab, old)
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    assert ("left", str(new)) == says(lab, old)


async def test_a_merge_in_the_middle_of_a_run(make_lab: MakeLab) -> None:
    """What somebody says while a run takes note that others are marked is not lost."""
    site, _, (old, new, later, other) = site_of(4)
    lab = make_lab(site)
    await lab.sync()
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    do = lab.books.do

    async def said(method: Any, /, *args: Any, **more: Any) -> Any:
        found = await do(method, *args, **more)
        if method == lab.store.person and args == (old,):
            await do(merge, lab.store, later, other, lab.clock.now())
        return found

    lab.books.do = said
    await lab.sync()
    lab.books.do = do
    assert ({old: new, later: other}, {later}) == (merged(lab.store), unmarked(lab.store))
    assert {"marked_left": 2} == written(await lab.sync())


async def test_a_merge_in_the_hour_in_which_a_course_ends(make_lab: MakeLab) -> None:
    """In a course that is over the old cases are marked as merged, those of the others as over, in one run."""
    lab, _, learners = await over(make_lab, "{set: {enrolment_status: course over}}")
    merge(lab.store, learners[0], learners[1], lab.clock.now())
    assert "completed" == (await lab.sync()).state
    assert [("left", str(learners[1])), ("course over", "")] == [says(lab, one) for one in learners[:2]]
    await lab.sync()
    assert {} == written(await lab.sync())


async def test_a_withdrawal_that_was_lost_is_made_up_for(make_lab: MakeLab) -> None:
    """Consent was withdrawn, the write was lost, and the person is merged: the old case is marked and emptied."""
    lab, (old, new, *_) = await consenting(make_lab)
    lab.site.update_user(old, profile={"consent": "no"})
    lab.commcare.fail_next("timeout")
    await lab.sync()
    merge(lab.store, old, new, lab.clock.now())
    for _ in range(2):
        await lab.sync()
    properties = lab.case(f"test-user-{old}").properties
    assert ("", "left", str(new)) == tuple(properties[one] for one in ("city", "moodle_status", "merged_into"))


async def test_a_mark_in_doubt_is_made_again(make_lab: MakeLab) -> None:
    """When the answer is lost the mark is sent again, once, though two reads lacked the person by then."""
    lab, old, new = await twins(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    lab.commcare.fail_next("timeout")
    await lab.sync()
    await settle(lab)
    assert (("left", str(new)), {}) == (says(lab, old), lab.store.intents())


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_mark_that_may_not_have_arrived(make_lab: MakeLab, *, arrives: bool) -> None:
    """Neither a person's first write was answered nor the mark: it is sent until it is, also to no case at all."""
    lab, _, new = await twins(make_lab)
    old = lab.site.add_user("Old", "One")
    lab.site.enrol(2, old)
    for lost in range(4):
        if lost == 1:
            with pytest.raises(UsageError, match="no answer yet"):
                merge(lab.store, old, new, lab.clock.now())
        if lost == 2:
            merge(lab.store, old, new, lab.clock.now())
        if arrives and not lost:
            lab.commcare.drop_reply_after_commit()
        else:
            lab.commcare.fail_next("timeout", where="write", times=9)
        await lab.sync()
        lab.commcare.faults.clear()
    await settle(lab)
    await settle(lab)
    assert ({}, "[]", {}) == (written(await lab.sync()), lab.store.get("merged_unmarked"), lab.store.intents())
    cases = [*lab.project.by_external_id(f"test-user-{old}"), *lab.project.by_external_id(f"test-enrol-2-{old}")]
    assert [str(new)] * arrives == [case.properties.get("merged_into") for case in cases]


async def test_a_merge_does_not_wait_for_an_interval(make_lab: MakeLab) -> None:
    """The next run reads what it needs, whatever the intervals say."""
    lab, old, new = await twins(make_lab, PROJECT + "intervals: {people: 24, enrolments: 24, grades: 24}\n")
    assert {} == written(await lab.sync())
    merge(lab.store, old, new, lab.clock.now())
    assert {"marked_left": 2} == written(await lab.sync())


async def test_taken_back(make_lab: MakeLab) -> None:
    """A merge that was a mistake is taken back: the cases live again and say nothing of it."""
    lab, old, new = await twins(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    unmerge(lab.store, old, new, lab.clock.now())
    await settle(lab)
    assert ("active", "") == says(lab, old)
    with pytest.raises(UsageError, match="was not merged into"):
        unmerge(lab.store, old, new, lab.clock.now())


@pytest.mark.parametrize("runs", [0, 1, 2])
async def test_taken_back_after_a_restore(make_lab: MakeLab, runs: int) -> None:
    """Books put back do not know what the cases say; the others get no such property."""
    lab, old, new = await twins(make_lab)
    lab.in_a_file()
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    lab.restore(lab.store.back_up(lab.clock.now()))
    for _ in range(runs):
        await lab.sync()
    unmerge(lab.store, old, new, lab.clock.now())
    await settle(lab)
    assert ("active", "") == says(lab, old)
    marked = [one for one in lab.project.cases.values() if "merged_into" in one.properties]
    assert {str(old)} == {str(one.external_id).rpartition("-")[2] for one in marked}
    assert {} == written(await lab.sync())


@pytest.mark.parametrize("since", [merge, unmerge])
async def test_a_word_that_is_newer_than_the_backup(make_lab: MakeLab, since: Callable[..., str]) -> None:
    """Who puts an older backup back is not to know what was said since: it is taken over, and done once more."""
    lab, old, new = await twins(make_lab)
    lab.in_a_file()
    if since is unmerge:
        merge(lab.store, old, new, lab.clock.now())
        await settle(lab)
    backup = lab.store.back_up(lab.clock.now())
    assert backup
    since(lab.store, old, new, lab.clock.now())
    await settle(lab)
    there = says(lab, old)
    assert ("left", str(new)) == there if since is merge else ("active", "") == there
    lab.books.close()
    target = (lab.site.url, "https://commcare.example.org", DOMAIN)
    restore(lab.state_url, backup, (bytes(32),), target, lab.clock.now(), carry=take_over)
    lab.books = lab._open()
    await settle(lab)
    assert (there, {}) == (says(lab, old), written(await lab.sync()))


@pytest.mark.parametrize("ran", [False, True])
async def test_a_merge_and_its_end_that_are_newer_than_the_backup(make_lab: MakeLab, *, ran: bool) -> None:
    """The books that come back know of neither, and who is merged is as they say: the mark goes all the same."""
    lab, old, new = await twins(make_lab)
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup
    lab.clock.advance(3600)
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    unmerge(lab.store, old, new, lab.clock.now())
    if ran:
        lab.commcare.fail_next("timeout")
        await lab.sync()
    lab.books.close()
    target = (lab.site.url, "https://commcare.example.org", DOMAIN)
    restore(lab.state_url, backup, (bytes(32),), target, lab.clock.now(), carry=take_over)
    lab.books = lab._open()
    await settle(lab)
    assert (("active", ""), {}) == (says(lab, old), written(await lab.sync()))


async def test_what_merging_wrote_is_erased_after_a_restore(make_lab: MakeLab) -> None:
    """The mark is a property of ours as well."""
    lab, old, new = await twins(make_lab)
    lab.in_a_file()
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    lab.restore(lab.store.back_up(lab.clock.now()))
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert (set(), set()) == (held(lab, old), held(lab, new))


async def test_what_cannot_be(make_lab: MakeLab) -> None:
    """The same number twice, people nobody knows, and people who were merged before."""
    lab, old, new = await twins(make_lab)
    for wrong, words in (((old, old), "two numbers"), ((999, new), "no case"), ((old, 999), "No run has met")):
        with pytest.raises(UsageError, match=words):
            merge(lab.store, *wrong, lab.clock.now())
    merge(lab.store, old, new, lab.clock.now())
    for again in ((old, new + 1), (new, old)):
        with pytest.raises(UsageError, match=f"merged into {new} already"):
            merge(lab.store, *again, lab.clock.now())


@pytest.mark.parametrize("mine", [0, 2])
async def test_two_who_merge_at_once(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, mine: int) -> None:
    """The word of one is not written over that of the other; who was merged meanwhile is not merged once more."""
    site, _, people = site_of(4)
    lab = make_lab(site)
    await lab.sync()
    real = Store.take_word

    def late(store: Store, *word: Any) -> None:
        """Let somebody else be faster."""
        monkeypatch.setattr(Store, "take_word", real)
        merge(store, people[2], people[3], lab.clock.now())
        real(store, *word)

    monkeypatch.setattr(Store, "take_word", late)
    with nullcontext() if mine == 0 else pytest.raises(UsageError, match=f"merged into {people[3]} already"):
        merge(lab.store, people[mine], people[1], lab.clock.now())
    both = {people[2]: people[3]} | ({people[0]: people[1]} if mine == 0 else {})
    assert (both, both.keys()) == (merged(lab.store), unmarked(lab.store))


@pytest.mark.parametrize("is_finished", [True, False])
async def test_nobody_is_merged_with_the_erased(make_lab: MakeLab, is_finished: bool) -> None:
    """Neither into somebody whom no run reads any more, nor away from an erasure that is not finished."""
    lab, (one, other, *_) = await two_courses(make_lab)
    lab.site.enrol(2, other)
    if not is_finished:
        lab.commcare.fail_next("timeout")
    state = RunState.COMPLETED if is_finished else RunState.POSTPONED
    assert state == (await erased(lab, other)).state
    for pair in ((one, other), (other, one)):
        with pytest.raises(UsageError, match=f"Person {other} was erased, or is"):
            merge(lab.store, *pair, lab.clock.now())


async def test_a_merge_in_the_middle_of_an_erasure(make_lab: MakeLab) -> None:
    """The erasure would forget it: whoever says so is told that the other number is being erased."""
    lab, (old, new, *_) = await two_courses(make_lab)
    said = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        """Say it while CommCare empties the cases."""
        if request.method == "POST" and not said:
            with pytest.raises(UsageError) as refused:
                merge(lab.store, old, new, lab.clock.now())
            said.append(str(refused.value))
        return lab.commcare(request)

    lab._to_commcare = answer
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert ([f"Person {new} was erased, or is being erased: nobody is merged with that one."], {}) == (
        said,
        merged(lab.store),
    )


def test_command(terminal: Terminal) -> None:
    """A wrong number is wrong usage, and says what to do."""
    result = terminal.run("merge", "7001", "7002")
    assert (2, True) == (result.code, "no case of person 7001" in result.err)


async def test_erased_people_leave_no_number(make_lab: MakeLab) -> None:
    """Once either of the two is forgotten, so is the merge."""
    lab, old, new = await twins(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    forget(lab.store, new)
    assert ("{}", "[]") == (lab.store.get("merged"), lab.store.get("merged_unmarked"))
    merge(lab.store, old, new, lab.clock.now())
    unmerge(lab.store, old, new, lab.clock.now())
    assert {old} == parted(lab.store)
    forget(lab.store, old)
    assert set() == parted(lab.store)


@pytest.mark.parametrize("moodle", ["shows the old account", "took it out"])
@pytest.mark.parametrize("marked", [True, False])
async def test_who_is_erased_is_erased_under_every_number(make_lab: MakeLab, moodle: str, *, marked: bool) -> None:
    """Two merges led to one number: none of the three comes back, and the others stay as they are."""
    lab, (first, old, new, other, _) = await two_courses(make_lab)
    merge(lab.store, first, old, lab.clock.now())
    merge(lab.store, old, new, lab.clock.now())
    if marked:
        await lab.sync()
    if moodle == "took it out":
        for course in lab.site.courses:
            for person in {first, old} & {*lab.site.members_of(course)}:
                lab.site.unenrol(course, person)
    before = held(lab, other)
    done = await erased(lab, new)
    assert (RunState.COMPLETED, [first, old]) == (done.state, done.merged)
    assert f"Erased as well, because they were merged into {new}: person {first}, {old}." == done.messages[0]
    for _ in range(3):
        result = await lab.sync()
        assert ({}, "completed") == (written(result), result.state), result.messages
    assert [set[str]()] * 3 == [held(lab, person) for person in (first, old, new)]
    assert ("{}", before) == (lab.store.get("merged"), held(lab, other))


async def test_who_went_on_is_not_erased_with_an_old_number(make_lab: MakeLab) -> None:
    """The number that was given is emptied, and the message says by which one its person goes now."""
    lab, (old, new, *_) = await two_courses(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    before = held(lab, new)
    done = await erased(lab, old)
    assert (set(), before) == (held(lab, old), held(lab, new))
    assert f"person erase {new}" in done.messages[0]
    await lab.sync()
    assert set() == held(lab, old)


async def test_an_erasure_of_every_number_is_finished_later(make_lab: MakeLab) -> None:
    """Without CommCare's answer all rows stay, and the same command goes on after the rest."""
    lab, (old, new, *_) = await two_courses(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    lab.commcare.drop_reply_after_commit()
    assert RunState.POSTPONED == (await erased(lab, new)).state
    assert [old, new] == lab.store.unfinished_erasures()
    await lab.sync()
    assert RunState.COMPLETED == (await erased(lab, new)).state
    assert ([], set(), set()) == (lab.store.unfinished_erasures(), held(lab, old), held(lab, new))


async def test_an_export_has_every_number(make_lab: MakeLab) -> None:
    """What is known of the old number is given out with the new one, and each says which the other is."""
    lab, (old, new, *_) = await two_courses(make_lab)
    merge(lab.store, old, new, lab.clock.now())
    of_new, of_old = [await on(lab, export, person) for person in (new, old)]
    keys = {case["key"] for case in of_new["cases"]}
    assert ([old], None) == (of_new["merged"], of_new["merged_into"])
    assert ([], new) == (of_old["merged"], of_old["merged_into"])
    assert {f"test-user-{old}", f"test-user-{new}"} <= keys
    assert f"test-user-{new}" not in {case["key"] for case in of_old["cases"]}


def test_who_became_somebody() -> None:
    """Over however many merges, and nobody else."""
    people = {1: 2, 2: 3, 4: 3, 5: 6}
    assert [[1, 2, 4], [1], [5], []] == [who_became(people, number) for number in (3, 2, 6, 1)]


async def test_a_merge_while_a_mapping_is_off(make_lab: MakeLab) -> None:
    """On again, its cases of the old number say so as well, and then there is rest."""
    lab, old, new = await twins(make_lab)
    lab.edit("enrolment", "case_type: enrolment\n", "case_type: enrolment\nenabled: false\n")
    await lab.sync()
    merge(lab.store, old, new, lab.clock.now())
    for _ in range(2):
        await lab.sync()
    assert ({}, "active") == (written(await lab.sync()), says(lab, old)[0])
    lab.edit("enrolment", "\nenabled: false\n", "\n")
    for _ in range(3):
        result = await lab.sync()
    assert (("left", str(new)), {}, "[]") == (says(lab, old), written(result), lab.store.get("merged_unmarked"))


# --- taken back, and read by nobody -------------------------------------------------------------------------


async def in_two_courses(make_lab: MakeLab, *, ends: bool = True) -> tuple[Lab, list[int], int, int]:
    """Return a lab with learners who are in two courses, the courses, and two of the learners."""
    site, courses, (old, new, *_) = site_of(4, 4, shared=True)
    lab = make_lab(site)
    if ends:
        left = "when_left: {set: {enrolment_status: left}}"
        lab.edit("enrolment", left, f"{left}\nwhen_course_ends: {{set: {{enrolment_status: over}}}}")
    await lab.sync()
    return lab, courses, old, new


async def merged_and_parted(lab: Lab, old: int, new: int) -> None:
    """Merge two people, take it back, and run until that has arrived: then there is rest."""
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    unmerge(lab.store, old, new, lab.clock.now())
    await settle(lab)
    result = await lab.sync()
    assert ({}, {}, "[]") == (written(result), result.requests["commcare"], lab.store.get("merged_unmarked"))


@pytest.mark.parametrize(("how", "status"), [("over", "over"), ("hidden", "left"), ("left", "left")])
async def test_taken_back_where_nobody_is_read(make_lab: MakeLab, how: str, status: str) -> None:
    """In a course that is over the case says that again; in any other it says that somebody has left."""
    lab, (course, other), old, new = await in_two_courses(make_lab)
    if how == "over":
        lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    elif how == "hidden":
        lab.site.courses[course]["visible"] = 0
    else:
        lab.site.unenrol(course, old)
    await settle(lab)
    await merged_and_parted(lab, old, new)
    assert ((status, ""), ("active", "")) == (says(lab, old, course), says(lab, old, other))
    lab.site.courses[course] |= {"visible": 1, "enddate": 0}
    if how != "left":
        await settle(lab)
        assert ("active", "") == says(lab, old, course)


async def test_who_had_left_what_is_over(make_lab: MakeLab) -> None:
    """Nobody was in it any more when it ended: the case says so still."""
    lab, (course, _), old, new = await in_two_courses(make_lab)
    lab.site.unenrol(course, old)
    await settle(lab)
    lab.site.courses[course]["enddate"] = int(lab.clock.now()) + 60
    await settle(lab)
    await merged_and_parted(lab, old, new)
    assert ("left", "") == says(lab, old, course)


@pytest.mark.parametrize("close", ["", ", close: true"])
async def test_taken_back_of_a_deleted_account(make_lab: MakeLab, close: str) -> None:
    """Moodle deleted the old account, and it was merged into the wrong one: its cases are left, and no more."""
    lab, old, new = await twins(make_lab)
    lab.edit("enrolment", "{enrolment_status: left}", f"{{enrolment_status: left}}{close}")
    lab.site.delete_user(old)
    await merged_and_parted(lab, old, new)
    assert (("left", ""), bool(close)) == (says(lab, old), lab.case(f"test-enrol-2-{old}").closed)
    assert "" == lab.case(f"test-user-{old}").properties["merged_into"]


async def test_taken_back_without_an_answer(make_lab: MakeLab) -> None:
    """The mark was not answered, and so is what takes it away: it goes in the end."""
    lab, (course, _), old, new = await in_two_courses(make_lab)
    lab.site.unenrol(course, old)
    await settle(lab)
    lab.site.courses[course]["visible"] = 0
    merge(lab.store, old, new, lab.clock.now())
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    unmerge(lab.store, old, new, lab.clock.now())
    lab.commcare.fail_next("timeout", where="write")
    await settle(lab)
    await settle(lab)
    assert (("left", ""), "[]") == (says(lab, old, course), lab.store.get("merged_unmarked"))


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_taken_back_of_a_case_whose_id_was_never_told(make_lab: MakeLab, lost: int) -> None:
    """Neither its create was answered nor the mark, be that sent so often: the mark goes in the end."""
    site, (course, other), learners = site_of(4, 4, shared=True)
    lab = make_lab(site)
    await lab.sync()
    new, old = learners[1], site.add_user("Old", "One")
    site.enrol(other, old)
    await lab.sync()
    site.enrol(course, old)
    lab.commcare.drop_reply_after_commit()
    await lab.sync()
    merge(lab.store, old, new, lab.clock.now())
    for _ in range(1 + lost):
        lab.commcare.drop_reply_after_commit()
        await lab.sync()
    lab.commcare.faults.clear()
    assert str(new) == says(lab, old, course)[1]
    site.courses[course]["visible"] = 0
    unmerge(lab.store, old, new, lab.clock.now())
    await settle(lab)
    await settle(lab)
    assert ("", "[]") == (says(lab, old, course)[1], lab.store.get("merged_unmarked"))


async def test_a_run_for_one_course_takes_no_mark_away(make_lab: MakeLab) -> None:
    """Who may be in the others it cannot say; the next run of all of them does."""
    lab, (course, other), old, new = await in_two_courses(make_lab)
    lab.site.unenrol(course, old)
    await settle(lab)
    merge(lab.store, old, new, lab.clock.now())
    await lab.sync()
    unmerge(lab.store, old, new, lab.clock.now())
    await lab.sync(courses=(other,))
    assert (("left", str(new)), ("active", "")) == (says(lab, old, course), says(lab, old, other))
    await lab.sync()
    assert ("left", "") == says(lab, old, course)


async def test_merged_once_more(make_lab: MakeLab) -> None:
    """It was taken back, and said again before any run, or after it: the mark stays."""
    lab, (course, _), old, new = await in_two_courses(make_lab)
    lab.site.unenrol(course, old)
    await settle(lab)
    for runs in (0, 2):
        merge(lab.store, old, new, lab.clock.now())
        await lab.sync()
        unmerge(lab.store, old, new, lab.clock.now())
        for _ in range(runs):
            await lab.sync()
    merge(lab.store, old, new, lab.clock.now())
    await settle(lab)
    assert (("left", str(new)), {}) == (says(lab, old, course), written(await lab.sync()))


async def test_taken_back_of_who_is_gone_after_a_restore(make_lab: MakeLab) -> None:
    """The books that come back know nothing of it: the mark goes from the case of a deleted account as well."""
    lab, old, new = await twins(make_lab)
    lab.in_a_file()
    lab.site.delete_user(old)
    merge(lab.store, old, new, lab.clock.now())
    await settle(lab)
    backup = lab.store.back_up(lab.clock.now())
    assert backup
    unmerge(lab.store, old, new, lab.clock.now())
    lab.books.close()
    target = (lab.site.url, "https://commcare.example.org", DOMAIN)
    restore(lab.state_url, backup, (bytes(32),), target, lab.clock.now(), carry=take_over)
    lab.books = lab._open()
    await settle(lab)
    await settle(lab)
    assert (("left", ""), {}) == (says(lab, old), written(await lab.sync()))


def test_a_merge_is_asked_about(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal somebody says yes to what the next run would do, also when it is taken back."""
    assert 0 == terminal.run("sync", "--yes").code
    monkeypatch.setattr("flows.cli_confirm.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    old, new = (str(one) for one in terminal.box.learners[:2])
    no = terminal.run("merge", old, new, typed="n\n")
    assert (1, True) == (no.code, f"Mark the 3 cases of person {old} as left (merged_into: {new})" in no.text)
    assert "Nothing was changed." in no.text
    wrong = terminal.run("merge", old, new, "--undo")
    assert (2, True) == (wrong.code, f"Person {old} was not merged into {new}." in wrong.text)
    assert 0 == terminal.run("merge", old, new, typed="y\n").code
    back = terminal.run("merge", old, new, "--undo", typed="y\n")
    assert (0, True) == (back.code, f"Take back that person {old} is {new}?" in back.text)
    assert (0, False) == ((said := terminal.run("merge", old, new, "--yes")).code, "[y/N]" in said.text)
