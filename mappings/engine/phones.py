"""Telephone numbers as people type them, brought to one form; the library is loaded with the first number."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mappings.engine.texts import Invalid

LAYOUTS: Final = ("e164", "digits", "national", "international")

_CODES: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW "
    "BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI "
    "FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN "
    "IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME "
    "MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF "
    "PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV "
    "SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK "
    "YE YT ZA ZM ZW"
)
COUNTRIES: Final = frozenset(_CODES.split())
"""The codes of ISO 3166, kept here so that checking a project does not load the library."""

_LONGEST = 60  # characters; no way of writing a number is longer


def phone_writer(country: str, layout: str) -> Callable[[str], str]:
    """Return a function that brings numbers of a country to one layout."""

    def write(text: str) -> str:
        number = _formatted(text.strip(), country, layout) if len(text) <= _LONGEST else ""
        if not number:
            raise Invalid("invalid_phone")
        return number

    return write


def phone_text(text: str, country: str, layout: str) -> str:
    """Return a number as +254722000111 (e164), 254722000111 (digits), or spaced out; Invalid when it is none."""
    return phone_writer(country, layout)(text)


@lru_cache(maxsize=2_000)  # parsing takes 0.1 ms, and a person's number is met once a mapping
def _formatted(text: str, country: str, layout: str) -> str:
    import phonenumbers

    ways = [text, f"+{text[2:]}"] if text.startswith("00") else [text]  # 00 is dialled for + almost everywhere
    for typed in ways:
        try:
            number = phonenumbers.parse(typed, country)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            name = "E164" if layout == "digits" else layout.upper()
            written = phonenumbers.format_number(number, getattr(phonenumbers.PhoneNumberFormat, name))
            return written.lstrip("+") if layout == "digits" else written
    return ""


def country_refusal(code: str) -> str:
    """Return why a country code cannot be used, or ""."""
    if code in COUNTRIES:
        return ""
    return "a country is two capital letters, as in KE" if code != "UK" else "the code of the United Kingdom is GB"
