"""The closed list of transforms: each example holds, each wrong setting is told, and the odd values are met."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mappings.engine.codes import code_list, code_table
from mappings.engine.spec import StepSpec
from mappings.engine.steps import StepError, Surroundings, bind_settings, bind_step
from mappings.engine.texts import Invalid, to_text
from mappings.engine.transform import TRANSFORMS
from tests.mappings.workbench import CONTEXT, value

AROUND = Surroundings(
    ZoneInfo("Africa/Nairobi"),
    "KE",
    {"gender": code_list("gender", {"F": "female", "M": "male"})},
    {"facility_by_district": code_table("facility_by_district", {"Bondo": "siaya-02"}, None)},
)
THE_LIST = (
    "bands code_list count date date_once date_time days_ago email first html_to_text join lookup lower number "
    "parse_date phone plain_text replace shorten split text title trim upper"
)


def run(name: str, settings: object, given: object) -> object:
    """Bind one transform and apply it."""
    return bind_step(StepSpec(name=name, settings=settings), AROUND)(given, CONTEXT)


def test_the_list_is_closed() -> None:
    """The language has these 24 transforms and no other."""
    assert THE_LIST.split() == sorted(TRANSFORMS)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_example(name: str) -> None:
    """The example in a transform's definition is what it does."""
    settings, given, expected = TRANSFORMS[name].example
    assert expected == run(name, settings, given)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_help(name: str) -> None:
    """Every transform says in one sentence what it does."""
    words = TRANSFORMS[name].help
    assert words.endswith(".")
    assert "\n" not in words


@pytest.mark.parametrize(("expected", "days"), [("2025-10-14", "5"), ("2025-10-14", "0"), (None, "6")])
def test_a_day_counts_from_its_age(expected: str | None, days: str) -> None:
    """The day comes out from the day on which it is old enough, and not before."""
    assert expected == run("date_once", {"days_ago": days}, "2025-10-14")
    assert run("date_once", {"days_ago": days}, 0) is None


@pytest.mark.parametrize(
    ("expected", "decimals", "given"),
    [
        ("71.3", "1", 71.25),
        ("0.3", "1", 0.25),
        ("-71.3", "1", -71.25),
        ("80", "1", 80.0),
        ("3", "0", 2.5),
        ("0", "0", -0.2),
        ("12.35", "2", "12.345"),
    ],
)
def test_number_rounds_half_up(expected: str, decimals: str, given: object) -> None:
    """Rounding is half up on the decimal digits, as a teacher does it."""
    assert expected == to_text(run("number", {"decimals": decimals}, given))


@pytest.mark.parametrize(
    "given", ["twelve", "1e5", "1_000", "12,5", True, float("nan"), "--1", "", "9" * 17, 1e300]
)
def test_number_takes_plain_digits_only(given: object) -> None:
    """Anything but plain digits is no number."""
    with pytest.raises(Invalid, match="not_a_number"):
        run("number", None, given)


@pytest.mark.parametrize(
    ("expected", "settings", "given"),
    [
        ("+254722000111", None, "0722-000-111"),
        ("+254722000111", None, "00254722000111"),
        ("+251911000036", None, "+251 911 000 036"),
        ("+251911000036", {"country": "ET"}, "0911000036"),
        ("254722000111", {"format": "digits"}, "+254722000111"),
        ("0722 000111", {"format": "national"}, "+254722000111"),
    ],
)
def test_phone(expected: str, settings: object, given: str) -> None:
    """Numbers come out in one form, local ones in the project's country unless another is named."""
    assert expected == run("phone", settings, given)


@pytest.mark.parametrize("given", ["12", "ext. 12", "0722000111 / 0733000222", "x" * 1000, "0722"])
def test_phone_refuses(given: str) -> None:
    """What is not one right number is invalid, and asked twice it is invalid again."""
    for _ in range(2):
        with pytest.raises(Invalid, match="invalid_phone"):
            run("phone", None, given)


def test_dates_are_local() -> None:
    """A Moodle midnight is the day it is in the project, not the day before."""
    assert "2025-10-10" == run("date", None, 1760043600)
    assert "2025-10-09T21:00:00.000000Z" == run("date_time", None, 1760043600)


@pytest.mark.parametrize("given", ["soon", True, 10**18, "2025-13-01x"])
def test_date_refuses(given: object) -> None:
    """What is no time is told as such, however odd."""
    with pytest.raises(Invalid, match="not_a_date"):
        run("date", None, given)


def test_zero_is_no_date() -> None:
    """Moodle's 0 means that there is no date, also in a custom field."""
    assert run("date", None, "0") is None
    assert run("days_ago", None, 0) is None


@pytest.mark.parametrize(("expected", "given"), [(10, 1760000000), (0, "2025-10-19"), (-1, "2025-10-20")])
def test_days_ago(expected: int, given: object) -> None:
    """Days are counted between calendar days of the project."""
    assert expected == run("days_ago", None, given)


def test_typed_dates_are_checked() -> None:
    """A date that does not exist is invalid."""
    with pytest.raises(Invalid, match="not_a_date"):
        run("parse_date", {"format": "%d/%m/%Y"}, "31/02/2025")


@pytest.mark.parametrize(("expected", "given"), [("active", 7), ("slowing", 7.01), ("lost", 15), ("active", "-3")])
def test_bands_include_their_number(expected: str, given: object) -> None:
    """A band reaches up to and with its number."""
    settings = {"active": "7", "slowing": "14", "otherwise": "lost"}
    assert expected == run("bands", settings, given)


def test_unknown_codes_are_named() -> None:
    """A code that is in no list is invalid and says which."""
    with pytest.raises(Invalid) as caught:
        run("code_list", "gender", " X ")
    assert ("unknown_code", "X") == (caught.value.reason, caught.value.detail)


def test_split_beyond_the_end_is_nothing() -> None:
    """A part that is not there is nothing, not an error."""
    assert run("split", {"by": "_", "take": "2"}, "en") is None


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("TB Basics", "TB <Screening> Basics"),
        ("a < b & c", "a < b &amp; c"),
        ("One\nTwo three", "<p>One</p><div>Two<br></div>three".replace("<br></div>", " ")),
        ("Seen", "<script>alert(1)</script><style>p{}</style>Seen"),
        ("plain text", "  plain \n text "),
        ("a b", "<table><tr><td>a</td><td>b</td></tr></table>"),
        ("a c", "<p>a <![ b</p>c"),
        ("a b c", "a <![if !IE]>b<![endif]> c"),
        ("a c", "a <![CDATA[b]]> c"),
    ],
)
def test_html_to_text(expected: str, given: str) -> None:
    """Only the words remain."""
    assert expected == run("html_to_text", None, given)


@pytest.mark.parametrize("text", ["<![", "<![x[ b", "<![CDATA[ b", "<![if b", "<!-- <![x[", "<!DOCTYPE [<!x"])
def test_html_that_is_broken_off(text: str) -> None:
    """Nothing that a person can type stops it."""
    assert str(run("html_to_text", None, f"a {text}")).startswith("a")


def test_join_leaves_blanks_out() -> None:
    """Blank entries make no stray separators."""
    assert "A, B" == run("join", {"by": ", "}, ["A", "", None, " B "])


@pytest.mark.parametrize(
    ("expected", "name", "settings"),
    [
        ("there is no transform 'phne'", "phne", None),
        ("'bands': missing the setting: 'otherwise'", "bands", {"active": "7"}),
        (
            "'bands': the numbers of the bands must grow from one to the next",
            "bands",
            {"a": "7", "b": "3", "otherwise": "c"},
        ),
        ("'bands': there is no band: name at least one with its highest number", "bands", {"otherwise": "c"}),
        ("'bands': 'a' takes a number", "bands", {"a": "seven", "otherwise": "c"}),
        ("'split': 'two' is not a whole number", "split", {"by": "_", "take": "two"}),
        ("'split': the first part is number 1", "split", {"by": "_", "take": "0"}),
        ("'split': 'by' is the text between the parts and cannot be empty", "split", {"by": ""}),
        ("'replace' needs its settings by name", "replace", "_"),
        ("'split': 'by' takes one text", "split", {"by": ["_"]}),
        ("'lower' takes no settings", "lower", "x"),
        ("'phone': there is no setting 'contry'; did you mean 'country'?", "phone", {"contry": "KE"}),
        ("'phone': a country is two capital letters, as in KE", "phone", {"country": "Kenya"}),
        (
            "'phone': 'e163' is not allowed here; use 'e164', 'digits', 'national' or 'international'",
            "phone",
            {"format": "e163"},
        ),
        ("'date': '%B' is not a part of a date", "date", {"format": "%d %B"}),
        (
            "'date': a date format has parts like %d, %m and %Y: write '%Y-%m-%d' for 'YYYY-MM-DD'",
            "date",
            "YYYY-MM-DD",
        ),
        ("'shorten': a text cannot be shortened to nothing", "shorten", "0"),
        ("'replace': missing the setting: 'with'", "replace", {"find": "x"}),
        ("'number': more than 10 decimals mean nothing", "number", {"decimals": "11"}),
    ],
)
def test_settings_are_checked(expected: str, name: str, settings: object) -> None:
    """A wrong transform or setting is told before any data is read."""
    with pytest.raises(StepError) as caught:
        bind_settings(StepSpec(name=name, settings=settings))
    assert expected == caught.value.faults[0].sentence


def test_every_transform_shows_its_usage() -> None:
    """The usage of a transform is how a mapping writes it."""
    shown = {name: known.usage for name, known in TRANSFORMS.items()}
    assert "{split: {by: .., take: n}}" == shown["split"]
    assert "{join: ..}" == shown["join"]
    assert "lower" == shown["lower"]
    assert "{bands: {otherwise: .., name: number, ..}}" == shown["bands"]


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("80", 80.0),
        ("73.24", 73.24),
        ("0.00001", 1e-05),
        ("true", True),
        ("1042", 1042),
        ("", None),
        ("12.5", Decimal("12.50")),
    ],
)
def test_text_of_a_value(expected: str, given: object) -> None:
    """Numbers have no exponent and no empty decimals, flags are words."""
    assert expected == to_text(given)


def test_a_list_of_transforms_stops_at_nothing(tmp_path: Path) -> None:
    """What is empty after one transform does not reach the next."""
    assert "" == value(
        tmp_path, "{source: department, transform: [{split: {by: '_', take: 2}}, upper]}", department="a"
    )


@pytest.mark.parametrize(
    "given",
    [
        "amina",
        "amina@",
        "@example.org",
        "amina@example",
        "a b@example.org",
        "a@b@example.org",
        "a@-x.org",
        "a..b@x.org",
        "a@x.123",
        "amina@example..org",
        "amina,b@example.org",
        "<a@example.org>",
        f"{'a' * 250}@x.org",
        "a@exa mple.org",
    ],
)
def test_email_refuses(given: str) -> None:
    """What no mail could reach is no address."""
    with pytest.raises(Invalid, match="invalid_email"):
        run("email", None, given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("o'neil+chw@mail.example.org", "O'Neil+CHW@Mail.example.org"),
        ("añasco@correo.ejemplo", " AÑASCO@correo.ejemplo"),
        ("a.b_c@x-y.example.org", "a.b_c@x-y.example.org"),
    ],
)
def test_email(expected: str, given: str) -> None:
    """Addresses of every script are taken, in small letters."""
    assert expected == run("email", None, given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("N'diaye 50% © 20°", "N'diaye 50% © 20°"),
        ("السيد नमस्ते", "السيد 🌍🇰🇪 नमस्ते 1️⃣".replace("1️⃣", "")),
        ("1 Amina", "1️⃣ Amina ✅"),
        ("ක්‍ෂ", "ක්‍ෂ"),
        ("", "👩🏾‍⚕️❤️"),
        ("plain", "plain"),
    ],
)
def test_plain_text(expected: str, given: str) -> None:
    """Pictures go, letters stay: also those that are joined in their script."""
    assert expected == run("plain_text", None, given)


@pytest.mark.parametrize(("expected", "given"), [("2024-03-05", "5/3/24"), ("2024-03-05", "05/03/2024")])
def test_dates_in_two_ways_of_writing(expected: str, given: str) -> None:
    """The second way is tried when the first does not fit."""
    assert expected == run("parse_date", {"format": "%d/%m/%Y", "or": "%d/%m/%y"}, given)


def test_too_long_is_cut_or_refused() -> None:
    """A long text is cut unless the mapping would rather have it listed; one that fits is left alone."""
    assert "Commu" == run("shorten", "5", "Community")
    assert "Commu" == run("shorten", {"length": "5", "longer": "refuse"}, "Commu")
    with pytest.raises(Invalid, match="over_length"):
        run("shorten", {"length": "5", "longer": "refuse"}, "Community")


@pytest.mark.parametrize(
    ("expected", "take"), [(["a", "b"], None), ("b", "2"), (None, "3")], ids=["all", "one", "beyond"]
)
def test_split_gives_all_parts_or_one(expected: object, take: str | None) -> None:
    """Without `take` all parts that are not blank come out, with it one."""
    assert expected == run("split", {"by": ",", **({"take": take} if take else {})}, "a , b")
    assert run("split", ",", " , ,") is None
