"""Words for people, in one language or several: `label: Gender`, or `label: {en: Gender, fr: Genre}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from mappings.engine.fields import refuse
from mappings.engine.problems import quoted

LANGUAGE: Final = re.compile(r"[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*")
"""The code of a language, as Moodle and CommCare write it: en, sw, pt_br."""

OWN: Final = ""
"""The language of words that were written without naming one."""


def _by_language(value: Any) -> Any:
    if isinstance(value, str):
        return {OWN: value}
    if isinstance(value, dict):
        for code in value:
            if not LANGUAGE.fullmatch(code):
                remedy = "write {en: .., fr: ..}, or one text in quotes"
                refuse(f"{quoted(code)} is not the code of a language", remedy, at=code)
        return value
    refuse("this takes a text, or one for each language", "write {en: .., fr: ..}")


Words = Annotated[dict[str, str], BeforeValidator(_by_language, json_schema_input_type=str | dict[str, str])]
"""Texts by the code of their language; "" for the mapping's own language."""


def in_language(words: Mapping[str, str], language: str = OWN) -> str:
    """Return words in a language: exactly that one, its main one, the mapping's own, English, any; "" for none."""
    main = re.split("[_-]", language)[0]
    wanted = [code for code in (language, main, OWN, "en") if code in words]
    return words[wanted[0]] if wanted else next(iter(words.values()), "")
