"""Why a record was held back, refused or listed: in words, and with what a person can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flows.feedback_reasons import FEEDBACK_REASONS, FEEDBACK_REMEDIES
from mappings.engine import REASONS as OF_VALUES
from mappings.engine.markdown import code, table_lines
from mappings.engine.remedies import REMEDIES as OF_VALUES_REMEDIES

# The end of a sentence that begins with the number of records.
REASONS: Final[Mapping[str, str]] = {
    "waits_for_parent": "held back until the parent case is there",
    "match_undecided": "held back until somebody says whether a case in CommCare is theirs",
    "other_courses_unread": "held back until a run of all courses: a role or group in another may count",
    "parent_unknown": "held back: the parent case is not in CommCare",
    "owner_unknown": "held back: CommCare has not told yet who owns the parent case",
    "groups_not_shown": "held back: the owner goes by groups, and Moodle does not show them",
    "owner_not_shown": "held back: Moodle does not show what the owner goes by, and it is written only once",
    "owner_unresolved": "held back: nobody who could own the case; `moodle-commcare check` says who is missing",
    "owner_stays": "sent, and keeps its owner: nobody else was found; `moodle-commcare check` says who is missing",
    "other_case_type": "held back: CommCare has a case of another type with its external id",
    "mapping_stopped": "held back: a mistake in this program stops its mapping",
    "same_key_twice": "held back: another record makes the same external id",
    "closed_in_commcare": "somebody closed the case in CommCare: it took the update and stays closed",
    "parked_owner_unknown": "CommCare does not know the owner of parked cases",
    "target_deleted": "refused: somebody deleted the case in CommCare",
    "unknown_parent": "refused: CommCare no longer has the parent case",
    "duplicate_external_id": "refused: CommCare has several cases of this external id",
    "unknown_owner": "refused: CommCare does not know the owner",
    "value_too_long": "refused: a value is too long",
    "illegal_characters": "not sent: a value has characters that CommCare cannot hold",
    "too_long": "not sent: a name, a type or an id is longer than 255 characters",
    "missing_required": "not sent: name, owner or the parent's id is missing",
    "illegal_property_name": "refused: a property has a name that CommCare does not take",
    "wrong_type": "refused: CommCare wanted another kind of value",
    "request_too_large": "refused: too much in one request",
    "blocked": "refused: a firewall in front of CommCare takes the record for an attack",
    "not_sorted_out": "not tried: too many records of its request are at fault",
    "poison": "not sent each time: CommCare broke down over the record again and again",
    "refused": "refused by CommCare",
    "dropped": "not sent: a person dropped the problem, and nothing has changed since",
    **FEEDBACK_REASONS,
}

_ADD_OWNER: Final = "Add the user, group or location in CommCare, or a rule or `otherwise` in the mapping."
_AGAIN: Final = "then `moodle-commcare problems retry KEY`"
_ANEW: Final = (
    "Restore the case in CommCare, then `moodle-commcare problems retry KEY`; or have a new one made with "
    "`moodle-commcare problems retry KEY --recreate`."
)
REMEDIES: Final[Mapping[str, str]] = {
    "waits_for_parent": "Nothing, when the parent is only on its way; else put right what holds the parent back, "
    "or the account in Moodle whose profile it cannot give (each run names it).",
    "match_undecided": "`moodle-commcare match list` shows the cases; then `match approve` or `match reject`.",
    "other_courses_unread": "Nothing: the next run of all courses decides.",
    "parent_unknown": "Let the parent's mapping take the person in, or say `when_parent_unknown: wait` or `skip`.",
    "owner_unknown": "Nothing: the next run knows.",
    "groups_not_shown": "Give the role of the account in Moodle 'moodle/site:accessallgroups'.",
    "owner_not_shown": "Give the role of the account in Moodle 'moodle/user:viewalldetails'; or correct the "
    "accounts of which the last run says that Moodle cannot show them.",
    "owner_unresolved": _ADD_OWNER,
    "owner_stays": _ADD_OWNER,
    "other_case_type": "To go on in that case, write its type as `case_type` in the mapping first; else "
    "give it another external id in CommCare. One that is nowhere to be seen was deleted there: restore it first.",
    "mapping_stopped": "Report it with the word below it and the mapping. A text of this record that looks odd in "
    "Moodle may be what stops it: change that.",
    "same_key_twice": "Make `external_id` of ids that only one record has.",
    "closed_in_commcare": "Nothing, if that was meant; no interface of CommCare opens a case again.",
    "parked_owner_unknown": "Correct `parked_owner` in project.yaml, or add that owner in CommCare.",
    "target_deleted": _ANEW,
    "unknown_parent": f"Restore the parent's case in CommCare, or have it made anew with `moodle-commcare audit "
    f"--recreate`; {_AGAIN}.",
    "duplicate_external_id": f"Give all but one another external id in CommCare, or delete them, {_AGAIN}.",
    "unknown_owner": f"Let the account reach that owner in CommCare (its role's locations), {_AGAIN}.",
    "value_too_long": "Shorten what the case's name is made of.",
    "illegal_characters": "Type the text in Moodle anew: it was pasted with invisible characters.",
    "too_long": "Shorten what `case_name` or `external_id` are made of.",
    "missing_required": "Give `case_name` a part that is never blank.",
    "illegal_property_name": "Rename the property in the mapping.",
    "wrong_type": f"Report it with the reason and the mapping; {_AGAIN}.",
    "request_too_large": "Shorten the longest texts that the mapping sends.",
    "blocked": "Look at this record in Moodle for a text that looks like a program, such as `${jndi:...}`, and "
    f"change it; or ask who runs the CommCare server, {_AGAIN}.",
    "not_sorted_out": "Nothing: the next run goes on with it.",
    "poison": f"It is tried again by itself after a day, then ever more rarely. Look at this record in Moodle for "
    f"odd texts, change it, or report it; {_AGAIN}.",
    "refused": f"Look at the record and at the case in CommCare, {_AGAIN}.",
    "dropped": "`moodle-commcare problems retry KEY` sends it all the same.",
    **FEEDBACK_REMEDIES,
}
"""For each reason of a record, a sentence or two."""


def reason_words(reason: str) -> str:
    """Return a reason as the end of a sentence that begins with a number of records."""
    if reason in REASONS:
        return REASONS[reason]
    return f"a value {OF_VALUES[reason]}" if reason in OF_VALUES else reason.replace("_", " ")


_PARTS: Final = {
    "@name": "the name of the case",
    "@key": "the external id of the case",
    "@owner": "the name of the owner",
    "@include": "a field by which records are left out",
}
_BLANK_NAME: Final = "Fill the field in Moodle, or give `case_name` a part that is never blank."


def problem_words(reason: str, name: str) -> str:
    """Return what is wrong with one record, or with its property `name`."""
    if name and reason in OF_VALUES:
        part = "the external id of the parent case" if name.startswith("@index:") else _PARTS.get(name, name)
        return f"{part} {OF_VALUES[reason]}"
    return reason_words(reason)


def remedy(reason: str, name: str = "") -> str:
    """Return what to do about it, "" for a reason that nobody foresaw."""
    if (reason, name) == ("blank", "@name"):
        return _BLANK_NAME
    order = (OF_VALUES_REMEDIES, REMEDIES) if name else (REMEDIES, OF_VALUES_REMEDIES)
    return next((found[reason] for found in order if reason in found), "")


def records_reference() -> str:
    """Return every reason with which a whole record is listed, and what to do about it."""
    lines = [
        "",
        "## Whole records",
        "",
        "A record that is held back is looked at anew by each read. One that CommCare refused is not sent again "
        "as it is: it is sent when its content or its mapping changes, or after `moodle-commcare problems retry`. "
        "`problems list`, `show`, `retry` and `drop` have `--json`: one object, with what was found or done. "
        "`list` and `retry` take `--course`, `--reason` or both.",
        "",
    ]
    rows = ((code(name), text, REMEDIES[name]) for name, text in REASONS.items())
    return "\n".join([*lines, *table_lines(("Reason", "The record is ...", "What to do"), rows)]) + "\n"
