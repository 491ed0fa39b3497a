"""What a person should know before the first cases are made: CommCare has no way to take them back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from flows.steps.planned import Scope
from mappings.engine import CompiledMapping


@dataclass
class FirstLook:
    """Counts while records are planned: owners looked for in vain, people without a number or kept out."""

    creates: Counter[str] = field(default_factory=Counter)
    """Mapping -> cases that would be made."""
    owners: Counter[str] = field(default_factory=Counter)
    """What was wrong with the owners of a record, by kind and state -> records."""
    phones: Counter[str] = field(default_factory=Counter)
    """Mapping and property of a telephone number -> cases that would have none."""
    kept_out: Counter[str] = field(default_factory=Counter)
    """Mapping -> people whom it keeps out for what they are themselves (a consent), whatever their roles."""
    left_alone: set[int] = field(default_factory=set)
    """People of whom not all was read that a record is made of: it was not planned."""

    def see(self, scope: Scope) -> None:
        """Take in the records of a scope that was just planned."""
        mapping = scope.mapping
        self.owners.update(one.detail for one in scope.problems if one.reason == "owner_unresolved")
        held = {problem.key for problem in scope.problems if problem.holds}
        for name in phones_of(mapping):
            without = [key for key, draft in scope.drafts.items() if not draft.properties.get(name)]
            self.phones[f"{mapping.name}.{name}"] += len([key for key in without if key not in held])
        if mapping.source == "users":
            self.kept_out[mapping.name] += sum(scope.excluded.values())

    def as_json(self) -> dict[str, dict[str, int]]:
        """Return what it adds to the plan of a first run."""
        found = {"unresolved_owners": self.owners, "without_phone": self.phones, "kept_out": self.kept_out}
        return {name: {what: count for what, count in each.items() if count} for name, each in found.items()}


def phones_of(mapping: CompiledMapping) -> list[str]:
    """Return the properties of a mapping that are telephone numbers."""
    return [
        name
        for name, spec in mapping.spec.properties.items()
        if spec.data_type == "phone_number" or any(step.name == "phone" for step in spec.transform)
    ]
