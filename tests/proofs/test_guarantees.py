"""The page of guarantees says what the proofs counted, and no more."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.proofs.figures import HOUSE, PROOFS, TELL, Figures, code_digest, digest_here, forget, imported
from tests.proofs.guarantees import NAMES, PAGE, RECORD, found, mutant_file, page, recorded, together
from tests.proofs.kept import Kept


def test_figures_come_back_as_written(tmp_path: Path) -> None:
    """What a proof wrote down is what the page is made of."""
    figures = Figures("faults-pairs", 4711, 9422, duplicates=1, seconds=90.0, notes={"possible": 5000})
    figures.write(tmp_path)
    assert [figures] == found(tmp_path)
    assert digest_here("faults") == figures.code


def test_page_tells_what_was_run_and_what_was_not() -> None:
    """Each proof has its line: with its counts, or that it was not run."""
    figures = Figures("faults-pairs", 4711, 9422, 1, 2, 3, 4, 90.0, code="abc")
    text = page([figures, Figures(mutant_file("no wait"), 1, 1, seconds=2.0, code="abd")])
    assert "| Fault explorer: pairs of faults | 4,711 | 9,422 | 1 | 2 | 3 | 4 | 1.5 | abc |" in text
    assert "| Real processes killed, PostgreSQL | not run | | | | | | | |" in text
    assert f"1 of {len(NAMES)} mutants" in text
    assert "| no wait | yes | 2 | abd |" in text
    assert "| no intent | not run | | |" in text


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
    assert [killed, whole] == together([whole], [killed, boxed], lambda _: "one")
    assert [whole] == together([whole], [part], lambda _: "one")
    assert [whole] == together([part], [whole], lambda _: "one")


def test_figures_of_other_code_give_way() -> None:
    """After an edit of the engine what was tried before does not count any more, however much it was."""
    then, now = Figures("machine", 20_000, code="one"), Figures("machine", 20, code="two")
    assert [now] == together([then], [now], lambda _: "two")
    assert [now] == together([now], [then], lambda _: "two")


def test_what_is_done_is_kept_for_the_same_code(tmp_path: Path) -> None:
    """A soak that goes on finds its parts again, and none of those that other code did."""
    Kept("machine", tmp_path, code="one").put("7", Counter(runs=3))
    assert Counter(runs=3) == Kept("machine", tmp_path, code="one").get("7", Counter)
    assert Kept("machine", tmp_path, code="one").get("8", Counter) is None
    assert Kept("machine", tmp_path, code="two").get("7", Counter) is None


def test_an_edit_of_what_is_imported_is_other_code(tmp_path: Path) -> None:
    """The digest follows what a proof imports, however deep, the books and the mappings; not how it is written."""
    for name, text in {
        "tests/proofs/first.py": "def late():\n    import flows.second\n",
        "flows/__init__.py": "",
        "flows/second.py": "from adaptors import third\n",
        "adaptors/third.py": "x = 1\n",
        "adaptors/other.py": "x = 1\n",
        "state/found_by_name.py": "x = 1\n",
        "mappings/student.yaml": "to: student\n\ntests:\n  - name: x\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def after(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        forget()
        return code_digest(["tests.proofs.first"], tmp_path)

    before = code_digest(["tests.proofs.first"], tmp_path)
    assert before == after("adaptors/third.py", '"""Says why."""\n\nx = (  # one\n    1\n)\n')
    assert before == after("adaptors/other.py", "x = 2\n")
    assert before == after("mappings/student.yaml", "to: student\n\ntests:\n  - name: y\n")
    changed = {
        after("adaptors/third.py", "x = 2\n"),
        after("state/found_by_name.py", "x = 2\n"),
        after("mappings/student.yaml", "to: learner\n"),
    }
    assert 3 == len(changed - {before})


@pytest.mark.parametrize("proof", ["faults", "machine", "walks", "kill"])
def test_all_that_a_proof_loads_is_in_its_digest(proof: str) -> None:
    """What a process has loaded that does a proof is among what was found by reading."""
    read = {str(file.relative_to(HOUSE)) for file in imported(PROOFS[proof])}
    command = f"import sys, {', '.join(PROOFS[proof])}; " + (
        "print(*(one.__file__ for one in sys.modules.values() if getattr(one, '__file__', None)), sep='\\n')"
    )
    said = subprocess.run([sys.executable, "-c", command], cwd=HOUSE, check=True, capture_output=True, text=True)  # noqa: S603
    files = [Path(line) for line in said.stdout.splitlines()]
    ours = [file.relative_to(HOUSE) for file in files if file.is_relative_to(HOUSE) and ".venv" not in file.parts]
    assert len(ours) > 200
    assert set() == {str(file) for file in ours if file.name not in TELL} - read
