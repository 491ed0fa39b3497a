"""The commands of assignments as people type them: masked on the screen, whole in files, exit codes that tell."""

from __future__ import annotations

import csv
import json
import re
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adaptors.moodle.fake_marking import plugins
from flows.assignments_csv import safe_cell
from flows.assignments_list import as_html, is_blank, read_list, same_text
from flows.errors import UsageError
from tests.flows.terminal import Ended, Terminal


class Marker:
    """A terminal at the sandbox, with an assignment that two learners have handed in."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal, self.folder = terminal, terminal.folder
        site = terminal.box.site
        self.course = terminal.box.courses["CHW-101"]
        self.cmid = site.activities.set(self.course, "Report")
        self.amina, self.brian, *_ = terminal.box.learners
        instance = site.activities.instance_of(self.cmid)
        for learner, name in ((self.amina, "=cmd.pdf"), (self.brian, "b.pdf")):
            site.activities.submit(self.cmid, learner, site.now)
            row = site.activities.submissions[instance][-1]
            files = site.marking.add_files(330, row["id"], {name: b"%PDF"}, site.now)
            row["plugins"] = plugins(files, "<p>Confidential</p>")

    def run(self, command: str, *words: str, json_too: bool = False, typed: str = "") -> Ended:
        """Type a command of assignments about the report."""
        more = ("--json",) if json_too else ()
        where = (str(self.course), f"cmid:{self.cmid}")
        return self.terminal.run("assignments", command, *where, *words, *more, typed=typed)

    def listed(self, rows: list[dict[str, Any]]) -> str:
        """Write a list of feedback and return its path."""
        path = self.folder / "feedback.json"
        path.write_text(json.dumps(rows), "utf-8")
        return str(path)


@pytest.fixture
def marker(terminal: Terminal) -> Marker:
    """Give a terminal with something to mark."""
    return Marker(terminal)


def test_list(marker: Marker) -> None:
    """Assignments are listed with both numbers."""
    ended = marker.terminal.run("assignments", "list", str(marker.course))
    assert (0, True) == (ended.code, "Report" in ended.out and str(marker.cmid) in ended.out)
    found = marker.terminal.run("assignments", "list", str(marker.course), "--json").json
    assert {"Report", "Home visits", "Referral quiz"} == {one["name"] for one in found["assignments"]}


def test_an_assignment_that_the_account_may_not_see(marker: Marker) -> None:
    """One hidden assignment does not keep the others back; that there is one more is said, with the right."""
    hidden = marker.terminal.box.site.activities.set(marker.course, "Later", visible=0)
    marker.terminal.box.moodle.revoke("moodle/course:viewhiddenactivities")
    ended = marker.terminal.run("assignments", "list", str(marker.course))
    assert (0, True) == (ended.code, "Report" in ended.out)
    more = f"1 more assignment of course {marker.course} the account may not see"
    assert more in ended.text
    assert 1 == marker.terminal.run("assignments", "list", str(marker.course), "--json").json["unseen"]
    assert 0 == marker.run("submissions").code
    ended = marker.terminal.run("assignments", "users", str(marker.course), str(hidden))
    assert (2, True) == (ended.code, more in ended.text)


@pytest.mark.parametrize("words", [("list", "99"), ("submissions", "99", "1"), ("users", "99", "1")])
def test_a_course_that_is_not_there(marker: Marker, words: tuple[str, ...]) -> None:
    """A slip in the number is told as one, not only as a right that is missing."""
    ended = marker.terminal.run("assignments", *words)
    assert (1, True) == (ended.code, "There is no course 99 in Moodle, or the Moodle account may" in ended.text)


def test_users(marker: Marker) -> None:
    """People of the course and of the assignment are there, their values masked; which number it was is said."""
    course = marker.terminal.run("assignments", "users", str(marker.course), "--json").json
    assert (13, None) == (len(course["people"]), course["assignment"])
    ended = marker.run("users")
    assert (0, False) == (ended.code, "Otieno" in ended.text or "amina.otieno" in ended.text)
    assert "12 people." in ended.out
    assert "taken as the number in the address of its page (cmid)" in ended.text
    found = marker.run("users", json_too=True).json
    assert ("Am***", "submitted", "cmid") == (
        found["people"][0]["firstname"] if found["people"][0]["id"] == marker.amina else "Am***",
        {one["id"]: one["submission"] for one in found["people"]}[marker.amina],
        found["assignment"]["taken_as"],
    )


def test_submissions(marker: Marker) -> None:
    """Names of files and texts are masked; a file for a spreadsheet has them whole and harmless."""
    ended = marker.run("submissions")
    assert (0, False, False) == (ended.code, "cmd" in ended.text, "Confidential" in ended.text)
    found = marker.run("submissions", json_too=True).json
    assert {"=c***", "b.***"} == {one["files"][0]["name"] for one in found["submissions"]}
    path = marker.folder / "work.csv"
    written = marker.run("submissions", "--csv", str(path), "--status", "submitted")
    assert (0, 0o600) == (written.code, stat.S_IMODE(path.stat().st_mode))
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert ("'=cmd.pdf", "<p>Confidential</p>", "Amina", "1") == tuple(
        rows[str(marker.amina)][name] for name in ("files", "text", "firstname", "attempt")
    )
    again = marker.run("submissions", "--csv", str(path))
    assert (2, True) == (again.code, "exists already" in again.text)


def test_a_name_that_moodle_cannot_show(marker: Marker) -> None:
    """Everybody else is listed and fetched; whom it concerns and what mends it is said, and the end is 1."""
    marker.terminal.box.site.update_user(marker.amina, lastname="<Otieno")
    course = marker.terminal.run("assignments", "users", str(marker.course))
    where = f"Moodle itself cannot show accounts of course {marker.course} (1 account)"
    assert (1, True, True) == (course.code, "12 people." in course.out, where in course.text)
    listed = marker.terminal.run("assignments", "users", str(marker.course), "--json")
    assert (1, 12, True) == (
        listed.code, len(listed.json["people"]), listed.json["messages"][0].startswith(where),
    )  # fmt: skip
    whose = f"Moodle itself cannot show the name of person {marker.amina}"
    work = marker.run("submissions")
    assert (1, True, True) == (work.code, "2 submissions." in work.out, whose in work.text)
    found = marker.run("submissions", json_too=True)
    assert (1, True) == (found.code, found.json["messages"][0].startswith(whose))
    assert {marker.amina: None, marker.brian: "Br***"} == {
        one["id"]: one["firstname"] for one in found.json["submissions"]
    }
    folder = marker.folder / "work"
    done = marker.run("download", "--to", str(folder))
    assert (1, True, True) == (done.code, "2 files downloaded" in done.text, whose in done.text)
    again = marker.run("download", "--to", str(folder), json_too=True)
    assert (1, "degraded", {"unchanged": 2}) == (again.code, again.json["state"], again.json["files"])
    assert again.json["messages"][0].startswith(whose)
    who = marker.run("users")
    of_assignment = "cannot show 1 account of those who may submit"
    assert (1, True) == (who.code, of_assignment in who.text)
    told = marker.run("feedback", "--from", marker.listed([{"extId": marker.brian, "text": "Good"}]), "--yes")
    assert (0, False) == (told.code, of_assignment in told.text)
    rows = [{"extId": one, "text": "Good"} for one in (marker.amina, marker.brian)]
    told = marker.run("feedback", "--from", marker.listed(rows), "--yes")
    assert (1, True, True) == (told.code, "1 × not_shown" in told.text, of_assignment in told.text)


def test_submissions_in_a_narrow_terminal(marker: Marker) -> None:
    """With 80 columns no state and no time is cut, and each submission is one line, also a second attempt."""
    first = marker.run("submissions").out
    assert ["whose", "name", "status", "modified", "(UTC)", "files", "letters"] == first.splitlines()[0].split()
    assert re.search(r"Am\*\*\* Ot\*\*\* +submitted +2026-\d\d-\d\d \d\d:\d\d +1, 1 kB +19 *\n", first)
    site = marker.terminal.box.site
    site.activities.submit(marker.cmid, marker.amina, site.now, attemptnumber=1)
    lines = marker.run("submissions").out.splitlines()
    assert ("attempt", 2) == (lines[0].split()[2], sum(" submitted   2026-" in line for line in lines))
    assert (False, True) == ("…" in "".join(lines), all(len(line) <= 80 for line in lines))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--status", "done"), "There is no status done"),
        (("--since", "yesterday"), "'yesterday' is no time"),
        (("--show-values",), "on a terminal only"),
    ],
)
def test_wrong_words(marker: Marker, words: tuple[str, ...], said: str) -> None:
    """What cannot be understood is wrong usage, and says what can."""
    ended = marker.run("submissions", *words)
    assert (2, True) == (ended.code, said in ended.text)


def test_times(marker: Marker) -> None:
    """A day is taken whole, in UTC."""
    assert 2 == len(marker.run("submissions", "--since", "2026-11-21", json_too=True).json["submissions"])
    assert 2 == len(marker.run("submissions", "--before", "2026-11-22", json_too=True).json["submissions"])
    assert 0 == len(marker.run("submissions", "--before", "2026-11-20", json_too=True).json["submissions"])


def test_download(marker: Marker) -> None:
    """Files come into a folder; a second time nothing is fetched; the object names no person's file."""
    folder = marker.folder / "work"
    first = marker.run("download", "--to", str(folder))
    assert (0, True) == (first.code, "2 files downloaded" in first.text)
    again = marker.run("download", "--to", str(folder), json_too=True).json
    assert ({"unchanged": 2}, "completed") == (again["files"], again["state"])
    assert "cmd" not in json.dumps(again)
    small = marker.run("download", "--to", str(marker.folder / "b"), "--max-total", "1")
    assert 0 == small.code
    assert 2 == marker.run("download").code


def test_download_of_some(marker: Marker) -> None:
    """`--user` takes only some people's work, here as in the list; who has nothing is told in a sentence."""
    third = marker.terminal.box.learners[2]
    named = ("--user", str(marker.brian), "--user", str(third))
    ended = marker.run("download", "--to", str(marker.folder / "work"), *named)
    assert (0, True) == (ended.code, "1 file downloaded" in ended.text)
    assert f"Person {third} has handed in nothing that is submitted." in ended.text
    assert [f"user-{marker.brian}"] == [path.name.split("_")[0] for path in (marker.folder / "work").glob("user*")]
    listed = marker.run("submissions", *named, json_too=True)
    assert [marker.brian] == [one["id"] for one in listed.json["submissions"]]
    assert f"Person {third} has handed in nothing." in listed.text
    wrong = marker.run("download", "--to", str(marker.folder / "b"), "--participant", "5")
    assert (2, True) == (wrong.code, "give user ids (--user)" in wrong.text)
    assert 2 == marker.run("download", "--to", str(marker.folder / "b"), "--user", "amina").code


def test_feedback(marker: Marker) -> None:
    """Who is told and who is not is said by id; exit code 1 when somebody could not be."""
    source = marker.listed([{"extId": marker.amina, "text": "Well done"}, {"extId": 999, "text": "x"}])
    dry = marker.run("feedback", "--from", source, "--dry-run", json_too=True)
    assert ({"would_store": 1, "refused": 1}, True, 1) == (dry.json["counts"], dry.json["dry_run"], dry.code)
    ended = marker.run("feedback", "--from", source)
    assert 1 == ended.code
    assert "Feedback: 1 stored, 1 refused." in ended.text
    assert "1 × unknown_person: nobody in this course has this number. Ids: 999." in ended.text
    listed = marker.listed([{"extId": marker.amina, "text": "Well done"}])
    fine = marker.run("feedback", "--from", listed, "--yes")
    assert (0, True) == (fine.code, "1 there already" in fine.text)
    assert "Well done" not in fine.text + ended.text
    assert 2 == marker.run("feedback", "--from", source, "--as", "names").code
    assert 2 == marker.run("feedback", "--from", str(marker.folder / "nothing.csv")).code


def test_feedback_is_asked_about(marker: Marker, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal what would be stored is told first; without a yes nothing is, and of nothing nobody asks."""
    monkeypatch.setattr("flows.cli_assignments.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    source = marker.listed([{"extId": marker.amina, "text": "Well done"}, {"extId": marker.brian, "text": "Good"}])
    no = marker.run("feedback", "--from", source, typed="n\n")
    assert (1, True) == (no.code, "Feedback: 2 would be stored." in no.text)
    assert "Store feedback of 2 people in Moodle?" in no.text
    yes = marker.run("feedback", "--from", source, typed="y\n")
    assert (0, True) == (yes.code, "Feedback: 2 stored." in yes.text)
    again = marker.run("feedback", "--from", source)
    assert (0, True, False) == (again.code, "2 there already" in again.text, "Store feedback" in again.text)


ALL_DAY = "00:00-12:00,12:00-24:00"


@pytest.mark.parametrize("command", ["list", "users", "submissions", "download", "feedback"])
def test_quiet_hours_are_kept(marker: Marker, command: str) -> None:
    """As a sync by hand, a command asks Moodle nothing then, says until when, and ends with 3."""
    marker.terminal.env["MOODLE_QUIET_HOURS"] = ALL_DAY
    asked = marker.terminal.box.moodle.requests
    more = {
        "download": ("--to", str(marker.folder / "work")),
        "feedback": ("--from", marker.listed([{"extId": marker.amina, "text": "Well done"}]), "--yes"),
    }
    if command == "list":
        ended = marker.terminal.run("assignments", "list", str(marker.course))
    else:
        ended = marker.run(command, *more.get(command, ()))
    assert (3, asked) == (ended.code, marker.terminal.box.moodle.requests)
    assert re.search(r"Moodle has its quiet hours, .* \(Africa/Nairobi\)\. Try again later\.", ended.text)
    assert not (marker.folder / "work").exists()
    assert 3 == marker.terminal.run("sync", "--yes").code


def test_quiet_hours_are_in_the_time_zone_of_the_project(marker: Marker) -> None:
    """Where there are some, the project has to be readable; else nothing of it is looked at."""
    marker.terminal.edit("student.yaml", "case_type: student", "case_type: [")
    assert 0 == marker.run("submissions").code
    marker.terminal.env["MOODLE_QUIET_HOURS"] = ALL_DAY
    ended = marker.run("submissions")
    assert (1, True) == (ended.code, "student.yaml" in ended.text)


# --- lists --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'extId,text,grade\n16,Good,70.5\n17,"Two\nlines",\n'),
        ("a.csv", '\ufeffID;Feedback;Points\r\n16;Good;70.5\r\n17;"Two\nlines";\r\n'),
        ("a.csv", 'userid\ttext\tgrade\tname\n16\tGood\t70.5\tx\n17\t"Two\nlines"\t\ty\n'),
        ("a.json", '[{"extId": 16, "text": "Good", "grade": 70.5}, {"extId": "17", "text": "Two\\nlines"}]'),
        (
            "a.json",
            '{"feedback": [{"extId": 16.0, "text": "Good", "grade": "70.5"}, {"id": 17, "text": "Two\\nlines"}]}',
        ),
    ],
)
def test_lists_as_people_write_them(tmp_path: Path, name: str, text: str) -> None:
    """Commas, semicolons, tabs, a byte-order mark, other names of columns, JSON with and without a frame."""
    (tmp_path / name).write_text(text, "utf-8", newline="")
    found = read_list(tmp_path / name)
    assert [("16", "Good", "70.5"), ("17", "Two\nlines", "")] == [(o.ext_id, o.text, o.grade) for o in found]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "name,text\nAmina,x\n", "no column extId"),
        ("a.csv", "extId,words\n1,x\n", "no column text"),
        ("a.csv", 'extId,text\n1,"x\n', "broken near row"),
        ("a.csv", "extId,text\n1\n", "Entry 1 of the list has no text"),
        ("a.csv", b"extId,text\n1,\xff\n", "not in UTF-8"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "{}", "holds no list"),
        ("a.json", "[1]", "Entry 1 of the list is no object"),
        ("a.json", '[{"text": "x"}]', "Entry 1 of the list has no extId"),
    ],
)
def test_broken_lists(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    """The row is named, what stands in it is not repeated."""
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=said) as raised:
        read_list(tmp_path / name)
    assert "Amina" not in str(raised.value)


def test_plain_text_as_html() -> None:
    """What was typed is shown as typed; nothing in it becomes a tag."""
    assert "<p>a &lt;b&gt; &amp; &quot;c&quot;<br />d</p><p>e</p>" == as_html('\na <b> & "c"\r\nd\n \n\ne\n')


def test_same_texts() -> None:
    """Texts are the same when they say the same, whatever a site made of the tags; blank ones are not."""
    assert same_text("<p>a<br />b &amp; c</p>", "<p>a<br>b &#38; c</p>\n")
    assert not same_text("<p>a</p>", "<p>b</p>")
    assert not same_text("<p></p>", "<p> </p>")
    assert is_blank("<p>&nbsp;</p>", is_html=True)
    assert not is_blank("<p><img src='x'></p>", is_html=True)
    assert is_blank(" \n", is_html=False)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_cells_are_no_formulas(text: str) -> None:
    """A text that a spreadsheet would run gets an apostrophe; numbers stay numbers."""
    assert f"'{text}" == safe_cell(text)
    assert "-1" == safe_cell(-1)
