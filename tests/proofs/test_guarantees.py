"""The page of guarantees says what the proofs counted, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.figures import Figures
from tests.proofs.guarantees import PAGE, WORDS, found, mutant_file, page
from tests.proofs.mutants import MUTANTS


def test_figures_come_back_as_written(tmp_path: Path) -> None:
    """What a proof wrote down is what the page is made of."""
    figures = Figures("faults-pairs", 4711, 9422, duplicates=1, seconds=90.0, notes={"possible": 5000})
    figures.write(tmp_path)
    assert [figures] == found(tmp_path)


def test_page_tells_what_was_run_and_what_was_not() -> None:
    """Each proof that was run has its line with its counts, one that was not has none."""
    text = page([Figures("faults-pairs", 4711, 9422, 1, 2, 3, 4, 90.0), Figures(mutant_file("no wait"), 1, 1)])
    assert "| Fault explorer: pairs of faults | 4,711 | 9,422 | 1 | 2 | 3 | 4 | 1.5 |" in text
    assert "random schedules of 3 to 8 faults |" not in text
    assert f"1 of {len(MUTANTS)} mutants" in text
    assert "| no wait | yes |" in text
    assert "| no intent | not run |" in text


def test_a_mutant_that_lives_is_told() -> None:
    """A mutant that nothing noticed stands in the page as such."""
    assert "| no wait | **no** |" in page([Figures(mutant_file("no wait"), 1, 0)])


def test_committed_page_has_the_words_of_the_code() -> None:
    """The page in the repository was made by this code; only its figures may be older."""
    if not PAGE.exists():
        pytest.skip("docs/guarantees.md is made by `make soak`")
    text, words = PAGE.read_text("utf-8"), WORDS.read_text("utf-8")
    assert [] == [line for line in words.splitlines() if "@" not in line and line not in text.splitlines()]
