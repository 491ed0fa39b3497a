"""Every known way in which a run can fail, as something done to a lab; both systems echo what they were sent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import httpx

from adaptors.moodle.fake_answers import FAILURES
from tests.canaries import RAW
from tests.flows.worlds import API_KEY, TOKEN, Lab

Disaster = Callable[[Lab], None]


def echo(lab: Lab) -> str:
    """Return a text with every value that the last learner has, as servers put into their errors."""
    user = max(lab.site.users.values(), key=lambda user: user.id)
    return f"{user} {RAW} 254722555004 {TOKEN} {API_KEY}"


def moodle_says(body: Callable[[Lab], Any]) -> Disaster:
    """Let Moodle answer the next question about people with something of its own."""

    def arrange(lab: Lab) -> None:
        real = lab.moodle

        def answer(request: httpx.Request) -> httpx.Response:
            if b"core_enrol_get_enrolled_users" not in request.content:
                return real(request)
            said = body(lab)
            return httpx.Response(200, json=said) if not isinstance(said, str) else httpx.Response(200, text=said)

        lab.moodle = answer  # type: ignore[assignment]

    return arrange


def commcare_says(status: int, body: Callable[[Lab], str]) -> Disaster:
    """Let CommCare answer writes with a text of its own."""

    def arrange(lab: Lab) -> None:
        real = lab.commcare

        def answer(request: httpx.Request) -> httpx.Response:
            if request.method != "POST":
                return real(request)
            return httpx.Response(status, json={"error": body(lab)})

        lab.commcare = answer  # type: ignore[assignment]

    return arrange


def moodle_fails(kind: str, function: str) -> Disaster:
    return lambda lab: lab.moodle.fail_next(function, kind, times=20)


def commcare_fails(kind: str, where: str) -> Disaster:
    return lambda lab: lab.commcare.fail_next(kind, times=20, where=where)


def spoil_people(**values: Any) -> Disaster:
    """Give everybody values that cannot be mapped."""

    def arrange(lab: Lab) -> None:
        for user in lab.site.users.values():
            if user.username.startswith("qanary"):
                lab.site.update_user(user.id, **values)

    return arrange


def owner_by_field(lab: Lab) -> None:
    """Let the owner come from a profile field that names nobody CommCare knows."""
    lab.edit("student", "  otherwise: project\n", "  first_of: [{user: profile.worker}]\n")
    lab.commcare.project.groups.clear()


def rename(lab: Lab) -> None:
    """Change something of everybody."""
    spoil_people(lastname="QanaryLastNew", profile={"note": "QanaryNoteNew"})(lab)


def one_leaves(lab: Lab) -> None:
    """Take one learner out of one course."""
    lab.site.unenrol(max(lab.site.courses), max(lab.site.users))


def exception(kind: str = "moodle_exception", **said: str) -> dict[str, str]:
    """Return an error as Moodle sends it."""
    return {"exception": kind, "errorcode": "x", "message": "An error", **said}


def wrong_token(lab: Lab) -> None:
    lab.moodle.account.token = "another"


def everybody_leaves(lab: Lab) -> None:
    for course in list(lab.site.members):
        for user in list(lab.site.members[course]):
            lab.site.unenrol(course, user)


FUNCTIONS = (
    "core_webservice_get_site_info",
    "core_enrol_get_enrolled_users",
    "core_user_get_users_by_field",
    "gradereport_user_get_grade_items",
)
COMMCARE_FAILURES = ("429", "429_no_header", "503", "500_html", "504_html", "timeout", "refused")
RIGHTS = ("api_key", "membership", "plan", "edit_data", "api_access")
ROWS = "Error in row 1: Values must be strings: {}; Error in row 2: {} is not a valid field"

LATER: dict[str, Disaster] = {
    **{f"moodle {kind}": moodle_fails(kind, function) for kind, function in zip(FAILURES, cycle(FUNCTIONS))},
    **{f"commcare {kind}": commcare_fails(kind, "write") for kind in COMMCARE_FAILURES},
    **{f"commcare says {status}": commcare_says(status, echo) for status in (400, 403, 404, 413, 422, 500, 504)},
    "commcare says row by row": commcare_says(400, lambda lab: ROWS.format(echo(lab), echo(lab))),
    "commcare refuses rows": lambda lab: lab.commcare.refuse_row(lambda _: True, echo(lab)),
    "commcare loses its reply": lambda lab: lab.commcare.drop_reply_after_commit(20),
    "commcare says nonsense": lambda lab: lab.commcare.drop_reply_after_commit(20, "504_html"),
    "commcare is late": lambda lab: lab.commcare.late_write(90, 20),
    "moodle wrong token": wrong_token,
    "moodle echoes": moodle_says(lambda lab: exception(message=echo(lab), debuginfo=echo(lab))),
    "moodle echoes in class": moodle_says(lambda lab: exception(echo(lab))),
    "moodle echoes known": moodle_says(lambda lab: exception(errorcode="invalidrecord", message=echo(lab))),
    "moodle echoes in code": moodle_says(lambda lab: exception(errorcode=echo(lab))),
    "moodle wrong shape": moodle_says(lambda lab: [{"id": "x", "fullname": echo(lab)}]),
    "moodle wrong key": moodle_says(lambda lab: [{"id": 7, "fullname": {echo(lab): echo(lab)}}]),
    "moodle list of texts": moodle_says(lambda lab: [echo(lab)]),
    "moodle page": moodle_says(lambda lab: f"<html>{echo(lab)}</html>"),
    "phones wrong": spoil_people(phone1="QanaryPhone 12"),
    "names missing": spoil_people(lastname=""),
    "everybody leaves": everybody_leaves,
    "maintenance": lambda lab: setattr(lab.site, "maintenance", "web"),
}  # fmt: skip
"""What may happen once cases are there."""

AT_FIRST: dict[str, Disaster] = {
    **{f"commcare {kind} asked for owners": commcare_fails(kind, "owners") for kind in COMMCARE_FAILURES},
    **{f"commcare revoked {right}": lambda lab, right=right: lab.commcare.revoke(right) for right in RIGHTS},
    "commcare refuses one row": lambda lab: lab.commcare.refuse_row("test-user-5", echo(lab)),
    "names too long": spoil_people(lastname="QanaryLong" * 40),
    "owner unknown": owner_by_field,
}
"""What may happen in the first run."""
