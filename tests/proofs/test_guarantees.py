"""The page of guarantees says what the proofs counted, and no more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.proofs.figures import ALONE, Figures, code_digest
from tests.proofs.guarantees import PAGE, RECORD, found, mutant_file, page, recorded, together
from tests.proofs.kept import Kept
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


def test_committed_page_is_made_of_the_committed_figures() -> None:
    """No figure in the page was written by hand."""
    if not PAGE.exists():
        pytest.skip("docs/guarantees.md is made by `make soak`")
    assert page(recorded(RECORD)) == PAGE.read_text("utf-8")


def test_proofs_of_several_days_come_together() -> None:
    """A proof of today stands beside one of yesterday; a part of one does not take the place of the whole."""
    whole, part = Figures("machine", 20_000, code="one"), Figures("machine", 20, code="one")
    killed, boxed = Figures("kill-sqlite", 1000, code="one"), Figures("machine-boxed", 20, code="one")
    assert [killed, whole] == together([whole], [killed, boxed])
    assert [whole] == together([whole], [part])
    assert [whole] == together([part], [whole])


def test_figures_of_other_code_give_way() -> None:
    """After an edit of the engine what was tried before does not count any more, however much it was."""
    now = Figures("machine", 20, code="two")
    assert [now] == together([Figures("machine", 20_000, code="one")], [now])


def test_what_is_done_is_kept_for_the_same_code(tmp_path: Path) -> None:
    """A soak that goes on finds its parts again, and none of those that other code did."""
    Kept("machine", tmp_path, code="one").put("7", Counter(runs=3))
    assert Counter(runs=3) == Kept("machine", tmp_path, code="one").get("7", Counter)
    assert Kept("machine", tmp_path, code="one").get("8", Counter) is None
    assert Kept("machine", tmp_path, code="two").get("7", Counter) is None


def test_an_edit_of_the_engine_is_other_code(tmp_path: Path) -> None:
    """The digest follows every file of the engine, and not how it is written down."""
    for name in (*ALONE, "state/a.py", "flows/steps/b.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x = 1\n")
    before = code_digest(tmp_path)
    (tmp_path / "flows/steps/b.py").write_text('"""Says why."""\n\nx = (  # one\n    1\n)\n')
    assert before == code_digest(tmp_path)
    (tmp_path / "tests/proofs").mkdir(parents=True)
    (tmp_path / "tests/proofs/guarantees.py").write_text("tells = 'of the proofs'\n")
    assert before == code_digest(tmp_path)
    (tmp_path / "flows/steps/b.py").write_text("x = 2\n")
    assert before != code_digest(tmp_path)
