"""When each mapping's streams were read, and are to be read again by the intervals of project.yaml."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flows.steps.due import HOUR, HOURS, hours_of, slack_of, streams_of
from mappings.engine import Project
from state import Store
from state.facts import READS


@dataclass(frozen=True)
class StreamRead:
    """A stream of a mapping: last complete read (epoch, 0.0: never), and hours between two reads (0: each run).

    `since` is what the intervals count from, one after the other.
    """

    mapping: str
    stream: str
    read_at: float
    hours: float
    since: float

    @property
    def due_at(self) -> float:
        """Return from when on a run reads it again, 0.0 for the next run."""
        interval = self.hours * HOUR
        if not self.read_at or not interval:
            return 0.0
        return self.since + ((self.read_at - self.since + slack_of(interval)) // interval + 1) * interval


def stream_reads(store: Store, project: Project) -> list[StreamRead]:
    """Return the streams of all enabled mappings, parents first."""
    found, begun = [], json.loads(store.get(HOURS) or "{}")
    for mapping in project.mappings:
        known: dict[str, float] = json.loads(store.get(READS.format(name=mapping.name)) or "{}")
        for stream in streams_of(mapping):
            read, hours = known.get(stream, 0.0), hours_of(project, stream)
            since = read if mapping.recheck_daily else begun.get(mapping.name, {}).get(stream, read)
            found.append(StreamRead(mapping.name, stream, read, hours, since))
    return found
