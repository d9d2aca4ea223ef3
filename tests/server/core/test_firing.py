"""Firing crons: one transaction that creates the run and moves the cron on."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.records import an_assistant, at
from tests.support.transactions import MovableClock, Server

from runwire.server.core.creation import Creation
from runwire.server.core.firing import BATCH, COUNTED, fire, give_up, look, next_fire_time
from runwire.server.core.limits import RunLimits
from runwire.server.model.crons import Cron, CronError
from runwire.server.model.errors import QueueFull, RunLimitReached, ThreadBusy
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.runs import MultitaskStrategy, OnCompletion, RunSpec
from runwire.server.storage import assistants, crons, runs, threads
from runwire.server.storage.crons import DueCron
from runwire.server.storage.runs import RunFilter

MINUTE = timedelta(minutes=1)
BUSY = CronError(reason="THREAD_BUSY", message="as intended")


def add(server: Server, schedule: str = "* * * * *", **changes: Any) -> Cron:
    """Add a cron that was created now."""
    now = MovableClock.time
    thread_id = changes.get("thread_id")
    cron = Cron(
        cron_id=new_id(),
        assistant_id=default_assistant_id("graph"),
        thread_id=thread_id,
        spec=RunSpec(assistant_id="graph", thread_id=thread_id),
        schedule=schedule,
        time_zone="UTC",
        enabled=True,
        end_time=None,
        metadata={},
        create_time=now,
        update_time=now,
    )
    cron = replace(cron, **changes)
    cron = replace(cron, next_fire_time=next_fire_time(cron, now))
    crons.add_cron(server.connection, cron)
    return cron


def row(server: Server, cron: Cron) -> Cron:
    found = crons.get_cron(server.connection, cron.cron_id)
    assert found is not None
    return found


def due(server: Server) -> list[DueCron]:
    return look(server.connection, ["graph"]).due


def fire_all(server: Server, **rules: Any) -> list[Creation]:
    return [fire(server.connection, cron, server.rules(**rules), slots=0) for cron in due(server)]


def run_ids(server: Server, cron: Cron) -> list[str]:
    wanted = RunFilter(cron_id=cron.cron_id)
    return runs.list_run_ids(server.connection, wanted, limit=99)


def test_a_cron_is_due_at_its_time_and_not_before(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cron = add(server)
    assert cron.next_fire_time == at(60)
    assert look(server.connection, ["graph"]) == ([], MINUTE)
    moving_clock.time = at(59.999)
    assert due(server) == []
    moving_clock.time = at(60)
    assert due(server) == [DueCron(cron.cron_id, cron.assistant_id, None, "", at(60))]


def test_a_cron_that_fires_makes_a_run_and_waits_for_its_next_time(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cron = add(server)
    moving_clock.time = at(60.5)
    (creation,) = fire_all(server)
    (run,) = creation.runs
    assert run.cron_id == server.row(run).cron_id == cron.cron_id
    assert run.spec == replace(cron.spec, assistant_id=cron.assistant_id)
    assert row(server, cron) == replace(
        cron, next_fire_time=at(120), last_fire_time=at(60), last_run_id=run.run_id
    )
    assert due(server) == []


def test_of_two_servers_that_find_a_cron_due_one_fires_it(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cron = add(server)
    moving_clock.time = at(60)
    found = due(server)
    for seen in (found, found):
        fire(server.connection, seen[0], server.rules(), slots=0)
    assert len(run_ids(server, cron)) == 1
    assert not give_up(server.connection, found[0], BUSY), "it is not this one's to give up"
    assert row(server, cron).last_error is None


def test_a_cron_that_is_changed_or_deleted_meanwhile_does_not_fire(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    moved, deleted = add(server), add(server)
    moving_clock.time = at(60)
    found = due(server)
    crons.set_cron(server.connection, replace(moved, next_fire_time=at(90)))
    crons.delete_cron(server.connection, deleted.cron_id)
    for seen in found:
        assert fire(server.connection, seen, server.rules(), slots=0).runs == []
        assert not give_up(server.connection, seen, BUSY)


def test_of_what_was_missed_one_time_is_made_up_for(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cron = add(server)
    moving_clock.time = at(60 * 10.5)
    fire_all(server)
    assert len(run_ids(server, cron)) == 1
    fired = row(server, cron)
    assert (fired.last_fire_time, fired.missed_fires) == (at(60), 9)
    assert fired.next_fire_time == at(60 * 11)
    moving_clock.time = at(60 * 11)
    fire_all(server)
    assert row(server, cron).missed_fires == 9


def test_of_a_long_outage_no_more_is_counted_than_is_soon_done(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cron = add(server)
    moving_clock.time = at(timedelta(days=400).total_seconds())
    fire_all(server)
    assert row(server, cron).missed_fires == COUNTED


def test_a_cron_fires_up_to_its_end(server: Server, moving_clock: type[MovableClock]) -> None:
    cron = add(server, end_time=at(120))
    moving_clock.time = at(60)
    fire_all(server)
    ended = row(server, cron)
    assert (ended.next_fire_time, ended.enabled) == (None, True)
    assert len(run_ids(server, cron)) == 1


def test_what_was_missed_before_the_end_is_not_made_up_for_after_it(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    cron = add(server, end_time=at(180))
    moving_clock.time = at(600)
    (creation,) = fire_all(server)
    assert creation.runs == []
    assert row(server, cron) == replace(cron, next_fire_time=None, missed_fires=2)


@pytest.mark.parametrize("keep", [OnCompletion.DELETE, OnCompletion.KEEP])
def test_what_cannot_be_created_leaves_nothing_and_the_cron_goes_on(
    server: Server, moving_clock: type[MovableClock], keep: OnCompletion
) -> None:
    spec = RunSpec(assistant_id="graph", on_completion=keep)
    cron = add(server, spec=spec)
    server.create()
    moving_clock.time = at(60)
    (seen,) = due(server)
    with pytest.raises(QueueFull), server.connection.begin_nested():
        fire(server.connection, seen, server.rules(max_pending=1), slots=0)
    assert row(server, cron) == cron
    error = CronError(reason="QUEUE_FULL", message="1 runs are pending already")
    assert give_up(server.connection, seen, error)
    assert row(server, cron) == replace(
        cron, next_fire_time=at(120), last_fire_time=at(60), last_error=error
    )
    assert due(server) == [], "no second try before the next time"
    moving_clock.time = at(120)
    fire_all(server)
    assert row(server, cron).last_error is None


def test_a_busy_thread_refuses_a_cron_that_rejects(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread()
    spec = RunSpec(
        assistant_id="graph", thread_id=thread_id, multitask_strategy=MultitaskStrategy.REJECT
    )
    cron = add(server, thread_id=thread_id, spec=spec)
    server.start(thread_id)
    moving_clock.time = at(60)
    with pytest.raises(ThreadBusy), server.connection.begin_nested():
        fire_all(server)
    assert run_ids(server, cron) == []


def test_a_cron_of_a_graph_that_a_server_lacks_is_left_to_others(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    other = an_assistant(graph_id="other")
    assistants.add_assistant(server.connection, other)
    cron = add(server, assistant_id=other.assistant_id)
    moving_clock.time = at(60)
    assert look(server.connection, ["graph"]) == ([], None)
    assert look(server.connection, []) == ([], None)
    assert [seen.cron_id for seen in look(server.connection, ["other"]).due] == [cron.cron_id]


def test_the_graph_is_that_of_the_version_that_is_asked_for(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    old = an_assistant(graph_id="other")
    assistants.add_assistant(server.connection, old)
    assistants.add_version(server.connection, replace(old, graph_id="graph", version=2))
    ids = {"assistant_id": old.assistant_id}
    add(server, **ids, spec=RunSpec(**ids))
    pinned = add(server, **ids, spec=RunSpec(**ids, assistant_version=1))
    moving_clock.time = at(60)
    assert [seen.cron_id for seen in look(server.connection, ["other"]).due] == [pinned.cron_id]
    assert len(due(server)) == 1


def test_those_that_wait_longest_come_first_and_no_more_than_a_batch(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    late, early = add(server, "2 * * * *"), add(server, "1 * * * *")
    moving_clock.time = at(120)
    assert [seen.cron_id for seen in due(server)] == [early.cron_id, late.cron_id]
    assert due(server)[0].fire_time == at(60)
    for _ in range(BATCH):
        add(server)
    moving_clock.time = at(180)
    assert len(due(server)) == BATCH


def test_a_deleted_thread_or_assistant_takes_its_crons_along(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    made = an_assistant()
    assistants.add_assistant(server.connection, made)
    thread_id = server.thread()
    gone = [add(server, thread_id=thread_id), add(server, assistant_id=made.assistant_id)]
    stays = add(server)
    threads.delete_thread(server.connection, thread_id)
    assistants.delete_assistant(server.connection, made.assistant_id)
    found = [crons.get_cron(server.connection, cron.cron_id) for cron in (*gone, stays)]
    assert found == [None, None, stays]


def test_runs_are_on_behalf_of_whoever_created_the_cron(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    limits = RunLimits(per_principal=1)
    mine, other = add(server, principal="ada"), add(server, principal="bob")
    moving_clock.time = at(60)
    made = [creation.runs[0] for creation in fire_all(server, limits=limits)]
    assert {run.principal for run in made} == {"ada", "bob"}
    moving_clock.time = at(120)
    with pytest.raises(RunLimitReached), server.connection.begin_nested():
        fire_all(server, limits=limits)
    assert len(run_ids(server, mine)) == len(run_ids(server, other)) == 1


def test_a_zone_s_clock_decides(server: Server, moving_clock: type[MovableClock]) -> None:
    cron = add(server, "0 9 * * *", time_zone="Europe/Berlin")
    assert cron.next_fire_time == datetime.fromisoformat("2026-01-01T08:00Z")
