"""The calls of CommCare HQ: what for, how often, with what, which permission, and an answer.

The one place for it: `setup commcare` and docs/endpoints.md come from here. The sample answers are made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SAMPLES: Final = Path(__file__).parent / "samples"
CASES: Final = ("Edit Data", "Access APIs")
_TABLES: Final = "only with a table file among the mappings,"


@dataclass(frozen=True)
class Endpoint:
    """One call; `path` stands behind /a/<project space>/api/, `kind` is how the client counts it.

    `pattern` knows it by method, path and query, as in "GET case/v2/?limit=1"; the first that fits is it.
    """

    name: str
    kind: str
    method: str
    path: str
    pattern: str
    purpose: str
    calls: str
    parameters: str
    permissions: tuple[str, ...] = CASES

    @property
    def sample(self) -> str:
        """Return a made-up answer as JSON text, "" where the answer is empty."""
        file = _SAMPLES / f"{self.name}.json"
        return file.read_text("utf-8").rstrip() if file.exists() else ""


ENDPOINTS: Final = (
    Endpoint(
        "write",
        "write",
        "POST",
        "case/v2/",
        r"POST case/v2/",
        "creates and updates cases",
        "one for 100 cases that differ; none when nothing differs",
        "a list of up to 100 rows, all or none: `create` (false with `case_id`, null with `external_id`), "
        "`case_type`, `case_name`, `owner_id`, `properties`, `indices`, `close`",
    ),
    Endpoint(
        "probe",
        "probe",
        "POST",
        "case/v2/",
        r"POST case/v2/",
        "whether the server can create or update in one request; nothing is written",
        "once a run, once a check, and when a write is stopped without a reason",
        'one row that every server refuses: `[{"create": null}]`',
    ),
    Endpoint(
        "find",
        "get",
        "GET",
        "case/v2/ext/<external id>/",
        r"GET case/v2/ext/.*",
        "a case by its external id, past any delay of the search",
        "only before a case is sent again whose answer was lost (of many: one for each lost request), for "
        "new cases on a server without upserts, and in `audit --recreate`",
        "none",
    ),
    Endpoint(
        "fetch",
        "get",
        "POST",
        "case/v2/bulk-fetch/",
        r"POST case/v2/bulk-fetch/",
        "cases by CommCare's ids, or by external ids",
        "one for 500 cases: what a first load would create, until a mapping was loaded as a whole; matched cases "
        "before the first write or when one is in doubt; when many are in doubt, parked or back; when many may "
        "lose a value and it is not known what their cases hold; `feedback`",
        "`case_ids`, `external_ids`",
    ),
    Endpoint(
        "count",
        "list",
        "GET",
        "case/v2/?limit=1",
        r"GET case/v2/\?(?=.*\blimit=1\b).*",
        "how many cases of a type there are",
        "once for each case type before its first run, when many in doubt are found again, and in `check` and "
        "`audit`",
        "`case_type`, `limit` (1), `fields`",
    ),
    Endpoint(
        "list",
        "list",
        "GET",
        "case/v2/",
        r"GET case/v2/\?.*",
        "the cases of a type",
        "one for 5,000 cases: `audit` (weekly), `match`, `feedback`, and a run after the books were lost",
        "`case_type`, `limit` (5000), `fields`, `fields.properties`, `indexed_on.gte`, `indices.NAME`; then "
        "`cursor`",
    ),
    Endpoint(
        "user",
        "owners",
        "GET",
        "user/v1/",
        r"GET user/v1/.*",
        "mobile workers: who can own cases, and whose phone holds them",
        "one for 1,000 workers, once a run when owners are mobile workers; `phones`, `match --workers`",
        "`limit`, `offset`, `archived`",
        ("Edit Mobile Workers", "Access APIs"),
    ),
    Endpoint(
        "make_worker",
        "owners",
        "POST",
        "user/v1/",
        r"POST user/v1/",
        "makes a mobile worker",
        "never by itself: one for each that `workers create` is told to make",
        "`username`, `password`, `first_name`, `last_name`, `user_data`",
        ("Edit Mobile Workers", "Access APIs"),
    ),
    Endpoint(
        "group",
        "owners",
        "GET",
        "group/v1/",
        r"GET group/v1/.*",
        "case-sharing groups that can own cases",
        "one for 1,000 groups, once a run when owners are groups; `phones`",
        "`limit`, `offset`",
        ("Edit Mobile Workers", "Access APIs"),
    ),
    Endpoint(
        "location",
        "owners",
        "GET",
        "location/v2/",
        r"GET location/v2/.*",
        "locations that can own cases",
        "one for 1,000 locations, once a run when owners are locations; `phones`",
        "`format` (json), `limit`, `offset`",
        ("Edit Locations", "Access APIs"),
    ),
    Endpoint(
        "location_type",
        "owners",
        "GET",
        "location_type/v1/",
        r"GET location_type/v1/.*",
        "which levels of the organisation share cases",
        "once a run when owners are locations; `phones`",
        "`format` (json), `limit`, `offset`",
        ("Edit Locations", "Access APIs"),
    ),
    Endpoint(
        "tables",
        "tables",
        "GET",
        "lookup_table/v1/",
        r"GET lookup_table/v1/.*",
        "which lookup tables there are, and their fields",
        f"{_TABLES} when a row differs",
        "`limit`, `offset`",
    ),
    Endpoint(
        "table_rows",
        "tables",
        "GET",
        "lookup_table_item/v1/",
        r"GET lookup_table_item/v1/.*",
        "the rows of all lookup tables, since there is no list of one",
        f"{_TABLES} when a row differs: one for 1,000 rows",
        "`limit`, `offset`",
    ),
    Endpoint(
        "make_table",
        "tables",
        "POST",
        "lookup_table/v1/",
        r"POST lookup_table/v1/",
        "makes a lookup table that every mobile worker gets",
        f"{_TABLES} once",
        "`tag`, `is_global`, `fields`",
    ),
    Endpoint(
        "change_table",
        "tables",
        "PUT",
        "lookup_table/v1/<id>/",
        r"PUT lookup_table/v1/.+/",
        "gives a lookup table another field",
        f"{_TABLES} when a property was added to its file",
        "`tag`, `fields`: all of them",
    ),
    Endpoint(
        "add_row",
        "tables",
        "POST",
        "lookup_table_item/v2/",
        r"POST lookup_table_item/v2/",
        "adds a row to a lookup table",
        f"{_TABLES} one for each new course",
        "`data_type_id`, `fields`",
    ),
    Endpoint(
        "change_row",
        "tables",
        "PUT",
        "lookup_table_item/v1/<id>/",
        r"PUT lookup_table_item/v1/.+/",
        "changes a row that was listed just now",
        f"{_TABLES} one for each course that differs",
        "`data_type_id`, `fields`: all of them",
    ),
    Endpoint(
        "remove_row",
        "tables",
        "DELETE",
        "lookup_table_item/v1/<id>/",
        r"DELETE lookup_table_item/v1/.+/",
        "takes away the row of a course that is gone",
        f"{_TABLES} one for each course that two reads in a row lack",
        "none",
    ),
)
"""Every call that is ever made."""


def endpoint_of(method: str, target: str, kind: str) -> str:
    """Return the name of the endpoint that a request is for, "" for none; `target` is its path with the query."""
    rest = re.sub(r"^/a/[^/]+/api/", "", target)
    fitting = [one for one in ENDPOINTS if one.kind == kind and re.fullmatch(one.pattern, f"{method} {rest}")]
    return fitting[0].name if fitting else ""
