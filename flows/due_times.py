"""When each mapping's streams were read, and are to be read again by the intervals of project.yaml."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flows.steps.due import HOUR, SINCE, hours_of, streams_of
from mappings.engine import Project
from state import Store
from state.facts import READS


@dataclass(frozen=True)
class StreamRead:
    """A stream of a mapping: last complete read (epoch, 0.0: never), and hours between two reads (0: each run).

    `since` is what the hours count from where that is not the read itself: one that came late, say; else 0.0.
    """

    mapping: str
    stream: str
    read_at: float
    hours: float
    since: float = 0.0

    @property
    def due_at(self) -> float:
        """Return from when on a run reads it again, 0.0 for the next run."""
        return (self.since or self.read_at) + self.hours * HOUR if self.read_at and self.hours else 0.0


def stream_reads(store: Store, project: Project) -> list[StreamRead]:
    """Return the streams of all enabled mappings, parents first."""
    found = []
    for mapping in project.mappings:
        known: dict[str, float] = json.loads(store.get(READS.format(name=mapping.name)) or "{}")
        for stream in streams_of(mapping):
            hours, since = hours_of(project, stream), known.get(SINCE.format(stream=stream), 0.0)
            found.append(StreamRead(mapping.name, stream, known.get(stream, 0.0), hours, since))
    return found
