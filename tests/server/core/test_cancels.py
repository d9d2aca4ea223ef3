"""A cancel is a committed intent first: what it does to a run, wherever the run is in its life,
and whom a bulk cancel means."""

from datetime import timedelta

import pytest
from tests.support.records import at
from tests.support.transactions import MovableClock, Server

from runwire.server.core.cancels import Cancellation, choose, list_candidates
from runwire.server.model.errors import RunFinished, RunNotFound, RunRolledBack
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.runs import Cancel, CancelAction, CancelCause, Interrupt, Run, RunState
from runwire.server.model.threads import ThreadState
from runwire.server.storage.runs import RunFilter

INTERRUPT, ROLLBACK = CancelAction.INTERRUPT, CancelAction.ROLLBACK


def test_a_pending_run_is_cancelled_at_once(server: Server) -> None:
    run = server.create(server.thread())
    (result,) = server.cancel(run)
    assert result.run == server.row(run)
    assert result.run.state is RunState.CANCELLED
    assert result.run.end_time == at(0)
    assert result.run.cancel == Cancel(
        action=INTERRUPT, cause=CancelCause.CLIENT, request_time=at(0)
    )
    assert server.events(run) == ["0-1 RunEnded"]
    assert server.get_thread(run.thread_id).state is ThreadState.IDLE
    assert server.claim() == []


def test_a_delayed_run_is_cancelled_at_once_and_never_wakes(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    run = server.create(start_delay=timedelta(seconds=1))
    server.cancel(run)
    moving_clock.time = at(2)
    assert server.claim() == []
    assert server.states(run) == ["cancelled"]


def test_a_running_run_is_cancelling_until_its_code_has_stopped(server: Server) -> None:
    thread_id = server.thread()
    run, waiting = server.start(thread_id), server.create(thread_id)
    (result,) = server.cancel(run)
    assert result.run is not None
    assert (result.run.state, result.run.owner) == (RunState.CANCELLING, server.server_id)
    assert server.claim() == [], "its thread is not free yet"
    finished = server.finish(run)
    assert (finished.run.state, finished.promoted) == (RunState.CANCELLED, True)
    assert [claimed.run_id for claimed in server.claim()] == [waiting.run_id]


@pytest.mark.parametrize("action", CancelAction)
def test_cancelling_again_changes_nothing(
    server: Server, action: CancelAction, moving_clock: type[MovableClock]
) -> None:
    run = server.start()
    server.cancel(run, action=action)
    before = server.row(run)
    moving_clock.time = at(1)
    (result,) = server.cancel(run, action=action)
    assert result.run == before == server.row(run)


def test_an_interrupt_can_become_a_rollback_and_not_the_reverse(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    run = server.start(server.thread())
    server.cancel(run)
    moving_clock.time = at(1)
    server.cancel(run, action=ROLLBACK)
    moving_clock.time = at(2)
    server.cancel(run, action=INTERRUPT)
    cancel = server.row(run).cancel
    assert cancel == Cancel(action=ROLLBACK, cause=CancelCause.CLIENT, request_time=at(1))


def test_what_cannot_be_cancelled_is_told_and_hinders_no_other(server: Server) -> None:
    ended, taken_back, running = server.start(), server.create(), server.start()
    server.finish(ended, RunState.FAILED)
    server.cancel(taken_back, action=ROLLBACK)
    before = server.row(ended)
    unknown = server.create()
    object.__setattr__(unknown, "run_id", new_id())
    results = server.cancel(ended, taken_back, unknown, running)
    errors = [type(result.error) for result in results]
    assert errors == [RunFinished, RunRolledBack, RunNotFound, type(None)]
    assert [result.run is None for result in results] == [True, True, True, False]
    assert server.row(ended) == before
    cancellation = Cancellation(results)
    assert (cancellation.ended, cancellation.stopping) == ([], [running.run_id])


def test_a_pending_run_that_is_taken_back_leaves_its_thread_as_it_was(server: Server) -> None:
    thread_id = server.thread()
    server.finish(server.start(thread_id), RunState.INTERRUPTED, values="1")
    before = server.get_thread(thread_id)
    run = server.create(thread_id)
    server.cancel(run, action=ROLLBACK)
    assert server.row(run).rolled_back
    after = server.get_thread(thread_id)
    assert (after.state, after.values) == (before.state, before.values)


def test_a_cancelled_run_that_never_began_leaves_its_thread_as_it_was(server: Server) -> None:
    thread_id = server.thread()
    question = (Interrupt(interrupt_id="i", value="1"),)
    server.finish(server.start(thread_id), RunState.INTERRUPTED, values="1", interrupts=question)
    before = server.get_thread(thread_id)
    server.cancel(server.create(thread_id))
    after = server.get_thread(thread_id)
    assert (after.state, after.interrupts) == (before.state, before.interrupts)


def test_a_cancelled_run_that_had_begun_leaves_its_thread_idle(server: Server) -> None:
    thread_id = server.thread()
    server.finish(server.start(thread_id), RunState.INTERRUPTED, values="1")
    run = server.start(thread_id)
    server.release(run)
    server.cancel(run)
    assert server.states(run) == ["cancelled"]
    thread = server.get_thread(thread_id)
    assert (thread.state, thread.interrupts, thread.values) == (ThreadState.IDLE, (), "1")


def test_a_thread_stays_busy_when_a_waiting_run_of_it_is_cancelled(server: Server) -> None:
    thread_id = server.thread()
    running, waiting = server.start(thread_id), server.create(thread_id)
    server.cancel(waiting)
    assert server.get_thread(thread_id).state is ThreadState.BUSY
    server.finish(running)
    assert server.get_thread(thread_id).state is ThreadState.IDLE


def test_a_thread_is_idle_when_all_its_runs_were_cancelled_one_way_or_another(
    server: Server,
) -> None:
    thread_id = server.thread()
    running, waiting = server.start(thread_id), server.create(thread_id)
    server.cancel(running)
    server.cancel(waiting, action=ROLLBACK)
    server.finish(running, RunState.CANCELLED)
    assert server.states(running, waiting) == ["cancelled", "cancelled"]
    assert server.get_thread(thread_id).state is ThreadState.IDLE


# Whom a bulk cancel means.


@pytest.fixture
def some(server: Server) -> dict[str, Run]:
    """A run in each state that matters, all of one thread where they have one."""
    thread_id = server.thread()
    ended = server.start(thread_id, metadata={"team": "a"})
    server.finish(ended)
    some = {
        "ended": ended,
        "running": server.start(thread_id, metadata={"team": "a"}),
        "pending": server.create(thread_id, metadata={"team": "b"}),
        "stateless": server.create(metadata={"team": "a", "more": 1}),
        "taken back": server.create(),
    }
    server.cancel(some["taken back"], action=ROLLBACK)
    return some


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (RunFilter(metadata={"team": "a"}), ["running", "stateless"]),
        (RunFilter(states=[RunState.PENDING]), ["pending", "stateless"]),
        (RunFilter(states=[RunState.PENDING, RunState.SUCCEEDED]), ["pending", "stateless"]),
        (RunFilter(states=[RunState.SUCCEEDED]), []),
        (RunFilter(states=[RunState.CANCELLED]), []),
        (RunFilter(metadata={"team": "b"}, states=[RunState.RUNNING]), []),
        (
            RunFilter(assistant_id=default_assistant_id("graph")),
            ["running", "pending", "stateless"],
        ),
        (RunFilter(assistant_id=new_id()), []),
    ],
)
def test_a_filter_means_what_is_in_flight_in_the_order_of_creation(
    server: Server, some: dict[str, Run], wanted: RunFilter, names: list[str]
) -> None:
    expected = [some[name].run_id for name in names]
    assert list_candidates(server.connection, wanted) == expected
    assert choose(server.connection, expected, wanted) == expected


def test_a_thread_means_all_that_is_in_flight_on_it(server: Server, some: dict[str, Run]) -> None:
    wanted = RunFilter(thread_id=some["running"].thread_id or "")
    expected = [some["running"].run_id, some["pending"].run_id]
    assert list_candidates(server.connection, wanted) == expected


def test_named_runs_are_meant_in_the_order_in_which_they_are_named(
    server: Server, some: dict[str, Run]
) -> None:
    unknown = new_id()
    names = [some[name].run_id for name in ("stateless", "ended", "taken back", "running")]
    wanted = RunFilter(run_ids=[names[0], unknown, *names])
    assert list_candidates(server.connection, wanted) == [names[0], unknown, *names[1:]]


def test_named_runs_that_do_not_pass_another_filter_are_not_meant(
    server: Server, some: dict[str, Run]
) -> None:
    unknown = new_id()
    named = [some["taken back"].run_id, unknown, *(run.run_id for run in some.values())]

    def meant(**filters: object) -> list[str]:
        found = list_candidates(server.connection, RunFilter(run_ids=named, **filters))
        assert found[:2] == named[:2], "what is not there is answered for in any case"
        return [name for name, run in some.items() if run.run_id in found[2:]]

    assert meant(metadata={"team": "a"}) == ["ended", "running", "stateless"]
    assert meant(states=[RunState.SUCCEEDED, RunState.RUNNING]) == ["ended", "running"]
    assert meant(thread_id=some["pending"].thread_id) == ["ended", "running", "pending"]
    assert meant(thread_id=new_id()) == []


def test_a_run_that_no_longer_passes_when_it_is_its_turn_is_left_alone(
    server: Server, some: dict[str, Run]
) -> None:
    wanted = RunFilter(states=[RunState.PENDING])
    candidates = list_candidates(server.connection, wanted)
    (claimed,) = server.claim()
    assert claimed.run_id in candidates
    still = choose(server.connection, candidates, wanted)
    assert still == [run_id for run_id in candidates if run_id != claimed.run_id]
