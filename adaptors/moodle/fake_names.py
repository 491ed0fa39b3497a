"""How the fake Moodle writes names: raw, for a web page, or through the filter for multi-language content.

Raw and displayed names are as recorded; the filter is made after its documentation, not after a recording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adaptors.moodle.fake_templates import display

_SPAN = r'<span(?=[^>]*\bclass="multilang")(?=[^>]*\blang="(?:[\w-]+)")[^>]*>.*?</span>'
_BLOCK = re.compile(rf"{_SPAN}(?:\s*{_SPAN})+", re.DOTALL)
_ONE = re.compile(r'<span[^>]*\blang="([\w-]+)"[^>]*>(.*?)</span>', re.DOTALL)
_PARENT = 2  # letters of a language whose own pack is es_mx


@dataclass(frozen=True)
class Wording:
    """What a call asks for: `raw` wins over `filtered`; `language` "" is the account's own."""

    raw: bool = False
    filtered: bool = False
    language: str = ""

    def of(self, text: str, account_language: str = "en") -> str:
        """Return a stored name as the call wants it."""
        if self.raw:
            return text
        return display(in_language(text, self.language or account_language) if self.filtered else text)


def in_language(text: str, language: str) -> str:
    """Keep one language of each block of two or more: the one asked for, its parent, or the first."""

    def choose(block: re.Match[str]) -> str:
        texts = dict(_ONE.findall(block.group()))
        return texts.get(language) or texts.get(language[:_PARENT]) or str(next(iter(texts.values())))

    return _BLOCK.sub(choose, text)
