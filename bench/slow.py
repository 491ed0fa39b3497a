"""A Moodle that takes its time: seconds by rows asked for, as measured on a real 4.5 with two cores."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable
from typing import Any

import httpx

CALL = 0.020  # seconds of any call
PROFILE, ROW, GRADES_OF_ONE = 0.0034, 0.0028, 0.020
ID = 0.0004
PER_ROW = {"core_user_get_users_by_field": PROFILE, "core_enrol_get_enrolled_users": ROW}


class SlowMoodle:
    """A handler around FakeMoodle whose answers wait for one of `cores` and then for their work to be done."""

    def __init__(
        self,
        handler: Callable[[httpx.Request], httpx.Response],
        *,
        cores: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._free_at = [0.0] * cores

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer, and let the server wait as long as a small PHP site would need."""
        response = self._handler(request)
        now = self._clock()
        done = max(now, heapq.heappop(self._free_at)) + seconds_of(request.content, response.content)
        heapq.heappush(self._free_at, done)
        response.extensions["delay"] = done - now
        return response


def seconds_of(form: bytes, answer: bytes) -> float:
    """Return how long a small server works on a call."""
    data = json.loads(answer)
    if b"tool_mobile" in form:
        return CALL + sum(_work(json.loads(one["data"])) for one in data["responses"] if not one["error"])
    if b"options%5B0%5D%5Bvalue%5D=id&" in form + b"&":
        return CALL + ID * len(data)
    if isinstance(data, list):
        function = next((name for name in PER_ROW if name.encode() in form), "")
        return CALL + PER_ROW.get(function, 0.0) * len(data)
    return CALL + _work(data)


def _work(data: Any) -> float:
    return GRADES_OF_ONE * len(data["usergrades"]) if "usergrades" in data else ID * len(data)
