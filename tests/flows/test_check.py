"""`moodle-commcare check`: what it finds, how little it asks, and what it says about a sample."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from adaptors.commcare.fake_project import LocationType
from flows.endings import FAILED, OK
from flows.open import open_store
from flows.settings import load_settings
from state.inbox import Hint
from tests.flows.terminal import Terminal

OFFICE = LocationType("office", shares_cases=False)
OWNER = "owner:\n  # first_of:"


def findings(terminal: Terminal, *, code: int = OK) -> list[str]:
    """Run the check and return its findings as lines: level, area, what."""
    ended = terminal.run("check", "--json")
    assert code == ended.code, ended.text
    return [" ".join((found["level"], found["area"], found["what"])) for found in ended.json["findings"]]


def not_well(terminal: Terminal, *, code: int = OK) -> list[str]:
    """Return the findings that are not ok."""
    return [line for line in findings(terminal, code=code) if not line.startswith("ok ")]


def add_courses(terminal: Terminal, count: int) -> None:
    """Add courses with four learners each."""
    for number in range(count):
        course = terminal.box.site.add_course(f"CHW-3{number:02}", f"Course {number}")
        for learner in terminal.box.learners[:4]:
            terminal.box.site.enrol(course, learner)


def test_a_healthy_project(terminal: Terminal) -> None:
    """Every area has its line, nothing is to be put right, and the account's policyagreed 0 is no failure."""
    lines = findings(terminal)
    areas = ["Settings", "Mappings", "Books", "Moodle", "Courses", "People", "Grades", "Roles", "Profiles"]
    assert [*areas, "Marking", "CommCare", "Owners"] == list(dict.fromkeys(line.split()[1] for line in lines))
    assert [] == [line for line in lines if not line.startswith("ok ")]
    assert "ok Mappings student.yaml makes 12 cases of the 13 people looked at" in lines
    assert "ok Roles student (24), editingteacher (3)" in lines


def test_a_rest_that_is_too_short_is_told(terminal: Terminal) -> None:
    """CommCare may take a quarter of an hour: who rests for less may make second cases."""
    terminal.env["IN_DOUBT_REST_S"] = "300"
    (told,) = not_well(terminal)
    assert told.startswith("note Settings IN_DOUBT_REST_S is 300 seconds, and CommCare may take up to 15 minutes")


def test_a_lease_that_is_too_short_is_told(terminal: Terminal) -> None:
    """One slow answer outlasts it; it stays allowed, since nothing is sent under a lease that was lost."""
    terminal.env["LEASE_TTL_S"] = "59.5"
    (told,) = not_well(terminal)
    assert told.startswith(
        "note Settings LEASE_TTL_S is 59.5 seconds, and a run may wait longer than that for one"
    )


def test_few_requests_and_no_writes(terminal: Terminal) -> None:
    """Site, courses, three for each course, profiles, one grade report; access, two counts, one list of owners."""
    findings(terminal)
    assert 1 + 1 + 3 * 3 + 1 + 1 == terminal.box.moodle.requests
    assert {"probe": 1, "list": 2, "owners": 1} == dict(terminal.box.commcare.requests)


def test_many_courses_are_sampled_and_that_is_said(terminal: Terminal) -> None:
    """Eight courses are read, spread over all."""
    add_courses(terminal, 30)
    lines = findings(terminal)
    assert "ok People 13 people in the 8 courses looked at (of 33)" in lines
    assert 1 + 1 + 3 * 8 + 1 + 1 == terminal.box.moodle.requests


def test_findings_on_a_terminal_and_in_a_pipe(terminal: Terminal) -> None:
    """A line each, what to do below it, and a verdict."""
    terminal.box.moodle.remove_function("core_user_get_users_by_field")
    lines = terminal.run("check").out.splitlines()
    place = lines.index("FAIL  Moodle    the service lacks the function core_user_get_users_by_field")
    assert lines[place + 1].startswith("                → Add it under Site administration > Server > ")
    assert "1 thing to put right." == lines[-1]


def test_after_a_run_the_books_tell_it(terminal: Terminal) -> None:
    """State and time of the last run, and how many cases are known."""
    terminal.run("sync", "--yes")
    lines = findings(terminal)
    assert any(line.startswith("ok Books last run completed, 20") for line in lines)
    assert "ok CommCare 24 'enrolment' cases, 24 known to the books" in lines


def test_hidden_phones(terminal: Terminal) -> None:
    """Phones that nobody shows are a note with the screen to open."""
    terminal.box.site.showuseridentity = ("email",)
    ended = terminal.run("check")
    assert OK == ended.code
    assert (
        "note Profiles no phone numbers (phone1, phone2) among 13 people: nobody has any, or they are hidden → "
        "Tick them under Site administration > Users > Permissions > User policies > Show user identity"
        in ended.text
    )


def test_hidden_details(terminal: Terminal) -> None:
    """What one capability hides is one note."""
    terminal.box.moodle.revoke("moodle/user:viewalldetails")
    what = "no login names (username) and no languages (lang) among 13 people: nobody has any, or they are hidden"
    assert [f"note Profiles {what}"] == not_well(terminal)


def test_an_account_that_moodle_cannot_show(terminal: Terminal) -> None:
    """The courses are named in which Moodle refuses to list somebody, and what an administrator does."""
    site = terminal.box.site
    site.update_user(terminal.box.learners[0], firstname="A<b")
    (told,) = (line for line in not_well(terminal, code=FAILED) if line.startswith("fail People"))
    assert told.startswith("fail People Moodle itself cannot show accounts of course ")
    assert "Browse list of users: correct the name and save the account once." in terminal.run("check").text


def test_hidden_names_of_teachers(terminal: Terminal) -> None:
    """Said of the courses that were looked at, where a mapping reads the teachers."""
    terminal.box.moodle.revoke("moodle/user:viewalldetails")
    told = "fail People the login names of the teachers of courses 2, 3, 4 are not shown"
    assert told not in findings(terminal)
    terminal.edit(
        "enrolment.yaml", "\nproperties:", "\nproperties:\n  trainers: {source: teachers, transform: [count]}"
    )
    assert told in findings(terminal, code=FAILED)


def test_fields_that_the_site_hides(terminal: Terminal) -> None:
    """They are named with the setting that hides them, and with the rights that show them all the same."""
    terminal.box.site.hiddenuserfields = ("city", "country", "lastaccess")
    assert [] == not_well(terminal)
    terminal.box.moodle.revoke("moodle/user:viewhiddendetails")
    what = "no towns (city) and no countries (country) and no last visits (lastaccess) among 13 people"
    assert [f"note Profiles {what}: nobody has any, or they are hidden"] == not_well(terminal)
    assert (
        "→ Take them out of the list Site administration > Users > Permissions > User policies > Hide user "
        "fields, or give the role 'moodle/user:viewhiddendetails' (for profiles) and "
        "'moodle/course:viewhiddenuserfields' (for the people of courses; Site administration > Users > "
        "Permissions > Define roles)." in terminal.run("check").text
    )


def test_fields_that_the_site_hides_in_courses_only(terminal: Terminal) -> None:
    """Another right shows them there than in profiles."""
    terminal.edit(
        "enrolment.yaml", "\nproperties:\n", "\nproperties:\n  town: {source: user.city, personal: true}\n"
    )
    terminal.box.site.hiddenuserfields = ("city",)
    terminal.box.moodle.revoke("moodle/course:viewhiddenuserfields")
    what = "no towns (city) in the lists of the people of courses, though profiles show some"
    assert [f"note Profiles {what}: they are hidden there"] == not_well(terminal)
    terminal.box.moodle.revoke("moodle/user:viewhiddendetails")
    what = "no towns (city) among 13 people: nobody has any, or they are hidden"
    assert [f"note Profiles {what}"] == not_well(terminal)
    terminal.box.moodle.capabilities = {*terminal.box.moodle.capabilities, "moodle/course:viewhiddenuserfields"}
    what = "no towns (city) in the profiles of 13 people, though lists of the people of courses show some"
    assert [f"note Profiles {what}: they are hidden there"] == not_well(terminal)
    terminal.box.moodle.capabilities = {*terminal.box.moodle.capabilities, "moodle/user:viewhiddendetails"}
    terminal.box.moodle.revoke("moodle/course:viewhiddenuserfields")
    assert 1 == len(not_well(terminal))
    terminal.box.moodle.capabilities = {*terminal.box.moodle.capabilities, "moodle/course:viewhiddenuserfields"}
    assert [] == not_well(terminal)


def test_suspended_accounts_that_the_site_hides(terminal: Terminal) -> None:
    """Everybody shows whether he is suspended, so where nobody does it is hidden."""
    terminal.box.site.hiddenuserfields = ("suspended",)
    assert any("marks 'Suspended account'" in line for line in findings(terminal) if "shown: " in line)
    terminal.box.moodle.revoke("moodle/user:viewhiddendetails")
    what = "no marks 'Suspended account' (suspended) among 13 people: they are hidden"
    assert [f"fail Profiles {what}"] == not_well(terminal, code=FAILED)
    assert "→ Take them out of the list Site administration > Users" in terminal.run("check").text


def test_e_mail_addresses_that_the_site_hides(terminal: Terminal) -> None:
    """Ticked as identity they are hidden all the same: the list that hides them and the rights are named, too."""
    terminal.box.site.hiddenuserfields = ("email",)
    terminal.box.moodle.revoke("moodle/user:viewhiddendetails")
    terminal.box.site.update_user(terminal.box.learners[0], maildisplay=1)
    what = "no e-mail addresses (email) among 13 people: nobody has any, or they are hidden"
    assert [f"note Profiles {what}"] == not_well(terminal)
    text = terminal.run("check").text
    assert (
        "→ Tick them under Site administration > Users > Permissions > User policies > Show user identity" in text
    )
    assert "If 'Email address' is in the list Site administration > Users > Permissions > User policies > " in text
    assert "take it out there too, or give the role 'moodle/user:viewhiddendetails' (for profiles)" in text
    terminal.box.moodle.capabilities = {*terminal.box.moodle.capabilities, "moodle/user:viewhiddendetails"}
    assert [] == not_well(terminal)


@pytest.mark.parametrize(
    ("field", "kind", "way"),
    [
        (
            "city",
            "towns",
            "→ Take them out of the list Site administration > Users > Permissions > User policies > ",
        ),
        (
            "phone2",
            "phone numbers",
            "→ Tick them under Site administration > Users > Permissions > User policies > ",
        ),
        ("address", "addresses", "→ In a Moodle older than 4.5, give the role 'moodle/user:viewhiddendetails'"),
    ],
)
def test_what_a_run_asks_about_is_named(terminal: Terminal, field: str, kind: str, way: str) -> None:
    """A field that no profile shows any more: as the question names it, and what brings it back."""
    site, everybody = terminal.box.site, ("email", "phone1", "phone2")
    more = "  mobile: {source: phone2, personal: true}\n  home: {source: address, personal: true}\n"
    terminal.edit("student.yaml", "\nproperties:\n", f"\nproperties:\n{more}")
    site.update_user(terminal.box.learners[0], phone2="0722 111 222", address="Box 7")
    assert OK == terminal.run("sync", "--yes").code
    terminal.box.moodle.revoke("moodle/user:viewhiddendetails")
    site.showuseridentity = tuple(name for name in everybody if name != field)
    site.hiddenuserfields = tuple({field} & {"city", "address"})
    for _ in range(3):
        asked = terminal.run("sync")
    assert f"Nobody's profile shows {field} any more" in asked.text
    assert "show it again (`moodle-commcare check` names it, and says how)" in asked.text
    what = f"no {kind} ({field}) among 13 people: nobody has any, or they are hidden"
    assert f"note Profiles {what}" in not_well(terminal)
    assert way in terminal.run("check").text
    site.hiddenuserfields, site.showuseridentity = (), everybody
    assert (OK, []) == (terminal.run("sync").code, not_well(terminal))


def hide_groups(terminal: Terminal, *names: str) -> None:
    """Set groups to 'Hidden', and take the right to see them from the account."""
    for group in terminal.box.site.groups.values():
        group.visibility = 3 if group.name in names else 0
    terminal.box.moodle.revoke("moodle/course:viewhiddengroups")


def test_groups_that_are_hidden(terminal: Terminal) -> None:
    """Where a mapping reads groups and nobody shows one the right is named; in an older Moodle there is none."""
    hide_groups(terminal, "Morning", "Evening")
    what = "enrolment.yaml reads groups, and none of the 24 records looked at shows one"
    assert [f"note Groups {what}"] == not_well(terminal)
    assert "→ If there are some, give the role 'moodle/course:viewhiddengroups'" in terminal.run("check").text
    terminal.box.site.info["release"] = "4.1.2 (Build: 20230313)"
    assert [] == not_well(terminal)


def test_some_groups_are_hidden(terminal: Terminal) -> None:
    """Who shows none may be in none: how many do is told where they find the owner, and no right is asked for."""
    terminal.box.project.add_group("Morning")
    hide_groups(terminal, "Evening")
    assert [] == not_well(terminal)
    terminal.edit("student.yaml", OWNER, "owner:\n  first_of: [{group: groups}]")
    what = (
        "student.yaml finds owners by groups: 6 of the 12 records looked at show one; the owner of the others is "
        "found by other rules, or they are held back"
    )
    assert f"ok Groups {what}" in findings(terminal)
    assert [] == not_well(terminal)
    terminal.box.moodle.capabilities = {*terminal.box.moodle.capabilities, "moodle/course:viewhiddengroups"}
    terminal.box.project.add_group("Evening")
    assert not any("Groups" in line for line in findings(terminal))


def test_hidden_grade_items(terminal: Terminal) -> None:
    """Without the view right of a module its grade items vanish silently."""
    terminal.box.moodle.revoke("mod/assign:view")
    assert ["note Grades no graded activity is to be seen in course 4"] == not_well(terminal)


def test_totals_that_moodle_does_not_show(terminal: Terminal) -> None:
    """A hidden activity blanks the course total of those who have one; the course and what to do are named."""
    site = terminal.box.site
    terminal.box.moodle.revoke("moodle/grade:viewhidden")
    assert [] == not_well(terminal)
    site.set_grade_item(4, "Secret", hidden=True)
    there = {user for item in site.gradebooks[4].items for user in site.gradebooks[4].grades.get(item.id, {})}
    people = "1 person" if len(there) == 1 else f"{len(there)} people"
    why = "a hidden grade counts in it, it is hidden, or in error, so it is not sent"
    what = f"course 4 does not show the course total of {people}: {why}"
    assert [f"note Grades {what}"] == not_well(terminal)
    assert "Show totals excluding hidden items" in terminal.run("check").text


def test_one_of_two_roles_that_nobody_has(terminal: Terminal) -> None:
    """It is a note: the mapping makes cases all the same."""
    terminal.edit("student.yaml", "any_of: [student]", "any_of: [student, pupil]")
    what = "student.yaml includes the role 'pupil', and nobody in the 3 courses looked at has it"
    assert [f"note Roles {what}"] == not_well(terminal)


def test_a_mapping_that_leaves_out_everybody(terminal: Terminal) -> None:
    """It is said, with the word that does it."""
    terminal.edit("student.yaml", "include:", "exclude:\n  - {source: confirmed, is: true}\ninclude:")
    ended = terminal.run("check")
    what = "student.yaml leaves out everybody in the 3 courses looked at: no 'student' case"
    assert f"note Mappings {what} → Look at 'include' and 'exclude' in student.yaml." in ended.text, ended.text


def test_an_enrolment_mapping_that_leaves_out_everybody(terminal: Terminal) -> None:
    """Also in a course whose grades are not read."""
    terminal.edit(
        "enrolment.yaml", "any_of: [student]}", "any_of: [student]}\n  - {source: status, is: suspended}"
    )
    what = "enrolment.yaml leaves out everybody in the 3 courses looked at: no 'enrolment' case"
    own, found = not_well(terminal)
    assert (True, f"note Mappings {what}") == ("tests failed" in own, found)


def test_a_consent_that_nobody_shows(terminal: Terminal) -> None:
    """A custom field that is not there is named, and so is that it holds everybody back."""
    terminal.edit(
        "student.yaml", "any_of: [student]}", 'any_of: [student]}\n  - {source: profile.consent, is: "1"}'
    )
    _, *notes = not_well(terminal)
    assert "note Profiles nobody of 13 people shows the custom profile field 'consent'" == notes[0]
    assert "makes 0 cases of the 13 people looked at; 12 would be held back: 'include', the field" in notes[1]


def test_people_without_what_is_required(terminal: Terminal) -> None:
    """Who would be held back is counted by reason, and nobody is named."""
    terminal.box.site.update_user(terminal.box.learners[0], lastname="")
    (line,) = not_well(terminal)
    assert line.startswith(
        "note Mappings student.yaml makes 11 cases of the 13 people looked at; 1 would be held back"
    )
    assert "last_name is required and blank (1)" in line


def test_a_course_that_is_named_and_has_ended(terminal: Terminal) -> None:
    """It is not read, and the reader is told."""
    terminal.edit("project.yaml", 'shortname_like: "CHW-*"', "ids: [2, 3]")
    terminal.box.site.courses[3]["enddate"] = 1_700_000_000
    what = "course 3 is named in project.yaml and not read: it has ended, or not begun yet"
    assert [f"note Courses {what}"] == not_well(terminal)


def test_a_choice_that_chooses_nothing(terminal: Terminal) -> None:
    """Nothing more is looked at in Moodle, CommCare still is."""
    terminal.edit("project.yaml", "CHW-*", "XYZ-*")
    lines = findings(terminal, code=FAILED)
    assert "fail Courses none of the 3 courses on the site is chosen" in lines
    assert "ok CommCare no 'student' case yet" in lines


def test_categories(terminal: Terminal) -> None:
    """Their function is needed, and an unknown one is named."""
    terminal.edit("project.yaml", 'shortname_like: "CHW-*"', "categories: [1, 77]")
    assert ["fail Courses Moodle shows no category 77, which project.yaml names"] == not_well(
        terminal, code=FAILED
    )
    terminal.box.moodle.remove_function("core_course_get_categories")
    assert "fail Moodle the service lacks the function core_course_get_categories" in not_well(
        terminal, code=FAILED
    )


def test_an_empty_course(terminal: Terminal) -> None:
    """A course without people is a note."""
    terminal.box.site.add_course("CHW-900", "Not begun")
    assert ["note People nobody is in course 5"] == not_well(terminal)


def test_a_site_administrator(terminal: Terminal) -> None:
    """It works, and should not be."""
    terminal.box.site.info["userissiteadmin"] = True
    (line,) = not_well(terminal)
    assert line.startswith("note Moodle the account is a site administrator")


def test_broken_mappings_do_not_hide_the_rest(terminal: Terminal) -> None:
    """Both systems are looked at as far as that goes without mappings."""
    terminal.edit("student.yaml", "source: firstname", "source: fristname")
    lines = findings(terminal, code=FAILED)
    assert {"ok Courses 3 courses on the site", "ok Books none yet: the first run begins them"} < set(lines)
    assert any(line.startswith("ok CommCare project space 'sandbox' lets") for line in lines)


def test_moodle_out_of_reach_does_not_hide_commcare(terminal: Terminal) -> None:
    """The other system is still looked at, and the project's owner too."""
    terminal.env["MOODLE_URL"] = "http://127.0.0.1:1"
    assert "ok Owners the case-sharing group 'Field coaches' in project.yaml can own cases" in findings(
        terminal, code=FAILED
    )


def test_a_commcare_without_upserts(terminal: Terminal) -> None:
    """An older server is named as such."""

    def older(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and json.loads(request.content) == [{"create": None}]:
            return httpx.Response(400, json={"error": "A 'create' flag is required for each update."})
        return terminal.box.commcare(request)

    terminal.ports.answer["commcare"] = older
    (line,) = not_well(terminal)
    assert line.startswith("note CommCare")
    assert line.endswith("cannot create or update cases in one request (upsert)")


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (
            "membership",
            "The CommCare account may not use the API of this project space, or there is none of this name",
        ),
        ("plan", "The plan of this CommCare project space does not include the API"),
        ("edit_mobile_workers", "CommCare does not let this account list groups"),
    ],
)
def test_rights_in_commcare(terminal: Terminal, right: str, words: str) -> None:
    """Each comes with the screen to open."""
    terminal.box.commcare.revoke(right)
    assert [f"fail CommCare {words}"] == not_well(terminal, code=FAILED)


def test_cases_that_are_gone_from_commcare(terminal: Terminal) -> None:
    """Fewer cases than the books know are worth a look: changes to the others are refused run after run."""
    terminal.run("sync", "--yes")
    for case in terminal.box.project.of_type("student"):
        terminal.box.project.delete_case(case.case_id)
    assert ["note CommCare 0 'student' cases, 12 known to the books: 12 fewer than were made"] == not_well(
        terminal
    )


def test_existing_cases_that_may_stay(terminal: Terminal) -> None:
    """With `existing_cases: ignore` they are no reason to stop."""
    terminal.box.project.add_case("student", "Somebody")
    terminal.edit("student.yaml", "source: users", "source: users\nexisting_cases: ignore")
    assert "ok CommCare 1 'student' case, 0 known to the books" in findings(terminal)


@pytest.mark.parametrize(
    ("kind", "prepare", "words"),
    [
        ("group", lambda project: project.add_group("Coaches", case_sharing=False), "does not share cases"),
        ("user", lambda project: project.add_user("coaches", active=False), "is deactivated"),
        ("location", lambda project: project.add_location("Town", "town"), "is not in the project space"),
        ("location", lambda project: project.add_location("C", "coaches", kind=OFFICE), "does not share cases"),
    ],
)
def test_an_owner_that_cannot_own(terminal: Terminal, kind: str, prepare: object, words: str) -> None:
    """The project's owner is named, with what is wrong."""
    prepare(terminal.box.project)  # type: ignore[operator]
    terminal.edit("project.yaml", '{group: "Field coaches"}', f"{{{kind}: Coaches}}")
    (line,) = not_well(terminal, code=FAILED)
    assert line.endswith(f"'Coaches' in project.yaml {words}")


def test_owners_of_the_sample(terminal: Terminal) -> None:
    """Who would have no owner is counted by reason, and nobody is named."""
    terminal.box.project.add_user("amina.otieno")
    terminal.edit("student.yaml", "  otherwise: project\n", "  first_of: [{user: username}]\n")
    (line,) = not_well(terminal)
    assert line == (
        "note Owners student.yaml finds an owner for 1 of the 12 cases looked at; the others would be held back: "
        "the mobile worker is not in the project space (11)"
    )


@pytest.mark.parametrize(
    ("rule", "wanted", "unwanted"),
    [
        ("user: username", "workers create --dry-run", "otherwise:"),
        ("group: city", "otherwise: project", "workers"),
    ],
)
def test_no_shared_owner_is_proposed_where_each_has_the_own(
    terminal: Terminal, rule: str, wanted: str, unwanted: str
) -> None:
    """Cases of people on their own phones wait for mobile workers; a shared owner would show them to everybody."""
    terminal.edit("student.yaml", "  otherwise: project\n", f"  first_of: [{{{rule}}}]\n")
    ended = terminal.run("check", "--json")
    assert FAILED == ended.code
    (found,) = (one for one in ended.json["findings"] if one["level"] == "fail")
    assert wanted in found["remedy"]
    assert unwanted not in found["remedy"]


def test_a_failed_test_of_a_mapping_is_noted(terminal: Terminal) -> None:
    """It stops no run, so it is no failure; of a mapping that is switched off nothing is said."""
    terminal.edit("student.yaml", "        city: Bondo\n", "        city: Kisumu\n")
    terminal.edit("engagement.yaml", 'send_sms: "yes"', 'send_sms: "no"')
    assert ["note Mappings student.yaml: 1 of 5 tests failed, which stops no run"] == not_well(terminal)


def test_a_login_instead_of_a_token(terminal: Terminal) -> None:
    """A password of the account does, and a wrong one is said to be wrong."""
    del terminal.env["MOODLE_TOKEN"]
    terminal.env |= {"MOODLE_USERNAME": "svc_commcare", "MOODLE_PASSWORD": "let me in please"}
    terminal.env["MOODLE_SERVICE"] = "commcare_sync"
    terminal.box.moodle.account.passwords["svc_commcare"] = "let me in please"
    assert [] == not_well(terminal)
    terminal.env["MOODLE_PASSWORD"] = "let me out please"
    what = "Moodle does not accept the user name and password, or the account is suspended"
    assert [f"fail Moodle {what}"] == not_well(terminal, code=FAILED)


# --- marking and webhooks -----------------------------------------------------------------------------------


def marking(terminal: Terminal, *options: str, code: int = OK) -> list[str]:
    """Return level, text and remedy of what is found about marking."""
    ended = terminal.run("check", "--json", *options)
    assert code == ended.code, ended.text
    about = [one for one in ended.json["findings"] if one["area"] == "Marking"]
    return [f"{one['level']} {one['what']} → {one['remedy']}" for one in about]


def for_runs(terminal: Terminal) -> None:
    """Leave the service only what the mappings need."""
    told = terminal.run("setup", "moodle", "--json").json["functions"]
    terminal.box.moodle.functions = [one["name"] for one in told]


def test_marking_that_nobody_wants_is_not_looked_at(terminal: Terminal) -> None:
    """A service without the functions of marking, and without files, is right for runs."""
    for_runs(terminal)
    terminal.box.site.info["downloadfiles"] = 0
    assert [] == marking(terminal)


def test_marking_that_is_asked_for(terminal: Terminal) -> None:
    """The functions that are missing are named with their purpose and screen, and files that are kept back."""
    for_runs(terminal)
    terminal.box.site.info["downloadfiles"] = 0
    told = "\n".join(marking(terminal, "--feedback", code=FAILED))
    assert "fail the service lacks the function mod_assign_save_grades, for" in told
    assert "External services > Functions" in told
    assert "note the service lacks the function core_grading_get_definitions, for" in told
    assert "Tick 'Can download files'" in told
    assert "save_grades" not in "".join(marking(terminal, "--assignments", code=FAILED))


def test_marking_that_seems_to_be_wanted(terminal: Terminal) -> None:
    """A service with a part of it gets notes, no failure."""
    terminal.box.moodle.remove_function("mod_assign_get_submission_status")
    (line,) = marking(terminal)
    assert line.startswith("note the service lacks the function mod_assign_get_submission_status")


def test_rights_of_marking_are_tried(terminal: Terminal) -> None:
    """What an assignment does not give away is a failure with the right that is missing; nothing is saved."""
    assert "can be read: 12 people may hand something in" in marking(terminal, "--feedback")[-1]
    terminal.box.moodle.revoke("mod/assign:grade")
    (*_, line) = marking(terminal, "--feedback", code=FAILED)
    assert line.startswith("fail ")
    assert "mod/assign:grade" in line
    assert not [name for name, _ in terminal.box.moodle.calls if "save" in name]
    assert "can be read" in marking(terminal, "--assignments")[-1]


def test_a_site_set_up_for_feedback_as_told_is_enough(terminal: Terminal) -> None:
    """A service and a role with what `setup moodle --feedback` names leave nothing to put right."""
    told = terminal.run("setup", "moodle", "--feedback", "--json").json
    terminal.box.moodle.functions = [one["name"] for one in told["functions"]]
    terminal.box.moodle.capabilities = {one["capability"] for one in told["rights"]}
    assert ["ok", "ok"] == [line.split()[0] for line in marking(terminal, "--feedback")]


def test_webhooks_that_never_came(terminal: Terminal) -> None:
    """A secret without any webhook is a note."""
    terminal.env["WEBHOOK_TOKEN"] = "canary-webhook-token"
    assert ["note Webhooks WEBHOOK_TOKEN is set, and nothing has come from Moodle yet"] == not_well(terminal)


def test_webhooks_that_come(terminal: Terminal) -> None:
    """When the last one came is told."""
    terminal.env["WEBHOOK_TOKEN"] = "canary-webhook-token"
    terminal.run("sync", "--yes")
    with open_store(load_settings(terminal.env, None)) as store:
        store.inbox_add([Hint("moodle", "user_graded", b"mark", 1_795_300_000.0, course_id=2)], 1_795_300_000.0)
    assert any(line.startswith("ok Webhooks the last one came 2026-11-2") for line in findings(terminal))


def test_a_teacher_whose_name_stops_the_list_of_courses(terminal: Terminal) -> None:
    """The check says what an administrator does about it."""
    site = terminal.box.site
    members = next(members for members in site.members.values() if members)
    teacher = next(user for user, member in members.items() if "editingteacher" in member.roles)
    site.update_user(teacher, lastname="<Trainer")
    (told,) = [line for line in not_well(terminal, code=FAILED) if line.startswith("fail ")]
    assert "core_course_get_courses_by_field ('invalidresponse')" in told
    assert "purge its caches (Site administration > Development > Purge caches)" in terminal.run("check").text


def test_a_teacher_whose_name_stops_one_course(terminal: Terminal) -> None:
    """What is known from a run is asked for by id: the check names the course that is missing, and goes on."""
    terminal.run("sync", "--yes")
    site = terminal.box.site
    first, *others = sorted(terminal.box.courses.values())
    site.courses[first]["contacts"] = [{"id": 3, "fullname": "Grace <Wekesa"}]
    (told,) = [line for line in not_well(terminal, code=FAILED) if line.startswith("fail ")]
    assert f"3 courses were asked for by id, and of these not course {first}; new ones are not seen" in told
    assert any(
        line.startswith(f"ok Courses 2 of 2 chosen: {others[0]} ") for line in findings(terminal, code=FAILED)
    )
    project = terminal.mappings / "project.yaml"
    ids = "\n  ids: [" + ", ".join(map(str, (first, *others))) + "]"
    project.write_text(re.sub(r"(?m)^courses:(\n  .*)+", f"courses:{ids}", project.read_text("utf-8")), "utf-8")
    assert [told] == [line for line in not_well(terminal, code=FAILED) if " Courses " in line]
