"""The fake CommCare takes writes as strictly as the real one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.adaptors.commcare_world import API, KEY, URL, Server, new, upsert

# --- single rows and whole requests ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"case_name": "x"}, "A 'create' flag is required for each update."),
        (new(create=None), "UPSERT requires external_id"),
        (upsert(case_id="c"), "UPSERT does not allow case_id"),
        (upsert(temporary_id="t"), "'temporary_id' is not a valid field."),
        (new(case_id="c"), "You cannot specify case_id when creating a new case"),
        (new(colour="red"), "'colour' is not a valid field."),
        (new(owner_id=None), "Property owner_id is required."),
        (new(case_name=5), "5 not of type (<class 'str'>, <class 'str'>)"),
        (new(close="yes"), "'yes' not of type (<class 'bool'>, <class 'bool'>)"),
        (new(properties={"a": 5}), "Error with case property 'a'. Values must be strings, received '5'"),
        (new(properties={"a": None}), "Values must be strings"),
        (new(properties={"a b": "x"}), "Case property names must be valid XML identifiers."),
        (new(properties={"xmlns": "x"}), "Case property names must be valid XML identifiers."),
        (new(properties={"owner_id": "x"}), "This must be specified at the top level."),
        (new(indices={"a b": {}}), "Error with index 'a b'. Index names must be valid XML identifiers."),
        (new(indices={"p": {"case_id": "a", "external_id": "b"}}), "and only one"),
        (new(indices={"p": {"case_id": "a", "case_type": "x"}}), "Property relationship is required"),
        (new(indices={"p": {"case_id": "a", "case_type": "x", "relationship": "cousin"}}), "'cousin' not in"),
    ],
)
def test_a_bad_row_is_refused_with_its_number(row: dict[str, Any], text: str) -> None:
    """What can be said of a row by itself names the row, counted from one, and refuses all."""
    server = Server()
    status, told = server.error(new(), row, row)
    assert 400 == status
    assert told.startswith("Error in row 2: ")
    assert text in told
    assert "; Error in row 3: " in told
    assert ({}, []) == (server.project.cases, server.project.forms)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"create": False, "case_id": "nobody", "case_name": "x"}, "No case found with ID 'nobody'"),
        ({"create": False, "external_id": "nobody"}, "Could not find a case with external_id 'nobody'"),
        ({"create": False, "case_name": "x"}, "Could not find a case with external_id 'None'"),
        (upsert("double"), "There are multiple cases with external_id double"),
        (
            new(indices={"p": {"external_id": "nobody", "case_type": "x", "relationship": "child"}}),
            "Could not find a case with external_id 'nobody'",
        ),
        (
            new(indices={"p": {"temporary_id": "t", "case_type": "x", "relationship": "child"}}),
            "Could not find a case with temporary_id 't'",
        ),
        (
            new(indices={"p": {"case_id": "nobody", "case_type": "x", "relationship": "child"}}),
            "references non-existent case 'nobody'",
        ),
        (new(case_name="x" * 256), "Field: name, Error: Value exceeds allowed length: 255"),
        (upsert("x" * 256), "Field: external_id, Error: Value exceeds allowed length: 255"),
    ],
)
def test_a_failed_look_up_names_no_row(row: dict[str, Any], text: str) -> None:
    """Look-ups and the processing of the form refuse all as well, without a number."""
    server = Server()
    for _ in range(2):
        server.project.add_case("student", "x", external_id="double")
    status, told = server.error(new(), row)
    assert 400 == status
    assert text in told
    assert "Error in row" not in told
    assert 2 == len(server.project.cases)


@pytest.mark.parametrize(
    "row",
    [
        new(properties={"a": "\x00"}),
        new(case_name="\x1b"),
        new(properties={"a": "\ud800"}),
        upsert("k9", owner_id=None),
        "text",
        {**new(), "properties": None},
        new(indices={"p": {"case_id": "", "case_type": "x"}}),
    ],
)
def test_what_crashes_commcare_is_a_page_with_500(row: Any) -> None:
    """Illegal characters, an upsert that must create and cannot, and other bugs look like an outage."""
    server = Server()
    answer = server.ask("POST", json=[new(), row])
    assert (500, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert {} == server.project.cases


def test_a_hundred_rows_and_no_more() -> None:
    """The 101st row refuses all."""
    server = Server()
    assert (400, "You cannot submit more than 100 updates in a single request") == server.error(*[new()] * 101)
    assert 200 == server.ask("POST", json=[new()] * 100).status_code
    assert (100, 1) == (len(server.project.cases), len(server.project.forms))


def test_replies_come_in_another_order_and_the_same_seed_gives_the_same() -> None:
    """The order of a set is not the order of the request."""

    def order(seed: int) -> list[str]:
        rows = [upsert(f"k{number:03}") for number in range(100)]
        return [case["external_id"] for case in Server(seed=seed).ask("POST", json=rows).json()["cases"]]

    assert sorted(order(1)) != order(1)
    assert order(1) == order(1) != order(2)


def test_an_upsert_updates_what_it_finds_and_creates_what_it_does_not() -> None:
    """Looking up reads the database, so the second request sees the first."""
    server = Server(index_lag=3600)
    for city in ("Kumasi", "Accra"):
        server.ask("POST", json=[upsert(properties={"city": city})])
    [case] = server.project.by_external_id("k1")
    assert {"city": "Accra"} == case.properties
    assert 2 == len(server.project.forms)


def test_the_same_new_id_twice_in_one_request_makes_two_cases() -> None:
    """CommCare looks up before it writes, and never enforces that an id is unique."""
    server = Server()
    server.ask("POST", json=[upsert(), upsert()])
    assert 2 == len(server.project.by_external_id("k1"))
    assert (400, "There are multiple cases with external_id k1") == server.error(upsert())
    answer = server.ask("GET", "ext/k1/")
    assert (400, True) == (answer.status_code, answer.json()["error"].startswith("Multiple cases found with"))


def test_a_plain_create_never_updates() -> None:
    """An object that is posted is a new case, whatever its external id."""
    server = Server()
    body = {"case_name": "Ama", "case_type": "student", "owner_id": "o1", "external_id": "k1"}
    for _ in range(2):
        assert 200 == server.ask("POST", json=body).status_code
    assert 2 == len(server.project.by_external_id("k1"))


def test_rows_of_the_same_case_get_one_entry() -> None:
    """The answer holds changed cases, not rows."""
    server = Server()
    case_id = server.project.add_case("student", "Ama", external_id="k1").case_id
    rows = [{"create": False, "case_id": case_id, "properties": {"a": "1"}}, upsert(properties={"b": "2"})]
    [entry] = server.ask("POST", json=rows).json()["cases"]
    assert {"a": "1", "b": "2"} == entry["properties"]


def test_a_closed_case_stays_closed() -> None:
    """Updates reach it, and nothing opens it again."""
    server = Server()
    case_id = server.project.add_case("student", "Ama").case_id
    server.ask("POST", json=[{"create": False, "case_id": case_id, "close": True}])
    row = {"create": False, "case_id": case_id, "close": False, "properties": {"a": "1"}}
    [entry] = server.ask("POST", json=[row]).json()["cases"]
    assert (True, {"a": "1"}) == (entry["closed"], entry["properties"])


def test_a_deleted_case_is_found_by_bulk_and_by_nothing_else() -> None:
    """An upsert updates the invisible case; the look-up by external id does not see it."""
    server = Server()
    case = server.project.add_case("student", "Ama", external_id="k1")
    server.project.delete_case(case.case_id)
    assert 404 == server.ask("GET", "ext/k1/").status_code
    [entry] = server.ask("POST", json=[upsert()]).json()["cases"]
    assert (case.case_id, {}) == (entry["case_id"], server.project.cases)


def test_a_case_deleted_lately_takes_updates_and_links_and_stays_deleted() -> None:
    """CommCare says nothing of it: the answer is that of any other case, and no read shows it."""
    server = Server()
    case_id = server.project.add_case("student", "Ama", external_id="k1").case_id
    server.project.delete_case(case_id, for_good=False)
    row = {"create": False, "case_id": case_id, "properties": {"a": "1"}}
    [entry] = server.ask("POST", json=[row]).json()["cases"]
    assert (case_id, {"a": "1"}, False) == (entry["case_id"], entry["properties"], entry["closed"])
    parent = {"case_id": case_id, "case_type": "student", "relationship": "child"}
    assert 200 == server.ask("POST", json=[upsert(external_id="k2", indices={"parent": parent})]).status_code
    assert 404 == server.ask("GET", "ext/k1/").status_code
    assert ["k2"] == [case["external_id"] for case in server.ask("GET").json()["cases"]]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2024-01-15T10:00:00+05:30", "2024-01-15T04:30:00.000000Z"),
        ("2024-01-15 10:00", "2024-01-15T10:00:00.000000Z"),
        ("2024-01-15", "2024-01-15"),
        ("2024-13-45 10:00", "2024-13-45 10:00"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("  x ", "  x "),
    ],
)
def test_values_that_commcare_rewrites(sent: str, kept: str) -> None:
    """Date-times go to UTC and line ends to LF; everything else stays."""
    server = Server()
    server.ask("POST", json=[upsert(properties={"a": sent})])
    assert kept == server.project.by_external_id("k1")[0].properties["a"]


def test_properties_that_commcare_loses_or_takes_for_something_else() -> None:
    """Some names vanish; name renames the case; hq_user_id becomes the external id."""
    server = Server()
    lost = dict.fromkeys(
        ["_a", "external_id", "date_opened", "case_id", "date_modified", "location_id", "user_id"], "x"
    )
    server.ask("POST", json=[upsert(properties={**lost, "name": "Kofi", "hq_user_id": "u9", "kept": "1"})])
    [case] = server.project.by_external_id("u9")
    assert ("Kofi", {"kept": "1"}) == (case.case_name, case.properties)


def test_an_empty_owner_becomes_the_api_user() -> None:
    """And any other text is taken as an owner."""
    server = Server()
    server.ask("POST", json=[upsert("a", owner_id=""), upsert("b", owner_id="nonsense")])
    owners = [server.project.by_external_id(key)[0].owner_id for key in "ab"]
    assert [server.project.api_user_id, "nonsense"] == owners


def test_links_between_rows_of_one_request() -> None:
    """Rows that create can be referred to, rows that upsert cannot."""
    link = {"case_type": "student", "relationship": "child"}
    server = Server()
    rows = [
        new(temporary_id="t", external_id="p"),
        new(external_id="c", indices={"p": {"temporary_id": "t", **link}}),
    ]
    assert 200 == server.ask("POST", json=rows).status_code
    [parent], [child] = server.project.by_external_id("p"), server.project.by_external_id("c")
    assert {"p": {"case_id": parent.case_id, **link}} == child.indices
    rows = [upsert("p2"), upsert("c2", indices={"p": {"external_id": "p2", **link}})]
    assert (400, "Could not find a case with external_id 'p2'") == server.error(*rows)


def test_an_index_is_removed_by_an_empty_id() -> None:
    """The other indices stay."""
    server = Server()
    parent = server.project.add_case("student", "Ama").case_id
    link = {"case_id": parent, "case_type": "student", "relationship": "child"}
    server.ask("POST", json=[upsert(indices={"a": link, "b": link})])
    server.ask("POST", json=[upsert(indices={"a": {**link, "case_id": ""}})])
    assert {"b": link} == server.project.by_external_id("k1")[0].indices


def test_a_write_that_changes_nothing_is_a_form_all_the_same() -> None:
    """The form holds who sent it and the rows as they came."""
    server = Server()
    for _ in range(2):
        server.ask("POST", json=[upsert()], headers={**KEY, "User-Agent": "x batch=7"})
    assert ["x batch=7"] * 2 == [form.user_agent for form in server.project.forms]
    assert [upsert()] == list(server.project.forms[1].rows)


# --- single writes --------------------------------------------------------------------------------------


def test_put_by_external_id_is_an_upsert_of_one() -> None:
    """Created when missing, updated when there; a list is refused."""
    server = Server()
    body = {"case_name": "Ama", "case_type": "student", "owner_id": "o1"}
    made = server.ask("PUT", "ext/k%2F1/", json=body).json()["case"]
    changed = server.ask("PUT", "ext/k%2F1/", json={"properties": {"a": "1"}}).json()["case"]
    assert ("k/1", made["case_id"], {"a": "1"}) == (made["external_id"], changed["case_id"], changed["properties"])
    assert "Payload must be a single JSON object" == server.ask("PUT", "ext/k/", json=[body]).json()["error"]
    assert "Property case_name is required." == server.ask("PUT", "ext/new/", json={}).json()["error"]
    other = server.ask("PUT", "ext/k%2F1/", json={"case_id": "another"}).json()["error"]
    assert other.endswith('"case_id" is read-only and cannot be modified.')


def test_put_is_an_update_and_not_an_upsert() -> None:
    """By id in the address or the body; the body's wins; a list by id crashes."""
    server = Server()
    first, second = (server.project.add_case("student", name).case_id for name in "ab")
    assert 200 == server.ask("PUT", first, json={"properties": {"a": "1"}}).status_code
    assert 200 == server.ask("PUT", f"{first}/", json={"case_id": second, "properties": {"a": "2"}}).status_code
    assert ["1", "2"] == [server.project.cases[case_id].properties["a"] for case_id in (first, second)]
    assert 400 == server.ask("PUT", json={"external_id": "nobody"}).status_code
    assert 500 == server.ask("PUT", first, json=[]).status_code


def test_posting_to_an_external_id_ignores_it() -> None:
    """A trap of the real one."""
    server = Server()
    body = {"case_name": "Ama", "case_type": "student", "owner_id": "o1"}
    assert server.ask("POST", "ext/k1/", json=body).json()["case"]["external_id"] is None


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("PATCH", "x"), ("POST", "x"), ("DELETE", "ext/k/")])
def test_other_methods_are_not_allowed(method: str, path: str) -> None:
    """There is no way to delete a case."""
    answer = Server().ask(method, path, json={})
    assert (405, {"error": "Request method not allowed"}) == (answer.status_code, answer.json())


def test_broken_json_is_a_refusal() -> None:
    """A body that is no JSON is a 400, one that is no object or list a crash."""
    server = Server()
    request = httpx.Request("POST", URL + API, headers=KEY, content=b"{")
    assert "Payload must be valid JSON" == server.fake(request).json()["error"]
    assert 500 == server.ask("POST", json=5).status_code
