"""Owner rules give references in order; who of them exists is found out elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mappings.engine import OwnerReference, OwnerRule, ValueProblem
from tests.mappings.workbench import CONTEXT, HEAD, PERSON, drafted, mapping, project_of, student

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
    ("certain", "fields"),
    [
        (1, {"profile": {"chw_username": "amina"}}),
        (0, {"groups": ["A"]}),
        (None, {"profile": {"chw_username": "", "district": ""}, "groups": []}),
    ],
)
def test_a_rule_whose_field_was_not_sent_is_told(
    tmp_path: Path, certain: int | None, fields: dict[str, Any]
) -> None:
    """A better rule might have fitted, had Moodle sent its field: the caller can leave a standing owner alone."""
    made, _ = owner(tmp_path, RULES, fields)
    assert (certain, certain == 0) == (made.certain, made.not_sent)


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


@pytest.mark.parametrize(
    ("expected", "rule", "fields"),
    [
        (["user:grace.wekesa", "user:otieno"], "{user: teachers}", {"teachers": ["grace.wekesa", "otieno"]}),
        (["group:Evening"], "{group: groups}", {"groups": ["Evening"]}),
        (["location:siaya-02"], "{location: course.profile.ward, lookup: facility}", {"ward": "Bondo"}),
        ([], "{user: teachers}", {"teachers": []}),
    ],
)
def test_owners_of_an_enrolment(tmp_path: Path, expected: list[str], rule: str, fields: dict[str, Any]) -> None:
    """A course's teachers, the learner's groups in it and the course's own fields may name the owner."""
    text = f"""
language: 1
case_type: enrolment
source: enrolments
external_id: "{{site}}-enrol-{{course.id}}-{{user.id}}"
case_name: "{{course.fullname}}"
owner: {{first_of: [{rule}]}}
properties: {{status: status}}
"""
    course = {"id": 7, "fullname": "Basics", "profile": {"ward": fields.pop("ward", "")}}
    made = drafted(mapping(tmp_path, text).draft({"course": course, "user": {"id": 1}, **fields}, CONTEXT))
    assert expected == [f"{one.kind}:{one.value}" for one in made.owner.candidates]


def test_the_owner_of_a_parent(tmp_path: Path) -> None:
    """`same_as` names the parent and leaves finding its owner to the run; `write: once` is told."""
    head = HEAD.replace("{otherwise: project}", "{same_as: household, write: once}").replace(
        "site}-user", "site}-member"
    )
    above = HEAD.replace("case_type: student", "case_type: household").replace("site}-user", "site}-household")
    index = 'indices: {home: {case_type: household, external_id: "{site}-household-{id}", relationship: child}}\n'
    files = {
        "student.yaml": f"{head}{index}properties:\n  x: department\n",
        "household.yaml": f"{above}properties:\n  x: city\n",
    }
    made = drafted(project_of(tmp_path, files).mappings[1].draft(PERSON, CONTEXT))
    assert OwnerRule((), "household", write_once=True) == made.owner
