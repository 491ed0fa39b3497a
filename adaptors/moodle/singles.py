"""Calls that Moodle answers for one person only, many of them in a request where the service allows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from adaptors.errors import AdaptorError, Refused, Retriable
from adaptors.moodle.client import MoodleClient
from adaptors.moodle.sizes import BatchSize

Arguments = Mapping[str, Any]


class SingleCalls:
    """Asks the same function about one person after the other; `batching` sends many calls in one request."""

    def __init__(self, client: MoodleClient, size: BatchSize) -> None:
        self.batching = False
        self._client = client
        self._size = size

    async def answers(
        self, function: str, calls: Sequence[tuple[int, Arguments]]
    ) -> AsyncIterator[list[tuple[int, Any]]]:
        """Yield answers as they come, each with the person's id; whom Moodle refuses has none.

        Raises AdaptorError for what concerns more than one person. A batch ends with its first error, so the rest
        of it is asked for again.
        """
        queue = list(calls)
        while queue:
            results = await (self._batch(function, queue) if self.batching else self._singly(function, queue))
            found = [(person, result) for (person, _), result in zip(queue, results, strict=False)]
            for _, result in found:
                if isinstance(result, AdaptorError) and not _is_about_one_person(result):
                    raise result
            del queue[: len(results)]
            yield [(person, result) for person, result in found if not isinstance(result, AdaptorError)]

    async def _batch(self, function: str, queue: Sequence[tuple[int, Arguments]]) -> list[Any]:
        async def once() -> list[Any]:
            size = self._size
            calls = [(function, arguments) for _, arguments in queue[: size.value]]
            try:
                results, seconds = await self._client.batch(calls)
            except Retriable:
                size.shrink()
                raise
            size.learn(len(results), seconds)
            if isinstance(results[-1], Retriable):
                raise results[-1]
            return results

        return await self._client.retried(once, function)

    async def _singly(self, function: str, queue: Sequence[tuple[int, Arguments]]) -> list[Any]:
        """Ask one by one, as many at a time as the pace of the client lets through."""

        async def one(arguments: Arguments) -> Any:
            try:
                return await self._client.call(function, **arguments)
            except AdaptorError as error:
                if _is_about_one_person(error):
                    return error
                raise

        tasks = [asyncio.create_task(one(arguments)) for _, arguments in queue[: self._size.value]]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _is_about_one_person(error: AdaptorError) -> bool:
    """Tell a refusal of one person from a course that is gone."""
    return isinstance(error, Refused) and error.code != "invalidrecord"
