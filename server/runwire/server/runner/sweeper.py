"""Looking after what nobody asks about: orphans, and cancels that were not heard."""

import asyncio
import logging
import random
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from runwire.server.core.logs import Encode, RunLogs
from runwire.server.core.moves import log_move
from runwire.server.core.sweeping import (
    list_lost,
    list_owned,
    recover_lost,
    recover_orphans,
)
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.model.faults import fault
from runwire.server.model.runs import Run
from runwire.server.storage.database import Database
from runwire.server.storage.ownership import Owned

_logger = logging.getLogger(__name__)

RECOVERED_AT_ONCE = 50
"""Runs that one transaction takes from a server that is gone, so that other writers get their
turn."""

Key = tuple[str, int]
"""A run and the number of an attempt."""


class _Options(Protocol):
    @property
    def max_attempts(self) -> int: ...
    @property
    def sweep_interval(self) -> timedelta: ...


class _Executor(Protocol):
    server_id: str

    @property
    def may_sweep(self) -> bool: ...
    @property
    def executing(self) -> Collection[Key]: ...
    @property
    def let_go(self) -> dict[Key, bool]: ...
    def lose(self, key: Key) -> None: ...
    def stop(self, run_id: str) -> None: ...
    def wake(self) -> None: ...
    async def note(self) -> None: ...


def pause_of(interval: timedelta) -> float:
    """Return how many seconds to wait for the next sweep: not the same on every server."""
    return interval.total_seconds() * random.uniform(0.8, 1.2)


class Sweeper:
    """Sweeps for one runner."""

    def __init__(
        self,
        database: Database,
        runner: _Executor,
        logs: RunLogs,
        encode: Encode,
        options: _Options,
    ) -> None:
        self._database = database
        self._runner = runner
        self._logs = logs
        self._encode = encode
        self._options = options
        self._unexplained: set[Key] = set()
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """Sweep soon."""
        self._hurried.set()

    async def run(self) -> None:
        """Sweep for ever."""
        is_away = False
        while True:
            self._hurried.clear()
            try:
                await self._check_own()
                await self.recover()
                await self._runner.note()
                if is_away:
                    _logger.warning("sweeps reach the database again")
                is_away = False
            except DatabaseUnavailable:
                if not is_away:
                    _logger.warning("sweeps cannot reach the database")
                is_away = True
            except Exception:
                _logger.exception("a sweep failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_of(self._options.sweep_interval)):
                    await self._hurried.wait()

    # ------------------------------------------------------------------ this server's own runs

    async def _check_own(self) -> None:
        """Hurry cancels that were committed and not heard of, stop what this server has lost, and
        take back what it owns and does not execute."""
        here, let_go = set(self._runner.executing), set(self._runner.let_go)
        own = await self._database.read(
            lambda connection: list_owned(connection, self._runner.server_id)
        )
        owned = {(run.run_id, run.attempt) for run in own}
        for key in here - owned:
            self._runner.lose(key)
        for key in let_go - owned:
            self._runner.let_go.pop(key, None)
        missing = owned - set(self._runner.executing)
        # A run that is missing once may just be starting, or have ended since it was read.
        lost = missing & (let_go | self._unexplained)
        self._unexplained = missing
        for run in own:
            if run.is_cancelled and (run.run_id, run.attempt) in here:
                self._runner.stop(run.run_id)
        if lost:
            await self._take_all_back([run for run in own if (run.run_id, run.attempt) in lost])

    async def _take_all_back(self, lost: Sequence[Owned]) -> None:
        # One that is missing twice may still be starting, if the writer was slow to say that it is
        # committed. Writes are answered in their order: after this one, it has started.
        await self._database.write(lambda connection: None)
        for run in lost:
            if (run.run_id, run.attempt) in self._runner.executing:
                continue
            try:
                await self._take_back(run)
            except Exception as error:
                # This one cannot be taken back, for a lock that somebody holds or for what it is.
                # The others can.
                why = None if isinstance(error, DatabaseUnavailable) else error
                extra = {"run_id": run.run_id}
                _logger.warning("a run cannot be taken back", extra=extra, exc_info=why)

    async def _take_back(self, run: Owned) -> None:
        # What never began here, because the server failed between the commit and the start, has
        # done no harm. What began and ended without a trace might do so again, unless it was let
        # go for want of a lease.
        give_back = self._runner.let_go.get((run.run_id, run.attempt), True)
        ended = await self._database.write(
            lambda connection: recover_lost(
                connection,
                run,
                owner=self._runner.server_id,
                encode=self._encode,
                max_attempts=self._options.max_attempts,
                give_back=give_back,
            )
        )
        fault("sweep.after_commit")
        _logger.warning("a run was taken back", extra={"run_id": run.run_id})
        self._tell([ended] if ended else [])
        self._runner.wake()

    # ------------------------------------------------------------------ the runs of others

    async def recover(self) -> None:
        """Take back every run whose server is gone, unless it is too early to say which are."""
        if not self._runner.may_sweep:
            return
        for owner in await self._database.read(list_lost):
            await self._recover_all(owner)

    async def _recover_all(self, owner: str) -> None:
        orphans = await self._database.read(lambda connection: list_owned(connection, owner))
        # Through all of them, also when some of them cannot be taken this time.
        for start in range(0, len(orphans), RECOVERED_AT_ONCE):
            chunk = orphans[start : start + RECOVERED_AT_ONCE]
            await self._recover(owner, [run.run_id for run in chunk])

    async def _recover(self, owner: str, run_ids: Sequence[str]) -> None:
        try:
            recovery = await self._database.write(
                lambda connection: recover_orphans(
                    connection,
                    owner,
                    run_ids,
                    encode=self._encode,
                    max_attempts=self._options.max_attempts,
                )
            )
        except DatabaseUnavailable:
            raise
        except Exception:
            if len(run_ids) > 1:
                # One of them cannot be taken back. The others can.
                for run_id in run_ids:
                    await self._recover(owner, [run_id])
                return
            _logger.exception("a run cannot be taken back", extra={"run_id": run_ids[0]})
            return
        fault("sweep.after_commit")
        if recovery.taken:
            extra = {"server_id": owner, "runs": recovery.taken}
            _logger.warning("runs were taken from a server that is gone", extra=extra)
            self._tell(recovery.ended)
            self._runner.wake()

    def _tell(self, ended: list[Run]) -> None:
        for run in ended:
            log_move(_logger, run)
            self._logs.ended(run)
