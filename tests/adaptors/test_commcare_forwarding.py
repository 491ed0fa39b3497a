"""What CommCare forwards: cases and forms become ids, our own writes come back as nothing."""

from __future__ import annotations

from typing import Any

import pytest

from adaptors.commcare.forwarding import Ourselves, read_forwarded
from adaptors.posted import NotUnderstood, Posted
from tests.forwarded import CASE, CLOSED, FORM, OUR_FORM, SHORT

US = Ourselves("demo-space", "sync@example.org", frozenset({"ours0815"}))


def read(body: dict[str, Any], **changes: Any) -> list[Posted]:
    """Read a post with some of it changed."""
    return read_forwarded({**body, **changes}, US)


def test_a_case_is_its_id_and_its_last_form() -> None:
    """Nothing of its properties is kept."""
    (found,) = read(CASE)
    assert ("commcare", "case", "c-1", "f-1", 1795946401.5) == (
        found.source,
        found.event,
        found.case_id,
        found.form_id,
        found.occurred_at,
    )
    assert "Qanary" not in repr(found)


def test_a_closed_case_is_one_like_others() -> None:
    """The latest of its forms names the change, whatever the case has become."""
    (found,) = read(CLOSED)
    assert ("c-1", "f-2", 1795946702.000001) == (found.case_id, found.form_id, found.occurred_at)


def test_a_form_is_each_of_its_cases_once() -> None:
    """Case blocks are found wherever the form has them; a time without a zone is UTC."""
    assert read(FORM) == read(FORM, received_on="2026-11-29T10:00:02.000000")
    found = read(FORM)
    assert [("form", "c-1", "f-9"), ("form", "c-2", "f-9")] == [
        (one.event, one.case_id, one.form_id) for one in found
    ]
    assert {1795946402.0} == {one.occurred_at for one in found}
    assert "Qanary" not in repr(found)


def test_a_form_in_short() -> None:
    """It has the ids already."""
    found = read_forwarded(SHORT, US)
    assert [("c-1", "f-9"), ("c-2", "f-9")] == [(one.case_id, one.form_id) for one in found]


def test_twice_the_same_has_one_mark() -> None:
    """A repeated post is the same; the next change of a case is another."""
    assert read(CASE) == read(CASE, properties={})
    marks = {one.mark for one in [*read(CASE), *read(CASE, xform_ids=["f-1", "f-2", "f-3"]), *read(FORM)]}
    assert 4 == len(marks)


@pytest.mark.parametrize(
    "echo",
    [
        {**CASE, "user_id": "ours0815"},
        OUR_FORM,
        {**OUR_FORM, "metadata": {**OUR_FORM["metadata"], "userID": "x", "username": "x"}},
        {**FORM, "metadata": {"deviceID": "moodle-commcare/0.1 batch=20261129-1"}},
        {**FORM, "metadata": {"username": "Sync@Example.org"}},
        {**FORM, "metadata": {"userID": "ours0815"}},
    ],
    ids=[
        "case of our user",
        "form of ours",
        "form of nothing but our device",
        "form of our device",
        "form of our name",
        "form of our user",
    ],
)
def test_what_we_wrote_ourselves_is_nothing(echo: dict[str, Any]) -> None:
    """It is known by the user id that a setting names, by our User-Agent, or by our user name."""
    assert [] == read_forwarded(echo, US)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "case_id"),
        ({**CASE, "case_id": ""}, "case_id"),
        ({**CASE, "case_id": "Qanary case"}, "case_id"),
        ({**CASE, "case_id": "c" * 256}, "case_id"),
        ({**CASE, "server_date_modified": "Qanary"}, "server_date_modified"),
        ({**CASE, "server_date_modified": None}, "server_date_modified"),
        ({**CASE, "xform_ids": "f-1"}, "xform_ids"),
        ({**CASE, "domain": "other"}, "project space"),
        ({**FORM, "domain": "other"}, "project space"),
        ({**FORM, "form": "Qanary"}, "form"),
        ({"form_id": "f", "case_ids": "c"}, "case_ids"),
    ],
)
def test_what_is_neither_is_refused(body: dict[str, Any], named: str) -> None:
    """The sentence names what is wrong and repeats nothing."""
    with pytest.raises(NotUnderstood) as caught:
        read_forwarded(body, US)
    assert (True, False) == (named in str(caught.value), "Qanary" in str(caught.value))


def test_a_form_with_a_thousand_cases_is_bounded() -> None:
    """So many of one form cannot be our business; ids that are none are passed over."""
    blocks = [{"@case_id": f"c-{number}"} for number in range(1000)]
    assert 500 == len(read(FORM, form={"case": blocks}))
    assert [] == read(FORM, form={"case": [{"@case_id": "a b"}, {"@case_id": 7}, {"@case_id": "x" * 300}]})
