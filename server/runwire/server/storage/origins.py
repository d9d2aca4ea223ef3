"""Queries on where checkpoints come from: who wrote them, through which graph, configured how."""

from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, select

from runwire.server.model.runs import RunConfig
from runwire.server.storage.checkpoints import Place
from runwire.server.storage.json_contains import contains
from runwire.server.storage.tables import checkpoints, runs
from runwire.server.storage.values import config_from_data


class Writer(NamedTuple):
    """A graph, and whose configuration it had: that of the run `configured_by`, or, if that is
    empty, of an assistant at a version."""

    graph_id: str
    configured_by: str = ""
    assistant_id: str = ""
    assistant_version: int = 0


class Origin(NamedTuple):
    """A checkpoint without its values."""

    place: Place
    parent_checkpoint_id: str | None
    writer: Writer
    metadata: dict[str, Any]


class Configuration(NamedTuple):
    """What a run gave to its graph besides its input."""

    config: RunConfig
    context: dict[str, Any] | None


def get_origin(
    connection: Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str
) -> Origin | None:
    """Return where a checkpoint comes from; with an empty id, the newest of the namespace."""
    values = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    if checkpoint_id:
        row = connection.execute(_one, {**values, "checkpoint_id": checkpoint_id}).one_or_none()
    else:
        row = connection.execute(_newest, values).one_or_none()
    return None if row is None else _origin(row)


def list_origins(
    connection: Connection,
    thread_id: str,
    checkpoint_ns: str,
    *,
    checkpoint_id: str = "",
    before: str = "",
    metadata: dict[str, Any] | None = None,
    limit: int,
) -> list[Origin]:
    """Return where a namespace's checkpoints come from, the newest first: of one alone, of those
    older than `before`, of those whose metadata contains `metadata`; what is empty does not
    narrow."""
    query = _newest_first
    if checkpoint_id:
        query = query.where(checkpoints.c.checkpoint_id == checkpoint_id)
    if before:
        query = query.where(checkpoints.c.checkpoint_id < before)
    if metadata:
        query = query.where(contains(checkpoints.c.metadata, orjson.dumps(metadata).decode()))
    values = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    return [_origin(row) for row in connection.execute(query.limit(limit), values)]


def get_configuration(connection: Connection, run_id: str) -> Configuration | None:
    """Return what a run was configured with; None if its record is gone."""
    row = connection.execute(_configuration, {"run_id": run_id}).one_or_none()
    return None if row is None else Configuration(config_from_data(row.config), row.context)


def _origin(row: Any) -> Origin:
    assistant_id = row.metadata.get("assistant_id")
    version = row.metadata.get("assistant_version")
    return Origin(
        Place(row.thread_id, row.checkpoint_ns, row.checkpoint_id),
        row.parent_checkpoint_id,
        Writer(
            row.graph_id,
            row.configured_by,
            assistant_id if isinstance(assistant_id, str) else "",
            version if isinstance(version, int) else 0,
        ),
        row.metadata,
    )


_select = select(
    checkpoints.c.thread_id,
    checkpoints.c.checkpoint_ns,
    checkpoints.c.checkpoint_id,
    checkpoints.c.parent_checkpoint_id,
    checkpoints.c.graph_id,
    checkpoints.c.configured_by,
    checkpoints.c.metadata,
).where(
    checkpoints.c.thread_id == bindparam("thread_id"),
    checkpoints.c.checkpoint_ns == bindparam("checkpoint_ns"),
)
_one = _select.where(checkpoints.c.checkpoint_id == bindparam("checkpoint_id"))
_newest_first = _select.order_by(checkpoints.c.checkpoint_id.desc())
_newest = _newest_first.limit(1)
_configuration = select(runs.c.config, runs.c.context).where(runs.c.run_id == bindparam("run_id"))
