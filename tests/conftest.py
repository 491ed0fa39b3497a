"""What all tests share: no waiting between retries, and one PostgreSQL server for those that want it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stamina

from tests.postgres import NOT_RUN, NoServer, Server, not_run, serving, why_none
from tests.quick_books import quicken


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take `--postgresql`: the tests of the engine, with their books on a server."""
    told = "only the tests that make a world of their own, with its books on a private PostgreSQL server"
    parser.addoption("--postgresql", action="store_true", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Say in one line that there can be no server here, in the place of one for each test."""
    quick = pytest.MonkeyPatch()
    quicken(quick)
    config.add_cleanup(quick.undo)
    if config.getoption("--postgresql") and (lacking := why_none()):
        pytest.exit(f"{NOT_RUN} {lacking}", returncode=0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were skipped for want of a server, and why: their number among others says neither."""
    for line in not_run(terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(line, yellow=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make e2e` what needs a Prefect server: it takes longer to start than a thousand tests.

    The proofs come first: few and long, they would otherwise be waited for when all else is done.
    """
    if config.getoption("--postgresql"):
        items[:] = [item for item in items if "state_url" in getattr(item, "fixturenames", ())]
    for item in items:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker("e2e")
    items.sort(key=lambda item: "proofs" not in item.path.parts)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Let retries happen at once, as often as in real life."""
    stamina.set_testing(True, attempts=5)
    yield
    stamina.set_testing(False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Give a PostgreSQL server of our own; without one the test is skipped, and says why."""
    try:
        running = serving()
        server = running.__enter__()
    except NoServer as error:
        pytest.skip(f"{NOT_RUN} {error}")
    yield server
    running.__exit__(None, None, None)
