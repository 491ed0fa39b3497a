"""The fake CommCare: what it lists, whom it lets in, and how badly it behaves when told to."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.adaptors.commcare_world import API, API_KEY, DOMAIN, PASSWORD, URL, USERNAME, Server, upsert

# --- reading --------------------------------------------------------------------------------------------


def test_the_search_is_behind_and_the_look_up_is_not() -> None:
    """A new case is in the list, in single and bulk look-ups, only after the lag."""
    server = Server(index_lag=5)
    case_id = server.ask("POST", json=[upsert()]).json()["cases"][0]["case_id"]

    def seen() -> list[Any]:
        return [
            server.ask("GET", f"{API}?case_type=student").json()["matching_records"],
            server.ask("GET", case_id).status_code,
            server.ask("POST", "bulk-fetch/", json={"external_ids": ["k1"]}).json()["missing_records"],
            server.ask("GET", "ext/k1/").status_code,
        ]

    assert [0, 404, 1, 200] == seen()
    server.fake.advance(5)
    assert [1, 200, 0, 200] == seen()


def test_the_search_sees_the_state_it_was_told_of() -> None:
    """A lagging search does not see a change before its time, also of a case that was there before."""
    server = Server()
    case_id = server.project.add_case("student", "Ama", properties={"a": "1"}).case_id
    server.project.search.lag = 5
    server.project.edit_case(case_id, a="2")
    assert "1" == server.ask("GET", case_id).json()["properties"]["a"]
    server.fake.advance(5)
    assert "2" == server.ask("GET", case_id).json()["properties"]["a"]


def test_paging_ends_with_an_empty_page() -> None:
    """A full last page has a next one; a cursor carries the whole query, and each page counts the cases of all."""
    server = Server()
    for number in range(4):
        server.project.add_case("student", f"n{number}", properties={"a": "1", "b": "2"})
    server.project.add_case("course", "other")
    page = server.ask("GET", f"{API}?case_type=student&limit=2&fields=case_name&fields.properties=a").json()
    names, totals = [], []
    while page["cases"]:
        names += [case["case_name"] for case in page["cases"]]
        totals.append(page["matching_records"])
        assert [{"case_name", "properties"}] * 2 == [set(case) for case in page["cases"]]
        page = server.ask("GET", page["next"].removeprefix(URL)).json()
    assert (["n0", "n1", "n2", "n3"], [4, 4]) == (names, totals)
    assert "next" not in page


def test_a_page_since_a_moment_comes_twice() -> None:
    """CommCare keeps its place in the list under the name of that moment, which goes first once more."""
    server = Server()
    for number in range(3):
        server.project.add_case("student", f"n{number}")
    page = server.ask("GET", f"{API}?case_type=student&limit=2&indexed_on.gte=2000-01-01").json()
    pages = [[case["case_name"] for case in page["cases"]]]
    while "next" in page:
        page = server.ask("GET", page["next"].removeprefix(URL)).json()
        pages.append([case["case_name"] for case in page["cases"]])
    assert [["n0", "n1"], ["n0", "n1"], ["n2"]] == pages


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("case_type=student", ["ama", "kofi"]),
        ("case_type=student&case_type=course", ["ama", "kofi", "maths"]),
        ("external_id=k1", ["ama"]),
        ("closed=true", ["kofi"]),
        ("closed=no", ["ama", "maths"]),
        ("properties.city=Accra", ["kofi"]),
        ("properties.city=", ["maths"]),
        ("indices.parent=p9", ["maths"]),
        ("date_opened.gte=2026-11-22", ["kofi", "maths"]),
        ("date_opened.lte=2026-11-21", ["ama"]),
        ("date_closed.gt=2020-01-01", ["kofi"]),
        ("exclude=properties&limit=1", ["ama"]),
        ("include_deprecated=true", ["ama", "kofi", "maths"]),
    ],
)
def test_lists_are_filtered(query: str, names: list[str]) -> None:
    """Repeated parameters are alternatives, different ones all must hold."""
    server = Server()
    server.project.add_case("student", "ama", external_id="k1", properties={"city": "Kumasi"})
    server.fake.advance(86400)
    server.project.close_case(server.project.add_case("student", "kofi", properties={"city": "Accra"}).case_id)
    course = server.project.add_case("course", "maths")
    course.indices["parent"] = {"case_id": "p9", "case_type": "x", "relationship": "child"}
    assert names == [case["case_name"] for case in server.ask("GET", f"{API}?{query}").json()["cases"]]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("offset=5", "'offset' is not a valid parameter."),
        ("limit=5001", "You cannot request more than 5000 cases per request."),
        ("limit=many", "'many' is not a valid value for 'limit'"),
        ("date_opened.start=2024-01-01", "'start' is not a valid type of date range."),
        ("date_opened.gte=soon", "Cannot parse datetime 'soon'"),
        ("fields=case_id&exclude=case_name", "You cannot specify both 'fields' and 'exclude'"),
    ],
)
def test_a_question_it_does_not_know_is_refused(query: str, text: str) -> None:
    """Unknown parameters are never passed over in silence."""
    answer = Server().ask("GET", f"{API}?{query}")
    assert (400, {"error": text}) == (answer.status_code, answer.json())


def test_several_ids_at_once_give_stubs_for_the_missing() -> None:
    """The order is that of the question."""
    server = Server()
    case_id = server.project.add_case("student", "Ama").case_id
    cases = server.ask("GET", f"nobody,{case_id}").json()["cases"]
    assert {"case_id": "nobody", "error": "not found"} == cases[0]
    assert case_id == cases[1]["case_id"]


def test_a_case_object_has_these_fields() -> None:
    """Times are UTC with microseconds; an external id that was never set is null."""
    server = Server()
    case_id = server.project.add_case("student", "Ama").case_id
    case = server.ask("GET", case_id).json()
    assert "2026-11-21T00:00:00.000000Z" == case["date_opened"]
    assert (None, None, DOMAIN) == (case["external_id"], case["date_closed"], case["domain"])


# --- who may ask ----------------------------------------------------------------------------------------


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"ApiKey {USERNAME}:wrong"}, 401),
        ({"Authorization": f"Bearer {API_KEY}"}, 401),
        ({"Authorization": f"apikey {USERNAME}:{API_KEY}"}, 200),
        ({"Authorization": f"ApiKey {USERNAME.title()}:{API_KEY}"}, 401),
        (basic(USERNAME, PASSWORD), 200),
        (basic(USERNAME.title(), PASSWORD), 401),
        (basic(USERNAME, API_KEY), 401),
        ({"Authorization": "Basic ???"}, 401),
    ],
)
def test_the_sign_in_is_checked(headers: dict[str, str], status: int) -> None:
    """A failure is bare: no body, and a header that asks for credentials."""
    answer = Server().ask("GET", headers=headers)
    assert status == answer.status_code
    assert status == 200 or (b"", True) == (answer.content, "WWW-Authenticate" in answer.headers)


@pytest.mark.parametrize(
    ("right", "status", "html"),
    [
        ("api_key", 401, False),
        ("membership", 403, False),
        ("edit_data", 403, True),
        ("api_access", 403, True),
        ("access_apis", 403, True),
        ("plan", 402, True),
    ],
)
def test_what_is_revoked_is_refused_until_it_is_granted(right: str, status: int, html: bool) -> None:
    """Empty or a page for people, never JSON."""
    server = Server()
    server.fake.revoke(right)
    answer = server.ask("GET")
    assert (status, html) == (answer.status_code, b"<html>" in answer.content)
    server.fake.grant(right)
    assert 200 == server.ask("GET").status_code


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/a/{DOMAIN}/api/form/v1/",
        API + "ext/k1",
        API + "a%20b",
        f"/a/{DOMAIN}/api/user/v1",
    ],
)
def test_every_other_address_is_a_page_with_404(path: str) -> None:
    """Another endpoint, or a missing slash where it is needed."""
    answer = Server().ask("GET", path)
    assert (404, True) == (answer.status_code, b"<html>" in answer.content)


def test_another_space_is_one_that_the_account_is_no_member_of() -> None:
    """CommCare does not say whether there is such a project space."""
    answer = Server().ask("GET", "/a/other/api/case/v2/")
    assert (403, b"") == (answer.status_code, answer.content)


def test_the_old_name_of_the_api_is_the_same_one() -> None:
    """v0.6 is v2, with or without the slash."""
    assert 200 == Server().ask("GET", f"/a/{DOMAIN}/api/v0.6/case").status_code


# --- users, groups, locations ---------------------------------------------------------------------------


def test_users_are_listed_twenty_at_a_time() -> None:
    """Active or deactivated, with full usernames; a limit over 1000 is lowered."""
    server = Server()
    for number in range(25):
        server.project.add_user(f"Worker{number}", active=number != 0)
    page = server.ask("GET", f"/a/{DOMAIN}/api/user/v1/").json()
    assert (20, "?limit=20&offset=20", 24) == tuple(
        page["meta"][name] for name in ("limit", "next", "total_count")
    )
    assert f"worker1@{DOMAIN}.commcarehq.org" == page["objects"][0]["username"]
    last = server.ask("GET", f"/a/{DOMAIN}/api/user/v1/?limit=5000&offset=20").json()
    assert (1000, None, 4) == (last["meta"]["limit"], last["meta"]["next"], len(last["objects"]))
    gone = server.ask("GET", f"/a/{DOMAIN}/api/user/v1/?archived=true").json()["objects"]
    assert [f"worker0@{DOMAIN}.commcarehq.org"] == [user["username"] for user in gone]


def test_locations_come_as_xml_unless_asked_for() -> None:
    """A trap of the real one."""
    server = Server()
    server.project.add_location("Kumasi", "KUMASI")
    assert server.ask("GET", f"/a/{DOMAIN}/api/location/v2/").text.startswith("<?xml")
    [location] = server.ask("GET", f"/a/{DOMAIN}/api/location/v2/?format=json").json()["objects"]
    assert ("kumasi", "") == (location["site_code"], location["parent_location_id"])


def test_these_lists_are_read_only_here() -> None:
    """The fake does not make users, groups or locations."""
    assert 405 == Server().ask("POST", f"/a/{DOMAIN}/api/group/v1/", json={}).status_code


# --- misbehaviour ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("429", 429, False),
        ("429_no_header", 429, False),
        ("503", 503, True),
        ("500_html", 500, True),
        ("504_html", 504, True),
    ],
)
def test_a_failure_to_come_applies_nothing(kind: str, status: int, body: bool) -> None:
    """It fails as often as told, only where told, and then all is well."""
    server = Server()
    server.fake.fail_next(kind, times=2)
    assert 200 == server.ask("GET").status_code
    answers = [server.ask("POST", json=[upsert()]) for _ in range(3)]
    assert [status, status, 200] == [answer.status_code for answer in answers]
    assert body == bool(answers[0].content)
    assert ("429" == kind) == ("Retry-After" in answers[0].headers)
    assert 1 == len(server.project.forms)


@pytest.mark.parametrize(("kind", "error"), [("timeout", httpx.ReadTimeout), ("refused", httpx.ConnectError)])
def test_a_lost_request_applies_nothing(kind: str, error: type[Exception]) -> None:
    """It is counted, and no answer goes back."""
    server = Server()
    server.fake.fail_next(kind, where="any")
    with pytest.raises(error):
        server.ask("POST", json=[upsert()])
    assert ({}, 1, None) == (server.project.cases, server.fake.requests["write"], server.fake.calls[0].status)


def test_a_failure_it_does_not_know_is_an_error_of_the_test() -> None:
    """A typo in a test must not pass."""
    with pytest.raises(ValueError, match="teapot"):
        Server().fake.fail_next("teapot")


def test_a_lost_reply_was_applied() -> None:
    """The case is there, the answer is not."""
    server = Server()
    server.fake.drop_reply_after_commit()
    with pytest.raises(httpx.ReadTimeout):
        server.ask("POST", json=[upsert()])
    server.fake.drop_reply_after_commit(answer="504_html")
    assert 504 == server.ask("POST", json=[upsert("k2")]).status_code
    assert 2 == len(server.project.cases)


def test_a_late_write_takes_effect_later_and_doubles_a_hasty_repetition() -> None:
    """Ids are looked up on arrival: who repeats too early gets two cases."""
    server = Server()
    server.fake.late_write(300)
    with pytest.raises(httpx.ReadTimeout):
        server.ask("POST", json=[upsert()])
    assert {} == server.project.cases
    server.ask("POST", json=[upsert()])
    server.fake.advance(300)
    assert 2 == len(server.project.by_external_id("k1"))


def test_a_late_write_follows_the_clock_it_is_given() -> None:
    """With a clock from outside it is applied before the next request that comes after its time."""
    now = [1_800_000_000.0]
    server = Server(clock=lambda: now[0])
    server.fake.late_write(300)
    with pytest.raises(httpx.ReadTimeout):
        server.ask("POST", json=[upsert()])
    assert 404 == server.ask("GET", "ext/k1/").status_code
    now[0] += 301
    assert 200 == server.ask("GET", "ext/k1/").status_code


def test_a_throttle_is_asked_with_the_time() -> None:
    """It answers with an empty 429 and decimals, and counts only who may ask."""
    server = Server()
    server.fake.throttle = lambda now: 2.25 if now < server.fake.now() + 1 else None
    answer = server.ask("GET")
    assert (429, "2.25", b"") == (answer.status_code, answer.headers["Retry-After"], answer.content)
    assert 401 == server.ask("GET", headers={}).status_code


def test_latency_is_left_to_who_serves_it() -> None:
    """Each answer says how long it should take."""
    server = Server()
    server.fake.latency = 0.2
    assert 0.2 == server.ask("GET").extensions["delay"]


def test_a_row_can_be_refused_by_id_or_by_rule() -> None:
    """As often as it comes, until it is accepted."""
    server = Server()
    server.fake.refuse_row("k1", "no")
    server.fake.refuse_row(lambda row: row.get("case_name") == "Kofi", "nor this")
    rows = [upsert("k0"), upsert("k1"), upsert("k2", case_name="Kofi")]
    assert (400, "Error in row 2: no; Error in row 3: nor this") == server.error(*rows)
    server.fake.accept_rows()
    assert 200 == server.ask("POST", json=rows).status_code


def test_requests_are_counted_by_kind() -> None:
    """In the words of the client's counter."""
    server = Server()
    server.ask("POST", json=[upsert()])
    server.ask("POST", json=[{"create": None}])
    server.ask("GET")
    server.ask("GET", "ext/k1/")
    server.ask("GET", f"/a/{DOMAIN}/api/user/v1/")
    server.ask("GET", "/")
    assert dict.fromkeys(["write", "probe", "list", "get", "owners", "other"], 1) == dict(server.fake.requests)
    assert ("POST", API, "write", 200) == tuple(vars(server.fake.calls[0]).values())


def test_hands_on_edits() -> None:
    """What people do in CommCare itself: change, move, rename, close."""
    server = Server()
    case = server.project.add_case("student", "Ama", external_id="k1")
    server.project.edit_case(case.case_id, city="Accra")
    server.project.move_owner(case.case_id, "o2")
    server.project.set_external_id(case.case_id, "k2")
    server.project.close_case(case.case_id)
    seen = server.ask("GET", case.case_id).json()
    expected = ("k2", "o2", True, {"city": "Accra"})
    assert expected == (seen["external_id"], seen["owner_id"], seen["closed"], seen["properties"])
    assert ([], [case]) == (server.project.by_external_id("k1"), server.project.of_type("student"))


def test_a_changed_type_moves_in_the_search() -> None:
    """The case is listed under its new type only."""
    server = Server()
    case = server.project.add_case("student", "Ama")
    server.ask("POST", json=[{"create": False, "case_id": case.case_id, "case_type": "learner"}])
    totals = [
        server.ask("GET", f"{API}?case_type={name}").json()["matching_records"] for name in ("student", "learner")
    ]
    assert [0, 1] == totals


def test_a_lookup_table_is_refused_with_its_reason() -> None:
    """A second table of a name is an error with a text; a body of another shape is a list of texts."""
    server = Server()
    address = f"/a/{DOMAIN}/api/lookup_table/v1/"
    table = {"tag": "sites", "fields": [{"field_name": "code", "properties": []}]}
    answers = [server.ask("POST", address, json=table) for _ in range(2)]
    answers.append(server.ask("POST", address, json={"tag": "other", "fields": [{"field_name": "a", "odd": 1}]}))
    assert [201, 400, 400] == [answer.status_code for answer in answers]
    assert {"error": "A lookup table with name sites already exists"} == answers[1].json()
    assert ["Additional properties are not allowed"] == answers[2].json()


def test_nothing_to_fetch_is_refused() -> None:
    """A fetch names at least one case."""
    refusal = Server().ask("POST", "bulk-fetch/", json={"case_ids": []})
    assert (400, "Payload must include 'case_ids' or 'external_ids' fields") == (
        refusal.status_code,
        refusal.json()["error"],
    )
