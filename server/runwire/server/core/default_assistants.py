"""Default assistants: one for each graph, kept in step with the configuration."""

from dataclasses import replace
from datetime import datetime

from runwire.server.core.assistants import (
    AssistantChange,
    AssistantDraft,
    new_assistant,
    update_assistant,
)
from runwire.server.graphs.registry import Registry
from runwire.server.model.assistants import Assistant, Configured
from runwire.server.model.ids import default_assistant_id
from runwire.server.storage import assistants, locks
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database


async def ensure_defaults(database: Database, registry: Registry) -> None:
    """Make sure that each graph has its default assistant, whose name and description are those of
    the configuration, but for what a caller has changed of them.

    What the configuration said last is remembered: what differs from that, somebody else has said,
    and it stays. Assistants of graphs that the configuration does not have are left alone, because
    they may be another server's.
    """
    await database.write(lambda connection: _ensure_defaults(connection, registry))


def _ensure_defaults(connection: Connection, registry: Registry) -> None:
    now = current_time(connection)
    locks.hold_name(connection, "default assistants")
    wanted = {default_assistant_id(graph_id): graph_id for graph_id in registry.graph_ids}
    found = assistants.get_assistants(connection, list(wanted))
    last = assistants.get_configured(connection, list(wanted))
    for assistant_id, graph_id in sorted(wanted.items()):
        said = Configured(registry.name(graph_id), registry.description(graph_id))
        existing = found.get(assistant_id)
        if existing is None:
            assistants.add_assistant(connection, _default(graph_id, said, now))
        else:
            _follow(connection, existing, graph_id, last.get(assistant_id, said), said)
        if last.get(assistant_id) != said:
            assistants.set_configured(connection, assistant_id, said)


def _default(graph_id: str, said: Configured, now: datetime) -> Assistant:
    draft = AssistantDraft(
        graph_id=graph_id,
        assistant_id=default_assistant_id(graph_id),
        name=said.name,
        description=said.description,
        metadata={"created_by": "system"},
    )
    return new_assistant(draft, now)


def _follow(
    connection: Connection, existing: Assistant, graph_id: str, last: Configured, said: Configured
) -> None:
    """Give a default assistant what the configuration says now in place of what it said `last`."""
    change = AssistantChange(
        name=said.name if existing.name == last.name else None,
        description=said.description if existing.description == last.description else None,
    )
    if existing.graph_id != graph_id:
        # Made by a caller under this id, before there was such a graph.
        change = replace(change, graph_id=graph_id)
    update_assistant(connection, existing.assistant_id, change)
