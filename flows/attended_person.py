"""What the commands about one person do with a world of their own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from flows.attended import stoppable
from flows.errors import UsageError
from flows.open import open_store, open_world
from flows.person import Erasure, erase, export
from flows.settings import Settings
from flows.state_care import refuse_other_key
from flows.steps.merged import merged, who_became


def count_cases(settings: Settings, person: int) -> tuple[int, list[int]]:
    """Return how many cases an erasure would empty, and the other numbers that it takes along."""
    with open_store(settings) as store:
        others = who_became(merged(store), person)
        return sum(len(store.person(number).cases) for number in (person, *others)), others


def run_erase(settings: Settings, person: int) -> Erasure:
    """Open the world, erase, close it; raises Stopped after a signal."""

    async def run() -> Erasure:
        with stoppable(asyncio.current_task(), "Stopping; what is under way is finished first."):
            world = open_world(settings)
            try:
                return await erase(world, person)
            finally:
                await world.close()

    return asyncio.run(run())


def run_export(settings: Settings, person: int) -> dict[str, Any]:
    """Open the world, gather a person's data, close it; StateError for a key that cannot tell who was erased."""

    async def run() -> dict[str, Any]:
        world = open_world(settings)
        try:
            await world.books.do(refuse_other_key, world.books.store, settings)
            return await export(world, person)
        finally:
            await world.close()

    return asyncio.run(run())


def write_export(path: Path, found: dict[str, Any]) -> None:
    """Write a person's data into a new file that nobody else may read; UsageError when there is one.

    Of a file that does not become whole, nothing stays.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already. Name a new file.") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(found, file, ensure_ascii=False, indent=2)
            file.write("\n")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
