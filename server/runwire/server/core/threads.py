"""Threads: conversations that successive runs continue."""

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from runwire.server.core.assistants import merged
from runwire.server.core.copies import copy_thread
from runwire.server.core.prunes import PruneResult, delete_thread, prune_thread
from runwire.server.core.requests import remember, replay
from runwire.server.core.runs import Runs
from runwire.server.core.supersteps import Supersteps, remains_of
from runwire.server.graphs.state import PlannedUpdate
from runwire.server.model.errors import ThreadExists, ThreadInUse, ThreadNotFound
from runwire.server.model.extraction import ValuePath, extract
from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, Page, RequestKey
from runwire.server.model.runs import CancelAction
from runwire.server.model.threads import PruneStrategy, Superstep, Thread, ThreadStorage, ThreadTtl
from runwire.server.storage import locks, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.runs import RunFilter
from runwire.server.storage.thread_storage import measure_thread
from runwire.server.storage.threads import ThreadFilter


class Threads:
    """What can be done with threads."""

    def __init__(
        self,
        database: Database,
        runs: Runs,
        supersteps: Supersteps,
        *,
        request_retention: timedelta,
        default_ttl: ThreadTtl | None = None,
    ) -> None:
        self._database = database
        self._runs = runs
        self._supersteps = supersteps
        self._request_retention = request_retention
        self._default_ttl = default_ttl

    async def create(
        self,
        thread_id: str | None,
        metadata: dict[str, Any],
        *,
        return_existing: bool,
        request: RequestKey | None,
        ttl: ThreadTtl | None = None,
        supersteps: Sequence[Superstep] = (),
        assistant_id: str = "",
    ) -> tuple[Thread, bool]:
        """Return a new thread, and whether it was there before (a repeated request, or
        `return_existing`). No `ttl`: the default. The graph of the assistant applies `supersteps`
        to it; if it does not take one, there is no thread.

        Raises `ThreadExists`, `RequestIdReused`, and what `Supersteps.plan` raises.
        """
        new_thread_id = thread_id or new_id()

        def create(
            connection: Connection, planned: PlannedUpdate | None = None
        ) -> tuple[Thread, bool] | None:
            now = current_time(connection)
            if request is not None:
                known = replay(connection, request, since=now - self._request_retention)
                if known is not None:
                    return get_thread(connection, known[0]), True
            existing = None
            if thread_id is not None:
                locks.hold_name(connection, "thread", thread_id)
                existing = threads.lock_thread(connection, thread_id)
            if existing is not None and not return_existing:
                raise ThreadExists(existing.thread_id)
            if existing is None and supersteps and planned is None:
                return None
            thread = existing or threads.add_thread(
                connection, new_thread_id, metadata, now, ttl or self._default_ttl
            )
            if existing is None and planned is not None:
                planned.store(connection)
                threads.leave(
                    connection, new_thread_id, remains_of(planned.output), now, busy=False
                )
                thread = get_thread(connection, new_thread_id)
            if request is not None:
                remember(connection, request, [thread.thread_id], now)
            return thread, existing is not None

        made = await self._database.write(create)
        if made is None:
            # Not in the transaction: it runs the user's code. By its end somebody else may have
            # made the thread.
            planned = await self._supersteps.plan(new_thread_id, assistant_id, supersteps)
            made = await self._database.write(partial(create, planned=planned))
            assert made is not None
        return made

    async def get(self, thread_id: str) -> Thread:
        """Return a thread. Raises `ThreadNotFound`."""
        return await self._database.read(lambda connection: get_thread(connection, thread_id))

    async def list(
        self,
        wanted: ThreadFilter,
        order: Order,
        *,
        limit: int,
        cursor: str | None,
        paths: Mapping[str, ValuePath] = MappingProxyType({}),
        with_values: bool = True,
        count_total: bool = False,
    ) -> Page[Thread]:
        """Return the threads that are `wanted`, a page at a time, with what `paths` lead to in
        each. `with_values`: also their values. `count_total`: count all of them."""
        searched = any(path.root == "values" for path in paths.values())

        def read_page(connection: Connection) -> Page[Thread]:
            page = threads.list_threads(
                connection,
                wanted,
                order,
                limit=limit,
                cursor=cursor,
                with_values=with_values or searched,
            )
            total = threads.count_threads(connection, wanted) if count_total else None
            # Here and not on the loop that answers calls: values may be large.
            items = [replace(thread, extracted=extract(thread, paths)) for thread in page.items]
            return Page(items, page.next, total)

        return await self._database.read(read_page)

    async def update(
        self, thread_id: str, metadata: dict[str, Any], ttl: ThreadTtl | None = None
    ) -> Thread:
        """Merge metadata into a thread's, and give it another TTL if there is one. Raises
        `ThreadNotFound`, `PayloadTooLarge`."""

        def update(connection: Connection) -> Thread:
            thread = _lock(connection, thread_id)
            changed, now = merged(thread.metadata, metadata), current_time(connection)
            if changed != thread.metadata:
                threads.set_metadata(connection, thread_id, changed, now)
            if ttl is not None:
                threads.set_ttl(connection, thread_id, ttl, now)
            return get_thread(connection, thread_id)

        return await self._database.write(update)

    async def delete(self, thread_id: str, *, cancel_runs: bool = False) -> None:
        """Delete a thread with its runs and checkpoints. With `cancel_runs`, those in flight are
        cancelled, and the thread goes when they have ended: nothing executes without its run.
        Raises `ThreadNotFound`, and without `cancel_runs` `ThreadInUse` while a run is in
        flight."""
        delete = partial(delete_thread, thread_id=thread_id)
        while True:
            try:
                await self._database.write(delete)
            except ThreadInUse:
                if not cancel_runs:
                    raise
            else:
                return
            # Others may create more meanwhile: then once more.
            these = RunFilter(thread_id=thread_id)
            await self._runs.cancel_many(these, CancelAction.INTERRUPT, wait=True)

    async def copy(
        self, thread_id: str, new_thread_id: str | None, *, request: RequestKey | None
    ) -> Thread:
        """Return a new thread that is as another one is. Raises `ThreadNotFound`,
        `ThreadExists`, `RequestIdReused`."""
        copy = partial(
            copy_thread,
            thread_id=thread_id,
            new_thread_id=new_thread_id,
            request=request,
            request_retention=self._request_retention,
        )
        return await self._database.write(copy)

    async def prune(
        self, thread_ids: Sequence[str], strategy: PruneStrategy
    ) -> builtins.list[PruneResult]:
        """Delete threads, or their histories, and say of each what became of it. One that is not
        there, or has a run in flight, is left alone."""
        return [
            await prune_thread(self._database, thread_id, strategy)
            for thread_id in dict.fromkeys(thread_ids)
        ]

    async def get_storage(self, thread_id: str) -> ThreadStorage:
        """Return what a thread takes up in the database. Raises `ThreadNotFound`."""

        def measure(connection: Connection) -> ThreadStorage:
            get_thread(connection, thread_id)
            return measure_thread(connection, thread_id)

        return await self._database.read(measure)


def get_thread(connection: Connection, thread_id: str) -> Thread:
    """Return a thread. Raises `ThreadNotFound`."""
    thread = threads.get_thread(connection, thread_id)
    if thread is None:
        raise ThreadNotFound(thread_id)
    return thread


def _lock(connection: Connection, thread_id: str) -> Thread:
    thread = threads.lock_thread(connection, thread_id)
    if thread is None:
        raise ThreadNotFound(thread_id)
    return thread
