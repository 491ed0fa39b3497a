"""The Prefect flows about matches: counts in the artifact, ids in the form, never a value of a person."""

from __future__ import annotations

import json

import pytest
from prefect import get_client
from prefect.artifacts import Artifact
from pydantic import ValidationError

from flows.deployed_match import ARTIFACT, MOST, Everybody, Reviewed, match, match_review, review, table
from flows.errors import UsageError
from flows.matched import CLASSES, MappingMatch, Matched
from flows.open import open_store
from flows.settings import Settings, load_settings
from state import MatchRow, Store
from tests.flows.terminal import Terminal
from tests.flows.test_deployed import Place, ended, marked, place  # noqa: F401 - a fixture

pytest_plugins = ["tests.prefect_server"]
ROW = MatchRow("student", "demo-user-3", "case-1", 3, "duplicate", "email")


@pytest.fixture
def settings(terminal: Terminal) -> Settings:
    """Give settings whose books know one open match."""
    found = load_settings(terminal.env, None)
    with open_store(found) as store:
        store.note_matches("student", [ROW])
    return found


def decisions_of(settings: Settings) -> list[str]:
    """Return what was decided."""
    with open_store(settings) as store:
        return [row.decision for row in store.matches()]


def test_a_form_of_a_few(settings: Settings) -> None:
    """A row of the form decides; who and when is remembered."""
    assert "Linked: 1 person." in review(settings, [Reviewed(moodle_id=3, case_id=" case-1 ", decision="link")])
    assert ["linked"] == decisions_of(settings)


def test_all_or_none(settings: Settings) -> None:
    """One row that fits nobody, and nothing is decided."""
    rows = [Reviewed(moodle_id=3, case_id="case-1", decision="link")]
    rows.append(Reviewed(moodle_id=4, case_id="case-1", decision="link"))
    with pytest.raises(UsageError, match="Nothing was found about person 4"):
        review(settings, rows)
    assert [""] == decisions_of(settings)


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_a_form_is_for_few(settings: Settings, count: int) -> None:
    """None, or more than anybody would look at, is refused."""
    with pytest.raises(UsageError, match=f"takes 1 to {MOST} decisions"):
        review(settings, [Reviewed(moodle_id=3, case_id="case-1", decision="link")] * count)


def test_everybody_of_a_class(settings: Settings) -> None:
    """With the class and the number that was named, all are linked; nothing else goes with that."""
    for wrong, said in (
        (Everybody("duplicate", count=2), "1 person is of the class 'duplicate', not 2. Give the count 1"),
        (Everybody("", "student", 0), "mapping and count go with everybody"),
        (Everybody("new", count=1), "Nobody of the class 'new' waits"),
    ):
        with pytest.raises(UsageError, match=said):
            review(settings, [], wrong)
    with pytest.raises(UsageError, match="not both"):
        review(
            settings,
            [Reviewed(moodle_id=3, case_id="case-1", decision="link")],
            Everybody("duplicate", count=1),
        )
    assert [""] == decisions_of(settings)
    assert "Linked: 1 person." in review(settings, [], Everybody("duplicate", "student", 1))
    assert ["linked"] == decisions_of(settings)


def test_only_two_words() -> None:
    """The form has a choice of two words, and no other is taken."""
    with pytest.raises(ValidationError):
        Reviewed.model_validate({"moodle_id": 3, "case_id": "case-1", "decision": "maybe"})
    shown = json.dumps(match_review.parameters.model_dump())
    assert '"enum": ["link", "reject"]' in shown
    assert "null" not in json.dumps(match.parameters.properties)


def test_the_artifact_counts() -> None:
    """A row for each class, with how many people, and nothing else."""
    one = MappingMatch("student", "student")
    one.classes["duplicate"] = 7
    rows = table(Matched("", mappings=[one], values={"demo-user-3": ("Amina", "amina@clinic.example.org")}))
    assert [*CLASSES] == [row["class"] for row in rows]
    assert [7] == [row["people"] for row in rows if row["people"]]
    assert "Amina" not in str(rows)


@marked
async def test_on_a_server(place: Place) -> None:  # noqa: F811
    """A match waits when somebody has to decide, shows counts, and the form takes the word."""
    case = place.sandbox.project.add_case("student", "Amina Otieno")
    kind, name, message = await ended(match, mappings=[])
    assert ("COMPLETED", "Waiting") == (kind, name)
    assert "1 unverified" in message
    async with get_client():
        shown = await Artifact.get(ARTIFACT)
    assert shown is not None
    assert "Otieno" not in str(shown.data)
    assert "unverified" in str(shown.data)
    row = Reviewed(moodle_id=place.sandbox.learners[0], case_id=case.case_id, decision="link")
    kind, _, message = await ended(match_review, decisions=[row])
    assert ("COMPLETED", True) == (kind, message.startswith("Linked: 1 person."))
    assert 0 == place.writes
    kind, name, message = await ended(match, mappings=["enrolment"])
    assert ("FAILED", True) == (kind, "Only people are matched" in message)


def test_books_are_of_this_store() -> None:
    """The row of these tests is one that the books take."""
    with Store.open("sqlite://", key=bytes(32)) as store:
        store.note_matches("student", [ROW])
        assert [ROW] == store.matches()
