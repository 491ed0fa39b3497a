"""What a soak has done is kept part by part, so that it can be stopped at any time and goes on where it was.

It counts only for the code that it was done with: after an edit of the engine, or of a proof, all begins anew.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TypeVar

from tests.proofs.figures import FOLDER, digest_here

PROVEN = TypeVar("PROVEN")


class Kept:
    """The parts of one proof that are done, a file each."""

    def __init__(self, proof: str, folder: Path = FOLDER / "parts", *, code: str = "") -> None:
        self._folder = folder / (code or digest_here(proof)) / proof

    def get(self, part: str, kind: type[PROVEN]) -> PROVEN | None:
        """Return what a part found; None when it is still to be done."""
        file = self._folder / f"{part}.pickle"
        if not file.exists():
            return None
        found = pickle.loads(file.read_bytes())  # noqa: S301 - our own file
        assert isinstance(found, kind), f"{file} is not of this proof"
        return found

    def put(self, part: str, found: object) -> None:
        """Keep what a part found; whole or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"{part}.pickle"
        unfinished = file.with_suffix(".new")
        unfinished.write_bytes(pickle.dumps(found))
        unfinished.replace(file)
