"""Who owns a case, in words, for the specification sheet."""

from __future__ import annotations

from mappings.engine.draft import OwnerReference
from mappings.engine.phrases import Phrases
from mappings.engine.spec import OwnerRuleSpec, OwnerSpec
from mappings.engine.steps import Surroundings


def owner_words(spec: OwnerSpec, around: Surroundings, phrases: Phrases) -> str:
    """Return all owner rules as one sentence."""
    if spec.same_as is not None:
        text = phrases.say("owner_same_as", mapping=spec.same_as)
    else:
        parts = [_rule_words(rule, phrases) for rule in spec.first_of]
        parts += [reference_words(owner, phrases) for owner in _fixed(spec, around)]
        text = phrases.say("owner_first_of", owners=", ".join(parts)) if len(parts) > 1 else "".join(parts)
        if spec.first_of:
            text += f"; {phrases.say('owner_none')}"
    return f"{text}; {phrases.say('written_once')}" if spec.write == "once" else text


def reference_words(owner: OwnerReference, phrases: Phrases) -> str:
    """Return a fixed owner as words."""
    return phrases.say(f"owner_{owner.kind}", name=f'"{owner.value}"')


def _fixed(spec: OwnerSpec, around: Surroundings) -> list[OwnerReference]:
    if spec.otherwise is None:
        return []
    if spec.otherwise.project:
        return [around.owner] if around.owner else []
    return [OwnerReference(spec.otherwise.kind, str(getattr(spec.otherwise, spec.otherwise.kind)))]


def _rule_words(rule: OwnerRuleSpec, phrases: Phrases) -> str:
    text = phrases.say(f"owner_{rule.kind}_from", field=rule.source)
    return phrases.say("owner_lookup", owner=text, name=rule.lookup) if rule.lookup else text
