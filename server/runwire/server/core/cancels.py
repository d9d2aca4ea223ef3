"""Cancelling runs. A cancel is a committed intent first; whoever executes the run carries it
out. Transactions on an open connection."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from runwire.server.core.creation import stronger
from runwire.server.core.endings import cancel_pending, settle_thread
from runwire.server.core.logs import Encode
from runwire.server.model.errors import (
    RunFinished,
    RunNotFound,
    RunRolledBack,
    RunwireError,
)
from runwire.server.model.runs import Cancel, CancelAction, CancelCause, Run, RunState
from runwire.server.storage import runs
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection

CHUNK = 200
"""Runs that one transaction of a bulk cancel takes, so that other writers get their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelResult:
    """What became of one run of a cancel: the run, or why it could not be cancelled."""

    run_id: str
    run: Run | None = None
    error: RunwireError | None = None


@dataclass(slots=True)
class Cancellation:
    """What a cancel did, for its caller to act on once it is committed."""

    results: list[CancelResult] = field(default_factory=list)

    @property
    def ended(self) -> list[Run]:
        """Runs that were pending and are CANCELLED now."""
        return [result.run for result in self.results if result.run and result.run.end_time]

    @property
    def stopping(self) -> list[str]:
        """Runs that somebody executes and must stop."""
        runs_left = [result.run for result in self.results if result.run]
        return [run.run_id for run in runs_left if not run.end_time]


def cancel_runs(
    connection: Connection,
    run_ids: Sequence[str],
    action: CancelAction,
    cause: CancelCause,
    encode: Encode,
) -> Cancellation:
    """Commit the cancel of each run; one that cannot be cancelled does not hinder the others."""
    cancellation = Cancellation()
    for run_id in run_ids:
        try:
            run = _cancel_run(connection, run_id, action, cause, encode)
            cancellation.results.append(CancelResult(run_id=run_id, run=run))
        except RunwireError as error:
            cancellation.results.append(CancelResult(run_id=run_id, error=error))
    return cancellation


def _cancel_run(
    connection: Connection, run_id: str, action: CancelAction, cause: CancelCause, encode: Encode
) -> Run:
    run = runs.lock_run(connection, run_id)
    if run is None:
        raise RunNotFound(run_id)
    if run.rolled_back:
        raise RunRolledBack(run_id)
    if run.state.is_final:
        raise RunFinished(run_id, run.state.value)
    now = current_time(connection)
    cancel = Cancel(action=action, cause=cause, request_time=now)
    if run.state is RunState.PENDING:
        ended = cancel_pending(connection, run, cancel, encode, now)
        assert ended is not None
        settle_thread(connection, run.thread_id, now)
        return ended
    runs.request_cancel(connection, run_id, stronger(run.cancel, cancel), now)
    stopping = runs.get_run(connection, run_id)
    assert stopping is not None
    return stopping
