"""Which of Moodle's errors is of which family. Moodle answers most of them with status 200."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adaptors.errors import (
    AccessDenied,
    AdaptorError,
    Maintenance,
    NoAnswer,
    Refused,
    Retriable,
    Unexpected,
    WebPage,
)
from adaptors.http import Answer, retry_after
from adaptors.moodle.functions import BY_NAME
from adaptors.moodle.screens import CACHES, CONTACTS, EXTERNAL_SERVICES, FEATURES, PROTOCOLS, TOKENS, USERS

# A shorter wait is a busy proxy; a longer one is `climaintenance`, which says 300.
MAINTENANCE_WAIT = 60.0

_EXPIRED = ("The password of the Moodle account has expired.", "Log in once and change it.")
_UNCONFIRMED = ("The Moodle account is not confirmed.", f"Confirm it under {USERS}.")
_NO_ENTRY = (
    "The Moodle account may not enter this course.",
    "Give its role 'moodle/course:view' (and 'moodle/course:viewhiddencourses' for hidden courses). If it has "
    "them, log in once as that account: it may have to change its password.",
)
# Codes a person has to settle: what is wrong, and the screen to open. These hold for all that the account asks.
_ACCOUNT: Mapping[str, tuple[str, str]] = {
    "invalidtoken": (
        "Moodle does not accept the token.",
        f"Make a new one under {TOKENS} and put it into MOODLE_TOKEN.",
    ),
    "accessexception": (
        "Moodle refuses {function}: the service is disabled or lacks the function, the token has expired or is "
        "bound to another network address, or its user is not authorised for the service or lacks "
        "'webservice/rest:use'.",
        f"Look at the service, its functions and users under {EXTERNAL_SERVICES}, at the token and at the role.",
    ),
    "wsaccessusersuspended": (
        "The Moodle account of the token is suspended.",
        f"Activate it under {USERS}.",
    ),
    "wsaccessuserdeleted": (
        "The Moodle account of the token was deleted.",
        f"Make another account, and a token of it under {TOKENS}.",
    ),
    "wsaccessuserexpired": _EXPIRED,
    "wsaccessusernologin": (
        "The Moodle account of the token is one that nobody can log in with ('No login').",
        f"Choose 'Web services authentication' for it under {USERS}.",
    ),
    "wsaccessuserunconfirmed": _UNCONFIRMED,
    "passwordisexpired": _EXPIRED,
    "forcepasswordchangenotice": ("The Moodle account must change its password first.", "Log in once."),
    "nopasswordchangeforced": (
        "The Moodle account must change its password first, and cannot.",
        f"Untick 'Force password change' for it under {USERS}.",
    ),
    "usernotfullysetup": ("The profile of the Moodle account is not filled in.", f"Fill it in under {USERS}."),
    "usernotconfirmed": _UNCONFIRMED,
    "sitepolicynotagreed": (
        "The Moodle account has not agreed to the site policy.",
        "Log in once as that account and agree to it.",
    ),
    "enablewsdescription": (
        "Web services are switched off in Moodle.",
        f"Switch them on under {FEATURES}.",
    ),
    "servicenotavailable": (
        "Moodle has no such web service, or it is disabled.",
        f"Check MOODLE_SERVICE against the short name under {EXTERNAL_SERVICES}.",
    ),
    "invalidlogin": (
        "Moodle does not accept the user name and password, or the account is suspended.",
        "Check MOODLE_USERNAME and MOODLE_PASSWORD.",
    ),
    "usernotallowed": (
        "The Moodle account may not use this web service.",
        f"Add it under {EXTERNAL_SERVICES} > Authorised users.",
    ),
    "missingparam": ("Moodle's login needs user name, password and service.", "Fill in all three settings."),
}
# These may be about one course, or one function.
_RIGHTS: Mapping[str, tuple[str, str]] = {
    "errorcoursecontextnotvalid": _NO_ENTRY,
    "requireloginerror": _NO_ENTRY,
    "notingroup": (
        "The course separates groups and the Moodle account is in none of them.",
        "Give its role 'moodle/site:accessallgroups'.",
    ),
    "nopermissiontoviewgrades": (
        "The Moodle account may not see grades.",
        "Give its role 'moodle/grade:viewall' and 'gradereport/user:view'.",
    ),
    "cannotviewreport": (
        "The Moodle account may not see the grade report.",
        "Give its role 'gradereport/user:view' and 'moodle/grade:viewall'.",
    ),
    "nopermissions": ("The Moodle account lacks a capability for {function}.", "Give its role {capability}."),
}
_DENIED = {**_ACCOUNT, **_RIGHTS}

_CLOSED: Mapping[str, str] = {
    "sitemaintenance": "Moodle is in maintenance.",
    "upgraderunning": "Moodle is being upgraded.",  # the whole site says so until the upgrade has ended
}
UNSHOWABLE = "invalidresponse"
"""The code of an answer that Moodle cannot give for a value in it, which it does not name."""
_BARRED = {"errorcoursecontextnotvalid", "requireloginerror"}
_POLICY = re.compile(r"/(?:user|admin/tool)/policy\b")
_WORD = re.compile(r"[a-z][a-z0-9_]{1,59}")
_PASSING = {
    "dmlreadexception",
    "dmlwriteexception",
    "dmlconnectionexception",
    "dbconnectionfailed",
    "storedfilecannotread",
}
REPAIR = (
    "Most often it is a '<' in the name of an account, which an import brought in. Look for it in Moodle under "
    f"{USERS}: correct the name and save the account once."
)
REPAIR_CONTACT = (
    "Most often a teacher of a course has a '<' in the name, which an import brought in. Look for the account in "
    f"Moodle under {USERS}: correct the name and save the account once. Moodle keeps such names for an hour: wait "
    f"or purge its caches ({CACHES}). Instead, empty the setting {CONTACTS}."
)
COURSES = "core_course_get_courses_by_field"  # whose rows hold the names of teachers
_DATABASE = "If this stays, let whoever runs Moodle look at its database."
# Said of who was asked about; that the account itself is not confirmed is what the login says. "nopermission" is
# about the work of somebody who is suspended in the course, or not in it.
_ABOUT_ONE_PERSON = {"invaliduser", "userdeleted", "usernotincourse", "usernotenroled", "suspended"}
_ABOUT_ONE_PERSON |= {"usernotconfirmed", "guestsarenotallowed", "nopermission"}


def answer_error(function: str, answer: Answer, *, now: float, known: bool = False) -> AdaptorError | None:
    """Return the error that the HTTP status alone tells, or None for a 200.

    `known`: this Moodle is known to answer well. Then a 403 that says something comes from somebody before it, a
    firewall for one: Moodle's own is empty.
    """
    if answer.status == 200:
        return None
    about: dict[str, Any] = {"system": "Moodle", "operation": function, "status": answer.status}
    wait = retry_after(answer.headers, now=now)
    if answer.status == 403 and known and answer.body.strip():
        return web_page(function, answer.status)
    if answer.status == 403:
        remedy = f"Switch on web services ({FEATURES}) and the REST protocol"
        remedy += f" ({PROTOCOLS})."
        return AccessDenied("Moodle's web services or their REST protocol are off.", remedy=remedy, **about)
    if answer.status == 404:
        remedy = "Check that MOODLE_URL is the address of Moodle's front page."
        return AccessDenied("There is no Moodle web service at this address.", remedy=remedy, **about)
    if answer.status == 503 and wait is not None and wait >= MAINTENANCE_WAIT:
        return Maintenance("Moodle is in maintenance.", retry_after=wait, **about)
    if answer.status in (408, 429) or answer.status >= 500:
        return Retriable(f"Moodle answers {function} with status {answer.status}.", retry_after=wait, **about)
    return Unexpected(f"Moodle answers {function} with status {answer.status}.", **about)


def web_page(function: str, status: int) -> WebPage:
    """Return the error for a page in the place of an answer, of which nothing is told."""
    return WebPage(
        "Moodle's address answers with a web page at the moment (maintenance, a firewall or a login page).",
        system="Moodle",
        operation=function,
        status=status,
        remedy="If this stays, check MOODLE_URL.",
    )


def page_of_one(function: str, status: int | None) -> WebPage:
    """Return the error for a page in the place of one function's answer, where Moodle answers others."""
    return WebPage(
        f"Moodle answers {function} with a web page instead of data (an error message, or a firewall's).",
        system="Moodle",
        operation=function,
        status=status,
        remedy="If this stays, let whoever runs Moodle look into its logs.",
    )


def exception_error(function: str, data: Mapping[str, Any]) -> AdaptorError:
    """Return the error for an answer with the key `exception`.

    Decided by `errorcode`: class names differ between versions, and Moodle's message may quote data.
    """
    code = _code(data.get("errorcode"))
    about: dict[str, Any] = {"system": "Moodle", "operation": function, "status": 200, "code": code}
    if code in _CLOSED:
        return Maintenance(_CLOSED[code], **about)
    if code in _PASSING:
        return NoAnswer(f"Moodle has trouble with its database ({code}).", remedy=_DATABASE, **about)
    if code in _ABOUT_ONE_PERSON:
        return Refused(f"Moodle refuses this person ({code}).", **about)
    if code in _BARRED and _POLICY.search(str(data.get("message", ""))):
        code = about["code"] = "sitepolicynotagreed"  # inside of which Moodle says it in the site's language
    if code in _DENIED:
        return _denied(code, about)
    if code == "invalidrecord" and "external_functions" in str(data.get("message", "")):
        return AccessDenied(
            f"This Moodle does not know {function}.", remedy="It may be older than Moodle 4.1.", **about
        )
    if code == "invalidrecord":
        return Refused("Moodle has no such course or record.", **about)
    if code == UNSHOWABLE:
        return Unexpected(
            f"Moodle cannot send its answer to {function} ('{code}'): a value in it is not valid.",
            remedy=REPAIR_CONTACT if function == COURSES else f"{REPAIR} It may also be the name of a group.",
            **about,
        )
    return Unexpected(f"Moodle answers {function} with the error '{code or 'without a code'}'.", **about)


def login_error(code: str) -> AdaptorError:
    """Return the error for a refusal of `login/token.php`, which has a shape of its own."""
    code = _code(code)
    about: dict[str, Any] = {"system": "Moodle", "operation": "login/token.php", "status": 200, "code": code}
    if code in _CLOSED:
        return Maintenance(_CLOSED[code], **about)
    if code in _PASSING:
        return NoAnswer(f"Moodle has trouble with its database ({code}).", remedy=_DATABASE, **about)
    if code in _DENIED:
        return _denied(code, about)
    return Unexpected(f"Moodle's login answers with the error '{code or 'without a code'}'.", **about)


def file_error(operation: str, status: int, code: str) -> AdaptorError:
    """Return the error for an answer of `webservice/pluginfile.php` that is no file but JSON, mostly with 200."""
    code = _code(code)
    about: dict[str, Any] = {"system": "Moodle", "operation": operation, "status": status, "code": code}
    if code in _CLOSED:
        return Maintenance(_CLOSED[code], **about)
    if code in _PASSING:
        return NoAnswer(f"Moodle has trouble with its files or its database ({code}).", remedy=_DATABASE, **about)
    if code == "filenotfound":
        return Refused("Moodle has no such file (any more).", **about)
    if code == "accessexception":
        remedy = f"Tick 'Can download files' in the service, under {EXTERNAL_SERVICES} > Edit."
        return AccessDenied("Moodle gives no files to this account.", remedy=remedy, **about)
    if code in _DENIED:
        return _denied(code, about)
    return Unexpected(f"Moodle gives an error in place of a file ('{code or 'without a code'}').", **about)


def policy_error(function: str, message: str) -> AccessDenied | None:
    """Return the error for a message that leads to a site policy, in whatever language, and None for others."""
    about = {"system": "Moodle", "operation": function, "status": 200, "code": "sitepolicynotagreed"}
    return _denied("sitepolicynotagreed", about) if _POLICY.search(message) else None


def is_for_all(error: AdaptorError) -> bool:
    """Say whether Moodle refuses everything, closed or shut to the account, so that all other courses fail too."""
    return isinstance(error, Maintenance) or (isinstance(error, AccessDenied) and error.code in _ACCOUNT)


def _code(text: object) -> str:
    """Return Moodle's word for an error; plugins put free text there, and free text may quote a person."""
    return str(text) if _WORD.fullmatch(str(text or "")) else ""


def _denied(code: str, about: Mapping[str, Any]) -> AccessDenied:
    message, remedy = _DENIED[code]
    function = str(about["operation"])
    known = BY_NAME.get(function)
    # Moodle's own words for 'nopermissions' are translated into the site's language.
    capability = (known and known.refuses) or "the capability the function needs"
    words = {"function": function, "capability": capability}
    return AccessDenied(message.format(**words), remedy=remedy.format(**words), **about)
