"""Conditions: each comparison on values, blanks and lists, and what a field that was not sent means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine import Draft, Excluded, HeldBack, ValueProblem
from mappings.engine.conditions import all_of, any_of, compile_condition
from mappings.engine.spec import ConditionSpec
from tests.mappings.workbench import CONTEXT, HEAD, PERSON, student


def condition(**words: Any) -> ConditionSpec:
    """Return a condition on the field `x`."""
    return ConditionSpec.model_validate({"source": "x", **words})


@pytest.mark.parametrize(
    ("expected", "words", "found"),
    [
        (True, {"is": "true"}, True),
        (False, {"is": "true"}, False),
        (True, {"is": "0"}, 0),
        (True, {"is": "80"}, 80.0),
        (True, {"is": "a"}, " a "),
        (False, {"is": "a"}, "A"),
        (False, {"is": "a"}, None),
        (True, {"is": ""}, ""),
        (True, {"is": "b"}, ["a", "b"]),
        (False, {"is": "b"}, []),
        (True, {"is_not": "a"}, "b"),
        (True, {"is_not": "a"}, None),
        (False, {"is_not": "b"}, ["a", "b"]),
        (True, {"any_of": ["a", "b"]}, "b"),
        (True, {"any_of": ["student"]}, ["teacher", "student"]),
        (False, {"any_of": ["a"]}, ""),
        (True, {"none_of": ["a", "b"]}, "c"),
        (False, {"none_of": ["a"]}, ["c", "a"]),
        (True, {"none_of": ["a"]}, []),
        (True, {"like": "CHW-*"}, "CHW-01"),
        (False, {"like": "CHW-*"}, "chw-01"),
        (False, {"like": "*"}, ""),
        (True, {"like": "S?aya"}, ["Gem", "Siaya"]),
        (True, {"at_least": "50"}, 50),
        (False, {"at_least": "50"}, 49.999999),
        (True, {"at_least": "50"}, "50.0"),
        (False, {"at_least": "50"}, None),
        (False, {"at_least": "50"}, "many"),
        (True, {"below": "50"}, 49.999999),
        (False, {"below": "50"}, ""),
        (False, {"below": "-3"}, -3),
        (True, {"is_empty": "true"}, None),
        (True, {"is_empty": "true"}, " "),
        (False, {"is_empty": "true"}, 0),
        (False, {"is_empty": "true"}, False),
        (True, {"is_empty": "false"}, "a"),
        (False, {"is_empty": "false"}, []),
        (False, {"is": "x"}, {"odd": 1}),
        (False, {"is": "x"}, float("nan")),
    ],
)
def test_comparison(expected: bool, words: dict[str, Any], found: object) -> None:
    """One comparison with one value that was sent."""
    assert expected is compile_condition(condition(**words))({"x": found})


def test_not_sent_is_unknown() -> None:
    """A comparison with a field that was not sent is neither true nor false."""
    assert compile_condition(condition(is_not="a"))({}) is None


@pytest.mark.parametrize(
    ("both", "either", "record"),
    [
        (True, True, {"x": "a", "y": "a"}),
        (False, True, {"x": "a", "y": "b"}),
        (False, False, {"x": "b", "y": "b"}),
        (None, True, {"x": "a"}),
        (False, None, {"x": "b"}),
        (None, None, {}),
    ],
)
def test_several(both: bool | None, either: bool | None, record: dict[str, str]) -> None:
    """What settles a list of conditions settles it, also when another field was not sent."""
    specs = [ConditionSpec.model_validate({"source": name, "is": "a"}) for name in ("x", "y")]
    assert both is all_of(specs)(record)
    assert either is any_of(specs)(record)


FILTERED = f"""{HEAD}
include:
  - {{source: roles, any_of: [student]}}
  - {{source: profile.consent, is: "1"}}
exclude:
  - {{source: username, any_of: [guest, admin]}}
  - {{source: suspended, is: true}}
"""


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("draft", {"roles": ["student"], "profile": {"consent": "1"}, "username": "a", "suspended": False}),
        ("include", {"roles": ["teacher"], "profile": {"consent": "1"}, "username": "a", "suspended": False}),
        ("include", {"roles": ["student"], "profile": {"consent": ""}, "username": "a", "suspended": False}),
        ("exclude", {"roles": ["student"], "profile": {"consent": "1"}, "username": "guest", "suspended": False}),
        ("exclude", {"roles": ["student"], "profile": {"consent": "1"}, "suspended": True}),
        ("include", {"roles": ["teacher"]}),
    ],
)
def test_include_and_exclude(tmp_path: Path, expected: str, fields: dict[str, Any]) -> None:
    """All of `include` must hold and none of `exclude`; one that fails settles it whatever else is missing."""
    made = student(tmp_path, "x: department", head=FILTERED).draft({**PERSON, **fields}, CONTEXT)
    if expected == "draft":
        assert isinstance(made, Draft)
    else:
        assert Excluded("demo-user-1042", expected) == made


@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        (("profile.consent",), {"roles": ["student"], "username": "a", "suspended": False}),
        (("username",), {"roles": ["student"], "profile": {"consent": "1"}, "suspended": False}),
        (("roles", "username"), {"profile": {"consent": "1"}, "suspended": False}),
    ],
)
def test_a_filter_on_a_field_not_sent_holds_back(
    tmp_path: Path, missing: tuple[str, ...], fields: dict[str, Any]
) -> None:
    """A record that may or may not belong is held back, and the fields are named; it is never withdrawn."""
    made = student(tmp_path, "x: department", head=FILTERED).draft({**PERSON, **fields}, CONTEXT)
    problems = tuple(ValueProblem("@include", "not_sent", path) for path in missing)
    assert HeldBack("demo-user-1042", problems) == made


def test_excluded_without_a_key(tmp_path: Path) -> None:
    """A record that is left out and has no id has no key."""
    made = student(tmp_path, "x: department", head=FILTERED).draft({"roles": []}, CONTEXT)
    assert Excluded("", "include") == made
