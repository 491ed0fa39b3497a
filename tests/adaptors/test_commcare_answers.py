"""CommCare's answers: which error each means, which rows a refusal names, and that no secret is in any."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from adaptors.commcare.answers import CaseObject, match_replies, rows_refused
from adaptors.commcare.cases import MAX_LENGTH, IndexWrite, RowsRefused
from adaptors.errors import AccessDenied, AdaptorError, InDoubt, NoAnswer, NotSent, Refused, Retriable, Unexpected
from tests.adaptors.commcare_world import API_KEY, PASSWORD, always, case_json, client_of, new_world, row


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Let reads be tried again at once."""
    with stamina.set_testing(True, attempts=5):
        yield


async def failure_of_write(response: httpx.Response, *rows: Any) -> AdaptorError:
    """Return the error of a write that is answered in this way."""
    client = client_of(always(response))
    with pytest.raises(AdaptorError) as caught:
        await client.write_cases(rows or [row()], batch="b1")
    assert 1 == client.requests["write"]
    return caught.value


async def failure_of_read(response: httpx.Response) -> AdaptorError:
    """Return the error of a look-up that is answered in this way."""
    with pytest.raises(AdaptorError) as caught:
        await client_of(always(response)).case_by_external_id("site-user-1")
    return caught.value


# --- what the answers to a write mean -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "0.37"}, 1.0), ({"Retry-After": "41.2"}, 42.0), ({}, 1.0)]
)
async def test_a_refusal_for_too_many_requests_is_certainly_not_applied(
    headers: dict[str, str], seconds: float
) -> None:
    """An empty 429 says how long to wait in decimals, or not at all."""
    error = await failure_of_write(httpx.Response(429, headers=headers))
    assert Retriable is type(error)
    assert seconds == error.retry_after


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(401), ["COMMCARE_USERNAME", "COMMCARE_API_KEY", "API Keys"]),
        (
            httpx.Response(401, json={"error": "must send X-COMMCAREHQ-OTP header"}),
            ["two-factor", "COMMCARE_API_KEY"],
        ),
        (
            httpx.Response(401, json={"error": "maximum password attempts exceeded"}),
            ["locked", "COMMCARE_API_KEY"],
        ),
        (httpx.Response(402, html="<html>Upgrade</html>"), ["plan", "COMMCARE_DOMAIN"]),
        (httpx.Response(403), ["COMMCARE_USERNAME", "member", "Edit Data", "Access APIs"]),
        (httpx.Response(403, html="<html>"), ["COMMCARE_DOMAIN", "Edit Data"]),
        (
            httpx.Response(403, json={"error": "No permission to access following owner ids: 1"}),
            ["COMMCARE_USERNAME", "Full Organization Access"],
        ),
        (httpx.Response(404, html="<html>"), ["COMMCARE_DOMAIN", "COMMCARE_URL"]),
        (httpx.Response(301, headers={"Location": "https://x"}), ["COMMCARE_URL"]),
    ],
)
async def test_what_a_person_must_switch_on_is_named(response: httpx.Response, words: list[str]) -> None:
    """Each refusal of access says which setting or role to look at, for reads and writes alike."""
    for error in (await failure_of_write(response), await failure_of_read(response)):
        assert AccessDenied is type(error)
        assert [] == [word for word in words if word not in str(error)]


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, html="<html>"),
        httpx.Response(502, html="<html>"),
        httpx.Response(503),
        httpx.Response(504, html="<html>"),
        httpx.Response(418),
        httpx.Response(200, html="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"form_id": "f", "cases": [{"case_id": "case-1"}]}),
        httpx.Response(200, json={"form_id": "f", "cases": []}),
        httpx.Response(200, json={"form_id": "f", "cases": [case_json(external_id="another")]}),
        httpx.Response(200, json={"form_id": "f", "cases": [case_json(case_id="1"), case_json(case_id="2")]}),
        httpx.Response(200, json={"form_id": "f", "cases": [case_json(properties=["city"])]}),
        httpx.Response(200, content=b"[" * 100_000),
    ],
)
async def test_an_answer_that_proves_nothing_leaves_the_write_in_doubt(response: httpx.Response) -> None:
    """Server errors and successes that cannot be read or lack a row say nothing certain."""
    assert InDoubt is type(await failure_of_write(response))


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.RemoteProtocolError]
)
async def test_a_lost_answer_leaves_the_write_in_doubt(error: type[httpx.TransportError]) -> None:
    """What went out and was not answered may have taken effect; it is not sent again."""

    def lose(request: httpx.Request) -> httpx.Response:
        raise error("canary", request=request)

    client = client_of(lose)
    with pytest.raises(InDoubt):
        await client.write_cases([row()], batch="b1")
    assert 1 == client.requests["write"]


async def test_a_refused_connection_is_certainly_not_applied() -> None:
    """What never left may be sent again at once."""
    world = new_world()
    world.fake.fail_next("refused")
    with pytest.raises(NotSent):
        await world.client.write_cases([row()], batch="b1")


async def test_a_reply_lost_after_the_write_is_in_doubt_and_can_be_repeated() -> None:
    """Repeating an upsert later finds the case that the lost one made."""
    world = new_world()
    world.fake.drop_reply_after_commit()
    with pytest.raises(InDoubt):
        await world.client.write_cases([row()], batch="b1")
    await world.client.write_cases([row()], batch="b2")
    assert 1 == len(world.project.by_external_id("site-user-1"))


async def test_trouble_halves_the_slots() -> None:
    """Too many requests for CommCare means fewer at a time from here."""
    world = new_world()
    world.fake.fail_next("429")
    with pytest.raises(Retriable):
        await world.client.write_cases([row()], batch="b1")
    assert 1 == world.client._connection.pace.slots


# --- refused rows ---------------------------------------------------------------------------------------

THREE = (
    row("site-user-1"),
    row("site-user-2", case_id="case-2"),
    row("site-user-3", indices=(IndexWrite("parent", "student", "case-9", "child"),)),
)


@pytest.mark.parametrize(
    ("text", "rows", "code", "named"),
    [
        (
            "Error in row 1: Error with case property 'a'. Values must be strings, received '5'; "
            "Error in row 3: 'x' is not a valid field.",
            {0: "wrong_type", 2: "illegal_property_name"},
            "refused",
            (),
        ),
        ("Error in row 2: Property case_name is required.", {1: "refused"}, "refused", ()),
        ("Error in row 0: x; Error in row 4: y; Error in row 99999999: z", {}, "refused", ()),
        ("No case found with ID 'case-2'", {1: "target_deleted"}, "target_deleted", ("case-2",)),
        ("No case found with ID 'elsewhere'", {}, "target_deleted", ()),
        (
            "There are multiple cases with external_id site-user-1",
            {0: "duplicate_external_id"},
            "duplicate_external_id",
            ("site-user-1",),
        ),
        ("There are multiple cases with external_id site-user-12", {}, "duplicate_external_id", ()),
        ("Could not find a case with external_id 'x'", {}, "unknown_parent", ()),
        (
            "InvalidCaseIndex: Case 'c' references non-existent case 'case-9'",
            {2: "unknown_parent"},
            "unknown_parent",
            ("case-9",),
        ),
        (
            "CaseValueError: Error processing case update: Field: name, Error: Value exceeds allowed length: 255",
            {},
            "value_too_long",
            (),
        ),
        ("Not all owner_ids are real owner_ids in the project", {}, "unknown_owner", ()),
        ("said 'Error in row 1: '", {}, "refused", ()),
        ("", {}, "refused", ()),
    ],
)
def test_the_text_of_a_refusal_becomes_rows_and_codes(
    text: str, rows: dict[int, str], code: str, named: tuple[str, ...]
) -> None:
    """Rows are those that the text lists, or those that use the id it names."""
    error = rows_refused(text, THREE, status=400)
    assert (rows, code, named) == (error.rows, error.code, error.named)


@given(st.text())
def test_any_text_of_a_refusal_names_only_rows_that_exist(text: str) -> None:
    """Whatever CommCare writes, the rows are ours and the text is not kept."""
    error = rows_refused("Error in row 2: " + text, THREE, status=400)
    assert set(error.rows) <= {0, 1, 2}
    assert len(str(error)) < 120


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(400, html="<html>"), "refused"),
        (httpx.Response(413, html="<html>"), "request_too_large"),
        (httpx.Response(422), "refused"),
    ],
)
async def test_a_refusal_without_a_reason_names_no_row(response: httpx.Response, code: str) -> None:
    """Certainly not applied, and CommCare does not say why: the caller looks for the row."""
    error = await failure_of_write(response)
    assert isinstance(error, RowsRefused)
    assert ({}, code, response.status_code) == (error.rows, error.code, error.status)


async def test_the_fake_and_the_client_agree_on_a_refused_row() -> None:
    """One bad row refuses all, and is found by its place."""
    world = new_world()
    world.fake.refuse_row("site-user-2", "Error with case property 'x'. Values must be strings, received '5'")
    with pytest.raises(RowsRefused) as caught:
        await world.client.write_cases([row(), row("site-user-2")], batch="b1")
    assert {1: "wrong_type"} == caught.value.rows
    assert {} == world.project.cases


async def test_a_case_deleted_by_hand_is_named() -> None:
    """An update of a case that is gone names the row, by the id in the text."""
    world = new_world()
    case = world.project.add_case("student", "Ama")
    world.project.delete_case(case.case_id)
    with pytest.raises(RowsRefused) as caught:
        await world.client.write_cases([row("site-user-0"), row(case_id=case.case_id)], batch="b1")
    assert ({1: "target_deleted"}, (case.case_id,)) == (caught.value.rows, caught.value.named)


def test_replies_are_matched_by_what_was_sent() -> None:
    """A known case is found by its id whatever its external id has become; a missing one is None."""
    cases = [CaseObject(**case_json(case_id="case-2", external_id="x")), CaseObject(**case_json(case_id="new"))]
    assert ["new", "case-2", None] == [found and found.case_id for found in match_replies(THREE, cases)]


async def test_a_property_that_is_no_text_does_not_spoil_the_answer() -> None:
    """A phone's form may leave an object in a case that we write to; what was written is not in doubt for it."""
    odd = {"visit": {"@date": "2026-11-29", "#text": "yes"}, "note": None, "language": "tw"}
    written = {"form_id": "f-1", "cases": [case_json(properties=odd)]}
    (reply,) = await client_of(always(httpx.Response(200, json=written))).write_cases([row()], batch="b1")
    assert reply is not None
    visit, note, language = (reply.properties[name] for name in odd)
    assert (True, "", "tw") == ("2026-11-29" in visit, note, language)


# --- what the answers to a read mean --------------------------------------------------------------------


async def test_another_case_than_the_one_asked_for_is_not_believed() -> None:
    """An answer about somebody else is no answer."""
    error = await failure_of_read(httpx.Response(200, json=case_json(external_id="site-user-2")))
    assert Unexpected is type(error)


@pytest.mark.parametrize(
    ("response", "family"),
    [
        (httpx.Response(429), Retriable),
        (httpx.Response(408), NoAnswer),
        (httpx.Response(503, html="<html>"), NoAnswer),
        (httpx.Response(400, json={"error": "'x' is not a valid parameter."}), Refused),
        (httpx.Response(405, json={"error": "Request method not allowed"}), Unexpected),
        (httpx.Response(200, html="<html>"), Unexpected),
        (httpx.Response(200, json={"cases": []}), Unexpected),
    ],
)
async def test_the_status_of_a_read_decides_its_error(response: httpx.Response, family: type) -> None:
    """Bodies are not looked at before the status."""
    assert family is type(await failure_of_read(response))


@pytest.mark.parametrize("name", ["case_id", "external_id"])
async def test_an_id_is_no_longer_than_commcare_has_room_for(name: str) -> None:
    """Whoever reads a number out of one need not fear thousands of digits."""

    async def listed(length: int) -> list[str | None]:
        page = {"matching_records": 1, "cases": [case_json(**{name: "1" * length})], "next": None}
        client = client_of(always(httpx.Response(200, json=page)))
        return [getattr(case, name) async for case in client.list_cases("student")]

    assert ["1" * MAX_LENGTH] == await listed(MAX_LENGTH)
    with pytest.raises(Unexpected, match="does not have the promised shape"):
        await listed(MAX_LENGTH + 1)


# --- secrets --------------------------------------------------------------------------------------------

SECRETS = (API_KEY, PASSWORD, "Kumasi", "Ama Owusu")
ECHO = {"error": f"Error in row 1: received 'Kumasi' of Ama Owusu with {API_KEY} {PASSWORD}"}


@pytest.mark.parametrize("credentials", [{}, {"api_key": "", "password": PASSWORD}])
@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 413, 418, 429, 500, 504, None])
async def test_no_secret_and_no_value_leaves_the_client(
    status: int | None, credentials: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither key, password nor a person's value is in any error or log line, even when the server echoes it."""

    def echo(request: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ReadTimeout(str(ECHO), request=request)
        return httpx.Response(status, json=ECHO)

    caplog.set_level(logging.DEBUG)
    client = client_of(echo, **credentials)
    texts = []
    for attempt in (
        client.write_cases([row()], batch="b1"),
        client.case_by_external_id("site-user-1"),
        client.count_cases("student"),
        client.probe_upsert(),
        client.owners.resolve("user", "ama"),
    ):
        try:
            await attempt
        except AdaptorError as error:
            texts += [str(error), repr(error), repr(error.args), repr(vars(error))]
            texts += traceback.format_exception(error)
    texts += [str(record.__dict__) for record in caplog.records]
    assert texts
    assert [] == [secret for secret in SECRETS if any(secret in text for text in texts)]


def test_rows_and_replies_do_not_show_values() -> None:
    """The text form of what is written and read holds ids only."""
    shown = repr(row()) + repr(CaseObject(**case_json()).reply())
    assert [] == [secret for secret in SECRETS if secret in shown]
