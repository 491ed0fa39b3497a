"""The quick ways to a value make exactly what the careful one makes, whatever a record holds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from mappings.engine.compile import CompiledMapping
from mappings.engine.draft import Draft, ValueProblem
from mappings.engine.steps import compile_chain
from mappings.engine.texts import ABSENT, Absent
from mappings.engine.values import Rejected, Settling, careful_property, compile_take
from tests.mappings.workbench import CONTEXT, PERSON, student

CHAINS = (
    "[]", "[trim]", "[lower]", "[trim, upper]", "[title]", "[text]", "[{phone: {format: digits}}]", "[phone]",
    "[{phone: {format: national, country: UG}}]", "[date]", '[{date: "%d/%m/%Y"}]', "[date_time]",
    '[{parse_date: "%d/%m/%Y"}]', "[{code_list: gender}]", "[{code_list: cadre}, upper]", "[{lookup: facility}]",
    '[{split: {by: "_", take: 1}}, lower]', '[{split: {by: "_", take: 2}}, {code_list: gender}]',
    '[{split: {by: "_"}}, {join: "-"}]', '[{split: {by: "_"}}, {code_list: gender}, {join: " "}]',
    "[html_to_text]", "[{shorten: 3}]", '[{replace: {find: " ", with: ""}}, lower]', "[number]",
    "[{number: 1}, text]", "[{bands: {low: 3, high: 7, otherwise: top}}, upper]", "[trim, {code_list: gender}]",
    "[email]", "[plain_text, email]", "[{shorten: {length: 3, longer: refuse}}, upper]",
    '[{parse_date: {format: "%d/%m/%Y", or: "%d/%m/%y"}}]',
)  # fmt: skip
SETTINGS = (
    "", "when_invalid: clear", "when_invalid: original", "when_invalid: reject", "default: none", "required: true",
    "when_blank: keep", "when_not_sent: clear",
)  # fmt: skip
VALUES = (
    ABSENT, None, "", " ", "\t\n", "F", " F ", "M_F", "_", "Bondo", "0722 000 111", "+254722000111", "12",
    "é\x00b", "a\r\nb", "<b>x</b> &amp; y", "09/10/2025", "1760000000", "80.50", "-0", 0, 7, -3, 1760000000,
    10**20, 7.25, float("nan"), True, False, [], ["F", " ", "M"], ["x"], {}, {"a": 1}, "x" * 300, "\u200b", "ß",
    "Amina@Example.org", "a 🌍 b", "9/10/25",
)  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_every_way_makes_the_same(tmp_path: Path, chain: str) -> None:
    """A field of the record, one of a block and the first of two, against the careful way, for odd values."""
    chance = random.Random(chain)
    for settings in chance.sample(SETTINGS, 4):
        rest = f"transform: {chain}, {settings}, personal: false".replace(", ,", ",")
        ways = (f"source: city, {rest}", f"source: profile.city, {rest}", f"first_of: [phone1, city], {rest}")
        mapping = student(tmp_path, "\n".join(f"x{number}: {{{way}}}" for number, way in enumerate(ways)))
        for value in VALUES:
            for number in range(len(ways)):
                expected, problems = _careful(mapping, f"x{number}", _record(value))
                made = mapping.draft(_record(value), CONTEXT)
                told = [problem for problem in made.problems if problem.property == f"x{number}"]
                assert problems == told, value
                if isinstance(made, Draft):
                    assert expected == made.properties.get(f"x{number}", ABSENT), (value, settings)


def _careful(mapping: CompiledMapping, name: str, record: dict[str, Any]) -> tuple[Any, list[ValueProblem]]:
    """Return what the careful way makes of a property, and the problems it tells."""
    spec = mapping.spec.properties[name]
    chain = compile_chain(spec.transform, mapping.around)
    problems: list[ValueProblem] = []
    try:
        evaluate = careful_property(compile_take(spec), chain, Settling(name, spec, personal=False))
        return evaluate(record, CONTEXT, problems), problems
    except Rejected as rejected:
        return None, [rejected.problem]


def _record(value: object) -> dict[str, Any]:
    if isinstance(value, Absent):
        return {**PERSON, "profile": {}}
    return {**PERSON, "city": value, "profile": {"city": value}}
