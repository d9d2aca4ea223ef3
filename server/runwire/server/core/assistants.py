"""Assistants: graphs with configuration, versioned."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from runwire.server.core.local import LocalRunner
from runwire.server.core.requests import remember, replay
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.schemas import GraphSchemas, describe_schemas
from runwire.server.model.assistants import Assistant
from runwire.server.model.errors import (
    AssistantExists,
    AssistantInUse,
    AssistantNotFound,
    AssistantVersionNotFound,
    DefaultAssistant,
    GraphNotFound,
)
from runwire.server.model.ids import canonical_id, default_assistant_id, new_id
from runwire.server.model.requests import Order, Page, RequestKey
from runwire.server.model.runs import RunConfig
from runwire.server.storage import assistants, claims, locks
from runwire.server.storage.assistants import AssistantFilter
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantDraft:
    """What a caller wants an assistant to be. `return_existing`: take one with this id as it is."""

    graph_id: str
    assistant_id: str | None = None
    name: str = ""
    description: str = ""
    config: RunConfig = field(default_factory=RunConfig)
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    return_existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantChange:
    """What to change of an assistant; None leaves a part as it is. `metadata` is merged: a key
    whose value is None goes away."""

    graph_id: str | None = None
    name: str | None = None
    description: str | None = None
    config: RunConfig | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class Assistants:
    """What can be done with assistants."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        runner: LocalRunner,
        *,
        request_retention: timedelta,
    ) -> None:
        self._database = database
        self._registry = registry
        self._runner = runner
        self._request_retention = request_retention

    async def ensure_defaults(self) -> None:
        """Make sure that each graph has its default assistant."""
        await self._database.write(lambda connection: _ensure_defaults(connection, self._registry))

    async def create(
        self, draft: AssistantDraft, request: RequestKey | None
    ) -> tuple[Assistant, bool]:
        """Return a new assistant, and whether it was there before (a repeated request, or
        `return_existing`). Raises `GraphNotFound`, `AssistantExists`, `RequestIdReused`."""
        self._check_graph(draft.graph_id)
        return await self._database.write(
            lambda connection: _create(connection, draft, request, self._request_retention)
        )

    async def get(self, assistant_id: str) -> Assistant:
        """Return an assistant by its id, or a graph's default one by the graph's id.

        Raises `AssistantNotFound`. The graph itself need not be there any more.
        """
        named = named_id(assistant_id, self._registry.graph_ids)
        return await self._database.read(lambda connection: _get(connection, named))

    async def list(
        self, wanted: AssistantFilter, order: Order, *, limit: int, cursor: str | None
    ) -> Page[Assistant]:
        """Return the assistants that are `wanted`, a page at a time."""
        return await self._database.read(
            lambda connection: assistants.list_assistants(
                connection, wanted, order, limit=limit, cursor=cursor
            )
        )

    async def update(self, assistant_id: str, change: AssistantChange) -> Assistant:
        """Change an assistant, which makes a new version; what changes nothing makes none.

        Raises `AssistantNotFound`, `GraphNotFound`, `DefaultAssistant`.
        """
        if change.graph_id is not None:
            self._check_graph(change.graph_id)
        named = named_id(assistant_id, self._registry.graph_ids)
        return await self._database.write(lambda connection: _update(connection, named, change))

    async def delete(self, assistant_id: str) -> None:
        """Delete an assistant and its versions. Raises `AssistantNotFound`, `AssistantInUse`,
        `DefaultAssistant`."""
        named = named_id(assistant_id, self._registry.graph_ids)
        await self._database.write(lambda connection: _delete(connection, named))

    async def schemas(self, assistant_id: str) -> GraphSchemas:
        """Return the JSON schemas of the assistant's graph."""
        assistant = await self.get(assistant_id)
        self._check_graph(assistant.graph_id)

        async def read_schemas() -> GraphSchemas:
            async with self._registry.open(
                assistant.graph_id,
                "assistants.read",
                config={"configurable": dict(assistant.config.configurable)},
                context=assistant.context,
                checkpointed=False,
            ) as graph:
                return describe_schemas(graph)

        return await self._runner.call(read_schemas)

    def _check_graph(self, graph_id: str) -> None:
        if graph_id not in self._registry.graph_ids:
            raise GraphNotFound(graph_id, sorted(self._registry.graph_ids))


def resolve(
    connection: Connection, assistant_id: str, version: int | None, graph_ids: Sequence[str]
) -> Assistant:
    """Return the assistant that a run names: an id, or a graph's id for its default assistant.

    Raises `AssistantNotFound`, `AssistantVersionNotFound`, `GraphNotFound`.
    """
    canonical = named_id(assistant_id, graph_ids)
    assistant = assistants.get_assistant(connection, canonical)
    if assistant is None:
        raise AssistantNotFound(assistant_id)
    if version is not None and version != assistant.version:
        pinned = assistants.get_version(connection, canonical, version)
        if pinned is None:
            raise AssistantVersionNotFound(canonical, version)
        assistant = pinned
    if assistant.graph_id not in graph_ids:
        raise GraphNotFound(assistant.graph_id, sorted(graph_ids))
    return assistant


def named_id(assistant_id: str, graph_ids: Sequence[str]) -> str:
    """Return the id of the assistant that a caller names by its id or by its graph's.

    Raises `AssistantNotFound` for what is neither.
    """
    canonical = canonical_id(assistant_id)
    if canonical is None and assistant_id in graph_ids:
        canonical = default_assistant_id(assistant_id)
    if canonical is None:
        raise AssistantNotFound(assistant_id, graph_ids)
    return canonical


def _ensure_defaults(connection: Connection, registry: Registry) -> None:
    now = current_time(connection)
    locks.hold_name(connection, "default assistants")
    wanted = {default_assistant_id(graph_id): graph_id for graph_id in registry.graph_ids}
    found = assistants.get_assistants(connection, list(wanted))
    missing = []
    for assistant_id, graph_id in wanted.items():
        description = registry.description(graph_id)
        existing = found.get(assistant_id)
        if existing is None:
            draft = AssistantDraft(
                graph_id=graph_id,
                assistant_id=assistant_id,
                name=graph_id,
                description=description,
                metadata={"created_by": "system"},
            )
            missing.append(_new_assistant(draft, now))
        elif existing.description != description:
            _update(connection, assistant_id, AssistantChange(description=description))
    assistants.add_assistants(connection, missing)


def _create(
    connection: Connection,
    draft: AssistantDraft,
    request: RequestKey | None,
    request_retention: timedelta,
) -> tuple[Assistant, bool]:
    now = current_time(connection)
    if request is not None:
        known = replay(connection, request, since=now - request_retention)
        if known is not None:
            return _get(connection, known[0]), True
    assistant = _new_assistant(draft, now)
    locks.hold_name(connection, "assistant", assistant.assistant_id)
    existing = assistants.get_assistant(connection, assistant.assistant_id)
    if existing is not None and not draft.return_existing:
        raise AssistantExists(assistant.assistant_id)
    if existing is None:
        assistants.add_assistant(connection, assistant)
    if request is not None:
        remember(connection, request, [assistant.assistant_id], now)
    return existing or assistant, existing is not None


def _new_assistant(draft: AssistantDraft, now: datetime) -> Assistant:
    return Assistant(
        assistant_id=draft.assistant_id or new_id(),
        graph_id=draft.graph_id,
        name=draft.name or draft.graph_id,
        description=draft.description,
        config=draft.config,
        context=draft.context,
        metadata=draft.metadata,
        version=1,
        create_time=now,
        update_time=now,
    )


def _get(connection: Connection, assistant_id: str) -> Assistant:
    assistant = assistants.get_assistant(connection, assistant_id)
    if assistant is None:
        raise AssistantNotFound(assistant_id)
    return assistant


def _update(connection: Connection, assistant_id: str, change: AssistantChange) -> Assistant:
    locks.hold_name(connection, "assistant", assistant_id)
    assistant = _get(connection, assistant_id)
    changed = _changed(assistant, change)
    if changed == assistant:
        return assistant
    is_default = assistant_id == default_assistant_id(assistant.graph_id)
    if is_default and changed.graph_id != assistant.graph_id:
        raise DefaultAssistant(assistant_id, assistant.graph_id)
    version = assistants.newest_version(connection, assistant_id) + 1
    changed = replace(changed, version=version, update_time=current_time(connection))
    assistants.add_version(connection, changed)
    return changed


def _changed(assistant: Assistant, change: AssistantChange) -> Assistant:
    named = {
        name: value
        for name in ("graph_id", "name", "description", "config", "context")
        if (value := getattr(change, name)) is not None
    }
    if change.metadata is not None:
        named["metadata"] = merged(assistant.metadata, change.metadata)
    return replace(assistant, **named)


def merged(old: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return metadata with a change merged in, key by key; None takes a key away."""
    return {key: value for key, value in {**old, **change}.items() if value is not None}


def _delete(connection: Connection, assistant_id: str) -> None:
    assistant = _get(connection, assistant_id)
    if assistant_id == default_assistant_id(assistant.graph_id):
        raise DefaultAssistant(assistant_id, assistant.graph_id)
    if claims.has_in_flight(connection, assistant_id=assistant_id):
        raise AssistantInUse(assistant_id)
    assistants.delete_assistant(connection, assistant_id)
