"""Reading YAML as text: what was typed stays, all has its place, tricks are refused where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mappings.engine import reading
from mappings.engine.problems import MappingError, Problem
from mappings.engine.reading import Mark, parse_document, read_document

SECOND = "a second ':' stands in this line, or it is indented further than the one above"


@pytest.fixture(params=["C", "pure"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with the C parser and with the one in pure Python."""
    if request.param == "pure":
        monkeypatch.setattr(reading, "_LOADER", yaml.BaseLoader)


@pytest.mark.usefixtures("_parser")
def test_everything_stays_text() -> None:
    """Numbers, flags, dates and phone numbers stay what was typed; only what was left out is nothing."""
    document = parse_document("a: no\nb: 007\nc: 0722000111\nd: 12:30\ne: 1e5\nf: ~\ng:\nh: ''\n", "x.yaml")
    expected = {"a": "no", "b": "007", "c": "0722000111", "d": "12:30", "e": "1e5", "f": "~", "g": None, "h": ""}
    assert expected == document.data
    assert [("g",)] == document.empty


@pytest.mark.usefixtures("_parser")
def test_places() -> None:
    """Keys and values are found by line and column, a value that is a block by its key."""
    document = parse_document("top:\n  - {a: one, b: [x, 'yz']}\n", "x.yaml")
    assert Mark(2, 9, 3) == document.mark(("top", 0, "a"))
    assert Mark(2, 6, 1) == document.mark(("top", 0, "a"), key=True)
    assert Mark(2, 14, 1) == document.mark(("top", 0, "b"))
    assert Mark(2, 21, 4) == document.mark(("top", 0, "b", 1))
    assert Mark(2, 22, 1) == document.within(("top", 0, "b", 1), 0, 1)
    assert Mark(2, 9, 3) == document.mark(("top", 0, "a", "source"))


@pytest.mark.usefixtures("_parser")
def test_a_part_of_a_text_with_escapes() -> None:
    """Where the typed text differs from the text, the whole of it is marked."""
    document = parse_document('a: "x\\ty{z}"\nb: |\n  two\n  lines\n', "x.yaml")
    assert Mark(1, 4, 9) == document.within(("a",), 3, 1)
    assert Mark(2, 4, 1) == document.within(("b",), 4, 1)


@pytest.mark.parametrize(
    ("sentence", "remedy", "place", "text"),
    [
        ("'a' is given twice", "first given on line 1", (3, 1), "a: 1\nb: 2\na: 3\n"),
        (
            "an anchor (&) is not part of the mapping language",
            "write the text out, or quote it",
            (1, 4),
            "a: &x 1\n",
        ),
        (
            "a tag (!) is not part of the mapping language",
            "leave it out, or quote the text",
            (1, 4),
            "a: !!int 1\n",
        ),
    ],
)
@pytest.mark.usefixtures("_parser")
def test_findings(sentence: str, remedy: str, place: tuple[int, int], text: str) -> None:
    """What hides the meaning of a file is found; the rest is still read."""
    found = parse_document(text, "x.yaml").problems
    assert [(sentence, remedy, *place)] == [(p.sentence, p.remedy, p.line, p.column) for p in found]


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("a second document starts here", "a: 1\n---\nb: 2\n"),
        ("a block stands here as a key", "? [a, b]\n: 1\n"),
        ("this is nested too deeply", "[" * 5000),
        ("this is nested too deeply", "- " * 5000 + "a"),
        ("this is nested too deeply", "{a: " * 200),
    ],
)
@pytest.mark.usefixtures("_parser")
def test_refusals(sentence: str, text: str) -> None:
    """What cannot be a mapping stops the reading with one sentence."""
    assert sentence == refused(text).sentence


def test_aliases_cannot_grow() -> None:
    """A file of aliases of aliases is refused and stays as small as it is."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    document = parse_document("\n".join(lines), "x.yaml")
    assert {
        "an alias (*) is not part of the mapping language",
        "an anchor (&) is not part of the mapping language",
    } == {problem.sentence for problem in document.problems}


@pytest.mark.parametrize(
    ("line", "sentence", "text"),
    [
        (3, "a tab stands where spaces should be", "a:\n  b: 1\n\tc: 2\n"),
        (1, SECOND, "a: one: two\n"),
        (2, "a text cannot begin with this sign", "a: 1\nb: @x\n"),
        (2, "a sign that cannot be seen stands here", "a: 1\nb: x\x07y\n"),
        (2, "a quote that was opened here is not closed", 'a: 1\nb: "x\nc: 2\nd: 3\n'),
        (1, "what stands here does not fit to what comes before it", 'a: "x" y\nb: 1\n'),
        (3, "a ':' is missing in this line", "a: 1\nb: 2\nc\nd: 4\n"),
        (2, "a ':' is missing in this line", "a: 1\nb\n\n  # why\n  c: {d: 4}\n"),
        (2, "a ':' is missing in this line", "a:\n  b\n\n    c: 1\n"),
        (2, "a ':' is missing in this line", "a:\n  b  # of all\n    # why\n    c: 1\n"),
        (3, SECOND, "a: x\n  y\n  z: 1\n"),
        (2, "inside double quotes a \\ has a meaning of its own", 'a: 1\nb: "\\d"\n'),
        (2, "a list begins here, behind something else on the same line", "a: 1\nb: - x\n"),
    ],
)
@pytest.mark.usefixtures("_parser")
def test_yaml_in_plain_words(line: int, sentence: str, text: str) -> None:
    """YAML's own complaints come with what people usually did."""
    problem = refused(text)
    assert (line, sentence) == (problem.line, problem.sentence)
    assert problem.remedy


@pytest.mark.parametrize(
    ("sentence", "content"),
    [
        ("this file is larger than 1 MB", b"#" * 1_000_001),
        ("this file is not UTF-8 text", "site: Ñandú".encode("latin-1")),
    ],
)
def test_files(tmp_path: Path, sentence: str, content: bytes) -> None:
    """A file that is too large or in another encoding is told as such."""
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(MappingError, match=sentence):
        read_document(file)


def test_byte_order_mark(tmp_path: Path) -> None:
    """A file saved by Notepad reads like any other."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert {"a": "1", "b": "2"} == read_document(file).data


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is told as such."""
    with pytest.raises(MappingError, match="cannot be read"):
        read_document(tmp_path / "x.yaml")


def refused(text: str) -> Problem:
    """Return why a text is not read at all."""
    with pytest.raises(MappingError) as caught:
        parse_document(text, "x.yaml")
    return caught.value.problems[0]


def test_long_lines_are_shown_in_part() -> None:
    """A caret stays under its word in a very long line, and control characters never reach a terminal."""
    line = "x" * 500 + "\x1bword" + "y" * 500
    shown = Problem("x.yaml", 7, 502, 4, "here", "", line).render().splitlines()
    assert "word" == shown[1][shown[2].index("^") :][: shown[2].count("^")]
    assert all(letter.isprintable() for letter in shown[1])
    assert 80 >= max(map(len, shown))
