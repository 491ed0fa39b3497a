"""What a live record becomes in a test: nobody's, and still of the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine.pseudonyms import Pseudonyms, known_words, phone_like, shaped
from tests.mappings.workbench import CATALOGUE, HEAD, mapping

FIELDS = (
    "  a: {source: username, personal: true}\n  b: {source: email, personal: true}\n"
    "  c: {first_of: [phone1, phone2], transform: [phone], personal: true}\n"
    "  d: {source: idnumber, personal: true}\n  e: {source: profile.gender, transform: [{code_list: gender}]}\n"
    "  f: profile.note\n  g: {source: lastaccess, transform: [date]}\n  h: suspended\n  i: department\n"
    "  j: {source: city, personal: true}\n  k: {source: groups, transform: [{join: ' '}]}\n"
)


def made(place: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record becomes."""
    text = f"{HEAD}include: [{{source: roles, any_of: [student]}}]\nproperties:\n{FIELDS}"
    return Pseudonyms(mapping(place, text), CATALOGUE).record(record)


def test_nothing_of_the_person_is_left(tmp_path: Path) -> None:
    """Names, addresses, numbers and free texts are others; blanks, capitals and shapes stay."""
    record: dict[str, Any] = {
        "id": 4711, "firstname": " WAIRIMU ", "lastname": "kariuki", "username": "wairimu.k",
        "email": "Wairimu@hospital.test", "phone1": "", "phone2": "+254 733 987 654", "idnumber": "KE-0042/x",
        "profile": {"gender": "F", "note": "Lives in Gem", "unread": "secret"}, "lastaccess": 1_760_000_123,
        "suspended": False, "department": "Ward 7", "city": "Nairobi",
        "groups": ["Gem North"], "roles": ["student"], "address": "Box 12",
    }  # fmt: skip
    assert {
        "id": "1001", "firstname": " AMINA ", "lastname": "abdi", "username": "amina.abdi",
        "email": "amina.abdi@example.org", "phone1": "", "phone2": "+254 730 000 123", "idnumber": "AB-4567/i",
        "profile": {"gender": "F", "note": "Abcde gh Jkl"}, "lastaccess": "1759968000", "suspended": "false",
        "department": "Abcd 6", "city": "Bondo", "groups": ["Group A"], "roles": ["student"],
    } == made(tmp_path, record)  # fmt: skip


def test_absent_stays_absent(tmp_path: Path) -> None:
    """A field that Moodle did not send is not in the test, a blank one is."""
    assert {"id": "1001", "city": ""} == made(tmp_path, {"id": 3, "city": None})


@pytest.mark.parametrize("number", ["+254 722 123 456", "0722 123 456", "00254722123456", "+1 (202) 555-0143"])
def test_a_phone_keeps_country_and_length(number: str) -> None:
    """The first digits and every mark stay, the last digits do not."""
    made = phone_like(number)
    assert (len(number), number[:3], True) == (len(made), made[:3] if len(number) > 2 else number, made != number)
    assert [c for c in number if not c.isdigit()] == [c for c in made if not c.isdigit()]


@pytest.mark.parametrize(
    ("value", "made_of_it"),
    [
        ("1990-05-04", "2000-01-01"),
        ("4/5/1990", "01/01/2000"),
        (641_692_800, "946684800"),
        ("12345678", "12345678"),
    ],
)
def test_a_birthday_is_no_longer_one(tmp_path: Path, value: object, made_of_it: str) -> None:
    """Dates in custom fields stay dates and tell nothing; other digits are others."""
    assert made_of_it == made(tmp_path, {"id": 3, "profile": {"note": value}})["profile"]["note"]


def test_a_shape_has_no_letter_of_the_text() -> None:
    """Capitals stay capitals, digits digits, marks themselves."""
    assert "Abc-efg 901" == shaped("Xyz-uvw 345")


def test_words_of_the_project_stay(tmp_path: Path) -> None:
    """Codes of its lists and words of its conditions are no secret of a person."""
    text = f"{HEAD}exclude: [{{source: department, is: Head office}}]\nproperties:\n{FIELDS}"
    words = known_words(mapping(tmp_path, text))
    assert ({"F", "M"}, {"Head office"}) == (words["profile.gender"], words["department"])


def test_ids_are_replaced_the_same_way(tmp_path: Path) -> None:
    """One person is one id in a record, and no id of a course is one of a person."""
    head = HEAD.replace("users", "enrolments").replace("{site}-user-{id}", "{site}-{course.id}-{user.id}")
    head = head.replace("{firstname} {lastname}", "{course.fullname}")
    text = f"{head}properties:\n  a: {{source: course.id, transform: [text]}}\n"
    record = {"course": {"id": 9, "fullname": "Health"}, "user": {"id": 9}}
    found = Pseudonyms(mapping(tmp_path, text), CATALOGUE, number=2).record(record)
    assert {"course": {"id": "1201", "fullname": "Health"}, "user": {"id": "1202"}} == found
