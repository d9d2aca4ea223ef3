"""What must be looked after although nobody asks: claims, delays, orphans."""

from datetime import timedelta

from tests.support.records import at
from tests.support.transactions import MovableClock, Server, encode

from runwire.server.core.sweeping import (
    TRIAL,
    claim,
    look,
    owned,
    recover_lost,
    recover_orphans,
)
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Run, RunState


def ids(found: list[Run]) -> list[str]:
    return [run.run_id for run in found]


def test_a_claim_takes_no_more_than_it_may(server: Server) -> None:
    created = [server.create() for _ in range(5)]
    assert ids(server.claim(2)) == ids(created[:2])
    assert ids(server.claim(9)) == ids(created[2:])
    assert server.claim(9) == []


def test_a_look_tells_whether_there_is_anything_and_when_the_next_delay_will_have_passed(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    assert look(server.connection) == (False, None)
    later = server.create(start_delay=timedelta(seconds=5))
    sooner = server.create(start_delay=timedelta(seconds=2))
    assert look(server.connection) == (False, at(2))
    moving_clock.time = at(3)
    assert look(server.connection) == (True, at(2))
    assert ids(server.claim()) == [sooner.run_id]
    assert look(server.connection) == (False, at(5))
    server.create()
    assert look(server.connection) == (True, at(5))
    server.claim()
    moving_clock.time = at(6)
    assert ids(server.claim()) == [later.run_id]
    assert look(server.connection) == (False, None)


def test_what_one_server_has_claimed_no_other_gets(server: Server) -> None:
    run = server.create()
    assert ids(server.claim()) == [run.run_id]
    assert claim(server.connection, owner=new_id(), limit=9) == []
    assert ids(owned(server.connection, owner=server.server_id)) == [run.run_id]
    assert owned(server.connection, owner=new_id()) == []


def test_a_server_does_not_take_its_own_runs_for_orphans(server: Server) -> None:
    run = server.start()
    ended = recover_orphans(
        server.connection, owner=server.server_id, encode=encode, max_attempts=1
    )
    assert (ended, server.states(run)) == ([], ["running"])


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


def test_a_run_that_its_own_server_forgot_is_taken_back(server: Server) -> None:
    run = server.start(server.thread())
    assert recover_lost(server.connection, run, encode=encode, max_attempts=3) is None
    assert ids(server.claim()) == [run.run_id]
    used_up = server.start()
    ended = recover_lost(server.connection, used_up, encode=encode, max_attempts=1)
    assert ended is not None
    assert (ended.run_id, ended.state) == (used_up.run_id, RunState.FAILED)


def test_a_run_that_has_moved_on_meanwhile_is_not_taken_back(server: Server) -> None:
    read = server.start()
    server.release(read)
    (again,) = server.claim()
    assert recover_lost(server.connection, read, encode=encode, max_attempts=1) is None
    assert server.row(again) == again
    server.finish(again)
    assert recover_lost(server.connection, again, encode=encode, max_attempts=1) is None
    assert server.states(again) == ["succeeded"]
