"""Who a run belongs to, and which attempt may write for it."""

from dataclasses import replace

from sqlalchemy import Connection
from tests.support.records import CANCEL, a_run, add_run, at, end, running

from runwire.server.model.attempts import Attempt
from runwire.server.model.ids import new_id
from runwire.server.model.runs import (
    RunState,
)
from runwire.server.storage import claims, endings, ownership
from runwire.server.storage.ownership import Owned


def test_the_right_to_write_is_that_of_one_attempt_of_one_server(connection: Connection) -> None:
    run = add_run(connection, running())
    attempt = Attempt(run.run_id, None, "graph", 1, "server")
    assert ownership.owns_run(connection, attempt)
    for other in (
        replace(attempt, number=2),
        replace(attempt, owner="other"),
        replace(attempt, run_id=new_id()),
    ):
        assert not ownership.owns_run(connection, other)
    endings.request_cancel(connection, run.run_id, CANCEL, at(4))
    assert ownership.owns_run(connection, attempt), "it has to store how it ends"
    end(connection, run, state=RunState.CANCELLED, cancel=CANCEL)
    assert not ownership.owns_run(connection, attempt)


def test_owners_are_told_apart(connection: Connection) -> None:
    mine = add_run(connection, running(0, "me"))
    later = add_run(connection, running(2, "you"))
    earlier = add_run(connection, running(1, "you"))
    add_run(connection, a_run())
    assert [run.run_id for run in ownership.owned_by(connection, "you")] == [
        earlier.run_id,
        later.run_id,
    ]
    assert ownership.owned_by(connection, "me") == [Owned(mine.run_id, None, 1, 1, False)]


def test_of_many_attempts_each_is_told_whether_it_may_write(connection: Connection) -> None:
    mine, taken, again = (add_run(connection, running()) for _ in range(3))
    attempts = [
        Attempt(run.run_id, None, "graph", run.attempt, run.owner or "")
        for run in (mine, taken, again)
    ]
    attempts.append(Attempt("nowhere", None, "graph", 1, "server"))
    assert ownership.owned_of(connection, attempts) == [True, True, True, False]
    assert endings.release_run(connection, taken.run_id, taken.attempt, at(1), give_back=False)
    assert endings.release_run(connection, again.run_id, again.attempt, at(1), give_back=False)
    claims.make_runnable(connection, again.run_id)
    claims.claim_runs(connection, owner=again.owner or "", graph_ids=["graph"], limit=1, now=at(2))
    assert ownership.owned_of(connection, attempts) == [True, False, False, False]
    assert ownership.owned_of(connection, []) == []
