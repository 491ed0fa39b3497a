"""A CommCare that is slow and unreliable on a port: it looks up at once, writes later, and may never answer."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_faults import fail
from adaptors.commcare.fake_project import Form
from adaptors.commcare.fake_writes import Change

LATE = 3.0  # seconds from the arrival of a write to its effect, at most: longer than a sync takes to its first one
SOON, MOSTLY = 0.3, 0.6  # most writes take no longer than this
DROPPED, TOO_MANY, BUSY, GATEWAY = 0.03, 0.04, 0.03, 0.03


class HarshCommCare(FakeCommCare):
    """Every write takes effect up to `LATE` seconds after its ids were looked up, whoever still listens.

    Some answers are dropped, 504 or 503 while the write goes on; some requests get a 429 and are not taken at all.
    `harsh` False lets it work as it should. `writes` counts the writes that arrived.
    """

    def __init__(self, *args: Any, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chance = random.Random(seed)
        self.harsh = True
        self.writes = 0
        self.fired: Counter[str] = Counter()

    def _commit(
        self, request: httpx.Request, changes: list[Change], rows: Sequence[Any], *, bulk: bool
    ) -> httpx.Response:
        if not self.harsh or not bulk:
            return super()._commit(request, changes, rows, bulk=bulk)
        self.writes += 1
        roll = self.chance.random()
        if roll < TOO_MANY:
            self.fired["429"] += 1
            return fail("429", request)
        seconds = self.chance.uniform(0.0, SOON if self.chance.random() < MOSTLY else LATE)
        form = Form(self.project.new_id("form"), request.headers.get("User-Agent", ""), tuple(rows), self.now())
        self._unfinished.append((self.now() + seconds, changes, form))
        self.fired["late"] += seconds > SOON  # the others are only slow
        for kind, share in (("dropped", DROPPED), ("503", BUSY), ("504_html", GATEWAY)):
            roll -= share
            if roll < TOO_MANY:
                self.fired[kind] += 1
                return self._lost(kind, request)
        return LateAnswer(seconds, lambda: self._written(form.form_id, changes))

    @staticmethod
    def _lost(kind: str, request: httpx.Request) -> httpx.Response:
        if kind == "dropped":
            raise httpx.ReadError("The connection broke.", request=request)
        return fail(kind, request)

    def _written(self, form_id: str, changes: Sequence[Change]) -> bytes:
        """Return the answer to a write, made when it is due."""
        self._finish()
        found = [self.project.cases[case_id] for case_id in dict.fromkeys(change.case_id for change in changes)]
        written = [case.to_json(self.domain, self.now()) for case in found]
        self._shuffler.shuffle(written)
        return json.dumps({"form_id": form_id, "cases": written}).encode()

    @property
    def is_writing(self) -> bool:
        """Say whether a write has not taken effect yet."""
        return bool(self._unfinished)

    def doubles(self) -> int:
        """Return how many cases there are beyond one a key."""
        counts = Counter(case.external_id for case in self.project.cases.values())
        return sum(count - 1 for count in counts.values())


class LateAnswer(httpx.Response):
    """An answer whose body is made when it is sent."""

    def __init__(self, seconds: float, make: Callable[[], bytes]) -> None:
        super().__init__(200, headers={"Content-Type": "application/json"})
        self.extensions["delay"] = seconds + 0.005
        self._make = make

    @property
    def content(self) -> bytes:
        """Return the body."""
        return self._make()
