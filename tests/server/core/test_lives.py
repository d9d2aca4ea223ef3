"""The lives of runs as a state machine: whatever happens in whatever order, some things hold.

Transactions of core run against a database in memory, under a clock that the machine moves.
"""

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, select
from tests.support.memory import open_memory
from tests.support.records import a_server
from tests.support.transactions import recover_all

from runwire.server.core.cancels import cancel_runs
from runwire.server.core.creation import Rules, create_runs
from runwire.server.core.endings import Outcome, finish_attempt, release_attempt, store
from runwire.server.core.logs import RunLog
from runwire.server.core.servers import enter
from runwire.server.core.sweeping import claim, look
from runwire.server.model.assistants import Assistant
from runwire.server.model.attempts import Attempt
from runwire.server.model.errors import AttemptLost, ThreadBusy
from runwire.server.model.events import START, Data, Event, EventId, RunEnded
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.runs import (
    MOVES,
    CancelAction,
    CancelCause,
    MultitaskStrategy,
    Run,
    RunConfig,
    RunError,
    RunSpec,
    RunState,
    StreamMode,
)
from runwire.server.model.threads import ThreadState
from runwire.server.storage import assistants, clock, events, runs, threads
from runwire.server.storage.tables import runs as runs_table

START_TIME = datetime(2026, 1, 1, tzinfo=UTC)
MAX_ATTEMPTS = 3
ENDS = (RunState.SUCCEEDED, RunState.FAILED, RunState.INTERRUPTED, RunState.TIMED_OUT)
RESTS = {
    RunState.SUCCEEDED: ThreadState.IDLE,
    RunState.CANCELLED: ThreadState.IDLE,
    RunState.INTERRUPTED: ThreadState.INTERRUPTED,
    RunState.FAILED: ThreadState.FAILED,
    RunState.TIMED_OUT: ThreadState.FAILED,
}


def encode(run_id: str, event_id: EventId, time: datetime, event: Event) -> bytes:
    state = event.body.state if isinstance(event.body, RunEnded) else None
    return json.dumps({"id": str(event_id), "end": state}).encode()


class MovableClock(datetime):
    """Stands in for `datetime` where the database's clock looks."""

    time = START_TIME

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.time


class Lives(RuleBasedStateMachine):
    """Runs on two threads and without one, on a server that may crash."""

    def __init__(self) -> None:
        super().__init__()
        MovableClock.time = START_TIME
        self.patch = mock.patch.object(clock, "datetime", MovableClock)
        self.patch.start()
        self.loop = asyncio.new_event_loop()
        self.engine = open_memory()
        self.server = new_id()
        self.executing: dict[str, tuple[Attempt, RunLog]] = {}
        self.lost: list[tuple[Attempt, RunLog]] = []
        self.states: dict[str, RunState] = {}
        self.rests: dict[str, ThreadState] = {}
        self.thread_ids = [new_id(), new_id()]
        with self.engine.begin() as connection:
            assistants.add_assistant(connection, an_assistant())
            for thread_id in self.thread_ids:
                threads.add_thread(connection, thread_id, {}, START_TIME)
                self.rests[thread_id] = ThreadState.IDLE

    def teardown(self) -> None:
        self.patch.stop()
        self.loop.close()
        self.engine.dispose()

    # What happens.

    @rule(
        wishes=st.lists(
            st.tuples(
                st.sampled_from([0, 0, 1, None]),
                st.sampled_from(list(MultitaskStrategy)),
                st.sampled_from([0, 0, 0, 3]),
            ),
            min_size=1,
            max_size=3,
        ),
        slots=st.sampled_from([0, 0, 1, 3]),
    )
    def create(self, wishes: list[tuple[int | None, MultitaskStrategy, int]], slots: int) -> None:
        specs = [self.spec(*wish) for wish in wishes]
        before = self.all_runs()
        rejecting = {s.thread_id for s in specs if s.multitask_strategy is MultitaskStrategy.REJECT}
        busy = {run.thread_id for run in before.values() if not run.state.is_final}
        rules = Rules(
            graph_ids=["graph"],
            owner=self.server,
            max_pending=1000,
            request_retention=timedelta(hours=1),
            encode=encode,
        )
        try:
            with self.engine.begin() as connection:
                creation = create_runs(connection, specs, None, rules, slots=slots)
        except ThreadBusy as error:
            refused_for = error.variables["thread_id"]
            creation = None
        if creation is None:
            assert refused_for in rejecting
            assert self.all_runs() == before, "all or none"
            return
        assert not (rejecting - {None}) & busy
        assert len(creation.started) <= slots
        stored = self.all_runs()
        assert [stored[run.run_id] for run in creation.runs] == creation.runs
        for run in creation.started:
            self.execute(run)
        for spec, run in zip(specs, creation.runs, strict=True):
            assert run.thread_id == spec.thread_id
            began = run.run_id in self.executing
            self.states[run.run_id] = RunState.RUNNING if began else RunState.PENDING

    def spec(self, thread: int | None, strategy: MultitaskStrategy, delay: int) -> RunSpec:
        return RunSpec(
            assistant_id="graph",
            thread_id=None if thread is None else self.thread_ids[thread],
            multitask_strategy=strategy,
            start_delay=timedelta(seconds=delay),
        )

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        with self.engine.begin() as connection:
            found, _ = look(connection, ["graph"])
            claimed = claim(connection, owner=self.server, graph_ids=["graph"], limit=limit)
            more, due = look(connection, ["graph"])
        assert len(claimed) <= limit
        assert found or not claimed
        assert not more or len(claimed) == limit
        assert due is None or due > timedelta(0)
        for run in claimed:
            self.execute(run)

    def execute(self, run: Run) -> None:
        assert (run.state, run.owner) == (RunState.RUNNING, self.server)
        log = RunLog(run.run_id, encode, self.loop)
        log.begin(run.attempt)
        attempt = Attempt(run.run_id, run.thread_id, run.graph_id, run.attempt, self.server)
        self.executing[run.run_id] = (attempt, log)

    @precondition(lambda self: self.executing)
    @rule(data=st.data(), stored=st.booleans())
    def speak(self, data: st.DataObject, stored: bool) -> None:
        attempt, log = self.some_attempt(data)
        log.append(attempt.number, Event(Data(StreamMode.CUSTOM, "1")))
        if stored:
            with self.engine.begin() as connection:
                store(connection, log)

    @precondition(lambda self: self.executing)
    @rule(data=st.data(), state=st.sampled_from(ENDS), abandoned=st.booleans())
    def finish(self, data: st.DataObject, state: RunState, abandoned: bool) -> None:
        attempt, log = self.some_attempt(data)
        error = RunError(type="E", message="") if RESTS[state] is ThreadState.FAILED else None
        outcome = Outcome(state=state, error=error, abandoned=abandoned)
        cancelling = self.states[attempt.run_id] is RunState.CANCELLING
        with self.engine.begin() as connection:
            finished = finish_attempt(connection, attempt, outcome, log, encode)
        del self.executing[attempt.run_id]
        assert finished.run.state is (RunState.CANCELLED if cancelling else state)
        self.rest(finished.run)

    @precondition(lambda self: self.executing)
    @rule(data=st.data(), give_back=st.booleans(), wait=st.sampled_from([0, 0, 2]))
    def release(self, data: st.DataObject, give_back: bool, wait: int) -> None:
        attempt, log = self.some_attempt(data)
        cancelling = self.states[attempt.run_id] is RunState.CANCELLING
        # A server that gives up the last attempt ends the run instead, unless it is stopping.
        give_back = give_back or self.all_runs()[attempt.run_id].attempts_used == MAX_ATTEMPTS
        with self.engine.begin() as connection:
            released = release_attempt(
                connection, attempt, log, give_back=give_back, wait=timedelta(seconds=wait)
            )
        assert released is not cancelling
        if released:
            self.lost.append(self.executing.pop(attempt.run_id))

    @precondition(lambda self: self.states)
    @rule(data=st.data(), action=st.sampled_from(CancelAction))
    def cancel(self, data: st.DataObject, action: CancelAction) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.states)))
        before = self.all_runs()[run_id]
        with self.engine.begin() as connection:
            (result,) = cancel_runs(
                connection, [run_id], action, CancelCause.CLIENT, encode
            ).results
        if before.state.is_final:
            assert result.run is None
            assert self.all_runs()[run_id] == before
        elif before.state is RunState.PENDING:
            assert result.run is not None
            assert result.run.state is RunState.CANCELLED
            self.rest(result.run)
        else:
            assert result.run is not None
            assert result.run.state is RunState.CANCELLING
            assert result.run.cancel is not None
            takes_back = CancelAction.ROLLBACK in (action, before.cancel and before.cancel.action)
            assert (result.run.cancel.action is CancelAction.ROLLBACK) == takes_back

    @rule()
    def crash(self) -> None:
        self.lost += self.executing.values()
        self.executing.clear()
        self.server = new_id()
        with self.engine.begin() as connection:
            enter(connection, a_server(server_id=self.server), None)
            ended = recover_all(connection, max_attempts=MAX_ATTEMPTS, encode=encode)
        for run in ended:
            assert run.state in (RunState.CANCELLED, RunState.FAILED)
            assert run.state is RunState.CANCELLED or run.attempts_used == MAX_ATTEMPTS
            self.rest(run)

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def wake_up_a_zombie(self, data: st.DataObject) -> None:
        attempt, log = data.draw(st.sampled_from(self.lost))
        before = self.all_runs()
        with self.engine.begin() as connection:
            assert not release_attempt(connection, attempt, log, give_back=True)
            with pytest.raises(AttemptLost):
                finish_attempt(connection, attempt, Outcome(state=ENDS[0]), log, encode)
        assert self.all_runs() == before

    @rule(seconds=st.integers(1, 3))
    def pass_time(self, seconds: int) -> None:
        MovableClock.time += timedelta(seconds=seconds)

    def some_attempt(self, data: st.DataObject) -> tuple[Attempt, RunLog]:
        return self.executing[data.draw(st.sampled_from(sorted(self.executing)))]

    def rest(self, run: Run) -> None:
        """Note what an end leaves on its thread: nothing if it never began, or is taken back."""
        if run.thread_id is not None and run.attempt > 0 and not run.rolled_back:
            self.rests[run.thread_id] = RESTS[run.state]

    # What holds.

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        for run_id, run in self.all_runs().items():
            before = self.states.get(run_id, RunState.PENDING)
            assert run.state is before or run.state in MOVES[before], (before, run.state)
            self.states[run_id] = run.state

    @invariant()
    def who_executes_is_known(self) -> None:
        active = {run_id for run_id, run in self.all_runs().items() if run.owner is not None}
        assert active == set(self.executing)

    @invariant()
    def a_thread_has_one_run_executing_or_its_first_claimable(self) -> None:
        by_thread = defaultdict(list)
        for row in self.rows(select(runs_table).where(runs_table.c.end_time.is_(None))):
            by_thread[row.thread_id].append(row)
        for row in by_thread.pop(None, []):
            assert row.runnable == (row.state == RunState.PENDING and row.wake_time is None)
        for rows in by_thread.values():
            active = [row for row in rows if row.state != RunState.PENDING]
            queue = [row for row in rows if row not in active]
            queue = [row for row in queue if row.wake_time is None or row.attempt]
            queue.sort(key=lambda row: (row.due_time, row.run_id))
            claimable = [row for row in queue[:1] if row.wake_time is None and not active]
            assert len(active) <= 1
            assert [row for row in rows if row.runnable] == claimable

    @invariant()
    def each_thread_tells_how_it_stands(self) -> None:
        busy = {run.thread_id for run in self.all_runs().values() if not run.state.is_final}
        with self.engine.begin() as connection:
            for thread_id, rest in self.rests.items():
                thread = threads.get_thread(connection, thread_id)
                assert thread is not None
                assert thread.state is (ThreadState.BUSY if thread_id in busy else rest)
                assert (thread.error is not None) == (thread.state is ThreadState.FAILED)

    @invariant()
    def events_are_in_order_and_the_end_comes_once(self) -> None:
        with self.engine.begin() as connection:
            for run in self.all_runs().values():
                check_events(connection, run)

    def all_runs(self) -> dict[str, Run]:
        with self.engine.begin() as connection:
            return {run.run_id: run for run in read_runs(connection)}

    def rows(self, query: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(query).all()


def read_runs(connection: Connection) -> list[Run]:
    everything = select(runs_table).order_by(runs_table.c.run_id)
    return [runs.read_run(row) for row in connection.execute(everything)]


def check_events(connection: Connection, run: Run) -> None:
    segments = events.read_segments(connection, run.run_id, START)
    entries = [entry for segment in segments for entry in segment.entries(START)]
    told = [json.loads(entry.data) for entry in entries]
    assert [note["id"] for note in told] == [str(entry.id) for entry in entries]
    indexes = defaultdict(list)
    for entry in entries:
        indexes[entry.id.attempt].append(entry.id.index)
    for found in indexes.values():
        assert found == list(range(1, len(found) + 1))
    assert list(indexes) == sorted(indexes)
    ends = [note["end"] for note in told if note["end"]]
    assert ends == ([run.state] if run.state.is_final else [])
    assert [entry.final for entry in entries[-1:]] == [True] * len(ends) or not ends
    assert sum(entry.final for entry in entries) == len(ends)


def an_assistant() -> Assistant:
    return Assistant(
        assistant_id=default_assistant_id("graph"),
        graph_id="graph",
        name="graph",
        description="",
        config=RunConfig(),
        context=None,
        metadata={},
        version=1,
        create_time=START_TIME,
        update_time=START_TIME,
    )


def test_runs_live_as_the_tables_say() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Lives,
        settings=settings(
            # What fails is not made smaller: that takes minutes.
            phases=[Phase.generate],
            max_examples=40,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
