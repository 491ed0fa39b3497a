"""Charts as SVG, laid out by pygal: in the colours of the page (light and dark), or in those of a picture.

Of pygal's output only the drawing is kept: no script, no style sheet, no date, no address.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as Tree

SVG = "http://www.w3.org/2000/svg"
PATTERNS = {
    "warn": "M-1 1L1 -1M0 6L6 0M5 7L7 5",
    "ask": "M3 0V6",
    "bad": "M0 0L6 6M0 6L6 0",
    "other": "M0 3H6",
}
"""Tone -> the lines drawn over its colour: nobody has to tell colours apart."""
LETTER, AROUND, LEGEND_ROW = 7, 60, 18
"""Units that a letter of the legend takes, its box and the gaps beside it, and a row of it."""
STYLE = (
    "svg text{font:12px system-ui,sans-serif;fill:currentColor}svg .y text{text-anchor:end}"
    "svg .x text{text-anchor:middle}svg .solid{fill:var(--t)}"
    "svg .over{fill:none;stroke:var(--over);stroke-width:1.5}"
    "svg .line{fill:none;stroke:currentColor;stroke-opacity:.2}"
)
LIGHT = (
    "--over:#fff;color:#222}.good{--t:#2e7d32}.warn{--t:#b26a00}.ask{--t:#1565c0}.calm{--t:#607d8b}.bad{--t:#c62828}"
    ".other{--t:#6a4fa3}.faint{--t:#9fb0b8"
)
"""Colours of the tones on white, for a rule that ends with a brace."""


@dataclass(frozen=True)
class Series:
    """One kind of bar: what it is called, its tone, a value for each label."""

    name: str
    tone: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """Bars, stacked where several series have a value: `title` is what a screen reader says."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    lying: bool = False
    """Bars from left to right, their labels beside them."""

    @property
    def is_counted(self) -> bool:
        """Whether it shows whole numbers only, as of people."""
        return all(value == int(value) for series in self.series for value in series.values if value is not None)


def drawn(chart: Chart, width: int, height: int, *, name: str) -> str:
    """Return a chart as an `<svg>` of that size in its own units; `name` keeps its ids apart from others'."""
    made = Tree.Element("svg", {"xmlns": SVG, "viewBox": f"0 0 {width} {height}", "role": "img"})
    made.attrib["aria-label"] = chart.title
    _patterns(made, chart, name)
    for part in _pygal(chart, width, height).iterfind(f"{{{SVG}}}g/{{{SVG}}}g"):
        words = part.get("class", "").split()
        if words == ["plot"]:
            made.append(_plot(part, chart, name))
        elif words == ["legends"]:
            made.append(_legend(part, chart, name))
    return Tree.tostring(made, encoding="unicode")


def legend_columns(chart: Chart, width: int) -> int:
    """Return how many entries of a chart's legend stand beside each other: as many as do not touch."""
    longest = max((len(series.name) for series in chart.series), default=0)
    return max(1, min(len(chart.series), width // (LETTER * longest + AROUND)))


def as_picture(svg: str) -> str:
    """Return a drawn chart as a file of its own: with its style, dark on white wherever it is shown."""
    start = svg.index(">") + 1
    return f"{svg[:start]}<style>svg{{background:#fff;{LIGHT}}}{STYLE}</style>{svg[start:]}"


def _patterns(made: Tree.Element, chart: Chart, name: str) -> None:
    """Define the hatched fills that a chart uses."""
    used = [tone for tone in PATTERNS if any(series.tone == tone for series in chart.series)]
    defs = Tree.SubElement(made, "defs") if used else made
    for tone in used:
        size = {"width": "6", "height": "6", "patternUnits": "userSpaceOnUse"}
        pattern = Tree.SubElement(defs, "pattern", {"id": f"{name}-{tone}", "class": tone} | size)
        Tree.SubElement(pattern, "rect", {"width": "6", "height": "6", "class": "solid"})
        Tree.SubElement(pattern, "path", {"d": PATTERNS[tone], "class": "over"})


def _plot(part: Tree.Element, chart: Chart, name: str) -> Tree.Element:
    """Return the axes and bars of pygal's drawing, without what its script and style sheet need."""
    made = Tree.Element("g", {"transform": _short(part.get("transform", ""))})
    number = 0
    for group in part.iterfind(f"{{{SVG}}}g"):
        words = group.get("class", "").split()
        if "axis" in words:
            axis = "x" if "x" in words else "y"
            made.append(_axis(group, axis, lines=(axis == "x") == chart.lying))
        elif "series" in words:
            made.append(_bars(group, chart.series[number], name))
            number += 1
    return made


def _axis(group: Tree.Element, axis: str, *, lines: bool) -> Tree.Element:
    made = Tree.Element("g", {"class": axis})
    for one in group.iter():
        if one.tag == f"{{{SVG}}}text" and one.text:
            Tree.SubElement(made, "text", _place(one, "x", "y")).text = one.text
        elif one.tag == f"{{{SVG}}}path" and lines:
            Tree.SubElement(made, "path", {"d": _short(one.get("d", "")), "class": "line"})
    return made


def _bars(group: Tree.Element, series: Series, name: str) -> Tree.Element:
    """Return the bars of one series that have a length, each with what it stands for as its tooltip."""
    made = Tree.Element("g", _fill(series.tone, name))
    for bar in group.iter(f"{{{SVG}}}g"):
        rect = bar.find(f"{{{SVG}}}rect")
        if bar.get("class") != "bar" or rect is None:
            continue
        place = _place(rect, "x", "y", "width", "height")
        if float(place["width"]) and float(place["height"]):
            value = bar.findtext(f"{{{SVG}}}desc", "")
            label = bar.findtext(f"{{{SVG}}}desc[@class='x_label']", "")
            drawing = Tree.SubElement(made, "rect", place)
            Tree.SubElement(drawing, "title").text = f"{label} {series.name}: {value}".strip()
    return made


def _legend(part: Tree.Element, chart: Chart, name: str) -> Tree.Element:
    made = Tree.Element("g", {"transform": _short(part.get("transform", ""))})
    for one, series in zip(part, chart.series, strict=False):
        for rect in one.iter(f"{{{SVG}}}rect"):
            Tree.SubElement(made, "rect", _place(rect, "x", "y", "width", "height") | _fill(series.tone, name))
        for text in one.iter(f"{{{SVG}}}text"):
            Tree.SubElement(made, "text", _place(text, "x", "y")).text = series.name
    return made


def _fill(tone: str, name: str) -> dict[str, str]:
    if tone in PATTERNS:
        return {"fill": f"url(#{name}-{tone})"}
    return {"class": f"{tone} solid"}


def _place(element: Tree.Element, *names: str) -> dict[str, str]:
    return {name: _short(element.get(name, "0")) for name in names}


def _short(numbers: str) -> str:
    """Return a text with its numbers to a tenth: nobody sees more, and the file is a third of the size."""
    return re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), numbers)


def _pygal(chart: Chart, width: int, height: int) -> Tree.Element:
    """Let pygal lay the chart out; it is imported here, since few commands draw."""
    import pygal
    from pygal.style import Style

    # On import it puts a finder of its plugins among Python's own, in a form that Python no longer takes.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    kind = pygal.HorizontalStackedBar if chart.lying else pygal.StackedBar
    columns = legend_columns(chart, width)
    forgotten = LEGEND_ROW if len(chart.series) % columns else 0  # pygal counts full rows of the legend only
    made = kind(
        width=width,
        height=height,
        js=[],
        css=[],
        margin=4,
        margin_right=28,  # half of the last number of the axis
        margin_bottom=4 + forgotten,
        spacing=8,
        legend_at_bottom=True,
        legend_at_bottom_columns=columns,
        show_legend=len(chart.series) > 1,
        truncate_legend=-1,
        truncate_label=-1,
        min_scale=2,
        max_scale=5,
        order_min=0 if chart.is_counted else None,  # nobody is half a course
        include_x_axis=True,
        print_values=False,
        disable_xml_declaration=True,
        value_formatter=_number,
        style=Style(label_font_size=12, legend_font_size=12, major_label_font_size=12),
    )
    made.uuid = "x"
    made.x_labels = list(chart.labels)
    for series in chart.series:
        made.add(series.name, list(series.values))
    return Tree.fromstring(made.render())  # noqa: S314 - drawn a moment ago from our own labels


def _number(value: Any) -> str:
    """Return a number to a hundredth, so that no two marks of an axis look the same."""
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")
