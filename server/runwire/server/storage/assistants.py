"""Queries on assistants and their versions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, update

from runwire.server.model.assistants import Assistant, Configured
from runwire.server.model.requests import Order, Page
from runwire.server.storage.json_contains import contains
from runwire.server.storage.pages import read_page
from runwire.server.storage.tables import assistant_versions, assistants
from runwire.server.storage.values import config_from_data, config_to_data


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantFilter:
    """Which assistants; what is empty does not narrow. `name` is a part of it, in any case."""

    graph_id: str = ""
    name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def add_assistant(connection: Connection, assistant: Assistant) -> None:
    """Store a new assistant and its first version."""
    add_assistants(connection, [assistant])


def add_assistants(connection: Connection, new: Sequence[Assistant]) -> None:
    """Store new assistants and their first versions."""
    if not new:
        return
    rows = [_row(assistant) for assistant in new]
    current = [
        {**row, "update_time": assistant.update_time}
        for row, assistant in zip(rows, new, strict=True)
    ]
    connection.execute(_insert, current)
    connection.execute(_insert_version, rows)


_insert = insert(assistants)
_insert_version = insert(assistant_versions)


def add_version(connection: Connection, assistant: Assistant) -> None:
    """Store a new version of an assistant, which becomes its latest one."""
    set_latest(connection, assistant)
    row = {**_row(assistant), "create_time": assistant.update_time}
    connection.execute(_insert_version, row)


def set_latest(connection: Connection, assistant: Assistant) -> None:
    """Make an assistant what it is, or was, at one of its versions."""
    row = _row(assistant)
    changed = {name: value for name, value in row.items() if name != "create_time"}
    statement = (
        update(assistants)
        .where(assistants.c.assistant_id == assistant.assistant_id)
        .values(**changed, update_time=assistant.update_time)
    )
    connection.execute(statement)


def get_assistant(connection: Connection, assistant_id: str) -> Assistant | None:
    """Return an assistant at its latest version, or None."""
    row = connection.execute(_get, {"assistant_id": assistant_id}).one_or_none()
    return None if row is None else _assistant(row, row.update_time)


_get = select(assistants).where(assistants.c.assistant_id == bindparam("assistant_id"))


def keep_assistant(connection: Connection, assistant_id: str) -> Assistant | None:
    """Return an assistant that nobody deletes before this transaction ends, or None."""
    row = connection.execute(_keep, {"assistant_id": assistant_id}).one_or_none()
    return None if row is None else _assistant(row, row.update_time)


_keep = _get.with_for_update(read=True, key_share=True)


def lock_assistant(connection: Connection, assistant_id: str) -> bool:
    """Wait for all who keep an assistant, and let nobody else change it or keep it before this
    transaction ends. Return whether it is there."""
    return connection.execute(_lock, {"assistant_id": assistant_id}).one_or_none() is not None


_lock = _get.with_for_update()


def get_assistants(connection: Connection, assistant_ids: Sequence[str]) -> dict[str, Assistant]:
    """Return those of the assistants that are there, at their latest versions, by their ids."""
    rows = connection.execute(_get_many, {"these": assistant_ids})
    return {row.assistant_id: _assistant(row, row.update_time) for row in rows}


_get_many = select(assistants).where(
    assistants.c.assistant_id.in_(bindparam("these", expanding=True))
)


def get_configured(connection: Connection, assistant_ids: Sequence[str]) -> dict[str, Configured]:
    """Return what the configuration said last of those of the assistants that it knew, by their
    ids."""
    rows = connection.execute(_get_configured, {"these": assistant_ids})
    return {row.assistant_id: Configured(**row.configured) for row in rows if row.configured}


_get_configured = select(assistants.c.assistant_id, assistants.c.configured).where(
    assistants.c.assistant_id.in_(bindparam("these", expanding=True))
)


def set_configured(connection: Connection, assistant_id: str, said: Configured) -> None:
    """Remember what the configuration says of a default assistant."""
    values = {"this_assistant": assistant_id, "said": asdict(said)}
    connection.execute(_set_configured, values)


_set_configured = (
    update(assistants)
    .where(assistants.c.assistant_id == bindparam("this_assistant"))
    .values(configured=bindparam("said", type_=assistants.c.configured.type))
)


def get_version(connection: Connection, assistant_id: str, version: int) -> Assistant | None:
    """Return an assistant as it was at a version, or None. Its times are that at which the version
    was made."""
    values = {"assistant_id": assistant_id, "version": version}
    row = connection.execute(_get_version, values).one_or_none()
    return None if row is None else _assistant(row, row.create_time)


_get_version = select(assistant_versions).where(
    assistant_versions.c.assistant_id == bindparam("assistant_id"),
    assistant_versions.c.version == bindparam("version"),
)


def list_versions(
    connection: Connection,
    assistant_id: str,
    metadata: dict[str, Any],
    *,
    limit: int,
    cursor: str | None,
) -> Page[Assistant]:
    """Return up to `limit` versions of an assistant, the highest first, from `cursor` on: those
    whose metadata holds `metadata`."""
    table = assistant_versions
    query = select(table).where(table.c.assistant_id == assistant_id)
    if metadata:
        query = query.where(contains(table.c.metadata, orjson.dumps(metadata).decode()))
    key = (table.c.version, table.c.assistant_id)
    rows, following = read_page(connection, query, key, Order(), limit, cursor)
    return Page([_assistant(row, row.create_time) for row in rows], following)


def newest_version(connection: Connection, assistant_id: str) -> int:
    """Return the highest version number an assistant ever had."""
    return connection.scalar(_newest, {"assistant_id": assistant_id}) or 0


_newest = select(func.max(assistant_versions.c.version)).where(
    assistant_versions.c.assistant_id == bindparam("assistant_id")
)


def list_assistants(
    connection: Connection,
    wanted: AssistantFilter,
    order: Order,
    *,
    limit: int,
    cursor: str | None,
) -> Page[Assistant]:
    """Return up to `limit` assistants in their order, from `cursor` on."""
    column = assistants.c[order.by.value]
    rows, following = read_page(
        connection, _filtered(wanted), (column, assistants.c.assistant_id), order, limit, cursor
    )
    return Page([_assistant(row, row.update_time) for row in rows], following)


def count_assistants(connection: Connection, wanted: AssistantFilter) -> int:
    """Return how many assistants pass a filter."""
    found = _filtered(wanted).with_only_columns(assistants.c.assistant_id).subquery()
    return connection.scalar(select(func.count()).select_from(found)) or 0


def _filtered(wanted: AssistantFilter) -> Select[Any]:
    query = select(assistants)
    if wanted.graph_id:
        query = query.where(assistants.c.graph_id == wanted.graph_id)
    if wanted.name:
        query = query.where(assistants.c.name.icontains(wanted.name, autoescape=True))
    if wanted.metadata:
        text = orjson.dumps(wanted.metadata).decode()
        query = query.where(contains(assistants.c.metadata, text))
    return query


def delete_assistant(connection: Connection, assistant_id: str) -> bool:
    """Delete an assistant with its versions. Return whether there was one."""
    return connection.execute(_delete, {"this_assistant": assistant_id}).rowcount == 1


_delete = delete(assistants).where(assistants.c.assistant_id == bindparam("this_assistant"))


def _row(assistant: Assistant) -> dict[str, Any]:
    return {
        "assistant_id": assistant.assistant_id,
        "version": assistant.version,
        "graph_id": assistant.graph_id,
        "name": assistant.name,
        "description": assistant.description,
        "config": config_to_data(assistant.config),
        "context": assistant.context,
        "metadata": assistant.metadata,
        "create_time": assistant.create_time,
    }


def _assistant(row: Row[Any], update_time: datetime) -> Assistant:
    return Assistant(
        assistant_id=row.assistant_id,
        graph_id=row.graph_id,
        name=row.name,
        description=row.description,
        config=config_from_data(row.config),
        context=row.context,
        metadata=row.metadata,
        version=row.version,
        create_time=row.create_time,
        update_time=update_time,
    )
