"""Words that are allowed and will hardly do what was meant: patterns without a star, roles by their long names."""

from __future__ import annotations

import re
from typing import Final

from mappings.engine.catalogue import find_field
from mappings.engine.findings import Findings
from mappings.engine.problems import quoted
from mappings.engine.reading import Loc
from mappings.engine.spec import ConditionSpec

_PATH: Final = re.compile(r"\{([A-Za-z][\w.]*)\}")
_ROLES: Final = {
    "course creator": "coursecreator",
    "editing teacher": "editingteacher",
    "learner": "student",
    "manager": "manager",
    "non-editing teacher": "teacher",
    "student": "student",
    "students": "student",
    "teacher": "editingteacher",
}
"""How Moodle shows its roles, and their short names."""


def check_words(findings: Findings) -> None:
    """Warn about conditions and constants that look like something else was meant."""
    spec = findings.spec
    for word in ("include", "exclude"):
        for number, condition in enumerate(getattr(spec, word)):
            _check_condition(findings, (word, number), condition)
    for name, found in spec.properties.items():
        for number, case in enumerate(found.cases or ()):
            at: Loc = ("properties", name, "cases", number)
            _check_constant(findings, (*at, "value"), case.value)
            for place, condition in enumerate(case.when):
                _check_condition(findings, (*at, "when", place), condition)
        for key in ("value", "otherwise", "default"):
            _check_constant(findings, ("properties", name, key), getattr(found, key))


def _check_constant(findings: Findings, loc: Loc, text: str | None) -> None:
    found = _PATH.search(text or "")
    if found and find_field(findings.catalogue, findings.spec.source, found[1]):
        sentence = f"{quoted(found[0])} is sent as it stands here, not filled in"
        remedy = "only 'template' fills in fields; give that a property of its own"
        findings.tell(loc, sentence, remedy, severity="warning")


def _check_condition(findings: Findings, loc: Loc, spec: ConditionSpec) -> None:
    if spec.like is not None and not set("*?[") & set(spec.like):
        sentence = f"{quoted(spec.like)} holds for this whole text only"
        starred = spec.like.replace("%", "*") if "%" in spec.like else f"*{spec.like}*"
        findings.tell(
            (*loc, "like"), sentence, f"* stands for any text, as in {quoted(starred)}", severity="warning"
        )
    words = [spec.is_, spec.is_not, *(spec.any_of or ()), *(spec.none_of or ())]
    for word in words:
        _check_word(findings, (*loc, spec.operators[0]), spec.source, (word or "").strip())


def _check_word(findings: Findings, loc: Loc, source: str, word: str) -> None:
    short = _ROLES.get(word.lower(), "")
    if source == "roles" and short and short != word and word != word.lower():
        sentence = f"{quoted(word)} is how Moodle shows a role, not its short name"
        findings.tell(loc, sentence, f"the short name is {quoted(short)}", severity="warning")
    if ".profile." in f".{source}" and word.lower() in ("true", "false", "yes", "no"):
        one = "1" if word.lower() in ("true", "yes") else "0"
        sentence = f"a checkbox among the custom fields holds 1 or 0, never {quoted(word)}"
        findings.tell(loc, sentence, f'write "{one}", unless {quoted(source)} is a text', severity="warning")
