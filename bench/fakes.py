"""Both fakes in a process of their own, so that their data is not counted as the engine's memory."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FakeProject
from adaptors.moodle.fake import FakeMoodle
from adaptors.serve import LocalServer
from bench.site import Load, change, make_site
from bench.slow import SlowMoodle

DOMAIN, USERNAME, API_KEY = "bench", "sync@example.org", "bench-api-key"
OWNER = "Field coaches"
SHIPPED = Path(__file__).parent.parent / "mappings"
PROJECT = f"""
language: 1
site: bench
time_zone: Africa/Nairobi
country: KE
courses: {{shortname_like: "*"}}
owner: {{group: "{OWNER}"}}
"""


@dataclass
class Fakes:
    """The other process, seen from here: the settings to reach it, and what can be asked of it."""

    settings: dict[str, str]
    _pipe: Connection

    def change(self, percent: float) -> None:
        """Change a share of Moodle's data."""
        self._pipe.send(("change", percent))
        self._pipe.recv()


@contextmanager
def serving(load: Load, *, slow: bool = False, cores: int = 2) -> Iterator[Fakes]:
    """Serve a site of this size (slow: with so many cores) and an empty project space; the books go with them."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(load, cores * slow, there), daemon=True)
    process.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Fakes(here.recv() | _ours(Path(folder)), here)
        here.send(("stop", 0.0))
        process.join(timeout=10)
    finally:
        process.kill()


def _ours(folder: Path) -> dict[str, str]:
    """Return the settings of our own side: the shipped mappings, fresh books."""
    mappings = folder / "mappings"
    mappings.mkdir()
    for file in SHIPPED.glob("*.yaml"):
        shutil.copyfile(file, mappings / file.name)
    (mappings / "project.yaml").write_text(PROJECT)
    return {
        "STATE_URL": f"sqlite:///{folder / 'state.db'}",
        "STATE_KEY_FILE": str(folder / "state.key"),
        "MAPPINGS_DIR": str(mappings),
    }


def _serve(load: Load, cores: int, pipe: Connection) -> None:
    """Be the other process: build, serve, and do what is asked until told to stop."""
    site = make_site(load)
    project = FakeProject(keep_forms=False)
    project.add_group(OWNER)
    moodle = FakeMoodle(site)
    commcare = FakeCommCare(project, domain=DOMAIN, username=USERNAME, api_key=API_KEY)
    handler: Any = SlowMoodle(moodle, cores=cores) if cores else moodle
    with LocalServer(handler) as moodle_server, LocalServer(commcare) as commcare_server:
        site.url = moodle_server.url
        pipe.send(
            {
                "MOODLE_URL": moodle_server.url,
                "MOODLE_TOKEN": moodle.token,
                "COMMCARE_URL": commcare_server.url,
                "COMMCARE_DOMAIN": DOMAIN,
                "COMMCARE_USERNAME": USERNAME,
                "COMMCARE_API_KEY": API_KEY,
            }
        )
        while True:
            word, value = pipe.recv()
            if word == "stop":
                return
            change(site, value)
            pipe.send("done")
