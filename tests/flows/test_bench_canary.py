"""The implementer's tools read everything of everybody: nothing of it is shown, told to a script, or logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import field_catalogue
from flows.diff import as_json as diff_json
from flows.diff import pairs
from flows.example import add_test
from flows.explain import Explained, explained_json
from flows.fields import Filling, rows
from flows.live import look, watch, watch_source
from flows.mapping_tests import run
from flows.masked import Eyes
from flows.preview import preview
from flows.show_diff import show_diff
from flows.show_live import show_explained, show_fields
from flows.show_preview import show_preview
from flows.sync import Options
from mappings.engine import Context
from mappings.engine.catalogue import find_field
from mappings.engine.explain import FRAME, explain
from tests.canaries import Witness, canary_site, found_in, use_everything
from tests.flows.worlds import Lab

Record = Mapping[str, Any]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Give the canaries' site, with mappings that send what there is."""
    lab = Lab(tmp_path, canary_site())
    use_everything(lab.mappings)
    yield lab
    lab.close()


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture) -> Iterator[Witness]:
    """Watch a test with every logger as talkative as it can be."""
    caplog.set_level(logging.DEBUG)
    with Witness(alone=True) as witness:
        yield witness


def assert_nobody(witness: Witness, capsys: pytest.CaptureFixture[str], *told: object) -> None:
    """Assert that nothing personal was shown, told or logged; a grade is not called personal by the catalogue."""
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(json.dumps(each, default=str, ensure_ascii=False) for each in told)]
    assert any(len(text) > 100 for text in texts)
    assert [] == [hit for text in texts for hit in found_in(text) if not hit.startswith("81")]
    logging.getLogger("flows.live").debug("so that something was logged")
    assert [] == witness.hits()


async def records(lab: Lab, mapping: str) -> list[tuple[Record, Context]]:
    """Return what the live site gives to a mapping."""
    seen: list[tuple[Record, Context]] = []
    world = lab.world()
    (found,) = [each for each in world.project.mappings if each.name == mapping]
    await look(world, [watch(found, lambda record, context: seen.append((record, context)))])
    assert seen
    return seen


async def test_preview_shows_nobody(lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]) -> None:
    """The first records of everybody, as a table and as JSON."""
    found = await preview(lab.world(), Options(preview=True), 50)
    show_preview(found, Eyes())
    assert 15 <= len(found.samples)
    assert_nobody(witness, capsys, found.as_json(Eyes()))


@pytest.mark.parametrize("name", ["student", "enrolment"])
async def test_explain_shows_nobody(
    name: str, lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each part of a mapping for each record."""
    mapping = next(each for each in lab.loaded().mappings if each.name == name)
    catalogue = field_catalogue()

    def personal(path: str) -> bool:
        field = find_field(catalogue, mapping.source, path)
        return field is not None and field.personal

    found = [
        Explained("", explain(mapping, part, record, context, personal))
        for record, context in await records(lab, name)
        for part in (*mapping.notes, *FRAME, *mapping.spec.indices)
    ]
    show_explained(found, Eyes())
    assert_nobody(witness, capsys, explained_json(found, Eyes()))


@pytest.mark.parametrize("source", ["users", "enrolments"])
async def test_fields_show_nobody(
    source: str, lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    """The samples, also of fields that no mapping reads and the catalogue does not call personal."""
    catalogue = field_catalogue()
    filling, world = Filling(source, catalogue), lab.world()
    await look(world, [watch_source(world.project, source, lambda r, _: filling.take(r), reads=catalogue[source])])
    found = list(rows(catalogue, source, filling, Eyes()))
    show_fields(found, filling)
    assert_nobody(witness, capsys, found)


async def test_diff_of_families_shows_nobody(
    lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values of properties that are made of elements, too."""
    old = lab.loaded()
    lab.edit("enrolment", "source: grade.feedback", "source: grade.feedback, transform: [lower]")
    (enrolment,) = [changes for changes in pairs(old, lab.loaded()) if changes.name == "enrolment"]
    for record, context in await records(lab, "enrolment"):
        enrolment.take(record, (context, context))
    show_diff([enrolment], [], Eyes())
    assert enrolment.properties["feedback"] > 1
    assert_nobody(witness, capsys, diff_json([enrolment], [], Eyes()))


async def test_diff_shows_nobody(lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]) -> None:
    """Values before and after an edit of every property."""
    old = lab.loaded()
    for before, after in (("[trim]", "[trim, title]"), ("{firstname} {lastname}", "{lastname} {firstname}")):
        lab.edit("student", before, after)
    found = {changes.name: changes for changes in pairs(old, lab.loaded())}
    student = found["student"]
    for record, context in await records(lab, "student"):
        student.take(record, (context, context))
    show_diff([student], [], Eyes())
    assert student.properties["@name"] > 1
    assert_nobody(witness, capsys, diff_json([student], [], Eyes()))


@pytest.mark.parametrize("name", ["student", "enrolment", "engagement"])
async def test_an_example_holds_nobody(
    name: str, lab: Lab, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text that is written into the mapping file, for each record."""
    for record, context in await records(lab, name):
        (tested,) = run(lab.mappings, name)
        written = add_test(tested, record, context.today)
        print("\n".join(written.lines), "." * 100)  # noqa: T201 - to be looked at below
    (again,) = run(lab.mappings, name)
    assert [] == again.problems
    assert_nobody(witness, capsys, (lab.mappings / f"{name}.yaml").read_text())
