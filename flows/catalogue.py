"""The field catalogue of the Moodle records, in the form the mapping checker wants."""

from __future__ import annotations

from adaptors.moodle.catalogue import catalogue as moodle_catalogue
from mappings.engine.catalogue import Catalogue, CatalogueField


def field_catalogue() -> Catalogue:
    """Return every source's fields by path."""
    return {
        source: {
            path: CatalogueField(info.path, info.type, info.meaning, info.personal, info.function, info.cost)
            for path, info in fields.items()
        }
        for source, fields in moodle_catalogue().items()
    }
