"""A server dies while runs are in every stage of their lives, and starts again on the same file.

There is one crash, and each test looks at what became of some of the runs. They stand at a gate in
their fourth superstep when it happens; the gate is open when the server is back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.outside import ask, change
from tests.support.serving import QUICK_LEASES, ServerProcess, start_server_process
from tests.support.statuses import failure_of
from tests.support.watching import (
    PATIENCE_SECONDS,
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    check_run,
    done_on,
    get_run,
    ledger,
    place_of,
    read_log,
    runs_at,
    times_begun,
    until,
    until_begun,
)

from runwire.client import RunwireClient, get_client
from runwire.server.storage.addresses import is_postgresql
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent

GATE = 3
DELAY_SECONDS = 8.0
SHORT_DELAY_SECONDS = 1.0
TIMEOUT_SECONDS = 600.0
LEFT_SECONDS = 3.0
"""Of the time of a run that has little of it left when its server dies."""
ONCE = dict.fromkeys(range(6), 1)


@dataclass
class Crash:
    """What was there before the crash. `runs` and `threads` are ids by label."""

    server: ServerProcess
    runs: dict[str, str] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    output: Any = None
    """What a user of the client got who waited for a run."""
    parts: list[Any] = field(default_factory=list)
    """What a user of the client got from a stream, which the crash was in the middle of."""
    seen: dict[str, list[RunEvent]] = field(default_factory=dict)
    """What readers without such a client had seen of runs when the server died."""
    delayed_from: float = 0.0

    @property
    def directory(self) -> Path:
        return self.server.directory

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RunwireClient]:
        async with get_client(self.server.address) as client:
            yield client

    def run_input(self, label: str, **more: Any) -> dict[str, Any]:
        return chain_input(self.directory, label, **{"wait_at": GATE, **more})

    async def create(
        self,
        client: RunwireClient,
        label: str,
        graph_id: str = "chain",
        *,
        on: str = "",
        **options: Any,
    ) -> None:
        """Create a run on a thread of its own, or on that of the run named `on`."""
        on = on or label
        if on not in self.threads:
            self.threads[on] = (await client.threads.create())["thread_id"]
        given = {"input": self.run_input(label), **options}
        run = await client.runs.create(self.threads[on], graph_id, **given)
        self.runs[label] = run["run_id"]

    async def values(self, label: str) -> list[str]:
        """Return what is in `done` on a thread."""
        async with self.client() as client:
            return await done_on(client, self.threads[label])


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory, module_database: str) -> Iterator[Crash]:
    directory = tmp_path_factory.mktemp("crash")
    flags = QUICK_LEASES if module_database else ()
    with start_server_process(
        directory, *flags, graphs=SYSTEM_GRAPHS, on=module_database
    ) as server:
        crash = Crash(server)
        asyncio.run(live_through(crash))
        yield crash


async def live_through(crash: Crash) -> None:
    async with crash.client() as client:
        await begin(crash, client)
        reading = asyncio.create_task(stream_over_the_crash(crash))
        waiting = asyncio.create_task(wait_over_the_crash(crash))
        for label in ("streamed", "waited for"):
            await until_begun(crash.directory, label, GATE)
        await cancel(crash, client)
        endless = crash.run_input("timed out", seconds=3600)
        await crash.create(client, "timed out", input=endless, timeout=TIMEOUT_SECONDS)
        await until_begun(crash.directory, "timed out", 0)
    crash.server.kill()
    for label in ("cut off", "cancelling"):
        lose_tail(crash, label)
    use_up_time(crash, "timed out")
    (crash.directory / "open").touch()
    await asyncio.to_thread(crash.server.start)
    await asyncio.wait_for(asyncio.gather(reading, waiting), 180)


async def begin(crash: Crash, client: RunwireClient) -> None:
    """Bring runs to the gate."""
    kept = crash.run_input("kept", wait_at=-1)
    for label in ("undone", "answers", "at exit", "forked"):
        crash.threads[label] = (await client.threads.create())["thread_id"]
    await client.runs.wait(crash.threads["undone"], "chain", input=kept)
    await client.runs.wait(crash.threads["at exit"], "chain", input=kept)
    await client.runs.wait(crash.threads["forked"], "chain", input=kept)
    states = await client.threads.get_history(crash.threads["forked"], limit=100)
    past = next(state for state in states if done_in(state) == chain_result("kept")[:2])
    await client.runs.wait(crash.threads["answers"], "asks", input=crash.run_input("answers"))
    talking: dict[str, Any] = {"stream_mode": ["custom", "updates"]}
    await crash.create(client, "async")
    await crash.create(client, "sync", "chain_sync")
    await crash.create(client, "answers", "asks", input=None, command={"resume": "yes"})
    await crash.create(client, "not durable", durability="async")
    await crash.create(client, "at exit", durability="exit")
    await crash.create(client, "subgraph", "chain_in_subgraph")
    await crash.create(client, "functional", "functional_chain")
    await crash.create(client, "forked", checkpoint=past["checkpoint"])
    await crash.create(client, "cut off", **talking)
    await crash.create(client, "undone", "chain_sync")
    await crash.create(client, "cancelling", "chain_sync", **talking)
    run = await client.runs.create(None, "chain", input=crash.run_input("stateless"))
    crash.runs["stateless"] = run["run_id"]
    for label in crash.runs:
        await until_begun(crash.directory, label, GATE)
    await crash.create(
        client, "branches", "chain_with_branches", input=crash.run_input("branches", wait_at=0)
    )
    await until(lambda: has_pending_writes(crash, "branches"), "the quick branch has ended")
    for number in (1, 2, 3):
        await crash.create(client, f"queued {number}", on="async")
    await crash.create(client, "after undone", on="undone")
    await crash.create(client, "after cancelling", on="cancelling")
    await crash.create(client, "due meanwhile", after_seconds=SHORT_DELAY_SECONDS)
    crash.delayed_from = time.monotonic()
    await crash.create(client, "delayed", after_seconds=DELAY_SECONDS)


def done_in(state: Mapping[str, Any]) -> list[str]:
    """Return what is in `done` in one state of a thread."""
    values: Any = state["values"]
    return list(values.get("done", ()))


async def cancel(crash: Crash, client: RunwireClient) -> None:
    """Cancel runs that cannot stop, after reading what they say as far as they have come."""
    for label in ("cut off", "cancelling"):
        crash.seen[label] = await read_to_gate(crash, label)
    await client.runs.cancel(None, crash.runs["cancelling"])
    await client.runs.cancel(None, crash.runs["undone"], action="rollback")
    run = await get_run(crash.server.address, crash.runs["undone"])
    assert run.state == core_pb2.RUN_STATE_CANCELLING


async def stream_over_the_crash(crash: Crash) -> None:
    async with crash.client() as client:
        thread = await client.threads.create()
        stream = client.runs.stream(
            thread["thread_id"],
            "chain",
            input=crash.run_input("streamed"),
            stream_mode=["custom", "values"],
        )
        async for part in stream:
            crash.parts.append(part)


async def wait_over_the_crash(crash: Crash) -> None:
    async with crash.client() as client:
        run_input = crash.run_input("waited for")
        crash.output = await client.runs.wait(None, "chain", input=run_input)


async def read_to_gate(crash: Crash, label: str) -> list[RunEvent]:
    """Return the events of a run that stands at the gate."""
    seen: list[RunEvent] = []
    async with runs_at(crash.server.address) as runs:
        request = runs_pb2.JoinRunStreamRequest(run_id=crash.runs[label])
        call = runs.JoinRunStream(request, timeout=PATIENCE_SECONDS)
        async for response in call:
            seen += [event for event in response.events if event.id]
            if any(f'"step":{GATE}' in event.custom.data.json for event in seen):
                break
        call.cancel()
    return seen


def has_pending_writes(crash: Crash, label: str) -> bool:
    query = "SELECT 1 FROM checkpoint_writes WHERE thread_id = :thread_id LIMIT 1"
    return bool(ask(crash.server.database_url, query, thread_id=crash.threads[label]))


def lose_tail(crash: Crash, label: str) -> None:
    """Take the newest events of a run away, as a crash does that comes before they are stored."""
    deleted = change(
        crash.server.database_url,
        "DELETE FROM run_events WHERE run_id = :run_id AND first_index = "
        "(SELECT max(first_index) FROM run_events WHERE run_id = :run_id)",
        run_id=crash.runs[label],
    )
    assert deleted == 1, f"nothing is stored of {crash.runs[label]}: {crash.server.said()}"


def use_up_time(crash: Crash, label: str) -> None:
    """Let the first attempt of a run have begun so long ago that little of its time is left."""
    url = crash.server.database_url
    ago = datetime.now(UTC) - timedelta(seconds=TIMEOUT_SECONDS - LEFT_SECONDS)
    changed = change(
        url,
        "UPDATE runs SET start_time = :start_time WHERE run_id = :run_id AND attempt = 1",
        start_time=ago.strftime("%Y-%m-%d %H:%M:%S.%f") + ("+00" if is_postgresql(url) else ""),
        run_id=crash.runs[label],
    )
    assert changed == 1


# ------------------------------------------------------------------------------ runs in the middle


@pytest.mark.parametrize("label", ["async", "sync", "subgraph", "functional", "forked"])
async def test_only_the_superstep_in_flight_executes_again(crash: Crash, label: str) -> None:
    run = await check_run(crash.server.address, crash.runs[label])

    assert (run.state, run.attempt) == (core_pb2.RUN_STATE_SUCCEEDED, 2)
    assert times_begun(crash.directory, run.run_id) == {**ONCE, GATE: 2}


async def test_a_run_s_result_is_what_it_would_be_without_a_crash(crash: Crash) -> None:
    await check_run(crash.server.address, crash.runs["sync"])

    assert await crash.values("sync") == chain_result("sync")
    async with crash.client() as client:
        output = await client.runs.join(crash.threads["sync"], crash.runs["sync"])
        thread = await client.threads.get(crash.threads["sync"])
    assert output["done"] == chain_result("sync")
    assert thread["status"] == "idle"


async def test_a_run_from_an_earlier_checkpoint_goes_on_from_its_own(crash: Crash) -> None:
    await check_run(crash.server.address, crash.runs["forked"])

    assert await crash.values("forked") == chain_result("kept")[:2] + chain_result("forked")


async def test_a_functional_run_keeps_what_its_tasks_have_returned(crash: Crash) -> None:
    async with crash.client() as client:
        output = await client.runs.join(crash.threads["functional"], crash.runs["functional"])

    assert output == chain_result("functional")


async def test_a_branch_that_had_ended_does_not_execute_again(crash: Crash) -> None:
    run = await check_run(crash.server.address, crash.runs["branches"])

    executed = [note.what for note in ledger(crash.directory) if note.run_id == run.run_id]
    assert sorted(executed) == ["quick", "slow", "slow"]
    assert sorted(await crash.values("branches")) == ["branches.quick", "branches.slow"]


async def test_a_stateless_run_begins_again(crash: Crash) -> None:
    run_id = crash.runs["stateless"]
    run = await check_run(crash.server.address, run_id)
    events = await read_log(crash.server.address, run_id)

    assert (run.state, run.attempt) == (core_pb2.RUN_STATE_SUCCEEDED, 2)
    assert times_begun(crash.directory, run_id) == {0: 2, 1: 2, 2: 2, 3: 2, 4: 1, 5: 1}
    started = [event.attempt_started for event in events if event.HasField("attempt_started")]
    assert [(s.attempt, s.resumed_from_checkpoint) for s in started] == [(1, False), (2, False)]


async def test_a_run_that_was_to_be_durable_at_its_end_only_begins_again(crash: Crash) -> None:
    run = await check_run(crash.server.address, crash.runs["at exit"])

    assert times_begun(crash.directory, run.run_id)[0] == 2
    assert await crash.values("at exit") == chain_result("kept", "at exit")


async def test_less_durable_runs_execute_more_again_and_come_to_the_same(crash: Crash) -> None:
    run = await check_run(crash.server.address, crash.runs["not durable"])

    assert run.state == core_pb2.RUN_STATE_SUCCEEDED
    assert await crash.values("not durable") == chain_result("not durable")


async def test_an_answer_to_an_interrupt_is_given_once(crash: Crash) -> None:
    await check_run(crash.server.address, crash.runs["answers"])

    assert await crash.values("answers") == ["yes", *chain_result("answers")]


async def test_a_timeout_counts_from_the_first_attempt(crash: Crash) -> None:
    run = await check_run(crash.server.address, crash.runs["timed out"])
    seconds = run.end_time.ToDatetime() - run.start_time.ToDatetime()

    assert (run.state, run.attempt) == (core_pb2.RUN_STATE_TIMED_OUT, 2)
    assert timedelta(seconds=TIMEOUT_SECONDS) <= seconds


# --------------------------------------------------------------------------------- runs that waited


async def test_pending_runs_execute_in_their_order(crash: Crash) -> None:
    labels = ["async", "queued 1", "queued 2", "queued 3"]
    for label in labels:
        run = await check_run(crash.server.address, crash.runs[label])
        assert run.attempt == (2 if label == "async" else 1)

    assert await crash.values("async") == chain_result(*labels)


async def test_a_delayed_run_begins_when_it_is_due_and_not_before(crash: Crash) -> None:
    await check_run(crash.server.address, crash.runs["delayed"])

    begun = [note.time for note in ledger(crash.directory) if note.label == "delayed"]
    assert begun[0] - crash.delayed_from >= DELAY_SECONDS
    assert await crash.values("delayed") == chain_result("delayed")


async def test_a_run_whose_time_comes_while_no_server_is_there_begins_with_the_next(
    crash: Crash,
) -> None:
    run = await check_run(crash.server.address, crash.runs["due meanwhile"])

    assert run.state == core_pb2.RUN_STATE_SUCCEEDED
    assert await crash.values("due meanwhile") == chain_result("due meanwhile")


# ------------------------------------------------------------------------------------------ cancels


async def test_a_run_that_was_being_cancelled_is_cancelled(crash: Crash) -> None:
    run = await check_run(crash.server.address, crash.runs["cancelling"])

    assert (run.state, run.attempt) == (core_pb2.RUN_STATE_CANCELLED, 1)
    assert times_begun(crash.directory, run.run_id)[GATE] == 1


async def test_the_thread_of_a_cancelled_run_goes_on_with_what_it_had_done(crash: Crash) -> None:
    await check_run(crash.server.address, crash.runs["after cancelling"])

    done = chain_result("cancelling")[:GATE] + chain_result("after cancelling")
    assert await crash.values("cancelling") == done


async def test_a_rollback_is_carried_out(crash: Crash) -> None:
    run_id, thread_id = crash.runs["undone"], crash.threads["undone"]
    async with runs_at(crash.server.address) as runs:
        failure = await failure_of(runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id)))
    await check_run(crash.server.address, crash.runs["after undone"])
    async with crash.client() as client:
        states = await client.threads.get_history(thread_id, limit=100)

    assert (failure.code, failure.reason) == ("NOT_FOUND", "RUN_ROLLED_BACK")
    assert await crash.values("undone") == chain_result("kept", "after undone")
    assert not [state for state in states if "undone.0" in done_in(state)]


# ------------------------------------------------------------------------------------------ callers


async def test_a_client_s_wait_goes_on_without_its_user_noticing(crash: Crash) -> None:
    assert crash.output["done"] == chain_result("waited for")


async def test_a_client_s_stream_goes_on_without_its_user_noticing(crash: Crash) -> None:
    ids = [part.id for part in crash.parts if part.id]
    said = [part.data["step"] for part in crash.parts if part.event == "custom"]
    states = [part.data["done"] for part in crash.parts if part.event == "values"]
    boundary = next(part for part in crash.parts if part.id == "2-1")

    assert len(ids) == len(set(ids))
    assert said == [0, 1, 2, 3, 3, 4, 5]
    assert states[-1] == chain_result("streamed")
    assert boundary.event == "metadata"
    assert boundary.data["attempt"] == 2
    assert boundary.data["resumed_from_checkpoint"] is True
    assert (crash.parts[-1].event, crash.parts[-1].data["status"]) == ("end", "success")


async def test_who_comes_back_with_an_event_id_sees_the_boundary_and_nothing_twice(
    crash: Crash,
) -> None:
    seen = crash.seen["cut off"]
    rest = await read_log(crash.server.address, crash.runs["cut off"], after=seen[-1].id)

    assert place_of(rest[0]) == (2, 1)
    assert rest[0].attempt_started.resumed_from_checkpoint
    assert len({event.id for event in (*seen, *rest)}) == len(seen) + len(rest)
    assert rest[-1].run_ended.state == core_pb2.RUN_STATE_SUCCEEDED
    await check_run(crash.server.address, crash.runs["cut off"])


async def test_who_has_seen_more_than_was_stored_is_told_of_an_end_without_another_attempt(
    crash: Crash,
) -> None:
    seen = crash.seen["cancelling"]
    rest = await read_log(crash.server.address, crash.runs["cancelling"], after=seen[-1].id)

    assert [event.WhichOneof("event") for event in rest] == ["run_ended"]
    assert place_of(rest[0]) == (2, 1)
    assert rest[0].run_ended.state == core_pb2.RUN_STATE_CANCELLED


async def test_an_event_that_never_was_is_refused_of_a_run_that_has_ended(crash: Crash) -> None:
    failure = await failure_of(
        read_log(crash.server.address, crash.runs["cancelling"], after="2-2")
    )

    assert (failure.code, list(failure.fields)) == ("INVALID_ARGUMENT", ["after_event_id"])
