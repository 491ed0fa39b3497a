"""Texts without emojis: people put them into names and notes, and not every phone, export or SMS shows them."""

from __future__ import annotations

import unicodedata
from typing import Final

from mappings.engine.texts import squeezed

_FIRST_PICTURE: Final = "\u2190"  # below it stand signs of ordinary text: © ° №
_JOINER: Final = "\u200d"  # between letters it belongs to the script, between pictures to them
_OF_PICTURES: Final = frozenset("\ufe0e\ufe0f\u20e3")  # turn the sign before them into a picture


def without_pictures(text: str) -> str:
    """Return a text without emojis, arrows and other symbols; what remains is squeezed."""
    if text.isascii():
        return text
    kept: list[str] = []
    for at, letter in enumerate(text):
        if _is_picture(letter) or (letter == _JOINER and _beside_picture(text, at)):
            continue
        kept.append(letter)
    return squeezed("".join(kept))


def _is_picture(letter: str) -> bool:
    if letter < _FIRST_PICTURE:
        return letter in _OF_PICTURES
    category = unicodedata.category(letter)
    is_tag = "\U000e0020" <= letter <= "\U000e007f"  # spell out the flags of regions
    skin = category == "Sk" and letter >= "\U0001f000"
    return category in ("So", "Co") or skin or is_tag or letter in _OF_PICTURES


def _beside_picture(text: str, at: int) -> bool:
    around = text[max(0, at - 1) : at] + text[at + 1 : at + 2]
    return any(_is_picture(letter) for letter in around)
