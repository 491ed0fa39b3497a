"""The mapping engine: what implementers wrote, checked made into plain functions."""

from mappings.engine.catalogue import Catalogue, CatalogueField
from mappings.engine.compile import CompiledMapping, IndexRule, PropertyNote
from mappings.engine.costs import Cost
from mappings.engine.draft import (
    REASONS,
    Context,
    Departure,
    Draft,
    Excluded,
    HeldBack,
    IndexReference,
    OwnerReference,
    OwnerRule,
    ValueProblem,
)
from mappings.engine.load import CheckReport, check_project, load_project
from mappings.engine.plugins import transform
from mappings.engine.problems import MappingError, Problem
from mappings.engine.project import CourseChoice, Guards, NamesChoice, Project

__all__ = [
    "REASONS",
    "Catalogue",
    "CatalogueField",
    "CheckReport",
    "CompiledMapping",
    "Context",
    "Cost",
    "CourseChoice",
    "Departure",
    "Draft",
    "Excluded",
    "Guards",
    "HeldBack",
    "IndexReference",
    "IndexRule",
    "MappingError",
    "NamesChoice",
    "OwnerReference",
    "OwnerRule",
    "Problem",
    "Project",
    "PropertyNote",
    "ValueProblem",
    "check_project",
    "load_project",
    "transform",
]
