"""Words for people: one text or one for each language, and the values that a select can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.engine import MappingError
from mappings.engine.words import in_language
from tests.mappings.workbench import HEAD, mapping, student

BOTH = "x: {source: department, label: {en: Ward, fr: Service}, description: {fr: Le service., pt_br: O setor.}}"


def test_words_by_language(tmp_path: Path) -> None:
    """A label or description is found in the language asked for, else in the mapping's own, in English, in any."""
    note = student(tmp_path, BOTH).notes["x"]
    assert ("Ward", "Service", "Ward") == (note.label_in("en"), note.label_in("fr"), note.label_in("sw"))
    assert ("Le service.", "O setor.") == (note.description_in("en"), note.description_in("pt_br"))
    assert ("Ward", "Le service.") == (note.label, note.description)


def test_a_plain_text_is_for_every_language(tmp_path: Path) -> None:
    """A text without a language answers for all of them; nothing written is an empty text."""
    note = student(tmp_path, "x: {source: department, label: Ward}").notes["x"]
    assert ("Ward", "Ward", "") == (note.label, note.label_in("fr"), note.description_in("fr"))


@pytest.mark.parametrize(
    ("expected", "language"), [("a", "pt_br"), ("b", "pt"), ("b", "pt_ao"), ("own", "fr"), ("own", "")]
)
def test_a_regional_language_falls_back_to_its_main_one(expected: str, language: str) -> None:
    """pt_ao is answered in pt before anything else."""
    assert expected == in_language({"pt_br": "a", "pt": "b", "": "own", "en": "c"}, language)


def test_a_mapping_describes_itself_in_languages(tmp_path: Path) -> None:
    """The mapping's own description follows the same rule, and old callers still find one text."""
    made = mapping(
        tmp_path, f"{HEAD}description: {{en: Learners., fr: Apprenants.}}\nproperties:\n  x: department\n"
    )
    assert ("Learners.", "Apprenants.") == (made.description, made.description_in("fr"))


def test_words_are_no_part_of_a_fingerprint(tmp_path: Path) -> None:
    """Translating a label pushes nothing."""
    plain = student(tmp_path, "x: department").fingerprints
    assert plain == student(tmp_path, BOTH).fingerprints


@pytest.mark.parametrize(
    ("expected", "label"),
    [
        ("'English' is not the code of a language", "{English: Ward}"),
        ("this takes a text, or one for each language", "[Ward]"),
        ("'en' takes one value here, not a list", "{en: [Ward]}"),
    ],
)
def test_languages_are_checked(tmp_path: Path, expected: str, label: str) -> None:
    """What is no language or no text is told."""
    with pytest.raises(MappingError) as caught:
        student(tmp_path, f"x: {{source: department, label: {label}}}")
    assert [expected] == [problem.sentence for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("expected", "definition"),
    [
        (("female", "male"), "{source: profile.gender, transform: [{code_list: gender}]}"),
        (
            ("female", "male", "unknown"),
            "{source: lang, transform: [lower, {code_list: gender}], default: unknown}",
        ),
        (("community", "other"), "{source: profile.cadre, transform: [{code_list: {name: cadre}}]}"),
        (("no", "yes"), "{cases: [{when: {source: suspended, is: true}, value: no}], otherwise: yes}"),
        (("no",), "{value: no}"),
        (("siaya-02", "siaya-03"), "{source: city, transform: [{lookup: facility}]}"),
        ((), "{source: profile.gender, transform: [{code_list: gender}, upper]}"),
        ((), "department"),
    ],
)
def test_listed_values(tmp_path: Path, expected: tuple[str, ...], definition: str) -> None:
    """The values of a select are known where the mapping itself lists them."""
    assert expected == student(tmp_path, f"x: {definition}").notes["x"].values
