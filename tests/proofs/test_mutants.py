"""A proof that cannot fail proves nothing: rules of the engine are broken one by one, and the explorer notices."""

from __future__ import annotations

import time

import pytest

from tests.proofs.figures import Figures
from tests.proofs.guarantees import mutant_file
from tests.proofs.mutants import MUTANTS, Mutant, noticed


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_dies(mutant: Mutant) -> None:
    """The schedules of a mutant end well on the engine as it is, and break an invariant on the mutant."""
    whole, tried = noticed(mutant, broken=False)
    assert (set(), True) == (whole, tried > 0 or not mutant.strikes)
    began = time.process_time()
    broken, _ = noticed(mutant, broken=True)
    seconds = round(time.process_time() - began, 1)
    Figures(mutant_file(mutant.name), tried=1, fired=bool(broken & mutant.breaks), seconds=seconds).write()
    assert broken & mutant.breaks, f"expected one of {sorted(mutant.breaks)}, found {sorted(broken)}"
