"""A Prefect server for the tests that need one: started once, on this computer only, in a folder of its own."""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def prefect_folder(prefect_server: Path) -> Iterator[Path]:
    """Give the folder where a running server and its clients keep everything: database, results."""
    yield prefect_server
    let_connections_go()  # now, and not in the middle of a later test


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a server for all tests that need one."""
    from prefect.settings import (
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    folder = tmp_path_factory.mktemp("prefect")
    settings = {
        PREFECT_HOME: folder,
        PREFECT_LOCAL_STORAGE_PATH: folder / "storage",
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setattr(tempfile, "tempdir", str(folder))  # where the harness puts the database
        with temporary_settings(updates=settings), prefect_test_harness(server_startup_timeout=120):
            yield folder
    let_connections_go()


def let_connections_go() -> None:
    """Collect the connections to the server that Prefect leaves to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
