"""What new threads begin with, from the wire."""

from collections.abc import Sequence

from runwire.server.model.threads import NodeUpdate, Superstep
from runwire.server.rpc import payloads
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.specs import read_command
from runwire.server.rpc.states import COPY, check_copy
from runwire.v1 import threads_pb2 as wire

MAX_UPDATES = 1000
"""Updates of all supersteps together: they are stored in one transaction."""


def read_supersteps(supersteps: Sequence[wire.Superstep], fields: Fields) -> list[Superstep]:
    """Read the supersteps of a new thread."""
    if not fields.fits("supersteps", supersteps):
        return []
    updates = sum(len(superstep.updates) for superstep in supersteps)
    if updates > MAX_UPDATES:
        fields.refuse("supersteps", f"have {updates} updates, at most {MAX_UPDATES} are taken")
        return []
    return [
        _read_superstep(superstep, fields, f"supersteps[{index}]")
        for index, superstep in enumerate(supersteps)
    ]


def _read_superstep(superstep: wire.Superstep, fields: Fields, path: str) -> Superstep:
    path = f"{path}.updates"
    if not superstep.updates:
        fields.refuse(path, "is required")
    several = len(superstep.updates) > 1
    return [
        _read_update(update, fields, f"{path}[{index}]", several=several)
        for index, update in enumerate(superstep.updates)
    ]


def _read_update(
    update: wire.NodeUpdate, fields: Fields, path: str, *, several: bool
) -> NodeUpdate:
    command = None
    if update.HasField("command"):
        if payloads.is_set(update.values):
            fields.refuse(f"{path}.values", "must be unset if command is set")
        if payloads.is_set(update.command.resume) or update.command.resume_by_interrupt:
            fields.refuse(f"{path}.command.resume", "a node answers no interrupts")
        command = read_command(update.command, fields, f"{path}.command")
    if several:
        fields.required(f"{path}.as_node", update.as_node)
    values = fields.data(f"{path}.values", update.values)
    if update.as_node == COPY:
        check_copy(f"{path}.values", values, fields)
        if command is not None:
            fields.refuse(f"{path}.command", f"must be unset for {COPY}")
    return NodeUpdate(
        values=values,
        command=command,
        as_node=update.as_node,
    )
