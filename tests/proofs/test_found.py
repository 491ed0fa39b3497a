"""What the proofs found in the engine, each as small as it gets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.canaries import found_in
from tests.proofs.machine_world import Ground


def test_a_value_that_books_forgot_is_emptied(tmp_path: Path) -> None:
    """A blank empties what CommCare held before its row was dirty, though a read between did not show it."""
    ground = Ground(tmp_path, "")
    with asyncio.Runner() as loop:
        loop.run(ground.run())
        for person in ground.people:
            ground.site.update_user(person, city="")  # nobody has one: whether it may be seen is not known
        ground.store.mark_restored(ground.clock.now())
        loop.run(ground.run())
        newcomer = ground.site.add_user("Zawadi", "Kamau", city="Siaya")
        ground.site.enrol(ground.courses[0], newcomer)
        loop.run(ground.run())
        ground.agree()
        loop.run(ground.run())
    assert [""] * 4 == [ground.case(f"test-user-{person}").properties["city"] for person in ground.people[:4]]


def test_nobody_is_asked_twice_about_deleted_cases(tmp_path: Path) -> None:
    """People who left, and whose cases somebody deleted in CommCare, are asked about once and not in every run."""
    ground = Ground(tmp_path, "")
    asked = []
    with asyncio.Runner() as loop:
        loop.run(ground.run())
        for person in ground.people[:3]:
            ground.project.delete_case(ground.case(f"test-enrol-{ground.courses[0]}-{person}").case_id)
            ground.site.unenrol(ground.courses[0], person)
        for _ in range(6):
            loop.run(ground.run())
            asked.append(ground.agree())
    assert [False, True, False, False, False, False] == asked


def test_the_books_are_searched_for_people(tmp_path: Path) -> None:
    """A value in the books is found by the search at the end of each example."""
    ground = Ground(tmp_path, "")
    ground.store.put("leak", "QanaryFirst0")
    assert ["QanaryFirst0"] == found_in(ground.copied.copy())


def test_a_lease_from_the_future_does_not_hold(tmp_path: Path) -> None:
    """A process that died while the clock was a day ahead keeps nobody waiting for that day."""
    ground = Ground(tmp_path, "")
    ground.clock.skew, ground.on_write = 86_400.0, "crash after"
    with asyncio.Runner() as loop:
        assert loop.run(ground.run()) is None, "it did not die"
        ground.clock.skew = 0.0
        result = loop.run(ground.run())
    assert result is not None
    assert result.state == "completed"
