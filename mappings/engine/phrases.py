"""The fixed words of documents for clients, one file a language in phrasebook/; the code holds none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mappings.engine.reading import read_document
from mappings.engine.words import in_language

_FOLDER: Final = Path(__file__).parent / "phrasebook"


@dataclass(frozen=True)
class Phrases:
    """The words of one language; `language` is as it was asked for, such as pt_br."""

    language: str
    words: dict[str, str]
    transforms: dict[str, str]

    def say(self, phrase: str, **parts: object) -> str:
        """Return a phrase with its parts filled in; KeyError for a phrase that does not exist."""
        return self.words[phrase].format(**parts)

    def transform(self, phrase: str, **parts: object) -> str:
        """Return the phrase for a transform, "" when the language has none."""
        return self.transforms.get(phrase, "").format(**parts)

    def has(self, phrase: str) -> bool:
        """Say whether the language has words for this."""
        return phrase in self.words

    def all_of(self, parts: list[str]) -> str:
        """Join parts as in "a and b"."""
        return self.words["and"].join(parts)

    def any_of(self, parts: list[str]) -> str:
        """Join parts as in "a, b or c"."""
        return self.words["or"].join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def phrase_languages() -> list[str]:
    """Return the codes of the languages that there are words for."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def phrases(language: str) -> Phrases:
    """Return the words of a language, of its main one (pt for pt_br), or in English."""
    files = {file.stem: str(file) for file in _FOLDER.glob("*.yaml")}
    read: dict[str, Any] = dict(read_document(Path(in_language(files, language))).data)
    transforms: dict[str, str] = read.pop("transform")
    return Phrases(language, read, transforms)
