"""What a run leaves in Prefect, as text: golden files, and that hostile words stay words."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest

from flows.audited import Audit, Finding, conclude
from flows.needs import blanks, duplicates, leavers, matches, new_term, unlisted
from flows.result import CaseCounts, CourseResult, Result, RunState
from flows.run_markdown import (
    audit_markdown,
    marked,
    needs_markdown,
    run_line,
    run_markdown,
    runs_line,
    runs_markdown,
)
from flows.status import Status
from state import Store
from tests.flows.bench_world import golden
from tests.flows.status_world import NOW, made_status


@pytest.fixture
def store() -> Iterator[Store]:
    """Give new books in memory."""
    with Store.open("sqlite://", key=bytes(32)) as books:
        yield books


def busy() -> Result:
    """Return a run in which something of everything happened."""
    result = Result("20261118T110000-abcdef", seconds=125.0)
    result.cases = {"student": CaseCounts(unchanged=1_200), "enrolment": CaseCounts(unchanged=30)}
    result.requests = {"moodle": {"core_enrol_get_enrolled_users": 9, "core_user_get_users_by_field": 2}} | {
        "commcare": {"write": 3, "search": 1}
    }
    for number in (2, 3, 4):
        result.courses[number] = CourseResult("completed", 40, 1.0)
    result.courses[7] = CourseResult("failed", 0, 9.0, "Moodle gave no answer | twice.")
    result.count("student", 0, "created", 3)
    result.count("student", 0, "held_back", 2)
    result.count("enrolment", 3, "updated", 5)
    result.count("enrolment", 3, "in_doubt", 1)
    result.count("enrolment", 4, "marked_left", 1)
    result.reasons.update({"owner_unresolved": 2, "closed_in_commcare": 1})
    result.not_due = ["engagement"]
    result.worse(RunState.DEGRADED, "Not read: course 7. Moodle gave no answer. See `moodle-commcare check`.")
    return result


def first() -> Result:
    """Return the plan of a first run."""
    result = Result("20261118T110000-abcdef", preview=True, seconds=2.04)
    result.cases = {"student": CaseCounts(created=12)}
    result.courses[2] = CourseResult("completed", 12, 1.0)
    result.plan = {
        "creates": {"student": 12},
        "existing_cases": {"student": 4},
        "held_back": {"owner_unresolved": 1},
        "unresolved_owners": {"group_unknown": 1},
        "without_phone": {"student.phone": 2},
        "kept_out": {"student": 1},
        "not_read": {"courses": [3, 7], "people": 0, "new_courses": False},
        "commcare_requests": 1,
        "stops": [],
        "expected_minutes": 1,
    }
    result.worse(RunState.WAITING, "First run of these mappings: nothing was sent.")
    return result


def audited() -> Audit:
    """Return an audit that found something."""
    found = Audit("audit-20261118T110000-abcdef", cases=Counter(student=12, enrolment=24), requests=2, seconds=3.0)
    found.tell(Finding("duplicate", "test-user-5", "", "", ""))
    found.tell(Finding("drift", "test-user-6", "student", "student", "c6", ("@name", "phone")))
    conclude(found, repair=False)
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run_busy", run_markdown(busy())),
        ("run_first", run_markdown(first())),
        ("run_quiet", run_markdown(Result("20261118T110000-abcdef", courses={2: CourseResult("completed", 12)}))),
        (
            "needs",
            needs_markdown(
                [
                    leavers(3, 12),
                    unlisted(20, 3),
                    blanks("student contact_phone", 4),
                    blanks("student city", 2, "city"),
                    new_term(5),
                    duplicates("student", 7),
                    matches("student", 1),
                ]
            ),
        ),
        ("needs_none", needs_markdown([])),
        ("audit", audit_markdown(audited())),
    ],
)
def test_golden(name: str, text: str) -> None:
    """The golden text."""
    assert golden(f"artifact_{name}", text) == text


def test_a_form_is_a_link() -> None:
    """It opens with what has to stand in it; one that was not found is named only."""
    asked = [leavers(3, 12), matches("student", 1)]
    text = needs_markdown(asked, forms={"approve": "/v2/x/1/run"})
    (address,) = re.findall(r"\[Open the form, filled in\]\((\S+)\)", text)
    path, query = address.split("?")
    assert ("/v2/x/1/run", {"kind": "leavers", "course": 3, "count": 12}) == (
        path,
        json.loads(parse_qs(query)["parameters"][0]),
    )
    assert "[Open the form](/v2/y/2/run)" in needs_markdown(asked, forms={"match-review": "/v2/y/2/run"})
    assert "](" not in needs_markdown(asked)
    both = needs_markdown(asked, forms={"approve": "/form", "match-review": "/other"})
    assert (True, False) == ("*Submit* there is the yes" in both, "*Deployments*" in both)
    assert "*Deployments*" in text


def test_hostile_words_stay_in_the_address() -> None:
    """Whatever a property is called, the link ends where it should and says what it should."""
    text = needs_markdown([blanks("student a)](http://x.example.org", 4)], forms={"approve": "/form"})
    (address,) = re.findall(r"filled in\]\(([^)]*)\)\n", text)
    assert "http:" not in address
    assert "a)](http://x.example.org" == json.loads(parse_qs(address)["/form?parameters"][0])["property"]


def test_last_runs(store: Store) -> None:
    """A picture that stands by itself, with its numbers as its other text, and a table."""
    status = made_status(store)
    text = runs_markdown(status)
    (alt, picture), *others = re.findall(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([^)]*)\)", text)
    assert [] == others
    assert alt.startswith("The last 3 runs, 18 Nov 08:59 to 18 Nov 10:59: seconds each took, by how it ended")
    assert base64.b64decode(picture).decode().startswith("<svg")
    rest = text.replace(picture, "...")
    assert golden("artifact_last_runs", rest) == rest
    assert "1 completed, 1 degraded, 1 stopped" == runs_line(status)
    assert "No run yet." == runs_line(Status(NOW))


def test_a_run_in_a_line() -> None:
    """How it ended, and how many records were sent or not."""
    assert "Degraded: 9 records sent, 3 held back or in question." == run_line(busy())
    assert "Completed: 0 records sent." == run_line(Result("1"))
    preview = Result("1", preview=True, cases={"student": CaseCounts(created=1)})
    assert "Completed: 1 record to send." == run_line(preview)


def test_many_courses_end_somewhere() -> None:
    """Failed ones first; the table of a large site does not fill Prefect's database."""
    result = Result("1")
    for number in range(1, 1_001):
        result.courses[number] = CourseResult("failed" if number == 900 else "completed", 40)
        result.count("enrolment", number, "updated", 2)
    text = run_markdown(result)
    rows = re.findall(r"(?m)^\| (\d+) \|", text)
    assert (["900", "1", "2"], 50) == (rows[:3], len(rows))
    assert "... and 950 courses more in which something happened." in text
    assert len(text) < 5_000


def test_hostile_words_stay_words() -> None:
    """Nothing in a message becomes a heading, a link, a picture, HTML, or another cell of a table."""
    evil = "# <b>x</b> ![p](http://x.example) [l](http://x.example) | a *b* ~c~\n\n## heading"
    result = Result("1", courses={2: CourseResult("failed", reason=evil)}, messages=[evil])
    text = run_markdown(result)
    bare = re.sub(r"\\.", "", text)
    assert not re.search(r"<b>|!\[|\]\(|\*b\*|~c~|(?m:^## heading)", bare)
    assert r"a \*b\* \~c\~" in text


def test_commands_stay_as_they_are() -> None:
    """What stands in backticks is shown as it is typed."""
    assert r"Type `moodle-commcare sync --rekey *` \[now\]" == marked(
        "Type `moodle-commcare sync --rekey *` [now]"
    )
