"""What a run leaves behind beside its books: the status page, written when everything that counts is done."""

from __future__ import annotations

import logging

from flows.page import write_page
from flows.schedule import PREFECT_FILE, next_runs
from flows.settings import Settings
from flows.status import Status, read_status
from flows.world import World
from state import StateError

ours = logging.getLogger(__name__)
Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


async def look_back(world: World, settings: Settings, log: Log = ours) -> Status | None:
    """Read where things stand after a run and write the page; None, and a line in the log, when that fails.

    It is for looking at only: whatever is wrong with it, the run ended as it did.
    """
    now, about = world.clock.now(), (settings.moodle_url, settings.commcare_url, settings.commcare_domain)
    try:
        status = await world.books.do(
            read_status,
            world.books.store,
            world.project,
            now,
            about=about,
            upcoming=next_runs(PREFECT_FILE, now),
            url=settings.state_url,
            lease_ttl=world.lease_ttl,
        )
        if settings.page_file is not None:
            write_page(settings.page_file, status)
    except (StateError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else str(error)
        log.warning("The status page could not be written: %s", reason)
        return None
    return status
