"""One transaction that resolves, checks, decides and stores: what becomes of a new run, and of
those that its thread has already."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.support.records import an_assistant, at
from tests.support.transactions import MovableClock, Server

from runwire.server.model.errors import (
    AssistantNotFound,
    AssistantVersionNotFound,
    CheckpointNotFound,
    GraphNotFound,
    QueueFull,
    RequestIdReused,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    CancelAction,
    CancelCause,
    IfThreadMissing,
    MultitaskStrategy,
    OnCompletion,
    RunCheckpoint,
    RunConfig,
    RunSpec,
    RunState,
)
from runwire.server.model.threads import ThreadState
from runwire.server.storage import assistants, checkpoints, runs
from runwire.server.storage.checkpoints import NewCheckpoint, Place
from runwire.server.storage.tables import metadata

ENQUEUE, REJECT = MultitaskStrategy.ENQUEUE, MultitaskStrategy.REJECT
INTERRUPT, ROLLBACK = MultitaskStrategy.INTERRUPT, MultitaskStrategy.ROLLBACK

UNKNOWN_ID = "01a20310-494c-70a7-8fc1-f4d92fcd0a0c"


def spec(thread_id: str | None = None, **more: Any) -> RunSpec:
    return RunSpec(assistant_id="graph", thread_id=thread_id, **more)


def rows(server: Server) -> dict[str, int]:
    return {
        table.name: server.connection.scalar(select(func.count()).select_from(table)) or 0
        for table in metadata.sorted_tables
    }


# A new run.


def test_a_run_without_a_slot_waits_and_can_be_claimed(server: Server) -> None:
    creation = server.create_all([spec(metadata={"m": 1}, input={"i": 1})])
    (run,) = creation.runs
    assert (run.state, run.attempt, run.owner) == (RunState.PENDING, 0, None)
    assert run.create_time == run.due_time == run.update_time == at(0)
    assert (run.start_time, run.end_time) == (None, None)
    assert (run.metadata, run.spec.input) == ({"m": 1}, {"i": 1})
    assert run == server.row(run)
    assert creation.started == []
    assert [claimed.run_id for claimed in server.claim()] == [run.run_id]


def test_a_run_with_a_slot_starts_in_the_transaction_that_creates_it(server: Server) -> None:
    creation = server.create_all([spec()], slots=1)
    (run,) = creation.runs
    assert (run.state, run.attempt, run.owner) == (RunState.RUNNING, 1, server.server_id)
    assert run.start_time == at(0)
    assert creation.started == [run] == [server.row(run)]
    assert server.claim() == []


def test_no_more_runs_start_than_there_are_slots(server: Server) -> None:
    creation = server.create_all([spec() for _ in range(3)], slots=2)
    assert [run.state for run in creation.runs] == ["running", "running", "pending"]


def test_a_run_on_an_idle_thread_starts_and_makes_it_busy(server: Server) -> None:
    thread_id = server.thread()
    server.start(thread_id)
    assert server.get_thread(thread_id).state is ThreadState.BUSY


def test_a_run_that_waits_makes_its_thread_busy_too(server: Server) -> None:
    thread_id = server.thread()
    server.create(thread_id)
    assert server.get_thread(thread_id).state is ThreadState.BUSY


def test_an_assistant_s_config_and_context_are_merged_under_the_run_s(server: Server) -> None:
    config = RunConfig(tags=("a", "b"), recursion_limit=5, configurable={"x": 1, "y": 1})
    assistant = an_assistant(config=config, context={"x": 1, "y": 1}, metadata={"of": "assistant"})
    assistants.add_assistant(server.connection, assistant)
    own = RunConfig(tags=("b", "c"), configurable={"y": 2, "z": 2})
    wanted = RunSpec(assistant_id=assistant.assistant_id, config=own, context={"y": 2, "z": 2})
    plain = RunSpec(assistant_id=assistant.assistant_id)
    merged, unchanged = server.create_all([wanted, plain]).runs
    assert merged.config == RunConfig(
        tags=("a", "b", "c"), recursion_limit=5, configurable={"x": 1, "y": 2, "z": 2}
    )
    assert merged.context == {"x": 1, "y": 2, "z": 2}
    assert merged.metadata == {}, "only what the caller gave"
    assert merged.spec == wanted
    assert (unchanged.config, unchanged.context) == (config, {"x": 1, "y": 1})
    limited = replace(plain, config=RunConfig(recursion_limit=9))
    assert server.create_all([limited]).runs[0].config.recursion_limit == 9


def test_a_run_without_any_context_has_none(server: Server) -> None:
    assert server.create().context is None
    assert server.create(context={}).context == {}


def test_a_version_can_be_pinned(server: Server) -> None:
    first = an_assistant(context={"v": 1})
    assistants.add_assistant(server.connection, first)
    assistants.add_version(server.connection, replace(first, version=2, context={"v": 2}))
    wanted = RunSpec(assistant_id=first.assistant_id)
    newest, pinned = server.create_all([wanted, replace(wanted, assistant_version=1)]).runs
    assert (newest.assistant_version, newest.context) == (2, {"v": 2})
    assert (pinned.assistant_version, pinned.context) == (1, {"v": 1})
    with pytest.raises(AssistantVersionNotFound):
        server.create_all([replace(wanted, assistant_version=3)])


@pytest.mark.parametrize("assistant_id", ["grap", UNKNOWN_ID, "", default_assistant_id("other")])
def test_an_assistant_must_be_there(server: Server, assistant_id: str) -> None:
    with pytest.raises(AssistantNotFound):
        server.create_all([RunSpec(assistant_id=assistant_id)])


def test_an_assistant_whose_graph_is_no_longer_served_is_refused(server: Server) -> None:
    with pytest.raises(GraphNotFound):
        server.create_all([RunSpec(assistant_id=default_assistant_id("graph"))], graph_ids=["x"])


# Threads.


def test_a_missing_thread_is_refused_or_created(server: Server) -> None:
    thread_id = new_id()
    with pytest.raises(ThreadNotFound):
        server.create(thread_id)
    run = server.create(thread_id, if_thread_missing=IfThreadMissing.CREATE)
    assert run.thread_id == server.get_thread(thread_id).thread_id == thread_id


def test_a_thread_that_is_there_is_not_created_again(server: Server) -> None:
    thread_id = server.thread()
    before = server.get_thread(thread_id)
    server.create(thread_id, if_thread_missing=IfThreadMissing.CREATE)
    assert server.get_thread(thread_id).metadata == before.metadata


def test_a_stateless_run_has_a_thread_only_if_it_is_kept(server: Server) -> None:
    assert server.create().thread_id is None
    kept = server.create(on_completion=OnCompletion.KEEP)
    assert kept.thread_id is not None
    assert kept.spec.thread_id is None, "as it was asked"
    assert server.get_thread(kept.thread_id).state is ThreadState.BUSY


def test_a_checkpoint_must_be_one_of_the_thread(server: Server) -> None:
    thread_id, other = server.thread(), server.thread()
    for place in (Place(thread_id, "", "c1"), Place(thread_id, "inner:1", "c2")):
        new = NewCheckpoint(place, None, "", "graph", "msgpack", b"", {})
        checkpoints.add_checkpoint(server.connection, new, None)
    there = [("c1", ""), ("c2", "inner:1"), ("", "inner:1"), ("", "")]
    for checkpoint_id, namespace in there:
        wanted = RunCheckpoint(checkpoint_id=checkpoint_id, checkpoint_ns=namespace)
        server.create(thread_id, checkpoint=wanted)
    for place in [(thread_id, "c2", ""), (thread_id, "", "inner:2"), (other, "c1", "")]:
        wanted = RunCheckpoint(checkpoint_id=place[1], checkpoint_ns=place[2])
        with pytest.raises(CheckpointNotFound):
            server.create(place[0], checkpoint=wanted)


# Runs of one thread, under each strategy.


def test_enqueued_runs_execute_one_after_the_other_in_their_order(server: Server) -> None:
    thread_id = server.thread()
    queued = [server.create(thread_id, slots=5) for _ in range(4)]
    assert server.states(*queued) == ["running", "pending", "pending", "pending"]
    executed = []
    run = queued[0]
    for _ in range(3):
        assert server.claim() == [], "one at a time"
        assert server.finish(run).promoted
        (run,) = server.claim()
        executed.append(run.run_id)
    assert executed == [run.run_id for run in queued[1:]]
    assert not server.finish(run).promoted
    assert server.get_thread(thread_id).state is ThreadState.IDLE


def test_a_run_does_not_start_before_those_that_wait(server: Server) -> None:
    thread_id = server.thread()
    first = server.create(thread_id)
    second = server.create(thread_id, slots=5)
    assert second.state is RunState.PENDING
    assert [run.run_id for run in server.claim()] == [first.run_id]


def test_a_busy_thread_delays_no_other(server: Server) -> None:
    busy, other = server.thread(), server.thread()
    server.start(busy)
    for _ in range(3):
        server.create(busy)
    waiting = [server.create(other), server.create()]
    assert {run.run_id for run in server.claim()} == {run.run_id for run in waiting}


@pytest.mark.parametrize("busy_with", ["pending", "running", "delayed", "cancelling"])
def test_a_run_is_refused_on_a_thread_that_has_another_in_flight(
    server: Server, busy_with: str
) -> None:
    thread_id = server.thread()
    delay = timedelta(seconds=busy_with == "delayed")
    other = server.create(
        thread_id, slots=busy_with in ("running", "cancelling"), start_delay=delay
    )
    if busy_with == "cancelling":
        server.cancel(other)
    before = rows(server)
    with pytest.raises(ThreadBusy):
        server.create(thread_id, multitask_strategy=REJECT)
    assert rows(server) == before


def test_a_run_that_would_be_refused_is_taken_on_an_idle_thread(server: Server) -> None:
    thread_id = server.thread()
    server.finish(server.start(thread_id, multitask_strategy=REJECT))
    server.start(thread_id, multitask_strategy=REJECT)
    server.create(multitask_strategy=REJECT)


@pytest.mark.parametrize("strategy", [INTERRUPT, ROLLBACK])
def test_all_that_is_in_flight_is_cancelled_in_one_transaction(
    server: Server, strategy: MultitaskStrategy
) -> None:
    thread_id, elsewhere = server.thread(), server.thread()
    running = server.start(thread_id)
    pending = [server.create(thread_id), server.create(thread_id)]
    delayed = server.create(thread_id, start_delay=timedelta(seconds=5))
    others = [server.create(elsewhere), server.create()]
    creation = server.create_all([spec(thread_id, multitask_strategy=strategy)], slots=5)
    (new,) = creation.runs
    assert server.states(running, *pending, delayed) == ["cancelling"] + ["cancelled"] * 3
    assert server.states(new, *others) == ["pending"] * 3, "it waits until the code has stopped"
    assert creation.stopping == [running.run_id]
    assert {run.run_id for run in creation.ended} == {run.run_id for run in [*pending, delayed]}
    for run in [running, *pending, delayed]:
        cancel = server.row(run).cancel
        assert cancel is not None
        assert (cancel.action, cancel.cause) == (strategy.value, CancelCause.MULTITASK)
        assert cancel.request_time == at(0)
    for run in [*pending, delayed]:
        assert server.events(run) == ["0-1 RunEnded"]
        assert server.row(run).rolled_back == (strategy is ROLLBACK)
    server.finish(running)
    assert new.run_id in {run.run_id for run in server.claim()}
    assert server.row(running).rolled_back == (strategy is ROLLBACK)


def test_a_run_starts_at_once_when_only_pending_ones_had_to_be_cancelled(server: Server) -> None:
    thread_id = server.thread()
    pending = server.create(thread_id)
    new = server.start(thread_id, multitask_strategy=INTERRUPT)
    assert server.states(pending, new) == ["cancelled", "running"]


def test_a_rollback_replaces_an_interrupt_that_is_under_way_but_not_the_reverse(
    server: Server,
) -> None:
    thread_id = server.thread()
    running = server.start(thread_id)
    actions = []
    for strategy in (INTERRUPT, ROLLBACK, INTERRUPT):
        server.create(thread_id, multitask_strategy=strategy)
        cancel = server.row(running).cancel
        assert cancel is not None
        actions.append(cancel.action)
    assert actions == [CancelAction.INTERRUPT, CancelAction.ROLLBACK, CancelAction.ROLLBACK]


# Delays.


def test_a_delayed_run_does_not_start_before_its_time(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    delayed = server.create(slots=5, start_delay=timedelta(seconds=2))
    on_thread = server.create(server.thread(), slots=5, start_delay=timedelta(seconds=2))
    assert server.states(delayed, on_thread) == ["pending", "pending"]
    assert delayed.due_time == at(2)
    moving_clock.time = at(1.9)
    assert server.claim() == []
    moving_clock.time = at(2)
    assert {run.run_id for run in server.claim()} == {delayed.run_id, on_thread.run_id}


def test_later_runs_of_the_thread_overtake_a_delayed_one(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread()
    delayed = server.create(thread_id, start_delay=timedelta(seconds=2))
    overtaking = server.start(thread_id)
    moving_clock.time = at(3)
    later = server.create(thread_id)
    assert server.claim() == []
    server.finish(overtaking)
    (first,) = server.claim()
    assert first.run_id == delayed.run_id, "it was due before the last one was created"
    server.finish(first)
    assert [run.run_id for run in server.claim()] == [later.run_id]


def test_a_run_whose_delay_has_passed_takes_the_first_place_from_one_that_could_be_claimed(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread()
    delayed = server.create(thread_id, start_delay=timedelta(seconds=2))
    moving_clock.time = at(3)
    claimable = server.create(thread_id)
    assert [run.run_id for run in server.claim()] == [delayed.run_id], "and nothing fails"
    assert server.states(claimable) == ["pending"]
    server.finish(server.row(delayed))
    assert [run.run_id for run in server.claim()] == [claimable.run_id]


@pytest.mark.parametrize("way", ["lost", "handed back", "delayed"])
def test_a_run_that_has_begun_goes_on_before_one_that_came_first_by_the_clock(
    server: Server, moving_clock: type[MovableClock], way: str
) -> None:
    thread_id = server.thread()
    moving_clock.time = at(3)
    begun = server.start(thread_id)
    moving_clock.time = at(2)  # it has waited for its turn to be created, or was due already
    earlier = server.create(thread_id)
    moving_clock.time = at(4)
    if way == "lost":
        server.crash()
    else:
        server.release(begun, wait=5 if way == "delayed" else 0)
    if way == "delayed":
        assert server.claim() == []
        moving_clock.time = at(9)
    assert [run.run_id for run in server.claim()] == [begun.run_id]
    server.finish(server.row(begun))
    assert [run.run_id for run in server.claim()] == [earlier.run_id]


# Limits.


def test_more_runs_than_may_wait_are_refused(server: Server) -> None:
    for _ in range(2):
        server.create()
    with pytest.raises(QueueFull):
        server.create_all([spec()], max_pending=2)
    assert server.create_all([spec()], max_pending=2, slots=1).started, "it does not wait"
    assert server.create_all([spec()], max_pending=3).runs


# Batches.


def test_a_batch_is_created_in_its_order(server: Server) -> None:
    thread_id = server.thread()
    created = server.create_all([spec(thread_id), spec(), spec(thread_id)], slots=9).runs
    assert [run.state for run in created] == ["running", "running", "pending"]
    assert [run.run_id for run in created] == sorted(run.run_id for run in created)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (spec(new_id()), ThreadNotFound),
        (RunSpec(assistant_id="nonsense"), AssistantNotFound),
        (spec(assistant_version=7), AssistantVersionNotFound),
    ],
)
def test_a_batch_with_one_wrong_specification_leaves_nothing(
    server: Server, wrong: RunSpec, expected: type[Exception]
) -> None:
    thread_id = server.thread()
    running = server.start(thread_id)
    before = rows(server)
    specs = [
        spec(),
        spec(new_id(), if_thread_missing=IfThreadMissing.CREATE),
        spec(thread_id, multitask_strategy=INTERRUPT),
        wrong,
    ]
    request = RequestKey("BatchCreateRuns", "id", b"hash")
    with pytest.raises(expected):
        server.create_all(specs, request=request)
    assert rows(server) == before
    assert server.states(running) == ["running"]


def test_specifications_of_a_batch_treat_each_other_as_if_each_came_alone(server: Server) -> None:
    thread_id = server.thread()
    creation = server.create_all(
        [spec(thread_id), spec(thread_id), spec(thread_id, multitask_strategy=INTERRUPT)], slots=1
    )
    assert [run.state for run in creation.runs] == ["cancelling", "cancelled", "pending"]
    assert creation.runs == [server.row(run) for run in creation.runs]
    assert [run.run_id for run in creation.started] == creation.stopping
    before = rows(server)
    with pytest.raises(ThreadBusy):
        server.create_all([spec(other := server.thread()), spec(other, multitask_strategy=REJECT)])
    assert rows(server)["runs"] == before["runs"]


# Request ids.

KEY = RequestKey("CreateRun", "id", b"hash")


def test_a_repeated_request_gives_the_same_runs_and_changes_nothing(server: Server) -> None:
    first = server.create_all([spec(), spec()], request=KEY, slots=1)
    assert not first.replayed
    server.finish(first.runs[0])
    before = rows(server)
    again = server.create_all([spec(), spec()], request=KEY, slots=9)
    assert again.replayed
    assert again.runs == [server.row(run) for run in first.runs]
    assert (again.started, again.stopping, again.ended) == ([], [], [])
    assert rows(server) == before


def test_a_request_id_with_another_body_is_refused(server: Server) -> None:
    server.create_all([spec()], request=KEY)
    with pytest.raises(RequestIdReused):
        server.create_all([spec()], request=RequestKey("CreateRun", "id", b"other"))


def test_a_request_id_counts_for_its_method_alone(server: Server) -> None:
    first = server.create_all([spec()], request=KEY)
    other = server.create_all([spec()], request=RequestKey("RunWait", "id", b"other"))
    assert not other.replayed
    assert other.runs != first.runs


def test_a_request_id_is_forgotten_after_its_time(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    retention = {"request_retention": timedelta(seconds=10)}
    first = server.create_all([spec()], request=KEY, **retention)
    moving_clock.time = at(9)
    assert server.create_all([spec()], request=KEY, **retention).runs == first.runs
    moving_clock.time = at(10)
    again = server.create_all(
        [spec()], request=RequestKey("CreateRun", "id", b"other"), **retention
    )
    assert not again.replayed


def test_a_request_that_failed_is_not_remembered(server: Server) -> None:
    with pytest.raises(ThreadNotFound):
        server.create_all([spec(new_id())], request=KEY)
    assert not server.create_all([spec()], request=KEY).replayed


def test_a_repeated_request_is_answered_with_a_run_that_was_taken_back(server: Server) -> None:
    (run,) = server.create_all([spec()], request=KEY).runs
    server.cancel(run, action=CancelAction.ROLLBACK)
    (again,) = server.create_all([spec()], request=KEY).runs
    assert (again.run_id, again.rolled_back) == (run.run_id, True)


def test_a_repeated_request_whose_run_was_deleted_creates_none(server: Server) -> None:
    (run,) = server.create_all([spec()], request=KEY, slots=1).runs
    server.finish(run)
    runs.delete_run(server.connection, run.run_id)
    with pytest.raises(RunNotFound):
        server.create_all([spec()], request=KEY)
