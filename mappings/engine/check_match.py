"""Checks `match`: fields that there are, property names that CommCare takes, rules that name a pair."""

from __future__ import annotations

from mappings.engine.findings import Findings
from mappings.engine.matching import EXTERNAL_ID, KEY, MAIL, MATCHED_SOURCE, matches_email
from mappings.engine.names import RESERVED
from mappings.engine.problems import quoted, suggestion
from mappings.engine.reading import Loc
from mappings.engine.spec_match import MatchPairSpec


def check_match(findings: Findings) -> None:
    """Check how people are recognised; only a mapping of people can say so."""
    spec = findings.spec.match
    if spec is None:
        return
    if findings.spec.source != MATCHED_SOURCE:
        sentence = f"only people are matched, and this mapping is of {quoted(findings.spec.source)}"
        remedy = f"take it out here; it belongs into a mapping with 'source: {MATCHED_SOURCE}'"
        findings.tell(("match",), sentence, remedy, key=True)
        return
    for number, pair in enumerate(spec.by):
        _check_pair(findings, ("match", "by", number), pair)
    for word in ("email", "phone"):
        _check_property(findings, ("match", word), getattr(spec, word))
    _check_rules(findings)
    for number, pattern in enumerate(spec.ignore_emails):
        if "@" not in pattern and "*" not in pattern:
            sentence = f"{quoted(pattern)} is no address and no pattern of one"
            findings.tell(("match", "ignore_emails", number), sentence, "write clinic@*, or *@ngo.example.org")


def _check_pair(findings: Findings, loc: Loc, pair: MatchPairSpec) -> None:
    place = (*loc, "moodle")
    found = findings.field(_written(findings, place), pair.moodle)
    if found is not None and found.type not in ("text", "number"):
        sentence = f"{quoted(pair.moodle)} does not tell one person from another"
        findings.tell(_written(findings, place), sentence, "use a text, as in idnumber or profile.national_id")
    if pair.commcare != EXTERNAL_ID:
        _check_property(findings, (*loc, "commcare"), pair.commcare)


def _check_property(findings: Findings, loc: Loc, name: str | None) -> None:
    if name is None:
        return
    loc = _written(findings, loc)
    if name in RESERVED:
        remedy = "name the property that holds the value; 'external_id' may be compared in a pair"
        findings.tell(loc, f"{quoted(name)} belongs to CommCare and is no property", remedy)
    else:
        findings.name(loc, "property", name)


def _check_rules(findings: Findings) -> None:
    spec = findings.spec.match
    if spec is None:
        return
    known = [KEY, *(pair.commcare for pair in spec.by), MAIL]
    for number, word in enumerate(spec.auto):
        if word not in known:
            remedy = suggestion(word, known)
            findings.tell(("match", "auto", number), f"nothing is matched by {quoted(word)}", remedy)
        elif word == MAIL and not matches_email(findings.spec):
            remedy = "add 'email:' under 'match' with the case property that holds the address"
            findings.tell(("match", "auto", number), "nothing says which case property is the e-mail", remedy)


def _written(findings: Findings, loc: Loc) -> Loc:
    """Return a place as the file has it: a bare list of pairs stands under 'match' itself."""
    data = findings.document.data
    written = data.get("match") if isinstance(data, dict) else None
    return ("match", *loc[2:]) if isinstance(written, list) and loc[1] == "by" else loc
