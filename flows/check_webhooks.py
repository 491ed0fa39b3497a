"""What `check` finds out about webhooks: whether anything has ever come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from adaptors.moodle.screens import WEBHOOKS
from flows.probe import Finding, Probe, note, ok


def check_webhooks(probe: Probe) -> Iterator[Finding]:
    """Say when Moodle, or CommCare, last told of a change; nothing where webhooks are not set up."""
    settings = probe.settings
    if not settings.webhook_token.get_secret_value():
        return
    last = probe.store.inbox_state(probe.clock.now()).last_received_at if probe.store else None
    if last is None:
        remedy = f"Start `moodle-commcare receiver`, and see docs/webhooks.md for {WEBHOOKS}."
        yield note("Webhooks", "WEBHOOK_TOKEN is set, and nothing has come from Moodle yet", remedy)
        return
    zone = probe.project.time_zone if probe.project else UTC
    yield ok("Webhooks", f"the last one came {datetime.fromtimestamp(last, zone):%Y-%m-%d %H:%M}")
