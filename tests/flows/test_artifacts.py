"""What runs leave in Prefect's UI, asked from a server: artifacts by keys that stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client

from flows.deployed import audit, preview, sync
from flows.open import open_world
from flows.sandbox import make_sandbox, serving
from flows.settings import load_settings
from flows.sync import Options
from flows.sync import sync as sync_once

pytest_plugins = ["tests.prefect_server"]
pytestmark = [
    pytest.mark.e2e,
    # Prefect leaves connections to its own server to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]


@pytest.fixture
def env(prefect_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Serve both fakes to the flows, whose settings come from this process's environment."""
    assert prefect_folder.is_dir()
    monkeypatch.chdir(tmp_path)  # where no .env is
    with serving(make_sandbox(), tmp_path / "sandbox") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        yield env


async def approve(env: dict[str, str]) -> None:
    """Run the first sync as the command does with --yes."""
    world = open_world(load_settings(env, None))
    try:
        await sync_once(world, Options(yes=True))
    finally:
        await world.close()


async def after(flow: Any) -> tuple[str, dict[str, str]]:
    """Run a flow; return how it ended, and the newest artifact of each key as a line and a text."""
    state = await flow(return_state=True)
    async with get_client() as client:
        found = await client.read_latest_artifacts(limit=50)
    return state.name, {one.key: f"{one.description}\n{one.data}" for one in found}


async def test_what_a_run_leaves_in_the_ui(env: dict[str, str], tmp_path: Path) -> None:
    """Summary, questions, last runs and progress; a preview and an audit have their own."""
    name, found = await after(sync)
    assert "Waiting" == name
    assert "What the first run would do" in found["demo-run"]
    await approve(env)
    name, found = await after(sync)
    assert "Completed" == name
    assert "Completed: 0 records sent.\n# ✓ Completed" in found["demo-run"]
    assert "Completed: 0 records sent.\n100" == found["demo-progress"].removesuffix(".0")
    assert "Nothing needs a person.\n# ✓ Nothing needs a person" in found["demo-needs-a-person"]
    assert "data:image/svg+xml;base64," in found["demo-last-runs"]
    assert "The last run was completed" in (tmp_path / "sandbox" / "status.html").read_text()
    await after(preview)
    _, found = await after(audit)
    assert "# ✓ Preview: nothing was sent" in found["demo-preview"]
    assert "# ✓ Audit: completed" in found["demo-audit"]
