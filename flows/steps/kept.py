"""Whether CommCare still holds what was sent: it rewrites line ends, and all that looks like a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo

from state import NO_VALUE

_REWRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_ENDS = ("", "Z", "+00:00", "+0000")


def still_holds(value: str, sent: bytes, digest: Callable[[str], bytes], zone: tzinfo) -> bool | None:
    """Say whether `value` is what CommCare makes of the text with the digest `sent`; None: nobody can tell.

    The text itself is not known. So the ways are tried in which it can have been written; of a date and time in
    some other way than those nothing is said.
    """
    if sent == NO_VALUE or digest(value) == sent:  # the first: the books never knew it
        return True
    if any(digest(text) == sent for text in _spellings(value, zone)):
        return True
    return None if _REWRITTEN.fullmatch(value) else False


def _spellings(value: str, zone: tzinfo) -> Iterator[str]:
    """Yield the texts that CommCare would turn into this value."""
    if "\n" in value:
        yield value.replace("\n", "\r\n")
        yield value.replace("\n", "\r")
    if not _REWRITTEN.fullmatch(value):
        return
    try:
        moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return
    for local in (moment, moment.astimezone(zone)):
        offset = local.strftime("%z")
        ends = _ENDS if local is moment else ("", offset, f"{offset[:3]}:{offset[3:]}")
        for separator in "T ":
            for clock in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f"):
                text = local.strftime(f"%Y-%m-%d{separator}{clock}")
                yield from (text + end for end in ends)
                if clock.endswith("%f"):
                    yield from (text[:-3] + end for end in ends)
