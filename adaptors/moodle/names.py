"""How Moodle writes names: as they are stored, or through the site's own text filters (multi-language content)."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-fA-F]{1,5});")

# Which keys of a function's answer hold names that Moodle writes for a web page once its filters are on.
_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "core_course_get_courses_by_field": frozenset({"fullname", "shortname", "displayname", "categoryname"}),
    "core_course_get_categories": frozenset({"name"}),
    "core_course_get_contents": frozenset({"name"}),
    "gradereport_user_get_grade_items": frozenset({"itemname"}),
    "mod_assign_get_assignments": frozenset({"name", "fullname", "shortname"}),
}
# Moodle writes a person's groups so whatever the call asks for (its user/lib.php does not know that setting);
# people's own names are no such texts.
_IN_GROUPS = "core_enrol_get_enrolled_users"


@dataclass(frozen=True)
class Names:
    """`filters` applies Moodle's own text filters, in `language` ("" is that of the service account)."""

    filters: bool = False
    language: str = ""

    def settings(self) -> dict[str, str]:
        """Return the fields of a call that ask for names like this.

        Raw names otherwise: without either, Moodle strips "<...>" from course names and writes "&amp;".
        """
        if not self.filters:
            return {"moodlewssettingraw": "1"}
        chosen = {"moodlewssettinglang": self.language} if self.language else {}
        return {"moodlewssettingfilter": "1", **chosen}

    def batch_settings(self) -> dict[str, Any]:
        """Return the same for one entry of `tool_mobile_call_external_functions`."""
        return {
            "setting" + name.removeprefix("moodlewssetting"): value if name.endswith("lang") else 1
            for name, value in self.settings().items()
        }

    def plain(self, function: str, data: Any) -> Any:
        """Undo, once, the entities in the names of an answer; what is HTML by nature (summaries) stays HTML."""
        if function == _IN_GROUPS and isinstance(data, list):
            return [_with_groups(row) for row in data]
        return _plain(data, _NAMES[function]) if self.filters and function in _NAMES else data


def _with_groups(row: Any) -> Any:
    if isinstance(row, dict) and "groups" in row:
        return row | {"groups": _plain(row["groups"], frozenset({"name"}))}
    return row


def _plain(data: Any, names: frozenset[str]) -> Any:
    """Return a copy of decoded JSON in which the values under these keys are plain text."""
    if isinstance(data, dict):
        return {
            key: plain_text(value) if key in names and isinstance(value, str) else _plain(value, names)
            for key, value in data.items()
        }
    return [_plain(value, names) for value in data] if isinstance(data, list) else data


def plain_text(text: str) -> str:
    """Return a text with its entities undone exactly once: "&amp;lt;" becomes "&lt;"."""
    return _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
