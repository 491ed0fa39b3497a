"""What the proofs found in the engine, each as small as it gets."""

from __future__ import annotations

import asyncio
from pathlib import Path

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
