"""The tables of the books, one schema for SQLite and PostgreSQL: ids, digests and times, no value of a person.

Primary keys begin with (mapping, scope): whole scopes are read, and SQLite ignores a second index for that.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    false,
    select,
)
from sqlalchemy.sql.elements import ColumnElement

from state.rows import RowId

metadata = MetaData()


def _address() -> list[Column[Any]]:
    """Return the three columns that address one row."""
    return [
        Column("mapping", String, primary_key=True),
        Column("scope", BigInteger, primary_key=True, autoincrement=False),
        Column("key", String, primary_key=True),
    ]


# Small facts; the names that begin with @ are our own.
meta = Table(
    "meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)

# A run that several machines share, while it lasts: one row at most. What the later steps have to know is packed.
round_ = Table(
    "round",
    metadata,
    Column("id", String, primary_key=True),
    Column("handover", LargeBinary, nullable=False),
)

shard = Table(
    "shard",
    metadata,
    Column("round", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("outcome", LargeBinary),
)

# By its key a course is in one shard of a round, never in two.
shard_course = Table(
    "shard_course",
    metadata,
    Column("round", String, primary_key=True),
    Column("course_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", String, primary_key=True),
    Column("started_at", Double, nullable=False, index=True),
    Column("finished_at", Double),
    Column("state", String, nullable=False),
    Column("revision", String, nullable=False),
    Column("counts", Text, nullable=False),
)

course = Table(
    "course",
    metadata,
    Column("course_id", BigInteger, primary_key=True, autoincrement=False),
    Column("complete_at", Double, nullable=False),
    Column("run_id", String, nullable=False),
    Column("people", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
)

# Apart from `course`, so that a checkpoint of an unchanged course does not rewrite the list of its people.
course_people = Table(
    "course_people",
    metadata,
    Column("course_id", BigInteger, primary_key=True, autoincrement=False),
    Column("members", LargeBinary, nullable=False),
)

# Property names, so that a digest costs 20 bytes and not 16 and a name.
name = Table(
    "name",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    UniqueConstraint("name", name="uq_name_name"),
)

case_row = Table(
    "case_row",
    metadata,
    *_address(),
    Column("case_id", String, nullable=False),
    Column("owner_id", String, nullable=False),
    Column("digests", LargeBinary),
    Column("status", String, nullable=False),
    Column("missing_count", Integer, nullable=False),
    Column("missing_run", String, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("pushed_at", Double, nullable=False),
    # 1, and one more for each case that had to be made anew because we closed the one before.
    Column("generation", Integer, nullable=False, server_default="1"),
    # Whether somebody else made the case: it is found by its id and by our key in a property, not by external id.
    Column("linked", Boolean, nullable=False, server_default=false()),
    sqlite_with_rowid=False,
)

# People of Moodle and the cases that may be theirs; `decision` is "" until a rule or a person says something.
# `kept` are names of properties that a linked case had and Moodle has not: a blank of ours does not empty them.
match_row = Table(
    "match_row",
    metadata,
    Column("mapping", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("case_id", String, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("matched_by", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("decision", String, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("found_at", Double, nullable=False),
    Column("decided_at", Double, nullable=False),
    Column("kept", Text),
    sqlite_with_rowid=False,
)

# Properties whose element a complete read lacked for the first time; the next one empties them.
lacking = Table(
    "lacking",
    metadata,
    *_address(),
    Column("property", String, primary_key=True),
    Column("run", String, nullable=False),
    sqlite_with_rowid=False,
)

intent = Table(
    "intent",
    metadata,
    *_address(),
    Column("batch", String, nullable=False),
    Column("op", String, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("last_sent_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    sqlite_with_rowid=False,
)

problem = Table(
    "problem",
    metadata,
    *_address(),
    Column("property", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("runs", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Rows that CommCare refused: not sent again as they are, until a person says so or they change.
refusal = Table(
    "refusal",
    metadata,
    *_address(),
    Column("reason", String, nullable=False),
    Column("op", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("dropped", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

# People who were erased: a keyed mark of each, by which the next read leaves them out.
erased = Table(
    "erased",
    metadata,
    Column("mark", LargeBinary, primary_key=True),
    Column("at", Double, nullable=False),
)

# The log: an occasion is one answer of CommCare, or one word of a person, and a change what it was to one row.
# Apart, so that what a whole request has in common is written once; numbers rise, and stand for the order.
occasion = Table(
    "occasion",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("run", String, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("form_id", String, nullable=False),
)

change = Table(
    "change",
    metadata,
    *_address(),
    Column("occasion", Integer, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, nullable=False),
    Column("op", SmallInteger, nullable=False),
    Column("answer", SmallInteger, nullable=False),
    Column("reason", Integer, nullable=False),  # number of a name, 0 for none
    Column("generation", Integer, nullable=False),
    Column("names", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# Hints from webhooks: ids and times only. `done_at` is NULL while one waits.
inbox = Table(
    "inbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("source", String, nullable=False),
    Column("event", String, nullable=False),
    Column("mark", LargeBinary, nullable=False),
    Column("occurred_at", Double, nullable=False),
    Column("course_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("case_id", String, nullable=False),
    Column("form_id", String, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("posts", Integer, nullable=False),
    Column("claim", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("done_at", Double),
    Column("outcome", String, nullable=False),
    UniqueConstraint("source", "mark", name="uq_inbox_source"),
    Index("ix_inbox_done_at", "done_at"),
)

# Lookup tables of CommCare that are kept in step: a write in doubt, and the rows by key.
lookup_table = Table(
    "lookup_table",
    metadata,
    Column("tag", String, primary_key=True),
    Column("doubt_at", Double),
)

lookup_row = Table(
    "lookup_row",
    metadata,
    Column("tag", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("row_id", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("missing_count", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Feedback that went from a case's property back to Moodle: digests of text and grade, as Moodle has them (`told`)
# and as they were sent last (`sent`; the outcome may be unknown). `reason` is "" when nothing is in the way.
feedback = Table(
    "feedback",
    metadata,
    *_address(),
    Column("property", String, primary_key=True),
    Column("case_id", String, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("told", LargeBinary, nullable=False),
    Column("sent", LargeBinary, nullable=False),
    Column("reason", String, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    sqlite_with_rowid=False,
)


FACT = select(meta.c.value).where(meta.c.name == bindparam("name"))
"""The query for a small fact. Put together once, like others of its kind: that takes longer than running it."""


def at_row(table: Table) -> ColumnElement[bool]:
    """Return the condition that finds one row by the parameters of `row_parameters`."""
    columns = ("mapping", "scope", "key")
    return and_(*(table.c[column] == bindparam(f"at_{column}") for column in columns))


def row_parameters(row: RowId) -> dict[str, Any]:
    """Return the parameters of `at_row` for one row."""
    return {"at_mapping": row.mapping, "at_scope": row.scope, "at_key": row.key}
