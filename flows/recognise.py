"""Who is who: people of Moodle against the cases that are there, by keyed hashes of what both say about a person.

Nothing is kept of a case that resembles nobody, and of everybody else only ids and eight bytes a value.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptors.commcare.cases import CaseReply
from flows.steps.linked import base_key, generation_of
from mappings.engine.matching import (
    EXTERNAL_ID,
    KEY,
    MAIL,
    NAME_FIELDS,
    PHONE_FIELDS,
    MatchRules,
    identifier,
    name_words,
    phone_digits,
)
from mappings.engine.paths import getter

NAME, PHONE = "name", "phone"
MOST = 5  # cases or people that share a value; with more of them it tells nobody apart
_EMAIL, _NAMES, _PHONES = getter("email"), tuple(map(getter, NAME_FIELDS)), tuple(map(getter, PHONE_FIELDS))


@dataclass(slots=True)
class Hit:
    """A case that resembles a person; `by` is what both have in common, the surest first."""

    case_id: str
    by: list[str]
    owner_id: str = ""
    closed: bool = False
    own: bool = False
    """Whether its external id is our key for this person, of the generation beside it."""
    generation: int = 1
    differs: bool = False
    """Whether both have another identifier, and these differ."""
    other_name: bool = False
    taken: bool = False
    """Whether the books know it as the case of somebody else who is there."""


@dataclass(slots=True)
class Person:
    """A person as Moodle has him or her now: hashes, 0 where there is nothing to compare."""

    key: str
    user_id: int
    pairs: tuple[int, ...]
    mail: int
    words: frozenset[int]
    known: str = ""
    """The case that the books know."""
    hits: dict[str, Hit] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one person: `kind` and, of each case that matters, its hit and the reason."""

    person: Person
    kind: str
    hits: tuple[Hit, ...] = ()
    matched_by: str = ""
    reason: str = ""


class Recogniser:
    """Meets all people first, then sees all cases, and then says who is who."""

    def __init__(self, rules: MatchRules, key_property: str, *, secret: bytes = b"") -> None:
        self._rules = rules
        self._key_property = key_property
        self._secret = secret or secrets.token_bytes(16)
        self._people: dict[str, Person] = {}
        self._index: dict[tuple[str, int], list[str]] = {}
        self._present: set[int] = set()
        self._claims: dict[str, set[str]] = {}
        self._mailed: dict[int, int] = {}
        self.seen = 0
        """How many cases were seen."""
        self.alike: set[str] = set()
        """Cases that resemble somebody."""

    @property
    def people(self) -> Mapping[str, Person]:
        """Return the people who were met, by key."""
        return self._people

    def is_there(self, key: str) -> bool:
        """Say whether Moodle still has the person of a key, kept out or not."""
        return self._short(key) in self._present

    # --- people ---------------------------------------------------------------------------------------------

    def note(self, key: str) -> None:
        """Take in that a person is there, who is to have no case."""
        self._present.add(self._short(key))

    def meet(self, key: str, user_id: int, record: Mapping[str, Any], known: str = "") -> None:
        """Take in a person who has a case, or is to have one."""
        self.note(key)
        values = {name: self._hash(at(record)) for name, at in self._rules.pairs}
        mail = self._hash(self._rules.address(_EMAIL(record))) if self._rules.email else 0
        named = name_words(*(at(record) for at in _NAMES))
        phones = {self._hash(phone_digits(at(record))) for at in _PHONES} if self._rules.phone else set()
        words = frozenset(map(self._hash, named))
        self._people[key] = Person(key, user_id, tuple(values.values()), mail, words, known)
        for name, value in (*values.items(), (MAIL, mail), (NAME, self._hash(_whole(named)))):
            self._put(name, value, key)
        for phone in phones:
            self._put(PHONE, phone, key)

    def _put(self, name: str, value: int, key: str) -> None:
        if value:
            self._index.setdefault((name, value), []).append(key)

    # --- cases ----------------------------------------------------------------------------------------------

    def see(self, case: CaseReply, holder: str = "", *, held: bool = False) -> None:
        """Take in a case; `holder` is the key under which the books have it, `held` that its person is there."""
        self.seen += 1
        own = base_key(case.external_id or "")
        claimed = case.properties.get(self._key_property, "")
        for key in dict.fromkeys((claimed, own)):
            # An external id of ours says nothing where our key in the case names another person who is there.
            if key in self._people and (key == claimed or claimed not in self._people):
                self._hit(key, case, KEY).own = key == own and claimed in ("", key)
        values = self._values_of(case)
        for name, value in values.items():
            people = self._index.get((name, value), ()) if value else ()
            if name == MAIL:
                self._mailed[value] = self._mailed.get(value, 0) + bool(people)
                people = people if len(people) == 1 else ()
            for key in people if len(people) <= MOST else ():
                self._hit(key, case, name)
        if case.case_id in self.alike or holder in self._people:
            self.alike.add(case.case_id)
            self._compare(case, values, holder if held else "")

    def _values_of(self, case: CaseReply) -> dict[str, int]:
        """Return what is compared of a case, hashed."""
        rules, texts = self._rules, case.properties
        found = {
            name: self._hash(identifier(case.external_id if name == EXTERNAL_ID else texts.get(name)))
            for name, _ in rules.pairs
        }
        found[MAIL] = self._hash(rules.address(texts.get(rules.email))) if rules.email else 0
        found[NAME] = self._hash(_whole(name_words(case.name)))
        found[PHONE] = self._hash(phone_digits(texts.get(rules.phone))) if rules.phone else 0
        return found

    def _hit(self, key: str, case: CaseReply, by: str) -> Hit:
        hits = self._people[key].hits
        if case.case_id not in hits:
            generation = generation_of(case.external_id or "")
            hits[case.case_id] = Hit(case.case_id, [], case.owner_id, case.closed, generation=generation)
        hits[case.case_id].by.append(by)
        self.alike.add(case.case_id)
        if by not in (NAME, PHONE):
            self._claims.setdefault(case.case_id, set()).add(key)
        return hits[case.case_id]

    def _compare(self, case: CaseReply, values: Mapping[str, int], holder: str) -> None:
        """Note where a case and the people whom it resembles contradict each other."""
        words = {self._hash(word) for word in name_words(case.name)}
        theirs = [values[name] for name, _ in self._rules.pairs]
        keys = {key for name, value in values.items() for key in self._index.get((name, value), ())}
        for key in keys | self._claims.get(case.case_id, set()):
            person = self._people[key]
            hit = person.hits.get(case.case_id)
            if hit is not None:
                hit.differs = any(a and b and a != b for a, b in zip(person.pairs, theirs, strict=True))
                hit.other_name = bool(words and person.words) and not words & person.words
                hit.taken = holder not in ("", key)

    # --- who is who -----------------------------------------------------------------------------------------

    def verdicts(self, rejected: Container[tuple[str, str]], deleted: Collection[str]) -> Iterator[Verdict]:
        """Say of each person who he or she is; `deleted` are keys whose known case is in CommCare no more."""
        for key in sorted(self._people):
            person = self._people[key]
            hits = [hit for hit in person.hits.values() if (key, hit.case_id) not in rejected]
            known = "" if key in deleted else person.known
            verdict = self._of_known(person, known, hits) if known else self._of_new(person, hits)
            if verdict.kind in ("new", "missing_email") and key in deleted:
                verdict = Verdict(person, "new", reason="deleted")
            yield verdict

    def _of_known(self, person: Person, known: str, hits: Sequence[Hit]) -> Verdict:
        """Say whether somebody with a case has another one as well."""
        others = [hit for hit in self._sure(hits) if hit.case_id != known and not self._is_of_others(person, hit)]
        if others:
            return Verdict(person, "conflict", tuple(others), others[0].by[0], "another_case")
        return Verdict(person, "linked")

    def _of_new(self, person: Person, hits: Sequence[Hit]) -> Verdict:
        by_key = [hit for hit in hits if KEY in hit.by and not hit.taken]
        if by_key:
            return self._by_key(person, by_key, hits)
        for name, _ in self._rules.pairs:
            if found := [hit for hit in hits if name in hit.by]:
                return self._by_pair(person, name, found, hits)
        if found := [hit for hit in hits if MAIL in hit.by and self._mailed.get(person.mail, 0) <= MOST]:
            return self._single(person, MAIL, found)
        return self._by_likeness(person, hits)

    def _by_key(self, person: Person, found: Sequence[Hit], hits: Sequence[Hit]) -> Verdict:
        newest = max(found, key=lambda hit: (hit.own, not hit.closed, hit.generation))
        twins = [hit for hit in found if (hit.own, hit.generation) == (newest.own, newest.generation)]
        strangers = [hit for hit in found if not hit.own]
        if len(twins) > 1 or (newest.own and strangers):
            return Verdict(person, "conflict", tuple(sorted(found, key=_id)), KEY, "keys_disagree")
        others = [hit for hit in hits if KEY not in hit.by and self._names_a_pair(hit) and not hit.taken]
        if others:
            return Verdict(person, "conflict", (newest, *sorted(others, key=_id)), KEY, "keys_disagree")
        return Verdict(person, "duplicate", (newest,), KEY)

    def _by_pair(self, person: Person, name: str, found: Sequence[Hit], hits: Sequence[Hit]) -> Verdict:
        elsewhere = [hit for hit in hits if name not in hit.by and self._names_a_pair(hit)]
        if elsewhere:
            return Verdict(person, "conflict", tuple(sorted((*found, *elsewhere), key=_id)), name, "keys_disagree")
        if all(self._is_of_others(person, hit) for hit in found):
            return Verdict(person, "conflict", tuple(sorted(found, key=_id)), name, "two_people")
        mailed = [hit for hit in hits if MAIL in hit.by and hit not in found]
        return self._single(person, name, [*found, *mailed])

    def _single(self, person: Person, by: str, found: Sequence[Hit]) -> Verdict:
        """Say what follows when a person is recognised in one case, or in several."""
        found = sorted(found, key=_id)
        free = [hit for hit in found if not self._is_of_others(person, hit)]
        if len(free) > 1:
            return Verdict(person, "unverified", tuple(free), by, "two_candidates")
        if not free:
            return Verdict(person, "conflict", tuple(found), by, "two_people")
        (hit,) = free
        if hit.differs:
            return Verdict(person, "conflict", (hit,), by, "keys_disagree")
        if hit.closed:
            return Verdict(person, "conflict", (hit,), by, "closed")
        if by == MAIL and hit.other_name:
            return Verdict(person, "unverified", (hit,), by, "other_name")
        return Verdict(person, "duplicate", (hit,), by)

    def _by_likeness(self, person: Person, hits: Sequence[Hit]) -> Verdict:
        """Say whether somebody has only the name or the phone of a case."""
        alike = [
            hit
            for hit in hits
            if {NAME, PHONE} & set(hit.by) and not (hit.closed or hit.taken or self._claims.get(hit.case_id))
        ]
        if alike:
            shown = tuple(sorted(alike, key=_id)[:MOST])
            by = NAME if any(NAME in hit.by for hit in shown) else PHONE
            reason = "two_candidates" if len(shown) > 1 else f"same_{by}"
            return Verdict(person, "unverified", shown, by, reason)
        if self._rules.email and not any(person.pairs) and not self._has_own_address(person):
            reason = "shared_email" if person.mail else ""
            return Verdict(person, "missing_email", reason=reason)
        return Verdict(person, "new")

    def _has_own_address(self, person: Person) -> bool:
        return bool(person.mail) and len(self._index[MAIL, person.mail]) == 1

    def _names_a_pair(self, hit: Hit) -> bool:
        return any(name in hit.by for name, _ in self._rules.pairs)

    def _sure(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits that are more than a likeness, in the order of their cases."""
        return sorted((hit for hit in hits if set(hit.by) - {NAME, PHONE} and not hit.closed), key=_id)

    def _is_of_others(self, person: Person, hit: Hit) -> bool:
        """Say whether a case is another person's, or another one claims it as well."""
        return hit.taken or bool(self._claims.get(hit.case_id, set()) - {person.key})

    def _hash(self, text: object) -> int:
        """Return eight bytes that stand for a text in this process only, 0 for nothing."""
        return self._short(str(text)) if text else 0

    def _short(self, text: str) -> int:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest)


def _whole(words: Sequence[str]) -> str:
    """Return a name to compare; a single word is none, too many people have it."""
    return " ".join(words) if len(words) > 1 else ""


def _id(hit: Hit) -> str:
    return hit.case_id
