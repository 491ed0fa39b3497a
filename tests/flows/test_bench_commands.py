"""The implementer's live tools on the sandbox: what they print, and that they leave no trace and show nobody."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flows.revision import old_folder
from tests.flows.bench_world import CITY, add_gender, commit, golden, plain, tree
from tests.flows.terminal import Terminal

ROOT = Path(__file__).parents[2]
PEOPLE = ("Amina", "Otieno", "Brian", "Mwangi", "amina.otieno", "722000101", "722 000 101", "Kisumu")
LOOKS = {
    "explain": ("mappings", "explain", "student", "contact_phone_number", "--id", "5"),
    "explain_blank": ("mappings", "explain", "student", "contact_phone_number", "--id", "8"),
    "explain_cases": ("mappings", "explain", "student", "moodle_status", "--id", "5"),
    "explain_include": ("mappings", "explain", "student", "include", "--id", "4"),
    "explain_name": ("mappings", "explain", "student", "case_name", "--id", "5"),
    "explain_owner": ("mappings", "explain", "student", "owner", "--id", "5"),
    "explain_courses": ("mappings", "explain", "enrolment", "grade_percent", "--id", "6"),
    "explain_elements": ("mappings", "explain", "enrolment", "grades", "--id", "5", "--course", "2"),
    "explain_parent": ("mappings", "explain", "enrolment", "student", "--id", "5", "--course", "2"),
    "explain_unknown_code": ("mappings", "explain", "student", "gender", "--id", "7"),
    "fields": ("mappings", "fields", "users"),
    "fields_live": ("mappings", "fields", "users", "--live"),
    "coverage": ("mappings", "coverage"),
    "preview_first": ("preview", "--limit", "3"),
    "check_live": ("mappings", "check", "--live"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_look_prints(terminal: Terminal, name: str) -> None:
    """The golden text; nobody's value in it, nothing written, no books begun."""
    add_gender(terminal)
    before = tree(terminal.folder)
    ended = terminal.run(*LOOKS[name])
    assert (0, before, 0) == (ended.code, tree(terminal.folder), terminal.cases), ended.text
    assert [] == [word for word in PEOPLE if word in ended.text]
    assert golden(name, plain(ended, terminal)) == plain(ended, terminal)


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_look_says_to_a_script(terminal: Terminal, name: str) -> None:
    """With --json one object, masked as well."""
    add_gender(terminal)
    ended = terminal.run(*LOOKS[name], "--json")
    assert 0 == ended.code
    assert [] == [word for word in PEOPLE if word in json.dumps(ended.json)]


@pytest.mark.parametrize("name", ["explain", "fields_live", "preview_first"])
def test_values_are_shown_on_a_terminal_only(terminal: Terminal, name: str) -> None:
    """A file or a pipe would keep them."""
    ended = terminal.run(*LOOKS[name], "--show-values")
    assert (2, True, 0) == (ended.code, "on a terminal only" in ended.text, terminal.box.moodle.requests)


def test_explain_reads_no_more_than_it_needs(terminal: Terminal) -> None:
    """The person asked for is read first, and nothing after he or she is found."""
    terminal.run("mappings", "explain", "student", "city", "--id", "9")
    (asked,) = [given for name, given in terminal.box.moodle.calls if name == "core_user_get_users_by_field"]
    assert "9" == asked["values"][0]
    assert not [name for name, _ in terminal.box.moodle.calls if name == "gradereport_user_get_grade_items"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("explain", "student", "citty", "--id", "5"),
            "has no property 'citty'; did you mean 'city'?",
        ),
        (("explain", "studnt", "city", "--id", "5"), "There is no mapping 'studnt'."),
        (("explain", "student", "city", "--id", "999"), "Moodle shows nobody with the id 999"),
        (("explain", "student", "city", "--id", "5", "--course", "99"), "Course 99 is not among"),
        (("fields", "people"), "There is no source 'people'. There are: assignments, courses,"),
        (("example", "enrolment", "--id", "5"), "Choose one with --course."),
        (
            ("explain", "student", "phone", "--id", "6"),
            "has no property 'phone'; there is 'contact_phone_number'",
        ),
        (("explain", "course", "category", "--id", "99"), "Moodle shows no chosen course with the id 99."),
        (("example", "student", "--id", "999"), "Moodle shows nobody with the id 999"),
        (("test", "studnt"), "There is no mapping 'studnt' in"),
    ],
)
def test_what_is_not_there(terminal: Terminal, words: tuple[str, ...], said: str) -> None:
    """A sentence that names what there is, exit code 2, nothing written."""
    before = tree(terminal.mappings)
    ended = terminal.run("mappings", *words)
    assert (2, True, before) == (ended.code, said in ended.text, tree(terminal.mappings)), ended.text


@pytest.mark.parametrize("words", [("explain", "student", "city"), ("example", "student")])
def test_whose_profile_moodle_cannot_give(terminal: Terminal, words: tuple[str, ...]) -> None:
    """He or she is not denied: the sentence of a run says what is amiss with the account."""
    terminal.box.site.update_user(7, auth="gone")
    terminal.box.site.update_user(8, auth="gone")
    ended = terminal.run("mappings", *words, "--id", "7")
    said = "Moodle answers with an error when it is asked for the profile"
    assert (2, True, False) == (ended.code, said in ended.text, "nobody" in ended.text), ended.text
    assert "or a login method that was taken away" in ended.text


def test_a_look_at_a_moodle_under_maintenance(terminal: Terminal) -> None:
    """Exit code 3, as for a run."""
    terminal.box.moodle.fail_next("core_webservice_get_site_info", "sitemaintenance")
    assert 3 == terminal.run("mappings", "coverage").code


# --- preview ------------------------------------------------------------------------------------------------


def test_a_preview_of_changes(terminal: Terminal) -> None:
    """Per property how many cases; what was other, new or is emptied; personal values masked; codes in no list."""
    terminal.run("sync", "--yes")
    add_gender(terminal)
    terminal.box.site.update_user(terminal.box.learners[1], lastname="Mwangi-Rono")
    terminal.box.site.update_user(terminal.box.learners[2], phone1="")
    terminal.box.site.unenrol(terminal.box.courses["CHW-101"], terminal.box.learners[11])
    forms = len(terminal.box.project.forms)
    ended = terminal.run("preview")
    assert (0, forms) == (ended.code, len(terminal.box.project.forms))
    assert [] == [word for word in PEOPLE if word in ended.text]
    assert golden("preview_changes", plain(ended, terminal)) == plain(ended, terminal)


def test_a_preview_that_read_nothing_misses_nobody(terminal: Terminal) -> None:
    """Moodle in maintenance is no reason to say that everybody is gone."""
    terminal.run("sync", "--yes")
    terminal.box.moodle.fail_next("core_webservice_get_site_info", "sitemaintenance", times=2)
    ended = terminal.run("preview", "--json")
    assert (3, {}) == (ended.code, ended.json["missing"])
    assert "without a record in Moodle" not in terminal.run("preview").text


def test_a_preview_is_what_the_run_does(terminal: Terminal) -> None:
    """The counts of the preview are those of the run after it."""
    terminal.run("sync", "--yes")
    add_gender(terminal)
    terminal.box.site.update_user(terminal.box.learners[1], lastname="Mwangi-Rono")
    preview, run = terminal.run("preview", "--json").json, terminal.run("sync", "--json").json
    assert preview["cases"] == run["cases"]
    assert 1 == preview["changes"]["student"]["last_name"]


def test_a_preview_says_that_the_first_run_will_stop(terminal: Terminal) -> None:
    """Cases that the books do not know: it is said, and sync at a terminal does not ask."""
    terminal.box.project.add_case("student", "Somebody")
    assert "A run would stop before it sends anything. CommCare already has 1 case" in terminal.run("preview").text
    ended = terminal.run("sync")
    assert (4, False) == (ended.code, "Go ahead" in ended.text)
    assert "CommCare already has 1 case of type 'student'" in ended.text


def test_a_preview_says_that_other_keys_will_stop_the_run(terminal: Terminal) -> None:
    """New keys for every case are a decision of their own."""
    terminal.run("sync", "--yes")
    terminal.edit("project.yaml", "site: demo", "site: demo2")
    ended = terminal.run("preview")
    assert "student.yaml has 12 cases under the old keys: as many would be made anew" in ended.text
    assert "A run would stop before it sends anything." in ended.text


def test_a_preview_names_no_list_that_nobody_wrote(terminal: Terminal) -> None:
    """Who is held back is on the list of problems after a run only."""
    terminal.edit("student.yaml", "otherwise: project", "first_of: [{group: groups}]")
    preview, run = terminal.run("preview").text, terminal.run("sync", "--yes").text
    assert (True, False) == ("records were held back." in preview, "problems list" in preview)
    assert "problems list` says which" in run or "problems list says which" in run


def test_a_preview_says_how_a_mapping_beside_others_is_approved(terminal: Terminal) -> None:
    """Once others are sent, no run asks at the terminal."""
    terminal.run("sync", "--yes")
    terminal.edit("course.yaml", "enabled: false", "enabled: true")
    told = " ".join(terminal.run("preview").text.split())
    assert "Never sent before: course. Until it is approved, runs leave it out:" in told
    assert "sync --mapping course --yes" in told


def test_a_preview_keeps_only_what_it_shows(terminal: Terminal) -> None:
    """However many records would be sent, no more of them are kept than asked for."""
    assert 2 == len(terminal.run("preview", "--limit", "2", "--json").json["records"])
    assert [] == terminal.run("preview", "--limit", "0", "--json").json["records"]


# --- diff ---------------------------------------------------------------------------------------------------


def test_diff_tells_what_an_edit_changes(terminal: Terminal) -> None:
    """Per property how many cases with masked samples, what was taken out, who comes and goes."""
    add_gender(terminal)
    commit(terminal)
    terminal.edit("student.yaml", "{phone: {format: digits}}", "phone")
    terminal.edit("student.yaml", CITY, "")
    terminal.edit("student.yaml", "otherwise: active", "otherwise: fine")
    terminal.edit("project.yaml", "M: male}", "M: male, X: other}")
    terminal.edit("enrolment.yaml", "at_least: 50", "at_least: 70")
    terminal.edit("enrolment.yaml", "any_of: [student] }".replace(" }", "}"), "any_of: [student, editingteacher]}")
    before, index = tree(terminal.folder), (terminal.mappings / ".git" / "index").read_bytes()
    ended = terminal.run("mappings", "diff")
    assert (0, before) == (ended.code, tree(terminal.folder))
    assert index == (terminal.mappings / ".git" / "index").read_bytes()
    assert [] == [word for word in PEOPLE if word in ended.text]
    assert golden("diff", plain(ended, terminal)) == plain(ended, terminal)


def test_a_description_sends_nothing(terminal: Terminal) -> None:
    """Words for people are no difference in any case."""
    commit(terminal)
    terminal.edit("student.yaml", "data_type: phone_number", "data_type: phone_number\n    label: Phone")
    ended = terminal.run("mappings", "diff")
    assert "student.yaml: no change in what is sent." in ended.text


def test_an_edit_without_effect_is_named(terminal: Terminal) -> None:
    """The definition differs, and not one case does."""
    commit(terminal)
    terminal.edit("student.yaml", "{source: country, personal", "{source: country, transform: [trim], personal")
    ended = terminal.run("mappings", "diff")
    assert "country edited, and not one of 12 cases differs: nothing would be sent." in ended.text


def test_diff_with_other_keys_and_other_people(terminal: Terminal) -> None:
    """A run would stop, and it is said."""
    commit(terminal)
    terminal.edit("student.yaml", '"{site}-user-{id}"', '"{site}-person-{id}"')
    terminal.edit("enrolment.yaml", '"{site}-user-{user.id}"', '"{site}-person-{user.id}"')
    found = {each["mapping"]: each for each in terminal.run("mappings", "diff", "--json").json["mappings"]}
    assert (12, 24) == (
        found["student"]["properties"]["external_id"]["cases"],
        found["enrolment"]["properties"]["student"]["cases"],
    )


def test_diff_with_another_case_type(terminal: Terminal) -> None:
    """Every case would have it, and every child in its index."""
    commit(terminal)
    for name in ("student", "enrolment", "engagement"):
        terminal.edit(f"{name}.yaml", "case_type: student", "case_type: pupil")
    for name in ("enrolment", "engagement"):
        terminal.edit(f"{name}.yaml", "same_as: student", "same_as: pupil")
    found = {each["mapping"]: each for each in terminal.run("mappings", "diff", "--json").json["mappings"]}
    assert (12, 24) == (
        found["student"]["properties"]["case_type"]["cases"],
        found["enrolment"]["properties"]["student"]["cases"],
    )


def test_diff_knows_a_file_under_another_name(terminal: Terminal) -> None:
    """It is neither gone nor new: said is what it was called, and what differs besides."""
    commit(terminal)
    (terminal.mappings / "student.yaml").rename(terminal.mappings / "learner.yaml")
    told = " ".join(terminal.run("mappings", "diff").text.split())
    assert "learner.yaml: no change in what is sent. - Its name was student.yaml: the next run has it take" in told
    assert not re.search("is gone|is new", told)
    terminal.edit("learner.yaml", "source: city, transform: [trim]", "source: city, transform: [trim, upper]")
    found = {each["mapping"]: each for each in terminal.run("mappings", "diff", "--json").json["mappings"]}
    learner = found["learner"]
    assert ("student", "changed", 12) == (
        learner["former_name"],
        learner["state"],
        learner["properties"]["city"]["cases"],
    )
    assert "student" not in found


def test_diff_counts_who_no_longer_becomes_a_case(terminal: Terminal) -> None:
    """So many cases before, so many after."""
    commit(terminal)
    terminal.edit("student.yaml", "any_of: [student]}", "any_of: [student]}\n  - {source: id, is: 6}")
    ended = terminal.run("mappings", "diff")
    assert "student.yaml: 13 records read, 12 cases before, 1 after" in ended.text


def test_diff_names_the_properties_of_elements(terminal: Terminal) -> None:
    """Another name for each grade: cases are counted once, and what is no longer made is named."""
    commit(terminal)
    terminal.edit("enrolment.yaml", '"grade_{key}"', '"points_{key}"')
    terminal.edit("enrolment.yaml", '        grade_55: "80"\n        grade_56: ""\n', "")
    ended = terminal.run("mappings", "diff")
    found = {each["mapping"]: each for each in terminal.run("mappings", "diff", "--json").json["mappings"]}
    assert 24 == found["enrolment"]["properties"]["grades"]["cases"]
    assert ["grade_2", "grade_3", "grade_5", "grade_6", "grade_8"] == found["enrolment"]["dropped"]
    assert "No longer made: grade_2, grade_3, grade_5, grade_6, grade_8. The second run" in ended.text


def test_diff_counts_what_retiring_empties(terminal: Terminal) -> None:
    """As many cases as the preview says; what a whole `one_property_per` made is retired line by line."""
    terminal.run("sync", "--yes")
    commit(terminal)
    file = terminal.mappings / "enrolment.yaml"
    text = re.sub(r"  grades:\n(    .*\n)+", "  grade_3: {retire: clear}\n", file.read_text(encoding="utf-8"))
    file.write_text(text.replace('        grade_55: "80"\n        grade_56: ""\n', ""), encoding="utf-8")
    found = {each["mapping"]: each for each in terminal.run("mappings", "diff", "--json").json["mappings"]}
    assert (
        terminal.run("preview", "--json").json["changes"]["enrolment"]["grade_3"]
        == found["enrolment"]["properties"]["grade_3"]["cases"]
    )
    told = " ".join(terminal.run("mappings", "diff").text.split())
    assert "write grade_2: {retire: clear}, and such a line for each." in told


def test_diff_says_what_is_written_once(terminal: Terminal) -> None:
    """The owner of the cases that are there stays; who it is, is no secret when no personal field names it."""
    commit(terminal)
    terminal.edit("student.yaml", "  otherwise: project", "  first_of: [{group: groups}]\n  otherwise: project")
    ended = terminal.run("mappings", "diff")
    assert "group:Evening or else group:Field coaches" in " ".join(ended.text.split())
    assert "Written once: owner; only new cases get this" in ended.text


def test_diff_says_that_courses_are_chosen_in_another_way(terminal: Terminal) -> None:
    """The mappings send the same, and still cases are not kept up any more."""
    commit(terminal)
    terminal.edit("project.yaml", 'shortname_like: "CHW-*"', "ids: [2, 3]")
    ended = terminal.run("mappings", "diff")
    said = "project.yaml chooses its courses in another way than then."
    assert (0, True) == (ended.code, said in " ".join(ended.text.split())), ended.text


def test_diff_where_git_has_no_project_file(terminal: Terminal) -> None:
    """A clone ignores the one that `init` writes: today's counts for then as well."""
    (terminal.mappings / ".gitignore").write_text("project.yaml\n")
    commit(terminal)
    terminal.edit("student.yaml", CITY, CITY.replace("city", "town", 1))
    ended = terminal.run("mappings", "diff")
    assert (0, True) == (ended.code, "town" in ended.text), ended.text


def test_diff_without_git(terminal: Terminal) -> None:
    """A folder without history, a revision that is not there, one that looks like an option: a sentence each."""
    assert "is not under git" in terminal.run("mappings", "diff").text
    commit(terminal)
    assert "git knows no revision 'nope'" in terminal.run("mappings", "diff", "--since", "nope").text
    assert "'--output=x' is no revision" in terminal.run("mappings", "diff", "--since=--output=x").text


def test_an_old_version_with_a_mistake_is_named(terminal: Terminal) -> None:
    """The finding names the revision and the line in it."""
    terminal.edit("student.yaml", "source: firstname", "source: fristname")
    commit(terminal)
    terminal.edit("student.yaml", "source: fristname", "source: firstname")
    ended = terminal.run("mappings", "diff")
    assert (1, True) == (ended.code, "HEAD:student.yaml:" in ended.text)
    assert ":24: source 'users' has no field 'fristname'" in ended.text
    assert "this is how it was in HEAD: commit what is right now" in " ".join(ended.text.split())


def test_the_old_version_is_kept_private(terminal: Terminal) -> None:
    """It is read in a folder of our own, and taken away afterwards, lookups included."""
    (terminal.mappings / "lookups").mkdir(exist_ok=True)
    (terminal.mappings / "lookups" / "towns.csv").write_text("town,site\n", encoding="utf-8")
    commit(terminal)
    with old_folder(terminal.mappings, "HEAD") as folder:
        assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
        assert {"student.yaml", "lookups/towns.csv"} < set(tree(folder))
    assert not folder.exists()


# --- tests and examples in the files ------------------------------------------------------------------------


def test_mappings_test_names_what_failed(terminal: Terminal) -> None:
    """Each expectation that was not met, and a line for each mapping."""
    terminal.edit("student.yaml", "otherwise: active", "otherwise: fine")
    ended = terminal.run("mappings", "test", "student")
    assert (1, True) == (ended.code, "student: 5 tests, 1 failed\n" in ended.out)
    assert "= expected 'active', the mapping made 'fine'" in ended.text


def test_update_asks_before_it_writes(terminal: Terminal) -> None:
    """Without --yes and without a terminal the difference is shown and the files stay."""
    terminal.edit("student.yaml", "otherwise: active", "otherwise: fine")
    before = tree(terminal.mappings)
    ended = terminal.run("mappings", "test", "--update")
    assert (1, before, True) == (ended.code, tree(terminal.mappings), "give --yes to write this" in ended.text)
    assert "- active + fine" in ended.text


def test_update_says_which_parts_come_and_go(terminal: Terminal) -> None:
    """Of a block that looks at other parts: their names."""
    terminal.edit("student.yaml", CITY, "  city: {retire: clear}\n")
    told = " ".join(terminal.run("mappings", "test", "--update").text.split())
    assert "expect - city + city not sent" in told


def test_update_says_which_parts_become_others(terminal: Terminal) -> None:
    """A yes is asked for all that is written: what changes beside a part that goes is named too."""
    terminal.edit("student.yaml", CITY, "  city: {retire: clear}\n")
    terminal.edit("student.yaml", "otherwise: active", "otherwise: fine")
    told = " ".join(terminal.run("mappings", "test", "--update").text.split())
    assert "expect - city + city not sent ~ moodle_status" in told


def test_update_changes_only_what_differs(terminal: Terminal) -> None:
    """One line of the file is another one, and the tests pass."""
    terminal.edit("student.yaml", "otherwise: active", "otherwise: fine")
    before = (terminal.mappings / "student.yaml").read_text(encoding="utf-8")
    ended = terminal.run("mappings", "test", "--update", "--yes")
    after = (terminal.mappings / "student.yaml").read_text(encoding="utf-8")
    assert (0, before.replace("moodle_status: active", "moodle_status: fine")) == (ended.code, after)


@pytest.mark.parametrize(
    "words",
    [
        ("student", "--id", "6"),
        ("users", "--id", "4"),
        ("enrolment", "--id", "5", "--course", "2"),
        ("engagement", "--id", "5"),
        ("course", "--id", "2"),
    ],
)
def test_an_example_passes_and_tells_nobody(terminal: Terminal, words: tuple[str, ...]) -> None:
    """What is written is a test that passes, without a name, number or address of the live record."""
    add_gender(terminal)
    before = tree(terminal.mappings)
    ended = terminal.run("mappings", "example", *words)
    changed = [name for name, text in tree(terminal.mappings).items() if text != before[name]]
    (name,) = changed
    after = (terminal.mappings / name).read_bytes()
    assert 0 == ended.code
    assert after.startswith(before[name].rstrip())
    new = after[len(before[name].rstrip()) :].decode()
    live = (
        "Brian",
        "722 000 102",
        "722000102",
        "brian",
        "Grace Wekesa",
        "grace.wekesa",
        "Amina Otieno",
        "000 101",
    )
    assert [] == [word for word in live if word in new]
    assert 0 == terminal.run("mappings", "test", Path(name).stem).code


def test_an_example_of_an_unknown_code_keeps_its_shape(terminal: Terminal) -> None:
    """A code that the list has stays, another one is replaced."""
    add_gender(terminal)
    known, other = (terminal.run("mappings", "example", "student", "--id", number).out for number in ("5", "7"))
    assert (True, True) == ("profile: {gender: F}" in known, "profile: {gender: A}" in other), other


def test_nothing_is_begun_where_a_check_stands(terminal: Terminal) -> None:
    """Neither books nor key are made by a check or a preview."""
    for words in (("check",), ("preview",), ("mappings", "check", "--live")):
        assert 0 == terminal.run(*words).code
    assert ["mappings"] == [path.name for path in terminal.folder.iterdir()]


def at_a_terminal(terminal: Terminal, *words: str, typed: str = "") -> tuple[int, str]:
    """Run the command in a process of its own at a terminal of 100 columns; returns exit code and screen."""
    ours, theirs = pty.openpty()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "dumb", **terminal.env}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen([sys.executable, "-m", "flows", *words], env=env, **streams)  # noqa: S603 - our own
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    return process.wait(timeout=30), shown.decode(errors="replace")


def test_at_a_terminal_values_may_be_seen(terminal: Terminal) -> None:
    """Only there, and only when asked for."""
    words = ("mappings", "explain", "student", "first_name", "--id", "5")
    assert "Amina" not in at_a_terminal(terminal, *words)[1]
    code, shown = at_a_terminal(terminal, *words, "--show-values")
    assert (0, True) == (code, "Amina" in shown)


@pytest.mark.parametrize(("answer", "word"), [("y", "fine"), ("n", "active")])
def test_at_a_terminal_an_update_is_a_word_away(terminal: Terminal, answer: str, word: str) -> None:
    """The difference is shown, y writes it, n does not."""
    terminal.edit("student.yaml", "otherwise: active", "otherwise: fine")
    code, shown = at_a_terminal(terminal, "mappings", "test", "--update", typed=f"{answer}\n")
    assert (word == "active", True) == (code == 1, "+ fine" in shown)
    assert f"moodle_status: {word}" in (terminal.mappings / "student.yaml").read_text(encoding="utf-8")


def test_a_first_run_that_would_stop_is_not_put_to_the_vote(terminal: Terminal) -> None:
    """At a terminal too: nobody is asked what will not happen."""
    terminal.box.project.add_case("student", "Somebody")
    code, shown = at_a_terminal(terminal, "sync")
    assert (4, False, 1) == (code, "Go ahead" in shown, terminal.cases)
    assert "existing_cases: ignore" in " ".join(shown.split())


def test_a_first_run_of_nothing_is_not_put_to_the_vote(terminal: Terminal) -> None:
    """Where everybody is held back for want of an owner there is nothing to say yes to."""
    terminal.edit("student.yaml", "  otherwise: project\n", "  first_of: [{user: institution}]\n")
    code, shown = at_a_terminal(terminal, "sync")
    assert (4, False, 0) == (code, "Go ahead" in shown, terminal.cases)
    assert ("- send nothing" in shown, False) == (True, "0 requests to CommCare, about" in shown)
