"""When the Moodle token and the CommCare key stop working, as people said: neither system tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from adaptors.commcare.screens import API_KEYS
from adaptors.moodle.screens import TOKENS
from flows.probe import Finding, note, ok
from flows.settings import Settings
from flows.words import numbered


@dataclass(frozen=True)
class Expiry:
    """A token or key: its setting, the screen that shows it, its last day (None: never), whether that was said."""

    setting: str
    screen: str
    day: date | None = None
    said: bool = True

    def left(self, today: date) -> int | None:
        """Return for how many days it still works, 0 or less from its last day on; None when nothing is known."""
        return None if self.day is None else (self.day - today).days

    def sentence(self, today: date) -> str:
        """Return what to know and to do."""
        left = self.left(today)
        if left is None or self.day is None:
            return ""
        when = f"{self.day}, in {numbered(left, 'day')}" if left > 0 else f"{self.day}, today"
        what = f"stops working on {when}" if left >= 0 else f"should have stopped working on {self.day}"
        return (
            f"{self.setting} {what}: make a new one ({self.screen}), and give it in "
            f"{self.setting} and its last day in {self.setting}_EXPIRES."
        )


def expiries(settings: Settings) -> tuple[Expiry, ...]:
    """Return the token and the key that are in use; a login by password has no last day that we could know."""
    found = []
    if settings.moodle_token.get_secret_value():
        found.append(_expiry("MOODLE_TOKEN", TOKENS, settings.moodle_token_expires))
    if settings.commcare_api_key.get_secret_value():
        found.append(_expiry("COMMCARE_API_KEY", API_KEYS, settings.commcare_api_key_expires))
    return tuple(found)


def ending_soon(found: tuple[Expiry, ...], today: date, days: int) -> list[Expiry]:
    """Return those that stop working within so many days, or should have stopped."""
    return [one for one in found if (left := one.left(today)) is not None and left <= days]


def check_expiry(settings: Settings, today: date) -> Iterator[Finding]:
    """Yield what is known of each token and key; what nobody has said is asked for."""
    for one in expiries(settings):
        if not one.said:
            remedy = f"Look at {one.screen} and write its last day, or never, into {one.setting}_EXPIRES."
            yield note("Settings", f"nobody has said when {one.setting} stops working", remedy)
        elif ending_soon((one,), today, settings.nudge_expiry_days):
            what, _, remedy = one.sentence(today).partition(": ")
            yield note("Settings", what, remedy[:1].upper() + remedy[1:])
        else:
            until = f"works until {one.day}" if one.day else "never ends"
            yield ok("Settings", f"{one.setting} {until}")


def _expiry(setting: str, screen: str, said: str) -> Expiry:
    day = date.fromisoformat(said) if said not in ("", "never") else None
    return Expiry(setting, screen, day, bool(said))
