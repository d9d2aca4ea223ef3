"""How attempts and runs end: the run, its last events, its thread and its queue move together."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from tests.support.records import at
from tests.support.transactions import MovableClock, Server, encode

from runwire.server.core.endings import ATTEMPTS_EXHAUSTED, leave_attempt, store
from runwire.server.model.errors import AttemptLost
from runwire.server.model.events import EventId
from runwire.server.model.runs import (
    CancelAction,
    Interrupt,
    Run,
    RunError,
    RunState,
)
from runwire.server.model.threads import ThreadState
from runwire.server.storage import checkpoints
from runwire.server.storage.checkpoint_writes import Write
from runwire.server.storage.checkpoints import NewCheckpoint, Place
from runwire.server.storage.tables import checkpoints as checkpoints_table

QUESTION = (Interrupt(interrupt_id="i", value='"go on?"'),)
ERROR = RunError(type="ValueError", message="no", attempt=1)


# Ends of attempts.


def test_a_run_that_succeeded_has_its_output_and_its_thread_the_values(server: Server) -> None:
    run = server.start(server.thread())
    finished = server.finish(run, values='{"a":1}')
    assert finished.run == server.row(run)
    assert (finished.run.state, finished.run.output) == (RunState.SUCCEEDED, '{"a":1}')
    assert (finished.run.owner, finished.run.end_time) == (None, at(0))
    thread = server.get_thread(run.thread_id)
    assert (thread.state, thread.values) == (ThreadState.IDLE, '{"a":1}')


def test_a_run_that_paused_leaves_its_questions(server: Server) -> None:
    run = server.start(server.thread())
    ended = server.finish(run, RunState.INTERRUPTED, values="1", interrupts=QUESTION).run
    assert (ended.interrupts, ended.output) == (QUESTION, "1")
    thread = server.get_thread(run.thread_id)
    assert (thread.state, thread.interrupts) == (ThreadState.INTERRUPTED, QUESTION)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.TIMED_OUT])
def test_a_run_that_failed_has_no_output_and_its_thread_the_error(
    server: Server, state: RunState
) -> None:
    run = server.start(server.thread())
    ended = server.finish(run, state, values="1", error=ERROR).run
    assert (ended.error, ended.output) == (ERROR, None)
    thread = server.get_thread(run.thread_id)
    assert (thread.state, thread.error, thread.values) == (ThreadState.FAILED, ERROR, "1")


def test_what_a_run_leaves_replaces_what_the_one_before_left(server: Server) -> None:
    thread_id = server.thread()
    server.finish(server.start(thread_id), RunState.INTERRUPTED, interrupts=QUESTION)
    server.finish(server.start(thread_id), RunState.FAILED, error=ERROR)
    failed = server.get_thread(thread_id)
    assert (failed.interrupts, failed.error) == ((), ERROR)
    server.finish(server.start(thread_id))
    assert server.get_thread(thread_id).error is None


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.INTERRUPTED])
def test_a_committed_cancel_beats_any_other_end(server: Server, state: RunState) -> None:
    run = server.start(server.thread())
    server.cancel(run)
    ended = server.finish(run, state, values="1", interrupts=QUESTION, abandoned=True).run
    assert ended.cancel is not None
    assert ended.cancel.abandoned
    assert (ended.state, ended.error, ended.output) == (RunState.CANCELLED, None, None)
    thread = server.get_thread(run.thread_id)
    assert (thread.state, thread.interrupts) == (ThreadState.INTERRUPTED, QUESTION)
    assert thread.values == "1", "the state that the run had reached"


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.TIMED_OUT])
def test_a_run_that_fails_leaves_the_questions_that_are_open(
    server: Server, state: RunState
) -> None:
    run = server.start(server.thread())
    ended = server.finish(run, state, interrupts=QUESTION, error=ERROR).run
    assert ended.interrupts == ()
    thread = server.get_thread(run.thread_id)
    assert (thread.state, thread.interrupts) == (ThreadState.FAILED, QUESTION)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_run_that_changed_nothing_leaves_its_thread_s_questions(
    server: Server, state: RunState
) -> None:
    thread_id = server.thread()
    server.finish(server.start(thread_id), RunState.INTERRUPTED, values="1", interrupts=QUESTION)
    run = server.start(thread_id)
    if state is RunState.CANCELLED:
        server.cancel(run)
    server.finish(run, state, interrupts=None, error=ERROR if state is RunState.FAILED else None)
    thread = server.get_thread(thread_id)
    rest = ThreadState.FAILED if state is RunState.FAILED else ThreadState.INTERRUPTED
    assert (thread.state, thread.interrupts, thread.values) == (rest, QUESTION, "1")


def test_a_thread_whose_run_was_cancelled_is_idle_if_no_question_is_open(server: Server) -> None:
    run = server.start(server.thread())
    server.cancel(run)
    server.finish(run, RunState.CANCELLED)
    assert server.get_thread(run.thread_id).state is ThreadState.IDLE


def test_an_attempt_that_was_lost_changes_nothing(server: Server) -> None:
    run = server.start(server.thread())
    server.speak(run)
    server.crash()
    (claimed,) = server.claim()
    before = server.row(run)
    for stale in (run, replace(claimed, owner=run.owner), replace(claimed, attempt=1)):
        with pytest.raises(AttemptLost):
            server.finish(stale)
        assert not server.release(stale)
    assert server.row(run) == before
    assert server.events(run) == []


def test_a_run_ends_once(server: Server) -> None:
    run = server.start()
    server.finish(run)
    with pytest.raises(AttemptLost):
        server.finish(run, RunState.FAILED)
    assert not server.release(run)
    assert server.events(run)[-1:] == ["1-2 RunEnded"]


# Last events.


def test_the_last_event_comes_after_all_that_the_attempt_said(server: Server) -> None:
    run = server.start()
    server.speak(run, 2)
    finished = server.finish(run)
    assert server.events(run) == ["1-1 Data", "1-2 Data", "1-3 RunEnded"]
    assert [entry.id for entry in finished.entries] == [EventId(1, 3)]
    assert finished.entries[-1].final


def test_what_was_stored_before_is_not_stored_again(server: Server) -> None:
    run = server.start()
    server.speak(run, 2)
    store(server.connection, server.log(run))
    server.speak(run)
    server.finish(run)
    assert server.events(run) == ["1-1 Data", "1-2 Data", "1-3 Data", "1-4 RunEnded"]


def test_an_attempt_that_was_stopped_before_it_spoke_still_shows_that_it_began(
    server: Server,
) -> None:
    run = server.start()
    server.cancel(run)
    finished = server.finish(run)
    assert server.events(run) == ["1-1 AttemptStarted", "1-2 RunEnded"]
    assert [entry.final for entry in finished.entries] == [False, True]


def test_code_that_was_left_behind_cannot_speak_after_the_end(server: Server) -> None:
    run = server.start()
    server.speak(run)
    server.finish(run)
    with pytest.raises(AttemptLost):
        server.speak(run)
    assert server.log(run).last == EventId(1, 1)


def test_a_transaction_that_is_run_again_stores_everything_once(server: Server) -> None:
    run = server.start()
    server.speak(run, 2)
    failed = server.connection.begin_nested()
    server.finish(run)
    failed.rollback()
    assert server.events(run) == []
    server.finish(run)
    assert server.events(run) == ["1-1 Data", "1-2 Data", "1-3 RunEnded"]


def test_storing_goes_on_from_where_the_database_really_is(server: Server) -> None:
    run = server.start()
    log = server.log(run)
    server.speak(run)
    assert store(server.connection, log) == EventId(1, 1)
    server.speak(run)
    failed = server.connection.begin_nested()
    store(server.connection, log)
    failed.rollback()
    server.speak(run)
    assert store(server.connection, log) == EventId(1, 3)
    assert store(server.connection, log) == EventId(1, 3)
    assert server.events(run) == ["1-1 Data", "1-2 Data", "1-3 Data"]


# Attempts that are given up.


def test_an_attempt_can_be_given_up_while_its_code_is_still_at_work(server: Server) -> None:
    run = server.start(server.thread())
    server.speak(run)
    log = server.log(run)
    assert leave_attempt(server.connection, server.attempt(run), log, encode) is None
    left = server.row(run)
    assert (left.state, left.attempts_used) == (RunState.PENDING, 0)
    assert server.events(run) == ["1-1 Data"]
    with pytest.raises(AttemptLost):
        server.speak(run)
    with pytest.raises(AttemptLost):
        server.finish(run)
    assert leave_attempt(server.connection, server.attempt(run), log, encode) is None


def test_a_cancelled_run_ends_when_its_attempt_is_given_up(server: Server) -> None:
    thread_id = server.thread()
    run, waiting = server.start(thread_id), server.create(thread_id)
    server.cancel(run)
    ended = leave_attempt(server.connection, server.attempt(run), server.log(run), encode)
    assert ended is not None
    assert ended.cancel is not None
    assert (ended.state, ended.cancel.abandoned) == (RunState.CANCELLED, True)
    assert [claimed.run_id for claimed in server.claim()] == [waiting.run_id]


def test_an_attempt_that_is_handed_back_is_stored_and_does_not_count(server: Server) -> None:
    run = server.start(server.thread())
    server.speak(run)
    assert server.release(run)
    released = server.row(run)
    assert (released.state, released.owner) == (RunState.PENDING, None)
    assert (released.attempt, released.attempts_used) == (1, 0)
    (again,) = server.claim()
    assert (again.run_id, again.attempt) == (run.run_id, 2), "its events need ids of their own"
    server.speak(again)
    server.finish(again)
    assert server.events(run) == ["1-1 Data", "2-1 Data", "2-2 RunEnded"]


def test_a_run_that_is_handed_back_goes_before_those_that_were_created_later(
    server: Server,
) -> None:
    thread_id = server.thread()
    run, later = server.start(thread_id), server.create(thread_id)
    server.release(run)
    assert [claimed.run_id for claimed in server.claim()] == [run.run_id]
    assert server.states(later) == ["pending"]
    assert server.get_thread(thread_id).state is ThreadState.BUSY


def test_an_attempt_that_counts_can_make_the_next_one_wait(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread()
    run, later = server.start(thread_id), server.create(thread_id)
    server.release(run, give_back=False, wait=2)
    assert server.row(run).attempts_used == 1
    assert server.claim() == [], "and the one behind does not overtake it"
    moving_clock.time = at(2)
    assert [claimed.run_id for claimed in server.claim()] == [run.run_id]
    assert server.states(later) == ["pending"]


def test_an_attempt_of_a_run_that_is_being_cancelled_is_not_handed_back(server: Server) -> None:
    run = server.start()
    server.cancel(run)
    assert not server.release(run)
    assert server.states(run) == ["cancelling"]


# Runs whose server is gone.


def test_an_orphan_goes_back_to_its_queue(server: Server) -> None:
    thread_id = server.thread()
    run, later, stateless = server.start(thread_id), server.create(thread_id), server.start()
    assert server.crash() == []
    assert server.states(run, later, stateless) == ["pending"] * 3
    assert {claimed.run_id for claimed in server.claim()} == {run.run_id, stateless.run_id}
    assert server.row(run).attempts_used == 2


def crash_until_it_fails(server: Server, run: Run, moving_clock: type[MovableClock]) -> Run:
    for seconds in range(1, 9):
        moving_clock.time = at(10 * seconds)
        if ended := server.crash():
            (found,) = ended
            assert found.run_id == run.run_id
            return found
        server.claim()
    raise AssertionError("it never fails")


def test_an_orphan_fails_when_its_attempts_are_used_up(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread()
    run, later = server.start(thread_id), server.create(thread_id)
    ended = crash_until_it_fails(server, run, moving_clock)
    assert (ended.state, ended.attempt) == (RunState.FAILED, 3)
    assert ended.error is not None
    assert (ended.error.type, ended.error.attempt) == (ATTEMPTS_EXHAUSTED, 3)
    assert server.events(run) == ["4-1 RunEnded"]
    assert server.get_thread(thread_id).state is ThreadState.BUSY
    (claimed,) = server.claim()
    assert claimed.run_id == later.run_id
    server.release(claimed)
    server.cancel(later, action=CancelAction.ROLLBACK)
    thread = server.get_thread(thread_id)
    assert (thread.state, thread.error) == (ThreadState.FAILED, ended.error)


def test_attempts_that_were_handed_back_do_not_use_up_an_orphan_s(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    run = server.start()
    for _ in range(5):
        server.release(run)
        (run,) = server.claim()
    assert crash_until_it_fails(server, run, moving_clock).attempt == 8


@pytest.mark.parametrize("action", CancelAction)
def test_a_cancel_is_carried_out_though_the_server_is_gone(
    server: Server, action: CancelAction
) -> None:
    thread_id = server.thread()
    server.finish(server.start(thread_id), RunState.INTERRUPTED, values="1", interrupts=QUESTION)
    run = server.start(thread_id)
    server.speak(run, 3)
    store(server.connection, server.log(run))
    server.cancel(run, action=action)
    (ended,) = server.crash()
    assert ended == server.row(run)
    assert (ended.state, ended.rolled_back) == (
        RunState.CANCELLED,
        action is CancelAction.ROLLBACK,
    )
    assert server.events(run) == ["1-1 Data", "1-2 Data", "1-3 Data", "2-1 RunEnded"]
    thread = server.get_thread(thread_id)
    assert (thread.state, thread.interrupts) == (ThreadState.INTERRUPTED, QUESTION)
    assert thread.values == "1"


def test_the_end_of_an_orphan_comes_after_anything_that_a_reader_may_have_seen(
    server: Server,
) -> None:
    run = server.start()
    server.speak(run)
    store(server.connection, server.log(run))
    server.speak(run, 5)
    server.cancel(run)
    server.crash()
    assert server.events(run) == ["1-1 Data", "2-1 RunEnded"]


# Taking back.


def leave_checkpoint(server: Server, run: Run, checkpoint_id: str) -> None:
    thread_id = run.thread_id or ""
    for namespace in ("", "inner:1"):
        place = Place(thread_id, namespace, checkpoint_id)
        new = NewCheckpoint(place, None, run.run_id, "graph", "msgpack", b"", {})
        checkpoints.add_checkpoint(server.connection, new, None)
        write = Write("task", "", 0, "channel", "msgpack", b"")
        checkpoints.add_writes(server.connection, place, run.run_id, [write], None)


@pytest.mark.parametrize("way", ["executing", "handed back", "orphaned"])
def test_what_a_run_did_is_taken_back_and_nothing_else(server: Server, way: str) -> None:
    thread_id = server.thread()
    before = server.start(thread_id)
    leave_checkpoint(server, before, "c1")
    server.finish(before, RunState.FAILED, values="1", error=ERROR)
    thread = server.get_thread(thread_id)
    run = server.start(thread_id)
    leave_checkpoint(server, run, "c2")
    if way == "handed back":
        server.release(run)
    server.cancel(run, action=CancelAction.ROLLBACK)
    if way == "executing":
        server.finish(run, RunState.SUCCEEDED, values="2")
    if way == "orphaned":
        server.crash()
    assert server.row(run).rolled_back
    found = server.connection.scalars(select(checkpoints_table.c.checkpoint_id)).all()
    assert set(found) == {"c1"}
    assert checkpoints.has_run(server.connection, thread_id, before.run_id)
    assert not checkpoints.has_run(server.connection, thread_id, run.run_id)
    after = server.get_thread(thread_id)
    assert (after.state, after.values, after.error) == (thread.state, thread.values, thread.error)
