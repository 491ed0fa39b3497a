"""Lookup tables kept in step: few requests, no row twice whatever happens, and nobody else's rows touched."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from adaptors.commcare.fake_tables import Table, TableRow
from adaptors.moodle.fake_site import FakeSite
from flows.confirm import confirm
from tests.flows.worlds import PROJECT, SHIPPED, Lab

MakeLab = Callable[..., Lab]
TAG = "moodle_courses"
FILES = {
    "student": (SHIPPED / "student.yaml").read_text("utf-8"),
    "courses.table": (SHIPPED / "offline" / "courses.table.yaml").read_text("utf-8"),
}


def campus(make_lab: MakeLab, courses: int = 3, project: str = PROJECT, **files: str) -> Lab:
    """Return a world with some courses, a learner, and the table of the shipped set (or other files)."""
    site = FakeSite()
    learner = site.add_user("Amina", "Otieno", lastaccess=site.now)
    for number in range(courses):
        site.enrol(site.add_course(f"C{number}", f"Course {number} &amp; more"), learner)
    return make_lab(site, project=project, **(files or FILES))


def course_ids(lab: Lab) -> list[int]:
    """Return the numbers of the courses, without the site itself."""
    return sorted(lab.site.courses)[1:]


def names(lab: Lab) -> list[str]:
    """Return the course names in the table."""
    return [row["course_name"] for row in lab.commcare.shelf.contents(TAG)]


def asked(lab: Lab) -> int:
    """Return how many requests were about tables so far."""
    return lab.commcare.requests["tables"]


async def test_rows_follow_the_courses(make_lab: MakeLab) -> None:
    """A first run makes table and rows, a quiet one asks nothing, a change writes one row."""
    lab = campus(make_lab)
    result = await lab.sync()
    assert ("completed", {TAG: {"added": 3, "changed": 0, "removed": 0}}) == (result.state, result.tables)
    assert [f"Course {number} & more" for number in range(3)] == names(lab)
    (table,) = lab.commcare.shelf.tables.values()
    assert (True, "key") == (table.is_global, table.fields[0]["field_name"])
    before = asked(lab)
    assert {} == (await lab.sync(full=True)).tables
    assert before == asked(lab)
    lab.site.rename(course_ids(lab)[1], "Nutrition")
    assert {TAG: {"added": 0, "changed": 1, "removed": 0}} == (await lab.sync(full=True)).tables
    assert ["Course 0 & more", "Nutrition", "Course 2 & more"] == names(lab)
    assert 3 == asked(lab) - before  # tables, rows, one change


async def test_a_course_that_is_gone_goes_after_two_reads(make_lab: MakeLab) -> None:
    """One read without it is no proof; when it is back, it has its row."""
    lab = campus(make_lab)
    await lab.sync()
    gone = course_ids(lab)[0]
    lab.site.courses[gone]["visible"] = 0
    await lab.sync(full=True)
    assert 3 == len(names(lab))
    result = await lab.sync(full=True)
    assert ({TAG: {"added": 0, "changed": 0, "removed": 1}}, 2) == (result.tables, len(names(lab)))
    lab.site.courses[gone]["visible"] = 1
    await lab.sync(full=True)
    assert 3 == len(names(lab))


async def test_a_preview_counts_and_asks_nothing(make_lab: MakeLab) -> None:
    """It says how many rows there would be."""
    lab = campus(make_lab)
    result = await lab.sync(preview=True)
    assert (3, 0) == (result.tables[TAG]["added"], asked(lab))
    assert any("3 rows would be added" in message for message in result.messages)


@pytest.mark.parametrize("failing", range(1, 5))
@pytest.mark.parametrize("applied", [True, False])
async def test_no_row_twice_after_an_answer_that_was_lost(make_lab: MakeLab, failing: int, applied: bool) -> None:
    """Whichever write loses its answer, done or not: the table rests, is listed again, and ends up right."""
    lab = campus(make_lab)
    seen = 0
    serving = lab.commcare

    def lossy(request: httpx.Request) -> httpx.Response:
        nonlocal seen
        if "lookup_table" in str(request.url) and request.method != "GET":
            seen += 1
            if seen == failing:
                if applied:
                    serving(request)
                raise httpx.ReadTimeout("lost", request=request)
        return serving(request)

    lab._to_commcare = lossy  # type: ignore[method-assign]
    await lab.sync()
    writes = seen
    await lab.sync(later=60.0, full=True)
    assert (failing, failing) == (writes, seen)  # nothing was sent after it, and then it rests
    await lab.sync(later=1300.0, full=True)
    assert [f"Course {number} & more" for number in range(3)] == sorted(names(lab))
    assert {} == (await lab.sync(full=True)).tables


def lose_an_answer(lab: Lab) -> None:
    """Let CommCare make the next row and not say so."""
    serving, lost = lab.commcare, list[str]()

    def lossy(request: httpx.Request) -> httpx.Response:
        answer = serving(request)
        if "lookup_table_item" in str(request.url) and request.method == "POST" and not lost:
            lost.append("answer")
            raise httpx.ReadTimeout("lost", request=request)
        return answer

    lab._to_commcare = lossy  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("visible", "tables", "rows"), [(0, {TAG: {"added": 0, "changed": 0, "removed": 1}}, 3), (1, {}, 4)]
)
async def test_a_row_in_doubt_goes_with_its_course_after_two_reads(
    make_lab: MakeLab, visible: int, tables: dict[str, dict[str, int]], rows: int
) -> None:
    """The row of a new course was made, and nobody heard of it; one read without the course is no proof."""
    lab = campus(make_lab)
    await lab.sync()
    new = lab.site.add_course("NEW", "Newcomer")
    lose_an_answer(lab)
    await lab.sync(full=True)
    lab.site.courses[new]["visible"] = 0
    await lab.sync(full=True)
    assert "Newcomer" in names(lab)
    lab.site.courses[new]["visible"] = visible
    assert (tables, rows) == ((await lab.sync(full=True)).tables, len(names(lab)))
    before = asked(lab)
    assert ({}, before, visible) == ((await lab.sync(full=True)).tables, asked(lab), names(lab).count("Newcomer"))


async def test_rows_that_lost_books_knew_go_with_their_courses(make_lab: MakeLab) -> None:
    """A course went after the books were lost: its row is taken away, rows of a site of a like name are not."""
    lab = campus(make_lab)
    await lab.sync()
    (table,) = lab.commcare.shelf.tables.values()
    like = {"key": {"field_list": [{"field_value": "test-2-course-7", "properties": {}}]}}
    lab.commcare.shelf.rows["like"] = TableRow("like", table.table_id, like)
    lab.lose_books()
    lab.edit("student", "language: 1\n", "language: 1\nexisting_cases: ignore\n")
    lab.site.courses[course_ids(lab)[0]]["visible"] = 0
    await lab.sync()
    assert 4 == len(lab.commcare.shelf.rows)
    await lab.sync(full=True)
    assert (3, True) == (len(lab.commcare.shelf.rows), "like" in lab.commcare.shelf.rows)


async def lost(make_lab: MakeLab) -> tuple[Lab, list[str]]:
    """Return a lab whose first write to a table had no answer, and a list that grows with each write."""
    lab, writes = campus(make_lab), list[str]()
    commcare = lab.commcare

    def lossy(request: httpx.Request) -> httpx.Response:
        if "lookup_table" in str(request.url) and request.method != "GET":
            writes.append(request.method)
            if len(writes) == 1:
                raise httpx.ReadTimeout("lost", request=request)
        return commcare(request)

    lab._to_commcare = lossy  # type: ignore[method-assign]
    await lab.sync()
    return lab, writes


async def test_a_clock_set_forward_shortens_no_rest_of_a_table(make_lab: MakeLab) -> None:
    """A minute after a lost answer the clock is set two hours forward: the table rests anew."""
    lab, writes = await lost(make_lab)
    lab.clock.step(7200.0)
    await lab.sync(later=60.0, full=True)
    await lab.sync(later=600.0, full=True)
    assert 1 == len(writes)
    await lab.sync(later=1300.0, full=True)
    assert 3 == len(names(lab))


async def test_a_clock_set_back_ends_the_rest_of_a_table(make_lab: MakeLab) -> None:
    """A year back, on a new start of the machine: the table does not rest for a year."""
    lab, writes = await lost(make_lab)
    lab.clock.step(-365 * 86_400.0)
    lab.clock.restart()
    lab.boot = "another start"
    await lab.sync(later=60.0, full=True)
    assert 1 == len(writes)
    await lab.sync(later=1300.0, full=True)
    assert 3 == len(names(lab))


async def test_a_row_rests_from_its_own_write_on(make_lab: MakeLab) -> None:
    """Rows before it may have taken long: CommCare asked for a quarter of an hour of peace, twice."""
    lab, sent, late = campus(make_lab), list[str](), list[httpx.Request]()
    await lab.sync()
    for number in range(3):
        lab.site.enrol(lab.site.add_course(f"N{number}", f"New {number}"), max(lab.site.users))
    take = lab._to_commcare

    def answer(request: httpx.Request) -> httpx.Response:
        if "lookup_table" not in request.url.path or request.method == "GET":
            return take(request)
        sent.append(request.method)
        if len(sent) in (1, 3):
            return httpx.Response(429, headers={"Retry-After": "700"})
        if len(sent) == 5:
            late.append(request)
            raise httpx.ReadTimeout("late", request=request)
        return take(request)

    lab._to_commcare = answer  # type: ignore[method-assign]
    await lab.sync(full=True)
    await lab.sync(60.0, full=True)
    assert 5 == len(sent)
    take(late[0])
    for _ in range(3):
        await lab.sync(full=True)
    assert (6, 6) == (len(names(lab)), len(set(names(lab))))


async def test_older_books_ask_what_the_table_holds(make_lab: MakeLab) -> None:
    """CommCare has a name that the books which were put back never heard of: it is put right, and only that."""
    lab = campus(make_lab)
    await lab.sync()
    lab.in_a_file()
    backup = lab.store.back_up(lab.clock.now())
    assert backup is not None
    lab.site.rename(course_ids(lab)[1], "Nutrition")
    await lab.sync(full=True)
    assert "Nutrition" in names(lab)
    lab.site.rename(course_ids(lab)[1], "Course 1 &amp; more")
    lab.restore(backup)
    await lab.sync(later=3600.0, full=True)
    assert [f"Course {number} & more" for number in range(3)] == names(lab)
    before = asked(lab)
    await lab.sync(full=True)
    assert before == asked(lab)


async def test_too_many_requests_are_waited_for(make_lab: MakeLab) -> None:
    """A 429 did nothing for certain: the same write is sent again, and no row comes twice."""
    lab = campus(make_lab)
    lab.commcare.fail_next("429", times=2, where="tables")
    result = await lab.sync()
    assert ("completed", 3, 3) == (result.state, result.tables[TAG]["added"], len(names(lab)))


async def test_rows_that_are_there_twice_are_taken_away(make_lab: MakeLab) -> None:
    """However they came, one of each stays: the one that the books know."""
    lab = campus(make_lab)
    await lab.sync()
    shelf = lab.commcare.shelf
    first = next(iter(shelf.rows.values()))
    shelf.rows = {"twin": TableRow("twin", first.table_id, first.fields), **shelf.rows}
    lab.site.rename(course_ids(lab)[1], "Nutrition")
    await lab.sync(full=True)
    assert (3, False) == (len(names(lab)), "twin" in shelf.rows)


async def test_a_list_that_moves_while_it_is_read_makes_no_second_row(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CommCare lists rows in no order: one that slips between two pages is not taken for missing."""
    lab = campus(make_lab)
    await lab.sync()
    monkeypatch.setattr("adaptors.commcare.owners.PAGE", 2)
    rows, commcare = lab.commcare.shelf.rows, lab._to_commcare

    def moving(request: httpx.Request) -> httpx.Response:
        answer = commcare(request)
        if "lookup_table_item" in str(request.url) and request.url.params.get("offset") == "0":
            first = next(iter(rows))
            rows[first] = rows.pop(first)  # it is the last one now
        return answer

    lab._to_commcare = moving  # type: ignore[method-assign]
    lab.site.rename(course_ids(lab)[1], "Nutrition")
    result = await lab.sync(full=True)
    assert ("degraded", 3) == (result.state, len(names(lab)))
    assert any("changed while it was read" in text for text in result.messages)
    lab._to_commcare = commcare  # type: ignore[method-assign]
    assert "completed" == (await lab.sync(full=True)).state
    assert 3 == len(names(lab))


async def test_lost_books_make_no_second_rows(make_lab: MakeLab) -> None:
    """The rows are found again by their key, and nothing is written."""
    lab = campus(make_lab)
    await lab.sync()
    rows = {**lab.commcare.shelf.rows}
    lab.lose_books()
    lab.edit("student", "language: 1\n", "language: 1\nexisting_cases: ignore\n")
    result = await lab.sync()
    assert ({}, rows) == (result.tables, lab.commcare.shelf.rows)


async def test_rows_of_others_stay(make_lab: MakeLab) -> None:
    """Another site's rows in the same table, and what people wrote into further fields of ours."""
    lab = campus(make_lab)
    await lab.sync()
    shelf = lab.commcare.shelf
    (table,) = shelf.tables.values()
    other = {"key": {"field_list": [{"field_value": "other-course-2", "properties": {}}]}}
    shelf.rows["other"] = TableRow("other", table.table_id, other)
    row = next(iter(shelf.rows.values()))
    row.fields["room"] = {"field_list": [{"field_value": "B12", "properties": {}}]}
    lab.site.rename(course_ids(lab)[0], "Nutrition")
    await lab.sync(full=True)
    assert ("B12", "Nutrition") == tuple(
        row.fields[name]["field_list"][0]["field_value"] for name in ("room", "course_name")
    )
    assert other == shelf.rows["other"].fields


async def test_somebody_elses_table_is_left_alone(make_lab: MakeLab) -> None:
    """A table of the same ID with rows that are none of ours is refused, with what to do; the cases are sent."""
    lab = campus(make_lab)
    shelf = lab.commcare.shelf
    world = lab.world()
    await world.commcare.tables.make(TAG, ["name"])
    found = await world.commcare.tables.find(TAG)
    assert found is not None
    await world.commcare.tables.add(found, {"name": "theirs"})
    await world.commcare.close()
    result = await lab.sync()
    assert ("degraded", 1, 1) == (result.state, len(shelf.rows), len(lab.project.of_type("student")))
    assert any("another ID" in message for message in result.messages)


async def test_a_new_field_reaches_table_and_rows(make_lab: MakeLab) -> None:
    """An edited file gives the table its new field, and each row its value."""
    lab = campus(make_lab)
    await lab.sync()
    lab.edit("courses.table", "  shortname: shortname\n", "  shortname: shortname\n  format: format\n")
    await lab.sync()
    (table,) = lab.commcare.shelf.tables.values()
    assert "format" in {one["field_name"] for one in table.fields}
    assert all("format" in row for row in lab.commcare.shelf.contents(TAG))


async def test_without_the_right_the_cases_still_come(make_lab: MakeLab) -> None:
    """A refusal of the tables is told once, with what to switch on, and nothing rests."""
    lab = campus(make_lab)
    serving = lab.commcare

    def refusing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403) if "lookup_table" in str(request.url) else serving(request)

    lab._to_commcare = refusing  # type: ignore[method-assign]
    result = await lab.sync()
    assert ("degraded", 1) == (result.state, len(lab.project.of_type("student")))
    assert any("Edit Data" in message for message in result.messages)
    lab._to_commcare = serving  # type: ignore[method-assign]
    assert 3 == (await lab.sync()).tables[TAG]["added"]


async def test_a_run_for_some_courses_leaves_the_table(make_lab: MakeLab) -> None:
    """It cannot tell which courses there are."""
    lab = campus(make_lab)
    assert ({}, 0) == ((await lab.sync(courses=(course_ids(lab)[0],))).tables, asked(lab))


def test_project_without_a_table_has_none(make_lab: MakeLab) -> None:
    """The shipped mappings make no table."""
    assert () == make_lab(FakeSite(), project=PROJECT).loaded().tables


def spoilt(lab: Lab, status: int) -> None:
    """Let CommCare answer every write of the row of the second course with this status."""
    plain = lab.commcare

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method in ("POST", "PUT") and b"Course 1" in request.content:
            return httpx.Response(status, json={"error": "no"})
        return plain(request)

    lab._to_commcare = answer  # type: ignore[method-assign]


@pytest.mark.parametrize("status", [400, 500])
async def test_a_row_that_commcare_cannot_take_holds_up_no_other(make_lab: MakeLab, status: int) -> None:
    """The others come, change and go; the run names the row, and is not called completed."""
    lab = campus(make_lab)
    spoilt(lab, status)
    for _ in range(3):
        result = await lab.sync(full=True)
    assert (["Course 0 & more", "Course 2 & more"], "degraded") == (names(lab), result.state)
    assert any(f"test-course-{course_ids(lab)[1]}" in message for message in result.messages)
    lab.site.rename(course_ids(lab)[2], "Nutrition")
    lab.site.delete_course(deleted := course_ids(lab)[0])
    for _ in range(3):
        await lab.sync(full=True)
    # One of three is many: the row stays until somebody has said that it was deleted. Its learner is elsewhere.
    confirm(lab.store, deleted, 0)
    assert ["Course 0 & more", "Nutrition"] == names(lab)
    for _ in range(2):
        await lab.sync(full=True)
    assert ["Nutrition"] == names(lab)
    lab._to_commcare = lab.commcare  # type: ignore[method-assign,assignment]
    for _ in range(2):
        result = await lab.sync(full=True)
    assert (["Nutrition", "Course 1 & more"], "completed", {}) == (names(lab), result.state, result.tables)


async def test_an_edit_of_a_table_waits_for_no_interval(make_lab: MakeLab) -> None:
    """The rows follow the next run, which reads nothing but the courses; then all is quiet."""
    lab = campus(make_lab)
    (lab.mappings / "project.yaml").write_text(PROJECT + "intervals: {people: 48}\n")
    await lab.sync()
    text = (lab.mappings / "courses.table.yaml").read_text().partition("\ntests:")[0]
    (lab.mappings / "courses.table.yaml").write_text(text.replace("source: fullname", "source: shortname") + "\n")
    result = await lab.sync()
    assert (["C0", "C1", "C2"], ["student"], 2) == (
        names(lab),
        result.not_due,
        sum(result.requests["moodle"].values()),
    )
    result = await lab.sync()
    assert ({}, {}) == (result.requests["moodle"], result.requests["commcare"])


async def test_a_table_in_doubt_waits_for_no_interval(make_lab: MakeLab) -> None:
    """It rests as long as any write of unknown outcome, not until people are read again."""
    lab = campus(make_lab)
    (lab.mappings / "project.yaml").write_text(PROJECT + "intervals: {people: 48}\n")
    plain, lost = lab.commcare, [1]

    def losing(request: httpx.Request) -> httpx.Response:
        if lost and request.method == "POST" and "lookup_table_item" in request.url.path:
            lost.clear()
            raise httpx.ReadTimeout("lost", request=request)
        return plain(request)

    lab._to_commcare = losing  # type: ignore[method-assign]
    await lab.sync()
    assert [] == names(lab)
    result = await lab.sync(later=600.0)
    assert ({}, []) == (result.requests["moodle"], names(lab))
    result = await lab.sync(later=900.0)
    assert (3, ["student"], "completed") == (len(names(lab)), result.not_due, result.state)
    assert {} == (await lab.sync()).requests["moodle"]


async def test_a_table_rests_no_longer_for_a_clock_that_was_ahead(make_lab: MakeLab) -> None:
    """A write without an answer, a day ahead; the clock is set right, the machine started: it rests from now."""
    lab = campus(make_lab)
    serving = lab.commcare

    def silent(request: httpx.Request) -> httpx.Response:
        if "lookup_table" in str(request.url) and request.method != "GET":
            raise httpx.ReadTimeout("lost", request=request)
        return serving(request)

    lab._to_commcare = silent  # type: ignore[method-assign]
    lab.clock.step(86_400.0)
    await lab.sync()
    lab._to_commcare = serving  # type: ignore[method-assign,assignment]
    lab.clock.step(-86_400.0)
    lab.boot = "another start"
    await lab.sync(later=60.0, full=True)
    await lab.sync(later=1300.0, full=True)
    assert 3 == len(names(lab))


@pytest.mark.parametrize(("steady", "expected"), [(True, "completed"), (False, "degraded")])
async def test_a_row_of_others_goes_between_two_pages(make_lab: MakeLab, steady: bool, expected: str) -> None:
    """All rows of the project come in one list: what moves to a page that was read is not made a second time."""
    lab = campus(make_lab)
    shelf, counts = lab.commcare.shelf, iter(range(1 if steady else 1000))
    shelf.tables["others"] = Table("others", "others", True)
    shelf.rows = {f"row-{number}": TableRow(f"row-{number}", "others", {}) for number in range(1010)}
    await lab.sync()
    lab.site.rename(course_ids(lab)[2], "Nutrition")

    def taken_away(request: httpx.Request) -> httpx.Response:
        answer = lab.commcare(request)
        if "lookup_table_item" in request.url.path and request.url.params.get("offset") == "0":
            for number in counts:
                del shelf.rows[f"row-{number}"]
                break
        return answer

    lab._to_commcare = taken_away  # type: ignore[method-assign]
    assert expected == (await lab.sync(full=True)).state
    lab._to_commcare = lab.commcare  # type: ignore[method-assign, assignment]
    await lab.sync(full=True)
    assert ["Course 0 & more", "Course 1 & more", "Nutrition"] == names(lab)
