"""The next runs by prefect.yaml, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.schedule import NextRun, next_runs

HOUSE = Path(__file__).parent.parent.parent
NOW = 1_795_000_000.0  # Wed 18 Nov 2026, 11:06:40 UTC
AT_12 = 1_795_003_200.0


def written(folder: Path, text: str) -> Path:
    """Write a prefect.yaml."""
    file = folder / "prefect.yaml"
    file.write_text(text)
    return file


def test_our_own_file() -> None:
    """The hourly sync comes first, the weekly audit on Sunday; what coaches wrote is looked for each night."""
    found = next_runs(HOUSE / "prefect.yaml", NOW)
    assert NextRun("sync", NOW + 20.0) == found[0]
    assert NextRun("audit", 1_795_315_020.0) in found
    assert NextRun("feedback-back", AT_12 + 15 * 3600 + 52 * 60) in found


def test_the_soonest_of_several_schedules(tmp_path: Path) -> None:
    """A schedule that is switched off does not count."""
    file = written(
        tmp_path,
        "deployments:\n- name: sync\n  schedules:\n  - {cron: '0 18 * * *'}\n"
        "  - {cron: '0 12 * * *', timezone: UTC}\n"
        "  - {cron: '10 11 * * *', active: false}\n",
    )
    assert [NextRun("sync", AT_12)] == next_runs(file, NOW)


def test_in_its_own_time_zone(tmp_path: Path) -> None:
    """Three in the afternoon in Nairobi is noon in UTC."""
    file = written(
        tmp_path, "deployments: [{name: s, schedules: [{cron: '0 15 * * *', timezone: Africa/Nairobi}]}]"
    )
    assert [NextRun("s", AT_12)] == next_runs(file, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "deployments: 5",
        "deployments: [5, {name: x}, {name: y, schedules: 7}, {name: z, schedules: [7, {interval: 60}]}]",
        "deployments: [{name: x, schedules: [{cron: 'every day'}]}]",
        "deployments: [{name: x, schedules: [{cron: '0 0 31 2 *'}]}]",
        "deployments: [{name: x, schedules: [{cron: '0 * * * *', timezone: Nowhere/Else}]}]",
        "deployments: [{name: x, schedules: [{cron: '0 * * * *', timezone: ../../etc/passwd}]}]",
        "a: [",
    ],
)
def test_what_cannot_be_read_is_not_known(tmp_path: Path, text: str) -> None:
    """A wrong file, an impossible day, an unknown time zone: nothing is told, nothing breaks."""
    assert [] == next_runs(written(tmp_path, text), NOW)


def test_no_file(tmp_path: Path) -> None:
    """Without a file nothing is known."""
    assert [] == next_runs(tmp_path / "prefect.yaml", NOW)
