"""Carrying one attempt of a run to its end, on a runner loop."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import TypeVar

from runwire.server.core.creation import find_checkpoint
from runwire.server.core.endings import (
    ATTEMPTS_EXHAUSTED,
    Finished,
    Outcome,
    finish_attempt,
    release_attempt,
)
from runwire.server.core.flushing import MAX_UNSTORED_BYTES, make_room
from runwire.server.core.logs import Encode, RunLog
from runwire.server.core.moves import log_move
from runwire.server.graphs import stream as graph_stream
from runwire.server.graphs.clock import seed_checkpoint_clock
from runwire.server.graphs.failures import describe_failure
from runwire.server.graphs.inputs import Lifetime, build_inputs, run_config
from runwire.server.graphs.registry import Registry
from runwire.server.model.attempts import Attempt, current_writer
from runwire.server.model.errors import (
    AttemptLost,
    DatabaseUnavailable,
    RunwireError,
    StorageFull,
)
from runwire.server.model.events import AttemptStarted, Event
from runwire.server.model.faults import fault
from runwire.server.model.runs import Run, RunError, RunState
from runwire.server.runner.loops import SyncNodes
from runwire.server.storage import checkpoints
from runwire.server.storage.database import Connection, Database

T = TypeVar("T")

_logger = logging.getLogger(__name__)

STORAGE_WAIT = timedelta(seconds=2)
"""How long a run waits for its next attempt when the database failed under it; the second time,
twice as long."""

RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)
"""Waits between tries to store an attempt's end while the database cannot be written."""


class Stop(Enum):
    """Why an attempt is told to stop; a later reason replaces an earlier, lesser one."""

    DRAIN = auto()
    """The server stops: go on elsewhere."""
    LOST = auto()
    """Another server has the run: whatever happens here no longer counts."""
    TIMEOUT = auto()
    """The run's own time is up."""
    CANCEL = auto()
    """A cancel is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What every execution of a process shares."""

    database: Database
    registry: Registry
    encode: Encode
    sync_nodes: SyncNodes
    cancel_grace: timedelta
    max_attempts: int
    recursion_limit: int


class Execution:
    """One attempt of a run, executed in this process."""

    def __init__(self, run: Run, log: RunLog, environment: Environment) -> None:
        assert run.owner is not None
        self.run = run
        self.log = log
        self.attempt = Attempt(run.run_id, run.thread_id, run.graph_id, run.attempt, run.owner)
        self.stopping: Stop | None = None
        self._environment = environment
        self._control = graph_stream.RunControl()
        self._outcome = graph_stream.Outcome()
        self._task: asyncio.Task[None] | None = None
        self._halted = False
        self._stopped: Future[None] = Future()
        self.ends_at: float | None = None
        """When the run's timeout passes, on the monotonic clock."""

    @property
    def checkpointed(self) -> bool:
        """Whether the run leaves checkpoints: then another attempt can go on where it stopped."""
        return self.run.thread_id is not None

    def stop(self, reason: Stop) -> None:
        """Make the attempt end soon. Runner loop only.

        DRAIN lets it reach its next superstep; any other reason stops what it awaits now.
        """
        if self.stopping is None or reason.value > self.stopping.value:
            self.stopping = reason
        self._control.request_drain(reason.name.lower())
        if reason is not Stop.DRAIN:
            self.halt()

    def halt(self) -> None:
        """Stop what the attempt awaits now. Runner loop only.

        It is told once: a second cancel would break off what user code does to clean up.
        """
        if self._task is not None and not self._halted:
            self._halted = True
            self._task.cancel()
            self._stopped.set_result(None)

    async def carry(self) -> Finished | None:
        """Execute the attempt and store its end. Return how the run ended; None when it did not
        end here: it was handed back, or lost."""
        self._task = asyncio.create_task(self._execute(), name=f"run {self.run.run_id}")
        if self.stopping not in (None, Stop.DRAIN):
            self.halt()
        await asyncio.wait([self._task])
        grace = self._environment.cancel_grace.total_seconds()
        stopped = await self._environment.sync_nodes.idle(self.run.run_id, grace)
        return await self._end(self._task, abandoned=not stopped)

    async def _execute(self) -> None:
        current_writer.set(self.attempt)
        environment, run, log = self._environment, self.run, self.log
        resumed = await self._prepare()
        log.append(run.attempt, Event(AttemptStarted(run.attempt, resumed)))
        config = run_config(
            run,
            resumed=resumed,
            recursion_limit=environment.recursion_limit,
            lifetime=Lifetime(self._stopped, self.ends_at),
        )
        opened = environment.registry.open(
            run.graph_id,
            "threads.create_run",
            config=config,
            context=run.context,
            checkpointed=self.checkpointed,
        )
        async with opened as graph, graph_stream.keeping_remains(graph, run, self._outcome):
            graph_input, config, context = await build_inputs(graph, run, config, resumed=resumed)
            events = graph_stream.stream(
                graph,
                run,
                config=config,
                graph_input=graph_input,
                context=context,
                control=self._control,
                outcome=self._outcome,
            )
            async for event in events:
                log.append(run.attempt, event)
                if log.unstored_bytes > MAX_UNSTORED_BYTES:
                    await make_room(environment.database, self.attempt, log)

    async def _prepare(self) -> bool:
        """Set the checkpoints' clock, and return whether an earlier attempt left something to go
        on from. Raises `CheckpointNotFound` when what the run is to start from was taken back."""
        if not self.checkpointed:
            return False
        run, thread_id = self.run, self.run.thread_id or ""

        def look(connection: Connection) -> tuple[str | None, bool]:
            again = run.attempt > 1 and checkpoints.has_run(connection, thread_id, run.run_id)
            if run.spec.checkpoint is not None and not again:
                find_checkpoint(connection, thread_id, run.spec.checkpoint)
            return checkpoints.newest_id(connection, thread_id), again

        newest_id, resumed = await self._environment.database.read(look)
        seed_checkpoint_clock(newest_id)
        return resumed

    async def _end(self, task: "asyncio.Task[None]", *, abandoned: bool) -> Finished | None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.stopping is Stop.LOST or isinstance(error, AttemptLost):
            return None
        if self._goes_on_elsewhere(error) and await self._release():
            return None
        return await self.finish(self._outcome_of(error, abandoned))

    def _goes_on_elsewhere(self, error: BaseException | None) -> bool:
        storage_failed = isinstance(error, StorageFull | DatabaseUnavailable)
        if self.stopping is Stop.DRAIN:
            # Whatever came of being halted came of that.
            drained = isinstance(error, graph_stream.GraphDrained | asyncio.CancelledError)
            return drained or storage_failed or (self._halted and error is not None)
        return storage_failed and self.run.attempts_used < self._environment.max_attempts

    async def _release(self) -> bool:
        chosen = self.stopping is Stop.DRAIN
        wait = timedelta(0) if chosen else STORAGE_WAIT * self.run.attempts_used
        released = await self._persist(
            lambda connection: release_attempt(
                connection, self.attempt, self.log, give_back=chosen, wait=wait
            ),
            "release.after_commit",
        )
        if released:
            log_move(_logger, replace(self.run, state=RunState.PENDING, owner=None))
        return released

    async def finish(self, outcome: Outcome) -> Finished | None:
        """Store the run's end; None when somebody else has ended it."""
        environment = self._environment
        try:
            return await self._persist(
                lambda connection: finish_attempt(
                    connection,
                    self.attempt,
                    outcome,
                    self.log,
                    environment.encode,
                    known=self.run,
                ),
                "finish.after_commit",
            )
        except AttemptLost:
            return None

    async def _persist(self, function: Callable[[Connection], T], point: str) -> T:
        """Write, and try again while the database cannot be written: the user's code has ended,
        and nothing but this write stands between the run and its end. `point` is for faults."""
        tries = 0
        while True:
            try:
                written = await self._environment.database.write(function)
                fault(point)
                return written
            except (StorageFull, DatabaseUnavailable):
                wait = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
                _logger.warning(
                    "a run's end could not be stored yet", extra={"run_id": self.run.run_id}
                )
                await asyncio.sleep(wait)
                tries += 1

    def _outcome_of(self, error: BaseException | None, abandoned: bool) -> Outcome:
        seen = self._outcome
        if self.stopping is Stop.CANCEL or (self.stopping is Stop.TIMEOUT and error is not None):
            outcome = self.stopped(self.stopping, abandoned)
        elif error is not None:
            outcome = Outcome(state=RunState.FAILED, error=self._describe(error))
        else:
            outcome = Outcome(state=RunState.INTERRUPTED if seen.paused else RunState.SUCCEEDED)
        if seen.unchanged:
            return replace(outcome, interrupts=None)
        return replace(outcome, values=seen.output_json(), interrupts=seen.interrupts)

    def stopped(self, reason: Stop, abandoned: bool) -> Outcome:
        """Return how a run ends that was told to stop, without what it left behind: if its code
        is still at work, nobody else may look at that."""
        timeout = self.run.spec.timeout
        if reason is not Stop.TIMEOUT or timeout is None:
            # What counts is the cancel in the run's row; this only says how it went.
            return Outcome(state=RunState.CANCELLED, abandoned=abandoned)
        message = f"the run did not end within {timeout.total_seconds():g} seconds"
        if abandoned:
            message += ", and its code had not stopped when the grace for that passed"
        failure = RunError(type="RunTimeout", message=message, attempt=self.attempt.number)
        return Outcome(state=RunState.TIMED_OUT, error=failure)

    def _describe(self, error: BaseException) -> RunError:
        attempt, used = self.attempt.number, self.run.attempts_used
        if isinstance(error, StorageFull | DatabaseUnavailable):
            message = f"the database failed in each of the run's {used} attempts: {error.message}"
            return RunError(type=ATTEMPTS_EXHAUSTED, message=message, attempt=attempt)
        failure, hidden = describe_failure(error, attempt)
        if isinstance(error, RunwireError):
            return replace(failure, message=error.message, error_id="")
        # Whatever the caller is shown: who wrote the graph needs the place.
        _logger.log(
            logging.ERROR if hidden else logging.WARNING,
            "a run failed",
            exc_info=error,
            extra={"run_id": self.run.run_id, "error_id": failure.error_id},
        )
        return failure
