"""docs/sms.md is true: its properties are in the shipped mapping, its rule and ladder are those that are tried."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from flows.catalogue import field_catalogue
from mappings.engine import check_project, load_project
from tests.flows.test_reminders import LADDER, uncomment_consent
from tests.mappings.workbench import shipped

GUIDE = (Path(__file__).parents[1] / "docs" / "sms.md").read_text("utf-8")
NO_PROPERTIES = {"engagement", "student", "country"}
"""What stands in backticks in the guide and is a case type, a setting or CommCare's own."""


def engagement(folder: Path) -> Path:
    """Write the shipped mappings as the guide says: engagement on, with consent."""
    file = shipped(folder) / "engagement.yaml"
    file.write_text(file.read_text("utf-8").replace("enabled: false\n", ""), "utf-8")
    uncomment_consent(file)
    return file


def section(name: str) -> str:
    """Return the text under a heading."""
    return re.split(r"(?m)^## ", GUIDE.split(f"## {name}\n")[1])[0]


def table(text: str, first: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this head."""
    found = re.search(rf"(?m)^\| {re.escape(first)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text)
    assert found, first
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]


def test_every_property_is_in_the_mapping(tmp_path: Path) -> None:
    """Each word that looks like a property, and each {case.word} of a message, is one of the shipped mapping's."""
    engagement(tmp_path)
    assert [] == [problem.render() for problem in check_project(tmp_path, field_catalogue()).problems]
    mapping = next(one for one in load_project(tmp_path, field_catalogue()).mappings if one.name == "engagement")
    text = re.sub(r"(?ms)^```.*?^```", "", GUIDE)
    words = {*re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text), *re.findall(r"\{case\.(\w+)\}", text)}
    named = words - NO_PROPERTIES - {"contact_phone_number_is_verified", "never_started", "sw_ke"}
    assert set() == named - mapping.spec.properties.keys()
    told = set(re.findall(r"`(\w+)`", "".join(row[0] for row in table(GUIDE, "property"))))
    assert set() == named - told
    assert {"sms_live", "sms_consent", "quiet_since", "time_zone"} <= told


def test_the_rule_and_the_ladder_are_those_that_are_tried() -> None:
    """The tables of the guide say what the thirty days of the tests play through; Day 1 is the start date."""
    rows = table(section("The alert in CommCare"), "case property")
    equals = {row[0].strip("`"): row[2].strip("`") for row in rows if row[1] == "equal to"}
    filled = tuple(row[0].strip("`") for row in rows if row[1] == "has a value")
    assert (LADDER.equals, LADDER.has_value) == (equals, filled)
    begin = next(row[1] for row in table(GUIDE, "field") if row[0] == "Begin")
    assert [LADDER.start] == re.findall(r"`(\w+)`", begin)
    rungs = table(GUIDE, "days without a visit")
    assert [(str(day), str(day + 1), LADDER.at.strftime("%H:%M")) for day in LADDER.days] == [
        (row[0], row[1], row[2]) for row in rungs
    ]


def test_the_first_rung_comes_after_the_day_is_there(tmp_path: Path) -> None:
    """What the guide says of quiet_since is what the mapping has: 5 days, and the first rung at least 2 later."""
    text = engagement(tmp_path).read_text("utf-8")
    (days,) = re.findall(r"date_once: \{days_ago: (\d+)\}", text)
    assert f"once it is {days} days ago" in table(GUIDE, "property")[3][1]
    assert int(days) + 2 <= min(LADDER.days)


def test_what_is_added_for_the_united_states(tmp_path: Path) -> None:
    """The block of the guide can be added to the mapping as it stands."""
    file = engagement(tmp_path)
    (block,) = re.findall(r"(?ms)^```yaml\n# mappings/engagement.yaml\nproperties:\n(.*?)^```", GUIDE)
    assert yaml.safe_load(block)
    file.write_text(file.read_text("utf-8").replace("properties:\n", f"properties:\n{block}", 1), "utf-8")
    assert [] == [problem.render() for problem in check_project(tmp_path, field_catalogue()).problems]


def test_switching_on_fails_no_test(tmp_path: Path) -> None:
    """Reminders that begin as the guide says leave the mapping's own tests as they are."""
    file = engagement(tmp_path)
    text = file.read_text("utf-8")
    file.write_text(text.replace('    value: "no"\n', '    value: "yes"\n'), "utf-8")
    assert text != file.read_text("utf-8")
    assert [] == [problem.render() for problem in check_project(tmp_path, field_catalogue()).problems]
