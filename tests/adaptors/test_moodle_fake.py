"""The fake Moodle's data: editing the site, what Moodle leaves out of a row, what capabilities hide."""

from typing import Any

import pytest

from tests.adaptors.moodle_world import COURSES, ENROLLED, GRADES, PROFILES, World, ask, options, post, request


@pytest.fixture
def world() -> World:
    """Return a fresh small site."""
    return World()


# What is sent of whom


def test_empty_fields_are_left_out(world: World) -> None:
    """Empty phone, city and ID number have no key, an empty department has one; groups only when there are any."""
    abeba, bruno = world.people()[1:]
    assert {"phone1", "groups"} == {key for key in abeba if key not in bruno} - {"customfields"}
    assert {"city", "idnumber"} == {key for key in bruno if key not in abeba}
    assert ("", 0) == (abeba["department"], abeba["lastcourseaccess"])


def test_fields_can_be_chosen(world: World) -> None:
    """Chosen fields come with id and full name; fields that only profiles have are ignored."""
    row = world.people(userfields="username,lang,roles", limitnumber=1)[0]
    assert {"id": world.teacher, "fullname": "Tizita Bekele", "username": "tizita"} == {
        key: row[key] for key in row if key != "roles"
    }
    assert ["editingteacher"] == [role["shortname"] for role in row["roles"]]


def test_phones_need_the_site_setting_and_the_capability(world: World) -> None:
    """Without showuseridentity or viewuseridentity the phone's key is just absent."""
    assert "phone1" in world.people()[1]
    world.site.showuseridentity = ("email",)
    assert "phone1" not in world.people()[1]
    world.site.showuseridentity = ("email", "phone1")
    world.fake.revoke("moodle/site:viewuseridentity")
    assert "phone1" not in world.people()[1]


def test_what_the_site_hides_takes_a_right_in_profiles_and_one_in_courses(world: World) -> None:
    """City, last access and e-mail address go from both without them, though the last is an identity field."""
    world.site.hiddenuserfields = ("city", "lastaccess", "email")
    hidden = {"city", "lastaccess", "lastcourseaccess", "email"}
    assert hidden <= world.people()[2].keys()
    world.fake.revoke("moodle/course:viewhiddenuserfields")
    row = world.people()[2]
    assert set() == hidden & row.keys()
    (shown,) = ask(world.fake, PROFILES, field="id", values=[world.bruno])
    assert {"city", "lastaccess", "email"} <= shown.keys()
    world.fake.revoke("moodle/user:viewhiddendetails")
    (shown,) = ask(world.fake, PROFILES, field="id", values=[world.bruno])
    assert set() == hidden & shown.keys()


def test_invisible_people_drop_out_of_pages(world: World) -> None:
    """Without viewdetails only course contacts are seen, and an empty page is not the end."""
    late = world.site.add_user("Zoe", "Zewde")
    world.site.enrol(world.course, late, ["editingteacher"])
    world.fake.revoke("moodle/user:viewdetails")
    assert [world.teacher, late] == [row["id"] for row in world.people()]
    assert [] == world.people(limitfrom=1, limitnumber=2)
    assert [late] == [row["id"] for row in world.people(limitfrom=3, limitnumber=2)]


def test_suspended_enrolments_are_filtered_accounts_are_not(world: World) -> None:
    """onlyactive and onlysuspended look at enrolments; a suspended account stays in both lists' reach."""
    world.site.suspend_enrolment(world.course, world.abeba)
    world.site.update_user(world.bruno, suspended=True)
    assert [world.abeba] == [row["id"] for row in world.people(onlysuspended=1)]
    assert [world.teacher, world.bruno] == [row["id"] for row in world.people(onlyactive=1)]
    assert [False, True] == [
        r["suspended"] for r in ask(world.fake, PROFILES, field="id", values=[world.abeba, world.bruno])
    ]


def test_custom_profile_fields(world: World) -> None:
    """A checkbox is always there, a text only when filled, a hidden field only with viewalldetails."""
    world.site.add_profile_field("consent", "Consent", type="checkbox")
    world.site.add_profile_field("secret", hidden=True, default="S")
    rows = ask(world.fake, PROFILES, field="id", values=[world.abeba, world.bruno])
    assert [["cadre", "consent", "secret"], ["consent", "secret"]] == [
        [custom["shortname"] for custom in row["customfields"]] for row in rows
    ]
    world.fake.revoke("moodle/user:viewalldetails")
    (row,) = ask(world.fake, PROFILES, field="id", values=[world.bruno])
    assert ["consent"] == [custom["shortname"] for custom in row["customfields"]]
    assert not {"username", "auth", "lang", "confirmed"} & row.keys()


def test_profiles_collapse_and_leave_out(world: World) -> None:
    """Duplicates collapse, unknown ids are left out, the order is by id."""
    rows = ask(world.fake, PROFILES, field="id", values=[world.bruno, 999999, world.abeba, world.bruno])
    assert [world.abeba, world.bruno] == [row["id"] for row in rows]


def test_deleted_people_come_back_mangled(world: World) -> None:
    """A deleted person is in no course; by id the row is there, with rubbish for names."""
    world.site.delete_user(world.bruno)
    assert [world.teacher, world.abeba] == [row["id"] for row in world.people()]
    (row,) = ask(world.fake, PROFILES, field="id", values=[world.bruno])
    assert f"user{world.bruno}@example.org.{world.site.now}" == row["username"]
    assert 32 == len(row["email"])
    assert "idnumber" not in row


def test_username_in_capitals_fails_the_batch(world: World) -> None:
    """One upper-case letter in a user name refuses all of them."""
    answer = ask(world.fake, PROFILES, field="username", values=["tizita", "Tizita"])
    assert "invalidparameter" == answer["errorcode"]


# Courses, groups


def test_names_come_displayed_or_raw(world: World) -> None:
    """Moodle strips tags and writes &amp; unless raw names are asked for."""
    assert (
        "Health &amp; Hope" == ask(world.fake, COURSES, field="id", value=world.course)["courses"][0]["fullname"]
    )
    raw = {
        "wstoken": world.fake.token,
        "wsfunction": COURSES,
        "moodlewsrestformat": "json",
        "moodlewssettingraw": "1",
    }
    names = [course["fullname"] for course in world.fake(request(raw)).json()["courses"]]
    assert ["Example Moodle", "Health & <b>Hope</b>"] == names


def test_hidden_courses_need_a_capability(world: World) -> None:
    """Without viewhiddencourses a hidden course is absent from the list and closed to calls."""
    hidden = world.site.add_course("H", "Hidden", visible=0)
    assert [1, world.course, hidden] == [course["id"] for course in ask(world.fake, COURSES)["courses"]]
    world.fake.revoke("moodle/course:viewhiddencourses")
    assert [1, world.course] == [course["id"] for course in ask(world.fake, COURSES)["courses"]]
    assert "errorcoursecontextnotvalid" == ask(world.fake, ENROLLED, courseid=hidden)["errorcode"]
    assert "requireloginerror" == ask(world.fake, GRADES, courseid=hidden)["errorcode"]


def test_course_contacts_custom_fields_and_categories(world: World) -> None:
    """A course names its editing teachers, shows its custom fields, and is found by its category."""
    inner = world.site.add_category("Inner", parent=1)
    made = world.site.add_course("X", "X", categoryid=inner, customfields={"region": "Tigray"})
    world.site.enrol(made, world.teacher, ["editingteacher"])
    (course,) = ask(world.fake, COURSES, field="category", value=inner)["courses"]
    assert [{"id": world.teacher, "fullname": "Tizita Bekele"}] == course["contacts"]
    assert ("Inner", "region", "Tigray") == (
        course["categoryname"],
        course["customfields"][0]["shortname"],
        course["customfields"][0]["value"],
    )
    rows = ask(world.fake, "core_course_get_categories")
    assert [("/1", 1), (f"/1/{inner}", 1)] == [(row["path"], row["coursecount"]) for row in rows]


def test_separate_groups_hide_people(world: World) -> None:
    """In a course with separate groups an account without accessallgroups sees nobody."""
    world.site.courses[world.course]["groupmode"] = 1
    world.fake.revoke("moodle/site:accessallgroups")
    assert [] == world.people()
    assert "notingroup" == ask(world.fake, GRADES, courseid=world.course)["errorcode"]


def test_groups_and_their_members(world: World) -> None:
    """Groups come by name; the members of a hidden one need viewhiddengroups."""
    hidden = world.site.add_group(world.course, "Alone", visibility=3)
    world.site.set_group(world.course, world.bruno, hidden)
    names = [group["name"] for group in ask(world.fake, "core_group_get_course_groups", courseid=world.course)]
    assert ["Alone", "North"] == names
    ask_members = {"groupids": [hidden]}
    assert [world.bruno] == ask(world.fake, "core_group_get_group_members", **ask_members)[0]["userids"]
    world.fake.revoke("moodle/course:viewhiddengroups")
    assert [] == ask(world.fake, "core_group_get_group_members", **ask_members)[0]["userids"]


# Grades


def test_course_total_follows_the_grades(world: World) -> None:
    """The total is the points over the highest points of what was graded, with Moodle's number formats."""
    total = world.site.gradebooks[world.course].items[-1].id
    assert (8, 10, "80.00 %") == tuple(
        world.grades(world.abeba)[total][k] for k in ("graderaw", "grademax", "percentageformatted")
    )
    world.site.grade(world.essay, world.abeba, 15.5, feedback="<p>Good</p>")
    row = world.grades(world.abeba)[total]
    assert (23.5, 40, "23.50", "58.75 %") == tuple(
        row[k] for k in ("graderaw", "grademax", "gradeformatted", "percentageformatted")
    )


def test_rows_of_the_graded_and_the_ungraded(world: World) -> None:
    """Who has any grade has weights and a status on what is missing; who has none has neither."""
    assert ("novalue", 0) == tuple(world.grades(world.abeba)[world.essay][k] for k in ("status", "weightraw"))
    assert not {"status", "weightraw"} & world.grades(world.bruno)[world.essay].keys()


def test_category_totals(world: World) -> None:
    """A grade category has its own total over the items in it, nameless like the course's."""
    category = world.site.set_grade_item(world.course, "Practice", type="category")
    inside = next(i.instance for i in world.site.gradebooks[world.course].items if i.id == category)
    visit = world.site.set_grade_item(world.course, "Visit", type="manual", categoryid=inside, maximum=5)
    world.site.grade(visit, world.abeba, 4)
    row = world.grades(world.abeba)[category]
    assert ("category", None, 4, 5) == tuple(row[k] for k in ("itemtype", "itemname", "graderaw", "grademax"))


def test_cleared_grade_keeps_its_date(world: World) -> None:
    """A cleared grade is null, and its date moves."""
    world.site.now += 60
    world.site.grade(world.quiz, world.abeba, None)
    row = world.grades(world.abeba)[world.quiz]
    assert (None, world.site.now) == (row["graderaw"], row["gradedategraded"])


def test_whole_course_lists_active_students(world: World) -> None:
    """The whole-course report has active students in the order of their names; one asked by id may be anybody."""
    report = ask(world.fake, GRADES, courseid=world.course)["usergrades"]
    assert [world.bruno, world.abeba] == [user["userid"] for user in report]
    world.site.suspend_enrolment(world.course, world.abeba)
    assert [world.bruno] == [u["userid"] for u in ask(world.fake, GRADES, courseid=world.course)["usergrades"]]
    assert 8 == world.grades(world.abeba)[world.quiz]["graderaw"]


def test_unenrolled_person_has_an_empty_grid(world: World) -> None:
    """Somebody who is not in the course gets all items without grades, and no error."""
    world.site.unenrol(world.course, world.abeba)
    assert {None} == {row["graderaw"] for row in world.grades(world.abeba).values()}


@pytest.mark.parametrize(("capability", "item"), [("moodle/grade:viewhidden", "essay"), ("mod/quiz:view", "quiz")])
def test_items_disappear_without_a_capability(world: World, capability: str, item: str) -> None:
    """Hidden items, and items of modules the account may not view, are left out without a word."""
    gone = getattr(world, item)
    assert gone in world.grades(world.abeba)
    world.fake.revoke(capability)
    assert gone not in world.grades(world.abeba)


@pytest.mark.parametrize(
    ("capability", "function", "chosen", "errorcode"),
    [
        ("moodle/course:enrolreview", ENROLLED, {"onlyactive": 1}, "nopermissions"),
        ("moodle/course:view", ENROLLED, {}, "errorcoursecontextnotvalid"),
        ("moodle/course:view", GRADES, None, "requireloginerror"),
        ("moodle/grade:viewall", GRADES, None, "nopermissiontoviewgrades"),
        ("gradereport/user:view", GRADES, None, "nopermissions"),
        ("moodle/course:managegroups", "core_group_get_course_groups", None, "nopermissions"),
    ],
)
def test_missing_capabilities_refuse(
    world: World, capability: str, function: str, chosen: dict[str, object] | None, errorcode: str
) -> None:
    """Each refusal comes as HTTP 200 with Moodle's own word for it."""
    world.fake.revoke(capability)
    parameters: dict[str, Any] = {"courseid": world.course}
    answer = post(world.fake, function, **parameters | ({} if chosen is None else {"options": options(**chosen)}))
    assert (200, errorcode) == (answer.status_code, answer.json()["errorcode"])
