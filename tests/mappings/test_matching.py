"""What two systems write differently about one person is the same, and what is nobody's own is nothing."""

from __future__ import annotations

import pytest

from mappings.engine.matching import comparable, identifier, match_rules, name_words, phone_digits
from mappings.engine.spec import MappingSpec

SPEC = {
    "language": "1",
    "case_type": "student",
    "source": "users",
    "external_id": "{site}-user-{id}",
    "case_name": "{firstname}",
    "owner": {"otherwise": "project"},
}


def spec(properties: dict[str, object], **values: object) -> MappingSpec:
    """Return a mapping of people."""
    return MappingSpec.model_validate(SPEC | {"properties": properties} | values)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  AMINA   Otieno ", "amina otieno"),
        ("\uff21\uff4d\uff49\uff4e\uff41", "amina"),
        ("Stra\u00dfe", "STRASSE"),
        ("a\u200bb\u00adc", "abc"),
        ("\u0130stanbul", "i\u0307stanbul"),
        ("e\u0301", "\u00e9"),
        ("\ufb01sh", "FISH"),
        ("a\u00a0\tb", "a b"),
        (42, "42"),
        (None, ""),
        (["a"], ""),
    ],
)
def test_comparable(text: object, same: str) -> None:
    """Capitals, widths, ligatures, unseen signs and kinds of blanks make no difference."""
    assert comparable(same) == comparable(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jos\u00e9 Mu\u00f1oz", "munoz JOSE"),
        ("O'Brien Anne", "anne OBrien"),
        ("Otieno, Amina", "Amina Otieno"),
        ("\u0141ukasz S\u00f8rensen", "Sorensen Lukasz"),
    ],
)
def test_names(one: str, other: str) -> None:
    """Accents, order and punctuation of a name make no difference."""
    assert name_words(one) == name_words(other)


def test_names_of_other_scripts() -> None:
    """Words of any script are words."""
    assert 2 == len(name_words("\u0410\u043d\u043d\u0430 \u041f\u0435\u0442\u0440\u043e\u0432\u0430"))
    assert name_words("Amina Otieno") != name_words("Amina Atieno")


@pytest.mark.parametrize(
    ("one", "other"),
    [("0722 000 101", "+254 722 000 101"), ("254722000101", "00254-722-000101"), ("\u0660722000101", "722000101")],
)
def test_phones(one: str, other: str) -> None:
    """A number is the same however it is dialled."""
    assert phone_digits(one) == phone_digits(other) != ""


@pytest.mark.parametrize("text", ["", "12345", "0000000000", "1111111111", "no phone", None])
def test_no_phones(text: object) -> None:
    """What is too short, or one digit over and over, is no number."""
    assert "" == phone_digits(text)


@pytest.mark.parametrize("text", ["", "0", "000-000", "N/A", "none", "-", "...", "X", None])
def test_no_identifiers(text: object) -> None:
    """What is typed where there is no identifier is none."""
    assert "" == identifier(text)


def test_identifiers_keep_their_signs() -> None:
    """Of an identifier nothing is taken away: 12-3 is not 123, and 012 is not 12."""
    assert ("12-3", "012") == (identifier(" 12-3"), identifier("012"))


def test_rules_follow_from_properties() -> None:
    """Without `match` the properties made of email and phone are compared; what is retired is not."""
    rules = match_rules(
        spec({"mail": "email", "tel": {"first_of": ["phone2", "phone1"]}, "x": {"retire": "clear"}})
    )
    assert ("mail", "tel", frozenset({"key"})) == (rules.email, rules.phone, rules.auto)
    assert frozenset({"mail", "tel"}) == rules.properties
    nothing = match_rules(spec({"city": "city"}))
    assert ("", "", frozenset()) == (nothing.email, nothing.phone, nothing.properties)


def test_rules_as_written() -> None:
    """A bare list stands for `by`; email and phone may be named; the external id is no property."""
    pairs = [
        {"moodle": "profile.dni", "commcare": "national_id"},
        {"moodle": "idnumber", "commcare": "external_id"},
    ]
    rules = match_rules(spec({"city": "city"}, match=pairs))
    assert ["national_id", "external_id"] == [name for name, _ in rules.pairs]
    record = {"profile": {"dni": " A-1 "}, "idnumber": "n/a"}
    assert ["a-1", ""] == [at(record) for _, at in rules.pairs]
    assert frozenset({"national_id"}) == rules.properties
    named = match_rules(spec({"city": "city"}, match={"email": "e", "phone": "p", "auto": []}))
    assert ("e", "p", frozenset()) == (named.email, named.phone, named.auto)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Amina@Clinic.Example.Org ", "amina@clinic.example.org"),
        ("NoReply@clinic.example.org", ""),
        ("amina@EXAMPLE.com", ""),
        ("amina@x.invalid", ""),
        ("office@clinic.example.org", ""),
        ("amina at clinic", ""),
        ("@clinic.example.org", ""),
        (None, ""),
    ],
)
def test_addresses(text: object, address: str) -> None:
    """An address is compared in small letters; a placeholder, or half of one, is none."""
    rules = match_rules(spec({"city": "city"}, match={"ignore_emails": ["OFFICE@*"]}))
    assert address == rules.address(text)
