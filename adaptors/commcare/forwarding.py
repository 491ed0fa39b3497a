"""What CommCare forwards to us: cases and forms, of which only ids and times are kept.

A case as JSON (always the whole case), a form as JSON, or a form in short (`form_id`, `case_ids`). It comes in no
order and maybe twice, and what we write ourselves comes back too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adaptors.lists import ListOf
from adaptors.posted import NotUnderstood, Posted, mark_of, wrong_fields

SOURCE = "commcare"
CASE, FORM = "case", "form"
AGENT = "moodle-commcare/"
"""How our own User-Agent begins, which CommCare keeps as the device of a form made through its API."""
DEPTH, MOST_CASES = 40, 500  # of one form
IS_ID = re.compile(r"[\x21-\x7e]{1,255}")
Id = Annotated[str, Field(pattern=f"^{IS_ID.pattern}$")]


def _with_zone(value: Any) -> Any:
    """Take a time without a zone for UTC, as CommCare means it."""
    return f"{value}Z" if isinstance(value, str) and len(value) > 10 and value[-1:].isdigit() else value


Moment = Annotated[AwareDatetime, BeforeValidator(_with_zone)]


@dataclass(frozen=True)
class Ourselves:
    """By what our own writes are known when they come back: project space, user name (lower case), user ids."""

    domain: str
    username: str
    user_ids: Collection[str] = ()


class _Posted(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _Case(_Posted):
    """A case of the API v0.5; the id of the user is of who changed it last."""

    domain: str
    case_id: Id
    user_id: str | None = None
    server_date_modified: Moment
    xform_ids: ListOf[Id] = []


class _Short(_Posted):
    form_id: Id
    received_on: Moment | None = None
    case_ids: ListOf[Id]


class _Metadata(_Posted):
    deviceID: str | None = None
    username: str | None = None
    userID: str | None = None


class _Form(_Posted):
    """A form as CommCare's form API gives it."""

    domain: str
    id: Id
    form: dict[str, Any]
    metadata: _Metadata | None = None
    received_on: Moment | None = None


def read_forwarded(body: Mapping[str, Any], us: Ourselves) -> list[Posted]:
    """Return what a post tells, a case each; nothing when it is an echo of ours. Raises NotUnderstood.

    Also raises it for another project space; a form in short does not name one.
    """
    try:
        if "case_ids" in body:
            return _of_short(_Short.model_validate(body))
        if "form" in body:
            return _of_form(_Form.model_validate(body), us)
        return _of_case(_Case.model_validate(body), us)
    except ValidationError as error:
        fields = wrong_fields(error)
    raise NotUnderstood(f"Neither a case nor a form of CommCare: {fields} missing or wrong.")


def _of_case(case: _Case, us: Ourselves) -> list[Posted]:
    _same_space(case.domain, us)
    if case.user_id in us.user_ids:
        return []
    at = _epoch(case.server_date_modified)
    form = case.xform_ids[-1] if case.xform_ids else ""
    return [Posted(SOURCE, CASE, mark_of(CASE, case.case_id, at, form), at, case_id=case.case_id, form_id=form)]


def _of_short(short: _Short) -> list[Posted]:
    return list(_of_cases(short.case_ids, short.form_id, _epoch(short.received_on)))


def _of_form(form: _Form, us: Ourselves) -> list[Posted]:
    _same_space(form.domain, us)
    about = form.metadata or _Metadata()
    ours = (about.deviceID or "").startswith(AGENT) or (about.username or "").lower() == us.username
    if ours or about.userID in us.user_ids:
        return []
    return list(_of_cases(_case_ids(form.form), form.id, _epoch(form.received_on)))


def _of_cases(case_ids: Collection[str], form_id: str, at: float) -> Iterator[Posted]:
    for case_id in dict.fromkeys(case_ids):
        yield Posted(SOURCE, FORM, mark_of(FORM, case_id, form_id), at, case_id=case_id, form_id=form_id)


def _case_ids(form: Mapping[str, Any]) -> list[str]:
    """Return the ids of the case blocks of a form, wherever they stand in it, 500 at most."""
    found: dict[str, None] = {}
    level: list[Any] = [form]
    for _ in range(DEPTH):
        inside: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                case_id = node.get("@case_id")
                if isinstance(case_id, str) and IS_ID.fullmatch(case_id):
                    found[case_id] = None
                inside += node.values()
            elif isinstance(node, list):
                inside += node
        level = [node for node in inside if isinstance(node, dict | list)]
        if not level:
            break
    return list(found)[:MOST_CASES]


def _same_space(domain: str, us: Ourselves) -> None:
    if domain != us.domain:
        raise NotUnderstood("This is about another project space than COMMCARE_DOMAIN.")


def _epoch(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.astimezone(UTC).timestamp()
