"""The search behind CommCare's list of cases: it sees writes late, and pages by cursor in order of indexing."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from adaptors.commcare.fake_project import Case

DEFAULT_LIMIT = 20
MAX_LIMIT = 5000
_AFTER = "indexed_after"
_SINCE = "indexed_on.gte"
_EXACT = {"external_id", "case_type", "owner_id", "case_name"}
_TIMES = {"last_modified", "server_last_modified", "date_opened", "date_closed", "indexed_on"}
TRIMMING = ("fields", "exclude", "fields.", "exclude.")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
Test = Callable[["Case"], bool]


class BadQuery(Exception):
    """A list that CommCare refuses with a 400 and this text."""


class SearchIndex:
    """Cases as the search sees them: `lag` virtual seconds behind the database."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._lag = 0.0
        self._clock = clock
        self._documents: dict[str, Case] = {}
        self._indexed_on: dict[str, float] = {}
        self._types: dict[str, str] = {}  # the type under which each case stands in the next
        self._by_type: dict[str, dict[str, None]] = {}
        self._waiting: deque[tuple[float, Case]] = deque()
        self._last = 0.0

    @property
    def lag(self) -> float:
        """Return how many seconds the search is behind."""
        return self._lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        if seconds > 0 and self._lag == 0:  # from now on it must not see a case change under its hands
            self._documents = {case_id: case.copy() for case_id, case in self._documents.items()}
        self._lag = seconds

    def store(self, case: Case) -> None:
        """Take a new or changed case: visible at once, or after the lag and then as it is now."""
        if self.lag > 0:
            self._waiting.append((self._clock() + self.lag, case.copy()))
        else:
            self._publish(case)

    def remove(self, case_id: str) -> None:
        """Forget a case."""
        if self._documents.pop(case_id, None):
            self._by_type[self._types.pop(case_id)].pop(case_id)
        self._waiting = deque(entry for entry in self._waiting if entry[1].case_id != case_id)

    def get(self, case_id: str) -> Case | None:
        """Return a case as the search sees it."""
        self._catch_up()
        return self._documents.get(case_id)

    def with_external_id(self, external_id: str) -> Case | None:
        """Return any one case with an external id as the search sees it."""
        self._catch_up()
        return next((case for case in self._documents.values() if case.external_id == external_id), None)

    def indexed_on(self, case_id: str) -> float:
        """Return when a case was last indexed, in epoch seconds."""
        return self._indexed_on.get(case_id, self._clock())

    def page(self, query: list[tuple[str, str]]) -> tuple[list[Case], int, str]:
        """Return a page of an unfolded query: its cases, the number of all matches, the cursor of the next or "".

        A full page has a next one, be it empty; after a first one of `indexed_on.gte` it is that page again.
        Raises BadQuery.
        """
        self._catch_up()
        after = float(dict(query).get(_AFTER, "0"))
        wanted = [(name, value) for name, value in query if name != _AFTER]
        limit = _limit(dict(wanted).get("limit"))
        types = [value for name, value in wanted if name == "case_type"]
        # One type has its own list: no need to ask each case for it.
        tests = self._tests([item for item in wanted if len(types) != 1 or item[0] != "case_type"])
        matches = [case for case in self._candidates(types) if all(test(case) for test in tests)]
        found = [case for case in matches if self._indexed_on[case.case_id] > after][:limit]
        if len(found) < limit:
            return found, len(matches), ""
        onward = [*wanted, (_AFTER, repr(self._indexed_on[found[-1].case_id]))]
        since = dict(wanted).get(_SINCE)
        if since is not None:  # CommCare keeps its place under the same name, so the first page comes once more
            place = repr(_span(since)[0] - 1e-6)
            onward = [(name, value) for name, value in wanted if name != _SINCE] + [(_AFTER, place)]
        return found, len(matches), b64encode(urlencode(onward).encode()).decode()

    def _catch_up(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._clock():
            self._publish(self._waiting.popleft()[1])

    def _publish(self, case: Case) -> None:
        """Put a case at the end of the index, which is thereby in the order of indexing."""
        if self._documents.pop(case.case_id, None):
            self._by_type[self._types[case.case_id]].pop(case.case_id)
        self._documents[case.case_id] = case
        self._types[case.case_id] = case.case_type
        self._by_type.setdefault(case.case_type, {})[case.case_id] = None
        self._last = self._indexed_on[case.case_id] = max(self._clock(), self._last + 1e-6)

    def _candidates(self, types: list[str]) -> Iterator[Case]:
        if len(types) == 1:
            return (self._documents[case_id] for case_id in self._by_type.get(types[0], ()))
        return iter(self._documents.values())

    def _tests(self, query: list[tuple[str, str]]) -> list[Test]:
        """Return one test per parameter name; its values are alternatives."""
        values: dict[str, list[str]] = {}
        for name, value in query:
            if name != "limit" and not name.startswith(TRIMMING):
                values.setdefault(name, []).append(value)
        return [self._test(name, alternatives) for name, alternatives in values.items()]

    def _test(self, name: str, values: list[str]) -> Test:
        first, _, rest = name.partition(".")
        if name in _EXACT:
            return lambda case: (getattr(case, name) or "") in values
        if name == "closed":
            truth = {value.lower() not in ("", "false", "f", "no", "n", "0") for value in values}
            return lambda case: case.closed in truth
        if name == "include_deprecated":
            return lambda _case: True
        if first == "properties" and rest:
            return lambda case: case.properties.get(rest, "") in values
        if first == "indices" and rest:
            return lambda case: case.indices.get(rest, {}).get("case_id") in values
        if first in _TIMES and rest:
            return self._time_test(first, rest, values)
        raise BadQuery(f"'{name}' is not a valid parameter.")

    def _time_test(self, name: str, comparison: str, values: list[str]) -> Test:
        """Return a test of a time: a date without a time stands for its whole day."""
        if comparison not in _COMPARISONS:
            raise BadQuery(f"'{comparison}' is not a valid type of date range.")
        bounds = [_span(value)[comparison in ("gt", "lte")] for value in values]
        compare = _COMPARISONS[comparison]
        attribute = "last_modified" if name == "server_last_modified" else name

        def test(case: Case) -> bool:
            held = self.indexed_on(case.case_id) if name == "indexed_on" else getattr(case, attribute)
            return held is not None and any(compare(held, bound) for bound in bounds)

        return test


def unfold(query: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the query that a cursor stands for; what stands beside a cursor is ignored."""
    cursor = dict(query).get("cursor")
    return query if cursor is None else parse_qsl(b64decode(cursor).decode(), keep_blank_values=True)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isdecimal() or int(text) < 1:
        raise BadQuery(f"'{text}' is not a valid value for 'limit'")
    if int(text) > MAX_LIMIT:
        raise BadQuery(f"You cannot request more than {MAX_LIMIT} cases per request.")
    return int(text)


def _span(text: str) -> tuple[float, float]:
    """Return the first and last moment that a date or a date-time stands for."""
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(f"Cannot parse datetime '{text}'") from None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    length = timedelta(days=1, microseconds=-1) if len(text) <= 10 else timedelta()
    return start.timestamp(), (start + length).timestamp()
