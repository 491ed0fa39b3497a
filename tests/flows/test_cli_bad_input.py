"""Bad input through the command: a sentence or two with the thing and the remedy, the exit code, no secret."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from flows.sandbox import SHIPPED
from tests.flows.terminal import Ended, Terminal

FUNCTIONS = "Site administration > Server > Web services > External services > Functions"
LINE = (SHIPPED / "student.yaml").read_text().split("source: firstname")[0].count("\n") + 1
Spoil = Callable[[Terminal], object]


def setting(name: str, value: str) -> Spoil:
    """Return what gives a setting another value."""
    return lambda terminal: terminal.env.__setitem__(name, value)


def edit(file: str, old: str, new: str) -> Spoil:
    """Return what edits a mapping file."""
    return lambda terminal: terminal.edit(file, old, new)


def revoke(capability: str) -> Spoil:
    """Return what takes a capability from the account."""
    return lambda terminal: terminal.box.moodle.revoke(capability)


def web_page(terminal: Terminal) -> None:
    """Let a web page answer instead of Moodle."""
    terminal.ports.answer["moodle"] = lambda _: httpx.Response(200, html="<html>Welcome</html>")


def separate_groups(terminal: Terminal) -> None:
    """Separate the groups of a course, and keep the account out of them."""
    terminal.box.moodle.revoke("moodle/site:accessallgroups")
    terminal.box.site.courses[terminal.box.courses["CHW-102"]]["groupmode"] = 1


def old_moodle(terminal: Terminal) -> None:
    """Let Moodle be of a release that shows groups only to those with a right, and take it from the account."""
    terminal.box.moodle.revoke("moodle/site:accessallgroups")
    terminal.box.site.info["release"] = "4.1.2 (Build: 20230313)"


# What is spoilt, and for `sync --yes` and `check` the exit code and a piece of what is said.
SPOILT: dict[str, tuple[Spoil, int, str, int, str]] = {
    "a wrong token": (
        setting("MOODLE_TOKEN", "feed" * 8),
        1,
        "Moodle does not accept the token. Make a new one under Site administration > Server > Web services >"
        " Manage tokens and put it into MOODLE_TOKEN.",
        1,
        "FAIL Moodle Moodle does not accept the token →",
    ),
    "a host that nobody knows": (
        setting("MOODLE_URL", "https://moodle..example.org"),
        1,
        "Moodle cannot be reached at https://moodle..example.org. Check the address in MOODLE_URL and the",
        1,
        "FAIL Moodle Moodle cannot be reached at https://moodle..example.org →",
    ),
    "a port where nothing is": (
        setting("MOODLE_URL", "http://127.0.0.1:1"),
        1,
        "Moodle cannot be reached at http://127.0.0.1:1. Check the address in MOODLE_URL and the network.",
        1,
        "FAIL Moodle Moodle cannot be reached",
    ),
    "a web page": (
        web_page,
        1,
        "Moodle's address answers with a web page instead of web-service data. Check that MOODLE_URL",
        1,
        "FAIL Moodle Moodle's address answers with a web page",
    ),
    "a place where no Moodle is": (
        lambda terminal: setting("MOODLE_URL", terminal.env["MOODLE_URL"] + "/elsewhere")(terminal),
        1,
        "There is no Moodle web service at this address. Check that MOODLE_URL is the address of Moodle's front",
        1,
        "FAIL Moodle There is no Moodle web service at this address",
    ),
    "http to a foreign host": (
        setting("MOODLE_URL", "http://moodle.example.org"),
        2,
        "MOODLE_URL begins with http://, and the password or token would cross the network to moodle.example.org"
        " in clear. Use https://",
        2,
        "MOODLE_URL begins with http://",
    ),
    "a missing function": (
        lambda terminal: terminal.box.moodle.remove_function("gradereport_user_get_grade_items"),
        1,
        f"The Moodle service lacks gradereport_user_get_grade_items. Add it under {FUNCTIONS}.",
        1,
        f"the service lacks the function gradereport_user_get_grade_items → Add it under {FUNCTIONS}.",
    ),
    "no capability to enter courses": (
        revoke("moodle/course:view"),
        1,
        "so nothing is made of it. Give the role of the account 'moodle/course:view'",
        1,
        "FAIL People courses 2, 3, 4: The Moodle account may not enter this course. → Give its role",
    ),
    "no capability to see enrolment states": (
        revoke("moodle/course:enrolreview"),
        1,
        "Give its role 'moodle/course:enrolreview'",
        1,
        "FAIL People courses 2, 3, 4: The Moodle account lacks a capability for core_enrol_get_enrolled_users.",
    ),
    "no capability to see grades": (
        revoke("moodle/grade:viewall"),
        1,
        "The Moodle account may not see grades. Give its role 'moodle/grade:viewall' and 'gradereport/user:view'.",
        1,
        "FAIL Grades course 4: The Moodle account may not see grades.",
    ),
    "no capability to see people": (
        revoke("moodle/user:viewdetails"),
        0,
        "No record became a case of type 'student'; `moodle-commcare check` says why.",
        1,
        "FAIL People course 2 has students, and Moodle shows the account none of them → Give its role"
        " 'moodle/user:viewdetails'",
    ),
    "no capability for separate groups": (
        separate_groups,
        0,
        "completed",
        1,
        "FAIL People course 3: The course separates groups and the Moodle account is in none of them. → Give its"
        " role 'moodle/site:accessallgroups'.",
    ),
    "no capability for groups in an old Moodle": (
        old_moodle,
        0,
        "Moodle does not show the groups of courses 2, 3, 4: what comes from them stays as it is in CommCare.",
        1,
        "FAIL People the groups of courses 2, 3, 4 are not shown → Give its role 'moodle/site:accessallgroups'",
    ),
    "a course that is not there": (
        edit("project.yaml", 'shortname_like: "CHW-*"', "ids: [2, 99]"),
        1,
        "Not read: course 99. Moodle has no such course, or the account may not see it; project.yaml names it.",
        1,
        "FAIL Courses Moodle shows no course 99, which project.yaml names → Correct the id there",
    ),
    "a mapping with a typo": (
        edit("student.yaml", "source: firstname", "source: fristname"),
        1,
        f"student.yaml:{LINE}:24: source 'users' has no field 'fristname' {LINE} | first_name: "
        "{source: fristname,"
        " transform: [trim], personal: true, r… | ^^^^^^^^^ = did you mean 'firstname'?",
        1,
        f"student.yaml:{LINE}:24: source 'users' has no field 'fristname' → did you mean 'firstname'?",
    ),
    "an unknown environment variable": (
        setting("MOODLE_TOKN", "x"),
        2,
        "MOODLE_TOKN is not a setting; did you mean MOODLE_TOKEN?",
        2,
        "MOODLE_TOKN is not a setting; did you mean MOODLE_TOKEN?",
    ),
    "a role that nobody has": (
        edit("student.yaml", "any_of: [student]", "any_of: [pupil]"),
        0,
        "No record became a case of type 'student'; `moodle-commcare check` says why.",
        1,
        "FAIL Roles student.yaml includes the role 'pupil', and nobody in the 3 courses looked at has it → Roles"
        " go by their short names; these were seen: editingteacher, student.",
    ),
    "a wrong CommCare key": (
        setting("COMMCARE_API_KEY", "beef" * 8),
        1,
        "CommCare does not accept the user name or the API key: one of them is wrong, or the key has expired.",
        1,
        "FAIL CommCare CommCare does not accept the user name or the API key",
    ),
    "a wrong project space": (
        setting("COMMCARE_DOMAIN", "elsewhere"),
        1,
        "or there is none of this name. Check COMMCARE_DOMAIN",
        1,
        "FAIL CommCare The CommCare account may not use the API of this project space",
    ),
    "a project without project.yaml": (
        lambda terminal: (terminal.mappings / "project.yaml").unlink(),
        1,
        "project.yaml:1:1: there is no such file = `moodle-commcare init` asks a few questions and writes it",
        1,
        "project.yaml:1:1: there is no such file → `moodle-commcare init` asks",
    ),
    "an owner that is not there": (
        edit("project.yaml", "Field coaches", "Field couches"),
        1,
        "12 × held back: nobody who could own the case; `moodle-commcare check` says who is missing",
        1,
        "FAIL Owners the case-sharing group 'Field couches' in project.yaml is not in the project space → Compare"
        " with CommCare HQ > Users > Groups, then correct 'owner:' in project.yaml.",
    ),
    "the site policy": (
        lambda terminal: terminal.box.moodle.fail_next("core_course_get_courses_by_field", "site_policy"),
        1,
        "The Moodle account has not agreed to the site policy. Log in once as that account and agree to it.",
        1,
        "FAIL Moodle The Moodle account has not agreed to the site policy",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_sync_says_what_is_wrong(terminal: Terminal, name: str) -> None:
    """A run names the thing and the remedy."""
    spoil, code, words, _, _ = SPOILT[name]
    spoil(terminal)
    ended = terminal.run("sync", "--yes")
    assert (code, True) == (ended.code, words in ended.text), ended.text


@pytest.mark.parametrize("name", SPOILT)
def test_check_says_what_is_wrong(terminal: Terminal, name: str) -> None:
    """The check names the thing and the remedy."""
    spoil, _, _, code, words = SPOILT[name]
    spoil(terminal)
    ended = terminal.run("check")
    assert (code, True) == (ended.code, words in ended.text), ended.text


NAMED = {
    (
        "sync",
        "--course",
        "99",
    ): "Course 99 is not among the selected courses. There are: 2 (CHW-101), 3 (CHW-102),",
    ("preview", "--course", "99"): "Course 99 is not among the selected courses.",
    ("sync", "--mapping", "studnt"): "There is no enabled mapping 'studnt'. There are: student, enrolment.",
    ("preview", "--mapping", "studnt"): "There is no enabled mapping 'studnt'.",
    ("confirm-leavers", "--count", "3"): "Name the course, or give --all for every course that waits.",
    ("confirm-leavers", "3", "--all", "--count", "3"): "Name the course, or give --all",
    ("confirm-leavers", "3", "--count", "3"): "Nothing waits to be confirmed there. Waiting: nothing at all.",
    ("confirm-blanks", "student", "email", "--count", "3"): "Nothing waits to be emptied there.",
    ("sync", "--env-file", "other.env"): "The settings file other.env cannot be read: No such file or directory.",
    ("gaps", "--csv", "nowhere/gaps.csv"): "nowhere/gaps.csv: No such file or directory.",
    ("sync", "--cuorse", "2"): "No such option: --cuorse",
    ("sing",): "No such command 'sing'.",
}


@pytest.mark.parametrize("words", NAMED, ids=" ".join)
def test_what_the_command_names_is_not_there(terminal: Terminal, words: tuple[str, ...]) -> None:
    """Wrong usage is exit code 2, and says what there is."""
    ended = terminal.run(*words)
    assert (2, True) == (ended.code, NAMED[words] in ended.text), ended.text


def test_a_run_of_a_course_that_is_not_there_is_remembered_as_that(terminal: Terminal) -> None:
    """Who looks at the runs later reads why it failed, and not that somebody stopped it."""
    terminal.run("sync", "--course", "99")
    ended = terminal.run("status")
    assert "Course 99 is not among the selected courses." in ended.text.replace("\n", " ")
    assert "The run was stopped" not in ended.text


def test_no_settings_at_all(terminal: Terminal) -> None:
    """In an empty folder the command says what is missing and how to be asked for it."""
    terminal.env = {}
    ended = terminal.run("sync")
    assert (2, True, True) == (
        ended.code,
        ended.err.startswith("Missing: MOODLE_URL, COMMCARE_DOMAIN,"),
        "Go to the folder in which you ran `moodle-commcare init`, or run it here to be asked for them."
        in ended.text,
    )


def maintained(terminal: Terminal, kind: str) -> Ended:
    """Run while Moodle is in maintenance, and then end the maintenance."""
    terminal.box.site.maintenance = kind
    ended = terminal.run("sync", "--yes")
    terminal.box.site.maintenance = ""
    return ended


@pytest.mark.parametrize("kind", ["web", "cli"])
def test_maintenance_postpones(terminal: Terminal, kind: str) -> None:
    """Moodle in maintenance is exit code 3, and the next run does everything."""
    ended = maintained(terminal, kind)
    assert (3, True, 0) == (
        ended.code,
        "Moodle is in maintenance. The run is postponed" in ended.text,
        terminal.cases,
    )
    assert (0, 36) == (terminal.run("sync", "--yes").code, terminal.cases)


def test_maintenance_in_the_middle_loses_nothing(terminal: Terminal) -> None:
    """What was read before is sent, the rest follows with the next run."""
    terminal.box.moodle.fail_next("gradereport_user_get_grade_items", "sitemaintenance", after=1)
    assert 3 == terminal.run("sync", "--yes").code
    assert (0, 36) == (terminal.run("sync").code, terminal.cases)


def test_maintenance_is_no_failure_of_the_check(terminal: Terminal) -> None:
    """The check comes back later, exit code 3, and still looks at CommCare."""
    terminal.box.site.maintenance = "web"
    ended = terminal.run("check")
    assert (3, True, True) == (ended.code, "later Moodle" in ended.text, "ok CommCare project space" in ended.text)


def test_books_of_another_moodle(terminal: Terminal) -> None:
    """A run with another site's books sends nothing and says which setting differs."""
    terminal.run("sync", "--yes")
    terminal.env["MOODLE_URL"] = "http://127.0.0.1:1"
    for words in (("sync",), ("check",)):
        ended = terminal.run(*words)
        assert (1, True) == (ended.code, "MOODLE_URL is http://127.0.0.1:1, but the state has" in ended.text)


def test_a_check_does_not_bind_new_books(terminal: Terminal) -> None:
    """Who checks with a wrong address can still run with the right one."""
    right, terminal.env["MOODLE_URL"] = terminal.env["MOODLE_URL"], "http://127.0.0.1:1"
    assert 1 == terminal.run("check").code
    terminal.env["MOODLE_URL"] = right
    assert 0 == terminal.run("sync", "--yes").code


def test_existing_cases_wait(terminal: Terminal) -> None:
    """Cases that the books do not know stop the first run, exit code 4, and the check says so before."""
    terminal.box.project.add_case("student", "Somebody")
    checked, ended = terminal.run("check"), terminal.run("sync", "--yes")
    assert (4, 1, True) == (ended.code, terminal.cases, "existing_cases: ignore" in ended.text)
    assert (0, True) == (checked.code, "the first run of student.yaml will stop" in checked.text)


@pytest.mark.parametrize(
    "words", [("sync", "--yes"), ("check",), ("mappings", "check"), ("sync", "--course", "99")]
)
def test_json_is_one_object_also_when_it_fails(terminal: Terminal, words: tuple[str, ...]) -> None:
    """With --json standard output holds exactly one object, whatever is wrong."""
    terminal.edit("student.yaml", "source: firstname", "source: fristname")
    ended = terminal.run(*words, "--json")
    assert {"ok", "state"} & ended.json.keys()
    assert 0 != ended.code
