"""What Moodle's own words for an error become: a sentence, and what to do about it."""

from __future__ import annotations

import pytest

from adaptors.errors import AccessDenied, NoAnswer, Unexpected
from adaptors.moodle.errors import exception_error, is_for_all, login_error

BARRED = "Course or activity not accessible (Course or activity not accessible. The context error message was: {})"
ENROLLED = "core_enrol_get_enrolled_users"


@pytest.mark.parametrize("code", ["errorcoursecontextnotvalid", "requireloginerror"])
@pytest.mark.parametrize("place", ["user/policy.php", "admin/tool/policy/index.php"])
def test_a_policy_that_waits_is_not_taken_for_a_missing_right(code: str, place: str) -> None:
    """A real Moodle wraps it, in the site's language; the page that it sends people to is in it."""
    inside = f'Politique du site : <a href="https://moodle.example.org/{place}">QanaryText</a>'
    error = exception_error(ENROLLED, {"errorcode": code, "message": BARRED.format(inside)})
    assert (AccessDenied, True) == (type(error), "has not agreed to the site policy" in str(error))
    assert "Qanary" not in repr(error)


def test_who_may_not_enter_may_have_to_log_in_once() -> None:
    """A password that must be changed first looks like a missing right."""
    error = exception_error(ENROLLED, {"errorcode": "errorcoursecontextnotvalid", "message": BARRED.format("x")})
    assert "'moodle/course:view'" in str(error)
    assert "log in once as that account" in str(error)


@pytest.mark.parametrize("reason", ["suspended", "deleted", "expired", "nologin", "unconfirmed"])
def test_an_account_that_may_not_call_is_named(reason: str) -> None:
    """Each has a remedy; none is told in Moodle's own code."""
    error = exception_error(ENROLLED, {"errorcode": f"wsaccessuser{reason}"})
    assert (AccessDenied, True, False) == (type(error), bool(error.remedy), "wsaccess" in str(error))


@pytest.mark.parametrize(
    "cause", ["is disabled", "the token has expired", "not authorised", "webservice/rest:use"]
)
def test_a_refused_function_has_many_causes(cause: str) -> None:
    """Moodle does not tell which it is, so each is named."""
    assert cause in str(exception_error(ENROLLED, {"errorcode": "accessexception"}))


def test_a_database_that_is_down_is_for_who_runs_moodle() -> None:
    """It passes by itself mostly, and otherwise not through us."""
    error = exception_error(ENROLLED, {"errorcode": "dbconnectionfailed"})
    assert (NoAnswer, "If this stays, let whoever runs Moodle look at its database.") == (
        type(error),
        error.remedy,
    )


def test_a_value_that_moodle_cannot_send() -> None:
    """It does not say which it is: what it is most often, and where, is told for any function."""
    error = exception_error(
        "mod_assign_list_participants", {"errorcode": "invalidresponse", "debuginfo": "Qanary"}
    )
    assert (Unexpected, "invalidresponse") == (type(error), error.code)
    assert "Moodle cannot send its answer to mod_assign_list_participants ('invalidresponse')" in str(error)
    assert "Browse list of users: correct the name" in str(error)
    assert str(error).endswith("It may also be the name of a group.")


@pytest.mark.parametrize(
    "code",
    [
        "invalidtoken",
        "accessexception",
        "sitemaintenance",
        "passwordisexpired",
        "forcepasswordchangenotice",
        "nopasswordchangeforced",
        "usernotfullysetup",
        "sitepolicynotagreed",
        *(f"wsaccessuser{reason}" for reason in ("suspended", "deleted", "expired", "nologin", "unconfirmed")),
    ],
)
def test_what_shuts_the_account_out_of_everything(code: str) -> None:
    """Each course would be refused for it; each has a remedy or passes."""
    assert is_for_all(exception_error(ENROLLED, {"errorcode": code})), code


@pytest.mark.parametrize("code", ["invalidlogin", "usernotallowed", "servicenotavailable", "usernotconfirmed"])
def test_a_login_that_is_refused_is_for_everything(code: str) -> None:
    """Without a token nothing can be asked."""
    assert is_for_all(login_error(code))


@pytest.mark.parametrize(
    "code", ["errorcoursecontextnotvalid", "requireloginerror", "nopermissions", "notingroup"]
)
def test_what_may_be_about_one_course(code: str) -> None:
    """The next course may be open."""
    assert not is_for_all(exception_error(ENROLLED, {"errorcode": code}))
