"""A project space, its fake server and a client of it, for the tests of the CommCare adaptor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import dumps
from typing import Any

import httpx

from adaptors.commcare.cases import CaseWrite
from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FIRST_MOMENT, FakeProject

URL = "https://commcare.example.org"
DOMAIN = "health-training"
USERNAME = "sync@example.org"
API_KEY = "canary-key-7f3a"
PASSWORD = "canary-password-91"


class StillClock:
    """A clock that moves only when something sleeps."""

    def __init__(self) -> None:
        self.seconds = FIRST_MOMENT

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class World:
    project: FakeProject
    fake: FakeCommCare
    client: CommCareClient


def client_of(handler: Any, **changes: Any) -> CommCareClient:
    """Return a client whose requests `handler` answers; None sends them to the network (or respx)."""
    account = {
        name: changes.pop(name) for name in ("url", "domain", "username", "api_key", "password") if name in changes
    }
    transport = httpx.MockTransport(handler) if handler else None
    settings: dict[str, Any] = {"clock": StillClock(), "transport": transport, **changes}
    return CommCareClient(Connection(replace(Account(URL, DOMAIN, USERNAME, API_KEY), **account), **settings))


def new_world(**settings: Any) -> World:
    """Return an empty project space with its server and a client."""
    project = FakeProject()
    fake = FakeCommCare(project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, password=PASSWORD, **settings)
    return World(project, fake, client_of(fake))


def row(key: str = "site-user-1", **changes: Any) -> CaseWrite:
    """Return the row of a new student, changed as asked."""
    fields = {
        "key": key,
        "case_id": "",
        "case_type": "student",
        "name": "Ama Owusu",
        "owner_id": "owner-1",
        "properties": {"city": "Kumasi"},
    }
    return CaseWrite(**{**fields, **changes})


def case_json(**changes: Any) -> dict[str, Any]:
    """Return a case object as the case API writes it."""
    case = {
        "domain": DOMAIN,
        "case_id": "case-1",
        "case_type": "student",
        "case_name": "Ama Owusu",
        "external_id": "site-user-1",
        "owner_id": "owner-1",
        "closed": False,
        "properties": {"city": "Kumasi"},
        "indices": {},
    }
    return {**case, **changes}


def always(response: httpx.Response) -> Any:
    """Return a handler that gives the same answer to everything."""
    return lambda _request: httpx.Response(
        response.status_code, headers=response.headers, content=response.content
    )


# --- the server asked directly

API = f"/a/{DOMAIN}/api/case/v2/"
KEY = {"Authorization": f"ApiKey {USERNAME}:{API_KEY}"}


class Server:
    """A fake with a project space, asked directly."""

    def __init__(self, **settings: Any) -> None:
        self.project = FakeProject()
        self.fake = FakeCommCare(
            self.project, domain=DOMAIN, username=USERNAME, api_key=API_KEY, password=PASSWORD, **settings
        )

    def ask(self, method: str, path: str = API, json: Any = None, headers: Any = None) -> httpx.Response:
        """Send one request; a path that does not begin with a slash is one below the case API."""
        target = path if path.startswith("/") else API + path
        sent = KEY if headers is None else headers
        content = b"" if json is None else dumps(json).encode()
        return self.fake(httpx.Request(method, URL + target, headers=sent, content=content))

    def error(self, *rows: Any) -> tuple[int, str]:
        """Return status and text of a bulk that is refused."""
        answer = self.ask("POST", json=list(rows))
        return answer.status_code, answer.json()["error"] if answer.status_code == 400 else ""


def new(**changes: Any) -> dict[str, Any]:
    """Return a bulk row that creates a case, changed as asked; None takes a field out."""
    fields = {"create": True, "case_name": "Ama", "case_type": "student", "owner_id": "o1", **changes}
    return {name: value for name, value in fields.items() if value is not None or name == "create"}


def upsert(external_id: str = "k1", **changes: Any) -> dict[str, Any]:
    """Return a bulk row that creates or updates."""
    return new(create=None, external_id=external_id, **changes)
