"""E-mail addresses as people type them: one form, and a refusal for what no mail could reach."""

from __future__ import annotations

from typing import Final

from mappings.engine.texts import Invalid

_LONGEST: Final = 254  # characters, as mail servers take them
_NEVER: Final = frozenset('()<>[]:;,\\"')


def address(text: str) -> str:
    """Return an e-mail address in small letters; Invalid when it has not the form of one."""
    typed = text.strip().lower()
    name, at, host = typed.rpartition("@")
    labels = host.split(".")
    if (
        not at
        or len(typed) > _LONGEST
        or not _is_name(name)
        or len(labels) < 2
        or labels[-1].isdigit()
        or not all(_is_label(label) for label in labels)
    ):
        raise Invalid("invalid_email")
    return typed


def _is_name(name: str) -> bool:
    whole = name.isprintable() and " " not in name and "@" not in name and not _NEVER & set(name)
    return whole and all(name.split("."))


def _is_label(label: str) -> bool:
    return label.replace("-", "x").isalnum() and label.strip("-") == label
