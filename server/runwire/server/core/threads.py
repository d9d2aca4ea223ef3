"""Threads: conversations that successive runs continue."""

from datetime import timedelta
from typing import Any

from runwire.server.core.assistants import merged
from runwire.server.core.requests import remember, replay
from runwire.server.model.errors import (
    ThreadExists,
    ThreadInUse,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, Page, RequestKey
from runwire.server.model.threads import (
    Thread,
    ThreadStorage,
    ThreadTtl,
)
from runwire.server.storage import checkpoints, claims, locks, runs, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.thread_storage import measure_thread
from runwire.server.storage.threads import ThreadFilter


class Threads:
    """What can be done with threads."""

    def __init__(
        self,
        database: Database,
        *,
        request_retention: timedelta,
        default_ttl: ThreadTtl | None = None,
    ) -> None:
        self._database = database
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
    ) -> tuple[Thread, bool]:
        """Return a new thread, and whether it was there before (a repeated request, or
        `return_existing`). No `ttl`: the default. Raises `ThreadExists`, `RequestIdReused`."""

        def create(connection: Connection) -> tuple[Thread, bool]:
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
            thread = existing or threads.add_thread(
                connection, thread_id or new_id(), metadata, now, ttl or self._default_ttl
            )
            if request is not None:
                remember(connection, request, [thread.thread_id], now)
            return thread, existing is not None

        return await self._database.write(create)

    async def get(self, thread_id: str) -> Thread:
        """Return a thread. Raises `ThreadNotFound`."""
        return await self._database.read(lambda connection: get_thread(connection, thread_id))

    async def list(
        self, wanted: ThreadFilter, order: Order, *, limit: int, cursor: str | None
    ) -> Page[Thread]:
        """Return the threads that are `wanted`, a page at a time."""
        return await self._database.read(
            lambda connection: threads.list_threads(
                connection, wanted, order, limit=limit, cursor=cursor
            )
        )

    async def update(
        self, thread_id: str, metadata: dict[str, Any], ttl: ThreadTtl | None = None
    ) -> Thread:
        """Merge metadata into a thread's, and give it another TTL if there is one. Raises
        `ThreadNotFound`."""

        def update(connection: Connection) -> Thread:
            thread = _lock(connection, thread_id)
            changed, now = merged(thread.metadata, metadata), current_time(connection)
            if changed != thread.metadata:
                threads.set_metadata(connection, thread_id, changed, now)
            if ttl is not None:
                threads.set_ttl(connection, thread_id, ttl, now)
            return get_thread(connection, thread_id)

        return await self._database.write(update)

    async def delete(self, thread_id: str) -> None:
        """Delete a thread with its runs and checkpoints. Raises `ThreadNotFound`, and
        `ThreadInUse` while it has a run in flight."""

        def delete(connection: Connection) -> None:
            _lock(connection, thread_id)
            if claims.has_in_flight(connection, thread_id=thread_id):
                raise ThreadInUse(thread_id)
            runs.delete_runs_of_thread(connection, thread_id)
            checkpoints.delete_thread(connection, thread_id)
            threads.delete_thread(connection, thread_id)

        await self._database.write(delete)

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
