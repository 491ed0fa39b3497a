"""What somebody is told about, and in which words. No Prefect here: flows/automations.py makes automations of it.

A text has slots in braces, which Prefect fills from the event that it tells of: ids, names of deployments, counts
and the sentence with which a run ended, never a person's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.limits import longest_quiet
from flows.result import RunState
from flows.settings import Settings
from flows.undelivered import AGAIN, UNDELIVERED

HOUR = 3600.0
DAY = 24 * HOUR
PREFIX = "moodle-commcare: "
"""How the names of our automations begin."""
BLOCKS = {
    "NUDGE_WEBHOOK_URL": "moodle-commcare-webhook",
    "NUDGE_SLACK_URL": "moodle-commcare-slack",
    "NUDGE_MAIL_URL": "moodle-commcare-mail",
}
"""The names of our blocks in Prefect, by the setting whose address each keeps."""
TAG = "commcare"
"""The tag of our deployments: on a server with other people's flows, only runs that carry it are told about."""

PROBLEMS = "moodle-commcare.problems"
EXPIRY = "moodle-commcare.expiry"
TEST = "moodle-commcare.test"
TOLD_ONCE_IN = HOUR / 2
"""So long after one attempt to tell of lost nudges there is no other: the shards of a run all look for them."""
RUN = "prefect.flow-run."
HEARTBEAT = f"{RUN}heartbeat"
FINISHED = tuple(
    f"{RUN}{state.capitalize()}" for state in (RunState.COMPLETED, RunState.DEGRADED, RunState.WAITING)
)
ENDED = tuple(
    f"{RUN}{name}"
    for name in (
        *(state.capitalize() for state in RunState),
        *("Crashed", "Cancelled", "TimedOut", "RolledBack", "Paused", "Suspended", "AwaitingRetry"),
    )
)
"""All names with which a run ends or rests: with another name it would be taken for dead after it ended well."""

SIGN_OF_LIFE = 180.0  # Prefect's own interval of heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY), in seconds
DEAD_AFTER = 5 * SIGN_OF_LIFE
DEAD = (
    "No sign of life for 15 minutes: the process or its machine is gone. Nothing is lost; the next run catches up."
)


@dataclass(frozen=True)
class Nudge:
    """One thing to tell: the events that it waits for, or that it misses for `within` seconds.

    Of several events within `within` seconds only the first is told, for each value of the label `each`.
    """

    name: str
    about: str
    """When it comes, for the pages of Prefect."""

    events: tuple[str, ...]
    subject: str
    body: str
    within: float = 0.0
    each: str = ""
    missed: bool = False
    flow: str = ""
    """Only runs of this flow; "" is any of ours."""
    to_one_place: bool = False
    """Sent to the place alone that the event is about: there is one automation for each."""

    @property
    def about_runs(self) -> bool:
        """Say whether it waits for states of runs, and not for an event of ours."""
        return all(event.startswith(RUN) for event in self.events)

    def filled(self, slots: Mapping[str, str]) -> tuple[str, str]:
        """Return subject and body with something in their slots."""
        return self.subject.format_map(slots), self.body.format_map(slots)


def nudges(settings: Settings) -> list[Nudge]:
    """Return all nudges with the limits of the settings."""
    again = settings.nudge_repeat_hours * HOUR
    return [
        _run("A run failed or crashed.", ("Failed", "Crashed", "TimedOut"), again, FAILED_DO),
        _run("A run left out courses or records.", ("Degraded",), again, DEGRADED_DO),
        _run("A run waits for a person to decide.", ("Waiting",), DAY, WAITING_DO),
        _silent(settings),
        _problems(settings),
        _expiry(),
        _undelivered(),
        Nudge(
            name="test",
            about="Somebody tests whether nudges arrive.",
            events=(TEST,),
            subject="moodle-commcare: a test",
            body="This is a test. Nudges arrive here.\n\n{ui}",
        ),
    ]


def places(settings: Settings) -> list[str]:
    """Return the settings that say where nudges go."""
    addresses = (name for name in BLOCKS if getattr(settings, name.lower()).get_secret_value())
    return [*addresses, *(["NUDGE_BLOCK"] if settings.nudge_block else [])]


def example(nudge: Nudge, ui: str = "") -> tuple[str, str]:
    """Return subject and body of a nudge as they arrive, about made-up runs; `ui`: where Prefect's pages are."""
    state, ui = nudge.events[0].removeprefix(RUN), ui or "http://127.0.0.1:4200"
    places = {"ui": ui, "link": f"{ui}/runs/flow-run/..."}
    return nudge.filled({**EXAMPLE, **places, "state": state, "message": MESSAGES.get(state, "")})


FAILED_DO = (
    "Nothing is lost: the next run catches up. Do what the sentence above says; the log of the run says more. If "
    "it happens again, `moodle-commcare check` looks at Moodle and CommCare."
)
DEGRADED_DO = (
    "All else was sent. `moodle-commcare problems list` says which records were not, why, and what to do; the log "
    "of the run names the courses that could not be read."
)
WAITING_DO = (
    "What it waits for is not sent until a person decides; the rest goes on. The sentence above names the command "
    "that decides."
)
ENDING = "The run '{run}' of '{deployment}' ended {state}, {when} UTC."


def _run(about: str, states: tuple[str, ...], within: float, todo: str) -> Nudge:
    """Return a nudge about how a run ended."""
    return Nudge(
        name=states[0].lower(),
        about=about,
        events=tuple(f"{RUN}{state}" for state in states),
        subject="moodle-commcare: {deployment} ended {state}",
        body=f"{ENDING}\n\n{{message}}\n\n{todo}\n\n{{link}}",
        within=within,
        each="related:deployment:prefect.resource.id",
    )


def _silent(settings: Settings) -> Nudge:
    """Return the nudge that tells that nothing happens; quiet hours are no silence."""
    hours = settings.nudge_silent_hours + longest_quiet(settings.moodle_quiet_hours, settings.commcare_quiet_hours)
    return Nudge(
        name="silent",
        about=f"No run of sync has finished for {hours:g} hours.",
        events=FINISHED,
        subject=f"moodle-commcare: no run has finished for {hours:g} hours",
        body=f"No run of 'sync' has finished for {hours:g} hours: none was started, or all failed, were cancelled "
        "or postponed. CommCare keeps what it has, and nothing is lost.\n\nLook whether the service that makes "
        "the runs is up, whether the deployment is paused, and how its last runs ended:\n\n{ui}/runs",
        within=hours * HOUR,
        missed=True,
        flow="sync",
    )


def _problems(settings: Settings) -> Nudge:
    """Return the nudge about many problems in the list; the flow counts them and sends the event."""
    return Nudge(
        name="problems",
        about=f"More than {settings.nudge_problems:,} problems are listed after a run.",
        events=(PROBLEMS,),
        subject="moodle-commcare: {count} problems are listed",
        body="After the run '{run}' of '{deployment}', {count} problems are listed, more than "
        f"{settings.nudge_problems:,} (NUDGE_PROBLEMS).\n\n`moodle-commcare problems list` says "
        "which records it is about, why, and what to do.\n\n{link}",
        within=DAY,
    )


def _expiry() -> Nudge:
    """Return the nudge about a token or key that stops working soon."""
    return Nudge(
        name="expiry",
        about="The Moodle token or the CommCare key stops working soon.",
        events=(EXPIRY,),
        subject="moodle-commcare: {setting} stops working on {day}",
        body="{sentence}\n\nWithout it, runs fail from then on. Nothing is lost, and the first run with the new "
        "one catches up.",
        within=DAY,
        each="prefect.resource.id",
    )


def _undelivered() -> Nudge:
    """Return the nudge about nudges that did not arrive; the flow looks for them and sends the event."""
    return Nudge(
        name=AGAIN,
        about="Nudges did not arrive where this one goes to.",
        events=(UNDELIVERED,),
        subject="moodle-commcare: nudges could not be delivered here ({lost})",
        body="Since {since} UTC nudges could not be delivered here: {which}. What they told may be over by now: "
        "`moodle-commcare status` says what waits for somebody, and how the runs ended is at\n\n{ui}/runs",
        within=TOLD_ONCE_IN,
        each="prefect.resource.id",
        to_one_place=True,
    )


EXAMPLE = {
    "deployment": "sync",
    "run": "quiet-otter",
    "when": "2026-11-29 07:12",
    "count": "250",
    "setting": "MOODLE_TOKEN",
    "day": "2026-12-08",
    "since": "2026-11-28 19:07",
    "lost": "3",
    "which": "2 × failed, 1 × waiting",
    "sentence": "MOODLE_TOKEN stops working on 2026-12-08, in 9 days: make a new one ...",
}
"""Something for each other slot, to show a text as it will arrive."""

MESSAGES = {
    "Failed": "Moodle does not know this token. Make a new one and give it in MOODLE_TOKEN.",
    "Degraded": "12 records were held back. `moodle-commcare problems list` says which and what to do.",
    "Waiting": "First run of these mappings: nothing was sent. Approve it with `moodle-commcare sync --yes`.",
}
"""Sentences with which runs end."""
