"""Bringing tests up to date, and adding one, changes what it must and not one byte more."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.example import add_test
from flows.mapping_tests import Tested
from mappings.engine.expectations import changes, updated
from mappings.engine.load import run_tests
from mappings.engine.yaml_text import block, flow, scalar, spans
from tests.mappings.workbench import CATALOGUE, CONTEXT, HEAD, folder

PROPERTIES = (
    "properties:\n  town: {source: department, transform: [upper]}   # as on the map\n  other: institution\n"
)


def ran(place: Path, text: str) -> Tested:
    """Write a mapping file, byte by byte, and run its tests."""
    folder(place, {})
    (place / "student.yaml").write_bytes(text.encode())
    ((file, examples),) = run_tests(place, CATALOGUE)
    assert examples is not None, file.problems
    return Tested(file, examples)


def brought_up_to_date(place: Path, text: str) -> str:
    """Return a file's text with its tests brought up to date; they pass afterwards."""
    found = ran(place, text)
    assert found.examples is not None
    assert found.file.spec is not None
    after = updated(text, changes(text, found.examples, found.file.spec.tests))
    again = ran(place, after)
    assert [] == again.problems, after
    return after


def with_test(expect: str, given: str = "{id: 7, firstname: Amina, lastname: Otieno, department: Bondo}") -> str:
    """Return a mapping with one test."""
    return (
        f"{HEAD}{PROPERTIES}tests:\n  - name: one\n    given: {given}\n    expect: {expect}   # stays\n# the end\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{properties: {town: Gem}}", "{properties: {town: BONDO}}"),
        ("{properties: {town: 'Gem'}}", "{properties: {town: 'BONDO'}}"),
        ('{properties: {"town": "Gem"}}', '{properties: {"town": "BONDO"}}'),
        (
            "{case_name: Neema O, properties: {other: ''}}",
            "{case_name: Amina Otieno, not_sent: [other]}",
        ),
        ('{external_id: "{site}-user-8"}', '{external_id: "{site}-user-7"}'),
        ("{external_id: demo-user-8}", "{external_id: demo-user-7}"),
        ("{owner: user:amina}", '{owner: "group:Field coaches"}'),
        ("{excluded: true}", None),
        ("{held_back: true}", None),
    ],
)
def test_values_are_replaced_where_they_stand(tmp_path: Path, before: str, after: str | None) -> None:
    """Quotes, comments and order stay."""
    text = brought_up_to_date(tmp_path, with_test(before))
    if after is not None:
        assert with_test(after) == text
    assert text.startswith(with_test("").split("    expect:")[0])
    assert text.endswith("   # stays\n# the end\n")


def test_a_property_that_is_no_longer_sent(tmp_path: Path) -> None:
    """It moves to not_sent, and one that is sent again moves back."""
    text = brought_up_to_date(tmp_path, with_test("{properties: {town: BONDO, other: x}}"))
    assert with_test("{properties: {town: BONDO}, not_sent: [other]}") == text
    text = brought_up_to_date(tmp_path, with_test("{properties: {other: x}, not_sent: [town]}"))
    assert with_test("{properties: {town: BONDO}, not_sent: [other]}") == text


def test_a_property_that_was_taken_out(tmp_path: Path) -> None:
    """It goes from the tests too, wherever they name it."""
    text = brought_up_to_date(tmp_path, with_test("{properties: {town: BONDO, gone: x}}"))
    assert with_test("{properties: {town: BONDO}}") == text
    text = brought_up_to_date(tmp_path, with_test("{case_name: Amina Otieno, not_sent: [gone, other]}"))
    assert with_test("{case_name: Amina Otieno, not_sent: [other]}") == text
    assert with_test("{}") == brought_up_to_date(tmp_path, with_test("{not_sent: [gone]}"))


def test_a_record_that_is_now_left_out_or_held_back(tmp_path: Path) -> None:
    """The whole expectation is another one."""
    given = "{id: 7, firstname: Amina, lastname: '', department: Bondo}"
    text = brought_up_to_date(tmp_path, with_test("{properties: {town: BONDO}}", given))
    assert with_test("{held_back: true}", given) == text
    text = with_test("{properties: {town: BONDO}}").replace(
        "properties:", "exclude: [{source: id, is: '7'}]\nproperties:", 1
    )
    assert "    expect: {excluded: true}   # stays\n" in brought_up_to_date(tmp_path, text)


def test_block_style_and_strange_letters_and_line_ends_stay(tmp_path: Path) -> None:
    """Windows line ends, letters beyond ASCII before the place, blocks with comments between the lines."""
    text = with_test("{}").replace("    expect: {}   # stays\n", "")
    text = text.replace("tests:", "# é 漢字 🙂 ʼ\ntests:").replace(
        "# the end", "    expect:\n      # é first\n      properties:\n        town: Gem  # ö\n\n# the end"
    )
    text = text.replace("\n", "\r\n")
    assert text.replace("town: Gem  # ö", "town: BONDO  # ö") == brought_up_to_date(tmp_path, text)


def test_spans_are_the_texts_of_the_values() -> None:
    """Each value's place is exactly its text; a block ends with its last value."""
    text = "a: [x, 'y z']  # c\nb:\n  c: é\n  d:\n    - 1\n    - {e: f}\n\n# end\n"
    found = {loc: text[span.start : span.end] for loc, span in spans(text).items()}
    assert "[x, 'y z']" == found["a",]
    assert "'y z'" == found["a", 1]
    assert "c: é\n  d:\n    - 1\n    - {e: f}" == found["b",]
    assert "f" == found["b", "d", 1, "e"]


@pytest.mark.parametrize(
    "text", ["", "no", "007", "a: b", "a #b", "{x}", "- a", "é", "it's", '"no"', "a\nb", "12:30", "\x85"]
)
def test_written_texts_are_read_as_they_were(text: str) -> None:
    """Whatever a text holds, it comes back out of the file, on a line and in a block."""
    from mappings.engine.reading import parse_document

    for written in ("", "'", '"'):
        assert {"a": text or ""} == parse_document(f"a: {scalar(text, written)}\n", "x").data
    data = {"k": {"a": text, "b": [text, "x"]}}
    assert data == parse_document(flow(data), "x").data
    assert data == parse_document("\n".join(block(data, 0)), "x").data


@pytest.mark.parametrize("end", ["", "\n", "\n\n# a last word\n"])
def test_an_added_test_leaves_the_rest(tmp_path: Path, end: str) -> None:
    """It stands behind the last one, or begins the list; the file before it is byte by byte the same."""
    record = {"id": 7, "firstname": "Wairimu", "lastname": "Kariuki", "department": "x", "institution": None}
    for before in (
        f"{HEAD}{PROPERTIES}".rstrip(),
        with_test("{properties: {town: BONDO}}").replace("# the end\n", "").rstrip(),
    ):
        found = ran(tmp_path, before + end)
        written = add_test(found, record, CONTEXT.today)
        after = (tmp_path / "student.yaml").read_bytes().decode()
        assert after.startswith(before)
        assert end.strip() in after
        again = ran(tmp_path, after)
        assert ([], "a case") == (again.problems, written.outcome)
        assert "Wairimu" not in after
