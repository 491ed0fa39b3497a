"""Commands know lookup tables: what an implementer sees who edits a table's file, as for a case mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import httpx
import pytest

from flows.masked import Eyes
from flows.preview import preview
from flows.show_preview import show_preview
from flows.status import TableStatus, read_status
from flows.status_words import table_lines
from flows.sync import Options
from tests.flows.bench_world import commit, golden, plain, tree
from tests.flows.terminal import Terminal
from tests.flows.test_tables import TAG, campus, course_ids
from tests.flows.worlds import SHIPPED, Lab

MakeLab = Callable[..., Lab]
FILE = "courses.table.yaml"
FORMAT = "  format: {source: format, transform: [{code_list: formats}]}\n"
CODE_LISTS = "code_lists: {formats: {weeks: by week}}\n"
LOOKS = {
    "table_explain": ("mappings", "explain", "courses.table", "course_name", "--id", "2"),
    "table_explain_key": ("mappings", "explain", TAG, "key", "--id", "2"),
    "table_explain_include": ("mappings", "explain", "courses", "include", "--id", "2"),
    "table_coverage": ("mappings", "coverage"),
    "table_check": ("mappings", "check"),
    "table_check_live": ("mappings", "check", "--live"),
    "table_preview": ("preview", "--limit", "2"),
    "table_preview_some": ("preview", "--limit", "1", "--course", "2"),
}


@pytest.fixture
def tables(terminal: Terminal) -> Terminal:
    """Return the sandbox with the shipped table, and a field whose code no list has."""
    text = (SHIPPED / "offline" / FILE).read_text("utf-8")
    text = text.replace("  shortname: shortname\n", f"  shortname: shortname\n{FORMAT}")
    (terminal.mappings / FILE).write_text(text, "utf-8")
    project = terminal.mappings / "project.yaml"
    project.write_text(project.read_text("utf-8") + CODE_LISTS, "utf-8")
    return terminal


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_look_prints(tables: Terminal, name: str) -> None:
    """The golden text; nothing written, and no request writes to CommCare."""
    before = tree(tables.folder)
    ended = tables.run(*LOOKS[name])
    assert (0, before, {}) == (ended.code, tree(tables.folder), tables.box.commcare.shelf.tables), ended.text
    said = re.sub(r"127\.0\.0\.1:\d+", "moodle.example.org", plain(ended, tables))
    assert golden(name, said) == said
    assert isinstance(tables.run(*LOOKS[name], "--json").json, dict)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("explain", "courses", "owner", "--id", "2"), "a row has no owner, and is on every phone"),
        (("explain", "courses", "course_nam", "--id", "2"), "has no field 'course_nam'; there is 'course_name'"),
        (("explain", "courses", "link", "--id", "99"), "no chosen course with the id 99"),
        (("explain", "nothing", "link", "--id", "2"), "engagement, grade_item, courses.table"),
        (("example", "courses", "--id", "99"), "no chosen course with the id 99"),
    ],
)
def test_what_a_row_has_not(tables: Terminal, words: tuple[str, ...], sentence: str) -> None:
    """One sentence, and the code for wrong usage."""
    ended = tables.run("mappings", *words)
    assert (2, True) == (ended.code, sentence in " ".join(ended.err.split())), ended.text


def test_a_lookup_in_moodle_is_small(tables: Terminal) -> None:
    """To explain a row nobody's roster is read: the list of courses is all a table is made of."""
    before = len(tables.box.moodle.calls)
    tables.run("mappings", "explain", "courses", "link", "--id", "2")
    asked = [function for function, _ in tables.box.moodle.calls[before:]]
    assert ["core_webservice_get_site_info", "core_course_get_courses_by_field"] == asked


def test_the_difference_of_an_edit(tables: Terminal) -> None:
    """Fields with samples, rows that come and go, other keys, and what was taken out."""
    commit(tables)
    assert f"{FILE}: no change in what is sent." in tables.run("mappings", "diff").out
    for old, new in (
        ("  shortname: shortname", "  shortname: {source: shortname, transform: [lower]}"),
        ("shortname: CHW-01\n        course_name", "shortname: chw-01\n        course_name"),
        ("  ends_on: {source: enddate, transform: [date]}\n", ""),
        ('        ends_on: ""\n', ""),
        ("{site}-course-", "{site}-outline-"),
        ("source: courses\n", "source: courses\nexclude: [{source: shortname, is: CHW-201}]\n"),
    ):
        tables.edit(FILE, old, new)
    ended = tables.run("mappings", "diff")
    assert golden("table_diff", plain(ended, tables)) == plain(ended, tables)
    found = tables.run("mappings", "diff", "--json", "--limit", "1").json["mappings"]
    (table,) = [each for each in found if each["mapping"] == "courses.table"]
    assert (TAG, 1, ["ends_on"]) == (table["lookup_table"], table["records"], table["removed"])
    tables.edit(FILE, f"lookup_table: {TAG}", "lookup_table: outline")
    assert f"makes another table, outline: 2 rows (3 records read); {TAG} stays" in " ".join(
        tables.run("mappings", "diff").out.split()
    )
    (tables.mappings / FILE).unlink()
    assert f"{FILE} is gone: its table and the rows stay" in tables.run("mappings", "diff").out


def test_a_new_file_and_one_that_is_off(tables: Terminal) -> None:
    """The difference says that it is new; a check and the documents say that it is off."""
    text = (tables.mappings / FILE).read_text("utf-8")
    (tables.mappings / FILE).unlink()
    commit(tables)
    (tables.mappings / FILE).write_text(text, "utf-8")
    assert f"{FILE} is new: 3 rows (3 records read)" in tables.run("mappings", "diff").out
    tables.edit(FILE, "language: 1\n", "language: 1\nenabled: false\n")
    assert "0 lookup tables (switched off: courses.table)" in " ".join(tables.run("mappings", "check").out.split())
    tables.run("mappings", "docs")
    assert "## moodle_courses (lookup table, off)" in (tables.mappings / "docs/specification.md").read_text(
        "utf-8"
    )


def test_documents(tables: Terminal) -> None:
    """The specification has the table and its code list, and what has no room for it says so."""
    ended = tables.run("mappings", "docs")
    text = (tables.mappings / "docs" / "specification.md").read_text("utf-8")
    section = f"## {TAG}{text.split(f'## {TAG}')[1].split('## ')[0]}"
    assert golden("table_specification", section) == section
    assert 'row_courses_table[("moodle_courses, lookup table")]' in text
    assert "courses.table: the data dictionary has no room for it" in " ".join(ended.err.split())
    assert "## Code list formats" in text
    assert 0 == tables.run("mappings", "docs", "--check").code
    tables.run("mappings", "docs", "--language", "fr")
    french = (tables.mappings / "docs" / "specification.fr.md").read_text("utf-8")
    assert f"## {TAG} (table de consultation)" in french


def test_an_example_from_a_course_is_a_test(tables: Terminal) -> None:
    """It expects key and fields, nothing of a case, and passes; --update puts a field right."""
    assert 0 == tables.run("mappings", "example", "courses", "--id", "2").code
    text = (tables.mappings / FILE).read_text("utf-8")
    assert (True, False) == ("made anonymous" in text, "case_name" in text or "owner" in text)
    tables.edit(FILE, "  shortname: shortname", "  shortname: {source: shortname, transform: [lower]}")
    for name in ("courses", TAG, FILE):
        assert 1 == tables.run("mappings", "test", name).code
    assert 0 == tables.run("mappings", "test", "courses", "--update", "--yes").code


def test_both_checklists(tables: Terminal) -> None:
    """What CommCare's role is for names the rows; a check names the file."""
    said = " ".join(tables.run("setup", "commcare").out.split())
    assert "the rows of lookup tables; no case is ever deleted" in said
    assert f"enrolment.yaml, {FILE}" in " ".join(tables.run("check").out.split())


# --- what a run would do to rows that are there ------------------------------------------------------------


async def looked(lab: Lab, limit: int = 5) -> tuple[dict[str, object], str]:
    """Return a preview as --json prints it, and what happens to which rows."""
    world = lab.world()
    found = await preview(world, Options(preview=True), limit)
    await world.commcare.close()
    return found.as_json(Eyes()), ", ".join(f"{row.op} {row.key}" for row in found.table_rows())


async def test_rows_that_would_come_change_and_go(make_lab: MakeLab) -> None:
    """After the preview nothing is different; a course that is gone goes with the second read."""
    lab = campus(make_lab)
    _, told = await looked(lab)
    first, second, third = (f"test-course-{number}" for number in course_ids(lab))
    assert f"add {first}, add {second}, add {third}" == told
    await lab.sync()
    lab.site.rename(course_ids(lab)[1], "Nutrition")
    lab.site.courses[course_ids(lab)[2]]["visible"] = 0
    lab.site.enrol(lab.site.add_course("NEW", "New"), max(lab.site.users))
    found, told = await looked(lab)
    fourth = f"test-course-{course_ids(lab)[3]}"
    assert f"add {fourth}, change {second}" == told
    counts = {"added": 1, "changed": 1, "removed": 0, "missing": 1, "held_back": 0, "left_out": 0, "unchanged": 1}
    assert {TAG: counts} == found["lookup_tables"]
    await lab.sync(full=True)
    _, told = await looked(lab)
    assert f"take away {third}" == told
    assert 4 == len(lab.commcare.shelf.contents(TAG))


async def test_a_personal_field_is_masked(make_lab: MakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal and in --json."""
    lab = campus(make_lab, courses=1)
    lab.edit("courses.table", "{source: fullname, ", "{source: fullname, personal: true, ")
    found, _ = await looked(lab)
    assert ("Co***", False) == (found["table_rows"][0]["fields"]["course_name"], "& more" in json.dumps(found))  # type: ignore[index]
    world = lab.world()
    show_preview(await preview(world, Options(preview=True), 5), Eyes())
    await world.commcare.close()
    shown = capsys.readouterr().out
    assert ("course_name→Co***" in shown, "& more" in shown) == (True, False)


async def test_a_table_that_rests_says_so(make_lab: MakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    """A write without an answer is told beside what would be done later; the status tells since when."""
    lab = campus(make_lab)
    lab.store.note_table_write(TAG, lab.clock.now())
    world = lab.world()
    show_preview(await preview(world, Options(preview=True), 5), Eyes())
    await world.commcare.close()
    assert "so the table rests" in " ".join(capsys.readouterr().out.split())


async def test_the_status_knows_what_the_mappings_make(make_lab: MakeLab) -> None:
    """Before the first run, after it, after a quiet one, and when no file makes the table any more."""
    lab = campus(make_lab)
    assert (TableStatus(TAG, 0),) == tuple(read_status(lab.store, lab.loaded(), lab.clock.now()).tables)
    await lab.sync()
    written = lab.clock.now()
    await lab.sync(full=True)
    (table,) = read_status(lab.store, lab.loaded(), lab.clock.now()).tables
    assert (3, 0.0, True) == (table.rows, table.in_doubt_since, table.used)
    assert written - 60 < table.written_at <= written
    (lab.mappings / FILE).unlink()
    status = read_status(lab.store, lab.loaded(), lab.clock.now())
    assert [False] == [one.used for one in status.tables]
    assert [f"{TAG}: no file of the mappings makes it any more; its rows stay in CommCare as they are."] == [
        *table_lines(status)
    ]


async def test_a_write_that_was_done_without_an_answer_counts_as_written(make_lab: MakeLab) -> None:
    """When a later run finds that all of it was done, the status tells when; until then, that it is in doubt."""
    lab, writes = campus(make_lab, courses=1), 0
    serving = lab.commcare

    def lossy(request: httpx.Request) -> httpx.Response:
        nonlocal writes
        answer = serving(request)
        if "lookup_table_item" in str(request.url) and request.method == "POST":
            writes += 1
            raise httpx.ReadTimeout("lost", request=request)
        return answer

    lab._to_commcare = lossy  # type: ignore[method-assign]
    await lab.sync()
    began = lab.clock.now()
    (table,) = read_status(lab.store, lab.loaded(), began).tables
    assert (True, 0.0) == (began - 60 < table.in_doubt_since <= began, table.written_at)
    await lab.sync(later=1300.0, full=True)
    (table,) = read_status(lab.store, lab.loaded(), lab.clock.now()).tables
    assert (1, 1, 0.0) == (writes, table.rows, table.in_doubt_since)
    assert began - 60 < table.written_at <= began


async def test_a_value_that_cannot_be_used_is_told(make_lab: MakeLab) -> None:
    """A code that no list has: field, reason and count in the run's messages; never the row's value."""
    lab = campus(make_lab, courses=2)
    lab.edit("courses.table", "  shortname: shortname\n", f"  shortname: shortname\n{FORMAT}")
    lab.edit("project", "language: 1\n", f"language: 1\n{CODE_LISTS}")
    result = await lab.sync()
    assert any("2 × format is in neither the code list" in message for message in result.messages), result.messages
    assert "topics" not in str(result.messages)


def test_no_table_no_word(terminal: Terminal) -> None:
    """A project without tables says nothing of them."""
    said = [terminal.run(*words).out for words in (("preview",), ("mappings", "check"), ("mappings", "coverage"))]
    assert not any("ookup table" in text for text in said)
