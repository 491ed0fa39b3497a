"""The CommCare client: what it puts on the wire, and which error each answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import respx
import stamina

from adaptors.circuit import AT_LEAST, FAILURES
from adaptors.commcare.cases import IndexWrite, RowsRefused, is_property_name
from adaptors.commcare.connection import Account, Connection
from adaptors.errors import AccessDenied, CircuitOpen, InDoubt, NoAnswer, NotSent, Refused, Retriable, Unexpected
from tests.adaptors.commcare_world import (
    API_KEY,
    DOMAIN,
    PASSWORD,
    URL,
    USERNAME,
    StillClock,
    always,
    case_json,
    client_of,
    new_world,
    row,
)

CASES = f"{URL}/a/{DOMAIN}/api/case/v2/"


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Let reads be tried again at once."""
    with stamina.set_testing(True, attempts=5):
        yield


# --- what goes over the wire ----------------------------------------------------------------------------


@respx.mock
async def test_a_bulk_goes_out_as_one_list_of_upserts_and_updates() -> None:
    """Unknown cases are upserts with an explicit null, known ones updates of what changed."""
    route = respx.post(CASES).respond(
        json={"form_id": "f", "cases": [case_json(case_id="known", external_id="renamed by hand"), case_json()]}
    )
    student = IndexWrite("student", "student", "parent-1", "child")
    rows = [
        row(indices=(student,)),
        row("site-user-2", case_id="known", name=None, owner_id=None, properties={"city": "Accra"}, close=True),
    ]
    replies = await client_of(None).write_cases(rows, batch="run-9/b1")
    sent = route.calls.last.request
    expected = [
        {
            "create": None,
            "external_id": "site-user-1",
            "case_name": "Ama Owusu",
            "case_type": "student",
            "owner_id": "owner-1",
            "properties": {"city": "Kumasi"},
            "indices": {"student": {"case_id": "parent-1", "case_type": "student", "relationship": "child"}},
        },
        {
            "create": False,
            "case_id": "known",
            "case_type": "student",
            "properties": {"city": "Accra"},
            "close": True,
        },
    ]
    assert expected == json.loads(sent.content)
    assert "moodle-commcare/0.1 batch=run-9/b1" == sent.headers["User-Agent"]
    assert f"ApiKey {USERNAME}:{API_KEY}" == sent.headers["Authorization"]
    assert ["case-1", "known"] == [reply.case_id for reply in replies if reply]


@pytest.mark.parametrize("secret", [{"api_key": API_KEY}, {"api_key": "", "password": PASSWORD}])
async def test_a_user_name_in_capitals_signs_in(secret: dict[str, str]) -> None:
    """CommCare keeps the names of web users in lower case, whichever way one signs in."""
    client = client_of(new_world().fake, username=USERNAME.upper(), **secret)
    assert 0 == await client.count_cases("student")


@respx.mock
async def test_a_password_is_sent_as_basic_authentication() -> None:
    """Without an API key, user name and password make the header."""
    route = respx.get(f"{CASES}ext/x/").respond(404, json={"error": "Case 'x' not found"})
    await client_of(None, api_key="", username="a", password="b").case_by_external_id("x")
    assert "Basic YTpi" == route.calls.last.request.headers["Authorization"]


@respx.mock
async def test_an_external_id_is_escaped_whole() -> None:
    """Slashes, question marks, hashes and percent signs of an id do not become parts of the address."""
    route = respx.route(method="GET").respond(404, json={"error": "Case 'x' not found"})
    await client_of(None).case_by_external_id("a/b?c#d%e é")
    expected = f"/a/{DOMAIN}/api/case/v2/ext/a%2Fb%3Fc%23d%25e%20%C3%A9/".encode()
    assert expected == route.calls.last.request.url.raw_path


@respx.mock
async def test_counting_asks_for_one_case() -> None:
    """The number of cases of a type comes with the smallest page there is."""
    route = respx.get(CASES).respond(json={"matching_records": 412, "cases": [{"case_id": "x"}]})
    assert 412 == await client_of(None).count_cases("student")
    assert {"case_type": "student", "limit": "1", "fields": "case_id"} == dict(route.calls.last.request.url.params)


async def test_user_names_are_sent_in_lower_case() -> None:
    """Web users' names are kept in lower case by CommCare, however they are typed."""
    world = new_world()
    client = client_of(world.fake, username=" Sync@Example.org ")
    assert 0 == await client.count_cases("student")


@pytest.mark.parametrize("changes", [{"api_key": "käse"}, {"username": "k\nb"}, {"api_key": "käse b"}])
async def test_a_key_that_no_header_can_carry_is_refused_by_name(changes: dict[str, str]) -> None:
    """A key pasted with strange characters is named by its setting, not shown."""
    with pytest.raises(AccessDenied, match="COMMCARE_") as caught:
        client_of(None, **changes)
    assert not any(value in str(caught.value) for value in changes.values())


# --- writing --------------------------------------------------------------------------------------------


async def test_writing_creates_then_updates() -> None:
    """A new key becomes a case, and its case id updates it."""
    world = new_world()
    [made] = await world.client.write_cases([row()], batch="b1")
    assert made is not None
    [changed] = await world.client.write_cases(
        [row(case_id=made.case_id, name=None, owner_id=None, properties={"city": "Accra"})], batch="b2"
    )
    [case] = world.project.by_external_id("site-user-1")
    assert ("Ama Owusu", "owner-1", {"city": "Accra"}) == (case.case_name, case.owner_id, case.properties)
    assert made.case_id == changed.case_id == case.case_id
    assert {"write": 2} == dict(world.client.requests) == dict(world.fake.requests)


async def test_replies_stand_in_the_order_of_the_rows() -> None:
    """The server answers in any order; each row gets its own case."""
    world = new_world()
    rows = [row(f"site-user-{number}", name=f"Learner {number}") for number in range(100)]
    replies = await world.client.write_cases(rows, batch="b1")
    assert [r.key for r in rows] == [reply.external_id for reply in replies if reply]
    assert [r.name for r in rows] == [reply.name for reply in replies if reply]


async def test_two_rows_of_one_case_share_its_entry() -> None:
    """A case that another key took over by hand is answered once, for both rows."""
    world = new_world()
    case = world.project.add_case("student", "Ama", external_id="site-user-1")
    world.project.set_external_id(case.case_id, "site-user-2")
    replies = await world.client.write_cases([row(case_id=case.case_id), row("site-user-2")], batch="b1")
    assert [case.case_id, case.case_id] == [reply.case_id for reply in replies if reply]


async def test_before_send_runs_once_per_transmission_and_just_before_it() -> None:
    """The books are stamped when a slot is free, not when the row began to wait for one."""
    world = new_world()
    seen: list[int] = []

    async def stamp() -> None:
        seen.append(world.fake.requests["write"])

    await world.client.write_cases([row()], batch="b1", before_send=stamp)
    assert [0] == seen


async def test_nothing_is_sent_when_before_send_fails() -> None:
    """A book that cannot be written keeps the request at home."""
    world = new_world()

    async def broken() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await world.client.write_cases([row()], batch="b1", before_send=broken)
    assert 0 == world.fake.requests["write"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"properties": {"city": "Kum\x00asi"}}, "illegal_characters"),
        ({"properties": {"city": "\ud800"}}, "illegal_characters"),
        ({"name": "\x0b"}, "illegal_characters"),
        ({"key": "a\nb"}, "illegal_characters"),
        ({"name": "x" * 256}, "too_long"),
        ({"key": "x" * 256}, "too_long"),
        ({"properties": {"city": 5}}, "wrong_type"),
        ({"properties": {"case_name": "x"}}, "illegal_property_name"),
        ({"properties": {"2nd": "x"}}, "illegal_property_name"),
        ({"properties": {"_hidden": "x"}}, "illegal_property_name"),
        ({"indices": (IndexWrite("a b", "student", "p", "child"),)}, "illegal_property_name"),
        ({"name": None}, "missing_required"),
        ({"owner_id": ""}, "missing_required"),
        ({"indices": (IndexWrite("parent", "student", "", "child"),)}, "missing_required"),
    ],
)
async def test_a_row_that_commcare_cannot_store_never_leaves(changes: dict[str, Any], code: str) -> None:
    """The row is named before anything is sent: some of these are a 500 there."""
    world = new_world()
    with pytest.raises(RowsRefused) as caught:
        await world.client.write_cases([row("site-user-0"), row(**changes)], batch="b1")
    assert {1: code} == caught.value.rows
    assert 0 == world.fake.requests["write"]


@pytest.mark.parametrize("rows", [[], [row()] * 2, [row(str(n)) for n in range(101)]])
async def test_a_request_that_must_not_be_made_is_an_error_of_ours(rows: list[Any]) -> None:
    """No rows, a key twice (two cases there) and over 100 rows are programming errors."""
    with pytest.raises(ValueError, match="bulk write"):
        await new_world().client.write_cases(rows, batch="b1")


@pytest.mark.parametrize("name", ["city", "größe", "a-b.c", "grade_12", "Imię"])
def test_ordinary_names_are_property_names(name: str) -> None:
    """Letters of any script that CommCare's parser knows, digits, and three signs."""
    assert is_property_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a:b", "1a", "-a", "xmlish", "a/", 'a x="1"', "a><b", "\ud800", "user_id", "Ș"],
)
def test_other_names_are_no_property_names(name: str) -> None:
    """What the parser refuses or CommCare uses for itself; the last letter is newer than its parser."""
    assert not is_property_name(name)


# --- reading --------------------------------------------------------------------------------------------


async def test_a_case_is_found_by_external_id_past_the_search_lag() -> None:
    """The look-up by external id reads the database, not the search."""
    world = new_world(index_lag=3600)
    await world.client.write_cases([row()], batch="b1")
    found = await world.client.case_by_external_id("site-user-1")
    assert found is not None
    assert ("Ama Owusu", {"city": "Kumasi"}, False) == (found.name, found.properties, found.closed)
    assert 0 == await world.client.count_cases("student")


@pytest.mark.parametrize("external_id", ["nobody", "", "x" * 256, "\x00", "\ud800"])
async def test_no_case_is_no_error(external_id: str) -> None:
    """An id that nobody has, or nobody can have, gives None."""
    assert await new_world().client.case_by_external_id(external_id) is None


async def test_several_cases_of_one_external_id_are_a_refusal() -> None:
    """Doubles made by hand are for a person to clean up."""
    world = new_world()
    for _ in range(2):
        world.project.add_case("student", "Ama", external_id="site-user-1")
    with pytest.raises(Refused) as caught:
        await world.client.case_by_external_id("site-user-1")
    assert "duplicate_external_id" == caught.value.code


KINDS = ["429", "429_no_header", "503", "500_html", "504_html", "truncated_json", "timeout", "refused"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_read_is_tried_again(kind: str) -> None:
    """Four failures in a row are survived, and every transmission is counted."""
    world = new_world()
    world.project.add_case("student", "Ama", external_id="site-user-1")
    world.fake.fail_next(kind, times=4, where="get")
    assert await world.client.case_by_external_id("site-user-1") is not None
    assert 5 == world.client.requests["get"] == world.fake.requests["get"]


@pytest.mark.parametrize("body", [b"", b" ", b'{"cases": [', b"[1, 2", b"OK"])
async def test_half_an_answer_to_a_read_is_not_believed(body: bytes) -> None:
    """It may pass, so it is asked for again; in the end it is no answer, and nothing of it is told."""
    client = client_of(always(httpx.Response(200, content=body)))
    with pytest.raises(NoAnswer, match="cut off or not JSON"):
        await client.count_cases("student")
    assert 5 == client.requests["list"]


async def test_listing_follows_the_pages_to_the_empty_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full last page leads to an empty one, and every case comes once."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    for number in range(4):
        world.project.add_case("student", f"Learner {number}", properties={"moodle_key": str(number), "city": "x"})
    world.project.add_case("course", "Other")
    listed = [case async for case in world.client.list_cases("student", fields=["moodle_key"])]
    assert [{"moodle_key": str(number)} for number in range(4)] == [case.properties for case in listed]
    assert 3 == world.client.requests["list"]


async def test_listing_gives_whole_cases_unless_told_otherwise() -> None:
    """Without field names all properties come, closed cases too."""
    world = new_world()
    case = world.project.add_case("student", "Ama", external_id="k", properties={"a": "1", "b": ""})
    world.project.close_case(case.case_id)
    [listed] = [case async for case in world.client.list_cases("student")]
    assert ("k", {"a": "1", "b": ""}, True) == (listed.external_id, listed.properties, listed.closed)


async def test_only_the_children_of_a_case_are_listed() -> None:
    """The name of the index counts as much as the case it names."""
    world = new_world()
    first, other = (world.project.add_case("student", name) for name in ("Ama", "Kofi"))
    made = [world.project.add_case("enrolment", name) for name in ("one", "two", "three")]
    for case, name, parent in zip(made, ("student", "student", "course"), (first, other, first), strict=True):
        case.indices[name] = {"case_id": parent.case_id, "case_type": "student", "relationship": "child"}
    listed = world.client.list_cases("enrolment", fields=["external_id"], child_of=("student", first.case_id))
    assert [made[0].case_id] == [case.case_id async for case in listed]


async def test_an_old_server_lists_whole_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows no `fields` is asked without them then, and only what was asked for is given."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    world.fake.upserts = False
    for number in range(3):
        world.project.add_case("student", f"Learner {number}", properties={"key": str(number), "city": "x"})
    assert 3 == await world.client.count_cases("student")
    listed = [case.properties async for case in world.client.list_cases("student", fields=["key"])]
    assert [{"key": str(number)} for number in range(3)] == listed
    assert (1 + 1 + 2, 400) == (world.client.requests["list"], world.fake.calls[0].status)


async def test_another_refusal_of_a_list_is_one() -> None:
    """Only a parameter that is not known is left out the second time."""
    world = client_of(always(httpx.Response(400, json={"error": "Bad query: what?"})))
    with pytest.raises(Refused):
        await world.count_cases("student")
    assert 1 == world.requests["list"]


async def test_a_dot_in_a_name_is_no_step() -> None:
    """CommCare would look for an object of the name before the dot, and leave the property out."""
    world = new_world()
    world.project.add_case("student", "Ama", properties={"next.due": "2026-12-01", "city": "x"})
    [listed] = [case async for case in world.client.list_cases("student", fields=["next.due"])]
    assert {"next.due": "2026-12-01"} == listed.properties


async def test_a_case_that_changes_while_listing_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed case appears again at the end of the list."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    first, *_ = [world.project.add_case("student", f"Learner {number}") for number in range(3)]
    seen = []
    async for case in world.client.list_cases("student"):
        seen.append(case.case_id)
        if len(seen) == 2:
            world.project.edit_case(first.case_id, city="Accra")
    assert sorted(world.project.cases) == sorted(seen)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.org/a/health-training/api/case/v2/?cursor=x",
        "http://commcare.example.org/a/health-training/api/case/v2/?cursor=x",
        "https://commcare.example.org:8443/a/health-training/api/case/v2/?cursor=x",
        "https://commcare.example.org/a/other/api/case/v2/?cursor=x",
        "https://u@commcare.example.org/a/health-training/api/case/v2/?cursor=x",
        "/a/health-training/api/case/v2/?cursor=x",
        {"cursor": "x"},
    ],
)
async def test_the_list_does_not_lead_elsewhere(address: Any) -> None:
    """Only the place in the list is taken from what CommCare says: the key goes to no other address."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        more = {"next": address} if len(asked) == 1 else {}
        return httpx.Response(200, json={"matching_records": 1, "cases": [case_json()], **more})

    assert 1 == len([case async for case in client_of(answer).list_cases("student")])
    assert [f"{CASES}?cursor=x"] == asked[1:]


@pytest.mark.parametrize("address", ["https://[broken/?cursor=x", "https://commcare.example.org/a/x/", "", {}])
async def test_a_next_page_without_a_place_is_not_understood(address: Any) -> None:
    """Such a listing would begin anew, or not be all."""
    page = {"matching_records": 9, "cases": [case_json()], "next": address}
    client = client_of(always(httpx.Response(200, json=page)))
    with pytest.raises(Unexpected):
        [case async for case in client.list_cases("student")]
    assert 1 == client.requests["list"]


async def test_a_server_that_has_another_name_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy or a tunnel CommCare names its own address for the next page; the list comes whole."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    world.fake.own_name = "https://hq.internal.example.org"
    made = [world.project.add_case("student", f"Learner {number}").case_id for number in range(5)]
    assert sorted(made) == sorted([case.case_id async for case in world.client.list_cases("student")])


async def test_a_list_without_an_end_is_given_up() -> None:
    """Pages that bring nothing new do not go on for ever."""
    page = {"matching_records": 9, "cases": [case_json()], "next": f"{CASES}?cursor=x"}
    client = client_of(always(httpx.Response(200, json=page)))
    with pytest.raises(Unexpected, match="come to an end"):
        [case async for case in client.list_cases("student")]
    assert 4 == client.requests["list"]


@pytest.mark.parametrize("since", [None, 0.0])
@pytest.mark.parametrize("left_out", [0, 2])
async def test_a_list_that_lacks_a_case_is_not_all(
    monkeypatch: pytest.MonkeyPatch, left_out: int, since: float | None
) -> None:
    """CommCare says how many cases there are: fewer on the pages are no list, whichever page is short."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    made = [world.project.add_case("student", f"Learner {number}").case_id for number in range(3)]
    world.fake.leave_out(made[left_out], times=2)  # the first page of a list since a moment comes twice
    with pytest.raises(Retriable, match="listed 2 of 3 cases of type 'student'") as found:
        [case async for case in world.client.list_cases("student", since=since)]
    assert ("CommCare", "list cases", type(found.value)) == (found.value.system, found.value.operation, Retriable)
    world.fake.unlisted.clear()
    assert made == [case.case_id async for case in world.client.list_cases("student", since=since)]


async def test_an_empty_page_is_not_the_end() -> None:
    """A page without cases that names a next one is followed."""
    world = new_world()
    made = world.project.add_case("student", "Ama")
    world.fake.empty_pages()
    assert [made.case_id] == [case.case_id async for case in world.client.list_cases("student")]
    world.fake.empty_pages(9)
    with pytest.raises(Unexpected, match="come to an end"):
        [case async for case in world.client.list_cases("student")]


@pytest.mark.parametrize("change", ["deleted", "closed", "edited", "made"])
async def test_a_list_of_cases_that_change_meanwhile_is_all(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """What is deleted while a list runs is missing in it, rightly; what is closed, edited or made is in it."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    made = [world.project.add_case("student", f"Learner {number}").case_id for number in range(5)]
    changes = {
        "deleted": lambda: world.project.delete_case(made[4]),
        "closed": lambda: world.project.close_case(made[4]),
        "edited": lambda: world.project.edit_case(made[0], city="Accra"),
        "made": lambda: world.project.add_case("student", "New"),
    }
    listed = []
    async for case in world.client.list_cases("student"):
        listed.append(case.case_id)
        if len(listed) == 2:
            changes[change]()
    assert sorted(world.project.cases) == sorted(listed)


async def test_the_probe_knows_new_servers_from_old_ones() -> None:
    """The two refusals differ, and nothing is written."""
    world = new_world()
    assert await world.client.probe_upsert()
    assert ({"probe": 1}, []) == (dict(world.fake.requests), world.project.forms)
    old = httpx.Response(400, json={"error": "Error in row 1: A 'create' flag is required for each update."})
    assert not await client_of(always(old)).probe_upsert()


@pytest.mark.parametrize("response", [httpx.Response(200, json={}), httpx.Response(400, json={"error": "what?"})])
async def test_a_probe_that_tells_nothing_is_unexpected(response: httpx.Response) -> None:
    """Another answer than the two known refusals is not guessed at."""
    with pytest.raises(Unexpected):
        await client_of(always(response)).probe_upsert()


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_check_does_not_try_for_long(attempts: int) -> None:
    """Reads and the probe of a CommCare that cannot be reached end after as many tries as were asked for."""
    world = new_world()
    client = client_of(world.fake, attempts=attempts)
    world.fake.fail_next("refused", times=100, where="any")
    with stamina.set_testing(True, attempts=5, cap=True):
        for ask in (client.probe_upsert, lambda: client.count_cases("student")):
            with pytest.raises(NotSent):
                await ask()
    assert 2 * attempts == sum(client.requests.values())


async def test_a_list_of_what_changed() -> None:
    """Cases that CommCare has not indexed since a moment are left out; a fetch says when each was changed."""
    world = new_world()
    old, new = (world.project.add_case("student", name) for name in ("Old", "New"))
    since = world.project.clock() + 100
    world.project.clock = lambda: since
    world.project.edit_case(new.case_id, city="Kisumu")
    listed = [case.case_id async for case in world.client.list_cases("student", fields=["city"], since=since)]
    found = await world.client.cases_by_id([old.case_id, new.case_id])
    assert [new.case_id] == listed
    assert since == pytest.approx(found[new.case_id].modified_at)
    assert (found[old.case_id].modified_at or 0) < since


async def test_a_long_list_of_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """CommCare gives the first page of such a list twice; each case comes once."""
    monkeypatch.setattr("adaptors.commcare.client.PAGE", 2)
    world = new_world()
    made = [world.project.add_case("student", name).case_id for name in ("Ama", "Kofi", "Efua")]
    assert made == [case.case_id async for case in world.client.list_cases("student", since=0.0)]


async def test_a_firewall_that_stops_a_write() -> None:
    """What a firewall stops for its text is refused, not the account; without the right to write it is that."""
    world = new_world()
    world.fake.forbid("${jndi:")
    with pytest.raises(RowsRefused) as refused:
        await world.client.write_cases([row(name="${jndi:ldap://example.org}")], batch="1")
    assert ("blocked", {}, 403) == (refused.value.code, refused.value.rows, refused.value.status)
    world.fake.revoke("edit_data")
    with pytest.raises(AccessDenied):
        await world.client.write_cases([row(name="Ama")], batch="2")
    assert {"write": 2, "probe": 2} == dict(world.fake.requests)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "https://closed.example.org/"}),
        httpx.Response(200, headers={"Content-Encoding": "br"}),
        httpx.Response(503),
    ],
    ids=["elsewhere", "packed", "failing"],
)
async def test_the_easy_question_ends_no_run_by_its_own_error(answer: httpx.Response) -> None:
    """Whatever stands there before CommCare: a minute's rest, one request more, and the run is postponed."""

    def handle(request: httpx.Request) -> httpx.Response:
        return answer if request.content.replace(b" ", b"") == b'[{"create":null}]' else httpx.Response(502)

    client = client_of(handle)
    for _ in range(FAILURES + 1):
        with pytest.raises(InDoubt):
            await client.write_cases([row()], batch="1", suspect=True)
    with pytest.raises(CircuitOpen):
        await client.write_cases([row()], batch="1", suspect=True)
    assert {"write": FAILURES + 1, "probe": 1} == dict(client.requests)


@pytest.mark.parametrize("changes", [False, True])
async def test_repeats_come_out_of_one_budget(changes: bool) -> None:
    """Three requests of four do not get through: in forty questions, or changes, eleven are sent again."""
    sent = 0

    def every_fourth(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        if sent % 4:
            raise httpx.ConnectError("nobody is there", request=request)
        return httpx.Response(200, json={})

    transport = httpx.MockTransport(every_fourth)
    connection = Connection(Account(URL, DOMAIN, USERNAME, API_KEY), clock=StillClock(), transport=transport)
    answered = 0
    for _ in range(40):
        with suppress(Retriable):
            if changes:
                await connection.change("tables", "change a table", "PUT", "lookup_table/1", {})
            else:
                await connection.read("tables", "list tables", "lookup_table/")
            answered += 1
    assert (40 + int(AT_LEAST) + 1, 12) == (sent, answered)
