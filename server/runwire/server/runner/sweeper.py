"""Looking after what nobody asks about: orphans, and cancels that were not heard."""

import asyncio
import logging
from typing import Protocol

from runwire.server.core.logs import Encode, RunLogs
from runwire.server.core.moves import log_move
from runwire.server.core.sweeping import owned, recover_lost, recover_orphans
from runwire.server.model.faults import fault
from runwire.server.model.runs import Run, RunState
from runwire.server.storage.database import Database

_logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""How often this server compares its own runs with the database."""


class _Options(Protocol):
    @property
    def max_attempts(self) -> int: ...


class _Executor(Protocol):
    server_id: str

    def executes(self, run_id: str) -> bool: ...
    def stop(self, run_id: str) -> None: ...
    def wake(self) -> None: ...


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
        self._unexplained: set[tuple[str, int]] = set()

    async def recover(self) -> None:
        """Take back every run whose server is gone."""
        ended = await self._database.write(
            lambda connection: recover_orphans(
                connection,
                owner=self._runner.server_id,
                encode=self._encode,
                max_attempts=self._options.max_attempts,
            )
        )
        fault("sweep.after_commit")
        self._tell(ended)

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self._check_own()
            except Exception:
                _logger.exception("a sweep failed")
            await asyncio.sleep(SWEEP_SECONDS)

    async def _check_own(self) -> None:
        """Hurry cancels that were committed and not heard of, and take back runs that this server
        owns and does not execute: it failed between the commit and the start."""
        own = await self._database.read(
            lambda connection: owned(connection, owner=self._runner.server_id)
        )
        missing = {(run.run_id, run.attempt) for run in own if not self._executes(run)}
        # A run that is missing once may just be starting, or have ended since it was read.
        for run in own:
            if (run.run_id, run.attempt) in missing & self._unexplained:
                await self._take_back(run)
            elif run.state is RunState.CANCELLING:
                self._runner.stop(run.run_id)
        self._unexplained = missing

    def _executes(self, run: Run) -> bool:
        return self._runner.executes(run.run_id)

    async def _take_back(self, run: Run) -> None:
        ended = await self._database.write(
            lambda connection: recover_lost(
                connection, run, encode=self._encode, max_attempts=self._options.max_attempts
            )
        )
        fault("sweep.after_commit")
        _logger.warning("a run was taken back", extra={"run_id": run.run_id})
        self._tell([ended] if ended else [])
        self._runner.wake()

    def _tell(self, ended: list[Run]) -> None:
        for run in ended:
            log_move(_logger, run)
            self._logs.ended(run)
