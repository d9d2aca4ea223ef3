"""Writing the changes of runs to one who watches them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from runwire.server.core.run_changes import Told
from runwire.server.model.changes import Change
from runwire.server.rpc import enums
from runwire.server.rpc.calls import Context, wants_values
from runwire.server.rpc.payloads import of_data, show_values
from runwire.server.rpc.resources import run_message
from runwire.server.rpc.resume import place_token
from runwire.server.rpc.streams import EventStream
from runwire.v1 import core_pb2
from runwire.v1 import runs_pb2 as wire


async def write_changes(
    context: Context, changes: AsyncGenerator[Told, None], silence: float
) -> None:
    """Write what is told, and after `silence`, in seconds, how far that has come."""
    place, caught_up, is_first = "", False, True

    def heartbeat() -> bytes:
        message = wire.WatchRunsResponse(resume_token=place, caught_up=caught_up)
        return message.SerializeToString()

    async with EventStream(context, heartbeat, silence) as stream, aclosing(changes):
        async for told in changes:
            place = place_token(told.place)
            if told.changes or is_first or told.caught_up != caught_up:
                message = _message(told, place)
                if wants_values(context):
                    show_values(message)
                await stream.write(message.SerializeToString())
            is_first, caught_up = False, told.caught_up


def _message(told: Told, token: str) -> wire.WatchRunsResponse:
    return wire.WatchRunsResponse(
        changes=[_change_message(change) for change in told.changes],
        resume_token=token,
        caught_up=told.caught_up,
    )


def _change_message(change: Change) -> wire.RunChange:
    if change.run is not None:
        kind = (
            wire.RUN_CHANGE_KIND_ROLLED_BACK
            if change.run.rolled_back
            else wire.RUN_CHANGE_KIND_MOVED
        )
        return wire.RunChange(kind=kind, run=run_message(change.run))
    deleted = change.deleted
    assert deleted is not None
    run = core_pb2.Run(
        run_id=deleted.run_id,
        thread_id=deleted.thread_id,
        assistant_id=deleted.assistant_id,
        graph_id=deleted.graph_id,
        state=enums.RUN_STATES.number(deleted.state),
        metadata=of_data(deleted.metadata),
    )
    return wire.RunChange(kind=wire.RUN_CHANGE_KIND_DELETED, run=run)
