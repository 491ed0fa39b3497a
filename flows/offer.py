"""What `init` offers to choose from: the categories and courses that the account sees on the site.

CommCare is knocked at on the way, so that a wrong key or project space is told while it can be answered again.
"""

from __future__ import annotations

import asyncio

from adaptors.errors import AccessDenied, Unexpected
from adaptors.moodle.answers import Course
from adaptors.moodle.errors import REPAIR_CONTACT
from adaptors.moodle.streams import MoodleReader, Wanted
from adaptors.moodle.unshowable import is_unshowable
from flows.answers import Offer
from flows.check_commcare import KINDS, SCREENS, STATES
from flows.clock import SystemClock
from flows.open import open_commcare, open_moodle
from flows.settings import Settings

NO_LIST = f"Its courses are not named here: Moodle cannot show its list of them. {REPAIR_CONTACT}"


def offer_of(settings: Settings) -> Offer:
    """Ask both systems; raises AdaptorError when one does not answer or does not let us in.

    A service without categories has courses only, and a Moodle that cannot show its list of courses has none.
    """
    return asyncio.run(_offer(settings))


async def _offer(settings: Settings) -> Offer:
    moodle = open_moodle(settings, SystemClock(), attempts=2)
    reader = MoodleReader(moodle, Wanted())
    try:
        courses, lacking = await _courses(reader)
        try:
            categories = {category.id: category.name for category in await reader.categories()}
        except AccessDenied:
            categories = {}
    finally:
        await moodle.close()
    commcare = open_commcare(settings, SystemClock(), attempts=2)
    try:
        await commcare.probe_upsert()
    finally:
        await commcare.close()
    return Offer(categories, courses, lacking)


async def _courses(reader: MoodleReader) -> tuple[dict[int, tuple[str, str]], str]:
    """Return the names of the courses, and why there are none where Moodle cannot show its list."""
    try:
        return {course.id: (course.shortname, _shown(course)) for course in await reader.courses()}, ""
    except Unexpected as error:
        if not is_unshowable(error):
            raise
        return {}, NO_LIST


def owner_trouble(settings: Settings, kind: str, name: str) -> str:
    """Return in a sentence why that mobile worker, location or group can own no cases, "" when it can.

    Raises AdaptorError when CommCare does not tell.
    """
    state = asyncio.run(_owner_state(settings, kind, name))
    return "" if state == "ok" else f"The {KINDS[kind]} '{name}' {STATES[state]}. Compare with {SCREENS[kind]}."


async def _owner_state(settings: Settings, kind: str, name: str) -> str:
    commcare = open_commcare(settings, SystemClock(), attempts=2)
    try:
        return (await commcare.owners.resolve(kind, name)).state
    finally:
        await commcare.close()


def _shown(course: Course) -> str:
    """Return the full name, and of a hidden course that only its id chooses it."""
    return (
        f"{course.fullname} (hidden: read only when its id is chosen)" if course.visible == 0 else course.fullname
    )
