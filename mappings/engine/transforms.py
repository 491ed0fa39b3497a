"""The transforms of the language: a closed list of 24, text in and text out unless they say otherwise."""

# No `from __future__ import annotations`: what a transform takes is read off its annotations, which then need not
# be made out of texts each time the command starts.
from collections.abc import Callable, Mapping, Sequence
from datetime import date as Date
from datetime import tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from mappings.engine.addresses import address
from mappings.engine.codes import CodeTable
from mappings.engine.markup import html_text
from mappings.engine.moments import day, day_text, format_refusal, moment, typed_day, utc_text
from mappings.engine.paths import settled
from mappings.engine.phones import country_refusal, phone_text
from mappings.engine.pictures import without_pictures
from mappings.engine.texts import Invalid, to_number, to_text
from mappings.engine.transform import transform


def _refuse_format(settings: Mapping[str, Any]) -> str:
    return format_refusal(settings.get("format", "%Y-%m-%d"))


def _refuse_formats(settings: Mapping[str, Any]) -> str:
    return _refuse_format(settings) or format_refusal(settings.get("or") or "%Y")


def _refuse_country(settings: Mapping[str, Any]) -> str:
    return country_refusal(settings["country"]) if "country" in settings else ""


def _refuse_decimals(settings: Mapping[str, Any]) -> str:
    return "more than 10 decimals mean nothing" if settings.get("decimals", 0) > 10 else ""


def _refuse_split(settings: Mapping[str, Any]) -> str:
    if not settings.get("by", "x"):
        return "'by' is the text between the parts and cannot be empty"
    return "the first part is number 1" if settings.get("take", 1) < 1 else ""


def _refuse_shorten(settings: Mapping[str, Any]) -> str:
    return "a text cannot be shortened to nothing" if settings.get("length", 1) < 1 else ""


def _refuse_replace(settings: Mapping[str, Any]) -> str:
    return "" if settings.get("find", "x") else "'find' cannot be empty"


def _refuse_bands(settings: Mapping[str, Any]) -> str:
    limits = [limit for name, limit in settings.items() if name != "otherwise"]
    if not limits:
        return "there is no band: name at least one with its highest number"
    return "" if limits == sorted(set(limits)) else "the numbers of the bands must grow from one to the next"


@transform(example=(None, " Amina ", "Amina"))
def trim(value: str) -> str:
    """Take away white space at both ends."""
    return value.strip()


@transform(example=(None, "Amina.Otieno", "amina.otieno"))
def lower(value: str) -> str:
    """Write in small letters."""
    return value.lower()


@transform(example=(None, "ke", "KE"))
def upper(value: str) -> str:
    """Write in capital letters."""
    return value.upper()


@transform(example=(None, "anne-marie N'DIAYE", "Anne-Marie N'diaye"))
def title(value: str) -> str:
    """Start each word, and each part after a hyphen, with a capital letter."""
    return " ".join("-".join(part.capitalize() for part in word.split("-")) for word in value.split())


@transform(example=(None, 7, "7"))
def text(value: str) -> str:
    """Take a number or flag as text, as it is."""
    return value


@transform(
    example=({"decimals": "1"}, 71.25, Decimal("71.3")), takes="number", gives="number", refuse=_refuse_decimals
)
def number(value: object, *, decimals: int = -1) -> Decimal:
    """Read a number; with `decimals`, round it half up on its decimal digits."""
    found = to_number(value)
    return found if decimals < 0 else found.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


@transform(example=({"format": "digits"}, "0722 000 111", "254722000111"), refuse=_refuse_country)
def phone(
    value: str, *, country: str, format: Literal["e164", "digits", "national", "international"] = "e164"
) -> str:
    """Bring a telephone number to one form; without a country code it belongs to the project's country."""
    return phone_text(value, country, format)


@transform(example=(None, " Amina@Example.ORG ", "amina@example.org"))
def email(value: str) -> str:
    """Check an e-mail address and write it in small letters."""
    return address(value)


@transform(example=({"format": "%d/%m/%Y"}, 1760000000, "09/10/2025"), takes="moment", refuse=_refuse_format)
def date(value: object, *, format: str = "%Y-%m-%d", zone: tzinfo) -> str | None:
    """Give the day of a Moodle time in the project's time zone."""
    when = moment(value, zone)
    return day_text(when, format) if when else None


@transform(example=(None, 1760000000, "2025-10-09T08:53:20.000000Z"), takes="moment")
def date_time(value: object, *, zone: tzinfo) -> str | None:
    """Give a Moodle time as CommCare stores it, in UTC."""
    when = moment(value, zone)
    return utc_text(when) if when else None


@transform(example=({"format": "%d/%m/%Y", "or": "%d/%m/%y"}, "9/10/25", "2025-10-09"), refuse=_refuse_formats)
def parse_date(value: str, *, format: str, or_: str = "") -> str:
    """Read a date that somebody typed, in one way of writing or in another."""
    try:
        return typed_day(value, format)
    except Invalid:
        if not or_:
            raise
        return typed_day(value, or_)


@transform(example=(None, 1760000000, 10), takes="moment", gives="number")
def days_ago(value: object, *, zone: tzinfo, today: Date) -> int | None:
    """Count the days from a time or day to today; needs `recheck_daily: true`."""
    when = day(value, zone)
    return (today - when).days if when else None


@transform(example=({"days_ago": "5"}, 1760000000, "2025-10-09"), takes="moment")
def date_once(value: object, *, days_ago: int, zone: tzinfo, today: Date) -> str | None:
    """Give the day of a time once it is so many days ago, and nothing before; needs `recheck_daily: true`."""
    when = day(value, zone)
    return when.isoformat() if when and (today - when).days >= days_ago else None


@transform(
    example=({"active": "7", "slowing": "14", "otherwise": "lost"}, 10, "slowing"),
    takes="number",
    refuse=_refuse_bands,
)
def bands(value: object, /, *, otherwise: str, **upto: float) -> str:
    """Name the first band whose number is not below the value."""
    found = float(to_number(value))
    return next((name for name, limit in upto.items() if found <= limit), otherwise)


@transform(example=("gender", "F", "female"), takes="each", table="code list")
def code_list(value: str, *, table: CodeTable) -> str:
    """Translate a text, or each entry of a list, with a code list."""
    return table.translate(value)


@transform(example=("facility_by_district", "Bondo", "siaya-02"), takes="each", table="lookup")
def lookup(value: str, *, table: CodeTable) -> str:
    """Translate a text, or each entry of a list, with a lookup table."""
    return table.translate(value)


@transform(example=({"by": "_", "take": "1"}, "en_us", "en"), refuse=_refuse_split, list_without="take")
def split(value: str, *, by: str, take: int = 0) -> str | list[str] | None:
    """Cut at a text and take one part, counted from 1; without `take`, a list of all parts that are not blank."""
    if take:
        return part_taker(by, take)(value)
    return [part.strip() for part in value.split(by) if part.strip()] or None


def part_taker(by: str, take: int) -> Callable[[str], str | None]:
    """Return a function that cuts a text and takes one part, counted from 1."""

    def part(text: str) -> str | None:
        parts = text.split(by)
        return parts[take - 1].strip() if take <= len(parts) else None

    return part


@transform(example=(", ", ["Siaya", "Evening"], "Siaya, Evening"), takes="list")
def join(value: Sequence[object], *, by: str) -> str:
    """Put the entries of a list into one text."""
    return by.join(to_text(entry).strip() for entry in value if settled(entry) is not None)


@transform(example=(None, ["Siaya", "Evening"], 2), takes="list", gives="number")
def count(value: Sequence[object]) -> int:
    """Count the entries of a list; an empty list gives nothing, so add `default: "0"` for a zero."""
    return len(value)


@transform(example=(None, ["Siaya", "Evening"], "Siaya"), takes="list")
def first(value: Sequence[object]) -> object:
    """Take the first entry of a list that is not blank."""
    return next((entry for entry in value if settled(entry) is not None), None)


@transform(example=(None, "Community &amp; <b>Health</b>", "Community & Health"))
def html_to_text(value: str) -> str:
    """Take the words out of an HTML text."""
    return html_text(value)


@transform(example=(None, "Amina 🌍 Otieno 👩🏾‍⚕️", "Amina Otieno"))
def plain_text(value: str) -> str:
    """Take out emojis and other small pictures; letters of every script, digits and signs stay."""
    return without_pictures(value)


@transform(example=("9", "Community Health", "Community"), refuse=_refuse_shorten)
def shorten(value: str, *, length: int, longer: Literal["cut", "refuse"] = "cut") -> str:
    """Keep the first characters of a text; with `longer: refuse`, a longer one is listed as unusable instead."""
    if longer == "refuse" and len(value) > length:
        raise Invalid("over_length")
    return value[:length].rstrip()


@transform(example=({"find": "/", "with": "-"}, "A/7", "A-7"), refuse=_refuse_replace)
def replace(value: str, *, find: str, with_: str) -> str:
    """Replace every occurrence of a text by another."""
    return value.replace(find, with_)
