"""What Prefect's schedules do when the clocks change; docs/operations.md says the same in words."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

from tests.flows.test_deployed import DEPLOYMENTS

SPRING = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # in Berlin 2:00 becomes 3:00 an hour and a half later
AUTUMN = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)  # 3:00 becomes 2:00
DAY_BEFORE = {SPRING: datetime(2026, 3, 28, 12, tzinfo=UTC), AUTUMN: datetime(2026, 10, 24, 12, tzinfo=UTC)}


async def times(cron: str, zone: str, start: datetime, count: int) -> list[str]:
    """Return when runs are due, in the schedule's zone and in UTC."""
    dates = await CronSchedule(cron=cron, timezone=zone).get_dates(n=count, start=start)
    return [f"{date.astimezone(ZoneInfo(zone)):%H:%M} {date.astimezone(UTC):%H:%M}" for date in dates]


async def test_hourly_in_a_zone_with_summer_time() -> None:
    """In spring no hour is missing, in autumn the second of two equal ones is."""
    assert ["01:07 00:07", "03:07 01:07", "04:07 02:07"] == await times("7 * * * *", "Europe/Berlin", SPRING, 3)
    autumn = ["01:07 23:07", "02:07 00:07", "03:07 02:07", "04:07 03:07"]
    assert autumn == await times("7 * * * *", "Europe/Berlin", AUTUMN, 4)


async def test_daily_at_an_hour_that_is_missing_or_double() -> None:
    """It runs once on each day: in spring an hour earlier, in autumn at the first of both."""
    spring = await times("30 2 * * *", "Europe/Berlin", DAY_BEFORE[SPRING], 2)
    assert ["01:30 00:30", "02:30 00:30"] == spring
    autumn = await times("30 2 * * *", "Europe/Berlin", DAY_BEFORE[AUTUMN], 2)
    assert ["02:30 00:30", "02:30 01:30"] == autumn


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
async def test_ours_know_no_summer_time(start: datetime) -> None:
    """The hourly schedule as it is shipped runs each hour."""
    (hourly,) = DEPLOYMENTS[0]["schedules"]
    dates = await CronSchedule(cron=hourly["cron"], timezone=hourly["timezone"]).get_dates(n=6, start=start)
    assert {3600.0} == {(later - first).total_seconds() for first, later in pairwise(dates)}
