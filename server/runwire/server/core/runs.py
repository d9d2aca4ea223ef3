"""Runs: creating, reading, cancelling and following them."""

import asyncio
import builtins
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from runwire.server.core.cancels import (
    CHUNK,
    Cancellation,
    CancelResult,
    cancel_runs,
    choose,
    list_candidates,
)
from runwire.server.core.creation import Creation, Rules, create_runs
from runwire.server.core.follow import Follower
from runwire.server.core.local import LocalRunner
from runwire.server.core.logs import RunLogs
from runwire.server.core.moves import log_move
from runwire.server.core.overview import read_position
from runwire.server.model.errors import RunInFlight, RunNotFound, RunRolledBack
from runwire.server.model.events import EventId, LogEntry
from runwire.server.model.faults import fault
from runwire.server.model.queues import QueuePosition
from runwire.server.model.requests import NEWEST_FIRST, Order, Page, RequestKey
from runwire.server.model.runs import CancelAction, CancelCause, Run, RunSpec, RunState
from runwire.server.storage import runs
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.runs import RunFilter

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Created:
    """The runs that a request made, now or (`replayed`) when it was first sent."""

    runs: list[Run]
    replayed: bool


class Runs:
    """What can be done with runs."""

    def __init__(
        self,
        database: Database,
        logs: RunLogs,
        follower: Follower,
        runner: LocalRunner,
        rules: Rules,
    ) -> None:
        self._database = database
        self._logs = logs
        self._follower = follower
        self._runner = runner
        self._rules = rules

    def begin(
        self, specs: Sequence[RunSpec], request: RequestKey | None, principal: str = ""
    ) -> "asyncio.Task[Created]":
        """Begin to do what `create` does. Not to be cancelled: a caller that hangs up half way
        must not leave a run that is claimed and not started."""
        return asyncio.create_task(self._create(specs, request, principal), name="create-runs")

    async def create(
        self, specs: Sequence[RunSpec], request: RequestKey | None, principal: str = ""
    ) -> Created:
        """Create a run for each of `specs`, all or none, on behalf of `principal`, and start at
        once what can start here.

        Raises what is wrong with a spec: `AssistantNotFound`, `GraphNotFound`,
        `AssistantVersionNotFound`, `ThreadNotFound`, `CheckpointNotFound`, `ThreadBusy`,
        `QueueFull`, `RunLimitReached`, `RequestIdReused`; `RunNotFound` when the request came
        before and its runs have been deleted since.
        """
        return await asyncio.shield(self.begin(specs, request, principal))

    async def _create(
        self, specs: Sequence[RunSpec], request: RequestKey | None, principal: str
    ) -> Created:
        def create(connection: Connection, slots: int) -> Creation:
            return create_runs(
                connection, specs, request, self._rules, slots=slots, principal=principal
            )

        creation = await self.create_by(create, len(specs))
        return Created(creation.runs, creation.replayed)

    async def create_by(
        self, transaction: Callable[[Connection, int], Creation], count: int
    ) -> Creation:
        """Run a transaction that creates up to `count` runs and may start at once as many as it is
        told; do what follows from it. Not to be cancelled: see `begin`."""
        slots = self._runner.reserve(count)
        started = 0
        try:
            creation = await self._database.write(lambda connection: transaction(connection, slots))
            fault("create.after_commit")
            started = len(creation.started)
            self._runner.start(creation.started)
        finally:
            self._runner.give_back(slots - started, denied=count - slots)
        _log_created(creation)
        self._act(creation.ended, creation.stopping)
        if started < len(creation.runs) and not creation.replayed:
            self._runner.wake()
        return creation

    async def get(self, run_id: str) -> Run:
        """Return a run. Raises `RunNotFound`, `RunRolledBack`."""
        return await self._database.read(lambda connection: _get(connection, run_id))

    async def look(self, run_id: str) -> tuple[Run, QueuePosition | None]:
        """Return a run, and what comes before it if it is pending. Raises as `get` does."""

        def look(connection: Connection) -> tuple[Run, QueuePosition | None]:
            run = _get(connection, run_id)
            return run, read_position(connection, run)

        return await self._database.read(look)

    async def position(self, run: Run) -> QueuePosition | None:
        """Return what comes before a run that was pending a moment ago; None for any other."""
        if run.state is not RunState.PENDING:
            return None
        return await self._database.read(lambda connection: read_position(connection, run))

    async def list(
        self,
        wanted: RunFilter,
        order: Order = NEWEST_FIRST,
        *,
        limit: int,
        cursor: str | None,
        count_total: bool = False,
    ) -> Page[Run]:
        """Return the runs that are `wanted`, a page at a time."""

        def read_page(connection: Connection) -> Page[Run]:
            page = runs.list_runs(connection, wanted, order, limit=limit, cursor=cursor)
            total = runs.count_runs(connection, wanted, order) if count_total else None
            return replace(page, total=total)

        return await self._database.read(read_page)

    async def delete(self, run_id: str) -> None:
        """Delete the record of a run and its events; what it did to its thread stays. Raises
        `RunNotFound`, `RunRolledBack`, `RunInFlight`."""

        def delete(connection: Connection) -> None:
            # Locked: one that others delete meanwhile is gone, and not one that has not ended.
            _found(run_id, runs.lock_run(connection, run_id))
            if not runs.delete_run(connection, run_id):
                raise RunInFlight(run_id)

        await self._database.write(delete)

    async def cancel(self, run_id: str, action: CancelAction, *, wait: bool) -> Run:
        """Cancel a run; with `wait`, return only when it has ended. Raises `RunNotFound`,
        `RunRolledBack`, `RunFinished`."""
        result = (await self._cancel([run_id], action, CancelCause.CLIENT)).results[0]
        if result.error is not None:
            raise result.error
        assert result.run is not None
        if wait and not result.run.state.is_final:
            return await self._follower.wait(run_id, rolled_back=True)
        return result.run

    async def cancel_many(
        self, wanted: RunFilter, action: CancelAction, *, wait: bool
    ) -> builtins.list[CancelResult]:
        """Cancel every run that is `wanted` and in flight, and say of each what became of it.
        Runs that are named and cannot be cancelled are answered for as well."""
        run_ids = await self._database.read(lambda connection: list_candidates(connection, wanted))
        return await self._cancel_all(run_ids, wanted, action, wait=wait)

    async def cancel_some(
        self,
        wanted: RunFilter,
        action: CancelAction,
        *,
        wait: bool,
        limit: int,
        cursor: str | None,
    ) -> Page[CancelResult]:
        """Do as `cancel_many` does to up to `limit` runs from `cursor` on, the first created first;
        to all of them if they are named."""
        after, most = cursor or "", None if wanted.run_ids else limit + 1
        run_ids = await self._database.read(
            lambda connection: list_candidates(connection, wanted, after=after, limit=most)
        )
        following = None
        if most is not None and len(run_ids) == most:
            run_ids = run_ids[:limit]
            following = run_ids[-1]
        return Page(await self._cancel_all(run_ids, wanted, action, wait=wait), following)

    async def _cancel_all(
        self, run_ids: Sequence[str], wanted: RunFilter, action: CancelAction, *, wait: bool
    ) -> builtins.list[CancelResult]:
        results: list[CancelResult] = []
        for start in range(0, len(run_ids), CHUNK):
            chunk = run_ids[start : start + CHUNK]
            results += (await self._cancel(chunk, action, CancelCause.CLIENT, wanted)).results
        if wait:
            results = [await self._ended(result) for result in results]
        return results

    async def _ended(self, result: CancelResult) -> CancelResult:
        if result.run is None or result.run.state.is_final:
            return result
        try:
            run = await self._follower.wait(result.run_id, rolled_back=True)
        except RunNotFound as error:  # it has ended, and was deleted at once
            return CancelResult(run_id=result.run_id, error=error)
        return CancelResult(run_id=result.run_id, run=run)

    async def cancel_disconnected(self, run_id: str) -> None:
        """Cancel a run whose caller went away; one that has ended stays as it is."""
        await self._cancel([run_id], CancelAction.INTERRUPT, CancelCause.DISCONNECT)

    async def _cancel(
        self,
        run_ids: Sequence[str],
        action: CancelAction,
        cause: CancelCause,
        wanted: RunFilter | None = None,
    ) -> Cancellation:
        """Cancel runs; those among them that are `wanted` when it is their turn, if given."""
        task = asyncio.create_task(self._commit_cancel(run_ids, action, cause, wanted))
        return await asyncio.shield(task)

    async def _commit_cancel(
        self,
        run_ids: Sequence[str],
        action: CancelAction,
        cause: CancelCause,
        wanted: RunFilter | None,
    ) -> Cancellation:
        def cancel(connection: Connection) -> Cancellation:
            chosen = run_ids if wanted is None else choose(connection, run_ids, wanted)
            return cancel_runs(connection, chosen, action, cause, self._rules.encode)

        cancellation = await self._database.write(cancel)
        fault("cancel.after_commit")
        self._act(cancellation.ended, cancellation.stopping)
        return cancellation

    def _act(self, ended: Sequence[Run], stopping: Sequence[str]) -> None:
        """Do what follows from a commit: tell readers, hurry whoever must stop, look for work."""
        for run in ended:
            log_move(_logger, run)
            self._logs.ended(run)
        for run_id in stopping:
            self._runner.stop(run_id)
        if ended:
            self._runner.wake()

    async def wait(self, run_id: str) -> Run:
        """Return the run once it has ended, with its output. Raises `RunNotFound`,
        `RunRolledBack`, `Draining`."""
        return await self._follower.wait(run_id)

    async def place(self, run_id: str) -> EventId:
        """See `Follower.place`."""
        return await self._follower.place(run_id)

    def follow(
        self, run_id: str, *, after: EventId | None, live_only: bool = False
    ) -> AsyncGenerator[builtins.list[LogEntry], None]:
        """See `Follower.follow`."""
        return self._follower.follow(run_id, after=after, live_only=live_only)


def _log_created(creation: Creation) -> None:
    for run in creation.runs:
        # One that a later one of the same request has cancelled is logged as that.
        if not creation.replayed and run.end_time is None:
            log_move(_logger, run)


def _get(connection: Connection, run_id: str) -> Run:
    return _found(run_id, runs.get_run(connection, run_id))


def _found(run_id: str, run: Run | None) -> Run:
    if run is None:
        raise RunNotFound(run_id)
    if run.rolled_back:
        raise RunRolledBack(run_id)
    return run
