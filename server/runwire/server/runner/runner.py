"""The runner of a process: its slots, the runs in them, and the loop that claims more."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from runwire.server.core.endings import Finished, leave_attempt
from runwire.server.core.flushing import Flusher
from runwire.server.core.logs import Encode, RunLogs
from runwire.server.core.moves import log_move
from runwire.server.core.servers import Beat
from runwire.server.core.sweeping import claim, count_unknown, list_cancelling, look
from runwire.server.graphs.registry import Registry
from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.model.faults import fault
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Run
from runwire.server.runner.execution import Environment, Execution, Stop
from runwire.server.runner.heartbeat import Doing, Heartbeat
from runwire.server.runner.loops import RunnerLoop, RunnerLoops
from runwire.server.runner.sweeper import Key, Sweeper
from runwire.server.runner.watchdog import Watchdog
from runwire.server.storage.database import Database

T = TypeVar("T")

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the claim loop looks by itself, should a wake be lost; jittered by a fifth."""

HALT_SECONDS = 0.5
"""How long runs may take to stop where they are when the grace of a drain has passed."""

LEAVE_SECONDS = 2.0
"""How long the database may take to note what is given up then."""

LEASE_LOOK_SECONDS = 0.05
"""How often a server that has lost its lease looks whether it has it again."""

EMPTY_CLAIM_SECONDS = 0.05
"""How soon to look again when others were quicker, or are at work on what could be claimed."""

CLAIMED_AT_ONCE = 16
"""Slots that one claim sets aside: runs that are created meanwhile need free ones to start at
once."""

BLOCKED_MARGIN_SECONDS = 1.0
"""How much longer than its grace a stopped attempt may take before it is given up from outside:
its loop, which would do so, is blocked by user code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """How a runner works; see the settings of the same names. With `max_concurrent_runs` 0 it
    executes nothing, and is there for the sweeps and for what calls of user code need."""

    max_concurrent_runs: int = 512
    runner_loops: int = 1
    sync_nodes: int = 64
    cancel_grace: timedelta = timedelta(seconds=10)
    drain_grace: timedelta = timedelta(seconds=30)
    max_attempts: int = 3
    recursion_limit: int = 1000
    lease: timedelta = timedelta(seconds=15)
    beat: timedelta = timedelta(seconds=3)
    sweep_interval: timedelta = timedelta(seconds=1)
    takes_calls: bool = True


@dataclass(slots=True)
class _Slot:
    """An execution and where it takes place."""

    execution: Execution
    loop: RunnerLoop
    done: asyncio.Event
    timer: asyncio.TimerHandle | None = None
    watching: bool = False
    fenced: bool = False

    @property
    def key(self) -> Key:
        """The run and its attempt."""
        return self.execution.attempt.run_id, self.execution.attempt.number


class Runner:
    """Executes runs in this process. `async with` it, and `drain` it before leaving.

    Everything here happens on the gRPC loop; executions happen on the runner loops.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        logs: RunLogs,
        encode: Encode,
        options: RunnerOptions,
        *,
        on_webhook: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_webhook` is called when a run has ended here that has a webhook."""
        self.server_id = new_id()
        self._on_webhook = on_webhook
        self._database = database
        self._logs = logs
        self._options = options
        self._graph_ids = registry.graph_ids
        self._loops = RunnerLoops(loops=options.runner_loops, sync_nodes=options.sync_nodes)
        self._flusher = Flusher(database)
        self._sweeper = Sweeper(database, self, logs, encode, options)
        self.heartbeat = Heartbeat(
            database,
            self.server_id,
            options,
            registry.graph_ids,
            doing=self._doing,
            on_beat=self._on_beat,
        )
        self.watchdog = Watchdog(self._loops)
        self._environment = Environment(
            database=database,
            registry=registry,
            encode=encode,
            sync_nodes=self._loops.sync_nodes,
            cancel_grace=options.cancel_grace,
            max_attempts=options.max_attempts,
            recursion_limit=options.recursion_limit,
        )
        self._slots: dict[str, _Slot] = {}
        self.let_go: dict[Key, bool] = {}
        """Attempts that ended here without an end that was stored, and whether they count no more
        than that: they were stopped for want of a lease."""
        self._reserved = 0
        self._backlog = False
        self._denied = 0
        self._denials = 0
        self._draining = False
        self.left_behind = False
        """Whether code is still at work that nobody waits for: the process need not either."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        """Start the loops, take the lease, take back what a former server left, and begin to
        claim."""
        self._loops.start()
        try:
            async with AsyncExitStack() as opened:
                await opened.enter_async_context(self.heartbeat)
                await self._sweeper.recover()
                await self._tell_of_unknown_graphs()
                opened.pop_all()
        except BaseException:
            self._loops.stop()
            raise
        if self._options.max_concurrent_runs:
            self._spawn(self._claim_for_ever(), "claims")
            self._spawn(self._flusher.run(), "flusher")
        if self._database.shared:
            self._spawn(self._watch_lease(), "lease")
        self._spawn(self._sweeper.run(), "sweeper")
        self._spawn(self.watchdog.run(), "watchdog")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.heartbeat.end()
        self._loops.stop()

    async def _tell_of_unknown_graphs(self) -> None:
        if self._options.max_concurrent_runs:
            waiting = await self._database.read(
                lambda connection: count_unknown(connection, self._graph_ids)
            )
            for graph_id, count in waiting.items():
                extra = {"graph_id": graph_id, "runs": count}
                _logger.warning("runs wait for a graph that this server does not have", extra=extra)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _logger.error("a task of the runner failed", exc_info=task.exception())

    # ------------------------------------------------------------------ what core asks for

    def reserve(self, count: int) -> int:
        """See `LocalRunner`. Nothing while older runs wait for slots: those come first."""
        granted = 0 if self._backlog else self._set_aside(count)
        if granted < count:
            # What gets none is about to wait; the claims find out when nothing does any more.
            self._backlog = True
            self._denied += count - granted
            self._denials += 1
        return granted

    def _seen(self) -> int | None:
        """Return what tells later whether a look at the database that begins now sees every run
        that was denied a slot; None if it cannot."""
        return None if self._denied else self._denials

    def _set_aside(self, count: int) -> int:
        may_start = self.heartbeat.is_held and not self._draining
        granted = max(0, min(count, self._free)) if may_start else 0
        self._count(reserved=granted)
        return granted

    @property
    def _free(self) -> int:
        return self._options.max_concurrent_runs - len(self._slots) - self._reserved

    def give_back(self, count: int, *, denied: int = 0) -> None:
        """See `LocalRunner`."""
        self._denied -= denied
        self._count(reserved=-count)

    def _count(self, *, reserved: int = 0) -> None:
        """Note that slots were set aside, or returned, or that a run has begun or ended."""
        self._reserved += reserved
        if self._slots or self._reserved:
            self._idle.clear()
        else:
            self._idle.set()

    def start(self, runs: Sequence[Run]) -> None:
        """See `LocalRunner`."""
        for run in runs:
            if not self.heartbeat.is_held:
                # It came too late: somebody else may have it by now. Otherwise it is taken back.
                self._count(reserved=-1)
                continue
            self._leave_former(run)
            log = self._logs.acquire(run.run_id)
            log.begin(run.attempt)
            execution = Execution(run, log, self._environment)
            slot = _Slot(execution, self._loops.pick(), asyncio.Event())
            slot.loop.runs += 1
            self._slots[run.run_id] = slot
            self._count(reserved=-1)
            self._flusher.add(execution.attempt, log)
            log.on_lost = self._on_lost(run.run_id)
            self._set_timer(slot)
            slot.loop.loop.call_soon_threadsafe(self._begin, slot, asyncio.get_running_loop())
            if self._draining:
                self._stop(run.run_id, Stop.DRAIN)

    def _leave_former(self, run: Run) -> None:
        """Give up an attempt that this server lost without noticing, and now has the next one
        of."""
        former = self._slots.get(run.run_id)
        if former is not None:
            self._stop(run.run_id, Stop.LOST)
            self._close(former, None)

    def _on_lost(self, run_id: str) -> Callable[[BaseException], None]:
        return lambda error: self._stop(run_id, Stop.LOST)

    def _set_timer(self, slot: _Slot) -> None:
        run = slot.execution.run
        if run.spec.timeout is not None and run.start_time is not None:
            # Counted from the first attempt's start, so that a crash does not give more time, and
            # by the database's clock: a run that was just claimed was updated now.
            left = (run.start_time + run.spec.timeout - run.update_time).total_seconds()
            loop = asyncio.get_running_loop()
            slot.timer = loop.call_later(max(0.0, left), self._stop, run.run_id, Stop.TIMEOUT)
            slot.execution.ends_at = time.monotonic() + left

    def _begin(self, slot: _Slot, home: asyncio.AbstractEventLoop) -> None:
        """Create the execution's task. On its runner loop."""
        task = slot.loop.loop.create_task(slot.execution.carry())
        slot.loop.tasks.add(task)

        def ended(task: "asyncio.Task[Finished | None]") -> None:
            slot.loop.tasks.discard(task)
            home.call_soon_threadsafe(self._ended, slot, task)

        task.add_done_callback(ended)

    def wake(self) -> None:
        """See `LocalRunner`."""
        self._woken.set()

    def stop(self, run_id: str) -> None:
        """See `LocalRunner`."""
        self._stop(run_id, Stop.CANCEL)

    def told_of_work(self) -> None:
        """See `LocalRunner`."""
        # Without a slot, the end of a run will wake the claims.
        if self._free > 0 and not self._draining:
            self.wake()

    def told_of_cancels(self, run_ids: Collection[str] | None) -> None:
        """See `LocalRunner`."""
        # What is said may be wrong; what counts is in the database.
        if self._slots and (run_ids is None or not self._slots.keys().isdisjoint(run_ids)):
            self._spawn(self._stop_cancelled(), "cancels")

    async def _stop_cancelled(self) -> None:
        with suppress(DatabaseUnavailable):  # then whoever looks without being told finds them
            cancelled = await self._database.read(
                lambda connection: list_cancelling(connection, owner=self.server_id)
            )
            for run_id in cancelled:
                self.stop(run_id)

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """See `LocalRunner`."""
        return await self._loops.pick().call(function)

    # ------------------------------------------------------------------ ends

    def _ended(self, slot: _Slot, task: "asyncio.Task[Finished | None]") -> None:
        """Act on an execution's end. It may have been given up before, then this is late news."""
        finished: Finished | None = None
        if not task.cancelled() and task.exception() is None:
            finished = task.result()
        elif not task.cancelled():
            _logger.error("an execution failed", exc_info=task.exception())
        self._close(slot, finished)

    def _close(self, slot: _Slot, finished: Finished | None) -> None:
        run_id = slot.execution.run.run_id
        if self._slots.get(run_id) is not slot:
            return
        del self._slots[run_id]
        self._count()
        slot.loop.runs -= 1
        slot.done.set()
        if slot.timer is not None:
            slot.timer.cancel()
        self._flusher.remove(run_id)
        log = slot.execution.log
        if finished is None:
            self.let_go[slot.key] = slot.fenced
            log.stop()
        else:
            log.end(finished.entries, finished.run)
            log_move(_logger, finished.run)
            if finished.run.spec.webhook:
                self._on_webhook()
        self._logs.release(run_id)
        if finished is None or finished.promoted or self._backlog:
            self.wake()

    def _stop(self, run_id: str, reason: Stop) -> None:
        slot = self._slots.get(run_id)
        if slot is None:
            return
        slot.loop.loop.call_soon_threadsafe(slot.execution.stop, reason)
        if reason is not Stop.DRAIN and not slot.watching:
            slot.watching = True
            self._spawn(self._give_up_when_blocked(slot, reason), f"stop {run_id}")

    async def _give_up_when_blocked(self, slot: _Slot, reason: Stop) -> None:
        """End a stopped run from here when its own loop does not, because code blocks it."""
        limit = self._options.cancel_grace.total_seconds() + BLOCKED_MARGIN_SECONDS
        try:
            async with asyncio.timeout(limit):
                await slot.done.wait()
            return
        except TimeoutError:
            pass
        execution = slot.execution
        outcome = execution.stopped(reason, abandoned=True)
        finished = None if reason is Stop.LOST else await execution.finish(outcome)
        self._close(slot, finished)

    # ------------------------------------------------------------------ the lease

    def _doing(self) -> Doing:
        return Doing(len(self._slots), self._draining)

    def _on_beat(self, beat: Beat) -> None:
        for run_id in beat.cancelling:
            self.stop(run_id)
        if not beat.held:
            self._sweeper.hurry()

    async def _watch_lease(self) -> None:
        """Stop everything when the lease is about to end: another server may take the runs then,
        and no two may execute one."""
        fenced = False
        while True:
            left = self.heartbeat.seconds_left
            if left <= 0 and not fenced:
                self._let_go_of_all()
            elif left > 0 and fenced:
                self.wake()
            fenced = left <= 0
            await asyncio.sleep(LEASE_LOOK_SECONDS if fenced else left)

    def _let_go_of_all(self) -> None:
        _logger.warning("the lease was not renewed in time", extra={"runs": len(self._slots)})
        for run_id, slot in self._slots.items():
            slot.fenced = True
            self._stop(run_id, Stop.LOST)

    # ------------------------------------------------------------------ claims

    async def _claim_for_ever(self) -> None:
        is_away = False
        while True:
            self._woken.clear()
            try:
                wait = await self._claim()
                if is_away:
                    _logger.warning("runs can be claimed again")
                is_away = False
            except DatabaseUnavailable:
                if not is_away:
                    _logger.warning("runs cannot be claimed: the database is away")
                is_away = True
                wait = POLL_SECONDS
            except Exception:
                _logger.exception("runs could not be claimed")
                wait = POLL_SECONDS
            with suppress(TimeoutError):
                # Not `wait_for`: on Python 3.11 it loses a cancel that comes together with the
                # result, and this would never end.
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _claim(self) -> float:
        """Claim what there are free slots for; return in how many seconds to look again."""
        # Looking first: while a claim waits for its turn to write, the slots it has set aside are
        # not there for runs that are created and could start at once.
        seen = self._seen()
        is_any, due = await self._database.read(
            lambda connection: look(connection, self._graph_ids)
        )
        if not is_any and seen == self._denials:
            self._backlog = False
        wait = POLL_SECONDS * random.uniform(0.8, 1.2)
        if is_any:
            # Looking again tells when the next delay is over. Without a slot nothing is done
            # about one that is over already: the end of a run wakes this.
            return await self._claim_some(wait)
        return wait if due is None else min(wait, max(0.0, due.total_seconds()))

    async def _claim_some(self, wait: float) -> float:
        """Claim runs; return in how many seconds to look again: `wait` without a slot for any."""
        slots = self._set_aside(min(self._free, CLAIMED_AT_ONCE))
        if slots == 0:
            self._backlog = True
            return wait
        seen = self._seen()
        claimed: list[Run] = []
        try:
            claimed = await self._database.write(
                lambda connection: claim(
                    connection, owner=self.server_id, graph_ids=self._graph_ids, limit=slots
                )
            )
            fault("claim.after_commit")
            if len(claimed) == slots or seen == self._denials:
                self._backlog = len(claimed) == slots
            self.start(claimed)
        finally:
            self.give_back(slots - len(claimed))
        for run in claimed:
            log_move(_logger, run)
        return 0.0 if claimed else EMPTY_CLAIM_SECONDS

    # ------------------------------------------------------------------ the sweeper's questions

    @property
    def is_exhausted(self) -> bool:
        """Whether code that did not stop keeps every thread for sync nodes."""
        return self._loops.sync_nodes.is_exhausted

    @property
    def may_sweep(self) -> bool:
        """Whether this server may take runs from others: its own house is in order."""
        return self.heartbeat.is_settled and not self._draining

    @property
    def executing(self) -> set[Key]:
        """The attempts that have slots here."""
        return {slot.key for slot in self._slots.values()}

    def lose(self, key: Key) -> None:
        """Stop an attempt that is no longer this server's."""
        slot = self._slots.get(key[0])
        if slot is not None and slot.key == key:
            self._stop(key[0], Stop.LOST)

    async def note(self) -> None:
        """Store what this server does now."""
        await self.heartbeat.note()

    # ------------------------------------------------------------------ drain

    async def drain(self) -> None:
        """Stop claiming, and bring every run to a point where another server can go on.

        Runs with checkpoints stop at their next superstep, the others may end; what has not when
        the grace has passed is stopped where it is. What does not stop then is given up while its
        code is still at work. After that this server has nothing, and its lease ends.
        """
        self._draining = True
        self.heartbeat.hurry()
        try:
            await self._drain()
        finally:
            await self.heartbeat.end()

    async def _drain(self) -> None:
        for run_id, slot in self._slots.items():
            if slot.execution.checkpointed:
                self._stop(run_id, Stop.DRAIN)
        if await self._all_done(self._options.drain_grace.total_seconds()):
            return
        for run_id, slot in self._slots.items():
            self._stop(run_id, Stop.DRAIN)
            slot.loop.loop.call_soon_threadsafe(slot.execution.halt)
        if await self._all_done(HALT_SECONDS):
            return
        _logger.warning("runs are left behind", extra={"runs": sorted(self._slots)})
        with suppress(TimeoutError, DatabaseUnavailable, StorageFull):
            async with asyncio.timeout(LEAVE_SECONDS):
                for slot in list(self._slots.values()):
                    await self._leave(slot)

    async def _leave(self, slot: _Slot) -> None:
        execution, encode = slot.execution, self._environment.encode
        ended = await self._database.write(
            lambda connection: leave_attempt(connection, execution.attempt, execution.log, encode)
        )
        if ended is not None:
            log_move(_logger, ended)
            self._logs.ended(ended)
        self.left_behind = True
        self._close(slot, None)

    async def _all_done(self, seconds: float) -> bool:
        """Wait until nothing executes, and nothing is about to: what is being claimed or created
        has a slot set aside. Return whether that came within `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()
