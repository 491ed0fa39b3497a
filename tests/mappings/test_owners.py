"""Owner rules give references in order; who of them exists is found out elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine import OwnerReference, OwnerRule, ValueProblem
from tests.mappings.workbench import CONTEXT, HEAD, PERSON, drafted, student

COACHES = OwnerReference("group", "Field coaches")
RULES = HEAD.replace(
    "owner: {otherwise: project}",
    """owner:
  first_of:
    - {user: profile.chw_username}
    - {group: groups}
    - {location: profile.district, lookup: facility}
  otherwise: project
  write: once""",
)


def owner(place: Path, head: str, fields: dict[str, Any]) -> tuple[OwnerRule, tuple[ValueProblem, ...]]:
    """Return the owner rule of one person, and the problems met."""
    made = drafted(student(place, "x: department", head=head).draft({**PERSON, **fields}, CONTEXT))
    return made.owner, made.problems


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        (["user:amina", "location:siaya-02"], {"profile": {"chw_username": " amina ", "district": "Bondo"}}),
        (
            ["group:A", "group:B"],
            {"profile": {"chw_username": "", "district": ""}, "groups": ["A", "", "B"]},
        ),
        (["location:siaya-03"], {"profile": {"district": "Gem"}}),
        ([], {}),
    ],
)
def test_rules_in_order(tmp_path: Path, expected: list[str], fields: dict[str, Any]) -> None:
    """Rules without a value drop out, a list gives one reference each, the project's owner comes last."""
    rule, problems = owner(tmp_path, RULES, fields)
    assert [*expected, "group:Field coaches"] == [f"{one.kind}:{one.value}" for one in rule.candidates]
    assert rule.write_once
    assert () == problems


@pytest.mark.parametrize(
    ("not_sent", "fields"),
    [
        (False, {"profile": {"chw_username": "amina"}}),
        (True, {"groups": ["A"]}),
        (False, {"profile": {"chw_username": "", "district": ""}, "groups": []}),
    ],
)
def test_a_rule_whose_field_was_not_sent_is_told(tmp_path: Path, not_sent: bool, fields: dict[str, Any]) -> None:
    """A better rule might have fitted, had Moodle sent its field: the caller can leave a standing owner alone."""
    assert not_sent is owner(tmp_path, RULES, fields)[0].not_sent


def test_unknown_lookup_value(tmp_path: Path) -> None:
    """A value the lookup does not have drops the rule and is listed."""
    rule, problems = owner(tmp_path, RULES, {"profile": {"district": "Rarieda"}})
    assert (COACHES,) == rule.candidates
    assert (ValueProblem("@owner", "unknown_code", "Rarieda"),) == problems


def test_fixed_owner(tmp_path: Path) -> None:
    """A mapping can name its own fixed owner."""
    head = HEAD.replace("{otherwise: project}", "{otherwise: {location: siaya-02}}")
    expected = OwnerRule((OwnerReference("location", "siaya-02"),), "", False)
    assert expected == owner(tmp_path, head, {})[0]


def test_no_owner_fits(tmp_path: Path) -> None:
    """Without `otherwise` there may be no candidate; an owner is never invented."""
    head = HEAD.replace("{otherwise: project}", "{first_of: [{user: profile.chw_username}]}")
    assert () == owner(tmp_path, head, {"profile": {"chw_username": ""}})[0].candidates
