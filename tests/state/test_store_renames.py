"""A mapping under another name: all its rows and facts go along, at once, and nobody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import LargeBinary, insert, select
from sqlalchemy.types import Boolean, Float, Integer

from state import Ack, Intent, RowId, Store
from state.facts import Objects
from state.renames import OF_MAPPINGS, Named
from state.tables import case_row, match_row, meta, metadata, problem


def change(old: str, new: str, facts: Objects) -> None:
    """Rename an entry of a fact."""
    if old in facts.get("asked", {}):
        facts["asked"][new] = facts["asked"].pop(old)


NAMED = Named(("reads:{name}", "kept_out:{name}"), ("holder:",), ("asked",), change, ("{name}", "{name} kept out"))


def row_of(table: Any, mapping: str, key: str = "k") -> dict[str, Any]:
    """Return a row of a table with something in every column."""
    values: dict[str, Any] = {}
    for column in table.columns:
        kinds = ((Boolean, False), (Float, 1.0), (Integer, 1), (LargeBinary, b"1"))
        values[column.name] = next((value for kind, value in kinds if isinstance(column.type, kind)), "x")
    return values | {"mapping": mapping, "key": key}


def put(store: Store, table: Any, *rows: dict[str, Any]) -> None:
    """Write rows into a table."""
    with store._database.writing() as connection:
        connection.execute(insert(table), [*rows])


def names_in(store: Store, table: Any) -> list[tuple[str, str]]:
    """Return mapping and key of each row of a table."""
    with store._database.reading() as connection:
        return sorted(connection.execute(select(table.c.mapping, table.c.key)).tuples().all())


def test_rows_of_every_table(store: Store) -> None:
    """Whatever table has a column for the mapping: the old name is in none of them, other mappings stay."""
    assert {table for table in metadata.tables.values() if "mapping" in table.columns} == set(OF_MAPPINGS)
    for table in OF_MAPPINGS:
        put(store, table, row_of(table, "pupil"), row_of(table, "pupil kept out", "l"), row_of(table, "tutor"))
    assert 1 == store.rename_mapping("pupil", "learner", Named((), (), (), change))
    for table in OF_MAPPINGS:
        assert [("learner", "k"), ("pupil kept out", "l"), ("tutor", "k")] == names_in(store, table)


def test_what_stands_for_a_mapping_goes_along(store: Store) -> None:
    """Rows that are noted under a name made of the mapping's are renamed with it."""
    for table in OF_MAPPINGS:
        put(store, table, row_of(table, "pupil kept out"))
    assert 1 == store.rename_mapping("pupil", "learner", NAMED)
    assert {("learner kept out", "k")} == {row for table in OF_MAPPINGS for row in names_in(store, table)}


def test_facts(store: Store) -> None:
    """Facts that carry the name, hold it, or name it inside; the old one's win, and no other is touched."""
    store.put_all(
        {
            **{"reads:pupil": "1", "reads:learner": "{}", "reads:pupils": "2", "kept_out:pupil:0": "[]"},
            **{"kept_out:pupil:4": '["k"]', "holder:site k": "pupil", "holder:site l": "tutor", "other": "pupil"},
            "asked": json.dumps({"pupil": 1, "tutor": 2}),
        }
    )
    assert 0 == store.rename_mapping("pupil", "learner", NAMED)
    with store._database.reading() as connection:
        found = dict(connection.execute(select(meta.c.name, meta.c.value)).tuples().all())
    assert {
        **{"reads:learner": "1", "reads:pupils": "2", "kept_out:learner:0": "[]", "kept_out:learner:4": '["k"]'},
        **{"holder:site k": "learner", "holder:site l": "tutor", "other": "pupil"},
        "asked": '{"learner": 1, "tutor": 2}',
    } == {name: value for name, value in found.items() if not name.startswith("@") and name != "new_books"}


def test_rows_that_the_new_name_has_stay(store: Store) -> None:
    """Of two rows at one place that of the new name is kept, of what is no case; nothing is doubled."""
    for table in (match_row, problem):
        put(store, table, row_of(table, "pupil"), row_of(table, "pupil", "l"))
        put(store, table, row_of(table, "learner") | {"reason": "x"})
    assert 0 == store.rename_mapping("pupil", "learner", NAMED)
    for table in (match_row, problem):
        assert [("learner", "k"), ("learner", "l")] == names_in(store, table)


@pytest.mark.parametrize("what", ["case", "write"])
def test_a_name_that_has_begun_takes_nothing_over(store: Store, what: str) -> None:
    """Where the books know cases or writes under the new name nothing at all is done."""
    old, new = RowId("pupil", 0, "k"), RowId("learner", 0, "l")
    store.acknowledge([Ack(old, "case-1", "owner", {}, "active", 1)], 1.0)
    if what == "case":
        store.acknowledge([Ack(new, "case-2", "owner", {}, "active", 2)], 1.0)
    else:
        store.stamp("batch", [Intent(new, 2, "create")], 1.0)
    store.put("reads:pupil", "1")
    assert (True, None) == (store.has_begun("learner"), store.rename_mapping("pupil", "learner", NAMED))
    assert ({"k"}, "1", None) == (
        set(store.cases("pupil", 0)),
        store.get("reads:pupil"),
        store.get("reads:learner"),
    )


def test_who_is_being_erased_is_in_nobodys_way(store: Store) -> None:
    """Books that were put back know from newer ones whose cases are to be emptied, under the new name."""
    put(store, case_row, row_of(case_row, "learner") | {"status": "erasing"})
    put(store, case_row, row_of(case_row, "pupil"), row_of(case_row, "pupil", "l"))
    assert (False, 1) == (store.has_begun("learner"), store.rename_mapping("pupil", "learner", NAMED))
    assert {"k": "erasing", "l": "x"} == {key: case.status for key, case in store.cases("learner", 1).items()}
