"""The charts of the status: courses by the age of their last read, problems by reason, the last runs."""

from __future__ import annotations

from collections.abc import Sequence

from flows.charts import Chart, Series, as_picture, drawn
from flows.status import AT_WORK, IN_COMMCARE, ROW_STATES, RUN_STATES, STOPPED, RunStatus, Status
from flows.status_words import NEVER, OLD, SIGNS, by_age, short_moment
from flows.words import listed, numbered

MOST = 10  # reasons in a chart
TONES = {
    "completed": "good",
    "degraded": "warn",
    "waiting": "ask",
    "postponed": "calm",
    "failed": "bad",
    STOPPED: "bad",
    AT_WORK: "faint",
}
ROW_TONES = {"again": "warn", "unknown": "ask", "ended": "calm", "left": "faint", "closed": "other"}


def age_chart(status: Status) -> Chart:
    """Return how many courses were last read how long ago, the freshest on top."""
    ages = by_age(status)
    told = listed([f"{words} {count:,}" for words, count in ages.items() if count]) or "none"
    spans = [*reversed(ages)]
    tones = {words: "bad" if words == NEVER else "warn" if words in OLD else "good" for words in spans}
    kinds = {"good": "within a day", "warn": "longer ago", "bad": "never"}
    return Chart(
        f"Courses by the age of their last complete read: {told}",
        spans,
        [
            Series(name, tone, [ages[words] if tones[words] == tone else None for words in spans])
            for tone, name in kinds.items()
            if any(ages[words] for words in spans if tones[words] == tone)
        ],
        lying=True,
    )


def problem_chart(status: Status) -> Chart:
    """Return the most frequent problems by reason, over all mappings."""
    counts = dict[str, int]()
    for one in status.problems:
        counts[one.reason] = counts.get(one.reason, 0) + one.count
    found = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST]
    told = listed([f"{reason.replace('_', ' ')} {count:,}" for reason, count in found])
    return Chart(
        f"Problems by reason: {told}",
        [reason.replace("_", " ") for reason, _ in reversed(found)],
        [Series("records", "warn", [count for _, count in reversed(found)])],
        lying=True,
    )


def case_chart(status: Status) -> Chart:
    """Return the rows that are not simply in CommCare, by case type and state; those that are dwarf all else."""
    states = [state for state in ROW_STATES if state != IN_COMMCARE]
    used = [state for state in states if any(counts.get(state) for counts in status.cases.values())]
    return Chart(
        "Cases that are not simply in CommCare, by case type",
        [*reversed([*status.cases])],
        [
            Series(
                ROW_STATES[state],
                ROW_TONES.get(state, "faint"),
                [counts.get(state, 0) for counts in reversed([*status.cases.values()])],
            )
            for state in used
        ],
        lying=True,
    )


def length_chart(status: Status) -> Chart:
    """Return how long the last runs took, the oldest on the left, by how they ended."""
    runs = [*reversed(status.runs)]
    unit, divisor = (
        ("minutes", 60.0) if max((run.seconds or 0 for run in runs), default=0) > 180 else ("seconds", 1.0)
    )
    used = [state for state in RUN_STATES if any(run.state == state for run in runs)]
    counts = listed([f"{sum(run.state == state for run in runs)} {state}" for state in used])
    return Chart(
        f"{_runs(runs, status)}: {unit} each took, by how it ended ({counts})",
        [SIGNS.get(run.state, "?") for run in runs],
        [Series(f"{SIGNS[state]} {state}", TONES[state], _lengths(runs, state, divisor)) for state in used],
    )


def sent_chart(status: Status) -> Chart:
    """Return how many records the last runs sent, and how many they could not, the oldest on the left."""
    runs = [*reversed(status.runs)]
    total, held = sum(run.sent for run in runs), sum(run.not_sent for run in runs)
    series = [
        Series("sent", "good", [run.sent or None for run in runs]),
        Series("not sent", "warn", [run.not_sent or None for run in runs]),
    ]
    return Chart(
        f"{_runs(runs, status)}: records sent ({total:,}) and not sent ({held:,})",
        [SIGNS.get(run.state, "?") for run in runs],
        series if held else series[:1],
    )


def runs_picture(status: Status) -> str:
    """Return the last runs as an SVG file of its own, a few kilobytes."""
    return as_picture(drawn(length_chart(status), 640, 240, name="runs"))


def _lengths(runs: Sequence[RunStatus], state: str, divisor: float) -> list[float | None]:
    """Return how long the runs of a state took; one that never finished still shows."""
    return [max(0.05, (run.seconds or 0) / divisor) if run.state == state else None for run in runs]


def _runs(runs: Sequence[RunStatus], status: Status) -> str:
    if not runs:
        return "No run yet"
    first, last = (short_moment(run.started_at, status) for run in (runs[0], runs[-1]))
    return f"The last {numbered(len(runs), 'run')}, {first} to {last}"
