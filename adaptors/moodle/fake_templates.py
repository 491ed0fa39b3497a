"""The long, dull parts of the fake Moodle's answers: what every 4.5 site says about itself and its courses."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

CAPABILITIES = frozenset({
    "gradereport/grader:view", "gradereport/overview:view", "gradereport/user:view", "mod/assign:grade",
    "mod/assign:revealidentities", "mod/assign:view", "mod/assign:viewblinddetails", "mod/assign:viewgrades",
    "mod/bigbluebuttonbn:view", "mod/chat:view", "mod/choice:view", "mod/data:view", "mod/feedback:view",
    "mod/folder:view", "mod/forum:viewdiscussion", "mod/glossary:view", "mod/h5pactivity:view",
    "mod/imscp:view", "mod/label:view", "mod/lesson:view", "mod/lti:view", "mod/page:view", "mod/quiz:view",
    "mod/quiz:viewreports", "mod/resource:view", "mod/url:view", "mod/wiki:viewpage", "mod/workshop:view",
    "moodle/category:viewhiddencategories", "moodle/course:managegroups", "moodle/course:enrolreview",
    "moodle/course:ignoreavailabilityrestrictions",
    "moodle/course:update", "moodle/course:useremail", "moodle/course:view",
    "moodle/course:viewhiddenactivities", "moodle/course:viewhiddencourses", "moodle/course:viewhiddengroups",
    "moodle/course:viewhiddenuserfields",
    "moodle/course:viewparticipants", "moodle/grade:viewall", "moodle/grade:viewhidden", "moodle/role:review",
    "moodle/site:accessallgroups", "moodle/site:viewparticipants", "moodle/site:viewuseridentity",
    "moodle/user:viewalldetails", "moodle/user:viewdetails", "moodle/user:viewhiddendetails",
    "report/completion:view", "report/progress:view",
})  # fmt: skip

# Kinds of activity that Moodle has no right for to see them: nobody is kept from them.
OPEN_TO_ALL = frozenset({"book", "forum", "scorm", "subsection", "survey"})


def may_view(module: str, held: Collection[str]) -> bool:
    """Tell whether rights let an account see activities of a kind.

    What every account has by itself (pages, files, links) a site may have taken from it: it has to be held, too.
    """
    return module in OPEN_TO_ALL or f"mod/{module}:{'viewpage' if module == 'wiki' else 'view'}" in held


SITE_INFO: dict[str, Any] = {
    "sitename": "Example Moodle",
    "username": "svc_commcare",
    "firstname": "CommCare",
    "lastname": "Sync",
    "fullname": "CommCare Sync",
    "lang": "en",
    "userid": 3,
    "siteurl": "https://moodle.example.org",
    "userpictureurl": "https://moodle.example.org/theme/image.php/boost/core/1795299935/u/f1",
    "functions": [],
    "downloadfiles": 1,
    "uploadfiles": 0,
    "release": "4.5.6 (Build: 20250811)",
    "version": "2024100706",
    "mobilecssurl": "",
    "advancedfeatures": [{"name": "enablecompletion", "value": 1}],
    "usercanmanageownfiles": True,
    "userquota": 104857600,
    "usermaxuploadfilesize": 67108864,
    "userhomepage": 1,
    "userprivateaccesskey": "00000000000000000000000000000000",
    "siteid": 1,
    "sitecalendartype": "gregorian",
    "usercalendartype": "gregorian",
    "userissiteadmin": False,
    "theme": "boost",
    "limitconcurrentlogins": 0,
    "policyagreed": 0,
}

# An account that cannot enter a course is shown these keys of it and no others.
PUBLIC_COURSE_KEYS = frozenset({
    "id", "fullname", "displayname", "shortname", "courseimage", "categoryid", "categoryname", "sortorder",
    "summary", "summaryformat", "summaryfiles", "overviewfiles", "showactivitydates",
    "showcompletionconditions", "contacts", "customfields", "enrollmentmethods",
})  # fmt: skip
# Only with moodle/course:update.
EDITOR_COURSE_KEYS = frozenset({
    "idnumber", "legacyfiles", "calendartype", "timecreated", "timemodified", "requested", "cacherev",
})  # fmt: skip


def course_row(
    number: int, url: str, *, shortname: str, fullname: str, now: int = 0, format: str = "topics"
) -> dict[str, Any]:
    """Return the row of a new course with all the keys Moodle has for it; `now` is when it was made."""
    return {
        "id": number,
        "fullname": fullname,
        "displayname": fullname,
        "shortname": shortname,
        "courseimage": f"{url}/pluginfile.php/{number + 16}/course/generated/course.svg",
        "categoryid": 1,
        "categoryname": "",
        "sortorder": 10000 + number,
        "summary": "",
        "summaryformat": 1,
        "summaryfiles": [],
        "overviewfiles": [],
        "showactivitydates": False,
        "showcompletionconditions": None if format == "site" else True,
        "contacts": None,
        "enrollmentmethods": [] if format == "site" else ["manual"],
        "customfields": {},
        "idnumber": "",
        "format": format,
        "showgrades": 1,
        "newsitems": 0,
        "startdate": 0,
        "enddate": 0,
        "maxbytes": 0,
        "showreports": 0,
        "visible": 1,
        "groupmode": 0,
        "groupmodeforce": 0,
        "defaultgroupingid": 0,
        "enablecompletion": 1,
        "completionnotify": 0,
        "lang": "",
        "theme": "",
        "marker": 0,
        "legacyfiles": 0,
        "calendartype": "",
        "timecreated": now,
        "timemodified": now,
        "requested": 0,
        "cacherev": now,
        "filters": [],
        "courseformatoptions": [],
    }


def category_row(number: int, name: str, parent: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the row of a new course category, inside `parent` if there is one."""
    return {
        "id": number,
        "name": name,
        "description": "",
        "descriptionformat": 1,
        "parent": parent["id"] if parent else 0,
        "sortorder": number * 10000,
        "coursecount": 0,
        "depth": parent["depth"] + 1 if parent else 1,
        "path": f"{parent['path'] if parent else ''}/{number}",
    }


def display(text: str) -> str:
    """Write a name as Moodle displays it: tags stripped and & as &amp;, unless raw names were asked for."""
    return re.sub(r"<[^>]*>", "", re.sub(r"&(?!#?\w{1,8};)", "&amp;", text))
