"""Small facts, and the one that guards all others: which Moodle and which project space these books are about."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Connection, bindparam, select, update

from state.books import Books
from state.database import Database
from state.errors import StateError
from state.tables import FACT, meta

TARGET = {"@moodle_url": "MOODLE_URL", "@commcare_url": "COMMCARE_URL", "@domain": "COMMCARE_DOMAIN"}
SAME_MOODLE = (
    "If it is the same Moodle at another address, run `moodle-commcare state moved-moodle`. If it is another one, "
    "give it its own STATE_URL, or correct the setting."
)
"""What to do about books whose Moodle has another address, where nothing else differs."""
READS = "reads:{name}"
"""Fact: {stream: start of the last run that read it completely for a mapping}; "{}" has the next run read it."""
NEVER_READ = "{}"
KEYS_KEPT_OUT = "kept_out:{name}:{scope}"
"""Fact: the keys that a mapping kept out of a scope when it was last read, as a JSON list."""
LOOKED_FOR = "looked_for:{name}"
"""Fact: key of who is kept out, or held back -> generation from which on CommCare has no case."""
DELETED_ACCOUNTS = "deleted_accounts"
"""Fact: people whom Moodle gives back as deleted accounts, by number -> in how many answers it did so."""
T = TypeVar("T")
Objects = dict[str, Any]
"""Facts that are JSON objects or lists, by name."""
LOCK = FACT.with_for_update()
PUT = update(meta).where(meta.c.name == bindparam("at_name")).values(value=bindparam("new_value"))
GET_ALL = select(meta.c.name, meta.c.value).where(meta.c.name.in_(bindparam("names", expanding=True)))


class Facts(Books):
    """Facts by name."""

    def get(self, name: str) -> str | None:
        """Return a fact, None when it was never put."""
        with self._database.reading() as connection:
            return connection.scalar(FACT, {"name": name})

    def get_all(self, names: Collection[str]) -> dict[str, str]:
        """Return facts by name, as they are at one moment, without those that were never put."""
        with self._database.reading() as connection:
            return dict(connection.execute(GET_ALL, {"names": [*names]}).tuples().all())

    def put(self, name: str, value: str) -> None:
        """Remember a fact."""
        with self._database.writing() as connection:
            self._put(connection, name, value)

    def put_all(self, facts: Mapping[str, str]) -> None:
        """Remember facts in one transaction."""
        with self._database.writing() as connection:
            for name, value in facts.items():
                self._put(connection, name, value)

    def put_where_unchanged(self, before: Mapping[str, str | None], facts: Mapping[str, str]) -> None:
        """Remember facts in one transaction, but for those that somebody changed since they were as `before`."""
        with self._database.writing() as connection:
            for name, value in sorted(facts.items()):
                known = before[name]
                if known is None:
                    insert = self._database.insert_new(meta)
                    connection.execute(insert, {"name": name, "value": value})
                else:
                    is_unchanged = (meta.c.name == name) & (meta.c.value == known)
                    connection.execute(update(meta).where(is_unchanged).values(value=value))

    def change_facts(self, names: Collection[str], change: Callable[[Objects], T]) -> T:
        """Change facts that are JSON in one transaction, whoever else does so; return what `change` does.

        `change` is given the facts by name ({} for one that was never put) and changes them where they are. It is
        called again when it changed something, and must do no more than that.
        """
        found = self.get_all(names)
        told, answer = _changed({name: found.get(name) for name in names}, change)
        if not told:
            return answer
        with self._database.writing() as connection:
            return self._change(connection, names, change)

    def _change(self, connection: Connection, names: Collection[str], change: Callable[[Objects], T]) -> T:
        """Change facts as `change_facts` does, inside a transaction."""
        told, answer = _changed({name: self._locked_fact(connection, name) for name in sorted(names)}, change)
        for name, value in told.items():
            self._put(connection, name, value)
        return answer

    def change_entries(self, name: str, changed: Mapping[str, Any], gone: Collection[str] = ()) -> dict[str, Any]:
        """Change entries of a fact that is a JSON object, whoever else does so meanwhile; return all of it."""
        with self._database.writing() as connection:
            entries: dict[str, Any] = json.loads(self._locked_fact(connection, name) or "{}")
            entries = {key: value for key, value in entries.items() if key not in gone} | dict(changed)
            self._put(connection, name, json.dumps(entries, sort_keys=True))
            return entries

    def read_anew(self, mappings: Iterable[str]) -> None:
        """Have the next run read for these mappings, whatever the intervals say."""
        names = set(mappings)
        if names:
            with self._database.writing() as connection:
                have_read(self._database, connection, names)

    @staticmethod
    def _read_all_anew(connection: Connection) -> None:
        """Have the next run read for all mappings, inside a transaction."""
        reads = meta.c.name.startswith(READS.format(name=""), autoescape=True)
        connection.execute(update(meta).where(reads).values(value=NEVER_READ))

    def _locked_fact(self, connection: Connection, name: str) -> str | None:
        """Read a fact that nobody else changes until this transaction ends."""
        found: str | None = connection.scalar(LOCK, {"name": name})
        if found is None:
            connection.execute(self._database.insert_new(meta), {"name": name, "value": "{}"})
            found = connection.scalar(LOCK, {"name": name})
        return found

    def bind_target(self, moodle_url: str, commcare_url: str, domain: str) -> None:
        """Remember what these books are about on first use; later, StateError when it is something else."""
        given = _target(moodle_url, commcare_url, domain)
        with self._database.reading() as connection:
            known = self._known_target(connection)
        if given.keys() - known.keys():
            with self._database.writing() as connection:
                known = self._known_target(connection)
                for name in given.keys() - known.keys():
                    self._put(connection, name, given[name])
        self._compare(known, given)

    def check_target(
        self, moodle_url: str | None, commcare_url: str, domain: str, remedy: str = SAME_MOODLE
    ) -> None:
        """Raise StateError when these books are about something else; new books may become about anything.

        Without a Moodle it may be any; `remedy` is what to do where only its address differs.
        """
        with self._database.reading() as connection:
            known = self._known_target(connection)
        given = _target(known.get("@moodle_url", "") if moodle_url is None else moodle_url, commcare_url, domain)
        self._compare(known, given, remedy)

    def move_moodle(self, old_url: str, new_url: str) -> None:
        """Let these books be about the same Moodle at another address; StateError when they are not about it."""
        with self._database.writing() as connection:
            if self._locked_fact(connection, "@moodle_url") != _address(old_url):
                raise StateError("These books are about another Moodle by now. Look with `state check`.")
            self._put(connection, "@moodle_url", _address(new_url))

    def knows_moodle(self, moodle_url: str) -> bool:
        """Say whether an earlier run of these books had good answers from the Moodle at this address."""
        return self.get("@moodle_url") == _address(moodle_url)

    @staticmethod
    def _known_target(connection: Connection) -> dict[str, str]:
        return dict(connection.execute(GET_ALL, {"names": [*TARGET]}).tuples().all())

    def _compare(self, known: dict[str, str], given: dict[str, str], remedy: str = SAME_MOODLE) -> None:
        """Raise StateError when what is known is not what is given, and say what to do about it."""
        differing = [name for name in TARGET if known.get(name, given[name]) != given[name]]
        if differing:
            parts = [f"{TARGET[name]} is {given[name]}, but the state has {known[name]}" for name in differing]
            other = "Give each target its own STATE_URL, or correct the setting."
            raise StateError(
                f"The state in {self._database.place} belongs to another target: {'; '.join(parts)}. "
                f"{remedy if differing == ['@moodle_url'] else other}"
            )

    def _put(self, connection: Connection, name: str, value: str) -> None:
        """Write a fact inside a transaction."""
        _put(self._database, connection, name, value)


def have_read(database: Database, connection: Connection, mappings: Iterable[str]) -> None:
    """Have the next run read for these mappings, in the transaction of the word that asks for it."""
    for name in sorted(set(mappings)):
        _put(database, connection, READS.format(name=name), NEVER_READ)


def _put(database: Database, connection: Connection, name: str, value: str) -> None:
    """Write a fact: most are there, and SQLAlchemy puts an upsert together anew each time."""
    if connection.execute(PUT, {"at_name": name, "new_value": value}).rowcount == 0:
        connection.execute(database.upsert(meta, "value"), {"name": name, "value": value})


def _changed(texts: Mapping[str, str | None], change: Callable[[Objects], T]) -> tuple[dict[str, str], T]:
    """Return the facts that `change` changes, as they are then, and its answer."""
    facts = {name: json.loads(text or "{}") for name, text in texts.items()}
    answer = change(facts)
    told = {name: json.dumps(fact, sort_keys=True) for name, fact in facts.items()}
    return {name: text for name, text in told.items() if json.loads(texts[name] or "{}") != facts[name]}, answer


def _target(moodle_url: str, commcare_url: str, domain: str) -> dict[str, str]:
    """Return a target by the names of its facts, addresses in their normal form."""
    return dict(zip(TARGET, (_address(moodle_url), _address(commcare_url), domain), strict=True))


def _address(url: str) -> str:
    """Return an address with its host in lower case and no slash at the end."""
    parts = urlsplit(url.strip())
    return parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower()).geturl().rstrip("/")
