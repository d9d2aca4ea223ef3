"""How runs leave their attempts: each move is one guarded statement."""

from dataclasses import replace

from sqlalchemy import Connection
from tests.support.records import CANCEL, a_run, add_run, at, end, get_run, running

from runwire.server.model.ids import new_id
from runwire.server.model.runs import (
    ACTIVE_STATES,
    CancelAction,
    RunState,
)
from runwire.server.storage import claims, endings
from runwire.server.storage.endings import Ending


def test_a_cancel_is_stored_with_a_run_that_executes(connection: Connection) -> None:
    run = add_run(connection, running())
    assert endings.request_cancel(connection, run.run_id, CANCEL, at(4))
    assert get_run(connection, run) == replace(
        run, state=RunState.CANCELLING, cancel=CANCEL, update_time=at(4)
    )
    again = replace(CANCEL, action=CancelAction.ROLLBACK)
    assert endings.request_cancel(connection, run.run_id, again, at(5))
    assert get_run(connection, run).cancel == again


def test_a_cancel_is_not_stored_with_a_run_that_nobody_executes(connection: Connection) -> None:
    pending = add_run(connection, a_run())
    ended = add_run(connection, running())
    end(connection, ended)
    for run in (pending, ended):
        before = get_run(connection, run)
        assert not endings.request_cancel(connection, run.run_id, CANCEL, at(4))
        assert get_run(connection, run) == before


def test_a_run_ends_only_if_it_is_where_it_is_thought_to_be(connection: Connection) -> None:
    run = add_run(connection, a_run())
    how = Ending(state=RunState.SUCCEEDED)
    assert endings.end_run(connection, run.run_id, how, at(1), was=ACTIVE_STATES) is None
    assert endings.end_run(connection, new_id(), how, at(1), was=frozenset(RunState)) is None
    assert get_run(connection, run) == run


def test_an_attempt_is_given_up_by_who_has_it(connection: Connection) -> None:
    run = add_run(connection, running())
    assert not endings.release_run(connection, run.run_id, 2, at(4), give_back=False)
    assert endings.release_run(connection, run.run_id, 1, at(4), give_back=False)
    released = get_run(connection, run)
    assert released == replace(run, state=RunState.PENDING, owner=None, update_time=at(4))
    assert not endings.release_run(connection, run.run_id, 1, at(5), give_back=False)
    assert (
        claims.claim_runs(connection, owner="server", graph_ids=["graph"], limit=9, now=at(5)) == []
    )


def test_an_attempt_that_is_given_back_keeps_its_number(connection: Connection) -> None:
    run = add_run(connection, running())
    endings.release_run(connection, run.run_id, 1, at(4), give_back=True, wake_time=at(6))
    released = get_run(connection, run)
    assert (released.attempt, released.attempts_used) == (1, 0)
    assert claims.next_wake(connection) == at(6)


def test_an_attempt_of_a_run_that_is_being_cancelled_is_not_given_up(
    connection: Connection,
) -> None:
    run = add_run(connection, running())
    endings.request_cancel(connection, run.run_id, CANCEL, at(4))
    assert not endings.release_run(connection, run.run_id, 1, at(5), give_back=True)
