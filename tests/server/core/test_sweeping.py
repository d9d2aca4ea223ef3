"""What must be looked after although nobody asks: claims, delays, orphans."""

from datetime import timedelta

from tests.support.records import a_server, at
from tests.support.transactions import MovableClock, Server, encode

from runwire.server.core.servers import Beat, enter, leave, renew_lease
from runwire.server.core.sweeping import (
    TRIAL,
    Recovery,
    claim,
    count_unknown,
    list_lost,
    list_owned,
    look,
    recover_lost,
    recover_orphans,
)
from runwire.server.model.ids import new_id
from runwire.server.model.runs import CancelAction, Run, RunState
from runwire.server.storage import locks, servers
from runwire.server.storage.ownership import Owned


def ids(found: list[Run]) -> list[str]:
    return [run.run_id for run in found]


def take_back(
    server: Server, run: Run, *, max_attempts: int = 3, give_back: bool = False
) -> Run | None:
    """Take back a run of this very server, as it was when `run` was read."""
    return recover_lost(
        server.connection,
        Owned(run.run_id, run.thread_id, run.attempt, run.attempts_used, run.cancel is not None),
        owner=server.server_id,
        encode=encode,
        max_attempts=max_attempts,
        give_back=give_back,
    )


def recover(server: Server, owner: str, *orphans: Run, max_attempts: int = 3) -> Recovery:
    """Take runs from a server."""
    run_ids = ids(list(orphans))
    return recover_orphans(
        server.connection, owner, run_ids, encode=encode, max_attempts=max_attempts
    )


def test_a_claim_takes_no_more_than_it_may(server: Server) -> None:
    created = [server.create() for _ in range(5)]
    assert ids(server.claim(2)) == ids(created[:2])
    assert ids(server.claim(9)) == ids(created[2:])
    assert server.claim(9) == []


def test_runs_of_graphs_that_a_server_does_not_have_are_counted(server: Server) -> None:
    server.create()
    server.create(start_delay=timedelta(seconds=5))
    server.start()
    assert count_unknown(server.connection, ["graph"]) == {}
    assert count_unknown(server.connection, ["other"]) == {"graph": 2}


def test_a_look_tells_whether_there_is_anything_and_when_the_next_delay_will_have_passed(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    assert look(server.connection, ["graph"]) == (False, None)
    later = server.create(start_delay=timedelta(seconds=5))
    sooner = server.create(start_delay=timedelta(seconds=2))
    assert look(server.connection, ["graph"]) == (False, timedelta(seconds=2))
    moving_clock.time = at(3)
    assert look(server.connection, ["graph"]) == (True, timedelta(seconds=-1))
    assert ids(server.claim()) == [sooner.run_id]
    assert look(server.connection, ["graph"]) == (False, timedelta(seconds=2))
    server.create()
    assert look(server.connection, ["graph"]) == (True, timedelta(seconds=2))
    server.claim()
    moving_clock.time = at(6)
    assert ids(server.claim()) == [later.run_id]
    assert look(server.connection, ["graph"]) == (False, None)


def test_what_one_server_has_claimed_no_other_gets(server: Server) -> None:
    run = server.create()
    assert ids(server.claim()) == [run.run_id]
    assert Replica(server).claim() == []
    assert [each.run_id for each in list_owned(server.connection, server.server_id)] == [run.run_id]
    assert list_owned(server.connection, new_id()) == []


def test_a_server_does_not_take_its_own_runs_for_orphans(server: Server) -> None:
    run = server.start()
    assert list_lost(server.connection) == []
    assert recover(server, server.server_id, run, max_attempts=1) == Recovery(0, [])
    assert server.states(run) == ["running"]


def test_runs_begin_their_last_attempt_one_after_the_other(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    created = [server.start() for _ in range(3)]
    server.crash()
    assert len(server.claim()) == 3
    server.crash()
    begun = []
    for number in range(4):
        moving_clock.time = at(0) + number * TRIAL
        begun.append(len(server.claim()))
    assert begun == [1, 1, 1, 0]
    assert server.states(*created) == ["running"] * 3


def test_of_several_that_are_used_up_only_the_last_to_begin_fails(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    created = [server.start() for _ in range(3)]
    for crash in range(2):
        server.crash()
        for second in range(3):
            moving_clock.time = at(10 * crash + second)
            server.claim()
    begun_last = created[-1]
    (failed,) = server.crash()
    assert failed.run_id == begun_last.run_id
    assert server.states(*created) == ["pending", "pending", "failed"]


def test_with_one_attempt_each_of_the_orphans_fails(server: Server) -> None:
    created = [server.start() for _ in range(3)]
    assert ids(server.crash(max_attempts=1)) == ids(created)


# Several servers.

LEASE = timedelta(seconds=10)


class Replica:
    """Another server beside a test's own, with a lease from the time of its start."""

    def __init__(self, server: Server) -> None:
        self.server_id = new_id()
        self._connection = server.connection
        enter(server.connection, a_server(server_id=self.server_id), LEASE)

    def claim(self, limit: int = 9) -> list[Run]:
        return claim(self._connection, owner=self.server_id, graph_ids=["graph"], limit=limit)

    def beat(self) -> Beat:
        beating = a_server(server_id=self.server_id)
        return renew_lease(self._connection, beating, LEASE)


def test_runs_are_taken_from_a_server_when_its_lease_has_ended_and_not_before(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    run = server.create(server.thread())
    replica = Replica(server)
    assert ids(replica.claim()) == [run.run_id]
    moving_clock.time = at(9.9)
    assert list_lost(server.connection) == []
    assert recover(server, replica.server_id, run) == Recovery(0, [])
    moving_clock.time = at(10)
    assert list_lost(server.connection) == [replica.server_id]
    assert recover(server, replica.server_id, run) == Recovery(1, [])
    assert list_lost(server.connection) == []
    assert ids(server.claim()) == [run.run_id]


def test_a_beat_keeps_a_server_s_runs_and_tells_it_of_their_cancels(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    kept, cancelled = server.create(), server.create()
    others = server.start()
    replica = Replica(server)
    assert len(replica.claim()) == 2
    assert replica.beat() == Beat(held=True, cancelling=[])
    server.cancel(cancelled, others)
    moving_clock.time = at(9)
    assert replica.beat() == Beat(held=True, cancelling=[cancelled.run_id])
    moving_clock.time = at(18)
    assert list_lost(server.connection) == []
    moving_clock.time = at(19)
    assert list_lost(server.connection) == [replica.server_id]
    assert replica.beat() == Beat(held=False, cancelling=[cancelled.run_id])
    assert recover(server, replica.server_id, kept) == Recovery(0, []), "it has come back"
    servers.forget_others(server.connection, server.server_id)
    assert list_lost(server.connection) == [replica.server_id]
    assert replica.beat() == Beat(held=False, cancelling=[cancelled.run_id])
    assert list_lost(server.connection) == []


def test_a_cancel_of_a_lost_server_s_run_is_carried_out(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cancelled, undone = server.create(server.thread()), server.create(server.thread())
    replica = Replica(server)
    replica.claim()
    server.cancel(cancelled)
    server.cancel(undone, action=CancelAction.ROLLBACK)
    moving_clock.time = at(10)
    recovery = recover(server, replica.server_id, cancelled, undone)
    assert {run.state for run in recovery.ended} == {RunState.CANCELLED}
    assert server.row(undone).rolled_back


def test_a_server_that_ends_its_lease_is_charged_with_nothing(server: Server) -> None:
    run = server.create()
    replica = Replica(server)
    replica.claim()
    leave(server.connection, replica.server_id)
    assert list_lost(server.connection) == [replica.server_id]
    assert recover(server, replica.server_id, run, max_attempts=1) == Recovery(1, [])
    assert server.row(run).attempts_used == 0
    assert ids(server.claim()) == [run.run_id], "it did no harm, and need not wait"


def test_each_dead_server_fails_one_run_at_most_however_few_are_taken_at_once(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    created = [server.create() for _ in range(6)]
    for second in range(0, 200, 100):
        moving_clock.time = at(second)
        replicas = [Replica(server), Replica(server)]
        for number in range(6):
            moving_clock.time = at(second + number)
            assert len(replicas[number % 2].claim(1)) == 1
        moving_clock.time = at(second + 50)
        ended = [
            run
            for number, orphan in enumerate(created)
            for run in recover(server, replicas[number % 2].server_id, orphan, max_attempts=2).ended
        ]
        if second == 0:
            assert not ended
    assert ids(ended) == ids(created[-2:])
    assert server.states(*created[:-2]) == ["pending"] * 4


def test_the_run_that_fails_for_a_dead_server_is_taken_after_the_others_or_with_them(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    created = [server.create() for _ in range(3)]
    for second in (0, 100):
        moving_clock.time = at(second)
        replica = Replica(server)
        for number in range(3):
            moving_clock.time = at(second + number)
            assert len(replica.claim(1)) == 1
        moving_clock.time = at(second + 50)
        if second == 0:
            recover(server, replica.server_id, *created, max_attempts=2)
    first, middle, last = created

    def take(*orphans: Run) -> Recovery:
        return recover(server, replica.server_id, *orphans, max_attempts=2)

    assert take(last) == Recovery(0, []), "the others are locked"
    assert take(middle, last) == Recovery(1, [])
    assert server.states(*created) == ["running", "pending", "running"]
    assert ids(take(first, last).ended) == [last.run_id]
    assert server.states(*created) == ["pending", "pending", "failed"]


def test_last_attempts_begin_one_after_the_other_whoever_lost_the_runs(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    created = [server.create() for _ in range(4)]
    replicas = [Replica(server), Replica(server)]
    for number in range(4):
        replicas[number % 2].claim(1)
    moving_clock.time = at(10)
    for number, orphan in enumerate(created):
        recover(server, replicas[number % 2].server_id, orphan, max_attempts=2)
    begun = []
    for number in range(5):
        moving_clock.time = at(10) + number * TRIAL
        begun.append(len(server.claim()))
    assert begun == [1, 1, 1, 1, 0]


def test_a_server_whose_lease_has_ended_claims_nothing_before_it_has_it_again(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    run = server.create()
    replica = Replica(server)
    moving_clock.time = at(10)
    if not locks.needed(server.connection):
        assert ids(replica.claim()) == [run.run_id], "the database is its alone, and needs no lease"
        return
    assert replica.claim() == []
    assert server.row(run) == run
    replica.beat()
    assert ids(replica.claim()) == [run.run_id]


def test_what_a_server_creates_whose_lease_has_ended_waits_for_one_that_has_one(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    replica = Replica(server)

    def create() -> list[Run]:
        specs = [server.spec(), server.spec(thread_id=server.thread())]
        return server.create_all(specs, slots=2, owner=replica.server_id).started

    assert len(create()) == 2
    moving_clock.time = at(10)
    if not locks.needed(server.connection):
        assert len(create()) == 2, "the database is its alone, and needs no lease"
        return
    assert create() == []
    assert [run.attempt for run in server.claim()] == [1, 1]
    replica.beat()
    assert len(create()) == 2


# What a server lost by itself.


def test_a_run_that_its_own_server_forgot_is_taken_back(server: Server) -> None:
    run = server.start(server.thread())
    assert take_back(server, run) is None
    assert ids(server.claim()) == [run.run_id]
    used_up = server.start()
    ended = take_back(server, used_up, max_attempts=1)
    assert ended is not None
    assert (ended.run_id, ended.state) == (used_up.run_id, RunState.FAILED)


def test_what_is_taken_back_need_not_count(server: Server) -> None:
    run = server.start()
    assert take_back(server, run, max_attempts=1, give_back=True) is None
    assert (server.row(run).state, server.row(run).attempts_used) == (RunState.PENDING, 0)
    (again,) = server.claim()
    server.cancel(again)
    ended = take_back(server, again, give_back=True)
    assert ended is not None
    assert ended.state is RunState.CANCELLED


def test_a_run_that_has_moved_on_meanwhile_is_not_taken_back(server: Server) -> None:
    read = server.start()
    server.release(read)
    (again,) = server.claim()
    assert take_back(server, read, max_attempts=1) is None
    assert server.row(again) == again
    server.finish(again)
    assert take_back(server, again, max_attempts=1) is None
    assert server.states(again) == ["succeeded"]
