"""`moodle-commcare check`: what works and what is missing, one line each, with the screen to open.

Reads a little, writes nothing. A system that cannot be reached is a finding, and the other one is still looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from adaptors.errors import AdaptorError, Maintenance
from flows.catalogue import field_catalogue
from flows.check_commcare import check_commcare
from flows.check_mappings import check_mappings
from flows.check_marking import check_marking
from flows.check_moodle import check_moodle
from flows.check_people import check_people
from flows.check_webhooks import check_webhooks
from flows.check_write_back import check_write_back
from flows.clock import SystemClock
from flows.expiry import check_expiry
from flows.features import Feature
from flows.open import empty_store, has_books, open_commcare, open_moodle, open_project, open_store
from flows.probe import Finding, Probe, fail, note, ok
from flows.settings import Settings
from flows.steps.pull import wanted_by
from flows.words import numbered
from mappings.engine import MappingError
from mappings.engine.load import run_tests
from state import StateError

Part = Callable[[Probe], AsyncIterator[Finding]]
REST = 1200.0  # seconds: see docs/decisions/0003
LEASE = 300.0  # seconds: the longest wait for one answer, and two renewals

FAILED_TESTS = (
    "`moodle-commcare mappings test` shows where. Where the mapping is right, "
    "`moodle-commcare mappings test --update` brings old tests up to date."
)


async def run_checks(settings: Settings, asked: Collection[Feature] = ()) -> AsyncIterator[Finding]:
    """Yield one finding after the other, as they are made; `asked` are features that somebody wants to use."""
    clock = SystemClock()
    there = f"project space '{settings.commcare_domain}' at {settings.commcare_url}"
    yield ok("Settings", f"{settings.moodle_url} to {there}")
    moodle, commcare = open_moodle(settings, clock, attempts=2), open_commcare(settings, clock, attempts=2)
    probe = Probe(settings, clock, moodle, commcare, asked=asked)
    for look in (_times, _mappings, _books, _expiries, check_webhooks):
        for finding in look(probe):
            yield finding
    try:
        for part in (_moodle, check_commcare):
            async for finding in guarded(part, probe):
                yield finding
    finally:
        await probe.close()


def _times(probe: Probe) -> Iterator[Finding]:
    """Warn of a rest that a write of CommCare may outlast, and of a lease that one answer may."""
    for name, seconds, least, why in (
        (
            "IN_DOUBT_REST_S",
            probe.settings.in_doubt_rest_s,
            REST,
            "CommCare may take up to 15 minutes for a write that nobody waits for any more: a second one before "
            "that makes second cases",
        ),
        (
            "LEASE_TTL_S",
            probe.settings.lease_ttl_s,
            LEASE,
            "a run may wait longer than that for one answer: another one may then begin, and this one ends "
            "without its work. Nothing is sent twice",
        ),
    ):
        if seconds < least:
            what = f"{name} is {seconds:g} seconds, and {why}"
            yield note("Settings", what, f"Leave it out, or write {least:.0f} or more.")


def _mappings(probe: Probe) -> Iterator[Finding]:
    """Load the mappings; each mistake in them is a line."""
    try:
        project = open_project(probe.settings)
    except MappingError as error:
        for problem in error.problems:
            where = f"{problem.path}:{problem.line}:{problem.column}"
            yield fail("Mappings", f"{where}: {problem.sentence}", problem.remedy)
        return
    probe.use(project, wanted_by(project.mappings))
    yield ok("Mappings", ", ".join(f"{one.name}.yaml" for one in (*project.mappings, *project.tables)))
    yield from _tests(Path(probe.settings.mappings_dir))


def _tests(folder: Path) -> Iterator[Finding]:
    """Name the mappings whose own tests fail; that stops no run, but may be a slip."""
    for file, examples in run_tests(folder, field_catalogue()):
        if file.enabled and examples is not None and examples.failed:
            failed = f"{examples.failed} of {numbered(examples.run, 'test')}"
            yield note("Mappings", f"{file.name}.yaml: {failed} failed, which stops no run", FAILED_TESTS)


def _books(probe: Probe) -> Iterator[Finding]:
    """Open the books, which must not belong to other systems."""
    try:
        if not has_books(probe.settings):
            probe.store = empty_store()
            yield ok("Books", "none yet: the first run begins them")
            return
        store = probe.store = open_store(probe.settings)
        last = store.last_run()
    except StateError as error:
        yield fail("Books", str(error))
        return
    if last is None:
        yield ok("Books", "no run yet")
        return
    when = datetime.fromtimestamp(last[2], probe.project.time_zone if probe.project else UTC)
    zone = "" if probe.project else " UTC"
    yield ok("Books", f"last run {last[1]}, {when:%Y-%m-%d %H:%M}{zone}")


def _expiries(probe: Probe) -> Iterator[Finding]:
    """Say when token and key stop working, or ask for it."""
    zone = probe.project.time_zone if probe.project else UTC
    yield from check_expiry(probe.settings, datetime.fromtimestamp(probe.clock.now(), zone).date())


async def _moodle(probe: Probe) -> AsyncIterator[Finding]:
    """Look at Moodle, read a sample, and map it."""
    for part in (check_moodle, check_people):
        async for finding in part(probe):
            yield finding
    for finding in check_mappings(probe):
        yield finding
    for look in (check_marking, check_write_back):
        async for finding in look(probe):
            yield finding


async def guarded(part: Part, probe: Probe) -> AsyncIterator[Finding]:
    """Yield the findings of a part up to the first error, which is the last of them."""
    try:
        async for finding in part(probe):
            yield finding
    except Maintenance as error:
        yield Finding("later", error.system, error.message.rstrip("."), "Try again later. Nothing is lost.")
    except AdaptorError as error:
        yield fail(error.system, error.message.rstrip("."), error.remedy)
