"""Writes what the documentation takes from the code: `python -m tests.references`, or `make docs`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from flows.catalogue import field_catalogue
from flows.reasons import records_reference
from mappings.engine.reference import fields_reference, keys_reference, reasons_reference, transforms_reference
from mappings.engine.transform import TRANSFORMS
from tests.endpoints import PAGE as ENDPOINTS_PAGE
from tests.endpoints import endpoints_page
from tests.flows.terminal import Terminal, open_ports
from tests.marking_guide import GUIDE as MARKING_GUIDE
from tests.marking_guide import with_parts
from tests.match_screens import PAGE, match_screens
from tests.screens import looking_screens, screens, with_screens
from tests.tutorial import GUIDE

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
LOOKING = FOLDER.parent / "looking-back.md"


def references() -> dict[str, str]:
    """Return the pages of the reference by file name."""
    return {
        "transforms.md": transforms_reference(TRANSFORMS.values()),
        "fields.md": fields_reference(field_catalogue()),
        "keys.md": keys_reference(),
        "reasons.md": reasons_reference() + records_reference(),
    }


def write() -> None:
    """Write all pages anew, and the screens in the guides."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in references().items():
        (FOLDER / name).write_text(text, "utf-8")
    ENDPOINTS_PAGE.write_text(endpoints_page(), "utf-8")
    MARKING_GUIDE.write_text(with_parts(MARKING_GUIDE.read_text("utf-8")), "utf-8")
    with TemporaryDirectory() as place, open_ports() as ports:
        shown = screens(Terminal(Path(place) / "var", ports))
        looked = looking_screens(Terminal(Path(place) / "looking" / "var", ports))
        matched = match_screens(Terminal(Path(place) / "match", ports))
    GUIDE.write_text(with_screens(GUIDE.read_text("utf-8"), shown), "utf-8")
    LOOKING.write_text(with_screens(LOOKING.read_text("utf-8"), looked), "utf-8")
    PAGE.write_text(with_screens(PAGE.read_text("utf-8"), matched), "utf-8")


if __name__ == "__main__":
    write()
