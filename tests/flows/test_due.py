"""Intervals: what a run reads, what waits, and what is read all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from adaptors.moodle.completion import CONTENTS
from adaptors.moodle.streams import GRADES
from flows.confirm import confirm, confirm_blanks
from flows.needs import needs, people_asked
from flows.problems import list_problems, retry
from flows.steps.asked import LEAVERS
from state.facts import KEYS_KEPT_OUT
from tests.flows import match_lab
from tests.flows.test_engagement import engaged
from tests.flows.test_engagement import site_of as engaged_site
from tests.flows.test_sync import ENROLLED, PROFILES, site_of
from tests.flows.worlds import PROJECT, Lab, written

pytestmark = pytest.mark.story

MakeLab = Callable[..., Lab]
HOUR = 3600.0
DAY = 24 * HOUR


async def daily(make_lab: MakeLab, intervals: str = "{people: 24}") -> tuple[Lab, list[int], int]:
    """Return a lab with intervals that has run once: lab, learners, a grade item."""
    site, courses, learners = site_of(3)
    item = site.set_grade_item(courses[0], "Quiz")
    lab = make_lab(site, project=f"{PROJECT}intervals: {intervals}\n")
    await lab.sync()
    return lab, learners, item


async def test_a_stream_is_read_in_its_interval(make_lab: MakeLab) -> None:
    """People read less than a day ago are not read, and said to wait; enrolments are; a day later all are."""
    lab, learners, item = await daily(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    lab.site.grade(item, learners[0], 80)
    result = await lab.sync()
    assert (["student"], {"updated": 1}, 0) == (
        result.not_due,
        written(result),
        result.requests["moodle"].get(PROFILES, 0),
    )
    assert any("student" in message and "--full" in message for message in result.messages)
    result = await lab.sync(later=DAY)
    assert ([], 1) == (result.not_due, result.of("student").updated)


async def test_nothing_due_reads_nothing(make_lab: MakeLab) -> None:
    """When every stream waits neither system is asked anything, and the run is completed."""
    lab, _, _ = await daily(make_lab, "{people: 24, enrolments: 24, grades: 24}")
    result = await lab.sync()
    assert ("completed", {"moodle": {}, "commcare": {}}) == (result.state, result.requests)
    assert result.run_id == (lab.store.last_run() or ("",))[0]


async def test_a_schedule_that_comes_a_little_early_is_heard(make_lab: MakeLab) -> None:
    """An hourly run of an hourly stream is not skipped for some seconds."""
    lab, _, _ = await daily(make_lab, "{people: 1}")
    assert [] == (await lab.sync(later=HOUR - 60)).not_due


@pytest.mark.parametrize(
    "options", [{"full": True}, {"mappings": ("student",)}, {"courses": (2,)}, {"preview": True}]
)
async def test_who_asks_by_name_is_not_put_off(make_lab: MakeLab, options: dict[str, object]) -> None:
    """`--full`, a mapping or course by name, and a preview read at once."""
    lab, learners, _ = await daily(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    result = await lab.sync(**options)
    assert ([], 1) == (result.not_due, result.of("student").updated)


async def test_an_edit_is_due_at_once(make_lab: MakeLab) -> None:
    """An edited mapping is read again whatever its interval says, once."""
    lab, _, _ = await daily(make_lab)
    lab.edit("student", "source: lang, transform: [{split", "source: lang, transform: [upper, {split")
    lab.edit("student", "language: sw", "language: sw")
    result = await lab.sync()
    assert ([], ["language"]) == (result.not_due, result.edits["student"]["edited"])
    assert ["student"] == (await lab.sync()).not_due


@pytest.mark.parametrize("old", [r"(site}-)user", "((case_type|same_as): )student"])
async def test_an_edit_that_is_taken_back_is_due_at_once(make_lab: MakeLab, old: str) -> None:
    """It asked for other keys, or for a type of which there are cases: the question goes with it."""
    lab, _, _ = await daily(make_lab, "{people: 24, enrolments: 24, grades: 24, engagement: 24}")
    lab.project.add_case("pupil", "Somebody", owner_id="supervisor")
    files = {file: file.read_text() for file in lab.mappings.glob("*.yaml")}
    for file, text in files.items():
        file.write_text(re.sub(old, r"\1pupil", text))
    assert ("waiting", 1) == ((await lab.sync()).state, len(needs(lab.store)))
    for file, text in files.items():
        file.write_text(text)
    result = await lab.sync()
    assert ("completed", {}, []) == (result.state, written(result), needs(lab.store))
    assert {} == (await lab.sync()).requests["moodle"]


async def test_what_failed_is_due_at_once(make_lab: MakeLab) -> None:
    """A read that was not complete does not start an interval."""
    lab, _, _ = await daily(make_lab)
    lab.denied = {2}
    await lab.sync(later=DAY)
    lab.denied = set()
    assert [] == (await lab.sync()).not_due
    assert ["student"] == (await lab.sync()).not_due


async def test_writes_in_doubt_are_due_at_once(make_lab: MakeLab) -> None:
    """A row whose outcome is unknown does not wait for the interval of its mapping, but for its rest."""
    lab, learners, _ = await daily(make_lab)
    lab.site.update_user(learners[0], city="Bondo")
    lab.commcare.fail_next("timeout")
    assert {"in_doubt": 1, "held_back": 1} == written(await lab.sync(full=True))
    assert 1 == (await lab.sync()).of("student").updated
    assert ["student"] == (await lab.sync()).not_due


async def test_a_new_day_is_due(make_lab: MakeLab) -> None:
    """With recheck_daily a mapping is read once on each day of the project's time zone."""
    lab, _, _ = await daily(make_lab, "{people: 240}")
    lab.edit("student", "when_left:", "recheck_daily: true\nwhen_left:")
    waits = [(await lab.sync(later=6 * HOUR)).not_due for _ in range(8)]
    assert 2 == waits.count([])


async def test_a_child_that_waits_is_due(make_lab: MakeLab) -> None:
    """An enrolment that waits for its student is sent in the run in which the student is there."""
    site, _, learners = site_of(3)
    site.update_user(learners[0], lastname="")
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 24}}\n")
    await lab.sync()
    site.update_user(learners[0], lastname="Otieno")
    assert {"created": 2} == written(await lab.sync())


async def test_what_is_put_right_in_commcare_is_due(make_lab: MakeLab) -> None:
    """Who was held back because nobody could own the case is sent in the run after that was put right."""
    site, _, _ = site_of(3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{people: 48}}\n")
    await lab.sync()
    new = site.add_user("Neema", "New")
    site.enrol(2, new)
    groups = lab.project.groups.copy()
    lab.project.groups.clear()
    assert 1 == (await lab.sync(later=2 * DAY)).reasons["owner_unresolved"]
    lab.project.groups.update(groups)
    assert {"created": 2} == written(await lab.sync())
    assert ["student"] == (await lab.sync()).not_due


async def without_consent(make_lab: MakeLab, intervals: str = "{people: 48}") -> tuple[Lab, int]:
    """Return a lab that has run once with somebody who has not consented: lab, that person."""
    site, _, learners = site_of(3)
    site.add_profile_field("consent")
    for learner in learners:
        site.update_user(learner, profile={"consent": "yes" if learner != learners[0] else "no"})
    site.grade(site.set_grade_item(2, "Quiz"), learners[0], 70)
    lab = make_lab(site, project=f"{PROJECT}intervals: {intervals}\n")
    lab.edit("grade_item", "enabled: false\n", "")
    text = (lab.mappings / "student.yaml").read_text()
    lab.edit("student", text[text.index("\ntests:") :], "\n")
    roles = "  - {source: roles, any_of: [student]}\n"
    lab.edit("student", roles, f'{roles}  - {{source: profile.consent, is_not: "no"}}\n')
    await lab.sync()
    return lab, learners[0]


@pytest.mark.parametrize("intervals", ["{people: 48}", "{people: 48, enrolments: 24}"])
async def test_nothing_waits_for_a_case_that_is_kept_out(make_lab: MakeLab, intervals: str) -> None:
    """Who is kept out has no records that wait, also in the runs that do not read people, and none of a grade."""
    lab, _ = await without_consent(make_lab, intervals)
    results = [await lab.sync() for _ in range(3)]
    assert [("completed", {}, {})] * 3 == [(one.state, dict(one.reasons), written(one)) for one in results]
    assert ["student" in one.not_due for one in results] == [True] * 3
    assert [] == list_problems(lab.store)


async def test_who_consents_is_sent_with_the_next_read_of_people(make_lab: MakeLab) -> None:
    """Consent is heard when people are read again; the records that did not wait are sent in the same run."""
    lab, person = await without_consent(make_lab)
    await lab.sync()
    lab.site.update_user(person, profile={"consent": "yes"})
    assert {} == written(await lab.sync())
    assert {"created": 3} == written(await lab.sync(later=2 * DAY))


async def test_who_is_let_in_and_held_back_is_waited_for(make_lab: MakeLab) -> None:
    """Somebody let in whose case cannot be made is a parent on its way: the children say that they wait."""
    lab, person = await without_consent(make_lab)
    lab.site.update_user(person, profile={"consent": "yes"}, lastname="")
    result = await lab.sync(later=2 * DAY)
    assert 2 == result.reasons["waits_for_parent"]


async def test_a_newcomer_who_was_never_read_is_waited_for(make_lab: MakeLab) -> None:
    """Of somebody who came since the last read of people nobody knows yet: the children wait and are told."""
    lab, _ = await without_consent(make_lab)
    new = lab.site.add_user("Neema", "New", profile={"consent": "no"})
    lab.site.enrol(2, new)
    assert {"waits_for_parent": 2} == dict((await lab.sync()).reasons)
    await lab.sync(later=2 * DAY)
    assert {} == dict((await lab.sync()).reasons)


async def test_who_is_gone_is_not_kept_in_mind(make_lab: MakeLab) -> None:
    """The key of somebody who was kept out is forgotten with the first complete read that does not show it."""
    lab, person = await without_consent(make_lab)
    kept_out = KEYS_KEPT_OUT.format(name="student", scope=0)
    assert [f"test-user-{person}"] == json.loads(lab.store.get(kept_out) or "")
    lab.site.unenrol(2, person)
    await lab.sync(later=2 * DAY)
    assert [] == json.loads(lab.store.get(kept_out) or "")


async def test_grades_wait_alone(make_lab: MakeLab) -> None:
    """When enrolments are due and grades are not, no grade is read, and those in CommCare stay."""
    lab, learners, item = await daily(make_lab, "{grades: 24}")
    lab.site.grade(item, learners[0], 80)
    await lab.sync(later=DAY)
    lab.site.grade(item, learners[0], 30)
    result = await lab.sync()
    assert ({}, 0, 3) == (
        written(result),
        sum(count for name, count in result.requests["moodle"].items() if "grade" in name),
        result.requests["moodle"][ENROLLED],
    )
    assert "80" == lab.case(f"test-enrol-2-{learners[0]}").properties[f"grade_{item}"]
    result = await lab.sync(later=DAY)
    assert ({"updated": 1}, 1) == (written(result), result.requests["moodle"][GRADES])


async def test_grades_that_decide_are_always_read(make_lab: MakeLab) -> None:
    """A mapping that says something else without grades has them read each time."""
    lab, learners, item = await daily(make_lab, "{grades: 24}")
    total = "    description: Course total, from 0 to 100.\n"
    lab.edit("enrolment", total, f"{total}    when_not_sent: clear\n")
    lab.edit("enrolment", "not_sent: [grade_percent, result", "not_sent: [result")
    await lab.sync()
    lab.site.grade(item, learners[0], 30)
    assert {"updated": 1} == written(await lab.sync())


# --- what must not wait for an interval ---------------------------------------------------------------------

SLOW = "{people: 48, enrolments: 48, grades: 48}"


async def in_doubt_for_a_course(make_lab: MakeLab) -> tuple[Lab, list[int], str]:
    """Return a lab whose run for its first course left a write in doubt: lab, courses, the key of the case."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {SLOW}\n")
    await lab.sync()
    site.update_user(learners[0], firstname="Newer")
    lab.commcare.fail_next("503")
    assert 1 == written(await lab.sync(courses=(courses[0],)))["in_doubt"]
    return lab, courses, f"test-user-{learners[0]}"


@pytest.mark.parametrize("then", ["another course", "another mapping", "a run that fails"])
async def test_what_was_in_doubt_in_a_run_that_did_not_come_to_it(make_lab: MakeLab, then: str) -> None:
    """The rest of a write ends in a run that does not write it again: the next run of all does."""
    lab, courses, key = await in_doubt_for_a_course(make_lab)
    if then == "another course":
        await lab.sync(courses=(courses[1],))
    elif then == "another mapping":
        await lab.sync(mappings=("enrolment",))
    else:
        lab.site.maintenance = "web"
        assert "postponed" == (await lab.sync()).state
        lab.site.maintenance = ""
    assert {} == lab.store.intents()
    await lab.sync()
    assert "Newer" == lab.case(key).properties["first_name"]
    assert {"student", "enrolment"} <= {*(await lab.sync()).not_due}


async def test_a_child_of_a_run_for_a_course(make_lab: MakeLab) -> None:
    """A hint finds a newcomer, whose case is in doubt: the enrolment is made when that is over."""
    site, courses, _ = site_of(3, 3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 48, grades: 48}}\n")
    await lab.sync()
    site.enrol(courses[0], site.add_user("New", "Comer", lastaccess=site.now))
    lab.commcare.fail_next("503")
    await lab.sync(courses=(courses[0],), mappings=("student", "enrolment"), hinted=True)
    assert {"created": 2} == written(await lab.sync())
    assert ["enrolment"] == (await lab.sync()).not_due


async def test_a_preview_for_a_course_changes_nothing(make_lab: MakeLab) -> None:
    """What a preview leaves undone is nothing that the next run has to do."""
    site, courses, learners = site_of(3, 3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {SLOW}\n")
    site.update_user(learners[0], lastname="")
    await lab.sync()
    site.update_user(learners[0], lastname="Otieno")
    await lab.sync(full=True)
    site.update_user(learners[0], lastname="")
    await lab.sync(courses=(courses[0],), preview=True)
    assert {"student", "enrolment"} <= {*(await lab.sync()).not_due}


@pytest.mark.parametrize("trouble", ["restored", "other key"])
async def test_books_that_know_nothing_for_certain(make_lab: MakeLab, trouble: str) -> None:
    """Put back, or with another key, every row is written anew by the next run, whatever the intervals say."""
    site, _, learners = site_of(3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {SLOW}\n")
    lab.in_a_file()
    await lab.sync()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    site.update_user(learners[0], firstname="Wrong")
    await lab.sync(full=True)
    site.update_user(learners[0], firstname="Right")
    if trouble == "restored":
        lab.restore(backup)
    else:
        lab.store.add_keys((bytes(range(32)),))
    await lab.sync()
    assert "Right" == lab.case(f"test-user-{learners[0]}").properties["first_name"]


async def test_a_word_about_blanks(make_lab: MakeLab) -> None:
    """'The next run empties', and that is the next one."""
    site, _, learners = site_of(10)
    for learner in learners:
        site.update_user(learner, city="Kisumu")
    lab = make_lab(site, project=f"{PROJECT}intervals: {{people: 20}}\n")
    await lab.sync()
    for learner in learners[:9]:
        site.update_user(learner, city="")
    await lab.sync(later=DAY)
    confirm_blanks(lab.store, "student", "city", 9)
    await lab.sync()
    assert [""] * 9 == [lab.case(f"test-user-{one}").properties["city"] for one in learners[:9]]


@pytest.mark.parametrize("place", ["course", "everywhere"])
async def test_a_word_about_leavers(make_lab: MakeLab, place: str) -> None:
    """'The next run marks them as left', and that is the next one."""
    site, courses, learners = site_of(10)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{people: 20, enrolments: 20, grades: 20}}\n")
    await lab.sync()
    for learner in learners[:9]:
        site.unenrol(courses[0], learner)
    for _ in range(2):
        result = await lab.sync(later=DAY)
    assert "waiting" == result.state
    if place == "course":
        confirm(lab.store, courses[0], 9)
    else:
        confirm(lab.store, None, sum(people_asked(lab.store, LEAVERS.refused).values()))
    await lab.sync()
    assert 9 == sum(case.properties["enrolment_status"] == "left" for case in lab.project.of_type("enrolment"))


async def test_a_word_during_a_run(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that comes while a run is at work is not lost to the interval that this run begins."""
    lab, learners, _ = await daily(make_lab)
    lab.site.update_user(learners[0], city="Kisumu")
    plain, words = lab.commcare, ["student"]

    def answer(request: httpx.Request) -> httpx.Response:
        lab.store.read_anew(words)
        words.clear()
        return plain(request)

    monkeypatch.setattr(lab, "_to_commcare", answer)
    assert 1 == (await lab.sync(later=DAY)).of("student").updated
    assert [] == (await lab.sync()).not_due
    assert ["student"] == (await lab.sync()).not_due


async def asked_about(lab: Lab, runs: int, later: float = HOUR) -> tuple[list[str], int]:
    """Run several times and say yes to all that is asked about leavers; return where it was, and cases marked."""
    asked, marked = list[str](), 0
    for _ in range(runs):
        marked += written(await lab.sync(later=later)).get("marked_left", 0)
        for need in needs(lab.store):
            asked.append(str(need.course))
            confirm(lab.store, need.course, need.count)
    return asked, marked


async def engaged_and_gone(make_lab: MakeLab, hours: int) -> tuple[Lab, list[int], list[int]]:
    """Return a lab that reads engagement each day and people more rarely, and that most people have just left."""
    site, courses, learners = engaged_site(10, 2)
    lab = engaged(make_lab, site, project=f"{PROJECT}intervals: {{people: {hours}}}\n")
    for _ in range(3):
        await lab.sync(later=DAY + HOUR)
    for course in courses:
        for person in learners[:6]:
            site.unenrol(course, person)
    return lab, courses, learners[:6]


@pytest.mark.parametrize("hours", [48, 240])
async def test_leavers_of_what_is_read_more_rarely(make_lab: MakeLab, hours: int) -> None:
    """Who is gone from the courses by a person's word is not asked about again when people are read at last."""
    lab, courses, people = await engaged_and_gone(make_lab, hours)
    asked, marked = await asked_about(lab, 20, DAY + HOUR)
    assert ([*map(str, courses)], 4 * len(people)) == (sorted(asked), marked)
    assert {} == json.loads(lab.store.get(LEAVERS.allowed) or "{}")


async def test_who_came_back_is_asked_about_anew(make_lab: MakeLab) -> None:
    """The word about people who are gone is over for those who came back before their case was read."""
    lab, courses, people = await engaged_and_gone(make_lab, 240)
    asked, _ = await asked_about(lab, 4, DAY + HOUR)
    assert (len(courses), 6) == (
        len(asked),
        len(json.loads(lab.store.get(LEAVERS.allowed) or "{}")["0"]["student"]),
    )
    for course in courses:
        for person in people:
            lab.site.enrol(course, person)
    await asked_about(lab, 12, DAY + HOUR)
    assert {} == json.loads(lab.store.get(LEAVERS.allowed) or "{}")
    for course in courses:
        for person in people:
            lab.site.unenrol(course, person)
    asked, _ = await asked_about(lab, 16, DAY + HOUR)
    assert [*map(str, courses)] == sorted(asked)


async def test_leavers_after_a_hint_about_a_grade(make_lab: MakeLab) -> None:
    """A hint that looks for grades only, among people who just left, does not have them asked about twice."""
    site, (course, _), learners = site_of(12, 12, shared=True)
    site.set_grade_item(course, "Quiz")
    lab = make_lab(site)
    lab.edit("grade_item", "enabled: false\n", "")
    await lab.sync()
    for person in learners[:6]:
        site.unenrol(course, person)
    await lab.sync(courses=(course,), mappings=("grade_item",), hinted=True)
    assert ([str(course)], 12) == await asked_about(lab, 5)


async def test_other_courses_wait_for_no_interval(make_lab: MakeLab) -> None:
    """An edit of `courses:` is read for like one of a mapping, once."""
    site, (one, two), _ = site_of(2, 2)
    longest = "intervals: {people: 48, enrolments: 48, grades: 48}\n"
    lab = make_lab(site, project=f"{PROJECT}{longest}".replace('shortname_like: "*"', f"ids: [{one}]"))
    await lab.sync()
    lab.edit("project", f"ids: [{one}]", f"ids: [{one}, {two}]")
    assert {"created": 4} == written(await lab.sync())
    assert {"student", "enrolment"} == {*(await lab.sync()).not_due}


async def test_the_list_of_courses_alone_reads_nobody(make_lab: MakeLab) -> None:
    """Where people, enrolments and grades wait, a new name of a course costs the list of courses and one write."""
    site, (one, _), _ = site_of(2, 2)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{people: 48, enrolments: 48, grades: 48}}\n")
    lab.edit("course", "enabled: false\n", "")
    await lab.sync()
    site.rename(one, "Another name")
    result = await lab.sync()
    assert ("completed", {"updated": 1}) == (result.state, written(result))
    asked = {"core_webservice_get_site_info": 1, "core_course_get_courses_by_field": 1}
    assert asked == result.requests["moodle"]


@pytest.mark.parametrize("fails", ["people", "activities"])
async def test_what_fails_for_good_voids_no_interval(make_lab: MakeLab, fails: str) -> None:
    """A course that always fails has engagement read again a few times, then once a day; put right, at once."""
    site, courses, _ = engaged_site(3, 2)
    lab = engaged(make_lab, site)
    await lab.sync()
    refuse(lab, courses[0], ENROLLED if fails == "people" else CONTENTS)
    reads = ["engagement" not in (await lab.sync(DAY if not n else HOUR)).not_due for n in range(8)]
    assert [True] * 4 + [False] * 4 == reads
    assert "engagement" not in (await lab.sync(DAY)).not_due
    assert "engagement" in (await lab.sync()).not_due


def refuse(lab: Lab, course: int, function: str) -> None:
    """Let the account lack the right to a function in a course."""

    def to_moodle(request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        if form.get("courseid") == [str(course)] and form["wsfunction"] == [function]:
            return httpx.Response(200, json={"exception": "x", "errorcode": "nopermissions"})
        return lab.moodle(request)

    lab._to_moodle = to_moodle  # type: ignore[method-assign]


@pytest.mark.parametrize("who", ["the mapping", "a supervisor"])
async def test_children_follow_an_owner_whatever_their_interval(make_lab: MakeLab, who: str) -> None:
    """Another owner of the parents, by an edit or seen in an answer, has the next run read those below them."""
    site, _, learners = site_of(3)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 24, grades: 24}}\n")
    others = lab.project.add_group("Others")
    if who == "the mapping":
        lab.edit("student", "  write: once  ", "  ")
    await lab.sync()
    if who == "the mapping":
        lab.edit("student", "otherwise: project", "otherwise: {group: Others}")
    for learner in learners if who == "a supervisor" else ():
        lab.project.move_owner(lab.case(f"test-user-{learner}").case_id, others)
        site.update_user(learner, city="Kisumu")
    assert {"updated": 3} == written(await lab.sync())
    assert {"updated": 3} == written(await lab.sync())
    assert {others} == {case.owner_id for case in lab.project.cases.values()}
    assert ["enrolment"] == (await lab.sync()).not_due


async def test_children_of_other_courses_follow_an_owner(make_lab: MakeLab) -> None:
    """A webhook about one course moves a learner's case: what is below it elsewhere follows with the next run."""
    site, courses, learners = site_of(3, 3, shared=True)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 24, grades: 24}}\n")
    lab.edit("student", "  # first_of:\n", "  first_of:\n    - {group: groups}\n")
    lab.edit("student", "  write: once  ", "  ")
    others = lab.project.add_group("Others")
    await lab.sync()
    site.set_group(courses[0], learners[0], "Others")
    await lab.sync(courses=(courses[0],), hinted=True)
    await lab.sync()
    mine = [case for case in lab.project.cases.values() if (case.external_id or "").endswith(f"-{learners[0]}")]
    assert [others] * 3 == [case.owner_id for case in mine]


@pytest.mark.parametrize("how", ["made again", "made again, unheard", "linked"])
async def test_children_belong_to_another_case_whatever_their_interval(make_lab: MakeLab, how: str) -> None:
    """Somebody has another case: the next run reads those below the one before, and not the run after it."""
    site, (amina, _) = match_lab.site_of("Amina", "Brian")
    (course,) = (number for number in site.courses if number != 1)
    lab = make_lab(site, project=f"{PROJECT}intervals: {{enrolments: 24, grades: 24}}\n")
    match_lab.declare(lab)
    await lab.sync()
    key = f"test-user-{amina}"
    if how == "linked":
        now = match_lab.by_hand(lab, "Amina", national_id="ID-0001")
        await match_lab.matched(lab)
        match_lab.link(lab, amina, now.case_id)
        await lab.sync()
    else:
        lab.project.delete_case(lab.case(key).case_id)
        site.update_user(amina, city="Kisumu")
        await lab.sync()
        retry(lab.store, lab.clock.now(), key=key, recreate=True)
        if how == "made again, unheard":
            lab.commcare.drop_reply_after_commit()
            await lab.sync()
        await lab.sync()
        now = lab.case(f"{key}~2")
    assert {"updated": 1} == written(await lab.sync())
    assert now.case_id == lab.case(f"test-enrol-{course}-{amina}").indices["student"]["case_id"]
    assert ["enrolment"] == (await lab.sync()).not_due
