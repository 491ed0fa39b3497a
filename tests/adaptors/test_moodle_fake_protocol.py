"""The fake Moodle's protocol: parameters, service, token, batches, PHP's limits, and misbehaving on demand."""

import json

import httpx
import pytest

from adaptors.moodle.fake import BATCH, LOGIN, FakeMoodle
from adaptors.moodle.fake_people import User
from adaptors.moodle.fake_site import FakeSite
from tests.adaptors.moodle_world import (
    COURSES,
    ENROLLED,
    GRADES,
    INFO,
    World,
    ask,
    form_fields,
    options,
    post,
    recording_of,
    request,
)
from tests.clocks import VirtualClock


@pytest.fixture
def world() -> World:
    """Return a fresh small site."""
    return World()


def test_parameters_are_checked(world: World) -> None:
    """An unknown, a missing and a mistyped parameter get the same answer."""
    for parameters in ({"courseid": 2, "x": 1}, {}, {"courseid": "2 "}, {"courseid": [2]}):
        assert "invalidparameter" == ask(world.fake, ENROLLED, **parameters)["errorcode"]


def test_functions_outside_the_service(world: World) -> None:
    """A function taken out of the service is refused, one no Moodle has is not found; the list shrinks."""
    world.fake.remove_function(GRADES)
    assert "accessexception" == ask(world.fake, GRADES, courseid=world.course)["errorcode"]
    assert "invalidrecord" == ask(world.fake, "core_nope_nope")["errorcode"]
    assert GRADES not in {function["name"] for function in ask(world.fake, INFO)["functions"]}


def test_batch_stops_at_the_first_error(world: World) -> None:
    """Answers are JSON in strings; after an error nothing more is run."""
    calls: list[tuple[str, dict[str, int]]] = [(GRADES, {"courseid": world.course, "userid": world.abeba})]
    calls += [(GRADES, {"courseid": 99}), (INFO, {})]
    requests = [{"function": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
    good, bad = ask(world.fake, BATCH, requests=requests)["responses"]
    assert [world.abeba] == [user["userid"] for user in json.loads(good["data"])["usergrades"]]
    assert (True, "invalidrecord") == (bad["error"], json.loads(bad["exception"])["errorcode"])


def test_login_gives_the_token_that_is_there(world: World) -> None:
    """The token of a permanent service is given again, and a new one once it has expired."""
    fake = FakeMoodle(world.site, passwords={"svc_commcare": "right"})
    form = {"username": "svc_commcare", "password": "right", "service": "commcare_sync"}
    first = fake.token
    assert first == fake(request(form, LOGIN)).json()["token"]
    fake.expire_token()
    assert ["accessexception", "invalidtoken"] == [ask(fake, INFO)["errorcode"] for _ in range(2)]
    assert first != fake(request(form, LOGIN)).json()["token"]
    assert "sitename" in ask(fake, INFO)


def test_log_counts_and_holds_no_secret(world: World) -> None:
    """Calls are logged with their parameters, without token and password; every HTTP request is counted."""
    fake = FakeMoodle(world.site, passwords={"svc_commcare": "right"})
    ask(fake, ENROLLED, courseid=world.course, options=options(userfields="id"))
    fake(request({"username": "svc_commcare", "password": "right", "service": "commcare_sync"}, LOGIN))
    fake(httpx.Request("GET", "https://moodle.example.org/"))
    assert (ENROLLED, {"courseid": world.course, "options": options(userfields="id")}) == fake.calls[0]
    assert (LOGIN, {"username": "svc_commcare", "service": "commcare_sync"}) == fake.calls[1]
    assert 3 == fake.requests
    assert fake.token not in str(fake.calls)


# Misbehaviour


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("503", 503, "maintenance"),
        ("500_empty", 500, ""),
        ("502_html", 502, "Bad Gateway"),
        ("504_html", 504, "Gateway Time-out"),
        ("403_empty", 403, ""),
        ("403_html", 403, "403 Forbidden"),
        ("200_html", 200, "We will be back soon"),
        ("upgraderunning", 200, '"errorcode":"upgraderunning"'),
        ("sitemaintenance", 200, '"errorcode":"sitemaintenance"'),
        ("dml", 200, '"errorcode":"dmlreadexception"'),
        ("database_down", 200, '"errorcode":"dbconnectionfailed"'),
        ("accessexception", 200, '"errorcode":"accessexception"'),
        ("php_warning", 200, "<b>Warning</b>"),
        ("warnings", 200, '"warningcode":"1"'),
    ],
)
def test_fail_next(world: World, kind: str, status: int, body: str) -> None:
    """The next call of the function fails as told, others before it and the one after it do not."""
    world.fake.fail_next(COURSES, kind)
    assert "sitename" in ask(world.fake, INFO)
    answer = post(world.fake, COURSES)
    assert status == answer.status_code
    assert body in answer.text
    assert ("" == body) <= ("" == answer.text)
    assert [1, world.course] == [course["id"] for course in ask(world.fake, COURSES)["courses"]]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("timeout", httpx.ReadTimeout), ("refused", httpx.ConnectError), ("dropped", httpx.RemoteProtocolError)],
)
def test_fail_next_without_an_answer(world: World, kind: str, error: type[httpx.TransportError]) -> None:
    """Some failures are no answer at all."""
    world.fake.fail_next(None, kind, times=2)
    for _ in range(2):
        with pytest.raises(error):
            post(world.fake, INFO)
    assert 200 == post(world.fake, INFO).status_code


def test_fail_next_inside_a_batch_and_after_some(world: World) -> None:
    """A function fails inside a batch as it would alone, and only after as many calls as told."""
    world.fake.fail_next(INFO, "dml", after=1)
    requests = [{"function": INFO}] * 3
    assert [False, True] == [entry["error"] for entry in ask(world.fake, BATCH, requests=requests)["responses"]]


def test_truncated_json(world: World) -> None:
    """A cut answer is no JSON any more."""
    world.fake.fail_next(INFO, "truncated_json")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        post(world.fake, INFO).json()


def test_latency_moves_the_clock(world: World) -> None:
    """Latency is told to the clock and to the local server, and nobody sleeps."""
    clock = VirtualClock()
    before = clock.monotonic()
    fake = FakeMoodle(world.site, clock=clock)
    fake.latency = lambda function: 1.5 if function == INFO else 0.0
    assert 1.5 == post(fake, INFO).extensions["delay"]
    post(fake, COURSES)
    assert 1.5 == clock.monotonic() - before


def test_typos_in_the_arrangement_are_errors(world: World) -> None:
    """A wrong role, field, capability or kind of failure is told at once."""
    for wrong in (
        lambda: world.site.enrol(world.course, world.bruno, ["stuent"]),
        lambda: world.site.add_course("Y", "Y", visibel=0),
        lambda: world.site.set_grade_item(world.course, "Z", max=5),
        lambda: world.fake.revoke("moodle/course:veiw"),
        lambda: world.fake.fail_next(None, "nonsense"),
    ):
        with pytest.raises(ValueError, match="no "):
            wrong()


# Limits of PHP, as recorded


LIMITS = "limits__core_user_get_users_by_field__"


def _crowd(count: int) -> FakeMoodle:
    """Return a site with so many people, with ids from 307 on as in the recordings."""
    fake = FakeMoodle(FakeSite())
    fake.site.users |= {
        n: User(n, f"big{n}", "Big", str(n), f"big{n}@example.org") for n in range(307, 307 + count)
    }
    return fake


@pytest.mark.parametrize("asked", [990, 996, 997, 998, 1500])
def test_fields_beyond_max_input_vars_are_dropped(asked: int) -> None:
    """Of too many ids as many come back as the real site gave, without a word."""
    recording = recording_of(f"{LIMITS}max_input_vars_1000_with_{asked}_ids")
    assert asked == len(recording["params"]["values"])
    rows = ask(_crowd(1500), recording["function"], **recording["params"])
    assert recording["trimmed_from"] == len(rows)


def test_token_behind_too_many_fields_is_lost() -> None:
    """A token that comes last is among the fields PHP drops."""
    fake = _crowd(0)
    form = {"moodlewsrestformat": "json", "wsfunction": "core_user_get_users_by_field", "field": "id"}
    form |= form_fields({"values": list(range(307, 1807))}) | {"wstoken": fake.token}
    assert recording_of(f"{LIMITS}max_input_vars_1000_token_last")["response"] == fake(request(form)).json()


def test_oversized_body_is_dropped_whole() -> None:
    """Beyond post_max_size PHP sees no field at all: no token, and no wish for JSON either."""
    recording = recording_of(f"{LIMITS}post_max_size_exceeded")
    fake = _crowd(0)
    fake.post_max_size = 8 * 1024
    answer = post(fake, recording["function"], **recording["params"])
    assert recording["response"]["_body_head"] == answer.text
