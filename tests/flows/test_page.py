"""The status page: whole in itself, for any screen, for its owner alone."""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest

from flows.charts import SVG, Chart, Series, as_picture, drawn
from flows.page import page, write_alone
from flows.status import Status, read_status
from flows.status_charts import age_chart, length_chart, runs_picture
from state import Store
from tests.flows.status_world import ABOUT, NOW, ask_with_condition, made_status
from tests.flows.terminal import Terminal

EMPTY = {"meta", "link", "br", "hr", "img", "input", "rect", "path"}
BARS = Chart(
    "Bars: a 2, b 3", ["a", "b"], [Series("good ones", "good", [2, 3]), Series("odd <ones>", "warn", [1, None])]
)


@pytest.fixture
def store() -> Iterator[Store]:
    """Give new books in memory."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        yield books


@pytest.fixture
def status(store: Store) -> Status:
    """Give a status with something of everything."""
    return made_status(store)


def parsed(text: str) -> Tree.Element:
    """Read a drawing."""
    return Tree.fromstring(text)  # noqa: S314 - drawn by ourselves


class Outline(HTMLParser):
    """Reads a page: every tag is closed in its turn; keeps texts, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag without content."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        if tag not in EMPTY:
            assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.words += data


def test_nothing_from_elsewhere(status: Status) -> None:
    """No script, no link, no picture, no style from another place: and a policy that forbids them."""
    text = page(status)
    outline = Outline(text)
    forbidden = {"script", "link", "img", "iframe", "a", "form", "object", "embed"}
    assert set() == forbidden & {tag for tag, _ in outline.tags}
    assert set() == {"href", "src", "xlink:href", "onclick"} & {
        name for _, found in outline.tags for name in found
    }
    assert [] == re.findall(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert {ABOUT[0], ABOUT[1], "http://www.w3.org/2000/svg"} == addresses


def test_everything_is_on_it(status: Status) -> None:
    """What needs a person with command and form, courses, cases, problems with what to do, runs, the next ones."""
    words = Outline(page(status)).words
    for told in (
        "The last run was stopped, 7 minutes ago",
        "moodle-commcare confirm-leavers 3 --count 12",
        "kind leavers, course 3, count 12",
        "4 courses; read longest ago: course 3, 5 hours ago",
        "Not read any more (over, hidden, not chosen, or not in Moodle): 5.",
        "to be sent again",
        "1 record of enrolment, the oldest first sent 15 minutes ago",
        "2 × student: phone is not a telephone number",
        "→ Correct the number in Moodle",
        "The last 3 runs, 18 Nov 08:59 to 18 Nov 10:59",
        "▲ degraded",
        "sync: in 54 minutes",
    ):
        assert told in words


def test_questions_with_their_condition(store: Store) -> None:
    """The command stands behind what has to be so first, and the other answer below it; once."""
    ask_with_condition(store)
    words = Outline(page(read_status(store, None, NOW))).words
    for told in (
        "If it was deleted: on the command line",
        "If it is only hidden: give the account's role 'moodle/course:viewhiddencourses', or show it.",
        "If it was emptied: on the command line",
        "If it is hidden: show it again (",
    ):
        assert 1 == words.count(told)


def test_charts_speak(status: Status) -> None:
    """Each chart is a picture with its numbers as its name, and the words below it."""
    outline = Outline(page(status))
    charts = [found for tag, found in outline.tags if tag == "svg"]
    assert {"img"} == {found.get("role") for found in charts}
    names = {found.get("aria-label") or "" for found in charts}
    assert "Courses by the age of their last complete read: under 2 hours 1, 2 to 6 hours 1, never 2" in names
    assert all(name in outline.words for name in names)
    assert 2 * len(names) == len(charts)  # for a screen and for a phone
    ids = [found["id"] for _, found in outline.tags if "id" in found]
    assert len(ids) == len(set(ids))
    assert {
        name.removeprefix("url(#").removesuffix(")") for name in re.findall(r"url\(#[^)]*\)", page(status))
    } <= set(ids)


def test_colour_is_never_all(status: Status) -> None:
    """Each way to end has a sign of its own, under its bar and in the legend; all but the usual one a pattern."""
    chart = length_chart(status)
    assert ["✓", "▲", "✗"] == list(chart.labels)
    assert ["✓ completed", "▲ degraded", "✗ stopped"] == [series.name for series in chart.series]
    text = drawn(chart, 640, 240, name="x")
    assert {"x-warn", "x-bad"} == set(re.findall(r'<pattern id="([^"]*)"', text))


def test_before_the_first_run() -> None:
    """A page that says that there is nothing yet."""
    outline = Outline(page(Status(NOW, about=ABOUT)))
    assert "There are no books yet" in outline.words
    assert "svg" not in {tag for tag, _ in outline.tags}


def test_books_without_anything() -> None:
    """Empty books have a page too."""
    assert "No course has been read yet" in Outline(page(Status(NOW, books=True))).words


def test_the_same_page_twice(status: Status) -> None:
    """A page holds no date of its own, no random name."""
    assert page(status) == page(status)


def test_hostile_words_stay_words() -> None:
    """Whatever stands in a name is text, on the page and in a chart."""
    evil = "<script>alert(1)</script>"
    status = Status(
        NOW, books=True, about=(evil, evil, evil), note=evil, cases={evil: {"in_commcare": 1, "left": 2}}
    )
    outline = Outline(page(status))
    assert "script" not in {tag for tag, _ in outline.tags}
    assert evil in outline.words


# --- charts ---------------------------------------------------------------------------------------------------


def test_a_chart_is_only_a_drawing() -> None:
    """What pygal draws, without its script, style sheet, comments and addresses; the same each time."""
    text = drawn(BARS, 300, 200, name="bars")
    root = parsed(text)
    kinds = {element.tag.split("}")[1] for element in root.iter()}
    assert {"svg", "defs", "pattern", "g", "rect", "path", "text", "title"} == kinds
    assert ("0 0 300 200", "Bars: a 2, b 3") == (root.get("viewBox"), root.get("aria-label"))
    assert ["a good ones: 2", "b good ones: 3", "a odd <ones>: 1"] == [
        element.text for element in root.iter() if element.tag.endswith("title")
    ]
    assert text == drawn(BARS, 300, 200, name="bars")


def test_bars_are_as_long_as_their_values() -> None:
    """A bar of 3 is half as high again as one of 2."""
    root = parsed(drawn(BARS, 300, 200, name="bars"))
    two, three, one = [
        float(element.get("height", "0"))
        for element in root.iter("{http://www.w3.org/2000/svg}rect")
        if len(element)  # with a tooltip
    ]
    assert three / two == pytest.approx(1.5, abs=0.02)
    assert two / one == pytest.approx(2.0, abs=0.03)


def test_a_picture_stands_by_itself(status: Status) -> None:
    """It has its style in it, a background of its own, and is small: Prefect keeps one of each run."""
    text = runs_picture(status)
    assert "background:#fff" in text
    assert "var(--t)" in text
    assert len(text) < 10_000
    assert parsed(as_picture(drawn(BARS, 300, 200, name="x"))).tag.endswith("svg")


@pytest.mark.parametrize("width", [340, 640, 720])
@pytest.mark.parametrize("many", range(2, 8))
def test_the_whole_legend_is_in_the_picture(width: int, many: int) -> None:
    """However many kinds there are: the last row of the legend may be shorter than the others."""
    series = [Series(f"✓ kind {number}", "good", [float(number)]) for number in range(1, many + 1)]
    *_, legend = parsed(drawn(Chart("Kinds", ["a"], series), width, 250, name="x")).findall(f"{{{SVG}}}g")
    texts = [*legend.iter(f"{{{SVG}}}text")]
    down = float(re.findall(r"[\d.]+", legend.get("transform", ""))[-1])
    assert many == len(texts)
    assert 250 >= max(down + float(text.get("y", "0")) for text in texts)


def test_entries_of_the_legend_do_not_touch() -> None:
    """Long ones stand below each other on a phone."""
    series = [Series(name, "good", [1.0]) for name in ("to be sent again", "left")]
    *_, legend = parsed(drawn(Chart("Kinds", ["a"], series), 340, 250, name="x")).findall(f"{{{SVG}}}g")
    (x, y), (other_x, other_y) = [(text.get("x"), text.get("y")) for text in legend.iter(f"{{{SVG}}}text")]
    assert (True, True) == (x == other_x, y != other_y)


def axis(*values: float) -> list[str]:
    """Return the numbers on the axis of a chart with these values."""
    root = parsed(
        drawn(Chart("Values", ["a"] * len(values), [Series("them", "good", values)]), 340, 200, name="x")
    )
    return [text.text or "" for group in root.iterfind(f".//{{{SVG}}}g[@class='y']") for text in group]


def test_an_axis_counts_in_whole_numbers() -> None:
    """Nobody is half a course."""
    assert ["0", "1", "2", "3"] == [one for one in axis(3, 0, 1) if one]
    assert ["0", "1"] == [one for one in axis(1) if one]


def test_no_two_numbers_of_an_axis_look_the_same() -> None:
    """Runs of a tenth of a second have hundredths."""
    found = [one for one in axis(0.24, 0.13) if one]
    assert ["0", "0.08", "0.16", "0.24"] == found


def test_charts_without_numbers() -> None:
    """No course, no run: a chart of nothing is drawn too."""
    for chart in (age_chart(Status(NOW)), length_chart(Status(NOW))):
        assert drawn(chart, 300, 200, name="x").startswith("<svg")


# --- the file -------------------------------------------------------------------------------------------------


def test_each_run_leaves_it(terminal: Terminal) -> None:
    """Beside the key of the books, for its owner alone; a preview leaves none, the command writes one anywhere."""
    terminal.run("preview")
    file = terminal.folder / "status.html"
    assert not file.exists()
    terminal.run("sync", "--yes")
    assert "The last run was completed, just now" in Outline(file.read_text()).words
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    other = terminal.folder / "pages" / "now.html"
    ended = terminal.run("status", "--html", str(other))
    assert (0, "", 0o600) == (ended.code, ended.out, stat.S_IMODE(other.stat().st_mode))
    assert "Written: " in ended.err


def test_it_can_be_switched_off_or_put_elsewhere(terminal: Terminal, tmp_path: Path) -> None:
    """By the setting STATE_PAGE_FILE."""
    terminal.env["STATE_PAGE_FILE"] = "off"
    terminal.run("sync", "--yes")
    assert not (terminal.folder / "status.html").exists()
    terminal.env["STATE_PAGE_FILE"] = str(tmp_path / "web" / "kisumu.html")
    terminal.run("sync")
    assert (tmp_path / "web" / "kisumu.html").exists()
    assert not (terminal.folder / "status.html").exists()


def test_a_page_that_cannot_be_written_harms_no_run(
    terminal: Terminal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends as it did, and says so."""
    (tmp_path / "taken").write_text("")
    terminal.env["STATE_PAGE_FILE"] = str(tmp_path / "taken" / "status.html")
    ended = terminal.run("sync", "--yes", "--json")
    assert (0, "completed") == (ended.code, ended.json["state"])
    assert f"The status page could not be written: {tmp_path / 'taken'}: " in caplog.text


def test_a_page_without_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run would leave another part of a page behind; the file that could not be written is named."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_alone(tmp_path / "status.html", "page", 0o600)
    assert (str(tmp_path / "status.html"), []) == (raised.value.filename, list(tmp_path.iterdir()))


def test_lookup_tables_have_a_section(status: Status) -> None:
    """Rows, when written, and what is in doubt; without tables there is no word of them."""
    text = page(status)
    assert "<h2>Lookup tables</h2>" in text
    assert "places: CommCare did not answer a write 10 minutes ago" in text
    assert "Lookup tables" not in page(replace(status, tables=()))


def test_every_line_of_a_table_is_whole(status: Status) -> None:
    """Each row has a cell for each heading, also for the reads of a course that failed."""
    tables = re.findall(r"<table>.*?</table>", page(status), re.DOTALL)
    for table in tables:
        head, *rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        assert [head.count("</th>")] * len(rows) == [row.count("</th>") + row.count("</td>") for row in rows]
    assert (True, True) == (len(tables) >= 4, "<td class=n>2</td></tr>" in page(status))
