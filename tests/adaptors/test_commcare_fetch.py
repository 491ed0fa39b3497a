"""Cases fetched by CommCare's ids, and the list of mobile workers."""

from __future__ import annotations

import httpx

from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FakeProject
from tests.clocks import VirtualClock


def client_on(project: FakeProject) -> tuple[CommCareClient, FakeCommCare]:
    """Return a client and the fake that answers it."""
    clock = VirtualClock()
    fake = FakeCommCare(project, domain="training", username="sync@example.org", api_key="key", clock=clock.now)
    client = CommCareClient(
        Connection(
            Account("https://commcare.example.org", "training", "sync@example.org", "key"),
            clock=clock,
            transport=httpx.MockTransport(fake),
        )
    )
    return client, fake


async def test_cases_by_id() -> None:
    """Cases come by their ids, 500 to a request; one that is not there is not in the answer."""
    project = FakeProject()
    made = [project.add_case("student", f"S{n}", properties={"n": str(n)}) for n in range(600)]
    client, fake = client_on(project)
    found = await client.cases_by_id([*(case.case_id for case in made), "nowhere"])
    assert {case.case_id for case in made} == found.keys()
    assert "7" == found[made[7].case_id].properties["n"]
    assert (2, 2) == (fake.requests["get"], client.requests["get"])
    assert {} == await client.cases_by_id([])
    await client.close()


async def test_a_fetch_is_tried_again() -> None:
    """It only asks, so an outage is waited out."""
    project = FakeProject()
    case = project.add_case("student", "S")
    client, fake = client_on(project)
    fake.fail_next("503", where="get")
    assert [case.case_id] == list(await client.cases_by_id([case.case_id]))
    await client.close()


async def test_workers() -> None:
    """Active and deactivated workers, with address and user data, without the name of the project space."""
    project = FakeProject()
    project.add_user("Amina", email="amina@clinic.example.org", user_data={"staff_no": "S-1"})
    project.add_user("brian", active=False)
    client, _ = client_on(project)
    found = {worker.username: worker for worker in await client.owners.workers()}
    assert ("amina@clinic.example.org", "S-1", True) == (
        found["amina"].email,
        found["amina"].user_data["staff_no"],
        found["amina"].active,
    )
    assert not found["brian"].active
    await client.close()
