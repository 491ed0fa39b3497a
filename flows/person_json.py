"""What is given out of a person's data, as JSON: values whole, for the person alone."""

from __future__ import annotations

from typing import Any

from adaptors.commcare.cases import CaseReply
from flows.problems import moment
from state import FeedbackRow, MatchRow


def match_json(one: MatchRow) -> dict[str, Any]:
    """Return a case that may be, is, or is not that of the person."""
    return {
        "mapping": one.mapping,
        "key": one.key,
        "case_id": one.case_id,
        "kind": one.kind,
        "matched_by": one.matched_by,
        "reason": one.reason,
        "decision": one.decision or "open",
        "decided_by": one.decided_by,
        "found_at": moment(one.found_at),
        "decided_at": moment(one.decided_at) if one.decided_at else None,
    }


def feedback_json(one: FeedbackRow) -> dict[str, Any]:
    """Return what is known of a text that goes back to Moodle; of the text itself the books have a digest only."""
    return {
        **one.holder.row._asdict(),
        "property": one.name,
        "case_id": one.holder.case_id,
        "reason": one.reason,
        "first_at": moment(one.first_at),
        "last_at": moment(one.last_at),
        "tries": one.tries,
    }


def case_json(there: CaseReply) -> dict[str, Any]:
    """Return a case as CommCare has it."""
    return {
        "case_id": there.case_id,
        "case_type": there.case_type,
        "case_name": there.name,
        "owner_id": there.owner_id,
        "closed": there.closed,
        "properties": dict(there.properties),
    }
