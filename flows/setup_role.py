"""The role of the service account as a file that Moodle's form for a new role takes in.

Moodle's own description of such files (admin/roles/role_schema.xml, the same since 2.6 but for `allowview`, which
came later and may be left out) wants the elements in this order. What a site does not know is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from flows.errors import UsageError

SHORT_NAME: Final = "commcaresync"
NAME: Final = "CommCare sync"
ABOUT: Final = "For the service account of moodle-commcare, which keeps CommCare up to date."
ORDER: Final = (
    *("shortname", "name", "description", "archetype", "contextlevels"),
    *("allowassign", "allowoverride", "allowswitch", "permissions"),
)
"""The elements of a role file, in the order in which Moodle wants them."""


def role_xml(capabilities: Iterable[str], about: str) -> bytes:
    """Return the role file: these capabilities allowed, nothing else said, to be assigned for the whole site.

    `about` is the description that Moodle shows beside the role.
    """
    texts = {"shortname": SHORT_NAME, "name": NAME, "description": about}
    top = ElementTree.Element("role")
    for name in ORDER:
        part = ElementTree.SubElement(top, name)
        part.text = texts.get(name)
        if name == "contextlevels":
            ElementTree.SubElement(part, "level").text = "system"
        for capability in sorted(set(capabilities)) if name == "permissions" else ():
            ElementTree.SubElement(part, "allow").text = capability
    ElementTree.indent(top)
    text: str = ElementTree.tostring(top, "unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def write_role(file: Path, capabilities: Iterable[str]) -> None:
    """Write the role into a file, over an older one of ours; raises UsageError for another file there."""
    if file.exists() and not _is_ours(file):
        raise UsageError(f"{file} is there already and is no role file of this program. Choose another name.")
    file.write_bytes(role_xml(capabilities, ABOUT))


def _is_ours(file: Path) -> bool:
    try:
        return ElementTree.fromstring(file.read_bytes()).findtext("shortname") == SHORT_NAME  # noqa: S314 - our own
    except (ElementTree.ParseError, OSError):
        return False
