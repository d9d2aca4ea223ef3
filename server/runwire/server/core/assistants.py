"""Assistants: graphs with configuration, versioned."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson

from runwire.server.core.assistant_deletion import Canceller, delete_unused, delete_with_runs
from runwire.server.core.local import LocalRunner
from runwire.server.core.requests import remember, replay
from runwire.server.graphs.drawing import Drawing, draw
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.graphs.schemas import GraphSchemas, describe_schemas, describe_subgraphs
from runwire.server.model.assistants import Assistant
from runwire.server.model.errors import (
    AssistantExists,
    AssistantNotFound,
    AssistantVersionNotFound,
    DefaultAssistant,
    GraphNotFound,
    PayloadTooLarge,
)
from runwire.server.model.ids import canonical_id, default_assistant_id, new_id
from runwire.server.model.requests import METADATA_BYTES, Order, Page, RequestKey
from runwire.server.model.runs import RunConfig
from runwire.server.storage import assistants, locks
from runwire.server.storage.assistants import AssistantFilter
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

T = TypeVar("T")


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
    """What to change of an assistant; None leaves a part as it is. An empty name is the graph's id.
    `metadata` is merged: a key whose value is None goes away."""

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
        runs: Canceller,
        *,
        request_retention: timedelta,
    ) -> None:
        self._database = database
        self._registry = registry
        self._runner = runner
        self._runs = runs
        self._request_retention = request_retention

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
        known = self._registry.graph_ids
        return await self._database.read(lambda connection: _get(connection, assistant_id, known))

    async def list(
        self,
        wanted: AssistantFilter,
        order: Order,
        *,
        limit: int,
        cursor: str | None,
        count_total: bool = False,
    ) -> Page[Assistant]:
        """Return the assistants that are `wanted`, a page at a time."""

        def read_page(connection: Connection) -> Page[Assistant]:
            page = assistants.list_assistants(connection, wanted, order, limit=limit, cursor=cursor)
            total = assistants.count_assistants(connection, wanted) if count_total else None
            return replace(page, total=total)

        return await self._database.read(read_page)

    async def list_versions(
        self, assistant_id: str, metadata: dict[str, Any], *, limit: int, cursor: str | None
    ) -> Page[Assistant]:
        """Return an assistant's versions whose metadata holds `metadata`, the highest first, a page
        at a time. Raises `AssistantNotFound`."""

        def read_page(connection: Connection) -> Page[Assistant]:
            assistant = _get(connection, assistant_id, self._registry.graph_ids)
            return assistants.list_versions(
                connection, assistant.assistant_id, metadata, limit=limit, cursor=cursor
            )

        return await self._database.read(read_page)

    async def set_latest(self, assistant_id: str, version: int) -> Assistant:
        """Make an assistant again what it was at a version.

        Raises `AssistantNotFound`, `AssistantVersionNotFound`, `GraphNotFound`.
        """
        known = self._registry.graph_ids
        return await self._database.write(
            lambda connection: _set_latest(connection, assistant_id, version, known)
        )

    async def update(self, assistant_id: str, change: AssistantChange) -> Assistant:
        """Change an assistant, which makes a new version; what changes nothing makes none.

        Raises `AssistantNotFound`, `GraphNotFound`, `DefaultAssistant`, `PayloadTooLarge`.
        """
        if change.graph_id is not None:
            self._check_graph(change.graph_id)
        known = self._registry.graph_ids
        return await self._database.write(
            lambda connection: update_assistant(connection, assistant_id, change, known)
        )

    async def delete(
        self, assistant_id: str, *, cancel_runs: bool = False, delete_threads: bool = False
    ) -> None:
        """Delete an assistant and its versions; `cancel_runs`: also if it has runs in flight, when
        they are cancelled; `delete_threads`: also with its threads.

        Raises `AssistantNotFound`, `AssistantInUse`, `DefaultAssistant`.
        """
        known = self._registry.graph_ids
        if not cancel_runs and not delete_threads:
            await self._database.write(lambda connection: _delete(connection, assistant_id, known))
            return
        assistant = await self._database.read(
            lambda connection: _deletable(connection, assistant_id, known)
        )
        await delete_with_runs(
            self._database, self._runs, assistant.assistant_id, delete_threads=delete_threads
        )

    async def drawing(self, assistant_id: str, depth: int | None) -> tuple[str, Drawing]:
        """Return the id of the assistant's graph, and the graph as `draw` shows it.

        Raises `AssistantNotFound`, `GraphNotFound`, and what the graph's code raises.
        """
        return await self._described(assistant_id, lambda graph: draw(graph, depth))

    async def schemas(self, assistant_id: str) -> tuple[str, GraphSchemas]:
        """Return the id of the assistant's graph, and its JSON schemas. Raises as `drawing`."""
        return await self._described(assistant_id, describe_schemas)

    async def subgraphs(
        self, assistant_id: str, namespace: str, *, recurse: bool
    ) -> dict[str, GraphSchemas]:
        """Return the JSON schemas of the graphs within the assistant's graph, as
        `describe_subgraphs` does. Raises as `drawing`."""
        described = await self._described(
            assistant_id, lambda graph: describe_subgraphs(graph, namespace, recurse=recurse)
        )
        return described[1]

    async def _described(self, assistant_id: str, describe: Callable[[Graph], T]) -> tuple[str, T]:
        assistant = await self.get(assistant_id)
        self._check_graph(assistant.graph_id)

        async def open_and_describe() -> T:
            async with self._registry.open(
                assistant.graph_id,
                "assistants.read",
                config={
                    "configurable": dict(assistant.config.configurable),
                    "tags": list(assistant.config.tags),
                },
                context=assistant.context,
                checkpointed=False,
            ) as graph:
                # On a thread: what a large graph takes would hold up the loop's runs.
                return await asyncio.to_thread(describe, graph)

        return assistant.graph_id, await self._runner.call(open_and_describe)

    def _check_graph(self, graph_id: str) -> None:
        _check_graph(graph_id, self._registry.graph_ids)


def resolve(
    connection: Connection,
    assistant_id: str,
    version: int | None,
    graph_ids: Sequence[str],
    *,
    keep: bool = False,
) -> Assistant:
    """Return the assistant that a run names: an id, or a graph's id for its default assistant.
    `keep`: nobody deletes it before this transaction ends.

    Raises `AssistantNotFound`, `AssistantVersionNotFound`, `GraphNotFound`.
    """
    assistant = _get(connection, assistant_id, graph_ids, keep=keep)
    if version is not None:
        assistant = _at_version(connection, assistant, version)
    _check_graph(assistant.graph_id, graph_ids)
    return assistant


def _check_graph(graph_id: str, graph_ids: Sequence[str]) -> None:
    if graph_id not in graph_ids:
        raise GraphNotFound(graph_id, sorted(graph_ids))


def named_id(assistant_id: str) -> str:
    """Return the id of the assistant that a caller names by its id or by its graph's: of any graph,
    which another server may have."""
    return canonical_id(assistant_id) or default_assistant_id(assistant_id)


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
            return _get(connection, known[0], ()), True
    assistant = new_assistant(draft, now)
    locks.hold_name(connection, "assistant", assistant.assistant_id)
    existing = assistants.get_assistant(connection, assistant.assistant_id)
    if existing is not None and not draft.return_existing:
        raise AssistantExists(assistant.assistant_id)
    if existing is None:
        assistants.add_assistant(connection, assistant)
    if request is not None:
        remember(connection, request, [assistant.assistant_id], now)
    return existing or assistant, existing is not None


def new_assistant(draft: AssistantDraft, now: datetime) -> Assistant:
    """Return the first version of a new assistant."""
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


def _get(
    connection: Connection, assistant_id: str, graph_ids: Sequence[str], *, keep: bool = False
) -> Assistant:
    """Return the assistant that a caller names. `graph_ids` are those that an error tells of."""
    read = assistants.keep_assistant if keep else assistants.get_assistant
    assistant = read(connection, named_id(assistant_id))
    if assistant is None:
        raise AssistantNotFound(assistant_id, () if canonical_id(assistant_id) else graph_ids)
    return assistant


def _at_version(connection: Connection, assistant: Assistant, version: int) -> Assistant:
    if version == assistant.version:
        return assistant
    found = assistants.get_version(connection, assistant.assistant_id, version)
    if found is None:
        raise AssistantVersionNotFound(assistant.assistant_id, version)
    return found


def _set_latest(
    connection: Connection, assistant_id: str, version: int, graph_ids: Sequence[str]
) -> Assistant:
    assistant = _hold(connection, assistant_id, graph_ids)
    wanted = _at_version(connection, assistant, version)
    if wanted is assistant:
        return assistant
    _check_graph(wanted.graph_id, graph_ids)
    now = current_time(connection)
    restored = replace(wanted, create_time=assistant.create_time, update_time=now)
    assistants.set_latest(connection, restored)
    return restored


def _hold(connection: Connection, assistant_id: str, graph_ids: Sequence[str]) -> Assistant:
    """Return an assistant that nobody else changes before this transaction ends."""
    locks.hold_name(connection, "assistant", named_id(assistant_id))
    return _get(connection, assistant_id, graph_ids)


def update_assistant(
    connection: Connection,
    assistant_id: str,
    change: AssistantChange,
    graph_ids: Sequence[str] = (),
) -> Assistant:
    """Change an assistant, which makes a new version unless nothing changes; return it."""
    assistant = _hold(connection, assistant_id, graph_ids)
    changed = _changed(assistant, change)
    if _content(changed) == _content(assistant):
        return assistant
    if is_default(assistant) and changed.graph_id != assistant.graph_id:
        raise DefaultAssistant(assistant.assistant_id, assistant.graph_id)
    version = assistants.newest_version(connection, assistant.assistant_id) + 1
    changed = replace(changed, version=version, update_time=current_time(connection))
    assistants.add_version(connection, changed)
    return changed


def is_default(assistant: Assistant) -> bool:
    """Return whether an assistant is its graph's default one."""
    return assistant.assistant_id == default_assistant_id(assistant.graph_id)


_REPLACED = ("graph_id", "name", "description", "config", "context")
"""What a change replaces as a whole."""


def _content(assistant: Assistant) -> bytes:
    """Return what a change may change, as text: Python takes True for 1, and JSON does not. The
    order of keys means nothing."""
    parts = [getattr(assistant, name) for name in (*_REPLACED, "metadata")]
    return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)


def _changed(assistant: Assistant, change: AssistantChange) -> Assistant:
    named = {name: value for name in _REPLACED if (value := getattr(change, name)) is not None}
    if change.metadata is not None:
        named["metadata"] = merged(assistant.metadata, change.metadata)
    changed = replace(assistant, **named)
    return changed if changed.name else replace(changed, name=changed.graph_id)


def merged(old: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return metadata with a change merged in, key by key; None takes a key away. Raises
    `PayloadTooLarge` for what grows beyond the limit by that."""
    new = {key: value for key, value in {**old, **change}.items() if value is not None}
    size = len(orjson.dumps(new))
    if size > METADATA_BYTES and size > len(orjson.dumps(old)):
        raise PayloadTooLarge("metadata", size, METADATA_BYTES)
    return new


def _delete(connection: Connection, assistant_id: str, graph_ids: Sequence[str]) -> None:
    locks.hold_name(connection, "assistant", named_id(assistant_id))
    delete_unused(connection, _deletable(connection, assistant_id, graph_ids))


def _deletable(connection: Connection, assistant_id: str, graph_ids: Sequence[str]) -> Assistant:
    """Return the assistant that a caller names, which is not the default one of a graph that this
    server has."""
    assistant = _get(connection, assistant_id, graph_ids)
    if is_default(assistant) and assistant.graph_id in graph_ids:
        raise DefaultAssistant(assistant.assistant_id, assistant.graph_id)
    return assistant
