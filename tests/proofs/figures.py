"""What a proof covered, as a file: docs/guarantees.md is made of these, so that no figure is written by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "var" / "proofs"


@dataclass
class Figures:
    """One line of the table: what was tried, how often something struck, and what was found wrong."""

    name: str
    tried: int = 0
    fired: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    writes_on_unchanged: int = 0
    seconds: float = 0.0
    notes: dict[str, int | str] = field(default_factory=dict)

    def write(self, folder: Path = FOLDER) -> Path:
        """Write them down, over those of an earlier time."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return file
