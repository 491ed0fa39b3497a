"""HTML to text with the standard library's parser: entities resolved, tags gone, blocks on lines of their own."""

from __future__ import annotations

from functools import lru_cache
from html.parser import HTMLParser
from typing import Final

from mappings.engine.texts import squeezed

_BLOCK_TAGS: Final = "address article blockquote br div dd dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tr ul"
_BLOCKS: Final = frozenset(_BLOCK_TAGS.split())
_SILENT: Final = frozenset(("script", "style"))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._silent += tag in _SILENT
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in _SILENT and self._silent > 0
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(" ".join(data.split("\n")))

    def parse_html_declaration(self, i: int) -> int:
        """Take `<![` for a comment, as browsers do: the library stops at words behind it that are new to it."""
        if self.rawdata.startswith("<![", i):
            return self.parse_bogus_comment(i)
        return super().parse_html_declaration(i)

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")


@lru_cache(maxsize=256)
def html_text(text: str) -> str:
    """Return the words of an HTML text, one line for each block, white space squeezed."""
    if "<" not in text and "&" not in text:
        return squeezed(text)
    reader = _Reader()
    reader.feed(text)
    reader.close()
    lines = (squeezed(line) for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)
