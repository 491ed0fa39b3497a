"""The parts of a question: what ends, what stays, and which number is asked about."""

from __future__ import annotations

from typing import Any

import pytest

from flows.questions import agreed, ask, end, parted, take
from flows.steps.reach import Reach

WHOLE = Reach(frozenset({"student", "enrolment"}), frozenset({2, 3}), everybody=True)
SOME = Reach(frozenset({"student", "enrolment"}), None, everybody=False)


@pytest.mark.parametrize(
    ("reach", "place", "over"),
    [
        (WHOLE, ("enrolment", 2), (True, True)),
        (WHOLE, ("student", 0), (True, True)),
        (WHOLE, ("enrolment", 3), (False, False)),  # selected, and not read
        (WHOLE, ("enrolment", 4), (True, False)),  # not selected any more
        (WHOLE, ("grade_item", 3), (True, True)),  # switched off
        (SOME, ("enrolment", 2), (True, True)),
        (SOME, ("enrolment", 4), (False, False)),
        (SOME, ("student", 0), (False, False)),  # only the people of a few courses
    ],
)
def test_what_is_over(reach: Reach, place: tuple[str, int], over: tuple[bool, bool]) -> None:
    """Question and word end where it was looked at again; a question also where nothing looks any more."""
    looked_at = {("enrolment", 2), ("student", 0)}
    assert over == (reach.is_settled(place, looked_at), reach.is_over(place, looked_at))


def test_only_what_is_over_ends() -> None:
    """The other parts of a question stay, and a word of which somebody has said another number since."""
    asked: dict[str, Any] = {"2": {"enrolment": 5, "grade_item": 4}, "3": {"enrolment": 6}}
    given: dict[str, Any] = {"2": {"enrolment": 5}, "3": {"enrolment": 6}}
    end(asked, lambda _, mapping: mapping == "enrolment")
    end(given, lambda _, mapping: mapping == "enrolment", only={"2": {"enrolment": 5}, "3": {"enrolment": 7}})
    assert ({"2": {"grade_item": 4}}, {"3": {"enrolment": 6}}) == (asked, given)


def test_what_stays_keeps_its_number() -> None:
    """It is told again while nobody has answered; what is asked anew is told in any case."""
    asked: dict[str, Any] = {"0": {"student": 6}, "2": 9}
    found = {"0": {"student": 3}, "2": {"enrolment": 5}}
    assert {"0": {"student": 6}, "2": {"enrolment": 5}} == ask(asked, {}, found, lambda place, _: place == "0")
    answered = {"0": {"student": 6}, "2": {"enrolment": 5}}
    assert {"2": {"enrolment": 5}} == ask(asked, answered, found, lambda place, _: place == "0")
    assert answered == asked


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ({"student": 5, "volunteer": 4}, {"student"}),
        ({"volunteer": 5}, set()),
        ({"": 7}, set()),
        ({"": 8}, {"student", "volunteer"}),  # of an older version: one number for all
    ],
)
def test_a_word_is_of_its_parts(word: dict[str, int], parts: set[str]) -> None:
    """It says yes to the number that it names for a part, and to no other part."""
    assert parts == agreed(word, {"student": 5, "volunteer": 3}, sum)


def test_what_is_taken_is_gone() -> None:
    """A part that comes to nothing goes, and a word without any; one of an older version counts for all parts."""
    words: dict[str, Any] = {"student city": {"0": 5, "2": 3}, "student phone": 6}
    take(words, "student city", "0", 5)
    take(words, "student phone", "2", 4)
    assert {"student city": {"2": 3}, "student phone": {"": 2}} == parted(words)
    take(words, "student phone", "0", 2)
    assert {"student city": {"2": 3}} == words
