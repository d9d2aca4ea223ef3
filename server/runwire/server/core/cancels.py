"""Cancelling runs. A cancel is a committed intent first; whoever executes the run carries it
out. Transactions on an open connection."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from runwire.server.core.endings import cancel_active, cancel_pending, settle_thread
from runwire.server.core.logs import Encode
from runwire.server.model.errors import (
    RunFinished,
    RunNotFound,
    RunRolledBack,
    RunwireError,
)
from runwire.server.model.faults import fault
from runwire.server.model.runs import (
    IN_FLIGHT_STATES,
    Cancel,
    CancelAction,
    CancelCause,
    Run,
    RunState,
)
from runwire.server.storage import locks, runs
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.server.storage.runs import RunFilter

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


def list_candidates(
    connection: Connection, wanted: RunFilter, *, after: str = "", limit: int | None = None
) -> list[str]:
    """Return the ids of the runs that a bulk cancel is about: those in flight that pass, in the
    order of creation, up to `limit` of them that were created after the run `after`; or all of the
    named ones, in the caller's order."""
    if wanted.run_ids:
        return choose(connection, list(dict.fromkeys(wanted.run_ids)), wanted)
    states = _in_flight_states(wanted)
    if not states:
        return []
    in_flight = replace(wanted, states=states)
    return runs.list_run_ids(connection, in_flight, after=after, limit=limit)


def choose(connection: Connection, run_ids: Sequence[str], wanted: RunFilter) -> list[str]:
    """Return which of `run_ids` a bulk cancel is about now. A named run that has ended, or is not
    there, is among them: it has an answer, though it cannot be cancelled."""
    if not wanted.run_ids:
        return _passing(connection, run_ids, replace(wanted, states=_in_flight_states(wanted)))
    if wanted == RunFilter(run_ids=wanted.run_ids):
        return list(run_ids)
    there = _passing(connection, run_ids, RunFilter())
    passing = _passing(connection, run_ids, wanted)
    return [run_id for run_id in run_ids if run_id in passing or run_id not in there]


def _passing(connection: Connection, run_ids: Sequence[str], wanted: RunFilter) -> list[str]:
    these = replace(wanted, run_ids=run_ids)
    return runs.list_run_ids(connection, these, limit=len(run_ids))


def _in_flight_states(wanted: RunFilter) -> list[RunState]:
    return sorted(IN_FLIGHT_STATES.intersection(wanted.states or IN_FLIGHT_STATES))


def cancel_runs(
    connection: Connection,
    run_ids: Sequence[str],
    action: CancelAction,
    cause: CancelCause,
    encode: Encode,
) -> Cancellation:
    """Commit the cancel of each run; one that cannot be cancelled does not hinder the others."""
    results: dict[str, CancelResult] = {}
    locks.hold_threads_of(connection, run_ids)
    for run_id in sorted(run_ids):
        try:
            run = _cancel_run(connection, run_id, action, cause, encode)
            results[run_id] = CancelResult(run_id=run_id, run=run)
        except RunwireError as error:
            results[run_id] = CancelResult(run_id=run_id, error=error)
    fault("cancel.before_commit")
    return Cancellation([results[run_id] for run_id in run_ids])


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
    cancel_active(connection, run, cancel, now)
    stopping = runs.get_run(connection, run_id)
    assert stopping is not None
    return stopping
