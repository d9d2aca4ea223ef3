"""What retention has passed, in bulk."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from runwire.server.model.events import Segment
from runwire.server.model.ids import new_id
from runwire.server.model.runs import RunState
from runwire.server.model.threads import PruneStrategy, ThreadTtl
from runwire.server.storage import endings, events, threads
from runwire.server.storage.checkpoint_writes import Write
from runwire.server.storage.checkpoints import NewCheckpoint, Place, add_checkpoint, add_writes
from runwire.server.storage.endings import Ending
from tests.support.records import a_run, add_run


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=30)


def add_old_runs(connection: Connection, *, count: int, segments: int, size: int) -> None:
    """Store stateless runs that ended a month ago, with as many segments of events."""
    for _ in range(count):
        run = add_run(connection, a_run(state=RunState.RUNNING, attempt=1, owner="server"))
        events.add_segments(
            connection,
            [
                Segment(run.run_id, 1, number, (size,), b"x" * size, number == segments)
                for number in range(1, segments + 1)
            ],
        )
        ending = Ending(state=RunState.SUCCEEDED)
        endings.end_run(connection, run.run_id, ending, _long_ago(), was=frozenset(RunState))


def add_old_thread(
    connection: Connection, strategy: PruneStrategy, checkpoints: int, size: int
) -> str:
    """Store a thread on which nothing has happened for a month, with as many checkpoints."""
    ttl = ThreadTtl(timedelta(hours=1), strategy)
    thread_id = threads.add_thread(connection, new_id(), {}, _long_ago(), ttl).thread_id
    for number in range(checkpoints):
        place = Place(thread_id, "", f"{number:08}")
        new = NewCheckpoint(place, None, "run", "graph", "msgpack", b"x" * size, {"step": number})
        add_checkpoint(connection, new, None)
        writes = [Write("task", "", place, "channel", "msgpack", b"y" * 500) for place in (0, 1)]
        add_writes(connection, place, "run", writes, None)
    return thread_id
