"""What an error makes of a run: the families decide, and every run ends with a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adaptors.errors import AdaptorError, Maintenance, NoAnswer, NotSent, Retriable
from flows.errors import Resting, Unfinished, UsageError, Waiting
from flows.result import Result, RunState
from flows.world import World
from state import StateError


@asynccontextmanager
async def outcome(world: World, result: Result) -> AsyncIterator[None]:
    """Turn what stops the block into the state of its result; counts its requests and seconds.

    What nobody foresaw is raised again, and so are UsageError and a cancellation.
    """
    started = world.clock.monotonic()
    clients = (("moodle", world.moodle), ("commcare", world.commcare))
    before = {system: client.requests.copy() for system, client in clients}
    try:
        yield
    except Maintenance as error:
        result.stopped(RunState.POSTPONED, f"{error} The run is postponed; nothing is lost.")
    except Resting as error:
        result.stopped(RunState.POSTPONED, str(error))
    except Waiting as error:
        for message in error.args:
            result.worse(RunState.WAITING, message)
    except Unfinished as error:
        result.stopped(RunState(error.state), str(error))
    except Retriable as error:
        # An address that has answered before is right: it is the line, or the server, and a later run finds it.
        passes = error.system == "CommCare" or (world.moodle.is_known and isinstance(error, NotSent | NoAnswer))
        state = RunState.POSTPONED if passes else RunState.FAILED
        result.stopped(state, str(error) if result.preview else f"{error} The next run catches up.")
    except (AdaptorError, StateError) as error:
        result.stopped(RunState.FAILED, str(error))
    except UsageError as error:  # raised again; who looks at the run later needs its words as well
        result.stopped(RunState.FAILED, str(error))
        raise
    except BaseException:
        result.stopped(RunState.FAILED, "The run was stopped. The next one catches up.")
        raise
    finally:
        result.seconds = world.clock.monotonic() - started
        for system, client in clients:
            made = Counter(result.requests[system])  # by other workers
            made.update(client.requests - before[system])
            result.requests[system] = dict(made)
